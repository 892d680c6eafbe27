/* The body of POST /v1/completions: raw prompts, each its own request. Pure functions; any thread.
 */
#include <stdlib.h>
#include <string.h>

#include "api/openai/openai_int.h"
#include "api/prompts.h"
#include "base/mem.h"
#include "base/str.h"

/* Bytes of a request without its texts, generously. */
enum { PROMPT_OVERHEAD = 1024 };

/* prompt: a text, a list of texts, a list of tokens, or a list of lists of tokens. */
static size_t count_prompts(const json_t *prompt)
{
    bool many = json_is_array(prompt) && !json_is_integer(json_array_get(prompt, 0));
    return many ? json_array_size(prompt) : 1;
}

static enum err set_prompt(const json_t *prompt, const char *ptr, struct gen_request *req,
                           struct error *error)
{
    if (json_is_string(prompt))
        return copy_text(req->arena, json_string_value(prompt), &req->prompt, error);
    if (!json_is_array(prompt) || json_array_size(prompt) == 0)
        return err_set_param(error, ERR_INVALID, ptr,
                             "%s: must be a text or a list of at least one token, got %s", ptr,
                             json_is_array(prompt) ? "an empty list" : json_kind(prompt));
    return params_tokens(req->arena, prompt, ptr, &req->prompt_tokens, &req->n_prompt_tokens,
                         error);
}

static enum err add_prompt(const struct gen_fields *f, const struct call_env *env, size_t arena_max,
                           size_t i, size_t n, struct call *out, struct error *error)
{
    bool many = json_is_array(f->prompt) && !json_is_integer(json_array_get(f->prompt, 0));
    char ptr[ERROR_PARAM_MAX];
    str_printf(ptr, sizeof ptr, many ? "/prompt/%zu" : "/prompt", i);
    struct gen_request *req;
    enum err err = params_request(f, env, arena_max, &req, error);
    if (err) return err;
    ht_assert(out->n_requests < n);
    out->requests[out->n_requests++] = req;
    req->kind = GEN_RAW;
    req->echo = f->echo;
    if (f->logprobs_n != FIELD_ABSENT) {
        req->sampling.logprobs = true;
        req->sampling.top_logprobs = (int32_t)f->logprobs_n;
    }
    err = set_prompt(many ? json_array_get(f->prompt, i) : f->prompt, ptr, req, error);
    if (err || !f->suffix || !*f->suffix) return err;
    if (!req->prompt)
        return err_set_param(error, ERR_INVALID, "/suffix",
                             "/suffix: what is before the gap must be a text, not tokens");
    struct prompt_gap gap = {
        .before = "", .text = req->prompt, .behind = f->suffix, .n_predict = req->max_tokens};
    return prompts_add_gap(&out->questions, &gap, error);
}

static enum err check(const struct gen_fields *f, size_t n_prompts, struct error *error)
{
    if (f->best_of != FIELD_ABSENT && f->best_of != f->n)
        return err_set_param(
            error, ERR_UNSUPPORTED, "/best_of",
            "/best_of: answers are not ranked here; leave it out or send the value "
            "of n");
    if (n_prompts == 0) return field_error(error, "", "prompt", "must not be an empty list");
    if (n_prompts > CALL_PROMPTS_MAX)
        return field_error(error, "", "prompt", "at most %d prompts, got %zu", CALL_PROMPTS_MAX,
                           n_prompts);
    return OK;
}

enum err completion_parse(const json_t *body, size_t text_len, const struct call_env *env,
                          struct call *out, struct error *error)
{
    struct gen_fields f;
    gen_fields_init(&f);
    *out = (struct call){0};
    enum err err = fields_read(completion_fields, body, "", &f, error);
    size_t n = count_prompts(f.prompt);
    if (!err) err = check(&f, n, error);
    if (!err) err = params_call(&f, out, error);
    if (err) return err;
    out->requests = xcalloc(n, sizeof(struct gen_request *));
    /* One budget for all of them: each holds a copy of the body's stop strings, grammar, ... */
    size_t budget = arena_limit(text_len) + n * PROMPT_OVERHEAD;
    for (size_t i = 0; i < n && !err; i++) {
        err = add_prompt(&f, env, budget, i, n, out, error);
        if (!err) budget -= arena_used(out->requests[i]->arena);
    }
    if (err) call_free(out);
    return err;
}
