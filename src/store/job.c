/* Durable jobs; see store_job.h. */
#include "base/clock.h"
#include "base/str.h"
#include "store/store_file.h"
#include "store/store_int.h"
#include "store/store_job.h"

enum { JOB_PAGE_MAX = 1000 };

#define JOB_COLUMNS                                                                                \
    "id, kind, user_id, idempotency_key, payload, progress, error, state, priority, attempts,"     \
    " max_attempts, run_after_ms, COALESCE(lease_until_ms, 0), created_ms, updated_ms"

static const char *const states[] = {
#define X(id, word) [STORE_JOB_##id] = word,
    STORE_JOB_STATES(X)
#undef X
};

const char *store_job_state_name(enum store_job_state state)
{
    ht_assert(state < STORE_JOB_STATE_COUNT);
    return states[state];
}

static enum store_job_state state_of(const char *word)
{
    for (int i = 0; i < STORE_JOB_STATE_COUNT; i++)
        if (str_eq(states[i], word)) return (enum store_job_state)i;
    ht_bug("a state that the database's check lets through and this program does not know");
}

static enum err read_job(struct db_rows *rows, struct arena *a, struct store_job *out,
                         struct error *error)
{
    enum err e = OK;
    *out = (struct store_job){.id = db_take_text(rows, 0, a, &e),
                              .kind = db_take_text(rows, 1, a, &e),
                              .user_id = db_take_text(rows, 2, a, &e),
                              .key = db_take_text(rows, 3, a, &e),
                              .payload = db_take_text(rows, 4, a, &e),
                              .progress = db_take_text(rows, 5, a, &e),
                              .error = db_take_text(rows, 6, a, &e),
                              .state = state_of(db_get_text(rows, 7)),
                              .priority = (int32_t)db_get_int(rows, 8),
                              .attempts = (int32_t)db_get_int(rows, 9),
                              .max_attempts = (int32_t)db_get_int(rows, 10),
                              .run_after_ms = db_get_int(rows, 11),
                              .lease_until_ms = db_get_int(rows, 12),
                              .created_ms = db_get_int(rows, 13),
                              .updated_ms = db_get_int(rows, 14)};
    return e ? err_set(error, e, "no memory for a job") : OK;
}

/* ---- adding -------------------------------------------------------------------------------- */

static enum err find_by_key(struct db *db, const char *key, char id[STORE_JOB_ID_MAX],
                            struct error *error)
{
    struct db_rows *rows;
    enum err e = db_one(db,
                        "SELECT id FROM jobs WHERE idempotency_key = $1"
                        " AND state IN ('queued', 'running')",
                        DB_ARGS(db_text(key)), "job", &rows, error);
    if (e) return e;
    str_copy(id, STORE_JOB_ID_MAX, db_get_text(rows, 0));
    db_rows_free(rows);
    return OK;
}

enum err job_insert(struct db *db, const struct store_job *job, int64_t *added, struct error *error)
{
    int64_t now = clock_wall_ms();
    return db_run(db,
                  "INSERT INTO jobs (id, kind, user_id, idempotency_key, payload, state, priority,"
                  " max_attempts, run_after_ms, created_ms, updated_ms)"
                  " VALUES ($1, $2, $3, $4, $5, 'queued', $6, $7, $8, $9, $9)"
                  " ON CONFLICT (idempotency_key) WHERE state IN ('queued', 'running') DO NOTHING",
                  DB_ARGS(db_text(job->id), db_text(job->kind), db_text(job->user_id),
                          db_text(job->key), db_text(job->payload ? job->payload : "{}"),
                          db_int(job->priority),
                          db_int(job->max_attempts > 0 ? job->max_attempts : 5),
                          db_int(job->run_after_ms ? job->run_after_ms : now), db_int(now)),
                  added, error);
}

enum err store_job_add(struct store *s, const struct store_job *job, char id[STORE_JOB_ID_MAX],
                       struct error *error)
{
    struct db *db;
    int64_t added = 0;
    enum err e = store_acquire(s, STORE_WRITE, &db, error);
    if (e) return e;
    do { /* the job that had the key may end between the two statements */
        e = job_insert(db, job, &added, error);
        if (!e && added) str_copy(id, STORE_JOB_ID_MAX, job->id);
        if (!e && !added) e = find_by_key(db, job->key, id, error);
    } while (e == ERR_NOT_FOUND && !added && job->key);
    store_release(s, db);
    return e;
}

