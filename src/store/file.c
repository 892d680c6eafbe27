/* Files: what is known of them; see store_file.h. */
#include "base/buf.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/str.h"
#include "store/store_file.h"
#include "store/store_int.h"

#define FILE_COLUMNS                                                                               \
    "f.n, f.id, f.user_id, f.collection_id, c.n, f.name, f.sha256, f.bytes, f.type, f.status,"     \
    " f.done, f.total, f.error, f.n_chunks, f.n_pages, f.meta, f.source, f.source_ms,"             \
    " f.created_ms, f.updated_ms, f.local_only"
#define FROM_FILES " FROM files f JOIN collections c ON c.id = f.collection_id"
/* What the user $1 may see. */
#define SEEN "(f.user_id = $1 OR f.user_id IS NULL)"

static const char *const states[] = {
#define X(id, word) [STORE_FILE_##id] = word,
    STORE_FILE_STATES(X)
#undef X
};

const char *store_file_status_name(enum store_file_status status)
{
    ht_assert(status < STORE_FILE_STATUS_COUNT);
    return states[status];
}

int store_file_status_of(const char *word)
{
    for (int i = 0; i < STORE_FILE_STATUS_COUNT; i++)
        if (str_eq(states[i], word)) return i;
    return -1;
}

/* "file:<id>": a file has one unfinished job at a time. */
static void job_key(const char *id, char key[STORE_ID_MAX + 8])
{
    str_printf(key, STORE_ID_MAX + 8, "file:%s", id);
}

/* ---- reading ------------------------------------------------------------------------------- */

static enum err read_file(struct db_rows *rows, struct arena *a, struct store_file *out,
                          struct error *error)
{
    enum err e = OK;
    int status = store_file_status_of(db_get_text(rows, 9));
    ht_assert(status >= 0); /* the database checks it */
    *out = (struct store_file){.n = db_get_int(rows, 0),
                               .id = db_take_text(rows, 1, a, &e),
                               .user_id = db_take_text(rows, 2, a, &e),
                               .collection_id = db_take_text(rows, 3, a, &e),
                               .collection_n = db_get_int(rows, 4),
                               .name = db_take_text(rows, 5, a, &e),
                               .sha256 = db_take_text(rows, 6, a, &e),
                               .bytes = db_get_int(rows, 7),
                               .type = db_take_text(rows, 8, a, &e),
                               .status = (enum store_file_status)status,
                               .done = db_get_int(rows, 10),
                               .total = db_get_int(rows, 11),
                               .error = db_take_text(rows, 12, a, &e),
                               .n_chunks = db_get_int(rows, 13),
                               .n_pages = db_get_int(rows, 14),
                               .meta = db_take_text(rows, 15, a, &e),
                               .source = db_take_text(rows, 16, a, &e),
                               .source_ms = db_get_int(rows, 17),
                               .created_ms = db_get_int(rows, 18),
                               .updated_ms = db_get_int(rows, 19),
                               .local_only = db_get_int(rows, 20) != 0};
    return e ? err_set(error, e, "no memory for a file's record") : OK;
}

static enum err one(struct store *s, const char *sql, const struct db_value *args, size_t n,
                    struct arena *a, struct store_file *out, struct error *error)
{
    struct db *db;
    struct db_rows *rows = NULL;
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (e) return e;
    e = db_one(db, sql, args, n, "file", &rows, error);
    if (!e) e = read_file(rows, a, out, error);
    db_rows_free(rows);
    store_release(s, db);
    return e;
}

static enum err many(struct store *s, const char *sql, const struct db_value *args, size_t n_args,
                     int32_t limit, struct arena *a, struct store_file **out, size_t *n,
                     struct error *error)
{
    struct db *db;
    struct db_rows *rows = NULL;
    bool has = true;
    ht_assert(limit >= 1 && limit <= STORE_FILE_PAGE_MAX);
    *n = 0;
    *out = arena_calloc(a, (size_t)limit, sizeof **out);
    if (!*out) return err_set(error, ERR_NOMEM, "no memory for %d files", limit);
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (e) return e;
    e = db_query(db, sql, args, n_args, &rows, error);
    while (!e && has) {
        e = db_next(rows, &has, error);
        if (!e && has) e = read_file(rows, a, &(*out)[(*n)++], error);
    }
    db_rows_free(rows);
    store_release(s, db);
    return e;
}

