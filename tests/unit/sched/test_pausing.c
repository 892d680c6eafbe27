/* Who is paused for whom over the fake engine, that nothing is lost by it, and that the tenants of
 * a full machine all get something. */
#include "unit/sched/harness.h"

static struct sched_params with_pausing(int32_t n_parallel)
{
    struct sched_params params = some_params();
    params.n_parallel = n_parallel;
    params.shared_kv = false;
    params.pausing = true;
    return params;
}

static struct client *ask_long(struct fixture *f, const char *text, const char *tenant,
                               int32_t priority)
{
    struct client *c = ask(f, (struct ask){.text = text, .tenant = tenant, .priority = priority});
    client_until(c, c->text[0].len > 0);
    return c;
}

static char *long_text(char letter, size_t n)
{
    char *text = calloc(1, n + 1);
    memset(text, letter, n);
    return text;
}

static struct sched_queue queue_of(struct fixture *f)
{
    struct sched_queue q;
    sched_queue(f->sched, &q);
    return q;
}

/* ---- by importance --------------------------------------------------------------------------- */

static void test_an_urgent_request_does_not_wait_for_a_sequence(void **state)
{
    (void)state;
    struct fixture f;
    char *text = long_text('b', 400);
    fixture_open(&f, "fake:ms=2", with_pausing(1));
    struct client *background = ask_long(&f, text, "t", 50);
    struct client *urgent = ask(&f, (struct ask){.text = "now", .priority = 1});
    client_wait(urgent);
    assert_false(background->done);
    assert_string_equal(urgent->text[0].data, "now");
    client_wait(background);
    assert_int_equal(background->error.code, OK);
    assert_string_equal(background->text[0].data, text); /* as if nothing had been */
    assert_int_equal(background->timings.pauses, 1);
    assert_true(background->timings.paused_ns > 0);
    assert_true(background->timings.paused_ns < background->timings.decode_ns);
    assert_int_equal(background->n_started, 1);
    assert_int_equal(urgent->timings.pauses, 0);
    assert_int_equal(queue_of(&f).pauses, 1);
    client_free(background);
    client_free(urgent);
    free(text);
    fixture_close(&f);
}

static void test_only_the_least_important_is_paused_and_only_for_clearly_more(void **state)
{
    (void)state;
    struct fixture f;
    char *text = long_text('b', 3000);
    fixture_open(&f, "fake:ms=2", with_pausing(3));
    struct client *c[3];
    const int32_t priorities[3] = {40, 60, 50};
    for (int i = 0; i < 3; i++) c[i] = ask_long(&f, text, "t", priorities[i]);
    struct client *same = ask(&f, (struct ask){.text = "x", .priority = 51}); /* 9 steps */
    sleep_ms(50);
    assert_int_equal(same->n_started, 0);
    struct client *urgent = ask_long(&f, text, "t", 45);
    struct client *urgent2 = ask_long(&f, text, "t", 40); /* exactly 10 steps before 50 */
    sleep_ms(20);
    for (int i = 0; i < 3; i++) sched_cancel(f.sched, c[i]->id);
    for (int i = 0; i < 3; i++) client_wait(c[i]);
    assert_int_equal(c[0]->timings.pauses, 0);
    assert_int_equal(c[1]->timings.pauses, 1);
    assert_int_equal(c[2]->timings.pauses, 1);
    assert_true(c[1]->timings.paused_ns > c[2]->timings.paused_ns);
    for (int i = 0; i < 3; i++) client_free(c[i]);
    client_wait(same);
    client_free(same);
    cancel_and_free(&f, urgent);
    cancel_and_free(&f, urgent2);
    free(text);
    fixture_close(&f);
}

static void test_without_pausing_the_urgent_waits(void **state)
{
    (void)state;
    struct fixture f;
    struct sched_params params = with_pausing(1);
    params.pausing = false;
    fixture_open(&f, "fake:ms=1", params);
    struct client *busy = ask_endless(&f);
    struct client *urgent = ask(&f, (struct ask){.text = "now", .priority = 1});
    client_until(urgent, urgent->n_queued == 1);
    sleep_ms(50);
    assert_int_equal(urgent->n_started, 0);
    cancel_and_free(&f, busy);
    client_wait(urgent);
    client_free(urgent);
    fixture_close(&f);
}

