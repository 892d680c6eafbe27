/* POST /completion and POST /infill. Where tokens of a prompt have to be asked for, the questions
 * go to the provider one after the other; then the call goes on as any other one:
 *
 *   run --first request with a question: ask_provider--> told (pool) --> run ... --> answer_start
 *
 * The tokens are those of one model on this machine: such a request is its, and nobody else's. */
#include <stdlib.h>
#include <string.h>

#include "api/answer.h"
#include "api/ask.h"
#include "api/error.h"
#include "api/llama/llama_int.h"
#include "api/route.h"
#include "base/mem.h"
#include "hub/hub.h"

struct completion {
    struct hub *hub;
    struct sink *sink;
    char *request_id;
    bool infill;
    struct call call;
    struct completion_wish wish;
    json_t *questions;
    size_t next; /* request that is looked at */
};

static void completion_free(struct completion *c)
{
    json_decref(c->questions);
    free(c->request_id);
    free(c);
}

static void failed(struct completion *c, const struct error *error)
{
    error_respond(c->sink, &error_llama, error, c->request_id);
    sink_unref(c->sink);
    call_free(&c->call);
    json_decref(c->wish.response_fields);
    completion_free(c);
}

static enum err take_tokens(struct gen_request *req, const json_t *answer, struct error *error)
{
    const json_t *tokens = NULL;
    const char *model = "";
    enum err e = json_get_array(answer, "tokens", "", &tokens, error);
    if (!e) e = json_get_string(answer, "model", "", &model, error);
    if (!e) e = copy_text(req->arena, model, &req->model, error);
    if (e) return e;
    size_t n = json_array_size(tokens);
    int32_t *copy = arena_calloc(req->arena, n, sizeof *copy);
    if (!copy) return request_too_large(error);
    for (size_t i = 0; i < n; i++) copy[i] = (int32_t)json_integer_value(json_array_get(tokens, i));
    req->prompt_tokens = copy;
    req->n_prompt_tokens = n;
    req->local_only = true;
    return OK;
}

static void run(struct completion *c);

static void told(void *ctx, const struct error *error, const json_t *answer)
{
    struct completion *c = ctx;
    struct error own;
    if (!error && take_tokens(c->call.requests[c->next], answer, &own)) error = &own;
    if (error) {
        failed(c, error);
        return;
    }
    c->next++;
    run(c);
}

static void ask(struct completion *c, json_t *question)
{
    const struct gen_request *req = c->call.requests[c->next];
    struct buf args;
    struct error error;
    buf_init(&args, LLAMA_ARGS_MAX);
    enum err e = json_object_set_new(question, "model", json_string(req->model))
                     ? ERR_NOMEM
                     : json_dump(question, &args);
    if (e) {
        err_set(&error, e, "the prompt is too long");
        failed(c, &error);
    } else {
        ask_provider(c->hub, c->infill ? CONTROL_INFILL : CONTROL_TOKENIZE, buf_str(&args), told,
                     c);
    }
    buf_free(&args);
}

static void run(struct completion *c)
{
    for (; c->next < c->call.n_requests; c->next++) {
        json_t *question = json_array_get(c->questions, c->next);
        if (!json_is_object(question)) continue;
        ask(c, question);
        return;
    }
    struct writer *writer = lserver_writer_new(&c->call, &c->wish);
    answer_start(c->hub, c->sink, &c->call, writer, c->request_id,
                 c->infill ? "infill" : "completion");
    completion_free(c);
}

static void begin(struct hub *hub, const struct http_request *req, struct sink *sink, bool infill)
{
    struct completion *c = xcalloc(1, sizeof *c);
    struct call_env env;
    struct error error;
    json_t *body = NULL;
    enum err e = call_read(hub->config, req, &env, &body, &error);
    if (!e)
        e = completion_read(body, req->body_len, infill, &env, &c->call, &c->wish, &c->questions,
                            &error);
    json_decref(body);
    if (e) {
        api_error(sink, req, &error);
        sink_unref(sink);
        free(c);
        return;
    }
    c->hub = hub;
    c->sink = sink;
    c->request_id = xstrdup(req->request_id);
    c->infill = infill;
    run(c);
}

void lserver_completion(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    begin(hub, req, sink, false);
}

void lserver_infill(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    begin(hub, req, sink, true);
}
