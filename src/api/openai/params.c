/* What /v1/chat/completions and /v1/completions share: sampling, limits, output format, options of
 * the answer. Pure functions of their arguments; any thread. */
#include "api/openai/openai_int.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

void gen_fields_init(struct gen_fields *f)
{
    *f = (struct gen_fields){
        .terms = CALL_TERMS_ABSENT,
        .n = 1,
        .max_tokens = FIELD_ABSENT,
        .max_completion_tokens = FIELD_ABSENT,
        .seed = FIELD_ABSENT,
        .top_k = FIELD_ABSENT,
        .repeat_last_n = FIELD_ABSENT,
        .temperature = NAN,
        .top_p = NAN,
        .min_p = NAN,
        .repeat_penalty = NAN,
        .frequency_penalty = NAN,
        .presence_penalty = NAN,
        .parallel_tool_calls = true,
        .top_logprobs = FIELD_ABSENT,
        .logprobs_n = FIELD_ABSENT,
        .best_of = FIELD_ABSENT,
    };
}

/* ---- single members ------------------------------------------------------------------------ */

static enum err read_max_tokens(const struct gen_fields *f, struct gen_request *req,
                                struct error *error)
{
    bool completion = f->max_completion_tokens != FIELD_ABSENT;
    int64_t v = completion ? f->max_completion_tokens : f->max_tokens;
    if (v == 0)
        return field_error(error, "", completion ? "max_completion_tokens" : "max_tokens",
                           "must be at least 1, or -1 for as many as fit, got 0");
    call_say_int(&req->said, SAID_MAX_TOKENS, v, &req->max_tokens);
    return OK;
}

static enum err read_stop(const json_t *stop, struct gen_request *req, struct error *error)
{
    if (!stop) return OK;
    bool single = json_is_string(stop);
    if (!single && !json_is_array(stop))
        return field_error(error, "", "stop", "must be a string or an array of strings, got %s",
                           json_kind(stop));
    size_t n = single ? 1 : json_array_size(stop);
    if (n > GEN_STOP_MAX)
        return field_error(error, "", "stop", "at most %d stop strings, got %zu", GEN_STOP_MAX, n);
    const char **copies = arena_calloc(req->arena, n, sizeof *copies);
    if (!copies) return request_too_large(error);
    for (size_t i = 0; i < n; i++) {
        const json_t *s = single ? stop : json_array_get(stop, i);
        char name[32];
        str_printf(name, sizeof name, single ? "stop" : "stop/%zu", i);
        if (!json_is_string(s))
            return field_error(error, "", name, "must be a string, got %s", json_kind(s));
        if (json_string_length(s) == 0)
            return field_error(error, "", name, "must not be empty: it would stop everything");
        enum err err = copy_text(req->arena, json_string_value(s), &copies[i], error);
        if (err) return err;
    }
    req->stop = copies;
    req->n_stop = n;
    req->said |= SAID_STOP;
    return OK;
}

static enum err read_logit_bias(const json_t *map, struct gen_request *req, struct error *error)
{
    size_t n = json_object_size(map);
    if (n == 0) return OK;
    if (n > LOGIT_BIAS_MAX)
        return field_error(error, "", "logit_bias", "at most %d tokens, got %zu", LOGIT_BIAS_MAX,
                           n);
    struct logit_bias *biases = arena_calloc(req->arena, n, sizeof *biases);
    if (!biases) return request_too_large(error);
    size_t i = 0;
    const char *key;
    json_t *value;
    json_object_foreach ((json_t *)map, key, value) {
        int64_t token;
        if (!str_to_i64(key, 0, INT32_MAX, &token))
            return field_error(error, "", "logit_bias", "\"%.40s\" is not a token id", key);
        double bias = json_number_value(value);
        if (!json_is_number(value) || bias < -100 || bias > 100)
            return field_error(error, "/logit_bias", key,
                               "must be a number from -100 (never) to 100 (always)");
        biases[i++] = (struct logit_bias){(int32_t)token, bias == -100 ? -INFINITY : (float)bias};
    }
    req->sampling.logit_bias = biases;
    req->sampling.n_logit_bias = n;
    return OK;
}

/* ---- output format ------------------------------------------------------------------------- */

static enum err set_schema(const json_t *schema, const char *ptr, struct gen_request *req,
                           struct error *error)
{
    if (!json_is_object(schema))
        return err_set_param(error, ERR_INVALID, ptr, "%s: must be a JSON schema object, got %s",
                             ptr, json_kind(schema));
    req->format = FORMAT_JSON_SCHEMA;
    return copy_json(req->arena, schema, &req->schema, error);
}

static bool is_name(const char *s)
{
    size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");
    return n >= 1 && n <= 64 && s[n] == '\0';
}

static enum err read_json_schema(const json_t *obj, struct gen_request *req, struct error *error)
{
    const char *ptr = "/response_format/json_schema";
    if (!obj)
        return field_error(error, "/response_format", "json_schema",
                           "is required with type \"json_schema\"");
    struct json_schema_fields f = {0};
    enum err err = fields_read(json_schema_fields, obj, ptr, &f, error);
    if (err) return err;
    if (!is_name(f.name))
        return field_error(error, ptr, "name",
                           "must be 1 to 64 letters, digits, _ or -, got \"%.80s\"", f.name);
    return set_schema(f.schema, "/response_format/json_schema/schema", req, error);
}

