/* The llama engine over the built-in models: loading, tokens, batches, sequence memory, logprobs,
 * embeddings, and files that are broken. */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "help.h"

#include "base/clock.h"
#include "base/fs.h"

/* ---- models and tokens --------------------------------------------------------------------- */

static void test_describes_the_machine(void **state)
{
    (void)state;
    struct engine_description d;
    struct error error;
    assert_int_equal(engine_describe(help_engine, &d, &error), OK);
    assert_non_null(strstr(d.library, "llama.cpp"));
    assert_true(d.n_devices >= 1);
    assert_non_null(strstr(d.cpu_backend, "libggml-cpu"));
    assert_true(d.cpu_features[0] != '\0');
    assert_true(d.devices[d.n_devices - 1].memory_total > 0);
}

static void test_knows_its_models(void **state)
{
    (void)state;
    struct engine_model_facts f;
    engine_model_facts(help_model, &f);
    assert_int_equal(f.n_vocab, 4096);
    assert_int_equal(f.n_ctx_train, 1024);
    assert_true(f.has_chat_template && f.supports_tools && !f.is_embedding && !f.is_rerank);
    struct engine_model *m = help_load(EMBED_MODEL);
    engine_model_facts(m, &f);
    assert_true(f.is_embedding && !f.has_chat_template);
    assert_int_equal(f.n_embd_out, 256);
    engine_model_free(m);
}

static void test_tokens_give_the_text_back(void **state)
{
    (void)state;
    static const char *const texts[] = {"Hello, world!", "  two  spaces\n\ttab",
                                        "na\xc3\xafve caf\xc3\xa9 \xf0\x9f\x98\x80 12345",
                                        "<|im_end|>", ""};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        int32_t *tokens;
        size_t n;
        struct error error;
        struct buf back;
        buf_init(&back, 1000);
        assert_int_equal(engine_tokenize(help_model, texts[i], strlen(texts[i]), false, false, 100,
                                         &tokens, &n, &error),
                         OK);
        for (size_t k = 0; k < n; k++) engine_token_text(help_model, tokens[k], true, &back);
        assert_string_equal(buf_str(&back), texts[i]);
        free(tokens);
        buf_free(&back);
    }
}

static void test_control_tokens_only_when_asked(void **state)
{
    (void)state;
    int32_t *tokens;
    size_t n;
    struct error error;
    struct buf text;
    assert_int_equal(
        engine_tokenize(help_model, "<|im_end|>", 10, false, true, 10, &tokens, &n, &error), OK);
    assert_int_equal(n, 1);
    assert_true(engine_token_is_end(help_model, tokens[0]));
    buf_init(&text, 100);
    engine_token_text(help_model, tokens[0], false, &text);
    assert_int_equal(text.len, 0);
    engine_token_text(help_model, tokens[0], true, &text);
    assert_string_equal(text.data, "<|im_end|>");
    buf_free(&text);
    free(tokens);
    assert_int_equal(
        engine_tokenize(help_model, "<|im_end|>", 10, false, false, 100, &tokens, &n, &error), OK);
    assert_true(n > 1); /* as text of a user it is no control token */
    free(tokens);
}

static void test_a_prompt_over_the_limit_names_both_numbers(void **state)
{
    (void)state;
    int32_t *tokens;
    size_t n;
    struct error error;
    assert_int_equal(
        engine_tokenize(help_model, "1 2 3 4 5 6 7 8", 15, false, false, 5, &tokens, &n, &error),
        ERR_CONTEXT);
    assert_non_null(strstr(error.msg, " 5 "));
    assert_null(tokens);
    size_t len = 32 << 20; /* refused without tokenising it */
    char *text = malloc(len);
    memset(text, 'x', len);
    int64_t start = clock_mono_ms();
    assert_int_equal(
        engine_tokenize(help_model, text, len, false, false, 1024, &tokens, &n, &error),
        ERR_CONTEXT);
    assert_true(clock_mono_ms() - start < 1000);
    assert_non_null(strstr(error.msg, " 1024 "));
    free(text);
}

