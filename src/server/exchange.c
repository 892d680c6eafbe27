/* Exchange: one request and its answer. Implements the sink (api/http.h) for real connections.
 *
 * State of the sink, under exchange.lock:
 *
 *   X_OPEN --respond--> X_ENDED          X_OPEN --begin--> X_STREAMING --end--> X_ENDED
 *   X_OPEN, X_STREAMING --exchange_close (client gone, server stops), write (reader too slow),
 *                         unref (a stream that nobody will end)--> X_CLOSED
 *
 * Memory: freed when neither handlers (handler_refs) nor the server (pins) hold it. The request's
 * body goes when the handler returns, the bytes of an answer when they are handed to the kernel.
 *
 * After X_ENDED and X_CLOSED nothing here touches the server any more, so a handler may keep its
 * sink longer than the server lives. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/str.h"
#include "server/server_int.h"

/* Response header lines a handler may set, in bytes. */
enum { FIELDS_MAX = 8 * 1024 };
enum { OUT_KEEP = 1024 }; /* what an idle stream keeps of its queue's memory */
/* Growth of a stream's queue past max_queued: one write beyond the limit is taken. */
static const size_t ONE_WRITE_MAX = 64 << 20;

static struct exchange *of_sink(struct sink *s)
{
    return container_of(s, struct exchange, sink);
}

static void destroy(struct exchange *x)
{
    if (x->upgrade) exchange_unpin(x->upgrade);
    intake_free(x->intake);
    if (x->file >= 0) close(x->file);
    buf_free(&x->body);
    buf_free(&x->fields);
    buf_free(&x->out);
    free(x->content_type);
    free(x->head);
    free(x->allow);
    free(x->fault);
    close_hook_deinit(&x->hook);
    pthread_mutex_destroy(&x->lock);
    free(x);
}

/* Caller holds x->lock; the last holder frees. */
static void unlock_and_maybe_destroy(struct exchange *x)
{
    bool last = x->handler_refs == 0 && x->pins == 0;
    pthread_mutex_unlock(&x->lock);
    if (last) destroy(x);
}

void exchange_unpin(struct exchange *x)
{
    pthread_mutex_lock(&x->lock);
    ht_assert(x->pins > 0);
    x->pins--;
    unlock_and_maybe_destroy(x);
}

void exchange_wake(struct exchange *x)
{
    if (!x->parked || x->on_ready_list) return;
    x->parked = false;
    x->on_ready_list = true;
    x->pins++;
    server_push_ready(x->server, x);
}

/* ---- the sink's verbs (any thread) -------------------------------------------------------- */

/* A value with a line break would let its author write headers of his own. */
static bool header_is_clean(const struct sink_header *h)
{
    return h->name[0] && !strpbrk(h->name, " :\t\r\n") && !strpbrk(h->value, "\r\n");
}

/* Caller holds the lock. */
static enum err set_header(struct exchange *x, int status, const char *content_type,
                           const struct sink_header *headers, size_t n)
{
    buf_clear(&x->fields);
    for (size_t i = 0; i < n; i++) {
        ht_assert(header_is_clean(&headers[i]));
        buf_append(&x->fields, headers[i].name, strlen(headers[i].name) + 1);
        buf_append(&x->fields, headers[i].value, strlen(headers[i].value) + 1);
    }
    if (x->fields.err) return x->fields.err;
    free(x->content_type);
    x->content_type = NULL;
    if (content_type) {
        size_t len = strlen(content_type) + 1;
        x->content_type = try_malloc(len);
        if (!x->content_type) return ERR_NOMEM;
        memcpy(x->content_type, content_type, len);
    }
    x->status = x->status_override ? x->status_override : status;
    return OK;
}

static enum err sink_op_respond(struct sink *s, int status, const char *content_type,
                                const struct sink_header *headers, size_t n, const void *body,
                                size_t len)
{
    struct exchange *x = of_sink(s);
    pthread_mutex_lock(&x->lock);
    enum err err = x->state == X_OPEN ? OK : ERR_CLOSED;
    if (!err) err = set_header(x, status, content_type, headers, n);
    if (!err) {
        buf_free(&x->out);
        buf_init(&x->out, len);
        err = buf_append(&x->out, body, len);
    }
    if (!err) {
        x->state = X_ENDED;
        exchange_wake(x);
    }
    pthread_mutex_unlock(&x->lock);
    return err;
}

static enum err sink_op_respond_file(struct sink *s, int status, const char *content_type,
                                     const struct sink_header *headers, size_t n, int fd,
                                     int64_t size)
{
    struct exchange *x = of_sink(s);
    pthread_mutex_lock(&x->lock);
    enum err err = x->state == X_OPEN ? OK : ERR_CLOSED;
    if (!err) err = set_header(x, status, content_type, headers, n);
    if (!err) {
        x->file = fd;
        x->file_size = size;
        x->state = X_ENDED;
        exchange_wake(x);
    }
    pthread_mutex_unlock(&x->lock);
    if (err) close(fd);
    return err;
}

