/* Protocol "ollama" against the examples of Ollama's API documentation (docs/api.md: Generate a
 * chat completion, Embeddings, List models), and what it does with the rest of a request. */
#include "protocol_rig.h"

#define P      (&remote_ollama)
#define NDJSON "application/x-ndjson"

static const struct tool weather = {
    .name = "get_weather", .description = "Get the weather in a given city", .parameters = "{}"};

#define OPTIONS                                                                                    \
    "\"options\":{\"temperature\":0.7,\"top_k\":40,\"top_p\":0.9,\"min_p\":0.05,"                  \
    "\"repeat_penalty\":1,\"repeat_last_n\":64,\"num_predict\":1024}"

/* ---- requests ------------------------------------------------------------------------------ */

static void a_request_has_what_the_api_wants(void **state)
{
    (void)state;
    struct message m[] = {rig_message(ROLE_SYSTEM, "Be short."),
                          rig_message(ROLE_USER, "why is the sky blue?")};
    struct gen_request req = rig_request(m, 2);
    rig_expect_body(
        P, &req, "llama3.2", "/api/chat",
        "{\"model\":\"llama3.2\",\"stream\":true,\"truncate\":false,\"shift\":false," OPTIONS
        ",\"messages\":[{\"role\":\"system\",\"content\":\"Be short.\"},"
        "{\"role\":\"user\",\"content\":\"why is the sky blue?\"}]}");
    struct headers h = {0};
    struct error error;
    assert_int_equal(P->headers(&rig_env, &h, &error), OK);
    assert_string_equal(h.lines[0], "Authorization: Bearer sk-test");
    headers_free(&h);
}

static void raw_text_goes_to_generate(void **state)
{
    (void)state;
    struct gen_request req = rig_request(NULL, 0);
    req.kind = GEN_RAW;
    req.prompt = "Once";
    rig_expect_body(
        P, &req, "llama3.2", "/api/generate",
        "{\"model\":\"llama3.2\",\"stream\":true,\"truncate\":false,\"shift\":false," OPTIONS
        ",\"prompt\":\"Once\",\"raw\":true}");
    req.echo = true;
    rig_expect_refused(P, &req, ERR_UNSUPPORTED, "echo");
    req.echo = false;
    req.prompt = NULL;
    rig_expect_refused(P, &req, ERR_UNSUPPORTED, "token ids");
}

static void options_are_all_said(void **state)
{
    (void)state;
    struct message m[] = {rig_message(ROLE_USER, "x")};
    const char *stop[] = {"\n", "user:"};
    struct gen_request req = rig_request(m, 1);
    req.sampling.temperature = 0;
    req.sampling.seed = 42;
    req.sampling.frequency_penalty = 1;
    req.sampling.presence_penalty = -1.5f;
    req.max_tokens = -1;
    req.stop = stop;
    req.n_stop = 2;
    rig_expect_member(P, &req, "m", "options",
                      "{\"temperature\":0,\"top_k\":40,\"top_p\":0.9,\"min_p\":0.05,"
                      "\"repeat_penalty\":1,\"repeat_last_n\":64,\"frequency_penalty\":1,"
                      "\"presence_penalty\":-1.5,\"seed\":42,\"num_predict\":-1,"
                      "\"stop\":[\"\\n\",\"user:\"]}");
    req.overflow = OVERFLOW_SHIFT;
    rig_expect_member(P, &req, "m", "truncate", "true");
    req.sampling.logprobs = true;
    req.sampling.top_logprobs = 2;
    rig_expect_member(P, &req, "m", "top_logprobs", "2");
}

static void keep_alive_in_all_its_forms(void **state)
{
    (void)state;
    struct message m[] = {rig_message(ROLE_USER, "x")};
    struct gen_request req = rig_request(m, 1);
    rig_expect_member(P, &req, "m", "keep_alive", "");
    req.keep_alive_ms = KEEP_ALIVE_FOREVER;
    rig_expect_member(P, &req, "m", "keep_alive", "-1");
    req.keep_alive_ms = KEEP_ALIVE_NONE;
    rig_expect_member(P, &req, "m", "keep_alive", "0");
    req.keep_alive_ms = 90000;
    rig_expect_member(P, &req, "m", "keep_alive", "\"90000ms\"");
}

