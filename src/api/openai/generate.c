/* POST /v1/chat/completions and POST /v1/completions: they differ in how they read and write. */
#include "api/answer.h"
#include "api/openai/openai_int.h"
#include "api/openai/writer.h"
#include "api/route.h"
#include "hub/hub.h"

struct endpoint {
    const char *what;
    enum err (*parse)(const json_t *body, size_t text_len, const struct call_env *env,
                      struct call *out, struct error *error);
    struct writer *(*writer_new)(const struct call *call);
};

static enum err parse_body(const struct endpoint *e, const struct hub *hub,
                           const struct http_request *req, struct call *call, struct error *error)
{
    json_t *body;
    struct call_env env;
    enum err err = call_read(hub->config, req, &env, &body, error);
    if (err) return err;
    err = e->parse(body, req->body_len, &env, call, error);
    json_decref(body);
    return err;
}

static void generate(const struct endpoint *e, struct hub *hub, const struct http_request *req,
                     struct sink *sink)
{
    struct call call;
    struct error error;
    if (parse_body(e, hub, req, &call, &error) == OK) {
        struct writer *writer = e->writer_new(&call);
        answer_start(hub, sink, &call, writer, req->request_id, e->what);
    } else {
        api_error(sink, req, &error);
        sink_unref(sink);
    }
}

void openai_chat(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    static const struct endpoint chat = {"chat", chat_parse, chat_writer_new};
    generate(&chat, hub, req, sink);
}

void openai_completions(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    static const struct endpoint completion = {"completion", completion_parse,
                                               completion_writer_new};
    generate(&completion, hub, req, sink);
}
