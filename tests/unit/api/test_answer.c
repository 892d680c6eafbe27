/* Calls from the handler to the last byte, over a provider that plays scripts: errors in every
 * stage, clients that go away in every stage, several prompts at once, embeddings. Run it with
 * -DHEARTH_SAN=address and =thread: much of what it checks is that nothing leaks or races. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/route.h"
#include "base/config.h"
#include "base/fault.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "hub/hub.h"
#include "support/fake_request.h"
#include "support/memsink.h"

/* ---- a provider that plays scripts ----------------------------------------------------------
 * A script is a text, one letter per step:
 *   q queued   s started   t text   r reasoning   c tool call   e end of every choice   d done
 *   x error    w wait until the test says go on, or the request is cancelled
 * Each request is played by a thread of its own: harder than one delivery thread. A cancelled one
 * ends with ERR_CANCELLED at its next step. */
struct fake {
    struct provider base;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    const char *script;
    int refuse_from; /* the Nth generate and later ones are refused with ERR_BUSY; 0 = none */
    int calls, waiting, running, cancels, cancelled;
    bool go;
    size_t n_dims; /* embeddings */
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

static void send(struct play *p, enum gen_event_type type, int32_t choice)
{
    struct error error;
    struct gen_event ev = {.type = type,
                           .choice = choice,
                           .text = "ab",
                           .text_len = 2,
                           .position = 3,
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

static void wait_for_go(struct play *p)
{
    struct fake *f = p->fake;
    pthread_mutex_lock(&f->lock);
    f->waiting++;
    pthread_cond_broadcast(&f->changed);
    while (!f->go && !atomic_load(&p->cancelled)) pthread_cond_wait(&f->changed, &f->lock);
    pthread_mutex_unlock(&f->lock);
}

static void play_script(struct play *p)
{
    for (const char *step = p->fake->script; *step; step++) {
        if (*step == 'w') wait_for_go(p);
        if (atomic_load(&p->cancelled) || *step == 'x') {
            send(p, GEN_EV_ERROR, 0);
            return;
        }
        switch (*step) {
        case 'q': send(p, GEN_EV_QUEUED, 0); break;
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

static void play_embedding(struct play *p)
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

static void *play_thread(void *arg)
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

static enum err start_play(struct fake *f, struct play *p, struct arena *arena, uint64_t *id,
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

static enum err fake_generate(struct provider *base, struct gen_request *req, gen_listener_fn fn,
                              void *ctx, uint64_t *id, struct error *error)
{
    struct play *p = xcalloc(1, sizeof *p);
    p->req = req;
    p->fn = fn;
    p->ctx = ctx;
    return start_play(container_of(base, struct fake, base), p, req->arena, id, error);
}

static enum err fake_embed(struct provider *base, struct embed_request *req, embed_listener_fn fn,
                           void *ctx, uint64_t *id, struct error *error)
{
    struct play *p = xcalloc(1, sizeof *p);
    p->embed = req;
    p->embed_fn = fn;
    p->ctx = ctx;
    return start_play(container_of(base, struct fake, base), p, req->arena, id, error);
}

static void fake_cancel(struct provider *base, uint64_t id)
{
    struct fake *f = container_of(base, struct fake, base);
    pthread_mutex_lock(&f->lock);
    f->cancels++;
    for (struct play *p = plays; p; p = p->next)
        if (p->id == id) atomic_store(&p->cancelled, true);
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

static void fake_close(struct provider *base, int64_t grace_ms)
{
    (void)base;
    (void)grace_ms;
}

static const struct provider_ops fake_ops = {
    "fake", PROVIDER_GENERATE | PROVIDER_EMBED, fake_generate, fake_cancel, fake_embed, fake_close};

/* ---- a hub around it ----------------------------------------------------------------------- */

struct rig {
    struct fake fake;
    struct hub hub;
    struct config *config;
    struct memsink sink;
    struct fake_request req;
};

static void rig_init(struct rig *r, const char *script)
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
    assert_int_equal(pool_new("test", 1, 16, &r->hub.pool, &error), OK);
    memsink_init(&r->sink);
}

static void rig_deinit(struct rig *r)
{
    memsink_deinit(&r->sink); /* waits until the answer has let go of it */
    pthread_mutex_lock(&r->fake.lock);
    while (r->fake.running) pthread_cond_wait(&r->fake.changed, &r->fake.lock);
    pthread_mutex_unlock(&r->fake.lock);
    pool_free(r->hub.pool);
    config_free(r->config);
    pthread_mutex_destroy(&r->fake.lock);
    pthread_cond_destroy(&r->fake.changed);
}

static void call_path(struct rig *r, const char *path, const char *body)
{
    const struct route *route;
    char buf[64], allow[64];
    fake_request_init(&r->req, HTTP_POST, path, body);
    assert_int_equal(
        route_find(HTTP_POST, path, &route, buf, sizeof buf, r->req.http.params, allow),
        ROUTE_FOUND);
    route->handler(&r->hub, &r->req.http, &r->sink.sink);
}

#define CHAT   "/v1/chat/completions"
#define U      "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
#define STREAM "{" U ",\"stream\":true}"
#define WHOLE  "{" U "}"

static void wait_until_waiting(struct rig *r, int n)
{
    pthread_mutex_lock(&r->fake.lock);
    while (r->fake.waiting < n) pthread_cond_wait(&r->fake.changed, &r->fake.lock);
    pthread_mutex_unlock(&r->fake.lock);
}

static void go(struct rig *r)
{
    pthread_mutex_lock(&r->fake.lock);
    r->fake.go = true;
    pthread_cond_broadcast(&r->fake.changed);
    pthread_mutex_unlock(&r->fake.lock);
}

static json_t *body_of(struct rig *r)
{
    json_t *v;
    struct error error;
    memsink_wait(&r->sink);
    if (json_parse(buf_str(&r->sink.body), r->sink.body.len, &v, &error) != OK)
        fail_msg("%s: %s", error.msg, buf_str(&r->sink.body));
    return v;
}

static void check_error(struct rig *r, int status, const char *type, const char *code)
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

/* ---- answers that work --------------------------------------------------------------------- */

static void whole_answer(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, "qstted");
    call_path(&r, CHAT, WHOLE);
    json_t *v = body_of(&r);
    assert_int_equal(r.sink.status, 200);
    assert_string_equal(r.sink.content_type, "application/json");
    const json_t *choice = json_array_get(json_object_get(v, "choices"), 0);
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(choice, "message"), "content")), "abab");
    assert_string_equal(json_string_value(json_object_get(v, "model")), "fake");
    json_decref(v);
    rig_deinit(&r);
}

static void streamed_answer(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, "sted");
    call_path(&r, CHAT, STREAM);
    memsink_wait(&r.sink);
    assert_int_equal(r.sink.state, MEMSINK_ENDED);
    assert_int_equal(r.sink.status, 200);
    assert_string_equal(r.sink.content_type, "text/event-stream");
    assert_non_null(strstr(r.sink.headers.data, "Cache-Control: no-cache"));
    assert_true(str_starts(r.sink.body.data, "data: {\"id\":\"chatcmpl-"));
    assert_true(str_ends(r.sink.body.data, "\n\ndata: [DONE]\n\n"));
    rig_deinit(&r);
}

static void waiting_in_the_queue_is_a_comment(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, "qwsted");
    call_path(&r, CHAT, STREAM);
    wait_until_waiting(&r, 1);
    pthread_mutex_lock(&r.sink.lock);
    assert_int_equal(r.sink.state, MEMSINK_STREAMING);
    assert_string_equal(buf_str(&r.sink.body), ": queued position=3\n\n");
    pthread_mutex_unlock(&r.sink.lock);
    go(&r);
    rig_deinit(&r);
}

/* The stream's status must not go out before the request started. */
static void silence_until_the_start(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, "wswted");
    call_path(&r, CHAT, STREAM);
    wait_until_waiting(&r, 1);
    pthread_mutex_lock(&r.sink.lock);
    assert_int_equal(r.sink.state, MEMSINK_OPEN);
    pthread_mutex_unlock(&r.sink.lock);
    go(&r);
    rig_deinit(&r);
}

