/* All metadata of a file as JSON, for people. Bounded by the caller's buffer and by what is cut. */
#include "base/json.h"
#include "models/gguf.h"
#include "models/gguf_int.h"

enum { ARRAY_SHOWN = 16, TEXT_SHOWN = 16 << 10 };

static bool write_text(struct gguf_reader *r, struct jw *w)
{
    struct buf text;
    uint64_t len;
    buf_init(&text, TEXT_SHOWN + 1);
    bool ok = gguf_read_text(r, &text, TEXT_SHOWN, &len);
    if (ok && len > TEXT_SHOWN) {
        jw_obj(w);
        jw_kint(w, "text_bytes", (int64_t)len);
        jw_obj_end(w);
    } else if (ok) {
        jw_strn(w, buf_str(&text), text.len);
    }
    buf_free(&text);
    return ok;
}

static bool write_value(struct gguf_reader *r, enum gguf_type type, struct jw *w)
{
    bool integral;
    int64_t i;
    double d;
    if (type == GGUF_STRING) return write_text(r, w);
    if (!gguf_read_number(r, type, &integral, &i, &d)) return false;
    if (type == GGUF_BOOL)
        jw_bool(w, i != 0);
    else if (integral)
        jw_int(w, i);
    else
        jw_double(w, d);
    return true;
}

static bool write_array(struct gguf_reader *r, const struct gguf_key *key, struct jw *w)
{
    if (key->count > ARRAY_SHOWN) {
        jw_obj(w);
        jw_kstr(w, "array_of", gguf_type_word(key->item));
        jw_kint(w, "length", (int64_t)key->count);
        jw_obj_end(w);
        return gguf_skip_value(r, key);
    }
    jw_arr(w);
    bool ok = true;
    for (uint64_t i = 0; i < key->count && ok; i++) ok = write_value(r, key->item, w);
    if (ok) jw_arr_end(w);
    return ok;
}

enum err gguf_metadata_json(const char *path, struct buf *out, struct error *error)
{
    struct error own;
    struct gguf_reader r;
    if (!error) error = &own;
    enum err e = gguf_open(&r, path, error);
    if (e) return e;
    struct jw w;
    jw_init(&w, out);
    jw_obj(&w);
    bool ok = true;
    for (uint64_t i = 0; i < r.n_kv && ok; i++) {
        struct gguf_key key;
        ok = gguf_next_key(&r, &key);
        if (!ok) break;
        jw_key(&w, key.name);
        ok = key.type == GGUF_ARRAY ? write_array(&r, &key, &w) : write_value(&r, key.type, &w);
        if (ok && out->err) {
            err_set(error, out->err, "the file's metadata is too large to show");
            ok = false;
        }
    }
    if (ok) jw_obj_end(&w); /* else what was written is of no use */
    gguf_close(&r);
    return ok ? OK : error->code;
}
