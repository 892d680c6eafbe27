/* Which models are in memory. All on the engine thread, which alone may take a context away; what
 * takes long is the loader's.
 *
 * A model leaves when nobody has a reference to it and
 *   - its keep_alive is over: KEEP_ALIVE_NONE at the moment of its last reference, with no timer; a
 *     duration after that moment. What a load or a request has said of it holds until another one
 *     says something else, or it leaves;
 *   - it was told to (`closing`): by sched_unload, or for another model;
 *   - a model that waits for room chose it (ledger.c, evict.c).
 *
 * A model that waits for room gets it at once from idle models. Those at work are never touched:
 * it waits until they are idle. That could be never, so after switch_wait_ms they make way: they
 * take no new requests, send back those that have not started (the provider submits them again,
 * which loads the model again, behind the waiting one), finish what is running, and leave. Requests
 * are thus collated by model: each model serves what has come for it until another one has waited
 * long enough. In exclusive mode every other model is in the way; else those whose room is needed.
 *
 * Models wait in the order in which they were asked for; one for which there is room now does not
 * wait for those before it. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/str.h"
#include "sched/sched_int.h"

void keep_touch(struct sched *s)
{
    atomic_store(&s->models_dirty, true);
    mailbox_wake(s->inbox);
}

void model_used(struct sched_model *m, int64_t keep_alive_ms)
{
    struct sched *s = m->s;
    int64_t now = clock_mono_ms();
    pthread_mutex_lock(&s->models_lock);
    m->heat = evict_heat(m->heat, now - m->heat_ms) + 1;
    m->heat_ms = m->last_used_ms = now;
    m->n_uses++;
    if (keep_alive_ms != KEEP_ALIVE_DEFAULT) { /* else what was said before goes on to hold */
        m->keep_asked = true;
        m->keep_alive_ms = keep_alive_ms;
    }
    pthread_mutex_unlock(&s->models_lock);
}

/* ---- leaving ------------------------------------------------------------------------------- */

/* The model is closing, so that nobody gets a new reference, and has none. */
static void unload(struct sched_model *m)
{
    struct sched *s = m->s;
    slots_free(m);
    adapters_unload(m);
    list_remove(&m->ready);
    struct unload *u = xcalloc(1, sizeof *u);
    *u = (struct unload){
        .job.type = LOAD_FREE, .model = m, .ctx = m->ctx, .weights = m->weights, .batch = m->batch};
    list_init(&u->listeners);
    atomic_fetch_add(&s->n_freeing, 1);
    pthread_mutex_lock(&s->models_lock);
    m->ctx = NULL;
    m->weights = NULL;
    m->engine_model = NULL;
    m->batch = NULL;
    m->n_slots = 0;
    atomic_store(&m->n_idle, 0);
    m->state = MODEL_ON_DISK;
    m->memory = (struct engine_memory){0};
    bool left = !m->again || m->makes_way; /* else it only comes from another file */
    m->closing = m->makes_way = false;
    struct list_node *n;
    while ((n = list_pop_front(&m->unload_listeners))) list_push_back(&u->listeners, n);
    mailbox_send(s->loads, &u->job.mail);
    if (m->again && !s->draining) model_begin_load(m);
    metric_set(METRIC_models_memory_bytes, (int64_t)ledger_used(s, -1));
    pthread_mutex_unlock(&s->models_lock);
    metric_add(METRIC_models_loaded, -1);
    if (left && !s->draining && s->params.on_left) s->params.on_left(s->params.left_ctx, m->id);
}

void keep_tell_unloaded(struct list_node *listeners)
{
    struct list_node *n;
    while ((n = list_pop_front(listeners))) {
        struct unload_listener *entry = container_of(n, struct unload_listener, node);
        entry->on_done(entry->ctx);
        free(entry);
    }
}

void model_freed(struct sched *s, struct unload *u)
{
    log_info(sched, "model %s unloaded", u->model->id);
    keep_tell_unloaded(&u->listeners);
    free(u);
    atomic_fetch_sub(&s->n_freeing, 1);
    atomic_store(&s->models_dirty, true);
}

/* Requests that have not started go back to where they came from. */
static void send_back(struct sched_model *m)
{
    struct sched *s = m->s;
    for (size_t i = 0; i < s->requests.n_buckets; i++)
        for (struct idnode *n = s->requests.buckets[i], *next; n; n = next) {
            next = n->next;
            struct request *r = container_of(n, struct request, by_id);
            if (r->model == m && r->state == REQUEST_QUEUED && !r->started) request_bounce(r);
        }
}

