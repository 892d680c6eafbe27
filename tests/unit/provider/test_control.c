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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_arguments_are_refused_without_an_answer),
        cmocka_unit_test(test_queue),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
