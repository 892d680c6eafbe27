/* Places in the queue of requests whose model is not in memory yet. They wait like all others: they
 * count for the capacity and in every number that is told of the queue, from the moment they are
 * accepted. Taken and given back on callers' threads; the engine thread only looks. */
#include <stdint.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "sched/sched_int.h"

void places_init(struct places *p)
{
    pthread_mutex_init(&p->lock, NULL);
    list_init(&p->by_arrival);
    p->tenants = map_new();
}

void places_free(struct places *p)
{
    ht_assert(list_empty(&p->by_arrival));
    map_free(p->tenants);
    pthread_mutex_destroy(&p->lock);
}

static struct sched_place *place_of(struct list_node *n)
{
    return container_of(n, struct sched_place, node);
}

/* The map's values are numbers. */
static void count_tenant(struct places *p, const char *tenant, int by)
{
    intptr_t n = (intptr_t)map_get(p->tenants, tenant) + by;
    if (n)
        map_put(p->tenants, tenant, (void *)n);
    else
        map_del(p->tenants, tenant);
}

/* Who was sent back came before those who came while it was away. */
static void join(struct places *p, struct sched_place *place)
{
    struct list_node *pos = &p->by_arrival;
    place->priority = place->priority < 0               ? 0
                      : place->priority >= QUEUE_LEVELS ? QUEUE_LEVELS - 1
                                                        : place->priority;
    pthread_mutex_lock(&p->lock);
    while (pos->prev != &p->by_arrival && place_of(pos->prev)->arrived_ms > place->arrived_ms)
        pos = pos->prev;
    list_insert_before(pos, &place->node);
    p->n++;
    p->by_priority[place->priority]++;
    count_tenant(p, place->tenant, 1);
    pthread_mutex_unlock(&p->lock);
    place->held = true;
}

void places_leave(struct places *p, struct sched_place *place)
{
    ht_assert(place->held);
    pthread_mutex_lock(&p->lock);
    list_remove(&place->node);
    p->n--;
    p->by_priority[place->priority]--;
    count_tenant(p, place->tenant, -1);
    pthread_mutex_unlock(&p->lock);
    place->held = false;
}

void places_stats(struct places *p, struct queue_stats *out)
{
    pthread_mutex_lock(&p->lock);
    if (p->n) {
        int64_t oldest_ms = place_of(p->by_arrival.next)->arrived_ms;
        out->depth += p->n;
        out->tenants += (int32_t)map_count(p->tenants);
        for (int i = 0; i < QUEUE_LEVELS; i++) out->by_priority[i] += p->by_priority[i];
        if (out->oldest_ms < 0 || oldest_ms < out->oldest_ms) out->oldest_ms = oldest_ms;
    }
    pthread_mutex_unlock(&p->lock);
}

enum err sched_place_take(struct sched *s, struct sched_place *place, bool back,
                          struct error *error)
{
    enum err e = OK;
    if (place->held) return OK;
    if (back)
        queue_room_retake(&s->room);
    else
        e = room_take(s, 0, -1, error);
    if (e) return e;
    metric_add(METRIC_requests_waiting, 1);
    join(&s->places, place);
    mailbox_wake(s->inbox); /* which tells how many wait */
    return OK;
}

void sched_place_give(struct sched *s, struct sched_place *place)
{
    if (!place->held) return;
    places_leave(&s->places, place);
    metric_add(METRIC_requests_waiting, -1);
    queue_room_give(&s->room);
    mailbox_wake(s->inbox);
}
