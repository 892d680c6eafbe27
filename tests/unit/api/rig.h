/* A hub around a provider that plays scripts, for tests of handlers. Header-only: the functions are
 * static inline, so that a test may leave some unused. */
#ifndef HEARTH_TESTS_API_RIG_H
#define HEARTH_TESTS_API_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/route.h"
#include "base/config.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "hub/hub.h"
#include "support/fake_request.h"
#include "support/memsink.h"

/* ---- a provider that plays scripts ----------------------------------------------------------
 * A script is a text, one letter per step:
 *   l loading  q queued   s started   k tokens   t text   r reasoning   c tool call
 *   e end of every choice   d done   x error   z sleep for 300 ms   w wait until the test says go
 * on, or the request is cancelled Each request is played by a thread of its own: harder than one
 * delivery thread. A cancelled one ends with ERR_CANCELLED at its next step. */
struct fake {
    struct provider base;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    const char *script;
    int refuse_from; /* the Nth generate and later ones are refused with ERR_BUSY; 0 = none */
    int calls, waiting, running, cancels, cancelled;
    bool go;
    size_t n_dims; /* embeddings */
    /* control */
    const char *answers[CONTROL_COUNT]; /* NULL: it has no such verb */
    char asked[512];                    /* the last call: "<verb> <args>" */
};

struct play {
    struct fake *fake;
    struct gen_request *req;
    struct embed_request *embed;
    gen_listener_fn fn;
    embed_listener_fn embed_fn;
    void *ctx;
    uint64_t id;
    atomic_bool cancelled;
    struct play *next;
};

static struct play *plays; /* under the fake's lock */

static inline void send(struct play *p, enum gen_event_type type, int32_t choice)
{
    struct error error;
    struct gen_event ev = {.type = type,
                           .choice = choice,
                           .text = "ab",
                           .text_len = 2,
                           .position = 3,
                           .wait_ms = 1200,
                           .fraction = 0.42f,
                           .model = "fake",
                           .finish = FINISH_STOP,
                           .usage = {3, 1, 2, 0},
                           .error = &error};
    ev.tool.id = "c1";
    ev.tool.name = "f";
    ev.tool.arguments = "{}";
    ev.tool.arguments_len = 2;
    err_set(&error, ERR_ENGINE, "the model caught fire");
    if (atomic_load(&p->cancelled) && type == GEN_EV_ERROR)
        err_set(&error, ERR_CANCELLED, "cancelled");
    p->fn(p->ctx, &ev);
}

static inline void wait_for_go(struct play *p)
{
    struct fake *f = p->fake;
    pthread_mutex_lock(&f->lock);
    f->waiting++;
    pthread_cond_broadcast(&f->changed);
    while (!f->go && !atomic_load(&p->cancelled)) pthread_cond_wait(&f->changed, &f->lock);
    pthread_mutex_unlock(&f->lock);
}

static inline void play_script(struct play *p)
{
    for (const char *step = p->fake->script; *step; step++) {
        if (*step == 'w') wait_for_go(p);
        if (atomic_load(&p->cancelled) || *step == 'x') {
            send(p, GEN_EV_ERROR, 0);
            return;
        }
        switch (*step) {
        case 'l': send(p, GEN_EV_LOADING, 0); break;
        case 'q': send(p, GEN_EV_QUEUED, 0); break;
        case 'k': send(p, GEN_EV_TOKENS, 0); break;
        case 'z': usleep(300000); break;
        case 's': send(p, GEN_EV_STARTED, 0); break;
        case 't':
            for (int32_t i = 0; i < p->req->n; i++) send(p, GEN_EV_TEXT, i);
            break;
        case 'r': send(p, GEN_EV_REASONING, 0); break;
        case 'c': send(p, GEN_EV_TOOL_CALL, 0); break;
        case 'e':
            for (int32_t i = 0; i < p->req->n; i++) send(p, GEN_EV_CHOICE_END, i);
            break;
        case 'd': send(p, GEN_EV_DONE, 0); return;
        default: break;
        }
    }
}