/* models_lock is held. What time says about an idle model; *next: when to look again. */
static bool is_over(const struct sched_model *m, int64_t now_ms, int64_t *next_ms)
{
    if (m->keep_alive_ms == KEEP_ALIVE_FOREVER) return false;
    if (m->keep_alive_ms == KEEP_ALIVE_NONE) return m->n_uses > 0;
    int64_t at = m->last_used_ms + m->keep_alive_ms;
    if (at <= now_ms) return true;
    if (at < *next_ms) *next_ms = at;
    return false;
}

/* models_lock is held. The first one that can leave now, closed; NULL if there is none. */
static struct sched_model *next_leaving(struct sched *s, int64_t now_ms, int64_t *next_ms)
{
    list_each (n, &s->models) {
        struct sched_model *m = container_of(n, struct sched_model, node);
        if (m->state != MODEL_READY || atomic_load(&m->n_refs)) continue;
        if (!m->closing && !is_over(m, now_ms, next_ms)) continue;
        m->closing = true;
        return m;
    }
    return NULL;
}

static void let_leave(struct sched *s, int64_t now_ms, int64_t *next_ms)
{
    for (;;) {
        pthread_mutex_lock(&s->models_lock);
        struct sched_model *m = next_leaving(s, now_ms, next_ms);
        pthread_mutex_unlock(&s->models_lock);
        if (!m) return;
        unload(m);
    }
}

static void let_make_way(struct sched *s)
{
    list_each (n, &s->ready) {
        struct sched_model *m = container_of(n, struct sched_model, ready);
        if (m->makes_way) send_back(m); /* written by this thread only */
    }
}

/* ---- coming -------------------------------------------------------------------------------- */

void model_measured(struct sched_model *m, const struct error *error)
{
    if (error) {
        model_done(m, error);
        return;
    }
    pthread_mutex_lock(&m->s->models_lock);
    m->stage = STAGE_ROOM;
    m->wants_since_ms = clock_mono_ms();
    m->load_turn = ++m->s->load_turns;
    pthread_mutex_unlock(&m->s->models_lock);
    atomic_store(&m->s->models_dirty, true);
}

/* models_lock is held. The first of those that wait, after the one with this turn. */
static struct sched_model *next_waiting(struct sched *s, uint64_t turn)
{
    struct sched_model *best = NULL;
    list_each (n, &s->models) {
        struct sched_model *m = container_of(n, struct sched_model, node);
        if (m->state != MODEL_LOADING || m->stage != STAGE_ROOM || m->load_turn <= turn) continue;
        if (!best || m->load_turn < best->load_turn) best = m;
    }
    return best;
}

/* models_lock is held. */
static void take_room(struct sched_model *m, const struct ledger_decision *d)
{
    m->stage = STAGE_LOAD;
    m->forms.full = d->form;
    m->memory = d->form.memory;
    m->load_job.type = LOAD_LOAD;
    for (size_t i = 0; i < d->n_evict; i++) {
        struct sched_model *v = d->evict[i];
        v->closing = true;
        if (m->n_evicted < SCHED_EVICT_MAX)
            str_copy(m->evicted[m->n_evicted++], MODEL_ID_MAX, v->id);
        log_info(sched, "model %s makes room for %s", v->id, m->id);
    }
}

/* models_lock is held. */
static void make_way(struct sched *s, const struct sched_model *m)
{
    struct sched_model **models;
    size_t n = ledger_in_the_way(s, m, &m->forms, &models);
    for (size_t i = 0; i < n; i++) {
        struct sched_model *other = models[i];
        if (other->state != MODEL_READY || other->makes_way) continue; /* or it is being loaded */
        log_info(sched, "model %s finishes what is running and makes way for %s", other->id, m->id);
        other->closing = other->makes_way = true;
    }
    free(models);
}

enum outcome { OUTCOME_LOADS, OUTCOME_WAITS, OUTCOME_FAILS };

