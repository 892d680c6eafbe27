/* Strings, numbers, UTF-8, base64. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <locale.h>
#include <string.h>

#include "base/str.h"

static void test_copy_and_printf_tell_when_it_did_not_fit(void **state)
{
    (void)state;
    char dst[6];
    assert_true(str_copy(dst, sizeof dst, "12345"));
    assert_string_equal(dst, "12345");
    assert_false(str_copy(dst, sizeof dst, "123456"));
    assert_string_equal(dst, "12345");
    assert_true(str_printf(dst, sizeof dst, "%d", 12345));
    assert_false(str_printf(dst, sizeof dst, "%d", 123456));
    assert_string_equal(dst, "12345");
}

static void test_comparisons(void **state)
{
    (void)state;
    assert_true(str_eq("a", "a") && str_eq(NULL, NULL));
    assert_false(str_eq("a", NULL) || str_eq(NULL, "") || str_eq("a", "A"));
    assert_true(str_ieq("Content-TYPE", "content-type") && str_ieq(NULL, NULL));
    assert_false(str_ieq("ab", "abc") || str_ieq("abc", "ab") || str_ieq("@", "`"));
    assert_true(str_starts("abc", "ab") && str_starts("abc", ""));
    assert_false(str_starts("ab", "abc"));
    assert_true(str_ends("abc", "bc") && str_ends("abc", ""));
    assert_false(str_ends("bc", "abc"));
}

static void test_integers(void **state)
{
    (void)state;
    int64_t v = 77;
    assert_true(str_to_i64("-12", -100, 100, &v));
    assert_int_equal(v, -12);
    assert_true(str_to_i64("9223372036854775807", INT64_MIN, INT64_MAX, &v));
    assert_true(v == INT64_MAX);
    assert_true(str_to_i64("-9223372036854775808", INT64_MIN, INT64_MAX, &v));
    assert_true(v == INT64_MIN);
    const char *bad[] = {"",
                         "-",
                         "+",
                         " 1",
                         "1 ",
                         "1.0",
                         "0x10",
                         "1e3",
                         "--1",
                         "9223372036854775808",
                         "-9223372036854775809",
                         "99999999999999999999",
                         "101",
                         "-101"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        bool whole = i < 12;
        v = 77;
        assert_false(str_to_i64(bad[i], whole ? INT64_MIN : -100, whole ? INT64_MAX : 100, &v));
        assert_int_equal(v, 77);
    }
}

static void test_doubles(void **state)
{
    (void)state;
    double v = 0;
    assert_true(str_to_double("0.1", 0, 1, &v) && v == 0.1);
    assert_true(str_to_double("-1.5e3", -1e9, 1e9, &v) && v == -1500);
    assert_true(str_to_double("7", 0, 10, &v) && v == 7);
    const char *bad[] = {"",     " 1",    "1 ",    "1,5",   "nan", "inf",
                         "-inf", "0x1p3", "1e999", "1.2.3", "e5",  "1.5x"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(str_to_double(bad[i], -1e308, 1e308, &v));
    assert_false(str_to_double("1.01", 0, 1, &v));
}

static void test_numbers_ignore_the_locale(void **state)
{
    (void)state;
    const char *comma[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "de_DE"};
    bool found = false;
    for (size_t i = 0; i < 3 && !found; i++) found = setlocale(LC_ALL, comma[i]) != NULL;
    double v = 0;
    char text[32];
    bool ok = str_to_double("0.5", 0, 1, &v) && v == 0.5 && !str_to_double("0,5", 0, 1, &v) &&
              strcmp(str_from_bytes(text, sizeof text, 1536), "1.5 KiB") == 0;
    setlocale(LC_ALL, "C");
    assert_true(ok);
    if (!found) skip(); /* this machine has no locale with a comma */
}

static void test_booleans(void **state)
{
    (void)state;
    bool v = false;
    assert_true(str_to_bool("Yes", &v) && v);
    assert_true(str_to_bool("OFF", &v) && !v);
    assert_true(str_to_bool("1", &v) && v);
    assert_true(str_to_bool("false", &v) && !v);
    assert_false(str_to_bool("2", &v) || str_to_bool("", &v) || str_to_bool("tru", &v));
}

static void test_byte_sizes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {{"0", 0},        {"512", 512},     {"512B", 512},        {"16K", 16384},
                {"4M", 4 << 20}, {"4mb", 4 << 20}, {"1.5GiB", 3u << 29}, {"2T", UINT64_C(2) << 40},
                {"1 KiB", 1024}};
    uint64_t v;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(str_to_bytes(good[i].text, &v));
        assert_true(v == good[i].bytes);
    }
    const char *bad[] = {"",
                         "K",
                         "-1",
                         "1X",
                         "1KK",
                         ".5M",
                         "1.M",
                         "1..5M",
                         "1  K",
                         "1e3",
                         "99999999999999999999",
                         "99999999T",
                         "0x10"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_false(str_to_bytes(bad[i], &v));
}