static inline void play_embedding(struct play *p)
{
    struct error error;
    struct embed_result r = {.model = "fake-embed", .prompt_tokens = 5};
    if (strchr(p->fake->script, 'w')) wait_for_go(p);
    if (strchr(p->fake->script, 'x') || atomic_load(&p->cancelled)) {
        err_set(&error, atomic_load(&p->cancelled) ? ERR_CANCELLED : ERR_CONTEXT, "too long");
        r = (struct embed_result){.error = &error};
        p->embed_fn(p->ctx, &r);
        return;
    }
    r.n_inputs = p->embed->n_inputs;
    r.n_dims = p->fake->n_dims;
    float *v = xcalloc(r.n_inputs * r.n_dims, sizeof *v);
    for (size_t i = 0; i < r.n_inputs; i++) { /* (0.6, 0.8, 0, 0, ...), then (0, 0.6, 0.8, ...) */
        v[i * r.n_dims + i % (r.n_dims - 1)] = 0.6f;
        v[i * r.n_dims + i % (r.n_dims - 1) + 1] = 0.8f;
    }
    r.vectors = v;
    p->embed_fn(p->ctx, &r);
    free(v);
}

static inline void *play_thread(void *arg)
{
    struct play *p = arg;
    struct fake *f = p->fake;
    if (p->req) {
        play_script(p);
        arena_free(p->req->arena);
    } else {
        play_embedding(p);
        arena_free(p->embed->arena);
    }
    pthread_mutex_lock(&f->lock);
    if (atomic_load(&p->cancelled)) f->cancelled++;
    for (struct play **at = &plays; *at; at = &(*at)->next) {
        if (*at != p) continue;
        *at = p->next;
        break;
    }
    f->running--;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
    free(p);
    return NULL;
}

static inline enum err start_play(struct fake *f, struct play *p, struct arena *arena, uint64_t *id,
                                  struct error *error)
{
    pthread_mutex_lock(&f->lock);
    int call = ++f->calls;
    bool refuse = f->refuse_from && call >= f->refuse_from;
    if (!refuse) {
        p->fake = f;
        p->id = (uint64_t)call;
        p->next = plays;
        plays = p;
        f->running++;
    }
    pthread_mutex_unlock(&f->lock);
    if (refuse) {
        free(p);
        arena_free(arena);
        return err_set(error, ERR_BUSY, "the queue is full");
    }
    *id = (uint64_t)call;
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, play_thread, p), 0);
    pthread_detach(t);
    return OK;
}

static inline enum err fake_generate(struct provider *base, struct gen_request *req,
                                     gen_listener_fn fn, void *ctx, uint64_t *id,
                                     struct error *error)
{
    struct play *p = xcalloc(1, sizeof *p);
    p->req = req;
    p->fn = fn;
    p->ctx = ctx;
    return start_play(container_of(base, struct fake, base), p, req->arena, id, error);
}

static inline enum err fake_embed(struct provider *base, struct embed_request *req,
                                  embed_listener_fn fn, void *ctx, uint64_t *id,
                                  struct error *error)
{
    struct play *p = xcalloc(1, sizeof *p);
    p->embed = req;
    p->embed_fn = fn;
    p->ctx = ctx;
    return start_play(container_of(base, struct fake, base), p, req->arena, id, error);
}

