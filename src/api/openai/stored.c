/* Stored completions: answers to chats that were asked with "store": true, under
 * /v1/chat/completions/{id}. */
#include <stdlib.h>
#include <string.h>

#include "api/openai/openai_int.h"
#include "api/simple.h"
#include "base/mem.h"
#include "base/str.h"
#include "hub/accounts.h"
#include "hub/hub.h"
#include "store/store_answer.h"

enum {
    PAGE_DEFAULT = 20,
    PAGE_MOST = STORE_ANSWER_PAGE_MAX,
    LOOKED_AT_MAX = 10000, /* completions, by one call with a filter */
    FILTERS_MAX = 16,
};

/* ---- what is kept ---------------------------------------------------------------------------- */

/* As it was asked: 0.9 is 0.899999976 as a float. */
static void put_float(struct jw *w, const char *name, float value)
{
    char text[32];
    str_printf(text, sizeof text, "%.6g", (double)value);
    jw_key(w, name);
    jw_raw(w, text, strlen(text));
}

/* Members behind those of the answer: what was asked, as OpenAI tells it. */
static void put_asked(const json_t *body, const struct gen_request *req, const char *request_id,
                      struct buf *out)
{
    static const char *const as_asked[] = {"tool_choice", "tools", "response_format"};
    struct jw w;
    jw_init(&w, out);
    jw_obj(&w);
    jw_kstr(&w, "request_id", request_id);
    for (size_t i = 0; i < sizeof as_asked / sizeof *as_asked; i++)
        jw_kjson(&w, as_asked[i], json_object_get(body, as_asked[i]));
    const json_t *seed = json_object_get(body, "seed");
    jw_key(&w, "seed");
    if (json_is_integer(seed))
        jw_int(&w, json_integer_value(seed));
    else
        jw_null(&w);
    put_float(&w, "temperature", req->sampling.temperature);
    put_float(&w, "top_p", req->sampling.top_p);
    put_float(&w, "presence_penalty", req->sampling.presence_penalty);
    put_float(&w, "frequency_penalty", req->sampling.frequency_penalty);
    jw_kstr(&w, "input_user", json_string_value(json_object_get(body, "user")));
    jw_kstr(&w, "service_tier", "default");
}

static enum err dump(const json_t *v, char **out, struct error *error)
{
    struct buf text;
    buf_init(&text, COPIED_JSON_MAX);
    if (json_dump(v, &text)) {
        buf_free(&text);
        return request_too_large(error);
    }
    *out = buf_take(&text);
    return OK;
}

enum err stored_info_read(struct hub *hub, const struct http_request *req, const json_t *body,
                          const struct call *call, struct stored_info *out, struct error *error)
{
    struct store *s;
    struct auth *auth;
    struct buf more;
    *out = (struct stored_info){.local_only = call->requests[0]->local_only};
    const json_t *metadata = json_object_get(body, "metadata");
    if (metadata && !json_is_object(metadata) && !json_is_null(metadata))
        return field_error(error, "", "metadata", "must be an object, got %s", json_kind(metadata));
    enum err err = accounts_open(hub->accounts, &s, &auth, error);
    if (!err) err = call_metadata(metadata, "/metadata", &out->metadata, error);
    if (!err) err = dump(json_object_get(body, "messages"), &out->input, error);
    buf_init(&more, COPIED_JSON_MAX);
    put_asked(body, call->requests[0], req->request_id, &more);
    if (!err && more.err) err = request_too_large(error);
    if (err) {
        buf_free(&more);
        stored_info_free(out);
        return err;
    }
    more.data[0] = ','; /* instead of the brace */
    out->more = buf_take(&more);
    out->user_id = xstrdup(call->requests[0]->tenant);
    return OK;
}

/* ---- answers -------------------------------------------------------------------------------- */

/* {..., "metadata": {...}}: the metadata may have changed since. */
static void put_completion(struct jw *w, const struct store_answer *x)
{
    size_t len = strlen(x->body);
    jw_raw(w, x->body, len ? len - 1 : 0);
    buf_puts(w->out, ",\"metadata\":");
    buf_puts(w->out, x->metadata);
    buf_putc(w->out, '}');
}

