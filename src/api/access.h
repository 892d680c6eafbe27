/* Access: who may call which route. One gate in front of every handler:
 *
 *   ROUTE_PUBLIC           anybody
 *   /api/v1/...            a user, always
 *   everything else        a user where HEARTH_AUTH says so (hub.guarded), else anybody
 *   ROUTE_ADMIN            the user must be an admin
 *
 * A user is known by a token of a login or by an API key, whose scopes must hold that of the route;
 * a route without a row in the table of scopes is closed to keys that have any. Then the caller's
 * quotas are asked and charged (auth/quota.h). What goes wrong is answered here, in the shape of
 * the route's surface. */
#ifndef HEARTH_API_ACCESS_H
#define HEARTH_API_ACCESS_H

#include "api/route.h"

/* How the server asks; one instance. All MUST. */
struct gate {
    const char *name;
    /* Whether serve never waits for this route: it may run on the front thread. */
    bool (*is_quick)(const struct hub *hub, const struct route *route);
    /* Whether the caller shows nothing although the route asks for it: refused before its body is
     * read. Any thread, never waits. */
    bool (*shows_nothing)(const struct hub *hub, const struct route *route,
                          const struct http_request *req);
    /* The body of a ROUTE_UPLOAD route begins, of `length` bytes (0 = unknown): whether the caller
     * may, and where it goes. May wait, like serve, which follows when the form is whole. */
    enum err (*receive)(struct hub *hub, const struct route *route, const struct http_request *req,
                        int64_t length, struct upload **out, struct error *error);
    /* A ROUTE_SOCKET is to be opened: whether the caller may. What is said over it goes through
     * serve. May wait. */
    enum err (*admit)(struct hub *hub, const struct route *route, const struct http_request *req,
                      struct error *error);
    /* Runs the handler, or refuses. */
    void (*serve)(struct hub *hub, const struct route *route, struct http_request *req,
                  struct sink *sink);
};

extern const struct gate access_gate;

/* What a key needs for this route: a scope's word, "" = any key will do, NULL = there is no row. */
const char *access_scope(const struct route *route);

#endif
