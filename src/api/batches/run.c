/* The job of a batch: see batches_int.h.
 *
 *   look at the input --> begin --> [ answer the lines that have no answer yet ] --> end
 *
 * Threads: the job's thread begins lines and writes down what came of them; answers end on any
 * thread and only say so (run.lock). */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "api/batches/batches_int.h"
#include "api/gather.h"
#include "api/writer.h"
#include "auth/auth.h"
#include "base/clock.h"
#include "base/config.h"
#include "base/id.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/thread.h"
#include "hub/hub.h"
#include "jobs/jobs.h"

enum {
    SLOTS_MAX = 64,
    TRIES = 4,      /* of a line whose failure may pass */
    LOOK_MS = 1000, /* how often the batch's state is looked at */
    BUSY_MS = 100,  /* how often the hub is looked at while others use it */
    TICK_MS = 250,
    PAUSE_MS = 2000, /* before a line is tried again, times the tries so far */
    PAUSES_MAX = 30,
    QUOTA_MS = 5000, /* how often a quota that is used up is asked again: it may be raised */
    PATIENCE_MAX_MS = 600000,
};

struct run;

/* A line that is being answered. */
struct slot {
    struct run *run;
    struct gather gather;
    bool used, answered; /* answered: run.lock; the gather has been let go */
    bool charged;        /* it counts as one of its user's requests, however often it is tried */
    int64_t line;
    int tries;
    int64_t again_ms; /* when it is tried again; 0 = it is under way */
    char id[BATCH_ID_MAX];
    char *custom_id, *body;
    struct fake_client *client;
};

/* Of all lines: more than an answer's numbers hold. */
struct batch_usage {
    int64_t input, cached, output, reasoning;
};

struct run {
    struct hub *hub;
    struct job_ctx *job;
    struct store *s;
    const struct store_batch *batch;
    const struct route *route;
    struct batch_input in;
    bool at_end;       /* of the input */
    bool all;          /* each line had its answer before anything was stopped */
    int64_t *answered; /* lines that have an answer from before, ascending */
    size_t n_answered, at_answered;
    struct slot slots[SLOTS_MAX];
    size_t n_slots, n_used;
    struct batch_usage usage;
    char model[MODEL_ID_MAX];
    int64_t done;
    int64_t waiting_since_ms; /* for the hub to be idle; 0 = not */
    int64_t look_at_ms;
    enum store_batch_state state; /* as last seen */
    pthread_mutex_t lock;
    pthread_cond_t changed;
};

/* ---- asking as a client ---------------------------------------------------------------------- */

/* A request that no client sent. It lives until its answer has. */
struct fake_client {
    struct http_request req;
    struct auth_identity who;
    char priority[8];
    bool local_only;
};

static const char *header_of(const struct http_request *req, const char *name)
{
    const struct fake_client *c = container_of(req, const struct fake_client, req);
    if (str_ieq(name, "X-Priority")) return c->priority;
    if (str_ieq(name, "X-Hearth-Local")) return c->local_only ? "true" : NULL;
    return str_ieq(name, "Content-Type") ? "application/json" : NULL;
}

static const char *no_query(const struct http_request *req, const char *name)
{
    (void)req, (void)name;
    return NULL;
}

static struct fake_client *client_new(const struct run *r, const struct slot *slot)
{
    struct fake_client *c = xcalloc(1, sizeof *c);
    c->req = (struct http_request){.method = HTTP_POST,
                                   .path = r->batch->endpoint,
                                   .request_id = slot->id,
                                   .remote = "batch",
                                   .body = slot->body,
                                   .body_len = strlen(slot->body),
                                   .header = header_of,
                                   .query = no_query};
    c->local_only = r->batch->local_only;
    str_printf(c->priority, sizeof c->priority, "%d",
               (int)config_int(r->hub->config, CONFIG_BATCH_PRIORITY));
    return c;
}

/* Its user as he is now, who may have been pinned, disabled or deleted since the batch began, and
 * who has no more requests by batches than without; and so the API key that it was asked for with,
 * which may have been revoked. */
static enum err take_user(struct run *r, struct slot *slot, struct fake_client *c,
                          struct error *error)
{
    if (!*r->batch->user_id) return OK;
    enum err e =
        accounts_user(r->hub->accounts, r->batch->user_id, r->batch->key_id, &c->who, error);
    if (!e && !slot->charged)
        e = quota_charge(accounts_quota(r->hub->accounts), &c->who, true, error);
    if (e) return e;
    slot->charged = true;
    c->who.local_only |= r->batch->local_only;
    c->req.who = &c->who;
    return OK;
}

