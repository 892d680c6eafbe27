/* Admission: which waiting requests become active, and how their choices get sequences.
 *
 * A request for n choices decodes its prompt once: the first choice that starts leads, the others
 * that got a slot share its cells as soon as the prompt is complete and sample from the same
 * output. Choices for which there is no slot start when one of the request's own ends; they find
 * the prompt in its cache. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/metrics.h"
#include "sched/sched_int.h"

static bool has_tokens(struct choice *c)
{
    if (c->tokens) return true;
    struct request *r = c->req;
    c->tokens = try_calloc((size_t)r->n_longest, sizeof *c->tokens);
    if (!c->tokens) return false;
    memcpy(c->tokens, r->prompt_tokens, (size_t)r->n_prompt * sizeof *c->tokens);
    c->n_tokens = r->n_prompt;
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
        if (!has_tokens(c)) {
            request_fail(r, ERR_NOMEM, "no memory for a sequence of %d tokens", r->n_longest);
            return false;
        }
        if (leader && c->n_generated == 0) {
            slot_attach_empty(m, c);
            c->state = CHOICE_SHARING;
            continue;
        }
        int32_t cached = 0;
        if (r->deterministic)
            slot_attach_empty(m, c); /* what is cached was computed in other steps */
        else
            cached = slot_attach(m, c);
        c->state = CHOICE_RUNNING;
        if (c->n_generated == 0) leader = c;
        if (r->started) continue;
        r->usage.cached_tokens = cached;
        r->timings.prefill_tokens = r->n_prompt - cached;
    }
    return true;
}

static void tell_started(struct request *r)
{
    r->started = true;
    metric_add(METRIC_prompt_tokens_total, r->n_prompt);
    metric_add(METRIC_prompt_tokens_cached_total, r->usage.cached_tokens);
    struct sched_event ev = {.type = SCHED_EV_STARTED,
                             .usage = r->usage,
                             .adapter = r->adapter ? r->adapter->name : NULL};
    request_emit(r, &ev);
}

static void start(struct sched_model *m, struct request *r)
{
    request_started(r);
    bool first = !r->started;
    if (r->max_tokens != 0 && !start_choices(m, r)) return;
    if (first) tell_started(r);
    if (r->max_tokens != 0) return;
    int32_t n = r->n;
    for (int32_t i = 0; i < n; i++) choice_end(&r->choices[i], FINISH_LENGTH);
}

void step_admit(struct sched_model *m)
{
    for (;;) {
        struct queue_entry *e = queue_first(&m->queue);
        if (!e) return;
        struct request *r = container_of(e, struct request, queued);
        if (!slots_idle(m, r) || !slots_fit(m, r)) return;
        start(m, r);
    }
}
