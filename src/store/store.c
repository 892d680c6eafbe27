/* The store's connections: opened when they are needed, kept, given to one verb at a time.
 *
 * SQLite takes one writer at a time, so there is one writing connection and verbs wait for it here,
 * in turn, rather than in SQLite's busy loop. */
#include "store/store.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "store/store_int.h"

enum { TEXT_MAX = 1024, TEXTS_MAX = 512 };
enum { CONNECTIONS_DEFAULT = 8, CONNECTIONS_MAX = 64, BUSY_DEFAULT_MS = 5000 };

struct connections {
    struct db *idle[CONNECTIONS_MAX];
    int32_t n_idle, n_open, most;
    pthread_cond_t freed;
};

struct store {
    const struct db_driver *driver;
    char *place;
    char *extension; /* may be NULL */
    int32_t busy_ms;
    pthread_mutex_t lock; /* of what follows; never held while a database is asked */
    struct connections readers, writers;
    char *texts[TEXTS_MAX]; /* store_text */
    size_t n_texts;
};

/* ---- opening ------------------------------------------------------------------------------- */

/* NULL: the url is a file. */
static char *pg_place(const char *url)
{
    static const char *const schemes[] = {"postgresql://", "postgres://", "postgresql+asyncpg://"};
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        if (!str_starts(url, schemes[i])) continue;
        const char *rest = url + strlen(schemes[i]);
        size_t size = strlen(rest) + sizeof "postgresql://";
        char *place = xmalloc(size);
        str_printf(place, size, "postgresql://%s", rest);
        return place;
    }
    return NULL;
}

static struct connections *connections_of(struct store *s, enum store_use use)
{
    return s->driver->one_writer && use == STORE_WRITE ? &s->writers : &s->readers;
}

static void close_all(struct connections *c)
{
    ht_assert(c->n_idle == c->n_open);
    for (int32_t i = 0; i < c->n_idle; i++) c->idle[i]->driver->close(c->idle[i]);
    pthread_cond_destroy(&c->freed);
}

void store_close(struct store *s)
{
    if (!s) return;
    close_all(&s->readers); /* the writer last: it folds the log into the file */
    close_all(&s->writers);
    pthread_mutex_destroy(&s->lock);
    free(s->place);
    free(s->extension);
    for (size_t i = 0; i < s->n_texts; i++) free(s->texts[i]);
    free(s);
}

static enum err prepare_schema(struct store *s, bool migrate, struct error *error)
{
    struct db *db;
    struct store_migration all[STORE_MIGRATIONS_MAX];
    size_t n;
    enum err e = store_acquire(s, STORE_WRITE, &db, error);
    if (e) return e;
    if (migrate) e = migrate_to(db, -1, error);
    if (!e) e = migrate_status(db, all, &n, error);
    store_release(s, db);
    if (!e && !migrate && n && !all[n - 1].applied_ms)
        return err_set(error, ERR_DATABASE,
                       "the database is older than this program; run: hearth db migrate");
    return e;
}

enum err store_open(const struct store_params *params, struct store **out, struct error *error)
{
    struct store *s = xcalloc(1, sizeof *s);
    int32_t most = params->connections > 0 ? params->connections : CONNECTIONS_DEFAULT;
    s->place = pg_place(params->url);
    s->driver = s->place ? &db_pg : &db_sqlite;
    if (!s->place) s->place = xstrdup(params->url);
    if (params->vec_extension) s->extension = xstrdup(params->vec_extension);
    s->busy_ms = params->busy_ms > 0 ? params->busy_ms : BUSY_DEFAULT_MS;
    s->readers.most = most < CONNECTIONS_MAX ? most : CONNECTIONS_MAX;
    s->writers.most = 1;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->readers.freed, NULL);
    pthread_cond_init(&s->writers.freed, NULL);
    enum err e = prepare_schema(s, params->migrate, error);
    if (e) {
        store_close(s);
        return e;
    }
    *out = s;
    return OK;
}

const char *store_kind(const struct store *s)
{
    return s->driver->name;
}

/* ---- taking and giving back ----------------------------------------------------------------- */

/* An idle connection, or NULL and a place for a new one. */
static struct db *take(struct store *s, struct connections *c)
{
    struct db *db = NULL;
    pthread_mutex_lock(&s->lock);
    while (c->n_idle == 0 && c->n_open == c->most) pthread_cond_wait(&c->freed, &s->lock);
    if (c->n_idle)
        db = c->idle[--c->n_idle];
    else
        c->n_open++;
    pthread_mutex_unlock(&s->lock);
    return db;
}

