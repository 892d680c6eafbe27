/* First checks of JSON requests: see request.h. */
#include "api/request.h"

#include <string.h>
#include <strings.h>

#include "base/str.h"

enum err request_parse_object(const char *text, size_t len, json_t **out, struct error *error)
{
    if (json_count(text, len) > REQUEST_VALUES_MAX)
        return err_set(error, ERR_TOO_LARGE,
                       "the body holds more than %d JSON values; send less in one request",
                       (int)REQUEST_VALUES_MAX);
    json_t *value;
    enum err err = json_parse(text, len, &value, error);
    if (err) return err;
    if (!json_is_object(value)) {
        json_decref(value);
        return err_set(error, ERR_INVALID, "the body must be a JSON object");
    }
    *out = value;
    return OK;
}

static bool is_json_type(const char *type)
{
    size_t len = strcspn(type, "; \t");
    return (len == 16 && strncasecmp(type, "application/json", len) == 0) ||
           (len > 5 && strncasecmp(type + len - 5, "+json", 5) == 0);
}

enum err request_check_type(const struct http_request *req, struct error *error)
{
    if (!req->header(req, "Origin")) return OK;
    const char *type = req->header(req, "Content-Type");
    if (type && is_json_type(type)) return OK;
    return err_set(error, ERR_MEDIA_TYPE,
                   "a request from a web page must have Content-Type: application/json, not %.60s",
                   type ? type : "none");
}
