/* The waiting requests; see queue.h.
 *
 * Whose turn it is exists twice ("views"): as it is, and on trial for queue_walk, which plays the
 * future through on a copy of the accounts. All functions that decide take the view.
 *
 * Invariants of a level:
 *  1. A flow is in the round while it has entries or owes something, or it is its turn (so that who
 *     asks again at once can use what is left of it).
 *  2. view.turn is a flow of the round, NULL only while there is none.
 *  3. A flow without entries whose turn it is not has no credit left (deficit <= 0). */
#include "sched/queue.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/map.h"
#include "base/mem.h"

struct tenant {
    struct list_node flows;
    int32_t n_entries;
    char name[];
};

struct queue_flow {
    struct list_node of_tenant, in_round;
    struct tenant *tenant;
    int32_t priority;
    struct list_node entries;
    struct {
        int64_t deficit;
        struct queue_entry *head; /* NULL: none left */
    } view[QUEUE_VIEWS];
};

void queue_init(struct queue *q, int64_t ageing_ms)
{
    *q = (struct queue){.ageing_ms = ageing_ms, .tenants = map_new()};
    for (int p = 0; p < QUEUE_LEVELS; p++) {
        list_init(&q->levels[p].entries);
        list_init(&q->levels[p].flows);
    }
}

/* ---- order -------------------------------------------------------------------------------- */

static int64_t key(const struct queue *q, const struct queue_entry *e)
{
    return q->ageing_ms ? e->priority * q->ageing_ms + e->arrived_ms : e->priority;
}

bool queue_before(const struct queue *q, const struct queue_entry *a, const struct queue_entry *b)
{
    int64_t ka = key(q, a), kb = key(q, b);
    if (ka != kb) return ka < kb;
    if (a->priority != b->priority) return a->priority < b->priority;
    return a->turn < b->turn;
}

static struct queue_entry *in_flow(struct list_node *n)
{
    return container_of(n, struct queue_entry, in_flow);
}

static struct queue_entry *in_level(struct list_node *n)
{
    return container_of(n, struct queue_entry, in_level);
}

static struct queue_flow *in_round(struct list_node *n)
{
    return container_of(n, struct queue_flow, in_round);
}

static struct queue_flow *next_flow(struct queue_level *level, struct queue_flow *f)
{
    struct list_node *n = f->in_round.next;
    if (n == &level->flows) n = n->next;
    return in_round(n);
}

/* ---- tenants and their flows ---------------------------------------------------------------- */

static struct queue_flow *find_flow(const struct queue *q, const char *name, int32_t priority)
{
    struct tenant *t = map_get(q->tenants, name);
    if (t)
        list_each (n, &t->flows) {
            struct queue_flow *f = container_of(n, struct queue_flow, of_tenant);
            if (f->priority == priority) return f;
        }
    return NULL;
}

static struct tenant *get_tenant(struct queue *q, const char *name)
{
    struct tenant *t = map_get(q->tenants, name);
    if (t) return t;
    size_t len = strlen(name);
    t = xmalloc(sizeof *t + len + 1);
    *t = (struct tenant){0};
    list_init(&t->flows);
    memcpy(t->name, name, len + 1);
    map_put(q->tenants, name, t);
    return t;
}

/* A new one gets its first turn when all others of the round had theirs. */
static struct queue_flow *get_flow(struct queue *q, const char *name, int32_t priority)
{
    struct queue_flow *f = find_flow(q, name, priority);
    if (f) return f;
    struct queue_level *level = &q->levels[priority];
    struct queue_flow *turn = level->view[QUEUE_REAL].turn;
    f = xcalloc(1, sizeof *f);
    f->priority = priority;
    f->tenant = get_tenant(q, name);
    list_init(&f->entries);
    list_push_back(&f->tenant->flows, &f->of_tenant);
    list_insert_before(turn ? &turn->in_round : &level->flows, &f->in_round);
    level->n_flows++;
    if (turn) return f;
    level->view[QUEUE_REAL].turn = f;
    f->view[QUEUE_REAL].deficit = QUEUE_QUANTUM;
    return f;
}

static void free_flow(struct queue *q, struct queue_flow *f)
{
    struct queue_level *level = &q->levels[f->priority];
    struct tenant *t = f->tenant;
    if (level->view[QUEUE_REAL].turn == f) {
        struct queue_flow *next = next_flow(level, f);
        if (next == f) next = NULL;
        if (next) next->view[QUEUE_REAL].deficit += QUEUE_QUANTUM;
        level->view[QUEUE_REAL].turn = next;
    }
    list_remove(&f->in_round);
    level->n_flows--;
    list_remove(&f->of_tenant);
    free(f);
    if (!list_empty(&t->flows)) return;
    map_del(q->tenants, t->name);
    free(t);
}

