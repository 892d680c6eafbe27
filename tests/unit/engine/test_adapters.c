/* Adapters in both engines: they change answers, only while they are set, only where they are set;
 * what does not fit is an error. */
#include "help.h"

#include <pthread.h>
#include <unistd.h>

#define PIRATE HEARTH_SOURCE_DIR "/models/adapters/pirate.gguf"
#define TERSE  HEARTH_SOURCE_DIR "/models/adapters/terse.gguf"

static struct engine_adapter *load(struct engine_model *m, const char *path)
{
    struct engine_adapter *a;
    struct error error;
    if (engine_adapter_load(m, path, &a, &error)) fail_msg("%s: %s", path, error.msg);
    return a;
}

/* One sequence of a context: a prompt, its sampler, what came so far. */
struct stream {
    struct engine_prompt *prompt;
    struct engine_sampler *sampler;
    struct engine_adapter *adapter;
    float scale;
    int32_t seq, pos, next;
    bool ended;
    char text[512];
};

static void say(struct stream *st, struct engine_model *m, struct engine_ctx *c, int32_t index)
{
    struct engine_sample got;
    struct error error;
    struct buf text;
    if (engine_sample(c, st->sampler, index, &got, &error)) fail_msg("%s", error.msg);
    st->ended = got.is_end;
    st->next = got.token;
    buf_init(&text, 64);
    if (!got.is_end) engine_token_text(m, got.token, false, &text);
    strncat(st->text, buf_str(&text), sizeof st->text - strlen(st->text) - 1);
    buf_free(&text);
}

static void begin(struct stream *st, struct engine_model *m, struct engine_ctx *c, int32_t seq,
                  const char *question, struct engine_adapter *a, float scale)
{
    struct message msg = {.role = ROLE_USER, .content = question};
    struct gen_request req = {
        .kind = GEN_CHAT, .messages = &msg, .n_messages = 1, .sampling = help_greedy()};
    struct error error;
    size_t n;
    *st = (struct stream){.adapter = a, .scale = scale, .seq = seq};
    st->prompt = help_prompt(m, &req);
    const int32_t *tokens = engine_prompt_tokens(st->prompt, &n);
    assert_int_equal(engine_sampler_new(m, &req.sampling, st->prompt, &st->sampler, &error), OK);
    if (help_feed_with(c, a, scale, seq, 0, tokens, n, &error)) fail_msg("%s", error.msg);
    st->pos = (int32_t)n;
    say(st, m, c, (int32_t)n - 1);
}

static void step(struct stream *st, struct engine_model *m, struct engine_ctx *c)
{
    struct error error;
    if (st->ended) return;
    if (help_feed_with(c, st->adapter, st->scale, st->seq, st->pos++, &st->next, 1, &error))
        fail_msg("%s", error.msg);
    say(st, m, c, 0);
}

static void end(struct stream *st)
{
    engine_sampler_free(st->sampler);
    engine_prompt_free(st->prompt);
}

enum { TOKENS = 40 };

static void alone(struct engine_model *m, const char *question, struct engine_adapter *a,
                  float scale, char *out)
{
    struct engine_ctx *c = help_ctx(m, 2048, false);
    struct stream st;
    begin(&st, m, c, 0, question, a, scale);
    for (int i = 0; i < TOKENS; i++) step(&st, m, c);
    strcpy(out, st.text);
    end(&st);
    engine_ctx_free(c);
}

static void test_adapters_change_answers_visibly(void **state)
{
    (void)state;
    char base[512], pirate[512], terse[512], none[512];
    struct engine_adapter *p = load(help_model, PIRATE), *t = load(help_model, TERSE);
    const char *question = "Who are you?";
    alone(help_model, question, NULL, 1, base);
    alone(help_model, question, p, 1, pirate);
    alone(help_model, question, t, 1, terse);
    alone(help_model, question, p, 0, none);
    print_message("base: %s\npirate: %s\nterse: %s\n", base, pirate, terse);
    assert_string_not_equal(base, pirate);
    assert_string_not_equal(base, terse);
    assert_string_not_equal(pirate, terse);
    assert_string_equal(base, none);
    assert_true(strlen(terse) < strlen(base));
    engine_adapter_free(p);
    engine_adapter_free(t);
    alone(help_model, question, NULL, 1, none);
    assert_string_equal(base, none);
}

