/* HTML; see html.h. */
#include "extract/html.h"

#include <ctype.h>
#include <libxml/HTMLparser.h>
#include <libxml/parserInternals.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "extract/charset.h"
#include "extract/xml.h"

enum { CHARSET_WITHIN = 4096, LIST_DEPTH_MAX = 16 };

/* ---- what elements do ---------------------------------------------------------------------- */

enum what {
    INLINE,
    BLOCK,
    BREAK,   /* <br>, table captions of old mails, ... */
    HEADING, /* h1 to h6 */
    LIST,
    ITEM,
    TABLE,
    ROW,
    CELL,
    PRE,
    HEAD_TITLE,
    HIDDEN, /* with all in it */
};

/* Sorted, as libxml2 writes them: in lower case. */
struct element {
    const char *name;
    enum what what;
};
static const struct element elements[] = {
    {"address", BLOCK},    {"article", BLOCK},   {"aside", BLOCK},      {"audio", HIDDEN},
    {"blockquote", BLOCK}, {"body", BLOCK},      {"br", BREAK},         {"button", HIDDEN},
    {"canvas", HIDDEN},    {"caption", BLOCK},   {"center", BLOCK},     {"datalist", HIDDEN},
    {"dd", BREAK},         {"details", BLOCK},   {"dialog", HIDDEN},    {"div", BLOCK},
    {"dl", BLOCK},         {"dt", BLOCK},        {"embed", HIDDEN},     {"fieldset", BLOCK},
    {"figcaption", BLOCK}, {"figure", BLOCK},    {"footer", BLOCK},     {"h1", HEADING},
    {"h2", HEADING},       {"h3", HEADING},      {"h4", HEADING},       {"h5", HEADING},
    {"h6", HEADING},       {"header", BLOCK},    {"hr", BLOCK},         {"iframe", HIDDEN},
    {"li", ITEM},          {"main", BLOCK},      {"math", INLINE},      {"menu", LIST},
    {"nav", HIDDEN},       {"noscript", HIDDEN}, {"object", HIDDEN},    {"ol", LIST},
    {"p", BLOCK},          {"pre", PRE},         {"script", HIDDEN},    {"section", BLOCK},
    {"select", HIDDEN},    {"style", HIDDEN},    {"summary", BLOCK},    {"svg", HIDDEN},
    {"table", TABLE},      {"tbody", BLOCK},     {"td", CELL},          {"template", HIDDEN},
    {"textarea", HIDDEN},  {"th", CELL},         {"title", HEAD_TITLE}, {"tr", ROW},
    {"ul", LIST},          {"video", HIDDEN},
};

struct html {
    htmlParserCtxtPtr parser;
    struct prose *out;
    int depth, skip;  /* skip: depth of what is left out; 0 = nothing */
    int list, pre;    /* open ones */
    struct buf lines; /* of the outermost pre */
    bool in_title, wants_title, too_deep;
};

static int compare_names(const void *name, const void *element)
{
    return strcmp(name, ((const struct element *)element)->name);
}

static enum what what_of(const char *name)
{
    const struct element *e = bsearch(name, elements, sizeof elements / sizeof *elements,
                                      sizeof *elements, compare_names);
    return e ? e->what : INLINE;
}

/* Text that nobody sees is often there to deceive a machine. */
static bool style_hides(const char *style)
{
    char text[512];
    size_t n = 0;
    for (; *style && n < sizeof text - 1; style++)
        if (!isspace((unsigned char)*style)) text[n++] = (char)tolower((unsigned char)*style);
    text[n] = '\0';
    return strstr(text, "display:none") || strstr(text, "visibility:hidden") ||
           strstr(text, "font-size:0;") || str_ends(text, "font-size:0") ||
           strstr(text, "font-size:0px");
}

static bool is_hidden(const xmlChar **atts)
{
    for (; atts && atts[0]; atts += 2) {
        const char *name = (const char *)atts[0], *value = (const char *)atts[1];
        if (str_ieq(name, "hidden")) return true;
        if (!value) continue;
        if (str_ieq(name, "style") && style_hides(value)) return true;
        if (str_ieq(name, "role") && str_ieq(value, "navigation")) return true;
    }
    return false;
}

/* ---- events -------------------------------------------------------------------------------- */

static void open_element(struct html *h, enum what what, const char *name)
{
    switch (what) {
    case BLOCK: prose_block(h->out); break;
    case BREAK: prose_break(h->out); break;
    case HEADING: prose_heading(h->out, name[1] - '0'); break;
    case LIST:
        if (h->list++ == 0) prose_block(h->out);
        break;
    case ITEM: prose_item(h->out, h->list > 0 ? h->list - 1 : 0); break;
    case TABLE: prose_table(h->out, false); break;
    case ROW: prose_row(h->out); break;
    case CELL: prose_cell(h->out); break;
    case PRE: h->pre++; break;
    case HEAD_TITLE:
        h->in_title = true;
        buf_clear(&h->lines);
        break;
    case INLINE:
    case HIDDEN: break;
    }
}

static void on_open(void *ctx, const xmlChar *tag, const xmlChar **atts)
{
    struct html *h = ctx;
    const char *name = (const char *)tag;
    if (++h->depth > HTML_DEPTH_MAX || prose_err(h->out)) {
        h->too_deep = h->depth > HTML_DEPTH_MAX;
        xmlStopParser(h->parser);
        return;
    }
    if (h->skip) return;
    enum what what = what_of(name);
    if (what == HIDDEN || is_hidden(atts)) {
        h->skip = h->depth;
    } else if (h->pre) {
        if (what == BREAK) buf_putc(&h->lines, '\n');
        if (what == PRE) h->pre++;
    } else {
        open_element(h, what, name);
    }
}

