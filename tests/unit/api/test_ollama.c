/* Ollama's surface: how bodies are understood, and what is refused with which pointer. What is
 * answered is tests/e2e/ollama-api.test.mjs's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "api/ollama/ollama_int.h"
#include "api/request.h"
#include "support/call_env.h"

static enum err parse(bool chat, const char *text, struct ollama_call *call, struct error *error)
{
    json_t *body;
    enum err e = request_parse_object(text, strlen(text), &body, error);
    if (e) return e;
    e = (chat ? ollama_chat_parse : ollama_generate_parse)(body, strlen(text), &env, call, error);
    json_decref(body);
    return e;
}

static struct gen_request *accept(bool chat, const char *text, struct ollama_call *call)
{
    struct error error;
    if (parse(chat, text, call, &error))
        fail_msg("%s\nwas refused: %s (%s)", text, error.msg, error.param);
    return call->call.requests[0];
}

#define HI   "\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
#define O(x) "{" HI ",\"options\":{" x "}}"

static void options(void **state)
{
    (void)state;
    struct ollama_call call;
    const struct gen_request *r = accept(
        true,
        O("\"temperature\":0.5,\"top_k\":-1,\"top_p\":0.25,\"min_p\":0.125,\"repeat_penalty\":0,"
          "\"repeat_last_n\":-1,\"presence_penalty\":1,\"frequency_penalty\":-1,\"seed\":7.9,"
          "\"num_predict\":-2,\"stop\":[\"a\",\"\"],\"num_ctx\":\"any\",\"from_the_future\":1"),
        &call);
    const struct sampling *s = &r->sampling;
    assert_true(s->temperature == 0.5f && s->top_p == 0.25f && s->min_p == 0.125f);
    assert_int_equal(s->top_k, 0);
    assert_true(s->repeat_penalty == 1 && s->presence_penalty == 1 && s->frequency_penalty == -1);
    assert_int_equal(s->repeat_last_n, -1);
    assert_int_equal(s->seed, 7);
    assert_int_equal(r->max_tokens, -1);
    assert_int_equal(r->n_stop, 1);
    assert_int_equal(r->said, SAID_STOP * 2 - 1);
    call_free(&call.call);

    r = accept(true, O("\"temperature\":null,\"top_k\":3"), &call);
    assert_int_equal(r->said, SAID_TOP_K);
    assert_true(r->sampling.temperature == 0.7f);
    assert_int_equal(r->max_tokens, 2048);
    call_free(&call.call);

    static const struct {
        const char *text;
        uint32_t seed;
    } seeds[] = {{O("\"seed\":-1"), SEED_RANDOM},
                 {O("\"seed\":4294967296"), 1},
                 {O("\"seed\":4294967295"), SEED_RANDOM - 1},
                 {O("\"seed\":-9007199254740991"), 0xFFE00001u}};
    for (size_t i = 0; i < sizeof seeds / sizeof *seeds; i++) {
        r = accept(true, seeds[i].text, &call);
        if (r->sampling.seed != seeds[i].seed) fail_msg("%s: %u", seeds[i].text, r->sampling.seed);
        call_free(&call.call);
    }
}

static void roles_and_pictures(void **state)
{
    (void)state;
    struct ollama_call call;
    const struct gen_request *r = accept(
        true,
        "{\"model\":\"m:latest\",\"messages\":[{\"role\":\"System\",\"content\":\"s\"},"
        "{\"role\":\"developer\"},{\"role\":\"USER\",\"images\":[\"iVBORw0KGg\",\"/9j/AA==\","
        "\"data:image/webp;base64,UklGRg==\"]},{\"role\":\"assistant\"},{\"role\":\"tool\"}]}",
        &call);
    static const enum role roles[] = {ROLE_SYSTEM, ROLE_SYSTEM, ROLE_USER, ROLE_ASSISTANT,
                                      ROLE_TOOL};
    static const char *const types[] = {"image/png", "image/jpeg", "image/webp"};
    static const char *const data[] = {"iVBORw0KGg==", "/9j/AA==", "UklGRg=="};
    assert_string_equal(r->model, "m");
    assert_int_equal(r->n_messages, 5);
    for (size_t i = 0; i < 5; i++) assert_int_equal(r->messages[i].role, roles[i]);
    assert_int_equal(r->messages[2].n_images, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal(r->messages[2].images[i].media_type, types[i]);
        assert_string_equal(r->messages[2].images[i].data, data[i]);
    }
    call_free(&call.call);
}

static void gaps(void **state)
{
    (void)state;
    struct ollama_call call;
    const struct gen_request *r =
        accept(false,
               "{\"model\":\"m\",\"prompt\":\"a\",\"suffix\":\"z\",\"system\":\"s\",\"options\":"
               "{\"num_predict\":9}}",
               &call);
    struct buf text;
    buf_init(&text, 4096);
    assert_int_equal(r->kind, GEN_RAW);
    assert_int_equal(r->n_messages, 0);
    assert_false(call.load_only);
    assert_int_equal(json_dump(call.call.questions, &text), OK);
    assert_string_equal(buf_str(&text), "[{\"input_prefix\":\"\",\"input_suffix\":\"z\","
                                        "\"prompt\":\"a\",\"n_predict\":9}]");
    buf_free(&text);
    call_free(&call.call);

    r = accept(false, "{\"model\":\"m\",\"prompt\":\"a\",\"suffix\":\"\"}", &call);
    assert_int_equal(r->kind, GEN_CHAT);
    assert_null(call.call.questions);
    call_free(&call.call);
    accept(false, "{\"model\":\"m\",\"suffix\":\"z\"}", &call);
    assert_false(call.load_only);
    call_free(&call.call);
    accept(false, "{\"model\":\"m\"}", &call);
    assert_true(call.load_only);
    call_free(&call.call);
}

static void what_is_wrong(void **state)
{
    (void)state;
    static const struct {
        bool chat;
        const char *text, *param;
    } cases[] = {
        {true, "{}", "/model"},
        {true, O("\"temperature\":101"), "/options/temperature"},
        {true, O("\"top_k\":\"7\""), "/options/top_k"},
        {true, O("\"seed\":1e16"), "/options/seed"},
        {true, O("\"seed\":-1e300"), "/options/seed"},
        {true, O("\"num_predict\":-3"), "/options/num_predict"},
        {true, O("\"stop\":[1]"), "/options/stop"},
        {true, "{\"model\":\"m\",\"messages\":[{\"role\":\"judge\"}]}", "/messages/0/role"},
        {true, "{\"model\":\"m\",\"messages\":[{\"role\":\"an assistant and more\"}]}",
         "/messages/0/role"},
        {true, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"images\":[\"Qk0=\"]}]}",
         "/messages/0/images/0"},
        {true, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"images\":[7]}]}",
         "/messages/0/images/0"},
        {false, "{\"model\":\"m\",\"prompt\":\"a\",\"images\":[\"!\"]}", "/images/0"},
        {false, "{\"model\":\"m\",\"suffix\":\"z\",\"images\":[\"iVBORw0KGg==\"]}", "/images"},
        {false, "{\"model\":\"m\",\"suffix\":\"z\",\"template\":\"{{ .Prompt }}\"}", "/template"},
        {false, "{\"model\":\"m\",\"suffix\":\"z\",\"raw\":true,\"system\":\"s\"}", ""},
        {false, "{\"model\":\"m\",\"prompt\":\"a\",\"template\":\"{{ if }}\"}", "/template"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ollama_call call;
        struct error error = {.code = OK};
        if (parse(cases[i].chat, cases[i].text, &call, &error) != ERR_INVALID)
            fail_msg("%s: %d", cases[i].text, error.code);
        assert_string_equal(error.param, cases[i].param);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options),
        cmocka_unit_test(roles_and_pictures),
        cmocka_unit_test(gaps),
        cmocka_unit_test(what_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
