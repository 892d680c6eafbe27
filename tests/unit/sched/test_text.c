/* Tokens to text: characters are never split, stop strings may span tokens, nothing more than
 * necessary is held back, log probabilities stay with their text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/fault.h"
#include "base/str.h"
#include "sched/text.h"

static void make_stops(struct stops *s, const char *const *strings, size_t n)
{
    struct error error;
    assert_int_equal(stops_init(s, strings, n, NULL, 0, &error), OK);
}

/* Adds one token; what may be sent is appended to all. False when a stop string was complete. */
static bool add(struct text *t, const char *bytes, struct buf *all)
{
    struct text_piece piece;
    bool more = text_add(t, bytes, strlen(bytes));
    if (text_take(t, !more, &piece)) {
        assert_true(utf8_valid(piece.text, piece.len));
        buf_append(all, piece.text, piece.len);
    }
    return more;
}

static void finish(struct text *t, struct buf *all)
{
    struct text_piece piece;
    if (text_take(t, true, &piece)) buf_append(all, piece.text, piece.len);
}

static void test_plain_text_is_sent_at_once(void **state)
{
    (void)state;
    struct stops none = {0};
    struct text t;
    struct text_piece piece;
    text_init(&t, &none);
    assert_true(text_add(&t, "Hello", 5));
    assert_true(text_take(&t, false, &piece));
    assert_int_equal(piece.len, 5);
    assert_memory_equal(piece.text, "Hello", 5);
    assert_int_equal(piece.n_tokens, 1);
    assert_false(text_take(&t, false, &piece)); /* nothing new */
    assert_false(text_take(&t, true, &piece));
    text_free(&t);
}

static void test_characters_are_never_split(void **state)
{
    (void)state;
    const char *whole = "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80z"; /* a é € 😀 z */
    struct stops none = {0};
    struct text t;
    struct buf all;
    text_init(&t, &none);
    buf_init(&all, 100);
    for (const char *p = whole; *p; p++) { /* each byte a token */
        char byte[2] = {*p};
        add(&t, byte, &all);
    }
    finish(&t, &all);
    assert_string_equal(all.data, whole);
    text_free(&t);
    buf_free(&all);
}

static void test_tokens_are_counted_until_their_text_is_sent(void **state)
{
    (void)state;
    struct stops none = {0};
    struct text t;
    struct text_piece piece;
    text_init(&t, &none);
    text_add(&t, "\xE2", 1);
    assert_false(text_take(&t, false, &piece));
    text_add(&t, "\x82", 1);
    assert_false(text_take(&t, false, &piece));
    text_add(&t, "\xAC", 1);
    assert_true(text_take(&t, false, &piece));
    assert_int_equal(piece.n_tokens, 3);
    text_free(&t);
}

static void test_bytes_that_are_no_text_are_replaced(void **state)
{
    (void)state;
    struct stops none = {0};
    struct text t;
    struct buf all;
    text_init(&t, &none);
    buf_init(&all, 100);
    add(&t, "a\xFF", &all);
    add(&t, "\xC0\xAF", &all);     /* overlong */
    add(&t, "\xED\xA0\x80", &all); /* a surrogate */
    add(&t, "b\xE2\x82", &all);    /* unfinished at the end */
    finish(&t, &all);
    assert_true(utf8_valid(all.data, all.len));
    assert_string_equal(all.data, "a\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"
                                  "\xEF\xBF\xBD"
                                  "b\xEF\xBF\xBD\xEF\xBF\xBD");
    text_free(&t);
    buf_free(&all);
}

static void test_stop_string_across_tokens(void **state)
{
    (void)state;
    const char *strings[] = {"STOP"};
    struct stops stops;
    make_stops(&stops, strings, 1);
    struct text t;
    struct buf all;
    text_init(&t, &stops);
    buf_init(&all, 100);
    assert_true(add(&t, "go S", &all));
    assert_string_equal(all.data, "go "); /* only what could be the stop string is held back */
    assert_true(add(&t, "TA", &all));     /* it is not */
    assert_string_equal(all.data, "go STA");
    assert_true(add(&t, "S", &all));
    assert_true(add(&t, "TO", &all));
    assert_string_equal(all.data, "go STA");
    assert_false(add(&t, "P and more", &all));
    assert_string_equal(all.data, "go STA");
    text_free(&t);
    buf_free(&all);
    stops_free(&stops);
}

