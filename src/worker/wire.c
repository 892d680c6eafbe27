/* Values as bytes; see wire.h. */
#include "worker/wire.h"

#include <string.h>

#include "base/str.h"

enum { ELEMENT_BYTES_MIN = 4 /* of the smallest struct that travels in an array */ };

void wire_write_to(struct wire *w, struct buf *out)
{
    *w = (struct wire){.out = out, .start = out->len};
}

void wire_read_from(struct wire *w, const void *bytes, size_t len, struct arena *arena)
{
    ht_assert((uintptr_t)bytes % WIRE_ALIGN == 0);
    *w = (struct wire){.reading = true, .bytes = bytes, .len = len, .arena = arena};
}

void wire_bad(struct wire *w)
{
    if (!w->err) w->err = ERR_INVALID;
}

enum err wire_end(const struct wire *w, const char *what, struct error *error)
{
    if (w->err == ERR_NOMEM) return err_set(error, ERR_NOMEM, "no memory for %s", what);
    if (w->err || w->at != w->len)
        return err_set(error, ERR_INVALID, "%s of %zu bytes is malformed at byte %zu", what, w->len,
                       w->at);
    return OK;
}

/* ---- bytes --------------------------------------------------------------------------------- */

static void put(struct wire *w, const void *data, size_t len)
{
    if (!w->err) w->err = buf_append(w->out, data, len);
}

/* The next len bytes, or NULL. */
static const char *take(struct wire *w, size_t len)
{
    if (w->err) return NULL;
    if (len > w->len - w->at) {
        w->err = ERR_INVALID;
        return NULL;
    }
    const char *p = w->bytes + w->at;
    w->at += len;
    return p;
}

static void fixed(struct wire *w, void *v, size_t size)
{
    if (!w->reading) {
        put(w, v, size);
        return;
    }
    const char *p = take(w, size);
    if (p)
        memcpy(v, p, size);
    else
        memset(v, 0, size);
}

/* Zeros up to a multiple of `size`, so that arrays may be used where they lie. */
static void align(struct wire *w, size_t size)
{
    static const char zeros[WIRE_ALIGN];
    size_t at = w->reading ? w->at : w->out->len - w->start;
    size_t gap = (size - at % size) % size;
    if (!w->reading) {
        put(w, zeros, gap);
        return;
    }
    const char *p = take(w, gap);
    if (p && memcmp(p, zeros, gap) != 0) w->err = ERR_INVALID;
}

/* ---- numbers ------------------------------------------------------------------------------- */

void wire_bool(struct wire *w, bool *v)
{
    uint8_t byte = w->reading ? 0 : *v;
    fixed(w, &byte, 1);
    if (byte > 1) wire_bad(w);
    if (w->reading) *v = byte == 1;
}

void wire_i32(struct wire *w, int32_t *v)
{
    fixed(w, v, sizeof *v);
}

void wire_u32(struct wire *w, uint32_t *v)
{
    fixed(w, v, sizeof *v);
}

void wire_i64(struct wire *w, int64_t *v)
{
    fixed(w, v, sizeof *v);
}

void wire_f32(struct wire *w, float *v)
{
    fixed(w, v, sizeof *v);
}

void wire_choice(struct wire *w, int *v, int count)
{
    ht_assert(count <= UINT8_MAX + 1 && (w->reading || (*v >= 0 && *v < count)));
    uint8_t byte = w->reading ? 0 : (uint8_t)*v;
    fixed(w, &byte, 1);
    if (byte >= count) {
        wire_bad(w);
        byte = 0;
    }
    *v = byte;
}

/* A length or count. */
static void size(struct wire *w, size_t *v)
{
    uint32_t n = w->reading ? 0 : (uint32_t)*v;
    if (!w->reading && *v > UINT32_MAX) w->err = ERR_TOO_LARGE;
    fixed(w, &n, sizeof n);
    *v = n;
}

/* ---- text ---------------------------------------------------------------------------------- */

void wire_bytes(struct wire *w, const char **v, size_t *len)
{
    size(w, len);
    if (!w->reading) {
        put(w, *v, *len);
        put(w, "", 1);
        return;
    }
    const char *p = take(w, *len + 1);
    if (p && p[*len] != '\0') wire_bad(w);
    if (w->err) p = NULL;
    if (!p) *len = 0;
    *v = p ? p : "";
}

void wire_str(struct wire *w, const char **v)
{
    bool there = w->reading ? false : *v != NULL;
    size_t len = there ? strlen(*v) : 0;
    wire_bool(w, &there);
    if (!there) {
        if (w->reading) *v = NULL;
        return;
    }
    wire_bytes(w, v, &len);
    if (w->reading && strlen(*v) != len) wire_bad(w);
}

void wire_text(struct wire *w, char *v, size_t size)
{
    const char *text = v;
    size_t len = w->reading ? 0 : strnlen(v, size - 1);
    wire_bytes(w, &text, &len);
    if (!w->reading) return;
    if (len >= size || strlen(text) != len) {
        wire_bad(w);
        text = "";
    }
    str_copy(v, size, text);
}

/* ---- arrays -------------------------------------------------------------------------------- */

/* Numbers of 4 bytes, used where they lie. */
static const void *numbers(struct wire *w, const void *v, size_t *n)
{
    size(w, n);
    align(w, 4);
    if (!w->reading) {
        if (*n) put(w, v, *n * 4);
        return v;
    }
    const char *p = take(w, *n * 4);
    if (!p) *n = 0;
    return *n ? p : NULL;
}

void wire_i32s(struct wire *w, const int32_t **v, size_t *n)
{
    *v = numbers(w, *v, n);
}

void wire_f32s(struct wire *w, const float **v, size_t *n)
{
    *v = numbers(w, *v, n);
}

void *wire_array(struct wire *w, size_t *n, size_t element_size)
{
    size(w, n);
    if (!w->reading || w->err || !*n) {
        if (w->err && w->reading) *n = 0;
        return NULL;
    }
    if (*n > (w->len - w->at) / ELEMENT_BYTES_MIN) {
        wire_bad(w);
        *n = 0;
        return NULL;
    }
    void *p = w->arena ? arena_calloc(w->arena, *n, element_size) : NULL;
    if (!p) {
        w->err = ERR_NOMEM;
        *n = 0;
    }
    return p;
}
