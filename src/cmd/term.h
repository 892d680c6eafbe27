/* The terminal: what it can do, and text made safe for it.
 *
 * What a model, a model file or another server says is hostile to a terminal until cleaned: an
 * escape sequence in it could change the window's title, write to the clipboard or fake a prompt.
 */
#ifndef HEARTH_CMD_TERM_H
#define HEARTH_CMD_TERM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum term_style {
    TERM_RAW,   /* no escape sequences: not a terminal, TERM unset or "dumb" */
    TERM_PLAIN, /* bold, dim, underline, but no colours: NO_COLOR is set */
    TERM_COLOR,
};

/* Which of them suits the descriptor. */
enum term_style term_style_of(int fd);
/* Columns of the terminal, 80 when they can't be known; at least 20. */
int term_width(int fd);
/* Columns that one character takes: 0 for combining marks, 2 for wide ones. */
int term_char_width(uint32_t cp);

/* Decodes one character of s[0..len), len > 0; invalid bytes are one U+FFFD each. Returns the bytes
 * taken. */
size_t term_decode(const char *s, size_t len, uint32_t *cp);
/* Appends text without the characters that steer a terminal (C0 but newline and tab, DEL, C1), and
 * with U+FFFD for what is not UTF-8. */
void term_clean(struct buf *out, const char *text, size_t len);

#endif
