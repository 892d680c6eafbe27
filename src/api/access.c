/* Who may call which route; see access.h. */
#include "api/access.h"

#include <string.h>
#include <strings.h>

#include "api/upload.h"
#include "auth/auth.h"
#include "base/fs.h"
#include "base/str.h"
#include "hub/hub.h"
#include "models/derived.h"

/* ---- scopes -------------------------------------------------------------------------------- */

struct scope_row {
    const char *prefix; /* of the route's path */
    const char *scope;
    bool counted; /* its POSTs are what the quotas on requests count */
};

/* The first row that fits. */
static const struct scope_row rows[] = {
    {"/v1/chat/", "chat", true},
    {"/v1/completions", "chat", true},
    {"/completion", "chat", true},
    {"/infill", "chat", true},
    {"/tokenize", "chat", false},
    {"/detokenize", "chat", false},
    {"/apply-template", "chat", false},
    {"/props", "models", false},
    {"/slots", "requests", false},
    {"/v1/messages/count_tokens", "chat", false},
    {"/v1/messages", "chat", true},
    {"/v1/responses", "chat", true},
    {"/v1/batches", "chat", true},
    {"/v1/files", "files", false},
    {"/v1/embeddings", "embed", true},
    {"/v1/rerank", "embed", true},
    {"/v2/rerank", "embed", true},
    {"/v1/route/log", "requests", false},
    {"/v1/route", "chat", false},
    {"/v1/models", "models", false},
    {"/adapters", "models", false},
    {"/v1/queue", "requests", false},
    {"/v1/requests", "requests", false},
    {"/v1/cache", "requests", false},
    {"/metrics", "metrics", false},
    {"/api/chat", "chat", true},
    {"/api/generate", "chat", true},
    {"/api/embed", "embed", true}, /* and /api/embeddings */
    {"/api/tags", "models", false},
    {"/api/show", "models", false},
    {"/api/ps", "models", false},
    {"/api/pull", "models", false},
    {"/api/push", "models", false},
    {"/api/create", "models", false},
    {"/api/copy", "models", false},
    {"/api/delete", "models", false},
    {"/api/blobs/", "models", false},
    {"/api/v1/chat", "chat", true},
    {"/api/v1/conversations", "conversations", false},
    {"/api/v1/files", "files", false},
    {"/api/v1/folders", "files", false},
    {"/api/v1/collections", "files", false},
    {"/api/v1/search", "files", true},
    {"/api/v1/jobs", "jobs", false},
    {"/api/v1/models", "models", false},
    {"/api/models", "models", false},
    {"/api/v1/stats/system", "admin", false},
    {"/api/v1/stats/", "account", false},
    {"/api/v1/auth/invitations", "admin", false},
    {"/api/v1/auth/", "account", false},
    {"/api/v1/users", "admin", false},
    {"/api/v1/audit", "admin", false},
};

static const struct scope_row *row_of(const struct route *route)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (str_starts(route->path, rows[i].prefix)) return &rows[i];
    return NULL;
}

const char *access_scope(const struct route *route)
{
    /* Who one is may be asked with any key. */
    if (route->method == HTTP_GET && str_eq(route->path, "/api/v1/auth/me")) return "";
    const struct scope_row *row = row_of(route);
    return row ? row->scope : NULL;
}

static bool is_counted(const struct route *route)
{
    const struct scope_row *row = row_of(route);
    bool asks = route->method == HTTP_POST || (route->flags & ROUTE_SOCKET);
    return row && row->counted && asks && !str_ends(route->path, "/stop") &&
           !str_ends(route->path, "/cancel");
}

/* ---- the caller ---------------------------------------------------------------------------- */

static bool asks_for_user(const struct hub *hub, const struct route *route)
{
    if (route->flags & ROUTE_PUBLIC) return false;
    return hub->guarded || str_starts(route->path, "/api/v1/");
}

/* NULL: nothing of it. A proxy's own password ("Basic ...") may stand beside an API key. *from is
 * the name of the header that has it, or of the query's parameter: a web page can give a WebSocket
 * no headers (RFC 6750, 2.3). Elsewhere it does not count, since addresses end up in logs. */
static const char *shown(const struct route *route, const struct http_request *req,
                         const char **from)
{
    const char *bearer = req->header(req, "Authorization");
    const char *key = req->header(req, "X-Api-Key");
    bool by_key = key && *key && (!bearer || strncasecmp(bearer, "Bearer ", 7) != 0);
    *from = by_key ? "X-Api-Key" : "Authorization";
    if (by_key || bearer || !(route->flags & ROUTE_SOCKET)) return by_key ? key : bearer;
    *from = "access_token";
    return req->query(req, *from);
}

