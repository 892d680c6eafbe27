/* Inside of the server: its three objects and what its files ask of each other.
 *
 *   server    one listening socket, one front thread                       server.c
 *   conn      one client's TCP connection; front thread only               conn.c
 *   exchange  one request and its answer; implements the sink              exchange.c (any thread)
 *                                                                          front.c (front thread)
 *   socket    what a connection becomes by an upgrade; front thread only   upgrade.c, socket.c
 *
 * libmicrohttpd is called on the front thread alone. It reports a connection (conn_opened), the
 * request line (front_target), the head, the body and their end (front_request), the end of the
 * exchange (front_completed) and of the connection (conn_closed).
 *
 * An exchange is `parked` while its connection is suspended, waiting for a handler to produce
 * something. Whoever produces it takes the mark off, puts the exchange on the server's ready list
 * and wakes the front thread, once per batch: an eventfd is written only when the list was empty.
 *
 * Locks, in this order: exchange.lock, server.lock. Neither is held while a handler, a close
 * callback or libmicrohttpd runs, except for sink verbs that are called from inside of them. */
#ifndef HEARTH_SERVER_SERVER_INT_H
#define HEARTH_SERVER_SERVER_INT_H

#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>

#include "api/close_hook.h"
#include "base/buf.h"
#include "base/list.h"
#include "server/policy.h"
#include "server/proxies.h"
#include "server/server.h"
#include "server/uri.h"

/* What a connection waits for. Each kind has one time-out, so a list per kind is sorted by
 * deadline and finding the next one is a look at a few heads. */
enum watch {
    WATCH_NONE, /* a handler is at work: no limit of ours */
    WATCH_HEAD, /* new, or its request line has come: the rest of the head is due */
    WATCH_IDLE, /* keep-alive, between requests */
    WATCH_BODY, /* the next bytes of the body are due */
    WATCH_SEND, /* the client is to read what we send */
    WATCH_PING, /* an event stream with nothing to say */
    WATCH_DEAD, /* libmicrohttpd has closed it in a state from which it would not clean it up */
    WATCH_COUNT
};

struct conn {
    struct list_node node;       /* in server.conns */
    struct list_node watch_node; /* in server.watches[watch] */
    enum watch watch;
    int64_t deadline_ms;
    struct server *server;
    struct MHD_Connection *mhd;
    struct exchange *exchange; /* NULL between requests */
    struct socket *socket;     /* NULL: it speaks HTTP */
    int fd;
    enum http_listener listener;
    uint32_t generation; /* tells this connection from an earlier one with the same fd */
    uint32_t wanted;     /* events that server.epoll_fd tells of it */
    bool suspended;
    bool peer_gone; /* the kernel has seen its FIN or RST */
    bool linger;    /* closed before all it sends was read: see conn_closed */
    uint64_t acked; /* bytes the client had acknowledged at the last look of WATCH_SEND */
    char remote[INET6_ADDRSTRLEN];
};

enum exchange_state { X_OPEN, X_STREAMING, X_ENDED, X_CLOSED };

struct intake; /* of an upload: intake.c */

struct exchange {
    struct sink sink; /* what the handler holds */
    struct http_request http;
    struct server *server; /* valid under lock while the state is X_OPEN or X_STREAMING */

    /* Set by the front thread before the handler runs, constant afterwards. */
    struct uri uri;
    char *head; /* header fields: name \0 value \0 ... \0 */
    struct buf body;
    struct intake *intake; /* instead of body; NULL: it is no upload */
    const struct route *route;
    struct hub *hub;
    const struct gate *gate;
    uintptr_t wire_target; /* where libmicrohttpd holds it */
    size_t target_len;
    bool http_1_0;
    const char *origin; /* NULL: no CORS headers */
    enum origin_verdict origin_verdict;
    bool preflight;
    char request_id[32];           /* if the client brought none */
    char client[INET6_ADDRSTRLEN]; /* behind trusted proxies, or the connection's */
    char method_name[16];          /* for the log */

    /* Front thread only. */
    struct conn *conn; /* NULL when the connection has gone on without this exchange */
    bool head_done;
    bool expects_body;
    bool dispatched;
    bool answered_raw; /* see conn_raw_error */
    bool must_close;   /* answer with Connection: close */
    bool is_event_stream;
    bool in_streams_metric;
    struct error *fault; /* the head was refused: the answer, once the body has been skipped */
    int fault_status;
    char *allow; /* methods of the path, for 405 and OPTIONS */
    int64_t started_ns;
    int64_t body_started_ms;
    size_t body_expected, body_received;

