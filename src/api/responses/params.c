/* The body of POST /v1/responses. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api/responses/responses_int.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/mem.h"
#include "base/str.h"
#include "hub/hub.h"

/* ---- what can't be had here ----------------------------------------------------------------- */

static enum err check_unsupported(const struct response_fields *f, struct error *error)
{
    if (f->conversation)
        return err_set_param(error, ERR_UNSUPPORTED, "/conversation",
                             "/conversation: go on with /previous_response_id instead");
    if (f->prompt)
        return err_set_param(error, ERR_UNSUPPORTED, "/prompt",
                             "/prompt: there are no stored prompts here; send /instructions");
    return OK;
}

/* ---- the request ---------------------------------------------------------------------------- */

static enum err read_format(const struct response_fields *f, struct gen_request *req,
                            struct error *error)
{
    const char *ptr = "/text/format";
    struct response_text_fields text = {0};
    struct response_format_fields format = {0};
    if (!f->text) return OK;
    enum err err = fields_read(response_text_fields, f->text, "/text", &text, error);
    if (err || !text.format) return err;
    err = fields_read(response_format_fields, text.format, ptr, &format, error);
    if (err || str_eq(format.type, "text")) return err;
    if (str_eq(format.type, "json_object")) {
        req->format = FORMAT_JSON_OBJECT;
        return OK;
    }
    if (!str_eq(format.type, "json_schema"))
        return field_error(error, ptr, "type",
                           "must be \"text\", \"json_object\" or \"json_schema\", got \"%.40s\"",
                           format.type);
    if (!format.schema)
        return field_error(error, ptr, "schema", "is required with type \"json_schema\"");
    if (!format.name)
        return field_error(error, ptr, "name", "is required with type \"json_schema\"");
    req->format = FORMAT_JSON_SCHEMA;
    return copy_json(req->arena, format.schema, &req->schema, error);
}

static enum err read_reasoning(const struct response_fields *f, struct gen_request *req,
                               struct response_info *info, struct error *error)
{
    struct response_reasoning_fields r = {0};
    if (f->reasoning) {
        enum err err =
            fields_read(response_reasoning_fields, f->reasoning, "/reasoning", &r, error);
        if (err) return err;
    }
    if (r.summary) info->thoughts = THOUGHTS_SUMMARY;
    return call_reasoning(r.effort, f->template_kwargs, req, error);
}

static enum err read_include(const struct response_fields *f, struct response_info *info,
                             struct error *error)
{
    for (size_t i = 0; i < json_array_size(f->include); i++) {
        const char *word = json_string_value(json_array_get(f->include, i));
        if (!word) return field_error(error, "", "include", "must be a list of strings");
        if (str_eq(word, "message.output_text.logprobs")) info->logprobs = true;
        if (str_eq(word, "reasoning.encrypted_content")) info->encrypted = true;
    }
    return OK;
}

static enum err read_limits(const struct response_fields *f, struct gen_request *req,
                            struct error *error)
{
    if (f->max_output_tokens == 0)
        return field_error(error, "", "max_output_tokens", "must be at least 1, or -1, got 0");
    call_say_int(&req->said, SAID_MAX_TOKENS, f->max_output_tokens, &req->max_tokens);
    bool shift = str_eq(f->truncation, "auto");
    if (f->truncation && !shift && !str_eq(f->truncation, "disabled"))
        return field_error(error, "", "truncation",
                           "must be \"auto\" or \"disabled\", got \"%.40s\"", f->truncation);
    /* context_overflow says the same, and more. */
    if (shift && req->overflow == OVERFLOW_DEFAULT) req->overflow = OVERFLOW_SHIFT;
    return OK;
}

static enum err fill_request(const struct response_fields *f, const struct call_env *env,
                             struct gen_request *req, struct response_info *info,
                             struct error *error)
{
    req->kind = GEN_CHAT;
    struct sampling *s = &req->sampling;
    call_say_real(&req->said, SAID_TEMPERATURE, f->temperature, &s->temperature);
    call_say_real(&req->said, SAID_TOP_P, f->top_p, &s->top_p);
    call_say_real(&req->said, SAID_MIN_P, f->min_p, &s->min_p);
    call_say_int(&req->said, SAID_TOP_K, f->top_k, &s->top_k);
    if (s->top_k < 0) s->top_k = 0;
    if (f->seed != FIELD_ABSENT) req->said |= SAID_SEED;
    s->seed = call_seed(f->seed);
    enum err err = copy_text(req->arena, f->model ? f->model : "", &req->model, error);
    if (!err) err = call_terms_set(&f->terms, env, req, error);
    if (!err) err = read_limits(f, req, error);
    if (!err) err = read_format(f, req, error);
    if (!err) err = read_include(f, info, error);
    if (!err) err = read_reasoning(f, req, info, error);
    if (!err) err = response_tools(f, req, info, error);
    req->sampling.logprobs = info->logprobs;
    req->sampling.top_logprobs = f->top_logprobs == FIELD_ABSENT ? 0 : (int32_t)f->top_logprobs;
    return err;
}

