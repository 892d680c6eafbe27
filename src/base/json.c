/* Reading JSON: jansson behind a check that bounds what a hostile document can cost (nesting,
 * number of values), and typed getters whose errors name the member. */
#include "base/json.h"

#include <math.h>
#include <string.h>

#include "base/json_int.h"
#include "base/str.h"

/* ---- parsing ------------------------------------------------------------------------------- */

struct scan {
    size_t depth, values, at;
};

/* Counts brackets and commas outside of strings, up to the first place that breaks a limit. Knows
 * no more of JSON than that: jansson judges the rest. */
static enum err scan_limits(const char *text, size_t len, struct scan *s)
{
    bool in_string = false;
    for (s->at = 0; s->at < len; s->at++) {
        char c = text[s->at];
        if (in_string) {
            if (c == '\\')
                s->at++;
            else if (c == '"')
                in_string = false;
            continue;
        }
        switch (c) {
        case '"': in_string = true; break;
        case '[':
        case '{':
            if (++s->depth > JSON_DEPTH_MAX) return ERR_JSON;
            break;
        case ']':
        case '}':
            if (s->depth > 0) s->depth--;
            break;
        case ',':
            if (++s->values > JSON_VALUES_MAX) return ERR_TOO_LARGE;
            break;
        default: break;
        }
    }
    return OK;
}

static enum err check_limits(const char *text, size_t len, struct error *error)
{
    struct scan s = {0};
    enum err err = scan_limits(text, len, &s);
    if (!err) return OK;
    if (err == ERR_TOO_LARGE)
        return err_set(error, err, "the JSON document has more than %d values", JSON_VALUES_MAX);
    size_t line = 1, column = 1;
    for (size_t i = 0; i < s.at; i++) {
        if (text[i] == '\n') {
            line++;
            column = 1;
        } else if (((unsigned char)text[i] & 0xC0) != 0x80) {
            column++;
        }
    }
    return err_set(error, err,
                   "not valid JSON: nested deeper than %d levels at line %zu, column %zu",
                   JSON_DEPTH_MAX, line, column);
}

enum err json_parse(const char *text, size_t len, json_t **out, struct error *error)
{
    enum err err = check_limits(text, len, error);
    if (err) return err;
    json_error_t e;
    json_t *value = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e);
    if (value) {
        *out = value;
        return OK;
    }
    if (json_error_code(&e) == json_error_out_of_memory)
        return err_set(error, ERR_NOMEM, "not enough memory for the JSON document");
    if (len == 0) return err_set(error, ERR_JSON, "not valid JSON: it is empty");
    return err_set(error, ERR_JSON, "not valid JSON: %s at line %d, column %d", e.text, e.line,
                   e.column);
}

/* ---- getters ------------------------------------------------------------------------------- */

static const char *type_name(const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "an array";
    case JSON_STRING: return "a string";
    case JSON_INTEGER:
    case JSON_REAL: return "a number";
    case JSON_TRUE:
    case JSON_FALSE: return "a boolean";
    case JSON_NULL: return "null";
    }
    ht_bug("a JSON value of no type");
}

/* JSON pointer of a member (RFC 6901): ptr + "/" + name with ~ and / escaped. */
static void make_pointer(struct buf *b, const char *ptr, const char *name)
{
    buf_puts(b, ptr);
    buf_putc(b, '/');
    for (; *name; name++) {
        if (*name == '~')
            buf_puts(b, "~0");
        else if (*name == '/')
            buf_puts(b, "~1");
        else
            buf_putc(b, *name);
    }
}

/* The pointer as people write it: "/messages/0/role" -> "messages[0].role". */
static void make_path(struct buf *b, const char *pointer)
{
    while (*pointer == '/') {
        const char *step = pointer + 1;
        size_t n = strcspn(step, "/");
        bool index = n > 0 && strspn(step, "0123456789") >= n;
        if (index)
            buf_putc(b, '[');
        else if (b->len > 0)
            buf_putc(b, '.');
        for (size_t i = 0; i < n; i++) {
            bool escape = step[i] == '~' && i + 1 < n;
            if (escape) i++;
            buf_putc(b, !escape ? step[i] : step[i] == '1' ? '/' : '~');
        }
        if (index) buf_putc(b, ']');
        pointer = step + n;
    }
}

/* "<path> must be <what>, got <got>"; the names are cut where the error's fields end. */
static enum err wrong(const char *ptr, const char *name, const char *what, const char *got,
                      struct error *error)
{
    char pointer_mem[ERROR_PARAM_MAX], path_mem[ERROR_PARAM_MAX];
    struct buf pointer, path;
    buf_init_fixed(&pointer, pointer_mem, sizeof pointer_mem);
    buf_init_fixed(&path, path_mem, sizeof path_mem);
    make_pointer(&pointer, ptr, name);
    make_path(&path, buf_str(&pointer));
    return err_set_param(error, ERR_INVALID, buf_str(&pointer), "%s must be %s, got %s",
                         buf_str(&path), what, got);
}

/* OK with *out NULL when the member is absent or null. */
static enum err get(const json_t *obj, const char *name, const char *ptr, const json_t **out,
                    struct error *error)
{
    *out = NULL;
    if (!json_is_object(obj)) {
        char path_mem[ERROR_PARAM_MAX];
        struct buf path;
        buf_init_fixed(&path, path_mem, sizeof path_mem);
        make_path(&path, ptr);
        return err_set_param(error, ERR_INVALID, ptr, "%s must be an object, got %s",
                             path.len ? buf_str(&path) : "the body",
                             obj ? type_name(obj) : "nothing");
    }
    const json_t *v = json_object_get(obj, name);
    if (v && !json_is_null(v)) *out = v;
    return OK;
}