/* Step by step in turn in one context, each says what it says alone. */
static void test_mixed_in_one_context_each_gives_its_own_answer(void **state)
{
    (void)state;
    static const char question[] = "What is the capital of France?";
    struct engine_adapter *p = load(help_model, PIRATE), *t = load(help_model, TERSE);
    const struct {
        struct engine_adapter *a;
        float scale;
    } with[4] = {{NULL, 1}, {p, 1}, {t, 1}, {p, 0.5f}};
    char want[4][512];
    struct stream st[4];
    for (int i = 0; i < 4; i++) alone(help_model, question, with[i].a, with[i].scale, want[i]);
    struct engine_ctx *c = help_ctx(help_model, 2048, false);
    for (int i = 0; i < 4; i++) begin(&st[i], help_model, c, i, question, with[i].a, with[i].scale);
    for (int k = 0; k < TOKENS; k++)
        for (int i = 0; i < 4; i++) step(&st[i], help_model, c);
    for (int i = 0; i < 4; i++) {
        assert_string_equal(st[i].text, want[i]);
        end(&st[i]);
    }
    engine_ctx_free(c);
    engine_adapter_free(p);
    engine_adapter_free(t);
}

/* ---- several in one batch ------------------------------------------------------------------- */

static enum engine_kv_type kv_type; /* of the contexts */

static struct engine_ctx *own_cells(struct engine_model *m, int32_t n_seq)
{
    struct engine_ctx *c;
    struct error error;
    struct engine_ctx_params p = {.n_ctx = 512 * n_seq,
                                  .n_batch = 512,
                                  .n_ubatch = 64,
                                  .n_seq_max = n_seq,
                                  .n_threads = 2,
                                  .n_threads_batch = 2,
                                  .kv_type = kv_type};
    if (engine_ctx_new(m, &p, &c, &error)) fail_msg("%s", error.msg);
    return c;
}

/* A token of each that has not ended, in batches of those whose ids follow each other. */
static void step_together(struct stream *st, int n, struct engine_model *m, struct engine_ctx *c)
{
    struct engine_batch_token batch[16];
    struct stream *who[16];
    struct error error;
    int rows = 0;
    for (int i = 0; i < n; i++) {
        if (st[i].ended) {
            step_together(st + i + 1, n - i - 1, m, c);
            break;
        }
        who[rows] = &st[i];
        batch[rows++] = (struct engine_batch_token){
            st[i].next,          st[i].pos++, st[i].seq, true, .adapter = st[i].adapter,
            .scale = st[i].scale};
    }
    if (!rows) return;
    if (engine_decode(c, batch, rows, &error)) fail_msg("%s", error.msg);
    for (int i = 0; i < rows; i++) say(who[i], m, c, i);
}

struct with {
    struct engine_adapter *a;
    float scale;
};

/* The answers of n requests, each with its adapter, decoded in batches of all of them. */
static void answer_together(struct engine_model *m, struct engine_ctx *c, const struct with *with,
                            int n, const char *question, char (*out)[512])
{
    struct stream st[16];
    for (int i = 0; i < n; i++) begin(&st[i], m, c, i, question, with[i].a, with[i].scale);
    for (int i = 0; i < n; i++) assert_true(engine_ctx_mixes(c, with[i].a));
    for (int k = 0; k < TOKENS; k++) step_together(st, n, m, c);
    for (int i = 0; i < n; i++) {
        strcpy(out[i], st[i].text);
        end(&st[i]);
    }
}

