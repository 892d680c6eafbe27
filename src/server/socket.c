/* A WebSocket (RFC 6455): frames by libwslay, messages as exchanges (api/socket.h). Front thread
 * only; handlers reach it through their exchange's queue of bytes, as for any other stream.
 *
 *   bytes --wslay--> on_message --> waiting --> current: front_dispatch() --> its handler's sink
 *   exchange.out --socket_ready(), one line = one message--> wslay --> bytes
 *
 * What is bounded: a message (HEARTH_MAX_BODY; larger: closed with 1009), messages that wait (no
 * more is read until there is room), what a slow reader leaves (HEARTH_STREAM_BUFFER in the
 * exchange, QUEUE_LOW behind wslay; then it is dropped), what is read and handled in one turn of
 * the loop, and the time in which a peer that is asked for a sign of life may say nothing. */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <wslay/wslay.h>

#include "api/socket.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "server/server_int.h"

enum { WAITING_MAX = 32, READ_PER_TURN = 256 * 1024, QUEUE_LOW = 64 * 1024 };

struct socket {
    struct conn *conn;
    struct MHD_UpgradeResponseHandle *urh;
    wslay_event_context_ptr wslay;
    struct buf early; /* came with the handshake, not yet read */
    struct exchange *current;
    struct list_node waiting; /* exchanges */
    int n_waiting;
    size_t waiting_bytes;
    size_t may_read; /* bytes, in this turn */
    bool heard;      /* something came since the last ping */
    bool broken;     /* nothing more can be read or written */
};

/* ---- bytes ----------------------------------------------------------------------------------- */

static bool has_room(const struct socket *w)
{
    return w->n_waiting < WAITING_MAX && w->waiting_bytes <= w->conn->server->params.max_body;
}

static ssize_t take_early(struct socket *w, uint8_t *dst, size_t len)
{
    size_t n = w->early.len < len ? w->early.len : len;
    memcpy(dst, w->early.data, n);
    buf_consume(&w->early, n);
    if (!w->early.len) buf_free(&w->early);
    return (ssize_t)n;
}

