/* Requests as libmicrohttpd reports them: target, head, body, end; and what becomes of each.
 * Front thread only, except for the pool's jobs at the end of the file.
 *
 * A request that is refused for its head is still read to its end, so that the connection can go on
 * with the next one; unless where it ends is in doubt (framing), or reading on would be a burden
 * (too large, Expect: 100-continue): then it is answered at once and the connection closes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/error.h"
#include "api/upload.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/str.h"
#include "server/server_int.h"

/* The slowest rate of a body that is still let through, once four pauses have passed. */
enum { BODY_MIN_BYTES_PER_MS = 10 };
enum { BODY_FIRST_RESERVE = 256 * 1024 };
enum { FORWARDED_MAX = 16 }; /* lines of X-Forwarded-For that count: the last ones */
/* What of a refused upload is still read, so that the answer reaches its client in the usual way.
 */
enum { UPLOAD_SKIP_MAX = 256 * 1024 };

#define STOPPING_TEXT "the hub is shutting down; try again in a moment"

static HT_PRINTF(4, 5) void refuse(struct exchange *x, int status, enum err code, const char *fmt,
                                   ...)
{
    if (x->fault) return; /* the first thing found wrong is what the client hears of */
    x->fault = xcalloc(1, sizeof *x->fault);
    char msg[ERROR_MSG_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(msg, sizeof msg, fmt, args);
    va_end(args);
    err_set(x->fault, code, "%s", msg);
    x->fault_status = status;
}

/* As refuse, and where the request ends can't be trusted: no further request on this connection. */
#define refuse_and_close(x, ...) ((x)->must_close = true, refuse(x, __VA_ARGS__))

void *front_target(void *cls, const char *target, struct MHD_Connection *mhd)
{
    struct server *s = cls;
    struct conn *c = conn_of(mhd);
    if (!c) return NULL;
    ht_assert(!c->exchange);
    size_t len = strlen(target);
    struct error error;
    struct exchange *x = exchange_new(s, c, target, len, &error);
    if (!x) return NULL;
    if (error.code) refuse(x, 0, error.code, "%s", error.msg);
    if (len > s->params.max_headers) {
        refuse_and_close(x, 414, ERR_HEADERS,
                         "the request line is longer than %zu bytes (HEARTH_MAX_HEADERS)",
                         s->params.max_headers);
    }
    x->wire_target = (uintptr_t)target;
    c->exchange = x;
    s->n_busy++;
    /* The time for a head of a new connection runs since it was opened. */
    if (c->watch != WATCH_HEAD) conn_watch(c, WATCH_HEAD);
    return x;
}

/* ---- head ------------------------------------------------------------------------------------ */

static bool is_token(const char *s, size_t len)
{
    if (len == 0) return false;
    for (size_t i = 0; i < len; i++) {
        char c = s[i];
        bool alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!alnum && !(c && strchr("!#$%&'*+-.^_`|~", c))) return false;
    }
    return true;
}

static bool is_field_value(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        if ((c < ' ' && c != '\t') || c == 0x7f) return false;
    }
    return true;
}

struct head_copy {
    struct exchange *x;
    char *at, *end;
    int n_host, n_length, n_coding;
    const char *coding;
    const char *host;
};

/* One field: checked, counted where a second one is an attack, copied (the handler may read it when
 * the connection and libmicrohttpd's memory are long gone). */
