/* What goes into a step: the budget of prompt tokens, sub-batches, urgent and other requests,
 * deterministic ones, contexts that are full. Counts instead of times wherever possible, so that a
 * busy machine changes nothing. */
#include "unit/sched/harness.h"

static size_t said(struct client *c)
{
    pthread_mutex_lock(&c->lock);
    size_t n = c->text[0].len;
    pthread_mutex_unlock(&c->lock);
    return n;
}

static char *letters(char letter, size_t n)
{
    char *text = calloc(1, n + 1);
    memset(text, letter, n);
    return text;
}

static struct client *ask_long(struct fixture *f, char letter, size_t n, struct ask a)
{
    char *text = letters(letter, n);
    a.text = text;
    struct client *c = ask(f, a);
    free(text);
    return c;
}

static struct sched_params own_cells(int32_t n_parallel)
{
    struct sched_params params = some_params();
    params.shared_kv = false;
    params.n_parallel = n_parallel;
    return params;
}

/* ---- the budget ---------------------------------------------------------------------------- */

/* 600 tokens of 1 ms beside a stream of 1 ms a token: the stream gets a token at least every
 * target_ms. Returns how many it got. */
static size_t tokens_beside_prompt(int32_t target_ms)
{
    struct fixture f;
    struct sched_params params = own_cells(4);
    params.step_target_ms = target_ms;
    fixture_open(&f, "fake:ms=1,token_us=1000", params);
    struct client *stream = ask_endless(&f);
    struct client *big = ask_long(&f, 'p', 600, (struct ask){.max_tokens = 1});
    client_until(big, big->n_started == 1);
    size_t before = said(stream);
    client_until(big, big->first_ns > 0);
    size_t got = said(stream) - before;
    client_wait(big);
    cancel_and_free(&f, stream);
    client_free(big);
    fixture_close(&f);
    return got;
}

static void test_prompts_leave_time_for_streams(void **state)
{
    (void)state;
    size_t smooth = tokens_beside_prompt(30), rough = tokens_beside_prompt(200);
    assert_in_range(smooth, 600 / 30, 100);
    assert_in_range(rough, 600 / 200, 14);
}

/* Nothing is known about the machine yet: the first piece is small, and they grow. */
static void test_first_piece_is_small(void **state)
{
    (void)state;
    struct fixture f;
    struct sched_params params = own_cells(4);
    params.step_target_ms = 60000;
    fixture_open(&f, "fake:", params);
    int64_t before = metric_value(METRIC_batches_total);
    struct client *c = ask_long(&f, 'p', 500, (struct ask){.max_tokens = 1});
    client_wait(c);
    int64_t batches = metric_value(METRIC_batches_total) - before;
    assert_in_range(batches, 3, 4); /* 64, 256, the rest */
    client_free(c);
    before = metric_value(METRIC_batches_total);
    c = ask_long(&f, 'q', 500, (struct ask){.max_tokens = 1});
    client_wait(c);
    assert_int_equal(metric_value(METRIC_batches_total) - before, 1);
    client_free(c);
    fixture_close(&f);
}

/* Prompts are finished one after the other: the first answer begins when the last prompt has hardly
 * begun. */
static void test_one_prompt_after_the_other(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, "fake:token_us=200", own_cells(4));
    struct client *busy = ask_endless(&f); /* all four arrive during one of its steps, or two */
    struct client *c[3];
    for (int i = 0; i < 3; i++)
        c[i] = ask_long(&f, (char)('a' + i), 800, (struct ask){.max_tokens = 1});
    for (int i = 0; i < 3; i++) client_wait(c[i]);
    assert_true(c[0]->first_ns < c[1]->first_ns && c[1]->first_ns < c[2]->first_ns);
    int64_t gap = c[2]->first_ns - c[0]->first_ns;
    assert_true(gap > 2 * 800 * 200 * 1000 * 6 / 10); /* not all at the end */
    for (int i = 0; i < 3; i++) client_free(c[i]);
    cancel_and_free(&f, busy);
    fixture_close(&f);
}