/* A raw completion has nothing to say at the start, but its status goes out. */
static void a_completion_begins_with_the_start(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, "swted");
    call_path(&r, "/v1/completions", "{\"prompt\":\"a\",\"stream\":true}");
    wait_until_waiting(&r, 1);
    pthread_mutex_lock(&r.sink.lock);
    assert_int_equal(r.sink.state, MEMSINK_STREAMING);
    assert_int_equal(r.sink.body.len, 0);
    pthread_mutex_unlock(&r.sink.lock);
    go(&r);
    rig_deinit(&r);
}

/* ---- errors -------------------------------------------------------------------------------- */

static void a_full_queue_is_429(void **state)
{
    (void)state;
    for (int streamed = 0; streamed < 2; streamed++) {
        struct rig r;
        rig_init(&r, "sted");
        r.fake.refuse_from = 1;
        call_path(&r, CHAT, streamed ? STREAM : WHOLE);
        check_error(&r, 429, "rate_limit_error", "queue_full");
        assert_non_null(strstr(r.sink.headers.data, "Retry-After: "));
        rig_deinit(&r);
    }
}

static void errors_before_the_stream_have_a_status(void **state)
{
    (void)state;
    static const char *const scripts[] = {"x", "qx", "sx", "stx", "stex"};
    for (size_t i = 0; i < 5; i++) { /* whole: always */
        struct rig r;
        rig_init(&r, scripts[i]);
        call_path(&r, CHAT, WHOLE);
        check_error(&r, 500, "server_error", "engine_error");
        assert_int_equal(r.sink.headers.len, 0);
        rig_deinit(&r);
    }
    struct rig r;
    rig_init(&r, "x");
    call_path(&r, CHAT, STREAM);
    check_error(&r, 500, "server_error", "engine_error");
    rig_deinit(&r);
}

