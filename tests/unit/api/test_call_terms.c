/* What every surface takes of Hearth's own: the same members, read the same way, of every body that
 * has something computed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "api/anthropic/anthropic_int.h"
#include "api/llama/llama_int.h"
#include "api/ollama/ollama_int.h"
#include "api/openai/openai_int.h"
#include "api/request.h"
#include "api/responses/responses_int.h"

enum { NOW_MS = 1000000, LATER_MS = 2500 };

/* As if the header said 7 and the hub's setting 50. */
static const struct call_env header = {.request_id = "req-1",
                                       .tenant = "ada",
                                       .priority = "7",
                                       .temperature = 0.7,
                                       .top_p = 0.9,
                                       .max_tokens = 100,
                                       .default_priority = 50,
                                       .now_ms = NOW_MS};

/* ---- the surfaces -------------------------------------------------------------------------- */

/* What came of a body. */
struct taken {
    struct call call;
    struct embed_request *embed;
};

typedef enum err parse_fn(json_t *body, size_t len, struct taken *out, struct error *error);

static enum err parse_chat(json_t *body, size_t len, struct taken *out, struct error *error)
{
    return chat_parse(body, len, &header, &out->call, error);
}

static enum err parse_completion(json_t *body, size_t len, struct taken *out, struct error *error)
{
    return completion_parse(body, len, &header, &out->call, error);
}

static enum err parse_messages(json_t *body, size_t len, struct taken *out, struct error *error)
{
    struct messages_wish wish;
    return messages_parse(body, len, false, &header, &out->call, &wish, error);
}

static enum err parse_response(json_t *body, size_t len, struct taken *out, struct error *error)
{
    struct response_source source = {.env = &header, .user_id = "ada"};
    struct response_call c;
    enum err e = response_parse(&source, body, len, &c, error);
    if (e) return e;
    out->call = c.call;
    response_info_free(&c.info);
    return OK;
}

static enum err parse_ollama(json_t *body, size_t len, struct taken *out, struct error *error)
{
    struct ollama_call c;
    bool chat = json_object_get(body, "messages") != NULL;
    enum err e = (chat ? ollama_chat_parse : ollama_generate_parse)(body, len, &header, &c, error);
    if (!e) out->call = c.call;
    return e;
}

static enum err parse_llama(json_t *body, size_t len, struct taken *out, struct error *error)
{
    struct completion_wish wish;
    bool infill = json_object_get(body, "input_prefix") != NULL;
    return completion_read(body, len, infill, &header, &out->call, &wish, error);
}

static enum err parse_embeddings(json_t *body, size_t len, struct taken *out, struct error *error)
{
    struct embed_call c;
    enum err e = embed_parse(body, len, &header, &c, error);
    out->embed = c.request;
    return e;
}

static enum err parse_rerank(json_t *body, size_t len, struct taken *out, struct error *error)
{
    struct rerank_call c;
    enum err e = rerank_parse(body, len, &header, &c, error);
    out->embed = c.request;
    return e;
}

/* /api/v1/chat keeps conversations and is tests/e2e/terms.test.mjs's, as are Ollama's embeddings.
 */
static const struct surface {
    const char *body;
    parse_fn *parse;
} surfaces[] = {
    {"\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]", parse_chat},
    {"\"prompt\":\"hi\"", parse_completion},
    {"\"model\":\"m\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]",
     parse_messages},
    {"\"input\":\"hi\",\"store\":false", parse_response},
    {"\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]", parse_ollama},
    {"\"model\":\"m\",\"prompt\":\"hi\"", parse_ollama},
    {"\"prompt\":\"hi\",\"n_predict\":9", parse_llama},
    {"\"input_prefix\":\"a\",\"input_suffix\":\"b\"", parse_llama},
    {"\"input\":\"hi\"", parse_embeddings},
    {"\"query\":\"a\",\"documents\":[\"b\"]", parse_rerank},
};
enum { N_SURFACES = sizeof surfaces / sizeof *surfaces };

static bool generates(const struct surface *s)
{
    return s->parse != parse_embeddings && s->parse != parse_rerank;
}

/* The surface's body with `more` in it. */
static enum err take(const struct surface *s, const char *more, struct taken *out,
                     struct error *error)
{
    char text[1024];
    json_t *body;
    *out = (struct taken){0};
    snprintf(text, sizeof text, "{%s%s%s}", s->body, *more ? "," : "", more);
    assert_int_equal(request_parse_object(text, strlen(text), &body, error), OK);
    enum err e = s->parse(body, strlen(text), out, error);
    json_decref(body);
    return e;
}

static void accept(const struct surface *s, const char *more, struct taken *out)
{
    struct error error;
    if (take(s, more, out, &error))
        fail_msg("{%s}\nrefuses %s: %s (%s)", s->body, more, error.msg, error.param);
}

static void drop(struct taken *t)
{
    call_free(&t->call);
    if (t->embed) arena_free(t->embed->arena);
}

/* ---- what is taken ------------------------------------------------------------------------- */

