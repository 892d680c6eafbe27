/* How quickly each driver of the vector store finds the nearest chunks, and how many of those that
 * really are the nearest (recall@10 against every vector compared with every question).
 *
 * usage: bench_vectors KIND FOLDER [n=100000] [dims=768] [collections=1] [ask=1] [queries=200]
 *                      [url=DATABASE] [chroma=URL]
 *
 * The folder keeps database and graph; a second run with the same numbers uses them. What is
 * measured is vectors_search() as rag calls it, one thread, everything in the page cache.
 *
 * The vectors are made, and shaped like embeddings of text, not like noise (in which, at 768
 * numbers, everything is equally far from everything): 40 areas with 50 topics each; a vector is
 * its topic's direction, plus a mix of 24 of 512 directions that all share (what a passage is
 * about beside its topic), plus noise. A question is a vector of the same kind, close to one that
 * exists. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"
#include "rag/vectors.h"
#include "store/store_file.h"
#include "store/store_user.h"
#include "store/store_vector.h"

enum { AREAS = 40, TOPICS = 2000, SHARED = 512, MIX = 24, K = 10, PAGE = 100 };

static struct {
    const char *kind, *folder, *url, *chroma;
    int64_t n, dims, collections, ask, queries;
} opt = {.n = 100000, .dims = 768, .collections = 1, .ask = 1, .queries = 200};

static struct error why;

static void ok(enum err e, const char *what)
{
    if (!e) return;
    fprintf(stderr, "bench_vectors: %s: %s\n", what, why.msg);
    exit(1);
}

/* ---- vectors ------------------------------------------------------------------------------- */

static float *areas, *topics, *shared;

static uint64_t next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Four uniform numbers: near enough to a normal distribution. */
static float normal(uint64_t *state)
{
    uint64_t bits = next(state);
    int sum = 0;
    for (int i = 0; i < 4; i++) sum += (int)(bits >> (16 * i) & 0xffff) - 0x8000;
    return (float)sum / 37837.0f; /* standard deviation 1 */
}

static float *directions(size_t n, uint64_t seed)
{
    float *v = xcalloc(n * (size_t)opt.dims, sizeof *v);
    for (size_t i = 0; i < n * (size_t)opt.dims; i++) v[i] = normal(&seed);
    for (size_t i = 0; i < n; i++)
        vec_normalise(v + i * (size_t)opt.dims, (size_t)opt.dims, v + i * (size_t)opt.dims);
    return v;
}

static void mix_in(float *v, const float *direction, float weight)
{
    for (int64_t d = 0; d < opt.dims; d++) v[d] += weight * direction[d];
}

static uint64_t seed_of(uint64_t i)
{
    uint64_t seed = (i + 1) * 0x9e3779b97f4a7c15u;
    for (int k = 0; k < 4; k++) next(&seed);
    return seed;
}

static void noise(float *v, uint64_t seed, float weight)
{
    float each = weight / sqrtf((float)opt.dims);
    for (int64_t d = 0; d < opt.dims; d++) v[d] += each * normal(&seed);
}

/* Vector i; weights are lengths. */
static void make(int64_t i, float *v)
{
    uint64_t seed = seed_of((uint64_t)i), topic = next(&seed) % TOPICS;
    memset(v, 0, (size_t)opt.dims * sizeof *v);
    mix_in(v, areas + topic % AREAS * (uint64_t)opt.dims, 0.5f);
    mix_in(v, topics + topic * (uint64_t)opt.dims, 0.6f);
    for (int k = 0; k < MIX; k++)
        mix_in(v, shared + next(&seed) % SHARED * (uint64_t)opt.dims,
               0.6f * normal(&seed) / sqrtf(MIX));
    noise(v, seed, 0.4f);
    vec_normalise(v, (size_t)opt.dims, v);
}

static void make_question(int64_t i, float *v)
{
    make((int64_t)(seed_of((uint64_t)i + 77777777) % (uint64_t)opt.n), v);
    noise(v, seed_of((uint64_t)i + 99999999), 0.5f);
    vec_normalise(v, (size_t)opt.dims, v);
}

static int64_t collection_of(int64_t i)
{
    return 1 + i / PAGE % opt.collections;
}

/* ---- the truth ----------------------------------------------------------------------------- */

struct truth {
    int64_t chunk[K];
    float distance[K];
    int n;
};

static void show(struct truth *t, int64_t chunk, float distance)
{
    int at = t->n;
    while (at > 0 && t->distance[at - 1] > distance) at--;
    if (at >= K) return;
    if (t->n < K) t->n++;
    for (int i = t->n - 1; i > at; i--) {
        t->chunk[i] = t->chunk[i - 1];
        t->distance[i] = t->distance[i - 1];
    }
    t->chunk[at] = chunk;
    t->distance[at] = distance;
}

