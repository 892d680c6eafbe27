/* Pages and bundles embedded in the binary. The table is generated at build time
 * (cmake/assets.cmake) from src/api/hub/pages/<file> and from the npm packages swagger-ui-dist
 * (swagger-ui.css, swagger-ui-bundle.js) and redoc (redoc.standalone.js); every file's path is
 * "/assets/<file>".
 *
 * Our own pages are stored as they are, so that any client can read them; the bundles are gzipped
 * and are sent with Content-Encoding: gzip. Read-only, so any thread may use it. */
#ifndef HEARTH_API_ASSETS_H
#define HEARTH_API_ASSETS_H

#include <stdbool.h>
#include <stddef.h>

struct asset {
    const char *path;         /* "/assets/index.html" */
    const char *content_type; /* "text/html; charset=utf-8" */
    const unsigned char *data;
    size_t len;
    bool gzip; /* data is gzipped */
};

/* Ended by an asset whose path is NULL. */
extern const struct asset api_assets[];

#endif