/* ---- broken files -------------------------------------------------------------------------- */

static enum err load_bytes(const void *data, size_t len, struct error *error)
{
    char path[] = "/tmp/hearth-test-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, len), (ssize_t)len);
    close(fd);
    struct engine_model *m;
    struct engine_model_params p = {.path = path, .use_mmap = true};
    enum err e = engine_model_load(help_engine, &p, &m, error);
    unlink(path);
    engine_model_free(m);
    return e;
}

static void test_broken_files_are_errors_with_a_reason(void **state)
{
    (void)state;
    struct buf file;
    struct error error;
    buf_init(&file, 64 << 20);
    assert_int_equal(fs_read_file(CHAT_MODEL, 64 << 20, &file, &error), OK);
    const size_t cuts[] = {0, 3, 24, 1000, 100000, file.len / 2, file.len - 1000};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        assert_int_equal(load_bytes(file.data, cuts[i], &error), ERR_MODEL_FILE);
        assert_null(strstr(error.msg, "does not say why"));
    }
    assert_int_equal(load_bytes("not a model at all, just some text.......", 40, &error),
                     ERR_MODEL_FILE);
    file.data[8] = (char)0xff; /* the number of tensors */
    file.data[12] = (char)0x7f;
    assert_int_equal(load_bytes(file.data, file.len, &error), ERR_MODEL_FILE);
    buf_free(&file);
    struct engine_model *m;
    struct engine_model_params p = {.path = "/nowhere/model.gguf"};
    assert_int_equal(engine_model_load(help_engine, &p, &m, &error), ERR_MODEL_FILE);
    assert_non_null(strstr(error.msg, "No such file"));
}

static bool stop_at_once(float fraction, void *ctx)
{
    (void)fraction;
    ++*(int *)ctx;
    return false;
}

static void test_loading_can_be_stopped(void **state)
{
    (void)state;
    struct engine_model *m;
    struct error error;
    int calls = 0;
    struct engine_model_params p = {
        .path = CHAT_MODEL, .on_progress = stop_at_once, .progress_ctx = &calls};
    assert_int_equal(engine_model_load(help_engine, &p, &m, &error), ERR_CANCELLED);
    assert_int_equal(calls, 1);
    assert_null(m);
}

/* ---- batches and sequence memory ------------------------------------------------------------ */

static const int32_t text_a[] = {300, 301, 302, 303, 304, 305, 306, 307};
static const int32_t text_b[] = {900, 901, 902, 903, 904};

static struct engine_prompt *raw_prompt(const int32_t *tokens, size_t n)
{
    struct gen_request req = {.kind = GEN_RAW, .prompt_tokens = tokens, .n_prompt_tokens = n};
    return help_prompt(help_model, &req);
}

/* The best n tokens with their logprobs at output `index`. */
static struct engine_sample look(struct engine_ctx *c, int32_t index)
{
    struct engine_prompt *p = raw_prompt(text_a, 1);
    struct sampling s = help_greedy();
    struct engine_sampler *sm;
    struct engine_sample got;
    struct error error;
    s.logprobs = true;
    s.top_logprobs = GEN_TOP_LOGPROBS_MAX;
    assert_int_equal(engine_sampler_new(help_model, &s, p, &sm, &error), OK);
    assert_int_equal(engine_sample(c, sm, index, &got, &error), OK);
    engine_sampler_free(sm);
    engine_prompt_free(p);
    return got;
}

/* Batches of other sizes go through other kernels, which round differently. */
static void assert_same(const struct engine_sample *a, const struct engine_sample *b)
{
    assert_int_equal(a->token, b->token);
    for (size_t i = 0; i < a->n_top; i++)
        assert_true(fabsf(a->top[i].logprob - b->top[i].logprob) < 0.1f);
}

