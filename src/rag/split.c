/* Chunks over blocks; see split.h. */
#include "rag/split.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "rag/blocks.h"
#include "rag/split_int.h"

enum { HEADING_LEVELS = 6, PREFIX_SHARE = 4 /* a prefix takes at most a 4th of the size */ };

struct splitter {
    const char *text;
    size_t len;
    const struct split_params *params;
    int32_t size, overlap; /* as they are in effect */
    struct blocks blocks;
    const struct split_page *pages;
    size_t n_pages;
    split_fn fn;
    void *ctx;
    /* Walking on, never back behind a chunk's start: */
    size_t block;                 /* that the chunk's start is in */
    size_t seen;                  /* blocks before it are in `above` */
    size_t above[HEADING_LEVELS]; /* headings that stand over it: index of the block + 1 */
    size_t page;                  /* index behind the start's page */
    char heading[SPLIT_HEADING_MAX];
};

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static size_t skip_space(const char *text, size_t at, size_t end)
{
    while (at < end && is_space(text[at])) at++;
    return at;
}

static size_t trim_end(const char *text, size_t from, size_t end)
{
    while (end > from && is_space(text[end - 1])) end--;
    return end;
}

/* ---- lengths ------------------------------------------------------------------------------- */

static bool is_inner(char c)
{
    return ((unsigned char)c & 0xC0) == 0x80;
}

static int32_t count_characters(const char *text, size_t len)
{
    int32_t n = 0;
    for (size_t i = 0; i < len; i++) n += !is_inner(text[i]);
    return n;
}

static int32_t measure(const struct splitter *s, const char *text, size_t len)
{
    return s->params->unit == SPLIT_TOKENS ? split_tokens(text, len) : count_characters(text, len);
}

/* Behind `most` characters. Whole blocks of bytes first, which the compiler counts in parallel. */
static size_t ahead_characters(const char *text, size_t from, size_t len, int32_t most)
{
    enum { STEP = 64 };
    size_t at = from;
    int32_t n = 0;
    while (len - at >= STEP && most - n >= STEP) {
        n += count_characters(text + at, STEP);
        at += STEP;
    }
    for (; at < len; at++)
        if (!is_inner(text[at]) && n++ == most) break;
    return at;
}

static size_t ahead_tokens(const char *text, size_t from, size_t len, int32_t most)
{
    struct token_count t = {0};
    int32_t n = 0;
    for (size_t at = from; at < len; at++) {
        n += token_count_byte(&t, (unsigned char)text[at]);
        if (n > most) return at;
    }
    return len;
}

static size_t ahead(const struct splitter *s, size_t from, int32_t most)
{
    return s->params->unit == SPLIT_TOKENS ? ahead_tokens(s->text, from, s->len, most)
                                           : ahead_characters(s->text, from, s->len, most);
}

/* As far back from `end` as the overlap allows, not before `from`. */
static size_t back(const struct splitter *s, size_t from, size_t end)
{
    struct token_count t = {0};
    int32_t n = 0;
    size_t at = end;
    bool tokens = s->params->unit == SPLIT_TOKENS;
    while (at > from) {
        n += tokens ? token_count_byte(&t, (unsigned char)s->text[at - 1])
                    : !is_inner(s->text[at - 1]);
        if (n > s->overlap) break;
        at--;
    }
    while (at < end && is_inner(s->text[at])) at++; /* the character that was too much */
    return at;
}

/* ---- where a chunk starts -------------------------------------------------------------------- */

static size_t block_end(const struct splitter *s, size_t i)
{
    return i + 1 < s->blocks.n ? s->blocks.list[i + 1].start : s->len;
}

/* Index of the block that `at` is in, at or behind s->block. */
static size_t block_at(const struct splitter *s, size_t at)
{
    size_t lo = s->block, hi = s->blocks.n;
    while (hi - lo > 1) {
        size_t mid = lo + (hi - lo) / 2;
        if (s->blocks.list[mid].start <= at)
            lo = mid;
        else
            hi = mid;
    }
    return lo;
}

