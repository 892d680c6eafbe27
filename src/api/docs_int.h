/* What the two renderings of the tables share (openapi.c, api_md.c). */
#ifndef HEARTH_API_DOCS_INT_H
#define HEARTH_API_DOCS_INT_H

#include "api/route.h"

/* The route's path with "{id...}" written as "{id}". */
void route_doc_path(const struct route *r, char *dst, size_t size);

#endif
