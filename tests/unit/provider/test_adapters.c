/* Adapters end to end with the built-in model: by field, by the model's name, for all; mixed in one
 * hub each answer is what it is alone; what is wrong is told before anything is loaded. */
#include <sys/stat.h>
#include <unistd.h>

#include "unit/provider/harness.h"

#define QUESTION "What is the capital of France?"

static void open_builtin(struct fixture *f)
{
    struct engine *engine;
    struct error error;
    assert_int_equal(engine_open_llama(HEARTH_BINARY_DIR "/lib/hearth", &engine, &error), OK);
    fixture_open_ctx(f, engine, "", "", 6, 512);
}

static struct client *begin(struct fixture *f, const char *model, const char *adapter)
{
    struct gen_request *req = chat_request(model, QUESTION);
    if (adapter) req->adapter = arena_strdup(req->arena, adapter);
    req->max_tokens = 32;
    return send_request(f, req);
}

/* The answer, freed by the caller. */
static char *text_of(struct client *c, const char *adapter)
{
    client_wait(c);
    if (c->error.code) fail_msg("%s", c->error.msg);
    assert_string_equal(c->model, BUILTIN_CHAT_MODEL);
    assert_string_equal(c->adapter, adapter);
    char *text = strdup(buf_str(&c->text[0]));
    client_free(c);
    return text;
}

static void expect_refusal(struct client *c, enum err code, const char *param, const char *word)
{
    client_wait(c);
    if (c->error.code != code || !strstr(c->error.msg, word))
        fail_msg("%d %s", c->error.code, c->error.msg);
    assert_string_equal(c->error.param, param);
    assert_null(strstr(c->error.msg, "/tmp/"));
    client_free(c);
}

struct answer {
    struct error error;
    char text[4096];
};

static void on_answer(void *ctx, const struct error *error, const char *text, size_t len)
{
    struct answer *a = ctx;
    if (error) a->error = *error;
    if (text) snprintf(a->text, sizeof a->text, "%.*s", (int)len, text);
}

static enum err control(struct fixture *f, enum control what, const char *args, struct answer *out)
{
    *out = (struct answer){0};
    return provider_control(f->local, what, args, on_answer, out, &out->error);
}

static void choose(struct fixture *f, const char *name)
{
    struct answer a;
    char args[200];
    snprintf(args, sizeof args, "{\"adapter_name\":\"%s\"}", name);
    if (control(f, CONTROL_ADAPTER_LOAD, args, &a)) fail_msg("%s", a.error.msg);
}

static void test_mixed_in_one_hub_each_answer_is_as_alone(void **state)
{
    (void)state;
    static const char *const adapters[] = {NULL, "pirate", "terse", "base"};
    struct fixture f;
    char *alone[4];
    struct client *c[12];
    open_builtin(&f);
    for (int i = 0; i < 4; i++)
        alone[i] = text_of(begin(&f, "", adapters[i]), i == 1 || i == 2 ? adapters[i] : "");
    assert_string_not_equal(alone[0], alone[1]);
    assert_string_not_equal(alone[0], alone[2]);
    assert_string_not_equal(alone[1], alone[2]);
    assert_string_equal(alone[0], alone[3]);
    for (int i = 0; i < 12; i++) c[i] = begin(&f, "", adapters[i % 4]);
    for (int i = 0; i < 12; i++) {
        char *text = text_of(c[i], i % 4 == 1 || i % 4 == 2 ? adapters[i % 4] : "");
        assert_string_equal(text, alone[i % 4]);
        free(text);
    }
    for (int i = 0; i < 4; i++) free(alone[i]);
    fixture_close(&f, 0);
}

static struct client *go_on(struct fixture *f, const char *model, const char *adapter,
                            uint64_t version)
{
    static const struct gen_resume nothing = {0};
    struct gen_request *req = chat_request(model, QUESTION);
    req->adapter = arena_strdup(req->arena, adapter);
    req->adapter_version = version;
    req->resume = &nothing;
    req->max_tokens = 32;
    return send_request(f, req);
}

