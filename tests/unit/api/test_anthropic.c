/* Anthropic's surface: how bodies are understood, what is refused with which pointer, and the exact
 * bytes of answers and events. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "api/anthropic/anthropic_int.h"
#include "api/request.h"
#include "support/call_env.h"

/* ---- bodies -------------------------------------------------------------------------------- */

static enum err parse(const char *text, bool count, struct call *call, struct messages_wish *wish,
                      struct error *error)
{
    json_t *body;
    enum err e = request_parse_object(text, strlen(text), &body, error);
    if (e) return e;
    e = messages_parse(body, strlen(text), count, &env, call, wish, error);
    json_decref(body);
    return e;
}

static struct gen_request *accept(const char *text, struct call *call, struct messages_wish *wish)
{
    struct error error;
    if (parse(text, false, call, wish, &error) != OK)
        fail_msg("%s\nwas refused: %s (%s)", text, error.msg, error.param);
    return call->requests[0];
}

#define HEAD          "{\"model\":\"m\",\"max_tokens\":2000,"
#define HI            "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
#define U(...)        "{\"role\":\"user\",\"content\":" __VA_ARGS__ "}"
#define A(...)        "{\"role\":\"assistant\",\"content\":" __VA_ARGS__ "}"
#define TURNS(...)    HEAD "\"messages\":[" __VA_ARGS__ "]}"
#define CALL          "{\"type\":\"tool_use\",\"id\":\"t1\",\"name\":\"get\",\"input\":{\"a\":1}}"
#define CALL2         "{\"type\":\"tool_use\",\"id\":\"t2\",\"name\":\"put\",\"input\":{}}"
#define RESULT(id, c) "{\"type\":\"tool_result\",\"tool_use_id\":\"" id "\",\"content\":" c "}"
#define PNG                                                                                        \
    "{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_type\":\"image/png\",\"data\":"   \
    "\"AAAA\"}}"

/* "s:system|u:text|a:text[get {"a":1}]|t:result(get t1)"; images as "+1". */
static void check_turns(const char *body, const char *wanted)
{
    static const char roles[] = {'s', 'u', 'a', 't'};
    struct call call;
    struct messages_wish wish;
    struct gen_request *req = accept(body, &call, &wish);
    struct buf out;
    buf_init(&out, 4096);
    for (size_t i = 0; i < req->n_messages; i++) {
        const struct message *m = &req->messages[i];
        buf_printf(&out, "%s%c:%s", i ? "|" : "", roles[m->role], m->content);
        if (m->reasoning) buf_printf(&out, "{%s}", m->reasoning);
        if (m->reasoning_signature) buf_printf(&out, "{%s}", m->reasoning_signature);
        for (size_t k = 0; k < m->n_tool_calls; k++)
            buf_printf(&out, "[%s %s %s]", m->tool_calls[k].id, m->tool_calls[k].name,
                       m->tool_calls[k].arguments);
        if (m->tool_call_id) buf_printf(&out, "(%s %s)", m->name, m->tool_call_id);
        for (size_t k = 0; k < m->n_images; k++)
            buf_printf(&out, "+%s", m->images[k].url ? m->images[k].url : m->images[k].data);
    }
    assert_string_equal(buf_str(&out), wanted);
    buf_free(&out);
    call_free(&call);
}

