/* Durable jobs, on both databases. */
#include "both.h"
#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "store/store_job.h"

static void add(const char *id, int32_t priority, const char *key)
{
    char got[STORE_JOB_ID_MAX];
    struct store_job job = {.id = id, .kind = "test", .key = key, .priority = priority};
    assert_ok(store_job_add(store, &job, got, &why));
}

static enum err take(const char *worker, int64_t lease_ms, struct store_job *job)
{
    return store_job_take(store, worker, NULL, lease_ms, arena, job, &why);
}

static void expect_state(const char *id, enum store_job_state state)
{
    struct store_job job;
    assert_ok(store_job_get(store, NULL, id, arena, &job, &why));
    assert_string_equal(store_job_state_name(job.state), store_job_state_name(state));
}

static void test_a_job(void **state)
{
    (void)state;
    struct store_job job;
    add("later", 50, NULL);
    add("first", 10, NULL);
    assert_ok(take("w", 60000, &job));
    assert_string_equal(job.id, "first");
    assert_int_equal(job.attempts, 1);
    assert_ok(store_job_renew(store, "first", "w", 60000, "{\"n\":1}", &why));
    assert_ok(store_job_done(store, "first", "w", &why));
    assert_ok(store_job_get(store, NULL, "first", arena, &job, &why));
    assert_string_equal(job.progress, "{\"n\":1}");
    expect_state("first", STORE_JOB_DONE);
    assert_int_equal(store_job_done(store, "first", "w", &why), ERR_CONFLICT);
    assert_int_equal(store_job_done(store, "none", "w", &why), ERR_NOT_FOUND);
    assert_ok(take("w", 60000, &job));
    assert_string_equal(job.id, "later");
    assert_int_equal(take("w", 60000, &job), ERR_NOT_FOUND);
}

static void test_failing_and_trying_again(void **state)
{
    (void)state;
    struct store_job job;
    int64_t ms;
    char id[STORE_JOB_ID_MAX];
    struct store_job twice = {.id = "j", .kind = "test", .max_attempts = 2};
    assert_ok(store_job_add(store, &twice, id, &why));
    assert_ok(take("w", 60000, &job));
    assert_ok(store_job_fail(store, "j", "w", "no luck", clock_wall_ms() + 60000, &why));
    expect_state("j", STORE_JOB_QUEUED);
    assert_int_equal(take("w", 60000, &job), ERR_NOT_FOUND); /* not due yet */
    assert_ok(store_job_next_ms(store, NULL, &ms, &why));
    assert_true(ms > 50000 && ms <= 60000);
    assert_int_equal(store_job_retry(store, NULL, "j", &why), ERR_CONFLICT);
    assert_ok(store_job_cancel(store, NULL, "j", &why));
    assert_ok(store_job_next_ms(store, NULL, &ms, &why));
    assert_int_equal(ms, -1);
    assert_ok(store_job_retry(store, NULL, "j", &why));
    for (int i = 0; i < 2; i++) {
        assert_ok(take("w", 60000, &job));
        assert_ok(store_job_fail(store, "j", "w", "no luck", 1, &why));
    }
    assert_ok(store_job_get(store, NULL, "j", arena, &job, &why));
    expect_state("j", STORE_JOB_FAILED);
    assert_string_equal(job.error, "no luck");
}

static void test_a_dead_worker(void **state)
{
    (void)state;
    struct store_job job;
    char id[STORE_JOB_ID_MAX];
    struct store_job twice = {.id = "j", .kind = "test", .max_attempts = 2};
    assert_ok(store_job_add(store, &twice, id, &why));
    assert_ok(take("dead", -1, &job)); /* its lease is over at once */
    assert_ok(take("alive", 60000, &job));
    assert_int_equal(job.attempts, 2);
    assert_int_equal(store_job_renew(store, "j", "dead", 1000, NULL, &why), ERR_CONFLICT);
    assert_int_equal(store_job_done(store, "j", "dead", &why), ERR_CONFLICT);
    assert_ok(store_job_renew(store, "j", "alive", -1, NULL, &why));
    assert_int_equal(take("third", 60000, &job), ERR_NOT_FOUND);
    expect_state("j", STORE_JOB_FAILED);
}

static void test_cancelling_a_running_one(void **state)
{
    (void)state;
    struct store_job job;
    add("j", 1, NULL);
    assert_ok(take("w", 60000, &job));
    assert_ok(store_job_cancel(store, NULL, "j", &why));
    assert_int_equal(store_job_renew(store, "j", "w", 1000, NULL, &why), ERR_CANCELLED);
    assert_int_equal(store_job_done(store, "j", "w", &why), ERR_CANCELLED);
    assert_int_equal(store_job_cancel(store, NULL, "j", &why), ERR_CONFLICT);
}

