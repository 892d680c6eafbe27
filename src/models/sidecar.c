#include "models/sidecar.h"

#include <string.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"

enum { SIDECAR_MAX = 64 << 10 };

/* X(field): the texts, by the names they have in the file */
#define SIDECAR_TEXTS(X) X(url) X(repo) X(file) X(revision) X(sha256) X(catalog) X(quant)

static bool sidecar_path(char dst[FS_PATH_MAX], const char *model_path)
{
    return str_printf(dst, FS_PATH_MAX, "%s.json", model_path);
}

void sidecar_read(const char *model_path, struct sidecar *out)
{
    char path[FS_PATH_MAX];
    struct buf text;
    json_t *doc = NULL;
    *out = (struct sidecar){0};
    buf_init(&text, SIDECAR_MAX);
    if (sidecar_path(path, model_path) && fs_exists(path) &&
        fs_read_file(path, SIDECAR_MAX, &text, NULL) == OK &&
        json_parse(buf_str(&text), text.len, &doc, NULL) == OK && json_is_object(doc)) {
        const char *s;
#define X(field)                                                                                   \
    s = NULL;                                                                                      \
    if (json_get_string(doc, #field, "", &s, NULL) == OK && s)                                     \
        str_copy(out->field, sizeof(out->field), s);
        SIDECAR_TEXTS(X)
#undef X
        if (json_get_int(doc, "bytes", "", 0, INT64_MAX, &out->bytes, NULL)) out->bytes = 0;
    }
    json_decref(doc);
    buf_free(&text);
}

enum err sidecar_write(const char *model_path, const struct sidecar *s, struct error *error)
{
    char path[FS_PATH_MAX], when[32];
    if (!sidecar_path(path, model_path))
        return err_set(error, ERR_INVALID, "the path of %.200s is too long", model_path);
    struct buf text;
    struct jw w;
    buf_init(&text, SIDECAR_MAX);
    jw_init(&w, &text);
    jw_obj(&w);
#define X(field)                                                                                   \
    if (s->field[0]) jw_kstr(&w, #field, s->field);
    SIDECAR_TEXTS(X)
#undef X
    jw_kint(&w, "bytes", s->bytes);
    clock_format_utc(when, sizeof(when), clock_wall_ms());
    jw_kstr(&w, "pulled_at", when);
    jw_obj_end(&w);
    buf_putc(&text, '\n');
    enum err e = text.err ? err_set(error, text.err, "no memory for %.200s", path)
                          : fs_write_atomic(path, buf_str(&text), text.len, 0644, error);
    buf_free(&text);
    return e;
}
