/* Conversations and messages, on both databases. */
#include "both.h"

#include "base/clock.h"

static void add(const char *user, const char *conversation, const char *id, const char *parent,
                const char *role, const char *content)
{
    struct store_message m = {.id = id, .parent_id = parent, .role = role, .content = content};
    assert_ok(store_conversation_append(store, user, conversation, &m, 1, &why));
}

static void expect_branch(const char *user, const char *conversation, const char *leaf,
                          const char *ids)
{
    struct store_message *m;
    size_t n;
    char got[256] = "";
    assert_ok(store_message_branch(store, user, conversation, leaf, arena, &m, &n, &why));
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(got);
        str_printf(got + len, sizeof got - len, "%s%s", i ? " " : "", m[i].id);
    }
    assert_string_equal(got, ids);
}

static void test_a_conversation(void **state)
{
    (void)state;
    struct store_conversation c;
    struct store_message *m;
    size_t n;
    const char *ada = both_user("ada");
    assert_ok(store_conversation_create(store, ada, "c", "Greetings", NULL, &why));
    assert_ok(store_conversation_get(store, ada, "c", arena, &c, &why));
    assert_string_equal(c.title, "Greetings");
    assert_string_equal(c.meta, "{}");
    assert_null(c.leaf_id);
    assert_ok(store_message_branch(store, ada, "c", NULL, arena, &m, &n, &why));
    assert_int_equal(n, 0);
    struct store_message two[] = {
        {.id = "m1", .role = "user", .content = "Grüße 🙂 'quoted' \"text\" \\ %s"},
        {.id = "m2",
         .role = "assistant",
         .content = "",
         .reasoning = "hm",
         .model = "tiny",
         .meta = "{\"usage\":1}",
         .status = STORE_STREAMING}};
    assert_ok(store_conversation_append(store, ada, "c", two, 2, &why));
    two[1].content = "Hello";
    two[1].status = STORE_COMPLETE;
    assert_ok(store_message_finish(store, ada, &two[1], &why));
    assert_ok(store_message_branch(store, ada, "c", NULL, arena, &m, &n, &why));
    assert_int_equal(n, 2);
    assert_string_equal(m[0].content, two[0].content);
    assert_null(m[0].parent_id);
    assert_string_equal(m[1].parent_id, "m1");
    assert_string_equal(m[1].content, "Hello");
    assert_string_equal(m[1].reasoning, "hm");
    assert_string_equal(m[1].meta, "{\"usage\":1}");
    assert_int_equal(m[1].status, STORE_COMPLETE);
    assert_ok(store_conversation_get(store, ada, "c", arena, &c, &why));
    assert_string_equal(c.leaf_id, "m2");
    assert_int_equal(c.n_messages, 2);
}

static void test_branches(void **state)
{
    (void)state;
    const char *ada = both_user("ada");
    assert_ok(store_conversation_create(store, ada, "c", NULL, NULL, &why));
    add(ada, "c", "q", NULL, "user", "question");
    add(ada, "c", "a1", "q", "assistant", "first answer");
    add(ada, "c", "a2", "q", "assistant", "asked again");
    add(ada, "c", "q2", "a2", "user", "next");
    expect_branch(ada, "c", NULL, "q a2 q2");
    expect_branch(ada, "c", "a1", "q a1");
    struct store_conversation_change back = {.leaf_id = "a1", .archived = -1};
    assert_ok(store_conversation_update(store, ada, "c", &back, &why));
    expect_branch(ada, "c", NULL, "q a1");
    struct store_message *m;
    size_t n;
    assert_ok(store_message_list(store, ada, "c", arena, &m, &n, &why));
    assert_int_equal(n, 4);
    struct store_message lost = {.id = "x", .parent_id = "none", .role = "user", .content = ""};
    assert_int_equal(store_conversation_append(store, ada, "c", &lost, 1, &why), ERR_INVALID);
    assert_string_equal(why.param, "/parent_id");
    expect_branch(ada, "c", NULL, "q a1"); /* nothing of it was written */
    struct store_conversation_change wrong = {.leaf_id = "none", .title = "T", .archived = -1};
    assert_int_equal(store_conversation_update(store, ada, "c", &wrong, &why), ERR_INVALID);
    struct store_conversation c;
    assert_ok(store_conversation_get(store, ada, "c", arena, &c, &why));
    assert_string_equal(c.title, "");
    assert_int_equal(c.n_messages, 4);
}

