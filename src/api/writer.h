/* Writers: from the events of a generation to what a client of a surface reads, as pieces of a
 * stream or as one whole body. Pure: events in, bytes out; no sinks, no threads (one owner at a
 * time). Each surface has its own, in src/api/<surface>/. */
#ifndef HEARTH_API_WRITER_H
#define HEARTH_API_WRITER_H

#include "api/call.h"
#include "api/error.h"
#include "base/buf.h"
#include "types/gen.h"
#include "types/model_info.h"

struct writer;

/* Bytes of a whole answer (and so of each of its texts); ends up as an error, not as a crash. */
enum { ANSWER_BYTES_MAX = 256 * 1024 * 1024 };

/* What a stream's client waits for. */
struct wait_note {
    enum { WAIT_QUEUED, WAIT_LOADING } what;
    int32_t position; /* in the queue */
    int64_t wait_ms;  /* until it starts, as estimated; -1 = unknown */
    float fraction;   /* of the model that is loaded */
};

struct writer_ops {
    const char *name;
    const char *stream_type; /* Content-Type of a stream */
    const struct error_shape *errors;
    /* MUST. An event of request number `part` of the call: STARTED, TEXT, REASONING, TOOL_CALL,
     * CHOICE_END or DONE. Appends the pieces that it makes; in a whole answer nothing. */
    enum err (*event)(struct writer *w, size_t part, const struct gen_event *ev, struct buf *out);
    /* MAY. TOKENS of a request with want_tokens, in front of their text. */
    enum err (*tokens)(struct writer *w, size_t part, const struct gen_event *ev);
    /* MUST. After the last event of all requests: the last pieces, or the whole body. */
    enum err (*finish)(struct writer *w, struct buf *out);
    /* MUST. The end of a stream that has begun and can't go on. */
    void (*fail)(struct writer *w, const struct error *error, const char *request_id,
                 struct buf *out);
    /* MAY. Says an error in the surface's own words, before its status is chosen. */
    void (*reword)(const struct writer *w, struct error *error);
    /* MAY. Keeps what must be there before the client is told of the end: on the pool, once, after
     * the last event (error: why it can't go on, else NULL) and before finish or fail. It may wait;
     * events and the others of these functions wait for it. */
    void (*keep)(struct writer *w, const struct error *error);
    /* MAY. What a stream's client waits for, as an event of the surface or as something that its
     * parser skips. */
    void (*note)(struct writer *w, const struct wait_note *note, struct buf *out);
    /* MUST */
    void (*free)(struct writer *w);
};

struct writer {
    const struct writer_ops *ops;
    bool stream;
    bool started;
    char model[MODEL_ID_MAX]; /* as asked; from the first STARTED on, that which answers */
    struct usage usage;       /* of all requests that are done */
    struct timings timings;
};

/* The part that all share; copies what it needs of the call. */
void writer_init(struct writer *w, const struct writer_ops *ops, const struct call *call);

/* Wrappers. writer_event takes any event: those that are no part of an answer are skipped. */
HT_MUST_CHECK enum err writer_event(struct writer *w, size_t part, const struct gen_event *ev,
                                    struct buf *out);
HT_MUST_CHECK enum err writer_finish(struct writer *w, struct buf *out);
void writer_free(struct writer *w);

/* A JSON string of text, appended. */
void write_json_string(struct buf *out, const char *s, size_t len);
/* Log probabilities as OpenAI's surfaces write them, appended to a list of objects: `out` ends with
 * its '[' or with one of them, or is empty. */
void write_logprobs(struct buf *out, const struct token_logprob *logprobs, size_t n);
/* "token":..,"logprob":..,"bytes":[..] */
void write_logprob_alt(struct buf *out, const struct logprob_alt *alt);
/* A log probability: shortest decimal of a float; what JSON can't hold becomes -9999. */
void write_logprob(struct buf *out, float logprob);
/* What was used as the Responses API and batches tell it: an object, as the next value. */
void write_response_usage(struct jw *w, int64_t input, int64_t cached, int64_t output,
                          int64_t reasoning);
/* ": queued position=3 wait_ms=120" or ": loading 0.50" and an empty line: a comment of an event
 * stream, as writer_ops.note. */
void write_sse_note(struct writer *w, const struct wait_note *note, struct buf *out);

#endif
