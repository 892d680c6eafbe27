/* Imports on both databases: our own export and ChatGPT's, twice, hostile, and of somebody else. */
#include "unit/store/both.h"

#include "base/buf.h"
#include "base/fs.h"
#include "chat/import.h"

struct outcome {
    int done, known, failed;
    char id[STORE_ID_MAX], error[ERROR_MSG_MAX];
};

static void count(void *ctx, const struct import_report *r)
{
    struct outcome *o = ctx;
    o->done += r->outcome == IMPORT_DONE;
    o->known += r->outcome == IMPORT_KNOWN;
    o->failed += r->outcome == IMPORT_FAILED;
    if (r->outcome == IMPORT_DONE) str_copy(o->id, sizeof o->id, r->id);
    if (r->error) str_copy(o->error, sizeof o->error, r->error->msg);
}

static enum err import(const char *user, const char *text, struct outcome *o)
{
    *o = (struct outcome){0};
    return chat_import(store, user, text, strlen(text), count, o, &why);
}

/* The fuzz target's corpus has the files. */
static const char *file(const char *name)
{
    char path[FS_PATH_MAX];
    struct buf text;
    str_printf(path, sizeof path, "%s/tests/fuzz/corpus/import/%s", HEARTH_SOURCE_DIR, name);
    buf_init(&text, 1 << 20);
    assert_ok(fs_read_file(path, 1 << 20, &text, &why));
    const char *copy = arena_strdup(arena, buf_str(&text));
    buf_free(&text);
    return copy;
}

static size_t n_conversations(const char *user, const char *words, struct store_conversation **list)
{
    size_t n;
    struct store_conversation_page page = {.limit = 10, .search = words};
    assert_ok(store_conversation_list(store, user, &page, arena, list, &n, &why));
    return n;
}

static void test_our_own(void **state)
{
    (void)state;
    struct outcome o;
    struct store_conversation c, *list;
    struct store_message *m;
    size_t n;
    const char *ada = both_user("ada"), *bob = both_user("bob"), *ours = file("ours.json");
    assert_ok(import(ada, ours, &o));
    assert_int_equal(o.done, 1);
    assert_ok(store_conversation_get(store, ada, o.id, arena, &c, &why));
    assert_string_equal(c.title, "Trip");
    assert_int_equal(c.n_messages, 3);
    assert_int_equal(c.created_ms, INT64_C(1714979289123));
    assert_string_equal(c.meta, "{\"k\":1}");
    assert_ok(store_message_branch(store, ada, o.id, NULL, arena, &m, &n, &why));
    assert_int_equal(n, 2);
    assert_string_equal(m[1].content, "Oslo");
    assert_ok(store_message_list(store, ada, o.id, arena, &m, &n, &why));
    assert_int_equal(m[1].status, STORE_STOPPED);
    assert_string_equal(m[1].reasoning, "hm");
    assert_ok(import(ada, ours, &o)); /* once more */
    assert_int_equal(o.known, 1);
    assert_int_equal(o.done + o.failed, 0);
    assert_ok(import(bob, ours, &o)); /* is nobody else's business */
    assert_int_equal(o.done, 1);
    assert_int_equal(n_conversations(ada, NULL, &list), 1);
    assert_int_equal(n_conversations(ada, "Oslo", &list), 1); /* its words are found */
}

/* What is still there under its own id is known. */
static void test_what_was_never_away(void **state)
{
    (void)state;
    struct outcome o;
    const char *ada = both_user("ada"), *bob = both_user("bob");
    assert_ok(store_conversation_create(store, ada, "c1", "Trip", NULL, &why));
    assert_ok(import(ada, file("ours.json"), &o));
    assert_int_equal(o.known, 1);
    assert_ok(import(bob, file("ours.json"), &o)); /* that somebody has the id tells nobody */
    assert_int_equal(o.done, 1);
    assert_string_not_equal(o.id, "c1");
}

static void test_chatgpt(void **state)
{
    (void)state;
    struct outcome o;
    struct buf both;
    struct store_conversation *list;
    struct store_message *m;
    size_t n;
    const char *ada = both_user("ada");
    buf_init(&both, 1 << 20);
    buf_printf(&both, " [%s ,%s]\n", file("chatgpt.json"), file("chatgpt-empty.json"));
    assert_ok(import(ada, buf_str(&both), &o));
    assert_int_equal(o.done, 2);
    assert_int_equal(n_conversations(ada, NULL, &list), 2);
    assert_string_equal(list[1].title, "Sums"); /* the older one */
    assert_int_equal(list[1].n_messages, 4);
    assert_int_equal(list[1].created_ms, INT64_C(1700000000500));
    assert_ok(store_message_branch(store, ada, list[1].id, NULL, arena, &m, &n, &why));
    assert_int_equal(n, 3);
    assert_string_equal(m[0].content, "[image]\nWhat is 1+1?");
    assert_null(m[0].parent_id);
    assert_string_equal(m[1].content, "Let me see.");
    assert_string_equal(m[1].reasoning, "easy");
    assert_string_equal(m[2].content, "```python\n1+1\n```");
    assert_string_equal(m[2].model, "o1");
    assert_ok(import(ada, buf_str(&both), &o));
    assert_int_equal(o.known, 2);
    buf_free(&both);
}

