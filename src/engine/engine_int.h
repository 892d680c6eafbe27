/* Engine internals: the table of operations that an implementation fills, the heads that its
 * objects begin with, and what the implementations share. Only for files of this folder.
 *
 * An implementation embeds the heads below as the first member of its own structs, so that a
 * `struct engine_model *` is also a pointer to its own model. engine.c holds the wrappers that
 * callers see: they check arguments (ht_assert: a wrong one is a bug of the caller), inject faults
 * and dispatch. */
#ifndef HEARTH_ENGINE_ENGINE_INT_H
#define HEARTH_ENGINE_ENGINE_INT_H

#include <stdatomic.h>

#include "engine/engine.h"

enum {
    ENGINE_SEQ_MAX = 256,              /* most sequences of one context (libllama's own limit) */
    ENGINE_PROMPT_TEXT_MAX = 64 << 20, /* bytes of a rendered prompt */
    ENGINE_OUTPUT_TEXT_MAX = 16 << 20, /* bytes of one answer that a parser keeps */
    ENGINE_SCHEMA_MAX = 256 << 10,     /* bytes of a JSON schema or a GBNF grammar */
    ENGINE_SCHEMA_DEPTH_MAX = 64,      /* nesting of a JSON schema */
    ENGINE_GRAMMAR_DEPTH_MAX = 64,     /* nesting of parentheses in a GBNF grammar */
    ENGINE_GRAMMAR_RULES_MAX = 32768,
    ENGINE_GRAMMAR_REPEAT_MAX = 2000, /* of {m,n}; libllama's own limit */
};

struct engine_ops {
    const char *name;
    const char *library; /* version text for people */

    /* All MUST; contracts are those of the engine_... function of the same name. */
    void (*close)(struct engine *e);
    enum err (*describe)(struct engine *e, struct engine_description *out, struct error *error);
    enum err (*model_load)(struct engine *e, const struct engine_model_params *params,
                           struct engine_model **out, struct error *error);
    void (*model_free)(struct engine_model *m);
    enum err (*adapter_load)(struct engine_model *m, const char *path, struct engine_adapter **out,
                             struct error *error);
    void (*adapter_free)(struct engine_adapter *a);
    enum err (*tokenize)(const struct engine_model *m, const char *text, size_t len,
                         bool add_special, bool parse_special, size_t max_tokens, int32_t **out,
                         size_t *n, struct error *error);
    enum err (*tokenize_pair)(const struct engine_model *m, const char *query, const char *document,
                              size_t document_len, size_t max_tokens, int32_t **out, size_t *n,
                              struct error *error);
    enum err (*token_text)(const struct engine_model *m, int32_t token, bool special,
                           struct buf *out);
    bool (*token_is_end)(const struct engine_model *m, int32_t token);
    enum err (*prompt_new)(const struct engine_model *m, const struct gen_request *req,
                           size_t max_tokens, struct engine_prompt **out, struct error *error);
    void (*prompt_free)(struct engine_prompt *p); /* also frees what the head points to */
    enum err (*parser_new)(const struct engine_prompt *p, struct engine_parser **out,
                           struct error *error);
    void (*parser_free)(struct engine_parser *ps);
    enum err (*parser_feed)(struct engine_parser *ps, const char *text, size_t len, bool final,
                            const struct engine_delta **out, size_t *n, struct error *error);
    enum err (*ctx_new)(struct engine_model *m, const struct engine_ctx_params *params,
                        struct engine_ctx **out, struct error *error);
    void (*ctx_free)(struct engine_ctx *c);
    void (*ctx_memory)(const struct engine_ctx *c, struct engine_memory *out);
    enum err (*decode)(struct engine_ctx *c, const struct engine_batch_token *tokens, int32_t n,
                       struct error *error);
    /* c->set has changed; it holds for the decodes that follow. */
    void (*ctx_adapters)(struct engine_ctx *c);
    bool (*seq_remove)(struct engine_ctx *c, int32_t seq, int32_t p0, int32_t p1);
    bool (*seq_copy)(struct engine_ctx *c, int32_t from, int32_t to, int32_t p0, int32_t p1);
    bool (*seq_shift)(struct engine_ctx *c, int32_t seq, int32_t p0, int32_t p1, int32_t delta);
    size_t (*seq_size)(struct engine_ctx *c, int32_t seq);
    size_t (*seq_save)(struct engine_ctx *c, int32_t seq, void *state, size_t size);
    enum err (*seq_restore)(struct engine_ctx *c, int32_t seq, const void *state, size_t size,
                            struct error *error);
    const float *(*seq_embedding)(struct engine_ctx *c, int32_t seq);
    enum err (*sampler_new)(const struct engine_model *m, const struct sampling *s,
                            const struct engine_prompt *p, struct engine_sampler **out,
                            struct error *error);
    void (*sampler_free)(struct engine_sampler *s);
    void (*sampler_accept_prompt)(struct engine_sampler *s, int32_t token);
    enum err (*sampler_replay)(struct engine_sampler *s, int32_t token, bool *special,
                               struct error *error);
    enum err (*sample)(struct engine_ctx *c, struct engine_sampler *s, int32_t index,
                       struct engine_sample *out, struct error *error);
};

