/* How fast plain text becomes searchable: the splitter alone, and whole files through split, full
 * text and vectors on SQLite, with a provider that gives vectors at once. Then what searches take
 * in all of it.
 *
 * usage: bench_rag [MB of text] [dims] [files] [keep=FOLDER] [store=sqlite] [searches=200]
 *        bench_rag FILE           a document, from its bytes to searchable
 *
 * keep: the folder keeps the database, and the graph of store=hnsw; a second run with the same
 * numbers finds everything indexed and only searches. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/log.h"
#include "base/str.h"
#include "extract/extract.h"
#include "models/models.h"
#include "rag/index.h"
#include "rag/rag_int.h"
#include "rag/split.h"
#include "store/store_chunk.h"
#include "store/store_user.h"
#include "support/words_provider.h"

enum { SEARCHES_MAX = 1000, WORDS = 20000 };

static struct error why;
static struct store *store;
static char folder[FS_PATH_MAX];
static struct {
    const char *keep, *kind; /* VECTOR_STORE */
    int64_t searches;
} opt = {.kind = "auto", .searches = 200};

static void must(enum err e, const char *what)
{
    if (!e) return;
    fprintf(stderr, "%s: %s\n", what, why.msg);
    exit(1);
}

/* Words as often as in a language (the n-th most common one 1/n as often as the first). */
static void make_words(char list[WORDS][16])
{
    static const char *const parts[] = {"ka", "lo",  "mer", "tin", "sa", "vo",  "ri", "den",
                                        "pu", "hal", "gro", "ne",  "fi", "tas", "wu", "bel"};
    for (size_t i = 0; i < WORDS; i++) {
        size_t n = i;
        list[i][0] = '\0';
        do {
            strncat(list[i], parts[n % 16], 15 - strlen(list[i]));
            n /= 16;
        } while (n);
    }
}

static uint64_t seed = 1;

static double random_share(void)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (double)(seed >> 11) / (double)(1ull << 53);
}

static size_t random_word(void)
{
    double x = random_share();
    return (size_t)(x * x * x * WORDS);
}

static void make_text(struct buf *out, size_t size, char list[WORDS][16])
{
    int n = 0;
    while (out->len < size) {
        if (n % 900 == 0) buf_printf(out, "\n\n# Section %s\n\n", list[random_word()]);
        buf_puts(out, list[random_word()]);
        n++;
        buf_puts(out, n % 14 == 0 ? ". " : n % 90 == 0 ? "\n\n" : " ");
    }
}

static bool count(void *ctx, const struct split_chunk *c)
{
    (void)c;
    ++*(size_t *)ctx;
    return true;
}

static void bench_split(const struct buf *text)
{
    struct split_params params = {.size = 2000, .overlap = 400};
    double best = 0;
    size_t n = 0;
    for (int i = 0; i < 5; i++) {
        n = 0;
        int64_t from = clock_mono_ns();
        must(split_text(text->data, text->len, NULL, 0, &params, count, &n, &why), "split_text");
        double rate = (double)text->len / 1e6 / ((double)(clock_mono_ns() - from) / 1e9);
        if (rate > best) best = rate;
    }
    printf("splitting alone                  %8.0f MB/s  (%zu chunks; wanted: 200 or more)\n", best,
           n);
}

static enum err open_it(void *ctx, struct store **out, struct error *error)
{
    (void)ctx;
    (void)error;
    *out = store;
    return OK;
}

static void add_file(struct files *files, const char *user, const char *name, const char *data,
                     size_t len)
{
    struct spool *spool;
    struct store_file f;
    bool added;
    struct arena *a = arena_new(1 << 20);
    struct files_new new = {.who = {.user_id = user}, .name = name};
    must(files_spool(files, 0, &spool, &why), "files_spool");
    must(spool_write(spool, data, len, &why), "spool_write");
    must(spool_finish(spool, &why), "spool_finish");
    must(files_add(files, store, &new, spool, a, &f, &added, &why), "files_add");
    spool_free(spool);
    arena_free(a);
}

