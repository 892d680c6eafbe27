/* Files of /v1/files; see store_batch.h. */
#include "base/clock.h"
#include "base/str.h"
#include "store/batch_int.h"
#include "store/store_batch.h"
#include "store/store_int.h"

#define FILE_COLUMNS                                                                               \
    "id, COALESCE(user_id, ''), purpose, name, sha256, bytes, created_ms, expires_ms"
/* What the user $1 has; $2 is now. */
#define OWN "COALESCE(user_id, '') = $1 AND (expires_ms = 0 OR expires_ms > $2)"

static enum err read_file(struct db_rows *rows, struct arena *a, struct store_api_file *out,
                          struct error *error)
{
    enum err e = OK;
    *out = (struct store_api_file){.id = db_take_text(rows, 0, a, &e),
                                   .user_id = db_take_text(rows, 1, a, &e),
                                   .purpose = db_take_text(rows, 2, a, &e),
                                   .name = db_take_text(rows, 3, a, &e),
                                   .sha256 = db_take_text(rows, 4, a, &e),
                                   .bytes = db_get_int(rows, 5),
                                   .created_ms = db_get_int(rows, 6),
                                   .expires_ms = db_get_int(rows, 7)};
    return e ? err_set(error, e, "no memory for a file's record") : OK;
}

enum err api_file_insert(struct db *db, const struct store_api_file *f, struct error *error)
{
    enum err e = db_run(db,
                        "INSERT INTO api_files (id, user_id, purpose, name, sha256, bytes,"
                        " created_ms, expires_ms)"
                        " VALUES ($1, NULLIF($2, ''), $3, $4, $5, $6, $7, $8)",
                        DB_ARGS(db_text(f->id), db_text(f->user_id), db_text(f->purpose),
                                db_text(f->name), db_text(f->sha256), db_int(f->bytes),
                                db_int(clock_wall_ms()), db_int(f->expires_ms)),
                        NULL, error);
    return e == ERR_NOT_FOUND ? err_set(error, e, "there is no such user") : e;
}

enum err store_api_file_add(struct store *s, const struct store_api_file *f, struct error *error)
{
    struct db *db;
    enum err e = store_acquire(s, STORE_WRITE, &db, error);
    if (e) return e;
    e = api_file_insert(db, f, error);
    store_release(s, db);
    return e;
}

enum err store_api_file_get(struct store *s, const char *user_id, const char *id, struct arena *a,
                            struct store_api_file *out, struct error *error)
{
    struct db *db;
    struct db_rows *rows = NULL;
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (e) return e;
    e = db_one(db, "SELECT " FILE_COLUMNS " FROM api_files WHERE " OWN " AND id = $3",
               DB_ARGS(db_text(user_id), db_int(clock_wall_ms()), db_text(id)), "file", &rows,
               error);
    if (!e) e = read_file(rows, a, out, error);
    db_rows_free(rows);
    store_release(s, db);
    return e;
}

#define PAGE(than, order)                                                                          \
    "SELECT " FILE_COLUMNS " FROM api_files WHERE " OWN " AND ($3 = '' OR purpose = $3)"           \
    " AND (created_ms " than " $4 OR (created_ms = $4 AND id " than " $5))"                        \
    " ORDER BY created_ms " order ", id " order " LIMIT $6"

static const char newest_first[] = PAGE("<", "DESC");
static const char oldest_first[] = PAGE(">", "ASC");

enum err store_api_file_list(struct store *s, const char *user_id, const char *purpose,
                             const struct store_batch_page *page, struct arena *a,
                             struct store_api_file **out, size_t *n, struct error *error)
{
    struct db *db;
    struct db_rows *rows = NULL;
    bool has = true;
    int64_t ms;
    struct store_page_start start = {page->after, page->oldest_first, "page to go on"};
    ht_assert(page->limit >= 1 && page->limit <= STORE_BATCH_PAGE_MAX + 1);
    *n = 0;
    *out = arena_calloc(a, (size_t)page->limit, sizeof **out);
    if (!*out) return err_set(error, ERR_NOMEM, "no memory for %d files", page->limit);
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (e) return e;
    e = store_page_ms(db,
                      "SELECT created_ms FROM api_files WHERE COALESCE(user_id, '') = $1"
                      " AND id = $2",
                      user_id, &start, &ms, error);
    if (!e)
        e = db_query(db, page->oldest_first ? oldest_first : newest_first,
                     DB_ARGS(db_text(user_id), db_int(clock_wall_ms()),
                             db_text(purpose ? purpose : ""), db_int(ms),
                             db_text(page->after ? page->after : ""), db_int(page->limit)),
                     &rows, error);
    while (!e && has) {
        e = db_next(rows, &has, error);
        if (!e && has) e = read_file(rows, a, &(*out)[(*n)++], error);
    }
    db_rows_free(rows);
    store_release(s, db);
    return e;
}

/* Takes one file away. args: of `sql`, which returns its hash. */
static enum err take_away(struct store *s, const char *sql, const struct db_value *args, size_t n,
                          char sha256[STORE_SHA256_MAX], struct error *error)
{
    struct db *db;
    struct db_rows *rows = NULL;
    bool has = true;
    enum err e = store_acquire(s, STORE_WRITE, &db, error);
    if (e) return e;
    e = db_one(db, sql, args, n, "file", &rows, error);
    if (!e) str_copy(sha256, STORE_SHA256_MAX, db_get_text(rows, 0));
    while (!e && has) e = db_next(rows, &has, error); /* to its end, so that it is done */
    db_rows_free(rows);
    store_release(s, db);
    return e;
}

enum err store_api_file_delete(struct store *s, const char *user_id, const char *id,
                               char sha256[STORE_SHA256_MAX], struct error *error)
{
    return take_away(s, "DELETE FROM api_files WHERE " OWN " AND id = $3 RETURNING sha256",
                     DB_ARGS(db_text(user_id), db_int(clock_wall_ms()), db_text(id)), sha256,
                     error);
}

enum err store_api_file_expire(struct store *s, char sha256[STORE_SHA256_MAX], struct error *error)
{
    return take_away(s,
                     "DELETE FROM api_files WHERE id = (SELECT id FROM api_files"
                     " WHERE expires_ms > 0 AND expires_ms <= $1 LIMIT 1) RETURNING sha256",
                     DB_ARGS(db_int(clock_wall_ms())), sha256, error);
}
