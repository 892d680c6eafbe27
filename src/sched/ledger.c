/* What a model takes and whether there is room for it: see ledger.h. */
#include "sched/ledger.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "sched/sched_int.h"

enum {
    SAFE_SHARE_PERCENT = 75, /* of the machine's memory, for models */
    CACHE_SHARE = 4,         /* at most one of so many parts of that is the prefix cache's */
    DEVICE_SHARE_PERCENT = 95,
    MACHINE_RESERVE = 128 << 20, /* of what is free now, for everybody else */
    BOUND_BUFFERS = 1 << 30,     /* compute buffers of any usual model */
};

static const int64_t PLENTY = INT64_MAX / 4;

/* ---- the budgets ---------------------------------------------------------------------------- */

void ledger_open(struct ledger *l, int64_t budget, uint64_t cache)
{
    meminfo_open(&l->machine, "");
    l->automatic = budget <= 0;
    l->budget = (uint64_t)budget;
    if (!l->automatic) return;
    l->budget = l->machine.total / 100 * SAFE_SHARE_PERCENT;
    l->budget -= cache < l->budget / CACHE_SHARE ? cache : l->budget / CACHE_SHARE;
    if (!l->budget) l->budget = (uint64_t)PLENTY;
}

void ledger_close(struct ledger *l)
{
    meminfo_close(&l->machine);
}

enum err ledger_describe(struct sched *s, struct error *error)
{
    struct ledger *l = &s->ledger;
    pthread_mutex_lock(&s->models_lock);
    bool described = l->described;
    pthread_mutex_unlock(&s->models_lock);
    if (described) return OK;
    struct engine_description description;
    enum err e = engine_describe(s->params.engine, &description, error);
    if (e) return e;
    pthread_mutex_lock(&s->models_lock);
    l->description = description;
    l->described = true;
    pthread_mutex_unlock(&s->models_lock);
    return OK;
}

bool ledger_has_devices(const struct ledger *l)
{
    for (size_t i = 0; i < l->description.n_devices; i++)
        if (l->description.devices[i].gpu) return true;
    return false;
}

/* ---- ways to make a context ------------------------------------------------------------------ */

static int32_t min32(int64_t a, int64_t b)
{
    return (int32_t)(a < b ? a : b);
}

struct sched_params ledger_params(const struct sched *s, const char *id)
{
    struct sched_params p = s->params;
    const struct shape_profile *measured = measured_profile(&s->params, id);
    if (!measured) return p;
    if (measured->n_threads) p.n_threads = measured->n_threads;
    if (measured->n_ubatch) p.n_ubatch = measured->n_ubatch;
    if (measured->n_parallel) p.n_parallel = measured->n_parallel;
    if (measured->kv_type) p.kv_type = measured->kv_type;
    return p;
}

static struct engine_ctx_params chat_params(const struct sched_params *p, int32_t n_ctx)
{
    return (struct engine_ctx_params){.n_ctx = n_ctx,
                                      .n_batch = p->n_batch,
                                      .n_ubatch = p->n_ubatch,
                                      .n_seq_max = p->n_parallel,
                                      .n_threads = p->n_threads,
                                      .n_threads_batch = p->n_threads,
                                      .kv_type = p->kv_type};
}

static void chat_forms(const struct sched_params *p, int32_t n_train, int32_t n_ctx,
                       struct ledger_forms *out)
{
    out->longest = min32(n_train, n_ctx > 0 ? n_ctx : CHAT_CTX_MAX);
    out->least = n_ctx > 0 ? out->longest : min32(out->longest, CHAT_CTX_LEAST);
    if (p->shared_kv && n_ctx > 0) { /* the pool's size is what was asked for */
        out->full.ctx = chat_params(p, n_ctx);
        out->full.ctx.shared_kv = true;
        return;
    }
    int64_t all = (int64_t)out->longest * p->n_parallel;
    out->full.ctx = chat_params(p, min32(all, INT32_MAX));
    out->full.ctx.shared_kv = p->shared_kv;
    out->pool.ctx = chat_params(p, out->longest);
    out->pool.ctx.shared_kv = true;
}

