/* The waiting requests: who is next. A pure data structure without threads, clock or model: the
 * time comes in as an argument, so it can be tested as a simulation.
 *
 * Order: lower priority number first; with ageing, waiting `ageing_ms` raises an entry by one step,
 * so nothing starves: an entry of priority p waits at most for those that arrived less than
 * (p - q) * ageing_ms after it with a priority q < p. Within one priority: first come, first
 * served.
 *
 * All entries age at the same rate, so the order of two entries never changes while they wait. It
 * is that of the fixed key priority * ageing_ms + arrival, and ageing costs nothing: one list for
 * each priority, whose head has the list's smallest key. Push and remove are O(1), first is
 * O(levels in use). Rejected: a heap (removal in the middle needs back references, and first-come
 * order inside a priority, which fairness between tenants will build on, is not visible in it). */
#ifndef HEARTH_SCHED_QUEUE_H
#define HEARTH_SCHED_QUEUE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

enum { QUEUE_LEVELS = 101 }; /* priorities 0 .. 100 */

/* Embedded in what waits. */
struct queue_entry {
    struct list_node node;
    int32_t priority;
    int64_t arrived_ms;
    uint64_t turn; /* order of arrival */
    bool queued;
};

struct queue {
    struct list_node levels[QUEUE_LEVELS];
    uint64_t in_use[2]; /* bit p: levels[p] is not empty */
    int32_t counts[QUEUE_LEVELS];
    int32_t length;
    int64_t ageing_ms; /* 0 = off */
    int64_t latest_ms; /* of the arrivals */
    uint64_t turns;
};

void queue_init(struct queue *q, int64_t ageing_ms);
/* A new arrival; priority is clamped to 0..100, and a time before the latest arrival's is taken for
 * that (threads may push in another order than they read the clock). */
void queue_push(struct queue *q, struct queue_entry *e, int32_t priority, int64_t arrived_ms);
/* Puts an entry that was in the queue before back where it would stand had it never left. */
void queue_return(struct queue *q, struct queue_entry *e);
void queue_remove(struct queue *q, struct queue_entry *e); /* not queued: nothing */

struct queue_entry *queue_first(const struct queue *q); /* NULL when empty; stays in the queue */
/* a before b? Also for entries that have left the queue. */
bool queue_before(const struct queue *q, const struct queue_entry *a, const struct queue_entry *b);
/* How many stand before e. */
int32_t queue_position(const struct queue *q, const struct queue_entry *e);
/* Arrival of the entry that waits longest; -1 when empty. */
int64_t queue_oldest_ms(const struct queue *q);

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
