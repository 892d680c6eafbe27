/* The verbs about models: what is in memory, loading, unloading, planning. They resolve names,
 * which reads folders, so they run on the pool. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "provider/local_int.h"

enum { MODELS_MAX = 256, QUARANTINED_MAX = 64 };

/* A verb under way. */
struct call {
    struct local *l;
    char *name;
    int32_t n_ctx;
    control_fn fn;
    void *ctx;
    struct model_info info;
};

static void call_end(struct call *c, const struct error *error)
{
    struct local *l = c->l;
    if (error) c->fn(c->ctx, error, NULL, 0);
    free(c->name);
    free(c);
    local_leave(l);
}

/* ---- arguments ------------------------------------------------------------------------------- */

/* "5m", "forever", or a number of seconds as Ollama's; negative = for ever, 0 = none. */
static enum err read_keep_alive(const json_t *args, int64_t *out, struct error *error)
{
    const json_t *v = json_object_get(args, "keep_alive");
    int64_t ms = 0;
    bool ok = true;
    *out = KEEP_ALIVE_DEFAULT;
    if (!v || json_is_null(v)) return OK;
    if (json_is_string(v))
        ok = str_to_keep_alive(json_string_value(v), &ms);
    else if (json_is_number(v) && json_number_value(v) < 1e12)
        ms = json_number_value(v) < 0 ? -1 : (int64_t)(json_number_value(v) * 1000);
    else
        ok = false;
    if (!ok)
        return err_set_param(error, ERR_INVALID, "/keep_alive",
                             "keep_alive is a time like \"5m\", a number of seconds, 0 or "
                             "\"forever\"");
    *out = ms < 0 ? KEEP_ALIVE_FOREVER : ms == 0 ? KEEP_ALIVE_NONE : ms;
    return OK;
}

static enum err new_call(struct local *l, const json_t *args, control_fn fn, void *ctx,
                         struct call **out, struct error *error)
{
    const char *name = "";
    int64_t n_ctx = 0;
    enum err e = json_get_string(args, "model", "", &name, error);
    if (!e) e = json_get_int(args, "context", "", 0, INT32_MAX, &n_ctx, error);
    if (e) return e;
    if (!local_enter(l)) return err_set(error, ERR_STOPPING, "the hub is shutting down");
    struct call *c = xcalloc(1, sizeof *c);
    *c =
        (struct call){.l = l, .name = xstrdup(name), .n_ctx = (int32_t)n_ctx, .fn = fn, .ctx = ctx};
    *out = c;
    return OK;
}

static enum err on_pool(struct call *c, pool_fn fn, struct error *error)
{
    enum err e = pool_submit(c->l->pool, fn, c);
    if (!e) return OK;
    free(c->name);
    local_leave(c->l);
    free(c);
    return err_set(error, e, "too many requests are being prepared; try again later");
}

/* ---- what there is --------------------------------------------------------------------------- */

static const char *state_name(enum model_state state)
{
    return state == MODEL_READY     ? "loaded"
           : state == MODEL_ON_DISK ? "unloaded"
                                    : model_state_name(state);
}

/* bound: it takes no more than that. */
static void write_use(struct jw *w, const struct engine_memory *m, bool bound)
{
    uint64_t weights = m->host.weights, kv = m->host.kv, compute = m->host.compute;
    for (int i = 0; i < ENGINE_DEVICES_MAX; i++) {
        weights += m->devices[i].weights;
        kv += m->devices[i].kv;
        compute += m->devices[i].compute;
    }
    jw_obj(w);
    jw_kint(w, "weights", (int64_t)weights);
    jw_kint(w, "kv", (int64_t)kv);
    jw_kint(w, "compute", (int64_t)compute);
    jw_kint(w, "total", (int64_t)(weights + kv + compute));
    if (bound) jw_kbool(w, "bound", true);
    jw_obj_end(w);
}

static void optional_int(struct jw *w, const char *name, int64_t v)
{
    if (v < 0)
        jw_knull(w, name);
    else
        jw_kint(w, name, v);
}