static void test_one_unfinished_job_per_key(void **state)
{
    (void)state;
    struct store_job job, again = {.id = "b", .kind = "test", .key = "file-1"};
    char id[STORE_JOB_ID_MAX];
    add("a", 1, "file-1");
    assert_ok(store_job_add(store, &again, id, &why));
    assert_string_equal(id, "a");
    assert_ok(take("w", 60000, &job));
    assert_ok(store_job_add(store, &again, id, &why));
    assert_string_equal(id, "a");
    assert_ok(store_job_done(store, "a", "w", &why));
    assert_ok(store_job_add(store, &again, id, &why));
    assert_string_equal(id, "b");
}

static void test_users_see_their_own_jobs(void **state)
{
    (void)state;
    const char *ada = both_user("ada"), *eve = both_user("eve");
    struct store_job *list, job, own = {.id = "j", .kind = "test", .user_id = ada};
    char id[STORE_JOB_ID_MAX];
    size_t n;
    assert_ok(store_job_add(store, &own, id, &why));
    assert_int_equal(store_job_get(store, eve, "j", arena, &job, &why), ERR_NOT_FOUND);
    assert_int_equal(store_job_cancel(store, eve, "j", &why), ERR_NOT_FOUND);
    assert_int_equal(store_job_retry(store, eve, "j", &why), ERR_NOT_FOUND);
    assert_ok(store_job_list(store, eve, -1, 10, arena, &list, &n, &why));
    assert_int_equal(n, 0);
    assert_ok(store_job_list(store, ada, STORE_JOB_QUEUED, 10, arena, &list, &n, &why));
    assert_int_equal(n, 1);
    assert_ok(store_job_list(store, ada, STORE_JOB_DONE, 10, arena, &list, &n, &why));
    assert_int_equal(n, 0);
}

enum { JOBS = 200 };
static atomic_int taken[JOBS];

static void *work(void *name)
{
    struct error error;
    for (;;) {
        struct store_job job;
        struct arena *a = arena_new(1 << 16);
        enum err e = store_job_take(store, name, NULL, 60000, a, &job, &error);
        if (!e) {
            atomic_fetch_add(&taken[atoi(job.id)], 1);
            e = store_job_done(store, job.id, name, &error);
        }
        arena_free(a);
        if (e == ERR_NOT_FOUND) return NULL;
        if (e) {
            fprintf(stderr, "%s\n", error.msg);
            return (void *)1;
        }
    }
}

static void test_workers_never_share_a_job(void **state)
{
    (void)state;
    static char *names[] = {"a", "b", "c", "d", "e", "f"};
    pthread_t threads[6];
    for (int i = 0; i < JOBS; i++) {
        char id[16];
        str_printf(id, sizeof id, "%d", i);
        add(id, i % 3, NULL);
        atomic_store(&taken[i], 0);
    }
    for (int i = 0; i < 6; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work, names[i]), 0);
    for (int i = 0; i < 6; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    for (int i = 0; i < JOBS; i++) assert_int_equal(atomic_load(&taken[i]), 1);
}

static void test_kinds_and_giving_back(void **state)
{
    (void)state;
    struct store_job job;
    const char **workers;
    size_t n;
    int64_t ms;
    add("j", 50, NULL);
    assert_int_equal(store_job_take(store, "w", ",other,tes,", 60000, arena, &job, &why),
                     ERR_NOT_FOUND);
    assert_ok(store_job_next_ms(store, ",other,", &ms, &why));
    assert_int_equal(ms, -1);
    assert_ok(store_job_take(store, "w", ",other,test,", 60000, arena, &job, &why));
    assert_ok(store_job_give_back(store, "j", "w", &why));
    assert_int_equal(store_job_give_back(store, "j", "w", &why), ERR_CONFLICT);
    assert_ok(take("w2", 60000, &job));
    assert_int_equal(job.attempts, 1); /* the first one does not count */
    assert_ok(store_job_workers(store, arena, &workers, &n, &why));
    assert_int_equal(n, 1);
    assert_string_equal(workers[0], "w2");
    assert_ok(store_job_worker_died(store, "w2", &why));
    assert_ok(take("w3", 60000, &job));
    assert_int_equal(job.attempts, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH_TEST(test_kinds_and_giving_back),    BOTH_TEST(test_a_job),
        BOTH_TEST(test_failing_and_trying_again), BOTH_TEST(test_a_dead_worker),
        BOTH_TEST(test_cancelling_a_running_one), BOTH_TEST(test_one_unfinished_job_per_key),
        BOTH_TEST(test_users_see_their_own_jobs), BOTH_TEST(test_workers_never_share_a_job),
    };
    return both_run("jobs", tests, sizeof tests / sizeof *tests);
}
