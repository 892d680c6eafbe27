/* The models: their list, and what callers' threads ask of it. Loading itself is loader.c's, who
 * stays in memory keep.c's.
 *
 * States (who makes the transition):
 *   ON_DISK, FAILED -> LOADING   sched_load, or keep.c for one that is to come back
 *     LOADING has stages: MEASURE (loader) -> ROOM (engine thread, keep.c) -> LOAD (loader)
 *   LOADING -> READY, FAILED     model_done
 *   LOADING -> ON_DISK           model_done, for one that nobody wants any more
 *   READY -> ON_DISK             keep.c
 *
 * The loader thread fills the model and its context and sends it to the engine thread, which owns
 * it from then on; callers' threads see it when the state says READY, with a reference. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/str.h"
#include "sched/sched_int.h"

/* ---- the list ----------------------------------------------------------------------------- */

static struct sched_model *model_find(struct sched *s, const char *id)
{
    list_each (n, &s->models) {
        struct sched_model *m = container_of(n, struct sched_model, node);
        if (str_eq(m->id, id)) return m;
    }
    return NULL;
}

bool model_is_idle(const struct sched_model *m)
{
    return m->state == MODEL_READY && !m->closing && atomic_load(&m->n_refs) == 0;
}

bool model_unwanted(const struct sched_model *m)
{
    return m->state == MODEL_LOADING && m->leaves && list_empty(&m->listeners);
}

struct sched_model *sched_find(struct sched *s, const char *id)
{
    pthread_mutex_lock(&s->models_lock);
    struct sched_model *m = model_find(s, id);
    if (m && (m->state != MODEL_READY || m->closing)) m = NULL;
    if (m) sched_model_ref(m);
    pthread_mutex_unlock(&s->models_lock);
    return m;
}

void sched_model_ref(struct sched_model *m)
{
    atomic_fetch_add(&m->n_refs, 1);
}

void sched_model_unref(struct sched_model *m)
{
    struct sched *s = m->s; /* m may be gone at once, s is not: its owner frees it last */
    int before = atomic_fetch_sub(&m->n_refs, 1);
    ht_assert(before > 0);
    if (before == 1) keep_touch(s);
}

const struct engine_model *sched_engine_model(const struct sched_model *m)
{
    return m->engine_model;
}

int32_t sched_model_ctx(const struct sched_model *m)
{
    return m->n_seq_ctx;
}

const char *sched_model_id(const struct sched_model *m)
{
    return m->id;
}

bool sched_model_is_of(struct sched_model *m, const char *path)
{
    pthread_mutex_lock(&m->s->models_lock);
    bool same = str_eq(m->path, path);
    pthread_mutex_unlock(&m->s->models_lock);
    return same;
}

bool sched_model_embeds(const struct sched_model *m)
{
    return m->embedding;
}

/* ---- what there is ------------------------------------------------------------------------ */

static int64_t expires_ms(const struct sched_model *m, int64_t now_ms)
{
    if (m->state != MODEL_READY || m->keep_alive_ms == KEEP_ALIVE_FOREVER) return -1;
    if (m->keep_alive_ms == KEEP_ALIVE_NONE) return 0;
    int64_t from = model_is_idle(m) ? m->last_used_ms : now_ms;
    return from + m->keep_alive_ms > now_ms ? from + m->keep_alive_ms - now_ms : 0;
}

/* models_lock is held. Those in its queue, and those that wait for it to be loaded. */
static int32_t waiting(const struct sched_model *m)
{
    int32_t n = atomic_load(&m->n_waiting);
    list_each (node, &m->listeners) n += container_of(node, struct load_listener, node)->l.request;
    return n;
}

