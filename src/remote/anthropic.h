/* Inside of the anthropic protocol: what its request and its answer agree on. */
#ifndef HEARTH_REMOTE_ANTHROPIC_H
#define HEARTH_REMOTE_ANTHROPIC_H

#include "remote/remote_int.h"

/* A tool that must be called with the answer as its arguments, and whose call is told as text. */
#define ANTHROPIC_ANSWER_TOOL "answer_as_json"
/* In front of a signature: it is all of the thoughts, which the provider keeps to itself
 * (redacted_thinking). */
#define ANTHROPIC_REDACTED "redacted:"

/* As protocol.generate. */
HT_MUST_CHECK enum err anthropic_generate(const struct remote_env *env,
                                          const struct gen_request *req, const char *model,
                                          struct remote_http *out, struct error *error);

#endif
