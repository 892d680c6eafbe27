#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "remote/breaker.h"

static int64_t wait_ms;
static bool probe;

static void fail_times(struct breaker *b, int n, int64_t now)
{
    for (int i = 0; i < n; i++) breaker_bad(b, now);
}

static void it_opens_after_failures_in_a_row(void **state)
{
    (void)state;
    struct breaker b = {0};
    fail_times(&b, BREAKER_FAILURES - 1, 1000);
    assert_true(breaker_allow(&b, 1000, &probe, &wait_ms));
    assert_false(probe);
    breaker_good(&b); /* in a row */
    fail_times(&b, BREAKER_FAILURES - 1, 1000);
    assert_true(breaker_allow(&b, 1000, &probe, &wait_ms));
    breaker_bad(&b, 1000);
    assert_false(breaker_allow(&b, 1001, &probe, &wait_ms));
    assert_int_equal(wait_ms, BREAKER_OPEN_MS - 1);
}

static void one_probe_decides(void **state)
{
    (void)state;
    struct breaker b = {0};
    int64_t now = 1000;
    fail_times(&b, BREAKER_FAILURES, now);
    now += BREAKER_OPEN_MS;
    assert_true(breaker_allow(&b, now, &probe, &wait_ms));
    assert_true(probe);
    bool second;
    assert_false(breaker_allow(&b, now, &second, &wait_ms));
    assert_false(second);
    breaker_bad(&b, now);
    assert_false(breaker_allow(&b, now, &probe, &wait_ms));
    assert_int_equal(wait_ms, 2 * BREAKER_OPEN_MS); /* longer each time, within limits */
    for (int i = 0; i < 20; i++) {
        now += BREAKER_OPEN_MAX_MS;
        assert_true(breaker_allow(&b, now, &probe, &wait_ms));
        breaker_bad(&b, now);
    }
    assert_false(breaker_allow(&b, now, &probe, &wait_ms));
    assert_int_equal(wait_ms, BREAKER_OPEN_MAX_MS);
    now += BREAKER_OPEN_MAX_MS;
    assert_true(breaker_allow(&b, now, &probe, &wait_ms));
    breaker_gave_up(&b, true); /* cancelled: the next one is the probe */
    assert_true(breaker_allow(&b, now, &probe, &wait_ms));
    assert_true(probe);
    breaker_good(&b);
    assert_true(breaker_allow(&b, now, &probe, &wait_ms));
    assert_false(probe);
    assert_int_equal(b.failures, 0);
}

static void those_under_way_when_it_opened_change_nothing(void **state)
{
    (void)state;
    struct breaker b = {0};
    fail_times(&b, BREAKER_FAILURES, 1000);
    fail_times(&b, 100, 1500);
    assert_false(breaker_allow(&b, 1500, &probe, &wait_ms));
    assert_int_equal(wait_ms, BREAKER_OPEN_MS - 500);
}

static void retry_after_is_no_failure(void **state)
{
    (void)state;
    struct breaker b = {0};
    breaker_hold(&b, 1000, 3000, false);
    assert_false(breaker_allow(&b, 2000, &probe, &wait_ms));
    assert_int_equal(wait_ms, 2000);
    breaker_hold(&b, 1000, 100, false); /* the longest counts */
    breaker_good(&b);                   /* one that was under way */
    assert_false(breaker_allow(&b, 3999, &probe, &wait_ms));
    assert_true(breaker_allow(&b, 4000, &probe, &wait_ms));
    assert_false(probe);
    breaker_hold(&b, 0, INT64_MAX / 2, false);
    assert_true(breaker_allow(&b, BREAKER_HOLD_MAX_MS, &probe, &wait_ms));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_opens_after_failures_in_a_row),
        cmocka_unit_test(one_probe_decides),
        cmocka_unit_test(those_under_way_when_it_opened_change_nothing),
        cmocka_unit_test(retry_after_is_no_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
