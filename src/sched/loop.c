/* The engine thread: hears commands, gives each model with work one batch in turn, sleeps when
 * there is no work. Between two batches it looks into the mailbox, which costs no system call. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "sched/sched_int.h"

enum { TIMED_LOOK_MS = 10 /* how often deadlines are looked at */ };

/* ---- the batch under way ------------------------------------------------------------------- */

static void set_inflight(struct sched *s, struct engine_ctx *ctx, const uint64_t *ids, int32_t n)
{
    struct inflight *f = &s->inflight;
    pthread_mutex_lock(&f->lock);
    f->ctx = ctx;
    f->n = f->n_left = n;
    for (int32_t i = 0; i < n; i++) f->ids[i] = ids[i];
    pthread_mutex_unlock(&f->lock);
}

/* A cancel that was sent before the batch was set found nothing to abort: its message is looked at
 * first. One that is sent later finds the batch. */
enum err loop_decode(struct sched_model *m, const uint64_t *ids, int32_t n_ids, struct error *error)
{
    struct sched *s = m->s;
    ht_assert(n_ids <= INFLIGHT_MAX);
    set_inflight(s, m->ctx, ids, n_ids);
    enum err e = ERR_BUSY;
    if (atomic_load(&s->cancels_sent) == s->cancels_seen && !atomic_load(&s->stop_now))
        e = engine_decode(m->ctx, m->batch, m->n_batched, error);
    set_inflight(s, NULL, NULL, 0);
    engine_ctx_abort_clear(m->ctx);
    return e;
}

/* ---- commands ----------------------------------------------------------------------------- */

void request_enqueue(struct request *r)
{
    queue_push(&r->model->queue, &r->queued, r->priority, r->arrived_ns / 1000000);
    list_push_back(&r->model->s->fresh, &r->active);
}

static void accept(struct sched *s, struct request *r)
{
    idmap_put(&s->requests, &r->by_id, r->by_id.id);
    if (r->deadline_ms) list_push_back(&s->timed, &r->timed);
    if (adapter_arrived(r)) request_enqueue(r);
}

static void cancel(struct sched *s, uint64_t id)
{
    s->cancels_seen++;
    struct idnode *n = idmap_get(&s->requests, id);
    if (!n) return;
    request_fail(container_of(n, struct request, by_id), ERR_CANCELLED,
                 "the request was cancelled");
}

static bool is_waiting(struct idnode *n)
{
    return container_of(n, struct request, by_id)->state == REQUEST_QUEUED;
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
    case CMD_ADAPTER: adapter_loaded(container_of(c, struct adapter_command, cmd)->adapter); break;
    case CMD_STOP:
        s->draining = true;
        end_requests(s, false);
        break;
    case CMD_QUIT: s->quit = true; break;
    }
}

/* Those that could not start at once are told where they stand. */
static void tell_fresh(struct sched *s)
{
    list_each (model, &s->ready) {
        struct sched_model *m = container_of(model, struct sched_model, ready);
        if (m->embedding)
            embed_admit(m);
        else
            step_admit(m);
    }
    struct list_node *n;
    while ((n = list_pop_front(&s->fresh))) {
        struct request *r = container_of(n, struct request, active);
        struct sched_event ev = {.type = SCHED_EV_QUEUED};
        ev.position = queue_position(&r->model->queue, &r->queued);
        if (!r->embedding) request_emit(r, &ev);
    }
}

static void hear(struct sched *s, int64_t timeout_ms)
{
    struct mail *m = mailbox_receive(s->inbox, timeout_ms);
    if (!m) return;
    for (struct mail *next; m; m = next) {
        next = m->next;
        obey(s, container_of(m, struct command, mail));
    }
    tell_fresh(s);
}

/* ---- the loop ----------------------------------------------------------------------------- */

static void check_deadlines(struct sched *s)
{
    if (list_empty(&s->timed)) return;
    int64_t now = clock_mono_ms();
    if (now < s->timed_look_ms + TIMED_LOOK_MS) return;
    s->timed_look_ms = now;
    list_each_safe(n, &s->timed)
    {
        struct request *r = container_of(n, struct request, timed);
        if (now < r->deadline_ms) continue;
        request_fail(r, ERR_TIMEOUT,
                     "the request waited %.1f s and could not start by its deadline; %d are before "
                     "it in the queue",
                     (double)(clock_mono_ns() - r->arrived_ns) / 1e9,
                     queue_position(&r->model->queue, &r->queued));
    }
}

static void publish(struct sched *s)
{
    int64_t oldest = -1;
    list_each (model, &s->ready) {
        const struct sched_model *m = container_of(model, struct sched_model, ready);
        int64_t ms = queue_oldest_ms(&m->queue);
        if (ms >= 0 && (oldest < 0 || ms < oldest)) oldest = ms;
    }
    atomic_store_explicit(&s->oldest_ms, oldest, memory_order_relaxed);
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

/* One batch for each model that has work. */
static bool work(struct sched *s)
{
    bool worked = false;
    list_each (model, &s->ready) {
        struct sched_model *m = container_of(model, struct sched_model, ready);
        if (!(m->embedding ? step_embed(m) : step_generate(m))) continue;
        worked = true;
        requests_bury(s);
        hear(s, 0);
    }
    return worked;
}

void *loop_main(void *sched)
{
    struct sched *s = sched;
    bool worked = false;
    while (!s->quit) {
        hear(s, worked ? 0 : s->requests.count ? TIMED_LOOK_MS : -1);
        if (atomic_load(&s->stop_now) && s->draining) end_requests(s, true);
        check_deadlines(s);
        worked = work(s);
        requests_bury(s);
        publish(s);
        check_stopped(s);
    }
    end_requests(s, true);
    requests_bury(s);
    return NULL;
}
