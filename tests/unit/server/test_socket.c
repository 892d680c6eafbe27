/* WebSockets over real connections: the handshake, frames well and badly made, messages in their
 * order, cancelling, slow and vanished peers, the hub's end. The client speaks bytes (RFC 6455). */
#include "support.h"

#define HANDSHAKE                                                                                  \
    "GET /socket?q=a%20b HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"                    \
    "Connection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n"                             \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" /* RFC 6455, 1.3 */

enum { OP_CONT = 0, OP_TEXT = 1, OP_BINARY = 2, OP_CLOSE = 8, OP_PING = 9, OP_PONG = 10 };
enum { FIN = 0x80, FRAME_MAX = 1 << 22 };

struct frame {
    int op;
    bool fin;
    size_t len;
    char *text; /* '\0' behind it */
};

static void frame_free(struct frame *f)
{
    free(f->text);
    *f = (struct frame){0};
}

/* ---- the client ------------------------------------------------------------------------------ */

static void put_frame(int fd, int first, const char *data, size_t len)
{
    unsigned char head[14], mask[4] = {0x37, 0xfa, 0x21, 0x3d};
    size_t n = 0;
    head[n++] = (unsigned char)first;
    if (len < 126) {
        head[n++] = (unsigned char)(0x80 | len);
    } else if (len < 65536) {
        head[n++] = 0x80 | 126;
        head[n++] = (unsigned char)(len >> 8);
        head[n++] = (unsigned char)len;
    } else {
        head[n++] = 0x80 | 127;
        for (int i = 7; i >= 0; i--) head[n++] = (unsigned char)((uint64_t)len >> (8 * i));
    }
    char *all = xmalloc(n + 4 + len);
    memcpy(all, head, n);
    memcpy(all + n, mask, 4);
    for (size_t i = 0; i < len; i++) all[n + 4 + i] = (char)(data[i] ^ (char)mask[i % 4]);
    put(fd, all, n + 4 + len);
    free(all);
}

static void say(int fd, const char *text)
{
    put_frame(fd, FIN | OP_TEXT, text, strlen(text));
}

static bool have(struct reader *r, size_t n, int timeout_ms)
{
    while (r->in.len < n)
        if (!more(r, timeout_ms)) return false;
    return true;
}

/* The next frame of the server, which masks none. False: none came, or the connection ended. */
static bool get_frame(struct reader *r, struct frame *f)
{
    *f = (struct frame){0};
    if (!have(r, 2, 10000)) return false;
    const unsigned char *p = (const unsigned char *)r->in.data;
    assert_int_equal(p[1] & 0x80, 0);
    size_t len = p[1] & 0x7f, head = 2;
    if (len == 126) head = 4;
    if (len == 127) head = 10;
    if (!have(r, head, 10000)) return false;
    p = (const unsigned char *)r->in.data;
    if (head > 2) {
        len = 0;
        for (size_t i = 2; i < head; i++) len = len << 8 | p[i];
    }
    assert_true(len < FRAME_MAX);
    if (!have(r, head + len, 10000)) return false;
    f->op = r->in.data[0] & 0x0f;
    f->fin = r->in.data[0] & 0x80;
    f->len = len;
    f->text = xstrndup(r->in.data + head, len);
    memcpy(f->text, r->in.data + head, len);
    buf_consume(&r->in, head + len);
    return true;
}

/* The next text, over pings. */
static void expect_text(struct reader *r, const char *text)
{
    struct frame f;
    do {
        assert_true(get_frame(r, &f));
        if (f.op == OP_PING) frame_free(&f);
    } while (!f.text);
    assert_int_equal(f.op, OP_TEXT);
    assert_true(f.fin);
    assert_string_equal(f.text, text);
    frame_free(&f);
}

static void expect_begin(struct reader *r, const char *begin)
{
    struct frame f;
    assert_true(get_frame(r, &f));
    assert_int_equal(f.op, OP_TEXT);
    assert_true(str_starts(f.text, begin));
    frame_free(&f);
}

/* A close frame with this code, and the end of the connection. */
static void expect_close(struct reader *r, int code)
{
    struct frame f;
    assert_true(get_frame(r, &f));
    assert_int_equal(f.op, OP_CLOSE);
    assert_true(f.len >= 2);
    assert_int_equal((unsigned char)f.text[0] << 8 | (unsigned char)f.text[1], code);
    put_frame(r->fd, FIN | OP_CLOSE, f.text, 2);
    frame_free(&f);
    assert_true(ends_within(r->fd, 10000));
}

