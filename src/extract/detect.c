/* What a file is, by its content: magic numbers first, then what a ZIP holds, then kinds of text.
 * The name decides only among kinds of text, and not where a text says itself what it is. Runs in
 * the hub, so it reads little and parses nothing but lengths in bounds. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "extract/extract.h"
#include "extract/extract_int.h"
#include "extract/types.h"
#include "extract/zipdir.h"

enum {
    HEAD_MAX = 64 << 10,
    SNIFF_MAX = 4096,
    PDF_MAGIC_WITHIN = 1024, /* readers look that far: ISO 32000-1, annex H, note 13 */
    ZIP_TAIL = (64 << 10) + 64,
    HEADER_LINES = 40,
};

struct head {
    int fd;
    uint64_t size;
    size_t len;
    unsigned char *bytes;
};

/* Up to `len` bytes at `offset`; how many there were. */
static size_t read_at(int fd, uint64_t offset, void *dst, size_t len)
{
    size_t n = 0;
    while (n < len) {
        ssize_t got = pread(fd, (char *)dst + n, len - n, (off_t)(offset + n));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        n += (size_t)got;
    }
    return n;
}

/* ---- ZIP ----------------------------------------------------------------------------------- */

static const struct {
    const char *member, *media;
} zip_kinds[] = {
    {"word/document.xml", OOXML "wordprocessingml.document"},
    {"ppt/presentation.xml", OOXML "presentationml.presentation"},
    {"xl/workbook.xml", OOXML "spreadsheetml.sheet"},
    {"META-INF/container.xml", "application/epub+zip"},
    {"content.xml", ODF "text"},
};

static const char *kind_of_member(const char *name, size_t len)
{
    for (size_t i = 0; i < sizeof zip_kinds / sizeof *zip_kinds; i++)
        if (len == strlen(zip_kinds[i].member) && memcmp(name, zip_kinds[i].member, len) == 0)
            return zip_kinds[i].media;
    return NULL;
}

static bool on_member(void *ctx, const char *name, size_t len)
{
    const char **found = ctx;
    *found = kind_of_member(name, len);
    return !*found;
}

/* EPUB and OpenDocument say it in their first member, which is not compressed. */
static const char *kind_of_mimetype(const struct head *h)
{
    enum { NAME = 30, NAME_LEN = 8 };
    static const enum type_id kinds[] = {TYPE_EPUB, TYPE_ODS, TYPE_ODP, TYPE_ODT};
    if (h->len < NAME + NAME_LEN + 4 || memcmp(h->bytes + NAME, "mimetype", NAME_LEN) != 0)
        return NULL;
    size_t at = NAME + NAME_LEN + h->bytes[28] + ((size_t)h->bytes[29] << 8);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const char *media = type_media(kinds[i]); /* templates have an ending more */
        if (at + strlen(media) <= h->len && memcmp(h->bytes + at, media, strlen(media)) == 0)
            return media;
    }
    return NULL;
}

/* By names that stand anywhere in the beginning: for archives that have lost their end, so that
 * it is said what is damaged. */
static const char *kind_of_torn(const struct head *h)
{
    for (size_t i = 0; i < sizeof zip_kinds / sizeof *zip_kinds; i++)
        if (memmem(h->bytes, h->len, zip_kinds[i].member, strlen(zip_kinds[i].member)))
            return zip_kinds[i].media;
    /* Of Office's three, one will do to say that it is damaged. */
    bool office = memmem(h->bytes, h->len, "[Content_Types].xml", 19) != NULL;
    return office ? OOXML "wordprocessingml.document" : "application/zip";
}