static struct truth *find_truth(const float *questions)
{
    struct truth *t = xcalloc((size_t)opt.queries, sizeof *t);
    float *v = xcalloc((size_t)opt.dims, sizeof *v);
    for (int64_t i = 0; i < opt.n; i++) {
        if (collection_of(i) > opt.ask) continue;
        make(i, v);
        for (int64_t q = 0; q < opt.queries; q++)
            show(&t[q], i + 1, 1 - vec_dot(v, questions + q * opt.dims, (size_t)opt.dims));
    }
    free(v);
    return t;
}

/* ---- filling ------------------------------------------------------------------------------- */

static void add_file(struct store *s, const char *user, const char *collection, int64_t i,
                     char id[STORE_ID_MAX])
{
    char name[40];
    bool added;
    str_printf(name, sizeof name, "file-%lld", (long long)i);
    struct store_file f = {.collection_id = collection,
                           .name = name,
                           .sha256 = name,
                           .bytes = 1,
                           .type = "text/plain"};
    struct store_job job = {.kind = "index_file", .priority = 50, .max_attempts = 3};
    ok(store_file_add(s, &(struct store_asker){.user_id = user}, &f, &job, id, &added, &why),
       "a file");
}

/* A file for each thousand vectors of a collection. */
static void fill(struct store *s, struct vectors *v, int64_t set, int64_t from)
{
    char user[37], (*files)[STORE_ID_MAX] = xcalloc((size_t)opt.collections, sizeof *files);
    struct arena *a = arena_new(1 << 20);
    struct store_collection c;
    float *floats = xcalloc((size_t)PAGE * (size_t)opt.dims, sizeof *floats);
    int64_t chunks[PAGE];
    id_uuid4(user);
    struct store_user_new u = {.id = user, .username = user, .password_hash = "none"};
    ok(store_user_create(s, &u, &why), "a user");
    ok(store_collection_default(s, user, "documents", a, &c, &why), "a collection");
    int64_t spent = 0, began = clock_mono_ms();
    for (int64_t i = from; i < opt.n; i += PAGE) {
        int64_t n = opt.n - i < PAGE ? opt.n - i : PAGE;
        for (int64_t k = 0; k < n; k++) {
            chunks[k] = i + k + 1;
            make(i + k, floats + k * opt.dims);
        }
        char *file = files[collection_of(i) - 1];
        if (i / PAGE / opt.collections % 10 == 0 || !*file) add_file(s, user, c.id, i, file);
        struct vectors_add add = {.set = set,
                                  .collection = collection_of(i),
                                  .file_id = file,
                                  .chunks = chunks,
                                  .floats = floats,
                                  .dims = (int32_t)opt.dims,
                                  .n = (size_t)n};
        int64_t at = clock_mono_ns();
        ok(vectors_add(v, &add, &why), "adding");
        spent += clock_mono_ns() - at;
    }
    printf("added %lld vectors in %.1f s (%.0f us each in vectors_add)\n",
           (long long)(opt.n - from), (double)(clock_mono_ms() - began) / 1e3,
           (double)spent / 1e3 / (double)(opt.n - from));
    free(floats);
    free(files);
    arena_free(a);
}

static void settle(struct vectors *v, int64_t set)
{
    struct vectors_status st;
    int64_t began = clock_mono_ms();
    for (;;) {
        ok(vectors_status(v, set, &st, &why), "status");
        if (st.current) break;
        usleep(20000);
    }
    printf("current after %.1f s; in memory: %lld vectors, %.0f MiB\n",
           (double)(clock_mono_ms() - began) / 1e3, (long long)st.in_memory,
           (double)st.bytes / 1048576);
}

