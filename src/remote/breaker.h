/* Circuit breaker: after several failures in a row nobody is let through for a while, then one
 * request is, to see. A value without locks; times are the caller's.
 *
 *   closed --BREAKER_FAILURES failures in a row--> open --its time is over, breaker_allow-->
 * probing probing --success--> closed; --failure--> open, for twice as long; --given up--> open,
 * time over
 *
 * A server that says when to come back (Retry-After) is left alone until then, which is no failure
 * of it. */
#ifndef HEARTH_REMOTE_BREAKER_H
#define HEARTH_REMOTE_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

enum {
    BREAKER_FAILURES = 5,
    BREAKER_OPEN_MS = 5000,
    BREAKER_OPEN_MAX_MS = 120000,
    BREAKER_HOLD_MAX_MS = 600000, /* no Retry-After is believed to be longer */
};

struct breaker {
    int32_t failures; /* in a row */
    int64_t open_ms;  /* how long it was opened for; 0 = it is closed */
    int64_t until_ms; /* nobody before that */
    int64_t hold_ms;  /* as the server asked */
    bool probing;
};

/* false: refused; *wait_ms is when to come back. *probe: this one is the try, and its end must be
 * told by one of the next three. */
bool breaker_allow(struct breaker *b, int64_t now_ms, bool *probe, int64_t *wait_ms);
void breaker_good(struct breaker *b);
void breaker_bad(struct breaker *b, int64_t now_ms);
void breaker_gave_up(struct breaker *b, bool probe); /* cancelled: it says nothing */
/* The server wants to be left alone. */
void breaker_hold(struct breaker *b, int64_t now_ms, int64_t ms, bool probe);
bool breaker_is_open(const struct breaker *b, int64_t now_ms, int64_t *wait_ms);

#endif