static void errors_in_the_stream_are_events(void **state)
{
    (void)state;
    static const char *const scripts[] = {"qx", "sx", "stx", "strx", "stex"};
    for (size_t i = 0; i < 5; i++) {
        struct rig r;
        rig_init(&r, scripts[i]);
        call_path(&r, CHAT, STREAM);
        memsink_wait(&r.sink);
        assert_int_equal(r.sink.status, 200);
        assert_int_equal(r.sink.state, MEMSINK_ENDED);
        assert_true(str_ends(r.sink.body.data,
                             "data: {\"error\":{\"message\":\"the model caught fire\",\"type\":"
                             "\"server_error\",\"param\":null,\"code\":\"engine_error\","
                             "\"request_id\":\"req-test\"}}\n\ndata: [DONE]\n\n"));
        rig_deinit(&r);
    }
}

static void bad_bodies(void **state)
{
    (void)state;
    static const char *const paths[] = {CHAT, "/v1/completions", "/v1/embeddings"};
    for (size_t i = 0; i < 3; i++) {
        struct rig r;
        rig_init(&r, "");
        call_path(&r, paths[i], "{\"a\":");
        check_error(&r, 400, "invalid_request_error", "invalid_json");
        assert_int_equal(r.fake.calls, 0);
        rig_deinit(&r);
    }
}

