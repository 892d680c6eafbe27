/* What llama-server has beside OpenAI's API, so that editors' plug-ins keep working: what the rest
 * of src/api sees of it. */
#ifndef HEARTH_API_LLAMA_H
#define HEARTH_API_LLAMA_H

#include "api/fields.h"
#include "api/route.h"

extern const struct route llama_routes[];
extern const struct schema llama_schemas[];

#endif
