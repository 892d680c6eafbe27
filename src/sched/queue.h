/* The waiting requests: who is next. A pure data structure without threads, clock or model: the
 * time comes in as an argument, so it can be tested as a simulation.
 *
 * Three rules, the first that decides counts:
 *
 *  1. Priority. The lowest number goes first.
 *  2. Ageing. Waiting `ageing_ms` raises an entry by one step, so nothing starves. All age at the
 *     same rate, so of two entries the same one stays ahead while both wait: the one with the lower
 *     key = priority * ageing_ms + arrival. An entry passes a better priority's candidate (a
 *     promotion) when its key is lower, and only then, so what is promoted is what has waited long
 *     enough itself; its younger neighbours do not come along.
 *  3. Tenants. Within one priority they take turns by deficit round robin (Shreedhar and Varghese,
 *     Efficient fair queuing using deficit round-robin, SIGCOMM 1995): whoever's turn it is may
 *     start requests worth QUEUE_QUANTUM tokens, and what it didn't use or couldn't afford is kept
 *     for its next turn. Within one tenant: first come, first served. Ageing plays no part here: if
 *     it did, whoever filled the queue first would stay ahead for as long as it lasts.
 *
 * Costs are estimates. When the truth is known queue_charge corrects the tenant's account, so a
 * tenant whose answers are longer than expected waits for it later. A debt outlives the tenant's
 * last entry (asking for one thing at a time does not pay); it is forgiven when the priority has
 * been idle for QUEUE_MEMORY_MS.
 *
 * Starvation bound. Before an entry of priority p go only: entries with a lower key, and the turns
 * of other tenants of p. Per round each of them gets QUEUE_QUANTUM tokens and the rest of one
 * request, so an entry at the head of its tenant that costs c waits for at most
 * ceil(c / QUEUE_QUANTUM) rounds.
 *
 * Push, take and remove are O(1), with a deadline O(log n); return is O(entries before it).
 * First is O(levels in use + tenants passed), amortised O(1) for requests that cost about a
 * quantum. Rejected: a heap of keys (no turns in it); moving aged entries from level to level (see
 * rule 3); weighted fair queueing with virtual finish times (the same fairness, but a heap, and
 * "whose turn is it" has no answer that a person could check). */
#ifndef HEARTH_SCHED_QUEUE_H
#define HEARTH_SCHED_QUEUE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/expiry.h"
#include "base/list.h"

enum {
    QUEUE_LEVELS = 101,           /* priorities 0 .. 100 */
    QUEUE_QUANTUM = 256,          /* tokens of a turn */
    QUEUE_DEBT_MAX = 64 * 1024,   /* tokens that a tenant can owe */
    QUEUE_MEMORY_MS = 30 * 1000,  /* how long debts are remembered */
    QUEUE_COST_MAX = 1024 * 1024, /* tokens that one entry can cost */
};

struct queue_flow; /* a tenant's entries of one priority */
struct map;

/* Embedded in what waits. */
struct queue_entry {
    struct list_node in_flow, in_level; /* by arrival */
    struct expiry_node expiry;
    struct queue_flow *flow; /* while queued */
    const char *tenant;      /* borrowed */
    int32_t priority;
    int64_t arrived_ms; /* later by the time in which it did not wait */
    int64_t taken_ms, cost;
    uint64_t turn;   /* order of arrival */
    uint64_t walked; /* the last walk that passed it */
    bool queued;
};

struct queue_item {
    const char *tenant;  /* borrowed until the entry has left for good */
    int32_t priority;    /* clamped to 0..100 */
    int64_t cost;        /* estimated tokens, clamped to 1..QUEUE_COST_MAX */
    int64_t arrived_ms;  /* before the latest arrival: taken for that (threads may push in another
                            order than they read the clock) */
    int64_t deadline_ms; /* 0 = none; cleared when it leaves the queue */
};

/* Whose turn it is: once as it is, and once more for trying out what would happen (queue_walk). */
enum { QUEUE_REAL, QUEUE_TRIAL, QUEUE_VIEWS };

