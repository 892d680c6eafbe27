/* The engine thread: hears commands, gives the models that have work their batches, sleeps when
 * there is no work. Between two batches it looks into the mailbox, which costs no system call.
 *
 * Whose batch comes next: the model that had the least time by its weight (stride scheduling;
 * Waldspurger and Weihl, 1995). The weight of a generating model doubles with every WEIGHT_STEPS
 * that the most important request it has is better. Embedding and rerank models work in what is
 * left: all of the time when nothing is generated, else BACKGROUND_SHARE, so that they are never
 * starved either; unless they are asked for something that is clearly more important than all that
 * is generated. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/doing.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/str.h"
#include "sched/sched_int.h"

enum {
    LOOK_MS = 50,        /* the longest sleep while there are requests */
    WEIGHT_STEPS = 16,   /* of priority */
    CLEARLY_BETTER = 10, /* steps of priority */
};

static const double BACKGROUND_SHARE = 0.05;

/* ---- the batch under way ------------------------------------------------------------------- */

static void set_inflight(struct sched *s, const struct sched_model *m, const uint64_t *ids,
                         int32_t n)
{
    struct inflight *f = &s->inflight;
    pthread_mutex_lock(&f->lock);
    f->ctx = m ? m->ctx : NULL;
    f->n = f->n_left = n;
    f->yields_to = m ? m->pace.plan.yields_to : -1;
    for (int32_t i = 0; i < n; i++) f->ids[i] = ids[i];
    pthread_mutex_unlock(&f->lock);
}

/* What the batch was, for the rates and the accounts. */
static void measure(struct sched_model *m, int64_t ns)
{
    int32_t prompt = m->embedding ? m->n_batched : 0, streams = 0;
    for (int32_t i = 0; i < m->n_parts && !m->embedding; i++) {
        const struct part *p = &m->parts[i];
        p->choice->req->decoded += p->n;
        if (p->choice->n_generated > 0 && p->n == 1)
            streams++;
        else
            prompt += p->n;
    }
    rates_batch(&m->rates, prompt, streams, ns);
}

/* A cancel that was sent before the batch was set found nothing to abort: its message is looked at
 * first. One that is sent later finds the batch. */
enum err loop_decode(struct sched_model *m, const uint64_t *ids, int32_t n_ids, struct error *error)
{
    struct sched *s = m->s;
    ht_assert(n_ids <= INFLIGHT_MAX);
    set_inflight(s, m, ids, n_ids);
    int64_t start_ns = clock_mono_ns();
    enum err e = ERR_BUSY;
    if (atomic_load(&s->cancels_sent) == s->cancels_seen && !atomic_load(&s->stop_now))
        e = engine_decode(m->ctx, m->batch, m->n_batched, error);
    set_inflight(s, NULL, NULL, 0);
    engine_ctx_abort_clear(m->ctx);
    if (e == OK) measure(m, clock_mono_ns() - start_ns);
    return e;
}

/* ---- commands ----------------------------------------------------------------------------- */

static void accept(struct sched *s, struct request *r)
{
    idmap_put(&s->requests, &r->by_id, r->by_id.id);
    doing_begin(DOING_STEP, r->model->id);
    if (r->model->makes_way)
        request_bounce(r);
    else if (adapter_arrived(r))
        request_enqueue(r);
    doing_end(DOING_STEP);
}

static void cancel(struct sched *s, uint64_t id)
{
    s->cancels_seen++;
    struct idnode *n = idmap_get(&s->requests, id);
    if (!n) return;
    struct request *r = container_of(n, struct request, by_id);
    doing_begin(DOING_STEP, r->model->id);
    request_fail(r, ERR_CANCELLED, "the request was cancelled");
    doing_end(DOING_STEP);
}

static void hear_adapter(struct sched_adapter *a)
{
    doing_begin(DOING_STEP, a->model->id);
    adapter_loaded(a);
    doing_end(DOING_STEP);
}

static bool is_waiting(struct idnode *n)
{
    const struct request *r = container_of(n, struct request, by_id);
    return r->state == REQUEST_QUEUED && !r->started; /* a paused one goes on */
}

/* Ends all waiting requests, or all. */
static void end_requests(struct sched *s, bool all)
{
    for (size_t i = 0; i < s->requests.n_buckets; i++)
        for (struct idnode *n = s->requests.buckets[i], *next; n; n = next) {
            next = n->next;
            if (all || is_waiting(n))
                request_fail(container_of(n, struct request, by_id), ERR_STOPPING,
                             "the hub is shutting down");
        }
}