/* ---- working ------------------------------------------------------------------------------- */

/* A lease that ran out: its worker died, or was cut off. A job that may not be tried again fails.
 */
#define WORDLESS "its worker ended without a word, as often as it may be tried"

static enum err fail_one(struct db *db, int64_t now, bool *found, struct error *error)
{
    char id[STORE_JOB_ID_MAX];
    int64_t failed = 0;
    struct db_rows *rows;
    enum err e = db_one(db,
                        "SELECT id FROM jobs WHERE state = 'running' AND lease_until_ms <= $1"
                        " AND attempts >= max_attempts LIMIT 1",
                        DB_ARGS(db_int(now)), "job", &rows, error);
    *found = !e;
    if (e) return e == ERR_NOT_FOUND ? OK : e;
    str_copy(id, sizeof id, db_get_text(rows, 0));
    db_rows_free(rows);
    e = db_begin(db, error);
    if (e) return e;
    e = db_run(db,
               "UPDATE jobs SET state = 'failed', updated_ms = $2, lease_until_ms = NULL,"
               " error = $3 WHERE id = $1 AND state = 'running' AND lease_until_ms <= $2",
               DB_ARGS(db_text(id), db_int(now), db_text(WORDLESS)), &failed, error);
    /* Its worker may have renewed the lease, or ended, since it was looked at. */
    if (!e && failed) e = file_of_job_failed(db, id, WORDLESS, error);
    return db_end(db, e, error);
}

static enum err reclaim(struct db *db, int64_t now, struct error *error)
{
    bool found = true;
    enum err e = OK;
    while (!e && found) e = fail_one(db, now, &found, error);
    if (e) return e;
    return db_run(db,
                  "UPDATE jobs SET state = 'queued', updated_ms = $1, lease_until_ms = NULL,"
                  " run_after_ms = $1 WHERE state = 'running' AND lease_until_ms <= $1"
                  " AND attempts < max_attempts",
                  DB_ARGS(db_int(now)), NULL, error);
}

#define KINDS " AND ($2 = '' OR $2 LIKE '%,' || kind || ',%')"
#define TAKE(lock)                                                                                 \
    "UPDATE jobs SET state = 'running', worker = $3, lease_until_ms = $4, updated_ms = $1,"        \
    " attempts = attempts + 1 WHERE id = (SELECT id FROM jobs"                                     \
    " WHERE state = 'queued' AND run_after_ms <= $1" KINDS                                         \
    " ORDER BY priority, run_after_ms, n LIMIT 1" lock ") RETURNING " JOB_COLUMNS

enum err store_job_take(struct store *s, const char *worker, const char *kinds, int64_t lease_ms,
                        struct arena *a, struct store_job *out, struct error *error)
{
    struct db *db;
    struct db_rows *rows = NULL;
    bool has = true;
    int64_t now = clock_wall_ms();
    enum err e = store_acquire(s, STORE_WRITE, &db, error);
    if (e) return e;
    e = reclaim(db, now, error);
    if (!e)
        e = db_one(db, db_sql(db, TAKE(""), TAKE(" FOR UPDATE SKIP LOCKED")),
                   DB_ARGS(db_int(now), db_text(kinds ? kinds : ""), db_text(worker),
                           db_int(now + lease_ms)),
                   "job", &rows, error);
    if (!e) e = read_job(rows, a, out, error);
    while (!e && has) e = db_next(rows, &has, error); /* to its end, so that it is done */
    db_rows_free(rows);
    store_release(s, db);
    return e;
}

/* Why a statement for a running job of this worker found none. */
static enum err lost(struct store *s, const char *id, struct error *error)
{
    struct db *db;
    struct db_rows *rows;
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (e) return e;
    e = db_one(db, "SELECT state FROM jobs WHERE id = $1", DB_ARGS(db_text(id)), "job", &rows,
               error);
    if (!e) {
        bool cancelled = state_of(db_get_text(rows, 0)) == STORE_JOB_CANCELLED;
        e = cancelled ? err_set(error, ERR_CANCELLED, "the job was cancelled")
                      : err_set(error, ERR_CONFLICT, "another worker has the job now");
        db_rows_free(rows);
    }
    store_release(s, db);
    return e;
}

