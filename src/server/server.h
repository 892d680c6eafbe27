/* HTTP server: libmicrohttpd on one front thread, which owns every connection and never blocks.
 * Handlers run on the hub's pool (or on the front thread if ROUTE_INLINE) and answer into sinks. */
#ifndef HEARTH_SERVER_SERVER_H
#define HEARTH_SERVER_SERVER_H

#include <stddef.h>
#include <stdint.h>

#include "api/route.h"
#include "base/err.h"
#include "base/thread.h"

struct server;

struct server_params {
    const char *host; /* "127.0.0.1", "::1", "0.0.0.0", "localhost" */
    int port;         /* 0 = any free one */
    int max_connections;
    size_t max_body;    /* bytes; larger: 413, from Content-Length where there is one */
    size_t max_headers; /* bytes of request line and headers; larger: 431 (414 for the line) */
    int64_t header_timeout_ms; /* whole request head */
    int64_t
        body_timeout_ms; /* without a byte of body, and 4x that for the whole body + size/10 KB/s */
    int64_t idle_timeout_ms; /* keep-alive connection without a request */
    int64_t ping_ms;         /* ": ping" on an idle event stream */
    size_t max_queued;       /* bytes that a slow reader may leave unread before it is dropped */
    const char *allowed_origins; /* CSV or "*" (then never with credentials); "" = no CORS */
    struct pool *pool;           /* borrowed */
    struct hub *hub;             /* borrowed: handed to handlers */
};

/* Binds, listens and starts the front thread. ERR_CONFLICT: port in use (who to ask, how to choose
 * another); ERR_FORBIDDEN: not allowed to bind. */
HT_MUST_CHECK enum err server_start(const struct server_params *params, struct server **out,
                                    struct error *error);
int server_port(const struct server *s);

/* Graceful stop in two steps. drain: closes the listening socket and idle connections, answers new
 * requests on open ones with 503, lets streams go on; returns when none is left or after grace_ms.
 * free: closes what is left and joins. */
void server_drain(struct server *s, int64_t grace_ms);
void server_free(struct server *s);

#endif
