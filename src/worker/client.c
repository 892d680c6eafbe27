/* The face of the worker's client: what callers' threads do. */
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/thread.h"
#include "worker/client_int.h"

static struct client *client_of(struct provider *p)
{
    return container_of(p, struct client, base);
}

static void wake_up(struct client *c)
{
    uint64_t one = 1;
    ssize_t n = write(c->wake_fd, &one, sizeof one);
    (void)n; /* full: it is awake */
}

/* ---- taking -------------------------------------------------------------------------------- */

/* Takes the task, also when it fails. In state UP it is sent from here. */
static enum err take(struct client *c, struct task *t, uint64_t *id, struct error *error)
{
    enum err e = OK;
    bool wake = false;
    list_init(&t->in_cancels);
    pthread_mutex_lock(&c->lock);
    if (c->stopping) {
        e = err_set(error, ERR_STOPPING, "the hub is shutting down");
    } else {
        *id = ++c->next_id;
        idmap_put(&c->tasks, &t->by_id, *id);
        if (c->state == CLIENT_UP) {
            e = task_send(c, t, error);
            /* A socket that is broken or full is the worker thread's business. */
            wake = !e && (channel_flush(&c->channel) || channel_waits(&c->channel));
        } else {
            wake = true;
        }
        if (e) idmap_del(&c->tasks, *id);
    }
    pthread_mutex_unlock(&c->lock);
    if (wake) wake_up(c);
    if (!e) return OK;
    *id = 0;
    task_free(t);
    return e;
}

/* Drawn here, so that a request that has to go on in another worker draws the same numbers. */
static uint32_t random_seed(void)
{
    uint32_t seed = 0;
    if (getrandom(&seed, sizeof seed, 0) != sizeof seed) seed = (uint32_t)clock_mono_ns();
    return seed == SEED_RANDOM ? 0 : seed;
}

static enum err client_generate(struct provider *p, struct gen_request *req, gen_listener_fn fn,
                                void *ctx, uint64_t *id, struct error *error)
{
    struct task *t = xcalloc(1, sizeof *t);
    *t = (struct task){.kind = TASK_GENERATE, .gen = req, .gen_fn = fn, .ctx = ctx};
    told_init(&t->told, req);
    req->want_tokens = true;
    req->can_pause = !req->sampling.logprobs; /* told_again */
    if (req->sampling.seed == SEED_RANDOM) req->sampling.seed = random_seed();
    return take(client_of(p), t, id, error);
}

static enum err client_embed(struct provider *p, struct embed_request *req, embed_listener_fn fn,
                             void *ctx, uint64_t *id, struct error *error)
{
    struct task *t = xcalloc(1, sizeof *t);
    *t = (struct task){.kind = TASK_EMBED, .embed = req, .embed_fn = fn, .ctx = ctx};
    return take(client_of(p), t, id, error);
}

static enum err client_control(struct provider *p, enum control what, const char *args,
                               control_fn fn, void *ctx, struct error *error)
{
    uint64_t id;
    struct task *t = xcalloc(1, sizeof *t);
    *t = (struct task){.kind = TASK_CONTROL, .what = what, .control_fn = fn, .ctx = ctx};
    t->args = xstrdup(args);
    return take(client_of(p), t, &id, error);
}

/* ---- cancelling ---------------------------------------------------------------------------- */

/* The lock is held. The listener hears of it at once, from the worker thread. */
static void cancel(struct client *c, struct task *t, enum err code)
{
    if (t->cancelled) return;
    t->cancelled = code;
    list_push_back(&c->cancels, &t->in_cancels);
    if (c->state != CLIENT_UP || !t->sent) return;
    size_t begin = frame_begin(&c->channel.out, FRAME_CANCEL, t->by_id.id);
    if (frame_end(&c->channel.out, begin) == OK) (void)!channel_flush(&c->channel);
}

static void client_cancel(struct provider *p, uint64_t id)
{
    struct client *c = client_of(p);
    pthread_mutex_lock(&c->lock);
    struct idnode *n = idmap_get(&c->tasks, id);
    if (n) cancel(c, container_of(n, struct task, by_id), ERR_CANCELLED);
    pthread_mutex_unlock(&c->lock);
    if (n) wake_up(c);
}

/* ---- opening and closing ------------------------------------------------------------------- */

void worker_stop(struct provider *p, int64_t grace_ms)
{
    struct client *c = client_of(p);
    int64_t until_ns = clock_mono_ns() + (grace_ms > 0 ? grace_ms : 0) * 1000000;
    pthread_mutex_lock(&c->lock);
    c->stopping = true;
    while (c->tasks.count && cond_wait_until(&c->all_gone, &c->lock, until_ns)) {
    }
    for (size_t i = 0; i < c->tasks.n_buckets; i++)
        for (struct idnode *n = c->tasks.buckets[i]; n; n = n->next)
            cancel(c, container_of(n, struct task, by_id), ERR_STOPPING);
    wake_up(c);
    while (c->tasks.count) pthread_cond_wait(&c->all_gone, &c->lock);
    pthread_mutex_unlock(&c->lock);
}

static void client_free(struct client *c)
{
    channel_free(&c->channel);
    frame_reader_free(c->reader);
    idmap_free(&c->tasks);
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->all_gone);
    if (c->wake_fd >= 0) close(c->wake_fd);
    wishes_free(c);
    free(c);
}

static void client_close(struct provider *p, int64_t grace_ms)
{
    struct client *c = client_of(p);
    worker_stop(p, grace_ms);
    pthread_mutex_lock(&c->lock);
    c->quit = true;
    pthread_mutex_unlock(&c->lock);
    wake_up(c);
    thread_join(c->thread);
    client_free(c);
}

static const struct provider_ops client_ops = {
    .name = "local",
    .caps = PROVIDER_GENERATE | PROVIDER_EMBED | PROVIDER_TOOLS | PROVIDER_RERANK,
    .generate = client_generate,
    .cancel = client_cancel,
    .embed = client_embed,
    .control = client_control,
    .close = client_close,
};

enum err worker_open(const struct worker_params *params, struct provider **out, struct error *error)
{
    struct client *c = xcalloc(1, sizeof *c);
    c->base.ops = &client_ops;
    c->params = *params;
    c->preload = params->preload;
    c->suspects.window_ms = params->quarantine_ms;
    channel_init(&c->channel, CLIENT_OUT_MAX);
    idmap_init(&c->tasks);
    list_init(&c->cancels);
    pthread_mutex_init(&c->lock, NULL);
    cond_init(&c->all_gone);
    c->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    enum err e = OK;
    if (c->wake_fd < 0) e = err_set(error, ERR_NOMEM, "no descriptor for the model worker");
    if (!e) e = thread_start(&c->thread, "worker", client_main, c, error);
    if (e) {
        client_free(c);
        return e;
    }
    *out = &c->base;
    return OK;
}
