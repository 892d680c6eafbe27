/* Flight recorder: see recorder.h.
 *
 * An entry is one request: its record, and the caller's listener for which the recorder's own
 * stands in. Its references: the call that makes it, the listener until its last event, and the
 * recorder's list of finished ones. Ids given to callers are the recorder's own, so that an entry
 * has one before the inner provider was asked, whose events may come first. */
#include "provider/recorder.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/idmap.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"

struct entry {
    struct idnode by_id;
    struct list_node node; /* in recorder.live or .done, newest first */
    struct recorder *recorder;
    struct record rec;
    int refs;
    uint64_t inner_id; /* 0 until the inner provider gave it */
    bool cancel;       /* wanted before the inner id was there */
    bool metered;      /* the meter let it in and hears of its end */
    gen_listener_fn gen_fn;
    embed_listener_fn embed_fn;
    void *ctx;
};

struct recorder {
    struct provider base;
    struct provider_ops ops; /* with the abilities of the inner one */
    struct provider *inner;
    size_t keep;
    void (*on_change)(void *ctx);
    void *change_ctx;
    struct recorder_meter meter;
    bool pinned; /* constant, as the meter */
    atomic_int running, waiting;
    pthread_mutex_t lock; /* of all below, and of every entry */
    struct list_node live, done;
    size_t n_live, n_done;
    struct idmap ids;
    struct map *names; /* record id -> its newest entry */
    uint64_t next_id;
};

static const char *const state_names[] = {
#define X(id, word) word,
    RECORD_STATES(X)
#undef X
};
static const char *const kind_names[] = {
#define X(id, word) word,
    RECORD_KINDS(X)
#undef X
};
static const char *const canceller_names[] = {
#define X(id, word) word,
    CANCELLERS(X)
#undef X
};

const char *record_state_name(enum record_state state)
{
    ht_assert((size_t)state < sizeof state_names / sizeof *state_names);
    return state_names[state];
}

const char *record_kind_name(enum record_kind kind)
{
    ht_assert((size_t)kind < sizeof kind_names / sizeof *kind_names);
    return kind_names[kind];
}

const char *canceller_name(enum canceller by)
{
    ht_assert((size_t)by < sizeof canceller_names / sizeof *canceller_names);
    return canceller_names[by];
}

static struct recorder *recorder_of(struct provider *p)
{
    return container_of(p, struct recorder, base);
}

static bool is_end(enum record_state state)
{
    return state >= RECORD_DONE;
}

static bool is_running(enum record_state state)
{
    return state == RECORD_PREFILLING || state == RECORD_DECODING;
}

/* ---- entries; the lock is held ------------------------------------------------------------- */

static void count(struct recorder *r, enum record_state state, int by)
{
    if (is_running(state))
        atomic_fetch_add(&r->running, by);
    else if (!is_end(state))
        atomic_fetch_add(&r->waiting, by);
}

static void set_state(struct entry *e, enum record_state state)
{
    if (e->rec.state == state) return;
    count(e->recorder, e->rec.state, -1);
    count(e->recorder, state, 1);
    e->rec.state = state;
}

static void unref(struct entry *e)
{
    if (--e->refs == 0) free(e);
}

static void forget_oldest(struct recorder *r)
{
    struct entry *e = container_of(r->done.prev, struct entry, node);
    list_remove(&e->node);
    r->n_done--;
    idmap_del(&r->ids, e->by_id.id);
    if (map_get(r->names, e->rec.id) == e) map_del(r->names, e->rec.id);
    unref(e);
}

/* Gives the record an id that no live one has. */
static void name_entry(struct recorder *r, struct entry *e, const char *request_id)
{
    str_copy(e->rec.id, sizeof e->rec.id, request_id);
    for (int i = 2;; i++) {
        const struct entry *other = map_get(r->names, e->rec.id);
        if (!other || is_end(other->rec.state)) break;
        str_printf(e->rec.id, sizeof e->rec.id, "%.128s.%d", request_id, i);
    }
    map_put(r->names, e->rec.id, e);
}

/* What was generated before a request failed or was cancelled counts, too. */
static void meter_end(struct entry *e, enum record_state state)
{
    const struct recorder_meter *m = &e->recorder->meter;
    struct usage usage = e->rec.usage;
    if (!e->metered) return;
    e->metered = false;
    if (state != RECORD_DONE) usage.completion_tokens = e->rec.n_tokens;
    m->end(m->ctx, e->rec.tenant, e->rec.kind, &usage);
}

