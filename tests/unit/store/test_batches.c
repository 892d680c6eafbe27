/* Batches and their files, on both databases. */
#include "both.h"

#include "base/clock.h"
#include "store/store_batch.h"
#include "store/store_job.h"

#define HASH "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void add_file(const char *id, const char *user, const char *purpose, int64_t expires_ms)
{
    struct store_api_file f = {.id = id,
                               .user_id = user,
                               .purpose = purpose,
                               .name = "a b.jsonl",
                               .sha256 = HASH,
                               .bytes = 7,
                               .expires_ms = expires_ms};
    assert_ok(store_api_file_add(store, &f, &why));
}

static void test_files(void **state)
{
    (void)state;
    const char *ada = both_user("ada"), *bob = both_user("bob");
    struct store_api_file f, *list;
    struct store_file_totals used;
    char hash[STORE_SHA256_MAX];
    size_t n;
    int64_t refs;
    add_file("f1", ada, "batch", 0);
    add_file("f2", ada, "vision", clock_wall_ms() + 60000);
    add_file("f3", ada, "batch", clock_wall_ms() - 1);
    assert_ok(store_api_file_get(store, ada, "f1", arena, &f, &why));
    assert_string_equal(f.name, "a b.jsonl");
    assert_string_equal(f.sha256, HASH);
    assert_int_equal(f.bytes, 7);
    assert_int_equal(store_api_file_get(store, bob, "f1", arena, &f, &why), ERR_NOT_FOUND);
    assert_int_equal(store_api_file_get(store, "", "f1", arena, &f, &why), ERR_NOT_FOUND);
    assert_int_equal(store_api_file_get(store, ada, "f3", arena, &f, &why), ERR_NOT_FOUND);
    struct store_batch_page all = {.limit = 10, .oldest_first = true};
    assert_ok(store_api_file_list(store, ada, NULL, &all, arena, &list, &n, &why));
    assert_int_equal(n, 2);
    assert_ok(store_api_file_list(store, ada, "vision", &all, arena, &list, &n, &why));
    assert_int_equal(n, 1);
    assert_string_equal(list[0].id, "f2");
    /* The bytes are wanted by all of them, also by the expired one, and count for their user. */
    assert_ok(store_file_references(store, HASH, &refs, &why));
    assert_int_equal(refs, 3);
    assert_ok(store_file_usage(store, ada, &used, &why));
    assert_int_equal(used.bytes, 21);
    assert_ok(store_api_file_expire(store, hash, &why));
    assert_string_equal(hash, HASH);
    assert_int_equal(store_api_file_expire(store, hash, &why), ERR_NOT_FOUND);
    assert_int_equal(store_api_file_delete(store, bob, "f1", hash, &why), ERR_NOT_FOUND);
    assert_ok(store_api_file_delete(store, ada, "f1", hash, &why));
    assert_ok(store_file_references(store, HASH, &refs, &why));
    assert_int_equal(refs, 1);
    assert_ok(store_user_delete(store, ada, &why));
    assert_ok(store_file_references(store, HASH, &refs, &why));
    assert_int_equal(refs, 0);
}

static void add_batch(const char *id, const char *user)
{
    struct store_batch b = {.id = id,
                            .user_id = user,
                            .key_id = "key-1",
                            .endpoint = "/v1/responses",
                            .input_file_id = "in",
                            .metadata = "{\"a\":\"b\"}",
                            .local_only = true,
                            .keep_output_s = 5,
                            .expires_ms = clock_wall_ms() + 1000};
    struct store_job job = {.kind = "batch", .payload = "{}", .priority = 1, .max_attempts = 3};
    assert_ok(store_batch_add(store, &b, &job, &why));
}

static struct store_batch get(const char *id)
{
    struct store_batch b;
    assert_ok(store_batch_by_id(store, id, arena, &b, &why));
    return b;
}

static void add_line(const char *id, int64_t line, bool failed, const char *text)
{
    struct store_batch_line l = {line, failed, text};
    assert_ok(store_batch_add_line(store, id, &l, "{\"n\":1}", "m", &why));
}

static enum err end(const char *id, enum store_batch_state state, const struct store_api_file *out,
                    const char *errors)
{
    const struct store_batch_end how = {.state = state, .output = out, .errors = errors};
    return store_batch_end(store, id, &how, &why);
}

