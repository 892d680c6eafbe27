/* Answer: see answer.h.
 *
 * A stream's status is sent as late as possible: when the first request starts (STARTED), with the
 * first text, or when it has waited for SILENT_MS, in the queue or for its model, which it is told
 * in comments from then on. An error before that gets its proper HTTP status, one after that comes
 * as an event, which OpenAI's clients throw as well:
 *
 *   silent --STARTED, TEXT: begin(); QUEUED, LOADING and SILENT_MS: say_note()--> begun
 *   silent, begun --last event of the last request: complete()--> over
 *   silent, begun --ERROR of any request, a full buffer: fail()--> over
 *
 * Where the writer keeps something (writer_ops.keep), complete() and fail() are put off until that
 * was done, on the pool; `ending` is set meanwhile, and stays.
 *
 * In `over` and `ending` further events only count down the references. */
#include "api/answer.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "api/error.h"
#include "api/prompts.h"
#include "api/writer.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/timer.h"
#include "hub/hub.h"

/* A refusal is there by then; a person has not begun to wonder. */
enum { SILENT_MS = 250 };

struct answer;

/* One request of the call, as the listener's context. */
struct part {
    struct answer *answer;
    size_t index;
    _Atomic uint64_t id; /* 0 until the provider gave one */
    size_t bytes;        /* answer.lock: written for it and not yet told to the recorder */
};

enum { ROUTE_PROVIDER_MAX = 64, ROUTE_REASON_MAX = 200, ROUTE_HEADERS = 3 };

/* A copy of a gen_route, for the answer's headers. */
struct routed {
    char provider[ROUTE_PROVIDER_MAX], model[MODEL_ID_MAX], reason[ROUTE_REASON_MAX];
};

struct answer {
    atomic_int refs;
    atomic_int stop; /* enum canceller: no more requests, and cancel those there are */
    struct hub *hub;
    struct sink *sink;
    const char *what;
    char *request_id;
    bool stream;
    int64_t started_ms;
    pthread_mutex_t lock;
    /* Under the lock: */
    struct writer *writer;
    struct buf out;
    bool begun, over;
    bool ending;        /* the writer keeps what it has; then ... */
    struct error fault; /* OK: complete(), else fail() with it */
    bool timed;         /* the timer was set */
    bool noted;         /* the note is yet to be said */
    struct wait_note note;
    struct routed route;
    struct timer timer;
    size_t left; /* requests without a last event, and one for answer_start itself */
    size_t n_parts;
    struct part parts[];
};

/* Under the lock, or when nobody else has the answer any more. */
static void tell_bytes(struct answer *a)
{
    for (size_t i = 0; i < a->n_parts; i++) {
        uint64_t id = atomic_load(&a->parts[i].id);
        if (!id || !a->parts[i].bytes) continue;
        recorder_wrote(a->hub->recorder, id, a->parts[i].bytes);
        a->parts[i].bytes = 0;
    }
}

static void answer_unref(struct answer *a)
{
    if (atomic_fetch_sub(&a->refs, 1) != 1) return;
    if (a->timed) timer_clear(a->hub->timers, &a->timer);
    tell_bytes(a);
    sink_on_close(a->sink, NULL, NULL); /* waits if it is running right now */
    sink_unref(a->sink);
    writer_free(a->writer);
    buf_free(&a->out);
    pthread_mutex_destroy(&a->lock);
    free(a->request_id);
    free(a);
}

/* Any thread, any number of times; the first one's reason stays. A request whose id isn't known yet
 * is cancelled by submit(). */
static void cancel_all(struct answer *a, enum canceller by)
{
    int nobody = CANCELLED_BY_NOBODY;
    atomic_compare_exchange_strong(&a->stop, &nobody, (int)by);
    for (size_t i = 0; i < a->n_parts; i++) {
        uint64_t id = atomic_load(&a->parts[i].id);
        if (id) recorder_cancel(a->hub->recorder, id, by);
    }
}

static void client_gone(void *ctx)
{
    cancel_all(ctx, CANCELLED_BY_CLIENT);
}

/* ---- writing; the lock is held ------------------------------------------------------------- */

