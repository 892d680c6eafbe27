/* What goes into the next batch of a generating model.
 *
 * One token for each sequence that generates; then prompt tokens, the most important request's
 * first, up to a budget.
 *
 * The budget is one physical batch (n_ubatch): libllama computes a larger one in such pieces
 * anyway, and between batches commands are heard and new requests join. While others generate it is
 * PREFILL_BESIDE_STREAMS, so that a long prompt never stalls them for long. */
#include "base/mem.h"
#include "sched/sched_int.h"

static bool generates(const struct choice *c)
{
    return c->n_generated > 0 && c->n_tokens - c->slot->n_kv == 1;
}

/* Running choices that generate, and tokens that the others have to decode first. */
static int32_t count_work(const struct sched_model *m, int64_t *prefill)
{
    int32_t streams = 0;
    *prefill = 0;
    list_each (node, &m->active) {
        const struct request *r = container_of(node, struct request, active);
        for (int32_t i = 0; i < r->n; i++) {
            const struct choice *c = &r->choices[i];
            if (c->state != CHOICE_RUNNING) continue;
            if (generates(c))
                streams++;
            else
                *prefill += c->n_tokens - c->slot->n_kv;
        }
    }
    return streams;
}

static void add_part(struct sched_model *m, struct choice *c, int32_t n)
{
    struct slot *slot = c->slot;
    ht_assert(n > 0 && slot->n_kv + n <= c->n_tokens && m->n_batched + n <= m->n_batch);
    bool complete = slot->n_kv + n == c->n_tokens;
    for (int32_t i = 0; i < n; i++)
        m->batch[m->n_batched + i] = (struct engine_batch_token){.token = c->tokens[slot->n_kv + i],
                                                                 .pos = slot->n_kv + i,
                                                                 .seq = slot->seq,
                                                                 .output = complete && i == n - 1};
    m->n_batched += n;
    m->parts[m->n_parts++] =
        (struct part){.choice = c, .n = n, .output = complete ? m->n_batched - 1 : -1};
}

static int32_t least(int64_t a, int64_t b)
{
    return (int32_t)(a < b ? a : b);
}

/* How many tokens of each running choice come next, in the order of admission. */
static void plan(struct sched_model *m, int32_t budget)
{
    list_each (node, &m->active) {
        struct request *r = container_of(node, struct request, active);
        for (int32_t i = 0; i < r->n; i++) {
            struct choice *c = &r->choices[i];
            if (c->state != CHOICE_RUNNING) continue;
            c->n_next = generates(c) ? 1 : least(c->n_tokens - c->slot->n_kv, budget);
            if (!generates(c)) budget -= c->n_next;
        }
    }
}

void batch_build(struct sched_model *m)
{
    int64_t prefill;
    int32_t streams = count_work(m, &prefill);
    int32_t budget = streams ? PREFILL_BESIDE_STREAMS : m->n_ubatch;
    budget = least(prefill, least(budget, m->n_batch - streams));
    int32_t room = slots_room(m, streams + budget) - streams;
    m->n_batched = m->n_parts = 0;
    if (room < 0 || (!streams && !room)) {
        slots_relieve(m);
        return;
    }
    plan(m, least(budget, room));
    /* By sequence: libllama computes together only sequences whose ids follow each other. */
    for (int32_t i = 0; i < m->n_slots; i++) {
        struct choice *c = m->slots[i].owner;
        if (c && c->state == CHOICE_RUNNING && c->n_next > 0) add_part(m, c, c->n_next);
    }
}

static bool contains(const uint64_t *ids, int32_t n, uint64_t id)
{
    for (int32_t i = 0; i < n; i++)
        if (ids[i] == id) return true;
    return false;
}

int32_t batch_requests(const struct sched_model *m, uint64_t *ids)
{
    int32_t n = 0;
    for (int32_t i = 0; i < m->n_parts; i++) {
        uint64_t id = m->parts[i].choice->req->by_id.id;
        if (!contains(ids, n, id)) ids[n++] = id;
    }
    return n;
}
