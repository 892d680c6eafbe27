/* What waiting clients are told: position and wait, again when they change, refusals with an
 * estimate; and what the queue says of itself. Over the fake engine, whose speed is known. */
#include "unit/sched/harness.h"

static struct sched_params one_at_a_time(void)
{
    struct sched_params params = some_params();
    params.n_parallel = 1;
    return params;
}

/* Answers of 50 tokens at 2 ms each: 0.1 s for each request, once that is known. */
static void learn(struct fixture *f)
{
    for (int i = 0; i < 12; i++) {
        struct client *c =
            ask(f, (struct ask){.text = "busy", .ignore_eos = true, .max_tokens = 50});
        client_wait(c);
        client_free(c);
    }
}

static struct client *ask_50(struct fixture *f, int64_t deadline_ms)
{
    return ask(
        f, (struct ask){
               .text = "busy", .ignore_eos = true, .max_tokens = 50, .deadline_ms = deadline_ms});
}

static void test_nothing_is_promised_before_anything_is_known(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, "fake:ms=1000", one_at_a_time());
    struct client *first = ask(&f, (struct ask){.text = "x"});
    client_until(first, first->n_started == 1);
    /* Not refused either: it may be possible. */
    struct client *c = ask_50(&f, clock_mono_ms() + 50);
    sched_cancel(f.sched, first->id);
    client_wait(first);
    client_until(c, c->n_queued + c->n_started > 0);
    if (c->n_queued) assert_int_equal(c->wait_ms, -1);
    sched_cancel(f.sched, c->id);
    client_wait(c);
    client_free(first);
    client_free(c);
    fixture_close(&f);
}

static void test_waits_are_about_right(void **state)
{
    (void)state;
    enum { N = 6 };
    struct fixture f;
    fixture_open(&f, "fake:ms=2", one_at_a_time());
    learn(&f);
    struct client *c[N];
    int64_t asked_ns = clock_mono_ns();
    for (int i = 0; i < N; i++) c[i] = ask_50(&f, 0);
    int64_t told[N] = {0};
    for (int i = 1; i < N; i++) {
        client_until(c[i], c[i]->n_queued > 0);
        told[i] = c[i]->wait_ms;
        if (i > 1) assert_true(told[i] > told[i - 1]);
    }
    for (int i = 0; i < N; i++) client_wait(c[i]);
    for (int i = 2; i < N; i++) {
        int64_t real_ms = (c[i]->started_ns - asked_ns) / 1000000;
        assert_true(told[i] > real_ms / 3 && told[i] < real_ms * 3);
    }
    for (int i = 0; i < N; i++) client_free(c[i]);
    fixture_close(&f);
}

static void test_positions_are_told_again_when_they_change(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, "fake:ms=1", one_at_a_time());
    struct client *busy = ask_endless(&f), *c[4];
    for (int i = 0; i < 4; i++) {
        c[i] = ask(&f, (struct ask){.text = "x"});
        client_until(c[i], c[i]->n_queued == 1);
        assert_int_equal(c[i]->position, i);
    }
    sched_cancel(f.sched, c[1]->id);
    client_until(c[3], c[3]->position == 2);
    client_until(c[2], c[2]->position == 1);
    assert_int_equal(c[3]->n_queued, 2);
    sleep_ms(600);
    assert_int_equal(c[3]->n_queued, 2); /* nothing has changed: not told again */
    assert_int_equal(c[0]->n_queued, 1);
    /* Many changes in a short time: told once or twice. */
    int64_t since = clock_mono_ms();
    struct client *urgent[30];
    for (int i = 0; i < 30; i++)
        urgent[i] = ask(&f, (struct ask){.text = "x", .priority = 10 + i % 3});
    client_until(c[3], c[3]->position == 32);
    assert_in_range(c[3]->n_queued, 3, 5 + 2 * (clock_mono_ms() - since) / 1000);
    for (int i = 0; i < 30; i++) cancel_and_free(&f, urgent[i]);
    cancel_and_free(&f, busy);
    for (int i = 0; i < 4; i++) client_wait(c[i]);
    for (int i = 0; i < 4; i++) client_free(c[i]);
    fixture_close(&f);
}

