/* The body of POST /v1/embeddings. Pure functions; any thread. */
#include <string.h>

#include "api/openai/openai_int.h"
#include "base/str.h"

/* One text or one list of tokens. */
static enum err set_input(const json_t *v, const char *ptr, struct arena *arena,
                          struct embed_input *in, struct error *error)
{
    if (json_is_string(v)) {
        in->text_len = json_string_length(v);
        if (in->text_len) return copy_text(arena, json_string_value(v), &in->text, error);
    } else if (json_is_array(v)) {
        if (json_array_size(v))
            return params_tokens(arena, v, ptr, &in->tokens, &in->n_tokens, error);
    } else {
        return err_set_param(error, ERR_INVALID, ptr,
                             "%s: must be a text or a list of tokens, got %s", ptr, json_kind(v));
    }
    return err_set_param(error, ERR_INVALID, ptr, "%s: must not be empty", ptr);
}

static enum err parse_inputs(const json_t *input, struct embed_request *req, struct error *error)
{
    bool many = json_is_array(input) && !json_is_integer(json_array_get(input, 0));
    size_t n = many ? json_array_size(input) : 1;
    if (n == 0) return field_error(error, "", "input", "must not be empty");
    if (n > EMBED_INPUTS_MAX)
        return field_error(error, "", "input", "at most %d inputs, got %zu", EMBED_INPUTS_MAX, n);
    struct embed_input *inputs = arena_calloc(req->arena, n, sizeof *inputs);
    if (!inputs) return request_too_large(error);
    for (size_t i = 0; i < n; i++) {
        char ptr[ERROR_PARAM_MAX];
        str_printf(ptr, sizeof ptr, many ? "/input/%zu" : "/input", i);
        enum err err =
            set_input(many ? json_array_get(input, i) : input, ptr, req->arena, &inputs[i], error);
        if (err) return err;
    }
    req->inputs = inputs;
    req->n_inputs = n;
    return OK;
}

static enum err fill(const struct embed_fields *f, const struct call_env *env,
                     struct embed_request *req, struct error *error)
{
    enum err err = copy_text(req->arena, f->model ? f->model : "", &req->model, error);
    if (!err) err = call_terms_set_embed(&f->terms, env, req, error);
    if (!err) err = parse_inputs(f->input, req, error);
    return err;
}

enum err embed_parse(const json_t *body, size_t text_len, const struct call_env *env,
                     struct embed_call *out, struct error *error)
{
    struct embed_fields f = {.terms = CALL_TERMS_ABSENT};
    *out = (struct embed_call){0};
    enum err err = fields_read(embed_fields, body, "", &f, error);
    if (err) return err;
    if (f.encoding_format && strcmp(f.encoding_format, "base64") == 0)
        out->base64 = true;
    else if (f.encoding_format && strcmp(f.encoding_format, "float") != 0)
        return field_error(error, "", "encoding_format",
                           "must be \"float\" or \"base64\", got \"%.40s\"", f.encoding_format);
    out->dimensions = f.dimensions;

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
