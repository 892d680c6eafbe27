/* Text made safe for a terminal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <locale.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cmd/term.h"

static void expect_clean(const char *text, size_t len, const char *want)
{
    struct buf out;
    buf_init(&out, 1 << 16);
    term_clean(&out, text, len);
    assert_string_equal(buf_str(&out), want);
    buf_free(&out);
}

#define CLEAN(text, want) expect_clean(text, sizeof(text) - 1, want)

static void test_control_characters_go(void **state)
{
    (void)state;
    CLEAN("plain \t\n text", "plain \t\n text");
    CLEAN("\033[2J\033]0;title\007x", "[2J]0;titlex");
    CLEAN("a\rb\bc\x7f"
          "d\0e",
          "abcde");
    CLEAN("\xc2\x9b"
          "31m\xc2\x85",
          "31m"); /* C1 in UTF-8: CSI, NEL */
    CLEAN("\xc2\xa0", "\xc2\xa0");
    CLEAN("h\xc3\xa9llo \xf0\x9f\x94\xa5", "h\xc3\xa9llo \xf0\x9f\x94\xa5");
}

static void test_invalid_utf8_is_replaced(void **state)
{
    (void)state;
    CLEAN("\x9b"
          "31m",
          "\uFFFD31m"); /* C1 as a byte */
    CLEAN("a\xc3", "a\uFFFD");
    CLEAN("\xed\xa0\x80", "\uFFFD\uFFFD\uFFFD"); /* surrogate */
    CLEAN("\xc0\x9b", "\uFFFD\uFFFD");           /* overlong ESC */
    CLEAN("\xef\xbf\xbd", "\uFFFD");
}

static void test_decode_takes_whole_characters(void **state)
{
    (void)state;
    uint32_t cp;
    assert_int_equal(term_decode("a", 1, &cp), 1);
    assert_int_equal(cp, 'a');
    assert_int_equal(term_decode("\xe4\xb8\x80x", 4, &cp), 3);
    assert_int_equal(cp, 0x4E00);
    assert_int_equal(term_decode("\xf0\x9f\x94\xa5", 4, &cp), 4);
    assert_int_equal(cp, 0x1F525);
    assert_int_equal(term_decode("\xf0\x9f\x94", 3, &cp), 1);
    assert_int_equal(cp, 0xFFFD);
}

static void test_widths(void **state)
{
    (void)state;
    assert_int_equal(term_char_width('a'), 1);
    assert_int_equal(term_char_width(0xE9), 1);
    assert_int_equal(term_char_width(0x301), 0); /* combining */
    assert_int_equal(term_char_width(0x4E00), 2);
    assert_int_equal(term_char_width(0x1F525), 2);
}

static void test_style_follows_the_environment(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(term_style_of(fds[1]), TERM_RAW); /* no terminal */
    close(fds[0]);
    close(fds[1]);

    int master = posix_openpt(O_RDWR | O_NOCTTY);
    assert_true(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    int slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    assert_true(slave >= 0);
    unsetenv("NO_COLOR");
    setenv("TERM", "xterm", 1);
    assert_int_equal(term_style_of(slave), TERM_COLOR);
    setenv("NO_COLOR", "1", 1);
    assert_int_equal(term_style_of(slave), TERM_PLAIN);
    setenv("NO_COLOR", "", 1);
    assert_int_equal(term_style_of(slave), TERM_COLOR);
    setenv("TERM", "dumb", 1);
    assert_int_equal(term_style_of(slave), TERM_RAW);
    unsetenv("TERM");
    assert_int_equal(term_style_of(slave), TERM_RAW);

    struct winsize size = {.ws_col = 132, .ws_row = 40};
    assert_int_equal(ioctl(slave, TIOCSWINSZ, &size), 0);
    assert_int_equal(term_width(slave), 132);
    size.ws_col = 3; /* nothing can be laid out in that */
    assert_int_equal(ioctl(slave, TIOCSWINSZ, &size), 0);
    assert_int_equal(term_width(slave), 20);
    assert_int_equal(term_width(-1), 80);
    close(slave);
    close(master);
}

int main(void)
{
    setlocale(LC_CTYPE, "C.UTF-8");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_control_characters_go),
        cmocka_unit_test(test_invalid_utf8_is_replaced),
        cmocka_unit_test(test_decode_takes_whole_characters),
        cmocka_unit_test(test_widths),
        cmocka_unit_test(test_style_follows_the_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
