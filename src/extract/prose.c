/* A document's text; see prose.h. */
#include "extract/prose.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "extract/frame.h"

enum {
    CELL_MAX = 600, /* bytes; longer ones are no data */
    CELLS_MAX = 4 << 20,
    FENCE_MAX = 60,
    ITEM_DEPTH_MAX = 8,
};

void prose_init(struct prose *w, size_t max)
{
    *w = (struct prose){0};
    buf_init(&w->text, max);
}

void prose_free(struct prose *w)
{
    buf_free(&w->text);
    free(w->pages);
    free(w->cells);
    *w = (struct prose){0};
}

enum err prose_err(const struct prose *w)
{
    return w->text.err ? w->text.err : w->err;
}

bool prose_is_empty(const struct prose *w)
{
    return w->text.len == 0;
}

static void trim_end(struct prose *w)
{
    struct buf *t = &w->text;
    while (t->len && (t->data[t->len - 1] == '\n' || t->data[t->len - 1] == ' ')) t->len--;
    if (t->data) t->data[t->len] = '\0';
}

void prose_take(struct prose *w, struct extract_doc *doc)
{
    trim_end(w);
    *doc = (struct extract_doc){.len = w->text.len, .pages = w->pages, .n_pages = w->n_pages};
    doc->text = buf_take(&w->text);
    if (*w->title) doc->title = xstrdup(w->title);
    w->pages = NULL;
    w->n_pages = w->cap_pages = 0;
}

/* ---- characters ---------------------------------------------------------------------------- */

enum kind { KIND_TEXT, KIND_BLANK, KIND_DROP, KIND_BAD };

/* The character at s and its length. Dropped: control characters, soft hyphens, marks of byte order
 * and of zero width, which would only keep words from being found. */
static enum kind kind_of(const char *s, size_t len, size_t *n)
{
    unsigned char c = (unsigned char)*s;
    *n = 1;
    if (c > 0x20 && c < 0x7F) return KIND_TEXT;
    if (c == ' ' || (c >= '\t' && c <= '\r')) return KIND_BLANK;
    if (c < 0x80) return KIND_DROP;
    *n = utf8_next(s, len);
    if (*n == 0) {
        *n = 1;
        return KIND_BAD;
    }
    if (*n == 2 && c == 0xC2) {
        unsigned char d = (unsigned char)s[1];
        if (d == 0xA0 || d == 0x85) return KIND_BLANK; /* no-break space, next line */
        return d == 0xAD || d < 0xA0 ? KIND_DROP : KIND_TEXT;
    }
    if (*n == 3 && c == 0xE2 && (unsigned char)s[1] == 0x80) {
        unsigned char d = (unsigned char)s[2];
        if (d >= 0x80 && d <= 0x8A) return KIND_BLANK; /* en quad ... hair space */
        if (d == 0xA8 || d == 0xA9) return KIND_BLANK; /* line, paragraph separator */
        return (d >= 0x8B && d <= 0x8F) || (d >= 0xAA && d <= 0xAE) ? KIND_DROP : KIND_TEXT;
    }
    if (*n == 3 && memcmp(s, "\xEF\xBB\xBF", 3) == 0) return KIND_DROP;
    return KIND_TEXT;
}

#define BAD_CHARACTER "\xEF\xBF\xBD"

/* ---- gaps ---------------------------------------------------------------------------------- */

static void add_page(struct prose *w)
{
    if (w->n_pages == EXTRACT_PAGES_MAX) {
        w->err = ERR_TOO_LARGE;
        return;
    }
    if (w->n_pages == w->cap_pages) {
        size_t cap = w->cap_pages ? w->cap_pages * 2 : 64;
        struct extract_page *pages = try_realloc(w->pages, cap, sizeof *pages);
        if (!pages) {
            w->err = ERR_NOMEM;
            return;
        }
        w->pages = pages;
        w->cap_pages = cap;
    }
    w->pages[w->n_pages++] = (struct extract_page){.start = w->text.len, .number = w->page};
}