static void fill_status(const struct sched_model *m, int64_t now_ms, struct sched_model_status *st)
{
    *st = (struct sched_model_status){.kind = m->kind,
                                      .state = m->state,
                                      .progress = atomic_load(&m->progress),
                                      .running = atomic_load(&m->n_running),
                                      .waiting = waiting(m),
                                      .keep_alive_ms = m->keep_alive_ms,
                                      .expires_ms = expires_ms(m, now_ms),
                                      .idle_ms = m->n_loads ? now_ms - m->last_used_ms : -1,
                                      .loads = m->n_loads,
                                      .load_ns = m->load_ns,
                                      .memory = m->memory,
                                      .memory_is_bound = m->bound,
                                      .leaving = m->closing || m->leaves,
                                      .error = m->error};
    str_copy(st->id, sizeof st->id, m->id);
    str_copy(st->waits_for, sizeof st->waits_for, m->waits_for);
    if (m->state != MODEL_READY) return;
    if (!model_is_idle(m)) st->idle_ms = 0;
    st->n_ctx = m->n_seq_ctx;
    st->n_slots = m->n_slots;
}

size_t sched_models(struct sched *s, struct sched_model_status *out, size_t max)
{
    size_t n = 0;
    int64_t now_ms = clock_mono_ms();
    pthread_mutex_lock(&s->models_lock);
    list_each (node, &s->models)
        if (n++ < max)
            fill_status(container_of(node, struct sched_model, node), now_ms, &out[n - 1]);
    pthread_mutex_unlock(&s->models_lock);
    return n;
}

/* models_lock is held. */
static void fill_memory(struct sched *s, struct sched_memory *out)
{
    const struct ledger *l = &s->ledger;
    *out = (struct sched_memory){.budget = l->budget, .used = ledger_used(s, -1)};
    for (size_t i = 0; l->described && i < l->description.n_devices; i++) {
        const struct engine_device *d = &l->description.devices[i];
        if (!d->gpu) continue;
        str_copy(out->devices[out->n_devices].name, sizeof out->devices->name, d->name);
        out->devices[out->n_devices].total = d->memory_total;
        out->devices[out->n_devices++].used = ledger_used(s, (int)i);
    }
}

void sched_memory(struct sched *s, struct sched_memory *out)
{
    pthread_mutex_lock(&s->models_lock);
    fill_memory(s, out);
    pthread_mutex_unlock(&s->models_lock);
}

/* ---- asking for a load -------------------------------------------------------------------- */

static void listen(struct sched_model *m, const struct sched_load_listener *l, int32_t priority)
{
    struct load_listener *entry = xcalloc(1, sizeof *entry);
    entry->l = *l;
    entry->priority = priority;
    list_push_back(&m->listeners, &entry->node);
    if (*m->waits_for && l->on_wait) l->on_wait(l->ctx, m->waits_for);
}

void model_waits_for(struct sched_model *m, const char *id)
{
    if (str_eq(m->waits_for, id)) return;
    str_copy(m->waits_for, sizeof m->waits_for, id);
    list_each (n, &m->listeners) {
        const struct load_listener *entry = container_of(n, struct load_listener, node);
        if (entry->l.on_wait) entry->l.on_wait(entry->l.ctx, m->waits_for);
    }
}

/* models_lock is held. */
static struct sched_model *add_model(struct sched *s, const char *id)
{
    struct sched_model *m = xcalloc(1, sizeof *m);
    m->s = s;
    m->state = MODEL_ON_DISK;
    m->keep_alive_ms = s->params.keep_alive_ms;
    str_copy(m->id, sizeof m->id, id);
    list_init(&m->listeners);
    list_init(&m->unload_listeners);
    list_init(&m->active);
    list_init(&m->adapters);
    list_init(&m->ready);
    pthread_mutex_init(&m->pace.lock, NULL);
    queue_init(&m->queue, s->params.ageing_ms);
    atomic_store(&m->wait_ms, -1);
    atomic_store(&m->next_place_ms, -1);
    list_push_back(&s->models, &m->node);
    return m;
}

