/* HTTP server: libmicrohttpd on one front thread, which owns every connection and never blocks.
 * Handlers run on the hub's pool (or on the front thread if ROUTE_INLINE) and answer into sinks.
 *
 * What it guarantees, whatever clients do:
 * - Every answer carries X-Request-Id; errors of its own have the API's shape (api_error). A
 * request that is refused for its head is read to its end first, so that a keep-alive connection
 * goes on; where its end is in doubt, or too far away, the connection is closed after the answer.
 * - A client that leaves closes its sink at once, idle stream or not, queued or running. Shutting
 * down the sending side counts as leaving.
 * - Whoever drips a head or a body, or doesn't read, is cut within the times below.
 * - While it listens on loopback only, it answers to no host name but localhost, *.localhost,
 * loopback addresses and the hosts in allowed_origins (403: DNS rebinding, docs/decisions/0008).
 * - A connection that is idle costs max_headers plus about 6 KiB, an idle stream hardly more. */
#ifndef HEARTH_SERVER_SERVER_H
#define HEARTH_SERVER_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/access.h"
#include "base/err.h"
#include "base/thread.h"

struct server;

/* The strings are read by server_start only. */
struct server_params {
    const char *host;    /* "127.0.0.1", "::1", "0.0.0.0", "::", "localhost" (its IPv4 address) */
    int port;            /* 0: any free one */
    bool ollama;         /* listen on a second port, too, for clients that look for Ollama there */
    int ollama_port;     /* 0: any free one */
    int max_connections; /* further ones are told so (503) and closed */
    size_t max_body;     /* bytes; larger: 413, from Content-Length where there is one */
    size_t max_upload;   /* the same of a ROUTE_UPLOAD route, whose body is not held in memory */
    /* Bytes of request line and headers; larger: 431 (414 for the line). The Cookie header counts
     * twice against a somewhat larger limit: libmicrohttpd keeps a copy. */
    size_t max_headers;
    int64_t header_timeout_ms; /* from connecting, or the request line, to the end of the head */
    /* Longest pause in a body. The whole body may take four times that and then a second for each
     * 10 KB that have come. Also the time in which a client must read something of an answer. */
    int64_t body_timeout_ms;
    int64_t idle_timeout_ms; /* a keep-alive connection from an answer to the next request line */
    int64_t ping_ms;         /* ": ping" on an event stream that has said nothing for so long */
    size_t max_queued;       /* bytes that a slow reader may leave unread before it is dropped */
    const char *allowed_origins; /* CSV or "*" (then never with credentials); "" = no CORS */
    const struct gate *gate;     /* who may call what; NULL: everybody everything */
    const char *trusted_proxies; /* CSV of addresses and networks; "" = none (proxies.h) */
    struct pool *pool;           /* borrowed */
    struct hub *hub;             /* borrowed: handed to handlers */
};

/* Binds, listens and starts the front thread. ERR_CONFLICT: port in use (who to ask, how to choose
 * another); ERR_FORBIDDEN: not allowed to bind. */
HT_MUST_CHECK enum err server_start(const struct server_params *params, struct server **out,
                                    struct error *error);
int server_port(const struct server *s);
int server_ollama_port(const struct server *s); /* 0: it listens on one port only */

/* Graceful stop in two steps. drain: closes the listening socket and idle connections, answers new
 * requests on open ones with 503, lets streams go on; returns when none is left or after grace_ms.
 * From then on the server touches neither params.pool nor params.hub, so that both may be freed
 * before or after it. free: closes what is left (close callbacks run) and joins; without a drain
 * before, pool and hub must outlive it. Sinks that handlers still hold stay valid, and closed. */
void server_drain(struct server *s, int64_t grace_ms);
void server_free(struct server *s);

#endif
