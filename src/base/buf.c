/* Growable byte buffer. Capacity doubles, so that n appends cost O(n) copies; it never exceeds
 * max + 1 (the '\0'). */
#include "base/buf.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { FIRST_CAP = 64 };

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){.max = max < SIZE_MAX ? max : SIZE_MAX - 1};
}

void buf_init_fixed(struct buf *b, char *mem, size_t size)
{
    ht_assert(size > 0);
    mem[0] = '\0';
    *b = (struct buf){.data = mem, .cap = size, .max = size - 1};
}

void buf_free(struct buf *b)
{
    free(b->data);
    buf_init(b, b->max);
}

void buf_clear(struct buf *b)
{
    b->len = 0;
    b->err = OK;
    if (b->data) b->data[0] = '\0';
}

static enum err grow(struct buf *b, size_t need)
{
    size_t cap = b->cap ? b->cap : FIRST_CAP;
    while (cap < need) cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    if (cap > b->max + 1) cap = b->max + 1;
    char *data = try_realloc(b->data, cap, 1);
    if (!data) return b->err = ERR_NOMEM;
    data[b->len] = '\0';
    b->data = data;
    b->cap = cap;
    return OK;
}

enum err buf_reserve(struct buf *b, size_t extra)
{
    if (b->err) return b->err;
    if (extra > b->max - b->len) return b->err = ERR_TOO_LARGE;
    size_t need = b->len + extra + 1;
    return need <= b->cap ? OK : grow(b, need);
}

enum err buf_append(struct buf *b, const void *data, size_t len)
{
    enum err err = buf_reserve(b, len);
    if (err || len == 0) return err;
    memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = '\0';
    return OK;
}

enum err buf_puts(struct buf *b, const char *s)
{
    return buf_append(b, s, strlen(s));
}

enum err buf_putc(struct buf *b, char c)
{
    return buf_append(b, &c, 1);
}

enum err buf_printf(struct buf *b, const char *fmt, ...)
{
    if (b->err) return b->err;
    size_t room = b->cap - b->len;
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(room ? b->data + b->len : NULL, room, fmt, ap);
    va_end(ap);
    ht_assert(n >= 0);
    size_t len = (size_t)n;
    enum err err = OK;
    if (len >= room) {
        if (room) b->data[b->len] = '\0'; /* a refused piece leaves no trace */
        err = buf_reserve(b, len);
        if (!err) vsnprintf(b->data + b->len, len + 1, fmt, again);
    }
    va_end(again);
    if (!err) b->len += len;
    return err;
}

void buf_consume(struct buf *b, size_t n)
{
    ht_assert(n <= b->len);
    if (n == 0) return;
    b->len -= n;
    memmove(b->data, b->data + n, b->len + 1);
}

const char *buf_str(const struct buf *b)
{
    return b->data ? b->data : "";
}

char *buf_take(struct buf *b)
{
    char *data = b->data ? b->data : xstrdup("");
    b->data = NULL;
    buf_init(b, b->max);
    return data;
}
