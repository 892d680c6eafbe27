/* Blocks of a text, line by line; see blocks.h. */
#include "rag/blocks.h"

#include <stdbool.h>
#include <string.h>

#include "base/mem.h"

enum { HEADER_MAX = 64 << 10, INDENT_MAX = 3 };

struct line {
    const char *at; /* behind its indent */
    size_t len;     /* without the line break and the blanks before it */
    size_t indent;
};

struct reader {
    const char *text;
    size_t len;
    struct blocks *out;
    size_t cap;
    char fence; /* the character of the fence that is open, or 0 */
    size_t fence_len;
    bool gap; /* the line before was empty */
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v';
}

static struct line read_line(const char *text, size_t from, size_t end)
{
    size_t at = from;
    while (at < end && is_blank(text[at])) at++;
    while (end > at && is_blank(text[end - 1])) end--;
    return (struct line){text + at, end - at, at - from};
}

/* How many of `c` the line begins with. */
static size_t run(const struct line *l, char c)
{
    size_t n = 0;
    while (n < l->len && l->at[n] == c) n++;
    return n;
}

static unsigned heading_level(const struct line *l)
{
    size_t n = run(l, '#');
    bool is = n >= 1 && n <= 6 && l->indent <= INDENT_MAX && n < l->len && is_blank(l->at[n]);
    return is ? (unsigned)n : 0;
}

/* Of what it opens, 0 = no fence. */
static size_t fence_of(const struct line *l, char *c)
{
    if (!l->len || l->indent > INDENT_MAX || (*l->at != '`' && *l->at != '~')) return 0;
    *c = *l->at;
    size_t n = run(l, *c);
    return n >= 3 ? n : 0;
}

static bool closes(const struct reader *r, const struct line *l)
{
    char c;
    size_t n = fence_of(l, &c);
    return n >= r->fence_len && c == r->fence && n == l->len;
}

/* |---|:---:| */
static bool is_rule(const struct line *l)
{
    for (size_t i = 0; i < l->len; i++)
        if (!strchr("|-: ", l->at[i])) return false;
    return l->len > 2;
}

static enum err add(struct reader *r, struct block b, struct error *error)
{
    struct blocks *out = r->out;
    if (out->n == r->cap) {
        size_t cap = r->cap ? 2 * r->cap : 256;
        struct block *bigger = try_realloc(out->list, cap, sizeof *bigger);
        if (!bigger) return err_set(error, ERR_NOMEM, "no memory for the blocks of a text");
        out->list = bigger;
        r->cap = cap;
    }
    out->list[out->n++] = b;
    return OK;
}

static struct block *last(const struct reader *r)
{
    return r->out->n ? &r->out->list[r->out->n - 1] : NULL;
}

static uint32_t header_len(const struct line *l)
{
    return l->len + l->indent <= HEADER_MAX ? (uint32_t)(l->len + l->indent) : 0;
}

static enum err open_fence(struct reader *r, const struct line *l, size_t from, struct error *error)
{
    r->fence_len = fence_of(l, &r->fence);
    return add(r, (struct block){.start = from, .kind = BLOCK_CODE, .header = header_len(l)},
               error);
}

/* A row joins the table above it; the rule below a table's first row is a part of its head. */
static enum err table_row(struct reader *r, const struct line *l, size_t from, struct error *error)
{
    struct block *b = last(r);
    if (!b || b->kind != BLOCK_TABLE || r->gap)
        return add(r, (struct block){.start = from, .kind = BLOCK_TABLE, .header = header_len(l)},
                   error);
    size_t behind = (size_t)(l->at - r->text) + l->len - b->start;
    const char *first = r->text + b->start;
    const char *nl = memchr(first, '\n', r->len - b->start);
    bool second = nl && (size_t)(nl - r->text) + 1 == from;
    if (second && b->header && is_rule(l) && behind <= HEADER_MAX) b->header = (uint32_t)behind;
    return OK;
}

static enum err text_line(struct reader *r, const struct line *l, size_t from, struct error *error)
{
    char c;
    unsigned level = heading_level(l);
    if (level)
        return add(r, (struct block){.start = from, .kind = BLOCK_HEADING, .level = (uint8_t)level},
                   error);
    if (fence_of(l, &c)) return open_fence(r, l, from, error);
    if (*l->at == '|') return table_row(r, l, from, error);
    struct block *b = last(r);
    if (b && b->kind == BLOCK_PARAGRAPH && !r->gap) return OK;
    return add(r, (struct block){.start = from, .kind = BLOCK_PARAGRAPH}, error);
}

static enum err take_line(struct reader *r, size_t from, size_t end, struct error *error)
{
    enum err e = OK;
    struct line l = read_line(r->text, from, end);
    bool closing = r->fence && closes(r, &l);
    if (!r->fence && l.len) e = text_line(r, &l, from, error);
    if (closing) r->fence = 0;
    /* What follows a code block at once is another block. */
    r->gap = closing || (!r->fence && l.len == 0);
    return e;
}

enum err blocks_find(const char *text, size_t len, struct blocks *out, struct error *error)
{
    struct reader r = {.text = text, .len = len, .out = out, .gap = true};
    *out = (struct blocks){0};
    enum err e = OK;
    for (size_t from = 0; !e && from < len;) {
        const char *nl = memchr(text + from, '\n', len - from);
        size_t end = nl ? (size_t)(nl - text) : len;
        e = take_line(&r, from, end, error);
        from = end + 1;
    }
    return e;
}
