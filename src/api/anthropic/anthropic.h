/* Anthropic's surface, /v1/messages: what the rest of src/api sees of it. */
#ifndef HEARTH_API_ANTHROPIC_H
#define HEARTH_API_ANTHROPIC_H

#include "api/fields.h"
#include "api/route.h"
#include "base/json.h"
#include "types/model_info.h"

extern const struct route anthropic_routes[];
extern const struct schema anthropic_schemas[];

/* The members of an entry of GET /v1/models that Anthropic's clients read and OpenAI's don't know.
 * context: tokens that the model, which is in memory, has room for; 0 = it is not. */
void anthropic_put_model(struct jw *w, const struct model_info *m, int64_t context);

#endif
