/* The OpenAPI document: see openapi.h. Written in the order of the tables, so that it is the same
 * bytes for the same source. */
#include "api/openapi.h"

#include <stdio.h>
#include <string.h>

#include "api/access.h"
#include "api/anthropic/anthropic.h"
#include "api/batches/batches.h"
#include "api/docs_int.h"
#include "api/fields.h"
#include "api/hub/hub_int.h"
#include "api/llama/llama.h"
#include "api/models/models.h"
#include "api/ollama/ollama.h"
#include "api/openai/openai.h"
#include "api/responses/responses.h"
#include "api/v1/v1.h"
#include "base/json.h"
#include "base/str.h"

/* A line for each, so that those who add one do not meet. */
/* clang-format off */
const struct schema *const api_schema_tables[] = {
    openai_schemas,
    response_schemas,
    batch_schemas,
    ollama_schemas,
    anthropic_schemas,
    api_llama_schemas,
    hub_schemas,
    v1_schemas,
    v1_conversation_schemas,
    v1_chat_schemas,
    v1_user_schemas,
    v1_file_schemas,
    v1_collection_schemas,
    v1_search_schemas,
    v1_source_schemas, models_schemas,
    NULL};
/* clang-format on */

static const char description[] =
    "The API of a Hearth hub. Paths under /v1 are OpenAI's, so its clients work unchanged.\n\n"
    "Every error is JSON in the shape of `Error`; `param` is the JSON pointer of the member of the "
    "body that is wrong (\"/messages/0/role\"). Requests from web pages must say Content-Type: "
    "application/json; other clients may send any type.";

static const struct schema *schema_find(const char *name)
{
    for (const struct schema *const *table = api_schema_tables; *table; table++)
        for (const struct schema *s = *table; s->name; s++)
            if (strcmp(s->name, name) == 0) return s;
    return NULL;
}

static const char *method_word(enum http_method m)
{
    switch (m) {
    case HTTP_GET: return "get";
    case HTTP_HEAD: return "head";
    case HTTP_POST: return "post";
    case HTTP_PUT: return "put";
    case HTTP_PATCH: return "patch";
    case HTTP_DELETE: return "delete";
    case HTTP_OPTIONS: return "options";
    }
    return "";
}

/* ---- schemas ------------------------------------------------------------------------------- */

static const char *type_word(enum field_type type)
{
    switch (type) {
    case FIELD_BOOL: return "boolean";
    case FIELD_INT: return "integer";
    case FIELD_NUM: return "number";
    case FIELD_STR: return "string";
    case FIELD_OBJ: return "object";
    case FIELD_ARR: return "array";
    case FIELD_JSON:
    case FIELD_IGNORE: break;
    }
    return NULL;
}

/* A field's own schema text may be a bare reference; 3.1 allows a description beside it. */
static void write_field(struct jw *w, const struct field *f)
{
    jw_key(w, f->name);
    if (f->schema) {
        /* "{...}" without its closing brace, then the description. */
        size_t len = strlen(f->schema);
        ht_assert(len > 2 && f->schema[len - 1] == '}');
        jw_raw(w, f->schema, len - 1);
        buf_puts(w->out, ",\"description\":");
        struct jw text;
        jw_init(&text, w->out);
        jw_str(&text, f->help);
        buf_putc(w->out, '}');
        return;
    }
    jw_obj(w);
    if (type_word(f->type)) jw_kstr(w, "type", type_word(f->type));
    if (f->min != 0 || f->max != 0) {
        jw_kdouble(w, "minimum", f->min);
        jw_kdouble(w, "maximum", f->max);
    }
    jw_kstr(w, "description", f->help);
    jw_obj_end(w);
}

static void write_schema(struct jw *w, const struct schema *s)
{
    jw_key(w, s->name);
    if (s->json) {
        jw_raw(w, s->json, strlen(s->json));
        return;
    }
    jw_obj(w);
    jw_kstr(w, "type", "object");
    jw_kstr(w, "description", s->help);
    jw_key(w, "properties");
    jw_obj(w);
    for (const struct field *f = s->fields; f->name; f++) write_field(w, f);
    jw_obj_end(w);
    bool any = false;
    for (const struct field *f = s->fields; f->name; f++) any |= f->flags & FIELD_REQUIRED;
    if (any) {
        jw_key(w, "required");
        jw_arr(w);
        for (const struct field *f = s->fields; f->name; f++)
            if (f->flags & FIELD_REQUIRED) jw_str(w, f->name);
        jw_arr_end(w);
    }
    jw_obj_end(w);
}

