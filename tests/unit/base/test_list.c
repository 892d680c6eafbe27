/* Ring list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/list.h"

struct item {
    int n;
    struct list_node node;
};

static void assert_order(struct list_node *head, const int *want, size_t n)
{
    size_t i = 0;
    list_each (node, head) {
        assert_true(i < n);
        assert_int_equal(container_of(node, struct item, node)->n, want[i++]);
    }
    assert_int_equal(i, n);
}

static void test_order_and_removal(void **state)
{
    (void)state;
    struct list_node head;
    list_init(&head);
    assert_true(list_empty(&head));
    assert_null(list_pop_front(&head));
    struct item items[4] = {{.n = 0}, {.n = 1}, {.n = 2}, {.n = 3}};
    list_push_back(&head, &items[1].node);
    list_push_back(&head, &items[3].node);
    list_push_front(&head, &items[0].node);
    list_insert_before(&items[3].node, &items[2].node);
    assert_order(&head, (const int[]){0, 1, 2, 3}, 4);
    list_remove(&items[2].node);
    list_remove(&items[2].node);
    assert_order(&head, (const int[]){0, 1, 3}, 3);
    assert_ptr_equal(list_pop_front(&head), &items[0].node);
    list_each_safe(node, &head) list_remove(node);
    assert_true(list_empty(&head));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_order_and_removal)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
