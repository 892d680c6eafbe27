/* What OpenAI's clients read, byte for byte: golden transcripts of streams and whole answers. What
 * differs from run to run (id, time, ids of calls) is replaced by a fixed word before comparing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/openai/openai_int.h"
#include "api/openai/writer.h"
#include "base/mem.h"

/* ---- making calls and events --------------------------------------------------------------- */

static struct call make_call(size_t n_requests, int32_t n, bool logprobs)
{
    struct call call = {.n_requests = n_requests};
    call.requests = xcalloc(n_requests, sizeof(struct gen_request *));
    for (size_t i = 0; i < n_requests; i++) {
        struct arena *arena = arena_new(64 * 1024);
        struct gen_request *r = arena_calloc(arena, 1, sizeof *r);
        r->arena = arena;
        r->model = "asked";
        r->n = n;
        r->sampling.logprobs = logprobs;
        call.requests[i] = r;
    }
    return call;
}

static struct gen_event started(void)
{
    return (struct gen_event){.type = GEN_EV_STARTED, .model = "tiny"};
}

static struct gen_event text(int32_t choice, const char *s)
{
    return (struct gen_event){
        .type = GEN_EV_TEXT, .choice = choice, .text = s, .text_len = strlen(s)};
}

static struct gen_event thought(const char *s)
{
    return (struct gen_event){.type = GEN_EV_REASONING, .text = s, .text_len = strlen(s)};
}

static struct gen_event tool(int32_t index, const char *id, const char *name, const char *arguments)
{
    struct gen_event ev = {.type = GEN_EV_TOOL_CALL};
    ev.tool.index = index;
    ev.tool.id = id;
    ev.tool.name = name;
    ev.tool.arguments = arguments;
    ev.tool.arguments_len = strlen(arguments);
    return ev;
}

static struct gen_event end_of(int32_t choice, enum finish_reason why)
{
    return (struct gen_event){.type = GEN_EV_CHOICE_END, .choice = choice, .finish = why};
}

static struct gen_event done(void)
{
    return (struct gen_event){.type = GEN_EV_DONE,
                              .model = "tiny",
                              .usage = {10, 4, 6, 2},
                              .timings = {.queue_ns = 1500000,
                                          .prefill_ns = 2000000,
                                          .decode_ns = 3000000,
                                          .prefill_tokens = 6,
                                          .decode_tokens = 6}};
}

/* Replaces what follows `key` up to the next quote or comma. */
static void mask(char *s, const char *key, const char *word)
{
    for (char *at = strstr(s, key); at; at = strstr(at, key)) {
        at += strlen(key);
        size_t len = strcspn(at, "\","), n = strlen(word);
        assert_true(n <= len);
        memcpy(at, word, n);
        memmove(at + n, at + len, strlen(at + len) + 1);
    }
}

static char *run(struct writer *w, const struct gen_event *events, size_t n)
{
    struct buf out;
    buf_init(&out, 1 << 20);
    for (size_t i = 0; i < n; i++) assert_int_equal(writer_event(w, 0, &events[i], &out), OK);
    assert_int_equal(writer_finish(w, &out), OK);
    writer_free(w);
    char *s = buf_take(&out);
    mask(s, "\"id\":\"chatcmpl-", "X");
    mask(s, "\"id\":\"cmpl-", "X");
    mask(s, "\"id\":\"call_", "Y");
    mask(s, "\"created\":", "1");
    return s;
}

#define HEAD(object)                                                                               \
    "{\"id\":\"chatcmpl-X\",\"object\":\"" object "\",\"created\":1,\"model\":\"tiny\","           \
    "\"system_fingerprint\":\"hearth-" HEARTH_VERSION "\",\"choices\":["
#define CHUNK(choice) "data: " HEAD("chat.completion.chunk") choice "]}\n\n"
#define DELTA(index, delta)                                                                        \
    CHUNK("{\"index\":" index ",\"delta\":" delta ",\"logprobs\":null,\"finish_reason\":null}")
#define FINISH(index, why)                                                                         \
    CHUNK("{\"index\":" index ",\"delta\":{},\"logprobs\":null,\"finish_reason\":\"" why "\"}")
#define ROLE "{\"role\":\"assistant\",\"content\":\"\"}"
#define DONE "data: [DONE]\n\n"
#define USAGE                                                                                      \
    "\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":6,\"total_tokens\":16,"                 \
    "\"prompt_tokens_details\":{\"cached_tokens\":4},"                                             \
    "\"completion_tokens_details\":{\"reasoning_tokens\":2}}"
