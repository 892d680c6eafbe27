/* The flight recorder as the API shows it, and calls that the provider answers by itself, over a
 * provider that plays scripts (rig.h). */
#include "rig.h"

#include "api/control.h"

/* After another call; the first one of a rig is call_method's. */
static json_t *get(struct rig *r, const char *path, int status)
{
    rig_next(r);
    call_method(r, HTTP_GET, path, NULL);
    json_t *v = body_of(r);
    if (r->sink.status != status) fail_msg("%s: %d %s", path, r->sink.status, r->sink.body.data);
    return v;
}

/* "usage/prompt_tokens" */
static const json_t *at(const json_t *v, const char *path)
{
    char copy[128], *save = NULL;
    snprintf(copy, sizeof copy, "%s", path);
    for (char *part = strtok_r(copy, "/", &save); part; part = strtok_r(NULL, "/", &save))
        v = json_is_array(v) ? json_array_get(v, strtoul(part, NULL, 10))
                             : json_object_get(v, part);
    return v;
}

static void check_str(const json_t *v, const char *path, const char *expected)
{
    const char *s = json_string_value(at(v, path));
    if (!s || strcmp(s, expected) != 0)
        fail_msg("%s is %s, not %s", path, s ? s : "no string", expected);
}

static void check_int(const json_t *v, const char *path, json_int_t expected)
{
    const json_t *n = at(v, path);
    if (!json_is_integer(n) || json_integer_value(n) != expected)
        fail_msg("%s is %lld, not %lld", path, (long long)json_integer_value(n),
                 (long long)expected);
}

/* ---- records ------------------------------------------------------------------------------- */

static void a_request_that_worked(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, "lqsttted");
    call_path(&r, CHAT, "{" U ",\"priority\":7,\"model\":\"any\",\"stream\":true}");
    memsink_wait(&r.sink);
    json_int_t written = (json_int_t)r.sink.body.len;
    json_t *v = get(&r, "/v1/requests/req-test", 200);
    check_str(v, "id", "req-test");
    check_str(v, "kind", "chat");
    check_str(v, "state", "done");
    check_str(v, "model", "fake");
    check_str(v, "requested_model", "any");
    check_str(v, "finish_reason", "stop");
    check_int(v, "priority", 7);
    check_int(v, "usage/prompt_tokens", 3);
    check_int(v, "usage/cached_tokens", 1);
    check_int(v, "usage/completion_tokens", 2);
    check_int(v, "bytes_written", written);
    check_str(v, "cache/source", "none");
    assert_true(json_is_null(at(v, "cancelled_by")));
    assert_true(json_is_null(at(v, "error")));
    assert_true(json_number_value(at(v, "timings/total_ms")) > 0);
    json_decref(v);
    rig_deinit(&r);
}

static void a_request_under_way(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, "qwsttwed");
    call_path(&r, CHAT, WHOLE);
    wait_until_waiting(&r, 1);
    struct record rec; /* the sink is in use: asked directly */
    assert_true(recorder_get(r.hub.recorder, NULL, "req-test", &rec));
    assert_int_equal(rec.state, RECORD_WAITING);
    assert_int_equal(rec.position, 3);
    assert_int_equal(rec.wait_ms, 1200);
    struct recorder_counts counts;
    recorder_counts(r.hub.recorder, &counts);
    assert_int_equal(counts.waiting, 1);
    assert_int_equal(counts.running, 0);
    go(&r);
    memsink_wait(&r.sink);
    recorder_counts(r.hub.recorder, &counts);
    assert_int_equal(counts.waiting + counts.running, 0);
    rig_deinit(&r);
}

static void a_request_that_failed(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, "stx");
    call_path(&r, CHAT, WHOLE);
    json_decref(body_of(&r));
    json_t *v = get(&r, "/v1/requests/req-test", 200);
    check_str(v, "state", "failed");
    check_str(v, "error/code", "engine_error");
    check_str(v, "error/message", "the model caught fire");
    assert_true(json_is_null(at(v, "finish_reason")));
    json_decref(v);
    rig_deinit(&r);
}

static void a_request_that_was_refused(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, "sted");
    r.fake.refuse_from = 1;
    call_path(&r, CHAT, WHOLE);
    json_decref(body_of(&r));
    json_t *v = get(&r, "/v1/requests/req-test", 200);
    check_str(v, "state", "failed");
    check_str(v, "error/code", "queue_full");
    json_decref(v);
    rig_deinit(&r);
}

