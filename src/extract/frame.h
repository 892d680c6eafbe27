/* What passes between the hub and the process that reads a document, over one socket.
 *
 * There: struct extract_order, as it is; both ends are one program, and the hub is believed.
 * Back: any number of notices, then one answer. Nothing of it is believed: the reader checks every
 * length before it takes a byte of memory for it, that pages are in order, that text is text.
 *
 *   notice   u32 magic, u32 kind           answer   u32 magic, u32 FRAME_ANSWER, struct
 * answer_head, message, title, pages, text */
#ifndef HEARTH_EXTRACT_FRAME_H
#define HEARTH_EXTRACT_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "extract/extract.h"

enum { EXTRACT_FD = 3 /* the socket, in the child */, EXTRACT_FILE_FD = 4 };
enum { FRAME_OCR = 1 /* the time for OCR begins */, FRAME_ANSWER = 2 };
enum { EXTRACT_PAGES_MAX = 100000, OCR_LANGUAGES_MAX = 128 };

struct extract_order {
    uint32_t magic;
    int32_t seconds, ocr_seconds;
    uint32_t ocr; /* 0 or 1 */
    uint64_t memory, output;
    char type[EXTRACT_TYPE_MAX], name[EXTRACT_NAME_MAX], ocr_languages[OCR_LANGUAGES_MAX];
};

void order_init(struct extract_order *order);
/* False: not ours, or strings without an end. */
bool order_is_right(const struct extract_order *order);

/* ---- the child */
void frame_put_notice(struct buf *out, uint32_t kind);
/* On OK the document (its type is left out), else the message. */
void frame_put_answer(struct buf *out, enum err e, const char *message,
                      const struct extract_doc *doc);

/* ---- the hub: gets bytes as they come */
struct frame_in {
    struct buf bytes; /* of what is not complete yet */
    uint64_t output;  /* longest text */
    bool ocr;         /* that notice has come */
    bool done;        /* the answer is complete */
};

void frame_in_init(struct frame_in *in, uint64_t output);
void frame_in_free(struct frame_in *in);
/* ERR_WORKER: this is no answer. */
HT_MUST_CHECK enum err frame_feed(struct frame_in *in, const void *bytes, size_t len);
/* When done: the document, or the child's error (which is returned). */
HT_MUST_CHECK enum err frame_take(struct frame_in *in, struct extract_doc *doc,
                                  struct error *error);

#endif
