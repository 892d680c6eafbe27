/* Members of a ZIP archive; see zip.h. */
#include "extract/zip.h"

#include <archive.h>
#include <archive_entry.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"

enum { BLOCK = 64 << 10, PIECE = 64 << 10 };

struct member {
    char *name;
    char *data; /* kept in memory, or NULL */
    size_t len;
};

struct zip {
    struct load *load;
    struct member *members;
    size_t n, cap;
    uint64_t left; /* bytes that may still be unpacked */
};

/* ---- libarchive ---------------------------------------------------------------------------- */

static enum err damaged(struct archive *a, struct error *error)
{
    if (a && archive_errno(a) == ENOMEM) return err_set(error, ERR_NOMEM, "no memory");
    return err_set(error, ERR_INVALID, "its ZIP container is damaged or cut off");
}

/* At its beginning, by its directory. NULL: no memory, or damaged. */
static struct archive *begin(struct zip *z, struct error *error)
{
    struct archive *a = archive_read_new();
    if (!a) {
        (void)err_set(error, ERR_NOMEM, "no memory");
        return NULL;
    }
    if (lseek(z->load->fd, 0, SEEK_SET) == 0 &&
        archive_read_support_format_zip_seekable(a) == ARCHIVE_OK &&
        archive_read_open_fd(a, z->load->fd, BLOCK) == ARCHIVE_OK)
        return a;
    (void)damaged(a, error);
    archive_read_free(a);
    return NULL;
}

/* The next member. False at the end, or with an error. */
static bool next(struct archive *a, struct archive_entry **entry, enum err *e, struct error *error)
{
    int rc = archive_read_next_header(a, entry);
    *e = rc == ARCHIVE_OK || rc == ARCHIVE_WARN || rc == ARCHIVE_EOF ? OK : damaged(a, error);
    return rc == ARCHIVE_OK || rc == ARCHIVE_WARN;
}

static const char *name_of(struct archive_entry *entry)
{
    const char *name = archive_entry_pathname_utf8(entry);
    return name ? name : archive_entry_pathname(entry);
}

/* ---- what honest documents don't have ------------------------------------------------------ */

static bool leads_outside(const char *name)
{
    if (name[0] == '/' || name[0] == '\\' || (isalpha((unsigned char)name[0]) && name[1] == ':'))
        return true;
    for (const char *p = name; *p;) {
        size_t len = strcspn(p, "/\\");
        if (len == 2 && p[0] == '.' && p[1] == '.') return true;
        p += len + (p[len] != '\0');
    }
    return false;
}

static enum err check_member(struct archive_entry *entry, const char *name, struct error *error)
{
    if (!name || !*name || strlen(name) >= ZIP_NAME_MAX)
        return err_set(error, ERR_INVALID, "a member of its ZIP container has no usable name");
    if (archive_entry_is_encrypted(entry))
        return err_set(error, ERR_INVALID,
                       "the document is protected by a password; save a copy without one");
    if (leads_outside(name))
        return err_set(error, ERR_INVALID,
                       "a member of its ZIP container has a name that leads outside of it (%.80s): "
                       "the file is made to do harm",
                       name);
    mode_t type = archive_entry_filetype(entry);
    if (type != AE_IFREG && type != AE_IFDIR && type != 0)
        return err_set(error, ERR_INVALID,
                       "its ZIP container holds a link or a device (%.80s): the file is made to do "
                       "harm",
                       name);
    return OK;
}

static enum err add(struct zip *z, const char *name, struct error *error)
{
    if (z->n == ZIP_MEMBERS_MAX)
        return err_set(error, ERR_TOO_LARGE, "its ZIP container has more than %d members",
                       ZIP_MEMBERS_MAX);
    if (z->n == z->cap) {
        size_t cap = z->cap ? z->cap * 2 : 64;
        struct member *members = try_realloc(z->members, cap, sizeof *members);
        if (!members) return err_set(error, ERR_NOMEM, "no memory");
        z->members = members;
        z->cap = cap;
    }
    z->members[z->n++] = (struct member){.name = xstrdup(name)};
    return OK;
}

enum err zip_open(struct load *l, struct zip **out, struct error *error)
{
    struct zip *z = xcalloc(1, sizeof *z);
    struct archive_entry *entry;
    enum err e = OK;
    z->load = l;
    z->left = l->output * EXTRACT_UNPACK_FACTOR;
    struct archive *a = begin(z, error);
    if (!a) e = error->code;
    while (!e && next(a, &entry, &e, error)) {
        const char *name = name_of(entry);
        e = check_member(entry, name, error);
        if (!e) e = add(z, name, error);
    }
    if (a) archive_read_free(a);
    if (e) {
        zip_close(z);
        return e;
    }
    *out = z;
    return OK;
}

void zip_close(struct zip *z)
{
    if (!z) return;
    for (size_t i = 0; i < z->n; i++) {
        free(z->members[i].name);
        free(z->members[i].data);
    }
    free(z->members);
    free(z);
}

