/* What the keys and values of a context are kept as: what it saves, how near the answers stay, and
 * models that can't have every type. With the built-in model, whose heads have 32 numbers, and
 * copies of it whose header says otherwise (the weights fit all the same). */
#include <math.h>
#include <unistd.h>

#include "base/fs.h"
#include "unit/engine/help.h"

enum { N_PROMPT = 120, N_MORE = 7, FILE_LIMIT = 64 << 20 };

/* ---- helpers ------------------------------------------------------------------------------ */

static struct engine_ctx *open_ctx(struct engine_model *m, enum engine_kv_type type)
{
    struct engine_ctx *c;
    struct error error;
    struct engine_ctx_params p = {.n_ctx = 512,
                                  .n_batch = 256,
                                  .n_ubatch = 256,
                                  .n_seq_max = 1,
                                  .n_threads = 1,
                                  .n_threads_batch = 1,
                                  .kv_type = type};
    if (engine_ctx_new(m, &p, &c, &error)) fail_msg("%s", error.msg);
    return c;
}

static uint64_t kv_bytes(const struct engine_ctx *c)
{
    struct engine_memory memory;
    engine_ctx_memory(c, &memory);
    return memory.host.kv;
}

/* The number of that name in the header; the type in front of it tells a name from a longer one. */
static void set_u32(struct buf *file, const char *name, uint32_t value)
{
    static const uint32_t type = 4;
    char key[64];
    size_t len = strlen(name);
    memcpy(key, name, len);
    memcpy(key + len, &type, sizeof type);
    char *at = memmem(file->data, file->len, key, len + sizeof type);
    assert_non_null(at);
    memcpy(at + len + sizeof type, &value, sizeof value);
}

/* The built-in model with that many heads, of 256 / n numbers each. */
static struct engine_model *with_heads(uint32_t n)
{
    char path[] = "/tmp/hearth-kv-XXXXXX";
    struct error error;
    struct buf file;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    buf_init(&file, FILE_LIMIT);
    assert_int_equal(fs_read_file(CHAT_MODEL, FILE_LIMIT, &file, &error), OK);
    set_u32(&file, "llama.attention.head_count", n);
    set_u32(&file, "llama.attention.head_count_kv", n);
    set_u32(&file, "llama.rope.dimension_count", 256 / n);
    assert_int_equal(fs_write_atomic(path, file.data, file.len, 0600, &error), OK);
    buf_free(&file);
    struct engine_model *m = help_load(path);
    unlink(path);
    return m;
}

/* N_PROMPT tokens and then N_MORE that the model chooses. */
static void answer(struct engine_model *m, struct engine_ctx *c, struct engine_sample *out)
{
    int32_t *tokens;
    size_t n;
    struct error error;
    struct engine_sampler *s;
    char text[2000] = "";
    for (int i = 0; i < 60; i++) strcat(text, i % 3 ? "The cat and the dog. " : "Who are you? ");
    assert_int_equal(
        engine_tokenize(m, text, strlen(text), true, false, 10000, &tokens, &n, &error), OK);
    assert_true(n > N_PROMPT);
    struct gen_request req = {.kind = GEN_RAW,
                              .model = "",
                              .tenant = "",
                              .prompt_tokens = tokens,
                              .n_prompt_tokens = N_PROMPT,
                              .n = 1,
                              .sampling = help_greedy()};
    struct sampling greedy = help_greedy();
    greedy.logprobs = greedy.ignore_eos = true;
    greedy.top_logprobs = 5;
    struct engine_prompt *p = help_prompt(m, &req);
    assert_int_equal(engine_sampler_new(m, &greedy, p, &s, &error), OK);
    assert_int_equal(help_feed(c, 0, 0, tokens, N_PROMPT, &error), OK);
    for (int i = 0; i < N_MORE; i++) {
        assert_int_equal(engine_sample(c, s, i ? 0 : N_PROMPT - 1, &out[i], &error), OK);
        assert_int_equal(help_feed(c, 0, N_PROMPT + i, &out[i].token, 1, &error), OK);
    }
    engine_sampler_free(s);
    engine_prompt_free(p);
    free(tokens);
}

/* ---- tests -------------------------------------------------------------------------------- */

static void test_names(void **state)
{
    (void)state;
    enum engine_kv_type type = ENGINE_KV_F16;
    for (int t = 0; t < ENGINE_KV_TYPES; t++) {
        assert_true(engine_kv_find(engine_kv_name((enum engine_kv_type)t), &type));
        assert_int_equal(type, t);
    }
    assert_true(engine_kv_find("Q8_0", &type) && type == ENGINE_KV_Q8_0);
    assert_false(engine_kv_find("auto", &type) || engine_kv_find("", &type));
}

