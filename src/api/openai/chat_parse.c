/* The body of POST /v1/chat/completions: its messages. Pure functions; any thread. */
#include <stdlib.h>
#include <string.h>

#include "api/openai/openai_int.h"
#include "base/mem.h"
#include "base/str.h"

/* ---- content ------------------------------------------------------------------------------- */

static enum err part_text(const json_t *part, const char *ptr, const char **out,
                          struct error *error)
{
    if (!json_is_object(part))
        return err_set_param(error, ERR_INVALID, ptr, "%s: must be an object, got %s", ptr,
                             json_kind(part));
    struct part_fields f = {0};
    enum err err = fields_read(part_fields, part, ptr, &f, error);
    if (err) return err;
    if (strcmp(f.type, "text") == 0) {
        if (!f.text) return field_error(error, ptr, "text", "is required (a string)");
        *out = f.text;
    } else if (strcmp(f.type, "refusal") == 0) {
        *out = f.refusal ? f.refusal : "";
    } else if (strcmp(f.type, "image_url") == 0 || strcmp(f.type, "input_audio") == 0 ||
               strcmp(f.type, "file") == 0) {
        return err_set_param(error, ERR_UNSUPPORTED, ptr,
                             "%s: the model takes text only: \"%s\" parts need a model with vision "
                             "or hearing, or a file's text pasted as a \"text\" part",
                             ptr, f.type);
    } else {
        return field_error(error, ptr, "type", "must be \"text\", got \"%.40s\"", f.type);
    }
    return OK;
}

/* Joins the parts with newlines. */
static enum err join_parts(const json_t *parts, const char *ptr, struct arena *arena,
                           const char **out, struct error *error)
{
    size_t n = json_array_size(parts), total = 0;
    if (n == 0) return field_error(error, ptr, "content", "must have at least one part");
    for (size_t i = 0; i < n; i++) {
        char part_ptr[ERROR_PARAM_MAX];
        const char *text;
        str_printf(part_ptr, sizeof part_ptr, "%s/content/%zu", ptr, i);
        enum err err = part_text(json_array_get(parts, i), part_ptr, &text, error);
        if (err) return err;
        total += strlen(text) + 1;
    }
    char *joined = arena_alloc(arena, total), *at = joined;
    if (!joined) return request_too_large(error);
    for (size_t i = 0; i < n; i++) {
        const char *text;
        enum err err = part_text(json_array_get(parts, i), ptr, &text, error);
        ht_assert(err == OK); /* the same part as above */
        if (i) *at++ = '\n';
        at = stpcpy(at, text);
    }
    *out = joined;
    return OK;
}

static enum err parse_content(const json_t *content, const char *ptr, struct arena *arena,
                              struct message *m, struct error *error)
{
    if (!content) {
        if (m->n_tool_calls == 0)
            return field_error(error, ptr, "content",
                               "is required (a string or a list of text parts); only an assistant "
                               "message with tool_calls may go without");
        return copy_text(arena, "", &m->content, error);
    }
    if (json_is_string(content))
        return copy_text(arena, json_string_value(content), &m->content, error);
    if (json_is_array(content)) return join_parts(content, ptr, arena, &m->content, error);
    return field_error(error, ptr, "content", "must be a string or a list of text parts, got %s",
                       json_kind(content));
}

/* ---- messages ------------------------------------------------------------------------------ */

static enum err parse_role(const char *role, const char *ptr, enum role *out, struct error *error)
{
    static const struct {
        const char *word;
        enum role role;
    } roles[] = {{"system", ROLE_SYSTEM},
                 {"developer", ROLE_SYSTEM},
                 {"user", ROLE_USER},
                 {"assistant", ROLE_ASSISTANT},
                 {"tool", ROLE_TOOL}};
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        if (strcmp(roles[i].word, role) == 0) {
            *out = roles[i].role;
            return OK;
        }
    }
    return field_error(error, ptr, "role",
                       "must be system, developer, user, assistant or tool, got \"%.40s\"", role);
}

