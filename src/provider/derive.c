/* See derive.h. */
#include "provider/derive.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/str.h"
#include "models/derived.h"
#include "provider/local.h"

enum { ARGS_MAX = 64 << 10 };

struct derive {
    struct provider base;
    struct provider *inner;
    struct models *models;
    char *default_model;
};

static struct derive *of(struct provider *p)
{
    return container_of(p, struct derive, base);
}

/* NULL: the name is of no derived model. A request that names none means the default one. */
static struct derived *find(struct derive *v, const char *name)
{
    struct derived *d = NULL;
    if (*name) return models_derived(v->models, name);
    if (!models_has_derived(v->models)) return NULL;
    if (*v->default_model) return models_derived(v->models, v->default_model);
    struct model_info *info = xcalloc(1, sizeof *info);
    if (local_resolve_name(v->models, "", "", info, NULL) == OK)
        d = models_derived(v->models, info->id);
    free(info);
    return d;
}

static const char *base_of(const struct derived *d)
{
    return d->from[0] ? d->from : d->name;
}

/* ---- generating ---------------------------------------------------------------------------- */

/* A request under way; freed with its last event. */
struct renamed {
    gen_listener_fn fn;
    void *ctx;
    const struct derived *d;
};

static void renamed_free(struct renamed *r)
{
    derived_unref((struct derived *)r->d);
    free(r);
}

static void on_event(void *ctx, const struct gen_event *ev)
{
    struct renamed *r = ctx;
    struct gen_event own = *ev;
    bool last = ev->type == GEN_EV_DONE || ev->type == GEN_EV_ERROR;
    if (own.model && str_ieq(own.model, base_of(r->d))) own.model = r->d->name;
    r->fn(r->ctx, &own);
    if (last) renamed_free(r);
}

static enum err apply(const struct derived *d, struct gen_request *req, struct error *error)
{
    enum err e = derived_apply(d, req, error);
    if (!e) req->model = arena_strdup(req->arena, base_of(d));
    return e || req->model ? e : err_set(error, ERR_NOMEM, "not enough memory for the request");
}

static enum err generate(struct provider *p, struct gen_request *req, gen_listener_fn fn, void *ctx,
                         uint64_t *id, struct error *error)
{
    struct derive *v = of(p);
    struct derived *d = find(v, req->model);
    if (!d) return provider_generate(v->inner, req, fn, ctx, id, error);
    enum err e = apply(d, req, error);
    if (e) {
        derived_unref(d);
        arena_free(req->arena);
        return e;
    }
    struct renamed *r = xmalloc(sizeof *r);
    *r = (struct renamed){fn, ctx, d};
    e = provider_generate(v->inner, req, on_event, r, id, error);
    if (e) renamed_free(r);
    return e;
}

static void cancel(struct provider *p, uint64_t id)
{
    provider_cancel(of(p)->inner, id);
}

/* ---- the rest: only the name counts ---------------------------------------------------------- */

static enum err embed(struct provider *p, struct embed_request *req, embed_listener_fn fn,
                      void *ctx, uint64_t *id, struct error *error)
{
    struct derive *v = of(p);
    struct derived *d = *req->model ? models_derived(v->models, req->model) : NULL;
    if (d) {
        arena_allow(req->arena, sizeof d->name);
        const char *base = arena_strdup(req->arena, base_of(d));
        if (base) req->model = base;
        derived_unref(d);
    }
    return provider_embed(v->inner, req, fn, ctx, id, error);
}

/* The arguments with the other model's name; NULL when theirs is no derived one's. */
static char *translate(struct derive *v, const char *args)
{
    json_t *root;
    char *text = NULL;
    struct buf out;
    if (json_parse(args, strlen(args), &root, NULL)) return NULL;
    const char *name = json_string_value(json_object_get(root, "model"));
    struct derived *d = name && *name ? models_derived(v->models, name) : NULL;
    buf_init(&out, ARGS_MAX);
    if (d && json_object_set_new(root, "model", json_string(base_of(d))) == 0 &&
        json_dump(root, &out) == OK)
        text = buf_take(&out);
    buf_free(&out);
    derived_unref(d);
    json_decref(root);
    return text;
}

static enum err control(struct provider *p, enum control what, const char *args, control_fn fn,
                        void *ctx, struct error *error)
{
    struct derive *v = of(p);
    char *own = strstr(args, "\"model\"") ? translate(v, args) : NULL;
    enum err e = provider_control(v->inner, what, own ? own : args, fn, ctx, error);
    free(own);
    return e;
}

static void close_inner(struct provider *p, int64_t grace_ms)
{
    provider_close(of(p)->inner, grace_ms);
}

static const struct provider_ops ops = {
    .name = "derive",
    .caps = PROVIDER_GENERATE | PROVIDER_EMBED | PROVIDER_TOOLS | PROVIDER_IMAGES,
    .generate = generate,
    .cancel = cancel,
    .embed = embed,
    .control = control,
    .close = close_inner,
};

struct provider *derive_new(struct provider *inner, struct models *models,
                            const char *default_model)
{
    struct derive *v = xcalloc(1, sizeof *v);
    v->base.ops = &ops;
    v->inner = inner;
    v->models = models;
    v->default_model = xstrdup(default_model);
    return &v->base;
}

void derive_free(struct provider *p)
{
    if (!p) return;
    struct derive *v = of(p);
    free(v->default_model);
    free(v);
}