struct queue_level {
    struct list_node entries; /* by arrival */
    struct list_node flows;   /* the round */
    int32_t n_entries, n_flows;
    int64_t empty_ms; /* since when it has no entry */
    struct {
        struct queue_flow *turn;
        struct queue_entry *oldest;
        int32_t n_entries;
    } view[QUEUE_VIEWS];
};

struct queue {
    struct queue_level levels[QUEUE_LEVELS];
    uint64_t in_use[2];  /* bit p: levels[p] is not empty */
    struct map *tenants; /* those with a flow */
    struct expiry expiry;
    int32_t length, n_tenants;
    int64_t ageing_ms; /* 0 = off */
    int64_t now_ms;    /* the latest time seen */
    int64_t promotions;
    uint64_t turns, walks;
    uint64_t changes;          /* counts whatever may change a position */
    struct queue_entry *first; /* as of first_changes */
    uint64_t first_changes;
};

void queue_init(struct queue *q, int64_t ageing_ms);
void queue_free(struct queue *q); /* not the entries; it may be used again after queue_init */

void queue_push(struct queue *q, struct queue_entry *e, const struct queue_item *item);
/* It is served: leaves the queue and its tenant pays for it. */
void queue_take(struct queue *q, struct queue_entry *e, int64_t now_ms);
/* It is not: leaves the queue without a trace. Not queued: nothing. */
void queue_remove(struct queue *q, struct queue_entry *e);
/* Puts an entry that was taken before back where it stood: in front of its tenant's younger ones,
 * and it is its tenant's turn. The tenant gets back what it paid, less the `used` tokens; the rest
 * is the entry's cost from now on. The time since it was taken does not count as waiting, and its
 * deadline is met. */
void queue_return(struct queue *q, struct queue_entry *e, int64_t used, int64_t now_ms);
/* An entry that was taken has ended: it did cost `used` tokens. */
void queue_charge(struct queue *q, const struct queue_entry *e, int64_t used);

struct queue_entry *queue_first(struct queue *q); /* NULL when empty; stays in the queue */
/* As if there were no ageing: of the best priority. */
struct queue_entry *queue_urgent(struct queue *q);
/* The first entry of a tenant, among those of at least this priority (and so of a lower or the same
 * number) for which want() is true; the best priority first, then by turns. NULL: none. */
struct queue_entry *queue_find(const struct queue *q, int32_t priority,
                               bool (*want)(const struct queue_entry *e, void *ctx), void *ctx);
/* Is a more important than b, waiting or not? The order of keys. */
bool queue_before(const struct queue *q, const struct queue_entry *a, const struct queue_entry *b);

/* Calls fn in the order in which the entries would be taken if no more came, for at most `max` of
 * them; a false return stops. Nothing is changed. O(tenants + entries passed). */
void queue_walk(struct queue *q, int32_t max,
                bool (*fn)(struct queue_entry *e, int32_t position, void *ctx), void *ctx);
/* How many stand before e; by walking. */
int32_t queue_position(struct queue *q, const struct queue_entry *e);

/* Its deadline is the next; NULL: none has one. It is still queued. */
struct queue_entry *queue_next_deadline(const struct queue *q, int64_t *at_ms);

struct queue_stats {
    int32_t depth, by_priority[QUEUE_LEVELS];
    int32_t tenants;   /* that wait */
    int64_t oldest_ms; /* arrival of the entry that waits longest; -1 when empty */
    int64_t promotions;
};
/* Adds what q holds to *out, so that several queues can be summed; start with oldest_ms = -1. */
void queue_stats(const struct queue *q, struct queue_stats *out);

/* Places in the queues of one scheduler. Any thread takes one before it sends a request, so that a
 * full queue is told at once; the engine thread gives it back when the request leaves the queue. */
struct queue_room {
    atomic_int taken;
    int32_t capacity;
};

/* extra: places that are free beyond the queue (idle sequences). False when all are taken; *taken
 * is how many there were. */
bool queue_room_take(struct queue_room *r, int32_t extra, int32_t *taken);
void queue_room_retake(struct queue_room *r); /* for a request that goes back: always works */
void queue_room_give(struct queue_room *r);

#endif
