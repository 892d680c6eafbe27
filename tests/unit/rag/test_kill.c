/* kill -9 while files are indexed: whatever it hits, the next start leaves one set of chunks and
 * one of vectors. The process that is killed is this program once more, with real extraction, jobs
 * and databases, and a provider that counts words. */
#include "unit/store/both.h"

#include <signal.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "extract/extract.h"
#include "models/models.h"
#include "rag/index.h"
#include "rag/rag_int.h"
#include "support/words_provider.h"

enum { FILES = 4, ROUNDS = 4, KILLS = 4 /* a job may be tried five times */, WAIT_MS = 120000 };

static struct words_provider words;
static struct store *open_store; /* what jobs are handed */

static enum err open_it(void *ctx, struct store **out, struct error *error)
{
    (void)ctx;
    (void)error;
    *out = open_store;
    return OK;
}

struct hub {
    struct config *config;
    struct models *models;
    struct rag *rag;
    struct files *files;
    struct jobs *jobs;
};

static void must(enum err e, const char *what)
{
    if (!e) return;
    fprintf(stderr, "%s: %s\n", what, why.msg);
    _exit(3);
}

/* folder is static: it outlives the hub. */
static void start(struct hub *h, char *folder, bool work)
{
    static char dir[160];
    struct config_override set[] = {{CONFIG_DATA_DIR, folder},
                                    {CONFIG_MODELS_DIR, folder},
                                    {CONFIG_VECTORDB_PATH, folder},
                                    {CONFIG_CHUNK_SIZE, "300"},
                                    {CONFIG_CHUNK_OVERLAP, "60"}};
    words_open(&words, 32);
    must(config_from(set, sizeof set / sizeof *set, &h->config, &why), "config");
    must(models_open(folder, HEARTH_SOURCE_DIR "/models", &h->models, &why), "models");
    struct rag_params rp = {.config = h->config, .provider = &words.base, .models = h->models};
    must(rag_new(&rp, &h->rag, &why), "rag");
    str_printf(dir, sizeof dir, "%s/files", folder);
    struct files_params fp = {.dir = dir, .max_bytes = 64 << 20, .collection = "documents"};
    h->files = files_new(&fp);
    struct jobs_params jp = {
        .open = open_it, .threads = 2, .retry_ms = 20, .poll_ms = 50, .lease_ms = 500};
    h->jobs = jobs_new(&jp);
    files_set_jobs(h->files, h->jobs);
    index_register(h->rag, h->jobs, h->files);
    if (work) must(jobs_start(h->jobs, true, &why), "jobs");
}

static void stop(struct hub *h)
{
    jobs_stop(h->jobs);
    rag_stop(h->rag);
    jobs_free(h->jobs);
    rag_free(h->rag);
    files_free(h->files);
    models_free(h->models);
    config_free(h->config);
}

/* The process that is killed. */
static int work(char **argv)
{
    struct hub h;
    str_copy(both_url, sizeof both_url, argv[2]);
    open_store = both_open(true);
    start(&h, argv[3], true);
    while (pause() < 0) continue;
    return 0;
}

static pid_t run_worker(const char *folder)
{
    char program[] = "/proc/self/exe";
    fflush(NULL);
    pid_t pid = fork();
    if (pid) return pid;
    execl(program, program, "--work", both_url, folder, NULL);
    _exit(4);
}

static void add_files(struct hub *h, const char *user, int round, char ids[FILES][STORE_ID_MAX])
{
    for (int i = 0; i < FILES; i++) {
        struct spool *spool;
        struct store_file f;
        bool added;
        char name[32], line[160];
        str_printf(name, sizeof name, "file %d-%d.md", round, i);
        struct files_new new = {.who = {.user_id = user}, .name = name};
        assert_ok(files_spool(h->files, 0, &spool, &why));
        for (int k = 0; k < 1500; k++) {
            str_printf(line, sizeof line, "%sLine %d of file %d-%d, about words like %c%c.\n\n",
                       k % 40 ? "" : "# Part\n\n", k, round, i, 'a' + k % 26, 'a' + k % 25);
            assert_ok(spool_write(spool, line, strlen(line), &why));
        }
        assert_ok(spool_finish(spool, &why));
        assert_ok(files_add(h->files, store, &new, spool, arena, &f, &added, &why));
        str_copy(ids[i], STORE_ID_MAX, f.id);
        spool_free(spool);
    }
}

static bool is_ready(const char *id)
{
    struct store_file f;
    assert_ok(store_file_by_id(store, id, arena, &f, &why));
    if (f.status == STORE_FILE_FAILED) fail_msg("%s failed: %s", f.name, f.error);
    return f.status == STORE_FILE_READY;
}

static void check_whole(struct hub *h, const char *id)
{
    struct vectors *v;
    struct vectors_set *sets;
    struct store_file f;
    int64_t chunks, vectors;
    size_t n;
    assert_ok(store_file_by_id(store, id, arena, &f, &why));
    assert_ok(rag_vectors(h->rag, store, &v, &why));
    assert_ok(vectors_set_list(v, arena, &sets, &n, &why));
    assert_int_equal(n, 1);
    assert_ok(store_chunk_count(store, id, &chunks, &why));
    assert_ok(vectors_count(v, sets[0].n, id, &vectors, &why));
    assert_true(f.n_chunks > 100);
    assert_int_equal(chunks, f.n_chunks);
    assert_int_equal(vectors, f.n_chunks);
}

static void wait_for_all(char ids[FILES][STORE_ID_MAX])
{
    int64_t until = clock_mono_ms() + WAIT_MS;
    for (int i = 0; i < FILES; i++)
        while (!is_ready(ids[i])) {
            if (clock_mono_ms() > until) fail_msg("file %d is not ready", i);
            usleep(20000);
        }
}

static void kill_after(const char *folder, useconds_t us)
{
    int status;
    pid_t pid = run_worker(folder);
    usleep(us);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status)); /* it did not end by itself */
}

static void test_kills(void **state)
{
    static char folder[128];
    char ids[ROUNDS][FILES][STORE_ID_MAX];
    struct hub h;
    int status;
    (void)state;
    const char *ada = both_user("ada");
    str_printf(folder, sizeof folder, "%s/kills-%d", both_dir, both_pg);
    start(&h, folder, false);
    open_store = store;
    srand(7);
    for (int round = 0; round < ROUNDS; round++) {
        add_files(&h, ada, round, ids[round]);
        for (int i = 0; i < KILLS; i++)
            kill_after(folder, (useconds_t)(20000 + rand() % (60000 * (round + 1))));
        pid_t last = run_worker(folder);
        wait_for_all(ids[round]);
        kill(last, SIGKILL);
        waitpid(last, &status, 0);
    }
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < FILES; i++) check_whole(&h, ids[round][i]);
    stop(&h);
}

int main(int argc, char **argv)
{
    if (extract_is_child()) return extract_main();
    if (argc == 4 && str_eq(argv[1], "--work")) return work(argv);
    const struct CMUnitTest tests[] = {BOTH_TEST(test_kills)};
    return both_run("killed while indexing", tests, 1);
}
