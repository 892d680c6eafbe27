/* Where the beginning of a choice's tokens comes from, and which slot it gets.
 *
 * Looked for, token by token, and only in what was computed with the same adapter for the same
 * tenant (or is a declared prefix, declared.c), are
 *
 *   IN_PLACE  an idle slot, whose other tokens are few enough to lose: it is taken over
 *   COPY      another slot's cells, idle or running: copied, at a fraction of a percent of the time
 *             that decoding takes; what the slot holds stays as it is
 *   RESTORE   a state that is kept in memory
 *   FETCH     a state that is kept on disk: the choice waits until it has been read
 *   FOLLOW    the prompt of a more important or earlier request that is just being decoded: the
 *             choice waits until that is as far as they go together. Several requests that arrive
 *             with the same long prompt cost one prefill.
 *
 * and the longest one is taken. A choice that waits is FETCHING; it holds its slot, and where it
 * gets its beginning from is decided anew in every step, so whatever happens to what it waited for
 * (cancelled, paused, damaged), it goes on with the best that is there, at worst with nothing.
 *
 * The slot is an empty one, else one of those used longest ago, whose content is saved first;
 * beside a running one if there is a choice. */
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "sched/sched_int.h"

enum {
    COPY_LEAST = 8,       /* tokens worth a copy */
    HIT_LEAST = 32,       /* tokens; fewer are the template's, and no hit */
    BETTER_BY = 32,       /* tokens by which a dearer source must be better */
    TAIL_MOST = 64,       /* tokens that a slot may lose when it is taken over, or ... */
    TAIL_SHARE = 8,       /* ... this part of what it is taken over for */
    FETCH_MOST_MS = 3000, /* a disk that is slower than this is as good as none */
    CONTEXT_BEFORE = 16,  /* tokens of an explanation before the one that differs */
};

enum how { NOTHING, IN_PLACE, COPY, RESTORE, FETCH, FOLLOW };

struct source {
    enum how how;
    struct slot *slot;         /* IN_PLACE, COPY, FOLLOW */
    struct cache_entry *entry; /* RESTORE, FETCH */
    int32_t n;                 /* tokens */
};

/* ---- looking ------------------------------------------------------------------------------ */

/* How much of a slot's n common tokens can be used: all, or nothing where its memory can't be cut.
 */
static int32_t usable(const struct sched_model *m, const struct slot *slot, int32_t n)
{
    bool whole = slot->whole || !engine_ctx_divisible(m->ctx);
    return whole && n < slot->n_kv ? 0 : n;
}

/* Is a before b among the active requests? */
static bool goes_first(const struct sched_model *m, const struct request *a,
                       const struct request *b)
{
    if (a == b) return true;
    list_each (node, &m->active) {
        if (node == &a->active) return true;
        if (node == &b->active) return false;
    }
    return false;
}

/* What the slot will have in common with c when its owner's prompt is decoded; 0 = not more than
 * now. */
static int32_t promises(const struct sched_model *m, const struct slot *slot,
                        const struct prefix *want, const struct choice *c)
{
    const struct choice *leader = slot->owner;
    if (!leader || leader->state != CHOICE_RUNNING || !engine_ctx_divisible(m->ctx)) return 0;
    if (!goes_first(m, leader->req, c->req)) return 0;
    struct prefix p = slot_prefix(m, slot);
    p.n_tokens = leader->n_tokens;
    p.n_declared = slot->n_declared;
    int32_t n = prefix_common(want, &p);
    return n > slot->n_kv ? n : 0;
}

/* The best of the slots for each way to use one. */
struct slots_found {
    struct source idle, running, leader;
};

static void look_at_slots(struct sched_model *m, const struct choice *c, const struct prefix *want,
                          struct slots_found *f)
{
    *f = (struct slots_found){0};
    for (int32_t i = 0; i < m->n_slots; i++) {
        struct slot *slot = &m->slots[i];
        if (slot == c->slot || !slot->tenant) continue;
        if (slot->owner && slot->owner->n_dropped) continue; /* shifted: no prefix of anything */
        struct prefix have = slot_prefix(m, slot);
        int32_t n = usable(m, slot, prefix_common(want, &have));
        struct source *best = slot_is_idle(slot, c->req) ? &f->idle : &f->running;
        if (n > best->n) *best = (struct source){.slot = slot, .n = n};
        n = promises(m, slot, want, c);
        if (n > f->leader.n) f->leader = (struct source){.how = FOLLOW, .slot = slot, .n = n};
    }
}

