/* Reading JSON: what is refused and with which words, typed getters, json_dump. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/json.h"

static json_t *parse(const char *text)
{
    json_t *v = NULL;
    struct error error;
    if (json_parse(text, strlen(text), &v, &error)) fail_msg("%s: %s", text, error.msg);
    return v;
}

static void refuse(const char *text, size_t len, const char *words)
{
    json_t *v = NULL;
    struct error error;
    assert_int_equal(json_parse(text, len, &v, &error), ERR_JSON);
    assert_null(v);
    if (!strstr(error.msg, words)) fail_msg("'%s' does not say '%s'", error.msg, words);
}

static void test_documents_of_any_type(void **state)
{
    (void)state;
    const char *good[] = {"{}",
                          "[]",
                          "null",
                          "true",
                          "1",
                          "-0.5e-3",
                          "\"x\"",
                          " 1 ",
                          "[[]]",
                          "1e-999",
                          "\"\\u00e9\"",
                          "\"\\ud83d\\udd25\"",
                          "9007199254740993",
                          "[\"[[[[\", \"\\\"[{\"]"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) json_decref(parse(good[i]));
}

static void test_bad_documents(void **state)
{
    (void)state;
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"", "it is empty"},
        {"{\"a\": 1,}", "line 1, column 9"},
        {"{\n  \"a\": tru\n}", "line 2"},
        {"[1] x", "end of file expected"},
        {"{\"a\":1,\"a\":2}", "duplicate"},
        {"[NaN]", "not valid JSON"},
        {"[Infinity]", "not valid JSON"},
        {"[1e999]", "real number overflow"},
        {"[99999999999999999999]", "too big integer"},
        {"[01]", "not valid JSON"},
        {"['a']", "not valid JSON"},
        {"[1 /* c */]", "not valid JSON"},
        {"\"\\ud800\"", "Unicode"},
        {"\"\\ud800x\"", "Unicode"},
        {"\"\\udc00\"", "Unicode"},
        {"\"a\\u0000b\"", "u0000"},
        {"\"a\nb\"", "line 1"},
        {"\"\xFF\"", "0xff"},
        {"\"\xC0\x80\"", "0xc0"},
        {"\"\xED\xA0\x80\"", "0xed"},
        {"[", "line 1"},
        {"\"abc", "line 1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refuse(cases[i].text, strlen(cases[i].text), cases[i].words);
    refuse("[1]\0", 4, "not valid JSON");
    refuse("[\"a\0b\"]", 7, "not valid JSON");
    refuse("\xEF\xBB\xBF{}", 5, "not valid JSON");
}

/* The document is n brackets deep. */
static char *nested(size_t n, char open, char close)
{
    char *text = malloc(2 * n + 1);
    assert_non_null(text);
    memset(text, open, n);
    memset(text + n, close, n);
    text[2 * n] = '\0';
    return text;
}

static void test_depth_is_bounded(void **state)
{
    (void)state;
    char *text = nested(JSON_DEPTH_MAX, '[', ']');
    json_decref(parse(text));
    free(text);
    text = nested(JSON_DEPTH_MAX + 1, '[', ']');
    refuse(text, strlen(text), "nested deeper than 128 levels at line 1, column 129");
    free(text);
    text = nested(1000000, '[', ']');
    refuse(text, strlen(text), "nested deeper");
    free(text);
    text = nested(100000, '{', '}');
    text[2] = '\n';
    refuse(text, strlen(text), "nested deeper than 128 levels at line 2, column 127");
    free(text);
    /* Brackets in strings are text; unbalanced ones are jansson's to refuse. */
    text = nested(1000, '[', ']');
    text[0] = text[1999] = '"';
    json_decref(parse(text));
    free(text);
    refuse("]]]][", 5, "not valid JSON");
}

static void test_number_of_values_is_bounded(void **state)
{
    (void)state;
    size_t len = 2 * ((size_t)JSON_VALUES_MAX + 10);
    char *text = malloc(len);
    assert_non_null(text);
    for (size_t i = 0; i < len; i += 2) memcpy(text + i, "1,", 2);
    text[0] = '[';
    json_t *v = NULL;
    struct error error;
    assert_int_equal(json_parse(text, len, &v, &error), ERR_TOO_LARGE);
    assert_non_null(strstr(error.msg, "4000000 values"));
    free(text);
}

