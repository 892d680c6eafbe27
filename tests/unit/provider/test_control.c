/* What can be asked of the local provider beside generating: bad arguments, unknown verbs, and the
 * answers of the verbs that this folder's other tests don't ask. */
#include "unit/provider/harness.h"

struct answer {
    int n_calls;
    struct error error;
    json_t *json;
};

static void on_answer(void *ctx, const struct error *error, const char *text, size_t len)
{
    struct answer *a = ctx;
    struct error bad;
    a->n_calls++;
    if (error)
        a->error = *error;
    else
        assert_int_equal(json_parse(text, len, &a->json, &bad), OK);
}

static int64_t number(const struct answer *a, const char *name)
{
    const json_t *v = json_object_get(a->json, name);
    assert_true(json_is_integer(v));
    return json_integer_value(v);
}

static void open_fake(struct fixture *f)
{
    struct engine *engine;
    struct error error;
    assert_int_equal(engine_open_fake(&engine, &error), OK);
    fixture_open(f, engine, "fake:ms=1", "fake:kind=embed", 1);
}

static void test_bad_arguments_are_refused_without_an_answer(void **state)
{
    (void)state;
    struct fixture f;
    struct answer a = {0};
    struct error error;
    open_fake(&f);
    const char *const bad[] = {"", "{", "[]", "7", "{} x"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        enum err e = provider_control(f.local, CONTROL_QUEUE, bad[i], on_answer, &a, &error);
        assert_true(e == ERR_JSON || e == ERR_INVALID);
    }
    assert_int_equal(a.n_calls, 0);
    fixture_close(&f, 0);
}

static void test_queue(void **state)
{
    (void)state;
    struct fixture f;
    struct answer a = {0};
    struct error error;
    open_fake(&f);
    assert_int_equal(provider_control(f.local, CONTROL_QUEUE, "{}", on_answer, &a, &error), OK);
    assert_int_equal(a.n_calls, 1);
    assert_int_equal(number(&a, "depth"), 0);
    assert_int_equal(number(&a, "running"), 0);
    assert_int_equal(number(&a, "capacity"), 1000);
    json_decref(a.json);
    fixture_close(&f, 0);
}

static void test_queue_with_requests(void **state)
{
    (void)state;
    struct fixture f;
    struct answer a = {0};
    struct error error;
    open_fake(&f);
    struct gen_request *req = chat_request("fake:ms=1", "x");
    req->sampling.ignore_eos = true;
    struct client *busy = send_request(&f, req), *waiting[3];
    client_until(busy, busy->n_texts > 50); /* its speed is known */
    for (int i = 0; i < 3; i++) {
        req = chat_request("fake:ms=1", "x");
        req->priority = 40 + i / 2;
        waiting[i] = send_request(&f, req);
        client_until(waiting[i], waiting[i]->n_queued > 0);
    }
    assert_true(waiting[1]->wait_ms >= 0);
    sleep_ms(30);
    assert_int_equal(provider_control(f.local, CONTROL_QUEUE, "{}", on_answer, &a, &error), OK);
    assert_int_equal(number(&a, "depth"), 3);
    assert_int_equal(number(&a, "running"), 1);
    assert_int_equal(number(&a, "waiting"), 3);
    assert_int_equal(number(&a, "tenants"), 1);
    assert_int_equal(number(&a, "rejected"), 0);
    const json_t *levels = json_object_get(a.json, "by_priority");
    assert_int_equal(json_array_size(levels), 2);
    const json_t *level = json_array_get(levels, 0);
    assert_int_equal(json_integer_value(json_object_get(level, "priority")), 40);
    assert_int_equal(json_integer_value(json_object_get(level, "waiting")), 2);
    const json_t *model = json_array_get(json_object_get(a.json, "models"), 0);
    assert_string_equal(json_string_value(json_object_get(model, "id")), "fake:ms=1");
    assert_int_equal(json_integer_value(json_object_get(model, "waiting")), 3);
    assert_true(json_is_integer(json_object_get(model, "wait_estimate_ms")));
    json_decref(a.json);
    provider_cancel(f.local, busy->id);
    client_wait(busy);
    client_free(busy);
    for (int i = 0; i < 3; i++) {
        client_wait(waiting[i]);
        client_free(waiting[i]);
    }
    fixture_close(&f, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_arguments_are_refused_without_an_answer),
        cmocka_unit_test(test_queue),
        cmocka_unit_test(test_queue_with_requests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
