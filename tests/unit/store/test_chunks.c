/* Chunks on both databases: in and out, whose they are, their words, and that nothing a person
 * writes is a database's syntax. */
#include "both.h"

#include "store/store_chunk.h"
#include "store/store_file.h"
#include "store/store_vector.h"

static const char *ada, *bob;
static struct store_collection ada_docs, bob_docs, shared;

static void set_up_people(void)
{
    char id[STORE_ID_MAX];
    ada = both_user("ada");
    bob = both_user("bob");
    assert_ok(store_collection_default(store, ada, "documents", arena, &ada_docs, &why));
    assert_ok(store_collection_default(store, bob, "documents", arena, &bob_docs, &why));
    assert_ok(store_collection_create(store, NULL, "handbook", id, &why));
    assert_ok(store_collection_find(store, ada, id, arena, &shared, &why));
}

static const char *add_file(const char *user, const struct store_collection *c, const char *name)
{
    static int next;
    char sha[65];
    bool added;
    char *id = arena_alloc(arena, STORE_ID_MAX);
    str_printf(sha, sizeof sha, "%064d", ++next);
    struct store_asker who = {.user_id = user, .admin = true};
    struct store_file f = {
        .collection_id = c->id, .name = name, .sha256 = sha, .type = "text/plain"};
    struct store_job job = {.kind = "index_file", .priority = 60, .max_attempts = 5};
    assert_ok(store_file_add(store, &who, &f, &job, id, &added, &why));
    assert_true(added);
    return id;
}

static void set_state(const char *file, enum store_file_status status, int64_t n_chunks)
{
    struct store_file_progress p = {
        .status = status, .done = -1, .total = -1, .n_chunks = n_chunks, .n_pages = -1};
    assert_ok(store_file_progress(store, file, NULL, &p, &why));
}

/* Texts end with NULL. */
static int64_t add_chunks(const char *file, enum store_file_status status, const char *const *texts)
{
    struct store_chunk chunks[64];
    int64_t first, collection;
    size_t n = 0;
    while (texts[n]) n++;
    assert_ok(store_chunk_begin(store, file, (int64_t)n, &first, &collection, &why));
    for (size_t i = 0; i < n; i++)
        chunks[i] = (struct store_chunk){.id = first + (int64_t)i,
                                         .n = (int64_t)i,
                                         .text = texts[i],
                                         .heading = "Manual › Part",
                                         .page_from = (int32_t)i + 1,
                                         .page_to = (int32_t)i + 2,
                                         .start = 100 * (int64_t)i,
                                         .end = 100 * (int64_t)i + 90,
                                         .tokens = 20};
    if (n) assert_ok(store_chunk_add(store, file, collection, chunks, n, &why));
    set_state(file, status, (int64_t)n);
    return first;
}

#define TEXTS(...) ((const char *const[]){__VA_ARGS__, NULL})

static size_t search_in(const struct store_scope *scope, const char *text,
                        struct store_chunk_hit out[10])
{
    size_t n;
    assert_ok(store_chunk_search(store, scope, text, 10, out, &n, &why));
    for (size_t i = 1; i < n; i++) assert_true(out[i].score <= out[i - 1].score);
    return n;
}

static size_t search(const char *user, const char *text, struct store_chunk_hit out[10])
{
    struct store_scope scope;
    assert_ok(store_chunk_scope(store, user, NULL, 0, NULL, 0, arena, &scope, &why));
    return search_in(&scope, text, out);
}

/* ---- in and out ---------------------------------------------------------------------------- */

