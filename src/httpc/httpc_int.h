/* Inside of httpc: one transfer. Owned by the net thread from the moment httpc_start queued it;
 * only `cancelled` is touched by others. */
#ifndef HEARTH_HTTPC_HTTPC_INT_H
#define HEARTH_HTTPC_HTTPC_INT_H

#include <curl/curl.h>
#include <stdatomic.h>

#include "base/expiry.h"
#include "base/idmap.h"
#include "base/list.h"
#include "httpc/httpc.h"

enum {
    HTTPC_HEADERS_MAX = 256 << 10, /* all answers of one request together, redirects too */
    HTTPC_REDIRECTS = 5,
    HTTPC_CONNECT_TIMEOUT_MS = 10000,
    HTTPC_IDLE_TIMEOUT_MS = 60000,
};

struct xfer {
    struct list_node node;   /* in httpc's queued or running list */
    struct list_node cancel; /* in httpc's cancelled list */
    struct idnode by_id;
    struct expiry_node late; /* when it is to be looked at */
    CURL *easy;
    struct curl_slist *headers;
    struct httpc_request req; /* callbacks and numbers; the strings are not kept */
    char *host;               /* "name:port", for messages */
    char *body;
    char curl_error[CURL_ERROR_SIZE];

    struct httpc_response answer;
    struct buf fields;    /* "name\0value\0" of every answer, oldest first */
    size_t answer_begins; /* where the newest answer's begin */
    bool redirected;      /* the newest answer has a Location */
    bool announced;       /* on_response was called (or there is none to call) */

    bool connected, has_body; /* the request could be sent; a byte of a body has come */
    curl_off_t bytes_seen;
    int64_t begun_ms, last_activity_ms;

    atomic_bool cancelled;
    struct error refusal; /* why one of our callbacks stopped the transfer; OK if none did */
};

/* Checks the request and builds everything that curl needs. *out is not started. */
HT_MUST_CHECK enum err xfer_new(const struct httpc_request *req, struct xfer **out,
                                struct error *error);
void xfer_free(struct xfer *x);

/* It is the net thread's from now on. */
void xfer_begin(struct xfer *x, int64_t now_ms);
/* When it is to be looked at again; <= now: it is late, and *why says so. */
int64_t xfer_late(const struct xfer *x, int64_t now_ms, struct error *why);

/* connects.c: the connect log. For CURLOPT_OPENSOCKETFUNCTION. */
curl_socket_t connects_open(void *ctx, curlsocktype purpose, struct curl_sockaddr *address);

/* Ends it: on_response if that was not called yet, then on_done. `why` NULL = as `result` says. */
void xfer_finish(struct xfer *x, CURLcode result, const struct error *why);

#endif