/* May the idle slot lose what it has beyond the n tokens? */
static bool may_take_over(const struct sched_model *m, const struct slot *slot, int32_t n,
                          const struct choice *c)
{
    int32_t tail = slot->n_kv - n;
    if (tail == 0 || slots_idle(m, c->req) == 1) return true;
    if (slot->paused) return false;
    if (m->shared_kv) return 2 * n >= slot->n_kv || 2 * n >= c->n_tokens;
    return (tail <= TAIL_MOST && tail <= n) || tail <= n / TAIL_SHARE;
}

static struct source from_slot(const struct sched_model *m, const struct choice *c,
                               const struct slots_found *f)
{
    if (f->idle.n == 0 && f->running.n == 0) return (struct source){0};
    struct source s = f->running.n > f->idle.n ? f->running : f->idle;
    bool idle = s.slot == f->idle.slot;
    s.how = COPY;
    if (idle && !c->slot && may_take_over(m, s.slot, s.n, c)) s.how = IN_PLACE;
    if (s.how == IN_PLACE) return s;
    bool room = !m->shared_kv || slots_free_cells(m) >= s.n;
    return s.n >= COPY_LEAST && room ? s : (struct source){0};
}

static struct source choose(struct sched_model *m, struct choice *c)
{
    struct prefix want = choice_prefix(m, c);
    struct cache *cache = m->s->cache;
    struct slots_found found;
    look_at_slots(m, c, &want, &found);
    struct source s = from_slot(m, c, &found);
    int32_t n;
    bool patient = !c->fetching_since_ms || clock_mono_ms() < c->fetching_since_ms + FETCH_MOST_MS;
    struct cache_entry *e = cache_find(cache, &want, !engine_ctx_divisible(m->ctx), &n);
    if (e && n >= s.n + BETTER_BY) {
        bool there = cache_state(e);
        if (there || patient)
            s = (struct source){.how = there ? RESTORE : FETCH, .entry = e, .n = n};
    }
    if (!cache_ready(cache) && patient && m->fingerprint && want.n_tokens >= s.n + BETTER_BY)
        s = (struct source){.how = FETCH, .n = s.n};
    if (found.leader.n >= s.n + BETTER_BY) s = found.leader;
    return s;
}

/* ---- why not more -------------------------------------------------------------------------- */

/* Bytes of a text that people are to read in a line. */
static void put_readable(struct buf *out, const char *text, size_t len)
{
    for (size_t i = 0; i < len;) {
        size_t n = utf8_next(text + i, len - i);
        if (n == 1 && text[i] == '\n')
            buf_puts(out, "\\n");
        else if (n > 1 || (n == 1 && text[i] >= ' ' && text[i] != 127))
            buf_append(out, text + i, n);
        else
            buf_puts(out, "\xEF\xBF\xBD");
        i += n ? n : 1;
    }
}

static void put_tokens(struct buf *out, const struct sched_model *m, const int32_t *tokens,
                       int32_t from, int32_t to)
{
    struct buf text;
    buf_init(&text, 4096);
    for (int32_t i = from < 0 ? 0 : from; i < to; i++)
        engine_token_text(m->engine_model, tokens[i], true, &text);
    put_readable(out, buf_str(&text), text.len);
    buf_free(&text);
}

/* The sequence that goes along with the prompt longest; of this tenant only. */
static struct prefix nearest(struct sched_model *m, const struct choice *c,
                             const struct prefix *want, int32_t *n)
{
    struct prefix best = {0};
    struct cache_entry *e = cache_find(m->s->cache, want, false, n);
    if (e) best = *cache_prefix(e);
    if (e && strcmp(best.tenant, want->tenant) != 0) *n = 0;
    for (int32_t i = 0; i < m->n_slots; i++) {
        const struct slot *slot = &m->slots[i];
        if (slot == c->slot || !slot->tenant || strcmp(slot->tenant, want->tenant) != 0) continue;
        struct prefix p = slot_prefix(m, slot);
        int32_t common = prefix_common(want, &p);
        if (common <= *n) continue;
        best = p;
        *n = common;
    }
    return best;
}

