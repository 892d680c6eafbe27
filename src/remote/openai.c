/* Protocol "openai": OpenAI's API (chat completions, completions, embeddings, models) and
 * everything that speaks it: vLLM, llama-server, LM Studio, OpenRouter, ... The answers are read in
 * openai_decode.c. And "aihub": an AI Hub, which speaks the same behind a Keycloak server that
 * signs in (token.h).
 *
 * api.openai.com refuses what it does not know, so it gets only its own fields; others also get
 * those that the local engines have in common (top_k, min_p, grammar, chat_template_kwargs), when
 * they are not at their usual values. */
#include <math.h>
#include <string.h>

#include "base/str.h"
#include "remote/body.h"
#include "remote/member.h"
#include "remote/openai_int.h"

enum { OPENAI_EMBED_MAX = 2048, AIHUB_EMBED_MAX = 256 };

/* What hearth's own surfaces fill in where a client says nothing (api/call.h): not sent. */
#define USUAL_TOP_K 40
#define USUAL_MIN_P 0.05F

static bool is_openai(const struct remote_env *env)
{
    return str_starts(env->base_url, "https://api.openai.com");
}

/* Those that think refuse the knobs of sampling. */
static bool is_thinker(const char *model)
{
    return str_starts(model, "o1") || str_starts(model, "o3") || str_starts(model, "o4") ||
           str_starts(model, "gpt-5");
}

static enum err headers(const struct remote_env *env, struct headers *out, struct error *error)
{
    return headers_add(out, "Authorization", "Bearer ", env->key, error);
}

/* ---- messages ------------------------------------------------------------------------------ */

static void write_content(struct jw *w, const struct message *m)
{
    if (m->n_images) {
        body_parts(w, m);
        return;
    }
    jw_key(w, "content");
    if (m->role == ROLE_ASSISTANT && !*m->content && m->n_tool_calls)
        jw_null(w);
    else
        jw_str(w, m->content);
}

static void write_tool_calls(struct jw *w, const struct message *m)
{
    if (!m->n_tool_calls) return;
    jw_key(w, "tool_calls");
    jw_arr(w);
    for (size_t i = 0; i < m->n_tool_calls; i++)
        body_call(w, m->tool_calls[i].id, &m->tool_calls[i]);
    jw_arr_end(w);
}

static void write_messages(struct jw *w, const struct gen_request *req)
{
    jw_key(w, "messages");
    jw_arr(w);
    for (size_t i = 0; i < req->n_messages; i++) {
        const struct message *m = &req->messages[i];
        jw_obj(w);
        jw_kstr(w, "role", body_role(m->role));
        write_content(w, m);
        if (m->name && *m->name && m->role != ROLE_TOOL) jw_kstr(w, "name", m->name);
        if (m->tool_call_id) jw_kstr(w, "tool_call_id", m->tool_call_id);
        write_tool_calls(w, m);
        jw_obj_end(w);
    }
    jw_arr_end(w);
}

/* ---- tools, format ------------------------------------------------------------------------- */

static void write_tools(struct jw *w, const struct gen_request *req)
{
    static const char *const choices[] = {
        [TOOL_AUTO] = "auto", [TOOL_NONE] = "none", [TOOL_REQUIRED] = "required"};
    if (!req->n_tools) return;
    jw_key(w, "tools");
    jw_arr(w);
    for (size_t i = 0; i < req->n_tools; i++) {
        const struct tool *t = &req->tools[i];
        jw_obj(w);
        jw_kstr(w, "type", "function");
        jw_key(w, "function");
        jw_obj(w);
        jw_kstr(w, "name", t->name);
        if (*t->description) jw_kstr(w, "description", t->description);
        jw_kraw(w, "parameters", t->parameters);
        if (t->strict) jw_kbool(w, "strict", true);
        jw_obj_end(w);
        jw_obj_end(w);
    }
    jw_arr_end(w);
    if (req->tool_choice == TOOL_NAMED) {
        jw_key(w, "tool_choice");
        jw_obj(w);
        jw_kstr(w, "type", "function");
        jw_key(w, "function");
        jw_obj(w);
        jw_kstr(w, "name", req->tool_choice_name);
        jw_obj_end(w);
        jw_obj_end(w);
    } else if (req->tool_choice != TOOL_AUTO) {
        jw_kstr(w, "tool_choice", choices[req->tool_choice]);
    }
    if (!req->parallel_tool_calls) jw_kbool(w, "parallel_tool_calls", false);
}

/* OpenAI holds a model to a schema only if each object in it has "additionalProperties": false and
 * requires all its properties, and refuses to be strict about others. */
