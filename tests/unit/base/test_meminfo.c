/* Memory of the machine and of control groups, from made-up files. */
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

#include "base/meminfo.h"

static char root[64];

static void put(const char *path, const char *text)
{
    char full[256], command[300];
    snprintf(full, sizeof full, "%s%s", root, path);
    snprintf(command, sizeof command, "mkdir -p \"$(dirname '%s')\"", full);
    assert_int_equal(system(command), 0);
    FILE *f = fopen(full, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int make_root(void **state)
{
    (void)state;
    strcpy(root, "/tmp/hearth-test-XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int drop_root(void **state)
{
    (void)state;
    char command[100];
    snprintf(command, sizeof command, "rm -r '%s'", root);
    return system(command);
}

static const char MACHINE[] = "MemTotal:       1000 kB\nMemFree:  10 kB\nMemAvailable:    400 kB\n";

static void test_a_machine(void **state)
{
    (void)state;
    struct meminfo m;
    uint64_t available;
    put("/proc/meminfo", MACHINE);
    meminfo_open(&m, root);
    assert_int_equal(m.total, 1000 * 1024);
    assert_true(meminfo_available(&m, &available));
    assert_int_equal(available, 400 * 1024);
    put("/proc/meminfo", "MemTotal: 1000 kB\nMemAvailable: 300 kB\n");
    assert_true(meminfo_available(&m, &available)); /* what it is now */
    assert_int_equal(available, 300 * 1024);
    meminfo_close(&m);
}

static void test_a_group_has_less(void **state)
{
    (void)state;
    struct meminfo m;
    uint64_t available;
    put("/proc/meminfo", MACHINE);
    put("/proc/self/cgroup", "0::/system.slice/hearth.service\n");
    put("/sys/fs/cgroup/system.slice/hearth.service/memory.max", "max\n");
    put("/sys/fs/cgroup/system.slice/memory.max", "204800\n"); /* the group above it counts */
    put("/sys/fs/cgroup/system.slice/memory.current", "4800\n");
    meminfo_open(&m, root);
    assert_int_equal(m.total, 204800);
    assert_true(meminfo_available(&m, &available));
    assert_int_equal(available, 200000);
    meminfo_close(&m);
}

static void test_groups_of_version_1(void **state)
{
    (void)state;
    struct meminfo m;
    put("/proc/meminfo", MACHINE);
    put("/proc/self/cgroup", "5:cpu:/x\n3:memory:/docker/abc\n");
    put("/sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "102400\n");
    put("/sys/fs/cgroup/memory/docker/abc/memory.usage_in_bytes", "102401\n");
    meminfo_open(&m, root);
    assert_int_equal(m.total, 102400);
    uint64_t available = 1;
    assert_true(meminfo_available(&m, &available));
    assert_int_equal(available, 0);
    meminfo_close(&m);
}

static void test_nonsense_is_unknown(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "MemTotal: many kB\n", "MemTotal:\n",
                                        "MemTotal: 99999999999999999999999999 kB\n"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct meminfo m;
        uint64_t available;
        put("/proc/meminfo", texts[i]);
        put("/proc/self/cgroup", "nonsense\n0::\n");
        meminfo_open(&m, root);
        assert_int_equal(m.total, 0);
        assert_false(meminfo_available(&m, &available));
        meminfo_close(&m);
    }
}

static void test_this_machine(void **state)
{
    (void)state;
    struct meminfo m;
    meminfo_open(&m, "");
    assert_true(m.total > 64 << 20);
    meminfo_close(&m);
}

/* KiB of files that are in this process's memory. */
static long file_kib(void)
{
    char line[128];
    long kib = -1;
    FILE *f = fopen("/proc/self/status", "r");
    assert_non_null(f);
    while (kib < 0 && fgets(line, sizeof line, f)) (void)sscanf(line, "RssFile: %ld kB", &kib);
    fclose(f);
    assert_true(kib >= 0);
    return kib;
}

static void test_what_the_start_needed_is_let_go(void **state)
{
    char text[64];
    long before = file_kib();
    (void)state;
    for (int i = 0; i < 3; i++) meminfo_release_code();
    assert_true(file_kib() < before);
    /* Code, constants and what the loader has bound are as they were. */
    snprintf(text, sizeof text, "%s %.3f", MACHINE, 1.5);
    assert_true(strncmp(text, "MemTotal:       1000 kB", 23) == 0);
    test_a_machine(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_machine, make_root, drop_root),
        cmocka_unit_test_setup_teardown(test_a_group_has_less, make_root, drop_root),
        cmocka_unit_test_setup_teardown(test_groups_of_version_1, make_root, drop_root),
        cmocka_unit_test_setup_teardown(test_nonsense_is_unknown, make_root, drop_root),
        cmocka_unit_test(test_this_machine),
        cmocka_unit_test_setup_teardown(test_what_the_start_needed_is_let_go, make_root, drop_root),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