static void finish(struct entry *e, enum record_state state)
{
    struct recorder *r = e->recorder;
    if (is_end(e->rec.state)) return;
    meter_end(e, state);
    e->rec.ended_ns = clock_mono_ns();
    set_state(e, state);
    list_remove(&e->node);
    r->n_live--;
    list_push_front(&r->done, &e->node);
    r->n_done++;
    e->refs++;
    while (r->n_done > r->keep) forget_oldest(r);
}

static void finish_failed(struct entry *e, const struct error *error)
{
    struct record *rec = &e->rec;
    rec->error = error->code;
    size_t cut = utf8_cut(error->msg, strlen(error->msg), sizeof rec->message - 1);
    memcpy(rec->message, error->msg, cut);
    rec->message[cut] = '\0';
    switch (error->code) {
    case ERR_CANCELLED: break; /* whoever asked for it has said so */
    case ERR_STOPPING: rec->cancelled_by = CANCELLED_BY_SHUTDOWN; break;
    case ERR_TIMEOUT: rec->cancelled_by = CANCELLED_BY_DEADLINE; break;
    case ERR_WORKER: rec->cancelled_by = CANCELLED_BY_WORKER; break;
    default: rec->cancelled_by = CANCELLED_BY_NOBODY; break;
    }
    bool cancelled = error->code == ERR_CANCELLED || error->code == ERR_STOPPING;
    finish(e, cancelled ? RECORD_CANCELLED : RECORD_FAILED);
}

/* ---- events -------------------------------------------------------------------------------- */

static void take_cache(struct record *rec, const struct gen_event *ev)
{
    if (ev->cache) rec->cache = *ev->cache;
}

static void take_route(struct record *rec, const struct gen_route *route)
{
    if (!route) return;
    str_copy(rec->provider, sizeof rec->provider, route->provider);
    if (route->remote) str_copy(rec->model, sizeof rec->model, route->model);
    str_copy(rec->route_reason, sizeof rec->route_reason, route->reason);
    rec->remote = rec->remote || route->remote;
    rec->attempts = route->attempt + 1;
}

static void on_started(struct entry *e, const struct gen_event *ev)
{
    struct record *rec = &e->rec;
    take_route(rec, ev->route);
    if (!rec->started_ns) rec->started_ns = clock_mono_ns();
    if (ev->model) str_copy(rec->model, sizeof rec->model, ev->model);
    if (ev->adapter) str_copy(rec->adapter, sizeof rec->adapter, ev->adapter);
    rec->usage.prompt_tokens = ev->usage.prompt_tokens;
    rec->usage.cached_tokens = ev->usage.cached_tokens;
    set_state(e, rec->first_ns ? RECORD_DECODING : RECORD_PREFILLING);
}

static void on_queued(struct entry *e, const struct gen_event *ev)
{
    struct record *rec = &e->rec;
    rec->position = ev->position;
    rec->wait_ms = ev->wait_ms;
    if (!rec->started_ns) {
        set_state(e, RECORD_WAITING);
    } else if (rec->state != RECORD_PAUSED) {
        rec->n_pauses++;
        set_state(e, RECORD_PAUSED);
    }
}

/* A piece of an answer: of one token, or of several while the listener was behind. */
static void on_piece(struct entry *e)
{
    struct record *rec = &e->rec;
    rec->last_ns = clock_mono_ns();
    if (!rec->first_ns) rec->first_ns = rec->last_ns;
    rec->n_tokens++;
    set_state(e, RECORD_DECODING);
}

static void on_done(struct entry *e, const struct gen_event *ev)
{
    struct record *rec = &e->rec;
    if (ev->model) str_copy(rec->model, sizeof rec->model, ev->model);
    rec->usage = ev->usage;
    rec->timings = ev->timings;
    if (ev->timings.pauses > rec->n_pauses) rec->n_pauses = ev->timings.pauses;
    finish(e, RECORD_DONE);
}

