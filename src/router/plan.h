/* Plan: who is asked for a request, in which order, and why. A pure function of the routing, the
 * request and what is known of the providers at that moment; any thread. */
#ifndef HEARTH_ROUTER_PLAN_H
#define HEARTH_ROUTER_PLAN_H

#include "router/classify.h"
#include "router/complexity.h"
#include "router/prices.h"
#include "router/routing.h"

enum { PLAN_STEPS_MAX = 2 * ROUTING_CHAIN_MAX };

/* Why a provider stands at its place: for people. */
#define PLAN_WHYS(X)                                                                               \
    X(ONLY, "nobody else is configured")                                                           \
    X(CHAIN, "the next in the route")                                                              \
    X(NAMED, "the request names it")                                                               \
    X(MODEL, "it may have the model that was asked for")                                           \
    X(SUBSTITUTE, "its own model instead of the one asked for")                                    \
    X(PINNED, "the request must stay on this machine")                                             \
    X(TIER, "its model is of the size that the request's complexity asks for")                     \
    X(COST, "it costs least")                                                                      \
    X(SPEED, "it answers soonest")                                                                 \
    X(QUALITY, "it has the largest model")                                                         \
    X(PREFERRED, "the configuration prefers it")

/* Why one is not asked. */
#define PLAN_SKIPS(X)                                                                              \
    X(PINNED, "the request must stay on this machine")                                             \
    X(DOWN, "it failed several times in a row and is left alone for a while")                      \
    X(MODEL, "it has no such model, and the route takes no other")                                 \
    X(BUDGET, "the budget of this month is used up")                                               \
    X(ABILITY, "it can't do what the request needs")

enum plan_why {
#define X(id, words) WHY_##id,
    PLAN_WHYS(X)
#undef X
};
enum plan_skip_why {
#define X(id, words) SKIP_##id,
    PLAN_SKIPS(X)
#undef X
};
const char *plan_why_words(enum plan_why why);
const char *plan_skip_words(enum plan_skip_why why);

struct plan_step {
    size_t provider;
    const char *model; /* as it is asked for there; "" = its default one. Borrowed */
    enum plan_why why;
};

/* The model a step asks for: the provider's default one where it names none. Borrowed. */
const char *plan_step_model(const struct routing *r, const struct plan_step *step);

struct plan_skip {
    size_t provider;
    enum plan_skip_why why;
};

struct plan {
    const struct routing_route *route;
    enum goal goal;
    bool pinned;
    bool scored;                  /* the next four hold something */
    struct complexity complexity; /* by its features */
    struct classified classified; /* what the local model says */
    double score;                 /* what counts: the model's word, if there is one */
    enum tier tier;
    /* The local model may be asked: nothing that the request says would make its word vain. */
    bool may_classify;
    struct plan_step steps[PLAN_STEPS_MAX];
    size_t n;
    struct plan_skip skips[PLAN_STEPS_MAX];
    size_t n_skips;
};

/* What of a request decides. Borrowed. */
struct plan_ask {
    const char *model, *source, *route; /* NULL is "" */
    bool local_only, embeds, rerank;
    enum goal goal;
    bool images, tools, adapter;         /* adapter: a LoRA adapter is named */
    const struct gen_request *gen;       /* for its complexity; NULL = it is not measured */
    const struct classified *classified; /* NULL = the local model was not asked */
};

/* What is known of the providers now. Borrowed; prices may be NULL. */
struct plan_world {
    bool down[ROUTING_PROVIDERS_MAX];
    bool no_tools[ROUTING_PROVIDERS_MAX], no_images[ROUTING_PROVIDERS_MAX],
        no_embeddings[ROUTING_PROVIDERS_MAX], no_rerank[ROUTING_PROVIDERS_MAX];
    int64_t first_token_ms[ROUTING_PROVIDERS_MAX]; /* -1 = unknown */
    bool over_budget;                              /* nothing that has a price */
    const struct prices *prices;
};

/* ERR_INVALID: the source or the route does not exist; ERR_LOCAL_ONLY: it must stay here, and who
 * was named is elsewhere; ERR_QUOTA: only providers with a price are left, and the budget is used
 * up; ERR_UNSUPPORTED: nobody can do it. */
HT_MUST_CHECK enum err plan_make(const struct routing *r, const struct plan_ask *ask,
                                 const struct plan_world *world, struct plan *out,
                                 struct error *error);

#endif
