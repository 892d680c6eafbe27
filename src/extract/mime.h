/* The parts of Internet mail: header fields, encoded words, parameters, transfer encodings (RFC
 * 5322, 2045–2047, 2231). Works on bytes in memory, never beyond them; no state. */
#ifndef HEARTH_EXTRACT_MIME_H
#define HEARTH_EXTRACT_MIME_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

struct mime_span {
    const char *s;
    size_t len;
};

/* Cuts a message or part into its header and what follows the empty line. */
void mime_cut(struct mime_span whole, struct mime_span *header, struct mime_span *body);

/* The first field of that name, on one line, as it stands there. False (and "") if there is none,
 * or it doesn't fit. */
bool mime_field(struct mime_span header, const char *name, char *dst, size_t size);
/* The same for people: encoded words decoded, UTF-8; cut to fit. */
bool mime_words(struct mime_span header, const char *name, char *dst, size_t size);

/* "text/plain" of "Text/Plain; charset=x", in lower case. */
void mime_value(const char *field, char *dst, size_t size);
/* "x" of the same for "charset": quoted, or in pieces and with a charset of its own (RFC 2231). */
bool mime_param(const char *field, const char *name, char *dst, size_t size);

/* Appends what the body is without its encoding ("base64", "quoted-printable", others are as is).
 */
enum err mime_decode(const char *encoding, struct mime_span body, struct buf *out);

/* The next part of a multipart body: what stands between two lines of "--boundary". *at begins with
 * 0. False when there is none. */
bool mime_next_part(struct mime_span body, const char *boundary, size_t *at,
                    struct mime_span *part);

#endif
