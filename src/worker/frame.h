/* Frames: messages over a stream socket.
 *
 * A frame is a head of 16 bytes, then at most FRAME_PAYLOAD_MAX bytes of payload, then zeros up to
 * a multiple of 8, so that every payload begins aligned. A longer message is cut into frames that
 * follow each other directly; all but the last say that there is more. Messages keep their order:
 * a cancel can't overtake its request.
 *
 * Nothing is believed: types, lengths and padding are checked, and a message grows with the bytes
 * that really came, never by what its head promises. */
#ifndef HEARTH_WORKER_FRAME_H
#define HEARTH_WORKER_FRAME_H

#include "base/buf.h"
#include "worker/codec.h"

enum {
    FRAME_HEAD = 16,
    FRAME_PAYLOAD_MAX = 64 << 10,
    FRAME_READ_MAX = 256 << 10, /* bytes taken from the socket at a time */
};

struct frame {
    enum frame_type type;
    uint64_t id;
    const char *payload; /* aligned to WIRE_ALIGN */
    size_t len;
};

/* Writing: begin, append the payload to *out, end. On failure (out->err: no memory, or *out is at
 * its maximum) *out is as it was before. */
size_t frame_begin(struct buf *out, enum frame_type type, uint64_t id);
HT_MUST_CHECK enum err frame_end(struct buf *out, size_t begin);

struct frame_reader;

/* Refuses messages longer than max_message. */
struct frame_reader *frame_reader_new(size_t max_message);
void frame_reader_free(struct frame_reader *r); /* NULL is fine */
/* Where the next bytes go, at least FRAME_READ_MAX / 2 of them; every frame must have been taken
 * before. Then how many came. */
char *frame_room(struct frame_reader *r, size_t *room);
void frame_filled(struct frame_reader *r, size_t n);
/* The next whole message, valid until the next call. ERR_NOT_FOUND: more bytes are needed;
 * ERR_INVALID: this is no stream of frames; ERR_TOO_LARGE, ERR_NOMEM. */
HT_MUST_CHECK enum err frame_next(struct frame_reader *r, struct frame *out, struct error *error);

/* ---- a socket ------------------------------------------------------------------------------ */

/* What waits to be sent. The owner locks. */
struct channel {
    int fd; /* non-blocking; -1 = none */
    struct buf out;
    size_t sent; /* of out */
};

void channel_init(struct channel *c, size_t max_waiting);
void channel_free(struct channel *c); /* closes the socket */
void channel_reset(struct channel *c, int fd);
/* Sends what it can without waiting. ERR_CLOSED: the other end is gone. */
HT_MUST_CHECK enum err channel_flush(struct channel *c);
bool channel_waits(const struct channel *c); /* something is left: poll for POLLOUT */

#endif