static struct reader open_socket_with(int port, const char *head)
{
    struct reader r;
    struct answer a;
    reader_init(&r, dial(port));
    puts_to(r.fd, head);
    assert_true(read_answer(&r, &a, true, 5000));
    assert_int_equal(a.status, 101);
    assert_string_equal(field(&a, "Sec-WebSocket-Accept"), ACCEPT);
    assert_string_equal(field(&a, "Upgrade"), "websocket");
    assert_non_null(field(&a, "X-Request-Id"));
    answer_free(&a);
    return r;
}

static struct reader open_socket(int port)
{
    return open_socket_with(port, HANDSHAKE "\r\n");
}

static void hang_up(struct reader *r)
{
    close(r->fd);
    buf_free(&r->in);
}

/* A server and a socket to it, and their end. */
static struct reader begin(struct fixture *f)
{
    fixture_start(f, default_params(), 2, 16);
    return open_socket(f->port);
}

static void end(struct fixture *f, struct reader *r)
{
    hang_up(r);
    fixture_stop(f);
}

static void assert_refused(int port, const char *head, int status, const char *words)
{
    struct answer a = ask_s(port, head);
    assert_int_equal(a.status, status);
    assert_non_null(strstr(a.body, words));
    if (status == 426) assert_string_equal(field(&a, "Sec-WebSocket-Version"), "13");
    if (status == 426) assert_string_equal(field(&a, "Upgrade"), "websocket");
    answer_free(&a);
}

/* ---- the handshake --------------------------------------------------------------------------- */

static void test_handshake_refused(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, default_params(), 2, 16);
    assert_refused(f.port, "GET /socket HTTP/1.1\r\nHost: localhost\r\n\r\n", 426, "ws://");
    assert_refused(f.port,
                   "GET /socket HTTP/1.1\r\nHost: localhost\r\nUpgrade: h2c\r\n"
                   "Connection: Upgrade\r\n\r\n",
                   426, "ws://");
    assert_refused(f.port,
                   "GET /socket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
                   "Connection: Upgrade\r\nSec-WebSocket-Version: 8\r\n"
                   "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                   426, "version 13");
    assert_refused(f.port,
                   "GET /socket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
                   "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                   "Sec-WebSocket-Key: short\r\n\r\n",
                   400, "Sec-WebSocket-Key");
    assert_refused(f.port, HANDSHAKE "Content-Length: 2\r\n\r\n{}", 400, "no body");
    assert_refused(f.port, "POST /socket HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n",
                   405, "possible: GET");
    fixture_stop(&f);
}

/* A page elsewhere must not reach the hub of whoever looks at it. */
static void test_origins(void **state)
{
    (void)state;
    struct fixture f;
    struct reader r;
    fixture_start(&f, default_params(), 2, 16);
    assert_refused(f.port, HANDSHAKE "Origin: https://evil.example\r\n\r\n", 403,
                   "ALLOWED_ORIGINS");
    assert_refused(f.port, HANDSHAKE "Origin: null\r\n\r\n", 403, "ALLOWED_ORIGINS");
    assert_refused(f.port, HANDSHAKE "Origin: http://localhost.evil.example\r\n\r\n", 403,
                   "ALLOWED_ORIGINS");
    r = open_socket_with(f.port, HANDSHAKE "Origin: https://app.example\r\n\r\n");
    hang_up(&r);
    r = open_socket_with(f.port, HANDSHAKE "Origin: http://LOCALHOST\r\n\r\n"); /* its own */
    end(&f, &r);
}

/* ---- messages -------------------------------------------------------------------------------- */

static void test_messages(void **state)
{
    (void)state;
    struct fixture f;
    struct reader r = begin(&f);
    say(r.fd, "hello\nyou");
    expect_begin(&r, "id=req-");
    expect_text(&r, "hello");
    expect_text(&r, "you");
    say(r.fd, "whole");
    expect_text(&r, "one\nmessage");
    /* In pieces, with a ping between them. */
    put_frame(r.fd, OP_TEXT, "in ", 3);
    put_frame(r.fd, FIN | OP_PING, "still there?", 12);
    put_frame(r.fd, FIN | OP_CONT, "pieces", 6);
    struct frame pong;
    assert_true(get_frame(&r, &pong));
    assert_int_equal(pong.op, OP_PONG);
    assert_string_equal(pong.text, "still there?");
    frame_free(&pong);
    expect_begin(&r, "id=req-");
    expect_text(&r, "in pieces");
    /* What nobody answers is an error, not silence. */
    say(r.fd, "forget");
    expect_begin(&r, "{\"error\"");
    put_frame(r.fd, FIN | OP_CLOSE, "\x03\xe8", 2);
    expect_close(&r, 1000);
    end(&f, &r);
}