static const char *nothing_because(struct sched_model *m, const struct choice *c,
                                   const struct prefix *want)
{
    if (cache_evicted(m->s->cache, want))
        return "evicted: what was kept of this beginning had to make room";
    bool other = cache_other_adapter(m->s->cache, want);
    for (int32_t i = 0; i < m->n_slots && !other; i++) {
        const struct slot *slot = &m->slots[i];
        if (slot == c->slot || !slot->tenant || strcmp(slot->tenant, want->tenant) != 0) continue;
        struct prefix p = slot_prefix(m, slot);
        if (p.adapter == want->adapter) continue;
        p.adapter = want->adapter;
        other = prefix_common(want, &p) >= PREFIX_BLOCK;
    }
    if (other) return "other adapter: this beginning is kept as computed with another one";
    return "no entry: no prompt that is kept begins like this";
}

/* Says in the report why not more than n tokens were found. What is kept for other tenants is never
 * spoken of. */
static void explain(struct sched_model *m, const struct choice *c, int32_t n)
{
    struct cache_report *r = &c->req->cache;
    struct prefix want = choice_prefix(m, c);
    int32_t common;
    if (c->req->started) return;
    r->miss[0] = '\0';
    if (n == want.n_tokens) return;
    struct prefix have = nearest(m, c, &want, &common);
    if (common >= want.n_tokens || (n && common && common >= have.n_tokens)) return;
    struct buf b;
    char text[2 * CACHE_MISS_MAX];
    buf_init_fixed(&b, text, sizeof text);
    if (common < PREFIX_BLOCK || common >= have.n_tokens) {
        buf_puts(&b, nothing_because(m, c, &want));
    } else {
        buf_printf(&b, "token %d differs: after \"", common);
        put_tokens(&b, m, want.tokens, common - CONTEXT_BEFORE, common);
        buf_puts(&b, "\" comes \"");
        put_tokens(&b, m, c->tokens, common, common + 1);
        buf_puts(&b, "\", kept is \"");
        put_tokens(&b, m, have.tokens, common, common + 1);
        buf_puts(&b, "\"");
    }
    size_t len = utf8_cut(text, b.len, sizeof r->miss - 1);
    memcpy(r->miss, text, len);
    r->miss[len] = '\0';
}

/* ---- taking ------------------------------------------------------------------------------- */

static int32_t busy_neighbours(const struct sched_model *m, const struct slot *slot)
{
    const struct slot *first = m->slots, *last = m->slots + m->n_slots - 1;
    return (slot > first && slot[-1].owner) + (slot < last && slot[1].owner);
}

/* Does a suit better than b? A slot whose neighbours are running can be computed together with them
 * (batch.c), so it is preferred among the empty ones, and in the half that was used longest ago. */
static bool suits_better(const struct sched_model *m, const struct slot *a, const struct slot *b,
                         uint64_t middle)
{
    if (!b) return true;
    if ((a->n_kv == 0) != (b->n_kv == 0)) return a->n_kv == 0;
    bool old_a = a->last_used <= middle, old_b = b->last_used <= middle;
    if (a->n_kv && old_a != old_b) return old_a;
    int32_t n_a = busy_neighbours(m, a), n_b = busy_neighbours(m, b);
    if (n_a != n_b && (!a->n_kv || old_a)) return n_a > n_b;
    return a->n_kv && a->last_used < b->last_used;
}

/* The mean of the idle slots' last uses: about half of them are older. */
static uint64_t middle_use(const struct sched_model *m, const struct request *r)
{
    uint64_t sum = 0, n = 0;
    for (int32_t i = 0; i < m->n_slots; i++) {
        if (!slot_is_idle(&m->slots[i], r)) continue;
        sum += m->slots[i].last_used;
        n++;
    }
    return n ? sum / n : 0;
}

static struct slot *least_useful(struct sched_model *m, const struct request *r,
                                 const struct slot *but)
{
    struct slot *best = NULL;
    uint64_t middle = middle_use(m, r);
    for (int32_t i = 0; i < m->n_slots; i++) {
        struct slot *slot = &m->slots[i];
        if (slot == but || !slot_is_idle(slot, r)) continue;
        if (suits_better(m, slot, best, middle)) best = slot;
    }
    ht_assert(best);
    return best;
}

