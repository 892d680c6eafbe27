/* multipart/form-data: whole, in pieces of every size, and malformed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "api/multipart.h"
#include "base/buf.h"
#include "base/str.h"
#include "support/multipart_text.h"

static struct error why;

static const struct multipart_ops ops = {multipart_text_begin, multipart_text_data,
                                         multipart_text_end};

static enum err feed_pieces(const char *type, const char *body, size_t len, size_t piece,
                            struct buf *out)
{
    struct multipart *m;
    buf_clear(out);
    enum err e = multipart_new(type, &ops, out, &m, &why);
    if (e) return e;
    for (size_t i = 0; !e && i < len; i += piece)
        e = multipart_feed(m, body + i, len - i < piece ? len - i : piece, &why);
    enum err end = multipart_finish(m, &why);
    multipart_free(m);
    return e ? e : end;
}

static void expect_n(const char *body, size_t len, const char *wanted)
{
    struct buf out;
    buf_init(&out, 1 << 20);
    for (size_t piece = 1; piece <= len; piece++) {
        enum err e = feed_pieces("multipart/form-data; boundary=XX", body, len, piece, &out);
        if (e) fail_msg("pieces of %zu: %s", piece, why.msg);
        assert_string_equal(buf_str(&out), wanted);
    }
    buf_free(&out);
}

static void expect(const char *body, const char *wanted)
{
    expect_n(body, strlen(body), wanted);
}

static void refuse(const char *body)
{
    struct buf out;
    size_t len = strlen(body);
    buf_init(&out, 1 << 20);
    for (size_t piece = 1; piece <= len + 1; piece++)
        assert_int_equal(feed_pieces("multipart/form-data; boundary=XX", body, len, piece, &out),
                         ERR_INVALID);
    buf_free(&out);
}

#define FILE_HEAD "Content-Disposition: form-data; name=\"f\"; filename=\"a.txt\"\r\n"

static void test_forms(void **state)
{
    (void)state;
    expect("--XX\r\n" FILE_HEAD "Content-Type: text/plain\r\n\r\nhello\r\n--XX--\r\n",
           "[f|a.txt|text/plain]hello;");
    expect("preamble\r\n--XX\r\n" FILE_HEAD "\r\nhello\r\n--XX\r\n"
           "content-disposition:form-data;name=x\r\n\r\n1\r\n--XX--epilogue",
           "[f|a.txt|]hello;[x|-|]1;");
    expect("--XX  \r\n" FILE_HEAD "\r\n\r\n--XX--", "[f|a.txt|];");
    expect("--XX\r\n" FILE_HEAD "\r\n--XX--", "[f|a.txt|];"); /* no line for no content */
    expect("--XX--", "");
}

/* Contents that look like a boundary for a while. */
static void test_near_boundaries(void **state)
{
    (void)state;
    expect("--XX\r\n" FILE_HEAD "\r\n\r\r\n\r\n-\r\n--\r\n--X\r\n--Y\r\n--XX--",
           "[f|a.txt|]\r\r\n\r\n-\r\n--\r\n--X\r\n--Y;");
    expect("--XX\r\n" FILE_HEAD "\r\n--X\r\n--XX--", "[f|a.txt|]--X;");
    expect("--XX\r\n" FILE_HEAD "\r\n\n--XX\r\n--XX--", "[f|a.txt|]\n--XX;");
    expect("--XX\r\n" FILE_HEAD "\r\na--XX--\r\n--XX--", "[f|a.txt|]a--XX--;");
}

static void test_names(void **state)
{
    (void)state;
#define NAMED(disposition, wanted)                                                                 \
    expect("--XX\r\nContent-Disposition: form-data" disposition "\r\n\r\n1\r\n--XX--", wanted "1"  \
                                                                                              ";")
    NAMED("; name=\"a b\"", "[a b|-|]");
    NAMED("; name=\"a\\\"b\"; filename=\"c%22d\"", "[a\"b|c\"d|]");
    NAMED("; name=a; filename=\"C:\\dir\\x.txt\"", "[a|C:\\dir\\x.txt|]");
    NAMED("; filename=\"a;name=b\"; name=\"c\"", "[c|a;name=b|]");
    NAMED("; name=a; filename=\"old\"; filename*=UTF-8''na%C3%AFve.txt", "[a|na\xc3\xafve.txt|]");
    NAMED("; name=a; filename=\"old\"; filename*=latin1''x", "[a|old|]");
    NAMED("; name=a; filename=\"\"", "[a||]");
    NAMED(" ; NAME = a ; x ; y=\"1;2\"", "[a|-|]");
}

