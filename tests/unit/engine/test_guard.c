/* Guards over requests: schemas that would make the library recurse, loop or explode. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
#include "engine/engine_int.h"
#include "engine/guard.h"

static void assert_schema(const char *schema, const char *why)
{
    struct error error = {0};
    int64_t start = clock_mono_ms();
    enum err e = guard_schema(schema, "/s", &error);
    assert_true(clock_mono_ms() - start < 5000);
    if (!why) {
        if (e) fail_msg("%.80s: %s", schema, error.msg);
        return;
    }
    if (e != ERR_SCHEMA || !strstr(error.msg, why))
        fail_msg("%.80s: %s '%s'", schema, err_name(e), error.msg);
    assert_string_equal(error.param, "/s");
}

static char *repeat(const char *head, size_t n, const char *a, const char *middle, const char *b)
{
    struct buf s;
    buf_init(&s, 8 << 20);
    buf_puts(&s, head);
    for (size_t i = 0; i < n; i++) buf_puts(&s, a);
    buf_puts(&s, middle);
    for (size_t i = 0; i < n; i++) buf_puts(&s, b);
    assert_int_equal(s.err, OK);
    return buf_take(&s);
}

static void assert_and_free(char *schema, const char *why)
{
    assert_schema(schema, why);
    free(schema);
}

static void test_good_schemas(void **state)
{
    (void)state;
    assert_schema("{}", NULL);
    assert_schema("{\"type\":\"object\",\"properties\":{\"a\":{\"type\":[\"string\",\"null\"]}}}",
                  NULL);
    /* a tree that refers to itself below something is fine */
    assert_schema("{\"$ref\":\"#/$defs/n\",\"$defs\":{\"n\":{\"type\":\"object\",\"properties\":{"
                  "\"next\":{\"anyOf\":[{\"$ref\":\"#/$defs/n\"},{\"type\":\"null\"}]}}}}}",
                  NULL);
    assert_schema("{\"$ref\":\"#/not/there\"}", NULL); /* the library's message is better */
}

static void test_bad_schemas(void **state)
{
    (void)state;
    assert_schema("", "not valid JSON");
    assert_schema("[]", "must be a JSON object");
    assert_schema("{\"a\":1,}", "not valid JSON");
    assert_schema("{\"$ref\":\"#/a\",\"a\":{\"$ref\":\"#/b\"},\"b\":{\"$ref\":\"#/a\"}}", "loop");
    assert_schema("{\"allOf\":[{\"$ref\":\"#/a\"}],\"a\":{\"$ref\":\"#/a\"}}", "loop");
}

static void test_nesting_is_bounded(void **state)
{
    (void)state;
    assert_and_free(repeat("", 20000, "{\"items\":", "{}", "}"), "20001 levels");
    assert_and_free(repeat("", 63, "{\"items\":", "{}", "}"), NULL);
    assert_and_free(repeat("", 64, "{\"items\":", "{}", "}"), "65 levels");
    /* brackets in strings do not nest */
    assert_and_free(repeat("{\"const\":\"", 500, "[{\\\"", "", "\\\"}]"), "not valid JSON");
    assert_and_free(repeat("{\"const\":\"", 500, "[{\\\"", "\"}", ""), NULL);
    assert_and_free(repeat("{\"const\":\"", 300000, "a", "\"}", ""), "bytes; 262144 are allowed");
}

static void test_explosions_are_refused(void **state)
{
    (void)state;
    /* 3^20 copies of the innermost node */
    assert_and_free(repeat("", 20,
                           "{\"type\":[\"object\",\"array\",\"null\"],\"properties\":{\"a\":", "{}",
                           "}}"),
                    "too many rules");
    /* all definitions refer to all others: the paths between them are without number */
    struct buf s;
    buf_init(&s, 1 << 20);
    buf_puts(&s, "{\"$ref\":\"#/d/0\",\"d\":{");
    for (int i = 0; i < 14; i++) {
        buf_printf(&s, "%s\"%d\":{\"anyOf\":[{\"type\":\"null\"}", i ? "," : "", i);
        for (int k = 0; k < 14; k++) buf_printf(&s, ",{\"$ref\":\"#/d/%d\"}", k);
        buf_puts(&s, "]}");
    }
    buf_puts(&s, "}}");
    assert_schema(s.data, "too many ways");
    buf_clear(&s);
    buf_puts(&s, "{\"properties\":{\"p\":{}");
    for (int i = 0; i < 300; i++) buf_printf(&s, ",\"p%d\":{}", i);
    buf_puts(&s, "}}");
    assert_schema(s.data, "256 optional properties");
    buf_free(&s);
    assert_and_free(repeat("{\"properties\":{\"", 300, "n", "\":{}}}", ""),
                    "longer than 256 bytes");
    assert_and_free(repeat("{\"anyOf\":[{}", 300, ",{\"pattern\":\"^a$\"}", "]}", ""),
                    "more than 256 patterns");
}

static void test_requests(void **state)
{
    (void)state;
    struct error error;
    char *deep = repeat("", 200, "[", "", "]");
    struct tool_call call = {.id = "", .name = "f", .arguments = deep};
    struct message m = {.role = ROLE_ASSISTANT, .tool_calls = &call, .n_tool_calls = 1};
    struct gen_request r = {.kind = GEN_CHAT, .messages = &m, .n_messages = 1};
    assert_int_equal(guard_request(&r, &error), ERR_INVALID);
    assert_string_equal(error.param, "/messages/0/tool_calls/0/function/arguments");
    r = (struct gen_request){.kind = GEN_CHAT, .template_kwargs = deep};
    assert_int_equal(guard_request(&r, &error), ERR_INVALID);
    assert_string_equal(error.param, "/chat_template_kwargs");
    struct tool t = {.name = "f", .description = "", .parameters = deep};
    r = (struct gen_request){.kind = GEN_CHAT, .tools = &t, .n_tools = 1};
    assert_int_equal(guard_request(&r, &error), ERR_SCHEMA);
    assert_string_equal(error.param, "/tools/0/function/parameters");
    free(deep);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_schemas),       cmocka_unit_test(test_bad_schemas),
        cmocka_unit_test(test_nesting_is_bounded), cmocka_unit_test(test_explosions_are_refused),
        cmocka_unit_test(test_requests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
