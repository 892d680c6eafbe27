/* Members of a ZIP archive that is a document (libarchive). Nothing is ever written to disk, and a
 * name is only compared, never opened; still, an archive whose names lead outside of it, or that
 * has links, encrypted members or absurdly many, is refused, because no honest document does that.
 *
 * All members together may unpack to eight times the longest text, whatever sizes they declare:
 * that is what a bomb meets. Archives in archives are never opened. One thread. */
#ifndef HEARTH_EXTRACT_ZIP_H
#define HEARTH_EXTRACT_ZIP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "extract/extract_int.h"
#include "extract/xml.h"

enum { ZIP_MEMBERS_MAX = 20000, ZIP_NAME_MAX = 1024 };

struct zip;

HT_MUST_CHECK enum err zip_open(struct load *l, struct zip **out, struct error *error);
void zip_close(struct zip *z); /* NULL is fine */

bool zip_has(const struct zip *z, const char *name);

/* Unpacks the members that `want` likes into memory, in one pass. */
HT_MUST_CHECK enum err zip_keep(struct zip *z, bool (*want)(const char *name), struct error *error);

/* Hands a member on piece by piece, from memory or from the file; `take` returns false to stop
 * (OK). A member that isn't there: ERR_INVALID, the document is damaged. */
HT_MUST_CHECK enum err zip_stream(struct zip *z, const char *name,
                                  bool (*take)(void *ctx, const char *s, size_t len), void *ctx,
                                  struct error *error);
/* The same through the XML reader. Stops when the text has become too long (OK: the text knows). */
HT_MUST_CHECK enum err zip_xml(struct zip *z, const char *name, const struct xml_events *events,
                               void *ctx, struct error *error);

/* ---- names */
/* What `target`, written in the member `from`, refers to: "../a/b.xml" in "x/y/z.xml" is
 * "x/a/b.xml". Leading "/" is the archive's root, "#..." is cut off, %20 becomes a blank if
 * `escaped`. False when it leads outside, or is an address. */
bool zip_resolve(const char *from, const char *target, bool escaped, char *dst, size_t size);

/* ---- relationships of Office files: ids in a .rels member to names of members */
struct rel {
    char id[64], kind[48], target[256]; /* kind: the type's last part, "slide" */
};
struct rels {
    struct rel *items;
    size_t n;
};
/* Of the member `name`; none is OK. Free it. */
HT_MUST_CHECK enum err rels_read(struct zip *z, const char *name, struct rels *out,
                                 struct error *error);
void rels_free(struct rels *r);
const char *rels_target(const struct rels *r, const char *id); /* NULL = there is none */
const char *rels_of_kind(const struct rels *r, const char *kind);

/* dc:title of docProps/core.xml, meta.xml, ... becomes the document's title; damage is ignored. */
void zip_title(struct zip *z, const char *name, struct prose *out);

#endif
