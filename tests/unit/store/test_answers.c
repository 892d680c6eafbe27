/* Kept answers, on both databases. */
#include "both.h"

#include "base/clock.h"
#include "store/store_answer.h"
#include "store/store_job.h"

static void add_of(const char *id, const char *user, enum store_answer_kind kind, const char *model,
                   int64_t created_ms)
{
    struct store_answer x = {.id = id,
                             .user_id = user,
                             .kind = kind,
                             .state = STORE_ANSWER_COMPLETED,
                             .model = model,
                             .metadata = "{\"k\":\"v\"}",
                             .input = "[1]",
                             .body = "{\"b\":1}",
                             .created_ms = created_ms};
    assert_ok(store_answer_add(store, &x, NULL, &why));
}

static struct store_answer get(const char *user, const char *id)
{
    struct store_answer x;
    assert_ok(store_answer_get(store, user, STORE_RESPONSE, id, arena, &x, &why));
    return x;
}

static void test_one(void **state)
{
    (void)state;
    const char *ada = both_user("ada"), *bob = both_user("bob");
    struct store_answer x = {.id = "resp_1",
                             .user_id = ada,
                             .kind = STORE_RESPONSE,
                             .state = STORE_ANSWER_INCOMPLETE,
                             .previous_id = "resp_0",
                             .model = "m",
                             .metadata = "{}",
                             .input = "[\"\\u00e4 ' \\\"\"]",
                             .body = "{}",
                             .local_only = true};
    assert_ok(store_answer_add(store, &x, NULL, &why));
    assert_int_equal(store_answer_add(store, &x, NULL, &why), ERR_CONFLICT);
    struct store_answer got = get(ada, "resp_1");
    assert_string_equal(got.user_id, ada);
    assert_string_equal(got.previous_id, "resp_0");
    assert_string_equal(got.input, x.input);
    assert_int_equal(got.state, STORE_ANSWER_INCOMPLETE);
    assert_true(got.local_only);
    assert_null(got.job_id);
    assert_null(got.events);
    assert_null(got.request);
    assert_true(got.created_ms > 0 && got.updated_ms >= got.created_ms);
    /* Another's, nobody's, and of another kind. */
    assert_int_equal(store_answer_get(store, bob, STORE_RESPONSE, "resp_1", arena, &got, &why),
                     ERR_NOT_FOUND);
    assert_int_equal(store_answer_get(store, "", STORE_RESPONSE, "resp_1", arena, &got, &why),
                     ERR_NOT_FOUND);
    assert_int_equal(store_answer_get(store, ada, STORE_COMPLETION, "resp_1", arena, &got, &why),
                     ERR_NOT_FOUND);
    assert_int_equal(store_answer_delete(store, bob, STORE_RESPONSE, "resp_1", &why),
                     ERR_NOT_FOUND);
    assert_int_equal(store_answer_set_metadata(store, ada, STORE_COMPLETION, "resp_1", "{}", &why),
                     ERR_NOT_FOUND);
    assert_ok(store_answer_set_metadata(store, ada, STORE_RESPONSE, "resp_1", "{\"a\":1}", &why));
    assert_string_equal(get(ada, "resp_1").metadata, "{\"a\":1}");
    assert_ok(store_answer_delete(store, ada, STORE_RESPONSE, "resp_1", &why));
    assert_int_equal(store_answer_delete(store, ada, STORE_RESPONSE, "resp_1", &why),
                     ERR_NOT_FOUND);
    x.user_id = "nobody here";
    assert_int_equal(store_answer_add(store, &x, NULL, &why), ERR_NOT_FOUND);
}

static void test_gone_with_its_user(void **state)
{
    (void)state;
    const char *ada = both_user("ada");
    struct store_answer x;
    add_of("c1", ada, STORE_COMPLETION, "m", 5);
    add_of("c2", "", STORE_COMPLETION, "m", 5);
    assert_ok(store_user_delete(store, ada, &why));
    assert_int_equal(store_answer_by_id(store, "c1", arena, &x, &why), ERR_NOT_FOUND);
    assert_ok(store_answer_by_id(store, "c2", arena, &x, &why));
    assert_string_equal(x.user_id, "");
}

static void expect_page(const struct store_answer_page *page, const char *ids)
{
    struct store_answer *list;
    size_t n;
    char got[256] = "";
    assert_ok(store_answer_list(store, "", STORE_COMPLETION, page, arena, &list, &n, &why));
    for (size_t i = 0; i < n; i++)
        str_printf(got + strlen(got), sizeof got - strlen(got), "%s ", list[i].id);
    assert_string_equal(got, ids);
}

static void test_pages(void **state)
{
    (void)state;
    const char *ada = both_user("ada");
    add_of("a", "", STORE_COMPLETION, "m", 100);
    add_of("c", "", STORE_COMPLETION, "n", 200);
    add_of("b", "", STORE_COMPLETION, "m", 200); /* the same time: by id */
    add_of("d", "", STORE_COMPLETION, "m", 300);
    add_of("r", "", STORE_RESPONSE, "m", 250);
    add_of("x", ada, STORE_COMPLETION, "m", 250);
    expect_page(&(struct store_answer_page){.limit = 10}, "d c b a ");
    expect_page(&(struct store_answer_page){.limit = 10, .oldest_first = true}, "a b c d ");
    expect_page(&(struct store_answer_page){.limit = 2}, "d c ");
    expect_page(&(struct store_answer_page){.limit = 2, .after = "c"}, "b a ");
    expect_page(&(struct store_answer_page){.limit = 2, .after = "b", .oldest_first = true},
                "c d ");
    expect_page(&(struct store_answer_page){.limit = 9, .model = "n"}, "c ");
    expect_page(&(struct store_answer_page){.limit = 9, .after = "a"}, "");
    struct store_answer *list;
    size_t n;
    struct store_answer_page others = {.limit = 9, .after = "x"};
    assert_int_equal(
        store_answer_list(store, "", STORE_COMPLETION, &others, arena, &list, &n, &why),
        ERR_NOT_FOUND);
}

