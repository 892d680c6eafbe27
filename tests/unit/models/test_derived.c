/* Modelfiles, names, records, and what a record does to a request. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/mem.h"
#include "base/str.h"
#include "models/create.h"
#include "models/derived.h"

static struct error error;

/* ---- Modelfiles ---------------------------------------------------------------------------- */

static void expect(const char *text, const char *json)
{
    json_t *doc, *wanted;
    struct buf out;
    if (modelfile_parse(text, strlen(text), &doc, &error)) fail_msg("%s: %s", text, error.msg);
    assert_int_equal(json_parse(json, strlen(json), &wanted, &error), OK);
    buf_init(&out, 1 << 20);
    assert_int_equal(json_dump(doc, &out), OK);
    if (!json_equal(doc, wanted)) fail_msg("%s gives %s", text, buf_str(&out));
    buf_free(&out);
    json_decref(doc);
    json_decref(wanted);
}

static void refuse(const char *text, const char *words)
{
    json_t *doc;
    assert_int_not_equal(modelfile_parse(text, strlen(text), &doc, &error), OK);
    if (!strstr(error.msg, words)) fail_msg("%s: %s", text, error.msg);
}

static void modelfiles(void **state)
{
    (void)state;
    expect("FROM a:1b", "{\"from\":\"a:1b\",\"parameters\":{}}");
    expect("# c\r\n\r\n  from   a b  \r\n", "{\"from\":\"a b\",\"parameters\":{}}");
    expect("FROM a\nSYSTEM \"\"\"\n  two\n lines\"\"\"\n",
           "{\"from\":\"a\",\"parameters\":{},\"system\":\"\\n  two\\n lines\"}");
    expect("FROM a\nSYSTEM \"one\"\nADAPTER ./x.gguf\nTEMPLATE {{ .Prompt }}",
           "{\"from\":\"a\",\"parameters\":{},\"system\":\"one\",\"adapter\":\"./x.gguf\","
           "\"template\":\"{{ .Prompt }}\"}");
    expect(
        "FROM a\nPARAMETER temperature 0.5\nPARAMETER top_k 7\nPARAMETER stop \"a b\"\n"
        "PARAMETER stop 1\nPARAMETER use_mmap true",
        "{\"from\":\"a\",\"parameters\":{\"temperature\":0.5,\"top_k\":7,\"stop\":[\"a b\",\"1\"],"
        "\"use_mmap\":true}}");
    expect("FROM a\nMESSAGE user hi there\nMESSAGE Assistant \"\"\"yes\nno\"\"\"\nLICENSE "
           "x\nLICENSE y",
           "{\"from\":\"a\",\"parameters\":{},\"messages\":[{\"role\":\"user\",\"content\":\"hi "
           "there\"},"
           "{\"role\":\"assistant\",\"content\":\"yes\\nno\"}],\"license\":[\"x\",\"y\"]}");
    refuse("", "no FROM");
    refuse("FROM", "something is missing");
    refuse("FROM a\nFRO b", "line 2: command must be one of");
    refuse("FROM a\nSYSTEM \"x", "no end");
    refuse("FROM a\nSYSTEM \"x\" y", "more on the line");
    refuse("FROM a\nPARAMETER temperature hot", "line 2: temperature must be a number");
    refuse("FROM a\nPARAMETER heat 1", "unknown parameter 'heat'");
    refuse("FROM a\nMESSAGE judge x", "message role must be one of");
    refuse("FROM \xff", "UTF-8");
    for (int i = 0; i < 2; i++) { /* one more stop text than fit */
        struct buf many;
        buf_init(&many, 1 << 16);
        buf_puts(&many, "FROM a\n");
        for (int k = 0; k < GEN_STOP_MAX + i; k++) buf_printf(&many, "PARAMETER stop s%d\n", k);
        json_t *doc = NULL;
        enum err e = modelfile_parse(buf_str(&many), many.len, &doc, &error);
        assert_int_equal(e, i ? ERR_INVALID : OK);
        if (!e) json_decref(doc);
        buf_free(&many);
    }
}

