/* Loading models: in the background, joined, failed and tried again, taken back, stopped. */
#include "unit/sched/harness.h"

static void test_load_in_the_background(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, "fake:", some_params());
    struct loading l = LOADING_INIT;
    assert_int_equal(load_begin(f.sched, "slow", "fake:load_ms=200", &l), OK);
    assert_null(sched_find(f.sched, "slow"));
    struct client *c = ask(&f, (struct ask){.text = "meanwhile"}); /* others go on */
    client_wait(c);
    assert_string_equal(c->text[0].data, "meanwhile");
    struct sched_model_status st[4];
    assert_int_equal(sched_models(f.sched, st, 4), 2);
    assert_string_equal(st[1].id, "slow");
    assert_int_equal(st[1].state, MODEL_LOADING);
    assert_int_equal(sched_models(f.sched, st, 1), 2); /* there are more than fit */
    struct sched_model *m = load_wait(&l);
    assert_ptr_equal(sched_find(f.sched, "slow"), m);
    sched_model_unref(m);
    assert_non_null(sched_engine_model(m));
    assert_string_equal(sched_model_id(m), "slow");
    assert_true(atomic_load(&l.progress_calls) >= 5);
    sched_models(f.sched, st, 4);
    assert_int_equal(st[1].state, MODEL_READY);
    assert_int_equal(st[1].n_ctx, 4096);
    client_free(c);
    fixture_close(&f);
}

static void test_second_load_joins_the_first(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, NULL, some_params());
    int64_t loads = metric_value(METRIC_model_load_seconds);
    struct loading a = LOADING_INIT, b = LOADING_INIT, c = LOADING_INIT;
    assert_int_equal(load_begin(f.sched, "m", "fake:load_ms=50", &a), OK);
    assert_int_equal(load_begin(f.sched, "m", "fake:load_ms=50", &b), OK);
    assert_ptr_equal(load_wait(&a), load_wait(&b));
    assert_int_equal(load_begin(f.sched, "m", "fake:load_ms=50", &c), OK);
    assert_int_equal(c.done, 1); /* it was there already */
    assert_ptr_equal(c.model, a.model);
    assert_int_equal(metric_value(METRIC_model_load_seconds) - loads, 1);
    fixture_close(&f);
}

static void test_failed_load_can_be_tried_again(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, NULL, some_params());
    struct loading l = LOADING_INIT;
    assert_int_equal(load_begin(f.sched, "m", "fake:fail_load=the file is torn", &l), OK);
    assert_null(load_wait(&l));
    assert_int_equal(l.error.code, ERR_MODEL_FILE);
    assert_non_null(strstr(l.error.msg, "the file is torn"));
    assert_null(sched_find(f.sched, "m"));
    struct sched_model_status st;
    assert_int_equal(sched_models(f.sched, &st, 1), 1);
    assert_int_equal(st.state, MODEL_FAILED);
    assert_string_equal(st.error.msg, l.error.msg);
    f.model = load_model(f.sched, "m", "fake:");
    sched_models(f.sched, &st, 1);
    assert_int_equal(st.error.code, OK);
    struct client *c = ask(&f, (struct ask){.text = "works"});
    client_wait(c);
    assert_string_equal(c->text[0].data, "works");
    client_free(c);
    fixture_close(&f);
}

static void test_context_that_does_not_fit_is_made_smaller_or_refused(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, NULL, some_params());
    struct loading l = LOADING_INIT;
    assert_int_equal(load_begin(f.sched, "m", "fake:fail_ctx=1", &l), OK);
    assert_null(load_wait(&l));
    assert_int_equal(l.error.code, ERR_NOMEM);
    fixture_close(&f);
}

static void test_listener_taken_back(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, NULL, some_params());
    struct loading a = LOADING_INIT, b = LOADING_INIT;
    assert_int_equal(load_begin(f.sched, "m", "fake:load_ms=100", &a), OK);
    assert_int_equal(load_begin(f.sched, "m", "fake:load_ms=100", &b), OK);
    assert_true(sched_load_forget(f.sched, "m", &a));
    assert_false(sched_load_forget(f.sched, "m", &a));
    assert_false(sched_load_forget(f.sched, "other", &b));
    assert_non_null(load_wait(&b));
    assert_int_equal(a.done, 0);
    assert_false(sched_load_forget(f.sched, "m", &b)); /* too late */
    fixture_close(&f);
}

