/* Background work of a hub; see work.h. */
#include "hub/work.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "rag/index.h"
#include "store/store_answer.h"
#include "store/store_batch.h"

enum { BATCHES_AT_ONCE = 2 };

struct work {
    const struct config *config;
    struct accounts *accounts;
    struct files *files;
    struct jobs *jobs, *background, *batches;
    struct watcher *watcher;
    struct rag *rag; /* NULL: none */
};

/* What has been kept for as long as it is to be kept. */
static void sweep_kept(void *ctx, struct store *s)
{
    struct work *w = ctx;
    struct error error;
    char sha256[STORE_SHA256_MAX];
    int64_t n = 0, keep_ms = config_int(w->config, CONFIG_KEEP_ANSWERS);
    enum err e = keep_ms ? store_answer_sweep(s, clock_wall_ms() - keep_ms, &n, &error) : OK;
    if (n) log_info(hub, "%lld answers are removed: they were kept for long enough", (long long)n);
    while (!e && (e = store_api_file_expire(s, sha256, &error)) == OK)
        files_let_go(w->files, s, sha256);
    if (e != ERR_NOT_FOUND && e != OK) log_warn(hub, "old answers are still there: %s", error.msg);
}

/* On a thread of the runner's, until it works. What a crash left is put in order before any job. */
static enum err open_database(void *ctx, struct store **out, struct error *error)
{
    struct work *w = ctx;
    struct auth *auth;
    struct files_swept swept;
    enum err e = accounts_open(w->accounts, out, &auth, error);
    if (!e) e = files_sweep(w->files, *out, &swept, error);
    if (e) return e;
    sweep_kept(w, *out);
    watcher_use(w->watcher, *out);
    if (w->rag) index_begin(w->rag, *out);
    return OK;
}

/* For the other runners: the same, without putting anything in order. */
static enum err open_accounts(void *ctx, struct store **out, struct error *error)
{
    struct work *w = ctx;
    struct auth *auth;
    return accounts_open(w->accounts, out, &auth, error);
}

static enum err may_store(void *ctx, struct store *s, const char *user_id, int64_t more,
                          struct error *error)
{
    struct work *w = ctx;
    struct store_file_totals there;
    struct quota *quota = accounts_quota(w->accounts);
    if (!quota || !*user_id) return OK; /* nobody's, where nobody is asked */
    enum err e = store_file_usage(s, user_id, &there, error);
    return e ? e : quota_storage(quota, user_id, there.bytes, more, error);
}

void work_use_rag(struct work *w, struct rag *rag)
{
    w->rag = rag;
    index_register(rag, w->jobs, w->files);
}

/* Somebody else has added or cancelled something. */
static void woken(void *ctx)
{
    struct work *w = ctx;
    struct jobs *runners[] = {w->jobs, w->background, w->batches};
    for (size_t i = 0; i < sizeof runners / sizeof *runners; i++) {
        jobs_wake(runners[i]);
        jobs_recheck(runners[i]);
    }
}

enum err work_new(const struct config *config, struct accounts *accounts, struct work **out,
                  struct error *error)
{
    char dir[FS_PATH_MAX];
    enum err e = files_dir_of(config, dir, sizeof dir, error);
    if (e) return e;
    struct work *w = xcalloc(1, sizeof *w);
    struct files_params files = {.dir = dir,
                                 .max_bytes = config_int(config, CONFIG_MAX_FILESIZE_MB) << 20,
                                 .collection = config_str(config, CONFIG_COLLECTION_NAME),
                                 .may_store = may_store,
                                 .ctx = w};
    struct jobs_params jobs = {.open = open_database,
                               .ctx = w,
                               .threads = (int32_t)config_int(config, CONFIG_JOB_THREADS)};
    w->config = config;
    w->accounts = accounts;
    w->files = files_new(&files);
    w->jobs = jobs_new(&jobs);
    jobs.open = open_accounts;
    jobs.threads = (int32_t)config_int(config, CONFIG_BACKGROUND_THREADS);
    w->background = jobs_new(&jobs);
    jobs.threads = BATCHES_AT_ONCE;
    w->batches = jobs_new(&jobs);
    files_set_jobs(w->files, w->jobs);
    struct watcher_params watcher = {.files = w->files,
                                     .folders = config_str(config, CONFIG_WATCH),
                                     .woken = woken,
                                     .daily = sweep_kept,
                                     .ctx = w};
    w->watcher = watcher_new(&watcher);
    *out = w;
    return OK;
}

struct files *work_files(struct work *w)
{
    return w->files;
}

struct jobs *work_jobs(struct work *w)
{
    return w->jobs;
}

struct jobs *work_background(struct work *w)
{
    return w->background;
}

struct jobs *work_batches(struct work *w)
{
    return w->batches;
}

/* Whether somebody may have left work there. */
static bool database_exists(const struct config *config)
{
    char url[FS_PATH_MAX];
    if (accounts_url(config, url, sizeof url, NULL)) return false;
    return strstr(url, "://") || fs_exists(url);
}

enum err work_start(struct work *w, struct error *error)
{
    enum err e = watcher_start(w->watcher, error);
    bool look = database_exists(w->config);
    if (!e) e = jobs_start(w->jobs, look, error);
    if (!e) e = jobs_start(w->background, look, error);
    return e ? e : jobs_start(w->batches, look, error);
}

void work_stop(struct work *w)
{
    if (!w) return;
    jobs_stop(w->jobs);
    jobs_stop(w->background);
    jobs_stop(w->batches);
    watcher_stop(w->watcher);
}

void work_free(struct work *w)
{
    if (!w) return;
    work_stop(w);
    watcher_free(w->watcher);
    jobs_free(w->jobs);
    jobs_free(w->background);
    jobs_free(w->batches);
    files_free(w->files);
    free(w);
}