static void the_client_that_left_is_named(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, "stwed");
    call_path(&r, CHAT, STREAM);
    wait_until_waiting(&r, 1);
    memsink_close(&r.sink);
    json_t *v = get(&r, "/v1/requests/req-test", 200);
    check_str(v, "state", "cancelled");
    check_str(v, "cancelled_by", "client");
    json_decref(v);
    rig_deinit(&r);
}

static void a_call_that_cancels(void **state)
{
    (void)state;
    struct rig r;
    struct memsink other;
    struct fake_request req;
    rig_init(&r, "stwed");
    call_path(&r, CHAT, STREAM);
    wait_until_waiting(&r, 1);
    memsink_init(&other);
    fake_request_init(&req, HTTP_DELETE, "/v1/requests/req-test", NULL);
    const struct route *route;
    char params[64], allow[64];
    assert_int_equal(route_find(HTTP_DELETE, "/v1/requests/req-test", &route, params, sizeof params,
                                req.http.params, allow),
                     ROUTE_FOUND);
    route->handler(&r.hub, &req.http, &other.sink);
    memsink_wait(&other);
    assert_int_equal(other.status, 200);
    memsink_deinit(&other);
    memsink_wait(&r.sink);
    assert_non_null(strstr(buf_str(&r.sink.body), "\"code\":\"cancelled\""));
    json_t *v = get(&r, "/v1/requests/req-test", 200);
    check_str(v, "state", "cancelled");
    check_str(v, "cancelled_by", "call");
    json_decref(v);
    rig_next(&r); /* again: it is over */
    call_path(&r, "/v1/requests/req-test/cancel", "");
    check_error(&r, 409, "conflict_error", "conflict");
    rig_next(&r);
    call_path(&r, "/v1/requests/nix/cancel", "");
    check_error(&r, 404, "not_found_error", "not_found");
    rig_deinit(&r);
}

static void parts_of_a_call_have_names_of_their_own(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, "swted");
    call_path(&r, "/v1/completions", "{\"prompt\":[\"a\",\"b\",\"c\"]}");
    wait_until_waiting(&r, 3);
    go(&r);
    json_decref(body_of(&r));
    json_t *v = get(&r, "/v1/requests", 200);
    assert_int_equal(json_array_size(at(v, "data")), 3);
    json_decref(v);
    for (int i = 1; i <= 3; i++) {
        char path[64];
        snprintf(path, sizeof path, i > 1 ? "/v1/requests/req-test.%d" : "/v1/requests/req-test",
                 i);
        v = get(&r, path, 200);
        check_str(v, "kind", "completion");
        json_decref(v);
    }
    rig_deinit(&r);
}

static void call_limit(struct rig *r, const char *limit)
{
    const struct route *route;
    char allow[64];
    fake_request_init(&r->req, HTTP_GET, "/v1/requests", NULL);
    r->req.query[0] = "limit";
    r->req.query[1] = limit;
    assert_int_equal(route_find(HTTP_GET, "/v1/requests", &route, r->params, sizeof r->params,
                                r->req.http.params, allow),
                     ROUTE_FOUND);
    route->handler(&r->hub, &r->req.http, &r->sink.sink);
}

static void the_list_is_newest_first(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, "sted");
    for (int i = 0; i < 5; i++) {
        char body[128];
        if (i) rig_next(&r);
        snprintf(body, sizeof body, "{" U ",\"priority\":%d}", i);
        call_path(&r, CHAT, body);
        json_decref(body_of(&r));
    }
    json_t *v = get(&r, "/v1/requests", 200);
    assert_int_equal(json_array_size(at(v, "data")), 5);
    check_int(v, "data/0/priority", 4);
    check_int(v, "data/4/priority", 0);
    json_decref(v);
    rig_next(&r); /* the query "limit" */
    call_limit(&r, "2");
    v = body_of(&r);
    assert_int_equal(json_array_size(at(v, "data")), 2);
    json_decref(v);
    static const char *const bad[] = {"0", "x", "-1", "10001", ""};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        rig_next(&r);
        call_limit(&r, bad[i]);
        check_error(&r, 400, "invalid_request_error", "invalid_request");
    }
    rig_deinit(&r);
}

