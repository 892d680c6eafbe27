/* Markdown on a terminal: each kind of line, emphasis that spans pieces, tables, wrapping; and that
 * the result does not depend on how the text was cut into pieces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <locale.h>

#include "cmd/markdown.h"

#define B   "\033[1m"
#define I   "\033[3m"
#define C   "\033[36m"
#define DIM "\033[2m"
#define END "\033[0m"

/* Lines of 2 and 17 columns. */
#define RULE1  "\u2500"
#define RULE2  RULE1 RULE1
#define RULE4  RULE2 RULE2
#define RULE17 RULE4 RULE4 RULE4 RULE4 RULE1

/* Renders text in pieces of `step` bytes. */
static void render(const char *text, size_t len, size_t step, int width, enum term_style style,
                   struct buf *out)
{
    struct markdown *m = markdown_new(width, style);
    for (size_t i = 0; i < len; i += step)
        markdown_feed(m, text + i, len - i < step ? len - i : step, out);
    markdown_end(m, out);
    markdown_free(m);
}

static void expect_at(int width, enum term_style style, const char *text, const char *want)
{
    static const size_t steps[] = {1, 2, 3, 7, 1000000};
    for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
        struct buf out;
        buf_init(&out, 1 << 20);
        render(text, strlen(text), steps[i], width, style, &out);
        if (strcmp(buf_str(&out), want) != 0)
            fail_msg("in pieces of %zu:\n<%s>\nwanted:\n<%s>", steps[i], buf_str(&out), want);
        buf_free(&out);
    }
}

static void expect(const char *text, const char *want)
{
    expect_at(80, TERM_COLOR, text, want);
}

static void test_paragraphs(void **state)
{
    (void)state;
    expect("", "");
    expect("Hello", "Hello\n");
    expect("Hello\n", "Hello\n");
    expect("\n\nHello\n\n\n\nworld\n\n", "Hello\n\nworld\n");
    expect("one\ntwo", "one\ntwo\n");
    expect("a  b\tc", "a b c\n");
}

static void test_emphasis(void **state)
{
    (void)state;
    expect("a **b** c", "a " B "b" END " c\n");
    expect("a *b* c", "a " I "b" END " c\n");
    expect("_b_ snake_case_name", I "b" END " snake_case_name\n");
    expect("***x***", "\033[1;3mx" END "\n");
    expect("**two words** end", B "two" END " " B "words" END " end\n");
    expect("pre**fix**ed", "pre" B "fix" END "ed\n");
    expect("~~old~~ ~5", "\033[9mold" END " ~5\n");
    expect("2 * 3 * 4", "2 * 3 * 4\n");
    expect("\\*not\\*", "*not*\n");
}

/* What is never closed is shown as it was written. */
static void test_open_delimiters(void **state)
{
    (void)state;
    expect("call f(**kwargs) now\nnext", "call f(**kwargs) now\nnext\n");
    expect("a `b c", "a `b c\n");
    expect("x[i + 1", "x[i + 1\n");
    expect("**never", "**never\n");
}

static void test_inline_code(void **state)
{
    (void)state;
    expect("use `ls -l *` here", "use " C "ls" END " " C "-l" END " " C "*" END " here\n");
    expect("``a ` b``.", C "a" END " " C "`" END " " C "b" END ".\n");
    expect_at(80, TERM_PLAIN, "use `x`", "use `x`\n");
}

static void test_headings(void **state)
{
    (void)state;
    expect("# Title\ntext", "\033[1;4mTitle" END "\ntext\n");
    expect("### Sub *it*", B "Sub" END " \033[1;3mit" END "\n");
    expect("#hashtag", "#hashtag\n");
    expect("####### seven", "####### seven\n");
}

static void test_lists(void **state)
{
    (void)state;
    expect("- one\n- **two**\n  - three\n", "\u2022 one\n\u2022 " B "two" END "\n  \u2022 three\n");
    expect("1. one\n10) ten\n", "1. one\n10) ten\n");
    expect("1.5 is a number", "1.5 is a number\n");
    expect("2024 was a year", "2024 was a year\n");
    expect("* item", "\u2022 item\n");
    expect("-no item", "-no item\n");
    expect("-", "-\n");
}

