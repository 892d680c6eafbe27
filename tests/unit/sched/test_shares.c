/* Whose batch comes next when several models have work, over the fake engine, whose batches take as
 * long as they are told to. */
#include "unit/sched/harness.h"

static enum err try_embed(struct fixture *f, struct sched_model *m, struct client *c, size_t n,
                          int32_t priority, struct error *error)
{
    static const int32_t tokens[400] = {1, 2, 3};
    const int32_t **inputs = calloc(n, sizeof *inputs);
    size_t *lens = calloc(n, sizeof *lens);
    for (size_t i = 0; i < n; i++) {
        inputs[i] = tokens;
        lens[i] = 400; /* one in a batch */
    }
    struct sched_embed e = {.model = m,
                            .inputs = inputs,
                            .n_tokens = lens,
                            .n_inputs = n,
                            .tenant = "",
                            .priority = priority,
                            .listener = client_listen,
                            .listener_ctx = c};
    enum err code = sched_embed(f->sched, &e, &c->id, error);
    free(inputs);
    free(lens);
    return code;
}

static struct client *embed(struct fixture *f, struct sched_model *m, size_t n, int32_t priority)
{
    struct client *c = client_new();
    struct error error;
    assert_int_equal(try_embed(f, m, c, n, priority, &error), OK);
    return c;
}

static size_t len_of(struct client *c)
{
    pthread_mutex_lock(&c->lock);
    size_t len = c->text[0].len;
    pthread_mutex_unlock(&c->lock);
    return len;
}

/* The machine may be slow and busy, so shares are counted in batches of the same length, not in
 * time: a token of a stream and an input are one batch of 2 ms each. */
static int64_t inputs_done(void)
{
    return metric_value(METRIC_embedding_tokens_total) / 400;
}

static void test_streams_hardly_notice_embeddings_which_go_on_all_the_same(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, "fake:ms=2,endless=1", some_params());
    struct sched_model *embedder = load_model(f.sched, "embedder", "fake:kind=embed,ms=2");
    struct client *stream = ask_endless(&f);
    struct client *job = embed(&f, embedder, 100000, PRIORITY_DEFAULT);
    int64_t inputs = inputs_done(), tokens = (int64_t)len_of(stream);
    client_until(stream, (int64_t)stream->text[0].len > tokens + 500);
    inputs = inputs_done() - inputs;
    assert_in_range(inputs, 20, 75); /* 8 % of the time would be 43 */
    cancel_and_free(&f, stream);
    inputs = inputs_done(); /* all of the time now */
    while (inputs_done() < inputs + 100) sleep_ms(5);
    cancel_and_free(&f, job);
    fixture_close(&f);
}

static void test_urgent_embeddings_are_no_background(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, "fake:ms=2,endless=1", some_params());
    struct sched_model *embedder = load_model(f.sched, "embedder", "fake:kind=embed,ms=2");
    struct client *stream = ask_endless(&f);
    size_t tokens = len_of(stream);
    struct client *job = embed(&f, embedder, 50, 10);
    client_wait(job);
    assert_true(len_of(stream) - tokens < 100); /* as background 575 */
    client_free(job);
    cancel_and_free(&f, stream);
    fixture_close(&f);
}

/* Two chat models share by the priorities of what they run. */
static void test_models_share_by_priority(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, "fake:ms=2,endless=1", some_params());
    struct sched_model *second = load_model(f.sched, "second", "fake:ms=2,endless=1");
    struct error error;
    struct client *a = ask_endless(&f), *b = client_new(), *c = client_new();
    assert_int_equal(try_ask_model(&f, second, b, (struct ask){.text = "b"}, &error), OK);
    client_until(b, b->text[0].len > 0);
    size_t of_a = len_of(a), of_b = len_of(b);
    client_until(a, a->text[0].len > of_a + 200);
    of_a = len_of(a) - of_a;
    of_b = len_of(b) - of_b;
    assert_true(of_a * 10 > of_b * 7 && of_b * 10 > of_a * 7); /* as much each */
    cancel_and_free(&f, b);
    struct ask urgent = {.text = "c", .priority = 18}; /* 32 steps better: four times the weight */
    assert_int_equal(try_ask_model(&f, second, c, urgent, &error), OK);
    client_until(c, c->text[0].len > 0);
    of_a = len_of(a);
    size_t of_c = len_of(c);
    client_until(c, c->text[0].len > of_c + 300);
    of_a = len_of(a) - of_a;
    of_c = len_of(c) - of_c;
    assert_true(of_c > 2 * of_a && of_c < 7 * of_a);
    cancel_and_free(&f, a);
    cancel_and_free(&f, c);
    fixture_close(&f);
}

/* A model that had nothing to do for long does not make up for it. */
static void test_idle_time_is_not_saved_up(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, "fake:ms=2,endless=1", some_params());
    struct sched_model *second = load_model(f.sched, "second", "fake:ms=2,endless=1");
    struct error error;
    struct client *a = ask_endless(&f), *b = client_new();
    client_until(a, a->text[0].len > 200);
    assert_int_equal(try_ask_model(&f, second, b, (struct ask){.text = "b"}, &error), OK);
    client_until(b, b->text[0].len > 0);
    size_t of_a = len_of(a), of_b = len_of(b);
    client_until(b, b->text[0].len > of_b + 100);
    of_a = len_of(a) - of_a;
    assert_true(of_a > 50); /* its half */
    cancel_and_free(&f, a);
    cancel_and_free(&f, b);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_streams_hardly_notice_embeddings_which_go_on_all_the_same),
        cmocka_unit_test(test_urgent_embeddings_are_no_background),
        cmocka_unit_test(test_models_share_by_priority),
        cmocka_unit_test(test_idle_time_is_not_saved_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