/* ---- heads ------------------------------------------------------------------------------- */

struct engine {
    const struct engine_ops *ops;
};

struct engine_model {
    const struct engine_ops *ops;
    struct engine_model_facts facts; /* filled by model_load */
    uint64_t fingerprint;            /* of its file; 0 = unknown */
    bool measure_only;
};

struct engine_adapter {
    const struct engine_ops *ops;
    const struct engine_model *model;
    struct engine_adapter_facts facts; /* filled by adapter_load */
    int32_t n_contexts;                /* that have it now */
    /* Set by a decode that had it as the only one not known: from then on its rows may be mixed
     * with others. */
    bool known;
};

struct engine_prompt {
    const struct engine_ops *ops;
    int32_t *tokens; /* malloc'ed */
    size_t n_tokens;
    char *text;   /* malloc'ed */
    char **stops; /* malloc'ed array of malloc'ed strings */
    size_t n_stops;
};

struct engine_parser {
    const struct engine_ops *ops;
    bool finished;
};

/* The adapters that a context has now (adapter_set.c). */
struct adapter_set {
    struct engine_adapter *adapters[ENGINE_ADAPTERS_MAX];
    uint64_t used[ENGINE_ADAPTERS_MAX]; /* the last decode with it, as counted in `decodes` */
    uint64_t decodes;
    int32_t n;
    float scale; /* not mixing: of the one; else 0, each row says its own */
};

struct engine_ctx {
    const struct engine_ops *ops;
    const struct engine_model *model;
    int32_t n_ctx, n_batch, n_seq_max; /* what it really got */
    bool embeddings, divisible, shared_kv;
    enum engine_kv_type kv_type;
    bool pieces; /* embeddings: an input may come in several calls */
    /* Rows of several adapters may be in one batch. Set by ctx_new; a decode that finds that it
     * can't be clears it and returns ERR_CANCELLED. */
    bool mixes;
    struct adapter_set set;
    uint64_t fingerprint; /* engine_ctx_fingerprint; 0 = unknown, states can't be kept */
    atomic_bool abort;    /* set by engine_ctx_abort; decode looks at it */
};

struct engine_sampler {
    const struct engine_ops *ops;
};

/* ---- adapter_set.c */
/* All rows with the same adapter and scale? */
bool adapter_rows_alike(const struct engine_batch_token *tokens, int32_t n);
/* The context gets the adapters of the rows. */
void adapter_set_prepare(struct engine_ctx *c, const struct engine_batch_token *tokens, int32_t n);
void adapter_set_clear(struct engine_ctx *c);

/* Frees what a prompt head points to, not the prompt. */
void prompt_head_free(struct engine_prompt *p);

/* ERR_CONTEXT with both numbers. */
enum err prompt_too_long(struct error *error, size_t n_tokens, size_t max_tokens);

#endif
