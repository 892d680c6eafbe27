/* A call for vectors; see embedding.h. */
#include "api/embedding.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "api/writer.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "hub/hub.h"

enum { INLINE_FLOATS = 8 * 1024 };

struct embedding {
    atomic_int refs;
    atomic_bool gone;
    _Atomic uint64_t id;
    struct hub *hub;
    struct sink *sink;
    char *request_id;
    const struct embedding_ops *ops;
    void *ctx;
    /* Copy of the result, for the pool: */
    char model[MODEL_ID_MAX];
    float *vectors;
    size_t n_inputs, n_dims;
    int32_t prompt_tokens;
};

static void embedding_unref(struct embedding *e)
{
    if (atomic_fetch_sub(&e->refs, 1) != 1) return;
    sink_on_close(e->sink, NULL, NULL);
    sink_unref(e->sink);
    free(e->vectors);
    free(e->request_id);
    free(e->ctx);
    free(e);
}

static void client_gone(void *ctx)
{
    struct embedding *e = ctx;
    atomic_store(&e->gone, true);
    uint64_t id = atomic_load(&e->id);
    if (id) provider_cancel(e->hub->provider, id);
}

/* ---- writing ------------------------------------------------------------------------------- */

float embedding_unit_scale(const float *v, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)v[i] * (double)v[i];
    return sum > 0 ? (float)(1 / sqrt(sum)) : 1;
}

void embedding_write_floats(struct buf *out, const float *v, size_t n, float scale)
{
    buf_putc(out, '[');
    for (size_t i = 0; i < n; i++)
        buf_printf(out, i ? ",%.9g" : "%.9g", (double)(v[i] * scale)); /* 9 digits read back */
    buf_putc(out, ']');
}

static void refuse(const struct embedding *e, const struct error *error)
{
    struct error said = *error;
    if (e->ops->reword) e->ops->reword(e->ctx, &said);
    error_respond(e->sink, e->ops->errors, &said, e->request_id);
}

static void respond(const struct embedding *e, const struct embed_result *r)
{
    struct buf body;
    struct error error;
    buf_init(&body, ANSWER_BYTES_MAX);
    enum err err = e->ops->write(e->ctx, r, &body, &error);
    if (!err && body.err)
        err = err_set(&error, body.err,
                      "the answer became too large; send fewer inputs in one request");
    if (err) {
        refuse(e, &error);
    } else {
        recorder_wrote(e->hub->recorder, atomic_load(&e->id), body.len);
        (void)sink_respond(e->sink, 200, "application/json", NULL, 0, body.data, body.len);
    }
    buf_free(&body);
}

static void respond_on_pool(void *arg)
{
    struct embedding *e = arg;
    struct embed_result r = {.model = e->model,
                             .vectors = e->vectors,
                             .n_inputs = e->n_inputs,
                             .n_dims = e->n_dims,
                             .prompt_tokens = e->prompt_tokens};
    respond(e, &r);
    embedding_unref(e);
}

/* ---- the result ---------------------------------------------------------------------------- */

/* False: not enough memory, or the pool is full; then it is written right here. */
static bool hand_over(struct embedding *e, const struct embed_result *r)
{
    size_t n = r->n_inputs * r->n_dims;
    e->vectors = try_calloc(n, sizeof *e->vectors);
    if (!e->vectors) return false;
    memcpy(e->vectors, r->vectors, n * sizeof *e->vectors);
    str_copy(e->model, sizeof e->model, r->model);
    e->n_inputs = r->n_inputs;
    e->n_dims = r->n_dims;
    e->prompt_tokens = r->prompt_tokens;
    return pool_submit(e->hub->pool, respond_on_pool, e) == OK;
}

static void on_result(void *ctx, const struct embed_result *r)
{
    struct embedding *e = ctx;
    if (r->error) {
        refuse(e, r->error);
    } else {
        log_line(LOG_INFO, LOG_api, e->request_id, "%s: model=%s inputs=%zu tokens=%d",
                 e->ops->name, r->model, r->n_inputs, r->prompt_tokens);
        if (r->n_inputs * r->n_dims > INLINE_FLOATS && hand_over(e, r)) return;
        respond(e, r);
    }
    embedding_unref(e);
}

/* ---- start --------------------------------------------------------------------------------- */

void embedding_start(struct hub *hub, struct sink *sink, struct embed_request *req,
                     const char *request_id, const struct embedding_ops *ops, void *ctx)
{
    struct embedding *e = xcalloc(1, sizeof *e);
    struct error error;
    uint64_t id;
    atomic_init(&e->refs, 2);
    e->hub = hub;
    e->sink = sink;
    e->request_id = xstrdup(request_id);
    e->ops = ops;
    e->ctx = ctx;
    sink_on_close(sink, client_gone, e);
    if (provider_embed(hub->provider, req, on_result, e, &id, &error) == OK) {
        atomic_store(&e->id, id);
        if (atomic_load(&e->gone)) provider_cancel(hub->provider, id);
    } else {
        refuse(e, &error);
        embedding_unref(e);
    }
    embedding_unref(e);
}
