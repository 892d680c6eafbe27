/* Inside the Responses API: from a body and what was said before to a request, from its events to a
 * response, and what is kept of both.
 *
 * A response is made of items. Its input items, normalised and with ids, and its output items are
 * kept (store_answer.h); the items of all responses that it goes on from (previous_response_id),
 * oldest first, then its own input, are what the model reads. An item's id holds that of its
 * response, so that an item that is referred to is found:
 *
 *     resp_<24 letters>        msg_<the same 24 letters><number>
 */
#ifndef HEARTH_API_RESPONSES_INT_H
#define HEARTH_API_RESPONSES_INT_H

#include <stdbool.h>
#include <stdint.h>

#include "api/call.h"
#include "api/call_terms.h"
#include "api/fields.h"
#include "api/http.h"
#include "api/writer.h"
#include "store/store_answer.h"
#include "types/gen.h"

struct hub;
struct store;

enum {
    RESPONSE_CHAIN_MAX = 1000,       /* responses that one goes on from */
    RESPONSE_CONTEXT_MAX = 64 << 20, /* bytes of what they said, as kept */
    RESPONSE_RECORD_MAX = 512 << 20, /* memory for one record that is read */
    RESPONSE_TOOLS_MAX = 512,
    RESPONSE_IMAGES_MAX = 100, /* of one message; the body's size is the limit that matters */
    RESPONSE_ID_MAX = 40,
    RESPONSE_ITEM_ID_MAX = 48,
    RESPONSE_RANDOM_LEN = 24, /* what id_make puts behind the prefix */
};

/* In front of encrypted_content that is what it stands for. */
#define RESPONSE_PLAIN "plain:"

/* ---- the body ------------------------------------------------------------------------------ */

/* Pointers are NULL and integers FIELD_ABSENT where the client said nothing. */
struct response_fields {
    struct call_terms_fields terms;
    const char *model, *instructions, *previous_response_id, *truncation, *prompt_cache_key,
        *safety_identifier, *user;
    const json_t *input, *tools, *tool_choice, *text, *reasoning, *metadata, *include,
        *stream_options, *conversation, *prompt, *template_kwargs;
    bool stream, background, parallel_tool_calls;
    const json_t *store;
    int64_t max_output_tokens, max_tool_calls, top_logprobs, top_k, seed;
    double temperature, top_p, min_p;
};
struct response_text_fields {
    const json_t *format;
    const char *verbosity;
};
struct response_format_fields {
    const char *type, *name;
    const json_t *schema;
};
struct response_reasoning_fields {
    const char *effort, *summary;
};
struct response_tool_fields {
    const char *type, *name, *description;
    const json_t *parameters;
    const json_t *strict;
    const json_t *tools; /* of a namespace */
};

/* schemas.c */
extern const struct field response_fields[], response_text_fields[], response_format_fields[],
    response_reasoning_fields[], response_tool_fields[];

/* A tool as the model knows it, and as its client does. */
struct response_tool {
    char *name;      /* the model's; NULL = the end */
    char *space;     /* the namespace it is in, or NULL */
    const char *own; /* its name there, inside `name` */
    bool custom;     /* takes plain text */
};
/* The model's name of a tool in a namespace (may be NULL), into the arena; ERR_TOO_LARGE. */
HT_MUST_CHECK enum err response_tool_name(struct arena *a, const char *space, const char *name,
                                          const char **out, struct error *error);

/* How a reasoning model's thoughts are told. */
enum response_thoughts {
    THOUGHTS_CONTENT, /* reasoning_text */
    THOUGHTS_SUMMARY, /* to those who ask for a summary: all of them, as its text */
};

/* What a response is besides its request: how it is written and kept. */
struct response_info {
    char id[RESPONSE_ID_MAX];
    int64_t created_s;
    char user_id[STORE_ID_MAX]; /* "" = nobody's */
    bool store, background;
    bool local_only;          /* pinned, itself or by what it goes on from */
    bool logprobs, encrypted; /* wanted (include) */
    enum response_thoughts thoughts;
    char *model;       /* as asked */
    char *previous_id; /* NULL */
    char *echo;        /* members of the response that repeat the request, JSON without braces */
    char *metadata;    /* JSON object */
    char *input;       /* JSON array: its own input items */
    struct response_tool *tools; /* that the client knows otherwise than the model; NULL-ended */
};
void response_info_free(struct response_info *info);

/* A whole call: `call` holds one request. */
struct response_call {
    struct call call;
    struct response_info info;
};
void response_call_free(struct response_call *c);

