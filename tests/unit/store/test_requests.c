/* The log of requests, on both databases: what a row keeps, who sees which, pages over rows of one
 * millisecond, and what nobody's requests have cost. */
#include "both.h"

#include "store/store_request.h"

static struct store_request row_of(const char *id, const char *user, int64_t at_ms)
{
    return (struct store_request){.id = id,
                                  .user_id = user,
                                  .at_ms = at_ms,
                                  .request_id = "req",
                                  .kind = "chat",
                                  .asked = "tiny",
                                  .route = "default",
                                  .goal = "balanced",
                                  .provider = "local",
                                  .model = "tiny",
                                  .reason = "local: nobody else is configured",
                                  .attempts = 1,
                                  .complexity_permille = -1,
                                  .first_token_ms = -1,
                                  .cost_micros = -1};
}

static void add(const struct store_request *rows, size_t n)
{
    assert_ok(store_request_add(store, rows, n, &why));
}

static struct store_request *list(const struct store_request_page *page, size_t expected)
{
    struct store_request *rows;
    size_t n;
    assert_ok(store_request_list(store, page, arena, &rows, &n, &why));
    assert_int_equal(n, expected);
    return rows;
}

static void test_a_row_keeps_everything(void **state)
{
    (void)state;
    const char *ada = both_user("ada");
    const struct store_request full = {.id = "id-1",
                                       .user_id = ada,
                                       .at_ms = 1700000000123,
                                       .request_id = "req-1",
                                       .kind = "chat",
                                       .asked = "gpt-4o",
                                       .route = "away",
                                       .goal = "cost",
                                       .provider = "openai",
                                       .model = "gpt-4o-2024",
                                       .reason = "openai: it costs least",
                                       .tried = "local: model_not_found after 2 ms",
                                       .attempts = 2,
                                       .complexity_permille = 755,
                                       .error = "upstream_error",
                                       .prompt_tokens = 5000000000, /* more than 32 bits */
                                       .cached_tokens = 1,
                                       .completion_tokens = 2,
                                       .reasoning_tokens = 3,
                                       .first_token_ms = 4,
                                       .total_ms = 5,
                                       .cost_micros = 6000000000,
                                       .left_to = "openai",
                                       .left_bytes = 7,
                                       .left_messages = 8,
                                       .left_images = 9};
    add(&full, 1);
    const struct store_request *r = list(&(struct store_request_page){.before_ms = INT64_MAX}, 1);
    assert_string_equal(r->id, "id-1");
    assert_string_equal(r->user_id, ada);
    assert_int_equal(r->at_ms, 1700000000123);
    assert_string_equal(r->request_id, "req-1");
    assert_string_equal(r->kind, "chat");
    assert_string_equal(r->asked, "gpt-4o");
    assert_string_equal(r->route, "away");
    assert_string_equal(r->goal, "cost");
    assert_string_equal(r->provider, "openai");
    assert_string_equal(r->model, "gpt-4o-2024");
    assert_string_equal(r->reason, "openai: it costs least");
    assert_string_equal(r->tried, "local: model_not_found after 2 ms");
    assert_int_equal(r->attempts, 2);
    assert_int_equal(r->complexity_permille, 755);
    assert_string_equal(r->error, "upstream_error");
    assert_int_equal(r->prompt_tokens, 5000000000);
    assert_int_equal(r->cached_tokens, 1);
    assert_int_equal(r->completion_tokens, 2);
    assert_int_equal(r->reasoning_tokens, 3);
    assert_int_equal(r->first_token_ms, 4);
    assert_int_equal(r->total_ms, 5);
    assert_int_equal(r->cost_micros, 6000000000);
    assert_string_equal(r->left_to, "openai");
    assert_int_equal(r->left_bytes, 7);
    assert_int_equal(r->left_messages, 8);
    assert_int_equal(r->left_images, 9);
}

static void test_what_is_not_known_stays_so(void **state)
{
    (void)state;
    const struct store_request bare = row_of("id-1", NULL, 1000);
    add(&bare, 1);
    const struct store_request *r = list(&(struct store_request_page){.before_ms = INT64_MAX}, 1);
    assert_null(r->user_id);
    assert_null(r->tried);
    assert_null(r->error);
    assert_null(r->left_to);
    assert_int_equal(r->complexity_permille, -1);
    assert_int_equal(r->first_token_ms, -1);
    assert_int_equal(r->cost_micros, -1);
}

/* A user who is gone takes the rows with him, also those that come later; others of the same write
 * are kept. */
