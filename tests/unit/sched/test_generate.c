/* Generation over the fake engine: text, batches, choices, limits, the prefix cache, KV cells. */
#include "unit/sched/harness.h"

static void test_echo(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, "fake:", some_params());
    struct client *c = ask(&f, (struct ask){.text = "Gr\xC3\xBC\xC3\x9F \xF0\x9F\x98\x80!"});
    client_wait(c);
    assert_int_equal(c->error.code, OK);
    assert_string_equal(c->text[0].data, "Gr\xC3\xBC\xC3\x9F \xF0\x9F\x98\x80!");
    assert_int_equal(c->finish[0], FINISH_STOP);
    assert_int_equal(c->ended[0], 1);
    assert_int_equal(c->n_started, 1);
    assert_int_equal(c->n_queued, 0); /* it never had to wait */
    assert_int_equal(c->usage.prompt_tokens, 12 + 4);
    assert_int_equal(c->usage.cached_tokens, 0);
    assert_int_equal(c->usage.completion_tokens, 12);
    assert_int_equal(c->n_tokens, 12);
    assert_int_equal(c->timings.prefill_tokens, 16);
    assert_int_equal(c->timings.decode_tokens, 12);
    assert_true(c->timings.queue_ns > 0 && c->timings.prefill_ns > 0 && c->timings.decode_ns > 0);
    client_free(c);
    fixture_close(&f);
}

static void test_requests_are_decoded_together(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, "fake:ms=5", some_params());
    int64_t batches = metric_value(METRIC_batches_total);
    struct client *c[8];
    for (int i = 0; i < 8; i++) c[i] = ask(&f, (struct ask){.text = "0123456789"});
    for (int i = 0; i < 8; i++) {
        client_wait(c[i]);
        assert_string_equal(c[i]->text[0].data, "0123456789");
        client_free(c[i]);
    }
    batches = metric_value(METRIC_batches_total) - batches;
    assert_in_range(batches, 11, 25); /* one after the other would be 88 */
    fixture_close(&f);
}

static void test_max_tokens(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, "fake:", some_params());
    struct client *c = ask(&f, (struct ask){.text = "0123456789", .max_tokens = 4});
    client_wait(c);
    assert_string_equal(c->text[0].data, "0123");
    assert_int_equal(c->finish[0], FINISH_LENGTH);
    assert_int_equal(c->usage.completion_tokens, 4);
    client_free(c);
    c = ask(&f, (struct ask){.text = "0123", .max_tokens = -2, .n = 2}); /* none at all */
    client_wait(c);
    assert_int_equal(c->error.code, OK);
    assert_int_equal(c->text[0].len, 0);
    assert_int_equal(c->finish[1], FINISH_LENGTH);
    assert_int_equal(c->usage.completion_tokens, 0);
    assert_int_equal(c->usage.prompt_tokens, 8);
    client_free(c);
    fixture_close(&f);
}

static void test_half_a_character_at_the_limit(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, "fake:", some_params());
    struct client *c = ask(&f, (struct ask){.text = "a\xE2\x82\xAC", .max_tokens = 3});
    client_wait(c);
    assert_string_equal(c->text[0].data, "a\xEF\xBF\xBD\xEF\xBF\xBD");
    assert_int_equal(c->n_tokens, 3);
    client_free(c);
    fixture_close(&f);
}

static void test_stop_string_across_tokens(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, "fake:", some_params());
    struct client *c =
        ask(&f, (struct ask){.text = "one \xE2\x82\xAC\xE2\x82\xAC two", .stop = "\xE2\x82\xAC t"});
    client_wait(c);
    assert_string_equal(c->text[0].data, "one \xE2\x82\xAC");
    assert_int_equal(c->finish[0], FINISH_STOP);
    client_free(c);
    fixture_close(&f);
}