static void what_is_written_reads_the_same(void **state)
{
    (void)state;
    static const char text[] =
        "FROM a\nTEMPLATE \"\"\"t\"\"\"\nSYSTEM \"\"\"s\"\"\"\nPARAMETER stop \"x\"\n"
        "PARAMETER stop \"y\"\nPARAMETER top_k 3\nMESSAGE user \"\"\"m\"\"\"\n";
    json_t *doc, *again;
    struct buf out;
    buf_init(&out, 1 << 16);
    assert_int_equal(modelfile_parse(text, strlen(text), &doc, &error), OK);
    modelfile_write("a", doc, &out);
    assert_int_equal(modelfile_parse(buf_str(&out), out.len, &again, &error), OK);
    assert_true(json_equal(doc, again));
    json_decref(doc);
    json_decref(again);
    buf_free(&out);
}

/* ---- names and records ---------------------------------------------------------------------- */

static void names(void **state)
{
    (void)state;
    static const char *const good[][2] = {{"a", "a"},
                                          {"a:latest", "a"},
                                          {"A.b_c-d:1b", "A.b_c-d:1b"},
                                          {"ns/a:x", "ns/a:x"},
                                          {"hf.co/ns/a", "hf.co/ns/a"}};
    static const char *const bad[] = {"",     ":x", "a:", "a:b:c", "/a",  "a/", "a//b", "a/b/c/d",
                                      "../a", "-a", ".a", "a b",   "a%b", "ä",  "a\n"};
    char name[MODEL_ID_MAX], path[4096];
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        if (derived_name(good[i][0], name, &error)) fail_msg("%s", error.msg);
        assert_string_equal(name, good[i][1]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (derived_name(bad[i], name, &error) != ERR_INVALID) fail_msg("%s was taken", bad[i]);
    assert_int_equal(derived_path("/m", "Ns/A:x", path, &error), OK);
    assert_string_equal(path, "/m/derived/ns%2Fa%3Ax.json");
}

static struct derived *record(const char *json)
{
    json_t *doc;
    struct derived *d = NULL;
    if (json_parse(json, strlen(json), &doc, &error) || derived_of_json(doc, &d, &error))
        fail_msg("%s: %s", json, error.msg);
    return d;
}

static void records_that_are_wrong(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "[]",
        "{}",
        "{\"name\":\"a\"}",
        "{\"name\":\"a\",\"from\":\"b\",\"file\":\"c\"}",
        "{\"name\":\"../a\",\"from\":\"b\"}",
        "{\"name\":\"a\",\"from\":1}",
        "{\"name\":\"a\",\"from\":\"b\",\"system\":1}",
        "{\"name\":\"a\",\"from\":\"b\",\"parameters\":[]}",
        "{\"name\":\"a\",\"from\":\"b\",\"parameters\":{\"top_k\":1.5}}",
        "{\"name\":\"a\",\"from\":\"b\",\"parameters\":{\"stop\":[1]}}",
        "{\"name\":\"a\",\"from\":\"b\",\"messages\":[{}]}",
        "{\"name\":\"a\",\"from\":\"b\",\"messages\":[{\"role\":\"tool\",\"content\":\"\"}]}",
        "{\"name\":\"a\",\"from\":\"b\",\"template\":\"{{ if }}\"}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        json_t *doc;
        struct derived *d;
        assert_int_equal(json_parse(bad[i], strlen(bad[i]), &doc, &error), OK);
        error = (struct error){0};
        if (derived_of_json(doc, &d, &error) == OK) fail_msg("%s was taken", bad[i]);
        assert_true(error.msg[0]);
    }
}

/* ---- application ---------------------------------------------------------------------------- */

