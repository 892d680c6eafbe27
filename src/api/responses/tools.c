/* Tools of a response: functions, and tools that take plain text ("custom"), which the model calls
 * as functions of one text. */
#include <stdlib.h>
#include <string.h>

#include "api/responses/responses_int.h"
#include "base/mem.h"
#include "base/str.h"

#define CUSTOM_PARAMETERS                                                                          \
    "{\"type\":\"object\",\"properties\":{\"input\":{\"type\":\"string\"}},"                       \
    "\"required\":[\"input\"],\"additionalProperties\":false}"

static const struct tool *find_tool(const struct tool *tools, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(tools[i].name, name)) return &tools[i];
    return NULL;
}

static enum err read_tool(const json_t *given, const char *ptr, struct arena *a, struct tool *tool,
                          bool *custom, struct error *error)
{
    struct response_tool_fields f = {0};
    if (!json_is_object(given))
        return err_set_param(error, ERR_INVALID, ptr, "%s: must be an object, got %s", ptr,
                             json_kind(given));
    enum err err = fields_read(response_tool_fields, given, ptr, &f, error);
    if (err) return err;
    *custom = str_eq(f.type, "custom");
    if (!*custom && !str_eq(f.type, "function"))
        return err_set_param(error, ERR_UNSUPPORTED, ptr,
                             "%s: there are no tools of type \"%.40s\" here; send functions", ptr,
                             f.type);
    if (!f.name) return field_error(error, ptr, "name", "is required (a string)");
    if (!call_tool_name_ok(f.name, TOOL_NAME_MAX))
        return field_error(error, ptr, "name",
                           "must be 1 to 64 letters, digits, _, . or -, got \"%.80s\"", f.name);
    tool->strict = !json_is_false(f.strict); /* as at OpenAI, where it is strict unless told */
    err = copy_text(a, f.name, &tool->name, error);
    if (!err) err = copy_text(a, f.description ? f.description : "", &tool->description, error);
    if (!err && *custom)
        err = copy_text(a, CUSTOM_PARAMETERS, &tool->parameters, error);
    else if (!err)
        err = f.parameters ? copy_json(a, f.parameters, &tool->parameters, error)
                           : copy_text(a, "{}", &tool->parameters, error);
    return err;
}

static enum err read_tools(const json_t *array, struct gen_request *req, struct response_info *info,
                           struct error *error)
{
    size_t n = json_array_size(array), n_custom = 0;
    if (n > RESPONSE_TOOLS_MAX)
        return field_error(error, "", "tools", "at most %d tools, got %zu", RESPONSE_TOOLS_MAX, n);
    struct tool *tools = arena_calloc(req->arena, n, sizeof *tools);
    if (!tools) return request_too_large(error);
    for (size_t i = 0; i < n; i++) {
        char ptr[ERROR_PARAM_MAX];
        bool custom = false;
        str_printf(ptr, sizeof ptr, "/tools/%zu", i);
        enum err err =
            read_tool(json_array_get(array, i), ptr, req->arena, &tools[i], &custom, error);
        if (err) return err;
        if (find_tool(tools, i, tools[i].name))
            return field_error(error, ptr, "name", "\"%s\" is the name of another tool too",
                               tools[i].name);
        if (!custom) continue;
        if (!info->custom) info->custom = xcalloc(n + 1, sizeof *info->custom);
        info->custom[n_custom++] = xstrdup(tools[i].name);
    }
    req->tools = tools;
    req->n_tools = n;
    return OK;
}

/* ---- tool_choice --------------------------------------------------------------------------- */

static enum err named(const json_t *choice, const char *ptr, struct gen_request *req,
                      const struct tool **out, struct error *error)
{
    const char *name = NULL;
    enum err err = json_get_string(choice, "name", ptr, &name, error);
    if (err) return err;
    if (!name) return field_error(error, ptr, "name", "is required (a string)");
    *out = find_tool(req->tools, req->n_tools, name);
    return *out ? OK : field_error(error, ptr, "name", "\"%.64s\" is none of the tools", name);
}

static enum err set_mode(const char *word, const char *ptr, const char *member,
                         struct gen_request *req, struct error *error)
{
    if (str_eq(word, "none")) {
        req->tool_choice = TOOL_NONE;
    } else if (str_eq(word, "required")) {
        if (req->n_tools == 0)
            return field_error(error, ptr, member, "\"required\" needs at least one tool");
        req->tool_choice = TOOL_REQUIRED;
    } else if (!str_eq(word, "auto")) {
        return field_error(error, ptr, member,
                           "must be \"auto\", \"none\", \"required\" or an object that names a "
                           "tool, got \"%.40s\"",
                           word ? word : "something else");
    }
    return OK;
}

/* {"type": "allowed_tools", "mode", "tools": [{"type", "name"}, ...]}: only those are offered. */
static enum err allow_some(const json_t *choice, struct gen_request *req, struct error *error)
{
    const json_t *list = NULL;
    const char *mode = "auto";
    enum err err = json_get_array(choice, "tools", "/tool_choice", &list, error);
    if (!err) err = json_get_string(choice, "mode", "/tool_choice", &mode, error);
    if (err) return err;
    size_t n = json_array_size(list);
    struct tool *some = arena_calloc(req->arena, n, sizeof *some);
    if (!some) return request_too_large(error);
    for (size_t i = 0; !err && i < n; i++) {
        char ptr[ERROR_PARAM_MAX];
        const struct tool *tool = NULL;
        str_printf(ptr, sizeof ptr, "/tool_choice/tools/%zu", i);
        err = named(json_array_get(list, i), ptr, req, &tool, error);
        if (!err) some[i] = *tool;
    }
    if (err) return err;
    req->tools = some;
    req->n_tools = n;
    return set_mode(mode, "/tool_choice", "mode", req, error);
}

static enum err read_choice(const json_t *choice, struct gen_request *req, struct error *error)
{
    const char *type = NULL;
    const struct tool *tool;
    if (!json_is_object(choice))
        return set_mode(json_string_value(choice), "", "tool_choice", req, error);
    enum err err = json_get_string(choice, "type", "/tool_choice", &type, error);
    if (err) return err;
    if (str_eq(type, "allowed_tools")) return allow_some(choice, req, error);
    if (!str_eq(type, "function") && !str_eq(type, "custom"))
        return field_error(error, "/tool_choice", "type",
                           "must be \"function\", \"custom\" or \"allowed_tools\", got \"%.40s\"",
                           type ? type : "nothing");
    err = named(choice, "/tool_choice", req, &tool, error);
    if (err) return err;
    req->tool_choice = TOOL_NAMED;
    req->tool_choice_name = tool->name;
    return OK;
}

enum err response_tools(const struct response_fields *f, struct gen_request *req,
                        struct response_info *info, struct error *error)
{
    req->tool_choice = TOOL_AUTO;
    req->parallel_tool_calls = f->parallel_tool_calls;
    enum err err = f->tools ? read_tools(f->tools, req, info, error) : OK;
    if (!err && f->tool_choice) err = read_choice(f->tool_choice, req, error);
    return err;
}
