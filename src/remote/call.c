/* A call's life: from the listener's request to its last event.
 *
 *   submit --a free slot--> SENDING --on_done: retry--> BACKOFF --timer--> SENDING
 *      \--none--> WAITING --a slot is freed: grant--> SENDING
 *   WAITING --tell_place: QUEUED--> WAITING
 *   SENDING --on_done: over--> OVER
 *   SENDING, all is said --BODY_END_MS: cancelled--> SENDING --on_done--> OVER
 *   WAITING, BACKOFF --cancel, deadline, close--> ENDING --timer--> OVER
 *   SENDING that can't even be started --> ENDING
 *   SENDING --no token: take_token--> TOKEN --on_token--> SENDING; cancel, a refusal --> ENDING
 *
 * The slot is kept from the first SENDING to OVER, also between attempts: a server that asks for
 * patience doesn't get somebody else's request meanwhile.
 *
 * Who drives a call: the thread that submits it until httpc has it, the net thread while it runs,
 * the clock thread in between. `state` says whose turn it is and changes under the instance's lock;
 * the listener is called without it. References: one of the table's (dropped in OVER), one of each
 * thread that is about to hand it to httpc, since it may be over before httpc_start returns. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "remote/core_int.h"

/* Who waits for a slot is told of its place, as of the queue of models here. */
enum { TELL_MS = 250, TELL_AGAIN_MS = 2000 };
enum { BODY_END_MS = 1000 }; /* from the answer's end to that of its body */
enum { BACKOFF_MS = 250, BACKOFF_MAX_MS = 8000, RETRY_AFTER_MAX_MS = 15000 };

static void on_timer(void *ctx);
static void cancel_locked(struct call *c);

struct call *call_new(struct remote *r, enum call_kind kind, const char *request_id)
{
    struct call *c = xcalloc(1, sizeof *c);
    atomic_init(&c->refs, 1);
    list_init(&c->node);
    list_init(&c->all);
    c->r = r;
    c->kind = kind;
    c->request_id = xstrdup(request_id ? request_id : "");
    c->priority = PRIORITY_DEFAULT;
    c->arrived_ns = clock_mono_ns();
    c->http.method = "POST";
    buf_init(&c->http.body, REMOTE_REQUEST_MAX);
    buf_init(&c->body, REMOTE_ANSWER_MAX);
    return c;
}

void remote_call_free(struct call *c)
{
    timer_clear(c->r->timers, &c->timer);
    if (c->kind == CALL_GENERATE) {
        decode_free(&c->gen.decode);
        free(c->gen.model);
    } else if (c->kind == CALL_EMBED) {
        if (c->embed.req) arena_free(c->embed.req->arena);
        rows_free(&c->embed.rows);
        free(c->embed.model);
    } else {
        buf_free(&c->control.list);
        free(c->control.model);
    }
    buf_free(&c->http.body);
    buf_free(&c->body);
    free(c->auth);
    free(c->request_id);
    free(c);
}

