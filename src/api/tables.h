/* Shorthands for the tables of fields (fields.h): JSON Schema texts, and one macro for each kind of
 * row. Only for the files that hold such tables. */
#ifndef HEARTH_API_TABLES_H
#define HEARTH_API_TABLES_H

#include <stddef.h>
#include <stdint.h>

#include "api/fields.h"

#define REF(name)      "{\"$ref\":\"#/components/schemas/" name "\"}"
#define LIST(item)     "{\"type\":\"array\",\"items\":" item "}"
#define WORDS(words)   "{\"type\":\"string\",\"enum\":[" words "]}"
#define CONST_OF(word) "{\"type\":\"string\",\"const\":\"" word "\"}"
#define NULLABLE(type) "{\"type\":[\"" type "\",\"null\"]}"
#define INTEGERS       "{\"type\":\"integer\",\"minimum\":0}"
#define REQ            FIELD_REQUIRED
#define TOKENS_MAX     INT32_MAX
#define END                                                                                        \
    {                                                                                              \
        .name = NULL                                                                               \
    }

/* A field that is read into `member` of struct `S`. */
#define R(json, type, flags, min, max, schema, member, help)                                       \
    {                                                                                              \
        json, FIELD_##type, flags, min, max, schema, help, offsetof(struct S, member)              \
    }
/* A field that is accepted and has no effect, and one that is only written. */
#define IGNORED(json, help)                                                                        \
    {                                                                                              \
        json, FIELD_IGNORE, 0, 0, 0, NULL, help, FIELD_NOWHERE                                     \
    }
#define W(json, type, schema, help)                                                                \
    {                                                                                              \
        json, FIELD_##type, FIELD_REQUIRED, 0, 0, schema, help, FIELD_NOWHERE                      \
    }
#define W_OPT(json, type, schema, help)                                                            \
    {                                                                                              \
        json, FIELD_##type, 0, 0, 0, schema, help, FIELD_NOWHERE                                   \
    }

#endif
