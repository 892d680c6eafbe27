/* What this process is doing with which model, in memory that outlives it: so that whoever started
 * it can say which model it died of. Until doing_share it writes into memory of its own, which
 * costs next to nothing.
 *
 * Three threads are watched by what they do: the one that loads models, the one that loads
 * adapters, the one that computes. Any thread may say which model it works for; if it crashes,
 * doing_crashed puts that first. */
#ifndef HEARTH_BASE_DOING_H
#define HEARTH_BASE_DOING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum doing {
    DOING_LOAD,
    DOING_ADAPTER, /* loading one, for the model */
    DOING_STEP,    /* all that the engine thread does with the model */
    DOING_COUNT
};

enum { DOING_MODEL_MAX = 128, DOING_PAGE = 4096 };

/* Zeroed memory of DOING_PAGE bytes; NULL = its own again. */
void doing_share(void *page);

/* This thread works for the model ("" = for none), until the next call. */
void doing_for(const char *model);
/* The same until doing_end, and what it does is seen in the page. Not within itself. */
void doing_begin(enum doing what, const char *model);
void doing_end(enum doing what);

/* In a handler of a signal that ends the process: the thread it came to is the culprit. */
void doing_crashed(void);

/* Who reads the page of a process that runs: since when it has been in the step under way (of
 * clock_mono_ms, the same in all processes; 0: none is), and how long the longest took. What the
 * page says may be nonsense; both are >= 0. */
void doing_step(const void *page, int64_t *since_ms, int64_t *longest_ms);

/* For how long it has loaded models in its life until now, in ms; >= 0, and may be nonsense. */
int64_t doing_loaded_ms(const void *page);

/* Who reads the page of a process that has ended: the model it died of as far as that is known, or
 * "". `what` is "loading", "loading an adapter of", "running" or "". hung: it was killed for a step
 * that did not end, so whatever else it did beside that is not to blame. */
void doing_read(const void *page, bool hung, char *model, size_t size, const char **what);

#endif