static void obey(struct sched *s, struct command *c)
{
    switch (c->type) {
    case CMD_REQUEST: accept(s, container_of(c, struct request, cmd)); break;
    case CMD_CANCEL: {
        struct cancel_command *cc = container_of(c, struct cancel_command, cmd);
        cancel(s, cc->id);
        free(cc);
        break;
    }
    case CMD_MODEL: {
        struct model_command *mc = container_of(c, struct model_command, cmd);
        model_done(mc->model, mc->error.code ? &mc->error : NULL);
        break;
    }
    case CMD_MEASURED: {
        struct model_command *mc = container_of(c, struct model_command, cmd);
        model_measured(mc->model, mc->error.code ? &mc->error : NULL);
        break;
    }
    case CMD_FREED: model_freed(s, container_of(c, struct unload, cmd)); break;
    case CMD_ADAPTER: hear_adapter(container_of(c, struct adapter_command, cmd)->adapter); break;
    case CMD_STOP:
        s->draining = true;
        end_requests(s, false);
        break;
    case CMD_QUIT: s->quit = true; break;
    }
}

/* Who waits for an adapter is in no queue yet. */
static void check_waiters(struct sched_adapter *a, int64_t now_ms)
{
    list_each_safe(n, &a->waiters)
    {
        struct request *r = container_of(n, struct request, active);
        if (!r->deadline_ms || r->deadline_ms > now_ms) continue;
        request_fail(r, ERR_TIMEOUT,
                     "the request waited %.1f s for its adapter %s and could not start by its "
                     "deadline",
                     (double)(clock_mono_ns() - r->arrived_ns) / 1e9, a->name);
    }
}

static void check_deadlines(struct sched_model *m, int64_t now_ms)
{
    struct queue_entry *e;
    int64_t at_ms;
    while ((e = queue_next_deadline(&m->queue, &at_ms)) && at_ms <= now_ms) {
        struct request *r = container_of(e, struct request, queued);
        request_fail(r, ERR_TIMEOUT,
                     "the request waited %.1f s and could not start by its deadline; %d are before "
                     "it in the queue",
                     (double)(clock_mono_ns() - r->arrived_ns) / 1e9,
                     queue_position(&m->queue, &r->queued));
    }
    list_each (node, &m->adapters)
        check_waiters(container_of(node, struct sched_adapter, node), now_ms);
}

/* Those that could not start at once are told where they stand; those that are too late already
 * don't start. */
static void admit(struct sched *s)
{
    list_each (model, &s->ready) {
        struct sched_model *m = container_of(model, struct sched_model, ready);
        doing_begin(DOING_STEP, m->id);
        check_deadlines(m, clock_mono_ms());
        if (m->embedding)
            embed_admit(m);
        else
            step_admit(m);
        doing_end(DOING_STEP);
    }
    while (!list_empty(&s->fresh))
        forecast(container_of(s->fresh.next, struct request, active)->model, clock_mono_ms());
}

static void hear(struct sched *s, int64_t timeout_ms)
{
    struct mail *m = mailbox_receive(s->inbox, timeout_ms);
    cache_poll(s->cache);
    if (!m) return;
    for (struct mail *next; m; m = next) {
        next = m->next;
        obey(s, container_of(m, struct command, mail));
    }
    admit(s);
}

/* ---- the loop ----------------------------------------------------------------------------- */

/* What happens because time has passed. */
static void check_time(struct sched *s)
{
    int64_t now_ms = clock_mono_ms();
    list_each (model, &s->ready) {
        struct sched_model *m = container_of(model, struct sched_model, ready);
        doing_for(m->id);
        check_deadlines(m, now_ms);
        bool changed = m->forecast_changes != m->queue.changes;
        if (changed && now_ms >= m->forecast_ms + FORECAST_MS) forecast(m, now_ms);
    }
    doing_for("");
}

/* Without a request the engine thread has nothing to do until a message comes. */
static void check_stopped(struct sched *s)
{
    if (!s->draining || s->requests.count || s->stopped) return;
    pthread_mutex_lock(&s->stopped_lock);
    s->stopped = true;
    pthread_cond_signal(&s->stopped_cond);
    pthread_mutex_unlock(&s->stopped_lock);
}

/* ---- whose batch comes next ------------------------------------------------------------------ */

static bool has_work(const struct sched_model *m)
{
    return m->queue.length > 0 || !list_empty(&m->active);
}

/* Of all that it runs; what waits only has not been let in for a reason. */
static int32_t best_priority(const struct sched_model *m)
{
    int32_t best = 100;
    list_each (node, &m->active) {
        const struct request *r = container_of(node, struct request, active);
        if (r->priority < best) best = r->priority;
    }
    return best;
}

static double weight_of(const struct sched_model *m)
{
    return (double)(1 << ((100 - best_priority(m)) / WEIGHT_STEPS));
}

/* Sum of the weights of the models that generate, and the best priority among them. */
static double generating(const struct sched *s, int32_t *best)
{
    double sum = 0;
    *best = INT32_MAX;
    list_each (model, &s->ready) {
        const struct sched_model *m = container_of(model, struct sched_model, ready);
        if (m->embedding || list_empty(&m->active)) continue;
        int32_t priority = best_priority(m);
        if (priority < *best) *best = priority;
        sum += weight_of(m);
    }
    return sum;
}

static double share(const struct sched_model *m)
{
    int32_t best;
    double sum = generating(m->s, &best);
    if (!m->embedding || sum == 0 || best_priority(m) + CLEARLY_BETTER <= best) return weight_of(m);
    return sum * BACKGROUND_SHARE / (1 - BACKGROUND_SHARE);
}

