/* JSON guards. Where libllama-common can be made to recurse or to work without bound, found by
 * reading json-schema.cpp and json-schema-to-grammar.cpp of v0.5.0:
 *   - every function of the converter recurses with the schema's nesting;
 *   - "type": [..n..] copies the node n times, nested in itself n^depth times;
 *   - optional properties: recursion as deep as there are, and cubic work;
 *   - property names: rule names are paths of names; a trie as deep as the longest name;
 *   - a $ref that leads only to $refs in a circle recurses for ever below allOf;
 *   - the value types of a schema are looked up through $refs without remembering the results. */
#include "engine/guard.h"

#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "engine/engine_int.h"

enum {
    OPTIONAL_MAX = 256,        /* optional properties of one object */
    PROPERTY_NAME_MAX = 256,   /* bytes */
    PATTERNS_MAX = 256,        /* "pattern"s in a schema */
    EXPANDED_MAX = 50000,      /* nodes, after the expansion of "type" lists */
    NAME_BYTES_MAX = 16 << 20, /* sum of the rule names */
    TYPE_STEPS_MAX = 200000,   /* steps through anyOf, oneOf, allOf and $ref */
    REF_CHAIN_MAX = 64,        /* $refs that lead to $refs */
};

/* Nesting of brackets outside strings; no recursion, any bytes. */
static size_t json_depth(const char *text)
{
    size_t depth = 0, deepest = 0;
    bool in_string = false;
    for (const char *p = text; *p; p++) {
        if (in_string) {
            if (*p == '\\' && p[1])
                p++;
            else if (*p == '"')
                in_string = false;
        } else if (*p == '"') {
            in_string = true;
        } else if (*p == '{' || *p == '[') {
            if (++depth > deepest) deepest = depth;
        } else if ((*p == '}' || *p == ']') && depth) {
            depth--;
        }
    }
    return deepest;
}

/* ---- schemas ------------------------------------------------------------------------------ */

struct walk {
    const json_t *root;
    const char *param;
    struct error *error;
    double expanded, name_bytes;
    size_t patterns, type_steps;
};

/* As the library resolves them: "#/a/b/0", names split at '/', no escapes. NULL if it leads nowhere
 * (the library's own message is good then). */
static const json_t *resolve(const json_t *root, const char *ref)
{
    if (!str_starts(ref, "#/")) return NULL;
    const json_t *at = root;
    for (const char *p = ref + 2; at;) {
        size_t len = strcspn(p, "/");
        char key[PROPERTY_NAME_MAX + 1];
        if (len >= sizeof key) return NULL;
        memcpy(key, p, len);
        key[len] = '\0';
        int64_t index;
        if (json_is_object(at))
            at = json_object_get(at, key);
        else if (json_is_array(at) && str_to_i64(key, 0, 1 << 20, &index))
            at = json_array_get(at, (size_t)index);
        else
            at = NULL;
        if (!p[len]) break;
        p += len + 1;
    }
    return at;
}

static const char *ref_of(const json_t *node)
{
    return json_string_value(json_object_get(node, "$ref"));
}

static enum err check_ref(struct walk *w, const char *ref)
{
    const char *first = ref;
    for (int hops = 0; ref; hops++) {
        if (hops == REF_CHAIN_MAX)
            return err_set_param(w->error, ERR_SCHEMA, w->param,
                                 "the reference \"%.64s\" leads only to further references "
                                 "(a loop, or more than %d of them)",
                                 first, REF_CHAIN_MAX);
        const json_t *target = resolve(w->root, ref);
        ref = target ? ref_of(target) : NULL;
    }
    return OK;
}

/* What finding out a node's value types costs; `trail` is the chain of nodes being visited. */
struct trail {
    const json_t *node;
    const struct trail *up;
};