static enum err parse_message(const json_t *obj, const char *ptr, struct arena *arena,
                              struct message *m, struct error *error)
{
    if (!json_is_object(obj))
        return err_set_param(error, ERR_INVALID, ptr, "%s: must be an object, got %s", ptr,
                             json_kind(obj));
    struct message_fields f = {0};
    enum err err = fields_read(message_fields, obj, ptr, &f, error);
    if (!err) err = parse_role(f.role, ptr, &m->role, error);
    if (err) return err;
    if (f.tool_calls && m->role != ROLE_ASSISTANT)
        return field_error(error, ptr, "tool_calls", "is only allowed in assistant messages");
    if (m->role == ROLE_TOOL && !f.tool_call_id)
        return field_error(error, ptr, "tool_call_id", "is required in tool messages (a string)");
    if (f.tool_calls) err = tool_calls_parse(f.tool_calls, ptr, arena, m, error);
    if (!err) err = parse_content(f.content, ptr, arena, m, error);
    if (!err && f.name) err = copy_text(arena, f.name, &m->name, error);
    if (!err && f.tool_call_id) err = copy_text(arena, f.tool_call_id, &m->tool_call_id, error);
    if (!err && f.reasoning && m->role == ROLE_ASSISTANT)
        err = copy_text(arena, f.reasoning, &m->reasoning, error);
    return err;
}

static enum err parse_messages(const json_t *array, struct gen_request *req, struct error *error)
{
    size_t n = json_array_size(array);
    if (n == 0) return field_error(error, "", "messages", "must have at least one message");
    struct message *messages = arena_calloc(req->arena, n, sizeof *messages);
    if (!messages) return request_too_large(error);
    for (size_t i = 0; i < n; i++) {
        char ptr[ERROR_PARAM_MAX];
        str_printf(ptr, sizeof ptr, "/messages/%zu", i);
        enum err err =
            parse_message(json_array_get(array, i), ptr, req->arena, &messages[i], error);
        if (err) return err;
    }
    req->messages = messages;
    req->n_messages = n;
    return OK;
}

/* ---- the rest ------------------------------------------------------------------------------ */

/* What would change the answer but can't be had here must not be ignored silently. */
static enum err check_unsupported(const struct gen_fields *f, struct error *error)
{
    if (f->functions)
        return err_set_param(error, ERR_UNSUPPORTED, "/functions",
                             "/functions and /function_call were replaced by /tools and "
                             "/tool_choice; send those");
    for (size_t i = 0; i < json_array_size(f->modalities); i++) {
        const char *word = json_string_value(json_array_get(f->modalities, i));
        if (!word || strcmp(word, "text") != 0)
            return err_set_param(error, ERR_UNSUPPORTED, "/modalities",
                                 "/modalities: the model answers with \"text\" only");
    }
    return OK;
}

static enum err parse_logprobs(const struct gen_fields *f, struct gen_request *req,
                               struct error *error)
{
    bool top = f->top_logprobs != FIELD_ABSENT;
    if (top && !f->logprobs)
        return field_error(error, "", "top_logprobs", "is only allowed with \"logprobs\": true");
    req->sampling.logprobs = f->logprobs;
    req->sampling.top_logprobs = top ? (int32_t)f->top_logprobs : 0;
    return OK;
}

enum err chat_parse(const json_t *body, size_t text_len, const struct call_env *env,
                    struct call *out, struct error *error)
{
    struct gen_fields f;
    gen_fields_init(&f, env);
    *out = (struct call){0};
    enum err err = fields_read(chat_fields, body, "", &f, error);
    if (!err) err = check_unsupported(&f, error);
    if (!err) err = params_call(&f, out, error);
    if (err) return err;
    struct gen_request *req;
    err = params_request(&f, env, arena_limit(text_len), &req, error);
    if (err) return err;
    req->kind = GEN_CHAT;
    err = parse_messages(f.messages, req, error);
    if (!err) err = tools_parse(&f, req, error);
    if (!err) err = parse_logprobs(&f, req, error);
    if (err) {
        arena_free(req->arena);
        return err;
    }
    out->requests = xcalloc(1, sizeof(struct gen_request *));
    out->requests[0] = req;
    out->n_requests = 1;
    return OK;
}
