/* multipart/form-data in pieces; see multipart.h.
 *
 * A part's content ends before CRLF "--" boundary. While content is read, `held` counts how much of
 * that delimiter the last bytes match; they go out only when the match breaks. As CR stands nowhere
 * in a delimiter but at its beginning (a boundary has no control characters), a match that breaks
 * can begin anew only at the byte that broke it: no table is needed. */
#include "api/multipart.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/str.h"

enum state {
    PREAMBLE, /* before the first boundary, which may stand at the very beginning */
    BOUNDARY, /* behind one: "--", or blanks and CRLF */
    DASH,     /* "-" came */
    LINE_END, /* CR is to be followed by LF */
    HEADER,   /* of a part */
    CONTENT,  /* of a part */
    EPILOGUE, /* behind the last boundary: anything */
};

struct multipart {
    const struct multipart_ops *ops;
    void *ctx;
    enum state state;
    struct error failure;
    char delimiter[MULTIPART_BOUNDARY_MAX + 8]; /* CR LF "--" boundary */
    size_t delimiter_len, held;
    size_t before; /* of the held bytes: these came before the content */
    char header[MULTIPART_HEADER_MAX + 1];
    size_t header_len;
    int n_parts;
};

static enum err bad(struct error *error, const char *what)
{
    return err_set(error, ERR_INVALID, "the form (multipart/form-data) is malformed: %s", what);
}

/* ---- parameters of a header: ; name=token or name="quoted" ----------------------------------- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Browsers write %22 for a quotation mark in a name, other clients a backslash before it. Windows'
 * paths have backslashes that mean themselves. */
static const char *read_quoted(const char *s, char *dst, size_t size)
{
    size_t n = 0;
    while (*s && *s != '"') {
        char c = *s;
        if (c == '\\' && (s[1] == '"' || s[1] == '\\')) {
            c = *++s;
        } else if (c == '%' && s[1] == '2' && s[2] == '2') {
            c = '"';
            s += 2;
        }
        if (n + 1 < size) dst[n++] = c;
        s++;
    }
    dst[n] = '\0';
    return *s == '"' ? s + 1 : NULL;
}

static const char *read_token(const char *s, char *dst, size_t size)
{
    size_t n = 0;
    for (; *s && *s != ';' && !is_blank(*s); s++)
        if (n + 1 < size) dst[n++] = *s;
    dst[n] = '\0';
    return s;
}

/* Finds the parameter in what follows a header's first word. 1: found, 0: absent, -1: malformed. */
static int read_param(const char *s, const char *name, char *dst, size_t size)
{
    char ignored[4] = "", *to;
    int found = 0;
    size_t name_len = strlen(name);
    while (*s) {
        while (is_blank(*s) || *s == ';') s++;
        if (!*s) break;
        size_t len = strcspn(s, "=; \t\"");
        bool wanted = !found && len == name_len && strncasecmp(s, name, len) == 0;
        s += len;
        while (is_blank(*s)) s++;
        if (*s != '=') {
            if (*s && *s != ';') return -1;
            continue;
        }
        s++;
        while (is_blank(*s)) s++;
        to = wanted ? dst : ignored;
        s = *s == '"' ? read_quoted(s + 1, to, wanted ? size : sizeof ignored)
                      : read_token(s, to, wanted ? size : sizeof ignored);
        if (!s) return -1;
        if (wanted) found = 1;
        while (is_blank(*s)) s++;
        if (*s && *s != ';') return -1;
    }
    return found;
}

