/* Numbered migrations, up and down, recorded in the table schema_migrations. Each step is one
 * transaction together with its record: a crash leaves the version before or after it. */
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "store/migrations.h"
#include "store/store_int.h"

/* Any number; the same for all hubs of a database. */
#define LOCK_PG "SELECT pg_advisory_xact_lock(4852544831)"

static const char ledger[] =
    "CREATE TABLE IF NOT EXISTS schema_migrations (version BIGINT PRIMARY KEY, name TEXT NOT NULL,"
    " applied_ms BIGINT NOT NULL)";

static int32_t newest(void)
{
    return migrations[n_migrations - 1].version;
}

/* One hub at a time: SQLite's writer lock does it, PostgreSQL has a lock for the purpose. */
static enum err begin(struct db *db, struct error *error)
{
    enum err e = db_begin(db, error);
    if (!e) e = db_script(db, db_sql(db, "", LOCK_PG), error);
    if (e) db_rollback(db);
    return e;
}

static enum err current(struct db *db, int64_t *version, struct error *error)
{
    return db_number(db, "SELECT COALESCE(MAX(version), 0) FROM schema_migrations", DB_NO_ARGS,
                     version, error);
}

static enum err make_ledger(struct db *db, struct error *error)
{
    enum err e = begin(db, error);
    if (e) return e;
    return db_end(db, db_script(db, ledger, error), error);
}

static enum err check_known(int64_t version, struct error *error)
{
    if (version <= newest()) return OK;
    return err_set(error, ERR_DATABASE,
                   "the database has version %lld and this program knows versions up to %d: it was "
                   "written by a newer hearth; use that one",
                   (long long)version, newest());
}

static enum err apply(struct db *db, const struct migration *m, struct error *error)
{
    enum err e = db_script(db, db_sql(db, m->up, m->up_pg ? m->up_pg : m->up), error);
    if (e) return err_prefix(error, "migration %d (%s)", m->version, m->name);
    return db_run(
        db, "INSERT INTO schema_migrations (version, name, applied_ms) VALUES ($1, $2, $3)",
        DB_ARGS(db_int(m->version), db_text(m->name), db_int(clock_wall_ms())), NULL, error);
}

static enum err revert(struct db *db, const struct migration *m, struct error *error)
{
    enum err e = db_script(db, db_sql(db, m->down, m->down_pg ? m->down_pg : m->down), error);
    if (e) return err_prefix(error, "undoing migration %d (%s)", m->version, m->name);
    return db_run(db, "DELETE FROM schema_migrations WHERE version = $1",
                  DB_ARGS(db_int(m->version)), NULL, error);
}

static const struct migration *by_version(int64_t version)
{
    for (size_t i = 0; i < n_migrations; i++)
        if (migrations[i].version == version) return &migrations[i];
    return NULL;
}

/* One step towards the target; *done when there is none to take. */
static enum err step(struct db *db, int32_t target, bool *done, struct error *error)
{
    int64_t now = 0;
    enum err e = begin(db, error);
    if (e) return e;
    e = current(db, &now, error);
    if (!e) e = check_known(now, error);
    *done = now == target;
    if (!e && now < target) e = apply(db, by_version(now + 1), error);
    if (!e && now > target) e = revert(db, by_version(now), error);
    return db_end(db, e, error);
}

enum err migrate_to(struct db *db, int32_t target, struct error *error)
{
    if (target < 0) target = newest();
    if (target > newest())
        return err_set(error, ERR_INVALID, "there is no migration %d; the newest is %d", target,
                       newest());
    bool done = false;
    enum err e = make_ledger(db, error);
    while (!e && !done) e = step(db, target, &done, error);
    return e;
}

enum err migrate_status(struct db *db, struct store_migration *out, size_t *n, struct error *error)
{
    int64_t now = 0;
    enum err e = make_ledger(db, error);
    if (!e) e = current(db, &now, error);
    if (!e) e = check_known(now, error);
    *n = 0;
    for (size_t i = 0; !e && i < n_migrations; i++) {
        out[i] =
            (struct store_migration){.version = migrations[i].version, .name = migrations[i].name};
        *n = i + 1;
        if (migrations[i].version > now) continue;
        e = db_number(db, "SELECT applied_ms FROM schema_migrations WHERE version = $1",
                      DB_ARGS(db_int(migrations[i].version)), &out[i].applied_ms, error);
    }
    return e;
}
