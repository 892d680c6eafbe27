/* The queue as a simulation of a server with many tenants: who gets how much, what waiting costs,
 * and what a storm of cancellations leaves. Time and service are arguments; nothing runs. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sched/queue.h"

enum { TENANTS = 10 };

static const char *const names[TENANTS] = {"ann",   "bob", "cora", "dan",  "eve",
                                           "frank", "gil", "hana", "ivan", "jo"};

static uint32_t seed;

static uint32_t rnd(uint32_t below)
{
    seed = seed * 1664525 + 1013904223;
    return (seed >> 8) % below;
}

static void push(struct queue *q, struct queue_entry *e, const char *tenant, int32_t priority,
                 int64_t cost, int64_t now_ms)
{
    queue_push(q, e,
               &(struct queue_item){
                   .tenant = tenant, .priority = priority, .cost = cost, .arrived_ms = now_ms});
}

static int tenant_of(const struct queue_entry *e)
{
    for (int t = 0; t < TENANTS; t++)
        if (strcmp(e->tenant, names[t]) == 0) return t;
    fail();
    return -1;
}

/* (sum x)^2 / (n sum x^2): 1 when all got the same, 1/n when one got it all (Jain, Chiu, Hawe,
 * 1984).
 */
static double jain(const int64_t *x, int n)
{
    double sum = 0, squares = 0;
    for (int i = 0; i < n; i++) {
        sum += (double)x[i];
        squares += (double)x[i] * (double)x[i];
    }
    return sum * sum / (n * squares);
}

/* ---- fairness ------------------------------------------------------------------------------ */

/* Tenant t keeps 3^t (up to 500) requests waiting, of sizes that differ as well; the first in the
 * alphabet is modest, the last greedy. Whatever they ask, all get the same number of tokens. */
static void test_ten_tenants_of_unequal_demand_get_equal_shares(void **state)
{
    (void)state;
    enum { MOST = 500, SERVED = 20000 };
    static struct queue_entry entries[TENANTS][MOST];
    struct queue q;
    int64_t got[TENANTS] = {0}, count[TENANTS] = {0}, now = 0;
    memset(entries, 0, sizeof entries);
    queue_init(&q, 1000);
    seed = 1;
    for (int t = TENANTS - 1; t >= 0; t--) { /* the greedy one comes first */
        int n = (int)fmin(MOST, pow(3, t));
        for (int i = 0; i < n; i++)
            push(&q, &entries[t][i], names[t], 50, 1 + rnd(100 * (uint32_t)(t + 1)), now++);
    }
    for (int i = 0; i < SERVED; i++, now += 20) {
        struct queue_entry *e = queue_first(&q);
        int t = tenant_of(e);
        queue_take(&q, e, now);
        got[t] += e->cost;
        count[t]++;
        push(&q, e, names[t], 50, 1 + rnd(100 * (uint32_t)(t + 1)), now);
    }
    assert_true(jain(got, TENANTS) >= 0.99);
    assert_true(count[0] > 5 * count[TENANTS - 1]); /* equal tokens, not equal requests */
    queue_free(&q);
}

/* Nobody knows before how long an answer gets: the estimate is the same for all, the truth is not.
 * Ten servers, so that tenants with one request at a time have none waiting most of the time. */
static void test_shares_are_of_what_was_used_not_of_what_was_estimated(void **state)
{
    (void)state;
    enum { SERVERS = 10, PER_TENANT = 12 };
    static struct queue_entry entries[TENANTS][PER_TENANT];
    struct queue_entry *running[SERVERS] = {0};
    int64_t ends[SERVERS] = {0}, used[SERVERS] = {0}, got[TENANTS] = {0}, now = 0;
    struct queue q;
    memset(entries, 0, sizeof entries);
    queue_init(&q, 1000);
    seed = 2;
    for (int t = 0; t < TENANTS; t++)
        for (int i = 0; i < PER_TENANT; i++) push(&q, &entries[t][i], names[t], 50, 500, 0);
    for (now = 0; now < 400000; now++)
        for (int s = 0; s < SERVERS; s++) {
            if (running[s] && ends[s] > now) continue;
            if (running[s]) {
                queue_charge(&q, running[s], used[s]);
                push(&q, running[s], running[s]->tenant, 50, 500, now);
            }
            running[s] = queue_first(&q);
            int t = tenant_of(running[s]);
            queue_take(&q, running[s], now);
            used[s] = 50 + rnd(200 * (uint32_t)(t + 1)); /* 150 to 1,050 on average */
            ends[s] = now + used[s];
            got[t] += used[s];
        }
    assert_true(jain(got, TENANTS) >= 0.95);
    queue_free(&q);
}

