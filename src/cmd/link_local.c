/* Link into a hub of this process: the API's own handlers, answering into a sink that feeds the
 * reply. So a chat without a server goes the same way as one with it, but for the sockets. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "api/close_hook.h"
#include "api/http.h"
#include "api/route.h"
#include "base/id.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/cmd_int.h"
#include "cmd/link.h"
#include "hub/hub.h"

enum { STOP_GRACE_MS = 2000, REQUEST_ID_MAX = 40, PATH_MAX_HERE = 128, PARAMS_MAX = 256 };

enum state { SINK_OPEN, SINK_STREAMING, SINK_ENDED, SINK_CLOSED };

/* One request and where its answer goes. Freed with the last reference. */
struct exchange {
    struct sink sink; /* first */
    struct http_request req;
    char request_id[REQUEST_ID_MAX];
    char path[PATH_MAX_HERE], params[PARAMS_MAX];
    char *body;
    atomic_int refs;

    pthread_mutex_t lock;
    enum state state;
    struct reply *reply; /* NULL once its end was pushed */
    struct close_hook hook;
};

struct local {
    struct link link;
    struct hub *hub;
    struct exchange *current; /* referenced until the next request or the close */
};

static struct exchange *exchange_of(struct sink *s)
{
    return (struct exchange *)s;
}

/* Under the lock. */
static void end_reply(struct exchange *x, const struct error *error)
{
    if (x->reply) reply_push_end(x->reply, error);
    x->reply = NULL;
}

static enum err sink_do_respond(struct sink *s, int status, const char *content_type,
                                const struct sink_header *headers, size_t n, const void *body,
                                size_t len)
{
    (void)content_type, (void)headers, (void)n;
    struct exchange *x = exchange_of(s);
    pthread_mutex_lock(&x->lock);
    bool open = x->state == SINK_OPEN;
    if (open) {
        reply_push_status(x->reply, status);
        if (len) (void)reply_push_data(x->reply, body, len);
        x->state = SINK_ENDED;
        end_reply(x, NULL);
    }
    pthread_mutex_unlock(&x->lock);
    return open ? OK : ERR_CLOSED;
}

static enum err sink_do_begin(struct sink *s, int status, const char *content_type,
                              const struct sink_header *headers, size_t n)
{
    (void)content_type, (void)headers, (void)n;
    struct exchange *x = exchange_of(s);
    pthread_mutex_lock(&x->lock);
    bool open = x->state == SINK_OPEN;
    if (open) {
        reply_push_status(x->reply, status);
        x->state = SINK_STREAMING;
    }
    pthread_mutex_unlock(&x->lock);
    return open ? OK : ERR_CLOSED;
}

static enum err sink_do_write(struct sink *s, const void *data, size_t len)
{
    struct exchange *x = exchange_of(s);
    pthread_mutex_lock(&x->lock);
    bool streaming = x->state == SINK_STREAMING;
    if (streaming && x->reply && !reply_push_data(x->reply, data, len)) {
        /* Broken or too large: nobody reads the rest. The producer stops at ERR_CLOSED. */
        x->state = SINK_CLOSED;
        end_reply(x, NULL);
        streaming = false;
    }
    pthread_mutex_unlock(&x->lock);
    return streaming ? OK : ERR_CLOSED;
}

static void sink_do_end(struct sink *s)
{
    struct exchange *x = exchange_of(s);
    pthread_mutex_lock(&x->lock);
    if (x->state == SINK_STREAMING) {
        x->state = SINK_ENDED;
        end_reply(x, NULL);
    }
    pthread_mutex_unlock(&x->lock);
}

static void sink_do_on_close(struct sink *s, sink_close_fn fn, void *ctx)
{
    struct exchange *x = exchange_of(s);
    pthread_mutex_lock(&x->lock);
    close_hook_set(&x->hook, &x->lock, fn, ctx);
    if (x->state == SINK_CLOSED) close_hook_run(&x->hook, &x->lock);
    pthread_mutex_unlock(&x->lock);
}

static void sink_do_ref(struct sink *s)
{
    atomic_fetch_add(&exchange_of(s)->refs, 1);
}

