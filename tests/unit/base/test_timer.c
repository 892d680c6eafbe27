/* Timers: in the order of their times, removed in time or while they run, set anew by themselves,
 * many at once from several threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/timer.h"

static struct timers *timers;

static int open_timers(void **state)
{
    (void)state;
    struct error error;
    return timers_new(&timers, &error) == OK ? 0 : -1;
}

static int close_timers(void **state)
{
    (void)state;
    timers_free(timers);
    return 0;
}

static void wait_for(atomic_int *n, int value)
{
    for (int i = 0; i < 1000 && atomic_load(n) != value; i++) usleep(5000);
    assert_int_equal(atomic_load(n), value);
}

static atomic_int ran;
static int order[3];

static void note_order(void *ctx)
{
    int i = atomic_load(&ran);
    order[i] = *(int *)ctx;
    atomic_store(&ran, i + 1);
}

static void test_the_earliest_runs_first(void **state)
{
    (void)state;
    struct timer t[3] = {0};
    int names[3] = {0, 1, 2};
    int64_t start = clock_mono_ms();
    atomic_store(&ran, 0);
    timer_set(timers, &t[0], 60, note_order, &names[0]);
    timer_set(timers, &t[1], 20, note_order, &names[1]);
    timer_set(timers, &t[2], 40, note_order, &names[2]);
    wait_for(&ran, 3);
    assert_true(clock_mono_ms() - start >= 60);
    assert_int_equal(order[0], 1);
    assert_int_equal(order[1], 2);
    assert_int_equal(order[2], 0);
}

static void count(void *ctx)
{
    atomic_fetch_add((atomic_int *)ctx, 1);
}

static void test_one_that_is_removed_never_runs(void **state)
{
    (void)state;
    struct timer t = {0}, other = {0};
    atomic_int n = 0, later = 0;
    timer_set(timers, &t, 10, count, &n);
    timer_clear(timers, &t);
    timer_clear(timers, &t); /* harmless */
    timer_set(timers, &other, 30, count, &later);
    wait_for(&later, 1);
    assert_int_equal(n, 0);
    timer_set(timers, &t, 100000, count, &n); /* set again, for sooner */
    timer_set(timers, &t, 1, count, &n);
    wait_for(&n, 1);
}

struct slow {
    atomic_int began, ended;
};

static void run_slowly(void *ctx)
{
    struct slow *s = ctx;
    atomic_store(&s->began, 1);
    usleep(50000);
    atomic_store(&s->ended, 1);
}

static void test_removing_waits_for_one_that_runs(void **state)
{
    (void)state;
    struct timer t = {0};
    struct slow s = {0, 0};
    timer_set(timers, &t, 0, run_slowly, &s);
    wait_for(&s.began, 1);
    timer_clear(timers, &t);
    assert_int_equal(s.ended, 1);
}

struct again {
    struct timer timer;
    atomic_int n;
};

static void run_again(void *ctx)
{
    struct again *a = ctx;
    if (atomic_fetch_add(&a->n, 1) < 4) timer_set(timers, &a->timer, 1, run_again, a);
    if (atomic_load(&a->n) == 5) timer_clear(timers, &a->timer); /* itself: does not wait */
}

static void test_a_timer_may_set_itself(void **state)
{
    (void)state;
    struct again a = {.n = 0};
    timer_set(timers, &a.timer, 1, run_again, &a);
    wait_for(&a.n, 5);
    timer_clear(timers, &a.timer);
}

enum { MANY = 500 };

static void *set_many(void *arg)
{
    atomic_int *n = arg;
    struct timer *t = calloc(MANY, sizeof *t);
    unsigned seed = (unsigned)(uintptr_t)&t;
    for (int i = 0; i < MANY; i++) timer_set(timers, &t[i], rand_r(&seed) % 20, count, n);
    for (int i = 0; i < MANY; i += 2) timer_clear(timers, &t[i]);
    usleep(60000);
    for (int i = 0; i < MANY; i++) timer_clear(timers, &t[i]);
    free(t);
    return NULL;
}

static void test_many_from_several_threads(void **state)
{
    (void)state;
    atomic_int n = 0;
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, set_many, &n), 0);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    assert_true(n >= 4 * MANY / 2 && n <= 4 * MANY);
}

static void test_freed_with_timers_set(void **state)
{
    (void)state;
    struct timers *t;
    struct error error;
    struct timer timer = {0};
    atomic_int n = 0;
    assert_int_equal(timers_new(&t, &error), OK);
    timer_set(t, &timer, 100000, count, &n);
    timers_free(t);
    assert_int_equal(n, 0);
    timers_free(NULL);
#if HEARTH_FAULTS
    fault_arm(FAULT_thread, 1, false);
    assert_int_not_equal(timers_new(&t, &error), OK);
    fault_arm(FAULT_thread, 0, false);
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_earliest_runs_first),
        cmocka_unit_test(test_one_that_is_removed_never_runs),
        cmocka_unit_test(test_removing_waits_for_one_that_runs),
        cmocka_unit_test(test_a_timer_may_set_itself),
        cmocka_unit_test(test_many_from_several_threads),
        cmocka_unit_test(test_freed_with_timers_set),
    };
    return cmocka_run_group_tests(tests, open_timers, close_timers);
}