static void test_logprobs(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, "fake:", some_params());
    struct client *c = ask(&f, (struct ask){.text = "h\xC3\xA9llo", .logprobs = true});
    client_wait(c);
    assert_int_equal(c->n_logprobs, 6);
    client_free(c);
    fixture_close(&f);
}

static void test_sequence_limit_ends_with_length(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, "fake:ctx=100,endless=1", some_params());
    assert_int_equal(sched_model_ctx(f.model), 100);
    struct client *c = ask(&f, (struct ask){.text = "0123456789"});
    client_wait(c);
    assert_int_equal(c->error.code, OK);
    assert_int_equal(c->finish[0], FINISH_LENGTH);
    assert_int_equal(c->usage.prompt_tokens + c->usage.completion_tokens, 100);
    client_free(c);
    fixture_close(&f);
}

static void test_prompt_that_can_never_fit(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, "fake:ctx=20", some_params());
    struct client *c = client_new();
    struct error error;
    const char *text = "0123456789012345"; /* and four special tokens: one too many */
    assert_int_equal(try_ask(&f, c, (struct ask){.text = text}, &error), ERR_CONTEXT);
    assert_non_null(strstr(error.msg, "20 tokens"));
    assert_non_null(strstr(error.msg, "19"));
    assert_int_equal(try_ask(&f, c, (struct ask){.text = text + 1}, &error), OK);
    client_wait(c);
    assert_int_equal(c->usage.completion_tokens, 1);
    client_free(c);
    fixture_close(&f);
}

/* ---- choices ------------------------------------------------------------------------------- */

static void test_choices_share_one_prefill(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, "fake:", some_params());
    int64_t tokens = metric_value(METRIC_batch_tokens_total);
    struct client *c = ask(&f, (struct ask){.text = "0123456789", .n = 5});
    client_wait(c);
    for (int i = 0; i < 5; i++) {
        assert_string_equal(c->text[i].data, "0123456789");
        assert_int_equal(c->ended[i], 1);
        assert_int_equal(c->finish[i], FINISH_STOP);
    }
    assert_int_equal(c->usage.prompt_tokens, 14);
    assert_int_equal(c->usage.completion_tokens, 50);
    tokens = metric_value(METRIC_batch_tokens_total) - tokens;
    assert_int_equal(tokens, 14 + 5 * 10); /* the prompt once, each answer */
    client_free(c);
    fixture_close(&f);
}

static void test_choices_that_end_at_once(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, "fake:", some_params());
    struct client *c = ask(&f, (struct ask){.text = "", .n = 3}); /* the first token is the end */
    client_wait(c);
    assert_int_equal(c->error.code, OK);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(c->ended[i], 1);
        assert_int_equal(c->finish[i], FINISH_STOP);
    }
    assert_int_equal(c->usage.completion_tokens, 0);
    client_free(c);
    fixture_close(&f);
}

static void test_more_choices_than_sequences(void **state)
{
    (void)state;
    for (int no_partial = 0; no_partial < 2; no_partial++) {
        struct fixture f;
        struct sched_params params = some_params();
        params.n_parallel = 3;
        fixture_open(&f, no_partial ? "fake:no_partial=1" : "fake:", params);
        for (int round = 0; round < 3; round++) {
            struct client *c = ask(&f, (struct ask){.text = "01234", .n = GEN_N_MAX});
            struct client *other = ask(&f, (struct ask){.text = "other"});
            client_wait(c);
            client_wait(other);
            assert_int_equal(c->error.code, OK);
            for (int i = 0; i < GEN_N_MAX; i++) assert_string_equal(c->text[i].data, "01234");
            assert_string_equal(other->text[0].data, "other");
            client_free(c);
            client_free(other);
        }
        fixture_close(&f);
    }
}