/* Another user's object is not there, whatever is tried with it. */
static void test_users_see_their_own(void **state)
{
    (void)state;
    const char *ada = both_user("ada"), *eve = both_user("eve");
    struct store_conversation c, *list;
    struct store_message *m, own = {.id = "x", .role = "user", .content = "mine"};
    struct store_message stolen = {.id = "m", .role = "user", .content = "changed"};
    struct store_conversation_change change = {.title = "hers", .archived = -1};
    struct store_conversation_page page = {.limit = 10};
    size_t n;
    assert_ok(store_conversation_create(store, ada, "c", "secret plans", NULL, &why));
    add(ada, "c", "m", NULL, "user", "the secret");
    assert_int_equal(store_conversation_get(store, eve, "c", arena, &c, &why), ERR_NOT_FOUND);
    assert_int_equal(store_conversation_update(store, eve, "c", &change, &why), ERR_NOT_FOUND);
    assert_int_equal(store_conversation_append(store, eve, "c", &own, 1, &why), ERR_NOT_FOUND);
    assert_int_equal(store_message_finish(store, eve, &stolen, &why), ERR_NOT_FOUND);
    assert_int_equal(store_message_branch(store, eve, "c", "m", arena, &m, &n, &why),
                     ERR_NOT_FOUND);
    assert_int_equal(store_message_list(store, eve, "c", arena, &m, &n, &why), ERR_NOT_FOUND);
    assert_int_equal(store_conversation_delete(store, eve, "c", &why), ERR_NOT_FOUND);
    assert_int_equal(store_conversation_create(store, eve, "c", "", NULL, &why), ERR_CONFLICT);
    page.search = "secret";
    assert_ok(store_conversation_list(store, eve, &page, arena, &list, &n, &why));
    assert_int_equal(n, 0);
    /* a branch of one's own conversation that hangs on another's message */
    assert_ok(store_conversation_create(store, eve, "e", "", NULL, &why));
    own.parent_id = "m";
    assert_int_equal(store_conversation_append(store, eve, "e", &own, 1, &why), ERR_INVALID);
    assert_int_equal(store_message_branch(store, eve, "e", "m", arena, &m, &n, &why),
                     ERR_NOT_FOUND);
    assert_ok(store_message_list(store, ada, "c", arena, &m, &n, &why));
    assert_string_equal(m[0].content, "the secret");
}

static void test_pages(void **state)
{
    (void)state;
    const char *ada = both_user("ada");
    char id[16];
    bool seen[25] = {false};
    size_t n, total = 0;
    struct store_conversation *list;
    struct store_conversation_page page = {.limit = 10};
    for (int i = 0; i < 25; i++) { /* several within one millisecond */
        str_printf(id, sizeof id, "c%02d", i);
        assert_ok(store_conversation_create(store, ada, id, "", NULL, &why));
    }
    do {
        assert_ok(store_conversation_list(store, ada, &page, arena, &list, &n, &why));
        for (size_t i = 0; i < n; i++) {
            int at = atoi(list[i].id + 1);
            assert_false(seen[at]);
            seen[at] = true;
            if (i) assert_true(list[i].updated_ms <= list[i - 1].updated_ms);
        }
        total += n;
        page.before_ms = n ? list[n - 1].updated_ms : 0;
        page.before_id = n ? list[n - 1].id : "";
    } while (n == (size_t)page.limit);
    assert_int_equal(total, 25);
}

static size_t found(const char *user, const char *words)
{
    struct store_conversation *list;
    struct store_conversation_page page = {.limit = 10, .search = words};
    size_t n;
    assert_ok(store_conversation_list(store, user, &page, arena, &list, &n, &why));
    return n;
}

