/* Anthropic's surface, /v1/messages: what the rest of src/api sees of it. */
#ifndef HEARTH_API_ANTHROPIC_H
#define HEARTH_API_ANTHROPIC_H

#include "api/fields.h"
#include "api/route.h"

extern const struct route anthropic_routes[];
extern const struct schema anthropic_schemas[];

#endif
