/* The server: start, the front thread's loop, stop.
 *
 * One epoll set of our own holds libmicrohttpd's epoll descriptor, an eventfd by which other
 * threads wake the loop, every client's socket (for its end only, see conn.c) and lingering
 * sockets. Each turn: wait; note who has left; take up the exchanges that have something to send;
 * let libmicrohttpd run; act on deadlines. */
#include "server/server.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/thread.h"
#include "server/server_int.h"

/* Pool of memory of a connection beyond max_headers: libmicrohttpd's records of the fields, and the
 * head of the answer. */
enum { POOL_EXTRA = 4 * 1024, READ_INCREMENT = 1024 };
enum { EVENTS_PER_TURN = 256 };
/* Connections beyond max_connections that are let in only to be told so. */
enum { CONNECTIONS_EXTRA = 64 };
/* How long accepting rests when there is no descriptor left. */
enum { STARVED_MS = 100, STARVED_LOG_MS = 60000 };
/* Connections that must have been open at once before the memory of those gone is given back. */
enum { TRIM_MIN_PEAK = 256 };

/* ---- waking ---------------------------------------------------------------------------------- */

/* Caller holds s->lock. */
static void wake_locked(struct server *s)
{
    if (s->woken) return;
    s->woken = true;
    uint64_t one = 1;
    ssize_t n = write(s->wake_fd, &one, sizeof one);
    ht_assert(n == sizeof one || errno == EAGAIN);
}

void server_push_ready(struct server *s, struct exchange *x)
{
    pthread_mutex_lock(&s->lock);
    x->ready_next = NULL;
    if (s->ready_first) {
        s->ready_last->ready_next = x;
    } else {
        s->ready_first = x;
    }
    s->ready_last = x;
    wake_locked(s);
    pthread_mutex_unlock(&s->lock);
}

static void resume_ready(struct server *s)
{
    pthread_mutex_lock(&s->lock);
    struct exchange *x = s->ready_first;
    s->ready_first = s->ready_last = NULL;
    pthread_mutex_unlock(&s->lock);
    while (x) {
        struct exchange *next = x->ready_next;
        pthread_mutex_lock(&x->lock);
        x->on_ready_list = false;
        bool closed = x->state == X_CLOSED;
        pthread_mutex_unlock(&x->lock);
        if (closed) exchange_run_due_callback(x);
        if (x->socket) {
            socket_ready(x->socket, x);
        } else if (x->conn && closed) {
            conn_abort(x->conn);
        } else if (x->conn) {
            conn_resume(x->conn);
        }
        exchange_unpin(x);
        x = next;
    }
}

/* ---- the loop -------------------------------------------------------------------------------- */

static void on_mhd_log(void *cls, const char *fmt, va_list args) HT_PRINTF(2, 0);

static void on_mhd_log(void *cls, const char *fmt, va_list args)
{
    struct server *s = cls;
    if (str_starts(fmt, "Hit process or system resource limit")) s->starved = true;
    if (!log_on(LOG_DEBUG)) return;
    char text[256];
    vsnprintf(text, sizeof text, fmt, args);
    text[strcspn(text, "\r\n")] = '\0';
    log_debug(http, "libmicrohttpd: %s", text);
}

static void on_mhd_panic(void *cls, const char *file, unsigned line, const char *reason)
{
    (void)cls;
    ht_bug_at(file, (int)line, reason ? reason : "libmicrohttpd panicked");
}

static void listen_to_mhd(struct server *s, bool on)
{
    struct epoll_event event = {.events = on ? EPOLLIN : 0, .data.u64 = KEY_MHD};
    epoll_ctl(s->epoll_fd, EPOLL_CTL_MOD, s->mhd_fd, &event);
}

/* libmicrohttpd stops accepting when no descriptor is left, until one of its connections ends: so
 * it is given one that does. */
static void accept_again(struct server *s)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        s->starved = true;
        return;
    }
    struct sockaddr nobody = {.sa_family = AF_UNSPEC};
    close(pair[1]);
    MHD_add_connection(s->mhd, pair[0], &nobody, sizeof nobody);
}

/* When descriptors run out, accepting rests for a while: trying at once would be a busy loop. */
static void rest_if_starved(struct server *s)
{
    if (s->starved_until_ms && s->now_ms >= s->starved_until_ms) {
        s->starved_until_ms = 0;
        accept_again(s);
        listen_to_mhd(s, true);
        listen_watch(s, true);
    }
    if (!s->starved) return;
    s->starved = false;
    if (s->now_ms - s->starved_logged_ms > STARVED_LOG_MS || s->starved_logged_ms == 0) {
        s->starved_logged_ms = s->now_ms;
        log_warn(http,
                 "no file descriptor is left for new connections (%d are open); raise the limit "
                 "(ulimit -n)",
                 s->n_conns);
    }
    s->starved_until_ms = s->now_ms + STARVED_MS;
    /* Without a connection libmicrohttpd would go on trying. */
    if (s->n_conns == 0) listen_to_mhd(s, false);
}

