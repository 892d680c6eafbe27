/* The bodies of POST /api/chat and /api/generate. Pure functions; any thread. */
#include <stdlib.h>
#include <string.h>

#include "api/ollama/ollama_int.h"
#include "api/prompts.h"
#include "base/str.h"

static bool thinks(const json_t *think)
{
    return think && !json_is_false(think);
}

static void describe(struct ollama_call *out, const struct ollama_gen_fields *f,
                     const struct gen_request *req)
{
    *out = (struct ollama_call){.keep_alive_ms = req->keep_alive_ms,
                                .wants_thinking = thinks(f->think)};
    str_copy(out->model, sizeof out->model, f->model);
    out->call.stream = f->stream;
}

/* Ends every parser: the request becomes the call's, or goes. */
static enum err finish(struct ollama_call *out, struct gen_request *req, enum err err)
{
    call_of(&out->call, req);
    if (err) call_free(&out->call);
    return err;
}

/* ---- chat ---------------------------------------------------------------------------------- */

enum err ollama_chat_parse(const json_t *body, size_t text_len, const struct call_env *env,
                           struct ollama_call *out, struct error *error)
{
    struct ollama_gen_fields f;
    struct gen_request *req;
    ollama_gen_fields_init(&f);
    *out = (struct ollama_call){0};
    enum err err = fields_read(ollama_chat_fields, body, "", &f, error);
    if (!err) err = ollama_params(&f, env, arena_limit(text_len), &req, error);
    if (err) return err;
    describe(out, &f, req);
    req->kind = GEN_CHAT;
    err = ollama_messages_parse(f.messages, req, error);
    if (!err) err = ollama_tools_parse(f.tools, req, error);
    out->load_only = !err && req->n_messages == 0;
    return finish(out, req, err);
}

/* ---- generate ------------------------------------------------------------------------------ */

static enum err refuse_raw(const struct ollama_gen_fields *f, struct error *error)
{
    if (f->template_text || f->system || f->context)
        return err_set(error, ERR_INVALID,
                       "raw mode does not support template, system, or context");
    return OK;
}

/* The prompt as the last message of a conversation: system, context, prompt. */
static enum err converse(const struct ollama_gen_fields *f, struct gen_request *req,
                         struct error *error)
{
    struct message *m;
    size_t n = 0, front = f->system && *f->system ? 1 : 0;
    struct message *history;
    enum err err = ollama_context_read(f->context, req->arena, &history, &n, 2, error);
    if (err) return err;
    m = history;
    /* A system prompt of the context is the last call's; this one's counts. */
    if (front && n && m[0].role == ROLE_SYSTEM) {
        m++;
        n--;
    }
    if (front) {
        struct message *all = arena_calloc(req->arena, n + 2, sizeof *all);
        if (!all) return request_too_large(error);
        memcpy(all + 1, m, n * sizeof *all);
        all[0].role = ROLE_SYSTEM;
        err = copy_text(req->arena, f->system, &all[0].content, error);
        if (err) return err;
        m = all;
        n++;
    }
    m[n].role = ROLE_USER;
    err = copy_text(req->arena, f->prompt ? f->prompt : "", &m[n].content, error);
    if (!err) err = ollama_images_parse(f->images, "", req->arena, &m[n], error);
    req->messages = m;
    req->n_messages = n + 1;
    return err;
}

static bool has_gap(const struct ollama_gen_fields *f)
{
    return f->suffix && *f->suffix;
}

/* The prompt, a gap, and what is behind it; no conversation, as there. */
static enum err read_gap(const struct ollama_gen_fields *f, struct gen_request *req,
                         struct call *call, struct error *error)
{
    struct prompt_gap gap = {.before = "",
                             .text = f->prompt ? f->prompt : "",
                             .behind = f->suffix,
                             .n_predict = req->max_tokens};
    if (json_array_size(f->images))
        return field_error(error, "", "images", "can't be combined with suffix");
    if (f->template_text && *f->template_text)
        return field_error(error, "", "template",
                           "can't be combined with suffix: the gap is marked with the model's own "
                           "tokens");
    return prompts_add_gap(&call->questions, &gap, error);
}

static enum err fill_prompt(const struct ollama_gen_fields *f, struct gen_request *req,
                            struct call *call, struct error *error)
{
    if (has_gap(f)) {
        req->kind = GEN_RAW;
        return read_gap(f, req, call, error);
    }
    if (!f->raw) {
        req->kind = GEN_CHAT;
        if (f->template_text && *f->template_text) {
            enum err err = ollama_template(f->template_text, req, error);
            if (err) return err;
        }
        return converse(f, req, error);
    }
    req->kind = GEN_RAW;
    return copy_text(req->arena, f->prompt ? f->prompt : "", &req->prompt, error);
}

enum err ollama_generate_parse(const json_t *body, size_t text_len, const struct call_env *env,
                               struct ollama_call *out, struct error *error)
{
    struct ollama_gen_fields f;
    struct gen_request *req;
    ollama_gen_fields_init(&f);
    *out = (struct ollama_call){0};
    enum err err = fields_read(ollama_generate_fields, body, "", &f, error);
    if (!err) err = ollama_params(&f, env, arena_limit(text_len), &req, error);
    if (err) return err;
    describe(out, &f, req);
    err = f.raw ? refuse_raw(&f, error) : OK;
    if (!err) err = fill_prompt(&f, req, &out->call, error);
    out->load_only =
        !err && (!f.prompt || !*f.prompt) && !has_gap(&f) && !json_array_size(f.images);
    return finish(out, req, err);
}