/* The first of that name. */
static struct member *find(const struct zip *z, const char *name)
{
    for (size_t i = 0; i < z->n; i++)
        if (str_eq(z->members[i].name, name)) return &z->members[i];
    return NULL;
}

bool zip_has(const struct zip *z, const char *name)
{
    return find(z, name) != NULL;
}

/* ---- unpacking ----------------------------------------------------------------------------- */

static enum err too_much(const struct zip *z, struct error *error)
{
    char size[32];
    return err_set(error, ERR_TOO_LARGE,
                   "it unpacks to more than %s, eight times the longest text "
                   "(HEARTH_EXTRACT_TEXT): it is damaged, or a bomb",
                   str_from_bytes(size, sizeof size, z->load->output * EXTRACT_UNPACK_FACTOR));
}

static enum err unpack(struct zip *z, struct archive *a, struct archive_entry *entry,
                       bool (*take)(void *ctx, const char *s, size_t len), void *ctx,
                       struct error *error)
{
    char piece[PIECE];
    /* Who declares too much is believed, who declares little is watched. */
    if (archive_entry_size_is_set(entry) && archive_entry_size(entry) > 0 &&
        (uint64_t)archive_entry_size(entry) > z->left)
        return too_much(z, error);
    for (;;) {
        la_ssize_t n = archive_read_data(a, piece, sizeof piece);
        if (n < 0) return damaged(a, error);
        if (n == 0) return OK;
        if ((uint64_t)n > z->left) return too_much(z, error);
        z->left -= (uint64_t)n;
        if (!take(ctx, piece, (size_t)n)) return OK;
    }
}

static bool append(void *ctx, const char *s, size_t len)
{
    return buf_append(ctx, s, len) == OK;
}

static enum err keep(struct zip *z, struct archive *a, struct archive_entry *entry,
                     struct member *m, struct error *error)
{
    struct buf data;
    buf_init(&data, SIZE_MAX / 4);
    enum err e = unpack(z, a, entry, append, &data, error);
    if (!e && data.err) e = err_set(error, ERR_NOMEM, "no memory");
    if (!e) {
        m->len = data.len;
        m->data = buf_take(&data);
    }
    buf_free(&data);
    return e;
}

enum err zip_keep(struct zip *z, bool (*want)(const char *name), struct error *error)
{
    struct archive_entry *entry;
    enum err e = OK;
    struct archive *a = begin(z, error);
    if (!a) return error->code;
    for (size_t i = 0; i < z->n && !e && next(a, &entry, &e, error); i++) {
        struct member *m = &z->members[i];
        if (m->data || !str_eq(m->name, name_of(entry)) || !want(m->name)) continue;
        e = keep(z, a, entry, m, error);
    }
    archive_read_free(a);
    return e;
}

static enum err missing(const char *name, struct error *error)
{
    return err_set(error, ERR_INVALID, "it is damaged: %.100s is not in it", name);
}

enum err zip_stream(struct zip *z, const char *name,
                    bool (*take)(void *ctx, const char *s, size_t len), void *ctx,
                    struct error *error)
{
    struct archive_entry *entry;
    enum err e = OK;
    const struct member *m = find(z, name);
    if (!m) return missing(name, error);
    if (m->data) {
        (void)take(ctx, m->data, m->len);
        return OK;
    }
    struct archive *a = begin(z, error);
    if (!a) return error->code;
    bool found = false;
    while (!found && next(a, &entry, &e, error)) {
        const char *here = name_of(entry);
        found = here && str_eq(here, name);
    }
    if (found) e = unpack(z, a, entry, take, ctx, error);
    archive_read_free(a);
    return found || e ? e : missing(name, error);
}

/* ---- XML ----------------------------------------------------------------------------------- */

struct feeding {
    struct xml *xml;
    const struct prose *out;
    enum err err;
    struct error *error;
};

static bool feed(void *ctx, const char *s, size_t len)
{
    struct feeding *f = ctx;
    f->err = xml_feed(f->xml, s, len, f->error);
    return !f->err && !prose_err(f->out);
}

enum err zip_xml(struct zip *z, const char *name, const struct xml_events *events, void *ctx,
                 struct error *error)
{
    struct feeding f = {.xml = xml_new(events, ctx), .out = z->load->out, .error = error};
    if (!f.xml) return err_set(error, ERR_NOMEM, "no memory");
    enum err e = zip_stream(z, name, feed, &f, error);
    if (!e) e = f.err;
    if (!e && !prose_err(f.out)) e = xml_end(f.xml, error);
    xml_free(f.xml);
    return e;
}

/* ---- names --------------------------------------------------------------------------------- */

