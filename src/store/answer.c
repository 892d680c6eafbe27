/* Kept answers; see store_answer.h. */
#include "base/clock.h"
#include "base/id.h"
#include "base/str.h"
#include "store/store_answer.h"
#include "store/store_int.h"

#define ANSWER_HEAD                                                                                \
    "id, COALESCE(user_id, ''), kind, state, previous_id, job_id, model, metadata, body,"          \
    " local_only, created_ms, updated_ms"
#define ANSWER_COLUMNS ANSWER_HEAD ", request, input, events"
#define OWN            "COALESCE(user_id, '') = $1"

static const char *const states[] = {
#define X(id, word) [STORE_ANSWER_##id] = word,
    STORE_ANSWER_STATES(X)
#undef X
};
static const char *const kinds[] = {
    [STORE_RESPONSE] = "response", [STORE_COMPLETION] = "completion"};

const char *store_answer_state_name(enum store_answer_state state)
{
    ht_assert(state < STORE_ANSWER_STATE_COUNT);
    return states[state];
}

static enum store_answer_state state_of(const char *word)
{
    for (int i = 0; i < STORE_ANSWER_STATE_COUNT; i++)
        if (str_eq(states[i], word)) return (enum store_answer_state)i;
    ht_bug("a state that the database's check lets through and this program does not know");
}

/* ---- reading ------------------------------------------------------------------------------- */

static enum err read_head(struct db_rows *rows, struct arena *a, struct store_answer *out,
                          struct error *error)
{
    enum err e = OK;
    bool response = str_eq(db_get_text(rows, 2), kinds[STORE_RESPONSE]);
    *out = (struct store_answer){.id = db_take_text(rows, 0, a, &e),
                                 .user_id = db_take_text(rows, 1, a, &e),
                                 .kind = response ? STORE_RESPONSE : STORE_COMPLETION,
                                 .state = state_of(db_get_text(rows, 3)),
                                 .previous_id = db_take_text(rows, 4, a, &e),
                                 .job_id = db_take_text(rows, 5, a, &e),
                                 .model = db_take_text(rows, 6, a, &e),
                                 .metadata = db_take_text(rows, 7, a, &e),
                                 .body = db_take_text(rows, 8, a, &e),
                                 .local_only = db_get_int(rows, 9) != 0,
                                 .created_ms = db_get_int(rows, 10),
                                 .updated_ms = db_get_int(rows, 11)};
    return e ? err_set(error, e, "the kept answer is too large to be read") : OK;
}

static enum err read_whole(struct db_rows *rows, struct arena *a, struct store_answer *out,
                           struct error *error)
{
    enum err e = read_head(rows, a, out, error);
    if (e) return e;
    out->request = db_take_text(rows, 12, a, &e);
    out->input = db_take_text(rows, 13, a, &e);
    out->events = db_take_text(rows, 14, a, &e);
    return e ? err_set(error, e, "the kept answer is too large to be read") : OK;
}

static enum err one(struct store *s, const char *sql, const struct db_value *args, size_t n,
                    bool whole, struct arena *a, struct store_answer *out, struct error *error)
{
    struct db *db;
    struct db_rows *rows = NULL;
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (e) return e;
    e = db_one(db, sql, args, n, "answer", &rows, error);
    if (!e) e = whole ? read_whole(rows, a, out, error) : read_head(rows, a, out, error);
    db_rows_free(rows);
    store_release(s, db);
    return e;
}

enum err store_answer_get(struct store *s, const char *user_id, enum store_answer_kind kind,
                          const char *id, struct arena *a, struct store_answer *out,
                          struct error *error)
{
    return one(s, "SELECT " ANSWER_COLUMNS " FROM answers WHERE " OWN " AND id = $2 AND kind = $3",
               DB_ARGS(db_text(user_id), db_text(id), db_text(kinds[kind])), true, a, out, error);
}

enum err store_answer_look(struct store *s, const char *user_id, const char *id, struct arena *a,
                           struct store_answer *out, struct error *error)
{
    return one(s, "SELECT " ANSWER_HEAD " FROM answers WHERE " OWN " AND id = $2",
               DB_ARGS(db_text(user_id), db_text(id)), false, a, out, error);
}

