/* Prompts whose tokens have to be asked for; see prompts.h. The questions go to the provider one
 * after the other:
 *
 *   run --a request with a question: ask_provider--> told (pool) --> run ... --> answer_start
 *
 * The tokens are those of one model on this machine: such a request is its, and nobody else's. */
#include "api/prompts.h"

#include <stdlib.h>

#include "api/answer.h"
#include "api/ask.h"
#include "api/writer.h"
#include "base/mem.h"
#include "hub/hub.h"

enum { ARGS_MAX = 512 << 20 };

struct asking {
    struct hub *hub;
    struct sink *sink;
    struct call call;
    struct writer *writer;
    char *request_id;
    const char *what;
    json_t *questions;
    size_t next; /* request that is looked at */
};

static void asking_free(struct asking *a)
{
    json_decref(a->questions);
    free(a->request_id);
    free(a);
}

static void failed(struct asking *a, const struct error *error)
{
    struct error said = *error;
    if (a->writer->ops->reword) a->writer->ops->reword(a->writer, &said);
    error_respond(a->sink, a->writer->ops->errors, &said, a->request_id);
    sink_unref(a->sink);
    writer_free(a->writer);
    call_free(&a->call);
    asking_free(a);
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
    arena_allow(req->arena, n * sizeof(int32_t)); /* the model's, not the client's */
    int32_t *copy = arena_calloc(req->arena, n, sizeof *copy);
    if (!copy) return request_too_large(error);
    for (size_t i = 0; i < n; i++) copy[i] = (int32_t)json_integer_value(json_array_get(tokens, i));
    req->prompt = NULL;
    req->echo = false; /* the writer knows what was asked */
    req->prompt_tokens = copy;
    req->n_prompt_tokens = n;
    req->local_only = true;
    return OK;
}

static void run(struct asking *a);

static void told(void *ctx, const struct error *error, const json_t *answer)
{
    struct asking *a = ctx;
    struct error own;
    if (!error && take_tokens(a->call.requests[a->next], answer, &own)) error = &own;
    if (error) {
        failed(a, error);
        return;
    }
    a->next++;
    run(a);
}

static void ask(struct asking *a, json_t *question)
{
    const struct gen_request *req = a->call.requests[a->next];
    struct buf args;
    struct error error;
    buf_init(&args, ARGS_MAX);
    enum err e = json_object_set_new(question, "model", json_string(req->model))
                     ? ERR_NOMEM
                     : json_dump(question, &args);
    if (e) {
        err_set(&error, e, "the prompt is too long");
        failed(a, &error);
    } else {
        bool gap = json_object_get(question, "input_suffix");
        ask_provider(a->hub, gap ? CONTROL_INFILL : CONTROL_TOKENIZE, buf_str(&args), told, a);
    }
    buf_free(&args);
}

static void run(struct asking *a)
{
    for (; a->next < a->call.n_requests; a->next++) {
        json_t *question = json_array_get(a->questions, a->next);
        if (!json_is_object(question)) continue;
        ask(a, question);
        return;
    }
    answer_start(a->hub, a->sink, &a->call, a->writer, a->request_id, a->what);
    asking_free(a);
}

void prompts_ask(struct hub *hub, struct sink *sink, struct call *call, struct writer *writer,
                 const char *request_id, const char *what)
{
    struct asking *a = xmalloc(sizeof *a);
    *a = (struct asking){.hub = hub,
                         .sink = sink,
                         .call = *call,
                         .writer = writer,
                         .request_id = xstrdup(request_id),
                         .what = what,
                         .questions = call->questions};
    a->call.questions = NULL;
    *call = (struct call){0};
    run(a);
}

enum err prompts_add_gap(json_t **questions, const struct prompt_gap *gap, struct error *error)
{
    if (!*questions) *questions = json_array();
    json_t *question =
        json_pack("{s:s,s:s,s:s,s:I}", "input_prefix", gap->before, "input_suffix", gap->behind,
                  "prompt", gap->text, "n_predict", (json_int_t)gap->n_predict);
    int failed = !question;
    if (question && gap->extra)
        failed = json_object_set(question, "input_extra", (json_t *)gap->extra);
    failed |= json_array_append_new(*questions, question);
    return failed ? err_set(error, ERR_NOMEM, "not enough memory for the request") : OK;
}
