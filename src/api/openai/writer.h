/* Writers: from the events of a generation to what an OpenAI client reads, as chunks of a stream or
 * as one whole body. Pure: events in, bytes out; no sinks, no threads (one owner at a time).
 *
 * Writing a piece of a stream costs a few copies: what all chunks of an answer have in common is
 * put together once, and only the text itself is escaped. */
#ifndef HEARTH_API_OPENAI_WRITER_H
#define HEARTH_API_OPENAI_WRITER_H

#include "base/buf.h"
#include "base/json.h"
#include "types/gen.h"
#include "types/model_info.h"

struct call;
struct writer;

/* Bytes of a whole answer (and so of each of its texts); ends up as an error, not as a crash. */
enum { ANSWER_BYTES_MAX = 256 * 1024 * 1024 };

struct writer_ops {
    /* An event of request number `part` of the call: STARTED, TEXT, REASONING, TOOL_CALL or
     * CHOICE_END. Appends the chunks that it makes; in a whole answer nothing. */
    enum err (*event)(struct writer *w, size_t part, const struct gen_event *ev, struct buf *out);
    /* After the last event of all requests: the last chunks, or the whole body. */
    enum err (*finish)(struct writer *w, struct buf *out);
    void (*free)(struct writer *w);
};

struct writer {
    const struct writer_ops *ops;
    const char *object; /* of the chunks or of the body */
    bool stream, include_usage, timings_wanted, logprobs;
    size_t n_choices; /* of all requests of the call together */
    char id[40];
    int64_t created_s;
    char model[MODEL_ID_MAX];
    struct buf prefix; /* of a chunk, up to the choice's number */
    struct usage usage;
    struct timings timings;
};

/* Both copy what they need of the call. */
struct writer *chat_writer_new(const struct call *call);
struct writer *completion_writer_new(const struct call *call);

/* Wrappers. writer_event takes any event: DONE adds to usage and timings; those that are no part of
 * an answer are skipped. */
HT_MUST_CHECK enum err writer_event(struct writer *w, size_t part, const struct gen_event *ev,
                                    struct buf *out);
HT_MUST_CHECK enum err writer_finish(struct writer *w, struct buf *out);
void writer_free(struct writer *w);

/* ---- shared by the writers, writer.c ------------------------------------------------------- */

void writer_init(struct writer *w, const struct writer_ops *ops, const char *object,
                 const char *id_prefix, const struct call *call);
void writer_deinit(struct writer *w);

/* "data: {...,"choices":[{"index":<choice>" */
void writer_open_chunk(struct writer *w, struct buf *out, size_t choice);
/* ","finish_reason":<...>}]...}" and the end of the event; finish NULL writes null. */
void writer_close_chunk(struct writer *w, struct buf *out, const char *finish);
/* The chunk with empty choices, if one was asked for, and the [DONE] event. */
void writer_last_chunks(struct writer *w, struct buf *out);

/* {"id":...,"choices":[ : the caller goes on with the choices, writer_whole_end ends it. */
void writer_whole_begin(struct writer *w, struct jw *jw);
void writer_whole_end(struct writer *w, struct jw *jw);

const char *finish_word(enum finish_reason reason);

/* A JSON string of text, appended. */
void write_json_string(struct buf *out, const char *s, size_t len);
/* A log probability: shortest decimal of a float; what JSON can't hold becomes -9999. */
void write_logprob(struct buf *out, float logprob);

#endif
