/* Fuzz target: the event stream reader. Holds: however the bytes are cut, the events and the result
 * are the same; an event is within the limit. */
#include <stdint.h>
#include <string.h>

#include "httpc/sse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LIMIT = 200 };

static bool collect(void *ctx, const struct sse_event *ev)
{
    struct buf *out = ctx;
    ht_assert(ev->data_len <= LIMIT && ev->data[ev->data_len] == '\0');
    ht_assert(ev->event[0] != '\0');
    buf_append(out, ev->event, strlen(ev->event) + 1);
    buf_append(out, ev->id, strlen(ev->id) + 1);
    buf_append(out, ev->data, ev->data_len + 1);
    return ev->data_len != 7; /* now and then the listener stops */
}

/* The first byte of the input says how long the pieces are; 0: all at once. */
static enum err run(const uint8_t *data, size_t size, size_t step, struct buf *out)
{
    struct error e;
    struct sse_reader *r = sse_reader_new(LIMIT, collect, out);
    enum err err = OK;
    buf_init(out, 64 << 20);
    for (size_t i = 0; i < size && err == OK; i += step) {
        size_t n = size - i < step ? size - i : step;
        err = sse_feed(r, (const char *)data + i, n, &e);
        ht_assert(err == OK || (e.code == err && e.msg[0]));
    }
    if (err) {
        enum err again = sse_feed(r, "\n\n", 2, &e);
        ht_assert(again == err);
    }
    sse_reader_free(r);
    return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) return 0;
    struct buf whole, pieces;
    size_t step = data[0] ? data[0] : 1;
    enum err a = run(data + 1, size - 1, size, &whole);
    enum err b = run(data + 1, size - 1, step, &pieces);
    ht_assert(a == b);
    ht_assert(whole.len == pieces.len);
    ht_assert(whole.len == 0 || memcmp(whole.data, pieces.data, whole.len) == 0);
    buf_free(&whole);
    buf_free(&pieces);
    return 0;
}
