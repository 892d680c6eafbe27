/* Collections, files and watched folders, on both databases. */
#include "both.h"
#include <pthread.h>

#include "base/clock.h"
#include "store/db_int.h"
#include "store/store_file.h"

static const struct store_job indexing = {.kind = "index_file", .priority = 60};

static struct store_asker asker(const char *user_id)
{
    return (struct store_asker){.user_id = user_id};
}

static struct store_file a_file(const char *collection_id, const char *name, const char *sha256)
{
    return (struct store_file){.collection_id = collection_id,
                               .name = name,
                               .sha256 = sha256,
                               .bytes = 100,
                               .type = "text/plain"};
}

static const char *default_of(const char *user)
{
    struct store_collection c;
    assert_ok(store_collection_default(store, user, "documents", arena, &c, &why));
    return c.id;
}

/* Adds one that must be new; the id lives as long as the arena. */
static const char *add(const char *user, const char *collection, const char *name, const char *sha)
{
    struct store_asker who = asker(user);
    struct store_file f = a_file(collection, name, sha);
    char id[STORE_ID_MAX];
    bool added;
    assert_ok(store_file_add(store, &who, &f, &indexing, id, &added, &why));
    assert_true(added);
    return arena_strdup(arena, id);
}

static void test_collections(void **state)
{
    (void)state;
    const char *ada = both_user("ada"), *bob = both_user("bob");
    struct store_collection c, *list;
    struct store_asker bob_asks = asker(bob), admin = {.user_id = bob, .admin = true};
    char own[STORE_ID_MAX], shared[STORE_ID_MAX], id[STORE_ID_MAX];
    size_t n;
    assert_string_equal(default_of(ada), default_of(ada));
    assert_string_not_equal(default_of(ada), default_of(bob));
    assert_ok(store_collection_create(store, ada, "papers", own, &why));
    assert_ok(store_collection_create(store, NULL, "papers", shared, &why));
    assert_int_equal(store_collection_create(store, ada, "papers", id, &why), ERR_CONFLICT);
    assert_int_equal(store_collection_create(store, NULL, "papers", id, &why), ERR_CONFLICT);
    assert_int_equal(store_collection_create(store, "nobody", "x", id, &why), ERR_NOT_FOUND);
    assert_ok(store_collection_find(store, ada, "papers", arena, &c, &why));
    assert_string_equal(c.id, own); /* her own one first */
    assert_true(c.n > 0 && c.n < INT64_C(1) << 53);
    assert_ok(store_collection_find(store, bob, "papers", arena, &c, &why));
    assert_string_equal(c.id, shared);
    assert_null(c.user_id);
    assert_int_equal(store_collection_find(store, bob, own, arena, &c, &why), ERR_NOT_FOUND);
    assert_ok(store_collection_list(store, ada, arena, &list, &n, &why));
    assert_int_equal(n, 3);
    assert_int_equal(store_collection_delete(store, &bob_asks, own, &why), ERR_NOT_FOUND);
    assert_int_equal(store_collection_delete(store, &bob_asks, shared, &why), ERR_FORBIDDEN);
    assert_ok(store_collection_delete(store, &admin, shared, &why));
    assert_int_equal(store_collection_delete(store, &admin, own, &why), ERR_NOT_FOUND);
}