/* What a body is read with. */
struct response_source {
    struct hub *hub;
    const struct call_env *env;
    const char *user_id;
    const char *id;    /* of a response that is kept already; NULL = a new one */
    int64_t created_s; /* of that */
};

/* params.c: the whole body. May ask the database. On failure nothing is left to free. */
HT_MUST_CHECK enum err response_parse(const struct response_source *source, const json_t *body,
                                      size_t text_len, struct response_call *out,
                                      struct error *error);

/* ---- items --------------------------------------------------------------------------------- */

/* The id of item number n of a response, of a kind ("msg"). */
void response_item_id(char dst[RESPONSE_ITEM_ID_MAX], const char *kind, const char *response_id,
                      size_t n, bool input);

/* What references to kept items have brought so far. */
struct response_refs {
    size_t bytes;    /* of the records that they were read from */
    bool local_only; /* one of them is pinned to this machine */
};

/* items.c: a body's `input` as normalised items with ids; references are looked up and added to
 * *refs. The caller's array. */
HT_MUST_CHECK enum err response_items_read(const struct response_source *source,
                                           const json_t *input, const char *response_id,
                                           struct response_refs *refs, json_t **out,
                                           struct error *error);
/* messages.c: items, oldest first, to the request's messages. `n_past` of them were there before:
 * an error in the others is told at /input/<index>. */
HT_MUST_CHECK enum err response_messages(const char *instructions, const json_t *items,
                                         size_t n_past, struct gen_request *req,
                                         struct error *error);

/* tools.c */
HT_MUST_CHECK enum err response_tools(const struct response_fields *f, struct gen_request *req,
                                      struct response_info *info, struct error *error);

/* ---- what is kept --------------------------------------------------------------------------- */

/* The hub's database; ERR_DATABASE. */
HT_MUST_CHECK enum err response_store(struct hub *hub, struct store **out, struct error *error);
/* history.c: the items of a response and of all that it goes on from, oldest first, appended to
 * *items; *bytes grows by their text's length, *local_only becomes true when one of them is pinned.
 * ERR_INVALID at /previous_response_id: there is none of that id. */
HT_MUST_CHECK enum err response_history(struct store *s, const char *user_id, const char *id,
                                        json_t *items, size_t *bytes, bool *local_only,
                                        struct error *error);
/* An item of a kept response, by its id; the caller's. ERR_NOT_FOUND; ERR_TOO_LARGE when all that
 * was referred to is more than a request may go on from. */
HT_MUST_CHECK enum err response_item(struct store *s, const char *user_id, const char *item_id,
                                     struct response_refs *refs, json_t **out, struct error *error);

/* ---- writing ------------------------------------------------------------------------------- */

/* How a response ended, for whoever waits for it. */
struct response_end {
    struct error error; /* code OK: it did not fail */
    enum store_answer_state state;
    char model[MODEL_ID_MAX];
    char *body; /* the whole of it, to be freed; NULL: it never came to an end */
};
/* Takes over c->info. end: filled before the answer's last byte; NULL = nobody waits. */
struct writer *response_writer_new(struct hub *hub, struct response_call *c,
                                   struct response_end *end);
/* Text of a response without output, in that state ("queued"). */
void response_write_empty(const struct response_info *info, const char *model, const char *status,
                          const struct error *error, struct buf *out);
/* OpenAI's word for what ended a response. */
const char *response_error_word(enum err code);
/* The events of a response that is over, as its stream would have been but for the number of its
 * pieces; `body` is what is kept. *skip: how many events its client has. When there are no more
 * than that, only the last one comes, which holds all, behind them; *skip becomes 0. */
HT_MUST_CHECK enum err response_replay(const char *body, int64_t *skip, struct buf *out,
                                       struct error *error);

/* ---- handlers ------------------------------------------------------------------------------- */

/* background.c: keeps it as queued, with its job; answers, or follows its stream. Takes over the
 * sink's reference and c. */
void response_enqueue(struct hub *hub, const struct http_request *req, struct sink *sink,
                      const struct call_env *env, const json_t *body, struct response_call *c);
/* Follows the stream of one that is under way, or replays that of one that is over. */
void response_follow(struct hub *hub, const struct http_request *req, struct sink *sink);
/* It was cancelled or deleted: whoever works on it, or follows it, is to hear of it. */
void response_ended_outside(struct hub *hub, const char *id);
/* Of one whose job was ended past it (POST /api/v1/jobs/{id}/cancel, a hub that died too often):
 * its state follows. Whether it has changed. */
bool response_settle(struct store *s, const struct store_answer *x);
void response_cancel(struct hub *hub, const struct http_request *req, struct sink *sink);

#endif
