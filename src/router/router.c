/* The router's face: plans for requests, and the providers behind it. See router.h. */
#include "router/router.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "router/router_int.h"

static struct router *router_of(struct provider *p)
{
    return container_of(p, struct router, base);
}

/* ---- plans --------------------------------------------------------------------------------- */

static bool lacks(const struct provider *p, unsigned cap)
{
    return !(p->ops->caps & cap);
}

/* Whether only this hub's own models can come into question: then there is nothing to find out. */
static bool stays_here(const struct router *r, const struct plan_ask *ask)
{
    bool named = (ask->source && *ask->source) || (ask->route && *ask->route) ||
                 (ask->model && strchr(ask->model, '/'));
    return !named && r->alone;
}

/* What is known of the providers now. */
static void look_around(struct router *r, const struct plan_ask *ask, const char *tenant,
                        struct plan_world *w)
{
    const struct routing *routing = r->routing;
    size_t n = stays_here(r, ask) ? 1 : routing->n_providers;
    memset(w, 0, sizeof *w);
    w->prices = r->prices;
    if (n > 1 && r->hooks.may_spend) w->over_budget = !r->hooks.may_spend(r->hooks.ctx, tenant);
    for (size_t i = 0; i < n; i++) {
        const struct provider *p = r->providers[i];
        w->no_tools[i] = lacks(p, PROVIDER_TOOLS);
        w->no_images[i] = lacks(p, PROVIDER_IMAGES);
        w->no_embeddings[i] = lacks(p, PROVIDER_EMBED);
        w->no_rerank[i] = lacks(p, PROVIDER_RERANK);
        if (routing->providers[i].local) continue;
        struct remote_state state;
        r->remotes->state(r->providers[i], &state);
        w->down[i] = state.open && state.retry_in_ms > 0;
    }
    pthread_mutex_lock(&r->lock);
    memcpy(w->first_token_ms, r->first_token_ms, sizeof w->first_token_ms);
    pthread_mutex_unlock(&r->lock);
}

bool router_enter(struct router *r)
{
    pthread_mutex_lock(&r->lock);
    bool open = !r->closed;
    if (open) r->busy++;
    pthread_mutex_unlock(&r->lock);
    return open;
}

void router_leave(struct router *r)
{
    pthread_mutex_lock(&r->lock);
    if (--r->busy == 0) pthread_cond_broadcast(&r->settled);
    pthread_mutex_unlock(&r->lock);
}

static enum err refuse(struct error *error)
{
    return err_set(error, ERR_STOPPING, "the hub is shutting down");
}

static enum err make_plan(struct router *r, const struct plan_ask *ask, const char *tenant,
                          struct plan *out, struct error *error)
{
    struct plan_world world;
    if (!router_enter(r)) return refuse(error);
    look_around(r, ask, tenant, &world);
    enum err e = plan_make(r->routing, ask, &world, out, error);
    router_leave(r);
    return e;
}

static bool has_images(const struct gen_request *req)
{
    for (size_t i = 0; i < req->n_messages; i++)
        if (req->messages[i].n_images) return true;
    return false;
}

static bool wants_adapter(const struct gen_request *req)
{
    return req->adapter && *req->adapter && !str_ieq(req->adapter, "base") &&
           !str_ieq(req->adapter, "none");
}

enum err router_plan_again(struct router *r, const struct gen_request *req,
                           const struct classified *said, struct plan *out, struct error *error)
{
    struct plan_ask ask = {.model = req->model,
                           .source = req->source,
                           .route = req->route,
                           .local_only = req->local_only,
                           .goal = req->goal,
                           .images = has_images(req),
                           .tools = req->n_tools > 0,
                           .adapter = wants_adapter(req),
                           .gen = req,
                           .classified = said};
    return make_plan(r, &ask, req->tenant, out, error);
}

enum err router_plan_request(struct router *r, const struct gen_request *req, struct plan *out,
                             struct error *error)
{
    return router_plan_again(r, req, NULL, out, error);
}

/* ---- asking -------------------------------------------------------------------------------- */

