/* What a handler sees of HTTP, and the sink it answers into. No sockets: src/server implements the
 * sink for real connections, tests and fuzzers implement it in memory (tests/support/memsink.h). */
#ifndef HEARTH_API_HTTP_H
#define HEARTH_API_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum http_method {
    HTTP_GET,
    HTTP_HEAD,
    HTTP_POST,
    HTTP_PUT,
    HTTP_PATCH,
    HTTP_DELETE,
    HTTP_OPTIONS
};

const char *http_method_name(enum http_method method); /* "GET" */

enum { HTTP_PATH_PARAMS_MAX = 4 };

/* The port that a request came to. */
enum http_listener { LISTENER_MAIN, LISTENER_OLLAMA };

struct auth_identity;
struct upload;

/* Owned by the server. The body is valid until the handler returns (a stream may last for hours, so
 * its memory goes early), the rest until the handler has let go of its sink; handlers copy what
 * they keep longer. */
struct http_request {
    enum http_method method;
    const char *path;       /* decoded, without the query */
    const char *request_id; /* the client's X-Request-Id if it is sane, else made here */
    enum http_listener listener;
    const char *remote; /* address (behind trusted proxies, the client's): log, throttle */
    const void *body;   /* whole; never NULL, '\0' behind it */
    size_t body_len;
    const char *params[HTTP_PATH_PARAMS_MAX]; /* {id} parts of the route, in order, decoded */
    /* Who is calling, where that was asked for (access.h), else NULL: everybody may do everything.
     * Valid until the handler returns. */
    const struct auth_identity *who;
    /* Of a ROUTE_UPLOAD route: the form and its file, instead of a body (upload.h); valid until the
     * handler returns. NULL when the request had no body. */
    struct upload *upload;
    const char *(*header)(const struct http_request *r, const char *name); /* NULL if absent */
    const char *(*query)(const struct http_request *r, const char *name);  /* decoded or NULL */
    const char *query_pairs; /* all of it, decoded: name \0 value \0 ... \0; NULL = nothing */
};

/* ---- sink --------------------------------------------------------------------------------
 * Where one answer goes. Reference counted: the handler is handed one reference and must end with
 * exactly one sink_unref (from any thread, at any later time). States:
 *
 *   open --sink_respond--> ended          (a complete answer)
 *   open --sink_begin--> streaming --sink_end--> ended
 *   any  --client gone / too slow / shutdown--> closed
 *
 * In `ended` and `closed` every call is a no-op that returns ERR_CLOSED. An open sink whose last
 * reference goes is answered with 500 by the server (a bug that must not hang a client).
 * All functions are thread-safe and never block; the server queues and wakes its front thread. */
struct sink;

struct sink_header {
    const char *name, *value;
};

/* The close callback runs once, on the front thread or inside sink_on_close itself when the sink is
 * closed already: the client has gone before the answer ended. Not called after `ended`. */
typedef void (*sink_close_fn)(void *ctx);

struct sink_ops {
    enum err (*respond)(struct sink *s, int status, const char *content_type,
                        const struct sink_header *headers, size_t n, const void *body, size_t len);
    enum err (*begin)(struct sink *s, int status, const char *content_type,
                      const struct sink_header *headers, size_t n);
    enum err (*write)(struct sink *s, const void *data, size_t len);
    void (*end)(struct sink *s);
    /* MAY: sink_respond_file reads the file into memory then. Owns fd in any case. */
    enum err (*respond_file)(struct sink *s, int status, const char *content_type,
                             const struct sink_header *headers, size_t n, int fd, int64_t size);
    void (*on_close)(struct sink *s, sink_close_fn fn, void *ctx);
    void (*ref)(struct sink *s);
    void (*unref)(struct sink *s);
};

struct sink {
    const struct sink_ops *ops;
};

/* Data is copied. headers may be NULL when n is 0; content_type NULL: none is sent. The server adds
 * X-Request-Id, CORS headers and, for event streams, Cache-Control: no-cache. Header values must be
 * free of line breaks (asserted). ERR_NOMEM leaves the sink open. */
enum err sink_respond(struct sink *s, int status, const char *content_type,
                      const struct sink_header *headers, size_t n, const void *body, size_t len);
/* A complete answer whose body is the first `size` bytes of an open file, which is closed. */
enum err sink_respond_file(struct sink *s, int status, const char *content_type,
                           const struct sink_header *headers, size_t n, int fd, int64_t size);
enum err sink_begin(struct sink *s, int status, const char *content_type,
                    const struct sink_header *headers, size_t n);
/* ERR_CLOSED: stop producing. For text/event-stream the server adds ": ping" when idle. */
enum err sink_write(struct sink *s, const void *data, size_t len);
void sink_end(struct sink *s);
/* fn NULL withdraws the callback; after that returns it is not running and never will, unless it is
 * the callback itself that withdraws. Who implements a sink takes api/close_hook.h for it. */
void sink_on_close(struct sink *s, sink_close_fn fn, void *ctx);
struct sink *sink_ref(struct sink *s);
void sink_unref(struct sink *s);

#endif
