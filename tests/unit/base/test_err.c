/* Errors: table, messages that are cut between characters, the end for broken invariants. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/str.h"

static void test_table_is_consistent(void **state)
{
    (void)state;
    for (int i = 0; i < ERR_COUNT; i++) {
        enum err code = (enum err)i;
        assert_true(err_name(code)[0] && err_api_code(code)[0] && err_meaning(code)[0]);
        int status = err_http_status(code);
        assert_true(code == OK ? status == 200 : status >= 400 && status <= 599);
        for (int j = 0; j < i; j++)
            assert_string_not_equal(err_api_code(code), err_api_code((enum err)j));
    }
    assert_string_equal(err_name(ERR_NO_MODEL), "ERR_NO_MODEL");
    assert_string_equal(err_api_code(ERR_CONTEXT), "context_length_exceeded");
    assert_int_equal(err_http_status(ERR_BUSY), 429);
}

static void test_set_fills_and_returns(void **state)
{
    (void)state;
    struct error e = {.param = "old"};
    assert_int_equal(err_set(&e, ERR_INVALID, "%s is %d", "n", 7), ERR_INVALID);
    assert_int_equal(e.code, ERR_INVALID);
    assert_string_equal(e.msg, "n is 7");
    assert_string_equal(e.param, "");
    assert_int_equal(err_set_param(&e, ERR_JSON, "/a", "bad"), ERR_JSON);
    assert_string_equal(e.param, "/a");
    assert_int_equal(err_set(NULL, ERR_IO, "nobody listens"), ERR_IO);
    assert_int_equal(err_set_param(NULL, ERR_IO, "/a", "nobody listens"), ERR_IO);
}

static void test_folders_are_hidden(void **state)
{
    (void)state;
    struct error e;
    err_set(&e, ERR_IO, "/home/me/models/a.gguf: no; /home/me/models/b.gguf neither");
    err_hide_folder(&e, "/home/me/models/a.gguf");
    assert_string_equal(e.msg, "a.gguf: no; b.gguf neither");
    err_set(&e, ERR_IO, "reading /a: no");
    err_hide_folder(&e, "/a"); /* that would take every slash out */
    assert_string_equal(e.msg, "reading /a: no");
    err_hide_folder(&e, "");
    err_hide_folder(NULL, "/a/b");
    assert_string_equal(e.msg, "reading /a: no");
}

static void test_message_may_quote_itself(void **state)
{
    (void)state;
    struct error e;
    err_set_param(&e, ERR_IO, "file", "no such file");
    err_set_param(&e, ERR_CONFIG, e.param, "settings: %s", e.msg);
    assert_string_equal(e.msg, "settings: no such file");
    assert_string_equal(e.param, "file");
}

static void test_long_message_is_cut_between_characters(void **state)
{
    (void)state;
    char text[2000] = "";
    for (int shift = 0; shift < 4; shift++) {
        size_t n = (size_t)shift;
        memset(text, 'x', n);
        while (n + 4 < sizeof text) n += (size_t)snprintf(text + n, 5, "\xF0\x9F\x94\xA5");
        struct error e;
        err_set_param(&e, ERR_INVALID, text, "%s", text);
        assert_true(utf8_valid(e.msg, strlen(e.msg)));
        assert_true(strlen(e.msg) > ERROR_MSG_MAX - 5);
        assert_true(utf8_valid(e.param, strlen(e.param)));
        assert_true(strlen(e.param) > ERROR_PARAM_MAX - 5);
        err_prefix(&e, "p%s", text);
        assert_true(utf8_valid(e.msg, strlen(e.msg)));
    }
}

static void test_prefix_keeps_code_and_param(void **state)
{
    (void)state;
    struct error e;
    err_set_param(&e, ERR_MODEL_FILE, "x.gguf", "it is truncated");
    assert_int_equal(err_prefix(&e, "loading %s", "x.gguf"), ERR_MODEL_FILE);
    assert_string_equal(e.msg, "loading x.gguf: it is truncated");
    assert_string_equal(e.param, "x.gguf");
    err_prefix(NULL, "nobody listens");
}

static void test_errno_gets_its_code(void **state)
{
    (void)state;
    struct error e;
    assert_int_equal(err_set_errno(&e, ENOENT, "opening x"), ERR_NOT_FOUND);
    assert_string_equal(e.msg, "opening x: No such file or directory");
    assert_int_equal(err_set_errno(&e, EACCES, "x"), ERR_FORBIDDEN);
    assert_int_equal(err_set_errno(&e, ENOSPC, "x"), ERR_DISK_FULL);
    assert_int_equal(err_set_errno(&e, EDQUOT, "x"), ERR_DISK_FULL);
    assert_int_equal(err_set_errno(&e, ENOMEM, "x"), ERR_NOMEM);
    assert_int_equal(err_set_errno(&e, EIO, "x"), ERR_IO);
}

static void test_broken_invariant_aborts_with_place_and_expression(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fds[1], STDERR_FILENO);
        signal(SIGABRT, SIG_DFL);
        volatile int two = 2;
        ht_assert(two == 3);
        _exit(0);
    }
    close(fds[1]);
    char text[8192] = "";
    size_t len = 0;
    for (ssize_t n; (n = read(fds[0], text + len, sizeof text - 1 - len)) > 0;) len += (size_t)n;
    close(fds[0]);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_non_null(strstr(text, "test_err.c:"));
    assert_non_null(strstr(text, "two == 3"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table_is_consistent),
        cmocka_unit_test(test_set_fills_and_returns),
        cmocka_unit_test(test_folders_are_hidden),
        cmocka_unit_test(test_message_may_quote_itself),
        cmocka_unit_test(test_long_message_is_cut_between_characters),
        cmocka_unit_test(test_prefix_keeps_code_and_param),
        cmocka_unit_test(test_errno_gets_its_code),
        cmocka_unit_test(test_broken_invariant_aborts_with_place_and_expression),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
