/* Structs filled at random, every field of them, for round trips. Reproducible: the seed is fixed.
 */
#ifndef HEARTH_TESTS_UNIT_WORKER_RANDOM_H
#define HEARTH_TESTS_UNIT_WORKER_RANDOM_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "worker/codec.h"

static uint64_t dice_state = 88172645463325252u;

static inline uint32_t dice(uint32_t below)
{
    dice_state ^= dice_state << 13;
    dice_state ^= dice_state >> 7;
    dice_state ^= dice_state << 17;
    return (uint32_t)(dice_state >> 32) % below;
}

static inline bool coin(void)
{
    return dice(2) == 1;
}

static inline int32_t any_i32(void)
{
    return (int32_t)(dice(UINT32_MAX));
}

static inline const char *any_text(struct arena *a)
{
    size_t len = dice(40);
    char *s = arena_alloc(a, len + 1);
    for (size_t i = 0; i < len; i++) s[i] = (char)(1 + dice(127));
    return s;
}

static inline const char *any_text_or_null(struct arena *a)
{
    return coin() ? any_text(a) : NULL;
}

static inline const int32_t *any_tokens(struct arena *a, size_t *n)
{
    *n = dice(20);
    int32_t *t = arena_calloc(a, *n + 1, sizeof *t);
    for (size_t i = 0; i < *n; i++) t[i] = any_i32();
    return t;
}

static inline const struct message *any_messages(struct arena *a, size_t *n)
{
    *n = 1 + dice(4);
    struct message *m = arena_calloc(a, *n, sizeof *m);
    for (size_t i = 0; i < *n; i++) {
        m[i] = (struct message){.role = dice(4),
                                .content = any_text(a),
                                .reasoning = any_text_or_null(a),
                                .name = any_text_or_null(a),
                                .tool_call_id = any_text_or_null(a)};
        m[i].n_tool_calls = dice(3);
        struct tool_call *calls = arena_calloc(a, m[i].n_tool_calls + 1, sizeof *calls);
        for (size_t k = 0; k < m[i].n_tool_calls; k++)
            calls[k] = (struct tool_call){any_text(a), any_text(a), any_text(a)};
        m[i].tool_calls = calls;
    }
    return m;
}

static inline struct sampling any_sampling(struct arena *a)
{
    struct sampling s = {.temperature = (float)dice(100) / 7,
                         .top_k = any_i32(),
                         .top_p = (float)dice(100) / 100,
                         .min_p = (float)dice(100) / 100,
                         .repeat_penalty = (float)dice(300) / 100,
                         .repeat_last_n = any_i32(),
                         .frequency_penalty = (float)dice(300) / 100 - 1,
                         .presence_penalty = (float)dice(300) / 100 - 1,
                         .seed = dice(UINT32_MAX),
                         .n_logit_bias = dice(4),
                         .ignore_eos = coin(),
                         .top_logprobs = (int32_t)dice(GEN_TOP_LOGPROBS_MAX + 1),
                         .logprobs = coin()};
    struct logit_bias *bias = arena_calloc(a, s.n_logit_bias + 1, sizeof *bias);
    for (size_t i = 0; i < s.n_logit_bias; i++)
        bias[i] = (struct logit_bias){any_i32(), (float)dice(100)};
    s.logit_bias = bias;
    return s;
}

static inline const struct gen_resume *any_resume(struct arena *a, int32_t n)
{
    struct gen_resume *r = arena_calloc(a, (size_t)n, sizeof *r);
    for (int32_t i = 0; i < n; i++) {
        r[i].tokens = any_tokens(a, &r[i].n_tokens);
        r[i].over = coin();
        r[i].finish = dice(4);
    }
    return r;
}

static inline struct gen_request *any_request(void)
{
    struct arena *a = arena_new(1 << 20);
    struct gen_request *r = arena_alloc(a, sizeof *r);
    r->arena = a;
    r->kind = dice(2);
    r->request_id = any_text(a);
    r->model = any_text(a);
    r->tenant = any_text(a);
    r->messages = any_messages(a, &r->n_messages);
    r->prompt = any_text_or_null(a);
    r->prompt_tokens = any_tokens(a, &r->n_prompt_tokens);
    r->echo = coin();
    r->n_tools = dice(3);
    struct tool *tools = arena_calloc(a, r->n_tools + 1, sizeof *tools);
    for (size_t i = 0; i < r->n_tools; i++)
        tools[i] = (struct tool){any_text(a), any_text(a), any_text(a), coin()};
    r->tools = tools;
    r->tool_choice = dice(4);
    r->tool_choice_name = any_text_or_null(a);
    r->parallel_tool_calls = coin();
    r->format = dice(4);
    r->schema = any_text_or_null(a);
    r->grammar = any_text_or_null(a);
    r->reasoning_format = dice(2);
    r->template_kwargs = any_text_or_null(a);
    r->sampling = any_sampling(a);
    r->max_tokens = any_i32();
    r->n = 1 + (int32_t)dice(GEN_N_MAX);
    r->n_stop = dice(4);
    const char **stop = arena_calloc(a, r->n_stop + 1, sizeof *stop);
    for (size_t i = 0; i < r->n_stop; i++) stop[i] = any_text(a);
    r->stop = stop;
    r->priority = any_i32();
    r->deadline_ms = (int64_t)dice(UINT32_MAX) << 8;
    r->adapter = any_text_or_null(a);
    r->adapter_scale = (float)dice(100) / 10;
    r->adapter_version = (uint64_t)dice(UINT32_MAX) << 32 | dice(UINT32_MAX);
    r->deterministic = coin();
    r->overflow = dice(3);
    r->keep_alive_ms = (int64_t)dice(UINT32_MAX) << 8;
    r->want_tokens = coin();
    r->can_pause = coin();
    r->resume = coin() ? any_resume(a, r->n) : NULL;
    return r;
}

