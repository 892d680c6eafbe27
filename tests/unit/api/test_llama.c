/* llama-server's surface: how bodies are understood, which questions they raise, and the exact
 * bytes of answers and events. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api/error.h"
#include "api/llama/llama_int.h"
#include "api/request.h"
#include "support/call_env.h"

/* ---- bodies -------------------------------------------------------------------------------- */

struct read {
    struct call call;
    struct completion_wish wish;
};

static enum err parse(const char *text, bool infill, struct read *r, struct error *error)
{
    json_t *body;
    *r = (struct read){0};
    enum err e = request_parse_object(text, strlen(text), &body, error);
    if (e) return e;
    e = completion_read(body, strlen(text), infill, &env, &r->call, &r->wish, error);
    json_decref(body);
    return e;
}

static struct gen_request *accept(const char *text, bool infill, struct read *r)
{
    struct error error;
    if (parse(text, infill, r, &error) != OK)
        fail_msg("%s\nwas refused: %s (%s)", text, error.msg, error.param);
    assert_int_equal(json_array_size(r->call.questions), r->call.n_requests);
    return r->call.requests[0];
}

static void read_free(struct read *r)
{
    call_free(&r->call);
    json_decref(r->wish.response_fields);
}

static void expect_questions(const struct read *r, const char *wanted)
{
    struct buf text;
    buf_init(&text, 1 << 16);
    assert_int_equal(json_dump(r->call.questions, &text), OK);
    assert_string_equal(buf_str(&text), wanted);
    buf_free(&text);
}

static void options(void **state)
{
    (void)state;
    struct read r;
    struct gen_request *q = accept("{\"prompt\":\"hi\"}", false, &r);
    assert_int_equal(q->kind, GEN_RAW);
    assert_string_equal(q->prompt, "hi");
    assert_int_equal(q->max_tokens, 2048);
    assert_true(q->sampling.temperature > 0.69f && q->sampling.temperature < 0.71f);
    assert_int_equal(q->sampling.seed, SEED_RANDOM);
    assert_true(q->want_tokens);
    assert_false(q->sampling.logprobs || r.wish.warm || r.wish.return_tokens);
    expect_questions(&r, "[null]");
    read_free(&r);
    q = accept(
        "{\"prompt\":\"hi\",\"model\":\"m\",\"n_predict\":-1,\"temperature\":-1,\"top_p\":2,"
        "\"top_k\":7,\"min_p\":0.2,\"seed\":4294967295,\"stop\":[\"a\"],\"n_probs\":3,"
        "\"repeat_penalty\":1.5,\"repeat_last_n\":-1,\"grammar\":\"\",\"return_tokens\":true,"
        "\"samplers\":[\"top_k\"],\"cache_prompt\":true,\"id_slot\":3,\"suffix\":\"x\","
        "\"echo\":true,\"logit_bias\":[[5,1.5],[6,false],[7,1000]],\"n_cmpl\":2}",
        false, &r);
    assert_string_equal(q->model, "m");
    assert_int_equal(q->max_tokens, -1);
    assert_true(q->sampling.temperature == 0 && q->sampling.top_p == 1);
    assert_int_equal(q->sampling.top_k, 7);
    assert_int_equal(q->sampling.seed, SEED_RANDOM);
    assert_int_equal(q->n_stop, 1);
    assert_true(q->sampling.logprobs);
    assert_int_equal(q->sampling.top_logprobs, 3);
    assert_int_equal(q->format, FORMAT_TEXT);
    assert_false(q->echo);
    assert_int_equal(q->n, 2);
    assert_true(r.wish.return_tokens);
    assert_int_equal(q->sampling.n_logit_bias, 3);
    for (size_t i = 0; i < 3; i++) {
        const struct logit_bias *b = &q->sampling.logit_bias[i];
        if (b->token == 5) assert_true(b->bias == 1.5f);
        if (b->token == 6) assert_true(isinf(b->bias));
        if (b->token == 7) assert_true(b->bias == 100);
    }
    read_free(&r);
    q = accept(
        "{\"prompt\":\"hi\",\"n_predict\":0,\"seed\":7,\"json_schema\":{\"type\":\"string\"},"
        "\"response_fields\":[\"content\"]}",
        false, &r);
    assert_true(r.wish.warm);
    assert_int_equal(q->max_tokens, 1);
    assert_int_equal(q->sampling.seed, 7);
    assert_int_equal(q->format, FORMAT_JSON_SCHEMA);
    assert_string_equal(q->schema, "{\"type\":\"string\"}");
    assert_int_equal(json_array_size(r.wish.response_fields), 1);
    read_free(&r);
}