static inline void fake_cancel(struct provider *base, uint64_t id)
{
    struct fake *f = container_of(base, struct fake, base);
    pthread_mutex_lock(&f->lock);
    f->cancels++;
    for (struct play *p = plays; p; p = p->next)
        if (p->id == id) atomic_store(&p->cancelled, true);
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

static inline void fake_close(struct provider *base, int64_t grace_ms)
{
    (void)base;
    (void)grace_ms;
}

static inline enum err fake_control(struct provider *base, enum control what, const char *args,
                                    control_fn fn, void *ctx, struct error *error)
{
    struct fake *f = container_of(base, struct fake, base);
    if (!f->answers[what])
        return err_set(error, ERR_UNSUPPORTED, "fake knows no \"%s\"", control_name(what));
    snprintf(f->asked, sizeof f->asked, "%s %s", control_name(what), args);
    if (strcmp(f->answers[what], "fail") == 0) {
        struct error failed;
        err_set(&failed, ERR_NO_MODEL, "no such model");
        fn(ctx, &failed, NULL, 0);
    } else {
        fn(ctx, NULL, f->answers[what], strlen(f->answers[what]));
    }
    return OK;
}

static const struct provider_ops fake_ops = {.name = "fake",
                                             .caps = PROVIDER_GENERATE | PROVIDER_EMBED,
                                             .generate = fake_generate,
                                             .cancel = fake_cancel,
                                             .embed = fake_embed,
                                             .control = fake_control,
                                             .close = fake_close};

/* ---- a hub around it ----------------------------------------------------------------------- */

struct rig {
    struct fake fake;
    struct hub hub;
    struct config *config;
    struct memsink sink;
    struct fake_request req;
    char params[256];
};

static inline void rig_init(struct rig *r, const char *script)
{
    struct error error;
    memset(r, 0, sizeof *r);
    r->fake.base.ops = &fake_ops;
    r->fake.script = script;
    r->fake.n_dims = 4;
    pthread_mutex_init(&r->fake.lock, NULL);
    pthread_cond_init(&r->fake.changed, NULL);
    if (config_load(NULL, 0, &r->config, &error) != OK) fail_msg("%s", error.msg);
    r->hub.config = r->config;
    r->hub.local = &r->fake.base;
    r->hub.recorder = recorder_new(r->hub.local, 100, NULL, NULL);
    r->hub.provider = recorder_provider(r->hub.recorder);
    assert_int_equal(timers_new(&r->hub.timers, &error), OK);
    r->hub.health_view = snapshot_new(r->hub.timers, 0, 1000);
    r->hub.models_view = snapshot_new(r->hub.timers, 0, 1000);
    assert_int_equal(pool_new("test", 1, 16, &r->hub.pool, &error), OK);
    memsink_init(&r->sink);
}

static inline void rig_deinit(struct rig *r)
{
    memsink_deinit(&r->sink); /* waits until the answer has let go of it */
    pthread_mutex_lock(&r->fake.lock);
    while (r->fake.running) pthread_cond_wait(&r->fake.changed, &r->fake.lock);
    pthread_mutex_unlock(&r->fake.lock);
    pool_free(r->hub.pool);
    recorder_free(r->hub.recorder);
    snapshot_free(r->hub.health_view);
    snapshot_free(r->hub.models_view);
    timers_free(r->hub.timers);
    config_free(r->config);
    pthread_mutex_destroy(&r->fake.lock);
    pthread_cond_destroy(&r->fake.changed);
}

static inline void call_method(struct rig *r, enum http_method method, const char *path,
                               const char *body)
{
    const struct route *route;
    char allow[64];
    fake_request_init(&r->req, method, path, body);
    assert_int_equal(
        route_find(method, path, &route, r->params, sizeof r->params, r->req.http.params, allow),
        ROUTE_FOUND);
    route->handler(&r->hub, &r->req.http, &r->sink.sink);
}

static inline void call_path(struct rig *r, const char *path, const char *body)
{
    call_method(r, HTTP_POST, path, body);
}

/* Ready for the next call. */
static inline void rig_next(struct rig *r)
{
    memsink_deinit(&r->sink);
    memsink_init(&r->sink);
}

#define CHAT   "/v1/chat/completions"
#define U      "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
#define STREAM "{" U ",\"stream\":true}"
#define WHOLE  "{" U "}"

static inline void wait_until_waiting(struct rig *r, int n)
{
    pthread_mutex_lock(&r->fake.lock);
    while (r->fake.waiting < n) pthread_cond_wait(&r->fake.changed, &r->fake.lock);
    pthread_mutex_unlock(&r->fake.lock);
}

static inline void go(struct rig *r)
{
    pthread_mutex_lock(&r->fake.lock);
    r->fake.go = true;
    pthread_cond_broadcast(&r->fake.changed);
    pthread_mutex_unlock(&r->fake.lock);
}

static inline json_t *body_of(struct rig *r)
{
    json_t *v;
    struct error error;
    memsink_wait(&r->sink);
    if (json_parse(buf_str(&r->sink.body), r->sink.body.len, &v, &error) != OK)
        fail_msg("%s: %s", error.msg, buf_str(&r->sink.body));
    return v;
}

static inline void check_error(struct rig *r, int status, const char *type, const char *code)
{
    json_t *v = body_of(r);
    const json_t *e = json_object_get(v, "error");
    assert_int_equal(r->sink.status, status);
    assert_string_equal(r->sink.content_type, "application/json");
    assert_string_equal(json_string_value(json_object_get(e, "type")), type);
    assert_string_equal(json_string_value(json_object_get(e, "code")), code);
    assert_string_equal(json_string_value(json_object_get(e, "request_id")), "req-test");
    assert_true(strlen(json_string_value(json_object_get(e, "message"))) > 0);
    assert_non_null(json_object_get(e, "param"));
    json_decref(v);
}

static inline int quiet(void **state)
{
    (void)state;
    struct error error;
    return log_open(LOG_OFF, false, "", &error) == OK ? 0 : -1;
}

#endif
