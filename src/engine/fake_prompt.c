/* The fake engine's chat template: renders, and decides what the model is going to say. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "engine/fake_int.h"
#include "engine/guard.h"

static const char *const role_text[] = {
    [ROLE_SYSTEM] = "<|system|>",
    [ROLE_USER] = "<|user|>",
    [ROLE_ASSISTANT] = "<|assistant|>",
    [ROLE_TOOL] = "<|tool|>",
};
static const int32_t role_token[] = {
    [ROLE_SYSTEM] = FAKE_SYSTEM,
    [ROLE_USER] = FAKE_USER,
    [ROLE_ASSISTANT] = FAKE_ASSISTANT,
    [ROLE_TOOL] = FAKE_TOOL,
};

/* Text for people and tokens, side by side: text from users never becomes a special token. */
struct render {
    struct buf text, tokens; /* tokens: int32_t values */
};

static void put_token(struct render *r, int32_t token, const char *text)
{
    buf_puts(&r->text, text);
    buf_append(&r->tokens, &token, sizeof token);
}

static void put_text(struct render *r, const char *text)
{
    buf_puts(&r->text, text);
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        int32_t token = *p;
        buf_append(&r->tokens, &token, sizeof token);
    }
}

static void render_chat(struct render *r, const struct gen_request *req)
{
    put_token(r, FAKE_BOS, "<|bos|>");
    for (size_t i = 0; i < req->n_messages; i++) {
        const struct message *m = &req->messages[i];
        put_token(r, role_token[m->role], role_text[m->role]);
        if (m->content) put_text(r, m->content);
        for (size_t k = 0; k < m->n_tool_calls; k++) {
            put_text(r, "<tool_call>");
            put_text(r, m->tool_calls[k].name);
            put_text(r, " ");
            put_text(r, m->tool_calls[k].arguments);
            put_text(r, "</tool_call>");
        }
        put_token(r, FAKE_END, "<|end|>");
    }
    put_token(r, FAKE_ASSISTANT, role_text[ROLE_ASSISTANT]);
}

static void render_raw(struct render *r, const struct gen_request *req)
{
    if (req->prompt) {
        put_token(r, FAKE_BOS, "<|bos|>");
        put_text(r, req->prompt);
        return;
    }
    buf_append(&r->tokens, req->prompt_tokens, req->n_prompt_tokens * sizeof(int32_t));
    for (size_t i = 0; i < req->n_prompt_tokens; i++)
        if (req->prompt_tokens[i] < 256) buf_putc(&r->text, (char)req->prompt_tokens[i]);
}

/* ---- what it will say ---------------------------------------------------------------------- */

static const char *plain_reply(const struct fake_model *m, const struct gen_request *req,
                               const struct render *r)
{
    if (m->reply) return m->reply;
    if (req->kind == GEN_RAW) return req->prompt ? req->prompt : buf_str(&r->text);
    for (size_t i = req->n_messages; i-- > 0;)
        if (req->messages[i].role == ROLE_USER && req->messages[i].content)
            return req->messages[i].content;
    return "";
}

static const char *forced_tool(const struct gen_request *req)
{
    if (req->tool_choice == TOOL_NAMED) return req->tool_choice_name;
    return req->tool_choice == TOOL_REQUIRED ? req->tools[0].name : NULL;
}

static enum err decide_reply(const struct fake_model *m, const struct gen_request *req,
                             const struct render *r, struct fake_prompt *p, struct error *error)
{
    struct buf reply;
    buf_init(&reply, ENGINE_OUTPUT_TEXT_MAX);
    const char *plain = plain_reply(m, req, r), *forced = forced_tool(req);
    if (forced && !str_starts(plain, "<tool_call>")) {
        buf_printf(&reply, "<tool_call>%s {}</tool_call>", forced);
    } else if (req->format == FORMAT_JSON_OBJECT || req->format == FORMAT_JSON_SCHEMA) {
        struct jw w;
        jw_init(&w, &reply);
        jw_obj(&w);
        jw_kstr(&w, "echo", plain);
        jw_obj_end(&w);
    } else {
        buf_puts(&reply, plain);
    }
    if (reply.err) {
        enum err e = reply.err;
        buf_free(&reply);
        return err_set(error, e, "the fake reply does not fit");
    }
    p->reply_len = reply.len;
    p->reply = reply.data ? buf_take(&reply) : xstrdup("");
    return OK;
}

/* ---- prompts ------------------------------------------------------------------------------- */

static enum err finish(struct render *r, size_t max_tokens, struct fake_prompt *p,
                       struct error *error)
{
    if (r->text.err || r->tokens.err)
        return err_set(error, ERR_TOO_LARGE, "the rendered prompt is too long");
    p->head.n_tokens = r->tokens.len / sizeof(int32_t);
    if (p->head.n_tokens > max_tokens) return prompt_too_long(error, p->head.n_tokens, max_tokens);
    if (!p->head.n_tokens)
        return err_set_param(error, ERR_INVALID, "/prompt", "the prompt is empty");
    p->head.tokens = (int32_t *)(void *)buf_take(&r->tokens);
    p->head.text = r->text.data ? buf_take(&r->text) : xstrdup("");
    return OK;
}

enum err fake_prompt_new(const struct engine_model *head, const struct gen_request *req,
                         size_t max_tokens, struct engine_prompt **out, struct error *error)
{
    const struct fake_model *m = (const struct fake_model *)head;
    if (req->kind == GEN_CHAT && !head->facts.has_chat_template)
        return err_set(error, ERR_UNSUPPORTED, "this model has no chat template");
    enum err err = guard_request(req, error);
    if (err) return err;
    struct fake_prompt *p = xcalloc(1, sizeof *p);
    p->head.ops = head->ops;
    p->parse_tools = req->n_tools && req->tool_choice != TOOL_NONE;
    p->parse_reasoning = req->kind == GEN_CHAT && req->reasoning_format == REASONING_AUTO;
    struct render r;
    buf_init(&r.text, ENGINE_PROMPT_TEXT_MAX);
    buf_init(&r.tokens, ENGINE_PROMPT_TEXT_MAX * sizeof(int32_t));
    if (req->kind == GEN_CHAT)
        render_chat(&r, req);
    else
        render_raw(&r, req);
    err = decide_reply(m, req, &r, p, error);
    if (!err) err = finish(&r, max_tokens, p, error);
    buf_free(&r.text);
    buf_free(&r.tokens);
    if (err) {
        fake_prompt_free(&p->head);
        return err;
    }
    *out = &p->head;
    return OK;
}

void fake_prompt_free(struct engine_prompt *head)
{
    struct fake_prompt *p = (struct fake_prompt *)head;
    prompt_head_free(head);
    free(p->reply);
    free(p);
}
