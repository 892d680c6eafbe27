/* Which reverse proxies are believed when they say on whose behalf they ask (X-Forwarded-For): what
 * the log names, and what logins are throttled by. Immutable, so any thread may ask.
 *
 * Each proxy appends the address that it was called from, so the list is read from its right end:
 * an entry counts when who wrote it is a trusted proxy. What a client wrote into the header itself
 * stands further left and is never reached, unless it comes from a trusted address. */
#ifndef HEARTH_SERVER_PROXIES_H
#define HEARTH_SERVER_PROXIES_H

#include <netinet/in.h>
#include <stdbool.h>

#include "base/err.h"

struct proxies;

/* list: comma-separated addresses or networks ("127.0.0.1, ::1, 10.0.0.0/8"); "" = nobody.
 * ERR_CONFIG names the entry that is none. */
HT_MUST_CHECK enum err proxies_new(const char *list, struct proxies **out, struct error *error);
void proxies_free(struct proxies *p); /* NULL is fine */
bool proxies_trust(const struct proxies *p, const char *address);
/* One line of the header: goes on from `client` (the address that the line came from) as far as it
 * is trusted. True when the whole line was, so that the line before it counts too. */
bool proxies_follow(const struct proxies *p, const char *line, char client[INET6_ADDRSTRLEN]);

#endif
