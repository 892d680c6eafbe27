/* Trusted reverse proxies; see proxies.h. */
#include "server/proxies.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

enum { PROXIES_MAX = 64, ENTRY_MAX = 64 };

/* IPv4 as IPv6 has it (::ffff:a.b.c.d), so that both compare alike. */
struct network {
    unsigned char bytes[16];
    unsigned bits;
};

struct proxies {
    size_t n;
    struct network networks[PROXIES_MAX];
};

/* ---- addresses ----------------------------------------------------------------------------- */

static const unsigned char mapped[12] = {[10] = 0xFF, [11] = 0xFF};

static bool parse_address(const char *text, unsigned char bytes[16])
{
    if (inet_pton(AF_INET, text, bytes + 12) != 1) return inet_pton(AF_INET6, text, bytes) == 1;
    memcpy(bytes, mapped, sizeof mapped);
    return true;
}

static bool is_mapped(const unsigned char bytes[16])
{
    return memcmp(bytes, mapped, sizeof mapped) == 0;
}

static bool parse_network(char *text, struct network *out)
{
    int64_t bits = -1;
    char *slash = strchr(text, '/');
    if (slash) *slash = '\0';
    if (!parse_address(text, out->bytes)) return false;
    bool is_v4 = !strchr(text, ':');
    if (slash && !str_to_i64(slash + 1, 0, is_v4 ? 32 : 128, &bits)) return false;
    if (bits < 0) bits = is_v4 ? 32 : 128;
    out->bits = (unsigned)bits + (is_v4 ? 96 : 0);
    return true;
}

static bool is_within(const struct network *net, const unsigned char bytes[16])
{
    unsigned whole = net->bits / 8, rest = net->bits % 8;
    if (memcmp(net->bytes, bytes, whole) != 0) return false;
    return rest == 0 || (net->bytes[whole] ^ bytes[whole]) >> (8 - rest) == 0;
}

bool proxies_trust(const struct proxies *p, const char *address)
{
    unsigned char bytes[16];
    if (p->n == 0 || !parse_address(address, bytes)) return false;
    for (size_t i = 0; i < p->n; i++)
        if (is_within(&p->networks[i], bytes)) return true;
    return false;
}

/* ---- the setting --------------------------------------------------------------------------- */

/* The piece of [s, s + len) without blanks around; false when it is empty or too long. */
static bool take_piece(const char *s, size_t len, char dst[ENTRY_MAX])
{
    while (len && (*s == ' ' || *s == '\t')) s++, len--;
    while (len && (s[len - 1] == ' ' || s[len - 1] == '\t')) len--;
    if (len == 0 || len >= ENTRY_MAX) return false;
    memcpy(dst, s, len);
    dst[len] = '\0';
    return true;
}

enum err proxies_new(const char *list, struct proxies **out, struct error *error)
{
    struct proxies *p = xcalloc(1, sizeof *p);
    for (const char *at = list; *at;) {
        char entry[ENTRY_MAX], shown[ENTRY_MAX] = "";
        size_t len = strcspn(at, ",");
        bool blank = strspn(at, " \t") >= len;
        bool ok = blank || take_piece(at, len, entry);
        if (ok && !blank) {
            str_copy(shown, sizeof shown, entry);
            ok = p->n < PROXIES_MAX && parse_network(entry, &p->networks[p->n++]);
        }
        if (!ok) {
            free(p);
            return err_set_param(error, ERR_CONFIG, "HEARTH_TRUSTED_PROXIES",
                                 "HEARTH_TRUSTED_PROXIES: '%s' is neither an address nor a "
                                 "network; it is a list of up to %d like 127.0.0.1, 10.0.0.0/8",
                                 shown, PROXIES_MAX);
        }
        at += len + (at[len] == ',');
    }
    *out = p;
    return OK;
}

void proxies_free(struct proxies *p)
{
    free(p);
}

/* ---- the header ---------------------------------------------------------------------------- */

/* An address as proxies write it: bare, or with a port ("1.2.3.4:5", "[::1]:5"). */
static bool read_entry(char *text, char dst[INET6_ADDRSTRLEN])
{
    unsigned char bytes[16];
    char *end;
    if (*text == '[') {
        text++;
        if (!(end = strchr(text, ']'))) return false;
        *end = '\0';
    } else if ((end = strchr(text, ':')) && !strchr(end + 1, ':')) {
        *end = '\0';
    }
    if (!parse_address(text, bytes)) return false;
    bool is_v4 = is_mapped(bytes);
    return inet_ntop(is_v4 ? AF_INET : AF_INET6, is_v4 ? bytes + 12 : bytes, dst,
                     INET6_ADDRSTRLEN) != NULL;
}

bool proxies_follow(const struct proxies *p, const char *line, char client[INET6_ADDRSTRLEN])
{
    size_t end = strlen(line);
    while (end > 0) {
        char entry[ENTRY_MAX];
        size_t start = end;
        while (start > 0 && line[start - 1] != ',') start--;
        if (!proxies_trust(p, client)) return false;
        if (!take_piece(line + start, end - start, entry) || !read_entry(entry, client))
            return false; /* what stands there is nobody's address: the one we have counts */
        end = start > 0 ? start - 1 : 0;
    }
    return true;
}
