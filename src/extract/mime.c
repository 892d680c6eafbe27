/* Parts of mail; see mime.h. */
#include "extract/mime.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "extract/charset.h"

enum { FIELD_MAX = 16 << 10, WORD_MAX = 4096 };

/* ---- lines --------------------------------------------------------------------------------- */

/* Length of the line at s without its end; *next is what the end adds. */
static size_t line_len(const char *s, size_t len, size_t *all)
{
    const char *end = memchr(s, '\n', len);
    size_t n = end ? (size_t)(end - s) : len;
    *all = n + (end != NULL);
    if (n && s[n - 1] == '\r') n--;
    return n;
}

void mime_cut(struct mime_span whole, struct mime_span *header, struct mime_span *body)
{
    size_t at = 0, all;
    while (at < whole.len) {
        size_t n = line_len(whole.s + at, whole.len - at, &all);
        if (n == 0) break;
        at += all;
    }
    *header = (struct mime_span){whole.s, at};
    if (at < whole.len) {
        (void)line_len(whole.s + at, whole.len - at, &all);
        at += all;
    }
    *body = (struct mime_span){whole.s + at, whole.len - at};
}

static bool is_named(const char *line, size_t len, const char *name)
{
    size_t n = strlen(name);
    return len > n && strncasecmp(line, name, n) == 0 && line[n] == ':';
}

bool mime_field(struct mime_span header, const char *name, char *dst, size_t size)
{
    struct buf out;
    bool found = false;
    buf_init_fixed(&out, dst, size);
    for (size_t at = 0, all; at < header.len; at += all) {
        const char *line = header.s + at;
        size_t n = line_len(line, header.len - at, &all);
        if (found && (*line == ' ' || *line == '\t')) {
            buf_append(&out, line, n); /* goes on */
            continue;
        }
        if (found) break;
        if (!is_named(line, n, name)) continue;
        found = true;
        size_t skip = strlen(name) + 1;
        while (skip < n && (line[skip] == ' ' || line[skip] == '\t')) skip++;
        buf_append(&out, line + skip, n - skip);
    }
    if (found && !out.err && !memchr(dst, 0, out.len)) return true;
    dst[0] = '\0';
    return false;
}

/* ---- transfer encodings -------------------------------------------------------------------- */

