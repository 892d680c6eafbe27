/* A call of /api/v1 from its beginning to its end; see v1_int.h. */
#include <string.h>

#include "api/error.h"
#include "api/request.h"
#include "api/v1/v1_int.h"
#include "base/clock.h"
#include "base/str.h"
#include "hub/accounts.h"
#include "hub/hub.h"

enum { ANSWER_MAX = 64 << 20, ARENA_MAX = 64 << 20 };

/* ---- refusing ------------------------------------------------------------------------------ */

static enum err check_user(struct v1_call *c, unsigned flags)
{
    if (!(flags & (V1_USER | V1_LOGIN))) return OK;
    /* access.c has looked; a handler that is called past it must not serve anybody. */
    if (!c->req->who) return err_set(&c->error, ERR_AUTH, "Not authenticated");
    c->who = *c->req->who;
    c->origin.by = c->who.user_id;
    if ((flags & V1_LOGIN) && *c->who.key_id)
        return err_set(&c->error, ERR_FORBIDDEN, "this takes a login, not an API key");
    return OK;
}

static enum err read_body(struct v1_call *c, unsigned flags)
{
    if (!(flags & V1_BODY)) return OK;
    enum err e = request_check_type(c->req, &c->error);
    if (!e) e = request_parse_object(c->req->body, c->req->body_len, &c->body, &c->error);
    return e;
}

bool v1_begin(struct v1_call *c, struct hub *hub, const struct http_request *req, struct sink *sink,
              unsigned flags)
{
    *c = (struct v1_call){.hub = hub, .req = req, .sink = sink};
    c->origin.address = req->remote;
    c->arena = arena_new(ARENA_MAX);
    buf_init(&c->out, ANSWER_MAX);
    jw_init(&c->w, &c->out);
    enum err e = accounts_open(hub->accounts, &c->store, &c->auth, &c->error);
    if (!e) e = check_user(c, flags);
    if (!e) e = read_body(c, flags);
    if (!e) return true;
    v1_end(c, 0, e);
    return false;
}

/* ---- answering ----------------------------------------------------------------------------- */

void v1_end(struct v1_call *c, int status, enum err e)
{
    if (!e && c->out.err) e = err_set(&c->error, ERR_TOO_LARGE, "the answer is too large");
    if (e)
        api_error(c->sink, c->req, &c->error);
    else /* a client that has gone needs no answer */
        (void)sink_respond(c->sink, status,
                           status == 204 ? NULL
                           : c->type     ? c->type
                                         : "application/json",
                           NULL, 0, buf_str(&c->out), status == 204 ? 0 : c->out.len);
    v1_drop(c);
}

void v1_drop(struct v1_call *c)
{
    sink_unref(c->sink);
    json_decref(c->body);
    buf_free(&c->out);
    arena_free(c->arena);
}

enum err v1_query_int(struct v1_call *c, const char *name, int64_t min, int64_t max, int64_t *out)
{
    const char *text = c->req->query(c->req, name);
    if (!text || str_to_i64(text, min, max, out)) return OK;
    return err_set_param(&c->error, ERR_INVALID, name,
                         "the query parameter %s must be an integer from %lld to %lld, got %.40s",
                         name, (long long)min, (long long)max, text);
}

enum err v1_strings(struct v1_call *c, const json_t *array, const char *ptr, size_t max,
                    const char *const **out, size_t *n)
{
    size_t size = json_array_size(array);
    *n = 0;
    if (size > max)
        return err_set_param(&c->error, ERR_INVALID, ptr, "%s: at most %zu, got %zu", ptr, max,
                             size);
    const char **list = arena_calloc(c->arena, size + 1, sizeof *list);
    if (!list) return err_set(&c->error, ERR_NOMEM, "no memory for a list");
    for (size_t i = 0; i < size; i++) {
        list[i] = json_string_value(json_array_get(array, i));
        if (!list[i] || !*list[i])
            return err_set_param(&c->error, ERR_INVALID, ptr, "%s/%zu: must be a text", ptr, i);
    }
    *out = list;
    *n = size;
    return OK;
}

void v1_put_time(struct jw *w, const char *key, int64_t ms)
{
    char text[32];
    if (ms) clock_format_utc(text, sizeof text, ms);
    jw_kstr(w, key, ms ? text : NULL);
}
