/* Chats with the built-in model: templates, tools, formats, sampling, and the parsing of answers. A
 * second model is the built-in one with a reasoning model's template. */
#include <math.h>
#include <pthread.h>
#include <unistd.h>

#include <gguf.h>

#include "help.h"

#include "base/fault.h"
#include "base/json.h"

static const struct tool tools[] = {
    {.name = "get_weather",
     .description = "Get the weather of a city",
     .parameters = "{\"type\":\"object\",\"properties\":{\"city\":{\"type\":\"string\"}},"
                   "\"required\":[\"city\"]}"},
    {.name = "add",
     .description = "Add numbers",
     .parameters = "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\",\"minimum\":0,"
                   "\"maximum\":9}},\"required\":[\"a\"]}"},
};

static struct message user_message;

static struct gen_request ask(const char *text)
{
    user_message = (struct message){.role = ROLE_USER, .content = text};
    return (struct gen_request){
        .kind = GEN_CHAT, .messages = &user_message, .n_messages = 1, .sampling = help_greedy()};
}

static struct gen_request ask_with_tools(const char *text, enum tool_choice choice)
{
    struct gen_request r = ask(text);
    r.tools = tools;
    r.n_tools = 2;
    r.tool_choice = choice;
    r.tool_choice_name = "add";
    return r;
}

/* ---- templates ------------------------------------------------------------------------------ */

static void test_renders_system_tools_and_results(void **state)
{
    (void)state;
    const struct tool_call call = {
        .id = "call_1", .name = "get_weather", .arguments = "{\"city\":\"Paris\"}"};
    const struct message messages[] = {
        {.role = ROLE_SYSTEM, .content = "Be brief."},
        {.role = ROLE_USER, .content = "Weather in Paris?"},
        {.role = ROLE_ASSISTANT, .content = "", .tool_calls = &call, .n_tool_calls = 1},
        {.role = ROLE_TOOL,
         .content = "14 degrees",
         .tool_call_id = "call_1",
         .name = "get_weather"},
    };
    struct gen_request r = ask_with_tools("", TOOL_AUTO);
    r.messages = messages;
    r.n_messages = 4;
    struct engine_prompt *p = help_prompt(help_model, &r);
    const char *text = engine_prompt_text(p);
    const char *const parts[] = {
        "<|im_start|>system\nBe brief.",
        "get_weather(city: string)",
        "<|im_start|>user\nWeather in Paris?<|im_end|>",
        "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Paris\"}}",
        "14 degrees",
        "<|im_start|>assistant\n"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const char *found = strstr(text, parts[i]);
        if (!found) fail_msg("'%s' does not follow in: %s", parts[i], text);
        text = found;
    }
    assert_string_equal(text, "<|im_start|>assistant\n");
    engine_prompt_free(p);
}

static void test_the_second_prompt_of_a_kind_is_the_same(void **state)
{
    (void)state; /* the second one comes from the cache of forms */
    struct gen_request r = ask_with_tools("Hi \xc3\xa9", TOOL_AUTO);
    struct engine_prompt *first = help_prompt(help_model, &r),
                         *second = help_prompt(help_model, &r);
    size_t n, m;
    const int32_t *a = engine_prompt_tokens(first, &n), *b = engine_prompt_tokens(second, &m);
    assert_string_equal(engine_prompt_text(first), engine_prompt_text(second));
    assert_int_equal(n, m);
    assert_memory_equal(a, b, n * sizeof *a);
    engine_prompt_free(first);
    engine_prompt_free(second);
}

static void test_an_assistant_message_at_the_end_is_continued(void **state)
{
    (void)state;
    const struct message messages[] = {{.role = ROLE_USER, .content = "Hello, who are you?"},
                                       {.role = ROLE_ASSISTANT, .content = "I am Hearth's"}};
    struct gen_request r = ask("");
    struct help_answer a;
    r.messages = messages;
    r.n_messages = 2;
    struct engine_prompt *p = help_prompt(help_model, &r);
    const char *text = engine_prompt_text(p);
    assert_string_equal(text + strlen(text) - 13, "I am Hearth's");
    engine_prompt_free(p);
    help_generate(help_model, &r, 12, &a);
    assert_true(a.text.len > 0);
    assert_string_equal(buf_str(&a.text), buf_str(&a.raw)); /* the beginning is not repeated */
    help_answer_free(&a);
}

