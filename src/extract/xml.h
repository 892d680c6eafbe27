/* XML as a stream of events (libxml2's SAX2). No tree, no DTD, no network; entities that a document
 * declares itself are refused as soon as they are declared, and so is nesting beyond XML_DEPTH_MAX.
 * One thread. */
#ifndef HEARTH_EXTRACT_XML_H
#define HEARTH_EXTRACT_XML_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

enum { XML_DEPTH_MAX = 256 };

/* X(id, namespace): names of elements are asked for together with one of these. */
#define XML_NAMESPACES(X)                                                                          \
    X(W, "http://schemas.openxmlformats.org/wordprocessingml/2006/main")                           \
    X(A, "http://schemas.openxmlformats.org/drawingml/2006/main")                                  \
    X(P, "http://schemas.openxmlformats.org/presentationml/2006/main")                             \
    X(S, "http://schemas.openxmlformats.org/spreadsheetml/2006/main")                              \
    X(R, "http://schemas.openxmlformats.org/officeDocument/2006/relationships")                    \
    X(REL, "http://schemas.openxmlformats.org/package/2006/relationships")                         \
    X(MC, "http://schemas.openxmlformats.org/markup-compatibility/2006")                           \
    X(DC, "http://purl.org/dc/elements/1.1/")                                                      \
    X(OFFICE, "urn:oasis:names:tc:opendocument:xmlns:office:1.0")                                  \
    X(TEXT, "urn:oasis:names:tc:opendocument:xmlns:text:1.0")                                      \
    X(TABLE, "urn:oasis:names:tc:opendocument:xmlns:table:1.0")                                    \
    X(DRAW, "urn:oasis:names:tc:opendocument:xmlns:drawing:1.0")                                   \
    X(PRESENTATION, "urn:oasis:names:tc:opendocument:xmlns:presentation:1.0")                      \
    X(MANIFEST, "urn:oasis:names:tc:opendocument:xmlns:manifest:1.0")                              \
    X(CONTAINER, "urn:oasis:names:tc:opendocument:xmlns:container")                                \
    X(OPF, "http://www.idpf.org/2007/opf")                                                         \
    X(ENC, "http://www.w3.org/2001/04/xmlenc#")

enum xml_ns {
    NS_OTHER,
#define X(id, uri) NS_##id,
    XML_NAMESPACES(X)
#undef X
        NS_ANY,
};

struct xml_element {
    enum xml_ns ns;
    const char *name;  /* without its prefix */
    const void *attrs; /* the parser's */
    int n_attrs;
    int depth; /* of the root: 1 */
};

struct xml_events {
    void (*open)(void *ctx, const struct xml_element *e);
    void (*close)(void *ctx, const struct xml_element *e); /* without attributes; may be NULL */
    void (*text)(void *ctx, const char *s, size_t len);    /* may be NULL; in any pieces */
};

bool xml_is(const struct xml_element *e, enum xml_ns ns, const char *name);
/* The attribute's value, cut to fit; false (and "") if there is none. */
bool xml_attr(const struct xml_element *e, enum xml_ns ns, const char *name, char *dst,
              size_t size);
bool xml_attr_is(const struct xml_element *e, enum xml_ns ns, const char *name, const char *value);
long xml_attr_int(const struct xml_element *e, enum xml_ns ns, const char *name, long otherwise);

struct xml;
struct xml *xml_new(const struct xml_events *events, void *ctx); /* NULL: no memory */
void xml_free(struct xml *x);
/* ERR_INVALID: damaged, or refused (see xml_is_hostile); ERR_NOMEM. */
HT_MUST_CHECK enum err xml_feed(struct xml *x, const char *s, size_t len, struct error *error);
HT_MUST_CHECK enum err xml_end(struct xml *x, struct error *error);
/* Whether the last error was a refusal of what no honest document does. */
bool xml_is_hostile(const struct xml *x);

/* Once per process, before anything else of libxml2: silent, and blind to other files. */
void xml_init(void);

#endif