static ssize_t on_recv(wslay_event_context_ptr ctx, uint8_t *dst, size_t len, int flags, void *arg)
{
    struct socket *w = arg;
    (void)flags;
    if (w->early.len) return take_early(w, dst, len);
    if (len > w->may_read) len = w->may_read;
    ssize_t n = len && has_room(w) ? recv(w->conn->fd, dst, len, MSG_DONTWAIT) : -1;
    if (n > 0) {
        w->may_read -= (size_t)n;
        w->heard = true;
        return n;
    }
    bool later = !len || !has_room(w) || (n < 0 && (errno == EAGAIN || errno == EINTR));
    wslay_event_set_error(ctx, later ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
    return -1;
}

static ssize_t on_send(wslay_event_context_ptr ctx, const uint8_t *data, size_t len, int flags,
                       void *arg)
{
    struct socket *w = arg;
    int more = flags & WSLAY_MSG_MORE ? MSG_MORE : 0;
    ssize_t n = send(w->conn->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL | more);
    if (n >= 0) return n;
    bool later = errno == EAGAIN || errno == EINTR;
    wslay_event_set_error(ctx, later ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
    return -1;
}

/* ---- closing --------------------------------------------------------------------------------- */

/* Its exchange is not this socket's any more. */
static void let_go(struct exchange *x, bool complete)
{
    front_account(x, complete);
    x->socket = NULL;
    exchange_unpin(x);
}

/* Nobody wants what is asked any more. */
static void drop_messages(struct socket *w)
{
    struct list_node *n;
    struct exchange *x = w->current;
    w->current = NULL;
    if (x) {
        exchange_close(x);
        let_go(x, false);
    }
    while ((n = list_pop_front(&w->waiting))) let_go(container_of(n, struct exchange, node), false);
    w->n_waiting = 0;
    w->waiting_bytes = 0;
}

/* The peer is told why, and answers; what it still says is not read. */
static void say_goodbye(struct socket *w, enum wslay_status_code code, const char *why)
{
    drop_messages(w);
    if (wslay_event_get_close_sent(w->wslay)) return;
    log_debug(http, "%s: WebSocket closed with %d: %s", w->conn->remote, (int)code, why);
    if (wslay_event_queue_close(w->wslay, (uint16_t)code, (const uint8_t *)why, strlen(why)) != 0)
        w->broken = true;
}

void socket_close(struct socket *w)
{
    struct conn *c = w->conn;
    drop_messages(w);
    c->socket = NULL;
    /* What the peer still says is thrown away for a moment, or its kernel would drop our goodbye.
     */
    c->linger = w->wslay && !wslay_event_get_close_received(w->wslay);
    /* Before the kernel can report more of a socket that nobody looks at: libmicrohttpd closes it
     * when it runs next. */
    conn_want(c, 0);
    conn_watch(c, WATCH_NONE);
    if (w->wslay) wslay_event_context_free(w->wslay);
    buf_free(&w->early);
    metric_add(METRIC_http_sockets, -1);
    MHD_upgrade_action(w->urh, MHD_UPGRADE_ACTION_CLOSE);
    free(w);
}

/* ---- messages -------------------------------------------------------------------------------- */

static void text_arrived(struct socket *w, const void *text, size_t len)
{
    if (socket_is_cancel(text, len)) drop_messages(w);
    struct exchange *x = exchange_message(w->conn->exchange, text, len);
    if (!x) {
        say_goodbye(w, WSLAY_CODE_INTERNAL_SERVER_ERROR, "not enough memory for the message");
        return;
    }
    x->socket = w;
    list_push_back(&w->waiting, &x->node);
    w->n_waiting++;
    w->waiting_bytes += len;
}

static void on_message(wslay_event_context_ptr ctx, const struct wslay_event_on_msg_recv_arg *msg,
                       void *arg)
{
    struct socket *w = arg;
    if (msg->opcode == WSLAY_CONNECTION_CLOSE) {
        drop_messages(w);
    } else if (msg->opcode == WSLAY_BINARY_FRAME) {
        say_goodbye(w, WSLAY_CODE_UNSUPPORTED_DATA, "messages are texts (JSON) here");
    } else if (msg->opcode == WSLAY_TEXT_FRAME && !wslay_event_get_close_sent(ctx)) {
        text_arrived(w, msg->msg, msg->msg_length);
    }
}

static void next_message(struct socket *w)
{
    if (w->current || wslay_event_get_close_received(w->wslay)) return;
    if (w->conn->server->closing) {
        say_goodbye(w, WSLAY_CODE_GOING_AWAY, "the hub is shutting down");
        return;
    }
    struct list_node *n = list_pop_front(&w->waiting);
    if (!n) return;
    struct exchange *x = container_of(n, struct exchange, node);
    w->n_waiting--;
    w->waiting_bytes -= x->body.len;
    w->current = x;
    front_dispatch(x);
}

static void send_text(struct socket *w, const char *text, size_t len)
{
    struct wslay_event_msg msg = {
        .opcode = WSLAY_TEXT_FRAME, .msg = (const uint8_t *)text, .msg_length = len};
    int e = len ? wslay_event_queue_msg(w->wslay, &msg) : 0;
    if (e && e != WSLAY_ERR_NO_MORE_MSG) w->broken = true; /* that: it is being closed */
}

/* The lock of x is held. Lines of a stream, or the whole of an answer. True: there is more, for
 * which there is no room. */
static bool send_lines(struct socket *w, struct exchange *x)
{
    while (x->out_taken < x->out.len) {
        if (wslay_event_get_queued_msg_length(w->wslay) >= (size_t)QUEUE_LOW) return true;
        const char *at = x->out.data + x->out_taken;
        size_t left = x->out.len - x->out_taken;
        const char *end = x->streamed ? memchr(at, '\n', left) : NULL;
        if (!end && x->state != X_ENDED) break;
        size_t len = end ? (size_t)(end - at) : left;
        send_text(w, at, len);
        exchange_took(x, end ? len + 1 : len);
    }
    return false;
}

enum forwarded { FORWARD_ALL, FORWARD_SOME, FORWARD_OVER };

/* Passes on what the current message's handler has written. */
static enum forwarded forward(struct socket *w)
{
    struct exchange *x = w->current;
    pthread_mutex_lock(&x->lock);
    bool more = send_lines(w, x);
    enum exchange_state state = x->state;
    x->parked = state == X_OPEN || state == X_STREAMING;
    pthread_mutex_unlock(&x->lock);
    if (state == X_CLOSED) w->broken = true; /* by its writer: the peer reads too slowly */
    if (more) return FORWARD_SOME;
    if (state != X_ENDED) return FORWARD_ALL;
    w->current = NULL;
    let_go(x, true);
    return FORWARD_OVER;
}

/* ---- a turn ---------------------------------------------------------------------------------- */

static void wait_for_more(struct socket *w)
{
    struct conn *c = w->conn;
    bool reads = wslay_event_want_read(w->wslay) && has_room(w);
    bool writes = wslay_event_want_write(w->wslay);
    bool bye = wslay_event_get_close_sent(w->wslay);
    conn_want(c, (reads ? EPOLLIN : 0u) | (writes ? EPOLLOUT : 0u) | EPOLLRDHUP);
    enum watch watch = writes || bye ? WATCH_SEND : WATCH_PING;
    if (c->watch != watch) conn_watch(c, watch);
}

/* Does all there is to be done now; w may be gone afterwards. */
static void turn(struct socket *w)
{
    bool again = true;
    while (again && !w->broken) {
        next_message(w);
        enum forwarded what = w->current ? forward(w) : FORWARD_ALL;
        if (wslay_event_send(w->wslay) != 0) w->broken = true;
        /* What the kernel took makes room for more of a long answer. */
        again = what == FORWARD_OVER || (what == FORWARD_SOME && !wslay_event_want_write(w->wslay));
    }
    bool over = !wslay_event_want_read(w->wslay) && !wslay_event_want_write(w->wslay);
    if (w->broken || over)
        socket_close(w);
    else
        wait_for_more(w);
}

static void read_some(struct socket *w)
{
    w->may_read = READ_PER_TURN;
    int e = wslay_event_recv(w->wslay);
    /* A broken frame makes wslay say goodbye and read no more; what it can't tell ends here. */
    if (e != 0 && wslay_event_want_read(w->wslay)) w->broken = true;
}

void socket_event(struct socket *w, uint32_t events)
{
    if (!w->wslay || (events & (EPOLLERR | EPOLLHUP))) {
        socket_close(w);
        return;
    }
    if ((events & (EPOLLIN | EPOLLRDHUP)) || w->early.len) read_some(w);
    /* Whoever shuts down its sending side has left, as with HTTP (conn.c). */
    if ((events & EPOLLRDHUP) && !wslay_event_get_close_received(w->wslay)) w->broken = true;
    turn(w);
}

void socket_ready(struct socket *w, struct exchange *x)
{
    if (x == w->current) turn(w);
}

void socket_ping(struct socket *w)
{
    if (!w->wslay || (!w->heard && has_room(w))) {
        log_debug(http, "%s answers no ping; its WebSocket is closed", w->conn->remote);
        socket_close(w);
        return;
    }
    struct wslay_event_msg ping = {.opcode = WSLAY_PING};
    w->heard = false;
    if (wslay_event_queue_msg(w->wslay, &ping) == WSLAY_ERR_NOMEM) w->broken = true;
    turn(w);
}

void socket_wind_up(struct socket *w)
{
    if (w->wslay) turn(w);
}

void socket_open(struct conn *c, struct MHD_UpgradeResponseHandle *urh, const char *early,
                 size_t len)
{
    static const struct wslay_event_callbacks callbacks = {
        .recv_callback = on_recv, .send_callback = on_send, .on_msg_recv_callback = on_message};
    struct socket *w = xcalloc(1, sizeof *w);
    int on = 1;
    w->conn = c;
    w->urh = urh;
    w->heard = true;
    c->socket = w;
    list_init(&w->waiting);
    buf_init(&w->early, c->server->params.max_headers * 2);
    metric_add(METRIC_http_sockets, 1);
    /* Frames are small: without it each would wait for the last one's acknowledgement. */
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (buf_append(&w->early, early, len) != OK ||
        wslay_event_context_server_init(&w->wslay, &callbacks, w) != 0) {
        w->wslay = NULL; /* closed by the event that this makes: not from inside of libmicrohttpd */
        shutdown(c->fd, SHUT_RDWR);
        conn_want(c, EPOLLRDHUP);
        return;
    }
    wslay_event_config_set_max_recv_msg_length(w->wslay, c->server->params.max_body);
    conn_watch(c, WATCH_PING);
    /* What is there already makes no event; an empty socket is writable at once. */
    conn_want(c, EPOLLIN | EPOLLRDHUP | EPOLLOUT);
}
