/* The OpenAI surface under /v1: what the rest of src/api sees of it. */
#ifndef HEARTH_API_OPENAI_H
#define HEARTH_API_OPENAI_H

#include "api/call.h"
#include "api/fields.h"
#include "api/route.h"
#include "hub/snapshot.h"

extern const struct route openai_routes[];
extern const struct schema openai_schemas[];

/* Bodies of its chats and raw completions, also for surfaces that speak a dialect of them. The
 * whole body -> *out; `body` may be freed afterwards. On failure nothing is left to free. text_len
 * is the length of the body's text and bounds the memory the request may take. Pure. */
HT_MUST_CHECK enum err chat_parse(const json_t *body, size_t text_len, const struct call_env *env,
                                  struct call *out, struct error *error);
HT_MUST_CHECK enum err completion_parse(const json_t *body, size_t text_len,
                                        const struct call_env *env, struct call *out,
                                        struct error *error);

/* The text of GET /v1/models; fn is called as by snapshot_get. Any thread; never waits. */
void openai_models_get(struct hub *hub, snapshot_fn fn, void *ctx);

#endif
