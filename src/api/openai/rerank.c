/* POST /v1/rerank and /v2/rerank: documents ordered by how well they answer a query, in the shape
 * that Jina and Cohere agree on.
 *
 * Lifetime: as an embedding's (embeddings.c): the handler's call and the provider's listener hold a
 * reference each. The documents are kept as text only where the answer repeats them. */
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "api/control.h"
#include "api/error.h"
#include "api/openai/openai_int.h"
#include "api/openai/writer.h"
#include "api/route.h"
#include "base/id.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "hub/hub.h"

struct rerank {
    atomic_int refs;
    atomic_bool gone;
    _Atomic uint64_t id;
    struct hub *hub;
    struct sink *sink;
    char *request_id;
    size_t top_n;
    bool raw_scores;
    char **documents; /* NULL unless the answer repeats them */
    size_t n_documents;
};

static void free_texts(char **texts, size_t n)
{
    for (size_t i = 0; texts && i < n; i++) free(texts[i]);
    free(texts);
}

static void rerank_unref(struct rerank *r)
{
    if (atomic_fetch_sub(&r->refs, 1) != 1) return;
    sink_on_close(r->sink, NULL, NULL);
    sink_unref(r->sink);
    free_texts(r->documents, r->n_documents);
    free(r->request_id);
    free(r);
}

static void client_gone(void *ctx)
{
    struct rerank *r = ctx;
    atomic_store(&r->gone, true);
    uint64_t id = atomic_load(&r->id);
    if (id) provider_cancel(r->hub->provider, id);
}

/* ---- the answer ---------------------------------------------------------------------------- */

struct scored {
    size_t index;
    float score;
};

/* The best first; equal ones, and what is no number, in the order they came. */
static int by_score(const void *a, const void *b)
{
    const struct scored *x = a, *y = b;
    if (x->score > y->score) return -1;
    if (x->score < y->score) return 1;
    return x->index < y->index ? -1 : 1;
}

/* A cross-encoder's score is a logit; clients expect 0 to 1 and set thresholds in it. */
static double relevance(const struct rerank *r, float score)
{
    return r->raw_scores ? (double)score : 1 / (1 + exp(-(double)score));
}

static void write_result(struct jw *w, const struct rerank *r, const struct scored *s)
{
    jw_obj(w);
    jw_kint(w, "index", (int64_t)s->index);
    jw_kdouble(w, "relevance_score", relevance(r, s->score));
    if (r->documents) {
        jw_key(w, "document");
        jw_obj(w);
        jw_kstr(w, "text", r->documents[s->index]);
        jw_obj_end(w);
    }
    jw_obj_end(w);
}

static void write_body(struct buf *out, const struct rerank *r, const struct embed_result *result,
                       const struct scored *scored)
{
    char id[48];
    struct jw w;
    size_t n = r->top_n && r->top_n < result->n_inputs ? r->top_n : result->n_inputs;
    id_make(id, sizeof id, "rerank-");
    jw_init(&w, out);
    jw_obj(&w);
    jw_kstr(&w, "id", id);
    jw_kstr(&w, "object", "list");
    jw_kstr(&w, "model", result->model);
    jw_key(&w, "results");
    jw_arr(&w);
    for (size_t i = 0; i < n; i++) write_result(&w, r, &scored[i]);
    jw_arr_end(&w);
    jw_key(&w, "usage");
    jw_obj(&w);
    jw_kint(&w, "prompt_tokens", result->prompt_tokens);
    jw_kint(&w, "total_tokens", result->prompt_tokens);
    jw_obj_end(&w);
    jw_key(&w, "meta"); /* Cohere's clients look for it */
    jw_obj(&w);
    jw_key(&w, "billed_units");
    jw_obj(&w);
    jw_kint(&w, "search_units", 0);
    jw_obj_end(&w);
    jw_obj_end(&w);
    jw_obj_end(&w);
}

