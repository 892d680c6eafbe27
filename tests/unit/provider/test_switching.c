/* Models that come and go under requests: loads that are told, keep_alive, models that take turns,
 * reranking, embeddings of a chat model, and the verbs about models. */
#include "unit/provider/switching.h"

static void test_a_load_is_told_and_timed(void **state)
{
    (void)state;
    struct fixture f;
    open_with(&f, some_params(fake()));
    struct client *c = ask(&f, chat_request("fake:load_ms=120", "hello"));
    assert_int_equal(c->error.code, OK);
    assert_string_equal(c->text[0].data, "hello");
    assert_true(c->n_loading >= 1);
    assert_true(c->timings.load_ns >= 100 * 1000000);
    assert_true(c->timings.first_token_ns >= c->timings.load_ns);
    client_free(c);
    c = ask(&f, chat_request("fake:load_ms=120", "again"));
    assert_int_equal(c->n_loading, 0);
    assert_int_equal(c->timings.load_ns, 0);
    client_free(c);
    fixture_close(&f, 0);
}

static void test_keep_alive_of_a_request(void **state)
{
    (void)state;
    struct fixture f;
    open_with(&f, some_params(fake()));
    struct gen_request *req = chat_request("fake:ctx=100", "hello");
    req->keep_alive_ms = KEEP_ALIVE_NONE;
    struct client *c = ask(&f, req);
    client_free(c);
    int64_t end = clock_mono_ms() + WAIT_MS;
    while (in_memory(&f, "fake:ctx=100") && clock_mono_ms() < end) sleep_ms(1);
    assert_false(in_memory(&f, "fake:ctx=100"));
    c = ask(&f, chat_request("fake:ctx=100", "and again")); /* which stays */
    assert_string_equal(c->text[0].data, "and again");
    client_free(c);
    sleep_ms(20);
    assert_true(in_memory(&f, "fake:ctx=100"));
    fixture_close(&f, 0);
}

/* Two models in exclusive mode under constant load: every request gets its answer, from the model
 * that it named, however often they take turns. */
static void test_models_take_turns_and_nothing_is_lost(void **state)
{
    (void)state;
    enum { REQUESTS = 40 };
    struct fixture f;
    struct sched_params params = some_params(fake());
    params.exclusive = true;
    params.switch_wait_ms = 10;
    params.n_parallel = 2;
    open_with(&f, params);
    struct client *c[REQUESTS];
    char words[REQUESTS][32];
    for (int i = 0; i < REQUESTS; i++) {
        snprintf(words[i], sizeof words[i], "request number %d", i);
        c[i] = send_request(
            &f, chat_request(i % 2 ? "fake:ms=1,ctx=500" : "fake:ms=1,ctx=600", words[i]));
    }
    for (int i = 0; i < REQUESTS; i++) {
        client_wait(c[i]);
        assert_int_equal(c[i]->error.code, OK);
        assert_string_equal(c[i]->text[0].data, words[i]);
        assert_string_equal(c[i]->model, i % 2 ? "fake:ms=1,ctx=500" : "fake:ms=1,ctx=600");
        assert_int_equal(c[i]->n_started, 1);
        client_free(c[i]);
    }
    fixture_close(&f, 0);
}

static void test_closing_while_models_switch(void **state)
{
    (void)state;
    struct fixture f;
    struct sched_params params = some_params(fake());
    params.exclusive = true;
    params.switch_wait_ms = 1;
    open_with(&f, params);
    struct client *c[12];
    for (int i = 0; i < 12; i++)
        c[i] = send_request(&f, chat_request(i % 2 ? "fake:ms=2,endless=1,load_ms=20"
                                                   : "fake:ms=2,endless=1,load_ms=30",
                                             "go"));
    sleep_ms(60);
    fixture_close(&f, 0);
    for (int i = 0; i < 12; i++) {
        assert_int_equal(c[i]->n_last, 1);
        client_free(c[i]);
    }
}

static void test_rerank(void **state)
{
    (void)state;
    struct fixture f;
    open_with(&f, some_params(fake()));
    const char *documents[] = {"xyz", "abcdef", "abc"};
    struct embed_request *req = embed_request("", 3, documents);
    req->query = "abcd";
    struct client *c = embed(&f, req);
    assert_int_equal(c->error.code, OK);
    assert_int_equal(c->n_vectors, 3);
    assert_int_equal(c->n_dims, 1);
    assert_true(c->vectors[0] == 0 && c->vectors[1] == 1);
    assert_true(c->vectors[2] > 0.7f && c->vectors[2] < 0.8f);
    client_free(c);
    req = embed_request("fake:kind=embed", 3, documents);
    req->query = "abcd";
    c = embed(&f, req);
    assert_int_equal(c->error.code, ERR_UNSUPPORTED);
    assert_non_null(strstr(c->error.msg, "can't rank documents"));
    client_free(c);
    req = embed_request("fake:kind=rerank,ctx=20", 3, documents);
    req->query = "a query that is longer than twenty tokens";
    c = embed(&f, req);
    assert_int_equal(c->error.code, ERR_CONTEXT);
    assert_non_null(strstr(c->error.msg, "document 0"));
    client_free(c);
    fixture_close(&f, 0);
}

