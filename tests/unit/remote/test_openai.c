/* OpenAI's protocol: requests as its documentation writes them, answers as it and its relatives
 * (DeepSeek, OpenRouter, vLLM, llama-server, Azure) send them. */
#include "unit/remote/protocol_rig.h"

#define SSE_TYPE "text/event-stream; charset=utf-8"

/* ---- requests ------------------------------------------------------------------------------ */

static void a_conversation_with_tools_is_written(void **state)
{
    (void)state;
    const struct tool_call call = {"call_1", "get_weather", "{\"location\":\"Paris\"}"};
    struct message m[] = {
        rig_message(ROLE_SYSTEM, "You are a helpful assistant."),
        rig_message(ROLE_USER, "Weather in \"Paris\"?"),
        {.role = ROLE_ASSISTANT,
         .content = "",
         .tool_calls = &call,
         .n_tool_calls = 1,
         .reasoning = "Hm."},
        {.role = ROLE_TOOL, .content = "22 C", .tool_call_id = "call_1", .name = "get_weather"}};
    const struct tool tools[] = {
        {"get_weather", "Current weather", "{\"type\":\"object\",\"properties\":{}}", true},
        {"nothing", "", "{}", false}};
    const char *stops[] = {"\n\n", "END"};
    struct gen_request req = rig_request(m, 4);
    req.tools = tools;
    req.n_tools = 2;
    req.tool_choice = TOOL_NAMED;
    req.tool_choice_name = "get_weather";
    req.parallel_tool_calls = false;
    req.stop = stops;
    req.n_stop = 2;
    req.n = 2;
    req.sampling.seed = 7;
    req.sampling.presence_penalty = 0.5F;
    rig_expect_body(
        &remote_openai, &req, "gpt-4o", "/chat/completions",
        "{\"model\":\"gpt-4o\",\"messages\":["
        "{\"role\":\"system\",\"content\":\"You are a helpful assistant.\"},"
        "{\"role\":\"user\",\"content\":\"Weather in \\\"Paris\\\"?\"},"
        "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"call_1\",\"type\":"
        "\"function\",\"function\":{\"name\":\"get_weather\",\"arguments\":"
        "\"{\\\"location\\\":\\\"Paris\\\"}\"}}]},"
        "{\"role\":\"tool\",\"content\":\"22 C\",\"tool_call_id\":\"call_1\"}],"
        "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"get_weather\",\"description\":"
        "\"Current weather\",\"parameters\":{\"type\":\"object\",\"properties\":{}},\"strict\":"
        "true}},{\"type\":\"function\",\"function\":{\"name\":\"nothing\",\"parameters\":{}}}],"
        "\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"get_weather\"}},"
        "\"parallel_tool_calls\":false,\"max_tokens\":1024,\"temperature\":0.7,\"top_p\":0.9,"
        "\"presence_penalty\":0.5,\"n\":2,\"seed\":7,\"stop\":[\"\\n\\n\",\"END\"],"
        "\"stream\":true,\"stream_options\":{\"include_usage\":true}}");
}

static void images_become_parts(void **state)
{
    (void)state;
    const struct image images[] = {{"image/png", "iVBORw0KGgo=", NULL},
                                   {"", NULL, "https://example.org/a.jpg"}};
    struct message m = {
        .role = ROLE_USER, .content = "What is this?", .images = images, .n_images = 2};
    struct gen_request req = rig_request(&m, 1);
    rig_expect_member(
        &remote_openai, &req, "gpt-4o", "messages",
        "[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"What is this?\"},"
        "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,iVBORw0KGgo=\"}},"
        "{\"type\":\"image_url\",\"image_url\":{\"url\":\"https://example.org/a.jpg\"}}]}]");
}

static void schemas_are_strict_where_openai_can_be(void **state)
{
    (void)state;
    struct message m = rig_message(ROLE_USER, "hi");
    struct gen_request req = rig_request(&m, 1);
    req.format = FORMAT_JSON_SCHEMA;
    req.schema = "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"}},"
                 "\"required\":[\"a\"],\"additionalProperties\":false}";
    rig_expect_member(&remote_openai, &req, "m", "response_format",
                      "{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"answer\",\"schema\":"
                      "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"}},"
                      "\"required\":[\"a\"],\"additionalProperties\":false},\"strict\":true}}");
    req.schema = "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"}}}";
    rig_expect_member(&remote_openai, &req, "m", "response_format",
                      "{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"answer\",\"schema\":"
                      "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"}}},"
                      "\"strict\":false}}");
    req.format = FORMAT_JSON_OBJECT;
    rig_expect_member(&remote_openai, &req, "m", "response_format", "{\"type\":\"json_object\"}");
}

