/* Tools of a body and the choice among them. Pure functions; any thread. */
#include <string.h>

#include "api/anthropic/anthropic_int.h"
#include "base/str.h"

/* Anthropic's own tools that the client runs: their models know them by name, others need to be
 * told what the reference documents say. */
static const struct {
    const char *type; /* up to the date behind it */
    const char *description, *schema;
} client_tools[] = {
    {"bash_",
     "Run commands in a bash shell. State persists across calls. Set restart to true to start a "
     "new shell.",
     "{\"type\":\"object\",\"properties\":{\"command\":{\"type\":\"string\",\"description\":\"The "
     "command to run; not needed with restart.\"},\"restart\":{\"type\":\"boolean\","
     "\"description\":\"Start the shell anew.\"}}}"},
    {"text_editor_",
     "View, create and edit files. view shows a file or a folder, create writes a whole file, "
     "str_replace replaces old_str, which must occur exactly once, by new_str, insert puts "
     "insert_text behind insert_line.",
     "{\"type\":\"object\",\"properties\":{\"command\":{\"type\":\"string\",\"enum\":[\"view\","
     "\"create\",\"str_replace\",\"insert\"]},\"path\":{\"type\":\"string\"},\"view_range\":{"
     "\"type\":\"array\",\"items\":{\"type\":\"integer\"}},\"file_text\":{\"type\":\"string\"},"
     "\"old_str\":{\"type\":\"string\"},\"new_str\":{\"type\":\"string\"},\"insert_line\":{"
     "\"type\":\"integer\"},\"insert_text\":{\"type\":\"string\"}},\"required\":[\"command\","
     "\"path\"]}"},
};

static enum err fill_client_tool(const char *type, const char *ptr, struct tool *tool,
                                 struct error *error)
{
    for (size_t i = 0; i < sizeof client_tools / sizeof *client_tools; i++) {
        if (!str_starts(type, client_tools[i].type)) continue;
        tool->description = client_tools[i].description;
        tool->parameters = client_tools[i].schema;
        return OK;
    }
    char at[ERROR_PARAM_MAX];
    str_printf(at, sizeof at, "%s/type", ptr);
    return err_set_param(error, ERR_UNSUPPORTED, at,
                         "%s: \"%.40s\" runs on Anthropic's servers and can't be had here; only "
                         "custom tools and those that the client runs (bash_..., text_editor_...)",
                         at, type);
}

static enum err parse_tool(const json_t *obj, const char *ptr, struct arena *arena,
                           struct tool *tool, struct error *error)
{
    struct anthropic_tool_fields f = {0};
    if (!json_is_object(obj))
        return err_set_param(error, ERR_INVALID, ptr, "%s: must be an object, got %s", ptr,
                             json_kind(obj));
    enum err e = fields_read(anthropic_tool_fields, obj, ptr, &f, error);
    if (e) return e;
    if (!call_tool_name_ok(f.name, 128))
        return field_error(error, ptr, "name",
                           "must be 1 to 128 letters, digits, _, . or -, got \"%.80s\"", f.name);
    tool->strict = f.strict;
    e = copy_text(arena, f.name, &tool->name, error);
    if (!e && f.type && !str_eq(f.type, "custom"))
        return fill_client_tool(f.type, ptr, tool, error);
    if (!e && !f.input_schema)
        return field_error(error, ptr, "input_schema", "is required (an object)");
    if (!e) e = copy_text(arena, f.description ? f.description : "", &tool->description, error);
    if (!e) e = copy_json(arena, f.input_schema, &tool->parameters, error);
    return e;
}

static const struct tool *find_tool(const struct tool *tools, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(tools[i].name, name)) return &tools[i];
    return NULL;
}

static enum err parse_tools(const json_t *array, struct gen_request *req, struct error *error)
{
    size_t n = json_array_size(array);
    if (n > ANTHROPIC_TOOLS_MAX)
        return field_error(error, "", "tools", "at most %d tools, got %zu", ANTHROPIC_TOOLS_MAX, n);
    struct tool *tools = arena_calloc(req->arena, n, sizeof *tools);
    if (!tools) return request_too_large(error);
    for (size_t i = 0; i < n; i++) {
        char ptr[ERROR_PARAM_MAX];
        str_printf(ptr, sizeof ptr, "/tools/%zu", i);
        enum err e = parse_tool(json_array_get(array, i), ptr, req->arena, &tools[i], error);
        if (e) return e;
        if (find_tool(tools, i, tools[i].name))
            return field_error(error, ptr, "name", "\"%s\" is the name of another tool too",
                               tools[i].name);
    }
    req->tools = tools;
    req->n_tools = n;
    return OK;
}

static enum err parse_choice(const json_t *obj, struct gen_request *req, struct error *error)
{
    struct tool_choice_fields f = {0};
    enum err e = fields_read(tool_choice_fields, obj, "/tool_choice", &f, error);
    if (e) return e;
    req->parallel_tool_calls = !f.no_parallel;
    if (str_eq(f.type, "none")) {
        req->tool_choice = TOOL_NONE;
    } else if (str_eq(f.type, "any")) {
        if (!req->n_tools)
            return field_error(error, "/tool_choice", "type", "\"any\" needs at least one tool");
        req->tool_choice = TOOL_REQUIRED;
    } else if (str_eq(f.type, "tool")) {
        const struct tool *tool = find_tool(req->tools, req->n_tools, f.name);
        if (!tool)
            return field_error(error, "/tool_choice", "name", "\"%.64s\" is none of the tools",
                               f.name ? f.name : "");
        req->tool_choice = TOOL_NAMED;
        req->tool_choice_name = tool->name;
    } else if (!str_eq(f.type, "auto")) {
        return field_error(error, "/tool_choice", "type",
                           "must be \"auto\", \"any\", \"tool\" or \"none\", got \"%.40s\"",
                           f.type);
    }
    return OK;
}

enum err anthropic_tools_parse(const struct messages_fields *f, struct gen_request *req,
                               struct error *error)
{
    req->tool_choice = TOOL_AUTO;
    enum err e = f->tools ? parse_tools(f->tools, req, error) : OK;
    if (!e && f->tool_choice) e = parse_choice(f->tool_choice, req, error);
    return e;
}
