/* Contexts and samplers of the llama engine. One owner thread; only `abort` is touched by others.
 *
 * The batch is laid out once, for n_batch tokens, so that decoding allocates nothing. The KV cache
 * is one stream of cells per sequence, or one for all (shared_kv). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/llama_int.h"

struct le_sampler {
    struct engine_sampler head;
    struct shim_sampler *sampler;
};

/* ---- contexts ----------------------------------------------------------------------------- */

static bool on_abort(void *ctx)
{
    const struct le_ctx *c = ctx;
    return atomic_load_explicit(&c->head.abort, memory_order_acquire) || le_mix_failed(c->mix);
}

enum { WEIGHTS_PER_THREAD = 32 << 20 };

/* One thread for each physical core, but no more than the model has work for. The library's threads
 * meet at a spinning barrier several times a layer: in a small model they only wait for each other,
 * and on a machine with other work (4 busy processes on 2 cores) an answer of the 6 MB model took
 * 24 s with two threads where one needs 0.3 s. */
static int32_t default_threads(const struct le_model *m)
{
    uint64_t useful = 1 + m->head.facts.weight_bytes / WEIGHTS_PER_THREAD;
    int32_t cores = shim_math_cores();
    return useful < (uint64_t)cores ? (int32_t)useful : cores;
}

static struct llama_context_params to_params(const struct le_model *m, struct le_ctx *c,
                                             const struct engine_ctx_params *params)
{
    struct llama_context_params p = llama_context_default_params();
    int32_t threads = default_threads(m);
    p.n_ctx = (uint32_t)params->n_ctx;
    p.n_batch = (uint32_t)params->n_batch;
    p.n_ubatch =
        (uint32_t)(params->n_ubatch < params->n_batch ? params->n_ubatch : params->n_batch);
    p.n_seq_max = (uint32_t)params->n_seq_max;
    p.n_threads = params->n_threads ? params->n_threads : threads;
    p.n_threads_batch = params->n_threads_batch ? params->n_threads_batch : threads;
    p.abort_callback = on_abort;
    p.abort_callback_data = c;
    p.kv_unified = params->shared_kv || params->embeddings;
    p.op_offload = true;
    p.no_perf = true;
    if (!params->embeddings) {
        /* Else it keeps room for the probabilities after every token of the batch. */
        p.n_outputs_max = p.n_seq_max;
        if (c->mix) {
            p.cb_eval = le_mix_look;
            p.cb_eval_user_data = c->mix;
        }
        return p;
    }
    p.embeddings = true;
    p.n_ubatch = p.n_batch; /* attention that looks both ways needs the whole input at once */
    if (!c->pool) return p;
    p.pooling_type = LLAMA_POOLING_TYPE_MEAN;
    p.cb_eval = le_pool_look;
    p.cb_eval_user_data = c->pool;
    return p;
}

enum ggml_type le_kv_type(enum engine_kv_type type)
{
    static const enum ggml_type types[ENGINE_KV_TYPES] = {GGML_TYPE_F16, GGML_TYPE_Q8_0};
    return types[type];
}

static void tell_kv(struct le_model *m, enum engine_kv_type asked, const char *why)
{
    if (m->head.measure_only || m->kv_told) return;
    m->kv_told = true;
    log_warn(engine, "the KV cache is of f16 and not of %s, which this model can't have: %s",
             engine_kv_name(asked), *why ? why : "the inference library does not say why");
}

/* Whether a type can be had is asked by trying: the library refuses heads that are not made of
 * whole blocks, and architectures without flash attention, which values in blocks need. Attention
 * with a bias of its own is not refused, it ends the process; models with an encoder have that. */