static void test_wrapping(void **state)
{
    (void)state;
    expect_at(20, TERM_COLOR, "aaaa bbbb cccc dddd eeee ffff", "aaaa bbbb cccc dddd\neeee ffff\n");
    expect_at(20, TERM_COLOR, "- aaaa bbbb cccc dddd eeee", "\u2022 aaaa bbbb cccc\n  dddd eeee\n");
    expect_at(20, TERM_COLOR, "10. aaaa bbbb cccc dddd", "10. aaaa bbbb cccc\n    dddd\n");
    expect_at(20, TERM_COLOR, "> aaaa bbbb cccc dddd eeee",
              DIM "\u2502 " END "aaaa bbbb cccc\n" DIM "\u2502 " END "dddd eeee\n");
    expect_at(20, TERM_COLOR, "abcdefghijklmnopqrstuvwxyz end", "abcdefghijklmnopqrstuvwxyz end\n");
    /* Wide characters have no blanks between them; ten of them fill the line. */
    expect_at(20, TERM_COLOR, "\u4e00\u4e01\u4e02\u4e03\u4e04\u4e05\u4e06\u4e07\u4e08\u4e09\u4e0a",
              "\u4e00\u4e01\u4e02\u4e03\u4e04\u4e05\u4e06\u4e07\u4e08\u4e09\n\u4e0a\n");
}

static void test_quotes_and_rules(void **state)
{
    (void)state;
    expect("> quoted\n> # head\n>\n> - item\n",
           DIM "\u2502 " END "quoted\n" DIM "\u2502 " END "\033[1;4mhead" END "\n" DIM "\u2502 " END
               "\n" DIM "\u2502 " END "\u2022 item\n");
    struct buf out;
    buf_init(&out, 4096);
    render("---\n", 4, 1, 80, TERM_PLAIN, &out);
    assert_non_null(strstr(buf_str(&out), "\u2500\u2500\u2500"));
    buf_free(&out);
}

static void test_code_blocks(void **state)
{
    (void)state;
    expect("```c\nint **x;\n\n  # no heading\n```\nafter",
           DIM "```c" END "\n" C "int **x;" END "\n\n" C "  # no heading" END "\n" DIM "```" END
               "\nafter\n");
    /* A longer fence is not closed by a shorter one; an open one ends with the text. */
    expect("````\n```\n````\n", DIM "````" END "\n" C "```" END "\n" DIM "````" END "\n");
    expect("~~~\ncode", DIM "~~~" END "\n" C "code" END "\n");
    expect("```inline``` rest", C "inline" END " rest\n");
}

static void test_tables(void **state)
{
    (void)state;
    expect_at(80, TERM_PLAIN, "| Name | N |\n|:--|--:|\n| apple | 1 |\n| fig | 20 |\n\nafter",
              B "Name" END "  \u2502  " B "N" END "\n"
                "\u2500\u2500\u2500\u2500\u2500\u2500\u253C\u2500\u2500\u2500\n"
                "apple \u2502  1\nfig   \u2502 20\n\nafter\n");
    /* Without a line of dashes it is no table. */
    expect("| just | text |", "| just | text |\n");
    /* Cells wrap when the terminal is narrow. */
    expect_at(20, TERM_PLAIN, "|a|b|\n|---|---|\n|x|one two three four five|\n",
              B "a" END " \u2502 " B "b" END "\n" RULE2 "\u253C" RULE17 "\n"
                "x \u2502 one two three\n  \u2502 four five\n");
}

static void test_links(void **state)
{
    (void)state;
    expect("see [docs](https://x.org/a) now",
           "see \033[4mdocs" END " (\033[4mhttps://x.org/a" END ") now\n");
    expect("<https://x.org>", "\033[4mhttps://x.org" END "\n");
    expect("a[1] and f[2](3", "a[1] and f[2](3\n");
    expect("5 &lt; 6 &amp;&amp; <b>", "5 < 6 && <b>\n");
}

/* Nothing that a model says may reach the terminal as a control sequence. */
static void test_control_characters(void **state)
{
    (void)state;
    static const enum term_style styles[] = {TERM_RAW, TERM_PLAIN, TERM_COLOR};
    static const char hostile[] = "a\033]0;evil\007b \033[31mred\r\x7f "
                                  "```\n\033[2J\n```\n|\033c|\n|-|\n\xc2\x9b"
                                  "31m \xff\xfe \x9b tail\xe2\x82";
    for (size_t s = 0; s < 3; s++) {
        for (size_t step = 1; step < 8; step++) {
            struct buf out;
            buf_init(&out, 1 << 20);
            render(hostile, sizeof(hostile) - 1, step, 40, styles[s], &out);
            const char *text = buf_str(&out);
            for (size_t i = 0; i < out.len; i++) {
                unsigned char c = (unsigned char)text[i];
                bool ours = c == 033 && text[i + 1] == '[' &&
                            text[i + 2 + strspn(text + i + 2, "0123456789;")] == 'm';
                assert_true((c >= 0x20 && c != 0x7F) || c == '\n' || ours);
                if (ours) assert_true(styles[s] != TERM_RAW);
                if (c == 0xC2) assert_true((unsigned char)text[i + 1] >= 0xA0);
            }
            assert_null(strstr(text, "\033[31m"));
            assert_null(strstr(text, "\033[2J"));
            assert_non_null(strstr(text, "\uFFFD")); /* the bytes that are no UTF-8 */
            buf_free(&out);
        }
    }
}

