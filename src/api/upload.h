/* Upload: a form with one file, whose bytes go to the disk as they come. The server feeds it (on
 * the pool, one call at a time); the handler of a ROUTE_UPLOAD route finds it in its http_request.
 *
 *   upload_open --upload_feed...--> upload_finish --> handler --> upload_free
 *
 * Memory: one part's header and the fields, at most UPLOAD_FIELDS_MAX bytes of values; the file is
 * spooled (files/spool.h), and removed with the upload unless the handler takes it. */
#ifndef HEARTH_API_UPLOAD_H
#define HEARTH_API_UPLOAD_H

#include <stddef.h>
#include <stdint.h>

#include "auth/auth.h"
#include "base/err.h"
#include "files/files.h"

enum {
    UPLOAD_FIELDS_MAX = 64 << 10,
    /* What a form may have around its file; a body larger than the largest file and this is refused
     * for its Content-Length. */
    UPLOAD_FORM_MAX = 1 << 20,
};
#define UPLOAD_BLOB_MAX (INT64_C(1) << 40)

struct upload;
struct http_request;
struct store;

/* Whether the caller may add `length` more bytes (0 = unknown), and where they go. ERR_MEDIA_TYPE:
 * no form; ERR_TOO_LARGE: over the quota; ERR_DISK_FULL. */
HT_MUST_CHECK enum err upload_open(struct files *files, struct store *store,
                                   const struct auth_identity *who, const char *content_type,
                                   int64_t length, struct upload **out, struct error *error);
/* The same for a body that is a file itself, of any size that the disk has room for; it is spooled
 * in `dir`. */
HT_MUST_CHECK enum err upload_open_blob(const char *dir, int64_t length, struct upload **out,
                                        struct error *error);
HT_MUST_CHECK enum err upload_feed(struct upload *u, const void *data, size_t len,
                                   struct error *error);
/* The form is whole. ERR_INVALID: there was no file in it, or more than one. */
HT_MUST_CHECK enum err upload_finish(struct upload *u, struct error *error);
void upload_free(struct upload *u); /* NULL is fine */

/* For the handler, after upload_finish. */
struct spool *upload_spool(struct upload *u);        /* the upload's still */
const char *upload_filename(const struct upload *u); /* as the client sent it */
/* A field's value, UTF-8; NULL if there is none. */
const char *upload_field(const struct upload *u, const char *name);

#endif
