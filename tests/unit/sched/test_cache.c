/* The cache's tiers: limits, eviction, files that are torn, flipped, foreign or gone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/fs.h"
#include "base/log.h"
#include "sched/cache.h"
#include "sched/cache_file.h"

enum { N = 96, STATE = 64, WAIT_MS = 60000, WEIGHT = 1000 };

static char dir[64];
static int32_t tokens[16][N];

static void no_wake(void *ctx)
{
    (void)ctx;
}

static struct cache *open_cache(uint64_t memory, uint64_t disk)
{
    return cache_new(
        &(struct cache_params){.memory = memory, .disk = disk, .dir = dir, .wake = no_wake});
}

static struct prefix some(int i)
{
    return (struct prefix){.model = 5, .tenant = "me", .tokens = tokens[i], .n_tokens = N};
}

static void put(struct cache *c, int i, size_t size)
{
    struct prefix p = some(i);
    struct blob *b = blob_new(size);
    assert_non_null(b);
    memset(b->bytes, 'a' + i, size);
    cache_put(c, &p, WEIGHT, b);
}

static struct cache_entry *get(struct cache *c, int i)
{
    struct prefix p = some(i);
    int32_t n;
    struct cache_entry *e = cache_find(c, &p, false, &n);
    if (e) assert_int_equal(n, N);
    return e;
}

/* As one that restores it. */
static void use(struct cache *c, int i)
{
    blob_unref(cache_take(c, get(c, i)));
}

#define until(c, what)                                                                             \
    do {                                                                                           \
        int64_t end_ = clock_mono_ms() + WAIT_MS;                                                  \
        cache_poll(c);                                                                             \
        bool is_; /* asked once more it might be otherwise again */                                \
        while (!(is_ = (what)) && clock_mono_ms() < end_) {                                        \
            nanosleep(&(struct timespec){0, 200000}, NULL);                                        \
            cache_poll(c);                                                                         \
        }                                                                                          \
        assert_true(is_);                                                                          \
    } while (0)

static struct sched_cache_stats stats(struct cache *c)
{
    struct sched_cache_stats st;
    cache_stats(c, &st);
    return st;
}

/* Its state, from wherever it is; NULL: it is gone. */
static const struct blob *fetch(struct cache *c, int i)
{
    struct cache_entry *e = get(c, i);
    if (!e) return NULL;
    if (!cache_state(e)) {
        cache_fetch(c, e);
        until(c, !(e = get(c, i)) || cache_state(e));
    }
    return e ? cache_state(e) : NULL;
}

static bool is_right(const struct blob *b, int i, size_t size)
{
    if (!b || b->size != size) return false;
    for (size_t k = 0; k < size; k++)
        if (b->bytes[k] != 'a' + i) return false;
    return true;
}

/* ---- files -------------------------------------------------------------------------------- */

static int list_files(char (*names)[300], int max)
{
    int n = 0;
    DIR *d = opendir(dir);
    if (!d) return 0;
    for (struct dirent *e; (e = readdir(d));)
        if (*e->d_name != '.' && n++ < max) snprintf(names[n - 1], 300, "%s/%s", dir, e->d_name);
    closedir(d);
    return n;
}

static int count_files(void)
{
    return list_files(NULL, 0);
}

/* Without those that are still being written under another name. */
static int count_states(void)
{
    char names[64][300];
    int n = list_files(names, 64), states = 0;
    assert_true(n <= 64);
    for (int i = 0; i < n; i++) states += !strstr(names[i], "/tmp-");
    return states;
}

static void empty_dir(void)
{
    char names[64][300];
    for (int n; (n = list_files(names, 64)) > 0;)
        for (int i = 0; i < n && i < 64; i++) unlink(names[i]);
}

static int set_up(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/hearth-test-cache-XXXXXX");
    assert_non_null(mkdtemp(dir));
    for (int i = 0; i < 16; i++)
        for (int k = 0; k < N; k++) tokens[i][k] = i * 1000 + k;
    struct error error;
    return log_open(LOG_OFF, false, NULL, &error);
}

