/* Texts: plain, Markdown, source code. They need a charset, nothing else. */
#include <string.h>

#include "extract/extract_int.h"
#include "extract/types.h"

/* Lines as they are, without blanks at their ends and more than one empty line in a row. */
static void write_text(struct prose *w, const char *s, size_t len)
{
    const char *end = s + len;
    for (int empty = 0; s < end;) {
        const char *line_end = memchr(s, '\n', (size_t)(end - s));
        if (!line_end) line_end = end;
        const char *stop = line_end;
        while (stop > s && (stop[-1] == ' ' || stop[-1] == '\t' || stop[-1] == '\f')) stop--;
        if (stop == s) {
            if (empty++ == 0) prose_block(w);
        } else {
            prose_lines(w, s, (size_t)(stop - s));
            empty = 0;
        }
        s = line_end + 1;
    }
}

enum err load_plain(struct load *l, struct error *error)
{
    struct buf text;
    enum err e = load_text(l, &text, error);
    if (!e) write_text(l->out, buf_str(&text), text.len);
    buf_free(&text);
    return e;
}

enum err load_markdown(struct load *l, struct error *error)
{
    struct buf text;
    enum err e = load_text(l, &text, error);
    if (!e) {
        const char *s = buf_str(&text), *at = strncmp(s, "# ", 2) == 0 ? s : strstr(s, "\n# ");
        if (at) {
            at = strchr(at, '#') + 2;
            prose_title(l->out, at, strcspn(at, "\n"));
        }
        /* Empty lines within code mean something, so nothing is taken away. */
        prose_lines(l->out, s, text.len);
    }
    buf_free(&text);
    return e;
}

enum err load_source(struct load *l, struct error *error)
{
    struct buf text;
    enum err e = load_text(l, &text, error);
    const char *language = type_language(l->type);
    if (type_of_media(l->type) == TYPE_JSON_LINES) language = "json";
    if (!e) prose_fence(l->out, language, buf_str(&text), text.len);
    buf_free(&text);
    return e;
}
