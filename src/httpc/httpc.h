/* Outgoing HTTP: libcurl's multi interface on one background thread (the net thread). http and
 * https only, redirects bounded (and never from https to http), credentials not sent across hosts.
 *
 * Callbacks run on the net thread and must not block for long; on_done is the last, exactly one per
 * accepted request. They may call httpc_start and httpc_cancel. httpc_do is the blocking form for
 * command-line verbs (never call it, nor httpc_free, from a callback).
 *
 * The thread and libcurl itself are started by the first request: a program that never goes out
 * pays nothing. Proxies come from the environment as curl does it (https_proxy, no_proxy, ...). */
#ifndef HEARTH_HTTPC_HTTPC_H
#define HEARTH_HTTPC_HTTPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

struct httpc;

HT_MUST_CHECK enum err httpc_new(struct httpc **out, struct error *error);
void httpc_free(struct httpc *h); /* cancels what runs */

struct httpc_response {
    int status;       /* 0: no answer */
    bool connected;   /* a connection stood, and the request could be sent */
    const char *etag; /* "" if none */
    const char *effective_url;
    int64_t content_length; /* of this answer's body; -1 unknown */
    /* NULL if absent. Looks in the final answer, then in the redirects that led to it, newest
     * first (a file server's hash of a file stands in its redirect to the storage behind it). */
    const char *(*header)(const struct httpc_response *r, const char *name);
};

struct httpc_request {
    const char *method; /* "GET", "POST", "HEAD", "DELETE"; copied like all strings here */
    const char *url;
    const char *const *headers; /* "Name: value", n_headers of them */
    size_t n_headers;
    const void *body;
    size_t body_len;
    const char *unix_socket;                     /* NULL = TCP */
    int64_t connect_timeout_ms, idle_timeout_ms; /* 0 = 10 s, 60 s; idle: no byte for that long */
    int64_t first_byte_timeout_ms; /* until the body's first byte, in place of idle; 0 = as idle */
    int64_t total_timeout_ms;      /* for all of it, whatever comes; 0 = no limit */
    const char *proxy;             /* NULL = as the environment says; "" = none */
    const char *ca_file;           /* certificates to trust; NULL = the system's */
    bool insecure_tls;             /* certificates are not checked */
    int64_t range_from;            /* > 0: Range: bytes=N- */
    int max_redirects;             /* 0 = 5, -1 = none: a 3xx is the final answer */
    /* Headers of the final answer, before its body. false = stop. May be NULL. */
    bool (*on_response)(void *ctx, const struct httpc_response *r);
    /* false = stop with ERR_CANCELLED. */
    bool (*on_data)(void *ctx, const void *data, size_t len);
    /* error NULL = the transfer completed, whatever the status. */
    void (*on_done)(void *ctx, const struct httpc_response *r, const struct error *error);
    void *ctx;
};

/* *id (may be NULL) is for httpc_cancel. ERR_INVALID for an URL that is not http or https, and for
 * line breaks in a method, an URL or a header. */
HT_MUST_CHECK enum err httpc_start(struct httpc *h, const struct httpc_request *req, uint64_t *id,
                                   struct error *error);
void httpc_cancel(struct httpc *h, uint64_t id); /* any thread; unknown ids are ignored */

/* Blocking: on_done of `req` must be NULL; the status comes in *status. Callbacks as above. */
HT_MUST_CHECK enum err httpc_do(struct httpc *h, const struct httpc_request *req, int *status,
                                struct error *error);

/* ---- the connect log ------------------------------------------------------------------------
 * Every outgoing connection of this process, of whichever httpc, is counted when it is tried, in
 * the metrics outgoing_connections_total and outgoing_local_connections_total, and, if there is a
 * file for it, gets a line there:
 *
 *   2026-11-20T21:05:03.123Z 4711 192.0.2.1:443 outside
 *
 * when, which process, where to, and `local` for loopback addresses and sockets of this machine. */

/* Appends to `file` from now on; "" = to none. ERR_CONFIG, ERR_IO and the like when it can't be
 * written. Before threads. */
HT_MUST_CHECK enum err httpc_connects_log(const char *file, struct error *error);

#endif
