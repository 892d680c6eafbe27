/* Files and folders, in a folder of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/fs.h"
#include "base/str.h"

static char dir[] = "/tmp/hearth-fs-XXXXXX";

static int set_up(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    char command[100];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command);
}

static const char *in_dir(const char *name)
{
    static char path[FS_PATH_MAX];
    struct error error;
    assert_int_equal(fs_join(path, sizeof path, dir, name, &error), OK);
    return path;
}

static int entries(void)
{
    DIR *d = opendir(dir);
    assert_non_null(d);
    int n = 0;
    while (readdir(d)) n++;
    closedir(d);
    return n - 2;
}

static void test_join(void **state)
{
    (void)state;
    char dst[10];
    struct error e;
    assert_int_equal(fs_join(dst, sizeof dst, "/a", "b", &e), OK);
    assert_string_equal(dst, "/a/b");
    assert_int_equal(fs_join(dst, sizeof dst, "/a/", "b", &e), OK);
    assert_string_equal(dst, "/a/b");
    assert_int_equal(fs_join(dst, sizeof dst, "", "b", &e), OK);
    assert_string_equal(dst, "b");
    assert_int_equal(fs_join(dst, sizeof dst, "/12345", "678", &e), ERR_INVALID);
    assert_non_null(strstr(e.msg, "/12345"));
}

static void test_mkdirs(void **state)
{
    (void)state;
    struct error e;
    assert_int_equal(fs_mkdirs(in_dir("a/b//c/"), 0700, &e), OK);
    assert_true(fs_exists(in_dir("a/b/c")));
    assert_int_equal(fs_mkdirs(in_dir("a/b/c"), 0700, &e), OK);
    assert_int_equal(fs_mkdirs("/", 0700, &e), OK);
    assert_int_equal(fs_mkdirs("", 0700, &e), ERR_INVALID);
    assert_int_equal(fs_write_atomic(in_dir("file"), "x", 1, 0600, &e), OK);
    assert_int_equal(fs_mkdirs(in_dir("file"), 0700, &e), ERR_CONFLICT);
    assert_int_equal(fs_mkdirs(in_dir("file/x"), 0700, &e), ERR_CONFLICT);
    assert_non_null(strstr(e.msg, "is not a folder"));
    char *too_long = calloc(1, FS_PATH_MAX + 10);
    memset(too_long, 'a', FS_PATH_MAX + 5);
    assert_int_equal(fs_mkdirs(too_long, 0700, &e), ERR_INVALID);
    free(too_long);
    unlink(in_dir("file"));
}

static void test_write_and_read(void **state)
{
    (void)state;
    struct error e;
    struct buf b;
    const char *path = in_dir("data");
    buf_init(&b, 1000000);
    assert_int_equal(fs_write_atomic(path, "old", 3, 0644, &e), OK);
    char *big = malloc(100000);
    memset(big, 'b', 100000);
    assert_int_equal(fs_write_atomic(path, big, 100000, 0600, &e), OK);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(fs_read_file(path, 100000, &b, &e), OK);
    assert_int_equal(b.len, 100000);
    assert_memory_equal(b.data, big, 100000);
    buf_clear(&b);
    assert_int_equal(fs_read_file(path, 99999, &b, &e), ERR_TOO_LARGE);
    assert_int_equal(fs_read_file(in_dir("none"), 10, &b, &e), ERR_NOT_FOUND);
    assert_non_null(strstr(e.msg, "/none: No such file"));
    assert_int_equal(fs_read_file(dir, 10, &b, &e), ERR_IO);
    assert_int_equal(fs_write_atomic(in_dir("none/x"), "x", 1, 0600, &e), ERR_NOT_FOUND);
    buf_free(&b);
    free(big);
    unlink(in_dir("data"));
}

static void test_failed_write_keeps_the_old_file_and_no_rubbish(void **state)
{
    (void)state;
#if HEARTH_FAULTS
    struct error e;
    struct buf b;
    const char *path = in_dir("kept");
    assert_int_equal(fs_write_atomic(path, "old", 3, 0600, &e), OK);
    int before = entries();
    fault_arm(FAULT_write, 1, false);
    assert_int_equal(fs_write_atomic(path, "new", 3, 0600, &e), ERR_DISK_FULL);
    assert_non_null(strstr(e.msg, "No space left"));
    fault_arm(FAULT_write, 0, false);
    assert_int_equal(entries(), before);
    buf_init(&b, 100);
    assert_int_equal(fs_read_file(path, 100, &b, &e), OK);
    assert_string_equal(buf_str(&b), "old");
    buf_free(&b);
    fault_arm(FAULT_alloc, 1, false);
    buf_init(&b, 100);
    assert_int_equal(fs_read_file(path, 100, &b, &e), ERR_NOMEM);
    fault_arm(FAULT_alloc, 0, false);
    buf_free(&b);
    unlink(path);
#else
    skip();
#endif
}

static void test_rename_onto_a_folder_leaves_no_rubbish(void **state)
{
    (void)state;
    struct error e;
    assert_int_equal(fs_mkdirs(in_dir("folder"), 0700, &e), OK);
    int before = entries();
    assert_int_not_equal(fs_write_atomic(in_dir("folder"), "x", 1, 0600, &e), OK);
    assert_int_equal(entries(), before);
}

static void test_free_bytes_of_what_is_not_there_yet(void **state)
{
    (void)state;
    struct error e;
    uint64_t here = 0, later = 0;
    assert_int_equal(fs_free_bytes(dir, &here, &e), OK);
    assert_int_equal(fs_free_bytes(in_dir("not/yet/there"), &later, &e), OK);
    assert_true(here > 0 && later > 0);
    assert_int_equal(fs_free_bytes("relative/not/there", &later, &e), OK);
    assert_int_equal(fs_free_bytes("/not-there", &later, &e), OK);
}

static void test_user_folders(void **state)
{
    (void)state;
    char dst[FS_PATH_MAX];
    struct error e;
    setenv("XDG_DATA_HOME", "/xdg/data", 1);
    assert_int_equal(fs_user_data_dir(dst, sizeof dst, &e), OK);
    assert_string_equal(dst, "/xdg/data/hearth");
    setenv("XDG_DATA_HOME", "relative", 1);
    setenv("HOME", "/home/x", 1);
    assert_int_equal(fs_user_data_dir(dst, sizeof dst, &e), OK);
    assert_string_equal(dst, "/home/x/.local/share/hearth");
    unsetenv("XDG_CONFIG_HOME");
    assert_int_equal(fs_user_config_dir(dst, sizeof dst, &e), OK);
    assert_string_equal(dst, "/home/x/.config/hearth");
    unsetenv("XDG_CACHE_HOME");
    assert_int_equal(fs_user_cache_dir(dst, sizeof dst, &e), OK);
    assert_string_equal(dst, "/home/x/.cache/hearth");
    assert_int_equal(fs_user_cache_dir(dst, 10, &e), ERR_INVALID);
    unsetenv("HOME"); /* the user database knows it too */
    assert_int_equal(fs_user_cache_dir(dst, sizeof dst, &e), OK);
    assert_true(str_ends(dst, "/.cache/hearth"));
}

static void test_exe_dir(void **state)
{
    (void)state;
    char dst[FS_PATH_MAX], self[FS_PATH_MAX];
    struct error e;
    assert_int_equal(fs_exe_dir(dst, sizeof dst, &e), OK);
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    assert_true(n > 0);
    self[n] = '\0';
    *strrchr(self, '/') = '\0';
    assert_string_equal(dst, self);
    assert_int_equal(fs_exe_dir(dst, 3, &e), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_join),
        cmocka_unit_test(test_mkdirs),
        cmocka_unit_test(test_write_and_read),
        cmocka_unit_test(test_failed_write_keeps_the_old_file_and_no_rubbish),
        cmocka_unit_test(test_rename_onto_a_folder_leaves_no_rubbish),
        cmocka_unit_test(test_free_bytes_of_what_is_not_there_yet),
        cmocka_unit_test(test_user_folders),
        cmocka_unit_test(test_exe_dir),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
