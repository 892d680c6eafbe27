/* GET /v1/models and /v1/models/{id}: what is on disk, from the models folder, with what is in
 * memory, from the provider. Adapters are listed behind the models, as "<model>:<adapter>", which
 * is the name that requests may use.
 *
 * The list is a snapshot (hub/snapshot.h): clients that ask often get the same text. A single model
 * is looked up each time. */
#include <stdlib.h>
#include <string.h>

#include "api/anthropic/anthropic.h"
#include "api/control.h"
#include "api/error.h"
#include "api/openai/openai_int.h"
#include "api/responder.h"
#include "api/route.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "hub/hub.h"

enum { BODY_MAX = 16 * 1024 * 1024 };

/* One look at everything, on its way: the folder on the pool, then the provider's two answers. */
struct look {
    struct hub *hub;
    struct snapshot *snapshot; /* NULL: one model, for `sink` */
    struct sink *sink;
    char *request_id, *id;
    char *adapter;             /* of the one model that is asked for, NULL = none */
    struct model_info *models; /* of the folder */
    size_t n;
    json_t *loaded, *adapters; /* the provider's answers; NULL = it has none */
};

static void look_free(struct look *l)
{
    if (l->sink) sink_unref(l->sink);
    json_decref(l->loaded);
    json_decref(l->adapters);
    free(l->models);
    free(l->request_id);
    free(l->id);
    free(l->adapter);
    free(l);
}

static void look_failed(struct look *l, const struct error *error)
{
    if (l->snapshot)
        snapshot_failed(l->snapshot, error);
    else
        error_respond(l->sink, &error_openai, error, l->request_id);
    look_free(l);
}

/* ---- writing ------------------------------------------------------------------------------- */

static const json_t *find_loaded(const struct look *l, const char *id)
{
    const json_t *models = json_object_get(l->loaded, "models");
    for (size_t i = 0; i < json_array_size(models); i++) {
        const json_t *m = json_array_get(models, i);
        const char *other = json_string_value(json_object_get(m, "id"));
        if (other && str_eq(other, id)) return m;
    }
    return NULL;
}

/* A member of the provider's answer under another name. */
static void pass(struct jw *w, const char *name, const json_t *value)
{
    if (value) jw_kjson(w, name, value);
}

/* Tokens that a request has room for now; 0 = the model is not in memory. */
static int64_t context_of(const json_t *loaded)
{
    const char *state = json_string_value(json_object_get(loaded, "state"));
    if (!state || !str_eq(control_state_word(state), "ready")) return 0;
    return json_integer_value(json_object_get(loaded, "context"));
}

static void write_memory(struct jw *w, const json_t *loaded)
{
    static const char *const members[] = {
        "slots",         "running", "waiting", "progress",         "keep_alive_ms",
        "expires_in_ms", "memory",  "loads",   "last_used_ms_ago", "leaving"};
    const char *state = json_string_value(json_object_get(loaded, "state"));
    bool on_disk = !state || str_eq(control_state_word(state), "on_disk");
    if (on_disk) return;
    if (context_of(loaded)) jw_kint(w, "context_loaded", context_of(loaded));
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        pass(w, members[i], json_object_get(loaded, members[i]));
    if (json_is_string(json_object_get(loaded, "waits_for")))
        pass(w, "waits_for", json_object_get(loaded, "waits_for"));
    if (!json_is_null(json_object_get(loaded, "error")))
        pass(w, "error", json_object_get(loaded, "error"));
}

/* Of those that it fits, or the one that it was made for. */
static bool fits(const json_t *adapter, const char *id)
{
    const json_t *models = json_object_get(adapter, "models");
    const char *made_for = json_string_value(json_object_get(adapter, "model"));
    if (!json_string_value(json_object_get(adapter, "name"))) return false;
    for (size_t i = 0; i < json_array_size(models); i++) {
        const char *model = json_string_value(json_array_get(models, i));
        if (model && str_eq(model, id)) return true;
    }
    return !models && made_for && str_eq(made_for, id);
}

/* The adapters that fit a model, by name. */
static void write_adapters(struct jw *w, const struct look *l, const char *id)
{
    const json_t *adapters = json_object_get(l->adapters, "adapters");
    jw_key(w, "adapters");
    jw_arr(w);
    for (size_t i = 0; i < json_array_size(adapters); i++) {
        const json_t *a = json_array_get(adapters, i);
        if (fits(a, id)) jw_str(w, json_string_value(json_object_get(a, "name")));
    }
    jw_arr_end(w);
}

