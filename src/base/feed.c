/* Texts that grow and are followed; see feed.h. */
#include "base/feed.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"

struct feed {
    struct list_node node; /* in feeds.all */
    struct feeds *feeds;
    char *name;
    struct buf text;
    bool written;  /* somebody has it open */
    bool too_long; /* the text is gone */
    struct list_node followers;
};

struct feeds {
    size_t max_bytes;
    pthread_mutex_t lock; /* of all below */
    struct list_node all;
};

struct feeds *feeds_new(size_t max_bytes)
{
    struct feeds *f = xcalloc(1, sizeof *f);
    f->max_bytes = max_bytes;
    list_init(&f->all);
    pthread_mutex_init(&f->lock, NULL);
    return f;
}

/* The lock is held, here and below. */
static struct feed *find(struct feeds *f, const char *name)
{
    list_each (node, &f->all) {
        struct feed *feed = container_of(node, struct feed, node);
        if (str_eq(feed->name, name)) return feed;
    }
    struct feed *feed = xcalloc(1, sizeof *feed);
    feed->feeds = f;
    feed->name = xstrdup(name);
    buf_init(&feed->text, f->max_bytes);
    list_init(&feed->followers);
    list_push_back(&f->all, &feed->node);
    return feed;
}

static void drop_unused(struct feed *feed)
{
    if (feed->written || !list_empty(&feed->followers)) return;
    list_remove(&feed->node);
    buf_free(&feed->text);
    free(feed->name);
    free(feed);
}

/* Takes its followers out, for end_followers. */
static void take_followers(struct feed *feed, struct list_node *out)
{
    list_init(out);
    for (struct list_node *node; (node = list_pop_front(&feed->followers));) {
        container_of(node, struct follower, node)->feed = NULL;
        list_push_back(out, node);
    }
}

/* Without the lock. */
static void end_followers(struct list_node *taken)
{
    for (struct list_node *node; (node = list_pop_front(taken));) {
        struct follower *follower = container_of(node, struct follower, node);
        follower->fn(follower->ctx, NULL, 0);
    }
}

void feeds_free(struct feeds *f)
{
    if (!f) return;
    while (!list_empty(&f->all)) {
        struct list_node followers;
        struct feed *feed = container_of(f->all.next, struct feed, node);
        take_followers(feed, &followers);
        feed->written = false;
        drop_unused(feed);
        end_followers(&followers);
    }
    pthread_mutex_destroy(&f->lock);
    free(f);
}

/* ---- writing --------------------------------------------------------------------------------- */

struct feed *feed_open(struct feeds *f, const char *name)
{
    pthread_mutex_lock(&f->lock);
    struct feed *feed = find(f, name);
    bool taken = feed->written;
    feed->written = true;
    pthread_mutex_unlock(&f->lock);
    return taken ? NULL : feed;
}

enum err feed_write(struct feed *feed, const void *data, size_t len)
{
    struct feeds *f = feed->feeds;
    pthread_mutex_lock(&f->lock);
    if (!feed->too_long && buf_append(&feed->text, data, len)) {
        feed->too_long = true;
        buf_free(&feed->text);
    }
    bool too_long = feed->too_long;
    list_each (node, &feed->followers) {
        struct follower *follower = container_of(node, struct follower, node);
        follower->fn(follower->ctx, data, len);
    }
    pthread_mutex_unlock(&f->lock);
    return too_long ? ERR_TOO_LARGE : OK;
}

const char *feed_text(const struct feed *feed, size_t *len)
{
    *len = feed->text.len;
    return feed->too_long ? NULL : buf_str(&feed->text);
}

void feed_end(struct feed *feed)
{
    struct feeds *f = feed->feeds;
    struct list_node followers;
    pthread_mutex_lock(&f->lock);
    take_followers(feed, &followers);
    feed->written = false;
    drop_unused(feed);
    pthread_mutex_unlock(&f->lock);
    end_followers(&followers);
}

bool feed_is_written(struct feeds *f, const char *name)
{
    pthread_mutex_lock(&f->lock);
    struct feed *feed = find(f, name);
    bool written = feed->written;
    drop_unused(feed);
    pthread_mutex_unlock(&f->lock);
    return written;
}

void feed_abandon(struct feeds *f, const char *name)
{
    struct list_node followers;
    list_init(&followers);
    pthread_mutex_lock(&f->lock);
    struct feed *feed = find(f, name);
    if (!feed->written) take_followers(feed, &followers);
    drop_unused(feed);
    pthread_mutex_unlock(&f->lock);
    end_followers(&followers);
}

/* ---- following ------------------------------------------------------------------------------- */

bool feed_follow(struct feeds *f, const char *name, struct follower *follower, feed_fn fn,
                 void *ctx)
{
    pthread_mutex_lock(&f->lock);
    struct feed *feed = find(f, name);
    bool whole = !feed->too_long;
    *follower = (struct follower){.feed = whole ? feed : NULL, .fn = fn, .ctx = ctx};
    if (whole) list_push_back(&feed->followers, &follower->node);
    if (feed->text.len) fn(ctx, feed->text.data, feed->text.len);
    pthread_mutex_unlock(&f->lock);
    return whole;
}

bool feed_unfollow(struct feeds *f, struct follower *follower)
{
    pthread_mutex_lock(&f->lock);
    struct feed *feed = follower->feed;
    if (feed) {
        list_remove(&follower->node);
        follower->feed = NULL;
        drop_unused(feed);
    }
    pthread_mutex_unlock(&f->lock);
    return feed != NULL;
}
