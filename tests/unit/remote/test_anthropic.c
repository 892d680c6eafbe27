/* Protocol "anthropic" against the examples of docs.anthropic.com (Messages, Streaming Messages,
 * Tool use, Extended thinking, Errors), and what it does with the rest of a request. */
#include "protocol_rig.h"

#define P   (&remote_anthropic)
#define SSE "text/event-stream; charset=utf-8"

static const char model[] = "claude-sonnet-4-5-20250929";

static const struct tool weather = {
    .name = "get_weather",
    .description = "Get the current weather in a given location",
    .parameters = "{\"type\":\"object\",\"properties\":{\"location\":{\"type\":\"string\"}},"
                  "\"required\":[\"location\"]}"};

/* ---- requests ------------------------------------------------------------------------------ */

static void a_request_has_what_the_api_wants(void **state)
{
    (void)state;
    struct message m[] = {rig_message(ROLE_SYSTEM, "Be short."),
                          rig_message(ROLE_USER, "Hello, Claude")};
    struct gen_request req = rig_request(m, 2);
    const char *stop[] = {"END"};
    req.stop = stop;
    req.n_stop = 1;
    rig_expect_body(P, &req, model, "/v1/messages",
                    "{\"model\":\"claude-sonnet-4-5-20250929\",\"max_tokens\":1024,"
                    "\"stream\":true,\"temperature\":0.7,\"stop_sequences\":[\"END\"],"
                    "\"system\":[{\"type\":\"text\",\"text\":\"Be short.\"}],"
                    "\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\","
                    "\"text\":\"Hello, Claude\"}]}]}");
    struct headers h = {0};
    struct error error;
    assert_int_equal(P->headers(&rig_env, &h, &error), OK);
    assert_int_equal(h.n, 2);
    assert_string_equal(h.lines[0], "x-api-key: sk-test");
    assert_string_equal(h.lines[1], "anthropic-version: 2023-06-01");
    headers_free(&h);
}

static void calls_and_results_become_blocks(void **state)
{
    (void)state;
    struct tool_call calls[] = {
        {.id = "toolu_1", .name = "get_weather", .arguments = "{\"location\":\"Paris\"}"},
        {.id = "", .name = "get_time", .arguments = ""}};
    struct message m[] = {
        rig_message(ROLE_USER, "What is it like there?"),
        {.role = ROLE_ASSISTANT, .content = "Let me see.", .tool_calls = calls, .n_tool_calls = 2},
        {.role = ROLE_TOOL, .content = "15 degrees", .tool_call_id = "toolu_1"},
        {.role = ROLE_TOOL, .content = ""},
        rig_message(ROLE_USER, "Well?"),
        rig_message(ROLE_ASSISTANT, "It is  \n")};
    struct gen_request req = rig_request(m, 6);
    rig_expect_member(
        P, &req, model, "messages",
        "[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"What is it like "
        "there?\"}]},"
        "{\"role\":\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\"Let me see.\"},"
        "{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"get_weather\","
        "\"input\":{\"location\":\"Paris\"}},"
        "{\"type\":\"tool_use\",\"id\":\"call_1_1\",\"name\":\"get_time\",\"input\":{}}]},"
        "{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"toolu_1\","
        "\"content\":[{\"type\":\"text\",\"text\":\"15 degrees\"}]},"
        "{\"type\":\"tool_result\",\"tool_use_id\":\"call_1_1\",\"content\":[]},"
        "{\"type\":\"text\",\"text\":\"Well?\"}]},"
        "{\"role\":\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\"It is\"}]}]");
}

static void pictures_go_by_bytes_or_address(void **state)
{
    (void)state;
    struct image images[] = {{.media_type = "image/png", .data = "iVBOR="},
                             {.media_type = "", .url = "https://example.org/a.jpg"}};
    struct message m[] = {{.role = ROLE_USER, .content = "?", .images = images, .n_images = 2}};
    struct gen_request req = rig_request(m, 1);
    rig_expect_member(P, &req, model, "messages",
                      "[{\"role\":\"user\",\"content\":[{\"type\":\"image\",\"source\":{"
                      "\"type\":\"base64\",\"media_type\":\"image/png\",\"data\":\"iVBOR=\"}},"
                      "{\"type\":\"image\",\"source\":{\"type\":\"url\",\"url\":"
                      "\"https://example.org/a.jpg\"}},{\"type\":\"text\",\"text\":\"?\"}]}]");
}

