/* Sequences: which slot a choice gets, reuse of cached prefixes, KV cells, and making room.
 *
 * An idle slot keeps its tokens in the KV cache as a prefix for a later request of the same tenant:
 * never for another one's, so that nobody can find out by timing what others asked. A choice gets
 * the idle slot with the longest common prefix if that is worth it, else an empty one, else the one
 * that was used longest ago. At least one token is always decoded anew, because its output is
 * needed.
 *
 * KV cells are shared by all sequences of a context. A slot counts n_kv - n_shared of them: choices
 * of one request share the cells of their prompt, which are counted for the slot that decoded it.
 * That slot is held (not given to others) until the request ends, so the sums stay right.
 *
 * Admission is by tokens: a request is let in if its prompt, a reserve for what it generates
 * (GENERATION_RESERVE, or less if its max_tokens is lower), and the same for every running sequence
 * fit into the cells; cached prefixes don't count, they are dropped when room is needed. Running
 * sequences may outgrow their reserve. If there is no cell left then, the least important request
 * goes back into the queue; its tokens are kept and decoded anew later, so its client sees a pause.
 * A request that is alone is never sent back: it ends with FINISH_LENGTH. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "sched/sched_int.h"

void slots_init(struct sched_model *m)
{
    for (int32_t i = 0; i < m->n_slots; i++) m->slots[i] = (struct slot){.seq = i};
    atomic_store(&m->n_idle, m->n_slots);
}

void slots_free(struct sched_model *m)
{
    for (int32_t i = 0; i < m->n_slots; i++) {
        ht_assert(!m->slots[i].owner);
        free(m->slots[i].tokens);
        free(m->slots[i].tenant);
    }
}

/* May r (NULL: nobody in particular) have it? */
static bool is_idle(const struct slot *slot, const struct request *r)
{
    return !slot->owner && (!slot->holder || slot->holder == r);
}

int32_t slots_idle(const struct sched_model *m, const struct request *r)
{
    int32_t n = 0;
    for (int32_t i = 0; i < m->n_slots; i++) n += is_idle(&m->slots[i], r);
    return n;
}

static void publish_idle(struct sched_model *m)
{
    atomic_store(&m->n_idle, slots_idle(m, NULL));
}

/* ---- counting cells ----------------------------------------------------------------------- */

static int32_t cells_of(const struct slot *slot)
{
    return slot->n_kv - slot->n_shared;
}

static int32_t reserve(const struct request *r, int32_t n_tokens)
{
    int32_t left = r->n_longest - n_tokens;
    return left < GENERATION_RESERVE ? left : GENERATION_RESERVE;
}

/* What the running sequences use and will need. */
static int64_t committed(const struct sched_model *m)
{
    int64_t cells = 0;
    for (int32_t i = 0; i < m->n_slots; i++) {
        const struct slot *slot = &m->slots[i];
        if (is_idle(slot, NULL)) continue;
        cells += cells_of(slot);
        const struct choice *c = slot->owner;
        if (!c) continue;
        if (c->state == CHOICE_RUNNING) cells += c->n_tokens - slot->n_kv;
        cells += reserve(c->req, c->n_tokens);
    }
    return cells;
}

bool slots_fit(const struct sched_model *m, const struct request *r)
{
    if (list_empty(&m->active)) return true;
    int64_t need = 0;
    int32_t idle = slots_idle(m, r);
    bool prompt_counted = false;
    for (int32_t i = 0; i < r->n && idle > 0; i++) {
        const struct choice *c = &r->choices[i];
        if (c->state != CHOICE_WAITING) continue;
        idle--;
        int32_t n = c->n_generated ? c->n_tokens : r->n_prompt;
        if (c->n_generated || !prompt_counted) need += n;
        prompt_counted |= !c->n_generated;
        need += reserve(r, n);
    }
    return committed(m) + need <= m->n_cells;
}

static int32_t cells_free(const struct sched_model *m)
{
    int64_t used = 0;
    for (int32_t i = 0; i < m->n_slots; i++) used += cells_of(&m->slots[i]);
    return used < m->n_cells ? (int32_t)(m->n_cells - used) : 0;
}

/* ---- sequences ---------------------------------------------------------------------------- */

static void forget(struct sched_model *m, struct slot *slot)
{
    engine_seq_remove(m->ctx, slot->seq, -1, -1);
    free(slot->tokens);
    free(slot->tenant);
    slot->tokens = NULL;
    slot->tenant = NULL;
    slot->n_kv = slot->n_shared = 0;
}

bool slot_truncate(struct sched_model *m, struct slot *slot, int32_t n)
{
    if (n == 0 || !engine_seq_remove(m->ctx, slot->seq, n, -1)) {
        engine_seq_remove(m->ctx, slot->seq, -1, -1);
        slot->n_kv = slot->n_shared = 0;
        return n == 0;
    }
    slot->n_kv = n;
    if (slot->n_shared > n) slot->n_shared = n;
    return true;
}

/* Tokens at the start of c that the idle slot has in its cells. */
static int32_t common_prefix(const struct slot *slot, const struct choice *c)
{
    if (!slot->tenant || strcmp(slot->tenant, c->req->tenant) != 0) return 0;
    int32_t most = slot->n_kv < c->n_tokens - 1 ? slot->n_kv : c->n_tokens - 1, n = 0;
    while (n < most && slot->tokens[n] == c->tokens[n]) n++;
    return n;
}

