/* Chat: turns of conversations. A turn writes the user's message into the store, has the answer
 * generated from the branch that it ends, and keeps both the answer and the events of making it, so
 * that a client that lost its connection goes on where it was.
 *
 *   chat_start --> (queued) --> generating --> saved: done | stopped | failed
 *
 * A turn does not need its listeners: it goes on when they leave, and ends by itself, by chat_stop,
 * or with the hub. The answer's text is in the store at the latest SAVE_MS after it was generated,
 * and whole before the event "done" is told. A turn's events are kept in memory for a while after
 * its end; later the store has what it said.
 *
 * Any thread may call; chat_start waits for the database. */
#ifndef HEARTH_CHAT_CHAT_H
#define HEARTH_CHAT_CHAT_H

#include "base/thread.h"
#include "provider/provider.h"
#include "rag/rag.h"
#include "store/store_conversation.h"

struct chat;

struct chat_params {
    struct provider *provider; /* borrowed, as the pool */
    struct pool *pool;
    struct rag *rag; /* borrowed; NULL = no answers from files */
};

struct chat *chat_new(const struct chat_params *params);
/* The provider has been stopped, so that every turn has ended, and the pool was freed. */
void chat_free(struct chat *c);

/* ---- turns --------------------------------------------------------------------------------- */

/* Everything is copied. */
struct chat_ask {
    struct store *store; /* borrowed until the turn has ended */
    const char *user_id, *request_id;
    const char *conversation_id; /* NULL = a new one; one that is not there is made */
    const char *message;         /* NULL = answer the parent again */
    const char *parent_id;       /* the message before; NULL = the shown branch's last one */
    const char *system_prompt;   /* NULL = none */
    const char *model;           /* "" and NULL = the default */
    struct sampling sampling;    /* without logit_bias */
    uint32_t said;               /* SAID_...: what of it and of max_tokens the client said */
    int32_t max_tokens;
    /* When and how it is computed: as in gen_request. */
    int32_t priority;
    int64_t deadline_ms, keep_alive_ms;
    const char *adapter; /* NULL = the hub's default one */
    float adapter_scale;
    bool deterministic;
    enum overflow overflow;
    const char *source, *route; /* who may answer: as in gen_request */
    bool local_only;            /* it never leaves this machine, nor does the conversation then */
    enum goal goal;
    /* Answers from files: passages are looked for and shown to the model. */
    bool use_rag;
    const char *const *file_ids; /* none = all that the user may see */
    size_t n_files;
    const char *const *collections;
    size_t n_collections;
};

struct chat_ids {
    char conversation[STORE_ID_MAX], question[STORE_ID_MAX], answer[STORE_ID_MAX];
};

/* OK: both messages are in the store and the turn is on its way; *ids tells their names. The
 * listener hears everything about a turn from its start when it is added before it is over.
 * ERR_NOT_FOUND: parent_id is unknown; ERR_CONFLICT: the conversation is another user's (as any id
 * that can't be used); ERR_INVALID: there is nothing to answer. */
HT_MUST_CHECK enum err chat_start(struct chat *c, const struct chat_ask *ask, struct chat_ids *ids,
                                  struct error *error);
/* Whether its events are in memory. */
bool chat_has(struct chat *c, const char *user_id, const char *answer_id);
/* Ends the turn of that answer; what was generated stays. ERR_NOT_FOUND: no such turn of this user
 * is under way. */
HT_MUST_CHECK enum err chat_stop(struct chat *c, const char *user_id, const char *answer_id,
                                 struct error *error);

/* ---- events -------------------------------------------------------------------------------- */

/* X(id, word): data is a JSON object. */
#define CHAT_EVENTS(X)                                                                             \
    X(META, "meta")           /* conversation_id, question_id, message_id, title */                \
    X(ROUTED, "routed")       /* provider, model, reason: who is asked; again with another one */  \
    X(SOURCES, "sources")     /* sources: what an answer from files may cite as [n] */             \
    X(QUEUED, "queued")       /* position, wait_ms */                                              \
    X(DELTA, "delta")         /* text */                                                           \
    X(REASONING, "reasoning") /* text */                                                           \
    X(USAGE, "usage")         /* prompt_tokens, cached_tokens, completion_tokens, model */         \
    X(DONE, "done")           /* finish_reason: stop, length, cancelled; the last one */           \
    X(ERROR, "error")         /* code, message; the last one */

enum chat_event_type {
#define X(id, word) CHAT_##id,
    CHAT_EVENTS(X)
#undef X
};

struct chat_event {
    int64_t id; /* 1, 2, 3, ... within a turn */
    int64_t at; /* bytes of reasoning and content that were told up to here, this one included */
    enum chat_event_type type;
    const char *word; /* of the type */
    const char *data; /* JSON text of an object */
    size_t len;
    bool last;
};

struct chat_listener {
    /* Under the turn's lock, one event at a time, in order: must not block nor call into chat. */
    void (*on_event)(void *ctx, const struct chat_event *ev);
    /* Once, after the last event, without a lock: the listener is gone. */
    void (*on_end)(void *ctx);
    void *ctx;
};

/* First the events after `after` that were told already, inside the call, then those to come; of a
 * turn that is over on_end comes inside the call, too. ERR_NOT_FOUND: no such turn of this user is
 * in memory; the listener is never called. */
HT_MUST_CHECK enum err chat_listen(struct chat *c, const char *user_id, const char *answer_id,
                                   int64_t after, const struct chat_listener *listener,
                                   struct error *error);

#endif
