/* A sink that gathers an answer in memory, for callers inside the hub: jobs that have handlers
 * answer as if a client had asked. Whoever holds it waits until the handler and all that it started
 * have let go. Any thread. */
#ifndef HEARTH_API_GATHER_H
#define HEARTH_API_GATHER_H

#include <pthread.h>
#include <stdbool.h>

#include "api/close_hook.h"
#include "api/http.h"
#include "base/buf.h"

struct gather {
    struct sink sink;
    /* Called with each piece of a stream, which is not gathered then, on the thread that writes it;
     * NULL = gathered. Set before the sink is handed out. */
    void (*piece)(void *ctx, const void *data, size_t len);
    /* Called when the last reference has gone: it may be looked at, and freed, from then on. NULL =
     * somebody waits (gather_wait). */
    void (*released)(void *ctx);
    void *ctx;
    /* The answer, once it was released: */
    int status; /* 0 = there is none: it was closed before */
    struct buf body;
    /* Its own: */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int refs;
    bool over, closed, streaming;
    struct close_hook hook;
};

/* max: of the body's bytes; more is as if the client had gone. */
void gather_init(struct gather *g, size_t max);
/* The sink with one reference, for a handler. Once. */
struct sink *gather_sink(struct gather *g);
/* As a client that goes away: what works for it is cancelled. */
void gather_close(struct gather *g);
/* Waits until all have let go, for at most that long; whether they have. */
bool gather_wait(struct gather *g, int64_t ms);
/* After they have let go. */
void gather_deinit(struct gather *g);

#endif
