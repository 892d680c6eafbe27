/* The multi-user backend under /api/v1: what its handlers share. Every handler runs on the pool and
 * looks like this:
 *
 *     struct v1_call c;
 *     if (!v1_begin(&c, hub, req, sink, V1_USER)) return;   // refused and answered
 *     enum err e = ...;                                     // writes c.w
 *     v1_end(&c, 200, e);                                   // answers, frees
 *
 * Errors have one shape: {"error": {"code", "message", "details", "request_id"}}; what does not fit
 * the schema is 422 validation_error, another user's object 404. */
#ifndef HEARTH_API_V1_V1_INT_H
#define HEARTH_API_V1_V1_INT_H

#include "api/fields.h"
#include "api/v1/v1.h"
#include "auth/auth.h"
#include "base/arena.h"
#include "base/json.h"

enum v1_flags {
    V1_USER = 1 << 0,  /* a user is calling: c.who. The route must not be ROUTE_PUBLIC; for admins
                          alone it is ROUTE_ADMIN */
    V1_BODY = 1 << 1,  /* the body must be a JSON object: c.body */
    V1_LOGIN = 1 << 2, /* V1_USER, and by a login: a key must not make itself another, larger one */
};

struct v1_call {
    struct hub *hub;
    const struct http_request *req;
    struct sink *sink;
    struct store *store;
    struct auth *auth;
    struct auth_identity who;
    struct auth_origin origin;
    struct arena *arena; /* for what the store gives */
    json_t *body;
    struct buf out;
    struct jw w;      /* the answer */
    const char *type; /* of the answer, static; NULL = JSON */
    struct error error;
};

/* False: the call was refused and answered; the sink is gone. */
bool v1_begin(struct v1_call *c, struct hub *hub, const struct http_request *req, struct sink *sink,
              unsigned flags);
/* Answers with what c->w holds, or with c->error when e is not OK; frees everything. Status 204: no
 * body. */
void v1_end(struct v1_call *c, int status, enum err e);
/* Frees everything without an answer: the sink went to somebody else, who holds a reference. */
void v1_drop(struct v1_call *c);
/* A query parameter as a number. */
HT_MUST_CHECK enum err v1_query_int(struct v1_call *c, const char *name, int64_t min, int64_t max,
                                    int64_t *out);
/* A list of texts, as an array at `ptr` ("/file_ids") or NULL; in the call's arena. */
HT_MUST_CHECK enum err v1_strings(struct v1_call *c, const json_t *array, const char *ptr,
                                  size_t max, const char *const **out, size_t *n);
void v1_put_time(struct jw *w, const char *key, int64_t ms); /* RFC 3339; 0 = null */

#endif
