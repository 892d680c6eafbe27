/* A server for tests of pull: the hub's paths and a storage behind them, with faults that a test
 * sets in `hub`. Header only: each test is one program. */
#ifndef HEARTH_TESTS_HUB_SERVE_H
#define HEARTH_TESTS_HUB_SERVE_H

#include <pthread.h>
#include <sodium/crypto_hash_sha256.h>

#include "base/str.h"
#include "unit/httpc/http_script.h"
#include "unit/models/gguf_make.h"

enum { ELEMENTS = 100000 }; /* a 400 KB model */

struct hub_file {
    const char *path; /* in the repository */
    char *data;
    size_t len;
    char sha[65];
};

static struct {
    struct script *s;
    struct hub_file files[8];
    size_t n_files;
    /* faults */
    int cut_first;    /* so many answers of the storage end early */
    size_t cut_after; /* after so many bytes */
    bool ignore_range, no_etag, weak_etag, no_hash, no_length, wrong_hash, web_page;
    int status; /* of every resolve: 0 = right */
    const char *error_code;
    int fail_first; /* so many resolves answer fail_status */
    int fail_status;
    const char *retry_after;
    const char *token;   /* needed if not NULL */
    int storage_version; /* in its ETag */
    bool paged;
    const char *tree;  /* the list of files, if not NULL; "" = more than anybody reads */
    int64_t announced; /* X-Linked-Size, if > 0 */
    /* seen */
    int storage_requests, resolve_requests, tree_requests;
    char last_range[64], last_if_range[128];
    bool token_at_storage;
} hub;

/* Over `hub`: the tests hold it whenever no pull runs, the server while it answers. */
static pthread_mutex_t hub_lock = PTHREAD_MUTEX_INITIALIZER;

static void hub_add(const char *path, struct make *m)
{
    struct hub_file *f = &hub.files[hub.n_files++];
    unsigned char digest[32];
    f->path = path;
    f->len = m->b.len;
    f->data = buf_take(&m->b);
    crypto_hash_sha256(digest, (unsigned char *)f->data, f->len);
    for (int i = 0; i < 32; i++) snprintf(f->sha + 2 * i, 3, "%02x", digest[i]);
}

static void hub_add_chat(const char *path)
{
    struct make m;
    make_chat(&m, path, ELEMENTS);
    hub_add(path, &m);
}

static bool answer(struct script_request *req, int status, const char *headers, const char *body)
{
    return script_printf(req, "HTTP/1.1 %d Some Words\r\n%sContent-Length: %zu\r\n\r\n%s", status,
                         headers, strlen(body), body);
}

static bool serve_tree(struct script_request *req)
{
    struct buf text;
    char headers[256] = "";
    bool second = strstr(req->path, "cursor=2") != NULL;
    buf_init(&text, 65536);
    hub.tree_requests++;
    if (hub.tree && *hub.tree) return answer(req, 200, headers, hub.tree);
    if (hub.tree) {
        static const char zeros[1 << 16];
        script_printf(req, "HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n");
        while (script_send(req, zeros, sizeof(zeros))) continue;
        return false;
    }
    buf_puts(&text, "[{\"type\":\"directory\",\"path\":\"x.gguf\",\"size\":0},"
                    "{\"type\":\"file\",\"path\":\"README.md\",\"size\":5}");
    for (size_t i = 0; i < hub.n_files; i++) {
        struct hub_file *f = &hub.files[i];
        if (hub.paged && (i % 2 == 1) != second) continue;
        buf_printf(&text,
                   ",{\"type\":\"file\",\"path\":\"%s\",\"size\":%zu,\"lfs\":{\"oid\":\"%s\","
                   "\"size\":%zu}}",
                   f->path, f->len, f->sha, f->len);
    }
    buf_putc(&text, ']');
    if (hub.paged && !second)
        snprintf(headers, sizeof(headers),
                 "Link: <%s/api/models/org/repo/tree/main?cursor=2>; "
                 "rel=\"next\"\r\n",
                 hub.s->url);
    bool ok = answer(req, 200, headers, buf_str(&text));
    buf_free(&text);
    return ok;
}

static struct hub_file *find_file(const char *encoded)
{
    char path[512];
    size_t n = 0;
    for (const char *p = encoded; *p && n + 1 < sizeof(path); p++) {
        bool space = strncmp(p, "%20", 3) == 0;
        path[n++] = space ? ' ' : *p;
        if (space) p += 2;
    }
    path[n] = '\0';
    for (size_t i = 0; i < hub.n_files; i++)
        if (strcmp(hub.files[i].path, path) == 0) return &hub.files[i];
    return NULL;
}

