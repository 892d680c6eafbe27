/* Models that the worker died of, and which of them are in quarantine: those that ended it twice
 * within a minute. Time in which models were loaded does not count: what takes a minute to load and
 * dies each time is no better than what dies at once.
 *
 * Times are the caller's. So are locks. */
#ifndef HEARTH_WORKER_SUSPECTS_H
#define HEARTH_WORKER_SUSPECTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "types/model_info.h"

enum {
    QUARANTINE_WINDOW_MS = 60000, /* a model's second death within it is one too many */
    SUSPECTS_MAX = 64,
};

struct suspect {
    char id[MODEL_ID_MAX];
    int64_t died_ms, loaded_ms; /* at its last death */
    bool quarantined;
};

struct suspects {
    int64_t window_ms; /* 0 = QUARANTINE_WINDOW_MS */
    struct suspect all[SUSPECTS_MAX];
    size_t n;
};

/* One more death of a model's. now_ms: of a clock; loaded_ms: for how long models have been loaded
 * until now, by all workers. True: it is in quarantine now. */
bool suspects_blame(struct suspects *s, const char *id, int64_t now_ms, int64_t loaded_ms);
/* Lifts the quarantine of a model, or of all with NULL. */
void suspects_lift(struct suspects *s, const char *id);
/* Fills at most max ids, which are valid until the next change; returns how many. */
size_t suspects_quarantined(const struct suspects *s, const char **out, size_t max);

#endif