static void test_stop_during_a_load(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, NULL, some_params());
    struct loading a = LOADING_INIT, b = LOADING_INIT;
    assert_int_equal(load_begin(f.sched, "a", "fake:load_ms=20000", &a), OK);
    assert_int_equal(load_begin(f.sched, "b", "fake:load_ms=20000", &b), OK);
    sleep_ms(20);
    int64_t before = clock_mono_ms();
    fixture_close(&f);
    assert_true(clock_mono_ms() - before < 5000);
    assert_int_equal(a.done, 1);
    assert_int_equal(a.error.code, ERR_STOPPING);
    assert_int_equal(b.done, 1);
    assert_int_equal(b.error.code, ERR_STOPPING);
}

static void test_name_too_long(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, NULL, some_params());
    char id[MODEL_ID_MAX + 1] = {0};
    memset(id, 'm', MODEL_ID_MAX);
    struct loading l = LOADING_INIT;
    assert_int_equal(load_begin(f.sched, id, "fake:", &l), ERR_INVALID);
    fixture_close(&f);
}

#if HEARTH_FAULTS
static void test_injected_faults(void **state)
{
    (void)state;
    struct fixture f;
    struct error error;
    struct sched *s;
    fixture_open(&f, NULL, some_params());
    for (int nth = 1; nth <= 2; nth++) { /* neither thread can be started */
        struct sched_params params = some_params();
        params.engine = f.engine;
        fault_arm(FAULT_thread, nth, false);
        assert_int_not_equal(sched_new(&params, &s, &error), OK);
    }
    fault_arm(FAULT_thread, 0, false);
    struct loading l = LOADING_INIT;
    fault_arm(FAULT_load, 1, false);
    assert_int_equal(load_begin(f.sched, "m", "fake:", &l), OK);
    assert_null(load_wait(&l));
    fault_arm(FAULT_alloc, 1, true);
    struct loading again = LOADING_INIT;
    assert_int_equal(load_begin(f.sched, "m", "fake:", &again), OK);
    assert_null(load_wait(&again));
    fault_arm(FAULT_alloc, 0, false);
    assert_int_equal(again.error.code, ERR_NOMEM);
    load_model(f.sched, "m", "fake:");
    fixture_close(&f);
}
#endif

/* Where memory has no room for all sequences, a request may still be as long as the model allows.
 */
static void test_short_memory_makes_a_pool(void **state)
{
    (void)state;
    struct fixture f;
    struct sched_params params = some_params();
    params.shared_kv = false;
    params.memory = 1400; /* 1000 for the weights, 400 cells: not 8 x 300 */
    fixture_open(&f, "fake:ctx=300,cell=1,endless=1", params);
    assert_int_equal(sched_model_ctx(f.model), 300);
    struct client *c[3]; /* together more than the cells: they take turns, none is cut short */
    for (int i = 0; i < 3; i++) c[i] = ask(&f, (struct ask){.text = "go"});
    for (int i = 0; i < 3; i++) {
        client_wait(c[i]);
        assert_int_equal(c[i]->error.code, OK);
        assert_int_equal(c[i]->usage.prompt_tokens + c[i]->usage.completion_tokens, 300);
        client_free(c[i]);
    }
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load_in_the_background),
        cmocka_unit_test(test_second_load_joins_the_first),
        cmocka_unit_test(test_failed_load_can_be_tried_again),
        cmocka_unit_test(test_context_that_does_not_fit_is_made_smaller_or_refused),
        cmocka_unit_test(test_listener_taken_back),
        cmocka_unit_test(test_stop_during_a_load),
        cmocka_unit_test(test_name_too_long),
        cmocka_unit_test(test_short_memory_makes_a_pool),
#if HEARTH_FAULTS
        cmocka_unit_test(test_injected_faults),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
