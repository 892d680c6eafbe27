/* HTML to prose: what a reader sees, without scripts, styles, navigation, forms and what is hidden.
 * For web pages, chapters of e-books and mails. libxml2's HTML parser as a stream of events: no
 * tree, no other file is ever opened. */
#ifndef HEARTH_EXTRACT_HTML_H
#define HEARTH_EXTRACT_HTML_H

#include <stddef.h>

#include "base/err.h"
#include "extract/extract_int.h"

enum { HTML_DEPTH_MAX = 4000 };

/* UTF-8; its <title> becomes the document's when `title`. Damage is no error (browsers know none);
 * nesting beyond HTML_DEPTH_MAX is. */
HT_MUST_CHECK enum err html_write(const char *s, size_t len, bool title, struct prose *out,
                                  struct error *error);
/* To UTF-8, by the charset that it names in its beginning, else by guessing. */
enum err html_decode(const char *s, size_t len, struct buf *out);

#endif
