/* What the terminal can do, and text made safe for it. Pure but for term_style_of and term_width.
 */
#include "cmd/term.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#include "base/str.h"

enum { WIDTH_DEFAULT = 80, WIDTH_MIN = 20, WIDTH_MAX = 1000 };

enum term_style term_style_of(int fd)
{
    if (!isatty(fd)) return TERM_RAW;
    const char *term = getenv("TERM");
    if (!term || !*term || strcmp(term, "dumb") == 0) return TERM_RAW;
    const char *no_color = getenv("NO_COLOR"); /* no-color.org: set and not empty */
    return no_color && *no_color ? TERM_PLAIN : TERM_COLOR;
}

int term_width(int fd)
{
    struct winsize size;
    int width = WIDTH_DEFAULT;
    if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) width = size.ws_col;
    return width < WIDTH_MIN ? WIDTH_MIN : width > WIDTH_MAX ? WIDTH_MAX : width;
}

int term_char_width(uint32_t cp)
{
    if (cp < 0x20 || cp == 0x7F) return 0;
    if (cp < 0x300) return 1;
    int width = wcwidth((wchar_t)cp);
    return width < 0 ? 1 : width; /* unknown to this libc: most are one column */
}

static bool is_safe(uint32_t cp)
{
    if (cp == '\n' || cp == '\t') return true;
    return cp >= 0x20 && !(cp >= 0x7F && cp <= 0x9F);
}

size_t term_decode(const char *s, size_t len, uint32_t *cp)
{
    const unsigned char *u = (const unsigned char *)s;
    size_t need = u[0] < 0x80 ? 1 : u[0] < 0xC0 ? 0 : u[0] < 0xE0 ? 2 : u[0] < 0xF0 ? 3 : 4;
    if (need == 0 || need > len || !utf8_valid(s, need)) {
        *cp = 0xFFFD;
        return 1;
    }
    static const unsigned char masks[] = {0, 0x7F, 0x1F, 0x0F, 0x07};
    uint32_t value = u[0] & masks[need];
    for (size_t i = 1; i < need; i++) value = value << 6 | (u[i] & 0x3F);
    *cp = value;
    return need;
}

void term_clean(struct buf *out, const char *text, size_t len)
{
    for (size_t i = 0; i < len;) {
        uint32_t cp;
        size_t n = term_decode(text + i, len - i, &cp);
        bool replaced = cp == 0xFFFD && n == 1;
        if (replaced)
            buf_puts(out, "\xEF\xBF\xBD");
        else if (is_safe(cp))
            buf_append(out, text + i, n);
        i += n;
    }
}
