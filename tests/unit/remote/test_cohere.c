/* Protocol "cohere" against the examples of docs.cohere.com (Chat v2, Streaming, Tool use, Embed,
 * Rerank), and what it does with the rest of a request. */
#include <math.h>

#include "protocol_rig.h"

#define P   (&remote_cohere)
#define SSE "text/event-stream"

static const char model[] = "command-a-03-2025";

static const struct tool tools[] = {
    {.name = "query_daily_sales_report",
     .description = "Retrieves sales volumes for a day.",
     .parameters = "{\"type\":\"object\",\"properties\":{\"day\":{\"type\":\"string\"}}}"},
    {.name = "now", .description = "", .parameters = "{}", .strict = true}};

/* ---- requests ------------------------------------------------------------------------------ */

static void a_request_has_what_the_api_wants(void **state)
{
    (void)state;
    struct message m[] = {rig_message(ROLE_SYSTEM, "Be short."),
                          rig_message(ROLE_USER, "Tell me about LLMs")};
    const char *stop[] = {"END"};
    struct gen_request req = rig_request(m, 2);
    req.stop = stop;
    req.n_stop = 1;
    req.sampling.seed = 7;
    req.sampling.top_p = 1; /* more than the API takes */
    req.sampling.presence_penalty = 2;
    rig_expect_body(P, &req, model, "/v2/chat",
                    "{\"model\":\"command-a-03-2025\",\"stream\":true,\"temperature\":0.7,\"p\":"
                    "0.99,\"k\":40,\"presence_penalty\":1,\"seed\":7,\"max_tokens\":1024,"
                    "\"stop_sequences\":[\"END\"],\"messages\":[{\"role\":\"system\",\"content\":"
                    "\"Be short.\"},{\"role\":\"user\",\"content\":\"Tell me about LLMs\"}]}");
    struct headers h = {0};
    struct error error;
    assert_int_equal(P->headers(&rig_env, &h, &error), OK);
    assert_string_equal(h.lines[0], "Authorization: Bearer sk-test");
    headers_free(&h);
}

static void calls_results_and_pictures(void **state)
{
    (void)state;
    struct image images[] = {{.media_type = "image/png", .data = "iVBOR="},
                             {.media_type = "", .url = "https://example.org/a.jpg"}};
    struct tool_call call = {.id = "", .name = "now", .arguments = ""};
    struct message m[] = {{.role = ROLE_USER, .content = "here?", .images = images, .n_images = 2},
                          {.role = ROLE_ASSISTANT,
                           .content = "",
                           .reasoning = "I will look at the clock.",
                           .tool_calls = &call,
                           .n_tool_calls = 1},
                          {.role = ROLE_TOOL, .content = "noon"}};
    struct gen_request req = rig_request(m, 3);
    rig_expect_member(
        P, &req, model, "messages",
        "[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"here?\"},{\"type\":"
        "\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,iVBOR=\"}},{\"type\":"
        "\"image_url\",\"image_url\":{\"url\":\"https://example.org/a.jpg\"}}]},"
        "{\"role\":\"assistant\",\"tool_plan\":\"I will look at the clock.\",\"tool_calls\":[{"
        "\"id\":\"call_1_0\",\"type\":\"function\",\"function\":{\"name\":\"now\",\"arguments\":"
        "\"{}\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"call_1_0\",\"content\":\"noon\"}]");
}

static void tools_and_their_choice(void **state)
{
    (void)state;
    struct message m[] = {rig_message(ROLE_USER, "x")};
    struct gen_request req = rig_request(m, 1);
    req.tools = tools;
    req.n_tools = 2;
    rig_expect_member(
        P, &req, model, "tools",
        "[{\"type\":\"function\",\"function\":{\"name\":\"query_daily_sales_report\","
        "\"description\":\"Retrieves sales volumes for a day.\",\"parameters\":{\"type\":"
        "\"object\",\"properties\":{\"day\":{\"type\":\"string\"}}}}},{\"type\":\"function\","
        "\"function\":{\"name\":\"now\",\"description\":\"\",\"parameters\":{\"type\":\"object\","
        "\"properties\":{}}}}]");
    rig_expect_member(P, &req, model, "strict_tools", "true");
    rig_expect_member(P, &req, model, "tool_choice", "");
    req.tool_choice = TOOL_NAMED;
    req.tool_choice_name = "now";
    rig_expect_member(P, &req, model, "tool_choice", "\"REQUIRED\"");
    rig_expect_member(P, &req, model, "tools",
                      "[{\"type\":\"function\",\"function\":{\"name\":\"now\",\"description\":"
                      "\"\",\"parameters\":{\"type\":\"object\",\"properties\":{}}}}]");
    req.format = FORMAT_JSON_OBJECT;
    rig_expect_refused(P, &req, ERR_UNSUPPORTED, "response format");
    req.n_tools = 0;
    rig_expect_member(P, &req, model, "response_format", "{\"type\":\"json_object\"}");
    req.format = FORMAT_JSON_SCHEMA;
    req.schema = "{\"type\":\"object\",\"required\":[\"a\"]}";
    rig_expect_member(P, &req, model, "response_format",
                      "{\"type\":\"json_object\",\"json_schema\":{\"type\":\"object\","
                      "\"required\":[\"a\"]}}");
}

