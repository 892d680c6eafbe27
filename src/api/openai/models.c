/* GET /v1/models and /v1/models/{id}. */
#include <stdlib.h>
#include <string.h>

#include "api/openai/openai_int.h"
#include "api/route.h"
#include "base/json.h"
#include "base/mem.h"
#include "hub/hub.h"

enum { LOADED_MAX = 64, BODY_MAX = 16 * 1024 * 1024 };

/* What is in memory or on its way there. */
struct loaded {
    struct sched_model_status models[LOADED_MAX];
    size_t n;
};

static struct loaded *loaded_new(const struct hub *hub)
{
    struct loaded *l = xcalloc(1, sizeof *l);
    if (hub->sched) l->n = sched_models(hub->sched, l->models, LOADED_MAX);
    if (l->n > LOADED_MAX) l->n = LOADED_MAX;
    return l;
}

static const struct sched_model_status *find_loaded(const struct loaded *l, const char *id)
{
    for (size_t i = 0; i < l->n; i++)
        if (strcmp(l->models[i].id, id) == 0) return &l->models[i];
    return NULL;
}

static void write_model(struct jw *w, const struct model_info *m, const struct loaded *loaded)
{
    const struct sched_model_status *status = find_loaded(loaded, m->id);
    jw_obj(w);
    jw_kstr(w, "id", m->id);
    jw_kstr(w, "object", "model");
    jw_kint(w, "created", m->modified_s);
    jw_kstr(w, "owned_by", "hearth");
    jw_key(w, "meta");
    jw_obj(w);
    jw_kstr(w, "state", model_state_name(status ? status->state : MODEL_ON_DISK));
    jw_kstr(w, "kind", model_kind_name(m->kind));
    jw_kstr(w, "arch", m->arch);
    jw_kstr(w, "quant", m->quant);
    jw_kint(w, "context", m->n_ctx_train);
    if (status && status->state == MODEL_READY) jw_kint(w, "context_loaded", status->n_ctx);
    jw_kint(w, "n_params", m->n_params);
    jw_kint(w, "n_embd", m->n_embd);
    jw_kint(w, "size", m->file_bytes);
    jw_kbool(w, "tools", m->has_tools);
    jw_kbool(w, "builtin", m->builtin);
    jw_obj_end(w);
    jw_obj_end(w);
}

static void respond(struct sink *sink, const struct http_request *req, const struct buf *body)
{
    if (body->err) {
        struct error error;
        err_set(&error, body->err, "listing the models failed");
        api_error(sink, req, &error);
    } else {
        (void)sink_respond(sink, 200, "application/json", NULL, 0, body->data, body->len);
    }
}

static void write_list(struct buf *body, const struct model_info *models, size_t n,
                       const struct loaded *loaded)
{
    struct jw w;
    jw_init(&w, body);
    jw_obj(&w);
    jw_kstr(&w, "object", "list");
    jw_key(&w, "data");
    jw_arr(&w);
    for (size_t i = 0; i < n; i++) write_model(&w, &models[i], loaded);
    jw_arr_end(&w);
    jw_obj_end(&w);
}

void openai_models(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct error error;
    struct model_info *models;
    size_t n;
    if (models_list(hub->models, &models, &n, &error) != OK) {
        api_error(sink, req, &error);
        sink_unref(sink);
        return;
    }
    struct loaded *loaded = loaded_new(hub);
    struct buf body;
    buf_init(&body, BODY_MAX);
    write_list(&body, models, n, loaded);
    respond(sink, req, &body);
    buf_free(&body);
    free(loaded);
    free(models);
    sink_unref(sink);
}

void openai_model(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct error error;
    struct model_info *model = xcalloc(1, sizeof *model);
    if (models_resolve(hub->models, req->params[0], false, model, &error) != OK) {
        api_error(sink, req, &error);
    } else {
        struct loaded *loaded = loaded_new(hub);
        struct buf body;
        struct jw w;
        buf_init(&body, BODY_MAX);
        jw_init(&w, &body);
        write_model(&w, model, loaded);
        respond(sink, req, &body);
        buf_free(&body);
        free(loaded);
    }
    free(model);
    sink_unref(sink);
}
