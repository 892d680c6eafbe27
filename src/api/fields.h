/* Fields of JSON objects, once: the same tables drive the strict reader of requests, the JSON
 * schemas of /openapi.json and the reference in docs/api.md. Tables are constant; any thread.
 *
 * A table names what a request may hold; a member that no table names is ignored (and logged at
 * DEBUG), so that clients may send what they like; a member that is named must have the right type
 * and range. null means the same as absent. */
#ifndef HEARTH_API_FIELDS_H
#define HEARTH_API_FIELDS_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/json.h"

/* What a member must be, and the C type that fields_read stores it as. */
enum field_type {
    FIELD_BOOL,   /* bool */
    FIELD_INT,    /* int64_t; 1.0 is not an integer */
    FIELD_NUM,    /* double; integers are numbers too */
    FIELD_STR,    /* const char *, borrowed from the JSON value */
    FIELD_OBJ,    /* const json_t * */
    FIELD_ARR,    /* const json_t * */
    FIELD_JSON,   /* const json_t *: anything but null; the reader's caller looks further */
    FIELD_IGNORE, /* accepted whatever it is, stored nowhere */
};

enum field_flags {
    FIELD_REQUIRED = 1 << 0,
    FIELD_ALIAS = 1 << 1, /* another name of the field before it */
};

enum { FIELD_NOWHERE = -1 };

struct field {
    const char *name;
    enum field_type type;
    unsigned flags;
    double min, max;    /* of INT and NUM; both 0 = any */
    const char *schema; /* JSON Schema text where the type alone doesn't say it, or NULL */
    const char *help;
    int offset; /* where the value goes in the reader's output; FIELD_NOWHERE */
};

/* A named object of the API's documentation. */
struct schema {
    const char *name;
    const char *help;
    const struct field *fields; /* ended by a field whose name is NULL; NULL if `json` is used */
    const char *json;           /* the whole JSON Schema text, for what is no object */
};

/* Every named schema, in the order of the documentation; ended by a name of NULL. */
extern const struct schema *const api_schema_tables[];

/* Reads the members of `obj` that `fields` names into `out`; what is absent keeps its value there.
 * ptr is the JSON pointer of obj ("" for the document). ERR_INVALID: a required member is missing,
 * or a type or range is wrong; error->param is the member's pointer. */
HT_MUST_CHECK enum err fields_read(const struct field *fields, const json_t *obj, const char *ptr,
                                   void *out, struct error *error);

/* "a string", "an array", ...: for messages. */
const char *json_kind(const json_t *value);

/* ERR_INVALID at a pointer made by printf-like ptr_fmt, for the table-driven readers' callers. */
enum err field_error(struct error *error, const char *ptr, const char *name, const char *fmt, ...)
    HT_PRINTF(4, 5);

#endif
