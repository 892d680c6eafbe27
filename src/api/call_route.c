/* Who may answer a call; see call_route.h. */
#include "api/call_route.h"

#include "api/call.h"
#include "api/fields.h"
#include "auth/auth.h"
#include "base/config.h"
#include "base/str.h"
#include "router/routing.h"

static enum err read_goal(const char *word, const char *param, enum goal *out, struct error *error)
{
    if (goal_of_word(word, out)) return OK;
    return err_set_param(error, ERR_INVALID, param,
                         "%s must be balanced, privacy, cost, speed or quality, got %.40s", param,
                         word);
}

/* "auto" is what a menu of sources calls the absence of a choice. */
static const char *source_of(const char *word)
{
    return str_eq(word, "auto") ? "" : word;
}

enum err call_route_read(const struct config *config, const struct http_request *req,
                         struct call_route *out, struct error *error)
{
    const char *local = req->header(req, "X-Hearth-Local");
    const char *source = req->header(req, "X-Hearth-Source");
    const char *route = req->header(req, "X-Hearth-Route");
    const char *goal = req->header(req, "X-Hearth-Goal");
    bool pinned = false;
    *out =
        (struct call_route){.source = source ? source_of(source) : "", .route = route ? route : ""};
    if (local && !str_to_bool(local, &pinned))
        return err_set_param(error, ERR_INVALID, "X-Hearth-Local",
                             "header X-Hearth-Local must be true or false, got %.40s", local);
    enum err err = goal ? read_goal(goal, "X-Hearth-Goal", &out->goal, error) : OK;
    out->local_only = pinned || out->goal == GOAL_PRIVACY || (req->who && req->who->local_only) ||
                      str_eq(config_str(config, CONFIG_PRIVACY), "local");
    return err;
}

enum err call_route_apply(const struct call_route_fields *f, struct call_route *r,
                          struct error *error)
{
    const char *source = f->source;
    if (json_is_string(f->provider))
        source = json_string_value(f->provider);
    else if (f->provider && !json_is_object(f->provider))
        return field_error(error, "", "provider", "must be a provider's name, got %s",
                           json_kind(f->provider));
    if (source) r->source = source_of(source);
    if (f->route) r->route = f->route;
    enum err err = f->goal ? read_goal(f->goal, "/optimization_goal", &r->goal, error) : OK;
    r->local_only |= f->local_only || r->goal == GOAL_PRIVACY;
    return err;
}

enum err call_route_set(const struct call_route *r, struct gen_request *req, struct error *error)
{
    req->goal = r->goal;
    req->local_only = r->local_only;
    enum err err = copy_text(req->arena, r->source ? r->source : "", &req->source, error);
    return err ? err : copy_text(req->arena, r->route ? r->route : "", &req->route, error);
}

enum err call_route_set_embed(const struct call_route *r, struct embed_request *req,
                              struct error *error)
{
    req->local_only = r->local_only;
    enum err err = copy_text(req->arena, r->source ? r->source : "", &req->source, error);
    return err ? err : copy_text(req->arena, r->route ? r->route : "", &req->route, error);
}
