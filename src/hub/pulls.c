/* See pulls.h. */
#include "hub/pulls.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"
#include "httpc/httpc.h"

struct pulls {
    const struct config *config;
    struct models *models;
    atomic_bool stopping;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    int running; /* lock */
};

struct download {
    struct pulls *pulls;
    char *spec;
    struct pulls_listener listener;
};

struct pulls *pulls_new(const struct config *config, struct models *models)
{
    struct pulls *p = xcalloc(1, sizeof *p);
    p->config = config;
    p->models = models;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->ended, NULL);
    return p;
}

static bool on_progress(void *ctx, const struct pull_progress *now)
{
    struct download *d = ctx;
    return !atomic_load(&d->pulls->stopping) && d->listener.on_progress(d->listener.ctx, now);
}

static enum err download(struct download *d, struct model_info *out, struct error *error)
{
    struct pulls *p = d->pulls;
    struct httpc *http;
    enum err err = httpc_new(&http, error);
    if (err) return err;
    struct pull_params params = {.spec = d->spec,
                                 .hf_endpoint = config_str(p->config, CONFIG_HF_ENDPOINT),
                                 .hf_token = config_str(p->config, CONFIG_HF_TOKEN),
                                 .on_progress = on_progress,
                                 .ctx = d};
    err = models_pull(p->models, http, &params, out, error);
    httpc_free(http);
    return err;
}

static void *run(void *arg)
{
    struct download *d = arg;
    struct pulls *p = d->pulls;
    struct error error;
    struct model_info *model = xcalloc(1, sizeof *model);
    enum err err = download(d, model, &error);
    if (err && err != ERR_CANCELLED) log_warn(models, "pulling %s: %s", d->spec, error.msg);
    d->listener.on_done(d->listener.ctx, err ? &error : NULL, model);
    free(model);
    free(d->spec);
    free(d);
    pthread_mutex_lock(&p->lock);
    p->running--;
    pthread_cond_broadcast(&p->ended);
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

static enum err enter(struct pulls *p, struct error *error)
{
    enum err err = OK;
    pthread_mutex_lock(&p->lock);
    if (atomic_load(&p->stopping))
        err = err_set(error, ERR_STOPPING, "the hub is shutting down");
    else if (p->running >= PULLS_MAX)
        err = err_set(error, ERR_BUSY, "%d downloads are under way already; try again later",
                      (int)PULLS_MAX);
    else
        p->running++;
    pthread_mutex_unlock(&p->lock);
    return err;
}

enum err pulls_start(struct pulls *p, const char *spec, const struct pulls_listener *listener,
                     struct error *error)
{
    pthread_t thread;
    enum err err = enter(p, error);
    if (err) return err;
    struct download *d = xcalloc(1, sizeof *d);
    *d = (struct download){.pulls = p, .spec = xstrdup(spec), .listener = *listener};
    err = thread_start(&thread, "pull", run, d, error);
    if (!err) {
        pthread_detach(thread); /* `running` counts it */
        return OK;
    }
    free(d->spec);
    free(d);
    pthread_mutex_lock(&p->lock);
    p->running--;
    pthread_mutex_unlock(&p->lock);
    return err;
}

void pulls_stop(struct pulls *p)
{
    if (!p) return;
    atomic_store(&p->stopping, true);
    pthread_mutex_lock(&p->lock);
    while (p->running) pthread_cond_wait(&p->ended, &p->lock);
    pthread_mutex_unlock(&p->lock);
}

void pulls_free(struct pulls *p)
{
    if (!p) return;
    pulls_stop(p);
    pthread_cond_destroy(&p->ended);
    pthread_mutex_destroy(&p->lock);
    free(p);
}
