/* Prompts and parsers of the llama engine: the C side of the shim. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/guard.h"
#include "engine/llama_int.h"

struct le_parser {
    struct engine_parser head;
    struct shim_parser *parser;
    struct delta_list deltas;
};

/* ---- prompts ------------------------------------------------------------------------------ */

static enum err copy_tokens(const struct le_model *m, const struct gen_request *req,
                            size_t max_tokens, struct le_prompt *p, struct error *error)
{
    if (req->n_prompt_tokens > max_tokens)
        return prompt_too_long(error, req->n_prompt_tokens, max_tokens);
    for (size_t i = 0; i < req->n_prompt_tokens; i++)
        if (req->prompt_tokens[i] < 0 || req->prompt_tokens[i] >= m->head.facts.n_vocab)
            return err_set_param(error, ERR_INVALID, "/prompt",
                                 "token %d does not exist; this model's tokens are 0 to %d",
                                 req->prompt_tokens[i], m->head.facts.n_vocab - 1);
    p->head.tokens = try_calloc(req->n_prompt_tokens + 1, sizeof *p->head.tokens);
    if (!p->head.tokens) return err_set(error, ERR_NOMEM, "out of memory for the prompt");
    if (req->n_prompt_tokens)
        memcpy(p->head.tokens, req->prompt_tokens, req->n_prompt_tokens * sizeof(int32_t));
    p->head.n_tokens = req->n_prompt_tokens;
    return OK;
}

static enum err copy_text(struct le_prompt *p, const char *text, size_t len, struct error *error)
{
    p->head.text = try_malloc(len + 1);
    if (!p->head.text) return err_set(error, ERR_NOMEM, "out of memory for the prompt");
    memcpy(p->head.text, text, len);
    p->head.text[len] = '\0';
    return OK;
}

static void copy_stops(struct le_prompt *p)
{
    size_t n = shim_chat_n_stops(p->chat);
    p->head.stops = xcalloc(n + 1, sizeof *p->head.stops);
    for (size_t i = 0; i < n; i++) p->head.stops[i] = xstrdup(shim_chat_stop(p->chat, i));
    p->head.n_stops = n;
}

static enum err build(const struct le_model *m, const struct gen_request *req, size_t max_tokens,
                      struct le_prompt *p, struct error *error)
{
    enum err e = shim_chat_new(m->templates, m->overrides, m->model, req, &p->chat, error);
    if (e) return e;
    copy_stops(p);
    size_t len;
    const char *text = shim_chat_prompt(p->chat, &len);
    e = copy_text(p, text, len, error);
    if (e) return e;
    if (req->kind == GEN_RAW && !req->prompt)
        e = copy_tokens(m, req, max_tokens, p, error);
    else
        e = le_model_tokenize(&m->head, text, len, true, true, max_tokens, &p->head.tokens,
                              &p->head.n_tokens, error);
    if (!e && !p->head.n_tokens)
        e = err_set_param(error, ERR_INVALID, req->kind == GEN_RAW ? "/prompt" : "/messages",
                          "the prompt is empty");
    return e;
}

/* A model that could chat if it only had a template. */
static bool may_bring(const struct le_model *m, const struct gen_request *req)
{
    const struct engine_model_facts *f = &m->head.facts;
    return req->chat_template && !f->is_embedding && !f->is_rerank;
}

enum err le_prompt_new(const struct engine_model *head, const struct gen_request *req,
                       size_t max_tokens, struct engine_prompt **out, struct error *error)
{
    const struct le_model *m = (const struct le_model *)head;
    if (req->kind == GEN_CHAT && !m->templates && !may_bring(m, req))
        return err_set_param(error, ERR_UNSUPPORTED, "/model", "this model can't chat: %s",
                             m->no_chat);
    enum err e = guard_request(req, error);
    if (e) return e;
    struct le_prompt *p = xcalloc(1, sizeof *p);
    p->head.ops = head->ops;
    e = build(m, req, max_tokens, p, error);
    if (e) {
        le_prompt_free(&p->head);
        return e;
    }
    *out = &p->head;
    return OK;
}

void le_prompt_free(struct engine_prompt *head)
{
    struct le_prompt *p = (struct le_prompt *)head;
    prompt_head_free(head);
    shim_chat_free(p->chat);
    free(p);
}

/* ---- parsers ------------------------------------------------------------------------------ */

enum err le_parser_new(const struct engine_prompt *head, struct engine_parser **out,
                       struct error *error)
{
    const struct le_prompt *p = (const struct le_prompt *)head;
    struct shim_parser *parser;
    enum err e = shim_parser_new(p->chat, &parser, error);
    if (e) return e;
    struct le_parser *ps = xcalloc(1, sizeof *ps);
    ps->head.ops = head->ops;
    ps->parser = parser;
    delta_list_init(&ps->deltas);
    *out = &ps->head;
    return OK;
}

void le_parser_free(struct engine_parser *head)
{
    struct le_parser *ps = (struct le_parser *)head;
    shim_parser_free(ps->parser);
    delta_list_free(&ps->deltas);
    free(ps);
}

enum err le_parser_feed(struct engine_parser *head, const char *text, size_t len, bool final,
                        const struct engine_delta **out, size_t *n, struct error *error)
{
    struct le_parser *ps = (struct le_parser *)head;
    delta_list_clear(&ps->deltas);
    enum err e = shim_parser_feed(ps->parser, text, len, final, &ps->deltas, error);
    return e ? e : delta_list_done(&ps->deltas, out, n, error);
}