static void test_in_and_out(void **state)
{
    struct store_chunk *page;
    size_t n;
    int64_t count;
    (void)state;
    set_up_people();
    const char *file = add_file(ada, &ada_docs, "a.txt");
    add_chunks(file, STORE_FILE_READY, TEXTS("one", "two", "three"));
    assert_ok(store_chunk_page(store, file, 1, 10, arena, &page, &n, &why));
    assert_int_equal(n, 2);
    assert_string_equal(page[0].text, "two");
    assert_string_equal(page[0].heading, "Manual › Part");
    assert_int_equal(page[0].page_from, 2);
    assert_int_equal(page[0].page_to, 3);
    assert_int_equal(page[0].start, 100);
    assert_int_equal(page[0].end, 190);
    assert_int_equal(page[0].tokens, 20);
    assert_int_equal(page[1].id, page[0].id + 1);
    assert_ok(store_chunk_count(store, file, &count, &why));
    assert_int_equal(count, 3);
    struct store_chunk again = page[0];
    assert_int_equal(store_chunk_add(store, file, ada_docs.n, &again, 1, &why), ERR_CONFLICT);
    assert_int_equal(store_chunk_add(store, "none", ada_docs.n, &again, 1, &why), ERR_CONFLICT);
    assert_ok(store_chunk_clear(store, file, &why));
    assert_int_equal(store_chunk_add(store, "none", ada_docs.n, &again, 1, &why), ERR_NOT_FOUND);
    assert_ok(store_chunk_count(store, file, &count, &why));
    assert_int_equal(count, 0);
    int64_t first, collection;
    assert_int_equal(store_chunk_begin(store, "none", 1, &first, &collection, &why), ERR_NOT_FOUND);
}

/* Made anew: other ids, nothing of the old ones is left, not in the words either. */
static void test_again(void **state)
{
    struct store_chunk_hit hits[10];
    (void)state;
    set_up_people();
    const char *file = add_file(ada, &ada_docs, "a.txt");
    int64_t first = add_chunks(file, STORE_FILE_READY, TEXTS("walrus one", "walrus two"));
    assert_int_equal(search(ada, "walrus", hits), 2);
    int64_t second = add_chunks(file, STORE_FILE_READY, TEXTS("walrus three", "penguin"));
    assert_true(second >= first + 2);
    assert_int_equal(search(ada, "walrus", hits), 1);
    assert_int_equal(hits[0].id, second);
}

/* ---- whose they are ------------------------------------------------------------------------ */

static void test_scope(void **state)
{
    struct store_chunk_hit hits[10];
    struct store_chunk_found *found;
    struct store_scope scope;
    size_t n;
    (void)state;
    set_up_people();
    int64_t hers = add_chunks(add_file(ada, &ada_docs, "hers.txt"), STORE_FILE_READY,
                              TEXTS("secret of ada", "filler"));
    const char *his_file = add_file(bob, &bob_docs, "his.txt");
    int64_t his = add_chunks(his_file, STORE_FILE_EMBEDDING, TEXTS("secret of bob", "filler"));
    int64_t all = add_chunks(add_file(ada, &shared, "all.txt"), STORE_FILE_READY,
                             TEXTS("secret of all", "filler"));
    assert_int_equal(search(ada, "secret", hits), 2);
    assert_int_equal(search(bob, "secret", hits), 2);
    assert_true(hits[0].id == his || hits[1].id == his);
    assert_true(hits[0].id == all || hits[1].id == all);
    int64_t ids[] = {hers, his, all, 12345};
    assert_ok(store_chunk_get(store, bob, ids, 4, arena, &found, &n, &why));
    assert_int_equal(n, 2);
    for (size_t i = 0; i < n; i++) assert_int_not_equal(found[i].chunk.id, hers);
    assert_ok(store_chunk_range(store, ada, his_file, 0, 10, arena, &found, &n, &why));
    assert_int_equal(n, 0);
    assert_ok(store_chunk_range(store, bob, his_file, 0, 10, arena, &found, &n, &why));
    assert_int_equal(n, 2);
    assert_string_equal(found[0].file_name, "his.txt");
    assert_string_equal(found[0].file_type, "text/plain");
    assert_string_equal(found[0].collection_id, bob_docs.id);
    assert_int_equal(store_chunk_scope(store, ada, NULL, 0, &his_file, 1, arena, &scope, &why),
                     ERR_NOT_FOUND);
    assert_string_equal(why.param, "/file_ids");
    const char *name = bob_docs.id;
    assert_int_equal(store_chunk_scope(store, ada, &name, 1, NULL, 0, arena, &scope, &why),
                     ERR_NOT_FOUND);
    assert_string_equal(why.param, "/collections");
}