static void tools_and_their_choice(void **state)
{
    (void)state;
    struct message m[] = {rig_message(ROLE_USER, "Weather?")};
    struct gen_request req = rig_request(m, 1);
    req.tools = &weather;
    req.n_tools = 1;
    rig_expect_member(P, &req, model, "tools",
                      "[{\"name\":\"get_weather\",\"description\":\"Get the current weather in a "
                      "given location\",\"input_schema\":{\"type\":\"object\",\"properties\":{"
                      "\"location\":{\"type\":\"string\"}},\"required\":[\"location\"]}}]");
    rig_expect_member(P, &req, model, "tool_choice", "");
    req.parallel_tool_calls = false;
    rig_expect_member(P, &req, model, "tool_choice",
                      "{\"type\":\"auto\",\"disable_parallel_tool_use\":true}");
    req.parallel_tool_calls = true;
    req.tool_choice = TOOL_REQUIRED;
    rig_expect_member(P, &req, model, "tool_choice", "{\"type\":\"any\"}");
    req.tool_choice = TOOL_NAMED;
    req.tool_choice_name = "get_weather";
    rig_expect_member(P, &req, model, "tool_choice",
                      "{\"type\":\"tool\",\"name\":\"get_weather\"}");
    req.tool_choice = TOOL_NONE;
    rig_expect_member(P, &req, model, "tools", "");
    rig_expect_member(P, &req, model, "tool_choice", "");
}

static void thinking_is_asked_for_as_the_model_wants_it(void **state)
{
    (void)state;
    struct message m[] = {rig_message(ROLE_USER, "Why?")};
    struct gen_request req = rig_request(m, 1);
    req.reasoning_effort = "medium";
    req.max_tokens = 8000;
    rig_expect_member(P, &req, model, "thinking", "{\"type\":\"enabled\",\"budget_tokens\":4000}");
    rig_expect_member(P, &req, model, "temperature", ""); /* refused together with it */
    rig_expect_member(P, &req, "claude-opus-4-7", "thinking", "{\"type\":\"adaptive\"}");
    rig_expect_member(P, &req, "claude-opus-4-7", "output_config", "{\"effort\":\"medium\"}");
    rig_expect_member(P, &req, "claude-3-5-haiku-20241022", "thinking", ""); /* it can't */
    req.reasoning_effort = NULL;
    req.reasoning_budget = 2000;
    req.max_tokens = 500;
    rig_expect_member(P, &req, model, "thinking", "{\"type\":\"enabled\",\"budget_tokens\":2000}");
    rig_expect_member(P, &req, model, "max_tokens", "2500"); /* must be more than the budget */
    req.reasoning_budget = 0;
    req.reasoning_effort = "none";
    rig_expect_member(P, &req, model, "thinking", "");
    rig_expect_member(P, &req, model, "temperature", "0.7");
    rig_expect_member(P, &req, "claude-opus-4-7", "temperature", ""); /* takes none */
    rig_expect_member(P, &req, "us.anthropic.claude-sonnet-4-20250514-v1:0", "temperature", "0.7");
}