/* Close may free the instance when the last one has left. */
static void call_unref(struct call *c)
{
    struct remote *r = c->r;
    if (atomic_fetch_sub(&c->refs, 1) != 1) return;
    remote_call_free(c);
    pthread_mutex_lock(&r->lock);
    r->n_alive--;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

/* ---- the queue; under the lock ------------------------------------------------------------- */

static void enqueue(struct remote *r, struct call *c)
{
    struct list_node *at = &r->waiting;
    while (at->prev != &r->waiting &&
           container_of(at->prev, struct call, node)->priority > c->priority)
        at = at->prev;
    list_insert_before(at, &c->node);
    r->n_waiting++;
    c->state = CALL_WAITING;
}

static void dequeue(struct remote *r, struct call *c)
{
    list_remove(&c->node);
    r->n_waiting--;
}

/* The next one gets the slot that was freed; the caller sends it, or NULL: the thread that is
 * telling it of its place does. */
static struct call *grant(struct remote *r)
{
    if (list_empty(&r->waiting) || r->n_running >= r->params.concurrency) return NULL;
    struct call *c = container_of(r->waiting.next, struct call, node);
    dequeue(r, c);
    r->n_running++;
    c->has_slot = true;
    c->state = CALL_SENDING;
    return c->telling ? NULL : c;
}

static void set_cancelled(struct call *c)
{
    if (c->r->closing)
        err_set(&c->failed, ERR_STOPPING, "the hub is shutting down");
    else
        err_set(&c->failed, ERR_CANCELLED, "cancelled");
}

/* From a state in which nobody works on it; it goes on in on_timer. */
static void wake(struct call *c, enum call_state state, int64_t delay_ms)
{
    c->state = state;
    timer_set(c->r->timers, &c->timer, delay_ms, on_timer, c);
}

/* ---- over ---------------------------------------------------------------------------------- */

static void send_call(struct call *c);

static void count_end(struct remote *r, const struct call *c)
{
    if (c->failed.code && c->failed.code != ERR_CANCELLED) r->failed++;
    if (c->kind != CALL_GENERATE || c->failed.code || !c->first_ns) return;
    double ms = (double)(c->first_ns - c->sent_ns) / 1e6;
    r->first_token_ms = r->first_token_ms < 0 ? ms : 0.8 * r->first_token_ms + 0.2 * ms;
}

static void finish(struct call *c)
{
    struct remote *r = c->r;
    call_tell_end(c);
    pthread_mutex_lock(&r->lock);
    count_end(r, c);
    breaker_gave_up(&r->breaker, c->probe);
    idmap_del(&r->calls, c->by_id.id);
    list_remove(&c->all);
    c->state = CALL_OVER;
    if (c->has_slot) r->n_running--;
    struct call *next = grant(r);
    pthread_mutex_unlock(&r->lock);
    if (next) send_call(next);
    call_unref(c);
}

/* ---- an attempt ---------------------------------------------------------------------------- */

/* The server works, and refuses this request. */
static bool says_no(const struct call *c)
{
    if (c->status >= 400) return c->status < 500 && c->status != 408;
    return c->failed.code == ERR_INVALID || c->failed.code == ERR_CONTEXT ||
           c->failed.code == ERR_NO_MODEL || c->failed.code == ERR_TOO_LARGE;
}

/* The outcome of an attempt, for the breaker and the state; under the lock. */
static void note_outcome(struct remote *r, struct call *c)
{
    int64_t now = clock_mono_ms();
    bool probe = c->probe;
    c->probe = false;
    if (c->failed.code == OK) {
        breaker_good(&r->breaker);
        return;
    }
    if (c->failed.code == ERR_CANCELLED || c->failed.code == ERR_STOPPING ||
        c->failed.code == ERR_NOMEM) {
        breaker_gave_up(&r->breaker, probe);
        return;
    }
    r->last_code = c->failed.code;
    str_copy(r->last_error, sizeof r->last_error, c->failed.msg);
    if (c->status == 429 || c->failed.code == ERR_QUOTA)
        breaker_hold(&r->breaker, now, c->retry_after_ms, probe);
    else if (says_no(c))
        breaker_good(&r->breaker); /* it works */
    else
        breaker_bad(&r->breaker, now);
    if (c->retry_after_ms && c->status == 503)
        breaker_hold(&r->breaker, now, c->retry_after_ms, false);
}

void call_good(struct call *c)
{
    pthread_mutex_lock(&c->r->lock);
    c->probe = false;
    breaker_good(&c->r->breaker);
    pthread_mutex_unlock(&c->r->lock);
}

void call_let_go(struct call *c)
{
    pthread_mutex_lock(&c->r->lock);
    c->leaving = true;
    timer_set(c->r->timers, &c->timer, BODY_END_MS, on_timer, c);
    pthread_mutex_unlock(&c->r->lock);
}

/* Doubling, and by chance up to half of it shorter, so that callers don't come back together. */
static int64_t backoff_ms(const struct call *c)
{
    int64_t ms = BACKOFF_MS;
    for (int32_t i = 1; i < c->attempt && ms < BACKOFF_MAX_MS; i++) ms *= 2;
    if (ms > BACKOFF_MAX_MS) ms = BACKOFF_MAX_MS;
    ms -= (int64_t)(id_random_u64() % (uint64_t)(ms / 2 + 1));
    return c->retry_after_ms > ms ? c->retry_after_ms : ms;
}

/* When to try again, or -1; under the lock, after note_outcome. */
static int64_t retry_delay(struct remote *r, const struct call *c)
{
    int64_t wait_ms, now = clock_mono_ms();
    if (c->cancelled || r->closing || c->attempt > r->params.retries || !call_may_retry(c))
        return -1;
    if (c->retry_after_ms > RETRY_AFTER_MAX_MS) return -1; /* somebody else may be quicker */
    int64_t delay = backoff_ms(c);
    if (c->deadline_ms && now + delay >= c->deadline_ms) return -1;
    if (breaker_is_open(&r->breaker, now, &wait_ms) && wait_ms > delay) return -1;
    return delay;
}

/* A token that is refused before its time is up (somebody has taken it back) is fetched anew, once.
 */
static bool renew_token(struct call *c)
{
    if (!c->r->token || c->status != 401 || c->renewed) return false;
    token_forget(c->r->token, c->token_used);
    c->renewed = true;
    return true;
}

/* The request can be mended, and is sent once more at once. */
static bool mend(struct call *c)
{
    if (c->failed.code == OK || (!renew_token(c) && !call_drop_hint(c))) return false;
    pthread_mutex_lock(&c->r->lock);
    bool cancelled = c->cancelled;
    c->xfer = 0;
    pthread_mutex_unlock(&c->r->lock);
    return !cancelled;
}

static void attempt_over(struct call *c, const struct error *error)
{
    struct remote *r = c->r;
    call_judge(c, error);
    if (c->failed.code) remote_redact(r, &c->failed);
    if (mend(c)) {
        send_call(c);
        return;
    }
    bool more = c->failed.code == OK && call_goes_on(c);
    pthread_mutex_lock(&r->lock);
    note_outcome(r, c);
    c->xfer = 0;
    if (c->cancelled && (c->failed.code || more)) set_cancelled(c);
    if (more) c->attempt = 0; /* of the next part */
    int64_t delay = c->failed.code ? retry_delay(r, c) : -1;
    if (delay >= 0) {
        log_line(LOG_INFO, LOG_net, c->request_id, "%s: attempt %d failed: %s; again in %lld ms",
                 r->name, c->attempt, c->failed.msg, (long long)delay);
        wake(c, CALL_BACKOFF, delay);
    }
    pthread_mutex_unlock(&r->lock);
    if (delay >= 0) return;
    if (more && c->failed.code == OK)
        send_call(c);
    else
        finish(c);
}

static bool on_response(void *ctx, const struct httpc_response *r)
{
    return call_on_response(ctx, r);
}

static bool on_data(void *ctx, const void *data, size_t len)
{
    return call_on_data(ctx, data, len);
}

static void on_done(void *ctx, const struct httpc_response *r, const struct error *error)
{
    struct call *c = ctx;
    if (error && !r->connected) c->hopeless = true; /* nobody is there: others are asked sooner */
    attempt_over(c, error);
}

static enum err start_transfer(struct call *c, uint64_t *xfer, struct error *error)
{
    struct remote *r = c->r;
    const char *lines[REMOTE_HEADERS_MAX + 2];
    char url[REMOTE_URL_MAX + REMOTE_PATH_MAX];
    size_t n = 0;
    for (; n < r->headers.n; n++) lines[n] = r->headers.lines[n];
    if (c->http.extra_header) lines[n++] = c->http.extra_header;
    if (c->auth) lines[n++] = c->auth;
    str_printf(url, sizeof url, "%s%s", r->url, c->http.path);
    struct httpc_request req = {
        .method = c->http.method,
        .url = url,
        .headers = lines,
        .n_headers = n,
        .body = buf_str(&c->http.body),
        .body_len = c->http.body.len,
        .connect_timeout_ms = r->params.connect_ms,
        .idle_timeout_ms = r->params.idle_ms,
        .first_byte_timeout_ms = r->params.first_byte_ms,
        .total_timeout_ms = r->params.total_ms,
        .proxy = r->proxy,
        .ca_file = r->ca_file,
        .insecure_tls = r->params.insecure_tls,
        .max_redirects = -1,
        .on_response = on_response,
        .on_data = on_data,
        .on_done = on_done,
        .ctx = c,
    };
    return httpc_start(r->httpc, &req, xfer, error);
}

/* From a state in which this thread drives it; it goes on in on_timer. */
static void give_up(struct call *c, const struct error *error)
{
    c->failed = *error;
    remote_redact(c->r, &c->failed);
    pthread_mutex_lock(&c->r->lock);
    wake(c, CALL_ENDING, 0);
    pthread_mutex_unlock(&c->r->lock);
}

static void on_token(struct token_waiter *w, const struct error *error, int status, bool reached);

/* false: it is waited for, and on_token goes on, or there will be none. */
static bool take_token(struct call *c)
{
    struct remote *r = c->r;
    struct error error;
    char *line;
    uint64_t number;
    pthread_mutex_lock(&r->lock);
    c->state = CALL_TOKEN;
    c->waiter.fn = on_token;
    bool cancelled = c->cancelled;
    pthread_mutex_unlock(&r->lock);
    enum token_is is =
        cancelled ? TOKEN_REFUSED : token_take(r->token, &c->waiter, &line, &number, &error);
    if (cancelled) err_set(&error, ERR_CANCELLED, "cancelled");
    if (is == TOKEN_REFUSED) give_up(c, &error);
    if (is != TOKEN_HERE) return false;
    free(c->auth);
    c->auth = line;
    c->token_used = number;
    pthread_mutex_lock(&r->lock);
    c->state = CALL_SENDING;
    pthread_mutex_unlock(&r->lock);
    return true;
}

/* Hands it to httpc. */
static void transfer(struct call *c)
{
    struct remote *r = c->r;
    uint64_t xfer = 0;
    struct error error;
    pthread_mutex_lock(&r->lock);
    uint64_t sending = c->sendings;
    pthread_mutex_unlock(&r->lock);
    atomic_fetch_add(&c->refs, 1);
    enum err e = start_transfer(c, &xfer, &error);
    if (e) {
        give_up(c, &error);
        call_unref(c);
        return;
    }
    pthread_mutex_lock(&r->lock);
    bool cancelled = c->cancelled;
    if (c->state == CALL_SENDING && c->sendings == sending) c->xfer = xfer;
    pthread_mutex_unlock(&r->lock);
    if (cancelled) httpc_cancel(r->httpc, xfer);
    call_unref(c);
}

/* The token has come, or will not. On the net thread. */
static void on_token(struct token_waiter *w, const struct error *error, int status, bool reached)
{
    struct call *c = container_of(w, struct call, waiter);
    if (!error) {
        if (take_token(c)) transfer(c);
        return;
    }
    c->failed = *error;
    c->status = status;
    if (!reached) c->hopeless = true; /* as with the server itself */
    c->renewed = true;                /* a 401 of this server is about something else */
    attempt_over(c, NULL);
}

/* It is SENDING, and this thread drives it. */
static void send_call(struct call *c)
{
    struct remote *r = c->r;
    c->failed = (struct error){.code = OK};
    c->status = 0;
    c->retry_after_ms = 0;
    buf_clear(&c->body);
    if (c->kind == CALL_EMBED) rows_begin(&c->embed.rows, c->embed.rows.first, c->embed.rows.asked);
    if (c->kind == CALL_GENERATE) {
        decode_free(&c->gen.decode);
        call_decode_init(c);
    }
    if (!c->sent_ns) c->sent_ns = clock_mono_ns();
    pthread_mutex_lock(&r->lock);
    c->attempt++;
    c->sendings++;
    r->attempts++;
    pthread_mutex_unlock(&r->lock);
    if (!r->token || take_token(c)) transfer(c);
}

/* ---- clock thread -------------------------------------------------------------------------- */

/* When its place is told next, or its deadline is over; under the lock. */
static void set_wait_timer(struct call *c, int64_t tell_ms)
{
    int64_t delay = c->kind == CALL_GENERATE ? tell_ms : INT64_MAX;
    int64_t left = c->deadline_ms - clock_mono_ms();
    if (c->deadline_ms && left < delay) delay = left > 0 ? left : 0;
    if (delay < INT64_MAX) wake(c, CALL_WAITING, delay);
}

/* It is WAITING; enters and leaves with the lock. Meanwhile it may get its slot, which is used
 * afterwards, so that its events come one at a time. */
static bool tell_place(struct call *c)
{
    struct remote *r = c->r;
    struct gen_event ev = {.type = GEN_EV_QUEUED, .wait_ms = -1};
    for (struct list_node *n = c->node.prev; n != &r->waiting; n = n->prev) ev.position++;
    c->telling = true;
    pthread_mutex_unlock(&r->lock);
    c->gen.fn(c->ctx, &ev);
    pthread_mutex_lock(&r->lock);
    c->telling = false;
    if (c->state == CALL_WAITING) set_wait_timer(c, TELL_AGAIN_MS);
    return c->state == CALL_SENDING;
}

static void on_timer(void *ctx)
{
    struct call *c = ctx;
    struct remote *r = c->r;
    bool send = false, end = false;
    pthread_mutex_lock(&r->lock);
    if (c->state == CALL_BACKOFF) {
        c->state = CALL_SENDING;
        send = true;
    } else if (c->state == CALL_WAITING && c->deadline_ms && clock_mono_ms() >= c->deadline_ms) {
        dequeue(r, c);
        err_set(&c->failed, ERR_TIMEOUT,
                "%s: too many requests run there; its turn did not come in time", r->name);
        c->state = CALL_ENDING;
        end = true;
    } else if (c->state == CALL_WAITING) {
        send = tell_place(c);
    } else if (c->state == CALL_SENDING && c->leaving) {
        cancel_locked(c);
    } else if (c->state == CALL_ENDING) {
        end = true;
    }
    pthread_mutex_unlock(&r->lock);
    if (send) send_call(c);
    if (end) finish(c);
}

/* ---- any thread ---------------------------------------------------------------------------- */

static enum err refuse_open(const struct remote *r, int64_t wait_ms, struct error *error)
{
    int32_t seconds = (int32_t)((wait_ms + 999) / 1000);
    if (r->breaker.open_ms)
        err_set(error, ERR_NETWORK,
                "%s failed %d times in a row and is asked again in %d s; the last time: %s",
                r->name, r->breaker.failures, seconds, r->last_error);
    else
        err_set(error, ERR_BUSY, "%s wants no more requests for %d s: %s", r->name, seconds,
                r->last_error);
    error->retry_after_s = seconds;
    return error->code;
}

/* Under the lock: may it start, wait, or is it refused? */
static enum err admit(struct remote *r, struct call *c, struct error *error)
{
    int64_t wait_ms;
    if (r->closing) return err_set(error, ERR_STOPPING, "the hub is shutting down");
    bool full = r->n_running >= r->params.concurrency;
    if (full && r->n_waiting >= r->params.waiting)
        return err_set(error, ERR_BUSY, "%s: %d requests run there and %d wait; try again later",
                       r->name, r->n_running, r->n_waiting);
    bool asks = c->kind == CALL_GENERATE || c->kind == CALL_EMBED; /* the others are to find out */
    if (asks && !breaker_allow(&r->breaker, clock_mono_ms(), &c->probe, &wait_ms))
        return refuse_open(r, wait_ms, error);
    return OK;
}

enum err call_submit(struct call *c, uint64_t *id, struct error *error)
{
    struct remote *r = c->r;
    struct error why;
    pthread_mutex_lock(&r->lock);
    enum err e = admit(r, c, &why);
    if (e) {
        pthread_mutex_unlock(&r->lock);
        if (error) *error = why;
        return e;
    }
    r->requests++;
    r->n_alive++;
    uint64_t given = ++r->next_id;
    idmap_put(&r->calls, &c->by_id, given);
    list_push_back(&r->all, &c->all);
    if (id) *id = given;
    bool send = r->n_running < r->params.concurrency;
    if (send) {
        r->n_running++;
        c->has_slot = true;
        c->state = CALL_SENDING;
    } else {
        enqueue(r, c);
        set_wait_timer(c, TELL_MS);
    }
    pthread_mutex_unlock(&r->lock);
    if (send) send_call(c);
    return OK;
}

/* Under the lock. */
static void cancel_locked(struct call *c)
{
    if (c->cancelled) return;
    c->cancelled = true;
    if (c->state == CALL_TOKEN && token_leave(c->r->token, &c->waiter)) {
        set_cancelled(c);
        wake(c, CALL_ENDING, 0);
        return;
    }
    if (c->state == CALL_WAITING) dequeue(c->r, c);
    if (c->state == CALL_WAITING || c->state == CALL_BACKOFF) {
        set_cancelled(c);
        wake(c, CALL_ENDING, 0);
    } else if (c->state == CALL_SENDING && c->xfer) {
        httpc_cancel(c->r->httpc, c->xfer);
    }
}

void call_cancel(struct remote *r, uint64_t id)
{
    pthread_mutex_lock(&r->lock);
    struct idnode *node = idmap_get(&r->calls, id);
    if (node) cancel_locked(container_of(node, struct call, by_id));
    pthread_mutex_unlock(&r->lock);
}

void call_cancel_all(struct remote *r)
{
    list_each (node, &r->all) cancel_locked(container_of(node, struct call, all));
}
