/* The OpenAI surface under /v1: what the rest of src/api sees of it. */
#ifndef HEARTH_API_OPENAI_H
#define HEARTH_API_OPENAI_H

#include "api/fields.h"
#include "api/route.h"

extern const struct route openai_routes[];
extern const struct schema openai_schemas[];

#endif
