/* Users; see store_user.h. */
#include <ctype.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "store/store_int.h"
#include "store/store_user.h"

#define USER_COLUMNS                                                                               \
    "id, username, email, password_hash, settings, role, disabled, token_version, created_ms,"     \
    " COALESCE(last_login_ms, 0), local_only"

/* ---- reading ------------------------------------------------------------------------------- */

static enum err read_user(struct db_rows *rows, struct arena *a, struct store_user *out,
                          struct error *error)
{
    enum err e = OK;
    *out = (struct store_user){.id = db_take_text(rows, 0, a, &e),
                               .username = db_take_text(rows, 1, a, &e),
                               .email = db_take_text(rows, 2, a, &e),
                               .password_hash = db_take_text(rows, 3, a, &e),
                               .settings = db_take_text(rows, 4, a, &e),
                               .admin = str_eq(db_get_text(rows, 5), "admin"),
                               .disabled = db_get_int(rows, 6) != 0,
                               .token_version = db_get_int(rows, 7),
                               .created_ms = db_get_int(rows, 8),
                               .last_login_ms = db_get_int(rows, 9),
                               .local_only = db_get_int(rows, 10) != 0};
    return e ? err_set(error, e, "no memory for an account") : OK;
}

static enum err find_user(struct store *s, const char *sql, const char *by, struct arena *a,
                          struct store_user *out, struct error *error)
{
    struct db *db;
    struct db_rows *rows = NULL;
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (e) return e;
    e = db_one(db, sql, DB_ARGS(db_text(by)), "user", &rows, error);
    if (!e) e = read_user(rows, a, out, error);
    db_rows_free(rows);
    store_release(s, db);
    return e;
}

enum err store_user_by_id(struct store *s, const char *id, struct arena *a, struct store_user *out,
                          struct error *error)
{
    return find_user(s, "SELECT " USER_COLUMNS " FROM users WHERE id = $1", id, a, out, error);
}

/* ASCII only: what another database thinks of as lower case must not matter. */
static bool lower(char *dst, size_t size, const char *s)
{
    if (!str_copy(dst, size, s)) return false;
    for (; *dst; dst++)
        if (*dst >= 'A' && *dst <= 'Z') *dst = (char)(*dst - 'A' + 'a');
    return true;
}

enum err store_user_by_name(struct store *s, const char *username, struct arena *a,
                            struct store_user *out, struct error *error)
{
    char key[STORE_USERNAME_MAX + 1];
    if (!lower(key, sizeof key, username))
        return err_set(error, ERR_NOT_FOUND, "there is no such user");
    return find_user(s, "SELECT " USER_COLUMNS " FROM users WHERE username_key = $1", key, a, out,
                     error);
}

enum err store_user_count(struct store *s, int64_t *n, struct error *error)
{
    struct db *db;
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (e) return e;
    e = db_number(db, "SELECT COUNT(*) FROM users", DB_NO_ARGS, n, error);
    store_release(s, db);
    return e;
}

static enum err list_users(struct db *db, struct arena *a, struct store_user **out, size_t *n,
                           struct error *error)
{
    int64_t count;
    struct db_rows *rows = NULL;
    bool has = true;
    enum err e = db_number(db, "SELECT COUNT(*) FROM users", DB_NO_ARGS, &count, error);
    if (e) return e;
    *out = arena_calloc(a, (size_t)count + 1, sizeof **out);
    if (!*out) return err_set(error, ERR_NOMEM, "no memory for %lld users", (long long)count);
    e = db_query(db, "SELECT " USER_COLUMNS " FROM users ORDER BY username_key LIMIT $1",
                 DB_ARGS(db_int(count)), &rows, error);
    for (*n = 0; !e && has;) {
        e = db_next(rows, &has, error);
        if (!e && has) e = read_user(rows, a, &(*out)[(*n)++], error);
    }
    db_rows_free(rows);
    return e;
}

enum err store_user_list(struct store *s, struct arena *a, struct store_user **out, size_t *n,
                         struct error *error)
{
    struct db *db;
    enum err e = store_acquire(s, STORE_READ, &db, error);
    if (e) return e;
    e = list_users(db, a, out, n, error);
    store_release(s, db);
    return e;
}

/* ---- writing ------------------------------------------------------------------------------- */

static enum err take_invitation(struct db *db, const char *hash, int64_t now, struct error *error)
{
    int64_t changed = 0;
    enum err e = db_run(db,
                        "UPDATE invitations SET used_ms = $2 WHERE hash = $1 AND used_ms IS NULL"
                        " AND expires_ms > $2",
                        DB_ARGS(db_text(hash), db_int(now)), &changed, error);
    return e || changed ? e : err_set(error, ERR_NOT_FOUND, "there is no such invitation");
}

static enum err insert_user(struct db *db, const struct store_user_new *u, const char *key,
                            struct error *error)
{
    int64_t now = clock_wall_ms();
    enum err e = u->invitation ? take_invitation(db, u->invitation, now, error) : OK;
    if (e) return e;
    return db_run(
        db,
        "INSERT INTO users (id, username, username_key, email, password_hash, role, created_ms,"
        " updated_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $7)",
        DB_ARGS(db_text(u->id), db_text(u->username), db_text(key), db_text(u->email),
                db_text(u->password_hash), db_text(u->admin ? "admin" : "user"), db_int(now)),
        NULL, error);
}

