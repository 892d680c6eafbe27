/* Random identifiers from getrandom(2): unguessable, so that an id may serve as a capability. */
#include "base/id.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/err.h"

enum { ID_CHARS = 24 };

void id_random(void *dst, size_t len)
{
    char *p = dst;
    while (len > 0) {
        ssize_t n = getrandom(p, len, 0);
        if (n < 0 && errno == EINTR) continue;
        ht_assert(n > 0); /* the kernel always has it once booted */
        p += n;
        len -= (size_t)n;
    }
}

uint64_t id_random_u64(void)
{
    uint64_t v;
    id_random(&v, sizeof v);
    return v;
}

void id_make(char *dst, size_t size, const char *prefix)
{
    static const char alphabet[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    size_t len = strlen(prefix);
    ht_assert(size >= len + ID_CHARS + 1);
    memcpy(dst, prefix, len);
    char *p = dst + len;
    for (size_t done = 0; done < ID_CHARS;) {
        unsigned char raw[32];
        id_random(raw, sizeof raw);
        for (size_t i = 0; i < sizeof raw && done < ID_CHARS; i++) {
            if (raw[i] >= 4 * 62) continue; /* would favour the first letters */
            p[done++] = alphabet[raw[i] % 62];
        }
    }
    p[ID_CHARS] = '\0';
}

void id_uuid4(char dst[37])
{
    unsigned char b[16];
    id_random(b, sizeof b);
    b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
    b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
    snprintf(dst, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
             b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13],
             b[14], b[15]);
}