static void test_absent_and_null_leave_the_default(void **state)
{
    (void)state;
    json_t *o = parse("{\"n\": null}");
    struct error e;
    const char *names[] = {"n", "absent"};
    for (int i = 0; i < 2; i++) {
        const char *s = "default";
        int64_t n = 7;
        double d = 0.5;
        bool b = true;
        const json_t *child = o;
        assert_int_equal(json_get_string(o, names[i], "", &s, &e), OK);
        assert_int_equal(json_get_int(o, names[i], "", 0, 1, &n, &e), OK);
        assert_int_equal(json_get_double(o, names[i], "", 0, 0.1, &d, &e), OK);
        assert_int_equal(json_get_bool(o, names[i], "", &b, &e), OK);
        assert_int_equal(json_get_object(o, names[i], "", &child, &e), OK);
        assert_int_equal(json_get_array(o, names[i], "", &child, &e), OK);
        assert_string_equal(s, "default");
        assert_true(n == 7 && d == 0.5 && b && child == o);
    }
    json_decref(o);
}

static void test_values_are_read(void **state)
{
    (void)state;
    json_t *o =
        parse("{\"s\":\"x\",\"i\":-3,\"w\":256.0,\"d\":0.25,\"b\":false,\"o\":{},\"a\":[]}");
    struct error e;
    const char *s = NULL;
    int64_t n = 0;
    double d = 0;
    bool b = true;
    const json_t *child = NULL;
    assert_int_equal(json_get_string(o, "s", "", &s, &e), OK);
    assert_string_equal(s, "x");
    assert_int_equal(json_get_int(o, "i", "", -5, 5, &n, &e), OK);
    assert_int_equal(n, -3);
    assert_int_equal(json_get_int(o, "w", "", 0, 1000, &n, &e), OK);
    assert_int_equal(n, 256);
    assert_int_equal(json_get_double(o, "d", "", 0, 1, &d, &e), OK);
    assert_true(d == 0.25);
    assert_int_equal(json_get_double(o, "i", "", -INFINITY, INFINITY, &d, &e), OK);
    assert_true(d == -3);
    assert_int_equal(json_get_bool(o, "b", "", &b, &e), OK);
    assert_false(b);
    assert_int_equal(json_get_object(o, "o", "", &child, &e), OK);
    assert_ptr_equal(child, json_object_get(o, "o"));
    assert_int_equal(json_get_array(o, "a", "", &child, &e), OK);
    assert_ptr_equal(child, json_object_get(o, "a"));
    json_decref(o);
}

static void assert_error(const struct error *e, const char *param, const char *msg)
{
    assert_int_equal(e->code, ERR_INVALID);
    assert_string_equal(e->param, param);
    assert_string_equal(e->msg, msg);
}

static void test_wrong_types_name_the_member(void **state)
{
    (void)state;
    json_t *o = parse("{\"v\":\"x\",\"n\":1,\"t\":true,\"a/b~\":[]}");
    struct error e;
    const char *s = "default";
    int64_t n = 7;
    double d = 7;
    bool b = true;
    const json_t *child = NULL;
    assert_int_equal(json_get_double(o, "v", "", 0, 1, &d, &e), ERR_INVALID);
    assert_error(&e, "/v", "v must be a number, got a string");
    assert_int_equal(json_get_int(o, "v", "/messages/0", 0, 1, &n, &e), ERR_INVALID);
    assert_error(&e, "/messages/0/v", "messages[0].v must be an integer, got a string");
    assert_int_equal(json_get_string(o, "n", "/a/b", &s, &e), ERR_INVALID);
    assert_error(&e, "/a/b/n", "a.b.n must be a string, got a number");
    assert_int_equal(json_get_bool(o, "n", "", &b, &e), ERR_INVALID);
    assert_error(&e, "/n", "n must be a boolean, got a number");
    assert_int_equal(json_get_object(o, "t", "", &child, &e), ERR_INVALID);
    assert_error(&e, "/t", "t must be an object, got a boolean");
    assert_int_equal(json_get_array(o, "t", "", &child, &e), ERR_INVALID);
    assert_error(&e, "/t", "t must be an array, got a boolean");
    assert_int_equal(json_get_string(o, "a/b~", "/x~1y", &s, &e), ERR_INVALID);
    assert_error(&e, "/x~1y/a~1b~0", "x/y.a/b~ must be a string, got an array");
    assert_string_equal(s, "default");
    assert_true(n == 7 && d == 7 && b && !child);
    assert_int_equal(json_get_string(json_object_get(o, "n"), "x", "", &s, &e), ERR_INVALID);
    assert_error(&e, "", "the body must be an object, got a number");
    assert_int_equal(json_get_string(json_object_get(o, "n"), "x", "/m/1", &s, &e), ERR_INVALID);
    assert_error(&e, "/m/1", "m[1] must be an object, got a number");
    json_decref(o);
}

