/* Intake: the body of an upload, from the front thread to a file, without either waiting.
 *
 *   front thread: body_arrived --> waiting (at most INTAKE_MAX) --> suspended while that is full
 *   pool: take_in: open (who may, and where to) --> feed what waits --> ... --> finish --> resume
 *
 * One job of an exchange at a time works on its upload, and holds a pin; when the client goes
 * meanwhile it is that job which removes what there was, else another one: removing a large file
 * may take longer than the front thread has. What goes wrong is answered when the rest of the body
 * has been read, or, where that is long, at once, and the connection is closed. */
#include <stdlib.h>
#include <string.h>

#include "api/upload.h"
#include "base/mem.h"
#include "base/thread.h"
#include "server/server_int.h"

enum { INTAKE_MAX = 256 << 10 };

struct intake { /* all under the exchange's lock, but `working`, which is the job's */
    struct buf waiting, working;
    struct upload *upload;
    bool busy;     /* a job is queued or at work: upload is its own */
    bool opened;   /* upload is there, or fault says why not */
    bool ended;    /* no more bytes come */
    bool finished; /* the form is whole */
    bool handed;   /* it is the handler's turn: upload is its own */
    struct error fault;
};

/* ---- on the pool ---------------------------------------------------------------------------- */

static enum err open_upload(struct exchange *x, struct intake *in, struct error *error)
{
    struct upload *u = NULL;
    enum err e = x->gate->receive(x->hub, x->route, &x->http, (int64_t)x->body_expected, &u, error);
    in->upload = u;
    in->opened = true;
    return e;
}

/* One round, without the lock. */
static enum err work(struct exchange *x, struct intake *in, bool last, struct error *error)
{
    enum err e = in->opened ? OK : open_upload(x, in, error);
    if (!e && in->working.len)
        e = upload_feed(in->upload, in->working.data, in->working.len, error);
    if (!e && last) e = upload_finish(in->upload, error);
    buf_clear(&in->working);
    return e;
}

static void take_in(void *arg)
{
    struct exchange *x = arg;
    struct intake *in = x->intake;
    struct upload *left = NULL;
    struct error error;
    bool more = true;
    pthread_mutex_lock(&x->lock);
    while (more && x->state == X_OPEN) {
        struct buf full = in->waiting;
        in->waiting = in->working;
        in->working = full;
        bool last = in->ended;
        exchange_wake(x); /* there is room again */
        pthread_mutex_unlock(&x->lock);
        enum err e = work(x, in, last, &error);
        pthread_mutex_lock(&x->lock);
        if (e) in->fault = error;
        in->finished = last && !e;
        more = !e && !last && (in->waiting.len > 0 || in->ended);
    }
    in->busy = false;
    if (x->state != X_OPEN) { /* nobody wants it any more */
        left = in->upload;
        in->upload = NULL;
    }
    exchange_wake(x);
    pthread_mutex_unlock(&x->lock);
    upload_free(left);
    exchange_unpin(x);
}

static void remove_left(void *arg)
{
    upload_free(arg);
}

/* ---- on the front thread -------------------------------------------------------------------- */

/* The lock is held. */
static void start_job(struct exchange *x)
{
    struct intake *in = x->intake;
    if (in->busy || in->finished || in->fault.code) return;
    enum err e =
        x->server->detached ? ERR_STOPPING : pool_submit(x->server->params.pool, take_in, x);
    if (e == ERR_STOPPING)
        err_set(&in->fault, e, "the hub is shutting down; try again in a moment");
    else if (e)
        err_set(&in->fault, ERR_BUSY,
                "the hub has too many requests at hand; try again in a moment");
    if (e) return;
    in->busy = true;
    x->pins++;
}

void intake_begin(struct exchange *x)
{
    struct intake *in = xcalloc(1, sizeof *in);
    buf_init(&in->waiting, INTAKE_MAX);
    buf_init(&in->working, INTAKE_MAX);
    x->intake = in;
    pthread_mutex_lock(&x->lock);
    start_job(x); /* whether it may begin is found out while the first bytes come */
    pthread_mutex_unlock(&x->lock);
}

bool intake_failed(struct exchange *x, struct error *error)
{
    pthread_mutex_lock(&x->lock);
    *error = x->intake->fault;
    pthread_mutex_unlock(&x->lock);
    return error->code != OK;
}

size_t intake_take(struct exchange *x, const char *data, size_t len)
{
    struct intake *in = x->intake;
    pthread_mutex_lock(&x->lock);
    size_t room = INTAKE_MAX - in->waiting.len;
    size_t n = len < room ? len : room;
    if (buf_append(&in->waiting, data, n) != OK) {
        err_set(&in->fault, ERR_NOMEM, "not enough memory for the request's body");
        n = len; /* it is read to its end for the answer */
    }
    start_job(x);
    bool full = n < len && !in->fault.code;
    if (full) x->parked = true;
    pthread_mutex_unlock(&x->lock);
    if (full) {
        conn_watch(x->conn, WATCH_NONE);
        conn_suspend(x->conn);
    }
    return n;
}

bool intake_end(struct exchange *x, struct error *error)
{
    struct intake *in = x->intake;
    pthread_mutex_lock(&x->lock);
    in->ended = true;
    start_job(x);
    bool over = (in->finished || in->fault.code) && !in->busy;
    if (!over) x->parked = true;
    *error = in->fault;
    in->handed = over && !in->fault.code;
    if (in->handed) x->http.upload = in->upload;
    pthread_mutex_unlock(&x->lock);
    if (!over) {
        conn_watch(x->conn, WATCH_NONE);
        conn_suspend(x->conn);
    }
    return over;
}

void intake_leave(struct exchange *x)
{
    struct intake *in = x->intake;
    pthread_mutex_lock(&x->lock);
    struct upload *left = in->busy || in->handed ? NULL : in->upload;
    if (left) in->upload = NULL;
    pthread_mutex_unlock(&x->lock);
    if (left && (x->server->detached || pool_submit(x->server->params.pool, remove_left, left)))
        upload_free(left);
}

void intake_done(struct exchange *x)
{
    if (!x->intake) return;
    pthread_mutex_lock(&x->lock);
    struct upload *u = x->intake->upload;
    x->intake->upload = NULL;
    x->http.upload = NULL;
    pthread_mutex_unlock(&x->lock);
    upload_free(u);
}

void intake_free(struct intake *in)
{
    if (!in) return;
    upload_free(in->upload);
    buf_free(&in->waiting);
    buf_free(&in->working);
    free(in);
}
