/* XML as events; see xml.h. */
#include "extract/xml.h"

#include <libxml/parser.h>
#include <libxml/parserInternals.h>
#include <libxml/xmlerror.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

enum refusal { NOT_REFUSED, TOO_DEEP, HAS_ENTITIES };
enum { NS_CACHE = 8, PER_ATTR = 5 /* pointers of one attribute in SAX2 */ };

struct xml {
    const struct xml_events *events;
    void *ctx;
    xmlParserCtxtPtr parser;
    int depth;
    enum refusal refused;
    /* libxml2 keeps one copy of each namespace's name per document, so its address names it. */
    struct {
        const xmlChar *uri;
        enum xml_ns ns;
    } cache[NS_CACHE];
    size_t next;
};

static const char *const namespaces[] = {[NS_OTHER] = NULL,
#define X(id, uri) [NS_##id] = uri,
                                         XML_NAMESPACES(X)
#undef X
};

/* Office's strict variant, and older ones of the same elements. */
static const struct {
    const char *uri;
    enum xml_ns ns;
} aliases[] = {
    {"http://purl.oclc.org/ooxml/wordprocessingml/main", NS_W},
    {"http://purl.oclc.org/ooxml/drawingml/main", NS_A},
    {"http://purl.oclc.org/ooxml/presentationml/main", NS_P},
    {"http://purl.oclc.org/ooxml/spreadsheetml/main", NS_S},
    {"http://purl.oclc.org/ooxml/officeDocument/relationships", NS_R},
    {"http://openebook.org/namespaces/oeb-package/1.0/", NS_OPF},
};

static enum xml_ns find_ns(const char *uri)
{
    for (size_t i = 1; i < sizeof namespaces / sizeof *namespaces; i++)
        if (str_eq(uri, namespaces[i])) return (enum xml_ns)i;
    for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++)
        if (str_eq(uri, aliases[i].uri)) return aliases[i].ns;
    return NS_OTHER;
}

static enum xml_ns ns_of(struct xml *x, const xmlChar *uri)
{
    if (!uri) return NS_OTHER;
    for (size_t i = 0; i < NS_CACHE; i++)
        if (x->cache[i].uri == uri) return x->cache[i].ns;
    enum xml_ns ns = find_ns((const char *)uri);
    x->cache[x->next].uri = uri;
    x->cache[x->next].ns = ns;
    x->next = (x->next + 1) % NS_CACHE;
    return ns;
}

/* ---- events -------------------------------------------------------------------------------- */

static void refuse(struct xml *x, enum refusal why)
{
    x->refused = why;
    xmlStopParser(x->parser);
}

static void on_open(void *ctx, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri,
                    int n_namespaces, const xmlChar **more, int n_attrs, int n_defaulted,
                    const xmlChar **attrs)
{
    (void)prefix, (void)n_namespaces, (void)more, (void)n_defaulted;
    struct xml *x = ctx;
    if (x->refused) return;
    if (++x->depth > XML_DEPTH_MAX) {
        refuse(x, TOO_DEEP);
        return;
    }
    struct xml_element e = {.ns = ns_of(x, uri),
                            .name = (const char *)name,
                            .attrs = attrs,
                            .n_attrs = n_attrs,
                            .depth = x->depth};
    x->events->open(x->ctx, &e);
}

static void on_close(void *ctx, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri)
{
    (void)prefix;
    struct xml *x = ctx;
    if (x->refused) return;
    struct xml_element e = {.ns = ns_of(x, uri), .name = (const char *)name, .depth = x->depth--};
    if (x->events->close) x->events->close(x->ctx, &e);
}

static void on_text(void *ctx, const xmlChar *s, int len)
{
    struct xml *x = ctx;
    if (x->events->text && !x->refused && len > 0)
        x->events->text(x->ctx, (const char *)s, (size_t)len);
}

static void on_entity(void *ctx, const xmlChar *name, int type, const xmlChar *public_id,
                      const xmlChar *system_id, xmlChar *content)
{
    (void)name, (void)type, (void)public_id, (void)system_id, (void)content;
    refuse(ctx, HAS_ENTITIES);
}

static void on_unparsed(void *ctx, const xmlChar *name, const xmlChar *public_id,
                        const xmlChar *system_id, const xmlChar *notation)
{
    (void)name, (void)public_id, (void)system_id, (void)notation;
    refuse(ctx, HAS_ENTITIES);
}

static void ignore_error(void *ctx, xmlErrorPtr error)
{
    (void)ctx, (void)error;
}

/* ---- attributes ---------------------------------------------------------------------------- */

bool xml_is(const struct xml_element *e, enum xml_ns ns, const char *name)
{
    return (e->ns == ns || ns == NS_ANY) && str_eq(e->name, name);
}

