/* /api/v1/auth: accounts, logins, API keys. */
#include <stdlib.h>
#include <string.h>

#include "api/v1/v1_int.h"
#include "base/clock.h"
#include "base/str.h"
#include "store/store_user.h"

/* ---- bodies -------------------------------------------------------------------------------- */

struct form {
    const char *username, *password, *email, *invitation, *refresh_token, *old_password, *name;
    const json_t *scopes, *settings;
    int64_t requests_per_minute, expires_in_s;
    bool local_only;
};

#define AT(member) offsetof(struct form, member)
#define END                                                                                        \
    {                                                                                              \
        .name = NULL                                                                               \
    }

/* clang-format off */
static const struct field register_fields[] = {
    {"username", FIELD_STR, FIELD_REQUIRED, 0, 0, NULL, "2 to 64 letters, digits and . _ - @ +", AT(username)},
    {"password", FIELD_STR, FIELD_REQUIRED, 0, 0, NULL, "At least 8 characters.", AT(password)},
    {"email", FIELD_STR, 0, 0, 0, NULL, "How to reach the person.", AT(email)},
    {"invitation", FIELD_STR, 0, 0, 0, NULL, "Where registration needs one.", AT(invitation)},
    END};
static const struct field login_fields[] = {
    {"username", FIELD_STR, FIELD_REQUIRED, 0, 0, NULL, "As it was registered; case does not matter.", AT(username)},
    {"password", FIELD_STR, FIELD_REQUIRED, 0, 0, NULL, "The password.", AT(password)},
    END};
static const struct field refresh_fields[] = {
    {"refresh_token", FIELD_STR, FIELD_REQUIRED, 0, 0, NULL, "From a login; it works once.", AT(refresh_token)},
    END};
static const struct field me_fields[] = {
    {"email", FIELD_STR, 0, 0, 0, NULL, "A new address.", AT(email)},
    {"settings", FIELD_OBJ, 0, 0, 0, NULL, "What apps keep for the user.", AT(settings)},
    END};
static const struct field password_fields[] = {
    {"old_password", FIELD_STR, FIELD_REQUIRED, 0, 0, NULL, "The present one.", AT(old_password)},
    {"password", FIELD_STR, FIELD_REQUIRED, 0, 0, NULL, "The new one; every login ends.", AT(password)},
    END};
static const struct field key_fields[] = {
    {"name", FIELD_STR, FIELD_REQUIRED, 0, 0, NULL, "What it is for.", AT(name)},
    {"scopes", FIELD_ARR, 0, 0, 0, "{\"type\":\"array\",\"items\":{\"type\":\"string\"}}", "What it may do; absent: all that its user may.", AT(scopes)},
    {"requests_per_minute", FIELD_INT, 0, 0, 1000000, NULL, "A limit of its own; 0 is none.", AT(requests_per_minute)},
    {"expires_in_s", FIELD_INT, 0, 0, 315360000, NULL, "Seconds that it is valid; 0 is for good.", AT(expires_in_s)},
    {"local_only", FIELD_BOOL, 0, 0, 0, NULL, "true: what is asked with it never leaves this machine.", AT(local_only)},
    END};
/* clang-format on */

static enum err read_form(struct v1_call *c, const struct field *fields, struct form *form)
{
    return fields_read(fields, c->body, "", form, &c->error);
}

/* ---- answers ------------------------------------------------------------------------------- */

static void put_tokens(struct jw *w, const struct auth_tokens *t)
{
    jw_obj(w);
    jw_kstr(w, "access_token", t->access);
    jw_kstr(w, "token_type", "bearer");
    jw_kint(w, "expires_in", t->expires_in_s);
    jw_kstr(w, "refresh_token", t->refresh);
    jw_obj_end(w);
}

