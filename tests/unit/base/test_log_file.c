/* The log's file: turned over by size and age, opened anew, written into by a child. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/log_file.h"
#include "base/str.h"
#include "base/thread.h"

static char dir[64], path[FS_PATH_MAX];

static int set_up(void **state)
{
    (void)state;
    struct error error;
    str_copy(dir, sizeof dir, "/tmp/hearth-log-XXXXXX");
    if (!mkdtemp(dir) || fs_join(path, sizeof path, dir, "hub.log", &error)) return -1;
    return log_open(LOG_INFO, false, path, &error) == OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    struct error error;
    char command[128];
    log_file_drain();
    if (log_open(LOG_OFF, false, NULL, &error)) return -1;
    str_printf(command, sizeof command, "rm -rf %s", dir);
    return system(command);
}

/* <path>.n, or the path for 0; NULL when it is not there. */
static char *read_nth(int n)
{
    char name[FS_PATH_MAX + 16];
    struct buf b;
    struct error error;
    buf_init(&b, 64 << 20);
    str_printf(name, sizeof name, n ? "%s.%d" : "%s", path, n);
    if (!fs_exists(name)) return NULL;
    assert_int_equal(fs_read_file(name, 64 << 20, &b, &error), OK);
    return buf_take(&b);
}

static int count(const char *text, const char *what)
{
    int n = 0;
    for (const char *p = text; p && (p = strstr(p, what)); p++) n++;
    return n;
}

static void test_turned_over_by_size(void **state)
{
    (void)state;
    log_file_limit(&(struct log_limits){.max_bytes = 1000, .keep = 2});
    for (int i = 0; i < 100; i++) log_info(hub, "line %04d", i);
    size_t whole = 0;
    char *texts[4];
    for (int i = 0; i < 4; i++) texts[i] = read_nth(i);
    assert_null(texts[3]);
    for (int i = 0; i < 3; i++) {
        assert_non_null(texts[i]);
        assert_true(strlen(texts[i]) <= 1000);
        assert_true(str_ends(texts[i], "\n"));
        whole += (size_t)count(texts[i], "line ");
    }
    /* The newest lines, without a gap. */
    assert_true(whole > 20 && whole < 100);
    for (int i = 99; i > 99 - (int)whole; i--) {
        char line[32];
        str_printf(line, sizeof line, "line %04d\n", i);
        assert_int_equal(count(texts[0], line) + count(texts[1], line) + count(texts[2], line), 1);
    }
    for (int i = 0; i < 3; i++) free(texts[i]);
}

static void test_turned_over_by_age(void **state)
{
    (void)state;
    log_file_limit(&(struct log_limits){.max_age_ms = 50, .keep = 5});
    log_info(hub, "old");
    usleep(120000);
    log_info(hub, "young");
    char *now = read_nth(0), *before = read_nth(1);
    assert_true(now && strstr(now, "young") && !strstr(now, "old"));
    assert_true(before && strstr(before, "old") && !strstr(before, "young"));
    free(now);
    free(before);
}

static void *log_many(void *arg)
{
    for (int i = 0; i < 2000; i++) log_info(engine, "%s %04d end", (const char *)arg, i);
    return NULL;
}

static void test_no_line_is_lost_while_threads_turn_it_over(void **state)
{
    (void)state;
    char names[4][4] = {"t0", "t1", "t2", "t3"};
    pthread_t threads[4];
    struct error error;
    int n = 0;
    log_file_limit(&(struct log_limits){.max_bytes = 20000, .keep = 900});
    for (int i = 0; i < 4; i++)
        assert_int_equal(thread_start(&threads[i], "t", log_many, names[i], &error), OK);
    for (int i = 0; i < 4; i++) thread_join(threads[i]);
    for (int i = 0; i < 900; i++) {
        char *text = read_nth(i);
        if (!text) break;
        n += count(text, " end\n");
        free(text);
    }
    assert_int_equal(n, 8000);
}

static void test_opened_anew_after_somebody_moved_it(void **state)
{
    (void)state;
    struct error error;
    char moved[FS_PATH_MAX];
    log_info(hub, "before");
    str_printf(moved, sizeof moved, "%.4000s.1", path);
    assert_int_equal(rename(path, moved), 0);
    log_info(hub, "between");
    assert_int_equal(log_file_reopen(&error), OK);
    log_info(hub, "after");
    char *now = read_nth(0), *before = read_nth(1);
    assert_true(strstr(now, "after") && !strstr(now, "between"));
    assert_true(strstr(before, "before") && strstr(before, "between"));
    free(now);
    free(before);
}

static void test_another_process_has_turned_it_over(void **state)
{
    (void)state;
    char moved[FS_PATH_MAX];
    log_file_limit(&(struct log_limits){.max_bytes = 300, .keep = 3});
    log_info(hub, "mine");
    str_printf(moved, sizeof moved, "%.4000s.1", path);
    assert_int_equal(rename(path, moved), 0);
    for (int i = 0; i < 6; i++) log_info(hub, "filler filler filler %d", i);
    char *third = read_nth(2); /* only taken up again, not turned over a second time */
    assert_null(third);
    char *now = read_nth(0);
    assert_true(now && strstr(now, "filler 5"));
    free(now);
}

static void test_it_goes_on_when_it_cannot_be_turned_over(void **state)
{
    (void)state;
    char taken[FS_PATH_MAX], inside[FS_PATH_MAX];
    struct error error;
    str_printf(taken, sizeof taken, "%.4000s.1", path);
    str_printf(inside, sizeof inside, "%.4000s.1/x", path);
    assert_int_equal(fs_mkdirs(inside, 0700, &error), OK); /* a file can't take its name */
    log_file_limit(&(struct log_limits){.max_bytes = 200, .keep = 1});
    for (int i = 0; i < 20; i++) log_info(hub, "line %04d", i);
    char *text = read_nth(0);
    assert_int_equal(count(text, "line "), 20);
    free(text);
}

static void test_a_child_writes_into_it_through_a_pipe(void **state)
{
    (void)state;
    log_file_limit(&(struct log_limits){.max_bytes = 5000, .keep = 100});
    int fd = log_fd();
    assert_true(fd >= 0);
    assert_int_equal(log_fd(), fd);
    pid_t pid = fork();
    if (pid == 0) {
        for (int i = 0; i < 1000; i++) {
            char line[64];
            str_printf(line, sizeof line, "child %04d\n", i);
            if (write(fd, line, strlen(line)) < 0) _exit(1);
        }
        _exit(0);
    }
    int status;
    for (int i = 0; i < 100; i++) log_info(hub, "hub %04d", i);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    log_file_drain();
    int n = 0, hub = 0;
    for (int i = 0; i < 100; i++) {
        char *text = read_nth(i);
        if (!text) break;
        assert_true(strlen(text) <= 5000 + 4096);
        n += count(text, "child ");
        hub += count(text, "  hub 0");
        free(text);
    }
    assert_int_equal(n, 1000);
    assert_int_equal(hub, 100);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_turned_over_by_size),
        TEST(test_turned_over_by_age),
        TEST(test_no_line_is_lost_while_threads_turn_it_over),
        TEST(test_opened_anew_after_somebody_moved_it),
        TEST(test_another_process_has_turned_it_over),
        TEST(test_it_goes_on_when_it_cannot_be_turned_over),
        TEST(test_a_child_writes_into_it_through_a_pipe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