static void test_stop_string_inside_one_token_and_the_earliest_wins(void **state)
{
    (void)state;
    const char *strings[] = {"later", "", "now"};
    struct stops stops;
    make_stops(&stops, strings, 3);
    assert_int_equal(stops.n, 2); /* the empty one is left out */
    struct text t;
    struct buf all;
    text_init(&t, &stops);
    buf_init(&all, 100);
    assert_false(add(&t, "do it now or later", &all));
    assert_string_equal(all.data, "do it ");
    assert_string_equal(t.stop, "now");
    text_free(&t);
    buf_free(&all);
    stops_free(&stops);
}

static void test_only_the_first_list_s_stop_strings_are_named(void **state)
{
    (void)state;
    const char *own[] = {"", "mine"}, *template[] = {"<end>"};
    struct stops stops;
    struct error error;
    assert_int_equal(stops_init(&stops, own, 2, template, 1, &error), OK);
    struct text t;
    text_init(&t, &stops);
    assert_true(text_add(&t, "a", 1));
    assert_null(t.stop);
    assert_false(text_add(&t, "<end>", 5));
    assert_null(t.stop);
    text_free(&t);
    text_init(&t, &stops);
    assert_true(text_add(&t, "mi", 2));
    assert_false(text_add(&t, "ne", 2));
    assert_string_equal(t.stop, "mine");
    text_free(&t);
    stops_free(&stops);
}

static void test_stop_string_across_bytes_of_a_character(void **state)
{
    (void)state;
    const char *strings[] = {"\xE2\x82\xAC!"}; /* €! */
    struct stops stops;
    make_stops(&stops, strings, 1);
    struct text t;
    struct buf all;
    text_init(&t, &stops);
    buf_init(&all, 100);
    assert_true(add(&t, "5\xE2", &all));
    assert_true(add(&t, "\x82", &all));
    assert_true(add(&t, "\xAC", &all));
    assert_string_equal(all.data, "5");
    assert_true(add(&t, "?", &all)); /* not the stop string after all */
    assert_string_equal(all.data, "5\xE2\x82\xAC?");
    assert_true(add(&t, "\xE2\x82", &all));
    assert_false(add(&t, "\xAC!x", &all));
    assert_string_equal(all.data, "5\xE2\x82\xAC?");
    text_free(&t);
    buf_free(&all);
    stops_free(&stops);
}

static void test_an_unfinished_stop_string_is_text_at_the_end(void **state)
{
    (void)state;
    const char *strings[] = {"<|end|>"};
    struct stops stops;
    make_stops(&stops, strings, 1);
    struct text t;
    struct buf all;
    text_init(&t, &stops);
    buf_init(&all, 100);
    add(&t, "x<|en", &all);
    assert_string_equal(all.data, "x");
    finish(&t, &all);
    assert_string_equal(all.data, "x<|en");
    text_free(&t);
    buf_free(&all);
    stops_free(&stops);
}

/* "aab" in "aaab": the first partial match fails, a later one is complete. */
static void test_overlapping_partial_matches(void **state)
{
    (void)state;
    const char *strings[] = {"aab"};
    struct stops stops;
    make_stops(&stops, strings, 1);
    struct text t;
    struct buf all;
    text_init(&t, &stops);
    buf_init(&all, 100);
    for (int i = 0; i < 3; i++) assert_true(add(&t, "a", &all));
    assert_string_equal(all.data, "a");
    assert_false(add(&t, "b", &all));
    assert_string_equal(all.data, "a");
    text_free(&t);
    buf_free(&all);
    stops_free(&stops);
}