static void turns(void **state)
{
    (void)state;
    check_turns(TURNS(U("\"hi\"")), "u:hi");
    check_turns(TURNS(U("\"a\"") "," U("[{\"type\":\"text\",\"text\":\"b\"}]") "," A("\"c\"") "," A(
                    "\"d\"")),
                "u:a\nb|a:c\nd");
    check_turns(HEAD "\"system\":\"be brief\"," HI "}", "s:be brief|u:hi");
    check_turns(HEAD
                "\"system\":[{\"type\":\"text\",\"text\":\"x-anthropic-billing-header: a=1;\"},"
                "{\"type\":\"text\",\"text\":\"be\",\"cache_control\":{\"type\":\"ephemeral\"}},"
                "{\"type\":\"text\",\"text\":\"brief\"}]," HI "}",
                "s:be\nbrief|u:hi");
    check_turns(TURNS(U("\"a\"") ","
                                 "{\"role\":\"system\",\"content\":\"now in French\"}"
                                 "," U("\"b\"")),
                "u:a|s:now in French|u:b");
    check_turns(
        TURNS(U("\"go\"") "," A(
            "[{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"SIG\"},"
            "{\"type\":\"redacted_thinking\",\"data\":\"x\"},"
            "{\"type\":\"text\",\"text\":\"well\"}," CALL "," CALL2
            "]") "," U("[" RESULT("t2",
                                  "\"two\"") "," RESULT("t1",
                                                        "[{\"type\":\"text\",\"text\":\"one\"}," PNG
                                                        "]") ","
                                                             "{\"type\":\"text\",\"text\":\"and\"}"
                                                             "]")),
        "u:go|a:well{hm}{SIG}[t1 get {\"a\":1}][t2 put {}]|t:two(put t2)|"
        "t:one(get t1)+AAAA|u:and");
    check_turns(
        TURNS(U("\"go\"") "," A("[" CALL "]") "," U("[" RESULT("t1", "\"\"") "]") "," A("\"ok\"")),
        "u:go|a:[t1 get {\"a\":1}]|t:(get t1)|a:ok");
    /* What was thought here is no other provider's business. */
    check_turns(
        TURNS(U("\"go\"") "," A("[{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":"
                                "\"" LOCAL_SIGNATURE "\"},{\"type\":\"text\",\"text\":\"x\"}]")),
        "u:go|a:x{hm}");
}

static void pictures_and_documents(void **state)
{
    (void)state;
    check_turns(TURNS(U("[" PNG ",{\"type\":\"text\",\"text\":\"what?\"},{\"type\":\"image\","
                        "\"source\":{\"type\":\"url\",\"url\":\"https://x.org/a.png\"}}]")),
                "u:what?+AAAA+https://x.org/a.png");
    check_turns(TURNS(U("[{\"type\":\"document\",\"title\":\"T\",\"source\":{\"type\":\"text\","
                        "\"media_type\":\"text/plain\",\"data\":\"body\"}},{\"type\":\"text\","
                        "\"text\":\"sum up\"}]")),
                "u:T\nbody\nsum up");
    check_turns(
        TURNS(U("[{\"type\":\"document\",\"source\":{\"type\":\"content\",\"content\":"
                "[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\",\"text\":\"b\"}]}}]")),
        "u:a\nb");
    check_turns(TURNS(U("[{\"type\":\"search_result\",\"source\":\"https://x.org\",\"title\":\"T\","
                        "\"content\":[{\"type\":\"text\",\"text\":\"found\"}]}]")),
                "u:T\nhttps://x.org\nfound");
}

static void options(void **state)
{
    (void)state;
    struct call call;
    struct messages_wish wish;
    struct gen_request *r = accept(HEAD HI "}", &call, &wish);
    assert_string_equal(r->model, "m");
    assert_int_equal(r->max_tokens, 2000);
    assert_true(r->sampling.temperature > 0.69f && r->sampling.temperature < 0.71f);
    assert_int_equal(r->sampling.top_k, DEFAULT_TOP_K);
    assert_false(call.stream);
    assert_false(wish.thinking);
    assert_string_equal(r->template_kwargs, "{\"enable_thinking\":false}");
    assert_null(r->reasoning_effort);
    call_free(&call);
    r = accept(HEAD HI ",\"stream\":true,\"temperature\":0,\"top_p\":0.5,\"top_k\":7,"
                       "\"stop_sequences\":[\"a\",\"b c\"],\"metadata\":{\"user_id\":\"x\"}}",
               &call, &wish);
    assert_true(call.stream);
    assert_true(r->sampling.temperature == 0 && r->sampling.top_p == 0.5f);
    assert_int_equal(r->sampling.top_k, 7);
    assert_int_equal(r->n_stop, 2);
    assert_string_equal(r->stop[1], "b c");
    call_free(&call);
    r = accept(HEAD HI ",\"output_config\":{\"effort\":\"xhigh\",\"format\":{\"type\":"
                       "\"json_schema\",\"schema\":{\"type\":\"object\"}}}}",
               &call, &wish);
    assert_int_equal(r->format, FORMAT_JSON_SCHEMA);
    assert_string_equal(r->schema, "{\"type\":\"object\"}");
    assert_string_equal(r->reasoning_effort, "high");
    assert_string_equal(r->template_kwargs,
                        "{\"enable_thinking\":false,\"reasoning_effort\":\"high\"}");
    call_free(&call);
}