/* Credit is for those who wait. */
static void drop_credit(struct queue_flow *f, int view)
{
    if (!f->view[view].head && f->view[view].deficit > 0) f->view[view].deficit = 0;
}

static void free_if_idle(struct queue *q, struct queue_flow *f)
{
    if (f->view[QUEUE_REAL].head || f == q->levels[f->priority].view[QUEUE_REAL].turn) return;
    drop_credit(f, QUEUE_REAL);
    if (f->view[QUEUE_REAL].deficit >= 0) free_flow(q, f);
}

/* Debts of long ago. */
static void forgive(struct queue *q, struct queue_level *level)
{
    if (level->n_entries || q->now_ms < level->empty_ms + QUEUE_MEMORY_MS) return;
    while (!list_empty(&level->flows)) free_flow(q, in_round(level->flows.next));
}

void queue_free(struct queue *q)
{
    for (int p = 0; p < QUEUE_LEVELS && q->tenants; p++)
        while (!list_empty(&q->levels[p].flows)) free_flow(q, in_round(q->levels[p].flows.next));
    map_free(q->tenants);
    q->tenants = NULL;
}

/* ---- joining and leaving -------------------------------------------------------------------- */

static void refresh(struct queue_level *level, struct queue_flow *f)
{
    f->view[QUEUE_REAL].head = list_empty(&f->entries) ? NULL : in_flow(f->entries.next);
    level->view[QUEUE_REAL].oldest =
        list_empty(&level->entries) ? NULL : in_level(level->entries.next);
    level->view[QUEUE_REAL].n_entries = level->n_entries;
}

static void join(struct queue *q, struct queue_entry *e, struct queue_flow *f,
                 struct list_node *flow_pos, struct list_node *level_pos)
{
    struct queue_level *level = &q->levels[e->priority];
    list_insert_before(flow_pos, &e->in_flow);
    list_insert_before(level_pos, &e->in_level);
    e->flow = f;
    e->queued = true;
    q->in_use[e->priority / 64] |= UINT64_C(1) << (e->priority % 64);
    level->n_entries++;
    q->length++;
    q->n_tenants += f->tenant->n_entries++ == 0;
    q->changes++;
    refresh(level, f);
}

static void leave(struct queue *q, struct queue_entry *e)
{
    struct queue_level *level = &q->levels[e->priority];
    struct queue_flow *f = e->flow;
    list_remove(&e->in_flow);
    list_remove(&e->in_level);
    expiry_remove(&q->expiry, &e->expiry);
    e->queued = false;
    e->flow = NULL;
    q->length--;
    q->changes++;
    if (--level->n_entries == 0) {
        q->in_use[e->priority / 64] &= ~(UINT64_C(1) << (e->priority % 64));
        level->empty_ms = q->now_ms;
    }
    refresh(level, f);
    q->n_tenants -= --f->tenant->n_entries == 0;
    free_if_idle(q, f);
}

static void see(struct queue *q, int64_t now_ms)
{
    if (now_ms > q->now_ms) q->now_ms = now_ms;
}

static int64_t clamped(int64_t v, int64_t min, int64_t max)
{
    return v < min ? min : v > max ? max : v;
}

void queue_push(struct queue *q, struct queue_entry *e, const struct queue_item *item)
{
    ht_assert(!e->queued);
    see(q, item->arrived_ms);
    *e = (struct queue_entry){.tenant = item->tenant,
                              .priority = (int32_t)clamped(item->priority, 0, QUEUE_LEVELS - 1),
                              .cost = clamped(item->cost, 1, QUEUE_COST_MAX),
                              .arrived_ms = q->now_ms,
                              .turn = q->turns++};
    struct queue_level *level = &q->levels[e->priority];
    forgive(q, level);
    struct queue_flow *f = get_flow(q, e->tenant, e->priority);
    join(q, e, f, &f->entries, &level->entries);
    if (item->deadline_ms) expiry_add(&q->expiry, &e->expiry, item->deadline_ms);
}

void queue_remove(struct queue *q, struct queue_entry *e)
{
    if (e->queued) leave(q, e);
}

static void pay(struct queue_flow *f, int64_t tokens)
{
    int64_t *deficit = &f->view[QUEUE_REAL].deficit;
    *deficit = clamped(*deficit - tokens, -QUEUE_DEBT_MAX, QUEUE_COST_MAX);
}

void queue_take(struct queue *q, struct queue_entry *e, int64_t now_ms)
{
    ht_assert(e->queued);
    see(q, now_ms);
    for (int p = 0; p < e->priority; p++)
        if (q->levels[p].n_entries) {
            q->promotions += queue_first(q) == e;
            break;
        }
    e->taken_ms = q->now_ms;
    pay(e->flow, e->cost);
    leave(q, e);
}

