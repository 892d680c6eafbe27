/* Sequences saved and restored: to the bit what they were, in the same context and in another one;
 * bytes that don't fit are refused. With the fake engine and the built-in model. */
#include "unit/engine/help.h"

enum { N_PROMPT = 150, N_MORE = 12 };

static enum engine_kv_type kv_type; /* of the contexts */

static struct engine_ctx *own_cells(struct engine_model *m, int32_t n_seq)
{
    struct engine_ctx *c;
    struct error error;
    struct engine_ctx_params p = {.n_ctx = 512 * n_seq,
                                  .n_batch = 256,
                                  .n_ubatch = 256,
                                  .n_seq_max = n_seq,
                                  .n_threads = 1,
                                  .n_threads_batch = 1,
                                  .kv_type = kv_type};
    if (engine_ctx_new(m, &p, &c, &error)) fail_msg("%s", error.msg);
    return c;
}

static void decode(struct engine_ctx *c, int32_t seq, const int32_t *tokens, int32_t from,
                   int32_t n)
{
    struct engine_batch_token batch[256];
    struct error error;
    for (int32_t i = 0; i < n; i++)
        batch[i] =
            (struct engine_batch_token){tokens[from + i], from + i, seq, i == n - 1, .scale = 0};
    if (engine_decode(c, batch, n, &error)) fail_msg("%s", error.msg);
}

static struct engine_prompt *raw_prompt(struct engine_model *m, const int32_t *tokens, size_t n)
{
    struct gen_request req = {.kind = GEN_RAW,
                              .request_id = "",
                              .model = "",
                              .tenant = "",
                              .prompt_tokens = tokens,
                              .n_prompt_tokens = n,
                              .n = 1,
                              .sampling = {.top_p = 1, .repeat_penalty = 1}};
    struct engine_prompt *p;
    struct error error;
    if (engine_prompt_new(m, &req, 1 << 20, &p, &error)) fail_msg("%s", error.msg);
    return p;
}

/* Goes on greedily for N_MORE tokens; what came, with its log probabilities. */
static void go_on(struct engine_model *m, struct engine_ctx *c, int32_t seq, const int32_t *prompt,
                  int32_t n, struct engine_sample *out)
{
    struct error error;
    struct engine_sampler *s;
    struct sampling greedy = {
        .top_p = 1, .repeat_penalty = 1, .logprobs = true, .top_logprobs = 5, .ignore_eos = true};
    struct engine_prompt *p = raw_prompt(m, prompt, (size_t)n);
    assert_int_equal(engine_sampler_new(m, &greedy, p, &s, &error), OK);
    int32_t tokens[512];
    memcpy(tokens, prompt, (size_t)n * sizeof *tokens);
    for (int i = 0; i < N_MORE; i++) {
        decode(c, seq, tokens, n - 1, 1);
        assert_int_equal(engine_sample(c, s, 0, &out[i], &error), OK);
        tokens[n++] = out[i].token;
    }
    engine_sampler_free(s);
    engine_prompt_free(p);
}

static void same(const struct engine_sample *a, const struct engine_sample *b)
{
    for (int i = 0; i < N_MORE; i++) {
        assert_int_equal(a[i].token, b[i].token);
        assert_memory_equal(&a[i].logprob, &b[i].logprob, sizeof a->logprob);
        assert_int_equal(a[i].n_top, b[i].n_top);
        for (size_t k = 0; k < a[i].n_top; k++)
            assert_memory_equal(&a[i].top[k].logprob, &b[i].top[k].logprob, sizeof a->logprob);
    }
}