static int tear_down(void **state)
{
    (void)state;
    empty_dir();
    chmod(dir, 0700);
    rmdir(dir);
    return 0;
}

/* A folder with one file, whose path and bytes are given. */
static void one_file(char path[300], struct buf *bytes)
{
    char names[2][300];
    struct error error;
    struct cache *c = open_cache(1 << 20, 1 << 20);
    until(c, cache_ready(c));
    put(c, 1, STATE);
    until(c, stats(c).disk.entries == 1 && count_states() == 1);
    cache_free(c, 1000);
    assert_int_equal(list_files(names, 2), 1);
    strcpy(path, names[0]);
    buf_init(bytes, 1 << 20);
    assert_int_equal(fs_read_file(path, 1 << 20, bytes, &error), OK);
}

static void write_file(const char *path, const char *data, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, len), len);
    close(fd);
}

/* Opens a cache over the folder as it is and asks for the state. */
static void expect_dropped(const char *path)
{
    struct cache *c = open_cache(1 << 20, 1 << 20);
    until(c, cache_ready(c));
    assert_null(fetch(c, 1));
    assert_int_equal(stats(c).corrupt, 1);
    assert_int_equal(stats(c).disk.entries, 0);
    assert_int_equal(stats(c).disk.bytes, 0);
    cache_free(c, 1000);
    assert_int_equal(access(path, F_OK), -1);
}

/* ---- memory ------------------------------------------------------------------------------- */

static void test_memory_is_limited_and_the_oldest_goes(void **state)
{
    (void)state;
    struct cache *c = open_cache(4 * STATE, 0);
    assert_true(cache_ready(c));
    for (int i = 0; i < 4; i++) put(c, i, STATE);
    for (int i = 0; i < 4; i++) assert_true(is_right(fetch(c, i), i, STATE));
    use(c, 0);
    put(c, 4, STATE);
    assert_null(get(c, 1)); /* not 0, which was used since */
    assert_non_null(get(c, 0));
    struct prefix gone = some(1), never = some(9);
    assert_true(cache_evicted(c, &gone));
    assert_false(cache_evicted(c, &never));
    assert_int_equal(stats(c).memory.bytes, 4 * STATE);
    assert_int_equal(stats(c).memory.entries, 4);
    assert_int_equal(stats(c).evictions, 1);
    assert_false(cache_takes(c, 4 * STATE + 1));
    put(c, 5, 4 * STATE + 1); /* larger than all: it is not kept, and evicts nothing */
    assert_null(get(c, 5));
    assert_int_equal(stats(c).memory.entries, 4);
    assert_int_equal(count_files(), 0);
    cache_free(c, 0);
}

/* What was taken is there whatever is kept meanwhile, also when its entry is evicted for that. */
static void test_what_is_taken_outlives_its_entry(void **state)
{
    (void)state;
    struct cache *c = open_cache(2 * STATE, 0);
    put(c, 0, STATE);
    put(c, 1, STATE);
    struct blob *taken = cache_take(c, get(c, 0));
    put(c, 2, STATE);
    assert_null(get(c, 1)); /* it was used now, so others go first */
    put(c, 3, 2 * STATE);
    assert_null(get(c, 0));
    assert_true(is_right(taken, 0, STATE));
    assert_int_equal(stats(c).memory.bytes, 2 * STATE);
    blob_unref(taken);
    cache_free(c, 0);
}

static void test_what_is_dearer_to_compute_stays_longer(void **state)
{
    (void)state;
    struct cache *c = open_cache(2 * STATE, 0);
    struct prefix dear = some(0);
    struct blob *b = blob_new(STATE);
    cache_put(c, &dear, 100 * WEIGHT, b);
    for (int i = 1; i < 9; i++) put(c, i, STATE);
    assert_non_null(get(c, 0));
    assert_non_null(get(c, 8));
    cache_free(c, 0);
}

