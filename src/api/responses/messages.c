/* Items to messages. What one turn of the assistant made (its thoughts, its text, its calls) is
 * several items and one message. */
#include <stdlib.h>
#include <string.h>

#include "api/image.h"
#include "api/responses/writer.h"
#include "base/str.h"

/* Messages while they grow. There is at most one for each item, and one for the instructions. */
struct builder {
    struct gen_request *req;
    struct message *list;
    size_t n;
    struct message *open; /* the assistant's that further items may join; NULL = none */
    struct tool_call *calls;
    size_t n_calls;
    const char *thoughts, *signature; /* of the next message of the assistant */
};

static struct message *add_message(struct builder *b, enum role role)
{
    struct message *m = &b->list[b->n++];
    m->role = role;
    m->content = "";
    b->open = role == ROLE_ASSISTANT ? m : NULL;
    if (role != ROLE_ASSISTANT) b->thoughts = b->signature = NULL;
    return m;
}

/* The assistant's message that goes on, or a new one. */
static struct message *assistant(struct builder *b, bool goes_on)
{
    struct message *m = b->open && goes_on ? b->open : add_message(b, ROLE_ASSISTANT);
    if (b->thoughts) {
        m->reasoning = b->thoughts;
        m->reasoning_signature = b->signature;
        b->thoughts = b->signature = NULL;
    }
    return m;
}

/* ---- parts --------------------------------------------------------------------------------- */

/* What the parts of a content come to. */
struct content {
    struct buf text; /* joined with newlines */
    bool any;
    struct image *images; /* NULL: there may be none */
    size_t n_images;
};

static enum err add_text(struct content *c, const json_t *part, const char *name, const char *ptr,
                         struct error *error)
{
    const char *text = NULL;
    enum err err = json_get_string(part, name, ptr, &text, error);
    if (err) return err;
    if (!text) return field_error(error, ptr, name, "is required (a string)");
    if (c->any) buf_putc(&c->text, '\n');
    c->any = true;
    buf_puts(&c->text, text);
    return OK;
}

static enum err add_image(struct builder *b, struct content *c, const json_t *part, const char *ptr,
                          struct error *error)
{
    const char *url = NULL;
    char at[ERROR_PARAM_MAX];
    if (!c->images)
        return field_error(error, ptr, "type",
                           "pictures are only allowed in user messages and outputs of tools");
    if (c->n_images == RESPONSE_IMAGES_MAX)
        return err_set_param(error, ERR_INVALID, ptr, "%s: at most %d pictures", ptr,
                             RESPONSE_IMAGES_MAX);
    enum err err = json_get_string(part, "image_url", ptr, &url, error);
    if (err) return err;
    if (!url)
        return field_error(error, ptr, "image_url",
                           "is required (a string: data:image/png;base64,... or an address)");
    str_printf(at, sizeof at, "%s/image_url", ptr);
    return image_from_url(b->req->arena, url, at, &c->images[c->n_images++], error);
}

static enum err add_part(struct builder *b, struct content *c, const json_t *part, const char *ptr,
                         struct error *error)
{
    static const char *const texts[] = {"input_text", "output_text", "text", "reasoning_text",
                                        "summary_text"};
    const char *type = NULL;
    if (!json_is_object(part))
        return err_set_param(error, ERR_INVALID, ptr, "%s: must be an object, got %s", ptr,
                             json_kind(part));
    enum err err = json_get_string(part, "type", ptr, &type, error);
    if (err) return err;
    if (!type) return field_error(error, ptr, "type", "is required (a string)");
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (str_eq(type, texts[i])) return add_text(c, part, "text", ptr, error);
    if (str_eq(type, "refusal")) return add_text(c, part, "refusal", ptr, error);
    if (str_eq(type, "input_image")) return add_image(b, c, part, ptr, error);
    return err_set_param(error, ERR_UNSUPPORTED, ptr,
                         "%s: parts of type \"%.40s\" are not understood here; texts and pictures "
                         "are",
                         ptr, type);
}