static void record_event(struct entry *e, const struct gen_event *ev)
{
    take_cache(&e->rec, ev);
    switch (ev->type) {
    case GEN_EV_ROUTED: take_route(&e->rec, ev->route); break;
    case GEN_EV_LOADING:
        e->rec.load_fraction = ev->fraction;
        str_copy(e->rec.waits_for, sizeof e->rec.waits_for, ev->waits_for ? ev->waits_for : "");
        set_state(e, RECORD_LOADING);
        break;
    case GEN_EV_QUEUED: on_queued(e, ev); break;
    case GEN_EV_STARTED: on_started(e, ev); break;
    case GEN_EV_PAUSED:        /* told to the worker's client only */
    case GEN_EV_TOKENS: break; /* their text follows */
    case GEN_EV_TEXT:
    case GEN_EV_REASONING:
    case GEN_EV_TOOL_CALL: on_piece(e); break;
    case GEN_EV_CHOICE_END:
        if (ev->choice == 0) e->rec.finish = ev->finish;
        break;
    case GEN_EV_DONE: on_done(e, ev); break;
    case GEN_EV_ERROR:
        if (ev->usage.prompt_tokens > 0) e->rec.usage = ev->usage;
        finish_failed(e, ev->error);
        break;
    }
}

static void changed(const struct recorder *r)
{
    if (r->on_change) r->on_change(r->change_ctx);
}

/* The record is complete before the caller hears of the end, who may ask for it at once. */
static void listen(void *ctx, const struct gen_event *ev)
{
    struct entry *e = ctx;
    struct recorder *r = e->recorder;
    pthread_mutex_lock(&r->lock);
    record_event(e, ev);
    pthread_mutex_unlock(&r->lock);
    if (ev->type == GEN_EV_STARTED || ev->type == GEN_EV_LOADING || ev->type == GEN_EV_ERROR)
        changed(r);
    e->gen_fn(e->ctx, ev);
    if (ev->type != GEN_EV_DONE && ev->type != GEN_EV_ERROR) return;
    pthread_mutex_lock(&r->lock);
    unref(e);
    pthread_mutex_unlock(&r->lock);
}

static void listen_embed(void *ctx, const struct embed_result *result)
{
    struct entry *e = ctx;
    struct recorder *r = e->recorder;
    pthread_mutex_lock(&r->lock);
    take_route(&e->rec, result->route);
    if (result->error) {
        finish_failed(e, result->error);
    } else {
        str_copy(e->rec.model, sizeof e->rec.model, result->model);
        e->rec.usage.prompt_tokens = result->prompt_tokens;
        finish(e, RECORD_DONE);
    }
    pthread_mutex_unlock(&r->lock);
    changed(r);
    e->embed_fn(e->ctx, result);
    pthread_mutex_lock(&r->lock);
    unref(e);
    pthread_mutex_unlock(&r->lock);
}

/* ---- the provider's face ------------------------------------------------------------------- */

/* What is known from the start; the caller adds the rest before it makes an entry of it. */
static struct record first_record(enum record_kind kind, const char *model, const char *tenant,
                                  int32_t priority)
{
    struct record rec = {.kind = kind, .state = RECORD_PREPARING, .priority = priority};
    rec.wait_ms = -1;
    rec.arrived_wall_ms = clock_wall_ms();
    rec.arrived_ns = clock_mono_ns();
    str_copy(rec.asked, sizeof rec.asked, model);
    str_copy(rec.tenant, sizeof rec.tenant, tenant);
    return rec;
}

static struct entry *entry_new(struct recorder *r, const struct record *rec, const char *request_id,
                               void *ctx)
{
    struct entry *e = xcalloc(1, sizeof *e);
    e->recorder = r;
    e->rec = *rec;
    e->ctx = ctx;
    e->refs = 2; /* the call's and the listener's */
    pthread_mutex_lock(&r->lock);
    idmap_put(&r->ids, &e->by_id, ++r->next_id);
    name_entry(r, e, request_id ? request_id : "");
    list_push_front(&r->live, &e->node);
    r->n_live++;
    count(r, RECORD_PREPARING, 1);
    pthread_mutex_unlock(&r->lock);
    return e;
}

/* Whether the tenant may have one more under way. */
static enum err meter_begin(struct entry *e, const char *tenant, struct error *error)
{
    struct recorder *r = e->recorder;
    enum err code = r->meter.begin ? r->meter.begin(r->meter.ctx, tenant, e->rec.kind, error) : OK;
    if (code || !r->meter.begin) return code;
    pthread_mutex_lock(&r->lock);
    e->metered = true;
    pthread_mutex_unlock(&r->lock);
    return OK;
}

