/* A prompt's parts as JSON and back; see prompt_json.h. */
#include "provider/prompt_json.h"

#include <string.h>

#include "base/str.h"

enum { REQUEST_BYTES_MAX = 1 << 30 };

static const char *const roles[] = {
#define X(id, word) [ROLE_##id] = word,
    MESSAGE_ROLES(X)
#undef X
};

/* ---- writing ------------------------------------------------------------------------------- */

static void optional(struct jw *w, const char *name, const char *s)
{
    if (s) jw_kstr(w, name, s);
}

static void write_message(struct jw *w, const struct message *m)
{
    jw_obj(w);
    jw_kstr(w, "role", roles[m->role]);
    jw_kstr(w, "content", m->content ? m->content : "");
    optional(w, "reasoning", m->reasoning);
    optional(w, "name", m->name);
    optional(w, "tool_call_id", m->tool_call_id);
    if (m->n_tool_calls) {
        jw_key(w, "tool_calls");
        jw_arr(w);
        for (size_t i = 0; i < m->n_tool_calls; i++) {
            jw_obj(w);
            jw_kstr(w, "id", m->tool_calls[i].id);
            jw_kstr(w, "name", m->tool_calls[i].name);
            jw_kstr(w, "arguments", m->tool_calls[i].arguments);
            jw_obj_end(w);
        }
        jw_arr_end(w);
    }
    jw_obj_end(w);
}

static void write_tools(struct jw *w, const struct gen_request *req)
{
    if (!req->n_tools) return;
    jw_key(w, "tools");
    jw_arr(w);
    for (size_t i = 0; i < req->n_tools; i++) {
        jw_obj(w);
        jw_kstr(w, "name", req->tools[i].name);
        jw_kstr(w, "description", req->tools[i].description);
        jw_kstr(w, "parameters", req->tools[i].parameters);
        jw_obj_end(w);
    }
    jw_arr_end(w);
    jw_kint(w, "tool_choice", req->tool_choice);
    optional(w, "tool_choice_name", req->tool_choice_name);
}

void prompt_json_write(struct jw *w, const struct gen_request *req)
{
    jw_obj(w);
    jw_key(w, "messages");
    jw_arr(w);
    for (size_t i = 0; i < req->n_messages; i++) write_message(w, &req->messages[i]);
    jw_arr_end(w);
    write_tools(w, req);
    jw_kbool(w, "parallel_tool_calls", req->parallel_tool_calls);
    if (req->format == FORMAT_JSON_OBJECT) jw_kbool(w, "json", true);
    if (req->format == FORMAT_JSON_SCHEMA) optional(w, "schema", req->schema);
    if (req->format == FORMAT_GRAMMAR) optional(w, "grammar", req->grammar);
    if (req->reasoning_format == REASONING_NONE) jw_kbool(w, "reasoning_none", true);
    optional(w, "template_kwargs", req->template_kwargs);
    optional(w, "chat_template", req->chat_template);
    jw_obj_end(w);
}

/* ---- reading ------------------------------------------------------------------------------- */

static enum err too_large(struct error *error)
{
    return err_set(error, ERR_TOO_LARGE, "the prompt takes more memory than its size allows");
}

/* Copies a member that is there. */
static enum err text(struct arena *a, const json_t *obj, const char *name, const char **out,
                     struct error *error)
{
    const char *s = NULL;
    enum err e = json_get_string(obj, name, "", &s, error);
    if (e || !s) return e;
    *out = arena_strdup(a, s);
    return *out ? OK : too_large(error);
}

static enum err read_calls(struct arena *a, const json_t *array, struct message *m,
                           struct error *error)
{
    size_t n = json_array_size(array);
    struct tool_call *calls = arena_calloc(a, n, sizeof *calls);
    enum err e = calls ? OK : too_large(error);
    for (size_t i = 0; i < n && !e; i++) {
        const json_t *obj = json_array_get(array, i);
        calls[i] = (struct tool_call){"", "", "{}"};
        e = text(a, obj, "id", &calls[i].id, error);
        if (!e) e = text(a, obj, "name", &calls[i].name, error);
        if (!e) e = text(a, obj, "arguments", &calls[i].arguments, error);
    }
    m->tool_calls = calls;
    m->n_tool_calls = n;
    return e;
}