static void test_a_file(void **state)
{
    (void)state;
    const char *ada = both_user("ada"), *bob = both_user("bob");
    struct store_asker who = asker(ada), other = asker(bob);
    const char *home = default_of(ada);
    struct store_file f, same = a_file(home, "again.txt", "aa");
    struct store_job job;
    struct store_file_totals usage;
    char id[STORE_ID_MAX];
    int64_t n;
    bool added = true;
    const char *first = add(ada, home, "Notes.txt", "aa");
    assert_ok(store_file_add(store, &who, &same, &indexing, id, &added, &why));
    assert_false(added);
    assert_string_equal(id, first);
    assert_ok(store_file_get(store, ada, first, arena, &f, &why));
    assert_string_equal(f.name, "Notes.txt");
    assert_int_equal(f.status, STORE_FILE_QUEUED);
    assert_string_equal(f.user_id, ada);
    assert_true(f.n > 0 && f.collection_n > 0);
    assert_int_equal(store_file_get(store, bob, first, arena, &f, &why), ERR_NOT_FOUND);
    assert_int_equal(store_file_add(store, &other, &same, &indexing, id, &added, &why),
                     ERR_NOT_FOUND); /* her collection */
    assert_ok(store_job_take(store, "w", NULL, 60000, arena, &job, &why));
    assert_string_equal(job.kind, "index_file");
    assert_string_equal(job.user_id, ada);
    assert_non_null(strstr(job.payload, first));
    assert_int_equal(store_job_take(store, "w", NULL, 60000, arena, &job, &why), ERR_NOT_FOUND);
    assert_ok(store_file_usage(store, ada, &usage, &why));
    assert_int_equal(usage.files, 1);
    assert_int_equal(usage.bytes, 100);
    add(bob, default_of(bob), "hers too.txt", "aa");
    assert_ok(store_file_references(store, "aa", &n, &why));
    assert_int_equal(n, 2);
    assert_int_equal(store_file_delete(store, &other, first, &why), ERR_NOT_FOUND);
    assert_ok(store_file_delete(store, &who, first, &why));
    assert_int_equal(store_file_delete(store, &who, first, &why), ERR_NOT_FOUND);
    assert_ok(store_job_get(store, NULL, job.id, arena, &job, &why));
    assert_int_equal(job.state, STORE_JOB_CANCELLED);
}

static void test_progress(void **state)
{
    (void)state;
    const char *ada = both_user("ada");
    const char *id = add(ada, default_of(ada), "a.pdf", "aa");
    struct store_file f,
        changed = {.sha256 = "bb", .bytes = 7, .type = "text/html", .source_ms = 3};
    struct store_job job = indexing;
    struct store_file_progress p = {.status = STORE_FILE_EMBEDDING,
                                    .done = 3,
                                    .total = 9,
                                    .n_chunks = 9,
                                    .n_pages = 2,
                                    .error = "not kept"};
    assert_ok(store_file_progress(store, id, "aa", &p, &why));
    assert_ok(store_file_by_id(store, id, arena, &f, &why));
    assert_int_equal(f.status, STORE_FILE_EMBEDDING);
    assert_int_equal(f.done, 3);
    assert_int_equal(f.total, 9);
    assert_null(f.error);
    p = (struct store_file_progress){STORE_FILE_FAILED, -1, -1, -1, -1, "a password", NULL};
    assert_ok(store_file_progress(store, id, NULL, &p, &why));
    assert_ok(store_file_by_id(store, id, arena, &f, &why));
    assert_string_equal(f.error, "a password");
    assert_int_equal(f.n_chunks, 9);
    job.user_id = ada;
    assert_ok(store_file_requeue(store, id, &changed, &job, &why));
    assert_ok(store_file_by_id(store, id, arena, &f, &why));
    assert_int_equal(f.status, STORE_FILE_QUEUED);
    assert_string_equal(f.sha256, "bb");
    assert_null(f.error);
    assert_int_equal(store_file_progress(store, id, "aa", &p, &why), ERR_CONFLICT);
    assert_int_equal(store_file_progress(store, "none", "aa", &p, &why), ERR_NOT_FOUND);
    struct store_job *jobs;
    size_t n;
    assert_ok(store_job_list(store, ada, STORE_JOB_QUEUED, 10, arena, &jobs, &n, &why));
    assert_int_equal(n, 1); /* that of the old bytes is cancelled */
}

static const struct store_file *file_now(const char *id)
{
    struct store_file *f = arena_calloc(arena, 1, sizeof *f);
    assert_ok(store_file_by_id(store, id, arena, f, &why));
    return f;
}

