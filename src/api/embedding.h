/* Embedding: one call for vectors under way, from the parsed request to the answer's last byte;
 * what every surface that embeds has in common. The surface says how its answer is written.
 *
 * The result comes on the provider's delivery thread, which must not be held up: results of more
 * than a few thousand numbers are copied and written out on the pool.
 *
 * Lifetime: as an answer's (answer.h), with one request: the handler's call holds a reference, the
 * provider's listener one until it was called, which a write on the pool takes over. */
#ifndef HEARTH_API_EMBEDDING_H
#define HEARTH_API_EMBEDDING_H

#include "api/error.h"
#include "api/http.h"
#include "base/buf.h"
#include "types/gen.h"

struct hub;

/* How a surface answers. One instance for each kind of answer; all may run on any thread. */
struct embedding_ops {
    const char *name; /* in the log */
    const struct error_shape *errors;
    /* MUST. The body. Refuses (ERR_INVALID and the like) what only shows in the result. */
    enum err (*write)(void *ctx, const struct embed_result *r, struct buf *out,
                      struct error *error);
    /* MAY. Says an error in the surface's own words. */
    void (*reword)(void *ctx, struct error *error);
};

/* Takes over the request, the caller's reference of the sink, and ctx, which is free()d at the end.
 */
void embedding_start(struct hub *hub, struct sink *sink, struct embed_request *req,
                     const char *request_id, const struct embedding_ops *ops, void *ctx);

/* Factor that makes the first n of a vector's numbers a vector of length 1. */
float embedding_unit_scale(const float *v, size_t n);
/* "[0.1,0.2,...]" with as many digits as it takes to read the same numbers back. */
void embedding_write_floats(struct buf *out, const float *v, size_t n, float scale);

#endif
