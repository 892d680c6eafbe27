/* The llama engine's own structs: llama_backend.c (the library, devices), llama_model.c (weights,
 * tokens), llama_chat.c (prompts, parsers) and llama_ctx.c (decoding, sampling) share them. */
#ifndef HEARTH_ENGINE_LLAMA_INT_H
#define HEARTH_ENGINE_LLAMA_INT_H

#include <llama.h>
#include <pthread.h>

#include "engine/engine_int.h"
#include "engine/shim.h"

struct le_engine {
    struct engine head;
    char lib_dir[4096]; /* "" = beside the binary */
};

struct le_model {
    struct engine_model head;
    struct llama_model *model;
    const struct llama_vocab *vocab;
    struct shim_templates *templates; /* NULL: no_chat says why */
    char no_chat[256];
    struct shim_overrides *overrides; /* of requests that bring a template */
    size_t token_bytes_max;           /* no token stands for more text; 0 = unknown */
    /* libllama's list of the model's adapters, which loading changes and laying out a computation
     * reads: held by a load, and by the first decode after a change of adapters. */
    pthread_mutex_t adapters_lock;
    pthread_mutex_t tree_lock; /* the two below */
    struct token_tree *tree;   /* made for the first answer with a grammar */
    bool tree_failed;
    char *path;                   /* of its mapped file; NULL: it is not mapped */
    bool pages_released, kv_told; /* loading thread */
};

enum { LE_ADAPTER_BUFFERS_MAX = 8 };

struct le_adapter {
    struct engine_adapter head;
    struct llama_adapter_lora *lora;
    pthread_mutex_t *lock; /* the model's */
    /* Where its tensors are, as far as seen (llama_mix.c); the contexts' thread. */
    ggml_backend_buffer_t buffers[LE_ADAPTER_BUFFERS_MAX];
    int32_t n_buffers;
};

/* llama_threads.c */
struct le_threads {
    struct ggml_threadpool *one, *batch; /* batch NULL: the same */
};

struct le_ctx {
    struct engine_ctx head;
    struct llama_context *ctx;
    llama_memory_t memory; /* NULL: an encoder, nothing is kept between calls */
    struct llama_batch batch;
    float *embedding;     /* n_embd_out */
    struct le_pool *pool; /* embeddings of a generating model */
    struct le_mix *mix;   /* NULL: its adapters take turns */
    int32_t n_embd_out;
    bool normalise;
    struct le_threads threads;
    bool lays_out_anew; /* the adapters have changed since the last decode */
    bool shifts;        /* engine_seq_shift may be asked of the library */
};

struct le_prompt {
    struct engine_prompt head;
    struct shim_chat *chat;
};

/* ---- llama_threads.c ----------------------------------------------------------------------- */

/* Gives the context threads of its own. Where that can't be, the library makes them for each step.
 */
void le_threads_attach(struct llama_context *ctx, struct le_threads *t);
void le_threads_free(struct le_threads *t); /* after the context */

/* ---- llama_backend.c ----------------------------------------------------------------------- */

/* Loads the CPU variant that suits this machine and the device back ends, once per process. */
HT_MUST_CHECK enum err le_backend_need(struct le_engine *e, struct error *error);
/* The first error that libllama logged on this thread since le_log_forget, without its prefix;
 * "" if none. */
void le_log_forget(void);
const char *le_log_reason(void);
enum err le_describe(struct engine *e, struct engine_description *out, struct error *error);

/* ---- llama_model.c ------------------------------------------------------------------------- */

enum err le_model_open(struct engine *e, const struct engine_model_params *params,
                       struct engine_model **out, struct error *error);
void le_model_close(struct engine_model *m);
enum err le_model_tokenize(const struct engine_model *m, const char *text, size_t len,
                           bool add_special, bool parse_special, size_t max_tokens, int32_t **out,
                           size_t *n, struct error *error);
enum err le_model_tokenize_pair(const struct engine_model *m, const char *query,
                                const char *document, size_t document_len, size_t max_tokens,
                                int32_t **out, size_t *n, struct error *error);
enum err le_token_text(const struct engine_model *m, int32_t token, bool special, struct buf *out);
/* A whole number of the file's header, "<architecture>.<name>"; false: it has none up to max. */
bool le_model_number(const struct llama_model *m, const char *name, int64_t max, int64_t *out);
/* NULL without memory for it. */
const struct token_tree *le_model_tree(struct le_model *m);
bool le_token_is_end(const struct engine_model *m, int32_t token);

/* ---- llama_adapter.c ----------------------------------------------------------------------- */

enum err le_adapter_load(struct engine_model *m, const char *path, struct engine_adapter **out,
                         struct error *error);
