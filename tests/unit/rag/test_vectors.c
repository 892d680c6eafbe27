/* One suite for every driver of the vector store: each test runs on each of them, over the real
 * database and the real servers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/str.h"
#include "rag/vectors.h"
#include "store/store.h"
#include "store/store_file.h"
#include "store/store_user.h"
#include "store/store_vector.h"

enum { DIMS = 48, MANY = 1500 };

static char dir[64], url[256], chroma_url[64];
static int32_t connections;
static int chroma_port;
static pid_t chroma_pid;
static const char *kind; /* of the driver that is tested */
static struct store *store;
static struct vectors *vectors;
static int64_t set;
static struct error why;

#define assert_ok(call)                                                                            \
    do {                                                                                           \
        if ((call) != OK) fail_msg("%s: %s", #call, why.msg);                                      \
    } while (0)

/* ---- vectors that look like something -------------------------------------------------------- */

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

/* A file has to exist: its id, for a name of this test. */
static struct {
    char name[16], id[STORE_ID_MAX];
} made[16];
static size_t n_made;
static char user[37];
static int64_t made_ms; /* when the set was made */

static const char *file_of(const char *name)
{
    for (size_t i = 0; i < n_made; i++)
        if (str_eq(made[i].name, name)) return made[i].id;
    struct arena *a = arena_new(1 << 20);
    struct store_collection c;
    bool added;
    assert_true(n_made < 16);
    if (!n_made) {
        id_uuid4(user);
        struct store_user_new u = {.id = user, .username = "anna", .password_hash = "of it"};
        assert_ok(store_user_create(store, &u, &why));
    }
    assert_ok(store_collection_default(store, user, "documents", a, &c, &why));
    struct store_file f = {
        .collection_id = c.id, .name = name, .sha256 = name, .bytes = 1, .type = "text/plain"};
    struct store_job job = {.kind = "index_file", .priority = 50, .max_attempts = 3};
    str_copy(made[n_made].name, sizeof made[n_made].name, name);
    assert_ok(store_file_add(store, &(struct store_asker){.user_id = user}, &f, &job,
                             made[n_made].id, &added, &why));
    assert_true(added);
    arena_free(a);
    return made[n_made++].id;
}

static struct vectors_add one(int64_t collection, const char *file_id, const int64_t *chunk,
                              const float *v)
{
    return (struct vectors_add){.set = set,
                                .collection = collection,
                                .file_id = file_id,
                                .chunks = chunk,
                                .floats = v,
                                .dims = DIMS,
                                .n = 1};
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
                            .file_id = file_of(file),
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
    struct store_params params = {.url = url,
                                  .migrate = true,
                                  .connections = connections,
                                  .vec_extension = HEARTH_BINARY_DIR "/lib/hearth/vec0.so"};
    assert_ok(store_open(&params, &store, &why));
}

static void open_vectors(void)
{
    char kept[96];
    str_printf(kept, sizeof kept, "%s/kept", dir);
    struct vectors_params params = {
        .store = store, .kind = kind, .dir = kept, .chroma_url = chroma_url, .name = "documents"};
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
    n_made = 0;
    open_vectors();
    assert_ok(vectors_set_open(vectors, "model-a", DIMS, &set, &why));
    struct store_vector_set s;
    assert_ok(store_vector_set_get(store, set, &s, &why));
    made_ms = s.created_ms;
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
    const char *b[] = {file_of("file-b")}, *b_and_c[] = {file_of("file-b"), file_of("file-c")},
               *none[] = {"file-x"};
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
    assert_ok(vectors_remove_file(vectors, file_of("file-a"), &why));
    assert_ok(vectors_remove_file(vectors, file_of("file-a"), &why)); /* again: nothing to do */
    assert_ok(vectors_remove_file(vectors, "never", &why));
    ask(50, 150);
    assert_int_equal(n_hits, 100);
    for (size_t i = 0; i < n_hits; i++) assert_true(hits[i].chunk_id > 100);
    assert_ok(vectors_count(vectors, set, file_of("file-a"), &n, &why));
    assert_int_equal(n, 0);
    assert_ok(vectors_count(vectors, set, file_of("file-b"), &n, &why));
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
    struct vectors_add a = one(1, file_of("file-a"), &chunk, v);
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
    assert_ok(vectors_remove_file(vectors, file_of("file-a"), &why)); /* in all sets */
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
    assert_ok(vectors_remove_file(vectors, file_of("file-a"), &why));
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
                                 .file_id = file_of("file-b"),
                                 .chunks = chunks,
                                 .floats = floats,
                                 .dims = DIMS,
                                 .n = 50};
    int64_t *numbers;
    size_t n_numbers;
    assert_ok(store_vector_add(store, &a, &first, &file, &why));
    assert_ok(store_vector_remove_file(store, file_of("file-a"), &numbers, &n_numbers, &why));
    assert_int_equal(n_numbers, 50);
    free(numbers);
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
    struct vectors_add a = one(1, file_of("file-a"), &chunk, v);
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
    a = one(2, file_of("file-a"), &chunk, v);
    assert_int_equal(vectors_add(vectors, &a, &why), ERR_CONFLICT); /* in two collections */
}

