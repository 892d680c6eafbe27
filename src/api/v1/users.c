/* /api/v1/users and /api/v1/audit: what admins do to accounts, and what was done. */
#include <stdlib.h>
#include <string.h>

#include "api/v1/v1_int.h"
#include "auth/admin.h"
#include "auth/quota.h"
#include "base/str.h"
#include "files/files.h"
#include "hub/hub.h"

struct form {
    const char *username, *password, *email, *role;
    const json_t *disabled, *local_only, *quotas;
};

#define AT(member) offsetof(struct form, member)
#define ROLES      "{\"type\":\"string\",\"enum\":[\"user\",\"admin\"]}"

/* clang-format off */
static const struct field create_fields[] = {
    {"username", FIELD_STR, FIELD_REQUIRED, 0, 0, NULL, "2 to 64 letters, digits and . _ - @ +", AT(username)},
    {"password", FIELD_STR, FIELD_REQUIRED, 0, 0, NULL, "At least 8 characters.", AT(password)},
    {"email", FIELD_STR, 0, 0, 0, NULL, "How to reach the person.", AT(email)},
    {"role", FIELD_STR, 0, 0, 0, ROLES, "Absent: user.", AT(role)},
    {.name = NULL}};
static const struct field change_fields[] = {
    {"role", FIELD_STR, 0, 0, 0, ROLES, "What it may.", AT(role)},
    {"disabled", FIELD_JSON, 0, 0, 0, "{\"type\":\"boolean\"}", "true closes the account and ends every login.", AT(disabled)},
    {"password", FIELD_STR, 0, 0, 0, NULL, "A new one; ends every login.", AT(password)},
    {"local_only", FIELD_JSON, 0, 0, 0, "{\"type\":\"boolean\"}", "true: nothing of this user leaves this machine.", AT(local_only)},
    {"quotas", FIELD_OBJ, 0, 0, 0, "{\"type\":\"object\",\"additionalProperties\":{\"type\":[\"integer\",\"null\"],\"minimum\":0}}", "Limits of this user alone: a number, 0 for none, null for the default.", AT(quotas)},
    {.name = NULL}};
/* clang-format on */

/* ---- answers ------------------------------------------------------------------------------- */

static void put_quotas(struct jw *w, const int64_t limits[QUOTA_COUNT])
{
    jw_key(w, "quotas");
    jw_obj(w);
    for (int i = 0; i < QUOTA_COUNT; i++) {
        jw_key(w, store_quota_name((enum store_quota)i));
        if (limits[i] == QUOTA_DEFAULT)
            jw_null(w);
        else
            jw_int(w, limits[i]);
    }
    jw_obj_end(w);
}

static void put_user(struct jw *w, const struct store_user *u, const int64_t *limits)
{
    jw_obj(w);
    jw_kstr(w, "id", u->id);
    jw_kstr(w, "username", u->username);
    jw_kstr(w, "email", u->email);
    jw_kstr(w, "role", u->admin ? "admin" : "user");
    jw_kbool(w, "disabled", u->disabled);
    jw_kbool(w, "local_only", u->local_only);
    v1_put_time(w, "created_at", u->created_ms);
    v1_put_time(w, "last_login_at", u->last_login_ms);
    if (limits) put_quotas(w, limits);
    jw_obj_end(w);
}

static enum err put_one(struct v1_call *c, const char *id)
{
    struct store_user u;
    int64_t limits[QUOTA_COUNT];
    enum err e = store_user_by_id(c->store, id, c->arena, &u, &c->error);
    if (!e) e = store_quota_get(c->store, id, limits, &c->error);
    if (!e) put_user(&c->w, &u, limits);
    return e;
}

/* ---- users --------------------------------------------------------------------------------- */

static void list_users(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct v1_call c;
    struct store_user *users;
    size_t n = 0;
    if (!v1_begin(&c, hub, req, sink, V1_USER)) return;
    enum err e = store_user_list(c.store, c.arena, &users, &n, &c.error);
    jw_obj(&c.w);
    jw_key(&c.w, "users");
    jw_arr(&c.w);
    for (size_t i = 0; !e && i < n; i++) put_user(&c.w, &users[i], NULL);
    jw_arr_end(&c.w);
    jw_obj_end(&c.w);
    v1_end(&c, 200, e);
}