void le_adapter_free(struct engine_adapter *a);

/* ---- llama_chat.c -------------------------------------------------------------------------- */

enum err le_prompt_new(const struct engine_model *m, const struct gen_request *req,
                       size_t max_tokens, struct engine_prompt **out, struct error *error);
void le_prompt_free(struct engine_prompt *p);
enum err le_parser_new(const struct engine_prompt *p, struct engine_parser **out,
                       struct error *error);
void le_parser_free(struct engine_parser *ps);
enum err le_parser_feed(struct engine_parser *ps, const char *text, size_t len, bool final,
                        const struct engine_delta **out, size_t *n, struct error *error);

/* ---- llama_ctx.c --------------------------------------------------------------------------- */

enum ggml_type le_kv_type(enum engine_kv_type type);

enum err le_ctx_new(struct engine_model *m, const struct engine_ctx_params *params,
                    struct engine_ctx **out, struct error *error);
void le_ctx_free(struct engine_ctx *c);
void le_ctx_memory(const struct engine_ctx *c, struct engine_memory *out);
enum err le_ctx_decode(struct engine_ctx *c, const struct engine_batch_token *tokens, int32_t n,
                       struct error *error);
void le_ctx_adapters(struct engine_ctx *c);
bool le_seq_remove(struct engine_ctx *c, int32_t seq, int32_t p0, int32_t p1);
const float *le_seq_embedding(struct engine_ctx *c, int32_t seq);
enum err le_smp_new(const struct engine_model *m, const struct sampling *s,
                    const struct engine_prompt *p, struct engine_sampler **out,
                    struct error *error);
void le_smp_free(struct engine_sampler *s);
void le_smp_accept_prompt(struct engine_sampler *s, int32_t token);
enum err le_smp_replay(struct engine_sampler *s, int32_t token, bool *special, struct error *error);
enum err le_smp_sample(struct engine_ctx *c, struct engine_sampler *s, int32_t index,
                       struct engine_sample *out, struct error *error);

/* ---- llama_state.c ------------------------------------------------------------------------- */

void le_state_init(struct le_ctx *c, const struct le_model *m);
bool le_seq_copy(struct engine_ctx *c, int32_t from, int32_t to, int32_t p0, int32_t p1);
bool le_seq_shift(struct engine_ctx *c, int32_t seq, int32_t p0, int32_t p1, int32_t delta);
size_t le_seq_size(struct engine_ctx *c, int32_t seq);
size_t le_seq_save(struct engine_ctx *c, int32_t seq, void *state, size_t size);
enum err le_seq_restore(struct engine_ctx *c, int32_t seq, const void *state, size_t size,
                        struct error *error);
/* ---- llama_pages.c -------------------------------------------------------------------------- */

/* The pages of the file's mapping are no longer counted as this process's memory. */
void le_pages_release(const char *path);

/* ---- llama_mix.c ---------------------------------------------------------------------------- */

/* Owner thread of the context. */
struct le_mix;
/* Can rows of several adapters be in one batch of such a context? */
bool le_mix_possible(const struct le_model *m, const struct engine_ctx_params *params);
struct le_mix *le_mix_new(struct engine_ctx *head); /* or NULL: no memory */
void le_mix_free(struct le_mix *m);
/* Around each decode; look is the library's eval callback between. end is false when the result is
 * wrong, because this model's adapters can't be mixed. */
void le_mix_begin(struct le_mix *m, const struct engine_batch_token *tokens, int32_t n);
bool le_mix_look(struct ggml_tensor *t, bool ask, void *mix);
bool le_mix_failed(
    const struct le_mix *m); /* then the computation is to be stopped; m may be NULL */
HT_MUST_CHECK bool le_mix_end(struct le_mix *m);
/* The set has changed, and the graph will be a new one. True: the old one was changed. */
bool le_mix_forget(struct le_mix *m);

/* ---- llama_embed.c -------------------------------------------------------------------------- */

/* Sums of the outputs of each sequence's tokens. Owner thread of the context. */
struct le_pool;
struct le_pool *le_pool_new(int32_t n_embd, int32_t n_seq_max, int32_t n_tokens_max); /* or NULL */
void le_pool_free(struct le_pool *p);
/* Around each decode; end only when it worked. look is the library's eval callback between. */
void le_pool_begin(struct le_pool *p);
bool le_pool_look(struct ggml_tensor *t, bool ask, void *pool);
void le_pool_end(struct le_pool *p, struct llama_context *ctx,
                 const struct engine_batch_token *tokens, int32_t n);
void le_pool_forget(struct le_pool *p, int32_t seq);
/* Their mean; false when there were no tokens. */
bool le_pool_vector(const struct le_pool *p, int32_t seq, float *out);

#endif
