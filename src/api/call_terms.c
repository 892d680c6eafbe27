/* What a call's body says that is Hearth's own; see call_terms.h. */
#include "api/call_terms.h"

#include "api/control.h"
#include "api/fields.h"
#include "base/str.h"

static enum err read_overflow(const char *word, enum overflow *out, struct error *error)
{
    *out = !word ? OVERFLOW_DEFAULT : str_eq(word, "shift") ? OVERFLOW_SHIFT : OVERFLOW_STOP;
    if (*out != OVERFLOW_STOP || str_eq(word, "stop")) return OK;
    return field_error(error, "", "context_overflow",
                       "must be \"stop\" or \"shift\", got \"%.40s\"", word);
}

enum err call_terms_read(const struct call_terms_fields *f, const struct call_env *env,
                         struct call_terms *out, struct error *error)
{
    *out = (struct call_terms){.route = env->routing,
                               .adapter = f->adapter_scale == 0 ? "base" : f->adapter,
                               .adapter_scale = (float)f->adapter_scale,
                               .deterministic = f->deterministic};
    if (f->deadline_ms) out->deadline_ms = env->now_ms + f->deadline_ms;
    if (f->adapter && !*f->adapter)
        return field_error(error, "", "adapter",
                           "must not be empty; leave it out for the default one, \"base\" is none");
    enum err err = call_priority(f->priority, env, &out->priority, error);
    if (!err) err = keep_alive_read(f->keep_alive, &out->keep_alive_ms, error);
    if (!err) err = read_overflow(f->context_overflow, &out->overflow, error);
    return err ? err : call_route_apply(&f->routing, &out->route, error);
}

enum err call_terms_set(const struct call_terms_fields *f, const struct call_env *env,
                        struct gen_request *req, struct error *error)
{
    struct call_terms t;
    enum err err = call_terms_read(f, env, &t, error);
    if (err) return err;
    req->priority = t.priority;
    req->deadline_ms = t.deadline_ms;
    req->keep_alive_ms = t.keep_alive_ms;
    req->adapter_scale = t.adapter_scale;
    req->deterministic = t.deterministic;
    req->overflow = t.overflow;
    if (t.adapter) err = copy_text(req->arena, t.adapter, &req->adapter, error);
    return err ? err : call_route_set(&t.route, req, error);
}

enum err call_terms_set_embed(const struct call_terms_fields *f, const struct call_env *env,
                              struct embed_request *req, struct error *error)
{
    struct call_terms t;
    enum err err = call_terms_read(f, env, &t, error);
    if (err) return err;
    req->priority = t.priority;
    req->deadline_ms = t.deadline_ms;
    req->keep_alive_ms = t.keep_alive_ms;
    return call_route_set_embed(&t.route, req, error);
}
