/* POST /api/pull: a download with its progress, line by line; and /api/push, which is none.
 *
 * Lifetime: the handler's call holds a reference and the download one until its end. A client that
 * goes stops it; the next pull of the same model goes on from there. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "api/ollama/ollama_int.h"
#include "api/request.h"
#include "api/route.h"
#include "base/mem.h"
#include "base/str.h"
#include "hub/hub.h"
#include "hub/pulls.h"

enum { LINE_MAX = 8192 };

struct pulling {
    struct hub *hub;
    struct sink *sink;
    char *request_id;
    bool stream;
    atomic_int refs;
    atomic_bool gone;
    bool begun; /* the rest: of the download's thread */
    unsigned phase;
};

static void pulling_unref(struct pulling *p)
{
    if (atomic_fetch_sub(&p->refs, 1) != 1) return;
    sink_on_close(p->sink, NULL, NULL);
    sink_unref(p->sink);
    free(p->request_id);
    free(p);
}

static void client_gone(void *ctx)
{
    struct pulling *p = ctx;
    atomic_store(&p->gone, true);
}

static void begin(struct pulling *p)
{
    if (p->begun || !p->stream) return;
    p->begun = true;
    (void)sink_begin(p->sink, 200, NDJSON, NULL, 0); /* shows again at the next write */
}

/* One line; name NULL: of no file. */
static void say(struct pulling *p, const char *status, const struct pull_progress *now)
{
    struct buf line;
    struct jw w;
    if (!p->stream) return;
    begin(p);
    buf_init(&line, LINE_MAX);
    jw_init(&w, &line);
    jw_obj(&w);
    jw_kstr(&w, "status", status);
    if (now) {
        jw_kstr(&w, "digest", now->file);
        if (now->total >= 0) jw_kint(&w, "total", now->total);
        if (now->done > 0) jw_kint(&w, "completed", now->done);
    }
    jw_obj_end(&w);
    buf_putc(&line, '\n');
    if (sink_write(p->sink, buf_str(&line), line.len)) atomic_store(&p->gone, true);
    buf_free(&line);
}

static bool on_progress(void *ctx, const struct pull_progress *now)
{
    struct pulling *p = ctx;
    char status[LINE_MAX / 4];
    bool first = (unsigned)now->phase != p->phase;
    p->phase = (unsigned)now->phase;
    switch (now->phase) {
    case PULL_RESOLVING:
        if (first) say(p, "pulling manifest", NULL);
        break;
    case PULL_VERIFYING: break;
    case PULL_DOWNLOADING:
    case PULL_FINISHED: /* clients wait for the line on which all of it is there */
        str_printf(status, sizeof status, "pulling %s", now->file);
        say(p, status, now);
        if (now->phase == PULL_DOWNLOADING) break;
        say(p, "verifying sha256 digest", NULL);
        say(p, "writing manifest", NULL);
        break;
    }
    return !atomic_load(&p->gone);
}

static void fail(struct pulling *p, const struct error *error)
{
    struct error said = *error;
    if (said.code == ERR_NO_MODEL || said.code == ERR_NOT_FOUND)
        err_set(&said, ERR_NOT_FOUND, "pull model manifest: file does not exist: %s", error->msg);
    if (!p->begun) {
        error_respond(p->sink, &error_ollama, &said, p->request_id);
        return;
    }
    struct buf line;
    buf_init(&line, LINE_MAX);
    error_ollama.write(&line, &said, p->request_id);
    buf_putc(&line, '\n');
    (void)sink_write(p->sink, buf_str(&line), line.len);
    sink_end(p->sink);
    buf_free(&line);
}

static void on_done(void *ctx, const struct error *error, const struct model_info *model)
{
    static const char done[] = "{\"status\":\"success\"}";
    struct pulling *p = ctx;
    (void)model;
    if (error) {
        fail(p, error);
    } else if (p->stream) {
        say(p, "success", NULL);
        sink_end(p->sink);
    } else {
        (void)sink_respond(p->sink, 200, "application/json", NULL, 0, done, sizeof done - 1);
    }
    if (!error) snapshot_expire(p->hub->models_view);
    pulling_unref(p);
}

static enum err read_call(const struct http_request *req, struct ollama_model_fields *f,
                          json_t **root, struct error *error)
{
    *f = (struct ollama_model_fields){.stream = true};
    enum err err = request_read(req, ollama_pull_fields, f, root, error);
    if (err) return err;
    if (!f->model || !*f->model) f->model = f->name;
    if (!f->model || !*f->model)
        return err_set_param(error, ERR_INVALID, "/model", "invalid model name");
    return OK;
}

void ollama_pull(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct ollama_model_fields f;
    json_t *root;
    struct error error;
    enum err err = read_call(req, &f, &root, &error);
    if (err) {
        api_error(sink, req, &error);
        sink_unref(sink);
        json_decref(root);
        return;
    }
    struct pulling *p = xcalloc(1, sizeof *p);
    *p = (struct pulling){.hub = hub,
                          .sink = sink,
                          .request_id = xstrdup(req->request_id),
                          .stream = f.stream,
                          .phase = ~0u};
    atomic_init(&p->refs, 2);
    struct pulls_listener listener = {on_progress, on_done, p};
    sink_on_close(sink, client_gone, p);
    err = pulls_start(hub->pulls, f.model, &listener, &error);
    json_decref(root);
    if (err) {
        fail(p, &error);
        pulling_unref(p);
    }
    pulling_unref(p);
}

/* A hub is nobody's registry. */
void ollama_push(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct error error;
    (void)hub;
    err_set(&error, ERR_UNSUPPORTED,
            "models can't be pushed from here: there is no registry behind this hub");
    api_error(sink, req, &error);
    sink_unref(sink);
}
