/* The loopback interface; see loopback.h. */
#include "base/loopback.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/str.h"

static bool is_v4(struct in_addr in)
{
    return ntohl(in.s_addr) >> 24 == 127;
}

bool loopback_name(const char *host, size_t len)
{
    char name[INET6_ADDRSTRLEN];
    struct in_addr v4;
    struct in6_addr v6;
    if (len >= 2 && host[0] == '[' && host[len - 1] == ']') {
        host++;
        len -= 2;
        if (!memchr(host, ':', len)) return false;
    }
    if (len >= sizeof name || memchr(host, '\0', len)) return false;
    memcpy(name, host, len);
    name[len] = '\0';
    if (str_ieq(name, "localhost")) return true;
    if (inet_pton(AF_INET, name, &v4) == 1) return is_v4(v4);
    return inet_pton(AF_INET6, name, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

bool loopback_url(const char *url)
{
    const char *host = strstr(url, "://");
    host = host ? host + 3 : url;
    const char *end = host + strcspn(host, "/?#");
    for (const char *at; (at = memchr(host, '@', (size_t)(end - host)));) host = at + 1;
    size_t all = (size_t)(end - host), n = 0;
    if (*host == '[') {
        const char *close = memchr(host, ']', all);
        if (!close) return false;
        n = (size_t)(close - host) + 1;
        if (n < all && host[n] != ':') return false;
    } else {
        const char *colon = memchr(host, ':', all);
        n = colon ? (size_t)(colon - host) : all;
    }
    return loopback_name(host, n) || (str_starts(host, "127.") && strspn(host, "0123456789.") == n);
}

bool loopback_address(const struct sockaddr *a)
{
    if (a->sa_family == AF_INET)
        return is_v4(((const struct sockaddr_in *)(const void *)a)->sin_addr);
    if (a->sa_family != AF_INET6) return false;
    const struct in6_addr *in = &((const struct sockaddr_in6 *)(const void *)a)->sin6_addr;
    return IN6_IS_ADDR_LOOPBACK(in) || (IN6_IS_ADDR_V4MAPPED(in) && in->s6_addr[12] == 127);
}
