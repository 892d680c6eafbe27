/* Quotas over a real SQLite file: what is refused and why, several hubs on one database, what a
 * restart remembers, keys, and threads that charge at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/admin.h"
#include "auth/quota.h"
#include "base/str.h"
#include "support/fake_clock.h"

static char dir[] = "/tmp/hearth-quota-XXXXXX";
static char db_file[64];
static struct store *store;
static struct error why;
static struct auth_identity ada, bob;

#define assert_ok(call)                                                                            \
    do {                                                                                           \
        if ((call) != OK) fail_msg("%s: %s", #call, why.msg);                                      \
    } while (0)

static void make_user(const char *name, struct auth_identity *who)
{
    struct admin_new u = {.username = name, .password = "correct horse"};
    *who = (struct auth_identity){0};
    assert_ok(admin_create(store, &u, NULL, who->user_id, &why));
}

static int set_up(void **state)
{
    (void)state;
    if (!*db_file && !mkdtemp(dir)) return -1;
    str_printf(db_file, sizeof db_file, "%s/hearth.db", dir);
    unlink(db_file);
    fake_clock_set("2026-01-31T12:00:00Z");
    struct store_params params = {.url = db_file, .migrate = true};
    assert_ok(store_open(&params, &store, &why));
    make_user("ada", &ada);
    make_user("bob", &bob);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    store_close(store);
    return 0;
}

static struct quota *with(enum store_quota which, int64_t limit)
{
    int64_t limits[QUOTA_COUNT] = {0};
    limits[which] = limit;
    return quota_new(store, limits);
}

static void override(const struct auth_identity *who, enum store_quota which, int64_t limit)
{
    int64_t limits[QUOTA_COUNT];
    assert_ok(store_quota_get(store, who->user_id, limits, &why));
    limits[which] = limit;
    assert_ok(admin_set_quotas(store, who->user_id, limits, NULL, &why));
}

static void expect_used_up(enum err e, enum store_quota which)
{
    assert_int_equal(e, ERR_QUOTA);
    assert_string_equal(why.param, store_quota_name(which));
    assert_non_null(strstr(why.msg, store_quota_name(which)));
    assert_true(why.retry_after_s >= 1);
}

/* All of these use days: a minute may end in the middle of a test. */
static void test_requests_of_a_day(void **state)
{
    (void)state;
    struct quota *q = with(QUOTA_REQUESTS_DAY, 3);
    for (int i = 0; i < 3; i++) assert_ok(quota_charge(q, &ada, true, &why));
    expect_used_up(quota_charge(q, &ada, true, &why), QUOTA_REQUESTS_DAY);
    assert_true(why.retry_after_s <= 24 * 3600);
    assert_ok(quota_charge(q, &ada, false, &why)); /* that computes nothing */
    assert_ok(quota_charge(q, &bob, true, &why));
    override(&ada, QUOTA_REQUESTS_DAY, 5);
    quota_forget(q, ada.user_id);
    assert_ok(quota_charge(q, &ada, true, &why));
    override(&ada, QUOTA_REQUESTS_DAY, QUOTA_NONE);
    quota_forget(q, ada.user_id);
    for (int i = 0; i < 10; i++) assert_ok(quota_charge(q, &ada, true, &why));
    quota_free(q);
}

static void test_tokens_of_a_day(void **state)
{
    (void)state;
    struct quota *q = with(QUOTA_TOKENS_DAY, 100);
    assert_ok(quota_charge(q, &ada, true, &why));
    quota_add_tokens(q, ada.user_id, 60, 39);
    assert_ok(quota_charge(q, &ada, true, &why)); /* one is left: it may begin */
    quota_add_tokens(q, ada.user_id, 0, 500);
    expect_used_up(quota_charge(q, &ada, true, &why), QUOTA_TOKENS_DAY);
    struct quota_state s;
    assert_ok(quota_state(q, ada.user_id, &s, &why));
    assert_int_equal(s.used[QUOTA_TOKENS_DAY], 599);
    assert_int_equal(s.limits[QUOTA_TOKENS_DAY], 100);
    assert_int_equal(s.used[QUOTA_REQUESTS_DAY], 2);
    quota_free(q);
}

