/* The close callback of a sink, as its implementers have it: once, waited for, free to withdraw
 * itself. */
#include "api/close_hook.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/thread.h"

/* A sink of which only this is of interest. */
struct closing {
    pthread_mutex_t lock;
    struct close_hook hook;
    atomic_int called;
    atomic_bool may_end, withdrawn;
};

static void init(struct closing *c)
{
    *c = (struct closing){.lock = PTHREAD_MUTEX_INITIALIZER};
    close_hook_init(&c->hook);
}

static void deinit(struct closing *c)
{
    close_hook_deinit(&c->hook);
    pthread_mutex_destroy(&c->lock);
}

static void set(struct closing *c, sink_close_fn fn)
{
    pthread_mutex_lock(&c->lock);
    close_hook_set(&c->hook, &c->lock, fn, c);
    pthread_mutex_unlock(&c->lock);
}

static void run(struct closing *c)
{
    pthread_mutex_lock(&c->lock);
    close_hook_run(&c->hook, &c->lock);
    pthread_mutex_unlock(&c->lock);
}

static void count(void *closing)
{
    ((struct closing *)closing)->called++;
}

static void it_is_called_once(void **state)
{
    (void)state;
    struct closing c;
    init(&c);
    run(&c); /* there is none */
    set(&c, count);
    run(&c);
    run(&c);
    assert_int_equal(c.called, 1);
    set(&c, count);
    set(&c, NULL);
    run(&c);
    assert_int_equal(c.called, 1);
    deinit(&c);
}

static void count_and_withdraw(void *closing)
{
    struct closing *c = closing;
    set(c, NULL);
    c->called++;
}

static void it_may_withdraw_itself(void **state)
{
    (void)state;
    struct closing c;
    init(&c);
    set(&c, count_and_withdraw);
    run(&c);
    run(&c);
    assert_int_equal(c.called, 1);
    deinit(&c);
}

/* ---- with others ----------------------------------------------------------------------------- */

static void wait_for_leave(void *closing)
{
    struct closing *c = closing;
    c->called++;
    while (!c->may_end) usleep(1000);
}

/* Sets another, which the sink, being closed, calls at once. */
static void set_another(void *closing)
{
    struct closing *c = closing;
    set(c, count);
    run(c);
    wait_for_leave(c);
}

static void *run_there(void *closing)
{
    run(closing);
    return NULL;
}

static void *withdraw_there(void *closing)
{
    struct closing *c = closing;
    set(c, NULL);
    c->withdrawn = true;
    return NULL;
}

/* Somebody withdraws while fn has been called `calls` times and doesn't end yet. */
static void withdraw_meanwhile(sink_close_fn fn, int calls)
{
    struct closing c;
    struct error error;
    pthread_t runner, withdrawer;
    init(&c);
    set(&c, fn);
    assert_int_equal(thread_start(&runner, "runner", run_there, &c, &error), OK);
    while (c.called < calls) usleep(1000);
    assert_int_equal(thread_start(&withdrawer, "withdrawer", withdraw_there, &c, &error), OK);
    usleep(20000); /* it could have come back by now, if it did not wait */
    assert_false(c.withdrawn);
    c.may_end = true;
    thread_join(withdrawer);
    thread_join(runner);
    assert_true(c.withdrawn);
    assert_int_equal(c.called, calls);
    deinit(&c);
}

static void others_wait_for_it(void **state)
{
    (void)state;
    withdraw_meanwhile(wait_for_leave, 1);
}

static void others_wait_for_the_outer_one(void **state)
{
    (void)state;
    withdraw_meanwhile(set_another, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_called_once),
        cmocka_unit_test(it_may_withdraw_itself),
        cmocka_unit_test(others_wait_for_it),
        cmocka_unit_test(others_wait_for_the_outer_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
