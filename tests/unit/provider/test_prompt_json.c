/* A prompt's parts as JSON: what is written is what is read, whatever is in it; and what is not
 * written by us is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "provider/prompt_json.h"

static struct gen_request *round_trip(const struct gen_request *req)
{
    struct buf text;
    struct jw w;
    struct error error;
    struct gen_request *back;
    json_t *v;
    buf_init(&text, 1 << 20);
    jw_init(&w, &text);
    prompt_json_write(&w, req);
    assert_int_equal(json_parse(buf_str(&text), text.len, &v, &error), OK);
    assert_int_equal(prompt_json_read(v, &back, &error), OK);
    json_decref(v);
    buf_free(&text);
    return back;
}

static void same(const char *a, const char *b)
{
    if (!a || !b)
        assert_ptr_equal(a, b);
    else
        assert_string_equal(a, b);
}

static void test_everything_comes_back(void **state)
{
    (void)state;
    const struct tool_call calls[] = {{"c1", "get", "{\"a\":\"\\\"\"}"}, {"", "put", "{}"}};
    const struct message messages[] = {
        {.role = ROLE_SYSTEM, .content = "be \"brief\"\n\xF0\x9F\x94\xA5"},
        {.role = ROLE_USER, .content = "", .name = "ada"},
        {.role = ROLE_ASSISTANT,
         .content = "well",
         .reasoning = "hm",
         .tool_calls = calls,
         .n_tool_calls = 2},
        {.role = ROLE_TOOL, .content = "7", .tool_call_id = "c1", .name = "get"}};
    const struct tool tools[] = {
        {.name = "get", .description = "gets", .parameters = "{\"type\":\"object\"}"},
        {.name = "put", .description = "", .parameters = "{}"}};
    struct gen_request req = {.kind = GEN_CHAT,
                              .messages = messages,
                              .n_messages = 4,
                              .tools = tools,
                              .n_tools = 2,
                              .tool_choice = TOOL_NAMED,
                              .tool_choice_name = "put",
                              .parallel_tool_calls = true,
                              .format = FORMAT_JSON_SCHEMA,
                              .schema = "{\"type\":\"string\"}",
                              .reasoning_format = REASONING_NONE,
                              .template_kwargs = "{\"enable_thinking\":false}",
                              .chat_template = "{{ messages }}"};
    struct gen_request *back = round_trip(&req);
    assert_int_equal(back->kind, GEN_CHAT);
    assert_int_equal(back->n_messages, 4);
    for (size_t i = 0; i < 4; i++) {
        const struct message *a = &messages[i], *b = &back->messages[i];
        assert_int_equal(a->role, b->role);
        same(a->content, b->content);
        same(a->reasoning, b->reasoning);
        same(a->name, b->name);
        same(a->tool_call_id, b->tool_call_id);
        assert_int_equal(a->n_tool_calls, b->n_tool_calls);
        for (size_t k = 0; k < a->n_tool_calls; k++) {
            same(a->tool_calls[k].id, b->tool_calls[k].id);
            same(a->tool_calls[k].name, b->tool_calls[k].name);
            same(a->tool_calls[k].arguments, b->tool_calls[k].arguments);
        }
    }
    assert_int_equal(back->n_tools, 2);
    for (size_t i = 0; i < 2; i++) {
        same(tools[i].name, back->tools[i].name);
        same(tools[i].description, back->tools[i].description);
        same(tools[i].parameters, back->tools[i].parameters);
    }
    assert_int_equal(back->tool_choice, TOOL_NAMED);
    same(back->tool_choice_name, "put");
    assert_true(back->parallel_tool_calls);
    assert_int_equal(back->format, FORMAT_JSON_SCHEMA);
    same(back->schema, req.schema);
    assert_int_equal(back->reasoning_format, REASONING_NONE);
    same(back->template_kwargs, req.template_kwargs);
    same(back->chat_template, req.chat_template);
    arena_free(back->arena);
}

static void test_every_output_format_comes_back(void **state)
{
    (void)state;
    const struct message m = {.role = ROLE_USER, .content = "x"};
    const enum response_format formats[] = {FORMAT_TEXT, FORMAT_JSON_OBJECT, FORMAT_JSON_SCHEMA,
                                            FORMAT_GRAMMAR};
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        struct gen_request req = {.messages = &m,
                                  .n_messages = 1,
                                  .format = formats[i],
                                  .schema = "{}",
                                  .grammar = "root ::= \"a\""};
        struct gen_request *back = round_trip(&req);
        assert_int_equal(back->format, formats[i]);
        if (formats[i] == FORMAT_GRAMMAR) same(back->grammar, req.grammar);
        assert_false(back->parallel_tool_calls);
        assert_int_equal(back->n_tools, 0);
        arena_free(back->arena);
    }
}

static void test_what_is_no_prompt_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "{}",
        "{\"messages\":[]}",
        "{\"messages\":{}}",
        "{\"messages\":[7]}",
        "{\"messages\":[{\"role\":\"oracle\"}]}",
        "{\"messages\":[{\"role\":\"user\",\"content\":7}]}",
        "{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":7}]}",
        "{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"name\":7}]}]}",
        "{\"messages\":[{\"role\":\"user\"}],\"tools\":7}",
        "{\"messages\":[{\"role\":\"user\"}],\"tools\":[],\"tool_choice\":9}",
        "{\"messages\":[{\"role\":\"user\"}],\"tools\":[],\"tool_choice\":3}",
        "{\"messages\":[{\"role\":\"user\"}],\"schema\":{}}",
        "{\"messages\":[{\"role\":\"user\"}],\"json\":1}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct error error;
        struct gen_request *req;
        json_t *v;
        assert_int_equal(json_parse(bad[i], strlen(bad[i]), &v, &error), OK);
        if (prompt_json_read(v, &req, &error) != ERR_INVALID) fail_msg("accepted: %s", bad[i]);
        json_decref(v);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everything_comes_back),
        cmocka_unit_test(test_every_output_format_comes_back),
        cmocka_unit_test(test_what_is_no_prompt_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