/* Whoever deletes it, and whoever still works on it. */
static void a_deleted_file_takes_its_vectors_along(void **state)
{
    (void)state;
    int64_t n, chunk = 500;
    float v[DIMS];
    char gone[STORE_ID_MAX];
    add(1, 40, 1, "file-a");
    add(41, 40, 1, "file-b");
    str_copy(gone, sizeof gone, file_of("file-a"));
    assert_ok(store_file_delete(store, &(struct store_asker){.user_id = user}, gone, &why));
    assert_ok(vectors_count(vectors, set, NULL, &n, &why));
    assert_int_equal(n, 40);
    ask(20, 80);
    assert_int_equal(n_hits, 40);
    make(500, v);
    struct vectors_add a = one(1, gone, &chunk, v);
    assert_int_equal(vectors_add(vectors, &a, &why), ERR_NOT_FOUND);
    assert_ok(store_user_delete(store, user, &why)); /* with everything */
    assert_ok(vectors_count(vectors, set, NULL, &n, &why));
    assert_int_equal(n, 0);
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
        TEST(a_deleted_file_takes_its_vectors_along),
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

/* ---- real servers ---------------------------------------------------------------------------- */

static int free_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(fd, (struct sockaddr *)&at, len) || getsockname(fd, (struct sockaddr *)&at, &len))
        abort();
    close(fd);
    return ntohs(at.sin_port);
}

static bool answers(int at)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)at),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool there = connect(fd, (struct sockaddr *)&to, sizeof to) == 0;
    close(fd);
    return there;
}

static pid_t start_server(int at, char *const argv[])
{
    pid_t pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);
        dup2(null, 0);
        dup2(null, 1);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execvp(argv[0], argv);
        _exit(127);
    }
    for (int i = 0; i < 600 && !answers(at); i++) usleep(100000);
    if (!answers(at)) {
        fprintf(stderr, "%s %s did not start\n", argv[0], argv[1]);
        abort();
    }
    return pid;
}

