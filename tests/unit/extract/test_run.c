/* The process that reads a document, when it is not honest: each way ends with a reason, in time,
 * and with nothing left running. The "program" is a shell script that has the child's socket as 3.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/fs.h"
#include "unit/extract/rig.h"

static const char *script(const char *text)
{
    static char path[200];
    char body[1024];
    struct error e;
    str_printf(path, sizeof path, "%s/program", rig_dir);
    str_printf(body, sizeof body, "#!/bin/sh\n%s\n", text);
    if (fs_write_atomic(path, body, strlen(body), 0700, &e)) fail_msg("%s", e.msg);
    return path;
}

static enum err run(const char *text, int seconds)
{
    struct extract_doc doc;
    struct extract_params p = {.program = script(text), .seconds = seconds};
    enum err e = rig_run(p, rig_text_file("a.txt", "text"), &doc);
    if (!e) extract_doc_free(&doc);
    return e;
}

static void test_one_that_says_nothing(void **state)
{
    (void)state;
    assert_int_equal(run("exit 7", 30), ERR_INTERNAL);
    assert_non_null(strstr(rig_error.msg, "ended with status 7"));
    assert_int_equal(run("kill -SEGV $$", 30), ERR_INVALID);
    assert_non_null(strstr(rig_error.msg, "crashed"));
    assert_int_equal(run("kill -XCPU $$", 30), ERR_TIMEOUT);
}

static void test_one_that_never_ends(void **state)
{
    (void)state;
    char command[200], path[160], text[64] = "";
    str_printf(path, sizeof path, "%s/pid", rig_dir);
    str_printf(command, sizeof command, "sleep 1000 & echo $! > %s; wait", path);
    int64_t before = clock_mono_ms();
    assert_int_equal(run(command, 1), ERR_TIMEOUT);
    assert_non_null(strstr(rig_error.msg, "longer than 1 s (HEARTH_EXTRACT_TIME)"));
    assert_true(clock_mono_ms() - before >= 1000);
    FILE *f = fopen(path, "r"); /* what it had started has ended, too */
    assert_non_null(f);
    assert_non_null(fgets(text, sizeof text, f));
    fclose(f);
    pid_t pid = (pid_t)strtol(text, NULL, 10);
    for (int i = 0; i < 600 && kill(pid, 0) == 0; i++) usleep(50000);
    assert_int_equal(kill(pid, 0), -1);
}

static void test_one_that_says_nonsense(void **state)
{
    (void)state;
    assert_int_equal(run("printf 'nothing of ours at all, and quite a lot of it' >&3", 30),
                     ERR_INVALID);
    assert_non_null(strstr(rig_error.msg, "nonsense"));
    assert_int_equal(run("exec cat /dev/zero >&3", 30), ERR_INVALID);
    /* the right beginning, then an endless text that is longer than was said to be possible */
    assert_int_equal(
        run("printf 'HXT1\\002\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0"
            "\\377\\377\\377\\377\\377\\377\\377\\377' >&3; exec yes >&3",
            30),
        ERR_INVALID);
    /* one that wants the time for OCR again and again */
    assert_int_equal(run("while :; do printf 'HXT1\\001\\0\\0\\0' >&3; done", 30), ERR_INVALID);
}

static bool at_once(void *ctx)
{
    return ++*(int *)ctx >= 2;
}

static void test_cancelling(void **state)
{
    (void)state;
    struct extract_doc doc;
    int asked = 0;
    struct extract_params p = {.program = script("sleep 1000"),
                               .path = rig_text_file("a.txt", "text")};
    assert_int_equal(extract_run(&p, at_once, &asked, &doc, &rig_error), ERR_CANCELLED);
    assert_int_equal(asked, 2);
}

static void test_a_program_that_is_not_there(void **state)
{
    (void)state;
    struct extract_doc doc;
    struct extract_params p = {.program = "/nonexistent/hearth"};
    assert_int_equal(rig_run(p, rig_text_file("a.txt", "text"), &doc), ERR_NOT_FOUND);
    assert_non_null(strstr(rig_error.msg, "no process for reading the document"));
}

/* The child gets nothing of the hub's environment and files. */
static void test_what_a_child_sees(void **state)
{
    (void)state;
    char command[300], path[160], text[2048] = "";
    str_printf(path, sizeof path, "%s/seen", rig_dir);
    str_printf(command, sizeof command, "env > %s; ls /proc/$$/fd >> %s; echo \"$@\" >> %s", path,
               path, path);
    setenv("JWT_SECRET_KEY", "very secret", 1);
    int low = open(path, O_RDWR | O_CREAT, 0600), leak = fcntl(low, F_DUPFD, 50);
    assert_true(leak >= 50); /* not close-on-exec */
    (void)run(command, 30);
    close(low);
    close(leak);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    assert_true(fread(text, 1, sizeof text - 1, f) > 0);
    fclose(f);
    assert_null(strstr(text, "secret"));
    assert_non_null(strstr(text, "HEARTH_EXTRACT=1"));
    char number[16];
    str_printf(number, sizeof number, "\n%d\n", leak);
    assert_null(strstr(text, number));
    assert_non_null(strstr(text, "\nextract\n"));
}

int main(void)
{
    if (extract_is_child()) return extract_main();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_that_says_nothing),
        cmocka_unit_test(test_one_that_never_ends),
        cmocka_unit_test(test_one_that_says_nonsense),
        cmocka_unit_test(test_cancelling),
        cmocka_unit_test(test_a_program_that_is_not_there),
        cmocka_unit_test(test_what_a_child_sees),
    };
    return cmocka_run_group_tests(tests, rig_setup, rig_teardown);
}
