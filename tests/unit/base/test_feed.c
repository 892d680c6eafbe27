/* Texts that grow and are followed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/feed.h"
#include "base/str.h"

struct reader {
    struct follower follower;
    char text[256];
    int ends;
};

static void on_feed(void *ctx, const void *data, size_t len)
{
    struct reader *r = ctx;
    if (!data) {
        r->ends++;
        return;
    }
    size_t at = strlen(r->text);
    assert_true(at + len < sizeof r->text);
    memcpy(r->text + at, data, len);
    r->text[at + len] = '\0';
}

static void followers_get_all_from_the_beginning(void **state)
{
    (void)state;
    struct feeds *feeds = feeds_new(100);
    struct reader early = {0}, late = {0}, other = {0};
    size_t len;
    assert_true(
        feed_follow(feeds, "a", &early.follower, on_feed, &early)); /* before it is written */
    assert_true(feed_follow(feeds, "b", &other.follower, on_feed, &other));
    assert_false(feed_is_written(feeds, "a"));
    struct feed *feed = feed_open(feeds, "a");
    assert_non_null(feed);
    assert_true(feed_is_written(feeds, "a"));
    assert_null(feed_open(feeds, "a"));
    assert_int_equal(feed_write(feed, "one ", 4), OK);
    assert_true(feed_follow(feeds, "a", &late.follower, on_feed, &late));
    assert_string_equal(late.text, "one ");
    assert_int_equal(feed_write(feed, "two", 3), OK);
    assert_string_equal(early.text, "one two");
    assert_string_equal(late.text, "one two");
    assert_string_equal(feed_text(feed, &len), "one two");
    assert_int_equal(len, 7);
    assert_true(feed_unfollow(feeds, &late.follower));
    assert_int_equal(feed_write(feed, "!", 1), OK);
    feed_end(feed);
    assert_string_equal(early.text, "one two!");
    assert_string_equal(late.text, "one two");
    assert_int_equal(early.ends, 1);
    assert_int_equal(late.ends, 0);
    assert_false(feed_unfollow(feeds, &early.follower)); /* its end has come */
    assert_string_equal(other.text, "");
    /* A feed of the same name is another one. */
    feed = feed_open(feeds, "a");
    feed_end(feed);
    assert_int_equal(early.ends, 1);
    feeds_free(feeds); /* ends the others */
    assert_int_equal(other.ends, 1);
}

/* Nobody takes its beginning for all of it: who follows gets the whole, who comes later hears that
 * it can't be had. */
static void a_feed_has_a_maximum(void **state)
{
    (void)state;
    struct feeds *feeds = feeds_new(8);
    struct reader r = {0}, late = {0};
    size_t len;
    struct feed *feed = feed_open(feeds, "a");
    assert_true(feed_follow(feeds, "a", &r.follower, on_feed, &r));
    assert_int_equal(feed_write(feed, "12345", 5), OK);
    assert_string_equal(feed_text(feed, &len), "12345");
    assert_int_equal(feed_write(feed, "67890", 5), ERR_TOO_LARGE);
    assert_int_equal(feed_write(feed, "x", 1), ERR_TOO_LARGE);
    assert_string_equal(r.text, "1234567890x");
    assert_null(feed_text(feed, &len));
    assert_int_equal(len, 0);
    assert_false(feed_follow(feeds, "a", &late.follower, on_feed, &late));
    assert_false(feed_unfollow(feeds, &late.follower));
    feed_end(feed);
    assert_int_equal(r.ends, 1);
    assert_int_equal(late.ends, 0);
    assert_string_equal(late.text, "");
    /* The next one of that name begins anew. */
    feed = feed_open(feeds, "a");
    assert_true(feed_follow(feeds, "a", &late.follower, on_feed, &late));
    assert_int_equal(feed_write(feed, "again", 5), OK);
    feed_end(feed);
    assert_string_equal(late.text, "again");
    feeds_free(feeds);
}

static void nobody_waits_for_what_nobody_writes(void **state)
{
    (void)state;
    struct feeds *feeds = feeds_new(100);
    struct reader r = {0}, s = {0};
    assert_true(feed_follow(feeds, "a", &r.follower, on_feed, &r));
    feed_abandon(feeds, "a");
    assert_int_equal(r.ends, 1);
    feed_abandon(feeds, "none");
    struct feed *feed = feed_open(feeds, "b");
    assert_true(feed_follow(feeds, "b", &s.follower, on_feed, &s));
    feed_abandon(feeds, "b"); /* somebody does: it goes on */
    assert_int_equal(s.ends, 0);
    feed_end(feed);
    assert_int_equal(s.ends, 1);
    feeds_free(feeds);
}

/* ---- many at once ---------------------------------------------------------------------------- */

enum { READERS = 8, ROUNDS = 300 };

struct counter {
    struct follower follower;
    struct shared *shared;
    int bytes;
};

struct shared {
    struct feeds *feeds;
    atomic_int ends, unfollowed, threads;
    struct counter counters[READERS][ROUNDS]; /* an end may come after its reader has gone */
};

static void count_feed(void *ctx, const void *data, size_t len)
{
    struct counter *c = ctx;
    if (data)
        c->bytes += (int)len;
    else
        atomic_fetch_add(&c->shared->ends, 1);
}

static void *follow_and_leave(void *arg)
{
    struct shared *s = arg;
    struct counter *c = s->counters[atomic_fetch_add(&s->threads, 1)];
    for (int i = 0; i < ROUNDS; i++) {
        char name[16];
        c[i] = (struct counter){.shared = s};
        str_printf(name, sizeof name, "f%d", i % 3);
        assert_true(feed_follow(s->feeds, name, &c[i].follower, count_feed, &c[i]));
        if (feed_unfollow(s->feeds, &c[i].follower)) atomic_fetch_add(&s->unfollowed, 1);
    }
    return NULL;
}

static void *write_and_end(void *arg)
{
    struct shared *s = arg;
    for (int i = 0; i < ROUNDS; i++) {
        char name[16];
        str_printf(name, sizeof name, "f%d", i % 3);
        struct feed *feed = feed_open(s->feeds, name);
        assert_non_null(feed);
        assert_int_equal(feed_write(feed, "xyz", 3), OK);
        feed_end(feed);
    }
    return NULL;
}

static void readers_come_and_go_while_it_is_written(void **state)
{
    (void)state;
    static struct shared s;
    s.feeds = feeds_new(100);
    pthread_t threads[READERS], writer;
    for (int i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, follow_and_leave, &s), 0);
    assert_int_equal(pthread_create(&writer, NULL, write_and_end, &s), 0);
    pthread_join(writer, NULL);
    for (int i = 0; i < READERS; i++) pthread_join(threads[i], NULL);
    /* Each follower either left or was told of the end. */
    assert_int_equal(atomic_load(&s.ends) + atomic_load(&s.unfollowed), READERS * ROUNDS);
    feeds_free(s.feeds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(followers_get_all_from_the_beginning),
        cmocka_unit_test(a_feed_has_a_maximum),
        cmocka_unit_test(nobody_waits_for_what_nobody_writes),
        cmocka_unit_test(readers_come_and_go_while_it_is_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
