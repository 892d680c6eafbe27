/* API keys, refresh tokens and invitations; see store_user.h. */
#include "base/clock.h"
#include "base/id.h"
#include "base/str.h"
#include "store/store_int.h"
#include "store/store_user.h"

enum { USE_NOTED_MS = 60000, KEYS_MAX = 1000 };

/* ---- API keys ------------------------------------------------------------------------------ */

#define KEY_COLUMNS                                                                                \
    "id, user_id, name, scopes, requests_per_minute, created_ms, COALESCE(expires_ms, 0),"         \
    " COALESCE(used_ms, 0), local_only"

static struct db_value or_null(int64_t ms)
{
    return ms ? db_int(ms) : db_text(NULL);
}

enum err store_key_create(struct store *s, const struct store_key *key, const char *hash,
                          struct error *error)
{
    enum err e = store_write(
        s,
        "INSERT INTO api_keys (id, user_id, name, hash, scopes, requests_per_minute,"
        " created_ms, expires_ms, local_only)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        DB_ARGS(db_text(key->id), db_text(key->user_id), db_text(key->name), db_text(hash),
                db_text(key->scopes), db_int(key->requests_per_minute), db_int(clock_wall_ms()),
                or_null(key->expires_ms), db_int(key->local_only)),
        NULL, error);
    if (e == ERR_NOT_FOUND) return err_set(error, e, "there is no such user");
    if (e != ERR_CONFLICT) return e;
    return err_set_param(error, e, "/name", "there is a key named %s already", key->name);
}

static enum err read_key(struct db_rows *rows, struct arena *a, struct store_key *out,
                         struct error *error)
{
    enum err e = OK;
    *out = (struct store_key){.id = db_take_text(rows, 0, a, &e),
                              .user_id = db_take_text(rows, 1, a, &e),
                              .name = db_take_text(rows, 2, a, &e),
                              .scopes = db_take_text(rows, 3, a, &e),
                              .requests_per_minute = db_get_int(rows, 4),
                              .created_ms = db_get_int(rows, 5),
                              .expires_ms = db_get_int(rows, 6),
                              .used_ms = db_get_int(rows, 7),
                              .local_only = db_get_int(rows, 8) != 0};
    return e ? err_set(error, e, "no memory for an API key") : OK;
}

static enum err find_key(struct store *s, const char *sql, const struct db_value *args, size_t n,
                         struct arena *a, struct store_key *out, struct error *error)
{
    struct db *db;
    struct db_rows *rows = NULL;
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (e) return e;
    e = db_one(db, sql, args, n, "API key", &rows, error);
    if (!e) e = read_key(rows, a, out, error);
    db_rows_free(rows);
    store_release(s, db);
    return e;
}

enum err store_key_by_hash(struct store *s, const char *hash, struct arena *a,
                           struct store_key *out, struct error *error)
{
    int64_t now = clock_wall_ms();
    enum err e = find_key(s,
                          "SELECT " KEY_COLUMNS " FROM api_keys WHERE hash = $1"
                          " AND (expires_ms IS NULL OR expires_ms > $2)",
                          DB_ARGS(db_text(hash), db_int(now)), a, out, error);
    if (e || now - out->used_ms < USE_NOTED_MS) return e;
    return store_write(s, "UPDATE api_keys SET used_ms = $2 WHERE hash = $1",
                       DB_ARGS(db_text(hash), db_int(now)), NULL, error);
}

enum err store_key_by_id(struct store *s, const char *user_id, const char *id, struct arena *a,
                         struct store_key *out, struct error *error)
{
    return find_key(s,
                    "SELECT " KEY_COLUMNS " FROM api_keys WHERE user_id = $1 AND id = $2"
                    " AND (expires_ms IS NULL OR expires_ms > $3)",
                    DB_ARGS(db_text(user_id), db_text(id), db_int(clock_wall_ms())), a, out, error);
}

enum err store_key_list(struct store *s, const char *user_id, struct arena *a,
                        struct store_key **out, size_t *n, struct error *error)
{
    struct db *db;
    struct db_rows *rows = NULL;
    bool has = true;
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (e) return e;
    *n = 0;
    *out = arena_calloc(a, KEYS_MAX, sizeof **out);
    if (!*out) e = err_set(error, ERR_NOMEM, "no memory for %d API keys", KEYS_MAX);
    if (!e)
        e = db_query(
            db, "SELECT " KEY_COLUMNS " FROM api_keys WHERE user_id = $1 ORDER BY name LIMIT $2",
            DB_ARGS(db_text(user_id), db_int(KEYS_MAX)), &rows, error);
    while (!e && has) {
        e = db_next(rows, &has, error);
        if (!e && has) e = read_key(rows, a, &(*out)[(*n)++], error);
    }
    db_rows_free(rows);
    store_release(s, db);
    return e;
}

enum err store_key_delete(struct store *s, const char *user_id, const char *id, struct error *error)
{
    return store_write(s, "DELETE FROM api_keys WHERE user_id = $1 AND id = $2",
                       DB_ARGS(db_text(user_id), db_text(id)), "API key", error);
}

/* ---- refresh tokens ------------------------------------------------------------------------ */

enum err store_refresh_add(struct store *s, const char *user_id, const char *hash,
                           int64_t expires_ms, struct error *error)
{
    return store_write(
        s,
        "INSERT INTO refresh_tokens (hash, user_id, created_ms, expires_ms)"
        " VALUES ($1, $2, $3, $4)",
        DB_ARGS(db_text(hash), db_text(user_id), db_int(clock_wall_ms()), db_int(expires_ms)), NULL,
        error);
}

/* Reading and taking is one statement, so that of two that come at once one gets it. */
enum err store_refresh_take(struct store *s, const char *hash, char user_id[STORE_ID_MAX],
                            struct error *error)
{
    struct db *db;
    struct db_rows *rows = NULL;
    enum err e = store_acquire(s, STORE_WRITE, &db, error);
    if (e) return e;
    e = db_one(db, "DELETE FROM refresh_tokens WHERE hash = $1 RETURNING user_id, expires_ms",
               DB_ARGS(db_text(hash)), "refresh token", &rows, error);
    if (!e && db_get_int(rows, 1) <= clock_wall_ms())
        e = err_set(error, ERR_NOT_FOUND, "the refresh token has expired");
    if (!e && !str_copy(user_id, STORE_ID_MAX, db_get_text(rows, 0)))
        e = err_set(error, ERR_INTERNAL, "the user's id is too long");
    bool has = true;
    while (rows && has) /* to its end, so that it is done */
        if (db_next(rows, &has, NULL)) break;
    db_rows_free(rows);
    store_release(s, db);
    return e;
}

enum err store_refresh_clear(struct store *s, const char *user_id, struct error *error)
{
    return store_write(s, "DELETE FROM refresh_tokens WHERE user_id = $1 OR expires_ms <= $2",
                       DB_ARGS(db_text(user_id), db_int(clock_wall_ms())), NULL, error);
}

/* ---- invitations --------------------------------------------------------------------------- */

enum err store_invitation_add(struct store *s, const char *hash, const char *by, int64_t expires_ms,
                              struct error *error)
{
    return store_write(
        s,
        "INSERT INTO invitations (hash, created_by, created_ms, expires_ms) VALUES ($1, $2, $3, "
        "$4)",
        DB_ARGS(db_text(hash), db_text(by), db_int(clock_wall_ms()), db_int(expires_ms)), NULL,
        error);
}

/* ---- audit --------------------------------------------------------------------------------- */

enum { AUDIT_PAGE_MAX = 1000 };

enum err store_audit_add(struct store *s, const struct store_audit *entry, struct error *error)
{
    char id[37];
    id_uuid4(id);
    return store_write(s,
                       "INSERT INTO audit (id, at_ms, event, user_id, address, details)"
                       " VALUES ($1, $2, $3, $4, $5, COALESCE($6, '{}'))",
                       DB_ARGS(db_text(id), db_int(entry->at_ms ? entry->at_ms : clock_wall_ms()),
                               db_text(entry->event), db_text(entry->user_id),
                               db_text(entry->address), db_text(entry->details)),
                       NULL, error);
}

static enum err read_audit(struct db_rows *rows, struct arena *a, struct store_audit *out,
                           struct error *error)
{
    enum err e = OK;
    *out = (struct store_audit){.at_ms = db_get_int(rows, 0),
                                .event = db_take_text(rows, 1, a, &e),
                                .user_id = db_take_text(rows, 2, a, &e),
                                .address = db_take_text(rows, 3, a, &e),
                                .details = db_take_text(rows, 4, a, &e)};
    return e ? err_set(error, e, "no memory for the audit log") : OK;
}

enum err store_audit_list(struct store *s, int64_t before_ms, int32_t limit, struct arena *a,
                          struct store_audit **out, size_t *n, struct error *error)
{
    struct db *db;
    struct db_rows *rows = NULL;
    bool has = true;
    if (limit < 1 || limit > AUDIT_PAGE_MAX) limit = AUDIT_PAGE_MAX;
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (e) return e;
    *n = 0;
    *out = arena_calloc(a, (size_t)limit, sizeof **out);
    if (!*out) e = err_set(error, ERR_NOMEM, "no memory for %d entries", limit);
    if (!e)
        e = db_query(db,
                     "SELECT at_ms, event, user_id, address, details FROM audit WHERE at_ms < $1"
                     " ORDER BY at_ms DESC, id LIMIT $2",
                     DB_ARGS(db_int(before_ms), db_int(limit)), &rows, error);
    while (!e && has) {
        e = db_next(rows, &has, error);
        if (!e && has) e = read_audit(rows, a, &(*out)[(*n)++], error);
    }
    db_rows_free(rows);
    store_release(s, db);
    return e;
}