static void check_together(const struct with *with, int n, bool shared)
{
    static const char question[] = "What is the capital of France?";
    char want[16][512], got[16][512];
    for (int i = 0; i < n; i++) alone(help_model, question, with[i].a, with[i].scale, want[i]);
    struct engine_ctx *c = shared ? help_ctx(help_model, 2048, false) : own_cells(help_model, n);
    assert_true(engine_ctx_mixes(c, NULL));
    answer_together(help_model, c, with, n, question, got);
    for (int i = 0; i < n; i++) assert_string_equal(got[i], want[i]);
    engine_ctx_free(c);
}

static void test_rows_of_several_adapters_in_one_batch(void **state)
{
    (void)state;
    struct engine_adapter *p = load(help_model, PIRATE), *t = load(help_model, TERSE);
    check_together((struct with[]){{p, 1}, {t, 1}}, 2, false);
    check_together((struct with[]){{p, 1}, {t, 1}, {p, 1}, {t, 1}}, 4, true);
    check_together((struct with[]){{p, 1}, {NULL, 0}, {t, 1}, {p, 0.5f}}, 4, false);
    check_together((struct with[]){{NULL, 1}, {p, 0.5f}, {p, 1}, {p, 2}}, 4, true);
    check_together((struct with[]){{t, 1}, {p, 0}, {t, 0.25f}, {NULL, 3}}, 4, false);
    struct with many[12];
    for (int i = 0; i < 12; i++) many[i] = (struct with){i % 3 == 0 ? p : i % 3 == 1 ? t : NULL, 1};
    check_together(many, 12, false);
    engine_adapter_free(p);
    engine_adapter_free(t);
}

static void logits_of(struct engine_ctx *c, struct stream *st, int n, float *out)
{
    struct engine_sample got;
    struct error error;
    for (int i = 0; i < n; i++) {
        assert_int_equal(engine_sample(c, st[i].sampler, i, &got, &error), OK);
        for (size_t k = 0; k < 8; k++) out[i * 8 + (int)k] = got.top[k].logprob;
    }
}

/* One step of the same four streams: each has the adapter `with` says. Fills 8 logprobs of each. */
static void one_step(struct engine_model *m, const struct with *prompt, const struct with *with,
                     float *out)
{
    struct engine_ctx *c = own_cells(m, 4);
    struct engine_batch_token batch[4];
    struct error error;
    struct gen_request req = {
        .kind = GEN_RAW, .prompt = "Once upon a time", .sampling = help_greedy()};
    struct stream st[4] = {0};
    req.sampling.logprobs = true;
    req.sampling.top_logprobs = 8;
    for (int i = 0; i < 4; i++) {
        size_t n;
        st[i].prompt = help_prompt(m, &req);
        const int32_t *tokens = engine_prompt_tokens(st[i].prompt, &n);
        assert_int_equal(engine_sampler_new(m, &req.sampling, st[i].prompt, &st[i].sampler, &error),
                         OK);
        assert_int_equal(help_feed_with(c, prompt[i].a, prompt[i].scale, i, 0, tokens, n, &error),
                         OK);
        batch[i] = (struct engine_batch_token){
            tokens[i], (int32_t)n, i, true, .adapter = with[i].a, .scale = with[i].scale};
    }
    if (engine_decode(c, batch, 4, &error)) fail_msg("%s", error.msg);
    logits_of(c, st, 4, out);
    for (int i = 0; i < 4; i++) end(&st[i]);
    engine_ctx_free(c);
}

/* Not nearly: a row of a mixed batch has the very numbers that it has in a batch of as many rows
 * with its adapter. */
static void compare_mixed_rows(void)
{
    struct engine_adapter *p = load(help_model, PIRATE), *t = load(help_model, TERSE);
    const struct with base = {NULL, 0};
    const struct with mixed[][4] = {{{p, 1}, {t, 1}, {p, 1}, {t, 1}},
                                    {{t, 0.3f}, base, {p, 1.7f}, base},
                                    {base, {p, 1}, {p, 0.7f}, {t, 1}},
                                    {{p, 0.1f}, {p, 0.2f}, {p, 0.3f}, {p, 0.4f}}};
    for (size_t k = 0; k < sizeof mixed / sizeof *mixed; k++) {
        float got[32], want[32];
        one_step(help_model, mixed[k], mixed[k], got);
        for (int i = 0; i < 4; i++) {
            struct with same[4] = {mixed[k][i], mixed[k][i], mixed[k][i], mixed[k][i]};
            one_step(help_model, mixed[k], same, want);
            assert_memory_equal(got + 8 * i, want + 8 * i, 8 * sizeof *got);
        }
    }
    engine_adapter_free(p);
    engine_adapter_free(t);
}

