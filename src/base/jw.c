/* JSON writer. It runs once per token and stream, so plain ASCII is copied in runs and numbers
 * avoid printf where that is easy. */
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/json_int.h"
#include "base/str.h"

enum { MAX_DEPTH = 32 }; /* bits of need_comma */

/* ---- pieces -------------------------------------------------------------------------------- */

static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

static void write_escape(struct buf *out, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    char text[] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
    switch (c) {
    case '"':
    case '\\': text[1] = (char)c; break;
    case '\b': text[1] = 'b'; break;
    case '\f': text[1] = 'f'; break;
    case '\n': text[1] = 'n'; break;
    case '\r': text[1] = 'r'; break;
    case '\t': text[1] = 't'; break;
    default: buf_append(out, text, 6); return;
    }
    buf_append(out, text, 2);
}

void json_write_string(struct buf *out, const char *s, size_t len)
{
    if (len < SIZE_MAX - 2) buf_reserve(out, len + 2);
    buf_putc(out, '"');
    for (size_t i = 0; i < len && !out->err;) {
        size_t run = i;
        while (run < len && is_plain((unsigned char)s[run])) run++;
        if (run > i) buf_append(out, s + i, run - i);
        i = run;
        if (i == len) break;
        unsigned char c = (unsigned char)s[i];
        if (c < 0x80) {
            write_escape(out, c);
            i++;
            continue;
        }
        size_t n = utf8_next(s + i, len - i);
        buf_append(out, n ? s + i : "\xEF\xBF\xBD", n ? n : 3);
        i += n ? n : 1;
    }
    buf_putc(out, '"');
}

void json_write_int(struct buf *out, int64_t v)
{
    char text[20];
    size_t at = sizeof text;
    uint64_t rest = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    do {
        text[--at] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    if (v < 0) text[--at] = '-';
    buf_append(out, text + at, sizeof text - at);
}

/* The fewest digits that read back as the same number: 15 always survive text -> double -> text,
 * 17 always survive double -> text -> double. */
static void format_double(char *dst, size_t size, double v)
{
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(dst, size, "%.*g", digits, v);
        if (strtod(dst, NULL) == v) return;
    }
}

void json_write_double(struct buf *out, double v)
{
    if (!isfinite(v)) {
        buf_puts(out, "null");
        return;
    }
    if (fabs(v) < 1e15 && v == (double)(int64_t)v && !(v == 0 && signbit(v))) {
        json_write_int(out, (int64_t)v);
        return;
    }
    /* printf's decimal point is the locale's; JSON's is a point. */
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    ht_assert(c != (locale_t)0);
    locale_t old = uselocale(c);
    char text[40];
    format_double(text, sizeof text, v);
    uselocale(old);
    freelocale(c);
    buf_puts(out, v == 0 ? "-0.0" : text);
}

/* ---- writer -------------------------------------------------------------------------------- */

void jw_init(struct jw *w, struct buf *out)
{
    *w = (struct jw){.out = out};
}

/* In front of every value: the comma, unless a key came before. */
static void begin_value(struct jw *w)
{
    unsigned bit = 1u << w->depth;
    if (w->after_key) {
        w->after_key = false;
        return;
    }
    if (w->need_comma & bit) {
        ht_assert(w->depth > 0); /* one value at the top */
        buf_putc(w->out, ',');
    }
    w->need_comma |= bit;
}

static void open_level(struct jw *w, char c)
{
    begin_value(w);
    buf_putc(w->out, c);
    ht_assert(w->depth + 1 < MAX_DEPTH);
    w->depth++;
    w->need_comma &= ~(1u << w->depth);
}

static void close_level(struct jw *w, char c)
{
    ht_assert(w->depth > 0 && !w->after_key);
    w->depth--;
    buf_putc(w->out, c);
}

void jw_obj(struct jw *w)
{
    open_level(w, '{');
}

void jw_obj_end(struct jw *w)
{
    close_level(w, '}');
}

void jw_arr(struct jw *w)
{
    open_level(w, '[');
}

void jw_arr_end(struct jw *w)
{
    close_level(w, ']');
}

void jw_key(struct jw *w, const char *name)
{
    ht_assert(w->depth > 0 && !w->after_key);
    begin_value(w);
    json_write_string(w->out, name, strlen(name));
    buf_putc(w->out, ':');
    w->after_key = true;
}

void jw_strn(struct jw *w, const char *s, size_t len)
{
    begin_value(w);
    json_write_string(w->out, s, len);
}

void jw_str(struct jw *w, const char *s)
{
    if (s)
        jw_strn(w, s, strlen(s));
    else
        jw_null(w);
}

void jw_int(struct jw *w, int64_t v)
{
    begin_value(w);
    json_write_int(w->out, v);
}

void jw_double(struct jw *w, double v)
{
    begin_value(w);
    json_write_double(w->out, v);
}

void jw_bool(struct jw *w, bool v)
{
    begin_value(w);
    buf_puts(w->out, v ? "true" : "false");
}

void jw_null(struct jw *w)
{
    begin_value(w);
    buf_puts(w->out, "null");
}

void jw_raw(struct jw *w, const char *json, size_t len)
{
    begin_value(w);
    buf_append(w->out, json, len);
}

void jw_json(struct jw *w, const json_t *v)
{
    begin_value(w);
    if (v)
        (void)json_dump(v, w->out); /* the buffer keeps the error */
    else
        buf_puts(w->out, "null");
}

void jw_kstr(struct jw *w, const char *name, const char *s)
{
    jw_key(w, name);
    jw_str(w, s);
}

void jw_kint(struct jw *w, const char *name, int64_t v)
{
    jw_key(w, name);
    jw_int(w, v);
}

void jw_kdouble(struct jw *w, const char *name, double v)
{
    jw_key(w, name);
    jw_double(w, v);
}

void jw_kbool(struct jw *w, const char *name, bool v)
{
    jw_key(w, name);
    jw_bool(w, v);
}

void jw_knull(struct jw *w, const char *name)
{
    jw_key(w, name);
    jw_null(w);
}

void jw_kraw(struct jw *w, const char *name, const char *json)
{
    const char *text = json && *json ? json : "{}";
    jw_key(w, name);
    jw_raw(w, text, strlen(text));
}

void jw_kjson(struct jw *w, const char *name, const json_t *v)
{
    jw_key(w, name);
    jw_json(w, v);
}