static void engines_get_what_openai_would_refuse(void **state)
{
    (void)state;
    struct message m = rig_message(ROLE_USER, "hi");
    struct gen_request req = rig_request(&m, 1);
    req.sampling.top_k = 10;
    req.sampling.min_p = 0.1F;
    req.format = FORMAT_GRAMMAR;
    req.grammar = "root ::= \"a\"";
    req.template_kwargs = "{\"enable_thinking\":false}";
    rig_expect_member(&remote_openai, &req, "m", "top_k", "10");
    rig_expect_member(&remote_openai, &req, "m", "min_p", "0.1");
    rig_expect_member(&remote_openai, &req, "m", "grammar", "\"root ::= \\\"a\\\"\"");
    rig_expect_member(&remote_openai, &req, "m", "chat_template_kwargs",
                      "{\"enable_thinking\":false}");
}

static void openai_itself_gets_its_own_fields_only(void **state)
{
    (void)state;
    const struct remote_env env = {
        .name = "openai", .base_url = "https://api.openai.com/v1", .key = "k", .embed_model = ""};
    struct message m = rig_message(ROLE_USER, "hi");
    struct gen_request req = rig_request(&m, 1);
    struct remote_http http = {.method = "POST"};
    struct error error;
    req.sampling.top_k = 10;
    req.reasoning_effort = "low";
    buf_init(&http.body, REMOTE_REQUEST_MAX);
    assert_int_equal(remote_openai.generate(&env, &req, "gpt-5-mini", &http, &error), OK);
    rig_same_json(buf_str(&http.body),
                  "{\"model\":\"gpt-5-mini\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],"
                  "\"max_completion_tokens\":1024,\"reasoning_effort\":\"low\",\"stream\":true,"
                  "\"stream_options\":{\"include_usage\":true}}");
    req.format = FORMAT_GRAMMAR;
    req.grammar = "root ::= \"a\"";
    assert_int_equal(remote_openai.generate(&env, &req, "gpt-4o", &http, &error), ERR_UNSUPPORTED);
    buf_free(&http.body);
}

static void prompts_as_they_are_go_to_completions(void **state)
{
    (void)state;
    const int32_t tokens[] = {1, 22, 333};
    struct gen_request req = rig_request(NULL, 0);
    req.kind = GEN_RAW;
    req.prompt = "Once upon";
    req.echo = true;
    rig_expect_body(&remote_openai, &req, "m", "/completions",
                    "{\"model\":\"m\",\"prompt\":\"Once upon\",\"echo\":true,\"max_tokens\":1024,"
                    "\"temperature\":0.7,\"top_p\":0.9,\"stream\":true,"
                    "\"stream_options\":{\"include_usage\":true}}");
    req.prompt = NULL;
    req.prompt_tokens = tokens;
    req.n_prompt_tokens = 3;
    rig_expect_member(&remote_openai, &req, "m", "prompt", "[1,22,333]");
}

/* ---- answers ------------------------------------------------------------------------------- */

/* The example of platform.openai.com/docs/api-reference/chat-streaming. */
static void the_documented_stream_is_read(void **state)
{
    (void)state;
    rig_expect(
        &remote_openai, SSE_TYPE,
        "data: {\"id\":\"chatcmpl-123\",\"object\":\"chat.completion.chunk\",\"created\":"
        "1694268190,\"model\":\"gpt-4o-mini\", \"system_fingerprint\": \"fp_44709d6fcb\", "
        "\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},"
        "\"logprobs\":null,\"finish_reason\":null}]}\n\n"
        "data: {\"id\":\"chatcmpl-123\",\"object\":\"chat.completion.chunk\",\"created\":"
        "1694268190,\"model\":\"gpt-4o-mini\", \"system_fingerprint\": \"fp_44709d6fcb\", "
        "\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello\"},\"logprobs\":null,"
        "\"finish_reason\":null}]}\n\n"
        "data: {\"id\":\"chatcmpl-123\",\"object\":\"chat.completion.chunk\",\"created\":"
        "1694268190,\"model\":\"gpt-4o-mini\", \"system_fingerprint\": \"fp_44709d6fcb\", "
        "\"choices\":[{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"stop\"}]}"
        "\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":19,\"completion_tokens\":10,"
        "\"total_tokens\":29,\"prompt_tokens_details\":{\"cached_tokens\":8},"
        "\"completion_tokens_details\":{\"reasoning_tokens\":4}}}\n\n"
        "data: [DONE]\n\n",
        "start(gpt-4o-mini 0/0) text:Hello end:stop done(19/8+10/4)");
}

