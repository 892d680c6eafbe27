/* Excel workbooks (ECMA-376, SpreadsheetML): a sheet is a page with its name as heading and its
 * rows as a table. Values as stored; dates, which are stored as numbers, by their cell's style.
 * Hidden sheets are read, too: they are part of what the file says. */
#include "extract/xlsx.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "extract/extract_int.h"
#include "extract/zip.h"

enum { SHEETS_MAX = 1000, STRINGS_MAX = 8 << 20, GAP_MAX = 64, VALUE_MAX = 1 << 20 };

struct sheet {
    char name[128], id[64];
};

struct workbook {
    struct prose *out;
    struct sheet *sheets;
    size_t n_sheets;
    bool from_1904;
    struct buf strings; /* shared ones, one behind the other */
    size_t *ends;       /* where each ends */
    size_t n_strings, cap_strings;
    bool phonetic; /* within a reading aid for the string before */
    struct xlsx_styles *styles;
    /* the sheet being read */
    struct buf row; /* its cells' texts, one behind the other */
    struct prose_span *cells;
    size_t *starts; /* of each in row */
    size_t n_cells, cap_cells;
    struct buf value;
    char kind; /* of the cell: 's'hared, 'i'nline, 'b'ool, 'n'umber, 't'ext */
    size_t column, next_column;
    long style;
    bool in_value, head;
};

/* ---- workbook.xml, sharedStrings.xml ------------------------------------------------------- */

static void on_workbook(void *ctx, const struct xml_element *e)
{
    struct workbook *b = ctx;
    if (xml_is(e, NS_S, "workbookPr"))
        b->from_1904 =
            xml_attr_is(e, NS_ANY, "date1904", "1") || xml_attr_is(e, NS_ANY, "date1904", "true");
    if (!xml_is(e, NS_S, "sheet") || b->n_sheets == SHEETS_MAX) return;
    struct sheet *s = &b->sheets[b->n_sheets];
    (void)xml_attr(e, NS_ANY, "name", s->name, sizeof s->name);
    if (xml_attr(e, NS_R, "id", s->id, sizeof s->id)) b->n_sheets++;
}

static void on_string_open(void *ctx, const struct xml_element *e)
{
    struct workbook *b = ctx;
    if (xml_is(e, NS_S, "rPh")) b->phonetic = true;
    if (xml_is(e, NS_S, "t")) b->in_value = true;
}

static void add_string(struct workbook *b)
{
    if (b->n_strings == b->cap_strings) {
        size_t cap = b->cap_strings ? b->cap_strings * 2 : 1024;
        size_t *ends = cap <= STRINGS_MAX ? try_realloc(b->ends, cap, sizeof *ends) : NULL;
        if (!ends) {
            b->strings.err = cap <= STRINGS_MAX ? ERR_NOMEM : ERR_TOO_LARGE;
            return;
        }
        b->ends = ends;
        b->cap_strings = cap;
    }
    b->ends[b->n_strings++] = b->strings.len;
}

static void on_string_close(void *ctx, const struct xml_element *e)
{
    struct workbook *b = ctx;
    if (xml_is(e, NS_S, "rPh")) b->phonetic = false;
    if (xml_is(e, NS_S, "t")) b->in_value = false;
    if (xml_is(e, NS_S, "si")) add_string(b);
}

static void on_string_text(void *ctx, const char *s, size_t len)
{
    struct workbook *b = ctx;
    if (b->in_value && !b->phonetic) buf_append(&b->strings, s, len);
}

/* ---- cells --------------------------------------------------------------------------------- */

/* "BC12" -> 54 */
static bool column_of(const char *ref, size_t *column)
{
    size_t n = 0;
    for (; isupper((unsigned char)*ref); ref++) {
        n = n * 26 + (size_t)(*ref - 'A') + 1;
        if (n > 16384) return false;
    }
    *column = n - 1;
    return n > 0;
}

static bool add_cell(struct workbook *b)
{
    if (b->n_cells == b->cap_cells) {
        size_t cap = b->cap_cells ? b->cap_cells * 2 : 64;
        struct prose_span *cells = try_realloc(b->cells, cap, sizeof *cells);
        if (cells) b->cells = cells;
        size_t *starts = cells ? try_realloc(b->starts, cap, sizeof *starts) : NULL;
        if (!starts) {
            b->row.err = ERR_NOMEM;
            return false;
        }
        b->starts = starts;
        b->cap_cells = cap;
    }
    b->starts[b->n_cells++] = b->row.len;
    return true;
}

static void put_shared(struct workbook *b)
{
    int64_t i;
    if (!str_to_i64(buf_str(&b->value), 0, (int64_t)b->n_strings - 1, &i)) return;
    size_t from = i ? b->ends[i - 1] : 0;
    buf_append(&b->row, buf_str(&b->strings) + from, b->ends[i] - from);
}

static void put_value(struct workbook *b)
{
    char text[64];
    const char *s = buf_str(&b->value);
    if (b->kind == 's') {
        put_shared(b);
    } else if (b->kind == 'b') {
        buf_puts(&b->row, *s == '1' ? "TRUE" : "FALSE");
    } else if (b->kind == 'n' &&
               xlsx_number(b->styles, b->style, b->from_1904, s, text, sizeof text)) {
        buf_puts(&b->row, text);
    } else {
        buf_append(&b->row, s, b->value.len);
    }
}

