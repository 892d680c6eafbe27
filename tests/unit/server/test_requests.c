/* What the server does with one request: routing, limits, ids, CORS, protocol errors. */
#include <dlfcn.h>
#include <microhttpd.h>

#include "support.h"

static struct fixture F;

static int setup(void **state)
{
    (void)state;
    fixture_start(&F, default_params(), 2, 16);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_stop(&F);
    return 0;
}

#define HOST "Host: localhost\r\n"

static void health_is_answered(void **state)
{
    (void)state;
    struct answer a = ask_s(F.port, "GET /health HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(a.status, 200);
    assert_string_equal(a.body, "{\"status\":\"ok\"}");
    assert_string_equal(field(&a, "Content-Type"), "application/json");
    assert_non_null(field(&a, "Date"));
    assert_null(field(&a, "Access-Control-Allow-Origin"));
    answer_free(&a);
}

static void pool_handlers_see_the_request(void **state)
{
    (void)state;
    struct answer a = ask_s(F.port, "POST /echo/a%20b?q=x%26y+z&r= HTTP/1.1\r\n" HOST
                                    "X-Custom:   spaced  \r\nContent-Length: 5\r\n\r\nhello");
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.body, "method=2 path=/echo/a b "));
    assert_non_null(strstr(a.body, "custom=spaced q=x&y z p0=a%20b len=5\nhello"));
    assert_string_equal(field(&a, "X-Echo"), "yes");
    answer_free(&a);
}

static void request_id_goes_round(void **state)
{
    (void)state;
    struct answer a =
        ask_s(F.port, "GET /health HTTP/1.1\r\n" HOST "X-Request-Id: my.id-1_2\r\n\r\n");
    assert_string_equal(field(&a, "X-Request-Id"), "my.id-1_2");
    answer_free(&a);
    a = ask_s(F.port, "GET /health HTTP/1.1\r\n" HOST "X-Request-Id: a b<script>\r\n\r\n");
    assert_int_equal(strncmp(field(&a, "X-Request-Id"), "req-", 4), 0);
    answer_free(&a);
    char request[512], id[130];
    memset(id, 'a', 129);
    id[129] = '\0';
    snprintf(request, sizeof request, "GET /nope HTTP/1.1\r\n" HOST "X-Request-Id: %s\r\n\r\n", id);
    a = ask_s(F.port, request);
    assert_int_equal(strncmp(field(&a, "X-Request-Id"), "req-", 4), 0); /* 129 is one too many */
    answer_free(&a);
    snprintf(request, sizeof request, "GET /nope HTTP/1.1\r\n" HOST "X-Request-Id: %s\r\n\r\n",
             id + 1);
    a = ask_s(F.port, request);
    assert_string_equal(field(&a, "X-Request-Id"), id + 1);
    assert_non_null(strstr(a.body, id + 1));
    answer_free(&a);
}

