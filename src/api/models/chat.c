/* POST /api/chat/completions and .../stream. */
#include "api/answer.h"
#include "api/models/models_int.h"
#include "api/openai/openai.h"
#include "hub/hub.h"

static enum err parse(const json_t *body, const struct http_request *req,
                      const struct call_env *env, bool stream, struct call *call,
                      struct error *error)
{
    enum err err = chat_parse(body, req->body_len, env, call, error);
    if (err) return err;
    if (call->requests[0]->n != 1) {
        call_free(call);
        return field_error(error, "", "n",
                           "must be 1 here; /v1/chat/completions gives several answers");
    }
    call->stream |= stream;
    return OK;
}

static void chat(struct hub *hub, const struct http_request *req, struct sink *sink, bool stream)
{
    json_t *body = NULL;
    struct call_env env;
    struct call call;
    struct error error;
    enum err err = call_read(hub->config, req, &env, &body, &error);
    if (!err) err = parse(body, req, &env, stream, &call, &error);
    json_decref(body);
    if (err) {
        api_error(sink, req, &error);
        sink_unref(sink);
        return;
    }
    answer_start(hub, sink, &call, models_writer_new(&call), req->request_id, "chat");
}

/* A body that says "stream": true gets a stream here, too. */
void models_chat(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    chat(hub, req, sink, false);
}

void models_chat_stream(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    chat(hub, req, sink, true);
}