static enum err respond(const struct rerank *r, const struct embed_result *result,
                        struct error *error)
{
    struct scored *scored = try_calloc(result->n_inputs, sizeof *scored);
    if (!scored) return err_set(error, ERR_NOMEM, "not enough memory to order the documents");
    for (size_t i = 0; i < result->n_inputs; i++) {
        float score = result->vectors[i * result->n_dims];
        scored[i] = (struct scored){i, isnan(score) ? -INFINITY : score};
    }
    qsort(scored, result->n_inputs, sizeof *scored, by_score);
    struct buf body;
    buf_init(&body, ANSWER_BYTES_MAX);
    write_body(&body, r, result, scored);
    free(scored);
    enum err err = body.err;
    if (err) {
        err_set(error, err, "the answer became too large; ask for fewer documents");
    } else {
        recorder_wrote(r->hub->recorder, atomic_load(&r->id), body.len);
        (void)sink_respond(r->sink, 200, "application/json", NULL, 0, body.data, body.len);
    }
    buf_free(&body);
    return err;
}

static void on_result(void *ctx, const struct embed_result *result)
{
    struct rerank *r = ctx;
    struct error error;
    if (result->error) {
        error_respond(r->sink, &error_openai, result->error, r->request_id);
    } else if (respond(r, result, &error)) {
        error_respond(r->sink, &error_openai, &error, r->request_id);
    } else {
        log_line(LOG_INFO, LOG_api, r->request_id, "rerank: model=%s documents=%zu tokens=%d",
                 result->model, result->n_inputs, result->prompt_tokens);
    }
    rerank_unref(r);
}

/* ---- start --------------------------------------------------------------------------------- */

static enum err parse_body(const struct hub *hub, const struct http_request *req,
                           struct rerank_call *call, struct error *error)
{
    json_t *body;
    struct call_env env;
    enum err err = call_read(hub->config, req, &env, &body, error);
    if (err) return err;
    err = rerank_parse(body, req->body_len, &env, call, error);
    json_decref(body);
    return err;
}

/* The request's own copies go with it. NULL: not enough memory. */
static char **copy_documents(const struct embed_request *req)
{
    char **texts = try_calloc(req->n_inputs, sizeof *texts);
    for (size_t i = 0; texts && i < req->n_inputs; i++) {
        texts[i] = try_malloc(req->inputs[i].text_len + 1);
        if (texts[i]) {
            memcpy(texts[i], req->inputs[i].text, req->inputs[i].text_len + 1);
            continue;
        }
        free_texts(texts, i);
        return NULL;
    }
    return texts;
}

static struct rerank *rerank_new(struct hub *hub, struct sink *sink, const char *request_id,
                                 const struct rerank_call *call)
{
    struct rerank *r = xcalloc(1, sizeof *r);
    atomic_init(&r->refs, 2);
    r->hub = hub;
    r->sink = sink;
    r->request_id = xstrdup(request_id);
    r->top_n = call->top_n;
    r->raw_scores = call->raw_scores;
    r->n_documents = call->request->n_inputs;
    if (call->return_documents) r->documents = copy_documents(call->request);
    return r;
}

void openai_rerank(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    struct rerank_call call;
    struct error error;
    if (parse_body(hub, req, &call, &error) != OK) {
        api_error(sink, req, &error);
        sink_unref(sink);
        return;
    }
    struct rerank *r = rerank_new(hub, sink, req->request_id, &call);
    sink_on_close(sink, client_gone, r);
    uint64_t id;
    enum err err = OK;
    if (call.return_documents && !r->documents) {
        arena_free(call.request->arena);
        err = err_set(&error, ERR_NOMEM, "not enough memory to repeat the documents");
    }
    if (!err) err = provider_embed(hub->provider, call.request, on_result, r, &id, &error);
    if (err == OK) {
        atomic_store(&r->id, id);
        if (atomic_load(&r->gone)) provider_cancel(hub->provider, id);
    } else {
        error_respond(sink, &error_openai, &error, r->request_id);
        rerank_unref(r);
    }
    rerank_unref(r);
}