/* Why it can't be had, or its embeddings can't. */
static void write_error(struct local *l, struct jw *w, const struct sched_model_status *st)
{
    char beside[MODEL_ID_MAX], words[ERROR_MSG_MAX];
    local_embeddings_id(beside, sizeof beside, st->id);
    if (st->state == MODEL_FAILED && st->error.code)
        jw_kstr(w, "error", st->error.msg);
    else if (quarantine_has(l, beside))
        jw_kstr(w, "error", quarantine_words(words, sizeof words, st->id, true));
    else
        jw_knull(w, "error");
}

static void write_model(struct local *l, struct jw *w, const struct sched_model_status *st)
{
    jw_obj(w);
    jw_kstr(w, "id", st->id);
    jw_kstr(w, "kind", model_kind_name(st->kind));
    jw_kstr(w, "state", state_name(st->state));
    jw_kdouble(w, "progress", st->state == MODEL_READY ? 1 : (double)st->progress);
    jw_kbool(w, "leaving", st->leaving);
    jw_kstr(w, "waits_for", *st->waits_for ? st->waits_for : NULL);
    jw_kint(w, "context", st->n_ctx);
    jw_kint(w, "slots", st->n_slots);
    jw_kint(w, "running", st->running);
    jw_kint(w, "waiting", st->waiting);
    jw_kint(w, "keep_alive_ms", st->keep_alive_ms == KEEP_ALIVE_NONE ? 0 : st->keep_alive_ms);
    optional_int(w, "expires_in_ms", st->expires_ms);
    jw_key(w, "memory");
    write_use(w, &st->memory, st->memory_is_bound);
    jw_kint(w, "loads", st->loads);
    jw_kint(w, "load_ms", st->load_ns / 1000000);
    optional_int(w, "last_used_ms_ago", st->idle_ms);
    write_error(l, w, st);
    jw_obj_end(w);
}

/* Not in memory and in quarantine with its embeddings: write_quarantined tells of it. */
static bool is_away(struct local *l, const struct sched_model_status *st)
{
    char beside[MODEL_ID_MAX];
    local_embeddings_id(beside, sizeof beside, st->id);
    return st->state == MODEL_ON_DISK && quarantine_has(l, beside);
}

static bool is_in_memory(const struct sched_model_status *st, size_t n, const char *id)
{
    for (size_t i = 0; i < n && i < MODELS_MAX; i++)
        if (str_eq(st[i].id, id)) return st[i].state != MODEL_ON_DISK;
    return false;
}

/* Under the names that people know. Those that are in memory for something else are listed already,
 * and say it there. */
static void write_quarantined(struct local *l, struct jw *w, const struct sched_model_status *st,
                              size_t n_st)
{
    char ids[QUARANTINED_MAX][MODEL_ID_MAX];
    size_t n = quarantine_list(l, ids, QUARANTINED_MAX);
    for (size_t i = 0; i < n; i++) {
        char id[MODEL_ID_MAX], words[ERROR_MSG_MAX];
        bool beside = local_embeddings_of(ids[i], id, sizeof id);
        if (beside && (quarantine_has(l, id) || is_in_memory(st, n_st, id))) continue;
        jw_obj(w);
        jw_kstr(w, "id", id);
        if (beside) jw_kstr(w, "kind", model_kind_name(MODEL_EMBEDDING));
        jw_kstr(w, "state", "quarantined");
        jw_kdouble(w, "progress", 0);
        jw_kint(w, "running", 0);
        jw_kint(w, "waiting", 0);
        jw_kstr(w, "error", quarantine_words(words, sizeof words, id, beside));
        jw_obj_end(w);
    }
}