static void embeddings_and_reranks_are_recorded(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, "");
    call_path(&r, "/v1/embeddings", "{\"input\":[\"a\",\"b\"]}");
    json_decref(body_of(&r));
    json_t *v = get(&r, "/v1/requests/req-test", 200);
    check_str(v, "kind", "embedding");
    check_str(v, "model", "fake-embed");
    check_int(v, "inputs", 2);
    check_int(v, "usage/prompt_tokens", 5);
    assert_true(json_is_null(at(v, "cache")));
    json_decref(v);
    rig_next(&r);
    call_path(&r, "/v1/rerank", "{\"query\":\"q\",\"documents\":[\"a\"]}");
    json_decref(body_of(&r));
    v = get(&r, "/v1/requests/req-test", 200);
    check_str(v, "kind", "rerank");
    json_decref(v);
    rig_deinit(&r);
}

/* ---- rerank -------------------------------------------------------------------------------- */

/* The fake's scores are the first numbers of its vectors: 0.6 for the first document, 0 for the
 * others. */
static void rerank_orders_the_documents(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, "");
    call_path(&r, "/v1/rerank",
              "{\"query\":\"q\",\"documents\":[\"a\",{\"text\":\"b\"},\"c\"],"
              "\"return_documents\":true,\"raw_scores\":true}");
    json_t *v = body_of(&r);
    assert_int_equal(r.sink.status, 200);
    check_int(v, "results/0/index", 0);
    check_int(v, "results/1/index", 1); /* equal scores keep their order */
    check_int(v, "results/2/index", 2);
    check_str(v, "results/1/document/text", "b");
    assert_float_equal(json_number_value(at(v, "results/0/relevance_score")), 0.6, 1e-6);
    check_int(v, "usage/total_tokens", 5);
    check_str(v, "model", "fake-embed");
    json_decref(v);
    rig_next(&r);
    call_path(&r, "/v2/rerank", "{\"query\":\"q\",\"documents\":[\"a\",\"b\"],\"top_n\":1}");
    v = body_of(&r);
    assert_int_equal(json_array_size(at(v, "results")), 1);
    assert_float_equal(json_number_value(at(v, "results/0/relevance_score")), 0.645656, 1e-5);
    assert_null(at(v, "results/0/document"));
    json_decref(v);
    rig_deinit(&r);
}

static void rerank_refuses(void **state)
{
    (void)state;
    static const struct {
        const char *body, *param;
    } cases[] = {
        {"{\"documents\":[\"a\"]}", "/query"},
        {"{\"query\":\"\",\"documents\":[\"a\"]}", "/query"},
        {"{\"query\":\"q\"}", "/documents"},
        {"{\"query\":\"q\",\"documents\":[]}", "/documents"},
        {"{\"query\":\"q\",\"documents\":\"a\"}", "/documents"},
        {"{\"query\":\"q\",\"documents\":[\"a\",3]}", "/documents/1"},
        {"{\"query\":\"q\",\"documents\":[\"a\",\"\"]}", "/documents/1"},
        {"{\"query\":\"q\",\"documents\":[{\"title\":\"a\"}]}", "/documents/0"},
        {"{\"query\":\"q\",\"documents\":[\"a\"],\"top_n\":0}", "/top_n"},
        {"{\"query\":\"q\",\"documents\":[\"a\"],\"keep_alive\":\"soon\"}", "/keep_alive"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rig r;
        rig_init(&r, "");
        call_path(&r, "/v1/rerank", cases[i].body);
        json_t *v = body_of(&r);
        assert_int_equal(r.sink.status, 400);
        check_str(v, "error/param", cases[i].param);
        json_decref(v);
        assert_int_equal(r.fake.calls, 0);
        rig_deinit(&r);
    }
    struct rig r;
    rig_init(&r, "x");
    call_path(&r, "/v1/rerank",
              "{\"query\":\"q\",\"documents\":[\"a\"],\"return_documents\":true}");
    check_error(&r, 400, "invalid_request_error", "context_length_exceeded");
    rig_deinit(&r);
}

static void a_rerank_whose_client_left(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, "w");
    call_path(&r, "/v1/rerank", "{\"query\":\"q\",\"documents\":[\"a\"]}");
    wait_until_waiting(&r, 1);
    memsink_close(&r.sink);
    rig_deinit(&r);
    assert_int_equal(r.fake.cancelled, 1);
}

/* ---- what the provider answers by itself --------------------------------------------------- */