#define TIMINGS                                                                                    \
    "\"timings\":{\"queue_ms\":1.5,\"cache_n\":4,\"prompt_n\":6,\"prompt_ms\":2,"                  \
    "\"prompt_per_second\":3000,\"predicted_n\":6,\"predicted_ms\":3,"                             \
    "\"predicted_per_second\":2000}"

static void check_stream(struct call call, const struct gen_event *events, size_t n,
                         const char *expected)
{
    call.stream = true;
    char *s = run(chat_writer_new(&call), events, n);
    assert_string_equal(s, expected);
    free(s);
    call_free(&call);
}

/* ---- chats --------------------------------------------------------------------------------- */

static void stream_of_text(void **state)
{
    (void)state;
    const struct gen_event events[] = {started(), text(0, "He"), text(0, "\"l\nlo\xF0\x9F\x94\xA5"),
                                       end_of(0, FINISH_STOP), done()};
    check_stream(make_call(1, 1, false), events, 5,
                 DELTA("0", ROLE) DELTA("0", "{\"content\":\"He\"}")
                     DELTA("0", "{\"content\":\"\\\"l\\nlo\xF0\x9F\x94\xA5\"}") FINISH("0", "stop")
                         DONE);
}

static void stream_with_usage_and_timings(void **state)
{
    (void)state;
    const struct gen_event events[] = {started(), text(0, "a"), end_of(0, FINISH_LENGTH), done()};
    struct call call = make_call(1, 1, false);
    call.include_usage = true;
    call.timings = true;
#define WITH_NULL(choice) "data: " HEAD("chat.completion.chunk") choice "],\"usage\":null}\n\n"
    check_stream(
        call, events, 4,
        WITH_NULL("{\"index\":0,\"delta\":" ROLE ",\"logprobs\":null,\"finish_reason\":null}")
            WITH_NULL("{\"index\":0,\"delta\":{\"content\":\"a\"},\"logprobs\":null,"
                      "\"finish_reason\":null}")
                WITH_NULL("{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":"
                          "\"length\"}") "data: " HEAD("chat.completion.chunk") "]," USAGE
                                                                                "," TIMINGS
                                                                                "}\n\n" DONE);
}

static void stream_of_tool_calls(void **state)
{
    (void)state;
    const struct gen_event events[] = {started(),
                                       thought("hm"),
                                       tool(0, "c1", "get", ""),
                                       tool(0, NULL, NULL, "{\"a\""),
                                       tool(0, NULL, NULL, ":1}"),
                                       tool(1, "", "put", "{}"),
                                       end_of(0, FINISH_TOOL_CALLS),
                                       done()};
    check_stream(
        make_call(1, 1, false), events, 8,
        DELTA("0", ROLE) DELTA("0", "{\"reasoning_content\":\"hm\"}") DELTA(
            "0", "{\"tool_calls\":[{\"index\":0,\"id\":\"c1\",\"type\":\"function\","
                 "\"function\":{\"name\":\"get\",\"arguments\":\"\"}}]}")
            DELTA("0",
                  "{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\\\"a\\\"\"}}]}")
                DELTA("0", "{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\":1}\"}}]}")
                    DELTA("0",
                          "{\"tool_calls\":[{\"index\":1,\"id\":\"call_Y\",\"type\":\"function\","
                          "\"function\":{\"name\":\"put\",\"arguments\":\"{}\"}}]}")
                        FINISH("0", "tool_calls") DONE);
}

/* A provider that forgets STARTED still gets a role in front; the model is the one asked for. */
static void stream_of_two_choices(void **state)
{
    (void)state;
    struct gen_event start = started();
    const struct gen_event events[] = {
        start,       text(1, "b"),           text(0, "a"),
        text(0, ""), end_of(1, FINISH_STOP), end_of(0, FINISH_CANCELLED),
        done()};
    check_stream(make_call(1, 2, false), events, 7,
                 DELTA("0", ROLE) DELTA("1", ROLE) DELTA("1", "{\"content\":\"b\"}")
                     DELTA("0", "{\"content\":\"a\"}") FINISH("1", "stop") FINISH("0", "length")
                         DONE);

    struct call call = make_call(1, 1, false);
    call.stream = true;
    const struct gen_event late[] = {text(0, "x"), end_of(0, FINISH_STOP), done()};
    char *s = run(chat_writer_new(&call), late, 3);
    assert_non_null(strstr(s, "\"model\":\"asked\""));
    assert_null(strstr(s, "\"model\":\"tiny\""));
    assert_non_null(strstr(s, ROLE));
    free(s);
    call_free(&call);
}