static void test_raw_prompts(void **state)
{
    (void)state;
    struct gen_request r = {
        .kind = GEN_RAW, .prompt = "Once upon a time", .sampling = help_greedy()};
    struct help_answer a;
    struct engine_prompt *p = help_prompt(help_model, &r);
    assert_string_equal(engine_prompt_text(p), "Once upon a time");
    engine_prompt_free(p);
    help_generate(help_model, &r, 8, &a);
    assert_string_equal(buf_str(&a.text), buf_str(&a.raw));
    help_answer_free(&a);
    const int32_t tokens[] = {300, 4096};
    struct error error;
    r = (struct gen_request){.kind = GEN_RAW, .prompt_tokens = tokens, .n_prompt_tokens = 2};
    assert_int_equal(engine_prompt_new(help_model, &r, 100, &p, &error), ERR_INVALID);
    assert_non_null(strstr(error.msg, "4096"));
    r.n_prompt_tokens = 0;
    assert_int_equal(engine_prompt_new(help_model, &r, 100, &p, &error), ERR_INVALID);
}

static void test_prompts_that_do_not_fit_or_can_not_be(void **state)
{
    (void)state;
    struct gen_request r = ask("How are you today, my friend?");
    struct engine_prompt *p;
    struct error error;
    assert_int_equal(engine_prompt_new(help_model, &r, 7, &p, &error), ERR_CONTEXT);
    assert_non_null(strstr(error.msg, " 7 "));
    struct engine_model *m = help_load(EMBED_MODEL);
    assert_int_equal(engine_prompt_new(m, &r, 100, &p, &error), ERR_UNSUPPORTED);
    engine_model_free(m);
    r.template_kwargs = "{\"enable_thinking\": \"yes\"}";
    assert_int_equal(engine_prompt_new(help_model, &r, 100, &p, &error), ERR_INVALID);
    r.template_kwargs = "[1]";
    assert_int_equal(engine_prompt_new(help_model, &r, 100, &p, &error), ERR_INVALID);
    assert_string_equal(error.param, "/chat_template_kwargs");
}

/* ---- sampling ------------------------------------------------------------------------------- */

static void test_greedy_is_deterministic(void **state)
{
    (void)state;
    struct gen_request r = ask("Hello, who are you?");
    struct help_answer a, b;
    help_generate(help_model, &r, 60, &a);
    help_generate(help_model, &r, 60, &b);
    assert_true(a.ended && a.tokens > 5);
    assert_string_equal(buf_str(&a.raw), buf_str(&b.raw));
    assert_non_null(strstr(buf_str(&a.text), "Hearth"));
    help_answer_free(&a);
    help_answer_free(&b);
}

static void test_a_seed_repeats_and_another_differs(void **state)
{
    (void)state;
    struct help_answer a[3];
    const uint32_t seeds[] = {7, 7, 8};
    for (int i = 0; i < 3; i++) {
        struct gen_request r = ask("Tell me a story");
        r.sampling = (struct sampling){.temperature = 1.5f,
                                       .top_k = 100,
                                       .top_p = 0.99f,
                                       .min_p = 0.001f,
                                       .repeat_penalty = 1.1f,
                                       .repeat_last_n = 64,
                                       .seed = seeds[i]};
        help_generate(help_model, &r, 30, &a[i]);
    }
    assert_string_equal(buf_str(&a[0].raw), buf_str(&a[1].raw));
    assert_string_not_equal(buf_str(&a[0].raw), buf_str(&a[2].raw));
    for (int i = 0; i < 3; i++) help_answer_free(&a[i]);
}

