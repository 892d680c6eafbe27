/* Providers by hand in front of which a router stands: the test sends their every event itself, and
 * sees what comes out. For the tests of this folder. */
#ifndef HEARTH_TESTS_UNIT_ROUTER_HARNESS_H
#define HEARTH_TESTS_UNIT_ROUTER_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/list.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/timer.h"
#include "router/router_int.h"
#include "router/routing_int.h"

enum { HANDS_MAX = 8, CALLS_MAX = 64, SEEN_MAX = 256 };

/* ---- providers ----------------------------------------------------------------------------- */

struct hand {
    struct provider base;
    const char *name;
    struct {
        gen_listener_fn fn;
        embed_listener_fn embed_fn;
        void *ctx;
        char model[64];
        char text[64];   /* of the first message: read while the attempt is under way */
        bool classifies; /* it is the router's own question: only of a model in memory */
        struct arena *arena;
    } calls[CALLS_MAX];
    int n;
    atomic_int
        n_whole; /* calls whose fields above are all there: for who waits on another thread */
    atomic_int n_cancels;
    uint64_t cancelled;
    enum err refuse;                          /* generate and embed say no */
    void (*inside)(struct hand *h, int call); /* runs inside generate, before it returns */
    bool closed;
    struct remote_state state;
};

static struct hand hands[HANDS_MAX]; /* 0 is the local one */
static int n_hands;

static inline enum err hand_generate(struct provider *p, struct gen_request *req,
                                     gen_listener_fn fn, void *ctx, uint64_t *id,
                                     struct error *error)
{
    struct hand *h = container_of(p, struct hand, base);
    assert_false(h->closed);
    if (h->refuse) {
        arena_free(req->arena);
        return err_set(error, h->refuse, "%s says no", h->name);
    }
    int call = h->n++;
    h->calls[call].fn = fn;
    h->calls[call].ctx = ctx;
    h->calls[call].arena = req->arena;
    str_copy(h->calls[call].model, sizeof h->calls->model, req->model);
    str_copy(h->calls[call].text, sizeof h->calls->text, req->messages[0].content);
    h->calls[call].classifies = req->loaded_only;
    h->n_whole++;
    if (h->inside) h->inside(h, call);
    *id = (uint64_t)call + 1000;
    return OK;
}

static inline enum err hand_embed(struct provider *p, struct embed_request *req,
                                  embed_listener_fn fn, void *ctx, uint64_t *id,
                                  struct error *error)
{
    struct hand *h = container_of(p, struct hand, base);
    if (h->refuse) {
        arena_free(req->arena);
        return err_set(error, h->refuse, "%s says no", h->name);
    }
    int call = h->n++;
    h->calls[call].embed_fn = fn;
    h->calls[call].ctx = ctx;
    h->calls[call].arena = req->arena;
    str_copy(h->calls[call].model, sizeof h->calls->model, req->model);
    *id = (uint64_t)call + 1000;
    return OK;
}

static inline void hand_cancel(struct provider *p, uint64_t id)
{
    struct hand *h = container_of(p, struct hand, base);
    h->cancelled = id;
    h->n_cancels++;
}

static inline enum err hand_control(struct provider *p, enum control what, const char *args,
                                    control_fn fn, void *ctx, struct error *error)
{
    (void)what, (void)args, (void)error;
    struct hand *h = container_of(p, struct hand, base);
    char text[80];
    str_printf(text, sizeof text, "{\"who\":\"%s\"}", h->name);
    fn(ctx, NULL, text, strlen(text));
    return OK;
}

static inline void hand_close(struct provider *p, int64_t grace_ms)
{
    (void)grace_ms;
    struct hand *h = container_of(p, struct hand, base);
    h->closed = true;
}

static const struct provider_ops local_ops = {.name = "local",
                                              .caps = PROVIDER_GENERATE | PROVIDER_EMBED |
                                                      PROVIDER_TOOLS,
                                              .generate = hand_generate,
                                              .cancel = hand_cancel,
                                              .embed = hand_embed,
                                              .control = hand_control,
                                              .close = hand_close};