static void web_pages_must_say_json(void **state)
{
    (void)state;
    static const struct {
        const char *headers[5];
        bool accepted;
    } cases[] = {
        {{NULL}, true},
        {{"Content-Type", "application/x-www-form-urlencoded", NULL}, true}, /* curl -d */
        {{"Origin", "http://evil.example", NULL}, false},
        {{"Origin", "http://evil.example", "Content-Type", "text/plain", NULL}, false},
        {{"Origin", "null", "Content-Type", "multipart/form-data; boundary=x", NULL}, false},
        {{"Origin", "http://a", "Content-Type", "text/plain; application/json", NULL}, false},
        {{"Origin", "http://a", "Content-Type", "application/json", NULL}, true},
        {{"Origin", "http://a", "Content-Type", "Application/JSON; charset=utf-8", NULL}, true},
        {{"Origin", "http://a", "Content-Type", "application/vnd.x+json", NULL}, true},
        {{"Origin", "http://a", "Content-Type", "", NULL}, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        static const char *const paths[] = {CHAT, "/v1/embeddings"};
        for (size_t p = 0; p < 2; p++) {
            struct rig r;
            const struct route *route;
            char buf[64], allow[64];
            rig_init(&r, "sted");
            fake_request_init(&r.req, HTTP_POST, paths[p], "{" U ",\"input\":\"a\"}");
            for (size_t k = 0; cases[i].headers[k]; k++) r.req.headers[k] = cases[i].headers[k];
            (void)route_find(HTTP_POST, paths[p], &route, buf, sizeof buf, r.req.http.params,
                             allow);
            route->handler(&r.hub, &r.req.http, &r.sink.sink);
            memsink_wait(&r.sink);
            if (r.sink.status != (cases[i].accepted ? 200 : 415))
                fail_msg("case %zu: %d", i, r.sink.status);
            rig_deinit(&r);
        }
    }
}

/* ---- clients that go away ------------------------------------------------------------------ */

/* `w` in every place of a script: the client goes while the provider stands there. */
static void gone_in_every_stage(void **state)
{
    (void)state;
    static const char steps[] = "qsrtcted";
    for (size_t at = 0; at < sizeof steps; at++) {
        for (int streamed = 0; streamed < 2; streamed++) {
            char script[16];
            snprintf(script, sizeof script, "%.*sw%s", (int)at, steps, steps + at);
            if (at == sizeof steps - 1) continue; /* after the end there is nothing to cancel */
            struct rig r;
            rig_init(&r, script);
            call_path(&r, CHAT, streamed ? STREAM : WHOLE);
            wait_until_waiting(&r, 1);
            memsink_close(&r.sink);
            memsink_wait(&r.sink); /* nobody says go: only a cancel ends the wait */
            pthread_mutex_lock(&r.fake.lock);
            while (r.fake.running) pthread_cond_wait(&r.fake.changed, &r.fake.lock);
            assert_int_equal(r.fake.cancelled, 1);
            pthread_mutex_unlock(&r.fake.lock);
            assert_int_equal(r.sink.state, MEMSINK_CLOSED);
            rig_deinit(&r);
        }
    }
}

static void gone_before_the_handler(void **state)
{
    (void)state;
    static const char *const paths[] = {CHAT, "/v1/completions", "/v1/embeddings"};
    for (size_t i = 0; i < 3; i++) {
        struct rig r;
        rig_init(&r, "wsted");
        memsink_close(&r.sink);
        call_path(&r, paths[i], "{" U ",\"prompt\":[\"a\",\"b\"],\"input\":\"a\"}");
        memsink_wait(&r.sink);
        rig_deinit(&r); /* ends only if whatever was started was cancelled */
    }
}

/* The sink closes itself under a reader that is too slow: writes fail, no callback comes. */
static void a_write_that_fails_cancels(void **state)
{
    (void)state;
    for (int writes = 1; writes < 8; writes++) {
        struct rig r;
        rig_init(&r, "sttttttttwed");
        r.sink.close_after_writes = writes;
        call_path(&r, CHAT, STREAM);
        rig_deinit(&r); /* nobody says go: only a cancel ends the wait */
        assert_int_equal(r.fake.cancelled, 1);
    }
}

static void gone_after_the_end(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, "sted");
    call_path(&r, CHAT, STREAM);
    memsink_wait(&r.sink);
    memsink_close(&r.sink);
    assert_int_equal(r.fake.cancels, 0);
    rig_deinit(&r);
}

/* Whatever the moment, everything ends: many calls, closed after a random pause. */
static void gone_at_any_moment(void **state)
{
    (void)state;
    static const char *const bodies[] = {STREAM, WHOLE,
                                         "{\"prompt\":[\"a\",\"b\",\"c\"],\"n\":2,\"stream\":true}",
                                         "{\"prompt\":[\"a\",\"b\"]}", "{\"input\":[\"a\",\"b\"]}"};
    static const char *const paths[] = {CHAT, CHAT, "/v1/completions", "/v1/completions",
                                        "/v1/embeddings"};
    unsigned seed = 7;
    for (int i = 0; i < 300; i++) {
        struct rig r;
        rig_init(&r, i % 3 ? "qsttttttttttttttted" : "sttttttttttttx");
        call_path(&r, paths[i % 5], bodies[i % 5]);
        usleep((useconds_t)(rand_r(&seed) % 300));
        memsink_close(&r.sink);
        rig_deinit(&r);
    }
}

/* ---- several prompts ----------------------------------------------------------------------- */

static void several_prompts_are_one_answer(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, "stted");
    call_path(&r, "/v1/completions", "{\"prompt\":[\"a\",\"b\",\"c\"],\"n\":2}");
    json_t *v = body_of(&r);
    const json_t *choices = json_object_get(v, "choices");
    assert_int_equal(json_array_size(choices), 6);
    for (size_t i = 0; i < 6; i++)
        assert_string_equal(json_string_value(json_object_get(json_array_get(choices, i), "text")),
                            "abab");
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(v, "usage"), "prompt_tokens")), 9);
    assert_int_equal(r.fake.calls, 3);
    json_decref(v);
    rig_deinit(&r);
}