/* Before text: what separates it from the text before. */
static void fill_gap(struct prose *w)
{
    static const char *const gaps[] = {"", " ", "\n", "\n\n"};
    if (w->text.len) buf_puts(&w->text, gaps[w->gap]);
    w->gap = GAP_NONE;
    if (w->page) add_page(w);
    w->page = 0;
    if (*w->prefix) buf_puts(&w->text, w->prefix);
    w->prefix[0] = '\0';
}

static void widen(struct prose *w, enum gap gap)
{
    if (w->gap < gap) w->gap = gap;
}

void prose_text(struct prose *w, const char *s, size_t len)
{
    for (size_t i = 0, n; i < len && !w->text.err;) {
        size_t run = i;
        enum kind kind = KIND_TEXT;
        while (run < len && (kind = kind_of(s + run, len - run, &n)) == KIND_TEXT) run += n;
        if (run > i) {
            if (w->gap || *w->prefix || w->page) fill_gap(w);
            buf_append(&w->text, s + i, run - i);
        }
        i = run;
        if (i == len) break;
        if (kind == KIND_BLANK) {
            widen(w, GAP_SPACE);
        } else if (kind == KIND_BAD) {
            if (w->gap || *w->prefix || w->page) fill_gap(w);
            buf_puts(&w->text, BAD_CHARACTER);
        }
        i += n;
    }
}

void prose_puts(struct prose *w, const char *s)
{
    prose_text(w, s, strlen(s));
}

void prose_break(struct prose *w)
{
    widen(w, GAP_LINE);
}

void prose_block(struct prose *w)
{
    widen(w, GAP_BLOCK);
    w->prefix[0] = '\0';
    w->item = false;
}

void prose_heading(struct prose *w, int level)
{
    static const char marks[] = "###### ";
    if (level < 1) level = 1;
    if (level > 6) level = 6;
    prose_block(w);
    str_copy(w->prefix, sizeof w->prefix, marks + 6 - level);
}

void prose_item(struct prose *w, int depth)
{
    if (depth < 0) depth = 0;
    if (depth > ITEM_DEPTH_MAX) depth = ITEM_DEPTH_MAX;
    if (w->item && w->gap == GAP_BLOCK) w->gap = GAP_LINE;
    widen(w, w->item ? GAP_LINE : GAP_BLOCK);
    str_printf(w->prefix, sizeof w->prefix, "%*s- ", depth * 2, "");
    w->item = true;
}

void prose_page(struct prose *w, int32_t number)
{
    w->page = number;
}

void prose_title(struct prose *w, const char *s, size_t len)
{
    if (*w->title) return;
    struct prose words;
    prose_init(&words, EXTRACT_TITLE_MAX * 4);
    prose_text(&words, s, len);
    size_t n = utf8_cut(buf_str(&words.text), words.text.len, EXTRACT_TITLE_MAX - 1);
    memcpy(w->title, buf_str(&words.text), n);
    w->title[n] = '\0';
    prose_free(&words);
}

/* ---- lines --------------------------------------------------------------------------------- */

void prose_lines(struct prose *w, const char *s, size_t len)
{
    widen(w, GAP_LINE);
    fill_gap(w);
    for (size_t i = 0, n; i < len && !w->text.err;) {
        size_t run = i;
        enum kind kind = KIND_TEXT;
        while (run < len && ((kind = kind_of(s + run, len - run, &n)) == KIND_TEXT ||
                             s[run] == ' ' || s[run] == '\n' || s[run] == '\t'))
            run += n;
        buf_append(&w->text, s + i, run - i);
        i = run;
        if (i == len) break;
        if (kind == KIND_BLANK && s[i] != '\r') buf_putc(&w->text, n == 1 ? '\n' : ' ');
        if (kind == KIND_BAD) buf_puts(&w->text, BAD_CHARACTER);
        i += n;
    }
}

void prose_plain(struct prose *w, const char *s, size_t len)
{
    const char *end = s + len;
    while (s < end) {
        const char *line_end = memchr(s, '\n', (size_t)(end - s));
        if (!line_end) line_end = end;
        const char *stop = line_end;
        while (stop > s && strchr(" \t\f\r", stop[-1])) stop--;
        if (stop > s)
            prose_lines(w, s, (size_t)(stop - s));
        else
            prose_block(w);
        s = line_end + 1;
    }
}

