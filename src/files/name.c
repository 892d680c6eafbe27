/* Names of files that are safe to show; see files.h. */
#include <string.h>

#include "base/str.h"
#include "files/files.h"

enum { EXTENSION_MAX = 16 };

/* Marks that turn the writing direction, so that "exe.txt" may be "txt.exe": U+200E, U+200F,
 * U+202A..U+202E, U+2066..U+2069; and U+FEFF, which is invisible. */
static bool misleads(const char *s, size_t len)
{
    const unsigned char *c = (const unsigned char *)s;
    if (len != 3) return false;
    if (c[0] == 0xef) return c[1] == 0xbb && c[2] == 0xbf;
    if (c[0] != 0xe2) return false;
    if (c[1] == 0x80) return c[2] == 0x8e || c[2] == 0x8f || (c[2] >= 0xaa && c[2] <= 0xae);
    return c[1] == 0x81 && c[2] >= 0xa6 && c[2] <= 0xa9;
}

/* What follows the last slash of either kind. */
static const char *last_part(const char *name)
{
    for (const char *c = name; *c; c++)
        if ((*c == '/' || *c == '\\') && c[1]) name = c + 1;
    return name;
}

/* Copies what may stay; returns the length. dst has room for all of it. */
static size_t keep_good(char *dst, const char *name, size_t max)
{
    size_t n = 0, left = strlen(name);
    while (left > 0 && n + 4 < max) {
        size_t len = utf8_next(name, left);
        unsigned char c = (unsigned char)*name;
        if (len == 0 || c < ' ' || c == 0x7f || c == '/' || c == '\\') {
            dst[n++] = '_';
            len = 1;
        } else if (len == 2 && c == 0xc2 && (unsigned char)name[1] < 0xa0) {
            dst[n++] = '_'; /* C1 control characters */
        } else if (!misleads(name, len)) {
            memcpy(dst + n, name, len);
            n += len;
        }
        name += len;
        left -= len;
    }
    return n;
}

void files_clean_name(const char *name, char dst[STORE_FILE_NAME_MAX])
{
    char good[4096];
    size_t len = keep_good(good, last_part(name), sizeof good), skip = 0;
    while (len > 0 && (good[len - 1] == ' ' || good[len - 1] == '.')) len--;
    while (skip < len && good[skip] == ' ') skip++;
    good[len] = '\0';
    const char *from = good + skip;
    len -= skip;
    if (len == 0) {
        str_copy(dst, STORE_FILE_NAME_MAX, "file");
        return;
    }
    const char *dot = strrchr(from, '.');
    size_t tail = dot && dot != from ? strlen(dot) : 0;
    if (tail > EXTENSION_MAX) tail = 0;
    size_t head = utf8_cut(from, len - tail, STORE_FILE_NAME_MAX - 1 - tail);
    memcpy(dst, from, head);
    memcpy(dst + head, from + len - tail, tail);
    dst[head + tail] = '\0';
}
