/* What hub and worker say to each other, as the payloads of frames (frame.h): one type of frame for
 * each row of the table below, one function pair for each payload.
 *
 * Both ends are the same program, so a version of the layout is not negotiated: the greeting names
 * protocol and build, and a worker of another build is refused with words that say so. Within a
 * build nothing is optional: what is left over, missing or out of range is an error, and whoever
 * sent it is not to be trusted any more. */
#ifndef HEARTH_WORKER_CODEC_H
#define HEARTH_WORKER_CODEC_H

#include "base/buf.h"
#include "provider/provider.h"
#include "types/gen.h"

enum { WORKER_PROTOCOL = 1 };

/* X(name, who sends it, what it carries) */
#define FRAMES(X)                                                                                  \
    X(HELLO, HUB, "first of all: struct greeting")                                                 \
    X(GENERATE, HUB, "struct gen_request; the frame's id is the request's from then on")           \
    X(EMBED, HUB, "struct embed_request")                                                          \
    X(CONTROL, HUB, "struct control_call")                                                         \
    X(CANCEL, HUB, "nothing; an id that is over is ignored")                                       \
    X(QUIT, HUB, "nothing; the worker ends its requests and itself")                               \
    X(PING, HUB, "nothing; the thread that hears it answers")                                      \
    X(READY, WORKER, "first of all: struct greeting_answer")                                       \
    X(EVENT, WORKER, "struct gen_event of a generation")                                           \
    X(EMBEDDING, WORKER, "struct embed_result: the only answer to EMBED")                          \
    X(ANSWER, WORKER, "struct control_answer: the only answer to CONTROL")                         \
    X(LEFT, WORKER, "struct left_model")                                                           \
    X(PONG, WORKER, "nothing; the id is the PING's")

enum frame_type {
#define X(name, sender, what) FRAME_##name,
    FRAMES(X)
#undef X
        FRAME_TYPE_COUNT
};

struct setting {
    const char *name, *value;
};

struct greeting {
    const char *build;
    int log_level;
    bool log_json;
    bool preload;                   /* what the configuration says; false after a bad start */
    const struct setting *settings; /* the configuration without secrets */
    size_t n_settings;
    const char *const *quarantined; /* models that are not to be loaded */
    size_t n_quarantined;
    const char *const *let_go; /* models that are not to be preloaded: they have left the memory */
    size_t n_let_go;
};

struct greeting_answer {
    const char *build;
    const char *rights;        /* for the log: what the worker may not do */
    const struct error *error; /* it could not start; NULL = it serves */
};

struct control_call {
    enum control what;
    const char *args;
};

/* A model is no longer in memory and does not come back by itself. */
struct left_model {
    const char *id;
};

struct control_answer {
    const struct error *error;
    const char *answer; /* NULL with an error */
    size_t len;
};

/* Appends to *out, whose err says whether it worked (ERR_NOMEM, ERR_TOO_LARGE). */
void codec_write_greeting(struct buf *out, const struct greeting *v);
void codec_write_greeting_answer(struct buf *out, const struct greeting_answer *v);
void codec_write_request(struct buf *out, const struct gen_request *v);
void codec_write_embed(struct buf *out, const struct embed_request *v);
void codec_write_control(struct buf *out, const struct control_call *v);
void codec_write_event(struct buf *out, const struct gen_event *v);
void codec_write_result(struct buf *out, const struct embed_result *v);
void codec_write_answer(struct buf *out, const struct control_answer *v);
void codec_write_left(struct buf *out, const struct left_model *v);

/* The bytes begin at a multiple of WIRE_ALIGN. What is read points into them and into the arena.
 * ERR_INVALID: malformed; ERR_NOMEM. */
HT_MUST_CHECK enum err codec_read_greeting(const void *bytes, size_t len, struct arena *arena,
                                           struct greeting *v, struct error *error);
HT_MUST_CHECK enum err codec_read_greeting_answer(const void *bytes, size_t len,
                                                  struct arena *arena, struct greeting_answer *v,
                                                  struct error *error);
HT_MUST_CHECK enum err codec_read_left(const void *bytes, size_t len, struct arena *arena,
                                       struct left_model *v, struct error *error);
HT_MUST_CHECK enum err codec_read_control(const void *bytes, size_t len, struct control_call *v,
                                          struct error *error);
/* Uses the arena only for events that carry log probabilities, an error or a cache report. */
HT_MUST_CHECK enum err codec_read_event(const void *bytes, size_t len, struct arena *arena,
                                        struct gen_event *v, struct error *error);
HT_MUST_CHECK enum err codec_read_result(const void *bytes, size_t len, struct arena *arena,
                                         struct embed_result *v, struct error *error);
HT_MUST_CHECK enum err codec_read_answer(const void *bytes, size_t len, struct arena *arena,
                                         struct control_answer *v, struct error *error);
/* A request of its own, with an arena that holds a copy of the bytes. */
HT_MUST_CHECK enum err codec_read_request(const void *bytes, size_t len, struct gen_request **out,
                                          struct error *error);
HT_MUST_CHECK enum err codec_read_embed(const void *bytes, size_t len, struct embed_request **out,
                                        struct error *error);

/* This program and its protocol: two programs with the same text understand each other. */
const char *codec_build(void);

#endif
