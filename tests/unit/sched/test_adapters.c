/* Adapters in the scheduler: requests wait for theirs while all others go on; each gets its own
 * answer however they are mixed (the fake engine asserts that no sequence is continued with another
 * adapter); what is not used goes. */
#include "engine/engine.h"
#include "unit/sched/harness.h"

#define SWAP_LR "fake:lora,swap=lr"
#define SWAP_OX "fake:lora,swap=ox"

static size_t in_memory(struct fixture *f)
{
    struct sched_adapter_status st[64];
    size_t n = sched_adapters(f->sched, st, 64), loaded = 0;
    for (size_t i = 0; i < n; i++) loaded += st[i].loaded;
    return loaded;
}

static void expect_text(struct client *c, const char *text)
{
    client_wait(c);
    if (c->error.code) fail_msg("%s", c->error.msg);
    assert_string_equal(buf_str(&c->text[0]), text);
    client_free(c);
}

static void mixed_requests(const char *model)
{
    struct fixture f;
    struct client *c[24];
    fixture_open(&f, model, some_params());
    for (int i = 0; i < 24; i++) {
        struct ask a = {.text = "hello world", .n = 1 + i % 2};
        a.adapter = i % 3 == 1 ? SWAP_LR : i % 3 == 2 ? SWAP_OX : NULL;
        a.adapter_scale = i % 6 == 1 ? 0.5f : 0;
        c[i] = ask(&f, a);
    }
    for (int i = 0; i < 24; i++)
        expect_text(c[i], i % 3 == 1 ? "herro worrd" : i % 3 == 2 ? "hellx wxrld" : "hello world");
    fixture_close(&f);
}

static void test_mixed_requests_get_their_own_answers(void **state)
{
    (void)state;
    mixed_requests("fake:");
}

/* As on a device whose memory only it sees; and where the first batch shows that it can't be. */
static void test_adapters_that_can_not_be_mixed_take_turns(void **state)
{
    (void)state;
    mixed_requests("fake:no_mix=1");
    mixed_requests("fake:no_mix=2");
}

static int64_t time_of_four(const char *model, bool mixed)
{
    struct fixture f;
    struct client *c[4];
    fixture_open(&f, model, some_params());
    for (int i = 0; i < 2; i++) /* both are in memory, and known */
        expect_text(ask(&f, (struct ask){.text = "l", .adapter = i ? SWAP_OX : SWAP_LR}),
                    i ? "l" : "r");
    int64_t start = clock_mono_ms();
    for (int i = 0; i < 4; i++)
        c[i] = ask(&f, (struct ask){.text = "a text of thirty characters...",
                                    .adapter = mixed && i % 2 ? SWAP_OX : SWAP_LR});
    for (int i = 0; i < 4; i++) {
        client_wait(c[i]);
        assert_int_equal(c[i]->error.code, OK);
    }
    int64_t ms = clock_mono_ms() - start;
    for (int i = 0; i < 4; i++) client_free(c[i]);
    fixture_close(&f);
    return ms;
}

/* Decodes take 10 ms whatever is in them: in turns two adapters take twice as long as one. */
static void test_adapters_are_decoded_together(void **state)
{
    (void)state;
    int64_t one = time_of_four("fake:ms=10", false), mixed = time_of_four("fake:ms=10", true);
    int64_t turns = time_of_four("fake:ms=10,no_mix=1", true);
    print_message("one adapter %lld ms, mixed %lld, in turns %lld\n", (long long)one,
                  (long long)mixed, (long long)turns);
    assert_true(mixed * 4 < turns * 3);
}

/* More of them at once than a batch may have. */
static void test_many_adapters_at_once(void **state)
{
    (void)state;
    enum { N = 2 * ENGINE_ADAPTERS_MAX + 3 };
    struct fixture f;
    struct client *c[N];
    struct sched_params params = some_params();
    params.n_parallel = N;
    params.n_ctx = 256;
    fixture_open(&f, "fake:", params);
    for (int i = 0; i < N; i++) {
        char path[64];
        snprintf(path, sizeof path, "fake:lora,swap=x%c", 'a' + i);
        c[i] = ask(&f, (struct ask){.text = "xxxxx xxxxx xxxxx", .adapter = path});
    }
    for (int i = 0; i < N; i++) {
        char want[] = "..... ..... .....";
        for (char *p = want; *p; p++)
            if (*p == '.') *p = (char)('a' + i);
        expect_text(c[i], want);
    }
    fixture_close(&f);
}

static void test_others_go_on_while_an_adapter_is_loaded(void **state)
{
    (void)state;
    struct fixture f;
    struct sched_params params = some_params();
    params.adapters_kept = 1;
    fixture_open(&f, "fake:", params);
    struct ask with = {.text = "hello", .adapter = "fake:lora,load_ms=2000,swap=lr"};
    struct client *a = ask(&f, with), *b = ask(&f, with);
    expect_text(ask(&f, (struct ask){.text = "base"}), "base");
    assert_false(a->done || b->done);
    client_wait(a);
    assert_true(a->timings.load_ns > 200 * 1000000LL);
    expect_text(a, "herro");
    expect_text(b, "herro");
    int64_t start = clock_mono_ms();
    expect_text(ask(&f, with), "herro"); /* it is in memory now */
    assert_true(clock_mono_ms() - start < 1500);
    assert_int_equal(in_memory(&f), 1);
    fixture_close(&f);
}