static void test_scope_of_collections_and_files(void **state)
{
    struct store_chunk_hit hits[10];
    struct store_scope scope;
    const char *files[8];
    int64_t first[8];
    (void)state;
    set_up_people();
    for (int i = 0; i < 8; i++) {
        files[i] = add_file(ada, i % 2 ? &ada_docs : &shared, "x.txt");
        first[i] = add_chunks(files[i], STORE_FILE_READY, TEXTS("needle", "hay"));
    }
    const char *name = "handbook";
    assert_ok(store_chunk_scope(store, ada, &name, 1, NULL, 0, arena, &scope, &why));
    assert_int_equal(scope.n_collections, 1);
    assert_int_equal(search_in(&scope, "needle", hits), 4);
    assert_ok(store_chunk_scope(store, ada, NULL, 0, files + 2, 1, arena, &scope, &why));
    assert_int_equal(search_in(&scope, "needle", hits), 1);
    assert_int_equal(hits[0].id, first[2]);
    assert_ok(store_chunk_scope(store, ada, NULL, 0, files, 6, arena, &scope, &why));
    assert_int_equal(scope.n_collections, 2);
    assert_int_equal(search_in(&scope, "needle", hits), 6);
    for (size_t i = 0; i < 6; i++) assert_true(hits[i].id != first[6] && hits[i].id != first[7]);
    assert_ok(store_chunk_scope(store, ada, &name, 1, files, 1, arena, &scope, &why));
    assert_int_equal(search_in(&scope, "needle", hits), 1);
    assert_int_equal(store_chunk_scope(store, ada, &name, 1, files, 2, arena, &scope, &why),
                     ERR_NOT_FOUND); /* the second is in another collection */
}

/* Nobody sees half of a file. */
static void test_states(void **state)
{
    struct store_chunk_found *found;
    size_t n;
    (void)state;
    set_up_people();
    const char *file = add_file(ada, &ada_docs, "a.txt");
    int64_t first = add_chunks(file, STORE_FILE_CHUNKING, TEXTS("walrus"));
    static const enum store_file_status shown[] = {STORE_FILE_EMBEDDING, STORE_FILE_READY};
    assert_ok(store_chunk_get(store, ada, &first, 1, arena, &found, &n, &why));
    assert_int_equal(n, 0);
    for (size_t i = 0; i < 2; i++) {
        set_state(file, shown[i], -1);
        assert_ok(store_chunk_get(store, ada, &first, 1, arena, &found, &n, &why));
        assert_int_equal(n, 1);
    }
    set_state(file, STORE_FILE_FAILED, -1);
    assert_ok(store_chunk_get(store, ada, &first, 1, arena, &found, &n, &why));
    assert_int_equal(n, 0);
}

static void test_deleting_a_file_takes_chunks_and_vectors(void **state)
{
    struct store_chunk_hit hits[10];
    struct store_vector_set set;
    int64_t number, file_n, left;
    float floats[4] = {1, 0, 0, 0};
    (void)state;
    set_up_people();
    const char *file = add_file(ada, &ada_docs, "a.txt");
    const char *other = add_file(ada, &ada_docs, "b.txt");
    int64_t first = add_chunks(file, STORE_FILE_READY, TEXTS("walrus"));
    int64_t second = add_chunks(other, STORE_FILE_READY, TEXTS("walrus two"));
    assert_ok(store_vector_set_open(store, "model", 4, &set, &why));
    struct store_vector_add add = {.set = set.n,
                                   .collection = ada_docs.n,
                                   .file_id = file,
                                   .chunks = &first,
                                   .floats = floats,
                                   .dims = 4,
                                   .n = 1};
    assert_ok(store_vector_add(store, &add, &number, &file_n, &why));
    add.file_id = other;
    add.chunks = &second;
    assert_ok(store_vector_add(store, &add, &number, &file_n, &why));
    struct store_asker who = {.user_id = ada};
    assert_ok(store_file_delete(store, &who, file, &why));
    assert_int_equal(search(ada, "walrus", hits), 1);
    assert_int_equal(hits[0].id, second);
    assert_ok(store_vector_count(store, set.n, NULL, &left, &why));
    assert_int_equal(left, 1);
    /* A batch that was on its way when the file went. */
    add.file_id = file;
    add.chunks = &first;
    assert_int_equal(store_vector_add(store, &add, &number, &file_n, &why), ERR_NOT_FOUND);
}

