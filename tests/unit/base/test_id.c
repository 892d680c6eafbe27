/* Random identifiers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ctype.h>
#include <string.h>

#include "base/id.h"
#include "base/map.h"

static void test_ids_have_the_form_and_differ(void **state)
{
    (void)state;
    struct map *seen = map_new();
    int counts[128] = {0};
    for (int i = 0; i < 2000; i++) {
        char id[40];
        id_make(id, sizeof id, "chatcmpl-");
        assert_int_equal(strlen(id), 9 + 24);
        assert_memory_equal(id, "chatcmpl-", 9);
        for (char *p = id + 9; *p; p++) {
            assert_true(isalnum((unsigned char)*p));
            counts[(unsigned char)*p]++;
        }
        assert_null(map_put(seen, id, seen));
    }
    map_free(seen);
    /* 48,000 characters over 62 letters: 774 each; 5 standard deviations are 139. */
    for (int c = 0; c < 128; c++)
        if (isalnum(c)) assert_in_range(counts[c], 774 - 139, 774 + 139);
}

static void test_uuid_has_version_and_variant(void **state)
{
    (void)state;
    char a[37], b[37];
    id_uuid4(a);
    id_uuid4(b);
    assert_int_equal(strlen(a), 36);
    for (int i = 0; i < 36; i++) {
        if (i == 8 || i == 13 || i == 18 || i == 23)
            assert_int_equal(a[i], '-');
        else
            assert_non_null(strchr("0123456789abcdef", a[i]));
    }
    assert_int_equal(a[14], '4');
    assert_non_null(strchr("89ab", a[19]));
    assert_string_not_equal(a, b);
}

static void test_random_fills_everything(void **state)
{
    (void)state;
    unsigned char all[1000] = {0}, once[1000];
    for (int round = 0; round < 8; round++) {
        id_random(once, sizeof once);
        for (size_t i = 0; i < sizeof once; i++) all[i] |= once[i];
    }
    for (size_t i = 0; i < sizeof all; i++) assert_int_not_equal(all[i], 0);
    assert_true(id_random_u64() != id_random_u64());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids_have_the_form_and_differ),
        cmocka_unit_test(test_uuid_has_version_and_variant),
        cmocka_unit_test(test_random_fills_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
