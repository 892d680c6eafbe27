/* Moving everything: a backup of a running SQLite file, and from one database to another. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "store/migrations.h"
#include "store/store_int.h"

enum { COLUMNS_MAX = 32, SQL_MAX = 4096, PIECE = 256 /* rows of PostgreSQL at a time */ };

/* ---- backup -------------------------------------------------------------------------------- */

/* Reads one state of the database, whoever writes meanwhile. */
static enum err vacuum_into(struct store *s, const char *to, struct error *error)
{
    struct db *db;
    enum err e = store_acquire(s, STORE_WRITE, &db, error);
    if (e) return e;
    e = db_run(db, "VACUUM INTO $1", DB_ARGS(db_text(to)), NULL, error);
    store_release(s, db);
    return e;
}

static enum err copy_into(struct store *s, const char *to, struct error *error)
{
    struct store *file;
    int64_t rows;
    struct store_params params = {.url = to, .migrate = true};
    enum err e = store_open(&params, &file, error);
    if (e) return e;
    e = store_copy(s, file, &rows, error);
    store_close(file);
    return e;
}

static enum err sync_file(const char *path, struct error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return err_set_errno(error, errno, path);
    enum err e = fsync(fd) == 0 ? OK : err_set_errno(error, errno, path);
    close(fd);
    return e;
}

/* The file appears under its name when it is whole. */
enum err store_backup(struct store *s, const char *to, struct error *error)
{
    char part[FS_PATH_MAX], log[FS_PATH_MAX];
    if (access(to, F_OK) == 0) return err_set(error, ERR_CONFLICT, "%s exists already", to);
    if (!str_printf(part, sizeof part, "%s.part", to) ||
        !str_printf(log, sizeof log, "%s.part-wal", to))
        return err_set(error, ERR_INVALID, "the path of the backup is too long");
    unlink(part);
    unlink(log);
    enum err e =
        str_eq(store_kind(s), "sqlite") ? vacuum_into(s, part, error) : copy_into(s, part, error);
    if (!e) e = sync_file(part, error);
    if (!e && renameat2(AT_FDCWD, part, AT_FDCWD, to, RENAME_NOREPLACE) != 0)
        e = err_set_errno(error, errno, to);
    if (e) {
        unlink(part);
        unlink(log);
    }
    return e;
}

enum err store_check(struct store *s, struct error *error)
{
    struct db *db;
    struct db_rows *rows;
    if (!str_eq(store_kind(s), "sqlite")) return store_ping(s, error);
    enum err e = store_acquire(s, STORE_WRITE, &db, error);
    if (e) return e;
    e = db_one(db, "PRAGMA integrity_check(1)", DB_NO_ARGS, "answer", &rows, error);
    if (!e) {
        if (!str_eq(db_get_text(rows, 0), "ok"))
            e = err_set(error, ERR_CHECKSUM, "the database is damaged: %.300s",
                        db_get_text(rows, 0));
        db_rows_free(rows);
    }
    store_release(s, db);
    return e;
}

/* ---- from one to another ------------------------------------------------------------------- */

/* Of a table in one direction; they live as long as the copy, as db_query wants it. */
struct texts {
    char select[SQL_MAX], declare[SQL_MAX + 128], fetch[128], insert[SQL_MAX], count[128];
};

static void write_texts(const struct table *t, struct texts *out)
{
    struct buf b;
    size_t n = strlen(t->types);
    ht_assert(n <= COLUMNS_MAX);
    str_printf(out->select, sizeof out->select, "SELECT %s FROM %s ORDER BY %s", t->columns,
               t->name, t->order);
    str_printf(out->declare, sizeof out->declare, "DECLARE copy_%s NO SCROLL CURSOR FOR %s",
               t->name, out->select);
    str_printf(out->fetch, sizeof out->fetch, "FETCH FORWARD %d FROM copy_%s", PIECE, t->name);
    str_printf(out->count, sizeof out->count, "SELECT COUNT(*) FROM %s", t->name);
    buf_init_fixed(&b, out->insert, sizeof out->insert);
    buf_printf(&b, "INSERT INTO %s (%s) VALUES (", t->name, t->columns);
    for (size_t i = 0; i < n; i++) buf_printf(&b, "%s$%zu", i ? ", " : "", i + 1);
    buf_putc(&b, ')');
    ht_assert(!b.err);
}

