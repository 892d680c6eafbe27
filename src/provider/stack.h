/* The local provider with its scheduler, as the configuration says. In the worker process; in the
 * hub's own with HEARTH_IN_PROCESS and in tests. */
#ifndef HEARTH_PROVIDER_STACK_H
#define HEARTH_PROVIDER_STACK_H

#include "base/config.h"
#include "provider/local.h"

struct stack {
    struct engine *engine; /* owned */
    struct sched *sched;
    struct provider *local;
};

/* What the process around it has to say; see local_params. May be NULL. */
struct stack_hooks {
    void (*on_drained)(void *ctx);
    void (*on_left)(void *ctx, const char *id); /* sched_params */
    void *ctx;
    const char *const *quarantined;
    size_t n_quarantined;
};

/* models and pool are borrowed; the engine is owned from here on, also when this fails. */
HT_MUST_CHECK enum err stack_open(const struct config *config, struct engine *engine,
                                  struct models *models, struct pool *pool,
                                  const struct stack_hooks *hooks, struct stack *out,
                                  struct error *error);
/* Loads what is to be in memory from the start, in the background, unless the configuration says
 * no, or it is one of the n models in `but`. What fails is an error in the log. Reads folders where
 * there are such. */
HT_MUST_CHECK enum err stack_preload(const struct config *config, struct stack *stack,
                                     const char *const *but, size_t n, struct error *error);
/* Refuses new work, lets requests go on for grace_ms; then the pool may be freed. */
void stack_stop(struct stack *stack, int64_t grace_ms);
void stack_close(struct stack *stack);

#endif