static void write_ref(struct jw *w, const char *section, const char *name)
{
    char ref[128];
    str_printf(ref, sizeof ref, "#/components/%s/%s", section, name);
    jw_obj(w);
    jw_kstr(w, "$ref", ref);
    jw_obj_end(w);
}

/* "<media type>": {"schema": {"$ref": ...}} */
static void write_media(struct jw *w, const char *media, const char *schema)
{
    jw_key(w, media);
    jw_obj(w);
    jw_key(w, "schema");
    write_ref(w, "schemas", schema);
    jw_obj_end(w);
}

/* ---- routes -------------------------------------------------------------------------------- */

/* Statuses that any route of the kind may answer with; the text is in components/responses. */
static const struct {
    int status;
    bool with_body; /* only of routes that take one */
    const char *what;
} failures[] = {
    {400, true, "A value is malformed, out of range or unsupported; `param` says which."},
    {404, false, "No such path, object or model."},
    {413, true, "The body is larger than the limit."},
    {415, true, "A web page sent a body that isn't application/json."},
    {429, true, "The queue is full; the header Retry-After says when to try again."},
    {500, false, "A failure of the hub or of the model."},
    {503, false, "Not enough memory, or shutting down; see the header Retry-After."},
};
enum { FAILURES = sizeof failures / sizeof *failures };

static const char *describe_answer(const struct route *r)
{
    if (r->flags & ROUTE_SOCKET) return "A WebSocket; its messages are JSON (docs/websocket.md).";
    return r->flags & ROUTE_STREAM ? "The answer; with `stream`, events that end with [DONE]."
                                   : "The answer.";
}

static void write_responses(struct jw *w, const struct route *r)
{
    jw_key(w, "responses");
    jw_obj(w);
    jw_key(w, r->flags & ROUTE_SOCKET ? "101" : "200");
    jw_obj(w);
    jw_kstr(w, "description", describe_answer(r));
    if (r->response_schema) {
        char chunk[80];
        str_printf(chunk, sizeof chunk, "%sChunk", r->response_schema);
        jw_key(w, "content");
        jw_obj(w);
        write_media(w, "application/json", r->response_schema);
        if (r->flags & ROUTE_STREAM)
            write_media(w, "text/event-stream", schema_find(chunk) ? chunk : r->response_schema);
        jw_obj_end(w);
    }
    jw_obj_end(w);
    for (size_t i = 0; i < FAILURES; i++) {
        if (failures[i].with_body && !r->request_schema) continue;
        char status[8];
        str_printf(status, sizeof status, "%d", failures[i].status);
        jw_key(w, status);
        write_ref(w, "responses", status);
    }
    jw_obj_end(w);
}

static void write_parameters(struct jw *w, const struct route *r)
{
    jw_key(w, "parameters");
    jw_arr(w);
    for (const char *p = strchr(r->path, '{'); p; p = strchr(p + 1, '{')) {
        char name[40];
        str_printf(name, sizeof name, "%.*s", (int)strcspn(p + 1, ".}"), p + 1);
        jw_obj(w);
        jw_kstr(w, "name", name);
        jw_kstr(w, "in", "path");
        jw_kbool(w, "required", true);
        jw_key(w, "schema");
        jw_obj(w);
        jw_kstr(w, "type", "string");
        jw_obj_end(w);
        jw_obj_end(w);
    }
    jw_arr_end(w);
}

