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
 * A model that waits for room gets it at once from idle models; for those at work it waits until
 * they are idle. That could be never, so after switch_wait_ms they make way: they take no new
 * requests, send back those that wait (the provider submits them again, which loads the model
 * again, behind the waiting one) and leave. Requests are thus collated by model: each model serves
 * what has come for it until another one has waited long enough. In exclusive mode every other
 * model is in the way; else those whose room is needed.
 *
 * What runs is sent back, too, with what it has told (can_pause): it goes on from its tokens when
 * its model is back (resume.c). Each first gets as much time for answering as it took to come to
 * that, so that every stay of its model brings it on, however short the turns and long the prompts.
 * Deterministic ones, which compute anew token by token, and those whose client has log
 * probabilities that can't be computed anew, run to their end.
 *
 * Two more rules. A model that has just come stays switch_wait_ms at least: two that are always
 * wanted load each other out that seldom and no more. And it makes way at once, when that is over,
 * for a request that is clearly more important than all that it has and can be paused for it: the
 * rule that holds between the requests of one model (admit.c).
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

enum { SEND_BACK_LOOK_MS = 20 /* while a model makes way */ };

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
    atomic_store(&s->models_dirty, true); /* what is left may all be less important */
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

static bool waits(const struct request *r)
{
    return r->state == REQUEST_QUEUED && !r->started;
}

/* Can it go on from its tokens, later? Not when they are more than resume.c takes. */
static bool can_pause(const struct request *r)
{
    if (!r->can_pause || !r->started || r->deterministic || r->logprobs) return false;
    for (int32_t i = 0; i < r->n; i++)
        if (r->choices[i].text.added > TEXT_PENDING_MAX / 2) return false;
    return true;
}

/* Has it been answering for as long as it took to come to that? */
static bool has_got_on(const struct request *r, int64_t now_ns)
{
    if (r->state == REQUEST_QUEUED) return true; /* it is paused already */
    return r->first_token_ns && now_ns - r->first_token_ns >= r->first_token_ns - r->admitted_ns;
}

/* Requests go back to where they came from. True: there are some that will, later. */
static bool send_back(struct sched_model *m, int64_t now_ns)
{
    struct sched *s = m->s;
    bool later = false;
    for (size_t i = 0; i < s->requests.n_buckets; i++)
        for (struct idnode *n = s->requests.buckets[i], *next; n; n = next) {
            next = n->next;
            struct request *r = container_of(n, struct request, by_id);
            if (r->model != m || (!waits(r) && !can_pause(r))) continue;
            if (waits(r) || has_got_on(r, now_ns)) {
                request_bounce(r);
                atomic_store(&s->models_dirty, true); /* it has to be buried */
            } else {
                later = true;
            }
        }
    return later;
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

static void let_make_way(struct sched *s, int64_t now_ms, int64_t *next_ms)
{
    list_each (n, &s->ready) {
        struct sched_model *m = container_of(n, struct sched_model, ready);
        if (!m->makes_way) continue; /* written by this thread only */
        bool later = send_back(m, clock_mono_ns());
        if (later && now_ms + SEND_BACK_LOOK_MS < *next_ms) *next_ms = now_ms + SEND_BACK_LOOK_MS;
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
    m->waits_for[0] = '\0';
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

/* models_lock is held. The priority of the most important request that waits for it. */
static int32_t wanted_with(const struct sched_model *m)
{
    int32_t best = INT32_MAX - PAUSE_MARGIN;
    list_each (n, &m->listeners) {
        const struct load_listener *l = container_of(n, struct load_listener, node);
        if (l->priority < best) best = l->priority;
    }
    return best;
}

/* Is all that the model has clearly less important, and can wait? */
static bool gives_in(const struct sched_model *m, int32_t priority)
{
    const struct sched *s = m->s;
    for (size_t i = 0; i < s->requests.n_buckets; i++)
        for (const struct idnode *n = s->requests.buckets[i]; n; n = n->next) {
            const struct request *r = container_of(n, struct request, by_id);
            if (r->model != m) continue;
            if (r->priority < priority + PAUSE_MARGIN || (!waits(r) && !can_pause(r))) return false;
        }
    return true;
}

/* models_lock is held. When the others make way for m; INT64_MAX: not before something happens. */
static int64_t way_free_at(const struct sched_model *m, struct sched_model *const *others, size_t n,
                           int64_t now_ms)
{
    const struct sched_params *p = &m->s->params;
    int64_t at = m->wants_since_ms + p->switch_wait_ms, turns = now_ms;
    bool urgent = p->pausing && n > 0;
    for (size_t i = 0; i < n; i++) {
        if (others[i]->state != MODEL_READY) return INT64_MAX; /* it is being loaded */
        int64_t turn = others[i]->ready_ms + p->switch_wait_ms;
        if (turn > turns) turns = turn;
        urgent = urgent && gives_in(others[i], wanted_with(m));
    }
    return urgent || at < turns ? turns : at;
}

/* models_lock is held. Who has to finish before there is room for m: the first of those who work.
 */
static void tell_wait(struct sched_model *m, struct sched_model *const *others, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (model_is_idle(others[i])) continue;
        model_waits_for(m, others[i]->id);
        return;
    }
}

/* models_lock is held. Those in its way leave, or *next_ms is when that is to be seen again. */
static void make_way(struct sched *s, struct sched_model *m, int64_t now_ms, int64_t *next_ms)
{
    struct sched_model **others;
    size_t n = ledger_in_the_way(s, m, &m->forms, &others);
    tell_wait(m, others, n);
    int64_t at = way_free_at(m, others, n, now_ms);
    if (at > now_ms && at < *next_ms) *next_ms = at;
    for (size_t i = 0; i < n && at <= now_ms; i++) {
        struct sched_model *other = others[i];
        if (other->makes_way) continue;
        log_info(sched, "model %s makes way for %s", other->id, m->id);
        other->closing = other->makes_way = true;
    }
    free(others);
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
    if (d->answer == LEDGER_WAIT) make_way(s, m, now_ms, next_ms);
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
    if (!s->draining) let_make_way(s, now, &next);
    s->models_next_ms = next;
    if (atomic_load(&s->models_dirty)) return 0;
    return next == INT64_MAX ? -1 : next > now ? next - now : 0;
}