static void test_a_longer_sequence_replaces_its_beginning(void **state)
{
    (void)state;
    struct cache *c = open_cache(1 << 20, 0);
    struct prefix p = some(0);
    static const struct {
        int32_t n_tokens, entries;
    } steps[] = {{32, 1}, {N, 2}, {64, 2}, {64, 2}, {N, 1}};
    /* 32 tokens are less than half of 96, and may be the beginning of others */
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        p.n_tokens = steps[i].n_tokens;
        cache_put(c, &p, WEIGHT, blob_new(STATE));
        assert_int_equal(stats(c).memory.entries, steps[i].entries);
        int32_t n;
        assert_non_null(cache_find(c, &p, true, &n));
        assert_int_equal(n, p.n_tokens);
    }
    cache_free(c, 0);
}

static void test_nothing_is_kept_without_tiers(void **state)
{
    (void)state;
    struct cache *c = open_cache(0, 0);
    assert_false(cache_keeps(c));
    assert_true(cache_ready(c));
    put(c, 0, STATE);
    assert_null(get(c, 0));
    cache_free(c, 0);
}

static void test_models_without_fingerprint_find_nothing(void **state)
{
    (void)state;
    struct cache *c = open_cache(1 << 20, 0);
    struct prefix p = some(0);
    int32_t n;
    p.model = 0;
    cache_put(c, &p, WEIGHT, blob_new(STATE));
    assert_null(cache_find(c, &p, false, &n));
    cache_free(c, 0);
}

/* ---- disk --------------------------------------------------------------------------------- */