enum err store_user_create(struct store *s, const struct store_user_new *u, struct error *error)
{
    struct db *db;
    char key[STORE_USERNAME_MAX + 1];
    if (!lower(key, sizeof key, u->username))
        return err_set_param(error, ERR_INVALID, "/username",
                             "the user's name is longer than %d bytes", STORE_USERNAME_MAX);
    enum err e = store_acquire(s, STORE_WRITE, &db, error);
    if (e) return e;
    e = db_begin(db, error);
    if (!e) e = db_end(db, insert_user(db, u, key, error), error);
    store_release(s, db);
    if (e != ERR_CONFLICT) return e;
    return err_set_param(error, e, "/username", "the name %s is taken; choose another one",
                         u->username);
}

/* One row of a user changes, or ERR_NOT_FOUND. */
static enum err change_user(struct store *s, const char *sql, const struct db_value *args, size_t n,
                            struct error *error)
{
    return store_write(s, sql, args, n, "user", error);
}

enum err store_user_set_password(struct store *s, const char *id, const char *hash,
                                 struct error *error)
{
    return change_user(s,
                       "UPDATE users SET password_hash = $2, token_version = token_version + 1,"
                       " updated_ms = $3 WHERE id = $1",
                       DB_ARGS(db_text(id), db_text(hash), db_int(clock_wall_ms())), error);
}

enum err store_user_set_profile(struct store *s, const char *id, const char *email,
                                const char *settings, struct error *error)
{
    return change_user(
        s,
        "UPDATE users SET email = COALESCE($2, email), settings = COALESCE($3, settings),"
        " updated_ms = $4 WHERE id = $1",
        DB_ARGS(db_text(id), db_text(email), db_text(settings), db_int(clock_wall_ms())), error);
}

enum err store_user_set_local_only(struct store *s, const char *id, bool local_only,
                                   struct error *error)
{
    return change_user(s, "UPDATE users SET local_only = $2, updated_ms = $3 WHERE id = $1",
                       DB_ARGS(db_text(id), db_int(local_only), db_int(clock_wall_ms())), error);
}

enum err store_user_void_tokens(struct store *s, const char *id, struct error *error)
{
    return change_user(s, "UPDATE users SET token_version = token_version + 1 WHERE id = $1",
                       DB_ARGS(db_text(id)), error);
}

enum err store_user_logged_in(struct store *s, const char *id, struct error *error)
{
    return change_user(s, "UPDATE users SET last_login_ms = $2 WHERE id = $1",
                       DB_ARGS(db_text(id), db_int(clock_wall_ms())), error);
}

/* Somebody must be left who can let others in. PostgreSQL: two admins that disable each other at
 * once would both pass, so the admins' rows are locked first. */
static enum err check_other_admin(struct db *db, const char *id, struct error *error)
{
    int64_t others, admins;
    enum err e = db_run(db, "UPDATE users SET updated_ms = updated_ms WHERE role = 'admin'",
                        DB_NO_ARGS, &admins, error);
    if (!e)
        e = db_number(
            db,
            "SELECT COUNT(*) FROM users WHERE role = 'admin' AND disabled = 0 AND id <> $1"
            " OR EXISTS (SELECT 1 FROM users WHERE id = $1 AND role <> 'admin')",
            DB_ARGS(db_text(id)), &others, error);
    if (!e && others == 0)
        e = err_set(error, ERR_CONFLICT,
                    "this is the last admin that is left; make another one first");
    return e;
}

static enum err guarded(struct store *s, const char *id, const char *sql,
                        const struct db_value *args, size_t n, bool guard, struct error *error)
{
    struct db *db;
    int64_t changed = 0, exists = 0;
    enum err e = store_acquire(s, STORE_WRITE, &db, error);
    if (e) return e;
    e = db_begin(db, error);
    if (!e) {
        e = db_number(db, "SELECT COUNT(*) FROM users WHERE id = $1", DB_ARGS(db_text(id)), &exists,
                      error);
        if (!e && guard && exists) e = check_other_admin(db, id, error);
        if (!e) e = db_run(db, sql, args, n, &changed, error);
        if (!e && !changed) e = err_set(error, ERR_NOT_FOUND, "there is no such user");
        e = db_end(db, e, error);
    }
    store_release(s, db);
    return e;
}

enum err store_user_set_disabled(struct store *s, const char *id, bool disabled,
                                 struct error *error)
{
    return guarded(s, id,
                   "UPDATE users SET disabled = $2, token_version = token_version + $2,"
                   " updated_ms = $3 WHERE id = $1",
                   DB_ARGS(db_text(id), db_int(disabled), db_int(clock_wall_ms())), disabled,
                   error);
}

enum err store_user_set_role(struct store *s, const char *id, bool admin, struct error *error)
{
    return guarded(s, id, "UPDATE users SET role = $2, updated_ms = $3 WHERE id = $1",
                   DB_ARGS(db_text(id), db_text(admin ? "admin" : "user"), db_int(clock_wall_ms())),
                   !admin, error);
}

enum err store_user_delete(struct store *s, const char *id, struct error *error)
{
    return guarded(s, id, "DELETE FROM users WHERE id = $1", DB_ARGS(db_text(id)), true, error);
}
