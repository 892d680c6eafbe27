/* A body's `input` as items: a text becomes a user's message, messages get lists of parts, every
 * item an id, and references are replaced by what they refer to. What an item says is read by
 * messages.c. */
#include <stdlib.h>
#include <string.h>

#include "api/responses/responses_int.h"
#include "base/str.h"

enum { ITEMS_MAX = 100000 };

static enum err no_memory(struct error *error)
{
    return err_set(error, ERR_NOMEM, "not enough memory for the input; try again later");
}

void response_item_id(char dst[RESPONSE_ITEM_ID_MAX], const char *kind, const char *response_id,
                      size_t n, bool input)
{
    const char *random = strchr(response_id, '_');
    ht_assert(random);
    str_printf(dst, RESPONSE_ITEM_ID_MAX, "%s_%s%s%zu", kind, random + 1, input ? "i" : "", n);
}

/* What the id of an item begins with, by its type; NULL: an item that this hub knows nothing of. */
static const char *id_kind(const char *type)
{
    static const struct {
        const char *type, *kind;
    } kinds[] = {{"message", "msg"},          {"reasoning", "rs"},
                 {"function_call", "fc"},     {"function_call_output", "fco"},
                 {"custom_tool_call", "ctc"}, {"custom_tool_call_output", "ctco"}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (str_eq(kinds[i].type, type)) return kinds[i].kind;
    return NULL;
}

/* "content": "text" -> "content": [{"type": "input_text", "text": "text"}] */
static enum err spread_content(json_t *item, const char *role, struct error *error)
{
    json_t *content = json_object_get(item, "content");
    if (!json_is_string(content)) return OK;
    const char *type = str_eq(role, "assistant") ? "output_text" : "input_text";
    json_t *part = json_pack("{s:s, s:O}", "type", type, "text", content);
    json_t *list = part ? json_pack("[o]", part) : NULL;
    if (!list || json_object_set_new(item, "content", list)) return no_memory(error);
    return OK;
}

static enum err set_default(json_t *item, const char *name, const char *value, struct error *error)
{
    json_t *there = json_object_get(item, name);
    if (there && !json_is_null(there)) return OK;
    return json_object_set_new(item, name, json_string(value)) ? no_memory(error) : OK;
}

/* The type of an item that does not say it: only messages may go without. */
static enum err item_type(json_t *item, const char *ptr, const char **out, struct error *error)
{
    const char *type = NULL;
    enum err err = json_get_string(item, "type", ptr, &type, error);
    if (err) return err;
    if (!type && json_object_get(item, "role")) type = "message";
    if (!type) return field_error(error, ptr, "type", "is required (a string)");
    *out = type;
    return set_default(item, "type", type, error);
}

static enum err look_up(const struct response_source *source, const json_t *item, const char *ptr,
                        struct response_refs *refs, json_t **out, struct error *error)
{
    struct store *s;
    const char *id = NULL;
    enum err err = json_get_string(item, "id", ptr, &id, error);
    if (!err && !id) err = field_error(error, ptr, "id", "is required (a string)");
    if (!err) err = response_store(source->hub, &s, error);
    if (!err) err = response_item(s, source->user_id, id, refs, out, error);
    if (err == ERR_NOT_FOUND)
        err = field_error(error, ptr, "id", "there is no item %.60s (was it kept?)", id);
    return err;
}

/* One item of the body, as it is kept; the caller's. */
static enum err normalise(const struct response_source *source, const json_t *given,
                          const char *ptr, const char *response_id, size_t n,
                          struct response_refs *refs, json_t **out, struct error *error)
{
    const char *type = NULL, *role = NULL;
    char id[RESPONSE_ITEM_ID_MAX];
    if (!json_is_object(given))
        return err_set_param(error, ERR_INVALID, ptr, "%s: must be an object, got %s", ptr,
                             json_kind(given));
    json_t *item = json_copy((json_t *)given); /* its members stay shared */
    if (!item) return no_memory(error);
    enum err err = item_type(item, ptr, &type, error);
    if (!err && str_eq(type, "item_reference")) {
        json_decref(item);
        return look_up(source, given, ptr, refs, out, error);
    }
    const char *kind = err ? NULL : id_kind(type);
    if (!err && !kind)
        err = err_set_param(error, ERR_UNSUPPORTED, ptr,
                            "%s: items of type \"%.40s\" are not understood here", ptr, type);
    if (!err) err = json_get_string(item, "role", ptr, &role, error);
    if (!err && role) err = spread_content(item, role, error);
    if (!err) response_item_id(id, kind, response_id, n, true);
    if (!err) err = set_default(item, "id", id, error);
    if (!err && !str_eq(type, "reasoning")) err = set_default(item, "status", "completed", error);
    if (err)
        json_decref(item);
    else
        *out = item;
    return err;
}

static enum err read_text(const struct response_source *source, const json_t *input,
                          const char *response_id, struct response_refs *refs, json_t **out,
                          struct error *error)
{
    json_t *item =
        json_pack("{s:s, s:s, s:O}", "type", "message", "role", "user", "content", input);
    if (!item) return no_memory(error);
    enum err err = normalise(source, item, "/input", response_id, 0, refs, out, error);
    json_decref(item);
    return err;
}

enum err response_items_read(const struct response_source *source, const json_t *input,
                             const char *response_id, struct response_refs *refs, json_t **out,
                             struct error *error)
{
    bool text = json_is_string(input);
    if (!text && !json_is_array(input))
        return field_error(error, "", "input", "must be a string or an array of items, got %s",
                           json_kind(input));
    size_t n = text ? 1 : json_array_size(input);
    if (n == 0) return field_error(error, "", "input", "must not be empty");
    if (n > ITEMS_MAX)
        return field_error(error, "", "input", "at most %d items, got %zu", ITEMS_MAX, n);
    json_t *items = json_array();
    enum err err = items ? OK : no_memory(error);
    for (size_t i = 0; !err && i < n; i++) {
        char ptr[ERROR_PARAM_MAX];
        json_t *item = NULL;
        str_printf(ptr, sizeof ptr, "/input/%zu", i);
        err = text ? read_text(source, input, response_id, refs, &item, error)
                   : normalise(source, json_array_get(input, i), ptr, response_id, i, refs, &item,
                               error);
        if (!err && json_array_append_new(items, item)) err = no_memory(error);
    }
    if (err)
        json_decref(items);
    else
        *out = items;
    return err;
}
