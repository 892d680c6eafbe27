/* POST /api/chat and /api/generate. A call without messages or prompt loads the model, or, with
 * "keep_alive": 0, unloads it. */
#include <stdlib.h>

#include "api/answer.h"
#include "api/ollama/ollama_int.h"
#include "api/route.h"
#include "base/mem.h"
#include "base/str.h"
#include "hub/hub.h"

struct endpoint {
    const char *what;
    bool chat;
    enum err (*parse)(const json_t *body, size_t text_len, const struct call_env *env,
                      struct ollama_call *out, struct error *error);
};

/* ---- loading ------------------------------------------------------------------------------- */

struct loading {
    struct sink *sink;
    char *request_id;
    bool chat, stream, unload;
    char model[MODEL_ID_MAX];
};

static void loading_free(struct loading *l)
{
    sink_unref(l->sink);
    free(l->request_id);
    free(l);
}

static void refuse(struct loading *l, const struct error *error)
{
    struct error said = *error;
    if (said.code == ERR_NO_MODEL) ollama_no_model(&said, l->model);
    error_respond(l->sink, &error_ollama, &said, l->request_id);
}

static void on_loaded(void *ctx, const struct error *error, const char *answer, size_t len)
{
    struct loading *l = ctx;
    struct buf body;
    struct jw w;
    (void)answer, (void)len;
    if (error) {
        refuse(l, error);
        loading_free(l);
        return;
    }
    buf_init(&body, 4096);
    jw_init(&w, &body);
    jw_obj(&w);
    jw_kstr(&w, "model", l->model);
    ollama_created_at(&w);
    if (l->chat) {
        jw_key(&w, "message");
        jw_obj(&w);
        jw_kstr(&w, "role", "assistant");
        jw_kstr(&w, "content", "");
        jw_obj_end(&w);
    } else {
        jw_kstr(&w, "response", "");
    }
    jw_kbool(&w, "done", true);
    jw_kstr(&w, "done_reason", l->unload ? "unload" : "load");
    jw_obj_end(&w);
    if (l->stream) buf_putc(&body, '\n');
    (void)sink_respond(l->sink, 200, l->stream ? NDJSON : "application/json", NULL, 0,
                       buf_str(&body), body.len);
    buf_free(&body);
    loading_free(l);
}

/* As the provider's verb has it: milliseconds, for ever, or what is configured. */
static void put_keep_alive(struct jw *w, int64_t ms)
{
    char text[32];
    if (ms == KEEP_ALIVE_FOREVER) jw_kstr(w, "keep_alive", "forever");
    if (ms <= 0) return;
    str_printf(text, sizeof text, "%lldms", (long long)ms);
    jw_kstr(w, "keep_alive", text);
}

static void load(struct hub *hub, const struct http_request *req, struct sink *sink,
                 const struct endpoint *e, struct ollama_call *call)
{
    struct loading *l = xcalloc(1, sizeof *l);
    struct error error;
    struct buf args;
    struct jw w;
    *l = (struct loading){.sink = sink,
                          .request_id = xstrdup(req->request_id),
                          .chat = e->chat,
                          .stream = call->call.stream,
                          .unload = call->keep_alive_ms == KEEP_ALIVE_NONE};
    str_copy(l->model, sizeof l->model, call->model);
    buf_init(&args, 4096);
    jw_init(&w, &args);
    jw_obj(&w);
    jw_kstr(&w, "model", call->call.requests[0]->model);
    if (!l->unload) put_keep_alive(&w, call->keep_alive_ms);
    if (!l->unload) jw_kbool(&w, "wait", true);
    jw_obj_end(&w);
    call_free(&call->call);
    if (provider_control(hub->provider, l->unload ? CONTROL_UNLOAD : CONTROL_LOAD, buf_str(&args),
                         on_loaded, l, &error)) {
        refuse(l, &error);
        loading_free(l);
    }
    buf_free(&args);
}

/* ---- generating ---------------------------------------------------------------------------- */

static enum err parse_body(const struct endpoint *e, const struct hub *hub,
                           const struct http_request *req, struct ollama_call *call,
                           struct error *error)
{
    json_t *body;
    struct call_env env;
    enum err err = call_read(hub->config, req, &env, &body, error);
    if (err) return err;
    err = e->parse(body, req->body_len, &env, call, error);
    json_decref(body);
    return err;
}

/* What a model on this machine is known not to be able to do; of others their providers know. */
static enum err check_model(const struct hub *hub, const struct ollama_call *call,
                            struct error *error)
{
    struct model_info *info = xcalloc(1, sizeof *info);
    enum err err = OK;
    bool here = call->wants_thinking &&
                models_resolve(hub->models, call->call.requests[0]->model, false, info, NULL) == OK;
    if (here && !info->has_thinking)
        err = err_set_param(error, ERR_INVALID, "/think", "\"%.200s\" does not support thinking",
                            call->model);
    free(info);
    return err;
}

/* What changes the hub for others, or could keep its worker busy for good, is for admins. */
static enum err check_rights(const struct http_request *req, const struct ollama_call *call,
                             struct error *error)
{
    if (!req->who || req->who->admin) return OK;
    if (call->call.requests[0]->chat_template)
        return err_set_param(error, ERR_FORBIDDEN, "/template",
                             "a template of one's own is for admins; ask for a model that has it");
    if (call->load_only && call->keep_alive_ms == KEEP_ALIVE_NONE)
        return err_set(error, ERR_FORBIDDEN, "unloading a model is for admins");
    return OK;
}

static void generate(const struct endpoint *e, struct hub *hub, const struct http_request *req,
                     struct sink *sink)
{
    struct ollama_call call = {0};
    struct error error;
    enum err err = parse_body(e, hub, req, &call, &error);
    if (!err) err = check_rights(req, &call, &error);
    if (!err && call.has_suffix)
        err = err_set_param(&error, ERR_UNSUPPORTED, "/suffix",
                            "\"%.200s\" does not support insert", call.model);
    if (!err && !call.load_only) err = check_model(hub, &call, &error);
    if (err) {
        call_free(&call.call);
        api_error(sink, req, &error);
        sink_unref(sink);
    } else if (call.load_only) {
        load(hub, req, sink, e, &call);
    } else {
        struct writer *writer = ollama_writer_new(&call, e->chat);
        answer_start(hub, sink, &call.call, writer, req->request_id, e->what);
    }
}

void ollama_chat(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    static const struct endpoint chat = {"chat", true, ollama_chat_parse};
    generate(&chat, hub, req, sink);
}

void ollama_generate(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    static const struct endpoint completion = {"generate", false, ollama_generate_parse};
    generate(&completion, hub, req, sink);
}