static void count_type_steps(struct walk *w, const json_t *node, const struct trail *up)
{
    if (++w->type_steps > TYPE_STEPS_MAX) return;
    const char *ref = ref_of(node);
    if (ref) {
        const json_t *target = resolve(w->root, ref);
        size_t depth = 0;
        for (const struct trail *t = up; t; t = t->up)
            if (t->node == target || ++depth > 1000) return;
        struct trail here = {target, up};
        if (target) count_type_steps(w, target, &here);
        return;
    }
    static const char *const words[] = {"anyOf", "oneOf", "allOf"};
    for (size_t k = 0; k < 3; k++) {
        const json_t *list = json_object_get(node, words[k]), *child;
        size_t i;
        json_array_foreach (list, i, child) count_type_steps(w, child, up);
    }
}

static enum err too_large(struct walk *w, const char *what)
{
    return err_set_param(w->error, ERR_SCHEMA, w->param, "the schema is too large: %s", what);
}

static bool required_has(const json_t *required, const char *name)
{
    size_t i;
    const json_t *item;
    json_array_foreach (required, i, item)
        if (str_eq(json_string_value(item), name)) return true;
    return false;
}

static enum err check_properties(struct walk *w, const json_t *node)
{
    const json_t *properties = json_object_get(node, "properties"), *value;
    const json_t *required = json_object_get(node, "required");
    size_t optional = 0;
    const char *name;
    if (json_array_size(required) > EXPANDED_MAX / 10)
        return too_large(w, "too many required properties");
    json_object_foreach ((json_t *)(uintptr_t)properties, name, value) {
        if (strlen(name) > PROPERTY_NAME_MAX)
            return too_large(w, "a property's name is longer than 256 bytes");
        if (optional <= OPTIONAL_MAX && !required_has(required, name)) optional++;
    }
    if (optional > OPTIONAL_MAX)
        return too_large(w, "an object has more than 256 optional properties; list them under "
                            "\"required\" or split the object");
    return OK;
}

/* Every value below `node`, whether the library takes it for a schema or not: `copies` of it are
 * made, its rule's name has `name_len` bytes. Recursion is bounded by ENGINE_SCHEMA_DEPTH_MAX. */
static enum err walk_schema(struct walk *w, const json_t *node, double copies, size_t name_len)
{
    w->expanded += copies;
    w->name_bytes += copies * (double)(name_len + 8);
    if (w->expanded > EXPANDED_MAX || w->name_bytes > NAME_BYTES_MAX)
        return too_large(w,
                         "it expands to too many rules; simplify its \"type\" lists and nesting");
    enum err e = OK;
    size_t i;
    const json_t *value;
    if (json_is_array(node)) {
        json_array_foreach (node, i, value)
            if (!e) e = walk_schema(w, value, copies, name_len + 8);
        return e;
    }
    if (!json_is_object(node)) return OK;
    const char *ref = ref_of(node), *name;
    if (ref && (e = check_ref(w, ref))) return e;
    if ((e = check_properties(w, node))) return e;
    if (json_is_string(json_object_get(node, "pattern")) && ++w->patterns > PATTERNS_MAX)
        return too_large(w, "it has more than 256 patterns");
    count_type_steps(w, node, NULL);
    if (w->type_steps > TYPE_STEPS_MAX)
        return too_large(w, "its alternatives refer to each other in too many ways");
    size_t types = json_array_size(json_object_get(node, "type"));
    json_object_foreach ((json_t *)(uintptr_t)node, name, value)
        if (!e)
            e = walk_schema(w, value, copies * (types > 1 ? (double)types : 1),
                            name_len + strlen(name) + 1);
    return e;
}

