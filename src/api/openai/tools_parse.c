/* Tools of a chat request: their definitions, the choice among them, and the calls and answers in
 * the conversation so far. Pure functions; any thread. */
#include <string.h>

#include "api/openai/openai_int.h"
#include "base/str.h"

static enum err check_type(const char *type, const char *ptr, struct error *error)
{
    if (!type || strcmp(type, "function") == 0) return OK;
    return field_error(error, ptr, "type", "must be \"function\", got \"%.40s\"", type);
}

/* ---- definitions --------------------------------------------------------------------------- */

static enum err parse_function(const json_t *obj, const char *ptr, struct arena *arena,
                               struct tool *tool, struct error *error)
{
    struct function_fields f = {0};
    enum err err = fields_read(function_fields, obj, ptr, &f, error);
    if (err) return err;
    if (!call_tool_name_ok(f.name, TOOL_NAME_MAX))
        return field_error(error, ptr, "name",
                           "must be 1 to 64 letters, digits, _, . or -, got \"%.80s\"", f.name);
    tool->strict = f.strict;
    err = copy_text(arena, f.name, &tool->name, error);
    if (!err) err = copy_text(arena, f.description ? f.description : "", &tool->description, error);
    if (!err)
        err = f.parameters ? copy_json(arena, f.parameters, &tool->parameters, error)
                           : copy_text(arena, "{}", &tool->parameters, error);
    return err;
}

static enum err parse_tool(const json_t *obj, const char *ptr, struct arena *arena,
                           struct tool *tool, struct error *error)
{
    if (!json_is_object(obj))
        return err_set_param(error, ERR_INVALID, ptr, "%s: must be an object, got %s", ptr,
                             json_kind(obj));
    struct tool_fields f = {0};
    enum err err = fields_read(tool_fields, obj, ptr, &f, error);
    if (!err) err = check_type(f.type, ptr, error);
    if (err) return err;
    char function_ptr[ERROR_PARAM_MAX];
    str_printf(function_ptr, sizeof function_ptr, "%s/function", ptr);
    return parse_function(f.function, function_ptr, arena, tool, error);
}

static const struct tool *find_tool(const struct tool *tools, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(tools[i].name, name) == 0) return &tools[i];
    return NULL;
}

static enum err parse_tools(const json_t *array, struct gen_request *req, struct error *error)
{
    size_t n = json_array_size(array);
    if (n > TOOLS_MAX)
        return field_error(error, "", "tools", "at most %d tools, got %zu", TOOLS_MAX, n);
    struct tool *tools = arena_calloc(req->arena, n, sizeof *tools);
    if (!tools) return request_too_large(error);
    for (size_t i = 0; i < n; i++) {
        char ptr[ERROR_PARAM_MAX];
        str_printf(ptr, sizeof ptr, "/tools/%zu", i);
        enum err err = parse_tool(json_array_get(array, i), ptr, req->arena, &tools[i], error);
        if (err) return err;
        if (find_tool(tools, i, tools[i].name))
            return field_error(error, ptr, "function/name",
                               "\"%s\" is the name of another tool too", tools[i].name);
    }
    req->tools = tools;
    req->n_tools = n;
    return OK;
}

/* ---- tool_choice --------------------------------------------------------------------------- */

static enum err parse_named_choice(const json_t *choice, struct gen_request *req,
                                   struct error *error)
{
    struct tool_fields f = {0};
    enum err err = fields_read(tool_fields, choice, "/tool_choice", &f, error);
    if (!err) err = check_type(f.type, "/tool_choice", error);
    if (err) return err;
    const json_t *name = json_object_get(f.function, "name");
    if (!json_is_string(name))
        return field_error(error, "/tool_choice/function", "name", "must be a string, got %s",
                           json_kind(name));
    const struct tool *tool = find_tool(req->tools, req->n_tools, json_string_value(name));
    if (!tool)
        return field_error(error, "/tool_choice/function", "name", "\"%.64s\" is none of the tools",
                           json_string_value(name));
    req->tool_choice = TOOL_NAMED;
    req->tool_choice_name = tool->name;
    return OK;
}

static enum err parse_choice(const json_t *choice, struct gen_request *req, struct error *error)
{
    if (json_is_object(choice)) return parse_named_choice(choice, req, error);
    const char *word = json_string_value(choice);
    if (word && strcmp(word, "none") == 0) {
        req->tool_choice = TOOL_NONE;
    } else if (word && strcmp(word, "required") == 0) {
        if (req->n_tools == 0)
            return field_error(error, "", "tool_choice", "\"required\" needs at least one tool");
        req->tool_choice = TOOL_REQUIRED;
    } else if (!word || strcmp(word, "auto") != 0) {
        return field_error(error, "", "tool_choice",
                           "must be \"auto\", \"none\", \"required\" or "
                           "{\"type\":\"function\",\"function\":{\"name\":...}}, got %s",
                           word ? "another word" : json_kind(choice));
    }
    return OK;
}

enum err tools_parse(const struct gen_fields *f, struct gen_request *req, struct error *error)
{
    req->tool_choice = TOOL_AUTO;
    enum err err = f->tools ? parse_tools(f->tools, req, error) : OK;
    if (!err && f->tool_choice) err = parse_choice(f->tool_choice, req, error);
    if (err) return err;
    bool may_call = req->n_tools > 0 && req->tool_choice != TOOL_NONE;
    if (may_call && req->format == FORMAT_GRAMMAR)
        return field_error(error, "", "grammar", "can't be combined with tools");
    return OK;
}

/* ---- calls of the history ------------------------------------------------------------------ */

static enum err parse_call(const json_t *obj, const char *ptr, struct arena *arena,
                           struct tool_call *call, struct error *error)
{
    if (!json_is_object(obj))
        return err_set_param(error, ERR_INVALID, ptr, "%s: must be an object, got %s", ptr,
                             json_kind(obj));
    struct tool_call_fields f = {0};
    enum err err = fields_read(tool_call_fields, obj, ptr, &f, error);
    if (!err) err = check_type(f.type, ptr, error);
    if (err) return err;
    char function_ptr[ERROR_PARAM_MAX];
    str_printf(function_ptr, sizeof function_ptr, "%s/function", ptr);
    struct tool_call_function_fields function = {0};
    err = fields_read(tool_call_function_fields, f.function, function_ptr, &function, error);
    if (err) return err;
    /* Not checked against the pattern: the name may come from another server's tools. */
    if (function.name[0] == '\0')
        return field_error(error, function_ptr, "name", "must not be empty");
    err = copy_text(arena, f.id ? f.id : "", &call->id, error);
    if (!err) err = copy_text(arena, function.name, &call->name, error);
    if (!err)
        err = call_arguments(arena, function.arguments, function_ptr, &call->arguments, error);
    return err;
}

enum err tool_calls_parse(const json_t *array, const char *ptr, struct arena *arena,
                          struct message *message, struct error *error)
{
    size_t n = json_array_size(array);
    struct tool_call *calls = arena_calloc(arena, n, sizeof *calls);
    if (!calls) return request_too_large(error);
    for (size_t i = 0; i < n; i++) {
        char call_ptr[ERROR_PARAM_MAX];
        str_printf(call_ptr, sizeof call_ptr, "%s/tool_calls/%zu", ptr, i);
        enum err err = parse_call(json_array_get(array, i), call_ptr, arena, &calls[i], error);
        if (err) return err;
    }
    message->tool_calls = calls;
    message->n_tool_calls = n;
    return OK;
}
