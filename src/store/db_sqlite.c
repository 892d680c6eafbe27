/* SQLite. WAL, so that readers never wait for the writer; synchronous=NORMAL, which loses no
 * committed transaction when the process dies (a power cut may lose the last ones; store_sync asks
 * for more). One connection writes, see store.c.
 *
 * Statements are kept in a table by the address of their text. A result holds its statement until
 * it is freed; a second query with the same text meanwhile gets a statement of its own. */
#include <pthread.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/db_int.h"
#include "store/fts_rank.h"

enum { STATEMENTS_MAX = 256 /* a power of two */ };

struct kept {
    const char *sql;
    sqlite3_stmt *stmt;
    bool used; /* by a result */
};

struct lite {
    struct db db;
    sqlite3 *handle;
    struct kept kept[STATEMENTS_MAX];
};

struct lite_rows {
    struct db_rows rows;
    sqlite3_stmt *stmt;
    struct kept *kept; /* NULL: the statement is this result's own */
    int64_t changed;
};

static struct lite *lite_of(struct db *db)
{
    return container_of(db, struct lite, db);
}

static struct lite_rows *rows_of(struct db_rows *rows)
{
    return container_of(rows, struct lite_rows, rows);
}

/* ---- errors -------------------------------------------------------------------------------- */

static enum err code_of(int rc, int extended)
{
    switch (rc) {
    case SQLITE_FULL: return ERR_DISK_FULL;
    case SQLITE_NOMEM: return ERR_NOMEM;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return ERR_DATABASE;
    case SQLITE_IOERR: return ERR_IO;
    case SQLITE_TOOBIG: return ERR_TOO_LARGE;
    case SQLITE_CONSTRAINT:
        return extended == SQLITE_CONSTRAINT_FOREIGNKEY ? ERR_NOT_FOUND : ERR_CONFLICT;
    default: return ERR_INTERNAL;
    }
}

static enum err failed(sqlite3 *handle, int rc, const char *what, struct error *error)
{
    int extended = handle ? sqlite3_extended_errcode(handle) : rc;
    const char *words = handle ? sqlite3_errmsg(handle) : sqlite3_errstr(rc);
    return err_set(error, code_of(rc & 0xff, extended), "the database: %s: %s", what, words);
}

/* ---- connections --------------------------------------------------------------------------- */

static void lite_close(struct db *db)
{
    struct lite *l = lite_of(db);
    for (size_t i = 0; i < STATEMENTS_MAX; i++) {
        ht_assert(!l->kept[i].used);
        sqlite3_finalize(l->kept[i].stmt);
    }
    sqlite3_close(l->handle);
    free(l);
}

static enum err lite_script(struct db *db, const char *sql, struct error *error)
{
    struct lite *l = lite_of(db);
    if (fault_hit(FAULT_write))
        return err_set(error, ERR_DISK_FULL, "the database: database or disk is full");
    int rc = sqlite3_exec(l->handle, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? OK : failed(l->handle, rc, "a script", error);
}

/* Through the C interface alone: SQL's load_extension() stays off. */
static void load_extension(struct lite *l, const char *path)
{
    char *words = NULL;
    sqlite3_db_config(l->handle, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 1, NULL);
    if (sqlite3_load_extension(l->handle, path, NULL, &words) != SQLITE_OK)
        log_debug(store, "%s can't be loaded: %s", path, words ? words : "no memory");
    sqlite3_db_config(l->handle, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, NULL);
    sqlite3_free(words);
}

/* Counting its memory, for which nobody asks, would take a lock that all connections share for each
 * piece of memory. */
static void count_no_memory(void)
{
    if (sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0) != SQLITE_OK)
        log_debug(store, "SQLite was in use already: it goes on counting its memory");
}

