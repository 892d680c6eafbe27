/* Inside of remote: the plug of a protocol, and what the core gives it.
 *
 * A protocol is one `static const struct protocol` in a file of its own (aihub's stands with
 * openai's, whose words it speaks), listed in protocols[] of remote.c. It is pure: it writes
 * requests and reads answers, and knows nothing of connections, time, locks or other requests. Its
 * functions run on whichever thread asks (requests) and on the net thread (answers), never two at a
 * time for one answer.
 *
 * A request is written once and may be sent several times. What a server sends comes in pieces: an
 * event of text/event-stream, a line of NDJSON, or one whole JSON document when the server does not
 * stream; each is an object that goes to piece(), which says what it means with the decode_
 * functions below. These keep the promises of provider.h towards the listener, whatever a server
 * says:
 *  1. STARTED comes once, right before the first text, reasoning, tool call or end of a choice. (So
 *     until there is something to show the router may ask somebody else.)
 *  2. Each choice ends exactly once, nothing comes for it afterwards, and all have ended before
 *     DONE.
 *  3. Tool calls of a choice begin in the order of their index, from 0 on, without gaps; their
 *     arguments belong to the newest one and are "{}" if none came.
 *  4. A body that ends too early, is too long, or means nothing is an ERROR. */
#ifndef HEARTH_REMOTE_REMOTE_INT_H
#define HEARTH_REMOTE_REMOTE_INT_H

#include "base/json.h"
#include "remote/remote.h"

enum {
    REMOTE_NAME_MAX = 64,
    REMOTE_URL_MAX = 1024,
    REMOTE_PATH_MAX = 512,
    REMOTE_KEY_MAX = 8192,
    REMOTE_HEADERS_MAX = 32,
    REMOTE_REQUEST_MAX = 256 << 20, /* a request's body, images and all */
    REMOTE_PIECE_MAX = 16 << 20,    /* an event, a line */
    REMOTE_STREAM_MAX = 256 << 20,  /* all of a stream */
    REMOTE_ANSWER_MAX = 256 << 20,  /* an answer that does not stream: embeddings, lists */
    REMOTE_ERROR_MAX = 64 << 10,    /* of an error's body */
    REMOTE_CALLS_MAX = 256,         /* tool calls of one choice */
};

/* ---- writing requests ---------------------------------------------------------------------- */

/* Header lines. Owner: whoever called headers_free must. */
struct headers {
    char *lines[REMOTE_HEADERS_MAX];
    size_t n;
};
/* "Name: value"; nothing when value is NULL or "". ERR_CONFIG: too many, or a line break. */
HT_MUST_CHECK enum err headers_add(struct headers *h, const char *name, const char *prefix,
                                   const char *value, struct error *error);
void headers_free(struct headers *h);

/* A request that is being written. method and path begin as "POST" and "". */
struct remote_http {
    const char *method;         /* a constant */
    char path[REMOTE_PATH_MAX]; /* behind the base URL, with its '/' */
    struct buf body;            /* JSON */
    const char *extra_header;   /* a constant "Name: value", or NULL */
};

/* How an instance's requests are to be: what a protocol needs to know of the parameters. */
struct remote_env {
    const char *name;        /* of the instance, for messages */
    const char *base_url;    /* as it is used: without a '/' at its end */
    const char *key;         /* "" = none */
    const char *embed_model; /* "" = none */
};

/* The usual start of a body: an open jw object over http->body. */
void remote_body(struct remote_http *http, struct jw *w);
/* ERR_TOO_LARGE or ERR_NOMEM when the body did not fit. */
HT_MUST_CHECK enum err remote_body_end(struct remote_http *http, struct jw *w, struct error *error);
/* An image's bytes as "data:<type>;base64,<data>", or its URL: a JSON string value. */
void jw_image_url(struct jw *w, const struct image *image);
/* Key and a number with the digits that a float has: 0.7, not 0.699999988. */
void jw_kfloat(struct jw *w, const char *name, float value);

/* ---- reading answers ----------------------------------------------------------------------- */

