/* Routing: what the configuration says about who answers: the providers there are, the routes (an
 * ordered chain of them each), and how a request's complexity is measured. Plain data, read once at
 * start from the settings and from a JSON file (docs/routing.md); constant after that, so every
 * thread may read it. */
#ifndef HEARTH_ROUTER_ROUTING_H
#define HEARTH_ROUTER_ROUTING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/config.h"
#include "remote/remote.h"
#include "types/gen.h"

enum {
    ROUTING_NAME_MAX = 64,
    ROUTING_PROVIDERS_MAX = 32,
    ROUTING_ROUTES_MAX = 64,
    ROUTING_CHAIN_MAX = 16,
    ROUTING_MODELS_MAX = 256,
};

/* How large a model is, and so how hard a request it is for. */
#define TIERS(X)                                                                                   \
    X(SMALL, "small")                                                                              \
    X(MIDDLE, "middle")                                                                            \
    X(LARGE, "large")

enum tier {
#define X(id, word) TIER_##id,
    TIERS(X)
#undef X
        TIER_COUNT
};
const char *tier_name(enum tier t);

struct routing_provider {
    const char *name; /* "local", "openai", ...: unique; no '/' in it */
    bool local;       /* this hub's own models; the first one, always there */
    /* Whether requests to it leave this machine: false for the hub itself and for addresses of this
     * machine (127.0.0.1, ::1, localhost). */
    bool leaves;
    /* The person says that it counts as this machine, so that pinned requests may go there. */
    bool trusted;
    bool configured; /* it is in the default chain; others are asked when they are named */
    /* A model for each tier; NULL = it has none of that size. "" at the local one is the default
     * model. */
    const char *tiers[TIER_COUNT];
    const char *embed_model;   /* NULL = none */
    const char *const *models; /* names that it is known to serve; n_models 0 = ask and see */
    size_t n_models;
    struct remote_params remote; /* of all but the local one */
};

struct routing_step {
    size_t provider;
    const char *model; /* NULL = as asked for, or what the provider has for it */
};

struct routing_route {
    const char *name;
    struct routing_step chain[ROUTING_CHAIN_MAX];
    size_t n;
    enum goal goal; /* GOAL_DEFAULT = as the hub's */
    bool local_only;
    bool substitute;     /* a provider that has not the model asked for answers with its own */
    bool first;          /* the chain's first step is first whatever the goal */
    int64_t max_wait_ms; /* a longer wait in the hub's queue is a reason to go on; 0 = none */
};

#define FEATURES(X)                                                                                \
    X(LENGTH, "length", 0.25)                                                                      \
    X(CODE, "code", 0.20)                                                                          \
    X(MATHS, "maths", 0.20)                                                                        \
    X(TOOLS, "tools", 0.15)                                                                        \
    X(TURNS, "turns", 0.10)                                                                        \
    X(REASONING, "reasoning", 0.35)                                                                \
    X(FORMAT, "format", 0.05)

enum feature {
#define X(id, word, weight) FEATURE_##id,
    FEATURES(X)
#undef X
        FEATURE_COUNT
};
const char *feature_name(enum feature f);

struct routing {
    struct arena *arena;
    struct routing_provider providers[ROUTING_PROVIDERS_MAX];
    size_t n_providers;
    struct routing_route routes[ROUTING_ROUTES_MAX]; /* the first one is the default one */
    size_t n_routes;
    enum goal goal;
    double low, high; /* thresholds of complexity */
    double weights[FEATURE_COUNT];
    bool classify; /* the local model is asked, too (classify.h), at most for */
    int64_t classify_ms;
};

/* Reads the settings and the file. ERR_CONFIG says what is wrong and where. free with
 * routing_free. */
HT_MUST_CHECK enum err routing_load(const struct config *config, struct routing **out,
                                    struct error *error);
void routing_free(struct routing *r); /* NULL is fine */

/* By name; NULL if there is none. "" is the default route. */
const struct routing_provider *routing_provider(const struct routing *r, const char *name);
const struct routing_route *routing_route(const struct routing *r, const char *name);
/* The error of a name that routing_provider does not know: which setting gives those that could be
 * here, else who is here. Returns code. */
enum err routing_no_provider(const struct routing *r, const char *name, enum err code,
                             const char *param, struct error *error);
/* "privacy", ...; false for other words. */
bool goal_of_word(const char *word, enum goal *out);
const char *goal_name(enum goal g);

#endif