static const struct provider_ops remote_ops = {.name = "hand",
                                               .caps = PROVIDER_GENERATE | PROVIDER_EMBED |
                                                       PROVIDER_TOOLS | PROVIDER_IMAGES,
                                               .generate = hand_generate,
                                               .cancel = hand_cancel,
                                               .embed = hand_embed,
                                               .control = hand_control,
                                               .close = hand_close};

static inline enum err hand_open(struct httpc *httpc, struct timers *timers,
                                 const struct remote_params *params, struct provider **out,
                                 struct error *error)
{
    (void)httpc, (void)timers, (void)error;
    struct hand *h = &hands[n_hands++];
    *h = (struct hand){.base = {&remote_ops}, .name = params->name};
    *out = &h->base;
    return OK;
}

static inline void hand_state(struct provider *p, struct remote_state *out)
{
    *out = container_of(p, struct hand, base)->state;
}

static const struct router_remotes by_hand = {"hand", hand_open, hand_state};

static inline struct hand *hand(const char *name)
{
    for (int i = 0; i < n_hands; i++)
        if (str_eq(hands[i].name, name)) return &hands[i];
    fail_msg("no provider %s", name);
    return NULL;
}

/* ---- what comes out ------------------------------------------------------------------------ */

struct seen {
    int n;
    struct {
        enum gen_event_type type;
        char text[64], provider[64], model[64], reason[200];
        bool remote;
        int32_t attempt;
    } events[SEEN_MAX];
    struct error error;
    int n_last;
};

static inline void see(void *ctx, const struct gen_event *ev)
{
    struct seen *s = ctx;
    assert_int_equal(s->n_last, 0);
    assert_true(s->n < SEEN_MAX);
    s->events[s->n].type = ev->type;
    if (ev->text)
        str_printf(s->events[s->n].text, sizeof s->events->text, "%.*s", (int)ev->text_len,
                   ev->text);
    if (ev->model) str_copy(s->events[s->n].model, sizeof s->events->model, ev->model);
    if (ev->route) {
        str_copy(s->events[s->n].provider, sizeof s->events->provider, ev->route->provider);
        str_copy(s->events[s->n].model, sizeof s->events->model, ev->route->model);
        str_copy(s->events[s->n].reason, sizeof s->events->reason, ev->route->reason);
        s->events[s->n].remote = ev->route->remote;
        s->events[s->n].attempt = ev->route->attempt;
    }
    s->n++;
    if (ev->type == GEN_EV_ERROR) s->error = *ev->error;
    if (ev->type == GEN_EV_DONE || ev->type == GEN_EV_ERROR) s->n_last++;
}

/* "RSTTD": the types in one word. */
static inline const char *types(const struct seen *s)
{
    static char word[SEEN_MAX + 1];
    static const char letters[] = {
        [GEN_EV_LOADING] = 'L',   [GEN_EV_QUEUED] = 'Q',     [GEN_EV_STARTED] = 'S',
        [GEN_EV_TOKENS] = 'K',    [GEN_EV_TEXT] = 'T',       [GEN_EV_REASONING] = 'I',
        [GEN_EV_TOOL_CALL] = 'C', [GEN_EV_CHOICE_END] = 'E', [GEN_EV_DONE] = 'D',
        [GEN_EV_ERROR] = 'X',     [GEN_EV_ROUTED] = 'R'};
    for (int i = 0; i < s->n; i++) word[i] = letters[s->events[i].type];
    word[s->n] = '\0';
    return word;
}

/* ---- the router ---------------------------------------------------------------------------- */

static struct router *router;
static struct timers *timers;
static struct router_record last_record;
static int n_records;
static bool broke; /* the month's budget is used up */
/* Of the questions how hard a request is: how many were told, what the last one took, whose it was.
 */
static int n_classified;
static struct usage last_classified;
static char classified_tenant[ROUTER_NAME_MAX];

static inline bool may_spend(void *ctx, const char *tenant)
{
    (void)ctx, (void)tenant;
    return !broke;
}