/* Its rows. */
static size_t lines_of(const char *id)
{
    int64_t *numbers;
    size_t n;
    assert_ok(store_batch_answered(store, id, &numbers, &n, &why));
    free(numbers);
    return n;
}

static void test_from_beginning_to_end(void **state)
{
    (void)state;
    struct store_batch_line *lines;
    int64_t *numbers;
    size_t n;
    struct store_job job;
    struct store_api_file f;
    add_batch("b", "");
    struct store_batch b = get("b");
    assert_int_equal(b.state, STORE_BATCH_VALIDATING);
    assert_true(b.local_only);
    assert_int_equal(b.keep_output_s, 5);
    assert_string_equal(b.key_id, "key-1");
    assert_ok(store_job_get(store, NULL, b.job_id, arena, &job, &why));
    assert_int_equal(job.state, STORE_JOB_QUEUED);
    assert_int_equal(store_batch_finalize(store, "b", &why), ERR_CONFLICT);
    assert_ok(store_batch_begin(store, "b", 4, &why));
    assert_int_equal(store_batch_begin(store, "b", 4, &why), ERR_CONFLICT);
    add_line("b", 3, false, "three");
    add_line("b", 1, false, "one");
    add_line("b", 2, true, "two");
    add_line("b", 1, true, "once more"); /* it has an answer: that stays */
    b = get("b");
    assert_int_equal(b.total, 4);
    assert_int_equal(b.completed, 2);
    assert_int_equal(b.failed, 1);
    assert_string_equal(b.usage, "{\"n\":1}");
    assert_string_equal(b.model, "m");
    assert_ok(store_batch_answered(store, "b", &numbers, &n, &why));
    assert_int_equal(n, 3);
    for (size_t i = 0; i < n; i++) assert_int_equal(numbers[i], (int64_t)i + 1);
    free(numbers);
    assert_ok(store_batch_lines(store, "b", 0, 2, arena, &lines, &n, &why));
    assert_int_equal(n, 2);
    assert_string_equal(lines[0].text, "one");
    assert_false(lines[0].failed);
    assert_true(lines[1].failed);
    assert_ok(store_batch_lines(store, "b", 2, 2, arena, &lines, &n, &why));
    assert_int_equal(n, 1);
    assert_ok(store_batch_finalize(store, "b", &why));
    struct store_api_file out = {.id = "out",
                                 .user_id = "",
                                 .purpose = "batch_output",
                                 .name = "o",
                                 .sha256 = HASH,
                                 .bytes = 1};
    assert_ok(end("b", STORE_BATCH_COMPLETED, &out, NULL));
    b = get("b");
    assert_int_equal(b.state, STORE_BATCH_COMPLETED);
    assert_string_equal(b.output_file_id, "out");
    assert_null(b.error_file_id);
    assert_true(b.completed_ms && b.finalizing_ms && b.in_progress_ms);
    assert_int_equal(b.expired_ms, 0);
    assert_ok(store_api_file_get(store, "", "out", arena, &f, &why));
    assert_ok(store_batch_answered(store, "b", &numbers, &n, &why));
    assert_int_equal(n, 0);
    free(numbers);
    /* It ends once: nobody else's files are added. */
    out.id = "again";
    assert_int_equal(end("b", STORE_BATCH_CANCELLED, &out, NULL), ERR_NOT_FOUND);
    assert_int_equal(store_api_file_get(store, "", "again", arena, &f, &why), ERR_NOT_FOUND);
    assert_int_equal(store_batch_cancel(store, "", "b", &why), ERR_CONFLICT);
}

static void test_other_ends(void **state)
{
    (void)state;
    add_batch("f", "");
    assert_ok(end("f", STORE_BATCH_FAILED, NULL, "[{\"code\":\"x\"}]"));
    assert_int_equal(get("f").state, STORE_BATCH_FAILED);
    assert_string_equal(get("f").errors, "[{\"code\":\"x\"}]");
    assert_true(get("f").failed_ms > 0);
    add_batch("c", "");
    assert_int_equal(store_batch_cancel(store, "other", "c", &why), ERR_NOT_FOUND);
    assert_ok(store_batch_cancel(store, "", "c", &why));
    assert_ok(store_batch_cancel(store, "", "c", &why)); /* again is fine */
    assert_int_equal(get("c").state, STORE_BATCH_CANCELLING);
    assert_int_equal(store_batch_begin(store, "c", 1, &why), ERR_CONFLICT);
    assert_ok(end("c", STORE_BATCH_CANCELLED, NULL, NULL));
    assert_true(get("c").cancelled_ms >= get("c").cancelling_ms);
    add_batch("e", "");
    assert_ok(store_batch_begin(store, "e", 10, &why));
    add_line("e", 1, false, "one");
    add_line("e", 2, true, "two");
    assert_ok(end("e", STORE_BATCH_EXPIRED, NULL, NULL));
    assert_int_equal(get("e").failed, 9); /* those that were not answered, too */
    assert_true(get("e").expired_ms > 0);
}

