#include "sched/evict.h"

#include <math.h>

double evict_heat(double heat, int64_t dt_ms)
{
    return dt_ms > 0 ? heat * exp2(-(double)dt_ms / EVICT_HALF_LIFE_MS) : heat;
}

/* Bytes of what is missing that the candidate would free. */
static int64_t useful(const struct evict_candidate *c, const struct room *missing)
{
    int64_t sum = 0;
    for (int i = 0; i < ROOM_COUNT; i++) {
        if (missing->bytes[i] <= 0) continue;
        sum += c->frees.bytes[i] < missing->bytes[i] ? c->frees.bytes[i] : missing->bytes[i];
    }
    return sum;
}

static bool enough(const struct room *missing)
{
    for (int i = 0; i < ROOM_COUNT; i++)
        if (missing->bytes[i] > 0) return false;
    return true;
}

static void change(struct room *missing, const struct room *by, int sign)
{
    for (int i = 0; i < ROOM_COUNT; i++) missing->bytes[i] += sign * by->bytes[i];
}

static struct evict_candidate *cheapest(struct evict_candidate *c, size_t n,
                                        const struct room *missing)
{
    struct evict_candidate *best = NULL;
    double best_price = 0;
    for (size_t i = 0; i < n; i++) {
        int64_t bytes = useful(&c[i], missing);
        if (c[i].chosen || bytes <= 0) continue;
        double price = c[i].cost / (double)bytes;
        if (best &&
            (c[i].pinned > best->pinned || (c[i].pinned == best->pinned && price >= best_price)))
            continue;
        best = &c[i];
        best_price = price;
    }
    return best;
}

/* Those without whom it is still enough, the dearest first. */
static void spare(struct evict_candidate *c, size_t n, struct room *missing)
{
    for (;;) {
        struct evict_candidate *dearest = NULL;
        for (size_t i = 0; i < n; i++) {
            if (!c[i].chosen) continue;
            struct room without = *missing;
            change(&without, &c[i].frees, 1);
            if (!enough(&without)) continue;
            if (!dearest || c[i].pinned > dearest->pinned ||
                (c[i].pinned == dearest->pinned && c[i].cost > dearest->cost))
                dearest = &c[i];
        }
        if (!dearest) return;
        dearest->chosen = false;
        change(missing, &dearest->frees, 1);
    }
}

bool evict_choose(struct evict_candidate *c, size_t n, const struct room *missing)
{
    struct room left = *missing;
    for (size_t i = 0; i < n; i++) c[i].chosen = false;
    while (!enough(&left)) {
        struct evict_candidate *next = cheapest(c, n, &left);
        if (!next) {
            for (size_t i = 0; i < n; i++) c[i].chosen = false;
            return false;
        }
        next->chosen = true;
        change(&left, &next->frees, -1);
    }
    spare(c, n, &left);
    return true;
}
