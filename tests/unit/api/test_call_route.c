/* What pins a call to this machine before its body was read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "api/call.h"
#include "auth/auth.h"
#include "base/config.h"
#include "support/fake_request.h"

static struct fake_request f;
static struct call_route r;
static struct error why;

static struct config *config_with(const char *privacy)
{
    struct config *config;
    struct config_override set[] = {{CONFIG_PRIVACY, privacy}};
    if (config_from(set, 1, &config, &why)) fail_msg("%s", why.msg);
    return config;
}

static enum err ask(const char *privacy, const char *name, const char *value)
{
    struct config *config = config_with(privacy);
    f.headers[0] = name;
    f.headers[1] = value;
    f.headers[2] = NULL;
    enum err e = call_route_read(config, &f.http, &r, &why);
    config_free(config);
    return e;
}

static void test_headers(void **state)
{
    (void)state;
    fake_request_init(&f, HTTP_POST, "/v1/chat/completions", "{}");
    assert_int_equal(ask("open", NULL, NULL), OK);
    assert_false(r.local_only);
    assert_string_equal(r.source, "");
    assert_string_equal(r.route, "");
    assert_int_equal(r.goal, GOAL_DEFAULT);
    assert_int_equal(ask("open", "X-Hearth-Local", "true"), OK);
    assert_true(r.local_only);
    assert_int_equal(ask("open", "X-Hearth-Local", "1"), OK);
    assert_true(r.local_only);
    assert_int_equal(ask("open", "X-Hearth-Local", "false"), OK);
    assert_false(r.local_only);
    assert_int_equal(ask("open", "X-Hearth-Local", "please"), ERR_INVALID);
    assert_string_equal(why.param, "X-Hearth-Local");
    assert_int_equal(ask("open", "x-hearth-source", "ollama"), OK);
    assert_string_equal(r.source, "ollama");
    assert_int_equal(ask("open", "X-Hearth-Source", "auto"), OK);
    assert_string_equal(r.source, "");
    assert_int_equal(ask("open", "X-Hearth-Route", "code"), OK);
    assert_string_equal(r.route, "code");
    assert_int_equal(ask("open", "X-Hearth-Goal", "quality"), OK);
    assert_int_equal(r.goal, GOAL_QUALITY);
    assert_false(r.local_only);
    assert_int_equal(ask("open", "X-Hearth-Goal", "privacy"), OK);
    assert_true(r.local_only);
    assert_int_equal(ask("open", "X-Hearth-Goal", "fun"), ERR_INVALID);
}

static void test_hub_user_and_key(void **state)
{
    struct auth_identity who = {.user_id = "u"};
    (void)state;
    fake_request_init(&f, HTTP_POST, "/v1/chat/completions", "{}");
    assert_int_equal(ask("local", "X-Hearth-Local", "false"), OK);
    assert_true(r.local_only);
    f.http.who = &who;
    assert_int_equal(ask("open", NULL, NULL), OK);
    assert_false(r.local_only);
    who.local_only = true;
    assert_int_equal(ask("open", "X-Hearth-Local", "false"), OK);
    assert_true(r.local_only);
    /* And so it is in what every surface starts its requests from. */
    struct call_env env;
    struct gen_request *req;
    json_t *body;
    struct config *config = config_with("open");
    f.headers[0] = NULL;
    assert_int_equal(call_read(config, &f.http, &env, &body, &why), OK);
    assert_int_equal(call_request_new(&env, 1 << 16, &req, &why), OK);
    assert_true(req->local_only);
    arena_free(req->arena);
    json_decref(body);
    config_free(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_hub_user_and_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