/* A tenant that has dumped a thousand requests does not keep others waiting, however old its
 * requests get: ageing is no part of the turns. */
static void test_who_came_first_with_many_does_not_stay_ahead(void **state)
{
    (void)state;
    enum { MANY = 1000 };
    static struct queue_entry dump[MANY];
    struct queue_entry one = {0};
    struct queue q;
    memset(dump, 0, sizeof dump);
    queue_init(&q, 1000);
    for (int i = 0; i < MANY; i++) push(&q, &dump[i], "greedy", 50, 300, 0);
    for (int i = 0; i < 100; i++) queue_take(&q, queue_first(&q), 600000); /* ten minutes later */
    push(&q, &one, "modest", 50, 300, 600000);
    assert_in_range(queue_position(&q, &one), 0, 2);
    queue_free(&q);
}

static void test_asking_one_at_a_time_does_not_pay(void **state)
{
    (void)state;
    struct queue q;
    struct queue_entry big = {0}, small[200];
    int64_t got[2] = {0};
    memset(small, 0, sizeof small);
    queue_init(&q, 0);
    for (int i = 0; i < 200; i++) push(&q, &small[i], "many", 50, 100, 0);
    push(&q, &big, "one", 50, 2000, 0);
    for (int i = 0; i < 150; i++) {
        struct queue_entry *e = queue_first(&q);
        queue_take(&q, e, i);
        got[e == &big] += e->cost;
        if (e == &big) push(&q, e, "one", 50, 2000, i); /* the next one at once */
    }
    assert_true(jain(got, 2) >= 0.95);
    queue_free(&q);
}

static void test_old_debts_are_forgiven(void **state)
{
    (void)state;
    for (int later = 0; later < 2; later++) {
        struct queue q;
        struct queue_entry a = {0}, b = {0}, more = {0};
        queue_init(&q, 0);
        push(&q, &a, "a", 50, 100, 0);
        queue_take(&q, &a, 0);
        queue_charge(&q, &a, 20000); /* far longer than it was taken for */
        int64_t now = later ? QUEUE_MEMORY_MS : QUEUE_MEMORY_MS - 1;
        push(&q, &a, "a", 50, 100, now);
        push(&q, &b, "b", 50, 100, now);
        push(&q, &more, "b", 50, 100, now);
        queue_take(&q, queue_first(&q), now);
        assert_true(later ? !a.queued : !b.queued);
        if (!later) assert_ptr_equal(queue_first(&q), &more);
        queue_free(&q);
    }
}

/* ---- priorities and tenants together --------------------------------------------------------- */

/* Ageing lets one old request of each tenant pass, and not the young ones behind it. */
static void test_promotion_is_earned_by_each_entry_itself(void **state)
{
    (void)state;
    struct queue q;
    struct queue_entry old = {0}, young = {0}, urgent[3];
    memset(urgent, 0, sizeof urgent);
    queue_init(&q, 100);
    push(&q, &old, "a", 50, 1, 0);
    push(&q, &young, "b", 50, 1, 9000);
    for (int i = 0; i < 3; i++) push(&q, &urgent[i], "c", 10, 1, 9000 + i);
    assert_ptr_equal(queue_first(&q), &old);
    assert_ptr_equal(queue_urgent(&q), &urgent[0]);
    queue_take(&q, &old, 9100);
    assert_int_equal(q.promotions, 1);
    assert_ptr_equal(queue_first(&q), &urgent[0]);
    assert_int_equal(queue_position(&q, &young), 3);
    queue_free(&q);
}

/* What is taken comes from the best priority, or has waited long enough to pass it; and of a worse
 * priority nothing is left waiting that is ahead of it. */