static void test_what_is_said_is_taken(void **state)
{
    (void)state;
    const char *said = "\"priority\":3,\"deadline_ms\":2500,\"keep_alive\":\"5m\","
                       "\"adapter\":\"pirate\",\"adapter_scale\":0.5,\"deterministic\":true,"
                       "\"context_overflow\":\"shift\",\"model_source\":\"ollama\","
                       "\"route\":\"code\",\"optimization_goal\":\"cost\",\"local_only\":true";
    for (const struct surface *s = surfaces; s < surfaces + N_SURFACES; s++) {
        struct taken t;
        accept(s, said, &t);
        const struct gen_request *g = generates(s) ? t.call.requests[0] : NULL;
        assert_int_equal(g ? g->priority : t.embed->priority, 3);
        assert_int_equal(g ? g->deadline_ms : t.embed->deadline_ms, NOW_MS + LATER_MS);
        assert_int_equal(g ? g->keep_alive_ms : t.embed->keep_alive_ms, 300000);
        assert_string_equal(g ? g->source : t.embed->source, "ollama");
        assert_string_equal(g ? g->route : t.embed->route, "code");
        assert_true(g ? g->local_only : t.embed->local_only);
        if (g) {
            assert_string_equal(g->adapter, "pirate");
            assert_true(g->adapter_scale == 0.5f);
            assert_true(g->deterministic);
            assert_int_equal(g->overflow, OVERFLOW_SHIFT);
            assert_int_equal(g->goal, GOAL_COST);
        }
        drop(&t);
    }
}

static void test_what_is_not_said_is_as_configured(void **state)
{
    (void)state;
    for (const struct surface *s = surfaces; s < surfaces + N_SURFACES; s++) {
        struct taken t;
        accept(s, "", &t);
        const struct gen_request *g = generates(s) ? t.call.requests[0] : NULL;
        assert_int_equal(g ? g->priority : t.embed->priority, 7); /* as the header says */
        assert_int_equal(g ? g->deadline_ms : t.embed->deadline_ms, 0);
        assert_int_equal(g ? g->keep_alive_ms : t.embed->keep_alive_ms, KEEP_ALIVE_DEFAULT);
        assert_string_equal(g ? g->source : t.embed->source, "");
        assert_false(g ? g->local_only : t.embed->local_only);
        if (g) {
            assert_null(g->adapter);
            assert_true(g->adapter_scale == 1);
            assert_false(g->deterministic);
            assert_int_equal(g->overflow, OVERFLOW_DEFAULT);
            assert_int_equal(g->goal, GOAL_DEFAULT);
        }
        drop(&t);
    }
}

static void test_an_adapter_that_does_nothing_is_none(void **state)
{
    (void)state;
    for (const struct surface *s = surfaces; s < surfaces + N_SURFACES; s++) {
        struct taken t;
        if (!generates(s)) continue;
        accept(s, "\"adapter\":\"pirate\",\"adapter_scale\":0", &t);
        assert_string_equal(t.call.requests[0]->adapter, "base");
        drop(&t);
    }
}

/* ---- what is refused ----------------------------------------------------------------------- */

static void test_refusals_are_the_same_everywhere(void **state)
{
    (void)state;
    static const struct {
        const char *more, *param, *msg;
        bool generating;
    } cases[] = {
        {"\"priority\":101", "/priority", "/priority: must be from 0 to 100, got 101", false},
        {"\"priority\":\"5\"", "/priority", "/priority: must be an integer, got a string", false},
        {"\"deadline_ms\":0", "/deadline_ms", "/deadline_ms: must be from 1 to", false},
        {"\"keep_alive\":\"soon\"", "/keep_alive", "/keep_alive: must be a number of seconds",
         false},
        {"\"optimization_goal\":\"fun\"", "/optimization_goal", "/optimization_goal must be",
         false},
        {"\"adapter\":\"\"", "/adapter", "/adapter: must not be empty", true},
        {"\"adapter\":1", "/adapter", "/adapter: must be a string", true},
        {"\"adapter_scale\":101", "/adapter_scale", "/adapter_scale: must be from -100", true},
        {"\"deterministic\":1", "/deterministic", "/deterministic: must be true or false", true},
        {"\"context_overflow\":\"wrap\"", "/context_overflow",
         "/context_overflow: must be \"stop\" or \"shift\", got \"wrap\"", true},
    };
    for (const struct surface *s = surfaces; s < surfaces + N_SURFACES; s++)
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            struct taken t;
            struct error error = {0};
            if (cases[i].generating && !generates(s)) continue;
            if (take(s, cases[i].more, &t, &error) == OK)
                fail_msg("{%s} takes %s", s->body, cases[i].more);
            assert_int_equal(error.code, ERR_INVALID);
            assert_string_equal(error.param, cases[i].param);
            if (strncmp(error.msg, cases[i].msg, strlen(cases[i].msg)) != 0)
                fail_msg("{%s}, %s: %s", s->body, cases[i].more, error.msg);
        }
}

/* OpenAI's own word for it stays; Hearth's says more and goes before. */
static void test_truncation_of_responses(void **state)
{
    (void)state;
    static const struct {
        const char *more;
        enum overflow expected;
    } cases[] = {
        {"\"truncation\":\"auto\"", OVERFLOW_SHIFT},
        {"\"truncation\":\"disabled\"", OVERFLOW_DEFAULT},
        {"\"truncation\":\"auto\",\"context_overflow\":\"stop\"", OVERFLOW_STOP},
        {"\"truncation\":\"disabled\",\"context_overflow\":\"shift\"", OVERFLOW_SHIFT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (const struct surface *s = surfaces; s < surfaces + N_SURFACES; s++) {
            struct taken t;
            if (s->parse != parse_response) continue;
            accept(s, cases[i].more, &t);
            assert_int_equal(t.call.requests[0]->overflow, cases[i].expected);
            drop(&t);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_said_is_taken),
        cmocka_unit_test(test_what_is_not_said_is_as_configured),
        cmocka_unit_test(test_an_adapter_that_does_nothing_is_none),
        cmocka_unit_test(test_refusals_are_the_same_everywhere),
        cmocka_unit_test(test_truncation_of_responses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
