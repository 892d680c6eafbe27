/* Calls that read and change what is kept; see simple.h. */
#include "api/simple.h"

#include "api/request.h"
#include "api/route.h"
#include "auth/auth.h"
#include "base/str.h"
#include "hub/accounts.h"
#include "hub/hub.h"

enum { ANSWER_MAX = 512 << 20, ARENA_MAX = 512 << 20 };

bool simple_begin(struct simple *c, struct hub *hub, const struct http_request *req,
                  struct sink *sink, unsigned flags)
{
    struct auth *auth;
    *c = (struct simple){.hub = hub, .req = req, .sink = sink};
    c->user_id = req->who ? req->who->user_id : "";
    c->arena = arena_new(ARENA_MAX);
    buf_init(&c->out, ANSWER_MAX);
    jw_init(&c->w, &c->out);
    enum err e = accounts_open(hub->accounts, &c->store, &auth, &c->error);
    if (!e && (flags & SIMPLE_BODY)) e = request_check_type(req, &c->error);
    if (!e && (flags & SIMPLE_BODY))
        e = request_parse_object(req->body, req->body_len, &c->body, &c->error);
    if (!e) return true;
    simple_end(c, 0, e);
    return false;
}

void simple_end(struct simple *c, int status, enum err e)
{
    if (!e && c->out.err) e = err_set(&c->error, ERR_TOO_LARGE, "the answer is too large");
    if (e)
        api_error(c->sink, c->req, &c->error);
    else /* a client that has gone needs no answer */
        (void)sink_respond(c->sink, status, "application/json", NULL, 0, buf_str(&c->out),
                           c->out.len);
    sink_unref(c->sink);
    simple_drop(c);
}

void simple_drop(struct simple *c)
{
    json_decref(c->body);
    buf_free(&c->out);
    arena_free(c->arena);
}

/* ---- lists ---------------------------------------------------------------------------------- */

enum err simple_read_page(struct simple *c, int64_t limit, int64_t most, bool oldest_first,
                          struct simple_page *out)
{
    const char *number = c->req->query(c->req, "limit");
    const char *order = c->req->query(c->req, "order");
    const char *after = c->req->query(c->req, "after");
    *out = (struct simple_page){
        .limit = limit, .after = after && *after ? after : NULL, .oldest_first = oldest_first};
    if (number && !str_to_i64(number, 1, most, &out->limit))
        return err_set_param(&c->error, ERR_INVALID, "limit",
                             "the query parameter limit must be an integer from 1 to %lld, got "
                             "%.40s",
                             (long long)most, number);
    if (order && !str_eq(order, "asc") && !str_eq(order, "desc"))
        return err_set_param(&c->error, ERR_INVALID, "order",
                             "the query parameter order must be asc or desc, got %.40s", order);
    if (order) out->oldest_first = str_eq(order, "asc");
    return OK;
}

struct simple_slice simple_slice(const struct simple_page *page, size_t n, size_t after)
{
    struct simple_slice s = {.n = n, .oldest_first = page->oldest_first};
    if (page->after) s.from = page->oldest_first ? after + 1 : n - after;
    s.more = n - s.from > (size_t)page->limit;
    s.count = s.more ? (size_t)page->limit : n - s.from;
    return s;
}

size_t simple_slice_at(const struct simple_slice *s, size_t k)
{
    return s->oldest_first ? s->from + k : s->n - 1 - s->from - k;
}

void simple_list_begin(struct simple *c)
{
    jw_obj(&c->w);
    jw_kstr(&c->w, "object", "list");
    jw_key(&c->w, "data");
    jw_arr(&c->w);
}

void simple_list_end(struct simple *c, const char *first_id, const char *last_id, bool has_more)
{
    jw_arr_end(&c->w);
    jw_kstr(&c->w, "first_id", first_id);
    jw_kstr(&c->w, "last_id", last_id);
    jw_kbool(&c->w, "has_more", has_more);
    jw_obj_end(&c->w);
}

void simple_put_deleted(struct simple *c, const char *id, const char *object)
{
    jw_obj(&c->w);
    jw_kstr(&c->w, "id", id);
    jw_kstr(&c->w, "object", object);
    jw_kbool(&c->w, "deleted", true);
    jw_obj_end(&c->w);
}

void simple_put_time(struct jw *w, const char *key, int64_t ms)
{
    if (ms)
        jw_kint(w, key, ms / 1000);
    else
        jw_knull(w, key);
}