static void save(const char *user, const char *id, const char *text,
                 enum store_message_status status)
{
    struct store_message m = {.id = id, .content = text, .status = status};
    assert_ok(store_message_finish(store, user, &m, &why));
}

/* The words of an answer that is still written may be found or not; those of one that is whole are,
 * and nothing of what was saved before. */
static void test_words_of_answers(void **state)
{
    (void)state;
    const char *ada = both_user("ada");
    static const char *const ids[] = {"a1", "a2", "a3"};
    int64_t n;
    assert_ok(store_conversation_create(store, ada, "c1", "", NULL, &why));
    for (size_t i = 0; i < 3; i++) {
        struct store_message m = {
            .id = ids[i], .role = "assistant", .content = "", .status = STORE_STREAMING};
        assert_ok(store_conversation_append(store, ada, "c1", &m, 1, &why));
        save(ada, ids[i], "a volcano", STORE_STREAMING);
        save(ada, ids[i], "a volcano and a glac", STORE_STREAMING);
    }
    save(ada, "a1", "a volcano and a glacier", STORE_COMPLETE);
    assert_int_equal(found(ada, "glacier"), 1);
    assert_ok(store_message_recover(store, &n, &why)); /* the hub was killed */
    assert_int_equal(n, 2);
    assert_int_equal(found(ada, "glac"), 1);
    save(ada, "a1", "a lake", STORE_COMPLETE);
    save(ada, "a2", "a lake", STORE_COMPLETE);
    save(ada, "a3", "a lake", STORE_STREAMING);
    assert_int_equal(found(ada, "volcano"), 0);
    assert_int_equal(found(ada, "lake"), 1);
    assert_ok(store_conversation_delete(store, ada, "c1", &why));
    assert_int_equal(found(ada, "lake"), 0);
}

static void test_search(void **state)
{
    (void)state;
    const char *ada = both_user("ada");
    struct store_conversation *list;
    struct store_conversation_page page = {.limit = 10, .search = "volcano"};
    size_t n;
    assert_ok(store_conversation_create(store, ada, "c1", "Holidays 100%", NULL, &why));
    add(ada, "c1", "m1", NULL, "user", "We climbed a volcano on an island in the south.");
    assert_ok(store_conversation_create(store, ada, "c2", "Recipes", NULL, &why));
    add(ada, "c2", "m2", NULL, "user", "Bread with \"sour\" dough AND salt");
    assert_ok(store_conversation_list(store, ada, &page, arena, &list, &n, &why));
    assert_int_equal(n, 1);
    assert_string_equal(list[0].id, "c1");
    assert_non_null(strstr(list[0].snippet, "volcano"));
    assert_int_equal(found(ada, "VOLCANO island"), 1);
    assert_int_equal(found(ada, "volcano bread"), 0);
    assert_int_equal(found(ada, "recipe"), 1); /* a part of a title */
    assert_int_equal(found(ada, "100%"), 1);   /* no pattern */
    assert_int_equal(found(ada, "1_0%"), 0);
    assert_int_equal(found(ada, "\"sour\""), 1); /* no operator */
    assert_int_equal(found(ada, "NOT AND OR ( * ^ :"), 0);
    assert_int_equal(found(ada, "'; DROP TABLE messages; --"), 0);
    page.search = "  \t ";
    assert_int_equal(store_conversation_list(store, ada, &page, arena, &list, &n, &why),
                     ERR_INVALID);
    struct store_message changed = {.id = "m1", .role = "user", .content = "a glacier"};
    assert_ok(store_message_finish(store, ada, &changed, &why));
    assert_int_equal(found(ada, "volcano"), 0);
    assert_int_equal(found(ada, "glacier"), 1);
    assert_ok(store_conversation_delete(store, ada, "c1", &why));
    assert_int_equal(found(ada, "glacier"), 0);
}