/* After the inner provider was asked: code is what it said. */
static enum err entry_submitted(struct entry *e, enum err code, uint64_t inner_id,
                                const struct error *error, uint64_t *id)
{
    struct recorder *r = e->recorder;
    pthread_mutex_lock(&r->lock);
    *id = code ? 0 : e->by_id.id;
    e->inner_id = inner_id;
    bool cancel = e->cancel && !code;
    if (code) {
        finish_failed(e, error);
        ht_assert(e->refs > 1);
        e->refs--; /* the listener's: it is never called */
    }
    unref(e);
    pthread_mutex_unlock(&r->lock);
    if (cancel) provider_cancel(r->inner, inner_id);
    return code;
}

static enum err recorder_generate(struct provider *p, struct gen_request *req, gen_listener_fn fn,
                                  void *ctx, uint64_t *id, struct error *error)
{
    struct recorder *r = recorder_of(p);
    req->local_only |= r->pinned;
    struct record rec = first_record(req->kind == GEN_CHAT ? RECORD_CHAT : RECORD_COMPLETION,
                                     req->model, req->tenant, req->priority);
    rec.n = req->n;
    struct entry *e = entry_new(r, &rec, req->request_id, ctx);
    e->gen_fn = fn;
    struct error own = {0}, *why = error ? error : &own;
    uint64_t inner_id = 0;
    enum err code = meter_begin(e, req->tenant, why);
    if (code)
        arena_free(req->arena);
    else
        code = provider_generate(r->inner, req, listen, e, &inner_id, why);
    return entry_submitted(e, code, inner_id, why, id);
}

static enum err recorder_embed(struct provider *p, struct embed_request *req, embed_listener_fn fn,
                               void *ctx, uint64_t *id, struct error *error)
{
    struct recorder *r = recorder_of(p);
    req->local_only |= r->pinned;
    struct record rec = first_record(req->query ? RECORD_RERANK : RECORD_EMBEDDING, req->model,
                                     req->tenant, req->priority);
    rec.n_inputs = (int32_t)req->n_inputs;
    struct entry *e = entry_new(r, &rec, req->request_id, ctx);
    e->embed_fn = fn;
    struct error own = {0}, *why = error ? error : &own;
    uint64_t inner_id = 0;
    enum err code = meter_begin(e, req->tenant, why);
    if (code)
        arena_free(req->arena);
    else
        code = provider_embed(r->inner, req, listen_embed, e, &inner_id, why);
    return entry_submitted(e, code, inner_id, why, id);
}

/* Under the lock; gives it back. */
static void cancel_entry(struct entry *e, enum canceller by)
{
    struct recorder *r = e->recorder;
    uint64_t inner_id = 0;
    if (!is_end(e->rec.state)) {
        if (e->rec.cancelled_by == CANCELLED_BY_NOBODY) e->rec.cancelled_by = by;
        e->cancel = true;
        inner_id = e->inner_id;
    }
    pthread_mutex_unlock(&r->lock);
    if (inner_id) provider_cancel(r->inner, inner_id);
}

void recorder_cancel(struct recorder *r, uint64_t id, enum canceller by)
{
    pthread_mutex_lock(&r->lock);
    struct idnode *n = idmap_get(&r->ids, id);
    if (n)
        cancel_entry(container_of(n, struct entry, by_id), by);
    else
        pthread_mutex_unlock(&r->lock);
}

static void recorder_cancel_op(struct provider *p, uint64_t id)
{
    recorder_cancel(recorder_of(p), id, CANCELLED_BY_CLIENT);
}

/* A control call that changes what is in memory. */
struct change {
    struct recorder *recorder;
    control_fn fn;
    void *ctx;
};

static void change_done(void *ctx, const struct error *error, const char *answer, size_t len)
{
    struct change c = *(struct change *)ctx;
    free(ctx);
    changed(c.recorder);
    c.fn(c.ctx, error, answer, len);
}

static enum err recorder_control(struct provider *p, enum control what, const char *args,
                                 control_fn fn, void *ctx, struct error *error)
{
    struct recorder *r = recorder_of(p);
    if (what != CONTROL_LOAD && what != CONTROL_UNLOAD && what != CONTROL_ADAPTER_LOAD)
        return provider_control(r->inner, what, args, fn, ctx, error);
    struct change *c = xmalloc(sizeof *c);
    *c = (struct change){r, fn, ctx};
    enum err code = provider_control(r->inner, what, args, change_done, c, error);
    if (code) free(c);
    changed(r); /* it may be on its way already */
    return code;
}