static void write_memory(struct jw *w, const struct sched_memory *m)
{
    jw_kint(w, "budget", (int64_t)m->budget);
    jw_kint(w, "used", (int64_t)m->used);
    jw_key(w, "devices");
    jw_arr(w);
    for (size_t i = 0; i < m->n_devices; i++) {
        jw_obj(w);
        jw_kstr(w, "name", m->devices[i].name);
        jw_kint(w, "total", (int64_t)m->devices[i].total);
        jw_kint(w, "used", (int64_t)m->devices[i].used);
        jw_obj_end(w);
    }
    jw_arr_end(w);
}

enum err control_models(struct local *l, const json_t *args, control_fn fn, void *ctx,
                        struct error *error)
{
    (void)args;
    struct sched_model_status *st = try_calloc(MODELS_MAX, sizeof *st);
    if (!st) return err_set(error, ERR_NOMEM, "no memory for the list of models");
    size_t n = sched_models(l->sched, st, MODELS_MAX);
    struct sched_memory memory;
    struct buf b;
    struct jw w;
    sched_memory(l->sched, &memory);
    control_answer_init(&b, &w);
    jw_obj(&w);
    jw_key(&w, "models");
    jw_arr(&w);
    for (size_t i = 0; i < n && i < MODELS_MAX; i++)
        if (!is_away(l, &st[i])) write_model(l, &w, &st[i]);
    write_quarantined(l, &w, st, n);
    jw_arr_end(&w);
    jw_key(&w, "memory");
    jw_obj(&w);
    write_memory(&w, &memory);
    jw_obj_end(&w);
    jw_obj_end(&w);
    free(st);
    return control_answer(&b, fn, ctx, error);
}

/* The model's state as it is now, and who left for it. */
static void answer_state(struct call *c, const char *id, char (*evicted)[MODEL_ID_MAX], size_t n)
{
    struct sched_model_status *st = xcalloc(MODELS_MAX, sizeof *st), one = {0};
    size_t known = sched_models(c->l->sched, st, MODELS_MAX);
    for (size_t i = 0; i < known && i < MODELS_MAX; i++)
        if (str_eq(st[i].id, id)) one = st[i];
    free(st);
    struct buf b;
    struct jw w;
    struct error error;
    control_answer_init(&b, &w);
    jw_obj(&w);
    jw_kstr(&w, "model", id);
    jw_kstr(&w, "state", state_name(one.state));
    jw_key(&w, "memory");
    write_use(&w, &one.memory, one.memory_is_bound);
    jw_key(&w, "evicted");
    jw_arr(&w);
    for (size_t i = 0; i < n; i++) jw_str(&w, evicted[i]);
    jw_arr_end(&w);
    jw_obj_end(&w);
    call_end(c, control_answer(&b, c->fn, c->ctx, &error) ? &error : NULL);
}

/* ---- load, unload ---------------------------------------------------------------------------- */

/* The end of a load: on the delivery thread. */
static void load_ended(void *ctx, const struct error *error)
{
    struct call *c = ctx;
    struct model_info info;
    struct error own;
    char evicted[SCHED_EVICT_MAX][MODEL_ID_MAX];
    size_t n = 0;
    if (!error && names_resolve(c->l, c->name, USE_ANY, &info, &own)) error = &own;
    if (error) {
        call_end(c, error);
        return;
    }
    struct sched_model *m = sched_find(c->l->sched, info.id);
    if (m) {
        n = sched_model_evicted(m, evicted, SCHED_EVICT_MAX);
        sched_model_unref(m);
    }
    answer_state(c, info.id, evicted, n);
}

/* Nobody waits for it any more. */
static void load_goes_on(void *ctx, const struct error *error)
{
    (void)ctx;
    (void)error; /* it is in the model's state */
}

static void answer_begun(void *arg)
{
    struct call *c = arg;
    struct error error;
    if (names_resolve(c->l, c->name, USE_ANY, &c->info, &error))
        call_end(c, &error);
    else
        answer_state(c, c->info.id, NULL, 0);
}

