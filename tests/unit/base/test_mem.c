/* Allocation: copies, overflow, injected failures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/mem.h"

static void test_small_allocations(void **state)
{
    (void)state;
    char *p = xcalloc(3, 5);
    for (int i = 0; i < 15; i++) assert_int_equal(p[i], 0);
    free(p);
    p = xmalloc(0);
    assert_non_null(p);
    free(p);
    p = xstrdup("abc");
    assert_string_equal(p, "abc");
    free(p);
    p = xstrndup("abc", 2);
    assert_string_equal(p, "ab");
    free(p);
    p = xstrndup("abc", 99);
    assert_string_equal(p, "abc");
    free(p);
}

static void test_overflow_is_null(void **state)
{
    (void)state;
    volatile size_t huge = SIZE_MAX / 2; /* hides the size from the compiler's own check */
    assert_null(try_calloc(huge, 3));
    char *p = try_malloc(4);
    assert_non_null(p);
    memcpy(p, "abc", 4);
    assert_null(try_realloc(p, huge, 3));
    assert_string_equal(p, "abc");
    p = try_realloc(p, 2, 8);
    assert_non_null(p);
    assert_string_equal(p, "abc");
    free(p);
}

static void test_injected_failures(void **state)
{
    (void)state;
#if HEARTH_FAULTS
    fault_arm(FAULT_alloc, 2, true);
    char *p = try_malloc(10);
    assert_non_null(p);
    assert_null(try_malloc(10));
    assert_null(try_calloc(1, 10));
    assert_null(try_realloc(p, 1, 20));
    assert_int_equal(fault_count(FAULT_alloc), 4);
    fault_arm(FAULT_alloc, 0, false);
    free(p);
#else
    skip();
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_allocations),
        cmocka_unit_test(test_overflow_is_null),
        cmocka_unit_test(test_injected_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
