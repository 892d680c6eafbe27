/* Accounts: registering, logging in, checking calls; see auth.h. */
#include "auth/auth.h"

#include <ctype.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "auth/auth_int.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/mem.h"
#include "base/str.h"

#define KEY_PREFIX     "hk_"
#define REFRESH_PREFIX "hr_"
#define INVITE_PREFIX  "hi_"

enum { THROTTLED_MAX = 10000, REFRESH_MINUTES = 30 * 24 * 60, USER_ARENA = 64 << 10 };

/* ---- opening ------------------------------------------------------------------------------- */

enum err auth_open(const struct auth_params *params, struct auth **out, struct error *error)
{
    if (sodium_init() < 0) return err_set(error, ERR_INTERNAL, "no random numbers");
    struct auth *a = xcalloc(1, sizeof *a);
    int64_t refresh = params->refresh_minutes ? params->refresh_minutes : REFRESH_MINUTES;
    if (refresh < params->access_minutes) refresh = params->access_minutes;
    a->store = params->store;
    a->access_ms = params->access_minutes * 60000;
    a->refresh_ms = refresh * 60000;
    a->registration = params->registration;
    size_t len = strlen(params->jwt_secret);
    enum err e = OK;
    if (len >= sizeof a->key)
        e = err_set(error, ERR_CONFIG, "JWT_SECRET_KEY is longer than %zu bytes", sizeof a->key);
    else if (len)
        memcpy(a->key, params->jwt_secret, a->key_len = len);
    else
        e = secret_key_file(params->key_file, a->key, &a->key_len, error);
    if (e) {
        free(a);
        return e;
    }
    a->throttle = throttle_new(THROTTLED_MAX);
    *out = a;
    return OK;
}

void auth_close(struct auth *a)
{
    if (!a) return;
    throttle_free(a->throttle);
    sodium_memzero(a->key, sizeof a->key);
    free(a);
}

/* ---- registering --------------------------------------------------------------------------- */

static bool name_letter(char c)
{
    return isalnum((unsigned char)c) || (c && strchr("._-@+", c));
}

enum err auth_check_username(const char *name, struct error *error)
{
    size_t len = strlen(name), good = 0;
    while (good < len && name_letter(name[good])) good++;
    if (len >= 2 && len <= STORE_USERNAME_MAX && good == len) return OK;
    return err_set_param(error, ERR_INVALID, "/username",
                         "a user's name has 2 to %d letters, digits and . _ - @ +",
                         STORE_USERNAME_MAX);
}

static enum err check_allowed(const struct auth *a, const struct auth_registration_form *form,
                              struct error *error)
{
    switch (a->registration) {
    case AUTH_REGISTER_OPEN: return OK;
    case AUTH_REGISTER_CLOSED:
        return err_set(error, ERR_FORBIDDEN,
                       "registration is closed; an admin can make an account for you");
    case AUTH_REGISTER_INVITED: break;
    }
    if (form->invitation) return OK;
    return err_set_param(error, ERR_FORBIDDEN, "/invitation",
                         "registration needs an invitation; ask an admin for one");
}

enum err auth_register(struct auth *a, const struct auth_registration_form *form,
                       const struct auth_origin *origin, char user_id[STORE_ID_MAX],
                       struct error *error)
{
    char hash[AUTH_HASH_MAX], invitation[SECRET_HASH_MAX];
    bool invited = a->registration == AUTH_REGISTER_INVITED;
    enum err e = auth_check_username(form->username, error);
    if (!e) e = check_allowed(a, form, error);
    if (!e) e = auth_hash_password(form->password, hash, error);
    if (e) return e;
    id_uuid4(user_id);
    if (invited) secret_hash(form->invitation, invitation);
    struct store_user_new u = {.id = user_id,
                               .username = form->username,
                               .email = form->email,
                               .password_hash = hash,
                               .invitation = invited ? invitation : NULL};
    e = store_user_create(a->store, &u, error);
    if (e == ERR_NOT_FOUND)
        return err_set_param(error, ERR_FORBIDDEN, "/invitation",
                             "the invitation is unknown, used, or over");
    if (!e) auth_audit(a->store, AUTH_registered, user_id, origin, NULL, NULL);
    return e;
}

/* ---- logging in ---------------------------------------------------------------------------- */

