/* Growable byte buffer, born with a maximum. Always '\0'-terminated (not counted in len), so
 * buf.data is a C string when the bytes hold no '\0'. One owner, no locks.
 * Errors are sticky: after a failed append every further one fails with the same code, so a writer
 * may append many pieces and check once at the end (b->err). */
#ifndef HEARTH_BASE_BUF_H
#define HEARTH_BASE_BUF_H

#include <stddef.h>

#include "base/err.h"

struct buf {
    char *data; /* NULL while nothing was ever appended */
    size_t len, cap, max;
    enum err err; /* OK, ERR_TOO_LARGE or ERR_NOMEM */
};

void buf_init(struct buf *b, size_t max); /* no allocation */
/* Over the caller's memory: holds size - 1 bytes, never allocates, isn't freed (no buf_free). */
void buf_init_fixed(struct buf *b, char *mem, size_t size);
void buf_free(struct buf *b);  /* leaves it as after buf_init */
void buf_clear(struct buf *b); /* len 0, error cleared, memory kept */

enum err buf_append(struct buf *b, const void *data, size_t len);
enum err buf_puts(struct buf *b, const char *s);
enum err buf_putc(struct buf *b, char c);
enum err buf_printf(struct buf *b, const char *fmt, ...) HT_PRINTF(2, 3);
enum err buf_reserve(struct buf *b, size_t extra); /* room for `extra` more bytes */
void buf_consume(struct buf *b, size_t n);         /* drops n bytes from the front; n <= len */

const char *buf_str(const struct buf *b); /* never NULL ("" when empty) */
char *buf_take(struct buf *b);            /* hands the memory over (free it); never NULL on OK */

#endif
