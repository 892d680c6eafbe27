/* Snapshot: a text that many ask for and that takes a moment to make (the state in GET /health, the
 * list of GET /v1/models). It is made when somebody asks and the last one has become too old; once,
 * however many ask meanwhile: they wait for the same one. So its price does not grow with the
 * number of those who ask, nobody gets an old one, and while nobody asks it costs nothing.
 *
 * Any thread. No function here waits. When a text is slow to come (the worker is starting, busy or
 * hangs), those who wait get the last one instead, or an error if there is none yet. */
#ifndef HEARTH_HUB_SNAPSHOT_H
#define HEARTH_HUB_SNAPSHOT_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/timer.h"

struct snapshot;

/* text: borrowed during the call; NULL with an error. */
typedef void (*snapshot_fn)(void *ctx, const struct error *error, const char *text, size_t len);
/* Makes the text and ends with exactly one snapshot_done or snapshot_failed, at any time, on any
 * thread. */
typedef void (*snapshot_make_fn)(void *ctx, struct snapshot *s);

/* patience_ms: after that long a text that is being made counts as slow. timers: borrowed. */
struct snapshot *snapshot_new(struct timers *timers, int64_t max_age_ms, int64_t patience_ms);
void snapshot_free(struct snapshot *s); /* nothing is being made; NULL is fine */

/* fn is called exactly once: inside this call, from where the text is made, or on the clock thread
 * (ERR_TIMEOUT when there is no text at all). make: the same at
 * every call; called again only after the one before has ended. */
void snapshot_get(struct snapshot *s, snapshot_make_fn make, void *make_ctx, snapshot_fn fn,
                  void *ctx);
/* What it shows has changed: whoever asks from now on gets a new one. */
void snapshot_expire(struct snapshot *s);

void snapshot_done(struct snapshot *s, const char *text, size_t len);
void snapshot_failed(struct snapshot *s, const struct error *error);

#endif
