/* The graph in memory: what it finds, with a filter, after removals, and from disk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fault.h"
#include "base/fs.h"
#include "base/str.h"
#include "base/vec.h"
#include "rag/ann.h"

enum { DIMS = 40, N = 3200, K = 10 };

static float vectors[N + 1][DIMS];
static struct error why;
static char path[64];

#define assert_ok(call)                                                                            \
    do {                                                                                           \
        if ((call) != OK) fail_msg("%s: %s", #call, why.msg);                                      \
    } while (0)

static unsigned seed = 3;

static float number(void)
{
    seed = seed * 1664525u + 1013904223u;
    return (float)(seed >> 8) / (float)(1 << 23) - 1;
}

/* Number n is in collection n % 10 and file n / 100. */
static struct ann *build(int from, int to)
{
    struct ann *a;
    assert_ok(ann_new(DIMS, (size_t)(to - from + 1), &a, &why));
    for (int n = from; n <= to; n++) assert_ok(ann_add(a, n, n % 10, n / 100, vectors[n], &why));
    return a;
}

static size_t search(const struct ann *a, const float *v, const int64_t *collections, size_t n_c,
                     const int64_t *files, size_t n_f, int64_t *out)
{
    struct ann_query q = {.v = v,
                          .collections = collections,
                          .n_collections = n_c,
                          .files = files,
                          .n_files = n_f,
                          .by_file = n_f > 0};
    size_t n;
    bool all;
    assert_ok(ann_search(a, &q, K * 2, out, &n, &all, &why));
    return n;
}

static const int64_t every[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};

static bool allowed(int n, const int64_t *collections, size_t n_c)
{
    for (size_t i = 0; i < n_c; i++)
        if (collections[i] == n % 10) return true;
    return false;
}

static bool gone[N + 1]; /* from the graph that is tested */

static void files_gone(int from, int to)
{
    for (int n = 0; n <= N; n++) gone[n] = n / 100 >= from && n / 100 <= to;
}

/* Of the K that are nearest in truth, the part that is among the candidates. */
static double recall(const struct ann *a, const int64_t *collections, size_t n_c, int from, int to)
{
    int right = 0, asked = 0;
    int step = (to - from) / 60;
    for (int q = 0; q < 60; q++) {
        float v[DIMS];
        int64_t out[K * 2];
        for (int d = 0; d < DIMS; d++) v[d] = vectors[from + q * step][d] + 0.1f * number();
        vec_normalise(v, DIMS, v);
        size_t n = search(a, v, collections, n_c, NULL, 0, out);
        float best[K];
        int which[K], n_best = 0;
        for (int i = from; i <= to; i++) {
            if (gone[i] || !allowed(i, collections, n_c)) continue;
            float d = 1 - vec_dot(v, vectors[i], DIMS);
            int at = n_best;
            while (at > 0 && best[at - 1] > d) at--;
            if (at >= K) continue;
            if (n_best < K) n_best++;
            for (int j = n_best - 1; j > at; j--) {
                best[j] = best[j - 1];
                which[j] = which[j - 1];
            }
            best[at] = d;
            which[at] = i;
        }
        for (int i = 0; i < n_best; i++, asked++)
            for (size_t j = 0; j < n; j++) right += out[j] == which[i];
    }
    return (double)right / asked;
}

static void it_finds_the_nearest(void **state)
{
    (void)state;
    struct ann *a = build(1, N);
    assert_int_equal(ann_count(a), N);
    assert_true(ann_bytes(a) > (size_t)N * DIMS);
    assert_true(recall(a, every, 10, 1, N) >= 0.98);
    assert_true(recall(a, every, 5, 1, N) >= 0.98); /* half: through the graph */
    assert_true(recall(a, every, 1, 1, N) >= 0.98); /* a tenth: one by one */
    ann_free(a);
}

static void filters_hold(void **state)
{
    (void)state;
    struct ann *a = build(1, N);
    int64_t out[K * 2], files[] = {3, 4, 777};
    size_t n = search(a, vectors[350], (int64_t[]){5}, 1, NULL, 0, out);
    assert_int_equal(n, K * 2);
    for (size_t i = 0; i < n; i++) assert_int_equal(out[i] % 10, 5);
    n = search(a, vectors[350], every, 10, files, 3, out);
    assert_int_equal(n, K * 2);
    for (size_t i = 0; i < n; i++) assert_true(out[i] / 100 == 3 || out[i] / 100 == 4);
    n = search(a, vectors[350], (int64_t[]){2}, 1, files, 1, out);
    assert_int_equal(n, 10); /* of a file's hundred, those in that collection */
    assert_int_equal(search(a, vectors[350], (int64_t[]){99}, 1, NULL, 0, out), 0);
    assert_int_equal(search(a, vectors[350], NULL, 0, NULL, 0, out), 0);
    ann_free(a);
}

static void what_is_removed_is_not_found(void **state)
{
    (void)state;
    struct ann *a = build(1, 2000);
    int64_t out[K * 2], keep[1000];
    assert_int_equal(ann_remove_file(a, 3), 100);
    assert_int_equal(ann_remove_file(a, 3), 0);
    assert_int_equal(ann_remove_file(a, 12345), 0);
    assert_int_equal(ann_count(a), 1900);
    size_t n = search(a, vectors[350], every, 10, NULL, 0, out);
    for (size_t i = 0; i < n; i++) assert_true(out[i] / 100 != 3);
    for (int i = 0; i < 1000; i++) keep[i] = 1001 + i;
    assert_int_equal(ann_keep(a, keep, 1000), 900);
    assert_int_equal(ann_count(a), 1000);
    assert_true(recall(a, every, 10, 1001, 2000) >= 0.98);
    assert_true(recall(a, every, 3, 1001, 2000) >= 0.98);
    ann_free(a);
}

