/* Chunks of a file: adding, clearing, walking; see store_chunk.h. */
#include "base/str.h"
#include "store/chunk_int.h"
#include "store/store_int.h"

/* ---- adding -------------------------------------------------------------------------------- */

/* The collection's space of ids, made at its first chunk. On PostgreSQL two collections may want
 * the same number at once: then one of the two inserts does nothing, and tries again. */
static enum err take_space(struct db *db, int64_t collection, int64_t n, int64_t *first,
                           struct error *error)
{
    struct db_rows *rows;
    enum err e = OK;
    for (int i = 0; i < 20; i++) {
        e = db_one(db,
                   "UPDATE chunk_spaces SET next = next + $2 WHERE collection_n = $1"
                   " RETURNING space, next",
                   DB_ARGS(db_int(collection), db_int(n)), "space", &rows, error);
        if (!e) {
            *first = (db_get_int(rows, 0) << CHUNK_SPACE_BITS) + db_get_int(rows, 1) - n;
            db_rows_free(rows);
            return OK;
        }
        if (e != ERR_NOT_FOUND) return e;
        e = db_run(db,
                   "INSERT INTO chunk_spaces (collection_n, space, next)"
                   " SELECT $1, COALESCE(MAX(space), 0) + 1, 0 FROM chunk_spaces WHERE true"
                   " ON CONFLICT DO NOTHING",
                   DB_ARGS(db_int(collection)), NULL, error);
        if (e) return e;
    }
    return err_set(error, ERR_DATABASE, "no numbers for chunks could be reserved");
}

static enum err clear(struct db *db, const char *file_id, struct error *error)
{
    enum err e = db_run(db,
                        "DELETE FROM vectors WHERE file_n ="
                        " (SELECT n FROM vector_files WHERE file_id = $1)",
                        DB_ARGS(db_text(file_id)), NULL, error);
    if (!e)
        e = db_run(db, "DELETE FROM vector_files WHERE file_id = $1", DB_ARGS(db_text(file_id)),
                   NULL, error);
    if (!e)
        e = db_run(db, "DELETE FROM chunks WHERE file_id = $1", DB_ARGS(db_text(file_id)), NULL,
                   error);
    return e;
}

static enum err collection_of(struct db *db, const char *file_id, int64_t *n, struct error *error)
{
    enum err e = db_number(
        db, "SELECT c.n FROM files f JOIN collections c ON c.id = f.collection_id WHERE f.id = $1",
        DB_ARGS(db_text(file_id)), n, error);
    return e == ERR_NOT_FOUND ? err_set(error, e, "there is no such file") : e;
}

enum err store_chunk_begin(struct store *s, const char *file_id, int64_t total, int64_t *first,
                           int64_t *collection, struct error *error)
{
    struct db *db;
    enum err e = store_acquire(s, STORE_WRITE, &db, error);
    if (e) return e;
    e = db_begin(db, error);
    if (!e) {
        e = collection_of(db, file_id, collection, error);
        if (!e) e = clear(db, file_id, error);
        if (!e) e = take_space(db, *collection, total, first, error);
        e = db_end(db, e, error);
    }
    store_release(s, db);
    return e;
}

/* SQLite: a trigger would do it, but a statement with triggers is a transaction within the
 * transaction, for which FTS5 writes what it has to disk: a segment for each chunk, and three times
 * the time for merging them. */
static enum err insert_words(struct db *db, const struct store_chunk *c, struct error *error)
{
    return db_run(db, "INSERT INTO chunks_text (rowid, heading, text) VALUES ($1, $2, $3)",
                  DB_ARGS(db_int(c->id), db_text(c->heading), db_text(c->text)), NULL, error);
}

static enum err insert(struct db *db, const char *file_id, int64_t collection,
                       const struct store_chunk *c, struct error *error)
{
    enum err e =
        db_run(db,
               "INSERT INTO chunks (id, file_id, collection_n, n, page_from, page_to, start_at,"
               " end_at, tokens, heading, text)"
               " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
               DB_ARGS(db_int(c->id), db_text(file_id), db_int(collection), db_int(c->n),
                       db_int(c->page_from), db_int(c->page_to), db_int(c->start), db_int(c->end),
                       db_int(c->tokens), db_text(c->heading), db_text(c->text)),
               NULL, error);
    return e || !db_is_sqlite(db) ? e : insert_words(db, c, error);
}

