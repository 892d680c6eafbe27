/* Responses in the background: a record and a job (jobs.h), a stream that may be followed while it
 * is written (base/feed.h) and fetched again afterwards.
 *
 *   POST, background --> queued --job: run_response()--> in_progress --> completed, incomplete
 *
 * The job writes its stream into a feed whether anybody follows or not, and keeps its text when it
 * was asked for. It may run again after a crash, from the start: what it leaves is written at its
 * end, once. A failure that may pass is tried again by the runner; those who follow are let go. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "api/answer.h"
#include "api/error.h"
#include "api/gather.h"
#include "api/responses/responses.h"
#include "api/responses/responses_int.h"
#include "api/responses/writer.h"
#include "api/simple.h"
#include "base/config.h"
#include "base/feed.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "hub/hub.h"
#include "jobs/jobs.h"

enum {
    JOB_PRIORITY = 40,
    JOB_ATTEMPTS = 5,
    LOOK_MS = 200,    /* how soon a job sees that it was cancelled */
    FOLLOW_MS = 2000, /* how soon a follower hears of an end that came elsewhere */
    ERROR_BODY_MAX = 64 << 10,
};

#define KIND "response"

/* The kept body in another state; the caller's to free. NULL: it can't be read. */
static char *body_in_state(const char *body, const char *status, const struct error *error)
{
    json_t *object;
    struct error why;
    struct buf text;
    if (json_parse(body, strlen(body), &object, &why)) return NULL;
    int failed = json_object_set_new(object, "status", json_string(status));
    if (error)
        failed |=
            json_object_set_new(object, "error",
                                json_pack("{s:s, s:s}", "code", response_error_word(error->code),
                                          "message", error->msg));
    buf_init(&text, ANSWER_BYTES_MAX);
    failed |= json_dump(object, &text);
    json_decref(object);
    if (!failed) return buf_take(&text);
    buf_free(&text);
    return NULL;
}

static enum err end_cancelled(struct store *s, const struct store_answer *x, struct error *error)
{
    char *body = body_in_state(x->body, "cancelled", NULL);
    enum err e = store_answer_cancel(s, x->user_id, x->id, body ? body : x->body, error);
    free(body);
    return e;
}

static enum err end_failed(struct store *s, const struct store_answer *x, const struct error *why,
                           struct error *error)
{
    char *body = body_in_state(x->body, "failed", why);
    struct store_answer end = {.id = x->id,
                               .state = STORE_ANSWER_FAILED,
                               .model = x->model,
                               .body = body ? body : x->body};
    enum err e = store_answer_end(s, &end, error);
    free(body);
    return e;
}

/* ---- following ------------------------------------------------------------------------------- */

/* Somebody who follows. Where the answer is written here the feed tells him all; whether it ended
 * elsewhere (before he came, by another hub, by a cancelled job) is looked for every now and then,
 * as he would wait in vain. */
struct follow {
    struct follower follower;
    atomic_int refs; /* the handler's, and the feed's until the end or the client's going */
    struct hub *hub;
    struct sink *sink;
    int64_t skip; /* events that the client has already */
    struct timer timer;
    char id[RESPONSE_ID_MAX], user_id[STORE_ID_MAX];
};

static void follow_unref(struct follow *f)
{
    if (atomic_fetch_sub(&f->refs, 1) != 1) return;
    timer_clear(f->hub->timers, &f->timer); /* waits if it is running right now */
    sink_on_close(f->sink, NULL, NULL);
    sink_unref(f->sink);
    free(f);
}

/* Passes whole events on, without the first *skip of them. */
static void pass_on(struct sink *sink, const char *text, size_t len, int64_t *skip)
{
    const char *end = text + len;
    while (*skip > 0 && text < end) {
        const char *next = memmem(text, (size_t)(end - text), "\n\n", 2);
        text = next ? next + 2 : end;
        --*skip;
    }
    /* A client that has gone says so by itself. */
    if (text < end) (void)sink_write(sink, text, (size_t)(end - text));
}

static void on_feed(void *ctx, const void *data, size_t len)
{
    struct follow *f = ctx;
    if (data) {
        pass_on(f->sink, data, len, &f->skip);
        return;
    }
    sink_end(f->sink);
    follow_unref(f);
}

static void on_gone(void *ctx)
{
    struct follow *f = ctx;
    if (feed_unfollow(f->hub->feeds, &f->follower)) follow_unref(f);
}

static bool is_over(enum store_answer_state state)
{
    return state != STORE_ANSWER_QUEUED && state != STORE_ANSWER_IN_PROGRESS;
}

