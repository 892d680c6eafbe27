/* Writers of OpenAI's chats and raw completions: see api/writer.h.
 *
 * Writing a piece of a stream costs a few copies: what all chunks of an answer have in common is
 * put together once, and only the text itself is escaped. */
#ifndef HEARTH_API_OPENAI_WRITER_H
#define HEARTH_API_OPENAI_WRITER_H

#include "api/writer.h"
#include "base/json.h"

/* Both copy what they need of the call. */
struct writer *chat_writer_new(const struct call *call);
struct writer *completion_writer_new(const struct call *call);

/* The id of a chat's answer; and the same id and time for another one of the same answer. */
const char *openai_writer_id(const struct writer *w);
void openai_writer_twin(struct writer *w, const struct writer *of);

/* ---- shared by both, writer.c -------------------------------------------------------------- */

struct openai_writer {
    struct writer base;
    const char *object; /* of the chunks or of the body */
    bool include_usage, timings_wanted, logprobs;
    size_t n_choices; /* of all requests of the call together */
    char id[40];
    int64_t created_s;
    struct buf prefix; /* of a chunk, up to the choice's number */
};

void openai_writer_init(struct openai_writer *w, const struct writer_ops *ops, const char *object,
                        const char *id_prefix, const struct call *call);
void openai_writer_deinit(struct openai_writer *w);
/* writer_ops.fail: the error as an event, and [DONE]. */
void openai_write_failure(struct writer *base, const struct error *error, const char *request_id,
                          struct buf *out);

/* "data: {...,"choices":[{"index":<choice>" */
void writer_open_chunk(struct openai_writer *w, struct buf *out, size_t choice);
/* ","finish_reason":<...>}]...}" and the end of the event; finish NULL writes null. */
void writer_close_chunk(struct openai_writer *w, struct buf *out, const char *finish);
/* The chunk with empty choices, if one was asked for, and the [DONE] event. */
void writer_last_chunks(struct openai_writer *w, struct buf *out);

/* {"id":...,"choices":[ : the caller goes on with the choices, writer_whole_end ends it. */
void writer_whole_begin(struct openai_writer *w, struct jw *jw);
void writer_whole_end(struct openai_writer *w, struct jw *jw);

const char *finish_word(enum finish_reason reason);

#endif