static int hex(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The target without "#...", decoded. */
static bool plain_target(const char *s, bool escaped, char *dst, size_t size)
{
    size_t n = 0;
    for (; *s && *s != '#'; s++) {
        char c = *s;
        if (n + 1 >= size) return false;
        if (escaped && c == '%' && hex(s[1]) >= 0 && hex(s[2]) >= 0) {
            c = (char)(hex(s[1]) << 4 | hex(s[2]));
            s += 2;
        }
        if (!c) return false;
        dst[n++] = c == '\\' ? '/' : c;
    }
    dst[n] = '\0';
    return n > 0;
}

bool zip_resolve(const char *from, const char *target, bool escaped, char *dst, size_t size)
{
    char plain[ZIP_NAME_MAX];
    size_t n = 0;
    if (strstr(target, "://") || !plain_target(target, escaped, plain, sizeof plain)) return false;
    const char *slash = strrchr(from, '/');
    if (plain[0] != '/' && slash) {
        n = (size_t)(slash - from) + 1;
        if (n >= size) return false;
        memcpy(dst, from, n);
    }
    for (const char *p = plain; *p;) {
        size_t len = strcspn(p, "/");
        if (len == 2 && p[0] == '.' && p[1] == '.') {
            if (n == 0) return false;
            for (n--; n > 0 && dst[n - 1] != '/';) n--;
        } else if (len && !(len == 1 && p[0] == '.')) {
            if (n + len + 2 > size) return false;
            memcpy(dst + n, p, len);
            n += len;
            if (p[len]) dst[n++] = '/';
        }
        p += len + (p[len] != '\0');
    }
    dst[n] = '\0';
    return n > 0;
}

/* ---- relationships ------------------------------------------------------------------------- */

enum { RELS_MAX = 10000 };

struct rels_reading {
    const char *name;
    struct rels *rels;
    size_t cap;
};

static void on_rel(void *ctx, const struct xml_element *e)
{
    struct rels_reading *r = ctx;
    char target[256], kind[160];
    struct rel rel;
    if (!xml_is(e, NS_REL, "Relationship") || xml_attr_is(e, NS_ANY, "TargetMode", "External"))
        return;
    if (!xml_attr(e, NS_ANY, "Id", rel.id, sizeof rel.id) ||
        !xml_attr(e, NS_ANY, "Target", target, sizeof target) ||
        !zip_resolve(r->name, target, true, rel.target, sizeof rel.target))
        return;
    (void)xml_attr(e, NS_ANY, "Type", kind, sizeof kind);
    const char *slash = strrchr(kind, '/');
    str_copy(rel.kind, sizeof rel.kind, slash ? slash + 1 : kind);
    if (r->rels->n == RELS_MAX) return;
    if (r->rels->n == r->cap) {
        size_t cap = r->cap ? r->cap * 2 : 16;
        struct rel *items = try_realloc(r->rels->items, cap, sizeof *items);
        if (!items) return;
        r->rels->items = items;
        r->cap = cap;
    }
    r->rels->items[r->rels->n++] = rel;
}

enum err rels_read(struct zip *z, const char *name, struct rels *out, struct error *error)
{
    static const struct xml_events events = {.open = on_rel};
    struct rels_reading r = {.name = name, .rels = out};
    char member[ZIP_NAME_MAX];
    const char *slash = strrchr(name, '/');
    int dir = slash ? (int)(slash - name) + 1 : 0;
    *out = (struct rels){0};
    if (!str_printf(member, sizeof member, "%.*s_rels/%s.rels", dir, name, name + dir) ||
        !zip_has(z, member))
        return OK;
    enum err e = zip_xml(z, member, &events, &r, error);
    if (e) rels_free(out);
    return e;
}

void rels_free(struct rels *r)
{
    free(r->items);
    *r = (struct rels){0};
}

const char *rels_target(const struct rels *r, const char *id)
{
    for (size_t i = 0; i < r->n; i++)
        if (str_eq(r->items[i].id, id)) return r->items[i].target;
    return NULL;
}

const char *rels_of_kind(const struct rels *r, const char *kind)
{
    for (size_t i = 0; i < r->n; i++)
        if (str_eq(r->items[i].kind, kind)) return r->items[i].target;
    return NULL;
}

/* ---- title --------------------------------------------------------------------------------- */

struct title_reading {
    bool inside;
    char text[EXTRACT_TITLE_MAX];
    size_t len;
};

static void on_title_open(void *ctx, const struct xml_element *e)
{
    struct title_reading *t = ctx;
    if (xml_is(e, NS_DC, "title") && !t->len) t->inside = true;
}

static void on_title_close(void *ctx, const struct xml_element *e)
{
    struct title_reading *t = ctx;
    if (xml_is(e, NS_DC, "title")) t->inside = false;
}

static void on_title_text(void *ctx, const char *s, size_t len)
{
    struct title_reading *t = ctx;
    if (!t->inside) return;
    if (len > sizeof t->text - t->len) len = sizeof t->text - t->len;
    memcpy(t->text + t->len, s, len);
    t->len += len;
}

void zip_title(struct zip *z, const char *name, struct prose *out)
{
    static const struct xml_events events = {
        .open = on_title_open, .close = on_title_close, .text = on_title_text};
    struct title_reading t = {0};
    struct error ignored;
    if (zip_has(z, name) && zip_xml(z, name, &events, &t, &ignored) == OK)
        prose_title(out, t.text, t.len);
}
