/* Admission: which waiting requests become active, who is paused for them, and how their choices
 * get sequences.
 *
 * The first of the queue starts when there is a sequence and room for its tokens. When there is
 * not, somebody may be paused for a request that waits. Two reasons, and both look at what the
 * requests were given, not at their age (ageing decides who starts next, never who is interrupted;
 * else equal requests would push each other out all the time):
 *
 *  - it is clearly more important (PAUSE_MARGIN) than the least important that runs;
 *  - it is as important, its tenant has fewer requests running, and the other has run for a whole
 *    time slice.
 *
 * Against thrashing: who came back after a pause, or was let in by its age, runs PAUSE_LEAST_MS
 * before it can be paused again, and time slices are looked at every SLICE_LOOK_MS. The paused
 * request goes back to its place in the queue; its tokens stay in the prefix cache, so that it goes
 * on where it stopped (request_pause).
 *
 * A request for n choices decodes its prompt once: the first choice that starts leads, the others
 * that got a slot share its cells as soon as the prompt is complete and sample from the same
 * output. Choices for which there is no slot start when one of the request's own ends; they find
 * the prompt in its cache. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "sched/sched_int.h"

enum {
    PAUSE_LEAST_MS = 2000, /* not paused again before */
    SLICE_LOOK_MS = 100,
};

bool choice_tokens(struct choice *c)
{
    if (c->tokens) return true;
    struct request *r = c->req;
    c->tokens = try_calloc((size_t)r->n_longest, sizeof *c->tokens);
    if (!c->tokens) return false;
    memcpy(c->tokens, r->prompt_tokens, (size_t)r->n_prompt * sizeof *c->tokens);
    c->n_tokens = r->n_prompt;
    return true;
}

static void tell_started(struct request *r)
{
    r->started = true;
    metric_add(METRIC_prompt_tokens_total, r->n_prompt);
    metric_add(METRIC_prompt_tokens_cached_total, r->usage.cached_tokens);
    struct sched_event ev = {.type = SCHED_EV_STARTED,
                             .usage = r->usage,
                             .cache = &r->cache,
                             .adapter = r->adapter ? r->adapter->name : NULL};
    request_emit(r, &ev);
}

bool choice_begins(struct choice *c, int32_t n_cached)
{
    struct request *r = c->req;
    c->state = CHOICE_RUNNING;
    if (r->started) return false;
    r->usage.cached_tokens = n_cached < r->n_prompt ? n_cached : r->n_prompt;
    r->timings.prefill_tokens = r->n_prompt - r->usage.cached_tokens;
    tell_started(r);
    return true;
}

/* Gives idle slots to the waiting choices. False: no memory, the request has ended. */
bool start_choices(struct sched_model *m, struct request *r)
{
    struct choice *leader = NULL;
    for (int32_t i = 0; i < r->n; i++) {
        struct choice *c = &r->choices[i];
        if (c->state != CHOICE_WAITING) continue;
        if (slots_idle(m, r) == 0) break;
        if (!choice_tokens(c)) {
            request_fail(r, ERR_NOMEM, "no memory for a sequence of %d tokens", r->n_longest);
            return false;
        }
        if (leader && c->n_generated == 0) {
            slot_attach_empty(m, c);
            c->state = CHOICE_SHARING;
            continue;
        }
        if (c->n_generated == 0) leader = c;
        int32_t cached = 0;
        if (r->deterministic)
            slot_attach_empty(m, c); /* what is cached was computed in other steps */
        else
            cached = slot_attach(m, c);
        if (cached < 0) continue;
        choice_begins(c, cached);
    }
    return true;
}

static bool waits_for_prefix(const struct request *r)
{
    for (int32_t i = 0; i < r->n; i++)
        if (r->choices[i].state == CHOICE_FETCHING) return true;
    return false;
}

static void start(struct sched_model *m, struct request *r)
{
    request_started(r);
    bool first = !r->started;
    if (first) request_respell(m, r);
    if (r->max_tokens != 0 && !start_choices(m, r)) return;
    if (!r->started && waits_for_prefix(r)) return; /* choice_begins follows */
    if (!r->started) tell_started(r);
    if (first) resume_tell(r);
    if (r->max_tokens != 0 || r->state == REQUEST_OVER) return;
    int32_t n = r->n;
    for (int32_t i = 0; i < n; i++) choice_end(&r->choices[i], FINISH_LENGTH);
}

