/* Inside the OpenAI surface: from JSON to requests, and the handlers. */
#ifndef HEARTH_API_OPENAI_INT_H
#define HEARTH_API_OPENAI_INT_H

#include <stdbool.h>
#include <stdint.h>

#include "api/call.h"
#include "api/call_terms.h"
#include "api/fields.h"
#include "api/http.h"
#include "api/openai/openai.h"
#include "types/gen.h"

struct config;
struct hub;

/* ---- from JSON to requests ----------------------------------------------------------------- */

enum {
    CALL_PROMPTS_MAX = 128,  /* prompts of one /v1/completions call */
    EMBED_INPUTS_MAX = 2048, /* inputs of one /v1/embeddings call, as at OpenAI */
    TOOLS_MAX = 512,         /* more than any agent offers; names are compared pairwise */
    LOGIT_BIAS_MAX = 10000,
    IMAGES_MAX = 100, /* of one message; the body's size is the limit that matters */
};

/* Members of a generation's body, as read by the field tables. Pointers are NULL, integers
 * FIELD_ABSENT and numbers of the sampling NAN where the client said nothing. */
struct gen_fields {
    struct call_terms_fields terms;
    const char *model, *grammar, *reasoning_format, *reasoning_effort;
    bool stream, timings, ignore_eos;
    const json_t *stream_options, *stop, *logit_bias, *response_format, *template_kwargs;
    int64_t n, max_tokens, max_completion_tokens, seed, top_k, repeat_last_n;
    double temperature, top_p, min_p, repeat_penalty, frequency_penalty, presence_penalty;
    /* chat */
    const json_t *messages, *tools, *tool_choice, *functions, *modalities, *store, *metadata;
    bool parallel_tool_calls, logprobs;
    int64_t top_logprobs;
    /* completions */
    const json_t *prompt;
    const char *suffix;
    bool echo;
    int64_t logprobs_n, best_of;
};

struct message_fields {
    const char *role, *name, *tool_call_id, *reasoning;
    const json_t *content, *tool_calls;
};
struct part_fields {
    const char *type, *text, *refusal;
    const json_t *image_url;
};
struct image_url_fields {
    const char *url, *detail;
};
struct tool_call_fields {
    const char *id, *type;
    const json_t *function;
};
struct tool_call_function_fields {
    const char *name, *arguments;
};
struct tool_fields {
    const char *type;
    const json_t *function;
};
struct function_fields {
    const char *name, *description;
    const json_t *parameters;
    bool strict;
};
struct format_fields {
    const char *type;
    const json_t *json_schema, *schema;
};
struct json_schema_fields {
    const char *name;
    const json_t *schema;
};
struct stream_options_fields {
    bool include_usage;
};
struct embed_fields {
    struct call_terms_fields terms;
    const char *model, *encoding_format;
    const json_t *input;
    int64_t dimensions;
};
struct rerank_fields {
    struct call_terms_fields terms;
    const char *model, *query;
    const json_t *documents;
    int64_t top_n;
    bool return_documents, raw_scores;
};

/* schemas.c */
extern const struct field chat_fields[], completion_fields[], message_fields[], part_fields[],
    image_url_fields[], tool_call_fields[], tool_call_function_fields[], tool_fields[],
    function_fields[], format_fields[], json_schema_fields[], stream_options_fields[],
    embed_fields[], rerank_fields[];

/* params.c: what chat and completions share. */
void gen_fields_init(struct gen_fields *f);
/* A request with everything of f but messages, tools and prompt, in an arena of its own that may
 * grow to arena_max bytes. */
HT_MUST_CHECK enum err params_request(const struct gen_fields *f, const struct call_env *env,
                                      size_t arena_max, struct gen_request **out,
                                      struct error *error);
/* The answer's options; checks that they go together. */
HT_MUST_CHECK enum err params_call(const struct gen_fields *f, struct call *call,
                                   struct error *error);
/* A JSON array of token ids into the arena. */
HT_MUST_CHECK enum err params_tokens(struct arena *a, const json_t *array, const char *ptr,
                                     const int32_t **out, size_t *n, struct error *error);

/* tools_parse.c: tools, tool_choice and the calls of a message of the history. */
HT_MUST_CHECK enum err tools_parse(const struct gen_fields *f, struct gen_request *req,
                                   struct error *error);
HT_MUST_CHECK enum err tool_calls_parse(const json_t *calls, const char *ptr, struct arena *arena,
                                        struct message *message, struct error *error);

struct embed_call {
    struct embed_request *request;
    bool base64;
    int64_t dimensions; /* 0 = the model's */
};
HT_MUST_CHECK enum err embed_parse(const json_t *body, size_t text_len, const struct call_env *env,
                                   struct embed_call *out, struct error *error);

struct rerank_call {
    struct embed_request *request;
    size_t top_n; /* 0 = all */
    bool return_documents;
    bool raw_scores;
};
HT_MUST_CHECK enum err rerank_parse(const json_t *body, size_t text_len, const struct call_env *env,
                                    struct rerank_call *out, struct error *error);

/* ---- stored completions ---------------------------------------------------------------------- */

struct stored_change_fields {
    const json_t *metadata;
};
extern const struct field stored_change_fields[]; /* schemas.c */

/* What is kept with a completion; texts are the owner's to free. */
struct stored_info {
    char *user_id, *metadata;
    char *input; /* JSON array: the messages */
    char *more;  /* members behind those of the answer, each with a comma in front */
    bool local_only;
};
void stored_info_free(struct stored_info *info);
/* ERR_DATABASE: it can't be kept now, and was asked for. */
HT_MUST_CHECK enum err stored_info_read(struct hub *hub, const struct http_request *req,
                                        const json_t *body, const struct call *call,
                                        struct stored_info *out, struct error *error);
/* Takes *info over. */
struct writer *stored_writer_new(struct hub *hub, const struct call *call,
                                 struct stored_info *info);

void openai_stored(struct hub *hub, const struct http_request *req, struct sink *sink);
void openai_stored_list(struct hub *hub, const struct http_request *req, struct sink *sink);
void openai_stored_change(struct hub *hub, const struct http_request *req, struct sink *sink);
void openai_stored_delete(struct hub *hub, const struct http_request *req, struct sink *sink);
void openai_stored_messages(struct hub *hub, const struct http_request *req, struct sink *sink);

/* ---- handlers ------------------------------------------------------------------------------ */

void openai_chat(struct hub *hub, const struct http_request *req, struct sink *sink);
void openai_completions(struct hub *hub, const struct http_request *req, struct sink *sink);
void openai_embeddings(struct hub *hub, const struct http_request *req, struct sink *sink);
void openai_rerank(struct hub *hub, const struct http_request *req, struct sink *sink);
void openai_route(struct hub *hub, const struct http_request *req, struct sink *sink);
void openai_route_log(struct hub *hub, const struct http_request *req, struct sink *sink);
void openai_route(struct hub *hub, const struct http_request *req, struct sink *sink);
void openai_route_log(struct hub *hub, const struct http_request *req, struct sink *sink);
void openai_list_models(struct hub *hub, const struct http_request *req, struct sink *sink);
void openai_model(struct hub *hub, const struct http_request *req, struct sink *sink);

#endif
