/* Answers that come later; see responder.h. */
#include "api/responder.h"

#include <stdlib.h>

#include "base/mem.h"

struct responder {
    struct sink *sink;
    const struct error_shape *errors;
    char *request_id;
};

struct responder *responder_new(struct sink *sink, const struct error_shape *errors,
                                const char *request_id)
{
    struct responder *r = xmalloc(sizeof *r);
    *r = (struct responder){sink, errors, xstrdup(request_id)};
    return r;
}

static void responder_free(struct responder *r)
{
    sink_unref(r->sink);
    free(r->request_id);
    free(r);
}

void responder_error(struct responder *r, const struct error *error)
{
    error_respond(r->sink, r->errors, error, r->request_id);
    responder_free(r);
}

void responder_text(struct responder *r, const char *type, const char *text, size_t len)
{
    struct sink_header id = {r->errors->id_header, r->request_id};
    (void)sink_respond(r->sink, 200, type, &id, id.name ? 1 : 0, text, len);
    responder_free(r);
}

void responder_buf(struct responder *r, const char *type, const struct buf *body)
{
    struct error error;
    if (body->err) {
        err_set(&error, body->err, "the answer is too large");
        responder_error(r, &error);
    } else {
        responder_text(r, type, buf_str(body), body->len);
    }
}

void responder_pass(void *ctx, const struct error *error, const char *text, size_t len)
{
    if (error)
        responder_error(ctx, error);
    else
        responder_text(ctx, RESPOND_JSON, text, len);
}