static void stop_server(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static void start_chroma(void)
{
    char script[] = HEARTH_SOURCE_DIR "/node_modules/chromadb/dist/cli.mjs", number[16], data[96];
    str_printf(number, sizeof number, "%d", chroma_port);
    str_printf(data, sizeof data, "%s/chroma", dir);
    char *argv[] = {"node",   script, "run",    "--host", "127.0.0.1",
                    "--port", number, "--path", data,     NULL};
    chroma_pid = start_server(chroma_port, argv);
}

static pid_t start_pglite(void)
{
    char script[] = HEARTH_SOURCE_DIR "/tests/support/pglite.mjs", number[16];
    int at = free_port();
    str_printf(number, sizeof number, "%d", at);
    pid_t pid = start_server(at, (char *[]){"node", script, number, NULL});
    str_printf(url, sizeof url,
               "postgresql://postgres:postgres@127.0.0.1:%d/postgres?sslmode=disable", at);
    return pid;
}

/* What the server itself says, by its own client's way. */
static int64_t remote(const char *what)
{
    char command[800], path[96], line[64] = "";
    str_printf(path, sizeof path, "%s/answer", dir);
    str_printf(command, sizeof command,
               "u=%sapi/v2/tenants/default_tenant/databases/default_database/collections;"
               "node -e '(async () => {"
               " const all = (await (await fetch(process.argv[1])).json())"
               "  .filter((c) => c.name === \"hdocuments-%lld-%llx\");"
               " let n = 0;"
               " for (const c of all)"
               "  n += await (await fetch(process.argv[1] + \"/\" + c.id + \"/count\")).json();"
               " console.log(process.argv[2] === \"count\" ? n : all.length); })()' $u %s > '%s'",
               chroma_url, (long long)set, (unsigned long long)made_ms, what, path);
    shell(command);
    FILE *f = fopen(path, "r");
    if (!f || !fgets(line, sizeof line, f)) fail_msg("Chroma said nothing");
    fclose(f);
    return atoll(line);
}

static int64_t remote_count(void)
{
    return remote("count");
}

static int64_t remote_collections(void)
{
    return remote("collections");
}

/* ---- Chroma goes and comes ------------------------------------------------------------------- */

static int64_t chroma_count(void)
{
    struct vectors_status s;
    settle();
    assert_ok(vectors_status(vectors, set, &s, &why));
    return s.n;
}

static void chroma_gone_and_back(void **state)
{
    (void)state;
    float q[DIMS], v[DIMS];
    int64_t chunk = 300, n;
    add(1, 100, 1, "file-a");
    add(101, 100, 1, "file-b");
    ask(50, 1);
    assert_int_equal(hits[0].chunk_id, 50);
    stop_server(chroma_pid);
    make(50, q);
    assert_int_equal(ask_in(q, everywhere, 3, NULL, 0, 5), ERR_NETWORK);
    assert_non_null(strstr(why.msg, "Chroma at http://127.0.0.1"));
    make(300, v);
    struct vectors_add a = one(1, file_of("file-b"), &chunk, v);
    assert_int_equal(vectors_add(vectors, &a, &why), ERR_NETWORK);
    assert_ok(vectors_count(vectors, set, NULL, &n, &why));
    assert_int_equal(n, 201); /* durable all the same */
    assert_ok(vectors_remove_file(vectors, file_of("file-a"), &why));
    start_chroma();
    assert_int_equal(chroma_count(), 101); /* without a restart of ours */
    make(300, q);
    assert_ok(ask_in(q, everywhere, 3, NULL, 0, 150));
    assert_int_equal(n_hits, 101);
    assert_int_equal(hits[0].chunk_id, 300);
    assert_int_equal(remote_count(), 101); /* what was removed meanwhile is gone there, too */
}

static void chroma_that_lost_everything_gets_it_again(void **state)
{
    (void)state;
    char command[200];
    add(1, 250, 1, "file-a");
    stop_server(chroma_pid);
    str_printf(command, sizeof command, "rm -rf '%s/chroma'", dir);
    shell(command);
    start_chroma();
    float q[DIMS];
    make(77, q);
    enum err e = ask_in(q, everywhere, 3, NULL, 0, 3);
    assert_true(e == OK || e == ERR_UPSTREAM); /* it says so, or has it already */
    int64_t until = clock_mono_ms() + 60000;
    while ((ask_in(q, everywhere, 3, NULL, 0, 3) || n_hits < 3) && clock_mono_ms() < until)
        usleep(50000);
    assert_int_equal(n_hits, 3);
    assert_int_equal(hits[0].chunk_id, 77);
    settle();
    assert_int_equal(remote_count(), 250);
}

static void a_set_dropped_while_chroma_is_away_goes_later(void **state)
{
    (void)state;
    add(1, 20, 1, "file-a");
    assert_int_equal(remote_collections(), 1);
    stop_server(chroma_pid);
    assert_ok(vectors_set_drop(vectors, set, &why));
    again(); /* the hub ends before Chroma is back */
    start_chroma();
    int64_t until = clock_mono_ms() + 60000;
    while (remote_collections() && clock_mono_ms() < until) usleep(50000);
    assert_int_equal(remote_collections(), 0);
    assert_ok(vectors_set_open(vectors, "model-a", DIMS, &set, &why));
}

static int run_chroma_tests(void)
{
    const struct CMUnitTest tests[] = {
        TEST(chroma_gone_and_back),
        TEST(chroma_that_lost_everything_gets_it_again),
        TEST(a_set_dropped_while_chroma_is_away_goes_later),
    };
    return cmocka_run_group_tests_name("chroma goes and comes", tests, NULL, NULL);
}

/* ---- what can't be --------------------------------------------------------------------------- */

static void refuse(const char *which, const char *chroma, const char *word)
{
    struct vectors *v;
    struct vectors_params params = {.store = store, .kind = which, .chroma_url = chroma};
    assert_int_equal(vectors_open(&params, &v, &why), ERR_CONFIG);
    if (!strstr(why.msg, word)) fail_msg("%s: %s", which, why.msg);
}

static void kinds_that_can_not_work_are_refused(void **state)
{
    (void)state;
    bool lite = str_eq(store_kind(store), "sqlite");
    refuse("chroma", "", "CHROMA_URL");
    refuse("chroma", "localhost:8000", "http://");
    refuse("faiss", NULL, "faiss");
    refuse(lite ? "pgvector" : "sqlite", NULL, lite ? "SQLite" : "PostgreSQL");
}

static void without_sqlite_vec_it_says_so(void **state)
{
    (void)state;
    float q[DIMS];
    add(1, 10, 1, "file-a");
    vectors_close(vectors);
    store_close(store);
    struct store_params params = {.url = url, .migrate = true, .vec_extension = "/no/vec0.so"};
    assert_ok(store_open(&params, &store, &why));
    open_vectors();
    make(3, q);
    assert_int_equal(ask_in(q, everywhere, 3, NULL, 0, 3), ERR_CONFIG);
    assert_non_null(strstr(why.msg, "/no/vec0.so"));
    assert_ok(vectors_remove_file(vectors, file_of("file-a"), &why)); /* this needs nothing */
}

/* hearth db copy brings no signs: they are made when the set is first used. */
static void a_copied_database_finds_the_same(void **state)
{
    (void)state;
    char other[256];
    int64_t rows;
    add(1, 150, 1, "file-a");
    vectors_close(vectors);
    struct store *target;
    str_printf(other, sizeof other, "%s/copy.db", dir);
    struct store_params params = {
        .url = other, .migrate = true, .vec_extension = HEARTH_BINARY_DIR "/lib/hearth/vec0.so"};
    assert_ok(store_open(&params, &target, &why));
    assert_ok(store_copy(store, target, &rows, &why));
    assert_true(rows > 150);
    store_close(store);
    store = target;
    open_vectors();
    ask(99, 150);
    assert_int_equal(n_hits, 150);
    assert_int_equal(hits[0].chunk_id, 99);
    unlink(other);
}

static int run_edges(const char *name, bool lite)
{
    const struct CMUnitTest tests[] = {
        TEST(kinds_that_can_not_work_are_refused),
        TEST(a_copied_database_finds_the_same),
        TEST(without_sqlite_vec_it_says_so),
    };
    kind = name;
    return _cmocka_run_group_tests("edges", tests, lite ? 3 : 1, NULL, NULL);
}

int main(void)
{
    char command[600], path[96];
    str_copy(dir, sizeof dir, "/tmp/hearth-vectors-XXXXXX");
    if (!mkdtemp(dir) || chmod(dir, 0755)) abort();
    str_printf(url, sizeof url, "%s/hearth.db", dir);
    int failed = run("sqlite") + run_edges("sqlite", true) + run("hnsw");

    chroma_port = free_port();
    str_printf(chroma_url, sizeof chroma_url, "http://127.0.0.1:%d/", chroma_port);
    start_chroma();
    failed += run("chroma") + run_chroma_tests();
    stop_server(chroma_pid);

    str_printf(command, sizeof command, "'%s/tools/pg-private' start '%s/pg' > '%s/url'",
               HEARTH_SOURCE_DIR, dir, dir);
    shell(command);
    str_printf(path, sizeof path, "%s/url", dir);
    FILE *f = fopen(path, "r");
    if (!f || !fgets(url, sizeof url, f)) abort();
    fclose(f);
    url[strcspn(url, "\n")] = '\0';
    failed += run("hnsw") + run_edges("auto", false);
    str_printf(command, sizeof command, "'%s/tools/pg-private' stop '%s/pg'", HEARTH_SOURCE_DIR,
               dir);
    shell(command);

    pid_t pglite = start_pglite();
    connections = 1; /* it has one session for all */
    failed += run("pgvector");
    stop_server(pglite);
    str_printf(command, sizeof command, "rm -rf '%s'", dir);
    shell(command);
    return failed;
}
