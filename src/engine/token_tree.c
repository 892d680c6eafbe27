/* Sorted by text, a token's parent is the last one before it whose text it begins with: one pass
 * with a stack. Sorting compares the first eight bytes as a number, mostly that is enough. */
#include "engine/token_tree.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { TEXTS_MAX = 256 << 20 };

struct token_tree {
    int32_t *begin;  /* n_tokens + 2: children of token t are list[begin[t] .. begin[t + 1]) */
    int32_t *list;   /* the roots are those of token n_tokens */
    int32_t *parent; /* while it is made */
    int32_t n_tokens;
};

struct item {
    uint64_t first; /* eight bytes, big-endian */
    const char *text;
    uint32_t len;
    int32_t token;
};

static uint64_t first_bytes(const char *text, size_t len)
{
    uint64_t v = 0;
    for (size_t i = 0; i < 8; i++) v = v << 8 | (i < len ? (unsigned char)text[i] : 0);
    return v;
}

static int by_text(const void *va, const void *vb)
{
    const struct item *a = va, *b = vb;
    if (a->first != b->first) return a->first < b->first ? -1 : 1;
    size_t len = a->len < b->len ? a->len : b->len;
    int order = memcmp(a->text, b->text, len);
    if (order) return order;
    if (a->len != b->len) return a->len < b->len ? -1 : 1;
    return a->token < b->token ? -1 : a->token > b->token;
}

static bool begins_with(const struct item *a, const struct item *start)
{
    return a->len >= start->len && memcmp(a->text, start->text, start->len) == 0;
}

/* Sets parent[]; n_tokens stands for the root, -1 for nowhere. */
static enum err find_parents(struct token_tree *t, struct item *items, size_t n)
{
    struct item *stack = try_calloc(n + 1, sizeof *stack);
    if (!stack) return ERR_NOMEM;
    size_t depth = 0;
    if (n) qsort(items, n, sizeof *items, by_text);
    for (size_t i = 0; i < n; i++) {
        while (depth && !begins_with(&items[i], &stack[depth - 1])) depth--;
        t->parent[items[i].token] = depth ? stack[depth - 1].token : t->n_tokens;
        stack[depth++] = items[i];
    }
    free(stack);
    return OK;
}

/* Counting sort by parent. */
static void list_children(struct token_tree *t)
{
    int32_t n = t->n_tokens, at = 0;
    for (int32_t i = 0; i < n; i++)
        if (t->parent[i] >= 0) t->begin[t->parent[i]]++;
    for (int32_t p = 0; p <= n; p++) { /* counts to ends */
        at += t->begin[p];
        t->begin[p] = at;
    }
    t->begin[n + 1] = at;
    for (int32_t i = n - 1; i >= 0; i--)
        if (t->parent[i] >= 0) t->list[--t->begin[t->parent[i]]] = i;
}

static enum err read_texts(struct token_tree *t, token_text_fn text, void *ctx, struct buf *texts,
                           struct item *items, size_t *n)
{
    for (int32_t i = 0; i < t->n_tokens; i++) {
        size_t before = texts->len;
        enum token_place place = text(ctx, i, texts);
        t->parent[i] = place == TOKEN_APART ? t->n_tokens : -1;
        if (place != TOKEN_IN_TREE || texts->len == before) {
            texts->len = before;
            continue;
        }
        items[*n].token = i;
        items[(*n)++].len = (uint32_t)(texts->len - before);
    }
    if (texts->err) return texts->err;
    const char *at = texts->data;
    for (size_t i = 0; i < *n; i++) {
        items[i].text = at;
        items[i].first = first_bytes(at, items[i].len);
        at += items[i].len;
    }
    return OK;
}

enum err token_tree_new(int32_t n_tokens, token_text_fn text, void *ctx, struct token_tree **out,
                        struct error *error)
{
    size_t n = (size_t)n_tokens, n_items = 0;
    struct token_tree *t = xcalloc(1, sizeof *t);
    struct item *items = try_calloc(n + 1, sizeof *items);
    struct buf texts;
    buf_init(&texts, TEXTS_MAX);
    t->n_tokens = n_tokens;
    t->begin = try_calloc(n + 2, sizeof *t->begin);
    t->list = try_calloc(n + 1, sizeof *t->list);
    t->parent = try_calloc(n + 1, sizeof *t->parent);
    enum err e = items && t->begin && t->list && t->parent ? OK : ERR_NOMEM;
    if (!e) e = read_texts(t, text, ctx, &texts, items, &n_items);
    if (!e) e = find_parents(t, items, n_items);
    if (!e) list_children(t);
    free(items);
    buf_free(&texts);
    free(t->parent);
    t->parent = NULL;
    if (e) {
        token_tree_free(t);
        return err_set(error, e, "no memory for a tree of %d tokens", n_tokens);
    }
    *out = t;
    return OK;
}

void token_tree_free(struct token_tree *t)
{
    if (!t) return;
    free(t->begin);
    free(t->list);
    free(t->parent);
    free(t);
}

const int32_t *token_tree_children(const struct token_tree *t, int32_t token, size_t *n)
{
    *n = (size_t)(t->begin[token + 1] - t->begin[token]);
    return t->list + t->begin[token];
}

const int32_t *token_tree_roots(const struct token_tree *t, size_t *n)
{
    return token_tree_children(t, t->n_tokens, n);
}

/* ---- grammars ------------------------------------------------------------------------------ */

/* Behind the opening quotation mark or bracket, to the closing one. */
static const char *skip_quoted(const char *p, char close, bool *beyond_ascii)
{
    *beyond_ascii = false;
    while (*p && *p != close) {
        if ((unsigned char)*p >= 0x80) *beyond_ascii = true;
        if (*p == '\\') {
            int digits = p[1] == 'x' ? 2 : p[1] == 'u' ? 4 : p[1] == 'U' ? 8 : 0;
            char hex[9] = "";
            strncat(hex, p + (p[1] ? 2 : 1), (size_t)digits);
            if (digits && strtoul(hex, NULL, 16) >= 0x80) *beyond_ascii = true;
            p++;
        }
        if (*p) p++;
    }
    return *p ? p + 1 : p;
}

bool grammar_is_prefix_closed(const char *p)
{
    bool beyond_ascii;
    while (*p) {
        if (*p == '#') {
            p += strcspn(p, "\r\n");
        } else if (*p == '"') {
            p = skip_quoted(p + 1, '"', &beyond_ascii);
        } else if (*p == '[') {
            bool negated = p[1] == '^';
            p = skip_quoted(p + 1 + negated, ']', &beyond_ascii);
            if (negated && beyond_ascii) return false;
        } else if (*p == '<') {
            return false;
        } else {
            p++;
        }
    }
    return true;
}