static void walk_to(struct splitter *s, size_t start)
{
    s->block = block_at(s, start);
    for (; s->seen <= s->block; s->seen++) {
        const struct block *b = &s->blocks.list[s->seen];
        if (b->kind != BLOCK_HEADING) continue;
        s->above[b->level - 1] = s->seen + 1;
        memset(s->above + b->level, 0, (size_t)(HEADING_LEVELS - b->level) * sizeof *s->above);
    }
    while (s->page < s->n_pages && s->pages[s->page].start <= start) s->page++;
}

/* The words of a heading without its marks. */
static void add_heading(struct splitter *s, struct buf *path, size_t block)
{
    const char *text = s->text;
    size_t from = s->blocks.list[block].start, end = block_end(s, block);
    const char *nl = memchr(text + from, '\n', end - from);
    if (nl) end = (size_t)(nl - text);
    from = skip_space(text, from, end);
    while (from < end && text[from] == '#') from++;
    from = skip_space(text, from, end);
    end = trim_end(text, from, end);
    while (end > from && text[end - 1] == '#') end--;
    end = trim_end(text, from, end);
    if (end == from) return;
    size_t gap = path->len ? sizeof " › " - 1 : 0, room = SPLIT_HEADING_MAX - 1 - path->len;
    if (room <= gap) return;
    size_t n = utf8_cut(text + from, end - from, room - gap < end - from ? room - gap : end - from);
    if (gap) buf_puts(path, " › ");
    buf_append(path, text + from, n);
}

static const char *heading_path(struct splitter *s)
{
    struct buf path;
    buf_init_fixed(&path, s->heading, sizeof s->heading);
    s->heading[0] = '\0';
    for (size_t i = 0; i < HEADING_LEVELS; i++)
        if (s->above[i]) add_heading(s, &path, s->above[i] - 1);
    return s->heading;
}

/* ---- where it ends --------------------------------------------------------------------------- */

/* What a chunk that starts inside a table or code block repeats. */
static size_t prefix_of(const struct splitter *s, size_t start, const char **prefix)
{
    const struct block *b = &s->blocks.list[s->block];
    *prefix = s->text + b->start;
    if (!b->header || start < b->start + b->header) return 0;
    bool fits = measure(s, *prefix, b->header) + 1 <= s->size / PREFIX_SHARE;
    return fits ? b->header : 0;
}

/* The best seam in (from, limit] within one block. */
static size_t cut_block(const struct splitter *s, const struct block *b, size_t from, size_t limit)
{
    const char *text = s->text;
    size_t at = 0;
    if (b->kind == BLOCK_CODE) at = seam_paragraph(text, from, limit);
    if (!at && b->kind == BLOCK_PARAGRAPH) at = seam_sentence(text, from, limit);
    if (!at) at = seam_line(text, from, limit);
    if (!at && b->kind != BLOCK_PARAGRAPH) at = seam_sentence(text, from, limit);
    if (!at) at = seam_word(text, from, limit);
    return at ? at : seam_character(text, from, limit);
}

/* The last block that starts in (from, limit]; with headings: the last heading, if there is one.
 * Its index, or 0. */
static size_t block_seam(const struct splitter *s, size_t from, size_t limit, bool headings)
{
    for (size_t i = block_at(s, limit); i > s->block; i--) {
        const struct block *b = &s->blocks.list[i];
        if (b->start <= from) break;
        if (!headings || b->kind == BLOCK_HEADING) return i;
    }
    return 0;
}

/* A heading stands with what follows it: rather before it than behind it. */
static size_t before_headings(const struct splitter *s, size_t i, size_t from)
{
    while (i > s->block + 1 && s->blocks.list[i - 1].kind == BLOCK_HEADING &&
           s->blocks.list[i - 1].start > from)
        i--;
    return s->blocks.list[i].start;
}

/* Past `least`, where what no chunk has yet begins. */
static size_t find_end(const struct splitter *s, size_t start, size_t least, size_t limit)
{
    size_t third = start + (limit - start) / 3, half = start + (limit - start) / 2;
    if (third < least) third = least;
    if (half < least) half = least;
    size_t i = block_seam(s, third, limit, true);
    if (!i) i = block_seam(s, half, limit, false);
    if (i) return before_headings(s, i, third);
    return cut_block(s, &s->blocks.list[block_at(s, limit)], half, limit);
}

