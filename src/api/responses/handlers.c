/* /v1/responses: create, fetch, delete, input items. */
#include <string.h>

#include "api/answer.h"
#include "api/responses/responses.h"
#include "api/responses/responses_int.h"
#include "api/simple.h"
#include "base/str.h"
#include "hub/hub.h"

enum { ITEMS_DEFAULT = 20, ITEMS_MOST = 100 };

/* ---- create --------------------------------------------------------------------------------- */

/* What is to be kept needs a database. One that is away: those who did not ask for it by name get
 * their response all the same, which says that it is not kept. */
static enum err check_store(struct hub *hub, const json_t *body, struct response_call *c,
                            struct error *error)
{
    struct store *s;
    if (!c->info.store || response_store(hub, &s, error) == OK) return OK;
    if (c->info.background || json_is_true(json_object_get(body, "store"))) return error->code;
    c->info.store = false;
    return OK;
}

static void create(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    json_t *body = NULL;
    struct call_env env;
    struct error error;
    struct response_call c = {0};
    enum err e = call_read(hub->config, req, &env, &body, &error);
    if (!e) {
        struct response_source source = {.hub = hub, .env = &env, .user_id = env.tenant};
        e = response_parse(&source, body, req->body_len, &c, &error);
    }
    if (!e && (e = check_store(hub, body, &c, &error))) response_call_free(&c);
    if (e) {
        api_error(sink, req, &error);
        sink_unref(sink);
    } else if (c.info.background) {
        response_enqueue(hub, req, sink, &env, body, &c);
    } else {
        struct writer *writer = response_writer_new(hub, &c, NULL);
        answer_start(hub, sink, &c.call, writer, req->request_id, "response");
    }
    json_decref(body);
}

/* ---- one ------------------------------------------------------------------------------------ */

static bool wants_stream(const struct http_request *req)
{
    bool stream = false;
    const char *text = req->query(req, "stream");
    return text && str_to_bool(text, &stream) && stream;
}

static void get(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct simple c;
    struct store_answer x;
    if (wants_stream(req)) {
        response_follow(hub, req, sink);
        return;
    }
    if (!simple_begin(&c, hub, req, sink, 0)) return;
    enum err e =
        store_answer_get(c.store, c.user_id, STORE_RESPONSE, req->params[0], c.arena, &x, &c.error);
    if (!e && response_settle(c.store, &x))
        e = store_answer_look(c.store, c.user_id, x.id, c.arena, &x, &c.error);
    if (!e) buf_puts(&c.out, x.body);
    simple_end(&c, 200, e);
}

static void delete_one(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct simple c;
    if (!simple_begin(&c, hub, req, sink, 0)) return;
    enum err e = store_answer_delete(c.store, c.user_id, STORE_RESPONSE, req->params[0], &c.error);
    if (!e) {
        response_ended_outside(hub, req->params[0]);
        simple_put_deleted(&c, req->params[0], "response");
    }
    simple_end(&c, 200, e);
}

/* ---- input items ----------------------------------------------------------------------------- */

static size_t index_of(const json_t *items, const char *id)
{
    size_t n = json_array_size(items), i = 0;
    while (i < n && !str_eq(json_string_value(json_object_get(json_array_get(items, i), "id")), id))
        i++;
    return i;
}

static enum err put_items(struct simple *c, const json_t *items, const struct simple_page *page)
{
    size_t n = json_array_size(items), after = page->after ? index_of(items, page->after) : 0;
    const json_t *last = NULL, *first = NULL;
    if (page->after && after == n)
        return err_set_param(&c->error, ERR_INVALID, "after", "there is no item %.60s",
                             page->after);
    struct simple_slice slice = simple_slice(page, n, after);
    simple_list_begin(c);
    for (size_t k = 0; k < slice.count; k++) {
        last = json_array_get(items, simple_slice_at(&slice, k));
        if (!first) first = last;
        jw_json(&c->w, last);
    }
    simple_list_end(c, json_string_value(json_object_get(first, "id")),
                    json_string_value(json_object_get(last, "id")), slice.more);
    return OK;
}

static void list_items(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct simple c;
    struct store_answer x;
    struct simple_page page;
    json_t *items = NULL;
    if (!simple_begin(&c, hub, req, sink, 0)) return;
    enum err e = simple_read_page(&c, ITEMS_DEFAULT, ITEMS_MOST, false, &page);
    if (!e)
        e = store_answer_get(c.store, c.user_id, STORE_RESPONSE, req->params[0], c.arena, &x,
                             &c.error);
    if (!e) e = json_parse(x.input, strlen(x.input), &items, &c.error);
    if (!e) e = put_items(&c, items, &page);
    json_decref(items);
    simple_end(&c, 200, e);
}

/* clang-format off */
const struct route response_routes[] = {
    {HTTP_POST, "/v1/responses", create, ROUTE_STREAM, "Responses", "Respond to a text or to items", "ResponseRequest", "Response"},
    {HTTP_GET, "/v1/responses/{id}", get, ROUTE_STREAM, "Responses", "A kept response; ?stream=true its events, behind ?starting_after=", NULL, "Response"},
    {HTTP_DELETE, "/v1/responses/{id}", delete_one, 0, "Responses", "Delete a kept response", NULL, "Deleted"},
    {HTTP_POST, "/v1/responses/{id}/cancel", response_cancel, 0, "Responses", "Stop one that is answered in the background", NULL, "Response"},
    {HTTP_GET, "/v1/responses/{id}/input_items", list_items, 0, "Responses", "What a kept response was asked", NULL, "ResponseItemList"},
    {.path = NULL}};
