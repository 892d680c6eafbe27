/* POST /completion and POST /infill. */
#include "api/answer.h"
#include "api/error.h"
#include "api/llama/llama_int.h"
#include "api/route.h"
#include "hub/hub.h"

static void complete(struct hub *hub, const struct http_request *req, struct sink *sink,
                     bool infill)
{
    struct call call;
    struct completion_wish wish;
    struct call_env env;
    struct error error;
    json_t *body = NULL;
    enum err e = call_read(hub->config, req, &env, &body, &error);
    if (!e) e = completion_read(body, req->body_len, infill, &env, &call, &wish, &error);
    json_decref(body);
    if (e) {
        api_error(sink, req, &error);
        sink_unref(sink);
        return;
    }
    struct writer *writer = lserver_writer_new(&call, &wish);
    answer_start(hub, sink, &call, writer, req->request_id, infill ? "infill" : "completion");
}

void lserver_completion(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    complete(hub, req, sink, false);
}

void lserver_infill(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    complete(hub, req, sink, true);
}
