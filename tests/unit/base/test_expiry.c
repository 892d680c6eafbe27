/* The heap of deadlines against a plain search, with removals from everywhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/expiry.h"

enum { N = 2000 };
static struct expiry_node nodes[N];

static const struct expiry_node *least(void)
{
    const struct expiry_node *best = NULL;
    for (int i = 0; i < N; i++)
        if (nodes[i].in && (!best || nodes[i].at_ms < best->at_ms)) best = &nodes[i];
    return best;
}

static void test_against_a_search(void **state)
{
    (void)state;
    struct expiry x = {0};
    uint32_t seed = 7;
    assert_null(expiry_first(&x));
    for (int round = 0; round < 20000; round++) {
        seed = seed * 1664525 + 1013904223;
        struct expiry_node *n = &nodes[(seed >> 8) % N];
        if (n->in)
            expiry_remove(&x, n);
        else
            expiry_add(&x, n, (int64_t)(seed >> 20));
        if (round % 5 == 0) {
            const struct expiry_node *want = least(), *got = expiry_first(&x);
            assert_true(!want == !got);
            if (want) assert_int_equal(got->at_ms, want->at_ms);
        }
    }
    int64_t before = INT64_MIN;
    for (struct expiry_node *n; (n = expiry_first(&x)); expiry_remove(&x, n)) {
        assert_true(n->at_ms >= before);
        before = n->at_ms;
    }
    assert_null(least());
    expiry_remove(&x, &nodes[0]); /* not in: nothing */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_against_a_search)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