static void test_batched_sequences_equal_each_alone(void **state)
{
    (void)state;
    struct engine_ctx *c = help_ctx(help_model, 256, false);
    struct engine_batch_token both[13];
    struct error error;
    int32_t n = 0;
    for (int32_t i = 0; i < 8; i++) { /* interleaved as far as both go */
        both[n++] = (struct engine_batch_token){text_a[i], i, 0, i == 7, .scale = 0};
        if (i < 5) both[n++] = (struct engine_batch_token){text_b[i], i, 1, i == 4, .scale = 0};
    }
    assert_int_equal(engine_decode(c, both, n, &error), OK);
    struct engine_sample a = look(c, n - 1), b = look(c, 9);
    assert_int_equal(help_feed(c, 2, 0, text_a, 8, &error), OK);
    struct engine_sample alone = look(c, 7);
    assert_same(&a, &alone);
    assert_int_equal(help_feed(c, 3, 0, text_b, 5, &error), OK);
    alone = look(c, 4);
    assert_same(&b, &alone);
    assert_int_not_equal(a.token, b.token);
    engine_ctx_free(c);
}

static void test_a_copied_prefix_is_shared(void **state)
{
    (void)state;
    struct engine_ctx *c = help_ctx(help_model, 256, false);
    struct error error;
    assert_int_equal(help_feed(c, 0, 0, text_a, 8, &error), OK);
    struct engine_sample whole = look(c, 7);
    engine_seq_copy(c, 0, 1, -1, 6);
    assert_int_equal(help_feed(c, 1, 6, text_a + 6, 2, &error), OK);
    struct engine_sample copied = look(c, 1);
    assert_same(&whole, &copied);
    assert_true(engine_seq_remove(c, 0, -1, -1)); /* the copy stays */
    assert_true(engine_seq_remove(c, 1, 7, -1));
    assert_int_equal(help_feed(c, 1, 7, text_a + 7, 1, &error), OK);
    copied = look(c, 0);
    assert_same(&whole, &copied);
    engine_ctx_free(c);
}

static void test_sequences_with_cells_of_their_own(void **state)
{
    (void)state;
    struct engine_ctx *c;
    struct error error;
    struct engine_ctx_params p = {.n_ctx = 1024, .n_batch = 512, .n_ubatch = 64, .n_seq_max = 4};
    assert_int_equal(engine_ctx_new(help_model, &p, &c, &error), OK);
    int32_t many[300];
    for (int i = 0; i < 300; i++) many[i] = 300 + i % 200;
    /* One sequence can't take the others' cells ... */
    assert_int_equal(help_feed(c, 2, 0, many, 257, &error), ERR_NOMEM);
    assert_int_equal(help_feed(c, 2, 0, many, 256, &error), OK);
    /* ... and a copy goes on as the one it was made of, which may go. */
    assert_int_equal(help_feed(c, 0, 0, text_a, 7, &error), OK);
    engine_seq_copy(c, 0, 1, -1, -1);
    assert_int_equal(help_feed(c, 0, 7, text_a + 7, 1, &error), OK);
    struct engine_sample whole = look(c, 0);
    assert_true(engine_seq_remove(c, 0, -1, -1));
    assert_int_equal(help_feed(c, 1, 7, text_a + 7, 1, &error), OK);
    struct engine_sample copied = look(c, 0);
    assert_same(&whole, &copied);
    engine_ctx_free(c);
}

static void test_a_full_cache_stores_nothing(void **state)
{
    (void)state;
    struct engine_ctx *c = help_ctx(help_model, 256, false);
    struct error error;
    int32_t many[512];
    int32_t size = engine_ctx_size(c);
    assert_true(size >= 256 && size <= 512);
    for (int i = 0; i < 512; i++) many[i] = 300 + i % 200;
    assert_int_equal(help_feed(c, 0, 0, many, (size_t)size - 4, &error), OK);
    assert_int_equal(help_feed(c, 1, 0, many, 8, &error), ERR_NOMEM);
    assert_int_equal(help_feed(c, 1, 0, many, 4, &error), OK);
    assert_int_equal(help_feed(c, 0, size - 4, many, 1, &error), ERR_NOMEM);
    assert_true(engine_seq_remove(c, 1, -1, -1));
    assert_int_equal(help_feed(c, 0, size - 4, many, 1, &error), OK);
    engine_ctx_free(c);
}