/* The handshake's query and header are the messages' as well; the first one came with it. */
static void test_early_message(void **state)
{
    (void)state;
    struct fixture f;
    char early[512];
    fixture_start(&f, default_params(), 2, 16);
    static const char masked[] = "\x81\x82\x01\x02\x03\x04\x69\x6b"; /* "hi" */
    str_printf(early, sizeof early, "%s\r\n%s", HANDSHAKE, masked);
    struct reader r = open_socket_with(f.port, early);
    struct frame first;
    assert_true(get_frame(&r, &first));
    assert_non_null(strstr(first.text, " q=a b type=application/json"));
    frame_free(&first);
    expect_text(&r, "hi");
    end(&f, &r);
}

/* Many at once are answered in their order, also beyond what waits inside. */
static void test_order(void **state)
{
    (void)state;
    struct fixture f;
    char text[32];
    fixture_start(&f, default_params(), 4, 64);
    struct reader r = open_socket(f.port);
    for (int i = 0; i < 500; i++) {
        str_printf(text, sizeof text, "number %d", i);
        say(r.fd, text);
    }
    for (int i = 0; i < 500; i++) {
        str_printf(text, sizeof text, "number %d", i);
        expect_begin(&r, "id=req-");
        expect_text(&r, text);
    }
    end(&f, &r);
}

static void test_large(void **state)
{
    (void)state;
    struct fixture f;
    size_t len = 900 * 1024;
    char *text = xmalloc(len + 1);
    memset(text, 'y', len);
    text[len] = '\0';
    struct reader r = begin(&f);
    say(r.fd, text);
    expect_begin(&r, "id=req-");
    expect_text(&r, text);
    free(text);
    end(&f, &r);
}

/* ---- cancelling ------------------------------------------------------------------------------ */

static void test_cancel(void **state)
{
    (void)state;
    struct fixture f;
    struct reader r = begin(&f);
    say(r.fd, "wait");
    expect_text(&r, "waiting");
    wait_streams(1);
    say(r.fd, "never answered");
    say(r.fd, "{\"type\": \"cancel\"}"); /* overtakes both, and is answered itself */
    expect_begin(&r, "id=req-");
    expect_text(&r, "{\"type\": \"cancel\"}");
    assert_int_equal(atomic_load(&world.closes), 1);
    end_streams();
    say(r.fd, "and on");
    expect_begin(&r, "id=req-");
    expect_text(&r, "and on");
    end(&f, &r);
}

/* Whoever leaves, with a word or without, cancels what is being answered. */
static void test_leaving(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, default_params(), 2, 16);
    for (int how = 0; how < 3; how++) {
        struct reader r = open_socket(f.port);
        say(r.fd, "wait");
        expect_text(&r, "waiting");
        wait_streams(1);
        if (how == 0) put_frame(r.fd, FIN | OP_CLOSE, "\x03\xe8", 2);
        if (how == 1) shutdown(r.fd, SHUT_WR);
        if (how == 2) close(r.fd);
        wait_until(atomic_load(&world.closes) == how + 1, 10000);
        if (how != 2) close(r.fd);
        end_streams();
        buf_free(&r.in);
    }
    fixture_stop(&f);
}

/* ---- what peers do wrong --------------------------------------------------------------------- */

static void test_bad_frames(void **state)
{
    (void)state;
    struct fixture f;
    struct reader r = begin(&f);
    put_frame(r.fd, FIN | 0x40 | OP_TEXT, "reserved bit", 12);
    expect_close(&r, 1002);
    hang_up(&r);
    r = open_socket(f.port);
    put_frame(r.fd, FIN | OP_CONT, "of nothing", 10);
    expect_close(&r, 1002);
    hang_up(&r);
    r = open_socket(f.port);
    put(r.fd, "\x81\x02hi", 4); /* not masked: a proxy could be fooled */
    expect_close(&r, 1002);
    hang_up(&r);
    r = open_socket(f.port);
    put_frame(r.fd, FIN | OP_TEXT, "\xff\xfe", 2); /* not UTF-8 */
    expect_close(&r, 1007);
    hang_up(&r);
    r = open_socket(f.port);
    put_frame(r.fd, FIN | OP_BINARY, "bytes", 5);
    expect_close(&r, 1003);
    hang_up(&r);
    r = open_socket(f.port); /* more than max_body, by its length alone */
    put(r.fd, "\x81\xff\x00\x00\x00\x7f\x00\x00\x00\x00\x01\x02\x03\x04more", 18);
    expect_close(&r, 1009);
    end(&f, &r);
}

