/* A local provider with all that is below it, and clients that record what they get. For the tests
 * of this folder and of tests/unit/hub. */
#ifndef HEARTH_TESTS_UNIT_PROVIDER_HARNESS_H
#define HEARTH_TESTS_UNIT_PROVIDER_HARNESS_H

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "base/thread.h"
#include "provider/local.h"

enum { WAIT_MS = 60000, CALLS_MAX = 8 };

struct fixture {
    char dir[256]; /* the models folder */
    char adapters[300];
    struct engine *engine;
    struct models *models;
    struct pool *pool;
    struct sched *sched;
    struct provider *local;
};

struct client {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct buf text[GEN_N_MAX], reasoning;
    struct {
        char id[64], name[64];
        struct buf arguments;
    } calls[CALLS_MAX];
    int n_calls;
    enum finish_reason finish[GEN_N_MAX];
    char stop[64];   /* of the last choice that ended; "" = none */
    int64_t wait_ms; /* as told last */
    int n_loading, n_queued, n_started, n_ends, n_last, n_texts;
    char model[MODEL_ID_MAX], adapter[MODEL_ID_MAX], waits_for[MODEL_ID_MAX];
    uint64_t adapter_version;
    struct error error;
    struct usage usage;
    struct timings timings;
    size_t n_logprobs;
    double logprob_sum; /* of the chosen tokens */
    float *vectors;
    size_t n_vectors, n_dims;
    int64_t done_ns;
    bool done;
    int64_t slow_ms; /* the listener takes this long for a text */
    uint64_t id;
};

static inline void sleep_ms(int64_t ms)
{
    struct timespec t = {ms / 1000, (ms % 1000) * 1000000};
    nanosleep(&t, NULL);
}

static inline struct client *client_new(void)
{
    struct client *c = calloc(1, sizeof *c);
    cond_init(&c->changed);
    pthread_mutex_init(&c->lock, NULL);
    for (int i = 0; i < GEN_N_MAX; i++) buf_init(&c->text[i], 1 << 20);
    for (int i = 0; i < CALLS_MAX; i++) buf_init(&c->calls[i].arguments, 1 << 20);
    buf_init(&c->reasoning, 1 << 20);
    return c;
}

static inline void client_free(struct client *c)
{
    for (int i = 0; i < GEN_N_MAX; i++) buf_free(&c->text[i]);
    for (int i = 0; i < CALLS_MAX; i++) buf_free(&c->calls[i].arguments);
    buf_free(&c->reasoning);
    pthread_cond_destroy(&c->changed);
    pthread_mutex_destroy(&c->lock);
    free(c->vectors);
    free(c);
}

/* The lock is held. */
static inline void client_last(struct client *c, const struct error *error, const char *model)
{
    c->n_last++;
    c->done = true;
    c->done_ns = clock_mono_ns();
    if (error) c->error = *error;
    if (model) str_copy(c->model, sizeof c->model, model);
    pthread_cond_broadcast(&c->changed);
}

static inline void client_tool(struct client *c, const struct gen_event *ev)
{
    assert_in_range(ev->tool.index, 0, CALLS_MAX - 1);
    if (ev->tool.index == c->n_calls) { /* the first of a call has both, the others neither */
        assert_non_null(ev->tool.id);
        assert_non_null(ev->tool.name);
        str_copy(c->calls[c->n_calls].id, sizeof c->calls->id, ev->tool.id);
        str_copy(c->calls[c->n_calls++].name, sizeof c->calls->name, ev->tool.name);
    } else {
        assert_null(ev->tool.name);
    }
    buf_append(&c->calls[ev->tool.index].arguments, ev->tool.arguments, ev->tool.arguments_len);
}

