/* What the settings and the file say of providers and routes, prices, and how requests are
 * measured. */
#include "unit/router/harness.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

static enum err read_text(const char *text, bool is_private, struct error *error)
{
    struct routing *r = some_routing(NULL, 0, "{}");
    enum err e = routing_read_text(r, "x.json", text, strlen(text), is_private, error);
    routing_free(r);
    return e;
}

static const char *name_at(const struct routing *r, const struct routing_route *route, size_t i)
{
    assert_true(i < route->n);
    return r->providers[route->chain[i].provider].name;
}

/* ---- the settings -------------------------------------------------------------------------- */

static void test_nothing_configured_is_this_hub_alone(void **state)
{
    (void)state;
    struct routing *r = some_routing(NULL, 0, "{}");
    assert_int_equal(r->routes[0].n, 1);
    assert_string_equal(name_at(r, &r->routes[0], 0), "local");
    assert_null(routing_provider(r, "openai"));
    assert_non_null(routing_provider(r, "ollama")); /* by name only */
    assert_false(routing_provider(r, "ollama")->configured);
    routing_free(r);
}

static void test_the_default_chain(void **state)
{
    (void)state;
    const struct config_override all[] = {{CONFIG_COHERE_API_KEY, "c"},
                                          {CONFIG_ANTHROPIC_API_KEY, "a"},
                                          {CONFIG_OPENAI_API_KEY, "o"},
                                          {CONFIG_OPENAI_SMALL_MODEL, ""},
                                          {CONFIG_OLLAMA_CHAT_MODEL, "phi-3"}};
    struct routing *r = some_routing(all, 5,
                                     "{\"providers\": {\"box\": {\"kind\": \"openai\","
                                     "\"base_url\": \"http://10.0.0.1/v1\"}}}");
    static const char *const names[] = {"local", "ollama", "box", "openai", "anthropic", "cohere"};
    assert_int_equal(r->routes[0].n, 6);
    for (size_t i = 0; i < 6; i++) assert_string_equal(name_at(r, &r->routes[0], i), names[i]);
    const struct routing_provider *openai = routing_provider(r, "OpenAI");
    assert_string_equal(openai->tiers[TIER_LARGE], "gpt-4");
    assert_string_equal(openai->tiers[TIER_MIDDLE], "gpt-4"); /* it has no small one */
    assert_true(openai->leaves);
    assert_false(routing_provider(r, "ollama")->leaves);
    assert_false(routing_provider(r, "ollama")->trusted);
    assert_string_equal(routing_provider(r, "ollama")->remote.model, "phi-3");
    routing_free(r);
}

static void test_who_comes_first(void **state)
{
    (void)state;
    const struct config_override ollama[] = {{CONFIG_LOCAL_DIRECT_LOADING, "false"}};
    struct routing *r = some_routing(ollama, 1, "{}");
    assert_string_equal(name_at(r, &r->routes[0], 0), "ollama");
    assert_string_equal(name_at(r, &r->routes[0], 1), "local");
    routing_free(r);
    const struct config_override openai[] = {{CONFIG_OPENAI_API_KEY, "k"},
                                             {CONFIG_DEFAULT_MODEL_SOURCE, "openai"}};
    r = some_routing(openai, 2, "{}");
    assert_string_equal(name_at(r, &r->routes[0], 0), "openai");
    assert_true(r->routes[0].first);
    routing_free(r);
    struct config *config;
    struct error error;
    assert_int_equal(config_from(openai + 1, 1, &config, &error), OK);
    assert_int_equal(routing_load(config, &r, &error), ERR_CONFIG);
    assert_non_null(strstr(error.msg, "openai"));
    config_free(config);
}

/* A hub whose clients' settings name it must not ask itself. */
static void test_its_own_address_is_left_out(void **state)
{
    (void)state;
    const struct config_override self[] = {{CONFIG_PORT, "8123"},
                                           {CONFIG_OPENAI_API_KEY, "k"},
                                           {CONFIG_OPENAI_BASE_URL, "http://localhost:8123/v1"},
                                           {CONFIG_ANTHROPIC_API_KEY, "k"},
                                           {CONFIG_ANTHROPIC_BASE_URL, "http://127.0.0.1:81234"}};
    struct routing *r = some_routing(self, 5, "{}");
    assert_int_equal(r->routes[0].n, 2);
    assert_string_equal(name_at(r, &r->routes[0], 1), "anthropic");
    routing_free(r);
}

