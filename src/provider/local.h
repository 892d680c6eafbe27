/* The local provider: chat templates and parsers around the scheduler.
 *
 * generate(): on the pool, resolves the model name, loads the model if it is not in memory (the
 * request waits without holding a pool thread), renders and tokenises, submits to the scheduler.
 * The scheduler's events go to one delivery thread, which parses reasoning and tool calls and calls
 * the listener, so the engine thread never formats anything.
 *
 * With the fake engine (tests) a name that begins with "fake:" stands for itself. */
#ifndef HEARTH_PROVIDER_LOCAL_H
#define HEARTH_PROVIDER_LOCAL_H

#include "models/models.h"
#include "provider/provider.h"
#include "sched/sched.h"

struct local_params {
    struct sched *sched;                             /* borrowed */
    struct models *models;                           /* borrowed: names to files */
    struct pool *pool;                               /* borrowed */
    const char *default_model;                       /* copied; "" = the built-in one */
    const char *default_embedding_model;             /* copied; "" = the built-in one */
    const char *default_rerank_model;                /* copied; "" = the built-in one */
    const char *adapters_dir, *builtin_adapters_dir; /* copied; NULL = none */
    const char *default_adapter;                     /* copied; NULL, "" or "base" = none */
    const char *const *quarantined;                  /* ids, copied: not loaded unless forced */
    size_t n_quarantined;
    /* Called on the delivery thread when it has told all that it was given; may be NULL. */
    void (*on_drained)(void *ctx);
    void *drained_ctx;
};

HT_MUST_CHECK enum err local_open(const struct local_params *params, struct provider **out,
                                  struct error *error);

/* The first half of provider_close: refuses new requests (ERR_STOPPING) and returns when every
 * listener has had its last event, at the latest soon after grace_ms. After it the pool may be
 * freed, whose jobs may still call the provider; then provider_close. */
void local_stop(struct provider *p, int64_t grace_ms);

/* What a name stands for: "" = the default (embedding) model. ERR_NO_MODEL with what comes close;
 * ERR_UNSUPPORTED when it is a model of the other kind. Reads folders: not for a thread that must
 * not wait. */
HT_MUST_CHECK enum err local_resolve(struct provider *p, const char *name, bool embedding,
                                     struct model_info *out, struct error *error);

/* Does the name stand for the model of that id, whatever it is asked for? Reads folders. */
bool local_means(struct provider *p, const char *name, const char *id);

/* The same for a chat model without a provider: default_model is what "" stands for. */
HT_MUST_CHECK enum err local_resolve_name(struct models *models, const char *default_model,
                                          const char *name, struct model_info *out,
                                          struct error *error);

/* The same for a kind of model; named models of another kind are ERR_UNSUPPORTED. */
HT_MUST_CHECK enum err local_resolve_kind(struct models *models, const char *default_model,
                                          const char *name, enum model_kind kind,
                                          struct model_info *out, struct error *error);

/* The derived model that the name stands for ("" = the default one), with a reference; NULL: it is
 * of none. */
struct derived *local_derived(struct models *models, const char *default_model, const char *name);

/* The embeddings of a generating model are a context beside it, which has a name of its own in the
 * scheduler, in logs and in quarantine: that name, and (if it is one) the model's, else a copy. */
void local_embeddings_id(char *dst, size_t size, const char *id);
bool local_embeddings_of(const char *load_id, char *dst, size_t size);

/* Loads in the background (preload); model "" = the default one. on_done may be NULL; it is called
 * once, on the delivery thread, if this returns OK. */
HT_MUST_CHECK enum err local_load(struct provider *p, const char *model,
                                  void (*on_done)(void *ctx, const struct error *error), void *ctx,
                                  struct error *error);

#endif