static void *abort_soon(void *ctx)
{
    struct timespec t = {0, 3000000};
    nanosleep(&t, NULL);
    engine_ctx_abort(ctx);
    return NULL;
}

static void test_a_prefill_can_be_aborted_in_its_middle(void **state)
{
    (void)state;
    struct engine_ctx *c = help_ctx(help_model, 1024, false);
    struct error error;
    int32_t many[512];
    for (int i = 0; i < 512; i++) many[i] = 300 + i % 200;
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, abort_soon, c), 0);
    enum err e = help_feed(c, 0, 0, many, 512, &error);
    pthread_join(t, NULL);
    assert_int_equal(e, ERR_CANCELLED); /* 512 tokens take far longer than 3 ms */
    engine_ctx_abort_clear(c);
    assert_true(engine_seq_remove(c, 0, -1, -1));
    assert_int_equal(help_feed(c, 0, 0, text_a, 8, &error), OK);
    engine_ctx_abort(c);
    assert_int_equal(help_feed(c, 0, 8, text_a, 1, &error), ERR_CANCELLED);
    engine_ctx_free(c);
}

static void test_logprobs_are_a_distribution(void **state)
{
    (void)state;
    struct engine_ctx *c = help_ctx(help_model, 256, false);
    struct error error;
    assert_int_equal(help_feed(c, 0, 0, text_a, 8, &error), OK);
    struct engine_sample got = look(c, 7);
    double sum = 0;
    assert_int_equal(got.n_top, GEN_TOP_LOGPROBS_MAX);
    for (size_t i = 0; i < got.n_top; i++) {
        assert_true(got.top[i].logprob <= 0);
        if (i) assert_true(got.top[i].logprob <= got.top[i - 1].logprob);
        sum += exp(got.top[i].logprob);
    }
    assert_true(sum > 0.2 && sum <= 1.0001);
    assert_int_equal(got.top[0].token, got.token); /* greedy */
    assert_true(got.logprob == got.top[0].logprob);
    engine_ctx_free(c);
}

/* ---- sampling ------------------------------------------------------------------------------ */

static int32_t sample_once(struct engine_ctx *c, int32_t index, const struct sampling *s,
                           int32_t seen, int times)
{
    struct engine_prompt *p = raw_prompt(text_a, 1);
    struct engine_sampler *sm;
    struct engine_sample got;
    struct error error;
    assert_int_equal(engine_sampler_new(help_model, s, p, &sm, &error), OK);
    for (int i = 0; i < times; i++) engine_sampler_accept_prompt(sm, seen);
    assert_int_equal(engine_sample(c, sm, index, &got, &error), OK);
    engine_sampler_free(sm);
    engine_prompt_free(p);
    return got.token;
}

static void test_biases_and_penalties_change_only_their_own_choice(void **state)
{
    (void)state;
    struct engine_ctx *c = help_ctx(help_model, 256, false);
    struct error error;
    assert_int_equal(help_feed(c, 0, 0, text_a, 8, &error), OK);
    struct engine_sample before = look(c, 7), after;
    int32_t best = before.top[0].token, second = before.top[1].token, third = before.top[2].token;
    struct sampling s = help_greedy();
    struct logit_bias bias[2] = {{best, -INFINITY}, {third, 100}};
    s.logit_bias = bias;
    s.n_logit_bias = 1;
    assert_int_equal(sample_once(c, 7, &s, 0, 0), second);
    s.n_logit_bias = 2;
    assert_int_equal(sample_once(c, 7, &s, 0, 0), third);
    s = help_greedy();
    s.repeat_last_n = 4;
    s.frequency_penalty = 2;
    assert_int_equal(sample_once(c, 7, &s, best, 0), best);
    assert_int_equal(sample_once(c, 7, &s, best, 10), second); /* counted 4 times: the window */
    s.frequency_penalty = 0;
    s.presence_penalty = 2;
    assert_int_equal(sample_once(c, 7, &s, best, 1), second);
    s.presence_penalty = 0;
    s.repeat_penalty = 1.5f;
    assert_int_not_equal(sample_once(c, 7, &s, best, 1), best);
    after = look(c, 7);
    assert_memory_equal(before.top, after.top, sizeof before.top);
    engine_ctx_free(c);
}