static void test_aihub(void **state)
{
    (void)state;
    const struct config_override one[] = {{CONFIG_AIHUB_URL, "https://aihub.example"},
                                          {CONFIG_AIHUB_KEYCLOAK_HOST, "https://kc.example/"},
                                          {CONFIG_AIHUB_KEYCLOAK_REALM, "people"},
                                          {CONFIG_AIHUB_VERIFY_SSL, "false"}};
    struct routing *r = some_routing(one, 4, "{}");
    const struct routing_provider *p = routing_provider(r, "aihub");
    assert_string_equal(p->remote.oauth.token_url, "https://kc.example/");
    assert_string_equal(p->remote.oauth.realm, "people");
    assert_true(p->remote.insecure_tls);
    assert_string_equal(name_at(r, &r->routes[0], 1), "aihub");
    routing_free(r);
}

/* ---- the file ------------------------------------------------------------------------------ */

static void test_a_whole_file(void **state)
{
    (void)state;
    setenv("ROUTING_TEST_KEY", "from-env", 1);
    struct routing *r = some_routing(
        NULL, 0,
        "{\"providers\": {"
        "   \"box\": {\"kind\": \"openai\", \"base_url\": \"http://10.0.0.5:8000/v1\","
        "           \"key_env\": \"ROUTING_TEST_KEY\", \"headers\": {\"X-Title\": \"Hearth\"},"
        "           \"models\": [\"qwen\", \"coder\"], \"middle\": \"qwen\", \"large\": \"coder\","
        "           \"connect_timeout\": \"2s\", \"idle_timeout\": 500, \"retries\": 0,"
        "           \"concurrency\": 4, \"proxy\": \"\", \"verify_tls\": false},"
        "   \"near\": {\"base_url\": \"http://localhost:9/v1\", \"trusted\": true,"
        "            \"chain\": false},"
        "   \"local\": {\"small\": \"tiny\", \"middle\": \"mid\"}},"
        " \"routes\": {"
        "   \"default\": {\"goal\": \"quality\"},"
        "   \"code\": {\"chain\": [\"box/coder\", \"local\"], \"goal\": \"speed\","
        "            \"substitute\": false, \"max_wait\": \"3s\"},"
        "   \"private\": {\"chain\": [\"local\", \"near\"], \"local_only\": true}},"
        " \"complexity\": {\"low\": 0.2, \"high\": 0.9, \"weights\": {\"code\": 1},"
        "  \"classify\": true, \"classify_timeout\": \"250ms\"}}");
    const struct routing_provider *box = routing_provider(r, "box");
    assert_string_equal(box->remote.key, "from-env");
    assert_string_equal(box->remote.headers[0], "X-Title: Hearth");
    assert_int_equal(box->n_models, 2);
    assert_null(box->tiers[TIER_SMALL]);
    assert_string_equal(box->tiers[TIER_LARGE], "coder");
    assert_int_equal(box->remote.connect_ms, 2000);
    assert_int_equal(box->remote.idle_ms, 500);
    assert_int_equal(box->remote.retries, -1); /* none */
    assert_int_equal(box->remote.concurrency, 4);
    assert_string_equal(box->remote.proxy, "");
    assert_true(box->remote.insecure_tls && box->leaves && box->configured);
    const struct routing_provider *near = routing_provider(r, "near");
    assert_true(near->trusted && !near->leaves && !near->configured);
    assert_string_equal(near->remote.protocol, "openai");
    assert_string_equal(routing_provider(r, "local")->tiers[TIER_MIDDLE], "mid");
    assert_int_equal(r->routes[0].goal, GOAL_QUALITY);
    assert_int_equal(r->routes[0].n, 2); /* local, box */
    const struct routing_route *code = routing_route(r, "code");
    assert_string_equal(code->chain[0].model, "coder");
    assert_int_equal(code->max_wait_ms, 3000);
    assert_false(code->substitute);
    assert_true(routing_route(r, "private")->local_only);
    assert_null(routing_route(r, "none"));
    assert_true(r->low == 0.2 && r->high == 0.9 && r->weights[FEATURE_CODE] == 1);
    assert_true(r->classify && r->classify_ms == 250);
    routing_free(r);
    unsetenv("ROUTING_TEST_KEY");
}

