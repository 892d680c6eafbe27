/* The reader of KEY=value text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/config_int.h"

static struct env_reader reader_of(const char *text)
{
    struct env_reader r;
    env_open(&r, "f.env", text, strlen(text));
    return r;
}

static void test_values(void **state)
{
    (void)state;
    static const struct {
        const char *line, *key, *value;
    } cases[] = {
        {"A=b", "A", "b"},
        {"A=", "A", ""},
        {"  A_1  =  b c  ", "A_1", "b c"},
        {"export A=b", "A", "b"},
        {"export\tA=b", "A", "b"},
        {"export=b", "export", "b"},
        {"exporter=b", "exporter", "b"},
        {"A=b # comment", "A", "b"},
        {"A=b#c", "A", "b#c"},
        {"A=#c", "A", ""},
        {"A= # c", "A", ""},
        {"A=b=c", "A", "b=c"},
        {"A=\"b # c\" # d", "A", "b # c"},
        {"A=\"b\"#d", "A", "b"},
        {"A='b # c'", "A", "b # c"},
        {"A=' b '", "A", " b "},
        {"A=\"\"", "A", ""},
        {"A=\"l1\\nl2\\t\\\"q\\\" \\\\ \\$\"", "A", "l1\nl2\t\"q\" \\ $"},
        {"A=\"C:\\models\"", "A", "C:\\models"},
        {"A='a\\n'", "A", "a\\n"},
        {"A=b\\n", "A", "b\\n"},
        {"A=it's", "A", "it's"},
        {"A=$HOME", "A", "$HOME"},
        {"A=\xC3\xA9", "A", "\xC3\xA9"},
        {"\xEF\xBB\xBF"
         "A=b",
         "A", "b"},
        {"A=b\r", "A", "b"},
        {"A=b\r\n", "A", "b"},
        {"# c\n\n \t\n#\nA=b", "A", "b"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct env_reader r = reader_of(cases[i].line);
        struct env_pair p;
        struct error e;
        bool more = false;
        if (env_next(&r, &p, &more, &e)) fail_msg("%s: %s", cases[i].line, e.msg);
        assert_true(more);
        assert_string_equal(p.key, cases[i].key);
        assert_string_equal(p.value, cases[i].value);
        assert_int_equal(env_next(&r, &p, &more, &e), OK);
        assert_false(more);
    }
}

static void test_errors_name_file_line_and_key(void **state)
{
    (void)state;
    static const struct {
        const char *line, *msg, *param;
    } cases[] = {
        {"A", "f.env:1: A: expected '=' after the key", "A"},
        {"export A", "f.env:1: A: expected '=' after the key", "A"},
        {"A B=c", "f.env:1: A: expected '=' after the key", "A"},
        {"=b", "f.env:1: expected KEY=value", "f.env"},
        {"A-B=c", "f.env:1: A: expected '=' after the key", "A"},
        {"A=\"b", "f.env:1: A: the quote is not closed on this line", "A"},
        {"A=\"b\\\"", "f.env:1: A: the quote is not closed on this line", "A"},
        {"A='b", "f.env:1: A: the quote is not closed on this line", "A"},
        {"A=\"b\" c", "f.env:1: A: unexpected text after the closing quote", "A"},
        {"A=\xFF", "f.env:1: the line is not UTF-8", "f.env"},
        {"#\n\nA=\"\n", "f.env:3: A: the quote is not closed on this line", "A"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct env_reader r = reader_of(cases[i].line);
        struct env_pair p;
        struct error e;
        bool more;
        assert_int_equal(env_next(&r, &p, &more, &e), ERR_CONFIG);
        assert_string_equal(e.msg, cases[i].msg);
        assert_string_equal(e.param, cases[i].param);
    }
}

static void test_reading_goes_on_behind_an_error(void **state)
{
    (void)state;
    struct env_reader r = reader_of("A=\"x\nB=2\n");
    struct env_pair p;
    struct error e;
    bool more;
    assert_int_equal(env_next(&r, &p, &more, &e), ERR_CONFIG);
    assert_int_equal(env_next(&r, &p, &more, &e), OK);
    assert_string_equal(p.key, "B");
    assert_int_equal(r.line, 2);
}

static void test_limits(void **state)
{
    (void)state;
    struct env_pair p;
    struct error e;
    bool more;
    size_t n = CONFIG_VALUE_MAX + 100;
    char *text = malloc(n + 1);
    assert_non_null(text);
    memset(text, 'x', n);
    text[n] = '\0';
    struct env_reader r = reader_of(text);
    assert_int_equal(env_next(&r, &p, &more, &e), ERR_CONFIG);
    assert_string_equal(e.msg, "f.env:1: the key is too long");
    text[1] = '=';
    r = reader_of(text);
    assert_int_equal(env_next(&r, &p, &more, &e), ERR_CONFIG);
    assert_string_equal(e.msg, "f.env:1: x: the value is too long");
    text[2 + CONFIG_VALUE_MAX - 1] = '\0';
    r = reader_of(text);
    assert_int_equal(env_next(&r, &p, &more, &e), OK);
    assert_int_equal(strlen(p.value), CONFIG_VALUE_MAX - 1);
    text[0] = 'A';
    text[2] = '\0';
    env_open(&r, "f.env", text, 10);
    assert_int_equal(env_next(&r, &p, &more, &e), ERR_CONFIG);
    assert_string_equal(e.msg, "f.env:1: the line holds a NUL byte");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_errors_name_file_line_and_key),
        cmocka_unit_test(test_reading_goes_on_behind_an_error),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