static enum err put_user(struct v1_call *c, const char *id)
{
    struct store_user u;
    enum err e = store_user_by_id(c->store, id, c->arena, &u, &c->error);
    if (e) return e;
    jw_obj(&c->w);
    jw_kstr(&c->w, "id", u.id);
    jw_kstr(&c->w, "username", u.username);
    jw_kstr(&c->w, "email", u.email);
    jw_kstr(&c->w, "role", u.admin ? "admin" : "user");
    jw_kbool(&c->w, "local_only", u.local_only);
    jw_kraw(&c->w, "settings", u.settings);
    v1_put_time(&c->w, "created_at", u.created_ms);
    v1_put_time(&c->w, "last_login_at", u.last_login_ms);
    jw_obj_end(&c->w);
    return OK;
}

/* ---- handlers ------------------------------------------------------------------------------ */

static void sign_up(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct v1_call c;
    struct form f = {0};
    char id[STORE_ID_MAX];
    if (!v1_begin(&c, hub, req, sink, V1_BODY)) return;
    enum err e = read_form(&c, register_fields, &f);
    struct auth_registration_form form = {.username = f.username,
                                          .password = f.password,
                                          .email = f.email,
                                          .invitation = f.invitation};
    if (!e) e = auth_register(c.auth, &form, &c.origin, id, &c.error);
    if (!e) e = put_user(&c, id);
    v1_end(&c, 201, e);
}

static void login(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct v1_call c;
    struct form f = {0};
    struct auth_tokens tokens;
    if (!v1_begin(&c, hub, req, sink, V1_BODY)) return;
    enum err e = read_form(&c, login_fields, &f);
    if (!e) e = auth_login(c.auth, f.username, f.password, &c.origin, &tokens, &c.error);
    if (!e) put_tokens(&c.w, &tokens);
    v1_end(&c, 200, e);
}

static void refresh(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct v1_call c;
    struct form f = {0};
    struct auth_tokens tokens;
    if (!v1_begin(&c, hub, req, sink, V1_BODY)) return;
    enum err e = read_form(&c, refresh_fields, &f);
    if (!e) e = auth_refresh(c.auth, f.refresh_token, &c.origin, &tokens, &c.error);
    if (!e) put_tokens(&c.w, &tokens);
    v1_end(&c, 200, e);
}

static void logout(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct v1_call c;
    if (!v1_begin(&c, hub, req, sink, V1_USER)) return;
    v1_end(&c, 204, auth_logout(c.auth, c.who.user_id, &c.origin, &c.error));
}

static void me(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct v1_call c;
    if (!v1_begin(&c, hub, req, sink, V1_USER)) return;
    v1_end(&c, 200, put_user(&c, c.who.user_id));
}

static void change_me(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct v1_call c;
    struct form f = {0};
    if (!v1_begin(&c, hub, req, sink, V1_USER | V1_BODY)) return;
    enum err e = read_form(&c, me_fields, &f);
    char *settings = !e && f.settings ? json_dumps(f.settings, JSON_COMPACT) : NULL;
    if (!e) e = store_user_set_profile(c.store, c.who.user_id, f.email, settings, &c.error);
    if (!e) e = put_user(&c, c.who.user_id);
    free(settings);
    v1_end(&c, 200, e);
}

static void change_password(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct v1_call c;
    struct form f = {0};
    if (!v1_begin(&c, hub, req, sink, V1_LOGIN | V1_BODY)) return;
    enum err e = read_form(&c, password_fields, &f);
    if (!e)
        e = auth_change_password(c.auth, c.who.user_id, f.old_password, f.password, &c.origin,
                                 &c.error);
    v1_end(&c, 204, e);
}

/* ---- API keys ------------------------------------------------------------------------------ */