/* models_lock is held. */
static enum outcome find_room(struct sched_model *m, int64_t now_ms, int64_t *next_ms,
                              struct ledger_decision *d)
{
    struct sched *s = m->s;
    *d = (struct ledger_decision){0};
    if (s->draining) {
        err_set(&d->error, ERR_STOPPING, "the hub is shutting down");
        return OUTCOME_FAILS;
    }
    if (model_unwanted(m)) {
        err_set(&d->error, ERR_CANCELLED, "model %s was unloaded before it was loaded", m->id);
        return OUTCOME_FAILS;
    }
    if (!m->measured) { /* the bound fitted before; others may have come meanwhile */
        bool fits = ledger_fits_now(s, &m->memory);
        m->stage = fits ? STAGE_LOAD : STAGE_MEASURE;
        m->must_measure = !fits;
        m->load_job.type = fits ? LOAD_LOAD : LOAD_MEASURE;
        return OUTCOME_LOADS;
    }
    ledger_decide(s, m, m->id, &m->forms, d);
    if (d->answer == LEDGER_GO) {
        take_room(m, d);
        return OUTCOME_LOADS;
    }
    if (d->answer == LEDGER_REFUSE && !atomic_load(&s->n_freeing)) return OUTCOME_FAILS;
    int64_t until = m->wants_since_ms + s->params.switch_wait_ms;
    if (now_ms >= until && d->answer == LEDGER_WAIT)
        make_way(s, m);
    else if (until < *next_ms)
        *next_ms = until;
    return OUTCOME_WAITS;
}

static void let_come(struct sched *s, int64_t now_ms, int64_t *next_ms)
{
    uint64_t turn = 0;
    for (;;) {
        struct ledger_decision d = {0};
        enum outcome outcome = OUTCOME_WAITS;
        pthread_mutex_lock(&s->models_lock);
        struct sched_model *m = next_waiting(s, turn);
        if (m) outcome = find_room(m, now_ms, next_ms, &d);
        pthread_mutex_unlock(&s->models_lock);
        if (!m) return;
        for (size_t i = 0; i < d.n_evict; i++) {
            metric_add(METRIC_models_evicted_total, 1);
            unload(d.evict[i]);
        }
        free(d.evict);
        switch (outcome) {
        case OUTCOME_LOADS: mailbox_send(s->loads, &m->load_job.mail); break;
        case OUTCOME_WAITS: turn = m->load_turn; break;
        case OUTCOME_FAILS:
            log_line(d.error.code == ERR_CANCELLED ? LOG_INFO : LOG_WARN, LOG_sched, NULL, "%s",
                     d.error.msg);
            model_done(m, &d.error);
            break;
        }
    }
}

/* ---- the end ------------------------------------------------------------------------------- */

/* The scheduler stops: what was to come back does not. */
static void give_up(struct sched *s)
{
    list_each (n, &s->models) {
        struct sched_model *m = container_of(n, struct sched_model, node);
        struct error error;
        pthread_mutex_lock(&s->models_lock);
        bool back = m->state == MODEL_READY && m->again;
        struct list_node load, gone;
        list_init(&load);
        list_init(&gone);
        struct list_node *l;
        while (back && (l = list_pop_front(&m->listeners))) list_push_back(&load, l);
        while ((l = list_pop_front(&m->unload_listeners))) list_push_back(&gone, l);
        m->again = false;
        pthread_mutex_unlock(&s->models_lock);
        err_set(&error, ERR_STOPPING, "the hub is shutting down");
        while ((l = list_pop_front(&load))) {
            struct load_listener *entry = container_of(l, struct load_listener, node);
            entry->l.on_done(entry->l.ctx, m, &error);
            free(entry);
        }
        keep_tell_unloaded(&gone);
    }
}

void keep_none(struct sched *s)
{
    struct list_node *n;
    while ((n = s->ready.next) != &s->ready) unload(container_of(n, struct sched_model, ready));
}

int64_t keep_look(struct sched *s)
{
    int64_t now = clock_mono_ms();
    if (!atomic_exchange(&s->models_dirty, false) && now < s->models_next_ms)
        return s->models_next_ms == INT64_MAX ? -1 : s->models_next_ms - now;
    int64_t next = INT64_MAX;
    if (s->draining)
        give_up(s);
    else
        let_leave(s, now, &next);
    let_come(s, now, &next);
    if (!s->draining) let_make_way(s);
    s->models_next_ms = next;
    if (atomic_load(&s->models_dirty)) return 0;
    return next == INT64_MAX ? -1 : next > now ? next - now : 0;
}
