/* The fake engine keeps the contract of engine.h: what schedulers and providers are tested with
 * must itself be right. Also the wrappers' fault points. */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/fault.h"
#include "engine/engine.h"

static struct engine_model *load(const char *path)
{
    struct engine *e;
    struct error error;
    struct engine_model *m;
    assert_int_equal(engine_open_fake(&e, &error), OK);
    struct engine_model_params p = {.path = path};
    if (engine_model_load(e, &p, &m, &error)) fail_msg("%s: %s", path, error.msg);
    engine_close(e);
    return m;
}

static struct engine_ctx *context(struct engine_model *m, int32_t n_ctx, bool embeddings)
{
    struct engine_ctx *c;
    struct error error;
    struct engine_ctx_params p = {.n_ctx = n_ctx,
                                  .n_batch = 64,
                                  .n_ubatch = 16,
                                  .n_seq_max = 4,
                                  .embeddings = embeddings,
                                  .shared_kv = true};
    assert_int_equal(engine_ctx_new(m, &p, &c, &error), OK);
    return c;
}

static struct engine_prompt *prompt(const struct engine_model *m, const struct gen_request *req)
{
    struct engine_prompt *p;
    struct error error;
    if (engine_prompt_new(m, req, 1000, &p, &error)) fail_msg("prompt: %s", error.msg);
    return p;
}

static struct engine_prompt *chat(const struct engine_model *m, const char *text)
{
    struct message msg = {.role = ROLE_USER, .content = text};
    struct gen_request req = {.kind = GEN_CHAT, .messages = &msg, .n_messages = 1};
    return prompt(m, &req);
}

/* Puts the tokens into seq from pos on, the last one with output. */
static enum err feed(struct engine_ctx *c, int32_t seq, int32_t pos, const int32_t *tokens,
                     size_t n)
{
    struct engine_batch_token batch[64];
    struct error error;
    for (size_t i = 0; i < n; i++)
        batch[i] =
            (struct engine_batch_token){tokens[i], pos + (int32_t)i, seq, i + 1 == n, .scale = 0};
    return engine_decode(c, batch, (int32_t)n, &error);
}

/* Generates until the end into text; returns the number of tokens. */
static int generate(struct engine_ctx *c, const struct engine_model *m,
                    const struct engine_prompt *p, int32_t seq, struct buf *text)
{
    struct sampling s = {0};
    struct engine_sampler *sm;
    struct engine_sample got;
    struct error error;
    size_t n;
    const int32_t *tokens = engine_prompt_tokens(p, &n);
    assert_int_equal(engine_sampler_new(m, &s, p, &sm, &error), OK);
    assert_int_equal(feed(c, seq, 0, tokens, n), OK);
    int32_t pos = (int32_t)n, index = (int32_t)n - 1, count = 0;
    for (;; count++) {
        assert_int_equal(engine_sample(c, sm, index, &got, &error), OK);
        if (got.is_end) break;
        engine_token_text(m, got.token, false, text);
        assert_int_equal(feed(c, seq, pos++, &got.token, 1), OK);
        index = 0;
    }
    engine_sampler_free(sm);
    return count;
}

static void test_echoes_the_last_user_message(void **state)
{
    (void)state;
    struct engine_model *m = load("fake:ctx=128");
    struct engine_ctx *c = context(m, 128, false);
    struct engine_prompt *p = chat(m, "h\xc3\xa9llo <|end|>");
    struct buf text;
    buf_init(&text, 1000);
    assert_string_equal(engine_prompt_text(p),
                        "<|bos|><|user|>h\xc3\xa9llo <|end|><|end|><|assistant|>");
    assert_int_equal(generate(c, m, p, 2, &text), 14); /* bytes; the user's <|end|> is no token */
    assert_string_equal(text.data, "h\xc3\xa9llo <|end|>");
    buf_free(&text);
    engine_prompt_free(p);
    engine_ctx_free(c);
    engine_model_free(m);
}

