/* End to end with the built-in models: chat, tools, JSON, completion, embeddings, a torn file. */
#include <math.h>

#include "unit/provider/harness.h"

static void open_builtin(struct fixture *f, const char *chat)
{
    struct engine *engine;
    struct error error;
    assert_int_equal(engine_open_llama(HEARTH_BINARY_DIR "/lib/hearth", &engine, &error), OK);
    fixture_open(f, engine, chat, "", 4);
}

static void test_chat_several_at_once(void **state)
{
    (void)state;
    struct fixture f;
    open_builtin(&f, "");
    struct client *c[6];
    for (int i = 0; i < 6; i++) {
        struct gen_request *req = chat_request("", "Hello! Who are you?");
        req->max_tokens = 40;
        c[i] = send_request(&f, req);
    }
    for (int i = 0; i < 6; i++) {
        client_wait(c[i]);
        assert_int_equal(c[i]->error.code, OK);
        assert_true(c[i]->text[0].len > 5);
        assert_string_equal(c[i]->model, BUILTIN_CHAT_MODEL);
        assert_true(c[i]->usage.prompt_tokens > 5 && c[i]->usage.completion_tokens > 2);
        client_free(c[i]);
    }
    struct client *again = ask(&f, chat_request("", "Hello! Who are you?"));
    assert_true(again->usage.cached_tokens > 5); /* the prefix is in the KV cache */
    client_free(again);
    fixture_close(&f, 0);
}

static void test_limits_stop_strings_and_logprobs(void **state)
{
    (void)state;
    struct fixture f;
    open_builtin(&f, "");
    struct gen_request *req = chat_request("", "Tell me a story.");
    req->max_tokens = 3;
    req->sampling.ignore_eos = true;
    struct client *c = ask(&f, req);
    assert_int_equal(c->finish[0], FINISH_LENGTH);
    assert_int_equal(c->usage.completion_tokens, 3);
    client_free(c);

    req = raw_request("", "Hello");
    req->max_tokens = 30;
    req->sampling.ignore_eos = true;
    req->sampling.logprobs = true;
    req->sampling.top_logprobs = 3;
    c = ask(&f, req);
    assert_int_equal(c->error.code, OK);
    assert_int_equal(c->n_logprobs, 30);
    char stop[3] = {0}; /* two characters out of its middle must end it earlier */
    size_t at = c->text[0].len / 2;
    memcpy(stop, c->text[0].data + at, 2);
    size_t first = (size_t)(strstr(c->text[0].data, stop) - c->text[0].data);
    req = raw_request("", "Hello");
    req->max_tokens = 30;
    req->sampling.ignore_eos = true;
    const char **stops = arena_alloc(req->arena, sizeof *stops);
    *stops = arena_strdup(req->arena, stop);
    req->stop = stops;
    req->n_stop = 1;
    struct client *cut = ask(&f, req);
    assert_int_equal(cut->finish[0], FINISH_STOP);
    assert_int_equal(cut->text[0].len, first);
    if (first) assert_memory_equal(cut->text[0].data, c->text[0].data, first);
    client_free(c);
    client_free(cut);
    fixture_close(&f, 0);
}

static void test_forced_tool_call(void **state)
{
    (void)state;
    struct fixture f;
    open_builtin(&f, "");
    struct gen_request *req = chat_request("", "What is the weather in Paris?");
    add_tool(req, "get_weather",
             "{\"type\":\"object\",\"properties\":{\"city\":{\"type\":\"string\"}},"
             "\"required\":[\"city\"]}");
    req->tool_choice = TOOL_NAMED;
    req->tool_choice_name = "get_weather";
    req->parallel_tool_calls = false;
    req->max_tokens = 200;
    struct client *c = ask(&f, req);
    assert_int_equal(c->error.code, OK);
    assert_int_equal(c->n_calls, 1);
    assert_string_equal(c->calls[0].name, "get_weather");
    assert_int_equal(c->finish[0], FINISH_TOOL_CALLS);
    json_error_t where;
    json_t *arguments = json_loads(buf_str(&c->calls[0].arguments), 0, &where);
    assert_true(json_is_string(json_object_get(arguments, "city")));
    json_decref(arguments);
    client_free(c);
    fixture_close(&f, 0);
}

