/* A request's life: made on the caller's thread, then owned by the engine thread. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/doing.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "sched/sched_int.h"

/* ---- making ------------------------------------------------------------------------------- */

static enum err request_new(struct sched_model *m, const char *tenant, sched_listener_fn listener,
                            void *listener_ctx, int32_t priority, struct request **out,
                            struct error *error)
{
    if (!tenant) tenant = "";
    if (strlen(tenant) > TENANT_MAX)
        return err_set(error, ERR_INVALID, "the tenant's name is longer than %d bytes", TENANT_MAX);
    struct request *r = xcalloc(1, sizeof *r);
    r->cmd.type = CMD_REQUEST;
    r->model = m;
    sched_model_ref(m);
    r->tenant = xstrdup(tenant);
    r->listener = listener;
    r->listener_ctx = listener_ctx;
    r->priority = priority;
    r->series = metric_series(m->id, r->priority);
    r->arrived_ns = clock_mono_ns();
    list_init(&r->active);
    r->told_position = -1;
    *out = r;
    return OK;
}

/* The penalties look at the end of the prompt, too. */
static void accept_prompt(struct engine_sampler *sampler, const struct sampling *s,
                          const int32_t *tokens, int32_t n)
{
    if (s->repeat_penalty == 1 && s->frequency_penalty == 0 && s->presence_penalty == 0) return;
    int32_t from = s->repeat_last_n < 0 || s->repeat_last_n > n ? 0 : n - s->repeat_last_n;
    for (int32_t i = from; i < n; i++) engine_sampler_accept_prompt(sampler, tokens[i]);
}

static enum err make_choices(struct request *r, const struct sched_generate *g, struct error *error)
{
    r->choices = xcalloc((size_t)g->n, sizeof *r->choices);
    for (int32_t i = 0; i < g->n; i++) {
        struct choice *c = &r->choices[r->n++];
        c->req = r;
        c->index = i;
        text_init(&c->text, &r->stops);
        struct sampling s = g->sampling;
        if (s.seed != SEED_RANDOM) {
            s.seed += (uint32_t)i;
            if (s.seed == SEED_RANDOM) s.seed = 0;
        }
        enum err e = engine_sampler_new(r->model->engine_model, &s, g->prompt, &c->sampler, error);
        if (e) return e;
        accept_prompt(c->sampler, &s, r->prompt_tokens, r->n_prompt);
    }
    return OK;
}

static void set_longest(struct request *r)
{
    int32_t left = r->model->n_seq_ctx - r->n_prompt;
    r->n_longest = r->n_prompt + (r->max_tokens < 0 || r->max_tokens > left ? left : r->max_tokens);
}

static enum err check_lengths(struct request *r, const struct sched_generate *g,
                              struct error *error)
{
    size_t n;
    r->prompt_tokens = engine_prompt_tokens(g->prompt, &n);
    int32_t most = r->model->n_seq_ctx - 1; /* one must be left for the answer */
    if (n == 0) return err_set(error, ERR_INVALID, "the prompt is empty");
    if (n > (size_t)most)
        return err_set(error, ERR_CONTEXT,
                       "the prompt has %zu tokens, but at most %d fit into the context of %s; "
                       "shorten it or raise the context size",
                       n, most, r->model->id);
    r->n_prompt = (int32_t)n;
    r->max_tokens = g->max_tokens;
    set_longest(r);
    r->n_keep = g->n_keep < r->n_prompt ? g->n_keep : r->n_prompt;
    return OK;
}

void request_set_prompt(struct request *r, int32_t *tokens, int32_t n)
{
    ht_assert(!r->started && n > 0 && n < r->model->n_seq_ctx);
    free(r->respelled);
    r->prompt_tokens = r->respelled = tokens;
    r->n_prompt = r->usage.prompt_tokens = n;
    if (r->n_keep > n) r->n_keep = n;
    set_longest(r);
}

static enum err check_deterministic(const struct request *r, struct error *error)
{
    if (!r->deterministic || !r->model->shared_kv) return OK;
    return err_set(
        error, ERR_UNSUPPORTED,
        "%s keeps the context of all requests in one pool, where the arithmetic depends "
        "on what else is in it: a deterministic request needs HEARTH_SHARED_KV=false and "
        "memory for LLAMA_CPP_N_CTX tokens of each of HEARTH_PARALLEL requests",
        r->model->id);
}

