/* What /api/chat and /api/generate share: options, format, think, terms. Pure functions; any
 * thread. */
#include <string.h>

#include "api/ollama/ollama_int.h"
#include "base/str.h"
#include "models/derived.h"

void ollama_gen_fields_init(struct ollama_gen_fields *f)
{
    *f = (struct ollama_gen_fields){.terms = CALL_TERMS_ABSENT, .stream = true};
}

enum err ollama_copy_model(struct arena *a, const char *name, const char **out, struct error *error)
{
    enum err err = copy_text(a, name, out, error);
    if (err || !str_ends(name, ":latest")) return err;
    char *copy = arena_strndup(a, name, strlen(name) - strlen(":latest"));
    *out = copy;
    return copy ? OK : request_too_large(error);
}

/* ---- options ------------------------------------------------------------------------------- */

static enum err read_stop(const json_t *stop, struct gen_request *req, struct error *error)
{
    if (!stop) return OK;
    bool single = json_is_string(stop);
    if (!single && !json_is_array(stop))
        return field_error(error, "/options", "stop", "must be a string or a list of strings");
    size_t n = single ? 1 : json_array_size(stop);
    if (n > GEN_STOP_MAX)
        return field_error(error, "/options", "stop", "at most %d texts, got %zu", GEN_STOP_MAX, n);
    const char **copies = arena_calloc(req->arena, n + 1, sizeof *copies);
    if (!copies) return request_too_large(error);
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        const json_t *s = single ? stop : json_array_get(stop, i);
        if (!json_is_string(s))
            return field_error(error, "/options", "stop", "must be a list of strings, has %s",
                               json_kind(s));
        if (!json_string_length(s)) continue; /* Ollama takes it and never finds it */
        enum err err = copy_text(req->arena, json_string_value(s), &copies[kept++], error);
        if (err) return err;
    }
    req->stop = copies;
    req->n_stop = kept;
    req->said |= SAID_STOP;
    return OK;
}

static enum err read_options(const json_t *options, struct gen_request *req, struct error *error)
{
    struct ollama_options o = {0};
    const json_t *v;
    const struct field *f = ollama_option_fields;
    enum err err = fields_read(f, options, "/options", &o, error);
    if (err) return err;
    for (; f->name; f++)
        if (f->type == FIELD_NUM && json_is_number(v = json_object_get(options, f->name)))
            derived_say(req, f->name, json_number_value(v));
    v = json_object_get(options, "seed"); /* more bits of it count than a Modelfile's has */
    if (json_is_number(v)) req->sampling.seed = call_seed((int64_t)json_number_value(v));
    return read_stop(o.stop, req, error);
}

/* ---- format and thinking ------------------------------------------------------------------- */

static enum err read_format(const json_t *format, struct gen_request *req, struct error *error)
{
    const char *word = json_string_value(format);
    if (!format || (word && !*word)) return OK;
    if (json_is_object(format)) {
        req->format = FORMAT_JSON_SCHEMA;
        return copy_json(req->arena, format, &req->schema, error);
    }
    if (!word || !str_eq(word, "json"))
        return field_error(error, "", "format",
                           "invalid format: expected \"json\" or a JSON schema, an object");
    req->format = FORMAT_JSON_OBJECT;
    return OK;
}

/* true, false, or how much. Templates know it under two names (see openai/params.c). */
static enum err read_think(const json_t *think, struct gen_request *req, struct error *error)
{
    static const char *const levels[] = {"low", "medium", "high"};
    const char *word = json_string_value(think), *effort = NULL;
    if (!think) return OK;
    for (size_t i = 0; word && i < sizeof levels / sizeof *levels; i++)
        if (str_eq(word, levels[i])) effort = levels[i];
    if (!json_is_boolean(think) && !effort)
        return field_error(error, "", "think",
                           "must be true, false, \"low\", \"medium\" or \"high\"");
    if (json_is_false(think)) effort = "none";
    req->reasoning_effort = effort;
    json_t *kwargs = json_object();
    int failed =
        json_object_set_new(kwargs, "enable_thinking", json_boolean(!json_is_false(think)));
    if (effort) failed |= json_object_set_new(kwargs, "reasoning_effort", json_string(effort));
    enum err err = failed ? err_set(error, ERR_NOMEM, "not enough memory for the request")
                          : copy_json(req->arena, kwargs, &req->template_kwargs, error);
    json_decref(kwargs);
    return err;
}

/* ---- all of it ----------------------------------------------------------------------------- */

static enum err fill(const struct ollama_gen_fields *f, const struct call_env *env,
                     struct gen_request *req, struct error *error)
{
    enum err err = OK;
    if (f->model) err = ollama_copy_model(req->arena, f->model, &req->model, error);
    if (!err) err = call_terms_set(&f->terms, env, req, error);
    if (!err && f->options) err = read_options(f->options, req, error);
    if (!err) err = read_format(f->format, req, error);
    if (!err) err = read_think(f->think, req, error);
    req->sampling.logprobs = f->logprobs;
    req->sampling.top_logprobs = f->logprobs ? (int32_t)f->top_logprobs : 0;
    return err;
}

enum err ollama_params(const struct ollama_gen_fields *f, const struct call_env *env,
                       size_t arena_max, struct gen_request **out, struct error *error)
{
    if (!f->model || !*f->model)
        return err_set_param(error, ERR_INVALID, "/model", "model is required");
    enum err err = call_request_new(env, arena_max, out, error);
    if (!err && (err = fill(f, env, *out, error))) arena_free((*out)->arena);
    return err;
}
