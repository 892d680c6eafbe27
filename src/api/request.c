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

enum err request_read(const struct http_request *req, const struct field *fields, void *out,
                      json_t **body, struct error *error)
{
    *body = NULL;
    enum err err = request_check_type(req, error);
    if (!err) err = request_parse_object(req->body, req->body_len, body, error);
    if (!err) err = fields_read(fields, *body, "", out, error);
    if (!err) return OK;
    json_decref(*body);
    *body = NULL;
    return err;
}

/* ---- pages --------------------------------------------------------------------------------- */

enum { CURSOR_MAX = 160 };

enum err request_cursor(const struct http_request *req, int64_t *before_ms, const char **before_id,
                        struct error *error)
{
    const char *text = req->query(req, "cursor");
    char number[24];
    size_t len = text ? strcspn(text, ".") : 0;
    if (!text) return OK;
    if (len < sizeof number && text[len]) {
        memcpy(number, text, len);
        number[len] = '\0';
        *before_id = text + len + 1;
        if (str_to_i64(number, 0, INT64_MAX, before_ms)) return OK;
    }
    return err_set_param(error, ERR_INVALID, "cursor",
                         "the cursor is not one of this list's (next_cursor)");
}

void request_put_cursor(struct jw *w, bool more, int64_t last_ms, const char *last_id)
{
    char cursor[CURSOR_MAX];
    if (more) str_printf(cursor, sizeof cursor, "%lld.%s", (long long)last_ms, last_id);
    jw_kstr(w, "next_cursor", more ? cursor : NULL);
}