/* A model that looks both ways needs an input at once; one that generates takes it in pieces. */
static void embed_forms(const struct sched_params *p, int32_t n_train, int32_t n_ctx, bool pieces,
                        struct ledger_forms *out)
{
    out->longest = min32(n_train, n_ctx > 0 ? n_ctx : EMBED_CTX_MAX);
    int32_t n_batch = pieces ? EMBED_PIECES : out->longest;
    if (!pieces && n_batch < EMBED_BATCH) n_batch = EMBED_BATCH;
    out->full.ctx =
        (struct engine_ctx_params){.n_ctx = pieces ? out->longest + EMBED_PIECES : n_batch,
                                   .n_batch = n_batch,
                                   .n_ubatch = n_batch,
                                   .n_seq_max = EMBED_SEQ_MAX,
                                   .n_threads = p->n_threads,
                                   .n_threads_batch = p->n_threads,
                                   .embeddings = true};
}

void ledger_forms_for(const struct sched_params *p, const struct engine_model_facts *f,
                      int32_t n_ctx, bool embedding, struct ledger_forms *out)
{
    int32_t n_train = f->n_ctx_train > 0 ? f->n_ctx_train : INT32_MAX;
    if (n_ctx < 0) n_ctx = p->n_ctx;
    *out = (struct ledger_forms){.embedding = embedding || f->is_embedding || f->is_rerank};
    if (out->embedding)
        embed_forms(p, n_train, n_ctx, !f->is_embedding && !f->is_rerank, out);
    else
        chat_forms(p, n_train, n_ctx, out);
}

/* ---- measuring ------------------------------------------------------------------------------- */

static enum err measure_form(struct engine_model *m, struct ledger_form *form, struct error *error)
{
    struct engine_ctx *c;
    if (!form->ctx.n_ctx) return OK;
    enum err e = engine_ctx_new(m, &form->ctx, &c, error);
    if (e) return e;
    engine_ctx_memory(c, &form->memory);
    engine_ctx_free(c);
    return OK;
}

enum err ledger_measure(const struct sched_params *p, const char *path, int32_t n_ctx,
                        bool embedding, struct ledger_forms *out, struct error *error)
{
    struct engine_model_params params = {
        .path = path, .n_gpu_layers = p->n_gpu_layers, .measure_only = true};
    struct engine_model *m;
    struct engine_model_facts facts;
    enum err e = engine_model_load(p->engine, &params, &m, error);
    if (e) return e;
    engine_model_facts(m, &facts);
    ledger_forms_for(p, &facts, n_ctx, embedding, out);
    e = measure_form(m, &out->full, error);
    if (!e) e = measure_form(m, &out->pool, error);
    engine_model_free(m);
    return e;
}

void ledger_bound(const struct sched_params *p, const struct model_size *size, bool embedding,
                  struct engine_memory *out)
{
    int64_t longest = p->n_ctx > 0 ? p->n_ctx : CHAT_CTX_MAX;
    uint64_t cells =
        (uint64_t)(embedding || (p->shared_kv && p->n_ctx > 0) ? longest : longest * p->n_parallel);
    /* Keys and values of all heads in 16 bits: most models share heads and need less. Also where
     * kv_type takes less: the header does not say whether the model can have it. */
    uint64_t cell = (uint64_t)size->n_layer * (uint64_t)size->n_embd * 2 * 2;
    *out = (struct engine_memory){
        .host = {.weights = size->file_bytes, .kv = cells * cell, .compute = BOUND_BUFFERS}};
}

/* ---- sums ------------------------------------------------------------------------------------ */

static uint64_t total(const struct engine_memory_use *u, bool weights)
{
    return (weights ? u->weights : 0) + u->kv + u->compute;
}

/* What a model in memory takes, with its adapters: they are where its weights are. */
static struct engine_memory memory_of(const struct sched_model *m)
{
    struct engine_memory sum = m->memory;
    uint64_t adapters = 0, weights = sum.host.weights, rest;
    list_each (n, &m->adapters) {
        const struct sched_adapter *a = container_of(n, struct sched_adapter, node);
        if (a->state == ADAPTER_READY) adapters += a->bytes;
    }
    for (int i = 0; i < ENGINE_DEVICES_MAX; i++) weights += sum.devices[i].weights;
    rest = adapters;
    for (int i = 0; i < ENGINE_DEVICES_MAX && weights; i++) {
        double part = (double)sum.devices[i].weights / (double)weights;
        uint64_t bytes = (uint64_t)((double)adapters * part);
        sum.devices[i].compute += bytes;
        rest -= bytes < rest ? bytes : rest;
    }
    sum.host.compute += rest; /* not the weights, which two models may share */
    return sum;
}

