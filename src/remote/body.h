/* What the request bodies of several protocols have in common: what a protocol can't say is
 * refused, calls of tools get the ids that it insists on, members that look the same. Pure
 * functions of a request; any thread. */
#ifndef HEARTH_REMOTE_BODY_H
#define HEARTH_REMOTE_BODY_H

#include <stdbool.h>

#include "base/json.h"
#include "types/gen.h"

/* What a protocol can say. */
enum body_can {
    BODY_RAW = 1 << 0,         /* text without a chat template */
    BODY_CHOICES = 1 << 1,     /* n > 1 */
    BODY_LOGPROBS = 1 << 2,    /* of tokens */
    BODY_BIAS = 1 << 3,        /* logit_bias */
    BODY_IMAGE_URLS = 1 << 4,  /* images that the other side fetches */
    BODY_FORCED_TOOL = 1 << 5, /* tool_choice required */
    BODY_NAMED_TOOL = 1 << 6,  /* tool_choice with a name */
    BODY_TOOLS_AND_FORMAT = 1 << 7,
};

/* ERR_UNSUPPORTED names what of the request `api` (for people: "Ollama's API") can't say. What only
 * shades an answer (seed, min_p, priority) is left out silently; what changes what it is, is not.
 */
HT_MUST_CHECK enum err body_check(const struct gen_request *req, unsigned can, const char *api,
                                  struct error *error);

/* Whether the tools are to be sent at all. */
bool body_has_tools(const struct gen_request *req);

enum { BODY_ID_MAX = 96 };
/* The id of a call of message number `m`, made of letters, digits, _ and - only; of one without an
 * id "call_<m>_<call>". */
void body_call_id(const struct gen_request *req, size_t m, size_t call, char dst[BODY_ID_MAX]);
/* The same of the call that message `m` (ROLE_TOOL) answers: by its tool_call_id, else the call in
 * the same place among those of the last assistant. *call (may be NULL): that call, or NULL. */
void body_answered_id(const struct gen_request *req, size_t m, char dst[BODY_ID_MAX],
                      const struct tool_call **call);

/* Arguments of a call: an object, or ERR_INVALID. */
HT_MUST_CHECK enum err body_arguments(struct jw *w, const struct tool_call *call,
                                      struct error *error);
/* The schema as it is; "{}" gets the type that every API wants. */
void body_schema(struct jw *w, const char *schema);
/* What all but Anthropic's API call it. */
const char *body_role(enum role role);

/* ---- members: nothing is written where the request has nothing ----------------------------- */

/* A message with pictures, as OpenAI and Cohere have it: "content" is a list of its parts. */
void body_parts(struct jw *w, const struct message *m);
/* The list of stop sequences, under that name. */
void body_stops(struct jw *w, const char *name, const struct gen_request *req);
/* The list of the texts [from, from + n), under that name. */
void body_texts(struct jw *w, const char *name, const struct embed_request *req, size_t from,
                size_t n);
/* An element of "tool_calls" whose arguments are text. */
void body_call(struct jw *w, const char *id, const struct tool_call *call);

#endif