/* All of the stream of one that is over. */
static void replay(struct sink *sink, const struct store_answer *x, int64_t skip)
{
    struct buf made;
    struct error ignored;
    buf_init(&made, ANSWER_BYTES_MAX);
    const char *text = x->events;
    if (!text && response_replay(x->body, &skip, &made, &ignored) == OK) text = buf_str(&made);
    if (text) pass_on(sink, text, strlen(text), &skip);
    sink_end(sink);
    buf_free(&made);
}

/* Ends it when the answer is over, or deleted, and no feed of this hub will say so. */
static void end_if_over(struct follow *f)
{
    struct store *s;
    struct store_answer x = {0};
    struct error error;
    if (feed_is_written(f->hub->feeds, f->id)) return;
    struct arena *a = arena_new(RESPONSE_RECORD_MAX);
    enum err e = response_store(f->hub, &s, &error);
    if (!e) e = store_answer_look(s, f->user_id, f->id, a, &x, &error);
    bool over = !e && (is_over(x.state) || response_settle(s, &x));
    if (over) e = store_answer_get(s, f->user_id, STORE_RESPONSE, f->id, a, &x, &error);
    if ((e == ERR_NOT_FOUND || (!e && over)) && !feed_is_written(f->hub->feeds, f->id) &&
        feed_unfollow(f->hub->feeds, &f->follower)) {
        if (e)
            sink_end(f->sink);
        else
            replay(f->sink, &x, f->skip);
        follow_unref(f);
    }
    arena_free(a);
}

static void on_timer(void *ctx);

static void look_again(void *ctx)
{
    struct follow *f = ctx;
    end_if_over(f);
    timer_set(f->hub->timers, &f->timer, FOLLOW_MS, on_timer, f);
    follow_unref(f);
}

/* On the clock thread, which must not wait for a database. */
static void on_timer(void *ctx)
{
    struct follow *f = ctx;
    int refs = atomic_load(&f->refs);
    while (refs > 0 && !atomic_compare_exchange_weak(&f->refs, &refs, refs + 1)) continue;
    if (refs == 0) return; /* it ends: whoever ends it waits for this function */
    if (pool_submit(f->hub->pool, look_again, f) == OK) return;
    timer_set(f->hub->timers, &f->timer, FOLLOW_MS, on_timer, f);
    follow_unref(f);
}

/* To one who comes when the beginning is not there any more. */
static void tell_too_long(struct sink *sink, int64_t sequence)
{
    struct buf out;
    struct jw w;
    buf_init(&out, 4096);
    event_open(&w, &out, "error", &sequence);
    jw_kstr(&w, "code", err_api_code(ERR_TOO_LARGE));
    jw_kstr(&w, "message",
            "the stream has become too long to be told again while it goes on; "
            "fetch the response when it is over");
    jw_knull(&w, "param");
    event_close(&w);
    (void)sink_write(sink, buf_str(&out), out.len);
    sink_end(sink);
    buf_free(&out);
}

/* Takes the sink, whose stream has begun. */
static void follow_start(struct hub *hub, struct sink *sink, const char *id, const char *user_id,
                         int64_t skip)
{
    struct follow *f = xcalloc(1, sizeof *f);
    atomic_init(&f->refs, 2);
    f->hub = hub;
    f->sink = sink;
    f->skip = skip;
    str_copy(f->id, sizeof f->id, id);
    str_copy(f->user_id, sizeof f->user_id, user_id);
    if (feed_follow(hub->feeds, id, &f->follower, on_feed, f)) {
        sink_on_close(sink, on_gone, f);
        end_if_over(f);
        timer_set(hub->timers, &f->timer, FOLLOW_MS, on_timer, f);
    } else {
        tell_too_long(sink, skip);
        follow_unref(f);
    }
    follow_unref(f);
}

/* The server adds what keeps proxies from holding it back. */
static void begin_stream(struct sink *sink)
{
    (void)sink_begin(sink, 200, "text/event-stream", NULL, 0);
}

static enum err read_after(struct simple *c, int64_t *skip)
{
    int64_t after = -1;
    const char *text = c->req->query(c->req, "starting_after");
    if (text && !str_to_i64(text, 0, INT32_MAX, &after))
        return err_set_param(&c->error, ERR_INVALID, "starting_after",
                             "the query parameter starting_after must be a sequence number, got "
                             "%.40s",
                             text);
    *skip = after + 1;
    return OK;
}

