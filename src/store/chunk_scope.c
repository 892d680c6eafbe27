/* Where somebody may search, and the chunks that somebody may see; see store_chunk.h. */
#include <string.h>

#include "base/str.h"
#include "store/chunk_int.h"
#include "store/store_int.h"

enum { NUMBERS_MAX = 1 << 20 };

/* ---- the scope ----------------------------------------------------------------------------- */

static bool add_collection(struct store_scope *scope, int64_t n)
{
    for (size_t i = 0; i < scope->n_collections; i++)
        if (scope->collections[i] == n) return true;
    if (scope->n_collections == STORE_SCOPE_MAX) return false;
    scope->collections[scope->n_collections++] = n;
    return true;
}

static enum err too_many(struct error *error)
{
    return err_set(error, ERR_TOO_LARGE, "at most %d collections can be searched at once",
                   STORE_SCOPE_MAX);
}

static enum err all_collections(struct db *db, struct store_scope *scope, struct error *error)
{
    struct db_rows *rows = NULL;
    bool has = true;
    enum err e = db_query(db,
                          "SELECT c.n FROM collections c WHERE c.user_id = $1 OR c.user_id IS NULL"
                          " ORDER BY c.n",
                          DB_ARGS(db_text(scope->user_id)), &rows, error);
    while (!e && has) {
        e = db_next(rows, &has, error);
        if (!e && has && !add_collection(scope, db_get_int(rows, 0))) e = too_many(error);
    }
    db_rows_free(rows);
    return e;
}

/* Of several of that name the user's own one, which sorts first. */
static enum err one_collection(struct db *db, struct store_scope *scope, const char *name,
                               struct error *error)
{
    int64_t n;
    enum err e = db_number(db,
                           "SELECT c.n FROM collections c WHERE (c.user_id = $1 OR c.user_id IS"
                           " NULL) AND (c.id = $2 OR c.name = $2)"
                           " ORDER BY c.id = $2 DESC, c.user_id IS NULL LIMIT 1",
                           DB_ARGS(db_text(scope->user_id), db_text(name)), &n, error);
    if (e == ERR_NOT_FOUND)
        return err_set_param(error, e, "/collections", "there is no collection \"%.100s\"", name);
    if (!e && !add_collection(scope, n)) e = too_many(error);
    return e;
}

static enum err one_file(struct db *db, struct store_scope *scope, const char *id, bool collections,
                         struct error *error)
{
    int64_t n;
    enum err e = db_number(db,
                           "SELECT c.n FROM files f JOIN collections c ON c.id = f.collection_id"
                           " WHERE f.id = $2 AND (c.user_id = $1 OR c.user_id IS NULL)",
                           DB_ARGS(db_text(scope->user_id), db_text(id)), &n, error);
    if (e == ERR_NOT_FOUND)
        return err_set_param(error, e, "/file_ids", "there is no file %.100s", id);
    if (e) return e;
    for (size_t i = 0; !collections && i < scope->n_collections; i++)
        if (scope->collections[i] == n) collections = true;
    if (!collections)
        return err_set_param(error, ERR_NOT_FOUND, "/file_ids",
                             "file %.100s is in none of the collections", id);
    scope->files[scope->n_files++] = id;
    return add_collection(scope, n) ? OK : too_many(error);
}

enum err store_chunk_scope(struct store *s, const char *user_id, const char *const *collections,
                           size_t n_collections, const char *const *files, size_t n_files,
                           struct arena *a, struct store_scope *out, struct error *error)
{
    struct db *db;
    if (n_files > STORE_SCOPE_MAX || n_collections > STORE_SCOPE_MAX)
        return err_set(error, ERR_TOO_LARGE,
                       "at most %d files or collections can be searched at "
                       "once",
                       STORE_SCOPE_MAX);
    *out = (struct store_scope){.user_id = user_id,
                                .collections =
                                    arena_calloc(a, STORE_SCOPE_MAX, sizeof *out->collections),
                                .files = arena_calloc(a, n_files + 1, sizeof *out->files)};
    if (!out->collections || !out->files)
        return err_set(error, ERR_NOMEM, "no memory for a search");
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (e) return e;
    for (size_t i = 0; !e && i < n_collections; i++)
        e = one_collection(db, out, collections[i], error);
    for (size_t i = 0; !e && i < n_files; i++)
        e = one_file(db, out, files[i], !n_collections, error);
    if (!e && !n_collections && !n_files) e = all_collections(db, out, error);
    store_release(s, db);
    return e;
}

