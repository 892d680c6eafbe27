/* One request on its way: handing it to one provider after the other. See router.h.
 *
 *   ask_start --a provider takes it--> under way --its last event--> over
 *   ask_start --none takes it--> over
 *   under way --ERROR, and the next may be tried: ask_start--> under way
 *
 * References: the call that makes an ask, and the listener until its last event. While a listener
 * starts the next attempt it has a third one, since that attempt may end before the call that
 * started it returns. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "router/router_int.h"

enum { ATTEMPT_ARENA = 4096 };

/* Whom it asks from now on; before the first attempt. */
static void take_plan(struct ask *a, const struct plan *plan)
{
    free(a->steps);
    a->steps = xmalloc(plan->n * sizeof *a->steps);
    memcpy(a->steps, plan->steps, plan->n * sizeof *a->steps);
    a->n = plan->n;
    a->skipped = false;
    for (size_t i = 0; i < plan->n_skips; i++) a->skipped |= plan->skips[i].why == SKIP_PINNED;
    a->tier = plan->scored ? plan->tier : TIER_SMALL;
    a->record.complexity = plan->scored ? plan->score : -1;
    if (plan->scored) a->classified = plan->classified;
}

struct ask *ask_new(struct router *r, const struct plan *plan)
{
    struct ask *a = xcalloc(1, sizeof *a);
    a->router = r;
    take_plan(a, plan);
    a->pinned = plan->pinned;
    a->max_wait_ms = plan->route->max_wait_ms;
    a->refs = 2; /* the call's and the listener's */
    a->began_ns = clock_mono_ns();
    a->record.route = plan->route->name;
    a->record.goal = goal_name(plan->goal);
    a->record.started_wall_ms = clock_wall_ms();
    a->record.first_token_ms = -1;
    a->record.cost_micros = -1;
    return a;
}

void ask_unref(struct ask *a)
{
    struct router *r = a->router;
    pthread_mutex_lock(&r->lock);
    bool last = --a->refs == 0;
    pthread_mutex_unlock(&r->lock);
    if (!last) return;
    if (a->gen) arena_free(a->gen->arena);
    if (a->embed) arena_free(a->embed->arena);
    free(a->steps);
    free(a);
}

/* ---- what leaves --------------------------------------------------------------------------- */

static void count_message(struct ask *a, const struct message *m)
{
    a->bytes += (int64_t)strlen(m->content);
    if (m->reasoning) a->bytes += (int64_t)strlen(m->reasoning);
    for (size_t i = 0; i < m->n_tool_calls; i++)
        a->bytes += (int64_t)strlen(m->tool_calls[i].arguments);
    for (size_t i = 0; i < m->n_images; i++) {
        const struct image *im = &m->images[i];
        a->bytes += (int64_t)strlen(im->data ? im->data : im->url ? im->url : "");
    }
    a->record.left_images += (int32_t)m->n_images;
}

static void count_bytes(struct ask *a, const struct gen_request *gen,
                        const struct embed_request *embed)
{
    for (size_t i = 0; gen && i < gen->n_messages; i++) count_message(a, &gen->messages[i]);
    if (gen && gen->prompt) a->bytes += (int64_t)strlen(gen->prompt);
    for (size_t i = 0; gen && i < gen->n_tools; i++)
        a->bytes += (int64_t)strlen(gen->tools[i].parameters);
    for (size_t i = 0; embed && i < embed->n_inputs; i++)
        a->bytes += (int64_t)embed->inputs[i].text_len;
    a->record.left_messages = gen ? (int32_t)gen->n_messages : (int32_t)embed->n_inputs;
}

/* It goes to this provider; who has been sent it stays written, whatever comes of it. */
static void note_leaving(struct ask *a, const struct routing_provider *p,
                         const struct gen_request *gen, const struct embed_request *embed)
{
    struct router_record *rec = &a->record;
    if (!p->leaves) return;
    if (!rec->left_to[0]) count_bytes(a, gen, embed);
    rec->left_bytes += a->bytes;
    size_t used = strlen(rec->left_to);
    str_printf(rec->left_to + used, sizeof rec->left_to - used, "%s%s", used ? "," : "", p->name);
}

/* What of the record says that the request left this machine. */
struct leaving {
    size_t to;
    int64_t bytes, each;
    int32_t messages, images;
};

static struct leaving leaving_so_far(const struct ask *a)
{
    const struct router_record *rec = &a->record;
    return (struct leaving){strlen(rec->left_to), rec->left_bytes, a->bytes, rec->left_messages,
                            rec->left_images};
}

/* A provider that refuses at once has sent nothing, and has no listener, which might have the
 * record. */
static void undo_leaving(struct ask *a, const struct leaving *was)
{
    struct router_record *rec = &a->record;
    rec->left_to[was->to] = '\0';
    rec->left_bytes = was->bytes;
    rec->left_messages = was->messages;
    rec->left_images = was->images;
    a->bytes = was->each;
}

/* ---- an attempt ---------------------------------------------------------------------------- */

/* A copy of a request that points into it, in an arena of its own; NULL: no memory. */
static void *point_into(struct arena *of, const void *req, size_t size, struct arena **arena)
{
    *arena = arena_child(of, ATTEMPT_ARENA);
    void *copy = arena_alloc(*arena, size);
    if (copy)
        memcpy(copy, req, size);
    else
        arena_free(*arena);
    return copy;
}

/* The request for this attempt: the request itself when no other can follow, else one that points
 * into it. NULL: no memory. */
