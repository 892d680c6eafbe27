/* Embedding and reranking through the provider, for threads that may wait. A question is started,
 * and waited for later, so that its asker works on something else meanwhile, or has several on
 * their way.
 *
 * A text that is longer than the model's context is cut into parts: its vector is the mean of
 * theirs, weighted by length; its score the best of theirs. */
#ifndef HEARTH_RAG_EMBED_H
#define HEARTH_RAG_EMBED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "provider/provider.h"
#include "types/model_info.h"

struct embedding; /* on its way */

enum embed_use { EMBED_DOCUMENTS, EMBED_QUERY, EMBED_RERANK };

/* Everything is copied. */
struct embed_ask {
    enum embed_use use;
    const char *model;  /* "" = the default one of this use */
    const char *tenant; /* user id, or "" */
    int32_t priority;
    bool local_only;          /* none of the texts may leave this machine */
    int32_t n_ctx;            /* tokens that the model takes at once; 0 = 512 */
    const char *query;        /* EMBED_RERANK: what the texts are scored against */
    const char *const *texts; /* none of them empty */
    size_t n;
};

struct embedded {
    char model[MODEL_ID_MAX]; /* that answered */
    int32_t dims;             /* 1 for scores */
    float *floats;            /* n rows; free() it */
};

HT_MUST_CHECK enum err embed_start(struct provider *p, const struct embed_ask *ask,
                                   struct embedding **out, struct error *error);
/* Waits, and frees e. cancelled (may be NULL) is asked several times a second: ERR_CANCELLED. */
HT_MUST_CHECK enum err embed_wait(struct embedding *e, bool (*cancelled)(void *ctx), void *ctx,
                                  struct embedded *out, struct error *error);
/* Nobody waits for it: cancelled and freed. NULL is fine. */
void embed_drop(struct embedding *e);

#endif
