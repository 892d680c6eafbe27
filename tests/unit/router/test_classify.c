/* Asking the local model how hard a request is: when it is asked at all, what its word changes, and
 * that nothing waits for it longer than the configuration says. */
#include "base/clock.h"
#include "router/explain.h"
#include "unit/router/harness.h"

/* The features of "hi" ask for a small model, which is the local one. */
static const char sized[] =
    "{\"providers\": {\"box\": {\"base_url\": \"http://10.0.0.5/v1\", \"middle\": \"mid\"},"
    "                 \"far\": {\"base_url\": \"https://far.example/v1\", \"large\": \"huge\"}},"
    " \"routes\": {\"default\": {\"chain\": [\"local\", \"box\", \"far\"]},"
    "              \"named\": {\"chain\": [\"local\", \"far\"]},"
    "              \"thrifty\": {\"chain\": [\"local\", \"far\"], \"goal\": \"cost\"}},"
    " \"complexity\": {\"classify\": true, \"classify_timeout\": \"%s\"}}";

static void start(const char *timeout)
{
    char text[1024];
    str_printf(text, sizeof text, sized, timeout);
    router_start(some_routing(NULL, 0, text));
}

static void say(struct hand *h, int call, const char *word)
{
    tell(h, call, &(struct gen_event){.type = GEN_EV_STARTED, .model = "tiny"});
    tell_text(h, call, word);
    tell(h, call, &(struct gen_event){.type = GEN_EV_DONE, .model = "tiny"});
}

static void answer(struct hand *h, int call, struct seen *s)
{
    tell_text(h, call, "Hello");
    tell_done(h, call);
    assert_int_equal(s->n_last, 1);
    assert_int_equal(s->events[s->n - 1].type, GEN_EV_DONE);
}

static void test_its_word_decides(void **state)
{
    (void)state;
    static const struct {
        const char *word, *provider, *model;
        double score;
    } rows[] = {{"small", "local", "", 0.15},
                {"middle", "box", "mid", 0.5},
                {"large", "far", "huge", 0.85}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct seen s;
        uint64_t id;
        start("30s");
        assert_int_equal(ask_router(some_request("", "hi"), &s, &id), OK);
        assert_true(id != 0);
        struct hand *local = hand("local"), *h = hand(rows[i].provider);
        assert_int_equal(local->n, 1);
        assert_true(local->calls[0].classifies);
        assert_int_equal(s.n, 0);
        say(local, 0, rows[i].word);
        int call = h == local;
        assert_int_equal(h->n, call + 1);
        assert_false(h->calls[call].classifies);
        assert_string_equal(h->calls[call].model, rows[i].model);
        assert_string_equal(h->calls[call].text, "hi");
        answer(h, call, &s);
        assert_int_equal(n_records, 1);
        assert_true(last_record.complexity > rows[i].score - 0.001);
        assert_true(last_record.complexity < rows[i].score + 0.001);
        assert_non_null(strstr(last_record.reason, "tiny says that it asks for a "));
        assert_non_null(strstr(last_record.reason, rows[i].word));
        assert_int_equal(last_record.attempts, 1);
        router_end();
    }
}

/* Whatever happens to the question, the features' score goes on, and the reason says it. */
static void test_the_features_decide_without_it(void **state)
{
    (void)state;
    struct seen s;
    uint64_t id;
    start("30s");
    struct hand *local = hand("local");
    assert_int_equal(ask_router(some_request("", "hi"), &s, &id), OK);
    struct error error;
    err_set(&error, ERR_NO_MODEL, "no model is in memory");
    tell(local, 0, &(struct gen_event){.type = GEN_EV_ERROR, .error = &error});
    answer(local, 1, &s);
    assert_string_equal(last_record.reason, "local: complexity 0.00 asks for a small model "
                                            "(not classified: no model is in memory)");
    assert_int_equal(ask_router(some_request("", "hi"), &s, &id), OK);
    say(local, 2, "enormous");
    answer(local, 3, &s);
    assert_non_null(strstr(last_record.reason, "(not classified: the answer is none of"));
    local->refuse = ERR_BUSY; /* it can't even be asked: the next in the plan has it at once */
    assert_int_equal(ask_router(some_request("", "hi"), &s, &id), OK);
    answer(hand("box"), 0, &s);
    assert_non_null(strstr(last_record.reason, "(not classified: local says no)"));
    router_end();
}

static void wait_for(struct hand *h, int n)
{
    for (int i = 0; h->n_whole < n; i++) {
        assert_true(i < 6000);
        usleep(5000);
    }
}

