/* Files from adding to deleting, on both databases and a real folder. */
#include "unit/store/both.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/fault.h"
#include "base/fs.h"
#include "files/files.h"

static char dir[96];
static struct files *files;
static const char *ada;

static struct store_asker asker(const char *user)
{
    return (struct store_asker){.user_id = user};
}

static bool quota_asked;

static enum err may_store(void *ctx, struct store *s, const char *user_id, int64_t more,
                          struct error *error)
{
    (void)ctx;
    (void)s;
    (void)user_id;
    quota_asked = true;
    return more > 1000 ? err_set(error, ERR_TOO_LARGE, "over the quota") : OK;
}

static int n_before_delete;

static enum err before_delete(void *ctx, struct store *s, const struct store_file *f,
                              struct error *error)
{
    (void)ctx;
    (void)s;
    n_before_delete++;
    return str_eq(f->name, "stays.txt") ? err_set(error, ERR_UPSTREAM, "not now") : OK;
}

static int set_up(void **state)
{
    static int n;
    if (both_set_up(state)) return -1;
    str_printf(dir, sizeof dir, "%s/files-%d", both_dir, n++);
    struct files_params params = {
        .dir = dir, .max_bytes = 4096, .collection = "documents", .may_store = may_store};
    files = files_new(&params);
    files_before_delete(files, before_delete, NULL);
    n_before_delete = 0;
    ada = both_user("ada");
    return 0;
}

static int tear_down(void **state)
{
    files_free(files);
    return both_tear_down(state);
}

/* How many regular files are under the folder's sub folder. */
static int count(const char *sub)
{
    char command[256], line[32] = "";
    str_printf(command, sizeof command, "find '%s/%s' -type f 2>/dev/null | wc -l", dir, sub);
    FILE *f = popen(command, "r");
    if (!f || !fgets(line, sizeof line, f)) abort();
    pclose(f);
    return atoi(line);
}

static struct spool *spool_of(const char *text)
{
    struct spool *spool;
    assert_ok(files_spool(files, 0, &spool, &why));
    assert_ok(spool_write(spool, text, strlen(text), &why));
    return spool;
}

static enum err add(const char *user, const char *name, const char *text, struct store_file *out,
                    bool *added)
{
    struct files_new new = {.who = asker(user), .name = name};
    struct spool *spool = spool_of(text);
    enum err e = files_add(files, store, &new, spool, arena, out, added, &why);
    spool_free(spool);
    return e;
}

static void test_adding_and_deleting(void **state)
{
    (void)state;
    struct store_file f, again;
    struct store_asker who = asker(ada);
    struct store_job *jobs;
    char path[256], text[64] = "";
    size_t n;
    bool added;
    assert_ok(add(ada, "../notes.md", "# Hello\n\nA text.\n", &f, &added));
    assert_true(added && quota_asked);
    assert_string_equal(f.name, "notes.md");
    assert_string_equal(f.type, "text/markdown");
    assert_string_equal(f.sha256,
                        "658977cd23578788f1a2ddff3b3e40fb93f7b5394aad3a18efdb70758bfac3c6");
    assert_ok(store_job_list(store, ada, -1, 10, arena, &jobs, &n, &why));
    assert_int_equal(n, 1);
    assert_string_equal(jobs[0].kind, FILES_INDEX_KIND);
    assert_ok(files_blob(files, f.sha256, path, sizeof path, &why));
    FILE *in = fopen(path, "r");
    assert_non_null(in);
    assert_non_null(fgets(text, sizeof text, in));
    assert_string_equal(text, "# Hello\n");
    fclose(in);
    assert_ok(add(ada, "other name.md", "# Hello\n\nA text.\n", &again, &added));
    assert_false(added);
    assert_string_equal(again.id, f.id);
    assert_int_equal(count("blobs"), 1);
    assert_int_equal(count("tmp"), 0);
    assert_ok(files_delete(files, store, &who, f.id, &why));
    assert_int_equal(n_before_delete, 1);
    assert_int_equal(count("blobs"), 0);
    assert_int_equal(files_delete(files, store, &who, f.id, &why), ERR_NOT_FOUND);
}

