/* System prompt and turns of a body: from blocks to messages. Pure functions; any thread.
 *
 * What Anthropic keeps in one turn are several messages here: each tool_result is a message of its
 * own, in front of what else the turn holds. Turns of the same role that follow each other are one
 * message, as the API promises. */
#include <stdlib.h>
#include <string.h>

#include "api/anthropic/anthropic_int.h"
#include "api/image.h"
#include "base/str.h"

/* What Claude Code puts in front of its system prompt for Anthropic's accounting. It differs from
 * call to call, so that no prompt would be found in the cache. */
#define BILLING_HEADER "x-anthropic-billing-header:"

/* The conversation as far as it is read. A message is written into `open` until another one begins;
 * images and calls of all messages lie in one array each. */
struct turns {
    struct arena *arena;
    struct message *messages;
    size_t n, cap;
    struct image *images;
    size_t n_images;
    struct tool_call *calls;
    size_t n_calls, cap_parts;
    struct message *open; /* the last of messages; NULL: the next part begins one */
    struct buf text, reasoning;
};

static enum err too_deep(struct error *error, const char *ptr, const char *type)
{
    return err_set_param(error, ERR_UNSUPPORTED, ptr, "%s: a block of type \"%.40s\" can't be here",
                         ptr, type);
}

/* ---- messages ------------------------------------------------------------------------------ */

static enum err keep(struct turns *t, struct buf *text, const char **out, struct error *error)
{
    if (text->err) return err_set(error, text->err, "a turn is too long");
    return copy_text(t->arena, buf_str(text), out, error);
}

static enum err close_message(struct turns *t, struct error *error)
{
    struct message *m = t->open;
    if (!m) return OK;
    enum err e = keep(t, &t->text, &m->content, error);
    if (!e && t->reasoning.len) e = keep(t, &t->reasoning, &m->reasoning, error);
    buf_clear(&t->text);
    buf_clear(&t->reasoning);
    t->open = NULL;
    return e;
}

/* Goes on with a message of that role, or begins one. */
static enum err open_message(struct turns *t, enum role role, struct error *error)
{
    if (t->open && t->open->role == role && role != ROLE_TOOL) return OK;
    enum err e = close_message(t, error);
    if (e) return e;
    ht_assert(t->n < t->cap);
    t->open = &t->messages[t->n++];
    *t->open = (struct message){.role = role,
                                .content = "",
                                .images = t->images + t->n_images,
                                .tool_calls = t->calls + t->n_calls};
    return OK;
}

static void add_line(struct buf *b, const char *s)
{
    if (!*s) return;
    if (b->len) buf_putc(b, '\n');
    buf_puts(b, s);
}

/* ---- pictures and documents ---------------------------------------------------------------- */

static enum err read_source(const struct block_fields *b, const char *ptr, struct source_fields *s,
                            char at[ERROR_PARAM_MAX], struct error *error)
{
    str_printf(at, ERROR_PARAM_MAX, "%s/source", ptr);
    if (!json_is_object(b->source))
        return err_set_param(error, ERR_INVALID, at, "%s: is required (an object)", at);
    return fields_read(source_fields, b->source, at, s, error);
}

static enum err add_image(struct turns *t, const struct block_fields *b, const char *ptr,
                          struct error *error)
{
    struct source_fields s = {0};
    char at[ERROR_PARAM_MAX], part[ERROR_PARAM_MAX];
    enum err e = read_source(b, ptr, &s, at, error);
    if (e) return e;
    struct image *image = &t->images[t->n_images];
    bool url = str_eq(s.type, "url");
    const char *from = url ? s.url : s.data;
    if (!url && !str_eq(s.type, "base64"))
        return field_error(error, at, "type", "must be \"base64\" or \"url\", got \"%.40s\"",
                           s.type);
    if (!from) return field_error(error, at, url ? "url" : "data", "is required (a string)");
    str_printf(part, sizeof part, "%s/%s", at, url ? "url" : "data");
    e = url ? image_from_url(t->arena, from, part, image, error)
            : image_from_base64(t->arena, s.media_type, from, part, image, error);
    if (e) return e;
    ht_assert(t->n_images < t->cap_parts);
    t->n_images++;
    t->open->n_images++;
    return OK;
}

