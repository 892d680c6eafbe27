/* HEARTH_SHARED_PREFIXES: files, folders, and what is wrong with them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fs.h"
#include "provider/shared.h"

static char dir[64];

static const char *file(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static void write_file(const char *name, const char *text)
{
    struct error error;
    assert_int_equal(fs_write_atomic(file(name), text, strlen(text), 0600, &error), OK);
}

static int set_up(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/hearth-test-shared-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    char command[100];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command);
}

static void test_one_file(void **state)
{
    (void)state;
    struct shared_texts s = {0};
    struct error error;
    assert_int_equal(shared_read("", &s, &error), OK);
    assert_int_equal(s.n, 0);
    write_file("one", "  You are kind.\nAnd brief. \r\n\n");
    assert_int_equal(shared_read(file("one"), &s, &error), OK);
    assert_int_equal(s.n, 1);
    assert_string_equal(s.texts[0], "  You are kind.\nAnd brief.");
    shared_free(&s);
    unlink(file("one"));
}

static void test_a_folder(void **state)
{
    (void)state;
    struct shared_texts s = {0};
    struct error error;
    write_file("a", "first");
    write_file("b", "second");
    write_file(".hidden", "not this");
    write_file("blank", " \n");
    assert_int_equal(shared_read(dir, &s, &error), OK);
    assert_int_equal(s.n, 2);
    assert_int_equal(strlen(s.texts[0]) + strlen(s.texts[1]), 11);
    shared_free(&s);
}

static void test_what_is_wrong_is_said(void **state)
{
    (void)state;
    struct error error;
    struct shared_texts s = {0};
    assert_int_equal(shared_read(file("nowhere"), &s, &error), ERR_CONFIG);
    assert_non_null(strstr(error.msg, "HEARTH_SHARED_PREFIXES"));
    assert_non_null(strstr(error.msg, "nowhere"));
    assert_non_null(strstr(error.msg, "allowed: "));
    shared_free(&s);
    s = (struct shared_texts){0};
    write_file("bad", "\xFF\xFE");
    assert_int_equal(shared_read(dir, &s, &error), ERR_CONFIG);
    assert_non_null(strstr(error.msg, "bad"));
    shared_free(&s);
    unlink(file("bad"));
    s = (struct shared_texts){0};
    char name[16];
    for (int i = 0; i <= SHARED_MAX; i++) {
        snprintf(name, sizeof name, "n%d", i);
        write_file(name, "x");
    }
    assert_int_equal(shared_read(dir, &s, &error), ERR_CONFIG);
    assert_int_equal(s.n, SHARED_MAX);
    shared_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_file),
        cmocka_unit_test(test_a_folder),
        cmocka_unit_test(test_what_is_wrong_is_said),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
