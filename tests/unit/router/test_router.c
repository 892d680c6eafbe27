/* The router in front of providers whose every event the test sends itself: who is asked and when,
 * what the listener sees of it, fallbacks that come early, late and from inside, cancels, pins, and
 * the record of it all. */
#include "unit/router/harness.h"

static const char three[] =
    "{\"providers\": {\"box\": {\"kind\": \"openai\", \"base_url\": \"http://10.0.0.5/v1\","
    "                          \"model\": \"big\"},"
    "                 \"far\": {\"kind\": \"openai\", \"base_url\": \"https://far.example/v1\","
    "                          \"model\": \"huge\"}},"
    " \"routes\": {\"default\": {\"chain\": [\"local\", \"box\", \"far\"], \"goal\": \"cost\"},"
    "              \"home\": {\"chain\": [\"local\", \"box\"], \"local_only\": true},"
    "              \"quick\": {\"chain\": [\"local\", \"box\"], \"goal\": \"cost\","
    "                          \"max_wait\": 100}}}";

static void start_three(void)
{
    router_start(some_routing(NULL, 0, three));
}

/* ---- the plain way ------------------------------------------------------------------------- */

static void test_an_answer_of_its_own(void **state)
{
    (void)state;
    struct seen s;
    uint64_t id;
    router_start(some_routing(NULL, 0, "{}"));
    assert_int_equal(ask_router(some_request("", "hi"), &s, &id), OK);
    struct hand *h = hand("local");
    assert_int_equal(h->n, 1);
    assert_int_equal(s.n, 0); /* nothing was told from inside the call */
    tell_type(h, 0, GEN_EV_QUEUED);
    tell(h, 0, &(struct gen_event){.type = GEN_EV_STARTED, .model = "tiny"});
    tell_text(h, 0, "Hello");
    tell_done(h, 0);
    assert_string_equal(types(&s), "RQSTD");
    assert_string_equal(s.events[0].provider, "local");
    assert_false(s.events[0].remote);
    assert_string_equal(s.events[2].provider, "local");
    assert_string_equal(s.events[2].model, "tiny");
    assert_int_equal(n_records, 1);
    assert_string_equal(last_record.provider, "local");
    assert_string_equal(last_record.model, "tiny");
    assert_string_equal(last_record.request_id, "req");
    assert_int_equal(last_record.error, OK);
    assert_int_equal(last_record.cost_micros, 0);
    assert_int_equal(last_record.left_bytes, 0);
    assert_int_equal(last_record.usage.completion_tokens, 5);
    router_end();
}

/* Ollama is known by its setting's default, but is only asked when somebody says so. */
static void test_nobody_else_is_asked_unless_configured(void **state)
{
    (void)state;
    struct seen s;
    uint64_t id;
    router_start(some_routing(NULL, 0, "{}"));
    assert_int_equal(ask_router(some_request("unknown", "hi"), &s, &id), OK);
    tell_error(hand("local"), 0, ERR_NO_MODEL);
    assert_string_equal(types(&s), "RX");
    assert_int_equal(s.error.code, ERR_NO_MODEL);
    assert_string_equal(s.error.msg, "local failed");
    assert_int_equal(hand("ollama")->n, 0);
    assert_int_equal(ask_router(some_request("ollama/llama3", "hi"), &s, &id), OK);
    assert_int_equal(hand("ollama")->n, 1);
    assert_string_equal(hand("ollama")->calls[0].model, "llama3");
    tell_done(hand("ollama"), 0);
    router_end();
}

/* ---- fallbacks ----------------------------------------------------------------------------- */