static void test_missing(void **state)
{
    struct store_vector_set set;
    const char **files;
    size_t n;
    int64_t number, file_n;
    float floats[8] = {1, 0, 0, 0, 0, 1, 0, 0};
    (void)state;
    set_up_people();
    const char *file = add_file(ada, &ada_docs, "a.txt");
    const char *empty = add_file(ada, &ada_docs, "b.txt");
    int64_t first = add_chunks(file, STORE_FILE_READY, TEXTS("one", "two"));
    add_chunks(empty, STORE_FILE_READY, (const char *const[]){NULL});
    add_chunks(add_file(ada, &ada_docs, "c.txt"), STORE_FILE_CHUNKING, TEXTS("three"));
    assert_ok(store_vector_set_open(store, "model", 4, &set, &why));
    assert_ok(store_chunk_missing(store, set.n, "", 10, arena, &files, &n, &why));
    assert_int_equal(n, 1);
    assert_string_equal(files[0], file);
    int64_t ids[] = {first, first + 1};
    struct store_vector_add add = {.set = set.n,
                                   .collection = ada_docs.n,
                                   .file_id = file,
                                   .chunks = ids,
                                   .floats = floats,
                                   .dims = 4,
                                   .n = 1};
    assert_ok(store_vector_add(store, &add, &number, &file_n, &why));
    assert_ok(store_chunk_missing(store, set.n, "", 10, arena, &files, &n, &why));
    assert_int_equal(n, 1);
    add.n = 2;
    assert_ok(store_vector_add(store, &add, &number, &file_n, &why));
    assert_ok(store_chunk_missing(store, set.n, "", 10, arena, &files, &n, &why));
    assert_int_equal(n, 0);
}

/* ---- words --------------------------------------------------------------------------------- */

static void test_ranking(void **state)
{
    struct store_chunk_hit hits[10];
    (void)state;
    set_up_people();
    int64_t first = add_chunks(
        add_file(ada, &ada_docs, "a.txt"), STORE_FILE_READY,
        TEXTS("the cat sat on the mat and looked at the dog and the bird for a long time indeed",
              "a walrus is an animal of the sea, and a walrus has long teeth", "the the the the",
              "one walrus among many other words that have nothing to do with it and go on and on",
              "Ein Café in Zürich"));
    size_t n = search(ada, "What is a walrus?", hits);
    assert_true(n >= 2);
    assert_int_equal(hits[0].id, first + 1); /* twice, and short */
    assert_int_equal(search(ada, "CAFÉ", hits), 1);
    assert_int_equal(hits[0].id, first + 4);
    assert_int_equal(search(ada, "animal, (sea)", hits), 1);
    assert_true(search(ada, "part", hits) >= 5); /* of the heading */
}

/* A word in more chunks than are counted: it is estimated, and says little. */
static void test_common_words(void **state)
{
    (void)state;
    enum { CHUNKS = 4000, RARE = 1234 };
    struct store_chunk_hit hits[10];
    struct store_chunk *chunks = arena_calloc(arena, CHUNKS, sizeof *chunks);
    int64_t first, collection;
    set_up_people();
    const char *file = add_file(ada, &ada_docs, "a.txt");
    assert_ok(store_chunk_begin(store, file, CHUNKS, &first, &collection, &why));
    for (int64_t i = 0; i < CHUNKS; i++)
        chunks[i] = (struct store_chunk){.id = first + i,
                                         .n = i,
                                         .text = i == RARE       ? "the town of Walrus"
                                                 : i % 100 == 50 ? "the town, the town, the town"
                                                                 : "the town by the sea",
                                         .heading = "",
                                         .tokens = 5};
    assert_ok(store_chunk_add(store, file, collection, chunks, CHUNKS, &why));
    set_state(file, STORE_FILE_READY, CHUNKS);
    assert_true(search(ada, "What is the town of Walrus?", hits) >= 1);
    assert_int_equal(hits[0].id, first + RARE);
    assert_int_equal(search(ada, "the town", hits), 10);
    for (size_t i = 0; i < 10; i++) assert_int_equal((hits[i].id - first) % 100, 50);
}

