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
    ollama_loaded_fn *loaded;
    enum err (*parse)(const json_t *body, size_t text_len, const struct call_env *env,
                      struct ollama_call *out, struct error *error);
};

/* ---- loading ------------------------------------------------------------------------------- */

static void loaded_head(struct jw *w, const char *model)
{
    jw_kstr(w, "model", model);
    ollama_created_at(w);
}

static void loaded_end(struct jw *w, bool unload)
{
    jw_kbool(w, "done", true);
    jw_kstr(w, "done_reason", unload ? "unload" : "load");
}

static void chat_loaded(struct jw *w, const char *model, bool unload, int64_t started_ns)
{
    (void)started_ns;
    loaded_head(w, model);
    jw_key(w, "message");
    jw_obj(w);
    jw_kstr(w, "role", "assistant");
    jw_kstr(w, "content", "");
    jw_obj_end(w);
    loaded_end(w, unload);
}

static void generate_loaded(struct jw *w, const char *model, bool unload, int64_t started_ns)
{
    (void)started_ns;
    loaded_head(w, model);
    jw_kstr(w, "response", "");
    loaded_end(w, unload);
}

static void load(struct hub *hub, const struct http_request *req, struct sink *sink,
                 const struct endpoint *e, struct ollama_call *call)
{
    const struct gen_request *r = call->call.requests[0];
    struct ollama_load wish = {.asked = call->model,
                               .who = {.model = r->model,
                                       .source = r->source,
                                       .route = r->route,
                                       .local_only = r->local_only},
                               .keep_alive_ms = call->keep_alive_ms,
                               .stream = call->call.stream,
                               .unload = call->keep_alive_ms == KEEP_ALIVE_NONE,
                               .write = e->loaded};
    ollama_load(hub, req, sink, &wish);
    call_free(&call->call);
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
    static const struct endpoint chat = {"chat", true, chat_loaded, ollama_chat_parse};
    generate(&chat, hub, req, sink);
}

void ollama_generate(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    static const struct endpoint completion = {"generate", false, generate_loaded,
                                               ollama_generate_parse};
    generate(&completion, hub, req, sink);
}