/* "get_v1_models_id": a name for generated clients. */
static void operation_id(const struct route *r, char *dst, size_t size)
{
    str_printf(dst, size, "%s%s", method_word(r->method), r->path[1] ? r->path : "/root");
    size_t n = 0;
    for (const char *p = dst; *p; p++) {
        bool word = (*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9');
        if (word)
            dst[n++] = *p;
        else if (n && dst[n - 1] != '_')
            dst[n++] = '_';
    }
    while (n && dst[n - 1] == '_') n--;
    dst[n] = '\0';
}

static void write_operation(struct jw *w, const struct route *r)
{
    char id[128];
    operation_id(r, id, sizeof id);
    jw_key(w, method_word(r->method));
    jw_obj(w);
    jw_kstr(w, "operationId", id);
    jw_kstr(w, "summary", r->summary);
    if (r->flags & ROUTE_PUBLIC) {
        jw_key(w, "security");
        jw_arr(w);
        jw_arr_end(w);
    } else {
        const char *scope = access_scope(r);
        if (scope && *scope) jw_kstr(w, "x-scope", scope);
        if (r->flags & ROUTE_ADMIN) jw_kbool(w, "x-admin", true);
    }
    jw_key(w, "tags");
    jw_arr(w);
    jw_str(w, r->tag);
    jw_arr_end(w);
    if (strchr(r->path, '{')) write_parameters(w, r);
    if (r->request_schema && !(r->flags & ROUTE_SOCKET)) { /* a GET has no body */
        jw_key(w, "requestBody");
        jw_obj(w);
        jw_kbool(w, "required", true);
        jw_key(w, "content");
        jw_obj(w);
        write_media(w, "application/json", r->request_schema);
        jw_obj_end(w);
        jw_obj_end(w);
    }
    write_responses(w, r);
    jw_obj_end(w);
}

void route_doc_path(const struct route *r, char *dst, size_t size)
{
    const char *dots = strstr(r->path, "...}");
    if (dots)
        str_printf(dst, size, "%.*s%s", (int)(dots - r->path), r->path, dots + 3);
    else
        str_copy(dst, size, r->path);
}

static bool documented(const struct route *r)
{
    return !(r->flags & ROUTE_HIDDEN);
}

/* The operations of a path stand together, under the first route that has it. */
static bool is_first_of_path(const struct route *route)
{
    for (const struct route *const *table = api_route_tables; *table; table++)
        for (const struct route *r = *table; r->path; r++)
            if (documented(r) && strcmp(r->path, route->path) == 0) return r == route;
    return true;
}

static void write_path(struct jw *w, const struct route *route)
{
    char path[256];
    route_doc_path(route, path, sizeof path);
    jw_key(w, path);
    jw_obj(w);
    for (const struct route *const *table = api_route_tables; *table; table++)
        for (const struct route *r = *table; r->path; r++)
            if (documented(r) && strcmp(r->path, route->path) == 0) write_operation(w, r);
    jw_obj_end(w);
}

/* ---- the document -------------------------------------------------------------------------- */

/* Either way of showing who one is; where nobody is asked (HEARTH_AUTH) neither is needed. */
static void write_security(struct jw *w)
{
    static const char schemes[] =
        "{\"token\":{\"type\":\"http\",\"scheme\":\"bearer\","
        "\"description\":\"A token of a login, or an API key.\"},"
        "\"key\":{\"type\":\"apiKey\",\"in\":\"header\",\"name\":\"X-Api-Key\"}}";
    jw_key(w, "securitySchemes");
    jw_raw(w, schemes, sizeof schemes - 1);
}

static void write_components(struct jw *w)
{
    jw_key(w, "components");
    jw_obj(w);
    write_security(w);
    jw_key(w, "schemas");
    jw_obj(w);
    for (const struct schema *const *table = api_schema_tables; *table; table++)
        for (const struct schema *s = *table; s->name; s++) write_schema(w, s);
    jw_obj_end(w);
    jw_key(w, "responses");
    jw_obj(w);
    for (size_t i = 0; i < FAILURES; i++) {
        char status[8];
        str_printf(status, sizeof status, "%d", failures[i].status);
        jw_key(w, status);
        jw_obj(w);
        jw_kstr(w, "description", failures[i].what);
        jw_key(w, "content");
        jw_obj(w);
        write_media(w, "application/json", "Error");
        jw_obj_end(w);
        jw_obj_end(w);
    }
    jw_obj_end(w);
    jw_obj_end(w);
}

enum err api_render_openapi(struct buf *out)
{
    struct jw w;
    jw_init(&w, out);
    jw_obj(&w);
    jw_kstr(&w, "openapi", "3.1.0");
    jw_key(&w, "info");
    jw_obj(&w);
    jw_kstr(&w, "title", "Hearth");
    jw_kstr(&w, "version", HEARTH_VERSION);
    jw_kstr(&w, "description", description);
    jw_key(&w, "license");
    jw_obj(&w);
    jw_kstr(&w, "name", "MIT");
    jw_kstr(&w, "identifier", "MIT");
    jw_obj_end(&w);
    jw_obj_end(&w);
    jw_key(&w, "servers");
    jw_arr(&w);
    jw_obj(&w);
    jw_kstr(&w, "url", "/");
    jw_obj_end(&w);
    jw_arr_end(&w);
    jw_key(&w, "security");
    jw_raw(&w, "[{\"token\":[]},{\"key\":[]}]", strlen("[{\"token\":[]},{\"key\":[]}]"));
    jw_key(&w, "paths");
    jw_obj(&w);
    for (const struct route *const *table = api_route_tables; *table; table++)
        for (const struct route *r = *table; r->path; r++)
            if (documented(r) && is_first_of_path(r)) write_path(&w, r);
    jw_obj_end(&w);
    write_components(&w);
    jw_obj_end(&w);
    return out->err;
}