static void give_back(struct store *s, struct connections *c, struct db *db)
{
    pthread_mutex_lock(&s->lock);
    if (db)
        c->idle[c->n_idle++] = db;
    else
        c->n_open--;
    pthread_cond_signal(&c->freed);
    pthread_mutex_unlock(&s->lock);
}

enum err store_acquire(struct store *s, enum store_use use, struct db **out, struct error *error)
{
    struct connections *c = connections_of(s, use);
    struct db *db = take(s, c);
    enum err e;
    if (db) {
        e = s->driver->check(db, error);
    } else {
        struct db_params params = {.place = s->place,
                                   .read_only = s->driver->one_writer && use == STORE_READ,
                                   .busy_ms = s->busy_ms,
                                   .extension = s->extension};
        e = s->driver->open(&params, &db, error);
    }
    if (e) {
        give_back(s, c, db);
        return e;
    }
    *out = db;
    return OK;
}

void store_release(struct store *s, struct db *db)
{
    db_rollback(db);
    give_back(s, connections_of(s, db->read_only ? STORE_READ : STORE_WRITE), db);
}

void store_forget(struct store *s, struct db *db)
{
    struct connections *c = connections_of(s, db->read_only ? STORE_READ : STORE_WRITE);
    db_rollback(db);
    s->driver->close(db);
    give_back(s, c, NULL);
}

enum err store_write(struct store *s, const char *sql, const struct db_value *args, size_t n_args,
                     const char *what, struct error *error)
{
    struct db *db;
    int64_t changed = 0;
    enum err e = store_acquire(s, STORE_WRITE, &db, error);
    if (e) return e;
    e = db_run(db, sql, args, n_args, &changed, error);
    if (!e && what && !changed) e = err_set(error, ERR_NOT_FOUND, "there is no such %s", what);
    store_release(s, db);
    return e;
}

enum err store_other_state(struct store *s, enum err e, const char *sql, const char *id,
                           const char *what, const char *tail, struct error *error)
{
    struct db *db;
    struct db_rows *rows;
    if (e != ERR_NOT_FOUND) return e;
    e = store_acquire(s, STORE_READ, &db, error);
    if (e) return e;
    e = db_one(db, sql, DB_ARGS(db_text(id)), what, &rows, error);
    if (!e) e = err_set(error, ERR_CONFLICT, "the %s is %s%s", what, db_get_text(rows, 0), tail);
    db_rows_free(rows);
    store_release(s, db);
    return e;
}

enum err store_page_ms(struct db *db, const char *sql, const char *user_id,
                       const struct store_page_start *page, int64_t *ms, struct error *error)
{
    struct db_rows *rows;
    *ms = page->oldest_first ? -1 : INT64_MAX;
    if (!page->after) return OK;
    enum err e =
        db_one(db, sql, DB_ARGS(db_text(user_id), db_text(page->after)), page->what, &rows, error);
    if (!e) *ms = db_get_int(rows, 0);
    db_rows_free(rows);
    return e;
}

const char *store_vec_extension(const struct store *s)
{
    return s->extension;
}

const char *store_text(struct store *s, const char *fmt, ...)
{
    char text[TEXT_MAX];
    const char *found = NULL;
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    ht_assert(len >= 0 && (size_t)len < sizeof text);
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; !found && i < s->n_texts; i++)
        if (str_eq(s->texts[i], text)) found = s->texts[i];
    if (!found && s->n_texts < TEXTS_MAX) found = s->texts[s->n_texts++] = xstrdup(text);
    pthread_mutex_unlock(&s->lock);
    return found;
}

enum err store_ping(struct store *s, struct error *error)
{
    struct db *db;
    int64_t one;
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (e) return e;
    e = db_number(db, "SELECT 1", DB_NO_ARGS, &one, error);
    store_release(s, db);
    return e;
}

/* ---- migrations ---------------------------------------------------------------------------- */

enum err store_migrations(struct store *s, struct store_migration out[STORE_MIGRATIONS_MAX],
                          size_t *n, struct error *error)
{
    struct db *db;
    enum err e = store_acquire(s, STORE_WRITE, &db, error);
    if (e) return e;
    e = migrate_status(db, out, n, error);
    store_release(s, db);
    return e;
}

enum err store_migrate(struct store *s, int32_t target, struct error *error)
{
    struct db *db;
    enum err e = store_acquire(s, STORE_WRITE, &db, error);
    if (e) return e;
    e = migrate_to(db, target, error);
    store_release(s, db);
    return e;
}
