/* Prompts whose tokens the model's process has to make first: texts with a gap, and texts mixed
 * with tokens. Any thread. */
#ifndef HEARTH_API_PROMPTS_H
#define HEARTH_API_PROMPTS_H

#include "api/call.h"

struct hub;
struct sink;
struct writer;

/* answer_start, for a call with questions: asks them, and starts then. Errors go through the
 * writer's reword, as those of an answer do; a model that has no tokens for gaps is ERR_UNSUPPORTED
 * at /model. Takes over what answer_start takes over. */
void prompts_ask(struct hub *hub, struct sink *sink, struct call *call, struct writer *writer,
                 const char *request_id, const char *what);

/* A text with a gap that is to be filled. */
struct prompt_gap {
    const char *before, *text; /* in front of it; both, or "" */
    const char *behind;
    int64_t n_predict;   /* tokens that must fit into it; -1 = not said */
    const json_t *extra; /* other texts: [{"filename", "text"}], or NULL */
};
/* Appends the question for it, which is the next request's, to call->questions (NULL: begins
 * them). */
HT_MUST_CHECK enum err prompts_add_gap(json_t **questions, const struct prompt_gap *gap,
                                       struct error *error);

#endif