static void thinking_and_formats(void **state)
{
    (void)state;
    struct message m[] = {rig_message(ROLE_USER, "x")};
    struct gen_request req = rig_request(m, 1);
    rig_expect_member(P, &req, "qwen3", "think", "");
    req.reasoning_effort = "high";
    rig_expect_member(P, &req, "qwen3", "think", "true");
    rig_expect_member(P, &req, "gpt-oss:20b", "think", "\"high\"");
    req.reasoning_effort = "none";
    rig_expect_member(P, &req, "qwen3", "think", "false");
    req.reasoning_effort = NULL;
    req.template_kwargs = "{\"enable_thinking\":false}";
    rig_expect_member(P, &req, "qwen3", "think", "false");
    req.format = FORMAT_JSON_OBJECT;
    rig_expect_member(P, &req, "m", "format", "\"json\"");
    req.format = FORMAT_JSON_SCHEMA;
    req.schema = "{\"type\":\"object\"}";
    rig_expect_member(P, &req, "m", "format", "{\"type\":\"object\"}");
}

static void calls_results_and_pictures(void **state)
{
    (void)state;
    struct image images[] = {{.media_type = "image/png", .data = "iVBOR="}};
    struct tool_call call = {
        .id = "call_9", .name = "get_weather", .arguments = "{\"city\":\"Tokyo\"}"};
    struct message m[] = {
        {.role = ROLE_USER, .content = "here?", .images = images, .n_images = 1},
        {.role = ROLE_ASSISTANT,
         .content = "",
         .reasoning = "hm",
         .tool_calls = &call,
         .n_tool_calls = 1},
        {.role = ROLE_TOOL, .content = "11 degrees celsius", .tool_call_id = "call_9"}};
    struct gen_request req = rig_request(m, 3);
    req.tools = &weather;
    req.n_tools = 1;
    rig_expect_member(P, &req, "m", "messages",
                      "[{\"role\":\"user\",\"content\":\"here?\",\"images\":[\"iVBOR=\"]},"
                      "{\"role\":\"assistant\",\"content\":\"\",\"thinking\":\"hm\","
                      "\"tool_calls\":[{\"id\":\"call_9\",\"function\":{\"index\":0,\"name\":"
                      "\"get_weather\",\"arguments\":{\"city\":\"Tokyo\"}}}]},"
                      "{\"role\":\"tool\",\"content\":\"11 degrees celsius\",\"tool_name\":"
                      "\"get_weather\",\"tool_call_id\":\"call_9\"}]");
    rig_expect_member(P, &req, "m", "tools",
                      "[{\"type\":\"function\",\"function\":{\"name\":\"get_weather\","
                      "\"description\":\"Get the weather in a given city\",\"parameters\":{"
                      "\"type\":\"object\",\"properties\":{}}}}]");
    req.tool_choice = TOOL_NONE;
    rig_expect_member(P, &req, "m", "tools", "");
    req.tool_choice = TOOL_REQUIRED;
    rig_expect_refused(P, &req, ERR_UNSUPPORTED, "required");
    req.tool_choice = TOOL_AUTO;
    images[0] = (struct image){.media_type = "", .url = "https://example.org/a.png"};
    rig_expect_refused(P, &req, ERR_UNSUPPORTED, "images by address");
}

/* ---- answers ------------------------------------------------------------------------------- */

/* "Chat request (Streaming)" */
static void the_documented_stream_is_read(void **state)
{
    (void)state;
    rig_expect(P, NDJSON,
               "{\"model\":\"llama3.2\",\"created_at\":\"2023-08-04T08:52:19.385406455-07:00\","
               "\"message\":{\"role\":\"assistant\",\"content\":\"The\",\"images\":null},\"done\":"
               "false}\n"
               "{\"model\":\"llama3.2\",\"created_at\":\"2023-08-04T08:52:19.4-07:00\","
               "\"message\":{\"role\":\"assistant\",\"content\":\" sky \xE2\x82\xAC\"},\"done\":"
               "false}\n"
               "{\"model\":\"llama3.2\",\"created_at\":\"2023-08-04T19:22:45.499127Z\","
               "\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":true,"
               "\"total_duration\":4883583458,\"load_duration\":1334875,\"prompt_eval_count\":26,"
               "\"prompt_eval_duration\":342546000,\"eval_count\":282,\"eval_duration\":"
               "4535599000}\n",
               "start(llama3.2 0/0) text:The sky \xE2\x82\xAC end:stop done(26/0+282/0)");
}

