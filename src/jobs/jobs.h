/* The runner of durable jobs (store_job.h): takes what is due, runs its handler, says how it ended.
 *
 *   jobs_new, jobs_register (each kind) --jobs_start--> waiting --jobs_stop--> stopped --jobs_free
 *
 * What it guarantees:
 *  1. A job runs under a lease that is renewed while it runs; of a hub that dies, the jobs are
 * taken again: by the next hub of this machine at once, by others when the lease is over.
 *  2. A handler may therefore run more than once for one job, but never twice at a time while its
 *     lease holds: it must be written so that doing it again from the start leaves the same.
 *  3. Failures that may pass (database, network, memory, disk full) are tried again later, each
 * time after twice as long; the others fail at once.
 *  4. Nobody polls: who adds a job calls jobs_wake; a job for later and a lease are waited for with
 *     one timed sleep. Only a PostgreSQL, to which other hubs may add, is looked at once in a
 * while.
 *
 * Threads: a few workers (handlers run there, and may block) and one keeper, which renews leases,
 * writes progress and learns what was cancelled. All functions may be called by any thread, except
 * jobs_register (before jobs_start) and jobs_free (last). */
#ifndef HEARTH_JOBS_JOBS_H
#define HEARTH_JOBS_JOBS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "store/store.h"
#include "store/store_job.h"

struct jobs;
struct job_ctx; /* a job while it runs; valid until its handler returns */

/* OK: done. ERR_CANCELLED after job_cancelled() was true: somebody cancelled it, or the hub stops
 * and it is given back. Else the words in *error are the job's. */
typedef enum err (*job_fn)(struct job_ctx *job, void *ctx, struct error *error);
/* What comes when a job is over for good without having been done (failed, not cancelled). */
typedef void (*job_failed_fn)(struct store *s, const struct store_job *job, void *ctx,
                              const struct error *error);

struct jobs_params {
    /* Opens the database, or says why not now: asked until it works, with growing pauses. Called on
     * the runner's threads. */
    enum err (*open)(void *ctx, struct store **out, struct error *error);
    void *ctx;
    int32_t threads;  /* 0 = 2 */
    int64_t lease_ms; /* 0 = 30 s */
    int64_t poll_ms;  /* PostgreSQL only; 0 = 10 s */
    int64_t retry_ms; /* the first pause before trying again, doubled each time; 0 = 2 s */
};

struct jobs *jobs_new(const struct jobs_params *params);
/* kind: letters and '_', lives as long as the runner. failed may be NULL. */
void jobs_register(struct jobs *jobs, const char *kind, job_fn fn, job_failed_fn failed, void *ctx);
/* look: see what waits in the database now; false: at the first jobs_wake. */
HT_MUST_CHECK enum err jobs_start(struct jobs *jobs, bool look, struct error *error);
/* Something was added or is to be tried again. */
void jobs_wake(struct jobs *jobs);
/* Something was cancelled: those that run are looked after at once. */
void jobs_recheck(struct jobs *jobs);
/* No job is taken any more, running ones see job_cancelled; returns at once. NULL is fine. */
void jobs_stop(struct jobs *jobs);
/* Waits for the handlers that still run; gives their jobs back. NULL is fine. */
void jobs_free(struct jobs *jobs);

/* ---- for handlers --------------------------------------------------------------------------- */

const struct store_job *job_info(const struct job_ctx *job);
struct store *job_store(const struct job_ctx *job);
/* Should be asked every now and then; true for good once it is. */
bool job_cancelled(const struct job_ctx *job);
/* The same for functions that take one: ctx is the struct job_ctx. */
bool job_cancelled_ctx(void *job);
/* For whoever looks at the job; cheap: written every now and then. what: a word, static. */
void job_progress(struct job_ctx *job, const char *what, int64_t done, int64_t total);
/* A string member of the payload, which lives as long as the job; ERR_INVALID if it is missing. */
HT_MUST_CHECK enum err job_payload_str(struct job_ctx *job, const char *name, const char **out,
                                       struct error *error);

#endif
