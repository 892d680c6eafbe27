/* Quotas and what was used, on both databases: adding up from several hubs, overrides, statistics,
 * and who sees what. */
#include "both.h"

#include <pthread.h>

#include "store/store_usage.h"

static struct store_usage_sync sync_of(const char *user, int64_t day, int64_t minute, int64_t n)
{
    return (struct store_usage_sync){.user_id = user,
                                     .day = day,
                                     .minute = minute,
                                     .add = {n, 10 * n, 5 * n},
                                     .add_requests = n,
                                     .add_tokens = 15 * n};
}

static void test_days_and_minutes_add_up(void **state)
{
    (void)state;
    const char *ada = both_user("ada"), *bob = both_user("bob");
    struct store_usage_sync u = sync_of(ada, 100, 5000, 2);
    assert_ok(store_usage_sync(store, &u, &why));
    assert_int_equal(u.today.requests, 2);
    assert_int_equal(u.minute_tokens, 30);
    u = sync_of(ada, 100, 5001, 1);
    assert_ok(store_usage_sync(store, &u, &why));
    assert_int_equal(u.today.requests, 3);
    assert_int_equal(u.today.prompt_tokens, 30);
    assert_int_equal(u.minute_requests, 1);
    u = sync_of(ada, 101, 6000, 0); /* only asks */
    assert_ok(store_usage_sync(store, &u, &why));
    assert_int_equal(u.today.requests + u.minute_requests, 0);
    u = sync_of(bob, 100, 5001, 0);
    assert_ok(store_usage_sync(store, &u, &why));
    assert_int_equal(u.today.requests, 0);
    struct store_usage total;
    assert_ok(store_usage_total(store, ada, &total, &why));
    assert_int_equal(total.completion_tokens, 15);
    assert_ok(store_usage_total(store, NULL, &total, &why));
    assert_int_equal(total.requests, 3);
    struct store_usage_day *days;
    size_t n;
    u = sync_of(ada, 102, 7000, 1);
    assert_ok(store_usage_sync(store, &u, &why));
    assert_ok(store_usage_days(store, ada, 101, arena, &days, &n, &why));
    assert_int_equal(n, 1);
    assert_int_equal(days[0].day, 102);
    assert_ok(store_usage_days(store, bob, 0, arena, &days, &n, &why));
    assert_int_equal(n, 0);
}

static void test_a_user_who_is_gone(void **state)
{
    (void)state;
    struct store_usage_sync u = sync_of("nobody", 100, 5000, 1);
    assert_int_equal(store_usage_sync(store, &u, &why), ERR_NOT_FOUND);
    int64_t limits[QUOTA_COUNT] = {1, 2, 3, 4, 5, 6};
    assert_int_equal(store_quota_set(store, "nobody", limits, &why), ERR_NOT_FOUND);
    const char *ada = both_user("ada");
    assert_ok(store_quota_set(store, ada, limits, &why));
    u = sync_of(ada, 100, 5000, 1);
    assert_ok(store_usage_sync(store, &u, &why));
    assert_ok(store_user_delete(store, ada, &why));
    struct store_usage total;
    assert_ok(store_usage_total(store, NULL, &total, &why));
    assert_int_equal(total.requests, 0);
}

static void test_overrides(void **state)
{
    (void)state;
    const char *ada = both_user("ada");
    int64_t got[QUOTA_COUNT], limits[QUOTA_COUNT] = {60, QUOTA_DEFAULT, QUOTA_NONE, 4, 5, 6};
    assert_ok(store_quota_get(store, ada, got, &why));
    for (int i = 0; i < QUOTA_COUNT; i++) assert_int_equal(got[i], QUOTA_DEFAULT);
    for (int again = 0; again < 2; again++) {
        assert_ok(store_quota_set(store, ada, limits, &why));
        assert_ok(store_quota_get(store, ada, got, &why));
        assert_memory_equal(got, limits, sizeof got);
        limits[0] = QUOTA_DEFAULT;
    }
    struct store_usage_sync u = sync_of(ada, 100, 5000, 1);
    assert_ok(store_usage_sync(store, &u, &why));
    assert_memory_equal(u.overrides, limits, sizeof limits);
}