enum err control_load(struct local *l, const json_t *args, control_fn fn, void *ctx,
                      struct error *error)
{
    struct call *c;
    int64_t keep_alive_ms;
    bool wait = true, force = false;
    enum err e = read_keep_alive(args, &keep_alive_ms, error);
    if (!e) e = json_get_bool(args, "wait", "", &wait, error);
    if (!e) e = json_get_bool(args, "force", "", &force, error);
    if (!e) e = new_call(l, args, fn, ctx, &c, error);
    if (e) return e;
    if (wait) {
        e = local_load_job(l, c->name, keep_alive_ms, force, load_ended, c, error);
        if (!e) return OK;
    } else {
        e = local_load_job(l, c->name, keep_alive_ms, force, load_goes_on, NULL, error);
        if (!e) return on_pool(c, answer_begun, error);
    }
    free(c->name);
    free(c);
    local_leave(l);
    return e;
}

/* On the engine thread. */
static void unload_ended(void *ctx)
{
    struct call *c = ctx;
    answer_state(c, c->info.id, NULL, 0);
}

static void unload(void *arg)
{
    struct call *c = arg;
    struct local *l = c->l;
    struct error error;
    char id[MODEL_ID_MAX];
    enum err e = names_resolve(l, c->name, USE_ANY, &c->info, &error);
    if (!e) {
        names_load_id(id, sizeof id, c->info.id, USE_EMBED, true);
        e = sched_unload(l->sched, id, NULL, NULL, &error); /* its embeddings, if there are any */
        ht_assert(!e || e == ERR_NOT_FOUND);
        e = sched_unload(l->sched, c->info.id, unload_ended, c, &error);
        if (e == ERR_NOT_FOUND) {
            answer_state(c, c->info.id, NULL, 0);
            return;
        }
    }
    if (e) call_end(c, &error);
}

enum err control_unload(struct local *l, const json_t *args, control_fn fn, void *ctx,
                        struct error *error)
{
    struct call *c;
    enum err e = new_call(l, args, fn, ctx, &c, error);
    return e ? e : on_pool(c, unload, error);
}

/* ---- plan ------------------------------------------------------------------------------------ */

static void write_plan(struct jw *w, const char *id, const struct sched_plan *p)
{
    jw_obj(w);
    jw_kstr(w, "model", id);
    jw_kbool(w, "fits", p->fits);
    jw_kbool(w, "waits", p->waits);
    jw_kint(w, "context", p->n_ctx);
    jw_key(w, "needs");
    write_use(w, &p->needs, false);
    write_memory(w, &p->memory);
    jw_kint(w, "free",
            p->memory.budget > p->memory.used ? (int64_t)(p->memory.budget - p->memory.used) : 0);
    jw_key(w, "evict");
    jw_arr(w);
    for (size_t i = 0; i < p->n_evict; i++) jw_str(w, p->evict[i]);
    jw_arr_end(w);
    jw_kstr(w, "reason", *p->reason ? p->reason : NULL);
    jw_obj_end(w);
}

static void plan(void *arg)
{
    struct call *c = arg;
    struct sched_plan *p = xcalloc(1, sizeof *p);
    struct error error = {0};
    struct buf b;
    struct jw w;
    enum err e = names_resolve_front(c->l, c->name, &c->info, &error);
    struct sched_load load = {.id = c->info.id, .path = c->info.path};
    if (!e) e = sched_plan(c->l->sched, &load, c->n_ctx, p, &error);
    if (e) err_hide_folder(&error, c->info.path);
    struct error why;
    if (!e && quarantine_check(c->l, c->info.id, c->info.id, &why)) {
        p->fits = p->waits = false;
        str_copy(p->reason, sizeof p->reason, why.msg);
    }
    if (!e) {
        control_answer_init(&b, &w);
        write_plan(&w, c->info.id, p);
        e = control_answer(&b, c->fn, c->ctx, &error);
    }
    free(p);
    call_end(c, e ? &error : NULL);
}

enum err control_plan(struct local *l, const json_t *args, control_fn fn, void *ctx,
                      struct error *error)
{
    struct call *c;
    enum err e = new_call(l, args, fn, ctx, &c, error);
    return e ? e : on_pool(c, plan, error);
}
