/* Reader of text/event-stream (WHATWG HTML, "Server-sent events"): bytes in any pieces -> events.
 * CR, LF and CRLF ends, comments, multi-line data, BOM. A line and an event's data are at most
 * `max` bytes each, names and ids 1 KiB. One owner, no locks. What stands after the last empty line
 * is never an event: a stream that was cut doesn't deliver half of one. */
#ifndef HEARTH_HTTPC_SSE_H
#define HEARTH_HTTPC_SSE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

/* Borrowed: valid during the call only. */
struct sse_event {
    const char *event; /* "message" if not given */
    const char *data;  /* '\0'-terminated, lines joined by '\n' */
    size_t data_len;
    const char *id; /* last event id, "" if none */
};

struct sse_reader;
/* fn: false = stop reading (sse_feed returns ERR_CANCELLED). */
struct sse_reader *sse_reader_new(size_t max, bool (*fn)(void *ctx, const struct sse_event *ev),
                                  void *ctx);
void sse_reader_free(struct sse_reader *r);
/* ERR_TOO_LARGE, ERR_CANCELLED, ERR_NOMEM; after an error every further call fails with it. */
HT_MUST_CHECK enum err sse_feed(struct sse_reader *r, const char *data, size_t len,
                                struct error *error);

#endif