static struct gen_request *request_of(struct ask *a, const char *model)
{
    struct gen_request *req = a->gen;
    struct arena *arena = req->arena;
    if (a->at + 1 == a->n)
        a->gen = NULL;
    else
        req = point_into(arena, req, sizeof *req, &arena);
    if (!req) return NULL;
    req->arena = arena;
    req->model = model;
    return req;
}

static struct embed_request *embed_request_of(struct ask *a, const char *model)
{
    struct embed_request *req = a->embed;
    struct arena *arena = req->arena;
    if (a->at + 1 == a->n)
        a->embed = NULL;
    else
        req = point_into(arena, req, sizeof *req, &arena);
    if (!req) return NULL;
    req->arena = arena;
    req->model = model;
    return req;
}

static enum err hand_over(struct ask *a, const struct plan_step *step, uint64_t *id,
                          struct error *error)
{
    struct router *r = a->router;
    struct provider *p = r->providers[step->provider];
    const struct routing_provider *to = &r->routing->providers[step->provider];
    if (a->embed_fn) {
        struct embed_request *req = embed_request_of(a, step->model);
        if (!req) return err_set(error, ERR_NOMEM, "no memory for another attempt");
        note_leaving(a, to, NULL, req);
        return provider_embed(p, req, ask_listen_embed, a, id, error);
    }
    struct gen_request *req = request_of(a, step->model);
    if (!req) return err_set(error, ERR_NOMEM, "no memory for another attempt");
    note_leaving(a, to, req, NULL);
    return provider_generate(p, req, ask_listen, a, id, error);
}

/* From here on nobody else stops the provider until it was handed over. */
static enum err begin_attempt(struct ask *a, int32_t *mine, struct error *error)
{
    struct router *r = a->router;
    const struct plan_step *step = &a->steps[a->at];
    enum err e = OK;
    pthread_mutex_lock(&r->lock);
    if (r->stopping)
        e = err_set(error, ERR_STOPPING, "the hub is shutting down");
    else if (a->cancelled)
        e = err_set(error, ERR_CANCELLED, "the request was cancelled");
    else
        r->busy++;
    *mine = ++a->attempt;
    a->inner_id = 0;
    pthread_mutex_unlock(&r->lock);
    if (e) return e;
    a->now = *step;
    a->announced = a->holds = false;
    a->attempt_ns = clock_mono_ns();
    a->record.attempts++;
    str_copy(a->record.provider, sizeof a->record.provider,
             r->routing->providers[step->provider].name);
    str_copy(a->record.model, sizeof a->record.model, step->model);
    str_copy(a->priced, sizeof a->priced, plan_step_model(r->routing, step));
    return OK;
}

/* The attempt may be over by now, and the next one under way. */
static void end_handing(struct ask *a, int32_t mine, uint64_t id, struct provider *p)
{
    struct router *r = a->router;
    bool cancel = false;
    pthread_mutex_lock(&r->lock);
    if (id && a->attempt == mine) {
        a->inner = p;
        a->inner_id = id;
        cancel = a->cancelled || a->dropped == mine;
    }
    pthread_mutex_unlock(&r->lock);
    if (cancel) provider_cancel(p, id);
    router_leave(r);
}

enum err ask_start(struct ask *a, struct error *error)
{
    struct router *r = a->router;
    for (;;) {
        int32_t mine;
        uint64_t id = 0;
        struct plan_step step = a->steps[a->at];
        enum err e = begin_attempt(a, &mine, error);
        if (e) return e;
        struct leaving was = leaving_so_far(a);
        e = hand_over(a, &step, &id, error);
        end_handing(a, mine, e ? 0 : id, r->providers[step.provider]);
        if (!e) return OK; /* it is the listener's now */
        undo_leaving(a, &was);
        if (!ask_may_go_on(a, error)) return e;
        a->at++;
    }
}

/* Under the lock, which it gives up: cancels what is under way, unless the providers are being
 * closed, which ends it as well. */
static void cancel_inner(struct ask *a)
{
    struct router *r = a->router;
    uint64_t id = r->closed ? 0 : a->inner_id;
    struct provider *p = a->inner;
    if (id) r->busy++;
    pthread_mutex_unlock(&r->lock);
    if (!id) return;
    provider_cancel(p, id);
    router_leave(r);
}

void ask_cancel(struct ask *a)
{
    pthread_mutex_lock(&a->router->lock);
    a->cancelled = true;
    struct classify *c = a->classify;
    if (c) classify_ref(c);
    cancel_inner(a);
    if (!c) return;
    classify_cancel(c);
    classify_unref(c);
}

/* ---- asking the local model how hard it is --------------------------------------------------- */

/* The request's steps are those of the plan that knows the answer. Whatever comes of it, the
 * listener hears of it. */
static void on_classified(void *ctx, const struct classified *said)
{
    struct ask *a = ctx;
    struct router *r = a->router;
    struct plan plan;
    struct error error;
    pthread_mutex_lock(&r->lock);
    a->classify = NULL;
    a->refs++; /* as of a listener that starts the next attempt */
    pthread_mutex_unlock(&r->lock);
    enum err e = router_plan_again(r, a->gen, said, &plan, &error);
    if (!e) take_plan(a, &plan);
    if (!e) e = ask_start(a, &error);
    if (e) ask_fail(a, &error, &(struct gen_event){.type = GEN_EV_ERROR});
    ask_unref(a);
}

bool ask_classify(struct ask *a)
{
    return classify_start(a->router, a->gen, on_classified, a, &a->classify, &a->classified);
}

void ask_drop(struct ask *a)
{
    pthread_mutex_lock(&a->router->lock);
    a->dropped = a->attempt;
    cancel_inner(a);
}
