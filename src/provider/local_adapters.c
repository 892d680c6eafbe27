/* Which LoRA adapter a request gets, and the verbs that list and choose them.
 *
 * The request's own field counts first, then the name behind the last ':' of its model
 * ("hearth-tiny:pirate"; a model of that whole name goes before), then the adapter that was chosen
 * for all (adapter_load, HEARTH_ADAPTER). The last one is left out for models that it does not fit,
 * and where its file has gone; one that the request names must be there and fit, else it fails with
 * the reason, before anything is loaded. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "provider/local_int.h"

enum { SCALE_MAX = 100 };

/* ---- names --------------------------------------------------------------------------------- */

/* Fake adapters have no file, like fake models. */
static bool is_fake(const struct local *l, const char *name)
{
    return l->fake_engine && str_starts(name, "fake:lora");
}

static enum err resolve(struct local *l, const char *name, struct adapter_info *out,
                        struct error *error)
{
    if (!is_fake(l, name)) return adapters_resolve(l->adapters, name, out, error);
    *out = (struct adapter_info){.version = 1};
    str_copy(out->name, sizeof out->name, name);
    str_copy(out->path, sizeof out->path, name);
    return OK;
}

static enum err check(struct local *l, const struct adapter_info *adapter,
                      const struct model_info *model, struct error *error)
{
    return is_fake(l, adapter->name) ? OK : adapters_check(l->adapters, adapter, model, error);
}

/* Words for a model name whose last part could have been an adapter's. */
static void add_adapter_names(struct local *l, const char *suffix, struct error *error)
{
    struct error why;
    struct adapter_info info;
    if (adapters_resolve(l->adapters, suffix, &info, &why) == OK) return;
    size_t len = strlen(error->msg);
    if (why.code == ERR_NO_ADAPTER)
        str_printf(error->msg + len, sizeof error->msg - len, "; %s", why.msg);
}

enum err names_split_adapter(struct local *l, const char *name, struct model_info *out,
                             const char **adapter, struct error *error)
{
    char base[MODEL_ID_MAX];
    struct adapter_info info;
    struct error own;
    const char *colon = strrchr(name, ':');
    size_t len = colon ? (size_t)(colon - name) : 0;
    if (!len || len >= sizeof base || !colon[1]) return error->code;
    memcpy(base, name, len);
    base[len] = '\0';
    if (names_resolve(l, base, USE_GENERATE, out, &own)) return error->code;
    if (!adapter_is_none(colon + 1) && resolve(l, colon + 1, &info, &own) == ERR_NO_ADAPTER) {
        add_adapter_names(l, colon + 1, error);
        return error->code;
    }
    *adapter = colon + 1;
    return OK;
}

enum err names_resolve_front(struct local *l, const char *name, struct model_info *out,
                             struct error *error)
{
    const char *adapter;
    enum err e = names_resolve(l, name, USE_ANY, out, error);
    return e == ERR_NO_MODEL ? names_split_adapter(l, name, out, &adapter, error) : e;
}

/* ---- a request's adapter ------------------------------------------------------------------- */

/* What the request says itself; NULL = nothing. */
static enum err said(const struct job *job, const char **name, struct error *error)
{
    const struct gen_request *req = job->gen;
    /* An answer that goes on says what it began with, by the name that its client never used. */
    const char *named = req->resume && req->adapter ? NULL : job->model_adapter;
    enum err e = adapter_wanted(req->adapter, named, name, error);
    if (e) return e;
    if (isfinite(req->adapter_scale) && fabsf(req->adapter_scale) <= SCALE_MAX) return OK;
    return err_set_param(error, ERR_INVALID, "/adapter_scale",
                         "an adapter's scale is a number from -%d to %d", SCALE_MAX, SCALE_MAX);
}

static bool chosen_for_all(struct local *l, char *name, size_t size, float *scale)
{
    pthread_mutex_lock(&l->lock);
    bool any = l->adapter[0];
    str_copy(name, size, l->adapter);
    *scale = l->adapter_scale;
    pthread_mutex_unlock(&l->lock);
    return any;
}

