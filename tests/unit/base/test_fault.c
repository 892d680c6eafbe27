/* Fault injection: which pass fails, and the environment's syntax. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fault.h"

#if HEARTH_FAULTS
static void test_only_the_nth_pass_fails(void **state)
{
    (void)state;
    fault_arm(FAULT_write, 3, false);
    for (int i = 1; i <= 6; i++) assert_int_equal(fault_hit(FAULT_write), i == 3);
    assert_int_equal(fault_count(FAULT_write), 6);
    assert_false(fault_hit(FAULT_decode));
    fault_arm(FAULT_write, 3, true);
    for (int i = 1; i <= 6; i++) assert_int_equal(fault_hit(FAULT_write), i >= 3);
    fault_arm(FAULT_write, 0, false);
    for (int i = 1; i <= 6; i++) assert_false(fault_hit(FAULT_write));
}

/* The environment is read once per process, so each case runs this binary again. */
static int run_with(const char *fault)
{
    pid_t pid = fork();
    if (pid == 0) {
        setenv("HEARTH_FAULT", fault, 1);
        close(STDERR_FILENO);
        execl("/proc/self/exe", "test_fault", "child", (char *)NULL);
        _exit(99);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* A bit per pass of "load" that failed, then of "write". */
static int child(void)
{
    int bits = 0;
    for (int i = 0; i < 3; i++) bits |= fault_hit(FAULT_load) << i;
    for (int i = 0; i < 3; i++) bits |= fault_hit(FAULT_write) << (3 + i);
    return 64 + bits; /* apart from the 2 of a refusal */
}

static void test_environment(void **state)
{
    (void)state;
    assert_int_equal(run_with(""), 64);
    assert_int_equal(run_with("load:2"), 64 + 2);
    assert_int_equal(run_with("load:2+"), 64 + 6);
    assert_int_equal(run_with("load:1,write:3"), 64 + 1 + 32);
}

static void test_wrong_environment_is_refused(void **state)
{
    (void)state;
    const char *bad[] = {"load", "load:0", "load:x", "lode:1", "load:1+,write:", "load:-1", ":1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_int_equal(run_with(bad[i]), 2);
}

int main(int argc, char **argv)
{
    (void)argv;
    if (argc > 1) return child();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_the_nth_pass_fails),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_wrong_environment_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
#else
static void test_release_builds_never_fail(void **state)
{
    (void)state;
    for (int p = 0; p < FAULT_COUNT; p++) assert_false(fault_hit((enum fault_point)p));
}

int main(void)
{
    setenv("HEARTH_FAULT", "alloc:1+", 1);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_release_builds_never_fail)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif
