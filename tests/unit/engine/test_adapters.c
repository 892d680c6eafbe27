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
    engine_ctx_adapter(c, a, scale);
    if (help_feed(c, seq, 0, tokens, n, &error)) fail_msg("%s", error.msg);
    st->pos = (int32_t)n;
    say(st, m, c, (int32_t)n - 1);
}

static void step(struct stream *st, struct engine_model *m, struct engine_ctx *c)
{
    struct error error;
    if (st->ended) return;
    engine_ctx_adapter(c, st->adapter, st->scale);
    if (help_feed(c, st->seq, st->pos++, &st->next, 1, &error)) fail_msg("%s", error.msg);
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
        cmocka_unit_test(test_what_is_no_adapter_is_an_error_with_a_reason),
        cmocka_unit_test(test_loading_beside_decodes),
        cmocka_unit_test(test_a_fake_adapter_swaps_letters),
    };
    return cmocka_run_group_tests_name("adapters", tests, help_open, help_close);
}