/* OpenAI's members, and those that Anthropic's clients read at the same path. id: the model's, or
 * of one with an adapter. */
static void write_head(struct jw *w, const char *id, const struct model_info *m,
                       const struct look *l)
{
    char created_at[32];
    clock_format_utc(created_at, sizeof created_at, m->modified_s * 1000);
    jw_kstr(w, "id", id);
    jw_kstr(w, "object", "model");
    jw_kint(w, "created", m->modified_s);
    jw_kstr(w, "owned_by", "hearth");
    jw_kstr(w, "type", "model");
    jw_kstr(w, "display_name", id);
    jw_kstr(w, "created_at", created_at);
    anthropic_put_model(w, m, context_of(find_loaded(l, m->id)));
}

static void write_model(struct jw *w, const struct model_info *m, const struct look *l)
{
    const json_t *loaded = find_loaded(l, m->id);
    const char *state = json_string_value(json_object_get(loaded, "state"));
    jw_obj(w);
    write_head(w, m->id, m, l);
    jw_key(w, "meta");
    jw_obj(w);
    jw_kstr(w, "state", control_state_word(state ? state : "on_disk"));
    jw_kstr(w, "kind", model_kind_name(m->kind));
    jw_kstr(w, "arch", m->arch);
    jw_kstr(w, "quant", m->quant);
    jw_kint(w, "context", m->n_ctx_train);
    jw_kint(w, "n_params", m->n_params);
    jw_kint(w, "n_embd", m->n_embd);
    jw_kint(w, "size", m->file_bytes);
    jw_kbool(w, "tools", m->has_tools);
    jw_kbool(w, "builtin", m->builtin);
    write_adapters(w, l, m->id);
    write_memory(w, loaded);
    jw_obj_end(w);
    jw_obj_end(w);
}

static void adapter_model_id(char id[2 * MODEL_ID_MAX], const char *model, const json_t *adapter)
{
    str_printf(id, 2 * MODEL_ID_MAX, "%s:%s", model,
               json_string_value(json_object_get(adapter, "name")));
}

/* "<model>:<adapter>", with the model as its parent. */
static void write_adapter_model(struct jw *w, const struct model_info *m, const json_t *adapter,
                                const struct look *l)
{
    char id[2 * MODEL_ID_MAX];
    if (!fits(adapter, m->id)) return;
    adapter_model_id(id, m->id, adapter);
    jw_obj(w);
    write_head(w, id, m, l);
    jw_kstr(w, "parent", m->id);
    jw_key(w, "meta");
    jw_obj(w);
    jw_kstr(w, "state", json_is_true(json_object_get(adapter, "loaded")) ? "ready" : "on_disk");
    jw_kstr(w, "kind", "adapter");
    pass(w, "rank", json_object_get(adapter, "rank"));
    pass(w, "size", json_object_get(adapter, "bytes"));
    jw_obj_end(w);
    jw_obj_end(w);
}

/* Anthropic's clients page by these; here is all of it on one page. */
static void write_page(struct jw *w, const struct look *l)
{
    const json_t *adapters = json_object_get(l->adapters, "adapters");
    char last[2 * MODEL_ID_MAX] = "";
    if (l->n) str_copy(last, sizeof last, l->models[l->n - 1].id);
    for (size_t i = 0; i < l->n; i++)
        for (size_t k = 0; k < json_array_size(adapters); k++)
            if (fits(json_array_get(adapters, k), l->models[i].id))
                adapter_model_id(last, l->models[i].id, json_array_get(adapters, k));
    jw_kbool(w, "has_more", false);
    jw_kstr(w, "first_id", l->n ? l->models[0].id : NULL);
    jw_kstr(w, "last_id", l->n ? last : NULL);
}

static void write_list(struct jw *w, const struct look *l)
{
    const json_t *adapters = json_object_get(l->adapters, "adapters");
    jw_obj(w);
    jw_kstr(w, "object", "list");
    jw_key(w, "data");
    jw_arr(w);
    for (size_t i = 0; i < l->n; i++) write_model(w, &l->models[i], l);
    for (size_t i = 0; i < l->n; i++)
        for (size_t k = 0; k < json_array_size(adapters); k++)
            write_adapter_model(w, &l->models[i], json_array_get(adapters, k), l);
    jw_arr_end(w);
    write_page(w, l);
    pass(w, "memory", json_object_get(l->loaded, "memory"));
    jw_obj_end(w);
}

