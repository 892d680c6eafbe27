/* Frames; see frame.h. */
#include "worker/frame.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "worker/wire.h"

struct head {
    uint32_t len; /* of the payload, without padding */
    uint8_t type;
    uint8_t more; /* 1: the message goes on in the next frame */
    uint16_t zero;
    uint64_t id;
};
static_assert(sizeof(struct head) == FRAME_HEAD, "the head has no holes");

enum { SENT_COMPACT = 1 << 20 };

static size_t padding(size_t len)
{
    return (WIRE_ALIGN - len % WIRE_ALIGN) % WIRE_ALIGN;
}

/* ---- writing ------------------------------------------------------------------------------- */

size_t frame_begin(struct buf *out, enum frame_type type, uint64_t id)
{
    struct head head = {.type = (uint8_t)type, .id = id};
    size_t begin = out->len;
    buf_append(out, &head, sizeof head);
    return begin;
}

static void put_frame(struct buf *out, struct head head, const char *payload, size_t len, bool more)
{
    static const char zeros[WIRE_ALIGN];
    head.len = (uint32_t)len;
    head.more = more;
    buf_append(out, &head, sizeof head);
    if (len) buf_append(out, payload, len);
    buf_append(out, zeros, padding(len));
}

/* The payload is in *out as one piece: it is taken out and put back in frames. */
static void cut(struct buf *out, size_t begin, struct head head)
{
    size_t len = out->len - begin - sizeof head;
    char *payload = try_malloc(len);
    if (!payload) {
        out->err = ERR_NOMEM;
        return;
    }
    memcpy(payload, out->data + begin + sizeof head, len);
    out->len = begin;
    for (size_t at = 0; at < len; at += FRAME_PAYLOAD_MAX) {
        size_t n = len - at < FRAME_PAYLOAD_MAX ? len - at : FRAME_PAYLOAD_MAX;
        put_frame(out, head, payload + at, n, at + n < len);
    }
    free(payload);
}

enum err frame_end(struct buf *out, size_t begin)
{
    static const char zeros[WIRE_ALIGN];
    struct head head;
    enum err e = out->err;
    if (!e) {
        size_t len = out->len - begin - sizeof head;
        memcpy(&head, out->data + begin, sizeof head);
        if (len > FRAME_PAYLOAD_MAX) {
            cut(out, begin, head);
        } else {
            head.len = (uint32_t)len;
            memcpy(out->data + begin, &head, sizeof head);
            buf_append(out, zeros, padding(len));
        }
        e = out->err;
    }
    if (!e) return OK;
    out->err = OK;
    out->len = begin;
    if (out->data) out->data[begin] = '\0';
    return e;
}

/* ---- reading ------------------------------------------------------------------------------- */

struct frame_reader {
    char *bytes; /* FRAME_READ_MAX of them */
    size_t len, at;
    bool joining; /* the message in `whole` is not complete */
    bool handed;  /* `whole` was handed out */
    struct head first;
    struct buf whole; /* a message of several frames */
};

struct frame_reader *frame_reader_new(size_t max_message)
{
    struct frame_reader *r = xcalloc(1, sizeof *r);
    r->bytes = xmalloc(FRAME_READ_MAX);
    buf_init(&r->whole, max_message);
    return r;
}

void frame_reader_free(struct frame_reader *r)
{
    if (!r) return;
    free(r->bytes);
    buf_free(&r->whole);
    free(r);
}

char *frame_room(struct frame_reader *r, size_t *room)
{
    memmove(r->bytes, r->bytes + r->at, r->len - r->at);
    r->len -= r->at;
    r->at = 0;
    *room = FRAME_READ_MAX - r->len;
    ht_assert(*room >= FRAME_READ_MAX / 2);
    return r->bytes + r->len;
}

void frame_filled(struct frame_reader *r, size_t n)
{
    ht_assert(n <= FRAME_READ_MAX - r->len);
    r->len += n;
}

static bool is_valid(const struct frame_reader *r, const struct head *h)
{
    if (h->len > FRAME_PAYLOAD_MAX || h->type >= FRAME_TYPE_COUNT) return false;
    if (h->more > 1 || h->zero || (h->more && h->len != FRAME_PAYLOAD_MAX)) return false;
    return !r->joining || (h->type == r->first.type && h->id == r->first.id);
}

/* The next frame's head and payload; ERR_NOT_FOUND when it is not there in full. */
static enum err next_frame(struct frame_reader *r, struct head *h, const char **payload,
                           struct error *error)
{
    static const char zeros[WIRE_ALIGN];
    size_t left = r->len - r->at;
    if (left < sizeof *h) return ERR_NOT_FOUND;
    memcpy(h, r->bytes + r->at, sizeof *h);
    if (!is_valid(r, h))
        return err_set(error, ERR_INVALID, "a malformed frame (type %u, %u bytes)", h->type,
                       h->len);
    size_t pad = padding(h->len);
    if (left < sizeof *h + h->len + pad) return ERR_NOT_FOUND;
    *payload = r->bytes + r->at + sizeof *h;
    if (memcmp(*payload + h->len, zeros, pad) != 0)
        return err_set(error, ERR_INVALID, "a malformed frame (padding)");
    r->at += sizeof *h + h->len + pad;
    return OK;
}

static enum err join(struct frame_reader *r, const struct head *h, const char *payload,
                     struct error *error)
{
    if (!r->joining) {
        buf_clear(&r->whole);
        r->first = *h;
    }
    r->joining = h->more;
    enum err e = buf_append(&r->whole, payload, h->len);
    if (!e) return OK;
    return err_set(error, e, "a message of more than %zu bytes", r->whole.len);
}

enum err frame_next(struct frame_reader *r, struct frame *out, struct error *error)
{
    struct head h;
    const char *payload = NULL;
    if (r->handed) buf_free(&r->whole); /* seldom needed, and large */
    r->handed = false;
    for (;;) {
        enum err e = next_frame(r, &h, &payload, error);
        if (e) return e;
        bool several = h.more || r->joining;
        if (several) e = join(r, &h, payload, error);
        if (e) return e;
        if (h.more) continue;
        *out = (struct frame){.type = h.type, .id = h.id, .payload = payload, .len = h.len};
        if (!several) return OK;
        r->handed = true;
        out->payload = r->whole.data;
        out->len = r->whole.len;
        return OK;
    }
}

/* ---- a socket ------------------------------------------------------------------------------ */

void channel_init(struct channel *c, size_t max_waiting)
{
    *c = (struct channel){.fd = -1};
    buf_init(&c->out, max_waiting);
}

void channel_free(struct channel *c)
{
    channel_reset(c, -1);
    buf_free(&c->out);
}

void channel_reset(struct channel *c, int fd)
{
    if (c->fd >= 0) close(c->fd);
    buf_free(&c->out);
    c->sent = 0;
    c->fd = fd;
}

bool channel_waits(const struct channel *c)
{
    return c->sent < c->out.len;
}

enum err channel_flush(struct channel *c)
{
    while (channel_waits(c)) {
        ssize_t n =
            send(c->fd, c->out.data + c->sent, c->out.len - c->sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
        if (n <= 0) return ERR_CLOSED;
        c->sent += (size_t)n;
    }
    if (!channel_waits(c)) {
        if (c->out.cap > SENT_COMPACT)
            buf_free(&c->out); /* large messages are rare */
        else
            buf_clear(&c->out);
        c->sent = 0;
    } else if (c->sent > SENT_COMPACT && c->sent > c->out.len / 2) {
        buf_consume(&c->out, c->sent);
        c->sent = 0;
    }
    return OK;
}
