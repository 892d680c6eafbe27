/* Durable jobs: background work that a crash must not lose. A job is taken under a lease by one
 * worker at a time; a worker that dies lets the lease run out, and the job is taken again.
 *
 *   queued --store_job_take--> running --store_job_done--> done
 *                                 |---store_job_fail--> queued (later) or failed
 *                                 |---store_job_give_back--> queued
 *   queued, running --store_job_cancel--> cancelled
 *   failed, cancelled --store_job_retry--> queued
 *
 * A running job that is cancelled learns it from store_job_renew and stops. */
#ifndef HEARTH_STORE_STORE_JOB_H
#define HEARTH_STORE_STORE_JOB_H

#include "base/arena.h"
#include "store/store.h"

enum { STORE_JOB_ID_MAX = 64 };

/* X(id, word) */
#define STORE_JOB_STATES(X)                                                                        \
    X(QUEUED, "queued")                                                                            \
    X(RUNNING, "running")                                                                          \
    X(DONE, "done")                                                                                \
    X(FAILED, "failed")                                                                            \
    X(CANCELLED, "cancelled")

enum store_job_state {
#define X(id, word) STORE_JOB_##id,
    STORE_JOB_STATES(X)
#undef X
        STORE_JOB_STATE_COUNT
};

struct store_job {
    const char *id, *kind;
    const char *user_id; /* NULL: the hub's own */
    const char *key;     /* idempotency: one unfinished job per key; NULL = none */
    const char *payload; /* JSON */
    const char *progress /* JSON */, *error /* may be NULL */;
    enum store_job_state state;
    int32_t priority; /* lower first */
    int32_t attempts, max_attempts;
    int64_t run_after_ms, lease_until_ms, created_ms, updated_ms;
};

/* id, kind, user_id, key, payload, priority, max_attempts, run_after_ms of `job` are used. With a
 * key that an unfinished job has, nothing is added and *id is that job's. */
HT_MUST_CHECK enum err store_job_add(struct store *s, const struct store_job *job,
                                     char id[STORE_JOB_ID_MAX], struct error *error);
/* The most important one that is due, also one whose lease has run out (its worker died; after
 * max_attempts it fails instead). kinds: ",this,that," or NULL = all. ERR_NOT_FOUND: there is none.
 */
HT_MUST_CHECK enum err store_job_take(struct store *s, const char *worker, const char *kinds,
                                      int64_t lease_ms, struct arena *a, struct store_job *out,
                                      struct error *error);
/* ERR_CANCELLED: somebody cancelled it; ERR_CONFLICT: the lease was lost to another worker. */
HT_MUST_CHECK enum err store_job_renew(struct store *s, const char *id, const char *worker,
                                       int64_t lease_ms, const char *progress, struct error *error);
HT_MUST_CHECK enum err store_job_done(struct store *s, const char *id, const char *worker,
                                      struct error *error);
/* Again at run_after_ms if attempts are left, else failed; run_after_ms 0 = failed at once. */
HT_MUST_CHECK enum err store_job_fail(struct store *s, const char *id, const char *worker,
                                      const char *why, int64_t run_after_ms, struct error *error);

/* Not done, and not to be counted as a try: the worker stops. */
HT_MUST_CHECK enum err store_job_give_back(struct store *s, const char *id, const char *worker,
                                           struct error *error);
/* Who has running jobs; and that one of them is dead, so that nobody waits for its leases. */
HT_MUST_CHECK enum err store_job_workers(struct store *s, struct arena *a, const char ***out,
                                         size_t *n, struct error *error);
HT_MUST_CHECK enum err store_job_worker_died(struct store *s, const char *worker,
                                             struct error *error);

/* user_id NULL: anybody's (for the hub's own commands). */
HT_MUST_CHECK enum err store_job_get(struct store *s, const char *user_id, const char *id,
                                     struct arena *a, struct store_job *out, struct error *error);
HT_MUST_CHECK enum err store_job_list(struct store *s, const char *user_id, int state /* -1 all */,
                                      int32_t limit, struct arena *a, struct store_job **out,
                                      size_t *n, struct error *error);
/* ERR_CONFLICT: it is over already. */
HT_MUST_CHECK enum err store_job_cancel(struct store *s, const char *user_id, const char *id,
                                        struct error *error);
/* ERR_CONFLICT: it is not over. */
HT_MUST_CHECK enum err store_job_retry(struct store *s, const char *user_id, const char *id,
                                       struct error *error);
/* Milliseconds until a job of these kinds is due, or a lease over; -1 = none is waiting. */
HT_MUST_CHECK enum err store_job_next_ms(struct store *s, const char *kinds, int64_t *in_ms,
                                         struct error *error);
const char *store_job_state_name(enum store_job_state state);

#endif
