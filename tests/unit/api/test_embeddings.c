/* POST /v1/embeddings over a provider that plays scripts (rig.h): encodings, cut vectors, errors.
 */
#include "rig.h"

static json_t *embed(struct rig *r, const char *body)
{
    call_path(r, "/v1/embeddings", body);
    return body_of(r);
}

static const json_t *vector(const json_t *v, size_t i)
{
    return json_object_get(json_array_get(json_object_get(v, "data"), i), "embedding");
}

static void embeddings_as_numbers(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, "");
    json_t *v = embed(&r, "{\"input\":[\"a\",\"b\"]}");
    assert_int_equal(r.sink.status, 200);
    assert_string_equal(json_string_value(json_object_get(v, "object")), "list");
    assert_string_equal(json_string_value(json_object_get(v, "model")), "fake-embed");
    assert_int_equal(json_array_size(vector(v, 0)), 4);
    assert_true((float)json_number_value(json_array_get(vector(v, 0), 0)) == 0.6f);
    assert_true((float)json_number_value(json_array_get(vector(v, 1), 2)) == 0.8f);
    json_decref(v);
    rig_deinit(&r);
}

static void embeddings_as_base64(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, "");
    json_t *v = embed(&r, "{\"input\":\"a\",\"encoding_format\":\"base64\"}");
    /* 0.6f = 9a 99 19 3f, 0.8f = cd cc 4c 3f, two zeros */
    assert_string_equal(json_string_value(vector(v, 0)), "mpkZP83MTD8AAAAAAAAAAA==");
    json_decref(v);
    rig_deinit(&r);
}

static void embeddings_cut_short_are_unit_vectors(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, "");
    json_t *v = embed(&r, "{\"input\":[\"a\",\"b\"],\"dimensions\":2}");
    assert_int_equal(json_array_size(vector(v, 0)), 2);
    assert_float_equal(json_number_value(json_array_get(vector(v, 0), 1)), 0.8, 1e-6);
    assert_float_equal(json_number_value(json_array_get(vector(v, 1), 1)), 1, 1e-6); /* was 0.6 */
    json_decref(v);
    rig_deinit(&r);
    /* What is left may be all zeros: it stays so. */
    rig_init(&r, "");
    v = embed(&r, "{\"input\":[\"a\",\"b\",\"c\"],\"dimensions\":1}");
    assert_float_equal(json_number_value(json_array_get(vector(v, 2), 0)), 0, 0);
    json_decref(v);
    rig_deinit(&r);
}

static void embeddings_with_too_many_dimensions(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, "");
    json_t *v = embed(&r, "{\"input\":\"a\",\"dimensions\":5}");
    assert_string_equal(json_string_value(json_object_get(json_object_get(v, "error"), "param")),
                        "/dimensions");
    assert_int_equal(r.sink.status, 400);
    json_decref(v);
    rig_deinit(&r);
}

static void embeddings_that_fail(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, "x");
    call_path(&r, "/v1/embeddings", "{\"input\":\"a\"}");
    check_error(&r, 400, "invalid_request_error", "context_length_exceeded");
    rig_deinit(&r);
    rig_init(&r, "");
    r.fake.refuse_from = 1;
    call_path(&r, "/v1/embeddings", "{\"input\":\"a\"}");
    check_error(&r, 429, "rate_limit_error", "queue_full");
    rig_deinit(&r);
}

static void big_embeddings_are_written_on_the_pool(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, "");
    r.fake.n_dims = 10000;
    json_t *v = embed(&r, "{\"input\":[\"a\",\"b\",\"c\"]}");
    assert_int_equal(json_array_size(vector(v, 2)), 10000);
    assert_true((float)json_number_value(json_array_get(vector(v, 2), 2)) == 0.6f);
    assert_string_equal(json_string_value(json_object_get(v, "model")), "fake-embed");
    json_decref(v);
    rig_deinit(&r);
}

static void embeddings_of_a_client_that_went(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, "w");
    call_path(&r, "/v1/embeddings", "{\"input\":\"a\"}");
    wait_until_waiting(&r, 1);
    memsink_close(&r.sink);
    rig_deinit(&r);
    assert_int_equal(r.fake.cancelled, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(embeddings_as_numbers),
        cmocka_unit_test(embeddings_as_base64),
        cmocka_unit_test(embeddings_cut_short_are_unit_vectors),
        cmocka_unit_test(embeddings_with_too_many_dimensions),
        cmocka_unit_test(embeddings_that_fail),
        cmocka_unit_test(big_embeddings_are_written_on_the_pool),
        cmocka_unit_test(embeddings_of_a_client_that_went),
    };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