void queue_return(struct queue *q, struct queue_entry *e, int64_t used, int64_t now_ms)
{
    ht_assert(!e->queued);
    see(q, now_ms);
    struct queue_level *level = &q->levels[e->priority];
    struct queue_flow *f = get_flow(q, e->tenant, e->priority);
    pay(f, used - e->cost);
    e->cost = clamped(e->cost - used, 1, QUEUE_COST_MAX);
    e->arrived_ms += q->now_ms - e->taken_ms;
    struct list_node *flow_pos = f->entries.next, *level_pos = level->entries.next;
    while (flow_pos != &f->entries && in_flow(flow_pos)->turn < e->turn) flow_pos = flow_pos->next;
    while (level_pos != &level->entries && queue_before(q, in_level(level_pos), e))
        level_pos = level_pos->next;
    join(q, e, f, flow_pos, level_pos);
    level->view[QUEUE_REAL].turn = f;
}

void queue_charge(struct queue *q, const struct queue_entry *e, int64_t used)
{
    ht_assert(!e->queued);
    struct queue_flow *f = find_flow(q, e->tenant, e->priority);
    if (!f && used > e->cost) f = get_flow(q, e->tenant, e->priority);
    if (!f) return;
    pay(f, used - e->cost);
    q->changes++;
    free_if_idle(q, f);
}

/* ---- choosing ------------------------------------------------------------------------------- */

/* The first level in use from `from` on, or QUEUE_LEVELS. */
static int next_level(const struct queue *q, int from)
{
    for (int word = from / 64; word < 2; word++) {
        uint64_t bits = q->in_use[word];
        if (word == from / 64) bits &= ~UINT64_C(0) << (from % 64);
        if (bits) return word * 64 + __builtin_ctzll(bits);
    }
    return QUEUE_LEVELS;
}

static bool affordable(const struct queue_flow *f, int view)
{
    const struct queue_entry *head = f->view[view].head;
    return head && f->view[view].deficit >= head->cost;
}

/* Nobody can afford anything for some rounds: those at once. */
static void skip_rounds(struct queue_level *level, int view)
{
    int64_t least = INT64_MAX;
    list_each (n, &level->flows) {
        const struct queue_flow *f = in_round(n);
        if (!f->view[view].head) continue;
        int64_t lacks = f->view[view].head->cost - f->view[view].deficit;
        int64_t rounds = (lacks + QUEUE_QUANTUM - 1) / QUEUE_QUANTUM;
        if (rounds < least) least = rounds;
    }
    if (least <= 1) return;
    list_each (n, &level->flows) {
        struct queue_flow *f = in_round(n);
        f->view[view].deficit += (least - 1) * QUEUE_QUANTUM;
        drop_credit(f, view);
    }
}

/* Passes the turn on until somebody can afford its next entry, and returns that. Asking again
 * changes nothing. The level has an entry. */
static struct queue_entry *settle(struct queue *q, struct queue_level *level, int view)
{
    struct queue_flow *f = level->view[view].turn;
    for (int32_t passed = 0; !affordable(f, view); passed++) {
        if (passed >= level->n_flows) {
            skip_rounds(level, view);
            passed = 0;
        }
        struct queue_flow *next = next_flow(level, f);
        next->view[view].deficit += QUEUE_QUANTUM;
        level->view[view].turn = next;
        drop_credit(f, view);
        if (view == QUEUE_REAL) free_if_idle(q, f);
        f = next;
    }
    return f->view[view].head;
}

/* Of those who have an entry that waited long enough to go before `other`: who had least. */
static struct queue_entry *pick_aged(const struct queue *q, const struct queue_level *level,
                                     const struct queue_entry *other, int view)
{
    const struct queue_flow *best = level->view[view].oldest->flow;
    list_each (n, &level->flows) {
        const struct queue_flow *f = in_round(n);
        const struct queue_entry *head = f->view[view].head;
        if (!head || f->view[view].deficit <= best->view[view].deficit) continue;
        if (queue_before(q, head, other)) best = f;
    }
    return best->view[view].head;
}

static struct queue_entry *pick(struct queue *q, int view)
{
    struct queue_entry *best = NULL;
    for (int p = next_level(q, 0); p < QUEUE_LEVELS; p = next_level(q, p + 1)) {
        struct queue_level *level = &q->levels[p];
        if (!level->view[view].n_entries) continue;
        if (!best)
            best = settle(q, level, view);
        else if (queue_before(q, level->view[view].oldest, best))
            best = pick_aged(q, level, best, view);
        if (!q->ageing_ms) break;
    }
    return best;
}

struct queue_entry *queue_first(struct queue *q)
{
    if (q->first_changes != q->changes) {
        q->first = pick(q, QUEUE_REAL);
        q->first_changes = q->changes;
    }
    return q->first;
}

