/* POST /tokenize, /detokenize and /apply-template: questions to the provider, whose answers are
 * passed on without the model's name. */
#include <stdlib.h>
#include <string.h>

#include "api/ask.h"
#include "api/llama/llama_int.h"
#include "api/openai/openai.h"
#include "api/request.h"
#include "api/responder.h"
#include "api/route.h"
#include "base/mem.h"
#include "base/str.h"
#include "hub/hub.h"
#include "provider/prompt_json.h"

struct asked {
    struct responder *reply;
    const char *member; /* of the answer, that is passed on */
};

static void answered(void *ctx, const struct error *error, const json_t *answer)
{
    struct asked *a = ctx;
    struct buf body;
    if (error) {
        responder_error(a->reply, error);
        free(a);
        return;
    }
    buf_init(&body, LLAMA_ARGS_MAX);
    buf_printf(&body, "{\"%s\":", a->member);
    (void)json_dump(json_object_get(answer, a->member), &body); /* the buffer keeps the error */
    buf_putc(&body, '}');
    responder_buf(a->reply, RESPOND_JSON, &body);
    buf_free(&body);
    free(a);
}

static void fail(const struct http_request *req, struct sink *sink, const struct error *error)
{
    api_error(sink, req, error);
    sink_unref(sink);
}

/* Frees the arguments. */
static void ask(struct hub *hub, enum control what, struct buf *args, const char *member,
                const struct http_request *req, struct sink *sink)
{
    struct error error;
    if (args->err) {
        err_set(&error, args->err, "the text is too long");
        fail(req, sink, &error);
    } else {
        struct asked *a = xmalloc(sizeof *a);
        *a = (struct asked){responder_new(sink, &error_llama, req->request_id), member};
        ask_provider(hub, what, buf_str(args), answered, a);
    }
    buf_free(args);
}

static void args_begin(struct buf *args, struct jw *w, const char *model)
{
    buf_init(args, LLAMA_ARGS_MAX);
    jw_init(w, args);
    jw_obj(w);
    jw_kstr(w, "model", model ? model : "");
}

void lserver_tokenize(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct tokenize_fields f = {.parse_special = true};
    struct error error;
    struct buf args;
    struct jw w;
    json_t *body;
    if (request_read(req, tokenize_fields, &f, &body, &error)) {
        fail(req, sink, &error);
        return;
    }
    args_begin(&args, &w, f.model);
    if (f.content)
        jw_kjson(&w, "content", f.content);
    else
        jw_kstr(&w, "content", "");
    jw_kbool(&w, "add_special", f.add_special);
    jw_kbool(&w, "parse_special", f.parse_special);
    jw_kbool(&w, "with_pieces", f.with_pieces);
    jw_obj_end(&w);
    json_decref(body);
    ask(hub, CONTROL_TOKENIZE, &args, "tokens", req, sink);
}

void lserver_detokenize(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct detokenize_fields f = {0};
    struct error error;
    struct buf args;
    struct jw w;
    json_t *body;
    if (request_read(req, detokenize_fields, &f, &body, &error)) {
        fail(req, sink, &error);
        return;
    }
    args_begin(&args, &w, f.model);
    if (f.tokens) jw_kjson(&w, "tokens", f.tokens);
    jw_obj_end(&w);
    json_decref(body);
    ask(hub, CONTROL_DETOKENIZE, &args, "content", req, sink);
}

/* The body of a chat, as /v1/chat/completions reads it. */
static enum err read_chat(const struct hub *hub, const struct http_request *req, struct buf *args,
                          struct error *error)
{
    json_t *body;
    struct call call;
    struct call_env env;
    struct jw w;
    enum err e = call_read(hub->config, req, &env, &body, error);
    if (e) return e;
    e = chat_parse(body, req->body_len, &env, &call, error);
    json_decref(body);
    if (e) return e;
    const struct gen_request *r = call.requests[0];
    for (size_t i = 0; i < r->n_messages && !e; i++)
        if (r->messages[i].n_images)
            e = err_set_param(error, ERR_UNSUPPORTED, "/messages",
                              "/messages: the model takes text only");
    if (!e) {
        args_begin(args, &w, r->model);
        jw_key(&w, "request");
        prompt_json_write(&w, r);
        jw_obj_end(&w);
    }
    call_free(&call);
    return e;
}

void lserver_apply_template(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct error error;
    struct buf args;
    if (read_chat(hub, req, &args, &error))
        fail(req, sink, &error);
    else
        ask(hub, CONTROL_TEMPLATE, &args, "prompt", req, sink);
}