/* Headers that say who answers, as far as that is known. */
static size_t route_headers(const struct answer *a, struct sink_header headers[ROUTE_HEADERS])
{
    const struct routed *r = &a->route;
    size_t n = 0;
    if (!*r->provider) return 0;
    headers[n++] = (struct sink_header){"X-Hearth-Provider", r->provider};
    if (*r->model) headers[n++] = (struct sink_header){"X-Hearth-Model", r->model};
    if (*r->reason) headers[n++] = (struct sink_header){"X-Hearth-Route-Reason", r->reason};
    return n;
}

/* Those of an answer that works: also the request's id, where the surface's clients look for it. */
static size_t answer_headers(const struct answer *a, struct sink_header headers[ROUTE_HEADERS + 1])
{
    size_t n = route_headers(a, headers);
    const char *name = a->writer->ops->errors->id_header;
    if (name) headers[n++] = (struct sink_header){name, a->request_id};
    return n;
}

static void begin(struct answer *a)
{
    struct sink_header headers[2 + ROUTE_HEADERS + 1] = {
        {"Cache-Control", "no-cache"},
        {"X-Accel-Buffering", "no"}, /* nginx in front would collect the pieces */
    };
    if (a->begun) return;
    a->begun = true;
    size_t n = 2 + answer_headers(a, headers + 2);
    /* ERR_CLOSED shows again at the next write. */
    (void)sink_begin(a->sink, 200, a->writer->ops->stream_type, headers, n);
}

/* What was written for that part. false: the client has gone. */
static bool flush(struct answer *a, struct part *p)
{
    if (a->out.len == 0) return true;
    begin(a);
    enum err err = sink_write(a->sink, a->out.data, a->out.len);
    if (err == OK) p->bytes += a->out.len;
    buf_clear(&a->out);
    return err == OK;
}

static void tell_failure(struct answer *a, const struct error *why)
{
    struct error said = *why, *error = &said;
    a->over = true;
    if (a->writer->ops->reword) a->writer->ops->reword(a->writer, error);
    if (error->code == ERR_CANCELLED)
        log_line(LOG_INFO, LOG_api, a->request_id, "%s: cancelled after %lld ms", a->what,
                 (long long)(clock_mono_ms() - a->started_ms));
    else
        log_line(LOG_WARN, LOG_api, a->request_id, "%s: %s: %s", a->what, err_name(error->code),
                 error->msg);
    if (!a->begun) {
        struct sink_header headers[ROUTE_HEADERS];
        size_t n = route_headers(a, headers);
        error_respond_with(a->sink, a->writer->ops->errors, error, a->request_id, headers, n);
        return;
    }
    buf_clear(&a->out);
    a->writer->ops->fail(a->writer, error, a->request_id, &a->out);
    (void)flush(a, &a->parts[0]);
    tell_bytes(a);
    sink_end(a->sink);
}

static const struct error *writing_failed(enum err code, struct error *error)
{
    if (code == ERR_NOMEM)
        err_set(error, code, "not enough memory to write the answer; try again later");
    else
        err_set(error, code, "the answer became too large to be kept (limit: %d MiB)",
                ANSWER_BYTES_MAX >> 20);
    return error;
}

static void log_done(const struct answer *a)
{
    const struct writer *w = a->writer;
    log_line(LOG_INFO, LOG_api, a->request_id,
             "%s: model=%s prompt=%d cached=%d generated=%d queue_ms=%lld prefill_ms=%lld "
             "decode_ms=%lld total_ms=%lld",
             a->what, w->model, w->usage.prompt_tokens, w->usage.cached_tokens,
             w->usage.completion_tokens, (long long)(w->timings.queue_ns / 1000000),
             (long long)(w->timings.prefill_ns / 1000000),
             (long long)(w->timings.decode_ns / 1000000),
             (long long)(clock_mono_ms() - a->started_ms));
}

static void tell_all(struct answer *a)
{
    enum err err = writer_finish(a->writer, &a->out);
    if (err) {
        struct error error;
        tell_failure(a, writing_failed(err, &error));
        return;
    }
    a->over = true;
    log_done(a);
    if (a->stream) {
        (void)flush(a, &a->parts[0]);
        tell_bytes(a); /* before the client can ask for it */
        sink_end(a->sink);
    } else {
        a->parts[0].bytes += a->out.len;
        tell_bytes(a);
        struct sink_header headers[ROUTE_HEADERS + 1];
        size_t n = answer_headers(a, headers);
        (void)sink_respond(a->sink, 200, "application/json", headers, n, a->out.data, a->out.len);
    }
}

