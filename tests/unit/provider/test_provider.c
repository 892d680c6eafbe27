/* The wrappers: what a provider can't do is refused before it is asked, and the request is freed
 * (the address sanitizer sees to that). */
#include "unit/provider/harness.h"

static int asked;

static enum err never_generate(struct provider *p, struct gen_request *req, gen_listener_fn fn,
                               void *ctx, uint64_t *id, struct error *error)
{
    (void)p;
    (void)fn;
    (void)ctx;
    (void)id;
    asked++;
    arena_free(req->arena);
    return err_set(error, ERR_UPSTREAM, "asked");
}

static void never_cancel(struct provider *p, uint64_t id)
{
    (void)p;
    (void)id;
    asked++;
}

static void never_close(struct provider *p, int64_t grace_ms)
{
    (void)p;
    (void)grace_ms;
    asked++;
}

static struct provider_ops ops = {
    .name = "poor", .generate = never_generate, .cancel = never_cancel, .close = never_close};

static void test_what_it_cannot_do_is_refused(void **state)
{
    (void)state;
    struct provider p = {&ops};
    struct client *c = client_new();
    struct error error;
    const char *texts[] = {"a"};
    asked = 0;
    ops.caps = 0;
    enum err e = provider_generate(&p, chat_request("", "x"), client_listen, c, &c->id, &error);
    assert_int_equal(e, ERR_UNSUPPORTED);
    assert_non_null(strstr(error.msg, "poor"));
    e = provider_embed(&p, embed_request("", 1, texts), client_result, c, &c->id, &error);
    assert_int_equal(e, ERR_UNSUPPORTED);
    ops.caps = PROVIDER_GENERATE;
    struct gen_request *req = chat_request("", "x");
    add_tool(req, "t", "{}");
    e = provider_generate(&p, req, client_listen, c, &c->id, &error);
    assert_int_equal(e, ERR_UNSUPPORTED);
    assert_string_equal(error.param, "/tools");
    assert_int_equal(asked, 0);
    e = provider_generate(&p, chat_request("", "x"), client_listen, c, &c->id, &error);
    assert_int_equal(e, ERR_UPSTREAM);
    assert_int_equal(asked, 1);
    assert_int_equal(c->n_last, 0);
    provider_cancel(&p, 7);
    provider_close(&p, 0);
    provider_close(NULL, 0);
    assert_int_equal(asked, 3);
    client_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_what_it_cannot_do_is_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
