/* The net thread: takes queued transfers, drives curl's multi handle, ends what is done, cancelled
 * or idle for too long.
 *
 * States of a transfer: queued (httpc_start) -> running (take_queued) -> finished (end_done,
 * end_cancelled, end_idle; or stop_all). xfer_finish calls on_done and the transfer is freed.
 *
 * Idle time-outs are ours: curl's low-speed limit works with a five-second average and whole
 * seconds. */
#include "httpc/httpc.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"
#include "httpc/httpc_int.h"

enum { POLL_MS = 1000 };

struct httpc {
    pthread_mutex_t lock;
    /* under lock */
    struct list_node queued;
    struct list_node running; /* linked and unlinked by the net thread, searched by httpc_cancel */
    uint64_t next_id;
    bool started, stopping;
    /* set before the thread starts, then constant */
    CURLM *multi;
    pthread_t thread;
};

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static CURLcode curl_ready;

static void curl_start(void)
{
    curl_ready = curl_global_init(CURL_GLOBAL_DEFAULT);
}

static struct xfer *xfer_of(struct list_node *node)
{
    return container_of(node, struct xfer, node);
}

enum err httpc_new(struct httpc **out, struct error *error)
{
    (void)error;
    struct httpc *h = xcalloc(1, sizeof(*h));
    pthread_mutex_init(&h->lock, NULL);
    list_init(&h->queued);
    list_init(&h->running);
    *out = h;
    return OK;
}

/* ---- net thread -------------------------------------------------------------------------- */

static void end(struct httpc *h, struct xfer *x, CURLcode result, const struct error *why)
{
    curl_multi_remove_handle(h->multi, x->easy);
    pthread_mutex_lock(&h->lock);
    list_remove(&x->node);
    pthread_mutex_unlock(&h->lock);
    xfer_finish(x, result, why);
    xfer_free(x);
}

static void take_queued(struct httpc *h)
{
    for (;;) {
        pthread_mutex_lock(&h->lock);
        struct list_node *node = list_pop_front(&h->queued);
        if (node) list_push_back(&h->running, node);
        pthread_mutex_unlock(&h->lock);
        if (!node) return;
        struct xfer *x = xfer_of(node);
        x->last_activity_ms = clock_mono_ms();
        CURLMcode rc = curl_multi_add_handle(h->multi, x->easy);
        if (rc == CURLM_OK) continue;
        struct error why;
        err_set(&why, ERR_NOMEM, "starting a transfer: %s", curl_multi_strerror(rc));
        end(h, x, CURLE_OK, &why);
    }
}

static void end_done(struct httpc *h)
{
    CURLMsg *msg;
    int left;
    while ((msg = curl_multi_info_read(h->multi, &left))) {
        if (msg->msg != CURLMSG_DONE) continue;
        CURLcode result = msg->data.result; /* msg dies with the handle's removal */
        struct xfer *x = NULL;
        curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, (char **)&x);
        ht_assert(x);
        end(h, x, result, NULL);
    }
}

/* Also tells, in *wait_ms, when the next transfer will have been idle for too long. Only this
 * thread changes the list, so it may be walked without the lock. */
static void end_cancelled_and_idle(struct httpc *h, int64_t *wait_ms)
{
    int64_t now = clock_mono_ms();
    list_each_safe(node, &h->running)
    {
        struct xfer *x = xfer_of(node);
        struct error why;
        if (atomic_load(&x->cancelled)) {
            err_set(&why, ERR_CANCELLED, "cancelled");
            end(h, x, CURLE_OK, &why);
            continue;
        }
        if (!x->connected) continue; /* curl's connect time-out rules until then */
        int64_t limit = x->req.idle_timeout_ms;
        int64_t left = x->last_activity_ms + limit - now;
        if (left <= 0) {
            err_set(&why, ERR_TIMEOUT, "%s sent nothing for %.1f s; try again", x->host,
                    (double)limit / 1000);
            end(h, x, CURLE_OK, &why);
        } else if (left < *wait_ms) {
            *wait_ms = left;
        }
    }
}

static bool is_stopping(struct httpc *h)
{
    pthread_mutex_lock(&h->lock);
    bool stopping = h->stopping;
    pthread_mutex_unlock(&h->lock);
    return stopping;
}

static void stop_all(struct httpc *h)
{
    struct error why;
    err_set(&why, ERR_STOPPING, "the program is stopping");
    take_queued(h);
    while (!list_empty(&h->running)) end(h, xfer_of(h->running.next), CURLE_OK, &why);
}

