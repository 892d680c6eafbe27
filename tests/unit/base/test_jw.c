/* JSON writer: nesting, escapes, numbers, failing memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <float.h>
#include <locale.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/json.h"

static void test_commas_and_nesting(void **state)
{
    (void)state;
    struct buf out;
    struct jw w;
    buf_init(&out, 1000);
    jw_init(&w, &out);
    jw_obj(&w);
    jw_kstr(&w, "s", "x");
    jw_key(&w, "a");
    jw_arr(&w);
    jw_int(&w, 1);
    jw_arr(&w);
    jw_arr_end(&w);
    jw_obj(&w);
    jw_obj_end(&w);
    jw_str(&w, NULL);
    jw_raw(&w, "[0]", 3);
    jw_arr_end(&w);
    jw_kint(&w, "i", -5);
    jw_kdouble(&w, "d", 0.5);
    jw_kbool(&w, "b", true);
    jw_knull(&w, "n");
    jw_key(&w, "o");
    jw_obj(&w);
    jw_kbool(&w, "f", false);
    jw_obj_end(&w);
    jw_obj_end(&w);
    assert_string_equal(buf_str(&out), "{\"s\":\"x\",\"a\":[1,[],{},null,[0]],\"i\":-5,\"d\":0.5,"
                                       "\"b\":true,\"n\":null,\"o\":{\"f\":false}}");
    buf_free(&out);
}

static void test_values_and_texts(void **state)
{
    (void)state;
    struct buf out;
    struct jw w;
    json_t *v;
    assert_int_equal(json_parse("{\"x\":[1,\"y\"]}", 13, &v, NULL), OK);
    buf_init(&out, 1000);
    jw_init(&w, &out);
    jw_obj(&w);
    jw_kjson(&w, "v", v);
    jw_kjson(&w, "none", NULL);
    jw_kraw(&w, "t", "[0]");
    jw_kraw(&w, "empty", "");
    jw_kraw(&w, "absent", NULL);
    jw_key(&w, "a");
    jw_arr(&w);
    jw_json(&w, json_object_get(v, "x"));
    jw_json(&w, NULL);
    jw_arr_end(&w);
    jw_obj_end(&w);
    assert_string_equal(buf_str(&out),
                        "{\"v\":{\"x\":[1,\"y\"]},\"none\":null,\"t\":[0],\"empty\":{},"
                        "\"absent\":{},\"a\":[[1,\"y\"],null]}");
    buf_free(&out);
    json_decref(v);
}

static void assert_string(const char *s, size_t len, const char *want)
{
    struct buf out;
    struct jw w;
    buf_init(&out, 100000);
    jw_init(&w, &out);
    jw_strn(&w, s, len);
    assert_string_equal(buf_str(&out), want);
    json_t *v = NULL;
    struct error error;
    if (!memchr(s, '\0', len)) { /* jansson refuses "\u0000" by our own flag */
        assert_int_equal(json_parse(out.data, out.len, &v, &error), OK);
        json_decref(v);
    }
    buf_free(&out);
}