static void test_malformed(void **state)
{
    (void)state;
    refuse("");
    refuse("--XX");
    refuse("--XX\r\n" FILE_HEAD "\r\nhello");
    refuse("--XX\r\n" FILE_HEAD "\r\nhello\r\n--XX");
    refuse("--XX\r\n" FILE_HEAD "\r\nhello\r\n--XX-x");
    refuse("--XXhello\r\n");
    refuse("--XX\rx");
    refuse("--XX\r\n\r\n--XX--");
    refuse("--XX\r\nContent-Type: text/plain\r\n\r\n--XX--");
    refuse("--XX\r\nno colon\r\n\r\n--XX--");
    refuse("--XX\r\n: value\r\n\r\n--XX--");
    refuse("--XX\r\nContent-Disposition: attachment; name=a\r\n\r\n1\r\n--XX--");
    refuse("--XX\r\nContent-Disposition: form-data; name=\"a\r\n\r\n1\r\n--XX--");
    refuse("--XX\r\nContent-Disposition: form-data; name=\"a\"b\r\n\r\n1\r\n--XX--");
    refuse("--XX\r\nContent-Disposition: form-data; filename=a\r\n\r\n1\r\n--XX--");
}

static void test_binary(void **state)
{
    (void)state;
    static const char body[] = "--XX\r\n" FILE_HEAD "\r\n\0\xff\r\n\0\r\n--XX--";
    struct buf out;
    buf_init(&out, 1 << 20);
    for (size_t piece = 1; piece < sizeof body; piece++) {
        assert_int_equal(
            feed_pieces("multipart/form-data; boundary=XX", body, sizeof body - 1, piece, &out),
            OK);
        static const char wanted[] = "[f|a.txt|]\0\xff\r\n\0;";
        assert_int_equal(out.len, sizeof wanted - 1);
        assert_memory_equal(out.data, wanted, out.len);
    }
    static const char nul[] =
        "--XX\r\nContent-Disposition: form-data; name=\"a\0\"\r\n\r\n1\r\n--XX--";
    assert_int_equal(feed_pieces("multipart/form-data; boundary=XX", nul, sizeof nul - 1, 7, &out),
                     ERR_INVALID);
    buf_free(&out);
}

static void test_limits(void **state)
{
    (void)state;
    struct buf body, out;
    buf_init(&body, 1 << 20);
    buf_init(&out, 1 << 20);
    const char *type = "multipart/form-data; boundary=XX";
    for (int i = 0; i <= MULTIPART_PARTS_MAX; i++)
        buf_puts(&body, "--XX\r\n" FILE_HEAD "\r\n1\r\n");
    buf_puts(&body, "--XX--");
    assert_int_equal(feed_pieces(type, body.data, body.len, 1000, &out), ERR_INVALID);
    buf_clear(&body);
    buf_puts(&body, "--XX\r\n" FILE_HEAD "X-Y: ");
    for (int i = 0; i < MULTIPART_HEADER_MAX; i++) buf_putc(&body, 'x');
    buf_puts(&body, "\r\n\r\n1\r\n--XX--");
    assert_int_equal(feed_pieces(type, body.data, body.len, 1000, &out), ERR_INVALID);
    buf_free(&body);
    buf_free(&out);
}

static void test_boundaries_in_the_header(void **state)
{
    (void)state;
    struct multipart *m;
    static const char *const good[] = {
        "multipart/form-data; boundary=abc", "Multipart/Form-Data;boundary=\"a b'()+_,-./:=?\"",
        "multipart/form-data; charset=utf-8; Boundary=x",
        "multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxkTrZu0gW"};
    static const char *const bad[] = {
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=\"x",
        "multipart/form-data; boundary=\"a \"",
        "multipart/form-data; boundary=a\"b",
        ("multipart/form-data; boundary="
         "0123456789012345678901234567890123456789012345678901234567890123456789x")};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(multipart_new(good[i], &ops, NULL, &m, &why), OK);
        multipart_free(m);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(multipart_new(bad[i], &ops, NULL, &m, &why), ERR_INVALID);
    assert_int_equal(multipart_new("application/json", &ops, NULL, &m, &why), ERR_MEDIA_TYPE);
    assert_int_equal(multipart_new(NULL, &ops, NULL, &m, &why), ERR_MEDIA_TYPE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_near_boundaries),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_binary),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_boundaries_in_the_header),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