static void run_mhd(struct server *s)
{
    if (s->starved_until_ms && s->n_conns == 0) return;
    int before = s->n_conns;
    MHD_run(s->mhd);
    /* It buries connections last, and only then would see that it may accept again. */
    if (s->n_conns < before) MHD_run(s->mhd);
}

static int turn_timeout(struct server *s)
{
    int ms = conn_expire(s);
    if (s->starved_until_ms && (ms < 0 || ms > STARVED_MS)) ms = STARVED_MS;
    MHD_UNSIGNED_LONG_LONG pending;
    if (s->starved_until_ms && s->n_conns == 0) return ms;
    if (MHD_get_timeout(s->mhd, &pending) == MHD_YES && pending == 0) return 0;
    return ms;
}

static void stop_accepting(struct server *s)
{
    s->closing = true;
    int fd = MHD_quiesce_daemon(s->mhd);
    if (fd >= 0) close(fd);
    s->listen_fd = -1;
    listen_close(s);
    list_each_safe(node, &s->conns)
    {
        struct conn *c = container_of(node, struct conn, node);
        if (c->socket)
            socket_wind_up(c->socket);
        else if (!c->exchange)
            conn_abort(c);
    }
}

/* False when the loop must end. */
static bool follow_orders(struct server *s)
{
    pthread_mutex_lock(&s->lock);
    s->woken = false;
    bool draining = s->draining, stopping = s->stopping;
    s->detached = s->detaching;
    if (s->detached && !s->is_detached) {
        s->is_detached = true;
        pthread_cond_broadcast(&s->drained);
    }
    pthread_mutex_unlock(&s->lock);
    if ((draining || stopping) && !s->closing) stop_accepting(s);
    return !stopping;
}

static void tell_drained(struct server *s)
{
    if (!s->closing || s->n_busy > 0) return;
    pthread_mutex_lock(&s->lock);
    s->is_drained = true;
    pthread_cond_broadcast(&s->drained);
    pthread_mutex_unlock(&s->lock);
}

/* Drains the eventfd before the lists are looked at, so that no wake-up is lost. */
static void clear_wake(struct server *s)
{
    uint64_t count;
    ssize_t n = read(s->wake_fd, &count, sizeof count);
    (void)n;
}

static void handle_events(struct server *s, const struct epoll_event *events, int n)
{
    for (int i = 0; i < n; i++) {
        uint64_t key = events[i].data.u64;
        if (key == KEY_WAKE) {
            clear_wake(s);
        } else if (key == KEY_OLLAMA) {
            listen_accept(s);
        } else if (key & KEY_LINGER) {
            conn_linger_event(s, key);
        } else if (key != KEY_MHD) {
            conn_event(s, key, events[i].events);
        }
    }
}

/* Closes every sink and connection, and lets libmicrohttpd bury them. */
static void close_everything(struct server *s)
{
    list_each_safe(node, &s->conns)
    {
        struct conn *c = container_of(node, struct conn, node);
        if (c->socket) socket_close(c->socket);
        if (c->exchange) exchange_close(c->exchange);
        conn_abort(c);
    }
    MHD_run(s->mhd);
    MHD_stop_daemon(s->mhd);
    ht_assert(s->n_conns == 0);
    conn_linger_close_all(s);
    resume_ready(s); /* drops the pins of those that were still listed */
}

static void trim(void *arg)
{
    (void)arg;
    malloc_trim(0);
}

/* Thousands of connections that went leave their memory to malloc, which keeps it. Handing it to
 * the system takes milliseconds, so a worker does it. */
static void give_memory_back(struct server *s)
{
    if (s->n_conns > s->peak_conns) s->peak_conns = s->n_conns;
    if (s->closing || s->peak_conns < TRIM_MIN_PEAK || s->n_conns > s->peak_conns / 8) return;
    s->peak_conns = s->n_conns;
    (void)!pool_submit(s->params.pool, trim, NULL);
}

static void *front_thread(void *arg)
{
    struct server *s = arg;
    struct epoll_event events[EVENTS_PER_TURN];
    do {
        int n = epoll_wait(s->epoll_fd, events, EVENTS_PER_TURN, turn_timeout(s));
        ht_assert(n >= 0 || errno == EINTR);
        s->now_ms = clock_mono_ms();
        handle_events(s, events, n);
        if (!follow_orders(s)) break;
        resume_ready(s);
        run_mhd(s);
        rest_if_starved(s);
        give_memory_back(s);
        tell_drained(s);
    } while (true);
    close_everything(s);
    return NULL;
}

/* ---- start ----------------------------------------------------------------------------------- */

/* Each connection is a descriptor, and the default soft limit is 1024. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        log_warn(http, "can't raise the limit of open files: %s", strerror(errno));
}

static enum err open_sockets(struct server *s, bool *local_only, struct error *error)
{
    const struct server_params *p = &s->params;
    bool also_local;
    enum err err = listen_open(p->host, p->port, "--port (PORT)", &s->listen_fd, local_only, error);
    if (err) return err;
    s->port = listen_port(s->listen_fd);
    if (!p->ollama) return OK;
    err = listen_open(p->host, p->ollama_port, "--ollama-port (HEARTH_OLLAMA_PORT)", &s->ollama_fd,
                      &also_local, error);
    if (!err) s->ollama_port = listen_port(s->ollama_fd);
    return err;
}

static size_t keep_escapes(void *cls, struct MHD_Connection *mhd, char *text)
{
    (void)cls;
    (void)mhd;
    return strlen(text); /* uri.c decodes */
}