static void submit(struct ask *a)
{
    struct router *r = a->router;
    pthread_mutex_lock(&r->lock);
    idmap_put(&r->asks, &a->by_id, ++r->next_id);
    pthread_mutex_unlock(&r->lock);
}

/* The call's end of it: whoever is asked has it, or nobody took it. */
static enum err submitted(struct ask *a, enum err e, uint64_t *id, struct error *error)
{
    struct router *r = a->router;
    *id = e ? 0 : a->by_id.id;
    if (e) {
        ask_settle_error(a, error);
        e = error->code;
        pthread_mutex_lock(&r->lock);
        idmap_del(&r->asks, a->by_id.id);
        a->refs--; /* the listener's: it is never called */
        pthread_mutex_unlock(&r->lock);
    }
    ask_unref(a);
    return e;
}

static void copy_names(struct ask *a, const char *request_id, const char *tenant, const char *model,
                       const char *kind)
{
    struct router_record *rec = &a->record;
    str_copy(rec->request_id, sizeof rec->request_id, request_id ? request_id : "");
    str_copy(rec->tenant, sizeof rec->tenant, tenant);
    str_copy(rec->asked, sizeof rec->asked, model);
    rec->kind = kind;
}

static enum err router_generate(struct provider *p, struct gen_request *req, gen_listener_fn fn,
                                void *ctx, uint64_t *id, struct error *error)
{
    struct router *r = router_of(p);
    struct error own = {.code = OK}, *why = error ? error : &own;
    struct plan plan;
    enum err e = router_plan_request(r, req, &plan, why);
    if (e) {
        arena_free(req->arena);
        return e;
    }
    req->local_only |= plan.pinned; /* a route's pin and the hub's are the request's, too */
    struct ask *a = ask_new(r, &plan);
    copy_names(a, req->request_id, req->tenant, req->model,
               req->kind == GEN_CHAT ? "chat" : "completion");
    a->named = provider_names_model(req->model);
    a->fn = fn;
    a->ctx = ctx;
    a->gen = req;
    a->deadline_ms = req->deadline_ms;
    submit(a);
    if (plan.may_classify && ask_classify(a)) return submitted(a, OK, id, why);
    return submitted(a, ask_start(a, why), id, why);
}

static enum err router_embed(struct provider *p, struct embed_request *req, embed_listener_fn fn,
                             void *ctx, uint64_t *id, struct error *error)
{
    struct router *r = router_of(p);
    struct error own = {.code = OK}, *why = error ? error : &own;
    struct plan plan;
    struct plan_ask ask = {.model = req->model,
                           .source = req->source,
                           .route = req->route,
                           .local_only = req->local_only,
                           .embeds = true,
                           .rerank = req->query != NULL};
    enum err e = make_plan(r, &ask, req->tenant, &plan, why);
    if (e) {
        arena_free(req->arena);
        return e;
    }
    req->local_only |= plan.pinned; /* a route's pin and the hub's are the request's, too */
    struct ask *a = ask_new(r, &plan);
    copy_names(a, req->request_id, req->tenant, req->model, req->query ? "rerank" : "embedding");
    a->named = provider_names_model(req->model);
    a->embed_fn = fn;
    a->ctx = ctx;
    a->embed = req;
    submit(a);
    return submitted(a, ask_start(a, why), id, why);
}

static void router_cancel(struct provider *p, uint64_t id)
{
    struct router *r = router_of(p);
    pthread_mutex_lock(&r->lock);
    struct idnode *n = idmap_get(&r->asks, id);
    struct ask *a = n ? container_of(n, struct ask, by_id) : NULL;
    if (a) a->refs++;
    pthread_mutex_unlock(&r->lock);
    if (!a) return;
    ask_cancel(a);
    ask_unref(a);
}

static enum err router_control(struct provider *p, enum control what, const char *args,
                               control_fn fn, void *ctx, struct error *error)
{
    return provider_control(router_of(p)->providers[0], what, args, fn, ctx, error);
}

/* The owner closes it by router_close, whose parts come at different times. */
static void router_close_op(struct provider *p, int64_t grace_ms)
{
    router_stop(router_of(p));
    router_close(router_of(p), grace_ms);
}

