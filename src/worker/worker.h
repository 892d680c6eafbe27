/* The model worker: scheduler, engine and local provider in a child process, so that a bad model
 * file, an assertion of the inference library or the OOM killer takes down the worker and not the
 * hub; and so that the code that reads model files has no rights (docs/decisions/0010).
 *
 * worker_open gives a provider like any other. Its requests travel as frames (frame.h, codec.h) to
 * `hearth worker`, which is started when there is work (or a model to preload) and started again
 * when it dies. What was running then goes on from the tokens that were told (told.h), what was
 * waiting goes again; a model that killed the worker twice within a minute is quarantined.
 *
 * Threads: `worker` (client_loop.c) reads the socket, calls every listener and looks after the
 * child; it is the provider's delivery thread. The face may be called from any thread and never
 * waits for the socket. */
#ifndef HEARTH_WORKER_WORKER_H
#define HEARTH_WORKER_WORKER_H

#include "base/config.h"
#include "provider/provider.h"

enum { WORKER_FD = 3 /* the socket, in the child */, WORKER_LOG_FD = 4, WORKER_SHARED_FD = 5 };

struct worker_params {
    const struct config *config; /* borrowed */
    bool preload;                /* start at once, and load what the configuration says */
    const char *program;         /* NULL = this one; "<program> worker" is run */
    /* For tests: gives a connected socket (non-blocking) instead of starting a process. */
    enum err (*connect)(void *ctx, int *fd, struct error *error);
    void *connect_ctx;
    int64_t start_ms;      /* how long a worker may take to greet; 0 = as usual */
    int64_t hang_ms;       /* as HEARTH_HANG_TIMEOUT; 0 = what the configuration says */
    int64_t quarantine_ms; /* within which a model's second death is too much; 0 = a minute */
};

HT_MUST_CHECK enum err worker_open(const struct worker_params *params, struct provider **out,
                                   struct error *error);
/* The first half of provider_close: refuses new requests (ERR_STOPPING) and returns when every
 * listener has had its last event, at the latest soon after grace_ms. */
void worker_stop(struct provider *p, int64_t grace_ms);

/* The child's main(): serves the hub behind WORKER_FD until that ends. Returns an exit status. */
int worker_main(void);

#endif
