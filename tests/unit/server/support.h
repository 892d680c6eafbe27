/* For the server's tests: a real server on a free port with a few routes of its own, and a client
 * that speaks bytes. Each test program defines route_find itself, so that the API's routes (and all
 * that hangs on them) stay out. */
#ifndef TESTS_UNIT_SERVER_SUPPORT_H
#define TESTS_UNIT_SERVER_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/str.h"
#include "server/server.h"

#define UNUSED __attribute__((unused))

/* ---- handlers -------------------------------------------------------------------------------- */

enum { STREAMS_MAX = 8192 };

/* What the handlers leave for the tests. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct sink *streams[STREAMS_MAX]; /* opened by GET /stream, not yet ended */
    int n_streams;
    bool gate_open; /* GET /gate waits for it */
    atomic_int closes, gate_entered, handled, flood_end;
} world = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void on_close_count(void *ctx)
{
    (void)ctx;
    atomic_fetch_add(&world.closes, 1);
}

static void h_health(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    (void)hub;
    (void)req;
    sink_respond(sink, 200, "application/json", NULL, 0, "{\"status\":\"ok\"}", 15);
    sink_unref(sink);
}

/* Answers with what it was asked, so that tests see what handlers see. */
static void h_echo(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    (void)hub;
    struct buf out;
    buf_init(&out, 64 << 20);
    const char *custom = req->header(req, "x-custom"), *q = req->query(req, "q");
    buf_printf(&out, "method=%d path=%s id=%s custom=%s q=%s p0=%s len=%zu\n", (int)req->method,
               req->path, req->request_id, custom ? custom : "-", q ? q : "-",
               req->params[0] ? req->params[0] : "-", req->body_len);
    buf_append(&out, req->body, req->body_len);
    struct sink_header header = {"X-Echo", "yes"};
    sink_respond(sink, 200, "text/plain", &header, 1, out.data, out.len);
    buf_free(&out);
    atomic_fetch_add(&world.handled, 1);
    sink_unref(sink);
}

static void h_stream(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    (void)hub;
    (void)req;
    sink_on_close(sink, on_close_count, NULL);
    if (sink_begin(sink, 200, "text/event-stream", NULL, 0) != OK ||
        sink_write(sink, "data: hello\n\n", 13) != OK) {
        sink_unref(sink);
        atomic_fetch_add(&world.handled, 1);
        return;
    }
    pthread_mutex_lock(&world.lock);
    assert_true(world.n_streams < STREAMS_MAX);
    world.streams[world.n_streams++] = sink;
    pthread_cond_broadcast(&world.changed);
    pthread_mutex_unlock(&world.lock);
    atomic_fetch_add(&world.handled, 1);
}

static void h_gate(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    (void)hub;
    (void)req;
    sink_on_close(sink, on_close_count, NULL);
    atomic_fetch_add(&world.gate_entered, 1);
    pthread_mutex_lock(&world.lock);
    while (!world.gate_open) pthread_cond_wait(&world.changed, &world.lock);
    pthread_mutex_unlock(&world.lock);
    sink_respond(sink, 200, "text/plain", NULL, 0, "through", 7);
    sink_unref(sink);
}

static void h_forget(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    (void)hub;
    (void)req;
    sink_unref(sink);
}

static void h_break(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    (void)hub;
    (void)req;
    static const struct sink_header headers[] = {{"Cache-Control", "no-store"},
                                                 {"X-Accel-Buffering", "yes"}};
    sink_begin(sink, 200, "text/event-stream", headers, 2);
    sink_write(sink, "data: half\n\n", 12);
    pthread_mutex_lock(&world.lock);
    while (!world.gate_open) pthread_cond_wait(&world.changed, &world.lock);
    pthread_mutex_unlock(&world.lock);
    sink_unref(sink);
}

static void h_big(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    (void)hub;
    (void)req;
    size_t len = 16 << 20;
    char *body = xmalloc(len);
    memset(body, 'x', len);
    sink_respond(sink, 200, "text/plain", NULL, 0, body, len);
    free(body);
    sink_unref(sink);
}

/* Writes until it is told to stop. */
static void h_flood(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    (void)hub;
    (void)req;
    static const char event[4096] = "data: ";
    sink_on_close(sink, on_close_count, NULL);
    sink_begin(sink, 200, "text/event-stream", NULL, 0);
    while (sink_write(sink, event, sizeof event) == OK) usleep(20);
    atomic_fetch_add(&world.flood_end, 1);
    sink_unref(sink);
}