static struct gen_event with_logprobs(int32_t choice)
{
    static const struct logprob_alt top[] = {{7, -0.25f, "\xC3", 1}, {9, -INFINITY, "b", 1}};
    static const struct token_logprob tokens[] = {{{7, -0.25f, "\xC3", 1}, top, 2},
                                                  {{8, -0.5f, "\xA9", 1}, NULL, 0}};
    struct gen_event ev = text(choice, "\xC3\xA9");
    ev.logprobs = tokens;
    ev.n_logprobs = 2;
    return ev;
}

#define LOGPROBS                                                                                   \
    "{\"content\":[{\"token\":\"\xEF\xBF\xBD\",\"logprob\":-0.25,\"bytes\":[195],"                 \
    "\"top_logprobs\":[{\"token\":\"\xEF\xBF\xBD\",\"logprob\":-0.25,\"bytes\":[195]},"            \
    "{\"token\":\"b\",\"logprob\":-9999,\"bytes\":[98]}]},"                                        \
    "{\"token\":\"\xEF\xBF\xBD\",\"logprob\":-0.5,\"bytes\":[169],\"top_logprobs\":[]}],"          \
    "\"refusal\":null}"

static void logprobs_of_a_split_character(void **state)
{
    (void)state;
    const struct gen_event events[] = {started(), with_logprobs(0), end_of(0, FINISH_STOP), done()};
    check_stream(make_call(1, 1, true), events, 4,
                 DELTA("0", ROLE) CHUNK(
                     "{\"index\":0,\"delta\":{\"content\":\"\xC3\xA9\"},\"logprobs\":" LOGPROBS
                     ",\"finish_reason\":null}") FINISH("0", "stop") DONE);

    struct call call = make_call(1, 1, true);
    char *s = run(chat_writer_new(&call), events, 4);
    assert_string_equal(
        s, HEAD("chat.completion") "{\"index\":0,\"message\":{\"role\":"
                                   "\"assistant\",\"content\":\"\xC3\xA9\",\"refusal\":null},"
                                   "\"logprobs\":" LOGPROBS ",\"finish_reason\":\"stop\"}]," USAGE
                                   "}");
    free(s);
    call_free(&call);
}

static void whole_answer(void **state)
{
    (void)state;
    const struct gen_event events[] = {
        started(),    thought("a"),  thought("b"),           text(0, "Hel"),
        text(1, "x"), text(0, "lo"), end_of(0, FINISH_STOP), end_of(1, FINISH_LENGTH),
        done()};
    struct call call = make_call(1, 2, false);
    call.timings = true;
    char *s = run(chat_writer_new(&call), events, 9);
    assert_string_equal(
        s, HEAD("chat.completion") "{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":"
                                   "\"Hello\",\"refusal\":null,\"reasoning_content\":\"ab\"},"
                                   "\"logprobs\":null,"
                                   "\"finish_reason\":\"stop\"},{\"index\":1,\"message\":{\"role\":"
                                   "\"assistant\",\"content\":\"x\",\"refusal\":null},\"logprobs\":"
                                   "null,"
                                   "\"finish_reason\":\"length\"}]," USAGE "," TIMINGS "}");
    free(s);
    call_free(&call);
}

static void whole_tool_calls(void **state)
{
    (void)state;
    const struct gen_event events[] = {started(),
                                       tool(0, NULL, "get", "{\"a\""),
                                       tool(0, NULL, NULL, ":1}"),
                                       tool(1, "c2", "put", "{}"),
                                       end_of(0, FINISH_TOOL_CALLS),
                                       done()};
    struct call call = make_call(1, 1, false);
    char *s = run(chat_writer_new(&call), events, 6);
    assert_string_equal(
        s, HEAD("chat.completion") "{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":"
                                   "null,\"refusal\":null,\"tool_calls\":[{\"id\":\"call_Y\","
                                   "\"type\":\"function\","
                                   "\"function\":{\"name\":\"get\",\"arguments\":\"{\\\"a\\\":1}\"}"
                                   "},{\"id\":\"c2\",\"type\":\"function\",\"function\":{\"name\":"
                                   "\"put\",\"arguments\":\"{}\"}}]},\"logprobs\":null,"
                                   "\"finish_reason\":\"tool_calls\"}]," USAGE "}");
    free(s);
    call_free(&call);
}

static void an_empty_answer_is_an_empty_string(void **state)
{
    (void)state;
    const struct gen_event events[] = {started(), end_of(0, FINISH_STOP), done()};
    struct call call = make_call(1, 1, false);
    char *s = run(chat_writer_new(&call), events, 3);
    assert_non_null(strstr(s, "\"content\":\"\",\"refusal\":null}"));
    free(s);
    call_free(&call);
}