struct request *request_new_generate(const struct sched_generate *g, struct error *error)
{
    ht_assert(g->n >= 1 && g->n <= GEN_N_MAX && g->listener && g->prompt);
    struct request *r;
    if (request_new(g->model, g->tenant, g->listener, g->listener_ctx, g->priority, &r, error))
        return NULL;
    r->deadline_ms = g->deadline_ms;
    r->keep_alive_ms = g->keep_alive_ms;
    r->deterministic = g->deterministic;
    r->overflow = sched_overflow(g->model->s, g->overflow);
    r->can_pause = g->can_pause;
    adapter_want(r, g);
    r->logprobs = g->sampling.logprobs;
    r->n_top = g->sampling.top_logprobs;
    r->ignore_eos = g->sampling.ignore_eos;
    const char *const *stops;
    size_t n_stops = engine_prompt_stops(g->prompt, &stops);
    enum err e = check_lengths(r, g, error);
    if (!e) e = check_deterministic(r, error);
    if (!e) e = stops_init(&r->stops, g->stop, g->n_stop, stops, n_stops, error);
    if (!e) e = make_choices(r, g, error);
    if (!e) e = resume_take(r, g->resume, error);
    if (e) {
        request_free(r);
        return NULL;
    }
    r->usage.prompt_tokens = r->n_prompt;
    r->prompt = g->prompt;
    return r;
}

/* A token out of range would fail the whole batch, with other requests in it. */
static enum err check_tokens(const struct sched_model *m, size_t input, const int32_t *tokens,
                             size_t n, struct error *error)
{
    for (size_t i = 0; i < n; i++)
        if (tokens[i] < 0 || tokens[i] >= m->facts.n_vocab)
            return err_set(error, ERR_INVALID,
                           "input %zu has the token %d; the tokens of %s are 0 to %d", input,
                           tokens[i], m->id, m->facts.n_vocab - 1);
    return OK;
}

static enum err copy_inputs(struct request *r, const struct sched_embed *e, struct error *error)
{
    struct embed_work *w = &r->embed;
    size_t total = 0;
    for (size_t i = 0; i < e->n_inputs; i++) {
        if (e->n_tokens[i] == 0)
            return err_set(error, ERR_INVALID, "input %zu of %zu is empty", i, e->n_inputs);
        if (e->n_tokens[i] > (size_t)r->model->n_seq_ctx)
            return err_set(error, ERR_CONTEXT,
                           "input %zu has %zu tokens, but at most %d fit into the context of %s", i,
                           e->n_tokens[i], r->model->n_seq_ctx, r->model->id);
        enum err bad = check_tokens(r->model, i, e->inputs[i], e->n_tokens[i], error);
        if (bad) return bad;
        total += e->n_tokens[i];
        if (total > INT32_MAX)
            return err_set(error, ERR_TOO_LARGE, "the %zu inputs together are too long",
                           e->n_inputs);
    }
    w->tokens = try_calloc(total, sizeof *w->tokens);
    w->offsets = try_calloc(e->n_inputs + 1, sizeof *w->offsets);
    if (!w->tokens || !w->offsets)
        return err_set(error, ERR_NOMEM, "no memory for %zu tokens", total);
    w->n_inputs = e->n_inputs;
    for (size_t i = 0; i < e->n_inputs; i++) {
        memcpy(w->tokens + w->offsets[i], e->inputs[i], e->n_tokens[i] * sizeof *w->tokens);
        w->offsets[i + 1] = w->offsets[i] + e->n_tokens[i];
    }
    r->usage.prompt_tokens = (int32_t)total;
    return OK;
}

struct request *request_new_embed(const struct sched_embed *e, struct error *error)
{
    ht_assert(e->listener);
    struct request *r;
    if (e->n_inputs == 0) {
        err_set(error, ERR_INVALID, "there is no input to embed");
        return NULL;
    }
    if (request_new(e->model, e->tenant, e->listener, e->listener_ctx, e->priority, &r, error))
        return NULL;
    r->embedding = true;
    r->deadline_ms = e->deadline_ms;
    r->keep_alive_ms = e->keep_alive_ms;
    r->embed.n_dims = e->model->facts.is_rerank ? 1 : (size_t)e->model->facts.n_embd_out;
    if (copy_inputs(r, e, error)) {
        request_free(r);
        return NULL;
    }
    return r;
}