static void test_the_next_one_is_asked_before_the_first_token(void **state)
{
    (void)state;
    struct seen s;
    uint64_t id;
    start_three();
    assert_int_equal(ask_router(some_request("", "hello there"), &s, &id), OK);
    struct hand *local = hand("local"), *box = hand("box"), *far = hand("far");
    tell(local, 0, &(struct gen_event){.type = GEN_EV_LOADING, .fraction = 0.5f});
    tell_error(local, 0, ERR_NOMEM);
    assert_int_equal(box->n, 1);
    assert_string_equal(box->calls[0].model, "big");
    assert_string_equal(box->calls[0].text, "hello there");
    tell_type(box, 0, GEN_EV_STARTED);
    assert_string_equal(types(&s), "RL"); /* its start is kept until there is a token */
    tell_error(box, 0, ERR_UPSTREAM);
    assert_int_equal(far->n, 1);
    tell_type(far, 0, GEN_EV_STARTED);
    tell_text(far, 0, "Hi");
    tell_text(far, 0, "!");
    tell_done(far, 0);
    assert_string_equal(types(&s), "RLRSTTD");
    assert_string_equal(s.events[2].provider, "far");
    assert_string_equal(s.events[2].model, "huge");
    assert_int_equal(s.events[2].attempt, 2);
    assert_true(s.events[2].remote);
    assert_non_null(strstr(s.events[2].reason, "local: out_of_memory after"));
    assert_non_null(strstr(s.events[2].reason, "box: upstream_error after"));
    assert_string_equal(last_record.left_to, "box,far");
    assert_int_equal(last_record.left_bytes, 2 * strlen("hello there"));
    assert_int_equal(last_record.attempts, 3);
    router_end();
}

static void test_no_fallback_behind_the_first_token(void **state)
{
    (void)state;
    struct seen s;
    uint64_t id;
    start_three();
    assert_int_equal(ask_router(some_request("", "hi"), &s, &id), OK);
    tell_error(hand("local"), 0, ERR_NOMEM);
    tell_type(hand("box"), 0, GEN_EV_STARTED);
    tell_text(hand("box"), 0, "Hi");
    tell_error(hand("box"), 0, ERR_NETWORK);
    assert_string_equal(types(&s), "RSTX");
    assert_int_equal(hand("far")->n, 0);
    assert_int_equal(s.error.code, ERR_NETWORK);
    assert_int_equal(last_record.error, ERR_NETWORK);
    router_end();
}

static void test_no_fallback_once_the_hub_has_started(void **state)
{
    (void)state;
    struct seen s;
    uint64_t id;
    start_three();
    assert_int_equal(ask_router(some_request("", "hi"), &s, &id), OK);
    tell_type(hand("local"), 0, GEN_EV_STARTED);
    tell_error(hand("local"), 0, ERR_WORKER);
    assert_string_equal(types(&s), "RSX");
    assert_int_equal(hand("box")->n, 0);
    router_end();
}

static void test_errors_of_the_request_itself_end_it(void **state)
{
    (void)state;
    static const enum err codes[] = {ERR_INVALID, ERR_SCHEMA, ERR_STOPPING, ERR_NO_ADAPTER};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        struct seen s;
        uint64_t id;
        start_three();
        assert_int_equal(ask_router(some_request("", "hi"), &s, &id), OK);
        tell_error(hand("local"), 0, codes[i]);
        assert_string_equal(types(&s), "RX");
        assert_int_equal(s.error.code, codes[i]);
        assert_int_equal(hand("box")->n, 0);
        router_end();
    }
}

static void test_who_refuses_at_once_is_passed_over(void **state)
{
    (void)state;
    struct seen s;
    uint64_t id;
    start_three();
    hand("local")->refuse = ERR_BUSY;
    hand("box")->refuse = ERR_NETWORK;
    assert_int_equal(ask_router(some_request("", "hi"), &s, &id), OK);
    tell_text(hand("far"), 0, "x");
    tell_done(hand("far"), 0);
    assert_string_equal(types(&s), "RTD");
    assert_int_equal(s.events[0].attempt, 2);
    /* When all do, the call itself fails, with what says most. */
    hand("far")->refuse = ERR_NETWORK;
    assert_int_equal(ask_router(some_request("", "hi"), &s, &id), ERR_BUSY);
    assert_int_equal(s.n, 0);
    assert_int_equal(id, 0);
    assert_non_null(strstr(s.error.msg, "local says no"));
    assert_non_null(strstr(s.error.msg, "box: network_error"));
    router_end();
}