/* ---- asking -------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void ask(struct vectors *v, int64_t set, const float *questions, const struct truth *truth)
{
    double *ms = xcalloc((size_t)opt.queries, sizeof *ms), right = 0, all = 0;
    int64_t *collections = xcalloc((size_t)opt.ask, sizeof *collections);
    for (int64_t i = 0; i < opt.ask; i++) collections[i] = i + 1;
    for (int round = 0; round < 2; round++) { /* the first warms caches */
        for (int64_t q = 0; q < opt.queries; q++) {
            struct vectors_hit hits[K];
            size_t n;
            struct vectors_query query = {.set = set,
                                          .floats = questions + q * opt.dims,
                                          .dims = (int32_t)opt.dims,
                                          .collections = collections,
                                          .n_collections = (size_t)opt.ask,
                                          .k = K};
            int64_t at = clock_mono_ns();
            ok(vectors_search(v, &query, hits, &n, &why), "searching");
            ms[q] = (double)(clock_mono_ns() - at) / 1e6;
            if (!round) continue;
            all += truth[q].n;
            for (size_t i = 0; i < n; i++)
                for (int j = 0; j < truth[q].n; j++) right += hits[i].chunk_id == truth[q].chunk[j];
        }
    }
    qsort(ms, (size_t)opt.queries, sizeof *ms, compare);
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    printf("%s, %lld x %lld, %lld of %lld collections: p50 %.2f ms, p95 %.2f ms, max %.2f ms, "
           "recall@%d %.4f; process %ld MiB\n",
           opt.kind, (long long)opt.n, (long long)opt.dims, (long long)opt.ask,
           (long long)opt.collections, ms[opt.queries / 2], ms[opt.queries * 95 / 100],
           ms[opt.queries - 1], K, right / all, use.ru_maxrss / 1024);
    free(collections);
    free(ms);
}

/* ---- all of it ----------------------------------------------------------------------------- */

static void read_option(const char *arg)
{
    static const struct {
        const char *name;
        int64_t *number;
        const char **text;
    } options[] = {{"n=", &opt.n, NULL},
                   {"dims=", &opt.dims, NULL},
                   {"collections=", &opt.collections, NULL},
                   {"ask=", &opt.ask, NULL},
                   {"queries=", &opt.queries, NULL},
                   {"url=", NULL, &opt.url},
                   {"chroma=", NULL, &opt.chroma}};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        if (!str_starts(arg, options[i].name)) continue;
        const char *value = arg + strlen(options[i].name);
        if (options[i].text) *options[i].text = value;
        if (!options[i].text && !str_to_i64(value, 1, 100000000, options[i].number)) break;
        return;
    }
    fprintf(stderr, "bench_vectors: what is %s?\n", arg);
    exit(2);
}

int main(int argc, char **argv)
{
    char db[FS_PATH_MAX], kept[FS_PATH_MAX], lib[FS_PATH_MAX], vec[FS_PATH_MAX];
    if (argc < 3) {
        fprintf(stderr, "usage: bench_vectors KIND FOLDER [n=] [dims=] [collections=] [ask=] "
                        "[queries=] [url=] [chroma=]\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    opt.kind = argv[1];
    opt.folder = argv[2];
    for (int i = 3; i < argc; i++) read_option(argv[i]);
    ok(fs_mkdirs(opt.folder, 0700, &why), "the folder");
    ok(fs_join(db, sizeof db, opt.folder, "bench.db", &why), "the folder");
    ok(fs_join(kept, sizeof kept, opt.folder, "kept", &why), "the folder");
    ok(fs_exe_dir(lib, sizeof lib, &why), "the folder");
    ok(fs_join(vec, sizeof vec, lib, "../lib/hearth/vec0.so", &why), "the folder");
    areas = directions(AREAS, 11);
    topics = directions(TOPICS, 22);
    shared = directions(SHARED, 33);

    struct store *s;
    struct vectors *v;
    int64_t set, there;
    struct store_params params = {.url = opt.url ? opt.url : db,
                                  .connections = opt.url ? 1 : 0,
                                  .migrate = true,
                                  .vec_extension = vec};
    ok(store_open(&params, &s, &why), "the database");
    struct vectors_params vparams = {.store = s,
                                     .kind = opt.kind,
                                     .dir = kept,
                                     .hnsw_from = 1 << 30,
                                     .chroma_url = opt.chroma,
                                     .name = "bench"};
    ok(vectors_open(&vparams, &v, &why), "the vector store");
    ok(vectors_set_open(v, "bench", (int32_t)opt.dims, &set, &why), "the set");
    ok(vectors_count(v, set, NULL, &there, &why), "counting");
    if (there < opt.n) fill(s, v, set, there);
    settle(v, set);

    float *questions = xcalloc((size_t)(opt.queries * opt.dims), sizeof *questions);
    for (int64_t q = 0; q < opt.queries; q++) make_question(q, questions + q * opt.dims);
    struct truth *truth = find_truth(questions);
    ask(v, set, questions, truth);

    int64_t began = clock_mono_ms();
    vectors_close(v);
    printf("closed in %.1f s\n", (double)(clock_mono_ms() - began) / 1e3);
    store_close(s);
    free(questions);
    free(truth);
    free(areas);
    free(topics);
    free(shared);
    return 0;
}