static void prompts(void **state)
{
    (void)state;
    struct read r;
    struct gen_request *q = accept("{\"prompt\":[1,2,3]}", false, &r);
    assert_int_equal(r.call.n_requests, 1);
    assert_int_equal(q->n_prompt_tokens, 3);
    expect_questions(&r, "[null]");
    read_free(&r);
    accept("{\"prompt\":[\"a\",\"b\"]}", false, &r);
    assert_int_equal(r.call.n_requests, 2);
    assert_string_equal(r.call.requests[1]->prompt, "b");
    read_free(&r);
    accept("{\"prompt\":[1,\"a\",2]}", false, &r);
    assert_int_equal(r.call.n_requests, 1);
    expect_questions(&r, "[{\"content\":[1,\"a\",2],\"add_special\":true,\"parse_special\":true}]");
    read_free(&r);
    accept("{\"prompt\":[\"a\",[1,2],[1,\"b\"],{\"prompt_string\":\"c\"}]}", false, &r);
    assert_int_equal(r.call.n_requests, 4);
    assert_string_equal(r.call.requests[0]->prompt, "a");
    assert_int_equal(r.call.requests[1]->n_prompt_tokens, 2);
    assert_string_equal(r.call.requests[3]->prompt, "c");
    expect_questions(&r, "[null,null,{\"content\":[1,\"b\"],\"add_special\":true,"
                         "\"parse_special\":true},null]");
    read_free(&r);
    accept("{\"input_prefix\":\"a\",\"input_suffix\":\"b\",\"n_predict\":9,\"input_extra\":"
           "[{\"filename\":\"f\",\"text\":\"t\",\"time\":1}]}",
           true, &r);
    expect_questions(&r, "[{\"input_prefix\":\"a\",\"input_suffix\":\"b\",\"prompt\":\"\","
                         "\"n_predict\":9,\"input_extra\":[{\"filename\":\"f\",\"text\":\"t\","
                         "\"time\":1}]}]");
    read_free(&r);
}

