/* Whether an address is this machine's own loopback interface: what goes there reaches nobody else.
 * By what it says alone; nobody is asked for names. Any thread. */
#ifndef HEARTH_BASE_LOOPBACK_H
#define HEARTH_BASE_LOOPBACK_H

#include <stdbool.h>
#include <stddef.h>

struct sockaddr;

/* "localhost", 127.x.y.z or ::1, that with or without brackets. */
bool loopback_name(const char *host, size_t len);
/* The host of an URL, with or without a scheme; a user name before it is no host. As a resolver
 * reads numbers, "127.1" is 127.0.0.1. */
bool loopback_url(const char *url);
/* An IPv4 or IPv6 address; ::ffff:127.x.y.z is one, too. */
bool loopback_address(const struct sockaddr *a);

#endif
