/* What every JSON endpoint does first with its request. Any thread. */
#ifndef HEARTH_API_REQUEST_H
#define HEARTH_API_REQUEST_H

#include "api/fields.h"
#include "api/http.h"
#include "base/json.h"

/* Most values (numbers, strings, members, ...) of one body. A parsed value takes about a hundred
 * bytes, so a body of two-byte values would otherwise cost fifty times its size. */
enum { REQUEST_VALUES_MAX = 1 << 20 };

/* Parses text as a JSON object. ERR_JSON, ERR_INVALID (not an object) or ERR_TOO_LARGE (more than
 * REQUEST_VALUES_MAX values). On OK the caller owns *out. */
HT_MUST_CHECK enum err request_parse_object(const char *text, size_t len, json_t **out,
                                            struct error *error);

/* ERR_MEDIA_TYPE when a web page could have sent this without asking: a request that carries an
 * Origin must say that its body is JSON, because other types pass a browser's cross-site check
 * unseen. Without an Origin any type will do (curl -d sends a form's). */
HT_MUST_CHECK enum err request_check_type(const struct http_request *req, struct error *error);

/* The members of a JSON call's body, as fields_read stores them in `out`. On OK *body is the
 * caller's, and `out` borrows from it; else it is NULL. */
HT_MUST_CHECK enum err request_read(const struct http_request *req, const struct field *fields,
                                    void *out, json_t **body, struct error *error);

/* The query parameter `cursor`: where a page of a list by time ended, "<milliseconds>.<id>".
 * Without one *before_id stays as it is; else it points into the parameter. */
HT_MUST_CHECK enum err request_cursor(const struct http_request *req, int64_t *before_ms,
                                      const char **before_id, struct error *error);
/* next_cursor: behind the last one of a full page; more false = null. */
void request_put_cursor(struct jw *w, bool more, int64_t last_ms, const char *last_id);

#endif