/* ---- completions --------------------------------------------------------------------------- */

#define RAW_HEAD                                                                                   \
    "{\"id\":\"cmpl-X\",\"object\":\"text_completion\",\"created\":1,\"model\":\"tiny\","          \
    "\"system_fingerprint\":\"hearth-" HEARTH_VERSION "\",\"choices\":["
#define RAW(index, text, finish)                                                                   \
    "data: " RAW_HEAD "{\"index\":" index ",\"text\":\"" text                                      \
    "\",\"logprobs\":null,\"finish_reason\":" finish "}]}\n\n"

static void completion_stream(void **state)
{
    (void)state;
    const struct gen_event events[] = {started(), text(0, "He"), text(0, "y"),
                                       end_of(0, FINISH_STOP), done()};
    struct call call = make_call(1, 1, false);
    call.stream = true;
    char *s = run(completion_writer_new(&call), events, 5);
    assert_string_equal(s,
                        RAW("0", "He", "null") RAW("0", "y", "null") RAW("0", "", "\"stop\"") DONE);
    free(s);
    call_free(&call);
}

/* Three prompts, two choices each: choice 1 of prompt 2 is number 5. */
static void completion_choices_are_numbered_by_prompt(void **state)
{
    (void)state;
    struct call call = make_call(3, 2, false);
    struct writer *w = completion_writer_new(&call);
    struct buf out;
    buf_init(&out, 1 << 20);
    for (size_t part = 0; part < 3; part++) {
        for (int32_t choice = 0; choice < 2; choice++) {
            char s[8];
            snprintf(s, sizeof s, "%zu%d", part, choice);
            struct gen_event ev = text(choice, s), end = end_of(choice, FINISH_STOP);
            assert_int_equal(writer_event(w, part, &ev, &out), OK);
            assert_int_equal(writer_event(w, part, &end, &out), OK);
        }
        struct gen_event last = done();
        assert_int_equal(writer_event(w, part, &last, &out), OK);
    }
    assert_int_equal(out.len, 0);
    assert_int_equal(writer_finish(w, &out), OK);
    assert_non_null(strstr(out.data, "{\"index\":5,\"text\":\"21\","));
    assert_non_null(strstr(out.data, "{\"index\":2,\"text\":\"10\","));
    assert_non_null(strstr(out.data, "\"prompt_tokens\":30,\"completion_tokens\":18"));
    writer_free(w);
    buf_free(&out);
    call_free(&call);
}

#define LISTS(offset0, offset1)                                                                    \
    "{\"tokens\":[\"bytes:\\\\xc3\",\"bytes:\\\\xa9\"],\"token_logprobs\":[-0.25,-0.5],"           \
    "\"top_logprobs\":[{\"bytes:\\\\xc3\":-0.25,\"b\":-9999},{}],\"text_offset\":[" offset0        \
    "," offset1 "]}"

static void completion_logprobs(void **state)
{
    (void)state;
    /* Two characters stand before the tokens. */
    const struct gen_event events[] = {started(),        text(0, "\xC3\xBC"),    text(0, "b"),
                                       with_logprobs(0), end_of(0, FINISH_STOP), done()};
    struct call call = make_call(1, 1, true);
    char *s = run(completion_writer_new(&call), events, 6);
    assert_string_equal(s, RAW_HEAD "{\"index\":0,\"text\":\"\xC3\xBC"
                                    "b\xC3\xA9\",\"logprobs\":" LISTS(
                                        "2", "3") ",\"finish_reason\":\"stop\"}]," USAGE "}");
    free(s);
    call.stream = true;
    s = run(completion_writer_new(&call), events, 6);
    assert_non_null(strstr(s, "\"text\":\"\xC3\xA9\",\"logprobs\":" LISTS("2", "3")));
    free(s);
    call_free(&call);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stream_of_text),
        cmocka_unit_test(stream_with_usage_and_timings),
        cmocka_unit_test(stream_of_tool_calls),
        cmocka_unit_test(stream_of_two_choices),
        cmocka_unit_test(logprobs_of_a_split_character),
        cmocka_unit_test(whole_answer),
        cmocka_unit_test(whole_tool_calls),
        cmocka_unit_test(an_empty_answer_is_an_empty_string),
        cmocka_unit_test(completion_stream),
        cmocka_unit_test(completion_choices_are_numbered_by_prompt),
        cmocka_unit_test(completion_logprobs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
