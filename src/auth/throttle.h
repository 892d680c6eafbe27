/* Slows down who guesses passwords. Each account and each address has a count of failures; past the
 * free ones every further try must wait twice as long, and the count fades with time. A pure data
 * structure with a lock: the time comes in. Bounded: when it is full the calmest entry goes, so
 * that a flood of addresses costs no memory. */
#ifndef HEARTH_AUTH_THROTTLE_H
#define HEARTH_AUTH_THROTTLE_H

#include <stddef.h>
#include <stdint.h>

struct throttle;

enum { THROTTLE_FREE = 5, THROTTLE_FADE_MS = 60000, THROTTLE_WAIT_MAX_MS = 900000 };

struct throttle *throttle_new(size_t max_entries);
void throttle_free(struct throttle *t);
/* Milliseconds until `who` may try again; 0 = now. */
int64_t throttle_wait_ms(struct throttle *t, const char *who, int64_t now_ms);
void throttle_failed(struct throttle *t, const char *who, int64_t now_ms);
void throttle_succeeded(struct throttle *t, const char *who);

#endif