static inline void ended(void *ctx, const struct router_record *record)
{
    (void)ctx;
    last_record = *record;
    n_records++;
}

static inline void classified(void *ctx, const char *tenant, const struct usage *usage)
{
    (void)ctx;
    last_classified = *usage;
    str_copy(classified_tenant, sizeof classified_tenant, tenant);
    n_classified++;
}

/* Routing from the text of a file, with the settings' defaults and these overrides. */
static inline struct routing *some_routing(const struct config_override *overrides, size_t n,
                                           const char *text)
{
    struct config *config;
    struct routing *r;
    struct error error;
    assert_int_equal(config_from(overrides, n, &config, &error), OK);
    char path[] = "/tmp/hearth-test-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
    struct config_override all[16];
    assert_true(n < 15);
    for (size_t i = 0; i < n; i++) all[i] = overrides[i];
    all[n] = (struct config_override){CONFIG_PROVIDERS_FILE, path};
    config_free(config);
    assert_int_equal(config_from(all, n + 1, &config, &error), OK);
    if (routing_load(config, &r, &error)) fail_msg("%s", error.msg);
    config_free(config);
    unlink(path);
    return r;
}

static inline void router_start(struct routing *routing)
{
    struct error error;
    n_hands = 1;
    hands[0] = (struct hand){.base = {&local_ops}, .name = "local"};
    struct router_params params = {.routing = routing,
                                   .local = &hands[0].base,
                                   .remotes = &by_hand,
                                   .hooks = {may_spend, ended, classified, NULL}};
    assert_int_equal(prices_load("", &params.prices, &error), OK);
    assert_int_equal(timers_new(&timers, &error), OK);
    params.timers = timers;
    assert_int_equal(router_open(&params, &router, &error), OK);
    n_records = n_classified = 0;
    broke = false;
}

/* Gives the arenas of all calls back, as a provider would, and takes the router down. */
static inline void router_end(void)
{
    for (int i = 0; i < n_hands; i++)
        for (int k = 0; k < hands[i].n; k++) arena_free(hands[i].calls[k].arena);
    router_stop(router);
    router_close(router, 0);
    router_free(router);
    timers_free(timers);
}

static inline struct gen_request *some_request(const char *model, const char *text)
{
    struct arena *a = arena_new(65536);
    struct gen_request *req = arena_calloc(a, 1, sizeof *req);
    struct message *m = arena_calloc(a, 1, sizeof *m);
    *m = (struct message){.role = ROLE_USER, .content = arena_strdup(a, text)};
    *req = (struct gen_request){.arena = a,
                                .request_id = "req",
                                .model = arena_strdup(a, model),
                                .tenant = "me",
                                .messages = m,
                                .n_messages = 1,
                                .n = 1};
    return req;
}

static inline enum err ask_router(struct gen_request *req, struct seen *s, uint64_t *id)
{
    *s = (struct seen){0};
    return provider_generate(router_provider(router), req, see, s, id, &s->error);
}

static inline void tell(struct hand *h, int call, const struct gen_event *ev)
{
    assert_true(call < h->n);
    h->calls[call].fn(h->calls[call].ctx, ev);
}

static inline void tell_type(struct hand *h, int call, enum gen_event_type type)
{
    tell(h, call, &(struct gen_event){.type = type, .model = "", .wait_ms = -1});
}

static inline void tell_text(struct hand *h, int call, const char *text)
{
    tell(h, call, &(struct gen_event){.type = GEN_EV_TEXT, .text = text, .text_len = strlen(text)});
}

static inline void tell_error(struct hand *h, int call, enum err code)
{
    struct error error;
    err_set(&error, code, "%s failed", h->name);
    tell(h, call, &(struct gen_event){.type = GEN_EV_ERROR, .error = &error});
}

static inline void tell_done(struct hand *h, int call)
{
    tell(h, call, &(struct gen_event){.type = GEN_EV_DONE, .usage = {10, 0, 5, 0}});
}

#endif