static void expect_failed(const char *user, const char *text, const char *words)
{
    struct outcome o;
    assert_ok(import(user, text, &o));
    assert_int_equal(o.done + o.known, 0);
    assert_int_equal(o.failed, 1);
    if (!strstr(o.error, words)) fail_msg("%.200s: %s", text, o.error);
}

#define MESSAGE(id, parent)                                                                        \
    "{\"id\":\"" id "\",\"parent_id\":\"" parent "\",\"role\":\"user\",\"content\":\"x\"}"
#define ODD(members)           "{" members ",\"role\":\"user\",\"content\":\"x\"}"
#define CONVERSATION(messages) "{\"conversation\":{\"id\":\"h\"},\"messages\":[" messages "]}"

static void test_hostile_files(void **state)
{
    (void)state;
    struct outcome o;
    struct store_conversation *list;
    const char *ada = both_user("ada");
    static const char *const bad[][2] = {
        {"{}", "no conversation"},
        {"17", "no conversation"},
        {"{\"mapping\":[]}", "no conversation"},
        {"{\"conversation\":{},\"messages\":{}}", "no conversation"},
        {CONVERSATION(MESSAGE("a", "b") "," MESSAGE("b", "a")), "circle"},
        {CONVERSATION(MESSAGE("a", "a")), "circle"},
        {CONVERSATION(MESSAGE("a", "none")), "missing"},
        {CONVERSATION(ODD("\"id\":\"a\"") "," ODD("\"id\":\"a\"")), "two messages"},
        {CONVERSATION("{\"id\":\"a\",\"role\":\"root\",\"content\":\"x\"}"), "role"},
        {CONVERSATION(ODD("\"id\":\"\"")), "empty"},
        {CONVERSATION("{\"id\":\"a\",\"role\":\"user\",\"content\":7}"), "content"},
        {CONVERSATION(ODD("\"id\":\"a\",\"meta\":[1]")), "meta"},
        {CONVERSATION("7"), "id"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) expect_failed(ada, bad[i][0], bad[i][1]);
    static const char *const broken[] = {"",    "   ",   "[", "[{}",   "[{},]",
                                         "[,]", "{} {}", "]", "[{}] x"};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++)
        if (import(ada, broken[i], &o) == OK) fail_msg("taken: %s", broken[i]);
    assert_ok(import(ada, "[]", &o));
    assert_int_equal(n_conversations(ada, NULL, &list), 0);
}

/* One bad conversation in a list is said, and is not in the way of the others. */
static void test_good_and_bad(void **state)
{
    (void)state;
    struct outcome o;
    struct buf text;
    const char *ada = both_user("ada");
    buf_init(&text, 1 << 20);
    buf_printf(&text, "[{\"x\":1},%s,%s]", file("ours.json"), file("circle.json"));
    assert_ok(import(ada, buf_str(&text), &o));
    assert_int_equal(o.done, 1);
    assert_int_equal(o.failed, 2);
    buf_free(&text);
}

/* Deeper than any recursion would stand, and with its end first. */
static void test_a_long_thread(void **state)
{
    (void)state;
    enum { LONG = 20000 };
    struct outcome o;
    struct buf text;
    struct store_message *m;
    size_t n;
    const char *ada = both_user("ada");
    buf_init(&text, 8 << 20);
    buf_puts(&text, "{\"conversation\":{\"id\":\"long\"},\"messages\":[");
    for (int i = LONG; i > 0; i--) {
        buf_printf(&text, "{\"id\":\"%d\",\"role\":\"user\",\"content\":\"%d\"", i, i);
        if (i > 1) buf_printf(&text, ",\"parent_id\":\"%d\"", i - 1);
        buf_puts(&text, i > 1 ? "}," : "}]}");
    }
    assert_ok(import(ada, buf_str(&text), &o));
    if (!o.done) fail_msg("%s", o.error);
    assert_ok(store_message_list(store, ada, o.id, arena, &m, &n, &why));
    assert_int_equal(n, LONG);
    assert_string_equal(m[0].content, "1");
    buf_free(&text);
}

static void test_too_much(void **state)
{
    (void)state;
    struct buf text;
    const char *ada = both_user("ada");
    buf_init(&text, 64 << 20);
    buf_puts(&text, "{\"conversation\":{},\"messages\":[");
    for (int i = 0; i <= IMPORT_MESSAGES_MAX; i++)
        buf_printf(&text, "%s{\"id\":\"%d\",\"role\":\"user\",\"content\":\"\"}", i ? "," : "", i);
    buf_puts(&text, "]}");
    expect_failed(ada, buf_str(&text), "at most 50000");
    buf_clear(&text);
    buf_puts(&text, "{\"mapping\":[");
    for (int i = 0; i <= IMPORT_VALUES_MAX; i++) buf_puts(&text, "1,");
    buf_puts(&text, "1]}");
    expect_failed(ada, buf_str(&text), "JSON values");
    buf_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH_TEST(test_our_own),      BOTH_TEST(test_what_was_never_away),
        BOTH_TEST(test_chatgpt),      BOTH_TEST(test_hostile_files),
        BOTH_TEST(test_good_and_bad), BOTH_TEST(test_a_long_thread),
        BOTH_TEST(test_too_much),
    };
    return both_run("imports", tests, sizeof tests / sizeof *tests);
}