static void thoughts_go_back_with_their_signature_only(void **state)
{
    (void)state;
    struct tool_call call = {.id = "toolu_1", .name = "get_weather", .arguments = "{}"};
    struct message m[] = {rig_message(ROLE_USER, "Weather?"),
                          {.role = ROLE_ASSISTANT,
                           .content = "",
                           .reasoning = "They ask for the weather.",
                           .reasoning_signature = "EqQB",
                           .tool_calls = &call,
                           .n_tool_calls = 1},
                          {.role = ROLE_TOOL, .content = "sun", .tool_call_id = "toolu_1"}};
    struct gen_request req = rig_request(m, 3);
    req.reasoning_budget = 1500;
    req.max_tokens = 4000;
    rig_expect_member(P, &req, model, "messages",
                      "[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"Weather?\"}]}"
                      ",{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":"
                      "\"They ask for the weather.\",\"signature\":\"EqQB\"},{\"type\":"
                      "\"tool_use\",\"id\":\"toolu_1\",\"name\":\"get_weather\",\"input\":{}}]},"
                      "{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":"
                      "\"toolu_1\",\"content\":[{\"type\":\"text\",\"text\":\"sun\"}]}]}]");
    rig_expect_member(P, &req, model, "thinking", "{\"type\":\"enabled\",\"budget_tokens\":1500}");
    m[1].reasoning_signature = NULL; /* then they can't, and it must not think now either */
    rig_expect_member(P, &req, model, "thinking", "");
    m[1].reasoning_signature = "redacted:EmwKAhgB";
    rig_expect_member(P, &req, model, "messages",
                      "[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"Weather?\"}]}"
                      ",{\"role\":\"assistant\",\"content\":[{\"type\":\"redacted_thinking\","
                      "\"data\":\"EmwKAhgB\"},{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":"
                      "\"get_weather\",\"input\":{}}]},{\"role\":\"user\",\"content\":[{\"type\":"
                      "\"tool_result\",\"tool_use_id\":\"toolu_1\",\"content\":[{\"type\":\"text\","
                      "\"text\":\"sun\"}]}]}]");
}

static void a_schema_is_a_tool_or_a_format(void **state)
{
    (void)state;
    struct message m[] = {rig_message(ROLE_USER, "Name and age?")};
    struct gen_request req = rig_request(m, 1);
    req.format = FORMAT_JSON_SCHEMA;
    req.schema = "{\"type\":\"object\",\"properties\":{\"age\":{\"type\":\"integer\"}}}";
    rig_expect_member(P, &req, model, "tool_choice",
                      "{\"type\":\"tool\",\"name\":\"answer_as_json\"}");
    rig_expect_member(P, &req, model, "tools",
                      "[{\"name\":\"answer_as_json\",\"description\":\"Gives the answer to the "
                      "user, as the members of this object.\",\"input_schema\":{\"type\":"
                      "\"object\",\"properties\":{\"age\":{\"type\":\"integer\"}}}}]");
    req.tools = &weather; /* it must be free to call those */
    req.n_tools = 1;
    rig_expect_member(P, &req, model, "output_config",
                      "{\"format\":{\"type\":\"json_schema\",\"schema\":{\"type\":\"object\","
                      "\"properties\":{\"age\":{\"type\":\"integer\"}}}}}");
    rig_expect_member(P, &req, model, "tool_choice", "");
    struct remote_http http;
    struct error error;
    assert_int_equal(rig_write(P, &req, "claude-3-5-haiku-20241022", &http, &error),
                     ERR_UNSUPPORTED);
    buf_free(&http.body);
    req.n_tools = 0;
    req.schema =
        "{\"type\":\"array\",\"items\":{\"type\":\"string\"}}"; /* no arguments of a tool */
    rig_expect_member(P, &req, model, "tools", "");
    rig_expect_member(P, &req, model, "output_config",
                      "{\"format\":{\"type\":\"json_schema\",\"schema\":{\"type\":\"array\","
                      "\"items\":{\"type\":\"string\"}}}}");
    req.format = FORMAT_JSON_OBJECT;
    req.schema = NULL;
    rig_expect_member(P, &req, model, "tool_choice",
                      "{\"type\":\"tool\",\"name\":\"answer_as_json\"}");
    req.reasoning_effort = "high";
    rig_expect_member(P, &req, model, "system",
                      "[{\"type\":\"text\",\"text\":\"Answer with one JSON object and nothing "
                      "else.\"}]");
}