static void test_what_can_not_be_loaded_is_told_with_its_reason(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, "fake:", some_params());
    struct ask with = {.text = "hello", .adapter = "fake:lora,load_ms=50,fail_load=torn"};
    struct client *c[3];
    for (int i = 0; i < 3; i++) c[i] = ask(&f, with);
    for (int i = 0; i < 3; i++) {
        client_wait(c[i]);
        assert_int_equal(c[i]->error.code, ERR_ADAPTER);
        assert_non_null(strstr(c[i]->error.msg, "torn"));
        assert_int_equal(c[i]->n_started, 0);
        client_free(c[i]);
    }
    expect_text(ask(&f, (struct ask){.text = "base"}), "base");
    assert_int_equal(in_memory(&f), 0);
    fixture_close(&f);
}

static void test_unused_adapters_leave_memory(void **state)
{
    (void)state;
    struct fixture f;
    struct sched_params params = some_params();
    static const char *const swaps[] = {"ab", "cd", "ef", "gh"};
    params.adapters_kept = 2;
    fixture_open(&f, "fake:", params);
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < 4; i++) {
            char path[64], want[8];
            snprintf(path, sizeof path, "fake:lora,swap=%s", swaps[i]);
            snprintf(want, sizeof want, "x%c", swaps[i][1]);
            char text[] = {'x', swaps[i][0], '\0'};
            expect_text(ask(&f, (struct ask){.text = text, .adapter = path}), want);
            assert_true(in_memory(&f) <= 3);
        }
    fixture_close(&f);
}

static void test_leaving_while_an_adapter_is_loaded(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, "fake:", some_params());
    struct ask with = {.text = "hello", .adapter = "fake:lora,load_ms=150"};
    struct client *gone = ask(&f, with), *stays = ask(&f, with);
    cancel_and_free(&f, gone);
    expect_text(stays, "hello");
    with.adapter = "fake:lora,load_ms=151";
    gone = ask(&f, with);
    cancel_and_free(&f, gone);
    gone = ask(&f, with); /* joins the load that is under way, or begins a new one */
    expect_text(gone, "hello");
    fixture_close(&f);
}

/* Requests wait for an adapter when the scheduler is freed: they get their last event, the load is
 * not left behind. */
static void test_stopping_while_adapters_are_loaded(void **state)
{
    (void)state;
    for (int round = 0; round < 10; round++) {
        struct fixture f;
        struct client *c[3];
        fixture_open(&f, "fake:", some_params());
        for (int i = 0; i < 3; i++) {
            char path[64];
            snprintf(path, sizeof path, "fake:lora,load_ms=%d", 10 + i);
            c[i] = ask(&f, (struct ask){.text = "hello", .adapter = path});
        }
        sleep_ms(round);
        sched_free(f.sched, 0);
        engine_close(f.engine);
        for (int i = 0; i < 3; i++) {
            assert_true(c[i]->done);
            client_free(c[i]);
        }
    }
}

static void test_a_cached_prefix_is_of_one_adapter_and_scale(void **state)
{
    (void)state;
    struct fixture f;
    struct sched_params params = some_params();
    params.adapters_kept = 8;
    fixture_open(&f, "fake:", params);
    const struct {
        const char *adapter;
        float scale;
        bool cached;
    } steps[] = {{NULL, 0, false},   {NULL, 0, true},     {SWAP_LR, 0, false},
                 {SWAP_LR, 1, true}, {SWAP_LR, 2, false}, {SWAP_OX, 1, false},
                 {SWAP_OX, 1, true}, {NULL, 0, true},     {SWAP_LR, 1, true}};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        struct client *c = ask(&f, (struct ask){.text = "a prompt that is long enough",
                                                .adapter = steps[i].adapter,
                                                .adapter_scale = steps[i].scale});
        client_wait(c);
        assert_int_equal(c->error.code, OK);
        if ((c->usage.cached_tokens > 20) != steps[i].cached)
            fail_msg("step %zu: %d cached tokens", i, c->usage.cached_tokens);
        client_free(c);
    }
    fixture_close(&f);
}

static uint64_t used(struct fixture *f)
{
    struct sched_memory m;
    sched_memory(f->sched, &m);
    return m.used;
}

/* A fake adapter takes 100 bytes. */
static void test_adapters_are_in_the_ledger(void **state)
{
    (void)state;
    struct fixture f;
    struct sched_params params = some_params();
    params.adapters_kept = 1;
    fixture_open(&f, "fake:weights=5000,cell=1", params);
    uint64_t alone = used(&f);
    expect_text(ask(&f, (struct ask){.text = "l", .adapter = SWAP_LR}), "r");
    assert_int_equal(used(&f), alone + 100);
    expect_text(ask(&f, (struct ask){.text = "o", .adapter = SWAP_OX}), "x");
    for (int i = 0; i < 1000 && used(&f) != alone + 100; i++) sleep_ms(10);
    assert_int_equal(used(&f), alone + 100); /* one is kept */
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mixed_requests_get_their_own_answers),
        cmocka_unit_test(test_adapters_that_can_not_be_mixed_take_turns),
        cmocka_unit_test(test_adapters_are_decoded_together),
        cmocka_unit_test(test_many_adapters_at_once),
        cmocka_unit_test(test_adapters_are_in_the_ledger),
        cmocka_unit_test(test_others_go_on_while_an_adapter_is_loaded),
        cmocka_unit_test(test_what_can_not_be_loaded_is_told_with_its_reason),
        cmocka_unit_test(test_unused_adapters_leave_memory),
        cmocka_unit_test(test_leaving_while_an_adapter_is_loaded),
        cmocka_unit_test(test_stopping_while_adapters_are_loaded),
        cmocka_unit_test(test_a_cached_prefix_is_of_one_adapter_and_scale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