static void it_grows_and_knows_its_end(void **state)
{
    (void)state;
    struct ann *a = build(1, 100);
    assert_int_equal(ann_room(a), 0);
    assert_int_equal(ann_add(a, 101, 1, 1, vectors[101], &why), ERR_NOMEM);
    assert_ok(ann_add(a, 100, 1, 1, vectors[100], &why)); /* is there: nothing to do */
    assert_ok(ann_grow(a, 500, &why));
    for (int n = 101; n <= 500; n++) assert_ok(ann_add(a, n, n % 10, n / 100, vectors[n], &why));
    assert_true(recall(a, every, 10, 1, 500) >= 0.98);
    ann_free(a);
}

static void it_comes_back_from_disk(void **state)
{
    (void)state;
    struct ann *a = build(1, 3000), *b;
    struct ann_mark mark = {7, 3000, 100}, found;
    int64_t n;
    ann_remove_file(a, 3);
    assert_ok(ann_save(a, path, &mark, &why));
    ann_free(a);
    assert_int_equal(ann_load(path, DIMS + 1, &b, &found, &why), ERR_CHECKSUM);
    assert_int_equal(ann_load("/nonexistent", DIMS, &b, &found, &why), ERR_NOT_FOUND);
    assert_ok(ann_load(path, DIMS, &b, &found, &why));
    assert_memory_equal(&mark, &found, sizeof mark);
    assert_int_equal(ann_count(b), 2900);
    assert_int_equal(ann_removed(b), 100);
    assert_true(ann_is(b, 0, &n));
    assert_int_equal(n, 1);
    assert_true(ann_matches(b, 1, vectors[1]));
    assert_false(ann_matches(b, 1, vectors[2]));
    files_gone(3, 3);
    assert_true(recall(b, every, 10, 1, 3000) >= 0.98);
    for (int i = 3001; i <= 3200; i++) assert_ok(ann_add(b, i, i % 10, i / 100, vectors[i], &why));
    assert_int_equal(ann_remove_file(b, 4), 100);
    files_gone(3, 4);
    assert_true(recall(b, every, 10, 1, 3200) >= 0.98);
    files_gone(-1, -1);
    ann_free(b);
    /* An empty one, too. */
    a = build(1, 0);
    assert_ok(ann_save(a, path, &mark, &why));
    ann_free(a);
    assert_ok(ann_load(path, DIMS, &b, &found, &why));
    int64_t out[K * 2];
    assert_int_equal(search(b, vectors[1], every, 10, NULL, 0, out), 0);
    ann_free(b);
}

static void a_damaged_file_is_refused(void **state)
{
    (void)state;
    struct ann *a = build(1, 300), *b;
    struct ann_mark mark = {1, 300, 0}, found;
    struct buf whole, bad;
    assert_ok(ann_save(a, path, &mark, &why));
    ann_free(a);
    buf_init(&whole, 16 << 20);
    assert_ok(fs_read_file(path, 16 << 20, &whole, &why));
    for (size_t at = 0; at < whole.len; at += at < 100 ? 1 : 1999) { /* a flipped bit anywhere */
        buf_init(&bad, 16 << 20);
        buf_append(&bad, whole.data, whole.len);
        bad.data[at] = (char)(bad.data[at] ^ 0x10);
        assert_ok(fs_write_atomic(path, bad.data, bad.len, 0600, &why));
        enum err e = ann_load(path, DIMS, &b, &found, &why);
        assert_true(e == ERR_CHECKSUM || e == ERR_NOMEM);
        buf_free(&bad);
    }
    for (size_t len = 0; len < whole.len; len += 2997) { /* torn */
        assert_ok(fs_write_atomic(path, whole.data, len, 0600, &why));
        assert_int_equal(ann_load(path, DIMS, &b, &found, &why), ERR_CHECKSUM);
    }
    buf_free(&whole);
}

#if HEARTH_FAULTS
static void a_full_disk_leaves_the_old_file(void **state)
{
    (void)state;
    struct ann *a = build(1, 300), *b;
    struct ann_mark mark = {1, 300, 0}, second = {1, 400, 0}, found;
    assert_ok(ann_save(a, path, &mark, &why));
    for (long nth = 1; nth <= 5; nth++) {
        fault_arm(FAULT_write, nth, false);
        assert_true(ann_save(a, path, &second, &why) != OK);
        fault_arm(FAULT_write, 0, false);
        assert_ok(ann_load(path, DIMS, &b, &found, &why));
        assert_int_equal(found.last_seq, 300);
        ann_free(b);
    }
    ann_free(a);
}
#endif

int main(void)
{
    for (int n = 0; n <= N; n++) {
        unsigned topic = 100 + (unsigned)n % 13, own = seed;
        for (int d = 0; d < DIMS; d++) {
            seed = topic * 7919u + (unsigned)d * 104729u;
            vectors[n][d] = number();
        }
        seed = own;
        for (int d = 0; d < DIMS; d++) vectors[n][d] += 0.6f * number();
        vec_normalise(vectors[n], DIMS, vectors[n]);
    }
    str_printf(path, sizeof path, "/tmp/hearth-ann-%d", (int)getpid());
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_finds_the_nearest),
        cmocka_unit_test(filters_hold),
        cmocka_unit_test(what_is_removed_is_not_found),
        cmocka_unit_test(it_grows_and_knows_its_end),
        cmocka_unit_test(it_comes_back_from_disk),
        cmocka_unit_test(a_damaged_file_is_refused),
#if HEARTH_FAULTS
        cmocka_unit_test(a_full_disk_leaves_the_old_file),
#endif
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