static void test_choices_with_different_ends(void **state)
{
    (void)state;
    struct fixture f;
    struct sched_params params = some_params();
    params.n_parallel = 2;
    params.n_ctx = 64; /* so few cells that a wrong count is noticed */
    fixture_open(&f, "fake:", params);
    for (int round = 0; round < 20; round++) {
        struct ask a = {.text = "0123456789", .n = 1 + round % 5, .max_tokens = 1 + round};
        struct client *c = ask(&f, a);
        client_wait(c);
        assert_int_equal(c->error.code, OK);
        for (int i = 0; i < a.n; i++)
            assert_memory_equal(c->text[i].data, "0123456789", round < 10 ? round + 1 : 10);
        client_free(c);
    }
    fixture_close(&f);
}

/* ---- the prefix cache ---------------------------------------------------------------------- */

static int32_t cached(struct fixture *f, const char *tenant, const char *text)
{
    struct client *c = ask(f, (struct ask){.text = text, .tenant = tenant});
    client_wait(c);
    assert_int_equal(c->error.code, OK);
    assert_string_equal(c->text[0].data, text);
    int32_t n = c->usage.cached_tokens;
    assert_int_equal(c->timings.prefill_tokens, c->usage.prompt_tokens - n);
    client_free(c);
    return n;
}

static void test_prefix_is_reused_within_a_tenant_only(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, "fake:", some_params());
    const char *text = "a long system prompt, the same for all";
    int32_t n_prompt = (int32_t)strlen(text) + 4;
    assert_int_equal(cached(&f, "alice", text), 0);
    assert_int_equal(cached(&f, "bob", text), 0);
    assert_int_equal(cached(&f, "", text), 0);
    assert_int_equal(cached(&f, "alice", text), n_prompt - 1); /* one is always decoded anew */
    assert_int_equal(cached(&f, "bob", text), n_prompt - 1);
    assert_int_equal(cached(&f, "alice2", text), 0);
    fixture_close(&f);
}

static void test_longest_prefix_wins_and_a_short_one_spoils_nothing(void **state)
{
    (void)state;
    struct fixture f;
    struct sched_params params = some_params();
    params.n_parallel = 3;
    fixture_open(&f, "fake:", params);
    const char *a = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", *b = "BBBBBBBBBBBBBBBBBBBBBBBBB";
    assert_int_equal(cached(&f, "", a), 0);
    assert_int_equal(cached(&f, "", b), 0); /* two common tokens don't justify dropping a */
    assert_int_equal(cached(&f, "", "c"), 0);
    assert_in_range(cached(&f, "", a), 40, 44);
    assert_in_range(cached(&f, "", b), 25, 29);
    fixture_close(&f);
}

static void test_architecture_that_cannot_remove_a_part(void **state)
{
    (void)state;
    struct fixture f;
    struct sched_params params = some_params();
    params.n_parallel = 1;
    fixture_open(&f, "fake:no_partial=1", params);
    assert_int_equal(cached(&f, "", "0123456789"), 0);
    assert_int_equal(cached(&f, "", "0123456789"), 0); /* would need a partial removal */
    assert_int_equal(cached(&f, "", "xyz"), 0);
    fixture_close(&f);
}

/* ---- KV cells ------------------------------------------------------------------------------- */

/* Each answer grows beyond its reserve, together they need more cells than there are: the less
 * important one waits and goes on later; nothing is lost. */
static void test_running_out_of_cells_loses_nothing(void **state)
{
    (void)state;
    struct fixture f;
    struct sched_params params = some_params();
    params.n_ctx = 600;
    fixture_open(&f, "fake:", params);
    char text[401] = {0};
    for (int i = 0; i < 400; i++) text[i] = (char)('a' + i % 26);
    /* Prompt 404 tokens, answer 400: only one at a time fits, and that not to its end. */
    struct client *one = ask(&f, (struct ask){.text = text});
    client_wait(one);
    assert_int_equal(one->finish[0], FINISH_LENGTH);
    assert_int_equal(one->usage.completion_tokens, 600 - 404);
    client_free(one);
    fixture_close(&f);

    char path[500];
    snprintf(path, sizeof path, "fake:reply=%s", text);
    fixture_open(&f, path, params);
    struct client *c[6];
    for (int i = 0; i < 6; i++) c[i] = ask(&f, (struct ask){.text = "go", .priority = 10 + i});
    for (int i = 0; i < 6; i++) {
        client_wait(c[i]);
        assert_int_equal(c[i]->error.code, OK);
        assert_int_equal(c[i]->finish[0], FINISH_STOP);
        assert_string_equal(c[i]->text[0].data, text);
        assert_int_equal(c[i]->usage.completion_tokens, 400);
        client_free(c[i]);
    }
    fixture_close(&f);
}