void request_free(struct request *r)
{
    struct sched_model *m = r->model;
    adapter_unwant(r);
    for (int32_t i = 0; i < r->n; i++) {
        engine_sampler_free(r->choices[i].sampler);
        text_free(&r->choices[i].text);
        free(r->choices[i].tokens);
        free(r->choices[i].resumed);
    }
    free(r->choices);
    stops_free(&r->stops);
    free(r->respelled);
    engine_prompt_free(r->prompt);
    free(r->embed.tokens);
    free(r->embed.offsets);
    free(r->embed.vectors);
    free(r->tenant);
    free(r);
    sched_model_unref(m); /* the last: what was freed may be of its engine's */
}

/* ---- events ------------------------------------------------------------------------------- */

void request_emit(struct request *r, const struct sched_event *ev)
{
    ht_assert(r->state != REQUEST_OVER);
    r->listener(r->listener_ctx, ev);
}

/* Moves r into model->active, which is ordered by importance. */
static void join_active(struct request *r)
{
    struct sched_model *m = r->model;
    struct list_node *pos = &m->active;
    while (pos->prev != &m->active) {
        struct request *before = container_of(pos->prev, struct request, active);
        if (queue_before(&m->queue, &before->queued, &r->queued)) break;
        pos = pos->prev;
    }
    list_remove(&r->active); /* from the fresh ones */
    list_insert_before(pos, &r->active);
}

int32_t choice_expected(const struct choice *c)
{
    const struct request *r = c->req;
    /* What can't end by itself has the length that was asked for. */
    if (r->ignore_eos) return r->n_longest - r->n_prompt - c->n_generated;
    return rates_answer_left(&r->model->rates, c->n_generated, r->max_tokens);
}

/* Tokens that it will take, as it looks when it arrives. */
static int64_t cost(const struct request *r)
{
    if (r->embedding) return r->usage.prompt_tokens;
    return r->n_prompt + (int64_t)choice_expected(&r->choices[0]) * r->n;
}

void request_enqueue(struct request *r)
{
    struct queue_item item = {.tenant = r->tenant,
                              .priority = r->priority,
                              .cost = cost(r),
                              .arrived_ms = r->arrived_ns / 1000000,
                              .deadline_ms = r->deadline_ms};
    queue_push(&r->model->queue, &r->queued, &item);
    list_push_back(&r->model->s->fresh, &r->active);
}

void request_started(struct request *r)
{
    struct sched *s = r->model->s;
    struct queue *q = &r->model->queue;
    int64_t now_ns = clock_mono_ns(), promotions = q->promotions;
    ht_assert(r->state == REQUEST_QUEUED);
    r->state = REQUEST_ACTIVE;
    queue_take(q, &r->queued, now_ns / 1000000);
    r->promoted = q->promotions > promotions;
    metric_add(METRIC_promotions_total, r->promoted);
    queue_room_give(&s->room);
    metric_add(METRIC_requests_waiting, -1);
    join_active(r);
    atomic_fetch_add(&s->n_running, 1);
    atomic_fetch_add(&r->model->n_running, 1);
    metric_add(METRIC_requests_running, 1);
    if (r->started) r->timings.paused_ns += now_ns - r->turn_ns; /* it was sent back once */
    r->turn_ns = now_ns;
    r->decoded_before = r->decoded;
    if (r->started) return;
    r->admitted_ns = now_ns;
    r->timings.queue_ns = r->admitted_ns - r->arrived_ns;
    metric_observe_series_ns(METRIC_queue_wait_seconds, r->series, r->timings.queue_ns);
}

static void leave_active(struct request *r)
{
    list_remove(&r->active);
    atomic_fetch_sub(&r->model->s->n_running, 1);
    atomic_fetch_sub(&r->model->n_running, 1);
    metric_add(METRIC_requests_running, -1);
}

void request_requeue(struct request *r)
{
    ht_assert(r->state == REQUEST_ACTIVE);
    leave_active(r);
    r->state = REQUEST_QUEUED;
    r->turn_ns = clock_mono_ns();
    r->timings.pauses++;
    metric_add(METRIC_pauses_total, 1);
    r->model->s->n_pauses++;
    queue_return(&r->model->queue, &r->queued, r->decoded - r->decoded_before,
                 r->turn_ns / 1000000);
    queue_room_retake(&r->model->s->room);
    metric_add(METRIC_requests_waiting, 1);
}