static void test_no_words(void **state)
{
    struct store_chunk_hit hits[10];
    (void)state;
    set_up_people();
    add_chunks(add_file(ada, &ada_docs, "a.txt"), STORE_FILE_READY, TEXTS("some text"));
    assert_int_equal(search(ada, "", hits), 0);
    assert_int_equal(search(ada, " ?!  \t\n -- ", hits), 0);
    assert_int_equal(search(ada, "nothing-like-this", hits), 0);
    assert_int_equal(search(bob, "text", hits), 0);
}

/* Whatever is asked, it is words. */
static void test_hostile_questions(void **state)
{
    static const char *const corpus[] = {"text\"",
                                         "\"",
                                         "\"\"\"\"",
                                         "text*",
                                         "text AND",
                                         "NOT text",
                                         "NEAR(text)",
                                         "heading:text",
                                         "{heading}:x",
                                         "^text",
                                         "text OR (",
                                         "col : text",
                                         "-text",
                                         "text + \"",
                                         "'; DROP TABLE chunks; --",
                                         "a'b",
                                         "$1",
                                         "\\",
                                         "text\\",
                                         ":*",
                                         "!text",
                                         "text & | !",
                                         "text:A",
                                         "<->",
                                         "'text':*",
                                         "\xff\xfe",
                                         "\xc3",
                                         "text\x01\x02",
                                         "text %s %n",
                                         "[\"text\"]",
                                         "{\"a\":1}",
                                         "é̂́",
                                         ("\xe2\x80\xae"
                                          "text"),
                                         "text \xf0\x9f\x98\x80",
                                         "a\"\"b OR c"};
    struct store_chunk_hit hits[10];
    (void)state;
    set_up_people();
    add_chunks(add_file(ada, &ada_docs, "a.txt"), STORE_FILE_READY, TEXTS("some text", "chunks"));
    for (size_t i = 0; i < sizeof corpus / sizeof *corpus; i++) search(ada, corpus[i], hits);
    char many[20000];
    for (size_t i = 0; i + 1 < sizeof many; i++) many[i] = i % 7 == 6 ? ' ' : (char)('a' + i % 26);
    many[sizeof many - 1] = '\0';
    search(ada, many, hits);
    memset(many, 'x', sizeof many - 1);
    search(ada, many, hits);
    assert_int_equal(search(ada, "text", hits), 1);
}

static void test_copy(void **state)
{
    struct store_chunk_hit hits[10];
    char path[128];
    int64_t rows;
    (void)state;
    set_up_people();
    int64_t first =
        add_chunks(add_file(ada, &ada_docs, "a.txt"), STORE_FILE_READY, TEXTS("walrus one", "two"));
    str_printf(path, sizeof path, "%s/copy.db", both_dir);
    unlink(path);
    struct store_params params = {.url = path, .migrate = true};
    struct store *from = store, *to;
    assert_ok(store_open(&params, &to, &why));
    assert_ok(store_copy(from, to, &rows, &why));
    store = to;
    assert_int_equal(search(ada, "walrus", hits), 1);
    assert_int_equal(hits[0].id, first);
    add_chunks(add_file(ada, &ada_docs, "b.txt"), STORE_FILE_READY, TEXTS("walrus three"));
    assert_int_equal(search(ada, "walrus", hits), 2);
    store_close(to);
    store = from;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH_TEST(test_in_and_out),
        BOTH_TEST(test_again),
        BOTH_TEST(test_scope),
        BOTH_TEST(test_scope_of_collections_and_files),
        BOTH_TEST(test_states),
        BOTH_TEST(test_deleting_a_file_takes_chunks_and_vectors),
        BOTH_TEST(test_missing),
        BOTH_TEST(test_ranking),
        BOTH_TEST(test_common_words),
        BOTH_TEST(test_no_words),
        BOTH_TEST(test_hostile_questions),
        BOTH_TEST(test_copy),
    };
    return both_run("chunks", tests, sizeof tests / sizeof *tests);
}