/* The result does not depend on how the text is cut into tokens. */
static void test_any_tokenisation_gives_the_same_text(void **state)
{
    (void)state;
    const char *source = "one \xF0\x9F\x98\x80 t\xC3\xA9wo \xE2\x82\xAC\xE2\x82\xAC END rest";
    const char *strings[] = {"\xE2\x82\xAC END", "\xE2\x82\xAC\xE2\x82\xAC\xE2\x82\xAC"};
    struct stops stops;
    make_stops(&stops, strings, 2);
    uint32_t seed = 1;
    for (int round = 0; round < 500; round++) {
        struct text t;
        struct buf all;
        text_init(&t, &stops);
        buf_init(&all, 200);
        bool more = true;
        for (size_t i = 0; more && i < strlen(source);) {
            seed = seed * 1664525 + 1013904223;
            size_t n = 1 + (seed >> 16) % 7, left = strlen(source) - i;
            char token[8] = {0};
            memcpy(token, source + i, n < left ? n : left);
            more = add(&t, token, &all);
            i += n;
        }
        assert_false(more);
        assert_string_equal(all.data, "one \xF0\x9F\x98\x80 t\xC3\xA9wo \xE2\x82\xAC");
        text_free(&t);
        buf_free(&all);
    }
    stops_free(&stops);
}

static void test_stops_of_both_lists_and_the_limit(void **state)
{
    (void)state;
    const char *a[] = {"x"}, *b[] = {"yy"};
    struct stops stops;
    struct error error;
    assert_int_equal(stops_init(&stops, a, 1, b, 1, &error), OK);
    assert_int_equal(stops.n, 2);
    assert_int_equal(stops.longest, 2);
    stops_free(&stops);
    char *big = calloc(1, TEXT_STOP_LEN_MAX + 2);
    memset(big, 'a', TEXT_STOP_LEN_MAX + 1);
    const char *too_long[] = {"ok", big};
    assert_int_equal(stops_init(&stops, too_long, 2, NULL, 0, &error), ERR_INVALID);
    assert_non_null(strstr(error.msg, "4097"));
    free(big);
}

/* ---- log probabilities --------------------------------------------------------------------- */

static void add_with_logprob(struct text *t, const char *bytes, float logprob)
{
    struct error error;
    struct logprob_alt alts[2] = {
        {.token = 1, .logprob = logprob, .text = bytes, .len = strlen(bytes)},
        {.token = 2, .logprob = -9, .text = "alt", .len = 3},
    };
    assert_int_equal(text_add_logprob(t, alts, 1, strlen(bytes), &error), OK);
    text_add(t, bytes, strlen(bytes));
}

static void test_logprobs_leave_with_the_end_of_their_text(void **state)
{
    (void)state;
    struct stops none = {0};
    struct text t;
    struct text_piece piece;
    text_init(&t, &none);
    add_with_logprob(&t, "ab\xE2", -1);
    assert_true(text_take(&t, false, &piece));
    assert_int_equal(piece.len, 2);
    assert_int_equal(piece.n_logprobs, 0); /* a part of the token is still held back */
    add_with_logprob(&t, "\x82\xAC", -2);
    assert_true(text_take(&t, false, &piece));
    assert_int_equal(piece.n_logprobs, 2);
    assert_true(piece.logprobs[0].chosen.logprob == -1 && piece.logprobs[1].chosen.logprob == -2);
    assert_int_equal(piece.logprobs[0].chosen.len, 3);
    assert_memory_equal(piece.logprobs[0].chosen.text, "ab\xE2", 3);
    assert_int_equal(piece.logprobs[1].n_top, 1);
    assert_memory_equal(piece.logprobs[1].top[0].text, "alt", 3);
    text_free(&t);
}