static enum err take(struct job *job, const char *name, float scale, const char *model_id,
                     struct error *error)
{
    struct model_info model;
    struct adapter_info info = {0};
    enum err e = names_resolve(job->l, model_id, USE_GENERATE, &model, error);
    if (!e) e = resolve(job->l, name, &info, error);
    if (!e) e = check(job->l, &info, &model, error);
    uint64_t began_with = job->gen->resume ? job->gen->adapter_version : 0;
    if (!e && began_with && began_with != info.version)
        e = err_set(error, ERR_ADAPTER, "the adapter %s is another file now", info.name);
    if (e) {
        err_hide_folder(error, info.path);
        return e;
    }
    job->adapter = xmalloc(sizeof *job->adapter);
    *job->adapter = info;
    job->adapter_scale = scale;
    return OK;
}

/* Whether the one chosen for all can be used at all; a person may have taken its file away, or put
 * another into its place. Says so in the log when that changes. */
static bool is_there(struct local *l, const char *name, struct error *why)
{
    struct adapter_info info;
    bool there = resolve(l, name, &info, why) == OK;
    if (!there) err_prefix(why, "the adapter chosen for all requests is left out");
    pthread_mutex_lock(&l->lock);
    bool news = there == l->adapter_missed && str_eq(l->adapter, name);
    if (news) l->adapter_missed = !there;
    pthread_mutex_unlock(&l->lock);
    if (news && there) log_info(models, "the adapter %s, chosen for all, is there again", name);
    if (news && !there) log_warn(models, "%s", why->msg);
    return there;
}

/* Nobody's request fails for what somebody else has chosen: where that can't be had, or was made
 * for another model, it is left out. */
static enum err take_chosen(struct job *job, const char *model_id, struct error *error)
{
    struct error why;
    char name[ADAPTER_NAME_MAX];
    float scale;
    if (!chosen_for_all(job->l, name, sizeof name, &scale)) return OK;
    if (!is_there(job->l, name, &why)) return OK;
    enum err e = take(job, name, scale, model_id, error);
    return e == ERR_ADAPTER || e == ERR_NO_ADAPTER ? OK : e;
}

enum err adapter_choose(struct job *job, const char *model_id, struct error *error)
{
    const char *own;
    enum err e = said(job, &own, error);
    if (e) return e;
    if (!own) return take_chosen(job, model_id, error);
    if (adapter_is_none(own)) return OK;
    e = take(job, own, job->gen->adapter_scale, model_id, error);
    if (e && job->gen->resume)
        return err_prefix(error, "the answer can't be continued with its adapter");
    if (e && !*error->param)
        str_copy(error->param, sizeof error->param, job->gen->adapter ? "/adapter" : "/model");
    return e;
}

/* ---- verbs --------------------------------------------------------------------------------- */

static bool is_loaded(const struct sched_adapter_status *st, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (st[i].loaded && str_eq(st[i].name, name)) return true;
    return false;
}

/* The models that it fits; the first one is `first`, unless there is a name already. */
static void write_models(struct local *l, struct jw *w, const struct adapter_info *a,
                         const struct model_info *models, size_t n, const char **first)
{
    jw_key(w, "models");
    jw_arr(w);
    for (size_t i = 0; i < n; i++) {
        if (!adapter_may_fit(a, &models[i]) || check(l, a, &models[i], NULL)) continue;
        jw_str(w, models[i].id);
        if (!*first) *first = models[i].id;
    }
    jw_arr_end(w);
}

static void write_adapter(struct local *l, struct jw *w, const struct adapter_info *a, bool loaded,
                          const struct model_info *models, size_t n_models)
{
    const char *model = a->base_model[0] ? a->base_model : NULL;
    jw_obj(w);
    jw_kstr(w, "name", a->name);
    jw_kbool(w, "loaded", loaded);
    jw_kint(w, "rank", a->rank);
    jw_kdouble(w, "alpha", (double)a->alpha);
    jw_kint(w, "bytes", a->bytes);
    jw_kstr(w, "architecture", a->arch);
    write_models(l, w, a, models, n_models, &model);
    jw_kstr(w, "model", model);
    jw_kbool(w, "builtin", a->builtin);
    jw_kstr(w, "error", a->error.code ? a->error.msg : NULL);
    jw_obj_end(w);
}