static void test_states_survive_a_restart(void **state)
{
    (void)state;
    struct stat st;
    char names[8][300];
    struct cache *c = open_cache(1 << 20, 1 << 20);
    until(c, cache_ready(c));
    for (int i = 0; i < 4; i++) put(c, i, STATE + (size_t)i);
    cache_free(c, 5000); /* what waits is written */
    assert_int_equal(list_files(names, 8), 4);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(stat(names[i], &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
    c = open_cache(1 << 20, 1 << 20);
    until(c, cache_ready(c));
    assert_int_equal(stats(c).disk.entries, 4);
    assert_int_equal(stats(c).memory.entries, 0);
    for (int i = 0; i < 4; i++) assert_true(is_right(fetch(c, i), i, STATE + (size_t)i));
    assert_int_equal(stats(c).memory.entries, 4);
    assert_int_equal(stats(c).corrupt, 0);
    cache_free(c, 0);
    empty_dir();
}

static void test_the_folder_is_limited(void **state)
{
    (void)state;
    size_t file = 80 + N * 4 + 2;
    file = (file + 63) / 64 * 64 + STATE;
    struct cache *c = open_cache(1 << 20, 3 * file);
    until(c, cache_ready(c));
    for (int i = 0; i < 9; i++) {
        put(c, i, STATE);
        until(c, count_files() <= 3 && stats(c).disk.bytes <= (int64_t)(3 * file));
        nanosleep(&(struct timespec){0, 20000000}, NULL); /* the files' times are coarse */
    }
    until(c, count_states() == 3);
    cache_free(c, 5000);
    c = open_cache(1 << 20, 2 * file); /* a smaller one: the oldest goes */
    until(c, cache_ready(c) && count_files() == 2);
    assert_null(get(c, 6));
    assert_non_null(get(c, 7));
    assert_non_null(get(c, 8));
    cache_free(c, 5000);
    empty_dir();
}

static void test_memory_of_files_is_evicted_and_read_again(void **state)
{
    (void)state;
    struct cache *c = open_cache(2 * STATE, 1 << 20);
    until(c, cache_ready(c));
    for (int i = 0; i < 6; i++) put(c, i, STATE);
    until(c, count_states() == 6 && stats(c).memory.bytes <= 2 * STATE); /* when that is heard */
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < 6; i++) {
            assert_true(is_right(fetch(c, i), i, STATE));
            use(c, i);
            cache_hit(c, CACHE_DISK);
            assert_true(stats(c).memory.bytes <= 2 * STATE);
        }
    assert_int_equal(stats(c).disk.hits, 18);
    cache_free(c, 5000);
    empty_dir();
}

static void test_every_flipped_bit_is_found(void **state)
{
    (void)state;
    char path[300];
    struct buf bytes;
    one_file(path, &bytes);
    for (size_t i = 0; i < bytes.len; i++) {
        bytes.data[i] ^= (char)(1 << i % 8);
        write_file(path, bytes.data, bytes.len);
        expect_dropped(path);
        bytes.data[i] ^= (char)(1 << i % 8);
    }
    buf_free(&bytes);
}

static void test_a_file_torn_at_any_length_is_dropped(void **state)
{
    (void)state;
    char path[300];
    struct buf bytes;
    one_file(path, &bytes);
    for (size_t len = 0; len < bytes.len; len++) {
        write_file(path, bytes.data, len);
        expect_dropped(path);
    }
    assert_int_equal(buf_putc(&bytes, 'x'), OK); /* or with something behind it */
    write_file(path, bytes.data, bytes.len);
    expect_dropped(path);
    buf_free(&bytes);
}

/* The header is looked at when the folder is, the state when it is needed. */
static void test_a_file_may_change_or_vanish_after_the_start(void **state)
{
    (void)state;
    char path[300];
    struct buf bytes;
    one_file(path, &bytes);
    for (int how = 0; how < 4; how++) {
        write_file(path, bytes.data, bytes.len);
        struct cache *c = open_cache(1 << 20, 1 << 20);
        until(c, cache_ready(c));
        assert_non_null(get(c, 1));
        if (how == 0) unlink(path);
        if (how == 1) write_file(path, bytes.data, bytes.len - 1);
        if (how == 2) write_file(path, "nonsense", 8);
        if (how == 3) {
            unlink(path);
            assert_int_equal(mkfifo(path, 0600), 0); /* not an ordinary file: nobody waits */
        }
        assert_null(fetch(c, 1));
        assert_int_equal(stats(c).corrupt, how == 1 || how == 2);
        assert_int_equal(stats(c).disk.entries, 0);
        cache_free(c, 1000);
        unlink(path);
    }
    buf_free(&bytes);
}

/* A file that is right in itself, but not what the index says that it is. */
static void test_an_exchanged_file_is_not_used(void **state)
{
    (void)state;
    char path[300], names[2][300];
    struct buf bytes;
    one_file(path, &bytes);
    struct cache *c = open_cache(1 << 20, 1 << 20);
    until(c, cache_ready(c));
    put(c, 2, STATE);
    until(c, count_states() == 2);
    assert_int_equal(list_files(names, 2), 2);
    const char *other = strcmp(names[0], path) ? names[0] : names[1];
    assert_int_equal(rename(other, path), 0);
    assert_null(fetch(c, 1));
    cache_free(c, 1000);
    buf_free(&bytes);
    empty_dir();
}

static void test_foreign_files_are_left_alone(void **state)
{
    (void)state;
    char path[300];
    snprintf(path, sizeof path, "%s/readme.txt", dir);
    write_file(path, "mine", 4);
    struct cache *c = open_cache(1 << 20, 1 << 20);
    until(c, cache_ready(c));
    assert_int_equal(stats(c).disk.entries, 0);
    assert_int_equal(stats(c).corrupt, 0);
    cache_free(c, 1000);
    assert_int_equal(access(path, F_OK), 0);
    empty_dir();
}

static void test_temporary_files_of_the_dead_are_removed(void **state)
{
    (void)state;
    char old[300], fresh[300];
    snprintf(old, sizeof old, "%s/tmp-0000000000000001.kv", dir);
    snprintf(fresh, sizeof fresh, "%s/tmp-0000000000000002.kv", dir);
    write_file(old, "x", 1);
    write_file(fresh, "x", 1);
    struct timespec past[2] = {{.tv_sec = time(NULL) - 3600}, {.tv_sec = time(NULL) - 3600}};
    assert_int_equal(utimensat(AT_FDCWD, old, past, 0), 0);
    struct cache *c = open_cache(1 << 20, 1 << 20);
    until(c, cache_ready(c));
    cache_free(c, 1000);
    assert_int_equal(access(old, F_OK), -1);
    assert_int_equal(access(fresh, F_OK), 0); /* another hub may just be writing it */
    empty_dir();
}

static void test_a_folder_that_can_not_be_made(void **state)
{
    (void)state;
    char file[300], below[310];
    snprintf(file, sizeof file, "%s/file", dir);
    snprintf(below, sizeof below, "%s/cache", file);
    write_file(file, "x", 1);
    struct cache *c = cache_new(
        &(struct cache_params){.memory = 1 << 20, .disk = 1 << 20, .dir = below, .wake = no_wake});
    until(c, cache_ready(c));
    put(c, 1, STATE); /* in memory it is kept */
    until(c, stats(c).disk.entries == 0);
    assert_true(is_right(fetch(c, 1), 1, STATE));
    cache_free(c, 1000);
    empty_dir();
}

#if HEARTH_FAULTS
static void test_a_full_disk(void **state)
{
    (void)state;
    struct cache *c = open_cache(1 << 20, 1 << 20);
    until(c, cache_ready(c));
    fault_arm(FAULT_write, 2, true); /* the header fits, the state does not */
    put(c, 1, STATE);
    until(c, stats(c).disk.entries == 0);
    fault_arm(FAULT_write, 0, false);
    assert_int_equal(count_files(), 0); /* no half file stays */
    assert_true(is_right(fetch(c, 1), 1, STATE));
    cache_free(c, 1000);
}

static void test_no_thread_no_disk(void **state)
{
    (void)state;
    fault_arm(FAULT_thread, 1, false);
    struct cache *c = open_cache(1 << 20, 1 << 20);
    fault_arm(FAULT_thread, 0, false);
    assert_true(cache_ready(c));
    put(c, 1, STATE);
    assert_true(is_right(fetch(c, 1), 1, STATE));
    assert_int_equal(count_files(), 0);
    cache_free(c, 0);
}

/* Whatever allocation fails: no crash, and never a wrong state. */
static void test_no_memory(void **state)
{
    (void)state;
    for (long nth = 1; nth < 40; nth++) {
        struct cache *c = open_cache(1 << 20, 1 << 20);
        until(c, cache_ready(c));
        put(c, 0, STATE);
        fault_arm(FAULT_alloc, nth, false);
        struct prefix p = some(1);
        struct blob *b = blob_new(STATE);
        if (b) memset(b->bytes, 'b', STATE);
        if (b) cache_put(c, &p, WEIGHT, b);
        const struct blob *got = fetch(c, 1);
        assert_true(!got || is_right(got, 1, STATE));
        fault_arm(FAULT_alloc, 0, false);
        cache_free(c, 1000);
        c = open_cache(1 << 20, 1 << 20);
        until(c, cache_ready(c));
        fault_arm(FAULT_alloc, nth, false);
        got = fetch(c, 0);
        assert_true(!got || is_right(got, 0, STATE));
        fault_arm(FAULT_alloc, 0, false);
        cache_free(c, 1000);
        empty_dir();
    }
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_is_limited_and_the_oldest_goes),
        cmocka_unit_test(test_what_is_taken_outlives_its_entry),
        cmocka_unit_test(test_what_is_dearer_to_compute_stays_longer),
        cmocka_unit_test(test_a_longer_sequence_replaces_its_beginning),
        cmocka_unit_test(test_nothing_is_kept_without_tiers),
        cmocka_unit_test(test_models_without_fingerprint_find_nothing),
        cmocka_unit_test(test_states_survive_a_restart),
        cmocka_unit_test(test_the_folder_is_limited),
        cmocka_unit_test(test_memory_of_files_is_evicted_and_read_again),
        cmocka_unit_test(test_every_flipped_bit_is_found),
        cmocka_unit_test(test_a_file_torn_at_any_length_is_dropped),
        cmocka_unit_test(test_a_file_may_change_or_vanish_after_the_start),
        cmocka_unit_test(test_an_exchanged_file_is_not_used),
        cmocka_unit_test(test_foreign_files_are_left_alone),
        cmocka_unit_test(test_temporary_files_of_the_dead_are_removed),
        cmocka_unit_test(test_a_folder_that_can_not_be_made),
#if HEARTH_FAULTS
        cmocka_unit_test(test_a_full_disk),
        cmocka_unit_test(test_no_thread_no_disk),
        cmocka_unit_test(test_no_memory),
#endif
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
