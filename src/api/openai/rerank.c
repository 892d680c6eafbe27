/* POST /v1/rerank and /v2/rerank: documents ordered by how well they answer a query, in the shape
 * that Jina and Cohere agree on. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api/embedding.h"
#include "api/openai/openai_int.h"
#include "api/route.h"
#include "base/id.h"
#include "base/mem.h"
#include "hub/hub.h"

/* What the answer takes beside the scores. The texts are behind it, in one piece of memory. */
struct wanted {
    size_t top_n; /* 0 = all */
    bool raw_scores;
    bool repeats; /* the documents */
    char *documents[];
};

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
static double relevance(const struct wanted *r, float score)
{
    return r->raw_scores ? (double)score : 1 / (1 + exp(-(double)score));
}

static void write_result(struct jw *w, const struct wanted *r, const struct scored *s)
{
    jw_obj(w);
    jw_kint(w, "index", (int64_t)s->index);
    jw_kdouble(w, "relevance_score", relevance(r, s->score));
    if (r->repeats) {
        jw_key(w, "document");
        jw_obj(w);
        jw_kstr(w, "text", r->documents[s->index]);
        jw_obj_end(w);
    }
    jw_obj_end(w);
}

static void write_body(struct buf *out, const struct wanted *r, const struct embed_result *result,
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

static enum err write_ranking(void *ctx, const struct embed_result *result, struct buf *out,
                              struct error *error)
{
    struct scored *scored = try_calloc(result->n_inputs, sizeof *scored);
    if (!scored) return err_set(error, ERR_NOMEM, "not enough memory to order the documents");
    for (size_t i = 0; i < result->n_inputs; i++) {
        float score = result->vectors[i * result->n_dims];
        scored[i] = (struct scored){i, isnan(score) ? -INFINITY : score};
    }
    qsort(scored, result->n_inputs, sizeof *scored, by_score);
    write_body(out, ctx, result, scored);
    free(scored);
    return OK;
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
static struct wanted *new_wanted(const struct rerank_call *call)
{
    const struct embed_request *req = call->request;
    size_t n = call->return_documents ? req->n_inputs : 0, bytes = n * sizeof(char *);
    for (size_t i = 0; i < n; i++) bytes += req->inputs[i].text_len + 1;
    struct wanted *w = try_malloc(sizeof *w + bytes);
    if (!w) return NULL;
    *w = (struct wanted){call->top_n, call->raw_scores, call->return_documents};
    char *to = (char *)(w->documents + n);
    for (size_t i = 0; i < n; i++) {
        size_t len = req->inputs[i].text_len + 1;
        w->documents[i] = memcpy(to, req->inputs[i].text, len);
        to += len;
    }
    return w;
}

void openai_rerank(struct hub *hub, const struct http_request *req, struct sink *sink)
{
    static const struct embedding_ops ops = {
        .name = "rerank", .errors = &error_openai, .write = write_ranking};
    struct rerank_call call;
    struct error error;
    struct wanted *wanted = NULL;
    enum err err = parse_body(hub, req, &call, &error);
    if (!err && !(wanted = new_wanted(&call))) {
        arena_free(call.request->arena);
        err = err_set(&error, ERR_NOMEM, "not enough memory to repeat the documents");
    }
    if (err) {
        api_error(sink, req, &error);
        sink_unref(sink);
        return;
    }
    embedding_start(hub, sink, call.request, req->request_id, &ops, wanted);
}
