/* Batches; see store_batch.h. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/mem.h"
#include "base/str.h"
#include "store/batch_int.h"
#include "store/store_batch.h"
#include "store/store_int.h"

enum { LINES_FIRST = 1024 };

#define BATCH_COLUMNS                                                                              \
    "id, COALESCE(user_id, ''), job_id, endpoint, input_file_id, output_file_id, error_file_id,"   \
    " state, errors, metadata, model, usage, total, completed, failed, local_only, keep_output_s," \
    " created_ms, expires_ms, in_progress_ms, finalizing_ms, completed_ms, failed_ms, expired_ms," \
    " cancelling_ms, cancelled_ms, key_id"
#define OWN        "COALESCE(user_id, '') = $1"
#define UNFINISHED "state IN ('validating', 'in_progress', 'finalizing', 'cancelling')"

static const char *const states[] = {
#define X(id, word) [STORE_BATCH_##id] = word,
    STORE_BATCH_STATES(X)
#undef X
};

const char *store_batch_state_name(enum store_batch_state state)
{
    ht_assert(state < STORE_BATCH_STATE_COUNT);
    return states[state];
}

static enum store_batch_state state_of(const char *word)
{
    for (int i = 0; i < STORE_BATCH_STATE_COUNT; i++)
        if (str_eq(states[i], word)) return (enum store_batch_state)i;
    ht_bug("a state that the database's check lets through and this program does not know");
}

/* ---- reading ------------------------------------------------------------------------------- */

static enum err read_batch(struct db_rows *rows, struct arena *a, struct store_batch *out,
                           struct error *error)
{
    enum err e = OK;
    *out = (struct store_batch){.id = db_take_text(rows, 0, a, &e),
                                .user_id = db_take_text(rows, 1, a, &e),
                                .job_id = db_take_text(rows, 2, a, &e),
                                .endpoint = db_take_text(rows, 3, a, &e),
                                .input_file_id = db_take_text(rows, 4, a, &e),
                                .output_file_id = db_take_text(rows, 5, a, &e),
                                .error_file_id = db_take_text(rows, 6, a, &e),
                                .state = state_of(db_get_text(rows, 7)),
                                .errors = db_take_text(rows, 8, a, &e),
                                .metadata = db_take_text(rows, 9, a, &e),
                                .model = db_take_text(rows, 10, a, &e),
                                .usage = db_take_text(rows, 11, a, &e),
                                .total = db_get_int(rows, 12),
                                .completed = db_get_int(rows, 13),
                                .failed = db_get_int(rows, 14),
                                .local_only = db_get_int(rows, 15) != 0,
                                .keep_output_s = db_get_int(rows, 16),
                                .created_ms = db_get_int(rows, 17),
                                .expires_ms = db_get_int(rows, 18),
                                .in_progress_ms = db_get_int(rows, 19),
                                .finalizing_ms = db_get_int(rows, 20),
                                .completed_ms = db_get_int(rows, 21),
                                .failed_ms = db_get_int(rows, 22),
                                .expired_ms = db_get_int(rows, 23),
                                .cancelling_ms = db_get_int(rows, 24),
                                .cancelled_ms = db_get_int(rows, 25),
                                .key_id = db_take_text(rows, 26, a, &e)};
    return e ? err_set(error, e, "no memory for a batch") : OK;
}

static enum err one(struct store *s, const char *sql, const struct db_value *args, size_t n,
                    struct arena *a, struct store_batch *out, struct error *error)
{
    struct db *db;
    struct db_rows *rows = NULL;
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (e) return e;
    e = db_one(db, sql, args, n, "batch", &rows, error);
    if (!e) e = read_batch(rows, a, out, error);
    db_rows_free(rows);
    store_release(s, db);
    return e;
}

enum err store_batch_get(struct store *s, const char *user_id, const char *id, struct arena *a,
                         struct store_batch *out, struct error *error)
{
    return one(s, "SELECT " BATCH_COLUMNS " FROM batches WHERE " OWN " AND id = $2",
               DB_ARGS(db_text(user_id), db_text(id)), a, out, error);
}

