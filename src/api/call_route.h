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

/* Members of a body that say it; all may be absent. A struct that is read by a table of fields has
 * one of these named `routing`, and CALL_ROUTE_FIELDS in the table (tables.h has the macros). */
struct call_route_fields {
    const char *source, *route, *goal;
    const json_t
        *provider; /* a name; an object is what other services route by, and says nothing */
    bool local_only;
};

/* clang-format off */
#define CALL_ROUTE_FIELDS \
    R("source", STR, 0, 0, 0, NULL, routing.source, "Who answers: a provider's name, or \"auto\" (the same as absent): whom the route says. Also as the header X-Hearth-Source."), \
    R("model_source", STR, FIELD_ALIAS, 0, 0, NULL, routing.source, "The same as `source`."), \
    R("provider", JSON, 0, 0, 0, "{\"oneOf\":[{\"type\":\"string\"},{\"type\":\"object\"}]}", routing.provider, "The same as `source`; an object (OpenRouter's) has no effect."), \
    R("route", STR, 0, 0, 0, NULL, routing.route, "A configured route's name; absent: the default one. Also as the header X-Hearth-Route."), \
    R("optimization_goal", STR, 0, 0, 0, "{\"type\":\"string\",\"enum\":[\"balanced\",\"privacy\",\"cost\",\"speed\",\"quality\"]}", routing.goal, "What matters most in choosing who answers; `privacy` never leaves this machine. Also as the header X-Hearth-Goal."), \
    R("local_only", BOOL, 0, 0, 0, NULL, routing.local_only, "true: this never leaves this machine, and fails when nobody here can answer it. false takes no pin away. Also as the header X-Hearth-Local.")
/* clang-format on */

/* Adds what the body says to *r. */
HT_MUST_CHECK enum err call_route_apply(const struct call_route_fields *f, struct call_route *r,
                                        struct error *error);

/* Copies it into a request; ERR_TOO_LARGE when its arena is full. */
HT_MUST_CHECK enum err call_route_set(const struct call_route *r, struct gen_request *req,
                                      struct error *error);
HT_MUST_CHECK enum err call_route_set_embed(const struct call_route *r, struct embed_request *req,
                                            struct error *error);

#endif
