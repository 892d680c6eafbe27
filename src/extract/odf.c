/* OpenDocument texts, spreadsheets and presentations (ISO 26300): one format for the three, text in
 * content.xml. Sheets and slides are pages; so are the pages of a text where its writer noted their
 * breaks. Changes that were deleted, comments and indexes' hidden parts are left out. */
#include <string.h>

#include "base/str.h"
#include "extract/extract_int.h"
#include "extract/types.h"
#include "extract/zip.h"

enum { REPEAT_MAX = 64, LIST_DEPTH_MAX = 16 };

struct odf {
    struct prose *out;
    bool sheets;    /* tables are pages of a workbook */
    int skip;       /* depth of the element that is left out; 0 = none */
    int paragraphs; /* open ones; text outside of them is layout */
    int list;
    bool item_begins;
    int heading; /* level of the open heading; 0 = none */
    bool title;  /* in a slide's frame for its title */
    int notes;   /* open note-body elements: what they hold is written in a line */
    bool note_begins;
    bool begun;
    int32_t page;
    bool breaks; /* page breaks were seen */
    long repeat; /* of the open cell */
};

static bool is_left_out(const struct xml_element *e)
{
    return xml_is(e, NS_TEXT, "tracked-changes") || xml_is(e, NS_OFFICE, "annotation") ||
           xml_is(e, NS_OFFICE, "scripts") || xml_is(e, NS_OFFICE, "font-face-decls") ||
           xml_is(e, NS_OFFICE, "automatic-styles") || xml_is(e, NS_TEXT, "sequence-decls") ||
           xml_is(e, NS_TEXT, "note-citation") || xml_is(e, NS_TABLE, "shapes") ||
           xml_is(e, NS_TABLE, "content-validations");
}

static void write(struct odf *d, const char *s, size_t len)
{
    if (!d->begun) {
        if (d->heading)
            prose_heading(d->out, d->heading);
        else if (d->list && d->item_begins)
            prose_item(d->out, d->list - 1);
        d->item_begins = false;
    }
    d->begun = true;
    prose_text(d->out, s, len);
}

static void on_text_element(struct odf *d, const struct xml_element *e)
{
    const char *n = e->name;
    if (str_eq(n, "p") || str_eq(n, "h")) {
        if (d->paragraphs++ == 0) d->begun = false;
        if (d->notes) {
            if (!d->note_begins) prose_puts(d->out, " ");
            d->note_begins = false;
            return;
        }
        prose_break(d->out);
        d->begun = false;
        d->heading = *n == 'h' ? (int)xml_attr_int(e, NS_TEXT, "outline-level", 1) : d->title;
    } else if (str_eq(n, "s") || str_eq(n, "tab")) {
        prose_puts(d->out, " ");
    } else if (str_eq(n, "line-break")) {
        prose_break(d->out);
    } else if (str_eq(n, "list")) {
        if (d->list < LIST_DEPTH_MAX) d->list++;
    } else if (str_eq(n, "list-item")) {
        d->item_begins = true;
    } else if (str_eq(n, "note-body")) {
        d->notes++;
        d->note_begins = true;
        prose_puts(d->out, " (");
    } else if (str_eq(n, "soft-page-break")) {
        d->breaks = true;
        prose_page(d->out, ++d->page);
    }
}

static void begin_sheet(struct odf *d, const struct xml_element *e)
{
    char name[256];
    if (d->sheets && e->depth <= 4) { /* document, body, spreadsheet, table */
        prose_block(d->out);
        prose_page(d->out, ++d->page);
        if (xml_attr(e, NS_TABLE, "name", name, sizeof name)) {
            prose_heading(d->out, 1);
            prose_puts(d->out, name);
        }
    }
    prose_table(d->out, d->sheets);
}