static void test_logit_bias_and_ignore_eos(void **state)
{
    (void)state;
    struct gen_request r = ask("Hello, who are you?");
    struct help_answer a, b;
    int32_t *tokens;
    size_t n;
    struct error error;
    help_generate(help_model, &r, 60, &a);
    assert_int_equal(engine_tokenize(help_model, buf_str(&a.raw), a.raw.len, false, false, 100,
                                     &tokens, &n, &error),
                     OK);
    struct logit_bias ban = {.token = tokens[0], .bias = -INFINITY};
    r.sampling.logit_bias = &ban;
    r.sampling.n_logit_bias = 1;
    help_generate(help_model, &r, 60, &b);
    free(tokens);
    assert_string_not_equal(buf_str(&a.raw), buf_str(&b.raw));
    help_answer_free(&b);
    r.sampling.n_logit_bias = 0;
    r.sampling.ignore_eos = true;
    help_generate(help_model, &r, a.tokens + 20, &b);
    assert_false(b.ended);
    assert_int_equal(b.tokens, a.tokens + 20);
    help_answer_free(&a);
    help_answer_free(&b);
}

/* ---- formats -------------------------------------------------------------------------------- */

static json_t *parse(const struct buf *text)
{
    json_t *v;
    struct error error;
    if (json_parse(buf_str(text), text->len, &v, &error))
        fail_msg("%s is no JSON: %s", buf_str(text), error.msg);
    return v;
}

static void test_json_object(void **state)
{
    (void)state;
    struct gen_request r = ask("List the people in: Ana met Bob. Answer as JSON.");
    struct help_answer a;
    r.format = FORMAT_JSON_OBJECT;
    help_generate(help_model, &r, 200, &a);
    assert_true(a.ended);
    json_t *v = parse(&a.text);
    assert_true(json_is_object(v));
    json_decref(v);
    help_answer_free(&a);
}

static void test_json_schema(void **state)
{
    (void)state;
    struct gen_request r = ask("Invent a person.");
    struct help_answer a;
    r.format = FORMAT_JSON_SCHEMA;
    r.schema =
        "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\",\"maxLength\":20},"
        "\"age\":{\"type\":\"integer\",\"minimum\":18,\"maximum\":99},"
        "\"kind\":{\"enum\":[\"cat\",\"dog\"]}},\"required\":[\"name\",\"age\",\"kind\"],"
        "\"additionalProperties\":false}";
    for (int kind = 0; kind < 2; kind++) { /* through the template and raw */
        r.kind = kind ? GEN_RAW : GEN_CHAT;
        r.prompt = kind ? "Invent a person:" : NULL;
        help_generate(help_model, &r, 200, &a);
        assert_true(a.ended);
        json_t *v = parse(&a.text);
        json_int_t age = json_integer_value(json_object_get(v, "age"));
        const char *what = json_string_value(json_object_get(v, "kind"));
        assert_true(age >= 18 && age <= 99);
        assert_true(what && (!strcmp(what, "cat") || !strcmp(what, "dog")));
        assert_true(json_is_string(json_object_get(v, "name")));
        json_decref(v);
        help_answer_free(&a);
    }
}

static void test_gbnf(void **state)
{
    (void)state;
    struct gen_request r = ask("Is water wet?");
    struct help_answer a;
    r.format = FORMAT_GRAMMAR;
    r.grammar = "root ::= answer \"!\"{3}\nanswer ::= \"yes\" | \"no\" # one word";
    r.sampling.ignore_eos = true; /* a finished grammar ends nevertheless */
    help_generate(help_model, &r, 60, &a);
    assert_true(a.ended);
    assert_true(!strcmp(buf_str(&a.text), "yes!!!") || !strcmp(buf_str(&a.text), "no!!!"));
    help_answer_free(&a);
}

static void test_two_samplers_of_one_grammar(void **state)
{
    (void)state; /* the first takes the compiled one, the second compiles its own */
    struct gen_request r = ask("Hi");
    r.format = FORMAT_GRAMMAR;
    r.grammar = "root ::= \"ok\"";
    struct engine_prompt *p = help_prompt(help_model, &r);
    struct engine_ctx *c = help_ctx(help_model, 256, false);
    struct error error;
    size_t n;
    const int32_t *tokens = engine_prompt_tokens(p, &n);
    assert_int_equal(help_feed(c, 0, 0, tokens, n, &error), OK);
    struct engine_sample got[2];
    for (int i = 0; i < 2; i++) {
        struct engine_sampler *s;
        assert_int_equal(engine_sampler_new(help_model, &r.sampling, p, &s, &error), OK);
        assert_int_equal(engine_sample(c, s, (int32_t)n - 1, &got[i], &error), OK);
        engine_sampler_free(s);
    }
    assert_int_equal(got[0].token, got[1].token);
    engine_ctx_free(c);
    engine_prompt_free(p);
}