enum { THREADS = 4, ROUNDS = 50 };

static void *add_many(void *user)
{
    struct error error;
    for (int i = 0; i < ROUNDS; i++) {
        struct store_usage_sync u = sync_of(user, 100, 5000, 1);
        if (store_usage_sync(store, &u, &error)) return "failed";
        int64_t n;
        if (store_usage_key(store, "key", 5000, 1, &n, &error)) return "failed";
    }
    return NULL;
}

static void test_hubs_add_at_once(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    const char *ada = both_user("ada");
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, add_many, (void *)ada), 0);
    for (int i = 0; i < THREADS; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    struct store_usage_sync u = sync_of(ada, 100, 5000, 0);
    assert_ok(store_usage_sync(store, &u, &why));
    assert_int_equal(u.today.requests, THREADS * ROUNDS);
    assert_int_equal(u.minute_tokens, 15 * THREADS * ROUNDS);
    int64_t n;
    assert_ok(store_usage_key(store, "key", 5000, 0, &n, &why));
    assert_int_equal(n, THREADS * ROUNDS);
}

static void test_old_minutes_go(void **state)
{
    (void)state;
    int64_t n;
    assert_ok(store_usage_key(store, "key", 100, 7, &n, &why));
    assert_int_equal(n, 7);
    assert_ok(store_usage_key(store, "key", 1000, 1, &n, &why));
    assert_int_equal(n, 1);
    assert_ok(store_usage_key(store, "key", 100, 0, &n, &why));
    assert_int_equal(n, 0);
}

static void test_counts(void **state)
{
    (void)state;
    const char *ada = both_user("ada"), *bob = both_user("bob");
    struct store_message m = {.id = "m", .role = "user", .content = "x"};
    assert_ok(store_conversation_create(store, ada, "c", "t", NULL, &why));
    assert_ok(store_conversation_append(store, ada, "c", &m, 1, &why));
    assert_ok(store_conversation_create(store, bob, "d", "t", NULL, &why));
    assert_ok(store_user_set_disabled(store, bob, true, &why));
    struct store_counts counts;
    assert_ok(store_counts(store, ada, &counts, &why));
    assert_int_equal(counts.conversations, 1);
    assert_int_equal(counts.messages, 1);
    assert_int_equal(counts.users, 0);
    assert_ok(store_counts(store, NULL, &counts, &why));
    assert_int_equal(counts.conversations, 2);
    assert_int_equal(counts.users, 2);
    assert_int_equal(counts.disabled, 1);
    assert_true(counts.database_bytes > 0);
}

static void test_roles(void **state)
{
    (void)state;
    struct store_user u;
    const char *ada = both_user("ada"), *bob = both_user("bob");
    assert_ok(store_user_set_role(store, ada, true, &why));
    assert_ok(store_user_by_id(store, ada, arena, &u, &why));
    assert_true(u.admin);
    assert_int_equal(store_user_set_role(store, ada, false, &why), ERR_CONFLICT); /* the last */
    assert_ok(store_user_set_role(store, bob, true, &why));
    assert_ok(store_user_set_role(store, ada, false, &why));
    assert_int_equal(store_user_set_role(store, "nobody", true, &why), ERR_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH_TEST(test_days_and_minutes_add_up),
        BOTH_TEST(test_a_user_who_is_gone),
        BOTH_TEST(test_overrides),
        BOTH_TEST(test_hubs_add_at_once),
        BOTH_TEST(test_old_minutes_go),
        BOTH_TEST(test_counts),
        BOTH_TEST(test_roles),
    };
    return both_run("usage", tests, sizeof tests / sizeof *tests);
}