enum err store_file_get(struct store *s, const char *user_id, const char *id, struct arena *a,
                        struct store_file *out, struct error *error)
{
    return one(s, "SELECT " FILE_COLUMNS FROM_FILES " WHERE f.id = $2 AND " SEEN,
               DB_ARGS(db_text(user_id), db_text(id)), a, out, error);
}

enum err store_file_by_id(struct store *s, const char *id, struct arena *a, struct store_file *out,
                          struct error *error)
{
    return one(s, "SELECT " FILE_COLUMNS FROM_FILES " WHERE f.id = $1", DB_ARGS(db_text(id)), a,
               out, error);
}

#define PAGE                                                                                       \
    " AND ($2 = '' OR f.status = $2)"                                                              \
    " AND (f.created_ms < $3 OR (f.created_ms = $3 AND f.id < $4))"                                \
    " AND ($5 = '' OR LOWER(f.name) LIKE LOWER($5) ESCAPE '\\')"                                   \
    " ORDER BY f.created_ms DESC, f.id DESC LIMIT $6"

static const char own_files[] =
    "SELECT " FILE_COLUMNS FROM_FILES " WHERE f.user_id = $1 AND $7 = ''" PAGE;
static const char collected_files[] =
    "SELECT " FILE_COLUMNS FROM_FILES " WHERE " SEEN " AND f.collection_id = $7" PAGE;

/* "%" around the words, their own wildcards quoted; "" for none. */
static enum err like_pattern(const char *words, char *dst, size_t size, struct error *error)
{
    struct buf b;
    buf_init_fixed(&b, dst, size);
    if (!words) return OK;
    buf_putc(&b, '%');
    for (; *words; words++) {
        if (*words == '%' || *words == '_' || *words == '\\') buf_putc(&b, '\\');
        buf_putc(&b, *words);
    }
    buf_putc(&b, '%');
    if (!b.err) return OK;
    return err_set_param(error, ERR_INVALID, "search", "the search is too long");
}

enum err store_file_list(struct store *s, const char *user_id, const struct store_file_page *page,
                         struct arena *a, struct store_file **out, size_t *n, struct error *error)
{
    char like[2 * STORE_FILE_NAME_MAX + 8] = "";
    enum err e = like_pattern(page->search, like, sizeof like, error);
    if (e) return e;
    const char *status = page->status < 0 ? "" : states[page->status];
    return many(s, page->collection_id ? collected_files : own_files,
                DB_ARGS(db_text(user_id), db_text(status),
                        db_int(page->before_id ? page->before_ms : INT64_MAX),
                        db_text(page->before_id ? page->before_id : ""), db_text(like),
                        db_int(page->limit),
                        db_text(page->collection_id ? page->collection_id : "")),
                page->limit, a, out, n, error);
}

enum err store_file_walk(struct store *s, const char *after, int32_t limit, struct arena *a,
                         struct store_file **out, size_t *n, struct error *error)
{
    return many(s, "SELECT " FILE_COLUMNS FROM_FILES " WHERE f.id > $1 ORDER BY f.id LIMIT $2",
                DB_ARGS(db_text(after), db_int(limit)), limit, a, out, n, error);
}

enum err store_watch_files(struct store *s, const char *collection_id, const char *folder,
                           const char *after, int32_t limit, struct arena *a,
                           struct store_file **out, size_t *n, struct error *error)
{
    return many(s,
                "SELECT " FILE_COLUMNS FROM_FILES
                " WHERE f.collection_id = $1 AND f.source IS NOT NULL"
                " AND substr(f.source, 1, length($2 || '/')) = $2 || '/' AND f.id > $3"
                " ORDER BY f.id LIMIT $4",
                DB_ARGS(db_text(collection_id), db_text(folder), db_text(after), db_int(limit)),
                limit, a, out, n, error);
}

enum err store_watch_file(struct store *s, const char *collection_id, const char *source,
                          struct arena *a, struct store_file *out, struct error *error)
{
    return one(s, "SELECT " FILE_COLUMNS FROM_FILES " WHERE f.collection_id = $1 AND f.source = $2",
               DB_ARGS(db_text(collection_id), db_text(source)), a, out, error);
}