/* The one that is asked for; false: the model has no such adapter. */
static bool write_one(struct jw *w, const struct look *l)
{
    const json_t *adapters = json_object_get(l->adapters, "adapters");
    if (!l->adapter) {
        write_model(w, &l->models[0], l);
        return true;
    }
    for (size_t i = 0; i < json_array_size(adapters); i++) {
        const json_t *a = json_array_get(adapters, i);
        if (!fits(a, l->models[0].id) ||
            !str_eq(json_string_value(json_object_get(a, "name")), l->adapter))
            continue;
        write_adapter_model(w, &l->models[0], a, l);
        return true;
    }
    return false;
}

static void look_done(struct look *l)
{
    struct buf body;
    struct jw w;
    struct error error;
    buf_init(&body, BODY_MAX);
    jw_init(&w, &body);
    bool found = true;
    if (l->snapshot)
        write_list(&w, l);
    else
        found = write_one(&w, l);
    if (!found) {
        err_set(&error, ERR_NO_MODEL, "%s has no adapter \"%.100s\"; GET /adapters lists them",
                l->models[0].id, l->adapter);
        look_failed(l, &error);
    } else if (body.err) {
        err_set(&error, body.err, "listing the models failed");
        look_failed(l, &error);
    } else if (l->snapshot) {
        snapshot_done(l->snapshot, body.data, body.len);
        look_free(l);
    } else {
        (void)sink_respond(l->sink, 200, "application/json", NULL, 0, body.data, body.len);
        look_free(l);
    }
    buf_free(&body);
}

/* ---- asking -------------------------------------------------------------------------------- */

/* What a provider can't say is left out: the folder's half is of use without it. */
static json_t *parse_answer(const struct error *error, const char *answer, size_t len)
{
    struct error ignored;
    json_t *root;
    return !error && json_parse(answer, len, &root, &ignored) == OK ? root : NULL;
}

static void on_adapters(void *ctx, const struct error *error, const char *answer, size_t len)
{
    struct look *l = ctx;
    l->adapters = parse_answer(error, answer, len);
    look_done(l);
}

static void on_loaded(void *ctx, const struct error *error, const char *answer, size_t len)
{
    struct look *l = ctx;
    struct error ignored;
    l->loaded = parse_answer(error, answer, len);
    if (provider_control(l->hub->provider, CONTROL_ADAPTERS, "{}", on_adapters, l, &ignored))
        look_done(l);
}

/* A name, or one with an adapter behind it. */
static enum err resolve(struct look *l, struct error *error)
{
    enum err err = models_resolve(l->hub->models, l->id, false, l->models, error);
    char *colon = strrchr(l->id, ':');
    struct error ignored;
    if (err != ERR_NO_MODEL || !colon) return err;
    *colon = '\0';
    if (models_resolve(l->hub->models, l->id, false, l->models, &ignored)) return err;
    l->adapter = xstrdup(colon + 1);
    return OK;
}

/* On the pool: the folders may have to be read. */
static void look_at_folder(void *arg)
{
    struct look *l = arg;
    struct error error;
    enum err err;
    if (l->id) {
        l->n = 1;
        l->models = xcalloc(1, sizeof *l->models);
        err = resolve(l, &error);
    } else {
        err = models_list(l->hub->models, &l->models, &l->n, &error);
    }
    if (err)
        look_failed(l, &error);
    else if (provider_control(l->hub->provider, CONTROL_MODELS, "{}", on_loaded, l, &error))
        on_loaded(l, &error, NULL, 0);
}

/* ---- handlers ------------------------------------------------------------------------------ */

static void make_list(void *hub, struct snapshot *snapshot)
{
    struct look *l = xcalloc(1, sizeof *l);
    struct error error;
    l->hub = hub;
    l->snapshot = snapshot;
    enum err err = pool_submit(l->hub->pool, look_at_folder, l);
    if (!err) return;
    err_set(&error, err, "the hub is too busy to list its models; try again later");
    look_failed(l, &error);
}

void openai_models_get(struct hub *hub, snapshot_fn fn, void *ctx)
{
    snapshot_get(hub->models_view, make_list, hub, fn, ctx);
}

void openai_list_models(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    openai_models_get(hub, responder_pass, responder_new(sink, &error_openai, req->request_id));
}

void openai_model(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct look *l = xcalloc(1, sizeof *l);
    l->hub = hub;
    l->sink = sink;
    l->request_id = xstrdup(req->request_id);
    l->id = xstrdup(req->params[0]);
    look_at_folder(l);
}
