/* Inside of reading PDFs: its pages, and the optical way to their text. */
#ifndef HEARTH_EXTRACT_PDF_H
#define HEARTH_EXTRACT_PDF_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "extract/extract_int.h"
#include "extract/program.h"

enum { PDF_PAGES_MAX = 20000 };

/* The document, in the child and in the programs that it starts: they open it anew. */
#define PDF_PATH "/proc/self/fd/4"

struct pdf_page {
    char *text; /* NULL: none */
    size_t len, letters;
    bool scan; /* it may be one: it has no text of its own */
};

/* Runs one of poppler's programs; its output beyond `max` is cut off (out->err says so). */
HT_MUST_CHECK enum err pdf_program(struct load *l, enum program which, const char *const *argv,
                                   size_t max, struct buf *out, struct error *error);
bool pdf_append(void *ctx, const char *s, size_t len);

/* ---- pdf_ocr.c */
bool pdf_ocr_possible(const struct load *l);
/* Puts text into those of the pages marked as scans that hold a picture. */
HT_MUST_CHECK enum err pdf_ocr(struct load *l, struct pdf_page *pages, long n, struct error *error);

#endif