static void bodies_that_are_refused(void **state)
{
    (void)state;
#define I ERR_INVALID
    static const struct {
        bool infill;
        const char *body;
        enum err code;
        const char *param;
    } cases[] = {
        {false, "{}", I, "/prompt"},
        {false, "{\"prompt\":7}", I, "/prompt"},
        {false, "{\"prompt\":[]}", I, "/prompt"},
        {false, "{\"prompt\":[[]]}", I, "/prompt"},
        {false, "{\"prompt\":[\"a\",[]]}", I, "/prompt/1"},
        {false, "{\"prompt\":[1.5]}", I, "/prompt"},
        {false, "{\"prompt\":{}}", I, "/prompt/prompt_string"},
        {false, "{\"prompt\":{\"prompt_string\":7}}", I, "/prompt/prompt_string"},
        {false, "{\"prompt\":{\"prompt_string\":\"a\",\"multimodal_data\":[\"x\"]}}",
         ERR_UNSUPPORTED, "/prompt/multimodal_data"},
        {false, "{\"prompt\":\"a\",\"n_predict\":\"1\"}", I, "/n_predict"},
        {false, "{\"prompt\":\"a\",\"n_probs\":21}", I, "/n_probs"},
        {false, "{\"prompt\":\"a\",\"n_cmpl\":17}", I, "/n_cmpl"},
        {false, "{\"prompt\":\"a\",\"top_k\":\"x\"}", I, "/top_k"},
        {false, "{\"prompt\":\"a\",\"logit_bias\":[[\"x\",1]]}", ERR_UNSUPPORTED, "/logit_bias"},
        {false, "{\"prompt\":\"a\",\"logit_bias\":[[1,\"x\"]]}", I, "/logit_bias"},
        {false, "{\"prompt\":\"a\",\"logit_bias\":[7]}", I, "/logit_bias"},
        {false, "{\"prompt\":\"a\",\"response_fields\":[7]}", I, "/response_fields"},
        {false, "{\"prompt\":\"a\",\"response_fields\":[\"a\"],\"top_k\":\"x\"}", I, "/top_k"},
        {false, "{\"prompt\":\"a\",\"grammar\":\"root ::= \\\"a\\\"\",\"json_schema\":{}}", I,
         "/grammar"},
        {true, "{\"input_prefix\":\"a\"}", I, "/input_suffix"},
        {true, "{\"input_prefix\":\"a\",\"input_suffix\":\"b\",\"prompt\":[1]}", I, "/prompt"},
        {true, "{\"input_prefix\":\"a\",\"input_suffix\":\"b\",\"input_extra\":[7]}", I,
         "/input_extra/0"},
        {true, "{\"input_prefix\":\"a\",\"input_suffix\":\"b\",\"input_extra\":[{}]}", I,
         "/input_extra/0/text"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct read r;
        struct error error = {0};
        enum err e = parse(cases[i].body, cases[i].infill, &r, &error);
        if (e != cases[i].code || strcmp(error.param, cases[i].param) != 0)
            fail_msg("%s\ngave %s at \"%s\" (%s),\nexpected %s at \"%s\"", cases[i].body,
                     err_name(e), error.param, error.msg, err_name(cases[i].code), cases[i].param);
    }
}

/* ---- answers ------------------------------------------------------------------------------- */

static const int32_t some_tokens[] = {11, 12, 13};

static struct gen_event tokens(int32_t choice, size_t n)
{
    return (struct gen_event){
        .type = GEN_EV_TOKENS, .choice = choice, .tokens = some_tokens, .n_tokens = n};
}

static struct gen_event text(int32_t choice, const char *s)
{
    return (struct gen_event){
        .type = GEN_EV_TEXT, .choice = choice, .text = s, .text_len = strlen(s)};
}

static struct gen_event end_of(int32_t choice, enum finish_reason why, const char *stop)
{
    return (struct gen_event){
        .type = GEN_EV_CHOICE_END, .choice = choice, .finish = why, .stop = stop};
}

static const struct gen_event started = {
    .type = GEN_EV_STARTED, .model = "tiny", .usage = {10, 4, 0, 0}};
static const struct gen_event done = {
    .type = GEN_EV_DONE,
    .model = "tiny",
    .usage = {10, 4, 3, 0},
    .timings = {
        .prefill_ns = 3000000, .decode_ns = 1500000, .prefill_tokens = 6, .decode_tokens = 3}};

static char *run(const char *body, const struct gen_event *events, size_t n)
{
    struct read r;
    struct buf out;
    accept(body, false, &r);
    struct writer *w = lserver_writer_new(&r.call, &r.wish);
    buf_init(&out, 1 << 20);
    for (size_t i = 0; i < n; i++) {
        size_t part = i * r.call.n_requests / n; /* one after the other */
        assert_int_equal(writer_event(w, part, &events[i], &out), OK);
    }
    assert_int_equal(writer_finish(w, &out), OK);
    writer_free(w);
    r.wish.response_fields = NULL; /* the writer's */
    read_free(&r);
    return out.data ? buf_take(&out) : strdup("");
}

/* Without the settings, which have a test of their own. */
static void cut_settings(char *s)
{
    for (char *at = strstr(s, "\"generation_settings\":{"); at;
         at = strstr(at + 1, "\"generation_settings\":{")) {
        at += strlen("\"generation_settings\":{");
        char *end = strchr(at, '}');
        memmove(at, end, strlen(end) + 1);
    }
}

#define CHECK(body, events, expected)                                                              \
    do {                                                                                           \
        char *s_ = run(body, events, sizeof events / sizeof *events);                              \
        cut_settings(s_);                                                                          \
        assert_string_equal(s_, expected);                                                         \
        free(s_);                                                                                  \
    } while (0)

#define RESULT(index, content, ids, n, type, word, newline)                                        \
    "{\"index\":" index ",\"content\":\"" content "\",\"tokens\":[" ids                            \
    "],\"id_slot\":-1,\"stop\":true,\"model\":\"tiny\",\"tokens_predicted\":" n                    \
    ",\"tokens_evaluated\":10,\"generation_settings\":{},\"prompt\":\"hi\",\"has_new_"             \
    "line\":" newline ",\"truncated\":false,\"stop_type\":\"" type "\",\"stopping_word\":\"" word  \
    "\",\"tokens_cached\":13,\"timings\":{\"cache_n\":4,\"prompt_n\":6,\"prompt_ms\":3,"           \
    "\"prompt_per_token_ms\":0.5,\"prompt_per_second\":2000,\"predicted_n\":3,"                    \
    "\"predicted_ms\":1.5,\"predicted_per_token_ms\":0.5,\"predicted_per_second\":2000}}"
#define PIECE(content, ids, n)                                                                     \
    "data: {\"index\":0,\"content\":\"" content "\",\"tokens\":[" ids "],\"stop\":false,"          \
    "\"id_slot\":-1,\"tokens_predicted\":" n ",\"tokens_evaluated\":10}\n\n"

static void whole_and_streamed(void **state)
{
    (void)state;
    const struct gen_event events[] = {started,      tokens(0, 1), text(0, "a\n"),
                                       tokens(0, 2), text(0, "b"), end_of(0, FINISH_STOP, NULL),
                                       done};
    CHECK("{\"prompt\":\"hi\"}", events, RESULT("0", "a\\nb", "", "3", "eos", "", "true"));
    CHECK("{\"prompt\":\"hi\",\"return_tokens\":true}", events,
          RESULT("0", "a\\nb", "11,11,12", "3", "eos", "", "true"));
    CHECK("{\"prompt\":\"hi\",\"stream\":true}", events,
          PIECE("a\\n", "11", "1")
              PIECE("b", "11,12", "3") "data: " RESULT("0", "", "", "3", "eos", "", "true") "\n\n");
}

static void why_it_ended(void **state)
{
    (void)state;
    const struct gen_event word[] = {started, tokens(0, 3), end_of(0, FINISH_STOP, "##"), done};
    const struct gen_event limit[] = {started, tokens(0, 3), end_of(0, FINISH_LENGTH, NULL), done};
    CHECK("{\"prompt\":\"hi\"}", word, RESULT("0", "", "", "3", "word", "##", "false"));
    CHECK("{\"prompt\":\"hi\"}", limit, RESULT("0", "", "", "3", "limit", "", "false"));
    /* Of a provider that tells no tokens. */
    const struct gen_event untold[] = {started, text(0, "a"), end_of(0, FINISH_STOP, NULL), done};
    CHECK("{\"prompt\":\"hi\"}", untold, RESULT("0", "a", "", "3", "eos", "", "false"));
}

static void several_answers(void **state)
{
    (void)state;
    const struct gen_event two[] = {started,
                                    tokens(0, 3),
                                    text(0, "a"),
                                    tokens(1, 3),
                                    text(1, "b"),
                                    end_of(1, FINISH_STOP, NULL),
                                    end_of(0, FINISH_LENGTH, NULL),
                                    done};
    CHECK("{\"prompt\":\"hi\",\"n_cmpl\":2}", two,
          "[" RESULT("0", "a", "", "3", "limit", "", "false") "," RESULT("1", "b", "", "3", "eos",
                                                                         "", "false") "]");
    const struct gen_event parts[] = {
        started, tokens(0, 3), text(0, "a"), end_of(0, FINISH_STOP, NULL), done,
        started, tokens(0, 3), text(0, "b"), end_of(0, FINISH_STOP, NULL), done};
    CHECK("{\"prompt\":[\"hi\",\"hi\"]}", parts,
          "[" RESULT("0", "a", "", "3", "eos", "", "false") "," RESULT("1", "b", "", "3", "eos", "",
                                                                       "false") "]");
}

static void some_members_only(void **state)
{
    (void)state;
    const struct gen_event events[] = {started, tokens(0, 3), text(0, "a"),
                                       end_of(0, FINISH_STOP, NULL), done};
    CHECK("{\"prompt\":\"hi\",\"response_fields\":[\"timings/prompt_n\",\"content\",\"nope\","
          "\"timings/nope\",\"content/deeper\"]}",
          events, "{\"timings/prompt_n\":6,\"content\":\"a\"}");
}

static void a_warm_up_says_nothing(void **state)
{
    (void)state;
    const struct gen_event events[] = {started, tokens(0, 1), text(0, "a"),
                                       end_of(0, FINISH_LENGTH, NULL), done};
    for (int stream = 0; stream < 2; stream++) {
        char body[80];
        snprintf(body, sizeof body, "{\"prompt\":\"hi\",\"n_predict\":0,\"stream\":%s}",
                 stream ? "true" : "false");
        char *s = run(body, events, 5);
        assert_null(strstr(s, "\"content\":\"a\""));
        assert_non_null(strstr(s, "\"tokens_predicted\":0"));
        free(s);
    }
}

static void probabilities(void **state)
{
    (void)state;
    const struct logprob_alt top[] = {{5, -0.5f, "x", 1}, {6, -INFINITY, "\xC3", 1}};
    const struct token_logprob lp = {{5, -0.5f, "x", 1}, top, 2};
    struct gen_event piece = text(0, "x");
    piece.logprobs = &lp;
    piece.n_logprobs = 1;
    const struct gen_event events[] = {started, tokens(0, 1), piece, end_of(0, FINISH_STOP, NULL),
                                       done};
#define PROBS                                                                                      \
    "\"completion_probabilities\":[{\"id\":5,\"token\":\"x\",\"bytes\":[120],\"logprob\":-0.5,"    \
    "\"top_logprobs\":[{\"id\":5,\"token\":\"x\",\"bytes\":[120],\"logprob\":-0.5},"               \
    "{\"id\":6,\"token\":\"\xEF\xBF\xBD\",\"bytes\":[195],\"logprob\":-9999}]}]"
    char *s = run("{\"prompt\":\"hi\",\"n_probs\":2}", events, 5);
    assert_non_null(strstr(s, PROBS));
    free(s);
    s = run("{\"prompt\":\"hi\",\"n_probs\":2,\"stream\":true}", events, 5);
    char *first = strstr(s, PROBS);
    assert_non_null(first);
    assert_null(strstr(first + 1, PROBS)); /* not again in the end */
    free(s);
}

static void the_settings_of_an_answer(void **state)
{
    (void)state;
    const struct gen_event events[] = {started, end_of(0, FINISH_STOP, NULL), done};
    char *s = run("{\"prompt\":\"hi\",\"n_predict\":5,\"temperature\":0.5,\"top_k\":3,\"seed\":7,"
                  "\"stop\":[\"x\"],\"logit_bias\":[[9,2]]}",
                  events, 3);
    static const char *const parts[] = {"\"seed\":7",
                                        "\"temperature\":0.5",
                                        "\"top_k\":3",
                                        "\"stop\":[\"x\"]",
                                        "\"n_predict\":5",
                                        "\"stream\":false",
                                        "\"logit_bias\":[{\"token\":9,\"bias\":2}]"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (!strstr(s, parts[i])) fail_msg("%s\nis not in\n%s", parts[i], s);
    free(s);
}

static void errors(void **state)
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
        {ERR_UNSUPPORTED, 501, "not_supported_error"},
        {ERR_CONTEXT, 400, "exceed_context_size_error"},
        {ERR_BUSY, 429, "unavailable_error"},
        {ERR_STOPPING, 503, "unavailable_error"},
        {ERR_ENGINE, 500, "server_error"},
    };
    static const char *const paths[] = {"/completion", "/completions",    "/infill", "/tokenize",
                                        "/detokenize", "/apply-template", "/props",  "/slots"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error error;
        struct buf out;
        char wanted[200];
        err_set(&error, cases[i].code, "x");
        assert_int_equal(error_status(&error_llama, &error), cases[i].status);
        buf_init(&out, 4096);
        error_llama.write(&out, &error, "r");
        snprintf(wanted, sizeof wanted,
                 "{\"error\":{\"code\":%d,\"message\":\"x\",\"type\":\"%s\",\"request_id\":\"r\"}}",
                 cases[i].status, cases[i].type);
        assert_string_equal(buf_str(&out), wanted);
        buf_free(&out);
    }
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        assert_ptr_equal(error_shape_of(paths[i]), &error_llama);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options),
        cmocka_unit_test(prompts),
        cmocka_unit_test(bodies_that_are_refused),
        cmocka_unit_test(whole_and_streamed),
        cmocka_unit_test(why_it_ended),
        cmocka_unit_test(several_answers),
        cmocka_unit_test(some_members_only),
        cmocka_unit_test(a_warm_up_says_nothing),
        cmocka_unit_test(probabilities),
        cmocka_unit_test(the_settings_of_an_answer),
        cmocka_unit_test(errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
