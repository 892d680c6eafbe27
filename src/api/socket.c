/* See socket.h. */
#include "api/socket.h"

#include <string.h>

#include "base/json.h"
#include "base/str.h"

enum { CANCEL_MAX = 256 }; /* bytes of the longest message that is looked into */

bool socket_is_cancel(const char *text, size_t len)
{
    struct error error;
    json_t *message = NULL;
    if (len > CANCEL_MAX || json_parse(text, len, &message, &error)) return false;
    const char *type = json_string_value(json_object_get(message, "type"));
    bool cancel = type && str_eq(type, "cancel");
    json_decref(message);
    return cancel;
}