/* A text, or text and image blocks, of a tool's result or a document. */
static enum err add_content(struct turns *t, const json_t *content, const char *ptr,
                            struct error *error)
{
    if (json_is_string(content)) {
        add_line(&t->text, json_string_value(content));
        return OK;
    }
    if (!json_is_array(content))
        return field_error(error, ptr, "content", "must be a text or a list of blocks, got %s",
                           json_kind(content));
    for (size_t i = 0; i < json_array_size(content); i++) {
        struct block_fields b = {0};
        char at[ERROR_PARAM_MAX];
        str_printf(at, sizeof at, "%s/content/%zu", ptr, i);
        const json_t *obj = json_array_get(content, i);
        if (!json_is_object(obj))
            return err_set_param(error, ERR_INVALID, at, "%s: must be an object, got %s", at,
                                 json_kind(obj));
        enum err e = fields_read(block_fields, obj, at, &b, error);
        if (!e && str_eq(b.type, "image"))
            e = add_image(t, &b, at, error);
        else if (!e && str_eq(b.type, "text") && b.text)
            add_line(&t->text, b.text);
        else if (!e)
            e = too_deep(error, at, b.type);
        if (e) return e;
    }
    return OK;
}

static enum err add_document(struct turns *t, const struct block_fields *b, const char *ptr,
                             struct error *error)
{
    struct source_fields s = {0};
    char at[ERROR_PARAM_MAX];
    enum err e = read_source(b, ptr, &s, at, error);
    if (e) return e;
    if (b->title) add_line(&t->text, b->title);
    if (b->context) add_line(&t->text, b->context);
    if (str_eq(s.type, "text") && s.data) {
        add_line(&t->text, s.data);
        return OK;
    }
    if (str_eq(s.type, "content")) return add_content(t, s.content, at, error);
    return err_set_param(error, ERR_UNSUPPORTED, at,
                         "%s: only documents of text can be read here (source types \"text\" and "
                         "\"content\"); upload other files to /api/v1/files",
                         at);
}

static enum err add_search_result(struct turns *t, const struct block_fields *b, const char *ptr,
                                  struct error *error)
{
    if (b->title) add_line(&t->text, b->title);
    if (json_is_string(b->source)) add_line(&t->text, json_string_value(b->source));
    return add_content(t, b->content, ptr, error);
}

/* ---- tools --------------------------------------------------------------------------------- */

static enum err add_call(struct turns *t, const struct block_fields *b, const char *ptr,
                         struct error *error)
{
    if (!b->id || !*b->id) return field_error(error, ptr, "id", "is required (a string)");
    if (!b->name || !*b->name) return field_error(error, ptr, "name", "is required (a string)");
    if (!b->input) return field_error(error, ptr, "input", "is required (an object)");
    ht_assert(t->n_calls < t->cap_parts);
    struct tool_call *call = &t->calls[t->n_calls];
    enum err e = copy_text(t->arena, b->id, &call->id, error);
    if (!e) e = copy_text(t->arena, b->name, &call->name, error);
    if (!e) e = copy_json(t->arena, b->input, &call->arguments, error);
    if (e) return e;
    t->n_calls++;
    t->open->n_tool_calls++;
    return OK;
}

/* The call that a result belongs to, in the assistant's last message; other results may be between.
 */
static const struct tool_call *find_call(const struct turns *t, const char *id)
{
    size_t i = t->n;
    while (i > 0 && t->messages[i - 1].role == ROLE_TOOL) i--;
    if (i == 0 || t->messages[i - 1].role != ROLE_ASSISTANT) return NULL;
    const struct message *m = &t->messages[i - 1];
    for (size_t k = 0; k < m->n_tool_calls; k++)
        if (str_eq(m->tool_calls[k].id, id)) return &m->tool_calls[k];
    return NULL;
}