enum err store_answer_by_id(struct store *s, const char *id, struct arena *a,
                            struct store_answer *out, struct error *error)
{
    return one(s, "SELECT " ANSWER_COLUMNS " FROM answers WHERE id = $1", DB_ARGS(db_text(id)),
               true, a, out, error);
}

/* ---- listing ------------------------------------------------------------------------------- */

#define PAGE(than, order)                                                                          \
    "SELECT " ANSWER_HEAD " FROM answers WHERE " OWN " AND kind = $2"                              \
    " AND ($3 = '' OR model = $3)"                                                                 \
    " AND (created_ms " than " $4 OR (created_ms = $4 AND id " than " $5))"                        \
    " ORDER BY created_ms " order ", id " order " LIMIT $6"

static const char newest_first[] = PAGE("<", "DESC");
static const char oldest_first[] = PAGE(">", "ASC");

enum err store_answer_list(struct store *s, const char *user_id, enum store_answer_kind kind,
                           const struct store_answer_page *page, struct arena *a,
                           struct store_answer **out, size_t *n, struct error *error)
{
    struct db *db;
    struct db_rows *rows = NULL;
    bool has = true;
    int64_t ms;
    struct store_page_start start = {page->after, page->oldest_first, "answer"};
    ht_assert(page->limit >= 1 && page->limit <= STORE_ANSWER_PAGE_MAX + 1);
    *n = 0;
    *out = arena_calloc(a, (size_t)page->limit, sizeof **out);
    if (!*out) return err_set(error, ERR_NOMEM, "no memory for %d answers", page->limit);
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (e) return e;
    e = store_page_ms(db, "SELECT created_ms FROM answers WHERE " OWN " AND id = $2", user_id,
                      &start, &ms, error);
    if (!e)
        e = db_query(db, page->oldest_first ? oldest_first : newest_first,
                     DB_ARGS(db_text(user_id), db_text(kinds[kind]),
                             db_text(page->model ? page->model : ""), db_int(ms),
                             db_text(page->after ? page->after : ""), db_int(page->limit)),
                     &rows, error);
    while (!e && has) {
        e = db_next(rows, &has, error);
        if (!e && has) e = read_head(rows, a, &(*out)[(*n)++], error);
    }
    db_rows_free(rows);
    store_release(s, db);
    return e;
}

/* ---- writing ------------------------------------------------------------------------------- */

static enum err insert(struct db *db, const struct store_answer *x, struct error *error)
{
    int64_t now = clock_wall_ms();
    enum err e = db_run(
        db,
        "INSERT INTO answers (id, user_id, kind, state, previous_id, job_id, model, metadata,"
        " request, input, body, local_only, created_ms, updated_ms)"
        " VALUES ($1, NULLIF($2, ''), $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        DB_ARGS(db_text(x->id), db_text(x->user_id), db_text(kinds[x->kind]),
                db_text(states[x->state]), db_text(x->previous_id), db_text(x->job_id),
                db_text(x->model), db_text(x->metadata), db_text(x->request), db_text(x->input),
                db_text(x->body), db_int(x->local_only),
                db_int(x->created_ms ? x->created_ms : now), db_int(now)),
        NULL, error);
    if (e == ERR_NOT_FOUND) return err_set(error, e, "there is no such user");
    return e;
}

enum err store_answer_add(struct store *s, const struct store_answer *answer,
                          const struct store_job *job, struct error *error)
{
    struct db *db;
    struct store_answer x = *answer;
    struct store_job j = {0};
    char job_id[STORE_JOB_ID_MAX];
    enum err e = store_acquire(s, STORE_WRITE, &db, error);
    if (e) return e;
    if (job) {
        j = *job;
        id_uuid4(job_id);
        x.job_id = j.id = job_id;
        j.user_id = *x.user_id ? x.user_id : NULL;
    }
    e = db_begin(db, error);
    if (!e) e = insert(db, &x, error);
    if (!e && job) e = job_insert(db, &j, NULL, error);
    if (db->in_transaction) e = db_end(db, e, error);
    store_release(s, db);
    return e;
}

enum err store_answer_set_metadata(struct store *s, const char *user_id,
                                   enum store_answer_kind kind, const char *id,
                                   const char *metadata, struct error *error)
{
    return store_write(s,
                       "UPDATE answers SET metadata = $4, updated_ms = $5 WHERE " OWN
                       " AND id = $2 AND kind = $3",
                       DB_ARGS(db_text(user_id), db_text(id), db_text(kinds[kind]),
                               db_text(metadata), db_int(clock_wall_ms())),
                       "answer", error);
}