static inline void client_listen(void *ctx, const struct gen_event *ev)
{
    struct client *c = ctx;
    pthread_mutex_lock(&c->lock);
    assert_false(c->done); /* nothing comes after the last event */
    switch (ev->type) {
    case GEN_EV_LOADING:
        c->n_loading++;
        if (ev->waits_for) str_copy(c->waits_for, sizeof c->waits_for, ev->waits_for);
        break;
    case GEN_EV_PAUSED: fail(); break; /* nobody asked for it */
    case GEN_EV_ROUTED:
    case GEN_EV_TOKENS: break;
    case GEN_EV_QUEUED:
        c->n_queued++;
        c->wait_ms = ev->wait_ms;
        break;
    case GEN_EV_STARTED:
        c->n_started++;
        c->usage = ev->usage;
        str_copy(c->model, sizeof c->model, ev->model);
        str_copy(c->adapter, sizeof c->adapter, ev->adapter ? ev->adapter : "");
        c->adapter_version = ev->adapter_version;
        break;
    case GEN_EV_TEXT:
        assert_true(utf8_valid(ev->text, ev->text_len));
        buf_append(&c->text[ev->choice], ev->text, ev->text_len);
        c->n_logprobs += ev->n_logprobs;
        for (size_t i = 0; i < ev->n_logprobs; i++)
            c->logprob_sum += (double)ev->logprobs[i].chosen.logprob;
        for (size_t i = 0; i < ev->n_logprobs; i++)
            assert_true(ev->logprobs[i].chosen.logprob <= 0 && ev->logprobs[i].n_top <= 20);
        c->n_texts++;
        break;
    case GEN_EV_REASONING: buf_append(&c->reasoning, ev->text, ev->text_len); break;
    case GEN_EV_TOOL_CALL: client_tool(c, ev); break;
    case GEN_EV_CHOICE_END:
        c->n_ends++;
        c->finish[ev->choice] = ev->finish;
        str_copy(c->stop, sizeof c->stop, ev->stop ? ev->stop : "");
        break;
    case GEN_EV_DONE:
        c->usage = ev->usage;
        c->timings = ev->timings;
        client_last(c, NULL, ev->model);
        break;
    case GEN_EV_ERROR: client_last(c, ev->error, NULL); break;
    }
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
    if (ev->type == GEN_EV_TEXT && c->slow_ms) sleep_ms(c->slow_ms);
}

static inline void client_result(void *ctx, const struct embed_result *r)
{
    struct client *c = ctx;
    pthread_mutex_lock(&c->lock);
    assert_false(c->done);
    if (!r->error) {
        size_t bytes = r->n_inputs * r->n_dims * sizeof(float);
        c->n_vectors = r->n_inputs;
        c->n_dims = r->n_dims;
        c->vectors = malloc(bytes);
        memcpy(c->vectors, r->vectors, bytes);
        c->usage.prompt_tokens = r->prompt_tokens;
    }
    client_last(c, r->error, r->model);
    pthread_mutex_unlock(&c->lock);
}

static inline void client_loaded(void *ctx, const struct error *error)
{
    struct client *c = ctx;
    pthread_mutex_lock(&c->lock);
    assert_false(c->done);
    client_last(c, error, NULL);
    pthread_mutex_unlock(&c->lock);
}

/* Waits until `what` holds; fails the test after WAIT_MS. */
#define client_until(c, what)                                                                      \
    do {                                                                                           \
        int64_t until_ns_ = clock_mono_ns() + (int64_t)WAIT_MS * 1000000;                          \
        pthread_mutex_lock(&(c)->lock);                                                            \
        while (!(what) && cond_wait_until(&(c)->changed, &(c)->lock, until_ns_)) {                 \
        }                                                                                          \
        bool ok_ = what;                                                                           \
        pthread_mutex_unlock(&(c)->lock);                                                          \
        assert_true(ok_);                                                                          \
    } while (0)

static inline void client_wait(struct client *c)
{
    client_until(c, c->done);
    assert_int_equal(c->n_last, 1);
}

/* ---- the parts ------------------------------------------------------------------------------ */

static inline struct sched_params some_params(struct engine *engine)
{
    return (struct sched_params){
        .engine = engine, .n_parallel = 4, .n_batch = 512, .n_ubatch = 512, .queue_capacity = 1000};
}