static int hex(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* filename*=UTF-8''na%C3%AFve.txt (RFC 5987): some clients send it although RFC 7578 says not to.
 */
static bool decode_extended(char *s)
{
    if (strncasecmp(s, "UTF-8'", 6) != 0) return false;
    char *from = strchr(s + 6, '\''), *to = s;
    if (!from) return false;
    for (from++; *from; from++) {
        int high = *from == '%' ? hex(from[1]) : -1;
        int low = high >= 0 ? hex(from[2]) : -1;
        if (*from == '%' && (low < 0 || (high | low) == 0)) return false;
        char c = *from;
        if (low >= 0) {
            c = (char)(high << 4 | low);
            from += 2;
        }
        *to++ = c;
    }
    *to = '\0';
    return true;
}

/* ---- a part's header ------------------------------------------------------------------------- */

struct head {
    char name[MULTIPART_NAME_MAX], filename[MULTIPART_NAME_MAX], type[256];
    bool has_name, has_filename;
};

static enum err read_disposition(const char *value, struct head *h, struct error *error)
{
    size_t len = strcspn(value, "; \t");
    if (len != 9 || strncasecmp(value, "form-data", len) != 0)
        return bad(error, "a part's Content-Disposition is not form-data");
    int name = read_param(value + len, "name", h->name, sizeof h->name);
    int file = read_param(value + len, "filename", h->filename, sizeof h->filename);
    char extended[MULTIPART_NAME_MAX];
    int more = read_param(value + len, "filename*", extended, sizeof extended);
    if (name < 0 || file < 0 || more < 0)
        return bad(error, "a part's Content-Disposition can't be read");
    h->has_name = name > 0;
    h->has_filename = file > 0;
    if (more > 0 && decode_extended(extended))
        h->has_filename = str_copy(h->filename, sizeof h->filename, extended);
    return OK;
}

static enum err read_line(char *line, struct head *h, struct error *error)
{
    char *colon = strchr(line, ':');
    if (!colon || colon == line) return bad(error, "a line of a part's header has no name");
    *colon = '\0';
    char *value = colon + 1;
    while (is_blank(*value)) value++;
    if (str_ieq(line, "content-disposition")) return read_disposition(value, h, error);
    if (str_ieq(line, "content-type")) str_copy(h->type, sizeof h->type, value);
    return OK;
}

/* The whole header is in m->header, its lines ended by CRLF. */
static enum err begin_part(struct multipart *m, struct error *error)
{
    struct head h = {0};
    char *line = m->header, *end;
    m->header[m->header_len] = '\0';
    if (strlen(m->header) != m->header_len) return bad(error, "a part's header holds a NUL byte");
    for (; (end = strstr(line, "\r\n")) && end != line; line = end + 2) {
        *end = '\0';
        enum err e = read_line(line, &h, error);
        if (e) return e;
    }
    if (!h.has_name) return bad(error, "a part has no name");
    if (++m->n_parts > MULTIPART_PARTS_MAX) return bad(error, "it has too many parts");
    struct multipart_part part = {h.name, h.has_filename ? h.filename : NULL, h.type};
    return m->ops->begin(m->ctx, &part, error);
}

/* ---- bytes
 * --------------------------------------------------------------------------------------- */

/* Content, or the preamble, up to a delimiter; returns how many bytes were used. */
static enum err read_content(struct multipart *m, const char *s, size_t len, size_t *used,
                             struct error *error)
{
    bool wanted = m->state == CONTENT;
    size_t start = 0, i = 0; /* s[start..i) is content that has not gone out */
    enum err e = OK;
    while (!e && i < len) {
        if (m->held == 0) {
            const char *cr = memchr(s + i, '\r', len - i);
            i = cr ? (size_t)(cr - s) : len;
            if (i > start && wanted) e = m->ops->data(m->ctx, s + start, i - start, error);
            start = i;
            if (!cr || e) break;
        }
        if (s[i] == m->delimiter[m->held]) {
            i++;
            start = i;
            if (++m->held < m->delimiter_len) continue;
            m->held = m->before = 0;
            m->state = BOUNDARY;
            if (wanted) e = m->ops->end(m->ctx, error);
            break;
        }
        /* What matched is content after all; this byte may begin another match. */
        if (wanted && m->held > m->before)
            e = m->ops->data(m->ctx, m->delimiter + m->before, m->held - m->before, error);
        m->held = m->before = 0;
        start = i;
        if (s[i] != '\r') i++;
    }
    if (!e && i > start && wanted && m->state == CONTENT)
        e = m->ops->data(m->ctx, s + start, i - start, error);
    *used = i;
    return e;
}

static enum err header_byte(struct multipart *m, char c, struct error *error)
{
    if (m->header_len == MULTIPART_HEADER_MAX) return bad(error, "a part's header is too long");
    m->header[m->header_len++] = c;
    const char *h = m->header;
    size_t n = m->header_len;
    bool empty = n == 2 && h[0] == '\r' && h[1] == '\n';
    if (!empty && (n < 4 || memcmp(h + n - 4, "\r\n\r\n", 4) != 0)) return OK;
    m->header_len -= 2;
    m->state = CONTENT;
    /* An empty content is the delimiter at once, whose CRLF is the header's last one: not in what
     * clients send, but in what RFC 2046 allows. */
    enum err e = begin_part(m, error);
    m->header_len = 0;
    m->held = m->before = 2;
    return e;
}

static enum err one_byte(struct multipart *m, char c, struct error *error)
{
    switch (m->state) {
    case BOUNDARY:
        if (c == '-') {
            m->state = DASH;
        } else if (c == '\r') {
            m->state = LINE_END;
        } else if (!is_blank(c)) {
            return bad(error, "a boundary is followed by something else than a line's end");
        }
        return OK;
    case DASH:
        if (c != '-') return bad(error, "the last boundary does not end with two dashes");
        m->state = EPILOGUE;
        return OK;
    case LINE_END:
        if (c != '\n') return bad(error, "a boundary's line has no end");
        m->state = HEADER;
        m->header_len = 0;
        return OK;
    case HEADER: return header_byte(m, c, error);
    default: ht_bug("content does not come by single bytes");
    }
}

enum err multipart_feed(struct multipart *m, const void *data, size_t len, struct error *error)
{
    const char *s = data;
    enum err e = m->failure.code;
    if (e) *error = m->failure;
    for (size_t i = 0; !e && i < len && m->state != EPILOGUE;) {
        if (m->state == PREAMBLE || m->state == CONTENT) {
            size_t used;
            e = read_content(m, s + i, len - i, &used, error);
            i += used;
        } else {
            e = one_byte(m, s[i++], error);
        }
    }
    if (e && !m->failure.code) m->failure = *error;
    return e;
}

enum err multipart_finish(struct multipart *m, struct error *error)
{
    if (m->failure.code) *error = m->failure;
    if (m->failure.code) return m->failure.code;
    return m->state == EPILOGUE ? OK : bad(error, "it ends before its last boundary");
}

/* ---- from its beginning to its end
 * ---------------------------------------------------------------- */

/* RFC 2046's characters of a boundary; no blank at its end. */
static bool is_boundary(const char *s)
{
    size_t len = strlen(s);
    if (len == 0 || len > MULTIPART_BOUNDARY_MAX || s[len - 1] == ' ') return false;
    return strspn(s,
                  "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ'()+_,-./:=? ") ==
           len;
}

enum err multipart_new(const char *content_type, const struct multipart_ops *ops, void *ctx,
                       struct multipart **out, struct error *error)
{
    static const char wanted[] = "multipart/form-data";
    char boundary[MULTIPART_BOUNDARY_MAX + 2]; /* one more, so that a longer one is seen */
    size_t len = content_type ? strcspn(content_type, "; \t") : 0;
    if (len != sizeof wanted - 1 || strncasecmp(content_type, wanted, len) != 0)
        return err_set(error, ERR_MEDIA_TYPE,
                       "a file is sent as multipart/form-data, not as %.60s (curl -F file=@NAME)",
                       content_type ? content_type : "something without a Content-Type");
    if (read_param(content_type + len, "boundary", boundary, sizeof boundary) != 1 ||
        !is_boundary(boundary))
        return bad(error, "its Content-Type has no valid boundary");
    struct multipart *m = xcalloc(1, sizeof *m);
    m->ops = ops;
    m->ctx = ctx;
    str_printf(m->delimiter, sizeof m->delimiter, "\r\n--%s", boundary);
    m->delimiter_len = strlen(m->delimiter);
    m->held = m->before = 2; /* as if a line had just ended */
    *out = m;
    return OK;
}

void multipart_free(struct multipart *m)
{
    free(m);
}
