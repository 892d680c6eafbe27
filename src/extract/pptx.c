/* PowerPoint presentations (ECMA-376, PresentationML): a slide is a page, its title a heading;
 * tables, and the speaker's notes. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "extract/extract_int.h"
#include "extract/frame.h"
#include "extract/zip.h"

enum { SLIDES_MAX = 5000 };

struct slide_id {
    char id[64];
};

struct pptx {
    struct prose *out;
    struct slide_id *slides;
    size_t n_slides;
    bool notes;       /* this is a slide's notes */
    bool placeholder; /* number, date, footer, picture of the slide: left out */
    bool title, in_text, begun;
    int level; /* of the paragraph's indentation */
};

/* ---- presentation.xml ---------------------------------------------------------------------- */

static void on_slide_id(void *ctx, const struct xml_element *e)
{
    struct pptx *p = ctx;
    if (!xml_is(e, NS_P, "sldId") || p->n_slides == SLIDES_MAX) return;
    if (xml_attr(e, NS_R, "id", p->slides[p->n_slides].id, sizeof p->slides->id)) p->n_slides++;
}

/* ---- a slide ------------------------------------------------------------------------------- */

static void on_placeholder(struct pptx *p, const struct xml_element *e)
{
    static const char *const left_out[] = {"sldNum", "dt", "ftr", "hdr", "sldImg"};
    char type[32];
    (void)xml_attr(e, NS_ANY, "type", type, sizeof type);
    for (size_t i = 0; i < sizeof left_out / sizeof *left_out; i++)
        if (str_eq(type, left_out[i])) p->placeholder = true;
    p->title = !p->notes && (str_eq(type, "title") || str_eq(type, "ctrTitle"));
}

static void on_open(void *ctx, const struct xml_element *e)
{
    struct pptx *p = ctx;
    if (e->ns == NS_P && str_eq(e->name, "sp")) {
        p->placeholder = p->title = false;
        prose_block(p->out);
    } else if (e->ns == NS_P && str_eq(e->name, "ph")) {
        on_placeholder(p, e);
    } else if (e->ns != NS_A) {
        return;
    } else if (str_eq(e->name, "p")) {
        p->begun = false;
        p->level = 0;
        prose_break(p->out);
    } else if (str_eq(e->name, "pPr")) {
        p->level = (int)xml_attr_int(e, NS_ANY, "lvl", 0);
    } else if (str_eq(e->name, "t")) {
        p->in_text = true;
    } else if (str_eq(e->name, "br")) {
        if (p->title)
            prose_puts(p->out, " ");
        else
            prose_break(p->out);
    } else if (str_eq(e->name, "tbl")) {
        prose_table(p->out, false);
    } else if (str_eq(e->name, "tr")) {
        prose_row(p->out);
    } else if (str_eq(e->name, "tc")) {
        prose_cell(p->out);
    }
}

static void on_close(void *ctx, const struct xml_element *e)
{
    struct pptx *p = ctx;
    if (e->ns == NS_P && str_eq(e->name, "sp")) {
        p->placeholder = p->title = false;
        prose_block(p->out);
    }
    if (e->ns != NS_A) return;
    if (str_eq(e->name, "t")) p->in_text = false;
    if (str_eq(e->name, "tbl")) prose_table_end(p->out);
    if (str_eq(e->name, "p") && !p->title) prose_break(p->out);
}

static void on_text(void *ctx, const char *s, size_t len)
{
    struct pptx *p = ctx;
    if (!p->in_text || p->placeholder) return;
    if (!p->begun && p->title) prose_heading(p->out, 1);
    if (!p->begun && !p->title && p->level > 0) prose_item(p->out, p->level - 1);
    p->begun = true;
    prose_text(p->out, s, len);
}

static const struct xml_events slide_events = {.open = on_open, .close = on_close, .text = on_text};

static enum err read_notes(struct pptx *p, struct zip *z, const char *slide, struct error *error)
{
    struct rels rels;
    enum err e = rels_read(z, slide, &rels, error);
    if (e) return e;
    const char *notes = rels_of_kind(&rels, "notesSlide");
    if (notes && zip_has(z, notes)) {
        p->notes = true;
        prose_block(p->out);
        e = zip_xml(z, notes, &slide_events, p, error);
        p->notes = false;
    }
    rels_free(&rels);
    return e;
}

static enum err read_slides(struct pptx *p, struct zip *z, const struct rels *rels,
                            struct error *error)
{
    enum err e = OK;
    for (size_t i = 0; i < p->n_slides && !e && !prose_err(p->out); i++) {
        const char *slide = rels_target(rels, p->slides[i].id);
        if (!slide || !zip_has(z, slide)) continue;
        prose_block(p->out);
        prose_page(p->out, (int32_t)i + 1);
        e = zip_xml(z, slide, &slide_events, p, error);
        if (!e) e = read_notes(p, z, slide, error);
    }
    return e;
}

static bool is_slide(const char *name)
{
    return str_starts(name, "ppt/slides/") || str_starts(name, "ppt/notesSlides/notes") ||
           str_starts(name, "ppt/_rels/") || str_eq(name, "ppt/presentation.xml");
}

enum err load_pptx(struct load *l, struct error *error)
{
    static const struct xml_events events = {.open = on_slide_id};
    static const char main_part[] = "ppt/presentation.xml";
    struct pptx p = {.out = l->out};
    struct zip *z;
    struct rels rels = {0};
    enum err e = zip_open(l, &z, error);
    if (e) return e;
    zip_title(z, "docProps/core.xml", l->out);
    p.slides = try_calloc(SLIDES_MAX, sizeof *p.slides);
    if (!p.slides) e = err_set(error, ERR_NOMEM, "no memory");
    if (!e) e = zip_keep(z, is_slide, error);
    if (!e) e = zip_xml(z, main_part, &events, &p, error);
    if (!e) e = rels_read(z, main_part, &rels, error);
    if (!e) e = read_slides(&p, z, &rels, error);
    rels_free(&rels);
    free(p.slides);
    zip_close(z);
    return e;
}
