/* Makes PDFs for tests: pages of text in Helvetica, pages that are one picture, streams of zeros
 * that are packed again and again, and the cross-reference table. Header-only. */
#ifndef HEARTH_TESTS_EXTRACT_PDF_MAKE_H
#define HEARTH_TESTS_EXTRACT_PDF_MAKE_H

#include "base/buf.h"
#include "unit/extract/rig.h"

enum { PDF_OBJECTS_MAX = 4096, PDF_FONT = 3 };

struct pdf_make {
    struct buf out, kids;
    size_t at[PDF_OBJECTS_MAX];
    int n, n_pages; /* objects so far: 1 catalogue, 2 pages, 3 font */
    const char *title;
};

static inline void pdf_object(struct pdf_make *p, int number)
{
    p->at[number] = p->out.len;
    buf_printf(&p->out, "%d 0 obj\n", number);
}

static inline void pdf_begin(struct pdf_make *p)
{
    memset(p, 0, sizeof *p);
    buf_init(&p->out, 256 << 20);
    buf_init(&p->kids, 1 << 20);
    p->n = PDF_FONT;
    buf_puts(&p->out, "%PDF-1.4\n");
    pdf_object(p, PDF_FONT);
    buf_puts(&p->out, "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>\nendobj\n");
}

/* Returns the number of a stream object. */
static inline int pdf_stream(struct pdf_make *p, const char *dict, const void *data, size_t len)
{
    pdf_object(p, ++p->n);
    buf_printf(&p->out, "<<%s/Length %zu>>\nstream\n", dict, len);
    buf_append(&p->out, data, len);
    buf_puts(&p->out, "\nendstream\nendobj\n");
    return p->n;
}

static inline void pdf_page(struct pdf_make *p, int content, const char *resources)
{
    pdf_object(p, ++p->n);
    buf_printf(&p->out,
               "<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents %d 0 R/Resources<<%s>>>>\n"
               "endobj\n",
               content, resources);
    buf_printf(&p->kids, "%d 0 R ", p->n);
    p->n_pages++;
}

/* A page of these lines (of Latin-1 without brackets and backslashes). */
static inline void pdf_text_page(struct pdf_make *p, const char *const *lines, size_t n, int size)
{
    struct buf s;
    buf_init(&s, 1 << 20);
    buf_printf(&s, "BT /F1 %d Tf 50 780 Td %d TL\n", size, size + size / 4);
    for (size_t i = 0; i < n; i++) buf_printf(&s, "(%s) Tj T*\n", lines[i]);
    buf_puts(&s, "ET");
    pdf_page(p, pdf_stream(p, "", s.data, s.len), "/Font<</F1 3 0 R>>");
    buf_free(&s);
}

/* A page that is one grey picture. */
static inline void pdf_picture_page(struct pdf_make *p, int width, int height, const void *grey,
                                    size_t len)
{
    static const char draw[] = "q 595 0 0 842 0 0 cm /I1 Do Q";
    char dict[160], resources[64];
    snprintf(dict, sizeof dict,
             "/Type/XObject/Subtype/Image/Width %d/Height %d/ColorSpace/DeviceGray"
             "/BitsPerComponent 8",
             width, height);
    int image = pdf_stream(p, dict, grey, len);
    snprintf(resources, sizeof resources, "/XObject<</I1 %d 0 R>>", image);
    pdf_page(p, pdf_stream(p, "", draw, sizeof draw - 1), resources);
}

/* The file's path. */
static inline const char *pdf_end(struct pdf_make *p, const char *name)
{
    int info = 0;
    pdf_object(p, 1);
    buf_puts(&p->out, "<</Type/Catalog/Pages 2 0 R>>\nendobj\n");
    pdf_object(p, 2);
    buf_printf(&p->out, "<</Type/Pages/Count %d/Kids[%s]>>\nendobj\n", p->n_pages,
               buf_str(&p->kids));
    if (p->title) {
        pdf_object(p, info = ++p->n);
        buf_printf(&p->out, "<</Title(%s)>>\nendobj\n", p->title);
    }
    size_t xref = p->out.len;
    buf_printf(&p->out, "xref\n0 %d\n0000000000 65535 f \n", p->n + 1);
    for (int i = 1; i <= p->n; i++) buf_printf(&p->out, "%010zu 00000 n \n", p->at[i]);
    buf_printf(&p->out, "trailer\n<</Size %d/Root 1 0 R", p->n + 1);
    if (info) buf_printf(&p->out, "/Info %d 0 R", info);
    buf_printf(&p->out, ">>\nstartxref\n%zu\n%%%%EOF\n", xref);
    assert_int_equal(p->out.err, OK);
    const char *path = rig_file(name, p->out.data, p->out.len);
    buf_free(&p->out);
    buf_free(&p->kids);
    return path;
}

#endif