/* On the pool: the writer is its own now, as no event reaches it any more. */
static void keep_and_end(void *arg)
{
    struct answer *a = arg;
    bool failed = a->fault.code != OK;
    a->writer->ops->keep(a->writer, failed ? &a->fault : NULL);
    pthread_mutex_lock(&a->lock);
    if (failed)
        tell_failure(a, &a->fault);
    else
        tell_all(a);
    pthread_mutex_unlock(&a->lock);
    answer_unref(a);
}

/* False: there is nothing to be kept, or nobody who could do it. */
static bool keep_first(struct answer *a, const struct error *error)
{
    if (!a->writer->ops->keep) return false;
    a->fault = error ? *error : (struct error){.code = OK};
    a->ending = true;
    atomic_fetch_add(&a->refs, 1);
    if (pool_submit(a->hub->pool, keep_and_end, a) == OK) return true;
    log_line(LOG_WARN, LOG_api, a->request_id, "%s: the answer is not kept: too much to do",
             a->what);
    atomic_fetch_sub(&a->refs, 1); /* never the last one: the caller has his */
    return false;
}

static void complete(struct answer *a)
{
    if (!keep_first(a, NULL)) tell_all(a);
}

static void fail(struct answer *a, const struct error *error)
{
    if (!keep_first(a, error)) tell_failure(a, error);
}

/* The comment goes out, and the status before it. false: the client has gone. */
static bool say_note(struct answer *a)
{
    a->writer->ops->note(a->writer, &a->note, &a->out);
    a->noted = false;
    return flush(a, &a->parts[0]);
}

/* On the clock thread. A client that has gone tells so by itself. */
static void on_silence(void *ctx)
{
    struct answer *a = ctx;
    pthread_mutex_lock(&a->lock);
    if (!a->over && !a->ending && !a->begun && a->noted) (void)say_note(a);
    pthread_mutex_unlock(&a->lock);
}

/* QUEUED or LOADING. false: the client has gone. */
static bool waiting(struct answer *a, const struct gen_event *ev)
{
    if (!a->stream || !a->writer->ops->note) return true;
    bool loading = ev->type == GEN_EV_LOADING;
    a->noted = true;
    a->note = (struct wait_note){.what = loading ? WAIT_LOADING : WAIT_QUEUED,
                                 .position = ev->position,
                                 .wait_ms = ev->wait_ms,
                                 .fraction = ev->fraction};
    int64_t waited_ms = clock_mono_ms() - a->started_ms;
    if (a->begun || waited_ms >= SILENT_MS) return say_note(a);
    if (!a->timed) timer_set(a->hub->timers, &a->timer, SILENT_MS - waited_ms, on_silence, a);
    a->timed = true;
    return true;
}

/* ---- events -------------------------------------------------------------------------------- */

static void keep_route(struct answer *a, const struct gen_event *ev)
{
    if (ev->route) {
        str_copy(a->route.provider, sizeof a->route.provider, ev->route->provider);
        str_copy(a->route.model, sizeof a->route.model, ev->route->model);
        str_copy(a->route.reason, sizeof a->route.reason, ev->route->reason);
    }
    if (ev->type == GEN_EV_STARTED && ev->model)
        str_copy(a->route.model, sizeof a->route.model, ev->model);
    str_printable(a->route.model); /* a client's word, or another server's */
}

