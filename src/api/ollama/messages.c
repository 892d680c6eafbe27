/* Messages, tools and images of a chat. Pure functions; any thread. */
#include <string.h>

#include "api/image.h"
#include "api/ollama/ollama_int.h"
#include "base/str.h"

enum { TOOLS_MAX = 512, IMAGES_MAX = 64, CALL_ID_MAX = 32 };

/* ---- images -------------------------------------------------------------------------------- */

static enum err read_image(const json_t *v, const char *ptr, size_t i, struct arena *arena,
                           struct image *out, struct error *error)
{
    char at[ERROR_PARAM_MAX];
    const char *data = json_string_value(v), *comma;
    str_printf(at, sizeof at, "%s/images/%zu", ptr, i);
    if (!data)
        return err_set_param(error, ERR_INVALID, at, "%s: must be a picture in base64, got %s", at,
                             json_kind(v));
    if (str_starts(data, "data:") && (comma = strchr(data, ','))) data = comma + 1;
    return image_from_base64(arena, NULL, data, at, out, error);
}

enum err ollama_images_parse(const json_t *array, const char *ptr, struct arena *arena,
                             struct message *m, struct error *error)
{
    size_t n = json_array_size(array);
    if (n > IMAGES_MAX)
        return field_error(error, ptr, "images", "at most %d, got %zu", IMAGES_MAX, n);
    if (!n) return OK;
    struct image *images = arena_calloc(arena, n, sizeof *images);
    if (!images) return request_too_large(error);
    for (size_t i = 0; i < n; i++) {
        enum err err = read_image(json_array_get(array, i), ptr, i, arena, &images[i], error);
        if (err) return err;
    }
    m->images = images;
    m->n_images = n;
    return OK;
}

/* ---- tools --------------------------------------------------------------------------------- */

static enum err read_tool(const json_t *obj, const char *ptr, struct arena *arena,
                          struct tool *tool, struct error *error)
{
    struct ollama_tool_reading t = {0};
    struct ollama_tool_function_reading f = {0};
    char function_ptr[ERROR_PARAM_MAX];
    if (!json_is_object(obj))
        return err_set_param(error, ERR_INVALID, ptr, "%s: must be an object, got %s", ptr,
                             json_kind(obj));
    str_printf(function_ptr, sizeof function_ptr, "%s/function", ptr);
    enum err err = fields_read(ollama_tool_fields, obj, ptr, &t, error);
    if (!err) err = fields_read(ollama_tool_function_fields, t.function, function_ptr, &f, error);
    if (!err && !*f.name) err = field_error(error, function_ptr, "name", "must not be empty");
    if (!err) err = copy_text(arena, f.name, &tool->name, error);
    if (!err) err = copy_text(arena, f.description ? f.description : "", &tool->description, error);
    if (err) return err;
    return f.parameters ? copy_json(arena, f.parameters, &tool->parameters, error)
                        : copy_text(arena, "{}", &tool->parameters, error);
}

enum err ollama_tools_parse(const json_t *array, struct gen_request *req, struct error *error)
{
    size_t n = json_array_size(array);
    if (n > TOOLS_MAX) return field_error(error, "", "tools", "at most %d, got %zu", TOOLS_MAX, n);
    if (!n) return OK;
    struct tool *tools = arena_calloc(req->arena, n, sizeof *tools);
    if (!tools) return request_too_large(error);
    for (size_t i = 0; i < n; i++) {
        char ptr[ERROR_PARAM_MAX];
        str_printf(ptr, sizeof ptr, "/tools/%zu", i);
        enum err err = read_tool(json_array_get(array, i), ptr, req->arena, &tools[i], error);
        if (err) return err;
        for (size_t k = 0; k < i; k++)
            if (str_eq(tools[k].name, tools[i].name))
                return field_error(error, ptr, "function/name",
                                   "\"%.80s\" is the name of another tool too", tools[i].name);
    }
    req->tools = tools;
    req->n_tools = n;
    return OK;
}

/* ---- calls of the history ------------------------------------------------------------------ */

/* An object, or (other servers' habit) the JSON text of one. */
static enum err read_arguments(const json_t *v, const char *ptr, struct arena *arena,
                               const char **out, struct error *error)
{
    json_t *parsed = NULL;
    const char *text = json_string_value(v);
    if (!v || (text && !*text)) return copy_text(arena, "{}", out, error);
    if (text && json_parse(text, strlen(text), &parsed, NULL) == OK) v = parsed;
    enum err err = json_is_object(v) ? copy_json(arena, v, out, error)
                                     : field_error(error, ptr, "arguments",
                                                   "must be an object, got %s", json_kind(v));
    json_decref(parsed);
    return err;
}

