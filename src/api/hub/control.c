/* What the scheduler can be asked and told beside generating: the queue, the cache, models in and
 * out of memory, adapters. The bodies are checked here, the answers are the provider's. */
#include <stdlib.h>
#include <string.h>

#include "api/control.h"
#include "api/hub/hub_int.h"
#include "api/request.h"
#include "hub/hub.h"

enum { ARGS_MAX = 8192 };

static void fail(const struct http_request *req, struct sink *sink, const struct error *error)
{
    api_error(sink, req, error);
    sink_unref(sink);
}

/* ---- without arguments --------------------------------------------------------------------- */

void hub_queue(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    control_respond(hub->provider, CONTROL_QUEUE, "{}", sink, req->request_id);
}

void hub_cache(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    control_respond(hub->provider, CONTROL_CACHE, "{}", sink, req->request_id);
}

void hub_adapters(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    control_respond(hub->provider, CONTROL_ADAPTERS, "{}", sink, req->request_id);
}

/* ---- with a body --------------------------------------------------------------------------- */

/* The body as an object; an empty one is {} where `optional`. */
static enum err read_body(const struct http_request *req, bool optional, const struct field *fields,
                          void *out, json_t **body, struct error *error)
{
    enum err err = request_check_type(req, error);
    if (err) return err;
    bool empty = optional && req->body_len == 0;
    err = request_parse_object(empty ? "{}" : req->body, empty ? 2 : req->body_len, body, error);
    if (err) return err;
    err = fields_read(fields, *body, "", out, error);
    if (err) json_decref(*body);
    return err;
}

/* The arguments go to the provider; they are refused when they don't fit. */
static void ask(struct hub *hub, enum control what, struct buf *args,
                const struct http_request *req, struct sink *sink)
{
    struct error error;
    if (args->err) {
        err_set(&error, ERR_TOO_LARGE, "the arguments are too long");
        fail(req, sink, &error);
    } else {
        control_respond(hub->provider, what, buf_str(args), sink, req->request_id);
    }
    buf_free(args);
}

static void args_begin(struct buf *args, struct jw *w)
{
    buf_init(args, ARGS_MAX);
    jw_init(w, args);
    jw_obj(w);
}

void hub_model_load(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct load_fields f = {.wait = true};
    struct error error;
    struct buf args;
    struct jw w;
    json_t *body;
    int64_t keep_alive = KEEP_ALIVE_DEFAULT;
    enum err err = read_body(req, true, load_fields, &f, &body, &error);
    if (err == OK) {
        err = keep_alive_read(f.keep_alive, &keep_alive, &error);
        json_decref(body);
    }
    if (err) {
        fail(req, sink, &error);
        return;
    }
    args_begin(&args, &w);
    jw_kstr(&w, "model", req->params[0]);
    if (keep_alive != KEEP_ALIVE_DEFAULT) /* in seconds */
        jw_kdouble(&w, "keep_alive",
                   keep_alive == KEEP_ALIVE_FOREVER ? -1
                   : keep_alive == KEEP_ALIVE_NONE  ? 0
                                                    : (double)keep_alive / 1000);
    jw_kbool(&w, "wait", f.wait);
    if (f.force) jw_kbool(&w, "force", true);
    jw_obj_end(&w);
    ask(hub, CONTROL_LOAD, &args, req, sink);
}

void hub_model_unload(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct buf args;
    struct jw w;
    args_begin(&args, &w);
    jw_kstr(&w, "model", req->params[0]);
    jw_obj_end(&w);
    ask(hub, CONTROL_UNLOAD, &args, req, sink);
}

void hub_model_plan(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct plan_fields f = {.model = ""};
    struct error error;
    struct buf args;
    struct jw w;
    json_t *body;
    if (read_body(req, false, plan_fields, &f, &body, &error)) {
        fail(req, sink, &error);
        return;
    }
    args_begin(&args, &w);
    jw_kstr(&w, "model", f.model);
    if (f.context) jw_kint(&w, "context", f.context);
    jw_obj_end(&w);
    json_decref(body);
    ask(hub, CONTROL_PLAN, &args, req, sink);
}

void hub_adapter_load(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct adapter_load_fields f = {.scale = 1};
    struct error error;
    struct buf args;
    struct jw w;
    json_t *body;
    if (read_body(req, false, adapter_load_fields, &f, &body, &error)) {
        fail(req, sink, &error);
        return;
    }
    args_begin(&args, &w);
    jw_kstr(&w, "adapter_name", f.name);
    jw_kdouble(&w, "scale", f.scale);
    jw_obj_end(&w);
    json_decref(body);
    ask(hub, CONTROL_ADAPTER_LOAD, &args, req, sink);
}
