/* The runner of durable jobs: on SQLite in a file, with runners of this process and another one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/str.h"
#include "jobs/jobs.h"
#include "jobs/jobs_int.h"

static char dir[64], url[96];
static struct store *store;
static struct arena *arena;
static struct error why;

#define assert_ok(call)                                                                            \
    do {                                                                                           \
        if ((call) != OK) fail_msg("%s: %s", #call, why.msg);                                      \
    } while (0)

static atomic_int away; /* how often the database can't be opened */

static enum err open_it(void *ctx, struct store **out, struct error *error)
{
    (void)ctx;
    if (atomic_fetch_sub(&away, 1) > 0) return err_set(error, ERR_DATABASE, "away");
    *out = store;
    return OK;
}

static int set_up(void **state)
{
    (void)state;
    str_copy(dir, sizeof dir, "/tmp/hearth-jobs-XXXXXX");
    if (!mkdtemp(dir)) return -1;
    str_printf(url, sizeof url, "%s/hearth.db", dir);
    struct store_params params = {.url = url, .migrate = true};
    if (store_open(&params, &store, &why)) return -1;
    arena = arena_new(8 << 20);
    atomic_store(&away, 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char command[128];
    store_close(store);
    arena_free(arena);
    str_printf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command);
}

static void add(const char *id, const char *kind, int32_t max_attempts)
{
    char got[STORE_JOB_ID_MAX];
    struct store_job job = {
        .id = id, .kind = kind, .payload = "{\"word\":\"hello\"}", .max_attempts = max_attempts};
    assert_ok(store_job_add(store, &job, got, &why));
}

static struct store_job get(const char *id)
{
    struct store_job job;
    assert_ok(store_job_get(store, NULL, id, arena, &job, &why));
    return job;
}

/* Minutes, not seconds: the machine may be busy. */
static void wait_state(const char *id, enum store_job_state state)
{
    int64_t until = clock_mono_ms() + 60000;
    while (get(id).state != state) {
        if (clock_mono_ms() > until) fail_msg("%s is %s", id, store_job_state_name(get(id).state));
        usleep(5000);
    }
}

static void wait_count(atomic_int *n, int at_least)
{
    int64_t until = clock_mono_ms() + 60000;
    while (atomic_load(n) < at_least) {
        if (clock_mono_ms() > until) fail_msg("waited in vain");
        usleep(2000);
    }
}

/* What handlers do, and how often they did. */
struct work {
    atomic_int runs, failures, fail_first;
    atomic_bool hold; /* until cancelled */
    enum err with;
};

static enum err handle(struct job_ctx *job, void *ctx, struct error *error)
{
    struct work *w = ctx;
    const char *word;
    enum err e = job_payload_str(job, "word", &word, error);
    if (!e && !str_eq(word, "hello")) e = err_set(error, ERR_INVALID, "another word");
    if (!e && job_payload_str(job, "none", &word, error) != ERR_INVALID) ht_bug("there is none");
    job_progress(job, "working", 1, 2);
    int run = atomic_fetch_add(&w->runs, 1);
    while (atomic_load(&w->hold)) {
        if (job_cancelled(job)) return err_set(error, ERR_CANCELLED, "cancelled");
        usleep(1000);
    }
    if (!e && run < w->fail_first) e = err_set(error, w->with, "no luck");
    return e;
}

static void on_failed(struct store *s, const struct store_job *job, void *ctx,
                      const struct error *error)
{
    struct work *w = ctx;
    assert_ptr_equal(s, store);
    assert_non_null(job->id);
    assert_string_equal(error->msg, "no luck");
    atomic_fetch_add(&w->failures, 1);
}

static struct jobs *start(struct work *w, int64_t lease_ms)
{
    struct jobs_params params = {.open = open_it, .lease_ms = lease_ms, .retry_ms = 1};
    struct jobs *j = jobs_new(&params);
    jobs_register(j, "test", handle, on_failed, w);
    assert_ok(jobs_start(j, true, &why));
    return j;
}

static void test_jobs_are_done(void **state)
{
    (void)state;
    struct work w = {0};
    add("before", "test", 0);
    add("other", "not_registered", 0);
    struct jobs *j = start(&w, 0);
    wait_state("before", STORE_JOB_DONE);
    add("after", "test", 0);
    jobs_wake(j);
    wait_state("after", STORE_JOB_DONE);
    jobs_free(j);
    assert_int_equal(atomic_load(&w.runs), 2);
    assert_int_equal(get("other").state, STORE_JOB_QUEUED);
}

static void test_what_may_pass_is_tried_again(void **state)
{
    (void)state;
    struct work w = {.fail_first = 2, .with = ERR_NETWORK};
    add("j", "test", 5);
    struct jobs *j = start(&w, 0);
    wait_state("j", STORE_JOB_DONE);
    jobs_free(j);
    assert_int_equal(get("j").attempts, 3);
    assert_int_equal(atomic_load(&w.failures), 0);
}

static void test_what_does_not_pass_fails_at_once(void **state)
{
    (void)state;
    struct work w = {.fail_first = 9, .with = ERR_UNSUPPORTED};
    add("j", "test", 5);
    struct jobs *j = start(&w, 0);
    wait_state("j", STORE_JOB_FAILED);
    jobs_free(j);
    assert_string_equal(get("j").error, "no luck");
    assert_int_equal(get("j").attempts, 1);
    assert_int_equal(atomic_load(&w.failures), 1);
}