static enum err join_scopes(const json_t *scopes, char dst[AUTH_SCOPES_MAX], struct error *error)
{
    size_t len = 0;
    dst[0] = '\0';
    for (size_t i = 0; i < json_array_size(scopes); i++) {
        const char *word = json_string_value(json_array_get(scopes, i));
        if (!word || !*word || strcspn(word, " \t\n") != strlen(word))
            return err_set_param(error, ERR_INVALID, "/scopes", "a scope is one word");
        if (!str_printf(dst + len, AUTH_SCOPES_MAX - len, "%s%s", len ? " " : "", word))
            return err_set_param(error, ERR_INVALID, "/scopes", "there are too many scopes");
        len = strlen(dst);
    }
    return OK;
}

static void put_scopes(struct jw *w, const char *scopes)
{
    jw_key(w, "scopes");
    jw_arr(w);
    while (*scopes) {
        size_t n = strcspn(scopes, " ");
        jw_strn(w, scopes, n);
        scopes += n;
        scopes += strspn(scopes, " ");
    }
    jw_arr_end(w);
}

static void make_key(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct v1_call c;
    struct form f = {0};
    char id[STORE_ID_MAX], secret[AUTH_SECRET_MAX], scopes[AUTH_SCOPES_MAX];
    if (!v1_begin(&c, hub, req, sink, V1_LOGIN | V1_BODY)) return;
    enum err e = read_form(&c, key_fields, &f);
    if (!e) e = join_scopes(f.scopes, scopes, &c.error);
    int64_t expires_ms = f.expires_in_s ? clock_wall_ms() + f.expires_in_s * 1000 : 0;
    struct auth_key_new key = {.user_id = c.who.user_id,
                               .name = f.name,
                               .scopes = scopes,
                               .requests_per_minute = f.requests_per_minute,
                               .expires_ms = expires_ms,
                               .local_only = f.local_only};
    if (!e) e = auth_key_make(c.store, &key, &c.origin, id, secret, &c.error);
    if (!e) {
        jw_obj(&c.w);
        jw_kstr(&c.w, "id", id);
        jw_kstr(&c.w, "name", f.name);
        jw_kstr(&c.w, "key", secret);
        put_scopes(&c.w, scopes);
        jw_kbool(&c.w, "local_only", f.local_only);
        v1_put_time(&c.w, "expires_at", expires_ms);
        jw_obj_end(&c.w);
    }
    v1_end(&c, 201, e);
}

static void list_keys(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct v1_call c;
    struct store_key *keys;
    size_t n = 0;
    if (!v1_begin(&c, hub, req, sink, V1_USER)) return;
    enum err e = store_key_list(c.store, c.who.user_id, c.arena, &keys, &n, &c.error);
    jw_obj(&c.w);
    jw_key(&c.w, "keys");
    jw_arr(&c.w);
    for (size_t i = 0; !e && i < n; i++) {
        jw_obj(&c.w);
        jw_kstr(&c.w, "id", keys[i].id);
        jw_kstr(&c.w, "name", keys[i].name);
        put_scopes(&c.w, keys[i].scopes);
        jw_kint(&c.w, "requests_per_minute", keys[i].requests_per_minute);
        jw_kbool(&c.w, "local_only", keys[i].local_only);
        v1_put_time(&c.w, "created_at", keys[i].created_ms);
        v1_put_time(&c.w, "expires_at", keys[i].expires_ms);
        v1_put_time(&c.w, "last_used_at", keys[i].used_ms);
        jw_obj_end(&c.w);
    }
    jw_arr_end(&c.w);
    jw_obj_end(&c.w);
    v1_end(&c, 200, e);
}

static void delete_key(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct v1_call c;
    if (!v1_begin(&c, hub, req, sink, V1_LOGIN)) return;
    v1_end(&c, 204, auth_key_revoke(c.store, c.who.user_id, req->params[0], &c.origin, &c.error));
}

