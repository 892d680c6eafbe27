/* The event stream reader: examples of the WHATWG text, every way to cut the bytes, limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "httpc/sse.h"

/* Events as text: "event|id|data\n" each. */
static bool collect(void *ctx, const struct sse_event *ev)
{
    struct buf *out = ctx;
    assert_int_equal(strlen(ev->data), ev->data_len);
    buf_printf(out, "%s|%s|%s;", ev->event, ev->id, ev->data);
    return true;
}

/* Feeds `in` in pieces of `step` bytes. */
static void feed_in_steps(const char *in, size_t len, size_t step, struct buf *out)
{
    struct sse_reader *r = sse_reader_new(1000, collect, out);
    for (size_t i = 0; i < len; i += step)
        assert_int_equal(sse_feed(r, in + i, len - i < step ? len - i : step, NULL), OK);
    sse_reader_free(r);
}

static void expect(const char *in, const char *events)
{
    for (size_t step = 1; step <= strlen(in) + 1; step++) {
        struct buf out;
        buf_init(&out, 10000);
        feed_in_steps(in, strlen(in), step, &out);
        assert_string_equal(buf_str(&out), events);
        buf_free(&out);
    }
}

static void events_are_read_however_they_are_cut(void **state)
{
    (void)state;
    expect("data: hello\n\n", "message||hello;");
    expect("data: a\ndata: b\n\n", "message||a\nb;");
    expect("event: add\ndata:73857293\n\nevent: remove\ndata: 2153\n\n",
           "add||73857293;remove||2153;");
    expect("data\n\ndata\ndata\n\ndata:", "message||;message||\n;");
    expect("data:test\n\ndata: test\n\ndata:  test\n\n",
           "message||test;message||test;message|| test;");
    expect(": comment\n\ndata: x\n: within\ndata: y\n\n", "message||x\ny;");
    expect("data: cr\r\rdata: crlf\r\n\r\ndata: lf\n\n", "message||cr;message||crlf;message||lf;");
    expect("data: a\r\ndata: b\r\n\r\n", "message||a\nb;");
    expect("\xEF\xBB\xBF"
           "data: bom\n\n",
           "message||bom;");
    expect("data: \xEF\xBB\xBFkept\n\n", "message||\xEF\xBB\xBFkept;");
    expect("id: 7\ndata: a\n\ndata: b\n\nid\ndata: c\n\n", "message|7|a;message|7|b;message||c;");
    expect("retry: 10\nfoo: bar\ndata: x\n\n", "message||x;");
    expect("event: lost\n\ndata: x\n\n", "message||x;");
    expect("data: never ended\n", "");
    expect("DATA: wrong case\n\n", "");
    expect("data: {\"a\":\"b: c\"}\n\n", "message||{\"a\":\"b: c\"};");
}

static void a_nul_in_an_id_is_ignored(void **state)
{
    (void)state;
    static const char in[] = "id: 1\ndata: a\n\nid: 2\0"
                             "3\ndata: b\nevent: \0name\n\n";
    struct buf out;
    buf_init(&out, 1000);
    feed_in_steps(in, sizeof(in) - 1, 3, &out);
    assert_string_equal(buf_str(&out), "message|1|a;message|1|b;");
    buf_free(&out);
}

static void too_large_is_an_error_that_stays(void **state)
{
    (void)state;
    struct buf out;
    struct error error;
    buf_init(&out, 1000);
    struct sse_reader *r = sse_reader_new(20, collect, &out);
    assert_int_equal(sse_feed(r, "data: 0123456789\n\n", 18, &error), OK);
    enum err e = OK;
    for (int i = 0; i < 30 && e == OK; i++) e = sse_feed(r, "x", 1, &error);
    assert_int_equal(e, ERR_TOO_LARGE);
    assert_non_null(strstr(error.msg, "20 bytes"));
    assert_int_equal(sse_feed(r, "\n\ndata: a\n\n", 11, &error), ERR_TOO_LARGE);
    sse_reader_free(r);
    /* many short lines count too */
    r = sse_reader_new(20, collect, &out);
    e = OK;
    for (int i = 0; i < 30 && e == OK; i++) e = sse_feed(r, "data: a\n", 8, &error);
    assert_int_equal(e, ERR_TOO_LARGE);
    sse_reader_free(r);
    assert_string_equal(buf_str(&out), "message||0123456789;");
    buf_free(&out);
}

static bool stop_at_second(void *ctx, const struct sse_event *ev)
{
    (void)ev;
    return ++*(int *)ctx < 2;
}

static void the_listener_can_stop(void **state)
{
    (void)state;
    int n = 0;
    struct sse_reader *r = sse_reader_new(100, stop_at_second, &n);
    const char *in = "data: 1\n\ndata: 2\n\ndata: 3\n\n";
    assert_int_equal(sse_feed(r, in, strlen(in), NULL), ERR_CANCELLED);
    assert_int_equal(n, 2);
    assert_int_equal(sse_feed(r, in, strlen(in), NULL), ERR_CANCELLED);
    assert_int_equal(n, 2);
    sse_reader_free(r);
    sse_reader_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_are_read_however_they_are_cut),
        cmocka_unit_test(a_nul_in_an_id_is_ignored),
        cmocka_unit_test(too_large_is_an_error_that_stays),
        cmocka_unit_test(the_listener_can_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