static void test_what_is_wrong_is_said(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"", "x.json"},
        {"[]", "an object"},
        {"{\"provider\": {}}", "provider"},
        {"{\"providers\": []}", "/providers"},
        {"{\"providers\": {\"a/b\": {}}}", "no name"},
        {"{\"providers\": {\"\": {}}}", "no name"},
        {"{\"providers\": {\"a\": 1}}", "must be an object"},
        {"{\"providers\": {\"a\": {\"kind\": \"smoke\"}}}", "none of openai"},
        {"{\"providers\": {\"a\": {\"bas_url\": \"x\"}}}", "bas_url"},
        {"{\"providers\": {\"a\": {\"retries\": -1}}}", "retries"},
        {"{\"providers\": {\"a\": {\"idle_timeout\": \"soon\"}}}", "idle_timeout"},
        {"{\"providers\": {\"a\": {\"headers\": {\"X\": \"a\\nb\"}}}}", "header"},
        {"{\"providers\": {\"a\": {\"key_env\": \"HEARTH_NO_SUCH_VARIABLE\"}}}", "not set"},
        {"{\"providers\": {\"a\": {\"key\": \"k\", \"key_env\": \"HOME\"}}}", "more than one"},
        {"{\"providers\": {\"a\": {\"key_file\": \"/no/such/file\"}}}", "not there"},
        {"{\"providers\": {\"a\": {\"trusted\": true}}}", "base_url"},
        {"{\"providers\": {\"local\": {\"base_url\": \"x\"}}}", "base_url"},
        {"{\"routes\": {\"a\": {}}}", "no chain"},
        {"{\"routes\": {\"a\": {\"chain\": []}}}", "none or too many"},
        {"{\"routes\": {\"a\": {\"chain\": [\"nobody\"]}}}", "nobody"},
        {"{\"routes\": {\"a\": {\"chain\": [1]}}}", "else than texts"},
        {"{\"routes\": {\"a\": {\"chain\": [\"local\"], \"goal\": \"fame\"}}}", "none of balanced"},
        {"{\"routes\": {\"a\": {\"chain\": [\"local\"], \"localonly\": true}}}", "localonly"},
        {"{\"complexity\": {\"low\": 2}}", "low"},
        {"{\"complexity\": {\"weights\": {\"beauty\": 1}}}", "beauty"},
        {"{\"complexity\": {\"classify\": 1}}", "classify"},
        {"{\"complexity\": {\"classify_timeout\": 0}}", "classify_timeout"},
        {"{\"complexity\": {\"classify_timeout\": \"2m\"}}", "classify_timeout"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct error error = {0};
        if (read_text(rows[i][0], true, &error) != ERR_CONFIG) fail_msg("taken: %s", rows[i][0]);
        if (!strstr(error.msg, rows[i][1]) && !strstr(error.param, rows[i][1]))
            fail_msg("%s: %s", rows[i][0], error.msg);
        assert_non_null(strstr(error.msg, "x.json"));
    }
}

static void test_keys_must_be_for_their_owner_alone(void **state)
{
    (void)state;
    static const char with_key[] = "{\"providers\": {\"a\": {\"key\": \"k\"}}}";
    struct error error;
    assert_int_equal(read_text(with_key, false, &error), ERR_CONFIG);
    assert_non_null(strstr(error.msg, "chmod 600"));
    assert_int_equal(read_text(with_key, true, &error), OK);
    char path[] = "/tmp/hearth-test-XXXXXX", text[200];
    int fd = mkstemp(path);
    assert_int_equal(write(fd, "  secret\n", 9), 9);
    close(fd);
    str_printf(text, sizeof text, "{\"providers\": {\"a\": {\"key_file\": \"%s\"}}}", path);
    chmod(path, 0644);
    assert_int_equal(read_text(text, false, &error), ERR_CONFIG);
    assert_non_null(strstr(error.msg, "chmod 600"));
    chmod(path, 0600);
    assert_int_equal(read_text(text, false, &error), OK);
    unlink(path);
}

/* ---- complexity ---------------------------------------------------------------------------- */

static struct complexity measure(const struct routing *r, const char *text)
{
    struct complexity c;
    struct gen_request *req = some_request("", text);
    complexity_of(r, req, &c);
    arena_free(req->arena);
    return c;
}

