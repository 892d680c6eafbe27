/* What admins do to accounts; see admin.h. */
#include "auth/admin.h"

#include "auth/auth.h"
#include "base/buf.h"
#include "base/id.h"

enum err admin_create(struct store *s, const struct admin_new *u, const struct auth_origin *origin,
                      char id[STORE_ID_MAX], struct error *error)
{
    char hash[AUTH_HASH_MAX];
    enum err e = auth_check_username(u->username, error);
    if (!e) e = auth_hash_password(u->password, hash, error);
    if (e) return e;
    id_uuid4(id);
    struct store_user_new new_user = {.id = id,
                                      .username = u->username,
                                      .email = u->email,
                                      .password_hash = hash,
                                      .admin = u->admin};
    e = store_user_create(s, &new_user, error);
    if (!e) auth_audit(s, AUTH_user_created, id, origin, "role", u->admin ? "admin" : "user");
    return e;
}

enum err admin_set_password(struct store *s, const char *user_id, const char *password,
                            const struct auth_origin *origin, struct error *error)
{
    char hash[AUTH_HASH_MAX];
    enum err e = auth_hash_password(password, hash, error);
    if (!e) e = store_user_set_password(s, user_id, hash, error);
    if (!e) e = store_refresh_clear(s, user_id, error);
    if (!e) auth_audit(s, AUTH_password_changed, user_id, origin, NULL, NULL);
    return e;
}

enum err admin_set_role(struct store *s, const char *user_id, bool admin,
                        const struct auth_origin *origin, struct error *error)
{
    enum err e = store_user_set_role(s, user_id, admin, error);
    if (!e) auth_audit(s, AUTH_role_changed, user_id, origin, "role", admin ? "admin" : "user");
    return e;
}

enum err admin_set_disabled(struct store *s, const char *user_id, bool disabled,
                            const struct auth_origin *origin, struct error *error)
{
    enum err e = store_user_set_disabled(s, user_id, disabled, error);
    if (!e)
        auth_audit(s, disabled ? AUTH_user_disabled : AUTH_user_enabled, user_id, origin, NULL,
                   NULL);
    return e;
}

enum err admin_set_local_only(struct store *s, const char *user_id, bool local_only,
                              const struct auth_origin *origin, struct error *error)
{
    enum err e = store_user_set_local_only(s, user_id, local_only, error);
    if (!e)
        auth_audit(s, AUTH_pin_changed, user_id, origin, "local_only",
                   local_only ? "true" : "false");
    return e;
}

enum err admin_delete(struct store *s, const char *user_id, const struct auth_origin *origin,
                      struct error *error)
{
    struct store_user u;
    struct arena *a = arena_new(1 << 20);
    enum err e = store_user_by_id(s, user_id, a, &u, error);
    if (!e) e = store_user_delete(s, user_id, error);
    if (!e) auth_audit(s, AUTH_user_deleted, user_id, origin, "username", u.username);
    arena_free(a);
    return e;
}

enum err admin_set_quotas(struct store *s, const char *user_id, const int64_t limits[QUOTA_COUNT],
                          const struct auth_origin *origin, struct error *error)
{
    struct buf words;
    enum err e = store_quota_set(s, user_id, limits, error);
    if (e) return e;
    buf_init(&words, 1024);
    for (int i = 0; i < QUOTA_COUNT; i++)
        if (limits[i] != QUOTA_DEFAULT)
            buf_printf(&words, "%s%s=%lld", words.len ? " " : "",
                       store_quota_name((enum store_quota)i), (long long)limits[i]);
    auth_audit(s, AUTH_quota_changed, user_id, origin, "quotas",
               words.len ? buf_str(&words) : "default");
    buf_free(&words);
    return OK;
}
