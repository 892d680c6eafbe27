/* Batches: many requests in one file, answered when there is time, and the files of /v1/files that
 * they are read from and written to. The bytes of such a file lie with those of all files, by their
 * SHA-256 (src/files); it is not searchable.
 *
 *   validating --store_batch_begin--> in_progress --store_batch_finalize--> finalizing
 *       |                                |                                     |
 *       '--------store_batch_cancel------'--> cancelling                       |
 *                                                                              |
 *   all of them --store_batch_end--> completed, failed, expired, cancelled <---'
 *
 * A line that was answered is a row until the batch ends, when all of them become the output files:
 * whatever kills the hub, no line is answered twice in them, and none that was answered again.
 *
 * Files and batches belong to a user, or to nobody (""), as answers do (store_answer.h). */
#ifndef HEARTH_STORE_STORE_BATCH_H
#define HEARTH_STORE_STORE_BATCH_H

#include "base/arena.h"
#include "store/store.h"
#include "store/store_file.h"
#include "store/store_job.h"

enum { STORE_BATCH_PAGE_MAX = 10000 };

/* ---- files ---------------------------------------------------------------------------------- */

struct store_api_file {
    const char *id, *user_id; /* "" = nobody's */
    const char *purpose, *name, *sha256;
    int64_t bytes, created_ms, expires_ms; /* 0 = never; what has expired is not found */
};

/* id, user_id, purpose, name, sha256, bytes, expires_ms are used. */
HT_MUST_CHECK enum err store_api_file_add(struct store *s, const struct store_api_file *f,
                                          struct error *error);
HT_MUST_CHECK enum err store_api_file_get(struct store *s, const char *user_id, const char *id,
                                          struct arena *a, struct store_api_file *out,
                                          struct error *error);

struct store_batch_page {
    const char *after; /* id of the last one of the page before; NULL = from the beginning */
    bool oldest_first;
    int32_t limit; /* 1..STORE_BATCH_PAGE_MAX + 1: one more shows whether there are more */
};

/* purpose NULL = any. ERR_NOT_FOUND: `after` is none of the user's. */
HT_MUST_CHECK enum err store_api_file_list(struct store *s, const char *user_id,
                                           const char *purpose, const struct store_batch_page *page,
                                           struct arena *a, struct store_api_file **out, size_t *n,
                                           struct error *error);
/* sha256: of the bytes that may have to go now (src/files). */
HT_MUST_CHECK enum err store_api_file_delete(struct store *s, const char *user_id, const char *id,
                                             char sha256[STORE_SHA256_MAX], struct error *error);
/* One that has expired, with its id; ERR_NOT_FOUND: there is none. */
HT_MUST_CHECK enum err store_api_file_expire(struct store *s, char sha256[STORE_SHA256_MAX],
                                             struct error *error);

/* ---- batches -------------------------------------------------------------------------------- */

/* X(id, word) */
#define STORE_BATCH_STATES(X)                                                                      \
    X(VALIDATING, "validating")                                                                    \
    X(FAILED, "failed")                                                                            \
    X(IN_PROGRESS, "in_progress")                                                                  \
    X(FINALIZING, "finalizing")                                                                    \
    X(COMPLETED, "completed")                                                                      \
    X(EXPIRED, "expired")                                                                          \
    X(CANCELLING, "cancelling")                                                                    \
    X(CANCELLED, "cancelled")

enum store_batch_state {
#define X(id, word) STORE_BATCH_##id,
    STORE_BATCH_STATES(X)
#undef X
        STORE_BATCH_STATE_COUNT
};

const char *store_batch_state_name(enum store_batch_state state);

struct store_batch {
    const char *id, *user_id /* "" = nobody's */, *job_id;
    const char *key_id; /* the API key that it was asked for with; "" = with none */
    const char *endpoint, *input_file_id;
    const char *output_file_id, *error_file_id; /* NULL = there is none */
    enum store_batch_state state;
    const char *errors;               /* JSON array, of a failed one; else NULL */
    const char *metadata;             /* JSON object */
    const char *model;                /* of its first answer; NULL = not known */
    const char *usage;                /* JSON object; NULL = nothing was counted */
    int64_t total, completed, failed; /* lines */
    bool local_only;                  /* nothing of it may leave this machine */
    int64_t keep_output_s;            /* how long its output files stay; 0 = for good */
    int64_t created_ms, expires_ms;
    /* When it came to that; 0 = it did not. */
    int64_t in_progress_ms, finalizing_ms, completed_ms, failed_ms, expired_ms, cancelling_ms,
        cancelled_ms;
};

/* id, user_id, key_id, endpoint, input_file_id, metadata, local_only, keep_output_s, expires_ms are
 * used; of the job kind, payload, priority, max_attempts. */
HT_MUST_CHECK enum err store_batch_add(struct store *s, const struct store_batch *batch,
                                       const struct store_job *job, struct error *error);
HT_MUST_CHECK enum err store_batch_get(struct store *s, const char *user_id, const char *id,
                                       struct arena *a, struct store_batch *out,
                                       struct error *error);
/* Whoever's it is: for its job. */
HT_MUST_CHECK enum err store_batch_by_id(struct store *s, const char *id, struct arena *a,
                                         struct store_batch *out, struct error *error);
HT_MUST_CHECK enum err store_batch_list(struct store *s, const char *user_id,
                                        const struct store_batch_page *page, struct arena *a,
                                        struct store_batch **out, size_t *n, struct error *error);
/* It is to end: its job sees it. ERR_CONFLICT: it is over. */
HT_MUST_CHECK enum err store_batch_cancel(struct store *s, const char *user_id, const char *id,
                                          struct error *error);

/* For the job. ERR_CONFLICT: it is in another state by now (cancelling). */
HT_MUST_CHECK enum err store_batch_begin(struct store *s, const char *id, int64_t total,
                                         struct error *error);
HT_MUST_CHECK enum err store_batch_finalize(struct store *s, const char *id, struct error *error);

struct store_batch_line {
    int64_t line; /* of the input file, from 1 */
    bool failed;
    const char *text; /* of the output file, without a line break */
};

/* Keeps it, and counts it; a line that is there already is left as it was. usage and model: of the
 * batch now. ERR_CONFLICT: the batch is over. */
HT_MUST_CHECK enum err store_batch_add_line(struct store *s, const char *id,
                                            const struct store_batch_line *line, const char *usage,
                                            const char *model, struct error *error);
/* The next ones behind line `after`, `limit` at most. */
HT_MUST_CHECK enum err store_batch_lines(struct store *s, const char *id, int64_t after,
                                         int32_t limit, struct arena *a,
                                         struct store_batch_line **out, size_t *n,
                                         struct error *error);
/* Their numbers alone, ascending, in memory that the caller frees. */
HT_MUST_CHECK enum err store_batch_answered(struct store *s, const char *id, int64_t **out,
                                            size_t *n, struct error *error);
struct store_batch_end {
    enum store_batch_state state; /* COMPLETED, FAILED, EXPIRED or CANCELLED */
    const char *errors;           /* JSON array, why it failed; else NULL */
    /* Its files, whose records are added; NULL = nothing is to be told by it. */
    const struct store_api_file *output, *failed;
};

/* The end, once: ERR_NOT_FOUND when it is over. The lines go. All or nothing. */
HT_MUST_CHECK enum err store_batch_end(struct store *s, const char *id,
                                       const struct store_batch_end *end, struct error *error);

#endif