static int base64_value(unsigned char c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static void decode_base64(struct mime_span in, struct buf *out)
{
    unsigned group = 0;
    int n = 0;
    for (size_t i = 0; i < in.len && !out->err && in.s[i] != '='; i++) {
        int v = base64_value((unsigned char)in.s[i]);
        if (v < 0) continue; /* line ends, and whatever else came in between */
        group = group << 6 | (unsigned)v;
        if (++n < 4) continue;
        char bytes[3] = {(char)(group >> 16), (char)(group >> 8), (char)group};
        buf_append(out, bytes, 3);
        group = 0;
        n = 0;
    }
    if (n >= 2) buf_putc(out, (char)(group >> (n == 2 ? 4 : 10)));
    if (n == 3) buf_putc(out, (char)(group >> 2));
}

static int hex(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* `mark` and two digits are a byte; with `word` (RFC 2047, 4.2) '_' is a blank. */
static void decode_quoted(struct mime_span in, char mark, bool word, struct buf *out)
{
    for (size_t i = 0; i < in.len && !out->err; i++) {
        char c = in.s[i];
        size_t left = in.len - i - 1, all;
        if (c == mark && left >= 2 && hex(in.s[i + 1]) >= 0 && hex(in.s[i + 2]) >= 0) {
            buf_putc(out, (char)(hex(in.s[i + 1]) << 4 | hex(in.s[i + 2])));
            i += 2;
        } else if (c == '=' && !word && line_len(in.s + i + 1, left, &all) == 0) {
            i += all; /* the line goes on */
        } else {
            buf_putc(out, word && c == '_' ? ' ' : c);
        }
    }
}

enum err mime_decode(const char *encoding, struct mime_span body, struct buf *out)
{
    if (str_ieq(encoding, "base64"))
        decode_base64(body, out);
    else if (str_ieq(encoding, "quoted-printable"))
        decode_quoted(body, '=', false, out);
    else
        buf_append(out, body.s, body.len);
    return out->err;
}

/* ---- encoded words ------------------------------------------------------------------------- */

/* "=?charset?Q?text?=" at s: decodes it and returns its length, or 0. */
static size_t take_word(const char *s, struct buf *out)
{
    char charset[64], encoding;
    size_t n = strcspn(s + 2, "?*");
    const char *p = s + 2 + n;
    if (!n || n >= sizeof charset) return 0;
    memcpy(charset, s + 2, n);
    charset[n] = '\0';
    p += strcspn(p, "?"); /* a language */
    if (!*p || !p[1] || p[2] != '?') return 0;
    encoding = (char)toupper((unsigned char)p[1]);
    const char *text = p + 3, *end = strstr(text, "?=");
    if (!end || (encoding != 'Q' && encoding != 'B')) return 0;
    struct mime_span span = {text, (size_t)(end - text)};
    struct buf bytes;
    buf_init(&bytes, WORD_MAX);
    if (encoding == 'B')
        decode_base64(span, &bytes);
    else
        decode_quoted(span, '=', true, &bytes);
    charset_named(charset, buf_str(&bytes), bytes.len, out);
    buf_free(&bytes);
    return (size_t)(end - s) + 2;
}

/* Blanks between two words belong to neither (RFC 2047, 6.2). */
static void decode_words(const char *s, struct buf *out)
{
    for (bool after_word = false; *s && !out->err;) {
        size_t blanks = strspn(s, " \t");
        size_t n = strncmp(s + blanks, "=?", 2) == 0 ? strlen(s) : 0;
        struct buf word;
        buf_init(&word, WORD_MAX);
        if (n) n = take_word(s + blanks, &word);
        if (!after_word || !n) buf_append(out, s, blanks);
        s += blanks + n;
        if (n) {
            buf_append(out, buf_str(&word), word.len);
        } else if (*s) {
            size_t plain = strcspn(s + 1, " \t=") + 1;
            charset_guess(s, plain, out);
            s += plain;
        }
        after_word = n > 0;
        buf_free(&word);
    }
}

bool mime_words(struct mime_span header, const char *name, char *dst, size_t size)
{
    char field[FIELD_MAX];
    struct buf out;
    dst[0] = '\0';
    if (!mime_field(header, name, field, sizeof field)) return false;
    buf_init(&out, FIELD_MAX * 4);
    decode_words(field, &out);
    size_t n = utf8_cut(buf_str(&out), out.len, size - 1);
    memcpy(dst, buf_str(&out), n);
    dst[n] = '\0';
    buf_free(&out);
    return true;
}

/* ---- parameters ---------------------------------------------------------------------------- */

void mime_value(const char *field, char *dst, size_t size)
{
    size_t n = strcspn(field, "; \t");
    str_printf(dst, size, "%.*s", (int)(n < size ? n : size - 1), field);
    for (char *p = dst; *p; p++) *p = (char)tolower((unsigned char)*p);
}

/* Takes "name=value" at *p (behind the ';'). False at the end. */
static bool take_param(const char **p, struct mime_span *name, struct buf *value)
{
    const char *s = *p + strspn(*p, "; \t");
    size_t n = strcspn(s, "=;");
    buf_clear(value);
    if (!*s) return false;
    *name = (struct mime_span){s, n};
    s += n;
    if (*s != '=') {
        *p = s;
        return true;
    }
    s++;
    s += strspn(s, " \t");
    if (*s == '"') {
        for (s++; *s && *s != '"'; s++) {
            if (*s == '\\' && s[1]) s++;
            buf_putc(value, *s);
        }
        s += *s == '"';
        s += strcspn(s, ";");
    } else {
        n = strcspn(s, "; \t");
        buf_append(value, s, n);
        s += n;
    }
    *p = s;
    return true;
}

/* "charset'language'text%20" (RFC 2231) -> UTF-8 */
static void decode_extended(const struct buf *value, struct buf *out)
{
    char charset[64] = "utf-8";
    const char *s = buf_str(value), *quote = strchr(s, '\''),
               *text = quote ? strchr(quote + 1, '\'') : NULL;
    struct buf bytes;
    buf_init(&bytes, FIELD_MAX);
    if (text && quote > s && (size_t)(quote - s) < sizeof charset)
        str_printf(charset, sizeof charset, "%.*s", (int)(quote - s), s);
    text = text ? text + 1 : s;
    decode_quoted((struct mime_span){text, strlen(text)}, '%', false, &bytes);
    charset_named(charset, buf_str(&bytes), bytes.len, out);
    buf_free(&bytes);
}

bool mime_param(const char *field, const char *name, char *dst, size_t size)
{
    struct buf value, whole, out;
    struct mime_span here;
    size_t n = strlen(name);
    bool found = false, extended = false;
    const char *p = field + strcspn(field, ";");
    buf_init(&value, FIELD_MAX);
    buf_init(&whole, FIELD_MAX);
    buf_init(&out, FIELD_MAX * 4);
    while (take_param(&p, &here, &value)) {
        while (here.len && isspace((unsigned char)here.s[here.len - 1])) here.len--;
        bool pieces = here.len > n && here.s[n] == '*';
        if (here.len < n || strncasecmp(here.s, name, n) != 0 || (here.len > n && !pieces))
            continue;
        if (pieces && here.s[here.len - 1] == '*') extended = true;
        buf_append(&whole, buf_str(&value), value.len);
        found = true;
        if (!pieces) break;
    }
    if (extended)
        decode_extended(&whole, &out);
    else
        decode_words(buf_str(&whole), &out);
    size_t k = utf8_cut(buf_str(&out), out.len, size - 1);
    memcpy(dst, buf_str(&out), k);
    dst[k] = '\0';
    buf_free(&value);
    buf_free(&whole);
    buf_free(&out);
    return found;
}

/* ---- multipart ----------------------------------------------------------------------------- */

/* Whether the line is "--boundary" (then 1) or "--boundary--" (then 2). */
static int delimiter(const char *line, size_t n, const char *boundary)
{
    size_t k = strlen(boundary);
    if (n < k + 2 || line[0] != '-' || line[1] != '-' || memcmp(line + 2, boundary, k) != 0)
        return 0;
    size_t rest = n - k - 2;
    const char *end = line + 2 + k;
    if (rest >= 2 && end[0] == '-' && end[1] == '-') return 2;
    for (size_t i = 0; i < rest; i++)
        if (end[i] != ' ' && end[i] != '\t') return 0;
    return 1;
}

bool mime_next_part(struct mime_span body, const char *boundary, size_t *at, struct mime_span *part)
{
    size_t i = *at, all, start = SIZE_MAX;
    if (i == SIZE_MAX || !*boundary) return false;
    for (; i < body.len; i += all) {
        size_t n = line_len(body.s + i, body.len - i, &all);
        int kind = delimiter(body.s + i, n, boundary);
        if (!kind) continue;
        if (start == SIZE_MAX) {
            if (kind == 2) return false;
            start = i + all;
            continue;
        }
        *part = (struct mime_span){body.s + start, i - start};
        *at = kind == 2 ? SIZE_MAX : i; /* this delimiter begins the next part */
        return true;
    }
    *at = SIZE_MAX;
    if (start == SIZE_MAX) return false;
    *part = (struct mime_span){body.s + start, body.len - start}; /* cut off */
    return true;
}
