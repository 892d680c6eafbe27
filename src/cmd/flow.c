/* Words into lines. A break is possible at blanks and around wide characters (CJK text has no
 * blanks). A word wider than the line is left to the terminal to wrap. */
#include "cmd/flow.h"

#include <string.h>

#include "base/str.h"

enum { WORD_MAX = 64 << 10, PREFIX_MAX = 4096 };

void flow_init(struct flow *f, int width, enum term_style style)
{
    *f = (struct flow){.style = style, .width = width};
    buf_init(&f->prefix, PREFIX_MAX);
    buf_init(&f->word, WORD_MAX);
}

void flow_free(struct flow *f)
{
    buf_free(&f->prefix);
    buf_free(&f->word);
}

void flow_look_on(const struct flow *f, unsigned look, struct buf *out)
{
    static const struct {
        unsigned look;
        const char *sgr;
        bool color;
    } sgrs[] = {
        {LOOK_BOLD, "1", false},      {LOOK_DIM, "2", false},    {LOOK_ITALIC, "3", false},
        {LOOK_UNDERLINE, "4", false}, {LOOK_STRIKE, "9", false}, {LOOK_CODE, "36", true},
    };
    if (f->style == TERM_RAW) return;
    bool open = false;
    for (size_t i = 0; i < sizeof(sgrs) / sizeof(*sgrs); i++) {
        if (!(look & sgrs[i].look) || (sgrs[i].color && f->style != TERM_COLOR)) continue;
        buf_printf(out, "%s%s", open ? ";" : "\033[", sgrs[i].sgr);
        open = true;
    }
    if (open) buf_putc(out, 'm');
}

void flow_look_off(const struct flow *f, unsigned look, struct buf *out)
{
    if (f->style == TERM_PLAIN) look &= ~(unsigned)LOOK_CODE;
    if (f->style != TERM_RAW && look) buf_puts(out, "\033[0m");
}

void flow_prefix(struct flow *f, const char *first, const char *rest, int columns, bool dim)
{
    unsigned look = dim ? LOOK_DIM : 0;
    flow_look_on(f, look, f->out);
    buf_puts(f->out, first);
    flow_look_off(f, look, f->out);
    flow_look_on(f, look, &f->prefix);
    buf_puts(&f->prefix, rest);
    flow_look_off(f, look, &f->prefix);
    f->prefix_width += columns;
    f->col = f->prefix_width;
    f->space = false;
}

void flow_flush(struct flow *f)
{
    if (f->word.len == 0) return;
    flow_look_off(f, f->word_look, &f->word);
    f->word_look = 0;
    if (f->take) {
        f->take(f->take_ctx, &f->word, f->word_width, f->space);
    } else {
        bool begun = f->col > f->prefix_width;
        if (begun && f->col + f->space + f->word_width > f->width) {
            buf_putc(f->out, '\n');
            buf_append(f->out, buf_str(&f->prefix), f->prefix.len);
            f->col = f->prefix_width;
            begun = false;
        }
        if (begun && f->space) {
            buf_putc(f->out, ' ');
            f->col++;
        }
        buf_append(f->out, buf_str(&f->word), f->word.len);
        f->col += f->word_width;
        if (f->col > f->width) { /* the terminal has wrapped it */
            f->col %= f->width;
            if (f->col <= f->prefix_width) f->col = f->prefix_width + 1;
        }
    }
    f->space = false;
    buf_clear(&f->word);
    f->word_width = 0;
}

/* Adds characters to the word under way. */
static void add(struct flow *f, unsigned look, const char *text, size_t len, int width)
{
    if (len == 0) return;
    look |= f->look;
    if (f->word.len + len + 64 > WORD_MAX) flow_flush(f);
    if (look != f->word_look) {
        flow_look_off(f, f->word_look, &f->word);
        flow_look_on(f, look, &f->word);
        f->word_look = look;
    }
    buf_append(&f->word, text, len);
    f->word_width += width;
}

void flow_text(struct flow *f, unsigned look, const char *text, size_t len)
{
    size_t start = 0;
    int width = 0;
    for (size_t i = 0; i < len;) {
        uint32_t cp;
        size_t n = term_decode(text + i, len - i, &cp);
        int columns = term_char_width(cp);
        bool blank = cp == ' ' || cp == '\t' || cp == '\n';
        if (blank || columns == 2) {
            add(f, look, text + start, i - start, width);
            flow_flush(f);
            if (blank) {
                f->space = true;
            } else {
                add(f, look, text + i, n, columns);
                flow_flush(f);
            }
            start = i + n;
            width = 0;
        } else {
            width += columns;
        }
        i += n;
    }
    add(f, look, text + start, len - start, width);
}

void flow_newline(struct flow *f)
{
    flow_flush(f);
    buf_putc(f->out, '\n');
    buf_clear(&f->prefix);
    f->prefix_width = 0;
    f->col = 0;
    f->space = false;
    f->look = 0;
}
