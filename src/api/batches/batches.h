/* OpenAI's files and batches under /v1/files and /v1/batches: what the rest of the program sees. */
#ifndef HEARTH_API_BATCHES_H
#define HEARTH_API_BATCHES_H

#include "api/fields.h"
#include "api/route.h"

extern const struct route file_routes[], batch_routes[];
extern const struct schema batch_schemas[];

/* The kind of job that works on a batch; before the hub is started. */
void batches_register(struct hub *hub);

#endif
