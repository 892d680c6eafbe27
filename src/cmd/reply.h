/* Reply: one answer of the API on its way from a transport (link.h) to the verb that asked.
 *
 * The transport's thread pushes status, bytes and the end; they are parsed there (event stream or
 * one JSON document) and kept as pieces. The verb's thread takes the pieces out. So nothing that
 * blocks, a terminal for example, is ever touched by a transport's callback. One lock.
 *
 * The end comes exactly once; after it the transport never touches the reply again. */
#ifndef HEARTH_CMD_REPLY_H
#define HEARTH_CMD_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "types/gen.h"
#include "types/model_info.h"

struct reply;

struct reply *reply_new(void);    /* never NULL */
void reply_free(struct reply *r); /* after its end was taken, or if it was never started */

/* ---- transport's side ----------------------------------------------------------------------- */

void reply_push_status(struct reply *r, int status);
/* false = stop sending (the answer is too large or broken): end it with reply_push_end. */
bool reply_push_data(struct reply *r, const void *data, size_t len);
/* error NULL = the transport delivered all there was. */
void reply_push_end(struct reply *r, const struct error *error);

/* ---- owner's side --------------------------------------------------------------------------- */

enum reply_wake {
    REPLY_TEXT,      /* text, text_len: valid until the next call */
    REPLY_REASONING, /* the same */
    REPLY_TIMEOUT,
    REPLY_INTERRUPT, /* SIGINT: cancel, then go on to REPLY_END */
    REPLY_END,
};

/* What is known at the end. */
struct reply_end {
    struct error error; /* code OK: it worked */
    int status;
    enum finish_reason finish;
    struct usage usage;
    char model[MODEL_ID_MAX];
    const char *body; /* of an answer that is no event stream; valid as long as the reply */
    size_t body_len;
    /* Of a stream of /api/v1/chat, as long as the reply: JSON of its events of these names; "". */
    const char *meta, *sources;
};

/* Waits for the next piece. At REPLY_END *end is filled. */
enum reply_wake reply_next(struct reply *r, int64_t timeout_ms, const char **text, size_t *len,
                           struct reply_end *end);

#endif