static bool all_ready(const char *user, size_t n)
{
    struct store_file *list;
    size_t found = 0, ready = 0;
    struct arena *a = arena_new(16 << 20);
    struct store_file_page page = {.status = -1, .limit = STORE_FILE_PAGE_MAX};
    must(store_file_list(store, user, &page, a, &list, &found, &why), "store_file_list");
    for (size_t i = 0; i < found; i++) {
        ready += list[i].status == STORE_FILE_READY;
        if (list[i].status != STORE_FILE_FAILED) continue;
        fprintf(stderr, "%s: %s\n", list[i].name, list[i].error);
        exit(1);
    }
    arena_free(a);
    return ready == n;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void bench_search(struct rag *rag, const char *user, enum rag_mode mode,
                         char list[WORDS][16])
{
    static double ms[SEARCHES_MAX];
    size_t n_searches = (size_t)opt.searches;
    for (size_t i = 0; i < n_searches; i++) {
        char text[160];
        struct rag_source *sources;
        size_t n;
        struct arena *a = arena_new(64 << 20);
        str_printf(text, sizeof text, "what is %s in %s and %s of the %s", list[random_word()],
                   list[random_word()], list[random_word()], list[random_word()]);
        struct rag_query q = {.store = store, .user_id = user, .text = text, .k = 10, .mode = mode};
        int64_t from = clock_mono_ns();
        must(rag_search(rag, &q, a, &sources, &n, &why), "rag_search");
        ms[i] = (double)(clock_mono_ns() - from) / 1e6;
        arena_free(a);
    }
    qsort(ms, n_searches, sizeof *ms, by_value);
    printf("search, %-7s                  median %6.2f ms   p95 %6.2f ms\n", rag_mode_word(mode),
           ms[n_searches / 2], ms[n_searches * 95 / 100]);
}

/* A graph in memory is built, or read, beside the searches. */
static void settle(struct rag *rag)
{
    struct vectors *v;
    struct vectors_set *sets;
    struct vectors_status st = {0};
    size_t n;
    struct arena *a = arena_new(1 << 20);
    must(rag_vectors(rag, store, &v, &why), "vectors");
    must(vectors_set_list(v, a, &sets, &n, &why), "sets of vectors");
    int64_t from = clock_mono_ms();
    while (n && !st.current) {
        must(vectors_status(v, sets[0].n, &st, &why), "the state of the vectors");
        if (!st.current) usleep(20000);
    }
    arena_free(a);
    printf("%s: %lld vectors, %lld in memory (%.0f MiB), current after %.1f s more\n", opt.kind,
           (long long)st.n, (long long)st.in_memory, (double)st.bytes / 1048576,
           (double)(clock_mono_ms() - from) / 1e3);
}

/* What indexes and searches, with a provider that gives vectors at once. */
struct bench {
    struct words_provider words;
    struct config *config;
    struct models *models;
    struct rag *rag;
    struct files *files;
    struct jobs *jobs;
    char user[37];
};

/* Of this run, or of the one that made what was kept. */
static void find_user(char id[37])
{
    struct store_user found;
    struct arena *a = arena_new(1 << 20);
    id_uuid4(id);
    struct store_user_new u = {.id = id, .username = "ada", .password_hash = "none"};
    enum err e = store_user_by_name(store, "ada", a, &found, &why);
    if (!e) str_copy(id, 37, found.id);
    if (e == ERR_NOT_FOUND) e = store_user_create(store, &u, &why);
    must(e, "user");
    arena_free(a);
}

static void bench_open(struct bench *b, int32_t dims)
{
    char path[FS_PATH_MAX + 16];
    words_open(&b->words, dims);
    b->words.blank = true;
    struct config_override set[] = {{CONFIG_DATA_DIR, folder},
                                    {CONFIG_MODELS_DIR, folder},
                                    {CONFIG_VECTORDB_PATH, folder},
                                    {CONFIG_VECTOR_STORE, opt.kind}};
    must(config_from(set, 4, &b->config, &why), "config");
    must(models_open(folder, HEARTH_SOURCE_DIR "/models", &b->models, &why), "models");
    struct rag_params params = {
        .config = b->config, .provider = &b->words.base, .models = b->models};
    must(rag_new(&params, &b->rag, &why), "rag_new");
    str_printf(path, sizeof path, "%s/files", folder);
    struct files_params fp = {.dir = path, .max_bytes = 1 << 30, .collection = "documents"};
    b->files = files_new(&fp);
    struct jobs_params jp = {.open = open_it, .threads = 2};
    b->jobs = jobs_new(&jp);
    files_set_jobs(b->files, b->jobs);
    index_register(b->rag, b->jobs, b->files);
    find_user(b->user);
}

/* Until all n files are ready; seconds. */
static double bench_index(struct bench *b, size_t n)
{
    int64_t from = clock_mono_ns();
    must(jobs_start(b->jobs, true, &why), "jobs_start");
    while (!all_ready(b->user, n)) usleep(5000);
    return (double)(clock_mono_ns() - from) / 1e9;
}

static void bench_close(struct bench *b)
{
    jobs_stop(b->jobs);
    rag_stop(b->rag);
    jobs_free(b->jobs);
    rag_free(b->rag);
    files_free(b->files);
    models_free(b->models);
    config_free(b->config);
}

static void bench_files(struct bench *b, size_t mb, size_t n_files, char list[WORDS][16])
{
    struct buf text;
    buf_init(&text, (mb + 1) << 20);
    make_text(&text, mb * 1000000, list);
    bench_split(&text);
    size_t each = text.len / n_files;
    for (size_t i = 0; i < n_files; i++) {
        char name[32];
        str_printf(name, sizeof name, "%zu.txt", i);
        add_file(b->files, b->user, name, text.data + i * each, each);
    }
    buf_free(&text);
    double s = bench_index(b, n_files);
    printf(
        "%2zu files of %.1f MB, %4d numbers  %8.1f MB/s  (%.1f s, %d texts; wanted: 8 or more)\n",
        n_files, (double)each / 1e6, b->words.dims, (double)(each * n_files) / 1e6 / s, s,
        atomic_load(&b->words.inputs));
}

static void bench_document(const char *path)
{
    struct bench b;
    struct buf data;
    buf_init(&data, 1 << 30);
    must(fs_read_file(path, 1 << 30, &data, &why), path);
    bench_open(&b, 768);
    add_file(b.files, b.user, path, data.data, data.len);
    double s = bench_index(&b, 1);
    printf("%s: searchable after %.2f s without the time for embedding (%d texts)\n", path, s,
           atomic_load(&b.words.inputs));
    bench_close(&b);
    buf_free(&data);
}

static void bench_text(size_t mb, int32_t dims, size_t n_files)
{
    static char list[WORDS][16];
    struct bench b;
    make_words(list);
    bench_open(&b, dims);
    if (!all_ready(b.user, n_files)) bench_files(&b, mb, n_files, list);
    settle(b.rag);
    seed = 2; /* the same questions, whether the text was made or not */
    for (int mode = 0; mode < RAG_MODE_COUNT; mode++)
        bench_search(b.rag, b.user, (enum rag_mode)mode, list);
    bench_close(&b);
}

/* Those with a name, which come last; returns how many others there are. */
static int read_options(int argc, char **argv)
{
    int n = argc;
    for (; n > 1 && strchr(argv[n - 1], '='); n--) {
        const char *arg = argv[n - 1], *value = strchr(arg, '=') + 1;
        if (str_starts(arg, "keep="))
            opt.keep = value;
        else if (str_starts(arg, "store="))
            opt.kind = value;
        else if (!str_starts(arg, "searches=") ||
                 !str_to_i64(value, 1, SEARCHES_MAX, &opt.searches))
            return 0;
    }
    return n;
}

static bool open_folder(void)
{
    if (opt.keep)
        return str_copy(folder, sizeof folder, opt.keep) && !fs_mkdirs(folder, 0700, &why);
    str_copy(folder, sizeof folder, "/tmp/hearth-bench-rag-XXXXXX");
    return mkdtemp(folder) != NULL;
}

int main(int argc, char **argv)
{
    if (extract_is_child()) return extract_main();
    argc = read_options(argc, argv);
    int64_t mb = 40, dims = argc > 2 ? strtol(argv[2], NULL, 10) : 256,
            n_files = argc > 3 ? strtol(argv[3], NULL, 10) : 4;
    bool document = argc == 2 && !str_to_i64(argv[1], 1, 100000, &mb);
    char url[FS_PATH_MAX + 16], command[FS_PATH_MAX + 16];
    if (argc > 2) mb = strtol(argv[1], NULL, 10);
    if (!argc || mb < 1 || dims < 1 || n_files < 1 || !open_folder()) return 2;
    must(log_open(LOG_WARN, false, NULL, &why), "log");
    str_printf(url, sizeof url, "%s/hearth.db", folder);
    struct store_params params = {
        .url = url, .migrate = true, .vec_extension = HEARTH_BINARY_DIR "/lib/hearth/vec0.so"};
    must(store_open(&params, &store, &why), "store_open");
    if (document)
        bench_document(argv[1]);
    else
        bench_text((size_t)mb, (int32_t)dims, (size_t)n_files);
    store_close(store);
    if (opt.keep) return 0;
    str_printf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command) == 0 ? 0 : 1;
}