/* A job that waits is cancelled: nobody will ever work on its file, which must not look as if. */
static void test_a_file_follows_its_job(void **state)
{
    (void)state;
    const char *ada = both_user("ada"), *id = add(ada, default_of(ada), "a.txt", "aa");
    struct store_job *jobs, job;
    size_t n;
    assert_ok(store_job_list(store, ada, STORE_JOB_QUEUED, 10, arena, &jobs, &n, &why));
    assert_int_equal(n, 1);
    assert_ok(store_job_cancel(store, ada, jobs[0].id, &why));
    assert_int_equal(file_now(id)->status, STORE_FILE_FAILED);
    assert_string_equal(file_now(id)->error, STORE_FILE_CANCELLED);
    assert_int_equal(store_job_cancel(store, ada, jobs[0].id, &why), ERR_CONFLICT);
    assert_ok(store_job_retry(store, ada, jobs[0].id, &why));
    assert_int_equal(file_now(id)->status, STORE_FILE_QUEUED);
    assert_null(file_now(id)->error);

    /* Its workers died, one after the other. */
    for (int i = 0; i < jobs[0].max_attempts; i++)
        assert_ok(store_job_take(store, "dead", NULL, -1, arena, &job, &why));
    struct store_file_progress p = {STORE_FILE_EXTRACTING, -1, -1, -1, -1, NULL, NULL};
    assert_ok(store_file_progress(store, id, "aa", &p, &why));
    assert_int_equal(store_job_take(store, "w", NULL, 1000, arena, &job, &why), ERR_NOT_FOUND);
    assert_int_equal(file_now(id)->status, STORE_FILE_FAILED);
    assert_ptr_not_equal(strstr(file_now(id)->error, "ended without a word"), NULL);

    /* What is ready stays so. */
    assert_ok(store_job_retry(store, ada, jobs[0].id, &why));
    p.status = STORE_FILE_READY;
    assert_ok(store_file_progress(store, id, "aa", &p, &why));
    assert_ok(store_job_cancel(store, ada, jobs[0].id, &why));
    assert_int_equal(file_now(id)->status, STORE_FILE_READY);
}

static void test_shared_files(void **state)
{
    (void)state;
    const char *ada = both_user("ada"), *bob = both_user("bob");
    struct store_asker admin = {.user_id = ada, .admin = true}, user = asker(bob);
    struct store_file f, new;
    char shared[STORE_ID_MAX], id[STORE_ID_MAX];
    bool added;
    assert_ok(store_collection_create(store, NULL, "handbook", shared, &why));
    new = a_file(shared, "h.txt", "aa");
    assert_int_equal(store_file_add(store, &user, &new, &indexing, id, &added, &why),
                     ERR_FORBIDDEN);
    assert_ok(store_file_add(store, &admin, &new, &indexing, id, &added, &why));
    assert_ok(store_file_get(store, bob, id, arena, &f, &why));
    assert_null(f.user_id);
    assert_int_equal(store_file_delete(store, &user, id, &why), ERR_FORBIDDEN);
    assert_int_equal(store_collection_delete(store, &admin, shared, &why), ERR_CONFLICT);
    assert_ok(store_user_delete(store, ada, &why)); /* what is shared stays */
    assert_ok(store_file_get(store, bob, id, arena, &f, &why));
    assert_ok(store_file_delete(store, &(struct store_asker){bob, true}, id, &why));
}

static void test_the_list(void **state)
{
    (void)state;
    const char *ada = both_user("ada"), *home = default_of(ada);
    struct store_file *list;
    struct store_file_page page = {.status = -1, .limit = 4};
    size_t n, seen = 0;
    for (int i = 0; i < 10; i++) {
        char name[32], sha[32];
        str_printf(name, sizeof name, "File_%d.txt", i);
        str_printf(sha, sizeof sha, "%d", i);
        add(ada, home, name, sha);
    }
    do {
        assert_ok(store_file_list(store, ada, &page, arena, &list, &n, &why));
        seen += n;
        if (n) page.before_ms = list[n - 1].created_ms, page.before_id = list[n - 1].id;
    } while (n == 4);
    assert_int_equal(seen, 10);
    page = (struct store_file_page){.status = -1, .limit = 20, .search = "file_3"};
    assert_ok(store_file_list(store, ada, &page, arena, &list, &n, &why));
    assert_int_equal(n, 1);
    page.search = "%"; /* a letter, not a wildcard */
    assert_ok(store_file_list(store, ada, &page, arena, &list, &n, &why));
    assert_int_equal(n, 0);
    page = (struct store_file_page){.status = STORE_FILE_READY, .limit = 20};
    assert_ok(store_file_list(store, ada, &page, arena, &list, &n, &why));
    assert_int_equal(n, 0);
    page = (struct store_file_page){.status = -1, .limit = 20, .collection_id = home};
    assert_ok(store_file_list(store, ada, &page, arena, &list, &n, &why));
    assert_int_equal(n, 10);
    assert_ok(store_file_list(store, both_user("bob"), &page, arena, &list, &n, &why));
    assert_int_equal(n, 0);
    for (n = 0, seen = 0; seen < 10; seen += n) {
        const char *after = seen ? list[n - 1].id : "";
        assert_ok(store_file_walk(store, after, 3, arena, &list, &n, &why));
        assert_true(n > 0);
    }
    assert_int_equal(seen, 10);
}