static bool serve_resolve(struct script_request *req, const char *file)
{
    char headers[512] = "", auth[128], wanted[64];
    struct hub_file *f = find_file(file);
    hub.resolve_requests++;
    if (hub.error_code) snprintf(headers, sizeof(headers), "X-Error-Code: %s\r\n", hub.error_code);
    if (hub.status) return answer(req, hub.status, headers, "no");
    if (hub.fail_first-- > 0) {
        if (hub.retry_after)
            snprintf(headers, sizeof(headers), "Retry-After: %s\r\n", hub.retry_after);
        return answer(req, hub.fail_status, headers, "later");
    }
    snprintf(wanted, sizeof(wanted), "Bearer %s", hub.token ? hub.token : "");
    if (hub.token && strcmp(script_header(req, "Authorization", auth, sizeof(auth)), wanted) != 0)
        return answer(req, 401, "X-Error-Code: GatedRepo\r\n", "who?");
    if (!f) return answer(req, 404, "X-Error-Code: EntryNotFound\r\n", "none");
    char sha[65];
    memcpy(sha, f->sha, 65);
    if (hub.wrong_hash) sha[0] = sha[0] == 'a' ? 'b' : 'a';
    if (!hub.no_hash)
        snprintf(headers, sizeof(headers), "X-Linked-Etag: \"%s\"\r\nX-Linked-Size: %lld\r\n", sha,
                 (long long)(hub.announced > 0 ? hub.announced : (int64_t)f->len));
    /* another port: the token must not follow. This server listens on one only, so "localhost" */
    return script_printf(req,
                         "HTTP/1.1 302 Found\r\nLocation: http://localhost:%d/storage/%s\r\n"
                         "%sX-Repo-Commit: 0123456789abcdef\r\nContent-Length: 0\r\n\r\n",
                         hub.s->port, file, headers);
}

static bool serve_storage(struct script_request *req, const char *file)
{
    struct hub_file *f = find_file(file);
    char value[128], etag[96] = "";
    size_t from = 0;
    if (!f) return answer(req, 404, "", "none");
    hub.storage_requests++;
    if (*script_header(req, "Authorization", value, sizeof(value))) hub.token_at_storage = true;
    if (hub.web_page) return answer(req, 200, "Content-Type: text/html\r\n", "<html>log in</html>");
    script_header(req, "Range", hub.last_range, sizeof(hub.last_range));
    script_header(req, "If-Range", hub.last_if_range, sizeof(hub.last_if_range));
    if (!hub.no_etag)
        snprintf(etag, sizeof(etag), "%s\"v%d\"", hub.weak_etag ? "W/" : "", hub.storage_version);
    bool range = sscanf(hub.last_range, "bytes=%zu-", &from) == 1 && !hub.ignore_range;
    if (range && *hub.last_if_range && strcmp(hub.last_if_range, etag) != 0) range = false;
    if (!range) from = 0;
    if (range && from >= f->len) {
        snprintf(value, sizeof(value), "Content-Range: bytes */%zu\r\n", f->len);
        return answer(req, 416, value, "no such range");
    }
    size_t len = f->len - from;
    bool cut = hub.cut_first-- > 0;
    script_printf(req, "HTTP/1.1 %d OK\r\n", range ? 206 : 200);
    if (*etag) script_printf(req, "ETag: %s\r\n", etag);
    if (range) script_printf(req, "Content-Range: bytes %zu-%zu/%zu\r\n", from, f->len - 1, f->len);
    if (hub.no_length)
        script_printf(req, "Connection: close\r\n\r\n");
    else
        script_printf(req, "Content-Length: %zu\r\n\r\n", len);
    if (cut && hub.cut_after < len) len = hub.cut_after;
    script_send(req, f->data + from, len);
    return !cut && !hub.no_length;
}

static bool serve_path(struct script_request *req)
{
    static const char tree[] = "/api/models/org/repo/tree/main",
                      resolve[] = "/org/repo/resolve/main/", storage[] = "/storage/",
                      direct[] = "/files/";
    char *query = strchr(req->path, '?');
    if (str_starts(req->path, tree)) return serve_tree(req);
    if (query) *query = '\0';
    if (str_starts(req->path, resolve)) return serve_resolve(req, req->path + strlen(resolve));
    if (str_starts(req->path, storage)) return serve_storage(req, req->path + strlen(storage));
    if (str_starts(req->path, direct)) return serve_storage(req, req->path + strlen(direct));
    return answer(req, 404, "X-Error-Code: RepoNotFound\r\n", "none");
}

static bool serve(struct script *s, struct script_request *req)
{
    (void)s;
    pthread_mutex_lock(&hub_lock);
    bool go_on = serve_path(req);
    pthread_mutex_unlock(&hub_lock);
    return go_on;
}

#endif
