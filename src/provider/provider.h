/* Provider: one way to generate and embed, whoever does it. This part has one provider, `local`
 * (the scheduler in this process); others join the same table.
 *
 * Lifetime law:
 *  1. A request passed to provider_generate/embed belongs to the provider from then on, also when
 *     the call fails.
 *  2. If the call returns OK the listener is called, on the delivery thread, and its last event is
 *     exactly one DONE or ERROR. If it returns an error the listener is never called.
 *  3. provider_cancel is idempotent, allowed from any thread at any time, also after the end; the
 *     last event still comes (ERR_CANCELLED unless it was already done).
 *  4. provider_close returns after every listener has had its last event. */
#ifndef HEARTH_PROVIDER_PROVIDER_H
#define HEARTH_PROVIDER_PROVIDER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/thread.h"
#include "types/gen.h"
#include "types/model_info.h"

struct provider;

enum provider_caps {
    PROVIDER_GENERATE = 1 << 0,
    PROVIDER_EMBED = 1 << 1,
    PROVIDER_TOOLS = 1 << 2,
};

/* One instance per file. Callers use the wrappers below, which check and count. */
struct provider_ops {
    const char *name;
    unsigned caps;
    /* MUST */
    enum err (*generate)(struct provider *p, struct gen_request *req, gen_listener_fn fn, void *ctx,
                         uint64_t *id, struct error *error);
    /* MUST */
    void (*cancel)(struct provider *p, uint64_t id);
    /* MAY (PROVIDER_EMBED) */
    enum err (*embed)(struct provider *p, struct embed_request *req, embed_listener_fn fn,
                      void *ctx, uint64_t *id, struct error *error);
    /* MUST */
    void (*close)(struct provider *p, int64_t grace_ms);
};

struct provider {
    const struct provider_ops *ops;
};

HT_MUST_CHECK enum err provider_generate(struct provider *p, struct gen_request *req,
                                         gen_listener_fn fn, void *ctx, uint64_t *id,
                                         struct error *error);
HT_MUST_CHECK enum err provider_embed(struct provider *p, struct embed_request *req,
                                      embed_listener_fn fn, void *ctx, uint64_t *id,
                                      struct error *error);
void provider_cancel(struct provider *p, uint64_t id);
void provider_close(struct provider *p, int64_t grace_ms);

#endif
