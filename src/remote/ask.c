/* What a provider is asked besides generating: embeddings and reranks, its models, its health. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "remote/core_int.h"

enum { LIST_MAX = 16 << 20 };

/* ---- embeddings ---------------------------------------------------------------------------- */

enum err embed_write(struct call *c, struct error *error)
{
    const struct remote *r = c->r;
    const struct protocol *p = r->protocol;
    const struct embed_request *req = c->embed.req;
    size_t from = c->embed.at, n = req->n_inputs - from;
    if (p->embed_max && n > p->embed_max && !req->query) n = p->embed_max;
    buf_clear(&c->http.body);
    rows_begin(&c->embed.rows, from, n);
    return req->query ? p->rerank(&r->env, req, from, n, c->embed.model, &c->http, error)
                      : p->embed(&r->env, req, from, n, c->embed.model, &c->http, error);
}

static const char *embed_model(const struct remote *r, const struct embed_request *req)
{
    return *req->model ? req->model : r->embed_model;
}

static enum err check_embed(const struct remote *r, const struct embed_request *req,
                            struct error *error)
{
    const struct protocol *p = r->protocol;
    if (req->query ? !p->rerank : !p->embed)
        return err_set(error, ERR_UNSUPPORTED, "%s has no %s", r->name,
                       req->query ? "reranking" : "embeddings");
    if (!*embed_model(r, req))
        return err_set_param(error, ERR_NO_MODEL, "/model",
                             "no embedding model is configured for %s; name one", r->name);
    for (size_t i = 0; i < req->n_inputs; i++)
        if (!req->inputs[i].text)
            return err_set_param(error, ERR_UNSUPPORTED, "/input",
                                 "%s takes texts, not tokens of another model", r->name);
    return OK;
}

enum err remote_embed(struct provider *provider, struct embed_request *req, embed_listener_fn fn,
                      void *ctx, uint64_t *id, struct error *error)
{
    struct remote *r = container_of(provider, struct remote, base);
    enum err e = check_embed(r, req, error);
    if (e) {
        arena_free(req->arena);
        return e;
    }
    struct call *c = call_new(r, CALL_EMBED, req->request_id);
    c->priority = req->priority;
    c->deadline_ms = req->deadline_ms;
    c->embed.fn = fn;
    c->embed.req = req;
    c->embed.model = xstrdup(embed_model(r, req));
    c->ctx = ctx;
    e = rows_init(&c->embed.rows, r->name, req->n_inputs, req->query != NULL, error);
    if (!e) e = embed_write(c, error);
    if (!e) e = call_submit(c, id, error);
    if (e) remote_call_free(c);
    return e;
}

/* ---- models, health ------------------------------------------------------------------------ */

void control_read(struct call *c, const json_t *body)
{
    struct jw w;
    struct model_list list = {.provider = c->r->name, .w = &w};
    struct buf *out = &c->control.list;
    buf_clear(out);
    jw_init(&w, out);
    jw_obj(&w);
    jw_key(&w, "models");
    jw_arr(&w);
    const struct protocol *p = c->r->protocol;
    enum err e = c->control.model ? p->shown(body, c->control.model, &list, &c->failed)
                                  : p->models(body, &list, &c->failed);
    if (e) return;
    jw_arr_end(&w);
    jw_obj_end(&w);
    if (out->err) err_set(&c->failed, out->err, "%s has too many models", c->r->name);
}

static void write_health(const struct call *c, struct buf *out)
{
    struct remote_state s;
    struct jw w;
    remote_state(&c->r->base, &s);
    jw_init(&w, out);
    jw_obj(&w);
    jw_kbool(&w, "healthy", c->failed.code == OK);
    jw_kstr(&w, "provider", c->r->name);
    jw_kstr(&w, "protocol", c->r->protocol->name);
    jw_kstr(&w, "address", c->r->where);
    jw_kint(&w, "latency_ms", (clock_mono_ns() - c->sent_ns) / 1000000);
    jw_kstr(&w, "breaker", s.open ? "open" : "closed");
    jw_kint(&w, "retry_in_ms", s.retry_in_ms);
    jw_kint(&w, "running", s.running);
    jw_kint(&w, "waiting", s.waiting);
    jw_kstr(&w, "error", c->failed.code ? c->failed.msg : NULL);
    jw_kstr(&w, "code", c->failed.code ? err_api_code(c->failed.code) : NULL);
    jw_obj_end(&w);
}

void control_tell_end(struct call *c)
{
    struct buf *out = &c->control.list;
    bool stopped = c->failed.code == ERR_CANCELLED || c->failed.code == ERR_STOPPING;
    if (c->kind == CALL_HEALTH && !stopped) { /* that it is ill is an answer, too */
        buf_clear(out);
        write_health(c, out);
        c->control.fn(c->ctx, NULL, buf_str(out), out->len);
    } else if (c->failed.code) {
        c->control.fn(c->ctx, &c->failed, NULL, 0);
    } else {
        c->control.fn(c->ctx, NULL, buf_str(out), out->len);
    }
}

/* {"model"} asks about one model alone. */
static enum err write_question(struct call *c, const char *args, struct error *error)
{
    const struct protocol *p = c->r->protocol;
    const char *model = NULL;
    json_t *parsed = NULL;
    enum err e = json_parse(args, strlen(args), &parsed, error);
    if (!e) e = json_get_string(parsed, "model", "", &model, error);
    if (!e && model && c->kind == CALL_MODELS && !p->show)
        e = err_set(error, ERR_UNSUPPORTED, "%s tells nothing of one model alone", c->r->name);
    if (!e && model && c->kind == CALL_MODELS) {
        c->control.model = xstrdup(model);
        e = p->show(&c->r->env, model, &c->http, error);
    } else if (!e) {
        c->http.method = "GET";
        str_copy(c->http.path, sizeof c->http.path, p->models_path);
    }
    json_decref(parsed);
    return e;
}

enum err remote_control(struct provider *provider, enum control what, const char *args,
                        control_fn fn, void *ctx, struct error *error)
{
    struct remote *r = container_of(provider, struct remote, base);
    if (what != CONTROL_MODELS && what != CONTROL_HEALTH)
        return err_set(error, ERR_UNSUPPORTED, "%s knows no \"%s\"", r->name, control_name(what));
    struct call *c = call_new(r, what == CONTROL_HEALTH ? CALL_HEALTH : CALL_MODELS, "");
    c->priority = 0;
    buf_init(&c->control.list, LIST_MAX);
    c->control.fn = fn;
    c->ctx = ctx;
    enum err e = write_question(c, args, error);
    if (!e) e = call_submit(c, NULL, error);
    if (e) remote_call_free(c);
    return e;
}
