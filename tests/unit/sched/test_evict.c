/* Who leaves for whom: numbers only. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "sched/evict.h"

static struct evict_candidate candidate(int64_t bytes, double cost)
{
    return (struct evict_candidate){.frees.bytes[ROOM_BUDGET] = bytes, .cost = cost};
}

static struct room missing(int64_t bytes)
{
    return (struct room){.bytes[ROOM_BUDGET] = bytes};
}

static void test_nothing_missing_evicts_nobody(void **state)
{
    (void)state;
    struct evict_candidate c[] = {candidate(100, 1)};
    struct room none = missing(0), less = missing(-50);
    assert_true(evict_choose(c, 1, &none));
    assert_false(c[0].chosen);
    assert_true(evict_choose(c, 1, &less));
    assert_false(c[0].chosen);
}

static void test_the_cheapest_by_byte_goes(void **state)
{
    (void)state;
    struct evict_candidate c[] = {candidate(100, 10), candidate(100, 2), candidate(100, 5)};
    struct room need = missing(80);
    assert_true(evict_choose(c, 3, &need));
    assert_false(c[0].chosen);
    assert_true(c[1].chosen);
    assert_false(c[2].chosen);
}

static void test_who_turns_out_unneeded_stays(void **state)
{
    (void)state;
    /* the small one is cheapest per byte and goes first; the large one alone is enough */
    struct evict_candidate c[] = {candidate(10, 0.1), candidate(100, 5)};
    struct room need = missing(100);
    assert_true(evict_choose(c, 2, &need));
    assert_false(c[0].chosen);
    assert_true(c[1].chosen);
}

static void test_pinned_models_go_last(void **state)
{
    (void)state;
    struct evict_candidate c[] = {candidate(100, 0.1), candidate(100, 50)};
    c[0].pinned = true;
    struct room need = missing(100), both = missing(150), more = missing(201);
    assert_true(evict_choose(c, 2, &need));
    assert_false(c[0].chosen);
    assert_true(c[1].chosen);
    assert_true(evict_choose(c, 2, &both));
    assert_true(c[0].chosen && c[1].chosen);
    assert_false(evict_choose(c, 2, &more));
    assert_false(c[0].chosen || c[1].chosen);
}

static void test_only_memory_where_it_is_missing_counts(void **state)
{
    (void)state;
    struct evict_candidate c[2] = {candidate(1000, 0.1), {.cost = 5}};
    c[1].frees.bytes[ROOM_DEVICES + 3] = 50;
    struct room need = {.bytes[ROOM_DEVICES + 3] = 40};
    assert_true(evict_choose(c, 2, &need));
    assert_false(c[0].chosen);
    assert_true(c[1].chosen);
    need.bytes[ROOM_BUDGET] = 1;
    assert_true(evict_choose(c, 2, &need));
    assert_true(c[0].chosen && c[1].chosen);
}

/* Whatever the numbers: it finds a set exactly when all together are enough, and nobody in the set
 * could stay. */
static void test_any_numbers(void **state)
{
    (void)state;
    srand(7);
    for (int round = 0; round < 20000; round++) {
        struct evict_candidate c[6];
        int64_t all = 0, need_bytes = rand() % 300, freed = 0;
        size_t n = (size_t)(rand() % 7);
        for (size_t i = 0; i < n; i++) {
            c[i] = candidate(rand() % 100, rand() % 50);
            c[i].pinned = rand() % 4 == 0;
            all += c[i].frees.bytes[ROOM_BUDGET];
        }
        struct room need = missing(need_bytes);
        assert_int_equal(evict_choose(c, n, &need), all >= need_bytes);
        for (size_t i = 0; i < n; i++) freed += c[i].chosen ? c[i].frees.bytes[ROOM_BUDGET] : 0;
        if (all < need_bytes) {
            assert_int_equal(freed, 0);
            continue;
        }
        assert_true(freed >= need_bytes);
        for (size_t i = 0; i < n; i++)
            if (c[i].chosen) assert_true(freed - c[i].frees.bytes[ROOM_BUDGET] < need_bytes);
    }
}

static void test_heat_halves(void **state)
{
    (void)state;
    assert_true(evict_heat(8, 0) == 8);
    double h = evict_heat(8, EVICT_HALF_LIFE_MS);
    assert_true(h > 3.99 && h < 4.01);
    assert_true(evict_heat(8, -5) == 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_missing_evicts_nobody),
        cmocka_unit_test(test_the_cheapest_by_byte_goes),
        cmocka_unit_test(test_who_turns_out_unneeded_stays),
        cmocka_unit_test(test_pinned_models_go_last),
        cmocka_unit_test(test_only_memory_where_it_is_missing_counts),
        cmocka_unit_test(test_any_numbers),
        cmocka_unit_test(test_heat_halves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
