/* Backups: what went in comes out, on both databases; what is torn, changed or made up is refused
 * and changes nothing. */
#include "unit/store/both.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>

#include "backup/backup.h"
#include "backup/tar.h"
#include "base/buf.h"
#include "base/fault.h"
#include "base/fs.h"

static char data[96], archive[96], settings[96], target[96], target_db[128], target_settings[128],
    data_files[128], target_files[128];

static void shell(const char *format, ...) HT_PRINTF(1, 2);
static void shell(const char *format, ...)
{
    char command[512];
    va_list ap;
    va_start(ap, format);
    vsnprintf(command, sizeof command, format, ap);
    va_end(ap);
    assert_int_equal(system(command), 0);
}

static void put(const char *path, const char *text)
{
    assert_ok(fs_write_atomic(path, text, strlen(text), 0600, &why));
}

static bool holds(const char *path, const char *text)
{
    struct buf b;
    buf_init(&b, 1 << 20);
    bool same = fs_read_file(path, 1 << 20, &b, &why) == OK && str_eq(buf_str(&b), text);
    buf_free(&b);
    return same;
}

static bool there(const char *dir, const char *name)
{
    char path[256];
    str_printf(path, sizeof path, "%s/%s", dir, name);
    return fs_exists(path);
}

static struct backup_params from_here(void)
{
    return (struct backup_params){.data_dir = data,
                                  .files_dir = data_files,
                                  .settings_file = settings,
                                  .database_url = both_url,
                                  .archive = archive};
}

static struct backup_params to_there(void)
{
    return (struct backup_params){.data_dir = target,
                                  .files_dir = target_files,
                                  .settings_file = target_settings,
                                  .database_url = target_db,
                                  .archive = archive};
}

/* A data folder with something of everything, beside the open store. */
static int set_up(void **state)
{
    if (both_set_up(state)) return -1;
    str_printf(data, sizeof data, "%s/data", both_dir);
    str_printf(target, sizeof target, "%s/target", both_dir);
    str_printf(data_files, sizeof data_files, "%s/files", data);
    str_printf(target_files, sizeof target_files, "%s/files", target);
    str_printf(target_db, sizeof target_db, "%s/hearth.db", target);
    str_printf(target_settings, sizeof target_settings, "%s/config/hearth.env", target);
    str_printf(archive, sizeof archive, "%s/all.tar", both_dir);
    str_printf(settings, sizeof settings, "%s/hearth.env", both_dir);
    shell("rm -rf %s %s %s %s.part && mkdir -p %s/files/blobs/ab %s/models", data, target, archive,
          archive, data, data);
    char path[256];
    str_printf(path, sizeof path, "%s/files/blobs/ab/abcdef", data);
    put(path, "uploaded");
    str_printf(path, sizeof path, "%s/files/blobs/empty", data);
    put(path, "");
    str_printf(path, sizeof path, "%s/models/large.gguf", data);
    put(path, "not in it");
    str_printf(path, sizeof path, "%s/jwt.key", data);
    put(path, "secret");
    put(settings, "PORT=9000\n");
    (void)both_user("ada");
    return 0;
}

static void nothing_left(const char *dir)
{
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        char below[400];
        str_printf(below, sizeof below, "%s/%s", dir, e->d_name);
        if (str_eq(e->d_name, "files"))
            nothing_left(below);
        else if (!str_eq(e->d_name, ".") && !str_eq(e->d_name, "..") &&
                 !str_eq(e->d_name, ".backup.lock"))
            fail_msg("%s was left in %s", e->d_name, dir);
    }
    if (d) closedir(d);
}

static void check_user(const char *url)
{
    struct store *s;
    struct store_user user;
    struct store_params params = {.url = url};
    assert_ok(store_open(&params, &s, &why));
    assert_ok(store_user_by_name(s, "ada", arena, &user, &why));
    store_close(s);
}

