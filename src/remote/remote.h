/* Remote: providers that answer over HTTP. One object is one instance ("openai", "box", ...): an
 * address, a key, and a protocol that says how requests and answers look there (remote_int.h; one
 * file each). What they have in common is here: waiting for a free connection, time-outs, trying
 * again, the circuit breaker, cancellation, bounds on everything that a server may send.
 *
 * Threads: any thread may ask. Listeners are called on httpc's net thread, and on the clock thread
 * when a request ends that is not under way (it waits for a connection or for its next attempt).
 * One event at a time per request, and no lock is held meanwhile.
 *
 * Keys: they stand in the parameters and in the requests' headers, nowhere else. Messages that come
 * from a server go through a filter that takes them out. */
#ifndef HEARTH_REMOTE_REMOTE_H
#define HEARTH_REMOTE_REMOTE_H

#include "base/timer.h"
#include "httpc/httpc.h"
#include "provider/provider.h"

/* How to get the token that is sent as a key (RFC 6749: by password if there is a user, else by
 * client credentials). */
struct remote_oauth {
    const char *token_url; /* or a Keycloak server, or a realm of one; NULL or "": none is needed */
    const char *realm;     /* at a Keycloak server whose address names none; NULL or "" = "aihub" */
    const char *client_id, *client_secret;
    const char *username, *password; /* NULL or "" = client credentials */
    const char *scope;               /* may be NULL */
};

/* What an instance is made of; copied. NULL is the same as "", 0 is the default unless said
 * otherwise. */
struct remote_params {
    const char *name;     /* as people and routes call it */
    const char *protocol; /* "openai", "anthropic", "ollama", "cohere", "aihub" */
    const char *base_url; /* "" = the protocol's well-known one, if it has one */
    const char *key;      /* with oauth: the password or the client's secret that is not in there */
    const char *const *headers; /* "Name: value", added to every request */
    size_t n_headers;
    const char *model, *embed_model; /* for requests that name none */
    int64_t connect_ms;              /* 5 s */
    int64_t first_byte_ms;           /* 120 s: from the request to the first byte of the body */
    int64_t idle_ms;                 /* 60 s between two bytes */
    int64_t total_ms;                /* 30 min for one attempt, whatever comes meanwhile */
    int32_t retries;                 /* attempts after the first one: 2; -1 = none */
    int32_t concurrency;             /* requests at a time: 1024 */
    int32_t waiting;                 /* requests that wait for their turn: 4096; -1 = none */
    const char *proxy;               /* NULL = as the environment says; "" = none */
    bool insecure_tls;               /* certificates are not checked */
    const char *ca_file;             /* certificates to trust, instead of the system's */
    struct remote_oauth oauth;
};

/* httpc and timers are borrowed and must outlive the provider. ERR_CONFIG, with the field in
 * error->param, for parameters that can't work. Goes out to nobody yet. */
HT_MUST_CHECK enum err remote_open(struct httpc *httpc, struct timers *timers,
                                   const struct remote_params *params, struct provider **out,
                                   struct error *error);

/* What a router wants to know before it asks. A value. */
struct remote_state {
    bool open;           /* the breaker: requests are refused at once */
    int64_t retry_in_ms; /* until the next one is let through; 0 = now */
    int32_t failures;    /* in a row */
    int32_t running, waiting, concurrency;
    int64_t first_token_ms;              /* how long it usually takes, -1 = not known yet */
    uint64_t requests, attempts, failed; /* since it was opened */
    enum err last_code;                  /* of the newest failure; OK = there was none */
    char last_error[ERROR_MSG_MAX];
};
void remote_state(struct provider *p, struct remote_state *out);

/* Where requests go, for people: scheme, host and port. */
const char *remote_where(struct provider *p);

/* The names of the protocols, NULL-ended. */
const char *const *remote_protocols(void);

#endif
