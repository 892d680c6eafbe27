/* Which models are quarantined, by a clock that stands in the test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "worker/suspects.h"

enum { SECOND = 1000, MINUTE = 60 * SECOND };

static struct suspects s;

static int set_up(void **state)
{
    (void)state;
    s = (struct suspects){0};
    return 0;
}

static size_t count(void)
{
    const char *ids[SUSPECTS_MAX];
    return suspects_quarantined(&s, ids, SUSPECTS_MAX);
}

static void test_twice_within_a_minute(void **state)
{
    (void)state;
    assert_false(suspects_blame(&s, "a", 1, 0));
    assert_false(suspects_blame(&s, "b", 2, 0));
    assert_false(suspects_blame(&s, "a", 2 + MINUTE, 0)); /* a minute and a moment */
    assert_int_equal(count(), 0);
    assert_true(suspects_blame(&s, "a", 2 + 2 * MINUTE, 0));
    const char *ids[SUSPECTS_MAX];
    assert_int_equal(suspects_quarantined(&s, ids, SUSPECTS_MAX), 1);
    assert_string_equal(ids[0], "a");
    assert_int_equal(suspects_quarantined(&s, ids, 0), 0);
}

/* However long it takes to load: dying at once then, and half a minute later. */
static void test_loading_does_not_count(void **state)
{
    (void)state;
    assert_false(suspects_blame(&s, "slow", 10 * MINUTE, 10 * MINUTE));
    assert_true(suspects_blame(&s, "slow", 20 * MINUTE, 20 * MINUTE));
    set_up(NULL);
    int64_t now = 0, loaded = 0;
    for (int i = 0; i < 2; i++) {
        loaded += 5 * MINUTE;
        now += 5 * MINUTE + 30 * SECOND;
        assert_int_equal(suspects_blame(&s, "slow", now, loaded), i == 1);
    }
}

/* But who has run for an hour each time is not punished for having been loaded. */
static void test_running_counts(void **state)
{
    (void)state;
    int64_t now = 0, loaded = 0;
    for (int i = 0; i < 10; i++) {
        loaded += 5 * MINUTE;
        now += 5 * MINUTE + MINUTE + 1;
        assert_false(suspects_blame(&s, "rare", now, loaded));
    }
}

static void test_a_person_lifts_it(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        suspects_blame(&s, "a", SECOND, 0);
        suspects_blame(&s, "b", SECOND, 0);
    }
    assert_int_equal(count(), 2);
    suspects_lift(&s, "a");
    assert_int_equal(count(), 1);
    assert_false(suspects_blame(&s, "a", 2 * SECOND, 0)); /* from the start */
    suspects_lift(&s, NULL);
    assert_int_equal(count(), 0);
    assert_int_equal(s.n, 0);
}

/* More models than places: the oldest death is forgotten, no quarantine. */
static void test_many_models(void **state)
{
    (void)state;
    char id[32];
    for (int i = 0; i < 2; i++) assert_int_equal(suspects_blame(&s, "bad", SECOND, 0), i == 1);
    for (int i = 0; i < 3 * SUSPECTS_MAX; i++) {
        snprintf(id, sizeof id, "model-%d", i);
        assert_false(suspects_blame(&s, id, 2 * SECOND + i, 0));
    }
    assert_int_equal(s.n, SUSPECTS_MAX);
    assert_int_equal(count(), 1);
    assert_true(suspects_blame(&s, id, 3 * SECOND, 0));
    assert_false(suspects_blame(&s, "model-0", 3 * SECOND, 0));
    for (int i = 0; i < 3 * SUSPECTS_MAX; i++) { /* no place is left at last */
        snprintf(id, sizeof id, "other-%d", i);
        suspects_blame(&s, id, 4 * SECOND, 0);
        suspects_blame(&s, id, 4 * SECOND, 0);
    }
    assert_int_equal(count(), SUSPECTS_MAX);
    assert_false(suspects_blame(&s, "one more", 5 * SECOND, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_twice_within_a_minute, set_up),
        cmocka_unit_test_setup(test_loading_does_not_count, set_up),
        cmocka_unit_test_setup(test_running_counts, set_up),
        cmocka_unit_test_setup(test_a_person_lifts_it, set_up),
        cmocka_unit_test_setup(test_many_models, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