static void test_a_restart_remembers(void **state)
{
    (void)state;
    struct quota *q = with(QUOTA_REQUESTS_DAY, 3);
    for (int i = 0; i < 3; i++) assert_ok(quota_charge(q, &ada, true, &why));
    quota_free(q);
    q = with(QUOTA_REQUESTS_DAY, 3);
    expect_used_up(quota_charge(q, &ada, true, &why), QUOTA_REQUESTS_DAY);
    quota_free(q);
}

static void test_two_hubs_share(void **state)
{
    (void)state;
    struct quota *one = with(QUOTA_REQUESTS_DAY, 4), *two = with(QUOTA_REQUESTS_DAY, 4);
    assert_ok(quota_charge(one, &ada, true, &why));
    assert_ok(quota_charge(two, &ada, true, &why));
    assert_ok(quota_charge(one, &ada, true, &why));
    assert_ok(quota_charge(one, &ada, true, &why));
    quota_flush(one);
    quota_flush(two);
    quota_forget(two, ada.user_id); /* as a second later */
    expect_used_up(quota_charge(two, &ada, true, &why), QUOTA_REQUESTS_DAY);
    quota_free(one);
    quota_free(two);
}

static void test_streams(void **state)
{
    (void)state;
    struct quota *q = with(QUOTA_STREAMS, 2);
    assert_ok(quota_stream_begin(q, ada.user_id, &why));
    assert_ok(quota_stream_begin(q, ada.user_id, &why));
    expect_used_up(quota_stream_begin(q, ada.user_id, &why), QUOTA_STREAMS);
    assert_ok(quota_stream_begin(q, bob.user_id, &why));
    quota_stream_end(q, ada.user_id);
    assert_ok(quota_stream_begin(q, ada.user_id, &why));
    quota_free(q);
}

static void test_storage(void **state)
{
    (void)state;
    struct quota *q = with(QUOTA_STORAGE, 1000);
    assert_ok(quota_storage(q, ada.user_id, 600, 400, &why));
    assert_int_equal(quota_storage(q, ada.user_id, 600, 401, &why), ERR_TOO_LARGE);
    assert_int_equal(quota_storage(q, ada.user_id, 2000, 0, &why), ERR_TOO_LARGE);
    assert_int_equal(quota_storage(q, ada.user_id, 1, INT64_MAX, &why), ERR_TOO_LARGE);
    override(&ada, QUOTA_STORAGE, QUOTA_NONE);
    quota_forget(q, ada.user_id);
    assert_ok(quota_storage(q, ada.user_id, 2000, 1 << 30, &why));
    quota_free(q);
}

/* A key's own limit counts every call; the test may meet the end of one minute. */
static void test_a_key_of_its_own(void **state)
{
    (void)state;
    struct quota *q = with(QUOTA_STREAMS, 0);
    struct auth_identity key = ada;
    str_copy(key.key_id, sizeof key.key_id, "key-1");
    key.requests_per_minute = 3;
    int refused = 0;
    for (int i = 0; i < 8; i++) refused += quota_charge(q, &key, false, &why) == ERR_QUOTA;
    assert_in_range(refused, 2, 5);
    if (refused) assert_non_null(strstr(why.msg, "API key"));
    assert_ok(quota_charge(q, &ada, false, &why));
    quota_free(q);
}

/* A batch asks for a line again until its user may: the key's minute stays for others. */
static void test_a_refused_call_counts_nowhere(void **state)
{
    (void)state;
    struct quota *q = with(QUOTA_REQUESTS_DAY, 1);
    struct auth_identity key = ada;
    str_copy(key.key_id, sizeof key.key_id, "key-1");
    key.requests_per_minute = 2;
    assert_ok(quota_charge(q, &key, true, &why));
    for (int i = 0; i < 3; i++)
        expect_used_up(quota_charge(q, &key, true, &why), QUOTA_REQUESTS_DAY);
    override(&ada, QUOTA_REQUESTS_DAY, 10);
    quota_forget(q, ada.user_id);
    assert_ok(quota_charge(q, &key, true, &why));
    quota_free(q);
}

enum { THREADS = 8, EACH = 200, LIMIT = 500 };

static void *charge_many(void *quota)
{
    struct error error;
    intptr_t good = 0;
    for (int i = 0; i < EACH; i++) {
        good += quota_charge(quota, &ada, true, &error) == OK;
        quota_add_tokens(quota, ada.user_id, 1, 1);
        if (i % 50 == 0) quota_flush(quota);
    }
    return (void *)good;
}

