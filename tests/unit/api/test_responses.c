/* Responses: how events are written, and what becomes of items. The store is not asked here. */
#include "rig.h"

#include <unistd.h>

#include "api/gather.h"
#include "api/responses/responses_int.h"

#define PATH "/v1/responses"
#define SAY  "\"input\":\"hi\",\"store\":false"

/* "response.created response.in_progress ...": runs of the same event once. */
static void event_types(const struct rig *r, char *out, size_t size)
{
    char last[64] = "";
    *out = '\0';
    for (const char *at = buf_str(&r->sink.body); (at = strstr(at, "event: "));) {
        char type[64];
        at += strlen("event: ");
        str_printf(type, sizeof type, "%.*s", (int)strcspn(at, "\n"), at);
        if (!str_eq(type, last))
            str_printf(out + strlen(out), size - strlen(out), "%s%s", *out ? " " : "",
                       type + strlen("response."));
        str_copy(last, sizeof last, type);
    }
}

/* The data of the last event. */
static json_t *last_event(const struct rig *r)
{
    json_t *v;
    const char *found = NULL;
    for (const char *at = buf_str(&r->sink.body); (at = strstr(at, "\ndata: ")); at++) found = at;
    assert_non_null(found);
    found += strlen("\ndata: ");
    assert_int_equal(json_parse(found, strcspn(found, "\n"), &v, NULL), OK);
    return v;
}

static const char *text_at(const json_t *v, const char *a, const char *b)
{
    return json_string_value(json_object_get(json_object_get(v, a), b));
}

#define MESSAGE_EVENTS                                                                             \
    "output_item.added content_part.added output_text.delta output_text.done content_part.done "   \
    "output_item.done"

static void expect_stream(const char *script, const char *body, const char *types)
{
    struct rig r;
    char got[1024];
    rig_init(&r, script);
    call_path(&r, PATH, body);
    memsink_wait(&r.sink);
    event_types(&r, got, sizeof got);
    assert_string_equal(got, types);
    assert_string_equal(r.sink.content_type, "text/event-stream");
    json_t *last = last_event(&r);
    const json_t *output = json_object_get(json_object_get(last, "response"), "output");
    for (size_t i = 0; i < json_array_size(output); i++)
        assert_string_not_equal(
            json_string_value(json_object_get(json_array_get(output, i), "status")), "in_progress");
    json_decref(last);
    rig_deinit(&r);
}

static void events_in_their_order(void **state)
{
    (void)state;
    expect_stream("stted", "{" SAY ",\"stream\":true}",
                  "created in_progress " MESSAGE_EVENTS " completed");
    expect_stream("srrttced", "{" SAY ",\"stream\":true}",
                  "created in_progress output_item.added content_part.added reasoning_text.delta "
                  "reasoning_text.done content_part.done output_item.done " MESSAGE_EVENTS
                  " output_item.added function_call_arguments.delta function_call_arguments.done "
                  "output_item.done completed");
    expect_stream("srted", "{" SAY ",\"stream\":true,\"reasoning\":{\"summary\":\"auto\"}}",
                  "created in_progress output_item.added reasoning_summary_part.added "
                  "reasoning_summary_text.delta reasoning_summary_text.done "
                  "reasoning_summary_part.done output_item.done " MESSAGE_EVENTS " completed");
    expect_stream("sed", "{" SAY ",\"stream\":true}", "created in_progress completed");
}

static void a_failure_in_a_stream_is_an_event(void **state)
{
    (void)state;
    struct rig r;
    expect_stream("sttx", "{" SAY ",\"stream\":true}",
                  "created in_progress " MESSAGE_EVENTS " failed");
    rig_init(&r, "sttx");
    call_path(&r, PATH, "{" SAY ",\"stream\":true}");
    memsink_wait(&r.sink);
    json_t *last = last_event(&r);
    const json_t *response = json_object_get(last, "response");
    assert_string_equal(text_at(last, "response", "status"), "failed");
    assert_string_equal(text_at(response, "error", "code"), "server_error");
    assert_string_equal(text_at(response, "error", "message"), "the model caught fire");
    const json_t *item = json_array_get(json_object_get(response, "output"), 0);
    assert_string_equal(json_string_value(json_object_get(item, "status")), "incomplete");
    json_decref(last);
    rig_deinit(&r);
}

