/* Sequences: what their KV cells hold, keeping it for later, and making room.
 *
 * An idle slot keeps its tokens in the KV cells as a prefix for a later request of the same tenant
 * (reuse.c). Before its cells are given to other tokens, and when there is nothing else to do, what
 * it holds is saved into the cache's memory and disk tiers, if that is worth it: if enough of it is
 * not there yet. A paused choice's slot is always worth it.
 *
 * KV cells are shared by all sequences of a context. A slot counts n_kv - n_shared of them: choices
 * of one request share the cells of their prompt, which are counted for the slot that decoded it.
 * That slot is held (not given to others) until the request ends, so the sums stay right. A prefix
 * that was copied from another request counts for both, even where the copy shares its cells: what
 * is counted is never less than what is used.
 *
 * Admission is by tokens: a request is let in if its prompt, a reserve for what it generates
 * (GENERATION_RESERVE, or less if its max_tokens is lower), and the same for every running sequence
 * fit into the cells; cached prefixes don't count, they are dropped when room is needed. Running
 * sequences may outgrow their reserve. If there is no cell left then, the least important request
 * goes back into the queue; its tokens are kept and decoded anew later, so its client sees a pause.
 * A request that is alone is never sent back: it ends with FINISH_LENGTH. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/doing.h"
#include "base/log.h"
#include "base/mem.h"
#include "sched/sched_int.h"

enum {
    KEEP_LEAST = 64, /* tokens that are not kept yet; fewer are soon decoded again */
    KEEP_LEAST_IDLE = 128,
    KEEP_IDLE_MS = 250, /* idle for so long, a slot's state is saved */
};

void slots_init(struct sched_model *m)
{
    m->fingerprint = engine_ctx_fingerprint(m->ctx);
    declared_init(m);
    for (int32_t i = 0; i < m->n_slots; i++) m->slots[i] = (struct slot){.seq = i};
    atomic_store(&m->n_idle, m->n_slots);
}

void slots_free(struct sched_model *m)
{
    doing_begin(DOING_STEP, m->id);
    declared_free(m);
    for (int32_t i = 0; i < m->n_slots; i++) {
        ht_assert(!m->slots[i].owner);
        if (m->slots[i].n_kv) slot_keep(m, &m->slots[i], true);
        free(m->slots[i].tokens);
        free(m->slots[i].tenant);
        m->slots[i] = (struct slot){0};
    }
    doing_end(DOING_STEP);
}

/* May r (NULL: nobody in particular) have it? */
bool slot_is_idle(const struct slot *slot, const struct request *r)
{
    return !slot->owner && (!slot->holder || slot->holder == r);
}

