/* Call route: what a call says of who may answer it, and what binds it to this machine.
 *
 * A call must stay on this machine when any of these says so; none of them can be taken back by
 * another one:
 *
 *   HEARTH_PRIVACY=local          the whole hub
 *   the user, or the API key      auth_identity.local_only
 *   X-Hearth-Local: true          the header
 *   "local_only": true            the body
 *   the goal `privacy`            header or body
 *
 * Conversations, files and routes add theirs further down (src/chat, src/rag, src/router). The rest
 * is choice: what the body says goes before what the headers say. Pure functions of their
 * arguments; any thread. */
#ifndef HEARTH_API_CALL_ROUTE_H
#define HEARTH_API_CALL_ROUTE_H

#include "api/http.h"
#include "base/json.h"
#include "types/gen.h"

struct config;

/* The fields of a gen_request of the same names. Borrowed from the request; "" or NULL
 * where nothing was said. */
struct call_route {
    const char *source, *route;
    enum goal goal;
    bool local_only;
};

/* What is known before the body was read: settings, caller, headers. ERR_INVALID: a header has a
 * value that means nothing; a pin that can't be read must not be taken for none. */
HT_MUST_CHECK enum err call_route_read(const struct config *config, const struct http_request *req,
                                       struct call_route *out, struct error *error);

/* Members of a body that say it; all may be absent. They are read as a part of what a call's body
 * says of its terms (call_terms.h has their table). */
struct call_route_fields {
    const char *source, *route, *goal;
    const json_t
        *provider; /* a name; an object is what other services route by, and says nothing */
    bool local_only;
};

/* Adds what the body says to *r. */
HT_MUST_CHECK enum err call_route_apply(const struct call_route_fields *f, struct call_route *r,
                                        struct error *error);

/* Copies it into a request; ERR_TOO_LARGE when its arena is full. */
HT_MUST_CHECK enum err call_route_set(const struct call_route *r, struct gen_request *req,
                                      struct error *error);
HT_MUST_CHECK enum err call_route_set_embed(const struct call_route *r, struct embed_request *req,
                                            struct error *error);

#endif