static void test_a_hopeless_deadline_is_refused_at_once(void **state)
{
    (void)state;
    enum { N = 40 };
    struct fixture f;
    fixture_open(&f, "fake:ms=2", one_at_a_time());
    learn(&f);
    struct client *c[N]; /* four seconds of work */
    for (int i = 0; i < N; i++) c[i] = ask_50(&f, 0);
    int64_t before = clock_mono_ms();
    struct client *hopeless = ask_50(&f, before + 2000);
    client_wait(hopeless);
    assert_true(clock_mono_ms() < before + 2000); /* before its deadline */
    assert_int_equal(hopeless->error.code, ERR_BUSY);
    assert_true(hopeless->error.retry_after_s >= 1 && hopeless->error.retry_after_s < 30);
    assert_non_null(strstr(hopeless->error.msg, "are before it"));
    assert_int_equal(hopeless->n_queued, 0);
    struct client *possible = ask_50(&f, clock_mono_ms() + 60000);
    struct client *urgent = ask(&f, (struct ask){.text = "x",
                                                 .max_tokens = 2,
                                                 .priority = 1,
                                                 .deadline_ms = clock_mono_ms() + 2000});
    client_wait(urgent); /* the same deadline, but it does not have to wait for all of them */
    assert_int_equal(urgent->error.code, OK);
    struct sched_stats st;
    sched_stats(f.sched, &st);
    assert_int_equal(st.rejected, 1);
    client_until(possible, possible->n_queued > 0);
    for (int i = 0; i < N; i++) {
        sched_cancel(f.sched, c[i]->id);
        client_wait(c[i]);
        client_free(c[i]);
    }
    client_wait(possible);
    assert_int_equal(possible->error.code, OK);
    client_free(possible);
    client_free(urgent);
    client_free(hopeless);
    fixture_close(&f);
}

static void test_a_full_queue_says_when_to_come_back(void **state)
{
    (void)state;
    struct fixture f;
    struct sched_params params = one_at_a_time();
    params.queue_capacity = 2;
    fixture_open(&f, "fake:ms=20", params);
    int64_t since = clock_mono_ms();
    for (int i = 0; i < 2; i++) { /* learns: 40 tokens, 0.8 s, or more on a busy machine */
        struct client *c = ask(&f, (struct ask){.text = "x", .ignore_eos = true, .max_tokens = 40});
        client_wait(c);
        client_free(c);
    }
    int64_t took_s =
        (clock_mono_ms() - since) * 5 / 1000; /* 400 tokens, since none ends by itself */
    struct client *c[3];
    for (int i = 0; i < 3; i++)
        c[i] = ask(&f, (struct ask){.text = "x", .ignore_eos = true, .max_tokens = 400});
    client_until(c[2], c[2]->n_queued == 1);
    struct client *refused = client_new();
    struct error error = {0};
    assert_int_equal(try_ask(&f, refused, (struct ask){.text = "x"}, &error), ERR_BUSY);
    assert_in_range(error.retry_after_s, 7, 4 + 2 * took_s);
    assert_non_null(strstr(error.msg, "try again in about"));
    for (int i = 0; i < 3; i++) cancel_and_free(&f, c[i]);
    client_free(refused);
    fixture_close(&f);
}

static void test_state_of_the_queue(void **state)
{
    (void)state;
    struct fixture f;
    struct sched_params params = one_at_a_time();
    params.ageing_ms = 1000;
    fixture_open(&f, "fake:ms=1", params);
    struct sched_queue q;
    sched_queue(f.sched, &q);
    assert_int_equal(q.waiting, 0);
    assert_int_equal(q.oldest_ms, -1);
    struct client *busy = ask_endless(&f), *c[5];
    const int32_t priorities[5] = {50, 50, 10, 99, 50};
    for (int i = 0; i < 5; i++) {
        c[i] = ask(
            &f,
            (struct ask){.text = "x", .priority = priorities[i], .tenant = i % 2 ? "odd" : "even"});
        client_until(c[i], c[i]->n_queued > 0);
    }
    sleep_ms(30); /* a few batches later it is published for sure */
    sched_queue(f.sched, &q);
    assert_int_equal(q.running, 1);
    assert_int_equal(q.waiting, 5);
    assert_int_equal(q.tenants, 2);
    assert_int_equal(q.by_priority[50], 3);
    assert_int_equal(q.by_priority[10], 1);
    assert_int_equal(q.by_priority[99], 1);
    assert_true(q.oldest_ms > 0 && q.oldest_ms <= clock_mono_ms() - 30);
    assert_int_equal(q.n_models, 1);
    assert_string_equal(q.models[0].id, "fake");
    assert_int_equal(q.models[0].waiting, 5);
    cancel_and_free(&f, busy);
    for (int i = 0; i < 5; i++) {
        client_wait(c[i]);
        client_free(c[i]);
    }
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_promised_before_anything_is_known),
        cmocka_unit_test(test_waits_are_about_right),
        cmocka_unit_test(test_positions_are_told_again_when_they_change),
        cmocka_unit_test(test_a_hopeless_deadline_is_refused_at_once),
        cmocka_unit_test(test_a_full_queue_says_when_to_come_back),
        cmocka_unit_test(test_state_of_the_queue),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