/* ---- opening and closing ------------------------------------------------------------------- */

static enum err open_remotes(struct router *r, const struct router_params *params,
                             struct error *error)
{
    for (size_t i = 1; i < r->routing->n_providers; i++) {
        const struct routing_provider *p = &r->routing->providers[i];
        enum err e =
            r->remotes->open(params->httpc, params->timers, &p->remote, &r->providers[i], error);
        if (e) {
            err_prefix(error, "provider %s", p->name);
            return e;
        }
        r->ops.caps |= r->providers[i]->ops->caps;
    }
    return OK;
}

static const struct router_remotes over_http = {
    .name = "http", .open = remote_open, .state = remote_state};

enum err router_open(const struct router_params *params, struct router **out, struct error *error)
{
    struct router *r = xcalloc(1, sizeof *r);
    r->routing = params->routing;
    r->prices = params->prices;
    r->timers = params->timers;
    r->hooks = params->hooks;
    r->remotes = params->remotes ? params->remotes : &over_http;
    r->alone = r->routing->routes[0].n == 1 &&
               r->routing->providers[r->routing->routes[0].chain[0].provider].local;
    r->providers[0] = params->local;
    r->ops = (struct provider_ops){.name = "router",
                                   .caps = params->local->ops->caps,
                                   .generate = router_generate,
                                   .cancel = router_cancel,
                                   .embed = router_embed,
                                   .control = router_control,
                                   .close = router_close_op};
    if (r->alone) r->ops.name = params->local->ops->name;
    r->base.ops = &r->ops;
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->settled, NULL);
    idmap_init(&r->asks);
    for (size_t i = 0; i < ROUTING_PROVIDERS_MAX; i++) r->first_token_ms[i] = -1;
    enum err e = open_remotes(r, params, error);
    if (e) {
        router_close(r, 0);
        router_free(r);
    } else {
        *out = r;
    }
    return e;
}

void router_stop(struct router *r)
{
    if (!r) return;
    pthread_mutex_lock(&r->lock);
    r->stopping = true;
    pthread_mutex_unlock(&r->lock);
}

void router_close(struct router *r, int64_t grace_ms)
{
    if (!r) return;
    pthread_mutex_lock(&r->lock);
    r->stopping = r->closed = true;
    while (r->busy) pthread_cond_wait(&r->settled, &r->lock);
    pthread_mutex_unlock(&r->lock);
    int64_t until = clock_mono_ms() + grace_ms;
    for (size_t i = 1; i < r->routing->n_providers; i++) {
        int64_t left = until - clock_mono_ms();
        provider_close(r->providers[i], left > 0 ? left : 0);
        r->providers[i] = NULL;
    }
}

void router_free(struct router *r)
{
    if (!r) return;
    ht_assert(r->asks.count == 0);
    idmap_free(&r->asks);
    pthread_cond_destroy(&r->settled);
    pthread_mutex_destroy(&r->lock);
    routing_free(r->routing);
    prices_free(r->prices);
    free(r);
}

/* ---- the rest ------------------------------------------------------------------------------ */

struct provider *router_provider(struct router *r)
{
    return &r->base;
}

const struct routing *router_routing(const struct router *r)
{
    return r->routing;
}

enum err router_ask(struct router *r, const char *name, enum control what, const char *args,
                    control_fn fn, void *ctx, struct error *error)
{
    const struct routing_provider *p = routing_provider(r->routing, name);
    if (!p) return routing_no_provider(r->routing, name, ERR_NOT_FOUND, "", error);
    if (!router_enter(r)) return refuse(error);
    enum err e =
        provider_control(r->providers[p - r->routing->providers], what, args, fn, ctx, error);
    router_leave(r);
    return e;
}

bool router_state(struct router *r, const char *name, struct remote_state *out)
{
    const struct routing_provider *p = routing_provider(r->routing, name);
    if (!p || p->local || !router_enter(r)) return false;
    r->remotes->state(r->providers[p - r->routing->providers], out);
    router_leave(r);
    return true;
}
