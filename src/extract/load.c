/* Which loader reads a document, what is said of those that none reads, and the bytes themselves.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "extract/charset.h"
#include "extract/extract_int.h"
#include "extract/types.h"

static const load_fn loaders[] = {
#define X(id, media, what, loader) load_##loader,
    EXTRACT_TYPES(X)
#undef X
        load_source,
};

enum err load_too_long(const struct load *l, struct error *error)
{
    char size[32];
    return err_set(error, ERR_TOO_LARGE,
                   "its text is longer than %s, the most that is taken of one file "
                   "(HEARTH_EXTRACT_TEXT)",
                   str_from_bytes(size, sizeof size, l->output));
}

enum err load_no_memory(const struct load *l, struct error *error)
{
    char size[32];
    return err_set(error, ERR_TOO_LARGE,
                   "reading it takes more memory than the %s that one file may use "
                   "(HEARTH_EXTRACT_MEMORY)",
                   str_from_bytes(size, sizeof size, l->memory));
}

/* ---- bytes --------------------------------------------------------------------------------- */

enum err load_bytes(struct load *l, struct buf *out, struct error *error)
{
    enum { PIECE = 64 << 10 };
    buf_init(out, l->output);
    if (l->size > l->output) return load_too_long(l, error);
    (void)buf_reserve(out, (size_t)l->size + PIECE < l->output ? (size_t)l->size + PIECE : 0);
    char piece[PIECE];
    for (off_t at = 0; !out->err;) {
        ssize_t n = pread(l->fd, piece, sizeof piece, at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return err_set_errno(error, errno, "can't read the file");
        if (n == 0) return OK;
        buf_append(out, piece, (size_t)n);
        at += n;
    }
    return out->err == ERR_NOMEM ? load_no_memory(l, error) : load_too_long(l, error);
}

enum err load_text(struct load *l, struct buf *out, struct error *error)
{
    struct buf bytes;
    buf_init(out, l->output);
    enum err e = load_bytes(l, &bytes, error);
    if (!e && charset_guess(buf_str(&bytes), bytes.len, out))
        e = out->err == ERR_NOMEM ? load_no_memory(l, error) : load_too_long(l, error);
    buf_free(&bytes);
    return e;
}

/* ---- choosing ------------------------------------------------------------------------------ */

/* Old Office files are OLE containers, and so are new ones that are encrypted ([MS-OFFCRYPTO] 2.3):
 * then there is a stream of this name. */
static bool is_encrypted_office(struct load *l)
{
    static const char name[] = "E\0n\0c\0r\0y\0p\0t\0e\0d\0P\0a\0c\0k\0a\0g\0e";
    struct buf bytes;
    struct error ignored;
    bool found = load_bytes(l, &bytes, &ignored) == OK &&
                 memmem(buf_str(&bytes), bytes.len, name, sizeof name - 1);
    buf_free(&bytes);
    return found;
}

static enum err refuse(struct load *l, struct error *error)
{
    if (str_eq(l->type, TYPE_EMPTY)) return err_set(error, ERR_INVALID, "the file is empty");
    if (str_eq(l->type, TYPE_OLE)) {
        if (is_encrypted_office(l))
            return err_set(error, ERR_INVALID,
                           "the document is protected by a password; save a copy without one");
        return err_set(error, ERR_MEDIA_TYPE,
                       "it is an Office file of the old binary kind (.doc, .xls, .ppt, .msg); save "
                       "it as .docx, .xlsx, .pptx or .eml");
    }
    if (str_eq(l->type, "application/zip"))
        return err_set(error, ERR_MEDIA_TYPE,
                       "it is a ZIP archive and no document; unpack it and add the files in it");
    return err_set(error, ERR_MEDIA_TYPE, "it is %s, which can't be read as a document",
                   type_what(l->type));
}

enum err load_document(struct load *l, struct error *error)
{
    enum type_id id = type_of_media(l->type);
    if (id == TYPE_UNKNOWN) return refuse(l, error);
    enum err e = loaders[id](l, error);
    enum err written = prose_err(l->out);
    if (written == ERR_TOO_LARGE) return load_too_long(l, error);
    if (written || e == ERR_NOMEM) return load_no_memory(l, error);
    if (!e && prose_is_empty(l->out)) return err_set(error, ERR_INVALID, "there is no text in it");
    return e;
}
