/* A responder: an answer that comes after its handler has returned: who waits for it, and how
 * errors look to them. Any thread, one at a time. */
#ifndef HEARTH_API_RESPONDER_H
#define HEARTH_API_RESPONDER_H

#include "api/error.h"
#include "api/http.h"
#include "base/buf.h"

#define RESPOND_JSON "application/json"

struct responder;

/* Takes over the caller's reference of the sink. */
struct responder *responder_new(struct sink *sink, const struct error_shape *errors,
                                const char *request_id);
/* One of these answers and frees it. */
void responder_error(struct responder *r, const struct error *error);
void responder_text(struct responder *r, const char *type, const char *text, size_t len); /* 200 */
/* The same; a body that did not fit into its buffer is an error. */
void responder_buf(struct responder *r, const char *type, const struct buf *body);
/* A control_fn, whose ctx is the responder: passes the JSON text, or the error, on. */
void responder_pass(void *ctx, const struct error *error, const char *text, size_t len);

#endif