static int longest_ticks(const char *s, size_t len)
{
    int longest = 0, here = 0;
    for (size_t i = 0; i < len; i++) {
        here = s[i] == '`' ? here + 1 : 0;
        if (here > longest) longest = here;
    }
    return longest;
}

void prose_fence(struct prose *w, const char *language, const char *s, size_t len)
{
    while (len && (s[len - 1] == '\n' || s[len - 1] == '\r' || s[len - 1] == ' ')) len--;
    while (len && (*s == '\n' || *s == '\r')) s++, len--;
    if (!len) return;
    char fence[FENCE_MAX + 1];
    int ticks = longest_ticks(s, len);
    size_t n = ticks < 3 ? 3 : ticks >= FENCE_MAX ? FENCE_MAX : (size_t)ticks + 1;
    memset(fence, '`', n);
    fence[n] = '\0';
    prose_block(w);
    fill_gap(w);
    buf_printf(&w->text, "%s%s", fence, language);
    prose_lines(w, s, len);
    buf_printf(&w->text, "\n%s", fence);
    prose_block(w);
}

/* ---- tables -------------------------------------------------------------------------------- */

/* Appends s as words that fit into a cell. */
static void put_cell(struct buf *out, const char *s, size_t len)
{
    bool blank = false, any = false;
    for (size_t i = 0, n; i < len && !out->err; i += n) {
        enum kind kind = kind_of(s + i, len - i, &n);
        if (kind == KIND_BLANK) blank = true;
        if (kind == KIND_BLANK || kind == KIND_DROP) continue;
        if (blank && any) buf_putc(out, ' ');
        blank = false;
        any = true;
        if (kind == KIND_BAD)
            buf_puts(out, BAD_CHARACTER);
        else if (s[i] == '|')
            buf_puts(out, "\\|");
        else
            buf_append(out, s + i, n);
    }
}

static void put_rule(struct buf *out, size_t n)
{
    buf_puts(out, "\n|");
    for (size_t i = 0; i < n; i++) buf_puts(out, " --- |");
}

void prose_cells(struct prose *w, const struct prose_span *cells, size_t n, bool head)
{
    if (head)
        prose_block(w);
    else
        widen(w, GAP_LINE);
    fill_gap(w);
    buf_putc(&w->text, '|');
    for (size_t i = 0; i < n; i++) {
        buf_putc(&w->text, ' ');
        put_cell(&w->text, cells[i].s, cells[i].len);
        buf_puts(&w->text, cells[i].len ? " |" : "|");
    }
    if (head) put_rule(&w->text, n);
    w->gap = GAP_LINE;
}

void prose_table(struct prose *w, bool data)
{
    prose_block(w);
    if (w->n_tables) w->layout[w->n_tables - 1] = true;
    if (w->n_tables == PROSE_TABLES_MAX) {
        w->deeper++;
        return;
    }
    w->tables[w->n_tables] = w->n_cells;
    w->data[w->n_tables] = data;
    w->layout[w->n_tables++] = false;
    w->row_begins = true;
}

void prose_row(struct prose *w)
{
    prose_block(w);
    w->row_begins = true;
}

void prose_cell(struct prose *w)
{
    prose_block(w);
    if (!w->n_tables || w->deeper || w->err) return;
    if (w->n_cells == w->cap_cells) {
        size_t cap = w->cap_cells ? w->cap_cells * 2 : 256;
        struct prose_cell *cells = NULL;
        if (cap <= CELLS_MAX) cells = try_realloc(w->cells, cap, sizeof *cells);
        if (!cells) {
            w->err = cap > CELLS_MAX ? ERR_TOO_LARGE : ERR_NOMEM;
            return;
        }
        w->cells = cells;
        w->cap_cells = cap;
    }
    w->cells[w->n_cells++] = (struct prose_cell){.start = w->text.len, .first = w->row_begins};
    w->row_begins = false;
}

/* Data: two rows and two columns at least, and no cell that is a text of its own. */
/* Cell i of n ends where the next one begins. */
static size_t cell_end(const struct prose *w, const struct prose_cell *cells, size_t n, size_t i)
{
    return i + 1 < n ? cells[i + 1].start : w->text.len;
}

