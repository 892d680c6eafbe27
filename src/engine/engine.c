/* The wrappers that callers see: argument checks, fault points, dispatch. No state. */
#include "engine/engine_int.h"

#include <stdlib.h>
#include <strings.h>

#include "base/fault.h"

void engine_close(struct engine *e)
{
    if (e) e->ops->close(e);
}

enum err engine_describe(struct engine *e, struct engine_description *out, struct error *error)
{
    return e->ops->describe(e, out, error);
}

const char *engine_library_version(const struct engine *e)
{
    return e->ops->library;
}

/* ---- models ------------------------------------------------------------------------------ */

enum err engine_model_load(struct engine *e, const struct engine_model_params *params,
                           struct engine_model **out, struct error *error)
{
    ht_assert(params->path && *params->path);
    *out = NULL;
    if (!params->measure_only && fault_hit(FAULT_crash_load)) abort();
    if (!params->measure_only && fault_hit(FAULT_load))
        return err_set(error, ERR_MODEL_FILE, "loading the model failed (injected fault)");
    return e->ops->model_load(e, params, out, error);
}

void engine_model_free(struct engine_model *m)
{
    if (m) m->ops->model_free(m);
}

void engine_model_facts(const struct engine_model *m, struct engine_model_facts *out)
{
    *out = m->facts;
}

/* ---- adapters ----------------------------------------------------------------------------- */

enum err engine_adapter_load(struct engine_model *m, const char *path, struct engine_adapter **out,
                             struct error *error)
{
    ht_assert(path && *path);
    *out = NULL;
    if (fault_hit(FAULT_crash_adapter)) abort();
    if (fault_hit(FAULT_load))
        return err_set(error, ERR_MODEL_FILE, "loading the adapter failed (injected fault)");
    enum err e = m->ops->adapter_load(m, path, out, error);
    if (e) return e;
    (*out)->ops = m->ops;
    (*out)->model = m;
    return OK;
}

void engine_adapter_free(struct engine_adapter *a)
{
    if (!a) return;
    ht_assert(a->n_contexts == 0);
    a->ops->adapter_free(a);
}

void engine_adapter_facts(const struct engine_adapter *a, struct engine_adapter_facts *out)
{
    *out = a->facts;
}

bool engine_ctx_mixes(const struct engine_ctx *c, const struct engine_adapter *a)
{
    return c->mixes && (!a || a->known);
}

void engine_ctx_drop_adapters(struct engine_ctx *c)
{
    adapter_set_clear(c);
}

/* ---- text and tokens ---------------------------------------------------------------------- */

enum err engine_tokenize(const struct engine_model *m, const char *text, size_t len,
                         bool add_special, bool parse_special, size_t max_tokens, int32_t **out,
                         size_t *n, struct error *error)
{
    *out = NULL;
    *n = 0;
    return m->ops->tokenize(m, text, len, add_special, parse_special, max_tokens, out, n, error);
}

enum err engine_tokenize_pair(const struct engine_model *m, const char *query, const char *document,
                              size_t document_len, size_t max_tokens, int32_t **out, size_t *n,
                              struct error *error)
{
    ht_assert(m->facts.is_rerank);
    *out = NULL;
    *n = 0;
    return m->ops->tokenize_pair(m, query, document, document_len, max_tokens, out, n, error);
}

enum err engine_token_text(const struct engine_model *m, int32_t token, bool special,
                           struct buf *out)
{
    ht_assert(token >= 0 && token < m->facts.n_vocab);
    return m->ops->token_text(m, token, special, out);
}

bool engine_token_is_end(const struct engine_model *m, int32_t token)
{
    return m->ops->token_is_end(m, token);
}

/* ---- prompts and parsers ------------------------------------------------------------------ */

enum err engine_prompt_new(const struct engine_model *m, const struct gen_request *req,
                           size_t max_tokens, struct engine_prompt **out, struct error *error)
{
    *out = NULL;
    return m->ops->prompt_new(m, req, max_tokens, out, error);
}