static bool may_be_strict(const json_t *schema, int depth)
{
    const json_t *properties = json_object_get(schema, "properties"), *value;
    const char *key;
    size_t i;
    if (depth > JSON_DEPTH_MAX) return false;
    if (json_is_array(schema)) {
        json_array_foreach (schema, i, value)
            if (!may_be_strict(value, depth + 1)) return false;
        return true;
    }
    if (!json_is_object(schema)) return true;
    const json_t *type = json_object_get(schema, "type");
    bool object = properties || (json_is_string(type) && str_eq(json_string_value(type), "object"));
    if (object &&
        (!json_is_false(json_object_get(schema, "additionalProperties")) ||
         json_array_size(json_object_get(schema, "required")) != json_object_size(properties)))
        return false;
    json_object_foreach ((json_t *)schema, key, value)
        if (!may_be_strict(value, depth + 1)) return false;
    return true;
}

static void write_format(struct jw *w, const struct gen_request *req)
{
    if (req->format != FORMAT_JSON_OBJECT && req->format != FORMAT_JSON_SCHEMA) return;
    jw_key(w, "response_format");
    jw_obj(w);
    if (req->format == FORMAT_JSON_OBJECT) {
        jw_kstr(w, "type", "json_object");
    } else {
        json_t *schema = NULL;
        bool strict = json_parse(req->schema, strlen(req->schema), &schema, NULL) == OK &&
                      may_be_strict(schema, 0);
        json_decref(schema);
        jw_kstr(w, "type", "json_schema");
        jw_key(w, "json_schema");
        jw_obj(w);
        jw_kstr(w, "name", "answer");
        jw_kraw(w, "schema", req->schema);
        jw_kbool(w, "strict", strict);
        jw_obj_end(w);
    }
    jw_obj_end(w);
}

/* ---- sampling ------------------------------------------------------------------------------ */

static void write_biases(struct jw *w, const struct sampling *s)
{
    if (!s->n_logit_bias) return;
    jw_key(w, "logit_bias");
    jw_obj(w);
    for (size_t i = 0; i < s->n_logit_bias; i++) {
        char token[16];
        float bias = s->logit_bias[i].bias;
        str_printf(token, sizeof token, "%d", s->logit_bias[i].token);
        jw_kfloat(w, token, isfinite(bias) ? bias : bias < 0 ? -100 : 100);
    }
    jw_obj_end(w);
}

static void write_sampling(struct jw *w, const struct gen_request *req)
{
    const struct sampling *s = &req->sampling;
    jw_kfloat(w, "temperature", s->temperature);
    jw_kfloat(w, "top_p", s->top_p);
    if (s->frequency_penalty != 0) jw_kfloat(w, "frequency_penalty", s->frequency_penalty);
    if (s->presence_penalty != 0) jw_kfloat(w, "presence_penalty", s->presence_penalty);
    write_biases(w, s);
}

static void write_engine_sampling(struct jw *w, const struct gen_request *req)
{
    const struct sampling *s = &req->sampling;
    if (s->top_k != USUAL_TOP_K) jw_kint(w, "top_k", s->top_k);
    if (fabsf(s->min_p - USUAL_MIN_P) > 1e-6F) jw_kfloat(w, "min_p", s->min_p);
    if (s->repeat_penalty != 1) {
        jw_kfloat(w, "repeat_penalty", s->repeat_penalty);     /* llama-server's name */
        jw_kfloat(w, "repetition_penalty", s->repeat_penalty); /* vLLM's, OpenRouter's */
    }
    if (s->ignore_eos) jw_kbool(w, "ignore_eos", true);
    if (req->format == FORMAT_GRAMMAR) jw_kstr(w, "grammar", req->grammar);
    if (req->template_kwargs && *req->template_kwargs)
        jw_kraw(w, "chat_template_kwargs", req->template_kwargs);
}

static void write_common(struct jw *w, const struct gen_request *req)
{
    if (req->n > 1) jw_kint(w, "n", req->n);
    if (req->sampling.seed != SEED_RANDOM) jw_kint(w, "seed", req->sampling.seed);
    body_stops(w, "stop", req);
    jw_kbool(w, "stream", true);
    jw_key(w, "stream_options");
    jw_obj(w);
    jw_kbool(w, "include_usage", true);
    jw_obj_end(w);
}

static void write_chat(struct jw *w, const struct remote_env *env, const struct gen_request *req,
                       const char *model)
{
    bool openai = is_openai(env), thinker = openai && is_thinker(model);
    const struct sampling *s = &req->sampling;
    write_messages(w, req);
    write_tools(w, req);
    write_format(w, req);
    if (req->max_tokens > 0)
        jw_kint(w, openai ? "max_completion_tokens" : "max_tokens", req->max_tokens);
    if (req->reasoning_effort && *req->reasoning_effort)
        jw_kstr(w, "reasoning_effort", req->reasoning_effort);
    if (!thinker) write_sampling(w, req);
    if (!openai) write_engine_sampling(w, req);
    if (s->logprobs && !thinker) {
        jw_kbool(w, "logprobs", true);
        if (s->top_logprobs) jw_kint(w, "top_logprobs", s->top_logprobs);
    }
}

