/* The face of a database connection: what both drivers have in common. */
#include <string.h>

#include "base/log.h"
#include "store/db_int.h"

struct db_value db_int(int64_t i)
{
    return (struct db_value){.type = DB_INT, .i = i};
}

struct db_value db_text(const char *s)
{
    if (!s) return (struct db_value){.type = DB_NULL};
    return (struct db_value){.type = DB_TEXT, .data = s, .len = strlen(s)};
}

struct db_value db_blob(const void *data, size_t len)
{
    return (struct db_value){.type = DB_BLOB, .data = data, .len = len};
}

enum err db_script(struct db *db, const char *sql, struct error *error)
{
    return db->driver->script(db, sql, error);
}

enum err db_query(struct db *db, const char *sql, const struct db_value *args, size_t n_args,
                  struct db_rows **out, struct error *error)
{
    *out = NULL;
    return db->driver->query(db, sql, args, n_args, out, error);
}

enum err db_next(struct db_rows *rows, bool *has, struct error *error)
{
    return rows->db->driver->next(rows, has, error);
}

void db_rows_free(struct db_rows *rows)
{
    if (rows) rows->db->driver->rows_free(rows);
}

/* ---- values of a row ----------------------------------------------------------------------- */

bool db_is_null(struct db_rows *rows, int col)
{
    return rows->db->driver->is_null(rows, col);
}

int64_t db_get_int(struct db_rows *rows, int col)
{
    return rows->db->driver->get_int(rows, col);
}

const char *db_get_text(struct db_rows *rows, int col)
{
    return db_is_null(rows, col) ? NULL : rows->db->driver->get_text(rows, col);
}

const void *db_get_blob(struct db_rows *rows, int col, size_t *len)
{
    *len = 0;
    return db_is_null(rows, col) ? NULL : rows->db->driver->get_blob(rows, col, len);
}

const char *db_take_text(struct db_rows *rows, int col, struct arena *a, enum err *e)
{
    const char *text = db_get_text(rows, col);
    if (!text) return NULL;
    const char *copy = arena_strdup(a, text);
    if (!copy) *e = ERR_NOMEM;
    return copy;
}

/* ---- whole statements ---------------------------------------------------------------------- */

enum err db_run(struct db *db, const char *sql, const struct db_value *args, size_t n_args,
                int64_t *changed, struct error *error)
{
    struct db_rows *rows;
    bool has;
    enum err e = db_query(db, sql, args, n_args, &rows, error);
    if (e) return e;
    do {
        e = db_next(rows, &has, error);
    } while (!e && has);
    if (!e && changed) *changed = db->driver->changed(rows);
    db_rows_free(rows);
    return e;
}

enum err db_one(struct db *db, const char *sql, const struct db_value *args, size_t n_args,
                const char *what, struct db_rows **out, struct error *error)
{
    bool has = false;
    enum err e = db_query(db, sql, args, n_args, out, error);
    if (!e) e = db_next(*out, &has, error);
    if (!e && !has) e = err_set(error, ERR_NOT_FOUND, "there is no such %s", what);
    if (!e) return OK;
    db_rows_free(*out);
    *out = NULL;
    return e;
}

enum err db_number(struct db *db, const char *sql, const struct db_value *args, size_t n_args,
                   int64_t *out, struct error *error)
{
    struct db_rows *rows;
    enum err e = db_one(db, sql, args, n_args, "row", &rows, error);
    if (!e) *out = db_get_int(rows, 0);
    db_rows_free(rows);
    return e;
}

/* ---- transactions -------------------------------------------------------------------------- */

/* SQLite takes the writer's lock at once, so that a transaction that read first can't fail at its
 * first write because another one came between. */
enum err db_begin(struct db *db, struct error *error)
{
    ht_assert(!db->in_transaction);
    const char *immediate = db->read_only ? "BEGIN" : "BEGIN IMMEDIATE";
    enum err e = db_script(db, db_sql(db, immediate, "BEGIN"), error);
    db->in_transaction = e == OK;
    return e;
}

void db_rollback(struct db *db)
{
    struct error error;
    if (!db->in_transaction) return;
    db->in_transaction = false;
    /* The database may have rolled it back itself, or be gone: then nothing is left to undo. */
    if (db_script(db, "ROLLBACK", &error)) log_debug(store, "rolling back: %s", error.msg);
}

static enum err commit(struct db *db, struct error *error)
{
    ht_assert(db->in_transaction);
    enum err e = db_script(db, "COMMIT", error);
    if (e)
        db_rollback(db);
    else
        db->in_transaction = false;
    return e;
}

enum err db_end(struct db *db, enum err e, struct error *error)
{
    if (!e) return commit(db, error);
    db_rollback(db);
    return e;
}

bool db_is_sqlite(const struct db *db)
{
    return db->driver == &db_sqlite;
}

const char *db_sql(const struct db *db, const char *sqlite, const char *postgresql)
{
    return db_is_sqlite(db) ? sqlite : postgresql;
}