static void fail_inside(struct hand *h, int call)
{
    h->inside = NULL;
    tell_error(h, call, ERR_NETWORK);
}

static void test_failing_before_the_call_returns(void **state)
{
    (void)state;
    struct seen s;
    uint64_t id;
    start_three();
    hand("local")->inside = hand("box")->inside = fail_inside;
    assert_int_equal(ask_router(some_request("", "hi"), &s, &id), OK);
    assert_int_equal(hand("far")->n, 1);
    /* The id that counts is that of the attempt under way, not of those that returned late. */
    provider_cancel(router_provider(router), id);
    assert_int_equal(hand("local")->n_cancels, 0);
    assert_int_equal(hand("box")->n_cancels, 0);
    assert_int_equal(hand("far")->n_cancels, 1);
    tell_error(hand("far"), 0, ERR_CANCELLED);
    assert_string_equal(types(&s), "RX");
    assert_int_equal(s.error.code, ERR_CANCELLED);
    router_end();
}

static void test_the_error_that_says_most(void **state)
{
    (void)state;
    struct seen s;
    uint64_t id;
    start_three();
    assert_int_equal(ask_router(some_request("gone", "hi"), &s, &id), OK);
    tell_error(hand("local"), 0, ERR_NO_MODEL);
    tell_error(hand("box"), 0, ERR_NETWORK);
    tell_error(hand("far"), 0, ERR_NETWORK);
    assert_int_equal(hand("box")->n, 2); /* with the model that was named, then with its own */
    assert_string_equal(hand("box")->calls[0].model, "gone");
    assert_string_equal(hand("box")->calls[1].model, "big");
    tell_error(hand("box"), 1, ERR_NETWORK);
    tell_error(hand("far"), 1, ERR_NETWORK);
    assert_string_equal(types(&s), "RX");
    assert_int_equal(s.error.code, ERR_NO_MODEL);
    assert_int_equal(last_record.attempts, 5);
    router_end();
}

/* ---- waiting ------------------------------------------------------------------------------- */

static void test_a_wait_past_the_deadline_goes_on(void **state)
{
    (void)state;
    struct seen s;
    uint64_t id;
    start_three();
    struct gen_request *req = some_request("", "hi");
    req->deadline_ms = INT64_MAX / 2;
    assert_int_equal(ask_router(req, &s, &id), OK);
    struct hand *local = hand("local");
    tell(local, 0, &(struct gen_event){.type = GEN_EV_QUEUED, .position = 3, .wait_ms = 50});
    assert_int_equal(local->n_cancels, 0);
    tell(local, 0,
         &(struct gen_event){.type = GEN_EV_QUEUED, .position = 3, .wait_ms = INT64_MAX / 2 - 1});
    assert_int_equal(local->n_cancels, 1);
    tell_type(local, 0, GEN_EV_STARTED); /* the cancel comes late: nothing of it counts */
    tell_text(local, 0, "late");
    assert_int_equal(hand("box")->n, 0);
    tell_error(local, 0, ERR_CANCELLED);
    assert_int_equal(hand("box")->n, 1);
    tell_text(hand("box"), 0, "soon");
    tell_done(hand("box"), 0);
    assert_string_equal(types(&s), "RQRTD");
    assert_string_equal(s.events[3].text, "soon");
    assert_non_null(strstr(s.events[2].reason, "local: queue_full after"));
    router_end();
}

