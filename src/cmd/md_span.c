/* Inline Markdown and tables: md4c parses, its events become words of a flow. */
#include "cmd/md_span.h"

#include <md4c.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

/* A piece of a line could look like a block of its own ("1. ", "- ", "# "), so md4c is given it
 * behind this word, which is cut off again. */
static const char guard[] = "a ";

enum { GUARD_LEN = sizeof(guard) - 1, FLAGS = MD_FLAG_STRIKETHROUGH | MD_FLAG_NOHTML };

struct spans {
    struct flow *flow;
    size_t skip; /* bytes of the guard still to drop */
    int bold, italic, strike, code, link;
    struct buf href;      /* of the link under way */
    struct buf link_text; /* what it shows, to leave out an equal href */
};

static void spans_init(struct spans *s, struct flow *f)
{
    *s = (struct spans){.flow = f};
    buf_init(&s->href, 8 << 10);
    buf_init(&s->link_text, 8 << 10);
}

static void spans_free(struct spans *s)
{
    buf_free(&s->href);
    buf_free(&s->link_text);
}

static unsigned look_of(const struct spans *s)
{
    return (s->bold ? LOOK_BOLD : 0u) | (s->italic ? LOOK_ITALIC : 0u) |
           (s->strike ? LOOK_STRIKE : 0u) | (s->code ? LOOK_CODE : 0u) |
           (s->link ? LOOK_UNDERLINE : 0u);
}

/* Without colours code keeps its backticks, or nothing would show that it is code. */
static void code_mark(struct spans *s)
{
    if (s->flow->style != TERM_COLOR) flow_text(s->flow, look_of(s), "`", 1);
}

static int on_enter_span(MD_SPANTYPE type, void *detail, void *ctx)
{
    struct spans *s = ctx;
    const MD_ATTRIBUTE *href = NULL;
    switch (type) {
    case MD_SPAN_STRONG: s->bold++; break;
    case MD_SPAN_EM: s->italic++; break;
    case MD_SPAN_DEL: s->strike++; break;
    case MD_SPAN_CODE:
        s->code++;
        code_mark(s);
        break;
    case MD_SPAN_A: href = &((MD_SPAN_A_DETAIL *)detail)->href; break;
    case MD_SPAN_IMG: href = &((MD_SPAN_IMG_DETAIL *)detail)->src; break;
    default: break;
    }
    if (href) {
        s->link++;
        buf_clear(&s->href);
        buf_clear(&s->link_text);
        buf_append(&s->href, href->text, href->size);
    }
    return 0;
}

static int on_leave_span(MD_SPANTYPE type, void *detail, void *ctx)
{
    (void)detail;
    struct spans *s = ctx;
    switch (type) {
    case MD_SPAN_STRONG: s->bold--; break;
    case MD_SPAN_EM: s->italic--; break;
    case MD_SPAN_DEL: s->strike--; break;
    case MD_SPAN_CODE:
        code_mark(s);
        s->code--;
        break;
    case MD_SPAN_A:
    case MD_SPAN_IMG:
        s->link--;
        if (s->href.len && !str_eq(buf_str(&s->href), buf_str(&s->link_text)) &&
            !(str_starts(buf_str(&s->href), "mailto:") &&
              str_eq(buf_str(&s->href) + 7, buf_str(&s->link_text)))) {
            flow_text(s->flow, 0, " (", 2);
            flow_text(s->flow, LOOK_UNDERLINE, buf_str(&s->href), s->href.len);
            flow_text(s->flow, 0, ")", 1);
        }
        break;
    default: break;
    }
    return 0;
}

