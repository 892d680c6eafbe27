/* Which providers are this machine: what stays here must not go through a proxy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/config.h"
#include "router/routing.h"

static void test_places(void **state)
{
    static const struct {
        const char *members, *proxy; /* that it is asked through; NULL = as the environment says */
        bool leaves, trusted;
    } cases[] = {
        {"\"base_url\":\"http://localhost:9\"", "", false, false},
        {"\"base_url\":\"http://LOCALHOST\"", "", false, false},
        {"\"base_url\":\"http://127.0.0.1:9/v1\"", "", false, false},
        {"\"base_url\":\"http://127.8.9.1/v1\"", "", false, false},
        {"\"base_url\":\"http://[::1]:9/v1\"", "", false, false},
        {"\"base_url\":\"http://127.0.0.1:9\",\"trusted\":true", "", false, true},
        {"\"base_url\":\"http://127.0.0.1:9\",\"proxy\":\"http://proxy:3128\"", "http://proxy:3128",
         true, false},
        {"\"base_url\":\"http://127.0.0.1:9\",\"proxy\":\"http://127.0.0.1:3128\"",
         "http://127.0.0.1:3128", false, false},
        {"\"base_url\":\"http://box:9\",\"trusted\":true", "", true, true},
        {"\"base_url\":\"http://box:9\"", NULL, true, false},
        {"\"base_url\":\"http://localhost.example.org\"", NULL, true, false},
        {"\"base_url\":\"http://127.0.0.1.example.org\"", NULL, true, false},
        {"\"base_url\":\"http://127.0.0.1@example.org\"", NULL, true, false},
        {"\"base_url\":\"http://example.org/127.0.0.1\"", NULL, true, false},
        {"\"base_url\":\"http://example.org?x=http://localhost\"", NULL, true, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[] = "/tmp/hearth-places-XXXXXX";
        int fd = mkstemp(path);
        struct error why = {0};
        struct config *config;
        struct routing *r;
        assert_true(fd >= 0);
        dprintf(fd, "{\"providers\":{\"x\":{\"kind\":\"openai\",%s}}}", cases[i].members);
        close(fd);
        struct config_override set[] = {{CONFIG_PROVIDERS_FILE, path}};
        assert_int_equal(config_from(set, 1, &config, &why), OK);
        if (routing_load(config, &r, &why)) fail_msg("%s: %s", cases[i].members, why.msg);
        const struct routing_provider *p = routing_provider(r, "x");
        if (p->leaves != cases[i].leaves || p->trusted != cases[i].trusted)
            fail_msg("%s: leaves %d, trusted %d", cases[i].members, p->leaves, p->trusted);
        if (cases[i].proxy)
            assert_string_equal(p->remote.proxy, cases[i].proxy);
        else
            assert_null(p->remote.proxy);
        routing_free(r);
        config_free(config);
        unlink(path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_places)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
