/* Inside Ollama's surface: from its JSON to requests and back.
 *
 * The shapes are those of github.com/ollama/ollama, api/types.go and docs/api.md: streams are lines
 * of JSON unless the call says "stream": false, durations are whole nanoseconds, the arguments of a
 * tool call are an object, an error is {"error": "<words>"}. Names of models may end in ":latest",
 * which means the same as without. */
#ifndef HEARTH_API_OLLAMA_INT_H
#define HEARTH_API_OLLAMA_INT_H

#include <stdbool.h>
#include <stdint.h>

#include "api/call.h"
#include "api/call_terms.h"
#include "api/error.h"
#include "api/fields.h"
#include "api/http.h"
#include "api/ollama/ollama.h"
#include "api/writer.h"
#include "router/plan.h"
#include "types/gen.h"
#include "types/model_info.h"

struct hub;

#define NDJSON "application/x-ndjson"

/* Members of a body, as read by the field tables. Pointers are NULL, integers FIELD_ABSENT and
 * fractions NAN where the client said nothing. */
struct ollama_gen_fields {
    struct call_terms_fields terms;
    const char *model;
    bool stream;
    const json_t *format, *options, *think;
    bool logprobs;
    int64_t top_logprobs;
    /* chat */
    const json_t *messages, *tools;
    /* generate */
    const char *prompt, *suffix, *system, *template_text;
    const json_t *images, *context;
    bool raw;
};
struct ollama_options { /* beside those that derived_say takes */
    const json_t *stop;
};
struct ollama_message_fields {
    const char *role, *content, *thinking, *tool_name, *tool_call_id;
    const json_t *images, *tool_calls;
};
struct ollama_call_fields {
    const char *id;
    const json_t *function;
};
struct ollama_function_fields {
    const char *name;
    const json_t *arguments;
};
struct ollama_tool_reading {
    const json_t *function;
};
struct ollama_tool_function_reading {
    const char *name, *description;
    const json_t *parameters;
};
struct ollama_embed_fields {
    struct call_terms_fields terms;
    const char *model, *prompt;
    const json_t *input, *options;
    bool truncate;
    int64_t dimensions;
};
struct ollama_model_fields {
    const char *model, *name, *source, *destination, *modelfile;
    bool verbose, stream;
};

extern const struct field ollama_chat_fields[], ollama_generate_fields[], ollama_option_fields[],
    ollama_message_fields[], ollama_call_fields[], ollama_function_fields[], ollama_tool_fields[],
    ollama_tool_function_fields[], ollama_embed_fields[], ollama_embeddings_fields[],
    ollama_show_fields[], ollama_pull_fields[], ollama_create_fields[], ollama_copy_fields[],
    ollama_delete_fields[];

/* ---- parse.c, messages.c ------------------------------------------------------------------- */

/* A call of /api/chat or /api/generate. */
struct ollama_call {
    struct call call;
    bool load_only;        /* no messages or prompt: the model is loaded, or unloaded */
    int64_t keep_alive_ms; /* KEEP_ALIVE_... as asked */
    char model[MODEL_ID_MAX];
    bool wants_thinking; /* "think" was given and is not false */
};

/* `body` may be freed afterwards. On failure nothing is left to free. text_len bounds the memory
 * that the request may take. */
HT_MUST_CHECK enum err ollama_chat_parse(const json_t *body, size_t text_len,
                                         const struct call_env *env, struct ollama_call *out,
                                         struct error *error);
HT_MUST_CHECK enum err ollama_generate_parse(const json_t *body, size_t text_len,
                                             const struct call_env *env, struct ollama_call *out,
                                             struct error *error);
/* messages.c: the members of a conversation. Calls without ids get some, which the tools' answers
 * repeat in their order: other providers pair them so. */
HT_MUST_CHECK enum err ollama_messages_parse(const json_t *array, struct gen_request *req,
                                             struct error *error);
HT_MUST_CHECK enum err ollama_tools_parse(const json_t *array, struct gen_request *req,
                                          struct error *error);
HT_MUST_CHECK enum err ollama_images_parse(const json_t *array, const char *ptr,
                                           struct arena *arena, struct message *m,
                                           struct error *error);
/* params.c: options, format, think and the like. */
void ollama_gen_fields_init(struct ollama_gen_fields *f);
HT_MUST_CHECK enum err ollama_params(const struct ollama_gen_fields *f, const struct call_env *env,
                                     size_t arena_max, struct gen_request **out,
                                     struct error *error);
/* A name without its ":latest". */
HT_MUST_CHECK enum err ollama_copy_model(struct arena *a, const char *name, const char **out,
                                         struct error *error);

/* ---- context.c: the "context" of /api/generate ---------------------------------------------- */

/* Ollama's is the conversation's tokens, which clients hand back unread. This one holds the text of
 * the conversation itself, one byte to a number, so that it does not depend on a model. */
HT_MUST_CHECK enum err ollama_context_read(const json_t *array, struct arena *arena,
                                           struct message **messages, size_t *n, size_t more,
                                           struct error *error);
/* Appends the array of numbers for the request's messages and the answer to them. */
void ollama_context_write(struct buf *out, const struct buf *messages, const char *answer,
                          size_t len);
/* The request's messages as ollama_context_write takes them. */
void ollama_context_keep(struct buf *out, const struct gen_request *req);

/* ---- load.c ---------------------------------------------------------------------------------- */

/* Writes the members of the answer; model: as asked. */
typedef void ollama_loaded_fn(struct jw *w, const char *model, bool unload, int64_t started_ns);

/* A call with nothing to answer, which loads or unloads a model. Borrowed during ollama_load. */
struct ollama_load {
    const char *asked;   /* the model, as the client named it */
    struct plan_ask who; /* as the router is asked for it */
    int64_t keep_alive_ms;
    bool stream, unload;
    ollama_loaded_fn *write;
};
/* Takes over the sink. What another provider may have, and is not here, is as good as loaded. */
void ollama_load(struct hub *hub, const struct http_request *req, struct sink *sink,
                 const struct ollama_load *wish);

/* ---- write.c --------------------------------------------------------------------------------- */

struct writer *ollama_writer_new(const struct ollama_call *call, bool chat);
/* "2026-11-20T21:05:03.123Z" of now, as a member. */
void ollama_created_at(struct jw *w);

/* ---- template.c ------------------------------------------------------------------------------ */

/* A template of this call alone: Go's kind or Jinja. */
HT_MUST_CHECK enum err ollama_template(const char *text, struct gen_request *req,
                                       struct error *error);

/* The words that Ollama's clients look for: 404. */
enum err ollama_no_model(struct error *error, const char *name);

/* ---- handlers ------------------------------------------------------------------------------ */

typedef void ollama_handler(struct hub *hub, const struct http_request *req, struct sink *sink);

ollama_handler ollama_chat, ollama_generate, ollama_embed, ollama_embeddings, ollama_tags,
    ollama_show, ollama_ps, ollama_version, ollama_pull, ollama_push, ollama_create, ollama_copy,
    ollama_delete, ollama_blob, ollama_blob_upload;

#endif