static void thinking_and_limits(void **state)
{
    (void)state;
    struct message m[] = {rig_message(ROLE_USER, "x")};
    const char *stop[] = {"1", "2", "3", "4", "5", "6"};
    struct gen_request req = rig_request(m, 1);
    rig_expect_member(P, &req, model, "thinking", "");
    req.reasoning_effort = "none";
    rig_expect_member(P, &req, model, "thinking", "{\"type\":\"disabled\"}");
    req.reasoning_effort = "high";
    rig_expect_member(P, &req, model, "thinking", "{\"type\":\"enabled\"}");
    req.reasoning_budget = 300;
    rig_expect_member(P, &req, model, "thinking", "{\"type\":\"enabled\",\"token_budget\":300}");
    req.stop = stop;
    req.n_stop = 6;
    rig_expect_refused(P, &req, ERR_UNSUPPORTED, "5 stop sequences");
    req.n_stop = 0;
    req.n = 3;
    rig_expect_refused(P, &req, ERR_UNSUPPORTED, "several choices");
}

/* ---- answers ------------------------------------------------------------------------------- */

/* "Basic chat stream events" */
static void the_documented_stream_is_read(void **state)
{
    (void)state;
    rig_expect(P, SSE,
               "event: message-start\n"
               "data: {\"id\":\"29f14a5a-11de-4cae-9800-25e4747408ea\",\"type\":\"message-start\","
               "\"delta\":{\"message\":{\"role\":\"assistant\",\"content\":[],\"tool_plan\":\"\","
               "\"tool_calls\":[],\"citations\":[]}}}\n\n"
               "event: content-start\n"
               "data: {\"type\":\"content-start\",\"index\":0,\"delta\":{\"message\":{\"content\":"
               "{\"type\":\"text\",\"text\":\"\"}}}}\n\n"
               "event: content-delta\n"
               "data: {\"type\":\"content-delta\",\"index\":0,\"delta\":{\"message\":{\"content\":"
               "{\"text\":\"L\"}}}}\n\n"
               "event: content-delta\n"
               "data: {\"type\":\"content-delta\",\"index\":0,\"delta\":{\"message\":{\"content\":"
               "{\"text\":\"LMs stand for\"}}}}\n\n"
               "event: content-end\n"
               "data: {\"type\":\"content-end\",\"index\":0}\n\n"
               "event: message-end\n"
               "data: {\"type\":\"message-end\",\"delta\":{\"finish_reason\":\"COMPLETE\","
               "\"usage\":{\"billed_units\":{\"input_tokens\":3,\"output_tokens\":17},"
               "\"tokens\":{\"input_tokens\":69,\"output_tokens\":17},\"cached_tokens\":32}}}\n\n",
               "start(asked 0/0) text:LLMs stand for end:stop done(69/32+17/0)");
}

/* "Streaming for tool use", shortened */
static void plans_and_calls_are_read(void **state)
{
    (void)state;
    rig_expect(P, SSE,
               "data: {\"type\":\"tool-plan-delta\",\"delta\":{\"message\":{\"tool_plan\":\"I\"}}}"
               "\n\n"
               "data: {\"type\":\"tool-plan-delta\",\"delta\":{\"message\":{\"tool_plan\":\" will "
               "use\"}}}\n\n"
               "data: {\"type\":\"tool-call-start\",\"index\":0,\"delta\":{\"message\":{"
               "\"tool_calls\":{\"id\":\"query_daily_sales_report_1\",\"type\":\"function\","
               "\"function\":{\"name\":\"query_daily_sales_report\",\"arguments\":\"\"}}}}}\n\n"
               "data: {\"type\":\"tool-call-delta\",\"index\":0,\"delta\":{\"message\":{"
               "\"tool_calls\":{\"function\":{\"arguments\":\"{\\n    \\\"day\\\"\"}}}}}\n\n"
               "data: {\"type\":\"tool-call-delta\",\"index\":0,\"delta\":{\"message\":{"
               "\"tool_calls\":{\"function\":{\"arguments\":\": 1}\"}}}}}\n\n"
               "data: {\"type\":\"tool-call-end\",\"index\":0}\n\n"
               "data: {\"type\":\"tool-call-start\",\"index\":1,\"delta\":{\"message\":{"
               "\"tool_calls\":{\"id\":\"now_2\",\"type\":\"function\",\"function\":{\"name\":"
               "\"now\",\"arguments\":\"\"}}}}}\n\n"
               "data: {\"type\":\"tool-call-end\",\"index\":1}\n\n"
               "data: {\"type\":\"message-end\",\"delta\":{\"finish_reason\":\"TOOL_CALL\","
               "\"usage\":{\"tokens\":{\"input_tokens\":840,\"output_tokens\":112}}}}\n\n",
               "start(asked 0/0) think:I will use "
               "call0:query_daily_sales_report_1,query_daily_sales_report={\n    \"day\": 1} "
               "call1:now_2,now={} end:tool_calls done(840/0+112/0)");
}