static struct llama_context *init_context(struct le_ctx *c, struct le_model *m,
                                          const struct engine_ctx_params *params)
{
    struct llama_context_params p = to_params(m, c, params);
    char why[256] = "it has an encoder";
    c->head.shared_kv = p.kv_unified;
    c->head.kv_type = params->kv_type;
    if (params->kv_type != ENGINE_KV_F16 && !llama_model_has_encoder(m->model)) {
        p.type_k = p.type_v = le_kv_type(params->kv_type);
        struct llama_context *ctx = llama_init_from_model(m->model, p);
        if (ctx) return ctx;
        str_copy(why, sizeof why, le_log_reason());
        le_log_forget();
    }
    c->head.kv_type = ENGINE_KV_F16;
    p.type_k = p.type_v = le_kv_type(ENGINE_KV_F16);
    struct llama_context *ctx = llama_init_from_model(m->model, p);
    if (ctx && params->kv_type != ENGINE_KV_F16) tell_kv(m, params->kv_type, why);
    return ctx;
}

/* A context that no machine like this could hold is refused before the library tries: its lists of
 * cells alone would be too much. What fits is the scheduler's to judge (engine_ctx_memory). An
 * estimate: keys and values of full attention in 16 bits, the widest that they can be. */
static enum err check_memory(const struct le_model *m, int64_t n_ctx, struct error *error)
{
    size_t available = 0, total = 0;
    ggml_backend_dev_memory(ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU), &available,
                            &total);
    const struct llama_model *model = m->model;
    int64_t heads = llama_model_n_head(model), kv_heads = llama_model_n_head_kv(model);
    int64_t width = heads > 0 ? m->head.facts.n_embd / heads * kv_heads : 0;
    double need = 2.0 * 2.0 * (double)width * m->head.facts.n_layer * (double)n_ctx;
    if (!total || need <= 16.0 * (double)total) return OK;
    char a[32], b[32];
    return err_set(error, ERR_NOMEM,
                   "a context of %lld tokens needs %s of memory and the machine has %s; ask for "
                   "less",
                   (long long)n_ctx, str_from_bytes(a, sizeof a, (uint64_t)need),
                   str_from_bytes(b, sizeof b, total));
}

static void lay_out_batch(struct le_ctx *c)
{
    c->batch = llama_batch_init(c->head.n_batch, 0, 1);
    for (int32_t i = 0; i < c->head.n_batch; i++) c->batch.n_seq_id[i] = 1;
}

static enum err no_context(const struct engine_model *m, const struct engine_ctx_params *params,
                           struct error *error)
{
    return err_set(error, ERR_NOMEM, "no memory for a context of %d tokens%s%s; ask for less",
                   params->n_ctx ? params->n_ctx : m->facts.n_ctx_train,
                   *le_log_reason() ? ": " : "", le_log_reason());
}

static void fill_head(struct le_ctx *c, const struct engine_model *m,
                      const struct engine_ctx_params *params)
{
    c->head.ops = m->ops;
    c->head.n_ctx = (int32_t)llama_n_ctx(c->ctx);
    c->head.n_batch = (int32_t)llama_n_batch(c->ctx);
    c->head.n_seq_max = params->n_seq_max;
    c->head.embeddings = params->embeddings;
    c->head.pieces = c->pool != NULL;
    c->head.mixes = c->mix != NULL;
}

/* Once, if a good part of the tensors was laid out anew: they are counted in the mapping, too. */
static void release_pages(struct le_ctx *c, struct le_model *m)
{
    struct engine_memory memory = {0};
    if (!m->path || m->pages_released) return;
    m->pages_released = true;
    shim_memory(c->ctx, &memory);
    if (memory.host.weights > m->head.facts.weight_bytes * 5 / 4) le_pages_release(m->path);
}

