/* POST /api/chat/completions and .../stream, and /api/chat/ws. */
#include "api/answer.h"
#include "api/models/models_int.h"
#include "api/openai/openai.h"
#include "api/request.h"
#include "api/responder.h"
#include "base/str.h"
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

static void chat(struct hub *hub, const struct http_request *req, struct sink *sink, bool stream,
                 enum models_form form)
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
    answer_start(hub, sink, &call, models_writer_new(&call, form), req->request_id, "chat");
}

/* A body that says "stream": true gets a stream here, too. */
void models_chat(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    chat(hub, req, sink, false, MODELS_HTTP);
}

void models_chat_stream(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    chat(hub, req, sink, true, MODELS_HTTP);
}

/* ---- the WebSocket ------------------------------------------------------------------------- */

static const struct field message_fields[] = {
    {"type", FIELD_STR, FIELD_REQUIRED, 0, 0, NULL, "", 0}, {.name = NULL}};

static enum err read_type(const struct http_request *req, bool *cancel, struct error *error)
{
    json_t *body = NULL;
    const char *type = NULL;
    enum err err = request_read(req, message_fields, &type, &body, error);
    *cancel = !err && str_eq(type, "cancel");
    if (!err && !*cancel && !str_eq(type, "chat"))
        err = field_error(error, "", "type", "must be chat or cancel, got \"%.40s\"", type);
    json_decref(body);
    return err;
}

/* What was to be cancelled is by now (api/socket.h). */
static void say_cancelled(struct sink *sink)
{
    static const char text[] = "{\"type\":\"cancelled\"}";
    (void)sink_respond(sink, 200, RESPOND_JSON, NULL, 0, text, sizeof text - 1);
    sink_unref(sink);
}

void models_chat_socket(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct error error;
    bool cancel;
    if (read_type(req, &cancel, &error)) {
        api_error(sink, req, &error);
        sink_unref(sink);
    } else if (cancel) {
        say_cancelled(sink);
    } else {
        chat(hub, req, sink, true, MODELS_SOCKET);
    }
}