static void test_raw_is_verbatim(void **state)
{
    (void)state;
    expect_at(20, TERM_RAW, "# a **b** `c`\n\n| x |\n", "# a **b** `c`\n\n| x |\n");
    expect_at(20, TERM_RAW, "no newline", "no newline\n");
}

/* A delimiter that stays open must not hold the text back for ever. */
static void test_hold_is_bounded(void **state)
{
    (void)state;
    struct markdown *m = markdown_new(80, TERM_COLOR);
    struct buf out;
    buf_init(&out, 4 << 20);
    markdown_feed(m, "**", 2, &out);
    for (int i = 0; i < 3000; i++) markdown_feed(m, "word ", 5, &out);
    assert_true(out.len > 10000);
    markdown_end(m, &out);
    buf_free(&out);
    markdown_free(m);
}

/* Words appear when they are complete, not when their line is. */
static void test_streams(void **state)
{
    (void)state;
    struct markdown *m = markdown_new(80, TERM_COLOR);
    struct buf out;
    buf_init(&out, 4096);
    markdown_feed(m, "Hello world, this", 17, &out);
    assert_string_equal(buf_str(&out), "Hello world,");
    markdown_feed(m, " is **bold** and", 16, &out);
    assert_string_equal(buf_str(&out), "Hello world, this is " B "bold" END);
    markdown_end(m, &out);
    buf_free(&out);
    markdown_free(m);
}

/* Random texts out of what Markdown is made of: no crash, and the same result however it is cut. */
static void test_random_texts(void **state)
{
    (void)state;
    static const char *const atoms[] = {
        "*",
        "**",
        "_",
        "`",
        "```",
        "~~",
        "[",
        "](",
        ")",
        "|",
        "|---|",
        "# ",
        "- ",
        "1. ",
        "> ",
        "\n",
        "\n\n",
        " ",
        "  ",
        "word",
        "a",
        "\\",
        "\xe4\xb8\x80",
        "\xc3\xa9",
        "&amp;",
        "<b>",
        "---",
        "\t",
        "!",
        "~~~",
        "\xff",
        "\033[1m",
        "0",
        ".",
        "https://x.org",
    };
    enum { N_ATOMS = sizeof(atoms) / sizeof(*atoms) };
    unsigned seed = 1;
    for (int round = 0; round < 3000; round++) {
        struct buf text, whole, pieces;
        buf_init(&text, 1 << 16);
        buf_init(&whole, 1 << 20);
        buf_init(&pieces, 1 << 20);
        int n = 1 + rand_r(&seed) % 60;
        for (int i = 0; i < n; i++) buf_puts(&text, atoms[(unsigned)rand_r(&seed) % N_ATOMS]);
        int width = 20 + rand_r(&seed) % 60;
        size_t step = 1 + (size_t)rand_r(&seed) % 5;
        enum term_style style = rand_r(&seed) % 2 ? TERM_COLOR : TERM_PLAIN;
        render(text.data, text.len, text.len, width, style, &whole);
        render(text.data, text.len, step, width, style, &pieces);
        if (strcmp(buf_str(&whole), buf_str(&pieces)) != 0)
            fail_msg("round %d, pieces of %zu, width %d:\n%s\nwhole:\n%s\npieces:\n%s", round, step,
                     width, text.data, buf_str(&whole), buf_str(&pieces));
        buf_free(&text);
        buf_free(&whole);
        buf_free(&pieces);
    }
}

int main(void)
{
    setlocale(LC_CTYPE, "C.UTF-8");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paragraphs),      cmocka_unit_test(test_emphasis),
        cmocka_unit_test(test_open_delimiters), cmocka_unit_test(test_inline_code),
        cmocka_unit_test(test_headings),        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_wrapping),        cmocka_unit_test(test_quotes_and_rules),
        cmocka_unit_test(test_code_blocks),     cmocka_unit_test(test_tables),
        cmocka_unit_test(test_links),           cmocka_unit_test(test_control_characters),
        cmocka_unit_test(test_raw_is_verbatim), cmocka_unit_test(test_hold_is_bounded),
        cmocka_unit_test(test_streams),         cmocka_unit_test(test_random_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