static void tool_calls_come_in_fragments(void **state)
{
    (void)state;
    rig_expect(
        &remote_openai, SSE_TYPE,
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":null,"
        "\"tool_calls\":[{\"index\":0,\"id\":\"call_DdmO\",\"function\":"
        "{\"arguments\":\"\",\"name\":\"get_weather\"},\"type\":\"function\"}]},"
        "\"finish_reason\":null}]}\n\n"
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":null,"
        "\"function\":{\"arguments\":\"{\\\"loc\",\"name\":null},\"type\":null}]}}]}\n\n"
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,"
        "\"function\":{\"arguments\":\"ation\\\":1}\"}}]}}]}\n\n"
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":1,\"id\":\"b\","
        "\"function\":{\"name\":\"now\",\"arguments\":\"\"}}]}}]}\n\n"
        "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\n"
        "data: [DONE]\n\n",
        "start(asked 0/0) call0:call_DdmO,get_weather={\"location\":1} "
        "call1:b,now={} end:tool_calls done(101/0+4/0)");
}

static void relatives_say_it_in_other_ways(void **state)
{
    (void)state;
    /* DeepSeek, vLLM, llama-server; OpenRouter's "reasoning", comments, and no [DONE] */
    rig_expect(&remote_openai, SSE_TYPE,
               ": OPENROUTER PROCESSING\n\n"
               "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":null,"
               "\"reasoning_content\":\"Let me\"}}]}\n\n"
               "data: {\"choices\":[{\"delta\":{\"content\":\"\",\"reasoning\":\" think\"}}]}\n\n"
               "data: {\"choices\":[{\"delta\":{\"content\":\"4\"},\"finish_reason\":\"length\"}],"
               "\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\n",
               "start(asked 0/0) think:Let me think text:4 end:length done(3/0+2/0)");
    /* calls without an index, with an object for arguments */
    rig_expect(&remote_openai, SSE_TYPE,
               "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"id\":\"x\","
               "\"function\":{\"name\":\"f\",\"arguments\":{\"a\":1}}}]},"
               "\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
               "start(asked 0/0) call0:x,f={\"a\":1} end:tool_calls done(101/0+2/0)");
    /* [DONE] without a finish_reason; a refusal */
    rig_expect(&remote_openai, SSE_TYPE,
               "data: {\"choices\":[{\"index\":0,\"delta\":{\"refusal\":\"I can't.\"}}]}\n\n"
               "data: [DONE]\n\n",
               "start(asked 0/0) text:I can't. end:stop done(101/0+2/0)");
    /* a finish_reason that is empty until the end, or also there when the body is whole */
    rig_expect(&remote_openai, SSE_TYPE,
               "data: {\"choices\":[{\"delta\":{\"content\":\"One\"},\"finish_reason\":\"\"}]}\n\n"
               "data: {\"choices\":[{\"delta\":{\"content\":\" two\"},\"finish_reason\":\"\"}]}\n\n"
               "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"length\"}],"
               "\"usage\":{\"prompt_tokens\":3.0,\"completion_tokens\":2.0}}\n\n",
               "start(asked 0/0) text:One two end:length done(3/0+2/0)");
    rig_expect(&remote_openai, "application/json",
               "{\"choices\":[{\"message\":{\"content\":\"One\"},\"finish_reason\":\"\"}]}",
               "start(asked 0/0) text:One end:stop done(101/0+1/0)");
}

static void whole_answers_are_read_too(void **state)
{
    (void)state;
    rig_expect(&remote_openai, "application/json",
               "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"model\":\"m-1\","
               "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":"
               "\"Hello!\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":9,"
               "\"completion_tokens\":12,\"total_tokens\":21}}",
               "start(m-1 9/0) text:Hello! end:stop done(9/0+12/0)");
}