static void a_failure_before_is_a_status(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, "x");
    call_path(&r, PATH, "{" SAY ",\"stream\":true}");
    check_error(&r, 500, "server_error", "engine_error");
    rig_next(&r);
    call_path(&r, PATH, "{" SAY "}");
    check_error(&r, 500, "server_error", "engine_error");
    rig_next(&r);
    r.fake.refuse_from = 1;
    call_path(&r, PATH, "{" SAY "}");
    check_error(&r, 429, "rate_limit_error", "queue_full");
    rig_deinit(&r);
}

static void a_whole_response(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, "srttccd");
    call_path(&r, PATH, "{" SAY ",\"include\":[\"reasoning.encrypted_content\"]}");
    json_t *v = body_of(&r);
    assert_int_equal(r.sink.status, 200);
    const json_t *output = json_object_get(v, "output");
    assert_int_equal(json_array_size(output), 4);
    static const char *const types[] = {"reasoning", "message", "function_call", "function_call"};
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(json_string_value(json_object_get(json_array_get(output, i), "type")),
                            types[i]);
    assert_string_equal(
        json_string_value(json_object_get(json_array_get(output, 0), "encrypted_content")),
        "plain:ab");
    assert_string_equal(json_string_value(json_object_get(v, "status")), "completed");
    assert_false(json_is_true(json_object_get(v, "store")));
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(v, "usage"), "input_tokens")), 3);
    json_decref(v);
    rig_deinit(&r);
}

/* ---- items to messages ----------------------------------------------------------------------- */

static enum err parse(const char *text, struct response_call *c, struct error *error)
{
    json_t *body;
    struct call_env env = {.request_id = "r", .tenant = "", .top_p = 1, .max_tokens = 5};
    struct response_source source = {.env = &env, .user_id = ""};
    assert_int_equal(json_parse(text, strlen(text), &body, error), OK);
    enum err e = response_parse(&source, body, strlen(text), c, error);
    json_decref(body);
    return e;
}

static void a_turn_is_one_message(void **state)
{
    (void)state;
    struct response_call c;
    struct error error;
    assert_int_equal(
        parse("{\"instructions\":\"be\",\"input\":["
              "{\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"a\"},"
              "{\"type\":\"input_text\",\"text\":\"b\"}]},"
              "{\"type\":\"reasoning\",\"summary\":[],\"content\":[{\"type\":\"reasoning_text\","
              "\"text\":\"think\"}],\"encrypted_content\":\"sealed\"},"
              "{\"role\":\"assistant\",\"content\":\"let me see\"},"
              "{\"type\":\"function_call\",\"call_id\":\"c1\",\"name\":\"f\",\"arguments\":\"\"},"
              "{\"type\":\"custom_tool_call\",\"call_id\":\"c2\",\"name\":\"g\",\"input\":"
              "\"x\\\"y\"},"
              "{\"type\":\"function_call_output\",\"call_id\":\"c1\",\"output\":\"one\"},"
              "{\"type\":\"custom_tool_call_output\",\"call_id\":\"c2\",\"output\":\"two\"},"
              "{\"role\":\"developer\",\"content\":\"dev\"}]}",
              &c, &error),
        OK);
    const struct gen_request *r = c.call.requests[0];
    assert_int_equal(r->n_messages, 6);
    assert_int_equal(r->messages[0].role, ROLE_SYSTEM);
    assert_string_equal(r->messages[1].content, "a\nb");
    const struct message *m = &r->messages[2];
    assert_int_equal(m->role, ROLE_ASSISTANT);
    assert_string_equal(m->content, "let me see");
    assert_string_equal(m->reasoning, "think");
    assert_string_equal(m->reasoning_signature, "sealed");
    assert_int_equal(m->n_tool_calls, 2);
    assert_string_equal(m->tool_calls[0].arguments, "{}");
    assert_string_equal(m->tool_calls[1].arguments, "{\"input\":\"x\\\"y\"}");
    assert_int_equal(r->messages[3].role, ROLE_TOOL);
    assert_string_equal(r->messages[4].tool_call_id, "c2");
    assert_int_equal(r->messages[5].role, ROLE_SYSTEM);
    response_call_free(&c);
}