static void test_a_route_that_does_not_wait(void **state)
{
    (void)state;
    struct seen s;
    uint64_t id;
    start_three();
    struct gen_request *req = some_request("", "hi");
    req->route = "quick";
    assert_int_equal(ask_router(req, &s, &id), OK);
    tell(hand("local"), 0, &(struct gen_event){.type = GEN_EV_QUEUED, .wait_ms = 101});
    tell_done(hand("local"), 0); /* as quick as the cancel: its text was not passed on */
    assert_int_equal(hand("box")->n, 1);
    /* The last one may take as long as it likes. */
    tell(hand("box"), 0, &(struct gen_event){.type = GEN_EV_QUEUED, .wait_ms = 5000});
    tell_text(hand("box"), 0, "x");
    tell_done(hand("box"), 0);
    assert_string_equal(types(&s), "RQTD");
    router_end();
}

/* ---- cancelling and closing ---------------------------------------------------------------- */

static void test_a_cancel_ends_the_chain(void **state)
{
    (void)state;
    struct seen s;
    uint64_t id;
    start_three();
    assert_int_equal(ask_router(some_request("", "hi"), &s, &id), OK);
    provider_cancel(router_provider(router), id);
    assert_int_equal(hand("local")->n_cancels, 1);
    tell_error(hand("local"), 0, ERR_NETWORK); /* it failed at the same moment */
    assert_int_equal(hand("box")->n, 0);
    assert_int_equal(s.n_last, 1);
    provider_cancel(router_provider(router), id);
    provider_cancel(router_provider(router), 999);
    assert_int_equal(hand("local")->n_cancels, 1);
    router_end();
}

static void test_a_stopped_router_goes_nowhere(void **state)
{
    (void)state;
    struct seen s, t;
    uint64_t id;
    start_three();
    assert_int_equal(ask_router(some_request("", "hi"), &s, &id), OK);
    router_stop(router);
    tell_error(hand("local"), 0, ERR_WORKER);
    assert_string_equal(types(&s), "RX");
    assert_int_equal(hand("box")->n, 0);
    assert_int_equal(ask_router(some_request("", "hi"), &t, &id), ERR_STOPPING);
    router_end();
    assert_true(hands[1].closed && hands[2].closed);
    assert_false(hands[0].closed); /* its owner closes it */
}

/* ---- pins, sources, budgets ---------------------------------------------------------------- */

static void test_what_is_pinned_stays(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) {
        struct seen s;
        uint64_t id;
        start_three();
        struct gen_request *req = some_request("", "secret");
        if (how == 0) req->local_only = true;
        if (how == 1) req->route = "home";
        if (how == 2) req->goal = GOAL_PRIVACY;
        assert_int_equal(ask_router(req, &s, &id), OK);
        tell_error(hand("local"), 0, ERR_NOMEM);
        assert_string_equal(types(&s), "RX");
        assert_int_equal(s.error.code, ERR_NOMEM);
        assert_non_null(strstr(s.error.msg, "must stay on this machine"));
        assert_int_equal(hand("box")->n + hand("far")->n, 0);
        assert_int_equal(last_record.left_bytes, 0);
        router_end();
    }
}

static void test_a_pin_outweighs_a_source(void **state)
{
    (void)state;
    struct seen s;
    uint64_t id;
    start_three();
    struct gen_request *req = some_request("", "secret");
    req->local_only = true;
    req->source = "far";
    assert_int_equal(ask_router(req, &s, &id), ERR_LOCAL_ONLY);
    assert_non_null(strstr(s.error.msg, "far is elsewhere"));
    req = some_request("far/huge", "secret");
    req->route = "home";
    assert_int_equal(ask_router(req, &s, &id), ERR_LOCAL_ONLY);
    assert_int_equal(hand("far")->n, 0);
    router_end();
}

