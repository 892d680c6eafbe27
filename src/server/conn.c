/* Connections: their time-outs, how they are closed, and what is noticed about them that
 * libmicrohttpd doesn't tell. Front thread only.
 *
 * - Each socket is also in the server's own epoll set, for EPOLLRDHUP alone: while a connection is
 *   suspended libmicrohttpd doesn't look at it, and a client that leaves during a long generation
 *   would go unnoticed. A client that shuts down its sending side counts as gone, as with nginx.
 * - libmicrohttpd's own time-out restarts with every byte, so a client could drip its head for
 * ever; ours (enum watch) run from the start of a phase, or ask for progress.
 * - An answer that is sent before the request was read to its end would be lost: closing a socket
 *   with unread bytes makes the kernel send a RST, which overtakes the answer. Such sockets linger:
 *   a duplicate of the descriptor stays open for LINGER_MS, what comes is thrown away. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/tcp.h> /* glibc's struct tcp_info ends before tcpi_bytes_acked */
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/error.h"
#include "base/id.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/str.h"
#include "server/server_int.h"

enum { LINGER_MS = 2000 };
/* Pings of streams that fall due within this time go out in one turn of the loop: waking one
 * suspended connection costs libmicrohttpd a walk over all of them. */
enum { PING_SLACK_MS = 128 };
/* Bytes thrown away per turn for one lingering socket; the front thread has others to serve. */
enum { LINGER_READ = 1024 * 1024 };

struct conn *conn_of(struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

/* ---- watches ------------------------------------------------------------------------------- */

static int64_t watch_ms(const struct server *s, enum watch watch)
{
    switch (watch) {
    case WATCH_HEAD: return s->params.header_timeout_ms;
    case WATCH_IDLE: return s->params.idle_timeout_ms;
    case WATCH_BODY: return s->params.body_timeout_ms;
    case WATCH_SEND: return s->params.body_timeout_ms;
    case WATCH_PING: return s->params.ping_ms;
    case WATCH_DEAD: return 0;
    case WATCH_NONE:
    case WATCH_COUNT: break;
    }
    return 0;
}

void conn_watch(struct conn *c, enum watch watch)
{
    struct server *s = c->server;
    list_remove(&c->watch_node);
    c->watch = watch;
    if (watch == WATCH_NONE) return;
    int64_t deadline = s->now_ms + watch_ms(s, watch);
    if (watch == WATCH_PING && s->params.ping_ms > 8 * PING_SLACK_MS)
        deadline = (deadline / PING_SLACK_MS + 1) * PING_SLACK_MS;
    c->deadline_ms = deadline;
    c->acked = UINT64_MAX;
    list_push_back(&s->watches[watch], &c->watch_node);
}

static bool read_tcp_info(const struct conn *c, struct tcp_info *info)
{
    socklen_t len = sizeof *info;
    memset(info, 0, sizeof *info);
    return getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, info, &len) == 0;
}

/* A client is let read for as long as it reads anything: two looks without a byte acknowledged in
 * between, and it is cut. */
static void check_progress(struct conn *c)
{
    struct tcp_info info;
    uint64_t before = c->acked;
    bool known = read_tcp_info(c, &info);
    if (known && (before == UINT64_MAX || before != info.tcpi_bytes_acked)) {
        conn_watch(c, WATCH_SEND);
        c->acked = info.tcpi_bytes_acked;
        return;
    }
    metric_add(METRIC_http_slow_readers_total, 1);
    log_debug(http, "%s reads nothing; its connection is closed", c->remote);
    conn_abort(c);
}

static void head_timed_out(struct conn *c)
{
    struct tcp_info info;
    /* A connection that was opened ahead of need is closed in silence. */
    if (c->exchange || (read_tcp_info(c, &info) && info.tcpi_bytes_received > 0)) {
        struct error error;
        err_set(&error, ERR_TIMEOUT, "the request's head did not arrive within %lld ms",
                (long long)c->server->params.header_timeout_ms);
        conn_raw_error(c, 408, &error);
    }
    conn_abort(c);
}

static void body_timed_out(struct conn *c)
{
    struct error error;
    err_set(&error, ERR_TIMEOUT, "the request's body stopped for %lld ms after %zu bytes",
            (long long)c->server->params.body_timeout_ms,
            c->exchange ? c->exchange->body_received : 0);
    conn_raw_error(c, 408, &error);
    conn_abort(c);
}

