/* A form's file to the disk, its fields to memory; see upload.h. */
#include "api/upload.h"

#include <stdlib.h>
#include <string.h>

#include "api/multipart.h"
#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"

enum { FIELDS = 16 };

struct upload {
    struct files *files;
    struct multipart *form;
    struct spool *spool;
    char filename[MULTIPART_NAME_MAX];
    bool has_file, in_file;
    /* Names and values, one behind the other: name \0 value \0 */
    struct buf fields;
    int n_fields;
};

static enum err begin(void *ctx, const struct multipart_part *part, struct error *error)
{
    struct upload *u = ctx;
    u->in_file = part->filename != NULL;
    if (u->in_file) {
        if (u->has_file)
            return err_set(error, ERR_INVALID,
                           "the form holds more than one file; send each in a request of its own");
        u->has_file = true;
        str_copy(u->filename, sizeof u->filename, part->filename);
        return OK;
    }
    if (++u->n_fields > FIELDS)
        return err_set(error, ERR_INVALID, "the form has more than %d fields", FIELDS);
    buf_append(&u->fields, part->name, strlen(part->name) + 1);
    return OK;
}

static enum err data(void *ctx, const void *bytes, size_t len, struct error *error)
{
    struct upload *u = ctx;
    if (u->in_file) return spool_write(u->spool, bytes, len, error);
    if (memchr(bytes, '\0', len))
        return err_set(error, ERR_INVALID, "a field of the form holds a NUL byte");
    enum err e = buf_append(&u->fields, bytes, len);
    if (e)
        e = err_set(error, e, "the form's fields have more than %d bytes", (int)UPLOAD_FIELDS_MAX);
    return e;
}

static enum err end(void *ctx, struct error *error)
{
    struct upload *u = ctx;
    if (u->in_file || buf_putc(&u->fields, '\0') == OK) return OK;
    return err_set(error, u->fields.err, "the form's fields have more than %d bytes",
                   (int)UPLOAD_FIELDS_MAX);
}

static const struct multipart_ops ops = {begin, data, end};

enum err upload_open(struct files *files, struct store *store, const struct auth_identity *who,
                     const char *content_type, int64_t length, struct upload **out,
                     struct error *error)
{
    struct upload *u = xcalloc(1, sizeof *u);
    u->files = files;
    buf_init(&u->fields, UPLOAD_FIELDS_MAX);
    enum err e = multipart_new(content_type, &ops, u, &u->form, error);
    /* What the form has besides the file is not known yet, and not counted. */
    int64_t least = length > UPLOAD_FORM_MAX ? length - UPLOAD_FORM_MAX : 0;
    if (!e) e = files_may_store(files, store, who->user_id, least, error);
    if (!e) e = files_spool(files, length, &u->spool, error);
    if (e)
        upload_free(u);
    else
        *out = u;
    return e;
}

static enum err check_room(const char *dir, int64_t length, struct error *error)
{
    uint64_t room;
    char needs[32], has[32];
    enum err e = fs_mkdirs(dir, 0755, error);
    if (e || length <= 0 || fs_free_bytes(dir, &room, NULL) || room > (uint64_t)length) return e;
    return err_set(error, ERR_DISK_FULL, "the file has %s, and the disk has room for %s",
                   str_from_bytes(needs, sizeof needs, (uint64_t)length),
                   str_from_bytes(has, sizeof has, room));
}

enum err upload_open_blob(const char *dir, int64_t length, struct upload **out, struct error *error)
{
    struct upload *u = xcalloc(1, sizeof *u);
    buf_init(&u->fields, UPLOAD_FIELDS_MAX);
    enum err e = check_room(dir, length, error);
    if (!e) e = spool_new(dir, UPLOAD_BLOB_MAX, &u->spool, error);
    if (e)
        upload_free(u);
    else
        *out = u;
    return e;
}

enum err upload_feed(struct upload *u, const void *bytes, size_t len, struct error *error)
{
    if (!u->form) return spool_write(u->spool, bytes, len, error);
    return multipart_feed(u->form, bytes, len, error);
}

enum err upload_finish(struct upload *u, struct error *error)
{
    if (!u->form) return spool_finish(u->spool, error);
    enum err e = multipart_finish(u->form, error);
    if (!e && !u->has_file)
        e = err_set_param(error, ERR_INVALID, "file",
                          "the form has no file; send it in the field 'file'");
    if (!e && !utf8_valid(buf_str(&u->fields), u->fields.len))
        e = err_set(error, ERR_INVALID, "a field of the form is not UTF-8 text");
    if (!e) e = spool_finish(u->spool, error);
    return e;
}

void upload_free(struct upload *u)
{
    if (!u) return;
    multipart_free(u->form);
    spool_free(u->spool);
    buf_free(&u->fields);
    free(u);
}

struct spool *upload_spool(struct upload *u)
{
    return u->spool;
}

const char *upload_filename(const struct upload *u)
{
    return u->filename;
}

const char *upload_field(const struct upload *u, const char *name)
{
    const char *at = buf_str(&u->fields), *stop = at + u->fields.len;
    while (at < stop) {
        const char *value = at + strlen(at) + 1;
        if (value >= stop) break;
        if (str_eq(at, name)) return value;
        at = value + strlen(value) + 1;
    }
    return NULL;
}