/* A short question need not wait for a long prompt that came before it, and many of them don't stop
 * the long one. */
static void test_short_prompts_overtake(void **state)
{
    (void)state;
    struct fixture f;
    struct sched_params params = own_cells(4);
    params.step_target_ms = 20;
    fixture_open(&f, "fake:token_us=200", params);
    struct client *big = ask_long(&f, 'p', 3000, (struct ask){.max_tokens = 1});
    client_until(big, big->n_started == 1);
    int overtook = 0;
    for (int i = 0; i < 5000 && !big->done; i++) {
        struct client *quick = ask(&f, (struct ask){.text = "quick", .max_tokens = 1});
        client_wait(quick);
        pthread_mutex_lock(&big->lock);
        overtook += !big->first_ns;
        pthread_mutex_unlock(&big->lock);
        client_free(quick);
    }
    client_wait(big);
    assert_true(overtook >= 3);
    assert_true(overtook < 5000); /* it was not starved */
    client_free(big);
    fixture_close(&f);
}

/* ---- sub-batches --------------------------------------------------------------------------- */

/* Average number of sequences in a batch while `n` streams generate, after `warm` tokens. */
static double width(struct fixture *f, int n, size_t warm)
{
    struct client *c[8];
    for (int i = 0; i < n; i++) {
        char tenant[8];
        snprintf(tenant, sizeof tenant, "%d", i);
        c[i] = ask(f, (struct ask){.text = "x", .ignore_eos = true, .tenant = tenant});
    }
    for (int i = 0; i < n; i++) client_until(c[i], c[i]->text[0].len > warm);
    int64_t batches = metric_value(METRIC_batches_total);
    int64_t tokens = metric_value(METRIC_batch_tokens_total);
    for (int i = 0; i < n; i++) {
        size_t now = said(c[i]);
        client_until(c[i], c[i]->text[0].len > now + 50);
    }
    batches = metric_value(METRIC_batches_total) - batches;
    tokens = metric_value(METRIC_batch_tokens_total) - tokens;
    for (int i = 0; i < n; i++) cancel_and_free(f, c[i]);
    return (double)tokens / (double)batches;
}

static void test_pairs_are_computed_apart_where_that_is_faster(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, "fake:ms=1,pair_us=20000,endless=1", own_cells(4));
    struct client *alone = ask(&f, (struct ask){.text = "a", .ignore_eos = true, .max_tokens = 20});
    client_wait(alone);
    client_free(alone);
    int tries = 20; /* on a busy machine one token may take as long as two */
    while (width(&f, 2, 40) > 1.2 && tries > 0) tries--;
    assert_true(tries > 0);
    tries = 20; /* found by trying, which may cost a fiftieth of the time */
    while (width(&f, 3, 100) < 2.5 && tries > 0) tries--;
    assert_true(tries > 0);
    fixture_close(&f);
    fixture_open(&f, "fake:ms=2,endless=1", own_cells(4));
    assert_true(width(&f, 2, 40) > 1.8);
    fixture_close(&f);
}

/* Sequences 1, 3 and 5 run; the next two come between them, so that all are computed together. */
static void test_newcomers_sit_beside_the_running(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, "fake:ms=2,endless=1", own_cells(8));
    struct client *c[8];
    struct ask a = {.text = "x", .ignore_eos = true};
    for (int i = 0; i < 8; i++) {
        char tenant[8];
        snprintf(tenant, sizeof tenant, "%d", i);
        a.tenant = tenant;
        c[i] = ask(&f, a);
        client_until(c[i], c[i]->text[0].len > 0);
    }
    for (int i = 0; i < 8; i += 2) cancel_and_free(&f, c[i]);
    cancel_and_free(&f, c[7]);
    for (int i = 0; i < 4; i += 2) {
        a.tenant = i ? "new" : "another";
        c[i] = ask(&f, a);
        client_until(c[i], c[i]->text[0].len > 2);
    }
    int64_t batches = metric_value(METRIC_batches_total);
    int64_t tokens = metric_value(METRIC_batch_tokens_total);
    size_t now = said(c[1]);
    client_until(c[1], c[1]->text[0].len > now + 40);
    batches = metric_value(METRIC_batches_total) - batches;
    tokens = metric_value(METRIC_batch_tokens_total) - tokens;
    assert_true((double)tokens / (double)batches > 4);
    static const int running[] = {0, 1, 2, 3, 5};
    for (int i = 0; i < 5; i++) cancel_and_free(&f, c[running[i]]);
    fixture_close(&f);
}

