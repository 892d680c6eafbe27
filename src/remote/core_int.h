/* The core of remote: what the protocols (remote_int.h) don't see. */
#ifndef HEARTH_REMOTE_CORE_INT_H
#define HEARTH_REMOTE_CORE_INT_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/idmap.h"
#include "base/list.h"
#include "remote/breaker.h"
#include "remote/remote_int.h"
#include "remote/token.h"

/* ---- decode.c: pieces of a body -> events -------------------------------------------------- */

/* Where the events go; timings of DONE are the caller's, so are ERROR and DONE themselves. */
typedef void (*decode_emit_fn)(void *ctx, struct gen_event *ev);

void decode_init(struct decode *d, const struct protocol *protocol, const char *name,
                 enum gen_kind kind, int32_t n, const char *model, decode_emit_fn emit, void *ctx);
void decode_free(struct decode *d);
/* content_type may be NULL. ERR_UPSTREAM: that is no stream. */
HT_MUST_CHECK enum err decode_type(struct decode *d, const char *content_type, struct error *error);
HT_MUST_CHECK enum err decode_feed(struct decode *d, const char *data, size_t len,
                                   struct error *error);
/* The body has ended. OK: it was all. */
HT_MUST_CHECK enum err decode_end(struct decode *d, struct error *error);
bool decode_is_done(const struct decode *d);
bool decode_has_started(const struct decode *d); /* something was shown */
const char *decode_model_name(const struct decode *d);
/* As the server said; where it said nothing an estimate from the bytes: of the answer, and
 * `text_bytes` of the request. */
void decode_usage_sum(const struct decode *d, size_t text_bytes, struct usage *out);
bool decode_usage_told(const struct decode *d); /* false: the sum is an estimate */

/* ---- rows.c: embeddings, lists of models --------------------------------------------------- */

struct embed_rows {
    const char *name; /* of the instance */
    size_t n, first;  /* rows in all; the first one of the request under way */
    size_t asked;     /* of the request under way */
    size_t dims;      /* 0 = not known yet */
    float *vectors;
    bool *seen; /* n of them */
    size_t n_seen;
    bool scores;
    char model[MODEL_ID_MAX];
    int32_t told_tokens; /* of the request under way; they count when it has brought all */
    int32_t prompt_tokens;
};

/* ERR_NOMEM. */
HT_MUST_CHECK enum err rows_init(struct embed_rows *rows, const char *name, size_t n, bool scores,
                                 struct error *error);
void rows_free(struct embed_rows *rows);
/* Inputs [first, first + asked) are asked for. */
void rows_begin(struct embed_rows *rows, size_t first, size_t asked);
/* All that were asked for have come, and can be scaled to length 1. */
HT_MUST_CHECK enum err rows_complete(struct embed_rows *rows, struct error *error);

struct model_list {
    const char *provider;
    struct jw *w;
    size_t n;
};

/* ---- the instance -------------------------------------------------------------------------- */

struct remote {
    struct provider base;
    struct provider_ops ops; /* a copy with the name and the protocol's abilities */
    const struct protocol *protocol;
    struct httpc *httpc;
    struct timers *timers;
    /* constant */
    char name[REMOTE_NAME_MAX], url[REMOTE_URL_MAX], where[REMOTE_URL_MAX];
    char *key, *model, *embed_model, *proxy, *ca_file;
    struct remote_params params; /* the numbers; its pointers are not used */
    struct remote_env env;
    struct headers headers;
    bool headers_secret[REMOTE_HEADERS_MAX]; /* the value may be one */
    struct token *token;                     /* NULL: the key does not come by OAuth */

    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* under the lock */
    struct idmap calls;
    struct list_node all;     /* the same */
    size_t n_alive;           /* calls whose memory is still there */
    struct list_node waiting; /* by priority, then by age */
    int32_t n_waiting, n_running;
    uint64_t next_id;
    bool closing;
    struct breaker breaker;
    double first_token_ms; /* moving average; < 0: none yet */
    uint64_t requests, attempts, failed;
    enum err last_code;
    char last_error[ERROR_MSG_MAX];
};

enum call_kind { CALL_GENERATE, CALL_EMBED, CALL_MODELS, CALL_HEALTH };

/* See call.c for who changes what. */
enum call_state { CALL_WAITING, CALL_TOKEN, CALL_SENDING, CALL_BACKOFF, CALL_ENDING, CALL_OVER };

