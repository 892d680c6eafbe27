/* The wrappers through which callers reach a provider: they check what every provider relies on. */
#include "provider/provider.h"

#include "base/str.h"

static bool has_images(const struct gen_request *req)
{
    for (size_t i = 0; i < req->n_messages; i++)
        if (req->messages[i].n_images) return true;
    return false;
}

/* Somebody would have to fetch them. */
static bool has_image_urls(const struct gen_request *req)
{
    for (size_t i = 0; i < req->n_messages; i++)
        for (size_t k = 0; k < req->messages[i].n_images; k++)
            if (req->messages[i].images[k].url) return true;
    return false;
}

enum err provider_generate(struct provider *p, struct gen_request *req, gen_listener_fn fn,
                           void *ctx, uint64_t *id, struct error *error)
{
    ht_assert(req && req->arena && fn && req->n >= 1 && req->n <= GEN_N_MAX);
    ht_assert(req->model && req->tenant);
    ht_assert(req->kind == GEN_RAW || req->n_messages > 0);
    *id = 0;
    if (!(p->ops->caps & PROVIDER_GENERATE)) {
        arena_free(req->arena);
        return err_set(error, ERR_UNSUPPORTED, "%s can't generate text", p->ops->name);
    }
    if (req->n_tools && !(p->ops->caps & PROVIDER_TOOLS)) {
        arena_free(req->arena);
        return err_set_param(error, ERR_UNSUPPORTED, "/tools", "%s can't call tools", p->ops->name);
    }
    if (!(p->ops->caps & PROVIDER_IMAGES) && has_images(req)) {
        arena_free(req->arena);
        return err_set_param(error, ERR_UNSUPPORTED, "/messages", "%s can't look at images",
                             p->ops->name);
    }
    if (req->local_only && has_image_urls(req)) {
        arena_free(req->arena);
        return err_set_param(error, ERR_UNSUPPORTED, "/messages",
                             "the request must stay on this machine, so no picture is fetched from "
                             "an address; send it as a data: URL");
    }
    return p->ops->generate(p, req, fn, ctx, id, error);
}

enum err provider_embed(struct provider *p, struct embed_request *req, embed_listener_fn fn,
                        void *ctx, uint64_t *id, struct error *error)
{
    ht_assert(req && req->arena && fn && req->model && req->tenant);
    *id = 0;
    if (!(p->ops->caps & PROVIDER_EMBED) || !p->ops->embed) {
        arena_free(req->arena);
        return err_set(error, ERR_UNSUPPORTED, "%s has no embeddings", p->ops->name);
    }
    return p->ops->embed(p, req, fn, ctx, id, error);
}

enum err provider_control(struct provider *p, enum control what, const char *args, control_fn fn,
                          void *ctx, struct error *error)
{
    ht_assert(args && fn && what < CONTROL_COUNT);
    if (!p->ops->control)
        return err_set(error, ERR_UNSUPPORTED, "%s knows no \"%s\"", p->ops->name,
                       control_name(what));
    return p->ops->control(p, what, args, fn, ctx, error);
}

const char *control_name(enum control what)
{
    static const char *const names[] = {
#define X(id, name) [CONTROL_##id] = name,
        CONTROLS(X)
#undef X
    };
    ht_assert(what < CONTROL_COUNT);
    return names[what];
}

bool provider_names_model(const char *model)
{
    return *model && !str_ieq(model, "auto");
}

void provider_cancel(struct provider *p, uint64_t id)
{
    p->ops->cancel(p, id);
}

void provider_close(struct provider *p, int64_t grace_ms)
{
    if (p) p->ops->close(p, grace_ms);
}
