/* E-mails: subject, who, when, the text, the names of what is attached. Of alternatives the plain
 * one is taken, unless it is empty; mails in mails are read, too. */
#include <string.h>

#include "base/str.h"
#include "extract/charset.h"
#include "extract/extract_int.h"
#include "extract/html.h"
#include "extract/mime.h"

enum { DEPTH_MAX = 16, PARTS_MAX = 1000, FIELD_MAX = 2048 };

struct eml {
    struct load *load;
    struct prose *out;
    struct error *error;
    int parts, attachments;
};

struct part {
    struct mime_span header, body;
    char field[FIELD_MAX]; /* Content-Type */
    char type[128], encoding[64];
    bool attached;
};

static enum err walk(struct eml *m, struct mime_span whole, int depth);

static void open_part(struct mime_span whole, struct part *p)
{
    char text[FIELD_MAX];
    mime_cut(whole, &p->header, &p->body);
    if (!mime_field(p->header, "Content-Type", p->field, sizeof p->field))
        str_copy(p->field, sizeof p->field, "text/plain");
    mime_value(p->field, p->type, sizeof p->type);
    (void)mime_field(p->header, "Content-Transfer-Encoding", text, sizeof text);
    mime_value(text, p->encoding, sizeof p->encoding);
    (void)mime_field(p->header, "Content-Disposition", text, sizeof text);
    p->attached = strncasecmp(text, "attachment", 10) == 0;
}

/* ---- text ---------------------------------------------------------------------------------- */

static enum err out_of(struct eml *m, const struct buf *b)
{
    return b->err == ERR_NOMEM ? load_no_memory(m->load, m->error)
                               : load_too_long(m->load, m->error);
}

/* The part's text as UTF-8. */
static enum err decode_text(struct eml *m, const struct part *p, struct buf *text)
{
    char charset[64];
    struct buf bytes;
    buf_init(text, (size_t)m->load->output);
    buf_init(&bytes, (size_t)m->load->output);
    (void)mime_param(p->field, "charset", charset, sizeof charset);
    enum err e = OK;
    if (mime_decode(p->encoding, p->body, &bytes))
        e = out_of(m, &bytes);
    else if (!*charset && str_eq(p->type, "text/html"))
        html_decode(buf_str(&bytes), bytes.len, text);
    else
        charset_named(charset, buf_str(&bytes), bytes.len, text);
    if (!e && text->err) e = out_of(m, text);
    buf_free(&bytes);
    return e;
}

static enum err write_text(struct eml *m, const struct part *p)
{
    struct buf text;
    enum err e = decode_text(m, p, &text);
    prose_block(m->out);
    if (!e && str_eq(p->type, "text/html"))
        e = html_write(buf_str(&text), text.len, false, m->out, m->error);
    else if (!e)
        prose_plain(m->out, buf_str(&text), text.len);
    prose_block(m->out);
    buf_free(&text);
    return e;
}

static bool is_blank(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!strchr(" \t\r\n", s[i])) return false;
    return true;
}

/* ---- parts --------------------------------------------------------------------------------- */

static enum err write_attachment(struct eml *m, const struct part *p)
{
    char name[256], field[FIELD_MAX], size[32];
    struct buf bytes;
    (void)mime_field(p->header, "Content-Disposition", field, sizeof field);
    if (!mime_param(field, "filename", name, sizeof name) &&
        !mime_param(p->field, "name", name, sizeof name))
        str_copy(name, sizeof name, "without a name");
    buf_init(&bytes, (size_t)m->load->output * EXTRACT_UNPACK_FACTOR);
    size_t len = mime_decode(p->encoding, p->body, &bytes) ? p->body.len : bytes.len;
    buf_free(&bytes);
    if (m->attachments++ == 0)
        prose_block(m->out);
    else
        prose_break(m->out);
    prose_puts(m->out, "Attachment: ");
    prose_puts(m->out, name);
    prose_puts(m->out, " (");
    prose_puts(m->out, p->type);
    prose_puts(m->out, ", ");
    prose_puts(m->out, str_from_bytes(size, sizeof size, len));
    prose_puts(m->out, ")");
    return OK;
}

