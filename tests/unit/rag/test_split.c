/* The splitter: what its header promises, on texts as they come, and on many made at random. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/str.h"
#include "rag/split.h"

enum { CHUNKS_MAX = 4096 };

struct got {
    size_t start, end;
    char text[4200], heading[SPLIT_HEADING_MAX];
    int32_t page_from, page_to, tokens;
    size_t prefix_len;
};

static struct got got[CHUNKS_MAX];
static size_t n_got;
static struct error why;

static bool keep(void *ctx, const struct split_chunk *c)
{
    (void)ctx;
    assert_true(n_got < CHUNKS_MAX);
    struct got *g = &got[n_got++];
    *g = (struct got){.start = c->start,
                      .end = c->end,
                      .page_from = c->page_from,
                      .page_to = c->page_to,
                      .prefix_len = c->prefix_len};
    str_printf(g->text, sizeof g->text, "%.*s%s%.*s", (int)c->prefix_len, c->prefix,
               c->prefix_len ? "\n" : "", (int)(c->end - c->start), c->body);
    g->tokens = split_tokens(g->text, strlen(g->text));
    str_copy(g->heading, sizeof g->heading, c->heading);
    return true;
}

static void split(const char *text, int32_t size, int32_t overlap)
{
    struct split_params params = {.size = size, .overlap = overlap};
    n_got = 0;
    assert_int_equal(split_text(text, strlen(text), NULL, 0, &params, keep, NULL, &why), OK);
}

static void test_short_texts(void **state)
{
    (void)state;
    split("", 100, 20);
    assert_int_equal(n_got, 0);
    split(" \n\n \t\n", 100, 20);
    assert_int_equal(n_got, 0);
    split("\n\n  One line.  \n", 100, 20);
    assert_int_equal(n_got, 1);
    assert_string_equal(got[0].text, "One line.");
    assert_int_equal(got[0].start, 4);
    assert_int_equal(got[0].end, 13);
    assert_string_equal(got[0].heading, "");
    assert_int_equal(got[0].page_from, 0);
}

static void test_headings(void **state)
{
    (void)state;
    split("# Guide\n\nIntroduction to the whole of it.\n\n"
          "## Install #\n\nRun the command and wait for it to end.\n\n"
          "### On Linux\n\nUse the package of your distribution here.\n\n"
          "## Use\n\nAsk something. It answers with the sources.\n",
          70, 20);
    assert_int_equal(n_got, 4);
    assert_string_equal(got[0].heading, "Guide");
    assert_string_equal(got[1].heading, "Guide › Install");
    assert_string_equal(got[2].heading, "Guide › Install › On Linux");
    assert_string_equal(got[3].heading, "Guide › Use");
    assert_string_equal(got[3].text, "## Use\n\nAsk something. It answers with the sources.");
    for (size_t i = 1; i < n_got; i++) assert_true(got[i].start >= got[i - 1].end);
}

/* A heading that has nothing behind it yet goes with the next chunk. */
static void test_heading_stays_with_its_text(void **state)
{
    (void)state;
    split("First paragraph with about fifty characters in it ok.\n\n# A\n\n## B\n\n"
          "Second paragraph with about fifty characters in it.\n",
          66, 10);
    assert_int_equal(n_got, 2);
    assert_true(str_starts(got[1].text, "# A\n\n## B\n\nSecond"));
    assert_string_equal(got[1].heading, "A");
}

static void test_sentences(void **state)
{
    (void)state;
    split("Dr. J. Smith came at 3.5 hours past noon, e.g. late. He left soon. "
          "Nobody knew why he had come at all! Was it the weather? It was not.",
          70, 0);
    assert_int_equal(n_got, 2);
    assert_string_equal(got[0].text,
                        "Dr. J. Smith came at 3.5 hours past noon, e.g. late. He left soon.");
    assert_true(str_starts(got[1].text, "Nobody knew"));
    split("一二三四五六七八九十一二三四五六七八九十。一二三四五六七八九十一二三四五六七八九十。",
          32, 0);
    assert_int_equal(n_got, 2);
    assert_true(str_ends(got[0].text, "。"));
}

static void test_tables_repeat_their_head(void **state)
{
    struct buf text;
    (void)state;
    buf_init(&text, 1 << 20);
    buf_puts(&text, "# Prices\n\n| item | price |\n|---|---:|\n");
    for (int i = 0; i < 100; i++) buf_printf(&text, "| thing number %d | %d |\n", i, 7 * i);
    split(buf_str(&text), 300, 60);
    assert_true(n_got > 5);
    for (size_t i = 1; i < n_got; i++) {
        assert_true(str_starts(got[i].text, "| item | price |\n|---|---:|\n| thing number "));
        assert_string_equal(got[i].heading, "Prices");
        assert_true(strlen(got[i].text) <= 300);
        assert_true(str_ends(got[i].text, " |")); /* whole rows */
        assert_int_equal(memcmp(got[i].text + got[i].prefix_len + 1, text.data + got[i].start,
                                got[i].end - got[i].start),
                         0);
    }
    buf_free(&text);
}

static void test_code_is_cut_between_lines(void **state)
{
    struct buf text;
    (void)state;
    buf_init(&text, 1 << 20);
    buf_puts(&text, "Before.\n\n```c\n");
    for (int i = 0; i < 60; i++)
        buf_printf(&text, "# define no heading %d\n%s", i, i % 5 == 4 ? "\n" : "");
    buf_puts(&text, "```\nAfter. # no heading either\n");
    split(buf_str(&text), 260, 50);
    for (size_t i = 1; i < n_got; i++) {
        assert_string_equal(got[i].heading, "");
        if (i + 1 < n_got) assert_true(str_starts(got[i].text, "```c\n# define no heading "));
    }
    assert_true(str_ends(got[n_got - 1].text, "After. # no heading either"));
    buf_free(&text);
}