static void test_a_source_is_asked_alone(void **state)
{
    (void)state;
    struct seen s;
    uint64_t id;
    start_three();
    struct gen_request *req = some_request("", "hi");
    req->source = "far";
    assert_int_equal(ask_router(req, &s, &id), OK);
    tell_error(hand("far"), 0, ERR_NETWORK);
    assert_string_equal(types(&s), "RX");
    assert_int_equal(hand("local")->n + hand("box")->n, 0);
    req = some_request("", "hi");
    req->source = "nobody";
    assert_int_equal(ask_router(req, &s, &id), ERR_INVALID);
    assert_non_null(strstr(s.error.msg, "local, ollama, box, far"));
    router_end();
}

static void test_who_is_down_is_left_alone(void **state)
{
    (void)state;
    struct seen s;
    uint64_t id;
    start_three();
    hand("box")->state = (struct remote_state){.open = true, .retry_in_ms = 5000};
    assert_int_equal(ask_router(some_request("", "hi"), &s, &id), OK);
    tell_error(hand("local"), 0, ERR_NOMEM);
    assert_int_equal(hand("box")->n, 0);
    tell_done(hand("far"), 0);
    /* Unless there is nobody else. */
    struct gen_request *req = some_request("", "hi");
    req->source = "box";
    assert_int_equal(ask_router(req, &s, &id), OK);
    tell_done(hand("box"), 0);
    router_end();
}

static void test_images_go_to_who_can_look(void **state)
{
    (void)state;
    struct seen s;
    uint64_t id;
    static const struct image picture = {"image/png", "AAAA", NULL};
    start_three();
    struct gen_request *req = some_request("", "what is this?");
    struct message *m = arena_calloc(req->arena, 1, sizeof *m);
    *m = req->messages[0];
    m->images = &picture;
    m->n_images = 1;
    req->messages = m;
    assert_int_equal(ask_router(req, &s, &id), OK);
    assert_int_equal(hand("local")->n, 0);
    tell_done(hand("box"), 0);
    assert_int_equal(last_record.left_images, 1);
    router_end();
}

/* ---- embeddings ---------------------------------------------------------------------------- */

struct vectors {
    int n;
    char provider[64];
    enum err code;
};

static void see_vectors(void *ctx, const struct embed_result *r)
{
    struct vectors *v = ctx;
    v->n++;
    v->code = r->error ? r->error->code : OK;
    str_copy(v->provider, sizeof v->provider, r->route ? r->route->provider : "");
}

static enum err embed(const char *model, struct vectors *v, struct error *error)
{
    struct arena *a = arena_new(4096);
    struct embed_request *req = arena_calloc(a, 1, sizeof *req);
    uint64_t id;
    *req = (struct embed_request){
        .arena = a, .model = arena_strdup(a, model), .tenant = "", .request_id = "e"};
    *v = (struct vectors){0};
    return provider_embed(router_provider(router), req, see_vectors, v, &id, error);
}

/* Vectors of two models can't be compared, so none takes another one's place. */
static void test_embeddings_are_not_substituted(void **state)
{
    (void)state;
    struct vectors v;
    struct error error;
    start_three();
    struct hand *local = hand("local");
    assert_int_equal(embed("", &v, &error), OK);
    err_set(&error, ERR_NOMEM, "full");
    local->calls[0].embed_fn(local->calls[0].ctx, &(struct embed_result){.error = &error});
    assert_int_equal(v.n, 1);
    assert_int_equal(v.code, ERR_NOMEM);
    assert_int_equal(hand("box")->n, 0);
    /* A model that was named may be somewhere else under that name. */
    assert_int_equal(embed("nomic", &v, &error), OK);
    err_set(&error, ERR_NO_MODEL, "none");
    local->calls[1].embed_fn(local->calls[1].ctx, &(struct embed_result){.error = &error});
    assert_int_equal(v.n, 0);
    assert_string_equal(hand("box")->calls[0].model, "nomic");
    hand("box")->calls[0].embed_fn(hand("box")->calls[0].ctx,
                                   &(struct embed_result){.model = "nomic"});
    assert_int_equal(v.n, 1);
    assert_string_equal(v.provider, "box");
    router_end();
}