static enum err sink_op_begin(struct sink *s, int status, const char *content_type,
                              const struct sink_header *headers, size_t n)
{
    struct exchange *x = of_sink(s);
    pthread_mutex_lock(&x->lock);
    enum err err = x->state == X_OPEN ? OK : ERR_CLOSED;
    if (!err) err = set_header(x, status, content_type, headers, n);
    if (!err) {
        buf_free(&x->out);
        buf_init(&x->out, x->server->params.max_queued + ONE_WRITE_MAX);
        x->state = X_STREAMING;
        x->streamed = true;
        exchange_wake(x);
    }
    pthread_mutex_unlock(&x->lock);
    return err;
}

static bool ends_event(const char *data, size_t len)
{
    return (len >= 2 && memcmp(data + len - 2, "\n\n", 2) == 0) ||
           (len >= 4 && memcmp(data + len - 4, "\r\n\r\n", 4) == 0);
}

/* Caller holds the lock. Bytes taken already are dropped when they are more than what is left, so
 * that each byte moves at most once. */
static enum err queue_bytes(struct exchange *x, const void *data, size_t len)
{
    if (x->out_taken > 0 && x->out_taken >= x->out.len / 2) {
        buf_consume(&x->out, x->out_taken);
        x->out_taken = 0;
    }
    enum err err = buf_append(&x->out, data, len);
    if (!err) x->mid_event = !ends_event(x->out.data, x->out.len);
    return err;
}

void exchange_took(struct exchange *x, size_t n)
{
    x->out_taken += n;
    if (x->out_taken < x->out.len) return;
    x->out_taken = 0;
    if (x->out.cap > OUT_KEEP)
        buf_free(&x->out);
    else
        buf_clear(&x->out);
}

static enum err sink_op_write(struct sink *s, const void *data, size_t len)
{
    struct exchange *x = of_sink(s);
    pthread_mutex_lock(&x->lock);
    enum err err = x->state == X_STREAMING ? OK : ERR_CLOSED;
    if (!err && len > 0) {
        if (x->out.len - x->out_taken > x->server->params.max_queued ||
            queue_bytes(x, data, len) != OK) {
            x->too_slow = true;
            x->state = X_CLOSED;
            metric_add(METRIC_http_slow_readers_total, 1);
            /* Not parked: libmicrohttpd waits for a socket that the client doesn't empty. */
            x->parked = true;
            err = ERR_CLOSED;
        }
        exchange_wake(x);
    }
    pthread_mutex_unlock(&x->lock);
    return err;
}

static void sink_op_end(struct sink *s)
{
    struct exchange *x = of_sink(s);
    pthread_mutex_lock(&x->lock);
    if (x->state == X_STREAMING) {
        x->state = X_ENDED;
        exchange_wake(x);
    }
    pthread_mutex_unlock(&x->lock);
}

/* Caller holds the lock, which is given up meanwhile. */
static void run_callback(struct exchange *x)
{
    x->pins++;
    close_hook_run(&x->hook, &x->lock);
    x->pins--;
}

static void sink_op_on_close(struct sink *s, sink_close_fn fn, void *ctx)
{
    struct exchange *x = of_sink(s);
    pthread_mutex_lock(&x->lock);
    close_hook_set(&x->hook, &x->lock, fn, ctx);
    if (x->state == X_CLOSED) run_callback(x);
    unlock_and_maybe_destroy(x);
}

static void sink_op_ref(struct sink *s)
{
    struct exchange *x = of_sink(s);
    pthread_mutex_lock(&x->lock);
    ht_assert(x->handler_refs > 0);
    x->handler_refs++;
    pthread_mutex_unlock(&x->lock);
}

static void sink_op_unref(struct sink *s)
{
    struct exchange *x = of_sink(s);
    pthread_mutex_lock(&x->lock);
    ht_assert(x->handler_refs > 0);
    bool orphan = x->handler_refs == 1 && (x->state == X_OPEN || x->state == X_STREAMING);
    if (orphan && x->state == X_STREAMING && !x->head_queued) {
        /* Nothing of it was sent yet, so an error can still be. */
        x->state = X_OPEN;
        x->streamed = false;
    }
    if (orphan && x->state == X_STREAMING) {
        /* A stream that breaks off must look like one: the connection is cut. */
        x->state = X_CLOSED;
        x->hook.fn = NULL;
        x->parked = true;
        exchange_wake(x);
        orphan = false;
    }
    if (orphan) {
        pthread_mutex_unlock(&x->lock);
        struct error error;
        err_set(&error, ERR_INTERNAL, "the request was not answered; this is a bug in the hub");
        exchange_fail(x, 0, &error);
        pthread_mutex_lock(&x->lock);
    }
    x->handler_refs--;
    unlock_and_maybe_destroy(x);
}

static const struct sink_ops exchange_ops = {
    .respond = sink_op_respond,
    .begin = sink_op_begin,
    .write = sink_op_write,
    .end = sink_op_end,
    .respond_file = sink_op_respond_file,
    .on_close = sink_op_on_close,
    .ref = sink_op_ref,
    .unref = sink_op_unref,
};

