/* What this process is doing with which model, in memory that outlives it: so that whoever started
 * it can say which model it died of. Until doing_share it writes into memory of its own, which
 * costs next to nothing.
 *
 * Two threads are watched by name (the one that loads, the one that decodes). Any thread may say
 * which model it works for; if it crashes, doing_crashed puts that first. */
#ifndef HEARTH_BASE_DOING_H
#define HEARTH_BASE_DOING_H

#include <stddef.h>
#include <stdint.h>

enum doing { DOING_LOAD, DOING_DECODE, DOING_COUNT };

enum { DOING_MODEL_MAX = 128, DOING_PAGE = 4096 };

/* Zeroed memory of DOING_PAGE bytes; NULL = its own again. */
void doing_share(void *page);

/* This thread works for the model, until the next call. */
void doing_for(const char *model);
/* The same, and what it does is seen in the page. */
void doing_begin(enum doing what, const char *model);
void doing_end(enum doing what);

/* In a handler of a signal that ends the process: the thread it came to is the culprit. */
void doing_crashed(void);

/* Who reads the page of a process that runs: since when it has been in the decode under way (of
 * clock_mono_ms, the same in all processes; 0: none is), and how long the longest took. What the
 * page says may be nonsense; both are >= 0. */
void doing_step(const void *page, int64_t *since_ms, int64_t *longest_ms);

/* Who reads the page of a process that has ended: the model it died of as far as that is known, or
 * "". `what` is "loading", "running" or "". */
void doing_read(const void *page, char *model, size_t size, const char **what);

#endif