/* Cells of another type make other computations of a step. */
static void test_a_mixed_row_is_the_same_to_the_last_bit(void **state)
{
    (void)state;
    for (int type = 0; type < ENGINE_KV_TYPES; type++) {
        kv_type = (enum engine_kv_type)type;
        compare_mixed_rows();
    }
    kv_type = ENGINE_KV_F16;
}

/* Base, one, both, another, in turn in one context, whose set of adapters grows and is dropped:
 * libllama keeps graphs between decodes, and none may keep what was changed in it. */
static void test_batches_with_and_without_adapters_in_any_order(void **state)
{
    (void)state;
    static const char question[] = "Who are you?";
    struct engine_adapter *p = load(help_model, PIRATE), *t = load(help_model, TERSE);
    const struct with with[4] = {{NULL, 0}, {p, 1}, {t, 1}, {p, 0.5f}};
    char want[4][512];
    struct stream st[4];
    uint32_t dice = 7;
    for (int i = 0; i < 4; i++) alone(help_model, question, with[i].a, with[i].scale, want[i]);
    struct engine_ctx *c = own_cells(help_model, 4);
    for (int i = 0; i < 4; i++) begin(&st[i], help_model, c, i, question, with[i].a, with[i].scale);
    for (int k = 0; k < 6 * TOKENS; k++) {
        dice = dice * 1664525 + 1013904223;
        int from = (int)(dice >> 28) % 4, n = 1 + (int)(dice >> 20) % (4 - from);
        step_together(st + from, n, help_model, c);
        if (dice >> 27 == 3) engine_ctx_drop_adapters(c);
    }
    for (int i = 0; i < 4; i++) {
        assert_memory_equal(st[i].text, want[i], strlen(want[i]));
        end(&st[i]);
    }
    engine_ctx_free(c);
    engine_adapter_free(p);
    engine_adapter_free(t);
}

/* More than a context's set holds, and some freed in between. */
static void test_more_adapters_than_a_set_holds(void **state)
{
    (void)state;
    enum { N = ENGINE_ADAPTERS_MAX + 3 };
    struct engine_adapter *a[N];
    char pirate[512], terse[512], got[2][512];
    struct engine_ctx *c = own_cells(help_model, 2);
    for (int i = 0; i < N; i++) a[i] = load(help_model, i % 2 ? TERSE : PIRATE);
    alone(help_model, "Hello!", a[0], 1, pirate);
    alone(help_model, "Hello!", a[1], 1, terse);
    for (int k = 0; k < 2 * N; k++) {
        struct with with[2] = {{a[2 * k % (N - 1)], 1}, {a[(2 * k + 1) % (N - 1)], 1}};
        answer_together(help_model, c, with, 2, "Hello!", got);
        assert_string_equal(got[0], pirate);
        assert_string_equal(got[1], terse);
        for (int i = 0; i < 2; i++) engine_seq_remove(c, i, -1, -1);
        if (k % 5 != 4) continue;
        int i = k % (N - 1);
        engine_ctx_drop_adapters(c);
        engine_adapter_free(a[i]);
        a[i] = load(help_model, i % 2 ? TERSE : PIRATE);
    }
    engine_ctx_free(c);
    for (int i = 0; i < N; i++) engine_adapter_free(a[i]);
}

static void write_file(const char *path, const void *data, size_t len)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, len, f), len);
    fclose(f);
}

