/* The throttle; see throttle.h. */
#include "auth/throttle.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"

enum { WHO_MAX = 192 };

struct entry {
    struct list_node node; /* least lately failed first */
    char who[WHO_MAX];
    int32_t failures;
    int64_t failed_ms; /* the last time */
};

struct throttle {
    pthread_mutex_t lock;
    struct map *by_name;
    struct list_node entries;
    size_t max;
};

struct throttle *throttle_new(size_t max_entries)
{
    struct throttle *t = xcalloc(1, sizeof *t);
    pthread_mutex_init(&t->lock, NULL);
    t->by_name = map_new();
    t->max = max_entries;
    list_init(&t->entries);
    return t;
}

void throttle_free(struct throttle *t)
{
    struct list_node *n;
    if (!t) return;
    while ((n = list_pop_front(&t->entries))) free(container_of(n, struct entry, node));
    map_free(t->by_name);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

static void drop(struct throttle *t, struct entry *e)
{
    map_del(t->by_name, e->who);
    list_remove(&e->node);
    free(e);
}

/* One failure is forgotten each THROTTLE_FADE_MS. */
static int32_t failures_now(const struct entry *e, int64_t now_ms)
{
    int64_t faded = (now_ms - e->failed_ms) / THROTTLE_FADE_MS;
    return faded >= e->failures ? 0 : e->failures - (int32_t)faded;
}

/* 1 s after the free tries, then twice as long each time. */
static int64_t penalty_ms(int32_t failures)
{
    int32_t over = failures - THROTTLE_FREE;
    if (over < 0) return 0;
    int64_t ms = over < 20 ? INT64_C(1000) << over : THROTTLE_WAIT_MAX_MS;
    return ms < THROTTLE_WAIT_MAX_MS ? ms : THROTTLE_WAIT_MAX_MS;
}

int64_t throttle_wait_ms(struct throttle *t, const char *who, int64_t now_ms)
{
    int64_t wait = 0;
    pthread_mutex_lock(&t->lock);
    const struct entry *e = map_get(t->by_name, who);
    if (e) wait = e->failed_ms + penalty_ms(failures_now(e, now_ms)) - now_ms;
    pthread_mutex_unlock(&t->lock);
    return wait > 0 ? wait : 0;
}

static struct entry *make_entry(struct throttle *t, const char *who)
{
    if (map_count(t->by_name) >= t->max) drop(t, container_of(t->entries.next, struct entry, node));
    struct entry *e = xcalloc(1, sizeof *e);
    str_copy(e->who, sizeof e->who, who);
    map_put(t->by_name, e->who, e);
    list_push_back(&t->entries, &e->node);
    return e;
}

void throttle_failed(struct throttle *t, const char *who, int64_t now_ms)
{
    char name[WHO_MAX];
    str_copy(name, sizeof name, who);
    pthread_mutex_lock(&t->lock);
    struct entry *e = map_get(t->by_name, name);
    if (!e) e = make_entry(t, name);
    e->failures = failures_now(e, now_ms) + 1;
    e->failed_ms = now_ms;
    list_remove(&e->node);
    list_push_back(&t->entries, &e->node);
    pthread_mutex_unlock(&t->lock);
}

void throttle_succeeded(struct throttle *t, const char *who)
{
    pthread_mutex_lock(&t->lock);
    struct entry *e = map_get(t->by_name, who);
    if (e) drop(t, e);
    pthread_mutex_unlock(&t->lock);
}
