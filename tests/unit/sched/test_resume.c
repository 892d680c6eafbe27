/* Requests that go on where another scheduler stopped. The fake engine says what the user said, a
 * token for each byte, and notices when a sampler and its sequence do not hold the same tokens. */
#include "unit/sched/harness.h"

static const int32_t begun[] = {'H', 'e', 'l', 'l', 'o'};

static void test_an_answer_goes_on(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, "fake:", some_params());
    for (size_t n = 0; n <= 5; n++) {
        struct gen_resume resume = {.tokens = begun, .n_tokens = n};
        struct client *c = ask(&f, (struct ask){.text = "Hello there", .resume = &resume});
        client_wait(c);
        assert_int_equal(c->error.code, OK);
        assert_string_equal(c->text[0].data, "Hello there"); /* told from its start */
        assert_int_equal(c->n_started, 1);
        assert_int_equal(c->finish[0], FINISH_STOP);
        assert_int_equal(c->usage.completion_tokens, 11);
        assert_int_equal(c->n_tokens, 11);
        client_free(c);
    }
    fixture_close(&f);
}

/* Behind context shifts, too: what is left of its tokens is what was left there (the fake engine
 * looks), and all of them are told. */
static void test_an_answer_goes_on_behind_a_shift(void **state)
{
    (void)state;
    enum { LENGTH = 200 };
    struct fixture f;
    struct sched_params params = some_params();
    params.n_ctx = 64;
    params.shared_kv = false;
    fixture_open(&f, "fake:endless=1,reply=abcdefghijklmnopqrstuvw", params);
    struct ask a = {.text = "0123456789",
                    .n_keep = 6,
                    .ignore_eos = true,
                    .max_tokens = LENGTH,
                    .overflow = OVERFLOW_SHIFT};
    struct client *whole = ask(&f, a);
    client_wait(whole);
    assert_int_equal(whole->n_tokens, LENGTH);
    int32_t tokens[LENGTH];
    for (int i = 0; i < LENGTH; i++) tokens[i] = whole->text[0].data[i];
    for (size_t n = 1; n <= LENGTH; n++) {
        struct gen_resume resume = {.tokens = tokens, .n_tokens = n};
        a.resume = &resume;
        struct client *c = ask(&f, a);
        client_wait(c);
        assert_int_equal(c->error.code, OK);
        assert_string_equal(c->text[0].data, whole->text[0].data);
        assert_int_equal(c->finish[0], FINISH_LENGTH);
        assert_int_equal(c->n_tokens, LENGTH);
        assert_int_equal(c->n_told, LENGTH);
        assert_memory_equal(c->told, tokens, sizeof tokens);
        client_free(c);
    }
    a.overflow = OVERFLOW_STOP; /* then it never had so many */
    struct gen_resume resume = {.tokens = tokens, .n_tokens = 100};
    struct error error;
    struct client *c = client_new();
    a.resume = &resume;
    assert_int_equal(try_ask(&f, c, a, &error), ERR_CONTEXT);
    client_free(c);
    client_free(whole);
    fixture_close(&f);
}

/* A part of a character was generated: it is no text yet. */
static void test_half_a_character(void **state)
{
    (void)state;
    static const int32_t half[] = {'G', 'r', 0xC3};
    struct fixture f;
    fixture_open(&f, "fake:", some_params());
    struct gen_resume resume = {.tokens = half, .n_tokens = 3};
    struct client *c = ask(&f, (struct ask){.text = "Gr\xC3\xBC\xC3\x9F", .resume = &resume});
    client_wait(c);
    assert_string_equal(c->text[0].data, "Gr\xC3\xBC\xC3\x9F");
    client_free(c);
    fixture_close(&f);
}

