/* Word documents (ECMA-376, WordprocessingML): paragraphs with headings and lists by their styles,
 * tables, notes. Deleted text, field codes and the second version of drawings are left out. Pages
 * are where Word broke them last; a document that no Word has laid out has none. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "extract/extract_int.h"
#include "extract/zip.h"

enum { STYLES_MAX = 4096, STYLE_ID_MAX = 80 };

struct style {
    char id[STYLE_ID_MAX], based_on[STYLE_ID_MAX];
    int level; /* of a heading; 0 = none */
};

struct docx {
    struct prose *out;
    struct style *styles;
    size_t n_styles;
    int32_t page;
    int skip;        /* depth of the element that is left out; 0 = none */
    bool in_text;    /* within w:t */
    bool properties; /* within w:pPr of a paragraph */
    int level, item; /* of this paragraph; item -1 = none */
    bool begun;      /* something of this paragraph has been written */
};

/* ---- styles.xml ---------------------------------------------------------------------------- */

/* "heading 1", "Title": the names are English in every language's Word, the ids aren't. */
static int level_of_name(const char *name)
{
    if (strncasecmp(name, "heading ", 8) == 0 && name[8] >= '1' && name[8] <= '9' && !name[9])
        return name[8] - '0';
    return str_ieq(name, "title") ? 1 : 0;
}

static void on_style(void *ctx, const struct xml_element *e)
{
    struct docx *d = ctx;
    char value[STYLE_ID_MAX];
    struct style *s = d->n_styles ? &d->styles[d->n_styles - 1] : NULL;
    if (e->ns != NS_W) return;
    if (str_eq(e->name, "style") && d->n_styles < STYLES_MAX) {
        s = &d->styles[d->n_styles++];
        *s = (struct style){0};
        (void)xml_attr(e, NS_W, "styleId", s->id, sizeof s->id);
        return;
    }
    if (!s || !xml_attr(e, NS_W, "val", value, sizeof value)) return;
    if (str_eq(e->name, "name") && level_of_name(value)) s->level = level_of_name(value);
    if (str_eq(e->name, "basedOn")) str_copy(s->based_on, sizeof s->based_on, value);
    if (str_eq(e->name, "outlineLvl") && !s->level && value[0] >= '0' && value[0] <= '8')
        s->level = value[0] - '0' + 1;
}

static const struct style *find_style(const struct docx *d, const char *id)
{
    for (size_t i = 0; i < d->n_styles; i++)
        if (str_eq(d->styles[i].id, id)) return &d->styles[i];
    return NULL;
}

static int level_of_style(const struct docx *d, const char *id)
{
    for (int depth = 0; depth < 10 && *id; depth++) {
        const struct style *s = find_style(d, id);
        if (!s) return 0;
        if (s->level) return s->level;
        id = s->based_on;
    }
    return 0;
}

/* ---- document.xml -------------------------------------------------------------------------- */

static void write(struct docx *d, const char *s, size_t len)
{
    if (!d->begun && d->level)
        prose_heading(d->out, d->level);
    else if (!d->begun && d->item >= 0)
        prose_item(d->out, d->item);
    else if (!d->begun && d->out->item)
        prose_block(d->out);
    d->begun = true;
    prose_text(d->out, s, len);
}

static void on_property(struct docx *d, const struct xml_element *e)
{
    char value[STYLE_ID_MAX];
    if (str_eq(e->name, "numPr") && d->item < 0) d->item = 0;
    if (!xml_attr(e, NS_W, "val", value, sizeof value)) return;
    if (str_eq(e->name, "pStyle")) d->level = level_of_style(d, value);
    if (str_eq(e->name, "outlineLvl") && value[0] >= '0' && value[0] <= '8')
        d->level = value[0] - '0' + 1;
    if (str_eq(e->name, "ilvl")) d->item = (int)xml_attr_int(e, NS_W, "val", 0);
    if (str_eq(e->name, "numId") && str_eq(value, "0")) d->item = -1; /* no list after all */
}

static void on_paragraph(struct docx *d)
{
    d->level = 0;
    d->item = -1;
    d->begun = false;
}

