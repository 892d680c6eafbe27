/* The life of requests over the fake engine: order, ageing, capacity, cancel in every state,
 * deadlines, failures, stopping, many threads. */
#include "base/thread.h"
#include "unit/sched/harness.h"

static struct sched_params one_at_a_time(void)
{
    struct sched_params params = some_params();
    params.n_parallel = 1;
    return params;
}

/* ---- order --------------------------------------------------------------------------------- */

static void test_lower_priority_number_starts_first(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, "fake:ms=1", one_at_a_time());
    struct client *busy = ask_endless(&f), *c[4];
    const int32_t priorities[4] = {50, 10, 90, 10};
    const int32_t positions[4] = {0, 0, 2, 1};
    for (int i = 0; i < 4; i++) {
        c[i] = ask(&f, (struct ask){.text = "x", .priority = priorities[i]});
        client_until(c[i], c[i]->n_queued == 1);
        assert_int_equal(c[i]->position, positions[i]);
    }
    struct sched_stats st;
    sched_stats(f.sched, &st);
    assert_int_equal(st.running, 1);
    assert_int_equal(st.waiting, 4);
    cancel_and_free(&f, busy);
    for (int i = 0; i < 4; i++) client_wait(c[i]);
    assert_true(c[1]->order < c[3]->order); /* first come, first served */
    assert_true(c[3]->order < c[0]->order);
    assert_true(c[0]->order < c[2]->order);
    for (int i = 0; i < 4; i++) client_free(c[i]);
    fixture_close(&f);
}

static void test_waiting_raises_priority(void **state)
{
    (void)state;
    for (int ageing = 0; ageing < 2; ageing++) {
        struct fixture f;
        struct sched_params params = one_at_a_time();
        params.ageing_ms = ageing; /* 0 = off, or one step each millisecond */
        fixture_open(&f, "fake:ms=1", params);
        struct client *busy = ask_endless(&f);
        struct client *old = ask(&f, (struct ask){.text = "x", .priority = 60});
        client_until(old, old->n_queued == 1);
        sleep_ms(30);
        struct client *young = ask(&f, (struct ask){.text = "x", .priority = 50});
        client_until(young, young->n_queued == 1);
        struct sched_stats st;
        sched_stats(f.sched, &st);
        assert_true(st.oldest_wait_ms >= 30);
        cancel_and_free(&f, busy);
        client_wait(old);
        client_wait(young);
        assert_true(ageing ? old->order < young->order : young->order < old->order);
        client_free(old);
        client_free(young);
        fixture_close(&f);
    }
}

static void test_full_queue_refuses_with_the_numbers(void **state)
{
    (void)state;
    struct fixture f;
    struct sched_params params = one_at_a_time();
    params.queue_capacity = 2;
    fixture_open(&f, "fake:ms=1", params);
    struct client *busy = ask_endless(&f);
    struct client *a = ask(&f, (struct ask){.text = "a"}), *b = ask(&f, (struct ask){.text = "b"});
    struct client *c = client_new();
    struct error error;
    assert_int_equal(try_ask(&f, c, (struct ask){.text = "c"}, &error), ERR_BUSY);
    assert_non_null(strstr(error.msg, "2 requests wait"));
    assert_non_null(strstr(error.msg, "1 are running"));
    struct sched_stats st;
    sched_stats(f.sched, &st);
    assert_int_equal(st.rejected, 1);
    assert_int_equal(st.waiting, 2);
    assert_int_equal(st.capacity, 2);
    sched_cancel(f.sched, a->id); /* a place becomes free */
    client_wait(a);
    assert_int_equal(try_ask(&f, c, (struct ask){.text = "c"}, &error), OK);
    cancel_and_free(&f, busy);
    client_wait(b);
    client_wait(c);
    sched_stats(f.sched, &st);
    assert_int_equal(st.total, 4);
    assert_int_equal(st.cancelled, 2);
    client_free(a);
    client_free(b);
    client_free(c);
    fixture_close(&f);
}

