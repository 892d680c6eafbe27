/* The grammar checker: what it lets through libllama can take, and every way to be wrong has its
 * message. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "engine/engine_int.h"
#include "engine/guard.h"

static enum err check(const char *grammar, struct error *error)
{
    memset(error, 0, sizeof *error);
    return gbnf_check(grammar, ENGINE_SCHEMA_MAX, "/grammar", error);
}

static void test_good_grammars(void **state)
{
    (void)state;
    static const char *const good[] = {
        "root ::= \"a\"",
        ("# comment\n\nroot ::= x y? # more\n  \nx ::= [a-z]+ | \"\\n\" | [^\\]\"]\ny ::= (x | "
         ".){2,5}\r\n"),
        "root ::= \"a\" |\n \"b\"",
        "root ::= ( \"a\"\n | \"b\" )*",
        "root ::= \"\\x41\\u00e9\\U0001F600\\t\\r\\\\\\\"\\[\\]\\-\"",
        "root ::= <[12]> !<[13]> !<end>",
        "root ::= \"a\" root | \"b\"",           /* right recursion */
        "root ::= \"(\" root \")\" root | \"\"", /* brackets */
        "root ::= x{3}{2}\nx ::= \"ab\"",        /* repeated twice */
        "root ::= \"a\"\nroot ::= \"b\"",        /* the later one counts */
        "root ::= [-a] [a-] [a-z0-9_-]",
        "root ::= \"\xc3\xa9\" [\xc3\xa0-\xc3\xbf]",
        "root ::= \"x\"{0,100000}", /* as {0,} */
        "root ::= \"\"",
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct error error;
        if (check(good[i], &error)) fail_msg("%s: %s", good[i], error.msg);
    }
}

static void test_bad_grammars_say_why(void **state)
{
    (void)state;
    static const struct {
        const char *grammar, *why;
    } bad[] = {
        {"", "empty"},
        {" \n# only a comment", "empty"},
        {"foo ::= \"a\"", "no rule 'root'"},
        {"root ::= foo", "'foo' is used but not defined"},
        {"root := \"a\"", "'::=' expected"},
        {"root", "'::=' expected"},
        {"::= \"a\"", "name of a rule"},
        {"root ::= \"a", "unexpected end"},
        {"root ::= [a", "unexpected end"},
        {"root ::= (\"a\"", "')' expected"},
        {"root ::= \"a\")", "unexpected text"},
        {"root ::= \"\\q\"", "unknown escape"},
        {"root ::= \"\\x4\"", "hexadecimal"},
        {"root ::= *", "nothing to repeat"},
        {"root ::= \"\"*", "nothing to repeat"},
        {"root ::= \"a\"{", "number expected"},
        {"root ::= \"a\"{3,2}", "below its minimum"},
        {"root ::= \"a\"{2001}", "2000"},
        {"root ::= \"a\"{99999999999999999999}", "number expected"},
        {"root ::= <[x]>", "token number"},
        {"root ::= <end", "'>' expected"},
        {"root ::= %llguidance", "unexpected text"},
        {"%llguidance {}", "name of a rule"},
        {"root ::= \"a\"\nroot2 ::= ?", "line 2"},
        {"root ::= root \"a\" | \"b\"", "'root' is left-recursive"},
        {"root ::= a\na ::= b\nb ::= a \"x\"", "left-recursive"},
        {"root ::= \"\" root", "left-recursive"},
        {"root ::= x root \"z\" | \"b\"\nx ::= y\ny ::= \"q\"?", "left-recursive"}, /* hidden */
        {"root ::= (root)", "left-recursive"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct error error;
        enum err e = check(bad[i].grammar, &error);
        if (e != ERR_SCHEMA || !strstr(error.msg, bad[i].why))
            fail_msg("%s: %s '%s'", bad[i].grammar, err_name(e), error.msg);
        assert_string_equal(error.param, "/grammar");
    }
}

/* `n` times a, then b, then n times c. */
static char *around(const char *head, size_t n, const char *a, const char *b, const char *c)
{
    struct buf s;
    buf_init(&s, 8 << 20);
    buf_puts(&s, head);
    for (size_t i = 0; i < n; i++) buf_puts(&s, a);
    buf_puts(&s, b);
    for (size_t i = 0; i < n; i++) buf_puts(&s, c);
    assert_int_equal(s.err, OK);
    return buf_take(&s);
}

static void assert_refused(char *grammar, const char *why)
{
    struct error error;
    enum err e = check(grammar, &error);
    if (e != ERR_SCHEMA || !strstr(error.msg, why)) fail_msg("%s '%s'", err_name(e), error.msg);
    free(grammar);
}

static void test_sizes_are_bounded(void **state)
{
    (void)state;
    struct error error;
    char *deep = around("root ::= ", 64, "(", "\"a\"", ")");
    assert_int_equal(check(deep, &error), OK);
    free(deep);
    assert_refused(around("root ::= ", 65, "(", "\"a\"", ")"), "64 levels");
    assert_refused(around("root ::= ", 20000, "(", "\"a\"", ")"), "64 levels");
    assert_refused(around("root ::= ", 300000, "a", "", ""), "bytes; 262144 are allowed");
    assert_refused(around("root ::= ", 257, "a", "", ""), "longer than 256");
    assert_refused(around("root ::= \"a\"", 9000, "{0,2000}", "", ""), "too large");
    assert_refused(around("root ::= ", 20000, "\"a\"{0,2000} ", "", ""), "too large");
    /* every way to begin is kept for every token: 2000 * 2000 of them here */
    assert_refused(around("x ::= \"a\"?\ny ::= x{2000}\nroot ::= y{2000}", 0, "", "", ""),
                   "too many ways");
}

static void test_a_long_chain_of_rules_is_no_recursion_of_ours(void **state)
{
    (void)state;
    struct buf s;
    struct error error;
    buf_init(&s, 1 << 20);
    buf_puts(&s, "root ::= r0\n");
    for (int i = 0; i < 8000; i++) buf_printf(&s, "r%d ::= r%d\n", i, i + 1);
    buf_puts(&s, "r8000 ::= \"a\"");
    assert_int_equal(check(s.data, &error), ERR_SCHEMA); /* libllama would recurse 8000 deep */
    buf_clear(&s);
    buf_puts(&s, "root ::= r0\n");
    for (int i = 0; i < 2000; i++) buf_printf(&s, "r%d ::= r%d\n", i, i + 1);
    buf_puts(&s, "r2000 ::= \"a\"");
    assert_int_equal(check(s.data, &error), OK);
    buf_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_grammars),
        cmocka_unit_test(test_bad_grammars_say_why),
        cmocka_unit_test(test_sizes_are_bounded),
        cmocka_unit_test(test_a_long_chain_of_rules_is_no_recursion_of_ours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