static void test_about_half_the_memory_and_nearly_the_same_answer(void **state)
{
    (void)state;
    struct engine_sample exact[N_MORE], rounded[N_MORE];
    struct engine_ctx *f16 = open_ctx(help_model, ENGINE_KV_F16);
    struct engine_ctx *q8 = open_ctx(help_model, ENGINE_KV_Q8_0);
    assert_int_equal(engine_ctx_kv_type(f16), ENGINE_KV_F16);
    assert_int_equal(engine_ctx_kv_type(q8), ENGINE_KV_Q8_0);
    assert_int_equal(kv_bytes(q8) * 64, kv_bytes(f16) * 34);
    answer(help_model, f16, exact);
    answer(help_model, q8, rounded);
    bool same = true;
    for (int i = 0; i < N_MORE; i++) {
        assert_int_equal(rounded[i].token, exact[i].token);
        assert_true(fabsf(rounded[i].logprob - exact[i].logprob) < 0.25f);
        same = same && rounded[i].logprob == exact[i].logprob;
    }
    assert_false(same); /* it does round */
    engine_ctx_free(f16);
    engine_ctx_free(q8);
}

static void test_states_are_of_one_type(void **state)
{
    (void)state;
    struct engine_ctx *f16 = open_ctx(help_model, ENGINE_KV_F16);
    struct engine_ctx *q8 = open_ctx(help_model, ENGINE_KV_Q8_0);
    struct engine_ctx *again = open_ctx(help_model, ENGINE_KV_Q8_0);
    assert_true(engine_ctx_fingerprint(q8) && engine_ctx_fingerprint(f16));
    assert_int_not_equal(engine_ctx_fingerprint(q8), engine_ctx_fingerprint(f16));
    assert_int_equal(engine_ctx_fingerprint(q8), engine_ctx_fingerprint(again));
    engine_ctx_free(f16);
    engine_ctx_free(q8);
    engine_ctx_free(again);
}

/* Heads of 16 numbers are no whole blocks of 32: the context is of f16, in all that it says. */
static void test_a_model_that_cannot_has_f16(void **state)
{
    (void)state;
    struct engine_sample exact[N_MORE], asked[N_MORE];
    struct engine_model *m = with_heads(16);
    struct engine_ctx *f16 = open_ctx(m, ENGINE_KV_F16), *other = open_ctx(m, ENGINE_KV_Q8_0);
    assert_int_equal(engine_ctx_kv_type(other), ENGINE_KV_F16);
    assert_int_equal(kv_bytes(other), kv_bytes(f16));
    assert_int_equal(engine_ctx_fingerprint(other), engine_ctx_fingerprint(f16));
    answer(m, f16, exact);
    answer(m, other, asked);
    for (int i = 0; i < N_MORE; i++) assert_int_equal(asked[i].token, exact[i].token);
    engine_ctx_free(f16);
    engine_ctx_free(other);
    engine_model_free(m);
}

/* Keys of q8_0 are moved only where the library can turn them back, with heads of 64; it would end
 * the process elsewhere. */
static void test_moving_positions(void **state)
{
    (void)state;
    static const struct {
        uint32_t heads;
        enum engine_kv_type type;
        bool moves;
    } cases[] = {{8, ENGINE_KV_F16, true},
                 {8, ENGINE_KV_Q8_0, false},
                 {4, ENGINE_KV_F16, true},
                 {4, ENGINE_KV_Q8_0, true},
                 {16, ENGINE_KV_Q8_0, true}}; /* of f16 after all */
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct engine_sample samples[N_MORE];
        struct error error;
        struct engine_model *m = with_heads(cases[i].heads);
        struct engine_ctx *c = open_ctx(m, cases[i].type);
        answer(m, c, samples);
        assert_int_equal(engine_seq_shift(c, 0, 1, 1, -1), cases[i].moves); /* asks */
        int32_t end = N_PROMPT + N_MORE;
        if (cases[i].moves) {
            assert_true(engine_seq_remove(c, 0, 10, 40));
            assert_true(engine_seq_shift(c, 0, 40, end, -30));
            end -= 30;
        }
        assert_int_equal(help_feed(c, 0, end, &samples[0].token, 1, &error), OK);
        engine_ctx_free(c);
        engine_model_free(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_about_half_the_memory_and_nearly_the_same_answer),
        cmocka_unit_test(test_states_are_of_one_type),
        cmocka_unit_test(test_a_model_that_cannot_has_f16),
        cmocka_unit_test(test_moving_positions),
    };
    return cmocka_run_group_tests(tests, help_open, help_close);
}
