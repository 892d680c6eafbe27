/* The local provider's face: taking requests, cancelling, closing. */
#include "provider/local.h"

#include <sched.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/thread.h"
#include "provider/local_int.h"

enum { TEXT_MAX = 64 << 20 /* texts joined while the delivery thread was behind */ };

static struct local *local_of(struct provider *p)
{
    return container_of(p, struct local, base);
}

/* ---- jobs --------------------------------------------------------------------------------- */

static void free_logprobs(struct logprob_block *b)
{
    for (struct logprob_block *next; b; b = next) {
        next = b->next;
        free(b);
    }
}

void job_drop_work(struct job *job)
{
    for (int32_t i = 0; i < job->n_choices; i++) {
        engine_parser_free(job->choices[i].parser);
        free_logprobs(job->choices[i].logprobs);
    }
    free(job->choices);
    free(job->echo);
    job->choices = NULL;
    job->n_choices = 0;
    job->echo = NULL;
    if (job->model) sched_model_unref(job->model); /* after the parsers, which are of it */
    job->model = NULL;
}

static void job_free(struct job *job)
{
    job_drop_work(job);
    sched_place_give(job->l->sched, &job->place);
    free(job->load_name);
    free(job->model_path);
    free(job->model_adapter);
    free(job->adapter);
    if (job->gen) arena_free(job->gen->arena);
    if (job->embed) arena_free(job->embed->arena);
    free(job);
}

bool local_enter(struct local *l)
{
    pthread_mutex_lock(&l->lock);
    bool ok = !l->stopping;
    l->n_jobs += ok;
    pthread_mutex_unlock(&l->lock);
    return ok;
}

void local_leave(struct local *l)
{
    pthread_mutex_lock(&l->lock);
    if (--l->n_jobs == 0) pthread_cond_broadcast(&l->all_gone);
    pthread_mutex_unlock(&l->lock);
}

void job_unref(struct job *job)
{
    struct local *l = job->l;
    pthread_mutex_lock(&l->lock);
    bool last = --job->refs == 0;
    pthread_mutex_unlock(&l->lock);
    if (!last) return;
    job_free(job); /* may use the model, so before it is counted as gone */
    local_leave(l);
}

static enum err enter(struct local *l, struct job *job, uint64_t *id, struct error *error)
{
    pthread_mutex_lock(&l->lock);
    bool stopping = l->stopping;
    if (!stopping) {
        job->refs = 1;
        l->n_jobs++;
        *id = atomic_fetch_add(&l->next_id, 1) + 1;
        idmap_put(&l->jobs, &job->by_id, *id);
    }
    pthread_mutex_unlock(&l->lock);
    return stopping ? err_set(error, ERR_STOPPING, "the hub is shutting down") : OK;
}

static void leave(struct local *l, struct job *job)
{
    pthread_mutex_lock(&l->lock);
    idmap_del(&l->jobs, job->by_id.id);
    pthread_mutex_unlock(&l->lock);
    job_unref(job);
}

/* Takes the job, also when it fails. */
static enum err take(struct local *l, struct job *job, uint64_t *id, struct error *error)
{
    job->l = l;
    job->place.arrived_ms = clock_mono_ms();
    enum err e = enter(l, job, id, error);
    if (e) {
        job_free(job);
        return e;
    }
    e = pool_submit(l->pool, job_prepare, job);
    if (!e) return OK;
    leave(l, job);
    *id = 0;
    if (e == ERR_STOPPING) return err_set(error, e, "the hub is shutting down");
    return err_set(error, e, "too many requests are being prepared (%zu); try again later",
                   pool_queued(l->pool));
}

static enum err local_generate(struct provider *p, struct gen_request *req, gen_listener_fn fn,
                               void *ctx, uint64_t *id, struct error *error)
{
    struct job *job = xcalloc(1, sizeof *job);
    *job = (struct job){.kind = JOB_GENERATE, .gen = req, .gen_fn = fn, .ctx = ctx};
    return take(local_of(p), job, id, error);
}

static enum err local_embed(struct provider *p, struct embed_request *req, embed_listener_fn fn,
                            void *ctx, uint64_t *id, struct error *error)
{
    struct job *job = xcalloc(1, sizeof *job);
    *job = (struct job){.kind = JOB_EMBED, .embed = req, .embed_fn = fn, .ctx = ctx};
    return take(local_of(p), job, id, error);
}

enum err local_load_job(struct local *l, const char *model, int64_t keep_alive_ms, bool force,
                        void (*on_done)(void *ctx, const struct error *error), void *ctx,
                        struct error *error)
{
    uint64_t id;
    struct job *job = xcalloc(1, sizeof *job);
    *job = (struct job){
        .kind = JOB_LOAD, .load_fn = on_done, .ctx = ctx, .keep_alive_ms = keep_alive_ms};
    job->force = force;
    job->load_name = xstrdup(model);
    return take(l, job, &id, error);
}