static void test_json_schema(void **state)
{
    (void)state;
    struct fixture f;
    open_builtin(&f, "");
    struct gen_request *req = chat_request("", "Describe a cat.");
    req->format = FORMAT_JSON_SCHEMA;
    req->schema = "{\"type\":\"object\",\"properties\":{\"legs\":{\"type\":\"integer\"},"
                  "\"kind\":{\"enum\":[\"cat\",\"dog\"]}},\"required\":[\"legs\",\"kind\"],"
                  "\"additionalProperties\":false}";
    req->max_tokens = 300;
    req->n = 3;
    struct client *c = ask(&f, req);
    assert_int_equal(c->error.code, OK);
    for (int i = 0; i < 3; i++) {
        if (c->finish[i] != FINISH_STOP) continue; /* a number without end */
        json_error_t where;
        json_t *object = json_loads(buf_str(&c->text[i]), 0, &where);
        assert_true(json_is_integer(json_object_get(object, "legs")));
        assert_true(json_is_string(json_object_get(object, "kind")));
        json_decref(object);
    }
    client_free(c);
    req = chat_request("", "Describe a cat.");
    req->format = FORMAT_JSON_SCHEMA;
    req->schema = "{\"type\":\"no such type\"}";
    c = ask(&f, req);
    assert_int_equal(c->error.code, ERR_SCHEMA);
    client_free(c);
    fixture_close(&f, 0);
}

/* Six answers on four sequences: the last two find the prompt in the cache of their request. */
static void test_more_answers_than_sequences(void **state)
{
    (void)state;
    struct fixture f;
    open_builtin(&f, "");
    struct gen_request *req = chat_request("", "Tell me something about the sea.");
    req->n = 6;
    req->max_tokens = 20;
    req->sampling.temperature = 1;
    struct client *c = ask(&f, req);
    assert_int_equal(c->error.code, OK);
    assert_int_equal(c->n_ends, 6);
    int different = 0;
    for (int i = 0; i < 6; i++) {
        assert_true(c->text[i].len > 0);
        different += strcmp(c->text[i].data, c->text[0].data) != 0;
    }
    assert_true(different > 0); /* each has its own seed */
    client_free(c);
    fixture_close(&f, 0);
}