void response_follow(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct simple c;
    struct store_answer x;
    int64_t skip = 0;
    const char *id = req->params[0];
    if (!simple_begin(&c, hub, req, sink, 0)) return;
    enum err e = read_after(&c, &skip);
    if (!e) e = store_answer_get(c.store, c.user_id, STORE_RESPONSE, id, c.arena, &x, &c.error);
    if (e) {
        simple_end(&c, 0, e);
        return;
    }
    begin_stream(sink);
    if (is_over(x.state)) {
        replay(sink, &x, skip);
        sink_unref(sink);
    } else {
        follow_start(hub, sink, id, c.user_id, skip);
    }
    simple_drop(&c);
}

void response_ended_outside(struct hub *hub, const char *id)
{
    jobs_recheck(hub->background);
    feed_abandon(hub->feeds, id);
}

/* ---- queueing -------------------------------------------------------------------------------- */

/* What the job needs: the body, and what of the call was not in it. */
static enum err write_request(const struct http_request *req, const struct call_env *env,
                              const json_t *body, struct buf *out, struct error *error)
{
    struct jw w;
    jw_init(&w, out);
    jw_obj(&w);
    jw_kstr(&w, "priority", env->priority);
    jw_kstr(&w, "source", env->routing.source);
    jw_kstr(&w, "route", env->routing.route);
    jw_kint(&w, "goal", env->routing.goal);
    jw_kstr(&w, "key_id", req->who ? req->who->key_id : "");
    jw_kjson(&w, "body", body);
    jw_obj_end(&w);
    return out->err ? request_too_large(error) : OK;
}

static enum err add_record(struct hub *hub, const struct http_request *req,
                           const struct call_env *env, const json_t *body,
                           const struct response_info *info, const char *text, struct error *error)
{
    struct store *s;
    struct buf request, payload;
    struct jw w;
    char room[RESPONSE_ID_MAX + 64];
    buf_init(&request, COPIED_JSON_MAX);
    buf_init_fixed(&payload, room, sizeof room);
    jw_init(&w, &payload);
    jw_obj(&w);
    jw_kstr(&w, "response_id", info->id);
    jw_obj_end(&w);
    enum err e = response_store(hub, &s, error);
    if (!e) e = write_request(req, env, body, &request, error);
    if (!e) {
        struct store_answer x = {.id = info->id,
                                 .user_id = info->user_id,
                                 .kind = STORE_RESPONSE,
                                 .state = STORE_ANSWER_QUEUED,
                                 .previous_id = info->previous_id,
                                 .model = info->model,
                                 .metadata = info->metadata,
                                 .request = buf_str(&request),
                                 .input = info->input,
                                 .body = text,
                                 .local_only = info->local_only,
                                 .created_ms = info->created_s * 1000};
        struct store_job job = {
            .kind = KIND, .payload = room, .priority = JOB_PRIORITY, .max_attempts = JOB_ATTEMPTS};
        e = store_answer_add(s, &x, &job, error);
    }
    buf_free(&request);
    return e;
}

/* The first events come at once, so that the client has the id; its stream goes on with the job's.
 */
static void stream_from_start(struct hub *hub, struct sink *sink, const struct response_info *info,
                              const char *text)
{
    static const char *const types[] = {"response.created", "response.queued"};
    struct buf out;
    struct jw w;
    int64_t sequence = 0;
    buf_init(&out, ANSWER_BYTES_MAX);
    for (size_t i = 0; i < 2; i++) {
        event_open(&w, &out, types[i], &sequence);
        jw_kraw(&w, "response", text);
        event_close(&w);
    }
    begin_stream(sink);
    (void)sink_write(sink, buf_str(&out), out.len);
    buf_free(&out);
    follow_start(hub, sink, info->id, info->user_id, sequence);
}

void response_enqueue(struct hub *hub, const struct http_request *req, struct sink *sink,
                      const struct call_env *env, const json_t *body, struct response_call *c)
{
    struct buf text;
    struct error error;
    buf_init(&text, ANSWER_BYTES_MAX);
    response_write_empty(&c->info, c->info.model, "queued", NULL, &text);
    enum err e = text.err ? request_too_large(&error)
                          : add_record(hub, req, env, body, &c->info, buf_str(&text), &error);
    if (e) {
        api_error(sink, req, &error);
        sink_unref(sink);
    } else if (c->call.stream) {
        stream_from_start(hub, sink, &c->info, buf_str(&text));
    } else {
        (void)sink_respond(sink, 200, "application/json", NULL, 0, text.data, text.len);
        sink_unref(sink);
    }
    if (!e) jobs_wake(hub->background);
    buf_free(&text);
    response_call_free(c);
}