/* ---- what it costs ------------------------------------------------------------------------- */

/* What an answer of 10 tokens read and 5 written costs, in millionths, by who gives which name. */
static int64_t cost_of_answer(const char *asked, const char *answered)
{
    struct seen s;
    uint64_t id;
    router_start(
        some_routing(NULL, 0,
                     "{\"providers\": {\"openai\": {\"base_url\": \"https://o.example/v1\","
                     "  \"model\": \"gpt-4o\"}}}"));
    assert_int_equal(ask_router(some_request(asked, "hi"), &s, &id), OK);
    struct hand *h = hand("openai");
    tell(h, 0, &(struct gen_event){.type = GEN_EV_STARTED, .model = answered});
    tell_text(h, 0, "Hello");
    tell(h, 0, &(struct gen_event){.type = GEN_EV_DONE, .model = answered, .usage = {10, 0, 5, 0}});
    assert_string_equal(last_record.model, answered);
    router_end();
    return last_record.cost_micros;
}

/* A server may call the model otherwise than the price list does. */
static void test_the_cost_is_of_the_model_that_was_asked(void **state)
{
    (void)state;
    static const int64_t gpt_4o = 75, gpt_4 = 600; /* 10 x 2.5 + 5 x 10; 10 x 30 + 5 x 60 */
    assert_int_equal(cost_of_answer("openai/gpt-4o", "gpt-4o-2024-08-06"), gpt_4o);
    assert_int_equal(cost_of_answer("openai/gpt-4o", "deployment-7"), gpt_4o);
    assert_int_equal(cost_of_answer("openai/gpt-4", "gpt-4o"), gpt_4);
    assert_int_equal(cost_of_answer("openai/auto", "gpt-4o"), gpt_4o);
    assert_int_equal(cost_of_answer("openai/auto", "auto"), -1);
}

/* The provider's own model: no name is sent, and no name comes back. */
static void test_the_cost_of_a_default_model(void **state)
{
    (void)state;
    struct seen s;
    uint64_t id;
    router_start(
        some_routing(NULL, 0,
                     "{\"providers\": {\"openai\": {\"base_url\": \"https://o.example/v1\","
                     "  \"model\": \"gpt-4o\"}}}"));
    struct gen_request *req = some_request("", "hi");
    req->source = "openai";
    assert_int_equal(ask_router(req, &s, &id), OK);
    tell_done(hand("openai"), 0);
    assert_int_equal(last_record.cost_micros, 75);
    router_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_answer_of_its_own),
        cmocka_unit_test(test_nobody_else_is_asked_unless_configured),
        cmocka_unit_test(test_the_next_one_is_asked_before_the_first_token),
        cmocka_unit_test(test_no_fallback_behind_the_first_token),
        cmocka_unit_test(test_no_fallback_once_the_hub_has_started),
        cmocka_unit_test(test_errors_of_the_request_itself_end_it),
        cmocka_unit_test(test_who_refuses_at_once_is_passed_over),
        cmocka_unit_test(test_failing_before_the_call_returns),
        cmocka_unit_test(test_the_error_that_says_most),
        cmocka_unit_test(test_a_wait_past_the_deadline_goes_on),
        cmocka_unit_test(test_a_route_that_does_not_wait),
        cmocka_unit_test(test_a_cancel_ends_the_chain),
        cmocka_unit_test(test_a_stopped_router_goes_nowhere),
        cmocka_unit_test(test_what_is_pinned_stays),
        cmocka_unit_test(test_a_pin_outweighs_a_source),
        cmocka_unit_test(test_a_source_is_asked_alone),
        cmocka_unit_test(test_who_is_down_is_left_alone),
        cmocka_unit_test(test_images_go_to_who_can_look),
        cmocka_unit_test(test_embeddings_are_not_substituted),
        cmocka_unit_test(test_the_cost_is_of_the_model_that_was_asked),
        cmocka_unit_test(test_the_cost_of_a_default_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