static void control_calls_pass_their_arguments(void **state)
{
    (void)state;
    static const struct {
        enum http_method method;
        const char *path, *body;
        enum control what;
        const char *asked;
    } calls[] = {
        {HTTP_GET, "/v1/queue", NULL, CONTROL_QUEUE, "queue {}"},
        {HTTP_GET, "/v1/cache", NULL, CONTROL_CACHE, "cache {}"},
        {HTTP_GET, "/adapters", NULL, CONTROL_ADAPTERS, "adapters {}"},
        {HTTP_POST, "/v1/models/a/load", "", CONTROL_LOAD, "load {\"model\":\"a\",\"wait\":true}"},
        {HTTP_POST, "/v1/models/org/a:q4/load", "{\"keep_alive\":\"5m\",\"wait\":false}",
         CONTROL_LOAD, "load {\"model\":\"org/a:q4\",\"keep_alive\":300,\"wait\":false}"},
        {HTTP_POST, "/v1/models/load/load", "{\"keep_alive\":-1}", CONTROL_LOAD,
         "load {\"model\":\"load\",\"keep_alive\":-1,\"wait\":true}"},
        {HTTP_POST, "/v1/models/org%2Fa/unload", "", CONTROL_UNLOAD,
         "unload {\"model\":\"org/a\"}"},
        {HTTP_POST, "/v1/models/plan", "{\"model\":\"a\",\"context\":4096}", CONTROL_PLAN,
         "plan {\"model\":\"a\",\"context\":4096}"},
        {HTTP_POST, "/adapters/load", "{\"adapter_name\":\"x\",\"scale\":0.5}",
         CONTROL_ADAPTER_LOAD, "adapter_load {\"adapter_name\":\"x\",\"scale\":0.5}"},
    };
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        struct rig r;
        rig_init(&r, "");
        r.fake.answers[calls[i].what] = "{\"it\":\"is so\"}";
        call_method(&r, calls[i].method, calls[i].path, calls[i].body);
        json_t *v = body_of(&r);
        assert_int_equal(r.sink.status, 200);
        check_str(v, "it", "is so");
        json_decref(v);
        assert_string_equal(r.fake.asked, calls[i].asked);
        rig_next(&r); /* the provider fails later */
        r.fake.answers[calls[i].what] = "fail";
        call_method(&r, calls[i].method, calls[i].path, calls[i].body);
        check_error(&r, 404, "not_found_error", "model_not_found");
        rig_next(&r); /* it has no such verb */
        r.fake.answers[calls[i].what] = NULL;
        call_method(&r, calls[i].method, calls[i].path, calls[i].body);
        check_error(&r, 400, "invalid_request_error", "unsupported");
        rig_deinit(&r);
    }
}

static void control_calls_refuse_bad_bodies(void **state)
{
    (void)state;
    static const struct {
        const char *path, *body, *param;
    } cases[] = {
        {"/v1/models/a/load", "{\"keep_alive\":true}", "/keep_alive"},
        {"/v1/models/a/load", "{\"wait\":1}", "/wait"},
        {"/v1/models/plan", "{\"model\":1}", "/model"},
        {"/v1/models/plan", "{\"context\":0}", "/context"},
        {"/adapters/load", "{}", "/adapter_name"},
        {"/adapters/load", "{\"adapter_name\":\"a\",\"scale\":\"b\"}", "/scale"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rig r;
        rig_init(&r, "");
        for (int k = 0; k < CONTROL_COUNT; k++) r.fake.answers[k] = "{}";
        call_path(&r, cases[i].path, cases[i].body);
        json_t *v = body_of(&r);
        assert_int_equal(r.sink.status, 400);
        check_str(v, "error/param", cases[i].param);
        json_decref(v);
        assert_string_equal(r.fake.asked, "");
        rig_deinit(&r);
    }
    struct rig r;
    rig_init(&r, "");
    r.fake.answers[CONTROL_ADAPTER_LOAD] = "{}";
    call_path(&r, "/adapters/load", "");
    check_error(&r, 400, "invalid_request_error", "invalid_json");
    rig_deinit(&r);
}

static void health_shows_the_first_chat_model(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, "");
    call_method(&r, HTTP_GET, "/health", NULL); /* the provider can't say */
    json_t *v = body_of(&r);
    check_str(v, "status", "healthy");
    check_str(v, "model_state", "none");
    assert_true(json_is_null(at(v, "model")) && json_is_null(at(v, "adapter")));
    json_decref(v);
    r.fake.answers[CONTROL_MODELS] =
        "{\"models\":[{\"id\":\"e\",\"kind\":\"embedding\",\"state\":\"loaded\"},"
        "{\"id\":\"old\",\"kind\":\"chat\",\"state\":\"unloaded\"},"
        "{\"id\":\"m\",\"kind\":\"chat\",\"state\":\"loading\",\"progress\":0.25}]}";
    r.fake.answers[CONTROL_ADAPTERS] = "{\"current\":\"pirate\",\"adapters\":[]}";
    v = get(&r, "/health", 200);
    check_str(v, "model", "m");
    check_str(v, "model_state", "loading");
    check_str(v, "adapter", "pirate");
    assert_float_equal(json_number_value(at(v, "load_progress")), 0.25, 1e-9);
    json_decref(v);
    r.fake.answers[CONTROL_MODELS] = "fail";
    v = get(&r, "/health", 200);
    check_str(v, "model_state", "none");
    json_decref(v);
    r.fake.answers[CONTROL_MODELS] = "no JSON";
    v = get(&r, "/health", 200);
    check_str(v, "status", "healthy");
    json_decref(v);
    rig_deinit(&r);
}