/* However many urgent ones come: one that was paused gets on between two pauses. */
static void test_no_thrashing(void **state)
{
    (void)state;
    struct fixture f;
    char *text = long_text('b', 4000);
    fixture_open(&f, "fake:ms=1", with_pausing(1));
    struct client *background = ask_long(&f, text, "t", 50);
    for (int i = 0; i < 30; i++) {
        struct client *urgent = ask(&f, (struct ask){.text = "now", .priority = 1});
        sleep_ms(20);
        sched_cancel(f.sched, urgent->id);
        client_wait(urgent);
        client_free(urgent);
    }
    sched_cancel(f.sched, background->id);
    client_wait(background);
    assert_int_equal(background->timings.pauses, 1);
    client_free(background);
    free(text);
    fixture_close(&f);
}

static void test_choices_of_a_paused_request_all_go_on(void **state)
{
    (void)state;
    for (int shared = 0; shared < 2; shared++) {
        struct fixture f;
        char *text = long_text('c', 200);
        struct sched_params params = with_pausing(3);
        params.shared_kv = shared;
        fixture_open(&f, "fake:ms=2", params);
        struct client *many = ask(&f, (struct ask){.text = text, .n = 5});
        client_until(many, many->text[2].len > 0);
        struct client *urgent = ask(&f, (struct ask){.text = "now", .priority = 0 + 1});
        client_wait(urgent);
        assert_false(many->done);
        client_wait(many);
        assert_int_equal(many->error.code, OK);
        for (int i = 0; i < 5; i++) assert_string_equal(many->text[i].data, text);
        assert_int_equal(many->timings.pauses, 1);
        client_free(many);
        client_free(urgent);
        free(text);
        fixture_close(&f);
    }
}

/* In the middle of its prompt as well; and what a client cancels while it is paused ends at once.
 */
static void test_pause_during_the_prompt_and_cancel_while_paused(void **state)
{
    (void)state;
    struct fixture f;
    char *text = long_text('p', 2000);
    struct sched_params params = with_pausing(1);
    params.n_ubatch = 64;
    fixture_open(&f, "fake:token_us=200", params);
    struct client *c = ask(&f, (struct ask){.text = text, .max_tokens = 5});
    client_until(c, c->n_started == 1);
    struct client *urgent = ask_long(&f, text, "t", 1);
    int64_t before = clock_mono_ns();
    sched_cancel(f.sched, c->id);
    client_wait(c);
    assert_true(c->done_ns - before < 300000000);
    assert_int_equal(c->timings.pauses, 1);
    assert_int_equal(c->n_tokens, 0);
    assert_true(c->timings.paused_ns > 0);
    client_free(c);
    cancel_and_free(&f, urgent);
    c = ask(&f, (struct ask){.text = "fine"});
    client_wait(c);
    assert_string_equal(c->text[0].data, "fine");
    client_free(c);
    fixture_close(&f);
    free(text);
}

/* A stop with grace lets a paused request finish: its client has half of its answer. */
static void test_a_paused_request_may_finish_at_a_stop(void **state)
{
    (void)state;
    struct fixture f;
    char *text = long_text('b', 300), *short_text = long_text('u', 100);
    fixture_open(&f, "fake:ms=1", with_pausing(1));
    struct client *background = ask_long(&f, text, "t", 50);
    struct client *urgent = ask_long(&f, short_text, "t", 1);
    struct client *waiting = ask(&f, (struct ask){.text = "x"});
    sched_free(f.sched, 10000);
    engine_close(f.engine);
    assert_int_equal(background->error.code, OK);
    assert_string_equal(background->text[0].data, text);
    assert_int_equal(urgent->error.code, OK);
    assert_int_equal(waiting->error.code, ERR_STOPPING);
    client_free(background);
    client_free(urgent);
    client_free(waiting);
    free(text);
    free(short_text);
}