static enum err get_typed(const json_t *obj, const char *name, const char *ptr, json_type type,
                          const char *what, const json_t **out, struct error *error)
{
    const json_t *v;
    enum err err = get(obj, name, ptr, &v, error);
    if (err || !v) return err;
    if (json_typeof(v) != type) return wrong(ptr, name, what, type_name(v), error);
    *out = v;
    return OK;
}

enum err json_get_string(const json_t *obj, const char *name, const char *ptr, const char **out,
                         struct error *error)
{
    const json_t *v = NULL;
    enum err err = get_typed(obj, name, ptr, JSON_STRING, "a string", &v, error);
    if (v) *out = json_string_value(v);
    return err;
}

enum err json_get_object(const json_t *obj, const char *name, const char *ptr, const json_t **out,
                         struct error *error)
{
    return get_typed(obj, name, ptr, JSON_OBJECT, "an object", out, error);
}

enum err json_get_array(const json_t *obj, const char *name, const char *ptr, const json_t **out,
                        struct error *error)
{
    return get_typed(obj, name, ptr, JSON_ARRAY, "an array", out, error);
}

enum err json_get_bool(const json_t *obj, const char *name, const char *ptr, bool *out,
                       struct error *error)
{
    const json_t *v;
    enum err err = get(obj, name, ptr, &v, error);
    if (err || !v) return err;
    if (!json_is_boolean(v)) return wrong(ptr, name, "a boolean", type_name(v), error);
    *out = json_is_true(v);
    return OK;
}

/* "between 0 and 1", "at least 0", "at most 5"; has_min, has_max: whether that end is limited. */
static enum err out_of_range(const char *ptr, const char *name, double min, bool has_min,
                             double max, bool has_max, double got, struct error *error)
{
    char what_mem[96], got_mem[40];
    struct buf what, value;
    buf_init_fixed(&what, what_mem, sizeof what_mem);
    buf_init_fixed(&value, got_mem, sizeof got_mem);
    buf_puts(&what, has_min && has_max ? "between " : has_min ? "at least " : "at most ");
    if (has_min) json_write_double(&what, min);
    if (has_min && has_max) buf_puts(&what, " and ");
    if (has_max) json_write_double(&what, max);
    json_write_double(&value, got);
    return wrong(ptr, name, buf_str(&what), buf_str(&value), error);
}

enum err json_get_int(const json_t *obj, const char *name, const char *ptr, int64_t min,
                      int64_t max, int64_t *out, struct error *error)
{
    const json_t *v;
    enum err err = get(obj, name, ptr, &v, error);
    if (err || !v) return err;
    if (!json_is_number(v)) return wrong(ptr, name, "an integer", type_name(v), error);
    double real = json_number_value(v);
    int64_t i = 0;
    bool in_range = true;
    if (json_is_integer(v)) {
        i = json_integer_value(v);
    } else {
        /* 256.0 is an integer to every other JSON reader. */
        in_range = fabs(real) <= 0x1p53; /* whole beyond that, but not exact */
        if (in_range) i = (int64_t)real;
        if (in_range && (double)i != real)
            return wrong(ptr, name, "an integer", "a fraction", error);
    }
    if (!in_range || i < min || i > max)
        return out_of_range(ptr, name, (double)min, min != INT64_MIN, (double)max, max != INT64_MAX,
                            real, error);
    *out = i;
    return OK;
}

enum err json_get_double(const json_t *obj, const char *name, const char *ptr, double min,
                         double max, double *out, struct error *error)
{
    const json_t *v;
    enum err err = get(obj, name, ptr, &v, error);
    if (err || !v) return err;
    if (!json_is_number(v)) return wrong(ptr, name, "a number", type_name(v), error);
    double d = json_number_value(v);
    if (d < min || d > max)
        return out_of_range(ptr, name, min, isfinite(min), max, isfinite(max), d, error);
    *out = d;
    return OK;
}

/* ---- serialising --------------------------------------------------------------------------- */

/* Own walk instead of json_dumpb: its reals have 17 digits (0.1 becomes 0.10000000000000001), and
 * schemas go into prompts, where digits are tokens. Depth is bounded by json_parse. */
static void dump(struct buf *out, const json_t *v)
{
    const char *key;
    const json_t *item;
    size_t i;
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        buf_putc(out, '{');
        i = 0;
        json_object_foreach ((json_t *)v, key, item) {
            if (i++ > 0) buf_putc(out, ',');
            json_write_string(out, key, strlen(key));
            buf_putc(out, ':');
            dump(out, item);
        }
        buf_putc(out, '}');
        return;
    case JSON_ARRAY:
        buf_putc(out, '[');
        json_array_foreach (v, i, item) {
            if (i > 0) buf_putc(out, ',');
            dump(out, item);
        }
        buf_putc(out, ']');
        return;
    case JSON_STRING: json_write_string(out, json_string_value(v), json_string_length(v)); return;
    case JSON_INTEGER: json_write_int(out, json_integer_value(v)); return;
    case JSON_REAL: json_write_double(out, json_real_value(v)); return;
    case JSON_TRUE: buf_puts(out, "true"); return;
    case JSON_FALSE: buf_puts(out, "false"); return;
    case JSON_NULL: buf_puts(out, "null"); return;
    }
}

enum err json_dump(const json_t *value, struct buf *out)
{
    dump(out, value);
    return out->err;
}

size_t json_count(const char *text, size_t len)
{
    size_t n = 1;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (c == ',' || c == '[' || c == '{') {
            n++;
        } else if (c == '"') {
            for (i++; i < len && text[i] != '"'; i++)
                if (text[i] == '\\') i++;
        }
    }
    return n;
}