/* ---- pausing ------------------------------------------------------------------------------- */

static struct request *request_of(struct queue_entry *e)
{
    return container_of(e, struct request, queued);
}

static int64_t ran_ms(const struct request *r, int64_t now_ns)
{
    return (now_ns - r->turn_ns) / 1000000;
}

/* Not one that is just being admitted; and what is computed anew is not what it was to the last
 * bit, as a deterministic request must be. */
static bool can_be_paused(const struct request *r)
{
    return r->started && !r->deterministic;
}

static bool may_be_paused(const struct request *r, int64_t now_ns)
{
    if (!can_be_paused(r)) return false;
    bool settled = r->timings.pauses == 0 && !r->promoted;
    return settled || ran_ms(r, now_ns) >= PAUSE_LEAST_MS;
}

/* The least important of those that are clearly less important than w; of equals the youngest. */
static struct request *less_important(const struct sched_model *m, const struct request *w,
                                      int64_t now_ns)
{
    struct request *victim = NULL;
    list_each (node, &m->active) {
        struct request *r = container_of(node, struct request, active);
        if (r->priority < w->priority + PAUSE_MARGIN || !may_be_paused(r, now_ns)) continue;
        if (!victim || r->priority >= victim->priority) victim = r;
    }
    return victim;
}

static bool fits(const struct sched_model *m, const struct request *r)
{
    return slots_idle(m, r) > 0 && slots_fit(m, r);
}

/* Pauses for w until it fits or nobody is left who may be paused. */
static bool pause_for(struct sched_model *m, struct request *w, int64_t now_ns)
{
    struct request *victim;
    while (!fits(m, w) && (victim = less_important(m, w, now_ns))) {
        log_debug(sched, "request %llu (priority %d) is paused for %llu (%d)",
                  (unsigned long long)victim->by_id.id, victim->priority,
                  (unsigned long long)w->by_id.id, w->priority);
        request_pause(victim);
    }
    return fits(m, w);
}

static int32_t running_of(const struct sched_model *m, const char *tenant)
{
    int32_t n = 0;
    list_each (node, &m->active)
        n += strcmp(container_of(node, struct request, active)->tenant, tenant) == 0;
    return n;
}

struct slice {
    const struct sched_model *m;
    const struct request *r; /* has run for a whole slice */
    int32_t running;         /* requests of its tenant */
};

static bool has_less(const struct queue_entry *e, void *ctx)
{
    const struct slice *s = ctx;
    if (strcmp(e->tenant, s->r->tenant) == 0) return false;
    return running_of(s->m, e->tenant) < s->running;
}

/* Who has run for a whole slice makes way for a tenant that has less. True: it did. */
static bool end_slice(struct sched_model *m, int64_t now_ns)
{
    for (struct list_node *n = m->active.prev; n != &m->active; n = n->prev) {
        struct request *r = container_of(n, struct request, active);
        if (!can_be_paused(r) || ran_ms(r, now_ns) < m->s->params.slice_ms) continue;
        struct slice slice = {.m = m, .r = r, .running = running_of(m, r->tenant)};
        struct queue_entry *e = queue_find(&m->queue, r->priority, has_less, &slice);
        if (!e) continue;
        struct request *w = request_of(e);
        log_debug(sched, "request %llu is paused after its time slice for %llu",
                  (unsigned long long)r->by_id.id, (unsigned long long)w->by_id.id);
        request_pause(r);
        if (!fits(m, w)) return false;
        start(m, w);
        return true;
    }
    return false;
}

/* The first of the queue does not fit. True: somebody was paused and another one has started. */
static bool make_way(struct sched_model *m)
{
    const struct sched_params *p = &m->s->params;
    int64_t now_ns = clock_mono_ns();
    if (p->pausing) {
        struct request *w = request_of(queue_urgent(&m->queue));
        if (pause_for(m, w, now_ns)) {
            start(m, w);
            return true;
        }
    }
    if (!p->slice_ms || now_ns / 1000000 < m->slices_ms + SLICE_LOOK_MS) return false;
    if (end_slice(m, now_ns)) return true; /* perhaps one more */
    m->slices_ms = now_ns / 1000000;
    return false;
}

void step_admit(struct sched_model *m)
{
    struct queue_entry *e;
    while ((e = queue_first(&m->queue))) {
        struct request *r = request_of(e);
        if (fits(m, r))
            start(m, r);
        else if (!make_way(m))
            return;
    }
}
