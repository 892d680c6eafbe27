/* A scheduler over the fake engine, and clients that record what they get. For the tests of this
 * folder. */
#ifndef HEARTH_TESTS_UNIT_SCHED_HARNESS_H
#define HEARTH_TESTS_UNIT_SCHED_HARNESS_H

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
#include "base/log.h"
#include "base/metrics.h"
#include "base/thread.h"
#include "sched/sched.h"

enum { WAIT_MS = 20000 };

struct fixture {
    struct engine *engine;
    struct sched *sched;
    struct sched_model *model;
};

enum { TOLD_MAX = 256 };

struct client {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct buf text[GEN_N_MAX];
    enum finish_reason finish[GEN_N_MAX];
    int ended[GEN_N_MAX];
    int n_queued, n_started, n_last; /* events */
    int32_t position;
    int64_t wait_ms;
    int order;                             /* of its start among all clients */
    int64_t started_ns, first_ns, done_ns; /* first_ns: its first text */
    bool done, bounced;
    struct error error; /* code OK when it ended well */
    struct usage usage;
    struct timings timings;
    struct cache_report cache; /* of its start */
    int32_t n_tokens;
    int32_t told[TOLD_MAX], n_told;
    size_t n_logprobs;
    float *vectors;
    size_t n_vectors, n_dims;
    uint64_t id;
};

static atomic_int starts;

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
    return c;
}

static inline void client_free(struct client *c)
{
    for (int i = 0; i < GEN_N_MAX; i++) buf_free(&c->text[i]);
    pthread_cond_destroy(&c->changed);
    pthread_mutex_destroy(&c->lock);
    free(c->vectors);
    free(c);
}

static inline void client_last(struct client *c, const struct sched_event *ev)
{
    c->n_last++;
    c->done = true;
    c->bounced = ev->type == SCHED_EV_BOUNCED;
    c->done_ns = clock_mono_ns();
    c->usage = ev->usage;
    c->timings = ev->timings;
    if (ev->error) c->error = *ev->error;
    if (ev->type != SCHED_EV_EMBEDDING) return;
    c->n_vectors = ev->n_vectors;
    c->n_dims = ev->n_dims;
    c->vectors = malloc(ev->n_vectors * ev->n_dims * sizeof *c->vectors);
    memcpy(c->vectors, ev->vectors, ev->n_vectors * ev->n_dims * sizeof *c->vectors);
}

/* The first ones of the first choice are kept. */
static inline void client_tokens(struct client *c, const struct sched_event *ev)
{
    c->n_tokens += ev->n_tokens;
    for (int32_t i = 0; ev->tokens && !ev->choice && i < ev->n_tokens && c->n_told < TOLD_MAX; i++)
        c->told[c->n_told++] = ev->tokens[i];
}

