/* Time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "base/clock.h"

static void test_monotonic_does_not_go_back(void **state)
{
    (void)state;
    int64_t last = clock_mono_ns();
    for (int i = 0; i < 1000; i++) {
        int64_t now = clock_mono_ns();
        assert_true(now >= last);
        last = now;
    }
    int64_t ms = clock_mono_ms();
    assert_true(ms >= last / 1000000 && ms - last / 1000000 < 60000);
}

static void test_wall_clocks_agree(void **state)
{
    (void)state;
    int64_t s = clock_wall_s(), ms = clock_wall_ms();
    assert_true(ms / 1000 - s >= 0 && ms / 1000 - s <= 60);
    assert_true(s > 1700000000);
}

static void test_utc_text(void **state)
{
    (void)state;
    static const struct {
        int64_t ms;
        const char *text;
    } cases[] = {{0, "1970-01-01T00:00:00.000Z"},
                 {1795208703123, "2026-11-20T21:05:03.123Z"},
                 {951782400000, "2000-02-29T00:00:00.000Z"},
                 {-1, "1969-12-31T23:59:59.999Z"},
                 {-1000, "1969-12-31T23:59:59.000Z"},
                 {INT64_MAX, "1970-01-01T00:00:00.000Z"},
                 {INT64_MIN, "1970-01-01T00:00:00.000Z"}};
    char text[25];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        clock_format_utc(text, sizeof text, cases[i].ms);
        assert_string_equal(text, cases[i].text);
    }
}

static void test_utc_text_back(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "2024",
                                      "2024-05-06",
                                      "2024-05-06T07:08:09",
                                      "2024-05-06T07:08:09.Z",
                                      "2024-05-06T07:08:09Zx",
                                      "2024-13-06T07:08:09Z",
                                      "1969-01-01T00:00:00Z",
                                      "2024-05-06 07:08:09Z",
                                      "2024-05-06T07:08:09+01:00"};
    char text[32];
    int64_t ms;
    for (int64_t t = 0; t < INT64_C(200000000000000); t = t * 3 + 12345) {
        clock_format_utc(text, sizeof text, t);
        assert_true(clock_parse_utc(text, &ms));
        assert_int_equal(ms, t);
    }
    assert_true(clock_parse_utc("2024-05-06T07:08:09Z", &ms));
    assert_int_equal(ms, INT64_C(1714979289000));
    assert_true(clock_parse_utc("2024-05-06t07:08:09.1234567z", &ms));
    assert_int_equal(ms, INT64_C(1714979289123));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(clock_parse_utc(bad[i], &ms));
}

static void test_first_days_of_months(void **state)
{
    (void)state;
    static const struct {
        const char *day, *first;
    } rows[] = {{"1970-01-01", "1970-01-01"}, {"1970-01-31", "1970-01-01"},
                {"2024-02-29", "2024-02-01"}, {"2024-03-01", "2024-03-01"},
                {"2025-12-31", "2025-12-01"}, {"2026-01-01", "2026-01-01"}};
    char text[32];
    int64_t day, first;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        snprintf(text, sizeof text, "%sT00:00:00Z", rows[i].day);
        assert_true(clock_parse_utc(text, &day));
        snprintf(text, sizeof text, "%sT00:00:00Z", rows[i].first);
        assert_true(clock_parse_utc(text, &first));
        assert_int_equal(clock_month_of(day / 86400000), first / 86400000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_monotonic_does_not_go_back),
        cmocka_unit_test(test_wall_clocks_agree),
        cmocka_unit_test(test_utc_text),
        cmocka_unit_test(test_utc_text_back),
        cmocka_unit_test(test_first_days_of_months),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
