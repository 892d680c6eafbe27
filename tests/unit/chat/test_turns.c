/* Turns over the fake engine and both databases: what is told and what is stored agree, however a
 * turn ends; branches; listeners that come late; histories that don't fit. */
#include "unit/chat/turns.h"

static void test_a_turn_is_told_and_stored(void **state)
{
    (void)state;
    struct chat_ids ids;
    open_chat("fake:");
    const char *ada = both_user("ada");
    struct heard *h = say(ada, NULL, "<think>hm</think>Gr\xC3\xBC\xC3\x9F dich", &ids);
    assert_string_equal(buf_str(&h->text), "Gr\xC3\xBC\xC3\x9F dich");
    assert_string_equal(buf_str(&h->reasoning), "hm");
    assert_string_equal(h->finish, "stop");
    assert_true(str_starts(buf_str(&h->types), "meta "));
    assert_true(str_ends(buf_str(&h->types), "usage done "));
    assert_int_equal(h->last_at, h->text.len + h->reasoning.len);
    struct store_message m = message_of(ada, ids.answer);
    assert_string_equal(m.content, buf_str(&h->text));
    assert_string_equal(m.reasoning, "hm");
    assert_int_equal(m.status, STORE_COMPLETE);
    assert_string_equal(m.model, "fake:");
    assert_non_null(strstr(m.meta, "\"finish_reason\":\"stop\""));
    assert_non_null(strstr(m.meta, "\"completion_tokens\":"));
    assert_string_equal(m.parent_id, ids.question);
    heard_free(h);
    close_chat();
}

static void test_a_stopped_answer_stays(void **state)
{
    (void)state;
    struct chat_ids ids;
    open_chat("fake:endless=1,ms=1,reply=la ");
    const char *ada = both_user("ada"), *eve = both_user("eve");
    struct chat_ask ask = ask_of(ada, NULL, "sing");
    assert_ok(chat_start(chat, &ask, &ids, &why));
    struct heard *h = listen_to(ada, ids.answer, 0);
    heard_until(h, h->n_text >= 10);
    assert_int_equal(chat_stop(chat, eve, ids.answer, &why), ERR_NOT_FOUND);
    assert_false(chat_has(chat, eve, ids.answer));
    assert_ok(chat_stop(chat, ada, ids.answer, &why));
    heard_wait(h);
    assert_string_equal(h->finish, "cancelled");
    struct store_message m = message_of(ada, ids.answer);
    assert_int_equal(m.status, STORE_STOPPED);
    assert_string_equal(m.content, buf_str(&h->text));
    assert_null(strstr(m.meta, "\"completion_tokens\":0"));
    assert_int_equal(chat_stop(chat, ada, ids.answer, &why), ERR_NOT_FOUND);
    heard_free(h);
    close_chat();
}

/* A stop that came while the end was being written made the store say "complete" and the event
 * "cancelled". Stops at every moment of a short answer; both must tell the same. */
static void test_a_stop_at_the_end_tells_one_story(void **state)
{
    (void)state;
    open_chat("fake:");
    const char *ada = both_user("ada");
    for (int i = 0; i < 60; i++) {
        struct chat_ids ids;
        struct chat_ask ask = ask_of(ada, "c", "0123456789");
        assert_ok(chat_start(chat, &ask, &ids, &why));
        struct heard *h = listen_to(ada, ids.answer, 0);
        for (volatile int spin = 0; spin < i * 2000; spin++) continue;
        if (i % 3 == 0) heard_until(h, h->n_text >= i % 10 || h->over);
        enum err e = chat_stop(chat, ada, ids.answer, &why);
        assert_true(e == OK || e == ERR_NOT_FOUND);
        heard_wait(h);
        struct store_message m = message_of(ada, ids.answer);
        assert_int_equal(m.status, str_eq(h->finish, "cancelled") ? STORE_STOPPED : STORE_COMPLETE);
        assert_string_equal(m.content, buf_str(&h->text));
        heard_free(h);
    }
    close_chat();
}

static void test_late_listeners_hear_everything(void **state)
{
    (void)state;
    struct chat_ids ids;
    open_chat("fake:");
    const char *ada = both_user("ada");
    struct heard *first = say(ada, NULL, "one two three", &ids);
    struct heard *again = listen_to(ada, ids.answer, 0);
    heard_wait(again);
    assert_string_equal(buf_str(&again->types), buf_str(&first->types));
    assert_string_equal(buf_str(&again->text), buf_str(&first->text));
    struct heard *rest = listen_to(ada, ids.answer, 1);
    heard_wait(rest);
    assert_int_equal(rest->n, first->n - 1);
    assert_true(str_ends(buf_str(&first->text), buf_str(&rest->text)));
    struct heard *none = listen_to(ada, ids.answer, 1 << 20);
    heard_until(none, none->ended);
    assert_int_equal(none->n, 0);
    heard_free(first);
    heard_free(again);
    heard_free(rest);
    heard_free(none);
    close_chat();
}

static void test_a_failure_is_kept(void **state)
{
    (void)state;
    struct chat_ids ids;
    open_chat("fake:fail_decode=5");
    const char *ada = both_user("ada");
    struct heard *h = say(ada, NULL, "a rather long message", &ids);
    assert_true(str_ends(buf_str(&h->types), "error "));
    struct store_message m = message_of(ada, ids.answer);
    assert_int_equal(m.status, STORE_FAILED);
    assert_string_equal(m.content, buf_str(&h->text));
    assert_non_null(strstr(m.meta, h->code)); /* whoever comes later learns why */
    heard_free(h);
    struct chat_ask ask = ask_of(ada, NULL, "x");
    ask.model = "none-such";
    assert_ok(chat_start(chat, &ask, &ids, &why));
    h = listen_to(ada, ids.answer, 0);
    heard_wait(h);
    assert_string_equal(h->code, "model_not_found");
    heard_free(h);
    close_chat();
}