static void test_watched_folders(void **state)
{
    (void)state;
    const char *ada = both_user("ada"), *home = default_of(ada);
    struct store_watch w = {.user_id = ada, .collection_id = home, .path = "/srv/a_b"}, *list;
    struct store_asker who = asker(ada);
    struct store_file f = a_file(home, "x", "aa"), *files;
    char id[STORE_ID_MAX], first[STORE_ID_MAX];
    size_t n;
    bool added;
    assert_ok(store_watch_add(store, &w, id, &why));
    assert_int_equal(store_watch_add(store, &w, id, &why), ERR_CONFLICT);
    assert_ok(store_watch_list(store, NULL, arena, &list, &n, &why));
    assert_int_equal(n, 1);
    assert_string_equal(list[0].path, "/srv/a_b");
    add(ada, home, "uploaded", "aa");
    f.source = "/srv/a_b/x";
    assert_ok(store_file_add(store, &who, &f, &indexing, first, &added, &why));
    assert_true(added); /* the same bytes again, from a folder */
    f.source = "/srv/a_b/y";
    assert_ok(store_file_add(store, &who, &f, &indexing, id, &added, &why));
    assert_true(added);
    f.source = "/srv/axb/y"; /* another folder */
    assert_ok(store_file_add(store, &who, &f, &indexing, id, &added, &why));
    f.source = "/srv/a_b/x";
    assert_ok(store_file_add(store, &who, &f, &indexing, id, &added, &why));
    assert_false(added);
    assert_string_equal(id, first);
    assert_ok(store_watch_files(store, home, "/srv/a_b", "", 10, arena, &files, &n, &why));
    assert_int_equal(n, 2);
    assert_ok(store_watch_file(store, home, "/srv/a_b/x", arena, &f, &why));
    assert_string_equal(f.id, first);
    assert_int_equal(store_watch_file(store, home, "/srv/a_b", arena, &f, &why), ERR_NOT_FOUND);
    assert_ok(store_watch_delete(store, ada, "/srv/a_b", &why));
    assert_int_equal(store_watch_delete(store, ada, "/srv/a_b", &why), ERR_NOT_FOUND);
}

static bool pinned(const char *id)
{
    bool out;
    assert_ok(store_file_pinned(store, id, &out, &why));
    return out;
}