enum err guard_schema(const char *schema, const char *param, struct error *error)
{
    size_t len = strlen(schema), depth = json_depth(schema);
    if (len > ENGINE_SCHEMA_MAX)
        return err_set_param(error, ERR_SCHEMA, param, "the schema has %zu bytes; %d are allowed",
                             len, ENGINE_SCHEMA_MAX);
    if (depth > ENGINE_SCHEMA_DEPTH_MAX)
        return err_set_param(error, ERR_SCHEMA, param,
                             "the schema is nested %zu levels deep; %d are allowed", depth,
                             ENGINE_SCHEMA_DEPTH_MAX);
    json_t *root;
    struct error why;
    enum err e = json_parse(schema, len, &root, &why);
    if (e == ERR_NOMEM) return err_set_param(error, e, param, "%s", why.msg);
    if (e)
        return err_set_param(error, ERR_SCHEMA, param, "the schema is not valid JSON: %s", why.msg);
    if (!json_is_object(root)) {
        e = err_set_param(error, ERR_SCHEMA, param, "the schema must be a JSON object");
    } else {
        struct walk w = {.root = root, .param = param, .error = error};
        e = walk_schema(&w, root, 1, 4);
    }
    json_decref(root);
    return e;
}

/* ---- requests ----------------------------------------------------------------------------- */

static enum err check_tools(const struct gen_request *req, struct error *error)
{
    for (size_t i = 0; i < req->n_tools; i++) {
        char param[80];
        snprintf(param, sizeof param, "/tools/%zu/function/parameters", i);
        enum err e = guard_schema(req->tools[i].parameters, param, error);
        if (e) return e;
    }
    bool forced = req->tool_choice == TOOL_REQUIRED || req->tool_choice == TOOL_NAMED;
    if (forced && !req->n_tools)
        return err_set_param(error, ERR_INVALID, "/tool_choice",
                             "a tool call is demanded, but the request has no tools");
    if (req->tool_choice != TOOL_NAMED) return OK;
    for (size_t i = 0; i < req->n_tools; i++)
        if (str_eq(req->tools[i].name, req->tool_choice_name)) return OK;
    return err_set_param(error, ERR_INVALID, "/tool_choice/function/name",
                         "'%.64s' is not the name of one of the request's tools",
                         req->tool_choice_name ? req->tool_choice_name : "");
}

static enum err check_json_depth(const char *text, const char *param, struct error *error)
{
    size_t depth = json_depth(text);
    if (depth <= JSON_DEPTH_MAX) return OK;
    return err_set_param(error, ERR_INVALID, param,
                         "the JSON is nested %zu levels deep; %d are allowed", depth,
                         JSON_DEPTH_MAX);
}

static enum err check_messages(const struct gen_request *req, struct error *error)
{
    for (size_t i = 0; i < req->n_messages; i++) {
        const struct message *m = &req->messages[i];
        for (size_t k = 0; k < m->n_tool_calls; k++) {
            char param[96];
            snprintf(param, sizeof param, "/messages/%zu/tool_calls/%zu/function/arguments", i, k);
            enum err e = check_json_depth(m->tool_calls[k].arguments, param, error);
            if (e) return e;
        }
    }
    return OK;
}

static enum err check_kwargs(const char *text, struct error *error)
{
    const char *param = "/chat_template_kwargs";
    enum err e = check_json_depth(text, param, error);
    if (e) return e;
    json_t *root;
    struct error why;
    e = json_parse(text, strlen(text), &root, &why);
    if (e)
        return err_set_param(error, e == ERR_NOMEM ? e : ERR_INVALID, param, "not valid JSON: %s",
                             why.msg);
    bool object = json_is_object(root);
    json_decref(root);
    if (!object) return err_set_param(error, ERR_INVALID, param, "must be a JSON object");
    return OK;
}

enum err guard_request(const struct gen_request *req, struct error *error)
{
    enum err e = check_tools(req, error);
    if (!e) e = check_messages(req, error);
    if (!e && req->template_kwargs) e = check_kwargs(req->template_kwargs, error);
    if (!e && req->format == FORMAT_JSON_SCHEMA)
        e = guard_schema(req->schema, "/response_format/json_schema/schema", error);
    if (!e && req->format == FORMAT_GRAMMAR)
        e = gbnf_check(req->grammar, ENGINE_SCHEMA_MAX, "/grammar", error);
    return e;
}