struct call {
    struct idnode by_id;
    struct list_node node; /* in remote.waiting */
    struct list_node all;  /* in remote.all */
    atomic_int refs;
    struct remote *r;
    enum call_kind kind;
    int32_t priority;
    int64_t deadline_ms;
    char *request_id;
    struct timer timer;

    /* under remote.lock */
    enum call_state state;
    bool cancelled, has_slot, probe;
    bool telling;      /* the clock thread is telling its place */
    bool leaving;      /* only the end of its body is waited for */
    int32_t attempt;   /* 1 = the first one */
    uint64_t sendings; /* attempts of all parts: which one a transfer belongs to */
    uint64_t xfer;     /* of httpc; 0 = not known yet */

    /* whoever drives it: one thread at a time */
    struct remote_http http;
    struct error failed; /* why the attempt failed; OK = it did not */
    int status;
    int64_t retry_after_ms; /* as the server said; 0 = it did not */
    bool hopeless;          /* trying again at once would bring the same */
    bool told;              /* the last event has come */
    struct token_waiter waiter;
    char *auth; /* the header with the token */
    uint64_t token_used;
    bool renewed;    /* the token was fetched again for it */
    struct buf body; /* of an error, or of an answer that does not stream */
    int64_t arrived_ns, sent_ns, first_ns;

    union {
        struct {
            gen_listener_fn fn;
            struct decode decode;
            enum gen_kind kind;
            int32_t n;
            char *model;
            size_t text_bytes; /* of the request, without its pictures */
            size_t behind;     /* bytes that came behind the answer's end */
        } gen;
        struct {
            embed_listener_fn fn;
            struct embed_request *req;
            struct embed_rows rows;
            size_t at;
            char *model;
        } embed;
        struct {
            control_fn fn;
            struct buf list; /* MODELS: the answer */
            char *model;     /* only of that one; NULL = all */
        } control;
    };
    void *ctx;
};

/* call.c. Takes the call over if it returns OK; else remote_call_free it. */
struct call *call_new(struct remote *r, enum call_kind kind, const char *request_id);
void remote_call_free(struct call *c);
HT_MUST_CHECK enum err call_submit(struct call *c, uint64_t *id, struct error *error);
void call_good(struct call *c); /* the breaker hears it before the listener does */
/* The listener has its last event, and the body has not ended: it gets little time to. */
void call_let_go(struct call *c);
void call_cancel(struct remote *r, uint64_t id);
void call_cancel_all(struct remote *r); /* under the lock */

/* end.c: what an attempt's answer means, and the last event. */
void call_decode_init(struct call *c);
bool call_on_data(struct call *c, const char *data, size_t len);
bool call_on_response(struct call *c, const struct httpc_response *r);
/* The attempt is over; `error` of the transfer or NULL. c->failed says what it came to. */
void call_judge(struct call *c, const struct error *error);
bool call_may_retry(const struct call *c);
/* hints.c: takes the hint out of the request that the server has refused it for. */
bool call_drop_hint(struct call *c);
/* More requests are needed for it: the next one is written. */
bool call_goes_on(struct call *c);
/* The last event, once. */
void call_tell_end(struct call *c);

/* ask.c: embeddings, lists of models, health. */
HT_MUST_CHECK enum err remote_embed(struct provider *p, struct embed_request *req,
                                    embed_listener_fn fn, void *ctx, uint64_t *id,
                                    struct error *error);
HT_MUST_CHECK enum err remote_control(struct provider *p, enum control what, const char *args,
                                      control_fn fn, void *ctx, struct error *error);
/* Writes the request for the inputs from c->embed.at on. */
HT_MUST_CHECK enum err embed_write(struct call *c, struct error *error);
void control_read(struct call *c, const json_t *body);
void control_tell_end(struct call *c);

/* Takes the instance's secrets out of a message; one of them. */
void remote_redact(const struct remote *r, struct error *error);
void remote_cut_out(char *text, const char *secret);
/* Seconds of a Retry-After header, as milliseconds; 0: there is none, or it makes no sense. */
int64_t retry_after_ms(const struct httpc_response *r);
/* Is it one that may be gone the next time? `status` 0 = no answer, or an error in a stream. */
bool failure_may_pass(int status, enum err code);

#endif