enum err control_adapters(struct local *l, const json_t *args, control_fn fn, void *ctx,
                          struct error *error)
{
    (void)args;
    enum { STATUS_MAX = 256 };
    char name[ADAPTER_NAME_MAX];
    float scale;
    struct adapter_info *all;
    struct model_info *models;
    size_t n, n_models;
    struct buf b;
    struct jw w;
    enum err e = adapters_list(l->adapters, &all, &n, error);
    if (e) return e;
    if (models_list(l->models, &models, &n_models, NULL)) models = NULL;
    if (!models) n_models = 0;
    struct sched_adapter_status *st = xcalloc(STATUS_MAX, sizeof *st);
    size_t n_st = sched_adapters(l->sched, st, STATUS_MAX);
    if (n_st > STATUS_MAX) n_st = STATUS_MAX;
    struct error why = {0};
    bool any = chosen_for_all(l, name, sizeof name, &scale) && is_there(l, name, &why);
    control_answer_init(&b, &w);
    jw_obj(&w);
    jw_kstr(&w, "current", any ? name : "base");
    if (why.code) jw_kstr(&w, "current_error", why.msg);
    jw_key(&w, "adapters");
    jw_arr(&w);
    for (size_t i = 0; i < n; i++)
        write_adapter(l, &w, &all[i], is_loaded(st, n_st, all[i].name), models, n_models);
    jw_arr_end(&w);
    jw_obj_end(&w);
    free(st);
    free(all);
    free(models);
    return control_answer(&b, fn, ctx, error);
}

/* It must fit some model: the default one, or another that is there. */
static enum err fits_any(struct local *l, const struct adapter_info *adapter, struct error *error)
{
    struct model_info model, *all;
    size_t n;
    enum err e = names_resolve(l, "", USE_GENERATE, &model, error);
    if (!e) e = check(l, adapter, &model, error);
    if (!e || e != ERR_ADAPTER || models_list(l->models, &all, &n, NULL)) return e;
    for (size_t i = 0; i < n && e; i++)
        if (adapter_may_fit(adapter, &all[i]) && !check(l, adapter, &all[i], NULL)) e = OK;
    free(all);
    return e;
}

/* "" = none. */
static void choose_for_all(struct local *l, const char *name, float scale)
{
    pthread_mutex_lock(&l->lock);
    str_copy(l->adapter, sizeof l->adapter, name);
    l->adapter_scale = scale;
    l->adapter_missed = false;
    pthread_mutex_unlock(&l->lock);
}

/* "again": it was chosen in the worker before this one, and may have gone meanwhile. */
enum err control_adapter_load(struct local *l, const json_t *args, control_fn fn, void *ctx,
                              struct error *error)
{
    const char *name = NULL;
    double scale = 1;
    bool again = false;
    struct adapter_info info = {0};
    enum err e = json_get_string(args, "adapter_name", "", &name, error);
    if (!e && (!name || !*name))
        e = err_set_param(error, ERR_INVALID, "/adapter_name",
                          "adapter_name is missing: the name of an adapter, \"default\", or "
                          "\"base\" for none");
    if (!e) e = json_get_double(args, "scale", "", -SCALE_MAX, SCALE_MAX, &scale, error);
    if (!e) e = json_get_bool(args, "again", "", &again, error);
    bool none = !e && adapter_is_none(name);
    if (!e && !none) {
        e = resolve(l, name, &info, error);
        if (!e) e = fits_any(l, &info, error);
        if (again && (e == ERR_NO_ADAPTER || e == ERR_ADAPTER)) {
            str_copy(info.name, sizeof info.name, name);
            e = OK;
        }
        if (e && !*error->param) str_copy(error->param, sizeof error->param, "/adapter_name");
        if (e) err_hide_folder(error, info.path);
    }
    if (e) return e;
    choose_for_all(l, info.name, (float)scale);
    struct buf b;
    struct jw w;
    control_answer_init(&b, &w);
    jw_obj(&w);
    jw_kstr(&w, "adapter", none ? "base" : info.name);
    jw_obj_end(&w);
    return control_answer(&b, fn, ctx, error);
}