static void room_of(const struct engine_memory *m, bool weights, struct room *out)
{
    out->bytes[ROOM_BUDGET] = out->bytes[ROOM_MACHINE] = (int64_t)total(&m->host, weights);
    for (int i = 0; i < ENGINE_DEVICES_MAX; i++)
        out->bytes[ROOM_DEVICES + i] = (int64_t)total(&m->devices[i], weights);
}

static void add_room(struct room *to, const struct room *r, int sign)
{
    for (int i = 0; i < ROOM_COUNT; i++) to->bytes[i] += sign * r->bytes[i];
}

static bool is_resident(const struct sched_model *m)
{
    return m->state == MODEL_READY || (m->state == MODEL_LOADING && m->stage == STAGE_LOAD);
}

/* Another one in memory has the same weights. before: only those in front of m in the list. */
static bool shares_weights(struct sched *s, const struct sched_model *m, bool before)
{
    list_each (n, &s->models) {
        const struct sched_model *other = container_of(n, struct sched_model, node);
        if (other == m) {
            if (before) return false;
            continue;
        }
        if (is_resident(other) && str_eq(other->path, m->path)) return true;
    }
    return false;
}

uint64_t ledger_used(struct sched *s, int device)
{
    uint64_t sum = 0;
    list_each (n, &s->models) {
        const struct sched_model *m = container_of(n, struct sched_model, node);
        if (!is_resident(m)) continue;
        struct engine_memory memory = memory_of(m);
        sum +=
            total(device < 0 ? &memory.host : &memory.devices[device], !shares_weights(s, m, true));
    }
    return sum;
}

/* What is free now. A model whose load has begun has not taken all of its memory yet. */
static void room_free(struct sched *s, struct room *out)
{
    struct ledger *l = &s->ledger;
    uint64_t available;
    out->bytes[ROOM_BUDGET] = (int64_t)l->budget - (int64_t)ledger_used(s, -1);
    out->bytes[ROOM_MACHINE] = PLENTY;
    if (l->automatic && meminfo_available(&l->machine, &available)) {
        out->bytes[ROOM_MACHINE] = (int64_t)available - MACHINE_RESERVE;
        list_each (n, &s->models) {
            const struct sched_model *m = container_of(n, struct sched_model, node);
            if (m->state == MODEL_LOADING && m->stage == STAGE_LOAD)
                out->bytes[ROOM_MACHINE] -= (int64_t)total(&m->memory.host, true);
        }
    }
    for (int i = 0; i < ENGINE_DEVICES_MAX; i++) {
        int64_t *bytes = &out->bytes[ROOM_DEVICES + i];
        *bytes = PLENTY;
        if (!l->described || (size_t)i >= l->description.n_devices ||
            !l->description.devices[i].gpu || !l->description.devices[i].memory_total)
            continue;
        *bytes = (int64_t)(l->description.devices[i].memory_total / 100 * DEVICE_SHARE_PERCENT) -
                 (int64_t)ledger_used(s, i);
    }
}

static bool fits(const struct room *free_room, const struct room *need)
{
    for (int i = 0; i < ROOM_COUNT; i++)
        if (need->bytes[i] > free_room->bytes[i]) return false;
    return true;
}

bool ledger_fits_now(struct sched *s, const struct engine_memory *need)
{
    struct room have, want;
    room_free(s, &have);
    room_of(need, true, &want);
    return fits(&have, &want);
}

/* ---- deciding -------------------------------------------------------------------------------- */

/* The question and the state it is asked in. */
struct question {
    struct sched *s;
    const struct sched_model *m; /* NULL: not in the list */
    const struct ledger_forms *forms;
    bool shares;                 /* the weights are there already */
    struct room free, idle, all; /* now; without the idle models; without any */
    bool wants_idle;             /* which models are listed: the idle ones, or those at work */
    struct sched_model **models;
    struct evict_candidate *candidates;
    size_t n;
    bool busy; /* there are others at work */
};

static double cost_of(const struct sched_model *m, int64_t now_ms)
{
    double heat = evict_heat(m->heat, now_ms - m->heat_ms) + 0.01; /* nobody is for nothing */
    return heat * ((double)m->load_ns / 1e9 + 0.01);
}

