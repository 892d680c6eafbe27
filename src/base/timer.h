/* Timers: functions that are to run a little later, on one thread of their own (the clock thread).
 * For time-outs that usually don't happen: adding and removing one takes a lock and no system call.
 *
 * Any thread. A timer's function must not block; it may add and remove timers, also its own. */
#ifndef HEARTH_BASE_TIMER_H
#define HEARTH_BASE_TIMER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct timers;

typedef void (*timer_fn)(void *ctx);

/* Embedded in whatever it belongs to; zeroed before its first use. */
struct timer {
    int64_t at_ns;
    timer_fn fn;
    void *ctx;
    size_t place; /* in the heap, from 1; 0 = it is not set */
};

HT_MUST_CHECK enum err timers_new(struct timers **out, struct error *error);
void timers_free(struct timers *t); /* those still set never run; NULL is fine */

/* fn(ctx) runs once after delay_ms; sets it anew if it is set. */
void timer_set(struct timers *t, struct timer *timer, int64_t delay_ms, timer_fn fn, void *ctx);
/* After it returns the function is not running and never will, unless it is the function itself
 * that calls this. */
void timer_clear(struct timers *t, struct timer *timer);

#endif