/* ---- scenario S5 in small: eight streams want four sequences, somebody asks short questions
 * ------ */

static int by_value(const void *a, const void *b)
{
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return x < y ? -1 : x > y;
}

static size_t tokens_of(struct client *const *c, int n)
{
    size_t sum = 0;
    for (int i = 0; i < n; i++) {
        pthread_mutex_lock(&c[i]->lock);
        sum += c[i]->text[0].len;
        pthread_mutex_unlock(&c[i]->lock);
    }
    return sum;
}

/* The machine may be slow and busy, so the clock is what the streams get meanwhile. */
static void test_short_questions_under_load(void **state)
{
    (void)state;
    enum { STREAMS = 8, ASKED = 9 };
    struct fixture f;
    fixture_open(&f, "fake:ms=4,endless=1,ctx=20000", with_pausing(4));
    struct client *stream[STREAMS];
    size_t first[ASKED], all[ASKED];
    for (int i = 0; i < STREAMS; i++) stream[i] = ask(&f, (struct ask){.text = "background"});
    client_until(stream[3], stream[3]->text[0].len > 0);
    for (int i = 0; i < ASKED; i++) {
        size_t before = tokens_of(stream, STREAMS);
        struct client *c = ask(&f, (struct ask){.text = "short?", .priority = 1, .max_tokens = 16});
        client_until(c, c->text[0].len > 0);
        first[i] = tokens_of(stream, STREAMS) - before;
        client_wait(c);
        all[i] = tokens_of(stream, STREAMS) - before;
        assert_int_equal(c->timings.pauses, 0);
        client_free(c);
        sleep_ms(150);
    }
    qsort(first, ASKED, sizeof *first, by_value);
    qsort(all, ASKED, sizeof *all, by_value);
    assert_true(first[ASKED / 2] <= 20); /* five steps of four streams */
    assert_true(all[ASKED / 2] <= 80);   /* 16 tokens take 20 steps at most */
    assert_true(all[ASKED / 2] >= 4);    /* and the streams are not stopped */
    for (int i = 0; i < STREAMS; i++) cancel_and_free(&f, stream[i]);
    fixture_close(&f);
}

/* ---- by time slices
 * ------------------------------------------------------------------------------ */

/* One tenant holds all sequences with answers that never end; another one gets its share after a
 * slice, and the first goes on beside it. */
static void test_a_tenant_with_long_streams_shares_the_sequences(void **state)
{
    (void)state;
    enum { N = 4 };
    struct fixture f;
    struct sched_params params = with_pausing(N);
    params.slice_ms = 100;
    fixture_open(&f, "fake:ms=1,endless=1,ctx=100000", params);
    struct client *hog[N], *guest[N];
    for (int i = 0; i < N; i++) hog[i] = ask_long(&f, "h", "hog", 50);
    int64_t before = clock_mono_ns();
    for (int i = 0; i < N; i++)
        guest[i] = ask(&f, (struct ask){.text = "g", .tenant = "guest", .priority = 50});
    client_until(guest[0], guest[0]->text[0].len > 0);
    client_until(guest[1], guest[1]->text[0].len > 0);
    assert_true(guest[1]->started_ns - before < 10000000000);
    sleep_ms(100);
    int32_t started = 0, pauses = 0;
    for (int i = 0; i < N; i++) started += guest[i]->n_started;
    assert_int_equal(started, 2); /* half, not all */
    for (int i = 0; i < N; i++) sched_cancel(f.sched, hog[i]->id);
    for (int i = 0; i < N; i++) {
        client_wait(hog[i]);
        pauses += hog[i]->timings.pauses;
        client_free(hog[i]);
    }
    assert_int_equal(pauses, 2);
    for (int i = 0; i < N; i++) cancel_and_free(&f, guest[i]);
    fixture_close(&f);
}