/* An answer that goes on says itself which adapter it began with, and gets that one or none. */
static void test_an_answer_goes_on_with_its_adapter(void **state)
{
    (void)state;
    struct fixture f;
    open_builtin(&f);
    char *base = text_of(begin(&f, "", NULL), "");
    struct client *c = begin(&f, "", "pirate");
    client_wait(c);
    uint64_t version = c->adapter_version;
    assert_int_not_equal(version, 0);
    char *pirate = text_of(c, "pirate");
    choose(&f, "terse");
    char *again = text_of(go_on(&f, "", "pirate", version), "pirate");
    assert_string_equal(again, pirate);
    free(again);
    again = text_of(go_on(&f, "", "base", 0), ""); /* not the one for all */
    assert_string_equal(again, base);
    free(again);
    /* What its model's name says may be another name of the same. */
    again = text_of(go_on(&f, "hearth-tiny:terse", "pirate", version), "pirate");
    assert_string_equal(again, pirate);
    free(again);
    expect_refusal(go_on(&f, "", "pirate", version + 1), ERR_ADAPTER, "", "is another file now");
    expect_refusal(go_on(&f, "", "corsair", version), ERR_NO_ADAPTER, "", "can't be continued");
    free(base);
    free(pirate);
    fixture_close(&f, 0);
}

static void test_an_adapter_in_the_models_name(void **state)
{
    (void)state;
    struct fixture f;
    open_builtin(&f);
    char *pirate = text_of(begin(&f, "", "pirate"), "pirate");
    char *named = text_of(begin(&f, "hearth-tiny:pirate", NULL), "pirate");
    char *both = text_of(begin(&f, "hearth-tiny:pirate", "pirate"), "pirate");
    assert_string_equal(pirate, named);
    assert_string_equal(pirate, both);
    free(text_of(begin(&f, "hearth-tiny:base", NULL), ""));
    expect_refusal(begin(&f, "hearth-tiny:terse", "pirate"), ERR_INVALID, "/adapter", "terse");
    expect_refusal(begin(&f, "hearth-tiny:pirat", NULL), ERR_NO_MODEL, "/model", "pirate, terse");
    expect_refusal(begin(&f, "no-model:pirate", NULL), ERR_NO_MODEL, "/model", "no-model:pirate");
    expect_refusal(begin(&f, "qwen2.5:3b", NULL), ERR_NO_MODEL, "/model", "hearth pull");
    free(pirate);
    free(named);
    free(both);
    fixture_close(&f, 0);
}

static void test_one_for_all(void **state)
{
    (void)state;
    struct fixture f;
    struct answer a;
    open_builtin(&f);
    char *pirate = text_of(begin(&f, "", "pirate"), "pirate");
    choose(&f, "pirate");
    char *chosen = text_of(begin(&f, "", NULL), "pirate");
    assert_string_equal(pirate, chosen);
    free(text_of(begin(&f, "", "base"), ""));
    free(text_of(begin(&f, "", "terse"), "terse"));
    assert_int_equal(control(&f, CONTROL_ADAPTERS, "{}", &a), OK);
    assert_non_null(strstr(a.text, "\"current\":\"pirate\""));
    assert_non_null(strstr(a.text, "\"name\":\"terse\""));
    assert_non_null(strstr(a.text, "\"rank\":8"));
    choose(&f, "none");
    free(text_of(begin(&f, "", NULL), ""));
    assert_int_equal(control(&f, CONTROL_ADAPTERS, "{}", &a), OK);
    assert_non_null(strstr(a.text, "\"current\":\"base\""));
    free(pirate);
    free(chosen);
    fixture_close(&f, 0);
}

/* A copy of a built-in one in the user's folder. */
static void put_adapter(struct fixture *f, const char *name)
{
    char command[900];
    snprintf(command, sizeof command,
             "mkdir -p '%s' && cp '%s/models/adapters/pirate.gguf' '%s/%s.gguf'", f->adapters,
             HEARTH_SOURCE_DIR, f->adapters, name);
    assert_int_equal(system(command), 0);
}

static void test_one_for_all_that_has_gone_is_left_out(void **state)
{
    (void)state;
    struct fixture f;
    struct answer a;
    char path[400];
    open_builtin(&f);
    put_adapter(&f, "mine");
    snprintf(path, sizeof path, "%s/mine.gguf", f.adapters);
    choose(&f, "mine");
    free(text_of(begin(&f, "", NULL), "mine"));
    assert_int_equal(unlink(path), 0);
    sleep_ms(1100); /* the folder is looked at again */
    free(text_of(begin(&f, "", NULL), ""));
    assert_int_equal(control(&f, CONTROL_ADAPTERS, "{}", &a), OK);
    assert_non_null(strstr(a.text, "\"current\":\"base\""));
    assert_non_null(strstr(a.text,
                           "\"current_error\":\"the adapter chosen for all requests is left "
                           "out: there is no adapter \\\"mine\\\""));
    expect_refusal(begin(&f, "", "mine"), ERR_NO_ADAPTER, "/adapter", "mine"); /* its own wish */
    FILE *file = fopen(path, "wb"); /* unusable is the same */
    fputs("GGUF", file);
    fclose(file);
    sleep_ms(1100);
    free(text_of(begin(&f, "", NULL), ""));
    unlink(path);
    put_adapter(&f, "mine");
    sleep_ms(1100);
    free(text_of(begin(&f, "", NULL), "mine")); /* it is chosen as ever */
    assert_int_equal(control(&f, CONTROL_ADAPTERS, "{}", &a), OK);
    assert_non_null(strstr(a.text, "\"current\":\"mine\""));
    assert_null(strstr(a.text, "current_error"));
    fixture_close(&f, 0);
}

