/* Memory that a child shares: metrics of both, what it was doing, and what becomes of its gauges.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/doing.h"
#include "base/metrics.h"
#include "base/shared.h"

static int fd;

/* Runs `what` in a child that has attached itself. */
static void in_child(void (*what)(void))
{
    struct error error;
    shared_child_starts();
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (shared_attach(fd, &error)) _exit(1);
        what();
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void count(void)
{
    metric_add(METRIC_generated_tokens_total, 5);
    metric_add(METRIC_requests_running, 3);
    metric_observe_ns(METRIC_model_load_seconds, 1000000);
}

static void test_both_count_and_gauges_go_back(void **state)
{
    (void)state;
    struct error error;
    metric_add(METRIC_generated_tokens_total, 2); /* before there was shared memory */
    assert_int_equal(shared_open(&fd, &error), OK);
    assert_int_equal(metric_value(METRIC_generated_tokens_total), 2);
    metric_add(METRIC_requests_running, 1);
    in_child(count);
    assert_int_equal(metric_value(METRIC_generated_tokens_total), 7);
    assert_int_equal(metric_value(METRIC_model_load_seconds), 1);
    assert_int_equal(metric_value(METRIC_requests_running), 4);
    shared_child_ended();
    assert_int_equal(metric_value(METRIC_requests_running), 1); /* its own stays */
    assert_int_equal(metric_value(METRIC_generated_tokens_total), 7);
    metric_add(METRIC_requests_running, -1);
}

static void load_one(void)
{
    doing_begin(DOING_STEP, "steps");
    doing_begin(DOING_LOAD, "loads");
}

static void step_one(void)
{
    load_one();
    doing_end(DOING_LOAD);
}

static void step_twice(void)
{
    doing_begin(DOING_STEP, "m");
    usleep(20000);
    doing_end(DOING_STEP);
    doing_begin(DOING_STEP, "m");
}

static void test_how_long_a_step_takes(void **state)
{
    (void)state;
    int64_t since, longest, now = clock_mono_ms();
    in_child(step_twice);
    shared_child_step(&since, &longest);
    assert_true(since >= now + 20 && since <= clock_mono_ms());
    assert_true(longest >= 20);
    in_child(step_one);
    shared_child_step(&since, &longest);
    assert_true(since > 0);
    assert_int_equal(longest, 0); /* of another process */
    shared_child_ended();
}

static void load_twice(void)
{
    doing_begin(DOING_LOAD, "m");
    usleep(20000);
    doing_end(DOING_LOAD);
    usleep(100000);
    doing_begin(DOING_LOAD, "m");
    usleep(20000);
}

/* The load under way counts, the time between them does not. */
static void test_how_long_it_has_loaded(void **state)
{
    (void)state;
    int64_t before = clock_mono_ms();
    in_child(load_twice);
    int64_t passed = clock_mono_ms() - before;
    int64_t loaded = shared_child_loaded_ms();
    assert_true(loaded >= 40 && loaded <= passed - 100);
    in_child(step_twice);
    assert_int_equal(shared_child_loaded_ms(), 0); /* of another process */
    shared_child_ended();
}

static void crash_for_another(void)
{
    load_one();
    doing_for("renders");
    doing_crashed();
}

static void crash_in_an_adapter(void)
{
    load_one();
    doing_begin(DOING_ADAPTER, "adapts");
    doing_crashed();
}

static void adapt_one(void)
{
    step_one();
    doing_begin(DOING_ADAPTER, "adapts");
}

/* For nobody, whatever it did before. */
static void crash_after_a_step(void)
{
    doing_begin(DOING_STEP, "steps");
    doing_end(DOING_STEP);
    doing_crashed();
}

static void do_nothing(void)
{
    step_one();
    doing_end(DOING_STEP);
}

static void check_doing(void (*what)(void), const char *model, const char *word)
{
    char got[DOING_MODEL_MAX];
    const char *got_word;
    in_child(what);
    shared_child_doing(false, got, sizeof got, &got_word);
    assert_string_equal(got, model);
    assert_string_equal(got_word, word);
}

static void test_what_the_dead_was_doing(void **state)
{
    (void)state;
    char got[DOING_MODEL_MAX];
    const char *word;
    check_doing(load_one, "loads", "loading"); /* sooner than what runs beside it */
    check_doing(step_one, "steps", "running");
    check_doing(crash_for_another, "renders", "running"); /* the thread that crashed */
    in_child(load_one);
    shared_child_doing(true, got, sizeof got, &word); /* killed for its step */
    assert_string_equal(got, "steps");
    assert_string_equal(word, "running");
    check_doing(crash_in_an_adapter, "adapts", "loading an adapter of");
    check_doing(adapt_one, "adapts", "loading an adapter of");
    check_doing(crash_after_a_step, "", "");
    check_doing(do_nothing, "", "");
}

static void scribble(void)
{
    /* the page is the child's to write: names without an end */
    char page[DOING_PAGE];
    memset(page, 'x', sizeof page);
    if (pwrite(fd, page, sizeof page, 0) != (ssize_t)sizeof page) _exit(1);
    if (ftruncate(fd, 0) == 0) _exit(2); /* the size is sealed */
}

static void test_a_child_that_scribbles(void **state)
{
    (void)state;
    char got[DOING_MODEL_MAX];
    const char *word;
    struct buf out;
    in_child(scribble);
    shared_child_doing(false, got, sizeof got, &word);
    assert_int_equal(strlen(got), DOING_MODEL_MAX - 1);
    assert_string_equal(word, "running");
    assert_true(shared_child_loaded_ms() >= 0);
    buf_init(&out, 1 << 20);
    assert_int_equal(metrics_render(&out), OK);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_count_and_gauges_go_back),
        cmocka_unit_test(test_how_long_a_step_takes),
        cmocka_unit_test(test_how_long_it_has_loaded),
        cmocka_unit_test(test_what_the_dead_was_doing),
        cmocka_unit_test(test_a_child_that_scribbles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