static void thoughts_and_citations(void **state)
{
    (void)state;
    rig_expect(P, SSE,
               "data: {\"type\":\"content-start\",\"index\":0,\"delta\":{\"message\":{\"content\":"
               "{\"type\":\"thinking\",\"thinking\":\"\"}}}}\n\n"
               "data: {\"type\":\"content-delta\",\"index\":0,\"delta\":{\"message\":{\"content\":"
               "{\"thinking\":\"First\"}}}}\n\n"
               "data: {\"type\":\"content-end\",\"index\":0}\n\n"
               "data: {\"type\":\"content-delta\",\"index\":1,\"delta\":{\"message\":{\"content\":"
               "{\"text\":\"yes\"}}}}\n\n"
               "data: {\"type\":\"citation-start\",\"index\":0,\"delta\":{\"message\":{"
               "\"citations\":{\"start\":14,\"end\":29,\"text\":\"yes\",\"sources\":[]}}}}\n\n"
               "data: {\"type\":\"citation-end\",\"index\":0}\n\n"
               "data: {\"type\":\"message-end\",\"delta\":{\"finish_reason\":\"MAX_TOKENS\","
               "\"usage\":{\"billed_units\":{\"input_tokens\":5,\"output_tokens\":2}}}}\n\n",
               "start(asked 0/0) think:First text:yes end:length done(5/0+2/0)");
}

/* "Chat", without streaming */
static void a_whole_message_is_read(void **state)
{
    (void)state;
    rig_expect(P, "application/json",
               "{\"id\":\"c14c80c3\",\"finish_reason\":\"COMPLETE\",\"message\":{\"role\":"
               "\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\"LLMs\"}],\"tool_calls\":"
               "[{\"id\":\"a_1\",\"type\":\"function\",\"function\":{\"name\":\"a\","
               "\"arguments\":\"{}\"}}]},\"usage\":{\"tokens\":{\"input_tokens\":71.0,"
               "\"output_tokens\":418}}}",
               "start(asked 0/0) text:LLMs call0:a_1,a={} end:tool_calls done(71/0+418/0)");
}

static void failures_are_told(void **state)
{
    (void)state;
    rig_expect_error(P, SSE,
                     "data: {\"type\":\"message-end\",\"delta\":{\"error\":\"something broke\","
                     "\"finish_reason\":\"ERROR\"}}\n\n",
                     ERR_UPSTREAM, "something broke");
    rig_expect_error(P, SSE, "data: {\"id\":\"x\",\"message\":\"no more\"}\n\n", ERR_UPSTREAM,
                     "no more");
    rig_expect_error(P, SSE,
                     "data: {\"type\":\"content-delta\",\"index\":0,\"delta\":{\"message\":{"
                     "\"content\":{\"text\":\"cut\"}}}}\n\n",
                     ERR_NETWORK, "too early");
    rig_expect_error(P, SSE,
                     "data: {\"type\":\"tool-call-delta\",\"index\":0,\"delta\":{\"message\":{"
                     "\"tool_calls\":{\"function\":{\"arguments\":\"{}\"}}}}}\n\n",
                     ERR_UPSTREAM, "not the newest");
    rig_expect_error(P, "application/json", "{\"id\":\"x\"}", ERR_UPSTREAM, "no message");
}

/* ---- the rest ------------------------------------------------------------------------------ */

