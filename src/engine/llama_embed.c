/* Embeddings of a generating model: one vector out of the outputs of all tokens of an input, here
 * instead of in the library, for two reasons.
 *
 * The library computes the probabilities of the next token for every token of the input, which
 * nobody wants: of a 0.5B model a quarter of the time and, with 150,000 words, 600 KB for each
 * token. The tensor "result_norm" is what is pooled and what the probabilities come from: a look at
 * it ends the computation there.
 *
 * And an input may come in pieces, as a long prompt does, so that it never holds others up: the sum
 * of all pieces is kept here for each sequence.
 *
 * A model in which the tensor has another name costs more and gives the same: the library's mean of
 * the piece, weighted by its length, joins the sum. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/llama_int.h"

struct le_pool {
    int32_t n_embd, n_seq_max, n_rows_max;
    double *sums;    /* n_seq_max rows of n_embd */
    int32_t *counts; /* tokens in each */
    float *rows;     /* of the call under way, one for each token */
    int32_t n_rows;
};

struct le_pool *le_pool_new(int32_t n_embd, int32_t n_seq_max, int32_t n_tokens_max)
{
    struct le_pool *p = xcalloc(1, sizeof *p);
    p->n_embd = n_embd;
    p->n_seq_max = n_seq_max;
    p->n_rows_max = n_tokens_max;
    p->sums = try_calloc((size_t)n_seq_max * (size_t)n_embd, sizeof *p->sums);
    p->counts = try_calloc((size_t)n_seq_max, sizeof *p->counts);
    p->rows = try_calloc((size_t)n_tokens_max * (size_t)n_embd, sizeof *p->rows);
    if (p->sums && p->counts && p->rows) return p;
    le_pool_free(p);
    return NULL;
}

void le_pool_free(struct le_pool *p)
{
    if (!p) return;
    free(p->sums);
    free(p->counts);
    free(p->rows);
    free(p);
}

void le_pool_begin(struct le_pool *p)
{
    p->n_rows = 0;
}

/* ggml_backend_sched_eval_callback: first asked whether it wants a tensor, then shown it. A false
 * answer to the second ends the computation. */
bool le_pool_look(struct ggml_tensor *t, bool ask, void *pool)
{
    struct le_pool *p = pool;
    bool is_it = strcmp(t->name, "result_norm") == 0 && t->type == GGML_TYPE_F32 &&
                 t->ne[0] == p->n_embd && p->n_rows + t->ne[1] <= p->n_rows_max && t->ne[2] == 1 &&
                 t->nb[1] == (size_t)p->n_embd * sizeof(float);
    if (ask || !is_it) return ask ? is_it : true;
    ggml_backend_tensor_get(t, p->rows + (size_t)p->n_rows * (size_t)p->n_embd, 0, ggml_nbytes(t));
    p->n_rows += (int32_t)t->ne[1];
    return false;
}

static void add(struct le_pool *p, int32_t seq, const float *v, int32_t weight)
{
    double *sum = p->sums + (size_t)seq * (size_t)p->n_embd;
    for (int32_t i = 0; i < p->n_embd; i++) sum[i] += (double)v[i] * weight;
    p->counts[seq] += weight;
}

/* The mean that the library made of each sequence's tokens in this call. */
static void add_means(struct le_pool *p, struct llama_context *ctx,
                      const struct engine_batch_token *tokens, int32_t n)
{
    for (int32_t i = 0, from = 0; i < n; i++) {
        if (i + 1 < n && tokens[i + 1].seq == tokens[i].seq) continue;
        const float *mean = llama_get_embeddings_seq(ctx, tokens[i].seq);
        if (mean) add(p, tokens[i].seq, mean, i + 1 - from);
        from = i + 1;
    }
}

void le_pool_end(struct le_pool *p, struct llama_context *ctx,
                 const struct engine_batch_token *tokens, int32_t n)
{
    if (p->n_rows != n) {
        add_means(p, ctx, tokens, n);
        return;
    }
    for (int32_t i = 0; i < n; i++)
        add(p, tokens[i].seq, p->rows + (size_t)i * (size_t)p->n_embd, 1);
}

void le_pool_forget(struct le_pool *p, int32_t seq)
{
    memset(p->sums + (size_t)seq * (size_t)p->n_embd, 0, (size_t)p->n_embd * sizeof *p->sums);
    p->counts[seq] = 0;
}

bool le_pool_vector(const struct le_pool *p, int32_t seq, float *out)
{
    const double *sum = p->sums + (size_t)seq * (size_t)p->n_embd;
    if (!p->counts[seq]) return false;
    for (int32_t i = 0; i < p->n_embd; i++) out[i] = (float)(sum[i] / p->counts[seq]);
    return true;
}
