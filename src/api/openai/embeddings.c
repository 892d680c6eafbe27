/* POST /v1/embeddings: what it is like, the rest is api/embedding.h's. */
#include <stdlib.h>
#include <string.h>

#include "api/embedding.h"
#include "api/openai/openai_int.h"
#include "api/openai/writer.h"
#include "api/route.h"
#include "base/mem.h"
#include "base/str.h"
#include "hub/hub.h"

struct wanted {
    bool base64;
    size_t dimensions; /* 0 = the model's */
};

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

static enum err write_body(void *ctx, const struct embed_result *r, struct buf *out,
                           struct error *error)
{
    const struct wanted *e = ctx;
    if (e->dimensions > r->n_dims)
        return err_set_param(error, ERR_INVALID, "/dimensions",
                             "/dimensions: must be at most %zu for the model %s, got %zu",
                             r->n_dims, r->model, e->dimensions);
    size_t n = e->dimensions ? e->dimensions : r->n_dims;
    buf_puts(out, "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; i < r->n_inputs && !out->err; i++) {
        const float *v = r->vectors + i * r->n_dims;
        float scale = n < r->n_dims ? embedding_unit_scale(v, n) : 1;
        buf_printf(out, "%s{\"object\":\"embedding\",\"index\":%zu,\"embedding\":", i ? "," : "",
                   i);
        if (e->base64)
            write_base64(out, v, n, scale);
        else
            embedding_write_floats(out, v, n, scale);
        buf_putc(out, '}');
    }
    buf_puts(out, "],\"model\":");
    write_json_string(out, r->model, strlen(r->model));
    buf_printf(out, ",\"usage\":{\"prompt_tokens\":%d,\"total_tokens\":%d}}", r->prompt_tokens,
               r->prompt_tokens);
    return OK;
}

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
    static const struct embedding_ops ops = {
        .name = "embeddings", .errors = &error_openai, .write = write_body};
    struct embed_call call;
    struct error error;
    if (parse_body(hub, req, &call, &error) != OK) {
        api_error(sink, req, &error);
        sink_unref(sink);
        return;
    }
    struct wanted *wanted = xcalloc(1, sizeof *wanted);
    *wanted = (struct wanted){call.base64, (size_t)call.dimensions};
    embedding_start(hub, sink, call.request, req->request_id, &ops, wanted);
}