static void end_cell(struct workbook *b)
{
    if (!b->value.len) return;
    /* A gap in the row keeps the columns apart, but a hostile one costs nothing. */
    size_t gap = b->column > b->next_column ? b->column - b->next_column : 0;
    for (size_t i = 0; i < gap && gap <= GAP_MAX; i++)
        if (!add_cell(b)) return;
    if (!add_cell(b)) return;
    put_value(b);
    b->next_column = b->column + 1;
}

static void end_row(struct workbook *b)
{
    for (size_t i = 0; i < b->n_cells; i++) {
        size_t end = i + 1 < b->n_cells ? b->starts[i + 1] : b->row.len;
        b->cells[i] = (struct prose_span){buf_str(&b->row) + b->starts[i], end - b->starts[i]};
    }
    if (b->row.err == ERR_NOMEM) b->out->err = ERR_NOMEM;
    if (b->n_cells) prose_cells(b->out, b->cells, b->n_cells, b->head);
    if (b->n_cells) b->head = false;
}

static void begin_cell(struct workbook *b, const struct xml_element *e)
{
    char ref[32], type[16];
    buf_clear(&b->value);
    b->column = b->next_column;
    if (xml_attr(e, NS_ANY, "r", ref, sizeof ref)) (void)column_of(ref, &b->column);
    (void)xml_attr(e, NS_ANY, "t", type, sizeof type);
    b->kind = str_eq(type, "s")             ? 's'
              : str_eq(type, "b")           ? 'b'
              : !*type || str_eq(type, "n") ? 'n'
                                            : 't';
    b->style = xml_attr_int(e, NS_ANY, "s", 0);
}

static void on_sheet_open(void *ctx, const struct xml_element *e)
{
    struct workbook *b = ctx;
    if (e->ns != NS_S) return;
    if (str_eq(e->name, "row")) {
        buf_clear(&b->row);
        b->n_cells = b->next_column = 0;
    } else if (str_eq(e->name, "c")) {
        begin_cell(b, e);
    } else if (str_eq(e->name, "v") || str_eq(e->name, "t")) {
        b->in_value = true;
    } else if (str_eq(e->name, "rPh")) {
        b->phonetic = true;
    }
}

static void on_sheet_close(void *ctx, const struct xml_element *e)
{
    struct workbook *b = ctx;
    if (e->ns != NS_S) return;
    if (str_eq(e->name, "row"))
        end_row(b);
    else if (str_eq(e->name, "c"))
        end_cell(b);
    else if (str_eq(e->name, "rPh"))
        b->phonetic = false;
    else
        b->in_value = false;
}

static void on_sheet_text(void *ctx, const char *s, size_t len)
{
    struct workbook *b = ctx;
    if (b->in_value && !b->phonetic) buf_append(&b->value, s, len);
}

/* ---- all ----------------------------------------------------------------------------------- */

static enum err read_strings(struct workbook *b, struct zip *z, struct error *error)
{
    static const struct xml_events events = {
        .open = on_string_open, .close = on_string_close, .text = on_string_text};
    const char *name = "xl/sharedStrings.xml";
    if (!zip_has(z, name)) return OK;
    enum err e = zip_xml(z, name, &events, b, error);
    if (!e && b->strings.err) e = err_set(error, b->strings.err, "its strings are too many");
    b->in_value = b->phonetic = false;
    return e;
}

static enum err read_sheets(struct workbook *b, struct zip *z, const struct rels *rels,
                            struct error *error)
{
    static const struct xml_events events = {
        .open = on_sheet_open, .close = on_sheet_close, .text = on_sheet_text};
    enum err e = OK;
    for (size_t i = 0; i < b->n_sheets && !e && !prose_err(b->out); i++) {
        const char *member = rels_target(rels, b->sheets[i].id);
        if (!member || !zip_has(z, member)) continue;
        prose_page(b->out, (int32_t)i + 1);
        prose_heading(b->out, 1);
        prose_puts(b->out, b->sheets[i].name);
        prose_block(b->out);
        b->head = true;
        e = zip_xml(z, member, &events, b, error);
        prose_block(b->out);
    }
    return e;
}

static enum err read_workbook(struct workbook *b, struct zip *z, struct error *error)
{
    static const struct xml_events events = {.open = on_workbook};
    static const char main_part[] = "xl/workbook.xml";
    struct rels rels = {0};
    enum err e = zip_xml(z, main_part, &events, b, error);
    if (!e) e = rels_read(z, main_part, &rels, error);
    if (!e) e = read_strings(b, z, error);
    if (!e) e = xlsx_styles_read(z, &b->styles, error);
    if (!e) e = read_sheets(b, z, &rels, error);
    rels_free(&rels);
    return e;
}

enum err load_xlsx(struct load *l, struct error *error)
{
    struct workbook b = {.out = l->out};
    struct zip *z;
    enum err e = zip_open(l, &z, error);
    if (e) return e;
    buf_init(&b.strings, (size_t)l->output * EXTRACT_UNPACK_FACTOR);
    buf_init(&b.row, (size_t)l->output);
    buf_init(&b.value, VALUE_MAX);
    zip_title(z, "docProps/core.xml", l->out);
    b.sheets = try_calloc(SHEETS_MAX, sizeof *b.sheets);
    e = b.sheets ? read_workbook(&b, z, error) : err_set(error, ERR_NOMEM, "no memory");
    buf_free(&b.strings);
    buf_free(&b.row);
    buf_free(&b.value);
    free(b.ends);
    free(b.cells);
    free(b.starts);
    free(b.sheets);
    xlsx_styles_free(b.styles);
    zip_close(z);
    return e;
}
