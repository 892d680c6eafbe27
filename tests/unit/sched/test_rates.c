/* What is learnt about a model's speed, with invented durations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sched/rates.h"

enum { MS = 1000000 };

static void test_nothing_is_known_at_first(void **state)
{
    (void)state;
    struct rates r = {0};
    assert_int_equal(rates_duration_ns(&r, 10, 10), -1);
    assert_int_equal(rates_duration_ns(&r, 10, 0), -1);
    assert_int_equal(rates_duration_ns(&r, 0, 0), 0);
    assert_int_equal(rates_answer_left(&r, 0, -1), RATES_ANSWER_UNKNOWN);
    assert_int_equal(rates_answer_left(&r, 0, 7), 7);
    assert_int_equal(rates_answer_left(&r, 7, 7), 0);
}

static void test_durations(void **state)
{
    (void)state;
    struct rates r = {0};
    for (int i = 0; i < 100; i++) rates_token(&r, 20 * MS);
    rates_batch(&r, 100, 0, 200 * MS);
    assert_int_equal(rates_duration_ns(&r, 50, 0) / MS, 100);
    assert_int_equal(rates_duration_ns(&r, 50, 10) / MS, 300);
    rates_batch(&r, 0, 4, 900 * MS); /* no prompt: says nothing about prompts */
    assert_int_equal(rates_duration_ns(&r, 50, 0) / MS, 100);
    for (int i = 0; i < 100; i++) rates_batch(&r, 100, 3, 420 * MS); /* 400 without the streams */
    assert_in_range(rates_duration_ns(&r, 100, 0) / MS, 395, 405);
    rates_batch(&r, 1, 3, 21 * MS); /* drowns */
    assert_in_range(rates_duration_ns(&r, 100, 0) / MS, 395, 405);
}

static void test_what_is_left_of_an_answer(void **state)
{
    (void)state;
    struct rates r = {0};
    for (int i = 0; i < 50; i++) rates_answer(&r, 100);
    assert_int_equal(rates_answer_left(&r, 0, -1), 100);
    assert_int_equal(rates_answer_left(&r, 60, -1), 40);
    assert_int_equal(rates_answer_left(&r, 60, 80), 20);
    assert_int_equal(rates_answer_left(&r, 500, -1), 25); /* longer than usual: goes on */
    assert_int_equal(rates_answer_left(&r, 500, 510), 10);
}

static void test_speed_sinks_when_nothing_comes(void **state)
{
    (void)state;
    struct rates r = {0};
    int64_t now = 5000LL * MS;
    for (int i = 0; i < 1000; i++) rates_output(&r, 1, now += 10 * MS);
    assert_true(r.per_second > 95 && r.per_second < 105);
    rates_output(&r, 0, now + 2000LL * MS);
    assert_true(r.per_second < 80);
    rates_output(&r, 0, now + 9000LL * MS);
    assert_true(r.per_second < 1); /* after a long silence the past does not count */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_known_at_first),
        cmocka_unit_test(test_durations),
        cmocka_unit_test(test_what_is_left_of_an_answer),
        cmocka_unit_test(test_speed_sinks_when_nothing_comes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
