/* The request log in front of a real SQLite file, with a wall clock that the test sets: what
 * requests without a user have spent this month, over restarts, months' ends, and databases that
 * are away. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "hub/request_log.h"
#include "store/store_request.h"
#include "support/fake_clock.h"

enum { DOLLAR = 1000000 };

/* A hub's part that a log needs; a budget of one dollar. */
struct rig {
    struct config *config;
    struct timers *timers;
    struct pool *pool;
    struct accounts *accounts;
    struct request_log *log;
    struct router_hooks hooks;
};

static char dir[64];

static int set_up(void **state)
{
    (void)state;
    str_copy(dir, sizeof dir, "/tmp/hearth-log-XXXXXX");
    fake_clock_set("2026-01-31T12:00:00Z");
    return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    char command[96];
    str_printf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command);
}

static void rig_open(struct rig *r, const char *kept)
{
    struct error error;
    const struct config_override overrides[] = {{CONFIG_DATA_DIR, dir},
                                                {CONFIG_LIB_DIR, HEARTH_BINARY_DIR "/lib/hearth"},
                                                {CONFIG_REQUEST_LOG, kept},
                                                {CONFIG_REQUEST_LOG_DAYS, "0"},
                                                {CONFIG_USER_BUDGET, "100"}};
    size_t n = sizeof overrides / sizeof *overrides;
    assert_int_equal(config_from(overrides, n, &r->config, &error), OK);
    assert_int_equal(timers_new(&r->timers, &error), OK);
    assert_int_equal(pool_new("pool", 1, 16, &r->pool, &error), OK);
    r->accounts = accounts_new(r->config, r->timers, r->pool);
    r->log = request_log_new(r->config, r->accounts, r->timers, r->pool);
    r->hooks = request_log_hooks(r->log);
    request_log_start(r->log);
}

static void rig_close(struct rig *r)
{
    request_log_stop(r->log);
    accounts_stop(r->accounts);
    pool_free(r->pool);
    request_log_free(r->log);
    timers_free(r->timers);
    accounts_free(r->accounts);
    config_free(r->config);
}

static void spend_since(struct rig *r, int64_t micros, int64_t started_ms)
{
    struct router_record rec = {.kind = "chat",
                                .route = "default",
                                .goal = "balanced",
                                .asked = "gpt-4o",
                                .provider = "openai",
                                .model = "gpt-4o",
                                .left_to = "openai",
                                .attempts = 1,
                                .complexity = -1,
                                .started_wall_ms = started_ms,
                                .first_token_ms = -1,
                                .cost_micros = micros};
    r->hooks.ended(r->hooks.ctx, &rec);
}

static void spend(struct rig *r, int64_t micros)
{
    spend_since(r, micros, clock_wall_ms());
}

static bool may_spend(struct rig *r)
{
    return r->hooks.may_spend(r->hooks.ctx, "");
}

/* That it is `spent` exactly: there is a little left, and then nothing. */
static void expect_spent(struct rig *r, int64_t spent)
{
    assert_true(may_spend(r));
    spend(r, DOLLAR - spent - 1);
    assert_true(may_spend(r));
    spend(r, 1);
    assert_false(may_spend(r));
}

static size_t n_rows(struct rig *r)
{
    struct store *store;
    struct auth *auth;
    struct error error;
    struct store_request *rows;
    size_t n;
    struct arena *a = arena_new(1 << 20);
    request_log_flush(r->log);
    assert_int_equal(accounts_open(r->accounts, &store, &auth, &error), OK);
    assert_int_equal(store_request_list(store, &(struct store_request_page){.before_ms = INT64_MAX},
                                        a, &rows, &n, &error),
                     OK);
    arena_free(a);
    return n;
}

static void test_a_restart_remembers(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, "all");
    spend(&r, DOLLAR / 2);
    rig_close(&r);
    rig_open(&r, "all");
    request_log_flush(r.log);
    expect_spent(&r, DOLLAR / 2);
    rig_close(&r);
}

