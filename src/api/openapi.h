/* Documentation out of the tables: what the server dispatches and what the parsers check is what
 * is written here, so the two can't drift apart. Any thread. */
#ifndef HEARTH_API_OPENAPI_H
#define HEARTH_API_OPENAPI_H

#include "base/buf.h"

/* The OpenAPI 3.1 document of every route that isn't ROUTE_HIDDEN, as JSON. */
enum err api_render_openapi(struct buf *out);

/* docs/api.md: the same as Markdown (`hearth-gen api-md` writes it). */
enum err api_render_markdown(struct buf *out);

#endif
