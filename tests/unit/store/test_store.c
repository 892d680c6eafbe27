/* Opening, migrations, connections, and what happens when the database or this process dies. */
#include "both.h"
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/fault.h"

static void test_up_and_down(void **state)
{
    (void)state;
    struct store_migration all[STORE_MIGRATIONS_MAX];
    size_t n;
    assert_ok(store_migrations(store, all, &n, &why));
    assert_true(n >= 2);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(all[i].version, i + 1);
        assert_true(all[i].applied_ms > 0);
    }
    for (int32_t v = (int32_t)n - 1; v >= 0; v--) assert_ok(store_migrate(store, v, &why));
    assert_ok(store_migrations(store, all, &n, &why));
    assert_int_equal(all[0].applied_ms, 0);
    struct store_user u;
    assert_int_not_equal(store_user_by_name(store, "x", arena, &u, &why), OK);
    for (int32_t v = 1; v <= (int32_t)n; v++) assert_ok(store_migrate(store, v, &why));
    both_user("again");
    assert_int_equal(store_migrate(store, (int32_t)n + 1, &why), ERR_INVALID);
    assert_non_null(strstr(why.msg, "newest"));
}

static void test_an_old_database_is_not_touched_unasked(void **state)
{
    (void)state;
    struct store_params params = {.url = both_url};
    struct store *other;
    assert_ok(store_migrate(store, 1, &why));
    assert_int_equal(store_open(&params, &other, &why), ERR_DATABASE);
    assert_non_null(strstr(why.msg, "hearth db migrate"));
    assert_ok(store_migrate(store, -1, &why));
    assert_ok(store_open(&params, &other, &why));
    store_close(other);
}

static void *migrate(void *out)
{
    struct error error;
    struct store_params params = {.url = both_url, .migrate = true};
    if (store_open(&params, out, &error)) {
        fprintf(stderr, "%s\n", error.msg);
        return (void *)1;
    }
    return NULL;
}

static void test_several_hubs_migrate_at_once(void **state)
{
    (void)state;
    pthread_t threads[4];
    struct store *stores[4];
    assert_ok(store_migrate(store, 0, &why));
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, migrate, &stores[i]), 0);
    for (int i = 0; i < 4; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
        store_close(stores[i]);
    }
    both_user("there");
}

static void *write_many(void *name)
{
    for (int i = 0; i < 50; i++) {
        char id[64];
        struct error error;
        str_printf(id, sizeof id, "%s-%d", (const char *)name, i);
        struct store_user_new u = {.id = id, .username = id, .password_hash = "x"};
        if (store_user_create(store, &u, &error)) return (void *)1;
        struct arena *a = arena_new(1 << 16);
        struct store_user got;
        enum err e = store_user_by_id(store, id, a, &got, &error);
        arena_free(a);
        if (e) return (void *)1; /* what was written is there for every reader */
    }
    return NULL;
}