/* ---- tools ---------------------------------------------------------------------------------- */

static void check_call(const struct help_answer *a, const char *name)
{
    assert_int_equal(a->calls, 1);
    assert_string_equal(a->name, name);
    assert_string_equal(buf_str(&a->text), "");
    json_t *v = parse(&a->arguments);
    assert_true(json_is_object(v));
    json_decref(v);
}

static void test_tools_by_choice(void **state)
{
    (void)state;
    struct help_answer a;
    struct gen_request r = ask_with_tools("What is the weather in Paris?", TOOL_AUTO);
    help_generate(help_model, &r, 100, &a);
    check_call(&a, "get_weather");
    assert_non_null(strstr(buf_str(&a.arguments), "Paris"));
    help_answer_free(&a);

    r = ask_with_tools("Hello, who are you?", TOOL_AUTO); /* nothing to call for */
    help_generate(help_model, &r, 100, &a);
    assert_int_equal(a.calls, 0);
    assert_true(a.text.len > 0);
    help_answer_free(&a);

    r = ask_with_tools("Hello, who are you?", TOOL_REQUIRED);
    help_generate(help_model, &r, 200, &a);
    assert_int_equal(a.calls, 1);
    assert_string_equal(buf_str(&a.text), "");
    help_answer_free(&a);

    r = ask_with_tools("What is the weather in Paris?", TOOL_NAMED); /* of `add` */
    help_generate(help_model, &r, 200, &a);
    check_call(&a, "add");
    help_answer_free(&a);

    r = ask_with_tools("What is the weather in Paris?", TOOL_NONE);
    help_generate(help_model, &r, 100, &a);
    assert_int_equal(a.calls, 0);
    assert_string_equal(buf_str(&a.text), buf_str(&a.raw));
    help_answer_free(&a);
}

static void test_impossible_tool_requests(void **state)
{
    (void)state;
    struct engine_prompt *p;
    struct error error;
    struct gen_request r = ask_with_tools("Hi", TOOL_NAMED);
    r.tool_choice_name = "subtract";
    assert_int_equal(engine_prompt_new(help_model, &r, 500, &p, &error), ERR_INVALID);
    assert_string_equal(error.param, "/tool_choice/function/name");
    r.n_tools = 0;
    r.tool_choice = TOOL_REQUIRED;
    assert_int_equal(engine_prompt_new(help_model, &r, 500, &p, &error), ERR_INVALID);
    r = ask_with_tools("Hi", TOOL_AUTO);
    r.format = FORMAT_GRAMMAR;
    r.grammar = "root ::= \"a\"";
    assert_int_equal(engine_prompt_new(help_model, &r, 500, &p, &error), ERR_INVALID);
    assert_string_equal(error.param, "/grammar");
    struct tool broken = {.name = "x", .description = "", .parameters = "{\"type\":\"bogus\"}"};
    r = ask_with_tools("Hi", TOOL_AUTO);
    r.tools = &broken;
    r.n_tools = 1;
    assert_int_equal(engine_prompt_new(help_model, &r, 500, &p, &error), ERR_SCHEMA);
    assert_string_equal(error.param, "/tools/0/function/parameters");
    assert_non_null(strstr(error.msg, "bogus"));
}

static void test_a_schema_error_names_its_place(void **state)
{
    (void)state;
    struct gen_request r = ask("Hi");
    struct engine_prompt *p;
    struct error error;
    r.format = FORMAT_JSON_SCHEMA;
    r.schema = "{\"type\":\"object\",\"properties\":{\"age\":{\"type\":\"bogus\"}}}";
    assert_int_equal(engine_prompt_new(help_model, &r, 500, &p, &error), ERR_SCHEMA);
    assert_string_equal(error.param, "/response_format/json_schema/schema/properties/age");
    assert_string_equal(error.msg, "/response_format/json_schema/schema/properties/age: "
                                   "unrecognized type bogus");
}

