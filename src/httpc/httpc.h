/* Outgoing HTTP: libcurl's multi interface on one background thread (the net thread). http and
 * https only, redirects bounded (and never from https to http), credentials not sent across hosts.
 *
 * Callbacks run on the net thread and must not block for long; on_done is the last, exactly one per
 * accepted request. httpc_do is the blocking form for command-line verbs. */
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
    int status;            /* 0: no answer */
    const char *etag;      /* "" if none */
    const char *effective_url;
    int64_t content_length; /* -1 unknown */
    const char *(*header)(const struct httpc_response *r, const char *name); /* NULL if absent */
};

struct httpc_request {
    const char *method; /* "GET", "POST", "HEAD", "DELETE"; copied like all strings here */
    const char *url;
    const char *const *headers; /* "Name: value", n_headers of them */
    size_t n_headers;
    const void *body;
    size_t body_len;
    const char *unix_socket; /* NULL = TCP */
    int64_t connect_timeout_ms, idle_timeout_ms; /* 0 = 10 s, 60 s; idle: no byte for that long */
    int64_t range_from;      /* > 0: Range: bytes=N- */
    int max_redirects;       /* 0 = 5 */
    /* Headers of the final answer, before its body. false = stop. May be NULL. */
    bool (*on_response)(void *ctx, const struct httpc_response *r);
    /* false = stop with ERR_CANCELLED. */
    bool (*on_data)(void *ctx, const void *data, size_t len);
    /* error NULL = the transfer completed, whatever the status. */
    void (*on_done)(void *ctx, const struct httpc_response *r, const struct error *error);
    void *ctx;
};

/* *id (may be NULL) is for httpc_cancel. */
HT_MUST_CHECK enum err httpc_start(struct httpc *h, const struct httpc_request *req, uint64_t *id,
                                   struct error *error);
void httpc_cancel(struct httpc *h, uint64_t id); /* any thread; unknown ids are ignored */

/* Blocking: on_done of `req` must be NULL; the status comes in *status. Callbacks as above. */
HT_MUST_CHECK enum err httpc_do(struct httpc *h, const struct httpc_request *req, int *status,
                                struct error *error);

#endif