/* One answer under way; the rest of it is decode.c's. */
struct decode {
    void *state;      /* protocol.state_size bytes, zeroed for each attempt */
    const char *name; /* of the instance, for messages */
    int32_t n;        /* choices */
    enum gen_kind kind;
    struct decode_int *in;
};

/* Who answers, if the server says so; before the first text. The last one counts. */
void decode_model(struct decode *d, const char *model);
/* Fields that are 0 leave what was said before. */
void decode_usage(struct decode *d, const struct usage *usage);
/* Text of a choice: valid UTF-8, "" is nothing. logprobs may be NULL. */
HT_MUST_CHECK enum err decode_text(struct decode *d, int64_t choice, const char *text, size_t len,
                                   const struct token_logprob *logprobs, size_t n_logprobs,
                                   struct error *error);
/* The same with log probabilities as OpenAI lists them, and Ollama: [{"token", "logprob",
 * "top_logprobs": [{"token", "logprob"}]}]. */
HT_MUST_CHECK enum err decode_logprobs(struct decode *d, int64_t choice, const char *text,
                                       size_t len, const json_t *list, struct error *error);
HT_MUST_CHECK enum err decode_reasoning(struct decode *d, int64_t choice, const char *text,
                                        size_t len, struct error *error);
/* What the provider wants back with its reasoning; at the end of it. */
HT_MUST_CHECK enum err decode_signature(struct decode *d, int64_t choice, const char *signature,
                                        struct error *error);
/* Is there a tool call of this index already? */
bool decode_has_tool(const struct decode *d, int64_t choice, int64_t index);
/* A new tool call: `index` is the number of those that the choice has. "" and NULL are made an id.
 */
HT_MUST_CHECK enum err decode_tool(struct decode *d, int64_t choice, int64_t index, const char *id,
                                   const char *name, struct error *error);
/* A fragment of the newest call's arguments. */
HT_MUST_CHECK enum err decode_arguments(struct decode *d, int64_t choice, int64_t index,
                                        const char *text, size_t len, struct error *error);
/* All of them, from servers that send an object instead of its text. */
HT_MUST_CHECK enum err decode_arguments_object(struct decode *d, int64_t choice, int64_t index,
                                               const json_t *object, struct error *error);
/* FINISH_STOP becomes FINISH_TOOL_CALLS when the choice has called a tool. Twice is once. */
HT_MUST_CHECK enum err decode_finish(struct decode *d, int64_t choice, enum finish_reason reason,
                                     struct error *error);
/* The same where the provider says which of the request's stop strings it was: NULL or "" = none.
 */
HT_MUST_CHECK enum err decode_finish_at(struct decode *d, int64_t choice, enum finish_reason reason,
                                        const char *stop, struct error *error);
/* The server has said that this was all. Choices that have not ended do so (FINISH_STOP). What
 * comes behind it is not read. */
HT_MUST_CHECK enum err decode_done(struct decode *d, struct error *error);
/* The server has told an error in its stream, in one of the forms that failure_read knows. */
HT_MUST_CHECK enum err decode_failure(struct decode *d, const json_t *body, struct error *error);

/* ---- embeddings, lists, errors, tokens ----------------------------------------------------- */

struct embed_rows;
/* The vector of input `index` (of this request, from 0), any length but the same for all; or, of a
 * rerank, its score. Each row once. ERR_UPSTREAM for anything else. */
HT_MUST_CHECK enum err rows_vector(struct embed_rows *rows, int64_t index, const json_t *numbers,
                                   struct error *error);
HT_MUST_CHECK enum err rows_score(struct embed_rows *rows, int64_t index, double score,
                                  struct error *error);
/* Of this request; the last one counts. "" and 0 = not said. */
void rows_usage(struct embed_rows *rows, const char *model, int32_t prompt_tokens);

/* A model of a server's list; "" and 0 = not known. Borrowed. */
struct remote_model {
    const char *id;
    const char *name;                        /* for people */
    const char *kind;                        /* "chat", "completion", "embedding", "rerank" */
    const char *owner;                       /* who made it */
    const char *family, *quant, *parameters; /* "llama", "Q4_K_M", "3.2B" */
    int64_t context, size_bytes, created_s, modified_s;
    bool tools, images, reasoning;
};
struct model_list;
void list_add(struct model_list *list, const struct remote_model *model);

