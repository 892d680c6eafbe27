/* The delivery thread: turns the scheduler's events into what clients get. It owns the parsers and
 * is the only thread that calls listeners, so the events of a request come one at a time.
 *
 * When it is behind, texts of one choice that follow each other directly are parsed and delivered
 * as one: a slow parser makes larger pieces, not a longer queue. */
#include <stdlib.h>
#include <string.h>

#include "base/doing.h"
#include "base/log.h"
#include "base/mem.h"
#include "provider/local_int.h"

/* ---- to the listener ------------------------------------------------------------------------ */

static void emit(struct job *job, struct gen_event *ev)
{
    if (job->over) return;
    job->gen_fn(job->ctx, ev);
}

/* The last event; what comes later is dropped. */
static void fail(struct job *job, const struct error *error)
{
    if (job->over) return;
    if (job->kind == JOB_GENERATE) {
        struct gen_event ev = {.type = GEN_EV_ERROR, .error = error};
        emit(job, &ev);
    } else if (job->kind == JOB_EMBED) {
        struct embed_result result = {.error = error};
        job->embed_fn(job->ctx, &result);
    } else if (job->load_fn) {
        job->load_fn(job->ctx, error);
    }
    job->over = true;
}

static void on_error(struct job *job, const struct note *n)
{
    if (job->over || job->kind != JOB_GENERATE) {
        fail(job, &n->more->error);
        return;
    }
    struct gen_event ev = {.type = GEN_EV_ERROR,
                           .error = &n->more->error,
                           .usage = n->more->usage,
                           .timings = n->more->timings,
                           .cache = &n->more->cache};
    emit(job, &ev);
    job->over = true;
}

static void leave_table(struct job *job)
{
    struct local *l = job->l;
    pthread_mutex_lock(&l->lock);
    idmap_del(&l->jobs, job->by_id.id);
    expiry_remove(&l->due, &job->due);
    pthread_mutex_unlock(&l->lock);
    job_unref(job);
}

/* Stops the work of a job whose listener has been told the end. */
static void stop_work(struct job *job)
{
    struct local *l = job->l;
    pthread_mutex_lock(&l->lock);
    job->cancelled = true;
    if (job->sched_id) sched_cancel(l->sched, job->sched_id);
    pthread_mutex_unlock(&l->lock);
}

/* ---- log probabilities ---------------------------------------------------------------------- */

static void hold_logprobs(struct job_choice *c, struct note *n)
{
    if (!n->logprobs) return;
    *c->logprobs_end = n->logprobs;
    while (*c->logprobs_end) c->logprobs_end = &(*c->logprobs_end)->next;
    n->logprobs = NULL;
}