static void test_logprobs_of_a_stop_string_are_dropped(void **state)
{
    (void)state;
    const char *strings[] = {"##"};
    struct stops stops;
    make_stops(&stops, strings, 1);
    struct text t;
    struct text_piece piece;
    text_init(&t, &stops);
    add_with_logprob(&t, "a#", -1); /* a part of it is visible */
    assert_true(text_take(&t, false, &piece));
    assert_int_equal(piece.n_logprobs, 0);
    add_with_logprob(&t, "#", -2); /* nothing of it is */
    assert_true(text_take(&t, true, &piece));
    assert_int_equal(piece.len, 0);
    assert_int_equal(piece.n_logprobs, 1);
    assert_true(piece.logprobs[0].chosen.logprob == -1);
    text_free(&t);
    stops_free(&stops);
}

/* A text that never leaves a gap must not keep what it handed out. */
static void test_logprobs_do_not_pile_up(void **state)
{
    (void)state;
    const char *strings[] = {"aaaab"};
    struct stops stops;
    make_stops(&stops, strings, 1);
    struct text t;
    struct text_piece piece;
    text_init(&t, &stops);
    size_t out = 0;
    for (int i = 0; i < 100000; i++) {
        struct error error;
        struct logprob_alt alts[21];
        for (int k = 0; k < 21; k++)
            alts[k] = (struct logprob_alt){.token = i, .text = "0123456789", .len = 10};
        assert_int_equal(text_add_logprob(&t, alts, 20, 1, &error), OK);
        text_add(&t, "a", 1);
        if (!text_take(&t, false, &piece)) continue;
        for (size_t k = 0; k < piece.n_logprobs; k++, out++) {
            assert_int_equal(piece.logprobs[k].chosen.token, out);
            assert_memory_equal(piece.logprobs[k].top[19].text, "0123456789", 10);
        }
    }
    assert_int_equal(out, 100000 - 4);
    text_free(&t);
    stops_free(&stops);
}

#if HEARTH_FAULTS
static void test_no_memory(void **state)
{
    (void)state;
    const char *strings[] = {"x"};
    struct stops stops;
    struct error error;
    for (int nth = 1; nth <= 2; nth++) {
        fault_arm(FAULT_alloc, nth, false);
        assert_int_equal(stops_init(&stops, strings, 1, NULL, 0, &error), ERR_NOMEM);
    }
    struct stops none = {0};
    struct text t;
    struct text_piece piece;
    text_init(&t, &none);
    fault_arm(FAULT_alloc, 1, true);
    assert_true(text_add(&t, "lost", 4));
    struct logprob_alt alt = {.text = "x", .len = 1};
    assert_int_equal(text_add_logprob(&t, &alt, 0, 1, &error), ERR_NOMEM);
    fault_arm(FAULT_alloc, 0, false);
    assert_true(text_add(&t, "kept", 4));
    assert_true(text_take(&t, true, &piece));
    assert_memory_equal(piece.text, "kept", 4);
    text_free(&t);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_text_is_sent_at_once),
        cmocka_unit_test(test_characters_are_never_split),
        cmocka_unit_test(test_tokens_are_counted_until_their_text_is_sent),
        cmocka_unit_test(test_bytes_that_are_no_text_are_replaced),
        cmocka_unit_test(test_stop_string_across_tokens),
        cmocka_unit_test(test_stop_string_inside_one_token_and_the_earliest_wins),
        cmocka_unit_test(test_only_the_first_list_s_stop_strings_are_named),
        cmocka_unit_test(test_stop_string_across_bytes_of_a_character),
        cmocka_unit_test(test_an_unfinished_stop_string_is_text_at_the_end),
        cmocka_unit_test(test_overlapping_partial_matches),
        cmocka_unit_test(test_any_tokenisation_gives_the_same_text),
        cmocka_unit_test(test_stops_of_both_lists_and_the_limit),
        cmocka_unit_test(test_logprobs_leave_with_the_end_of_their_text),
        cmocka_unit_test(test_logprobs_of_a_stop_string_are_dropped),
        cmocka_unit_test(test_logprobs_do_not_pile_up),
#if HEARTH_FAULTS
        cmocka_unit_test(test_no_memory),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