/* An empty slot for c. but: another one than this. */
static void take_empty(struct sched_model *m, struct choice *c, const struct slot *but)
{
    struct slot *slot = least_useful(m, c->req, but);
    slot_keep(m, slot, true);
    slot_forget(m, slot);
    slot_own(m, slot, c);
}

static int32_t copy(struct sched_model *m, struct slot *from, struct slot *to, int32_t n)
{
    if (!engine_seq_copy(m->ctx, from->seq, to->seq, -1, n < from->n_kv ? n : -1)) return 0;
    to->n_kv = n;
    to->whole = from->whole;
    return n;
}

/* The entry is not valid any more. */
static int32_t restore(struct sched_model *m, struct cache_entry *e, struct slot *to, int32_t n)
{
    struct error error;
    int32_t all = cache_prefix(e)->n_tokens;
    struct blob *state = cache_take(m->s->cache, e);
    bool room = !m->shared_kv || slots_room(m, all) >= all; /* may evict the entry */
    enum err failed = OK;
    if (room) failed = engine_seq_restore(m->ctx, to->seq, state->bytes, state->size, &error);
    blob_unref(state);
    if (failed)
        log_debug(sched, "a kept state of %d tokens does not fit into %s: %s", all, m->id,
                  error.msg);
    if (!room || failed) return 0;
    to->n_kv = all;
    to->whole = !engine_ctx_divisible(m->ctx);
    return slot_truncate(m, to, n) ? n : 0;
}

static void report(struct request *r, int32_t n, enum cache_source source)
{
    r->cache.source = n ? source : CACHE_NONE;
    r->cache.cached_tokens = n < r->n_prompt ? n : r->n_prompt;
}

/* Fills c's slot, which is empty unless it is taken over. */
static int32_t fill(struct sched_model *m, struct choice *c, const struct source *s)
{
    struct cache *cache = m->s->cache;
    enum cache_source source = CACHE_SEQUENCE;
    int32_t n = 0;
    switch (s->how) {
    case IN_PLACE: n = slot_truncate(m, c->slot, s->n) ? s->n : 0; break;
    case COPY: n = copy(m, s->slot, c->slot, s->n); break;
    case RESTORE:
        n = restore(m, s->entry, c->slot, s->n);
        source = c->fetched ? CACHE_DISK : CACHE_MEMORY;
        break;
    default: break;
    }
    if (!c->req->started) report(c->req, n, source);
    if (n >= HIT_LEAST)
        cache_hit(cache, source);
    else
        cache_missed(cache);
    return n;
}

static bool must_wait(struct sched_model *m, struct choice *c, const struct source *s)
{
    if (s->how != FETCH && s->how != FOLLOW) return false;
    if (s->how == FETCH && !c->fetching_since_ms) c->fetching_since_ms = clock_mono_ms();
    c->fetched = s->how == FETCH;
    if (s->entry) cache_fetch(m->s->cache, s->entry);
    return true;
}

int32_t slot_attach(struct sched_model *m, struct choice *c)
{
    c->fetching_since_ms = 0;
    c->fetched = false;
    struct source s = choose(m, c);
    explain(m, c, s.n);
    if (s.how == IN_PLACE) {
        if (s.n < s.slot->n_kv) slot_keep(m, s.slot, true);
        slot_own(m, s.slot, c);
    } else {
        take_empty(m, c, s.how == COPY ? s.slot : NULL);
        s = choose(m,
                   c); /* what the slot had is kept now, for which others may have been evicted */
    }
    if (must_wait(m, c, &s)) {
        c->state = CHOICE_FETCHING;
        return -1;
    }
    return fill(m, c, &s);
}

void slot_attach_empty(struct sched_model *m, struct choice *c)
{
    take_empty(m, c, NULL);
}

void slots_follow(struct sched_model *m)
{
    for (int32_t i = 0; i < m->n_slots; i++) {
        struct choice *c = m->slots[i].owner;
        if (!c || c->state != CHOICE_FETCHING) continue;
        bool fetched = c->fetched;
        struct source s = choose(m, c);
        if (must_wait(m, c, &s)) continue;
        c->fetched = fetched;
        explain(m, c, s.n);
        if (choice_begins(c, fill(m, c, &s))) resume_tell(c->req);
    }
}
