/* POST /v1/route: what would become of a chat, and GET /v1/route/log: what became of the last ones.
 */

#include "router/explain.h"
#include "api/openai/openai_int.h"
#include "api/request.h"
#include "api/responder.h"
#include "api/route.h"
#include "auth/auth.h"
#include "base/clock.h"
#include "base/str.h"
#include "hub/hub.h"
#include "provider/derive.h"
#include "store/store_request.h"

enum { LIST_DEFAULT = 100, LIST_ARENA_MAX = 8 << 20, BODY_MAX = 16 << 20 };

/* ---- the decision -------------------------------------------------------------------------- */

/* The body is a chat's; a text under `prompt` is enough, too. */
static enum err parse(const struct hub *hub, const struct http_request *req, struct call *call,
                      struct error *error)
{
    json_t *body;
    struct call_env env;
    enum err e = call_read(hub->config, req, &env, &body, error);
    if (e) return e;
    e = json_object_get(body, "prompt") ? completion_parse(body, req->body_len, &env, call, error)
                                        : chat_parse(body, req->body_len, &env, call, error);
    json_decref(body);
    return e;
}

void openai_route(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct call call;
    struct error error;
    if (parse(hub, req, &call, &error) == OK) {
        struct responder *r = responder_new(sink, &error_openai, req->request_id);
        struct gen_request *first = call.requests[0];
        call.requests[0] = NULL;
        call_free(&call);
        enum err e = derive_prepare(hub->derive, first, &error);
        if (e)
            arena_free(first->arena);
        else
            e = router_explain(hub->router, first, responder_pass, r, &error);
        if (e) responder_error(r, &error);
        return;
    }
    api_error(sink, req, &error);
    sink_unref(sink);
}

/* ---- the log ------------------------------------------------------------------------------- */

static void int_or_null(struct jw *w, const char *name, int64_t v)
{
    if (v < 0)
        jw_knull(w, name);
    else
        jw_kint(w, name, v);
}

/* A share of `one`; below 0 is unknown. */
static void share_or_null(struct jw *w, const char *name, int64_t v, double one)
{
    if (v < 0)
        jw_knull(w, name);
    else
        jw_kdouble(w, name, (double)v / one);
}

static void write_left(struct jw *w, const struct store_request *r)
{
    jw_key(w, "left");
    if (!r->left_to) {
        jw_null(w);
        return;
    }
    jw_obj(w);
    jw_kstr(w, "to", r->left_to);
    jw_kint(w, "bytes", r->left_bytes);
    jw_kint(w, "messages", r->left_messages);
    jw_kint(w, "images", r->left_images);
    jw_obj_end(w);
}

static void write_row(struct jw *w, const struct store_request *r)
{
    char at[32];
    clock_format_utc(at, sizeof at, r->at_ms);
    jw_obj(w);
    jw_kstr(w, "id", r->request_id);
    jw_kstr(w, "at", at);
    jw_kint(w, "at_ms", r->at_ms);
    jw_kstr(w, "user_id", r->user_id);
    jw_kstr(w, "kind", r->kind);
    jw_kstr(w, "requested_model", r->asked);
    jw_kstr(w, "route", r->route);
    jw_kstr(w, "goal", r->goal);
    jw_kstr(w, "provider", r->provider);
    jw_kstr(w, "model", r->model);
    jw_kstr(w, "reason", r->reason);
    jw_kstr(w, "tried", r->tried);
    jw_kint(w, "attempts", r->attempts);
    share_or_null(w, "complexity", r->complexity_permille, 1000);
    jw_kstr(w, "error", r->error);
    jw_kint(w, "prompt_tokens", r->prompt_tokens);
    jw_kint(w, "cached_tokens", r->cached_tokens);
    jw_kint(w, "completion_tokens", r->completion_tokens);
    jw_kint(w, "reasoning_tokens", r->reasoning_tokens);
    int_or_null(w, "first_token_ms", r->first_token_ms);
    jw_kint(w, "total_ms", r->total_ms);
    share_or_null(w, "cost", r->cost_micros, 1e6);
    write_left(w, r);
    jw_obj_end(w);
}

static enum err read_query(const struct http_request *req, struct store_request_page *page,
                           struct error *error)
{
    const char *limit = req->query(req, "limit"), *before = req->query(req, "before_ms");
    const char *left = req->query(req, "left");
    int64_t n = LIST_DEFAULT;
    *page = (struct store_request_page){.before_ms = INT64_MAX};
    if (req->who && !req->who->admin) page->user_id = req->who->user_id;
    if (limit && !str_to_i64(limit, 1, STORE_REQUESTS_MAX, &n))
        return err_set_param(error, ERR_INVALID, "limit",
                             "the query's limit must be an integer from 1 to %d",
                             STORE_REQUESTS_MAX);
    page->limit = (int32_t)n;
    if (before && !str_to_i64(before, 0, INT64_MAX, &page->before_ms))
        return err_set_param(error, ERR_INVALID, "before_ms",
                             "the query's before_ms must be milliseconds since 1970");
    if (left && !str_to_bool(left, &page->left))
        return err_set_param(error, ERR_INVALID, "left", "the query's left must be true or false");
    return request_cursor(req, &page->before_ms, &page->before_id, error);
}

static enum err read_log(struct hub *hub, const struct http_request *req, struct arena *arena,
                         struct buf *out, struct error *error)
{
    struct store_request_page page;
    struct store *store;
    struct auth *auth;
    struct store_request *rows;
    size_t n = 0;
    struct jw w;
    enum err e = read_query(req, &page, error);
    if (!e) e = accounts_open(hub->accounts, &store, &auth, error);
    if (e) return e;
    request_log_flush(hub->request_log);
    e = store_request_list(store, &page, arena, &rows, &n, error);
    if (e) return e;
    jw_init(&w, out);
    jw_obj(&w);
    jw_kstr(&w, "object", "list");
    jw_key(&w, "data");
    jw_arr(&w);
    for (size_t i = 0; i < n; i++) write_row(&w, &rows[i]);
    jw_arr_end(&w);
    bool more = n == (size_t)page.limit;
    request_put_cursor(&w, more, more ? rows[n - 1].at_ms : 0, more ? rows[n - 1].id : "");
    jw_obj_end(&w);
    return out->err ? err_set(error, out->err, "the list became too long; ask for fewer") : OK;
}

void openai_route_log(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct error error;
    struct arena *arena = arena_new(LIST_ARENA_MAX);
    struct buf body;
    buf_init(&body, BODY_MAX);
    if (read_log(hub, req, arena, &body, &error))
        api_error(sink, req, &error);
    else
        (void)sink_respond(sink, 200, "application/json", NULL, 0, buf_str(&body), body.len);
    buf_free(&body);
    arena_free(arena);
    sink_unref(sink);
}