void request_pause(struct request *r)
{
    for (int32_t i = 0; i < r->n; i++) {
        struct choice *c = &r->choices[i];
        if (!c->slot) continue;
        c->state = CHOICE_WAITING;
        c->last_token_ns = 0; /* the pause is told as such, not as a slow token */
        slot_release(r->model, c->slot, c->slot->n_shared == 0);
    }
    slots_unhold(r->model, r);
    request_requeue(r);
}

/* ---- the end ------------------------------------------------------------------------------ */

static void free_slots(struct request *r)
{
    for (int32_t i = 0; i < r->n; i++) {
        struct slot *slot = r->choices[i].slot;
        r->choices[i].state = CHOICE_ENDED;
        if (slot) slot_release(r->model, slot, slot->n_shared == 0);
    }
    slots_unhold(r->model, r);
}

static void finish_timings(struct request *r)
{
    struct timings *t = &r->timings;
    int64_t now = clock_mono_ns();
    int64_t first = r->first_token_ns ? r->first_token_ns : now;
    if (r->first_token_ns) t->first_token_ns = r->first_token_ns - r->arrived_ns;
    if (!r->started) {
        t->queue_ns = now - r->arrived_ns;
        return;
    }
    if (r->state == REQUEST_QUEUED) t->paused_ns += now - r->turn_ns;
    t->prefill_ns = first - r->admitted_ns;
    t->decode_ns = now - first;
    t->decode_tokens = r->usage.completion_tokens;
}

static void count_end(struct request *r, const struct error *error)
{
    struct sched *s = r->model->s;
    if (!error && !r->embedding) rates_answer(&r->model->rates, r->usage.completion_tokens / r->n);
    if (error && error->code == ERR_CANCELLED) {
        atomic_fetch_add(&s->n_cancelled, 1);
        metric_add(METRIC_requests_cancelled_total, 1);
    }
    if (!r->embedding) metric_add(METRIC_requests_total, 1);
}

void request_end(struct request *r, const struct error *error)
{
    struct sched *s = r->model->s;
    if (r->state == REQUEST_OVER) return;
    finish_timings(r);
    if (r->state == REQUEST_QUEUED) {
        queue_remove(&r->model->queue, &r->queued);
        queue_room_give(&s->room);
        metric_add(METRIC_requests_waiting, -1);
        list_remove(&r->active);
    } else {
        free_slots(r);
        if (r->embedding) embed_forget(r);
        leave_active(r);
        if (!r->embedding)
            queue_charge(&r->model->queue, &r->queued, r->decoded - r->decoded_before);
    }
    idmap_del(&s->requests, r->by_id.id);
    if (!r->bounced) count_end(r, error);
    struct sched_event ev = {
        .usage = r->usage, .timings = r->timings, .cache = &r->cache, .error = error};
    ev.type = r->bounced     ? SCHED_EV_BOUNCED
              : error        ? SCHED_EV_ERROR
              : r->embedding ? SCHED_EV_EMBEDDING
                             : SCHED_EV_DONE;
    if (ev.type == SCHED_EV_EMBEDDING) {
        ev.vectors = r->embed.vectors;
        ev.n_vectors = r->embed.n_inputs;
        ev.n_dims = r->embed.n_dims;
    }
    request_emit(r, &ev);
    adapter_leave(r);
    r->state = REQUEST_OVER;
    list_push_back(&s->graveyard, &r->active);
}

void request_bounce(struct request *r)
{
    ht_assert(r->started ? r->can_pause : r->state == REQUEST_QUEUED);
    r->bounced = true;
    if (r->started) {
        r->model->s->n_pauses++;
        metric_add(METRIC_pauses_total, 1);
    }
    request_end(r, NULL);
}

void request_fail(struct request *r, enum err code, const char *fmt, ...)
{
    struct error error = {0};
    char text[ERROR_MSG_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    err_set(&error, code, "%s", text);
    request_end(r, &error);
}

void request_refused(struct request *r, const struct error *error)
{
    atomic_fetch_add(&r->model->s->n_rejected, 1);
    metric_add(METRIC_requests_rejected_total, 1);
    request_end(r, error);
}

void requests_bury(struct sched *s)
{
    struct list_node *n;
    while ((n = list_pop_front(&s->graveyard))) {
        struct request *r = container_of(n, struct request, active);
        if (!r->bounced) model_used(r->model, r->keep_alive_ms);
        doing_for(r->model->id);
        request_free(r);
    }
    doing_for("");
}