/* What is wrong with what was shown is said of its header. */
static enum err identify(struct auth *auth, const struct route *route,
                         const struct http_request *req, struct auth_identity *who,
                         struct error *error)
{
    const char *from;
    const char *secret = shown(route, req, &from);
    enum err e = auth_check(auth, secret, who, error);
    if (e == ERR_AUTH && secret) (void)str_copy(error->param, sizeof error->param, from);
    return e;
}

static enum err check_rights(const struct route *route, const struct auth_identity *who,
                             struct error *error)
{
    const char *scope = access_scope(route);
    if ((route->flags & ROUTE_ADMIN) && !who->admin)
        return err_set(error, ERR_FORBIDDEN, "this takes an admin");
    if (!*who->scopes || (scope && (!*scope || auth_may(who, scope)))) return OK;
    return err_set(error, ERR_FORBIDDEN, "the API key's scopes (%s) do not have %s", who->scopes,
                   scope ? scope : "this");
}

static enum err check_caller(struct hub *hub, const struct route *route,
                             const struct http_request *req, bool charge, struct auth_identity *who,
                             struct error *error)
{
    struct store *store;
    struct auth *auth;
    enum err e = accounts_open(hub->accounts, &store, &auth, error);
    if (!e) e = identify(auth, route, req, who, error);
    if (!e) e = check_rights(route, who, error);
    if (!e && charge)
        e = quota_charge(accounts_quota(hub->accounts), who, is_counted(route), error);
    return e;
}

/* ---- the gate ------------------------------------------------------------------------------ */

static bool is_quick(const struct hub *hub, const struct route *route)
{
    return (route->flags & ROUTE_INLINE) && !asks_for_user(hub, route);
}

static bool shows_nothing(const struct hub *hub, const struct route *route,
                          const struct http_request *req)
{
    const char *from;
    return asks_for_user(hub, route) && !shown(route, req, &from);
}

/* A web page must not be able to send files unasked: it may, without the browser's check, only
 * those of a form's types (request.h). */
static enum err check_blob(const struct http_request *req, struct error *error)
{
    const char *type = req->header(req, "Content-Type");
    if (!req->header(req, "Origin") || (type && str_eq(type, "application/octet-stream")))
        return OK;
    return err_set(error, ERR_MEDIA_TYPE,
                   "a file from a web page must have Content-Type: application/octet-stream");
}

static enum err receive_blob(struct hub *hub, const struct route *route,
                             const struct http_request *req, int64_t length, struct upload **out,
                             struct error *error)
{
    struct auth_identity who;
    char dir[FS_PATH_MAX];
    enum err e = check_blob(req, error);
    if (!e && asks_for_user(hub, route)) e = check_caller(hub, route, req, true, &who, error);
    if (!e) e = fs_join(dir, sizeof dir, models_dir(hub->models), BLOBS_DIR, error);
    return e ? e : upload_open_blob(dir, length, out, error);
}

static enum err receive(struct hub *hub, const struct route *route, const struct http_request *req,
                        int64_t length, struct upload **out, struct error *error)
{
    struct auth_identity who = {0}; /* nobody, where nobody is asked */
    struct store *store;
    struct auth *auth;
    if (route->flags & ROUTE_BLOB) return receive_blob(hub, route, req, length, out, error);
    enum err e = asks_for_user(hub, route) ? check_caller(hub, route, req, true, &who, error) : OK;
    if (!e) e = accounts_open(hub->accounts, &store, &auth, error);
    if (!e)
        e = upload_open(hub->files, store, &who, req->header(req, "Content-Type"), length, out,
                        error);
    return e;
}

static enum err admit(struct hub *hub, const struct route *route, const struct http_request *req,
                      struct error *error)
{
    struct auth_identity who;
    return asks_for_user(hub, route) ? check_caller(hub, route, req, false, &who, error) : OK;
}

static void serve(struct hub *hub, const struct route *route, struct http_request *req,
                  struct sink *sink)
{
    struct auth_identity who;
    struct error error;
    if (!asks_for_user(hub, route)) {
        route->handler(hub, req, sink);
        return;
    }
    bool charged = route->flags & ROUTE_UPLOAD; /* before its body came */
    if (check_caller(hub, route, req, !charged, &who, &error)) {
        api_error(sink, req, &error);
        sink_unref(sink);
        return;
    }
    req->who = &who;
    route->handler(hub, req, sink);
    req->who = NULL;
}

const struct gate access_gate = {.name = "access",
                                 .is_quick = is_quick,
                                 .shows_nothing = shows_nothing,
                                 .receive = receive,
                                 .admit = admit,
                                 .serve = serve};