static void unknown_paths_and_methods(void **state)
{
    (void)state;
    struct answer a = ask_s(F.port, "GET /nope HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(a.status, 404);
    assert_error_shape(&a, "not_found");
    answer_free(&a);
    a = ask_s(F.port, "DELETE /echo HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(a.status, 405);
    assert_error_shape(&a, "method_not_allowed");
    assert_string_equal(field(&a, "Allow"), "POST, GET, HEAD");
    answer_free(&a);
    a = ask_s(F.port, "BREW /health HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(a.status, 405);
    assert_string_equal(field(&a, "Allow"), "GET, HEAD");
    answer_free(&a);
}

static void head_and_options(void **state)
{
    (void)state;
    struct answer a = ask_s(F.port, "HEAD /health HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(a.status, 200);
    assert_string_equal(field(&a, "Content-Length"), "15");
    answer_free(&a);
    a = ask_s(F.port, "OPTIONS /echo HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(a.status, 204);
    assert_string_equal(field(&a, "Allow"), "POST, GET, HEAD, OPTIONS");
    answer_free(&a);
    a = ask_s(F.port, "OPTIONS * HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(a.status, 204);
    answer_free(&a);
    a = ask_s(F.port, "OPTIONS /nope HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(a.status, 404);
    answer_free(&a);
}

static void head_of_a_stream_ends(void **state)
{
    (void)state;
    struct reader r;
    reader_init(&r, dial(F.port));
    puts_to(r.fd, "HEAD /stream HTTP/1.1\r\n" HOST "\r\n");
    struct answer a;
    assert_true(read_answer(&r, &a, true, 3000));
    assert_string_equal(field(&a, "Content-Type"), "text/event-stream");
    answer_free(&a);
    while (more(&r, 3000)) {
    }
    assert_int_equal(r.in.len, 0); /* no body, not even an empty chunked one */
    wait_until(atomic_load(&world.closes) == 1, 2000);
    wait_until(atomic_load(&world.handled) == 1, 2000); /* it may have been too late to write */
    end_streams();
    close(r.fd);
    buf_free(&r.in);
}

static void cors(void **state)
{
    (void)state;
    struct answer a =
        ask_s(F.port, "GET /health HTTP/1.1\r\n" HOST "Origin: http://localhost:3000\r\n\r\n");
    assert_string_equal(field(&a, "Access-Control-Allow-Origin"), "http://localhost:3000");
    assert_string_equal(field(&a, "Access-Control-Allow-Credentials"), "true");
    assert_string_equal(field(&a, "Vary"), "Origin");
    answer_free(&a);
    static const char *const strangers[] = {"http://localhost:30000", "http://localhost:300",
                                            "http://evil.example", "null", "http://localhost"};
    for (size_t i = 0; i < sizeof strangers / sizeof *strangers; i++) {
        char request[256];
        snprintf(request, sizeof request, "GET /nope HTTP/1.1\r\n" HOST "Origin: %s\r\n\r\n",
                 strangers[i]);
        a = ask_s(F.port, request);
        assert_null(field(&a, "Access-Control-Allow-Origin"));
        assert_null(field(&a, "Access-Control-Allow-Credentials"));
        assert_string_equal(field(&a, "Vary"), "Origin");
        answer_free(&a);
    }
    a = ask_s(F.port, "OPTIONS /echo HTTP/1.1\r\n" HOST "Origin: https://app.example\r\n"
                      "Access-Control-Request-Method: POST\r\n"
                      "Access-Control-Request-Headers: authorization,x-stainless-lang\r\n\r\n");
    assert_int_equal(a.status, 204);
    assert_string_equal(field(&a, "Access-Control-Allow-Origin"), "https://app.example");
    assert_non_null(strstr(field(&a, "Access-Control-Allow-Methods"), "POST"));
    assert_string_equal(field(&a, "Access-Control-Allow-Headers"),
                        "authorization,x-stainless-lang");
    assert_string_equal(field(&a, "Access-Control-Max-Age"), "600");
    answer_free(&a);
    /* Errors carry the headers too, or a page could not read why it was refused. */
    a = ask_s(F.port, "GET /nope HTTP/1.1\r\n" HOST "Origin: https://app.example\r\n\r\n");
    assert_string_equal(field(&a, "Access-Control-Allow-Origin"), "https://app.example");
    answer_free(&a);
}

static void any_origin_is_never_with_credentials(void **state)
{
    (void)state;
    struct fixture f;
    struct server_params params = default_params();
    params.allowed_origins = "*";
    fixture_start(&f, params, 1, 4);
    struct answer a =
        ask_s(f.port, "GET /health HTTP/1.1\r\n" HOST "Origin: http://any.example\r\n\r\n");
    assert_string_equal(field(&a, "Access-Control-Allow-Origin"), "*");
    assert_null(field(&a, "Access-Control-Allow-Credentials"));
    answer_free(&a);
    fixture_stop(&f);
}

static void rebinding_is_refused(void **state)
{
    (void)state;
    struct answer a = ask_s(F.port, "GET /health HTTP/1.1\r\nHost: evil.example:80\r\n\r\n");
    assert_int_equal(a.status, 403);
    assert_error_shape(&a, "forbidden");
    assert_non_null(strstr(a.body, "evil.example"));
    answer_free(&a);
    a = ask_s(F.port, "GET http://evil.example/health HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(a.status, 403);
    answer_free(&a);
    static const char *const fine[] = {"localhost:1234", "127.0.0.1", "127.8.9.1:80", "[::1]:80",
                                       "app.example"};
    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++) {
        char request[256];
        snprintf(request, sizeof request, "GET /health HTTP/1.1\r\nHost: %s\r\n\r\n", fine[i]);
        a = ask_s(F.port, request);
        assert_int_equal(a.status, 200);
        answer_free(&a);
    }
}

static void targets(void **state)
{
    (void)state;
    struct answer a = ask_s(F.port, "GET http://localhost/health HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(a.status, 200);
    answer_free(&a);
    static const char *const bad[] = {
        "GET /health%00x HTTP/1.1\r\n" HOST "\r\n", "GET /he%zzalth HTTP/1.1\r\n" HOST "\r\n",
        "GET /a b HTTP/1.1\r\n" HOST "\r\n",        "GET health HTTP/1.1\r\n" HOST "\r\n",
        "GET /a%2 HTTP/1.1\r\n" HOST "\r\n",        "GET /a?q=%f HTTP/1.1\r\n" HOST "\r\n",
        "GET /a\x01 HTTP/1.1\r\n" HOST "\r\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        a = ask_s(F.port, bad[i]);
        assert_int_equal(a.status, 400);
        assert_error_shape(&a, "invalid_request");
        answer_free(&a);
    }
    static const char nul[] = "GET /health\0/x HTTP/1.1\r\n" HOST "\r\n";
    a = ask(F.port, nul, sizeof nul - 1);
    assert_int_equal(a.status, 400);
    answer_free(&a);
}

static void framing_that_could_smuggle_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5, 5\r\n\r\nhello",
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: -5\r\n\r\nhello",
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: +5\r\n\r\nhello",
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: abc\r\n\r\nhello",
        "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "POST /echo HTTP/1.1\r\n" HOST
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        "POST /echo HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length : 5\r\n\r\nhello",
        "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
        "GET /health HTTP/1.1\r\n" HOST HOST "\r\n",
        "GET /health HTTP/1.1\r\n\r\n",
        "GET /health HTTP/1.1\r\nno colon here\r\n\r\n",
        "GET /health HTTP/1.1\r\n" HOST "X: a\rb\r\n\r\n",
        "GET /health\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct reader r;
        reader_init(&r, dial(F.port));
        puts_to(r.fd, bad[i]);
        struct answer a;
        if (!read_answer(&r, &a, false, 3000)) fail_msg("no answer to %s", bad[i]);
        if (a.status != 400) fail_msg("%d to %s", a.status, bad[i]);
        assert_error_shape(&a, "invalid_request");
        assert_string_equal(field(&a, "Connection"), "close");
        answer_free(&a);
        assert_int_equal(r.in.len, 0); /* one answer, once */
        shutdown(r.fd, SHUT_WR);
        assert_true(ends_within(r.fd, 3000));
        close(r.fd);
        buf_free(&r.in);
    }
    assert_int_equal(atomic_load(&world.handled), 0);
}

/* The errors that libmicrohttpd finds by itself are ours to word only while its calls arrive here
 * (src/server/mhd_errors.c). The tests above fail if they don't; this one says why. */
static void libmicrohttpd_calls_our_queue(void **state)
{
    (void)state;
    Dl_info info;
    assert_int_not_equal(dladdr(dlsym(RTLD_DEFAULT, "MHD_queue_response"), &info), 0);
    assert_ptr_equal(info.dli_saddr, (void *)MHD_queue_response);
    assert_null(strstr(info.dli_fname, "libmicrohttpd"));
}

static void versions(void **state)
{
    (void)state;
    struct answer a = ask_s(F.port, "GET /health HTTP/1.0\r\n\r\n");
    assert_int_equal(a.status, 200);
    assert_string_equal(field(&a, "Connection"), "close");
    answer_free(&a);
    a = ask_s(F.port, "GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_string_equal(field(&a, "Connection"), "Keep-Alive");
    answer_free(&a);
    a = ask_s(F.port, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert_int_equal(a.status, 505);
    assert_error_shape(&a, "unsupported");
    answer_free(&a);
}

static void stream_over_http_1_0_ends_with_the_connection(void **state)
{
    (void)state;
    struct reader r;
    reader_init(&r, dial(F.port));
    puts_to(r.fd, "GET /stream HTTP/1.0\r\n\r\n");
    wait_streams(1);
    end_streams();
    struct answer a;
    assert_true(read_answer(&r, &a, false, 3000));
    assert_null(field(&a, "Transfer-Encoding"));
    assert_string_equal(a.body, "data: hello\n\n");
    answer_free(&a);
    close(r.fd);
    buf_free(&r.in);
}

static void large_heads(void **state)
{
    (void)state;
    /* Just above the limit, far above it, and a request line alone above it. */
    static const size_t sizes[] = {12 * 1024, 15 * 1024, 64 * 1024, 300 * 1024};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct buf request;
        buf_init(&request, 1 << 20);
        buf_puts(&request, "GET /health HTTP/1.1\r\n" HOST "Cookie: ");
        for (size_t n = 0; n < sizes[i]; n++) buf_putc(&request, 'c');
        buf_puts(&request, "\r\n\r\n");
        struct answer a = ask(F.port, request.data, request.len);
        assert_int_equal(a.status, 431);
        assert_error_shape(&a, "headers_too_large");
        assert_non_null(strstr(a.body, "12288"));
        answer_free(&a);

        buf_clear(&request);
        buf_puts(&request, "GET /");
        for (size_t n = 0; n < sizes[i]; n++) buf_putc(&request, 'u');
        buf_puts(&request, " HTTP/1.1\r\n" HOST "\r\n");
        a = ask(F.port, request.data, request.len);
        assert_int_equal(a.status, 414);
        assert_error_shape(&a, "headers_too_large");
        answer_free(&a);
        buf_free(&request);
    }
    /* Many small fields, and one just within the limit. */
    struct buf request;
    buf_init(&request, 1 << 20);
    buf_puts(&request, "GET /health HTTP/1.1\r\n" HOST);
    for (int n = 0; n < 3000; n++) buf_puts(&request, "A:b\r\n");
    buf_puts(&request, "\r\n");
    struct answer a = ask(F.port, request.data, request.len);
    assert_int_equal(a.status, 431);
    answer_free(&a);
    static const struct {
        const char *name;
        int len;
    } fine[] = {{"X-Long: ", 12000}, {"Cookie: ", 6000}};
    for (size_t i = 0; i < 2; i++) {
        buf_clear(&request);
        buf_printf(&request, "GET /health HTTP/1.1\r\n" HOST "%s", fine[i].name);
        for (int n = 0; n < fine[i].len; n++) buf_putc(&request, 'c');
        buf_puts(&request, "\r\n\r\n");
        a = ask(F.port, request.data, request.len);
        assert_int_equal(a.status, 200);
        answer_free(&a);
    }
    buf_free(&request);
}

static void bodies(void **state)
{
    (void)state;
    struct answer a =
        ask_s(F.port, "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
                      "5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nTrailer: t\r\n\r\n");
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.body, "len=11\nhello world"));
    answer_free(&a);
    /* The largest body there may be, inline and in the pool. */
    static const char *const paths[] = {"/echo", "/inline"};
    for (int i = 0; i < 2; i++) {
        struct buf request;
        buf_init(&request, 2 << 20);
        buf_printf(&request, "POST %s HTTP/1.1\r\n" HOST "Content-Length: 1048576\r\n\r\n",
                   paths[i]);
        for (int n = 0; n < 1048576; n++) buf_putc(&request, (char)('a' + n % 26));
        a = ask(F.port, request.data, request.len);
        assert_int_equal(a.status, 200);
        assert_int_equal(
            memcmp(a.body + a.body_len - 1048576, request.data + request.len - 1048576, 1048576),
            0);
        answer_free(&a);
        buf_free(&request);
    }
}

static void too_large_bodies(void **state)
{
    (void)state;
    /* 200 MB declared: refused from its head, before a byte of it. */
    struct answer a =
        ask_s(F.port, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 209715200\r\n\r\n");
    assert_int_equal(a.status, 413);
    assert_error_shape(&a, "too_large");
    assert_non_null(strstr(a.body, "209715200"));
    answer_free(&a);
    a = ask_s(F.port, "POST /echo HTTP/1.1\r\n" HOST
                      "Content-Length: 209715200\r\nExpect: 100-continue\r\n\r\n");
    assert_int_equal(a.status, 413);
    answer_free(&a);
    a = ask_s(F.port,
              "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 99999999999999999999999999\r\n\r\n");
    assert_int_equal(a.status, 413);
    assert_error_shape(&a, "too_large");
    answer_free(&a);
    /* A client that writes everything first still gets to read the answer. */
    struct buf body;
    buf_init(&body, 16 << 20);
    for (int n = 0; n < 4 << 20; n++) buf_putc(&body, 'b');
    struct reader r;
    reader_init(&r, dial(F.port));
    puts_to(r.fd, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 4194304\r\n\r\n");
    put(r.fd, body.data, body.len);
    assert_true(read_answer(&r, &a, false, 3000));
    assert_int_equal(a.status, 413);
    answer_free(&a);
    close(r.fd);
    buf_free(&r.in);
    /* Chunked: noticed on the way. */
    reader_init(&r, dial(F.port));
    puts_to(r.fd, "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n400000\r\n");
    put(r.fd, body.data, body.len);
    assert_true(read_answer(&r, &a, false, 3000));
    assert_int_equal(a.status, 413);
    assert_error_shape(&a, "too_large");
    answer_free(&a);
    close(r.fd);
    buf_free(&r.in);
    buf_free(&body);
    assert_int_equal(atomic_load(&world.handled), 0);
}

static void expect_continue(void **state)
{
    (void)state;
    struct reader r;
    reader_init(&r, dial(F.port));
    puts_to(r.fd,
            "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    struct answer a;
    assert_true(read_answer(&r, &a, false, 3000));
    assert_int_equal(a.status, 100);
    answer_free(&a);
    puts_to(r.fd, "hello");
    assert_true(read_answer(&r, &a, false, 3000));
    assert_int_equal(a.status, 200);
    answer_free(&a);
    /* Refused without the body being asked for. */
    puts_to(r.fd,
            "POST /nope HTTP/1.1\r\n" HOST "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert_true(read_answer(&r, &a, false, 3000));
    assert_int_equal(a.status, 404);
    assert_string_equal(field(&a, "Connection"), "close");
    answer_free(&a);
    close(r.fd);
    buf_free(&r.in);
}

static void keep_alive_survives_errors(void **state)
{
    (void)state;
    struct reader r;
    reader_init(&r, dial(F.port));
    static const struct {
        const char *request;
        int status;
    } steps[] = {
        {"GET /nope HTTP/1.1\r\n" HOST "\r\n", 404},
        {"POST /nope HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello", 404},
        {"POST /health HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello", 405},
        {"POST /health HTTP/1.1\r\n" HOST
         "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
         405},
        {"GET /%zz HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET /forget HTTP/1.1\r\n" HOST "\r\n", 500},
        {"GET /health HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403},
        {"POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello", 200},
        {"\r\n\r\nGET /health HTTP/1.1\r\n" HOST "\r\n", 200},
    };
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        puts_to(r.fd, steps[i].request);
        struct answer a;
        assert_true(read_answer(&r, &a, false, 3000));
        if (a.status != steps[i].status) fail_msg("%d to %s", a.status, steps[i].request);
        assert_null(field(&a, "Connection"));
        answer_free(&a);
    }
    close(r.fd);
    buf_free(&r.in);
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    (void)state;
    enum { N = 60 };
    struct buf request;
    buf_init(&request, 1 << 20);
    for (int i = 0; i < N; i++) {
        if (i % 3 == 0) buf_puts(&request, "GET /health HTTP/1.1\r\n" HOST "\r\n");
        if (i % 3 == 1) buf_printf(&request, "GET /echo/n%d HTTP/1.1\r\n" HOST "\r\n", i);
        if (i % 3 == 2)
            buf_printf(&request, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\n%03d", i);
    }
    struct reader r;
    reader_init(&r, dial(F.port));
    put(r.fd, request.data, request.len);
    buf_free(&request);
    for (int i = 0; i < N; i++) {
        struct answer a;
        assert_true(read_answer(&r, &a, false, 3000));
        assert_int_equal(a.status, 200);
        char wanted[32];
        snprintf(wanted, sizeof wanted, i % 3 == 1 ? "p0=n%d " : "\n%03d", i);
        assert_non_null(i % 3 ? strstr(a.body, wanted) : strstr(a.body, "ok"));
        answer_free(&a);
    }
    close(r.fd);
    buf_free(&r.in);
}

static void request_in_single_bytes(void **state)
{
    (void)state;
    static const char request[] =
        "POST /echo?q=1 HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello";
    struct reader r;
    reader_init(&r, dial(F.port));
    for (size_t i = 0; i < sizeof request - 1; i++) {
        put(r.fd, request + i, 1);
        usleep(200);
    }
    struct answer a;
    assert_true(read_answer(&r, &a, false, 3000));
    assert_non_null(strstr(a.body, "q=1 p0=- len=5\nhello"));
    answer_free(&a);
    close(r.fd);
    buf_free(&r.in);
}

#if HEARTH_FAULTS
/* The Nth allocation fails, for each N that one request reaches: an answer or a closed connection,
 * and the next request is served. */
static void short_memory_is_survived(void **state)
{
    (void)state;
    static const char request[] =
        "POST /echo/x?q=1 HTTP/1.1\r\n" HOST "X-Custom: y\r\nTransfer-Encoding: chunked\r\n\r\n"
        "5\r\nhello\r\n0\r\n\r\n";
    int answered = 0, refused = 0, cut = 0;
    for (long n = 1; n <= 40; n++) {
        fault_arm(FAULT_alloc, n, false);
        int fd = dial(F.port);
        put(fd, request, sizeof request - 1);
        char head[16] = "";
        ssize_t len = get(fd, head, sizeof head - 1, 3000);
        fault_arm(FAULT_alloc, 0, false);
        assert_true(len >= 0); /* neither silence nor a hang */
        close(fd);
        if (len == 0)
            cut++;
        else if (strncmp(head, "HTTP/1.1 200", 12) == 0)
            answered++;
        else
            refused++;
        struct answer a = ask_s(F.port, "GET /health HTTP/1.1\r\n" HOST "\r\n");
        assert_int_equal(a.status, 200);
        answer_free(&a);
    }
    assert_true(answered > 0 && refused > 0 && cut > 0);
}
#endif

static void start_says_what_is_wrong(void **state)
{
    (void)state;
    struct server *s = NULL;
    struct error error;
    struct server_params params = default_params();
    params.pool = F.pool;
    params.port = F.port;
    assert_int_equal(server_start(&params, &s, &error), ERR_CONFLICT);
    assert_non_null(strstr(error.msg, "in use"));
    assert_non_null(strstr(error.msg, "--port"));
    params.host = "192.0.2.1";
    assert_int_equal(server_start(&params, &s, &error), ERR_INVALID);
    assert_non_null(strstr(error.msg, "192.0.2.1"));
    params.host = "no such host";
    assert_int_equal(server_start(&params, &s, &error), ERR_INVALID);
    params.host = "localhost";
    params.port = 0;
    assert_int_equal(server_start(&params, &s, &error), OK);
    server_free(s);
}

static void all_interfaces_answer_to_any_name(void **state)
{
    (void)state;
    static const char *const hosts[] = {"0.0.0.0", "::"};
    for (int i = 0; i < 2; i++) {
        struct fixture f;
        struct server_params params = default_params();
        params.host = hosts[i];
        fixture_start(&f, params, 1, 4);
        struct answer a = ask_s(f.port, "GET /health HTTP/1.1\r\nHost: hub.example\r\n\r\n");
        assert_int_equal(a.status, 200);
        answer_free(&a);
        fixture_stop(&f);
    }
}

int main(void)
{
    struct error error;
    (void)!log_open(LOG_ERROR, false, NULL, &error);
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(health_is_answered),
        T(pool_handlers_see_the_request),
        T(request_id_goes_round),
        T(unknown_paths_and_methods),
        T(head_and_options),
        T(head_of_a_stream_ends),
        T(cors),
        T(any_origin_is_never_with_credentials),
        T(rebinding_is_refused),
        T(targets),
        T(framing_that_could_smuggle_is_refused),
        T(libmicrohttpd_calls_our_queue),
        T(versions),
        T(stream_over_http_1_0_ends_with_the_connection),
        T(large_heads),
        T(bodies),
        T(too_large_bodies),
        T(expect_continue),
        T(keep_alive_survives_errors),
        T(pipelined_requests_are_answered_in_order),
        T(request_in_single_bytes),
#if HEARTH_FAULTS
        T(short_memory_is_survived),
#endif
        T(start_says_what_is_wrong),
        T(all_interfaces_answer_to_any_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