/* Of three choices one had begun, one had ended, one had not started. */
static void test_choices(void **state)
{
    (void)state;
    static const int32_t all[] = {'H', 'i'};
    struct fixture f;
    fixture_open(&f, "fake:", some_params());
    struct gen_resume resume[3] = {
        {.tokens = all, .n_tokens = 1},
        {.tokens = all, .n_tokens = 2, .over = true, .finish = FINISH_STOP},
        {0}};
    struct client *c = ask(&f, (struct ask){.text = "Hi", .n = 3, .resume = resume});
    client_wait(c);
    for (int i = 0; i < 3; i++) {
        assert_string_equal(c->text[i].data, "Hi");
        assert_int_equal(c->ended[i], 1);
        assert_int_equal(c->finish[i], FINISH_STOP);
    }
    assert_int_equal(c->usage.completion_tokens, 6);
    client_free(c);
    fixture_close(&f);
}

/* All that is left to say is the end. */
static void test_what_was_complete_ends(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, "fake:", some_params());
    struct gen_resume resume = {
        .tokens = begun, .n_tokens = 5, .over = true, .finish = FINISH_LENGTH};
    struct client *c = ask(&f, (struct ask){.text = "Hello there", .resume = &resume});
    client_wait(c);
    assert_string_equal(c->text[0].data, "Hello");
    assert_int_equal(c->finish[0], FINISH_LENGTH);
    client_free(c);
    resume.over = false; /* it died between the last token and the end */
    c = ask(&f, (struct ask){.text = "Hello there", .max_tokens = 5, .resume = &resume});
    client_wait(c);
    assert_string_equal(c->text[0].data, "Hello");
    assert_int_equal(c->finish[0], FINISH_LENGTH);
    client_free(c);
    c = ask(&f, (struct ask){.text = "Hello there", .stop = "lo", .resume = &resume});
    client_wait(c);
    assert_string_equal(c->text[0].data, "Hel");
    assert_int_equal(c->finish[0], FINISH_STOP);
    client_free(c);
    fixture_close(&f);
}

static void test_what_can_not_go_on_is_refused(void **state)
{
    (void)state;
    struct fixture f;
    struct error error;
    fixture_open(&f, "fake:", some_params());
    struct client *c = client_new();
    struct gen_resume resume = {.tokens = begun, .n_tokens = 5};
    struct ask a = {.text = "Hello there", .max_tokens = 4, .resume = &resume};
    assert_int_equal(try_ask_model(&f, f.model, c, a, &error), ERR_CONTEXT);
    static const int32_t wild[] = {1 << 30};
    resume = (struct gen_resume){.tokens = wild, .n_tokens = 1};
    a.max_tokens = 0;
    assert_int_equal(try_ask_model(&f, f.model, c, a, &error), ERR_ENGINE);
    client_free(c);
    fixture_close(&f);
}

/* It was taken once: a full queue is no reason to lose it. */
static void test_a_full_queue_takes_it(void **state)
{
    (void)state;
    struct fixture f;
    struct error error;
    struct sched_params params = some_params();
    params.n_parallel = 1;
    params.queue_capacity = 1;
    fixture_open(&f, "fake:ms=2", params);
    struct client *c[3];
    c[0] = ask(&f, (struct ask){.text = "a long answer that keeps the only sequence busy"});
    client_until(c[0], c[0]->n_started);
    c[1] = ask(&f, (struct ask){.text = "waits"});
    c[2] = client_new();
    struct ask a = {.text = "Hello there"};
    assert_int_equal(try_ask_model(&f, f.model, c[2], a, &error), ERR_BUSY);
    struct gen_resume resume = {.tokens = begun, .n_tokens = 5};
    a.resume = &resume;
    assert_int_equal(try_ask_model(&f, f.model, c[2], a, &error), OK);
    for (int i = 0; i < 3; i++) {
        client_wait(c[i]);
        assert_int_equal(c[i]->error.code, OK);
    }
    assert_string_equal(c[2]->text[0].data, "Hello there");
    for (int i = 0; i < 3; i++) client_free(c[i]);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_answer_goes_on),
        cmocka_unit_test(test_an_answer_goes_on_behind_a_shift),
        cmocka_unit_test(test_half_a_character),
        cmocka_unit_test(test_choices),
        cmocka_unit_test(test_what_was_complete_ends),
        cmocka_unit_test(test_what_can_not_go_on_is_refused),
        cmocka_unit_test(test_a_full_queue_takes_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