static enum err add_result(struct turns *t, const struct block_fields *b, const char *ptr,
                           struct error *error)
{
    if (!b->tool_use_id) return field_error(error, ptr, "tool_use_id", "is required (a string)");
    const struct tool_call *call = find_call(t, b->tool_use_id);
    if (!call)
        return field_error(error, ptr, "tool_use_id",
                           "there is no tool_use block with the id \"%.80s\" in the turn before, "
                           "or something else stands in front of this tool_result",
                           b->tool_use_id);
    enum err e = open_message(t, ROLE_TOOL, error);
    if (e) return e;
    t->open->tool_call_id = call->id;
    t->open->name = call->name;
    if (b->content) e = add_content(t, b->content, ptr, error);
    if (!e && b->is_error && !t->text.len) add_line(&t->text, "error");
    return e ? e : close_message(t, error);
}

/* ---- blocks -------------------------------------------------------------------------------- */

static enum err user_block(struct turns *t, const struct block_fields *b, const char *ptr,
                           struct error *error)
{
    if (str_eq(b->type, "tool_result")) return add_result(t, b, ptr, error);
    enum err e = open_message(t, ROLE_USER, error);
    if (e) return e;
    if (str_eq(b->type, "image")) return add_image(t, b, ptr, error);
    if (str_eq(b->type, "document")) return add_document(t, b, ptr, error);
    if (str_eq(b->type, "search_result")) return add_search_result(t, b, ptr, error);
    return too_deep(error, ptr, b->type);
}

static enum err assistant_block(struct turns *t, const struct block_fields *b, const char *ptr,
                                struct error *error)
{
    enum err e = open_message(t, ROLE_ASSISTANT, error);
    if (e) return e;
    if (str_eq(b->type, "tool_use")) return add_call(t, b, ptr, error);
    if (str_eq(b->type, "redacted_thinking")) return OK; /* only its maker can read it */
    if (!str_eq(b->type, "thinking")) return too_deep(error, ptr, b->type);
    if (!b->thinking) return field_error(error, ptr, "thinking", "is required (a string)");
    add_line(&t->reasoning, b->thinking);
    if (!b->signature || !*b->signature || str_eq(b->signature, LOCAL_SIGNATURE)) return OK;
    return copy_text(t->arena, b->signature, &t->open->reasoning_signature, error);
}

static enum err add_text(struct turns *t, enum role role, const char *text, struct error *error)
{
    enum err e = open_message(t, role, error);
    if (!e) add_line(&t->text, text);
    return e;
}

static enum err add_block(struct turns *t, enum role role, const json_t *obj, const char *ptr,
                          struct error *error)
{
    struct block_fields b = {0};
    if (!json_is_object(obj))
        return err_set_param(error, ERR_INVALID, ptr, "%s: must be an object, got %s", ptr,
                             json_kind(obj));
    enum err e = fields_read(block_fields, obj, ptr, &b, error);
    if (e) return e;
    if (str_eq(b.type, "text")) {
        if (!b.text) return field_error(error, ptr, "text", "is required (a string)");
        if (role == ROLE_SYSTEM && str_starts(b.text, BILLING_HEADER)) return OK;
        return add_text(t, role, b.text, error);
    }
    switch (role) {
    case ROLE_USER: return user_block(t, &b, ptr, error);
    case ROLE_ASSISTANT: return assistant_block(t, &b, ptr, error);
    default: return too_deep(error, ptr, b.type);
    }
}

