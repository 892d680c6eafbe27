/* Fuzz target: what the hub may say to its worker. Holds: a payload that is read is written again
 * to the same bytes; a request that is read is one that a provider takes. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "worker/codec.h"
#include "worker/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same(const struct buf *out, const void *bytes, size_t len)
{
    ht_assert(!out->err && out->len == len);
    ht_assert(len == 0 || memcmp(out->data, bytes, len) == 0);
}

static void check_request(const void *bytes, size_t len)
{
    struct gen_request *req;
    struct error error;
    struct buf out;
    if (codec_read_request(bytes, len, &req, &error)) return;
    ht_assert(req->n >= 1 && req->n <= GEN_N_MAX && req->model && req->tenant);
    ht_assert(req->kind == GEN_RAW || req->n_messages > 0);
    buf_init(&out, 64 << 20);
    codec_write_request(&out, req);
    same(&out, bytes, len);
    buf_free(&out);
    arena_free(req->arena);
}

static void check_embed(const void *bytes, size_t len)
{
    struct embed_request *req;
    struct error error;
    struct buf out;
    if (codec_read_embed(bytes, len, &req, &error)) return;
    buf_init(&out, 64 << 20);
    codec_write_embed(&out, req);
    same(&out, bytes, len);
    buf_free(&out);
    arena_free(req->arena);
}

static void check_control(const void *bytes, size_t len)
{
    struct control_call call;
    struct error error;
    struct buf out;
    if (codec_read_control(bytes, len, &call, &error)) return;
    buf_init(&out, 64 << 20);
    codec_write_control(&out, &call);
    same(&out, bytes, len);
    buf_free(&out);
}

static void check_greeting(const void *bytes, size_t len)
{
    struct greeting g;
    struct error error;
    struct buf out;
    struct arena *arena = arena_new(16 << 20);
    if (!codec_read_greeting(bytes, len, arena, &g, &error)) {
        buf_init(&out, 64 << 20);
        codec_write_greeting(&out, &g);
        same(&out, bytes, len);
        buf_free(&out);
    }
    arena_free(arena);
}

/* The first byte says what the rest is. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const checks[])(const void *, size_t) = {check_request, check_embed,
                                                           check_control, check_greeting};
    if (size < 1) return 0;
    void *bytes = malloc(size); /* aligned, and exactly as long as it may be read */
    if (!bytes) return 0;
    if (size > 1) memcpy(bytes, data + 1, size - 1);
    checks[data[0] % 4](bytes, size - 1);
    free(bytes);
    return 0;
}