static void test_archived(void **state)
{
    (void)state;
    const char *ada = both_user("ada");
    struct store_conversation_change archive = {.archived = 1};
    struct store_conversation *list;
    struct store_conversation_page page = {.limit = 10};
    size_t n;
    assert_ok(store_conversation_create(store, ada, "c1", "", NULL, &why));
    assert_ok(store_conversation_create(store, ada, "c2", "", NULL, &why));
    assert_ok(store_conversation_update(store, ada, "c1", &archive, &why));
    assert_ok(store_conversation_list(store, ada, &page, arena, &list, &n, &why));
    assert_int_equal(n, 1);
    page.archived = true;
    assert_ok(store_conversation_list(store, ada, &page, arena, &list, &n, &why));
    assert_int_equal(n, 1);
    assert_string_equal(list[0].id, "c1");
}

static void test_streams_that_a_crash_cut(void **state)
{
    (void)state;
    const char *ada = both_user("ada");
    struct store_message *m,
        s = {.id = "m", .role = "assistant", .content = "half", .status = STORE_STREAMING};
    size_t n;
    int64_t recovered;
    assert_ok(store_conversation_create(store, ada, "c", "", NULL, &why));
    assert_ok(store_conversation_append(store, ada, "c", &s, 1, &why));
    assert_ok(store_message_recover(store, &recovered, &why));
    assert_int_equal(recovered, 1);
    assert_ok(store_message_list(store, ada, "c", arena, &m, &n, &why));
    assert_int_equal(m[0].status, STORE_FAILED);
    assert_string_equal(m[0].content, "half");
}

static void test_a_long_branch_is_read_from_its_end(void **state)
{
    (void)state;
    enum { N = 1200 };
    const char *ada = both_user("ada");
    static char ids[N][8];
    static struct store_message all[N];
    struct store_message *m;
    size_t n;
    for (int i = 0; i < N; i++) {
        str_printf(ids[i], sizeof ids[i], "m%d", i);
        all[i] = (struct store_message){.id = ids[i], .role = "user", .content = "x"};
    }
    assert_ok(store_conversation_create(store, ada, "c", "", NULL, &why));
    assert_ok(store_conversation_append(store, ada, "c", all, N, &why));
    assert_ok(store_message_branch(store, ada, "c", NULL, arena, &m, &n, &why));
    assert_int_equal(n, N);
    assert_string_equal(m[0].id, "m0");
    assert_string_equal(m[N - 1].id, "m1199");
}

static void test_pinned(void **state)
{
    (void)state;
    bool pinned;
    struct store_conversation c;
    const char *ada = both_user("ada"), *bob = both_user("bob");
    assert_ok(store_conversation_create(store, ada, "c", "x", NULL, &why));
    assert_ok(store_conversation_pinned(store, ada, "c", &pinned, &why));
    assert_false(pinned);
    assert_int_equal(store_conversation_pin(store, bob, "c", &why), ERR_NOT_FOUND);
    assert_ok(store_conversation_pin(store, ada, "c", &why));
    assert_ok(store_conversation_pinned(store, ada, "c", &pinned, &why));
    assert_true(pinned);
    assert_ok(store_conversation_pinned(store, bob, "c", &pinned, &why));
    assert_false(pinned);
    struct store_conversation_change title = {.title = "y", .archived = -1, .local_only = -1};
    assert_ok(store_conversation_update(store, ada, "c", &title, &why));
    assert_ok(store_conversation_get(store, ada, "c", arena, &c, &why));
    assert_true(c.local_only); /* another change leaves it */
    struct store_conversation_change off = {.archived = -1, .local_only = 0};
    assert_ok(store_conversation_update(store, ada, "c", &off, &why));
    assert_ok(store_conversation_get(store, ada, "c", arena, &c, &why));
    assert_false(c.local_only);
    assert_string_equal(c.title, "y");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH_TEST(test_a_conversation),
        BOTH_TEST(test_branches),
        BOTH_TEST(test_users_see_their_own),
        BOTH_TEST(test_pages),
        BOTH_TEST(test_search),
        BOTH_TEST(test_words_of_answers),
        BOTH_TEST(test_archived),
        BOTH_TEST(test_pinned),
        BOTH_TEST(test_streams_that_a_crash_cut),
        BOTH_TEST(test_a_long_branch_is_read_from_its_end),
    };
    return both_run("conversations", tests, sizeof tests / sizeof *tests);
}