/* One that fails in the middle: what was answered becomes its file, and no row stays behind. */
static void test_failed_in_the_middle(void **state)
{
    (void)state;
    struct store_api_file f, out = {.id = "out",
                                    .user_id = "",
                                    .purpose = "batch_output",
                                    .name = "o",
                                    .sha256 = HASH,
                                    .bytes = 1};
    add_batch("f", "");
    assert_ok(store_batch_begin(store, "f", 3, &why));
    add_line("f", 1, false, "one");
    assert_ok(end("f", STORE_BATCH_FAILED, &out, "[1]"));
    struct store_batch b = get("f");
    assert_int_equal(b.state, STORE_BATCH_FAILED);
    assert_string_equal(b.errors, "[1]");
    assert_string_equal(b.output_file_id, "out");
    assert_true(b.failed_ms > 0 && b.completed_ms == 0);
    assert_int_equal(b.completed, 1);
    assert_int_equal(b.failed, 0);
    assert_int_equal(lines_of("f"), 0);
    assert_ok(store_api_file_get(store, "", "out", arena, &f, &why));
    assert_int_equal(end("f", STORE_BATCH_FAILED, NULL, "[2]"), ERR_NOT_FOUND);
    assert_string_equal(get("f").errors, "[1]");
}

/* An answer that comes when its batch is over: nobody would ever take its row away. */
static void test_a_line_that_comes_too_late(void **state)
{
    (void)state;
    struct store_batch_line late = {2, false, "late"};
    add_batch("b", "");
    assert_ok(store_batch_begin(store, "b", 2, &why));
    add_line("b", 1, false, "one");
    assert_ok(store_batch_cancel(store, "", "b", &why));
    add_line("b", 3, false, "while it is being cancelled");
    assert_ok(end("b", STORE_BATCH_CANCELLED, NULL, NULL));
    assert_int_equal(store_batch_add_line(store, "b", &late, "{}", "m", &why), ERR_CONFLICT);
    assert_int_equal(lines_of("b"), 0);
    assert_int_equal(get("b").completed, 2);
}

static void test_lists_and_owners(void **state)
{
    (void)state;
    const char *ada = both_user("ada");
    struct store_batch *list, b;
    size_t n;
    add_batch("b1", ada);
    add_batch("b2", ada);
    add_batch("b3", "");
    struct store_batch_page first = {.limit = 1, .oldest_first = true};
    assert_ok(store_batch_list(store, ada, &first, arena, &list, &n, &why));
    assert_int_equal(n, 1);
    struct store_batch_page second = {.after = list[0].id, .limit = 5, .oldest_first = true};
    const char *id = list[0].id;
    assert_ok(store_batch_list(store, ada, &second, arena, &list, &n, &why));
    assert_int_equal(n, 1);
    assert_string_not_equal(list[0].id, id);
    second.after = "b3";
    assert_int_equal(store_batch_list(store, ada, &second, arena, &list, &n, &why), ERR_NOT_FOUND);
    assert_int_equal(store_batch_get(store, "", "b1", arena, &b, &why), ERR_NOT_FOUND);
    assert_ok(store_batch_get(store, ada, "b1", arena, &b, &why));
    add_line("b1", 1, false, "x");
    assert_ok(store_user_delete(store, ada, &why));
    assert_int_equal(store_batch_by_id(store, "b1", arena, &b, &why), ERR_NOT_FOUND);
    assert_ok(store_batch_by_id(store, "b3", arena, &b, &why));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH_TEST(test_files),
        BOTH_TEST(test_from_beginning_to_end),
        BOTH_TEST(test_other_ends),
        BOTH_TEST(test_failed_in_the_middle),
        BOTH_TEST(test_a_line_that_comes_too_late),
        BOTH_TEST(test_lists_and_owners),
    };
    return both_run("batches", tests, sizeof tests / sizeof *tests);
}