static void save_and_restore(struct engine_model *m, const int32_t *prompt)
{
    struct engine_sample want[N_MORE], got[N_MORE];
    struct error error;
    struct engine_ctx *c = own_cells(m, 3), *other = own_cells(m, 3), *odd = own_cells(m, 2);
    assert_int_equal(engine_ctx_fingerprint(c), engine_ctx_fingerprint(other));
    decode(c, 0, prompt, 0, N_PROMPT - 1);
    size_t size = engine_seq_size(c, 0);
    unsigned char *state = malloc(size);
    assert_int_equal(engine_seq_save(c, 0, state, size), size);
    assert_int_equal(engine_seq_save(c, 0, state, size - 1), 0); /* too small */
    assert_int_equal(engine_seq_save(c, 0, state, size), size);
    go_on(m, c, 0, prompt, N_PROMPT, want);

    assert_int_equal(engine_seq_restore(c, 2, state, size, &error), OK);
    go_on(m, c, 2, prompt, N_PROMPT, got);
    same(want, got);
    /* over a sequence that holds something else, in another context */
    decode(other, 1, prompt + 5, 0, 100);
    assert_int_equal(engine_seq_restore(other, 1, state, size, &error), OK);
    go_on(m, other, 1, prompt, N_PROMPT, got);
    same(want, got);
    /* and cut */
    assert_true(engine_ctx_divisible(c));
    assert_int_equal(engine_seq_restore(other, 1, state, size, &error), OK);
    assert_true(engine_seq_remove(other, 1, 100, -1));
    decode(other, 1, prompt, 100, N_PROMPT - 101);
    go_on(m, other, 1, prompt, N_PROMPT, got);
    assert_int_equal(got[0].token, want[0].token);

    assert_true(engine_seq_remove(c, 1, -1, -1) && engine_seq_remove(c, 2, -1, -1));
    assert_int_equal(engine_seq_restore(c, 1, state, size, &error), OK);
    assert_true(engine_seq_copy(c, 1, 2, -1, -1));
    go_on(m, c, 2, prompt, N_PROMPT, got);
    same(want, got);

    assert_int_not_equal(engine_seq_restore(c, 1, state, size - 8, &error), OK);
    assert_int_not_equal(engine_seq_restore(c, 1, "nothing of the kind", 19, &error), OK);
    assert_true(engine_seq_remove(c, 1, -1, -1)); /* empty, and the context still works */
    decode(c, 1, prompt, 0, N_PROMPT - 1);
    go_on(m, c, 1, prompt, N_PROMPT, got);
    same(want, got);
    /* another shape of the memory has another fingerprint */
    assert_int_not_equal(engine_ctx_fingerprint(c), engine_ctx_fingerprint(odd));
    assert_int_not_equal(engine_seq_restore(odd, 1, state, size, &error), OK);
    free(state);
    engine_ctx_free(c);
    engine_ctx_free(other);
    engine_ctx_free(odd);
}

static void test_built_in_model(void **state)
{
    (void)state;
    int32_t *tokens;
    size_t n;
    struct error error;
    char text[2000] = "";
    for (int i = 0; i < 60; i++) strcat(text, i % 3 ? "The cat and the dog. " : "Who are you? ");
    assert_int_equal(
        engine_tokenize(help_model, text, strlen(text), true, false, 10000, &tokens, &n, &error),
        OK);
    assert_true(n > N_PROMPT + 10);
    for (int t = 0; t < ENGINE_KV_TYPES; t++) {
        kv_type = (enum engine_kv_type)t;
        save_and_restore(help_model, tokens);
    }
    kv_type = ENGINE_KV_F16;
    free(tokens);
}

/* The fake one's samplers check the cells that they sample from. */
static void test_fake_engine(void **state)
{
    (void)state;
    struct engine *e;
    struct engine_model *m, *small;
    struct error error;
    struct engine_sample a[N_MORE], b[N_MORE];
    int32_t prompt[N_PROMPT];
    for (int i = 0; i < N_PROMPT; i++) prompt[i] = 'a' + i % 26;
    assert_int_equal(engine_open_fake(&e, &error), OK);
    struct engine_model_params p = {.path = "fake:"}, q = {.path = "fake:ctx=100,no_partial=1"};
    assert_int_equal(engine_model_load(e, &p, &m, &error), OK);
    assert_int_equal(engine_model_load(e, &q, &small, &error), OK);
    struct engine_ctx *c = own_cells(m, 2), *d = own_cells(small, 8);
    assert_int_not_equal(engine_ctx_fingerprint(c), engine_ctx_fingerprint(d));
    assert_true(engine_ctx_divisible(c) && !engine_ctx_divisible(d));
    decode(c, 0, prompt, 0, N_PROMPT - 1);
    size_t size = engine_seq_size(c, 0);
    char state_bytes[8192];
    assert_true(size <= sizeof state_bytes);
    assert_int_equal(engine_seq_save(c, 0, state_bytes, size - 1), 0);
    assert_int_equal(engine_seq_save(c, 0, state_bytes, size), size);
    assert_int_equal(engine_seq_restore(c, 1, state_bytes, size, &error), OK);
    go_on(m, c, 0, prompt, N_PROMPT, a);
    go_on(m, c, 1, prompt, N_PROMPT, b);
    same(a, b);
    assert_int_equal(engine_seq_restore(c, 1, state_bytes, size - 4, &error), ERR_INVALID);
    assert_int_equal(engine_seq_restore(c, 1, state_bytes, size, &error), OK); /* it was emptied */
    engine_ctx_free(c);
    engine_ctx_free(d);
    engine_model_free(m);
    engine_model_free(small);
    engine_close(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fake_engine),
        cmocka_unit_test(test_built_in_model),
    };
    return cmocka_run_group_tests(tests, help_open, help_close);
}
