/* Members of answers: see member.h. */
#include "remote/member.h"

#include "base/str.h"

const char *member_word(const json_t *obj, const char *name)
{
    const char *word = json_string_value(json_object_get(obj, name));
    return word ? word : "";
}

bool member_text(const json_t *obj, const char *name, const char **text, size_t *len)
{
    const json_t *value = json_object_get(obj, name);
    *text = json_is_string(value) ? json_string_value(value) : "";
    *len = json_string_length(value);
    return json_is_string(value);
}

int32_t member_count(const json_t *obj, const char *name)
{
    double n = json_number_value(json_object_get(obj, name));
    return n > 0 && n < (double)INT32_MAX / 4 ? (int32_t)n : 0;
}

bool member_listed(const json_t *obj, const char *name, const char *word)
{
    const json_t *list = json_object_get(obj, name);
    for (size_t i = 0; i < json_array_size(list); i++)
        if (str_eq(json_string_value(json_array_get(list, i)), word)) return true;
    return false;
}
