/* An http_request out of nothing, for tests of handlers. Header-only. */
#ifndef HEARTH_TESTS_FAKE_REQUEST_H
#define HEARTH_TESTS_FAKE_REQUEST_H

#include <string.h>
#include <strings.h>

#include "api/http.h"
#include "base/list.h"

struct fake_request {
    struct http_request http;
    const char *headers[16]; /* name, value, name, value, ..., NULL */
    const char *query[16];   /* the same */
};

static inline const char *fake_header(const struct http_request *r, const char *name)
{
    const struct fake_request *f = container_of(r, const struct fake_request, http);
    for (size_t i = 0; f->headers[i]; i += 2)
        if (strcasecmp(f->headers[i], name) == 0) return f->headers[i + 1];
    return NULL;
}

static inline const char *fake_query(const struct http_request *r, const char *name)
{
    const struct fake_request *f = container_of(r, const struct fake_request, http);
    for (size_t i = 0; f->query[i]; i += 2)
        if (strcmp(f->query[i], name) == 0) return f->query[i + 1];
    return NULL;
}

static inline void fake_request_init(struct fake_request *f, enum http_method method,
                                     const char *path, const char *body)
{
    *f = (struct fake_request){.http = {.method = method,
                                        .path = path,
                                        .request_id = "req-test",
                                        .remote = "127.0.0.1",
                                        .body = body ? body : "",
                                        .body_len = body ? strlen(body) : 0,
                                        .header = fake_header,
                                        .query = fake_query}};
}

#endif