static void on_table_element(struct odf *d, const struct xml_element *e)
{
    if (str_eq(e->name, "table")) {
        begin_sheet(d, e);
    } else if (str_eq(e->name, "table-row")) {
        prose_row(d->out);
    } else if (str_eq(e->name, "table-cell")) {
        prose_cell(d->out);
        d->repeat = xml_attr_int(e, NS_TABLE, "number-columns-repeated", 1);
    } else if (str_eq(e->name, "covered-table-cell")) {
        prose_cell(d->out);
    }
}

static void on_open(void *ctx, const struct xml_element *e)
{
    struct odf *d = ctx;
    if (d->skip) return;
    if (is_left_out(e)) {
        d->skip = e->depth;
    } else if (e->ns == NS_TEXT) {
        on_text_element(d, e);
    } else if (e->ns == NS_TABLE) {
        on_table_element(d, e);
    } else if (xml_is(e, NS_DRAW, "page")) {
        prose_block(d->out);
        prose_page(d->out, ++d->page);
        d->breaks = true;
    } else if (xml_is(e, NS_DRAW, "frame")) {
        prose_break(d->out);
        d->title = xml_attr_is(e, NS_PRESENTATION, "class", "title");
    }
}

static void close_text(struct odf *d, const char *n)
{
    if (str_eq(n, "p") || str_eq(n, "h")) {
        if (d->paragraphs) d->paragraphs--;
        if (d->notes) return;
        d->heading = 0;
        if (d->list)
            prose_break(d->out);
        else
            prose_block(d->out);
    } else if (str_eq(n, "list")) {
        if (d->list && --d->list == 0) prose_block(d->out);
    } else if (str_eq(n, "note-body")) {
        if (d->notes) d->notes--;
        prose_text(d->out, ")", 1);
    }
}

static void on_close(void *ctx, const struct xml_element *e)
{
    struct odf *d = ctx;
    if (d->skip) {
        if (e->depth == d->skip) d->skip = 0;
        return;
    }
    if (e->ns == NS_TEXT) close_text(d, e->name);
    if (xml_is(e, NS_DRAW, "frame")) d->title = false;
    if (xml_is(e, NS_TABLE, "table")) prose_table_end(d->out);
    /* Repeated cells of a wide gap would be a line of bars. */
    if (xml_is(e, NS_TABLE, "table-cell"))
        for (; d->repeat > 1 && d->repeat <= REPEAT_MAX; d->repeat--) prose_cell(d->out);
}

static void on_text(void *ctx, const char *s, size_t len)
{
    struct odf *d = ctx;
    if (d->paragraphs && !d->skip) write(d, s, len);
}

/* ---- all ----------------------------------------------------------------------------------- */

static void on_manifest(void *ctx, const struct xml_element *e)
{
    if (xml_is(e, NS_MANIFEST, "encryption-data")) *(bool *)ctx = true;
}

static enum err check_encryption(struct zip *z, struct error *error)
{
    static const struct xml_events events = {.open = on_manifest};
    bool encrypted = false;
    if (!zip_has(z, "META-INF/manifest.xml")) return OK;
    enum err e = zip_xml(z, "META-INF/manifest.xml", &events, &encrypted, error);
    if (e || !encrypted) return e;
    return err_set(error, ERR_INVALID,
                   "the document is protected by a password; save a copy without one");
}

enum err load_odf(struct load *l, struct error *error)
{
    static const struct xml_events events = {.open = on_open, .close = on_close, .text = on_text};
    struct odf d = {.out = l->out, .sheets = str_eq(l->type, ODF "spreadsheet")};
    struct zip *z;
    enum err e = zip_open(l, &z, error);
    if (e) return e;
    zip_title(z, "meta.xml", l->out);
    e = check_encryption(z, error);
    if (str_eq(l->type, ODF "text")) prose_page(l->out, ++d.page);
    if (!e) e = zip_xml(z, "content.xml", &events, &d, error);
    if (!d.sheets && !d.breaks) l->out->n_pages = 0;
    zip_close(z);
    return e;
}
