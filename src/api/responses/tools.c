/* Tools of a response: functions, and tools that take plain text ("custom"), which the model calls
 * as functions of one text. Those in a namespace the model knows by both names in one:
 * "namespace__name". */
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

/* The tools of a request while they are read. */
struct reading {
    struct gen_request *req;
    struct response_info *info;
    struct tool *tools;
    size_t n, max, n_renamed;
};

static enum err join(struct arena *a, const char *first, const char *between, const char *second,
                     const char **out, struct error *error)
{
    size_t len = strlen(first) + strlen(between) + strlen(second) + 1;
    char *text = arena_alloc(a, len);
    *out = text;
    if (!text) return request_too_large(error);
    str_printf(text, len, "%s%s%s", first, between, second);
    return OK;
}

enum err response_tool_name(struct arena *a, const char *space, const char *name, const char **out,
                            struct error *error)
{
    return space ? join(a, space, "__", name, out, error) : copy_text(a, name, out, error);
}

static enum err check_name(const char *name, const char *ptr, struct error *error)
{
    if (!name) return field_error(error, ptr, "name", "is required (a string)");
    if (call_tool_name_ok(name, TOOL_NAME_MAX)) return OK;
    return field_error(error, ptr, "name",
                       "must be 1 to 64 letters, digits, _, . or -, got \"%.80s\"", name);
}

/* For the writer, which says the client's name. */
static void remember(struct reading *r, const char *name, const char *own, const char *space,
                     bool custom)
{
    if (!r->info->tools) r->info->tools = xcalloc(r->max + 1, sizeof *r->info->tools);
    struct response_tool *tool = &r->info->tools[r->n_renamed++];
    tool->name = xstrdup(name);
    tool->space = space ? xstrdup(space) : NULL;
    tool->own = tool->name + strlen(name) - strlen(own);
    tool->custom = custom;
}

static enum err add_tool(struct reading *r, const struct response_tool_fields *f, const char *space,
                         const char *ptr, struct error *error)
{
    struct arena *a = r->req->arena;
    struct tool *tool = &r->tools[r->n];
    bool custom = str_eq(f->type, "custom");
    if (!custom && !str_eq(f->type, "function"))
        return err_set_param(error, ERR_UNSUPPORTED, ptr,
                             "%s: there are no tools of type \"%.40s\" here; send functions", ptr,
                             f->type);
    enum err err = check_name(f->name, ptr, error);
    if (err) return err;
    tool->strict = !json_is_false(f->strict); /* as at OpenAI, where it is strict unless told */
    err = response_tool_name(a, space, f->name, &tool->name, error);
    if (!err) err = copy_text(a, f->description ? f->description : "", &tool->description, error);
    if (!err && custom)
        err = copy_text(a, CUSTOM_PARAMETERS, &tool->parameters, error);
    else if (!err)
        err = f->parameters ? copy_json(a, f->parameters, &tool->parameters, error)
                            : copy_text(a, "{}", &tool->parameters, error);
    if (err) return err;
    if (find_tool(r->tools, r->n, tool->name))
        return field_error(error, ptr, "name", "\"%s\" is the name of another tool too", f->name);
    if (custom || space) remember(r, tool->name, f->name, space, custom);
    r->n++;
    return OK;
}

static enum err read_fields(const json_t *given, const char *ptr, struct response_tool_fields *out,
                            struct error *error)
{
    *out = (struct response_tool_fields){0};
    if (json_is_object(given)) return fields_read(response_tool_fields, given, ptr, out, error);
    return err_set_param(error, ERR_INVALID, ptr, "%s: must be an object, got %s", ptr,
                         json_kind(given));
}

/* {"type": "namespace", "name", "description", "tools": [...]}; what it says of itself stands in
 * front of what its first tool says. */
static enum err add_space(struct reading *r, const struct response_tool_fields *space,
                          const char *ptr, struct error *error)
{
    size_t first = r->n;
    enum err err = check_name(space->name, ptr, error);
    if (!err && !space->tools) err = field_error(error, ptr, "tools", "is required (an array)");
    for (size_t i = 0; !err && i < json_array_size(space->tools); i++) {
        struct response_tool_fields f;
        char inner[ERROR_PARAM_MAX];
        str_printf(inner, sizeof inner, "%s/tools/%zu", ptr, i);
        err = read_fields(json_array_get(space->tools, i), inner, &f, error);
        if (!err) err = add_tool(r, &f, space->name, inner, error);
    }
    if (err || r->n == first || !space->description) return err;
    struct tool *tool = &r->tools[first];
    return join(r->req->arena, space->description, "\n", tool->description, &tool->description,
                error);
}

static bool is_space(const json_t *given)
{
    return str_eq(json_string_value(json_object_get(given, "type")), "namespace");
}

static size_t count_tools(const json_t *array)
{
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(array); i++) {
        const json_t *given = json_array_get(array, i);
        n += is_space(given) ? json_array_size(json_object_get(given, "tools")) : 1;
    }
    return n;
}

static enum err read_tools(const json_t *array, struct gen_request *req, struct response_info *info,
                           struct error *error)
{
    struct reading r = {.req = req, .info = info, .max = count_tools(array)};
    if (r.max > RESPONSE_TOOLS_MAX)
        return field_error(error, "", "tools", "at most %d tools, got %zu", RESPONSE_TOOLS_MAX,
                           r.max);
    r.tools = arena_calloc(req->arena, r.max, sizeof *r.tools);
    if (!r.tools) return request_too_large(error);
    enum err err = OK;
    for (size_t i = 0; !err && i < json_array_size(array); i++) {
        struct response_tool_fields f;
        char ptr[ERROR_PARAM_MAX];
        str_printf(ptr, sizeof ptr, "/tools/%zu", i);
        err = read_fields(json_array_get(array, i), ptr, &f, error);
        if (!err && is_space(json_array_get(array, i)))
            err = add_space(&r, &f, ptr, error);
        else if (!err)
            err = add_tool(&r, &f, NULL, ptr, error);
    }
    req->tools = r.tools;
    req->n_tools = r.n;
    return err;
}

/* ---- tool_choice --------------------------------------------------------------------------- */

static enum err named(const json_t *choice, const char *ptr, struct gen_request *req,
                      const struct tool **out, struct error *error)
{
    const char *name = NULL, *space = NULL;
    enum err err = json_get_string(choice, "name", ptr, &name, error);
    if (!err) err = json_get_string(choice, "namespace", ptr, &space, error);
    if (err) return err;
    if (!name) return field_error(error, ptr, "name", "is required (a string)");
    err = response_tool_name(req->arena, space, name, &name, error);
    if (err) return err;
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
