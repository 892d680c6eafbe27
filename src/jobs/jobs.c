/* The runner of durable jobs; see jobs.h.
 *
 *   worker: sleep until `look_at` --> store_job_take --> handler --> done | fail | give back
 *                 ^                        | none: look_at = when the next one is due
 *                 '------------------------'
 *
 * A wake-up sets look_at to now and wakes one worker; a worker that found a job wakes the next one,
 * as there may be more. So an idle runner sleeps without end. */
#include "jobs/jobs.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/thread.h"
#include "jobs/jobs_int.h"

enum {
    THREADS_DEFAULT = 2,
    THREADS_MAX = 64,
    KINDS_MAX = 32,
    KINDS_TEXT = 1024,
    JOB_MEMORY = 4 << 20,
    LEASE_DEFAULT_MS = 30000,
    POLL_DEFAULT_MS = 10000,
    RETRY_DEFAULT_MS = 2000,
    RETRY_MAX_MS = 3600 * 1000,
    PAUSE_MIN_MS = 250, /* while the database is away */
    PAUSE_MAX_MS = 15000,
    PROGRESS_MS = 1000,
};

struct kind {
    const char *name;
    job_fn fn;
    job_failed_fn failed;
    void *ctx;
};

struct job_ctx {
    struct list_node node; /* in jobs.running */
    struct jobs *jobs;
    struct arena *arena;
    struct store_job info;
    json_t *payload; /* parsed when first asked for */
    bool cancelled;  /* these below under jobs.lock */
    bool lost;       /* the lease is another's */
    bool news;       /* of progress, to be written */
    const char *what;
    int64_t done, total;
};

struct jobs {
    struct jobs_params params;
    char worker[WORKER_MAX];
    struct kind kinds[KINDS_MAX];
    size_t n_kinds;
    char kinds_text[KINDS_TEXT]; /* ",index_file,sweep," */
    pthread_t threads[THREADS_MAX], keeper;
    int32_t n_threads;
    bool has_keeper;

    pthread_mutex_t lock; /* of all below; never held while the database is asked */
    pthread_cond_t work;  /* look_at became earlier, or stop */
    pthread_cond_t keep;  /* the same for the keeper */
    struct store *store;
    bool opening, recovered;
    bool stopping, keeper_ends;
    int64_t look_at_ms; /* monotonic; INT64_MAX = when woken */
    int64_t wakes;      /* counts them, so that none is missed */
    int64_t pause_ms;   /* of a database that is away */
    int64_t renew_at_ms, write_at_ms;
    struct list_node running;
};

static void sleep_until(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t at_ms)
{
    (void)cond_wait_until(cond, lock, at_ms == INT64_MAX ? INT64_MAX : at_ms * 1000000);
}

/* ---- the database --------------------------------------------------------------------------- */

/* Jobs of hubs of this machine that are no more. */
static enum err recover(struct jobs *j, struct store *s, struct error *error)
{
    const char **workers;
    size_t n;
    struct arena *a = arena_new(JOB_MEMORY);
    enum err e = store_job_workers(s, a, &workers, &n, error);
    for (size_t i = 0; !e && i < n; i++) {
        if (str_eq(workers[i], j->worker) || !worker_is_dead(workers[i])) continue;
        log_info(jobs, "jobs of a hub that ended are taken again");
        e = store_job_worker_died(s, workers[i], error);
    }
    arena_free(a);
    return e;
}

/* The open database; one thread at a time opens it. Without the lock. */
static enum err database(struct jobs *j, struct store **out, struct error *error)
{
    enum err e = OK;
    pthread_mutex_lock(&j->lock);
    struct store *s = j->store;
    bool mine = !j->recovered && !j->opening;
    if (mine) j->opening = true;
    if (!s && !mine) e = err_set(error, ERR_DATABASE, "the database is being opened");
    pthread_mutex_unlock(&j->lock);
    if (mine && !s) e = j->params.open(j->params.ctx, &s, error);
    if (mine && !e) e = recover(j, s, error);
    if (mine) {
        pthread_mutex_lock(&j->lock);
        if (s && !e) j->recovered = true;
        if (s) j->store = s;
        j->opening = false;
        pthread_mutex_unlock(&j->lock);
    }
    *out = s;
    return e;
}