/* Of an answer that waits or is under way. */
#define CANCEL_JOB                                                                                 \
    "UPDATE jobs SET state = 'cancelled', lease_until_ms = NULL, updated_ms = $3"                  \
    " WHERE state IN ('queued', 'running')"                                                        \
    " AND id = (SELECT job_id FROM answers WHERE " OWN " AND id = $2)"

enum err store_answer_delete(struct store *s, const char *user_id, enum store_answer_kind kind,
                             const char *id, struct error *error)
{
    struct db *db;
    int64_t n = 0;
    enum err e = store_acquire(s, STORE_WRITE, &db, error);
    if (e) return e;
    e = db_begin(db, error);
    if (!e)
        e = db_run(db, CANCEL_JOB, DB_ARGS(db_text(user_id), db_text(id), db_int(clock_wall_ms())),
                   NULL, error);
    if (!e)
        e = db_run(db, "DELETE FROM answers WHERE " OWN " AND id = $2 AND kind = $3",
                   DB_ARGS(db_text(user_id), db_text(id), db_text(kinds[kind])), &n, error);
    if (!e && n == 0) e = err_set(error, ERR_NOT_FOUND, "there is no such answer");
    if (db->in_transaction) e = db_end(db, e, error);
    store_release(s, db);
    return e;
}

/* ---- in the background --------------------------------------------------------------------- */

#define UNFINISHED "state IN ('queued', 'in_progress')"

static enum err over(struct store *s, enum err e, const char *id, struct error *error)
{
    return store_other_state(s, e, "SELECT state FROM answers WHERE id = $1", id, "answer",
                             " already", error);
}

enum err store_answer_begin(struct store *s, const char *id, const char *body, bool local_only,
                            struct error *error)
{
    enum err e = store_write(
        s,
        "UPDATE answers SET state = 'in_progress', body = $2, updated_ms = $3,"
        " local_only = CASE WHEN $4 <> 0 THEN 1 ELSE local_only END"
        " WHERE id = $1 AND " UNFINISHED,
        DB_ARGS(db_text(id), db_text(body), db_int(clock_wall_ms()), db_int(local_only)), "answer",
        error);
    return over(s, e, id, error);
}

enum err store_answer_end(struct store *s, const struct store_answer *x, struct error *error)
{
    enum err e = store_write(s,
                             "UPDATE answers SET state = $2, model = $3, body = $4, events = $5,"
                             " request = NULL, updated_ms = $6 WHERE id = $1 AND " UNFINISHED,
                             DB_ARGS(db_text(x->id), db_text(states[x->state]), db_text(x->model),
                                     db_text(x->body), db_text(x->events), db_int(clock_wall_ms())),
                             "answer", error);
    return over(s, e, x->id, error);
}

enum err store_answer_cancel(struct store *s, const char *user_id, const char *id, const char *body,
                             struct error *error)
{
    struct db *db;
    int64_t now = clock_wall_ms();
    enum err e = store_acquire(s, STORE_WRITE, &db, error);
    if (e) return e;
    e = db_begin(db, error);
    if (!e)
        e = db_run(db, CANCEL_JOB, DB_ARGS(db_text(user_id), db_text(id), db_int(now)), NULL,
                   error);
    if (!e)
        e = db_run(db,
                   "UPDATE answers SET state = 'cancelled', body = $3, request = NULL,"
                   " updated_ms = $4 WHERE " OWN " AND id = $2 AND " UNFINISHED,
                   DB_ARGS(db_text(user_id), db_text(id), db_text(body), db_int(now)), NULL, error);
    if (db->in_transaction) e = db_end(db, e, error);
    store_release(s, db);
    return e;
}

enum err store_answer_sweep(struct store *s, int64_t before_ms, int64_t *n, struct error *error)
{
    struct db *db;
    enum err e = store_acquire(s, STORE_WRITE, &db, error);
    if (e) return e;
    e = db_run(db, "DELETE FROM answers WHERE created_ms < $1 AND NOT (" UNFINISHED ")",
               DB_ARGS(db_int(before_ms)), n, error);
    store_release(s, db);
    return e;
}