static enum err read_format(const struct gen_fields *f, struct gen_request *req,
                            struct error *error)
{
    struct format_fields format = {0};
    if (f->response_format) {
        enum err err =
            fields_read(format_fields, f->response_format, "/response_format", &format, error);
        if (err) return err;
        if (strcmp(format.type, "json_schema") == 0) {
            err = read_json_schema(format.json_schema, req, error);
        } else if (strcmp(format.type, "json_object") == 0) {
            /* llama-server's clients put a schema right here. */
            if (format.schema)
                err = set_schema(format.schema, "/response_format/schema", req, error);
            else
                req->format = FORMAT_JSON_OBJECT;
        } else if (strcmp(format.type, "text") != 0) {
            err = field_error(error, "/response_format", "type",
                              "must be \"text\", \"json_object\" or \"json_schema\", got \"%.40s\"",
                              format.type);
        }
        if (err) return err;
    }
    if (!f->grammar) return OK;
    if (req->format != FORMAT_TEXT)
        return field_error(error, "", "grammar", "can't be combined with response_format");
    if (f->grammar[0] == '\0') return field_error(error, "", "grammar", "must not be empty");
    req->format = FORMAT_GRAMMAR;
    return copy_text(req->arena, f->grammar, &req->grammar, error);
}

/* ---- reasoning ----------------------------------------------------------------------------- */

static enum err read_reasoning_format(const char *s, enum reasoning_format *out,
                                      struct error *error)
{
    if (!s || strcmp(s, "auto") == 0 || strcmp(s, "deepseek") == 0)
        *out = REASONING_AUTO;
    else if (strcmp(s, "none") == 0)
        *out = REASONING_NONE;
    else
        return field_error(error, "", "reasoning_format",
                           "must be \"auto\", \"deepseek\" or \"none\", got \"%.40s\"", s);
    return OK;
}

/* ---- all of it ----------------------------------------------------------------------------- */

static enum err fill_request(const struct gen_fields *f, const struct call_env *env,
                             struct gen_request *req, struct error *error)
{
    req->parallel_tool_calls = f->parallel_tool_calls;
    req->n = (int32_t)f->n;
    struct sampling *s = &req->sampling;
    call_say_real(&req->said, SAID_TEMPERATURE, f->temperature, &s->temperature);
    call_say_real(&req->said, SAID_TOP_P, f->top_p, &s->top_p);
    call_say_real(&req->said, SAID_MIN_P, f->min_p, &s->min_p);
    call_say_real(&req->said, SAID_REPEAT_PENALTY, f->repeat_penalty, &s->repeat_penalty);
    call_say_real(&req->said, SAID_FREQUENCY_PENALTY, f->frequency_penalty, &s->frequency_penalty);
    call_say_real(&req->said, SAID_PRESENCE_PENALTY, f->presence_penalty, &s->presence_penalty);
    call_say_int(&req->said, SAID_TOP_K, f->top_k, &s->top_k);
    call_say_int(&req->said, SAID_REPEAT_LAST_N, f->repeat_last_n, &s->repeat_last_n);
    if (s->top_k < 0) s->top_k = 0;
    if (f->seed != FIELD_ABSENT) req->said |= SAID_SEED;
    s->seed = call_seed(f->seed);
    s->ignore_eos = f->ignore_eos;
    if (s->repeat_penalty <= 0)
        return field_error(error, "", "repeat_penalty", "must be greater than 0, got %g",
                           f->repeat_penalty);
    enum err err = copy_text(req->arena, f->model ? f->model : "", &req->model, error);
    if (!err) err = read_max_tokens(f, req, error);
    if (!err) err = call_terms_set(&f->terms, env, req, error);
    if (!err) err = read_stop(f->stop, req, error);
    if (!err) err = read_logit_bias(f->logit_bias, req, error);
    if (!err) err = read_format(f, req, error);
    if (!err) err = read_reasoning_format(f->reasoning_format, &req->reasoning_format, error);
    if (!err) err = call_reasoning(f->reasoning_effort, f->template_kwargs, req, error);
    return err;
}

enum err params_request(const struct gen_fields *f, const struct call_env *env, size_t arena_max,
                        struct gen_request **out, struct error *error)
{
    enum err err = call_request_new(env, arena_max, out, error);
    if (!err && (err = fill_request(f, env, *out, error))) arena_free((*out)->arena);
    return err;
}

enum err params_call(const struct gen_fields *f, struct call *call, struct error *error)
{
    struct stream_options_fields options = {0};
    if (f->stream_options) {
        if (!f->stream)
            return field_error(error, "", "stream_options",
                               "is only allowed with \"stream\": true");
        enum err err = fields_read(stream_options_fields, f->stream_options, "/stream_options",
                                   &options, error);
        if (err) return err;
    }
    call->stream = f->stream;
    call->include_usage = options.include_usage;
    call->timings = f->timings;
    return OK;
}

enum err params_tokens(struct arena *a, const json_t *array, const char *ptr, const int32_t **out,
                       size_t *n, struct error *error)
{
    size_t count = json_array_size(array);
    int32_t *tokens = arena_calloc(a, count, sizeof *tokens);
    if (!tokens) return request_too_large(error);
    for (size_t i = 0; i < count; i++) {
        const json_t *v = json_array_get(array, i);
        json_int_t token = json_integer_value(v);
        if (!json_is_integer(v) || token < 0 || token > INT32_MAX) {
            char name[32];
            str_printf(name, sizeof name, "%zu", i);
            return field_error(error, ptr, name, "must be a token id (an integer from 0), got %s",
                               json_is_integer(v) ? "another integer" : json_kind(v));
        }
        tokens[i] = (int32_t)token;
    }
    *out = tokens;
    *n = count;
    return OK;
}