/* Of several versions of one text: the plain one if it says anything, else the last, which is the
 * richest (RFC 2046, 5.1.4). */
static enum err write_alternative(struct eml *m, const struct part *p, const char *boundary,
                                  int depth)
{
    struct mime_span here, chosen = {NULL, 0};
    size_t at = 0;
    bool plain = false;
    while (!plain && mime_next_part(p->body, boundary, &at, &here)) {
        struct part one;
        struct buf text;
        if (++m->parts > PARTS_MAX) break;
        open_part(here, &one);
        chosen = here;
        if (!str_eq(one.type, "text/plain")) continue;
        enum err e = decode_text(m, &one, &text);
        plain = !e && !is_blank(buf_str(&text), text.len);
        buf_free(&text);
        if (e) return e;
    }
    return chosen.s ? walk(m, chosen, depth + 1) : OK;
}

static enum err write_parts(struct eml *m, const struct part *p, int depth)
{
    char boundary[256];
    struct mime_span here;
    size_t at = 0;
    enum err e = OK;
    if (!mime_param(p->field, "boundary", boundary, sizeof boundary)) return write_text(m, p);
    if (str_eq(p->type, "multipart/alternative")) return write_alternative(m, p, boundary, depth);
    while (!e && !prose_err(m->out) && mime_next_part(p->body, boundary, &at, &here))
        e = walk(m, here, depth + 1);
    return e;
}

static void write_header(struct eml *m, struct mime_span header, bool outermost)
{
    static const char *const fields[] = {"From", "To", "Cc", "Date"};
    char text[FIELD_MAX];
    prose_block(m->out);
    if (mime_words(header, "Subject", text, sizeof text) && *text) {
        prose_heading(m->out, outermost ? 1 : 2);
        prose_puts(m->out, text);
        if (outermost) prose_title(m->out, text, strlen(text));
    }
    prose_block(m->out);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        if (!mime_words(header, fields[i], text, sizeof text) || !*text) continue;
        prose_break(m->out);
        prose_puts(m->out, fields[i]);
        prose_puts(m->out, ": ");
        prose_puts(m->out, text);
    }
    prose_block(m->out);
}

static enum err write_mail(struct eml *m, struct mime_span whole, int depth)
{
    struct mime_span header, body;
    mime_cut(whole, &header, &body);
    write_header(m, header, depth == 0);
    return walk(m, whole, depth + 1);
}

static enum err walk(struct eml *m, struct mime_span whole, int depth)
{
    struct part p;
    if (depth > DEPTH_MAX)
        return err_set(m->error, ERR_INVALID, "its parts are nested deeper than %d levels",
                       DEPTH_MAX);
    if (++m->parts > PARTS_MAX)
        return err_set(m->error, ERR_TOO_LARGE, "it has more than %d parts", PARTS_MAX);
    open_part(whole, &p);
    if (str_eq(p.type, "multipart/encrypted") || str_eq(p.type, "application/pkcs7-mime") ||
        str_eq(p.type, "application/x-pkcs7-mime"))
        return err_set(m->error, ERR_INVALID, "the mail is encrypted");
    if (str_starts(p.type, "multipart/")) return write_parts(m, &p, depth);
    if (str_eq(p.type, "message/rfc822") && !p.attached) return write_mail(m, p.body, depth + 1);
    if (!p.attached && (str_eq(p.type, "text/plain") || str_eq(p.type, "text/html")))
        return write_text(m, &p);
    return write_attachment(m, &p);
}

enum err load_eml(struct load *l, struct error *error)
{
    struct buf bytes;
    enum err e = load_bytes(l, &bytes, error);
    struct eml m = {.load = l, .out = l->out, .error = error};
    struct mime_span whole = {buf_str(&bytes), bytes.len};
    size_t n = whole.len && str_starts(whole.s, "From ") ? strcspn(whole.s, "\n") : 0;
    if (n && n < whole.len)
        whole = (struct mime_span){whole.s + n + 1, whole.len - n - 1}; /* mbox */
    if (!e) e = write_mail(&m, whole, 0);
    buf_free(&bytes);
    return e;
}