static void test_too_many_attempts(void **state)
{
    (void)state;
    struct work w = {.fail_first = 9, .with = ERR_NETWORK};
    add("j", "test", 3);
    struct jobs *j = start(&w, 0);
    wait_state("j", STORE_JOB_FAILED);
    jobs_free(j);
    assert_int_equal(get("j").attempts, 3);
    assert_int_equal(atomic_load(&w.failures), 1);
}

static void test_cancelling(void **state)
{
    (void)state;
    struct work w = {.hold = true};
    add("j", "test", 0);
    struct jobs *j = start(&w, 600000); /* a renewal alone would come too late */
    wait_count(&w.runs, 1);
    assert_ok(store_job_cancel(store, NULL, "j", &why));
    jobs_recheck(j);
    atomic_store(&w.hold, true);
    add("next", "test", 0);
    jobs_wake(j);
    wait_count(&w.runs, 2);
    atomic_store(&w.hold, false);
    wait_state("next", STORE_JOB_DONE);
    jobs_free(j);
    assert_int_equal(get("j").state, STORE_JOB_CANCELLED);
}

static void test_stopping_gives_back(void **state)
{
    (void)state;
    struct work w = {.hold = true};
    add("j", "test", 1);
    struct jobs *j = start(&w, 0);
    wait_count(&w.runs, 1);
    jobs_free(j);
    assert_int_equal(get("j").state, STORE_JOB_QUEUED);
    assert_int_equal(get("j").attempts, 0);
    atomic_store(&w.hold, false);
    j = start(&w, 0);
    wait_state("j", STORE_JOB_DONE);
    jobs_free(j);
}

/* A lease much shorter than the work: the keeper renews it, so that nobody else takes the job. */
static void test_leases_are_renewed(void **state)
{
    (void)state;
    struct work w = {.hold = true}, other = {0};
    add("j", "test", 0);
    struct jobs *j = start(&w, 1500);
    wait_count(&w.runs, 1);
    struct jobs *k = start(&other, 1500);
    int64_t until = clock_mono_ms() + 4000;
    while (clock_mono_ms() < until) {
        jobs_wake(k);
        usleep(20000);
    }
    assert_int_equal(atomic_load(&other.runs), 0);
    int64_t waited = clock_mono_ms() + 60000; /* progress is written */
    while (!strstr(get("j").progress, "\"working\"") && clock_mono_ms() < waited) usleep(5000);
    assert_string_equal(get("j").progress, "{\"what\":\"working\",\"done\":1,\"total\":2}");
    atomic_store(&w.hold, false);
    wait_state("j", STORE_JOB_DONE);
    jobs_free(j);
    jobs_free(k);
}

static void test_a_database_that_is_away(void **state)
{
    (void)state;
    struct work w = {0};
    add("j", "test", 0);
    atomic_store(&away, 2);
    struct jobs *j = start(&w, 0);
    wait_state("j", STORE_JOB_DONE);
    jobs_free(j);
}

/* A process takes a job and is killed: the next one has it at once, though the lease is long. */
static void test_a_killed_process(void **state)
{
    (void)state;
    struct work w = {0};
    add("j", "test", 0);
    store_close(store); /* SQLite's connections don't cross a fork */
    pid_t pid = fork();
    if (pid == 0) {
        struct store_params params = {.url = url};
        struct store_job job;
        char name[WORKER_MAX];
        worker_name(name);
        if (store_open(&params, &store, &why)) _exit(1);
        if (store_job_take(store, name, NULL, 3600 * 1000, arena, &job, &why)) _exit(1);
        kill(getpid(), SIGKILL);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    struct store_params params = {.url = url};
    assert_ok(store_open(&params, &store, &why));
    assert_int_equal(get("j").state, STORE_JOB_RUNNING);
    struct jobs *j = start(&w, 0);
    wait_state("j", STORE_JOB_DONE);
    jobs_free(j);
    assert_int_equal(get("j").attempts, 2);
}

static void test_names_of_workers(void **state)
{
    (void)state;
    char name[WORKER_MAX], other[WORKER_MAX];
    worker_name(name);
    worker_name(other);
    assert_string_not_equal(name, other);
    assert_false(worker_is_dead(name));
    assert_false(worker_is_dead("w"));
    assert_false(worker_is_dead(""));
    assert_false(worker_is_dead("11111111-1111-1111-1111-111111111111-4026531836-1-1-0"));
}

int main(void)
{
#define JOBS_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        JOBS_TEST(test_jobs_are_done),
        JOBS_TEST(test_what_may_pass_is_tried_again),
        JOBS_TEST(test_what_does_not_pass_fails_at_once),
        JOBS_TEST(test_too_many_attempts),
        JOBS_TEST(test_cancelling),
        JOBS_TEST(test_stopping_gives_back),
        JOBS_TEST(test_leases_are_renewed),
        JOBS_TEST(test_a_database_that_is_away),
        JOBS_TEST(test_a_killed_process),
        JOBS_TEST(test_names_of_workers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