enum err le_ctx_new(struct engine_model *head, const struct engine_ctx_params *params,
                    struct engine_ctx **out, struct error *error)
{
    struct le_model *m = (struct le_model *)head;
    const struct engine_model_facts *f = &head->facts;
    enum err e = check_memory(m, params->n_ctx ? params->n_ctx : f->n_ctx_train, error);
    if (e) return e;
    struct le_ctx *c = xcalloc(1, sizeof *c);
    le_log_forget();
    if (params->embeddings && !f->is_embedding && !f->is_rerank && !head->measure_only) {
        c->pool = le_pool_new(f->n_embd_out, params->n_seq_max, params->n_batch);
        if (!c->pool) {
            free(c);
            return no_context(head, params, error);
        }
    }
    if (le_mix_possible(m, params)) c->mix = le_mix_new(&c->head);
    c->ctx = init_context(c, m, params);
    if (!c->ctx) {
        le_pool_free(c->pool);
        le_mix_free(c->mix);
        free(c);
        return no_context(head, params, error);
    }
    c->memory = llama_get_memory(c->ctx);
    c->n_embd_out = f->n_embd_out;
    c->normalise = !f->is_rerank;
    c->embedding = xcalloc((size_t)c->n_embd_out, sizeof *c->embedding);
    fill_head(c, head, params);
    le_state_init(c, m);
    lay_out_batch(c);
    if (!head->measure_only) le_threads_attach(c->ctx, &c->threads);
    release_pages(c, m);
    *out = &c->head;
    return OK;
}

void le_ctx_memory(const struct engine_ctx *head, struct engine_memory *out)
{
    shim_memory(((const struct le_ctx *)head)->ctx, out);
    /* Tensors that were laid out anew for this CPU are counted again with the file's mapping, whose
     * pages nobody looks at any more. */
    const struct engine_model *m = head->model;
    if (!m->measure_only && out->host.weights > m->facts.weight_bytes)
        out->host.weights = m->facts.weight_bytes;
}

void le_ctx_free(struct engine_ctx *head)
{
    struct le_ctx *c = (struct le_ctx *)head;
    llama_batch_free(c->batch);
    llama_free(c->ctx);
    le_threads_free(&c->threads);
    free(c->embedding);
    le_pool_free(c->pool);
    le_mix_free(c->mix);
    free(c);
}

/* ---- decoding ----------------------------------------------------------------------------- */

static enum err decode_failed(int32_t rc, int32_t n, struct error *error)
{
    if (rc == 1) return err_set(error, ERR_NOMEM, "no room in the KV cache for %d more tokens", n);
    if (rc == 2) return err_set(error, ERR_CANCELLED, "decoding was stopped");
    if (rc == -1000) return error ? error->code : ERR_ENGINE; /* the exception's words are there */
    return err_set(error, ERR_ENGINE, "decoding %d tokens failed (%d)%s%s", n, rc,
                   *le_log_reason() ? ": " : "", le_log_reason());
}

/* A computation is laid out anew under the lock of the model's list of adapters. */
static int32_t compute(struct le_ctx *c, struct error *error)
{
    if (!c->lays_out_anew) return shim_decode(c->ctx, &c->batch, error);
    struct le_model *m = (struct le_model *)c->head.model;
    pthread_mutex_lock(&m->adapters_lock);
    int32_t rc = shim_decode(c->ctx, &c->batch, error);
    pthread_mutex_unlock(&m->adapters_lock);
    c->lays_out_anew = false;
    return rc;
}

enum err le_ctx_decode(struct engine_ctx *head, const struct engine_batch_token *tokens, int32_t n,
                       struct error *error)
{
    struct le_ctx *c = (struct le_ctx *)head;
    struct llama_batch *b = &c->batch;
    for (int32_t i = 0; i < n; i++) {
        b->token[i] = tokens[i].token;
        b->pos[i] = tokens[i].pos;
        b->seq_id[i][0] = tokens[i].seq;
        b->logits[i] = tokens[i].output;
    }
    b->n_tokens = n;
    if (head->embeddings && !head->pieces && c->memory) llama_memory_clear(c->memory, false);
    if (c->pool) le_pool_begin(c->pool);
    if (c->mix) le_mix_begin(c->mix, tokens, n);
    if (on_abort(c)) return decode_failed(2, n, error);
    le_log_forget();
    int32_t rc = compute(c, error);
    if (c->mix && !le_mix_end(c->mix)) {
        head->mixes = false;
        return decode_failed(2, n, error);
    }
    if (rc) return decode_failed(rc, n, error);
    if (c->pool) le_pool_end(c->pool, c->ctx, tokens, n);
    return OK;
}