/* On whichever thread the answer was let go. */
static void on_released(void *ctx)
{
    struct slot *slot = ctx;
    struct run *r = slot->run;
    pthread_mutex_lock(&r->lock);
    slot->answered = true;
    pthread_cond_signal(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

/* OK, and it waits still: its user's requests, or its key's, are used up for now. */
static enum err ask(struct run *r, struct slot *slot, struct error *error)
{
    id_make(slot->id, sizeof slot->id, "batch_req_");
    struct fake_client *client = client_new(r, slot);
    enum err e = take_user(r, slot, client, error);
    if (e) {
        free(client);
        slot->again_ms = clock_mono_ms() + QUOTA_MS;
        if (e == ERR_QUOTA) job_progress(r->job, "waiting for a quota", r->done, r->batch->total);
        return e == ERR_QUOTA ? OK : e;
    }
    slot->again_ms = 0;
    slot->answered = false;
    slot->tries++;
    slot->client = client;
    gather_init(&slot->gather, ANSWER_BYTES_MAX);
    slot->gather.released = on_released;
    slot->gather.ctx = slot;
    atomic_fetch_add(&r->hub->batch_lines, 1);
    r->route->handler(r->hub, &slot->client->req, gather_sink(&slot->gather));
    return OK;
}

static void slot_clear(struct run *r, struct slot *slot)
{
    free(slot->custom_id);
    free(slot->body);
    *slot = (struct slot){.run = r};
    r->n_used--;
}

/* ---- what came of it ------------------------------------------------------------------------- */

static int64_t number_of(const json_t *object, const char *a, const char *b)
{
    const json_t *v = json_object_get(object, a);
    if (!v) v = json_object_get(object, b);
    return json_integer_value(v);
}

static void count(struct run *r, const char *body, size_t len)
{
    json_t *answer;
    struct error ignored;
    if (json_parse(body, len, &answer, &ignored)) return;
    const json_t *u = json_object_get(answer, "usage");
    const json_t *in = json_object_get(u, "prompt_tokens_details");
    const json_t *out = json_object_get(u, "completion_tokens_details");
    if (!in) in = json_object_get(u, "input_tokens_details");
    if (!out) out = json_object_get(u, "output_tokens_details");
    r->usage.input += number_of(u, "prompt_tokens", "input_tokens");
    r->usage.output += number_of(u, "completion_tokens", "output_tokens");
    r->usage.cached += number_of(in, "cached_tokens", "");
    r->usage.reasoning += number_of(out, "reasoning_tokens", "");
    const char *model = json_string_value(json_object_get(answer, "model"));
    if (model && !*r->model) str_copy(r->model, sizeof r->model, model);
    json_decref(answer);
}

/* What was counted before a crash. */
static void read_usage(struct run *r)
{
    json_t *u;
    struct error ignored;
    if (r->batch->model) str_copy(r->model, sizeof r->model, r->batch->model);
    if (!r->batch->usage || json_parse(r->batch->usage, strlen(r->batch->usage), &u, &ignored))
        return;
    r->usage = (struct batch_usage){
        .input = number_of(u, "input_tokens", ""),
        .output = number_of(u, "output_tokens", ""),
        .cached = number_of(json_object_get(u, "input_tokens_details"), "cached_tokens", ""),
        .reasoning =
            number_of(json_object_get(u, "output_tokens_details"), "reasoning_tokens", "")};
    json_decref(u);
}

static void write_answer(const struct slot *slot, struct buf *out)
{
    struct jw w;
    jw_init(&w, out);
    jw_obj(&w);
    jw_kstr(&w, "id", slot->id);
    jw_kstr(&w, "custom_id", slot->custom_id);
    jw_key(&w, "response");
    jw_obj(&w);
    jw_kint(&w, "status_code", slot->gather.status);
    jw_kstr(&w, "request_id", slot->id);
    jw_key(&w, "body");
    jw_raw(&w, buf_str(&slot->gather.body), slot->gather.body.len);
    jw_obj_end(&w);
    jw_knull(&w, "error");
    jw_obj_end(&w);
}

static enum err keep_answer(struct run *r, struct slot *slot, struct error *error)
{
    struct buf text, usage;
    struct jw w;
    char room[512];
    bool failed = slot->gather.status != 200;
    if (!failed) count(r, slot->gather.body.data, slot->gather.body.len);
    buf_init(&text, 2 * (size_t)ANSWER_BYTES_MAX);
    buf_init_fixed(&usage, room, sizeof room);
    write_answer(slot, &text);
    jw_init(&w, &usage);
    write_response_usage(&w, r->usage.input, r->usage.cached, r->usage.output, r->usage.reasoning);
    enum err e = text.err ? err_set(error, text.err, "an answer is too large to be kept") : OK;
    if (!e) {
        struct store_batch_line line = {slot->line, failed, text.data};
        e = store_batch_add_line(r->s, r->batch->id, &line, room, *r->model ? r->model : NULL,
                                 error);
    }
    if (!e) job_progress(r->job, "answering", ++r->done, r->batch->total);
    buf_free(&text);
    return e;
}

/* A full queue, a worker that died, a provider that is down: tried again after a while. */
static bool may_pass(int status)
{
    return status == 429 || status == 502 || status == 503 || status == 507;
}

/* The answer was let go. */
static enum err settle(struct run *r, struct slot *slot, struct error *error)
{
    int status = slot->gather.status;
    enum err e = OK;
    atomic_fetch_sub(&r->hub->batch_lines, 1);
    free(slot->client);
    slot->client = NULL;
    slot->answered = false;
    /* A quota or a limit passes in time; what never does expires with the batch. */
    bool again = status == 429 || (may_pass(status) && slot->tries < TRIES);
    if (status && !again) e = keep_answer(r, slot, error);
    gather_deinit(&slot->gather);
    if (status && again)
        slot->again_ms = clock_mono_ms() +
                         (int64_t)PAUSE_MS * (slot->tries < PAUSES_MAX ? slot->tries : PAUSES_MAX);
    else
        slot_clear(r, slot); /* without a status: it was closed here */
    return e;
}

/* ---- when ------------------------------------------------------------------------------------ */

/* How long a line waits for the hub to be idle: so that all come to their turn in time. */
static int64_t patience_ms(const struct run *r)
{
    int64_t left = r->batch->total - r->done;
    int64_t ms = (r->batch->expires_ms - clock_wall_ms()) / (left > 0 ? left : 1);
    if (ms > PATIENCE_MAX_MS) return PATIENCE_MAX_MS;
    return ms > BUSY_MS ? ms : BUSY_MS;
}

/* Whether a further line may begin now. */
static bool may_go(struct run *r)
{
    struct recorder_counts now;
    int64_t at = clock_mono_ms();
    recorder_counts(r->hub->recorder, &now);
    bool idle = now.running + now.waiting <= atomic_load(&r->hub->batch_lines);
    if (!idle && !r->waiting_since_ms) r->waiting_since_ms = at;
    bool go = idle || at - r->waiting_since_ms >= patience_ms(r);
    if (go) r->waiting_since_ms = idle ? 0 : at;
    return go;
}

/* The next line that has no answer yet, into the slot. */
static enum err take_line(struct run *r, struct slot *slot, struct error *error)
{
    enum err e = OK;
    struct buf text;
    while (!r->at_end) {
        struct batch_request request;
        struct batch_fault fault;
        if (!batch_input_next(&r->in, &e, error)) {
            r->at_end = true;
            return e;
        }
        while (r->at_answered < r->n_answered && r->answered[r->at_answered] < r->in.number)
            r->at_answered++;
        if (r->at_answered < r->n_answered && r->answered[r->at_answered] == r->in.number) continue;
        if (!batch_request_read(r->in.line, r->in.len, r->batch->endpoint, &request, &fault))
            return err_set(error, ERR_INVALID, "line %lld of the input file has changed",
                           (long long)r->in.number);
        buf_init(&text, r->in.len * 6 + 64);
        json_object_del(request.body, "priority"); /* a batch's is the lowest */
        if (json_dump(request.body, &text)) e = err_set(error, text.err, "a line is too large");
        if (!e) {
            slot->used = true;
            slot->line = r->in.number;
            slot->custom_id = xstrdup(request.custom_id);
            slot->body = buf_take(&text);
            r->n_used++;
        }
        buf_free(&text);
        batch_request_free(&request);
        return e;
    }
    return OK;
}

/* Begins what may begin. */
static enum err begin_lines(struct run *r, struct error *error)
{
    enum err e = OK;
    int64_t now = clock_mono_ms();
    for (size_t i = 0; !e && i < r->n_slots; i++) {
        struct slot *slot = &r->slots[i];
        if (slot->used && (!slot->again_ms || slot->again_ms > now)) continue;
        if (!slot->used && r->at_end) continue;
        if (!may_go(r)) break;
        if (!slot->used) e = take_line(r, slot, error);
        if (!e && slot->used) e = ask(r, slot, error);
    }
    return e;
}

static struct slot *find_answered(struct run *r)
{
    struct slot *found = NULL;
    pthread_mutex_lock(&r->lock);
    for (size_t i = 0; !found && i < r->n_slots; i++)
        if (r->slots[i].used && r->slots[i].answered) found = &r->slots[i];
    pthread_mutex_unlock(&r->lock);
    return found;
}

static void wait_a_while(struct run *r, int64_t ms)
{
    int64_t until_ns = clock_mono_ns() + ms * 1000000;
    bool any = false;
    pthread_mutex_lock(&r->lock);
    for (size_t i = 0; i < r->n_slots; i++) any |= r->slots[i].used && r->slots[i].answered;
    if (!any) (void)cond_wait_until(&r->changed, &r->lock, until_ns);
    pthread_mutex_unlock(&r->lock);
}

/* Whether it is to end before all is answered: why is in r->state. */
static enum err look(struct run *r, bool *stop, struct error *error)
{
    int64_t now = clock_mono_ms();
    enum err e = OK;
    if (job_cancelled(r->job)) {
        *stop = true;
    } else if (clock_wall_ms() >= r->batch->expires_ms) {
        r->state = STORE_BATCH_EXPIRED;
        *stop = true;
    } else if (now >= r->look_at_ms) {
        struct store_batch b;
        struct arena *a = arena_new(16 << 20);
        e = store_batch_by_id(r->s, r->batch->id, a, &b, error);
        if (!e) r->state = b.state;
        *stop = !e && b.state != STORE_BATCH_IN_PROGRESS;
        r->look_at_ms = now + LOOK_MS;
        arena_free(a);
    }
    return e;
}

/* Lets go of all that is under way. What has its answer by now is kept all the same. */
static enum err stop_lines(struct run *r, enum err e, struct error *error)
{
    struct error why;
    for (size_t i = 0; i < r->n_slots; i++) {
        struct slot *slot = &r->slots[i];
        if (slot->used && slot->again_ms) slot_clear(r, slot);
        if (slot->used) gather_close(&slot->gather);
    }
    while (r->n_used > 0) {
        struct slot *slot = find_answered(r);
        if (!slot) {
            wait_a_while(r, TICK_MS);
            continue;
        }
        /* Closed ones that failed for being cancelled are not answers. */
        if (slot->gather.status >= 400) slot->gather.status = 0;
        enum err failed = settle(r, slot, &why);
        if (failed && !e) {
            *error = why;
            e = failed;
        }
    }
    return e;
}

static enum err answer_lines(struct run *r, struct error *error)
{
    bool stop = false;
    enum err e = look(r, &stop, error);
    while (!e && !stop) {
        for (struct slot *slot; !e && (slot = find_answered(r));) e = settle(r, slot, error);
        if (!e) e = begin_lines(r, error);
        if (e || (r->at_end && r->n_used == 0)) break;
        wait_a_while(r, r->waiting_since_ms ? BUSY_MS : TICK_MS);
        e = look(r, &stop, error);
    }
    r->all = !e && r->at_end && r->n_used == 0;
    return stop_lines(r, e, error);
}

/* ---- the job --------------------------------------------------------------------------------- */

static enum err find_route(struct run *r, struct error *error)
{
    char params[256], allow[64];
    const char *list[HTTP_PATH_PARAMS_MAX];
    if (route_find(HTTP_POST, r->batch->endpoint, &r->route, params, sizeof params, list, allow) ==
        ROUTE_FOUND)
        return OK;
    return err_set(error, ERR_UNSUPPORTED, "there is no path %s", r->batch->endpoint);
}

static enum err open_run(struct run *r, struct error *error)
{
    pthread_mutex_init(&r->lock, NULL);
    cond_init(&r->changed);
    r->n_slots = (size_t)config_int(r->hub->config, CONFIG_BATCH_LINES);
    for (size_t i = 0; i < r->n_slots; i++) r->slots[i].run = r;
    r->state = STORE_BATCH_IN_PROGRESS;
    r->done = r->batch->completed + r->batch->failed;
    read_usage(r);
    enum err e = find_route(r, error);
    if (!e) e = store_batch_answered(r->s, r->batch->id, &r->answered, &r->n_answered, error);
    return e ? e : batch_input_open(r->hub, r->s, r->batch, &r->in, error);
}

static void close_run(struct run *r)
{
    batch_input_close(&r->in);
    free(r->answered);
    pthread_cond_destroy(&r->changed);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

/* *state: what it has come to. */
static enum err work(struct hub *hub, struct job_ctx *job, const struct store_batch *batch,
                     enum store_batch_state *state, struct error *error)
{
    struct run *r = xcalloc(1, sizeof *r);
    r->hub = hub;
    r->job = job;
    r->s = job_store(job);
    r->batch = batch;
    enum err e = open_run(r, error);
    if (!e) e = answer_lines(r, error);
    bool all = r->all && r->state == STORE_BATCH_IN_PROGRESS;
    *state = all ? STORE_BATCH_FINALIZING : r->state;
    close_run(r);
    return e;
}

static enum err validate(struct hub *hub, struct store *s, struct store_batch *batch,
                         struct error *error)
{
    char *errors;
    enum err e = batch_input_check(hub, s, batch, &batch->total, &errors, error);
    if (e) return e;
    e = errors ? batch_end(hub, s, batch, STORE_BATCH_FAILED, errors, error)
               : store_batch_begin(s, batch->id, batch->total, error);
    if (!e) batch->state = errors ? STORE_BATCH_FAILED : STORE_BATCH_IN_PROGRESS;
    free(errors);
    return e;
}

/* The job itself was cancelled (POST /api/v1/jobs/{id}/cancel): so is the batch. */
static bool job_was_cancelled(struct store *s, const struct store_batch *batch)
{
    struct store_job job;
    struct error ignored;
    struct arena *a = arena_new(1 << 20);
    bool cancelled = store_job_get(s, NULL, batch->job_id, a, &job, &ignored) == OK &&
                     job.state == STORE_JOB_CANCELLED;
    arena_free(a);
    return cancelled;
}

static enum err run_steps(struct hub *hub, struct job_ctx *job, struct store_batch *batch,
                          struct error *error)
{
    struct store *s = job_store(job);
    enum err e = OK;
    if (batch->state == STORE_BATCH_VALIDATING) e = validate(hub, s, batch, error);
    if (!e && batch->state == STORE_BATCH_IN_PROGRESS)
        e = work(hub, job, batch, &batch->state, error);
    if (e || (batch_is_over(batch->state) && batch->state != STORE_BATCH_EXPIRED)) return e;
    if (batch->state == STORE_BATCH_IN_PROGRESS) { /* it was stopped in the middle */
        if (!job_was_cancelled(s, batch)) return err_set(error, ERR_CANCELLED, "the hub stops");
        batch->state = STORE_BATCH_CANCELLING;
    }
    if (batch->state == STORE_BATCH_EXPIRED)
        return batch_end(hub, s, batch, STORE_BATCH_EXPIRED, NULL, error);
    if (batch->state == STORE_BATCH_CANCELLING)
        return batch_end(hub, s, batch, STORE_BATCH_CANCELLED, NULL, error);
    e = store_batch_finalize(s, batch->id, error);
    if (e == ERR_CONFLICT) e = OK; /* before a crash already, or cancelled: it has all the same */
    return e ? e : batch_end(hub, s, batch, STORE_BATCH_COMPLETED, NULL, error);
}

static enum err run_batch(struct job_ctx *job, void *ctx, struct error *error)
{
    const char *id;
    struct store_batch batch;
    struct arena *a = arena_new(16 << 20);
    enum err e = job_payload_str(job, "batch_id", &id, error);
    if (!e) e = store_batch_by_id(job_store(job), id, a, &batch, error);
    if (!e && !batch_is_over(batch.state)) e = run_steps(ctx, job, &batch, error);
    if (e == ERR_NOT_FOUND) e = OK; /* its user has gone, and all with him */
    if (e == ERR_CONFLICT) e = err_set(error, ERR_BUSY, "it was changed meanwhile"); /* once more */
    arena_free(a);
    return e;
}

/* For good; what was answered stays. Where that can't be written now, whoever looks at the batch
 * ends it. */
static void batch_failed(struct store *s, const struct store_job *job, void *ctx,
                         const struct error *why)
{
    json_t *payload = NULL;
    struct store_batch batch;
    struct error error;
    struct arena *a = arena_new(16 << 20);
    enum err e = json_parse(job->payload, strlen(job->payload), &payload, &error);
    const char *id = json_string_value(json_object_get(payload, "batch_id"));
    if (!e && id) e = store_batch_by_id(s, id, a, &batch, &error);
    if (!e && id) e = batch_fail(ctx, s, &batch, why, &error);
    if (e && e != ERR_NOT_FOUND)
        log_warn(api, "a batch could not be marked as failed: %s", error.msg);
    json_decref(payload);
    arena_free(a);
}

void batches_register(struct hub *hub)
{
    jobs_register(hub->batches, "batch", run_batch, batch_failed, hub);
}
