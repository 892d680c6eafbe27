/* A wall clock that a test sets: this program's own clock_gettime stands before the C library's. It
 * goes on from where it was set; the monotonic clocks are the real ones. For one .c of a program.
 */
#ifndef HEARTH_TESTS_SUPPORT_FAKE_CLOCK_H
#define HEARTH_TESTS_SUPPORT_FAKE_CLOCK_H

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

static atomic_llong fake_clock_skew_ms;

int clock_gettime(clockid_t id, struct timespec *ts)
{
    if (syscall(SYS_clock_gettime, id, ts)) return -1;
    if (id != CLOCK_REALTIME) return 0;
    int64_t skew_ms = atomic_load(&fake_clock_skew_ms);
    int64_t ns = ts->tv_nsec + skew_ms % 1000 * 1000000;
    ts->tv_sec += (time_t)(skew_ms / 1000);
    if (ns < 0) {
        ns += 1000000000;
        ts->tv_sec--;
    } else if (ns >= 1000000000) {
        ns -= 1000000000;
        ts->tv_sec++;
    }
    ts->tv_nsec = (long)ns;
    return 0;
}

/* "2026-01-31T23:59:59Z" */
static inline void fake_clock_set(const char *utc)
{
    int64_t at_ms;
    if (!clock_parse_utc(utc, &at_ms)) abort();
    atomic_store(&fake_clock_skew_ms, 0);
    atomic_store(&fake_clock_skew_ms, at_ms - clock_wall_ms());
}

#endif
