/* Pages and their parts, embedded in the binary (api/assets.h), and the OpenAPI document.
 *
 * Pages run no inline script and load nothing from elsewhere; the policy of each says so, so that a
 * model's answer that smuggles markup into a page could still do nothing. */
#include <string.h>
#include <strings.h>

#include "api/assets.h"
#include "api/hub/hub_int.h"
#include "api/ollama/ollama.h"
#include "api/openapi.h"
#include "base/str.h"

/* Swagger UI and ReDoc set styles from scripts; ReDoc searches in a worker. */
#define CSP_COMMON "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
static const char csp_page[] = CSP_COMMON
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:";
static const char csp_docs[] = CSP_COMMON
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; "
    "img-src 'self' data:; font-src 'self' data:; worker-src 'self' blob:";

static const struct asset *find_asset(const char *path)
{
    for (const struct asset *a = api_assets; a->path; a++)
        if (strcmp(a->path, path) == 0) return a;
    return NULL;
}

static void not_found(struct sink *sink, const struct http_request *req)
{
    struct error error;
    err_set(&error, ERR_NOT_FOUND, "there is no %.200s", req->path);
    api_error(sink, req, &error);
}

/* ---- entity tags --------------------------------------------------------------------------- */

/* FNV-1a over 8 bytes at a time: tells versions of a bundle apart, nothing more. */
static uint64_t digest(const unsigned char *data, size_t len)
{
    uint64_t h = 0xcbf29ce484222325u ^ len;
    for (; len >= 8; data += 8, len -= 8) {
        uint64_t word;
        memcpy(&word, data, 8);
        h = (h ^ word) * 0x100000001b3u;
        h ^= h >> 29;
    }
    for (size_t i = 0; i < len; i++) h = (h ^ data[i]) * 0x100000001b3u;
    return h;
}

/* Whether If-None-Match names the tag: a list, each may be weak (W/), or "*". */
static bool etag_matches(const char *header, const char *etag)
{
    return header && (strcmp(header, "*") == 0 || strstr(header, etag));
}

/* RFC 9110, 12.5.3: without the header any coding will do. */
static bool accepts_gzip(const struct http_request *req)
{
    const char *s = req->header(req, "Accept-Encoding");
    if (!s) return true;
    const char *found = strcasestr(s, "gzip");
    if (!found) found = strchr(s, '*');
    if (!found) return false;
    const char *q = found + strcspn(found, ",;");
    q += strspn(q, "; ");
    if (strncasecmp(q, "q=0", 3) != 0) return true;
    return q[3 + strspn(q + 3, ".0")] >= '1' && q[3 + strspn(q + 3, ".0")] <= '9';
}

/* ---- sending ------------------------------------------------------------------------------- */

static void send_asset(struct sink *sink, const struct http_request *req, const struct asset *a,
                       const char *csp)
{
    char etag[24];
    str_printf(etag, sizeof etag, "\"%016llx\"", (unsigned long long)digest(a->data, a->len));
    struct sink_header headers[7] = {
        {"ETag", etag},
        {"Cache-Control", "no-cache"}, /* ask again; the tag answers in no bytes */
        {"X-Content-Type-Options", "nosniff"},
        {"Referrer-Policy", "no-referrer"},
    };
    size_t n = 4;
    if (csp) headers[n++] = (struct sink_header){"Content-Security-Policy", csp};
    if (a->gzip) headers[n++] = (struct sink_header){"Content-Encoding", "gzip"};
    if (csp) headers[n++] = (struct sink_header){"Vary", "Accept"};
    bool same = etag_matches(req->header(req, "If-None-Match"), etag);
    (void)sink_respond(sink, same ? 304 : 200, a->content_type, headers, n, a->data,
                       same ? 0 : a->len);
}

static void send_page(struct sink *sink, const struct http_request *req, const char *path,
                      const char *csp)
{
    const struct asset *a = find_asset(path);
    if (a)
        send_asset(sink, req, a, csp);
    else
        not_found(sink, req);
}

void hub_root(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    const char *accept = req->header(req, "Accept");
    bool page = accept && strstr(accept, "text/html");
    if (!page && ollama_is_client(req)) {
        (void)sink_respond(sink, 200, "text/plain; charset=utf-8", NULL, 0, OLLAMA_RUNNING,
                           strlen(OLLAMA_RUNNING));
        sink_unref(sink);
        return;
    }
    if (!page) {
        hub_health(hub, req, sink);
        return;
    }
    send_page(sink, req, "/assets/index.html", csp_page);
    sink_unref(sink);
}

void hub_docs(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    (void)hub;
    send_page(sink, req, "/assets/docs.html", csp_docs);
    sink_unref(sink);
}

void hub_redoc(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    (void)hub;
    send_page(sink, req, "/assets/redoc.html", csp_docs);
    sink_unref(sink);
}

void hub_asset(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    (void)hub;
    struct error error;
    const struct asset *a = find_asset(req->path);
    if (!a) {
        not_found(sink, req);
    } else if (a->gzip && !accepts_gzip(req)) {
        err_set(&error, ERR_UNSUPPORTED,
                "%s is only kept gzipped; allow gzip in Accept-Encoding (curl --compressed)",
                a->path);
        api_error(sink, req, &error);
    } else {
        send_asset(sink, req, a, NULL);
    }
    sink_unref(sink);
}

void hub_openapi(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    static const struct sink_header headers[] = {{"Cache-Control", "no-cache"}};
    (void)hub;
    struct buf body;
    struct error error;
    buf_init(&body, 4 * 1024 * 1024);
    enum err err = api_render_openapi(&body);
    if (err) {
        err_set(&error, err, "writing the OpenAPI document failed");
        api_error(sink, req, &error);
    } else {
        (void)sink_respond(sink, 200, "application/json", headers, 1, buf_str(&body), body.len);
    }
    buf_free(&body);
    sink_unref(sink);
}
