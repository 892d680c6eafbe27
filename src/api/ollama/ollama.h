/* Ollama's API under /api: what the rest of src/api sees of it. */
#ifndef HEARTH_API_OLLAMA_H
#define HEARTH_API_OLLAMA_H

#include "api/fields.h"
#include "api/route.h"

extern const struct route ollama_routes[];
extern const struct schema ollama_schemas[];

/* What Ollama says of itself at GET /: its clients look for these words. */
#define OLLAMA_RUNNING "Ollama is running"
/* The release of Ollama whose API this is; clients look whether it is new enough for them. */
#define OLLAMA_VERSION "0.12.11"

/* Whether the request is one of Ollama's own clients' ("ollama/...", "ollama-js/...", ...), or came
 * to the port that is Ollama's. */
bool ollama_is_client(const struct http_request *req);

#endif