static int32_t prompt_of(struct client *c, const char *adapter)
{
    client_wait(c);
    int32_t tokens = c->usage.prompt_tokens;
    free(text_of(c, adapter));
    return tokens;
}

/* A request that names no model brings neither adapter nor template of the default one with it,
 * since it may have gone elsewhere: they are found here. */
static void test_a_derived_default_models_own_adapter_and_template(void **state)
{
    (void)state;
    struct fixture f;
    struct engine *engine;
    struct error error;
    assert_int_equal(engine_open_llama(HEARTH_BINARY_DIR "/lib/hearth", &engine, &error), OK);
    fixture_open_ctx(&f, engine, "mario", "", 6, 512);
    add_derived(f.dir, "mario", MARIO);
    int32_t plain = prompt_of(begin(&f, "hearth-tiny", NULL), "");
    int32_t bare = prompt_of(begin(&f, "", NULL), "pirate");
    assert_true(bare < plain); /* the question alone */
    assert_int_equal(prompt_of(begin(&f, "mario", NULL), "pirate"), bare);
    assert_int_equal(prompt_of(begin(&f, "", "terse"), "terse"), bare);
    assert_int_equal(prompt_of(begin(&f, "", "base"), ""), bare);
    struct gen_request *req = chat_request("", QUESTION);
    req->chat_template = "{{ messages[0].content }} {{ messages[0].content }}";
    req->max_tokens = 1;
    assert_true(prompt_of(send_request(&f, req), "pirate") > bare);
    fixture_close(&f, 0);
}

static void test_what_is_refused(void **state)
{
    (void)state;
    struct fixture f;
    struct answer a;
    char path[400];
    open_builtin(&f);
    mkdir(f.adapters, 0755);
    snprintf(path, sizeof path, "%s/torn.gguf", f.adapters);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fputs("GGUF", file);
    fclose(file);
    expect_refusal(begin(&f, "", "torn"), ERR_ADAPTER, "/adapter", "torn");
    expect_refusal(begin(&f, "", "privateer"), ERR_NO_ADAPTER, "/adapter", "pirate, terse");
    struct gen_request *req = chat_request("", QUESTION);
    req->adapter = "pirate";
    req->adapter_scale = 1e9f;
    expect_refusal(send_request(&f, req), ERR_INVALID, "/adapter_scale", "scale");
    assert_int_equal(control(&f, CONTROL_ADAPTER_LOAD, "{}", &a), ERR_INVALID);
    assert_int_equal(control(&f, CONTROL_ADAPTER_LOAD, "{\"adapter_name\":\"x\"}", &a),
                     ERR_NO_ADAPTER);
    assert_string_equal(a.error.param, "/adapter_name");
    assert_int_equal(control(&f, CONTROL_ADAPTER_LOAD, "{\"adapter_name\":\"torn\"}", &a),
                     ERR_ADAPTER);
    assert_int_equal(
        control(&f, CONTROL_ADAPTER_LOAD, "{\"adapter_name\":\"pirate\",\"scale\":\"x\"}", &a),
        ERR_INVALID);
    free(text_of(begin(&f, "", NULL), "")); /* none of them was chosen */
    fixture_close(&f, 0);
}

static void test_scale_makes_it_stronger_or_weaker(void **state)
{
    (void)state;
    struct fixture f;
    open_builtin(&f);
    char *base = text_of(begin(&f, "", NULL), "");
    struct gen_request *req = chat_request("", QUESTION);
    req->adapter = "pirate";
    req->adapter_scale = 0.001f;
    req->max_tokens = 32;
    char *weak = text_of(send_request(&f, req), "pirate");
    assert_string_equal(base, weak);
    free(base);
    free(weak);
    fixture_close(&f, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mixed_in_one_hub_each_answer_is_as_alone),
        cmocka_unit_test(test_an_answer_goes_on_with_its_adapter),
        cmocka_unit_test(test_an_adapter_in_the_models_name),
        cmocka_unit_test(test_one_for_all),
        cmocka_unit_test(test_one_for_all_that_has_gone_is_left_out),
        cmocka_unit_test(test_a_derived_default_models_own_adapter_and_template),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_scale_makes_it_stronger_or_weaker),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