enum err store_batch_by_id(struct store *s, const char *id, struct arena *a,
                           struct store_batch *out, struct error *error)
{
    return one(s, "SELECT " BATCH_COLUMNS " FROM batches WHERE id = $1", DB_ARGS(db_text(id)), a,
               out, error);
}

#define PAGE(than, order)                                                                          \
    "SELECT " BATCH_COLUMNS " FROM batches WHERE " OWN " AND (created_ms " than                    \
    " $2 OR (created_ms = $2 AND id " than " $3))"                                                 \
    " ORDER BY created_ms " order ", id " order " LIMIT $4"

static const char newest_first[] = PAGE("<", "DESC");
static const char oldest_first[] = PAGE(">", "ASC");

enum err store_batch_list(struct store *s, const char *user_id, const struct store_batch_page *page,
                          struct arena *a, struct store_batch **out, size_t *n, struct error *error)
{
    struct db *db;
    struct db_rows *rows = NULL;
    bool has = true;
    int64_t ms;
    struct store_page_start start = {page->after, page->oldest_first, "page to go on"};
    ht_assert(page->limit >= 1 && page->limit <= STORE_BATCH_PAGE_MAX + 1);
    *n = 0;
    *out = arena_calloc(a, (size_t)page->limit, sizeof **out);
    if (!*out) return err_set(error, ERR_NOMEM, "no memory for %d batches", page->limit);
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (e) return e;
    e = store_page_ms(db, "SELECT created_ms FROM batches WHERE " OWN " AND id = $2", user_id,
                      &start, &ms, error);
    if (!e)
        e = db_query(db, page->oldest_first ? oldest_first : newest_first,
                     DB_ARGS(db_text(user_id), db_int(ms), db_text(page->after ? page->after : ""),
                             db_int(page->limit)),
                     &rows, error);
    while (!e && has) {
        e = db_next(rows, &has, error);
        if (!e && has) e = read_batch(rows, a, &(*out)[(*n)++], error);
    }
    db_rows_free(rows);
    store_release(s, db);
    return e;
}

/* ---- changing ------------------------------------------------------------------------------ */

static enum err insert(struct db *db, const struct store_batch *b, const char *job_id,
                       struct error *error)
{
    enum err e =
        db_run(db,
               "INSERT INTO batches (id, user_id, job_id, endpoint, input_file_id, state, metadata,"
               " local_only, keep_output_s, created_ms, expires_ms, key_id)"
               " VALUES ($1, NULLIF($2, ''), $3, $4, $5, 'validating', $6, $7, $8, $9, $10, $11)",
               DB_ARGS(db_text(b->id), db_text(b->user_id), db_text(job_id), db_text(b->endpoint),
                       db_text(b->input_file_id), db_text(b->metadata), db_int(b->local_only),
                       db_int(b->keep_output_s), db_int(clock_wall_ms()), db_int(b->expires_ms),
                       db_text(b->key_id)),
               NULL, error);
    return e == ERR_NOT_FOUND ? err_set(error, e, "there is no such user") : e;
}

enum err store_batch_add(struct store *s, const struct store_batch *b, const struct store_job *job,
                         struct error *error)
{
    struct db *db;
    struct store_job j = *job;
    char job_id[STORE_JOB_ID_MAX];
    enum err e = store_acquire(s, STORE_WRITE, &db, error);
    if (e) return e;
    id_uuid4(job_id);
    j.id = job_id;
    j.user_id = *b->user_id ? b->user_id : NULL;
    e = db_begin(db, error);
    if (!e) e = insert(db, b, job_id, error);
    if (!e) e = job_insert(db, &j, NULL, error);
    if (db->in_transaction) e = db_end(db, e, error);
    store_release(s, db);
    return e;
}

static enum err elsewhere(struct store *s, enum err e, const char *id, struct error *error)
{
    return store_other_state(s, e, "SELECT state FROM batches WHERE id = $1", id, "batch", "",
                             error);
}