enum err store_chunk_add(struct store *s, const char *file_id, int64_t collection,
                         const struct store_chunk *chunks, size_t n, struct error *error)
{
    struct db *db;
    ht_assert(n >= 1 && n <= STORE_CHUNKS_MAX);
    enum err e = store_acquire(s, STORE_WRITE, &db, error);
    if (e) return e;
    e = db_begin(db, error);
    if (!e) {
        for (size_t i = 0; !e && i < n; i++) e = insert(db, file_id, collection, &chunks[i], error);
        e = db_end(db, e, error);
    }
    store_release(s, db);
    return e == ERR_NOT_FOUND ? err_set(error, e, "there is no such file") : e;
}

enum err store_chunk_clear(struct store *s, const char *file_id, struct error *error)
{
    struct db *db;
    enum err e = store_acquire(s, STORE_WRITE, &db, error);
    if (e) return e;
    e = db_begin(db, error);
    if (!e) e = db_end(db, clear(db, file_id, error), error);
    store_release(s, db);
    return e;
}

/* ---- walking ------------------------------------------------------------------------------- */

enum err chunk_read(struct db_rows *rows, struct arena *a, struct store_chunk *out,
                    struct error *error)
{
    enum err e = OK;
    *out = (struct store_chunk){.id = db_get_int(rows, 0),
                                .n = db_get_int(rows, 1),
                                .page_from = (int32_t)db_get_int(rows, 2),
                                .page_to = (int32_t)db_get_int(rows, 3),
                                .start = db_get_int(rows, 4),
                                .end = db_get_int(rows, 5),
                                .tokens = (int32_t)db_get_int(rows, 6),
                                .heading = db_take_text(rows, 7, a, &e),
                                .text = db_take_text(rows, 8, a, &e)};
    return e ? err_set(error, e, "no memory for a chunk") : OK;
}

enum err store_chunk_page(struct store *s, const char *file_id, int64_t from, int32_t limit,
                          struct arena *a, struct store_chunk **out, size_t *n, struct error *error)
{
    struct db *db;
    struct db_rows *rows = NULL;
    bool has = true;
    ht_assert(limit >= 1 && limit <= STORE_CHUNKS_MAX);
    *n = 0;
    *out = arena_calloc(a, (size_t)limit, sizeof **out);
    if (!*out) return err_set(error, ERR_NOMEM, "no memory for %d chunks", limit);
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (e) return e;
    e = db_query(db,
                 "SELECT " CHUNK_COLUMNS " FROM chunks k WHERE k.file_id = $1 AND k.n >= $2"
                 " ORDER BY k.n LIMIT $3",
                 DB_ARGS(db_text(file_id), db_int(from), db_int(limit)), &rows, error);
    while (!e && has) {
        e = db_next(rows, &has, error);
        if (!e && has) e = chunk_read(rows, a, &(*out)[(*n)++], error);
    }
    db_rows_free(rows);
    store_release(s, db);
    return e;
}

enum err store_chunk_count(struct store *s, const char *file_id, int64_t *n, struct error *error)
{
    struct db *db;
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (e) return e;
    e = db_number(db, "SELECT COUNT(*) FROM chunks WHERE file_id = $1", DB_ARGS(db_text(file_id)),
                  n, error);
    store_release(s, db);
    return e;
}

/* ---- what is left to do ---------------------------------------------------------------------- */

enum err store_chunk_missing(struct store *s, int64_t set, const char *after, int32_t limit,
                             struct arena *a, const char ***out, size_t *n, struct error *error)
{
    struct db *db;
    struct db_rows *rows = NULL;
    bool has = true;
    *n = 0;
    *out = arena_calloc(a, (size_t)limit, sizeof **out);
    if (!*out) return err_set(error, ERR_NOMEM, "no memory for %d files", limit);
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (e) return e;
    e = db_query(db,
                 "SELECT f.id FROM files f WHERE f.status = 'ready' AND f.id > $2 AND f.n_chunks >"
                 " (SELECT COUNT(*) FROM vectors v JOIN vector_files vf ON vf.n = v.file_n"
                 "   WHERE vf.file_id = f.id AND v.set_n = $1)"
                 " ORDER BY f.id LIMIT $3",
                 DB_ARGS(db_int(set), db_text(after), db_int(limit)), &rows, error);
    while (!e && has) {
        e = db_next(rows, &has, error);
        if (!e && has) (*out)[(*n)++] = db_take_text(rows, 0, a, &e);
    }
    db_rows_free(rows);
    store_release(s, db);
    return e;
}