static void test_handlers_that_break_off(void **state)
{
    (void)state;
    struct fixture f;
    struct reader r = begin(&f);
    say(r.fd, "break"); /* what it wrote may have gone out already */
    struct frame f1;
    assert_true(get_frame(&r, &f1));
    if (strcmp(f1.text, "half") != 0)
        assert_true(str_starts(f1.text, "{\"error\""));
    else
        expect_begin(&r, "{\"error\"");
    frame_free(&f1);
    say(r.fd, "and on");
    expect_begin(&r, "id=req-");
    expect_text(&r, "and on");
    end(&f, &r);
}

static void test_slow_reader(void **state)
{
    (void)state;
    struct fixture f;
    struct reader r = begin(&f);
    say(r.fd, "flood");
    wait_until(atomic_load(&world.flood_end) == 1, 20000); /* its writer is told */
    assert_int_equal(atomic_load(&world.closes), 1);
    assert_true(ends_within(r.fd, 20000));
    end(&f, &r);
}

/* It is asked for a sign of life; without one it has vanished. Who answers stays. */
static void test_silent_peer(void **state)
{
    (void)state;
    struct fixture f;
    struct frame ping;
    struct server_params params = default_params();
    params.ping_ms = 1000;
    fixture_start(&f, params, 2, 16);
    struct reader r = open_socket(f.port), quiet = open_socket(f.port);
    char unread[64];
    int pings = 0;
    while (get(quiet.fd, unread, sizeof unread, 0) != 0) { /* until its end */
        assert_true(get_frame(&r, &ping));
        assert_int_equal(ping.op, OP_PING);
        put_frame(r.fd, FIN | OP_PONG, ping.text, ping.len);
        frame_free(&ping);
        assert_true(pings++ < 20);
    }
    assert_true(pings >= 1);
    say(r.fd, "still here");
    do {
        assert_true(get_frame(&r, &ping));
        bool text = ping.op == OP_TEXT;
        frame_free(&ping);
        if (text) break;
    } while (true);
    hang_up(&quiet);
    end(&f, &r);
}

/* ---- the hub's end --------------------------------------------------------------------------- */

struct drain {
    struct server *server;
    atomic_bool done;
};

static void *drain_thread(void *arg)
{
    struct drain *d = arg;
    server_drain(d->server, 20000);
    atomic_store(&d->done, true);
    return NULL;
}

/* An idle one is closed at once, one that is answered when that is done. */
static void test_drain(void **state)
{
    (void)state;
    struct fixture f;
    pthread_t thread;
    fixture_start(&f, default_params(), 2, 16);
    struct reader idle = open_socket(f.port), busy = open_socket(f.port);
    say(busy.fd, "wait");
    expect_text(&busy, "waiting");
    wait_streams(1);
    struct drain d = {.server = f.server};
    assert_int_equal(pthread_create(&thread, NULL, drain_thread, &d), 0);
    expect_close(&idle, 1001);
    assert_false(atomic_load(&d.done));
    sink_write(world.streams[0], "the end", 7);
    end_streams();
    expect_text(&busy, "the end");
    expect_close(&busy, 1001);
    pthread_join(thread, NULL);
    hang_up(&idle);
    hang_up(&busy);
    fixture_stop(&f);
}

/* Without a drain: sinks that handlers still hold are closed, and stay valid. */
static void test_stop(void **state)
{
    (void)state;
    struct fixture f;
    struct reader r = begin(&f);
    say(r.fd, "wait");
    expect_text(&r, "waiting");
    wait_streams(1);
    fixture_stop(&f);
    assert_int_equal(atomic_load(&world.closes), 1);
    assert_int_equal(sink_write(world.streams[0], "x\n", 2), ERR_CLOSED);
    end_streams();
    hang_up(&r);
}

static void test_nothing_leaks(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, default_params(), 2, 16);
    int before = open_descriptors();
    for (int i = 0; i < 300; i++) {
        struct reader r = open_socket(f.port);
        say(r.fd, "hello");
        if (i % 2) expect_begin(&r, "id=req-");
        hang_up(&r);
    }
    wait_until(open_descriptors() <= before, 10000);
    fixture_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_handshake_refused),
        cmocka_unit_test(test_origins),
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_early_message),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_leaving),
        cmocka_unit_test(test_bad_frames),
        cmocka_unit_test(test_handlers_that_break_off),
        cmocka_unit_test(test_slow_reader),
        cmocka_unit_test(test_silent_peer),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_stop),
        cmocka_unit_test(test_nothing_leaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
