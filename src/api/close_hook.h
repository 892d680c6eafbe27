/* The close callback of a sink (api/http.h), for whoever implements one: it runs once, withdrawing
 * or replacing it waits for one that runs, and the callback itself may do either.
 *
 * A hook belongs to a sink that has a lock and knows whether it is closed. All but init and deinit
 * are called with that lock held; it is given up while the callback runs and while one is waited
 * for, so what it guards may have changed afterwards, and the caller sees to it that the sink
 * outlives the call. */
#ifndef HEARTH_API_CLOSE_HOOK_H
#define HEARTH_API_CLOSE_HOOK_H

#include <pthread.h>
#include <stdbool.h>

#include "api/http.h"

struct close_hook {
    sink_close_fn fn; /* NULL = none, or it was called */
    void *ctx;
    bool runs;        /* a callback is being called, */
    pthread_t thread; /* by this thread */
    pthread_cond_t done;
};

void close_hook_init(struct close_hook *h);
/* Nothing runs, nobody waits. */
void close_hook_deinit(struct close_hook *h);
/* Sets or, with NULL, withdraws it. It runs at the next close_hook_run: of a sink that is closed
 * already that is the caller's to call, behind this. */
void close_hook_set(struct close_hook *h, pthread_mutex_t *lock, sink_close_fn fn, void *ctx);
/* The sink is closed: calls what is set, if anything is. */
void close_hook_run(struct close_hook *h, pthread_mutex_t *lock);

#endif