static void add_queued(const char *id)
{
    struct store_answer x = {.id = id,
                             .user_id = "",
                             .kind = STORE_RESPONSE,
                             .state = STORE_ANSWER_QUEUED,
                             .model = "",
                             .metadata = "{}",
                             .request = "{\"body\":{}}",
                             .input = "[]",
                             .body = "{\"status\":\"queued\"}"};
    struct store_job job = {.kind = "response", .payload = "{}", .priority = 1, .max_attempts = 3};
    assert_ok(store_answer_add(store, &x, &job, &why));
}

static enum store_job_state job_state(const char *answer)
{
    struct store_job job;
    assert_ok(store_job_get(store, NULL, get("", answer).job_id, arena, &job, &why));
    return job.state;
}

static enum err end(const char *id, enum store_answer_state to)
{
    struct store_answer x = {
        .id = id, .state = to, .model = "m", .body = "{\"over\":1}", .events = "event: x\n\n"};
    return store_answer_end(store, &x, &why);
}

static void test_in_the_background(void **state)
{
    (void)state;
    add_queued("resp_1");
    assert_int_equal(job_state("resp_1"), STORE_JOB_QUEUED);
    assert_ok(store_answer_begin(store, "resp_1", "{\"status\":\"in_progress\"}", false, &why));
    assert_false(get("", "resp_1").local_only);
    assert_int_equal(get("", "resp_1").state, STORE_ANSWER_IN_PROGRESS);
    assert_non_null(get("", "resp_1").request);
    assert_ok(store_answer_begin(store, "resp_1", "{}", true, &why));  /* after a crash, pinned */
    assert_ok(store_answer_begin(store, "resp_1", "{}", false, &why)); /* that stays */
    assert_true(get("", "resp_1").local_only);
    assert_ok(end("resp_1", STORE_ANSWER_COMPLETED));
    struct store_answer x = get("", "resp_1");
    assert_int_equal(x.state, STORE_ANSWER_COMPLETED);
    assert_string_equal(x.body, "{\"over\":1}");
    assert_string_equal(x.events, "event: x\n\n");
    assert_string_equal(x.model, "m");
    assert_null(x.request);
    assert_int_equal(end("resp_1", STORE_ANSWER_FAILED), ERR_CONFLICT);
    assert_int_equal(store_answer_begin(store, "resp_1", "{}", false, &why), ERR_CONFLICT);
    assert_ok(store_answer_cancel(store, "", "resp_1", "{\"c\":1}", &why)); /* stays as it was */
    assert_int_equal(get("", "resp_1").state, STORE_ANSWER_COMPLETED);
    assert_int_equal(end("none", STORE_ANSWER_FAILED), ERR_NOT_FOUND);
}

static void test_cancelled_and_deleted(void **state)
{
    (void)state;
    struct store_job job;
    struct store_answer x;
    add_queued("resp_1");
    add_queued("resp_2");
    assert_ok(store_answer_cancel(store, "other", "resp_1", "{}", &why)); /* not his */
    assert_int_equal(get("", "resp_1").state, STORE_ANSWER_QUEUED);
    assert_int_equal(job_state("resp_1"), STORE_JOB_QUEUED);
    assert_ok(store_answer_cancel(store, "", "resp_1", "{\"c\":1}", &why));
    x = get("", "resp_1");
    assert_int_equal(x.state, STORE_ANSWER_CANCELLED);
    assert_string_equal(x.body, "{\"c\":1}");
    assert_null(x.request);
    assert_int_equal(job_state("resp_1"), STORE_JOB_CANCELLED);
    assert_int_equal(end("resp_1", STORE_ANSWER_COMPLETED), ERR_CONFLICT);
    const char *job_id = get("", "resp_2").job_id;
    assert_ok(store_answer_delete(store, "", STORE_RESPONSE, "resp_2", &why));
    assert_ok(store_job_get(store, NULL, job_id, arena, &job, &why));
    assert_int_equal(job.state, STORE_JOB_CANCELLED);
    assert_ok(store_answer_look(store, "", "resp_1", arena, &x, &why));
    assert_int_equal(store_answer_look(store, "", "resp_2", arena, &x, &why), ERR_NOT_FOUND);
}

static void test_swept(void **state)
{
    (void)state;
    int64_t n;
    int64_t now = clock_wall_ms();
    struct store_answer x;
    add_of("old", "", STORE_RESPONSE, "m", now - 5000);
    add_of("new", "", STORE_RESPONSE, "m", now);
    add_queued("resp_1"); /* not over: it stays, however old */
    assert_ok(store_answer_sweep(store, now - 1000, &n, &why));
    assert_int_equal(n, 1);
    assert_int_equal(store_answer_by_id(store, "old", arena, &x, &why), ERR_NOT_FOUND);
    assert_ok(store_answer_sweep(store, now + 60000, &n, &why));
    assert_int_equal(n, 1);
    assert_ok(store_answer_by_id(store, "resp_1", arena, &x, &why));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH_TEST(test_one),
        BOTH_TEST(test_gone_with_its_user),
        BOTH_TEST(test_pages),
        BOTH_TEST(test_in_the_background),
        BOTH_TEST(test_cancelled_and_deleted),
        BOTH_TEST(test_swept),
    };
    return both_run("answers", tests, sizeof tests / sizeof *tests);
}