static enum err lite_open(const struct db_params *params, struct db **out, struct error *error)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, count_no_memory);
    struct lite *l = xcalloc(1, sizeof *l);
    l->db.driver = &db_sqlite;
    l->db.read_only = params->read_only;
    int flags =
        SQLITE_OPEN_NOMUTEX |
        (params->read_only ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
    int rc = sqlite3_open_v2(params->place, &l->handle, flags, NULL);
    enum err e = rc == SQLITE_OK ? OK : failed(l->handle, rc, "opening its file", error);
    if (!e) sqlite3_busy_timeout(l->handle, params->busy_ms);
    if (!e && params->extension) load_extension(l, params->extension);
    if (!e && (rc = fts_rank_register(l->handle)) != SQLITE_OK)
        e = failed(l->handle, rc, "full text search", error);
    if (!e) sqlite3_db_config(l->handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    if (!e)
        e = lite_script(&l->db,
                        "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
                        "PRAGMA foreign_keys=ON; PRAGMA temp_store=MEMORY;",
                        error);
    /* The cache holds the signs of 100,000 vectors, which a search reads through. */
    if (!e && params->read_only)
        e = lite_script(&l->db, "PRAGMA query_only=ON; PRAGMA cache_size=-20000", error);
    if (e) {
        lite_close(&l->db);
        return e;
    }
    *out = &l->db;
    return OK;
}

static enum err lite_check(struct db *db, struct error *error)
{
    (void)db;
    (void)error;
    return OK; /* a file does not hang up */
}

/* ---- statements ---------------------------------------------------------------------------- */

static struct kept *kept_of(struct lite *l, const char *sql)
{
    size_t at = ((uintptr_t)sql >> 3) & (STATEMENTS_MAX - 1);
    for (size_t n = 0; n < STATEMENTS_MAX; n++, at = (at + 1) & (STATEMENTS_MAX - 1))
        if (!l->kept[at].sql || l->kept[at].sql == sql) return &l->kept[at];
    return NULL;
}

static enum err prepare(struct lite *l, const char *sql, sqlite3_stmt **out, struct error *error)
{
    const char *rest;
    int rc = sqlite3_prepare_v3(l->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, out, &rest);
    if (rc != SQLITE_OK) return failed(l->handle, rc, sql, error);
    ht_assert(*out && !*rest); /* one statement */
    return OK;
}

static enum err take_statement(struct lite *l, const char *sql, struct lite_rows *r,
                               struct error *error)
{
    struct kept *k = kept_of(l, sql);
    if (!k || k->used) return prepare(l, sql, &r->stmt, error);
    if (!k->sql) {
        enum err e = prepare(l, sql, &k->stmt, error);
        if (e) return e;
        k->sql = sql;
    }
    k->used = true;
    r->kept = k;
    r->stmt = k->stmt;
    return OK;
}

static int bind_value(sqlite3_stmt *stmt, int at, const struct db_value *v)
{
    switch (v->type) {
    case DB_NULL: return sqlite3_bind_null(stmt, at);
    case DB_INT: return sqlite3_bind_int64(stmt, at, v->i);
    case DB_TEXT:
        return sqlite3_bind_text64(stmt, at, v->data, v->len, SQLITE_TRANSIENT, SQLITE_UTF8);
    case DB_BLOB: return sqlite3_bind_blob64(stmt, at, v->data, v->len, SQLITE_TRANSIENT);
    }
    ht_bug("unknown type of value");
}

static enum err bind(struct lite *l, sqlite3_stmt *stmt, const struct db_value *args, size_t n,
                     struct error *error)
{
    char name[8] = "$";
    for (size_t i = 0; i < n; i++) {
        char *digit = name + 1;
        if (i + 1 >= 10) *digit++ = (char)('0' + (i + 1) / 10);
        *digit++ = (char)('0' + (i + 1) % 10);
        *digit = '\0';
        int at = sqlite3_bind_parameter_index(stmt, name);
        if (!at) continue; /* this database's text has no use for it */
        int rc = bind_value(stmt, at, &args[i]);
        if (rc != SQLITE_OK) return failed(l->handle, rc, "a value", error);
    }
    return OK;
}

static void lite_rows_free(struct db_rows *rows)
{
    struct lite_rows *r = rows_of(rows);
    if (r->kept) {
        sqlite3_reset(r->stmt);
        sqlite3_clear_bindings(r->stmt);
        r->kept->used = false;
    } else {
        sqlite3_finalize(r->stmt);
    }
    free(r);
}

static enum err lite_query(struct db *db, const char *sql, const struct db_value *args, size_t n,
                           struct db_rows **out, struct error *error)
{
    struct lite *l = lite_of(db);
    struct lite_rows *r = xcalloc(1, sizeof *r);
    r->rows.db = db;
    enum err e = take_statement(l, sql, r, error);
    if (!e) e = bind(l, r->stmt, args, n, error);
    if (!e && !sqlite3_stmt_readonly(r->stmt) && fault_hit(FAULT_write))
        e = err_set(error, ERR_DISK_FULL, "the database: database or disk is full");
    if (e) {
        lite_rows_free(&r->rows);
        return e;
    }
    *out = &r->rows;
    return OK;
}

static enum err lite_next(struct db_rows *rows, bool *has, struct error *error)
{
    struct lite_rows *r = rows_of(rows);
    struct lite *l = lite_of(rows->db);
    int rc = sqlite3_step(r->stmt);
    *has = rc == SQLITE_ROW;
    if (rc == SQLITE_DONE) r->changed = sqlite3_changes64(l->handle);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? OK : failed(l->handle, rc, "a statement", error);
}

static bool lite_is_null(struct db_rows *rows, int col)
{
    return sqlite3_column_type(rows_of(rows)->stmt, col) == SQLITE_NULL;
}

static int64_t lite_get_int(struct db_rows *rows, int col)
{
    return sqlite3_column_int64(rows_of(rows)->stmt, col);
}

static const char *lite_get_text(struct db_rows *rows, int col)
{
    const unsigned char *text = sqlite3_column_text(rows_of(rows)->stmt, col);
    return text ? (const char *)text : ""; /* no memory for it */
}

static const void *lite_get_blob(struct db_rows *rows, int col, size_t *len)
{
    const void *data = sqlite3_column_blob(rows_of(rows)->stmt, col);
    *len = (size_t)sqlite3_column_bytes(rows_of(rows)->stmt, col);
    return data;
}

static int64_t lite_changed(struct db_rows *rows)
{
    return rows_of(rows)->changed;
}

const struct db_driver db_sqlite = {
    .name = "sqlite",
    .one_writer = true,
    .open = lite_open,
    .close = lite_close,
    .check = lite_check,
    .script = lite_script,
    .query = lite_query,
    .next = lite_next,
    .is_null = lite_is_null,
    .get_int = lite_get_int,
    .get_text = lite_get_text,
    .get_blob = lite_get_blob,
    .rows_free = lite_rows_free,
    .changed = lite_changed,
};