static enum err give_tokens(struct auth *a, const struct store_user *u, struct auth_tokens *out,
                            struct error *error)
{
    char hash[SECRET_HASH_MAX];
    out->expires_in_s = a->access_ms / 1000;
    secret_make(REFRESH_PREFIX, out->refresh, hash);
    enum err e = token_issue(a, u->id, u->token_version, out->access, error);
    if (e) return e;
    return store_refresh_add(a->store, u->id, hash, clock_wall_ms() + a->refresh_ms, error);
}

static enum err wait_more(int64_t ms, struct error *error)
{
    int32_t s = (int32_t)((ms + 999) / 1000);
    enum err e = err_set(error, ERR_BUSY, "too many failed logins; try again in %d s", s);
    if (error) error->retry_after_s = s;
    return e;
}

static enum err throttled(struct auth *a, const char *username, const struct auth_origin *origin,
                          struct error *error)
{
    int64_t now = clock_mono_ms();
    int64_t wait = throttle_wait_ms(a->throttle, username, now);
    int64_t other = origin->address ? throttle_wait_ms(a->throttle, origin->address, now) : 0;
    if (other > wait) wait = other;
    return wait ? wait_more(wait, error) : OK;
}

static enum err refused(struct auth *a, const char *username, const struct store_user *u,
                        const struct auth_origin *origin, struct error *error)
{
    int64_t now = clock_mono_ms();
    throttle_failed(a->throttle, username, now);
    if (origin->address) throttle_failed(a->throttle, origin->address, now);
    auth_audit(a->store, AUTH_login_failed, u ? u->id : NULL, origin, NULL, NULL);
    if (throttled(a, username, origin, error))
        auth_audit(a->store, AUTH_login_throttled, u ? u->id : NULL, origin, NULL, NULL);
    return err_set(error, ERR_AUTH, "the name or the password is wrong");
}

static void lower(char dst[STORE_USERNAME_MAX + 1], const char *s)
{
    str_copy(dst, STORE_USERNAME_MAX + 1, s);
    for (; *dst; dst++) *dst = (char)tolower((unsigned char)*dst);
}

/* Checked when there is no such user, so that both answers take as long. Of a random password that
 * nobody has kept, with the parameters of password.c. */
static const char decoy[] = "$argon2id$v=19$m=65536,t=3,p=1$CSpX+8TQbPlSIH86qdcyXA$tmn1SD"
                            "h1yGdITZHna6IAfq0gy/NCv4j69rFaiEwo23o";

static enum err check_login(struct auth *a, const char *username, const char *password,
                            const struct auth_origin *origin, struct arena *arena,
                            struct store_user *u, struct error *error)
{
    char who[STORE_USERNAME_MAX + 1];
    lower(who, username);
    enum err e = throttled(a, who, origin, error);
    if (e) return e;
    e = store_user_by_name(a->store, username, arena, u, error);
    if (e && e != ERR_NOT_FOUND) return e;
    bool fits = auth_password_fits(password, e ? decoy : u->password_hash);
    if (e || !fits || u->disabled) return refused(a, who, e ? NULL : u, origin, error);
    throttle_succeeded(a->throttle, who);
    return OK;
}

enum err auth_login(struct auth *a, const char *username, const char *password,
                    const struct auth_origin *origin, struct auth_tokens *out, struct error *error)
{
    struct store_user u;
    struct arena *arena = arena_new(USER_ARENA);
    enum err e = check_login(a, username, password, origin, arena, &u, error);
    if (!e) e = give_tokens(a, &u, out, error);
    if (!e) e = store_user_logged_in(a->store, u.id, error);
    if (!e) auth_audit(a->store, AUTH_login, u.id, origin, NULL, NULL);
    arena_free(arena);
    return e;
}

enum err auth_refresh(struct auth *a, const char *refresh, const struct auth_origin *origin,
                      struct auth_tokens *out, struct error *error)
{
    char hash[SECRET_HASH_MAX], id[STORE_ID_MAX];
    struct store_user u;
    struct arena *arena = arena_new(USER_ARENA);
    secret_hash(refresh, hash);
    enum err e = store_refresh_take(a->store, hash, id, error);
    if (!e) e = store_user_by_id(a->store, id, arena, &u, error);
    if (e == ERR_NOT_FOUND || (!e && u.disabled)) {
        auth_audit(a->store, AUTH_refresh_failed, NULL, origin, NULL, NULL);
        e = err_set(error, ERR_AUTH, "the refresh token is unknown, used, or over; log in again");
    }
    if (!e) e = give_tokens(a, &u, out, error);
    arena_free(arena);
    return e;
}