static void test_cut_offs_keep_to_the_best(void **state)
{
    (void)state;
    struct engine_ctx *c = help_ctx(help_model, 256, false);
    struct error error;
    assert_int_equal(help_feed(c, 0, 0, text_a, 8, &error), OK);
    struct engine_sample top = look(c, 7);
    bool seen[20] = {false};
    for (uint32_t seed = 0; seed < 200; seed++) {
        struct sampling s = {
            .temperature = 2, .top_k = 5, .top_p = 1, .repeat_penalty = 1, .seed = seed};
        int32_t token = sample_once(c, 7, &s, 0, 0);
        size_t rank = 0;
        while (rank < 20 && top.top[rank].token != token) rank++;
        assert_true(rank < 5);
        seen[rank] = true;
        s = (struct sampling){
            .temperature = 2, .top_p = 0.0001f, .repeat_penalty = 1, .seed = seed};
        assert_int_equal(sample_once(c, 7, &s, 0, 0), top.token);
        s = (struct sampling){
            .temperature = 2, .top_p = 1, .min_p = 0.999f, .repeat_penalty = 1, .seed = seed};
        assert_int_equal(sample_once(c, 7, &s, 0, 0), top.token);
    }
    for (int i = 0; i < 5; i++) assert_true(seen[i]);
    engine_ctx_free(c);
}

static void test_forbidding_everything_is_an_error(void **state)
{
    (void)state;
    struct engine_ctx *c = help_ctx(help_model, 256, false);
    struct error error;
    struct logit_bias *bias = calloc(4096, sizeof *bias);
    for (int i = 0; i < 4096; i++) bias[i] = (struct logit_bias){i, -INFINITY};
    assert_int_equal(help_feed(c, 0, 0, text_a, 8, &error), OK);
    for (int kind = 0; kind < 3; kind++) {
        struct engine_prompt *p = raw_prompt(text_a, 1);
        struct sampling s = help_greedy();
        struct engine_sampler *sm;
        struct engine_sample got;
        s.temperature = kind > 0;
        s.top_k = kind == 2 ? 40 : 0;
        s.logit_bias = bias;
        s.n_logit_bias = 4096;
        assert_int_equal(engine_sampler_new(help_model, &s, p, &sm, &error), OK);
        assert_int_equal(engine_sample(c, sm, 7, &got, &error), ERR_ENGINE);
        engine_sampler_free(sm);
        engine_prompt_free(p);
    }
    free(bias);
    engine_ctx_free(c);
}

/* ---- embeddings ---------------------------------------------------------------------------- */

static void put_text(struct engine_model *m, const char *text, int32_t seq,
                     struct engine_batch_token *batch, int32_t *n)
{
    int32_t *tokens;
    size_t count;
    struct error error;
    assert_int_equal(
        engine_tokenize(m, text, strlen(text), true, false, 100, &tokens, &count, &error), OK);
    for (size_t i = 0; i < count; i++)
        batch[(*n)++] = (struct engine_batch_token){tokens[i], (int32_t)i, seq, true, .scale = 0};
    free(tokens);
}

static double dot(const float *a, const float *b)
{
    double sum = 0;
    for (int i = 0; i < 256; i++) sum += (double)a[i] * b[i];
    return sum;
}

