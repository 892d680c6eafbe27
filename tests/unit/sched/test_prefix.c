/* The index of prefixes: longest common beginnings, tenants, adapters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/fault.h"
#include "sched/prefix.h"

enum { N = 1000, ITEMS = 300 };

static int32_t base[N];

static void fill(int32_t *tokens, int32_t n, uint32_t seed)
{
    for (int32_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        tokens[i] = (int32_t)(seed >> 16);
    }
}

static struct prefix some(const char *tenant, const int32_t *tokens, int32_t n)
{
    return (struct prefix){.model = 1, .tenant = tenant, .tokens = tokens, .n_tokens = n};
}

static void test_common_looks_at_every_token(void **state)
{
    (void)state;
    int32_t other[N];
    memcpy(other, base, sizeof base);
    struct prefix a = some("t", base, N), b = some("t", other, N);
    assert_int_equal(prefix_common(&a, &b), N);
    for (int32_t i = 0; i < N; i++) {
        other[i]++;
        assert_int_equal(prefix_common(&a, &b), i);
        other[i]--;
    }
    b.n_tokens = 17;
    assert_int_equal(prefix_common(&a, &b), 17);
    b.n_tokens = 0;
    assert_int_equal(prefix_common(&a, &b), 0);
}

static void test_nothing_in_common_across_models_and_adapters(void **state)
{
    (void)state;
    struct prefix a = some("t", base, N), b = a;
    b.model = 2;
    assert_int_equal(prefix_common(&a, &b), 0);
    b = a;
    b.adapter = 7;
    assert_int_equal(prefix_common(&a, &b), 0);
}

static void test_tenants_have_declared_prefixes_in_common_only(void **state)
{
    (void)state;
    struct prefix a = some("a", base, N), b = some("b", base, N);
    assert_int_equal(prefix_common(&a, &b), 0);
    a.n_declared = 200;
    assert_int_equal(prefix_common(&a, &b), 0); /* not declared for b's */
    b.n_declared = 100;
    assert_int_equal(prefix_common(&a, &b), 100);
    b.tenant = "a";
    assert_int_equal(prefix_common(&a, &b), N);
}

static struct prefix_item *find(struct prefix_index *x, struct prefix want, bool whole, int32_t *n)
{
    return prefix_index_find(x, &want, whole, n);
}

static void test_the_longest_is_found(void **state)
{
    (void)state;
    struct prefix_index x;
    static int32_t tokens[ITEMS][N];
    struct prefix_item items[ITEMS];
    prefix_index_init(&x);
    /* item i goes along with `base` for 3 * i tokens */
    for (int32_t i = 0; i < ITEMS; i++) {
        fill(tokens[i], N, 100 + (uint32_t)i);
        memcpy(tokens[i], base, 3 * (size_t)i * sizeof(int32_t));
        tokens[i][3 * i] = base[3 * i] + 1;
        items[i] = (struct prefix_item){.prefix = some("t", tokens[i], N)};
        assert_true(prefix_index_add(&x, &items[i]));
    }
    int32_t n;
    for (int32_t i = ITEMS - 1; i >= 0; i--) {
        struct prefix_item *got = find(&x, some("t", base, N), false, &n);
        if (3 * i < PREFIX_BLOCK) {
            assert_null(got);
            assert_int_equal(n, 0);
        } else {
            assert_ptr_equal(got, &items[i]);
            assert_int_equal(n, 3 * i);
        }
        assert_null(find(&x, some("u", base, N), false, &n));
        assert_null(find(&x, some("t", base, N), true, &n)); /* none is wholly in it */
        prefix_index_remove(&x, &items[i]);
    }
    assert_int_equal(x.n_nodes, 0);
    prefix_index_free(&x);
}

static void test_whole_items_may_be_shorter_than_the_best(void **state)
{
    (void)state;
    struct prefix_index x;
    int32_t longer[N];
    prefix_index_init(&x);
    memcpy(longer, base, sizeof base);
    longer[500] ^= 1;
    struct prefix_item a = {.prefix = some("t", longer, N)}, b = {.prefix = some("t", base, 96)};
    assert_true(prefix_index_add(&x, &a) && prefix_index_add(&x, &b));
    int32_t n;
    assert_ptr_equal(find(&x, some("t", base, N), false, &n), &a);
    assert_int_equal(n, 500);
    assert_ptr_equal(find(&x, some("t", base, N), true, &n), &b);
    assert_int_equal(n, 96);
    prefix_index_remove(&x, &a);
    prefix_index_remove(&x, &b);
    prefix_index_free(&x);
}

static void test_declared_prefixes_are_found_across_tenants(void **state)
{
    (void)state;
    struct prefix_index x;
    prefix_index_init(&x);
    struct prefix_item a = {.prefix = some("a", base, N)};
    a.prefix.n_declared = 170; /* not at the end of a block */
    assert_true(prefix_index_add(&x, &a));
    int32_t n;
    struct prefix want = some("b", base, N);
    assert_null(find(&x, want, false, &n));
    want.n_declared = 170;
    assert_ptr_equal(find(&x, want, false, &n), &a);
    assert_int_equal(n, 170);
    want.tenant = "a";
    assert_ptr_equal(find(&x, want, false, &n), &a);
    assert_int_equal(n, N);
    prefix_index_remove(&x, &a);
    prefix_index_free(&x);
}

/* Two items with the same hashes but other tokens: as if the hash had collided. */
static void test_a_hash_is_never_believed(void **state)
{
    (void)state;
    struct prefix_index x;
    int32_t tokens[64];
    prefix_index_init(&x);
    memcpy(tokens, base, sizeof tokens);
    struct prefix_item a = {.prefix = some("t", tokens, 64)};
    assert_true(prefix_index_add(&x, &a));
    tokens[40]++; /* behind the index's back */
    int32_t n;
    assert_ptr_equal(find(&x, some("t", base, N), false, &n), &a);
    assert_int_equal(n, 40);
    tokens[3]++;
    assert_null(find(&x, some("t", base, N), false, &n));
    prefix_index_remove(&x, &a);
    prefix_index_free(&x);
}

#if HEARTH_FAULTS
static void test_no_memory(void **state)
{
    (void)state;
    struct prefix_index x;
    prefix_index_init(&x);
    for (long nth = 1; nth < 4; nth++) {
        struct prefix_item a = {.prefix = some("t", base, N)};
        int32_t n;
        fault_arm(FAULT_alloc, nth, true);
        bool ok = prefix_index_add(&x, &a);
        find(&x, some("t", base, N), false, &n);
        fault_arm(FAULT_alloc, 0, false);
        if (ok) assert_ptr_equal(find(&x, some("t", base, N), false, &n), &a);
        prefix_index_remove(&x, &a);
        assert_null(find(&x, some("t", base, N), false, &n));
    }
    prefix_index_free(&x);
}
#endif

int main(void)
{
    fill(base, N, 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_common_looks_at_every_token),
        cmocka_unit_test(test_nothing_in_common_across_models_and_adapters),
        cmocka_unit_test(test_tenants_have_declared_prefixes_in_common_only),
        cmocka_unit_test(test_the_longest_is_found),
        cmocka_unit_test(test_whole_items_may_be_shorter_than_the_best),
        cmocka_unit_test(test_declared_prefixes_are_found_across_tenants),
        cmocka_unit_test(test_a_hash_is_never_believed),
#if HEARTH_FAULTS
        cmocka_unit_test(test_no_memory),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