static void test_complexity(void **state)
{
    (void)state;
    struct routing *r = some_routing(NULL, 0, "{}");
    assert_int_equal(measure(r, "").tier, TIER_SMALL);
    assert_int_equal(measure(r, "Hello! How are you?").tier, TIER_SMALL);
    assert_int_equal(measure(r, "What is the capital of France?").tier, TIER_SMALL);
    assert_int_equal(measure(r, "Explain step by step why the sky is blue.").tier, TIER_MIDDLE);
    assert_int_equal(measure(r, "Prove the theorem and explain why; then write a Python function "
                                "with a class that checks the equation.")
                         .tier,
                     TIER_LARGE);
    assert_true(measure(r, "3 + 4 * x = 7 and 2^n / 5 - y * z").features[FEATURE_MATHS] > 0.5);
    assert_true(measure(r, "classic codex apiary").features[FEATURE_CODE] == 0); /* whole words */
    assert_true(measure(r, "```c\nint x;\n``` has a bug").features[FEATURE_CODE] == 1);
    char *longer = calloc(1, 9000);
    memset(longer, 'a', 8999);
    assert_true(measure(r, longer).features[FEATURE_LENGTH] == 1);
    free(longer);
    struct gen_request *req = some_request("", "hi");
    struct complexity c;
    req->reasoning_effort = "high";
    complexity_of(r, req, &c);
    assert_true(c.features[FEATURE_REASONING] == 1);
    arena_free(req->arena);
    assert_int_equal(complexity_tier(r, 0.3), TIER_MIDDLE);
    assert_int_equal(complexity_tier(r, 0.7), TIER_MIDDLE);
    assert_int_equal(complexity_tier(r, 0.71), TIER_LARGE);
    routing_free(r);
}

/* ---- plans --------------------------------------------------------------------------------- */

static const char clouds[] =
    "{\"providers\": {\"mid\": {\"base_url\": \"https://mid.example\", \"middle\": \"m\"},"
    "                 \"top\": {\"base_url\": \"https://top.example\", \"large\": \"l\"}}}";

/* "local/ mid/m": the steps in one line. */
static const char *steps(const struct routing *r, const struct plan *plan)
{
    static char line[256];
    size_t n = 0;
    line[0] = '\0';
    for (size_t i = 0; i < plan->n; i++)
        n += (size_t)snprintf(line + n, sizeof line - n, "%s%s/%s", i ? " " : "",
                              r->providers[plan->steps[i].provider].name, plan->steps[i].model);
    return line;
}

static void check_plan(const struct routing *r, struct plan_ask ask, const char *text,
                       struct plan_world *world, const char *want)
{
    struct plan plan;
    struct error error;
    struct gen_request *req = some_request("", text);
    struct plan_world nothing = {0};
    ask.gen = req;
    if (plan_make(r, &ask, world ? world : &nothing, &plan, &error)) fail_msg("%s", error.msg);
    assert_string_equal(steps(r, &plan), want);
    arena_free(req->arena);
}

static void test_the_goal_orders(void **state)
{
    (void)state;
    static const char hard[] = "Prove the theorem and explain why; then write Python code with a "
                               "function for the equation.";
    static const char fair[] = "Explain step by step why the sky is blue.";
    struct routing *r = some_routing(NULL, 0, clouds);
    struct prices *prices;
    struct error error;
    assert_int_equal(prices_load("", &prices, &error), OK);
    check_plan(r, (struct plan_ask){0}, "hi", NULL, "local/ mid/m top/l");
    check_plan(r, (struct plan_ask){0}, fair, NULL, "mid/m local/ top/l");
    check_plan(r, (struct plan_ask){0}, hard, NULL, "top/l local/ mid/m");
    check_plan(r, (struct plan_ask){.model = "auto"}, hard, NULL, "top/l local/ mid/m");
    check_plan(r, (struct plan_ask){.goal = GOAL_COST}, hard, NULL, "local/ mid/m top/l");
    check_plan(r, (struct plan_ask){.goal = GOAL_QUALITY}, "hi", NULL, "top/l mid/m local/");
    check_plan(r, (struct plan_ask){.goal = GOAL_PRIVACY}, hard, NULL, "local/");
    struct plan_world world = {.prices = prices};
    world.first_token_ms[0] = 5000; /* local is slow today; mid not seen yet */
    world.first_token_ms[3] = 20;
    check_plan(r, (struct plan_ask){.goal = GOAL_SPEED}, "hi", &world, "top/l mid/m local/");
    prices_free(prices);
    routing_free(r);
}