static void test_running_out_of_cells_with_choices(void **state)
{
    (void)state;
    struct fixture f;
    struct sched_params params = some_params();
    params.n_ctx = 700;
    char text[301] = {0}, path[400];
    memset(text, 'x', 300);
    snprintf(path, sizeof path, "fake:reply=%s", text);
    fixture_open(&f, path, params);
    struct client *c[3];
    for (int i = 0; i < 3; i++) c[i] = ask(&f, (struct ask){.text = "go", .n = 2});
    for (int i = 0; i < 3; i++) {
        client_wait(c[i]);
        assert_int_equal(c[i]->error.code, OK);
        assert_string_equal(c[i]->text[0].data, text);
        assert_string_equal(c[i]->text[1].data, text);
        client_free(c[i]);
    }
    /* One request whose choices alone outgrow the cells: cut, not failed. */
    struct client *big = ask(&f, (struct ask){.text = "go", .n = 4});
    client_wait(big);
    assert_int_equal(big->error.code, OK);
    int whole = 0;
    for (int i = 0; i < 4; i++) {
        assert_memory_equal(big->text[i].data, text, big->text[i].len);
        whole += big->finish[i] == FINISH_STOP;
    }
    assert_in_range(whole, 2, 3);
    client_free(big);
    fixture_close(&f);
}

/* The fake engine aborts if a sequence outgrows its own cells or a batch is not in their order. */
static void test_each_sequence_has_cells_of_its_own(void **state)
{
    (void)state;
    struct fixture f;
    struct sched_params params = some_params();
    params.shared_kv = false;
    params.n_ctx = 100;
    params.n_parallel = 3;
    fixture_open(&f, "fake:endless=1", params);
    assert_int_equal(sched_model_ctx(f.model), 100);
    struct client *c[7];
    for (int i = 0; i < 7; i++) {
        char text[16];
        snprintf(text, sizeof text, "%0*d", i + 1, i); /* prompts of different lengths */
        c[i] = ask(&f, (struct ask){.text = text, .n = i == 3 ? 2 : 1});
    }
    for (int i = 0; i < 7; i++) {
        client_wait(c[i]);
        assert_int_equal(c[i]->error.code, OK);
        assert_int_equal(c[i]->finish[0], FINISH_LENGTH);
        int choices = i == 3 ? 2 : 1;
        assert_int_equal((c[i]->usage.completion_tokens / choices) + c[i]->usage.prompt_tokens,
                         100);
        client_free(c[i]);
    }
    fixture_close(&f);
}

/* Shared cells are counted once: prompt 204, four answers of 20, 284 of 300 cells. */
static void test_choices_share_the_cells_of_their_prompt(void **state)
{
    (void)state;
    struct fixture f;
    struct sched_params params = some_params();
    params.n_ctx = 300;
    fixture_open(&f, "fake:reply=twenty bytes in here", params);
    char prompt[201] = {0};
    memset(prompt, 'p', 200);
    for (int round = 0; round < 3; round++) {
        prompt[0] = (char)('a' + round); /* nothing is cached */
        struct client *c = ask(&f, (struct ask){.text = prompt, .n = 4, .tenant = "x"});
        client_wait(c);
        assert_int_equal(c->error.code, OK);
        for (int i = 0; i < 4; i++) {
            assert_int_equal(c->finish[i], FINISH_STOP);
            assert_string_equal(c->text[i].data, "twenty bytes in here");
        }
        client_free(c);
    }
    fixture_close(&f);
}

