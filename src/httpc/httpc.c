/* The net thread: takes queued transfers, drives curl's multi handle, ends what is done, cancelled
 * or idle for too long.
 *
 * States of a transfer: queued (httpc_start) -> running (take_queued) -> finished (end_done,
 * end_cancelled, end_late; or stop_all). xfer_finish calls on_done and the transfer is freed.
 *
 * A turn of the loop costs what happened, not how many transfers there are: curl says which sockets
 * and when (multi_socket_action), epoll which of them are ready, a heap who may be late. (With
 * curl_multi_perform and curl_multi_poll a thousand quiet streams cost a millisecond per turn.)
 *
 * Idle time-outs are ours: curl's low-speed limit works with a five-second average and whole
 * seconds. A transfer is looked at when it may be late at the earliest, not at each byte. */
#include "httpc/httpc.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"
#include "httpc/httpc_int.h"

enum {
    EVENTS_MAX = 64,     /* of one turn */
    IDLE_CONNS_MAX = 256 /* kept open for the next request */
};

struct httpc {
    pthread_mutex_t lock;
    /* under lock */
    struct list_node queued;
    struct list_node running;   /* linked and unlinked by the net thread */
    struct list_node cancelled; /* of both: those that are to end */
    struct idmap by_id;         /* queued and running */
    uint64_t next_id;
    bool started, stopping;
    /* set before the thread starts, then constant */
    CURLM *multi;
    pthread_t thread;
    int epoll, wakeup; /* -1: not there yet */
    /* net thread */
    struct expiry late; /* running transfers by when they are to be looked at */
    bool again;         /* a callback has left something to do */
    int64_t curl_at_ms; /* when curl wants to be called; INT64_MAX = it does not */
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
    list_init(&h->cancelled);
    idmap_init(&h->by_id);
    h->epoll = h->wakeup = -1;
    h->curl_at_ms = INT64_MAX;
    *out = h;
    return OK;
}

/* ---- curl's wishes; net thread ------------------------------------------------------------- */

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *httpc, void *known)
{
    struct httpc *h = httpc;
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        epoll_ctl(h->epoll, EPOLL_CTL_DEL, fd, NULL); /* it may be closed already */
        curl_multi_assign(h->multi, fd, NULL);
        return 0;
    }
    struct epoll_event ev = {.data.fd = fd};
    if (what & CURL_POLL_IN) ev.events |= EPOLLIN;
    if (what & CURL_POLL_OUT) ev.events |= EPOLLOUT;
    int rc = epoll_ctl(h->epoll, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &ev);
    if (rc != 0) /* it was closed and opened again, or another name of it is there */
        rc = epoll_ctl(h->epoll, errno == ENOENT ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &ev);
    if (rc != 0) log_error(net, "epoll_ctl: error %d", errno);
    curl_multi_assign(h->multi, fd, h);
    return 0;
}

static int on_curl_timer(CURLM *multi, long ms, void *httpc)
{
    struct httpc *h = httpc;
    (void)multi;
    h->curl_at_ms = ms < 0 ? INT64_MAX : clock_mono_ms() + ms;
    return 0;
}

static void act(struct httpc *h, curl_socket_t fd, int mask)
{
    int still_running;
    CURLMcode rc = curl_multi_socket_action(h->multi, fd, mask, &still_running);
    if (rc != CURLM_OK) log_error(net, "curl_multi_socket_action: %s", curl_multi_strerror(rc));
}

static void act_on_time(struct httpc *h)
{
    if (h->curl_at_ms > clock_mono_ms()) return;
    h->curl_at_ms = INT64_MAX;
    act(h, CURL_SOCKET_TIMEOUT, 0);
}

/* ---- transfers; net thread ----------------------------------------------------------------- */