static void thinking(void **state)
{
    (void)state;
    struct call call;
    struct messages_wish wish;
    struct gen_request *r = accept(
        HEAD HI ",\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":1024}}", &call, &wish);
    assert_true(wish.thinking && !wish.omitted);
    assert_int_equal(r->reasoning_budget, 1024);
    assert_string_equal(r->template_kwargs, "{\"enable_thinking\":true}");
    call_free(&call);
    r = accept(HEAD HI ",\"thinking\":{\"type\":\"adaptive\",\"display\":\"omitted\"}}", &call,
               &wish);
    assert_true(wish.thinking && wish.omitted);
    assert_string_equal(r->reasoning_effort, "medium");
    call_free(&call);
    static const char *const without[] = {HEAD HI ",\"thinking\":{\"type\":\"disabled\"}}",
                                          HEAD HI ",\"thinking\":{\"type\":\"between_tools\"}}"};
    for (size_t i = 0; i < sizeof without / sizeof *without; i++) {
        r = accept(without[i], &call, &wish);
        assert_false(wish.thinking);
        assert_string_equal(r->reasoning_effort, "none");
        assert_string_equal(r->template_kwargs, "{\"enable_thinking\":false}");
        call_free(&call);
    }
}

#define TOOL(n) "{\"name\":\"" n "\",\"input_schema\":{\"type\":\"object\"}}"

static void tools(void **state)
{
    (void)state;
    struct call call;
    struct messages_wish wish;
    struct gen_request *r = accept(
        HEAD HI
        ",\"tools\":[" TOOL("a") ",{\"type\":\"custom\",\"name\":\"b\",\"description\":\"d\","
                                 "\"input_schema\":{},\"strict\":true},"
                                 "{\"type\":\"bash_20250124\",\"name\":\"bash\"}],"
                                 "\"tool_choice\":{\"type\":\"tool\",\"name\":\"b\","
                                 "\"disable_parallel_tool_use\":true}}",
        &call, &wish);
    assert_int_equal(r->n_tools, 3);
    assert_string_equal(r->tools[0].parameters, "{\"type\":\"object\"}");
    assert_string_equal(r->tools[0].description, "");
    assert_true(r->tools[1].strict);
    assert_non_null(strstr(r->tools[2].parameters, "\"command\""));
    assert_int_equal(r->tool_choice, TOOL_NAMED);
    assert_string_equal(r->tool_choice_name, "b");
    assert_false(r->parallel_tool_calls);
    call_free(&call);
    static const struct {
        const char *word;
        enum tool_choice choice;
    } words[] = {{"auto", TOOL_AUTO}, {"any", TOOL_REQUIRED}, {"none", TOOL_NONE}};
    for (size_t i = 0; i < 3; i++) {
        char body[300];
        snprintf(body, sizeof body,
                 HEAD HI ",\"tools\":[" TOOL("a") "],\"tool_choice\":{\"type\":\"%s\"}}",
                 words[i].word);
        assert_int_equal(accept(body, &call, &wish)->tool_choice, words[i].choice);
        call_free(&call);
    }
}

