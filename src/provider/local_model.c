/* A job's model: from its name to a reference. A job that has to wait for a load takes its place in
 * the queue and gives its pool thread back; the end of the load submits it to the pool again, with
 * the reference, so that the model can't leave in between. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "models/derived.h"
#include "provider/local_int.h"

enum { TELL_MS = 250 /* how often a listener is told how far the load is */ };

bool job_is_cancelled(struct job *job)
{
    pthread_mutex_lock(&job->l->lock);
    bool cancelled = job->cancelled;
    pthread_mutex_unlock(&job->l->lock);
    return cancelled;
}

static enum use job_use(const struct job *job)
{
    switch (job->kind) {
    case JOB_GENERATE: return USE_GENERATE;
    case JOB_EMBED: return job->embed->query ? USE_RERANK : USE_EMBED;
    case JOB_LOAD: return USE_ANY;
    }
    ht_bug("unknown kind of job");
}

static const char *wanted_model(const struct job *job)
{
    switch (job->kind) {
    case JOB_GENERATE: return job->gen->model;
    case JOB_EMBED: return job->embed->model;
    case JOB_LOAD: return job->load_name;
    }
    ht_bug("unknown kind of job");
}

/* ---- waiting for a load ---------------------------------------------------------------------- */

int64_t job_load_ns(struct job *job)
{
    pthread_mutex_lock(&job->l->lock);
    int64_t ns = job->load_ns;
    if (job->load_since_ns) ns += clock_mono_ns() - job->load_since_ns;
    pthread_mutex_unlock(&job->l->lock);
    return ns;
}

/* On the pool, after the load. */
static void go_on(void *arg)
{
    struct job *job = arg;
    struct local *l = job->l;
    pthread_mutex_lock(&l->lock);
    job->loading = false;
    expiry_remove(&l->due, &job->due);
    job->load_ns += clock_mono_ns() - job->load_since_ns;
    job->load_since_ns = 0;
    bool cancelled = job->cancelled;
    pthread_mutex_unlock(&l->lock);
    struct error error = job->load_error;
    if (cancelled) err_set(&error, ERR_CANCELLED, "the request was cancelled");
    if (error.code)
        note_failed(job, &error);
    else
        job_submit(job);
}

/* sched_load_listener: mostly on the engine thread. */
static void loaded(void *ctx, struct sched_model *m, const struct error *load_error)
{
    struct job *job = ctx;
    job->load_error = (struct error){0};
    if (load_error) {
        job->load_error = *load_error;
        err_hide_folder(&job->load_error, job->model_path);
        if (load_error->code != ERR_NOMEM)
            err_prefix(&job->load_error, "%s could not be loaded", job->model_id);
    } else {
        sched_model_ref(m);
        job->model = m;
    }
    enum err e = pool_submit(job->l->pool, go_on, job);
    if (!e) return;
    struct error error;
    err_set(&error, e, "%s",
            e == ERR_STOPPING ? "the hub is shutting down"
                              : "too many requests are being prepared; try again later");
    note_failed(job, &error);
}

/* On the loader thread. */
static void progressed(void *ctx, float fraction)
{
    struct job *job = ctx;
    int64_t now_ms = clock_mono_ms();
    if (job->kind != JOB_GENERATE || now_ms < atomic_load(&job->told_ms) + TELL_MS) return;
    atomic_store(&job->told_ms, now_ms);
    note_loading(job->l, job->by_id.id, fraction, NULL);
}

static void waits(void *ctx, const char *other)
{
    struct job *job = ctx;
    if (job->kind == JOB_GENERATE) note_loading(job->l, job->by_id.id, 0, other);
}

/* ---- the place in the queue, and the deadline ------------------------------------------------ */

/* back: it had one before. What goes on from another worker's tokens had one there. */
static enum err take_place(struct job *job, bool back, struct error *error)
{
    const struct gen_request *gen = job->gen;
    struct sched_place *place = &job->place;
    if (job->kind == JOB_LOAD) return OK;
    place->tenant = gen ? gen->tenant : job->embed->tenant;
    if (!place->tenant) place->tenant = "";
    place->priority = gen ? gen->priority : job->embed->priority;
    return sched_place_take(job->l->sched, place, back || (gen && gen->resume), error);
}

static void set_late(const struct job *job, struct error *error)
{
    err_set(error, ERR_TIMEOUT,
            "the request waited %.1f s for its model %s, which is not in memory yet, and could not "
            "start by its deadline",
            (double)(clock_mono_ms() - job->place.arrived_ms) / 1e3, job->model_id);
}

/* The lock is held. False: it is over already. */
static bool set_due(struct job *job)
{
    struct local *l = job->l;
    int64_t at_ms = job->gen ? job->gen->deadline_ms : job->embed ? job->embed->deadline_ms : 0;
    if (!at_ms) return true;
    if (at_ms <= clock_mono_ms()) return false;
    expiry_add(&l->due, &job->due, at_ms);
    if (expiry_first(&l->due) == &job->due) note_wake(l);
    return true;
}

int64_t jobs_expire(struct local *l)
{
    struct expiry_node *n;
    struct error error;
    int64_t now_ms = clock_mono_ms(), left_ms = -1;
    pthread_mutex_lock(&l->lock);
    while ((n = expiry_first(&l->due)) && n->at_ms <= now_ms) {
        struct job *job = container_of(n, struct job, due);
        expiry_remove(&l->due, n);
        /* If its model has just come, the scheduler sees that it is too late. */
        if (!job->loading || !sched_load_forget(l->sched, job->load_id, job)) continue;
        job->loading = false;
        set_late(job, &error);
        note_failed(job, &error);
    }
    if (n) left_ms = n->at_ms - now_ms;
    pthread_mutex_unlock(&l->lock);
    return left_ms;
}

