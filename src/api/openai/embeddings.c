/* POST /v1/embeddings.
 *
 * The result comes on the provider's delivery thread, which must not be held up: results of more
 * than INLINE_FLOATS numbers are copied and written out on the pool.
 *
 * Lifetime: as an answer's (answer.h), with one request: the handler's call holds a reference, the
 * provider's listener one until it was called, which a write on the pool takes over. */
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "api/error.h"
#include "api/openai/openai_int.h"
#include "api/openai/writer.h"
#include "api/route.h"
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
    bool base64;
    size_t dimensions; /* 0 = the model's */
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

/* Factor that makes the first n of a vector's numbers a vector of length 1. */
static float unit_scale(const float *v, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)v[i] * (double)v[i];
    return sum > 0 ? (float)(1 / sqrt(sum)) : 1;
}

static void write_floats(struct buf *out, const float *v, size_t n, float scale)
{
    buf_putc(out, '[');
    for (size_t i = 0; i < n; i++)
        buf_printf(out, i ? ",%.9g" : "%.9g", (double)(v[i] * scale)); /* 9 digits read back */
    buf_putc(out, ']');
}

/* Little-endian, whatever this machine is. */
static void write_base64(struct buf *out, const float *v, size_t n, float scale)
{
    unsigned char *bytes = try_malloc(n * 4);
    if (!bytes) {
        out->err = ERR_NOMEM;
        return;
    }
    for (size_t i = 0; i < n; i++) {
        float value = v[i] * scale;
        uint32_t bits;
        memcpy(&bits, &value, 4);
        for (size_t k = 0; k < 4; k++) bytes[4 * i + k] = (unsigned char)(bits >> (8 * k));
    }
    size_t len = base64_len(n * 4);
    buf_putc(out, '"');
    if (buf_reserve(out, len + 1) == OK) {
        base64_encode(out->data + out->len, bytes, n * 4);
        out->len += len;
    }
    buf_putc(out, '"');
    free(bytes);
}

static void write_body(const struct embedding *e, const struct embed_result *r, struct buf *out)
{
    size_t n = e->dimensions ? e->dimensions : r->n_dims;
    buf_puts(out, "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; i < r->n_inputs && !out->err; i++) {
        const float *v = r->vectors + i * r->n_dims;
        float scale = n < r->n_dims ? unit_scale(v, n) : 1;
        buf_printf(out, "%s{\"object\":\"embedding\",\"index\":%zu,\"embedding\":", i ? "," : "",
                   i);
        if (e->base64)
            write_base64(out, v, n, scale);
        else
            write_floats(out, v, n, scale);
        buf_putc(out, '}');
    }
    buf_puts(out, "],\"model\":");
    write_json_string(out, r->model, strlen(r->model));
    buf_printf(out, ",\"usage\":{\"prompt_tokens\":%d,\"total_tokens\":%d}}", r->prompt_tokens,
               r->prompt_tokens);
}

static void respond(const struct embedding *e, const struct embed_result *r)
{
    struct buf body;
    buf_init(&body, ANSWER_BYTES_MAX);
    write_body(e, r, &body);
    if (body.err) {
        struct error error;
        err_set(&error, body.err, "the answer became too large; send fewer inputs in one request");
        error_respond(e->sink, &error_openai, &error, e->request_id);
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
    struct error error;
    if (r->error) {
        error_respond(e->sink, &error_openai, r->error, e->request_id);
    } else if (e->dimensions > r->n_dims) {
        err_set_param(&error, ERR_INVALID, "/dimensions",
                      "/dimensions: must be at most %zu for the model %s, got %zu", r->n_dims,
                      r->model, e->dimensions);
        error_respond(e->sink, &error_openai, &error, e->request_id);
    } else {
        log_line(LOG_INFO, LOG_api, e->request_id, "embeddings: model=%s inputs=%zu tokens=%d",
                 r->model, r->n_inputs, r->prompt_tokens);
        if (r->n_inputs * r->n_dims > INLINE_FLOATS && hand_over(e, r)) return;
        respond(e, r);
    }
    embedding_unref(e);
}

/* ---- start --------------------------------------------------------------------------------- */

static enum err parse_body(const struct hub *hub, const struct http_request *req,
                           struct embed_call *call, struct error *error)
{
    json_t *body;
    struct call_env env;
    enum err err = call_read(hub->config, req, &env, &body, error);
    if (err) return err;
    err = embed_parse(body, req->body_len, &env, call, error);
    json_decref(body);
    return err;
}

void openai_embeddings(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct embed_call call;
    struct error error;
    if (parse_body(hub, req, &call, &error) != OK) {
        api_error(sink, req, &error);
        sink_unref(sink);
        return;
    }
    struct embedding *e = xcalloc(1, sizeof *e);
    atomic_init(&e->refs, 2);
    e->hub = hub;
    e->sink = sink;
    e->request_id = xstrdup(req->request_id);
    e->base64 = call.base64;
    e->dimensions = (size_t)call.dimensions;
    sink_on_close(sink, client_gone, e);
    uint64_t id;
    if (provider_embed(hub->provider, call.request, on_result, e, &id, &error) == OK) {
        atomic_store(&e->id, id);
        if (atomic_load(&e->gone)) provider_cancel(hub->provider, id);
    } else {
        error_respond(sink, &error_openai, &error, e->request_id);
        embedding_unref(e);
    }
    embedding_unref(e);
}