static void bodies_that_are_refused(void **state)
{
    (void)state;
#define I ERR_INVALID
#define N ERR_UNSUPPORTED
    static const struct {
        const char *body;
        enum err code;
        const char *param;
    } cases[] = {
        {"{\"max_tokens\":1," HI "}", I, "/model"},
        {"{\"model\":\"m\"," HI "}", I, "/max_tokens"},
        {"{\"model\":\"m\",\"max_tokens\":0," HI "}", I, "/max_tokens"},
        {HEAD "\"messages\":[]}", I, "/messages"},
        {HEAD "\"messages\":[{\"role\":\"user\",\"content\":[]}]}", I, "/messages"},
        {TURNS("7"), I, "/messages/0"},
        {TURNS("{\"role\":\"user\"}"), I, "/messages/0/content"},
        {TURNS("{\"role\":\"robot\",\"content\":\"x\"}"), I, "/messages/0/role"},
        {TURNS(U("7")), I, "/messages/0/content"},
        {TURNS(U("[7]")), I, "/messages/0/content/0"},
        {TURNS(U("[{\"text\":\"x\"}]")), I, "/messages/0/content/0/type"},
        {TURNS(U("[{\"type\":\"text\"}]")), I, "/messages/0/content/0/text"},
        {TURNS(U("[" CALL "]")), N, "/messages/0/content/0"},
        {TURNS(U("[{\"type\":\"container_upload\"}]")), N, "/messages/0/content/0"},
        {TURNS(A("[" PNG "]")), N, "/messages/0/content/0"},
        {TURNS(A("[{\"type\":\"thinking\"}]")), I, "/messages/0/content/0/thinking"},
        {TURNS(A("[{\"type\":\"tool_use\",\"name\":\"a\",\"input\":{}}]")), I,
         "/messages/0/content/0/id"},
        {TURNS(A("[{\"type\":\"tool_use\",\"id\":\"a\",\"input\":{}}]")), I,
         "/messages/0/content/0/name"},
        {TURNS(A("[{\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"b\"}]")), I,
         "/messages/0/content/0/input"},
        {TURNS(U("[{\"type\":\"tool_result\"}]")), I, "/messages/0/content/0/tool_use_id"},
        {TURNS(U("[" RESULT("t1", "\"x\"") "]")), I, "/messages/0/content/0/tool_use_id"},
        {TURNS(U("\"a\"") "," A("[" CALL "]") "," U("[" RESULT("t9", "\"x\"") "]")), I,
         "/messages/2/content/0/tool_use_id"},
        {TURNS(U("\"a\"") "," A("[" CALL "]") "," U(
             "[{\"type\":\"text\",\"text\":\"x\"}," RESULT("t1", "\"x\"") "]")),
         I, "/messages/2/content/1/tool_use_id"},
        {TURNS(U("\"a\"") "," A("[" CALL "]") "," U("[" RESULT("t1", "7") "]")), I,
         "/messages/2/content/0/content"},
        {TURNS(U("\"a\"") "," A("[" CALL
                                "]") "," U("[" RESULT("t1", "[{\"type\":\"thinking\"}]") "]")),
         N, "/messages/2/content/0/content/0"},
        {TURNS(U("[{\"type\":\"image\"}]")), I, "/messages/0/content/0/source"},
        {TURNS(U("[{\"type\":\"image\",\"source\":{\"type\":\"file\"}}]")), I,
         "/messages/0/content/0/source/type"},
        {TURNS(
             U("[{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_type\":\"image/bmp\","
               "\"data\":\"AAAA\"}}]")),
         I, "/messages/0/content/0/source/data"},
        {TURNS(
             U("[{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_type\":\"image/png\","
               "\"data\":\"A?A\"}}]")),
         I, "/messages/0/content/0/source/data"},
        {TURNS(U("[{\"type\":\"image\",\"source\":{\"type\":\"url\",\"url\":\"file:///etc\"}}]")),
         I, "/messages/0/content/0/source/url"},
        {TURNS(U("[{\"type\":\"document\",\"source\":{\"type\":\"base64\",\"media_type\":"
                 "\"application/pdf\",\"data\":\"AAAA\"}}]")),
         N, "/messages/0/content/0/source"},
        {HEAD "\"system\":7," HI "}", I, "/system"},
        {HEAD "\"system\":[" PNG "]," HI "}", N, "/system/0"},
        {HEAD HI ",\"temperature\":1.5}", I, "/temperature"},
        {HEAD HI ",\"stop_sequences\":[\" \"]}", I, "/stop_sequences/0"},
        {HEAD HI ",\"stop_sequences\":[7]}", I, "/stop_sequences/0"},
        {HEAD HI ",\"thinking\":{\"type\":\"enabled\"}}", I, "/thinking/budget_tokens"},
        {HEAD HI ",\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":1000}}", I,
         "/thinking/budget_tokens"},
        {HEAD HI ",\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":2000}}", I,
         "/thinking/budget_tokens"},
        {HEAD HI ",\"thinking\":{\"type\":\"deep\"}}", I, "/thinking/type"},
        {HEAD HI ",\"output_config\":{\"effort\":\"huge\"}}", I, "/output_config/effort"},
        {HEAD HI ",\"output_config\":{\"format\":{\"type\":\"xml\",\"schema\":{}}}}", I,
         "/output_config/format/type"},
        {HEAD HI ",\"mcp_servers\":[{}]}", N, "/mcp_servers"},
        {HEAD HI ",\"tools\":[7]}", I, "/tools/0"},
        {HEAD HI ",\"tools\":[{\"input_schema\":{}}]}", I, "/tools/0/name"},
        {HEAD HI ",\"tools\":[{\"name\":\"a b\",\"input_schema\":{}}]}", I, "/tools/0/name"},
        {HEAD HI ",\"tools\":[{\"name\":\"a\"}]}", I, "/tools/0/input_schema"},
        {HEAD HI ",\"tools\":[" TOOL("a") "," TOOL("a") "]}", I, "/tools/1/name"},
        {HEAD HI ",\"tools\":[{\"type\":\"web_search_20250305\",\"name\":\"web_search\"}]}", N,
         "/tools/0/type"},
        {HEAD HI ",\"tool_choice\":{\"type\":\"any\"}}", I, "/tool_choice/type"},
        {HEAD HI ",\"tool_choice\":{\"type\":\"some\"}}", I, "/tool_choice/type"},
        {HEAD HI ",\"tool_choice\":{\"type\":\"tool\",\"name\":\"b\"}}", I, "/tool_choice/name"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct call call;
        struct messages_wish wish;
        struct error error = {0};
        enum err e = parse(cases[i].body, false, &call, &wish, &error);
        if (e != cases[i].code || strcmp(error.param, cases[i].param) != 0)
            fail_msg("%s\ngave %s at \"%s\" (%s),\nexpected %s at \"%s\"", cases[i].body,
                     err_name(e), error.param, error.msg, err_name(cases[i].code), cases[i].param);
        if (!strstr(error.msg, cases[i].param))
            fail_msg("the message doesn't name %s: %s", cases[i].param, error.msg);
    }
}