/* A prompt as it is: the older "completions" call. */
static void write_raw(struct jw *w, const struct remote_env *env, const struct gen_request *req)
{
    jw_key(w, "prompt");
    if (req->prompt) {
        jw_str(w, req->prompt);
    } else {
        jw_arr(w);
        for (size_t i = 0; i < req->n_prompt_tokens; i++) jw_int(w, req->prompt_tokens[i]);
        jw_arr_end(w);
    }
    if (req->echo) jw_kbool(w, "echo", true);
    if (req->max_tokens > 0) jw_kint(w, "max_tokens", req->max_tokens);
    write_sampling(w, req);
    if (!is_openai(env)) write_engine_sampling(w, req);
}

static enum err generate(const struct remote_env *env, const struct gen_request *req,
                         const char *model, struct remote_http *out, struct error *error)
{
    struct jw w;
    if (req->format == FORMAT_GRAMMAR && is_openai(env))
        return err_set_param(error, ERR_UNSUPPORTED, "/grammar",
                             "%s takes JSON schemas, not grammars", env->name);
    if (req->kind == GEN_RAW && req->sampling.logprobs)
        return err_set_param(error, ERR_UNSUPPORTED, "/logprobs",
                             "%s: log probabilities come with chats only", env->name);
    str_copy(out->path, sizeof out->path,
             req->kind == GEN_CHAT ? "/chat/completions" : "/completions");
    remote_body(out, &w);
    if (*model) jw_kstr(&w, "model", model);
    if (req->kind == GEN_CHAT)
        write_chat(&w, env, req, model);
    else
        write_raw(&w, env, req);
    write_common(&w, req);
    return remote_body_end(out, &w, error);
}

/* ---- embeddings ---------------------------------------------------------------------------- */

static enum err embed(const struct remote_env *env, const struct embed_request *req, size_t from,
                      size_t n, const char *model, struct remote_http *out, struct error *error)
{
    struct jw w;
    (void)env;
    str_copy(out->path, sizeof out->path, "/embeddings");
    remote_body(out, &w);
    jw_kstr(&w, "model", model);
    body_texts(&w, "input", req, from, n);
    jw_kstr(&w, "encoding_format", "float");
    return remote_body_end(out, &w, error);
}

static enum err embedded(const json_t *body, struct embed_rows *rows, struct error *error)
{
    const json_t *data = json_object_get(body, "data"), *row;
    size_t i;
    json_array_foreach (data, i, row) {
        const json_t *index = json_object_get(row, "index");
        int64_t at = json_is_integer(index) ? json_integer_value(index) : (int64_t)i;
        enum err e = rows_vector(rows, at, json_object_get(row, "embedding"), error);
        if (e) return e;
    }
    rows_usage(rows, member_word(body, "model"),
               member_count(json_object_get(body, "usage"), "prompt_tokens"));
    return OK;
}

/* ---- models -------------------------------------------------------------------------------- */

/* vLLM says max_model_len, OpenRouter context_length, llama-server meta.n_ctx_train. */
static int64_t context_of(const json_t *model)
{
    static const char *const names[] = {"max_model_len", "context_length", "context_window"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const json_t *v = json_object_get(model, names[i]);
        if (json_is_integer(v)) return json_integer_value(v);
    }
    return json_integer_value(json_object_get(json_object_get(model, "meta"), "n_ctx_train"));
}

static enum err models(const json_t *body, struct model_list *list, struct error *error)
{
    const json_t *data = json_object_get(body, "data"), *model;
    size_t i;
    if (!json_is_array(data))
        return err_set(error, ERR_UPSTREAM, "the list of models has no \"data\"");
    json_array_foreach (data, i, model) {
        const char *id = member_word(model, "id");
        struct remote_model m = {
            .id = id,
            .name = member_word(model, "name"),
            .owner = member_word(model, "owned_by"),
            .kind = strstr(id, "embed") ? "embedding" : NULL,
            .created_s = json_integer_value(json_object_get(model, "created")),
            .context = context_of(model),
        };
        list_add(list, &m);
    }
    return OK;
}

static const struct remote_hint hints[] = {{"temperature", "temperature"},
                                           {"top_p", "top_p"},
                                           {"reasoning_effort", "reasoning_effort"},
                                           {"reasoning_effort", "reasoning effort"},
                                           {"seed", "seed"},
                                           {"stream_options", "stream_options"},
                                           {NULL, NULL}};

#define WHAT_BOTH_SPEAK                                                                            \
    .caps = PROVIDER_GENERATE | PROVIDER_EMBED | PROVIDER_TOOLS | PROVIDER_IMAGES,                 \
    .add_path = "/v1", .last_word = "[DONE]", .headers = headers, .generate = generate,            \
    .hints = hints, .piece = openai_piece, .embed = embed, .embedded = embedded,                   \
    .models_path = "/models", .models = models

const struct protocol remote_openai = {
    .name = "openai",
    .base_url = "https://api.openai.com/v1",
    .embed_max = OPENAI_EMBED_MAX,
    WHAT_BOTH_SPEAK,
};

const struct protocol remote_aihub = {
    .name = "aihub",
    .own_model = true,
    .embed_max = AIHUB_EMBED_MAX,
    WHAT_BOTH_SPEAK,
};
