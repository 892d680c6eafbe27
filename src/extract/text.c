/* Texts: plain, Markdown, source code. They need a charset, nothing else. */
#include <string.h>

#include "extract/extract_int.h"
#include "extract/types.h"

enum err load_plain(struct load *l, struct error *error)
{
    struct buf text;
    enum err e = load_text(l, &text, error);
    if (!e) prose_plain(l->out, buf_str(&text), text.len);
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