static const char *zip_kind(const struct head *h)
{
    const char *media = kind_of_mimetype(h);
    if (media) return media;
    unsigned char *bytes = try_malloc(ZIPDIR_READ_MAX);
    if (!bytes) return kind_of_torn(h);
    size_t want = h->size < ZIP_TAIL ? (size_t)h->size : ZIP_TAIL;
    size_t len = read_at(h->fd, h->size - want, bytes, want);
    uint64_t offset, dir_len, n;
    if (zipdir_find(bytes, len, h->size, &offset, &dir_len, &n)) {
        if (dir_len > ZIPDIR_READ_MAX) dir_len = ZIPDIR_READ_MAX;
        len = read_at(h->fd, offset, bytes, (size_t)dir_len);
        (void)zipdir_walk(bytes, len, n, on_member, &media);
        if (!media) media = "application/zip";
    }
    free(bytes);
    return media ? media : kind_of_torn(h);
}

/* ---- text or not --------------------------------------------------------------------------- */

/* UTF-16: by its mark, or because every other byte is 0 and no other one. 'l', 'b' or 0. */
static char utf16_order(const unsigned char *p, size_t len)
{
    if (len >= 2 && p[0] == 0xFF && p[1] == 0xFE) return 'l';
    if (len >= 2 && p[0] == 0xFE && p[1] == 0xFF) return 'b';
    size_t zeros[2] = {0, 0}, pairs = len / 2;
    for (size_t i = 0; i < pairs * 2; i++)
        if (!p[i]) zeros[i & 1]++;
    if (pairs < 4) return 0;
    if (!zeros[0] && zeros[1] > pairs * 3 / 10) return 'l';
    if (!zeros[1] && zeros[0] > pairs * 3 / 10) return 'b';
    return 0;
}

static size_t count_controls(const unsigned char *p, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++)
        if ((p[i] < 0x20 && !strchr("\t\n\r\f\b\x1B", p[i])) || p[i] == 0x7F || !p[i]) n++;
    return n;
}

static bool is_text(const struct head *h)
{
    if (utf16_order(h->bytes, h->len)) return true;
    if (memchr(h->bytes, 0, h->len)) return false;
    size_t controls = count_controls(h->bytes, h->len);
    size_t whole = h->len - utf8_incomplete_tail((const char *)h->bytes, h->len);
    if (utf8_valid((const char *)h->bytes, whole)) return controls <= 1 + h->len / 100;
    return controls == 0; /* an old 8-bit or East Asian charset */
}

/* ---- kinds of text ------------------------------------------------------------------------- */

/* The beginning as ASCII: without marks, blanks in front and what is beyond ASCII. */
static void sniff(const struct head *h, char dst[SNIFF_MAX])
{
    char order = utf16_order(h->bytes, h->len);
    size_t step = order ? 2 : 1, n = 0;
    for (size_t i = order == 'b' ? 1 : 0; i < h->len && n < SNIFF_MAX - 1; i += step) {
        unsigned char c = h->bytes[i];
        if (!c || c >= 0x80 || (n == 0 && isspace(c))) continue;
        dst[n++] = (char)c;
    }
    dst[n] = '\0';
}

static bool begins(const char *text, const char *with)
{
    return strncasecmp(text, with, strlen(with)) == 0;
}

static const char *kind_of_markup(const char *text)
{
    if (*text != '<') return NULL;
    char near[1025];
    str_copy(near, sizeof near, text);
    bool html = strcasestr(near, "<html") || strcasestr(near, "<!doctype html");
    if (begins(text, "<?xml")) return html ? "text/html" : "application/xml";
    if (begins(text, "<!doctype html") || begins(text, "<html") || begins(text, "<head") ||
        begins(text, "<body"))
        return "text/html";
    return begins(text, "<!--") && html ? "text/html" : NULL;
}