static enum err change_own(struct store *s, const char *sql, const struct db_value *args, size_t n,
                           struct error *error)
{
    enum err e = store_write(s, sql, args, n, "job", error);
    return e == ERR_NOT_FOUND ? lost(s, args[0].data, error) : e;
}

#define OWN " WHERE id = $1 AND worker = $2 AND state = 'running'"

enum err store_job_renew(struct store *s, const char *id, const char *worker, int64_t lease_ms,
                         const char *progress, struct error *error)
{
    int64_t now = clock_wall_ms();
    return change_own(s,
                      "UPDATE jobs SET lease_until_ms = $3, updated_ms = $4,"
                      " progress = COALESCE($5, progress)" OWN,
                      DB_ARGS(db_text(id), db_text(worker), db_int(now + lease_ms), db_int(now),
                              db_text(progress)),
                      error);
}

enum err store_job_done(struct store *s, const char *id, const char *worker, struct error *error)
{
    return change_own(s,
                      "UPDATE jobs SET state = 'done', lease_until_ms = NULL, error = NULL,"
                      " updated_ms = $3" OWN,
                      DB_ARGS(db_text(id), db_text(worker), db_int(clock_wall_ms())), error);
}

enum err store_job_fail(struct store *s, const char *id, const char *worker, const char *why,
                        int64_t run_after_ms, struct error *error)
{
    return change_own(
        s,
        "UPDATE jobs SET state = CASE WHEN $4 > 0 AND attempts < max_attempts THEN 'queued'"
        " ELSE 'failed' END, error = $3, run_after_ms = $4, lease_until_ms = NULL,"
        " updated_ms = $5" OWN,
        DB_ARGS(db_text(id), db_text(worker), db_text(why), db_int(run_after_ms),
                db_int(clock_wall_ms())),
        error);
}

enum err store_job_give_back(struct store *s, const char *id, const char *worker,
                             struct error *error)
{
    return change_own(s,
                      "UPDATE jobs SET state = 'queued', lease_until_ms = NULL, updated_ms = $3,"
                      " run_after_ms = $3, attempts = attempts - 1" OWN,
                      DB_ARGS(db_text(id), db_text(worker), db_int(clock_wall_ms())), error);
}

enum err store_job_workers(struct store *s, struct arena *a, const char ***out, size_t *n,
                           struct error *error)
{
    struct db *db;
    struct db_rows *rows = NULL;
    bool has = true;
    *n = 0;
    *out = arena_calloc(a, JOB_PAGE_MAX, sizeof **out);
    if (!*out) return err_set(error, ERR_NOMEM, "no memory for the workers");
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (e) return e;
    e = db_query(db,
                 "SELECT DISTINCT worker FROM jobs WHERE state = 'running' AND worker IS NOT NULL"
                 " LIMIT $1",
                 DB_ARGS(db_int(JOB_PAGE_MAX)), &rows, error);
    while (!e && has) {
        e = db_next(rows, &has, error);
        if (!e && has) (*out)[(*n)++] = db_take_text(rows, 0, a, &e);
    }
    db_rows_free(rows);
    store_release(s, db);
    return e;
}

enum err store_job_worker_died(struct store *s, const char *worker, struct error *error)
{
    return store_write(s,
                       "UPDATE jobs SET lease_until_ms = 0 WHERE state = 'running'"
                       " AND worker = $1",
                       DB_ARGS(db_text(worker)), NULL, error);
}

/* ---- looking ------------------------------------------------------------------------------- */

enum err store_job_get(struct store *s, const char *user_id, const char *id, struct arena *a,
                       struct store_job *out, struct error *error)
{
    struct db *db;
    struct db_rows *rows = NULL;
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (e) return e;
    e = db_one(db, "SELECT " JOB_COLUMNS " FROM jobs WHERE id = $1 AND ($2 = '' OR user_id = $2)",
               DB_ARGS(db_text(id), db_text(user_id ? user_id : "")), "job", &rows, error);
    if (!e) e = read_job(rows, a, out, error);
    db_rows_free(rows);
    store_release(s, db);
    return e;
}