/* ---- for the front thread ----------------------------------------------------------------- */

static const char *lookup_header(const struct http_request *r, const char *name)
{
    const struct exchange *x = container_of(r, struct exchange, http);
    for (const char *p = x->head; p && *p;) {
        const char *value = p + strlen(p) + 1;
        if (str_ieq(p, name)) return value;
        p = value + strlen(value) + 1;
    }
    return NULL;
}

static const char *lookup_query(const struct http_request *r, const char *name)
{
    const struct exchange *x = container_of(r, struct exchange, http);
    return uri_query(&x->uri, name);
}

/* As the handshake's, but that a message has a type: it is JSON. */
static const char *message_header(const struct http_request *r, const char *name)
{
    const struct exchange *x = container_of(r, struct exchange, http);
    if (str_ieq(name, "Content-Type")) return "application/json";
    return lookup_header(&x->upgrade->http, name);
}

static const char *message_query(const struct http_request *r, const char *name)
{
    const struct exchange *x = container_of(r, struct exchange, http);
    return uri_query(&x->upgrade->uri, name);
}

/* What every exchange begins with. */
static void init(struct exchange *x, struct server *s)
{
    x->sink.ops = &exchange_ops;
    x->server = s;
    x->file = -1;
    x->pins = 1;
    x->started_ns = clock_mono_ns();
    pthread_mutex_init(&x->lock, NULL);
    close_hook_init(&x->hook);
    list_init(&x->node);
    buf_init(&x->body, s->params.max_body);
    buf_init(&x->fields, FIELDS_MAX);
    buf_init(&x->out, 0);
}

struct exchange *exchange_message(struct exchange *upgrade, const void *text, size_t len)
{
    struct exchange *x = try_calloc(1, sizeof *x);
    if (!x) return NULL;
    init(x, upgrade->server);
    x->upgrade = upgrade;
    pthread_mutex_lock(&upgrade->lock);
    upgrade->pins++;
    pthread_mutex_unlock(&upgrade->lock);
    x->hub = upgrade->hub;
    x->gate = upgrade->gate;
    x->route = upgrade->route;
    x->uri.raw_path = upgrade->uri.raw_path;
    x->http = upgrade->http;
    x->http.header = message_header;
    x->http.query = message_query;
    id_make(x->request_id, sizeof x->request_id, "req-");
    x->http.request_id = x->request_id;
    str_copy(x->method_name, sizeof x->method_name, "MESSAGE");
    x->parked = true; /* there is nobody else to look at it */
    if (buf_append(&x->body, text, len) == OK) return x;
    exchange_unpin(x);
    return NULL;
}

struct exchange *exchange_new(struct server *s, struct conn *c, const char *target, size_t len,
                              struct error *error)
{
    error->code = OK;
    struct exchange *x =
        try_calloc(1, sizeof *x + uri_storage(len) + len + HTTP_PATH_PARAMS_MAX + 1);
    if (!x) return NULL;
    init(x, s);
    x->conn = c;
    x->hub = s->params.hub;
    x->gate = s->params.gate;
    x->target_len = len;
    x->http = (struct http_request){
        .path = "",
        .request_id = x->request_id,
        .listener = c->listener,
        .remote = x->client,
        .body = "",
        .header = lookup_header,
        .query = lookup_query,
    };
    str_copy(x->client, sizeof x->client, c->remote);
    if (uri_parse(target, len, x->storage, &x->uri, error) == OK) x->http.path = x->uri.path;
    x->http.query_pairs = x->uri.query;
    return x;
}

struct sink *exchange_hand_out(struct exchange *x)
{
    pthread_mutex_lock(&x->lock);
    ht_assert(x->handler_refs == 0);
    x->handler_refs = 1;
    pthread_mutex_unlock(&x->lock);
    return &x->sink;
}

bool exchange_close(struct exchange *x)
{
    pthread_mutex_lock(&x->lock);
    bool was_alive = x->state == X_OPEN || x->state == X_STREAMING;
    if (was_alive) {
        x->state = X_CLOSED;
        x->parked = false;
    }
    if (x->state == X_CLOSED) run_callback(x);
    pthread_mutex_unlock(&x->lock);
    return was_alive;
}

void exchange_run_due_callback(struct exchange *x)
{
    pthread_mutex_lock(&x->lock);
    if (x->state == X_CLOSED) run_callback(x);
    pthread_mutex_unlock(&x->lock);
}

void exchange_fail(struct exchange *x, int status, const struct error *error)
{
    pthread_mutex_lock(&x->lock);
    x->status_override = status;
    pthread_mutex_unlock(&x->lock);
    api_error(&x->sink, &x->http, error);
}

void exchange_ping(struct exchange *x)
{
    static const char ping[] = ": ping\n\n";
    pthread_mutex_lock(&x->lock);
    if (x->state == X_STREAMING && x->parked && !x->mid_event) {
        queue_bytes(x, ping, sizeof ping - 1);
        exchange_wake(x);
    }
    pthread_mutex_unlock(&x->lock);
}
