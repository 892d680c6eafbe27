/* Hints: members of a request that only shade its answer, such as a temperature or how much to
 * think. Which model takes which changes with every new one; a server that refuses the request
 * because of one is asked again without it, once for each, instead of the client being refused. */
#include <string.h>

#include "base/log.h"
#include "base/str.h"
#include "remote/core_int.h"

enum { HINTED_MAX = 32 << 20 }; /* a larger body is not taken apart */

/* "is not supported", "does not support", "deprecated", "Unrecognized request argument", ...: a
 * value that is wrong for every model is the client's to know about. */
static bool is_about_support(const char *message)
{
    static const char *const words[] = {"support",    "deprecat", "recogni",     "not permitted",
                                        "unexpected", "unknown",  "not allowed", "cannot be used"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcasestr(message, words[i])) return true;
    return false;
}

static const struct remote_hint *refused_hint(const struct call *c)
{
    const struct remote_hint *hint = c->r->protocol->hints;
    const char *message = c->failed.msg;
    bool refused = c->status == 400 || c->status == 422;
    if (c->kind != CALL_GENERATE || !refused || !hint || !is_about_support(message)) return NULL;
    while (hint->member && !strcasestr(message, hint->word)) hint++;
    return hint->member ? hint : NULL;
}

bool call_drop_hint(struct call *c)
{
    const struct remote_hint *hint = refused_hint(c);
    struct buf *body = &c->http.body;
    struct error ignored;
    json_t *request;
    if (!hint || body->len > HINTED_MAX) return false;
    if (json_parse(buf_str(body), body->len, &request, &ignored) != OK) return false;
    bool dropped = json_object_del(request, hint->member) == 0; /* it was there */
    if (dropped) {
        log_line(LOG_INFO, LOG_net, c->request_id, "%s; again without %s", c->failed.msg,
                 hint->member);
        buf_clear(body);
        dropped = json_dump(request, body) == OK;
    }
    json_decref(request);
    return dropped;
}
