/* Bounded strings, numbers from strings, UTF-8, base64. Independent of the locale. */
#include "base/str.h"

#include <ctype.h>
#include <locale.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

bool str_copy(char *dst, size_t size, const char *src)
{
    ht_assert(size > 0);
    size_t len = strlen(src);
    bool fits = len < size;
    if (!fits) len = size - 1;
    memmove(dst, src, len);
    dst[len] = '\0';
    return fits;
}

bool str_printf(char *dst, size_t size, const char *fmt, ...)
{
    ht_assert(size > 0);
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(dst, size, fmt, ap);
    va_end(ap);
    return n >= 0 && (size_t)n < size;
}

void str_printable(char *s)
{
    for (; *s; s++)
        if (*s < ' ' || *s > '~') *s = '?';
}

bool str_eq(const char *a, const char *b)
{
    if (!a || !b) return a == b;
    return strcmp(a, b) == 0;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool str_ieq(const char *a, const char *b)
{
    if (!a || !b) return a == b;
    while (*a && lower(*a) == lower(*b)) {
        a++;
        b++;
    }
    return lower(*a) == lower(*b);
}

bool str_starts(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool str_ends(const char *s, const char *suffix)
{
    size_t len = strlen(s), n = strlen(suffix);
    return len >= n && memcmp(s + len - n, suffix, n) == 0;
}

/* ---- numbers ------------------------------------------------------------------------------- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool str_to_i64(const char *s, int64_t min, int64_t max, int64_t *out)
{
    bool negative = *s == '-';
    if (negative || *s == '+') s++;
    if (!*s) return false;
    int64_t v = 0;
    for (; *s; s++) {
        if (!is_digit(*s)) return false;
        int64_t digit = *s - '0';
        if (__builtin_mul_overflow(v, 10, &v)) return false;
        if (__builtin_add_overflow(v, negative ? -digit : digit, &v)) return false;
    }
    if (v < min || v > max) return false;
    *out = v;
    return true;
}

/* strtod of the "C" locale, whatever the program's is; glibc keeps that locale ready, so
 * newlocale costs next to nothing. */
static double c_strtod(const char *s, char **end)
{
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    ht_assert(c != (locale_t)0);
    double v = strtod_l(s, end, c);
    freelocale(c);
    return v;
}

bool str_to_double(const char *s, double min, double max, double *out)
{
    if (!*s || s[strspn(s, "+-.0123456789eE")] != '\0') return false; /* no hex, inf, nan, blanks */
    char *end;
    double v = c_strtod(s, &end);
    if (*end || !isfinite(v) || v < min || v > max) return false;
    *out = v;
    return true;
}

bool str_to_bool(const char *s, bool *out)
{
    static const char *const words[] = {"false", "true", "0", "1", "no", "yes", "off", "on"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (!str_ieq(s, words[i])) continue;
        *out = i % 2 != 0;
        return true;
    }
    return false;
}

/* The power of 1024 that a unit stands for, or -1. */
static int unit_power(const char *unit)
{
    static const char *const units[][3] = {{"", "B", ""},
                                           {"K", "KB", "KiB"},
                                           {"M", "MB", "MiB"},
                                           {"G", "GB", "GiB"},
                                           {"T", "TB", "TiB"}};
    for (int power = 0; power < 5; power++)
        for (int i = 0; i < 3; i++)
            if (str_ieq(unit, units[power][i])) return power;
    return -1;
}

bool str_to_bytes(const char *s, uint64_t *out)
{
    char number[32];
    size_t n = strspn(s, "0123456789.");
    if (n == 0 || n >= sizeof number || s[0] == '.' || s[n - 1] == '.') return false;
    memcpy(number, s, n);
    number[n] = '\0';
    const char *unit = s + n;
    if (*unit == ' ') unit++;
    int power = unit_power(unit);
    if (power < 0) return false;
    if (!strchr(number, '.')) {
        int64_t v;
        uint64_t bytes;
        if (!str_to_i64(number, 0, INT64_MAX, &v)) return false;
        if (__builtin_mul_overflow((uint64_t)v, UINT64_C(1) << (10 * power), &bytes)) return false;
        *out = bytes;
        return true;
    }
    double v;
    if (!str_to_double(number, 0, 1e18, &v)) return false;
    v = ldexp(v, 10 * power);
    if (v >= 0x1p64) return false;
    *out = (uint64_t)v;
    return true;
}

bool str_to_ms(const char *s, int64_t *out)
{
    static const struct {
        const char *name;
        double ms;
    } units[] = {{"", 1}, {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
    size_t n = strspn(s, "0123456789.");
    char number[32];
    double v;
    if (n == 0 || n >= sizeof number) return false;
    memcpy(number, s, n);
    number[n] = '\0';
    if (!str_to_double(number, 0, 1e15, &v)) return false;
    const char *unit = s + n + (s[n] == ' ');
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (!str_ieq(unit, units[i].name)) continue;
        v = v * units[i].ms + 0.5;
        if (v >= 1e18) return false;
        *out = (int64_t)v;
        return true;
    }
    return false;
}

bool str_to_keep_alive(const char *s, int64_t *out)
{
    *out = -1;
    return str_ieq(s, "forever") || (s[0] == '-' && str_to_ms(s + 1, &(int64_t){0})) ||
           str_to_ms(s, out);
}

const char *str_from_bytes(char *dst, size_t size, uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    size_t power = 0;
    double v = (double)bytes;
    while (v >= 1024 && power + 1 < sizeof units / sizeof *units) {
        v /= 1024;
        power++;
    }
    if (v >= 1023.95 && power > 0 &&
        power + 1 < sizeof units / sizeof *units) { /* rounds to 1024 */
        v /= 1024;
        power++;
    }
    if (power == 0) {
        str_printf(dst, size, "%u B", (unsigned)bytes);
        return dst;
    }
    /* Tenths as integers: "%.1f" would use the locale's decimal point. */
    uint64_t tenths = (uint64_t)(v * 10 + 0.5);
    str_printf(dst, size, "%u.%u %s", (unsigned)(tenths / 10), (unsigned)(tenths % 10),
               units[power]);
    return dst;
}

/* ---- UTF-8 ----------------------------------------------------------------------------------*/

/* The length that a lead byte announces (0: not a lead byte) and the allowed range of the second
 * byte, which is where overlong forms, surrogates and values past U+10FFFF are excluded
 * (RFC 3629, section 4). */
static size_t lead(unsigned char c, unsigned char *low, unsigned char *high)
{
    *low = 0x80;
    *high = 0xBF;
    if (c < 0x80) return 1;
    if (c < 0xC2) return 0;
    if (c < 0xE0) return 2;
    if (c < 0xF0) {
        if (c == 0xE0) *low = 0xA0;
        if (c == 0xED) *high = 0x9F;
        return 3;
    }
    if (c > 0xF4) return 0;
    if (c == 0xF0) *low = 0x90;
    if (c == 0xF4) *high = 0x8F;
    return 4;
}

/* How many of the n bytes at s (n > 0) fit the pattern of one character; *whole = the length that
 * the first byte announces, 0 when it can't begin a character. */
static size_t match(const unsigned char *s, size_t n, size_t *whole)
{
    unsigned char low, high;
    *whole = lead(s[0], &low, &high);
    if (*whole == 0) return 0;
    size_t i = 1;
    for (; i < *whole && i < n; i++) {
        if (s[i] < low || s[i] > high) break;
        low = 0x80;
        high = 0xBF;
    }
    return i;
}

size_t utf8_next(const char *s, size_t len)
{
    if (len == 0) return 0;
    size_t whole;
    size_t n = match((const unsigned char *)s, len, &whole);
    return n == whole ? whole : 0;
}

bool utf8_valid(const char *s, size_t len)
{
    for (size_t i = 0; i < len;) {
        if ((unsigned char)s[i] < 0x80) {
            i++;
            continue;
        }
        size_t n = utf8_next(s + i, len - i);
        if (n == 0) return false;
        i += n;
    }
    return true;
}

size_t utf8_incomplete_tail(const char *s, size_t len)
{
    const unsigned char *u = (const unsigned char *)s;
    for (size_t n = 1; n <= 3 && n <= len; n++) {
        if ((u[len - n] & 0xC0) == 0x80) continue;
        size_t whole;
        return match(u + len - n, n, &whole) == n && n < whole ? n : 0;
    }
    return 0;
}

size_t utf8_cut(const char *s, size_t len, size_t max)
{
    if (len <= max) return len;
    for (size_t n = max; n + 3 >= max; n--) {
        if (((unsigned char)s[n] & 0xC0) != 0x80) return n;
        if (n == 0) break;
    }
    return max; /* not UTF-8: any place is as good */
}

/* ---- close words ------------------------------------------------------------------------- */

size_t str_distance(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);
    if (n > STR_DISTANCE_MAX || m > STR_DISTANCE_MAX) return SIZE_MAX;
    size_t rows[3][STR_DISTANCE_MAX + 1];
    for (size_t j = 0; j <= m; j++) rows[0][j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t *row = rows[i % 3], *prev = rows[(i + 2) % 3], *prev2 = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t best = prev[j - 1] +
                          (tolower((unsigned char)a[i - 1]) != tolower((unsigned char)b[j - 1]));
            if (prev[j] + 1 < best) best = prev[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                prev2[j - 2] + 1 < best)
                best = prev2[j - 2] + 1;
            row[j] = best;
        }
    }
    return rows[n % 3][m];
}

/* ---- base64 (RFC 4648, section 4) ---------------------------------------------------------- */

size_t base64_len(size_t n)
{
    return (n / 3 + (n % 3 != 0)) * 4;
}

void base64_encode(char *dst, const void *src, size_t n)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *s = src;
    while (n > 0) {
        size_t take = n < 3 ? n : 3;
        uint32_t v = (uint32_t)s[0] << 16;
        if (take > 1) v |= (uint32_t)s[1] << 8;
        if (take > 2) v |= s[2];
        dst[0] = alphabet[v >> 18];
        dst[1] = alphabet[v >> 12 & 63];
        dst[2] = take > 1 ? alphabet[v >> 6 & 63] : '=';
        dst[3] = take > 2 ? alphabet[v & 63] : '=';
        dst += 4;
        s += take;
        n -= take;
    }
    *dst = '\0';
}