static enum err read_call(const json_t *obj, const char *ptr, size_t *n_ids, struct arena *arena,
                          struct tool_call *call, struct error *error)
{
    struct ollama_call_fields f = {0};
    struct ollama_function_fields fn = {0};
    char id[CALL_ID_MAX], function_ptr[ERROR_PARAM_MAX];
    if (!json_is_object(obj))
        return err_set_param(error, ERR_INVALID, ptr, "%s: must be an object, got %s", ptr,
                             json_kind(obj));
    str_printf(function_ptr, sizeof function_ptr, "%s/function", ptr);
    enum err err = fields_read(ollama_call_fields, obj, ptr, &f, error);
    if (!err) err = fields_read(ollama_function_fields, f.function, function_ptr, &fn, error);
    if (err) return err;
    str_printf(id, sizeof id, "call_%zu", ++*n_ids);
    err = copy_text(arena, f.id && *f.id ? f.id : id, &call->id, error);
    if (!err) err = copy_text(arena, fn.name, &call->name, error);
    return err ? err : read_arguments(fn.arguments, function_ptr, arena, &call->arguments, error);
}

static enum err read_calls(const json_t *array, const char *ptr, size_t *n_ids, struct arena *arena,
                           struct message *m, struct error *error)
{
    size_t n = json_array_size(array);
    if (!n) return OK;
    struct tool_call *calls = arena_calloc(arena, n, sizeof *calls);
    if (!calls) return request_too_large(error);
    for (size_t i = 0; i < n; i++) {
        char call_ptr[ERROR_PARAM_MAX];
        str_printf(call_ptr, sizeof call_ptr, "%s/tool_calls/%zu", ptr, i);
        enum err err =
            read_call(json_array_get(array, i), call_ptr, n_ids, arena, &calls[i], error);
        if (err) return err;
    }
    m->tool_calls = calls;
    m->n_tool_calls = n;
    return OK;
}

/* ---- messages ------------------------------------------------------------------------------ */

/* Where in the conversation tools' answers belong: the calls of the last assistant's message that
 * have none yet. */
struct pairing {
    const struct message *caller;
    size_t next, n_ids;
};

static void pair(struct pairing *p, struct message *m)
{
    if (m->n_tool_calls) {
        p->caller = m;
        p->next = 0;
    }
    if (m->role != ROLE_TOOL || m->tool_call_id || !p->caller) return;
    const struct message *c = p->caller;
    size_t at = p->next;
    for (size_t i = 0; m->name && i < c->n_tool_calls; i++) /* by name, from where we are */
        if (str_eq(c->tool_calls[(p->next + i) % c->n_tool_calls].name, m->name)) {
            at = (p->next + i) % c->n_tool_calls;
            break;
        }
    if (at >= c->n_tool_calls) return;
    m->tool_call_id = c->tool_calls[at].id;
    if (!m->name) m->name = c->tool_calls[at].name;
    p->next = at + 1;
}

static enum err read_role(const char *word, const char *ptr, enum role *out, struct error *error)
{
    char lower[16]; /* the case makes no difference there */
    if (str_copy(lower, sizeof lower, word)) {
        for (char *s = lower; *s; s++)
            if (*s >= 'A' && *s <= 'Z') *s = (char)(*s - 'A' + 'a');
        if (call_role(lower, out)) return OK;
    }
    return field_error(error, ptr, "role", "must be system, user, assistant or tool, got \"%.40s\"",
                       word);
}

static enum err read_message(const json_t *obj, const char *ptr, struct pairing *p,
                             struct arena *arena, struct message *m, struct error *error)
{
    struct ollama_message_fields f = {0};
    if (!json_is_object(obj))
        return err_set_param(error, ERR_INVALID, ptr, "%s: must be an object, got %s", ptr,
                             json_kind(obj));
    enum err err = fields_read(ollama_message_fields, obj, ptr, &f, error);
    if (!err) err = read_role(f.role, ptr, &m->role, error);
    if (!err) err = copy_text(arena, f.content ? f.content : "", &m->content, error);
    if (!err && f.thinking && m->role == ROLE_ASSISTANT)
        err = copy_text(arena, f.thinking, &m->reasoning, error);
    if (!err && f.tool_name) err = copy_text(arena, f.tool_name, &m->name, error);
    if (!err && f.tool_call_id) err = copy_text(arena, f.tool_call_id, &m->tool_call_id, error);
    if (!err && m->role == ROLE_ASSISTANT)
        err = read_calls(f.tool_calls, ptr, &p->n_ids, arena, m, error);
    if (!err) err = ollama_images_parse(f.images, ptr, arena, m, error);
    if (!err) pair(p, m);
    return err;
}

enum err ollama_messages_parse(const json_t *array, struct gen_request *req, struct error *error)
{
    size_t n = json_array_size(array);
    struct pairing pairing = {0};
    struct message *messages = arena_calloc(req->arena, n + 1, sizeof *messages);
    if (!messages) return request_too_large(error);
    for (size_t i = 0; i < n; i++) {
        char ptr[ERROR_PARAM_MAX];
        str_printf(ptr, sizeof ptr, "/messages/%zu", i);
        enum err err =
            read_message(json_array_get(array, i), ptr, &pairing, req->arena, &messages[i], error);
        if (err) return err;
    }
    req->messages = messages;
    req->n_messages = n;
    return OK;
}
