/* What can be asked of the local provider beside generating: a table of verbs, JSON in and JSON out
 * (provider.h names them and docs/api.md their fields).
 *
 * A verb that knows its answer at once writes it and calls control_answer. One that has to wait (a
 * load) keeps fn and ctx, returns OK, and calls fn from whichever thread learns the end. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "provider/local_int.h"

enum { ANSWER_MAX = 4 << 20 };

void control_answer_init(struct buf *b, struct jw *w)
{
    buf_init(b, ANSWER_MAX);
    jw_init(w, b);
}

enum err control_answer(struct buf *b, control_fn fn, void *ctx, struct error *error)
{
    enum err e = b->err;
    if (e)
        err_set(error, e, "the answer is too long");
    else
        fn(ctx, NULL, buf_str(b), b->len);
    buf_free(b);
    return e;
}

/* ---- the verbs ----------------------------------------------------------------------------- */

static void write_priorities(struct jw *w, const struct sched_queue *q)
{
    jw_key(w, "by_priority");
    jw_arr(w);
    for (int32_t p = 0; p < (int32_t)(sizeof q->by_priority / sizeof *q->by_priority); p++) {
        if (!q->by_priority[p]) continue;
        jw_obj(w);
        jw_kint(w, "priority", p);
        jw_kint(w, "waiting", q->by_priority[p]);
        jw_obj_end(w);
    }
    jw_arr_end(w);
}

static void write_queue_models(struct jw *w, const struct sched_queue *q)
{
    jw_key(w, "models");
    jw_arr(w);
    for (size_t i = 0; i < q->n_models; i++) {
        const struct sched_queue_model *m = &q->models[i];
        jw_obj(w);
        jw_kstr(w, "id", m->id);
        jw_kint(w, "running", m->running);
        jw_kint(w, "waiting", m->waiting);
        jw_kdouble(w, "tokens_per_second", round(m->tokens_per_second * 10) / 10);
        if (m->wait_ms < 0)
            jw_knull(w, "wait_estimate_ms");
        else
            jw_kint(w, "wait_estimate_ms", m->wait_ms);
        jw_obj_end(w);
    }
    jw_arr_end(w);
}

static enum err control_queue(struct local *l, const json_t *args, control_fn fn, void *ctx,
                              struct error *error)
{
    (void)args;
    struct sched_stats st;
    struct sched_queue *q = xcalloc(1, sizeof *q);
    struct buf b;
    struct jw w;
    sched_stats(l->sched, &st);
    sched_queue(l->sched, q);
    control_answer_init(&b, &w);
    jw_obj(&w);
    jw_kint(&w, "depth", st.waiting);
    jw_kint(&w, "capacity", st.capacity);
    jw_kint(&w, "running", st.running);
    jw_kint(&w, "waiting", st.waiting);
    jw_kint(&w, "oldest_wait_ms", st.oldest_wait_ms);
    jw_kint(&w, "promotions", q->promotions);
    jw_kint(&w, "pauses", q->pauses);
    jw_kint(&w, "rejected", st.rejected);
    write_priorities(&w, q);
    jw_kint(&w, "tenants", q->tenants);
    write_queue_models(&w, q);
    jw_obj_end(&w);
    free(q);
    return control_answer(&b, fn, ctx, error);
}

static void write_tier(struct jw *w, const char *name, const int64_t *tier)
{
    static const char *const keys[] = {"entries", "bytes", "limit", "hits"};
    jw_key(w, name);
    jw_obj(w);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) jw_kint(w, keys[i], tier[i]);
    jw_obj_end(w);
}

static enum err control_cache(struct local *l, const json_t *args, control_fn fn, void *ctx,
                              struct error *error)
{
    (void)args;
    struct sched_cache_stats st;
    struct buf b;
    struct jw w;
    sched_cache_stats(l->sched, &st);
    control_answer_init(&b, &w);
    jw_obj(&w);
    write_tier(&w, "memory",
               (int64_t[]){st.memory.entries, st.memory.bytes, st.memory.limit, st.memory.hits});
    write_tier(&w, "disk",
               (int64_t[]){st.disk.entries, st.disk.bytes, st.disk.limit, st.disk.hits});
    jw_kint(&w, "sequence_hits", st.sequence_hits);
    jw_kint(&w, "misses", st.misses);
    jw_kint(&w, "evictions", st.evictions);
    jw_kint(&w, "corrupt", st.corrupt);
    jw_obj_end(&w);
    return control_answer(&b, fn, ctx, error);
}

static const control_verb_fn verbs[CONTROL_COUNT] = {
    [CONTROL_MODELS] = control_models,
    [CONTROL_LOAD] = control_load,
    [CONTROL_UNLOAD] = control_unload,
    [CONTROL_PLAN] = control_plan,
    [CONTROL_QUEUE] = control_queue,
    [CONTROL_ADAPTERS] = control_adapters,
    [CONTROL_ADAPTER_LOAD] = control_adapter_load,
    [CONTROL_CACHE] = control_cache,
    [CONTROL_TOKENIZE] = control_tokenize,
    [CONTROL_DETOKENIZE] = control_detokenize,
    [CONTROL_TEMPLATE] = control_template,
    [CONTROL_INFILL] = control_infill,
    [CONTROL_PROPS] = control_props,
};

enum err local_control(struct provider *p, enum control what, const char *args, control_fn fn,
                       void *ctx, struct error *error)
{
    struct local *l = container_of(p, struct local, base);
    if (!verbs[what])
        return err_set(error, ERR_UNSUPPORTED, "%s knows no \"%s\"", p->ops->name,
                       control_name(what));
    json_t *parsed;
    enum err e = json_parse(args, strlen(args), &parsed, error);
    if (e) return e;
    if (json_is_object(parsed))
        e = verbs[what](l, parsed, fn, ctx, error);
    else
        e = err_set(error, ERR_INVALID, "the arguments of \"%s\" are no object",
                    control_name(what));
    json_decref(parsed);
    return e;
}
