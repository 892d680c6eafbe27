/* Snapshot: see snapshot.h. The text lies in a block of its own with a count of references, so that
 * it is copied under no lock and may be replaced while it is being sent. */
#include "hub/snapshot.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

struct text {
    atomic_int refs;
    size_t len;
    char data[];
};

static const struct error slow_error = {.code = ERR_TIMEOUT,
                                        .msg = "the answer takes too long; try again later"};

struct waiter {
    struct waiter *next;
    snapshot_fn fn;
    void *ctx;
};

struct snapshot {
    struct timers *timers;
    struct timer timer; /* set while one is being made */
    int64_t max_age_ms, patience_ms;
    pthread_mutex_t lock;
    snapshot_make_fn make; /* of the one that is being made */
    void *make_ctx;
    struct text *text; /* NULL until the first one */
    int64_t made_ms;   /* when it began to be made */
    bool making, expired;
    int64_t making_since_ms;
    struct waiter *waiters, **waiters_end;
};

struct snapshot *snapshot_new(struct timers *timers, int64_t max_age_ms, int64_t patience_ms)
{
    struct snapshot *s = xcalloc(1, sizeof *s);
    s->timers = timers;
    s->max_age_ms = max_age_ms;
    s->patience_ms = patience_ms;
    pthread_mutex_init(&s->lock, NULL);
    s->waiters_end = &s->waiters;
    return s;
}

static void text_unref(struct text *t)
{
    if (t && atomic_fetch_sub(&t->refs, 1) == 1) free(t);
}

static struct text *text_ref(struct text *t)
{
    atomic_fetch_add(&t->refs, 1);
    return t;
}

void snapshot_free(struct snapshot *s)
{
    if (!s) return;
    timer_clear(s->timers, &s->timer);
    ht_assert(!s->making && !s->waiters);
    text_unref(s->text);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static void answer(struct waiter *w, const struct error *error, const struct text *text)
{
    for (struct waiter *next; w; w = next) {
        next = w->next;
        w->fn(w->ctx, error, text ? text->data : NULL, text ? text->len : 0);
        free(w);
    }
}

/* Under the lock. */
static struct waiter *take_waiters(struct snapshot *s)
{
    struct waiter *w = s->waiters;
    s->waiters = NULL;
    s->waiters_end = &s->waiters;
    return w;
}

static void add_waiter(struct snapshot *s, snapshot_fn fn, void *ctx)
{
    struct waiter *w = xmalloc(sizeof *w);
    *w = (struct waiter){NULL, fn, ctx};
    *s->waiters_end = w;
    s->waiters_end = &w->next;
}

static void out_of_patience(void *ctx)
{
    struct snapshot *s = ctx;
    pthread_mutex_lock(&s->lock);
    struct waiter *waiters = s->making ? take_waiters(s) : NULL;
    struct text *text = s->text ? text_ref(s->text) : NULL;
    pthread_mutex_unlock(&s->lock);
    answer(waiters, text ? NULL : &slow_error, text);
    text_unref(text);
}

void snapshot_get(struct snapshot *s, snapshot_make_fn make, void *make_ctx, snapshot_fn fn,
                  void *ctx)
{
    int64_t now = clock_mono_ms();
    pthread_mutex_lock(&s->lock);
    bool fresh = s->text && !s->expired && now < s->made_ms + s->max_age_ms;
    bool slow = s->making && now >= s->making_since_ms + s->patience_ms;
    struct text *text = (fresh || slow) && s->text ? text_ref(s->text) : NULL;
    bool start = !fresh && !s->making;
    if (start) {
        s->making = true;
        s->expired = false;
        s->making_since_ms = now;
        s->make = make;
        s->make_ctx = make_ctx;
    }
    if (!fresh && !slow) add_waiter(s, fn, ctx);
    pthread_mutex_unlock(&s->lock);
    if (text)
        fn(ctx, NULL, text->data, text->len);
    else if (slow)
        fn(ctx, &slow_error, NULL, 0);
    text_unref(text);
    if (!start) return;
    timer_set(s->timers, &s->timer, s->patience_ms, out_of_patience, s);
    make(make_ctx, s);
}

void snapshot_expire(struct snapshot *s)
{
    pthread_mutex_lock(&s->lock);
    s->expired = true;
    pthread_mutex_unlock(&s->lock);
}

/* What changed while the text was made may be missing in it: those who wait get the next one. */
static bool make_again(struct snapshot *s, int64_t now)
{
    if (!s->expired || !s->waiters) return false;
    s->expired = false;
    s->making_since_ms = now;
    return true;
}

void snapshot_done(struct snapshot *s, const char *data, size_t len)
{
    struct text *text = try_malloc(sizeof *text + len + 1);
    if (!text) {
        struct error error;
        err_set(&error, ERR_NOMEM, "not enough memory for this answer; try again later");
        snapshot_failed(s, &error);
        return;
    }
    atomic_init(&text->refs, 2); /* the snapshot's and this call's */
    text->len = len;
    memcpy(text->data, data, len);
    text->data[len] = '\0';
    struct waiter *waiters = NULL;
    int64_t now = clock_mono_ms();
    pthread_mutex_lock(&s->lock);
    ht_assert(s->making);
    struct text *old = s->text;
    s->text = text;
    s->made_ms = s->making_since_ms;
    bool again = make_again(s, now);
    if (!again) {
        s->making = false;
        waiters = take_waiters(s);
    }
    pthread_mutex_unlock(&s->lock);
    answer(waiters, NULL, text);
    text_unref(old);
    text_unref(text);
    if (again) s->make(s->make_ctx, s);
}

void snapshot_failed(struct snapshot *s, const struct error *error)
{
    pthread_mutex_lock(&s->lock);
    ht_assert(s->making);
    s->making = false;
    struct waiter *waiters = take_waiters(s);
    pthread_mutex_unlock(&s->lock);
    answer(waiters, error, NULL);
}