void model_begin_load(struct sched_model *m)
{
    if (m->next_path) {
        free(m->path);
        m->path = m->next_path;
        m->next_path = NULL;
    }
    m->error = (struct error){0};
    m->state = MODEL_LOADING;
    m->stage = STAGE_MEASURE;
    m->again = m->must_measure = m->bound = false;
    m->waits_for[0] = '\0';
    m->n_evicted = 0;
    atomic_store(&m->progress, 0);
    m->load_job.type = LOAD_MEASURE;
    mailbox_send(m->s->loads, &m->load_job.mail);
}

/* models_lock is held. What the load says of keep_alive holds; one that says nothing changes it
 * only where the model comes (back) for it: what was said before it left is forgotten. */
static void set_keep_alive(struct sched_model *m, const struct sched_load *load, bool comes)
{
    bool said = load->keep_alive_ms != KEEP_ALIVE_DEFAULT;
    if (!said && !comes) return;
    m->keep_alive_ms = said ? load->keep_alive_ms : m->s->params.keep_alive_ms;
    m->keep_asked = said;
    if (said) keep_touch(m->s);
}

/* models_lock is held. True: it is ready and *m has a reference. */
static bool want(struct sched *s, const struct sched_load *load,
                 const struct sched_load_listener *l, struct sched_model **out)
{
    struct sched_model *m = model_find(s, load->id);
    if (!m) m = add_model(s, load->id);
    *out = m;
    bool other = m->state == MODEL_READY && !str_eq(m->path, load->path);
    bool stays = m->state == MODEL_READY && !m->closing && !other;
    set_keep_alive(m, load, !stays && m->state != MODEL_LOADING && !m->again);
    if (stays) {
        sched_model_ref(m);
        return true;
    }
    if (l) listen(m, l, load->priority);
    if (m->state == MODEL_LOADING) keep_touch(s); /* perhaps more urgent than it was */
    if (m->state == MODEL_READY) {
        free(m->next_path);
        m->next_path = other ? xstrdup(load->path) : NULL;
        m->size = load->size;
        m->again = m->closing = true;
        keep_touch(s);
    } else if (m->state != MODEL_LOADING) {
        free(m->path);
        m->path = xstrdup(load->path);
        m->size = load->size;
        m->wants_embedding = load->embedding;
        model_begin_load(m);
    }
    return false;
}

enum err sched_load(struct sched *s, const struct sched_load *load,
                    const struct sched_load_listener *l, struct error *error)
{
    if (strlen(load->id) >= MODEL_ID_MAX)
        return err_set(error, ERR_INVALID, "the model's name is longer than %d bytes",
                       MODEL_ID_MAX - 1);
    pthread_mutex_lock(&s->submit_lock);
    if (atomic_load(&s->stopping)) {
        pthread_mutex_unlock(&s->submit_lock);
        return err_set(error, ERR_STOPPING, "the hub is shutting down");
    }
    struct sched_model *m;
    pthread_mutex_lock(&s->models_lock);
    bool ready = want(s, load, l, &m);
    pthread_mutex_unlock(&s->models_lock);
    pthread_mutex_unlock(&s->submit_lock);
    if (!ready) return OK;
    if (l) l->on_done(l->ctx, m, NULL);
    sched_model_unref(m);
    return OK;
}

bool sched_load_forget(struct sched *s, const char *id, void *listener_ctx)
{
    bool found = false;
    pthread_mutex_lock(&s->models_lock);
    struct sched_model *m = model_find(s, id);
    if (m) list_each_safe(n, &m->listeners)
        {
            struct load_listener *entry = container_of(n, struct load_listener, node);
            if (found || entry->l.ctx != listener_ctx) continue;
            list_remove(n);
            free(entry);
            found = true;
        }
    if (found && model_unwanted(m)) keep_touch(s);
    pthread_mutex_unlock(&s->models_lock);
    return found;
}

/* models_lock is held. Those who only asked for the load, and will not use it. */
static void take_loads(struct sched_model *m, struct list_node *out)
{
    list_each_safe(n, &m->listeners)
    {
        if (container_of(n, struct load_listener, node)->l.request) continue;
        list_remove(n);
        list_push_back(out, n);
    }
}

