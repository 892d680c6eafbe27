/* See derive.h. */
#include "provider/derive.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/str.h"
#include "models/derived.h"
#include "provider/local.h"
#include "provider/prompt_json.h"

enum { ARGS_MAX = 512 << 20 };

struct derive {
    struct provider base;
    struct provider *inner;
    struct models *models;
    struct adapters *adapters;
    char *default_model;
};

static struct derive *of(struct provider *p)
{
    return container_of(p, struct derive, base);
}

/* NULL: the name is of no derived model. A request that names none means the default one. */
static struct derived *find(struct derive *v, const char *name)
{
    return local_derived(v->models, v->default_model, provider_names_model(name) ? name : "");
}

static bool is_adapter(struct derive *v, const char *name)
{
    struct adapter_info *info = xcalloc(1, sizeof *info);
    bool is = *name && (adapter_is_none(name) ||
                        adapters_resolve(v->adapters, name, info, NULL) != ERR_NO_ADAPTER);
    free(info);
    return is;
}

static bool is_model(struct derive *v, const char *name)
{
    struct model_info *info = xcalloc(1, sizeof *info);
    bool is = models_resolve(v->models, name, false, info, NULL) != ERR_NO_MODEL;
    free(info);
    return is;
}

/* What a model's name says. */
struct named {
    struct derived *d;        /* with a reference; NULL: it is of none */
    const char *adapter;      /* behind the name's last ':', a part of it; NULL = none */
    char model[MODEL_ID_MAX]; /* what stands before that */
};

/* A model of the whole name goes before one with an adapter. Names that are neither, and models
 * without an adapter that are not derived, leave *out empty. */
static void read_name(struct derive *v, const char *name, struct named *out)
{
    const char *colon = strrchr(name, ':');
    size_t n = colon ? (size_t)(colon - name) : 0;
    *out = (struct named){.d = find(v, name)};
    if (out->d || !n || n >= sizeof out->model) return;
    memcpy(out->model, name, n);
    out->model[n] = '\0';
    if (!is_adapter(v, colon + 1) || is_model(v, name) || !is_model(v, out->model)) return;
    out->adapter = colon + 1;
    out->d = models_derived(v->models, out->model);
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

/* A request that names no model stays one: whoever it goes to takes a model of his own, and the
 * local provider adds what only its default model's weights understand. An adapter that is named
 * goes into its field, by which the router sees that nobody else can answer. */
static enum err apply(const struct named *n, struct gen_request *req, struct error *error)
{
    enum err e = OK;
    if (!n->d && !n->adapter) return OK;
    if (!provider_names_model(req->model)) return derived_apply_anywhere(n->d, req, error);
    if (n->adapter) e = adapter_wanted(req->adapter, n->adapter, &req->adapter, error);
    if (!e && n->d) e = derived_apply(n->d, req, error);
    if (e) return e;
    arena_allow(req->arena, sizeof n->model);
    req->model = arena_strdup(req->arena, n->d ? base_of(n->d) : n->model);
    return req->model ? OK : err_set(error, ERR_NOMEM, "not enough memory for the request");
}

/* "local/mario" is mario, and nobody else is asked: what the router makes of any provider's name in
 * front of a model's, as which it is not known here. */
static void read_name_here(struct derive *v, struct gen_request *req, struct named *out)
{
    static const char here[] = "local";
    size_t n = sizeof here - 1;
    bool elsewhere = req->source && *req->source && !str_ieq(req->source, here);
    if (elsewhere || strncasecmp(req->model, here, n) != 0 || req->model[n] != '/') return;
    read_name(v, req->model + n + 1, out);
    if (!out->d && !out->adapter) return;
    req->source = here;
    req->model += n + 1;
}

/* *out: the derived model whose request it was, with a reference; NULL: of none. */
static enum err prepare(struct derive *v, struct gen_request *req, struct derived **out,
                        struct error *error)
{
    struct named n;
    read_name(v, req->model, &n);
    if (!n.d && !n.adapter) read_name_here(v, req, &n);
    enum err e = apply(&n, req, error);
    if (e) derived_unref(n.d);
    *out = e ? NULL : n.d;
    return e;
}

enum err derive_prepare(struct provider *p, struct gen_request *req, struct error *error)
{
    struct derived *d;
    enum err e = prepare(of(p), req, &d, error);
    derived_unref(d);
    return e;
}

static enum err generate(struct provider *p, struct gen_request *req, gen_listener_fn fn, void *ctx,
                         uint64_t *id, struct error *error)
{
    struct derive *v = of(p);
    struct derived *d;
    enum err e = prepare(v, req, &d, error);
    if (e) {
        arena_free(req->arena);
        return e;
    }
    if (!d) return provider_generate(v->inner, req, fn, ctx, id, error);
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

/* ---- the rest ---------------------------------------------------------- */

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

/* The conversation as a request for it would have it. */
static enum err write_prompt(const struct derived *d, const json_t *args, struct jw *w,
                             struct error *error)
{
    struct gen_request *req;
    enum err e = prompt_json_read(json_object_get(args, "request"), &req, error);
    if (e) return e;
    e = derived_apply(d, req, error);
    if (!e) prompt_json_write(w, req);
    arena_free(req->arena);
    return e;
}

/* The arguments as the model whose weights it has gets them. */
static enum err translate(const struct derived *d, enum control what, json_t *args, struct buf *out,
                          struct error *error)
{
    struct jw w;
    if (what == CONTROL_TEMPLATE) {
        jw_init(&w, out);
        jw_obj(&w);
        jw_kstr(&w, "model", base_of(d));
        jw_kstr(&w, "as", d->name);
        jw_key(&w, "request");
        enum err e = write_prompt(d, args, &w, error);
        jw_obj_end(&w);
        if (e) return e;
    } else {
        int failed = json_object_set_new(args, "model", json_string(base_of(d)));
        failed |= json_object_set_new(args, "as", json_string(d->name));
        if (what == CONTROL_PROPS && d->chat_template)
            failed |= json_object_set_new(args, "chat_template", json_string(d->chat_template));
        if (failed) return err_set(error, ERR_NOMEM, "no memory for the arguments");
        if (json_dump(args, out)) return err_set(error, out->err, "the arguments are too long");
    }
    return out->err ? err_set(error, out->err, "the arguments are too long") : OK;
}

/* Whether the verb takes a name with an adapter behind it, which changes nothing for it. */
static bool takes_adapter(enum control what)
{
    return what != CONTROL_LOAD && what != CONTROL_UNLOAD;
}

static enum err control(struct provider *p, enum control what, const char *args, control_fn fn,
                        void *ctx, struct error *error)
{
    struct named n = {0};
    struct derive *v = of(p);
    json_t *root;
    if (!models_has_derived(v->models) || !strstr(args, "\"model\"") ||
        json_parse(args, strlen(args), &root, NULL))
        return provider_control(v->inner, what, args, fn, ctx, error);
    const char *name = json_string_value(json_object_get(root, "model"));
    if (name && takes_adapter(what))
        read_name(v, name, &n);
    else if (name)
        n.d = find(v, name);
    struct buf own;
    buf_init(&own, ARGS_MAX);
    enum err e = n.d ? translate(n.d, what, root, &own, error) : OK;
    json_decref(root);
    if (!e) e = provider_control(v->inner, what, n.d ? buf_str(&own) : args, fn, ctx, error);
    buf_free(&own);
    derived_unref(n.d);
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
                            struct adapters *adapters, const char *default_model)
{
    struct derive *v = xcalloc(1, sizeof *v);
    v->base.ops = &ops;
    v->inner = inner;
    v->models = models;
    v->adapters = adapters;
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
