/* Bytes of any charset to UTF-8 with '\n'. No state; one thread per call. */
#ifndef HEARTH_EXTRACT_CHARSET_H
#define HEARTH_EXTRACT_CHARSET_H

#include <stddef.h>

#include "base/buf.h"

/* Finds out the charset: byte order marks, zeros of UTF-16, valid UTF-8, then what letters suggest
 * (uchardet), else Windows' western one. Never fails for the bytes: what is no character becomes
 * U+FFFD. Appends; the error is the buffer's. */
enum err charset_guess(const char *s, size_t len, struct buf *out);
/* The charset is said to be `name`; when that is unknown or not what the bytes are, as above. */
enum err charset_named(const char *name, const char *s, size_t len, struct buf *out);

#endif
