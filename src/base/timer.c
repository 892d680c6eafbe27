/* Timers: a binary heap by time under one lock, and a thread that sleeps until the first is due. It
 * is woken only when a new one is due before that; removing one wakes nobody. */
#include "base/timer.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/thread.h"

struct timers {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed, ran;
    struct timer **heap; /* from index 1 */
    size_t n, cap;
    struct timer *running;
    int64_t sleeps_until_ns;
    bool quit;
};

/* ---- the heap; the lock is held ------------------------------------------------------------ */

static void put(struct timers *t, size_t place, struct timer *timer)
{
    t->heap[place] = timer;
    timer->place = place;
}

static void sift_up(struct timers *t, size_t place)
{
    struct timer *timer = t->heap[place];
    for (; place > 1 && t->heap[place / 2]->at_ns > timer->at_ns; place /= 2)
        put(t, place, t->heap[place / 2]);
    put(t, place, timer);
}

static void sift_down(struct timers *t, size_t place)
{
    struct timer *timer = t->heap[place];
    for (size_t child; (child = 2 * place) <= t->n; place = child) {
        if (child < t->n && t->heap[child + 1]->at_ns < t->heap[child]->at_ns) child++;
        if (t->heap[child]->at_ns >= timer->at_ns) break;
        put(t, place, t->heap[child]);
    }
    put(t, place, timer);
}

static void heap_remove(struct timers *t, struct timer *timer)
{
    size_t place = timer->place;
    if (!place) return;
    timer->place = 0;
    struct timer *last = t->heap[t->n--];
    if (last == timer) return;
    put(t, place, last);
    sift_up(t, place);
    sift_down(t, last->place);
}

static void heap_add(struct timers *t, struct timer *timer)
{
    if (t->n + 2 > t->cap) {
        t->cap = t->cap ? 2 * t->cap : 64;
        struct timer **bigger = xmalloc(t->cap * sizeof *bigger); /* a pointer for each there is */
        if (t->n) memcpy(bigger, t->heap, (t->n + 1) * sizeof *bigger);
        free(t->heap);
        t->heap = bigger;
    }
    put(t, ++t->n, timer);
    sift_up(t, t->n);
}

/* ---- the thread ---------------------------------------------------------------------------- */

static void sleep_until(struct timers *t, int64_t at_ns)
{
    t->sleeps_until_ns = at_ns;
    (void)cond_wait_until(&t->changed, &t->lock, at_ns);
    t->sleeps_until_ns = 0;
}

static void run(struct timers *t, struct timer *timer)
{
    timer_fn fn = timer->fn;
    void *ctx = timer->ctx;
    heap_remove(t, timer);
    t->running = timer;
    pthread_mutex_unlock(&t->lock);
    fn(ctx); /* the timer's memory may be gone after it */
    pthread_mutex_lock(&t->lock);
    t->running = NULL;
    pthread_cond_broadcast(&t->ran);
}

static void *timers_main(void *arg)
{
    struct timers *t = arg;
    pthread_mutex_lock(&t->lock);
    while (!t->quit) {
        struct timer *first = t->n ? t->heap[1] : NULL;
        if (first && first->at_ns <= clock_mono_ns())
            run(t, first);
        else
            sleep_until(t, first ? first->at_ns : INT64_MAX);
    }
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

/* ---- the face ------------------------------------------------------------------------------ */

enum err timers_new(struct timers **out, struct error *error)
{
    struct timers *t = xcalloc(1, sizeof *t);
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->ran, NULL);
    cond_init(&t->changed);
    enum err err = thread_start(&t->thread, "clock", timers_main, t, error);
    if (err == OK) {
        *out = t;
        return OK;
    }
    t->quit = true;
    pthread_mutex_destroy(&t->lock);
    free(t);
    return err;
}

void timers_free(struct timers *t)
{
    if (!t) return;
    pthread_mutex_lock(&t->lock);
    t->quit = true;
    pthread_cond_signal(&t->changed);
    pthread_mutex_unlock(&t->lock);
    thread_join(t->thread);
    pthread_mutex_destroy(&t->lock);
    pthread_cond_destroy(&t->changed);
    pthread_cond_destroy(&t->ran);
    free(t->heap);
    free(t);
}

void timer_set(struct timers *t, struct timer *timer, int64_t delay_ms, timer_fn fn, void *ctx)
{
    int64_t at_ns = clock_mono_ns() + delay_ms * 1000000;
    pthread_mutex_lock(&t->lock);
    heap_remove(t, timer);
    timer->at_ns = at_ns;
    timer->fn = fn;
    timer->ctx = ctx;
    heap_add(t, timer);
    if (at_ns < t->sleeps_until_ns) pthread_cond_signal(&t->changed);
    pthread_mutex_unlock(&t->lock);
}

void timer_clear(struct timers *t, struct timer *timer)
{
    pthread_mutex_lock(&t->lock);
    heap_remove(t, timer);
    while (t->running == timer && !pthread_equal(t->thread, pthread_self()))
        pthread_cond_wait(&t->ran, &t->lock);
    pthread_mutex_unlock(&t->lock);
}