static void drop_logprobs(struct job_choice *c)
{
    for (struct logprob_block *b = c->logprobs, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    c->logprobs = NULL;
    c->logprobs_end = &c->logprobs;
}

/* Those that wait, in one array, which stays valid until drop_logprobs. Only the last ones, whose
 * tokens make up `len` bytes: before them came what the parser took, such as the end of reasoning.
 */
static size_t view_logprobs(struct local *l, const struct job_choice *c, size_t len)
{
    size_t n = 0, bytes = 0, first;
    for (const struct logprob_block *b = c->logprobs; b; b = b->next) n += b->n;
    if (n > l->cap_logprobs) {
        struct token_logprob *bigger = try_realloc(l->logprobs, n, sizeof *bigger);
        if (!bigger) return 0;
        l->logprobs = bigger;
        l->cap_logprobs = n;
    }
    n = 0;
    for (const struct logprob_block *b = c->logprobs; b; b = b->next)
        for (size_t i = 0; i < b->n; i++) l->logprobs[n++] = b->items[i];
    for (first = n; first > 0 && bytes < len; first--) bytes += l->logprobs[first - 1].chosen.len;
    n -= first;
    memmove(l->logprobs, l->logprobs + first, n * sizeof *l->logprobs);
    return n;
}

/* ---- text ----------------------------------------------------------------------------------- */

static void emit_delta(struct job *job, int32_t choice, const struct engine_delta *d)
{
    struct job_choice *c = &job->choices[choice];
    struct gen_event ev = {.choice = choice};
    c->in_reasoning = d->type == DELTA_REASONING;
    switch (d->type) {
    case DELTA_TEXT:
        ev.type = GEN_EV_TEXT;
        ev.n_logprobs =
            c->logprobs ? view_logprobs(job->l, c, d->text_len ? d->text_len : SIZE_MAX) : 0;
        ev.logprobs = ev.n_logprobs ? job->l->logprobs : NULL;
        break;
    case DELTA_REASONING: ev.type = GEN_EV_REASONING; break;
    case DELTA_TOOL_CALL:
        ev.type = GEN_EV_TOOL_CALL;
        c->has_tools = true;
        ev.tool.index = d->index;
        ev.tool.id = d->id;
        ev.tool.name = d->name;
        ev.tool.arguments = d->arguments ? d->arguments : "";
        ev.tool.arguments_len = d->arguments_len;
        break;
    }
    if (d->type != DELTA_TOOL_CALL) {
        ev.text = d->text;
        ev.text_len = d->text_len;
    }
    emit(job, &ev);
    if (d->type == DELTA_TEXT) drop_logprobs(c);
}

/* Tokens are counted where their text went; those of a mixed piece by their share of its bytes. */
static void count_reasoning(struct job *job, struct job_choice *c, const struct engine_delta *d,
                            size_t n, bool final)
{
    size_t reasoning = 0, all = 0;
    for (size_t i = 0; i < n; i++) {
        size_t len = d[i].type == DELTA_TOOL_CALL ? d[i].arguments_len + 1 : d[i].text_len;
        all += len;
        if (d[i].type == DELTA_REASONING) reasoning += len;
    }
    if (all)
        job->reasoning_tokens += (int32_t)((size_t)c->pending_tokens * reasoning / all);
    else if (final && c->in_reasoning)
        job->reasoning_tokens += c->pending_tokens;
    if (all || final) c->pending_tokens = 0;
}

static void deliver_text(struct job *job, int32_t choice, const char *text, size_t len, bool final)
{
    struct job_choice *c = &job->choices[choice];
    struct engine_delta raw = {.type = DELTA_TEXT, .text = text, .text_len = len};
    const struct engine_delta *d = &raw;
    size_t n = len ? 1 : 0;
    struct error error;
    if (job->over) return;
    if (c->parser && engine_parser_feed(c->parser, text, len, final, &d, &n, &error)) {
        log_warn(engine, "parsing the answer of %s failed: %s", job->model_id, error.msg);
        fail(job, &error);
        stop_work(job);
        return;
    }
    count_reasoning(job, c, d, n, final);
    for (size_t i = 0; i < n; i++) emit_delta(job, choice, &d[i]);
    if (n) drop_logprobs(c); /* of tokens that made no visible text */
    if (!final || !c->logprobs || c->in_reasoning || c->has_tools) return;
    raw =
        (struct engine_delta){.type = DELTA_TEXT, .text = ""}; /* of a token cut by a stop string */
    emit_delta(job, choice, &raw);
}

/* Before their text, so that what was told is always covered by tokens. */
static void emit_tokens(struct job *job, const struct note *n)
{
    if (!n->tokens) return;
    struct gen_event ev = {.type = GEN_EV_TOKENS,
                           .choice = n->choice,
                           .tokens = n->tokens,
                           .n_tokens = (size_t)n->n_tokens};
    emit(job, &ev);
}

static void on_text(struct job *job, struct note *n)
{
    struct local *l = job->l;
    struct job_choice *c = &job->choices[n->choice];
    for (struct note *p = n; p; p = p->joined) {
        c->pending_tokens += p->n_tokens;
        emit_tokens(job, p);
        hold_logprobs(c, p);
    }
    if (!n->joined) {
        deliver_text(job, n->choice, n->text, n->text_len, false);
        return;
    }
    buf_clear(&l->text);
    for (struct note *p = n; p; p = p->joined) buf_append(&l->text, p->text, p->text_len);
    if (!l->text.err) {
        deliver_text(job, n->choice, buf_str(&l->text), l->text.len, false);
        return;
    }
    for (struct note *p = n; p; p = p->joined) /* no memory to join them */
        deliver_text(job, n->choice, p->text, p->text_len, false);
}

static void on_choice_end(struct job *job, const struct note *n)
{
    struct job_choice *c = &job->choices[n->choice];
    c->pending_tokens += n->n_tokens;
    emit_tokens(job, n);
    deliver_text(job, n->choice, "", 0, true);
    struct gen_event ev = {.type = GEN_EV_CHOICE_END,
                           .choice = n->choice,
                           .finish = n->finish,
                           .stop = n->text_len ? n->text : NULL};
    if (c->has_tools && n->finish == FINISH_STOP) ev.finish = FINISH_TOOL_CALLS;
    emit(job, &ev);
}

/* ---- the scheduler's events ------------------------------------------------------------------ */

static void on_started(struct job *job, const struct note *n)
{
    struct gen_event ev = {.type = GEN_EV_STARTED,
                           .model = job->model_id,
                           .adapter = job->adapter ? job->adapter->name : NULL,
                           .adapter_scale = job->adapter ? job->adapter_scale : 0,
                           .adapter_version = job->adapter ? job->adapter->version : 0,
                           .usage = n->more->usage,
                           .cache = &n->more->cache};
    emit(job, &ev);
    job->started = true;
    for (int32_t i = 0; job->echo && i < job->n_choices; i++) {
        struct gen_event echo = {
            .type = GEN_EV_TEXT, .choice = i, .text = job->echo, .text_len = strlen(job->echo)};
        emit(job, &echo);
    }
}

static void on_done(struct job *job, const struct note *n)
{
    struct gen_event ev = {.type = GEN_EV_DONE,
                           .model = job->model_id,
                           .usage = n->more->usage,
                           .timings = n->more->timings,
                           .cache = &n->more->cache};
    int64_t load_ns = job_load_ns(job);
    ev.timings.load_ns += load_ns;
    if (ev.timings.first_token_ns) ev.timings.first_token_ns += load_ns;
    ev.usage.reasoning_tokens = job->reasoning_tokens;
    emit(job, &ev);
    job->over = true;
}

static void on_embedding(struct job *job, const struct note *n)
{
    struct embed_result result = {.model = job->model_id,
                                  .vectors = n->more->vectors,
                                  .n_inputs = n->more->n_vectors,
                                  .n_dims = n->more->n_dims,
                                  .prompt_tokens = n->more->usage.prompt_tokens};
    if (!job->over) job->embed_fn(job->ctx, &result);
    job->over = true;
}

/* Its model makes room for another one. What has not begun waits for it to come back; what has is
 * asked for again by who listens. True: it is over here. */
static bool on_bounced(struct job *job, const struct note *n)
{
    if (!job->started) {
        job_again(job);
        return false;
    }
    struct gen_event ev = {.type = GEN_EV_PAUSED, .timings = n->more->timings};
    ev.timings.load_ns += job_load_ns(job);
    emit(job, &ev);
    job->over = true;
    return true;
}

/* True when it was the scheduler's last event. */
static bool on_event(struct job *job, struct note *n)
{
    switch (n->event) {
    case SCHED_EV_QUEUED: {
        struct gen_event ev = {
            .type = GEN_EV_QUEUED, .position = n->position, .wait_ms = n->wait_ms};
        emit(job, &ev);
        return false;
    }
    case SCHED_EV_STARTED: on_started(job, n); return false;
    case SCHED_EV_TEXT: on_text(job, n); return false;
    case SCHED_EV_CHOICE_END: on_choice_end(job, n); return false;
    case SCHED_EV_DONE: on_done(job, n); return true;
    case SCHED_EV_ERROR: on_error(job, n); return true;
    case SCHED_EV_BOUNCED: return on_bounced(job, n);
    case SCHED_EV_EMBEDDING:
        if (n->more->failed)
            fail(job, &n->more->error);
        else
            on_embedding(job, n);
        return true;
    }
    ht_bug("unknown event of the scheduler");
}

/* ---- the thread ------------------------------------------------------------------------------ */

static void on_cancel(struct local *l, const struct note *n)
{
    pthread_mutex_lock(&l->lock);
    struct idnode *node = idmap_get(&l->jobs, n->id);
    pthread_mutex_unlock(&l->lock);
    /* Only this thread takes jobs out of the table, so it is still there. */
    if (node) fail(container_of(node, struct job, by_id), &n->more->error);
}

static void on_loading(struct local *l, const struct note *n)
{
    pthread_mutex_lock(&l->lock);
    struct idnode *node = idmap_get(&l->jobs, n->id);
    pthread_mutex_unlock(&l->lock);
    struct gen_event ev = {
        .type = GEN_EV_LOADING, .fraction = n->fraction, .waits_for = n->text_len ? n->text : NULL};
    if (node) emit(container_of(node, struct job, by_id), &ev);
}

static void deliver(struct local *l, struct note *n)
{
    struct job *job = n->job;
    switch (n->type) {
    case NOTE_EVENT:
        job->tail = NULL;
        doing_for(job->model_id);
        if (on_event(job, n)) leave_table(job);
        break;
    case NOTE_FAILED:
        sched_place_give(l->sched, &job->place); /* before it is told, who may ask at once */
        fail(job, &n->more->error);
        leave_table(job);
        break;
    case NOTE_LOADED:
        if (!job->over && job->load_fn) job->load_fn(job->ctx, NULL);
        job->over = true;
        leave_table(job);
        break;
    case NOTE_LOADING: on_loading(l, n); break;
    case NOTE_CANCEL: on_cancel(l, n); break;
    case NOTE_QUIT: break;
    }
}

/* Appends n to the text before it if that is of the same choice. Not where log probabilities must
 * stay with their text. */
static bool join(struct note *n)
{
    if (n->type != NOTE_EVENT) return false;
    struct note *tail = n->job->tail;
    if (n->event != SCHED_EV_TEXT || n->logprobs) {
        n->job->tail = NULL;
        return false;
    }
    if (!tail || tail->choice != n->choice) {
        n->job->tail = n;
        return false;
    }
    struct note *end = tail->joined_end ? tail->joined_end : tail;
    end->joined = n;
    tail->joined_end = n;
    return true;
}

/* Takes the texts that were joined out of the list. */
static void join_all(struct mail *first)
{
    struct mail **link = &first;
    while (*link) {
        struct mail *m = *link;
        if (join(container_of(m, struct note, mail)))
            *link = m->next;
        else
            link = &m->next;
    }
}

static void free_joined(struct note *n)
{
    for (struct note *next; n; n = next) {
        next = n->joined;
        note_free(n);
    }
}

void *deliver_main(void *local)
{
    struct local *l = local;
    for (;;) {
        struct mail *m = mailbox_receive(l->notes, jobs_expire(l));
        if (!m) continue;
        join_all(m);
        for (struct mail *next; m; m = next) {
            struct note *n = container_of(m, struct note, mail);
            bool quit = n->type == NOTE_QUIT;
            next = m->next;
            deliver(l, n);
            free_joined(n);
            if (quit) return NULL;
        }
        if (l->on_drained) l->on_drained(l->drained_ctx);
    }
}