static void test_kv_cells_are_counted_and_shared(void **state)
{
    (void)state;
    struct engine_model *m = load("fake:ctx=40,reply=x");
    struct engine_ctx *c = context(m, 40, false);
    int32_t tokens[30];
    for (int i = 0; i < 30; i++) tokens[i] = 'a' + i % 26;
    assert_int_equal(feed(c, 0, 0, tokens, 30), OK);
    engine_seq_copy(c, 0, 1, -1, 20);
    assert_int_equal(feed(c, 1, 20, tokens, 10), OK);      /* shares 20 cells: 40 used */
    assert_int_equal(feed(c, 2, 0, tokens, 1), ERR_NOMEM); /* full, nothing stored */
    assert_true(engine_seq_remove(c, 0, 20, -1));          /* frees 10 of its own */
    assert_int_equal(feed(c, 2, 0, tokens, 10), OK);
    assert_int_equal(feed(c, 0, 20, tokens, 1), ERR_NOMEM);
    assert_true(engine_seq_remove(c, 0, -1, -1)); /* sequence 1 still uses all 20 */
    assert_int_equal(feed(c, 0, 0, tokens, 1), ERR_NOMEM);
    assert_true(engine_seq_remove(c, 1, -1, -1));
    assert_int_equal(feed(c, 0, 0, tokens, 30), OK);
    engine_ctx_free(c);
    engine_model_free(m);
}

static void test_one_prompt_serves_two_choices(void **state)
{
    (void)state;
    struct engine_model *m = load("fake:reply=ab");
    struct engine_ctx *c = context(m, 0, false);
    struct engine_prompt *p = chat(m, "?");
    struct sampling s = {0};
    struct engine_sampler *sm[2];
    struct engine_sample got;
    struct error error;
    size_t n;
    const int32_t *tokens = engine_prompt_tokens(p, &n);
    assert_int_equal(feed(c, 0, 0, tokens, n), OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(engine_sampler_new(m, &s, p, &sm[i], &error), OK);
        assert_int_equal(engine_sample(c, sm[i], (int32_t)n - 1, &got, &error), OK);
        assert_int_equal(got.token, 'a');
    }
    engine_seq_copy(c, 0, 1, -1, -1);
    int32_t pos = (int32_t)n;
    struct engine_batch_token both[2] = {{'a', pos, 0, true, .scale = 0},
                                         {'a', pos, 1, true, .scale = 0}};
    assert_int_equal(engine_decode(c, both, 2, &error), OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(engine_sample(c, sm[i], i, &got, &error), OK);
        assert_int_equal(got.token, 'b');
        engine_sampler_free(sm[i]);
    }
    engine_prompt_free(p);
    engine_ctx_free(c);
    engine_model_free(m);
}

static void *abort_soon(void *ctx)
{
    struct timespec t = {0, 20000000};
    nanosleep(&t, NULL);
    engine_ctx_abort(ctx);
    return NULL;
}

static void test_abort_ends_a_long_decode(void **state)
{
    (void)state;
    struct engine_model *m = load("fake:ms=5000");
    struct engine_ctx *c = context(m, 0, false);
    int32_t tokens[8] = {1, 2, 3};
    pthread_t t;
    int64_t start = clock_mono_ms();
    assert_int_equal(pthread_create(&t, NULL, abort_soon, c), 0);
    assert_int_equal(feed(c, 0, 0, tokens, 8), ERR_CANCELLED);
    assert_true(clock_mono_ms() - start < 2000);
    pthread_join(t, NULL);
    assert_int_equal(feed(c, 0, 0, tokens, 8), ERR_CANCELLED); /* until it is cleared */
    engine_ctx_free(c);
    engine_model_free(m);
}

static bool stop_at_half(float fraction, void *ctx)
{
    *(float *)ctx = fraction;
    return fraction < 0.5f;
}