static void test_embeddings_are_unit_vectors_that_compare(void **state)
{
    (void)state;
    struct engine_model *m = help_load(EMBED_MODEL);
    struct engine_ctx *c = help_ctx(m, 0, true);
    struct engine_batch_token batch[300];
    struct error error;
    float v[3][256], again[256];
    int32_t n = 0;
    put_text(m, "What is the capital of France?", 0, batch, &n);
    put_text(m, "Paris is the capital city of France.", 1, batch, &n);
    put_text(m, "Boil the noodles for nine minutes in salted water.", 2, batch, &n);
    assert_int_equal(engine_decode(c, batch, n, &error), OK);
    for (int32_t i = 0; i < 3; i++) {
        const float *got = engine_seq_embedding(c, i);
        assert_non_null(got);
        memcpy(v[i], got, sizeof v[i]);
        assert_true(fabs(dot(got, got) - 1) < 1e-4);
    }
    assert_null(engine_seq_embedding(c, 3));
    assert_true(dot(v[0], v[1]) > dot(v[0], v[2]) + 0.1);
    n = 0; /* alone, in another sequence, it is the same vector */
    put_text(m, "What is the capital of France?", 3, batch, &n);
    assert_int_equal(engine_decode(c, batch, n, &error), OK);
    memcpy(again, engine_seq_embedding(c, 3), sizeof again);
    assert_true(dot(v[0], again) > 0.999);
    engine_ctx_free(c);
    engine_model_free(m);
}

/* Of a generating model: the input may come in pieces, which makes no difference. */
static void test_a_chat_model_can_embed(void **state)
{
    (void)state;
    static const int32_t sizes[] = {64, 7, 1};
    struct engine_ctx *c = help_ctx(help_model, 256, true);
    struct error error;
    struct engine_batch_token batch[64];
    float first[1024];
    int32_t n = 0, dims = 0;
    struct engine_model_facts facts;
    engine_model_facts(help_model, &facts);
    dims = facts.n_embd_out;
    put_text(help_model, "hello, this is a text of several words", 0, batch, &n);
    assert_true(engine_ctx_takes_pieces(c) && n > 8);
    for (size_t round = 0; round < 3; round++) {
        for (int32_t i = 0; i < n; i += sizes[round]) {
            int32_t len = n - i < sizes[round] ? n - i : sizes[round];
            assert_int_equal(engine_decode(c, batch + i, len, &error), OK);
        }
        const float *v = engine_seq_embedding(c, 0);
        assert_non_null(v);
        assert_true(fabs(dot(v, v) - 1) < 1e-4);
        if (round == 0) memcpy(first, v, (size_t)dims * sizeof *v);
        assert_true(dot(v, first) > 0.999);
        assert_true(engine_seq_remove(c, 0, -1, -1));
        assert_null(engine_seq_embedding(c, 0));
    }
    engine_ctx_free(c);
}

/* What a model that is only measured would take is what it takes. */
static void test_measured_before_it_is_loaded(void **state)
{
    (void)state;
    static const char *const paths[] = {CHAT_MODEL, EMBED_MODEL, RERANK_MODEL};
    for (size_t i = 0; i < 3; i++) {
        struct engine_memory memory[2];
        for (int real = 0; real < 2; real++) {
            struct engine_model *m;
            struct engine_model_facts facts;
            struct error error;
            struct engine_model_params p = {
                .path = paths[i], .n_gpu_layers = -1, .use_mmap = true, .measure_only = real == 0};
            assert_int_equal(engine_model_load(help_engine, &p, &m, &error), OK);
            engine_model_facts(m, &facts);
            assert_int_equal(facts.is_rerank, i == 2);
            struct engine_ctx *c = help_ctx(m, 1024, i > 0);
            engine_ctx_memory(c, &memory[real]);
            engine_ctx_free(c);
            engine_model_free(m);
        }
        double weights = (double)memory[0].host.weights / (double)memory[1].host.weights;
        assert_true(weights > 0.9 && weights < 1.4); /* shared with the input: twice */
        assert_true(memory[0].host.weights > 4000000);
        assert_int_equal(memory[0].host.kv, memory[1].host.kv);
        assert_int_equal(memory[0].host.compute, memory[1].host.compute);
        assert_true(memory[0].host.compute > 0);
        if (i == 0) /* 6 layers, keys and values of 256 numbers of 2 bytes, 1024 cells */
            assert_int_equal(memory[0].host.kv, 6 * 2 * 256 * 2 * 1024);
    }
}