static bool generates(const struct model_info *info)
{
    return info->kind == MODEL_CHAT || info->kind == MODEL_COMPLETION;
}

static int32_t job_priority(const struct job *job)
{
    return job->gen ? job->gen->priority : job->embed ? job->embed->priority : PRIORITY_DEFAULT;
}

/* The listener may be called, and the job gone, before sched_load returns. */
static enum err begin_load(struct job *job, const struct sched_load *load, struct error *error)
{
    struct local *l = job->l;
    struct sched_load_listener listener = {.on_progress = progressed,
                                           .on_wait = waits,
                                           .on_done = loaded,
                                           .ctx = job,
                                           .request = job->kind != JOB_LOAD};
    enum err e = OK;
    pthread_mutex_lock(&l->lock);
    if (job->cancelled) e = err_set(error, ERR_CANCELLED, "the request was cancelled");
    if (!e && !set_due(job)) {
        e = ERR_TIMEOUT;
        set_late(job, error);
    }
    if (!e) {
        job->loading = true;
        job->load_since_ns = clock_mono_ns();
        atomic_store(&job->told_ms, clock_mono_ms());
        /* Also when it waits for others to go first, and the load has not begun. */
        if (job->kind == JOB_GENERATE) note_loading(l, job->by_id.id, 0, NULL);
        e = sched_load(l->sched, load, &listener, error);
        if (e) job->loading = false;
    }
    pthread_mutex_unlock(&l->lock);
    return e;
}

static enum err load(struct job *job, const struct model_info *info, struct error *error)
{
    struct local *l = job->l;
    struct sched_load load = {.id = job->load_id,
                              .path = info->path,
                              .size = {.file_bytes = (uint64_t)info->file_bytes,
                                       .n_layer = info->n_layer,
                                       .n_embd = info->n_embd},
                              .embedding = job_use(job) == USE_EMBED && generates(info),
                              .keep_alive_ms = job->keep_alive_ms,
                              .priority = job_priority(job)};
    if (job->force) quarantine_lift(l, info->id);
    enum err e = quarantine_check(l, info->id, job->load_id, error);
    if (!e) e = take_place(job, false, error);
    if (e) return e;
    free(job->model_path);
    job->model_path = xstrdup(info->path);
    return begin_load(job, &load, error);
}

/* ---- finding it ------------------------------------------------------------------------------ */

/* In memory already: its name is its id. */
static bool find_loaded(struct job *job)
{
    const char *name = wanted_model(job);
    if (job->kind == JOB_LOAD) return false; /* a load may say keep_alive */
    job->model = names_loaded(job->l, name, job_use(job));
    if (!job->model) return false;
    str_copy(job->model_id, sizeof job->model_id, name);
    return true;
}

/* What of a derived model only its weights understand. A request that names none comes without,
 * since it may go elsewhere (provider/derive.h). */
static enum err apply_derived(struct job *job, struct error *error)
{
    struct local *l = job->l;
    struct derived *d = local_derived(l->models, l->default_model, job->gen->model);
    enum err e = d ? derived_apply_here(d, job->gen, error) : OK;
    derived_unref(d);
    return e;
}

static enum err resolve(struct job *job, struct model_info *info, struct error *error)
{
    struct local *l = job->l;
    const char *name = wanted_model(job), *adapter = NULL;
    enum use use = job_use(job);
    enum err e = names_resolve(l, name, use, info, error);
    if (e == ERR_NO_MODEL && job->kind == JOB_GENERATE)
        e = names_split_adapter(l, name, info, &adapter, error);
    if (e) return e;
    free(job->model_adapter);
    job->model_adapter = adapter ? xstrdup(adapter) : NULL;
    str_copy(job->model_id, sizeof job->model_id, info->id);
    names_load_id(job->load_id, sizeof job->load_id, info->id, use, generates(info));
    if (job->kind != JOB_LOAD) job->model = names_find(l, job->load_id, info);
    if (job->kind != JOB_GENERATE || (job->gen->loaded_only && !job->model)) return OK;
    return apply_derived(job, error);
}

/* job->model is there, or nothing is loaded for it. */
static enum err take_loaded(struct job *job, struct error *error)
{
    if (!job->model && !*job->gen->model) job->model = names_any_chat(job->l);
    if (!job->model)
        return err_set_param(error, ERR_NO_MODEL, "/model", "%s is in memory",
                             *job->gen->model ? "no model of that name" : "no model");
    str_copy(job->model_id, sizeof job->model_id, sched_model_id(job->model));
    return OK;
}

enum err job_find_model(struct job *job, bool *waits, struct error *error)
{
    struct model_info info;
    enum err e = OK;
    *waits = false;
    bool found = find_loaded(job);
    if (!found) e = resolve(job, &info, error);
    if (job->kind == JOB_GENERATE && job->gen->loaded_only) e = take_loaded(job, error);
    if (!e && job->kind == JOB_GENERATE) e = adapter_choose(job, job->model_id, error);
    if (e || job->model) return e;
    *waits = true;
    return load(job, &info, error);
}

void job_again(struct job *job)
{
    struct error error;
    enum err e = take_place(job, true, &error);
    ht_assert(!e);
    pthread_mutex_lock(&job->l->lock);
    job->sched_id = 0;
    pthread_mutex_unlock(&job->l->lock);
    job_drop_work(job);
    free(job->adapter);
    job->adapter = NULL;
    job->tail = NULL;
    e = pool_submit(job->l->pool, job_prepare, job);
    if (!e) return;
    err_set(&error, e, "%s",
            e == ERR_STOPPING ? "the hub is shutting down"
                              : "too many requests are being prepared; try again later");
    note_failed(job, &error);
}