struct queue_entry *queue_urgent(struct queue *q)
{
    int p = next_level(q, 0);
    return p < QUEUE_LEVELS ? settle(q, &q->levels[p], QUEUE_REAL) : NULL;
}

struct queue_entry *queue_find(const struct queue *q, int32_t priority,
                               bool (*want)(const struct queue_entry *e, void *ctx), void *ctx)
{
    for (int p = next_level(q, 0); p < QUEUE_LEVELS && p <= priority; p = next_level(q, p + 1)) {
        const struct queue_level *level = &q->levels[p];
        struct list_node *n = &level->view[QUEUE_REAL].turn->in_round;
        for (int32_t i = 0; i <= level->n_flows; i++, n = n->next) {
            if (n == &level->flows) continue;
            struct queue_entry *head = in_round(n)->view[QUEUE_REAL].head;
            if (head && want(head, ctx)) return head;
        }
    }
    return NULL;
}

/* ---- walking --------------------------------------------------------------------------------- */

static void begin_trial(struct queue *q)
{
    q->walks++;
    for (int p = next_level(q, 0); p < QUEUE_LEVELS; p = next_level(q, p + 1)) {
        struct queue_level *level = &q->levels[p];
        level->view[QUEUE_TRIAL] = level->view[QUEUE_REAL];
        list_each (n, &level->flows) {
            struct queue_flow *f = in_round(n);
            f->view[QUEUE_TRIAL] = f->view[QUEUE_REAL];
        }
    }
}

static void take_on_trial(struct queue *q, struct queue_entry *e)
{
    struct queue_level *level = &q->levels[e->priority];
    struct queue_flow *f = e->flow;
    e->walked = q->walks;
    f->view[QUEUE_TRIAL].deficit -= e->cost;
    f->view[QUEUE_TRIAL].head = e->in_flow.next == &f->entries ? NULL : in_flow(e->in_flow.next);
    if (f != level->view[QUEUE_TRIAL].turn) drop_credit(f, QUEUE_TRIAL);
    if (--level->view[QUEUE_TRIAL].n_entries == 0) return;
    struct queue_entry *oldest = level->view[QUEUE_TRIAL].oldest;
    while (oldest->walked == q->walks) oldest = in_level(oldest->in_level.next);
    level->view[QUEUE_TRIAL].oldest = oldest;
}

void queue_walk(struct queue *q, int32_t max,
                bool (*fn)(struct queue_entry *e, int32_t position, void *ctx), void *ctx)
{
    begin_trial(q);
    for (int32_t i = 0; i < max; i++) {
        struct queue_entry *e = pick(q, QUEUE_TRIAL);
        if (!e || !fn(e, i, ctx)) return;
        take_on_trial(q, e);
    }
}

struct search {
    const struct queue_entry *e;
    int32_t position;
};

static bool search(struct queue_entry *e, int32_t position, void *ctx)
{
    struct search *s = ctx;
    s->position = position;
    return e != s->e;
}

int32_t queue_position(struct queue *q, const struct queue_entry *e)
{
    struct search s = {.e = e};
    queue_walk(q, INT32_MAX, search, &s);
    return s.position;
}

/* ---- what is known about it ------------------------------------------------------------------ */

struct queue_entry *queue_next_deadline(const struct queue *q, int64_t *at_ms)
{
    struct expiry_node *n = expiry_first(&q->expiry);
    if (!n) return NULL;
    *at_ms = n->at_ms;
    return container_of(n, struct queue_entry, expiry);
}

void queue_stats(const struct queue *q, struct queue_stats *out)
{
    out->depth += q->length;
    out->tenants += q->n_tenants;
    out->promotions += q->promotions;
    for (int p = next_level(q, 0); p < QUEUE_LEVELS; p = next_level(q, p + 1)) {
        int64_t arrived_ms = q->levels[p].view[QUEUE_REAL].oldest->arrived_ms;
        out->by_priority[p] += q->levels[p].n_entries;
        if (out->oldest_ms < 0 || arrived_ms < out->oldest_ms) out->oldest_ms = arrived_ms;
    }
}

/* ---- room ------------------------------------------------------------------------------------ */

bool queue_room_take(struct queue_room *r, int32_t extra, int32_t *taken)
{
    int32_t n = atomic_load(&r->taken);
    do {
        *taken = n;
        if (n >= r->capacity + extra) return false;
    } while (!atomic_compare_exchange_weak(&r->taken, &n, n + 1));
    return true;
}

void queue_room_retake(struct queue_room *r)
{
    atomic_fetch_add(&r->taken, 1);
}

void queue_room_give(struct queue_room *r)
{
    int before = atomic_fetch_sub(&r->taken, 1);
    ht_assert(before > 0);
}