/* What is said counts as said, also where it is the hub's own default: a derived model's
 * parameters stand behind it. */
static void what_is_said(void **state)
{
    (void)state;
    struct response_call c;
    struct error error;
    assert_int_equal(
        parse("{\"input\":\"a\",\"temperature\":0,\"min_p\":0.05,\"top_k\":40}", &c, &error), OK);
    assert_int_equal(c.call.requests[0]->said, SAID_TEMPERATURE | SAID_MIN_P | SAID_TOP_K);
    response_call_free(&c);
    assert_int_equal(parse("{\"input\":\"a\"}", &c, &error), OK);
    assert_int_equal(c.call.requests[0]->said, 0);
    assert_int_equal(c.call.requests[0]->sampling.top_k, 40);
    assert_non_null(strstr(c.info.echo, "\"temperature\":0,"));
    response_call_free(&c);
}

#define SPACE(TOOLS)                                                                               \
    "\"tools\":[{\"type\":\"function\",\"name\":\"find\"},{\"type\":\"namespace\",\"name\":"       \
    "\"crm\","                                                                                     \
    "\"description\":\"Customers.\",\"tools\":" TOOLS "}]"

static void tools_in_a_namespace(void **state)
{
    (void)state;
    struct response_call c;
    struct error error;
    assert_int_equal(
        parse("{\"input\":[{\"role\":\"user\",\"content\":\"a\"},{\"type\":\"function_call\","
              "\"call_id\":\"c1\",\"namespace\":\"crm\",\"name\":\"find\",\"arguments\":\"\"},"
              "{\"type\":\"function_call_output\",\"call_id\":\"c1\",\"output\":\"one\"}],"
              "\"tool_choice\":{\"type\":\"function\",\"namespace\":\"crm\",\"name\":\"find\"}"
              "," SPACE("[{\"type\":\"function\",\"name\":\"find\",\"description\":\"One.\"},"
                        "{\"type\":\"custom\",\"name\":\"note\"}]") "}",
              &c, &error),
        OK);
    const struct gen_request *r = c.call.requests[0];
    assert_int_equal(r->n_tools, 3);
    assert_string_equal(r->tools[0].name, "find");
    assert_string_equal(r->tools[1].name, "crm__find");
    assert_string_equal(r->tools[1].description, "Customers.\nOne.");
    assert_string_equal(r->tools[2].name, "crm__note");
    assert_string_equal(r->tool_choice_name, "crm__find");
    assert_string_equal(r->messages[1].tool_calls[0].name, "crm__find");
    assert_string_equal(c.info.tools[0].own, "find");
    assert_string_equal(c.info.tools[1].space, "crm");
    assert_true(c.info.tools[1].custom);
    assert_null(c.info.tools[2].name);
    response_call_free(&c);
    assert_int_equal(
        parse("{\"input\":\"a\"," SPACE("[{\"type\":\"web_search\"}]") "}", &c, &error),
        ERR_UNSUPPORTED);
    assert_string_equal(error.param, "/tools/1/tools/0");
    assert_int_equal(
        parse("{\"input\":\"a\"," SPACE("[{\"type\":\"function\",\"name\":\"find\"},"
                                        "{\"type\":\"custom\",\"name\":\"find\"}]") "}",
              &c, &error),
        ERR_INVALID);
    assert_string_equal(error.param, "/tools/1/tools/1/name");
    assert_int_equal(
        parse("{\"input\":\"a\",\"tools\":[{\"type\":\"namespace\",\"name\":\"x\"}]}", &c, &error),
        ERR_INVALID);
    assert_string_equal(error.param, "/tools/0/tools");
}

static void who_may_answer_is_passed_on(void **state)
{
    (void)state;
    struct response_call c;
    struct error error;
    assert_int_equal(parse("{\"input\":\"x\",\"local_only\":true,\"source\":\"ollama\","
                           "\"route\":\"fast\",\"optimization_goal\":\"speed\"}",
                           &c, &error),
                     OK);
    const struct gen_request *r = c.call.requests[0];
    assert_true(r->local_only);
    assert_true(c.info.local_only);
    assert_string_equal(r->source, "ollama");
    assert_string_equal(r->route, "fast");
    assert_int_equal(r->goal, GOAL_SPEED);
    response_call_free(&c);
    assert_int_equal(parse("{\"input\":\"x\",\"optimization_goal\":\"fun\"}", &c, &error),
                     ERR_INVALID);
}

