/* What the protocols' request builders have in common. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "remote/remote_int.h"

enum err headers_add(struct headers *h, const char *name, const char *prefix, const char *value,
                     struct error *error)
{
    if (!value || !*value) return OK;
    if (h->n == REMOTE_HEADERS_MAX) return err_set(error, ERR_CONFIG, "too many headers");
    if (strpbrk(value, "\r\n"))
        return err_set(error, ERR_CONFIG, "the header %s has a line break", name);
    size_t size = strlen(name) + strlen(prefix) + strlen(value) + 3;
    char *line = xmalloc(size);
    str_printf(line, size, "%s: %s%s", name, prefix, value);
    h->lines[h->n++] = line;
    return OK;
}

void headers_free(struct headers *h)
{
    for (size_t i = 0; i < h->n; i++) free(h->lines[i]);
    *h = (struct headers){0};
}

void remote_body(struct remote_http *http, struct jw *w)
{
    jw_init(w, &http->body);
    jw_obj(w);
}

enum err remote_body_end(struct remote_http *http, struct jw *w, struct error *error)
{
    jw_obj_end(w);
    if (http->body.err == ERR_NOMEM) return err_set(error, ERR_NOMEM, "no memory for the request");
    if (http->body.err)
        return err_set(error, ERR_TOO_LARGE, "the request is larger than %zu MiB",
                       http->body.max >> 20);
    return OK;
}

void jw_image_url(struct jw *w, const struct image *image)
{
    if (!image->data) {
        jw_str(w, image->url);
        return;
    }
    /* base64 and media types need no escapes; a type with a quote in it is no type */
    const char *type = image->media_type && *image->media_type ? image->media_type : "image/png";
    struct buf *out = w->out;
    jw_raw(w, "", 0);
    buf_puts(out, "\"data:");
    buf_append(out, type, strcspn(type, "\"\\\r\n"));
    buf_puts(out, ";base64,");
    buf_append(out, image->data,
               strspn(image->data, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqr"
                                   "stuvwxyz0123456789+/="));
    buf_putc(out, '"');
}

void jw_kfloat(struct jw *w, const char *name, float value)
{
    jw_kdouble(w, name, round((double)value * 1e6) / 1e6);
}