/* ---- ends of a job -------------------------------------------------------------------------- */

/* Whether this kind of failure may pass by itself, so that trying again is right. */
static bool may_pass(enum err code)
{
    switch (code) {
    case ERR_DATABASE:
    case ERR_BUSY:
    case ERR_NOMEM:
    case ERR_DISK_FULL:
    case ERR_NETWORK:
    case ERR_UPSTREAM:
    case ERR_WORKER:
    case ERR_QUARANTINED:
    case ERR_STOPPING:
    case ERR_CANCELLED: /* by somebody else than the job's own canceller */
    case ERR_ENGINE:
    case ERR_IO: return true;
    default: return false;
    }
}

/* 2 s, 4 s, 8 s, ... */
static int64_t again_in_ms(const struct jobs *j, int32_t attempts)
{
    int64_t ms = j->params.retry_ms;
    for (int32_t i = 1; i < attempts && ms < RETRY_MAX_MS; i++) ms *= 2;
    return ms < RETRY_MAX_MS ? ms : RETRY_MAX_MS;
}

static enum err write_failure(struct jobs *j, struct job_ctx *job, const struct kind *kind,
                              const struct error *why, struct error *error)
{
    bool again = may_pass(why->code) && job->info.attempts < job->info.max_attempts;
    int64_t in_ms = again ? again_in_ms(j, job->info.attempts) : 0;
    enum err e = store_job_fail(j->store, job->info.id, j->worker, why->msg,
                                again ? clock_wall_ms() + in_ms : 0, error);
    if (e) return e;
    if (again) {
        log_warn(jobs, "%s %s: %s; tried again in %lld s", job->info.kind, job->info.id, why->msg,
                 (long long)in_ms / 1000);
    } else {
        log_warn(jobs, "%s %s failed: %s", job->info.kind, job->info.id, why->msg);
        if (kind->failed) kind->failed(j->store, &job->info, kind->ctx, why);
    }
    return OK;
}

/* What became of it is written down, for as long as the lease lasts when the database is away. */
static void settle(struct jobs *j, struct job_ctx *job, const struct kind *kind, enum err result,
                   const struct error *why)
{
    struct error error;
    enum err e;
    int64_t until_ms = clock_mono_ms() + j->params.lease_ms;
    pthread_mutex_lock(&j->lock);
    bool stopping = j->stopping, cancelled = job->cancelled && !stopping, lost = job->lost;
    pthread_mutex_unlock(&j->lock);
    if (lost) return; /* whoever has it now says how it ended */
    do {
        if (!result)
            e = store_job_done(j->store, job->info.id, j->worker, &error);
        else if (stopping)
            e = store_job_give_back(j->store, job->info.id, j->worker, &error);
        else if (cancelled && result == ERR_CANCELLED)
            e = OK; /* its state says so already */
        else
            e = write_failure(j, job, kind, why, &error);
        if (e == ERR_DATABASE && !stopping)
            nanosleep(&(struct timespec){.tv_nsec = PAUSE_MIN_MS * 1000000}, NULL);
    } while (e == ERR_DATABASE && !stopping && clock_mono_ms() < until_ms);
    if (e && e != ERR_CANCELLED && e != ERR_CONFLICT && e != ERR_NOT_FOUND)
        log_warn(jobs, "%s %s: its end could not be written down (%s); it will run again",
                 job->info.kind, job->info.id, error.msg);
}

/* ---- workers -------------------------------------------------------------------------------- */

static const struct kind *kind_of(const struct jobs *j, const char *name)
{
    for (size_t i = 0; i < j->n_kinds; i++)
        if (str_eq(j->kinds[i].name, name)) return &j->kinds[i];
    ht_bug("a job of a kind that was not asked for");
}