static void test_what_went_in_comes_out(void **state)
{
    (void)state;
    struct backup_counts counts;
    struct backup_params in = from_here(), out = to_there();
    char path[256];
    assert_ok(backup_write(&in, &counts, &why));
    assert_int_equal(counts.files, 5);
    assert_false(there(data, ".backup"));
    assert_ok(backup_restore(&out, &counts, &why));
    assert_int_equal(counts.files, 5);
    assert_false(counts.settings_kept);
    str_printf(path, sizeof path, "%s/files/blobs/ab/abcdef", target);
    assert_true(holds(path, "uploaded"));
    assert_true(there(target, "files/blobs/empty"));
    assert_false(there(target, "models"));
    str_printf(path, sizeof path, "%s/jwt.key", target);
    assert_true(holds(path, "secret"));
    assert_true(holds(target_settings, "PORT=9000\n"));
    check_user(target_db);
    shell("tar tf %s > /dev/null", archive); /* everybody's tar reads it */
}

static void test_postgresql_from_a_backup_of_either(void **state)
{
    (void)state;
    struct backup_counts counts;
    struct backup_params in = from_here(), out = to_there();
    if (!both_pg) return;
    assert_ok(backup_write(&in, &counts, &why));
    out.database_url = both_url; /* it has rows */
    assert_int_equal(backup_restore(&out, &counts, &why), ERR_CONFLICT);
    nothing_left(target);
    assert_ok(store_migrate(store, 0, &why));
    assert_ok(backup_restore(&out, &counts, &why));
    check_user(both_url);
}

static void test_it_overwrites_nothing(void **state)
{
    (void)state;
    struct backup_counts counts;
    struct backup_params in = from_here(), out = to_there();
    char path[256];
    assert_ok(backup_write(&in, &counts, &why));
    assert_int_equal(backup_write(&in, &counts, &why), ERR_CONFLICT);
    static const char *const taken[] = {"hearth.db", "hearth.db-wal", "jwt.key", "files/blobs/x"};
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++) {
        shell("rm -rf %s && mkdir -p %s/files/blobs", target, target);
        str_printf(path, sizeof path, "%s/%s", target, taken[i]);
        put(path, "mine");
        assert_int_equal(backup_restore(&out, &counts, &why), ERR_CONFLICT);
        assert_true(holds(path, "mine"));
    }
    shell("rm -rf %s && mkdir -p %s/config", target, target);
    put(target_settings, "PORT=1\n");
    assert_ok(backup_restore(&out, &counts, &why));
    assert_true(counts.settings_kept);
    assert_true(holds(target_settings, "PORT=1\n"));
    str_printf(path, sizeof path, "%s.restored", target_settings);
    assert_true(holds(path, "PORT=9000\n"));
}

static void test_torn_or_changed_is_refused(void **state)
{
    (void)state;
    struct backup_counts counts;
    struct backup_params in = from_here(), out = to_there();
    struct buf whole;
    assert_ok(backup_write(&in, &counts, &why));
    buf_init(&whole, 64 << 20);
    assert_ok(fs_read_file(archive, 64 << 20, &whole, &why));
    /* Cut anywhere. */
    for (size_t len = 0; len < whole.len - 1; len += 1 + whole.len / 37) {
        assert_ok(fs_write_atomic(archive, whole.data, len, 0600, &why));
        assert_int_equal(backup_restore(&out, &counts, &why), ERR_CHECKSUM);
        nothing_left(target);
    }
    /* A flipped bit anywhere: in a head, in the contents, in the manifest. The padding between
     * files carries nothing. */
    size_t refused = 0, tried = 0;
    for (size_t at = 0; at < whole.len; at += 1 + whole.len / 61, tried++) {
        whole.data[at] ^= 0x10;
        assert_ok(fs_write_atomic(archive, whole.data, whole.len, 0600, &why));
        enum err e = backup_restore(&out, &counts, &why);
        whole.data[at] ^= 0x10;
        refused += e != OK;
        if (e) nothing_left(target);
        shell("rm -rf %s", target);
    }
    assert_true(refused > tried * 9 / 10);
    buf_free(&whole);
}

