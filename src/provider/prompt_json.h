/* What a prompt is made of, as JSON: the way of a gen_request's messages, tools and output format
 * into a control call (provider.h, TEMPLATE) and back. Nothing else of the request travels, and no
 * pictures. Pure functions; any thread.
 *
 * {"messages": [{"role": "user", "content", "reasoning"?, "name"?, "tool_call_id"?,
 *                "tool_calls"?: [{"id", "name", "arguments"}]}],
 *  "tools"?: [{"name", "description", "parameters"}], "tool_choice"?, "tool_choice_name"?,
 *  "parallel_tool_calls"?, "schema"?, "json"?, "grammar"?, "reasoning_none"?, "template_kwargs"?,
 *  "chat_template"?}
 * Objects inside (schema, parameters, arguments, template_kwargs) are texts. */
#ifndef HEARTH_PROVIDER_PROMPT_JSON_H
#define HEARTH_PROVIDER_PROMPT_JSON_H

#include "base/json.h"
#include "types/gen.h"

/* The object, whole. */
void prompt_json_write(struct jw *w, const struct gen_request *req);

/* A GEN_CHAT request in an arena of its own (arena_free(out->arena)). ERR_INVALID: it is not what
 * prompt_json_write writes; ERR_TOO_LARGE. */
HT_MUST_CHECK enum err prompt_json_read(const json_t *obj, struct gen_request **out,
                                        struct error *error);

#endif