static inline const struct token_logprob *any_logprobs(struct arena *a, size_t *n)
{
    *n = dice(3);
    struct token_logprob *t = arena_calloc(a, *n + 1, sizeof *t);
    for (size_t i = 0; i < *n; i++) {
        t[i].chosen = (struct logprob_alt){any_i32(), -(float)dice(100) / 10, any_text(a), 0};
        t[i].chosen.len = strlen(t[i].chosen.text);
        t[i].n_top = dice(3);
        struct logprob_alt *top = arena_calloc(a, t[i].n_top + 1, sizeof *top);
        for (size_t k = 0; k < t[i].n_top; k++)
            top[k] = (struct logprob_alt){any_i32(), -(float)dice(100) / 10, "\0x\xff", 3};
        t[i].top = top;
    }
    return t;
}

static inline const struct error *any_error(struct arena *a)
{
    struct error *e = arena_alloc(a, sizeof *e);
    err_set_param(e, 1 + dice(ERR_COUNT - 1), any_text(a), "%s", any_text(a));
    e->retry_after_s = any_i32();
    return e;
}

static inline const struct cache_report *any_cache(struct arena *a)
{
    struct cache_report *c = arena_alloc(a, sizeof *c);
    *c = (struct cache_report){.source = dice(4), .cached_tokens = any_i32()};
    str_copy(c->miss, sizeof c->miss, any_text(a));
    return coin() ? c : NULL;
}

static inline void any_numbers(struct gen_event *e)
{
    e->usage = (struct usage){any_i32(), any_i32(), any_i32(), any_i32()};
    e->timings = (struct timings){any_i32(), any_i32(), any_i32(), any_i32(), any_i32(),
                                  any_i32(), any_i32(), any_i32(), any_i32()};
}

/* The fields that its type has. */
static inline struct gen_event any_event(struct arena *a, enum gen_event_type type)
{
    struct gen_event e = {.type = type, .choice = (int32_t)dice(GEN_N_MAX)};
    switch (type) {
    case GEN_EV_ROUTED: break;
    case GEN_EV_LOADING:
        e.fraction = (float)dice(100) / 100;
        e.waits_for = any_text_or_null(a);
        break;
    case GEN_EV_PAUSED:
        any_numbers(&e);
        e.usage = (struct usage){0};
        break;
    case GEN_EV_QUEUED:
        e.position = any_i32();
        e.wait_ms = any_i32();
        break;
    case GEN_EV_TOKENS: e.tokens = any_tokens(a, &e.n_tokens); break;
    case GEN_EV_TEXT: e.logprobs = any_logprobs(a, &e.n_logprobs); /* fall through */
    case GEN_EV_REASONING:
        e.text = any_text(a);
        e.text_len = strlen(e.text);
        break;
    case GEN_EV_TOOL_CALL:
        e.tool.index = any_i32();
        e.tool.id = any_text_or_null(a);
        e.tool.name = any_text_or_null(a);
        e.tool.arguments = any_text(a);
        e.tool.arguments_len = strlen(e.tool.arguments);
        break;
    case GEN_EV_CHOICE_END:
        e.finish = dice(4);
        e.stop = any_text_or_null(a);
        break;
    case GEN_EV_ERROR: e.error = any_error(a); /* fall through */
    case GEN_EV_STARTED:
        e.adapter_scale = type == GEN_EV_STARTED ? (float)dice(100) / 10 : 0;
        e.adapter_version = type == GEN_EV_STARTED ? (uint64_t)dice(UINT32_MAX) << 32 : 0;
        /* fall through */
    case GEN_EV_DONE:
        any_numbers(&e);
        e.cache = any_cache(a);
        e.adapter = any_text_or_null(a);
        e.model = any_text_or_null(a);
        break;
    }
    return e;
}

#endif
