/* E-books (EPUB 2 and 3): the chapters in reading order. They have no pages of their own. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "extract/extract_int.h"
#include "extract/html.h"
#include "extract/zip.h"

enum { ITEMS_MAX = 20000 };

struct item {
    char id[128], target[256];
    bool is_page;
};

struct epub {
    struct prose *out;
    const char *opf; /* name of the package's member */
    char rootfile[256];
    struct item *items;
    size_t n_items;
    char (*spine)[128]; /* ids in reading order */
    size_t n_spine;
    bool in_title, has_drm;
};

static void on_container(void *ctx, const struct xml_element *e)
{
    struct epub *b = ctx;
    char target[256];
    if (xml_is(e, NS_CONTAINER, "rootfile") && !*b->rootfile &&
        xml_attr(e, NS_ANY, "full-path", target, sizeof target) &&
        !zip_resolve("", target, false, b->rootfile, sizeof b->rootfile))
        b->rootfile[0] = '\0';
}

/* Fonts may be scrambled without the book being locked (EPUB 3.3, 4.2.6.3.1.2). */
static void on_encryption(void *ctx, const struct xml_element *e)
{
    struct epub *b = ctx;
    char algorithm[160];
    if (xml_is(e, NS_ENC, "EncryptionMethod") &&
        xml_attr(e, NS_ANY, "Algorithm", algorithm, sizeof algorithm) &&
        !strstr(algorithm, "embedding") && !strstr(algorithm, "RC"))
        b->has_drm = true;
}

static void on_item(struct epub *b, const struct xml_element *e)
{
    char target[256], media[64];
    struct item *item = &b->items[b->n_items];
    if (b->n_items == ITEMS_MAX || !xml_attr(e, NS_ANY, "id", item->id, sizeof item->id) ||
        !xml_attr(e, NS_ANY, "href", target, sizeof target) ||
        !zip_resolve(b->opf, target, true, item->target, sizeof item->target))
        return;
    (void)xml_attr(e, NS_ANY, "media-type", media, sizeof media);
    item->is_page = str_eq(media, "application/xhtml+xml") || str_eq(media, "text/html") ||
                    str_eq(media, "text/x-oeb1-document");
    b->n_items++;
}

static void on_package(void *ctx, const struct xml_element *e)
{
    struct epub *b = ctx;
    if (xml_is(e, NS_DC, "title")) b->in_title = true;
    if (xml_is(e, NS_OPF, "item")) on_item(b, e);
    if (xml_is(e, NS_OPF, "itemref") && b->n_spine < ITEMS_MAX &&
        xml_attr(e, NS_ANY, "idref", b->spine[b->n_spine], sizeof *b->spine))
        b->n_spine++;
}

static void on_package_close(void *ctx, const struct xml_element *e)
{
    struct epub *b = ctx;
    if (xml_is(e, NS_DC, "title")) b->in_title = false;
}

static void on_package_text(void *ctx, const char *s, size_t len)
{
    struct epub *b = ctx;
    if (b->in_title) prose_title(b->out, s, len);
}

/* ---- chapters ------------------------------------------------------------------------------ */

static bool is_text_member(const char *name)
{
    static const char *const ends[] = {".xhtml", ".html", ".htm", ".xml", ".opf"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (str_ends(name, ends[i])) return true;
    return false;
}

static const struct item *find_item(const struct epub *b, const char *id)
{
    for (size_t i = 0; i < b->n_items; i++)
        if (str_eq(b->items[i].id, id)) return &b->items[i];
    return NULL;
}

static bool collect(void *ctx, const char *s, size_t len)
{
    return buf_append(ctx, s, len) == OK;
}

static enum err read_chapter(struct load *l, struct zip *z, const char *name, struct error *error)
{
    struct buf bytes, text;
    buf_init(&bytes, (size_t)l->output);
    buf_init(&text, (size_t)l->output);
    enum err e = zip_stream(z, name, collect, &bytes, error);
    if (!e && bytes.err == ERR_TOO_LARGE) e = load_too_long(l, error);
    if (!e && (bytes.err || html_decode(buf_str(&bytes), bytes.len, &text)))
        e = err_set(error, ERR_NOMEM, "no memory");
    if (!e) e = html_write(buf_str(&text), text.len, false, l->out, error);
    buf_free(&bytes);
    buf_free(&text);
    return e;
}

static enum err read_chapters(struct epub *b, struct load *l, struct zip *z, struct error *error)
{
    enum err e = OK;
    for (size_t i = 0; i < b->n_spine && !e && !prose_err(b->out); i++) {
        const struct item *item = find_item(b, b->spine[i]);
        if (item && item->is_page && zip_has(z, item->target))
            e = read_chapter(l, z, item->target, error);
    }
    return e;
}

/* ---- all ----------------------------------------------------------------------------------- */

static enum err read_package(struct epub *b, struct zip *z, struct error *error)
{
    static const struct xml_events container = {.open = on_container},
                                   encryption = {.open = on_encryption},
                                   package = {.open = on_package,
                                              .close = on_package_close,
                                              .text = on_package_text};
    enum err e = OK;
    if (zip_has(z, "META-INF/encryption.xml"))
        e = zip_xml(z, "META-INF/encryption.xml", &encryption, b, error);
    if (!e && b->has_drm) e = err_set(error, ERR_INVALID, "the book is locked by its seller (DRM)");
    if (!e) e = zip_xml(z, "META-INF/container.xml", &container, b, error);
    if (!e && !*b->rootfile)
        e = err_set(error, ERR_INVALID, "the book is damaged: it has no list of chapters");
    b->opf = b->rootfile;
    return e ? e : zip_xml(z, b->opf, &package, b, error);
}

enum err load_epub(struct load *l, struct error *error)
{
    struct epub b = {.out = l->out};
    struct zip *z;
    enum err e = zip_open(l, &z, error);
    if (e) return e;
    b.items = try_calloc(ITEMS_MAX, sizeof *b.items);
    b.spine = try_calloc(ITEMS_MAX, sizeof *b.spine);
    if (!b.items || !b.spine) e = err_set(error, ERR_NOMEM, "no memory");
    if (!e) e = zip_keep(z, is_text_member, error);
    if (!e) e = read_package(&b, z, error);
    if (!e) e = read_chapters(&b, l, z, error);
    free(b.items);
    free(b.spine);
    zip_close(z);
    return e;
}