static void counting_needs_no_max_tokens(void **state)
{
    (void)state;
    struct call call;
    struct messages_wish wish;
    struct error error;
    assert_int_equal(parse("{\"model\":\"m\"," HI "}", true, &call, &wish, &error), OK);
    call_free(&call);
    assert_int_equal(parse("{\"model\":\"m\"," HI ",\"thinking\":{\"type\":\"enabled\","
                           "\"budget_tokens\":5000}}",
                           true, &call, &wish, &error),
                     OK);
    call_free(&call);
}

/* ---- answers ------------------------------------------------------------------------------- */

static struct gen_event started(void)
{
    return (struct gen_event){.type = GEN_EV_STARTED, .model = "tiny", .usage = {10, 4, 0, 0}};
}

static struct gen_event text(const char *s)
{
    return (struct gen_event){.type = GEN_EV_TEXT, .text = s, .text_len = strlen(s)};
}

static struct gen_event thought(const char *s, const char *signature)
{
    return (struct gen_event){
        .type = GEN_EV_REASONING, .text = s, .text_len = strlen(s), .signature = signature};
}

static struct gen_event tool(const char *id, const char *name, const char *arguments)
{
    struct gen_event ev = {.type = GEN_EV_TOOL_CALL};
    ev.tool.id = id;
    ev.tool.name = name;
    ev.tool.arguments = arguments;
    ev.tool.arguments_len = strlen(arguments);
    return ev;
}

static struct gen_event end_of(enum finish_reason why, const char *stop)
{
    return (struct gen_event){.type = GEN_EV_CHOICE_END, .finish = why, .stop = stop};
}

static struct gen_event done(void)
{
    return (struct gen_event){.type = GEN_EV_DONE, .model = "tiny", .usage = {10, 4, 6, 2}};
}

