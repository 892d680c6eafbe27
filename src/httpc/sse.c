/* The stream is cut into lines as it comes; a line may arrive in any number of pieces. Field by
 * field as in WHATWG HTML 9.2.6 "Interpreting an event stream"; `retry` is ignored, because the
 * callers decide themselves whether to connect again.
 *
 * Bounded: the line being read and the event being collected are each at most `max` bytes. After an
 * error every further feed fails with the same one. */
#include "httpc/sse.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum {
    SSE_NAME_MAX = 1024, /* event names and ids */
    BOM_LEN = 3,         /* not counted in a line's length */
};

struct sse_reader {
    bool (*fn)(void *ctx, const struct sse_event *ev);
    void *ctx;
    size_t max;
    struct buf line;
    struct buf data; /* each line of the event with its '\n' */
    struct buf event, id;
    bool has_data;
    bool after_cr; /* a '\n' that comes next belongs to the '\r' before it */
    bool past_bom; /* the place where a byte order mark may stand is behind us */
    bool stopped;  /* fn returned false */
    enum err failed;
};

struct sse_reader *sse_reader_new(size_t max, bool (*fn)(void *ctx, const struct sse_event *ev),
                                  void *ctx)
{
    struct sse_reader *r = xcalloc(1, sizeof(*r));
    r->fn = fn;
    r->ctx = ctx;
    r->max = max;
    buf_init(&r->line, max + BOM_LEN);
    buf_init(&r->data, max);
    buf_init(&r->event, SSE_NAME_MAX);
    buf_init(&r->id, SSE_NAME_MAX);
    return r;
}

void sse_reader_free(struct sse_reader *r)
{
    if (!r) return;
    buf_free(&r->line);
    buf_free(&r->data);
    buf_free(&r->event);
    buf_free(&r->id);
    free(r);
}

static void set_text(struct buf *b, const char *value, size_t len)
{
    buf_clear(b);
    buf_append(b, value, len);
}

static bool dispatch(struct sse_reader *r)
{
    bool go_on = true;
    if (r->has_data) {
        ht_assert(r->data.len > 0);
        r->data.data[--r->data.len] = '\0'; /* the last line's '\n' */
        struct sse_event ev = {
            .event = r->event.len ? buf_str(&r->event) : "message",
            .data = buf_str(&r->data),
            .data_len = r->data.len,
            .id = buf_str(&r->id),
        };
        go_on = r->fn(r->ctx, &ev);
    }
    buf_clear(&r->data);
    buf_clear(&r->event);
    r->has_data = false;
    return go_on;
}

static enum err field(struct sse_reader *r, const char *name, size_t name_len, const char *value,
                      size_t len)
{
    if (name_len == 4 && memcmp(name, "data", 4) == 0) {
        buf_append(&r->data, value, len);
        buf_putc(&r->data, '\n');
        r->has_data = true;
        return r->data.err;
    }
    if (name_len == 5 && memcmp(name, "event", 5) == 0) {
        set_text(&r->event, value, strnlen(value, len)); /* names are C strings here */
        return r->event.err;
    }
    if (name_len == 2 && memcmp(name, "id", 2) == 0 && !memchr(value, '\0', len)) {
        set_text(&r->id, value, len);
        return r->id.err;
    }
    return OK;
}

static enum err line_complete(struct sse_reader *r)
{
    const char *text = buf_str(&r->line);
    size_t len = r->line.len;
    enum err e = OK;
    if (len == 0) {
        if (!dispatch(r)) r->stopped = true;
    } else if (text[0] != ':') {
        const char *colon = memchr(text, ':', len);
        size_t name_len = colon ? (size_t)(colon - text) : len;
        const char *value = colon ? colon + 1 : text + len;
        if (colon && value < text + len && *value == ' ') value++;
        e = field(r, text, name_len, value, (size_t)(text + len - value));
    }
    buf_clear(&r->line);
    return r->stopped ? ERR_CANCELLED : e;
}

/* A byte order mark may only stand at the very beginning, and may come in pieces. */
static void skip_bom(struct sse_reader *r)
{
    if (r->past_bom || r->line.len < BOM_LEN) return;
    r->past_bom = true;
    if (memcmp(r->line.data, "\xEF\xBB\xBF", BOM_LEN) == 0) buf_consume(&r->line, BOM_LEN);
}

static enum err feed(struct sse_reader *r, const char *data, size_t len)
{
    const char *p = data, *end = data + len;
    while (p < end) {
        if (r->after_cr && *p == '\n') p++;
        r->after_cr = false;
        const char *stop = p;
        while (stop < end && *stop != '\n' && *stop != '\r') stop++;
        enum err e = buf_append(&r->line, p, (size_t)(stop - p));
        if (e) return e;
        skip_bom(r);
        if (r->line.len > r->max) return ERR_TOO_LARGE;
        if (stop == end) break;
        r->after_cr = *stop == '\r';
        r->past_bom = true;
        p = stop + 1;
        e = line_complete(r);
        if (e) return e;
    }
    return OK;
}

static enum err explain(const struct sse_reader *r, struct error *error)
{
    switch (r->failed) {
    case OK: return OK;
    case ERR_CANCELLED: return err_set(error, ERR_CANCELLED, "cancelled");
    case ERR_TOO_LARGE:
        return err_set(error, ERR_TOO_LARGE, "an event of the stream is larger than %zu bytes",
                       r->max);
    default: return err_set(error, r->failed, "no memory for an event of the stream");
    }
}

enum err sse_feed(struct sse_reader *r, const char *data, size_t len, struct error *error)
{
    if (r->failed == OK) r->failed = feed(r, data, len);
    return explain(r, error);
}