    pthread_mutex_t lock; /* guards all below */
    enum exchange_state state;
    bool streamed;    /* begun with sink_begin */
    bool upgrades;    /* the answer is that a WebSocket is opened */
    bool head_queued; /* the answer's status and header are libmicrohttpd's */
    bool parked;
    bool on_ready_list;
    bool too_slow;
    bool mid_event;              /* what was written last doesn't end an event: no ping here */
    int status, status_override; /* override: the server's own errors with a status of their own */
    char *content_type;
    struct buf fields; /* answer's header: name \0 value \0 ... */
    struct buf out;    /* a complete answer, or what of a stream is not taken yet */
    size_t out_taken;
    int file; /* a complete answer's body, instead of out; -1 = none */
    int64_t file_size;
    struct close_hook hook;
    int handler_refs; /* references held through sink_ref/sink_unref */
    int pins;         /* the server's own: connection, job, ready list */
    struct exchange *ready_next;

    /* A message of a WebSocket: an exchange of its own, without libmicrohttpd. */
    struct exchange *upgrade; /* the handshake, whose header and parameters it has; pinned */
    struct socket *socket;    /* front thread; NULL once it is over */
    struct list_node node;    /* in socket.waiting */

    char storage[]; /* the parts of uri, then the decoded parameters of the route */
};

enum { LINGER_MAX = 64 };

struct lingerer {
    int fd; /* -1: free */
    int64_t deadline_ms;
};

struct server {
    struct server_params params;
    struct policy *policy;
    struct proxies *proxies;
    int port, ollama_port; /* ollama_port: 0 = there is no second one */
    pthread_t thread;

    /* Front thread only, once it runs. */
    struct MHD_Daemon *mhd;
    int listen_fd, mhd_fd, epoll_fd, wake_fd;
    int ollama_fd;  /* the second listening socket, or -1; libmicrohttpd has only one */
    int64_t now_ms; /* of this turn of the loop */
    struct list_node conns;
    struct list_node watches[WATCH_COUNT];
    struct conn **by_fd;
    size_t by_fd_len;
    uint32_t generation;
    int n_conns, n_busy;
    int peak_conns; /* since memory was last given back */
    struct lingerer lingers[LINGER_MAX];
    int n_lingers;
    bool starved; /* accept found no descriptor */
    int64_t starved_until_ms, starved_logged_ms;
    bool closing;  /* no new requests are taken */
    bool detached; /* neither pool nor hub may be touched any more */

    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t drained;
    struct exchange *ready_first, *ready_last;
    bool woken;
    bool draining, stopping, detaching;
    bool is_drained, is_detached;
};

/* ---- server.c: the front thread's loop --------------------------------------------------- */

/* Caller holds x->lock and x's state is not X_CLOSED by the server's end. Any thread. */
void server_push_ready(struct server *s, struct exchange *x);

/* ---- listen.c: listening sockets ------------------------------------------------------------- */

/* A socket that listens on host and port. *local_only: nobody but this machine can reach it. */
HT_MUST_CHECK enum err listen_open(const char *host, int port, const char *option, int *fd,
                                   bool *local_only, struct error *error);
int listen_port(int fd);
/* The second socket has connections: libmicrohttpd gets them. Front thread. */
void listen_accept(struct server *s);
/* Whether its events are wanted. */
void listen_watch(struct server *s, bool on);
void listen_close(struct server *s);

/* ---- conn.c ------------------------------------------------------------------------------ */

/* libmicrohttpd's callback for connections that open and close. */
void conn_notify(void *cls, struct MHD_Connection *mhd, void **context,
                 enum MHD_ConnectionNotificationCode code);
struct conn *conn_of(struct MHD_Connection *mhd);
void conn_watch(struct conn *c, enum watch watch);
/* Closes the TCP connection; libmicrohttpd notices and lets go of it. */
void conn_abort(struct conn *c);
void conn_suspend(struct conn *c);
void conn_resume(struct conn *c);
/* Writes an error past libmicrohttpd. Only while it hasn't begun to answer, and the connection must
 * be closed afterwards. */
void conn_raw_error(struct conn *c, int status, const struct error *error);
/* Events (of epoll) of conn_notify's registration in server.epoll_fd. */
void conn_event(struct server *s, uint64_t key, uint32_t events);
/* Which events are wanted; those of a WebSocket change. */
void conn_want(struct conn *c, uint32_t events);
/* Acts on every deadline that is over; returns the milliseconds to the next (-1: none). */
int conn_expire(struct server *s);
void conn_linger_event(struct server *s, uint64_t key);
void conn_linger_close_all(struct server *s);