static void test_what_is_no_adapter_is_an_error_with_a_reason(void **state)
{
    (void)state;
    struct engine_adapter *a;
    struct error error;
    char path[] = "/tmp/hearth-adapter-XXXXXX", *data = malloc(1 << 20);
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    FILE *f = fopen(PIRATE, "rb");
    assert_non_null(f);
    size_t len = fread(data, 1, 1 << 20, f);
    fclose(f);
    assert_int_equal(engine_adapter_load(help_model, "/nonexistent.gguf", &a, &error),
                     ERR_MODEL_FILE);
    assert_int_equal(engine_adapter_load(help_model, CHAT_MODEL, &a, &error), ERR_MODEL_FILE);
    assert_non_null(strstr(error.msg, "adapter"));
    static const size_t cuts[] = {0, 3, 24, 200, 5000};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        write_file(path, data, cuts[i]);
        assert_int_equal(engine_adapter_load(help_model, path, &a, &error), ERR_MODEL_FILE);
    }
    write_file(path, data, len - 1000);
    assert_int_equal(engine_adapter_load(help_model, path, &a, &error), ERR_MODEL_FILE);
    struct engine_model *embed = help_load(EMBED_MODEL);
    assert_int_equal(engine_adapter_load(embed, PIRATE, &a, &error), ERR_MODEL_FILE);
    assert_non_null(strstr(error.msg, "arch"));
    engine_model_free(embed);
    unlink(path);
    free(data);
}

/* Loads and frees beside a context that decodes and changes adapters. */
static void *load_and_free(void *arg)
{
    for (int i = 0; i < 20; i++) engine_adapter_free(load(arg, TERSE));
    return NULL;
}

static void test_loading_beside_decodes(void **state)
{
    (void)state;
    char want[512], got[512];
    struct engine_adapter *p = load(help_model, PIRATE);
    pthread_t thread;
    alone(help_model, "Hello!", p, 1, want);
    assert_int_equal(pthread_create(&thread, NULL, load_and_free, help_model), 0);
    for (int i = 0; i < 5; i++) {
        alone(help_model, "Hello!", p, 1, got);
        assert_string_equal(got, want);
    }
    pthread_join(thread, NULL);
    engine_adapter_free(p);
}

static void test_a_fake_adapter_swaps_letters(void **state)
{
    (void)state;
    struct engine *e;
    struct engine_model *m;
    struct engine_adapter *a;
    struct error error;
    struct engine_adapter_facts facts;
    struct engine_model_params params = {.path = "fake:"};
    char text[512];
    assert_int_equal(engine_open_fake(&e, &error), OK);
    assert_int_equal(engine_model_load(e, &params, &m, &error), OK);
    a = load(m, "fake:lora,swap=lr");
    engine_adapter_facts(a, &facts);
    assert_true(facts.bytes > 0);
    alone(m, "hello", NULL, 1, text);
    assert_string_equal(text, "hello");
    alone(m, "hello", a, 1, text);
    assert_string_equal(text, "herro");
    engine_adapter_free(a);
    assert_int_equal(engine_adapter_load(m, "fake:lora,fail_load=no", &a, &error), ERR_MODEL_FILE);
    assert_string_equal(error.msg, "no");
    assert_int_equal(engine_adapter_load(m, "fake:lora,swap=abc", &a, &error), ERR_MODEL_FILE);
    assert_int_equal(engine_adapter_load(m, "file", &a, &error), ERR_MODEL_FILE);
    engine_model_free(m);
    engine_close(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adapters_change_answers_visibly),
        cmocka_unit_test(test_mixed_in_one_context_each_gives_its_own_answer),
        cmocka_unit_test(test_rows_of_several_adapters_in_one_batch),
        cmocka_unit_test(test_a_mixed_row_is_the_same_to_the_last_bit),
        cmocka_unit_test(test_batches_with_and_without_adapters_in_any_order),
        cmocka_unit_test(test_more_adapters_than_a_set_holds),
        cmocka_unit_test(test_what_is_no_adapter_is_an_error_with_a_reason),
        cmocka_unit_test(test_loading_beside_decodes),
        cmocka_unit_test(test_a_fake_adapter_swaps_letters),
    };
    return cmocka_run_group_tests_name("adapters", tests, help_open, help_close);
}
