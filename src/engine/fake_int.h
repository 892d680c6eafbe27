/* The fake engine's own structs: fake_model.c (paths, tokens, prompts), fake_parser.c and
 * fake_ctx.c (KV cells, sampling) share them. What the fake does is documented in engine_fake.c. */
#ifndef HEARTH_ENGINE_FAKE_INT_H
#define HEARTH_ENGINE_FAKE_INT_H

#include "engine/delta.h"
#include "engine/engine_int.h"

enum { /* tokens 0..255 are bytes */
       FAKE_END = 256,
       FAKE_SYSTEM,
       FAKE_USER,
       FAKE_ASSISTANT,
       FAKE_TOOL,
       FAKE_BOS,
       FAKE_N_VOCAB, /* without fim=1 */
       FAKE_FIM_PREFIX = FAKE_N_VOCAB,
       FAKE_FIM_SUFFIX,
       FAKE_FIM_MIDDLE,
       FAKE_FIM_REPO,
       FAKE_FIM_FILE,
       FAKE_N_VOCAB_FIM
};

struct fake_model {
    struct engine_model head;
    int32_t ctx, ms, token_us, pair_us, load_ms, fail_decode, no_mix;
    int32_t weights, cell, compute; /* bytes, for engine_ctx_memory */
    int32_t f16_us, q8_us;          /* a decode takes that much longer */
    bool endless, fail_ctx, no_partial_remove, no_shift, fim, only_f16;
    char *fail_load; /* NULL = loads */
    char *reply;     /* NULL = echoes */
};

struct fake_adapter {
    struct engine_adapter head;
    uint32_t id;   /* of its path: what cells remember */
    char from, to; /* '\0': changes nothing */
    int32_t load_ms;
    char *fail_load;
};

struct fake_prompt {
    struct engine_prompt head;
    char *reply; /* what the model will say */
    size_t reply_len;
    bool parse_tools, parse_reasoning;
};

/* fake_model.c */
enum err fake_model_load(struct engine *e, const struct engine_model_params *params,
                         struct engine_model **out, struct error *error);
void fake_model_free(struct engine_model *m);
enum err fake_tokenize(const struct engine_model *m, const char *text, size_t len, bool add_special,
                       bool parse_special, size_t max_tokens, int32_t **out, size_t *n,
                       struct error *error);
enum err fake_tokenize_pair(const struct engine_model *m, const char *query, const char *document,
                            size_t document_len, size_t max_tokens, int32_t **out, size_t *n,
                            struct error *error);
enum err fake_token_text(const struct engine_model *m, int32_t token, bool special,
                         struct buf *out);

/* fake_adapter.c */
enum err fake_adapter_load(struct engine_model *m, const char *path, struct engine_adapter **out,
                           struct error *error);
void fake_adapter_free(struct engine_adapter *a);

/* fake_prompt.c */
enum err fake_prompt_new(const struct engine_model *m, const struct gen_request *req,
                         size_t max_tokens, struct engine_prompt **out, struct error *error);
void fake_prompt_free(struct engine_prompt *p);

/* fake_parser.c */
enum err fake_parser_new(const struct engine_prompt *p, struct engine_parser **out,
                         struct error *error);
void fake_parser_free(struct engine_parser *ps);
enum err fake_parser_feed(struct engine_parser *ps, const char *text, size_t len, bool final,
                          const struct engine_delta **out, size_t *n, struct error *error);

/* fake_ctx.c */
enum err fake_ctx_new(struct engine_model *m, const struct engine_ctx_params *params,
                      struct engine_ctx **out, struct error *error);
void fake_ctx_free(struct engine_ctx *c);
void fake_ctx_memory(const struct engine_ctx *c, struct engine_memory *out);
enum err fake_decode(struct engine_ctx *c, const struct engine_batch_token *tokens, int32_t n,
                     struct error *error);
void fake_ctx_adapters(struct engine_ctx *c);
bool fake_seq_remove(struct engine_ctx *c, int32_t seq, int32_t p0, int32_t p1);
bool fake_seq_copy(struct engine_ctx *c, int32_t from, int32_t to, int32_t p0, int32_t p1);
bool fake_seq_shift(struct engine_ctx *c, int32_t seq, int32_t p0, int32_t p1, int32_t delta);
size_t fake_seq_size(struct engine_ctx *c, int32_t seq);
size_t fake_seq_save(struct engine_ctx *c, int32_t seq, void *state, size_t size);
enum err fake_seq_restore(struct engine_ctx *c, int32_t seq, const void *state, size_t size,
                          struct error *error);
const float *fake_seq_embedding(struct engine_ctx *c, int32_t seq);
enum err fake_sampler_new(const struct engine_model *m, const struct sampling *s,
                          const struct engine_prompt *p, struct engine_sampler **out,
                          struct error *error);
void fake_sampler_free(struct engine_sampler *s);
void fake_sampler_accept_prompt(struct engine_sampler *s, int32_t token);
enum err fake_sampler_replay(struct engine_sampler *s, int32_t token, bool *special,
                             struct error *error);
enum err fake_sample(struct engine_ctx *c, struct engine_sampler *s, int32_t index,
                     struct engine_sample *out, struct error *error);

#endif