static void tell_ended(struct sched_model *m, struct list_node *loads)
{
    struct list_node *n;
    struct error error;
    err_set(&error, ERR_CONFLICT,
            "somebody unloaded it meanwhile (`hearth unload`, POST /v1/models/.../unload); load it "
            "again if it is still wanted");
    while ((n = list_pop_front(loads))) {
        struct load_listener *entry = container_of(n, struct load_listener, node);
        entry->l.on_done(entry->l.ctx, m, &error);
        free(entry);
    }
}

/* models_lock is held. False: there is nothing to unload. */
static bool begin_unload(struct sched_model *m, void (*on_done)(void *ctx), void *ctx,
                         struct list_node *loads)
{
    if (m->state != MODEL_READY && m->state != MODEL_LOADING) return false;
    if (on_done) {
        struct unload_listener *entry = xcalloc(1, sizeof *entry);
        *entry = (struct unload_listener){.on_done = on_done, .ctx = ctx};
        list_push_back(&m->unload_listeners, &entry->node);
    }
    if (m->state == MODEL_READY) {
        m->closing = true;
    } else {
        m->leaves = true;
        take_loads(m, loads);
    }
    keep_touch(m->s);
    return true;
}

enum err sched_unload(struct sched *s, const char *id, void (*on_done)(void *ctx), void *ctx,
                      struct error *error)
{
    struct list_node loads;
    list_init(&loads);
    pthread_mutex_lock(&s->submit_lock);
    pthread_mutex_lock(&s->models_lock);
    struct sched_model *m = model_find(s, id);
    bool stopping = atomic_load(&s->stopping);
    bool begun = m && !stopping && begin_unload(m, on_done, ctx, &loads);
    pthread_mutex_unlock(&s->models_lock);
    pthread_mutex_unlock(&s->submit_lock);
    if (!m) return err_set(error, ERR_NOT_FOUND, "%s was never loaded", id);
    tell_ended(m, &loads);
    if (!begun && on_done) on_done(ctx);
    return OK;
}

/* ---- planning ----------------------------------------------------------------------------- */

static void describe_plan(const struct ledger_forms *forms, const struct ledger_decision *d,
                          struct sched_plan *out)
{
    const struct ledger_form *form = d->answer == LEDGER_GO ? &d->form : &forms->full;
    out->fits = d->answer != LEDGER_REFUSE;
    out->waits = d->answer == LEDGER_WAIT;
    out->needs = form->memory;
    out->n_ctx = forms->longest < form->ctx.n_ctx ? forms->longest : form->ctx.n_ctx;
    for (size_t i = 0; i < d->n_evict && i < SCHED_EVICT_MAX; i++)
        str_copy(out->evict[out->n_evict++], MODEL_ID_MAX, d->evict[i]->id);
    str_copy(out->reason, sizeof out->reason, d->error.code ? d->error.msg : "");
}

enum err sched_plan(struct sched *s, const struct sched_load *load, int32_t n_ctx,
                    struct sched_plan *out, struct error *error)
{
    struct ledger_forms forms;
    struct sched_params params = ledger_params(s, load->id);
    enum err e = ledger_describe(s, error);
    if (!e)
        e = ledger_measure(&params, load->path, n_ctx > 0 ? n_ctx : -1, load->embedding, &forms,
                           error);
    if (e) return e;
    *out = (struct sched_plan){0};
    pthread_mutex_lock(&s->models_lock);
    const struct sched_model *m = model_find(s, load->id);
    if (n_ctx <= 0 && m && m->state == MODEL_READY) {
        out->fits = true;
        out->needs = m->memory;
        out->n_ctx = m->n_seq_ctx;
        str_copy(out->reason, sizeof out->reason, "it is in memory already");
    } else {
        struct ledger_decision d;
        ledger_decide(s, m, load->id, &forms, &d);
        describe_plan(&forms, &d, out);
        free(d.evict);
    }
    fill_memory(s, &out->memory);
    pthread_mutex_unlock(&s->models_lock);
    return OK;
}