/* Elements that say where text stands. */
static void on_word(struct docx *d, const struct xml_element *e)
{
    const char *n = e->name;
    if (str_eq(n, "t")) {
        d->in_text = true;
    } else if (str_eq(n, "p")) {
        prose_break(d->out);
        on_paragraph(d);
    } else if (str_eq(n, "pPr")) {
        d->properties = true;
    } else if (str_eq(n, "tab")) {
        write(d, " ", 1);
    } else if (str_eq(n, "br") || str_eq(n, "cr")) {
        prose_break(d->out);
    } else if (str_eq(n, "noBreakHyphen")) {
        write(d, "-", 1);
    } else if (str_eq(n, "lastRenderedPageBreak")) {
        if (!d->page) d->page = 1;
        prose_page(d->out, ++d->page);
    } else if (str_eq(n, "tbl")) {
        prose_table(d->out, false);
    } else if (str_eq(n, "tr")) {
        prose_row(d->out);
    } else if (str_eq(n, "tc")) {
        prose_cell(d->out);
    } else if (str_eq(n, "footnote") || str_eq(n, "endnote")) {
        if (xml_attr_is(e, NS_W, "type", "separator") ||
            xml_attr_is(e, NS_W, "type", "continuationSeparator"))
            d->skip = e->depth;
        prose_block(d->out);
    } else if (str_eq(n, "del") || str_eq(n, "moveFrom")) {
        d->skip = e->depth;
    }
}

static void on_open(void *ctx, const struct xml_element *e)
{
    struct docx *d = ctx;
    if (d->skip) return;
    if (xml_is(e, NS_MC, "Fallback")) {
        d->skip = e->depth;
    } else if (e->ns == NS_W) {
        if (d->properties)
            on_property(d, e);
        else
            on_word(d, e);
    }
}

static void on_close(void *ctx, const struct xml_element *e)
{
    struct docx *d = ctx;
    if (d->skip) {
        if (e->depth == d->skip) d->skip = 0;
        return;
    }
    if (e->ns != NS_W) return;
    if (str_eq(e->name, "t")) d->in_text = false;
    if (str_eq(e->name, "pPr")) d->properties = false;
    if (str_eq(e->name, "tbl")) prose_table_end(d->out);
    if (!str_eq(e->name, "p")) return;
    if (d->item < 0 || d->level)
        prose_block(d->out);
    else
        prose_break(d->out);
    on_paragraph(d); /* a paragraph around this one goes on as plain text */
}

static void on_text(void *ctx, const char *s, size_t len)
{
    struct docx *d = ctx;
    if (d->in_text && !d->skip) write(d, s, len);
}

static enum err read_styles(struct docx *d, struct zip *z, struct error *error)
{
    static const struct xml_events events = {.open = on_style};
    if (!zip_has(z, "word/styles.xml")) return OK;
    d->styles = try_calloc(STYLES_MAX, sizeof *d->styles);
    if (!d->styles) return err_set(error, ERR_NOMEM, "no memory");
    return zip_xml(z, "word/styles.xml", &events, d, error);
}

static enum err read_parts(struct docx *d, struct zip *z, struct error *error)
{
    static const struct xml_events events = {.open = on_open, .close = on_close, .text = on_text};
    static const char *const parts[] = {"word/document.xml", "word/footnotes.xml",
                                        "word/endnotes.xml"};
    prose_page(d->out, 1);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (i && !zip_has(z, parts[i])) continue;
        prose_block(d->out);
        enum err e = zip_xml(z, parts[i], &events, d, error);
        if (e) return e;
    }
    if (!d->page) d->out->n_pages = 0; /* nobody has laid it out */
    return OK;
}

enum err load_docx(struct load *l, struct error *error)
{
    struct docx d = {.out = l->out, .item = -1};
    struct zip *z;
    enum err e = zip_open(l, &z, error);
    if (e) return e;
    zip_title(z, "docProps/core.xml", l->out);
    e = read_styles(&d, z, error);
    if (!e) e = read_parts(&d, z, error);
    free(d.styles);
    zip_close(z);
    return e;
}
