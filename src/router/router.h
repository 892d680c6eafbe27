/* Router: a provider in front of all others: this hub's own models and those that answer over HTTP.
 * For each request it makes a plan (plan.h) and asks one provider after the other until one
 * answers. It goes on to the next only while no token of the answer has been passed on, and never
 * for a request that must stay on this machine.
 *
 * Rules:
 *  1. A request has one listener, which hears of whom is asked (GEN_EV_ROUTED, before any other
 *     event of that attempt) and then that one's events; events of attempts that came to nothing
 *     end where the next one begins. The last event is one DONE or ERROR, as with any provider.
 *  2. After the first TEXT, REASONING, TOOL_CALL or CHOICE_END there is no other attempt. After a
 *     STARTED of this hub's own models neither: who is told that it has begun need not be told
 *     another story. A STARTED of others is kept until its first token.
 *  3. Requests are not copied for this: each attempt has an arena of its own that points into the
 *     request's (base/arena.h: arena_child).
 *  4. With no other provider than the hub's own nothing goes out, no thread is started, and a
 *     token costs one more call of a function.
 *
 * Any thread. Locks: the router's own one, a leaf but for the timers'; it is never held while a
 * provider or a listener is called. */
#ifndef HEARTH_ROUTER_ROUTER_H
#define HEARTH_ROUTER_ROUTER_H

#include "base/config.h"
#include "provider/provider.h"
#include "remote/remote.h"
#include "router/plan.h"
#include "router/routing.h"

struct router;

enum {
    ROUTER_ID_MAX = 144,
    ROUTER_NAME_MAX = 128,
    ROUTER_REASON_MAX = 200,
    ROUTER_TRIED_MAX = 400,
};

/* What a request came to, for the log. Strings are copies; a value. */
struct router_record {
    char request_id[ROUTER_ID_MAX], tenant[ROUTER_NAME_MAX];
    const char *kind;            /* "chat", "completion", "embedding", "rerank" */
    const char *route, *goal;    /* the router's, as long as that lives */
    char asked[ROUTER_NAME_MAX]; /* the model, as the client named it */
    char provider[ROUTING_NAME_MAX], model[ROUTER_NAME_MAX]; /* who answered, or failed last */
    char reason[ROUTER_REASON_MAX];
    char tried[ROUTER_TRIED_MAX];  /* those before: "local: model_not_found after 2 ms; ..." */
    char left_to[ROUTER_NAME_MAX]; /* providers outside this machine that were sent it: "a,b" */
    int64_t left_bytes;            /* text and pictures in it; 0 = nothing left */
    int32_t left_messages, left_images;
    int32_t attempts;
    double complexity; /* -1 = not measured */
    enum err error;    /* OK = it was answered */
    struct usage usage;
    int64_t started_wall_ms, first_token_ms /* -1 = none came */, total_ms;
    int64_t cost_micros; /* millionths of a dollar; -1 = no price is known */
};

/* What the hub does for the router. ctx is handed to each; any may be NULL. Called on any thread,
 * without locks; must not block. */
struct router_hooks {
    /* Whether the tenant may still spend money this month. */
    bool (*may_spend)(void *ctx, const char *tenant);
    /* Once for each request that was accepted, before its last event is passed on. */
    void (*ended)(void *ctx, const struct router_record *record);
    /* What the local model has read and written to say how hard a request of the tenant is
     * (classify.h): once for each that it began to read, when it is known. */
    void (*classified)(void *ctx, const char *tenant, const struct usage *usage);
    void *ctx;
};

/* Where the providers over HTTP come from; tests have others. */
struct router_remotes {
    const char *name;
    /* Both MUST. */
    enum err (*open)(struct httpc *httpc, struct timers *timers, const struct remote_params *params,
                     struct provider **out, struct error *error);
    void (*state)(struct provider *p, struct remote_state *out);
};

/* All borrowed; routing and prices become the router's. */
struct router_params {
    struct routing *routing;
    struct prices *prices;
    struct provider *local;
    struct httpc *httpc;
    struct timers *timers;
    struct router_hooks hooks;
    const struct router_remotes *remotes; /* NULL = those of src/remote */
};

/* ERR_CONFIG: a provider can't be made of its parameters. Goes out to nobody. Owns routing and
 * prices from then on, also when it fails. */
HT_MUST_CHECK enum err router_open(const struct router_params *params, struct router **out,
                                   struct error *error);
/* No further attempts are made and requests are refused (ERR_STOPPING); what is under way goes on.
 * Before the local provider is stopped. NULL is fine. */
void router_stop(struct router *r);
/* Ends what is under way elsewhere, at the latest after grace_ms, and closes all but the local
 * provider. After the local one was stopped. NULL is fine. */
void router_close(struct router *r, int64_t grace_ms);
void router_free(struct router *r); /* after router_close; NULL is fine */

/* The face for callers. Its control asks the local provider. */
struct provider *router_provider(struct router *r);
const struct routing *router_routing(const struct router *r);
/* Asks one provider, by its name, as provider_control does: its list of models, its health.
 * ERR_NOT_FOUND: there is none of that name. */
HT_MUST_CHECK enum err router_ask(struct router *r, const char *name, enum control what,
                                  const char *args, control_fn fn, void *ctx, struct error *error);
/* What is known of a provider that is not the local one; false for that and for unknown names. */
bool router_state(struct router *r, const char *name, struct remote_state *out);

/* What a request would come to, without asking anybody: see plan.h for the errors. */
HT_MUST_CHECK enum err router_plan_request(struct router *r, const struct gen_request *req,
                                           struct plan *out, struct error *error);

#endif
