/* An answer in memory; see gather.h. */
#include "api/gather.h"

#include "base/clock.h"
#include "base/list.h"
#include "base/thread.h"

static struct gather *self(struct sink *s)
{
    return container_of(s, struct gather, sink);
}

/* The lock is held. Too much for the one who gathers: it goes, as a client would. */
static enum err keep(struct gather *g, const void *data, size_t len)
{
    if (buf_append(&g->body, data, len) == OK) return OK;
    g->over = g->closed = true;
    close_hook_run(&g->hook, &g->lock);
    return ERR_CLOSED;
}

static enum err respond(struct sink *s, int status, const char *type,
                        const struct sink_header *headers, size_t n, const void *body, size_t len)
{
    struct gather *g = self(s);
    enum err e = ERR_CLOSED;
    (void)type, (void)headers, (void)n;
    pthread_mutex_lock(&g->lock);
    if (!g->over && !g->streaming) {
        e = keep(g, body, len);
        if (!e) g->status = status;
        g->over = true;
    }
    pthread_mutex_unlock(&g->lock);
    return e;
}

static enum err begin(struct sink *s, int status, const char *type,
                      const struct sink_header *headers, size_t n)
{
    struct gather *g = self(s);
    (void)type, (void)headers, (void)n;
    pthread_mutex_lock(&g->lock);
    bool open = !g->over && !g->streaming;
    if (open) g->streaming = true;
    if (open) g->status = status;
    pthread_mutex_unlock(&g->lock);
    return open ? OK : ERR_CLOSED;
}

static enum err write_piece(struct sink *s, const void *data, size_t len)
{
    struct gather *g = self(s);
    enum err e = ERR_CLOSED;
    pthread_mutex_lock(&g->lock);
    bool open = g->streaming && !g->over;
    if (open && !g->piece) e = keep(g, data, len);
    pthread_mutex_unlock(&g->lock);
    if (!open || !g->piece) return e;
    g->piece(g->ctx, data, len); /* one writer at a time, as everywhere */
    return OK;
}

static void end(struct sink *s)
{
    struct gather *g = self(s);
    pthread_mutex_lock(&g->lock);
    g->over = true;
    pthread_mutex_unlock(&g->lock);
}

static void on_close(struct sink *s, sink_close_fn fn, void *ctx)
{
    struct gather *g = self(s);
    pthread_mutex_lock(&g->lock);
    close_hook_set(&g->hook, &g->lock, fn, ctx);
    if (g->closed) close_hook_run(&g->hook, &g->lock);
    pthread_mutex_unlock(&g->lock);
}

static void ref(struct sink *s)
{
    struct gather *g = self(s);
    pthread_mutex_lock(&g->lock);
    ht_assert(g->refs > 0);
    g->refs++;
    pthread_mutex_unlock(&g->lock);
}

static void unref(struct sink *s)
{
    struct gather *g = self(s);
    pthread_mutex_lock(&g->lock);
    ht_assert(g->refs > 0);
    bool last = --g->refs == 0;
    void (*released)(void *) = g->released;
    void *ctx = g->ctx;
    if (last) pthread_cond_broadcast(&g->changed);
    pthread_mutex_unlock(&g->lock);
    if (last && released) released(ctx);
}

static const struct sink_ops ops = {.respond = respond,
                                    .begin = begin,
                                    .write = write_piece,
                                    .end = end,
                                    .on_close = on_close,
                                    .ref = ref,
                                    .unref = unref};

void gather_init(struct gather *g, size_t max)
{
    *g = (struct gather){.sink = {&ops}};
    buf_init(&g->body, max);
    pthread_mutex_init(&g->lock, NULL);
    cond_init(&g->changed);
    close_hook_init(&g->hook);
}

struct sink *gather_sink(struct gather *g)
{
    ht_assert(g->refs == 0);
    g->refs = 1;
    return &g->sink;
}

void gather_close(struct gather *g)
{
    pthread_mutex_lock(&g->lock);
    if (!g->over) {
        g->over = g->closed = true;
        close_hook_run(&g->hook, &g->lock);
    }
    pthread_mutex_unlock(&g->lock);
}

bool gather_wait(struct gather *g, int64_t ms)
{
    int64_t until_ns = clock_mono_ns() + ms * 1000000;
    pthread_mutex_lock(&g->lock);
    while (g->refs > 0 && cond_wait_until(&g->changed, &g->lock, until_ns)) {
    }
    bool gone = g->refs == 0;
    pthread_mutex_unlock(&g->lock);
    return gone;
}

void gather_deinit(struct gather *g)
{
    ht_assert(g->refs == 0);
    buf_free(&g->body);
    close_hook_deinit(&g->hook);
    pthread_mutex_destroy(&g->lock);
    pthread_cond_destroy(&g->changed);
}
