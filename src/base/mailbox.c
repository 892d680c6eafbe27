/* Mailbox: a lock-free stack that the receiver takes whole and turns round.
 *
 * Design: senders push with one compare-and-swap; nobody pops single nodes, so there is no ABA
 * problem. The lock and the condition are touched only around sleeping: a send costs no system
 * call while the receiver is awake.
 *
 * Why no wake-up is lost: the receiver announces `sleeping` and then looks at the stack again; a
 * sender pushes and then looks at `sleeping`. Both orders are sequentially consistent, so at least
 * one of them sees the other; the sender that sees `sleeping` takes the lock, which the receiver
 * gives up only inside the wait.
 *
 * Rejected: eventfd (a system call per sleep and per wake even when nobody polls it), a mutex
 * around a list (the engine thread would contend with every sender). */
#include "base/mailbox.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/thread.h"

struct mailbox {
    _Atomic(struct mail *) top; /* newest first */
    atomic_bool sleeping;       /* the receiver waits, or is about to */
    atomic_bool woken;          /* mailbox_wake since the last receive */
    pthread_mutex_t lock;
    pthread_cond_t arrived;
};

struct mailbox *mailbox_new(void)
{
    struct mailbox *mb = xcalloc(1, sizeof *mb);
    pthread_mutex_init(&mb->lock, NULL);
    cond_init(&mb->arrived);
    return mb;
}

void mailbox_free(struct mailbox *mb)
{
    if (!mb) return;
    ht_assert(!atomic_load(&mb->top));
    pthread_cond_destroy(&mb->arrived);
    pthread_mutex_destroy(&mb->lock);
    free(mb);
}

static void rouse(struct mailbox *mb)
{
    if (!atomic_load(&mb->sleeping)) return;
    pthread_mutex_lock(&mb->lock);
    pthread_cond_signal(&mb->arrived);
    pthread_mutex_unlock(&mb->lock);
}

void mailbox_send(struct mailbox *mb, struct mail *m)
{
    struct mail *top = atomic_load_explicit(&mb->top, memory_order_relaxed);
    do {
        m->next = top;
    } while (!atomic_compare_exchange_weak(&mb->top, &top, m));
    rouse(mb);
}

void mailbox_wake(struct mailbox *mb)
{
    atomic_store(&mb->woken, true);
    rouse(mb);
}

static struct mail *take_all(struct mailbox *mb)
{
    struct mail *m = atomic_exchange(&mb->top, NULL), *first = NULL;
    while (m) {
        struct mail *next = m->next;
        m->next = first;
        first = m;
        m = next;
    }
    return first;
}

static void wait_until(struct mailbox *mb, int64_t deadline_ns)
{
    pthread_mutex_lock(&mb->lock);
    atomic_store(&mb->sleeping, true);
    while (!atomic_load(&mb->top) && !atomic_load(&mb->woken) &&
           cond_wait_until(&mb->arrived, &mb->lock, deadline_ns)) {
    }
    atomic_store(&mb->sleeping, false);
    pthread_mutex_unlock(&mb->lock);
}

struct mail *mailbox_receive(struct mailbox *mb, int64_t timeout_ms)
{
    struct mail *m = take_all(mb);
    if (!m && timeout_ms != 0) {
        int64_t deadline_ns = INT64_MAX;
        if (timeout_ms > 0 && timeout_ms < INT64_MAX / 2000000)
            deadline_ns = clock_mono_ns() + timeout_ms * 1000000;
        wait_until(mb, deadline_ns);
        m = take_all(mb);
    }
    atomic_store(&mb->woken, false);
    return m;
}
