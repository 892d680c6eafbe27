/* Routes: every path of every surface in tables of the same shape, from which the server
 * dispatches, /openapi.json is generated and `make check` proves that the docs list each path. */
#ifndef HEARTH_API_ROUTE_H
#define HEARTH_API_ROUTE_H

#include "api/http.h"

struct hub;

enum route_flags {
    ROUTE_INLINE = 1 << 0, /* handler never blocks and is quick: runs on the front thread */
    ROUTE_STREAM = 1 << 1, /* may answer as an event stream (documentation) */
    ROUTE_HIDDEN = 1 << 2, /* not in the OpenAPI document (pages, assets) */
    ROUTE_PUBLIC = 1 << 3, /* anybody may call it; all others are access.c's to judge */
    ROUTE_ADMIN = 1 << 4,  /* only admins may, wherever accounts are asked for */
    ROUTE_UPLOAD = 1 << 5, /* a form with a file, which goes to the disk as it comes (upload.h) */
    ROUTE_BLOB = 1 << 6,   /* with that: the body is the file itself, one of the models' */
    ROUTE_SOCKET = 1 << 7, /* a WebSocket, each message of which is a request (socket.h) */
};

struct route {
    enum http_method method;
    const char *path; /* "/v1/models/{id}"; a last parameter "{id...}" takes slashes too */
    void (*handler)(struct hub *hub, const struct http_request *req, struct sink *sink);
    unsigned flags;
    const char *tag, *summary;
    const char *request_schema;  /* name of a JSON schema in the surface's schema table, or NULL */
    const char *response_schema; /* the same */
};

/* NULL-ended list of tables, each ended by a route with path NULL. */
extern const struct route *const api_route_tables[];

enum route_match { ROUTE_FOUND, ROUTE_NO_PATH, ROUTE_NO_METHOD };

/* On ROUTE_FOUND fills *route and params (cut out of `path`, percent-decoded, into params_buf). On
 * ROUTE_NO_METHOD *allow lists the methods of that path ("GET, HEAD"). HEAD matches GET routes. */
enum route_match route_find(enum http_method method, const char *path, const struct route **route,
                            char *params_buf, size_t params_size,
                            const char *params[HTTP_PATH_PARAMS_MAX], char allow[64]);

/* Answers with the error in the surface's shape, its status from the error's code. */
void api_error(struct sink *sink, const struct http_request *req, const struct error *error);

#endif