/* A short match does not justify throwing a long cached prefix away. */
static bool worth_it(const struct slot *slot, const struct choice *c, int32_t n)
{
    return n > 0 && (2 * n >= slot->n_kv || 2 * n >= c->n_tokens);
}

static struct slot *least_recent(struct sched_model *m, const struct request *r)
{
    struct slot *best = NULL;
    for (int32_t i = 0; i < m->n_slots; i++) {
        struct slot *slot = &m->slots[i];
        if (!is_idle(slot, r)) continue;
        if (slot->n_kv == 0) return slot;
        if (!best || slot->last_used < best->last_used) best = slot;
    }
    ht_assert(best);
    return best;
}

static void own(struct sched_model *m, struct slot *slot, struct choice *c)
{
    free(slot->tokens);
    free(slot->tenant);
    slot->tokens = NULL;
    slot->tenant = xstrdup(c->req->tenant);
    slot->owner = c;
    c->slot = slot;
    publish_idle(m);
}

int32_t slot_attach(struct sched_model *m, struct choice *c)
{
    struct slot *best = NULL;
    int32_t n = 0;
    for (int32_t i = 0; i < m->n_slots; i++) {
        struct slot *slot = &m->slots[i];
        if (!is_idle(slot, c->req)) continue;
        int32_t common = common_prefix(slot, c);
        if (common <= n || !worth_it(slot, c, common)) continue;
        best = slot;
        n = common;
    }
    if (!best) {
        best = least_recent(m, c->req);
        n = common_prefix(best, c);
    }
    if (n < best->n_kv && !slot_truncate(m, best, n)) n = 0;
    own(m, best, c);
    return n;
}

void slot_attach_empty(struct sched_model *m, struct choice *c)
{
    struct slot *slot = least_recent(m, c->req);
    forget(m, slot);
    own(m, slot, c);
}

void slot_release(struct sched_model *m, struct slot *slot, bool keep)
{
    struct choice *c = slot->owner;
    slot->owner = NULL;
    slot->last_used = ++m->uses;
    c->slot = NULL;
    if (c->n_dropped) keep = false; /* its cells are not what its tokens would give */
    if (keep && slot->n_kv && c->state == CHOICE_ENDED) {
        slot->tokens = c->tokens; /* it has no further use for them */
        c->tokens = NULL;
    } else if (keep && slot->n_kv) {
        size_t n = (size_t)slot->n_kv;
        slot->tokens = try_calloc(n, sizeof *slot->tokens);
        if (slot->tokens) memcpy(slot->tokens, c->tokens, n * sizeof *slot->tokens);
    }
    if (!slot->tokens) forget(m, slot);
    publish_idle(m);
}

void slot_share(struct sched_model *m, struct slot *from, struct slot *to)
{
    engine_seq_copy(m->ctx, from->seq, to->seq, -1, -1);
    to->n_kv = to->n_shared = from->n_kv;
    from->holder = from->owner->req;
}

void slots_unhold(struct sched_model *m, const struct request *r)
{
    for (int32_t i = 0; i < m->n_slots; i++) {
        struct slot *slot = &m->slots[i];
        if (slot->holder != r) continue;
        slot->holder = NULL;
        if (slot->n_shared && !slot->owner) forget(m, slot);
    }
    publish_idle(m);
}

/* ---- making room -------------------------------------------------------------------------- */

static bool drop_cached(struct sched_model *m)
{
    struct slot *oldest = NULL;
    for (int32_t i = 0; i < m->n_slots; i++) {
        struct slot *slot = &m->slots[i];
        if (!is_idle(slot, NULL) || !slot->n_kv) continue;
        if (!oldest || slot->last_used < oldest->last_used) oldest = slot;
    }
    if (oldest) forget(m, oldest);
    return oldest;
}

int32_t slots_room(struct sched_model *m, int32_t want)
{
    while (cells_free(m) < want && drop_cached(m)) {
    }
    return cells_free(m);
}

static void preempt(struct sched_model *m, struct request *r)
{
    log_debug(sched, "no KV cell is left in %s: request %llu waits", m->id,
              (unsigned long long)r->by_id.id);
    for (int32_t i = 0; i < r->n; i++) {
        struct choice *c = &r->choices[i];
        if (!c->slot) continue;
        slot_release(m, c->slot, false);
        c->state = CHOICE_WAITING;
    }
    slots_unhold(m, r);
    request_requeue(r);
}

/* The last running choice of the only request. */
static void cut_short(struct request *r)
{
    for (int32_t i = r->n - 1; i >= 0; i--) {
        struct choice *c = &r->choices[i];
        if (c->state != CHOICE_RUNNING) continue;
        if (c->n_generated == 0) break;
        choice_end(c, FINISH_LENGTH);
        return;
    }
    request_fail(r, ERR_NOMEM,
                 "the context of %s has no room for this prompt of %d tokens; raise the context "
                 "size or ask for fewer choices",
                 r->model->id, r->n_prompt);
}

void slots_relieve(struct sched_model *m)
{
    if (drop_cached(m)) return;
    ht_assert(!list_empty(&m->active));
    struct request *last = container_of(m->active.prev, struct request, active);
    if (m->active.next == &last->active)
        cut_short(last);
    else
        preempt(m, last);
}

void slots_overfull(struct sched_model *m, int32_t n)
{
    int32_t most = m->n_cells - cells_free(m) + n - 1;
    if (most < m->n_cells) {
        log_warn(sched, "%s has only %d KV cells of %d", m->id, most, m->n_cells);
        m->n_cells = most;
    }
    slots_relieve(m);
}
