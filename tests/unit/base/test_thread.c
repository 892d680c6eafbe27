/* Threads and the pool. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/thread.h"

struct seen {
    char name[32];
    bool signals_blocked;
};

static void *look(void *arg)
{
    struct seen *s = arg;
    pthread_getname_np(pthread_self(), s->name, sizeof s->name);
    sigset_t mask;
    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    s->signals_blocked = sigismember(&mask, SIGTERM) && sigismember(&mask, SIGINT);
    return NULL;
}

static void test_thread_has_name_and_no_signals(void **state)
{
    (void)state;
    struct seen s = {0};
    struct error error;
    pthread_t t;
    assert_int_equal(thread_start(&t, "a-name-that-is-too-long", look, &s, &error), OK);
    thread_join(t);
    assert_string_equal(s.name, "a-name-that-is-");
    assert_true(s.signals_blocked);
    sigset_t mask;
    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    assert_false(sigismember(&mask, SIGTERM)); /* the starter's mask is as it was */
}

struct waited {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool there;
};

static void *signal_it(void *arg)
{
    struct waited *w = arg;
    pthread_mutex_lock(&w->lock);
    w->there = true;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

/* True for a signal, false at the deadline and not before it; a deadline that has passed does not
 * wait. */
static void test_waiting_until(void **state)
{
    (void)state;
    struct waited w = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct error error;
    pthread_t t;
    const int64_t untils[] = {INT64_MAX, clock_mono_ns() + 60000000000};
    cond_init(&w.cond);
    pthread_mutex_lock(&w.lock);
    int64_t until = clock_mono_ns() + 30000000;
    while (cond_wait_until(&w.cond, &w.lock, until)) {
    }
    assert_true(clock_mono_ns() >= until);
    assert_false(cond_wait_until(&w.cond, &w.lock, until));
    for (int i = 0; i < 2; i++) {
        w.there = false;
        assert_int_equal(thread_start(&t, "signal", signal_it, &w, &error), OK);
        while (!w.there) assert_true(cond_wait_until(&w.cond, &w.lock, untils[i]));
        pthread_mutex_unlock(&w.lock);
        thread_join(t);
        pthread_mutex_lock(&w.lock);
    }
    pthread_mutex_unlock(&w.lock);
    pthread_cond_destroy(&w.cond);
}

static atomic_int done;
static atomic_bool gate;

static void add_one(void *arg)
{
    (void)arg;
    atomic_fetch_add(&done, 1);
}

static void wait_at_gate(void *arg)
{
    while (!atomic_load(&gate)) usleep(1000);
    add_one(arg);
}

static void test_pool_runs_every_job_before_it_ends(void **state)
{
    (void)state;
    struct pool *p;
    struct error error;
    assert_int_equal(pool_new("test", 3, 1000, &p, &error), OK);
    atomic_store(&done, 0);
    for (int i = 0; i < 900; i++) assert_int_equal(pool_submit(p, add_one, NULL), OK);
    pool_free(p);
    assert_int_equal(atomic_load(&done), 900);
    pool_free(NULL);
}

static void test_full_queue_refuses(void **state)
{
    (void)state;
    struct pool *p;
    struct error error;
    assert_int_equal(pool_new("test", 1, 2, &p, &error), OK);
    atomic_store(&done, 0);
    atomic_store(&gate, false);
    assert_int_equal(pool_submit(p, wait_at_gate, NULL), OK);
    while (pool_queued(p) > 0) usleep(1000); /* the worker has taken it */
    assert_int_equal(pool_submit(p, add_one, NULL), OK);
    assert_int_equal(pool_submit(p, add_one, NULL), OK);
    assert_int_equal(pool_queued(p), 2);
    assert_int_equal(pool_submit(p, add_one, NULL), ERR_BUSY);
    atomic_store(&gate, true);
    while (pool_queued(p) > 0) usleep(1000);
    assert_int_equal(pool_submit(p, add_one, NULL), OK);
    pool_free(p);
    assert_int_equal(atomic_load(&done), 4);
}

static struct pool *shared;
static atomic_int refused;

static void submit_late(void *arg)
{
    (void)arg;
    while (pool_submit(shared, add_one, NULL) == OK) usleep(1000);
    atomic_store(&refused, pool_submit(shared, add_one, NULL));
}

static void test_stopping_pool_refuses(void **state)
{
    (void)state;
    struct error error;
    assert_int_equal(pool_new("test", 2, 100, &shared, &error), OK);
    atomic_store(&refused, 0);
    assert_int_equal(pool_submit(shared, submit_late, NULL), OK);
    pool_free(shared);
    assert_int_equal(atomic_load(&refused), ERR_STOPPING);
}

static void *submit_many(void *arg)
{
    for (int i = 0; i < 1000; i++)
        while (pool_submit(arg, add_one, NULL) == ERR_BUSY) usleep(100);
    return NULL;
}

static void test_any_thread_may_submit(void **state)
{
    (void)state;
    struct pool *p;
    struct error error;
    assert_int_equal(pool_new("test", 3, 16, &p, &error), OK);
    atomic_store(&done, 0);
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        assert_int_equal(thread_start(&threads[i], "submit", submit_many, p, &error), OK);
    for (int i = 0; i < 3; i++) thread_join(threads[i]);
    pool_free(p);
    assert_int_equal(atomic_load(&done), 3000);
}

static void test_failures_while_starting(void **state)
{
    (void)state;
#if HEARTH_FAULTS
    struct pool *p = NULL;
    struct error error;
    for (int nth = 1; nth <= 3; nth++) {
        fault_arm(FAULT_thread, nth, false);
        assert_int_equal(pool_new("test", 3, 10, &p, &error), ERR_NOMEM);
        assert_non_null(strstr(error.msg, "thread"));
        assert_null(p);
    }
    fault_arm(FAULT_thread, 0, false);
    fault_arm(FAULT_alloc, 1, false);
    assert_int_equal(pool_new("test", 3, 10, &p, &error), ERR_NOMEM);
    fault_arm(FAULT_alloc, 0, false);
    assert_null(p);
#else
    skip();
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_thread_has_name_and_no_signals),
        cmocka_unit_test(test_waiting_until),
        cmocka_unit_test(test_pool_runs_every_job_before_it_ends),
        cmocka_unit_test(test_full_queue_refuses),
        cmocka_unit_test(test_stopping_pool_refuses),
        cmocka_unit_test(test_any_thread_may_submit),
        cmocka_unit_test(test_failures_while_starting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
