/* Buffer: growth, maximum, sticky errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/fault.h"

static void test_pieces_add_up_and_end_with_nul(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 100000);
    assert_null(b.data);
    assert_string_equal(buf_str(&b), "");
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(buf_append(&b, "ab", 2), OK);
        assert_int_equal(buf_putc(&b, 'c'), OK);
        assert_int_equal(buf_printf(&b, "%03d", i), OK);
        assert_int_equal(buf_puts(&b, ";"), OK);
        assert_int_equal(b.data[b.len], 0);
    }
    assert_int_equal(b.len, 7000);
    assert_memory_equal(b.data, "abc000;abc001;", 14);
    assert_string_equal(b.data + 6993, "abc999;");
    buf_free(&b);
    assert_null(b.data);
    assert_int_equal(buf_puts(&b, "again"), OK);
    buf_free(&b);
}

static void test_maximum_is_exact_and_error_sticks(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 10);
    assert_int_equal(buf_puts(&b, "0123456789"), OK);
    assert_int_equal(buf_putc(&b, 'x'), ERR_TOO_LARGE);
    assert_int_equal(buf_append(&b, "", 0), ERR_TOO_LARGE);
    assert_int_equal(buf_printf(&b, "%s", ""), ERR_TOO_LARGE);
    assert_int_equal(b.err, ERR_TOO_LARGE);
    assert_string_equal(buf_str(&b), "0123456789");
    buf_clear(&b);
    assert_int_equal(buf_puts(&b, "ok"), OK);
    assert_string_equal(buf_str(&b), "ok");
    buf_free(&b);
}

static void test_refused_printf_leaves_no_trace(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 8);
    buf_puts(&b, "abc");
    assert_int_equal(buf_printf(&b, "%d", 123456), ERR_TOO_LARGE);
    assert_int_equal(b.len, 3);
    assert_string_equal(buf_str(&b), "abc");
    buf_free(&b);
    buf_init(&b, 8);
    assert_int_equal(buf_printf(&b, "%d", 12345678), OK);
    assert_string_equal(buf_str(&b), "12345678");
    buf_free(&b);
}

static void test_absurd_sizes_are_refused(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, SIZE_MAX);
    buf_puts(&b, "x");
    assert_int_equal(buf_reserve(&b, SIZE_MAX), ERR_TOO_LARGE);
    buf_free(&b);
    buf_init(&b, 0);
    assert_int_equal(buf_append(&b, NULL, 0), OK);
    assert_int_equal(buf_putc(&b, 'x'), ERR_TOO_LARGE);
    buf_free(&b);
}

static void test_consume_drops_the_front(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 100);
    buf_consume(&b, 0);
    buf_puts(&b, "hello world");
    buf_consume(&b, 6);
    assert_string_equal(buf_str(&b), "world");
    buf_consume(&b, 5);
    assert_int_equal(b.len, 0);
    assert_string_equal(buf_str(&b), "");
    buf_free(&b);
}

static void test_take_hands_the_memory_over(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 100);
    buf_puts(&b, "mine");
    char *s = buf_take(&b);
    assert_string_equal(s, "mine");
    assert_null(b.data);
    free(s);
    s = buf_take(&b);
    assert_string_equal(s, "");
    free(s);
}

static void test_fixed_memory_never_grows(void **state)
{
    (void)state;
    char mem[8];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    assert_int_equal(buf_puts(&b, "1234567"), OK);
    assert_ptr_equal(b.data, mem);
    assert_int_equal(buf_putc(&b, '8'), ERR_TOO_LARGE);
    assert_string_equal(mem, "1234567");
}

/* Every allocation of a writer fails once; the error must stick and the content stay whole. */
static void test_nth_allocation_fails(void **state)
{
    (void)state;
#if HEARTH_FAULTS
    int failed = 0;
    for (int nth = 1; nth < 50; nth++) {
        struct buf b;
        buf_init(&b, 100000);
        fault_arm(FAULT_alloc, nth, false);
        for (int i = 0; i < 2000; i++) buf_printf(&b, "%05d,", i);
        fault_arm(FAULT_alloc, 0, false);
        if (!b.err) {
            assert_int_equal(b.len, 12000);
            buf_free(&b);
            break;
        }
        failed++;
        assert_int_equal(b.err, ERR_NOMEM);
        assert_int_equal(b.len % 6, 0);
        assert_int_equal(strlen(buf_str(&b)), b.len);
        buf_free(&b);
    }
    assert_in_range(failed, 5, 20);
#else
    skip();
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces_add_up_and_end_with_nul),
        cmocka_unit_test(test_maximum_is_exact_and_error_sticks),
        cmocka_unit_test(test_refused_printf_leaves_no_trace),
        cmocka_unit_test(test_absurd_sizes_are_refused),
        cmocka_unit_test(test_consume_drops_the_front),
        cmocka_unit_test(test_take_hands_the_memory_over),
        cmocka_unit_test(test_fixed_memory_never_grows),
        cmocka_unit_test(test_nth_allocation_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