static void test_bytes_of_two_people(void **state)
{
    (void)state;
    const char *bob = both_user("bob");
    struct store_asker a = asker(ada), b = asker(bob);
    struct store_file hers, his;
    bool added;
    assert_ok(add(ada, "a.txt", "the same", &hers, &added));
    assert_ok(add(bob, "b.txt", "the same", &his, &added));
    assert_true(added);
    assert_int_equal(count("blobs"), 1);
    assert_int_equal(files_delete(files, store, &b, hers.id, &why), ERR_NOT_FOUND);
    assert_ok(files_delete(files, store, &a, hers.id, &why));
    assert_int_equal(count("blobs"), 1);
    assert_ok(files_delete(files, store, &b, his.id, &why));
    assert_int_equal(count("blobs"), 0);
}

static void test_limits(void **state)
{
    (void)state;
    struct store_file f;
    struct spool *spool;
    bool added;
    char text[4097];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_int_equal(add(ada, "a.txt", text, &f, &added), ERR_TOO_LARGE); /* the quota's */
    assert_int_equal(count("blobs") + count("tmp"), 0);
    assert_ok(files_spool(files, 0, &spool, &why));
    assert_ok(spool_write(spool, text, 4096, &why));
    assert_int_equal(spool_write(spool, text, 1, &why), ERR_TOO_LARGE);
    assert_int_equal(spool_finish(spool, &why), ERR_TOO_LARGE); /* a failure stays */
    spool_free(spool);
    assert_int_equal(files_spool(files, INT64_C(1) << 60, &spool, &why), ERR_DISK_FULL);
    assert_int_equal(count("tmp"), 0);
    struct files_new new = {.who = asker(ada), .name = "x", .collection = "nowhere"};
    spool = spool_of("text");
    assert_int_equal(files_add(files, store, &new, spool, arena, &f, &added, &why), ERR_NOT_FOUND);
    spool_free(spool);
    assert_int_equal(count("blobs") + count("tmp"), 0);
}

#if HEARTH_FAULTS
static void test_a_full_disk(void **state)
{
    (void)state;
    struct store_file f;
    bool added;
    for (long nth = 1; nth <= 2; nth++) {
        struct spool *spool;
        enum err e;
        assert_ok(files_spool(files, 0, &spool, &why));
        fault_arm(FAULT_write, nth, false);
        e = spool_write(spool, "text", 4, &why);
        if (!e) e = spool_finish(spool, &why);
        fault_arm(FAULT_write, 0, false);
        assert_int_equal(e, ERR_DISK_FULL);
        assert_non_null(strstr(why.msg, "full"));
        spool_free(spool);
        assert_int_equal(count("blobs") + count("tmp"), 0);
    }
    assert_ok(add(ada, "a.txt", "text", &f, &added));
}
#endif

static void test_a_delete_that_must_wait(void **state)
{
    (void)state;
    struct store_file f;
    struct store_asker who = asker(ada);
    bool added;
    assert_ok(add(ada, "stays.txt", "text", &f, &added));
    assert_int_equal(files_delete(files, store, &who, f.id, &why), ERR_UPSTREAM);
    assert_ok(store_file_get(store, ada, f.id, arena, &f, &why));
    assert_int_equal(count("blobs"), 1);
}

static void test_collections_go_with_their_files(void **state)
{
    (void)state;
    struct store_file f;
    struct store_asker who = asker(ada), other = asker(both_user("bob"));
    bool added;
    assert_ok(add(ada, "a.txt", "one", &f, &added));
    assert_ok(add(ada, "b.txt", "two", &f, &added));
    assert_int_equal(files_delete_collection(files, store, &other, f.collection_id, &why),
                     ERR_NOT_FOUND);
    assert_ok(files_delete_collection(files, store, &who, f.collection_id, &why));
    assert_int_equal(count("blobs"), 0);
    assert_int_equal(store_file_get(store, ada, f.id, arena, &f, &why), ERR_NOT_FOUND);
}

static void test_a_failed_one_is_tried_again(void **state)
{
    (void)state;
    struct store_file f;
    struct store_file_progress failed = {STORE_FILE_FAILED, -1, -1, -1, -1, "no luck", NULL};
    bool added;
    assert_ok(add(ada, "a.txt", "one", &f, &added));
    assert_ok(store_file_progress(store, f.id, NULL, &failed, &why));
    assert_ok(add(ada, "a.txt", "one", &f, &added));
    assert_false(added);
    assert_int_equal(f.status, STORE_FILE_QUEUED);
}

