/* The body of POST /v1/chat/completions: its messages. Pure functions; any thread. */
#include <stdlib.h>
#include <string.h>

#include "api/image.h"
#include "api/openai/openai_int.h"
#include "base/mem.h"
#include "base/str.h"

/* ---- content ------------------------------------------------------------------------------- */

/* What a part is: a text, or (of users and tools) a picture, whose address is in `url`. */
struct part {
    const char *text, *url; /* one of them */
};

static enum err read_image(const struct part_fields *f, const char *ptr, struct part *out,
                           struct error *error)
{
    struct image_url_fields image = {0};
    char at[ERROR_PARAM_MAX];
    str_printf(at, sizeof at, "%s/image_url", ptr);
    out->url = json_string_value(f->image_url);
    if (out->url) return OK;
    if (!json_is_object(f->image_url))
        return field_error(error, ptr, "image_url", "is required (an object with a url)");
    enum err err = fields_read(image_url_fields, f->image_url, at, &image, error);
    out->url = image.url;
    return err;
}

static enum err read_part(const json_t *part, const char *ptr, enum role role, struct part *out,
                          struct error *error)
{
    if (!json_is_object(part))
        return err_set_param(error, ERR_INVALID, ptr, "%s: must be an object, got %s", ptr,
                             json_kind(part));
    struct part_fields f = {0};
    *out = (struct part){0};
    enum err err = fields_read(part_fields, part, ptr, &f, error);
    if (err) return err;
    if (strcmp(f.type, "text") == 0) {
        if (!f.text) return field_error(error, ptr, "text", "is required (a string)");
        out->text = f.text;
    } else if (strcmp(f.type, "refusal") == 0) {
        out->text = f.refusal ? f.refusal : "";
    } else if (strcmp(f.type, "image_url") == 0) {
        if (role != ROLE_USER && role != ROLE_TOOL)
            return field_error(error, ptr, "type",
                               "pictures are only allowed in user and tool messages");
        err = read_image(&f, ptr, out, error);
    } else if (strcmp(f.type, "input_audio") == 0 || strcmp(f.type, "file") == 0) {
        return err_set_param(error, ERR_UNSUPPORTED, ptr,
                             "%s: the model takes texts and pictures only: \"%s\" parts need a "
                             "model with hearing, or a file's text pasted as a \"text\" part",
                             ptr, f.type);
    } else {
        err = field_error(error, ptr, "type", "must be \"text\" or \"image_url\", got \"%.40s\"",
                          f.type);
    }
    return err;
}

static enum err add_image(const char *url, const char *ptr, struct arena *arena,
                          struct image *images, size_t *n, struct error *error)
{
    char at[ERROR_PARAM_MAX];
    str_printf(at, sizeof at, "%s/image_url/url", ptr);
    if (*n == IMAGES_MAX)
        return err_set_param(error, ERR_INVALID, ptr, "%s: a message has at most %d pictures", ptr,
                             IMAGES_MAX);
    return image_from_url(arena, url, at, &images[(*n)++], error);
}

/* Joins the texts with newlines, and lists the pictures. */
static enum err join_parts(const json_t *parts, const char *ptr, struct arena *arena,
                           struct message *m, struct error *error)
{
    size_t n = json_array_size(parts), total = 1, most = n < IMAGES_MAX ? n : IMAGES_MAX;
    if (n == 0) return field_error(error, ptr, "content", "must have at least one part");
    struct part *read = arena_calloc(arena, n, sizeof *read);
    struct image *images = NULL;
    if (!read) return request_too_large(error);
    for (size_t i = 0; i < n; i++) {
        char at[ERROR_PARAM_MAX];
        str_printf(at, sizeof at, "%s/content/%zu", ptr, i);
        enum err err = read_part(json_array_get(parts, i), at, m->role, &read[i], error);
        if (!err && read[i].url && !images) {
            images = arena_calloc(arena, most, sizeof *images);
            if (!images) return request_too_large(error);
        }
        if (!err && read[i].url)
            err = add_image(read[i].url, at, arena, images, &m->n_images, error);
        if (err) return err;
        if (read[i].text) total += strlen(read[i].text) + 1;
    }
    char *joined = arena_alloc(arena, total), *end = joined;
    if (!joined) return request_too_large(error);
    *end = '\0';
    for (size_t i = 0, texts = 0; i < n; i++) {
        if (!read[i].text) continue;
        if (texts++) *end++ = '\n';
        end = stpcpy(end, read[i].text);
    }
    m->content = joined;
    m->images = images;
    return OK;
}

static enum err parse_content(const json_t *content, const char *ptr, struct arena *arena,
                              struct message *m, struct error *error)
{
    if (!content) {
        if (m->n_tool_calls == 0)
            return field_error(error, ptr, "content",
                               "is required (a string or a list of parts); only an assistant "
                               "message with tool_calls may go without");
        return copy_text(arena, "", &m->content, error);
    }
    if (json_is_string(content))
        return copy_text(arena, json_string_value(content), &m->content, error);
    if (json_is_array(content)) return join_parts(content, ptr, arena, m, error);
    return field_error(error, ptr, "content", "must be a string or a list of parts, got %s",
                       json_kind(content));
}

/* ---- messages ------------------------------------------------------------------------------ */

static enum err parse_role(const char *role, const char *ptr, enum role *out, struct error *error)
{
    if (call_role(role, out)) return OK;
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
    gen_fields_init(&f);
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
