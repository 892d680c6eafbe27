/* A sink's close callback; see close_hook.h. */
#include "api/close_hook.h"

void close_hook_init(struct close_hook *h)
{
    *h = (struct close_hook){0};
    pthread_cond_init(&h->done, NULL);
}

void close_hook_deinit(struct close_hook *h)
{
    pthread_cond_destroy(&h->done);
}

void close_hook_set(struct close_hook *h, pthread_mutex_t *lock, sink_close_fn fn, void *ctx)
{
    while (h->runs && !pthread_equal(pthread_self(), h->thread)) pthread_cond_wait(&h->done, lock);
    h->fn = fn;
    h->ctx = ctx;
}

void close_hook_run(struct close_hook *h, pthread_mutex_t *lock)
{
    sink_close_fn fn = h->fn;
    bool inside = h->runs; /* a callback that has set another one, on this thread */
    if (!fn) return;
    h->fn = NULL;
    h->runs = true;
    h->thread = pthread_self();
    pthread_mutex_unlock(lock);
    fn(h->ctx);
    pthread_mutex_lock(lock);
    h->runs = inside;
    if (!inside) pthread_cond_broadcast(&h->done);
}