static void test_cached_prefixes_make_room(void **state)
{
    (void)state;
    struct fixture f;
    struct sched_params params = some_params();
    params.n_ctx = 120;
    fixture_open(&f, "fake:", params);
    for (int i = 0; i < 12; i++) { /* each leaves about 40 tokens behind */
        char text[32];
        snprintf(text, sizeof text, "%d 3456789 123456789", i);
        char tenant[16];
        snprintf(tenant, sizeof tenant, "%d", i);
        assert_int_equal(cached(&f, tenant, text), 0);
    }
    assert_true(cached(&f, "11", "11 3456789 123456789") > 0);
    fixture_close(&f);
}

/* A prompt of 2,000 tokens arrives while another request generates: it is decoded in pieces, and
 * after each piece the other gets a token. */
static void test_long_prompt_does_not_stall_others(void **state)
{
    (void)state;
    struct fixture f;
    struct sched_params params = some_params();
    params.n_ubatch = params.n_batch = 2048;
    params.step_target_ms = 10; /* at most 440 of its tokens at a time */
    fixture_open(&f, "fake:token_us=20", params);
    struct client *stream = ask_endless(&f);
    char *text = calloc(1, 2001);
    memset(text, 'p', 2000);
    struct client *big = ask(&f, (struct ask){.text = text, .max_tokens = 1});
    client_until(big, big->n_started == 1);
    pthread_mutex_lock(&stream->lock);
    size_t before = stream->text[0].len;
    pthread_mutex_unlock(&stream->lock);
    client_wait(big);
    pthread_mutex_lock(&stream->lock);
    size_t got = stream->text[0].len - before;
    pthread_mutex_unlock(&stream->lock);
    assert_in_range(got, 4, 40); /* 2004 / 256 = 7.8 pieces */
    cancel_and_free(&f, stream);
    client_free(big);
    free(text);
    fixture_close(&f);
}

static void test_two_models_take_turns(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, "fake:ms=1", some_params());
    struct sched_model *other = load_model(f.sched, "other", "fake:ms=1,reply=from the other");
    struct client *busy = ask_endless(&f), *c = client_new();
    struct error error;
    assert_int_equal(try_ask_model(&f, other, c, (struct ask){.text = "?"}, &error), OK);
    client_wait(c);
    assert_string_equal(c->text[0].data, "from the other");
    assert_false(busy->done);
    cancel_and_free(&f, busy);
    client_free(c);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_echo),
        cmocka_unit_test(test_requests_are_decoded_together),
        cmocka_unit_test(test_max_tokens),
        cmocka_unit_test(test_half_a_character_at_the_limit),
        cmocka_unit_test(test_stop_string_across_tokens),
        cmocka_unit_test(test_logprobs),
        cmocka_unit_test(test_sequence_limit_ends_with_length),
        cmocka_unit_test(test_prompt_that_can_never_fit),
        cmocka_unit_test(test_choices_share_one_prefill),
        cmocka_unit_test(test_choices_that_end_at_once),
        cmocka_unit_test(test_more_choices_than_sequences),
        cmocka_unit_test(test_choices_with_different_ends),
        cmocka_unit_test(test_prefix_is_reused_within_a_tenant_only),
        cmocka_unit_test(test_longest_prefix_wins_and_a_short_one_spoils_nothing),
        cmocka_unit_test(test_architecture_that_cannot_remove_a_part),
        cmocka_unit_test(test_running_out_of_cells_loses_nothing),
        cmocka_unit_test(test_running_out_of_cells_with_choices),
        cmocka_unit_test(test_each_sequence_has_cells_of_its_own),
        cmocka_unit_test(test_choices_share_the_cells_of_their_prompt),
        cmocka_unit_test(test_cached_prefixes_make_room),
        cmocka_unit_test(test_long_prompt_does_not_stall_others),
        cmocka_unit_test(test_two_models_take_turns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