/* "Chat request (Streaming with tools)" and "(with thinking)" */
static void calls_and_thoughts_are_read(void **state)
{
    (void)state;
    rig_expect(P, NDJSON,
               "{\"model\":\"qwen3\",\"created_at\":\"x\",\"message\":{\"role\":\"assistant\","
               "\"content\":\"\",\"thinking\":\"Okay, \"},\"done\":false}\n"
               "{\"model\":\"qwen3\",\"created_at\":\"x\",\"message\":{\"role\":\"assistant\","
               "\"content\":\"\",\"thinking\":\"Tokyo.\"},\"done\":false}\n"
               "{\"model\":\"qwen3\",\"created_at\":\"x\",\"message\":{\"role\":\"assistant\","
               "\"content\":\"\",\"tool_calls\":[{\"id\":\"call_1\",\"function\":{\"index\":0,"
               "\"name\":\"get_weather\",\"arguments\":{\"city\":\"Tokyo\"}}},{\"function\":{"
               "\"name\":\"now\",\"arguments\":{}}}]},\"done\":false}\n"
               "{\"model\":\"qwen3\",\"message\":{\"role\":\"assistant\",\"content\":\"\","
               "\"tool_calls\":[{\"function\":{\"name\":\"then\",\"arguments\":{\"a\":[1]}}}]},"
               "\"done\":false}\r\n"
               "{\"model\":\"qwen3\",\"message\":{\"role\":\"assistant\",\"content\":\"\"},"
               "\"done_reason\":\"stop\",\"done\":true,\"prompt_eval_count\":169,\"eval_count\":"
               "15}",
               "start(qwen3 0/0) think:Okay, Tokyo. call0:call_1,get_weather={\"city\":\"Tokyo\"} "
               "call1:?,now={} call2:?,then={\"a\":[1]} end:tool_calls done(169/0+15/0)");
}

static void raw_answers_and_log_probabilities(void **state)
{
    (void)state;
    rig_expect(P, NDJSON,
               "{\"model\":\"m\",\"response\":\"Hello\",\"done\":false,\"logprobs\":[{\"token\":"
               "\"Hello\",\"logprob\":-0.25,\"bytes\":[72],\"top_logprobs\":[{\"token\":\"Hello\","
               "\"logprob\":-0.25},{\"token\":\"Hi\",\"logprob\":-1.5}]}]}\n"
               "{\"model\":\"m\",\"response\":\"\",\"done\":true,\"done_reason\":\"length\","
               "\"prompt_eval_count\":1,\"eval_count\":1}\n",
               "start(m 0/0) text:Hello{Hello -0.25 +2} end:length done(1/0+1/0)");
}

static void a_whole_answer_is_read(void **state)
{
    (void)state;
    rig_expect(P, "application/json; charset=utf-8",
               "{\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"Hi\"},"
               "\"done\":true,\"done_reason\":\"stop\",\"prompt_eval_count\":2,\"eval_count\":3}",
               "start(m 0/0) text:Hi end:stop done(2/0+3/0)");
}

static void failures_are_told(void **state)
{
    (void)state;
    rig_expect_error(P, NDJSON,
                     "{\"error\":\"an error was encountered while running the model\"}\n",
                     ERR_UPSTREAM, "an error was encountered");
    rig_expect_error(P, NDJSON,
                     "{\"model\":\"m\",\"message\":{\"content\":\"cut\"},\"done\":false}\n",
                     ERR_NETWORK, "too early");
    rig_expect_error(P, NDJSON, "{\"model\":\"m\",\"mess\n", ERR_UPSTREAM, "bad JSON");
    rig_expect_error(P, NDJSON, "[]\n", ERR_UPSTREAM, "no object");
    rig_expect_error(P, "text/html", "<html>", ERR_UPSTREAM, "base URL");
}

/* ---- the rest ------------------------------------------------------------------------------ */