static void end_pre(struct html *h)
{
    if (!h->pre || --h->pre) return;
    prose_fence(h->out, "", buf_str(&h->lines), h->lines.len);
    buf_clear(&h->lines);
}

static void on_close(void *ctx, const xmlChar *tag)
{
    struct html *h = ctx;
    bool skipped = h->skip != 0;
    if (h->skip == h->depth) h->skip = 0;
    if (h->depth) h->depth--;
    if (skipped) return;
    enum what what = what_of((const char *)tag);
    if (what == PRE) end_pre(h);
    if (h->pre) return;
    switch (what) {
    case BLOCK:
    case HEADING: prose_block(h->out); break;
    case ITEM: prose_break(h->out); break;
    case LIST:
        if (h->list && --h->list == 0) prose_block(h->out);
        break;
    case TABLE: prose_table_end(h->out); break;
    case HEAD_TITLE:
        if (h->wants_title) prose_title(h->out, buf_str(&h->lines), h->lines.len);
        h->in_title = false;
        buf_clear(&h->lines);
        break;
    default: break;
    }
}

static void on_text(void *ctx, const xmlChar *s, int len)
{
    struct html *h = ctx;
    if (h->skip || len <= 0) return;
    if (h->in_title || h->pre)
        buf_append(&h->lines, s, (size_t)len);
    else
        prose_text(h->out, (const char *)s, (size_t)len);
}

static void ignore_error(void *ctx, xmlErrorPtr error)
{
    (void)ctx, (void)error;
}

/* ---- all ----------------------------------------------------------------------------------- */

enum err html_write(const char *s, size_t len, bool title, struct prose *out, struct error *error)
{
    struct html h = {.out = out, .wants_title = title};
    if (!len) return OK;
    if (len > INT_MAX) return err_set(error, ERR_TOO_LARGE, "the page is too large");
    h.parser = htmlCreateMemoryParserCtxt(s, (int)len);
    if (!h.parser) return err_set(error, ERR_NOMEM, "no memory");
    buf_init(&h.lines, out->text.max);
    htmlCtxtUseOptions(h.parser, HTML_PARSE_NONET | HTML_PARSE_COMPACT | HTML_PARSE_IGNORE_ENC);
    xmlSwitchEncoding(h.parser, XML_CHAR_ENCODING_UTF8);
    *h.parser->sax = (xmlSAXHandler){.startElement = on_open,
                                     .endElement = on_close,
                                     .characters = on_text,
                                     .ignorableWhitespace = on_text,
                                     .serror = ignore_error,
                                     .initialized = XML_SAX2_MAGIC};
    h.parser->userData = &h;
    (void)htmlParseDocument(h.parser);
    enum err e = h.parser->errNo == XML_ERR_NO_MEMORY || h.lines.err == ERR_NOMEM ? ERR_NOMEM : OK;
    if (h.parser->myDoc) xmlFreeDoc(h.parser->myDoc);
    htmlFreeParserCtxt(h.parser);
    while (h.pre) end_pre(&h);
    while (out->n_tables) prose_table_end(out); /* left open */
    prose_block(out);
    buf_free(&h.lines);
    if (h.too_deep)
        return err_set(error, ERR_INVALID, "its elements are nested deeper than %d levels",
                       HTML_DEPTH_MAX);
    return e ? err_set(error, e, "no memory") : OK;
}

/* charset=... of a <meta>, or encoding="..." of an XML declaration, in the first few KiB. */
static bool named_charset(const char *s, size_t len, char *dst, size_t size)
{
    static const char *const keys[] = {"charset=", "encoding="};
    char head[CHARSET_WITHIN + 1];
    size_t n = len < CHARSET_WITHIN ? len : CHARSET_WITHIN;
    memcpy(head, s, n);
    head[n] = '\0';
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *at = strcasestr(head, keys[i]);
        if (!at) continue;
        at += strlen(keys[i]);
        at += strspn(at, "\"' ");
        size_t k = strcspn(at, "\"' />;?");
        if (k && k < size) {
            memcpy(dst, at, k);
            dst[k] = '\0';
            return true;
        }
    }
    return false;
}

enum err html_decode(const char *s, size_t len, struct buf *out)
{
    char name[64];
    bool marked = len >= 2 && (memcmp(s, "\xFF\xFE", 2) == 0 || memcmp(s, "\xFE\xFF", 2) == 0);
    if (!marked && named_charset(s, len, name, sizeof name) && strncasecmp(name, "utf-16", 6) != 0)
        return charset_named(name, s, len, out);
    return charset_guess(s, len, out);
}

enum err load_html(struct load *l, struct error *error)
{
    struct buf bytes, text;
    buf_init(&text, (size_t)l->output);
    enum err e = load_bytes(l, &bytes, error);
    if (!e && html_decode(buf_str(&bytes), bytes.len, &text))
        e = text.err == ERR_NOMEM ? load_no_memory(l, error) : load_too_long(l, error);
    buf_free(&bytes);
    if (!e) e = html_write(buf_str(&text), text.len, true, l->out, error);
    buf_free(&text);
    return e;
}