enum err store_job_list(struct store *s, const char *user_id, int state, int32_t limit,
                        struct arena *a, struct store_job **out, size_t *n, struct error *error)
{
    struct db *db;
    struct db_rows *rows = NULL;
    bool has = true;
    if (limit < 1 || limit > JOB_PAGE_MAX) limit = JOB_PAGE_MAX;
    *n = 0;
    *out = arena_calloc(a, (size_t)limit, sizeof **out);
    if (!*out) return err_set(error, ERR_NOMEM, "no memory for %d jobs", limit);
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (e) return e;
    e = db_query(db,
                 "SELECT " JOB_COLUMNS " FROM jobs WHERE ($1 = '' OR user_id = $1)"
                 " AND ($2 = '' OR state = $2) ORDER BY n DESC LIMIT $3",
                 DB_ARGS(db_text(user_id ? user_id : ""), db_text(state < 0 ? "" : states[state]),
                         db_int(limit)),
                 &rows, error);
    while (!e && has) {
        e = db_next(rows, &has, error);
        if (!e && has) e = read_job(rows, a, &(*out)[(*n)++], error);
    }
    db_rows_free(rows);
    store_release(s, db);
    return e;
}

enum err store_job_next_ms(struct store *s, const char *kinds, int64_t *in_ms, struct error *error)
{
    struct db *db;
    int64_t at;
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (e) return e;
    e = db_number(db,
                  "SELECT COALESCE(MIN(CASE WHEN state = 'queued' THEN run_after_ms"
                  " ELSE lease_until_ms END), -1) FROM jobs WHERE state IN ('queued', 'running')"
                  " AND ($1 = '' OR $1 LIKE '%,' || kind || ',%')",
                  DB_ARGS(db_text(kinds ? kinds : "")), &at, error);
    store_release(s, db);
    if (e) return e;
    int64_t now = clock_wall_ms();
    *in_ms = at < 0 ? -1 : at > now ? at - now : 0;
    return OK;
}

/* ---- from outside --------------------------------------------------------------------------- */

/* What one statement does to a job, and then to its file. Not found may mean: not in this state. */
static enum err change_any(struct store *s, const char *user_id, const char *id, const char *sql,
                           const char *file_failed, const char *otherwise, struct error *error)
{
    struct db *db;
    int64_t changed = 0;
    enum err e = store_acquire(s, STORE_WRITE, &db, error);
    if (e) return e;
    e = db_begin(db, error);
    if (!e) {
        e = db_run(db, sql,
                   DB_ARGS(db_text(id), db_text(user_id ? user_id : ""), db_int(clock_wall_ms())),
                   &changed, error);
        if (!e && changed)
            e = file_failed ? file_of_job_failed(db, id, file_failed, error)
                            : file_of_job_queued(db, id, error);
        e = db_end(db, e, error);
    }
    store_release(s, db);
    if (e || changed) return e;
    struct store_job job;
    struct arena *a = arena_new(1 << 20);
    e = store_job_get(s, user_id, id, a, &job, error);
    if (!e) e = err_set(error, ERR_CONFLICT, "the job is %s; %s", states[job.state], otherwise);
    arena_free(a);
    return e;
}

enum err store_job_cancel(struct store *s, const char *user_id, const char *id, struct error *error)
{
    return change_any(s, user_id, id,
                      "UPDATE jobs SET state = 'cancelled', lease_until_ms = NULL, updated_ms = $3"
                      " WHERE id = $1 AND ($2 = '' OR user_id = $2)"
                      " AND state IN ('queued', 'running')",
                      STORE_FILE_CANCELLED, "only one that waits or runs can be cancelled", error);
}

enum err store_job_retry(struct store *s, const char *user_id, const char *id, struct error *error)
{
    return change_any(s, user_id, id,
                      "UPDATE jobs SET state = 'queued', attempts = 0, error = NULL,"
                      " run_after_ms = $3, updated_ms = $3"
                      " WHERE id = $1 AND ($2 = '' OR user_id = $2)"
                      " AND state IN ('failed', 'cancelled')",
                      NULL, "only one that failed or was cancelled can be tried again", error);
}