static void one_refused_prompt_cancels_the_others(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, "wted");
    r.fake.refuse_from = 3;
    call_path(&r, "/v1/completions", "{\"prompt\":[\"a\",\"b\",\"c\",\"d\"]}");
    check_error(&r, 429, "rate_limit_error", "queue_full");
    rig_deinit(&r);
    assert_int_equal(r.fake.calls, 3); /* the fourth was not tried */
    assert_int_equal(r.fake.cancelled, 2);
}

static void one_failing_prompt_fails_all(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, "stwx");
    call_path(&r, "/v1/completions", "{\"prompt\":[\"a\",\"b\"],\"stream\":true}");
    wait_until_waiting(&r, 2);
    go(&r);
    memsink_wait(&r.sink);
    const char *first = strstr(r.sink.body.data, "\"error\"");
    assert_non_null(first);
    assert_null(strstr(first + 1, "\"error\"")); /* said once */
    rig_deinit(&r);
}

/* ---- embeddings ---------------------------------------------------------------------------- */

static json_t *embed(struct rig *r, const char *body)
{
    call_path(r, "/v1/embeddings", body);
    return body_of(r);
}

static const json_t *vector(const json_t *v, size_t i)
{
    return json_object_get(json_array_get(json_object_get(v, "data"), i), "embedding");
}

static void embeddings_as_numbers(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, "");
    json_t *v = embed(&r, "{\"input\":[\"a\",\"b\"]}");
    assert_int_equal(r.sink.status, 200);
    assert_string_equal(json_string_value(json_object_get(v, "object")), "list");
    assert_string_equal(json_string_value(json_object_get(v, "model")), "fake-embed");
    assert_int_equal(json_array_size(vector(v, 0)), 4);
    assert_true((float)json_number_value(json_array_get(vector(v, 0), 0)) == 0.6f);
    assert_true((float)json_number_value(json_array_get(vector(v, 1), 2)) == 0.8f);
    json_decref(v);
    rig_deinit(&r);
}

static void embeddings_as_base64(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, "");
    json_t *v = embed(&r, "{\"input\":\"a\",\"encoding_format\":\"base64\"}");
    /* 0.6f = 9a 99 19 3f, 0.8f = cd cc 4c 3f, two zeros */
    assert_string_equal(json_string_value(vector(v, 0)), "mpkZP83MTD8AAAAAAAAAAA==");
    json_decref(v);
    rig_deinit(&r);
}

static void embeddings_cut_short_are_unit_vectors(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, "");
    json_t *v = embed(&r, "{\"input\":[\"a\",\"b\"],\"dimensions\":2}");
    assert_int_equal(json_array_size(vector(v, 0)), 2);
    assert_float_equal(json_number_value(json_array_get(vector(v, 0), 1)), 0.8, 1e-6);
    assert_float_equal(json_number_value(json_array_get(vector(v, 1), 1)), 1, 1e-6); /* was 0.6 */
    json_decref(v);
    rig_deinit(&r);
    /* What is left may be all zeros: it stays so. */
    rig_init(&r, "");
    v = embed(&r, "{\"input\":[\"a\",\"b\",\"c\"],\"dimensions\":1}");
    assert_float_equal(json_number_value(json_array_get(vector(v, 2), 0)), 0, 0);
    json_decref(v);
    rig_deinit(&r);
}

static void embeddings_with_too_many_dimensions(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, "");
    json_t *v = embed(&r, "{\"input\":\"a\",\"dimensions\":5}");
    assert_string_equal(json_string_value(json_object_get(json_object_get(v, "error"), "param")),
                        "/dimensions");
    assert_int_equal(r.sink.status, 400);
    json_decref(v);
    rig_deinit(&r);
}

static void embeddings_that_fail(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, "x");
    call_path(&r, "/v1/embeddings", "{\"input\":\"a\"}");
    check_error(&r, 400, "invalid_request_error", "context_length_exceeded");
    rig_deinit(&r);
    rig_init(&r, "");
    r.fake.refuse_from = 1;
    call_path(&r, "/v1/embeddings", "{\"input\":\"a\"}");
    check_error(&r, 429, "rate_limit_error", "queue_full");
    rig_deinit(&r);
}