/* The entities that models really write; others stay as they are. */
static const char *entity(const char *text, size_t len)
{
    static const char *const known[][2] = {
        {"&amp;", "&"},        {"&lt;", "<"},          {"&gt;", ">"},        {"&quot;", "\""},
        {"&apos;", "'"},       {"&#39;", "'"},         {"&nbsp;", "\u00A0"}, {"&mdash;", "\u2014"},
        {"&ndash;", "\u2013"}, {"&hellip;", "\u2026"},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
        if (strlen(known[i][0]) == len && memcmp(known[i][0], text, len) == 0) return known[i][1];
    return NULL;
}

static int on_text(MD_TEXTTYPE type, const MD_CHAR *text, MD_SIZE size, void *ctx)
{
    struct spans *s = ctx;
    size_t len = size;
    if (type == MD_TEXT_BR || type == MD_TEXT_SOFTBR) {
        flow_text(s->flow, 0, " ", 1);
        return 0;
    }
    if (type == MD_TEXT_ENTITY) {
        const char *plain = entity(text, len);
        if (plain) {
            text = plain;
            len = strlen(plain);
        }
    }
    size_t skip = s->skip < len ? s->skip : len;
    s->skip -= skip;
    if (s->link) buf_append(&s->link_text, text + skip, len - skip);
    flow_text(s->flow, look_of(s), text + skip, len - skip);
    return 0;
}

static int on_block(MD_BLOCKTYPE type, void *detail, void *ctx)
{
    (void)type, (void)detail, (void)ctx;
    return 0;
}

void md_span(struct flow *f, const char *text, size_t len)
{
    static const MD_PARSER parser = {
        .flags = FLAGS,
        .enter_block = on_block,
        .leave_block = on_block,
        .enter_span = on_enter_span,
        .leave_span = on_leave_span,
        .text = on_text,
    };
    while (len > 0 && (text[0] == ' ' || text[0] == '\t')) {
        flow_text(f, 0, " ", 1);
        text++;
        len--;
    }
    if (len == 0) return;
    /* md4c 0.4.8 reads past an end that is not a newline ("](x" of an open link). */
    char *guarded = xmalloc(len + GUARD_LEN + 2);
    memcpy(guarded, guard, GUARD_LEN);
    memcpy(guarded + GUARD_LEN, text, len);
    memcpy(guarded + GUARD_LEN + len, "\n", 2);
    struct spans s;
    spans_init(&s, f);
    s.skip = GUARD_LEN;
    if (md_parse(guarded, (MD_SIZE)(len + GUARD_LEN + 1), &parser, &s) != 0)
        flow_text(f, 0, text, len); /* it ran out of memory */
    spans_free(&s);
    free(guarded);
}

/* ---- tables --------------------------------------------------------------------------------- */

enum { COLUMNS_MAX = 32, ROWS_MAX = 2000, GAP = 3, COLUMN_MIN = 3 };

struct word {
    size_t off, len; /* in table.text */
    int width;
};

struct cell {
    size_t first, n; /* words */
    int width;       /* of all of them on one line */
};

struct table {
    struct spans spans;
    struct flow flow; /* makes the words */
    struct buf text;
    struct word *words;
    size_t n_words, cap_words;
    struct cell *cells; /* rows * COLUMNS_MAX */
    size_t rows;
    int columns, column;
    MD_ALIGN align[COLUMNS_MAX];
    int widths[COLUMNS_MAX];
    bool seen, failed;
};

static void take_word(void *ctx, const struct buf *word, int width, bool space)
{
    (void)space;
    struct table *t = ctx;
    if (t->n_words == t->cap_words) {
        size_t cap = t->cap_words ? t->cap_words * 2 : 256;
        struct word *bigger = try_realloc(t->words, cap, sizeof(*bigger));
        if (!bigger) {
            t->failed = true;
            return;
        }
        t->words = bigger;
        t->cap_words = cap;
    }
    t->words[t->n_words++] = (struct word){t->text.len, word->len, width};
    buf_append(&t->text, buf_str(word), word->len);
}

static int enter_table_block(MD_BLOCKTYPE type, void *detail, void *ctx)
{
    struct table *t = ctx;
    switch (type) {
    case MD_BLOCK_TABLE: t->seen = true; break;
    case MD_BLOCK_TR:
        if (t->rows == ROWS_MAX) t->failed = true;
        if (t->failed) return 1;
        t->rows++;
        t->column = 0;
        break;
    case MD_BLOCK_TH:
    case MD_BLOCK_TD:
        if (t->column == COLUMNS_MAX) {
            t->failed = true;
            return 1;
        }
        t->flow.look = type == MD_BLOCK_TH ? LOOK_BOLD : 0;
        t->align[t->column] = ((MD_BLOCK_TD_DETAIL *)detail)->align;
        t->cells[(t->rows - 1) * COLUMNS_MAX + (size_t)t->column].first = t->n_words;
        break;
    default: break;
    }
    return 0;
}

static int leave_table_block(MD_BLOCKTYPE type, void *detail, void *ctx)
{
    (void)detail;
    struct table *t = ctx;
    if (type != MD_BLOCK_TH && type != MD_BLOCK_TD) return 0;
    flow_flush(&t->flow);
    struct cell *cell = &t->cells[(t->rows - 1) * COLUMNS_MAX + (size_t)t->column];
    cell->n = t->n_words - cell->first;
    cell->width = cell->n ? (int)cell->n - 1 : 0;
    for (size_t i = 0; i < cell->n; i++) cell->width += t->words[cell->first + i].width;
    if (cell->width > t->widths[t->column]) t->widths[t->column] = cell->width;
    t->column++;
    if (t->column > t->columns) t->columns = t->column;
    return 0;
}

/* Makes the widest columns narrower until the table fits. */
static void fit(struct table *t, int width)
{
    for (;;) {
        int sum = GAP * (t->columns - 1), widest = 0;
        for (int c = 0; c < t->columns; c++) {
            sum += t->widths[c];
            if (t->widths[c] > t->widths[widest]) widest = c;
        }
        if (sum <= width || t->widths[widest] <= COLUMN_MIN) return;
        t->widths[widest]--;
    }
}

static void put_blanks(struct buf *out, int n)
{
    if (n > 0) buf_printf(out, "%*s", n, "");
}

/* Puts the words from *next on that fit one line of the cell; returns whether some remain. */
static bool put_cell_line(const struct table *t, const struct cell *cell, int column, size_t *next,
                          struct buf *out)
{
    int width = 0;
    size_t from = *next;
    while (*next < cell->n) {
        int w = t->words[cell->first + *next].width;
        if (*next > from && width + 1 + w > t->widths[column]) break;
        width += w + (*next > from);
        (*next)++;
    }
    int room = t->widths[column] - width, left = 0;
    if (t->align[column] == MD_ALIGN_RIGHT) left = room;
    if (t->align[column] == MD_ALIGN_CENTER) left = room / 2;
    put_blanks(out, left);
    for (size_t i = from; i < *next; i++) {
        const struct word *word = &t->words[cell->first + i];
        if (i > from) buf_putc(out, ' ');
        buf_append(out, t->text.data + word->off, word->len);
    }
    if (column + 1 < t->columns) put_blanks(out, room - left);
    return *next < cell->n;
}

static void put_row(const struct table *t, size_t row, struct buf *out)
{
    size_t next[COLUMNS_MAX] = {0};
    bool more = true;
    while (more) {
        more = false;
        for (int c = 0; c < t->columns; c++) {
            if (c) buf_puts(out, " \u2502 ");
            if (put_cell_line(t, &t->cells[row * COLUMNS_MAX + (size_t)c], c, &next[c], out))
                more = true;
        }
        buf_putc(out, '\n');
    }
}

static void put_rule(const struct table *t, struct buf *out)
{
    for (int c = 0; c < t->columns; c++) {
        if (c) buf_puts(out, "\u2500\u253C\u2500");
        for (int i = 0; i < t->widths[c]; i++) buf_puts(out, "\u2500");
    }
    buf_putc(out, '\n');
}

bool md_table(struct flow *f, const char *text, size_t len)
{
    static const MD_PARSER parser = {
        .flags = FLAGS | MD_FLAG_TABLES,
        .enter_block = enter_table_block,
        .leave_block = leave_table_block,
        .enter_span = on_enter_span,
        .leave_span = on_leave_span,
        .text = on_text,
    };
    struct table *t = xcalloc(1, sizeof(*t));
    t->cells = xcalloc((size_t)ROWS_MAX * COLUMNS_MAX, sizeof(*t->cells));
    buf_init(&t->text, 4 << 20);
    flow_init(&t->flow, f->width, f->style);
    spans_init(&t->spans, &t->flow);
    t->flow.take = take_word;
    t->flow.take_ctx = t;
    bool ok = md_parse(text, (MD_SIZE)len, &parser, t) == 0 && t->seen && !t->failed &&
              !t->text.err && t->columns > 0;
    if (ok) {
        fit(t, f->width);
        for (size_t row = 0; row < t->rows; row++) {
            put_row(t, row, f->out);
            if (row == 0) put_rule(t, f->out);
        }
    }
    spans_free(&t->spans);
    flow_free(&t->flow);
    buf_free(&t->text);
    free(t->words);
    free(t->cells);
    free(t);
    return ok;
}
