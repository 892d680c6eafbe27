/* The model server's surface under /api: its tables. */
#ifndef HEARTH_API_MODELS_MODELS_H
#define HEARTH_API_MODELS_MODELS_H

#include "api/fields.h"
#include "api/route.h"

extern const struct route models_routes[];
extern const struct schema models_schemas[];

#endif
