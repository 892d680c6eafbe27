/* Origins, host names, request ids. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "server/policy.h"

static void origins(void **state)
{
    (void)state;
    struct policy *p = policy_new(" http://localhost:3000 ,,https://a.example/, ", true);
    assert_int_equal(policy_origin(p, "http://localhost:3000"), ORIGIN_LISTED);
    assert_int_equal(policy_origin(p, "https://a.example"), ORIGIN_LISTED);
    assert_int_equal(policy_origin(p, "https://A.Example"), ORIGIN_LISTED);
    static const char *const strangers[] = {"",
                                            "null",
                                            "*",
                                            "http://localhost",
                                            "a.example",
                                            "http://a.example",
                                            "https://a.example.evil.example",
                                            "https://evil.example/https://a.example",
                                            "http://localhost:3000/"};
    for (size_t i = 0; i < sizeof strangers / sizeof *strangers; i++)
        assert_int_equal(policy_origin(p, strangers[i]), ORIGIN_REFUSED);
    assert_true(policy_origins_differ(p));
    policy_free(p);

    p = policy_new("", true);
    assert_int_equal(policy_origin(p, "http://localhost"), ORIGIN_REFUSED);
    assert_false(policy_origins_differ(p));
    policy_free(p);

    p = policy_new("*, http://b.example", true);
    assert_int_equal(policy_origin(p, "http://any.example"), ORIGIN_ANY);
    assert_int_equal(policy_origin(p, "http://b.example"), ORIGIN_LISTED);
    policy_free(p);
    policy_free(NULL);
}

static void hosts(void **state)
{
    (void)state;
    struct policy *p = policy_new("https://chat.example:8443, *", true);
    static const char *const fine[] = {
        "localhost",  "LOCALHOST:80",  "127.0.0.1",    "127.255.0.9:1",  "[::1]",
        "[::1]:8000", "hub.localhost", "chat.example", "chat.example:9", "localhost:"};
    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++)
        if (!policy_host(p, fine[i])) fail_msg("%s was refused", fine[i]);
    static const char *const bad[] = {"",
                                      "evil.example",
                                      "localhost.evil.example",
                                      "127.0.0.1.evil",
                                      "127.0.0.1.",
                                      "127.0.0",
                                      "127.0.0.0.1",
                                      "127.0.0.256",
                                      "128.0.0.1",
                                      "0127.0.0.1",
                                      "[::1",
                                      "[::2]",
                                      "[::1]x",
                                      "localhost:80:80",
                                      "localhost:x",
                                      "xlocalhost",
                                      ".localhost",
                                      "192.168.1.4",
                                      "127..0.1",
                                      "127.0.0.1 "};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (policy_host(p, bad[i])) fail_msg("%s was taken", bad[i]);
    policy_free(p);
    p = policy_new("", false);
    assert_true(policy_host(p, "anything.example"));
    policy_free(p);
}

static void request_ids(void **state)
{
    (void)state;
    char id[130];
    memset(id, 'a', sizeof id);
    id[128] = '\0';
    assert_true(policy_request_id(id));
    assert_true(policy_request_id("A.b_c-9"));
    id[128] = 'a';
    id[129] = '\0';
    assert_false(policy_request_id(id));
    assert_false(policy_request_id(""));
    assert_false(policy_request_id("a b"));
    assert_false(policy_request_id("a\"b"));
    assert_false(policy_request_id("\xc3\xa4"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(origins),
        cmocka_unit_test(hosts),
        cmocka_unit_test(request_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