static void vectors_are_asked_for_and_read(void **state)
{
    (void)state;
    struct embed_input inputs[] = {{.text = "no", .text_len = 2},
                                   {.text = "Why is the sky blue?", .text_len = 20},
                                   {.text = "Why?", .text_len = 4}};
    struct embed_request req = {.inputs = inputs, .n_inputs = 3, .keep_alive_ms = 1000};
    struct remote_http http = {.method = "POST"};
    struct error error;
    struct embed_rows rows;
    buf_init(&http.body, 4096);
    assert_int_equal(P->embed(&rig_env, &req, 1, 2, "all-minilm", &http, &error), OK);
    assert_string_equal(http.path, "/api/embed");
    rig_same_json(buf_str(&http.body),
                  "{\"model\":\"all-minilm\",\"truncate\":false,\"keep_alive\":\"1000ms\","
                  "\"input\":[\"Why is the sky blue?\",\"Why?\"]}");
    buf_free(&http.body);
    assert_int_equal(rows_init(&rows, "there", 2, false, &error), OK);
    rows_begin(&rows, 0, 2);
    json_t *answer = rig_json("{\"model\":\"all-minilm\",\"embeddings\":[[3,4],[0.6,0.8]],"
                              "\"total_duration\":14143917,\"prompt_eval_count\":8}");
    assert_int_equal(P->embedded(answer, &rows, &error), OK);
    assert_int_equal(rows_complete(&rows, &error), OK);
    assert_true(rows.vectors[0] > 0.59f && rows.vectors[0] < 0.61f);
    assert_int_equal(rows.prompt_tokens, 8);
    assert_string_equal(rows.model, "all-minilm");
    json_decref(answer);
    answer = rig_json("{\"embedding\":[1]}");
    assert_int_equal(P->embedded(answer, &rows, &error), ERR_UPSTREAM);
    json_decref(answer);
    rows_free(&rows);
}

/* "List Local Models" */
static void models_are_listed(void **state)
{
    (void)state;
    rig_expect_models(
        P,
        "{\"models\":[{\"name\":\"deepseek-r1:latest\",\"model\":\"deepseek-r1:latest\","
        "\"modified_at\":\"2025-05-10T08:06:48.639712648-07:00\",\"size\":4683075271,"
        "\"digest\":\"0a8c26691023\",\"details\":{\"parent_model\":\"\",\"format\":\"gguf\","
        "\"family\":\"qwen2\",\"families\":[\"qwen2\"],\"parameter_size\":\"7.6B\","
        "\"quantization_level\":\"Q4_K_M\"}},{\"name\":\"nomic-embed-text:latest\",\"details\":{"
        "\"family\":\"nomic-bert\"}},{\"model\":\"gemma3\",\"name\":\"gemma3\",\"capabilities\":["
        "\"completion\",\"vision\"]}]}",
        "[{\"id\":\"deepseek-r1:latest\",\"provider\":\"there\",\"name\":\"deepseek-r1:latest\","
        "\"kind\":\"chat\",\"family\":\"qwen2\",\"quant\":\"Q4_K_M\",\"parameters\":\"7.6B\","
        "\"size\":4683075271},{\"id\":\"nomic-embed-text:latest\",\"provider\":\"there\",\"name\":"
        "\"nomic-embed-text:latest\",\"kind\":\"embedding\",\"family\":\"nomic-bert\"},{\"id\":"
        "\"gemma3\",\"provider\":\"there\",\"name\":\"gemma3\",\"kind\":\"chat\",\"images\":true}"
        "]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_has_what_the_api_wants),
        cmocka_unit_test(raw_text_goes_to_generate),
        cmocka_unit_test(options_are_all_said),
        cmocka_unit_test(keep_alive_in_all_its_forms),
        cmocka_unit_test(thinking_and_formats),
        cmocka_unit_test(calls_results_and_pictures),
        cmocka_unit_test(the_documented_stream_is_read),
        cmocka_unit_test(calls_and_thoughts_are_read),
        cmocka_unit_test(raw_answers_and_log_probabilities),
        cmocka_unit_test(a_whole_answer_is_read),
        cmocka_unit_test(failures_are_told),
        cmocka_unit_test(vectors_are_asked_for_and_read),
        cmocka_unit_test(models_are_listed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