enum { KEY_WAKE = 1, KEY_MHD = 2, KEY_OLLAMA = 3 };
#define KEY_LINGER (UINT64_C(1) << 63)

/* ---- exchange.c: the sink ---------------------------------------------------------------- */

/* One pin for the caller. NULL when memory is short. */
struct exchange *exchange_new(struct server *s, struct conn *c, const char *target, size_t len,
                              struct error *error);
void exchange_unpin(struct exchange *x);
/* Hands out the handler's first reference. */
struct sink *exchange_hand_out(struct exchange *x);
/* The client is gone, or the server stops: closes an open or streaming sink and calls its close
 * callback. Front thread. False when it had ended before. */
bool exchange_close(struct exchange *x);
/* Answers with the API's error shape; status 0 takes the error's own. */
void exchange_fail(struct exchange *x, int status, const struct error *error);
/* Caller holds the lock: if the front thread waits for x, it has something to do now. */
void exchange_wake(struct exchange *x);
/* Front thread: calls a close callback that a producer left due. */
void exchange_run_due_callback(struct exchange *x);
/* A message of the WebSocket that x became; one pin for the caller. NULL when memory is short. */
struct exchange *exchange_message(struct exchange *x, const void *text, size_t len);
/* Caller holds the lock: so many bytes of x->out are taken; its memory goes with the last. */
void exchange_took(struct exchange *x, size_t n);
/* Adds ": ping" to an idle event stream if that may stand here. */
void exchange_ping(struct exchange *x);

/* ---- front.c: libmicrohttpd's callbacks for requests -------------------------------------- */

void *front_target(void *cls, const char *target, struct MHD_Connection *mhd);
enum MHD_Result front_request(void *cls, struct MHD_Connection *mhd, const char *url,
                              const char *method, const char *version, const char *data,
                              size_t *size, void **context);
void front_completed(void *cls, struct MHD_Connection *mhd, void **context,
                     enum MHD_RequestTerminationCode why);

/* The request is whole: runs its handler, here or on the pool, or answers by itself. */
void front_dispatch(struct exchange *x);
/* Puts a job on the pool that unpins x; answers when there is no room. */
void front_submit(struct exchange *x, void (*job)(void *x));
/* x is over: counted and logged. complete: its client has all of the answer. */
void front_account(struct exchange *x, bool complete);

/* ---- upgrade.c: the handshake of a WebSocket; front thread ---------------------------------- */

/* The request of a ROUTE_SOCKET route is whole: asks the gate and looks at it, on the pool, and
 * answers. */
void upgrade_dispatch(struct exchange *x);
enum MHD_Result upgrade_queue(struct exchange *x);

/* ---- socket.c: a WebSocket; front thread ----------------------------------------------------- */

/* early: what came behind the handshake's head. urh: libmicrohttpd's handle of the connection. */
void socket_open(struct conn *c, struct MHD_UpgradeResponseHandle *urh, const char *early,
                 size_t len);
void socket_event(struct socket *w, uint32_t events);
/* Its message x has something to send, or is over. */
void socket_ready(struct socket *w, struct exchange *x);
/* Nothing was to be said for params.ping_ms. */
void socket_ping(struct socket *w);
/* The hub stops: closes it, once the message at hand is answered. */
void socket_wind_up(struct socket *w);
/* Ends it without a further word; libmicrohttpd buries the connection. */
void socket_close(struct socket *w);

/* ---- intake.c: the body of an upload; front thread unless it says otherwise ----------------- */

void intake_begin(struct exchange *x);
/* Why no more of it is wanted. */
bool intake_failed(struct exchange *x, struct error *error);
/* Returns how much was taken; less than len: the connection is suspended until there is room. */
size_t intake_take(struct exchange *x, const char *data, size_t len);
/* The body has ended. False: not all of it is on the disk yet, the connection is suspended until
 * then, and this asked again. True: x->http.upload is there, or *error says why not. */
bool intake_end(struct exchange *x, struct error *error);
/* The client has gone, or the exchange is over: what nobody has taken is removed. */
void intake_leave(struct exchange *x);
/* The handler has returned, or never ran. Pool. */
void intake_done(struct exchange *x);
void intake_free(struct intake *in); /* with the exchange; any thread; NULL is fine */

/* ---- answer.c: from an exchange to libmicrohttpd's response -------------------------------- */

/* Queues the answer of an ended or streaming exchange. */
enum MHD_Result answer_queue(struct exchange *x);

/* ---- mhd_errors.c -------------------------------------------------------------------------- */

/* The only way to queue a response here: see mhd_errors.c. */
enum MHD_Result mhd_queue(struct MHD_Connection *mhd, int status, struct MHD_Response *response);

#endif