static void look_around(struct question *q)
{
    struct sched *s = q->s;
    int64_t now = clock_mono_ms();
    size_t n = 0;
    list_each (node, &s->models) n++;
    q->models = xcalloc(n + 1, sizeof *q->models);
    q->candidates = xcalloc(n + 1, sizeof *q->candidates);
    room_free(s, &q->free);
    q->idle = q->all = q->free;
    list_each (node, &s->models) {
        struct sched_model *m = container_of(node, struct sched_model, node);
        struct room frees;
        if (!is_resident(m)) continue;
        struct engine_memory memory = memory_of(m);
        room_of(&memory, !shares_weights(s, m, false), &frees);
        add_room(&q->all, &frees, 1);
        if (m == q->m) { /* planned with another context: it would leave first */
            add_room(&q->idle, &frees, 1);
            add_room(&q->free, &frees, 1);
            continue;
        }
        bool idle = model_is_idle(m);
        q->busy |= !idle;
        if (idle) add_room(&q->idle, &frees, 1);
        if (idle != q->wants_idle) continue;
        q->models[q->n] = m;
        q->candidates[q->n++] = (struct evict_candidate){
            .frees = frees,
            .cost = cost_of(m, now),
            .pinned = m->keep_alive_ms == KEEP_ALIVE_FOREVER && m->keep_asked};
    }
}

static void need_of(const struct question *q, const struct engine_memory *memory, struct room *out)
{
    room_of(memory, !q->shares, out);
}

/* The pool with n cells: everything but the cells costs about the same. */
static struct ledger_form pool_of(const struct ledger_forms *f, int32_t n)
{
    struct ledger_form pool = f->pool;
    double factor = (double)n / f->pool.ctx.n_ctx;
    pool.ctx.n_ctx = n;
    pool.memory.host.kv = (uint64_t)((double)f->pool.memory.host.kv * factor);
    for (int i = 0; i < ENGINE_DEVICES_MAX; i++)
        pool.memory.devices[i].kv = (uint64_t)((double)f->pool.memory.devices[i].kv * factor);
    return pool;
}

/* Most cells of a pool for which there is room; 0 = not even the least. In steps of 256, which is
 * what the library rounds to. */
static int32_t pool_cells(const struct question *q, const struct room *have)
{
    const struct ledger_forms *f = q->forms;
    if (!f->pool.ctx.n_ctx) return 0;
    int32_t low = 0, high = f->full.ctx.n_ctx / 256 + 1;
    while (high - low > 1) {
        int32_t mid = low + (high - low) / 2;
        struct ledger_form form = pool_of(f, mid * 256);
        struct room need;
        need_of(q, &form.memory, &need);
        if (fits(have, &need))
            low = mid;
        else
            high = mid;
    }
    int32_t n = low * 256;
    if (n < f->longest) { /* it may be no multiple of 256 */
        struct ledger_form form = pool_of(f, f->longest);
        struct room need;
        need_of(q, &form.memory, &need);
        if (fits(have, &need)) n = f->longest;
    }
    return n < f->least ? 0 : n;
}

/* GO with this form; idle models leave if that makes room. False: they don't make enough. */
static bool go(const struct question *q, const struct ledger_form *form, bool everybody,
               struct ledger_decision *d)
{
    struct room missing;
    need_of(q, &form->memory, &missing);
    add_room(&missing, &q->free, -1);
    if (!evict_choose(q->candidates, q->n, &missing)) return false;
    d->evict = xcalloc(q->n + 1, sizeof(struct sched_model *));
    for (size_t i = 0; i < q->n; i++)
        if (everybody || q->candidates[i].chosen) d->evict[d->n_evict++] = q->models[i];
    d->answer = LEDGER_GO;
    d->form = *form;
    return true;
}