static void end(struct httpc *h, struct xfer *x, CURLcode result, const struct error *why)
{
    curl_multi_remove_handle(h->multi, x->easy);
    expiry_remove(&h->late, &x->late);
    pthread_mutex_lock(&h->lock);
    list_remove(&x->node);
    list_remove(&x->cancel);
    idmap_del(&h->by_id, x->by_id.id);
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
        int64_t now = clock_mono_ms();
        struct error why;
        xfer_begin(x, now);
        expiry_add(&h->late, &x->late, xfer_late(x, now, &why));
        CURLMcode rc = curl_multi_add_handle(h->multi, x->easy);
        if (rc == CURLM_OK) continue;
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

static void end_cancelled(struct httpc *h)
{
    struct error why;
    err_set(&why, ERR_CANCELLED, "cancelled");
    for (;;) {
        pthread_mutex_lock(&h->lock);
        struct list_node *node = list_pop_front(&h->cancelled);
        pthread_mutex_unlock(&h->lock);
        if (!node) return;
        end(h, container_of(node, struct xfer, cancel), CURLE_OK, &why);
    }
}

static void end_late(struct httpc *h)
{
    int64_t now = clock_mono_ms();
    for (struct expiry_node *n; (n = expiry_first(&h->late)) && n->at_ms <= now;) {
        struct xfer *x = container_of(n, struct xfer, late);
        struct error why;
        int64_t at = xfer_late(x, now, &why);
        expiry_remove(&h->late, n);
        if (at <= now)
            end(h, x, CURLE_OK, &why);
        else
            expiry_add(&h->late, n, at);
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

/* ---- the loop ------------------------------------------------------------------------------ */

/* Milliseconds until there is something to do; -1 = nothing is foreseen. */
static int wait_ms(const struct httpc *h)
{
    const struct expiry_node *late = expiry_first(&h->late);
    int64_t at = h->curl_at_ms;
    if (h->again) return 0;
    if (late && late->at_ms < at) at = late->at_ms;
    if (at == INT64_MAX) return -1;
    int64_t left = at - clock_mono_ms();
    return left <= 0 ? 0 : left < INT32_MAX ? (int)left : INT32_MAX;
}

static void wait_and_act(struct httpc *h)
{
    struct epoll_event events[EVENTS_MAX];
    int n = epoll_wait(h->epoll, events, EVENTS_MAX, wait_ms(h));
    if (n < 0 && errno != EINTR) log_error(net, "epoll_wait: error %d", errno);
    for (int i = 0; i < n; i++) {
        uint64_t count;
        int fd = events[i].data.fd, mask = 0;
        if (fd == h->wakeup) {
            (void)!read(fd, &count, sizeof count);
            continue;
        }
        if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLRDHUP)) mask |= CURL_CSELECT_IN;
        if (events[i].events & EPOLLOUT) mask |= CURL_CSELECT_OUT;
        if (events[i].events & EPOLLERR) mask |= CURL_CSELECT_ERR;
        act(h, fd, mask);
    }
}

static void *net_main(void *arg)
{
    struct httpc *h = arg;
    while (!is_stopping(h)) {
        h->again = false;
        take_queued(h);
        end_cancelled(h);
        act_on_time(h);
        end_done(h);
        end_late(h);
        wait_and_act(h);
        end_done(h);
    }
    stop_all(h);
    return NULL;
}

/* A callback that starts or cancels something on the net thread must not find it asleep, either:
 * it may be called right before the wait. */
static void wake(struct httpc *h)
{
    uint64_t one = 1;
    if (pthread_equal(pthread_self(), h->thread))
        h->again = true;
    else
        (void)!write(h->wakeup, &one, sizeof one);
}

/* ---- any thread ---------------------------------------------------------------------------- */

static enum err open_loop(struct httpc *h, struct error *error)
{
    if (!h->multi) h->multi = curl_multi_init();
    if (!h->multi) return err_set(error, ERR_NOMEM, "no memory for outgoing connections");
    if (h->epoll < 0) h->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (h->wakeup < 0) h->wakeup = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event ev = {.events = EPOLLIN, .data.fd = h->wakeup};
    if (h->epoll < 0 || h->wakeup < 0 ||
        (epoll_ctl(h->epoll, EPOLL_CTL_ADD, h->wakeup, &ev) != 0 && errno != EEXIST))
        return err_set_errno(error, errno, "waiting for outgoing connections");
    curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h);
    curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, on_curl_timer);
    curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h);
    curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, (long)IDLE_CONNS_MAX);
    return OK;
}

/* Under the lock. */
static enum err ensure_started(struct httpc *h, struct error *error)
{
    if (h->started) return OK;
    pthread_once(&curl_once, curl_start);
    if (curl_ready != CURLE_OK)
        return err_set(error, ERR_NETWORK, "libcurl can't start: %s",
                       curl_easy_strerror(curl_ready));
    enum err e = open_loop(h, error);
    if (!e) e = thread_start(&h->thread, "net", net_main, h, error);
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
    uint64_t given = ++h->next_id;
    if (id) *id = given;
    idmap_put(&h->by_id, &x->by_id, given);
    list_push_back(&h->queued, &x->node);
    pthread_mutex_unlock(&h->lock);
    wake(h);
    return OK;
}

void httpc_cancel(struct httpc *h, uint64_t id)
{
    pthread_mutex_lock(&h->lock);
    struct idnode *node = idmap_get(&h->by_id, id);
    struct xfer *x = node ? container_of(node, struct xfer, by_id) : NULL;
    bool first = x && !atomic_exchange(&x->cancelled, true);
    if (first) list_push_back(&h->cancelled, &x->cancel);
    pthread_mutex_unlock(&h->lock);
    if (first) wake(h);
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
        wake(h);
        thread_join(h->thread);
    }
    ht_assert(list_empty(&h->queued) && list_empty(&h->running));
    if (h->multi) curl_multi_cleanup(h->multi);
    if (h->epoll >= 0) close(h->epoll);
    if (h->wakeup >= 0) close(h->wakeup);
    idmap_free(&h->by_id);
    pthread_mutex_destroy(&h->lock);
    free(h);
}

/* ---- blocking form ------------------------------------------------------------------------- */

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