/* A text, or a list of parts. m: gets the pictures, of those who may have any; NULL: may not. */
static enum err read_content(struct builder *b, const json_t *content, const char *ptr,
                             const char **out, struct message *m, struct error *error)
{
    struct content c = {0};
    size_t n = json_array_size(content);
    if (json_is_string(content))
        return copy_text(b->req->arena, json_string_value(content), out, error);
    if (!json_is_array(content))
        return err_set_param(error, ERR_INVALID, ptr,
                             "%s: must be a string or an array of parts, got %s", ptr,
                             json_kind(content));
    if (m && !(c.images = arena_calloc(b->req->arena, n, sizeof *c.images)))
        return request_too_large(error);
    buf_init(&c.text, COPIED_JSON_MAX);
    enum err err = OK;
    for (size_t i = 0; !err && i < n; i++) {
        char part_ptr[ERROR_PARAM_MAX];
        str_printf(part_ptr, sizeof part_ptr, "%s/%zu", ptr, i);
        err = add_part(b, &c, json_array_get(content, i), part_ptr, error);
    }
    if (!err && c.text.err) err = request_too_large(error);
    if (!err) err = copy_text(b->req->arena, buf_str(&c.text), out, error);
    if (m) {
        m->images = c.images;
        m->n_images = c.n_images;
    }
    buf_free(&c.text);
    return err;
}

/* ---- items --------------------------------------------------------------------------------- */

static enum err read_role(const char *word, const char *ptr, enum role *out, struct error *error)
{
    if (call_role(word, out) && *out != ROLE_TOOL) return OK; /* a tool's text is another item */
    return field_error(error, ptr, "role",
                       "must be user, assistant, system or developer, got \"%.40s\"", word);
}

static enum err read_message(struct builder *b, const json_t *item, const char *ptr,
                             struct error *error)
{
    const char *word = NULL;
    char content_ptr[ERROR_PARAM_MAX];
    enum role role = ROLE_USER;
    enum err err = json_get_string(item, "role", ptr, &word, error);
    if (!err && !word) err = field_error(error, ptr, "role", "is required (a string)");
    if (!err) err = read_role(word, ptr, &role, error);
    str_printf(content_ptr, sizeof content_ptr, "%s/content", ptr);
    if (err) return err;
    struct message *m = role == ROLE_ASSISTANT ? assistant(b, false) : add_message(b, role);
    return read_content(b, json_object_get(item, "content"), content_ptr, &m->content,
                        role == ROLE_USER ? m : NULL, error);
}

/* A string that must be there and not be empty. */
static enum err need(const json_t *item, const char *ptr, const char *name, const char **out,
                     struct error *error)
{
    enum err err = json_get_string(item, name, ptr, out, error);
    if (!err && (!*out || !**out)) err = field_error(error, ptr, name, "is required (a string)");
    return err;
}

/* A tool that takes plain text is called with {"input": text}: models only know calls with
 * arguments. */
static enum err wrap_input(struct arena *a, const char *text, const char **out, struct error *error)
{
    struct buf b;
    buf_init(&b, COPIED_JSON_MAX);
    item_wrap_input(text, &b);
    enum err err = b.err ? request_too_large(error) : copy_text(a, buf_str(&b), out, error);
    buf_free(&b);
    return err;
}

static enum err read_call(struct builder *b, const json_t *item, bool custom, const char *ptr,
                          struct error *error)
{
    const char *id = NULL, *name = NULL, *space = NULL, *text = NULL;
    struct tool_call *call = &b->calls[b->n_calls];
    struct arena *a = b->req->arena;
    enum err err = need(item, ptr, "call_id", &id, error);
    if (!err) err = need(item, ptr, "name", &name, error);
    if (!err) err = json_get_string(item, "namespace", ptr, &space, error);
    if (!err) err = json_get_string(item, custom ? "input" : "arguments", ptr, &text, error);
    if (!err) err = copy_text(a, id, &call->id, error);
    if (!err) err = response_tool_name(a, space, name, &call->name, error);
    if (!err)
        err = custom ? wrap_input(a, text ? text : "", &call->arguments, error)
                     : call_arguments(a, text, ptr, &call->arguments, error);
    if (err) return err;
    struct message *m = assistant(b, true);
    if (!m->n_tool_calls) m->tool_calls = call;
    m->n_tool_calls++;
    b->n_calls++;
    return OK;
}