static void test_starvation_bound(void **state)
{
    (void)state;
    enum { N = 3000, AGEING = 40 };
    static struct queue_entry entries[N];
    struct queue q;
    int64_t waited_most = 0;
    memset(entries, 0, sizeof entries);
    queue_init(&q, AGEING);
    seed = 3;
    int pushed = 0;
    for (int64_t now = 0; now < N * 11; now += 10) { /* served slower than they come: a backlog */
        while (pushed < N && pushed * 9 <= now) {
            push(&q, &entries[pushed], names[rnd(3)], (int32_t)rnd(101), 1 + rnd(50), now);
            pushed++;
        }
        struct queue_entry *e = queue_first(&q);
        if (!e) continue;
        const struct queue_entry *urgent = queue_urgent(&q);
        assert_true(e == urgent || queue_before(&q, e, urgent) || e->priority == urgent->priority);
        for (int i = 0; i < pushed; i++)
            if (entries[i].queued && entries[i].priority > e->priority)
                assert_false(queue_before(&q, &entries[i], e));
        if (now - e->arrived_ms > waited_most) waited_most = now - e->arrived_ms;
        queue_take(&q, e, now);
    }
    assert_true(q.promotions > 0);
    assert_true(waited_most < 100 * AGEING + N * 2); /* all its steps and the backlog */
    queue_free(&q);
}

static bool is_bob(const struct queue_entry *e, void *ctx)
{
    (*(int *)ctx)++;
    return strcmp(e->tenant, "bob") == 0;
}

static void test_finding_by_tenant(void **state)
{
    (void)state;
    struct queue q;
    struct queue_entry e[4];
    int asked = 0;
    memset(e, 0, sizeof e);
    queue_init(&q, 0);
    push(&q, &e[0], "ann", 10, 1, 0);
    push(&q, &e[1], "ann", 50, 1, 0);
    push(&q, &e[2], "bob", 50, 1, 0);
    push(&q, &e[3], "bob", 50, 1, 0);
    assert_null(queue_find(&q, 49, is_bob, &asked));
    assert_int_equal(asked, 1);
    assert_ptr_equal(queue_find(&q, 50, is_bob, &asked), &e[2]);
    queue_free(&q);
}

/* ---- walking -------------------------------------------------------------------------------- */

struct walked {
    struct queue_entry *order[2000];
    int n;
};

static bool note(struct queue_entry *e, int32_t position, void *ctx)
{
    struct walked *w = ctx;
    assert_int_equal(position, w->n);
    w->order[w->n++] = e;
    return true;
}

/* What a walk says is what then happens, and asking does not change it. */
static void test_walk_tells_the_order_of_service(void **state)
{
    (void)state;
    enum { N = 1000 };
    static struct queue_entry entries[N];
    static struct walked w, again;
    struct queue q;
    memset(entries, 0, sizeof entries);
    for (int64_t ageing = 0; ageing <= 30; ageing += 30) {
        memset(entries, 0, sizeof entries);
        queue_init(&q, ageing);
        seed = 4;
        for (int i = 0; i < N; i++)
            push(&q, &entries[i], names[rnd(TENANTS)], (int32_t)rnd(5) * 20, 1 + rnd(2000), i);
        for (int i = 0; i < 50; i++) queue_take(&q, queue_first(&q), N);
        for (int i = 0; i < 20; i++) queue_remove(&q, &entries[rnd(N)]);
        w.n = again.n = 0;
        queue_walk(&q, INT32_MAX, note, &w);
        queue_walk(&q, INT32_MAX, note, &again);
        assert_int_equal(w.n, q.length);
        assert_memory_equal(w.order, again.order, (size_t)w.n * sizeof *w.order);
        assert_int_equal(queue_position(&q, w.order[77]), 77);
        for (int i = 0; i < w.n; i++) {
            assert_ptr_equal(queue_first(&q), w.order[i]);
            queue_take(&q, w.order[i], N);
        }
        again.n = 0;
        queue_walk(&q, INT32_MAX, note, &again);
        assert_int_equal(again.n, 0);
        queue_free(&q);
    }
}

/* ---- coming back ----------------------------------------------------------------------------- */

static void test_a_paused_entry_is_next_and_pays_for_what_it_used(void **state)
{
    (void)state;
    struct queue q;
    struct queue_entry a[3], b[3];
    memset(a, 0, sizeof a);
    memset(b, 0, sizeof b);
    queue_init(&q, 1000);
    for (int i = 0; i < 3; i++) {
        push(&q, &a[i], "a", 50, 200, i);
        push(&q, &b[i], "b", 50, 200, i);
    }
    queue_take(&q, queue_first(&q), 100);
    assert_false(a[0].queued);
    queue_return(&q, &a[0], 150, 60100); /* it ran for a minute */
    assert_int_equal(a[0].cost, 50);
    assert_int_equal(a[0].arrived_ms, 60000); /* which was no waiting */
    assert_ptr_equal(queue_first(&q), &a[0]);
    const struct queue_entry *expected[6] = {&a[0], &b[0], &a[1], &b[1], &a[2], &b[2]};
    for (int i = 0; i < 6; i++) {
        struct queue_entry *e = queue_first(&q);
        assert_ptr_equal(e, expected[i]);
        queue_take(&q, e, 60200);
    }
    queue_free(&q);
}

