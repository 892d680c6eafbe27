/* Threads: named pthreads, and a pool that runs handlers which may block. */
#ifndef HEARTH_BASE_THREAD_H
#define HEARTH_BASE_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Starts fn(arg) with the name (at most 15 bytes are shown) and all signals blocked. */
HT_MUST_CHECK enum err thread_start(pthread_t *out, const char *name, void *(*fn)(void *),
                                    void *arg, struct error *error);
void thread_join(pthread_t t);

/* A condition variable for cond_wait_until; one that is only waited for without a deadline needs
 * none of this. */
void cond_init(pthread_cond_t *cond);
/* Waits for a signal, which may also come for nothing, until at_ns of clock_mono_ns(), which
 * setting the machine's clock doesn't move; INT64_MAX: without a deadline. False: it has passed. */
bool cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t at_ns);

/* A fixed number of workers and a bounded queue of jobs. Any thread may submit. */
struct pool;
typedef void (*pool_fn)(void *arg);

HT_MUST_CHECK enum err pool_new(const char *name, int n_threads, size_t max_queued,
                                struct pool **out, struct error *error);
/* ERR_FULL is spelled ERR_BUSY: the queue is at its maximum; ERR_STOPPING after pool_free began. */
HT_MUST_CHECK enum err pool_submit(struct pool *p, pool_fn fn, void *arg);
size_t pool_queued(struct pool *p);
void pool_free(struct pool *p); /* refuses new jobs, runs those queued, joins */

#endif