static void show_user(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct v1_call c;
    if (!v1_begin(&c, hub, req, sink, V1_USER)) return;
    v1_end(&c, 200, put_one(&c, req->params[0]));
}

static enum err read_role(const char *role, bool *admin, struct error *error)
{
    *admin = str_eq(role, "admin");
    if (!role || *admin || str_eq(role, "user")) return OK;
    return err_set_param(error, ERR_INVALID, "/role", "role must be user or admin");
}

static void create_user(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct v1_call c;
    struct form f = {0};
    char id[STORE_ID_MAX];
    bool admin = false;
    if (!v1_begin(&c, hub, req, sink, V1_USER | V1_BODY)) return;
    enum err e = fields_read(create_fields, c.body, "", &f, &c.error);
    if (!e) e = read_role(f.role, &admin, &c.error);
    struct admin_new u = {f.username, f.password, f.email, admin};
    if (!e) e = admin_create(c.store, &u, &c.origin, id, &c.error);
    if (!e) e = put_one(&c, id);
    v1_end(&c, 201, e);
}

static enum err read_limit(const char *name, const json_t *value, int64_t *out, struct error *error)
{
    *out = json_is_integer(value) ? json_integer_value(value) : QUOTA_DEFAULT;
    if (json_is_null(value) || (json_is_integer(value) && *out >= 0)) return OK;
    return field_error(error, "/quotas", name, "must be a number from 0, or null");
}

static int quota_of(const char *name)
{
    for (int i = 0; i < QUOTA_COUNT; i++)
        if (str_eq(store_quota_name((enum store_quota)i), name)) return i;
    return -1;
}

/* Those that are not named stay. */
static enum err change_quotas(struct v1_call *c, const char *id, const json_t *quotas)
{
    const char *name;
    json_t *value;
    int64_t limits[QUOTA_COUNT];
    enum err e = store_quota_get(c->store, id, limits, &c->error);
    json_object_foreach ((json_t *)quotas, name, value) {
        int which = quota_of(name);
        if (!e && which < 0)
            e = field_error(&c->error, "/quotas", "", "there is no quota %.60s", name);
        if (!e) e = read_limit(name, value, &limits[which], &c->error);
    }
    if (!e) e = admin_set_quotas(c->store, id, limits, &c->origin, &c->error);
    if (!e) quota_forget(accounts_quota(c->hub->accounts), id);
    return e;
}

/* What is wrong with the form is known before anything changes. */
static enum err change(struct v1_call *c, const struct form *f, const char *id)
{
    bool admin = false;
    enum err e = read_role(f->role, &admin, &c->error);
    if (!e && f->disabled && !json_is_boolean(f->disabled))
        e = field_error(&c->error, "", "disabled", "must be true or false");
    if (!e && f->local_only && !json_is_boolean(f->local_only))
        e = field_error(&c->error, "", "local_only", "must be true or false");
    if (!e && f->quotas) e = change_quotas(c, id, f->quotas);
    if (!e && f->password) e = admin_set_password(c->store, id, f->password, &c->origin, &c->error);
    if (!e && f->role) e = admin_set_role(c->store, id, admin, &c->origin, &c->error);
    if (!e && f->local_only)
        e = admin_set_local_only(c->store, id, json_is_true(f->local_only), &c->origin, &c->error);
    if (!e && f->disabled)
        e = admin_set_disabled(c->store, id, json_is_true(f->disabled), &c->origin, &c->error);
    return e;
}

static void change_user(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct v1_call c;
    struct form f = {0};
    struct store_user u;
    if (!v1_begin(&c, hub, req, sink, V1_USER | V1_BODY)) return;
    enum err e = store_user_by_id(c.store, req->params[0], c.arena, &u, &c.error);
    if (!e) e = fields_read(change_fields, c.body, "", &f, &c.error);
    if (!e) e = change(&c, &f, u.id);
    if (!e) e = put_one(&c, u.id);
    v1_end(&c, 200, e);
}

