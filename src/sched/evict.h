/* Which models make room for another: a pure function over numbers, tested without models.
 *
 * Evicting a model costs what it takes to have it back, times how likely somebody will want it:
 * reload time x heat, where heat counts its requests and halves every EVICT_HALF_LIFE_MS. Chosen is
 * what frees what is missing at the least cost per byte; then whoever turns out not to be needed
 * stays. Models that were asked to stay for ever go last, never before all others are used up. */
#ifndef HEARTH_SCHED_EVICT_H
#define HEARTH_SCHED_EVICT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/engine.h"

enum {
    EVICT_HALF_LIFE_MS = 10 * 60 * 1000,
    /* Places where memory may be short: the budget, what the machine really has, the devices. */
    ROOM_BUDGET = 0,
    ROOM_MACHINE,
    ROOM_DEVICES,
    ROOM_COUNT = ROOM_DEVICES + ENGINE_DEVICES_MAX
};

struct room {
    int64_t bytes[ROOM_COUNT];
};

struct evict_candidate {
    struct room frees;
    double cost;
    bool pinned;
    bool chosen; /* out */
};

/* missing: what must become free, by place; 0 or less = nothing. False: all of them together are
 * not enough (then none is chosen). */
bool evict_choose(struct evict_candidate *c, size_t n, const struct room *missing);

/* heat after dt_ms without a request */
double evict_heat(double heat, int64_t dt_ms);

#endif