static void test_strings(void **state)
{
    (void)state;
    assert_string("", 0, "\"\"");
    assert_string("plain text", 10, "\"plain text\"");
    assert_string("\"\\/\b\f\n\r\t", 8, "\"\\\"\\\\/\\b\\f\\n\\r\\t\"");
    assert_string("a\0b\x01\x1f\x7f", 6, "\"a\\u0000b\\u0001\\u001f\x7f\"");
    assert_string("\xC3\xA9\xF0\x9F\x94\xA5", 6, "\"\xC3\xA9\xF0\x9F\x94\xA5\"");
    assert_string("x\xFFy", 3, "\"x\xEF\xBF\xBDy\"");
    assert_string("\xF0\x9F\x94", 3, "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"");
    assert_string("\xED\xA0\x80", 3, "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"");
}

/* Every byte value, alone and between others, must give valid JSON. */
static void test_any_bytes_give_valid_json(void **state)
{
    (void)state;
    char s[3] = "x?x";
    for (int a = 1; a < 256; a++) {
        s[1] = (char)a;
        for (size_t from = 0; from < 2; from++) {
            struct buf out;
            struct jw w;
            buf_init(&out, 100);
            jw_init(&w, &out);
            jw_arr(&w);
            jw_strn(&w, s + from, 3 - from);
            jw_arr_end(&w);
            json_t *v = NULL;
            struct error error;
            assert_int_equal(json_parse(out.data, out.len, &v, &error), OK);
            json_decref(v);
            buf_free(&out);
        }
    }
}

static void write_number(double d, char dst[64])
{
    struct buf out;
    struct jw w;
    buf_init_fixed(&out, dst, 64);
    jw_init(&w, &out);
    jw_double(&w, d);
    assert_int_equal(out.err, OK);
}

static void test_doubles_are_short_and_read_back(void **state)
{
    (void)state;
    static const struct {
        double d;
        const char *text;
    } cases[] = {{0.1, "0.1"},
                 {1, "1"},
                 {-3, "-3"},
                 {0.7, "0.7"},
                 {1e15, "1e+15"},
                 {1e300, "1e+300"},
                 {123456789012, "123456789012"},
                 {1.0 / 3, "0.3333333333333333"},
                 {0.1 + 0.2, "0.30000000000000004"},
                 {NAN, "null"},
                 {INFINITY, "null"},
                 {-INFINITY, "null"},
                 {0.0, "0"},
                 {-0.0, "-0.0"},
                 {5e-324, "4.94065645841247e-324"}};
    char text[64];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_number(cases[i].d, text);
        assert_string_equal(text, cases[i].text);
    }
    uint64_t bits = 88172645463325252u;
    for (int i = 0; i < 20000; i++) {
        bits ^= bits << 13;
        bits ^= bits >> 7;
        bits ^= bits << 17;
        double d;
        memcpy(&d, &bits, sizeof d);
        if (!isfinite(d)) continue;
        write_number(d, text);
        assert_true(strtod(text, NULL) == d);
    }
}

static void test_integers(void **state)
{
    (void)state;
    static const struct {
        int64_t v;
        const char *text;
    } cases[] = {{0, "0"},
                 {-1, "-1"},
                 {10, "10"},
                 {INT64_MAX, "9223372036854775807"},
                 {INT64_MIN, "-9223372036854775808"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char mem[32];
        struct buf out;
        struct jw w;
        buf_init_fixed(&out, mem, sizeof mem);
        jw_init(&w, &out);
        jw_int(&w, cases[i].v);
        assert_string_equal(mem, cases[i].text);
    }
}

static void write_document(struct jw *w)
{
    char long_text[500];
    memset(long_text, 'x', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = '\0';
    jw_arr(w);
    for (int i = 0; i < 20; i++) {
        jw_obj(w);
        jw_kint(w, "i", i);
        jw_kstr(w, "text", i % 2 ? long_text : "a\nb");
        jw_obj_end(w);
    }
    jw_arr_end(w);
}

static void test_nth_allocation_fails(void **state)
{
    (void)state;
#if HEARTH_FAULTS
    int failed = 0;
    for (int nth = 1;; nth++) {
        struct buf out;
        struct jw w;
        buf_init(&out, 100000);
        jw_init(&w, &out);
        fault_arm(FAULT_alloc, nth, false);
        write_document(&w);
        fault_arm(FAULT_alloc, 0, false);
        enum err err = out.err;
        if (!err) {
            json_t *v = NULL;
            struct error error;
            assert_int_equal(json_parse(out.data, out.len, &v, &error), OK);
            assert_int_equal(json_array_size(v), 20);
            json_decref(v);
        }
        buf_free(&out);
        if (!err) break;
        assert_int_equal(err, ERR_NOMEM);
        failed++;
    }
    assert_in_range(failed, 3, 20);
#else
    skip();
#endif
}

static void test_full_buffer_is_an_error(void **state)
{
    (void)state;
    struct buf out;
    struct jw w;
    buf_init(&out, 100);
    jw_init(&w, &out);
    write_document(&w);
    assert_int_equal(out.err, ERR_TOO_LARGE);
    assert_true(out.len <= 100);
    buf_free(&out);
}

static bool aborts(void (*misuse)(struct jw *))
{
    pid_t pid = fork();
    if (pid == 0) {
        struct buf out;
        struct jw w;
        signal(SIGABRT, SIG_DFL);
        close(STDERR_FILENO);
        buf_init(&out, 10000);
        jw_init(&w, &out);
        misuse(&w);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void too_deep(struct jw *w)
{
    for (int i = 0; i < 33; i++) jw_arr(w);
}

static void two_documents(struct jw *w)
{
    jw_int(w, 1);
    jw_int(w, 2);
}

static void key_without_value(struct jw *w)
{
    jw_obj(w);
    jw_key(w, "k");
    jw_obj_end(w);
}

static void test_misuse_is_a_bug(void **state)
{
    (void)state;
    assert_true(aborts(too_deep));
    assert_true(aborts(two_documents));
    assert_true(aborts(key_without_value));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commas_and_nesting),
        cmocka_unit_test(test_values_and_texts),
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_any_bytes_give_valid_json),
        cmocka_unit_test(test_doubles_are_short_and_read_back),
        cmocka_unit_test(test_integers),
        cmocka_unit_test(test_nth_allocation_fails),
        cmocka_unit_test(test_full_buffer_is_an_error),
        cmocka_unit_test(test_misuse_is_a_bug),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
