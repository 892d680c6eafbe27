/* Downloads of models that clients of the API asked for: each on a thread of its own, since one
 * takes minutes and the pool's threads are for handlers. At most PULLS_MAX at a time.
 *
 * Any thread may start one. Its callbacks run on its thread; they must not block for long. */
#ifndef HEARTH_HUB_PULLS_H
#define HEARTH_HUB_PULLS_H

#include "base/config.h"
#include "base/err.h"
#include "models/models.h"
#include "models/pull.h"

enum { PULLS_MAX = 8 };

struct pulls;

struct pulls_listener {
    /* About ten times a second; false: stop it (what was downloaded is kept). */
    bool (*on_progress)(void *ctx, const struct pull_progress *p);
    /* Once, the last: error NULL = the model is there. */
    void (*on_done)(void *ctx, const struct error *error, const struct model_info *model);
    void *ctx;
};

/* Both are borrowed. */
struct pulls *pulls_new(const struct config *config, struct models *models);
/* spec as in models/pull.h. ERR_BUSY: as many as may run do run; ERR_STOPPING. If it returns OK
 * on_done is called. */
HT_MUST_CHECK enum err pulls_start(struct pulls *p, const char *spec,
                                   const struct pulls_listener *listener, struct error *error);
/* Refuses new ones, stops those that run, and returns when they have ended. */
void pulls_stop(struct pulls *p);
void pulls_free(struct pulls *p); /* NULL is fine */

#endif
