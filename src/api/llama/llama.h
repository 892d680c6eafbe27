/* What llama-server has beside OpenAI's API, so that editors' plug-ins keep working: what the rest
 * of src/api sees of it. (Names that begin with llama_ are libllama's.) */
#ifndef HEARTH_API_LLAMA_H
#define HEARTH_API_LLAMA_H

#include "api/fields.h"
#include "api/route.h"

extern const struct route api_llama_routes[];
extern const struct schema api_llama_schemas[];

#endif
