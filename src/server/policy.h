/* Who may call: origins of web pages (CORS), names under which a local hub may be addressed (guard
 * against DNS rebinding), and which request ids are taken over. Immutable after policy_new, so any
 * thread may ask. */
#ifndef HEARTH_SERVER_POLICY_H
#define HEARTH_SERVER_POLICY_H

#include <stdbool.h>

struct policy;

enum origin_verdict {
    ORIGIN_REFUSED, /* no CORS header at all: the browser keeps the page from reading the answer */
    ORIGIN_ANY,     /* "*": allowed, never with credentials */
    ORIGIN_LISTED,  /* exactly in the list: allowed, with credentials */
};

/* origins: comma-separated "scheme://host[:port]", or "*", or "". local_only: the hub listens on
 * the loopback interface alone. */
struct policy *policy_new(const char *origins, bool local_only);
void policy_free(struct policy *p); /* NULL is fine */

enum origin_verdict policy_origin(const struct policy *p, const char *origin);

/* True when answers differ by origin, so that caches must know (Vary). */
bool policy_origins_differ(const struct policy *p);

/* False when a request with this Host header (or authority) must be refused: on a hub that listens
 * on loopback only, names other than localhost, *.localhost, 127.x.x.x, [::1] and the hosts of the
 * allowed origins. A page at http://evil.example whose name suddenly resolves to 127.0.0.1 would
 * otherwise be of the hub's own origin, and the browser would let it read everything. */
bool policy_host(const struct policy *p, const char *host);

/* 1 to 128 characters of [A-Za-z0-9._-]. */
bool policy_request_id(const char *id);

#endif
