/* How many operations the queue does in a second. An operation is one push, take, cancel or return;
 * each line says how many wait meanwhile, of how many tenants.
 *
 * usage: bench_queue [seconds per line] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "sched/queue.h"

enum { BATCH = 1000, TENANTS_MAX = 1000 };

struct load {
    const char *name;
    int32_t waiting, tenants, priorities;
    uint32_t cost;
    int32_t cancels; /* of 100 */
};

static char tenants[TENANTS_MAX][16];
static uint32_t seed = 1;

static uint32_t rnd(uint32_t below)
{
    seed = seed * 1664525 + 1013904223;
    return (uint32_t)(((uint64_t)(seed >> 1) * below) >> 31);
}

static void push(struct queue *q, struct queue_entry *e, const struct load *l, int64_t now_ms)
{
    /* Priorities close to each other, so that ageing has something to decide. */
    struct queue_item item = {.tenant = tenants[rnd((uint32_t)l->tenants)],
                              .priority = 50 - (int32_t)rnd((uint32_t)l->priorities),
                              .cost = 1 + rnd(l->cost),
                              .arrived_ms = now_ms,
                              .deadline_ms = rnd(4) ? 0 : now_ms + rnd(60000)};
    queue_push(q, e, &item);
}

/* One leaves in one of three ways, and a new one comes: two operations, of returns three. */
static int64_t exchange(struct queue *q, struct queue_entry *entries, const struct load *l,
                        int64_t now_ms)
{
    struct queue_entry *e = &entries[rnd((uint32_t)l->waiting)];
    int64_t operations = 2;
    if (rnd(100) < (uint32_t)l->cancels) {
        queue_remove(q, e);
    } else {
        e = queue_first(q);
        queue_take(q, e, now_ms);
        if (rnd(20) == 0) { /* paused, then it goes on */
            queue_return(q, e, 1, now_ms + 1);
            e = queue_first(q);
            queue_take(q, e, now_ms + 1);
            operations += 2;
        }
    }
    push(q, e, l, now_ms);
    return operations;
}

static void run(const struct load *l, double seconds)
{
    struct queue_entry *entries = xcalloc((size_t)l->waiting, sizeof *entries);
    struct queue q;
    queue_init(&q, 1000);
    int64_t now_ms = 1, operations = 0;
    for (int32_t i = 0; i < l->waiting; i++) push(&q, &entries[i], l, now_ms);
    int64_t start_ns = clock_mono_ns(), until_ns = start_ns + (int64_t)(seconds * 1e9), ns;
    do {
        for (int i = 0; i < BATCH; i++) operations += exchange(&q, entries, l, now_ms++);
        ns = clock_mono_ns();
    } while (ns < until_ns);
    printf("%-34s %7d waiting %5d tenants  %6.2f M operations/s\n", l->name, l->waiting, l->tenants,
           (double)operations * 1e3 / (double)(ns - start_ns));
    for (int32_t i = 0; i < l->waiting; i++) queue_remove(&q, &entries[i]);
    queue_free(&q);
    free(entries);
}

int main(int argc, char **argv)
{
    static const struct load loads[] = {
        {"one tenant, one priority", 1000, 1, 1, 500, 0},
        {"ten tenants, ten priorities", 1000, 10, 10, 500, 0},
        {"a storm of cancellations", 1000, 10, 10, 500, 90},
        {"long requests", 1000, 10, 3, 20000, 10},
        {"many tenants", 1000, 300, 3, 500, 10},
        {"a very deep queue", 100000, 10, 10, 500, 10},
    };
    double seconds = argc > 1 ? atof(argv[1]) : 1;
    for (int i = 0; i < TENANTS_MAX; i++) snprintf(tenants[i], sizeof tenants[i], "tenant-%d", i);
    for (size_t i = 0; i < sizeof loads / sizeof *loads; i++) run(&loads[i], seconds);
    return 0;
}
