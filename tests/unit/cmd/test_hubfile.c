/* hub.json: written, read back, not believed when its process is gone or its content is odd. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "cmd/hubfile.h"

static char dir[64], path[128];

static int make_dir(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/hearth-hubfile-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/hub.json", dir);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    unlink(path);
    rmdir(dir);
    return 0;
}

static void write_text(const char *text)
{
    struct error error;
    assert_int_equal(fs_write_atomic(path, text, strlen(text), 0600, &error), OK);
}

static void test_round_trip(void **state)
{
    (void)state;
    struct error error;
    char url[64];
    struct stat st;
    assert_false(hubfile_read(dir, url, sizeof(url)));
    assert_int_equal(hubfile_write(dir, "http://127.0.0.1:9", &error), OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_true(hubfile_read(dir, url, sizeof(url)));
    assert_string_equal(url, "http://127.0.0.1:9");
    hubfile_remove(dir);
    assert_false(fs_exists(path));
    hubfile_remove(dir); /* again: nothing there */
}

static void test_dead_process_is_not_believed(void **state)
{
    (void)state;
    char text[128], url[64];
    pid_t pid = fork();
    if (pid == 0) _exit(0);
    waitpid(pid, NULL, 0);
    snprintf(text, sizeof(text), "{\"pid\":%d,\"url\":\"http://127.0.0.1:9\"}", (int)pid);
    write_text(text);
    assert_false(hubfile_read(dir, url, sizeof(url)));
    hubfile_remove(dir); /* not ours: stays */
    assert_true(fs_exists(path));
}

static void test_odd_content_is_not_believed(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "{",
        "[]",
        "null",
        "{\"pid\":1}",
        "{\"pid\":0,\"url\":\"http://x\"}",
        "{\"pid\":-5,\"url\":\"http://x\"}",
        "{\"pid\":99999999999,\"url\":\"http://x\"}",
        "{\"pid\":\"1\",\"url\":\"http://x\"}",
        "{\"pid\":1,\"url\":\"http://a-url-that-is-longer-than-the-place-it-goes-to.example/x\"}",
    };
    char url[32];
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        write_text(texts[i]);
        assert_false(hubfile_read(dir, url, sizeof(url)));
        hubfile_remove(dir);
    }
}

static void test_urls(void **state)
{
    (void)state;
    static const struct {
        const char *host, *want;
    } cases[] = {
        {"127.0.0.1", "http://127.0.0.1:80"}, {"0.0.0.0", "http://127.0.0.1:80"},
        {"", "http://127.0.0.1:80"},          {"::", "http://[::1]:80"},
        {"::1", "http://[::1]:80"},           {"box.local", "http://box.local:80"},
    };
    char url[64];
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        assert_true(hubfile_url(cases[i].host, 80, url, sizeof(url)));
        assert_string_equal(url, cases[i].want);
    }
    assert_false(hubfile_url("127.0.0.1", 8000, url, 10));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trip, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_dead_process_is_not_believed, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_odd_content_is_not_believed, make_dir, remove_dir),
        cmocka_unit_test(test_urls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