static void test_schemas_and_grammars_that_can_not_be(void **state)
{
    (void)state;
    static const struct {
        const char *schema, *grammar, *why;
    } cases[] = {
        {"{\"type\":\"bogus\"}", NULL, "bogus"},
        {"{\"type\":\"string\",\"pattern\":\"^(a$\"}", NULL, "parentheses"},
        {"{\"$ref\":\"http://x/y\"}", NULL, "$ref"},
        {"{\"$ref\":\"#/a\",\"a\":{\"$ref\":\"#/a\"}}", NULL, "loop"},
        {"{\"$ref\":\"#/a\",\"a\":{\"anyOf\":[{\"$ref\":\"#/a\"},{\"type\":\"string\"}]}}", NULL,
         "left-recursive"},
        {"{\"type\":\"array\",\"items\":{},\"minItems\":1000000}", NULL, "2000"},
        {NULL, "root ::= <no-such-token>", "token"},
        {NULL, "root ::= \"a\"{3,2}", "below its minimum"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct gen_request r = ask("Hi");
        struct engine_prompt *p;
        struct error error;
        r.format = cases[i].schema ? FORMAT_JSON_SCHEMA : FORMAT_GRAMMAR;
        r.schema = cases[i].schema;
        r.grammar = cases[i].grammar;
        enum err e = engine_prompt_new(help_model, &r, 500, &p, &error);
        if (e != ERR_SCHEMA || !strstr(error.msg, cases[i].why))
            fail_msg("case %zu: %s %s", i, err_name(e), e ? error.msg : "");
        assert_string_equal(error.param,
                            cases[i].schema ? "/response_format/json_schema/schema" : "/grammar");
    }
}

/* ---- threads and memory --------------------------------------------------------------------- */

static void *many_prompts(void *arg)
{
    const struct message m = {.role = ROLE_USER, .content = arg};
    struct gen_request r = {.kind = GEN_CHAT, .messages = &m, .n_messages = 1, .tools = tools};
    for (int i = 0; i < 40; i++) {
        struct engine_prompt *p;
        struct error error;
        r.n_tools = (size_t)i % 3;
        r.format = i % 2 ? FORMAT_JSON_OBJECT : FORMAT_TEXT;
        if (engine_prompt_new(help_model, &r, 500, &p, &error)) return arg;
        bool right = strstr(engine_prompt_text(p), arg) != NULL;
        engine_prompt_free(p);
        if (!right) return arg;
    }
    return NULL;
}

static void test_prompts_from_several_threads(void **state)
{
    (void)state;
    static char texts[4][8] = {"one", "two", "three", "four"};
    pthread_t t[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&t[i], NULL, many_prompts, texts[i]), 0);
    for (int i = 0; i < 4; i++) {
        void *failed;
        pthread_join(t[i], &failed);
        assert_null(failed);
    }
}

static void test_every_failing_allocation_is_an_error(void **state)
{
    (void)state;
#if HEARTH_FAULTS
    struct gen_request r = ask_with_tools("What is the weather?", TOOL_AUTO);
    int failed = 0;
    for (long nth = 1;; nth++) {
        struct engine_prompt *p;
        struct error error;
        fault_arm(FAULT_alloc, nth, false);
        enum err e = engine_prompt_new(help_model, &r, 500, &p, &error);
        bool hit = fault_count(FAULT_alloc) >= nth;
        fault_arm(FAULT_alloc, 0, false);
        engine_prompt_free(p);
        failed += e != OK;
        assert_true(e == OK || e == ERR_NOMEM); /* OK: giving memory back may fail */
        if (!hit) break;
    }
    assert_true(failed >= 2); /* the text and the tokens */
#else
    skip();
#endif
}

/* ---- parsing -------------------------------------------------------------------------------- */

/* Feeds text in pieces of whole characters, each at least `piece` bytes long. */
static void feed_pieces(const struct engine_model *m, const struct gen_request *r, const char *text,
                        size_t piece, struct help_answer *a)
{
    struct engine_prompt *p = help_prompt(m, r);
    struct engine_parser *ps;
    struct error error;
    help_answer_init(a);
    assert_int_equal(engine_parser_new(p, &ps, &error), OK);
    engine_prompt_free(p);
    for (size_t i = 0, end; i < strlen(text); i = end) {
        end = i + piece < strlen(text) ? i + piece : strlen(text);
        while ((text[end] & 0xC0) == 0x80) end++;
        help_collect(ps, text + i, end - i, false, a);
    }
    help_collect(ps, "", 0, true, a);
    engine_parser_free(ps);
}

static void assert_parses(const struct engine_model *m, const struct gen_request *r,
                          const char *answer, const char *text, const char *reasoning,
                          const char *name, const char *arguments)
{
    const size_t pieces[] = {1, 2, 3, 5, 8, 13, 1000};
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        struct help_answer a;
        feed_pieces(m, r, answer, pieces[i], &a);
        assert_string_equal(buf_str(&a.text), text);
        assert_string_equal(buf_str(&a.reasoning), reasoning);
        assert_string_equal(a.name, name);
        assert_string_equal(buf_str(&a.arguments), arguments);
        help_answer_free(&a);
    }
}

static void test_streamed_parsing_equals_whole(void **state)
{
    (void)state;
    struct gen_request plain = ask("x"), with = ask_with_tools("x", TOOL_AUTO);
    const char *call =
        "Let me see \xc3\xa9.\n<tool_call>\n{\"name\": \"get_weather\", \"arguments\": "
        "{\"city\": \"S\xc3\xa3o \\\"P\\\"\"}}\n</tool_call>";
    assert_parses(help_model, &plain, call, call, "", "", ""); /* no tools: it is text */
    assert_parses(help_model, &with, call, "Let me see \xc3\xa9.\n", "", "get_weather",
                  "{\"city\": \"S\xc3\xa3o \\\"P\\\"\"}");
    assert_parses(help_model, &with, "1 < 2 and <b>", "1 < 2 and <b>", "", "", "");
    assert_parses(help_model, &plain, "", "", "", "", "");
}

static void test_what_does_not_parse_is_text(void **state)
{
    (void)state;
    static const char *const broken[] = {
        "<tool_call>\n{\"name\": \"no_such_tool\", \"arguments\": {}}\n</tool_call>",
        "<tool_call>\nI am confused",
        "<tool_call>",
        "</tool_call> ?",
    };
    struct gen_request r = ask_with_tools("x", TOOL_AUTO);
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++)
        assert_parses(help_model, &r, broken[i], broken[i], "", "", "");
}

static void test_long_plain_answers_cost_little(void **state)
{
    (void)state;
    struct gen_request r = ask("x");
    struct engine_prompt *p = help_prompt(help_model, &r);
    struct engine_parser *ps;
    struct error error;
    struct help_answer a;
    help_answer_init(&a);
    assert_int_equal(engine_parser_new(p, &ps, &error), OK);
    for (int i = 0; i < 100000; i++)
        help_collect(ps, "four", 4, false, &a); /* quadratic: minutes */
    help_collect(ps, "", 0, true, &a);
    assert_int_equal(a.text.len, 400000);
    engine_parser_free(ps);
    engine_prompt_free(p);
    help_answer_free(&a);
}

/* ---- a reasoning model ---------------------------------------------------------------------- */

static const char thinking_template[] =
    "{%- for m in messages %}"
    "{%- if m.role == 'forbidden' or m.content == 'forbidden' %}{{ raise_exception('not that "
    "word') }}{%- endif %}"
    "{{- '<|im_start|>' + m.role + '\\n' }}"
    "{%- if m.role == 'assistant' and m.reasoning_content %}{{- '<think>\\n' + m.reasoning_content "
    "+ '\\n</think>\\n\\n' }}{%- endif %}"
    "{{- m.content + '<|im_end|>\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}"
    "{%- if enable_thinking is defined and enable_thinking is false %}{{- "
    "'<think>\\n\\n</think>\\n\\n' }}{%- endif %}"
    "{%- endif %}";

/* The built-in model with another template. */
static struct engine_model *model_with_template(const char *template)
{
    char path[] = "/tmp/hearth-test-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    struct gguf_context *g =
        gguf_init_from_file(CHAT_MODEL, (struct gguf_init_params){.no_alloc = true});
    assert_non_null(g);
    FILE *from = fopen(CHAT_MODEL, "rb");
    assert_int_equal(fseek(from, (long)gguf_get_data_offset(g), SEEK_SET), 0);
    gguf_set_val_str(g, "tokenizer.chat_template", template);
    assert_true(gguf_write_to_file(g, path, true));
    gguf_free(g);
    FILE *to = fopen(path, "ab");
    char data[65536];
    for (size_t n; (n = fread(data, 1, sizeof data, from)) > 0;)
        assert_int_equal(fwrite(data, 1, n, to), n);
    fclose(from);
    assert_int_equal(fclose(to), 0);
    struct engine_model *m = help_load(path);
    unlink(path);
    return m;
}