static void what_the_api_has_not_is_refused(void **state)
{
    (void)state;
    struct message m[] = {rig_message(ROLE_USER, "x")};
    struct gen_request req = rig_request(m, 1);
    req.n = 2;
    rig_expect_refused(P, &req, ERR_UNSUPPORTED, "several choices");
    req = rig_request(m, 1);
    req.sampling.logprobs = true;
    rig_expect_refused(P, &req, ERR_UNSUPPORTED, "log probabilities");
    req = rig_request(m, 1);
    req.format = FORMAT_GRAMMAR;
    rig_expect_refused(P, &req, ERR_UNSUPPORTED, "grammars");
    req = rig_request(m, 1);
    req.adapter = "poet";
    rig_expect_refused(P, &req, ERR_UNSUPPORTED, "LoRA");
    req = rig_request(NULL, 0);
    req.kind = GEN_RAW;
    req.prompt = "Once";
    rig_expect_refused(P, &req, ERR_UNSUPPORTED, "text completions");
    req = rig_request(m, 1);
    const char *stop[] = {"\n\n"};
    req.stop = stop;
    req.n_stop = 1;
    rig_expect_refused(P, &req, ERR_UNSUPPORTED, "stop sequences");
    struct tool_call call = {.id = "a", .name = "f", .arguments = "[1]"};
    struct message broken[] = {
        rig_message(ROLE_USER, "x"),
        {.role = ROLE_ASSISTANT, .content = "", .tool_calls = &call, .n_tool_calls = 1}};
    req = rig_request(broken, 2);
    rig_expect_refused(P, &req, ERR_INVALID, "no object");
}

static void system_alone_speaks_as_the_user(void **state)
{
    (void)state;
    struct message m[] = {rig_message(ROLE_SYSTEM, "Say hi.")};
    struct gen_request req = rig_request(m, 1);
    rig_expect_member(P, &req, model, "system", "");
    rig_expect_member(
        P, &req, model, "messages",
        "[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"Say hi.\"}]}]");
}

/* ---- answers ------------------------------------------------------------------------------- */

/* "Basic streaming request" */
static void the_documented_stream_is_read(void **state)
{
    (void)state;
    rig_expect(
        P, SSE,
        "event: message_start\n"
        "data: {\"type\": \"message_start\", \"message\": {\"id\": \"msg_1nZdL29xx5MUA1yADyHTEsnR8u"
        "uvGzszyY\", \"type\": \"message\", \"role\": \"assistant\", \"content\": [], \"model\": "
        "\"claude-opus-4-20250514\", \"stop_reason\": null, \"stop_sequence\": null, \"usage\": "
        "{\"input_tokens\": 25, \"output_tokens\": 1}}}\n\n"
        "event: content_block_start\n"
        "data: {\"type\": \"content_block_start\", \"index\": 0, \"content_block\": {\"type\": "
        "\"text\", \"text\": \"\"}}\n\n"
        "event: ping\n"
        "data: {\"type\": \"ping\"}\n\n"
        "event: content_block_delta\n"
        "data: {\"type\": \"content_block_delta\", \"index\": 0, \"delta\": {\"type\": "
        "\"text_delta\", \"text\": \"Hello\"}}\n\n"
        "event: content_block_delta\n"
        "data: {\"type\": \"content_block_delta\", \"index\": 0, \"delta\": {\"type\": "
        "\"text_delta\", \"text\": \"!\"}}\n\n"
        "event: content_block_stop\n"
        "data: {\"type\": \"content_block_stop\", \"index\": 0}\n\n"
        "event: message_delta\n"
        "data: {\"type\": \"message_delta\", \"delta\": {\"stop_reason\": \"end_turn\", "
        "\"stop_sequence\":null}, \"usage\": {\"output_tokens\": 15}}\n\n"
        "event: message_stop\n"
        "data: {\"type\": \"message_stop\"}\n\n",
        "start(claude-opus-4-20250514 25/0) text:Hello! end:stop done(25/0+15/0)");
}