/* ---- durations ----------------------------------------------------------------------------- */

static void keep_alive_as_ollama_has_it(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        int64_t ms; /* INT64_MIN: refused */
    } cases[] = {
        {"300", 300000},
        {"0.5", 500},
        {"0", KEEP_ALIVE_NONE},
        {"-1", KEEP_ALIVE_FOREVER},
        {"-0.1", KEEP_ALIVE_FOREVER},
        {"1e300", KEEP_ALIVE_FOREVER},
        {"0.0000001", 1},
        {"\"5m\"", 300000},
        {"\"1h30m\"", 5400000},
        {"\"90s\"", 90000},
        {"\"1.5h\"", 5400000},
        {"\"250ms\"", 250},
        {"\"2d\"", 172800000},
        {"\"-1s\"", KEEP_ALIVE_FOREVER},
        {"\"-1\"", KEEP_ALIVE_FOREVER},
        {"\"forever\"", KEEP_ALIVE_FOREVER},
        {"\"0\"", KEEP_ALIVE_NONE},
        {"\"0s\"", KEEP_ALIVE_NONE},
        {"\"42\"", 42000},
        {"\"\"", INT64_MIN},
        {"\"-\"", INT64_MIN},
        {"\"m\"", INT64_MIN},
        {"\"5x\"", INT64_MIN},
        {"\"5 m\"", INT64_MIN},
        {"\"1..5m\"", INT64_MIN},
        {"\"11111111111111111111111111111111111111111s\"", INT64_MIN},
        {"true", INT64_MIN},
        {"[5]", INT64_MIN},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *v;
        struct error error = {0};
        int64_t ms = 7;
        assert_int_equal(json_parse(cases[i].json, strlen(cases[i].json), &v, &error), OK);
        enum err err = keep_alive_read(v, &ms, &error);
        json_decref(v);
        if (cases[i].ms == INT64_MIN) {
            if (err != ERR_INVALID) fail_msg("%s was accepted", cases[i].json);
            assert_string_equal(error.param, "/keep_alive");
            assert_int_equal(ms, 7);
        } else if (err || ms != cases[i].ms) {
            fail_msg("%s is %lld ms", cases[i].json, (long long)ms);
        }
    }
    int64_t ms = 7;
    assert_int_equal(keep_alive_read(NULL, &ms, NULL), OK);
    assert_int_equal(ms, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_that_worked),
        cmocka_unit_test(a_request_under_way),
        cmocka_unit_test(a_request_that_failed),
        cmocka_unit_test(a_request_that_was_refused),
        cmocka_unit_test(the_client_that_left_is_named),
        cmocka_unit_test(a_call_that_cancels),
        cmocka_unit_test(parts_of_a_call_have_names_of_their_own),
        cmocka_unit_test(the_list_is_newest_first),
        cmocka_unit_test(embeddings_and_reranks_are_recorded),
        cmocka_unit_test(rerank_orders_the_documents),
        cmocka_unit_test(rerank_refuses),
        cmocka_unit_test(a_rerank_whose_client_left),
        cmocka_unit_test(control_calls_pass_their_arguments),
        cmocka_unit_test(control_calls_refuse_bad_bodies),
        cmocka_unit_test(health_shows_the_first_chat_model),
        cmocka_unit_test(keep_alive_as_ollama_has_it),
    };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
