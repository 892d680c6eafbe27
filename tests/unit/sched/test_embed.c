/* Embeddings over the fake engine: batches, limits, order, cancel, failure. */
#include "unit/sched/harness.h"

enum { INPUTS_MAX = 200 };

struct inputs {
    int32_t *tokens[INPUTS_MAX];
    size_t n_tokens[INPUTS_MAX];
    size_t n;
};

/* n inputs of `len` tokens, all different. */
static void make_inputs(struct inputs *in, size_t n, size_t len)
{
    in->n = n;
    for (size_t i = 0; i < n; i++) {
        in->n_tokens[i] = len;
        in->tokens[i] = calloc(len + 1, sizeof **in->tokens);
        for (size_t k = 0; k < len; k++) in->tokens[i][k] = (int32_t)((i * 31 + k * 7) % 256);
    }
}

static void free_inputs(struct inputs *in)
{
    for (size_t i = 0; i < in->n; i++) free(in->tokens[i]);
}

static enum err try_embed(struct fixture *f, struct client *c, const struct inputs *in,
                          int32_t priority, struct error *error)
{
    struct sched_embed e = {.model = f->model,
                            .inputs = (const int32_t *const *)in->tokens,
                            .n_tokens = in->n_tokens,
                            .n_inputs = in->n,
                            .tenant = "",
                            .priority = priority,
                            .listener = client_listen,
                            .listener_ctx = c};
    return sched_embed(f->sched, &e, &c->id, error);
}

static struct client *embed(struct fixture *f, const struct inputs *in, int32_t priority)
{
    struct client *c = client_new();
    struct error error;
    assert_int_equal(try_embed(f, c, in, priority, &error), OK);
    return c;
}

static void test_many_inputs_equal_single_ones(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, "fake:kind=embed,embd=16", some_params());
    struct inputs in;
    make_inputs(&in, 150, 20);
    int64_t batches = metric_value(METRIC_batches_total);
    struct client *all = embed(&f, &in, 50);
    client_wait(all);
    batches = metric_value(METRIC_batches_total) - batches;
    assert_int_equal(batches, 13); /* 256 / 20 = 12 inputs in a batch */
    assert_int_equal(all->error.code, OK);
    assert_int_equal(all->n_vectors, 150);
    assert_int_equal(all->n_dims, 16);
    assert_int_equal(all->usage.prompt_tokens, 150 * 20);
    for (size_t i = 0; i < 150; i += 37) {
        struct inputs one = {.tokens = {in.tokens[i]}, .n_tokens = {20}, .n = 1};
        struct client *c = embed(&f, &one, 50);
        client_wait(c);
        assert_memory_equal(c->vectors, all->vectors + i * 16, 16 * sizeof(float));
        client_free(c);
    }
    client_free(all);
    free_inputs(&in);
    fixture_close(&f);
}

/* What waits longer than it may is told so; what has begun goes on. */
static void test_deadline(void **state)
{
    (void)state;
    enum { BUSY = 32 }; /* as many as begin at once */
    struct fixture f;
    struct client *busy[BUSY];
    struct error error;
    struct inputs in;
    fixture_open(&f, "fake:kind=embed,ms=5", some_params());
    make_inputs(&in, 100, 200); /* an input in a batch */
    for (int i = 0; i < BUSY; i++) busy[i] = embed(&f, &in, 50);
    int64_t soon = clock_mono_ms() + 200;
    struct sched_embed wish = {.model = f.model,
                               .inputs = (const int32_t *const *)in.tokens,
                               .n_tokens = in.n_tokens,
                               .n_inputs = 1,
                               .tenant = "",
                               .priority = 50,
                               .deadline_ms = soon,
                               .listener = client_listen};
    struct client *late = client_new(), *patient = client_new();
    wish.listener_ctx = late;
    assert_int_equal(sched_embed(f.sched, &wish, &late->id, &error), OK);
    wish.listener_ctx = patient;
    wish.deadline_ms = soon + 600000;
    assert_int_equal(sched_embed(f.sched, &wish, &patient->id, &error), OK);
    client_wait(late);
    /* In time, or before it where it is known by then how long the others take. */
    assert_int_equal(late->error.code, late->done_ns / 1000000 >= soon ? ERR_TIMEOUT : ERR_BUSY);
    assert_false(patient->done);
    for (int i = 0; i < BUSY; i++) {
        assert_false(busy[i]->done);
        sched_cancel(f.sched, busy[i]->id);
        client_wait(busy[i]);
        client_free(busy[i]);
    }
    client_wait(patient);
    assert_int_equal(patient->error.code, OK);
    client_free(late);
    client_free(patient);
    free_inputs(&in);
    fixture_close(&f);
}

