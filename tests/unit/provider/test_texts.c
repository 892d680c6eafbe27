/* The verbs about texts and tokens: tokenize, detokenize, template, infill, props; with models that
 * are in memory and that have to be loaded first. */
#include "unit/provider/harness.h"

struct reply {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int n;
    struct error error;
    char *text;
};

static void on_reply(void *ctx, const struct error *error, const char *text, size_t len)
{
    struct reply *r = ctx;
    pthread_mutex_lock(&r->lock);
    r->n++;
    if (error)
        r->error = *error;
    else
        r->text = strndup(text, len);
    pthread_cond_signal(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

/* The answer's text, or "<code> <param>"; free it. */
static char *say(struct fixture *f, enum control what, const char *args)
{
    struct reply r = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    struct error error;
    assert_int_equal(provider_control(f->local, what, args, on_reply, &r, &error), OK);
    pthread_mutex_lock(&r.lock);
    while (!r.n) pthread_cond_wait(&r.changed, &r.lock);
    pthread_mutex_unlock(&r.lock);
    assert_int_equal(r.n, 1);
    if (r.text) return r.text;
    char *text = malloc(ERROR_PARAM_MAX + 64);
    snprintf(text, ERROR_PARAM_MAX + 64, "%s %s", err_name(r.error.code), r.error.param);
    return text;
}

static void expect(struct fixture *f, enum control what, const char *args, const char *wanted)
{
    char *text = say(f, what, args);
    assert_string_equal(text, wanted);
    free(text);
}

#define MODEL "\"model\":\"fake:fim=1\""

static void open_fake(struct fixture *f, const char *chat)
{
    struct engine *engine;
    struct error error;
    assert_int_equal(engine_open_fake(&engine, &error), OK);
    fixture_open_ctx(f, engine, chat, "fake:kind=embed", 1, 64);
}

static void test_texts_become_tokens_and_back(void **state)
{
    (void)state;
    struct fixture f;
    open_fake(&f, "fake:fim=1");
    expect(&f, CONTROL_TOKENIZE, "{\"content\":\"hi\"}", "{" MODEL ",\"tokens\":[104,105]}");
    expect(&f, CONTROL_TOKENIZE, "{\"content\":\"\"}", "{" MODEL ",\"tokens\":[]}");
    expect(&f, CONTROL_TOKENIZE, "{\"content\":\"a<|end|>\",\"add_special\":true}",
           "{" MODEL ",\"tokens\":[261,97,256]}");
    expect(&f, CONTROL_TOKENIZE, "{\"content\":\"<|x\",\"parse_special\":false}",
           "{" MODEL ",\"tokens\":[60,124,120]}");
    expect(&f, CONTROL_TOKENIZE, "{\"content\":[\"a\",256,\"b\"],\"add_special\":true}",
           "{" MODEL ",\"tokens\":[261,97,256,98]}");
    expect(&f, CONTROL_TOKENIZE, "{\"content\":\"a\xC3\xA4\",\"with_pieces\":true}",
           "{" MODEL ",\"tokens\":[{\"id\":97,\"piece\":\"a\"},{\"id\":195,\"piece\":[195]},"
           "{\"id\":164,\"piece\":[164]}]}");
    expect(&f, CONTROL_DETOKENIZE, "{\"tokens\":[97,195,164,256]}",
           "{" MODEL ",\"content\":\"a\xC3\xA4<|end|>\"}");
    expect(&f, CONTROL_DETOKENIZE, "{\"tokens\":[]}", "{" MODEL ",\"content\":\"\"}");
    fixture_close(&f, 0);
}

static void test_bad_arguments(void **state)
{
    (void)state;
    struct fixture f;
    open_fake(&f, "fake:fim=1");
    expect(&f, CONTROL_TOKENIZE, "{}", "ERR_INVALID /content");
    expect(&f, CONTROL_TOKENIZE, "{\"content\":7}", "ERR_INVALID /content");
    expect(&f, CONTROL_TOKENIZE, "{\"content\":[7.5]}", "ERR_INVALID /content");
    expect(&f, CONTROL_TOKENIZE, "{\"content\":[267]}", "ERR_INVALID /content");
    expect(&f, CONTROL_TOKENIZE, "{\"content\":[-1]}", "ERR_INVALID /content");
    expect(&f, CONTROL_TOKENIZE, "{\"content\":\"a\",\"add_special\":1}",
           "ERR_INVALID /add_special");
    expect(&f, CONTROL_DETOKENIZE, "{\"tokens\":\"a\"}", "ERR_INVALID /tokens");
    expect(&f, CONTROL_DETOKENIZE, "{\"tokens\":[9999999999]}", "ERR_INVALID /tokens");
    expect(&f, CONTROL_TOKENIZE, "{\"content\":\"a\",\"model\":7}", "ERR_INVALID /model");
    expect(&f, CONTROL_TOKENIZE, "{\"content\":\"a\",\"model\":\"none\"}", "ERR_NO_MODEL /model");
    expect(&f, CONTROL_TEMPLATE, "{\"request\":{\"messages\":[]}}", "ERR_INVALID /messages");
    expect(&f, CONTROL_INFILL, "{\"input_prefix\":7}", "ERR_INVALID /input_prefix");
    expect(&f, CONTROL_INFILL, "{\"input_extra\":[{\"text\":7}]}", "ERR_INVALID /text");
    fixture_close(&f, 0);
}

static void test_the_chat_template(void **state)
{
    (void)state;
    struct fixture f;
    open_fake(&f, "fake:fim=1");
    expect(&f, CONTROL_TEMPLATE,
           "{\"request\":{\"messages\":[{\"role\":\"system\",\"content\":\"s\"},"
           "{\"role\":\"user\",\"content\":\"hi\"}]}}",
           "{" MODEL ",\"prompt\":\"<|bos|><|system|>s<|end|><|user|>hi<|end|><|assistant|>\","
           "\"tokens\":9}");
    expect(&f, CONTROL_TEMPLATE,
           "{\"model\":\"fake:kind=raw\",\"request\":{\"messages\":[{\"role\":\"user\"}]}}",
           "ERR_UNSUPPORTED ");
    fixture_close(&f, 0);
}

/* 64 tokens of context: what is before keeps its end, what is behind its beginning. */
static void test_a_gap_is_put_together(void **state)
{
    (void)state;
    struct fixture f;
    open_fake(&f, "fake:fim=1");
    expect(&f, CONTROL_INFILL, "{\"input_prefix\":\"a\",\"input_suffix\":\"c\"}",
           "{" MODEL ",\"tokens\":[265,109,121,112,114,111,106,101,99,116,10,266,102,105,108,101,"
           "110,97,109,101,10,261,262,97,263,99,264]}");
    expect(&f, CONTROL_INFILL,
           "{\"input_prefix\":\"a\",\"prompt\":\"b\",\"input_suffix\":\"c\",\"n_predict\":1000,"
           "\"input_extra\":[{\"filename\":\"x.c\",\"text\":\"12345678\"}]}",
           "{" MODEL ",\"tokens\":[10,266,120,46,99,10,49,50,51,52,53,54,55,56,266,102,105,108,101,"
           "110,97,109,101,10,261,"
           "262,97,98,263,99,264]}");
    char args[512], long_text[201];
    memset(long_text, 'y', 200);
    long_text[200] = '\0';
    long_text[199] = 'z';
    snprintf(args, sizeof args,
             "{\"input_prefix\":\"%s\",\"input_suffix\":\"z%s\",\"n_predict\":1}", long_text,
             long_text);
    char *text = say(&f, CONTROL_INFILL, args);
    assert_non_null(strstr(text, "121,122,263,122,121,")); /* "...yz" <suffix> "zy..." */
    json_t *v;
    assert_int_equal(json_parse(text, strlen(text), &v, NULL), OK);
    assert_int_equal(json_array_size(json_object_get(v, "tokens")), 64 - 1 - 1);
    json_decref(v);
    free(text);
    expect(&f, CONTROL_INFILL, "{\"model\":\"fake:\",\"input_prefix\":\"a\"}",
           "ERR_UNSUPPORTED /model");
    fixture_close(&f, 0);
}

static void test_props(void **state)
{
    (void)state;
    struct fixture f;
    open_fake(&f, "fake:fim=1");
    expect(
        &f, CONTROL_PROPS, "{}",
        "{" MODEL ",\"context\":64,\"context_trained\":4096,\"slots\":1,\"vocabulary\":267,"
        "\"chat_template\":\"<|bos|>{messages}<|assistant|>\",\"tools\":true,\"thinking\":true,"
        "\"infill\":true,\"adds_bos\":true,\"bos_token\":\"<|bos|>\",\"eos_token\":\"<|end|>\"}");
    fixture_close(&f, 0);
}

static void test_a_model_that_cannot_be_loaded(void **state)
{
    (void)state;
    struct fixture f;
    open_fake(&f, "fake:fail_load=broken");
    expect(&f, CONTROL_TOKENIZE, "{\"content\":\"a\"}", "ERR_MODEL_FILE ");
    expect(&f, CONTROL_PROPS, "{\"model\":\"fake:fail_ctx=1\"}", "ERR_NOMEM ");
    fixture_close(&f, 0);
}

/* Closing waits for questions that are under way, and each is answered. */
static void test_closing_while_a_model_is_loaded_for_a_question(void **state)
{
    (void)state;
    struct fixture f;
    struct error error;
    struct reply replies[8];
    open_fake(&f, "fake:load_ms=300");
    for (size_t i = 0; i < 8; i++) {
        replies[i] =
            (struct reply){.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
        assert_int_equal(provider_control(f.local, CONTROL_TOKENIZE, "{\"content\":\"a\"}",
                                          on_reply, &replies[i], &error),
                         OK);
    }
    fixture_close(&f, 0);
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(replies[i].n, 1);
        free(replies[i].text);
    }
}

static void test_the_stop_string_that_ended_an_answer_is_told(void **state)
{
    (void)state;
    static const char *const stops[] = {"never", "##"};
    struct fixture f;
    open_fake(&f, "fake:");
    struct gen_request *req = chat_request("fake:", "one##two");
    req->stop = stops;
    req->n_stop = 2;
    struct client *c = ask(&f, req);
    assert_string_equal(buf_str(&c->text[0]), "one");
    assert_int_equal(c->finish[0], FINISH_STOP);
    assert_string_equal(c->stop, "##");
    client_free(c);
    c = ask(&f, chat_request("fake:", "one"));
    assert_string_equal(c->stop, "");
    client_free(c);
    fixture_close(&f, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts_become_tokens_and_back),
        cmocka_unit_test(test_bad_arguments),
        cmocka_unit_test(test_the_chat_template),
        cmocka_unit_test(test_a_gap_is_put_together),
        cmocka_unit_test(test_props),
        cmocka_unit_test(test_a_model_that_cannot_be_loaded),
        cmocka_unit_test(test_closing_while_a_model_is_loaded_for_a_question),
        cmocka_unit_test(test_the_stop_string_that_ended_an_answer_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