static void *net_main(void *arg)
{
    struct httpc *h = arg;
    while (!is_stopping(h)) {
        int still_running;
        take_queued(h);
        CURLMcode rc = curl_multi_perform(h->multi, &still_running);
        if (rc != CURLM_OK) log_error(net, "curl_multi_perform: %s", curl_multi_strerror(rc));
        end_done(h);
        int64_t wait_ms = POLL_MS;
        end_cancelled_and_idle(h, &wait_ms);
        rc = curl_multi_poll(h->multi, NULL, 0, (int)wait_ms, NULL);
        if (rc != CURLM_OK) log_error(net, "curl_multi_poll: %s", curl_multi_strerror(rc));
    }
    stop_all(h);
    return NULL;
}

/* ---- any thread -------------------------------------------------------------------------- */

/* Under the lock. */
static enum err ensure_started(struct httpc *h, struct error *error)
{
    if (h->started) return OK;
    pthread_once(&curl_once, curl_start);
    if (curl_ready != CURLE_OK)
        return err_set(error, ERR_NETWORK, "libcurl can't start: %s",
                       curl_easy_strerror(curl_ready));
    if (!h->multi) h->multi = curl_multi_init();
    if (!h->multi) return err_set(error, ERR_NOMEM, "no memory for outgoing connections");
    enum err e = thread_start(&h->thread, "net", net_main, h, error);
    if (e) return e;
    h->started = true;
    return OK;
}

enum err httpc_start(struct httpc *h, const struct httpc_request *req, uint64_t *id,
                     struct error *error)
{
    pthread_mutex_lock(&h->lock);
    enum err e = h->stopping ? err_set(error, ERR_STOPPING, "the program is stopping")
                             : ensure_started(h, error);
    pthread_mutex_unlock(&h->lock);
    if (e) return e;
    struct xfer *x;
    e = xfer_new(req, &x, error);
    if (e) return e;
    pthread_mutex_lock(&h->lock);
    x->id = ++h->next_id;
    if (id) *id = x->id;
    list_push_back(&h->queued, &x->node);
    pthread_mutex_unlock(&h->lock);
    curl_multi_wakeup(h->multi);
    return OK;
}

static bool cancel_in(struct list_node *list, uint64_t id)
{
    list_each (node, list) {
        struct xfer *x = xfer_of(node);
        if (x->id != id) continue;
        atomic_store(&x->cancelled, true);
        return true;
    }
    return false;
}

void httpc_cancel(struct httpc *h, uint64_t id)
{
    pthread_mutex_lock(&h->lock);
    bool found = cancel_in(&h->queued, id) || cancel_in(&h->running, id);
    pthread_mutex_unlock(&h->lock);
    if (found) curl_multi_wakeup(h->multi);
}

void httpc_free(struct httpc *h)
{
    if (!h) return;
    pthread_mutex_lock(&h->lock);
    h->stopping = true;
    bool started = h->started;
    pthread_mutex_unlock(&h->lock);
    if (started) {
        ht_assert(!pthread_equal(pthread_self(), h->thread));
        curl_multi_wakeup(h->multi);
        thread_join(h->thread);
    }
    ht_assert(list_empty(&h->queued) && list_empty(&h->running));
    if (h->multi) curl_multi_cleanup(h->multi);
    pthread_mutex_destroy(&h->lock);
    free(h);
}

/* ---- blocking form ----------------------------------------------------------------------- */

struct waiter {
    const struct httpc_request *req;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool done;
    int status;
    struct error error;
};

static bool waiter_response(void *ctx, const struct httpc_response *r)
{
    const struct httpc_request *req = ((struct waiter *)ctx)->req;
    return req->on_response ? req->on_response(req->ctx, r) : true;
}

static bool waiter_data(void *ctx, const void *data, size_t len)
{
    const struct httpc_request *req = ((struct waiter *)ctx)->req;
    return req->on_data ? req->on_data(req->ctx, data, len) : true;
}

static void waiter_done(void *ctx, const struct httpc_response *r, const struct error *error)
{
    struct waiter *w = ctx;
    pthread_mutex_lock(&w->lock);
    w->status = r->status;
    if (error) w->error = *error;
    w->done = true;
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

enum err httpc_do(struct httpc *h, const struct httpc_request *req, int *status,
                  struct error *error)
{
    ht_assert(!req->on_done);
    struct waiter w = {
        .req = req, .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    struct httpc_request inner = *req;
    inner.on_response = waiter_response;
    inner.on_data = waiter_data;
    inner.on_done = waiter_done;
    inner.ctx = &w;
    enum err e = httpc_start(h, &inner, NULL, error);
    if (e) return e;
    pthread_mutex_lock(&w.lock);
    while (!w.done) pthread_cond_wait(&w.changed, &w.lock);
    pthread_mutex_unlock(&w.lock);
    if (status) *status = w.status;
    if (w.error.code != OK && error) *error = w.error;
    return w.error.code;
}
