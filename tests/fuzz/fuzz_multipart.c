/* Forms as clients send them: the first line is the Content-Type, the rest the body, fed twice: as
 * a whole and in pieces that the bytes choose. Both must come to the same, and a NUL-free header
 * and whole contents are what the callbacks are promised. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api/multipart.h"
#include "base/buf.h"
#include "base/str.h"
#include "files/files.h"
#include "support/multipart_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum err on_begin(void *ctx, const struct multipart_part *part, struct error *error)
{
    char clean[STORE_FILE_NAME_MAX];
    ht_assert(part->name && part->type);
    ht_assert(strlen(part->name) < MULTIPART_NAME_MAX);
    enum err e = multipart_text_begin(ctx, part, error);
    if (e || !part->filename) return e;
    files_clean_name(part->filename, clean);
    ht_assert(*clean && utf8_valid(clean, strlen(clean)) && !strpbrk(clean, "/\\\r\n\t"));
    ht_assert(strcmp(clean, ".") != 0 && strcmp(clean, "..") != 0);
    return OK;
}

static const struct multipart_ops ops = {on_begin, multipart_text_data, multipart_text_end};

static enum err parse(const char *type, const char *body, size_t len, bool whole, struct buf *out)
{
    struct multipart *m;
    struct error error = {.code = OK};
    enum err e = multipart_new(type, &ops, out, &m, &error);
    if (e) {
        ht_assert(error.code == e && error.msg[0]);
        return e;
    }
    for (size_t i = 0; !e && i < len;) {
        size_t n = whole ? len : 1 + (size_t)(unsigned char)body[i] % 7;
        if (n > len - i) n = len - i;
        char *piece = malloc(n); /* its own, so that a read past the end is seen */
        if (!piece) abort();
        memcpy(piece, body + i, n);
        e = multipart_feed(m, piece, n, &error);
        free(piece);
        i += n;
    }
    enum err end = multipart_finish(m, &error);
    ht_assert(!e || end == e); /* a failure stays */
    ht_assert(!end || (error.code == end && error.msg[0]));
    multipart_free(m);
    return end;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char type[512];
    const uint8_t *line = size ? memchr(data, '\n', size) : NULL;
    size_t len = line ? (size_t)(line - data) : 0;
    if (!line || len >= sizeof type || memchr(data, '\0', len)) return 0;
    memcpy(type, data, len);
    type[len] = '\0';
    struct buf a, b;
    buf_init(&a, 64 << 20);
    buf_init(&b, 64 << 20);
    const char *body = (const char *)line + 1;
    enum err whole = parse(type, body, size - len - 1, true, &a);
    enum err pieces = parse(type, body, size - len - 1, false, &b);
    ht_assert(whole == pieces);
    if (!whole) ht_assert(a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0));
    buf_free(&a);
    buf_free(&b);
    return 0;
}
