/* Runs a suite on an SQLite file and on a private PostgreSQL, each test on an empty database. */
#ifndef HEARTH_TESTS_STORE_BOTH_H
#define HEARTH_TESTS_STORE_BOTH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/id.h"
#include "base/str.h"
#include "store/store.h"
#include "store/store_conversation.h"
#include "store/store_user.h"

static char both_dir[64];
static char both_url[256];
static bool both_pg;
static struct store *store; /* of the test that runs */
static struct arena *arena;
static struct error why; /* of the last call that failed */

static inline void both_shell(const char *verb)
{
    char command[512];
    str_printf(command, sizeof command, "'%s/tools/pg-private' %s '%s/pg' > '%s/url'",
               HEARTH_SOURCE_DIR, verb, both_dir, both_dir);
    if (system(command) != 0) {
        fprintf(stderr, "failed: %s\n", command);
        abort();
    }
}

static inline void both_start_pg(void)
{
    char path[96];
    both_shell("start");
    str_printf(path, sizeof path, "%s/url", both_dir);
    FILE *f = fopen(path, "r");
    if (!f || !fgets(both_url, sizeof both_url, f)) abort();
    both_url[strcspn(both_url, "\n")] = '\0';
    fclose(f);
}

static inline struct store *both_open(bool migrate)
{
    struct store_params params = {.url = both_url,
                                  .connections = 8,
                                  .migrate = migrate,
                                  .vec_extension = HEARTH_BINARY_DIR "/lib/hearth/vec0.so"};
    struct store *s = NULL;
    if (store_open(&params, &s, &why)) fail_msg("store_open: %s", why.msg);
    return s;
}

static inline int both_set_up(void **state)
{
    (void)state;
    if (!both_pg) {
        char path[96];
        str_printf(path, sizeof path, "%s-wal", both_url);
        unlink(path);
        unlink(both_url);
    }
    store = both_open(true);
    arena = arena_new(16 << 20);
    if (!both_pg) return 0;
    assert_int_equal(store_migrate(store, 0, &why), OK); /* an empty one again */
    assert_int_equal(store_migrate(store, -1, &why), OK);
    return 0;
}

static inline int both_tear_down(void **state)
{
    (void)state;
    store_close(store);
    arena_free(arena);
    return 0;
}

static inline void both_clean(void)
{
    char command[128];
    str_printf(command, sizeof command, "rm -rf '%s'", both_dir);
    if (system(command) != 0) fprintf(stderr, "left behind: %s\n", both_dir);
}

/* Runs `tests` on both; returns the number of failures. */
static inline int both_run(const char *name, const struct CMUnitTest *tests, size_t n)
{
    char group[96];
    str_copy(both_dir, sizeof both_dir, "/tmp/hearth-store-XXXXXX");
    if (!mkdtemp(both_dir) || chmod(both_dir, 0755)) abort();
    str_printf(both_url, sizeof both_url, "%s/hearth.db", both_dir);
    str_printf(group, sizeof group, "%s on SQLite", name);
    int failed = _cmocka_run_group_tests(group, tests, n, NULL, NULL);
    both_pg = true;
    both_start_pg();
    str_printf(group, sizeof group, "%s on PostgreSQL", name);
    failed += _cmocka_run_group_tests(group, tests, n, NULL, NULL);
    both_shell("stop");
    both_clean();
    return failed;
}

#define BOTH_TEST(f) cmocka_unit_test_setup_teardown(f, both_set_up, both_tear_down)

/* ---- things that tests need ------------------------------------------------------------------ */

#define assert_ok(call)                                                                            \
    do {                                                                                           \
        if ((call) != OK) fail_msg("%s: %s", #call, why.msg);                                      \
    } while (0)

static inline const char *both_user(const char *name)
{
    static char ids[16][37];
    static int next;
    char *id = ids[next++ % 16];
    id_uuid4(id);
    struct store_user_new u = {.id = id, .username = name, .password_hash = "hash of it"};
    assert_ok(store_user_create(store, &u, &why));
    return id;
}

#endif
