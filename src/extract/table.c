/* Tables as text (CSV by RFC 4180 and what programs make of it, TSV), and data formats: JSON, XML.
 */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "extract/extract_int.h"
#include "extract/html.h"
#include "extract/types.h"
#include "extract/xml.h"

enum { COLUMNS_MAX = 2000, SAMPLE_LINES = 20 };

/* ---- CSV ----------------------------------------------------------------------------------- */

/* The separator that comes in every one of the first lines, most often. */
static char find_separator(const char *s, size_t len)
{
    static const char candidates[] = ",;\t|";
    size_t least[sizeof candidates];
    memset(least, 0xFF, sizeof least);
    const char *end = s + len;
    for (int line = 0; s < end && line < SAMPLE_LINES; line++) {
        size_t counts[sizeof candidates] = {0};
        bool quoted = false;
        const char *from = s;
        for (; s < end && (*s != '\n' || quoted); s++) {
            if (*s == '"') quoted = !quoted;
            const char *c = quoted || !*s ? NULL : strchr(candidates, *s);
            if (c) counts[c - candidates]++;
        }
        bool empty = s == from;
        s += s < end;
        for (size_t i = 0; !empty && i + 1 < sizeof candidates; i++)
            if (counts[i] < least[i]) least[i] = counts[i];
    }
    size_t best = 0;
    for (size_t i = 1; i + 1 < sizeof candidates; i++)
        if (least[i] > least[best] && least[i] != SIZE_MAX) best = i;
    return candidates[best];
}

struct csv {
    const char *at, *end;
    char separator;
    struct buf quoted; /* texts of quoted fields of this row */
    struct prose_span *cells;
    size_t *starts; /* in `quoted`, of cells that are there; SIZE_MAX for others */
    size_t n;
};

/* A field in quotes: "" is one. Stands behind its end afterwards. */
static void take_quoted(struct csv *c)
{
    c->starts[c->n] = c->quoted.len;
    for (c->at++; c->at < c->end; c->at++) {
        const char *q = memchr(c->at, '"', (size_t)(c->end - c->at));
        if (!q) q = c->end;
        buf_append(&c->quoted, c->at, (size_t)(q - c->at));
        c->at = q;
        if (q + 1 < c->end && q[1] == '"') {
            buf_putc(&c->quoted, '"');
            c->at++;
            continue;
        }
        c->at += q < c->end;
        break;
    }
    c->cells[c->n].len = c->quoted.len - c->starts[c->n];
}

/* Reads a row. False when none is left. */
static bool take_row(struct csv *c)
{
    c->n = 0;
    buf_clear(&c->quoted);
    if (c->at >= c->end) return false;
    for (;;) {
        const char *from = c->at;
        bool quoted = c->at < c->end && *c->at == '"';
        c->starts[c->n] = SIZE_MAX;
        if (quoted) take_quoted(c);
        /* behind the quotes there should be nothing; what there is, is left out */
        while (c->at < c->end && *c->at != c->separator && *c->at != '\n') c->at++;
        if (!quoted) c->cells[c->n] = (struct prose_span){from, (size_t)(c->at - from)};
        if (c->n + 1 < COLUMNS_MAX) c->n++;
        if (c->at >= c->end || *c->at == '\n') {
            c->at += c->at < c->end;
            break;
        }
        c->at++;
    }
    for (size_t i = 0; i < c->n; i++)
        if (c->starts[i] != SIZE_MAX) c->cells[i].s = buf_str(&c->quoted) + c->starts[i];
    return true;
}

static bool is_empty_row(const struct csv *c)
{
    for (size_t i = 0; i < c->n; i++)
        if (c->cells[i].len) return false;
    return true;
}

enum err load_csv(struct load *l, struct error *error)
{
    struct buf text;
    bool head = true;
    struct csv c = {.cells = try_calloc(COLUMNS_MAX, sizeof *c.cells),
                    .starts = try_calloc(COLUMNS_MAX, sizeof *c.starts)};
    enum err e = load_text(l, &text, error);
    if (!e && (!c.cells || !c.starts)) e = err_set(error, ERR_NOMEM, "no memory");
    buf_init(&c.quoted, (size_t)l->output);
    if (!e) {
        c.at = buf_str(&text);
        c.end = c.at + text.len;
        c.separator = str_eq(l->type, type_media(TYPE_TSV)) ? '\t' : find_separator(c.at, text.len);
        while (!prose_err(l->out) && take_row(&c)) {
            if (is_empty_row(&c)) continue;
            prose_cells(l->out, c.cells, c.n, head);
            head = false;
        }
    }
    buf_free(&text);
    buf_free(&c.quoted);
    free(c.cells);
    free(c.starts);
    return e;
}

/* ---- JSON ---------------------------------------------------------------------------------- */

static int put_json(const char *s, size_t len, void *ctx)
{
    return buf_append(ctx, s, len) ? -1 : 0;
}

/* One value per line, so that it can be cut where it makes sense. What is not JSON after all (or
 * has a key twice) is shown as it is. */
static enum err write_json(struct load *l, const char *s, size_t len, struct error *error)
{
    json_t *value;
    struct buf pretty;
    enum err e = json_parse(s, len, &value, error);
    if (e == ERR_TOO_LARGE || e == ERR_NOMEM) return e;
    if (e && strstr(error->msg, "nested deeper"))
        return err_set(error, ERR_INVALID, "%s", error->msg);
    if (e) {
        prose_fence(l->out, "json", s, len);
        return OK;
    }
    buf_init(&pretty, (size_t)l->output);
    (void)json_dump_callback(value, put_json, &pretty, JSON_INDENT(2) | JSON_ENCODE_ANY);
    json_decref(value);
    if (pretty.err == ERR_NOMEM)
        e = load_no_memory(l, error);
    else if (pretty.err)
        e = load_too_long(l, error);
    else
        prose_fence(l->out, "json", buf_str(&pretty), pretty.len);
    buf_free(&pretty);
    return e;
}

enum err load_json(struct load *l, struct error *error)
{
    struct buf text;
    enum err e = load_text(l, &text, error);
    if (!e) e = write_json(l, buf_str(&text), text.len, error);
    buf_free(&text);
    return e;
}

/* ---- XML ----------------------------------------------------------------------------------- */

static void on_element(void *ctx, const struct xml_element *e)
{
    (void)ctx, (void)e;
}

/* Shown as it is, since nobody knows what its elements mean; but what is made to harm its reader is
 * refused, here as everywhere. */
enum err load_xml(struct load *l, struct error *error)
{
    static const struct xml_events events = {.open = on_element};
    struct buf bytes, text;
    struct error damage;
    buf_init(&text, (size_t)l->output);
    enum err e = load_bytes(l, &bytes, error);
    struct xml *x = e ? NULL : xml_new(&events, NULL);
    if (x && (xml_feed(x, buf_str(&bytes), bytes.len, &damage) || xml_end(x, &damage)) &&
        (xml_is_hostile(x) || damage.code == ERR_NOMEM)) {
        *error = damage;
        e = damage.code;
    }
    xml_free(x);
    if (!e && html_decode(buf_str(&bytes), bytes.len, &text))
        e = text.err == ERR_NOMEM ? load_no_memory(l, error) : load_too_long(l, error);
    if (!e) prose_fence(l->out, "xml", buf_str(&text), text.len);
    buf_free(&bytes);
    buf_free(&text);
    return e;
}