static enum err start_mhd(struct server *s, struct error *error)
{
    const struct server_params *p = &s->params;
    MHD_set_panic_func(on_mhd_panic, NULL);
    s->mhd = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_ALLOW_UPGRADE | MHD_USE_ERROR_LOG, 0, NULL,
        NULL, front_request, s, MHD_OPTION_EXTERNAL_LOGGER, on_mhd_log, s, MHD_OPTION_LISTEN_SOCKET,
        s->listen_fd, MHD_OPTION_CONNECTION_LIMIT, (unsigned)p->max_connections + CONNECTIONS_EXTRA,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, p->max_headers + POOL_EXTRA,
        MHD_OPTION_CONNECTION_MEMORY_INCREMENT, (size_t)READ_INCREMENT,
        MHD_OPTION_CONNECTION_TIMEOUT, 0u, MHD_OPTION_URI_LOG_CALLBACK, front_target, s,
        MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL, MHD_OPTION_NOTIFY_COMPLETED,
        front_completed, s, MHD_OPTION_NOTIFY_CONNECTION, conn_notify, s, MHD_OPTION_END);
    if (!s->mhd) return err_set(error, ERR_INTERNAL, "libmicrohttpd could not be started");
    s->mhd_fd = MHD_get_daemon_info(s->mhd, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    return OK;
}

static enum err open_loop(struct server *s, struct error *error)
{
    s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    s->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (s->epoll_fd < 0 || s->wake_fd < 0) return err_set_errno(error, errno, "epoll or eventfd");
    struct epoll_event wake = {.events = EPOLLIN, .data.u64 = KEY_WAKE};
    struct epoll_event mhd = {.events = EPOLLIN, .data.u64 = KEY_MHD};
    if (epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, s->wake_fd, &wake) != 0 ||
        epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, s->mhd_fd, &mhd) != 0)
        return err_set_errno(error, errno, "epoll_ctl");
    listen_watch(s, true);
    return OK;
}

static struct server *server_new(const struct server_params *params)
{
    struct server *s = xcalloc(1, sizeof *s);
    s->params = *params;
    s->listen_fd = s->mhd_fd = s->epoll_fd = s->wake_fd = s->ollama_fd = -1;
    s->now_ms = clock_mono_ms();
    list_init(&s->conns);
    for (int i = 0; i < WATCH_COUNT; i++) list_init(&s->watches[i]);
    for (int i = 0; i < LINGER_MAX; i++) s->lingers[i].fd = -1;
    pthread_mutex_init(&s->lock, NULL);
    cond_init(&s->drained);
    return s;
}

static void server_destroy(struct server *s)
{
    if (s->listen_fd >= 0) close(s->listen_fd);
    listen_close(s);
    if (s->epoll_fd >= 0) close(s->epoll_fd);
    if (s->wake_fd >= 0) close(s->wake_fd);
    policy_free(s->policy);
    proxies_free(s->proxies);
    free(s->by_fd);
    pthread_cond_destroy(&s->drained);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

enum err server_start(const struct server_params *params, struct server **out, struct error *error)
{
    struct server *s = server_new(params);
    bool local_only = false;
    raise_descriptor_limit();
    enum err err = open_sockets(s, &local_only, error);
    if (!err) {
        s->policy = policy_new(params->allowed_origins, local_only);
        err =
            proxies_new(params->trusted_proxies ? params->trusted_proxies : "", &s->proxies, error);
    }
    if (!err) err = start_mhd(s, error);
    if (!err) err = open_loop(s, error);
    if (!err) err = thread_start(&s->thread, "front", front_thread, s, error);
    if (err) {
        if (s->mhd) {
            MHD_stop_daemon(s->mhd); /* closes the listening socket */
            s->listen_fd = -1;
        }
        server_destroy(s);
        return err;
    }
    *out = s;
    return OK;
}

int server_port(const struct server *s)
{
    return s->port;
}

int server_ollama_port(const struct server *s)
{
    return s->ollama_port;
}

/* ---- stop ------------------------------------------------------------------------------------ */

void server_drain(struct server *s, int64_t grace_ms)
{
    int64_t until_ns = clock_mono_ns() + grace_ms * 1000000;
    pthread_mutex_lock(&s->lock);
    s->draining = true;
    wake_locked(s);
    while (!s->is_drained && cond_wait_until(&s->drained, &s->lock, until_ns)) {
    }
    /* The front thread never blocks, so this takes no time. */
    s->detaching = true;
    wake_locked(s);
    while (!s->is_detached) pthread_cond_wait(&s->drained, &s->lock);
    pthread_mutex_unlock(&s->lock);
}

void server_free(struct server *s)
{
    if (!s) return;
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    wake_locked(s);
    pthread_mutex_unlock(&s->lock);
    thread_join(s->thread);
    server_destroy(s);
}
