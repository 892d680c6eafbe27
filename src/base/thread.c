/* Threads and the pool of workers.
 *
 * The pool's queue is a ring of max_queued jobs, taken in order; one lock, held only to copy a job.
 * States of a pool: running -> stopping (pool_free) -> freed, when the queue is empty and every
 * worker has ended. */
#include "base/thread.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/fault.h"
#include "base/mem.h"
#include "base/str.h"

struct start {
    void *(*fn)(void *);
    void *arg;
    char name[16]; /* the kernel's limit */
};

static void *thread_main(void *p)
{
    struct start s = *(struct start *)p;
    free(p);
    pthread_setname_np(pthread_self(), s.name);
    return s.fn(s.arg);
}

enum err thread_start(pthread_t *out, const char *name, void *(*fn)(void *), void *arg,
                      struct error *error)
{
    struct start *s = xmalloc(sizeof *s);
    s->fn = fn;
    s->arg = arg;
    str_copy(s->name, sizeof s->name, name);
    /* A thread inherits the mask, so signals are blocked from its first instruction. */
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = fault_hit(FAULT_thread) ? EAGAIN : pthread_create(out, NULL, thread_main, s);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc == 0) return OK;
    free(s);
    char text[128];
    return err_set(error, ERR_NOMEM, "can't start the thread '%s': %s", name,
                   strerror_r(rc, text, sizeof text));
}

void thread_join(pthread_t t)
{
    int rc = pthread_join(t, NULL);
    ht_assert(rc == 0);
}

/* ---- condition variables ------------------------------------------------------------------- */

void cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

bool cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t at_ns)
{
    if (at_ns == INT64_MAX) return pthread_cond_wait(cond, lock) == 0;
    struct timespec at = {.tv_sec = (time_t)(at_ns / 1000000000),
                          .tv_nsec = (long)(at_ns % 1000000000)};
    return pthread_cond_timedwait(cond, lock, &at) == 0;
}

/* ---- pool ---------------------------------------------------------------------------------- */

struct job {
    pool_fn fn;
    void *arg;
};

struct pool {
    pthread_mutex_t lock; /* guards all below but threads */
    pthread_cond_t work;
    bool stopping;
    size_t head, count, max;
    struct job *ring;
    size_t n_threads; /* written before and after the workers' lives only */
    pthread_t threads[];
};

static void *worker(void *arg)
{
    struct pool *p = arg;
    pthread_mutex_lock(&p->lock);
    for (;;) {
        while (p->count == 0 && !p->stopping) pthread_cond_wait(&p->work, &p->lock);
        if (p->count == 0) break;
        struct job job = p->ring[p->head];
        p->head = (p->head + 1) % p->max;
        p->count--;
        pthread_mutex_unlock(&p->lock);
        job.fn(job.arg);
        pthread_mutex_lock(&p->lock);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

enum err pool_new(const char *name, int n_threads, size_t max_queued, struct pool **out,
                  struct error *error)
{
    ht_assert(n_threads > 0 && max_queued > 0);
    struct pool *p = xcalloc(1, sizeof *p + (size_t)n_threads * sizeof *p->threads);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->work, NULL);
    p->max = max_queued;
    enum err err = OK;
    p->ring = try_calloc(max_queued, sizeof *p->ring);
    if (!p->ring) err = err_set(error, ERR_NOMEM, "no memory for a queue of %zu jobs", max_queued);
    for (int i = 0; i < n_threads && !err; i++) {
        char numbered[16];
        str_printf(numbered, sizeof numbered, "%.11s-%d", name, i);
        err = thread_start(&p->threads[i], numbered, worker, p, error);
        if (!err) p->n_threads++;
    }
    if (err) {
        pool_free(p);
        return err;
    }
    *out = p;
    return OK;
}

enum err pool_submit(struct pool *p, pool_fn fn, void *arg)
{
    enum err err = OK;
    pthread_mutex_lock(&p->lock);
    if (p->stopping) {
        err = ERR_STOPPING;
    } else if (p->count == p->max) {
        err = ERR_BUSY;
    } else {
        p->ring[(p->head + p->count) % p->max] = (struct job){fn, arg};
        p->count++;
        pthread_cond_signal(&p->work);
    }
    pthread_mutex_unlock(&p->lock);
    return err;
}

size_t pool_queued(struct pool *p)
{
    pthread_mutex_lock(&p->lock);
    size_t n = p->count;
    pthread_mutex_unlock(&p->lock);
    return n;
}

void pool_free(struct pool *p)
{
    if (!p) return;
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    pthread_cond_broadcast(&p->work);
    pthread_mutex_unlock(&p->lock);
    for (size_t i = 0; i < p->n_threads; i++) thread_join(p->threads[i]);
    pthread_cond_destroy(&p->work);
    pthread_mutex_destroy(&p->lock);
    free(p->ring);
    free(p);
}