/* The same from a profile, at once; and what was learnt can be read. */
static void test_profile_is_used_from_the_start(void **state)
{
    (void)state;
    struct fixture f;
    struct shape_profile profiles[] = {
        {.model = "other", .decode_ms = {0, 1, 1}},
        {.model = "fake", .decode_ms = {0, 1, 30}, .prefill_token_ms = 1, .prefill_largest = 64},
    };
    struct sched_params params = own_cells(2);
    params.shapes = profiles;
    params.n_shapes = 2;
    fixture_open(&f, "fake:ms=1,pair_us=30000,endless=1", params);
    memset(profiles, 0, sizeof profiles); /* they were copied */
    assert_true(width(&f, 2, 1) < 1.5);
    struct shape_profile learnt;
    sched_shape(f.model, &learnt);
    assert_string_equal(learnt.model, "fake");
    assert_true(learnt.decode_ms[1] >= 1 && learnt.decode_ms[1] < 30);
    assert_true(learnt.prefill_largest == 64);
    fixture_close(&f);
}

/* ---- classes ------------------------------------------------------------------------------- */

/* While an urgent request generates, four others go on, more slowly. */
static void test_urgent_requests_leave_others_a_share(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, "fake:ms=4,endless=1", own_cells(8));
    struct client *others[4];
    for (int i = 0; i < 4; i++)
        others[i] = ask(&f, (struct ask){.text = "x", .ignore_eos = true, .priority = 50});
    for (int i = 0; i < 4; i++) client_until(others[i], others[i]->text[0].len > 5);
    size_t before = said(others[0]);
    struct client *urgent =
        ask(&f, (struct ask){.text = "now", .ignore_eos = true, .priority = 1, .max_tokens = 60});
    client_wait(urgent);
    size_t got = said(others[0]) - before;
    assert_in_range(got, 8, 32); /* about 25; 60 if all were equal */
    client_free(urgent);
    before = said(others[0]);
    struct client *equal =
        ask(&f, (struct ask){.text = "too", .ignore_eos = true, .priority = 45, .max_tokens = 40});
    client_wait(equal);
    assert_in_range(said(others[0]) - before, 36, 48); /* a token for each in turn */
    client_free(equal);
    for (int i = 0; i < 4; i++) cancel_and_free(&f, others[i]);
    fixture_close(&f);
}

/* Prompts of others, too, get time while an urgent stream goes on, in small pieces. */
static void test_urgent_stream_does_not_starve_prompts(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, "fake:ms=1,token_us=500,endless=1", own_cells(4));
    struct client *urgent = ask(&f, (struct ask){.text = "u", .ignore_eos = true, .priority = 1});
    client_until(urgent, urgent->text[0].len > 2);
    struct client *big =
        ask_long(&f, 'p', 400, (struct ask){.max_tokens = 1, .priority = 90, .tenant = "b"});
    client_wait(big);
    assert_int_equal(big->error.code, OK);
    cancel_and_free(&f, urgent);
    client_free(big);
    fixture_close(&f);
}

