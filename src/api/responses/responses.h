/* OpenAI's Responses API under /v1/responses: what the rest of the program sees of it. */
#ifndef HEARTH_API_RESPONSES_H
#define HEARTH_API_RESPONSES_H

#include "api/fields.h"
#include "api/route.h"

extern const struct route response_routes[];
extern const struct schema response_schemas[];

/* The kind of job that answers in the background; before the hub is started. */
void responses_register(struct hub *hub);

#endif