static void test_pages(void **state)
{
    (void)state;
    const char *text = "Page one has this text, and no more.\n\nPage two has another text.\n\n"
                       "Page seven is the last one of them.";
    struct split_page pages[] = {{0, 1}, {38, 2}, {66, 7}};
    struct split_params params = {.size = 70};
    n_got = 0;
    assert_int_equal(split_text(text, strlen(text), pages, 3, &params, keep, NULL, &why), OK);
    assert_int_equal(n_got, 2);
    assert_int_equal(got[0].page_from, 1);
    assert_int_equal(got[0].page_to, 2);
    assert_int_equal(got[1].page_from, 7);
    assert_int_equal(got[1].page_to, 7);
}

static void test_overlap_is_whole_sentences(void **state)
{
    (void)state;
    split("Alpha one is here. Beta two is here now. Gamma three is here. Delta four is here. "
          "Epsilon five is here. Zeta six is here.",
          64, 30);
    assert_true(n_got >= 2);
    assert_true(got[1].start < got[0].end);
    assert_true(str_starts(got[1].text, "Gamma three"));
}

static void test_tokens(void **state)
{
    (void)state;
    assert_int_equal(split_tokens("", 0), 0);
    assert_int_equal(split_tokens("hello", 5), 2);
    assert_int_equal(split_tokens("a b, c", 6), 4);
    assert_int_equal(split_tokens("1234567", 7), 3);
    assert_int_equal(split_tokens("日本", 6), 2);
    struct split_params params = {.size = 32, .overlap = 8, .unit = SPLIT_TOKENS};
    const char *text = "These are words that will be counted as tokens, not as characters, so that "
                       "more of them fit into one chunk than with the other unit. And one more "
                       "sentence follows the first one, which makes two chunks of it.";
    n_got = 0;
    assert_int_equal(split_text(text, strlen(text), NULL, 0, &params, keep, NULL, &why), OK);
    assert_true(n_got >= 2);
    for (size_t i = 0; i < n_got; i++) assert_in_range(got[i].tokens, i + 1 < n_got ? 16 : 1, 32);
}

static bool stop_it(void *ctx, const struct split_chunk *c)
{
    (void)c;
    return ++*(int *)ctx < 2;
}

static void test_stopping(void **state)
{
    int calls = 0;
    char text[2000];
    struct split_params params = {.size = 50};
    (void)state;
    memset(text, 'x', sizeof text);
    assert_int_equal(split_text(text, sizeof text, NULL, 0, &params, stop_it, &calls, &why),
                     ERR_CANCELLED);
    assert_int_equal(calls, 2);
}

/* ---- at random ----------------------------------------------------------------------------- */

static void add_random(struct buf *text)
{
    static const char *const pieces[] = {"# Heading\n\n",
                                         "\n## Two\n",
                                         "word ",
                                         "Sentence one. ",
                                         "日本語。",
                                         "é",
                                         "\n\n",
                                         "| a | b |\n",
                                         "|---|---|\n",
                                         "```\n",
                                         "xxxxxxxxxxxxxxxxxxxxxxxxxxxx",
                                         "\t",
                                         "- item\n",
                                         "12345 ",
                                         "   ",
                                         "…",
                                         "\n"};
    buf_puts(text, pieces[(size_t)rand() % (sizeof pieces / sizeof *pieces)]);
}

static int32_t characters(const char *text, size_t len)
{
    int32_t n = 0;
    for (size_t i = 0; i < len; i++) n += ((unsigned char)text[i] & 0xC0) != 0x80;
    return n;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static void check_promises(const struct buf *text, int32_t size, int32_t overlap)
{
    size_t covered = 0;
    for (size_t i = 0; i < n_got; i++) {
        const struct got *g = &got[i], *p = i ? &got[i - 1] : NULL;
        assert_true(utf8_valid(g->text, strlen(g->text)));
        assert_true(characters(g->text, strlen(g->text)) <= size);
        for (size_t k = covered; k < g->start; k++) assert_true(is_space(text->data[k]));
        if (p) assert_true(g->start > p->start && g->end > p->end);
        if (p && g->start < p->end)
            assert_true(characters(text->data + g->start, p->end - g->start) <= overlap);
        covered = g->end;
    }
    for (size_t k = covered; k < text->len; k++) assert_true(is_space(text->data[k]));
}

static void test_promises(void **state)
{
    (void)state;
    srand(4);
    for (int round = 0; round < 300; round++) {
        struct buf text;
        int32_t size = 32 + rand() % 300, overlap = rand() % (size / 2);
        buf_init(&text, 1 << 20);
        for (int i = rand() % 800; i > 0; i--) add_random(&text);
        split(buf_str(&text), size, overlap);
        check_promises(&text, size, overlap);
        buf_free(&text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_short_texts),
        cmocka_unit_test(test_headings),
        cmocka_unit_test(test_heading_stays_with_its_text),
        cmocka_unit_test(test_sentences),
        cmocka_unit_test(test_tables_repeat_their_head),
        cmocka_unit_test(test_code_is_cut_between_lines),
        cmocka_unit_test(test_pages),
        cmocka_unit_test(test_overlap_is_whole_sentences),
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_stopping),
        cmocka_unit_test(test_promises),
    };
    return cmocka_run_group_tests_name("split", tests, NULL, NULL);
}