enum err local_load(struct provider *p, const char *model,
                    void (*on_done)(void *ctx, const struct error *error), void *ctx,
                    struct error *error)
{
    return local_load_job(local_of(p), model, KEEP_ALIVE_DEFAULT, false, on_done, ctx, error);
}

/* ---- cancelling ---------------------------------------------------------------------------- */

/* The lock is held, so the job stays. The client hears of it at once; the work ends when it can. */
static void cancel(struct local *l, struct job *job, enum err code)
{
    if (job->cancelled) return;
    job->cancelled = true;
    note_cancel(l, job->by_id.id, code);
    if (job->sched_id) sched_cancel(l->sched, job->sched_id);
    if (!job->loading || !sched_load_forget(l->sched, job->load_id, job)) return;
    struct error error;
    err_set(&error, code, "the request was cancelled");
    job->loading = false;
    note_failed(job, &error);
}

static void local_cancel(struct provider *p, uint64_t id)
{
    struct local *l = local_of(p);
    pthread_mutex_lock(&l->lock);
    struct idnode *n = idmap_get(&l->jobs, id);
    if (n) cancel(l, container_of(n, struct job, by_id), ERR_CANCELLED);
    pthread_mutex_unlock(&l->lock);
}

/* ---- opening and closing ------------------------------------------------------------------- */

static void cancel_all(struct local *l)
{
    for (size_t i = 0; i < l->jobs.n_buckets; i++)
        for (struct idnode *n = l->jobs.buckets[i]; n; n = n->next)
            cancel(l, container_of(n, struct job, by_id), ERR_STOPPING);
}

static void local_free(struct local *l)
{
    mailbox_free(l->notes);
    idmap_free(&l->jobs);
    pthread_mutex_destroy(&l->lock);
    pthread_cond_destroy(&l->all_gone);
    buf_free(&l->text);
    free(l->logprobs);
    adapters_free(l->adapters);
    quarantine_free(l);
    free(l->default_model);
    free(l->default_embedding_model);
    free(l->default_rerank_model);
    free(l);
}

void local_stop(struct provider *p, int64_t grace_ms)
{
    struct local *l = local_of(p);
    int64_t until_ns = clock_mono_ns() + (grace_ms > 0 ? grace_ms : 0) * 1000000;
    pthread_mutex_lock(&l->lock);
    l->stopping = true;
    while (l->n_jobs && cond_wait_until(&l->all_gone, &l->lock, until_ns)) {
    }
    cancel_all(l);
    while (l->n_jobs) pthread_cond_wait(&l->all_gone, &l->lock);
    pthread_mutex_unlock(&l->lock);
}

static void local_close(struct provider *p, int64_t grace_ms)
{
    struct local *l = local_of(p);
    local_stop(p, grace_ms);
    note_simple(l, NOTE_QUIT, NULL);
    thread_join(l->delivery);
    while (atomic_load(&l->sending)) sched_yield();
    local_free(l);
}

static const struct provider_ops local_ops = {
    .name = "local",
    .caps = PROVIDER_GENERATE | PROVIDER_EMBED | PROVIDER_TOOLS | PROVIDER_RERANK,
    .generate = local_generate,
    .cancel = local_cancel,
    .embed = local_embed,
    .control = local_control,
    .close = local_close,
};

enum err local_open(const struct local_params *params, struct provider **out, struct error *error)
{
    struct local *l = xcalloc(1, sizeof *l);
    l->base.ops = &local_ops;
    l->sched = params->sched;
    l->models = params->models;
    l->pool = params->pool;
    quarantine_init(l, params->quarantined, params->n_quarantined);
    l->on_drained = params->on_drained;
    l->drained_ctx = params->drained_ctx;
    l->fake_engine = str_starts(engine_library_version(sched_engine(params->sched)), "fake");
    l->default_model = xstrdup(params->default_model ? params->default_model : "");
    l->default_embedding_model =
        xstrdup(params->default_embedding_model ? params->default_embedding_model : "");
    l->default_rerank_model =
        xstrdup(params->default_rerank_model ? params->default_rerank_model : "");
    l->notes = mailbox_new();
    idmap_init(&l->jobs);
    buf_init(&l->text, TEXT_MAX);
    pthread_mutex_init(&l->lock, NULL);
    cond_init(&l->all_gone);
    const char *adapter = params->default_adapter ? params->default_adapter : "";
    str_copy(l->adapter, sizeof l->adapter, adapter_is_none(adapter) ? "" : adapter);
    l->adapter_scale = 1;
    enum err e = adapters_open(params->adapters_dir ? params->adapters_dir : "",
                               params->builtin_adapters_dir, &l->adapters, error);
    if (!e) e = thread_start(&l->delivery, "delivery", deliver_main, l, error);
    if (e) {
        local_free(l);
        return e;
    }
    *out = &l->base;
    return OK;
}