static void test_the_built_in_rerank_model(void **state)
{
    (void)state;
    struct fixture f;
    struct engine *engine;
    struct error error;
    assert_int_equal(engine_open_llama(HEARTH_BINARY_DIR "/lib/hearth", &engine, &error), OK);
    fixture_open(&f, engine, "", "", 1);
    const char *documents[] = {"Bread is made of flour, water and salt.",
                               "Paris is the capital of France.", "The sun is a star."};
    struct embed_request *req = embed_request("", 3, documents);
    req->query = "What is the capital of France?";
    struct client *c = embed(&f, req);
    assert_int_equal(c->error.code, OK);
    assert_string_equal(c->model, BUILTIN_RERANK_MODEL);
    assert_true(c->vectors[1] > c->vectors[0] && c->vectors[1] > c->vectors[2]);
    client_free(c);
    fixture_close(&f, 0);
}

static void test_a_chat_model_embeds_beside_its_chats(void **state)
{
    (void)state;
    struct fixture f;
    open_with(&f, some_params(fake()));
    struct client *chat = ask(&f, chat_request("fake:embd=8", "hello"));
    const char *texts[] = {"one", "two", "one"};
    struct client *c = embed(&f, embed_request("fake:embd=8", 3, texts));
    assert_int_equal(c->error.code, OK);
    assert_string_equal(c->model, "fake:embd=8");
    assert_int_equal(c->n_dims, 8);
    assert_memory_equal(c->vectors, c->vectors + 16, 8 * sizeof(float));
    assert_memory_not_equal(c->vectors, c->vectors + 8, 8 * sizeof(float));
    assert_true(in_memory(&f, "fake:embd=8 (embeddings)"));
    client_free(c);
    c = embed(&f, embed_request("fake:embd=8", 1, texts)); /* it is there now */
    assert_int_equal(c->error.code, OK);
    client_free(c);
    client_free(chat);
    json_decref(control_ok(&f, CONTROL_UNLOAD, "{\"model\":\"fake:embd=8\"}"));
    fixture_close(&f, 0);
}

static void test_the_verbs(void **state)
{
    (void)state;
    struct fixture f;
    struct sched_params params = some_params(fake());
    params.memory = 3000;
    open_with(&f, params);
    json_t *a = control_ok(&f, CONTROL_LOAD,
                           "{\"model\":\"fake:weights=2000,ctx=10\",\"keep_alive\":\"5m\"}");
    assert_string_equal(json_string_value(json_object_get(a, "state")), "loaded");
    const json_t *memory = json_object_get(a, "memory");
    assert_int_equal(json_integer_value(json_object_get(memory, "weights")), 2000);
    assert_int_equal(json_array_size(json_object_get(a, "evicted")), 0);
    json_decref(a);

    int64_t end = clock_mono_ms() + WAIT_MS; /* evictable when the load's own job is gone */
    size_t n = 0;
    while (n != 1 && clock_mono_ms() < end) {
        a = control_ok(&f, CONTROL_PLAN, "{\"model\":\"fake:weights=2500,ctx=10\"}");
        n = json_array_size(json_object_get(a, "evict"));
        assert_true(json_is_true(json_object_get(a, "fits")));
        json_decref(a);
    }
    assert_int_equal(n, 1);
    a = control_ok(&f, CONTROL_LOAD, "{\"model\":\"fake:weights=2500,ctx=10\"}");
    assert_int_equal(json_array_size(json_object_get(a, "evicted")), 1);
    json_decref(a);

    a = control_ok(&f, CONTROL_MODELS, "{}");
    const json_t *models = json_object_get(a, "models");
    assert_int_equal(json_array_size(models), 2);
    const json_t *first = json_array_get(models, 0), *second = json_array_get(models, 1);
    assert_string_equal(json_string_value(json_object_get(first, "state")), "unloaded");
    assert_int_equal(json_integer_value(json_object_get(first, "keep_alive_ms")), 300000);
    assert_string_equal(json_string_value(json_object_get(second, "state")), "loaded");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(a, "memory"), "used")),
                     2500);
    json_decref(a);

    struct error error;
    assert_null(control(&f, CONTROL_LOAD, "{\"model\":\"fake:weights=9000\"}", &error));
    assert_int_equal(error.code, ERR_NOMEM);
    assert_null(control(&f, CONTROL_LOAD, "{\"model\":\"nothing\"}", &error));
    assert_int_equal(error.code, ERR_NO_MODEL);
    assert_null(control(&f, CONTROL_LOAD, "{\"model\":\"fake:\",\"keep_alive\":\"soon\"}", &error));
    assert_int_equal(error.code, ERR_INVALID);
    assert_string_equal(error.param, "/keep_alive");
    a = control_ok(&f, CONTROL_UNLOAD, "{\"model\":\"fake:weights=2500,ctx=10\"}");
    assert_string_equal(json_string_value(json_object_get(a, "state")), "unloaded");
    json_decref(a);
    a = control_ok(&f, CONTROL_UNLOAD, "{\"model\":\"fake:ctx=77\"}"); /* never loaded: as well */
    assert_string_equal(json_string_value(json_object_get(a, "state")), "unloaded");
    json_decref(a);
    fixture_close(&f, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_load_is_told_and_timed),
        cmocka_unit_test(test_keep_alive_of_a_request),
        cmocka_unit_test(test_models_take_turns_and_nothing_is_lost),
        cmocka_unit_test(test_closing_while_models_switch),
        cmocka_unit_test(test_rerank),
        cmocka_unit_test(test_the_built_in_rerank_model),
        cmocka_unit_test(test_a_chat_model_embeds_beside_its_chats),
        cmocka_unit_test(test_the_verbs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