/* A piece of 2 s is under way when an urgent request arrives: it does not wait for its end. */
static void test_urgent_request_stops_a_long_piece(void **state)
{
    (void)state;
    struct fixture f;
    struct shape_profile known = {.prefill_token_ms = 1, .prefill_largest = 4000};
    struct sched_params params = own_cells(2);
    params.step_target_ms = 60000;
    params.shapes = &known;
    params.n_shapes = 1;
    params.n_ubatch = 2048;
    fixture_open(&f, "fake:token_us=1000", params);
    struct client *big = ask_long(&f, 'p', 1900, (struct ask){.max_tokens = 1});
    client_until(big, big->n_started == 1);
    sleep_ms(50);
    struct client *urgent = ask(&f, (struct ask){.text = "now", .max_tokens = 1, .priority = 45});
    client_wait(urgent);
    assert_true(big->done); /* not for one that is no more urgent than this */
    client_free(urgent);
    client_free(big);
    big = ask_long(&f, 'q', 1900, (struct ask){.max_tokens = 1});
    client_until(big, big->n_started == 1);
    sleep_ms(50);
    urgent = ask(&f, (struct ask){.text = "now", .max_tokens = 1, .priority = 1});
    client_wait(urgent);
    pthread_mutex_lock(&big->lock);
    assert_false(big->done);
    pthread_mutex_unlock(&big->lock);
    client_wait(big);
    assert_int_equal(big->error.code, OK);
    client_free(big);
    client_free(urgent);
    fixture_close(&f);
}

/* ---- deterministic ------------------------------------------------------------------------- */

static void test_deterministic_requests_use_no_cache_and_no_company(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, "fake:ms=1,endless=1", own_cells(4));
    struct ask a = {.text = "the same prompt, longer than a piece of it, as it were",
                    .max_tokens = 60,
                    .ignore_eos = true,
                    .deterministic = true};
    struct client *first = ask(&f, a);
    client_wait(first);
    int64_t batches = metric_value(METRIC_batches_total);
    int64_t tokens = metric_value(METRIC_batch_tokens_total);
    struct client *two[2] = {ask(&f, a), ask(&f, a)};
    for (int i = 0; i < 2; i++) {
        client_wait(two[i]);
        assert_int_equal(two[i]->usage.cached_tokens, 0);
        assert_string_equal(two[i]->text[0].data, first->text[0].data);
    }
    batches = metric_value(METRIC_batches_total) - batches;
    tokens = metric_value(METRIC_batch_tokens_total) - tokens;
    /* per request: pieces of 32 of the prompt, then 59 steps of one token */
    int32_t n_prompt = two[0]->usage.prompt_tokens;
    assert_int_equal(batches, 2 * ((n_prompt + 31) / 32 + 59));
    assert_int_equal(tokens, 2 * (n_prompt + 59));
    for (int i = 0; i < 2; i++) client_free(two[i]);
    client_free(first);
    fixture_close(&f);
}

static void test_deterministic_needs_own_cells(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, "fake:", some_params());
    struct client *c = client_new();
    struct error error;
    struct ask a = {.text = "x", .deterministic = true};
    assert_int_equal(try_ask(&f, c, a, &error), ERR_UNSUPPORTED);
    assert_non_null(strstr(error.msg, "HEARTH_SHARED_KV"));
    client_free(c);
    fixture_close(&f);
}

/* ---- a full context ------------------------------------------------------------------------ */

static struct client *overflow(struct fixture *f, struct ask a)
{
    a.text = "0123456789";
    a.ignore_eos = true;
    a.max_tokens = 200;
    struct client *c = ask(f, a);
    client_wait(c);
    assert_int_equal(c->error.code, OK);
    assert_int_equal(c->finish[0], FINISH_LENGTH);
    return c;
}

static void open_small(struct fixture *f, const char *path, enum overflow by_default)
{
    struct sched_params params = own_cells(2);
    params.n_ctx = 64;
    params.overflow = by_default;
    fixture_open(f, path, params);
}

