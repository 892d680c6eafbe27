/* The waiting requests; see queue.h. */
#include "sched/queue.h"

#include "base/err.h"

void queue_init(struct queue *q, int64_t ageing_ms)
{
    *q = (struct queue){.ageing_ms = ageing_ms};
    for (int p = 0; p < QUEUE_LEVELS; p++) list_init(&q->levels[p]);
}

static struct queue_entry *entry_of(struct list_node *n)
{
    return container_of(n, struct queue_entry, node);
}

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

static void joined(struct queue *q, struct queue_entry *e)
{
    e->queued = true;
    q->in_use[e->priority / 64] |= UINT64_C(1) << (e->priority % 64);
    q->counts[e->priority]++;
    q->length++;
}

void queue_push(struct queue *q, struct queue_entry *e, int32_t priority, int64_t arrived_ms)
{
    if (priority < 0) priority = 0;
    if (priority >= QUEUE_LEVELS) priority = QUEUE_LEVELS - 1;
    if (arrived_ms > q->latest_ms) q->latest_ms = arrived_ms;
    e->priority = priority;
    e->arrived_ms = q->latest_ms;
    e->turn = q->turns++;
    list_push_back(&q->levels[priority], &e->node);
    joined(q, e);
}

void queue_return(struct queue *q, struct queue_entry *e)
{
    ht_assert(!e->queued);
    struct list_node *level = &q->levels[e->priority], *pos = level->next;
    while (pos != level && entry_of(pos)->turn < e->turn) pos = pos->next;
    list_insert_before(pos, &e->node);
    joined(q, e);
}

void queue_remove(struct queue *q, struct queue_entry *e)
{
    if (!e->queued) return;
    e->queued = false;
    list_remove(&e->node);
    q->counts[e->priority]--;
    q->length--;
    if (list_empty(&q->levels[e->priority]))
        q->in_use[e->priority / 64] &= ~(UINT64_C(1) << (e->priority % 64));
}

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

struct queue_entry *queue_first(const struct queue *q)
{
    struct queue_entry *best = NULL;
    for (int p = next_level(q, 0); p < QUEUE_LEVELS; p = next_level(q, p + 1)) {
        struct queue_entry *e = entry_of(q->levels[p].next);
        if (!best || queue_before(q, e, best)) best = e;
        if (!q->ageing_ms) break;
    }
    return best;
}

int32_t queue_position(const struct queue *q, const struct queue_entry *e)
{
    int32_t before = 0;
    for (int p = next_level(q, 0); p < QUEUE_LEVELS; p = next_level(q, p + 1)) {
        /* Usually e came last: so from the back, until all that remain stand before it. */
        int32_t n = q->counts[p];
        for (struct list_node *pos = q->levels[p].prev; pos != &q->levels[p]; pos = pos->prev) {
            if (queue_before(q, entry_of(pos), e)) break;
            n--;
        }
        before += n;
    }
    return before;
}

int64_t queue_oldest_ms(const struct queue *q)
{
    int64_t oldest = -1;
    for (int p = next_level(q, 0); p < QUEUE_LEVELS; p = next_level(q, p + 1)) {
        int64_t arrived = entry_of(q->levels[p].next)->arrived_ms;
        if (oldest < 0 || arrived < oldest) oldest = arrived;
    }
    return oldest;
}

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