static void test_branches(void **state)
{
    (void)state;
    struct chat_ids first, again, edited;
    struct store_message *m;
    size_t n;
    open_chat("fake:");
    const char *ada = both_user("ada");
    heard_free(say(ada, "c", "one", &first));
    heard_free(say(ada, "c", NULL, &again)); /* the same question */
    assert_string_equal(again.question, first.question);
    struct chat_ask ask = ask_of(ada, "c", "two");
    ask.parent_id = first.answer;
    assert_ok(chat_start(chat, &ask, &edited, &why));
    struct heard *h = listen_to(ada, edited.answer, 0);
    heard_wait(h);
    heard_free(h);
    assert_ok(store_message_branch(store, ada, "c", NULL, arena, &m, &n, &why));
    assert_int_equal(n, 4);
    assert_string_equal(m[1].id, first.answer);
    assert_ok(store_message_branch(store, ada, "c", again.answer, arena, &m, &n, &why));
    assert_int_equal(n, 2);
    assert_ok(store_message_list(store, ada, "c", arena, &m, &n, &why));
    assert_int_equal(n, 5);
    close_chat();
}

static void test_what_is_refused(void **state)
{
    (void)state;
    struct chat_ids ids;
    open_chat("fake:");
    const char *ada = both_user("ada"), *eve = both_user("eve");
    heard_free(say(ada, "mine", "secret", &ids));
    struct chat_ask ask = ask_of(eve, "mine", "hello");
    assert_int_equal(chat_start(chat, &ask, &ids, &why), ERR_CONFLICT);
    ask = ask_of(eve, "mine", NULL);
    assert_int_equal(chat_start(chat, &ask, &ids, &why), ERR_NOT_FOUND);
    ask = ask_of(ada, "mine", "");
    assert_int_equal(chat_start(chat, &ask, &ids, &why), ERR_INVALID);
    ask = ask_of(ada, "", "x");
    assert_int_equal(chat_start(chat, &ask, &ids, &why), ERR_INVALID);
    ask = ask_of(ada, "mine", "x");
    ask.parent_id = "none";
    assert_int_equal(chat_start(chat, &ask, &ids, &why), ERR_INVALID);
    struct store_message *m;
    size_t n;
    assert_ok(store_message_list(store, ada, "mine", arena, &m, &n, &why));
    assert_int_equal(n, 2); /* nothing of all that was written */
    close_chat();
}

/* The older half is left out until it fits; the question stays. */
static void test_a_history_that_is_too_long(void **state)
{
    (void)state;
    struct chat_ids ids;
    open_chat("fake:ctx=256");
    const char *ada = both_user("ada");
    for (int i = 0; i < 8; i++) heard_free(say(ada, "c", "twenty-five bytes of text", &ids));
    struct heard *h = say(ada, "c", "and now this", &ids);
    assert_string_equal(buf_str(&h->text), "and now this");
    heard_free(h);
    close_chat();
}

/* Templates want user and assistant by turns: what an import brought is joined. */
static void test_roles_take_turns(void **state)
{
    (void)state;
    struct chat_ids ids;
    open_chat("fake:");
    const char *ada = both_user("ada");
    struct store_message some[] = {{.id = "m1", .role = "user", .content = "one"},
                                   {.id = "m2", .role = "tool", .content = "42"},
                                   {.id = "m3", .role = "user", .content = "two"}};
    assert_ok(store_conversation_create(store, ada, "c", "t", NULL, &why));
    assert_ok(store_conversation_append(store, ada, "c", some, 3, &why));
    struct heard *h = say(ada, "c", "three", &ids);
    assert_string_equal(buf_str(&h->text), "one\n\ntwo\n\nthree");
    heard_free(h);
    close_chat();
}

enum { TURNS_AT_ONCE = 40 };

static void test_many_at_once(void **state)
{
    (void)state;
    struct chat_ids ids[TURNS_AT_ONCE];
    struct heard *h[TURNS_AT_ONCE];
    char text[32];
    open_chat("fake:");
    const char *users[] = {both_user("ada"), both_user("bob")};
    for (int i = 0; i < TURNS_AT_ONCE; i++) {
        str_printf(text, sizeof text, "message %d", i);
        struct chat_ask ask = ask_of(users[i % 2], NULL, text);
        assert_ok(chat_start(chat, &ask, &ids[i], &why));
        h[i] = listen_to(users[i % 2], ids[i].answer, 0);
    }
    for (int i = 0; i < TURNS_AT_ONCE; i++) {
        heard_wait(h[i]);
        str_printf(text, sizeof text, "message %d", i);
        assert_string_equal(buf_str(&h[i]->text), text);
        assert_string_equal(message_of(users[i % 2], ids[i].answer).content, text);
        heard_free(h[i]);
    }
    close_chat();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH_TEST(test_a_turn_is_told_and_stored),
        BOTH_TEST(test_a_stopped_answer_stays),
        BOTH_TEST(test_a_stop_at_the_end_tells_one_story),
        BOTH_TEST(test_late_listeners_hear_everything),
        BOTH_TEST(test_a_failure_is_kept),
        BOTH_TEST(test_branches),
        BOTH_TEST(test_what_is_refused),
        BOTH_TEST(test_a_history_that_is_too_long),
        BOTH_TEST(test_roles_take_turns),
        BOTH_TEST(test_many_at_once),
    };
    return both_run("turns", tests, sizeof tests / sizeof *tests);
}
