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
    bool may_store;
};

/* The whole body to a call and its writer. */
static enum err read_call(const struct endpoint *e, struct hub *hub, const struct http_request *req,
                          struct call *call, struct writer **writer, struct error *error)
{
    json_t *body;
    struct call_env env;
    struct stored_info info;
    enum err err = call_read(hub->config, req, &env, &body, error);
    if (err) return err;
    err = e->parse(body, req->body_len, &env, call, error);
    bool store = e->may_store && json_is_true(json_object_get(body, "store"));
    if (!err && store && (err = stored_info_read(hub, req, body, call, &info, error)))
        call_free(call);
    if (!err) *writer = store ? stored_writer_new(hub, call, &info) : e->writer_new(call);
    json_decref(body);
    return err;
}

static void generate(const struct endpoint *e, struct hub *hub, const struct http_request *req,
                     struct sink *sink)
{
    struct call call;
    struct error error;
    struct writer *writer;
    if (read_call(e, hub, req, &call, &writer, &error) == OK) {
        answer_start(hub, sink, &call, writer, req->request_id, e->what);
    } else {
        api_error(sink, req, &error);
        sink_unref(sink);
    }
}

void openai_chat(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    static const struct endpoint chat = {"chat", chat_parse, chat_writer_new, true};
    generate(&chat, hub, req, sink);
}

void openai_completions(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    static const struct endpoint completion = {"completion", completion_parse,
                                               completion_writer_new, false};
    generate(&completion, hub, req, sink);
}