static struct db_value blob_value(struct db_rows *rows, int col)
{
    size_t len;
    const void *data = db_get_blob(rows, col, &len);
    return db_blob(data, len);
}

static enum err copy_row(struct db_rows *rows, struct db *to, const struct table *t,
                         const char *insert, struct error *error)
{
    struct db_value values[COLUMNS_MAX];
    size_t n = strlen(t->types);
    for (size_t i = 0; i < n; i++) {
        int col = (int)i;
        if (db_is_null(rows, col))
            values[i] = db_text(NULL);
        else if (t->types[i] == 'i')
            values[i] = db_int(db_get_int(rows, col));
        else if (t->types[i] == 'b')
            values[i] = blob_value(rows, col);
        else
            values[i] = db_text(db_get_text(rows, col));
    }
    return db_run(to, insert, values, n, NULL, error);
}

/* What `sql` gives; *n rows are added to the count. */
static enum err copy_rows(struct db *from, struct db *to, const struct table *t, const char *sql,
                          const char *insert, int64_t *n, struct error *error)
{
    struct db_rows *rows = NULL;
    bool has = true;
    enum err e = db_query(from, sql, DB_NO_ARGS, &rows, error);
    while (!e && has) {
        e = db_next(rows, &has, error);
        if (e || !has) break;
        e = copy_row(rows, to, t, insert, error);
        ++*n;
    }
    db_rows_free(rows);
    return e;
}

/* SQLite gives one row after the other. libpq would keep all rows of a result in memory, which for
 * vectors may be more than there is: so a cursor, some rows at a time. */
static enum err copy_pieces(struct db *from, struct db *to, const struct table *t,
                            const struct texts *sql, int64_t *count, struct error *error)
{
    int64_t n = PIECE;
    if (db_is_sqlite(from)) return copy_rows(from, to, t, sql->select, sql->insert, count, error);
    enum err e = db_script(from, sql->declare, error);
    while (!e && n >= PIECE) {
        n = 0;
        e = copy_rows(from, to, t, sql->fetch, sql->insert, &n, error);
        *count += n;
    }
    return e;
}

static enum err copy_table(struct db *from, struct db *to, const struct table *t,
                           const struct texts *sql, int64_t *count, struct error *error)
{
    int64_t there;
    enum err e = db_number(to, sql->count, DB_NO_ARGS, &there, error);
    if (!e && there)
        e = err_set(error, ERR_CONFLICT,
                    "the database to copy to has %lld rows in %s; it must be an empty one",
                    (long long)there, t->name);
    if (!e) e = copy_pieces(from, to, t, sql, count, error);
    return e ? err_prefix(error, "copying %s", t->name) : OK;
}

/* Without it each statement on PostgreSQL sees what was committed before itself. */
#define ONE_STATE "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"

static enum err copy_all(struct db *from, struct db *to, const struct texts *texts, int64_t *count,
                         struct error *error)
{
    enum err e = db_begin(from, error);
    if (!e) e = db_script(from, db_sql(from, "SELECT 1", ONE_STATE), error);
    if (!e) e = db_begin(to, error);
    for (size_t i = 0; !e && i < n_tables; i++)
        e = copy_table(from, to, &tables[i], &texts[i], count, error);
    if (!e && db_is_sqlite(to)) e = db_script(to, tables_then, error);
    if (to->in_transaction) e = db_end(to, e, error);
    db_rollback(from);
    return e;
}

enum err store_copy(struct store *from, struct store *to, int64_t *rows, struct error *error)
{
    struct db *source, *target;
    *rows = 0;
    enum err e = store_acquire(from, STORE_READ, &source, error);
    if (e) return e;
    e = store_acquire(to, STORE_WRITE, &target, error);
    if (!e) {
        struct texts *texts = xcalloc(n_tables, sizeof *texts);
        for (size_t i = 0; i < n_tables; i++) write_texts(&tables[i], &texts[i]);
        e = copy_all(source, target, texts, rows, error);
        store_forget(from, source);
        store_forget(to, target);
        free(texts);
    } else {
        store_release(from, source);
    }
    return e;
}