/* An '&' that stood there as a reference comes as one: libxml2 leaves it to who builds a tree. */
static void put_value(char *dst, size_t size, const char *s, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len && n + 1 < size; i++) {
        dst[n++] = s[i];
        if (s[i] == '&' && len - i >= 5 && memcmp(s + i, "&#38;", 5) == 0) i += 4;
    }
    dst[n] = '\0';
    dst[utf8_cut(dst, n, n)] = '\0';
}

static enum xml_ns attr_ns(const xmlChar *uri)
{
    return uri ? find_ns((const char *)uri) : NS_OTHER;
}

bool xml_attr(const struct xml_element *e, enum xml_ns ns, const char *name, char *dst, size_t size)
{
    const xmlChar *const *a = e->attrs;
    dst[0] = '\0';
    for (int i = 0; i < e->n_attrs; i++, a += PER_ATTR) {
        if (!str_eq((const char *)a[0], name)) continue;
        if (ns != NS_ANY && attr_ns(a[2]) != ns) continue;
        put_value(dst, size, (const char *)a[3], (size_t)(a[4] - a[3]));
        return true;
    }
    return false;
}

bool xml_attr_is(const struct xml_element *e, enum xml_ns ns, const char *name, const char *value)
{
    char text[128];
    return xml_attr(e, ns, name, text, sizeof text) && str_eq(text, value);
}

long xml_attr_int(const struct xml_element *e, enum xml_ns ns, const char *name, long otherwise)
{
    char text[32];
    int64_t n;
    if (!xml_attr(e, ns, name, text, sizeof text) || !str_to_i64(text, INT_MIN, INT_MAX, &n))
        return otherwise;
    return (long)n;
}

/* ---- the parser ---------------------------------------------------------------------------- */

static xmlParserInputPtr open_nothing(const char *url, const char *id, xmlParserCtxtPtr parser)
{
    (void)url, (void)id, (void)parser;
    return NULL;
}

void xml_init(void)
{
    xmlInitParser();
    xmlSetExternalEntityLoader(open_nothing);
    xmlSetStructuredErrorFunc(NULL, ignore_error);
}

struct xml *xml_new(const struct xml_events *events, void *ctx)
{
    struct xml *x = xcalloc(1, sizeof *x);
    x->events = events;
    x->ctx = ctx;
    xmlSAXHandler sax = {.initialized = XML_SAX2_MAGIC,
                         .startElementNs = on_open,
                         .endElementNs = on_close,
                         .characters = on_text,
                         .cdataBlock = on_text,
                         .ignorableWhitespace = on_text,
                         .entityDecl = on_entity,
                         .unparsedEntityDecl = on_unparsed,
                         .serror = ignore_error};
    x->parser = xmlCreatePushParserCtxt(&sax, x, NULL, 0, NULL);
    if (!x->parser) {
        free(x);
        return NULL;
    }
    xmlCtxtUseOptions(x->parser, XML_PARSE_NONET | XML_PARSE_COMPACT);
    return x;
}

void xml_free(struct xml *x)
{
    if (!x) return;
    if (x->parser->myDoc) xmlFreeDoc(x->parser->myDoc);
    xmlFreeParserCtxt(x->parser);
    free(x);
}

bool xml_is_hostile(const struct xml *x)
{
    return x->refused != NOT_REFUSED;
}

static enum err judge(const struct xml *x, struct error *error)
{
    if (x->refused == TOO_DEEP)
        return err_set(error, ERR_INVALID, "its XML is nested deeper than %d levels",
                       XML_DEPTH_MAX);
    if (x->refused == HAS_ENTITIES)
        return err_set(error, ERR_INVALID,
                       "its XML declares entities, which no document needs and which can do harm");
    if (x->parser->wellFormed) return OK;
    if (x->parser->errNo == XML_ERR_NO_MEMORY) return err_set(error, ERR_NOMEM, "no memory");
    int line = x->parser->input ? x->parser->input->line : 0;
    return err_set(error, ERR_INVALID, "its XML is damaged (line %d)", line);
}

enum err xml_feed(struct xml *x, const char *s, size_t len, struct error *error)
{
    for (size_t i = 0; i < len;) {
        size_t n = len - i < (1 << 16) ? len - i : 1 << 16;
        (void)xmlParseChunk(x->parser, s + i, (int)n, 0);
        enum err e = judge(x, error);
        if (e) return e;
        i += n;
    }
    return OK;
}

enum err xml_end(struct xml *x, struct error *error)
{
    (void)xmlParseChunk(x->parser, NULL, 0, 1);
    return judge(x, error);
}
