/* From an exchange that has something to say to libmicrohttpd's response. Front thread. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/str.h"
#include "server/server_int.h"

/* libmicrohttpd fills its own buffer for chunked streams; this one serves HTTP/1.0 only. */
enum { BLOCK_CHUNKED = 64, BLOCK_HTTP_1_0 = 8 * 1024 };

#define CORS_METHODS "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
#define CORS_HEADERS "Authorization, Content-Type, Accept, X-Request-Id, X-Priority, X-Api-Key"
#define CORS_EXPOSED "X-Request-Id, Retry-After"
#define CORS_MAX_AGE "600"

/* What is left of the stream's queue, at most `max` bytes. */
static size_t take(struct exchange *x, char *dst, size_t max)
{
    size_t left = x->out.len - x->out_taken;
    size_t n = left < max ? left : max;
    memcpy(dst, x->out.data + x->out_taken, n);
    exchange_took(x, n);
    return n;
}

/* libmicrohttpd asks for the next bytes of a stream. Suspends when there are none. */
static ssize_t read_stream(void *cls, uint64_t position, char *dst, size_t max)
{
    (void)position;
    struct exchange *x = cls;
    struct conn *c = x->conn;
    pthread_mutex_lock(&x->lock);
    ssize_t n = 0;
    if (x->state == X_CLOSED) {
        n = MHD_CONTENT_READER_END_WITH_ERROR;
    } else if (x->out.len > x->out_taken) {
        n = (ssize_t)take(x, dst, max);
    } else if (x->state == X_ENDED) {
        n = MHD_CONTENT_READER_END_OF_STREAM;
    } else {
        x->parked = !c->peer_gone;
    }
    pthread_mutex_unlock(&x->lock);
    if (n == 0 && c->peer_gone) return MHD_CONTENT_READER_END_WITH_ERROR;
    if (n == 0) {
        conn_watch(c, x->is_event_stream ? WATCH_PING : WATCH_NONE);
        conn_suspend(c);
    } else {
        conn_watch(c, WATCH_SEND);
    }
    return n;
}

static void add(struct MHD_Response *r, const char *name, const char *value)
{
    if (MHD_add_response_header(r, name, value) != MHD_YES)
        log_warn(http, "a header of an answer was dropped: %s", name);
}

/* Names of headers a browser may send; echoed, since the page's origin is trusted by now. */
static bool is_header_list(const char *s)
{
    size_t len = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_, ");
    return len > 0 && len <= 1024 && s[len] == '\0';
}

static void add_cors(struct exchange *x, struct MHD_Response *r)
{
    bool listed = x->origin_verdict == ORIGIN_LISTED;
    add(r, "Access-Control-Allow-Origin", listed ? x->origin : "*");
    if (listed) add(r, "Access-Control-Allow-Credentials", "true");
    add(r, "Access-Control-Expose-Headers", CORS_EXPOSED);
    if (!x->preflight) return;
    const char *wanted = x->http.header(&x->http, "Access-Control-Request-Headers");
    add(r, "Access-Control-Allow-Methods", CORS_METHODS);
    add(r, "Access-Control-Allow-Headers",
        wanted && is_header_list(wanted) ? wanted : CORS_HEADERS);
    add(r, "Access-Control-Max-Age", CORS_MAX_AGE);
    if (x->http.header(&x->http, "Access-Control-Request-Private-Network"))
        add(r, "Access-Control-Allow-Private-Network", "true");
}

/* The answer's header is complete and no handler changes it any more (head_queued): no lock needed.
 */
static void add_headers(struct exchange *x, struct MHD_Response *r)
{
    if (x->content_type) add(r, "Content-Type", x->content_type);
    add(r, "X-Request-Id", x->http.request_id);
    bool has_cache_control = false, has_buffering = false;
    for (size_t at = 0; at < x->fields.len;) {
        const char *name = x->fields.data + at;
        const char *value = name + strlen(name) + 1;
        has_cache_control |= str_ieq(name, "Cache-Control");
        has_buffering |= str_ieq(name, "X-Accel-Buffering");
        add(r, name, value);
        at += (size_t)(value - name) + strlen(value) + 1;
    }
    if (x->status == 405 && x->allow) add(r, "Allow", x->allow);
    if (x->status == 426) { /* RFC 9110, 15.5.22 and RFC 6455, 4.4 */
        add(r, "Upgrade", "websocket");
        add(r, "Connection", "Upgrade");
        add(r, "Sec-WebSocket-Version", "13");
    }
    if (x->is_event_stream) {
        if (!has_cache_control) add(r, "Cache-Control", "no-cache");
        /* nginx would hold tokens back otherwise. */
        if (!has_buffering) add(r, "X-Accel-Buffering", "no");
    }
    if (x->origin) add_cors(x, r);
    if (policy_origins_differ(x->server->policy)) add(r, "Vary", "Origin");
    if (x->must_close || x->server->closing) add(r, "Connection", "close");
}

static struct MHD_Response *new_response(struct exchange *x)
{
    if (x->streamed) {
        struct MHD_Response *r = MHD_create_response_from_callback(
            MHD_SIZE_UNKNOWN, x->http_1_0 ? BLOCK_HTTP_1_0 : BLOCK_CHUNKED, read_stream, x, NULL);
        /* libmicrohttpd 0.9.75 would end the chunked body of a HEAD request, which has none. */
        if (r && x->http.method == HTTP_HEAD)
            MHD_set_response_options(r, MHD_RF_HTTP_1_0_COMPATIBLE_STRICT, MHD_RO_END);
        return r;
    }
    if (x->file >= 0) {
        int fd = x->file;
        x->file = -1; /* the response's */
        struct MHD_Response *r = MHD_create_response_from_fd64((uint64_t)x->file_size, fd);
        if (!r) close(fd);
        return r;
    }
    size_t len = x->out.len;
    if (len == 0) return MHD_create_response_from_buffer(0, "", MHD_RESPMEM_PERSISTENT);
    char *body = buf_take(&x->out);
    struct MHD_Response *r = MHD_create_response_from_buffer(len, body, MHD_RESPMEM_MUST_FREE);
    if (!r) free(body);
    return r;
}

enum MHD_Result answer_queue(struct exchange *x)
{
    struct conn *c = x->conn;
    if (x->upgrades) return upgrade_queue(x);
    x->is_event_stream =
        x->streamed && x->content_type && strncmp(x->content_type, "text/event-stream", 17) == 0;
    struct MHD_Response *r = new_response(x);
    if (!r) return MHD_NO; /* out of memory: the connection is cut */
    add_headers(x, r);
    if (x->streamed) {
        metric_add(METRIC_http_streams, 1);
        x->in_streams_metric = true;
    }
    conn_watch(c, WATCH_SEND);
    enum MHD_Result result = mhd_queue(c->mhd, x->status, r);
    MHD_destroy_response(r);
    return result;
}