static void test_input_longer_than_the_context(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, "fake:kind=embed,ctx=64", some_params());
    struct inputs in;
    make_inputs(&in, 2, 65);
    in.n_tokens[0] = 64;
    struct client *c = client_new();
    struct error error;
    assert_int_equal(try_embed(&f, c, &in, 50, &error), ERR_CONTEXT);
    assert_non_null(strstr(error.msg, "input 1"));
    assert_non_null(strstr(error.msg, "65"));
    assert_non_null(strstr(error.msg, "64"));
    in.n = 1;
    assert_int_equal(try_embed(&f, c, &in, 50, &error), OK);
    client_wait(c);
    assert_int_equal(c->error.code, OK);
    in.tokens[0][5] = 262; /* out of the vocabulary */
    assert_int_equal(try_embed(&f, c, &in, 50, &error), ERR_INVALID);
    assert_non_null(strstr(error.msg, "262"));
    in.tokens[0][5] = -1;
    assert_int_equal(try_embed(&f, c, &in, 50, &error), ERR_INVALID);
    in.tokens[0][5] = 1;
    in.n = 2;
    in.n_tokens[1] = 0;
    assert_int_equal(try_embed(&f, c, &in, 50, &error), ERR_INVALID);
    in.n = 0;
    assert_int_equal(try_embed(&f, c, &in, 50, &error), ERR_INVALID);
    in.n = 2;
    client_free(c);
    free_inputs(&in);
    fixture_close(&f);
}

static void test_input_longer_than_a_usual_batch(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, "fake:kind=embed,ctx=2000", some_params());
    struct inputs in;
    make_inputs(&in, 3, 1500);
    struct client *c = embed(&f, &in, 50);
    client_wait(c);
    assert_int_equal(c->error.code, OK);
    client_free(c);
    free_inputs(&in);
    fixture_close(&f);
}

/* An important request passes a long list of inputs; a cancel ends the list at once. */
static void test_priority_and_cancel_between_batches(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, "fake:kind=embed,ms=20", some_params());
    struct inputs many, one;
    make_inputs(&many, 200, 500);
    make_inputs(&one, 1, 10);
    struct client *list = embed(&f, &many, 50); /* 200 batches, 4 s */
    sleep_ms(30);
    struct client *quick = embed(&f, &one, 10);
    client_wait(quick);
    assert_int_equal(quick->error.code, OK);
    assert_false(list->done);
    sched_cancel(f.sched, list->id);
    client_wait(list);
    assert_int_equal(list->error.code, ERR_CANCELLED);
    assert_null(list->vectors);
    client_free(list);
    client_free(quick);
    free_inputs(&many);
    free_inputs(&one);
    fixture_close(&f);
}

static void test_requests_share_a_batch(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, "fake:kind=embed,ms=20", some_params());
    struct inputs in;
    make_inputs(&in, 1, 10);
    int64_t batches = metric_value(METRIC_batches_total);
    struct client *c[20];
    for (int i = 0; i < 20; i++) c[i] = embed(&f, &in, 50);
    for (int i = 0; i < 20; i++) {
        client_wait(c[i]);
        assert_memory_equal(c[i]->vectors, c[0]->vectors, c[0]->n_dims * sizeof(float));
    }
    for (int i = 0; i < 20; i++) client_free(c[i]);
    assert_in_range(metric_value(METRIC_batches_total) - batches, 1, 4);
    free_inputs(&in);
    fixture_close(&f);
}

static void test_failed_batch(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, "fake:kind=embed,fail_decode=2", some_params());
    struct inputs in;
    make_inputs(&in, 40, 30);
    struct client *c = embed(&f, &in, 50);
    client_wait(c);
    assert_int_equal(c->error.code, ERR_ENGINE);
    client_free(c);
    c = embed(&f, &in, 50);
    client_wait(c);
    assert_int_equal(c->error.code, OK);
    client_free(c);
    free_inputs(&in);
    fixture_close(&f);
}

static void test_generating_with_an_embedding_model(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, "fake:kind=embed", some_params());
    struct sched_model *chat = load_model(f.sched, "chat", "fake:");
    struct engine_prompt *p = make_prompt(chat, "x");
    struct client *c = client_new();
    struct sched_generate g = {
        .model = f.model, .prompt = p, .n = 1, .listener = client_listen, .listener_ctx = c};
    struct error error;
    assert_int_equal(sched_generate(f.sched, &g, &c->id, &error), ERR_UNSUPPORTED);
    engine_prompt_free(p);
    client_free(c);
    fixture_close(&f);
}

#if HEARTH_FAULTS
static void test_injected_allocation_faults(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, "fake:kind=embed", some_params());
    struct inputs in;
    make_inputs(&in, 3, 5);
    for (int nth = 1; nth < 6; nth++) {
        struct client *c = client_new();
        struct error error;
        fault_arm(FAULT_alloc, nth, false);
        enum err e = try_embed(&f, c, &in, 50, &error);
        if (!e) client_wait(c);
        fault_arm(FAULT_alloc, 0, false);
        if (!e) e = c->error.code;
        assert_true(nth > 3 ? e == OK : e == ERR_NOMEM);
        client_free(c);
    }
    free_inputs(&in);
    fixture_close(&f);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_inputs_equal_single_ones),
        cmocka_unit_test(test_deadline),
        cmocka_unit_test(test_input_longer_than_the_context),
        cmocka_unit_test(test_input_longer_than_a_usual_batch),
        cmocka_unit_test(test_priority_and_cancel_between_batches),
        cmocka_unit_test(test_requests_share_a_batch),
        cmocka_unit_test(test_failed_batch),
        cmocka_unit_test(test_generating_with_an_embedding_model),
#if HEARTH_FAULTS
        cmocka_unit_test(test_injected_allocation_faults),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