/* Idle sequences count: a burst as large as both together is taken. */
static void test_a_burst_into_an_idle_hub_is_not_refused(void **state)
{
    (void)state;
    struct fixture f;
    struct sched_params params = some_params();
    params.queue_capacity = 1;
    fixture_open(&f, "fake:ms=2", params);
    struct client *c[9];
    for (int i = 0; i < 9; i++) c[i] = ask(&f, (struct ask){.text = "xyz"});
    for (int i = 0; i < 9; i++) {
        client_wait(c[i]);
        client_free(c[i]);
    }
    fixture_close(&f);
}

/* ---- cancelling ---------------------------------------------------------------------------- */

static void test_cancel_queued_running_and_finished(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, "fake:ms=1", one_at_a_time());
    struct client *busy = ask_endless(&f), *waiting = ask(&f, (struct ask){.text = "x"});
    sched_cancel(f.sched, waiting->id);
    client_wait(waiting);
    assert_int_equal(waiting->error.code, ERR_CANCELLED);
    assert_int_equal(waiting->n_started, 0);
    sched_cancel(f.sched, waiting->id); /* twice is harmless */
    sched_cancel(f.sched, 999999);      /* unknown too */
    cancel_and_free(&f, busy);
    struct client *c = ask(&f, (struct ask){.text = "fine"});
    client_wait(c);
    assert_int_equal(c->error.code, OK);
    sched_cancel(f.sched, c->id); /* too late */
    client_free(waiting);
    client_free(c);
    struct sched_stats st;
    sched_stats(f.sched, &st);
    assert_int_equal(st.cancelled, 2);
    fixture_close(&f);
}

/* A batch of 512 tokens takes 1 s here; a cancel must not wait for its end. */
static void test_cancel_in_the_middle_of_a_prefill(void **state)
{
    (void)state;
    for (int no_partial = 0; no_partial < 2; no_partial++) {
        struct fixture f;
        fixture_open(&f, no_partial ? "fake:token_us=2000,no_partial=1" : "fake:token_us=2000",
                     some_params());
        char *text = calloc(1, 3001);
        memset(text, 'p', 3000);
        struct client *c = ask(&f, (struct ask){.text = text});
        client_until(c, c->n_started == 1);
        sleep_ms(30);
        int64_t before = clock_mono_ns();
        sched_cancel(f.sched, c->id);
        client_wait(c);
        assert_int_equal(c->error.code, ERR_CANCELLED);
        assert_true(c->done_ns - before < 300000000);
        client_free(c);
        c = ask(&f, (struct ask){.text = "pp"}); /* the sequence is usable afterwards */
        client_wait(c);
        assert_string_equal(c->text[0].data, "pp");
        client_free(c);
        free(text);
        fixture_close(&f);
    }
}

/* The cancelled prefill shares its batch with a stream, which must not notice. */
static void test_cancel_beside_a_stream(void **state)
{
    (void)state;
    struct fixture f;
    char text[600] = {0};
    memset(text, 's', 400);
    fixture_open(&f, "fake:token_us=100", some_params());
    struct client *stream = ask(&f, (struct ask){.text = text});
    client_until(stream, stream->text[0].len > 3);
    for (int i = 0; i < 10; i++) {
        memset(text, 'p', 500);
        struct client *c = ask(&f, (struct ask){.text = text});
        sleep_ms(i);
        sched_cancel(f.sched, c->id);
        client_wait(c);
        assert_int_equal(c->error.code, ERR_CANCELLED);
        client_free(c);
    }
    memset(text, 0, sizeof text);
    memset(text, 's', 400);
    client_wait(stream);
    assert_string_equal(stream->text[0].data, text);
    client_free(stream);
    fixture_close(&f);
}

/* A batch of several physical ones is stopped in its middle, when some tokens are in the cells. */
static void test_cancel_in_the_middle_of_a_batch(void **state)
{
    (void)state;
    struct fixture f;
    struct sched_params params = some_params();
    params.n_parallel = 2;
    params.n_ubatch = 64;
    fixture_open(&f, "fake:token_us=1000", params);
    char text[201] = {0};
    memset(text, 'p', 200);
    for (int round = 0; round < 3; round++) {
        struct client *stream = ask_endless(&f);
        struct client *prefill = ask(&f, (struct ask){.text = text});
        client_until(prefill, prefill->n_started == 1);
        sleep_ms(100); /* of 205 */
        sched_cancel(f.sched, prefill->id);
        sched_cancel(f.sched, stream->id);
        client_wait(prefill);
        client_wait(stream);
        client_free(prefill);
        client_free(stream);
        struct client *c[2]; /* both sequences are usable afterwards */
        for (int i = 0; i < 2; i++) c[i] = ask(&f, (struct ask){.text = "pp"});
        for (int i = 0; i < 2; i++) {
            client_wait(c[i]);
            assert_string_equal(c[i]->text[0].data, "pp");
            client_free(c[i]);
        }
    }
    fixture_close(&f);
}

