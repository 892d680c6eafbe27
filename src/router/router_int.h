/* Inside of the router. Only for files of this folder. */
#ifndef HEARTH_ROUTER_ROUTER_INT_H
#define HEARTH_ROUTER_ROUTER_INT_H

#include <pthread.h>

#include "base/idmap.h"
#include "base/list.h"
#include "router/router.h"

struct router {
    struct provider base;
    struct provider_ops ops; /* with the abilities of all providers together */
    struct routing *routing;
    struct prices *prices;
    struct timers *timers;
    struct router_hooks hooks;
    const struct router_remotes *remotes;
    bool alone; /* the default route is this hub's own models, nobody else */
    struct provider *providers[ROUTING_PROVIDERS_MAX]; /* in the order of routing's */
    pthread_mutex_t lock;                              /* of all below, and what asks say */
    pthread_cond_t settled;                            /* busy became 0 */
    struct idmap asks;
    uint64_t next_id;
    int busy; /* calls of providers under way: requests being handed over, cancels */
    bool stopping, closed;
    int64_t first_token_ms[ROUTING_PROVIDERS_MAX]; /* smoothed; -1 = never seen */
};

/* One request. What is not under the lock belongs to whoever delivers or starts, which is one
 * thread at a time. */
struct ask {
    struct idnode by_id;
    struct router *router;
    gen_listener_fn fn;
    embed_listener_fn embed_fn;
    void *ctx;
    /* The request, while more than one attempt may be needed; the last one takes it. */
    struct gen_request *gen;
    struct embed_request *embed;
    struct plan_step *steps;
    size_t n, at;
    struct plan_step now; /* of the newest attempt that was made */
    char
        priced[ROUTER_NAME_MAX]; /* the model it was asked for, under the name that has the price */
    bool named, pinned, skipped; /* the plan's: somebody was left out because of the pin */
    enum tier tier;              /* that it asks for, where that was measured */
    struct classified classified;
    int64_t deadline_ms, max_wait_ms;
    bool announced; /* ROUTED was told of this attempt */
    bool told;      /* something that can't be taken back was passed on */
    bool dropping;  /* this attempt is being given up for its long wait: */
    int64_t drop_wait_ms;
    bool holds; /* a STARTED is kept back: */
    struct usage held_usage;
    struct gen_route route;
    char shown_model[ROUTER_NAME_MAX];
    struct error why; /* the error to end with when nobody answers */
    int32_t why_rank;
    int64_t began_ns, attempt_ns, first_ns;
    int64_t bytes;
    struct router_record record;
    /* Under the lock: */
    struct classify *classify; /* the local model is being asked how hard the request is */
    int refs;
    bool cancelled;
    struct provider *inner; /* of the attempt; both once it was handed over */
    uint64_t inner_id;
    int32_t attempt; /* counted up with each */
    int32_t dropped; /* the attempt that is cancelled to go on with the next */
};

/* What stands between this and router_leave may call providers; false: they are being closed. */
bool router_enter(struct router *r);
void router_leave(struct router *r);
/* As router_plan_request, with what the local model says of the request. */
HT_MUST_CHECK enum err router_plan_again(struct router *r, const struct gen_request *req,
                                         const struct classified *said, struct plan *out,
                                         struct error *error);

/* ask.c */
struct ask *ask_new(struct router *r, const struct plan *plan);
/* Asks the local model how hard the request is, and goes on when it has answered or is too slow:
 * then the listener hears of everything, errors too. False: it can't be asked, ask_start is next.
 */
bool ask_classify(struct ask *a);
void ask_unref(struct ask *a);
/* Hands the request to the step it is at, or the next that takes it. */
HT_MUST_CHECK enum err ask_start(struct ask *a, struct error *error);
void ask_cancel(struct ask *a);
/* Ends the attempt under way, so that the next one is made. */
void ask_drop(struct ask *a);

/* deliver.c */
void ask_listen(void *ctx, const struct gen_event *ev);
void ask_listen_embed(void *ctx, const struct embed_result *result);
/* An attempt came to nothing, which is written down: whether the next one may be made. */
bool ask_may_go_on(struct ask *a, const struct error *error);
/* No attempt is left: tells the listener, whose last event is made of `last`. */
void ask_fail(struct ask *a, struct error *error, const struct gen_event *last);
/* Ends as the error that says most of all attempts. */
void ask_settle_error(struct ask *a, struct error *error);
#endif
