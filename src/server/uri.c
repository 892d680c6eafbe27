/* Request targets (RFC 9112, 3.2). Dot segments are not resolved: no route has any, and nothing
 * here ever becomes the name of a file. */
#include "server/uri.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* Decodes src[0..len) into dst, which holds len bytes; the decoded length, or SIZE_MAX when an
 * escape is broken or stands for NUL. */
static size_t decode(char *dst, const char *src, size_t len, bool plus_is_blank)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        char c = src[i];
        if (c == '%') {
            int high = i + 2 < len ? hex_digit(src[i + 1]) : -1;
            int low = high >= 0 ? hex_digit(src[i + 2]) : -1;
            if (low < 0 || (high | low) == 0) return SIZE_MAX;
            c = (char)(high << 4 | low);
            i += 2;
        } else if (c == '+' && plus_is_blank) {
            c = ' ';
        }
        dst[n++] = c;
    }
    return n;
}

size_t uri_storage(size_t len)
{
    /* The raw path and its '\0', the decoded path and its '\0', and the query: a pair of one byte
     * ("a&") becomes at most three ("a\0\0"), and the list has an end mark. */
    return 2 * (len + 2) + 2 * len + 3;
}

static bool decode_query(char *dst, const char *src, const char *end)
{
    while (src < end) {
        const char *amp = memchr(src, '&', (size_t)(end - src));
        if (!amp) amp = end;
        const char *eq = memchr(src, '=', (size_t)(amp - src));
        const char *name_end = eq ? eq : amp;
        size_t n = decode(dst, src, (size_t)(name_end - src), true);
        if (n == SIZE_MAX) return false;
        /* An empty name would read as the end of the list; nobody can ask for it anyway. */
        if (n > 0) {
            dst += n;
            *dst++ = '\0';
            n = eq ? decode(dst, eq + 1, (size_t)(amp - eq - 1), true) : 0;
            if (n == SIZE_MAX) return false;
            dst += n;
            *dst++ = '\0';
        }
        src = amp + 1;
    }
    *dst = '\0';
    return true;
}

/* "http://host:port/path" -> the length of "http://host:port", 0 when it isn't of that form. */
static size_t authority_end(const char *target, size_t len, size_t *start)
{
    static const char *const schemes[] = {"http://", "https://"};
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        size_t n = strlen(schemes[i]);
        if (len <= n || strncasecmp(target, schemes[i], n) != 0) continue;
        *start = n;
        while (n < len && target[n] != '/' && target[n] != '?') n++;
        return n > *start ? n : 0;
    }
    return 0;
}

enum err uri_parse(const char *target, size_t len, char *storage, struct uri *out,
                   struct error *error)
{
    *out = (struct uri){.raw_path = "", .path = "", .query = ""};
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)target[i] <= ' ' || target[i] == 0x7f)
            return err_set(error, ERR_INVALID,
                           "the request target holds a blank or a control character at byte %zu; "
                           "percent-encode it",
                           i);
    }
    size_t start = 0, skip = authority_end(target, len, &start);
    if (skip) {
        memcpy(storage, target + start, skip - start);
        storage[skip - start] = '\0';
        out->authority = storage;
        storage += skip - start + 1;
        target += skip;
        len -= skip;
    }
    const char *query = memchr(target, '?', len);
    size_t path_len = query ? (size_t)(query - target) : len;
    /* "http://host" and "http://host?q" mean the root (RFC 9112, 3.2.1). */
    bool root = skip && path_len == 0;
    if (!root && (path_len == 0 || (*target != '/' && !(path_len == 1 && *target == '*'))))
        return err_set(error, ERR_INVALID,
                       "the request target must be a path (\"/v1/models\") or a full URL");
    char *raw = storage;
    memcpy(raw, root ? "/" : target, root ? 1 : path_len);
    size_t raw_len = root ? 1 : path_len;
    raw[raw_len] = '\0';
    char *path = raw + raw_len + 1;
    size_t n = decode(path, raw, raw_len, false);
    if (n == SIZE_MAX) {
        return err_set(error, ERR_INVALID,
                       "the path holds a broken percent escape (it must be %%XX, and not %%00)");
    }
    path[n] = '\0';
    out->raw_path = raw;
    out->path = path;
    if (query) {
        char *pairs = path + n + 1;
        if (!decode_query(pairs, query + 1, target + len))
            return err_set(error, ERR_INVALID, "the query holds a broken percent escape");
        out->query = pairs;
    }
    return OK;
}

const char *uri_query(const struct uri *uri, const char *name)
{
    for (const char *p = uri->query; *p;) {
        const char *value = p + strlen(p) + 1;
        if (strcmp(p, name) == 0) return value;
        p = value + strlen(value) + 1;
    }
    return NULL;
}