size_t sched_model_evicted(const struct sched_model *m, char (*ids)[MODEL_ID_MAX], size_t max)
{
    size_t n = 0;
    pthread_mutex_lock(&m->s->models_lock);
    for (; n < m->n_evicted && n < max; n++) str_copy(ids[n], MODEL_ID_MAX, m->evicted[n]);
    pthread_mutex_unlock(&m->s->models_lock);
    return n;
}

/* ---- the end of a load --------------------------------------------------------------------- */

static enum model_kind kind_of(const struct sched_model *m)
{
    if (m->facts.is_rerank) return MODEL_RERANK;
    if (m->embedding) return MODEL_EMBEDDING;
    return m->facts.has_chat_template ? MODEL_CHAT : MODEL_COMPLETION;
}

/* models_lock is held. */
static void became_ready(struct sched_model *m)
{
    m->state = MODEL_READY;
    m->error = (struct error){0};
    m->last_used_ms = m->ready_ms = clock_mono_ms();
    m->n_uses = 0;
    m->n_loads++;
    m->kind = kind_of(m);
    m->closing = m->leaves; /* once those who waited for it were served */
    sched_model_ref(m);     /* it stays until the listeners have taken theirs */
}

/* models_lock is held. ended: nobody wanted it any more; somebody may, since then. */
static void became_nothing(struct sched_model *m, const struct error *error, bool ended)
{
    m->state = ended ? MODEL_ON_DISK : MODEL_FAILED;
    m->error = (struct error){0};
    if (!ended) m->error = *error;
    m->memory = (struct engine_memory){0};
    m->bound = false;
    m->waits_for[0] = '\0';
    if (ended && !list_empty(&m->listeners) && !m->s->draining) model_begin_load(m);
}

static void move_all(struct list_node *from, struct list_node *to)
{
    struct list_node *n;
    while ((n = list_pop_front(from))) list_push_back(to, n);
}

void model_done(struct sched_model *m, const struct error *error)
{
    struct sched *s = m->s;
    struct error copy = {0};
    if (error) copy = *error; /* it lies in m, which may be loaded again at once */
    bool ended = copy.code == ERR_CANCELLED, left = false;
    struct list_node listeners, gone, *n;
    list_init(&listeners);
    list_init(&gone);
    if (!error) list_push_back(&s->ready, &m->ready);
    pthread_mutex_lock(&s->models_lock);
    m->stage = STAGE_NONE;
    if (error)
        became_nothing(m, &copy, ended);
    else
        became_ready(m);
    m->leaves = false;
    left = m->state == MODEL_ON_DISK;
    if (m->state != MODEL_LOADING) move_all(&m->listeners, &listeners);
    if (error) move_all(&m->unload_listeners, &gone);
    metric_set(METRIC_models_memory_bytes, (int64_t)ledger_used(s, -1));
    pthread_mutex_unlock(&s->models_lock);
    if (!error) metric_add(METRIC_models_loaded, 1);
    if (left && !s->draining && s->params.on_left) s->params.on_left(s->params.left_ctx, m->id);
    while ((n = list_pop_front(&listeners))) {
        struct load_listener *entry = container_of(n, struct load_listener, node);
        entry->l.on_done(entry->l.ctx, m, copy.code ? &copy : NULL);
        free(entry);
    }
    keep_tell_unloaded(&gone);
    if (!error) sched_model_unref(m);
    keep_touch(s);
}

void model_list_free(struct sched *s)
{
    struct list_node *n;
    while ((n = list_pop_front(&s->models))) {
        struct sched_model *m = container_of(n, struct sched_model, node);
        ht_assert(list_empty(&m->listeners) && list_empty(&m->unload_listeners));
        ht_assert(list_empty(&m->active) && atomic_load(&m->n_refs) == 0);
        ht_assert(!m->engine_model);
        queue_free(&m->queue);
        pthread_mutex_destroy(&m->pace.lock);
        free(m->path);
        free(m->next_path);
        free(m);
    }
}