/* Under the lock. Not NOBODY: what is still running is to be cancelled, and why. */
static enum canceller handle(struct part *p, const struct gen_event *ev)
{
    struct answer *a = p->answer;
    if (a->over || a->ending) return CANCELLED_BY_NOBODY;
    if (!a->begun) keep_route(a, ev);
    if (ev->type == GEN_EV_ERROR) {
        fail(a, ev->error);
        return a->n_parts > 1 ? CANCELLED_BY_HUB : CANCELLED_BY_NOBODY;
    }
    if (ev->type == GEN_EV_QUEUED || ev->type == GEN_EV_LOADING)
        return waiting(a, ev) ? CANCELLED_BY_NOBODY : CANCELLED_BY_CLIENT;
    enum err err = writer_event(a->writer, p->index, ev, &a->out);
    if (err) {
        struct error error;
        fail(a, writing_failed(err, &error));
        return CANCELLED_BY_HUB;
    }
    if (!a->stream) return CANCELLED_BY_NOBODY;
    if (ev->type == GEN_EV_STARTED) begin(a);
    return flush(a, p) ? CANCELLED_BY_NOBODY : CANCELLED_BY_CLIENT;
}

static void on_event(void *ctx, const struct gen_event *ev)
{
    struct part *p = ctx;
    struct answer *a = p->answer;
    bool last = ev->type == GEN_EV_DONE || ev->type == GEN_EV_ERROR;
    pthread_mutex_lock(&a->lock);
    enum canceller cancel = handle(p, ev);
    if (last && --a->left == 0 && !a->over && !a->ending) complete(a);
    pthread_mutex_unlock(&a->lock);
    if (cancel != CANCELLED_BY_NOBODY) cancel_all(a, cancel);
    if (last) answer_unref(a);
}

/* ---- start --------------------------------------------------------------------------------- */

static struct answer *answer_new(struct hub *hub, struct sink *sink, const struct call *call,
                                 struct writer *writer, const char *request_id, const char *what)
{
    size_t n = call->n_requests;
    struct answer *a = xcalloc(1, sizeof *a + n * sizeof a->parts[0]);
    atomic_init(&a->refs, 1);
    a->hub = hub;
    a->sink = sink;
    a->what = what;
    a->request_id = xstrdup(request_id);
    a->stream = call->stream;
    a->started_ms = clock_mono_ms();
    pthread_mutex_init(&a->lock, NULL);
    a->writer = writer;
    buf_init(&a->out, ANSWER_BYTES_MAX);
    a->left = 1;
    a->n_parts = n;
    for (size_t i = 0; i < n; i++) a->parts[i] = (struct part){.answer = a, .index = i};
    return a;
}

/* false: the call has failed and the rest need not be tried. */
static bool submit(struct part *p, struct gen_request *request)
{
    struct answer *a = p->answer;
    struct error error;
    uint64_t id;
    atomic_fetch_add(&a->refs, 1);
    pthread_mutex_lock(&a->lock);
    a->left++;
    pthread_mutex_unlock(&a->lock);
    if (provider_generate(a->hub->provider, request, on_event, p, &id, &error) == OK) {
        atomic_store(&p->id, id);
        /* Whoever stopped the call before the id was there could not cancel it. */
        int by = atomic_load(&a->stop);
        if (by != CANCELLED_BY_NOBODY) recorder_cancel(a->hub->recorder, id, (enum canceller)by);
        return true;
    }
    pthread_mutex_lock(&a->lock);
    a->left--;
    if (!a->over && !a->ending) fail(a, &error);
    pthread_mutex_unlock(&a->lock);
    cancel_all(a, CANCELLED_BY_HUB);
    answer_unref(a);
    return false;
}

void answer_start(struct hub *hub, struct sink *sink, struct call *call, struct writer *writer,
                  const char *request_id, const char *what)
{
    if (call->questions) {
        prompts_ask(hub, sink, call, writer, request_id, what);
        return;
    }
    struct answer *a = answer_new(hub, sink, call, writer, request_id, what);
    sink_on_close(sink, client_gone, a);
    bool all = true;
    for (size_t i = 0; i < a->n_parts && all; i++) {
        if (atomic_load(&a->stop)) {
            all = false;
            break;
        }
        struct gen_request *request = call->requests[i];
        call->requests[i] = NULL; /* the provider's from here on, also if it refuses */
        all = submit(&a->parts[i], request);
    }
    call_free(call);
    pthread_mutex_lock(&a->lock);
    if (!all && !a->ending) a->over = true; /* refused, or nobody is there to answer */
    if (--a->left == 0 && !a->over && !a->ending) complete(a);
    pthread_mutex_unlock(&a->lock);
    answer_unref(a);
}
