/* JSON: reading through jansson (strict: UTF-8, no duplicates, no trailing garbage, depth bounded),
 * and a small streaming writer for what the hub sends token by token.
 *
 * Getters take the object, the member name and the JSON pointer of the object (for the message),
 * and tell absent, null and wrong type apart: absent and null leave *out alone and return OK; a
 * wrong type or a value out of range is ERR_INVALID with param = the member's pointer. */
#ifndef HEARTH_BASE_JSON_H
#define HEARTH_BASE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum { JSON_DEPTH_MAX = 128, JSON_VALUES_MAX = 4000000 };

/* Parses a whole document of any type. Deeper than JSON_DEPTH_MAX, NaN, numbers that fit no type,
 * lone surrogates, "\u0000", duplicate keys and trailing bytes are ERR_JSON with line and column;
 * more than about JSON_VALUES_MAX values (each costs many times its bytes) are ERR_TOO_LARGE. On OK
 * the caller owns *out. */
HT_MUST_CHECK enum err json_parse(const char *text, size_t len, json_t **out, struct error *error);

HT_MUST_CHECK enum err json_get_string(const json_t *obj, const char *name, const char *ptr,
                                       const char **out, struct error *error);
HT_MUST_CHECK enum err json_get_int(const json_t *obj, const char *name, const char *ptr,
                                    int64_t min, int64_t max, int64_t *out, struct error *error);
/* Accepts integers too. */
HT_MUST_CHECK enum err json_get_double(const json_t *obj, const char *name, const char *ptr,
                                       double min, double max, double *out, struct error *error);
HT_MUST_CHECK enum err json_get_bool(const json_t *obj, const char *name, const char *ptr,
                                     bool *out, struct error *error);
HT_MUST_CHECK enum err json_get_object(const json_t *obj, const char *name, const char *ptr,
                                       const json_t **out, struct error *error);
HT_MUST_CHECK enum err json_get_array(const json_t *obj, const char *name, const char *ptr,
                                      const json_t **out, struct error *error);

/* How many values a text has at most: commas and opening brackets outside strings, since each value
 * but the first stands behind one. Cheap compared with parsing, which takes a hundred bytes for
 * each of them, so it is asked before. */
size_t json_count(const char *text, size_t len);

/* Serialises compactly into *out (appended). */
enum err json_dump(const json_t *value, struct buf *out);

/* Writer: appends to a buf; commas and nesting are kept by the writer. No validation of use beyond
 * asserts; errors are the buf's (sticky). Depth at most 32. Strings are escaped; bytes that are not
 * valid UTF-8 become U+FFFD, so that the output is always valid JSON. */
struct jw {
    struct buf *out;
    unsigned depth;
    unsigned need_comma; /* bit per level */
    bool after_key;
};

void jw_init(struct jw *w, struct buf *out);
void jw_obj(struct jw *w);     /* { */
void jw_obj_end(struct jw *w); /* } */
void jw_arr(struct jw *w);     /* [ */
void jw_arr_end(struct jw *w); /* ] */
void jw_key(struct jw *w, const char *name);
void jw_str(struct jw *w, const char *s); /* NULL writes null */
void jw_strn(struct jw *w, const char *s, size_t len);
void jw_int(struct jw *w, int64_t v);
void jw_double(struct jw *w, double v); /* shortest that reads back; NaN and infinities: null */
void jw_bool(struct jw *w, bool v);
void jw_null(struct jw *w);
void jw_raw(struct jw *w, const char *json, size_t len); /* already JSON */
void jw_json(struct jw *w, const json_t *v);             /* NULL writes null */

/* key + value in one call */
void jw_kstr(struct jw *w, const char *name, const char *s);
void jw_kint(struct jw *w, const char *name, int64_t v);
void jw_kdouble(struct jw *w, const char *name, double v);
void jw_kbool(struct jw *w, const char *name, bool v);
void jw_knull(struct jw *w, const char *name);
/* JSON text that is known to be valid (a schema, arguments, what is kept); "" and NULL write {}. */
void jw_kraw(struct jw *w, const char *name, const char *json);
void jw_kjson(struct jw *w, const char *name, const json_t *v);

#endif