/* ---- adding -------------------------------------------------------------------------------- */

/* The collection's owner as the new file's. */
static enum err owner_of(struct db *db, const struct store_asker *who, const char *collection_id,
                         bool *shared, struct error *error)
{
    struct db_rows *rows;
    enum err e =
        db_one(db,
               "SELECT user_id FROM collections WHERE id = $2"
               " AND (user_id = $1 OR user_id IS NULL)",
               DB_ARGS(db_text(who->user_id), db_text(collection_id)), "collection", &rows, error);
    if (e) return e;
    *shared = db_is_null(rows, 0);
    db_rows_free(rows);
    if (*shared && !who->admin)
        return err_set(error, ERR_FORBIDDEN, "only an admin adds files to a shared collection");
    return OK;
}

static enum err there_already(struct db *db, const struct store_file *f, char id[STORE_ID_MAX],
                              struct error *error)
{
    struct db_rows *rows;
    enum err e = db_one(
        db,
        "SELECT id FROM files WHERE collection_id = $1"
        " AND ((source IS NULL AND $3 = '' AND sha256 = $2) OR source = $3)",
        DB_ARGS(db_text(f->collection_id), db_text(f->sha256), db_text(f->source ? f->source : "")),
        "file", &rows, error);
    if (e) return e;
    str_copy(id, STORE_ID_MAX, db_get_text(rows, 0));
    db_rows_free(rows);
    return OK;
}

static enum err queue_job(struct db *db, const struct store_job *job, const char *user_id,
                          const char *file_id, struct error *error)
{
    char id[37], key[STORE_ID_MAX + 8], payload[STORE_ID_MAX + 32];
    int64_t added;
    id_uuid4(id);
    job_key(file_id, key);
    str_printf(payload, sizeof payload, "{\"file_id\":\"%s\"}", file_id);
    struct store_job j = {.id = id,
                          .kind = job->kind,
                          .user_id = user_id,
                          .key = key,
                          .payload = payload,
                          .priority = job->priority,
                          .max_attempts = job->max_attempts};
    return job_insert(db, &j, &added, error);
}

static enum err set_pin(struct db *db, const char *id, bool local_only, struct error *error)
{
    return db_run(db, "UPDATE files SET local_only = $2, updated_ms = $3 WHERE id = $1",
                  DB_ARGS(db_text(id), db_int(local_only), db_int(clock_wall_ms())), NULL, error);
}

static enum err add_in_transaction(struct db *db, const struct store_asker *who,
                                   const struct store_file *f, const struct store_job *job,
                                   char id[STORE_ID_MAX], bool *added, struct error *error)
{
    bool shared;
    int64_t rows = 0, now = clock_wall_ms();
    char made[37];
    id_uuid4(made);
    enum err e = owner_of(db, who, f->collection_id, &shared, error);
    if (!e)
        e = db_run(db,
                   "INSERT INTO files (id, n, user_id, collection_id, name, sha256, bytes, type,"
                   " status, meta, source, source_ms, created_ms, updated_ms, local_only) VALUES"
                   " ($1, $2, $3, $4, $5, $6, $7, $8, 'queued', COALESCE($9, '{}'), $10, $11, $12,"
                   " $12, $13)"
                   " ON CONFLICT DO NOTHING",
                   DB_ARGS(db_text(made), db_int(store_random_n()),
                           db_text(shared ? NULL : who->user_id), db_text(f->collection_id),
                           db_text(f->name), db_text(f->sha256), db_int(f->bytes), db_text(f->type),
                           db_text(f->meta), db_text(f->source), db_int(f->source_ms), db_int(now),
                           db_int(f->local_only)),
                   &rows, error);
    *added = rows > 0;
    if (!e && !rows) {
        e = there_already(db, f, id, error);
        return e || !f->local_only ? e : set_pin(db, id, true, error);
    }
    if (!e) e = queue_job(db, job, who->user_id, made, error);
    str_copy(id, STORE_ID_MAX, made);
    return e;
}