static enum MHD_Result copy_field(void *cls, enum MHD_ValueKind kind, const char *name,
                                  size_t name_len, const char *value, size_t value_len)
{
    (void)kind;
    struct head_copy *h = cls;
    while (value_len > 0 && (value[value_len - 1] == ' ' || value[value_len - 1] == '\t'))
        value_len--;
    if (!is_token(name, name_len) || !is_field_value(value, value_len) ||
        (size_t)(h->end - h->at) < name_len + value_len + 3) {
        refuse_and_close(h->x, 400, ERR_INVALID,
                         "a header field is malformed: its name must be a token and its value free "
                         "of control characters");
        return MHD_YES;
    }
    char *copy = h->at + name_len + 1;
    memcpy(h->at, name, name_len);
    h->at[name_len] = '\0';
    memcpy(copy, value, value_len);
    copy[value_len] = '\0';
    if (str_ieq(h->at, "host")) {
        h->n_host++;
        h->host = copy;
    } else if (str_ieq(h->at, "content-length")) {
        h->n_length++;
        if (!str_to_i64(copy, 0, INT64_MAX, &(int64_t){0}) || copy[0] == '+') h->n_length = 2;
        h->x->body_expected = (size_t)strtoull(copy, NULL, 10);
    } else if (str_ieq(h->at, "transfer-encoding")) {
        h->n_coding++;
        h->coding = copy;
    }
    h->at = copy + value_len + 1;
    return MHD_YES;
}

/* Requests whose end two programs could see differently are how requests are smuggled past a proxy
 * (RFC 9112, 6.3): all of them are refused, and the connection closed. */
static void check_framing(struct exchange *x, const struct head_copy *h)
{
    if (h->n_coding > 0 && h->n_length > 0) {
        refuse_and_close(x, 400, ERR_INVALID,
                         "a request may have Content-Length or Transfer-Encoding, not both");
    } else if (h->n_length > 1) {
        refuse_and_close(x, 400, ERR_INVALID, "Content-Length must be one number, given once");
    } else if (h->n_coding > 1 || (h->n_coding == 1 && !str_ieq(h->coding, "chunked"))) {
        refuse_and_close(x, 400, ERR_INVALID,
                         "the only Transfer-Encoding understood in a request is chunked");
    } else if (h->n_coding == 1 && x->http_1_0) {
        refuse_and_close(x, 400, ERR_INVALID, "Transfer-Encoding does not exist in HTTP/1.0");
    }
    x->expects_body = h->n_coding > 0 || x->body_expected > 0;
}

static void check_host(struct exchange *x, const struct head_copy *h)
{
    if (h->n_host > 1 || (h->n_host == 0 && !x->http_1_0)) {
        refuse_and_close(x, 400, ERR_INVALID, "HTTP/1.1 asks for exactly one Host header");
        return;
    }
    const char *host = x->uri.authority ? x->uri.authority : h->host;
    if (host && !policy_host(x->server->policy, host)) {
        refuse(x, 0, ERR_FORBIDDEN,
               "this hub listens on the loopback interface only and does not answer to the host "
               "name '%.100s'; use localhost or 127.0.0.1, or add that host's origin to "
               "ALLOWED_ORIGINS",
               host);
    }
}

/* Lines of the header from the last one on, as if they were one. */
static void find_client(struct exchange *x)
{
    const char *lines[FORWARDED_MAX];
    size_t n = 0;
    if (!proxies_trust(x->server->proxies, x->client)) return;
    for (const char *p = x->head; *p;) {
        const char *value = p + strlen(p) + 1;
        if (str_ieq(p, "x-forwarded-for")) lines[n++ % FORWARDED_MAX] = value;
        p = value + strlen(value) + 1;
    }
    for (size_t i = 0; i < n && i < FORWARDED_MAX; i++)
        if (!proxies_follow(x->server->proxies, lines[(n - 1 - i) % FORWARDED_MAX], x->client))
            break;
}

static void copy_head(struct exchange *x, struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    size_t size = info ? info->header_size : 0;
    if (size > x->server->params.max_headers) {
        refuse_and_close(x, 431, ERR_HEADERS,
                         "request line and headers are longer than %zu bytes (HEARTH_MAX_HEADERS); "
                         "a browser may be sending many cookies: clear those of this host",
                         x->server->params.max_headers);
    }
    /* Each field was at least two bytes longer on the wire (':' and a line's end). */
    x->head = try_calloc(1, size + 8);
    if (!x->head) {
        refuse_and_close(x, 0, ERR_NOMEM, "not enough memory for the request's headers");
        return;
    }
    struct head_copy h = {.x = x, .at = x->head, .end = x->head + size + 8};
    MHD_get_connection_values_n(mhd, MHD_HEADER_KIND, copy_field, &h);
    check_framing(x, &h);
    check_host(x, &h);
    find_client(x);
}