void engine_prompt_free(struct engine_prompt *p)
{
    if (p) p->ops->prompt_free(p);
}

const int32_t *engine_prompt_tokens(const struct engine_prompt *p, size_t *n)
{
    *n = p->n_tokens;
    return p->tokens;
}

const char *engine_prompt_text(const struct engine_prompt *p)
{
    return p->text ? p->text : "";
}

size_t engine_prompt_stops(const struct engine_prompt *p, const char *const **out)
{
    *out = (const char *const *)p->stops;
    return p->n_stops;
}

void prompt_head_free(struct engine_prompt *p)
{
    for (size_t i = 0; i < p->n_stops; i++) free(p->stops[i]);
    free(p->stops);
    free(p->tokens);
    free(p->text);
}

enum err prompt_too_long(struct error *error, size_t n_tokens, size_t max_tokens)
{
    return err_set(error, ERR_CONTEXT,
                   "the prompt has %zu tokens, but at most %zu fit into the model's context; "
                   "shorten it or raise the context size",
                   n_tokens, max_tokens);
}

enum err engine_parser_new(const struct engine_prompt *p, struct engine_parser **out,
                           struct error *error)
{
    *out = NULL;
    return p->ops->parser_new(p, out, error);
}

void engine_parser_free(struct engine_parser *ps)
{
    if (ps) ps->ops->parser_free(ps);
}

enum err engine_parser_feed(struct engine_parser *ps, const char *text, size_t len, bool final,
                            const struct engine_delta **out, size_t *n, struct error *error)
{
    ht_assert(!ps->finished);
    ps->finished = final;
    *out = NULL;
    *n = 0;
    return ps->ops->parser_feed(ps, text, len, final, out, n, error);
}

/* ---- contexts ----------------------------------------------------------------------------- */

static const char *const kv_names[ENGINE_KV_TYPES] = {"f16", "q8_0"};

const char *engine_kv_name(enum engine_kv_type type)
{
    ht_assert(type < ENGINE_KV_TYPES);
    return kv_names[type];
}

bool engine_kv_find(const char *name, enum engine_kv_type *out)
{
    for (int i = 0; i < ENGINE_KV_TYPES; i++) {
        if (strcasecmp(name, kv_names[i]) != 0) continue;
        *out = (enum engine_kv_type)i;
        return true;
    }
    return false;
}

enum err engine_ctx_new(struct engine_model *m, const struct engine_ctx_params *params,
                        struct engine_ctx **out, struct error *error)
{
    ht_assert(params->n_batch > 0 && params->n_ubatch > 0 && params->n_ctx >= 0);
    ht_assert(params->kv_type < ENGINE_KV_TYPES && (!params->embeddings || !params->kv_type));
    *out = NULL;
    if (params->n_seq_max < 1 || params->n_seq_max > ENGINE_SEQ_MAX)
        return err_set(error, ERR_INVALID, "%d sequences in one context: 1 to %d are possible",
                       params->n_seq_max, ENGINE_SEQ_MAX);
    enum err e = m->ops->ctx_new(m, params, out, error);
    if (!e) (*out)->model = m;
    return e;
}

void engine_ctx_free(struct engine_ctx *c)
{
    if (!c) return;
    adapter_set_clear(c);
    c->ops->ctx_free(c);
}

void engine_ctx_memory(const struct engine_ctx *c, struct engine_memory *out)
{
    *out = (struct engine_memory){0};
    c->ops->ctx_memory(c, out);
}

bool engine_ctx_takes_pieces(const struct engine_ctx *c)
{
    return c->pieces;
}

int32_t engine_ctx_size(const struct engine_ctx *c)
{
    return c->n_ctx;
}

enum engine_kv_type engine_ctx_kv_type(const struct engine_ctx *c)
{
    return c->kv_type;
}