/* ---- cancelling ------------------------------------------------------------------------------ */

void response_cancel(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct simple c;
    struct store_answer x;
    const char *id = req->params[0];
    if (!simple_begin(&c, hub, req, sink, 0)) return;
    enum err e = store_answer_get(c.store, c.user_id, STORE_RESPONSE, id, c.arena, &x, &c.error);
    if (!e && !x.job_id)
        e = err_set(&c.error, ERR_INVALID,
                    "only a response that was asked for with \"background\" can be cancelled");
    if (!e && !is_over(x.state)) {
        e = end_cancelled(c.store, &x, &c.error);
        response_ended_outside(hub, id);
        if (!e) e = store_answer_look(c.store, c.user_id, id, c.arena, &x, &c.error);
    }
    if (!e) buf_puts(&c.out, x.body);
    simple_end(&c, 200, e);
}

/* ---- the job --------------------------------------------------------------------------------- */

/* A response while its job runs. */
struct run {
    struct gather gather;
    struct feed *feed;
    struct response_end end;
    bool keep_events;
};

/* Comments (": queued ...") are for those who wait now, and would be counted as events. */
static void on_piece(void *ctx, const void *data, size_t len)
{
    struct run *r = ctx;
    const char *at = data, *end = at + len;
    while (at < end) {
        const char *next = memmem(at, (size_t)(end - at), "\n\n", 2);
        size_t n = next ? (size_t)(next + 2 - at) : (size_t)(end - at);
        if (*at != ':') (void)feed_write(r->feed, at, n); /* too long: told anew from the body */
        at += n;
    }
}

/* An error that came before the stream: as its client would have read it. */
static enum err refused(const struct gather *g, struct error *error)
{
    json_t *body = NULL;
    const json_t *what = NULL;
    if (g->body.len && json_parse(g->body.data, g->body.len, &body, error) == OK)
        what = json_object_get(body, "error");
    const char *message = json_string_value(json_object_get(what, "message"));
    enum err code = err_of_api_code(json_string_value(json_object_get(what, "code")));
    err_set(error, g->status ? code : ERR_CANCELLED, "%s", message ? message : "it was cancelled");
    json_decref(body);
    return error->code;
}

static enum err generate(struct hub *hub, struct job_ctx *job, struct response_call *c,
                         struct run *r, const char *request_id, struct error *error)
{
    gather_init(&r->gather, ERROR_BODY_MAX);
    r->gather.piece = on_piece;
    r->gather.ctx = r;
    r->keep_events = c->call.stream;
    c->call.stream = true; /* somebody may follow */
    struct writer *writer = response_writer_new(hub, c, &r->end);
    answer_start(hub, gather_sink(&r->gather), &c->call, writer, request_id, "response");
    while (!gather_wait(&r->gather, LOOK_MS))
        if (job_cancelled(job)) gather_close(&r->gather);
    if (r->end.error.code)
        *error = r->end.error;
    else if (!r->end.body)
        refused(&r->gather, error);
    else
        error->code = OK;
    gather_deinit(&r->gather);
    return error->code;
}

static enum err parse_again(struct hub *hub, const struct store_answer *x, struct response_call *c,
                            struct error *error)
{
    json_t *request = NULL;
    struct call_env env;
    struct auth_identity who = {0}; /* as he is now: pinned, or disabled; his key: revoked */
    const json_t *body = NULL;
    const char *key_id = "";
    int64_t goal = GOAL_DEFAULT;
    enum err e = json_parse(x->request, strlen(x->request), &request, error);
    if (!e) e = json_get_string(request, "key_id", "", &key_id, error);
    if (!e) e = accounts_user(hub->accounts, x->user_id, key_id, &who, error);
    call_env_init(hub->config, &env);
    env.request_id = x->id;
    env.tenant = x->user_id;
    env.routing.local_only = x->local_only || who.local_only;
    struct response_source source = {.hub = hub,
                                     .env = &env,
                                     .user_id = x->user_id,
                                     .id = x->id,
                                     .created_s = x->created_ms / 1000};
    if (!e) e = json_get_string(request, "priority", "", &env.priority, error);
    if (!e) e = json_get_string(request, "source", "", &env.routing.source, error);
    if (!e) e = json_get_string(request, "route", "", &env.routing.route, error);
    if (!e) e = json_get_int(request, "goal", "", 0, INT32_MAX, &goal, error);
    env.routing.goal = (enum goal)goal;
    if (!e) e = json_get_object(request, "body", "", &body, error);
    if (!e) e = response_parse(&source, body, strlen(x->request), c, error);
    json_decref(request);
    return e;
}