static void run(struct jobs *j, struct job_ctx *job)
{
    const struct kind *kind = kind_of(j, job->info.kind);
    struct error why = {.code = OK};
    int64_t started_ms = clock_mono_ms();
    log_debug(jobs, "%s %s begins (attempt %d)", job->info.kind, job->info.id, job->info.attempts);
    pthread_mutex_lock(&j->lock);
    if (list_empty(&j->running)) j->renew_at_ms = started_ms + j->params.lease_ms / 3;
    list_push_back(&j->running, &job->node);
    pthread_cond_signal(&j->keep);
    pthread_mutex_unlock(&j->lock);
    enum err e = kind->fn(job, kind->ctx, &why);
    pthread_mutex_lock(&j->lock);
    list_remove(&job->node);
    pthread_mutex_unlock(&j->lock);
    if (!e)
        log_info(jobs, "%s %s is done (%lld ms)", job->info.kind, job->info.id,
                 (long long)(clock_mono_ms() - started_ms));
    settle(j, job, kind, e, &why);
    json_decref(job->payload);
}

/* Takes one and runs it. OK, ERR_NOT_FOUND (none is due) or why it can't be known. */
static enum err work_once(struct jobs *j, struct error *error)
{
    struct store *s;
    struct job_ctx job = {.jobs = j};
    enum err e = database(j, &s, error);
    if (e) return e;
    job.arena = arena_new(JOB_MEMORY);
    list_init(&job.node);
    e = store_job_take(s, j->worker, j->kinds_text, j->params.lease_ms, job.arena, &job.info,
                       error);
    if (!e) {
        pthread_mutex_lock(&j->lock); /* there may be more */
        j->look_at_ms = 0;
        pthread_cond_signal(&j->work);
        pthread_mutex_unlock(&j->lock);
        run(j, &job);
    }
    arena_free(job.arena);
    return e;
}

/* When to look again after none was found; `wakes` as it was before that look. */
static void plan_next(struct jobs *j, int64_t wakes)
{
    struct error error;
    int64_t in_ms = -1;
    enum err e = store_job_next_ms(j->store, j->kinds_text, &in_ms, &error);
    int64_t at = INT64_MAX, now = clock_mono_ms();
    if (e) in_ms = PAUSE_MAX_MS;
    if (in_ms >= 0) at = now + in_ms + 1;
    if (str_eq(store_kind(j->store), "postgresql") && at > now + j->params.poll_ms)
        at = now + j->params.poll_ms;
    pthread_mutex_lock(&j->lock);
    j->pause_ms = 0;
    if (j->wakes == wakes) j->look_at_ms = at;
    pthread_mutex_unlock(&j->lock);
}

static void pause_work(struct jobs *j, const struct error *why)
{
    pthread_mutex_lock(&j->lock);
    if (!j->pause_ms) log_warn(jobs, "no jobs can be taken now: %s", why->msg);
    j->pause_ms = j->pause_ms ? 2 * j->pause_ms : PAUSE_MIN_MS;
    if (j->pause_ms > PAUSE_MAX_MS) j->pause_ms = PAUSE_MAX_MS;
    j->look_at_ms = clock_mono_ms() + j->pause_ms;
    pthread_mutex_unlock(&j->lock);
}

static void *worker_main(void *arg)
{
    struct jobs *j = arg;
    pthread_mutex_lock(&j->lock);
    while (!j->stopping) {
        if (j->look_at_ms > clock_mono_ms()) {
            sleep_until(&j->work, &j->lock, j->look_at_ms);
            continue;
        }
        struct error error;
        int64_t wakes = j->wakes;
        j->look_at_ms = INT64_MAX; /* this one looks; the others need not */
        pthread_mutex_unlock(&j->lock);
        enum err e = work_once(j, &error);
        if (e == ERR_NOT_FOUND)
            plan_next(j, wakes);
        else if (e)
            pause_work(j, &error);
        pthread_mutex_lock(&j->lock);
        if (!e) j->look_at_ms = 0;
    }
    pthread_mutex_unlock(&j->lock);
    return NULL;
}

/* ---- the keeper ------------------------------------------------------------------------------ */

/* A running job as the keeper needs it without the lock: the job may end meanwhile. */
struct kept {
    char id[STORE_JOB_ID_MAX], progress[256];
    bool news;
};