static float dot(const float *a, const float *b, size_t n)
{
    float sum = 0;
    for (size_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

static void test_embeddings(void **state)
{
    (void)state;
    struct fixture f;
    open_builtin(&f, "");
    const char *texts[] = {"a cat sits on the mat", "the quarterly report is due",
                           "a cat sits on the mat"};
    struct client *c = embed(&f, embed_request("", 3, texts));
    assert_int_equal(c->error.code, OK);
    assert_string_equal(c->model, BUILTIN_EMBED_MODEL);
    assert_int_equal(c->n_vectors, 3);
    size_t n = c->n_dims;
    assert_true(n >= 16 && c->usage.prompt_tokens > 9);
    for (size_t i = 0; i < 3; i++)
        assert_true(fabsf(dot(c->vectors + i * n, c->vectors + i * n, n) - 1) < 1e-3f);
    assert_true(dot(c->vectors, c->vectors + 2 * n, n) > 0.999f);
    assert_true(dot(c->vectors, c->vectors + n, n) < 0.99f);
    client_free(c);
    fixture_close(&f, 0);
}

static void test_cancel_in_the_middle(void **state)
{
    (void)state;
    struct fixture f;
    open_builtin(&f, "");
    for (int i = 0; i < 10; i++) {
        struct gen_request *req = chat_request("", "Tell me a long story.");
        req->sampling.ignore_eos = true;
        struct client *c = send_request(&f, req);
        if (i % 2) client_until(c, c->text[0].len > 0);
        provider_cancel(f.local, c->id);
        client_wait(c);
        assert_int_equal(c->error.code, ERR_CANCELLED);
        client_free(c);
    }
    fixture_close(&f, 0);
}

static void test_context_is_filled_to_its_end(void **state)
{
    (void)state;
    struct fixture f;
    open_builtin(&f, "");
    struct gen_request *req = chat_request("", "Tell me a long story.");
    req->sampling.ignore_eos = true;
    struct client *c = ask(&f, req);
    assert_int_equal(c->error.code, OK);
    assert_int_equal(c->finish[0], FINISH_LENGTH);
    struct sched_model *m = sched_find(f.sched, BUILTIN_CHAT_MODEL);
    int32_t n_ctx = sched_model_ctx(m);
    sched_model_unref(m);
    assert_int_equal(c->usage.prompt_tokens + c->usage.completion_tokens, n_ctx);
    client_free(c);
    fixture_close(&f, 0);
}

/* A file that passes the header's inspection but not the library's: the reason, but no path. */
static void test_file_that_cannot_be_loaded(void **state)
{
    (void)state;
    struct fixture f;
    open_builtin(&f, "");
    char path[300];
    str_printf(path, sizeof path, "%s/broken.gguf", f.dir);
    struct buf file;
    struct error error;
    buf_init(&file, 64 << 20);
    assert_int_equal(
        fs_read_file(HEARTH_SOURCE_DIR "/models/hearth-tiny.gguf", 64 << 20, &file, &error), OK);
    char *name = memmem(file.data, file.len, "blk.0.attn_q.weight", 19);
    assert_non_null(name);
    memcpy(name, "blk.0.attn_z.weight", 19); /* a tensor that no architecture knows */
    assert_int_equal(fs_write_atomic(path, file.data, file.len, 0600, &error), OK);
    buf_free(&file);
    sleep_ms(1100); /* the folder is read once a second */
    struct client *c = ask(&f, chat_request("broken", "x"));
    assert_int_not_equal(c->error.code, OK);
    assert_non_null(strstr(c->error.msg, "broken"));
    assert_null(strstr(c->error.msg, f.dir));
    client_free(c);
    struct gen_request *req = chat_request(BUILTIN_CHAT_MODEL, "Hello!");
    req->max_tokens = 5;
    c = ask(&f, req);
    assert_int_equal(c->error.code, OK);
    client_free(c);
    fixture_close(&f, 0);
}

/* ---- the same answer, alone and in company -------------------------------------------------- */

static const char *const story =
    "Once upon a time a king had three daughters, and a garden in which a tree stood that bore "
    "golden apples. Every night one of them was missing, so the king asked his eldest daughter to "
    "keep watch, but at midnight she fell asleep. Tell me what happened to the second one.";

static struct gen_request *exact_request(bool deterministic)
{
    struct gen_request *req = chat_request("", story);
    req->max_tokens = 48;
    req->sampling.ignore_eos = true;
    req->sampling.temperature = 1;
    req->sampling.seed = 7;
    req->sampling.logprobs = true; /* their sum shows the last bit of every step */
    req->deterministic = deterministic;
    return req;
}

static void test_deterministic_is_the_same_under_load(void **state)
{
    (void)state;
    struct fixture f;
    open_builtin(&f, "");
    struct client *alone = ask(&f, exact_request(true));
    assert_int_equal(alone->error.code, OK);
    assert_int_equal(alone->n_logprobs, 48);
    client_free(ask(&f, exact_request(false))); /* its prompt is cached now */
    struct client *others[6], *exact[3];
    for (int i = 0; i < 6; i++) {
        char text[32];
        snprintf(text, sizeof text, "Tell me about the number %d", i * i);
        struct gen_request *req = chat_request("", i % 2 ? text : story);
        req->max_tokens = 120 + 10 * i;
        req->sampling.ignore_eos = true;
        others[i] = send_request(&f, req);
    }
    for (int i = 0; i < 3; i++) exact[i] = send_request(&f, exact_request(true));
    for (int i = 0; i < 3; i++) {
        client_wait(exact[i]);
        assert_int_equal(exact[i]->error.code, OK);
        assert_int_equal(exact[i]->usage.cached_tokens, 0);
        assert_string_equal(exact[i]->text[0].data, alone->text[0].data);
        assert_true(exact[i]->logprob_sum == alone->logprob_sum);
        client_free(exact[i]);
    }
    for (int i = 0; i < 6; i++) {
        client_wait(others[i]);
        assert_int_equal(others[i]->error.code, OK);
        client_free(others[i]);
    }
    client_free(alone);
    fixture_close(&f, 0);
}

/* The context is 256 tokens; the answer goes on for 600, and the system prompt stays. */
static void test_full_context_shifts(void **state)
{
    (void)state;
    struct fixture f;
    struct engine *engine;
    struct error error;
    assert_int_equal(engine_open_llama(HEARTH_BINARY_DIR "/lib/hearth", &engine, &error), OK);
    fixture_open_ctx(&f, engine, "", "", 2, 256);
    for (int shift = 0; shift < 2; shift++) {
        struct gen_request *req = chat_request("", "Tell me a long story.");
        struct message *m = arena_alloc(req->arena, 2 * sizeof *m);
        m[0] = (struct message){.role = ROLE_SYSTEM, .content = "You are a patient narrator."};
        m[1] = req->messages[0];
        req->messages = m;
        req->n_messages = 2;
        req->max_tokens = 600;
        req->sampling.ignore_eos = true;
        req->overflow = shift ? OVERFLOW_SHIFT : OVERFLOW_STOP;
        struct client *c = ask(&f, req);
        assert_int_equal(c->error.code, OK);
        assert_int_equal(c->finish[0], FINISH_LENGTH);
        if (shift)
            assert_int_equal(c->usage.completion_tokens, 600);
        else
            assert_int_equal(c->usage.completion_tokens + c->usage.prompt_tokens, 256);
        client_free(c);
    }
    fixture_close(&f, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chat_several_at_once),
        cmocka_unit_test(test_limits_stop_strings_and_logprobs),
        cmocka_unit_test(test_forced_tool_call),
        cmocka_unit_test(test_json_schema),
        cmocka_unit_test(test_more_answers_than_sequences),
        cmocka_unit_test(test_embeddings),
        cmocka_unit_test(test_cancel_in_the_middle),
        cmocka_unit_test(test_context_is_filled_to_its_end),
        cmocka_unit_test(test_file_that_cannot_be_loaded),
        cmocka_unit_test(test_deterministic_is_the_same_under_load),
        cmocka_unit_test(test_full_context_shifts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
