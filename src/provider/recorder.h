/* Flight recorder: a provider in front of another one, which writes down what each request went
 * through: how long it waited and for what, what the cache gave and why no more, how fast it was,
 * who ended it. It lives in the hub, so its records survive the worker that ran the requests.
 *
 * It keeps all live requests and the last `keep` finished ones. Any thread may ask; one lock, held
 * for a copy, never while a listener or the inner provider runs. */
#ifndef HEARTH_PROVIDER_RECORDER_H
#define HEARTH_PROVIDER_RECORDER_H

#include <stddef.h>
#include <stdint.h>

#include "provider/provider.h"

/* X(id, word): as the API calls them. The last three are ends. */
#define RECORD_STATES(X)                                                                           \
    X(PREPARING, "preparing") /* the prompt is put together and tokenised */                       \
    X(LOADING, "loading")     /* its model is on its way into memory */                            \
    X(WAITING, "waiting")     /* in the queue */                                                   \
    X(PREFILLING, "prefilling")                                                                    \
    X(DECODING, "decoding")                                                                        \
    X(PAUSED, "paused") /* it was decoding, and others go first */                                 \
    X(DONE, "done")                                                                                \
    X(FAILED, "failed")                                                                            \
    X(CANCELLED, "cancelled")

#define RECORD_KINDS(X)                                                                            \
    X(CHAT, "chat")                                                                                \
    X(COMPLETION, "completion")                                                                    \
    X(EMBEDDING, "embedding")                                                                      \
    X(RERANK, "rerank")

#define CANCELLERS(X)                                                                              \
    X(NOBODY, "nobody")                                                                            \
    X(CLIENT, "client")     /* it closed its connection */                                         \
    X(CALL, "call")         /* POST /v1/requests/{id}/cancel */                                    \
    X(HUB, "hub")           /* another part of the same call failed, or its answer did */          \
    X(SHUTDOWN, "shutdown") /* the hub was stopped */                                              \
    X(DEADLINE, "deadline") /* it could not start in time */                                       \
    X(WORKER, "worker")     /* the process that runs the models ended, and it could not go on */

enum record_state {
#define X(id, word) RECORD_##id,
    RECORD_STATES(X)
#undef X
};
enum record_kind {
#define X(id, word) RECORD_##id,
    RECORD_KINDS(X)
#undef X
};
enum canceller {
#define X(id, word) CANCELLED_BY_##id,
    CANCELLERS(X)
#undef X
};

const char *record_state_name(enum record_state state);
const char *record_kind_name(enum record_kind kind);
const char *canceller_name(enum canceller by);

enum { RECORD_ID_MAX = 144, RECORD_NAME_MAX = 128, RECORD_ERROR_MAX = 320, RECORD_WHY_MAX = 200 };

/* One request; a value. Times are of the monotonic clock, 0 = it has not come to that. */
struct record {
    /* The request's id. When a call makes several requests (a list of prompts), the later ones get
     * ".2", ".3", ... behind it. */
    char id[RECORD_ID_MAX];
    enum record_kind kind;
    enum record_state state;
    char asked[RECORD_NAME_MAX];    /* the model as the client named it */
    char model[RECORD_NAME_MAX];    /* which answers; "" until that is known */
    char provider[RECORD_NAME_MAX]; /* whose it is; "" until that is known */
    char route_reason[RECORD_WHY_MAX];
    bool remote;      /* it left this machine */
    int32_t attempts; /* providers that were asked, this one too */
    char adapter[RECORD_NAME_MAX];
    char tenant[RECORD_NAME_MAX];
    int32_t priority, n, n_inputs; /* n_inputs: of embeddings and reranks */
    int64_t arrived_wall_ms;
    int64_t arrived_ns, started_ns, first_ns, last_ns, ended_ns;
    int32_t position;                /* WAITING */
    int64_t wait_ms;                 /* WAITING: estimated until it starts; -1 = unknown */
    float load_fraction;             /* LOADING */
    char waits_for[RECORD_NAME_MAX]; /* LOADING: the model that has to go first; "" = none */
    int32_t n_tokens;                /* so far, while it is decoding */
    int32_t n_pauses;                /* so far */
    struct usage usage;
    struct timings timings; /* DONE */
    struct cache_report cache;
    enum finish_reason finish; /* DONE: of the first choice */
    enum err error;            /* FAILED, CANCELLED */
    char message[RECORD_ERROR_MAX];
    enum canceller cancelled_by;
    int64_t bytes_written; /* to the client */
};

struct recorder;

/* inner is borrowed and must be closed before the recorder is freed. on_change (may be NULL) is
 * called whenever something happened after which models or adapters in memory may be others: a
 * request got its model or none, a load, an unload. On the thread where it happened; must not
 * block.
 */
struct recorder *recorder_new(struct provider *inner, size_t keep, void (*on_change)(void *ctx),
                              void *ctx);
void recorder_free(struct recorder *r); /* NULL is fine */

/* Who counts what tenants use. begin may refuse a request; it comes before the inner provider is
 * asked. end comes once for each that was let in, under the recorder's lock. Neither may block, or
 * call the recorder. */
struct recorder_meter {
    enum err (*begin)(void *ctx, const char *tenant, enum record_kind kind, struct error *error);
    void (*end)(void *ctx, const char *tenant, enum record_kind kind, const struct usage *usage);
    void *ctx;
};
/* Once, before the first request. */
void recorder_set_meter(struct recorder *r, const struct recorder_meter *meter);

/* Everything that comes from now on must stay on this machine (HEARTH_PRIVACY=local): whatever
 * asks, it comes by here. Once, before the first request. */
void recorder_pin(struct recorder *r);

/* The face for callers; its close closes the inner provider. A plain provider_cancel counts as the
 * client's. */
struct provider *recorder_provider(struct recorder *r);

/* As provider_cancel, and who it was. */
void recorder_cancel(struct recorder *r, uint64_t id, enum canceller by);
/* By the record's id, if it is the tenant's (NULL: anybody's). ERR_NOT_FOUND; ERR_CONFLICT when it
 * has ended. */
HT_MUST_CHECK enum err recorder_cancel_record(struct recorder *r, const char *tenant,
                                              const char *id, enum canceller by,
                                              struct error *error);
/* Bytes sent to the client of a request, in addition to those told before; also after its end. */
void recorder_wrote(struct recorder *r, uint64_t id, size_t bytes);

/* Requests that are being computed, and that wait (for their model, in the queue, paused). */
struct recorder_counts {
    int32_t running, waiting;
};
void recorder_counts(const struct recorder *r, struct recorder_counts *out); /* takes no lock */

/* The newest record of that id; false if there is none, or it is not the tenant's (NULL:
 * anybody's).
 */
bool recorder_get(struct recorder *r, const char *tenant, const char *id, struct record *out);
/* Copies of at most max records of the tenant (NULL: of all), live ones first, each part newest
 * first; free() it. NULL: no memory. */
struct record *recorder_list(struct recorder *r, const char *tenant, size_t max, size_t *n);

#endif
