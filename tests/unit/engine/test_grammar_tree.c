/* What a grammar allows is the same whether it is asked about the vocabulary as a tree or about
 * every token: the same answers, token for token, for many grammars and ways of sampling. */
#include "help.h"

#include "base/fault.h"

#if HEARTH_FAULTS

static const struct {
    const char *schema, *grammar;
} cases[] = {
    {.schema =
         "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\",\"maxLength\":9},"
         "\"kind\":{\"enum\":[\"cat\",\"dog\",\"bird\"]},\"legs\":{\"type\":\"integer\","
         "\"minimum\":0,\"maximum\":130},\"tags\":{\"type\":\"array\",\"items\":{\"enum\":["
         "\"red\",\"green\"]},\"minItems\":2},\"at\":{\"type\":\"object\",\"properties\":{"
         "\"x\":{\"type\":\"number\"}},\"required\":[\"x\"]}},\"required\":[\"name\",\"kind\","
         "\"legs\",\"tags\",\"at\"],\"additionalProperties\":false}"},
    {.schema = "{\"type\":\"object\"}"},
    {.grammar = "root ::= (\"yes\" | \"no\" | \"maybe\") \" \" [0-9]+ \".\" [a-z ]*"},
    {.grammar = "root ::= [\xce\xb1-\xcf\x89\xc3\xa9]+ [^\"a-z]{3} .*"},
    {.grammar = "root ::= \"\xc3\xa9\xe4\xb8\xad\" (\"a\" | \"b\")* [^\xc3\xa9]*"}, /* not closed */
    {.grammar = "root ::= line{3}\nline ::= [A-Z] [a-z]{2,6} (\" \" [a-z]+){0,3} \"\\n\""},
};

static const struct sampling ways[] = {
    {.temperature = 0, .top_p = 1, .repeat_penalty = 1},
    {.temperature = 0, .top_p = 1, .repeat_penalty = 1.3f, .repeat_last_n = 64},
    {.temperature = 1, .top_p = 0.9f, .repeat_penalty = 1, .seed = 1},
    {.temperature = 2.5f, .top_p = 1, .repeat_penalty = 1, .seed = 2},
    {.temperature = 1.5f,
     .top_k = 40,
     .top_p = 0.95f,
     .min_p = 0.02f,
     .repeat_penalty = 1,
     .seed = 3},
    {.temperature = 3, .top_k = 2000, .top_p = 1, .repeat_penalty = 1, .seed = 4},
};

enum { TOKENS = 48 };

/* Returns how many tokens came. */
static int generate(struct engine_model *m, struct engine_ctx *c, size_t which,
                    const struct sampling *way, bool without_tree, int32_t *out)
{
    struct message msg = {.role = ROLE_USER, .content = "Tell me about a pet."};
    struct gen_request req = {
        .kind = GEN_CHAT, .messages = &msg, .n_messages = 1, .sampling = *way};
    struct engine_sampler *s;
    struct error error;
    size_t n;
    int k = 0;
    req.format = cases[which].schema ? FORMAT_JSON_SCHEMA : FORMAT_GRAMMAR;
    req.schema = cases[which].schema;
    req.grammar = cases[which].grammar;
    struct engine_prompt *p = help_prompt(m, &req);
    const int32_t *tokens = engine_prompt_tokens(p, &n);
    if (without_tree) fault_arm(FAULT_alloc, 1, true);
    if (engine_sampler_new(m, &req.sampling, p, &s, &error)) fail_msg("%s", error.msg);
    fault_arm(FAULT_alloc, 0, false);
    engine_seq_remove(c, 0, -1, -1);
    assert_int_equal(help_feed(c, 0, 0, tokens, n, &error), OK);
    for (int32_t index = (int32_t)n - 1; k < TOKENS; index = 0) {
        struct engine_sample got;
        if (engine_sample(c, s, index, &got, &error)) fail_msg("sample: %s", error.msg);
        out[k++] = got.token;
        if (got.is_end) break;
        assert_int_equal(help_feed(c, 0, (int32_t)n + k - 1, &got.token, 1, &error), OK);
    }
    engine_sampler_free(s);
    engine_prompt_free(p);
    return k;
}

static void test_the_same_answers_with_and_without_a_tree(void **state)
{
    (void)state;
    struct engine_model *plain = help_load(CHAT_MODEL);
    struct engine_ctx *a = help_ctx(help_model, 1024, false), *b = help_ctx(plain, 1024, false);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t k = 0; k < sizeof ways / sizeof *ways; k++) {
            int32_t with[TOKENS], without[TOKENS];
            int n = generate(help_model, a, i, &ways[k], false, with);
            int m = generate(plain, b, i, &ways[k], true, without);
            if (n != m || memcmp(with, without, (size_t)n * sizeof *with) != 0)
                fail_msg("grammar %zu, sampling %zu: %d and %d tokens differ", i, k, n, m);
        }
    engine_ctx_free(a);
    engine_ctx_free(b);
    engine_model_free(plain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_same_answers_with_and_without_a_tree),
    };
    return cmocka_run_group_tests_name("grammar tree", tests, help_open, help_close);
}

#else

int main(void)
{
    return 0; /* without faults there is no way to do without the tree */
}

#endif
