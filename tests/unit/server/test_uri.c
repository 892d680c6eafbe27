/* Request targets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "server/uri.h"

/* Exactly as much memory as promised, so that a sanitizer sees one byte too many. */
static char *storage;

static enum err parse_n(const char *target, size_t len, struct uri *uri, struct error *error)
{
    free(storage);
    storage = malloc(uri_storage(len));
    char *copy = malloc(len ? len : 1);
    memcpy(copy, target, len);
    enum err err = uri_parse(copy, len, storage, uri, error);
    free(copy);
    return err;
}

static void is(const char *target, const char *raw, const char *path)
{
    struct uri uri;
    struct error error;
    if (parse_n(target, strlen(target), &uri, &error) != OK) fail_msg("%s: %s", target, error.msg);
    assert_string_equal(uri.raw_path, raw);
    assert_string_equal(uri.path, path);
}

static void paths(void **state)
{
    (void)state;
    is("/", "/", "/");
    is("*", "*", "*");
    is("/a/b", "/a/b", "/a/b");
    is("/a?b=c", "/a", "/a");
    is("/a?", "/a", "/a");
    is("/m/a%2Fb%20c", "/m/a%2Fb%20c", "/m/a/b c");
    is("/a+b", "/a+b", "/a+b");
    is("/%e2%82%AC", "/%e2%82%AC", "/\xe2\x82\xac");
    is("//x", "//x", "//x");
    is("http://h:1/a?b", "/a", "/a");
    is("HTTPS://h", "/", "/");
    is("http://h?q=1", "/", "/");
}

static void refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",     "a",       "/a b",      "/a\tb",     "/\x7f",
                                      "/%",   "/%4",     "/%g0",      "/%0g",      "/%00",
                                      "/a?%", "/a?x=%",  "/a?%00",    "**",        "*/",
                                      "?a",   "http://", "http:///a", "ftp://h/a", "h:443"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct uri uri;
        struct error error = {0};
        if (parse_n(bad[i], strlen(bad[i]), &uri, &error) != ERR_INVALID)
            fail_msg("'%s' was taken", bad[i]);
        assert_true(error.msg[0]);
    }
    struct uri uri;
    struct error error;
    assert_int_equal(parse_n("/a\0b", 4, &uri, &error), ERR_INVALID);
}

static void authority(void **state)
{
    (void)state;
    struct uri uri;
    struct error error;
    assert_int_equal(parse_n("http://host:80/x", 16, &uri, &error), OK);
    assert_string_equal(uri.authority, "host:80");
    assert_int_equal(parse_n("/x", 2, &uri, &error), OK);
    assert_null(uri.authority);
}

static void queries(void **state)
{
    (void)state;
    struct uri uri;
    struct error error;
    static const char target[] = "/a?x=1&y=a%26b+c&&=no&z&x=2&e=&%C3%A4=u=v";
    assert_int_equal(parse_n(target, sizeof target - 1, &uri, &error), OK);
    assert_string_equal(uri_query(&uri, "x"), "1");
    assert_string_equal(uri_query(&uri, "y"), "a&b c");
    assert_string_equal(uri_query(&uri, "z"), "");
    assert_string_equal(uri_query(&uri, "e"), "");
    assert_string_equal(uri_query(&uri, "\xc3\xa4"), "u=v");
    assert_null(uri_query(&uri, "1"));
    assert_null(uri_query(&uri, ""));
    assert_int_equal(parse_n("/a", 2, &uri, &error), OK);
    assert_null(uri_query(&uri, "x"));
    /* The worst case for its storage. */
    assert_int_equal(parse_n("/?a&b&c&d&e&f&g&h&i&j", 21, &uri, &error), OK);
    assert_string_equal(uri_query(&uri, "j"), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths),
        cmocka_unit_test(refused),
        cmocka_unit_test(authority),
        cmocka_unit_test(queries),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(storage);
    return failed;
}