static void test_ranges(void **state)
{
    (void)state;
    json_t *o =
        parse("{\"p\":7,\"t\":-0.5,\"n\":0,\"f\":1.5,\"huge\":1e300,\"max\":9223372036854775807}");
    struct error e;
    int64_t n = 0;
    double d = 0;
    assert_int_equal(json_get_double(o, "p", "", 0, 1, &d, &e), ERR_INVALID);
    assert_error(&e, "/p", "p must be between 0 and 1, got 7");
    assert_int_equal(json_get_double(o, "t", "", 0, INFINITY, &d, &e), ERR_INVALID);
    assert_error(&e, "/t", "t must be at least 0, got -0.5");
    assert_int_equal(json_get_int(o, "n", "", 1, 16, &n, &e), ERR_INVALID);
    assert_error(&e, "/n", "n must be between 1 and 16, got 0");
    assert_int_equal(json_get_int(o, "n", "", 1, INT64_MAX, &n, &e), ERR_INVALID);
    assert_error(&e, "/n", "n must be at least 1, got 0");
    assert_int_equal(json_get_int(o, "p", "", INT64_MIN, 5, &n, &e), ERR_INVALID);
    assert_error(&e, "/p", "p must be at most 5, got 7");
    assert_int_equal(json_get_int(o, "f", "", 0, 9, &n, &e), ERR_INVALID);
    assert_error(&e, "/f", "f must be an integer, got a fraction");
    assert_int_equal(json_get_int(o, "huge", "", 0, 9, &n, &e), ERR_INVALID);
    assert_error(&e, "/huge", "huge must be between 0 and 9, got 1e+300");
    assert_int_equal(json_get_int(o, "huge", "", INT64_MIN, INT64_MAX, &n, &e), ERR_INVALID);
    assert_int_equal(json_get_int(o, "max", "", 0, INT64_MAX, &n, &e), OK);
    assert_true(n == INT64_MAX);
    json_decref(o);
}

static void test_long_names_are_cut(void **state)
{
    (void)state;
    char name[1000], ptr[1000];
    memset(name, 'n', sizeof name);
    memset(ptr, 'p', sizeof ptr);
    name[999] = ptr[999] = '\0';
    ptr[0] = '/';
    json_t *o = json_object();
    json_object_set_new(o, name, json_true());
    struct error e;
    const char *s = NULL;
    assert_int_equal(json_get_string(o, name, ptr, &s, &e), ERR_INVALID);
    assert_non_null(strstr(e.msg, "must be a string, got a boolean"));
    json_decref(o);
}

static void test_dump_round_trips_compactly_in_order(void **state)
{
    (void)state;
    const char *text =
        "{\"z\":[1,-2.5,0.1,true,false,null],\"a\":{\"q\":\"\\\"\\n\xC3\xA9\"},\"e\":[],\"o\":{}}";
    json_t *v = parse(text);
    struct buf out;
    buf_init(&out, 1000);
    buf_puts(&out, "x=");
    assert_int_equal(json_dump(v, &out), OK);
    assert_string_equal(buf_str(&out),
                        "x={\"z\":[1,-2.5,0.1,true,false,null],\"a\":{\"q\":\"\\\"\\n\xC3\xA9\"},"
                        "\"e\":[],\"o\":{}}");
    buf_free(&out);
    buf_init(&out, 10);
    assert_int_equal(json_dump(v, &out), ERR_TOO_LARGE);
    buf_free(&out);
#if HEARTH_FAULTS
    fault_arm(FAULT_alloc, 1, false);
    buf_init(&out, 1000);
    assert_int_equal(json_dump(v, &out), ERR_NOMEM);
    fault_arm(FAULT_alloc, 0, false);
    buf_free(&out);
#endif
    json_decref(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_documents_of_any_type),
        cmocka_unit_test(test_bad_documents),
        cmocka_unit_test(test_depth_is_bounded),
        cmocka_unit_test(test_number_of_values_is_bounded),
        cmocka_unit_test(test_absent_and_null_leave_the_default),
        cmocka_unit_test(test_values_are_read),
        cmocka_unit_test(test_wrong_types_name_the_member),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_long_names_are_cut),
        cmocka_unit_test(test_dump_round_trips_compactly_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
