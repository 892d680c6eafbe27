/* The queue as a simulation: order, ageing, starvation, removal, room. Time is an argument. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sched/queue.h"

static struct queue_entry *pop(struct queue *q)
{
    struct queue_entry *e = queue_first(q);
    if (e) queue_take(q, e, 0);
    return e;
}

static void push_as(struct queue *q, struct queue_entry *e, const char *tenant, int32_t priority,
                    int64_t cost, int64_t arrived_ms)
{
    queue_push(q, e,
               &(struct queue_item){
                   .tenant = tenant, .priority = priority, .cost = cost, .arrived_ms = arrived_ms});
}

static void push(struct queue *q, struct queue_entry *e, int32_t priority, int64_t arrived_ms)
{
    push_as(q, e, "", priority, 1, arrived_ms);
}

static int64_t oldest_ms(const struct queue *q)
{
    struct queue_stats st = {.oldest_ms = -1};
    queue_stats(q, &st);
    return st.oldest_ms;
}

static void test_empty(void **state)
{
    (void)state;
    struct queue q;
    queue_init(&q, 1000);
    assert_null(queue_first(&q));
    assert_int_equal(oldest_ms(&q), -1);
    assert_int_equal(q.length, 0);
    queue_free(&q);
}

static void test_lower_number_is_served_first(void **state)
{
    (void)state;
    struct queue q;
    struct queue_entry e[5] = {0};
    const int32_t priorities[5] = {50, 10, 100, 0, 64};
    const int expected[5] = {3, 1, 0, 4, 2};
    queue_init(&q, 0);
    for (int i = 0; i < 5; i++) push(&q, &e[i], priorities[i], i);
    for (int i = 0; i < 5; i++) assert_ptr_equal(pop(&q), &e[expected[i]]);
    assert_null(pop(&q));
    queue_free(&q);
}

static void test_same_priority_is_first_come_first_served(void **state)
{
    (void)state;
    for (int64_t ageing = 0; ageing <= 1000; ageing += 1000) {
        struct queue q;
        struct queue_entry e[100] = {0};
        queue_init(&q, ageing);
        for (int i = 0; i < 100; i++) push(&q, &e[i], 7, 5); /* all in one millisecond */
        for (int i = 0; i < 100; i++) assert_ptr_equal(pop(&q), &e[i]);
        queue_free(&q);
    }
}

static void test_priorities_out_of_range_are_clamped(void **state)
{
    (void)state;
    struct queue q;
    struct queue_entry e[2] = {0};
    queue_init(&q, 0);
    push(&q, &e[0], 5000, 0);
    push(&q, &e[1], -3, 0);
    assert_int_equal(e[0].priority, 100);
    assert_int_equal(e[1].priority, 0);
    assert_ptr_equal(queue_first(&q), &e[1]);
    queue_free(&q);
}

static void test_arrivals_out_of_order_keep_their_turn(void **state)
{
    (void)state;
    struct queue q;
    struct queue_entry e[2] = {0};
    queue_init(&q, 1000);
    push(&q, &e[0], 50, 100);
    push(&q, &e[1], 50, 99); /* its thread read the clock first, but was slower */
    assert_int_equal(e[1].arrived_ms, 100);
    assert_ptr_equal(pop(&q), &e[0]);
    assert_ptr_equal(pop(&q), &e[1]);
    queue_free(&q);
}

static void test_waiting_raises_by_one_step_for_each_interval(void **state)
{
    (void)state;
    struct queue q;
    struct queue_entry old = {0}, later = {0}, latest = {0};
    queue_init(&q, 1000);
    push(&q, &old, 50, 0);
    push(&q, &later, 41, 8999); /* 9 steps better, 8.999 s later: first */
    assert_ptr_equal(queue_first(&q), &later);
    push(&q, &latest, 41, 9001); /* 9.001 s later: old has aged past it */
    assert_ptr_equal(pop(&q), &later);
    assert_ptr_equal(pop(&q), &old);
    assert_ptr_equal(pop(&q), &latest);
    queue_free(&q);
}

/* One arrival of priority 0 each 10 ms for ever; something of priority 100 must still be served,
 * and not before its time: after 100 steps of 50 ms. */
static void test_nothing_starves(void **state)
{
    (void)state;
    struct queue q;
    struct queue_entry urgent[2000] = {0}, patient = {0};
    queue_init(&q, 50);
    push(&q, &patient, 100, 0);
    int served_at = -1;
    for (int i = 0; i < 2000 && served_at < 0; i++) {
        push(&q, &urgent[i], 0, i * 10);
        if (pop(&q) == &patient) served_at = i * 10;
    }
    assert_in_range(served_at, 5000, 5010);

    queue_free(&q);
    memset(urgent, 0, sizeof urgent);
    queue_init(&q, 0); /* without ageing it would */
    push(&q, &patient, 100, 0);
    for (int i = 0; i < 2000; i++) {
        push(&q, &urgent[i], 0, i * 10);
        assert_ptr_not_equal(pop(&q), &patient);
    }
    queue_free(&q);
}