/* The id of the message and made ids of calls become X. */
static char *run(bool stream, struct messages_wish wish, int32_t max_tokens,
                 const struct gen_event *events, size_t n)
{
    struct gen_request req = {.model = "asked", .n = 1, .max_tokens = max_tokens};
    struct gen_request *requests[] = {&req};
    struct call call = {.requests = requests, .n_requests = 1, .stream = stream};
    struct writer *w = messages_writer_new(&call, &wish);
    struct buf out;
    buf_init(&out, 1 << 20);
    for (size_t i = 0; i < n; i++) assert_int_equal(writer_event(w, 0, &events[i], &out), OK);
    assert_int_equal(writer_finish(w, &out), OK);
    writer_free(w);
    char *s = buf_take(&out);
    static const char *const prefixes[] = {"\"msg_", "\"toolu_"};
    for (size_t i = 0; i < 2; i++) {
        for (char *at = strstr(s, prefixes[i]); at; at = strstr(at + 1, prefixes[i])) {
            char *id = at + strlen(prefixes[i]);
            assert_int_equal(strspn(id, "0123456789abcdefghijklmnopqrstuvwxyz"
                                        "ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
                             24);
            memmove(id + 1, id + 24, strlen(id + 24) + 1);
            *id = 'X';
        }
    }
    return s;
}

static const struct messages_wish no_thoughts, thoughts = {.thinking = true};

#define CHECK(stream, wish, max, events, expected)                                                 \
    do {                                                                                           \
        char *s_ = run(stream, wish, max, events, sizeof events / sizeof *events);                 \
        assert_string_equal(s_, expected);                                                         \
        free(s_);                                                                                  \
    } while (0)

#define EV(type, rest) "event: " type "\ndata: {\"type\":\"" type "\"" rest "}\n\n"
#define USAGE(out, thought)                                                                        \
    "\"usage\":{\"input_tokens\":6,\"cache_creation_input_tokens\":0,"                             \
    "\"cache_read_input_tokens\":4,\"output_tokens\":" out                                         \
    ",\"output_tokens_details\":{\"thinking_tokens\":" thought "},\"server_tool_use\":null"
#define USAGE_WHOLE(out, thought)                                                                  \
    USAGE(out, thought)                                                                            \
    ",\"service_tier\":\"standard\",\"cache_creation\":null,\"inference_geo\":null,\"speed\":"     \
    "null}"
#define NOTHING "\"stop_details\":null,\"container\":null"
#define START                                                                                      \
    EV("message_start",                                                                            \
       ",\"message\":{\"id\":\"msg_X\",\"type\":\"message\",\"role\":\"assistant\",\"model\":"     \
       "\"tiny\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null," NOTHING              \
       ",\"diagnostics\":null," USAGE_WHOLE("0", "0") "}")
#define BLOCK(i, block) EV("content_block_start", ",\"index\":" i ",\"content_block\":{" block "}")
#define PING            EV("ping", "")
#define TEXT_BLOCK      "\"type\":\"text\",\"text\":\"\""
#define DELTA(i, delta) EV("content_block_delta", ",\"index\":" i ",\"delta\":{" delta "}")
#define TEXT(i, t)      DELTA(i, "\"type\":\"text_delta\",\"text\":\"" t "\"")
#define STOP(i)         EV("content_block_stop", ",\"index\":" i)
#define END(why, stop)                                                                             \
    EV("message_delta", ",\"delta\":{\"stop_reason\":\"" why "\",\"stop_sequence\":" stop          \
                        "," NOTHING "}," USAGE("6", "2") "}")                                      \
    EV("message_stop", "")
#define WHOLE(content, why, stop)                                                                  \
    "{\"id\":\"msg_X\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"tiny\","            \
    "\"content\":[" content "],\"stop_reason\":\"" why "\",\"stop_sequence\":" stop "," NOTHING    \
    ",\"diagnostics\":null," USAGE_WHOLE("6", "2") "}"

static void a_text(void **state)
{
    (void)state;
    const struct gen_event events[] = {
        started(), text("He"), text(""), text("\"l\nlo"), end_of(FINISH_STOP, NULL), done()};
    CHECK(true, no_thoughts, 100, events,
          START BLOCK("0", TEXT_BLOCK) PING TEXT("0", "He") TEXT("0", "\\\"l\\nlo") STOP("0")
              END("end_turn", "null"));
    CHECK(false, no_thoughts, 100, events,
          WHOLE("{\"type\":\"text\",\"text\":\"He\\\"l\\nlo\"}", "end_turn", "null"));
}

static void why_it_ended(void **state)
{
    (void)state;
    static const struct {
        enum finish_reason finish;
        const char *stop;
        int32_t max_tokens;
        const char *expected;
        bool estimated;
    } cases[] = {
        {FINISH_STOP, "##", 6, "\"stop_reason\":\"stop_sequence\",\"stop_sequence\":\"##\"", false},
        {FINISH_STOP, NULL, 6, "\"stop_reason\":\"end_turn\",\"stop_sequence\":null", false},
        {FINISH_LENGTH, NULL, 6, "\"stop_reason\":\"max_tokens\",\"stop_sequence\":null", false},
        {FINISH_LENGTH, NULL, 7, "\"stop_reason\":\"model_context_window_exceeded\"", false},
        {FINISH_LENGTH, NULL, 7, "\"stop_reason\":\"max_tokens\"", true}, /* nobody knows */
        {FINISH_TOOL_CALLS, NULL, 6, "\"stop_reason\":\"tool_use\",\"stop_sequence\":null", false},
        {FINISH_CANCELLED, NULL, 6, "\"stop_reason\":\"max_tokens\"", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct gen_event events[] = {started(), end_of(cases[i].finish, cases[i].stop), done()};
        events[2].estimated = cases[i].estimated;
        for (int stream = 0; stream < 2; stream++) {
            char *s = run(stream, no_thoughts, cases[i].max_tokens, events, 3);
            if (!strstr(s, cases[i].expected)) fail_msg("%s\nnot in\n%s", cases[i].expected, s);
            free(s);
        }
    }
}

static void thoughts_and_calls(void **state)
{
    (void)state;
    const struct gen_event events[] = {started(),
                                       thought("h", NULL),
                                       thought("m", NULL),
                                       text("ok"),
                                       tool("c1", "get", ""),
                                       tool(NULL, NULL, "{\"a\""),
                                       tool(NULL, NULL, ":1}"),
                                       tool("", "put", "{}"),
                                       end_of(FINISH_TOOL_CALLS, NULL),
                                       done()};
#define THINK_BLOCK "\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\""
#define THINK(i, t) DELTA(i, "\"type\":\"thinking_delta\",\"thinking\":\"" t "\"")
#define SIGN(i, s)  DELTA(i, "\"type\":\"signature_delta\",\"signature\":\"" s "\"")
#define TOOL_BLOCK(id, name)                                                                       \
    "\"type\":\"tool_use\",\"id\":\"" id "\",\"caller\":{\"type\":\"direct\"},\"name\":\"" name    \
    "\",\"input\":{}"
#define INPUT(i, t) DELTA(i, "\"type\":\"input_json_delta\",\"partial_json\":\"" t "\"")
    CHECK(true, thoughts, 100, events,
          START BLOCK("0", THINK_BLOCK) PING THINK("0", "h") THINK("0", "m")
              SIGN("0", LOCAL_SIGNATURE) STOP("0") BLOCK("1", TEXT_BLOCK) TEXT("1", "ok") STOP("1")
                  BLOCK("2", TOOL_BLOCK("c1", "get")) INPUT("2", "{\\\"a\\\"") INPUT("2", ":1}")
                      STOP("2") BLOCK("3", TOOL_BLOCK("toolu_X", "put")) INPUT("3", "{}") STOP("3")
                          END("tool_use", "null"));
#define CALLS                                                                                      \
    "{\"type\":\"text\",\"text\":\"ok\"},{\"type\":\"tool_use\",\"id\":\"c1\",\"caller\":{"        \
    "\"type\":\"direct\"},\"name\":\"get\","                                                       \
    "\"input\":{\"a\":1}},{\"type\":\"tool_use\",\"id\":\"toolu_X\",\"caller\":{\"type\":"         \
    "\"direct\"},\"name\":\"put\",\"input\":{}"                                                    \
    "}"
    CHECK(false, thoughts, 100, events,
          WHOLE("{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"" LOCAL_SIGNATURE
                "\"}," CALLS,
                "tool_use", "null"));
    /* Nobody asked for them. */
    CHECK(false, no_thoughts, 100, events, WHOLE(CALLS, "tool_use", "null"));
    char *s = run(true, no_thoughts, 100, events, sizeof events / sizeof *events);
    assert_null(strstr(s, "\"type\":\"thinking"));
    assert_null(strstr(s, "\"thinking\":"));
    free(s);
}

static void thoughts_of_other_providers_keep_their_signature(void **state)
{
    (void)state;
    static const struct messages_wish omitted = {.thinking = true, .omitted = true};
    const struct gen_event events[] = {started(), thought("hm", NULL),       thought("", "SIG"),
                                       text("x"), end_of(FINISH_STOP, NULL), done()};
    CHECK(true, thoughts, 100, events,
          START BLOCK("0", THINK_BLOCK) PING THINK("0", "hm") SIGN("0", "SIG") STOP("0")
              BLOCK("1", TEXT_BLOCK) TEXT("1", "x") STOP("1") END("end_turn", "null"));
    CHECK(false, omitted, 100, events,
          WHOLE("{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"SIG\"},"
                "{\"type\":\"text\",\"text\":\"x\"}",
                "end_turn", "null"));
}

static void a_call_that_was_cut_off_has_no_input(void **state)
{
    (void)state;
    const struct gen_event events[] = {started(), tool("c1", "get", "{\"a\":"),
                                       end_of(FINISH_LENGTH, NULL), done()};
    CHECK(false, no_thoughts, 6, events,
          WHOLE("{\"type\":\"tool_use\",\"id\":\"c1\",\"caller\":{\"type\":\"direct\"},\"name\":"
                "\"get\",\"input\":{}}",
                "max_tokens", "null"));
}

static void nothing_at_all_is_a_message_too(void **state)
{
    (void)state;
    const struct gen_event events[] = {started(), end_of(FINISH_STOP, NULL), done()};
    CHECK(true, no_thoughts, 100, events, START END("end_turn", "null"));
    CHECK(false, no_thoughts, 100, events, WHOLE("", "end_turn", "null"));
}

static void an_error_in_a_stream(void **state)
{
    (void)state;
    struct gen_request req = {.model = "m", .n = 1};
    struct gen_request *requests[] = {&req};
    struct call call = {.requests = requests, .n_requests = 1, .stream = true};
    struct writer *w = messages_writer_new(&call, &no_thoughts);
    struct buf out;
    struct error error;
    buf_init(&out, 4096);
    err_set(&error, ERR_WORKER, "it stopped");
    (w->ops->fail)(w, &error, "req-7", &out); /* cmocka has a macro of that name */
    assert_string_equal(buf_str(&out),
                        "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":"
                        "\"overloaded_error\",\"message\":\"it stopped\"},\"request_id\":\"req-7\"}"
                        "\n\n");
    buf_free(&out);
    writer_free(w);
}

static void errors_have_its_statuses(void **state)
{
    (void)state;
    static const struct {
        enum err code;
        int status;
        const char *type;
    } cases[] = {
        {ERR_INVALID, 400, "invalid_request_error"},
        {ERR_AUTH, 401, "authentication_error"},
        {ERR_FORBIDDEN, 403, "permission_error"},
        {ERR_NO_MODEL, 404, "not_found_error"},
        {ERR_TOO_LARGE, 413, "request_too_large"},
        {ERR_BUSY, 429, "rate_limit_error"},
        {ERR_METHOD, 400, "invalid_request_error"},
        {ERR_ENGINE, 500, "api_error"},
        {ERR_TIMEOUT, 504, "timeout_error"},
        {ERR_NOMEM, 529, "overloaded_error"},
        {ERR_UPSTREAM, 500, "api_error"},
        {ERR_MEDIA_TYPE, 400, "invalid_request_error"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error error;
        struct buf out;
        char type[80];
        err_set(&error, cases[i].code, "x");
        assert_int_equal(error_status(&error_anthropic, &error), cases[i].status);
        buf_init(&out, 4096);
        error_anthropic.write(&out, &error, NULL);
        snprintf(type, sizeof type, "\"type\":\"%s\"", cases[i].type);
        assert_non_null(strstr(buf_str(&out), type));
        buf_free(&out);
    }
    assert_ptr_equal(error_shape_of("/v1/messages"), &error_anthropic);
    assert_ptr_equal(error_shape_of("/v1/messages/count_tokens"), &error_anthropic);
    assert_ptr_equal(error_shape_of("/v1/models"), &error_openai);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(turns),
        cmocka_unit_test(pictures_and_documents),
        cmocka_unit_test(options),
        cmocka_unit_test(thinking),
        cmocka_unit_test(tools),
        cmocka_unit_test(bodies_that_are_refused),
        cmocka_unit_test(counting_needs_no_max_tokens),
        cmocka_unit_test(a_text),
        cmocka_unit_test(why_it_ended),
        cmocka_unit_test(thoughts_and_calls),
        cmocka_unit_test(thoughts_of_other_providers_keep_their_signature),
        cmocka_unit_test(a_call_that_was_cut_off_has_no_input),
        cmocka_unit_test(nothing_at_all_is_a_message_too),
        cmocka_unit_test(an_error_in_a_stream),
        cmocka_unit_test(errors_have_its_statuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