enum err store_file_add(struct store *s, const struct store_asker *who, const struct store_file *f,
                        const struct store_job *job, char id[STORE_ID_MAX], bool *added,
                        struct error *error)
{
    struct db *db;
    enum err e = store_acquire(s, STORE_WRITE, &db, error);
    if (e) return e;
    e = db_begin(db, error);
    if (!e) e = db_end(db, add_in_transaction(db, who, f, job, id, added, error), error);
    store_release(s, db);
    return e;
}

/* ---- changing ------------------------------------------------------------------------------ */

static struct db_value int_or_null(int64_t i)
{
    return i < 0 ? db_text(NULL) : db_int(i);
}

enum err store_file_progress(struct store *s, const char *id, const char *sha256,
                             const struct store_file_progress *p, struct error *error)
{
    bool failed = p->status == STORE_FILE_FAILED;
    enum err e = store_write(
        s,
        "UPDATE files SET status = $2, done = COALESCE($3, done), total = COALESCE($4, total),"
        " n_chunks = COALESCE($5, n_chunks), n_pages = COALESCE($6, n_pages), error = $7,"
        " meta = COALESCE($8, meta), updated_ms = $9 WHERE id = $1 AND ($10 = '' OR sha256 = $10)",
        DB_ARGS(db_text(id), db_text(states[p->status]), int_or_null(p->done),
                int_or_null(p->total), int_or_null(p->n_chunks), int_or_null(p->n_pages),
                db_text(failed ? p->error : NULL), db_text(p->meta), db_int(clock_wall_ms()),
                db_text(sha256 ? sha256 : "")),
        "file", error);
    if (e != ERR_NOT_FOUND || !sha256) return e;
    struct arena *a = arena_new(1 << 20);
    struct store_file f;
    e = store_file_by_id(s, id, a, &f, error);
    arena_free(a);
    return e ? e : err_set(error, ERR_CONFLICT, "the file has changed meanwhile");
}

static enum err cancel_job(struct db *db, const char *id, struct error *error)
{
    char key[STORE_ID_MAX + 8];
    job_key(id, key);
    return db_run(db,
                  "UPDATE jobs SET state = 'cancelled', lease_until_ms = NULL, updated_ms = $2"
                  " WHERE idempotency_key = $1 AND state IN ('queued', 'running')",
                  DB_ARGS(db_text(key), db_int(clock_wall_ms())), NULL, error);
}

static enum err requeue_in_transaction(struct db *db, const char *id, const struct store_file *f,
                                       const struct store_job *job, struct error *error)
{
    int64_t changed = 0;
    bool same = !f || !f->sha256;
    enum err e = cancel_job(db, id, error);
    if (!e)
        e = db_run(db,
                   "UPDATE files SET status = 'queued', done = 0, total = 0, error = NULL,"
                   " sha256 = COALESCE($2, sha256), bytes = COALESCE($3, bytes),"
                   " type = COALESCE($4, type), source_ms = COALESCE($5, source_ms),"
                   " updated_ms = $6 WHERE id = $1",
                   DB_ARGS(db_text(id), db_text(same ? NULL : f->sha256),
                           same ? db_text(NULL) : db_int(f->bytes), db_text(same ? NULL : f->type),
                           same ? db_text(NULL) : db_int(f->source_ms), db_int(clock_wall_ms())),
                   &changed, error);
    if (!e && !changed) e = err_set(error, ERR_NOT_FOUND, "there is no such file");
    if (!e) e = queue_job(db, job, job->user_id, id, error);
    return e;
}

enum err store_file_requeue(struct store *s, const char *id, const struct store_file *f,
                            const struct store_job *job, struct error *error)
{
    struct db *db;
    enum err e = store_acquire(s, STORE_WRITE, &db, error);
    if (e) return e;
    e = db_begin(db, error);
    if (!e) e = db_end(db, requeue_in_transaction(db, id, f, job, error), error);
    store_release(s, db);
    return e;
}

/* `does`: what of it, for the refusal. */
static enum err may_change(struct db *db, const struct store_asker *who, const char *id,
                           const char *does, struct error *error)
{
    struct db_rows *rows;
    enum err e = db_one(db, "SELECT f.user_id FROM files f WHERE f.id = $2 AND " SEEN,
                        DB_ARGS(db_text(who->user_id), db_text(id)), "file", &rows, error);
    if (e) return e;
    bool shared = db_is_null(rows, 0);
    db_rows_free(rows);
    if (!shared || who->admin) return OK;
    return err_set(error, ERR_FORBIDDEN, "only an admin %s files of a shared collection", does);
}