enum err auth_logout(struct auth *a, const char *user_id, const struct auth_origin *origin,
                     struct error *error)
{
    enum err e = store_user_void_tokens(a->store, user_id, error);
    if (!e) e = store_refresh_clear(a->store, user_id, error);
    if (!e) auth_audit(a->store, AUTH_logout, user_id, origin, NULL, NULL);
    return e;
}

enum err auth_change_password(struct auth *a, const char *user_id, const char *old,
                              const char *password, const struct auth_origin *origin,
                              struct error *error)
{
    struct store_user u;
    char hash[AUTH_HASH_MAX];
    struct arena *arena = arena_new(USER_ARENA);
    enum err e = store_user_by_id(a->store, user_id, arena, &u, error);
    if (!e) {
        char who[STORE_USERNAME_MAX + 1];
        lower(who, u.username);
        e = throttled(a, who, origin, error);
        if (!e && !auth_password_fits(old, u.password_hash)) {
            e = refused(a, who, &u, origin, error);
            err_set_param(error, e, "/old_password", "the old password is wrong");
        }
    }
    if (!e) e = auth_hash_password(password, hash, error);
    if (!e) e = store_user_set_password(a->store, user_id, hash, error);
    if (!e) e = store_refresh_clear(a->store, user_id, error);
    if (!e) auth_audit(a->store, AUTH_password_changed, user_id, origin, NULL, NULL);
    arena_free(arena);
    return e;
}

/* ---- checking a call ------------------------------------------------------------------------ */

static enum err not_authenticated(struct error *error)
{
    return err_set(error, ERR_AUTH, "Not authenticated");
}

static enum err identify(struct auth *a, const char *user_id, int64_t version,
                         struct auth_identity *out, struct error *error)
{
    struct store_user u;
    struct arena *arena = arena_new(USER_ARENA);
    enum err e = store_user_by_id(a->store, user_id, arena, &u, error);
    if (e == ERR_NOT_FOUND) e = not_authenticated(error);
    if (!e && u.disabled) e = err_set(error, ERR_AUTH, "the account is disabled");
    if (!e && version >= 0 && u.token_version != version)
        e = err_set(error, ERR_AUTH, "the token was revoked; log in again");
    if (!e) {
        str_copy(out->user_id, sizeof out->user_id, u.id);
        str_copy(out->username, sizeof out->username, u.username);
        out->admin = u.admin;
        out->local_only = u.local_only;
    }
    arena_free(arena);
    return e;
}

static enum err take_key(struct auth *a, const struct store_key *key, struct auth_identity *out,
                         struct error *error)
{
    enum err e = identify(a, key->user_id, -1, out, error);
    if (e) return e;
    str_copy(out->key_id, sizeof out->key_id, key->id);
    if (!str_copy(out->scopes, sizeof out->scopes, key->scopes))
        return err_set(error, ERR_INTERNAL, "the key's scopes are too long");
    out->requests_per_minute = key->requests_per_minute;
    out->local_only |= key->local_only;
    return OK;
}

static enum err check_key(struct auth *a, const char *secret, struct auth_identity *out,
                          struct error *error)
{
    char hash[SECRET_HASH_MAX];
    struct store_key key;
    struct arena *arena = arena_new(USER_ARENA);
    secret_hash(secret, hash);
    enum err e = store_key_by_hash(a->store, hash, arena, &key, error);
    if (e == ERR_NOT_FOUND) e = err_set(error, ERR_AUTH, "the API key is unknown or has expired");
    if (!e) e = take_key(a, &key, out, error);
    arena_free(arena);
    return e;
}

enum err auth_check(struct auth *a, const char *bearer, struct auth_identity *out,
                    struct error *error)
{
    static const char scheme[] = "Bearer ";
    char user_id[STORE_ID_MAX];
    int64_t version;
    *out = (struct auth_identity){0};
    if (!bearer) return not_authenticated(error);
    if (strncasecmp(bearer, scheme, sizeof scheme - 1) == 0) bearer += sizeof scheme - 1;
    bearer += strspn(bearer, " ");
    if (!*bearer) return not_authenticated(error);
    if (str_starts(bearer, KEY_PREFIX)) return check_key(a, bearer, out, error);
    enum err e = token_read(a, bearer, user_id, &version, error);
    return e ? e : identify(a, user_id, version, out, error);
}

