/* multipart/form-data (RFC 7578, 2046), in pieces as they come: what a form with a file sends.
 *
 * The parser holds one part's header and at most a boundary's length of its content; everything has
 * a limit: parts, bytes of a header. Content goes to the callbacks as it comes. No thread of its
 * own, no allocation after the start.
 *
 *   preamble --boundary--> header --empty line--> content --boundary--> header ... --"--"--> end
 *
 * Refused, always ERR_INVALID: no or a bad boundary, a part without Content-Disposition: form-data
 * and a name, a header that is malformed or too long, too many parts, an end before the last
 * boundary. Files and fields have any content at all. */
#ifndef HEARTH_API_MULTIPART_H
#define HEARTH_API_MULTIPART_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

enum {
    MULTIPART_PARTS_MAX = 64,
    MULTIPART_HEADER_MAX = 8192, /* of one part */
    MULTIPART_BOUNDARY_MAX = 70,
    MULTIPART_NAME_MAX = 1024,
};

struct multipart_part {
    const char *name;     /* of the field; UTF-8 is not checked */
    const char *filename; /* NULL: no file; as it was sent, with its folders */
    const char *type;     /* Content-Type as sent; "" if there was none */
};

/* A failure ends the parsing and is what multipart_feed returns. */
struct multipart_ops {
    enum err (*begin)(void *ctx, const struct multipart_part *part, struct error *error);
    enum err (*data)(void *ctx, const void *data, size_t len, struct error *error);
    enum err (*end)(void *ctx, struct error *error); /* of the part */
};

struct multipart;

/* content_type: the request's header; ERR_MEDIA_TYPE when it is another one (NULL is). */
HT_MUST_CHECK enum err multipart_new(const char *content_type, const struct multipart_ops *ops,
                                     void *ctx, struct multipart **out, struct error *error);
HT_MUST_CHECK enum err multipart_feed(struct multipart *m, const void *data, size_t len,
                                      struct error *error);
/* The body has ended. */
HT_MUST_CHECK enum err multipart_finish(struct multipart *m, struct error *error);
void multipart_free(struct multipart *m); /* NULL is fine */

#endif