static inline void fixture_open_ctx(struct fixture *f, struct engine *engine, const char *chat,
                                    const char *embedding, int32_t n_parallel, int32_t n_ctx)
{
    struct error error;
    *f = (struct fixture){.engine = engine};
    str_copy(f->dir, sizeof f->dir, "/tmp/hearth-test-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->adapters, sizeof f->adapters, "%s/adapters", f->dir);
    assert_int_equal(models_open(f->dir, HEARTH_SOURCE_DIR "/models", &f->models, &error), OK);
    assert_int_equal(pool_new("pool", 2, 1000, &f->pool, &error), OK);
    struct sched_params params = some_params(engine);
    params.n_parallel = n_parallel;
    params.n_ctx = n_ctx;
    assert_int_equal(sched_new(&params, &f->sched, &error), OK);
    struct local_params local = {.sched = f->sched,
                                 .models = f->models,
                                 .pool = f->pool,
                                 .adapters_dir = f->adapters,
                                 .builtin_adapters_dir = HEARTH_SOURCE_DIR "/models/adapters",
                                 .default_model = chat,
                                 .default_embedding_model = embedding};
    assert_int_equal(local_open(&local, &f->local, &error), OK);
}

static inline void fixture_open(struct fixture *f, struct engine *engine, const char *chat,
                                const char *embedding, int32_t n_parallel)
{
    fixture_open_ctx(f, engine, chat, embedding, n_parallel, 0);
}

static inline void fixture_close(struct fixture *f, int64_t grace_ms)
{
    if (f->local) provider_close(f->local, grace_ms);
    sched_free(f->sched, 0);
    pool_free(f->pool);
    models_free(f->models);
    engine_close(f->engine);
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", f->dir);
    assert_int_equal(system(command), 0);
}

/* ---- derived models ------------------------------------------------------------------------- */

/* A record in the models folder `dir`. */
static inline void add_derived(const char *dir, const char *name, const char *json)
{
    struct error error;
    char path[256];
    str_printf(path, sizeof path, "%s/derived", dir);
    assert_int_equal(fs_mkdirs(path, 0755, &error), OK);
    str_printf(path, sizeof path, "%s/derived/%s.json", dir, name);
    assert_int_equal(fs_write_atomic(path, json, strlen(json), 0644, &error), OK);
}

/* With something of everything. */
#define MARIO                                                                                      \
    "{\"name\":\"mario\",\"from\":\"hearth-tiny\",\"system\":\"You are Mario.\",\"template\":"     \
    "\"{{ .Prompt }}\",\"adapter\":\"pirate\",\"parameters\":{\"top_k\":7}}"

/* ---- requests ------------------------------------------------------------------------------- */

/* A chat with one user message; change what you like before sending. */
static inline struct gen_request *chat_request(const char *model, const char *text)
{
    struct arena *a = arena_new(1 << 20);
    struct gen_request *req = arena_alloc(a, sizeof *req);
    struct message *m = arena_alloc(a, sizeof *m);
    *m = (struct message){.role = ROLE_USER, .content = arena_strdup(a, text)};
    *req = (struct gen_request){.arena = a,
                                .kind = GEN_CHAT,
                                .request_id = "req-test",
                                .model = arena_strdup(a, model),
                                .tenant = "",
                                .messages = m,
                                .n_messages = 1,
                                .parallel_tool_calls = true,
                                .sampling = {.top_p = 1, .repeat_penalty = 1, .seed = 1},
                                .max_tokens = -1,
                                .n = 1,
                                .priority = PRIORITY_DEFAULT};
    return req;
}

static inline struct gen_request *raw_request(const char *model, const char *prompt)
{
    struct gen_request *req = chat_request(model, "");
    req->kind = GEN_RAW;
    req->messages = NULL;
    req->n_messages = 0;
    req->prompt = arena_strdup(req->arena, prompt);
    return req;
}

static inline void add_tool(struct gen_request *req, const char *name, const char *parameters)
{
    struct tool *t = arena_alloc(req->arena, sizeof *t);
    *t = (struct tool){.name = name, .description = "a tool", .parameters = parameters};
    req->tools = t;
    req->n_tools = 1;
}

static inline struct client *send_request(struct fixture *f, struct gen_request *req)
{
    struct client *c = client_new();
    struct error error;
    assert_int_equal(provider_generate(f->local, req, client_listen, c, &c->id, &error), OK);
    assert_int_not_equal(c->id, 0);
    return c;
}

static inline struct client *ask(struct fixture *f, struct gen_request *req)
{
    struct client *c = send_request(f, req);
    client_wait(c);
    return c;
}

static inline struct embed_request *embed_request(const char *model, size_t n,
                                                  const char *const *texts)
{
    struct arena *a = arena_new(1 << 20);
    struct embed_request *req = arena_alloc(a, sizeof *req);
    struct embed_input *inputs = arena_calloc(a, n + 1, sizeof *inputs);
    for (size_t i = 0; i < n; i++) {
        inputs[i].text = arena_strdup(a, texts[i]);
        inputs[i].text_len = strlen(texts[i]);
    }
    *req = (struct embed_request){.arena = a,
                                  .request_id = "req-test",
                                  .model = arena_strdup(a, model),
                                  .tenant = "",
                                  .inputs = inputs,
                                  .n_inputs = n,
                                  .priority = PRIORITY_DEFAULT};
    return req;
}

static inline struct client *embed(struct fixture *f, struct embed_request *req)
{
    struct client *c = client_new();
    struct error error;
    assert_int_equal(provider_embed(f->local, req, client_result, c, &c->id, &error), OK);
    client_wait(c);
    return c;
}

#endif