static void test_names_decide(void **state)
{
    (void)state;
    const struct config_override keys[] = {{CONFIG_OPENAI_API_KEY, "k"},
                                           {CONFIG_ANTHROPIC_API_KEY, "k"}};
    struct routing *r = some_routing(keys, 2, "{}");
    check_plan(r, (struct plan_ask){.model = "claude-opus-4"}, "hi", NULL,
               "local/claude-opus-4 anthropic/claude-opus-4 openai/gpt-4o-mini");
    check_plan(r, (struct plan_ask){.model = "gpt-4o"}, "hi", NULL,
               "local/gpt-4o openai/gpt-4o anthropic/claude-haiku-4-5");
    check_plan(r, (struct plan_ask){.model = "anthropic/claude-x"}, "hi", NULL,
               "anthropic/claude-x");
    check_plan(r, (struct plan_ask){.model = "someone/model"}, "hi", NULL,
               "local/someone/model openai/gpt-4o-mini anthropic/claude-haiku-4-5");
    check_plan(r, (struct plan_ask){.model = "local/tiny"}, "hi", NULL, "local/tiny");
    check_plan(r, (struct plan_ask){.source = "openai", .model = "openai/gpt-x"}, "hi", NULL,
               "openai/gpt-x");
    check_plan(r, (struct plan_ask){.embeds = true}, "hi", NULL, "local/");
    check_plan(r, (struct plan_ask){.embeds = true, .model = "text-embedding-3-small"}, "hi", NULL,
               "local/text-embedding-3-small openai/text-embedding-3-small");
    check_plan(r, (struct plan_ask){.embeds = true, .rerank = true, .model = "x"}, "hi", NULL,
               "local/x");
    check_plan(r, (struct plan_ask){.adapter = true}, "hi", NULL, "local/");
    routing_free(r);
}

static void test_money_that_is_spent(void **state)
{
    (void)state;
    const struct config_override keys[] = {{CONFIG_OPENAI_API_KEY, "k"}};
    struct routing *r = some_routing(keys, 1, clouds);
    struct plan_world world = {.over_budget = true};
    struct plan plan;
    struct error error;
    assert_int_equal(prices_load("", (struct prices **)&world.prices, &error), OK);
    check_plan(r, (struct plan_ask){0}, "hi", &world, "local/ mid/m top/l");
    const struct plan_ask named = {.source = "openai"};
    assert_int_equal(plan_make(r, &named, &world, &plan, &error), ERR_QUOTA);
    prices_free((struct prices *)world.prices);
    routing_free(r);
}

/* ---- prices -------------------------------------------------------------------------------- */

static void test_prices(void **state)
{
    (void)state;
    struct prices *p;
    struct price price;
    struct error error;
    char path[] = "/tmp/hearth-test-XXXXXX";
    static const char text[] =
        "{\"openai/gpt-4o\": {\"input\": 1, \"output\": 2}, \"big\": {\"input\": 3, \"output\": 4,"
        " \"cached_input\": 1}}";
    int fd = mkstemp(path);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    assert_int_equal(prices_load(path, &p, &error), OK);
    assert_true(prices_of(p, "openai", "gpt-4o-2024-08-06", &price) && price.input == 1);
    assert_true(prices_of(p, "openai", "gpt-4-0613", &price) && price.input == 30);
    assert_true(prices_of(p, "box", "big-one", &price) && price.cached_input == 1);
    assert_false(prices_of(p, "box", "gpt-4o", &price)); /* somebody else's of that name */
    assert_false(prices_of(p, "box", "unknown", &price));
    assert_true(prices_of(p, "box", "big", &price));
    const struct usage usage = {
        .prompt_tokens = 1000, .cached_tokens = 400, .completion_tokens = 10};
    assert_int_equal(price_micros(&price, &usage), 600 * 3 + 400 * 1 + 10 * 4);
    prices_free(p);
    fd = open(path, O_WRONLY | O_TRUNC);
    assert_int_equal(write(fd, "{\"a\": {\"input\": -1}}", 20), 20);
    close(fd);
    assert_int_equal(prices_load(path, &p, &error), ERR_CONFIG);
    unlink(path);
    assert_int_equal(prices_load("/no/such/file", &p, &error), ERR_CONFIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_configured_is_this_hub_alone),
        cmocka_unit_test(test_the_default_chain),
        cmocka_unit_test(test_who_comes_first),
        cmocka_unit_test(test_its_own_address_is_left_out),
        cmocka_unit_test(test_aihub),
        cmocka_unit_test(test_a_whole_file),
        cmocka_unit_test(test_what_is_wrong_is_said),
        cmocka_unit_test(test_keys_must_be_for_their_owner_alone),
        cmocka_unit_test(test_complexity),
        cmocka_unit_test(test_the_goal_orders),
        cmocka_unit_test(test_names_decide),
        cmocka_unit_test(test_money_that_is_spent),
        cmocka_unit_test(test_prices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