enum err store_file_set_local_only(struct store *s, const struct store_asker *who, const char *id,
                                   bool local_only, struct error *error)
{
    struct db *db;
    enum err e = store_acquire(s, STORE_WRITE, &db, error);
    if (e) return e;
    e = db_begin(db, error);
    if (!e) {
        e = may_change(db, who, id, "pins", error);
        if (!e) e = set_pin(db, id, local_only, error);
        e = db_end(db, e, error);
    }
    store_release(s, db);
    return e;
}

enum err store_file_pinned(struct store *s, const char *id, bool *out, struct error *error)
{
    struct db *db;
    int64_t pins = 0;
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (e) return e;
    e = db_number(db,
                  "SELECT COUNT(*) FROM files f LEFT JOIN users u ON u.id = f.user_id"
                  " WHERE f.id = $1 AND (f.local_only <> 0 OR COALESCE(u.local_only, 0) <> 0)",
                  DB_ARGS(db_text(id)), &pins, error);
    store_release(s, db);
    *out = pins > 0;
    return e;
}

static enum err delete_in_transaction(struct db *db, const struct store_asker *who, const char *id,
                                      struct error *error)
{
    enum err e = may_change(db, who, id, "deletes", error);
    if (!e) e = cancel_job(db, id, error);
    if (!e) e = db_run(db, "DELETE FROM files WHERE id = $1", DB_ARGS(db_text(id)), NULL, error);
    return e;
}

enum err store_file_delete(struct store *s, const struct store_asker *who, const char *id,
                           struct error *error)
{
    struct db *db;
    enum err e = store_acquire(s, STORE_WRITE, &db, error);
    if (e) return e;
    e = db_begin(db, error);
    if (!e) e = db_end(db, delete_in_transaction(db, who, id, error), error);
    store_release(s, db);
    return e;
}

/* ---- following its job ----------------------------------------------------------------------- */

/* See job_key. A file that is ready stays so, whatever becomes of a job that came too late. */
#define OF_JOB                                                                                     \
    " WHERE status <> 'ready' AND id = (SELECT substr(idempotency_key, 6) FROM jobs"               \
    " WHERE id = $1 AND idempotency_key LIKE 'file:%')"

enum err file_of_job_queued(struct db *db, const char *job_id, struct error *error)
{
    return db_run(db,
                  "UPDATE files SET status = 'queued', done = 0, total = 0, error = NULL,"
                  " updated_ms = $2" OF_JOB,
                  DB_ARGS(db_text(job_id), db_int(clock_wall_ms())), NULL, error);
}

enum err file_of_job_failed(struct db *db, const char *job_id, const char *why, struct error *error)
{
    return db_run(db, "UPDATE files SET status = 'failed', error = $3, updated_ms = $2" OF_JOB,
                  DB_ARGS(db_text(job_id), db_int(clock_wall_ms()), db_text(why)), NULL, error);
}

/* ---- bytes --------------------------------------------------------------------------------- */

enum err store_file_references(struct store *s, const char *sha256, int64_t *n, struct error *error)
{
    struct db *db;
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (e) return e;
    e = db_number(db,
                  "SELECT (SELECT COUNT(*) FROM files WHERE sha256 = $1)"
                  " + (SELECT COUNT(*) FROM api_files WHERE sha256 = $1)",
                  DB_ARGS(db_text(sha256)), n, error);
    store_release(s, db);
    return e;
}

enum err store_file_usage(struct store *s, const char *user_id, struct store_file_totals *out,
                          struct error *error)
{
    struct db *db;
    struct db_rows *rows = NULL;
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (e) return e;
    e = db_one(db,
               "SELECT COUNT(*), COALESCE(SUM(bytes), 0) FROM"
               " (SELECT bytes FROM files WHERE user_id = $1"
               " UNION ALL SELECT bytes FROM api_files WHERE user_id = $1) AS kept",
               DB_ARGS(db_text(user_id)), "user", &rows, error);
    if (!e) *out = (struct store_file_totals){db_get_int(rows, 0), db_get_int(rows, 1)};
    db_rows_free(rows);
    store_release(s, db);
    return e;
}
