/* Link to a running hub over HTTP. Callbacks run on the net thread and only push into the reply. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "cmd/link.h"

/* A model may have to be loaded, and a long prompt read, before the first byte comes. */
enum { CONNECT_MS = 3000, IDLE_MS = 600000 };

struct remote {
    struct link link;
    struct httpc *http;
    char url[LINK_URL_MAX];
    char *authorization; /* a header line, or NULL */
    uint64_t id;
    struct reply *reply;
};

static bool on_response(void *ctx, const struct httpc_response *r)
{
    struct remote *remote = ctx;
    reply_push_status(remote->reply, r->status);
    return true;
}

static bool on_data(void *ctx, const void *data, size_t len)
{
    struct remote *remote = ctx;
    return reply_push_data(remote->reply, data, len);
}

static void on_done(void *ctx, const struct httpc_response *r, const struct error *error)
{
    (void)r;
    struct remote *remote = ctx;
    reply_push_end(remote->reply, error);
}

static enum err remote_start(struct link *link, const char *method, const char *path,
                             const char *body, size_t len, struct reply *reply, struct error *error)
{
    struct remote *remote = (struct remote *)link;
    const char *headers[2];
    size_t n = 0;
    if (body) headers[n++] = "Content-Type: application/json";
    if (remote->authorization) headers[n++] = remote->authorization;
    char url[LINK_URL_MAX + LINK_PATH_MAX];
    if (!str_printf(url, sizeof(url), "%s%s", remote->url, path))
        return err_set(error, ERR_INVALID, "the URL %s%s is too long", remote->url, path);
    remote->reply = reply;
    struct httpc_request req = {
        .method = method,
        .url = url,
        .headers = headers,
        .n_headers = n,
        .body = body,
        .body_len = len,
        .connect_timeout_ms = CONNECT_MS,
        .idle_timeout_ms = IDLE_MS,
        .on_response = on_response,
        .on_data = on_data,
        .on_done = on_done,
        .ctx = remote,
    };
    return httpc_start(remote->http, &req, &remote->id, error);
}

static void remote_cancel(struct link *link)
{
    struct remote *remote = (struct remote *)link;
    httpc_cancel(remote->http, remote->id);
}

static void remote_close(struct link *link)
{
    struct remote *remote = (struct remote *)link;
    httpc_free(remote->http);
    free(remote->authorization);
    free(remote);
}

static const struct link_ops remote_ops = {
    .name = "remote",
    .start = remote_start,
    .cancel = remote_cancel,
    .close = remote_close,
};

/* The key as a header line; NULL: there is none. */
static char *make_authorization(const char *key)
{
    size_t size = strlen(key) + sizeof("Authorization: Bearer ");
    if (!*key) return NULL;
    char *line = xmalloc(size);
    str_printf(line, size, "Authorization: Bearer %s", key);
    return line;
}

void link_authorize(struct link *link, const char *key)
{
    struct remote *remote = (struct remote *)link;
    ht_assert(link->ops == &remote_ops);
    free(remote->authorization);
    remote->authorization = make_authorization(key);
}

enum err link_open_remote(const struct config *config, const char *url, struct link **out,
                          struct error *error)
{
    if (!str_starts(url, "http://") && !str_starts(url, "https://"))
        return err_set(error, ERR_INVALID,
                       "'%s' is no URL of a hub; it looks like http://127.0.0.1:8000", url);
    struct remote *remote = xcalloc(1, sizeof(*remote));
    remote->link.ops = &remote_ops;
    if (!str_copy(remote->url, sizeof(remote->url), url)) {
        free(remote);
        return err_set(error, ERR_INVALID, "the URL is longer than %d bytes", LINK_URL_MAX - 1);
    }
    size_t len = strlen(remote->url);
    while (len > 0 && remote->url[len - 1] == '/') remote->url[--len] = '\0';
    if (str_ends(remote->url, "/v1")) remote->url[len - 3] = '\0'; /* as other clients want it */
    str_copy(remote->link.where, sizeof(remote->link.where), remote->url);
    enum err err = httpc_new(&remote->http, error);
    if (err) {
        free(remote);
        return err;
    }
    remote->authorization = make_authorization(config_str(config, CONFIG_API_KEY));
    *out = &remote->link;
    return OK;
}