static void test_remove_from_the_middle(void **state)
{
    (void)state;
    struct queue q;
    struct queue_entry e[10] = {0};
    queue_init(&q, 1000);
    for (int i = 0; i < 10; i++) push(&q, &e[i], i % 2, i);
    queue_remove(&q, &e[4]);
    queue_remove(&q, &e[4]); /* twice is harmless */
    queue_remove(&q, &e[9]);
    assert_int_equal(q.length, 8);
    assert_false(e[4].queued);
    const int expected[8] = {0, 2, 6, 8, 1, 3, 5, 7};
    for (int i = 0; i < 8; i++) assert_ptr_equal(pop(&q), &e[expected[i]]);
    assert_int_equal(q.in_use[0] | q.in_use[1], 0);
    queue_free(&q);
}

static void test_position_and_oldest(void **state)
{
    (void)state;
    struct queue q;
    struct queue_entry e[4] = {0};
    queue_init(&q, 1000);
    push(&q, &e[0], 50, 100);
    push(&q, &e[1], 50, 200);
    push(&q, &e[2], 10, 300);
    push(&q, &e[3], 90, 400);
    assert_int_equal(queue_position(&q, &e[2]), 0);
    assert_int_equal(queue_position(&q, &e[0]), 1);
    assert_int_equal(queue_position(&q, &e[1]), 2);
    assert_int_equal(queue_position(&q, &e[3]), 3);
    assert_int_equal(oldest_ms(&q), 100);
    queue_remove(&q, &e[0]);
    assert_int_equal(oldest_ms(&q), 200);
    assert_int_equal(queue_position(&q, &e[1]), 1);
    queue_free(&q);
}

static void test_a_returned_entry_stands_where_it_stood(void **state)
{
    (void)state;
    struct queue q;
    struct queue_entry e[3] = {0};
    queue_init(&q, 1000);
    for (int i = 0; i < 3; i++) push(&q, &e[i], 50, i);
    queue_take(&q, &e[0], 5);
    queue_take(&q, &e[1], 5);
    queue_return(&q, &e[1], 0, 9);
    queue_return(&q, &e[0], 0, 9);
    for (int i = 0; i < 3; i++) assert_ptr_equal(pop(&q), &e[i]);
    queue_free(&q);
}

/* Against a plain sort, with removals in between. */
static void test_random_order_matches_a_sort(void **state)
{
    (void)state;
    enum { N = 500 };
    struct queue q;
    static struct queue_entry e[N];
    uint32_t seed = 12345;
    queue_init(&q, 20); /* one tenant: its turns make no difference */
    for (int i = 0; i < N; i++) {
        seed = seed * 1664525 + 1013904223;
        e[i] = (struct queue_entry){0};
        push(&q, &e[i], (int32_t)(seed >> 16) % 101, i * 3);
    }
    for (int i = 0; i < N; i += 7) queue_remove(&q, &e[i]);
    int32_t left = q.length;
    int64_t before = INT64_MIN;
    for (struct queue_entry *x; (x = pop(&q)); left--) {
        int64_t key = x->priority * 20 + x->arrived_ms;
        assert_true(key >= before);
        assert_true((x - e) % 7 != 0);
        before = key;
    }
    assert_int_equal(left, 0);
    queue_free(&q);
}

static void test_room(void **state)
{
    (void)state;
    struct queue_room room = {.capacity = 2};
    int32_t taken;
    assert_true(queue_room_take(&room, 0, &taken));
    assert_true(queue_room_take(&room, 0, &taken));
    assert_false(queue_room_take(&room, 0, &taken));
    assert_int_equal(taken, 2);
    assert_true(queue_room_take(&room, 1, &taken)); /* one sequence is idle */
    assert_false(queue_room_take(&room, 1, &taken));
    queue_room_give(&room);
    queue_room_give(&room);
    assert_true(queue_room_take(&room, 0, &taken));
    queue_room_retake(&room); /* never refused */
    assert_false(queue_room_take(&room, 0, &taken));
    assert_int_equal(taken, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_lower_number_is_served_first),
        cmocka_unit_test(test_same_priority_is_first_come_first_served),
        cmocka_unit_test(test_priorities_out_of_range_are_clamped),
        cmocka_unit_test(test_arrivals_out_of_order_keep_their_turn),
        cmocka_unit_test(test_waiting_raises_by_one_step_for_each_interval),
        cmocka_unit_test(test_nothing_starves),
        cmocka_unit_test(test_remove_from_the_middle),
        cmocka_unit_test(test_position_and_oldest),
        cmocka_unit_test(test_a_returned_entry_stands_where_it_stood),
        cmocka_unit_test(test_random_order_matches_a_sort),
        cmocka_unit_test(test_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