/* Each message is said again, word by word: lines, which become messages. */
static void h_socket(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    (void)hub;
    const char *q = req->query(req, "q"), *type = req->header(req, "Content-Type");
    char head[256];
    str_printf(head, sizeof head, "id=%.40s q=%s type=%s\n", req->request_id, q ? q : "-",
               type ? type : "-");
    sink_on_close(sink, on_close_count, NULL);
    if (str_starts(req->body, "wait")) { /* until the test ends it */
        sink_begin(sink, 200, "application/x-ndjson", NULL, 0);
        sink_write(sink, "waiting\n", 8);
        pthread_mutex_lock(&world.lock);
        world.streams[world.n_streams++] = sink;
        pthread_cond_broadcast(&world.changed);
        pthread_mutex_unlock(&world.lock);
        return;
    }
    if (str_starts(req->body, "flood")) {
        static const char line[4096] = "x\n";
        sink_begin(sink, 200, "application/x-ndjson", NULL, 0);
        while (sink_write(sink, line, sizeof line) == OK) usleep(20);
        atomic_fetch_add(&world.flood_end, 1);
    } else if (str_starts(req->body, "break")) {
        sink_begin(sink, 200, "application/x-ndjson", NULL, 0);
        sink_write(sink, "half\n", 5);
    } else if (str_starts(req->body, "whole")) {
        sink_respond(sink, 200, "application/json", NULL, 0, "one\nmessage", 11);
    } else if (!str_starts(req->body, "forget")) {
        sink_begin(sink, 200, "application/x-ndjson", NULL, 0);
        sink_write(sink, head, strlen(head));
        sink_write(sink, req->body, req->body_len);
        sink_end(sink); /* the last line has no end */
    }
    atomic_fetch_add(&world.handled, 1);
    sink_unref(sink);
}

static const struct route test_routes[] = {
    {HTTP_GET, "/health", h_health, ROUTE_INLINE, NULL, NULL, NULL, NULL},
    {HTTP_POST, "/echo", h_echo, 0, NULL, NULL, NULL, NULL},
    {HTTP_GET, "/echo", h_echo, 0, NULL, NULL, NULL, NULL},
    {HTTP_POST, "/inline", h_echo, ROUTE_INLINE, NULL, NULL, NULL, NULL},
    {HTTP_GET, "/stream", h_stream, 0, NULL, NULL, NULL, NULL},
    {HTTP_GET, "/gate", h_gate, 0, NULL, NULL, NULL, NULL},
    {HTTP_GET, "/forget", h_forget, 0, NULL, NULL, NULL, NULL},
    {HTTP_GET, "/break", h_break, 0, NULL, NULL, NULL, NULL},
    {HTTP_GET, "/big", h_big, 0, NULL, NULL, NULL, NULL},
    {HTTP_GET, "/flood", h_flood, 0, NULL, NULL, NULL, NULL},
    {HTTP_GET, "/socket", h_socket, ROUTE_SOCKET, NULL, NULL, NULL, NULL},
    {HTTP_GET, NULL, NULL, 0, NULL, NULL, NULL, NULL},
};

/* Stands in for api/route.c: literal paths, and "/echo/<anything>" with a parameter. */
enum route_match route_find(enum http_method method, const char *path, const struct route **route,
                            char *params_buf, size_t params_size,
                            const char *params[HTTP_PATH_PARAMS_MAX], char allow[64])
{
    bool known = false;
    memset(params, 0, HTTP_PATH_PARAMS_MAX * sizeof *params);
    allow[0] = '\0';
    if (str_starts(path, "/echo/")) {
        assert_true(str_copy(params_buf, params_size, path + 6));
        params[0] = params_buf;
        path = "/echo";
    }
    for (const struct route *r = test_routes; r->path; r++) {
        if (strcmp(r->path, path) != 0) continue;
        known = true;
        if (r->method == method || (method == HTTP_HEAD && r->method == HTTP_GET)) {
            *route = r;
            return ROUTE_FOUND;
        }
        size_t n = strlen(allow);
        str_printf(allow + n, 64 - n, "%s%s", n ? ", " : "",
                   r->method == HTTP_GET ? "GET, HEAD" : "POST");
    }
    return known ? ROUTE_NO_METHOD : ROUTE_NO_PATH;
}

