/* Measures what the steps of a model cost on this machine, on purpose and alone: `hearth bench`. A
 * scheduler that is given the result (sched_params.shapes) begins with what it would otherwise have
 * to learn from its first requests.
 *
 * Five things, in this order, each with what the ones before it have found:
 *   threads   a token of one sequence and a piece of a prompt, by number of threads
 *   widths    a token for each of 1, 2, 3, ... sequences in one batch
 *   ubatches  a longer prompt in pieces of several sizes
 *   pieces    small and large pieces, at the start and behind other tokens
 *   KV types  tokens and pieces far behind others, with each type of KV cells
 *
 * Everything is measured in rounds that go through all candidates, so that a disturbance hits all
 * of them and not one. Slow models get fewer rounds and shorter prompts: the whole takes about
 * budget_ms, with at least two rounds of each. Blocking; own contexts, so the model may be shared.
 */
#ifndef HEARTH_SCHED_MEASURE_H
#define HEARTH_SCHED_MEASURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "sched/sched.h"

enum { MEASURE_POINTS_MAX = 16 };

struct measure_params {
    struct engine_model *model; /* generates; not an embedding model */
    int32_t n_threads;          /* 0 = find the best up to max_threads */
    int32_t max_threads;
    int32_t n_parallel; /* most sequences together */
    int64_t budget_ms;
    /* Says what is measured now. False: stop with ERR_CANCELLED. May be NULL. */
    bool (*on_progress)(void *ctx, const char *what);
    void *progress_ctx;
};

struct measure_threads {
    int32_t n;
    double decode_ms, prefill_tokens_per_s;
};

struct measure_width {
    int32_t n;
    double ms;
};

struct measure_ubatch {
    int32_t n;
    double tokens_per_s;
};

struct measure_kv {
    enum engine_kv_type type;
    double bytes_per_token, decode_ms, prefill_tokens_per_s; /* behind kv_depth others */
};

struct measure {
    struct measure_threads threads[MEASURE_POINTS_MAX];
    struct measure_width widths[MEASURE_POINTS_MAX];
    struct measure_ubatch ubatches[MEASURE_POINTS_MAX];
    struct measure_kv kvs[ENGINE_KV_TYPES]; /* those that the model can have */
    size_t n_threads, n_widths, n_ubatches, n_kvs;
    int32_t kv_depth;
    struct shape_profile profile; /* with the best of all of them; model is "" */
};

/* ERR_NOMEM: no room for the contexts; ERR_ENGINE; ERR_CANCELLED; ERR_UNSUPPORTED: the model does
 * not generate. */
HT_MUST_CHECK enum err measure_model(const struct measure_params *params, struct measure *out,
                                     struct error *error);

#endif
