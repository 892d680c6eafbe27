/* Snapshots: made once for all who ask meanwhile, never too old, expired while being made, failing,
 * hanging, and asked for by many threads. */
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

#include "base/fault.h"
#include "base/str.h"
#include "hub/snapshot.h"

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

struct maker {
    atomic_int made;
    bool later; /* the test ends it */
};

static void make_text(void *ctx, struct snapshot *s)
{
    struct maker *m = ctx;
    char text[32];
    int n = atomic_fetch_add(&m->made, 1) + 1;
    str_printf(text, sizeof text, "text %d", n);
    if (!m->later) snapshot_done(s, text, strlen(text));
}

struct asked {
    atomic_int n;
    enum err code;
    char text[32];
};

static void on_text(void *ctx, const struct error *error, const char *text, size_t len)
{
    struct asked *a = ctx;
    a->code = error ? error->code : OK;
    if (!error) assert_int_equal(strlen(text), len);
    str_copy(a->text, sizeof a->text, error ? "" : text);
    atomic_fetch_add(&a->n, 1); /* last: the test may look from another thread */
}

static void check(struct snapshot *s, struct maker *m, const char *text)
{
    struct asked a = {0};
    snapshot_get(s, make_text, m, on_text, &a);
    assert_int_equal(a.n, 1);
    assert_string_equal(a.text, text);
}

static void test_a_fresh_one_is_not_made_again(void **state)
{
    (void)state;
    struct maker m = {0};
    struct snapshot *s = snapshot_new(timers, 100000, 1000);
    check(s, &m, "text 1");
    check(s, &m, "text 1");
    snapshot_expire(s);
    check(s, &m, "text 2");
    snapshot_free(s);
    s = snapshot_new(timers, 0, 1000); /* always too old */
    check(s, &m, "text 3");
    check(s, &m, "text 4");
    snapshot_free(s);
}

static void test_all_who_wait_get_the_same(void **state)
{
    (void)state;
    struct maker m = {.later = true};
    struct snapshot *s = snapshot_new(timers, 100000, 100000);
    struct asked a[3] = {0};
    for (int i = 0; i < 3; i++) snapshot_get(s, make_text, &m, on_text, &a[i]);
    assert_int_equal(m.made, 1);
    assert_int_equal(a[0].n + a[1].n + a[2].n, 0);
    snapshot_done(s, "now", 3);
    for (int i = 0; i < 3; i++) assert_string_equal(a[i].text, "now");
    check(s, &m, "now");
    snapshot_free(s);
}

/* What expires while it is being made is made again before anybody who waits gets it. */
static void test_expired_while_being_made(void **state)
{
    (void)state;
    struct maker m = {.later = true};
    struct snapshot *s = snapshot_new(timers, 100000, 100000);
    struct asked a = {0};
    snapshot_get(s, make_text, &m, on_text, &a);
    snapshot_expire(s);
    snapshot_done(s, "old", 3);
    assert_int_equal(a.n, 0);
    assert_int_equal(m.made, 2);
    snapshot_done(s, "new", 3);
    assert_string_equal(a.text, "new");
    check(s, &m, "new");
    snapshot_free(s);
}

static void test_a_failure_is_told_and_tried_again(void **state)
{
    (void)state;
    struct maker m = {.later = true};
    struct snapshot *s = snapshot_new(timers, 100000, 100000);
    struct asked a = {0};
    struct error error;
    err_set(&error, ERR_ENGINE, "no");
    snapshot_get(s, make_text, &m, on_text, &a);
    snapshot_failed(s, &error);
    assert_int_equal(a.code, ERR_ENGINE);
    m.later = false;
    check(s, &m, "text 2");
#if HEARTH_FAULTS
    snapshot_expire(s);
    fault_arm(FAULT_alloc, 1, false);
    a = (struct asked){0};
    snapshot_get(s, make_text, &m, on_text, &a);
    fault_arm(FAULT_alloc, 0, false);
    assert_int_equal(a.code, ERR_NOMEM);
#endif
    snapshot_free(s);
}

/* Nobody waits longer than their patience: they get the last text. */
static void test_a_maker_that_hangs(void **state)
{
    (void)state;
    struct maker m = {0};
    struct snapshot *s = snapshot_new(timers, 0, 20);
    check(s, &m, "text 1");
    m.later = true;
    struct asked first = {0};
    snapshot_get(s, make_text, &m, on_text, &first);
    assert_int_equal(first.n, 0);
    for (int i = 0; i < 1000 && !atomic_load(&first.n); i++) usleep(5000);
    assert_int_equal(first.n, 1);
    assert_string_equal(first.text, "text 1");
    check(s, &m, "text 1");
    assert_int_equal(m.made, 2); /* no second one is started */
    snapshot_done(s, "at last", 7);
    m.later = false;
    check(s, &m, "text 3");
    snapshot_free(s);
}

static void test_no_text_in_time(void **state)
{
    (void)state;
    struct maker m = {.later = true};
    struct snapshot *s = snapshot_new(timers, 100000, 20);
    struct asked a = {0}, b = {0};
    snapshot_get(s, make_text, &m, on_text, &a);
    for (int i = 0; i < 1000 && !atomic_load(&a.n); i++) usleep(5000);
    assert_int_equal(a.n, 1);
    assert_int_equal(a.code, ERR_TIMEOUT);
    snapshot_get(s, make_text, &m, on_text, &b); /* at once */
    assert_int_equal(b.code, ERR_TIMEOUT);
    snapshot_done(s, "at last", 7);
    check(s, &m, "at last");
    assert_int_equal(m.made, 1);
    snapshot_free(s);
}

static struct snapshot *shared;
static atomic_int answers;

static void on_shared(void *ctx, const struct error *error, const char *text, size_t len)
{
    (void)ctx;
    if (!error && len > 5 && strncmp(text, "text ", 5) == 0) atomic_fetch_add(&answers, 1);
}

static void *ask_often(void *arg)
{
    for (int i = 0; i < 5000; i++) {
        snapshot_get(shared, make_text, arg, on_shared, NULL);
        if (i % 7 == 0) snapshot_expire(shared);
    }
    return arg;
}

static void test_many_threads(void **state)
{
    (void)state;
    struct maker m = {0};
    pthread_t threads[4];
    shared = snapshot_new(timers, 1, 100000);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_often, &m), 0);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    assert_int_equal(answers, 20000);
    snapshot_free(shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_fresh_one_is_not_made_again),
        cmocka_unit_test(test_all_who_wait_get_the_same),
        cmocka_unit_test(test_expired_while_being_made),
        cmocka_unit_test(test_a_failure_is_told_and_tried_again),
        cmocka_unit_test(test_a_maker_that_hangs),
        cmocka_unit_test(test_no_text_in_time),
        cmocka_unit_test(test_many_threads),
    };
    return cmocka_run_group_tests(tests, open_timers, close_timers);
}