static void big_embeddings_are_written_on_the_pool(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, "");
    r.fake.n_dims = 10000;
    json_t *v = embed(&r, "{\"input\":[\"a\",\"b\",\"c\"]}");
    assert_int_equal(json_array_size(vector(v, 2)), 10000);
    assert_true((float)json_number_value(json_array_get(vector(v, 2), 2)) == 0.6f);
    assert_string_equal(json_string_value(json_object_get(v, "model")), "fake-embed");
    json_decref(v);
    rig_deinit(&r);
}

static void embeddings_of_a_client_that_went(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, "w");
    call_path(&r, "/v1/embeddings", "{\"input\":\"a\"}");
    wait_until_waiting(&r, 1);
    memsink_close(&r.sink);
    rig_deinit(&r);
    assert_int_equal(r.fake.cancelled, 1);
}

/* ---- out of memory ------------------------------------------------------------------------- */

#if HEARTH_FAULTS
/* Fails the first, the second, ... allocation of a call, until none is left to fail: whatever
 * fails, the call ends, nothing crashes and (under AddressSanitizer) nothing leaks. */
static void every_allocation_may_fail(void **state)
{
    (void)state;
    static const struct {
        const char *path, *body;
    } calls[] = {
        {CHAT, "{" U ",\"stream\":true,\"stop\":[\"x\"],\"logit_bias\":{\"1\":2}}"},
        {CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":"
               "\"a\"}]},{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":\"f\"}}"
               "]}],\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}],"
               "\"reasoning_effort\":\"low\"}"},
        {"/v1/completions", "{\"prompt\":[\"a\",\"b\"],\"logprobs\":1}"},
        {"/v1/completions", "{\"prompt\":[[1],[2]],\"stream\":true}"},
        {"/v1/embeddings", "{\"input\":[\"a\",\"b\"],\"encoding_format\":\"base64\"}"},
        {"/v1/embeddings", "{\"input\":[[1,2],[3]]}"},
    };
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        for (int later = 0; later < 2; later++) {
            long nth = 0, passes;
            do {
                struct rig r;
                rig_init(&r, "qsrtcted");
                r.fake.n_dims = 5000; /* over the pool */
                fault_arm(FAULT_alloc, ++nth, later);
                call_path(&r, calls[i].path, calls[i].body);
                memsink_wait(&r.sink);
                passes = fault_count(FAULT_alloc);
                fault_arm(FAULT_alloc, 0, false);
                assert_true(r.sink.state == MEMSINK_ENDED);
                rig_deinit(&r);
            } while (passes >= nth);
            assert_true(nth > 3);
        }
    }
}
#endif

static int quiet(void **state)
{
    (void)state;
    struct error error;
    return log_open(LOG_OFF, false, "", &error) == OK ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_answer),
        cmocka_unit_test(streamed_answer),
        cmocka_unit_test(waiting_in_the_queue_is_a_comment),
        cmocka_unit_test(silence_until_the_start),
        cmocka_unit_test(a_completion_begins_with_the_start),
        cmocka_unit_test(a_full_queue_is_429),
        cmocka_unit_test(errors_before_the_stream_have_a_status),
        cmocka_unit_test(errors_in_the_stream_are_events),
        cmocka_unit_test(bad_bodies),
        cmocka_unit_test(web_pages_must_say_json),
        cmocka_unit_test(gone_in_every_stage),
        cmocka_unit_test(gone_before_the_handler),
        cmocka_unit_test(a_write_that_fails_cancels),
        cmocka_unit_test(gone_after_the_end),
        cmocka_unit_test(gone_at_any_moment),
        cmocka_unit_test(several_prompts_are_one_answer),
        cmocka_unit_test(one_refused_prompt_cancels_the_others),
        cmocka_unit_test(one_failing_prompt_fails_all),
        cmocka_unit_test(embeddings_as_numbers),
        cmocka_unit_test(embeddings_as_base64),
        cmocka_unit_test(embeddings_cut_short_are_unit_vectors),
        cmocka_unit_test(embeddings_with_too_many_dimensions),
        cmocka_unit_test(embeddings_that_fail),
        cmocka_unit_test(big_embeddings_are_written_on_the_pool),
        cmocka_unit_test(embeddings_of_a_client_that_went),
#if HEARTH_FAULTS
        cmocka_unit_test(every_allocation_may_fail),
#endif
    };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
