/* The reader of field tables: see fields.h. */
#include "api/fields.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/str.h"

const char *json_kind(const json_t *value)
{
    if (!value) return "nothing";
    switch (json_typeof(value)) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "an array";
    case JSON_STRING: return "a string";
    case JSON_INTEGER: return "an integer";
    case JSON_REAL: return "a fraction";
    case JSON_TRUE:
    case JSON_FALSE: return "a boolean";
    case JSON_NULL: return "null";
    }
    return "something else";
}

enum err field_error(struct error *error, const char *ptr, const char *name, const char *fmt, ...)
{
    char text[ERROR_MSG_MAX], param[ERROR_PARAM_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    str_printf(param, sizeof param, "%s/%s", ptr, name);
    return err_set_param(error, ERR_INVALID, param, "%s: %s", param, text);
}

static const char *expected(enum field_type type)
{
    switch (type) {
    case FIELD_BOOL: return "true or false";
    case FIELD_INT: return "an integer";
    case FIELD_NUM: return "a number";
    case FIELD_STR: return "a string";
    case FIELD_OBJ: return "an object";
    case FIELD_ARR: return "an array";
    case FIELD_JSON:
    case FIELD_IGNORE: break;
    }
    return "a value";
}

static bool type_matches(enum field_type type, const json_t *v)
{
    switch (type) {
    case FIELD_BOOL: return json_is_boolean(v);
    case FIELD_INT: return json_is_integer(v);
    case FIELD_NUM: return json_is_number(v);
    case FIELD_STR: return json_is_string(v);
    case FIELD_OBJ: return json_is_object(v);
    case FIELD_ARR: return json_is_array(v);
    case FIELD_JSON:
    case FIELD_IGNORE: break;
    }
    return true;
}

static enum err check_range(const struct field *f, const json_t *v, const char *ptr,
                            struct error *error)
{
    if (f->min == 0 && f->max == 0) return OK;
    double value = json_number_value(v);
    if (value >= f->min && value <= f->max) return OK;
    if (f->type == FIELD_INT)
        return field_error(error, ptr, f->name,
                           "must be from %.0f to %.0f, got %" JSON_INTEGER_FORMAT, f->min, f->max,
                           json_integer_value(v));
    return field_error(error, ptr, f->name, "must be from %.10g to %.10g, got %.10g", f->min,
                       f->max, value);
}

static void store(const struct field *f, const json_t *v, void *out)
{
    char *at = (char *)out + f->offset;
    switch (f->type) {
    case FIELD_BOOL: *(bool *)(void *)at = json_is_true(v); break;
    case FIELD_INT: *(int64_t *)(void *)at = json_integer_value(v); break;
    case FIELD_NUM: *(double *)(void *)at = json_number_value(v); break;
    case FIELD_STR: *(const char **)(void *)at = json_string_value(v); break;
    case FIELD_OBJ:
    case FIELD_ARR:
    case FIELD_JSON: *(const json_t **)(void *)at = v; break;
    case FIELD_IGNORE: break;
    }
}

static void log_unknown(const struct field *fields, const json_t *obj, const char *ptr)
{
    const char *key;
    json_t *value;
    json_object_foreach ((json_t *)obj, key, value) {
        const struct field *f = fields;
        while (f->name && strcmp(f->name, key) != 0) f++;
        if (!f->name) log_debug(api, "ignoring the unknown field %s/%s", ptr, key);
    }
}

enum err fields_read(const struct field *fields, const json_t *obj, const char *ptr, void *out,
                     struct error *error)
{
    for (const struct field *f = fields; f->name; f++) {
        const json_t *v = json_object_get(obj, f->name);
        if (!v || json_is_null(v)) {
            if (f->flags & FIELD_REQUIRED)
                return field_error(error, ptr, f->name, "is required (%s)", expected(f->type));
            continue;
        }
        if (!type_matches(f->type, v))
            return field_error(error, ptr, f->name, "must be %s, got %s", expected(f->type),
                               json_kind(v));
        if (f->type == FIELD_INT || f->type == FIELD_NUM) {
            enum err err = check_range(f, v, ptr, error);
            if (err) return err;
        }
        if (f->offset >= 0) store(f, v, out);
    }
    if (log_on(LOG_DEBUG)) log_unknown(fields, obj, ptr);
    return OK;
}