static void invite(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    enum { VALID_MS = 7 * 24 * 3600 * 1000 };
    struct v1_call c;
    char secret[AUTH_SECRET_MAX];
    if (!v1_begin(&c, hub, req, sink, V1_USER)) return;
    enum err e = auth_invite(c.store, VALID_MS, &c.origin, secret, &c.error);
    if (!e) {
        jw_obj(&c.w);
        jw_kstr(&c.w, "invitation", secret);
        v1_put_time(&c.w, "expires_at", clock_wall_ms() + VALID_MS);
        jw_obj_end(&c.w);
    }
    v1_end(&c, 201, e);
}

/* ---- tables -------------------------------------------------------------------------------- */

/* clang-format off */
const struct route v1_auth_routes[] = {
    {HTTP_POST, "/api/v1/auth/register", sign_up, ROUTE_PUBLIC, "Accounts", "Make an account", "Registration", "User"},
    {HTTP_POST, "/api/v1/auth/login", login, ROUTE_PUBLIC, "Accounts", "Log in", "Login", "Tokens"},
    {HTTP_POST, "/api/v1/auth/refresh", refresh, ROUTE_PUBLIC, "Accounts", "New tokens for a refresh token", "Refresh", "Tokens"},
    {HTTP_POST, "/api/v1/auth/logout", logout, 0, "Accounts", "End every login of the user", NULL, NULL},
    {HTTP_GET, "/api/v1/auth/me", me, 0, "Accounts", "Who is logged in", NULL, "User"},
    {HTTP_PATCH, "/api/v1/auth/me", change_me, 0, "Accounts", "Change address or settings", "UserChange", "User"},
    {HTTP_POST, "/api/v1/auth/password", change_password, 0, "Accounts", "Change the password", "PasswordChange", NULL},
    {HTTP_GET, "/api/v1/auth/keys", list_keys, 0, "Accounts", "The user's API keys", NULL, NULL},
    {HTTP_POST, "/api/v1/auth/keys", make_key, 0, "Accounts", "Make an API key", "KeyRequest", NULL},
    {HTTP_DELETE, "/api/v1/auth/keys/{id}", delete_key, 0, "Accounts", "Revoke an API key", NULL, NULL},
    {HTTP_POST, "/api/v1/auth/invitations", invite, ROUTE_ADMIN, "Accounts", "Invite somebody (admins)", NULL, NULL},
    {.path = NULL}};

#define W(json, type, schema, help) {json, FIELD_##type, FIELD_REQUIRED, 0, 0, schema, help, FIELD_NOWHERE}

static const struct field user_answer[] = {
    W("id", STR, NULL, "Its id."), W("username", STR, NULL, "Its name."),
    W("email", STR, "{\"type\":[\"string\",\"null\"]}", "Its address."),
    W("role", STR, "{\"type\":\"string\",\"enum\":[\"user\",\"admin\"]}", "What it may."),
    W("local_only", BOOL, NULL, "Whether nothing of it may leave this machine; admins say so."),
    W("settings", OBJ, NULL, "What apps keep for it."),
    W("created_at", STR, NULL, "Since when."),
    W("last_login_at", STR, "{\"type\":[\"string\",\"null\"]}", "The last login."), END};
static const struct field tokens_answer[] = {
    W("access_token", STR, NULL, "For the header Authorization: Bearer ..."),
    W("token_type", STR, "{\"type\":\"string\",\"const\":\"bearer\"}", "bearer"),
    W("expires_in", INT, NULL, "Seconds that it is valid."),
    W("refresh_token", STR, NULL, "Gets new tokens, once."), END};

const struct schema v1_schemas[] = {
    {"Registration", "A new account.", register_fields, NULL},
    {"Login", "Name and password.", login_fields, NULL},
    {"Refresh", "A refresh token.", refresh_fields, NULL},
    {"UserChange", "What changes of an account.", me_fields, NULL},
    {"PasswordChange", "The old and the new password.", password_fields, NULL},
    {"KeyRequest", "A new API key.", key_fields, NULL},
    {"User", "An account.", user_answer, NULL},
    {"Tokens", "What a login gives.", tokens_answer, NULL},
    {NULL, NULL, NULL, NULL}};