static void test_loads_can_fail_and_be_stopped(void **state)
{
    (void)state;
    struct engine *e;
    struct engine_model *m;
    struct error error;
    float seen = 0;
    assert_int_equal(engine_open_fake(&e, &error), OK);
    struct engine_model_params p = {.path = "fake:fail_load=tensor 3 is missing"};
    assert_int_equal(engine_model_load(e, &p, &m, &error), ERR_MODEL_FILE);
    assert_string_equal(error.msg, "tensor 3 is missing");
    p = (struct engine_model_params){
        .path = "fake:", .on_progress = stop_at_half, .progress_ctx = &seen};
    assert_int_equal(engine_model_load(e, &p, &m, &error), ERR_CANCELLED);
    assert_true(seen >= 0.5f && seen < 0.7f);
    p = (struct engine_model_params){.path = "fake:colour=red"};
    assert_int_equal(engine_model_load(e, &p, &m, &error), ERR_MODEL_FILE);
    assert_non_null(strstr(error.msg, "colour=red"));
    p = (struct engine_model_params){.path = "/models/x.gguf"};
    assert_int_equal(engine_model_load(e, &p, &m, &error), ERR_MODEL_FILE);
    engine_close(e);
}

static void test_fault_points(void **state)
{
    (void)state;
#if HEARTH_FAULTS
    struct engine *e;
    struct engine_model *m = load("fake:");
    struct engine_ctx *c = context(m, 0, false);
    struct error error;
    int32_t token = 1;
    fault_arm(FAULT_decode, 2, false);
    assert_int_equal(feed(c, 0, 0, &token, 1), OK);
    assert_int_equal(feed(c, 0, 1, &token, 1), ERR_ENGINE);
    assert_int_equal(feed(c, 0, 1, &token, 1), OK);
    engine_ctx_free(c);
    engine_model_free(m);
    assert_int_equal(engine_open_fake(&e, &error), OK);
    struct engine_model_params p = {.path = "fake:"};
    fault_arm(FAULT_load, 1, false);
    assert_int_equal(engine_model_load(e, &p, &m, &error), ERR_MODEL_FILE);
    assert_null(m);
    engine_close(e);
#else
    skip();
#endif
}

/* ---- parsing ------------------------------------------------------------------------------ */

static const struct tool weather = {
    .name = "get_weather", .description = "", .parameters = "{\"type\":\"object\"}"};

static struct engine_parser *parser_for(const struct engine_model *m, enum tool_choice choice)
{
    struct message msg = {.role = ROLE_USER, .content = "x"};
    struct gen_request req = {.kind = GEN_CHAT,
                              .messages = &msg,
                              .n_messages = 1,
                              .tools = &weather,
                              .n_tools = 1,
                              .tool_choice = choice};
    struct engine_prompt *p = prompt(m, &req);
    struct engine_parser *ps;
    struct error error;
    assert_int_equal(engine_parser_new(p, &ps, &error), OK);
    engine_prompt_free(p);
    return ps;
}

struct parsed {
    struct buf text, reasoning, calls;
};

static void collect(struct engine_parser *ps, const char *text, size_t len, bool final,
                    struct parsed *to)
{
    const struct engine_delta *d;
    struct error error;
    size_t n;
    assert_int_equal(engine_parser_feed(ps, text, len, final, &d, &n, &error), OK);
    for (size_t i = 0; i < n; i++) {
        if (d[i].type == DELTA_TEXT) buf_append(&to->text, d[i].text, d[i].text_len);
        if (d[i].type == DELTA_REASONING) buf_append(&to->reasoning, d[i].text, d[i].text_len);
        if (d[i].type != DELTA_TOOL_CALL) continue;
        if (d[i].name) {
            assert_int_equal(strncmp(d[i].id, "call_", 5), 0);
            buf_printf(&to->calls, "[%d %s]", d[i].index, d[i].name);
        }
        buf_append(&to->calls, d[i].arguments, d[i].arguments_len);
    }
}

static void test_parser_gives_the_same_in_any_pieces(void **state)
{
    (void)state;
    const char *text =
        "<think>hm < 3</think>It <is>:<tool_call>get_weather {\"c\":\"<P>\"}</tool_call>"
        "<tool_call>get_weather {}</tool_call> bye<too";
    struct engine_model *m = load("fake:");
    for (size_t piece = 1; piece <= strlen(text); piece++) {
        struct engine_parser *ps = parser_for(m, TOOL_AUTO);
        struct parsed got;
        buf_init(&got.text, 1000);
        buf_init(&got.reasoning, 1000);
        buf_init(&got.calls, 1000);
        for (size_t i = 0; i < strlen(text); i += piece) {
            size_t len = strlen(text) - i < piece ? strlen(text) - i : piece;
            collect(ps, text + i, len, false, &got);
        }
        collect(ps, "", 0, true, &got);
        assert_string_equal(buf_str(&got.text), "It <is>: bye<too");
        assert_string_equal(buf_str(&got.reasoning), "hm < 3");
        assert_string_equal(buf_str(&got.calls), "[0 get_weather]{\"c\":\"<P>\"}[1 get_weather]{}");
        buf_free(&got.text);
        buf_free(&got.reasoning);
        buf_free(&got.calls);
        engine_parser_free(ps);
    }
    engine_model_free(m);
}

