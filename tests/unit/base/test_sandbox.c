/* What the sandbox refuses, tried out from within: each test is a child that drops its rights and
 * then tries. Runs nowhere near the hub. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/sandbox.h"
#include "base/str.h"

/* A leak checker forks and traces, so with one these are not refused. */
#if defined(__SANITIZE_ADDRESS__)
#define UNDER_ASAN 1
#else
#define UNDER_ASAN 0
#endif

static char dir[64], readable[96], writable[96], outside[96], report[256];

static int make_file(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || write(fd, "x", 1) != 1) return -1;
    return close(fd);
}

static int setup(void **state)
{
    (void)state;
    str_copy(dir, sizeof dir, "/tmp/hearth-test-XXXXXX");
    if (!mkdtemp(dir)) return -1;
    str_printf(readable, sizeof readable, "%s/models", dir);
    str_printf(writable, sizeof writable, "%s/cache", dir);
    str_printf(outside, sizeof outside, "%s/secret", dir);
    char model[128];
    str_printf(model, sizeof model, "%s/m.gguf", readable);
    return mkdir(readable, 0700) || mkdir(writable, 0700) || make_file(outside) || make_file(model);
}

static int teardown(void **state)
{
    (void)state;
    char command[100];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command);
}

static void drop(void)
{
    const char *read[] = {readable, "/nonexistent"}, *write[] = {writable};
    struct sandbox_params params = {
        .read = read, .n_read = 2, .write = write, .n_write = 1, .devices = true};
    sandbox_apply(&params, report, sizeof report);
}

/* Runs `what` in a child without rights; its result is what the test expects. */
static void in_sandbox(int (*what)(void))
{
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        drop();
        _exit(what());
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* 0 when the call failed as it should. */
static int refused(long rc, int errnum)
{
    if (rc < 0 && errno == errnum) return 0;
    fprintf(stderr, "it gave %ld, %s\n", rc, strerror(errno));
    return 1;
}

static int try_network(void)
{
    struct sockaddr to = {.sa_family = AF_INET};
    return refused(socket(AF_INET, SOCK_STREAM, 0), EPERM) ||
           refused(socket(AF_UNIX, SOCK_STREAM, 0), EPERM) ||
           refused(socket(AF_NETLINK, SOCK_RAW, 0), EPERM) ||
           refused(connect(0, &to, sizeof to), EPERM);
}

static int try_programs(void)
{
    char *argv[] = {"/bin/true", NULL};
    return refused(execv("/bin/true", argv), EPERM) || (!UNDER_ASAN && refused(fork(), EPERM)) ||
           (!UNDER_ASAN && system("true") == 0);
}

static int try_others(void)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/mem", getppid());
    return refused(kill(getppid(), 0), EPERM) ||
           (!UNDER_ASAN && refused(ptrace(PTRACE_ATTACH, getppid(), NULL, NULL), EPERM)) ||
           refused(open(path, O_RDWR), EACCES);
}

static int try_files(void)
{
    char model[128], cached[128];
    snprintf(model, sizeof model, "%s/m.gguf", readable);
    snprintf(cached, sizeof cached, "%s/c", writable);
    if (open(model, O_RDONLY) < 0) return 2;
    if (open("/proc/cpuinfo", O_RDONLY) < 0 || open("/dev/urandom", O_RDONLY) < 0) return 3;
    if (make_file(cached)) return 4;
    return refused(open(outside, O_RDONLY), EACCES) || refused(open(model, O_RDWR), EACCES) ||
           refused(open("/etc/passwd", O_RDONLY), EACCES) ||
           refused(open(dir, O_RDONLY | O_DIRECTORY), EACCES) || refused(unlink(model), EACCES) ||
           refused(rename(cached, outside), EACCES);
}

static void *ran(void *arg)
{
    *(int *)arg = socket(AF_INET, SOCK_STREAM, 0) < 0 && errno == EPERM;
    return NULL;
}

/* Threads can be started, and have no more rights. */
static int try_threads(void)
{
    pthread_t t;
    int ok = 0;
    if (pthread_create(&t, NULL, ran, &ok) != 0) return 2;
    pthread_join(t, NULL);
    return !ok;
}

static int abort_here(void)
{
    abort(); /* its own signals still work */
}

static void test_network(void **state)
{
    (void)state;
    in_sandbox(try_network);
}

static void test_programs(void **state)
{
    (void)state;
    in_sandbox(try_programs);
}

static bool has_landlock(void)
{
    fflush(NULL);
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        drop();
        _exit(write(fds[1], report, sizeof report) != sizeof report);
    }
    char text[sizeof report] = "";
    assert_int_equal(read(fds[0], text, sizeof text), sizeof text);
    waitpid(pid, NULL, 0);
    close(fds[0]);
    close(fds[1]);
    assert_non_null(strstr(text, "no network, no programs (seccomp)"));
    return strstr(text, "NOT restricted") == NULL;
}

static void test_files(void **state)
{
    (void)state;
    if (!has_landlock()) skip();
    in_sandbox(try_files);
}

static void test_others(void **state)
{
    (void)state;
    if (!has_landlock()) skip();
    in_sandbox(try_others);
}

static int run_program(const char *path)
{
    char *argv[] = {(char *)path, NULL};
    pid_t pid = fork();
    if (pid == 0) {
        execv(path, argv);
        _exit(errno == EACCES ? 77 : 78);
    }
    int status = -1;
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status)) return -1;
    return WEXITSTATUS(status);
}

/* Only the program that was named, and it has no more rights. */
static int try_named_programs(void)
{
    if (run_program("/bin/true") != 0) return 2;
    if (run_program("/bin/false") != 77) return 3;
    struct sockaddr to = {.sa_family = AF_INET};
    return refused(socket(AF_INET, SOCK_STREAM, 0), EPERM) ||
           refused(connect(0, &to, sizeof to), EPERM) || refused(setpgid(0, 0), EPERM) ||
           refused(kill(getppid(), 0), EPERM) || refused(open(outside, O_RDONLY), EACCES);
}

static void test_named_programs(void **state)
{
    (void)state;
    if (!has_landlock()) skip();
    static const char *const run[] = {"/bin/true"};
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        struct sandbox_params params = {.run = run, .n_run = 1};
        sandbox_apply(&params, report, sizeof report);
        _exit(try_named_programs());
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_threads(void **state)
{
    (void)state;
    in_sandbox(try_threads);
}

static void test_an_abort_is_an_abort(void **state)
{
    (void)state;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        drop();
        signal(SIGABRT, SIG_DFL);
        _exit(abort_here());
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && !WCOREDUMP(status));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_network),        cmocka_unit_test(test_programs),
        cmocka_unit_test(test_files),          cmocka_unit_test(test_others),
        cmocka_unit_test(test_threads),        cmocka_unit_test(test_an_abort_is_an_abort),
        cmocka_unit_test(test_named_programs),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