enum err store_batch_cancel(struct store *s, const char *user_id, const char *id,
                            struct error *error)
{
    struct store_batch b;
    enum err e = store_write(s,
                             "UPDATE batches SET state = 'cancelling', cancelling_ms = $3"
                             " WHERE " OWN " AND id = $2 AND state IN ('validating', 'in_progress',"
                             " 'finalizing')",
                             DB_ARGS(db_text(user_id), db_text(id), db_int(clock_wall_ms())),
                             "batch", error);
    if (e != ERR_NOT_FOUND) return e;
    struct arena *a = arena_new(16 << 20);
    e = store_batch_get(s, user_id, id, a, &b, error);
    if (!e && b.state != STORE_BATCH_CANCELLING) /* that again is fine */
        e = err_set(error, ERR_CONFLICT,
                    "the batch is %s; only one that is not over can be "
                    "cancelled",
                    states[b.state]);
    arena_free(a);
    return e;
}

enum err store_batch_begin(struct store *s, const char *id, int64_t total, struct error *error)
{
    enum err e =
        store_write(s,
                    "UPDATE batches SET state = 'in_progress', total = $2, in_progress_ms = $3"
                    " WHERE id = $1 AND state = 'validating'",
                    DB_ARGS(db_text(id), db_int(total), db_int(clock_wall_ms())), "batch", error);
    return elsewhere(s, e, id, error);
}

enum err store_batch_finalize(struct store *s, const char *id, struct error *error)
{
    enum err e = store_write(s,
                             "UPDATE batches SET state = 'finalizing', finalizing_ms = $2"
                             " WHERE id = $1 AND state = 'in_progress'",
                             DB_ARGS(db_text(id), db_int(clock_wall_ms())), "batch", error);
    return elsewhere(s, e, id, error);
}

/* ---- lines --------------------------------------------------------------------------------- */

/* A batch that is over takes no lines: its answers are in its files, and nobody would ever remove
 * a row that came after them. Counting holds its row, so that it can't end in between. */
static enum err add_line(struct db *db, const char *id, const struct store_batch_line *line,
                         const char *usage, const char *model, struct error *error)
{
    int64_t added = 0, counted = 0;
    enum err e =
        db_run(db,
               "INSERT INTO batch_lines (batch_id, line, failed, text) VALUES ($1, $2, $3, $4)"
               " ON CONFLICT DO NOTHING",
               DB_ARGS(db_text(id), db_int(line->line), db_int(line->failed), db_text(line->text)),
               &added, error);
    if (e || !added) return e;
    e = db_run(db,
               "UPDATE batches SET completed = completed + 1 - $2, failed = failed + $2,"
               " usage = COALESCE($3, usage), model = COALESCE(model, $4)"
               " WHERE id = $1 AND " UNFINISHED,
               DB_ARGS(db_text(id), db_int(line->failed), db_text(usage), db_text(model)), &counted,
               error);
    if (!e && !counted) e = err_set(error, ERR_CONFLICT, "the batch is over");
    return e;
}

enum err store_batch_add_line(struct store *s, const char *id, const struct store_batch_line *line,
                              const char *usage, const char *model, struct error *error)
{
    struct db *db;
    enum err e = store_acquire(s, STORE_WRITE, &db, error);
    if (e) return e;
    e = db_begin(db, error);
    if (!e) e = add_line(db, id, line, usage, model, error);
    if (db->in_transaction) e = db_end(db, e, error);
    store_release(s, db);
    return e;
}

enum err store_batch_lines(struct store *s, const char *id, int64_t after, int32_t limit,
                           struct arena *a, struct store_batch_line **out, size_t *n,
                           struct error *error)
{
    struct db *db;
    struct db_rows *rows = NULL;
    bool has = true;
    *n = 0;
    *out = arena_calloc(a, (size_t)limit, sizeof **out);
    if (!*out) return err_set(error, ERR_NOMEM, "no memory for %d lines", limit);
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (e) return e;
    e = db_query(db,
                 "SELECT line, failed, text FROM batch_lines WHERE batch_id = $1 AND line > $2"
                 " ORDER BY line LIMIT $3",
                 DB_ARGS(db_text(id), db_int(after), db_int(limit)), &rows, error);
    while (!e && has) {
        e = db_next(rows, &has, error);
        if (e || !has) break;
        (*out)[*n] = (struct store_batch_line){db_get_int(rows, 0), db_get_int(rows, 1) != 0,
                                               db_take_text(rows, 2, a, &e)};
        if (e && *n) { /* the rest comes with the next call */
            e = OK;
            break;
        }
        ++*n;
    }
    if (e == ERR_NOMEM) err_set(error, e, "no memory for the lines of a batch");
    db_rows_free(rows);
    store_release(s, db);
    return e;
}

enum err store_batch_answered(struct store *s, const char *id, int64_t **out, size_t *n,
                              struct error *error)
{
    struct db *db;
    struct db_rows *rows = NULL;
    bool has = true;
    size_t room = LINES_FIRST;
    int64_t *list = xcalloc(room, sizeof *list);
    *n = 0;
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (e) {
        free(list);
        return e;
    }
    e = db_query(db, "SELECT line FROM batch_lines WHERE batch_id = $1 ORDER BY line",
                 DB_ARGS(db_text(id)), &rows, error);
    while (!e && has) {
        e = db_next(rows, &has, error);
        if (e || !has) break;
        if (*n == room) {
            int64_t *more = try_realloc(list, room *= 2, sizeof *list);
            if (!more) e = err_set(error, ERR_NOMEM, "no memory for the lines of a batch");
            if (more) list = more;
        }
        if (!e) list[(*n)++] = db_get_int(rows, 0);
    }
    db_rows_free(rows);
    store_release(s, db);
    if (e)
        free(list);
    else
        *out = list;
    return e;
}

/* ---- the end ------------------------------------------------------------------------------- */

static enum err write_end(struct db *db, const char *id, const struct store_batch_end *end,
                          struct error *error)
{
    int64_t n = 0;
    enum err e = db_run(db,
                        "UPDATE batches SET state = $2, output_file_id = $3, error_file_id = $4,"
                        " errors = COALESCE($6, errors),"
                        " failed = CASE WHEN $2 = 'expired' THEN total - completed ELSE failed END,"
                        " completed_ms = CASE WHEN $2 = 'completed' THEN $5 ELSE completed_ms END,"
                        " failed_ms = CASE WHEN $2 = 'failed' THEN $5 ELSE failed_ms END,"
                        " expired_ms = CASE WHEN $2 = 'expired' THEN $5 ELSE expired_ms END,"
                        " cancelled_ms = CASE WHEN $2 = 'cancelled' THEN $5 ELSE cancelled_ms END"
                        " WHERE id = $1 AND " UNFINISHED,
                        DB_ARGS(db_text(id), db_text(states[end->state]),
                                db_text(end->output ? end->output->id : NULL),
                                db_text(end->failed ? end->failed->id : NULL),
                                db_int(clock_wall_ms()), db_text(end->errors)),
                        &n, error);
    if (!e && n == 0) e = err_set(error, ERR_NOT_FOUND, "the batch is gone, or over");
    if (!e && end->output) e = api_file_insert(db, end->output, error);
    if (!e && end->failed) e = api_file_insert(db, end->failed, error);
    if (!e)
        e = db_run(db, "DELETE FROM batch_lines WHERE batch_id = $1", DB_ARGS(db_text(id)), NULL,
                   error);
    return e;
}

enum err store_batch_end(struct store *s, const char *id, const struct store_batch_end *end,
                         struct error *error)
{
    struct db *db;
    enum err e = store_acquire(s, STORE_WRITE, &db, error);
    if (e) return e;
    e = db_begin(db, error);
    if (!e) e = write_end(db, id, end, error);
    if (db->in_transaction) e = db_end(db, e, error);
    store_release(s, db);
    return e;
}
