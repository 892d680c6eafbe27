/* The vocabulary as a tree: every token has the longest of its beginnings that is a token above it,
 * and asking level by level finds exactly what asking about each token finds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/fault.h"
#include "engine/token_tree.h"

struct vocab {
    const char **texts; /* NULL = apart, "" = nowhere */
    int32_t n;
};

static enum token_place text_of(void *ctx, int32_t token, struct buf *out)
{
    const struct vocab *v = ctx;
    if (!v->texts[token]) return TOKEN_APART;
    buf_puts(out, v->texts[token]);
    return TOKEN_IN_TREE;
}

static struct token_tree *tree_of(struct vocab *v)
{
    struct token_tree *t;
    struct error error;
    assert_int_equal(token_tree_new(v->n, text_of, v, &t, &error), OK);
    return t;
}

static bool has(const int32_t *list, size_t n, int32_t token)
{
    for (size_t i = 0; i < n; i++)
        if (list[i] == token) return true;
    return false;
}

static void test_parents_are_the_longest_beginnings(void **state)
{
    (void)state;
    const char *texts[] = {"abc", "a", "b", "", "abcd", NULL, "ab", "xy", "abd", "a", "\xc3\xa9"};
    struct vocab v = {texts, 11};
    struct token_tree *t = tree_of(&v);
    size_t n;
    const int32_t *roots = token_tree_roots(t, &n);
    assert_int_equal(n, 5); /* a, b, xy, é, the one apart */
    assert_true(has(roots, n, 1) && has(roots, n, 2) && has(roots, n, 7) && has(roots, n, 10));
    assert_true(has(roots, n, 5));
    const int32_t *below = token_tree_children(t, 1, &n); /* the other "a" */
    assert_true(n == 1 && below[0] == 9);
    below = token_tree_children(t, 9, &n);
    assert_true(n == 1 && below[0] == 6); /* ab */
    below = token_tree_children(t, 6, &n);
    assert_true(n == 2 && has(below, n, 0) && has(below, n, 8));
    below = token_tree_children(t, 0, &n);
    assert_true(n == 1 && below[0] == 4);
    token_tree_children(t, 5, &n);
    assert_int_equal(n, 0);
    token_tree_free(t);
}

/* Prefix-closed: no "ca", and at most one "b". */
static bool allows(const char *s)
{
    const char *b = strchr(s, 'b');
    return !strstr(s, "ca") && !(b && strchr(b + 1, 'b'));
}

static size_t walk(const struct token_tree *t, const struct vocab *v, int32_t token, bool *allowed)
{
    size_t n, asked = 1;
    if (!allows(v->texts[token])) return asked;
    allowed[token] = true;
    const int32_t *below = token_tree_children(t, token, &n);
    for (size_t i = 0; i < n; i++) asked += walk(t, v, below[i], allowed);
    return asked;
}

static void test_a_walk_finds_all_that_is_allowed(void **state)
{
    (void)state;
    enum { N = 3000 };
    static char text[N][12];
    static const char *texts[N];
    static bool allowed[N];
    srand(7);
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < N; i++) {
            int len = 1 + rand() % 10;
            for (int k = 0; k < len; k++) text[i][k] = (char)('a' + rand() % 4);
            text[i][len] = '\0';
            texts[i] = text[i];
            allowed[i] = false;
        }
        struct vocab v = {texts, N};
        struct token_tree *t = tree_of(&v);
        size_t n, asked = 0;
        const int32_t *roots = token_tree_roots(t, &n);
        for (size_t i = 0; i < n; i++) asked += walk(t, &v, roots[i], allowed);
        for (int i = 0; i < N; i++) assert_int_equal(allowed[i], allows(texts[i]));
        assert_true(asked < N);
        token_tree_free(t);
    }
}

static void test_empty_vocabularies(void **state)
{
    (void)state;
    const char *texts[] = {"", ""};
    struct vocab none = {texts, 0}, nowhere = {texts, 2};
    size_t n;
    struct token_tree *t = tree_of(&none);
    token_tree_roots(t, &n);
    assert_int_equal(n, 0);
    token_tree_free(t);
    t = tree_of(&nowhere);
    token_tree_roots(t, &n);
    assert_int_equal(n, 0);
    token_tree_free(t);
}

#if HEARTH_FAULTS
static void test_no_memory_is_an_error(void **state)
{
    (void)state;
    const char *texts[] = {"a", "ab", "abc"};
    struct vocab v = {texts, 3};
    for (long nth = 1;; nth++) {
        struct token_tree *t = NULL;
        struct error error;
        fault_arm(FAULT_alloc, nth, true);
        enum err e = token_tree_new(v.n, text_of, &v, &t, &error);
        fault_arm(FAULT_alloc, 0, false);
        token_tree_free(t);
        if (e == OK) break;
        assert_int_equal(e, ERR_NOMEM);
        assert_true(nth < 20);
    }
}
#endif

static void test_which_grammars_are_prefix_closed(void **state)
{
    (void)state;
    assert_true(
        grammar_is_prefix_closed("root ::= \"a\" [^\"\\\\\\x7F\\x00-\\x1F]* # <x> [^\xc3\xa9]\n"));
    assert_true(
        grammar_is_prefix_closed("root ::= \"<think>\" [a-z\xc3\xa9] \"[^\xc3\xa9]\" | \"\\\"<\""));
    assert_true(grammar_is_prefix_closed("root ::= [<>] [^<] [\\]<] \"\\\\\""));
    assert_false(grammar_is_prefix_closed("root ::= <[12]> \"a\""));
    assert_false(grammar_is_prefix_closed("root ::= \"a\" !<think>"));
    assert_false(grammar_is_prefix_closed("root ::= [^\xc3\xa9]"));
    assert_false(grammar_is_prefix_closed("root ::= [^a-\\xff]"));
    assert_false(grammar_is_prefix_closed("root ::= [^\\u00e9]"));
    assert_false(grammar_is_prefix_closed("root ::= [^\\]\\U0001F600]"));
    assert_true(grammar_is_prefix_closed("root ::= [^\\u0041]"));
    assert_true(grammar_is_prefix_closed("") && grammar_is_prefix_closed("\"\\"));
    assert_true(grammar_is_prefix_closed("[^\\x"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parents_are_the_longest_beginnings),
        cmocka_unit_test(test_a_walk_finds_all_that_is_allowed),
        cmocka_unit_test(test_empty_vocabularies),
#if HEARTH_FAULTS
        cmocka_unit_test(test_no_memory_is_an_error),
#endif
        cmocka_unit_test(test_which_grammars_are_prefix_closed),
    };
    return cmocka_run_group_tests_name("token tree", tests, NULL, NULL);
}
