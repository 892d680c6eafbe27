#include "server/policy.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/loopback.h"
#include "base/mem.h"
#include "base/str.h"

struct policy {
    bool local_only;
    bool any;
    size_t n;
    char *origins[]; /* without blanks around */
};

struct policy *policy_new(const char *origins, bool local_only)
{
    size_t max = 1;
    for (const char *c = origins; *c; c++) max += *c == ',';
    struct policy *p = xcalloc(1, sizeof *p + max * sizeof *p->origins);
    p->local_only = local_only;
    while (*origins) {
        origins += strspn(origins, " \t,");
        size_t len = strcspn(origins, ",");
        size_t end = len;
        while (end > 0 && strchr(" \t/", origins[end - 1])) end--;
        if (end == 1 && *origins == '*') {
            p->any = true;
        } else if (end > 0) {
            p->origins[p->n++] = xstrndup(origins, end);
        }
        origins += len;
    }
    return p;
}

void policy_free(struct policy *p)
{
    if (!p) return;
    for (size_t i = 0; i < p->n; i++) free(p->origins[i]);
    free(p);
}

/* Scheme and host compare without case (RFC 6454 serialises them in lower case, people don't). */
enum origin_verdict policy_origin(const struct policy *p, const char *origin)
{
    for (size_t i = 0; i < p->n; i++) {
        if (str_ieq(p->origins[i], origin)) return ORIGIN_LISTED;
    }
    return p->any ? ORIGIN_ANY : ORIGIN_REFUSED;
}

bool policy_origins_differ(const struct policy *p)
{
    return p->n > 0;
}

/* Length of the name in "name", "name:port" or "[v6]:port"; 0 when it is none of these. */
static size_t host_length(const char *host)
{
    size_t n;
    if (*host == '[') {
        n = strcspn(host, "]");
        if (host[n] != ']') return 0;
        n++;
    } else {
        n = strcspn(host, ":");
    }
    if (host[n] == '\0') return n;
    if (host[n] != ':') return 0;
    return host[n + 1 + strspn(host + n + 1, "0123456789")] == '\0' ? n : 0;
}

static bool ends_with(const char *s, size_t len, const char *suffix)
{
    size_t n = strlen(suffix);
    return len > n && strncasecmp(s + len - n, suffix, n) == 0;
}

bool policy_host(const struct policy *p, const char *host)
{
    if (!p->local_only) return true;
    size_t len = host_length(host);
    if (len == 0) return false;
    if (loopback_name(host, len) || ends_with(host, len, ".localhost")) return true;
    for (size_t i = 0; i < p->n; i++) {
        const char *name = strstr(p->origins[i], "://");
        if (!name) continue;
        name += 3;
        size_t n = host_length(name);
        if (n == len && strncasecmp(name, host, n) == 0) return true;
    }
    return false;
}

bool policy_request_id(const char *id)
{
    size_t len = strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
    return len >= 1 && len <= 128 && id[len] == '\0';
}
