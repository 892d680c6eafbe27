/* Shim: libllama-common (C++) behind C functions. The shim*.cpp files are the only C++ of the
 * program.
 *
 * No exception leaves them: each function catches, and gives the library's own words in *error.
 * Owners and threads are those of the engine objects that hold these: templates and chats are
 * immutable and may be read from any thread; parsers and samplers have one owner at a time.
 *
 *   shim.cpp          tokenising, decoding, threads, the library's log
 *   shim_chat.cpp     chat templates, JSON schema to grammar
 *   shim_parser.cpp   generated text to text, reasoning and tool calls
 *   shim_sampler.cpp  sampling, grammars */
#ifndef HEARTH_ENGINE_SHIM_H
#define HEARTH_ENGINE_SHIM_H

#include "engine/delta.h"
#include "engine/engine.h"
#include "engine/token_tree.h"

struct llama_model;
struct llama_vocab;
struct llama_context;
struct llama_batch;

/* ---- shim.cpp ----------------------------------------------------------------------------- */

/* The common library's own log is off: its lines hold prompts and answers. Call once, early. */
void shim_quiet(void);
/* Physical cores, on hybrid CPUs the fast ones. */
int32_t shim_math_cores(void);

/* As llama_tokenize: the number of tokens, or minus the number that needs. INT32_MIN on failure. */
int32_t shim_tokenize(const struct llama_vocab *vocab, const char *text, int32_t len,
                      int32_t *tokens, int32_t max, bool add_special, bool parse_special,
                      struct error *error);
/* As llama_decode; -1000 for an exception, with *error filled. */
int32_t shim_decode(struct llama_context *ctx, const struct llama_batch *batch,
                    struct error *error);

/* What the context and its model take, by the library's own count. */
void shim_memory(const struct llama_context *ctx, struct engine_memory *out);

/* ---- shim_chat.cpp ------------------------------------------------------------------------ */

struct shim_templates;
struct shim_chat;

/* Parses the model's template. */
HT_MUST_CHECK enum err shim_templates_new(const struct llama_model *model,
                                          struct shim_templates **out, struct error *error);
void shim_templates_free(struct shim_templates *t);
void shim_templates_caps(const struct shim_templates *t, bool *tools, bool *thinking);

/* Templates that requests brought along, parsed: the last few of them. */
struct shim_overrides;
struct shim_overrides *shim_overrides_new(void);
void shim_overrides_free(struct shim_overrides *o); /* NULL is fine */

/* Renders and compiles; the request has passed guard_request. t may be NULL for GEN_RAW, and where
 * the request has a template of its own. */
HT_MUST_CHECK enum err shim_chat_new(const struct shim_templates *t, struct shim_overrides *o,
                                     const struct llama_model *model, const struct gen_request *req,
                                     struct shim_chat **out, struct error *error);
/* One owner is given back; parsers and samplers made from it keep what they need. */
void shim_chat_free(struct shim_chat *c);
const char *shim_chat_prompt(const struct shim_chat *c, size_t *len);
size_t shim_chat_n_stops(const struct shim_chat *c);
const char *shim_chat_stop(const struct shim_chat *c, size_t i);

/* ---- shim_parser.cpp ----------------------------------------------------------------------- */

struct shim_parser;

HT_MUST_CHECK enum err shim_parser_new(const struct shim_chat *c, struct shim_parser **out,
                                       struct error *error);
void shim_parser_free(struct shim_parser *ps);
/* Appends the new deltas to *out. */
HT_MUST_CHECK enum err shim_parser_feed(struct shim_parser *ps, const char *text, size_t len,
                                        bool final, struct delta_list *out, struct error *error);

/* ---- shim_sampler.cpp ---------------------------------------------------------------------- */

struct shim_sampler;

/* tree: of the model's vocabulary, or NULL; must outlive the sampler. */
HT_MUST_CHECK enum err shim_sampler_new(const struct llama_model *model, const struct sampling *s,
                                        const struct shim_chat *c, int32_t n_ctx_train,
                                        const struct token_tree *tree, struct shim_sampler **out,
                                        struct error *error);
/* May this chat's answers ask for a tree? */
bool shim_chat_wants_tree(const struct shim_chat *c);
/* token_text_fn; ctx: the vocabulary. What a grammar sees of a token. */
enum token_place shim_token_text(void *vocab, int32_t token, struct buf *out);
void shim_sampler_free(struct shim_sampler *s);
void shim_sampler_accept_prompt(struct shim_sampler *s, int32_t token);
HT_MUST_CHECK enum err shim_sampler_replay(struct shim_sampler *s, int32_t token, bool *special,
                                           struct error *error);
HT_MUST_CHECK enum err shim_sampler_sample(struct shim_sampler *s, struct llama_context *ctx,
                                           int32_t index, struct engine_sample *out,
                                           struct error *error);

#endif