static void note_progress(struct job_ctx *job, struct kept *k)
{
    struct buf b;
    struct jw w;
    str_copy(k->id, sizeof k->id, job->info.id);
    k->news = job->news;
    job->news = false;
    if (!k->news) return;
    buf_init_fixed(&b, k->progress, sizeof k->progress);
    jw_init(&w, &b);
    jw_obj(&w);
    jw_kstr(&w, "what", job->what);
    jw_kint(&w, "done", job->done);
    jw_kint(&w, "total", job->total);
    jw_obj_end(&w);
}

/* The lock is held. */
static struct job_ctx *running_of(struct jobs *j, const char *id)
{
    list_each (node, &j->running) {
        struct job_ctx *job = container_of(node, struct job_ctx, node);
        if (str_eq(job->info.id, id)) return job;
    }
    return NULL;
}

/* Renews leases; whoever lost his, or was cancelled, hears of it. */
static void renew(struct jobs *j, const struct kept *kept, size_t n)
{
    struct error error;
    for (size_t i = 0; i < n; i++) {
        enum err e = store_job_renew(j->store, kept[i].id, j->worker, j->params.lease_ms,
                                     kept[i].news ? kept[i].progress : NULL, &error);
        if (e == ERR_DATABASE) log_warn(jobs, "a lease could not be renewed: %s", error.msg);
        if (e != ERR_CANCELLED && e != ERR_CONFLICT && e != ERR_NOT_FOUND) continue;
        pthread_mutex_lock(&j->lock);
        struct job_ctx *job = running_of(j, kept[i].id);
        if (job) job->cancelled = true;
        if (job && e != ERR_CANCELLED) job->lost = true;
        pthread_mutex_unlock(&j->lock);
    }
}

/* The lock is held: what is to be renewed or written now. */
static size_t collect(struct jobs *j, struct kept *kept)
{
    size_t n = 0;
    int64_t now = clock_mono_ms();
    bool all = now >= j->renew_at_ms;
    list_each (node, &j->running) {
        struct job_ctx *job = container_of(node, struct job_ctx, node);
        if ((all || job->news) && n < THREADS_MAX) note_progress(job, &kept[n++]);
    }
    if (all) j->renew_at_ms = now + j->params.lease_ms / 3;
    j->write_at_ms = now + PROGRESS_MS;
    return n;
}

/* The lock is held. */
static int64_t keep_at(const struct jobs *j)
{
    bool news = false;
    if (list_empty(&j->running)) return INT64_MAX;
    list_each (node, &j->running) news |= container_of(node, struct job_ctx, node)->news;
    return news && j->write_at_ms < j->renew_at_ms ? j->write_at_ms : j->renew_at_ms;
}

static void *keeper_main(void *arg)
{
    struct jobs *j = arg;
    struct kept *kept = xcalloc(THREADS_MAX, sizeof *kept);
    pthread_mutex_lock(&j->lock);
    while (!j->keeper_ends) {
        int64_t at = keep_at(j);
        if (at > clock_mono_ms()) {
            sleep_until(&j->keep, &j->lock, at);
            continue;
        }
        size_t n = collect(j, kept);
        pthread_mutex_unlock(&j->lock);
        renew(j, kept, n);
        pthread_mutex_lock(&j->lock);
    }
    pthread_mutex_unlock(&j->lock);
    free(kept);
    return NULL;
}

/* ---- from its beginning to its end ----------------------------------------------------------- */

struct jobs *jobs_new(const struct jobs_params *params)
{
    struct jobs *j = xcalloc(1, sizeof *j);
    j->params = *params;
    if (j->params.threads < 1) j->params.threads = THREADS_DEFAULT;
    if (j->params.threads > THREADS_MAX) j->params.threads = THREADS_MAX;
    if (j->params.lease_ms < 1) j->params.lease_ms = LEASE_DEFAULT_MS;
    if (j->params.poll_ms < 1) j->params.poll_ms = POLL_DEFAULT_MS;
    if (j->params.retry_ms < 1) j->params.retry_ms = RETRY_DEFAULT_MS;
    worker_name(j->worker);
    str_copy(j->kinds_text, sizeof j->kinds_text, ",");
    j->look_at_ms = INT64_MAX;
    list_init(&j->running);
    pthread_mutex_init(&j->lock, NULL);
    cond_init(&j->work);
    cond_init(&j->keep);
    return j;
}