/* One sequence, two tenants: they take turns, and both answers are what they would be alone. */
static void test_taking_turns_on_one_sequence(void **state)
{
    (void)state;
    struct fixture f;
    struct sched_params params = with_pausing(1);
    params.slice_ms = 50;
    char *a = long_text('a', 300), *b = long_text('b', 300);
    fixture_open(&f, "fake:ms=1", params);
    struct client *first = ask_long(&f, a, "a", 50);
    struct client *second = ask_long(&f, b, "b", 50);
    assert_false(first->done);
    client_wait(first);
    client_wait(second);
    assert_string_equal(first->text[0].data, a);
    assert_string_equal(second->text[0].data, b);
    assert_true(first->timings.pauses >= 1);
    assert_true(second->timings.pauses >= 1);
    assert_true(first->timings.pauses + second->timings.pauses < 20);
    client_free(first);
    client_free(second);
    free(a);
    free(b);
    fixture_close(&f);
}

static void test_no_slices_within_a_tenant_or_for_less_important_ones(void **state)
{
    (void)state;
    struct fixture f;
    struct sched_params params = with_pausing(1);
    params.slice_ms = 10;
    fixture_open(&f, "fake:ms=1", params);
    struct client *busy = ask_endless(&f);
    struct client *own = ask(&f, (struct ask){.text = "x", .tenant = "busy"});
    struct client *less = ask(&f, (struct ask){.text = "x", .tenant = "t", .priority = 51});
    sleep_ms(300);
    assert_int_equal(own->n_started + less->n_started, 0);
    cancel_and_free(&f, busy);
    client_wait(own);
    client_wait(less);
    client_free(own);
    client_free(less);
    fixture_close(&f);
}

/* Two tenants with many requests each, one of them with far longer answers and far more of them: in
 * the time both wait they get the same number of tokens. */
static void test_tenants_share_by_tokens(void **state)
{
    (void)state;
    enum { MANY = 60, FEW = 20 };
    struct fixture f;
    struct sched_params params = with_pausing(2);
    char *text = long_text('l', 90);
    fixture_open(&f, "fake:ms=1", params); /* the busy ones stay busy */
    struct client *busy[2] = {ask_endless(&f), ask_endless(&f)}, *greedy[MANY], *modest[FEW];
    for (int i = 0; i < MANY; i++)
        greedy[i] = ask(&f, (struct ask){.text = text, .tenant = "greedy", .max_tokens = 90});
    for (int i = 0; i < FEW; i++)
        modest[i] = ask(&f, (struct ask){.text = "short", .tenant = "modest", .max_tokens = 5});
    cancel_and_free(&f, busy[0]);
    cancel_and_free(&f, busy[1]);
    int last_modest = 0, before = 0;
    for (int i = 0; i < FEW; i++) {
        client_wait(modest[i]);
        if (modest[i]->order > last_modest) last_modest = modest[i]->order;
    }
    for (int i = 0; i < MANY; i++) {
        client_wait(greedy[i]);
        before += greedy[i]->order < last_modest;
        client_free(greedy[i]);
    }
    for (int i = 0; i < FEW; i++) client_free(modest[i]);
    /* 20 * (5 + 5) tokens and what the template adds against 180 and that: a few, not most */
    assert_in_range(before, 1, 8);
    free(text);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_urgent_request_does_not_wait_for_a_sequence),
        cmocka_unit_test(test_only_the_least_important_is_paused_and_only_for_clearly_more),
        cmocka_unit_test(test_without_pausing_the_urgent_waits),
        cmocka_unit_test(test_no_thrashing),
        cmocka_unit_test(test_choices_of_a_paused_request_all_go_on),
        cmocka_unit_test(test_pause_during_the_prompt_and_cancel_while_paused),
        cmocka_unit_test(test_a_paused_request_may_finish_at_a_stop),
        cmocka_unit_test(test_short_questions_under_load),
        cmocka_unit_test(test_a_tenant_with_long_streams_shares_the_sequences),
        cmocka_unit_test(test_taking_turns_on_one_sequence),
        cmocka_unit_test(test_no_slices_within_a_tenant_or_for_less_important_ones),
        cmocka_unit_test(test_tenants_share_by_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