/* "Streaming request with tool use", shortened; the prompt comes partly from the cache. */
static void calls_of_tools_are_read(void **state)
{
    (void)state;
    rig_expect(
        P, SSE,
        "data: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_014p7gG3wDgGV9EUtLvnow3U\","
        "\"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude-x\",\"content\":[],"
        "\"usage\":{\"input_tokens\":472,\"cache_read_input_tokens\":100,"
        "\"cache_creation_input_tokens\":8,\"output_tokens\":2}}}\n\n"
        "data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\","
        "\"text\":\"\"}}\n\n"
        "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\","
        "\"text\":\"Okay, let's check\"}}\n\n"
        "data: {\"type\":\"content_block_stop\",\"index\":0}\n\n"
        "data: {\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":"
        "\"tool_use\",\"id\":\"toolu_01T1x1fJ34qAmk2tNTrN7Up6\",\"name\":\"get_weather\","
        "\"input\":{}}}\n\n"
        "data: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":"
        "\"input_json_delta\",\"partial_json\":\"\"}}\n\n"
        "data: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":"
        "\"input_json_delta\",\"partial_json\":\"{\\\"location\\\":\"}}\n\n"
        "data: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":"
        "\"input_json_delta\",\"partial_json\":\" \\\"San Francisco, CA\\\"}\"}}\n\n"
        "data: {\"type\":\"content_block_stop\",\"index\":1}\n\n"
        "data: {\"type\":\"content_block_start\",\"index\":2,\"content_block\":{\"type\":"
        "\"tool_use\",\"id\":\"toolu_2\",\"name\":\"now\",\"input\":{}}}\n\n"
        "data: {\"type\":\"content_block_stop\",\"index\":2}\n\n"
        "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\","
        "\"stop_sequence\":null},\"usage\":{\"output_tokens\":89}}\n\n"
        "data: {\"type\":\"message_stop\"}\n\n",
        "start(claude-x 580/100) text:Okay, let's check "
        "call0:toolu_01T1x1fJ34qAmk2tNTrN7Up6,get_weather={\"location\": \"San Francisco, CA\"} "
        "call1:toolu_2,now={} end:tool_calls done(580/100+89/0)");
}

/* "Streaming request with extended thinking", and a block that is kept secret. */
static void thoughts_are_read(void **state)
{
    (void)state;
    rig_expect(
        P, SSE,
        "data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":"
        "\"thinking\",\"thinking\":\"\"}}\n\n"
        "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":"
        "\"thinking_delta\",\"thinking\":\"Let me solve this step by step:\\n\\n1. First\"}}\n\n"
        "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":"
        "\"signature_delta\",\"signature\":\"EqQBCgIYAhIM1gbcDa9GJwZA2b3hGgxBdjrkzLoky3dl\"}}\n\n"
        "data: {\"type\":\"content_block_stop\",\"index\":0}\n\n"
        "data: {\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":"
        "\"redacted_thinking\",\"data\":\"EmwK\"}}\n\n"
        "data: {\"type\":\"content_block_stop\",\"index\":1}\n\n"
        "data: {\"type\":\"content_block_start\",\"index\":2,\"content_block\":{\"type\":"
        "\"text\",\"text\":\"\"}}\n\n"
        "data: {\"type\":\"content_block_delta\",\"index\":2,\"delta\":{\"type\":\"text_delta\","
        "\"text\":\"27 * 453 = 12,231\"}}\n\n"
        "data: {\"type\":\"content_block_stop\",\"index\":2}\n\n"
        "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"max_tokens\"},"
        "\"usage\":{\"input_tokens\":10,\"output_tokens\":30,\"output_tokens_details\":{"
        "\"thinking_tokens\":20}}}\n\n"
        "data: {\"type\":\"message_stop\"}\n\n",
        "start(asked 0/0) think:Let me solve this step by step:\n\n1. First "
        "signed:EqQBCgIYAhIM1gbcDa9GJwZA2b3hGgxBdjrkzLoky3dl signed:redacted:EmwK "
        "text:27 * 453 = 12,231 end:length done(10/0+30/20)");
}

static void the_answer_tool_is_told_as_text(void **state)
{
    (void)state;
    rig_expect(
        P, SSE,
        "data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":"
        "\"tool_use\",\"id\":\"toolu_1\",\"name\":\"answer_as_json\",\"input\":{}}}\n\n"
        "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":"
        "\"input_json_delta\",\"partial_json\":\"{\\\"age\\\": 4\"}}\n\n"
        "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":"
        "\"input_json_delta\",\"partial_json\":\"2}\"}}\n\n"
        "data: {\"type\":\"content_block_stop\",\"index\":0}\n\n"
        "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\"},\"usage\":{"
        "\"input_tokens\":9,\"output_tokens\":5}}\n\n"
        "data: {\"type\":\"message_stop\"}\n\n",
        "start(asked 0/0) text:{\"age\": 42} end:stop done(9/0+5/0)");
}

