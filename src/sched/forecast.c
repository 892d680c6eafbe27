/* How long what waits will wait, and telling it.
 *
 * The queue is walked in the order in which it would be served if no more came, and the sequences
 * are given out in that order: a running request keeps its sequence for the tokens that its answer
 * is expected to have left, the next in the queue gets the sequence that is free first. What comes
 * out is as good as what the rates know (answers' lengths vary), so it is told, used to refuse what
 * can't make its deadline by a wide margin, and nothing else.
 *
 * A waiting request hears its position when it arrives, then when it has changed, at most every
 * FORECAST_MS. */
#include "base/clock.h"
#include "sched/sched_int.h"

enum {
    WALK_MAX = 4096,  /* waiting requests that are told; those behind them are told the depth */
    REFUSED_MAX = 64, /* hopeless requests that are refused at a time */
    DEADLINE_SLACK_MS = 500,
};

struct forecast {
    struct sched_model *m;
    int64_t free_ns[SLOTS_MAX]; /* from now; one for each sequence */
    int32_t n_free;
    bool known;
    int64_t now_ms;
    struct request *refused[REFUSED_MAX];
    int64_t refused_ms[REFUSED_MAX]; /* their waits */
    int32_t n_refused;
};

static struct request *request_of(struct queue_entry *e)
{
    return container_of(e, struct request, queued);
}

/* ---- when sequences get free ----------------------------------------------------------------- */

static int64_t choice_left_ns(const struct sched_model *m, const struct choice *c)
{
    int32_t prompt = 0;
    if (c->slot && c->n_tokens - c->slot->n_kv > 1) prompt = c->n_tokens - c->slot->n_kv;
    return rates_duration_ns(&m->rates, prompt, choice_expected(c));
}

static void add_free(struct forecast *f, int64_t ns)
{
    if (ns < 0) f->known = false;
    if (f->n_free < SLOTS_MAX) f->free_ns[f->n_free++] = ns;
}

/* An embedding model works through its inputs at one speed, whoever's they are. */
static void embedding_free(struct forecast *f)
{
    int64_t tokens = 0;
    list_each (node, &f->m->active) {
        const struct request *r = container_of(node, struct request, active);
        tokens += (int64_t)(r->embed.offsets[r->embed.n_inputs] - r->embed.offsets[r->embed.next]);
    }
    add_free(f, rates_duration_ns(&f->m->rates, (int32_t)tokens, 0));
}

static void find_free(struct forecast *f)
{
    const struct sched_model *m = f->m;
    if (m->embedding) {
        embedding_free(f);
        return;
    }
    for (int32_t i = 0; i < m->n_slots; i++) {
        const struct choice *c = m->slots[i].owner;
        add_free(f, c ? choice_left_ns(m, c) : 0);
    }
}

/* The sequence that is free first; NULL while nothing is loaded. */
static int64_t *first_free(struct forecast *f)
{
    int64_t *first = f->n_free ? &f->free_ns[0] : NULL;
    for (int32_t i = 1; i < f->n_free; i++)
        if (f->free_ns[i] < *first) first = &f->free_ns[i];
    return first;
}

static int64_t request_ns(const struct forecast *f, const struct request *r)
{
    const struct rates *rates = &f->m->rates;
    if (r->embedding) return rates_duration_ns(rates, r->usage.prompt_tokens, 0);
    /* Of a paused one what is missing; its tokens are in the cache. */
    int32_t prompt = r->started ? 0 : r->n_prompt, answers = 0;
    for (int32_t i = 0; i < r->n; i++) {
        const struct choice *c = &r->choices[i];
        if (c->state != CHOICE_ENDED) answers += choice_expected(c);
    }
    return rates_duration_ns(rates, prompt, answers);
}

/* ---- telling --------------------------------------------------------------------------------- */

static void tell(struct request *r, int32_t position, int64_t wait_ms)
{
    if (r->started || r->told_position == position) return;
    r->told_position = position;
    if (r->embedding) return; /* nobody hears of it */
    struct sched_event ev = {.type = SCHED_EV_QUEUED, .position = position, .wait_ms = wait_ms};
    request_emit(r, &ev);
}

/* Far too late, as it looks when it arrives. */
static bool hopeless(const struct forecast *f, const struct request *r, int64_t wait_ms)
{
    if (!r->deadline_ms || r->told_position >= 0 || r->started || wait_ms < 0) return false;
    int64_t left_ms = r->deadline_ms - f->now_ms;
    int64_t slack_ms = left_ms / 2 > DEADLINE_SLACK_MS ? left_ms / 2 : DEADLINE_SLACK_MS;
    return wait_ms > left_ms + slack_ms;
}

static bool visit(struct queue_entry *e, int32_t position, void *ctx)
{
    struct forecast *f = ctx;
    struct request *r = request_of(e);
    int64_t *slot = first_free(f), wait_ms = -1;
    if (slot && f->known) {
        int64_t ns = request_ns(f, r);
        wait_ms = *slot / 1000000;
        f->known = ns >= 0;
        if (hopeless(f, r, wait_ms) && f->n_refused < REFUSED_MAX) {
            f->refused[f->n_refused] = r;
            f->refused_ms[f->n_refused++] = wait_ms;
            r->told_position = position; /* that is no news for it any more */
            return true;
        }
        *slot += ns;
    }
    tell(r, position, wait_ms);
    return true;
}

int32_t retry_after_s(int64_t ms)
{
    int64_t s = (ms + 999) / 1000;
    return s < 1 ? 1 : s > RETRY_AFTER_MAX_S ? RETRY_AFTER_MAX_S : (int32_t)s;
}

static void refuse(struct forecast *f)
{
    for (int32_t i = 0; i < f->n_refused; i++) {
        struct request *r = f->refused[i];
        int64_t left_ms = r->deadline_ms - f->now_ms;
        struct error error;
        err_set(&error, ERR_BUSY,
                "the request must start within %.1f s, but %d are before it and it would wait "
                "about %.1f s; allow more time or try again later",
                (double)(left_ms > 0 ? left_ms : 0) / 1e3, queue_position(&f->m->queue, &r->queued),
                (double)f->refused_ms[i] / 1e3);
        error.retry_after_s = retry_after_s(f->refused_ms[i] - (left_ms > 0 ? left_ms : 0));
        request_refused(r, &error);
    }
}

/* Those who wait for the time when the walk did not come to them. */
static void tell_fresh(struct sched_model *m)
{
    struct sched *s = m->s;
    list_each_safe(n, &s->fresh)
    {
        struct request *r = container_of(n, struct request, active);
        if (r->model != m) continue;
        list_remove(n);
        if (r->told_position < 0) tell(r, m->queue.length - 1, -1);
    }
}

static int64_t first_free_ms(struct forecast *f)
{
    const int64_t *first = first_free(f);
    return first && f->known ? *first / 1000000 : -1;
}

void forecast(struct sched_model *m, int64_t now_ms)
{
    struct forecast f = {.m = m, .known = true, .now_ms = now_ms};
    find_free(&f);
    atomic_store(&m->next_place_ms, first_free_ms(&f));
    queue_walk(&m->queue, WALK_MAX, visit, &f);
    atomic_store(&m->wait_ms, first_free_ms(&f));
    tell_fresh(m);
    m->forecast_ms = now_ms;
    m->forecast_changes = m->queue.changes;
    refuse(&f);
}