/* ---- deadlines ----------------------------------------------------------------------------- */

static void test_deadline(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, "fake:ms=5,endless=1", one_at_a_time());
    struct client *busy = ask(&f, (struct ask){.text = "busy", .max_tokens = 120}); /* 0.6 s */
    client_until(busy, busy->text[0].len > 0);
    int64_t soon = clock_mono_ms() + 300;
    struct client *late = ask(&f, (struct ask){.text = "x", .deadline_ms = soon});
    struct client *patient =
        ask(&f, (struct ask){.text = "x", .max_tokens = 5, .deadline_ms = soon + 60000});
    client_wait(late);
    assert_int_equal(late->error.code, ERR_TIMEOUT);
    assert_true(late->done_ns / 1000000 >= soon);
    assert_false(patient->done);
    client_wait(busy);
    client_free(busy);
    client_wait(patient);
    assert_int_equal(patient->error.code, OK);
    client_free(late);
    client_free(patient);
    fixture_close(&f);
}

/* ---- failures ------------------------------------------------------------------------------ */

static void test_failed_batch_ends_its_requests_only(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, "fake:fail_decode=5", one_at_a_time());
    struct client *c = ask(&f, (struct ask){.text = "0123456789"});
    struct client *next = ask(&f, (struct ask){.text = "0123456789"});
    client_wait(c);
    assert_int_equal(c->error.code, ERR_ENGINE);
    assert_int_equal(c->text[0].len, 4);
    client_wait(next);
    assert_int_equal(next->error.code, OK);
    assert_int_equal(next->usage.cached_tokens, 0); /* nothing of the failed one is trusted */
    assert_string_equal(next->text[0].data, "0123456789");
    client_free(c);
    client_free(next);
    fixture_close(&f);
}

#if HEARTH_FAULTS
static void test_injected_decode_faults(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, "fake:", some_params());
    for (int nth = 1; nth < 12; nth++) {
        fault_arm(FAULT_decode, nth, false);
        struct client *a = ask(&f, (struct ask){.text = "0123456789", .n = 2});
        struct client *b = ask(&f, (struct ask){.text = "abc"});
        client_wait(a);
        client_wait(b);
        fault_arm(FAULT_decode, 0, false);
        assert_true(a->error.code == OK || a->error.code == ERR_ENGINE);
        assert_true(b->error.code == OK || b->error.code == ERR_ENGINE);
        if (a->error.code == OK) assert_string_equal(a->text[1].data, "0123456789");
        client_free(a);
        client_free(b);
    }
    struct client *c = ask(&f, (struct ask){.text = "fine"});
    client_wait(c);
    assert_string_equal(c->text[0].data, "fine");
    client_free(c);
    fixture_close(&f);
}

/* Whichever allocation of a request fails: an error now or as its last event, and all goes on. */
static void test_injected_allocation_faults(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, "fake:", some_params());
    for (int nth = 1; nth <= 4; nth++) { /* stop strings (2), the tokens of each choice (2) */
        struct client *c = client_new();
        struct error error;
        struct engine_prompt *p = make_prompt(f.model, "0123456789");
        const char *stop = "never";
        struct sched_generate g = {.model = f.model,
                                   .prompt = p,
                                   .sampling = {.repeat_penalty = 1.1f, .repeat_last_n = -1},
                                   .stop = &stop,
                                   .n_stop = 1,
                                   .n = 2,
                                   .max_tokens = -1,
                                   .listener = client_listen,
                                   .listener_ctx = c};
        fault_arm(FAULT_alloc, nth, false);
        enum err e = sched_generate(f.sched, &g, &c->id, &error);
        if (e) {
            fault_arm(FAULT_alloc, 0, false);
            assert_int_equal(e, ERR_NOMEM);
            assert_int_equal(c->n_last, 0);
            engine_prompt_free(p);
        } else {
            client_wait(c);
            fault_arm(FAULT_alloc, 0, false);
            assert_int_equal(c->error.code, ERR_NOMEM);
        }
        client_free(c);
    }
    struct client *c = ask(&f, (struct ask){.text = "fine"});
    client_wait(c);
    assert_string_equal(c->text[0].data, "fine");
    client_free(c);
    fixture_close(&f);
}
#endif

