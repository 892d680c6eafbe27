/* Asks the provider (provider_control) and goes on with its answer on the pool, where a handler may
 * take its time. Any thread. */
#ifndef HEARTH_API_ASK_H
#define HEARTH_API_ASK_H

#include "base/json.h"
#include "provider/provider.h"

struct hub;

/* Called once, on the pool; on a thread that must not wait only with an error. answer: an object,
 * borrowed; NULL with an error. */
typedef void (*ask_fn)(void *ctx, const struct error *error, const json_t *answer);

/* args: JSON text of an object, copied. Always ends with one call of `then`. */
void ask_provider(struct hub *hub, enum control what, const char *args, ask_fn then, void *ctx);

#endif