static struct gen_request *request(const struct message *messages, size_t n)
{
    struct arena *a = arena_new(1024); /* too little for what a record brings */
    struct gen_request *req = arena_calloc(a, 1, sizeof *req);
    req->arena = a;
    req->kind = GEN_CHAT;
    req->messages = messages;
    req->n_messages = n;
    req->max_tokens = 100;
    req->sampling.temperature = 0.7f;
    return req;
}

#define RECORD                                                                                     \
    "{\"name\":\"a\",\"from\":\"b\",\"system\":\"S\",\"template\":\"{{ .Prompt }}\",\"adapter\":"  \
    "\"L\",\"parameters\":{\"temperature\":0.5,\"top_k\":-1,\"num_predict\":-2,\"seed\":-1,"       \
    "\"repeat_penalty\":0,\"stop\":[\"x\",\"\",\"y\"]},"                                           \
    "\"messages\":[{\"role\":\"user\",\"content\":\"U\"}]}"

static void what_is_open_is_filled(void **state)
{
    (void)state;
    struct derived *d = record(RECORD);
    struct message hi = {.role = ROLE_USER, .content = "hi"};
    struct gen_request *req = request(&hi, 1);
    if (derived_apply(d, req, &error)) fail_msg("%s", error.msg);
    derived_unref(d); /* the request has copies */
    assert_int_equal(req->n_messages, 3);
    assert_int_equal(req->messages[0].role, ROLE_SYSTEM);
    assert_string_equal(req->messages[0].content, "S");
    assert_string_equal(req->messages[1].content, "U");
    assert_string_equal(req->messages[2].content, "hi");
    assert_true(req->sampling.temperature == 0.5f && req->sampling.top_k == 0);
    assert_true(req->sampling.repeat_penalty == 1 && req->sampling.seed == SEED_RANDOM);
    assert_int_equal(req->max_tokens, -1);
    assert_int_equal(req->n_stop, 2);
    assert_string_equal(req->stop[1], "y");
    assert_string_equal(req->adapter, "L");
    assert_non_null(strstr(req->chat_template, "ns.prompt"));
    arena_free(req->arena);
}

static void what_was_said_stays(void **state)
{
    (void)state;
    struct derived *d = record(RECORD);
    struct message two[] = {{.role = ROLE_SYSTEM, .content = "mine"},
                            {.role = ROLE_USER, .content = "hi"}};
    struct gen_request *req = request(two, 2);
    const char *stop = "z";
    req->said = SAID_TEMPERATURE | SAID_MAX_TOKENS | SAID_STOP;
    req->stop = &stop;
    req->n_stop = 1;
    req->adapter = "M";
    req->chat_template = "mine";
    assert_int_equal(derived_apply(d, req, &error), OK);
    derived_unref(d);
    assert_int_equal(req->n_messages, 3);
    assert_string_equal(req->messages[0].content, "mine");
    assert_string_equal(req->messages[1].content, "U");
    assert_true(req->sampling.temperature == 0.7f);
    assert_int_equal(req->max_tokens, 100);
    assert_ptr_equal(req->stop, &stop);
    assert_string_equal(req->adapter, "M");
    assert_string_equal(req->chat_template, "mine");
    arena_free(req->arena);
}

static void raw_prompts_get_parameters_only(void **state)
{
    (void)state;
    struct derived *d = record(RECORD);
    struct gen_request *req = request(NULL, 0);
    req->kind = GEN_RAW;
    req->prompt = "p";
    assert_int_equal(derived_apply(d, req, &error), OK);
    derived_unref(d);
    assert_int_equal(req->n_messages, 0);
    assert_int_equal(req->max_tokens, -1);
    arena_free(req->arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(modelfiles),
        cmocka_unit_test(what_is_written_reads_the_same),
        cmocka_unit_test(names),
        cmocka_unit_test(records_that_are_wrong),
        cmocka_unit_test(what_is_open_is_filled),
        cmocka_unit_test(what_was_said_stays),
        cmocka_unit_test(raw_prompts_get_parameters_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
