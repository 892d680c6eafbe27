/* Charsets; see charset.h. */
#include "extract/charset.h"

#include <errno.h>
#include <iconv.h>
#include <stdbool.h>
#include <string.h>
#include <uchardet/uchardet.h>

#include "base/mem.h"
#include "base/str.h"

enum { GUESS_MAX = 1 << 20 /* bytes that are looked at */, PIECE = 16 << 10 };

#define BAD_CHARACTER "\xEF\xBF\xBD"
#define FALLBACK      "WINDOWS-1252"

/* "\r\n" and '\r' become '\n'. `last` is the last byte of the piece before. */
static void put(struct buf *out, const char *s, size_t len, char *last)
{
    for (size_t i = 0; i < len && !out->err;) {
        size_t run = i;
        while (run < len && s[run] != '\r') run++;
        if (run > i && s[i] == '\n' && *last == '\r') i++;
        if (run > i) buf_append(out, s + i, run - i);
        if (run < len) buf_putc(out, '\n');
        *last = run < len ? '\r' : run ? s[run - 1] : *last;
        i = run + 1;
    }
}

static void put_utf8(const char *s, size_t len, struct buf *out)
{
    char last = 0;
    if (len >= 3 && memcmp(s, "\xEF\xBB\xBF", 3) == 0) s += 3, len -= 3;
    if (utf8_valid(s, len)) {
        put(out, s, len, &last);
        return;
    }
    for (size_t i = 0, run = 0; i < len && !out->err;) {
        size_t n = (unsigned char)s[i] < 0x80 ? 1 : utf8_next(s + i, len - i);
        if (n && i + n < len) {
            i += n;
            continue;
        }
        i += n;
        put(out, s + run, i - run, &last);
        if (!n) {
            put(out, BAD_CHARACTER, 3, &last);
            i++;
        }
        run = i;
    }
}

/* Converts all of it. `strict`: false (and nothing appended) when a byte is no character. */
static bool convert(const char *name, bool strict, const char *s, size_t len, struct buf *out)
{
    char piece[PIECE], last = 0, *in = (char *)s;
    size_t before = out->len;
    bool right = true;
    iconv_t cd = iconv_open("UTF-8", name);
    if (cd == (iconv_t)-1) return false;
    while (len && right && !out->err) {
        char *to = piece;
        size_t room = sizeof piece, rc = iconv(cd, &in, &len, &to, &room);
        int errnum = errno;
        put(out, piece, sizeof piece - room, &last);
        if (rc != (size_t)-1 || errnum == E2BIG) continue;
        right = !strict;
        put(out, BAD_CHARACTER, 3, &last);
        if (len) in++, len--;
    }
    iconv_close(cd);
    if (!right) {
        out->len = before;
        if (out->data) out->data[before] = '\0';
    }
    return right;
}

/* UTF-16 or UTF-32 by mark or zeros; "" for others. */
static const char *wide(const unsigned char *p, size_t len)
{
    size_t zeros[2] = {0, 0}, n = (len < PIECE ? len : PIECE) & ~(size_t)1;
    if (len >= 4 && memcmp(p, "\xFF\xFE\0\0", 4) == 0) return "UTF-32";
    if (len >= 2 && (memcmp(p, "\xFF\xFE", 2) == 0 || memcmp(p, "\xFE\xFF", 2) == 0))
        return "UTF-16";
    for (size_t i = 0; i < n; i++)
        if (!p[i]) zeros[i & 1]++;
    if (n >= 8 && !zeros[0] && zeros[1] > n * 3 / 20) return "UTF-16LE";
    if (n >= 8 && !zeros[1] && zeros[0] > n * 3 / 20) return "UTF-16BE";
    return "";
}

static void guess(const char *s, size_t len, char *dst, size_t size)
{
    str_copy(dst, size, FALLBACK);
    uchardet_t u = uchardet_new();
    if (!u) return;
    if (uchardet_handle_data(u, s, len < GUESS_MAX ? len : GUESS_MAX) == 0) {
        uchardet_data_end(u);
        const char *found = uchardet_get_charset(u);
        if (found && *found && !str_ieq(found, "ASCII")) str_copy(dst, size, found);
    }
    uchardet_delete(u);
}

enum err charset_guess(const char *s, size_t len, struct buf *out)
{
    char name[64];
    const char *w = wide((const unsigned char *)s, len);
    if (*w && convert(w, false, s, len, out)) return out->err;
    if (utf8_valid(s, len - utf8_incomplete_tail(s, len))) {
        put_utf8(s, len, out);
        return out->err;
    }
    guess(s, len, name, sizeof name);
    if (convert(name, true, s, len, out)) return out->err;
    /* Mostly UTF-8 with a few bad bytes is no text of Windows'. */
    if (str_ieq(name, "UTF-8") || !convert(FALLBACK, false, s, len, out)) put_utf8(s, len, out);
    return out->err;
}

enum err charset_named(const char *name, const char *s, size_t len, struct buf *out)
{
    if (!*name || str_ieq(name, "us-ascii") || str_ieq(name, "ascii"))
        return charset_guess(s, len, out);
    if (str_ieq(name, "utf-8") || str_ieq(name, "utf8")) {
        if (!utf8_valid(s, len)) return charset_guess(s, len, out);
        put_utf8(s, len, out);
        return out->err;
    }
    if (str_ieq(name, "iso-8859-1") || str_ieq(name, "latin1"))
        name = FALLBACK; /* as browsers do */
    if (strpbrk(name, "/") || !convert(name, false, s, len, out)) return charset_guess(s, len, out);
    return out->err;
}
