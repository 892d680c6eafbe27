/* The reader of KEY=value text.
 *
 *   line   = [blanks] [ "export" blanks ] KEY [blanks] "=" [blanks] value [blanks] [ "#" ... ]
 *   value  = "..." (escapes \n \r \t \" \\ \$), '...' (as it stands), or bare text, where a "#"
 *            begins a comment only after a blank
 *
 * Empty lines and lines that begin with "#" say nothing. CRLF line ends and a byte order mark are
 * accepted. There is no $VARIABLE expansion and no value over several lines: both read differently
 * in every program that has them. */
#include <string.h>

#include "base/config_int.h"
#include "base/str.h"

void env_open(struct env_reader *r, const char *file, const char *text, size_t len)
{
    *r = (struct env_reader){.file = file, .text = text, .len = len};
    if (len >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) r->at = 3;
}

/* One line while it is read; `at` never passes `end`. */
struct cursor {
    const char *at, *end;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool is_key_char(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

static void skip_blanks(struct cursor *c)
{
    while (c->at < c->end && is_blank(*c->at)) c->at++;
}

/* Each reading step returns NULL or what is wrong with the line. */

static const char *read_key(struct cursor *c, struct env_pair *out)
{
    size_t n = 0;
    while (c->at + n < c->end && is_key_char(c->at[n])) n++;
    if (n == strlen("export") && memcmp(c->at, "export", n) == 0 && c->at + n < c->end &&
        is_blank(c->at[n])) {
        c->at += n;
        skip_blanks(c);
        for (n = 0; c->at + n < c->end && is_key_char(c->at[n]); n++) {
        }
    }
    if (n == 0) return "expected KEY=value";
    if (n >= sizeof out->key) return "the key is too long";
    memcpy(out->key, c->at, n);
    out->key[n] = '\0';
    c->at += n;
    skip_blanks(c);
    if (c->at == c->end || *c->at != '=') return "expected '=' after the key";
    c->at++;
    skip_blanks(c);
    return NULL;
}

static char unescape(char c)
{
    switch (c) {
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    case '"':
    case '\\':
    case '$': return c;
    default: return '\0'; /* not an escape: the backslash stays, as in "C:\models" */
    }
}

static const char *read_quoted(struct cursor *c, struct buf *value)
{
    char quote = *c->at++;
    for (; c->at < c->end && *c->at != quote; c->at++) {
        char escaped = '\0';
        if (quote == '"' && *c->at == '\\' && c->at + 1 < c->end) escaped = unescape(c->at[1]);
        if (escaped) c->at++;
        buf_putc(value, escaped ? escaped : *c->at);
    }
    if (c->at == c->end) return "the quote is not closed on this line";
    c->at++;
    skip_blanks(c);
    if (c->at < c->end && *c->at != '#') return "unexpected text after the closing quote";
    return NULL;
}

static void read_bare(struct cursor *c, struct buf *value)
{
    const char *start = c->at, *end = c->at;
    for (; c->at < c->end; c->at++) {
        if (*c->at == '#' && (c->at == start || is_blank(c->at[-1]))) break;
        if (!is_blank(*c->at)) end = c->at + 1;
    }
    buf_append(value, start, (size_t)(end - start));
}

static const char *read_pair(struct cursor *c, struct env_pair *out)
{
    size_t len = (size_t)(c->end - c->at);
    if (memchr(c->at, '\0', len)) return "the line holds a NUL byte";
    if (!utf8_valid(c->at, len)) return "the line is not UTF-8";
    const char *problem = read_key(c, out);
    if (problem) return problem;
    struct buf value;
    buf_init_fixed(&value, out->value, sizeof out->value);
    if (c->at < c->end && (*c->at == '"' || *c->at == '\''))
        problem = read_quoted(c, &value);
    else
        read_bare(c, &value);
    if (!problem && value.err) problem = "the value is too long";
    return problem;
}

enum err env_next(struct env_reader *r, struct env_pair *out, bool *more, struct error *error)
{
    out->key[0] = out->value[0] = '\0';
    *more = true;
    while (r->at < r->len) {
        const char *start = r->text + r->at;
        const char *newline = memchr(start, '\n', r->len - r->at);
        struct cursor c = {start, newline ? newline : r->text + r->len};
        r->at = (size_t)(c.end - r->text) + (newline != NULL);
        r->line++;
        if (c.end > c.at && c.end[-1] == '\r') c.end--;
        skip_blanks(&c);
        if (c.at == c.end || *c.at == '#') continue;
        const char *problem = read_pair(&c, out);
        if (!problem) return OK;
        const char *sep = out->key[0] ? ": " : "";
        return err_set_param(error, ERR_CONFIG, out->key[0] ? out->key : r->file, "%s:%d: %s%s%s",
                             r->file, r->line, out->key, sep, problem);
    }
    *more = false;
    return OK;
}
