/* Arena: zeroed, aligned, bounded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdalign.h>
#include <string.h>

#include "base/arena.h"
#include "base/fault.h"

static void test_memory_is_zeroed_aligned_and_apart(void **state)
{
    (void)state;
    struct arena *a = arena_new(1024 * 1024);
    unsigned char *blocks[300];
    size_t sizes[300];
    for (size_t i = 0; i < 300; i++) {
        sizes[i] = i * 37 % 5000;
        blocks[i] = arena_alloc(a, sizes[i]);
        assert_non_null(blocks[i]);
        assert_int_equal((uintptr_t)blocks[i] % alignof(max_align_t), 0);
        for (size_t j = 0; j < sizes[i]; j++) assert_int_equal(blocks[i][j], 0);
        memset(blocks[i], (int)(i % 251) + 1, sizes[i]);
    }
    for (size_t i = 0; i < 300; i++)
        for (size_t j = 0; j < sizes[i]; j++) assert_int_equal(blocks[i][j], i % 251 + 1);
    arena_free(a);
}

static void test_maximum_refuses_and_the_arena_stays_usable(void **state)
{
    (void)state;
    struct arena *a = arena_new(10000);
    assert_non_null(arena_alloc(a, 6000));
    assert_null(arena_alloc(a, 5000));
    assert_non_null(arena_alloc(a, 3000));
    assert_true(arena_used(a) >= 9000 && arena_used(a) <= 10000);
    assert_null(arena_alloc(a, 5000));
    assert_null(arena_alloc(a, SIZE_MAX));
    assert_null(arena_alloc(a, SIZE_MAX - 8));
    assert_null(arena_calloc(a, SIZE_MAX / 2, 3));
    arena_free(a);
    a = arena_new(0);
    assert_null(arena_alloc(a, 1));
    arena_free(a);
    arena_free(NULL);
}

static void test_exactly_the_maximum_fits(void **state)
{
    (void)state;
    struct arena *a = arena_new(64);
    assert_non_null(arena_alloc(a, 64));
    assert_null(arena_alloc(a, 1));
    arena_free(a);
}

static void test_strings(void **state)
{
    (void)state;
    struct arena *a = arena_new(1000);
    assert_string_equal(arena_strdup(a, "hello"), "hello");
    assert_string_equal(arena_strndup(a, "hello", 2), "he");
    char *bytes = arena_strndup(a, "a\0b", 3);
    assert_memory_equal(bytes, "a\0b", 4);
    assert_null(arena_strndup(a, "x", SIZE_MAX));
    char big[2000];
    memset(big, 'x', sizeof big);
    assert_null(arena_strndup(a, big, sizeof big));
    arena_free(a);
}

/* A child's owner may be the last to go, or the first. */
static void test_children_keep_their_parent(void **state)
{
    (void)state;
    for (int order = 0; order < 2; order++) {
        struct arena *parent = arena_new(1000), *a = arena_child(parent, 100),
                     *b = arena_child(parent, 100);
        const char *text = arena_strdup(parent, "said once");
        const char **borrowed = arena_alloc(a, sizeof *borrowed);
        *borrowed = text;
        assert_null(arena_alloc(b, 200)); /* a maximum of its own */
        if (order == 0) arena_free(parent);
        arena_free(b);
        assert_string_equal(*borrowed, "said once");
        arena_free(a);
        if (order == 1) assert_string_equal(text, "said once");
        if (order == 1) arena_free(parent);
    }
}

static void test_failed_allocation_is_null(void **state)
{
    (void)state;
#if HEARTH_FAULTS
    struct arena *a = arena_new(1024 * 1024);
    assert_non_null(arena_alloc(a, 100));
    fault_arm(FAULT_alloc, 1, false);
    size_t used = arena_used(a);
    assert_null(arena_alloc(a, 100000));
    assert_int_equal(arena_used(a), used);
    assert_non_null(arena_alloc(a, 100000));
    fault_arm(FAULT_alloc, 0, false);
    arena_free(a);
#else
    skip();
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_is_zeroed_aligned_and_apart),
        cmocka_unit_test(test_maximum_refuses_and_the_arena_stays_usable),
        cmocka_unit_test(test_exactly_the_maximum_fits),
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_children_keep_their_parent),
        cmocka_unit_test(test_failed_allocation_is_null),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
