/* Measuring a model on purpose (sched/measure.h), over the fake engine, whose steps take as long as
 * its name says, and once over the built-in model. */
#include "sched/measure.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/str.h"

struct rig {
    struct engine *engine;
    struct engine_model *model;
    struct measure_params params;
    struct measure result;
    char said[256]; /* what was measured, in order */
    int stop_after; /* steps; 0 = never */
};

static bool on_progress(void *ctx, const char *what)
{
    struct rig *r = ctx;
    char before[256];
    str_copy(before, sizeof before, r->said);
    str_printf(r->said, sizeof r->said, "%s%s;", before, what);
    return !r->stop_after || --r->stop_after > 0;
}

static void open_rig(struct rig *r, const char *path)
{
    struct error error;
    *r = (struct rig){0};
    assert_int_equal(engine_open_fake(&r->engine, &error), OK);
    struct engine_model_params params = {.path = path};
    assert_int_equal(engine_model_load(r->engine, &params, &r->model, &error), OK);
    r->params = (struct measure_params){.model = r->model,
                                        .max_threads = 1,
                                        .n_parallel = 8,
                                        .budget_ms = 600,
                                        .on_progress = on_progress,
                                        .progress_ctx = r};
}

static void close_rig(struct rig *r)
{
    engine_model_free(r->model);
    engine_close(r->engine);
}

static void test_finds_the_costs(void **state)
{
    (void)state;
    struct rig r;
    struct error error;
    open_rig(&r, "fake:ctx=4096,ms=2,token_us=200");
    assert_int_equal(measure_model(&r.params, &r.result, &error), OK);
    const struct measure *m = &r.result;
    assert_string_equal(r.said,
                        "threads;sequences together;prompts;pieces of prompts;types of KV cells;");
    assert_int_equal(m->n_threads, 1);
    assert_int_equal(m->threads[0].n, 1);
    assert_true(m->threads[0].decode_ms >= 2.2);
    /* 1, 2, ... 6, 8 together: 2 ms and 0.2 ms each, never less, and on a busy machine more */
    assert_int_equal(m->n_widths, 7);
    assert_int_equal(m->widths[6].n, 8);
    for (size_t i = 0; i < m->n_widths; i++)
        assert_true(m->widths[i].ms >= 2 + 0.2 * m->widths[i].n);
    assert_true((double)m->profile.decode_ms[8] >= 3.6);
    assert_int_equal(m->profile.n_threads, 1);
    /* Together they are faster and faster: all eight are worth having. */
    assert_int_equal(m->profile.n_parallel, 8);
    assert_true((double)m->profile.prefill_token_ms > 0.1);
    assert_true(m->profile.prefill_largest >= 64);
    close_rig(&r);
}

/* A slow model is measured within the time, with shorter prompts. */
static void test_keeps_to_the_budget(void **state)
{
    (void)state;
    struct rig r;
    struct error error;
    open_rig(&r, "fake:ctx=4096,ms=1,token_us=4000");
    assert_int_equal(measure_model(&r.params, &r.result, &error), OK);
    assert_int_equal(r.result.n_ubatches, 1);
    assert_int_equal(r.result.ubatches[0].n, 128);
    assert_int_equal(r.result.profile.n_ubatch, 0); /* nothing to compare it with */
    close_rig(&r);
}

/* The smaller cells where they cost nothing; what costs more stays f16, and so does what could not
 * be measured far enough behind other tokens. */