int32_t slots_idle(const struct sched_model *m, const struct request *r)
{
    int32_t n = 0;
    for (int32_t i = 0; i < m->n_slots; i++) n += slot_is_idle(&m->slots[i], r);
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
        if (slot_is_idle(slot, NULL)) continue;
        cells += cells_of(slot);
        const struct choice *c = slot->owner;
        if (!c) continue;
        if (c->state == CHOICE_RUNNING || c->state == CHOICE_FETCHING)
            cells += c->n_tokens - slot->n_kv;
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

int32_t slots_free_cells(const struct sched_model *m)
{
    int64_t used = 0;
    for (int32_t i = 0; i < m->n_slots; i++) used += cells_of(&m->slots[i]);
    return used < m->n_cells ? (int32_t)(m->n_cells - used) : 0;
}

/* ---- sequences ---------------------------------------------------------------------------- */

struct prefix slot_prefix(const struct sched_model *m, const struct slot *slot)
{
    return (struct prefix){.model = m->fingerprint,
                           .adapter = slot->adapter,
                           .n_declared =
                               slot->n_declared < slot->n_kv ? slot->n_declared : slot->n_kv,
                           .tenant = slot->tenant ? slot->tenant : "",
                           .tokens = slot->owner ? slot->owner->tokens : slot->tokens,
                           .n_tokens = slot->n_kv};
}

struct prefix choice_prefix(const struct sched_model *m, const struct choice *c)
{
    return (struct prefix){.model = m->fingerprint,
                           .adapter = c->req->adapter_key,
                           .n_declared = c->req->n_declared,
                           .tenant = c->req->tenant,
                           .tokens = c->tokens,
                           .n_tokens = c->n_tokens - 1}; /* the last one's output is needed */
}

void slot_forget(struct sched_model *m, struct slot *slot)
{
    engine_seq_remove(m->ctx, slot->seq, -1, -1);
    free(slot->tokens);
    free(slot->tenant);
    slot->tokens = NULL;
    slot->tenant = NULL;
    slot->n_kv = slot->n_shared = slot->n_declared = 0;
    slot->whole = slot->paused = false;
}

bool slot_truncate(struct sched_model *m, struct slot *slot, int32_t n)
{
    if (n == 0 || !engine_seq_remove(m->ctx, slot->seq, n, -1)) {
        engine_seq_remove(m->ctx, slot->seq, -1, -1);
        slot->n_kv = slot->n_shared = 0;
        slot->whole = false;
        return n == 0;
    }
    slot->n_kv = n;
    if (slot->n_shared > n) slot->n_shared = n;
    return true;
}

void slot_own(struct sched_model *m, struct slot *slot, struct choice *c)
{
    free(slot->tokens);
    free(slot->tenant);
    slot->tokens = NULL;
    slot->tenant = xstrdup(c->req->tenant);
    slot->adapter = c->req->adapter_key;
    slot->n_declared = c->req->n_declared;
    slot->paused = false;
    slot->owner = c;
    c->slot = slot;
    publish_idle(m);
}

/* ---- keeping ------------------------------------------------------------------------------ */

static bool worth_keeping(struct sched_model *m, const struct slot *slot, const struct prefix *p,
                          bool lost)
{
    int32_t covered;
    if (!cache_keeps(m->s->cache) || !cache_ready(m->s->cache)) return false;
    if (!m->fingerprint || slot->n_shared || slot->holder || slot->n_kv < PREFIX_BLOCK)
        return false;
    cache_find(m->s->cache, p, !engine_ctx_divisible(m->ctx), &covered);
    int32_t fresh = p->n_tokens - covered;
    if (slot->paused) return fresh > 0;
    if (lost) return fresh >= KEEP_LEAST && 8 * fresh >= p->n_tokens;
    return fresh >= KEEP_LEAST_IDLE && 4 * fresh >= p->n_tokens;
}

void slot_keep(struct sched_model *m, struct slot *slot, bool lost)
{
    struct prefix p = slot_prefix(m, slot);
    if (!worth_keeping(m, slot, &p, lost)) return;
    size_t size = engine_seq_size(m->ctx, slot->seq);
    struct blob *state = cache_takes(m->s->cache, size) ? blob_new(size) : NULL;
    if (!state) return;
    if (engine_seq_save(m->ctx, slot->seq, state->bytes, size) == size)
        cache_put(m->s->cache, &p, m->facts.weight_bytes, state);
    else
        blob_unref(state);
}

/* ms until the slot's state is to be saved; 0: now; -1: never. */
static int64_t keep_due(const struct slot *slot, int64_t now_ms)
{
    if (!slot_is_idle(slot, NULL) || !slot->n_kv || slot->kept) return -1;
    int64_t left = slot->idle_since_ms + KEEP_IDLE_MS - now_ms;
    return left > 0 ? left : 0;
}

int64_t slots_tend(struct sched *s)
{
    int64_t next = -1, now_ms = clock_mono_ms();
    if (!cache_keeps(s->cache)) return -1;
    list_each (node, &s->ready) {
        struct sched_model *m = container_of(node, struct sched_model, ready);
        for (int32_t i = 0; i < m->n_slots; i++) {
            int64_t due = keep_due(&m->slots[i], now_ms);
            if (due == 0) { /* one at a time: commands are heard in between */
                m->slots[i].kept = true;
                doing_begin(DOING_STEP, m->id);
                slot_keep(m, &m->slots[i], false);
                doing_end(DOING_STEP);
                return 0;
            }
            if (due > 0 && (next < 0 || due < next)) next = due;
        }
    }
    return next;
}

/* A copy of the tokens that are in the cells, for a choice that still needs its own. */
static int32_t *copy_tokens(const struct choice *c, int32_t n)
{
    int32_t *copy = try_calloc((size_t)n, sizeof *copy);
    if (copy) memcpy(copy, c->tokens, (size_t)n * sizeof *copy);
    return copy;
}

void slot_release(struct sched_model *m, struct slot *slot, bool keep)
{
    struct choice *c = slot->owner;
    bool ended = c->state == CHOICE_ENDED;
    /* After a context shift its cells are not what its tokens would give. */
    if (keep && slot->n_kv && !c->n_dropped) {
        slot->tokens = ended ? c->tokens : copy_tokens(c, slot->n_kv);
        if (ended) c->tokens = NULL; /* it has no further use for them */
    }
    slot->owner = NULL;
    slot->last_used = ++m->uses;
    slot->idle_since_ms = clock_mono_ms();
    slot->kept = false;
    slot->paused = !ended;
    c->slot = NULL;
    if (!slot->tokens) slot_forget(m, slot);
    publish_idle(m);
}

bool slot_share(struct sched_model *m, struct slot *from, struct slot *to)
{
    if (!engine_seq_copy(m->ctx, from->seq, to->seq, -1, -1)) return false;
    to->n_kv = from->n_kv;
    to->n_shared = m->shared_kv ? from->n_kv : 0;
    to->whole = from->whole;
    if (m->shared_kv) from->holder = from->owner->req;
    return true;
}

void slots_unhold(struct sched_model *m, const struct request *r)
{
    for (int32_t i = 0; i < m->n_slots; i++) {
        struct slot *slot = &m->slots[i];
        if (slot->holder != r) continue;
        slot->holder = NULL;
        if (slot->n_shared && !slot->owner) slot_forget(m, slot);
    }
    publish_idle(m);
}

/* ---- making room -------------------------------------------------------------------------- */

static bool drop_cached(struct sched_model *m)
{
    struct slot *oldest = NULL;
    for (int32_t i = 0; i < m->n_slots; i++) {
        struct slot *slot = &m->slots[i];
        if (!slot_is_idle(slot, NULL) || !slot->n_kv) continue;
        if (!oldest || slot->last_used < oldest->last_used) oldest = slot;
    }
    if (oldest) {
        slot_keep(m, oldest, true);
        slot_forget(m, oldest);
    }
    return oldest;
}

int32_t slots_room(struct sched_model *m, int32_t want)
{
    while (slots_free_cells(m) < want && drop_cached(m)) {
    }
    return slots_free_cells(m);
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
    int32_t most = m->n_cells - slots_free_cells(m) + n - 1;
    if (most < m->n_cells) {
        log_warn(sched, "%s has only %d KV cells of %d", m->id, most, m->n_cells);
        m->n_cells = most;
    }
    slots_relieve(m);
}
