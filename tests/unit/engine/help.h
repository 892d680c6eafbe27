/* What the tests over real models share: the built-in models, loaded once per program, and a small
 * generator that does what a scheduler does, for one sequence. */
#ifndef HEARTH_TESTS_ENGINE_HELP_H
#define HEARTH_TESTS_ENGINE_HELP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/engine.h"

#define CHAT_MODEL   HEARTH_SOURCE_DIR "/models/hearth-tiny.gguf"
#define EMBED_MODEL  HEARTH_SOURCE_DIR "/models/hearth-tiny-embed.gguf"
#define RERANK_MODEL HEARTH_SOURCE_DIR "/models/hearth-tiny-rerank.gguf"

static struct engine *help_engine;
static struct engine_model *help_model;

static inline struct engine_model *help_load(const char *path)
{
    struct engine_model *m;
    struct error error;
    struct engine_model_params p = {.path = path, .n_gpu_layers = -1, .use_mmap = true};
    if (engine_model_load(help_engine, &p, &m, &error)) fail_msg("%s: %s", path, error.msg);
    return m;
}

static inline int help_open(void **state)
{
    (void)state;
    struct error error;
    if (engine_open_llama(HEARTH_BINARY_DIR "/lib/hearth", &help_engine, &error)) return -1;
    help_model = help_load(CHAT_MODEL);
    return 0;
}

static inline int help_close(void **state)
{
    (void)state;
    engine_model_free(help_model);
    engine_close(help_engine);
    return 0;
}

static inline struct engine_ctx *help_ctx(struct engine_model *m, int32_t n_ctx, bool embeddings)
{
    struct engine_ctx *c;
    struct error error;
    struct engine_ctx_params p = {.n_ctx = n_ctx,
                                  .n_batch = 512,
                                  .n_ubatch = 64,
                                  .n_seq_max = 4,
                                  .n_threads = 1,
                                  .n_threads_batch = 1,
                                  .embeddings = embeddings,
                                  .shared_kv = true};
    if (engine_ctx_new(m, &p, &c, &error)) fail_msg("context: %s", error.msg);
    return c;
}

/* n tokens into seq from pos on, the last one with logits. */
static inline enum err help_feed_with(struct engine_ctx *c, struct engine_adapter *a, float scale,
                                      int32_t seq, int32_t pos, const int32_t *tokens, size_t n,
                                      struct error *error)
{
    struct engine_batch_token batch[512];
    assert_true(n <= 512);
    for (size_t i = 0; i < n; i++)
        batch[i] = (struct engine_batch_token){tokens[i],  pos + (int32_t)i, seq,
                                               i + 1 == n, .adapter = a,     .scale = scale};
    return engine_decode(c, batch, (int32_t)n, error);
}

static inline enum err help_feed(struct engine_ctx *c, int32_t seq, int32_t pos,
                                 const int32_t *tokens, size_t n, struct error *error)
{
    return help_feed_with(c, NULL, 0, seq, pos, tokens, n, error);
}

static inline struct sampling help_greedy(void)
{
    return (struct sampling){.top_p = 1, .repeat_penalty = 1};
}

static inline struct engine_prompt *help_prompt(const struct engine_model *m,
                                                const struct gen_request *req)
{
    struct engine_prompt *p;
    struct error error;
    if (engine_prompt_new(m, req, 512, &p, &error)) fail_msg("%s: %s", error.param, error.msg);
    return p;
}

/* The answer in its parts; free with help_answer_free. */
struct help_answer {
    struct buf raw, text, reasoning, arguments; /* arguments of all calls, one after the other */
    char name[64];                              /* of the last call */
    int calls, tokens;
    bool ended; /* by the model */
};

static inline void help_answer_free(struct help_answer *a)
{
    buf_free(&a->raw);
    buf_free(&a->text);
    buf_free(&a->reasoning);
    buf_free(&a->arguments);
}

static inline void help_collect(struct engine_parser *ps, const char *text, size_t len, bool final,
                                struct help_answer *a)
{
    const struct engine_delta *d;
    struct error error;
    size_t n;
    if (engine_parser_feed(ps, text, len, final, &d, &n, &error)) fail_msg("parse: %s", error.msg);
    for (size_t i = 0; i < n; i++) {
        if (d[i].type == DELTA_TEXT) buf_append(&a->text, d[i].text, d[i].text_len);
        if (d[i].type == DELTA_REASONING) buf_append(&a->reasoning, d[i].text, d[i].text_len);
        if (d[i].type != DELTA_TOOL_CALL) continue;
        if (d[i].name) {
            assert_int_equal(d[i].index, a->calls);
            assert_true(strlen(d[i].id) >= 9);
            a->calls++;
            snprintf(a->name, sizeof a->name, "%s", d[i].name);
        }
        assert_int_equal(d[i].index, a->calls - 1);
        buf_append(&a->arguments, d[i].arguments, d[i].arguments_len);
    }
}

static inline void help_answer_init(struct help_answer *a)
{
    memset(a, 0, sizeof *a);
    buf_init(&a->raw, 1 << 20);
    buf_init(&a->text, 1 << 20);
    buf_init(&a->reasoning, 1 << 20);
    buf_init(&a->arguments, 1 << 20);
}

/* Generates at most max tokens in sequence 0 of a fresh context. */
static inline void help_generate(struct engine_model *m, const struct gen_request *req, int max,
                                 struct help_answer *a)
{
    struct engine_prompt *p = help_prompt(m, req);
    struct engine_ctx *c = help_ctx(m, 0, false);
    struct engine_sampler *s;
    struct engine_parser *ps;
    struct error error;
    size_t n;
    const int32_t *tokens = engine_prompt_tokens(p, &n);
    help_answer_init(a);
    assert_int_equal(engine_sampler_new(m, &req->sampling, p, &s, &error), OK);
    assert_int_equal(engine_parser_new(p, &ps, &error), OK);
    assert_int_equal(help_feed(c, 0, 0, tokens, n, &error), OK);
    int32_t pos = (int32_t)n, index = (int32_t)n - 1;
    for (; a->tokens < max; a->tokens++, index = 0) {
        struct engine_sample got;
        if (engine_sample(c, s, index, &got, &error)) fail_msg("sample: %s", error.msg);
        a->ended = got.is_end;
        if (got.is_end) break;
        size_t at = a->raw.len;
        engine_token_text(m, got.token, got.special, &a->raw);
        help_collect(ps, a->raw.data + at, a->raw.len - at, false, a);
        assert_int_equal(help_feed(c, 0, pos++, &got.token, 1, &error), OK);
    }
    help_collect(ps, "", 0, true, a);
    engine_parser_free(ps);
    engine_sampler_free(s);
    engine_ctx_free(c);
    engine_prompt_free(p);
}

#endif