/* ---- gathering ------------------------------------------------------------------------------- */

static void count(void *ctx)
{
    ++*(int *)ctx;
}

static void an_answer_is_gathered(void **state)
{
    (void)state;
    struct gather g;
    int closed = 0;
    gather_init(&g, 100);
    struct sink *s = gather_sink(&g);
    sink_on_close(s, count, &closed);
    assert_false(gather_wait(&g, 1));
    assert_int_equal(sink_begin(s, 200, "text/plain", NULL, 0), OK);
    assert_int_equal(sink_write(s, "one", 3), OK);
    assert_int_equal(sink_write(s, "two", 3), OK);
    sink_end(s);
    assert_int_equal(sink_write(s, "x", 1), ERR_CLOSED);
    gather_close(&g); /* it has ended */
    sink_unref(s);
    assert_true(gather_wait(&g, 1000));
    assert_int_equal(g.status, 200);
    assert_string_equal(buf_str(&g.body), "onetwo");
    assert_int_equal(closed, 0);
    gather_deinit(&g);
}

static void what_is_too_large_is_not_gathered(void **state)
{
    (void)state;
    struct gather g;
    int closed = 0;
    gather_init(&g, 4);
    struct sink *s = gather_sink(&g);
    sink_on_close(s, count, &closed);
    assert_int_equal(sink_respond(s, 200, "text/plain", NULL, 0, "12345", 5), ERR_CLOSED);
    assert_int_equal(closed, 1);
    assert_int_equal(g.status, 0);
    sink_unref(s);
    gather_deinit(&g);
}

struct withdrawal {
    struct sink *sink;
    int called;
};

static void withdraw(void *ctx)
{
    struct withdrawal *w = ctx;
    w->called++;
    sink_on_close(w->sink, NULL, NULL);
}

/* Whoever closes it: who gathers, an answer that is too large, the setting itself. It waited for
 * itself once. */
static void a_callback_may_withdraw_itself(void **state)
{
    (void)state;
    for (int way = 0; way < 3; way++) {
        struct gather g;
        gather_init(&g, 4);
        struct withdrawal w = {.sink = gather_sink(&g)};
        alarm(60); /* else it waits for ever */
        if (way == 2) gather_close(&g);
        sink_on_close(w.sink, withdraw, &w);
        if (way == 0) gather_close(&g);
        if (way == 1) (void)sink_respond(w.sink, 200, "text/plain", NULL, 0, "12345", 5);
        alarm(0);
        assert_int_equal(w.called, 1);
        sink_unref(w.sink);
        gather_deinit(&g);
    }
}

static void who_gathers_may_go(void **state)
{
    (void)state;
    struct gather g;
    int closed = 0;
    gather_init(&g, 100);
    struct sink *s = gather_sink(&g);
    sink_on_close(s, count, &closed);
    gather_close(&g);
    gather_close(&g);
    assert_int_equal(closed, 1);
    sink_on_close(s, count, &closed); /* told at once */
    assert_int_equal(closed, 2);
    assert_int_equal(sink_respond(s, 200, "text/plain", NULL, 0, "x", 1), ERR_CLOSED);
    sink_unref(s);
    assert_int_equal(g.status, 0);
    gather_deinit(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_in_their_order),
        cmocka_unit_test(a_failure_in_a_stream_is_an_event),
        cmocka_unit_test(a_failure_before_is_a_status),
        cmocka_unit_test(a_whole_response),
        cmocka_unit_test(a_turn_is_one_message),
        cmocka_unit_test(what_is_said),
        cmocka_unit_test(tools_in_a_namespace),
        cmocka_unit_test(who_may_answer_is_passed_on),
        cmocka_unit_test(an_answer_is_gathered),
        cmocka_unit_test(what_is_too_large_is_not_gathered),
        cmocka_unit_test(a_callback_may_withdraw_itself),
        cmocka_unit_test(who_gathers_may_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