enum err engine_decode(struct engine_ctx *c, const struct engine_batch_token *tokens, int32_t n,
                       struct error *error)
{
    ht_assert(n > 0 && n <= c->n_batch && !c->model->measure_only);
    if (fault_hit(FAULT_crash_decode)) abort();
    fault_hang(FAULT_hang_decode);
    if (fault_hit(FAULT_decode))
        return err_set(error, ERR_ENGINE, "decoding a batch failed (injected fault)");
    adapter_set_prepare(c, tokens, n);
    return c->ops->decode(c, tokens, n, error);
}

void engine_ctx_abort(struct engine_ctx *c)
{
    atomic_store_explicit(&c->abort, true, memory_order_release);
}

void engine_ctx_abort_clear(struct engine_ctx *c)
{
    atomic_store_explicit(&c->abort, false, memory_order_release);
}

bool engine_seq_remove(struct engine_ctx *c, int32_t seq, int32_t p0, int32_t p1)
{
    ht_assert(seq >= 0 && seq < c->n_seq_max);
    return c->ops->seq_remove(c, seq, p0, p1);
}

bool engine_seq_copy(struct engine_ctx *c, int32_t from, int32_t to, int32_t p0, int32_t p1)
{
    ht_assert(from >= 0 && from < c->n_seq_max && to >= 0 && to < c->n_seq_max);
    return from == to || c->ops->seq_copy(c, from, to, p0, p1);
}

bool engine_seq_shift(struct engine_ctx *c, int32_t seq, int32_t p0, int32_t p1, int32_t delta)
{
    ht_assert(seq >= 0 && seq < c->n_seq_max && delta <= 0);
    return c->ops->seq_shift(c, seq, p0, p1, delta);
}

size_t engine_seq_size(struct engine_ctx *c, int32_t seq)
{
    ht_assert(!c->embeddings && seq >= 0 && seq < c->n_seq_max);
    return c->ops->seq_size(c, seq);
}

size_t engine_seq_save(struct engine_ctx *c, int32_t seq, void *state, size_t size)
{
    ht_assert(!c->embeddings && seq >= 0 && seq < c->n_seq_max);
    return c->ops->seq_save(c, seq, state, size);
}

enum err engine_seq_restore(struct engine_ctx *c, int32_t seq, const void *state, size_t size,
                            struct error *error)
{
    ht_assert(!c->embeddings && seq >= 0 && seq < c->n_seq_max);
    if (fault_hit(FAULT_crash_restore)) abort();
    return c->ops->seq_restore(c, seq, state, size, error);
}

uint64_t engine_ctx_fingerprint(const struct engine_ctx *c)
{
    return c->fingerprint;
}

bool engine_ctx_divisible(const struct engine_ctx *c)
{
    return c->divisible;
}

const float *engine_seq_embedding(struct engine_ctx *c, int32_t seq)
{
    ht_assert(c->embeddings && seq >= 0 && seq < c->n_seq_max);
    return c->ops->seq_embedding(c, seq);
}

/* ---- sampling ----------------------------------------------------------------------------- */

enum err engine_sampler_new(const struct engine_model *m, const struct sampling *s,
                            const struct engine_prompt *p, struct engine_sampler **out,
                            struct error *error)
{
    *out = NULL;
    return m->ops->sampler_new(m, s, p, out, error);
}

void engine_sampler_free(struct engine_sampler *s)
{
    if (s) s->ops->sampler_free(s);
}

void engine_sampler_accept_prompt(struct engine_sampler *s, int32_t token)
{
    s->ops->sampler_accept_prompt(s, token);
}

enum err engine_sampler_replay(struct engine_sampler *s, int32_t token, bool *special,
                               struct error *error)
{
    return s->ops->sampler_replay(s, token, special, error);
}

enum err engine_sample(struct engine_ctx *c, struct engine_sampler *s, int32_t index,
                       struct engine_sample *out, struct error *error)
{
    ht_assert(!c->embeddings && index >= 0);
    if (fault_hit(FAULT_crash_sample)) abort();
    return c->ops->sample(c, s, index, out, error);
}