static enum err read_call_output(struct builder *b, const json_t *item, const char *ptr,
                                 struct error *error)
{
    const char *id = NULL;
    char output_ptr[ERROR_PARAM_MAX];
    bool known = false;
    enum err err = need(item, ptr, "call_id", &id, error);
    if (err) return err;
    for (size_t i = 0; i < b->n_calls && !known; i++) known = str_eq(b->calls[i].id, id);
    if (!known)
        return field_error(error, ptr, "call_id",
                           "No tool call found for function call output with call_id %.60s.", id);
    str_printf(output_ptr, sizeof output_ptr, "%s/output", ptr);
    struct message *m = add_message(b, ROLE_TOOL);
    err = read_content(b, json_object_get(item, "output"), output_ptr, &m->content, m, error);
    return err ? err : copy_text(b->req->arena, id, &m->tool_call_id, error);
}

/* What was thought: as it was told, as a summary, or only as what nobody else reads. */
static enum err read_thoughts(struct builder *b, const json_t *item, const char *ptr,
                              struct error *error)
{
    const char *sealed = NULL, *text = NULL;
    char at[ERROR_PARAM_MAX];
    const json_t *content = json_object_get(item, "content");
    const json_t *summary = json_object_get(item, "summary");
    enum err err = json_get_string(item, "encrypted_content", ptr, &sealed, error);
    if (err) return err;
    bool plain = sealed && str_starts(sealed, RESPONSE_PLAIN);
    const json_t *parts = json_array_size(content) ? content : summary;
    str_printf(at, sizeof at, "%s/%s", ptr, parts == content ? "content" : "summary");
    if (json_array_size(parts))
        err = read_content(b, parts, at, &text, NULL, error);
    else if (plain)
        err = copy_text(b->req->arena, sealed + strlen(RESPONSE_PLAIN), &text, error);
    if (!err && sealed && !plain) err = copy_text(b->req->arena, sealed, &b->signature, error);
    b->thoughts = text ? text : b->signature ? "" : NULL;
    b->open = NULL;
    return err;
}

static enum err read_item(struct builder *b, const json_t *item, const char *ptr,
                          struct error *error)
{
    const char *type = json_string_value(json_object_get(item, "type"));
    if (str_eq(type, "message")) return read_message(b, item, ptr, error);
    if (str_eq(type, "reasoning")) return read_thoughts(b, item, ptr, error);
    if (str_eq(type, "function_call")) return read_call(b, item, false, ptr, error);
    if (str_eq(type, "custom_tool_call")) return read_call(b, item, true, ptr, error);
    if (str_eq(type, "function_call_output") || str_eq(type, "custom_tool_call_output"))
        return read_call_output(b, item, ptr, error);
    return err_set_param(error, ERR_UNSUPPORTED, ptr,
                         "%s: items of type \"%.40s\" are not understood here", ptr,
                         type ? type : "");
}

enum err response_messages(const char *instructions, const json_t *items, size_t n_past,
                           struct gen_request *req, struct error *error)
{
    size_t n = json_array_size(items);
    struct builder b = {.req = req};
    b.list = arena_calloc(req->arena, n + 1, sizeof *b.list);
    b.calls = arena_calloc(req->arena, n, sizeof *b.calls);
    if (!b.list || !b.calls) return request_too_large(error);
    enum err err = OK;
    if (instructions && *instructions)
        err = copy_text(req->arena, instructions, &add_message(&b, ROLE_SYSTEM)->content, error);
    for (size_t i = 0; !err && i < n; i++) {
        char ptr[ERROR_PARAM_MAX];
        if (i < n_past)
            str_copy(ptr, sizeof ptr, "/previous_response_id");
        else
            str_printf(ptr, sizeof ptr, "/input/%zu", i - n_past);
        err = read_item(&b, json_array_get(items, i), ptr, error);
    }
    if (!err && b.n == 0) err = field_error(error, "", "input", "must hold at least one message");
    req->messages = b.list;
    req->n_messages = b.n;
    return err;
}
