/* A provider without a model: a text's vector counts its words, hashed into a few dimensions, so
 * that texts with the same words are near; a rerank scores by the words that are shared. Real
 * arithmetic, always the same, and quick. Tests can hold it, make it fail, and count. */
#ifndef HEARTH_TESTS_WORDS_PROVIDER_H
#define HEARTH_TESTS_WORDS_PROVIDER_H

#include <ctype.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/vec.h"
#include "provider/provider.h"

struct words_provider {
    struct provider base;
    int32_t dims;
    bool blank; /* vectors say nothing and cost nothing: for measuring what is around them */
    atomic_int calls, inputs;
    atomic_int pinned, open; /* calls that must stay on this machine, and others */
    atomic_int fail_at;      /* this call (1, 2, ...) fails; 0 = none */
    enum err fail_with;
    size_t longest; /* bytes of an input; more is ERR_CONTEXT; 0 = any */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool held; /* calls wait */
    atomic_int waiting;
    char model[128]; /* that was asked for last */
};

static inline void words_vector(const char *text, size_t len, float *out, size_t dims)
{
    size_t at = 0;
    memset(out, 0, dims * sizeof *out);
    while (at < len) {
        char word[64];
        size_t n = 0;
        for (; at < len && isalnum((unsigned char)text[at]); at++)
            if (n < sizeof word) word[n++] = (char)tolower((unsigned char)text[at]);
        if (n)
            out[hash64(word, n, 7) % dims] += 1;
        else
            at++;
    }
    if (!vec_normalise(out, dims, out)) out[0] = 1;
}

/* Any direction, the same for the same text. */
static inline void words_blank(const char *text, size_t len, float *out, size_t dims)
{
    uint64_t state = hash64(text, len < 64 ? len : 64, 7) | 1;
    for (size_t i = 0; i < dims; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        out[i] = (float)(int32_t)(state >> 32);
    }
}

static inline void words_wait(struct words_provider *w)
{
    pthread_mutex_lock(&w->lock);
    atomic_fetch_add(&w->waiting, 1);
    while (w->held) pthread_cond_wait(&w->changed, &w->lock);
    atomic_fetch_sub(&w->waiting, 1);
    pthread_mutex_unlock(&w->lock);
}

static inline void words_hold(struct words_provider *w, bool hold)
{
    pthread_mutex_lock(&w->lock);
    w->held = hold;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

static inline enum err words_check(struct words_provider *w, const struct embed_request *req,
                                   struct error *error)
{
    int call = atomic_fetch_add(&w->calls, 1) + 1;
    atomic_fetch_add(&w->inputs, (int)req->n_inputs);
    if (call == atomic_load(&w->fail_at)) return err_set(error, w->fail_with, "as the test wants");
    for (size_t i = 0; w->longest && i < req->n_inputs; i++)
        if (req->inputs[i].text_len > w->longest)
            return err_set(error, ERR_CONTEXT, "input %zu is too long", i);
    return OK;
}

static inline enum err words_embed(struct provider *p, struct embed_request *req,
                                   embed_listener_fn fn, void *ctx, uint64_t *id,
                                   struct error *error)
{
    struct words_provider *w = (struct words_provider *)p;
    struct error failed = {0};
    size_t dims = req->query ? 1 : (size_t)w->dims, full = (size_t)w->dims;
    struct embed_result r = {.model = "words", .n_inputs = req->n_inputs, .n_dims = dims};
    float *v = xcalloc(req->n_inputs * dims, sizeof *v), *q = xcalloc(2 * full, sizeof *q);
    (void)error;
    *id = 1;
    atomic_fetch_add(req->local_only ? &w->pinned : &w->open, 1);
    words_wait(w);
    pthread_mutex_lock(&w->lock);
    strncpy(w->model, req->model, sizeof w->model - 1);
    pthread_mutex_unlock(&w->lock);
    if (req->query) words_vector(req->query, strlen(req->query), q, full);
    for (size_t i = 0; i < req->n_inputs; i++) {
        const struct embed_input *in = &req->inputs[i];
        if (w->blank) {
            words_blank(in->text, in->text_len, v + i * dims, dims);
        } else if (req->query) {
            words_vector(in->text, in->text_len, q + full, full);
            v[i] = 10 * vec_dot(q, q + full, full) - 5;
        } else {
            words_vector(in->text, in->text_len, v + i * dims, dims);
        }
    }
    r.vectors = v;
    if (words_check(w, req, &failed)) r = (struct embed_result){.error = &failed};
    fn(ctx, &r);
    free(v);
    free(q);
    arena_free(req->arena);
    return OK;
}

static inline enum err words_generate(struct provider *p, struct gen_request *req,
                                      gen_listener_fn fn, void *ctx, uint64_t *id,
                                      struct error *error)
{
    (void)p, (void)fn, (void)ctx, (void)id;
    arena_free(req->arena);
    return err_set(error, ERR_UNSUPPORTED, "it only counts words");
}

static inline void words_cancel(struct provider *p, uint64_t id)
{
    (void)p, (void)id;
}

static inline void words_close(struct provider *p, int64_t grace_ms)
{
    (void)p, (void)grace_ms;
}

static inline void words_open(struct words_provider *w, int32_t dims)
{
    static const struct provider_ops ops = {.name = "words",
                                            .caps = PROVIDER_EMBED,
                                            .generate = words_generate,
                                            .cancel = words_cancel,
                                            .embed = words_embed,
                                            .close = words_close};
    *w = (struct words_provider){.base.ops = &ops, .dims = dims};
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->changed, NULL);
}

#endif