/* ---- chunks that may be seen ----------------------------------------------------------------- */

static enum err read_found(struct db_rows *rows, struct arena *a, struct store_chunk_found *out,
                           struct error *error)
{
    enum err e = chunk_read(rows, a, &out->chunk, error);
    if (e) return e;
    out->file_id = db_take_text(rows, CHUNK_N_COLUMNS, a, &e);
    out->file_name = db_take_text(rows, CHUNK_N_COLUMNS + 1, a, &e);
    out->file_type = db_take_text(rows, CHUNK_N_COLUMNS + 2, a, &e);
    out->collection_id = db_take_text(rows, CHUNK_N_COLUMNS + 3, a, &e);
    out->local_only = db_get_int(rows, CHUNK_N_COLUMNS + 4) != 0;
    return e ? err_set(error, e, "no memory for a chunk") : OK;
}

static enum err read_all(struct db_rows *rows, size_t most, struct arena *a,
                         struct store_chunk_found **out, size_t *n, struct error *error)
{
    bool has = true;
    enum err e = OK;
    *out = arena_calloc(a, most + 1, sizeof **out);
    if (!*out) return err_set(error, ERR_NOMEM, "no memory for %zu chunks", most);
    while (!e && *n < most) {
        e = db_next(rows, &has, error);
        if (e || !has) break;
        e = read_found(rows, a, &(*out)[(*n)++], error);
    }
    return e;
}

#define FOUND                                                                                      \
    "SELECT " CHUNK_COLUMNS ", f.id, f.name, f.type, f.collection_id, f.local_only FROM chunks k"  \
    " JOIN files f ON f.id = k.file_id JOIN collections c ON c.id = f.collection_id"               \
    " WHERE " CHUNK_VISIBLE

enum err store_chunk_get(struct store *s, const char *user_id, const int64_t *ids, size_t n_ids,
                         struct arena *a, struct store_chunk_found **out, size_t *n,
                         struct error *error)
{
    struct db *db;
    struct db_rows *rows = NULL;
    struct buf list;
    *n = 0;
    buf_init(&list, NUMBERS_MAX);
    chunk_numbers(&list, ids, n_ids);
    if (list.err) {
        buf_free(&list);
        return err_set(error, ERR_TOO_LARGE, "%zu chunks are too many at once", n_ids);
    }
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (!e) {
        e = db_query(db,
                     db_sql(db, FOUND " AND k.id IN (SELECT value FROM json_each($2))",
                            FOUND " AND k.id IN (SELECT e::bigint FROM"
                                  " jsonb_array_elements_text($2::text::jsonb) e)"),
                     DB_ARGS(db_text(user_id), db_text(buf_str(&list))), &rows, error);
        if (!e) e = read_all(rows, n_ids, a, out, n, error);
        db_rows_free(rows);
        store_release(s, db);
    }
    buf_free(&list);
    return e;
}

enum err store_chunk_range(struct store *s, const char *user_id, const char *file_id, int64_t from,
                           int64_t to, struct arena *a, struct store_chunk_found **out, size_t *n,
                           struct error *error)
{
    struct db *db;
    struct db_rows *rows = NULL;
    *n = 0;
    ht_assert(to >= from && to - from < STORE_CHUNKS_MAX);
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (e) return e;
    e = db_query(db, FOUND " AND k.file_id = $2 AND k.n BETWEEN $3 AND $4 ORDER BY k.n",
                 DB_ARGS(db_text(user_id), db_text(file_id), db_int(from), db_int(to)), &rows,
                 error);
    if (!e) e = read_all(rows, (size_t)(to - from + 1), a, out, n, error);
    db_rows_free(rows);
    store_release(s, db);
    return e;
}