/* ---- the next start -------------------------------------------------------------------------- */

/* The earliest good place at or behind `from` and before `end`. */
static size_t good_start(const struct splitter *s, size_t from, size_t end)
{
    size_t i = block_at(s, from);
    const struct block *b = &s->blocks.list[i];
    if (b->start == from) return from;
    /* A block that starts in time; else one of this block's sentences or lines; else a word. */
    if (i + 1 < s->blocks.n && s->blocks.list[i + 1].start < end)
        return s->blocks.list[i + 1].start;
    bool lines = b->kind == BLOCK_CODE || b->kind == BLOCK_TABLE;
    for (size_t at = from + 1; at < end; at++)
        if (lines ? s->text[at - 1] == '\n' : seam_is_sentence(s->text, b->start, at)) return at;
    for (size_t at = from + 1; at < end; at++)
        if (is_space(s->text[at - 1]) && !is_space(s->text[at])) return at;
    return lines ? end : from; /* one long row: it is not repeated */
}

static size_t next_start(const struct splitter *s, size_t start, size_t end)
{
    size_t at = skip_space(s->text, end, s->len);
    if (at >= s->len || !s->overlap) return at;
    size_t i = block_at(s, at);
    if (s->blocks.list[i].kind == BLOCK_HEADING && s->blocks.list[i].start >= end) return at;
    size_t from = back(s, start + 1, at);
    /* Nothing from above the last heading. */
    for (; i > s->block && s->blocks.list[i].start > from; i--)
        if (s->blocks.list[i].kind == BLOCK_HEADING) from = s->blocks.list[i].start;
    from = skip_space(s->text, from, end);
    if (from >= end) return at;
    size_t good = skip_space(s->text, good_start(s, from, end), end);
    return good >= end ? at : good;
}

/* ---- chunks ---------------------------------------------------------------------------------- */

static int32_t page_of(const struct splitter *s, size_t at)
{
    size_t i = s->page;
    while (i < s->n_pages && s->pages[i].start <= at) i++;
    return i ? s->pages[i - 1].number : s->n_pages ? s->pages[0].number : 0;
}

static bool emit(struct splitter *s, struct split_chunk *c)
{
    c->heading = heading_path(s);
    c->page_from = page_of(s, c->start);
    c->page_to = page_of(s, c->end - 1);
    return s->fn(s->ctx, c);
}

static enum err split(struct splitter *s, struct error *error)
{
    size_t start = skip_space(s->text, 0, s->len), before = 0;
    for (int32_t n = 0; start < s->len; n++) {
        struct split_chunk c = {.n = n, .body = s->text + start, .start = start};
        walk_to(s, start);
        c.prefix_len = prefix_of(s, start, &c.prefix);
        int32_t room = s->size;
        if (c.prefix_len) room -= measure(s, c.prefix, c.prefix_len) + 1;
        size_t limit = ahead(s, start, room), least = skip_space(s->text, before, s->len);
        if (least < start) least = start;
        size_t end = limit < s->len ? find_end(s, start, least, limit) : s->len;
        c.end = trim_end(s->text, start, end);
        if (!emit(s, &c)) return err_set(error, ERR_CANCELLED, "the splitting was stopped");
        before = c.end;
        start = next_start(s, start, c.end);
    }
    return OK;
}

enum err split_text(const char *text, size_t len, const struct split_page *pages, size_t n_pages,
                    const struct split_params *params, split_fn fn, void *ctx, struct error *error)
{
    struct splitter s = {.text = text,
                         .len = trim_end(text, 0, len),
                         .params = params,
                         .pages = pages,
                         .n_pages = n_pages,
                         .fn = fn,
                         .ctx = ctx};
    s.size = params->size > SPLIT_SIZE_MIN ? params->size : SPLIT_SIZE_MIN;
    s.overlap = params->overlap > 0 ? params->overlap : 0;
    if (s.overlap > s.size / 2) s.overlap = s.size / 2;
    enum err e = blocks_find(text, s.len, &s.blocks, error);
    if (!e && s.blocks.n) e = split(&s, error);
    free(s.blocks.list);
    return e;
}