/* Rows that wait when the database is asked are neither counted twice nor lost. */
static void test_a_restart_with_rows_that_wait(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, "all");
    spend(&r, DOLLAR / 2);
    rig_close(&r);
    rig_open(&r, "all");
    spend(&r, DOLLAR / 4);
    request_log_flush(r.log);
    request_log_flush(r.log);
    expect_spent(&r, DOLLAR / 2 + DOLLAR / 4);
    assert_int_equal(n_rows(&r), 4);
    rig_close(&r);
}

/* Nobody has to come by for that: neither rows to be written nor a restart. */
static void test_a_month_begins(void **state)
{
    (void)state;
    static const char *const kept[] = {"all", "remote", "off"};
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
        struct rig r;
        fake_clock_set("2026-01-31T23:59:00Z");
        rig_open(&r, kept[i]);
        request_log_flush(r.log);
        spend(&r, DOLLAR);
        request_log_flush(r.log);
        assert_false(may_spend(&r));
        fake_clock_set("2026-02-01T00:00:01Z");
        assert_true(may_spend(&r));
        rig_close(&r);
        assert_int_equal(tear_down(state), 0);
        assert_int_equal(set_up(state), 0);
    }
}

/* What is spent before the new month's sum was asked for belongs to it. */
static void test_the_first_rows_of_a_month_count(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, "all");
    spend(&r, DOLLAR / 2);
    request_log_flush(r.log);
    fake_clock_set("2026-02-01T00:00:01Z");
    spend(&r, DOLLAR / 4);
    request_log_flush(r.log);
    expect_spent(&r, DOLLAR / 4);
    rig_close(&r);
    rig_open(&r, "all");
    request_log_flush(r.log);
    assert_false(may_spend(&r));
    rig_close(&r);
}

/* A request belongs to the month in which it came, in memory as in the database. */
static void test_a_request_over_the_month_s_end(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, "all");
    int64_t came_ms = clock_wall_ms();
    fake_clock_set("2026-02-01T00:00:01Z");
    spend_since(&r, DOLLAR, came_ms);
    request_log_flush(r.log);
    assert_true(may_spend(&r));
    rig_close(&r);
    rig_open(&r, "all");
    request_log_flush(r.log);
    expect_spent(&r, 0);
    rig_close(&r);
}

/* A machine whose clock is set after the start. */
static void test_a_clock_that_is_set_late(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, "all");
    spend(&r, DOLLAR / 2);
    rig_close(&r);
    fake_clock_set("1970-01-01T00:00:10Z");
    rig_open(&r, "all");
    request_log_flush(r.log);
    fake_clock_set("2026-01-31T13:00:00Z");
    spend(&r, DOLLAR / 4);
    request_log_flush(r.log);
    expect_spent(&r, DOLLAR / 2 + DOLLAR / 4);
    rig_close(&r);
}

/* What was spent is asked for until the database says it, also when there is nothing to write. */
static void test_a_database_that_comes_late(void **state)
{
    (void)state;
    struct rig r;
    char away[96], command[256];
    rig_open(&r, "all");
    spend(&r, DOLLAR);
    rig_close(&r);
    str_printf(away, sizeof away, "%s.away", dir);
    assert_int_equal(rename(dir, away), 0);
    FILE *f = fopen(dir, "w"); /* no folder can be made there */
    assert_non_null(f);
    fclose(f);
    rig_open(&r, "all");
    usleep(1500 * 1000);        /* the first time it is asked for is over */
    assert_true(may_spend(&r)); /* nobody knows better */
    assert_int_equal(unlink(dir), 0);
    assert_int_equal(rename(away, dir), 0);
    for (int i = 0; may_spend(&r); i++) {
        assert_true(i < 3000);
        usleep(10000);
    }
    rig_close(&r);
    str_printf(command, sizeof command, "rm -rf '%s'", away);
    assert_int_equal(system(command), 0);
}