static void expired(struct conn *c)
{
    enum watch watch = c->watch;
    conn_watch(c, WATCH_NONE);
    switch (watch) {
    case WATCH_HEAD: head_timed_out(c); break;
    case WATCH_IDLE: conn_abort(c); break;
    case WATCH_BODY: body_timed_out(c); break;
    case WATCH_SEND: check_progress(c); break;
    case WATCH_PING:
        /* Not yet taken up by the stream if it stands in the middle of an event: next time. */
        conn_watch(c, WATCH_PING);
        if (c->socket)
            socket_ping(c->socket);
        else if (c->exchange)
            exchange_ping(c->exchange);
        break;
    case WATCH_DEAD:
        /* Makes libmicrohttpd look at it again. */
        MHD_suspend_connection(c->mhd);
        MHD_resume_connection(c->mhd);
        break;
    case WATCH_NONE:
    case WATCH_COUNT: break;
    }
}

static void linger_end(struct server *s, struct lingerer *l)
{
    close(l->fd);
    l->fd = -1;
    s->n_lingers--;
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < 0 || b < a ? b : a;
}

int conn_expire(struct server *s)
{
    int64_t next = -1;
    for (int w = 0; w < WATCH_COUNT; w++) {
        struct list_node *list = &s->watches[w];
        /* One that is set again goes to the end, with a deadline to come. */
        while (!list_empty(list)) {
            struct conn *c = container_of(list->next, struct conn, watch_node);
            if (c->deadline_ms > s->now_ms) {
                next = earlier(next, c->deadline_ms);
                break;
            }
            expired(c);
        }
    }
    for (int i = 0; s->n_lingers > 0 && i < LINGER_MAX; i++) {
        struct lingerer *l = &s->lingers[i];
        if (l->fd < 0) continue;
        if (l->deadline_ms <= s->now_ms) {
            linger_end(s, l);
        } else {
            next = earlier(next, l->deadline_ms);
        }
    }
    if (next < 0) return -1;
    return next - s->now_ms > 60000 ? 60000 : (int)(next - s->now_ms);
}

/* ---- suspending, closing --------------------------------------------------------------------- */

void conn_suspend(struct conn *c)
{
    ht_assert(!c->suspended);
    c->suspended = true;
    MHD_suspend_connection(c->mhd);
}

void conn_resume(struct conn *c)
{
    if (!c->suspended) return;
    c->suspended = false;
    MHD_resume_connection(c->mhd);
}

void conn_abort(struct conn *c)
{
    shutdown(c->fd, SHUT_RDWR);
    conn_resume(c);
}

