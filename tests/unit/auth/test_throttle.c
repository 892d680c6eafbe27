/* Slowing down who guesses: a simulation with a clock of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "auth/throttle.h"
#include "base/str.h"

static void test_free_tries_then_longer_and_longer(void **state)
{
    (void)state;
    struct throttle *t = throttle_new(10);
    int64_t now = 1000, last = 0;
    for (int i = 0; i < THROTTLE_FREE - 1; i++) {
        throttle_failed(t, "ada", now);
        assert_int_equal(throttle_wait_ms(t, "ada", now), 0);
    }
    for (int i = 0; i < 30; i++) {
        throttle_failed(t, "ada", now);
        int64_t wait = throttle_wait_ms(t, "ada", now);
        assert_true(wait >= last && wait <= THROTTLE_WAIT_MAX_MS);
        last = wait;
    }
    assert_int_equal(last, THROTTLE_WAIT_MAX_MS);
    assert_int_equal(throttle_wait_ms(t, "bob", now), 0);
    throttle_free(t);
}

static void test_it_fades(void **state)
{
    (void)state;
    struct throttle *t = throttle_new(10);
    for (int i = 0; i < THROTTLE_FREE; i++) throttle_failed(t, "ada", 0);
    assert_int_equal(throttle_wait_ms(t, "ada", 0), 1000);
    assert_int_equal(throttle_wait_ms(t, "ada", 999), 1);
    assert_int_equal(throttle_wait_ms(t, "ada", 1000), 0);
    throttle_failed(t, "ada", 100 * THROTTLE_FADE_MS); /* long after: as if new */
    assert_int_equal(throttle_wait_ms(t, "ada", 100 * THROTTLE_FADE_MS), 0);
    throttle_free(t);
}

static void test_success_forgets(void **state)
{
    (void)state;
    struct throttle *t = throttle_new(10);
    for (int i = 0; i < 10; i++) throttle_failed(t, "ada", 0);
    throttle_succeeded(t, "ada");
    throttle_succeeded(t, "ada");
    assert_int_equal(throttle_wait_ms(t, "ada", 0), 0);
    throttle_free(t);
}

static void test_a_flood_stays_bounded(void **state)
{
    (void)state;
    struct throttle *t = throttle_new(100);
    char who[32];
    for (int i = 0; i < 10; i++) throttle_failed(t, "ada", i);
    for (int i = 0; i < 1000; i++) {
        str_printf(who, sizeof who, "address-%d", i);
        throttle_failed(t, who, 10);
        if (i % 50 == 0) throttle_failed(t, "ada", 10); /* who goes on guessing stays known */
    }
    assert_true(throttle_wait_ms(t, "ada", 10) > 0);
    assert_int_equal(throttle_wait_ms(t, "address-0", 10), 0);
    throttle_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_free_tries_then_longer_and_longer),
        cmocka_unit_test(test_it_fades),
        cmocka_unit_test(test_success_forgets),
        cmocka_unit_test(test_a_flood_stays_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