enum err auth_of_user(struct auth *a, const char *user_id, struct auth_identity *out,
                      struct error *error)
{
    *out = (struct auth_identity){0};
    return identify(a, user_id, -1, out, error);
}

enum err auth_of_key(struct auth *a, const char *user_id, const char *key_id,
                     struct auth_identity *out, struct error *error)
{
    struct store_key key;
    struct arena *arena = arena_new(USER_ARENA);
    *out = (struct auth_identity){0};
    enum err e = store_key_by_id(a->store, user_id, key_id, arena, &key, error);
    if (e == ERR_NOT_FOUND)
        e = err_set(error, ERR_AUTH, "the API key that asked for it was revoked or has expired");
    if (!e) e = take_key(a, &key, out, error);
    arena_free(arena);
    return e;
}

bool auth_may(const struct auth_identity *who, const char *scope)
{
    size_t len = strlen(scope);
    if (!*who->scopes) return true;
    for (const char *s = who->scopes; *s;) {
        size_t n = strcspn(s, " ");
        if (n == len && memcmp(s, scope, n) == 0) return true;
        s += n;
        s += strspn(s, " ");
    }
    return false;
}

/* ---- API keys, invitations ------------------------------------------------------------------ */

static bool scope_exists(const char *word)
{
    static const char *const words[] = {
#define X(word, what) #word,
        AUTH_SCOPES(X)
#undef X
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (str_eq(words[i], word)) return true;
    return false;
}

static enum err check_scopes(const char *scopes, struct error *error)
{
    char word[AUTH_SCOPES_MAX];
    if (strlen(scopes) >= sizeof word)
        return err_set_param(error, ERR_INVALID, "/scopes", "the scopes are too long");
    while (*scopes) {
        size_t n = strcspn(scopes, " ");
        str_printf(word, sizeof word, "%.*s", (int)n, scopes);
        if (!scope_exists(word))
            return err_set_param(error, ERR_INVALID, "/scopes",
#define X(word, what) " " #word
                                 "there is no scope %.40s; there are" AUTH_SCOPES(X), word);
#undef X
        scopes += n;
        scopes += strspn(scopes, " ");
    }
    return OK;
}

enum err auth_key_make(struct store *s, const struct auth_key_new *key,
                       const struct auth_origin *origin, char id[STORE_ID_MAX],
                       char secret[AUTH_SECRET_MAX], struct error *error)
{
    char hash[SECRET_HASH_MAX];
    if (!*key->name || strlen(key->name) > STORE_USERNAME_MAX)
        return err_set_param(error, ERR_INVALID, "/name", "a key's name has 1 to %d bytes",
                             STORE_USERNAME_MAX);
    enum err e = check_scopes(key->scopes, error);
    if (e) return e;
    id_uuid4(id);
    secret_make(KEY_PREFIX, secret, hash);
    struct store_key row = {.id = id,
                            .user_id = key->user_id,
                            .name = key->name,
                            .scopes = key->scopes,
                            .requests_per_minute = key->requests_per_minute,
                            .expires_ms = key->expires_ms,
                            .local_only = key->local_only};
    e = store_key_create(s, &row, hash, error);
    if (!e) auth_audit(s, AUTH_key_created, key->user_id, origin, "key", key->name);
    return e;
}

enum err auth_key_revoke(struct store *s, const char *user_id, const char *id,
                         const struct auth_origin *origin, struct error *error)
{
    enum err e = store_key_delete(s, user_id, id, error);
    if (!e) auth_audit(s, AUTH_key_revoked, user_id, origin, "key_id", id);
    return e;
}

enum err auth_invite(struct store *s, int64_t valid_ms, const struct auth_origin *origin,
                     char secret[AUTH_SECRET_MAX], struct error *error)
{
    char hash[SECRET_HASH_MAX];
    const char *by = origin ? origin->by : NULL;
    secret_make(INVITE_PREFIX, secret, hash);
    enum err e = store_invitation_add(s, hash, by, clock_wall_ms() + valid_ms, error);
    if (!e) auth_audit(s, AUTH_invitation_created, NULL, origin, NULL, NULL);
    return e;
}
