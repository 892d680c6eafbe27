/* The local provider: chat templates and parsers around the scheduler.
 *
 * generate(): on the pool, resolves the model name, loads the model if it is not in memory (the
 * request waits without holding a pool thread), renders and tokenises, submits to the scheduler.
 * The scheduler's events go to one delivery thread, which parses reasoning and tool calls and calls
 * the listener, so the engine thread never formats anything. */
#ifndef HEARTH_PROVIDER_LOCAL_H
#define HEARTH_PROVIDER_LOCAL_H

#include "provider/provider.h"
#include "models/models.h"
#include "sched/sched.h"

struct local_params {
    struct sched *sched;         /* borrowed */
    struct models *models;       /* borrowed: names to files */
    struct pool *pool;           /* borrowed */
    const char *default_model;   /* copied; "" = the built-in one */
    const char *default_embedding_model; /* copied; "" = the built-in one */
};

HT_MUST_CHECK enum err local_open(const struct local_params *params, struct provider **out,
                                  struct error *error);

/* Loads in the background (preload). on_done may be NULL; called on any thread. */
HT_MUST_CHECK enum err local_load(struct provider *p, const char *model,
                                  void (*on_done)(void *ctx, const struct error *error), void *ctx,
                                  struct error *error);

#endif