static bool is_data(const struct prose *w, const struct prose_cell *cells, size_t n)
{
    size_t rows = 0;
    if (w->err) return false;
    if (w->data[w->n_tables]) return true;
    if (w->layout[w->n_tables]) return false;
    for (size_t i = 0; i < n; i++) {
        rows += cells[i].first;
        if (cell_end(w, cells, n, i) - cells[i].start > CELL_MAX) return false;
    }
    return rows >= 2 && n >= rows + rows / 2 + 1;
}

/* An open table's text while its rows are written anew in its place. */
struct rewriting {
    const struct prose_cell *cells;
    size_t n, from, was; /* where its text began and ended */
    char *old;
    size_t columns; /* beyond which all cells are empty */
};

/* Cell i: what it was. */
static const char *old_cell(const struct rewriting *r, size_t i, size_t *len)
{
    const char *s = r->old + (r->cells[i].start - r->from);
    *len = (i + 1 < r->n ? r->cells[i + 1].start : r->was) - r->cells[i].start;
    while (*len && (*s == ' ' || *s == '\n')) s++, --*len;
    return s;
}

static size_t row_len(const struct rewriting *r, size_t i)
{
    size_t len = 1;
    while (i + len < r->n && !r->cells[i + len].first) len++;
    return len;
}

/* Cells up to the last one of the row that isn't empty. */
static size_t filled(const struct rewriting *r, size_t i)
{
    size_t k = row_len(r, i), len;
    while (k && (old_cell(r, i + k - 1, &len), len == 0)) k--;
    return k;
}

/* The row that begins with cell i; the first one gets a line below and as many cells as any. */
static void write_row(struct prose *w, const struct rewriting *r, size_t i, size_t k, bool head)
{
    buf_putc(&w->text, '|');
    for (size_t c = 0; c < (head ? r->columns : k); c++) {
        size_t len = 0;
        const char *s = c < k ? old_cell(r, i + c, &len) : "";
        buf_putc(&w->text, ' ');
        put_cell(&w->text, s, len);
        buf_puts(&w->text, len ? " |" : "|");
    }
    if (head) put_rule(&w->text, r->columns);
}

/* A page that began within a row begins with it. */
static void write_rows(struct prose *w, struct rewriting *r)
{
    size_t page = w->n_pages;
    bool head = true;
    while (page && w->pages[page - 1].start >= r->from) page--;
    for (size_t i = 0; i < r->n; i += row_len(r, i))
        if (filled(r, i) > r->columns) r->columns = filled(r, i);
    for (size_t i = 0, k; i < r->n; i += k) {
        k = row_len(r, i);
        size_t end = i + k < r->n ? r->cells[i + k].start : r->was, cells = filled(r, i);
        if (!cells) continue;
        widen(w, head ? GAP_BLOCK : GAP_LINE);
        fill_gap(w);
        while (page < w->n_pages && w->pages[page].start <= end)
            w->pages[page++].start = w->text.len;
        write_row(w, r, i, cells, head);
        head = false;
    }
    while (page < w->n_pages) w->pages[page++].start = w->text.len;
}

static void rewrite(struct prose *w, const struct prose_cell *cells, size_t n)
{
    struct rewriting r = {.cells = cells, .n = n, .from = cells[0].start, .was = w->text.len};
    size_t len = r.was - r.from;
    if (!len) return;
    r.old = try_malloc(len);
    if (!r.old) {
        w->err = ERR_NOMEM;
        return;
    }
    memcpy(r.old, w->text.data + r.from, len);
    w->text.len = r.from;
    write_rows(w, &r);
    free(r.old);
}

void prose_table_end(struct prose *w)
{
    prose_block(w);
    if (w->deeper) {
        w->deeper--;
        return;
    }
    if (!w->n_tables) return;
    size_t first = w->tables[--w->n_tables];
    size_t n = w->n_cells - first;
    const struct prose_cell *cells = n ? w->cells + first : NULL;
    int32_t page = w->page;
    w->page = 0;
    if (n && is_data(w, cells, n)) rewrite(w, cells, n);
    w->page = page;
    w->n_cells = first;
    prose_block(w);
    w->row_begins = false;
}
