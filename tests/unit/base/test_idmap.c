#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/fault.h"
#include "base/idmap.h"

enum { N = 10000 };

static void test_put_get_del(void **state)
{
    (void)state;
    static struct idnode nodes[N];
    struct idmap m;
    idmap_init(&m);
    assert_null(idmap_get(&m, 1));
    assert_null(idmap_any(&m));
    for (uint64_t i = 0; i < N; i++) idmap_put(&m, &nodes[i], i * 64 + 1);
    assert_int_equal(m.count, N);
    assert_true(m.n_buckets >= N / 2); /* it grew */
    for (uint64_t i = 0; i < N; i++) assert_ptr_equal(idmap_get(&m, i * 64 + 1), &nodes[i]);
    assert_null(idmap_get(&m, 2));
    for (uint64_t i = 0; i < N; i += 2) assert_ptr_equal(idmap_del(&m, i * 64 + 1), &nodes[i]);
    assert_null(idmap_del(&m, 1));
    assert_null(idmap_get(&m, 1));
    assert_ptr_equal(idmap_get(&m, 65), &nodes[1]);
    size_t left = 0;
    for (struct idnode *n; (n = idmap_any(&m)); left++) assert_ptr_equal(idmap_del(&m, n->id), n);
    assert_int_equal(left, N / 2);
    idmap_free(&m);
}

#if HEARTH_FAULTS
static void test_works_without_memory_to_grow(void **state)
{
    (void)state;
    static struct idnode nodes[N];
    struct idmap m;
    idmap_init(&m);
    fault_arm(FAULT_alloc, 1, true);
    for (uint64_t i = 0; i < 1000; i++) idmap_put(&m, &nodes[i], i + 1);
    fault_arm(FAULT_alloc, 0, false);
    assert_int_equal(m.n_buckets, 64);
    for (uint64_t i = 0; i < 1000; i++) assert_ptr_equal(idmap_get(&m, i + 1), &nodes[i]);
    idmap_free(&m);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_put_get_del),
#if HEARTH_FAULTS
        cmocka_unit_test(test_works_without_memory_to_grow),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