/* ---- what the response repeats --------------------------------------------------------------- */

static void put_json_or(struct jw *w, const char *name, const json_t *v, const char *otherwise)
{
    if (v)
        jw_kjson(w, name, v);
    else
        jw_kraw(w, name, otherwise);
}

static void put_number(struct jw *w, const char *name, int64_t v)
{
    if (v == FIELD_ABSENT)
        jw_knull(w, name);
    else
        jw_kint(w, name, v);
}

static void put_tools(struct jw *w, const struct response_fields *f)
{
    jw_key(w, "tools");
    jw_arr(w);
    for (size_t i = 0; i < json_array_size(f->tools); i++) {
        const json_t *tool = json_array_get(f->tools, i);
        const char *key;
        json_t *value;
        jw_obj(w);
        json_object_foreach ((json_t *)tool, key, value) jw_kjson(w, key, value);
        bool function = str_eq(json_string_value(json_object_get(tool, "type")), "function");
        if (function && !json_object_get(tool, "strict")) jw_kbool(w, "strict", true);
        if (function && !json_object_get(tool, "description")) jw_knull(w, "description");
        if (function && !json_object_get(tool, "parameters")) jw_knull(w, "parameters");
        jw_obj_end(w);
    }
    jw_arr_end(w);
}

static void put_text(struct jw *w, const struct response_fields *f)
{
    struct response_text_fields text = {0};
    struct error ignored; /* it was read before */
    if (f->text && fields_read(response_text_fields, f->text, "", &text, &ignored))
        text = (struct response_text_fields){0};
    jw_key(w, "text");
    jw_obj(w);
    put_json_or(w, "format", text.format, "{\"type\":\"text\"}");
    jw_kstr(w, "verbosity", text.verbosity ? text.verbosity : "medium");
    jw_obj_end(w);
}

static void put_reasoning(struct jw *w, const struct response_fields *f)
{
    struct response_reasoning_fields r = {0};
    struct error ignored;
    if (f->reasoning && fields_read(response_reasoning_fields, f->reasoning, "", &r, &ignored))
        r = (struct response_reasoning_fields){0};
    jw_key(w, "reasoning");
    jw_obj(w);
    jw_kstr(w, "effort", r.effort);
    jw_kstr(w, "summary", r.summary);
    jw_obj_end(w);
}

/* Members of an object, without its braces. */
static enum err write_echo(const struct response_fields *f, const struct call_env *env,
                           const char *metadata, char **out, struct error *error)
{
    struct buf b;
    struct jw w;
    buf_init(&b, COPIED_JSON_MAX);
    jw_init(&w, &b);
    jw_obj(&w);
    jw_kstr(&w, "instructions", f->instructions);
    put_number(&w, "max_output_tokens", f->max_output_tokens);
    put_number(&w, "max_tool_calls", f->max_tool_calls);
    jw_kbool(&w, "parallel_tool_calls", f->parallel_tool_calls);
    jw_kstr(&w, "previous_response_id", f->previous_response_id);
    jw_kstr(&w, "prompt_cache_key", f->prompt_cache_key);
    put_reasoning(&w, f);
    jw_kstr(&w, "safety_identifier", f->safety_identifier);
    jw_kstr(&w, "service_tier", "default");
    jw_kdouble(&w, "temperature", isnan(f->temperature) ? env->temperature : f->temperature);
    put_text(&w, f);
    put_json_or(&w, "tool_choice", f->tool_choice, "\"auto\"");
    put_tools(&w, f);
    jw_kint(&w, "top_logprobs", f->top_logprobs == FIELD_ABSENT ? 0 : f->top_logprobs);
    jw_kdouble(&w, "top_p", isnan(f->top_p) ? env->top_p : f->top_p);
    jw_kstr(&w, "truncation", f->truncation ? f->truncation : "disabled");
    jw_kstr(&w, "user", f->user);
    jw_kraw(&w, "metadata", metadata);
    if (b.err) {
        buf_free(&b);
        return request_too_large(error);
    }
    buf_consume(&b, 1); /* the brace; the other one is not written */
    *out = buf_take(&b);
    return OK;
}

/* ---- all of it ----------------------------------------------------------------------------- */