static inline void client_listen(void *ctx, const struct sched_event *ev)
{
    struct client *c = ctx;
    pthread_mutex_lock(&c->lock);
    assert_false(c->done); /* nothing comes after the last event */
    switch (ev->type) {
    case SCHED_EV_QUEUED:
        assert_int_equal(c->n_started, 0);
        c->n_queued++;
        c->position = ev->position;
        c->wait_ms = ev->wait_ms;
        break;
    case SCHED_EV_STARTED:
        c->n_started++;
        c->order = atomic_fetch_add(&starts, 1);
        c->started_ns = clock_mono_ns();
        if (ev->cache) c->cache = *ev->cache;
        c->usage = ev->usage;
        break;
    case SCHED_EV_TEXT:
        assert_int_equal(c->n_started, 1);
        assert_int_equal(c->ended[ev->choice], 0);
        if (!c->first_ns) c->first_ns = clock_mono_ns();
        buf_append(&c->text[ev->choice], ev->text, ev->text_len);
        client_tokens(c, ev);
        c->n_logprobs += ev->n_logprobs;
        break;
    case SCHED_EV_CHOICE_END:
        c->ended[ev->choice]++;
        c->finish[ev->choice] = ev->finish;
        client_tokens(c, ev);
        break;
    case SCHED_EV_BOUNCED:
    case SCHED_EV_DONE:
    case SCHED_EV_ERROR:
    case SCHED_EV_EMBEDDING: client_last(c, ev); break;
    }
    pthread_cond_broadcast(&c->changed);
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

/* ---- loading ------------------------------------------------------------------------------- */

struct loading {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int done;
    struct sched_model *model;
    struct error error;
    atomic_int progress_calls;
};

#define LOADING_INIT                                                                               \
    {                                                                                              \
        .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER                     \
    }

static inline void loading_done(void *ctx, struct sched_model *model, const struct error *error)
{
    struct loading *l = ctx;
    pthread_mutex_lock(&l->lock);
    l->done++;
    l->model = error ? NULL : model;
    if (error) l->error = *error;
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
}

static inline void loading_progress(void *ctx, float fraction)
{
    struct loading *l = ctx;
    assert_true(fraction >= 0 && fraction <= 1);
    atomic_fetch_add(&l->progress_calls, 1);
}

static inline enum err load_begin(struct sched *s, const char *id, const char *path,
                                  struct loading *l)
{
    struct sched_load_listener listener = {
        .on_progress = loading_progress, .on_done = loading_done, .ctx = l};
    struct sched_load load = {.id = id, .path = path};
    struct error error;
    return sched_load(s, &load, &listener, &error);
}

static inline struct sched_model *load_wait(struct loading *l)
{
    pthread_mutex_lock(&l->lock);
    while (!l->done) pthread_cond_wait(&l->changed, &l->lock);
    pthread_mutex_unlock(&l->lock);
    assert_int_equal(l->done, 1);
    return l->model;
}

static inline struct sched_model *load_model(struct sched *s, const char *id, const char *path)
{
    struct loading l = LOADING_INIT;
    assert_int_equal(load_begin(s, id, path, &l), OK);
    struct sched_model *m = load_wait(&l);
    assert_non_null(m);
    return m;
}

static inline struct sched_params some_params(void)
{
    return (struct sched_params){.n_parallel = 8,
                                 .n_batch = 2048,
                                 .n_ubatch = 512,
                                 .queue_capacity = 1000,
                                 .shared_kv = true};
}

static inline void fixture_open(struct fixture *f, const char *path, struct sched_params params)
{
    struct error error;
    *f = (struct fixture){0};
    assert_int_equal(engine_open_fake(&f->engine, &error), OK);
    params.engine = f->engine;
    assert_int_equal(sched_new(&params, &f->sched, &error), OK);
    if (path) f->model = load_model(f->sched, "fake", path);
}

static inline void fixture_close(struct fixture *f)
{
    sched_free(f->sched, 0);
    engine_close(f->engine);
}

/* ---- asking -------------------------------------------------------------------------------- */

struct ask {
    const char *text;
    const char *tenant;
    const char *stop;
    int32_t n, max_tokens, priority; /* 0 = 1, -1, PRIORITY_DEFAULT; max_tokens -2 = really 0 */
    int64_t deadline_ms;
    bool ignore_eos, logprobs, deterministic;
    enum overflow overflow;
    int32_t n_keep;
    const char *adapter; /* its path, "fake:lora,..." */
    float adapter_scale;
    int64_t keep_alive_ms;
    bool can_pause;
    const struct gen_resume *resume;
};

static inline struct engine_prompt *make_prompt(const struct sched_model *m, const char *text)
{
    struct message message = {.role = ROLE_USER, .content = text};
    struct gen_request req = {.kind = GEN_CHAT,
                              .model = "",
                              .tenant = "",
                              .messages = &message,
                              .n_messages = 1,
                              .n = 1,
                              .sampling = {.repeat_penalty = 1}};
    struct engine_prompt *p;
    struct error error;
    assert_int_equal(engine_prompt_new(sched_engine_model(m), &req, 1 << 24, &p, &error), OK);
    return p;
}

static inline enum err try_ask_model(struct fixture *f, struct sched_model *m, struct client *c,
                                     struct ask a, struct error *error)
{
    struct engine_prompt *p = make_prompt(m, a.text);
    struct sched_generate g = {.model = m,
                               .prompt = p,
                               .sampling = {.repeat_penalty = 1,
                                            .ignore_eos = a.ignore_eos,
                                            .logprobs = a.logprobs,
                                            .top_logprobs = a.logprobs ? 3 : 0},
                               .tenant = a.tenant ? a.tenant : "",
                               .stop = &a.stop,
                               .n_stop = a.stop ? 1 : 0,
                               .n = a.n ? a.n : 1,
                               .max_tokens = a.max_tokens == -2  ? 0
                                             : a.max_tokens == 0 ? -1
                                                                 : a.max_tokens,
                               .priority = a.priority ? a.priority : PRIORITY_DEFAULT,
                               .deadline_ms = a.deadline_ms,
                               .deterministic = a.deterministic,
                               .keep_alive_ms = a.keep_alive_ms,
                               .resume = a.resume,
                               .can_pause = a.can_pause,
                               .overflow = a.overflow,
                               .n_keep = a.n_keep,
                               .adapter = a.adapter,
                               .adapter_path = a.adapter,
                               .adapter_scale = a.adapter_scale,
                               .listener = client_listen,
                               .listener_ctx = c};
    enum err e = sched_generate(f->sched, &g, &c->id, error);
    if (e) engine_prompt_free(p);
    return e;
}

static inline enum err try_ask(struct fixture *f, struct client *c, struct ask a,
                               struct error *error)
{
    return try_ask_model(f, f->model, c, a, error);
}

static inline struct client *ask(struct fixture *f, struct ask a)
{
    struct client *c = client_new();
    struct error error;
    assert_int_equal(try_ask(f, c, a, &error), OK);
    assert_int_not_equal(c->id, 0);
    return c;
}

/* Asks, and takes the only slot (or one of them) until it is cancelled. */
static inline struct client *ask_endless(struct fixture *f)
{
    struct client *c = ask(f, (struct ask){.text = "busy", .ignore_eos = true, .tenant = "busy"});
    client_until(c, c->text[0].len > 0);
    return c;
}

static inline void cancel_and_free(struct fixture *f, struct client *c)
{
    sched_cancel(f->sched, c->id);
    client_wait(c);
    assert_int_equal(c->error.code, ERR_CANCELLED);
    client_free(c);
}

#endif