static void sink_do_unref(struct sink *s)
{
    struct exchange *x = exchange_of(s);
    if (atomic_fetch_sub(&x->refs, 1) != 1) return;
    pthread_mutex_destroy(&x->lock);
    close_hook_deinit(&x->hook);
    free(x->body);
    free(x);
}

static const struct sink_ops exchange_ops = {
    .respond = sink_do_respond,
    .begin = sink_do_begin,
    .write = sink_do_write,
    .end = sink_do_end,
    .on_close = sink_do_on_close,
    .ref = sink_do_ref,
    .unref = sink_do_unref,
};

static const char *no_header(const struct http_request *r, const char *name)
{
    (void)r, (void)name;
    return NULL;
}

static struct exchange *exchange_new(enum http_method method, const char *path, const char *body,
                                     size_t len, struct reply *reply)
{
    struct exchange *x = xcalloc(1, sizeof(*x));
    x->sink.ops = &exchange_ops;
    x->reply = reply;
    atomic_init(&x->refs, 1);
    pthread_mutex_init(&x->lock, NULL);
    close_hook_init(&x->hook);
    id_make(x->request_id, sizeof(x->request_id), "req-");
    ht_assert(str_copy(x->path, sizeof(x->path), path));
    x->body = xmalloc(len + 1);
    if (len) memcpy(x->body, body, len);
    x->body[len] = '\0';
    x->req = (struct http_request){
        .method = method,
        .path = x->path,
        .request_id = x->request_id,
        .remote = "here",
        .body = x->body,
        .body_len = len,
        .header = no_header,
        .query = no_header,
    };
    return x;
}

static void drop_current(struct local *local)
{
    if (local->current) sink_unref(&local->current->sink);
    local->current = NULL;
}

static enum http_method method_of(const char *name)
{
    int m = HTTP_GET;
    while (m < HTTP_OPTIONS && !str_eq(http_method_name((enum http_method)m), name)) m++;
    return (enum http_method)m;
}

static enum err local_start(struct link *link, const char *name, const char *path, const char *body,
                            size_t len, struct reply *reply, struct error *error)
{
    struct local *local = (struct local *)link;
    drop_current(local);
    enum http_method method = method_of(name);
    struct exchange *x = exchange_new(method, path, body, len, reply);
    const struct route *route;
    char allow[64];
    if (route_find(method, x->path, &route, x->params, sizeof(x->params), x->req.params, allow) !=
        ROUTE_FOUND) {
        sink_unref(&x->sink);
        return err_set(error, ERR_NOT_FOUND, "the API has no %s", path);
    }
    local->current = x;
    route->handler(local->hub, &x->req, sink_ref(&x->sink));
    return OK;
}

static void local_cancel(struct link *link)
{
    struct exchange *x = ((struct local *)link)->current;
    struct error error;
    err_set(&error, ERR_CANCELLED, "interrupted");
    pthread_mutex_lock(&x->lock);
    if (x->state != SINK_ENDED && x->state != SINK_CLOSED) {
        x->state = SINK_CLOSED;
        end_reply(x, &error);
        close_hook_run(&x->hook, &x->lock);
    }
    pthread_mutex_unlock(&x->lock);
}

static void local_close(struct link *link)
{
    struct local *local = (struct local *)link;
    drop_current(local);
    hub_close(local->hub, STOP_GRACE_MS);
    free(local);
}

static const struct link_ops local_ops = {
    .name = "local",
    .start = local_start,
    .cancel = local_cancel,
    .close = local_close,
};

enum err link_open_local(const struct config *config, struct link **out, struct error *error)
{
    enum err err = cmd_check_settings(config, error);
    if (err) return err;
    struct local *local = xcalloc(1, sizeof(*local));
    local->link.ops = &local_ops;
    local->link.local = true;
    str_copy(local->link.where, sizeof(local->link.where), "this process");
    err = hub_open(config, &local->hub, error);
    if (err) {
        free(local);
        return err;
    }
    err = cmd_default_model(local->hub, &local->link.model, error);
    if (err) {
        local_close(&local->link);
        return err;
    }
    local->link.others = router_routing(local->hub->router)->routes[0].n > 1;
    *out = &local->link;
    return OK;
}