/* An archive with these files, and a manifest as given. */
static void make_up(const char *const *names, size_t n, const char *manifest)
{
    int fd = open(archive, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    for (size_t i = 0; i < n; i++) {
        assert_ok(tar_put_head(fd, names[i], 1, 0, &why));
        assert_ok(tar_put(fd, "x", 1, &why));
        assert_ok(tar_put_padding(fd, 1, &why));
    }
    if (manifest) {
        assert_ok(tar_put_head(fd, "manifest.json", (int64_t)strlen(manifest), 0, &why));
        assert_ok(tar_put(fd, manifest, strlen(manifest), &why));
        assert_ok(tar_put_padding(fd, (int64_t)strlen(manifest), &why));
    }
    assert_ok(tar_put_end(fd, &why));
    close(fd);
}

#define HEAD       "{\"format\": \"hearth-backup\", \"version\": 1, \"files\": "
#define X_SHA      "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881" /* of "x" */
#define ITEM(name) "{\"name\": \"" name "\", \"bytes\": 1, \"sha256\": \"" X_SHA "\"}"

static void test_made_up_archives(void **state)
{
    (void)state;
    struct backup_counts counts;
    struct backup_params out = to_there();
    static const struct {
        const char *names[2];
        const char *manifest;
        enum err want;
    } cases[] = {
        {{"files/blobs/a"}, HEAD "[" ITEM("files/blobs/a") "]}", OK},
        {{"files/blobs/a"}, NULL, ERR_CHECKSUM},
        {{"files/blobs/a"}, HEAD "[]}", ERR_CHECKSUM},
        {{"files/blobs/a"},
         HEAD "[" ITEM("files/blobs/a") "," ITEM("files/blobs/b") "]}",
         ERR_CHECKSUM},
        {{"files/blobs/a"},
         HEAD "[" ITEM("files/blobs/a") "," ITEM("files/blobs/a") "]}",
         ERR_CHECKSUM},
        {{"files/blobs/a", "files/blobs/a"}, HEAD "[" ITEM("files/blobs/a") "]}", ERR_CHECKSUM},
        {{"files/blobs/a"},
         HEAD "[{\"name\": \"files/blobs/a\", \"bytes\": 2, \"sha256\": \"" X_SHA "\"}]}",
         ERR_CHECKSUM},
        {{"files/blobs/a"},
         HEAD "[{\"name\": \"files/blobs/a\", \"bytes\": 1, \"sha256\": \"00\"}]}",
         ERR_CHECKSUM},
        {{"files/blobs/a"}, HEAD "[1]}", ERR_CHECKSUM},
        {{"files/blobs/a"}, HEAD "7}", ERR_CHECKSUM},
        {{"files/blobs/a"}, "{", ERR_CHECKSUM},
        {{"files/blobs/a"}, "{\"format\": \"other\", \"version\": 1, \"files\": []}", ERR_CHECKSUM},
        {{"files/blobs/a"},
         "{\"format\": \"hearth-backup\", \"version\": 2, \"files\": []}",
         ERR_UNSUPPORTED},
        {{"../jwt.key"}, HEAD "[" ITEM("../jwt.key") "]}", ERR_CHECKSUM},
        {{"/tmp/x"}, HEAD "[" ITEM("/tmp/x") "]}", ERR_CHECKSUM},
        {{"files/blobs/../../../x"}, HEAD "[" ITEM("files/blobs/../../../x") "]}", ERR_CHECKSUM},
        {{"files/blobs//x"}, HEAD "[" ITEM("files/blobs//x") "]}", ERR_CHECKSUM},
        {{"files/blobs/.x"}, HEAD "[" ITEM("files/blobs/.x") "]}", ERR_CHECKSUM},
        {{"models/x"}, HEAD "[" ITEM("models/x") "]}", ERR_CHECKSUM},
        {{"hearth.db"}, HEAD "[" ITEM("hearth.db") "]}", ERR_CHECKSUM}, /* no database */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        make_up(cases[i].names, cases[i].names[1] ? 2 : 1, cases[i].manifest);
        enum err e = backup_restore(&out, &counts, &why);
        if (e != cases[i].want) fail_msg("case %zu: %s (%s)", i, err_name(e), why.msg);
        shell("rm -rf %s", target);
    }
}

static void test_other_files_are_no_backup(void **state)
{
    (void)state;
    struct backup_counts counts;
    struct backup_params out = to_there();
    put(archive, "hello, this is a letter\n");
    assert_int_equal(backup_restore(&out, &counts, &why), ERR_CHECKSUM);
    shell("rm %s && cd %s && tar cf %s --format=gnu data", archive, both_dir, archive);
    assert_int_equal(backup_restore(&out, &counts, &why), ERR_CHECKSUM); /* folders are refused */
    shell("rm %s", archive);
    assert_int_equal(backup_restore(&out, &counts, &why), ERR_NOT_FOUND);
    assert_int_equal(backup_restore_database(&out, &why), ERR_NOT_FOUND);
}

static void test_one_at_a_time(void **state)
{
    (void)state;
    struct backup_counts counts;
    struct backup_params in = from_here();
    char path[256];
    str_printf(path, sizeof path, "%s/.backup.lock", data);
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    assert_int_equal(backup_write(&in, &counts, &why), ERR_CONFLICT);
    close(fd);
    shell("mkdir -p %s/.backup/files/deep/er", data); /* of one that was killed */
    assert_ok(backup_write(&in, &counts, &why));
    assert_false(there(data, ".backup"));
}

static void test_a_database_alone(void **state)
{
    (void)state;
    struct backup_params out = to_there();
    assert_ok(store_backup(store, archive, &why));
    assert_ok(backup_restore_database(&out, &why));
    check_user(target_db);
    check_user(archive); /* still there and whole */
    assert_int_equal(backup_restore_database(&out, &why), ERR_CONFLICT);
    assert_false(there(target, ".backup"));
}

#if HEARTH_FAULTS
static void test_the_disk_is_full(void **state)
{
    (void)state;
    struct backup_counts counts;
    struct backup_params in = from_here(), out = to_there();
    char part[128];
    str_printf(part, sizeof part, "%s.part", archive);
    for (long nth = 1; nth < 30; nth += 4) {
        fault_arm(FAULT_write, nth, true);
        enum err e = backup_write(&in, &counts, &why);
        fault_arm(FAULT_write, 0, false);
        if (e == OK) break;
        assert_true(e == ERR_DISK_FULL || e == ERR_IO);
        assert_false(fs_exists(archive));
        assert_false(fs_exists(part));
        assert_false(there(data, ".backup"));
    }
    if (!fs_exists(archive)) assert_ok(backup_write(&in, &counts, &why));
    fault_arm(FAULT_write, 4, true);
    assert_int_not_equal(backup_restore(&out, &counts, &why), OK);
    fault_arm(FAULT_write, 0, false);
    nothing_left(target);
    assert_ok(backup_restore(&out, &counts, &why));
}
#endif

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, both_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_what_went_in_comes_out),
        TEST(test_postgresql_from_a_backup_of_either),
        TEST(test_it_overwrites_nothing),
        TEST(test_torn_or_changed_is_refused),
        TEST(test_made_up_archives),
        TEST(test_other_files_are_no_backup),
        TEST(test_one_at_a_time),
        TEST(test_a_database_alone),
#if HEARTH_FAULTS
        TEST(test_the_disk_is_full),
#endif
    };
    return both_run("backup", tests, sizeof tests / sizeof *tests);
}