static void test_types_of_cells(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        size_t n;
        enum engine_kv_type best;
    } cases[] = {
        {"fake:cell=64,f16_us=1000", 2, ENGINE_KV_Q8_0},
        {"fake:cell=64,q8_us=1000", 2, ENGINE_KV_F16},
        {"fake:cell=64,f16_us=1000,only_f16=1", 1, ENGINE_KV_F16},
        {"fake:cell=64,token_us=1000,f16_us=30000", 2, ENGINE_KV_F16},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rig r;
        struct error error;
        open_rig(&r, cases[i].path);
        r.params.budget_ms = 3000;
        assert_int_equal(measure_model(&r.params, &r.result, &error), OK);
        const struct measure *m = &r.result;
        assert_int_equal(m->n_kvs, cases[i].n);
        assert_int_equal(m->kvs[0].type, ENGINE_KV_F16);
        assert_true(m->kvs[0].bytes_per_token == 64);
        if (m->n_kvs > 1) {
            assert_true(m->kvs[1].bytes_per_token == 34);
            assert_int_equal(m->kvs[0].decode_ms > m->kvs[1].decode_ms, i != 1);
            assert_int_equal(m->kvs[0].prefill_tokens_per_s < m->kvs[1].prefill_tokens_per_s,
                             i != 1);
        }
        assert_int_equal(m->kv_depth >= 1024, i != 3);
        assert_int_equal(m->profile.kv_type, cases[i].best);
        close_rig(&r);
    }
}

static void test_given_threads(void **state)
{
    (void)state;
    struct rig r;
    struct error error;
    open_rig(&r, "fake:ctx=4096,weights=1000000000");
    r.params.n_threads = 3;
    assert_int_equal(measure_model(&r.params, &r.result, &error), OK);
    assert_int_equal(r.result.n_threads, 1);
    assert_int_equal(r.result.profile.n_threads, 3);
    close_rig(&r);
}

static void test_one_sequence(void **state)
{
    (void)state;
    struct rig r;
    struct error error;
    open_rig(&r, "fake:ctx=4096");
    r.params.n_parallel = 1;
    r.params.max_threads = 64;
    assert_int_equal(measure_model(&r.params, &r.result, &error), OK);
    assert_int_equal(r.result.n_threads,
                     1); /* a small model: more would only wait for each other */
    assert_int_equal(r.result.n_widths, 1);
    assert_int_equal(r.result.profile.n_parallel, 1);
    close_rig(&r);
}

static void test_stops_when_told(void **state)
{
    (void)state;
    for (int steps = 1; steps <= 5; steps++) {
        struct rig r;
        struct error error;
        open_rig(&r, "fake:ctx=4096");
        r.stop_after = steps;
        assert_int_equal(measure_model(&r.params, &r.result, &error), ERR_CANCELLED);
        close_rig(&r);
    }
}

static void test_failures_are_told(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        enum err err;
    } cases[] = {
        {"fake:kind=embed", ERR_UNSUPPORTED}, {"fake:kind=rerank", ERR_UNSUPPORTED},
        {"fake:fail_ctx=1", ERR_NOMEM},       {"fake:fail_decode=1", ERR_ENGINE},
        {"fake:fail_decode=3", ERR_ENGINE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rig r;
        struct error error;
        open_rig(&r, cases[i].path);
        assert_int_equal(measure_model(&r.params, &r.result, &error), cases[i].err);
        assert_true(*error.msg);
        close_rig(&r);
    }
}

static void test_the_builtin_model(void **state)
{
    (void)state;
    struct rig r = {0};
    struct error error;
    assert_int_equal(engine_open_llama(NULL, &r.engine, &error), OK);
    struct engine_model_params load = {.path = HEARTH_SOURCE_DIR "/models/hearth-tiny.gguf"};
    assert_int_equal(engine_model_load(r.engine, &load, &r.model, &error), OK);
    r.params = (struct measure_params){
        .model = r.model, .max_threads = 1, .n_parallel = 4, .budget_ms = 300};
    assert_int_equal(measure_model(&r.params, &r.result, &error), OK);
    assert_int_equal(r.result.n_widths, 4);
    for (int i = 1; i <= 4; i++) assert_true(r.result.profile.decode_ms[i] > 0);
    assert_int_equal(r.result.n_kvs, ENGINE_KV_TYPES);
    assert_true(r.result.kvs[1].bytes_per_token * 64 == r.result.kvs[0].bytes_per_token * 34);
    close_rig(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_finds_the_costs),   cmocka_unit_test(test_keeps_to_the_budget),
        cmocka_unit_test(test_types_of_cells),    cmocka_unit_test(test_given_threads),
        cmocka_unit_test(test_one_sequence),      cmocka_unit_test(test_stops_when_told),
        cmocka_unit_test(test_failures_are_told), cmocka_unit_test(test_the_builtin_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