static void init_fields(struct response_fields *f)
{
    *f = (struct response_fields){
        .terms = CALL_TERMS_ABSENT,
        .parallel_tool_calls = true,
        .max_output_tokens = FIELD_ABSENT,
        .max_tool_calls = FIELD_ABSENT,
        .top_logprobs = FIELD_ABSENT,
        .top_k = FIELD_ABSENT,
        .seed = FIELD_ABSENT,
        .temperature = NAN,
        .top_p = NAN,
        .min_p = NAN,
    };
}

/* Who asks and what it is called. */
static enum err init_info(const struct response_source *source, const struct response_fields *f,
                          struct response_info *info, struct error *error)
{
    *info = (struct response_info){.created_s = source->id ? source->created_s : clock_wall_s(),
                                   .background = f->background};
    info->store = f->background || !json_is_false(f->store);
    if (f->store && !json_is_boolean(f->store))
        return field_error(error, "", "store", "must be true or false, got %s",
                           json_kind(f->store));
    if (f->background && json_is_false(f->store))
        return field_error(error, "", "background",
                           "needs \"store\": what is answered in the background is fetched later");
    str_copy(info->user_id, sizeof info->user_id, source->user_id);
    if (source->id)
        str_copy(info->id, sizeof info->id, source->id);
    else
        id_make(info->id, sizeof info->id, "resp_");
    info->model = xstrdup(f->model ? f->model : "");
    info->previous_id = f->previous_response_id ? xstrdup(f->previous_response_id) : NULL;
    enum err err = call_metadata(f->metadata, "/metadata", &info->metadata, error);
    return err ? err : write_echo(f, source->env, info->metadata, &info->echo, error);
}

/* What was said before, and what is said now. */
static enum err read_items(const struct response_source *source, const struct response_fields *f,
                           struct response_info *info, json_t *items, size_t *n_past, size_t *bytes,
                           struct error *error)
{
    struct store *s;
    struct buf text;
    json_t *own = NULL;
    struct response_refs refs = {0};
    enum err err = OK;
    if (f->previous_response_id) {
        err = response_store(source->hub, &s, error);
        if (!err)
            err = response_history(s, source->user_id, f->previous_response_id, items, bytes,
                                   &info->local_only, error);
    }
    *n_past = json_array_size(items);
    if (!err) err = response_items_read(source, f->input, info->id, &refs, &own, error);
    if (err) return err;
    info->local_only |= refs.local_only;
    buf_init(&text, COPIED_JSON_MAX);
    if (json_dump(own, &text)) err = request_too_large(error);
    if (!err && json_array_extend(items, own))
        err = err_set(error, ERR_NOMEM, "not enough memory for the input");
    *bytes += text.len;
    if (err)
        buf_free(&text);
    else
        info->input = buf_take(&text);
    json_decref(own);
    return err;
}

static enum err parse(const struct response_source *source, const struct response_fields *f,
                      size_t text_len, json_t *items, struct response_call *out,
                      struct error *error)
{
    size_t n_past = 0, bytes = text_len;
    struct gen_request *req;
    enum err err = check_unsupported(f, error);
    if (!err) err = init_info(source, f, &out->info, error);
    if (!err) err = read_items(source, f, &out->info, items, &n_past, &bytes, error);
    if (!err) err = call_request_new(source->env, arena_limit(bytes), &req, error);
    if (err) return err;
    call_of(&out->call, req);
    out->call.stream = f->stream;
    err = fill_request(f, source->env, req, &out->info, error);
    if (!err) err = response_messages(f->instructions, items, n_past, req, error);
    req->local_only |= out->info.local_only;
    out->info.local_only = req->local_only;
    return err;
}

enum err response_parse(const struct response_source *source, const json_t *body, size_t text_len,
                        struct response_call *out, struct error *error)
{
    struct response_fields f;
    init_fields(&f);
    *out = (struct response_call){0};
    enum err err = fields_read(response_fields, body, "", &f, error);
    if (err) return err;
    json_t *items = json_array();
    if (!items) return err_set(error, ERR_NOMEM, "not enough memory for the input");
    err = parse(source, &f, text_len, items, out, error);
    json_decref(items);
    if (err) response_call_free(out);
    return err;
}

void response_info_free(struct response_info *info)
{
    for (struct response_tool *tool = info->tools; tool && tool->name; tool++) {
        free(tool->name);
        free(tool->space);
    }
    free(info->tools);
    free(info->model);
    free(info->previous_id);
    free(info->echo);
    free(info->metadata);
    free(info->input);
    *info = (struct response_info){0};
}

void response_call_free(struct response_call *c)
{
    call_free(&c->call);
    response_info_free(&c->info);
}