/* Also when the model never says another word, not even to the cancel. */
static void test_nothing_waits_longer_for_it(void **state)
{
    (void)state;
    struct seen s;
    uint64_t id;
    start("20ms");
    struct hand *local = hand("local");
    assert_int_equal(ask_router(some_request("", "hi"), &s, &id), OK);
    wait_for(local, 2);
    for (int i = 0; !local->n_cancels; i++) {
        assert_true(i < 6000);
        usleep(5000);
    }
    assert_int_equal(local->cancelled, 1000); /* the question's */
    answer(local, 1, &s);
    assert_non_null(strstr(last_record.reason, "(not classified: no answer within 20 ms)"));
    tell_error(local, 0, ERR_CANCELLED); /* late: nobody listens any more */
    assert_int_equal(n_records, 1);
    router_end();
}

/* A request that must begin soon has no more time for this than for itself. */
static void test_a_deadline_is_a_limit_too(void **state)
{
    (void)state;
    struct seen s;
    uint64_t id;
    start("30s");
    struct hand *local = hand("local");
    struct gen_request *req = some_request("", "hi");
    req->deadline_ms = clock_mono_ms() + 20;
    assert_int_equal(ask_router(req, &s, &id), OK);
    wait_for(local, 2);
    answer(local, 1, &s);
    tell_error(local, 0, ERR_CANCELLED);
    router_end();
}

/* What the question has cost is told once, with whose it was, however it ended. */
static void test_its_tokens_are_told(void **state)
{
    (void)state;
    struct seen s;
    uint64_t id;
    start("30s");
    struct hand *local = hand("local");
    const struct gen_event started = {
        .type = GEN_EV_STARTED, .model = "tiny", .usage = {.prompt_tokens = 40}};
    assert_int_equal(ask_router(some_request("", "hi"), &s, &id), OK);
    tell(local, 0, &started);
    tell_text(local, 0, "small");
    assert_int_equal(n_classified, 0);
    tell(local, 0, &(struct gen_event){.type = GEN_EV_DONE, .usage = {40, 8, 3, 0}});
    assert_int_equal(n_classified, 1);
    assert_string_equal(classified_tenant, "me");
    assert_int_equal(last_classified.prompt_tokens, 40);
    assert_int_equal(last_classified.completion_tokens, 3);
    answer(local, 1, &s);
    assert_int_equal(n_classified, 1); /* the answer's are its record's */
    assert_int_equal(last_record.usage.prompt_tokens, 10);

    assert_int_equal(ask_router(some_request("", "hi"), &s, &id), OK);
    tell(local, 2, &started);
    tell_text(local, 2, "mid");
    tell_error(local, 2, ERR_WORKER); /* its last event has no numbers */
    assert_int_equal(n_classified, 2);
    assert_int_equal(last_classified.prompt_tokens, 40);
    assert_int_equal(last_classified.completion_tokens, 1);
    answer(local, 3, &s);

    assert_int_equal(ask_router(some_request("", "hi"), &s, &id), OK);
    tell_error(local, 4, ERR_BUSY); /* it read nothing */
    answer(local, 5, &s);
    assert_int_equal(n_classified, 2);
    router_end();
}

/* A question that was given up for its time is told of when the model has stopped. */
static void test_tokens_of_a_late_answer(void **state)
{
    (void)state;
    struct seen s;
    uint64_t id;
    start("20ms");
    struct hand *local = hand("local");
    assert_int_equal(ask_router(some_request("", "hi"), &s, &id), OK);
    tell(local, 0, &(struct gen_event){.type = GEN_EV_STARTED, .usage = {.prompt_tokens = 40}});
    wait_for(local, 2);
    answer(local, 1, &s);
    assert_int_equal(n_classified, 0);
    tell_error(local, 0, ERR_CANCELLED);
    assert_int_equal(n_classified, 1);
    assert_int_equal(last_classified.prompt_tokens, 40);
    router_end();
}

static void test_who_knows_already_is_not_delayed(void **state)
{
    (void)state;
    struct seen s;
    uint64_t id;
    start("30s");
    struct hand *local = hand("local"), *far = hand("far");
    struct gen_request *reqs[6];
    for (int i = 0; i < 6; i++)
        reqs[i] = some_request(i == 0 ? "huge" : i == 1 ? "far/x" : "", "hi");
    reqs[2]->source = "far";
    reqs[3]->route = "named";
    reqs[4]->local_only = true;
    reqs[5]->goal = GOAL_QUALITY;
    for (int i = 0; i < 6; i++) {
        int n = local->n + far->n;
        assert_int_equal(ask_router(reqs[i], &s, &id), OK);
        assert_int_equal(local->n + far->n, n + 1);
        for (int k = 0; k < local->n; k++) assert_false(local->calls[k].classifies);
        struct hand *asked = i == 0 || i == 3 || i == 4 ? local : far;
        answer(asked, asked->n - 1, &s);
        assert_null(strstr(last_record.reason, "classified"));
    }
    router_end();
}

static void test_it_is_off_by_default(void **state)
{
    (void)state;
    struct seen s;
    uint64_t id;
    router_start(some_routing(
        NULL, 0, "{\"providers\": {\"far\": {\"base_url\": \"https://far.example/v1\"}}}"));
    assert_int_equal(ask_router(some_request("", "hi"), &s, &id), OK);
    assert_false(hand("local")->calls[0].classifies);
    answer(hand("local"), 0, &s);
    router_end();
}