static void delete_user(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct v1_call c;
    if (!v1_begin(&c, hub, req, sink, V1_USER)) return;
    enum err e = admin_delete(c.store, req->params[0], &c.origin, &c.error);
    /* The files' records went along; their bytes, too, now rather than at the daily sweep. */
    struct files_swept swept;
    struct error ignored;
    if (!e) (void)!files_sweep(hub->files, c.store, &swept, &ignored);
    v1_end(&c, 204, e);
}

/* ---- audit --------------------------------------------------------------------------------- */

static void read_audit(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct v1_call c;
    struct store_audit *list;
    size_t n = 0;
    int64_t limit = 100, before = INT64_MAX;
    if (!v1_begin(&c, hub, req, sink, V1_USER)) return;
    enum err e = v1_query_int(&c, "limit", 1, 1000, &limit);
    if (!e) e = v1_query_int(&c, "before", 0, INT64_MAX, &before);
    if (!e) e = store_audit_list(c.store, before, (int32_t)limit, c.arena, &list, &n, &c.error);
    jw_obj(&c.w);
    jw_key(&c.w, "events");
    jw_arr(&c.w);
    for (size_t i = 0; !e && i < n; i++) {
        jw_obj(&c.w);
        jw_kstr(&c.w, "event", list[i].event);
        jw_kstr(&c.w, "user_id", list[i].user_id);
        jw_kstr(&c.w, "address", list[i].address);
        jw_kraw(&c.w, "details", list[i].details);
        v1_put_time(&c.w, "at", list[i].at_ms);
        jw_kint(&c.w, "at_ms", list[i].at_ms);
        jw_obj_end(&c.w);
    }
    jw_arr_end(&c.w);
    jw_obj_end(&c.w);
    v1_end(&c, 200, e);
}

/* clang-format off */
const struct route v1_user_routes[] = {
    {HTTP_GET, "/api/v1/users", list_users, ROUTE_ADMIN, "Accounts", "Everybody who has an account (admins)", NULL, NULL},
    {HTTP_POST, "/api/v1/users", create_user, ROUTE_ADMIN, "Accounts", "Make an account for somebody (admins)", "NewUser", "Account"},
    {HTTP_GET, "/api/v1/users/{id}", show_user, ROUTE_ADMIN, "Accounts", "One account with its quotas (admins)", NULL, "Account"},
    {HTTP_PATCH, "/api/v1/users/{id}", change_user, ROUTE_ADMIN, "Accounts", "Change role, password, quotas or privacy, close or open it (admins)", "AccountChange", "Account"},
    {HTTP_DELETE, "/api/v1/users/{id}", delete_user, ROUTE_ADMIN, "Accounts", "Delete it with all that belongs to it (admins)", NULL, NULL},
    {HTTP_GET, "/api/v1/audit", read_audit, ROUTE_ADMIN, "Accounts", "Security events, the newest first (admins)", NULL, NULL},
    {.path = NULL}};

#define W(json, type, schema, help) {json, FIELD_##type, FIELD_REQUIRED, 0, 0, schema, help, FIELD_NOWHERE}
static const struct field account_answer[] = {
    W("id", STR, NULL, "Its id."), W("username", STR, NULL, "Its name."),
    W("email", STR, "{\"type\":[\"string\",\"null\"]}", "Its address."),
    W("role", STR, ROLES, "What it may."), W("disabled", BOOL, NULL, "Whether it is closed."),
    W("local_only", BOOL, NULL, "Whether nothing of it may leave this machine."),
    W("created_at", STR, NULL, "Since when."),
    W("last_login_at", STR, "{\"type\":[\"string\",\"null\"]}", "The last login."),
    W("quotas", OBJ, NULL, "Limits of this user alone; null is the default, 0 is none."), {.name = NULL}};

const struct schema v1_user_schemas[] = {
    {"NewUser", "A new account.", create_fields, NULL},
    {"AccountChange", "What changes of an account.", change_fields, NULL},
    {"Account", "An account as admins see it.", account_answer, NULL},
    {NULL, NULL, NULL, NULL}};
/* clang-format on */