/* What a server's error body says; "" and 0 = it does not. */
struct remote_failure {
    int status; /* of HTTP; 0 = it came in a stream */
    char message[ERROR_MSG_MAX];
    char type[64], code[64]; /* the server's own words */
};
/* An error that a server told in its stream (or body): the words and the code that fit it.
 * Returns the code. Statuses 0 are judged by type and code. */
enum err remote_fail(const char *name, const struct remote_failure *f, struct error *error);
/* Reads {"error": {"message", "type", "code"}}, {"error": "text"}, {"message": "text"} and
 * {"detail": ...}: what most servers say. */
void failure_read(const json_t *body, struct remote_failure *out);

/* ---- the plug ------------------------------------------------------------------------------ */

/* A member of a request's body that only shades the answer, and a word by which a server's refusal
 * of it is known. */
struct remote_hint {
    const char *member, *word;
};

struct protocol {
    const char *name;
    unsigned caps;         /* enum provider_caps */
    const char *base_url;  /* the well-known one, or NULL: has to be given */
    const char *add_path;  /* put behind a base URL that has no path, or NULL */
    const char *drop_path; /* taken from a base URL's end, because paths bring it, or NULL */
    bool lines;            /* streams NDJSON, not text/event-stream */
    bool own_model;        /* a request may name none (""): the server has its own default */
    const char *last_word; /* the piece that is no JSON and ends an answer, or NULL */
    size_t state_size;     /* of decode.state */
    size_t embed_max;      /* inputs of one embed request; 0 = any number */

    /* MUST: the headers that every request has, the key among them. Not called when the key comes
     * by OAuth: then it is "Authorization: Bearer". */
    enum err (*headers)(const struct remote_env *env, struct headers *out, struct error *error);
    /* MUST: asks for a stream. ERR_UNSUPPORTED and ERR_INVALID for what can't be had there. */
    enum err (*generate)(const struct remote_env *env, const struct gen_request *req,
                         const char *model, struct remote_http *out, struct error *error);
    const struct remote_hint *hints; /* MAY: ends with {NULL} */
    /* MUST: an object of the answer (borrowed): an event's, a line's; `whole`: the server did not
     * stream, and this is all of it. */
    enum err (*piece)(struct decode *d, const json_t *piece, bool whole, struct error *error);
    /* MAY: the body has ended in good order, without decode_done. NULL: it was cut, unless all
     * choices have ended. */
    enum err (*end)(struct decode *d, struct error *error);
    /* MAY: frees what the state points to. */
    void (*state_free)(void *state);

    /* MAY (PROVIDER_EMBED). Inputs [from, from + n) of the request; texts only, all of them. */
    enum err (*embed)(const struct remote_env *env, const struct embed_request *req, size_t from,
                      size_t n, const char *model, struct remote_http *out, struct error *error);
    enum err (*embedded)(const json_t *body, struct embed_rows *rows, struct error *error);
    /* MAY: the same for reranks (embed_request.query). */
    enum err (*rerank)(const struct remote_env *env, const struct embed_request *req, size_t from,
                       size_t n, const char *model, struct remote_http *out, struct error *error);
    enum err (*reranked)(const json_t *body, struct embed_rows *rows, struct error *error);

    /* MUST: path of a GET that lists models and answers quickly; it also tells health. */
    const char *models_path;
    enum err (*models)(const json_t *body, struct model_list *list, struct error *error);
    /* MAY: what is known of one model, where the list says less. */
    enum err (*show)(const struct remote_env *env, const char *model, struct remote_http *out,
                     struct error *error);
    enum err (*shown)(const json_t *body, const char *model, struct model_list *list,
                      struct error *error);

    /* MAY: what an error's body says; NULL = failure_read. */
    void (*failure)(const json_t *body, struct remote_failure *out);
};

extern const struct protocol remote_openai, remote_anthropic, remote_ollama, remote_cohere,
    remote_aihub;

#endif
