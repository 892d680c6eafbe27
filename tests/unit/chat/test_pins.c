/* Turns that must stay on this machine: by how they are asked, by their conversation, and for good
 * once one of them was. The provider in front of the real one sees what it would be allowed to. */
#include "unit/chat/turns.h"

struct spy {
    struct provider base;
    struct provider *inner;
    atomic_int pinned, open; /* requests that must stay, and others */
    char source[64], route[64];
    enum goal goal;
    struct gen_route route_told;
};

static struct spy spy;

static enum err spy_generate(struct provider *p, struct gen_request *req, gen_listener_fn fn,
                             void *ctx, uint64_t *id, struct error *error)
{
    struct spy *s = (struct spy *)p;
    atomic_fetch_add(req->local_only ? &s->pinned : &s->open, 1);
    str_copy(s->source, sizeof s->source, req->source);
    str_copy(s->route, sizeof s->route, req->route);
    s->goal = req->goal;
    struct gen_event ev = {.type = GEN_EV_ROUTED, .route = &s->route_told};
    fn(ctx, &ev);
    return provider_generate(s->inner, req, fn, ctx, id, error);
}

static void spy_cancel(struct provider *p, uint64_t id)
{
    provider_cancel(((struct spy *)p)->inner, id);
}

static void spy_close(struct provider *p, int64_t grace_ms)
{
    (void)p;
    (void)grace_ms;
}

static const struct provider_ops spy_ops = {.name = "spy",
                                            .caps = PROVIDER_GENERATE,
                                            .generate = spy_generate,
                                            .cancel = spy_cancel,
                                            .close = spy_close};

static void open_spied(void)
{
    open_chat("fake:");
    chat_free(chat);
    spy = (struct spy){.base.ops = &spy_ops,
                       .inner = fx.local,
                       .route_told = {.provider = "local", .model = "m", .reason = "it is here"}};
    struct chat_params params = {.provider = &spy.base, .pool = fx.pool};
    chat = chat_new(&params);
}

/* What the provider was asked by one turn of the conversation "c". */
static bool was_pinned(const char *user, bool local_only, struct chat_ids *ids)
{
    struct chat_ask ask = ask_of(user, "c", "hello");
    ask.local_only = local_only;
    atomic_store(&spy.pinned, 0);
    atomic_store(&spy.open, 0);
    assert_ok(chat_start(chat, &ask, ids, &why));
    struct heard *h = listen_to(user, ids->answer, 0);
    heard_wait(h);
    assert_string_equal(h->finish, "stop");
    heard_free(h);
    assert_int_equal(atomic_load(&spy.pinned) + atomic_load(&spy.open), 1);
    return atomic_load(&spy.pinned) == 1;
}

static void test_a_pinned_turn_pins_its_conversation(void **state)
{
    (void)state;
    struct chat_ids ids;
    struct store_conversation c;
    open_spied();
    const char *ada = both_user("ada");
    assert_false(was_pinned(ada, false, &ids));
    assert_true(was_pinned(ada, true, &ids));
    /* Its question and answer are in every prompt that follows. */
    assert_true(was_pinned(ada, false, &ids));
    assert_ok(store_conversation_get(store, ada, "c", arena, &c, &why));
    assert_true(c.local_only);
    struct store_conversation_change off = {.archived = -1, .local_only = 0};
    assert_ok(store_conversation_update(store, ada, "c", &off, &why));
    assert_false(was_pinned(ada, false, &ids));
    assert_ok(store_conversation_pin(store, ada, "c", &why));
    assert_true(was_pinned(ada, false, &ids));
    close_chat();
}

/* What was said of who answers arrives, and who did is told and kept. */
static void test_routes(void **state)
{
    (void)state;
    struct chat_ids ids;
    open_spied();
    const char *ada = both_user("ada");
    struct chat_ask ask = ask_of(ada, NULL, "hello");
    ask.source = "box";
    ask.route = "code";
    ask.goal = GOAL_COST;
    assert_ok(chat_start(chat, &ask, &ids, &why));
    struct heard *h = listen_to(ada, ids.answer, 0);
    heard_wait(h);
    assert_true(str_starts(buf_str(&h->types), "meta routed "));
    assert_string_equal(spy.source, "box");
    assert_string_equal(spy.route, "code");
    assert_int_equal(spy.goal, GOAL_COST);
    struct store_message m = message_of(ada, ids.answer);
    assert_non_null(strstr(m.meta, "\"provider\":\"local\",\"route_reason\":\"it is here\""));
    heard_free(h);
    close_chat();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH_TEST(test_a_pinned_turn_pins_its_conversation),
        BOTH_TEST(test_routes),
    };
    return both_run("pins", tests, sizeof tests / sizeof *tests);
}