static void test_reasoning(void **state)
{
    (void)state;
    struct engine_model *m = model_with_template(thinking_template);
    struct engine_model_facts f;
    engine_model_facts(m, &f);
    assert_true(f.supports_thinking);
    struct gen_request r = ask("x");
    const char *answer = "<think>\nHm, 2 < 3.\n</think>\n\nYes: <think> is a tag.";
    assert_parses(m, &r, answer, "Yes: <think> is a tag.", "Hm, 2 < 3.\n", "", "");
    assert_parses(m, &r, "No thoughts.", "No thoughts.", "", "", "");
    r.reasoning_format = REASONING_NONE;
    assert_parses(m, &r, answer, answer, "", "", "");
    r = ask("x");
    r.template_kwargs = "{\"enable_thinking\": false}";
    struct engine_prompt *p = help_prompt(m, &r);
    assert_non_null(strstr(engine_prompt_text(p), "<think>\n\n</think>\n\n"));
    engine_prompt_free(p);
    r = ask_with_tools("x", TOOL_REQUIRED); /* the template has no tools */
    struct error error;
    assert_int_equal(engine_prompt_new(m, &r, 500, &p, &error), ERR_UNSUPPORTED);
    r = ask("forbidden");
    assert_int_equal(engine_prompt_new(m, &r, 500, &p, &error), ERR_INVALID);
    assert_non_null(strstr(error.msg, "not that word"));
    engine_model_free(m);
}

static void test_a_schema_that_the_library_ignores(void **state)
{
    (void)state; /* these marks make the library take the template for one that it knows */
    struct engine_model *m = model_with_template(
        "{%- if false %}<|tool_calls_section_begin|><|tool_call_begin|>{%- endif %}"
        "{%- for m in messages %}{{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' "
        "}}"
        "{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif "
        "%}");
    struct gen_request r = ask("Tell me a story");
    struct help_answer a;
    r.format = FORMAT_JSON_SCHEMA;
    r.schema = "{\"type\":\"object\",\"properties\":{\"ok\":{\"type\":\"boolean\"}},\"required\":"
               "[\"ok\"],\"additionalProperties\":false}";
    help_generate(m, &r, 60, &a);
    assert_true(a.ended);
    json_t *v = parse(&a.text);
    assert_true(json_is_boolean(json_object_get(v, "ok")));
    json_decref(v);
    help_answer_free(&a);
    engine_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_renders_system_tools_and_results),
        cmocka_unit_test(test_the_second_prompt_of_a_kind_is_the_same),
        cmocka_unit_test(test_an_assistant_message_at_the_end_is_continued),
        cmocka_unit_test(test_raw_prompts),
        cmocka_unit_test(test_prompts_that_do_not_fit_or_can_not_be),
        cmocka_unit_test(test_greedy_is_deterministic),
        cmocka_unit_test(test_a_seed_repeats_and_another_differs),
        cmocka_unit_test(test_logit_bias_and_ignore_eos),
        cmocka_unit_test(test_json_object),
        cmocka_unit_test(test_json_schema),
        cmocka_unit_test(test_gbnf),
        cmocka_unit_test(test_two_samplers_of_one_grammar),
        cmocka_unit_test(test_tools_by_choice),
        cmocka_unit_test(test_impossible_tool_requests),
        cmocka_unit_test(test_a_schema_error_names_its_place),
        cmocka_unit_test(test_schemas_and_grammars_that_can_not_be),
        cmocka_unit_test(test_prompts_from_several_threads),
        cmocka_unit_test(test_every_failing_allocation_is_an_error),
        cmocka_unit_test(test_streamed_parsing_equals_whole),
        cmocka_unit_test(test_what_does_not_parse_is_text),
        cmocka_unit_test(test_long_plain_answers_cost_little),
        cmocka_unit_test(test_reasoning),
        cmocka_unit_test(test_a_schema_that_the_library_ignores),
    };
    return cmocka_run_group_tests(tests, help_open, help_close);
}