/* A text or a list of blocks, all of one role. */
static enum err add_turn(struct turns *t, enum role role, const json_t *content, const char *ptr,
                         struct error *error)
{
    if (json_is_string(content)) return add_text(t, role, json_string_value(content), error);
    if (!json_is_array(content))
        return err_set_param(error, ERR_INVALID, ptr,
                             "%s: must be a string or a list of blocks, got %s", ptr,
                             json_kind(content));
    enum err e = OK;
    for (size_t i = 0; i < json_array_size(content) && !e; i++) {
        char at[ERROR_PARAM_MAX];
        str_printf(at, sizeof at, "%s/%zu", ptr, i);
        e = add_block(t, role, json_array_get(content, i), at, error);
    }
    return e;
}

/* ---- the conversation ---------------------------------------------------------------------- */

static enum err read_turn(struct turns *t, const json_t *obj, size_t i, struct error *error)
{
    static const struct {
        const char *word;
        enum role role;
    } roles[] = {{"user", ROLE_USER}, {"assistant", ROLE_ASSISTANT}, {"system", ROLE_SYSTEM}};
    char ptr[ERROR_PARAM_MAX], at[ERROR_PARAM_MAX];
    struct turn_fields f = {0};
    size_t r = 0;
    str_printf(ptr, sizeof ptr, "/messages/%zu", i);
    str_printf(at, sizeof at, "%s/content", ptr);
    if (!json_is_object(obj))
        return err_set_param(error, ERR_INVALID, ptr, "%s: must be an object, got %s", ptr,
                             json_kind(obj));
    enum err e = fields_read(turn_fields, obj, ptr, &f, error);
    if (e) return e;
    while (r < 3 && !str_eq(roles[r].word, f.role)) r++;
    if (r == 3)
        return field_error(error, ptr, "role", "must be user or assistant, got \"%.40s\"", f.role);
    return add_turn(t, roles[r].role, f.content, at, error);
}

/* Blocks of a list, those inside of them too. */
static size_t count_parts(const json_t *list)
{
    size_t n = 0;
    if (!json_is_array(list)) return 1;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *block = json_array_get(list, i);
        const json_t *content = json_object_get(block, "content");
        const json_t *source = json_object_get(block, "source");
        n += 1 + json_array_size(content) + json_array_size(json_object_get(source, "content"));
    }
    return n;
}

static size_t count_all(const struct messages_fields *f)
{
    size_t n = f->system ? count_parts(f->system) : 0;
    for (size_t i = 0; i < json_array_size(f->messages); i++)
        n += count_parts(json_object_get(json_array_get(f->messages, i), "content"));
    return n;
}

static enum err read_all(struct turns *t, const struct messages_fields *f, struct error *error)
{
    size_t n = json_array_size(f->messages);
    if (n == 0) return field_error(error, "", "messages", "must have at least one message");
    enum err e = f->system ? add_turn(t, ROLE_SYSTEM, f->system, "/system", error) : OK;
    if (!e) e = close_message(t, error); /* a "system" turn behind it is one of its own */
    for (size_t i = 0; i < n && !e; i++) e = read_turn(t, json_array_get(f->messages, i), i, error);
    if (!e) e = close_message(t, error);
    bool any = false;
    for (size_t i = 0; i < t->n; i++) any |= t->messages[i].role != ROLE_SYSTEM;
    return e || any ? e : field_error(error, "", "messages", "must have content");
}

enum err turns_parse(const struct messages_fields *f, struct gen_request *req, struct error *error)
{
    size_t n = count_all(f) + json_array_size(f->messages) + 1;
    struct turns t = {.arena = req->arena, .cap = n, .cap_parts = n};
    t.messages = arena_calloc(req->arena, n, sizeof *t.messages);
    t.images = arena_calloc(req->arena, n, sizeof *t.images);
    t.calls = arena_calloc(req->arena, n, sizeof *t.calls);
    if (!t.messages || !t.images || !t.calls) return request_too_large(error);
    buf_init(&t.text, COPIED_JSON_MAX);
    buf_init(&t.reasoning, COPIED_JSON_MAX);
    enum err e = read_all(&t, f, error);
    buf_free(&t.text);
    buf_free(&t.reasoning);
    req->messages = t.messages;
    req->n_messages = t.n;
    return e;
}
