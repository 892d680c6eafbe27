/* Inside of src/extract: what the loaders get, and what both processes share. A loader runs in the
 * child on its only thread; it reads load->fd, writes to load->out, and may do no more. */
#ifndef HEARTH_EXTRACT_EXTRACT_INT_H
#define HEARTH_EXTRACT_EXTRACT_INT_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "extract/extract.h"
#include "extract/prose.h"

enum {
    EXTRACT_SECONDS = 60,
    EXTRACT_OCR_SECONDS = 600,
    EXTRACT_UNPACK_FACTOR = 8, /* what an archive may unpack to, in texts of the greatest length */
};
#define EXTRACT_MEMORY (1ULL << 30)
#define EXTRACT_OUTPUT (64ULL << 20)

struct programs; /* program.h */

struct load {
    int fd; /* the document, readable and seekable */
    uint64_t size;
    const char *name, *type;
    uint64_t output, memory;
    int32_t ocr_seconds;
    bool ocr;
    const char *ocr_languages;
    const struct programs *programs; /* NULL: none may be started */
    void (*ocr_begins)(void);        /* tells the hub, once; may be NULL */
    struct prose *out;
};

typedef enum err (*load_fn)(struct load *l, struct error *error);

/* One for each word in the last column of types.h. */
enum err load_pdf(struct load *l, struct error *error);
enum err load_docx(struct load *l, struct error *error);
enum err load_pptx(struct load *l, struct error *error);
enum err load_xlsx(struct load *l, struct error *error);
enum err load_odf(struct load *l, struct error *error);
enum err load_epub(struct load *l, struct error *error);
enum err load_html(struct load *l, struct error *error);
enum err load_eml(struct load *l, struct error *error);
enum err load_csv(struct load *l, struct error *error);
enum err load_json(struct load *l, struct error *error);
enum err load_xml(struct load *l, struct error *error);
enum err load_markdown(struct load *l, struct error *error);
enum err load_plain(struct load *l, struct error *error);
enum err load_source(struct load *l, struct error *error);

/* ---- load.c */
/* The loader of l->type, with reasons for what none reads; then what the text has to say. */
HT_MUST_CHECK enum err load_document(struct load *l, struct error *error);
/* The whole file, at most l->output bytes. */
HT_MUST_CHECK enum err load_bytes(struct load *l, struct buf *out, struct error *error);
/* The same as UTF-8 with '\n', whatever it was. */
HT_MUST_CHECK enum err load_text(struct load *l, struct buf *out, struct error *error);
/* Words for limits, the same everywhere. */
enum err load_too_long(const struct load *l, struct error *error);
enum err load_no_memory(const struct load *l, struct error *error);

/* ---- detect.c */
HT_MUST_CHECK enum err extract_open(const char *path, int *fd, struct error *error);
HT_MUST_CHECK enum err extract_detect_fd(int fd, const char *name, char type[EXTRACT_TYPE_MAX],
                                         struct error *error);

#endif