static void test_a_named_tool_is_called(void **state)
{
    (void)state;
    struct engine_model *m = load("fake:");
    struct engine_ctx *c = context(m, 0, false);
    struct message msg = {.role = ROLE_USER, .content = "hello"};
    struct gen_request req = {.kind = GEN_CHAT,
                              .messages = &msg,
                              .n_messages = 1,
                              .tools = &weather,
                              .n_tools = 1,
                              .tool_choice = TOOL_NAMED,
                              .tool_choice_name = "get_weather"};
    struct engine_prompt *p = prompt(m, &req);
    struct error error;
    struct buf text;
    buf_init(&text, 1000);
    generate(c, m, p, 0, &text);
    assert_string_equal(text.data, "<tool_call>get_weather {}</tool_call>");
    engine_prompt_free(p);
    req.tool_choice_name = "set_weather";
    assert_int_equal(engine_prompt_new(m, &req, 1000, &p, &error), ERR_INVALID);
    assert_string_equal(error.param, "/tool_choice/function/name");
    buf_free(&text);
    engine_ctx_free(c);
    engine_model_free(m);
}

/* ---- embeddings --------------------------------------------------------------------------- */

static void embed(struct engine_model *m, const char *text, float out[32])
{
    struct engine_ctx *c = context(m, 0, true);
    struct error error;
    int32_t *tokens;
    size_t n;
    assert_int_equal(engine_tokenize(m, text, strlen(text), true, false, 64, &tokens, &n, &error),
                     OK);
    assert_int_equal(feed(c, 3, 0, tokens, n), OK);
    const float *v = engine_seq_embedding(c, 3);
    assert_non_null(v);
    memcpy(out, v, 32 * sizeof *out);
    assert_null(engine_seq_embedding(c, 2));
    free(tokens);
    engine_ctx_free(c);
}

static float dot(const float *a, const float *b)
{
    float sum = 0;
    for (int i = 0; i < 32; i++) sum += a[i] * b[i];
    return sum;
}

static void test_embeddings_are_unit_vectors_and_compare(void **state)
{
    (void)state;
    struct engine_model *m = load("fake:kind=embed");
    float a[32], b[32], c[32];
    embed(m, "the cat sat on the mat", a);
    embed(m, "the cat sat on a mat", b);
    embed(m, "QUARTERLY EARNINGS 1937", c);
    assert_true(fabsf(dot(a, a) - 1) < 1e-5f);
    assert_true(dot(a, b) > dot(a, c));
    engine_model_free(m);
}

static void test_too_long_prompts_name_both_numbers(void **state)
{
    (void)state;
    struct engine_model *m = load("fake:");
    struct error error;
    int32_t *tokens;
    size_t n;
    assert_int_equal(engine_tokenize(m, "hello", 5, false, false, 4, &tokens, &n, &error),
                     ERR_CONTEXT);
    assert_non_null(strstr(error.msg, "5"));
    assert_non_null(strstr(error.msg, "4"));
    engine_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_echoes_the_last_user_message),
        cmocka_unit_test(test_kv_cells_are_counted_and_shared),
        cmocka_unit_test(test_one_prompt_serves_two_choices),
        cmocka_unit_test(test_abort_ends_a_long_decode),
        cmocka_unit_test(test_loads_can_fail_and_be_stopped),
        cmocka_unit_test(test_fault_points),
        cmocka_unit_test(test_parser_gives_the_same_in_any_pieces),
        cmocka_unit_test(test_a_named_tool_is_called),
        cmocka_unit_test(test_embeddings_are_unit_vectors_and_compare),
        cmocka_unit_test(test_too_long_prompts_name_both_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
