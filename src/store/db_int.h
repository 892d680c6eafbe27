/* A connection to a database: one face, two drivers (db_sqlite.c, db_pg.c). Only for files of this
 * folder; SQL never leaves it.
 *
 * The same SQL text runs on both wherever they agree: parameters are $1, $2, ...; times are
 * milliseconds since 1970 in BIGINT, truth values are 0 and 1, ids are text, JSON is text. Where
 * they differ (full text search) a verb gives one text for each, see db_sql.
 *
 * A connection belongs to one thread at a time (store_acquire, store_release). Statements are
 * prepared once per connection and kept by the address of their text: `sql` must be a string
 * literal or live as long as the store. */
#ifndef HEARTH_STORE_DB_INT_H
#define HEARTH_STORE_DB_INT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"

struct db;
struct db_rows;

/* ---- values ------------------------------------------------------------------------------- */

enum db_type { DB_NULL, DB_INT, DB_TEXT, DB_BLOB };

struct db_value { /* texts and blobs are borrowed during the call */
    enum db_type type;
    int64_t i;
    const void *data;
    size_t len;
};

struct db_value db_int(int64_t i);
struct db_value db_text(const char *s); /* NULL = SQL's NULL */
/* PostgreSQL takes it as the binary form of whatever type the place has (bytea, vector). */
struct db_value db_blob(const void *data, size_t len);
#define DB_ARGS(...)                                                                               \
    (const struct db_value[]){__VA_ARGS__},                                                        \
        sizeof((const struct db_value[]){__VA_ARGS__}) / sizeof(struct db_value)
#define DB_NO_ARGS NULL, 0

/* ---- drivers ------------------------------------------------------------------------------ */

struct db_params {
    const char *place; /* SQLite: a file; PostgreSQL: a connection string */
    bool read_only;    /* this connection only reads */
    int32_t busy_ms;   /* how long a lock is waited for */
    /* SQLite: an extension to load, NULL = none. Without it the connection is opened all the same,
     * and statements that need its functions fail. */
    const char *extension;
};

/* All MUST. One instance per driver. */
struct db_driver {
    const char *name; /* "sqlite", "postgresql" */
    bool one_writer;  /* the database takes one write transaction at a time */
    enum err (*open)(const struct db_params *params, struct db **out, struct error *error);
    void (*close)(struct db *db);
    /* Mends a connection that was lost; OK when it is usable. */
    enum err (*check)(struct db *db, struct error *error);
    /* Several statements without parameters or results. */
    enum err (*script)(struct db *db, const char *sql, struct error *error);
    enum err (*query)(struct db *db, const char *sql, const struct db_value *args, size_t n_args,
                      struct db_rows **out, struct error *error);
    enum err (*next)(struct db_rows *rows, bool *has, struct error *error);
    bool (*is_null)(struct db_rows *rows, int col);
    int64_t (*get_int)(struct db_rows *rows, int col);
    const char *(*get_text)(struct db_rows *rows, int col);
    const void *(*get_blob)(struct db_rows *rows, int col, size_t *len);
    void (*rows_free)(struct db_rows *rows);
    int64_t (*changed)(struct db_rows *rows); /* rows that the finished statement changed */
};

extern const struct db_driver db_sqlite, db_pg;

struct db { /* first member of a driver's connection */
    const struct db_driver *driver;
    bool in_transaction, read_only;
};

struct db_rows { /* first member of a driver's result */
    struct db *db;
};

/* ---- for verbs ---------------------------------------------------------------------------- */

HT_MUST_CHECK enum err db_script(struct db *db, const char *sql, struct error *error);
/* ERR_CONFLICT: a unique value exists already; ERR_NOT_FOUND: what a row refers to is not there;
 * ERR_DATABASE: gone or busy, try later; ERR_DISK_FULL; ERR_INTERNAL: the statement is wrong. */
HT_MUST_CHECK enum err db_query(struct db *db, const char *sql, const struct db_value *args,
                                size_t n_args, struct db_rows **out, struct error *error);
/* Goes to the next row; false at the end. */
HT_MUST_CHECK enum err db_next(struct db_rows *rows, bool *has, struct error *error);
void db_rows_free(struct db_rows *rows); /* NULL is fine */
/* Of the row under the cursor. Texts are borrowed until db_next; NULL for SQL's NULL. */
bool db_is_null(struct db_rows *rows, int col);
int64_t db_get_int(struct db_rows *rows, int col);
const char *db_get_text(struct db_rows *rows, int col);
/* Of a BLOB or bytea column; borrowed until the next db_get_blob or db_next. */
const void *db_get_blob(struct db_rows *rows, int col, size_t *len);
/* Copies into the arena; *e becomes ERR_NOMEM when it is full. NULL stays NULL. */
const char *db_take_text(struct db_rows *rows, int col, struct arena *a, enum err *e);

/* A statement without results; *changed (may be NULL) is the number of rows. */
HT_MUST_CHECK enum err db_run(struct db *db, const char *sql, const struct db_value *args,
                              size_t n_args, int64_t *changed, struct error *error);
/* One row or ERR_NOT_FOUND (with `what` in its words); free it with db_rows_free. */
HT_MUST_CHECK enum err db_one(struct db *db, const char *sql, const struct db_value *args,
                              size_t n_args, const char *what, struct db_rows **out,
                              struct error *error);
/* One number. */
HT_MUST_CHECK enum err db_number(struct db *db, const char *sql, const struct db_value *args,
                                 size_t n_args, int64_t *out, struct error *error);

HT_MUST_CHECK enum err db_begin(struct db *db, struct error *error);
void db_rollback(struct db *db); /* outside a transaction: nothing */
/* Commits when e is OK, else rolls back; returns the first failure. */
HT_MUST_CHECK enum err db_end(struct db *db, enum err e, struct error *error);

bool db_is_sqlite(const struct db *db);
/* The text for this connection's database. */
const char *db_sql(const struct db *db, const char *sqlite, const char *postgresql);

#endif