/* Rows that can't be written now are written later, once. */
static void test_rows_wait_for_the_database(void **state)
{
    (void)state;
    struct rig r;
    FILE *f;
    assert_int_equal(rmdir(dir), 0);
    assert_non_null(f = fopen(dir, "w"));
    fclose(f);
    rig_open(&r, "all");
    for (int i = 0; i < 3; i++) {
        spend(&r, DOLLAR / 10);
        request_log_flush(r.log);
    }
    assert_int_equal(unlink(dir), 0);
    assert_int_equal(n_rows(&r), 3);
    assert_int_equal(n_rows(&r), 3);
    expect_spent(&r, 3 * DOLLAR / 10);
    rig_close(&r);
}

/* ---- several hubs ---------------------------------------------------------------------------- */

/* As requests ask on and on; whether there is nothing left in the end. */
static bool refused_in_time(struct rig *r)
{
    for (int i = 0; i < 3000 && may_spend(r); i++) usleep(10000);
    return !may_spend(r);
}

/* What another hub spends is heard of while both run, whoever of them is asked. It was at the next
 * start, or in the next month. */
static void test_two_hubs_share_a_budget(void **state)
{
    (void)state;
    struct rig one, two;
    rig_open(&one, "all");
    rig_open(&two, "all");
    request_log_flush(one.log);
    request_log_flush(two.log);
    spend(&one, DOLLAR / 2);
    spend(&two, DOLLAR / 4);
    assert_true(may_spend(&one) && may_spend(&two));
    spend(&one, DOLLAR / 4); /* written by itself */
    assert_true(refused_in_time(&two));
    assert_true(refused_in_time(&one));
    assert_int_equal(n_rows(&one), 3);
    rig_close(&two);
    rig_close(&one);
}

/* Exactly: what was written here is not counted a second time when the database tells it. */
static void test_two_hubs_know_the_same(void **state)
{
    (void)state;
    struct rig one, two;
    rig_open(&one, "all");
    rig_open(&two, "all");
    for (int i = 0; i < 3; i++) {
        spend(&one, DOLLAR / 10);
        request_log_flush(one.log);
        spend(&two, DOLLAR / 10);
        request_log_flush(two.log);
    }
    spend(&two, DOLLAR / 10);
    request_log_flush(two.log);
    usleep(1100 * 1000);
    assert_true(may_spend(&one)); /* which has the database asked again */
    request_log_flush(one.log);
    expect_spent(&one, 7 * DOLLAR / 10);
    rig_close(&two);
    rig_close(&one);
}

/* What no row will ever tell is spent all the same, until the month is over. */
static void test_rows_that_are_not_kept_count(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, "off");
    spend(&r, DOLLAR / 2);
    for (int i = 0; i < 2; i++) {
        request_log_flush(r.log);
        usleep(1100 * 1000);
        assert_true(may_spend(&r));
    }
    request_log_flush(r.log);
    expect_spent(&r, DOLLAR / 2);
    rig_close(&r);
}

static void test_which_rows_are_kept(void **state)
{
    (void)state;
    static const struct {
        const char *kept;
        size_t rows;
    } table[] = {{"all", 3}, {"remote", 2}, {"off", 0}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct rig r;
        struct router_record rec = {.kind = "chat", .route = "default", .goal = "cost"};
        rig_open(&r, table[i].kept);
        r.hooks.ended(r.hooks.ctx, &rec); /* stayed here */
        spend(&r, 5);
        str_copy(rec.left_to, sizeof rec.left_to, "box");
        r.hooks.ended(r.hooks.ctx, &rec); /* left, without a price */
        assert_int_equal(n_rows(&r), table[i].rows);
        rig_close(&r);
        assert_int_equal(tear_down(state), 0);
        assert_int_equal(set_up(state), 0);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_restart_remembers),
        TEST(test_a_restart_with_rows_that_wait),
        TEST(test_a_month_begins),
        TEST(test_the_first_rows_of_a_month_count),
        TEST(test_a_request_over_the_month_s_end),
        TEST(test_a_clock_that_is_set_late),
        TEST(test_a_database_that_comes_late),
        TEST(test_rows_wait_for_the_database),
        TEST(test_two_hubs_share_a_budget),
        TEST(test_two_hubs_know_the_same),
        TEST(test_rows_that_are_not_kept_count),
        TEST(test_which_rows_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
