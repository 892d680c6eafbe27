/* Names, and the sink's verbs: thin on purpose, so that every caller goes through one place per
 * verb. */
#include "api/http.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"

const char *http_method_name(enum http_method method)
{
    static const char *const names[] = {
        [HTTP_GET] = "GET",         [HTTP_HEAD] = "HEAD",   [HTTP_POST] = "POST",
        [HTTP_PUT] = "PUT",         [HTTP_PATCH] = "PATCH", [HTTP_DELETE] = "DELETE",
        [HTTP_OPTIONS] = "OPTIONS",
    };
    ht_assert((size_t)method < sizeof(names) / sizeof(names[0]));
    return names[method];
}

enum err sink_respond(struct sink *s, int status, const char *content_type,
                      const struct sink_header *headers, size_t n, const void *body, size_t len)
{
    ht_assert(status >= 200 && status <= 599);
    ht_assert((headers || n == 0) && (body || len == 0));
    return s->ops->respond(s, status, content_type, headers, n, body, len);
}

/* For sinks in memory. */
static enum err respond_read(struct sink *s, int status, const char *content_type,
                             const struct sink_header *headers, size_t n, int fd, int64_t size)
{
    char *text = try_malloc((size_t)size + 1);
    int64_t got = 0;
    enum err e = text ? OK : ERR_NOMEM;
    while (!e && got < size) {
        ssize_t more = pread(fd, text + got, (size_t)(size - got), got);
        if (more <= 0) e = ERR_IO;
        got += more;
    }
    if (!e) e = s->ops->respond(s, status, content_type, headers, n, text, (size_t)size);
    free(text);
    close(fd);
    return e;
}

enum err sink_respond_file(struct sink *s, int status, const char *content_type,
                           const struct sink_header *headers, size_t n, int fd, int64_t size)
{
    ht_assert(status >= 200 && status <= 599 && fd >= 0 && size >= 0);
    if (!s->ops->respond_file) return respond_read(s, status, content_type, headers, n, fd, size);
    return s->ops->respond_file(s, status, content_type, headers, n, fd, size);
}

enum err sink_begin(struct sink *s, int status, const char *content_type,
                    const struct sink_header *headers, size_t n)
{
    ht_assert(status >= 200 && status <= 599);
    ht_assert(headers || n == 0);
    return s->ops->begin(s, status, content_type, headers, n);
}

enum err sink_write(struct sink *s, const void *data, size_t len)
{
    ht_assert(data || len == 0);
    return s->ops->write(s, data, len);
}

void sink_end(struct sink *s)
{
    s->ops->end(s);
}

void sink_on_close(struct sink *s, sink_close_fn fn, void *ctx)
{
    s->ops->on_close(s, fn, ctx);
}

struct sink *sink_ref(struct sink *s)
{
    s->ops->ref(s);
    return s;
}

void sink_unref(struct sink *s)
{
    if (s) s->ops->unref(s);
}