static void test_many_threads(void **state)
{
    (void)state;
    static char names[16][8];
    pthread_t threads[16];
    int64_t n;
    for (int i = 0; i < 16; i++) {
        str_printf(names[i], sizeof names[i], "t%d", i);
        assert_int_equal(pthread_create(&threads[i], NULL, write_many, names[i]), 0);
    }
    for (int i = 0; i < 16; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    assert_ok(store_user_count(store, &n, &why));
    assert_int_equal(n, 16 * 50);
}

/* Writes users and says each one's number when it was acknowledged, until it is killed. */
static void write_until_killed(int out)
{
    struct store *s = both_open(false);
    for (int i = 0;; i++) {
        char id[32];
        str_printf(id, sizeof id, "u%d", i);
        struct store_user_new u = {.id = id, .username = id, .password_hash = "x"};
        if (store_user_create(s, &u, &why)) _exit(2);
        if (write(out, &i, sizeof i) != sizeof i) _exit(3);
    }
}

static void test_what_was_acknowledged_survives_kill(void **state)
{
    (void)state;
    int64_t have;
    for (int round = 0; round < 5; round++) {
        int pipes[2], last = -1, got;
        store_close(store);
        assert_int_equal(pipe(pipes), 0);
        pid_t child = fork();
        if (child == 0) write_until_killed(pipes[1]);
        close(pipes[1]);
        for (int i = 0; i < 40 + 13 * round; i++)
            if (read(pipes[0], &got, sizeof got) == sizeof got) last = got;
        kill(child, SIGKILL);
        while (read(pipes[0], &got, sizeof got) == sizeof got) last = got;
        waitpid(child, NULL, 0);
        close(pipes[0]);
        assert_true(last >= 0);
        store = both_open(false);
        assert_ok(store_user_count(store, &have, &why));
        assert_true(have == last + 1 || have == last + 2); /* one may be written and not yet told */
        assert_ok(store_migrate(store, 0, &why));
        assert_ok(store_migrate(store, -1, &why));
    }
}

static void test_the_database_goes_and_comes_back(void **state)
{
    (void)state;
    if (!both_pg) skip();
    both_user("before");
    both_shell("kill");
    struct store_user_new u = {.id = "x", .username = "x", .password_hash = "x"};
    assert_int_equal(store_user_create(store, &u, &why), ERR_DATABASE);
    assert_int_equal(store_ping(store, &why), ERR_DATABASE);
    both_shell("again");
    enum err e = ERR_DATABASE;
    for (int i = 0; e && i < 50; i++) { /* each connection finds out for itself */
        e = store_user_create(store, &u, &why);
        if (e) usleep(100000);
    }
    assert_ok(e);
    assert_ok(store_ping(store, &why));
}

#if HEARTH_FAULTS
static void test_a_full_disk(void **state)
{
    (void)state;
    struct store_message m = {.id = "m", .role = "user", .content = "x"};
    if (both_pg) skip();
    const char *ada = both_user("ada");
    assert_ok(store_conversation_create(store, ada, "c", "", NULL, &why));
    for (int nth = 1; nth <= 3; nth++) { /* BEGIN, the two statements */
        fault_arm(FAULT_write, nth, false);
        assert_int_equal(store_conversation_append(store, ada, "c", &m, 1, &why), ERR_DISK_FULL);
        fault_arm(FAULT_write, 0, false);
        struct store_conversation c;
        assert_ok(store_conversation_get(store, ada, "c", arena, &c, &why));
        assert_int_equal(c.n_messages, 0);
    }
    assert_ok(store_conversation_append(store, ada, "c", &m, 1, &why));
}
#endif

static void test_places_that_are_none(void **state)
{
    (void)state;
    struct store *s;
    struct store_params params = {.url = "/nonexistent/folder/hearth.db", .migrate = true};
    assert_int_equal(store_open(&params, &s, &why), ERR_DATABASE);
    params.url = "postgresql://nobody@127.0.0.1:1/none";
    assert_int_equal(store_open(&params, &s, &why), ERR_DATABASE);
    assert_non_null(strstr(why.msg, "can't be reached"));
    char path[96];
    str_printf(path, sizeof path, "%s/garbage.db", both_dir);
    FILE *f = fopen(path, "w");
    for (int i = 0; i < 1000; i++) fputs("this is no database at all ", f);
    fclose(f);
    params.url = path;
    assert_int_equal(store_open(&params, &s, &why), ERR_DATABASE);
}

static void test_asyncpg_urls_are_read(void **state)
{
    (void)state;
    char url[300];
    struct store *s;
    if (!both_pg) skip();
    str_printf(url, sizeof url, "postgresql+asyncpg%s", strchr(both_url, ':'));
    struct store_params params = {.url = url};
    assert_ok(store_open(&params, &s, &why));
    assert_string_equal(store_kind(s), "postgresql");
    store_close(s);
}

static struct store *open_file(const char *path)
{
    struct store_params params = {.url = path, .migrate = true};
    struct store *s = NULL;
    assert_ok(store_open(&params, &s, &why));
    return s;
}

static void expect_ada(struct store *s, const char *id)
{
    struct store_user u;
    struct store_message *m;
    size_t n;
    assert_ok(store_user_by_name(s, "ada", arena, &u, &why));
    assert_string_equal(u.id, id);
    assert_ok(store_message_branch(s, id, "c", NULL, arena, &m, &n, &why));
    assert_int_equal(n, 2);
    assert_string_equal(m[0].content, "Grüße 🙂");
    assert_null(m[0].reasoning);
    struct store_conversation *list;
    struct store_conversation_page page = {.limit = 10, .search = "Grüße"};
    assert_ok(store_conversation_list(s, id, &page, arena, &list, &n, &why));
    assert_int_equal(n, 1); /* the words are found there, too */
}

static void test_everything_moves(void **state)
{
    (void)state;
    char path[96], backup[96];
    int64_t rows;
    struct store_message two[] = {{.id = "m1", .role = "user", .content = "Grüße 🙂"},
                                  {.id = "m2", .role = "assistant", .content = "Hello"}};
    const char *ada = both_user("ada");
    assert_ok(store_conversation_create(store, ada, "c", "t", NULL, &why));
    assert_ok(store_conversation_append(store, ada, "c", two, 2, &why));
    str_printf(path, sizeof path, "%s/copy-%d.db", both_dir, both_pg);
    struct store *file = open_file(path);
    assert_ok(store_copy(store, file, &rows, &why));
    assert_int_equal(rows, 4);
    expect_ada(file, ada);
    assert_int_equal(store_copy(store, file, &rows, &why), ERR_CONFLICT);
    expect_ada(file, ada);
    assert_ok(store_migrate(store, 0, &why));
    assert_ok(store_migrate(store, -1, &why));
    assert_ok(store_copy(file, store, &rows, &why));
    expect_ada(store, ada);
    str_printf(backup, sizeof backup, "%s/backup-%d.db", both_dir, both_pg);
    assert_ok(store_backup(file, backup, &why));
    assert_int_equal(store_backup(file, backup, &why), ERR_CONFLICT);
    store_close(file);
    file = open_file(backup);
    expect_ada(file, ada);
    store_close(file);
    unlink(backup);
    assert_ok(store_backup(store, backup, &why)); /* of PostgreSQL too, as an SQLite file */
    file = open_file(backup);
    expect_ada(file, ada);
    assert_ok(store_check(file, &why));
    store_close(file);
    assert_ok(store_check(store, &why));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH_TEST(test_up_and_down),
        BOTH_TEST(test_an_old_database_is_not_touched_unasked),
        BOTH_TEST(test_several_hubs_migrate_at_once),
        BOTH_TEST(test_many_threads),
        BOTH_TEST(test_everything_moves),
        BOTH_TEST(test_what_was_acknowledged_survives_kill),
        BOTH_TEST(test_the_database_goes_and_comes_back),
#if HEARTH_FAULTS
        BOTH_TEST(test_a_full_disk),
#endif
        BOTH_TEST(test_places_that_are_none),
        BOTH_TEST(test_asyncpg_urls_are_read),
    };
    return both_run("store", tests, sizeof tests / sizeof *tests);
}