static UNUSED void wait_streams(int n)
{
    pthread_mutex_lock(&world.lock);
    while (world.n_streams < n) pthread_cond_wait(&world.changed, &world.lock);
    pthread_mutex_unlock(&world.lock);
}

/* The tests run one thread, so the list is theirs once the streams are open. */
static UNUSED void end_streams(void)
{
    pthread_mutex_lock(&world.lock);
    int n = world.n_streams;
    world.n_streams = 0;
    pthread_mutex_unlock(&world.lock);
    for (int i = 0; i < n; i++) {
        sink_end(world.streams[i]);
        sink_unref(world.streams[i]);
    }
}

static UNUSED void open_gate(bool open)
{
    pthread_mutex_lock(&world.lock);
    world.gate_open = open;
    pthread_cond_broadcast(&world.changed);
    pthread_mutex_unlock(&world.lock);
}

/* ---- server ---------------------------------------------------------------------------------- */

struct fixture {
    struct server *server;
    struct pool *pool;
    int port;
};

static struct server_params default_params(void)
{
    return (struct server_params){
        .host = "127.0.0.1",
        .port = 0,
        .max_connections = 2000,
        .max_body = 1 << 20,
        .max_headers = 12 * 1024,
        .header_timeout_ms = 5000,
        .body_timeout_ms = 5000,
        .idle_timeout_ms = 5000,
        .ping_ms = 15000,
        .max_queued = 256 * 1024,
        .allowed_origins = "http://localhost:3000, https://app.example",
    };
}

static void fixture_start(struct fixture *f, struct server_params params, int threads, int queue)
{
    struct error error;
    assert_int_equal(pool_new("test", threads, (size_t)queue, &f->pool, &error), OK);
    params.pool = f->pool;
    assert_int_equal(server_start(&params, &f->server, &error), OK);
    f->port = server_port(f->server);
    assert_true(f->port > 0);
    atomic_store(&world.closes, 0);
    atomic_store(&world.handled, 0);
    atomic_store(&world.gate_entered, 0);
    atomic_store(&world.flood_end, 0);
    world.gate_open = false;
    world.n_streams = 0;
}

static void fixture_stop(struct fixture *f)
{
    server_free(f->server);
    pool_free(f->pool);
}

/* ---- client ---------------------------------------------------------------------------------- */

static int dial(int port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

static void put(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
        assert_true(n > 0);
        data += n;
        len -= (size_t)n;
    }
}

static UNUSED void puts_to(int fd, const char *s)
{
    put(fd, s, strlen(s));
}

/* Bytes that came within timeout_ms; 0 at the end of the stream, -1 when nothing came. */
static ssize_t get(int fd, char *dst, size_t size, int timeout_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (poll(&p, 1, timeout_ms) <= 0) return -1;
    ssize_t n = recv(fd, dst, size, 0);
    return n < 0 ? 0 : n;
}

struct answer {
    int status;
    char *head; /* status line and header */
    char *body; /* without chunked framing */
    size_t body_len;
    bool cut; /* the connection ended before the answer did */
};

static void answer_free(struct answer *a)
{
    free(a->head);
    free(a->body);
    *a = (struct answer){0};
}

/* Value of a header field, NULL if absent; the copy lives until the next call. */
static UNUSED const char *field(const struct answer *a, const char *name)
{
    static char value[1024];
    size_t len = strlen(name);
    for (const char *line = strchr(a->head, '\n'); line && *++line; line = strchr(line, '\n')) {
        if (strncasecmp(line, name, len) != 0 || line[len] != ':') continue;
        const char *v = line + len + 1;
        v += strspn(v, " ");
        size_t n = strcspn(v, "\r\n");
        assert_true(n < sizeof value);
        memcpy(value, v, n);
        value[n] = '\0';
        return value;
    }
    return NULL;
}

/* A reader keeps what came behind an answer for the next one (pipelining). */
struct reader {
    int fd;
    struct buf in;
};

static void reader_init(struct reader *r, int fd)
{
    r->fd = fd;
    buf_init(&r->in, 256 << 20);
}

static bool more(struct reader *r, int timeout_ms)
{
    char chunk[65536];
    ssize_t n = get(r->fd, chunk, sizeof chunk, timeout_ms);
    if (n > 0) assert_int_equal(buf_append(&r->in, chunk, (size_t)n), OK);
    return n > 0;
}