/* Who has work and is not in `tried`; the one that had least. */
static struct sched_model *next_model(struct sched *s, uint64_t turn)
{
    struct sched_model *next = NULL;
    list_each (model, &s->ready) {
        struct sched_model *m = container_of(model, struct sched_model, ready);
        if (m->turn == turn || !has_work(m)) continue;
        if (!m->busy) { /* it did not save up while it had nothing to do */
            m->busy = true;
            if (m->served < s->served) m->served = s->served;
        }
        if (!next || m->served < next->served) next = m;
    }
    return next;
}

/* One batch. */
static bool work(struct sched *s)
{
    struct sched_model *m;
    uint64_t turn = ++s->turns;
    while ((m = next_model(s, turn))) {
        int64_t start_ns = clock_mono_ns();
        double was = m->served;
        m->turn = turn; /* looked at */
        doing_begin(DOING_STEP, m->id);
        bool worked = m->embedding ? step_embed(m) : step_generate(m);
        doing_end(DOING_STEP);
        m->served += (double)(clock_mono_ns() - start_ns) / share(m);
        m->busy = has_work(m);
        if (!worked) continue;
        s->served = was;
        return true;
    }
    return false;
}

/* ---- what others see ------------------------------------------------------------------------- */

static void publish(struct sched *s, int64_t now_ns)
{
    struct sched_queue *q = &s->status;
    struct queue_stats st = {.oldest_ms = -1};
    pthread_mutex_lock(&s->status_lock);
    q->n_models = 0;
    q->running = 0;
    list_each (model, &s->ready) {
        struct sched_model *m = container_of(model, struct sched_model, ready);
        int32_t running = atomic_load(&m->n_running);
        rates_output(&m->rates, 0, now_ns);
        atomic_store(&m->n_waiting, m->queue.length);
        queue_stats(&m->queue, &st);
        q->running += running;
        if (q->n_models == SCHED_QUEUE_MODELS_MAX) continue;
        struct sched_queue_model *qm = &q->models[q->n_models++];
        str_copy(qm->id, sizeof qm->id, m->id);
        qm->running = running;
        qm->waiting = m->queue.length;
        qm->tokens_per_second = running ? m->rates.per_second : 0;
        qm->wait_ms = atomic_load(&m->wait_ms);
    }
    places_stats(&s->places, &st);
    q->waiting = st.depth;
    q->tenants = st.tenants;
    q->oldest_ms = st.oldest_ms;
    q->promotions = st.promotions;
    q->pauses = s->n_pauses;
    memcpy(q->by_priority, st.by_priority, sizeof q->by_priority);
    pthread_mutex_unlock(&s->status_lock);
    atomic_store_explicit(&s->oldest_ms, st.oldest_ms, memory_order_relaxed);
}

/* Once more after the last request, so that the log says that it was the last. depth: places taken;
 * waiting: those of them of whom this thread has heard. */
static void log_status(struct sched *s, int64_t now_ms)
{
    if (!s->params.status_ms || now_ms < s->status_ms + s->params.status_ms) return;
    struct sched_stats st;
    sched_stats(s, &st);
    bool quiet = st.running == 0 && st.waiting == 0;
    s->status_ms = now_ms;
    if (quiet && s->status_quiet) return;
    s->status_quiet = quiet;
    log_info(sched, "Queue status | depth=%d running=%d waiting=%d oldest_wait_ms=%lld", st.waiting,
             st.running, s->status.waiting, (long long)st.oldest_wait_ms);
}

static int64_t least64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* How long the engine thread may sleep when there is nothing to decode. */
static int64_t sleep_ms(struct sched *s, int64_t now_ms)
{
    int64_t ms = s->requests.count ? LOOK_MS : INT64_MAX, keep_ms = ms;
    if (!s->requests.count) keep_ms = slots_tend(s);
    if (keep_ms >= 0) ms = least64(ms, keep_ms);
    if (s->params.status_ms && (!s->status_quiet || atomic_load(&s->room.taken)))
        ms = least64(ms, s->status_ms + s->params.status_ms - now_ms);
    if (s->models_next_ms != INT64_MAX) ms = least64(ms, s->models_next_ms - now_ms);
    if (atomic_load(&s->models_dirty)) return 0;
    return ms == INT64_MAX ? -1 : ms > 0 ? ms : 0;
}

void *loop_main(void *sched)
{
    struct sched *s = sched;
    bool worked = false;
    while (!s->quit) {
        hear(s, worked ? 0 : sleep_ms(s, clock_mono_ms()));
        if (atomic_load(&s->stop_now) && s->draining) end_requests(s, true);
        check_time(s);
        worked = work(s);
        requests_bury(s);
        keep_look(s);
        publish(s, clock_mono_ns());
        log_status(s, clock_mono_ms());
        check_stopped(s);
    }
    end_requests(s, true);
    requests_bury(s);
    keep_look(s);
    return NULL;
}