static enum err mark_begun(struct store *s, const struct response_info *info, struct error *error)
{
    struct buf text;
    buf_init(&text, ANSWER_BYTES_MAX);
    response_write_empty(info, info->model, "in_progress", NULL, &text);
    enum err e = text.err
                     ? request_too_large(error)
                     : store_answer_begin(s, info->id, buf_str(&text), info->local_only, error);
    buf_free(&text);
    return e;
}

static enum err keep(struct store *s, const char *id, const struct run *r, struct error *error)
{
    size_t len;
    const char *events = feed_text(r->feed, &len);
    struct store_answer x = {.id = id,
                             .state = r->end.state,
                             .model = r->end.model,
                             .body = r->end.body,
                             .events = r->keep_events && len ? events : NULL};
    return store_answer_end(s, &x, error);
}

bool response_settle(struct store *s, const struct store_answer *x)
{
    struct store_job job;
    struct error error, why;
    if (is_over(x->state) || !x->job_id) return false;
    struct arena *a = arena_new(1 << 20);
    enum err e = store_job_get(s, NULL, x->job_id, a, &job, &error);
    bool cancelled = !e && job.state == STORE_JOB_CANCELLED;
    bool failed = !e && job.state == STORE_JOB_FAILED;
    err_set(&why, ERR_INTERNAL, "%s", failed && job.error ? job.error : "it failed");
    if (cancelled)
        e = end_cancelled(s, x, &error);
    else if (failed)
        e = end_failed(s, x, &why, &error);
    if (e) log_warn(api, "the response %s: %s", x->id, error.msg);
    arena_free(a);
    return !e && (cancelled || failed);
}

static enum err run_one(struct hub *hub, struct job_ctx *job, const struct store_answer *x,
                        struct error *error)
{
    struct store *s = job_store(job);
    struct response_call c;
    struct run r = {0};
    enum err e = parse_again(hub, x, &c, error);
    if (e) return e;
    r.feed = feed_open(hub->feeds, x->id);
    if (!r.feed) e = err_set(error, ERR_BUSY, "it is being answered by this hub already");
    if (!e) e = mark_begun(s, &c.info, error);
    if (e) {
        response_call_free(&c);
        if (r.feed) feed_end(r.feed);
        return e;
    }
    e = generate(hub, job, &c, &r, x->id, error);
    if (!e) e = keep(s, x->id, &r, error);
    if (e == ERR_CANCELLED) (void)response_settle(s, x);
    feed_end(r.feed);
    free(r.end.body);
    return e;
}

static enum err run_response(struct job_ctx *job, void *ctx, struct error *error)
{
    const char *id;
    struct store_answer x = {0};
    struct arena *a = arena_new(RESPONSE_RECORD_MAX);
    enum err e = job_payload_str(job, "response_id", &id, error);
    if (!e) e = store_answer_by_id(job_store(job), id, a, &x, error);
    if (!e && !is_over(x.state) && !x.request)
        e = err_set(error, ERR_INTERNAL, "the response %s has lost its request", id);
    if (!e && !is_over(x.state)) e = run_one(ctx, job, &x, error);
    /* Deleted or cancelled meanwhile: nobody waits for it. */
    if (e == ERR_NOT_FOUND || e == ERR_CONFLICT) e = OK;
    arena_free(a);
    return e;
}

/* For good. */
static void response_failed(struct store *s, const struct store_job *job, void *ctx,
                            const struct error *why)
{
    struct hub *hub = ctx;
    json_t *payload = NULL;
    struct store_answer x;
    struct error error;
    struct arena *a = arena_new(RESPONSE_RECORD_MAX);
    enum err e = json_parse(job->payload, strlen(job->payload), &payload, &error);
    const char *id = json_string_value(json_object_get(payload, "response_id"));
    if (!e && id) e = store_answer_by_id(s, id, a, &x, &error);
    if (!e && id) {
        e = end_failed(s, &x, why, &error);
        feed_abandon(hub->feeds, id);
    }
    if (e && e != ERR_NOT_FOUND && e != ERR_CONFLICT)
        log_warn(api, "a response in the background could not be marked as failed: %s", error.msg);
    json_decref(payload);
    arena_free(a);
}

void responses_register(struct hub *hub)
{
    jobs_register(hub->background, KIND, run_response, response_failed, hub);
}