static float pair_score(struct engine_model *m, struct engine_ctx *c, const char *query,
                        const char *document)
{
    int32_t *tokens;
    size_t n;
    struct error error;
    struct engine_batch_token batch[256];
    assert_int_equal(
        engine_tokenize_pair(m, query, document, strlen(document), 256, &tokens, &n, &error), OK);
    for (size_t i = 0; i < n; i++)
        batch[i] = (struct engine_batch_token){tokens[i], (int32_t)i, 0, true, .scale = 0};
    free(tokens);
    assert_int_equal(engine_decode(c, batch, (int32_t)n, &error), OK);
    const float *v = engine_seq_embedding(c, 0);
    assert_non_null(v);
    return v[0];
}

static void test_a_rerank_model_scores_documents(void **state)
{
    (void)state;
    struct engine_model *m = help_load(RERANK_MODEL);
    struct engine_ctx *c = help_ctx(m, 512, true);
    const char *query = "What is the capital of France?";
    float good = pair_score(m, c, query, "Paris is the capital of France.");
    float bad = pair_score(m, c, query, "Bread is made of flour, water and salt.");
    assert_true(good > bad);
    int32_t *tokens;
    size_t n;
    struct error error;
    assert_int_equal(engine_tokenize_pair(m, query, query, strlen(query), 5, &tokens, &n, &error),
                     ERR_CONTEXT);
    engine_ctx_free(c);
    engine_model_free(m);
}

static void test_impossible_contexts_are_errors(void **state)
{
    (void)state;
    struct engine_ctx *c;
    struct error error;
    struct engine_ctx_params p = {
        .n_ctx = 2000000000, .n_batch = 64, .n_ubatch = 64, .n_seq_max = 1};
    assert_int_equal(engine_ctx_new(help_model, &p, &c, &error), ERR_NOMEM);
    assert_non_null(strstr(error.msg, "2000000000 tokens"));
    assert_null(c);
    p = (struct engine_ctx_params){.n_ctx = 64, .n_batch = 64, .n_ubatch = 64, .n_seq_max = 1000};
    assert_int_equal(engine_ctx_new(help_model, &p, &c, &error), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_describes_the_machine),
        cmocka_unit_test(test_knows_its_models),
        cmocka_unit_test(test_tokens_give_the_text_back),
        cmocka_unit_test(test_control_tokens_only_when_asked),
        cmocka_unit_test(test_a_prompt_over_the_limit_names_both_numbers),
        cmocka_unit_test(test_broken_files_are_errors_with_a_reason),
        cmocka_unit_test(test_loading_can_be_stopped),
        cmocka_unit_test(test_batched_sequences_equal_each_alone),
        cmocka_unit_test(test_a_copied_prefix_is_shared),
        cmocka_unit_test(test_sequences_with_cells_of_their_own),
        cmocka_unit_test(test_a_full_cache_stores_nothing),
        cmocka_unit_test(test_a_prefill_can_be_aborted_in_its_middle),
        cmocka_unit_test(test_logprobs_are_a_distribution),
        cmocka_unit_test(test_biases_and_penalties_change_only_their_own_choice),
        cmocka_unit_test(test_cut_offs_keep_to_the_best),
        cmocka_unit_test(test_forbidding_everything_is_an_error),
        cmocka_unit_test(test_embeddings_are_unit_vectors_that_compare),
        cmocka_unit_test(test_a_chat_model_can_embed),
        cmocka_unit_test(test_measured_before_it_is_loaded),
        cmocka_unit_test(test_a_rerank_model_scores_documents),
        cmocka_unit_test(test_impossible_contexts_are_errors),
    };
    return cmocka_run_group_tests(tests, help_open, help_close);
}