static void test_full_context_stops(void **state)
{
    (void)state;
    struct fixture f;
    open_small(&f, "fake:endless=1", OVERFLOW_DEFAULT);
    struct client *c = overflow(&f, (struct ask){0});
    assert_int_equal(c->usage.prompt_tokens + c->usage.completion_tokens, 64);
    client_free(c);
    fixture_close(&f);
    open_small(&f, "fake:endless=1,no_shift=1", OVERFLOW_SHIFT); /* where it can't be */
    c = overflow(&f, (struct ask){0});
    assert_int_equal(c->usage.prompt_tokens + c->usage.completion_tokens, 64);
    client_free(c);
    fixture_close(&f);
}

static void check_whole(struct client *c, const char *reply)
{
    assert_int_equal(c->usage.completion_tokens, 200);
    assert_int_equal(c->text[0].len, 200);
    for (size_t i = 0; i < 200; i++) assert_int_equal(c->text[0].data[i], reply[i % strlen(reply)]);
}

/* As configured, or as the request says; what a shifted sequence leaves is no cached prefix. */
static void test_full_context_shifts(void **state)
{
    (void)state;
    struct fixture f;
    open_small(&f, "fake:endless=1,reply=abcdefg", OVERFLOW_SHIFT);
    struct client *c = overflow(&f, (struct ask){.n_keep = 6});
    check_whole(c, "abcdefg");
    client_free(c);
    c = overflow(&f, (struct ask){.n_keep = 1000, .n = 2}); /* keeps half at most */
    assert_int_equal(c->usage.cached_tokens, 0);
    assert_int_equal(c->text[1].len, 200);
    client_free(c);
    c = overflow(&f, (struct ask){.overflow = OVERFLOW_STOP});
    assert_int_equal(c->text[0].len, 64 - c->usage.prompt_tokens);
    client_free(c);
    fixture_close(&f);
    open_small(&f, "fake:endless=1,reply=abcdefg", OVERFLOW_STOP);
    c = overflow(&f, (struct ask){.overflow = OVERFLOW_SHIFT});
    check_whole(c, "abcdefg");
    client_free(c);
    c = overflow(&f, (struct ask){.overflow = OVERFLOW_SHIFT, .deterministic = true});
    assert_int_equal(c->text[0].len, 64 - c->usage.prompt_tokens);
    client_free(c);
    fixture_close(&f);
}

/* In a pool of cells: alone it shifts, with shared cells it stops. */
static void test_full_context_in_a_pool(void **state)
{
    (void)state;
    struct fixture f;
    struct sched_params params = some_params();
    params.n_ctx = 200;
    fixture_open(&f, "fake:ctx=64,endless=1,reply=abcdefg", params);
    struct client *c = overflow(&f, (struct ask){.overflow = OVERFLOW_SHIFT});
    check_whole(c, "abcdefg");
    client_free(c);
    c = overflow(&f, (struct ask){.overflow = OVERFLOW_SHIFT, .n = 2});
    assert_int_equal(c->text[0].len, 64 - c->usage.prompt_tokens);
    assert_int_equal(c->text[1].len, 64 - c->usage.prompt_tokens);
    client_free(c);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prompts_leave_time_for_streams),
        cmocka_unit_test(test_first_piece_is_small),
        cmocka_unit_test(test_one_prompt_after_the_other),
        cmocka_unit_test(test_short_prompts_overtake),
        cmocka_unit_test(test_pairs_are_computed_apart_where_that_is_faster),
        cmocka_unit_test(test_newcomers_sit_beside_the_running),
        cmocka_unit_test(test_profile_is_used_from_the_start),
        cmocka_unit_test(test_urgent_requests_leave_others_a_share),
        cmocka_unit_test(test_urgent_stream_does_not_starve_prompts),
        cmocka_unit_test(test_urgent_request_stops_a_long_piece),
        cmocka_unit_test(test_deterministic_requests_use_no_cache_and_no_company),
        cmocka_unit_test(test_deterministic_needs_own_cells),
        cmocka_unit_test(test_full_context_stops),
        cmocka_unit_test(test_full_context_shifts),
        cmocka_unit_test(test_full_context_in_a_pool),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