static void refuse(const struct question *q, const char *name, struct ledger_decision *d)
{
    const struct ledger_forms *f = q->forms;
    struct ledger_form least = f->pool.ctx.n_ctx ? pool_of(f, f->least) : f->full;
    struct room need;
    char w[32], k[32], c[32], sum[32], have[32];
    need_of(q, &least.memory, &need);
    const struct engine_memory_use *use = &least.memory.host;
    const char *where = "for models in main memory (HEARTH_MEMORY)";
    int64_t room = (int64_t)q->s->ledger.budget;
    if (need.bytes[ROOM_BUDGET] <= q->all.bytes[ROOM_BUDGET]) {
        where = "free on this machine";
        room = q->all.bytes[ROOM_MACHINE];
    }
    for (int i = 0; i < ENGINE_DEVICES_MAX; i++) {
        if (need.bytes[ROOM_DEVICES + i] <= q->all.bytes[ROOM_DEVICES + i]) continue;
        use = &least.memory.devices[i];
        where = q->s->ledger.description.devices[i].name;
        room = q->all.bytes[ROOM_DEVICES + i];
    }
    d->answer = LEDGER_REFUSE;
    err_set(&d->error, ERR_NOMEM,
            "%s does not fit: it needs %s (weights %s, context of %d tokens %s, buffers %s) and "
            "there are %s %s; take a smaller quantisation, set a shorter context "
            "(LLAMA_CPP_N_CTX) or give models more memory",
            name, str_from_bytes(sum, sizeof sum, total(use, true)),
            str_from_bytes(w, sizeof w, use->weights), f->pool.ctx.n_ctx ? f->least : f->longest,
            str_from_bytes(k, sizeof k, use->kv), str_from_bytes(c, sizeof c, use->compute),
            str_from_bytes(have, sizeof have, room > 0 ? (uint64_t)room : 0), where);
}

static void wait_for_room(const struct question *q, const char *name, struct ledger_decision *d)
{
    (void)q;
    d->answer = LEDGER_WAIT;
    err_set(&d->error, ERR_BUSY, "%s waits until other models have finished their work", name);
}

/* One model at a time: everybody else leaves. */
static void decide_alone(const struct question *q, const char *name, struct ledger_decision *d)
{
    const struct ledger_forms *f = q->forms;
    struct room need;
    need_of(q, &f->full.memory, &need);
    int32_t cells = pool_cells(q, &q->all);
    bool full = fits(&q->all, &need);
    if (!full && !cells) {
        refuse(q, name, d);
        return;
    }
    struct ledger_form pool = cells ? pool_of(f, cells) : f->full;
    if (q->busy || !go(q, full ? &f->full : &pool, true, d)) wait_for_room(q, name, d);
}

/* The full form, if need be at the cost of idle models; else a pool in which a request can be as
 * long as in the full form; else the same when others have finished; else what is left. */
static void decide_beside(const struct question *q, const char *name, struct ledger_decision *d)
{
    const struct ledger_forms *f = q->forms;
    struct room need;
    if (go(q, &f->full, false, d)) return;
    int32_t now = pool_cells(q, &q->idle), later = pool_cells(q, &q->all);
    need_of(q, &f->full.memory, &need);
    bool full_later = fits(&q->all, &need);
    if (now >= f->longest || (now && now == later && !full_later)) {
        struct ledger_form pool = pool_of(f, now);
        if (go(q, &pool, false, d)) return;
    }
    if (full_later || later)
        wait_for_room(q, name, d);
    else
        refuse(q, name, d);
}

void ledger_decide(struct sched *s, const struct sched_model *m, const char *name,
                   const struct ledger_forms *forms, struct ledger_decision *out)
{
    struct question q = {.s = s, .m = m, .forms = forms, .wants_idle = true};
    *out = (struct ledger_decision){0};
    q.shares = m && shares_weights(s, m, false);
    look_around(&q);
    if (s->params.exclusive && (q.n || q.busy))
        decide_alone(&q, name, out);
    else
        decide_beside(&q, name, out);
    free(q.models);
    free(q.candidates);
}

size_t ledger_in_the_way(struct sched *s, const struct sched_model *m,
                         const struct ledger_forms *forms, struct sched_model ***out)
{
    struct question q = {.s = s, .m = m, .forms = forms};
    size_t n = 0;
    q.shares = shares_weights(s, m, false);
    look_around(&q);
    struct room need, missing;
    need_of(&q, &forms->full.memory, &need);
    if (!fits(&q.all, &need)) {
        int32_t cells = pool_cells(&q, &q.all);
        struct ledger_form pool = pool_of(forms, cells > forms->longest ? forms->longest : cells);
        if (cells) need_of(&q, &pool.memory, &need);
    }
    missing = need;
    add_room(&missing, &q.idle, -1);
    bool all = s->params.exclusive || !evict_choose(q.candidates, q.n, &missing);
    for (size_t i = 0; i < q.n; i++)
        if (all || q.candidates[i].chosen) q.models[n++] = q.models[i];
    free(q.candidates);
    *out = q.models;
    return n;
}