static enum err get(struct simple *c, struct store_answer *x)
{
    return store_answer_get(c->store, c->user_id, STORE_COMPLETION, c->req->params[0], c->arena, x,
                            &c->error);
}

void openai_stored(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct simple c;
    struct store_answer x;
    if (!simple_begin(&c, hub, req, sink, 0)) return;
    enum err e = get(&c, &x);
    if (!e) put_completion(&c.w, &x);
    simple_end(&c, 200, e);
}

void openai_stored_change(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct simple c;
    struct store_answer x;
    struct stored_change_fields f = {0};
    char *metadata = NULL;
    if (!simple_begin(&c, hub, req, sink, SIMPLE_BODY)) return;
    enum err e = fields_read(stored_change_fields, c.body, "", &f, &c.error);
    if (!e) e = call_metadata(f.metadata, "/metadata", &metadata, &c.error);
    if (!e)
        e = store_answer_set_metadata(c.store, c.user_id, STORE_COMPLETION, req->params[0],
                                      metadata, &c.error);
    if (!e) e = get(&c, &x);
    if (!e) put_completion(&c.w, &x);
    free(metadata);
    simple_end(&c, 200, e);
}

void openai_stored_delete(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct simple c;
    if (!simple_begin(&c, hub, req, sink, 0)) return;
    enum err e =
        store_answer_delete(c.store, c.user_id, STORE_COMPLETION, req->params[0], &c.error);
    if (!e) simple_put_deleted(&c, req->params[0], "chat.completion.deleted");
    simple_end(&c, 200, e);
}

/* ---- list ----------------------------------------------------------------------------------- */

/* ?metadata[key]=value */
struct filter {
    char key[METADATA_KEY_MAX * 4 + 1];
    const char *value;
};

static enum err read_filters(struct simple *c, struct filter filters[FILTERS_MAX], size_t *n)
{
    static const char prefix[] = "metadata[";
    const char *at = c->req->query_pairs;
    *n = 0;
    while (at && *at) {
        const char *name = at, *value = at + strlen(at) + 1;
        size_t len = strlen(name);
        at = value + strlen(value) + 1;
        if (!str_starts(name, prefix) || name[len - 1] != ']') continue;
        struct filter *f = &filters[*n];
        if (*n == FILTERS_MAX || !str_printf(f->key, sizeof f->key, "%.*s",
                                             (int)(len - sizeof prefix), name + sizeof prefix - 1))
            return err_set_param(&c->error, ERR_INVALID, "metadata", "too much to look for");
        f->value = value;
        ++*n;
    }
    return OK;
}

static bool fits(const struct store_answer *x, const struct filter *filters, size_t n)
{
    json_t *metadata;
    struct error ignored;
    bool all = true;
    if (n == 0) return true;
    if (json_parse(x->metadata, strlen(x->metadata), &metadata, &ignored)) return false;
    for (size_t i = 0; i < n; i++) {
        const char *value = json_string_value(json_object_get(metadata, filters[i].key));
        all &= str_eq(value, filters[i].value);
    }
    json_decref(metadata);
    return all;
}

/* Writes what fits; *last and *first: ids of what was written, "" = none. */
static enum err put_list(struct simple *c, const struct simple_page *page,
                         const struct filter *filters, size_t n_filters)
{
    struct store_answer_page wanted = {.model = c->req->query(c->req, "model"),
                                       .after = page->after,
                                       .oldest_first = page->oldest_first,
                                       .limit = PAGE_MOST};
    char first[STORE_ID_MAX] = "", last[STORE_ID_MAX] = "", at[STORE_ID_MAX];
    size_t n, written = 0, looked_at = 0;
    bool more = false;
    enum err e = OK;
    if (!n_filters && page->limit < PAGE_MOST) wanted.limit = (int32_t)page->limit + 1;
    n = (size_t)wanted.limit;
    simple_list_begin(c);
    while (!e && !more && n == (size_t)wanted.limit && looked_at < LOOKED_AT_MAX) {
        struct store_answer *list;
        struct arena *a = arena_new((size_t)512 << 20);
        e = store_answer_list(c->store, c->user_id, STORE_COMPLETION, &wanted, a, &list, &n,
                              &c->error);
        for (size_t i = 0; !e && !more && i < n; i++) {
            if (!fits(&list[i], filters, n_filters)) continue;
            more = written == (size_t)page->limit;
            if (more) break;
            put_completion(&c->w, &list[i]);
            if (!written++) str_copy(first, sizeof first, list[i].id);
            str_copy(last, sizeof last, list[i].id);
        }
        if (!e && n) str_copy(at, sizeof at, list[n - 1].id);
        wanted.after = at;
        looked_at += n;
        arena_free(a);
    }
    simple_list_end(c, *first ? first : NULL, *last ? last : NULL, more);
    return e;
}