static void test_pinned_files(void **state)
{
    (void)state;
    const char *ada = both_user("ada"), *bob = both_user("bob");
    struct store_asker who = asker(ada), other = asker(bob),
                       admin = {.user_id = bob, .admin = true};
    struct store_file f = a_file(default_of(ada), "a.txt", "aa");
    char id[STORE_ID_MAX], shared[STORE_ID_MAX];
    bool added;
    assert_ok(store_file_add(store, &who, &f, &indexing, id, &added, &why));
    assert_false(pinned(id));
    f.local_only = true; /* the same bytes, pinned this time: so is the file that is there */
    assert_ok(store_file_add(store, &who, &f, &indexing, id, &added, &why));
    assert_false(added);
    assert_true(pinned(id));
    assert_ok(store_file_get(store, ada, id, arena, &f, &why));
    assert_true(f.local_only);
    f = a_file(default_of(ada), "a.txt", "aa"); /* and without a pin: it stays */
    assert_ok(store_file_add(store, &who, &f, &indexing, id, &added, &why));
    assert_true(pinned(id));
    assert_int_equal(store_file_set_local_only(store, &other, id, false, &why), ERR_NOT_FOUND);
    assert_ok(store_file_set_local_only(store, &who, id, false, &why));
    assert_false(pinned(id));
    assert_ok(store_user_set_local_only(store, ada, true, &why));
    assert_true(pinned(id));
    assert_false(pinned("none-such"));
    assert_ok(store_collection_create(store, NULL, "shared", shared, &why));
    f = a_file(shared, "b.txt", "bb");
    assert_ok(store_file_add(store, &admin, &f, &indexing, id, &added, &why));
    assert_int_equal(store_file_set_local_only(store, &who, id, true, &why), ERR_FORBIDDEN);
    assert_ok(store_file_set_local_only(store, &admin, id, true, &why));
    assert_true(pinned(id));
}

/* ---- a lease that is renewed while another worker looks at it -------------------------------- */

static void *take_another(void *arg)
{
    struct store_job job;
    struct error ignored;
    struct arena *a = arena_new(1 << 20);
    (void)arg;
    assert_int_equal(store_job_take(store, "other", NULL, 60000, a, &job, &ignored), ERR_NOT_FOUND);
    arena_free(a);
    return NULL;
}

/* Until the other thread waits for what this connection has changed. SQLite doesn't say: a while is
 * enough for it to have looked. */
static void wait_for_waiter(struct db *db)
{
    int64_t waiting = 0, until = clock_mono_ms() + 60000;
    if (!both_pg) usleep(300000);
    while (both_pg && !waiting) {
        assert_ok(db_number(db, "SELECT COUNT(*) FROM pg_locks WHERE NOT granted", DB_NO_ARGS,
                            &waiting, &why));
        if (clock_mono_ms() > until) fail_msg("nobody waits");
        usleep(2000);
    }
}

static void test_a_lease_renewed_at_the_last_moment(void **state)
{
    (void)state;
    const char *ada = both_user("ada"), *id = add(ada, default_of(ada), "a.txt", "aa");
    const struct db_params params = {.place = both_url, .busy_ms = 60000};
    const struct db_driver *driver = both_pg ? &db_pg : &db_sqlite;
    struct store_file_progress p = {STORE_FILE_EXTRACTING, -1, -1, -1, -1, NULL, NULL};
    struct store_job job = {.max_attempts = 1};
    struct db *db;
    pthread_t other;
    for (int i = 0; i < job.max_attempts; i++)
        assert_ok(store_job_take(store, "late", NULL, -1, arena, &job, &why));
    assert_ok(store_file_progress(store, id, "aa", &p, &why));
    assert_ok(driver->open(&params, &db, &why));
    assert_ok(db_begin(db, &why));
    assert_ok(db_run(db, "UPDATE jobs SET lease_until_ms = $1",
                     DB_ARGS(db_int(clock_wall_ms() + 600000)), NULL, &why));
    assert_int_equal(pthread_create(&other, NULL, take_another, NULL), 0);
    wait_for_waiter(db);
    assert_ok(db_end(db, OK, &why));
    pthread_join(other, NULL);
    driver->close(db);
    assert_ok(store_job_get(store, NULL, job.id, arena, &job, &why));
    assert_int_equal(job.state, STORE_JOB_RUNNING);
    assert_int_equal(file_now(id)->status, STORE_FILE_EXTRACTING);
    assert_ok(store_job_done(store, job.id, "late", &why));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH_TEST(test_collections),
        BOTH_TEST(test_a_file),
        BOTH_TEST(test_progress),
        BOTH_TEST(test_a_file_follows_its_job),
        BOTH_TEST(test_a_lease_renewed_at_the_last_moment),
        BOTH_TEST(test_shared_files),
        BOTH_TEST(test_the_list),
        BOTH_TEST(test_watched_folders),
        BOTH_TEST(test_pinned_files),
    };
    return both_run("files", tests, sizeof tests / sizeof *tests);
}