/* Its model is told, and the request ends with the model's last event. */
static void test_a_cancel_while_it_is_asked(void **state)
{
    (void)state;
    struct seen s;
    uint64_t id;
    start("30s");
    struct hand *local = hand("local");
    assert_int_equal(ask_router(some_request("", "hi"), &s, &id), OK);
    provider_cancel(router_provider(router), id);
    assert_int_equal(local->n_cancels, 1);
    assert_int_equal(s.n_last, 0); /* not on the thread that cancels */
    tell_error(local, 0, ERR_CANCELLED);
    assert_int_equal(s.n_last, 1);
    assert_int_equal(s.error.code, ERR_CANCELLED);
    assert_int_equal(local->n, 1);
    assert_int_equal(n_records, 1);
    router_end();
}

static void test_a_stop_while_it_is_asked(void **state)
{
    (void)state;
    struct seen s;
    uint64_t id;
    start("30s");
    assert_int_equal(ask_router(some_request("", "hi"), &s, &id), OK);
    router_stop(router);
    tell_error(hand("local"), 0, ERR_STOPPING);
    assert_int_equal(s.n_last, 1);
    assert_int_equal(s.error.code, ERR_STOPPING);
    router_end();
}

static void say_large(struct hand *h, int call)
{
    if (h->calls[call].classifies) say(h, call, "large");
}

/* The answer is there before the call of the question returns. */
static void test_an_answer_from_inside(void **state)
{
    (void)state;
    struct seen s;
    uint64_t id;
    start("30s");
    hand("local")->inside = say_large;
    assert_int_equal(ask_router(some_request("", "hi"), &s, &id), OK);
    assert_int_equal(hand("far")->n, 1);
    answer(hand("far"), 0, &s);
    router_end();
}

static void test_what_is_long_is_cut(void **state)
{
    (void)state;
    struct seen s;
    uint64_t id;
    char text[8192] = "";
    for (int i = 0; i < 2700; i++) memcpy(text + 3 * i, "\xE2\x82\xAC", 4); /* cuts fall within */
    start("30s");
    assert_int_equal(ask_router(some_request("", text), &s, &id), OK);
    say(hand("local"), 0, "middle");
    answer(hand("box"), 0, &s);
    router_end();
}

/* ---- beforehand ----------------------------------------------------------------------------- */

static char explained[16384];

static void take_explanation(void *ctx, const struct error *error, const char *text, size_t len)
{
    (void)ctx;
    assert_null(error);
    assert_true(len < sizeof explained);
    memcpy(explained, text, len);
    explained[len] = '\0';
}

static void expect_part(const char *part)
{
    if (!strstr(explained, part)) fail_msg("%s is not in %s", part, explained);
}

static void test_explain_shows_both(void **state)
{
    (void)state;
    struct error error;
    start("30s");
    struct hand *local = hand("local");
    assert_int_equal(router_explain(router, some_request("", "hi"), take_explanation, NULL, &error),
                     OK);
    say(local, 0, "large");
    expect_part("\"score\":0.85,\"tier\":\"large\",\"by\":\"model\"");
    expect_part("\"features_score\":0,\"features_tier\":\"small\"");
    expect_part("\"classification\":{\"tier\":\"large\",\"score\":0.85,\"model\":\"tiny\"");
    assert_int_equal(router_explain(router, some_request("", "hi"), take_explanation, NULL, &error),
                     OK);
    tell_error(local, 1, ERR_BUSY);
    expect_part("\"score\":0,\"tier\":\"small\",\"by\":\"features\"");
    expect_part("\"classification\":{\"error\":\"local failed\"");
    struct gen_request *pinned = some_request("", "hi");
    pinned->local_only = true;
    assert_int_equal(router_explain(router, pinned, take_explanation, NULL, &error), OK);
    expect_part("\"by\":\"features\"");
    expect_part("\"classification\":null");
    router_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_its_word_decides),
        cmocka_unit_test(test_the_features_decide_without_it),
        cmocka_unit_test(test_nothing_waits_longer_for_it),
        cmocka_unit_test(test_a_deadline_is_a_limit_too),
        cmocka_unit_test(test_its_tokens_are_told),
        cmocka_unit_test(test_tokens_of_a_late_answer),
        cmocka_unit_test(test_who_knows_already_is_not_delayed),
        cmocka_unit_test(test_it_is_off_by_default),
        cmocka_unit_test(test_a_cancel_while_it_is_asked),
        cmocka_unit_test(test_a_stop_while_it_is_asked),
        cmocka_unit_test(test_an_answer_from_inside),
        cmocka_unit_test(test_what_is_long_is_cut),
        cmocka_unit_test(test_explain_shows_both),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