static bool unchunk(struct reader *r, struct answer *a, int timeout_ms)
{
    struct buf body;
    buf_init(&body, 256 << 20);
    for (;;) {
        char *end;
        while (!r->in.data || !(end = strstr(r->in.data, "\r\n"))) {
            if (!more(r, timeout_ms)) goto cut;
        }
        size_t size = strtoul(r->in.data, NULL, 16);
        buf_consume(&r->in, (size_t)(end + 2 - r->in.data));
        while (r->in.len < size + 2) {
            if (!more(r, timeout_ms)) goto cut;
        }
        buf_append(&body, r->in.data, size);
        assert_memory_equal(r->in.data + size, "\r\n", 2);
        buf_consume(&r->in, size + 2);
        if (size == 0) break;
    }
    a->body_len = body.len;
    a->body = body.len ? buf_take(&body) : xstrdup("");
    return true;
cut:
    a->cut = true;
    a->body_len = body.len;
    a->body = body.len ? buf_take(&body) : xstrdup("");
    return false;
}

/* Reads one answer; false when no complete one came within the time. */
static bool read_answer(struct reader *r, struct answer *a, bool no_body, int timeout_ms)
{
    *a = (struct answer){0};
    char *end;
    while (!r->in.data || !(end = strstr(r->in.data, "\r\n\r\n"))) {
        if (!more(r, timeout_ms)) return false;
    }
    size_t head_len = (size_t)(end + 4 - r->in.data);
    a->head = xstrndup(r->in.data, head_len);
    buf_consume(&r->in, head_len);
    assert_int_equal(sscanf(a->head, "HTTP/1.1 %d", &a->status), 1);
    if (no_body || a->status == 204 || a->status == 100) {
        a->body = xstrdup("");
        return true;
    }
    const char *length = field(a, "Content-Length"), *coding = field(a, "Transfer-Encoding");
    if (coding) return unchunk(r, a, timeout_ms);
    size_t len = length ? strtoul(length, NULL, 10) : SIZE_MAX;
    while (r->in.len < len && more(r, timeout_ms)) {
    }
    a->cut = length && r->in.len < len;
    a->body_len = r->in.len < len ? r->in.len : len;
    a->body = xstrndup(buf_str(&r->in), a->body_len);
    buf_consume(&r->in, a->body_len);
    return !a->cut;
}

/* One request on a connection of its own. */
static UNUSED struct answer ask(int port, const char *request, size_t len)
{
    struct reader r;
    reader_init(&r, dial(port));
    put(r.fd, request, len);
    struct answer a;
    bool no_body = strncmp(request, "HEAD ", 5) == 0;
    assert_true(read_answer(&r, &a, no_body, 5000));
    close(r.fd);
    buf_free(&r.in);
    return a;
}

static UNUSED struct answer ask_s(int port, const char *request)
{
    return ask(port, request, strlen(request));
}

/* The connection ends (FIN or RST) within the time, whatever came before. */
static UNUSED bool ends_within(int fd, int timeout_ms)
{
    int64_t until = clock_mono_ms() + timeout_ms;
    char chunk[65536];
    while (clock_mono_ms() < until) {
        ssize_t n = get(fd, chunk, sizeof chunk, (int)(until - clock_mono_ms()));
        if (n == 0) return true;
        if (n < 0) break;
    }
    return false;
}

#define wait_until(condition, timeout_ms)                                                          \
    do {                                                                                           \
        int64_t until_ = clock_mono_ms() + (timeout_ms);                                           \
        while (!(condition) && clock_mono_ms() < until_) usleep(1000);                             \
        assert_true(condition);                                                                    \
    } while (0)

static UNUSED int open_descriptors(void)
{
    int n = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (readdir(dir)) n++;
    closedir(dir);
    return n;
}

static UNUSED void assert_error_shape(const struct answer *a, const char *code)
{
    assert_string_equal(field(a, "Content-Type"), "application/json");
    assert_non_null(field(a, "X-Request-Id"));
    char wanted[64];
    snprintf(wanted, sizeof wanted, "\"code\":\"%s\"", code);
    if (!strstr(a->body, wanted)) fail_msg("no %s in %s", wanted, a->body);
    assert_non_null(strstr(a->body, "{\"error\":{\"message\":\""));
    assert_non_null(strstr(a->body, "\"request_id\":\""));
}

#endif