/* Whether it begins with the header of a mail: only fields, two or more of those that each has. */
static bool is_mail(const char *text)
{
    static const char *const fields[] = {
        "From:",        "To:",         "Subject:",      "Date:",        "Received:",
        "Return-Path:", "Message-ID:", "Delivered-To:", "MIME-Version:"};
    int known = 0, lines = 0;
    for (const char *line = text; *line && *line != '\n' && *line != '\r' && lines < HEADER_LINES;
         lines++) {
        size_t len = strcspn(line, "\n");
        size_t name =
            strspn(line, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-");
        bool more = *line == ' ' || *line == '\t';
        if (!more && !(name && line[name] == ':') && !(lines == 0 && begins(line, "From "))) break;
        for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
            known += begins(line, fields[i]);
        line += len + (line[len] == '\n');
    }
    return known >= 3;
}

static bool is_json(const struct head *h, const char *text)
{
    char last = 0, tail[64];
    size_t want = h->size < sizeof tail ? (size_t)h->size : sizeof tail;
    size_t len = read_at(h->fd, h->size - want, tail, want);
    for (size_t i = 0; i < len; i++)
        if (!isspace((unsigned char)tail[i]) && tail[i]) last = tail[i];
    if (*text == '{') return last == '}' && strspn(text + 1, " \t\r\n\"}") > 0;
    return *text == '[' && last == ']' && strspn(text + 1, " \t\r\n\"{[-0123456789tfn]") > 0;
}

static const char *text_kind(const struct head *h, const char *name)
{
    char text[SNIFF_MAX];
    sniff(h, text);
    const char *hint = type_of_name(name), *media;
    if (hint && str_starts(hint, TYPE_SOURCE_PREFIX)) return hint;
    if (begins(text, "#!")) {
        media = type_of_program(text, strcspn(text, "\n"));
        if (media) return media;
    }
    media = kind_of_markup(text);
    /* XML that calls itself HTML or a mail is one; Markdown begins with tags, too. */
    if (media && !(str_eq(media, "application/xml") && hint)) return media;
    if (is_mail(text)) return "message/rfc822";
    if (hint) return hint;
    return is_json(h, text) ? "application/json" : "text/plain";
}

/* ---- all ----------------------------------------------------------------------------------- */

static const char *kind(const struct head *h, const char *name)
{
    if (h->size == 0 || h->len == 0) return TYPE_EMPTY;
    if (h->len >= 5 && memcmp(h->bytes, "%PDF-", 5) == 0) return "application/pdf";
    if (h->len >= 4 && (memcmp(h->bytes, "PK\3\4", 4) == 0 || memcmp(h->bytes, "PK\5\6", 4) == 0))
        return zip_kind(h);
    const char *media = type_of_magic(h->bytes, h->len);
    if (media) return media;
    if (is_text(h)) return text_kind(h, name);
    size_t near = h->len < PDF_MAGIC_WITHIN ? h->len : PDF_MAGIC_WITHIN;
    return memmem(h->bytes, near, "%PDF-", 5) ? "application/pdf" : TYPE_OCTETS;
}

enum err extract_detect_fd(int fd, const char *name, char type[EXTRACT_TYPE_MAX],
                           struct error *error)
{
    struct stat st;
    if (fstat(fd, &st) != 0) return err_set_errno(error, errno, "can't look at the file");
    if (!S_ISREG(st.st_mode)) return err_set(error, ERR_INVALID, "it is not a file");
    struct head h = {.fd = fd, .size = (uint64_t)st.st_size, .bytes = try_malloc(HEAD_MAX)};
    if (!h.bytes) return err_set(error, ERR_NOMEM, "no memory to look at the file");
    h.len = read_at(fd, 0, h.bytes, HEAD_MAX);
    str_copy(type, EXTRACT_TYPE_MAX, kind(&h, name));
    free(h.bytes);
    return OK;
}

enum err extract_open(const char *path, int *fd, struct error *error)
{
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* never waits for a FIFO's writer */
    return *fd < 0 ? err_set_errno(error, errno, "can't open the file") : OK;
}

enum err extract_detect(const char *path, const char *name, char type[EXTRACT_TYPE_MAX],
                        struct error *error)
{
    int fd;
    enum err e = extract_open(path, &fd, error);
    if (e) return e;
    e = extract_detect_fd(fd, name ? name : path, type, error);
    close(fd);
    return e;
}

bool extract_can_read(const char *type)
{
    return type_of_media(type) != TYPE_UNKNOWN;
}
