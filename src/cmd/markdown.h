/* Markdown on a terminal, while it arrives.
 *
 * Design: an answer streams in by the token, and a terminal can't be redrawn without flicker, so
 * what was shown is never touched again. The line's kind (heading, item, quote, code, table) is
 * decided from its first characters; then words are shown as soon as no open *, _, `, [ can change
 * their look any more. The pieces between such safe cuts are parsed by md4c. Tables are shown when
 * they are complete. Control characters never pass.
 *
 * Rejected: redrawing the current block (flickers, breaks on resize and on copied output), and
 * waiting for whole blocks (a slow model would be silent for a paragraph).
 *
 * One owner, no locks, no I/O. */
#ifndef HEARTH_CMD_MARKDOWN_H
#define HEARTH_CMD_MARKDOWN_H

#include <stddef.h>

#include "base/buf.h"
#include "cmd/term.h"

struct markdown;

/* width: columns of the terminal. With TERM_RAW text passes as it is, but cleaned. */
struct markdown *markdown_new(int width, enum term_style style);
void markdown_free(struct markdown *m);

/* Takes a piece of the text (any length) and appends to *out what can be shown now. */
void markdown_feed(struct markdown *m, const char *text, size_t len, struct buf *out);
/* The text is complete: appends the rest, ending with a newline if anything was shown. The object
 * is then as new. */
void markdown_end(struct markdown *m, struct buf *out);

#endif