static void test_bytes_as_text(void **state)
{
    (void)state;
    static const struct {
        uint64_t bytes;
        const char *text;
    } cases[] = {{0, "0 B"},
                 {1023, "1023 B"},
                 {1024, "1.0 KiB"},
                 {1536, "1.5 KiB"},
                 {1048575, "1.0 MiB"},
                 {1048576, "1.0 MiB"},
                 {10 << 20, "10.0 MiB"},
                 {UINT64_MAX, "16.0 EiB"}};
    char text[32];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(str_from_bytes(text, sizeof text, cases[i].bytes), cases[i].text);
}

static void test_utf8_validity(void **state)
{
    (void)state;
    const char *good[] = {"",
                          "abc",
                          "\xC2\x80",
                          "\xC3\xA9",
                          "\xE0\xA0\x80",
                          "\xED\x9F\xBF",
                          "\xEE\x80\x80",
                          "\xEF\xBF\xBF",
                          "\xF0\x90\x80\x80",
                          "\xF4\x8F\xBF\xBF"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(utf8_valid(good[i], strlen(good[i])));
    const char *bad[] = {"\x80",
                         "\xC0\x80",
                         "\xC1\xBF",
                         "\xC3",
                         "\xE0\x9F\xBF",
                         "\xED\xA0\x80",
                         "\xE2\x82",
                         "\xF0\x8F\xBF\xBF",
                         "\xF4\x90\x80\x80",
                         "\xF5\x80\x80\x80",
                         "\xFF",
                         "a\xE2\x82z",
                         "\xF0\x9F\x94"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(utf8_valid(bad[i], strlen(bad[i])));
    assert_int_equal(utf8_next("\xF0\x9F\x94\xA5x", 5), 4);
    assert_int_equal(utf8_next("\xF0\x9F\x94\xA5", 3), 0);
    assert_int_equal(utf8_next("x", 0), 0);
    assert_true(utf8_valid("a\0b", 3));
}

static void test_incomplete_tail(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t tail;
    } cases[] = {{"", 0},
                 {"abc", 0},
                 {"abc\xC3", 1},
                 {"\xC3\xA9", 0},
                 {"\xE2", 1},
                 {"\xE2\x82", 2},
                 {"\xE2\x82\xAC", 0},
                 {"x\xF0\x9F\x94", 3},
                 {"\xF0\x9F\x94\xA5", 0},
                 {"\x80\x80\x80\x80", 0}, /* the middle of nothing */
                 {"\xE0\x80", 0},         /* no character begins like this */
                 {"\xFF", 0},
                 {"\xC3\xA9\xA9", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(utf8_incomplete_tail(cases[i].text, strlen(cases[i].text)), cases[i].tail);
}

static void test_cut(void **state)
{
    (void)state;
    const char *s = "a\xE2\x82\xAC\xF0\x9F\x94\xA5";
    const size_t want[] = {0, 1, 1, 1, 4, 4, 4, 4, 8, 8};
    for (size_t max = 0; max < 10; max++) assert_int_equal(utf8_cut(s, strlen(s), max), want[max]);
    assert_int_equal(utf8_cut("\x80\x80\x80\x80\x80\x80", 6, 5), 5);
    assert_int_equal(utf8_cut("\x80\x80", 2, 1), 1);
    assert_int_equal(utf8_cut("", 0, 0), 0);
}

static void test_base64(void **state)
{
    (void)state;
    /* RFC 4648, section 10 */
    const char *plain = "foobar";
    const char *coded[] = {"", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
    for (size_t n = 0; n <= 6; n++) {
        char dst[16];
        base64_encode(dst, plain, n);
        assert_string_equal(dst, coded[n]);
        assert_int_equal(base64_len(n), strlen(coded[n]));
    }
    char dst[8];
    base64_encode(dst, "\xFB\xFF\xFE", 3);
    assert_string_equal(dst, "+//+");
}

static void test_distance(void **state)
{
    (void)state;
    assert_int_equal(str_distance("", ""), 0);
    assert_int_equal(str_distance("", "abc"), 3);
    assert_int_equal(str_distance("llma3.2", "LLAMA3.2"), 1);
    assert_int_equal(str_distance("prot", "port"), 1); /* a swap counts once */
    assert_int_equal(str_distance("kitten", "sitting"), 3);
    char longest[STR_DISTANCE_MAX + 2];
    memset(longest, 'x', sizeof longest - 1);
    longest[STR_DISTANCE_MAX + 1] = '\0';
    assert_true(str_distance("a", longest) == SIZE_MAX);
    longest[STR_DISTANCE_MAX] = '\0';
    assert_int_equal(str_distance(longest, longest), 0);
}

static void test_printable(void **state)
{
    (void)state;
    char text[] = "a\r\nB: c\x1b\x7f\xc3\xbc~ ";
    str_printable(text);
    assert_string_equal(text, "a??B: c????~ ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_printable),
        cmocka_unit_test(test_copy_and_printf_tell_when_it_did_not_fit),
        cmocka_unit_test(test_comparisons),
        cmocka_unit_test(test_integers),
        cmocka_unit_test(test_doubles),
        cmocka_unit_test(test_numbers_ignore_the_locale),
        cmocka_unit_test(test_booleans),
        cmocka_unit_test(test_byte_sizes),
        cmocka_unit_test(test_bytes_as_text),
        cmocka_unit_test(test_utf8_validity),
        cmocka_unit_test(test_incomplete_tail),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_base64),
        cmocka_unit_test(test_distance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
