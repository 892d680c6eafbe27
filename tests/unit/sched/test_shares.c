/* Whose batch comes next when several models have work, over the fake engine, whose batches take as
 * long as they are told to. */
#include "unit/sched/harness.h"

enum { MS = 1000000 };

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

/* Characters (tokens) that c gets in that time. */
static size_t got_in(struct client *c, int64_t ms)
{
    size_t before = len_of(c);
    sleep_ms(ms);
    return len_of(c) - before;
}

static void test_streams_hardly_notice_embeddings_which_go_on_all_the_same(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, "fake:ms=2,endless=1", some_params());
    struct sched_model *embedder = load_model(f.sched, "embedder", "fake:kind=embed,ms=2");
    struct client *stream = ask_endless(&f);
    size_t alone = got_in(stream, 400);
    int64_t before = metric_value(METRIC_embedding_tokens_total);
    struct client *job = embed(&f, embedder, 10000, PRIORITY_DEFAULT);
    sleep_ms(20);
    size_t beside = got_in(stream, 1000) * 400 / 1000;
    int64_t inputs = (metric_value(METRIC_embedding_tokens_total) - before) / 400;
    assert_true(beside * 100 >= alone * 80); /* 92 % without noise */
    assert_in_range(inputs, 10, 150);        /* 40 of the 500 that would be alone */
    cancel_and_free(&f, stream);
    before = metric_value(METRIC_embedding_tokens_total);
    sleep_ms(400); /* all of the time now */
    inputs = (metric_value(METRIC_embedding_tokens_total) - before) / 400;
    assert_true(inputs > 60);
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
    int64_t before = clock_mono_ns();
    struct client *job = embed(&f, embedder, 50, 10);
    client_wait(job);
    assert_true(job->done_ns - before < 500LL * MS); /* 100 ms of work; as background 1.2 s */
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
    sleep_ms(500);
    of_a = len_of(a) - of_a;
    of_b = len_of(b) - of_b;
    assert_true(of_a * 10 > of_b * 7 && of_b * 10 > of_a * 7); /* as much each */
    cancel_and_free(&f, b);
    struct ask urgent = {.text = "c", .priority = 18}; /* 32 steps better: four times the weight */
    assert_int_equal(try_ask_model(&f, second, c, urgent, &error), OK);
    client_until(c, c->text[0].len > 0);
    of_a = len_of(a);
    size_t of_c = len_of(c);
    sleep_ms(500);
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
    sleep_ms(500);
    assert_int_equal(try_ask_model(&f, second, b, (struct ask){.text = "b"}, &error), OK);
    client_until(b, b->text[0].len > 0);
    size_t got = got_in(a, 300);
    assert_true(got > 30); /* 75 is its half */
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