static void vectors_are_asked_for_and_read(void **state)
{
    (void)state;
    struct embed_input inputs[] = {{.text = "hello", .text_len = 5},
                                   {.text = "goodbye", .text_len = 7}};
    struct embed_request req = {.inputs = inputs, .n_inputs = 2};
    struct remote_http http = {.method = "POST"};
    struct error error;
    struct embed_rows rows;
    buf_init(&http.body, 4096);
    assert_int_equal(P->embed(&rig_env, &req, 0, 2, "embed-v4.0", &http, &error), OK);
    assert_string_equal(http.path, "/v2/embed");
    rig_same_json(buf_str(&http.body),
                  "{\"model\":\"embed-v4.0\",\"input_type\":\"search_document\","
                  "\"embedding_types\":[\"float\"],\"truncate\":\"NONE\",\"texts\":[\"hello\","
                  "\"goodbye\"]}");
    buf_free(&http.body);
    assert_int_equal(rows_init(&rows, "there", 2, false, &error), OK);
    rows_begin(&rows, 0, 2);
    json_t *answer = rig_json(
        "{\"id\":\"5807ee2e\",\"embeddings\":{\"float\":[[0.016296387,-0.008354187],"
        "[0.04663086,-0.023239136]]},\"texts\":[\"hello\",\"goodbye\"],\"meta\":{\"api_version\":{"
        "\"version\":\"2\"},\"billed_units\":{\"input_tokens\":2}},\"response_type\":"
        "\"embeddings_by_type\"}");
    assert_int_equal(P->embedded(answer, &rows, &error), OK);
    assert_int_equal(rows_complete(&rows, &error), OK);
    assert_int_equal(rows.prompt_tokens, 2);
    json_decref(answer);
    rows_free(&rows);
}

static void documents_are_scored(void **state)
{
    (void)state;
    struct embed_input inputs[] = {{.text = "a", .text_len = 1}, {.text = "b", .text_len = 1}};
    struct embed_request req = {.inputs = inputs, .n_inputs = 2, .query = "which?"};
    struct remote_http http = {.method = "POST"};
    struct error error;
    struct embed_rows rows;
    buf_init(&http.body, 4096);
    assert_int_equal(P->rerank(&rig_env, &req, 0, 2, "rerank-v3.5", &http, &error), OK);
    assert_string_equal(http.path, "/v2/rerank");
    rig_same_json(buf_str(&http.body), "{\"model\":\"rerank-v3.5\",\"query\":\"which?\",\"top_n\":"
                                       "2,\"documents\":[\"a\",\"b\"]}");
    buf_free(&http.body);
    assert_int_equal(rows_init(&rows, "there", 2, true, &error), OK);
    rows_begin(&rows, 0, 2);
    json_t *answer =
        rig_json("{\"results\":[{\"index\":1,\"relevance_score\":0.999071},{\"index\":0,"
                 "\"relevance_score\":0.32713068}],\"id\":\"07734bd2\",\"meta\":{}}");
    assert_int_equal(P->reranked(answer, &rows, &error), OK);
    assert_int_equal(rows_complete(&rows, &error), OK);
    /* as logits: 0.999071 and 0.32713068 */
    assert_true(fabsf(rows.vectors[1] - 6.98047F) < 1e-3F);
    assert_true(fabsf(rows.vectors[0] + 0.72119F) < 1e-3F);
    json_decref(answer);
    rows_begin(&rows, 0, 2);
    answer = rig_json("{\"results\":[{\"relevance_score\":0.9}]}");
    assert_int_equal(P->reranked(answer, &rows, &error), ERR_UPSTREAM);
    json_decref(answer);
    rows_free(&rows);
}

static void models_are_listed(void **state)
{
    (void)state;
    rig_expect_models(P,
                      "{\"models\":[{\"name\":\"command-a-03-2025\",\"endpoints\":[\"generate\","
                      "\"chat\"],\"finetuned\":false,\"context_length\":288000,\"features\":["
                      "\"tools\",\"json_schema\"]},{\"name\":\"embed-v4.0\",\"endpoints\":["
                      "\"embed\"],\"context_length\":8192,\"features\":null},{\"name\":"
                      "\"rerank-v3.5\",\"endpoints\":[\"rerank\"]}],\"next_page_token\":\"\"}",
                      "[{\"id\":\"command-a-03-2025\",\"provider\":\"there\",\"kind\":\"chat\","
                      "\"owner\":\"cohere\",\"context\":288000,\"tools\":true},{\"id\":"
                      "\"embed-v4.0\",\"provider\":\"there\",\"kind\":\"embedding\",\"owner\":"
                      "\"cohere\",\"context\":8192},{\"id\":\"rerank-v3.5\",\"provider\":\"there\","
                      "\"kind\":\"rerank\",\"owner\":\"cohere\"}]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_has_what_the_api_wants),
        cmocka_unit_test(calls_results_and_pictures),
        cmocka_unit_test(tools_and_their_choice),
        cmocka_unit_test(thinking_and_limits),
        cmocka_unit_test(the_documented_stream_is_read),
        cmocka_unit_test(plans_and_calls_are_read),
        cmocka_unit_test(thoughts_and_citations),
        cmocka_unit_test(a_whole_message_is_read),
        cmocka_unit_test(failures_are_told),
        cmocka_unit_test(vectors_are_asked_for_and_read),
        cmocka_unit_test(documents_are_scored),
        cmocka_unit_test(models_are_listed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
