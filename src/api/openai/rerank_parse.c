/* The body of POST /v1/rerank. Pure functions; any thread. */
#include <string.h>

#include "api/openai/openai_int.h"
#include "base/str.h"

/* A text, or an object with one under "text". */
static enum err set_document(const json_t *v, size_t i, struct arena *arena, struct embed_input *in,
                             struct error *error)
{
    char ptr[ERROR_PARAM_MAX];
    str_printf(ptr, sizeof ptr, "/documents/%zu", i);
    const json_t *text = json_is_object(v) ? json_object_get(v, "text") : v;
    if (!json_is_string(text))
        return err_set_param(error, ERR_INVALID, ptr,
                             "%s: must be a text or an object with a \"text\", got %s", ptr,
                             json_kind(v));
    in->text_len = json_string_length(text);
    if (!in->text_len) return err_set_param(error, ERR_INVALID, ptr, "%s: must not be empty", ptr);
    return copy_text(arena, json_string_value(text), &in->text, error);
}

static enum err parse_documents(const json_t *documents, struct embed_request *req,
                                struct error *error)
{
    size_t n = json_array_size(documents);
    if (n == 0) return field_error(error, "", "documents", "must not be empty");
    if (n > EMBED_INPUTS_MAX)
        return field_error(error, "", "documents", "at most %d documents, got %zu",
                           EMBED_INPUTS_MAX, n);
    struct embed_input *inputs = arena_calloc(req->arena, n, sizeof *inputs);
    if (!inputs) return request_too_large(error);
    for (size_t i = 0; i < n; i++) {
        enum err err = set_document(json_array_get(documents, i), i, req->arena, &inputs[i], error);
        if (err) return err;
    }
    req->inputs = inputs;
    req->n_inputs = n;
    return OK;
}

static enum err fill(const struct rerank_fields *f, const struct call_env *env,
                     struct embed_request *req, struct error *error)
{
    if (!f->query[0]) return field_error(error, "", "query", "must not be empty");
    enum err err = copy_text(req->arena, f->model ? f->model : "", &req->model, error);
    if (!err) err = copy_text(req->arena, f->query, &req->query, error);
    if (!err) err = call_terms_set_embed(&f->terms, env, req, error);
    if (!err) err = parse_documents(f->documents, req, error);
    return err;
}

enum err rerank_parse(const json_t *body, size_t text_len, const struct call_env *env,
                      struct rerank_call *out, struct error *error)
{
    struct rerank_fields f = {.terms = CALL_TERMS_ABSENT};
    *out = (struct rerank_call){0};
    enum err err = fields_read(rerank_fields, body, "", &f, error);
    if (err) return err;
    out->top_n = (size_t)f.top_n;
    out->return_documents = f.return_documents;
    out->raw_scores = f.raw_scores;
    struct embed_request *req;
    err = call_embed_new(env, arena_limit(text_len), &req, error);
    if (err) return err;
    err = fill(&f, env, req, error);
    if (err)
        arena_free(req->arena);
    else
        out->request = req;
    return err;
}