static enum err read_message(struct arena *a, const json_t *obj, struct message *m,
                             struct error *error)
{
    const char *role = "";
    const json_t *calls = NULL;
    size_t r = 0;
    enum err e = json_get_string(obj, "role", "", &role, error);
    while (!e && r < sizeof roles / sizeof *roles && !str_eq(roles[r], role)) r++;
    if (!e && r == sizeof roles / sizeof *roles)
        e = err_set_param(error, ERR_INVALID, "/role", "there is no role \"%.40s\"", role);
    if (e) return e;
    m->role = (enum role)r;
    m->content = "";
    e = text(a, obj, "content", &m->content, error);
    if (!e) e = text(a, obj, "reasoning", &m->reasoning, error);
    if (!e) e = text(a, obj, "name", &m->name, error);
    if (!e) e = text(a, obj, "tool_call_id", &m->tool_call_id, error);
    if (!e) e = json_get_array(obj, "tool_calls", "", &calls, error);
    if (!e && calls) e = read_calls(a, calls, m, error);
    return e;
}

static enum err read_messages(const json_t *obj, struct gen_request *req, struct error *error)
{
    const json_t *array = NULL;
    enum err e = json_get_array(obj, "messages", "", &array, error);
    if (e) return e;
    size_t n = json_array_size(array);
    if (!n)
        return err_set_param(error, ERR_INVALID, "/messages", "there must be at least one message");
    struct message *messages = arena_calloc(req->arena, n, sizeof *messages);
    if (!messages) return too_large(error);
    for (size_t i = 0; i < n && !e; i++)
        e = read_message(req->arena, json_array_get(array, i), &messages[i], error);
    req->messages = messages;
    req->n_messages = n;
    return e;
}

static enum err read_tools(const json_t *obj, struct gen_request *req, struct error *error)
{
    const json_t *array = NULL;
    int64_t choice = TOOL_AUTO;
    enum err e = json_get_array(obj, "tools", "", &array, error);
    if (!e) e = json_get_int(obj, "tool_choice", "", TOOL_AUTO, TOOL_NAMED, &choice, error);
    if (!e) e = text(req->arena, obj, "tool_choice_name", &req->tool_choice_name, error);
    if (e || !array) return e;
    size_t n = json_array_size(array);
    struct tool *tools = arena_calloc(req->arena, n, sizeof *tools);
    if (!tools) return too_large(error);
    for (size_t i = 0; i < n && !e; i++) {
        const json_t *t = json_array_get(array, i);
        tools[i] = (struct tool){.name = "", .description = "", .parameters = "{}"};
        e = text(req->arena, t, "name", &tools[i].name, error);
        if (!e) e = text(req->arena, t, "description", &tools[i].description, error);
        if (!e) e = text(req->arena, t, "parameters", &tools[i].parameters, error);
    }
    req->tools = tools;
    req->n_tools = n;
    req->tool_choice = (enum tool_choice)choice;
    if (!e && choice == TOOL_NAMED && !req->tool_choice_name)
        e = err_set_param(error, ERR_INVALID, "/tool_choice_name", "the tool has no name");
    return e;
}

static enum err read_format(const json_t *obj, struct gen_request *req, struct error *error)
{
    bool json = false, none = false;
    enum err e = json_get_bool(obj, "json", "", &json, error);
    if (!e) e = json_get_bool(obj, "reasoning_none", "", &none, error);
    if (!e) e = json_get_bool(obj, "parallel_tool_calls", "", &req->parallel_tool_calls, error);
    if (!e) e = text(req->arena, obj, "schema", &req->schema, error);
    if (!e) e = text(req->arena, obj, "grammar", &req->grammar, error);
    if (!e) e = text(req->arena, obj, "template_kwargs", &req->template_kwargs, error);
    if (!e) e = text(req->arena, obj, "chat_template", &req->chat_template, error);
    req->reasoning_format = none ? REASONING_NONE : REASONING_AUTO;
    req->format = json           ? FORMAT_JSON_OBJECT
                  : req->schema  ? FORMAT_JSON_SCHEMA
                  : req->grammar ? FORMAT_GRAMMAR
                                 : FORMAT_TEXT;
    return e;
}

enum err prompt_json_read(const json_t *obj, struct gen_request **out, struct error *error)
{
    struct arena *arena = arena_new(REQUEST_BYTES_MAX);
    struct gen_request *req = arena_calloc(arena, 1, sizeof *req);
    enum err e = req ? OK : too_large(error);
    if (!e) {
        req->arena = arena;
        req->kind = GEN_CHAT;
        req->n = 1;
        req->model = req->tenant = req->request_id = "";
        req->max_tokens = -1;
        e = read_messages(obj, req, error);
    }
    if (!e) e = read_tools(obj, req, error);
    if (!e) e = read_format(obj, req, error);
    if (e)
        arena_free(arena);
    else
        *out = req;
    return e;
}