static bool method_of(const char *name, enum http_method *out)
{
    static const struct {
        const char *name;
        enum http_method method;
    } methods[] = {
        {"GET", HTTP_GET},         {"POST", HTTP_POST},   {"HEAD", HTTP_HEAD},
        {"PUT", HTTP_PUT},         {"PATCH", HTTP_PATCH}, {"DELETE", HTTP_DELETE},
        {"OPTIONS", HTTP_OPTIONS},
    };
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        if (strcmp(methods[i].name, name) != 0) continue;
        *out = methods[i].method;
        return true;
    }
    return false;
}

static void find_route(struct exchange *x, const char *method)
{
    char allow[64] = "";
    bool known = method_of(method, &x->http.method);
    /* A method nobody knows can't be asked for; that of no route tells which ones there are. */
    enum http_method ask = known ? x->http.method : HTTP_OPTIONS;
    size_t raw_len = strlen(x->uri.raw_path);
    char *params = x->storage + uri_storage(x->target_len);
    if (x->http.method == HTTP_OPTIONS && known && strcmp(x->uri.raw_path, "*") == 0) {
        x->allow = xstrdup("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
        return;
    }
    enum route_match match = route_find(ask, x->uri.raw_path, &x->route, params,
                                        raw_len + HTTP_PATH_PARAMS_MAX + 1, x->http.params, allow);
    if (match == ROUTE_FOUND && known) return;
    if (match == ROUTE_NO_PATH) {
        refuse(x, 0, ERR_NOT_FOUND, "there is nothing at %.200s; GET /openapi.json lists all paths",
               x->uri.raw_path);
        return;
    }
    x->route = NULL;
    x->allow = xstrdup(allow);
    if (known && x->http.method == HTTP_OPTIONS) return;
    refuse(x, 0, ERR_METHOD, "%s is not possible at %.200s; possible: %s", x->method_name,
           x->uri.raw_path, allow);
}

static void read_origin(struct exchange *x)
{
    const char *origin = x->http.header(&x->http, "Origin");
    if (!origin) return;
    x->origin_verdict = policy_origin(x->server->policy, origin);
    if (x->origin_verdict == ORIGIN_REFUSED) return;
    x->origin = origin;
    x->preflight = x->http.method == HTTP_OPTIONS &&
                   x->http.header(&x->http, "Access-Control-Request-Method") != NULL;
}

/* libmicrohttpd hands out C strings, which end at a NUL that the client sent. But target and
 * version lie in one buffer, a blank apart: so the target's true length can be told. */
static void check_nul(struct exchange *x, const char *version)
{
    uintptr_t at = (uintptr_t)version;
    size_t reach = x->server->params.max_headers * 2;
    bool same_buffer = at > x->wire_target && at - x->wire_target < reach;
    if (same_buffer && at - x->wire_target != x->target_len + 1)
        refuse_and_close(x, 400, ERR_INVALID, "the request target holds a NUL byte");
}

/* Whether the body goes to a file (intake.c). */
static bool is_upload(const struct exchange *x)
{
    return x->gate && x->route && (x->route->flags & ROUTE_UPLOAD);
}

static size_t max_body(const struct exchange *x)
{
    if (is_upload(x) && (x->route->flags & ROUTE_BLOB)) return (size_t)UPLOAD_BLOB_MAX;
    return is_upload(x) ? x->server->params.max_upload : x->server->params.max_body;
}

static const char *max_body_name(const struct exchange *x)
{
    return is_upload(x) ? "MAX_FILESIZE_MB" : "HEARTH_MAX_BODY";
}

static void read_head(struct exchange *x, struct MHD_Connection *mhd, const char *method,
                      const char *version)
{
    str_copy(x->method_name, sizeof x->method_name,
             is_token(method, strlen(method)) ? method : "?");
    x->http_1_0 = strcmp(version, "HTTP/1.0") == 0;
    check_nul(x, version);
    copy_head(x, mhd);
    const char *id = x->http.header(&x->http, "X-Request-Id");
    if (id && policy_request_id(id)) {
        x->http.request_id = id;
    } else {
        id_make(x->request_id, sizeof x->request_id, "req-");
    }
    if (x->fault) {
        method_of(method, &x->http.method);
    } else {
        find_route(x, method);
    }
    read_origin(x);
    if (!x->fault && x->route && x->gate && !x->server->closing &&
        x->gate->shows_nothing(x->hub, x->route, &x->http))
        refuse(x, 0, ERR_AUTH, "Not authenticated");
    if (x->server->closing) {
        x->must_close = true;
        refuse(x, 503, ERR_STOPPING, STOPPING_TEXT);
    }
    if (x->body_expected > max_body(x)) {
        refuse_and_close(x, 413, ERR_TOO_LARGE,
                         "the body has %zu bytes; at most %zu are taken (%s)", x->body_expected,
                         max_body(x), max_body_name(x));
    }
}

/* First call for a request: its head is there. */
static enum MHD_Result head_arrived(struct exchange *x, struct MHD_Connection *mhd,
                                    const char *method, const char *version)
{
    x->head_done = true;
    read_head(x, mhd, method, version);
    if (!x->expects_body) {
        conn_watch(x->conn, WATCH_NONE);
        return MHD_YES; /* called again at once, for the end of the request */
    }
    bool waits = x->http.header(&x->http, "Expect") != NULL;
    if (x->fault && (x->must_close || waits)) {
        /* libmicrohttpd closes after an answer at this point; what the client still sends is read
         * and thrown away for a moment, or its kernel would drop our answer with the RST. */
        x->dispatched = true;
        x->must_close = true;
        x->conn->linger = true;
        exchange_fail(x, x->fault_status, x->fault);
        return answer_queue(x);
    }
    if (!x->fault && is_upload(x))
        intake_begin(x);
    else if (!x->fault && x->body_expected > 0)
        buf_reserve(&x->body,
                    x->body_expected < BODY_FIRST_RESERVE ? x->body_expected : BODY_FIRST_RESERVE);
    x->body_started_ms = x->server->now_ms;
    conn_watch(x->conn, WATCH_BODY);
    return MHD_YES;
}

/* ---- body ------------------------------------------------------------------------------------ */

static HT_PRINTF(4, 5) enum MHD_Result
    break_off(struct exchange *x, int status, enum err code, const char *fmt, ...)
{
    struct error error;
    char msg[ERROR_MSG_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(msg, sizeof msg, fmt, args);
    va_end(args);
    err_set(&error, code, "%s", msg);
    conn_raw_error(x->conn, status, &error);
    x->conn->linger = true;
    return MHD_NO;
}

static void refuse_with(struct exchange *x, const struct error *error)
{
    if (x->fault) return;
    x->fault = xcalloc(1, sizeof *x->fault);
    *x->fault = *error;
}

static enum MHD_Result upload_arrived(struct exchange *x, const char *data, size_t *size)
{
    struct error error;
    if (!intake_failed(x, &error)) {
        size_t taken = intake_take(x, data, *size);
        x->body_received += taken;
        *size -= taken;
        return MHD_YES;
    }
    if (x->body_expected == 0 || x->body_expected - x->body_received > UPLOAD_SKIP_MAX) {
        conn_raw_error(x->conn, error_status(error_shape_of(x->http.path), &error), &error);
        x->conn->linger = true;
        return MHD_NO;
    }
    refuse_with(x, &error);
    x->body_received += *size;
    *size = 0;
    return MHD_YES;
}

static enum MHD_Result body_arrived(struct exchange *x, const char *data, size_t *size)
{
    const struct server_params *p = &x->server->params;
    int64_t allowed_ms =
        4 * p->body_timeout_ms + (int64_t)(x->body_received / BODY_MIN_BYTES_PER_MS);
    if (x->server->now_ms - x->body_started_ms > allowed_ms) {
        return break_off(x, 408, ERR_TIMEOUT,
                         "the request's body came too slowly: %zu bytes in %lld ms",
                         x->body_received, (long long)(x->server->now_ms - x->body_started_ms));
    }
    if (x->body_received + *size > max_body(x)) {
        return break_off(x, 413, ERR_TOO_LARGE, "the body has more than %zu bytes (%s)",
                         max_body(x), max_body_name(x));
    }
    conn_watch(x->conn, WATCH_BODY);
    if (x->intake && !x->fault) return upload_arrived(x, data, size);
    x->body_received += *size;
    if (!x->fault && buf_append(&x->body, data, *size) != OK)
        return break_off(x, 503, ERR_NOMEM, "not enough memory for the request's body");
    *size = 0;
    return MHD_YES;
}

/* ---- the whole request ----------------------------------------------------------------------- */

static void run_handler(struct exchange *x)
{
    struct sink *sink = exchange_hand_out(x);
    const struct gate *gate = x->gate;
    if (gate)
        gate->serve(x->hub, x->route, &x->http, sink);
    else
        x->route->handler(x->hub, &x->http, sink);
    /* The handler has copied what it needs; a stream may last for hours. */
    intake_done(x);
    buf_free(&x->body);
    x->http.body = "";
    x->http.body_len = 0;
}

static void job(void *arg)
{
    struct exchange *x = arg;
    pthread_mutex_lock(&x->lock);
    bool wanted = x->state == X_OPEN;
    pthread_mutex_unlock(&x->lock);
    /* A client that left while its request was queued costs nothing more. */
    if (wanted) run_handler(x);
    intake_done(x);
    exchange_unpin(x);
}

static void answer_options(struct exchange *x)
{
    char allow[96];
    str_printf(allow, sizeof allow, "%s%s", x->allow,
               strstr(x->allow, "OPTIONS") ? "" : ", OPTIONS");
    struct sink_header header = {"Allow", allow};
    (void)sink_respond(&x->sink, 204, NULL, &header, 1, NULL, 0);
}

void front_submit(struct exchange *x, void (*run)(void *x))
{
    pthread_mutex_lock(&x->lock);
    x->pins++;
    pthread_mutex_unlock(&x->lock);
    enum err err = pool_submit(x->server->params.pool, run, x);
    if (!err) return;
    exchange_unpin(x);
    struct error error;
    if (err == ERR_STOPPING) {
        err_set(&error, err, STOPPING_TEXT);
    } else {
        err_set(&error, ERR_BUSY, "the hub has too many requests at hand; try again in a moment");
    }
    exchange_fail(x, 503, &error);
}

static bool is_quick(const struct exchange *x)
{
    return x->gate ? x->gate->is_quick(x->hub, x->route) : x->route->flags & ROUTE_INLINE;
}

void front_dispatch(struct exchange *x)
{
    x->dispatched = true;
    /* Its head came before the server was told to stop, its body after the pool was gone. */
    if (x->server->detached) refuse(x, 503, ERR_STOPPING, STOPPING_TEXT);
    x->http.body = buf_str(&x->body);
    x->http.body_len = x->body.len;
    if (x->fault) {
        exchange_fail(x, x->fault_status, x->fault);
    } else if (!x->route) {
        answer_options(x);
    } else if ((x->route->flags & ROUTE_SOCKET) && !x->upgrade) {
        upgrade_dispatch(x);
    } else if (is_quick(x)) {
        run_handler(x);
    } else {
        front_submit(x, job);
    }
}

/* The request is whole, and after each resume: answers it or waits for the handler to. */
static enum MHD_Result request_complete(struct exchange *x)
{
    struct conn *c = x->conn;
    if (!x->dispatched) {
        struct error error;
        if (x->intake && !x->fault && !intake_end(x, &error)) return MHD_YES;
        if (x->intake && !x->fault && error.code) refuse_with(x, &error);
        conn_watch(c, WATCH_NONE);
        front_dispatch(x);
    }
    pthread_mutex_lock(&x->lock);
    enum exchange_state state = x->state;
    if (state == X_OPEN && !c->peer_gone) x->parked = true;
    if (state == X_STREAMING || state == X_ENDED) x->head_queued = true;
    pthread_mutex_unlock(&x->lock);
    if (state == X_CLOSED) return MHD_NO;
    if (state != X_OPEN) return answer_queue(x);
    if (c->peer_gone) {
        exchange_close(x);
        return MHD_NO;
    }
    conn_suspend(c);
    return MHD_YES;
}

enum MHD_Result front_request(void *cls, struct MHD_Connection *mhd, const char *url,
                              const char *method, const char *version, const char *data,
                              size_t *size, void **context)
{
    (void)cls;
    (void)url; /* decoded by libmicrohttpd's rules; ours are in uri.c */
    struct exchange *x = *context;
    if (!x) return MHD_NO; /* out of memory */
    if (!x->head_done) return head_arrived(x, mhd, method, version);
    if (*size > 0) return body_arrived(x, data, size);
    return request_complete(x);
}

/* ---- its end --------------------------------------------------------------------------------- */

static void log_exchange(const struct exchange *x, int64_t took_ns, const char *remark)
{
    /* Probes and scrapers come every few seconds. */
    const char *path = x->uri.raw_path;
    bool quiet = strcmp(path, "/health") == 0 || strcmp(path, "/metrics") == 0;
    enum log_level level = quiet ? LOG_DEBUG : LOG_INFO;
    if (!log_on(level)) return;
    log_line(level, LOG_http, x->http.request_id, "%s %.200s %d %.1fms%s",
             x->method_name[0] ? x->method_name : "?", path, x->status, (double)took_ns / 1e6,
             remark);
}

/* Nobody else changes a closed or ended exchange, so what is read here needs no lock. */
void front_account(struct exchange *x, bool complete)
{
    const char *remark = "";
    if (!complete && !x->answered_raw) {
        remark = x->too_slow ? " (reader too slow)" : " (client left)";
        if (!x->too_slow) metric_add(METRIC_http_disconnects_total, 1);
        if (x->status == 0) x->status = 499;
    }
    int64_t took_ns = clock_mono_ns() - x->started_ns;
    metric_add(METRIC_http_requests_total, 1);
    if (x->status >= 400) metric_add(METRIC_http_errors_total, 1);
    if (x->in_streams_metric) metric_add(METRIC_http_streams, -1);
    metric_observe_ns(METRIC_http_request_seconds, took_ns);
    log_exchange(x, took_ns, remark);
}

void front_completed(void *cls, struct MHD_Connection *mhd, void **context,
                     enum MHD_RequestTerminationCode why)
{
    (void)mhd;
    struct server *s = cls;
    struct exchange *x = *context;
    if (!x) return;
    *context = NULL;
    struct conn *c = x->conn;
    /* Of a HEAD request's stream nobody wants the rest. */
    bool head = x->http.method == HTTP_HEAD;
    bool ended = !exchange_close(x) && x->state == X_ENDED;
    front_account(x, (ended || head) && why == MHD_REQUEST_TERMINATED_COMPLETED_OK);
    if (x->intake) intake_leave(x);
    c->exchange = NULL;
    x->conn = NULL;
    s->n_busy--;
    exchange_unpin(x);
    if (c->watch != WATCH_DEAD) conn_watch(c, WATCH_IDLE);
    /* libmicrohttpd has given all bytes to the kernel, which sends them before the FIN. */
    if (s->closing) conn_abort(c);
}