void openai_stored_list(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct simple c;
    struct simple_page page;
    struct filter filters[FILTERS_MAX];
    size_t n = 0;
    if (!simple_begin(&c, hub, req, sink, 0)) return;
    enum err e = simple_read_page(&c, PAGE_DEFAULT, PAGE_MOST, true, &page);
    if (!e) e = read_filters(&c, filters, &n);
    if (!e) e = put_list(&c, &page, filters, n);
    simple_end(&c, 200, e);
}

/* ---- messages -------------------------------------------------------------------------------- */

/* The texts of a list of parts, joined; NULL for what is no list. */
static void put_content(struct jw *w, const json_t *content)
{
    bool parts = json_is_array(content), any = false;
    struct buf text;
    buf_init(&text, COPIED_JSON_MAX);
    for (size_t i = 0; i < json_array_size(content); i++) {
        const char *s = json_string_value(json_object_get(json_array_get(content, i), "text"));
        if (!s) continue;
        if (any) buf_putc(&text, '\n');
        any = true;
        buf_puts(&text, s);
    }
    if (text.err) w->out->err = text.err;
    jw_kstr(w, "content", parts ? buf_str(&text) : json_string_value(content));
    jw_kjson(w, "content_parts", parts ? content : NULL);
    buf_free(&text);
}

static void put_message(struct jw *w, const char *id, const json_t *message)
{
    const char *key;
    json_t *value;
    jw_obj(w);
    jw_kstr(w, "id", id);
    json_object_foreach ((json_t *)message, key, value) {
        if (str_eq(key, "content") || str_eq(key, "id")) continue;
        jw_kjson(w, key, value);
    }
    if (!json_object_get(message, "name")) jw_knull(w, "name");
    put_content(w, json_object_get(message, "content"));
    jw_obj_end(w);
}

/* "<completion>-<index>" */
static void message_id(char dst[STORE_ID_MAX], const struct store_answer *x, size_t i)
{
    str_printf(dst, STORE_ID_MAX, "%s-%zu", x->id, i);
}

static enum err put_messages(struct simple *c, const struct store_answer *x, const json_t *list,
                             const struct simple_page *page)
{
    char id[STORE_ID_MAX] = "", first[STORE_ID_MAX] = "";
    size_t n = json_array_size(list), after = 0;
    for (; page->after && after < n; after++) {
        message_id(id, x, after);
        if (str_eq(id, page->after)) break;
    }
    if (page->after && after == n)
        return err_set_param(&c->error, ERR_INVALID, "after", "there is no message %.60s",
                             page->after);
    struct simple_slice slice = simple_slice(page, n, after);
    simple_list_begin(c);
    for (size_t k = 0; k < slice.count; k++) {
        size_t i = simple_slice_at(&slice, k);
        message_id(id, x, i);
        if (!k) str_copy(first, sizeof first, id);
        put_message(&c->w, id, json_array_get(list, i));
    }
    simple_list_end(c, slice.count ? first : NULL, slice.count ? id : NULL, slice.more);
    return OK;
}

void openai_stored_messages(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct simple c;
    struct store_answer x;
    struct simple_page page;
    json_t *list = NULL;
    if (!simple_begin(&c, hub, req, sink, 0)) return;
    enum err e = simple_read_page(&c, PAGE_DEFAULT, PAGE_MOST, true, &page);
    if (!e) e = get(&c, &x);
    if (!e) e = json_parse(x.input, strlen(x.input), &list, &c.error);
    if (!e) e = put_messages(&c, &x, list, &page);
    json_decref(list);
    simple_end(&c, 200, e);
}