static void test_threads(void **state)
{
    (void)state;
    struct quota *q = with(QUOTA_REQUESTS_DAY, LIMIT);
    pthread_t threads[THREADS];
    intptr_t good = 0;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, charge_many, q), 0);
    for (int i = 0; i < THREADS; i++) {
        void *n;
        pthread_join(threads[i], &n);
        good += (intptr_t)n;
    }
    assert_int_equal(good, LIMIT);
    quota_free(q);
    struct store_usage total;
    assert_ok(store_usage_total(store, ada.user_id, &total, &why));
    assert_int_equal(total.requests, LIMIT);
    assert_int_equal(total.prompt_tokens, THREADS * EACH);
}

static void test_a_user_who_is_gone(void **state)
{
    (void)state;
    struct quota *q = with(QUOTA_REQUESTS_DAY, 3);
    assert_ok(quota_charge(q, &bob, true, &why));
    assert_ok(store_user_delete(store, bob.user_id, &why));
    quota_add_tokens(q, bob.user_id, 1, 1);
    quota_flush(q); /* nothing that would be tried for ever */
    quota_free(q);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

/* ---- money --------------------------------------------------------------------------------- */

enum { DOLLAR = 1000000 };

static int64_t cents_used(struct quota *q, const struct auth_identity *who)
{
    struct quota_state state;
    assert_ok(quota_state(q, who->user_id, &state, &why));
    return state.used[QUOTA_BUDGET];
}

static void test_a_budget_is_used_up(void **state)
{
    (void)state;
    struct quota *q = with(QUOTA_BUDGET, 100);
    assert_true(quota_may_spend(q, ada.user_id));
    quota_add_cost(q, ada.user_id, DOLLAR - 1);
    assert_true(quota_may_spend(q, ada.user_id));
    quota_add_cost(q, ada.user_id, 1);
    assert_false(quota_may_spend(q, ada.user_id));
    assert_true(quota_may_spend(q, bob.user_id)); /* each has his own */
    quota_flush(q);
    assert_false(quota_may_spend(q, ada.user_id));
    assert_int_equal(cents_used(q, &ada), 100);
    override(&ada, QUOTA_BUDGET, 200);
    quota_forget(q, ada.user_id);
    assert_int_equal(cents_used(q, &ada), 100);
    assert_true(quota_may_spend(q, ada.user_id));
    quota_free(q);
}

/* The month of UTC: a new one begins without anybody's restart, and what was spent in it is known
 * to the next hub. */
static void test_a_month_begins(void **state)
{
    (void)state;
    struct quota *q = with(QUOTA_BUDGET, 100);
    quota_add_cost(q, ada.user_id, 2 * DOLLAR);
    quota_flush(q);
    fake_clock_set("2026-01-31T23:59:50Z");
    assert_false(quota_may_spend(q, ada.user_id));
    fake_clock_set("2026-02-01T00:00:01Z");
    assert_true(quota_may_spend(q, ada.user_id));
    assert_int_equal(cents_used(q, &ada), 0);
    quota_add_cost(q, ada.user_id, DOLLAR / 2);
    quota_free(q);
    fake_clock_set("2026-02-28T00:00:00Z"); /* another day of that month */
    q = with(QUOTA_BUDGET, 100);
    assert_int_equal(cents_used(q, &ada), 50);
    quota_add_cost(q, ada.user_id, DOLLAR / 2);
    assert_false(quota_may_spend(q, ada.user_id));
    quota_free(q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_requests_of_a_day),
        TEST(test_tokens_of_a_day),
        TEST(test_a_restart_remembers),
        TEST(test_two_hubs_share),
        TEST(test_streams),
        TEST(test_storage),
        TEST(test_a_key_of_its_own),
        TEST(test_a_refused_call_counts_nowhere),
        TEST(test_threads),
        TEST(test_a_user_who_is_gone),
        TEST(test_a_budget_is_used_up),
        TEST(test_a_month_begins),
    };
    int failed = cmocka_run_group_tests_name("quotas", tests, NULL, NULL);
    char command[128];
    str_printf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command) != 0 || failed;
}
