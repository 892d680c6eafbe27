/* Outgoing HTTP against a scripted server in this process. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/metrics.h"
#include "base/str.h"
#include "httpc/httpc.h"
#include "unit/httpc/http_script.h"

/* ---- what a request brought -------------------------------------------------------------- */

struct seen {
    int status, responses, dones;
    enum err code;
    char message[ERROR_MSG_MAX];
    char etag[64], url[256], linked[64], type[64];
    int64_t length;
    struct buf body;
    bool stop_at_response, stop_at_data;
    pthread_mutex_t lock;
    pthread_cond_t changed;
};

static void seen_init(struct seen *s)
{
    *s = (struct seen){.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    buf_init(&s->body, 8 << 20);
}

static bool on_response(void *ctx, const struct httpc_response *r)
{
    struct seen *s = ctx;
    const char *linked = r->header(r, "X-Linked-Etag"), *type = r->header(r, "content-type");
    s->responses++;
    s->status = r->status;
    s->length = r->content_length;
    str_copy(s->etag, sizeof(s->etag), r->etag);
    str_copy(s->url, sizeof(s->url), r->effective_url);
    str_copy(s->linked, sizeof(s->linked), linked ? linked : "(none)");
    str_copy(s->type, sizeof(s->type), type ? type : "(none)");
    return !s->stop_at_response;
}

static bool on_data(void *ctx, const void *data, size_t len)
{
    struct seen *s = ctx;
    buf_append(&s->body, data, len);
    return !s->stop_at_data;
}

static void on_done(void *ctx, const struct httpc_response *r, const struct error *error)
{
    struct seen *s = ctx;
    pthread_mutex_lock(&s->lock);
    s->dones++;
    s->status = r->status;
    s->code = error ? error->code : OK;
    str_copy(s->message, sizeof(s->message), error ? error->msg : "");
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

static void seen_wait(struct seen *s)
{
    pthread_mutex_lock(&s->lock);
    while (!s->dones) pthread_cond_wait(&s->changed, &s->lock);
    pthread_mutex_unlock(&s->lock);
}

static struct httpc_request request_to(struct seen *s, const char *url)
{
    return (struct httpc_request){
        .url = url, .on_response = on_response, .on_data = on_data, .ctx = s, .max_redirects = 0};
}

static struct httpc *new_httpc(void)
{
    struct httpc *h;
    assert_int_equal(httpc_new(&h, NULL), OK);
    return h;
}

/* GET, waited for; the error is in s. */
static enum err get(struct seen *s, const struct httpc_request *req)
{
    struct error error = {.code = OK};
    struct httpc *h = new_httpc();
    enum err e = httpc_do(h, req, NULL, &error);
    s->code = e;
    str_copy(s->message, sizeof(s->message), e ? error.msg : "");
    httpc_free(h);
    return e;
}

/* ---- the server's scripts ---------------------------------------------------------------- */

static bool echo(struct script *s, struct script_request *req)
{
    (void)s;
    return script_printf(req,
                         "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nETag: \"tag\"\r\n"
                         "Content-Type: text/plain\r\n\r\n",
                         strlen(req->text)) &&
           (str_eq(req->method, "HEAD") || script_send(req, req->text, strlen(req->text)));
}

struct redirect {
    char to[256];
    const char *status;
};

static bool redirect(struct script *s, struct script_request *req)
{
    struct redirect *r = s->ctx;
    if (str_starts(req->path, "/end")) return echo(s, req);
    return script_printf(req,
                         "HTTP/1.1 %s\r\nLocation: %s\r\nX-Linked-Etag: \"abc\"\r\n"
                         "Content-Type: text/html\r\nETag: \"of-the-redirect\"\r\n"
                         "Content-Length: 5\r\n\r\nmoved",
                         r->status, r->to);
}

static bool stall(struct script *s, struct script_request *req)
{
    (void)s;
    char byte;
    script_printf(req, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun");
    return recv(req->fd, &byte, 1, 0) > 0; /* until the other side goes */
}

static bool cut(struct script *s, struct script_request *req)
{
    (void)s;
    script_printf(req, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this");
    return false;
}

static bool no_answer(struct script *s, struct script_request *req)
{
    (void)s, (void)req;
    return false;
}

static bool not_http(struct script *s, struct script_request *req)
{
    (void)s;
    script_printf(req, "220 mail.example.org ESMTP\r\n");
    return false;
}

static bool huge_headers(struct script *s, struct script_request *req)
{
    (void)s;
    char line[1000];
    memset(line, 'x', sizeof(line));
    script_printf(req, "HTTP/1.1 200 OK\r\n");
    for (int i = 0; i < 290; i++)
        if (!script_printf(req, "X-%d: %.*s\r\n", i, (int)sizeof(line), line)) return false;
    return script_printf(req, "Content-Length: 0\r\n\r\n");
}

/* ---- tests ------------------------------------------------------------------------------- */

static int count_threads(void)
{
    int n = 0;
    DIR *d = opendir("/proc/self/task");
    for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static void nothing_runs_before_the_first_request(void **state)
{
    (void)state;
    int before = count_threads();
    struct httpc *h = new_httpc();
    assert_int_equal(count_threads(), before);
    httpc_free(h);
    httpc_free(NULL);
}

static void get_brings_status_headers_and_body(void **state)
{
    (void)state;
    struct script *server = script_start(echo, NULL);
    struct seen s;
    seen_init(&s);
    const char *headers[] = {"X-Mine: yes"};
    struct httpc_request req = request_to(&s, server->url);
    req.headers = headers;
    req.n_headers = 1;
    req.range_from = 7;
    assert_int_equal(get(&s, &req), OK);
    assert_int_equal(s.status, 200);
    assert_int_equal(s.responses, 1);
    assert_int_equal(s.length, s.body.len);
    assert_string_equal(s.etag, "\"tag\"");
    assert_string_equal(s.type, "text/plain");
    assert_string_equal(s.linked, "(none)");
    assert_non_null(strstr(buf_str(&s.body), "GET / HTTP/1.1\r\n"));
    assert_non_null(strstr(buf_str(&s.body), "User-Agent: hearth/" HEARTH_VERSION "\r\n"));
    assert_non_null(strstr(buf_str(&s.body), "X-Mine: yes\r\n"));
    assert_non_null(strstr(buf_str(&s.body), "Range: bytes=7-\r\n"));
    buf_free(&s.body);
    script_stop(server);
}

static void post_sends_the_body_as_it_is(void **state)
{
    (void)state;
    struct script *server = script_start(echo, NULL);
    struct seen s;
    seen_init(&s);
    const char *headers[] = {"Content-Type: application/json"};
    struct httpc_request req = request_to(&s, server->url);
    req.method = "POST";
    req.headers = headers;
    req.n_headers = 1;
    req.body = "{\"a\":1}";
    req.body_len = 7;
    assert_int_equal(get(&s, &req), OK);
    assert_non_null(strstr(buf_str(&s.body), "POST / HTTP/1.1\r\n"));
    assert_non_null(strstr(buf_str(&s.body), "Content-Type: application/json\r\n"));
    assert_non_null(strstr(buf_str(&s.body), "Content-Length: 7\r\n"));
    assert_null(strstr(buf_str(&s.body), "urlencoded"));
    assert_null(strstr(buf_str(&s.body), "Expect:"));
    assert_true(str_ends(buf_str(&s.body), "\r\n\r\n{\"a\":1}"));
    buf_clear(&s.body);
    req.n_headers = 0;
    req.method = "DELETE";
    req.body_len = 0;
    assert_int_equal(get(&s, &req), OK);
    assert_non_null(strstr(buf_str(&s.body), "DELETE / HTTP/1.1\r\n"));
    buf_free(&s.body);
    script_stop(server);
}

static void head_has_headers_only(void **state)
{
    (void)state;
    struct script *server = script_start(echo, NULL);
    struct seen s;
    seen_init(&s);
    struct httpc_request req = request_to(&s, server->url);
    req.method = "HEAD";
    assert_int_equal(get(&s, &req), OK);
    assert_int_equal(s.responses, 1);
    assert_true(s.length > 0);
    assert_int_equal(s.body.len, 0);
    script_stop(server);
}

static void redirects_are_followed_and_only_the_end_is_announced(void **state)
{
    (void)state;
    struct redirect r = {"/end", "302 Found"};
    struct script *server = script_start(redirect, &r);
    struct seen s;
    seen_init(&s);
    struct httpc_request req = request_to(&s, server->url);
    assert_int_equal(get(&s, &req), OK);
    assert_int_equal(s.status, 200);
    assert_int_equal(s.responses, 1);
    assert_string_equal(s.etag, "\"tag\""); /* never the redirect's */
    assert_string_equal(s.type, "text/plain");
    assert_string_equal(s.linked, "\"abc\""); /* only the redirect has it */
    assert_true(str_ends(s.url, "/end"));
    assert_null(strstr(buf_str(&s.body), "moved"));
    buf_clear(&s.body);
    s.responses = 0;
    req.max_redirects = -1;
    assert_int_equal(get(&s, &req), OK);
    assert_int_equal(s.status, 302);
    assert_int_equal(s.responses, 1);
    assert_string_equal(buf_str(&s.body), "moved");
    buf_free(&s.body);
    script_stop(server);
}

static void redirects_are_bounded(void **state)
{
    (void)state;
    struct redirect r = {"/again", "307 Temporary Redirect"};
    struct script *server = script_start(redirect, &r);
    struct seen s;
    seen_init(&s);
    struct httpc_request req = request_to(&s, server->url);
    req.max_redirects = 3;
    assert_int_equal(get(&s, &req), ERR_UPSTREAM);
    assert_non_null(strstr(s.message, "more than 3 times"));
    assert_int_equal(server->requests, 4);
    assert_int_equal(s.responses, 0);
    str_copy(r.to, sizeof(r.to), "file:///etc/passwd");
    assert_int_equal(get(&s, &req), ERR_NETWORK);
    assert_int_equal(s.body.len, 0);
    script_stop(server);
}

static void credentials_stay_at_their_host(void **state)
{
    (void)state;
    struct script *other = script_start(echo, NULL);
    struct redirect r = {.status = "302 Found"};
    struct script *server = script_start(redirect, &r);
    struct seen s;
    seen_init(&s);
    const char *headers[] = {"Authorization: Bearer secret"};
    struct httpc_request req = request_to(&s, server->url);
    req.headers = headers;
    req.n_headers = 1;
    str_printf(r.to, sizeof(r.to), "%s/end", other->url);
    assert_int_equal(get(&s, &req), OK);
    assert_int_equal(other->requests, 1);
    assert_null(strstr(buf_str(&s.body), "secret"));
    buf_clear(&s.body);
    str_copy(r.to, sizeof(r.to), "/end");
    assert_int_equal(get(&s, &req), OK);
    assert_non_null(strstr(buf_str(&s.body), "Authorization: Bearer secret"));
    buf_free(&s.body);
    script_stop(server);
    script_stop(other);
}

static void failures_say_what_to_do(void **state)
{
    (void)state;
    struct seen s;
    seen_init(&s);
    struct script *server = script_start(echo, NULL);
    char url[64];
    str_copy(url, sizeof(url), server->url);
    script_stop(server); /* nobody listens there now */
    struct httpc_request req = request_to(&s, url);
    assert_int_equal(get(&s, &req), ERR_NETWORK);
    assert_non_null(strstr(s.message, "refused the connection; is the server running there?"));
    assert_non_null(strstr(s.message, url + 7)); /* host:port */
    req.url = "http://no-such-host.invalid/x?key=hidden";
    assert_int_equal(get(&s, &req), ERR_NETWORK);
    assert_non_null(strstr(s.message, "no-such-host.invalid"));
    assert_null(strstr(s.message, "hidden"));
    const struct {
        script_handler handler;
        enum err code;
        const char *says;
    } cases[] = {{cut, ERR_NETWORK, "was cut"},
                 {no_answer, ERR_NETWORK, "was cut"},
                 {not_http, ERR_UPSTREAM, "doesn't answer in HTTP"},
                 {huge_headers, ERR_UPSTREAM, "headers"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        server = script_start(cases[i].handler, NULL);
        req.url = server->url;
        assert_int_equal(get(&s, &req), cases[i].code);
        assert_non_null(strstr(s.message, cases[i].says));
        script_stop(server);
    }
    buf_free(&s.body);
}

static void wrong_requests_are_refused_at_once(void **state)
{
    (void)state;
    struct seen s;
    seen_init(&s);
    const char *urls[] = {"",      "file:///etc/passwd", "ftp://a/", "http://",
                          "hello", "http://a/\r\nX: y"};
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        struct httpc_request req = request_to(&s, urls[i]);
        assert_int_equal(get(&s, &req), ERR_INVALID);
    }
    const char *headers[] = {"X-A: b\r\nX-Smuggled: c"};
    struct httpc_request req = request_to(&s, "http://127.0.0.1:1/");
    req.headers = headers;
    req.n_headers = 1;
    assert_int_equal(get(&s, &req), ERR_INVALID);
    req.n_headers = 0;
    req.method = "GET /x HTTP/1.1\r\nA: b";
    assert_int_equal(get(&s, &req), ERR_INVALID);
    assert_int_equal(s.responses, 0);
}

static void an_idle_server_times_out(void **state)
{
    (void)state;
    struct script *server = script_start(stall, NULL);
    struct seen s;
    seen_init(&s);
    struct httpc_request req = request_to(&s, server->url);
    req.idle_timeout_ms = 300;
    int64_t before = clock_mono_ms();
    assert_int_equal(get(&s, &req), ERR_TIMEOUT);
    int64_t took = clock_mono_ms() - before;
    assert_in_range(took, 290, 5000);
    assert_string_equal(buf_str(&s.body), "begun");
    assert_non_null(strstr(s.message, "0.3 s"));
    buf_free(&s.body);
    script_stop(server);
}

/* A full backlog: the kernel drops further connection attempts. */
static void connecting_times_out(void **state)
{
    (void)state;
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(in);
    int listener = socket(AF_INET, SOCK_STREAM, 0), fill[8];
    assert_int_equal(bind(listener, (struct sockaddr *)&in, len), 0);
    assert_int_equal(listen(listener, 0), 0);
    getsockname(listener, (struct sockaddr *)&in, &len);
    for (int i = 0; i < 8; i++) {
        fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)!connect(fill[i], (struct sockaddr *)&in, len);
    }
    struct seen s;
    seen_init(&s);
    char url[64];
    str_printf(url, sizeof(url), "http://127.0.0.1:%d/", ntohs(in.sin_port));
    struct httpc_request req = request_to(&s, url);
    req.connect_timeout_ms = 300;
    req.idle_timeout_ms = 100; /* doesn't count before the connection stands */
    assert_int_equal(get(&s, &req), ERR_TIMEOUT);
    assert_non_null(strstr(s.message, "no connection to"));
    for (int i = 0; i < 8; i++) close(fill[i]);
    close(listener);
}

static void callbacks_can_stop(void **state)
{
    (void)state;
    struct script *server = script_start(echo, NULL);
    struct seen s;
    seen_init(&s);
    struct httpc_request req = request_to(&s, server->url);
    s.stop_at_response = true;
    assert_int_equal(get(&s, &req), ERR_CANCELLED);
    assert_int_equal(s.body.len, 0);
    s.stop_at_response = false;
    s.stop_at_data = true;
    assert_int_equal(get(&s, &req), ERR_CANCELLED);
    assert_true(s.body.len > 0);
    buf_free(&s.body);
    script_stop(server);
}

static void cancel_ends_a_running_transfer(void **state)
{
    (void)state;
    struct script *server = script_start(stall, NULL);
    struct httpc *h = new_httpc();
    struct seen s;
    uint64_t id;
    seen_init(&s);
    struct httpc_request req = request_to(&s, server->url);
    req.on_done = on_done;
    assert_int_equal(httpc_start(h, &req, &id, NULL), OK);
    httpc_cancel(h, id + 1000); /* nobody's */
    while (atomic_load(&server->requests) == 0) usleep(1000);
    usleep(400000); /* now the net thread sleeps, curl's own timers are past */
    int64_t before = clock_mono_ms();
    httpc_cancel(h, id);
    seen_wait(&s);
    assert_in_range(clock_mono_ms() - before, 0, 300); /* it did not wait for a poll's end */
    assert_int_equal(s.code, ERR_CANCELLED);
    httpc_cancel(h, id); /* gone: ignored */
    httpc_free(h);
    assert_int_equal(s.dones, 1);
    buf_free(&s.body);
    script_stop(server);
}

static void free_ends_what_runs(void **state)
{
    (void)state;
    struct script *server = script_start(stall, NULL);
    struct httpc *h = new_httpc();
    struct seen s[3];
    for (int i = 0; i < 3; i++) {
        seen_init(&s[i]);
        struct httpc_request req = request_to(&s[i], server->url);
        req.on_done = on_done;
        assert_int_equal(httpc_start(h, &req, NULL, NULL), OK);
        if (i == 0)
            while (atomic_load(&server->requests) == 0) usleep(1000);
    }
    httpc_free(h);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(s[i].dones, 1);
        assert_int_equal(s[i].code, ERR_STOPPING);
        buf_free(&s[i].body);
    }
    script_stop(server);
}

static void unix_sockets_are_spoken(void **state)
{
    (void)state;
    char dir[] = "/tmp/hearth-test-XXXXXX", path[64];
    assert_non_null(mkdtemp(dir));
    str_printf(path, sizeof(path), "%s/sock", dir);
    struct script *server = script_start_at(path, echo, NULL);
    struct seen s;
    seen_init(&s);
    struct httpc_request req = request_to(&s, "http://hub/v1/models");
    req.unix_socket = path;
    assert_int_equal(get(&s, &req), OK);
    assert_non_null(strstr(buf_str(&s.body), "GET /v1/models HTTP/1.1\r\nHost: hub\r\n"));
    buf_free(&s.body);
    script_stop(server);
    unlink(path);
    rmdir(dir);
}

static void the_first_byte_has_a_limit_of_its_own(void **state)
{
    (void)state;
    struct script *server = script_start(stall, NULL);
    struct seen s;
    seen_init(&s);
    struct httpc_request req = request_to(&s, server->url);
    req.idle_timeout_ms = 200;
    req.first_byte_timeout_ms = 20000; /* the first bytes come at once: idle counts then */
    assert_int_equal(get(&s, &req), ERR_TIMEOUT);
    assert_non_null(strstr(s.message, "0.2 s"));
    req.idle_timeout_ms = 20000;
    req.total_timeout_ms = 300;
    assert_int_equal(get(&s, &req), ERR_TIMEOUT);
    assert_non_null(strstr(s.message, "0.3 s"));
    buf_free(&s.body);
    script_stop(server);
}

static bool silent(struct script *s, struct script_request *req)
{
    (void)s;
    char byte;
    return recv(req->fd, &byte, 1, 0) > 0;
}

static void a_server_that_says_nothing_is_left(void **state)
{
    (void)state;
    struct script *server = script_start(silent, NULL);
    struct seen s;
    seen_init(&s);
    struct httpc_request req = request_to(&s, server->url);
    req.idle_timeout_ms = 20000;
    req.first_byte_timeout_ms = 300;
    int64_t before = clock_mono_ms();
    assert_int_equal(get(&s, &req), ERR_TIMEOUT);
    assert_in_range(clock_mono_ms() - before, 290, 15000);
    assert_non_null(strstr(s.message, "0.3 s"));
    script_stop(server);
}

/* A callback of the net thread starts the next one, in whichever part of its loop it is. */
struct relay {
    struct seen seen;
    struct httpc *h;
    const char *url;
    atomic_int left;
};

static void relay_done(void *ctx, const struct httpc_response *r, const struct error *error)
{
    struct relay *relay = ctx;
    struct httpc_request req = {.url = relay->url, .on_done = relay_done, .ctx = relay};
    if (error || atomic_fetch_sub(&relay->left, 1) <= 1 ||
        httpc_start(relay->h, &req, NULL, NULL) != OK)
        on_done(&relay->seen, r, error);
}

static void callbacks_can_start_the_next_one(void **state)
{
    (void)state;
    struct script *server = script_start(echo, NULL);
    struct relay relay = {.h = new_httpc(), .url = server->url};
    seen_init(&relay.seen);
    atomic_store(&relay.left, 300);
    struct httpc_request req = {.url = server->url, .on_done = relay_done, .ctx = &relay};
    assert_int_equal(httpc_start(relay.h, &req, NULL, NULL), OK);
    seen_wait(&relay.seen);
    assert_int_equal(relay.seen.code, OK);
    assert_int_equal(server->requests, 300);
    httpc_free(relay.h);
    script_stop(server);
}

/* A proxy gets the whole URL. */
static void a_proxy_is_asked_if_there_is_one(void **state)
{
    (void)state;
    struct script *proxy = script_start(echo, NULL);
    struct seen s;
    seen_init(&s);
    struct httpc_request req = request_to(&s, "http://no-such-host.invalid/x");
    req.proxy = proxy->url;
    assert_int_equal(get(&s, &req), OK);
    assert_non_null(strstr(buf_str(&s.body), "GET http://no-such-host.invalid/x HTTP/1.1\r\n"));
    buf_clear(&s.body);
    setenv("http_proxy", proxy->url, 1);
    req.proxy = NULL;
    assert_int_equal(get(&s, &req), OK);
    req.proxy = "";
    assert_int_equal(get(&s, &req), ERR_NETWORK); /* none, whatever the environment says */
    unsetenv("http_proxy");
    buf_free(&s.body);
    script_stop(proxy);
}

/* The last line of the connect log, without its time. */
static void last_line(const char *file, char *dst, size_t size)
{
    struct buf text;
    struct error error;
    int64_t at;
    char when[32] = "";
    buf_init(&text, 1 << 16);
    assert_int_equal(fs_read_file(file, 1 << 16, &text, &error), OK);
    assert_true(text.len > 0 && buf_str(&text)[text.len - 1] == '\n');
    text.data[text.len - 1] = '\0';
    const char *line = strrchr(buf_str(&text), '\n');
    line = line ? line + 1 : buf_str(&text);
    assert_true(strlen(line) > 25 && line[24] == ' ');
    memcpy(when, line, 24);
    assert_true(clock_parse_utc(when, &at));
    assert_true(at <= clock_wall_ms() && at > clock_wall_ms() - 600000);
    str_copy(dst, size, line + 25);
    buf_free(&text);
}

static void every_connection_is_in_the_log(void **state)
{
    (void)state;
    struct script *server = script_start(echo, NULL);
    int64_t all = metric_value(METRIC_outgoing_connections_total);
    int64_t local = metric_value(METRIC_outgoing_local_connections_total);
    struct seen s;
    struct error error;
    char dir[] = "/tmp/hearth-test-XXXXXX", file[64], line[128], expected[128];
    assert_non_null(mkdtemp(dir));
    str_printf(file, sizeof(file), "%s/nowhere/connects", dir);
    assert_int_not_equal(httpc_connects_log(file, &error), OK);
    assert_non_null(strstr(error.msg, file));
    str_printf(file, sizeof(file), "%s/connects", dir);
    assert_int_equal(httpc_connects_log(file, &error), OK);
    seen_init(&s);
    struct httpc_request req = request_to(&s, server->url);
    assert_int_equal(get(&s, &req), OK);
    assert_int_equal(metric_value(METRIC_outgoing_connections_total), all + 1);
    assert_int_equal(metric_value(METRIC_outgoing_local_connections_total), local + 1);
    last_line(file, line, sizeof(line));
    str_printf(expected, sizeof(expected), "%d 127.0.0.1:%d local", (int)getpid(), server->port);
    assert_string_equal(line, expected);
    unlink(file);                    /* as logrotate does it */
    req.url = "http://192.0.2.1:9/"; /* TEST-NET-1: nobody is there */
    req.connect_timeout_ms = 50;
    assert_int_not_equal(get(&s, &req), OK);
    last_line(file, line, sizeof(line));
    str_printf(expected, sizeof(expected), "%d 192.0.2.1:9 outside", (int)getpid());
    assert_string_equal(line, expected);
    assert_int_equal(metric_value(METRIC_outgoing_connections_total), all + 2);
    assert_int_equal(metric_value(METRIC_outgoing_local_connections_total), local + 1);
    assert_int_equal(httpc_connects_log("", &error), OK);
    unlink(file);
    rmdir(dir);
    buf_free(&s.body);
    script_stop(server);
}

enum { THREADS = 4, EACH = 25 };

struct crowd {
    struct httpc *h;
    const char *url;
    atomic_int good;
};

static void *crowd_member(void *arg)
{
    struct crowd *c = arg;
    for (int i = 0; i < EACH; i++) {
        struct seen s;
        seen_init(&s);
        struct httpc_request req = request_to(&s, c->url);
        int status = 0;
        if (httpc_do(c->h, &req, &status, NULL) == OK && status == 200 && s.body.len)
            atomic_fetch_add(&c->good, 1);
        buf_free(&s.body);
    }
    return NULL;
}

static void many_threads_share_one_client(void **state)
{
    (void)state;
    struct script *server = script_start(echo, NULL);
    struct crowd crowd = {.h = new_httpc(), .url = server->url};
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, crowd_member, &crowd);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    assert_int_equal(crowd.good, THREADS * EACH);
    httpc_free(crowd.h);
    script_stop(server);
}

int main(void)
{
    unsetenv("http_proxy");
    unsetenv("all_proxy");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_runs_before_the_first_request),
        cmocka_unit_test(get_brings_status_headers_and_body),
        cmocka_unit_test(post_sends_the_body_as_it_is),
        cmocka_unit_test(head_has_headers_only),
        cmocka_unit_test(redirects_are_followed_and_only_the_end_is_announced),
        cmocka_unit_test(redirects_are_bounded),
        cmocka_unit_test(credentials_stay_at_their_host),
        cmocka_unit_test(failures_say_what_to_do),
        cmocka_unit_test(wrong_requests_are_refused_at_once),
        cmocka_unit_test(an_idle_server_times_out),
        cmocka_unit_test(connecting_times_out),
        cmocka_unit_test(callbacks_can_stop),
        cmocka_unit_test(cancel_ends_a_running_transfer),
        cmocka_unit_test(free_ends_what_runs),
        cmocka_unit_test(unix_sockets_are_spoken),
        cmocka_unit_test(the_first_byte_has_a_limit_of_its_own),
        cmocka_unit_test(a_server_that_says_nothing_is_left),
        cmocka_unit_test(callbacks_can_start_the_next_one),
        cmocka_unit_test(a_proxy_is_asked_if_there_is_one),
        cmocka_unit_test(every_connection_is_in_the_log),
        cmocka_unit_test(many_threads_share_one_client),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
