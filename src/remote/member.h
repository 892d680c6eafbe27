/* Members of objects in other servers' answers: what is absent, or of another type than it should
 * be, is "" or 0. Borrowed from the object. */
#ifndef HEARTH_REMOTE_MEMBER_H
#define HEARTH_REMOTE_MEMBER_H

#include <stdbool.h>

#include "base/json.h"

const char *member_word(const json_t *obj, const char *name);
/* A text with its length; false: it is none. */
bool member_text(const json_t *obj, const char *name, const char **text, size_t *len);
/* A count of tokens: 0 when it is negative or absurd. Servers also write them as 12.0. */
int32_t member_count(const json_t *obj, const char *name);
/* Whether a list has that text among its values. */
bool member_listed(const json_t *obj, const char *name, const char *word);

#endif