/* Processes that are killed with an upload on its way, and with bytes that got no record. */
static void test_sweeping(void **state)
{
    (void)state;
    struct store_file f, lost;
    struct files_swept swept;
    struct spool *mine;
    char path[256];
    bool added;
    assert_ok(add(ada, "a.txt", "kept", &f, &added));
    assert_ok(add(ada, "b.txt", "lost", &lost, &added));
    mine = spool_of("on its way"); /* somebody lives who writes it */
    pid_t pid = fork();
    if (pid == 0) {
        struct spool *s;
        if (files_spool(files, 0, &s, &why) || spool_write(s, "half", 4, &why)) _exit(1);
        kill(getpid(), SIGKILL);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(count("tmp"), 2);
    str_printf(path, sizeof path, "%s/blobs/ab", dir);
    assert_ok(fs_mkdirs(path, 0700, &why));
    str_printf(path, sizeof path,
               "%s/blobs/ab/ab00000000000000000000000000000000000000000000000000000000000000", dir);
    assert_ok(fs_write_atomic(path, "x", 1, 0600, &why));
    assert_ok(files_blob(files, lost.sha256, path, sizeof path, &why));
    assert_int_equal(unlink(path), 0);
    assert_ok(files_sweep(files, store, &swept, &why));
    assert_int_equal(swept.spools, 1);
    assert_int_equal(swept.blobs, 1);
    assert_int_equal(swept.lost, 1);
    assert_int_equal(count("tmp"), 1);
    assert_int_equal(count("blobs"), 1);
    spool_free(mine);
    assert_ok(store_file_get(store, ada, lost.id, arena, &lost, &why));
    assert_int_equal(lost.status, STORE_FILE_FAILED);
    assert_ok(store_file_get(store, ada, f.id, arena, &f, &why));
    assert_int_equal(f.status, STORE_FILE_QUEUED);
    assert_ok(files_sweep(files, store, &swept, &why));
    assert_int_equal(swept.spools + swept.blobs + swept.lost, 0);
    assert_ok(add(ada, "b.txt", "lost", &lost, &added)); /* brought again */
    assert_int_equal(lost.status, STORE_FILE_QUEUED);
    assert_int_equal(count("blobs"), 2);
    assert_ok(store_user_delete(store, ada, &why)); /* who goes takes the files along */
    assert_ok(files_sweep(files, store, &swept, &why));
    assert_int_equal(count("blobs"), 0);
}

static void test_names(void **state)
{
    (void)state;
    static const struct {
        const char *name, *clean;
    } names[] = {
        {"a.txt", "a.txt"},
        {"/etc/passwd", "passwd"},
        {"..\\..\\x.pdf", "x.pdf"},
        {"C:\\dir\\Bericht 2.docx", "Bericht 2.docx"},
        {"", "file"},
        {"..", "file"},
        {".", "file"},
        {"/", "_"},
        {"a\r\nb\x01.txt", "a__b_.txt"},
        {"na\xc3\xafve.txt", "na\xc3\xafve.txt"},
        {"bad\xff.txt", "bad_.txt"},
        {"\xe2\x80\xae"
         "txt.exe",
         "txt.exe"},
        {"  x.txt. ", "x.txt"},
        {".hidden", ".hidden"},
    };
    char clean[STORE_FILE_NAME_MAX], longest[1024];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        files_clean_name(names[i].name, clean);
        assert_string_equal(clean, names[i].clean);
    }
    memset(longest, 'x', sizeof longest);
    memcpy(longest + sizeof longest - 5, ".pdf", 5);
    files_clean_name(longest, clean);
    assert_int_equal(strlen(clean), STORE_FILE_NAME_MAX - 1);
    assert_true(str_ends(clean, "x.pdf"));
}

int main(void)
{
#define FILES_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        FILES_TEST(test_adding_and_deleting),
        FILES_TEST(test_bytes_of_two_people),
        FILES_TEST(test_limits),
#if HEARTH_FAULTS
        FILES_TEST(test_a_full_disk),
#endif
        FILES_TEST(test_a_delete_that_must_wait),
        FILES_TEST(test_collections_go_with_their_files),
        FILES_TEST(test_a_failed_one_is_tried_again),
        FILES_TEST(test_sweeping),
        FILES_TEST(test_names),
    };
    return both_run("files", tests, sizeof tests / sizeof *tests);
}
