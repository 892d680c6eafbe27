/* Classification: what the local model that is in memory says of a request, where the configuration
 * wants to know (docs/routing.md): one word of three, held by a grammar. It is asked for a while
 * and no longer; no model is loaded for it. */
#ifndef HEARTH_ROUTER_CLASSIFY_H
#define HEARTH_ROUTER_CLASSIFY_H

#include "router/routing.h"

enum { CLASSIFIED_MODEL_MAX = 128, CLASSIFIED_WHY_MAX = 120 };

/* A value; zeroed: nobody was asked. */
struct classified {
    bool known;
    enum tier tier;
    char model[CLASSIFIED_MODEL_MAX]; /* that said it */
    char why[CLASSIFIED_WHY_MAX];     /* not known: why not, one line; "" = nobody was asked */
    int64_t took_ms;
};

struct router;
struct classify;

/* Called once, on any thread, also inside of classify_start; must not block. */
typedef void (*classify_fn)(void *ctx, const struct classified *said);

/* Asks. False: it can't be asked, *why_not says why and fn is not called. Else *out is there until
 * fn is called (it is set before that; NULL is fine for who never cancels). req is borrowed during
 * the call. */
bool classify_start(struct router *r, const struct gen_request *req, classify_fn fn, void *ctx,
                    struct classify **out, struct classified *why_not);
/* fn comes soon. */
void classify_cancel(struct classify *c);
void classify_ref(struct classify *c); /* under the router's lock */
void classify_unref(struct classify *c);

#endif