static void test_wrong_kind_of_model(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, "fake:kind=raw", some_params());
    const int32_t tokens[] = {1, 2};
    const int32_t *inputs[] = {tokens};
    const size_t n_tokens[] = {2};
    struct client *c = client_new();
    struct sched_embed e = {.model = f.model,
                            .inputs = inputs,
                            .n_tokens = n_tokens,
                            .n_inputs = 1,
                            .listener = client_listen,
                            .listener_ctx = c};
    struct error error;
    assert_int_equal(sched_embed(f.sched, &e, &c->id, &error), ERR_UNSUPPORTED);
    assert_non_null(strstr(error.msg, "fake"));
    client_free(c);
    fixture_close(&f);
}

static void test_arguments_out_of_bounds(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, "fake:", some_params());
    struct client *c = client_new();
    struct error error;
    char *big = calloc(1, 5000);
    memset(big, 'a', 4999);
    assert_int_equal(try_ask(&f, c, (struct ask){.text = "x", .tenant = big}, &error), ERR_INVALID);
    assert_int_equal(try_ask(&f, c, (struct ask){.text = "x", .stop = big}, &error), ERR_INVALID);
    free(big);
    client_free(c);
    fixture_close(&f);
}

/* ---- stopping ------------------------------------------------------------------------------ */

static void test_stop_lets_running_requests_finish(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, "fake:ms=2", one_at_a_time());
    struct client *running = ask(&f, (struct ask){.text = "01234567890123456789"});
    client_until(running, running->text[0].len > 0);
    struct client *waiting = ask(&f, (struct ask){.text = "x"});
    client_until(waiting, waiting->n_queued == 1);
    sched_free(f.sched, 10000);
    engine_close(f.engine);
    client_wait(running);
    client_wait(waiting);
    assert_int_equal(running->error.code, OK);
    assert_string_equal(running->text[0].data, "01234567890123456789");
    assert_int_equal(waiting->error.code, ERR_STOPPING);
    client_free(running);
    client_free(waiting);
}

static void test_stop_ends_what_outlives_the_grace(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, "fake:token_us=20000", some_params()); /* a batch may take ten seconds */
    char *text = calloc(1, 3001);
    memset(text, 'p', 3000);
    struct client *prefill = ask(&f, (struct ask){.text = text});
    client_until(prefill, prefill->n_started == 1);
    int64_t before = clock_mono_ms();
    sched_free(f.sched, 60);
    assert_in_range(clock_mono_ms() - before, 60, 5000);
    engine_close(f.engine);
    client_wait(prefill);
    assert_int_equal(prefill->error.code, ERR_STOPPING);
    client_free(prefill);
    free(text);
}

struct submitter {
    struct fixture *f;
    struct client *c[100];
    enum err e[100];
    int stopping;
};

static void *submit_many(void *arg)
{
    struct submitter *s = arg;
    struct error error;
    for (int i = 0; i < 100; i++) {
        s->c[i] = client_new();
        s->e[i] = try_ask(s->f, s->c[i], (struct ask){.text = "abc"}, &error);
        s->stopping += s->e[i] == ERR_STOPPING;
        if (i == 50) sched_cancel(s->f->sched, s->c[i]->id);
    }
    return NULL;
}

/* Everything taken before the stop gets its last event; nothing is called afterwards. */
static void test_stop_with_a_full_queue(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, "fake:ms=1", one_at_a_time());
    struct submitter s = {.f = &f};
    pthread_t t;
    struct error error;
    assert_int_equal(thread_start(&t, "submit", submit_many, &s, &error), OK);
    thread_join(t);
    sched_free(f.sched, 20);
    engine_close(f.engine);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(s.e[i], OK);
        assert_int_equal(s.c[i]->n_last, 1);
        client_free(s.c[i]);
    }
}

