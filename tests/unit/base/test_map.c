/* Hash map. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/fault.h"
#include "base/map.h"

enum { N = 5000 };

static int values[N];

static const char *key_of(char dst[32], int i)
{
    snprintf(dst, 32, "key-%d", i);
    return dst;
}

static void test_put_get_del(void **state)
{
    (void)state;
    struct map *m = map_new();
    char key[32];
    for (int i = 0; i < N; i++) assert_null(map_put(m, key_of(key, i), &values[i]));
    assert_int_equal(map_count(m), N);
    for (int i = 0; i < N; i++) assert_ptr_equal(map_get(m, key_of(key, i)), &values[i]);
    assert_null(map_get(m, "key-"));
    assert_ptr_equal(map_put(m, "key-7", &values[8]), &values[7]);
    assert_int_equal(map_count(m), N);
    assert_ptr_equal(map_get(m, "key-7"), &values[8]);
    for (int i = 0; i < N; i += 2) assert_non_null(map_del(m, key_of(key, i)));
    assert_null(map_del(m, "key-0"));
    assert_int_equal(map_count(m), N / 2);
    for (int i = 0; i < N; i++) assert_int_equal(map_get(m, key_of(key, i)) != NULL, i % 2);
    map_free(m);
    map_free(NULL);
}

static void test_keys_of_every_length(void **state)
{
    (void)state;
    struct map *m = map_new();
    char key[64] = "";
    for (size_t len = 0; len < 40; len++) {
        assert_null(map_put(m, key, &values[len]));
        key[len] = 'a';
        key[len + 1] = '\0';
    }
    for (size_t len = 0; len < 40; len++) {
        key[len] = '\0';
        assert_ptr_equal(map_get(m, key), &values[len]);
        key[len] = 'a';
    }
    map_free(m);
}

struct visit {
    int seen, stop_after;
};

static int count(const char *key, void *value, void *ctx)
{
    struct visit *v = ctx;
    assert_non_null(key);
    assert_non_null(value);
    return ++v->seen != v->stop_after;
}

static void test_each_visits_all_or_stops(void **state)
{
    (void)state;
    struct map *m = map_new();
    char key[32];
    for (int i = 0; i < 100; i++) map_put(m, key_of(key, i), &values[i]);
    struct visit all = {0, -1}, some = {0, 10};
    map_each(m, count, &all);
    map_each(m, count, &some);
    assert_int_equal(all.seen, 100);
    assert_int_equal(some.seen, 10);
    map_free(m);
}

static void test_failed_growth_loses_nothing(void **state)
{
    (void)state;
#if HEARTH_FAULTS
    struct map *m = map_new();
    char key[32];
    fault_arm(FAULT_alloc, 1, true);
    for (int i = 0; i < 200; i++) map_put(m, key_of(key, i), &values[i]);
    assert_true(fault_count(FAULT_alloc) > 0);
    fault_arm(FAULT_alloc, 0, false);
    for (int i = 0; i < 200; i++) assert_ptr_equal(map_get(m, key_of(key, i)), &values[i]);
    map_put(m, "one more", &values[0]);
    for (int i = 0; i < 200; i++) assert_ptr_equal(map_get(m, key_of(key, i)), &values[i]);
    map_free(m);
#else
    skip();
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_put_get_del),
        cmocka_unit_test(test_keys_of_every_length),
        cmocka_unit_test(test_each_visits_all_or_stops),
        cmocka_unit_test(test_failed_growth_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