static void blocks_of_unknown_kinds_are_skipped(void **state)
{
    (void)state;
    rig_expect(
        P, SSE,
        "data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":"
        "\"server_tool_use\",\"id\":\"srvtoolu_1\",\"name\":\"web_search\"}}\n\n"
        "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":"
        "\"input_json_delta\",\"partial_json\":\"{}\"}}\n\n"
        "data: {\"type\":\"content_block_stop\",\"index\":0}\n\n"
        "data: {\"type\":\"invented_later\"}\n\n"
        "data: {\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"text\","
        "\"text\":\"yes\"}}\n\n"
        "data: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":"
        "\"citations_delta\",\"citation\":{}}}\n\n"
        "data: {\"type\":\"content_block_stop\",\"index\":1}\n\n"
        "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{"
        "\"input_tokens\":1,\"output_tokens\":1}}\n\n"
        "data: {\"type\":\"message_stop\"}\n\n",
        "start(asked 0/0) text:yes end:stop done(1/0+1/0)");
}

static void a_whole_message_is_read(void **state)
{
    (void)state;
    rig_expect(
        P, "application/json",
        "{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude-x\""
        ",\"content\":[{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"sig\"},"
        "{\"type\":\"text\",\"text\":\"Hi!\"},{\"type\":\"tool_use\",\"id\":\"t1\","
        "\"name\":\"f\",\"input\":{\"a\":1}}],\"stop_reason\":\"tool_use\",\"usage\":{"
        "\"input_tokens\":3,\"output_tokens\":4}}",
        "start(claude-x 3/0) think:hm signed:sig text:Hi! call0:t1,f={\"a\":1} "
        "end:tool_calls done(3/0+4/0)");
}

static void failures_are_told(void **state)
{
    (void)state;
    rig_expect_error(P, SSE,
                     "event: error\ndata: {\"type\": \"error\", \"error\": {\"type\": "
                     "\"overloaded_error\", \"message\": \"Overloaded\"}}\n\n",
                     ERR_UPSTREAM, "Overloaded");
    rig_expect_error(P, SSE, "data: {\"type\": \"message_st\n\n", ERR_UPSTREAM, "bad JSON");
    rig_expect_error(P, SSE,
                     "data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{"
                     "\"type\":\"text\",\"text\":\"cut\"}}\n\n",
                     ERR_NETWORK, "too early");
    rig_expect_error(P, "application/json", "{\"hello\":1}", ERR_UPSTREAM, "no message");
    rig_expect_error(P, SSE,
                     "data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{"
                     "\"type\":\"tool_use\",\"id\":\"x\",\"name\":\"\"}}\n\n",
                     ERR_UPSTREAM, "without a name");
}

static void models_are_listed(void **state)
{
    (void)state;
    rig_expect_models(P,
                      "{\"data\":[{\"type\":\"model\",\"id\":\"claude-opus-4-20250514\","
                      "\"display_name\":\"Claude Opus 4\",\"created_at\":\"2025-05-22T00:00:00Z\"},"
                      "{\"type\":\"model\"}],\"first_id\":\"a\",\"has_more\":false,\"last_id\":"
                      "\"b\"}",
                      "[{\"id\":\"claude-opus-4-20250514\",\"provider\":\"there\",\"name\":"
                      "\"Claude Opus 4\",\"kind\":\"chat\",\"owner\":\"anthropic\",\"created\":"
                      "1747872000,\"tools\":true,\"images\":true}]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_has_what_the_api_wants),
        cmocka_unit_test(calls_and_results_become_blocks),
        cmocka_unit_test(pictures_go_by_bytes_or_address),
        cmocka_unit_test(tools_and_their_choice),
        cmocka_unit_test(thinking_is_asked_for_as_the_model_wants_it),
        cmocka_unit_test(thoughts_go_back_with_their_signature_only),
        cmocka_unit_test(a_schema_is_a_tool_or_a_format),
        cmocka_unit_test(what_the_api_has_not_is_refused),
        cmocka_unit_test(system_alone_speaks_as_the_user),
        cmocka_unit_test(the_documented_stream_is_read),
        cmocka_unit_test(calls_of_tools_are_read),
        cmocka_unit_test(thoughts_are_read),
        cmocka_unit_test(the_answer_tool_is_told_as_text),
        cmocka_unit_test(blocks_of_unknown_kinds_are_skipped),
        cmocka_unit_test(a_whole_message_is_read),
        cmocka_unit_test(failures_are_told),
        cmocka_unit_test(models_are_listed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
