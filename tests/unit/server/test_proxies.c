/* Whom a request comes from, when proxies stand in front. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/str.h"
#include "server/proxies.h"

static struct proxies *made(const char *list)
{
    struct proxies *p;
    struct error error;
    assert_int_equal(proxies_new(list, &p, &error), OK);
    return p;
}

static void networks(void **state)
{
    (void)state;
    struct proxies *p = made(" 127.0.0.1, ::1 ,,10.0.0.0/8,192.168.4.0/23, 2001:db8::/33,");
    static const char *const inside[] = {"127.0.0.1",      "::1",           "10.0.0.0",
                                         "10.255.255.255", "192.168.5.255", "2001:db8:7fff::1",
                                         "::ffff:10.1.2.3"};
    static const char *const outside[] = {
        "127.0.0.2",        "::2", "11.0.0.0", "9.255.255.255", "192.168.6.0", "192.168.3.255",
        "2001:db8:8000::1", "?",   "",         "10.0.0.0/8"};
    for (size_t i = 0; i < sizeof inside / sizeof *inside; i++)
        assert_true(proxies_trust(p, inside[i]));
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++)
        assert_false(proxies_trust(p, outside[i]));
    proxies_free(p);
    p = made("0.0.0.0/0");
    assert_true(proxies_trust(p, "203.0.113.9"));
    assert_false(proxies_trust(p, "2001:db8::1"));
    proxies_free(p);
    p = made("");
    assert_false(proxies_trust(p, "127.0.0.1"));
    proxies_free(p);
    proxies_free(NULL);
}

static void wrong_settings(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "localhost",
        "127.0.0.1/33",
        "10.0.0.0/",
        "10.0.0.0/-1",
        "::1/129",
        "1.2.3",
        "127.0.0.1 ::1",
        "1.2.3.4/8/8",
        "*",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct proxies *p;
        struct error error;
        assert_int_equal(proxies_new(wrong[i], &p, &error), ERR_CONFIG);
        assert_string_equal(error.param, "HEARTH_TRUSTED_PROXIES");
    }
    char many[65 * 9 + 1] = "";
    for (int i = 0; i < 65; i++) memcpy(many + i * 9, "10.0.0.1,", 10);
    struct proxies *p;
    struct error error;
    assert_int_equal(proxies_new(many, &p, &error), ERR_CONFIG);
}

static void check(const char *trusted, const char *peer, const char *line, const char *want)
{
    struct proxies *p = made(trusted);
    char client[INET6_ADDRSTRLEN];
    str_copy(client, sizeof client, peer);
    (void)proxies_follow(p, line, client);
    assert_string_equal(client, want);
    proxies_free(p);
}

static void the_nearest_untrusted_one_counts(void **state)
{
    (void)state;
    check("127.0.0.1", "127.0.0.1", "203.0.113.9", "203.0.113.9");
    check("127.0.0.1", "127.0.0.1", " 203.0.113.9 ", "203.0.113.9");
    check("127.0.0.1", "127.0.0.1", "2001:db8::7", "2001:db8::7");
    /* What a client says about itself is not believed. */
    check("127.0.0.1", "127.0.0.1", "1.1.1.1, 203.0.113.9", "203.0.113.9");
    check("127.0.0.1", "203.0.113.9", "1.1.1.1", "203.0.113.9");
    check("", "127.0.0.1", "1.1.1.1", "127.0.0.1");
    /* Two proxies. */
    check("127.0.0.1,10.0.0.0/8", "127.0.0.1", "1.1.1.1, 203.0.113.9, 10.0.0.5", "203.0.113.9");
    check("127.0.0.1,10.0.0.0/8", "127.0.0.1", "10.0.0.5", "10.0.0.5");
    /* Ports, brackets, mapped addresses. */
    check("127.0.0.1", "127.0.0.1", "203.0.113.9:4711", "203.0.113.9");
    check("127.0.0.1", "127.0.0.1", "[2001:db8::7]:4711", "2001:db8::7");
    check("127.0.0.1", "127.0.0.1", "[2001:db8::7]", "2001:db8::7");
    check("127.0.0.1", "127.0.0.1", "::ffff:203.0.113.9", "203.0.113.9");
    /* What is no address ends the search at the one that said it. */
    check("127.0.0.1", "127.0.0.1", "1.1.1.1, unknown", "127.0.0.1");
    check("127.0.0.1", "127.0.0.1", "1.1.1.1,", "127.0.0.1");
    check("127.0.0.1", "127.0.0.1", "", "127.0.0.1");
    check("127.0.0.1", "127.0.0.1", "1.1.1.1, [::1", "127.0.0.1");
    check("127.0.0.1", "127.0.0.1", "1.1.1.1, \x01\xFF\n", "127.0.0.1");
}

static void lines_are_followed_backwards(void **state)
{
    (void)state;
    struct proxies *p = made("127.0.0.1,10.0.0.0/8");
    char client[INET6_ADDRSTRLEN] = "127.0.0.1";
    assert_true(proxies_follow(p, "10.0.0.7, 10.0.0.8", client));
    assert_string_equal(client, "10.0.0.7");
    assert_true(proxies_follow(p, "203.0.113.9", client));
    assert_string_equal(client, "203.0.113.9");
    assert_false(proxies_follow(p, "1.1.1.1", client));
    assert_string_equal(client, "203.0.113.9");
    proxies_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(networks),
        cmocka_unit_test(wrong_settings),
        cmocka_unit_test(the_nearest_untrusted_one_counts),
        cmocka_unit_test(lines_are_followed_backwards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