static void recorder_close(struct provider *p, int64_t grace_ms)
{
    provider_close(recorder_of(p)->inner, grace_ms);
}

struct recorder *recorder_new(struct provider *inner, size_t keep, void (*on_change)(void *ctx),
                              void *ctx)
{
    struct recorder *r = xcalloc(1, sizeof *r);
    r->inner = inner;
    r->keep = keep;
    r->on_change = on_change;
    r->change_ctx = ctx;
    r->ops = (struct provider_ops){
        .name = inner->ops->name,
        .caps = inner->ops->caps,
        .generate = recorder_generate,
        .cancel = recorder_cancel_op,
        .embed = inner->ops->embed ? recorder_embed : NULL,
        .control = inner->ops->control ? recorder_control : NULL,
        .close = recorder_close,
    };
    r->base.ops = &r->ops;
    pthread_mutex_init(&r->lock, NULL);
    list_init(&r->live);
    list_init(&r->done);
    idmap_init(&r->ids);
    r->names = map_new();
    return r;
}

void recorder_free(struct recorder *r)
{
    if (!r) return;
    ht_assert(list_empty(&r->live));
    while (r->n_done) forget_oldest(r);
    idmap_free(&r->ids);
    map_free(r->names);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

void recorder_pin(struct recorder *r)
{
    r->pinned = true;
}

void recorder_set_meter(struct recorder *r, const struct recorder_meter *meter)
{
    r->meter = *meter;
}

struct provider *recorder_provider(struct recorder *r)
{
    return &r->base;
}

/* ---- asking -------------------------------------------------------------------------------- */

/* The lock is held. */
static struct entry *find(const struct recorder *r, const char *tenant, const char *id)
{
    struct entry *e = map_get(r->names, id);
    return e && (!tenant || str_eq(e->rec.tenant, tenant)) ? e : NULL;
}

enum err recorder_cancel_record(struct recorder *r, const char *tenant, const char *id,
                                enum canceller by, struct error *error)
{
    pthread_mutex_lock(&r->lock);
    struct entry *e = find(r, tenant, id);
    if (!e || is_end(e->rec.state)) {
        const char *state = e ? record_state_name(e->rec.state) : "";
        pthread_mutex_unlock(&r->lock);
        if (e) return err_set(error, ERR_CONFLICT, "request %.128s has ended (%s)", id, state);
        return err_set(error, ERR_NOT_FOUND, "there is no request %.128s among the last ones", id);
    }
    cancel_entry(e, by);
    return OK;
}

void recorder_wrote(struct recorder *r, uint64_t id, size_t bytes)
{
    pthread_mutex_lock(&r->lock);
    struct idnode *n = idmap_get(&r->ids, id);
    if (n) container_of(n, struct entry, by_id)->rec.bytes_written += (int64_t)bytes;
    pthread_mutex_unlock(&r->lock);
}

void recorder_counts(const struct recorder *r, struct recorder_counts *out)
{
    out->running = atomic_load(&r->running);
    out->waiting = atomic_load(&r->waiting);
}

bool recorder_get(struct recorder *r, const char *tenant, const char *id, struct record *out)
{
    pthread_mutex_lock(&r->lock);
    const struct entry *e = find(r, tenant, id);
    if (e) *out = e->rec;
    pthread_mutex_unlock(&r->lock);
    return e != NULL;
}

static void copy_list(const struct list_node *head, const char *tenant, struct record *out,
                      size_t max, size_t *n)
{
    list_each (node, (struct list_node *)head) {
        if (*n == max) return;
        const struct entry *e = container_of(node, struct entry, node);
        if (!tenant || str_eq(e->rec.tenant, tenant)) out[(*n)++] = e->rec;
    }
}

struct record *recorder_list(struct recorder *r, const char *tenant, size_t max, size_t *n)
{
    *n = 0;
    pthread_mutex_lock(&r->lock);
    size_t all = r->n_live + r->n_done, room = all < max ? all : max;
    struct record *out = try_calloc(room ? room : 1, sizeof *out);
    if (out) {
        copy_list(&r->live, tenant, out, room, n);
        copy_list(&r->done, tenant, out, room, n);
    }
    pthread_mutex_unlock(&r->lock);
    return out;
}
