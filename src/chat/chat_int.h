/* Inside chat: a turn.
 *
 *   chat.c     the table of turns: starting, stopping, listening
 *   turn.c     a turn's events: from the provider, to the listeners, into the store
 *   history.c  from a branch of messages to a gen_request
 *   wish.c     answers from files: what was asked for, what was found
 *
 * The turn's lock guards its events, listeners and text; a leaf but for sinks. The table's lock
 * guards who is in the table; it is never taken while a turn's is held. */
#ifndef HEARTH_CHAT_CHAT_INT_H
#define HEARTH_CHAT_CHAT_INT_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/buf.h"
#include "base/list.h"
#include "chat/chat.h"

enum { CONTENT_MAX = 16 << 20, EVENT_MAX = 4 << 20 };

struct kept_event {
    enum chat_event_type type;
    char *data;
    size_t len;
    int64_t at; /* as in chat_event */
};

struct turn {
    struct list_node node; /* in chat.turns */
    struct chat *chat;
    atomic_int refs; /* the table, the provider's listener, pool jobs */
    /* constant */
    struct store *store;
    char user_id[STORE_ID_MAX];
    struct chat_ids ids;
    char *request_id, *system_prompt, *model;
    struct sampling sampling;
    uint32_t said;
    int32_t max_tokens, priority;
    int64_t deadline_ms, keep_alive_ms;
    char *adapter;
    float adapter_scale;
    bool deterministic;
    enum overflow overflow;
    char *source, *route;
    bool local_only; /* said when it was asked for; see turn_pinned */
    enum goal goal;
    /* lock */
    pthread_mutex_t lock;
    struct list_node listeners;
    struct kept_event *events;
    size_t n_events, cap_events;
    bool over, stopped; /* the last event was told; somebody asked for the end */
    int32_t n_pieces;   /* of text: about as many tokens */
    struct buf content, reasoning;
    bool saving;    /* a pool job is writing what there is */
    bool end_waits; /* and saves the end after it */
    int64_t saved_ms, ended_ms;
    uint64_t provider_id; /* 0 = not given to the provider yet */
    size_t skipped;       /* messages left out in front, because the context was too short */
    size_t n_history;
    /* the provider's end, for the pool job that saves it */
    struct wish *wish; /* NULL: not from files; the pool job's until the provider has the request */
    bool started;
    enum finish_reason finish;
    struct error error; /* code OK: it worked */
    struct usage usage;
    char answered_by[128];          /* the model's id */
    char provider[64], reason[200]; /* whom it came from and why; "" where nobody routes */
};

struct listening {
    struct list_node node;
    struct chat_listener l;
};

struct chat {
    struct provider *provider;
    struct pool *pool;
    struct rag *rag;
    pthread_mutex_t lock;
    struct list_node turns; /* oldest first */
};

/* turn.c */
void turn_unref(struct turn *t);
void turn_meta(struct turn *t, const char *title); /* the first event */
/* chat_listen, once the turn was found. */
void turn_listen(struct turn *t, int64_t after, const struct chat_listener *l);
/* On the pool: builds the request and gives it to the provider. Takes a reference. */
void turn_submit(struct turn *t);
void turn_stop(struct turn *t);

/* Whether the turn must stay on this machine: it was asked for that way, its conversation is pinned
 * by now, or it was shown passages of a pinned file. */
HT_MUST_CHECK enum err turn_pinned(const struct turn *t, bool *out, struct error *error);
/* The event `sources`, with this JSON array. */
void turn_sources(struct turn *t, const char *json);

/* wish.c: passages for an answer. */
struct wish {
    struct arena *arena; /* of all of it */
    const char *const *file_ids, *const *collections;
    size_t n_files, n_collections;
    bool looked;
    struct rag_source *sources;
    bool pinned;      /* one of them must not leave this machine */
    size_t n;         /* that the model is shown; fewer than were told when they don't fit */
    const char *json; /* of those that were told */
};

struct wish *wish_new(const struct chat_ask *ask);
void wish_free(struct wish *w); /* NULL is fine */
/* Looks for them, once, and tells the listeners. Waits for the provider: on rag's threads. */
HT_MUST_CHECK enum err wish_look(struct turn *t, struct error *error);
/* The prompt is too long: fewer or shorter ones. False: nothing is left to leave out. */
bool wish_shrink(struct wish *w);

/* history.c: from the store; *n is how many messages the branch has. `skip` of the oldest are left
 * out. */
HT_MUST_CHECK enum err history_request(const struct turn *t, size_t skip, size_t *n,
                                       struct gen_request **out, struct error *error);

#endif