static void log_probabilities_are_passed_on(void **state)
{
    (void)state;
    rig_expect(&remote_openai, SSE_TYPE,
               "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"},\"logprobs\":"
               "{\"content\":[{\"token\":\"Hi\",\"logprob\":-0.25,\"bytes\":[72,105],"
               "\"top_logprobs\":[{\"token\":\"Hi\",\"logprob\":-0.25,\"bytes\":[72,105]},"
               "{\"token\":\"Yo\",\"logprob\":-2.5,\"bytes\":null}]}]},"
               "\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
               "start(asked 0/0) text:Hi{Hi -0.25 +2} end:stop done(101/0+1/0)");
}

static void what_means_nothing_is_an_error(void **state)
{
    (void)state;
    static const struct {
        const char *type, *body;
        enum err code;
        const char *says;
    } cases[] = {
        {SSE_TYPE, "", ERR_NETWORK, "too early"},
        {SSE_TYPE, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n",
         ERR_NETWORK, "too early"},
        {SSE_TYPE, "data: [1,2]\n\n", ERR_UPSTREAM, "no object"},
        {SSE_TYPE, "data: nonsense\n\n", ERR_UPSTREAM, "bad JSON"},
        {SSE_TYPE, "data: {\"choices\":[{\"index\":1,\"delta\":{\"content\":\"a\"}}]}\n\n",
         ERR_UPSTREAM, "nobody asked for"},
        {SSE_TYPE,
         "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":3,\"function\":{\"name\":"
         "\"f\"}}]}}]}\n\n",
         ERR_UPSTREAM, "wrong order"},
        {SSE_TYPE,
         "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{}}]}}]}\n\n",
         ERR_UPSTREAM, "without a name"},
        {SSE_TYPE,
         "data: {\"error\":{\"message\":\"maximum context length is 8192 tokens\",\"type\":"
         "\"invalid_request_error\",\"code\":\"context_length_exceeded\"}}\n\n",
         ERR_CONTEXT, "8192"},
        {SSE_TYPE,
         "data: {\"error\":{\"message\":\"Rate limit reached\",\"code\":\"rate_limit_exceeded\"}}"
         "\n\n",
         ERR_BUSY, "Rate limit"},
        {"application/json", "{\"object\":\"chat.completion\",\"choices\":[]}", ERR_UPSTREAM,
         "without choices"},
        {"application/json", "{\"choices\":", ERR_UPSTREAM, "bad JSON"},
        {"text/html", "<html>", ERR_UPSTREAM, "base URL"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        rig_expect_error(&remote_openai, cases[i].type, cases[i].body, cases[i].code,
                         cases[i].says);
}

static void lists_of_models_are_read(void **state)
{
    (void)state;
    rig_expect_models(
        &remote_openai,
        "{\"object\":\"list\",\"data\":[{\"id\":\"gpt-4o\",\"object\":\"model\",\"created\":"
        "1686935002,\"owned_by\":\"openai\"},{\"id\":\"text-embedding-3-small\"},"
        "{\"id\":\"qwen\",\"max_model_len\":32768},{\"id\":\"or/x\",\"name\":\"X\","
        "\"context_length\":8192},{\"no\":\"id\"},{\"id\":\"ls\",\"meta\":{\"n_ctx_train\":4096}}]"
        "}",
        "[{\"id\":\"gpt-4o\",\"provider\":\"there\",\"owner\":\"openai\",\"created\":1686935002},"
        "{\"id\":\"text-embedding-3-small\",\"provider\":\"there\",\"kind\":\"embedding\"},"
        "{\"id\":\"qwen\",\"provider\":\"there\",\"context\":32768},"
        "{\"id\":\"or/x\",\"provider\":\"there\",\"name\":\"X\",\"context\":8192},"
        "{\"id\":\"ls\",\"provider\":\"there\",\"context\":4096}]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_conversation_with_tools_is_written),
        cmocka_unit_test(images_become_parts),
        cmocka_unit_test(schemas_are_strict_where_openai_can_be),
        cmocka_unit_test(engines_get_what_openai_would_refuse),
        cmocka_unit_test(openai_itself_gets_its_own_fields_only),
        cmocka_unit_test(prompts_as_they_are_go_to_completions),
        cmocka_unit_test(the_documented_stream_is_read),
        cmocka_unit_test(tool_calls_come_in_fragments),
        cmocka_unit_test(relatives_say_it_in_other_ways),
        cmocka_unit_test(whole_answers_are_read_too),
        cmocka_unit_test(log_probabilities_are_passed_on),
        cmocka_unit_test(what_means_nothing_is_an_error),
        cmocka_unit_test(lists_of_models_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
