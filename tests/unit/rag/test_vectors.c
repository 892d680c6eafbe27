/* One suite for every driver of the vector store: each test runs on each of them, over the real
 * database and the real servers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/str.h"
#include "rag/vectors.h"
#include "store/store.h"
#include "store/store_vector.h"

enum { DIMS = 48, MANY = 1500 };

static char dir[64], url[256];
static const char *kind; /* of the driver that is tested */
static struct store *store;
static struct vectors *vectors;
static int64_t set;
static struct error why;

#define assert_ok(call)                                                                            \
    do {                                                                                           \
        if ((call) != OK) fail_msg("%s: %s", #call, why.msg);                                      \
    } while (0)

/* ---- vectors that look like something ---------------------------------------------------------
 */

static uint64_t noise(uint64_t *state)
{
    *state += 0x9e3779b97f4a7c15u; /* splitmix64 */
    uint64_t z = *state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static float number(uint64_t *state)
{
    return (float)((double)(noise(state) >> 11) / (double)(1ull << 52) - 1.0);
}

/* Number i: near the middle of its topic, i % 7. */
static void make(int64_t i, float out[DIMS])
{
    uint64_t topic = 1000 + (uint64_t)(i % 7), own = (uint64_t)i * 7919 + 3;
    for (int d = 0; d < DIMS; d++) out[d] = number(&topic) + 0.5f * number(&own);
}

static void add(int64_t from, int64_t n, int64_t collection, const char *file)
{
    int64_t *chunks = calloc((size_t)n, sizeof *chunks);
    float *floats = calloc((size_t)n * DIMS, sizeof *floats);
    for (int64_t i = 0; i < n; i++) {
        chunks[i] = from + i;
        make(from + i, floats + i * DIMS);
    }
    struct vectors_add a = {.set = set,
                            .collection = collection,
                            .file_id = file,
                            .chunks = chunks,
                            .floats = floats,
                            .dims = DIMS,
                            .n = (size_t)n};
    assert_ok(vectors_add(vectors, &a, &why));
    free(chunks);
    free(floats);
}

/* ---- set up ---------------------------------------------------------------------------------- */

static void open_store(void)
{
    struct store_params params = {
        .url = url, .migrate = true, .vec_extension = HEARTH_BINARY_DIR "/lib/hearth/vec0.so"};
    assert_ok(store_open(&params, &store, &why));
}

static void open_vectors(void)
{
    char kept[96];
    str_printf(kept, sizeof kept, "%s/kept", dir);
    struct vectors_params params = {.store = store, .kind = kind, .dir = kept};
    assert_ok(vectors_open(&params, &vectors, &why));
}

static void shell(const char *command)
{
    if (system(command) != 0) {
        fprintf(stderr, "failed: %s\n", command);
        abort();
    }
}

static int set_up(void **state)
{
    (void)state;
    open_store();
    assert_ok(store_migrate(store, 0, &why)); /* empty */
    assert_ok(store_migrate(store, -1, &why));
    open_vectors();
    assert_ok(vectors_set_open(vectors, "model-a", DIMS, &set, &why));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    vectors_close(vectors);
    store_close(store);
    return 0;
}

/* As after a restart. */
static void again(void)
{
    vectors_close(vectors);
    store_close(store);
    open_store();
    open_vectors();
}

/* ---- asking ---------------------------------------------------------------------------------- */

/* Until everything is where it is searched: graphs are made in the background. */
static void settle(void)
{
    int64_t until = clock_mono_ms() + 60000;
    struct vectors_status s;
    do {
        assert_ok(vectors_status(vectors, set, &s, &why));
        if (s.current && (!s.in_memory || s.in_memory == s.n)) return;
        usleep(5000);
    } while (clock_mono_ms() < until);
    fail_msg("%lld vectors, %lld in memory, current %d", (long long)s.n, (long long)s.in_memory,
             s.current);
}

static const int64_t everywhere[] = {1, 2, 3};
static struct vectors_hit hits[200];
static size_t n_hits;

static enum err ask_in(const float *q, const int64_t *collections, size_t n_collections,
                       const char *const *files, size_t n_files, size_t k)
{
    struct vectors_query query = {.set = set,
                                  .floats = q,
                                  .dims = DIMS,
                                  .collections = collections,
                                  .n_collections = n_collections,
                                  .file_ids = files,
                                  .n_files = n_files,
                                  .k = k};
    return vectors_search(vectors, &query, hits, &n_hits, &why);
}

static void ask(int64_t like, size_t k)
{
    float q[DIMS];
    settle();
    make(like, q);
    assert_ok(ask_in(q, everywhere, 3, NULL, 0, k));
}

static bool is_hit(int64_t chunk)
{
    for (size_t i = 0; i < n_hits; i++)
        if (hits[i].chunk_id == chunk) return true;
    return false;
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void an_empty_set_has_no_hits(void **state)
{
    (void)state;
    ask(1, 10);
    assert_int_equal(n_hits, 0);
}

static void a_vector_finds_itself_first(void **state)
{
    (void)state;
    add(1, 300, 1, "file-a");
    ask(77, 5);
    assert_int_equal(n_hits, 5);
    assert_int_equal(hits[0].chunk_id, 77);
    assert_true(fabsf(hits[0].distance) < 1e-4f);
    for (size_t i = 1; i < n_hits; i++) assert_true(hits[i - 1].distance <= hits[i].distance);
    int64_t n;
    assert_ok(vectors_count(vectors, set, NULL, &n, &why));
    assert_int_equal(n, 300);
}

static void length_does_not_matter(void **state)
{
    (void)state;
    float q[DIMS];
    add(1, 50, 1, "file-a");
    make(9, q);
    settle();
    for (int i = 0; i < DIMS; i++) q[i] *= 1000;
    assert_ok(ask_in(q, everywhere, 3, NULL, 0, 1));
    assert_int_equal(hits[0].chunk_id, 9);
    assert_true(fabsf(hits[0].distance) < 1e-4f);
    for (int i = 0; i < DIMS; i++) q[i] = -q[i];
    assert_ok(ask_in(q, everywhere, 3, NULL, 0, 50));
    assert_int_equal(n_hits, 50);
    assert_int_equal(hits[49].chunk_id, 9);
    assert_true(fabsf(hits[49].distance - 2) < 1e-4f);
}

static void collections_are_walls(void **state)
{
    (void)state;
    float q[DIMS];
    add(1, 200, 1, "file-a");
    add(201, 200, 2, "file-b");
    make(250, q);
    settle();
    assert_ok(ask_in(q, (int64_t[]){1}, 1, NULL, 0, 200));
    assert_int_equal(n_hits, 200);
    for (size_t i = 0; i < n_hits; i++) assert_true(hits[i].chunk_id <= 200);
    assert_ok(ask_in(q, (int64_t[]){2}, 1, NULL, 0, 3));
    assert_int_equal(hits[0].chunk_id, 250);
    assert_ok(ask_in(q, (int64_t[]){1, 2}, 2, NULL, 0, 3));
    assert_int_equal(hits[0].chunk_id, 250);
    assert_ok(ask_in(q, (int64_t[]){99}, 1, NULL, 0, 3));
    assert_int_equal(n_hits, 0);
    assert_ok(ask_in(q, NULL, 0, NULL, 0, 3));
    assert_int_equal(n_hits, 0);
}

static void a_search_in_files(void **state)
{
    (void)state;
    float q[DIMS];
    add(1, 100, 1, "file-a");
    add(101, 100, 1, "file-b");
    add(201, 100, 2, "file-c");
    make(50, q);
    settle();
    const char *b[] = {"file-b"}, *b_and_c[] = {"file-b", "file-c"}, *none[] = {"file-x"};
    assert_ok(ask_in(q, everywhere, 3, b, 1, 150));
    assert_int_equal(n_hits, 100);
    for (size_t i = 0; i < n_hits; i++)
        assert_true(hits[i].chunk_id > 100 && hits[i].chunk_id <= 200);
    /* A file in a collection that the user may not see stays hidden. */
    assert_ok(ask_in(q, (int64_t[]){1}, 1, b_and_c, 2, 200));
    assert_int_equal(n_hits, 100);
    assert_ok(ask_in(q, everywhere, 3, none, 1, 10));
    assert_int_equal(n_hits, 0);
}

static void a_removed_file_is_gone(void **state)
{
    (void)state;
    int64_t n;
    add(1, 100, 1, "file-a");
    add(101, 100, 1, "file-b");
    assert_ok(vectors_remove_file(vectors, "file-a", &why));
    assert_ok(vectors_remove_file(vectors, "file-a", &why)); /* again: nothing to do */
    assert_ok(vectors_remove_file(vectors, "never", &why));
    ask(50, 150);
    assert_int_equal(n_hits, 100);
    for (size_t i = 0; i < n_hits; i++) assert_true(hits[i].chunk_id > 100);
    assert_ok(vectors_count(vectors, set, "file-a", &n, &why));
    assert_int_equal(n, 0);
    assert_ok(vectors_count(vectors, set, "file-b", &n, &why));
    assert_int_equal(n, 100);
    add(1, 100, 2, "file-a"); /* back, elsewhere */
    ask(50, 1);
    assert_int_equal(hits[0].chunk_id, 50);
}

static void adding_again_replaces(void **state)
{
    (void)state;
    int64_t n;
    add(1, 60, 1, "file-a");
    add(31, 60, 1, "file-a"); /* half of them again: a job that was repeated */
    assert_ok(vectors_count(vectors, set, NULL, &n, &why));
    assert_int_equal(n, 90);
    ask(40, 90);
    assert_int_equal(n_hits, 90);
    for (int64_t chunk = 1; chunk <= 90; chunk++) assert_true(is_hit(chunk));
    /* With another vector: the new one counts. */
    int64_t chunk = 5;
    float v[DIMS], q[DIMS];
    make(100005, v);
    struct vectors_add a = {.set = set,
                            .collection = 1,
                            .file_id = "file-a",
                            .chunks = &chunk,
                            .floats = v,
                            .dims = DIMS,
                            .n = 1};
    assert_ok(vectors_add(vectors, &a, &why));
    make(100005, q);
    settle();
    assert_ok(ask_in(q, everywhere, 3, NULL, 0, 1));
    assert_int_equal(hits[0].chunk_id, 5);
    assert_true(fabsf(hits[0].distance) < 1e-4f);
}

static void sets_do_not_mix(void **state)
{
    (void)state;
    int64_t first = set, second, again_second, n;
    add(1, 50, 1, "file-a");
    assert_ok(vectors_set_open(vectors, "model-b", DIMS, &second, &why));
    assert_true(second != first);
    set = second;
    ask(1, 10);
    assert_int_equal(n_hits, 0);
    add(1, 20, 1, "file-a"); /* the same chunks, by the other model */
    ask(1, 50);
    assert_int_equal(n_hits, 20);
    set = first;
    ask(1, 60);
    assert_int_equal(n_hits, 50);
    struct arena *a = arena_new(1 << 20);
    struct vectors_set *sets;
    size_t n_sets;
    assert_ok(vectors_set_list(vectors, a, &sets, &n_sets, &why));
    assert_int_equal(n_sets, 2);
    assert_string_equal(sets[1].model, "model-b");
    arena_free(a);
    assert_ok(vectors_set_drop(vectors, first, &why));
    assert_ok(vectors_count(vectors, second, NULL, &n, &why));
    assert_int_equal(n, 20);
    assert_ok(vectors_set_open(vectors, "model-a", DIMS, &set, &why)); /* a new one */
    assert_true(set > second);
    ask(1, 10);
    assert_int_equal(n_hits, 0);
    assert_int_equal(ask_in((float[DIMS]){1}, everywhere, 3, NULL, 0, 1), OK);
    assert_ok(vectors_set_open(vectors, "model-b", DIMS, &again_second, &why));
    assert_int_equal(again_second, second);
    assert_ok(vectors_remove_file(vectors, "file-a", &why)); /* in all sets */
    assert_ok(vectors_count(vectors, second, NULL, &n, &why));
    assert_int_equal(n, 0);
}

static void everything_survives_a_restart(void **state)
{
    (void)state;
    add(1, 200, 1, "file-a");
    again();
    ask(150, 200);
    assert_int_equal(n_hits, 200);
    assert_int_equal(hits[0].chunk_id, 150);
    add(201, 50, 2, "file-b");
    assert_ok(vectors_remove_file(vectors, "file-a", &why));
    again();
    ask(220, 100);
    assert_int_equal(n_hits, 50);
    assert_int_equal(hits[0].chunk_id, 220);
}

/* The store was changed by another hub, or by a program that uses another driver. */
static void what_changed_elsewhere_is_seen(void **state)
{
    (void)state;
    add(1, 50, 1, "file-a");
    vectors_close(vectors);
    int64_t first, file, chunks[50];
    float floats[50 * DIMS];
    for (int64_t i = 0; i < 50; i++) {
        chunks[i] = 51 + i;
        make(51 + i, floats + i * DIMS);
    }
    struct store_vector_add a = {.set = set,
                                 .collection = 2,
                                 .file_id = "file-b",
                                 .chunks = chunks,
                                 .floats = floats,
                                 .dims = DIMS,
                                 .n = 50};
    assert_ok(store_vector_add(store, &a, &first, &file, &why));
    assert_ok(store_vector_remove_file(store, "file-a", NULL, &why));
    open_vectors();
    ask(80, 100);
    assert_int_equal(n_hits, 50);
    assert_int_equal(hits[0].chunk_id, 80);
}

static void wrong_vectors_are_refused(void **state)
{
    (void)state;
    int64_t chunk = 1, n;
    float v[DIMS] = {0}, short_one[4] = {1, 2, 3, 4};
    struct vectors_add a = {.set = set,
                            .collection = 1,
                            .file_id = "file-a",
                            .chunks = &chunk,
                            .floats = v,
                            .dims = DIMS,
                            .n = 1};
    assert_int_equal(vectors_add(vectors, &a, &why), ERR_INVALID); /* zeros */
    v[3] = NAN;
    assert_int_equal(vectors_add(vectors, &a, &why), ERR_INVALID);
    v[3] = INFINITY;
    assert_int_equal(vectors_add(vectors, &a, &why), ERR_INVALID);
    a.floats = short_one;
    a.dims = 4;
    assert_int_equal(vectors_add(vectors, &a, &why), ERR_INVALID);
    a.set = 4711;
    assert_int_equal(vectors_add(vectors, &a, &why), ERR_NOT_FOUND);
    assert_int_equal(ask_in(v, everywhere, 3, NULL, 0, 10), ERR_INVALID);
    make(1, v);
    assert_int_equal(ask_in(v, everywhere, 3, NULL, 0, 0), ERR_INVALID);
    assert_int_equal(ask_in(v, everywhere, 3, NULL, 0, 1000000), ERR_INVALID);
    /* Nothing of them is left. */
    assert_ok(vectors_count(vectors, set, NULL, &n, &why));
    assert_int_equal(n, 0);
    add(1, 10, 1, "file-a");
    a = (struct vectors_add){.set = set,
                             .collection = 2,
                             .file_id = "file-a",
                             .chunks = &chunk,
                             .floats = v,
                             .dims = DIMS,
                             .n = 1};
    assert_int_equal(vectors_add(vectors, &a, &why), ERR_CONFLICT); /* in two collections */
}

/* Against every vector compared with every query. */
static void recall(void **state)
{
    (void)state;
    enum { QUERIES = 40, K = 10 };
    size_t right = 0;
    for (int64_t from = 1; from <= MANY; from += 500) {
        char name[16];
        str_printf(name, sizeof name, "file-%lld", (long long)from);
        add(from, 500, 1 + from % 2, name);
    }
    settle();
    for (int64_t i = 0; i < QUERIES; i++) {
        struct store_vector_hit exact[K];
        size_t n_exact;
        float q[DIMS];
        make(1000000 + i * 37, q);
        struct store_vector_query query = {.set = set,
                                           .floats = q,
                                           .dims = DIMS,
                                           .collections = everywhere,
                                           .n_collections = 3,
                                           .k = K};
        assert_ok(store_vector_exact(store, &query, exact, &n_exact, &why));
        assert_int_equal(n_exact, K);
        assert_ok(ask_in(q, everywhere, 3, NULL, 0, K));
        assert_int_equal(n_hits, K);
        for (size_t j = 0; j < K; j++) right += is_hit(exact[j].chunk_id);
    }
    print_message("%s: recall@10 %.3f\n", kind, (double)right / (QUERIES * K));
    assert_true((double)right / (QUERIES * K) >= 0.98);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

static int run(const char *name)
{
    const struct CMUnitTest tests[] = {
        TEST(an_empty_set_has_no_hits),
        TEST(a_vector_finds_itself_first),
        TEST(length_does_not_matter),
        TEST(collections_are_walls),
        TEST(a_search_in_files),
        TEST(a_removed_file_is_gone),
        TEST(adding_again_replaces),
        TEST(sets_do_not_mix),
        TEST(everything_survives_a_restart),
        TEST(what_changed_elsewhere_is_seen),
        TEST(wrong_vectors_are_refused),
        TEST(recall),
    };
    kind = name;
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int main(void)
{
    char command[600], path[96];
    str_copy(dir, sizeof dir, "/tmp/hearth-vectors-XXXXXX");
    if (!mkdtemp(dir) || chmod(dir, 0755)) abort();
    str_printf(url, sizeof url, "%s/hearth.db", dir);
    int failed = run("sqlite") + run("hnsw");

    str_printf(command, sizeof command, "'%s/tools/pg-private' start '%s/pg' > '%s/url'",
               HEARTH_SOURCE_DIR, dir, dir);
    shell(command);
    str_printf(path, sizeof path, "%s/url", dir);
    FILE *f = fopen(path, "r");
    if (!f || !fgets(url, sizeof url, f)) abort();
    fclose(f);
    url[strcspn(url, "\n")] = '\0';
    failed += run("hnsw");
    str_printf(command, sizeof command, "'%s/tools/pg-private' stop '%s/pg' && rm -rf '%s'",
               HEARTH_SOURCE_DIR, dir, dir);
    shell(command);
    return failed;
}