/* ---- many threads -------------------------------------------------------------------------- */

enum { THREADS = 4, EACH = 50 };

struct storm {
    struct fixture *f;
    uint32_t seed;
    int wrong;
};

static uint32_t roll(struct storm *s, uint32_t n)
{
    s->seed = s->seed * 1664525 + 1013904223;
    return (s->seed >> 16) % n;
}

static void *storm_main(void *arg)
{
    struct storm *s = arg;
    static const char *const tenants[] = {"", "alice", "bob"};
    struct client *c[EACH];
    bool cancelled[EACH] = {0};
    for (int i = 0; i < EACH; i++) {
        c[i] = client_new();
        struct error error;
        struct ask a = {.text = "a common beginning, and then some more text",
                        .tenant = tenants[roll(s, 3)],
                        .priority = 1 + (int32_t)roll(s, 99),
                        .n = 1 + (int32_t)roll(s, 3)};
        if (try_ask(s->f, c[i], a, &error)) s->wrong++;
        if (roll(s, 4)) continue;
        cancelled[i] = true;
        sleep_ms(roll(s, 3));
        sched_cancel(s->f->sched, c[i]->id);
    }
    for (int i = 0; i < EACH; i++) {
        client_wait(c[i]);
        if (c[i]->error.code == OK)
            s->wrong += strcmp(c[i]->text[0].data, "a common beginning, and then some more text");
        else
            s->wrong += c[i]->error.code != ERR_CANCELLED || !cancelled[i];
        client_free(c[i]);
    }
    return NULL;
}

static void test_200_requests_from_4_threads(void **state)
{
    (void)state;
    struct fixture f;
    struct sched_params params = some_params();
    params.n_ctx = 500; /* a shortage of cells, too */
    fixture_open(&f, "fake:", params);
    struct storm storms[THREADS];
    pthread_t threads[THREADS];
    struct error error;
    for (uint32_t i = 0; i < THREADS; i++) {
        storms[i] = (struct storm){&f, i + 1, 0};
        assert_int_equal(thread_start(&threads[i], "storm", storm_main, &storms[i], &error), OK);
    }
    for (int i = 0; i < THREADS; i++) {
        thread_join(threads[i]);
        assert_int_equal(storms[i].wrong, 0);
    }
    struct sched_stats st;
    sched_stats(f.sched, &st);
    assert_int_equal(st.running, 0);
    assert_int_equal(st.waiting, 0);
    assert_int_equal(st.total, THREADS * EACH);
    fixture_close(&f);
}

static int64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return t.tv_sec * 1000000000 + t.tv_nsec;
}

static void test_idle_costs_no_processor_time(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, "fake:", some_params());
    struct client *c = ask(&f, (struct ask){.text = "x"});
    client_wait(c);
    client_free(c);
    int64_t before = cpu_ns();
    sleep_ms(300);
    assert_true(cpu_ns() - before < 30000000); /* a busy loop takes 300 */
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lower_priority_number_starts_first),
        cmocka_unit_test(test_waiting_raises_priority),
        cmocka_unit_test(test_full_queue_refuses_with_the_numbers),
        cmocka_unit_test(test_a_burst_into_an_idle_hub_is_not_refused),
        cmocka_unit_test(test_cancel_queued_running_and_finished),
        cmocka_unit_test(test_cancel_in_the_middle_of_a_prefill),
        cmocka_unit_test(test_cancel_beside_a_stream),
        cmocka_unit_test(test_cancel_in_the_middle_of_a_batch),
        cmocka_unit_test(test_deadline),
        cmocka_unit_test(test_failed_batch_ends_its_requests_only),
#if HEARTH_FAULTS
        cmocka_unit_test(test_injected_decode_faults),
        cmocka_unit_test(test_injected_allocation_faults),
#endif
        cmocka_unit_test(test_wrong_kind_of_model),
        cmocka_unit_test(test_arguments_out_of_bounds),
        cmocka_unit_test(test_stop_lets_running_requests_finish),
        cmocka_unit_test(test_stop_ends_what_outlives_the_grace),
        cmocka_unit_test(test_stop_with_a_full_queue),
        cmocka_unit_test(test_200_requests_from_4_threads),
        cmocka_unit_test(test_idle_costs_no_processor_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