void conn_raw_error(struct conn *c, int status, const struct error *error)
{
    struct exchange *x = c->exchange;
    char made[32];
    const char *id = x && x->http.request_id[0] ? x->http.request_id : made;
    if (id == made) id_make(made, sizeof made, "req-");
    char body_mem[2048], text_mem[3072];
    struct buf body, text;
    buf_init_fixed(&body, body_mem, sizeof body_mem);
    buf_init_fixed(&text, text_mem, sizeof text_mem);
    error_shape_of(x ? x->http.path : "")->write(&body, error, id);
    buf_printf(&text,
               "HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Type: application/json\r\n"
               "X-Request-Id: %s\r\nContent-Length: %zu\r\n\r\n",
               status, MHD_get_reason_phrase_for((unsigned)status), id, body.len);
    if (!x || x->http.method != HTTP_HEAD) buf_append(&text, body.data, body.len);
    ht_assert(!body.err && !text.err);
    /* Best effort: nothing was sent on this connection yet, so its buffer has room. */
    if (send(c->fd, text.data, text.len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        log_debug(http, "no error could be sent to %s: %s", c->remote, strerror(errno));
    if (x) {
        x->status = status;
        x->answered_raw = true;
    } else {
        metric_add(METRIC_http_requests_total, 1);
        metric_add(METRIC_http_errors_total, 1);
        log_line(LOG_INFO, LOG_http, id, "%s: no request could be read: %d %s", c->remote, status,
                 error->msg);
    }
}

/* ---- opened and closed ----------------------------------------------------------------------- */

static bool table_has_room(struct server *s, int fd)
{
    if ((size_t)fd < s->by_fd_len) return true;
    size_t len = s->by_fd_len ? s->by_fd_len : 256;
    while (len <= (size_t)fd) len *= 2;
    struct conn **table = try_realloc(s->by_fd, len, sizeof *table);
    if (!table) return false;
    memset(table + s->by_fd_len, 0, (len - s->by_fd_len) * sizeof *table);
    s->by_fd = table;
    s->by_fd_len = len;
    return true;
}

static void read_address(struct conn *c)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c->mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *address = info->client_addr;
    if (address->sa_family != AF_INET && address->sa_family != AF_INET6) {
        str_copy(c->remote, sizeof c->remote, "?");
        return;
    }
    const void *ip = address->sa_family == AF_INET6
                         ? (const void *)&((const struct sockaddr_in6 *)address)->sin6_addr
                         : (const void *)&((const struct sockaddr_in *)address)->sin_addr;
    if (!inet_ntop(address->sa_family, ip, c->remote, sizeof c->remote))
        str_copy(c->remote, sizeof c->remote, "?");
}

static uint64_t epoll_key(const struct conn *c)
{
    return (uint64_t)c->generation << 32 | (uint32_t)c->fd;
}

void conn_want(struct conn *c, uint32_t events)
{
    if (events == c->wanted) return; /* the usual case: a token more for the same reader */
    c->wanted = events;
    struct epoll_event event = {.events = events, .data.u64 = epoll_key(c)};
    epoll_ctl(c->server->epoll_fd, EPOLL_CTL_MOD, c->fd, &event);
}

static void conn_opened(struct server *s, struct MHD_Connection *mhd, void **context)
{
    int fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    struct conn *c = table_has_room(s, fd) ? try_calloc(1, sizeof *c) : NULL;
    if (!c) {
        shutdown(fd, SHUT_RDWR);
        return;
    }
    c->server = s;
    c->mhd = mhd;
    c->fd = fd;
    /* 31 bits, and never 0, which is for KEY_WAKE and the like. */
    s->generation = (s->generation + 1) & 0x7fffffff;
    if (s->generation == 0) s->generation = 1;
    c->generation = s->generation;
    list_init(&c->watch_node);
    list_push_back(&s->conns, &c->node);
    s->n_conns++;
    s->by_fd[fd] = c;
    *context = c;
    metric_add(METRIC_http_connections, 1);
    read_address(c);
    c->listener =
        s->ollama_port && listen_port(fd) == s->ollama_port ? LISTENER_OLLAMA : LISTENER_MAIN;
    conn_watch(c, WATCH_HEAD);
    c->wanted = EPOLLRDHUP | EPOLLET;
    struct epoll_event event = {.events = c->wanted, .data.u64 = epoll_key(c)};
    if (epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
        conn_abort(c);
    } else if (s->n_conns > s->params.max_connections) {
        struct error error;
        err_set(&error, ERR_BUSY,
                "the hub has %d open connections, which is its limit (HEARTH_MAX_CONNECTIONS)",
                s->params.max_connections);
        conn_raw_error(c, 503, &error);
        conn_abort(c);
    }
}

static void start_lingering(struct server *s, const struct conn *c)
{
    if (s->n_lingers == LINGER_MAX || s->closing) return;
    int i = 0;
    while (s->lingers[i].fd >= 0) i++;
    int fd = fcntl(c->fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0) return;
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = KEY_LINGER | (unsigned)i};
    if (epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
        close(fd);
        return;
    }
    s->lingers[i] = (struct lingerer){fd, s->now_ms + LINGER_MS};
    s->n_lingers++;
}

static void conn_closed(struct conn *c)
{
    struct server *s = c->server;
    ht_assert(!c->exchange && !c->socket);
    /* Explicitly, since the duplicate that lingers would keep the registration alive. */
    epoll_ctl(s->epoll_fd, EPOLL_CTL_DEL, c->fd, NULL);
    if (c->linger && !c->peer_gone) start_lingering(s, c);
    s->by_fd[c->fd] = NULL;
    list_remove(&c->watch_node);
    list_remove(&c->node);
    s->n_conns--;
    metric_add(METRIC_http_connections, -1);
    free(c);
}

void conn_notify(void *cls, struct MHD_Connection *mhd, void **context,
                 enum MHD_ConnectionNotificationCode code)
{
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        conn_opened(cls, mhd, context);
    } else if (*context) {
        conn_closed(*context);
        *context = NULL;
    }
}

void conn_event(struct server *s, uint64_t key, uint32_t events)
{
    size_t fd = (uint32_t)key;
    struct conn *c = fd < s->by_fd_len ? s->by_fd[fd] : NULL;
    if (!c || c->generation != key >> 32) return; /* closed in this same turn */
    if (c->socket) {
        socket_event(c->socket, events);
        return;
    }
    /* An edge: it comes once, maybe before there is anything that could be stopped. */
    c->peer_gone = true;
    if (!c->exchange || !c->exchange->dispatched) return;
    exchange_close(c->exchange);
    if (c->suspended) conn_abort(c);
}

void conn_linger_event(struct server *s, uint64_t key)
{
    struct lingerer *l = &s->lingers[key & ~KEY_LINGER];
    if (l->fd < 0) return;
    /* With MSG_TRUNC the kernel drops the bytes without copying them anywhere (tcp(7)). */
    ssize_t n = recv(l->fd, NULL, LINGER_READ, MSG_DONTWAIT | MSG_TRUNC);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) linger_end(s, l);
}

void conn_linger_close_all(struct server *s)
{
    for (int i = 0; i < LINGER_MAX; i++) {
        if (s->lingers[i].fd >= 0) linger_end(s, &s->lingers[i]);
    }
}
