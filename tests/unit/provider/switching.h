/* Fixtures of a provider whose models come and go, and its verbs. */
#ifndef HEARTH_TESTS_UNIT_PROVIDER_SWITCHING_H
#define HEARTH_TESTS_UNIT_PROVIDER_SWITCHING_H

#include "unit/provider/harness.h"

struct answer {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int n_calls;
    struct error error;
    json_t *json;
};

#define ANSWER_INIT                                                                                \
    {                                                                                              \
        .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER                     \
    }

static inline void on_answer(void *ctx, const struct error *error, const char *text, size_t len)
{
    struct answer *a = ctx;
    struct error bad;
    pthread_mutex_lock(&a->lock);
    a->n_calls++;
    if (error)
        a->error = *error;
    else
        assert_int_equal(json_parse(text, len, &a->json, &bad), OK);
    pthread_cond_signal(&a->changed);
    pthread_mutex_unlock(&a->lock);
}

/* NULL: *error says why not. */
static inline json_t *answer_wait(struct answer *a, struct error *error)
{
    pthread_mutex_lock(&a->lock);
    while (!a->n_calls) pthread_cond_wait(&a->changed, &a->lock);
    pthread_mutex_unlock(&a->lock);
    assert_int_equal(a->n_calls, 1);
    if (!a->json) *error = a->error;
    return a->json;
}

static inline json_t *control(struct fixture *f, enum control what, const char *args,
                              struct error *error)
{
    struct answer a = ANSWER_INIT;
    if (provider_control(f->local, what, args, on_answer, &a, error)) return NULL;
    return answer_wait(&a, error);
}

static inline json_t *control_ok(struct fixture *f, enum control what, const char *args)
{
    struct error error;
    json_t *json = control(f, what, args, &error);
    if (!json) fail_msg("%s: %s", control_name(what), error.msg);
    return json;
}

static inline struct engine *fake(void)
{
    struct engine *engine;
    struct error error;
    assert_int_equal(engine_open_fake(&engine, &error), OK);
    return engine;
}

/* With a scheduler of these parameters. */
static inline void open_with(struct fixture *f, struct sched_params params)
{
    struct error error;
    fixture_open(f, params.engine, "", "", 1);
    provider_close(f->local, 0);
    sched_free(f->sched, 0);
    assert_int_equal(sched_new(&params, &f->sched, &error), OK);
    struct local_params local = {.sched = f->sched,
                                 .models = f->models,
                                 .pool = f->pool,
                                 .adapters_dir = f->adapters,
                                 .builtin_adapters_dir = "",
                                 .default_model = "fake:",
                                 .default_embedding_model = "fake:kind=embed",
                                 .default_rerank_model = "fake:kind=rerank"};
    assert_int_equal(local_open(&local, &f->local, &error), OK);
}

static inline bool in_memory(struct fixture *f, const char *id)
{
    struct sched_model *m = sched_find(f->sched, id);
    if (m) sched_model_unref(m);
    return m;
}

#endif
