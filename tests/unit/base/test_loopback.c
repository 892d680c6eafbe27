/* Which addresses are this machine's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "base/loopback.h"

static void test_names(void **state)
{
    (void)state;
    static const char *const here[] = {"localhost", "LocalHost", "127.0.0.1",      "127.255.0.9",
                                       "::1",       "[::1]",     "0:0:0:0:0:0:0:1"};
    static const char *const elsewhere[] = {
        "",      "[]",         "localhost.",       "localhost.example", "xlocalhost",  "127.0.0",
        "127.1", "127.0.0.1.", "127.0.0.256",      "0127.0.0.1",        "128.0.0.1",   "0.0.0.0",
        "::",    "::2",        "::ffff:127.0.0.1", "[127.0.0.1]",       "[localhost]", "[::1",
        "::1]",  "127.0.0.1 ", "10.0.0.5"};
    for (size_t i = 0; i < sizeof here / sizeof *here; i++)
        if (!loopback_name(here[i], strlen(here[i]))) fail_msg("%s", here[i]);
    for (size_t i = 0; i < sizeof elsewhere / sizeof *elsewhere; i++)
        if (loopback_name(elsewhere[i], strlen(elsewhere[i]))) fail_msg("%s", elsewhere[i]);
    assert_true(loopback_name("localhost:80", 9)); /* as much of it as is said */
    assert_false(loopback_name("127.0.0.1\0", 10));
}

static void test_urls(void **state)
{
    (void)state;
    static const char *const here[] = {
        "http://localhost", "https://LOCALHOST:9/v1", "http://127.0.0.1:9",
        "http://127.1/x",   "http://[::1]:9/v1",      "http://[::1]",
        "127.0.0.1:3128",   "http://127.0.0.1?x",     "http://me:pw@127.0.0.1"};
    static const char *const elsewhere[] = {"",
                                            "http://",
                                            "http://localhost.example.org",
                                            "http://127.0.0.1.example.org",
                                            "http://127.0.0.1@example.org",
                                            "http://localhost:x@example.org",
                                            "http://localhost@evil.example/",
                                            "https://api.openai.com/v1",
                                            "http://10.0.0.1",
                                            "http://example.org/127.0.0.1",
                                            "http://example.org?x=http://localhost",
                                            "http://example.org#@localhost",
                                            "http://[::1",
                                            "http://[::1]example.org",
                                            "http://[::2]/",
                                            "http://0.0.0.0/"};
    for (size_t i = 0; i < sizeof here / sizeof *here; i++)
        if (!loopback_url(here[i])) fail_msg("%s", here[i]);
    for (size_t i = 0; i < sizeof elsewhere / sizeof *elsewhere; i++)
        if (loopback_url(elsewhere[i])) fail_msg("%s", elsewhere[i]);
}

static bool v4(const char *text)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    assert_int_equal(inet_pton(AF_INET, text, &a.sin_addr), 1);
    return loopback_address((const struct sockaddr *)&a);
}

static bool v6(const char *text)
{
    struct sockaddr_in6 a = {.sin6_family = AF_INET6};
    assert_int_equal(inet_pton(AF_INET6, text, &a.sin6_addr), 1);
    return loopback_address((const struct sockaddr *)&a);
}

static void test_addresses(void **state)
{
    (void)state;
    assert_true(v4("127.0.0.1") && v4("127.9.8.7") && v6("::1") && v6("::ffff:127.0.0.2"));
    assert_false(v4("128.0.0.1") || v4("0.0.0.0") || v6("::") || v6("::2"));
    assert_false(v6("::ffff:10.0.0.1") || v6("fe80::1"));
    assert_false(loopback_address(&(struct sockaddr){.sa_family = AF_UNIX}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_urls),
        cmocka_unit_test(test_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