void jobs_register(struct jobs *j, const char *kind, job_fn fn, job_failed_fn failed, void *ctx)
{
    size_t len = strlen(j->kinds_text);
    ht_assert(j->n_kinds < KINDS_MAX && j->n_threads == 0);
    j->kinds[j->n_kinds++] = (struct kind){kind, fn, failed, ctx};
    ht_assert(str_printf(j->kinds_text + len, sizeof j->kinds_text - len, "%s,", kind));
}

enum err jobs_start(struct jobs *j, bool look, struct error *error)
{
    enum err e = thread_start(&j->keeper, "jobs-keeper", keeper_main, j, error);
    j->has_keeper = !e;
    j->look_at_ms = look ? 0 : INT64_MAX;
    while (!e && j->n_threads < j->params.threads) {
        e = thread_start(&j->threads[j->n_threads], "jobs", worker_main, j, error);
        if (!e) j->n_threads++;
    }
    return e;
}

void jobs_wake(struct jobs *j)
{
    pthread_mutex_lock(&j->lock);
    j->wakes++;
    j->look_at_ms = 0;
    pthread_cond_signal(&j->work);
    pthread_mutex_unlock(&j->lock);
}

void jobs_recheck(struct jobs *j)
{
    pthread_mutex_lock(&j->lock);
    j->renew_at_ms = 0;
    pthread_cond_signal(&j->keep);
    pthread_mutex_unlock(&j->lock);
}

void jobs_stop(struct jobs *j)
{
    if (!j) return;
    pthread_mutex_lock(&j->lock);
    j->stopping = true;
    list_each (node, &j->running) container_of(node, struct job_ctx, node)->cancelled = true;
    pthread_cond_broadcast(&j->work);
    pthread_mutex_unlock(&j->lock);
}

void jobs_free(struct jobs *j)
{
    if (!j) return;
    jobs_stop(j);
    for (int32_t i = 0; i < j->n_threads; i++) thread_join(j->threads[i]);
    pthread_mutex_lock(&j->lock);
    j->keeper_ends =
        true; /* after the workers: it keeps the leases of those that take their time */
    pthread_cond_signal(&j->keep);
    pthread_mutex_unlock(&j->lock);
    if (j->has_keeper) thread_join(j->keeper);
    pthread_cond_destroy(&j->work);
    pthread_cond_destroy(&j->keep);
    pthread_mutex_destroy(&j->lock);
    free(j);
}

/* ---- for handlers ---------------------------------------------------------------------------- */

const struct store_job *job_info(const struct job_ctx *job)
{
    return &job->info;
}

struct store *job_store(const struct job_ctx *job)
{
    return job->jobs->store;
}

bool job_cancelled(const struct job_ctx *job)
{
    struct jobs *j = job->jobs;
    pthread_mutex_lock(&j->lock);
    bool cancelled = job->cancelled || j->stopping;
    pthread_mutex_unlock(&j->lock);
    return cancelled;
}

bool job_cancelled_ctx(void *job)
{
    return job_cancelled(job);
}

void job_progress(struct job_ctx *job, const char *what, int64_t done, int64_t total)
{
    struct jobs *j = job->jobs;
    pthread_mutex_lock(&j->lock);
    job->what = what;
    job->done = done;
    job->total = total;
    if (!job->news) pthread_cond_signal(&j->keep);
    job->news = true;
    pthread_mutex_unlock(&j->lock);
}

enum err job_payload_str(struct job_ctx *job, const char *name, const char **out,
                         struct error *error)
{
    enum err e = OK;
    *out = NULL;
    if (!job->payload)
        e = json_parse(job->info.payload, strlen(job->info.payload), &job->payload, error);
    if (!e) e = json_get_string(job->payload, name, "", out, error);
    if (!e && !*out) e = err_set(error, ERR_INVALID, "the job's payload has no %s", name);
    return e;
}