/* ---- deadlines ------------------------------------------------------------------------------- */

static void test_next_deadline(void **state)
{
    (void)state;
    struct queue q;
    struct queue_entry e[100];
    int64_t at = 0;
    memset(e, 0, sizeof e);
    queue_init(&q, 1000);
    assert_null(queue_next_deadline(&q, &at));
    for (int i = 0; i < 100; i++) {
        struct queue_item item = {.tenant = names[i % TENANTS],
                                  .priority = i,
                                  .deadline_ms = i % 2 ? 1000 + (i * 37) % 100 : 0};
        queue_push(&q, &e[i], &item);
    }
    int64_t before = 0;
    for (int i = 0; i < 50; i++) {
        struct queue_entry *next = queue_next_deadline(&q, &at);
        assert_non_null(next);
        assert_true(at >= before);
        before = at;
        queue_remove(&q, next);
    }
    assert_null(queue_next_deadline(&q, &at));
    assert_int_equal(q.length, 50);
    queue_free(&q);
}

/* ---- storms ---------------------------------------------------------------------------------- */

/* Arrivals, service, pauses, corrections and cancellations at random; nothing is lost or told
 * twice, and at the end nothing is left. */
static void test_a_storm_of_everything(void **state)
{
    (void)state;
    enum { N = 400, ROUNDS = 200000, NEW = 0, TAKEN = 1 };
    static struct queue_entry entries[N];
    static char what[N];
    struct queue q;
    int32_t queued = 0;
    memset(entries, 0, sizeof entries);
    memset(what, NEW, sizeof what);
    queue_init(&q, 10);
    seed = 5;
    for (int64_t now = 0; now < ROUNDS; now++) {
        uint32_t i = rnd(N);
        struct queue_entry *e = &entries[i];
        if (e->queued && rnd(3)) {
            queue_remove(&q, e);
            queue_remove(&q, e);
            queued--;
        } else if (e->queued) {
            struct queue_entry *first = queue_first(&q);
            assert_non_null(first);
            queue_take(&q, first, now);
            what[first - entries] = TAKEN;
            queued--;
        } else if (what[i] == TAKEN) {
            what[i] = NEW;
            if (rnd(2)) {
                queue_charge(&q, e, rnd(5000));
            } else {
                queue_return(&q, e, rnd(5000), now);
                queued++;
            }
        } else {
            struct queue_item item = {.tenant = names[rnd(TENANTS)],
                                      .priority = (int32_t)rnd(101),
                                      .cost = rnd(3000),
                                      .arrived_ms = now,
                                      .deadline_ms = rnd(2) ? now + rnd(100) : 0};
            queue_push(&q, e, &item);
            queued++;
        }
        assert_int_equal(q.length, queued);
    }
    struct queue_stats st = {.oldest_ms = -1};
    queue_stats(&q, &st);
    assert_int_equal(st.depth, queued);
    int32_t sum = 0;
    for (int p = 0; p < QUEUE_LEVELS; p++) sum += st.by_priority[p];
    assert_int_equal(sum, queued);
    for (int i = 0; i < N; i++) queue_remove(&q, &entries[i]);
    assert_null(queue_first(&q));
    assert_null(queue_urgent(&q));
    assert_int_equal(q.in_use[0] | q.in_use[1], 0);
    int64_t at;
    assert_null(queue_next_deadline(&q, &at));
    queue_free(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ten_tenants_of_unequal_demand_get_equal_shares),
        cmocka_unit_test(test_shares_are_of_what_was_used_not_of_what_was_estimated),
        cmocka_unit_test(test_who_came_first_with_many_does_not_stay_ahead),
        cmocka_unit_test(test_asking_one_at_a_time_does_not_pay),
        cmocka_unit_test(test_old_debts_are_forgiven),
        cmocka_unit_test(test_promotion_is_earned_by_each_entry_itself),
        cmocka_unit_test(test_starvation_bound),
        cmocka_unit_test(test_finding_by_tenant),
        cmocka_unit_test(test_walk_tells_the_order_of_service),
        cmocka_unit_test(test_a_paused_entry_is_next_and_pays_for_what_it_used),
        cmocka_unit_test(test_next_deadline),
        cmocka_unit_test(test_a_storm_of_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