static void test_users_who_are_gone(void **state)
{
    (void)state;
    const char *ada = both_user("ada");
    const struct store_request rows[] = {row_of("a", ada, 1), row_of("b", NULL, 2),
                                         row_of("c", "nobody-here", 3)};
    add(rows, 3);
    list(&(struct store_request_page){.before_ms = INT64_MAX}, 2);
    assert_ok(store_user_delete(store, ada, &why));
    const struct store_request *r = list(&(struct store_request_page){.before_ms = INT64_MAX}, 1);
    assert_string_equal(r->id, "b");
}

static void test_who_sees_what(void **state)
{
    (void)state;
    const char *ada = both_user("ada"), *bob = both_user("bob");
    struct store_request rows[] = {row_of("a", ada, 10), row_of("b", bob, 20), row_of("c", ada, 30),
                                   row_of("d", NULL, 40)};
    rows[2].left_to = "openai";
    add(rows, 4);
    struct store_request_page page = {.before_ms = INT64_MAX};
    assert_string_equal(list(&page, 4)[0].id, "d"); /* the newest first */
    page.user_id = ada;
    const struct store_request *r = list(&page, 2);
    assert_string_equal(r[0].id, "c");
    assert_string_equal(r[1].id, "a");
    page.left = true;
    assert_string_equal(list(&page, 1)->id, "c");
    page.user_id = bob;
    list(&page, 0);
    page = (struct store_request_page){.before_ms = 30};
    assert_string_equal(list(&page, 2)[0].id, "b");
}

/* A crowd that came at once: each row is on exactly one page. */
static void test_pages_over_one_millisecond(void **state)
{
    (void)state;
    enum { ROWS = 25 };
    char ids[ROWS][8];
    struct store_request rows[ROWS];
    bool seen[ROWS] = {false};
    size_t total = 0;
    for (int i = 0; i < ROWS; i++) {
        str_printf(ids[i], sizeof ids[i], "id-%02d", i * 7 % ROWS);
        rows[i] = row_of(ids[i], NULL, i < 3 ? 999 : i < 20 ? 1000 : 1001);
    }
    add(rows, ROWS);
    struct store_request_page page = {.before_ms = INT64_MAX, .limit = 4};
    for (size_t n = 4; n == 4;) {
        struct store_request *r;
        assert_ok(store_request_list(store, &page, arena, &r, &n, &why));
        for (size_t i = 0; i < n; i++) {
            size_t which = (size_t)atoi(r[i].id + 3);
            assert_false(seen[which]);
            seen[which] = true;
            assert_true(r[i].at_ms <= page.before_ms);
            page.before_ms = r[i].at_ms;
            page.before_id = r[i].id;
        }
        total += n;
    }
    assert_int_equal(total, ROWS);
}

static void test_old_rows_go(void **state)
{
    (void)state;
    const struct store_request rows[] = {row_of("a", NULL, 100), row_of("b", NULL, 200)};
    add(rows, 2);
    assert_ok(store_request_sweep(store, 200, &why));
    const struct store_request *r = list(&(struct store_request_page){.before_ms = INT64_MAX}, 1);
    assert_string_equal(r->id, "b");
}

static void test_what_nobody_has_spent(void **state)
{
    (void)state;
    const char *ada = both_user("ada");
    int64_t micros = -1;
    struct store_request rows[] = {row_of("a", NULL, 100), row_of("b", NULL, 200),
                                   row_of("c", NULL, 300), row_of("d", ada, 300),
                                   row_of("e", NULL, 300)};
    assert_ok(store_request_cost(store, 0, &micros, &why));
    assert_int_equal(micros, 0);
    rows[0].cost_micros = 1;
    rows[1].cost_micros = 20;
    rows[2].cost_micros = 3000000000;
    rows[3].cost_micros = 4000; /* somebody's; the last one's is not known */
    add(rows, 5);
    assert_ok(store_request_cost(store, 200, &micros, &why));
    assert_int_equal(micros, 3000000020);
}

/* One that can't be written takes back the others of its write. */
static void test_a_write_is_whole(void **state)
{
    (void)state;
    const struct store_request rows[] = {row_of("a", NULL, 1), row_of("b", NULL, 2),
                                         row_of("a", NULL, 3)};
    assert_true(store_request_add(store, rows, 3, &why) != OK);
    list(&(struct store_request_page){.before_ms = INT64_MAX}, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH_TEST(test_a_row_keeps_everything),     BOTH_TEST(test_what_is_not_known_stays_so),
        BOTH_TEST(test_users_who_are_gone),         BOTH_TEST(test_who_sees_what),
        BOTH_TEST(test_pages_over_one_millisecond), BOTH_TEST(test_old_rows_go),
        BOTH_TEST(test_what_nobody_has_spent),      BOTH_TEST(test_a_write_is_whole),
    };
    return both_run("requests", tests, sizeof tests / sizeof *tests);
}