void le_ctx_adapters(struct engine_ctx *head)
{
    struct le_ctx *c = (struct le_ctx *)head;
    const struct adapter_set *s = &head->set;
    struct llama_adapter_lora *loras[ENGINE_ADAPTERS_MAX] = {NULL};
    float scales[ENGINE_ADAPTERS_MAX] = {0};
    for (int32_t i = 0; i < s->n; i++) {
        loras[i] = ((struct le_adapter *)s->adapters[i])->lora;
        scales[i] = s->scale != 0 ? s->scale : 1;
    }
    /* A set that is the same as before would keep the graph. */
    if (c->mix && le_mix_forget(c->mix)) llama_set_adapters_lora(c->ctx, loras, 0, scales);
    llama_set_adapters_lora(c->ctx, loras, (size_t)s->n, scales);
    c->lays_out_anew = true;
}

bool le_seq_remove(struct engine_ctx *head, int32_t seq, int32_t p0, int32_t p1)
{
    struct le_ctx *c = (struct le_ctx *)head;
    if (c->pool && p0 <= 0 && p1 < 0) le_pool_forget(c->pool, seq);
    return !c->memory || llama_memory_seq_rm(c->memory, seq, p0, p1);
}

const float *le_seq_embedding(struct engine_ctx *head, int32_t seq)
{
    struct le_ctx *c = (struct le_ctx *)head;
    size_t n = (size_t)c->n_embd_out;
    if (c->pool) {
        if (!le_pool_vector(c->pool, seq, c->embedding)) return NULL;
    } else {
        const float *v = llama_get_embeddings_seq(c->ctx, seq);
        if (!v) return NULL;
        memcpy(c->embedding, v, n * sizeof *v);
    }
    if (!c->normalise) return c->embedding;
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)c->embedding[i] * c->embedding[i];
    float scale = sum > 0 ? (float)(1 / sqrt(sum)) : 1;
    for (size_t i = 0; i < n; i++) c->embedding[i] *= scale;
    return c->embedding;
}

/* ---- sampling ----------------------------------------------------------------------------- */

enum err le_smp_new(const struct engine_model *head, const struct sampling *s,
                    const struct engine_prompt *prompt, struct engine_sampler **out,
                    struct error *error)
{
    const struct le_model *m = (const struct le_model *)head;
    const struct le_prompt *p = (const struct le_prompt *)prompt;
    struct shim_sampler *sampler;
    const struct token_tree *tree =
        shim_chat_wants_tree(p->chat) ? le_model_tree((struct le_model *)head) : NULL;
    enum err e =
        shim_sampler_new(m->model, s, p->chat, head->facts.n_ctx_train, tree, &sampler, error);
    if (e) return e;
    struct le_sampler *sm = xcalloc(1, sizeof *sm);
    sm->head.ops = head->ops;
    sm->sampler = sampler;
    *out = &sm->head;
    return OK;
}

void le_smp_free(struct engine_sampler *head)
{
    struct le_sampler *s = (struct le_sampler *)head;
    shim_sampler_free(s->sampler);
    free(s);
}

void le_smp_accept_prompt(struct engine_sampler *s, int32_t token)
{
    shim_sampler_accept_prompt(((struct le_sampler *)s)->sampler, token);
}

enum err le_smp_replay(struct engine_sampler *s, int32_t token, bool *special, struct error *error)
{
    return shim_sampler_replay(((struct le_sampler *)s)->sampler, token, special, error);
}

enum err le_smp_sample(struct engine_ctx *c, struct engine_sampler *s, int32_t index,
                       struct engine_sample *out, struct error *error)
{
    return shim_sampler_sample(((struct le_sampler *)s)->sampler, ((struct le_ctx *)c)->ctx, index,
                               out, error);
}
