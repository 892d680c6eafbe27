/* Protocol "ollama": a server of Ollama (0.5 and later), https://docs.ollama.com/api. Requests to
 * /api/chat and, for text without a template, /api/generate; answers in lines of JSON, the last of
 * which says "done". A call of a tool comes whole, its arguments as an object.
 *
 * A prompt that is longer than the context is to be an error: by default the server would silently
 * forget its beginning (`truncate`, `shift`; older servers ignore them). */
#include <string.h>

#include "base/str.h"
#include "remote/body.h"
#include "remote/member.h"
#include "remote/remote_int.h"

enum { EMBED_MAX = 256 };

struct state {
    int64_t tools; /* that were called */
};

static enum err headers(const struct remote_env *env, struct headers *out, struct error *error)
{
    /* A server at home has no key; ollama.com and proxies in front have. */
    return headers_add(out, "Authorization", "Bearer ", env->key, error);
}

/* ---- request: settings --------------------------------------------------------------------- */

static void write_keep_alive(struct jw *w, int64_t ms)
{
    char text[32];
    if (ms == KEEP_ALIVE_DEFAULT) return;
    if (ms == KEEP_ALIVE_FOREVER || ms == KEEP_ALIVE_NONE) {
        jw_kint(w, "keep_alive", ms == KEEP_ALIVE_FOREVER ? -1 : 0);
        return;
    }
    str_printf(text, sizeof text, "%lldms", (long long)ms);
    jw_kstr(w, "keep_alive", text);
}

static void write_options(struct jw *w, const struct gen_request *req)
{
    const struct sampling *s = &req->sampling;
    jw_key(w, "options");
    jw_obj(w);
    jw_kfloat(w, "temperature", s->temperature);
    jw_kint(w, "top_k", s->top_k);
    jw_kfloat(w, "top_p", s->top_p);
    jw_kfloat(w, "min_p", s->min_p);
    jw_kfloat(w, "repeat_penalty", s->repeat_penalty);
    jw_kint(w, "repeat_last_n", s->repeat_last_n);
    if (s->frequency_penalty != 0) jw_kfloat(w, "frequency_penalty", s->frequency_penalty);
    if (s->presence_penalty != 0) jw_kfloat(w, "presence_penalty", s->presence_penalty);
    if (s->seed != SEED_RANDOM) jw_kint(w, "seed", (int64_t)(s->seed & INT32_MAX));
    jw_kint(w, "num_predict", req->max_tokens);
    body_stops(w, "stop", req);
    jw_obj_end(w);
}

/* What chat_template_kwargs say of thinking: 1, 0, or -1 for nothing. */
static int thinking_wish(const struct gen_request *req)
{
    struct error ignored;
    json_t *kwargs;
    int wish = -1;
    if (!req->template_kwargs ||
        json_parse(req->template_kwargs, strlen(req->template_kwargs), &kwargs, &ignored) != OK)
        return -1;
    const json_t *value = json_object_get(kwargs, "enable_thinking");
    if (json_is_boolean(value)) wish = json_is_true(value);
    json_decref(kwargs);
    return wish;
}

/* Levels are for gpt-oss; other models are refused with one, and thinking is on or off. A model
 * that can't think refuses the wish to, so only who is asked for is told: absent is its own way. */
static void write_think(struct jw *w, const struct gen_request *req, const char *model)
{
    const char *effort = req->reasoning_effort;
    int wish = thinking_wish(req);
    if (effort && *effort && str_eq(effort, "none"))
        jw_kbool(w, "think", false);
    else if (effort && *effort && strstr(model, "gpt-oss"))
        jw_kstr(w, "think", str_eq(effort, "minimal") ? "low" : effort);
    else if ((effort && *effort) || req->reasoning_budget > 0)
        jw_kbool(w, "think", true);
    else if (wish >= 0)
        jw_kbool(w, "think", wish == 1);
}

static void write_format(struct jw *w, const struct gen_request *req)
{
    if (req->format == FORMAT_JSON_OBJECT) jw_kstr(w, "format", "json");
    if (req->format == FORMAT_JSON_SCHEMA) jw_kraw(w, "format", req->schema);
}

static void write_logprobs(struct jw *w, const struct sampling *s)
{
    if (!s->logprobs) return;
    jw_kbool(w, "logprobs", true);
    if (s->top_logprobs) jw_kint(w, "top_logprobs", s->top_logprobs);
}

/* ---- request: messages and tools ----------------------------------------------------------- */

static enum err write_calls(struct jw *w, const struct gen_request *req, size_t i,
                            struct error *error)
{
    const struct message *m = &req->messages[i];
    enum err e = OK;
    if (!m->n_tool_calls) return OK;
    jw_key(w, "tool_calls");
    jw_arr(w);
    for (size_t k = 0; k < m->n_tool_calls && !e; k++) {
        char id[BODY_ID_MAX];
        body_call_id(req, i, k, id);
        jw_obj(w);
        jw_kstr(w, "id", id);
        jw_key(w, "function");
        jw_obj(w);
        jw_kint(w, "index", (int64_t)k);
        jw_kstr(w, "name", m->tool_calls[k].name);
        jw_key(w, "arguments");
        e = body_arguments(w, &m->tool_calls[k], error);
        if (e) return e;
        jw_obj_end(w);
        jw_obj_end(w);
    }
    jw_arr_end(w);
    return OK;
}

static void write_answered(struct jw *w, const struct gen_request *req, size_t i)
{
    char id[BODY_ID_MAX];
    const struct tool_call *call;
    const char *name = req->messages[i].name;
    body_answered_id(req, i, id, &call);
    if (call)
        jw_kstr(w, "tool_name", call->name);
    else if (name)
        jw_kstr(w, "tool_name", name);
    jw_kstr(w, "tool_call_id", id);
}

static enum err write_message(struct jw *w, const struct gen_request *req, size_t i,
                              struct error *error)
{
    const struct message *m = &req->messages[i];
    jw_obj(w);
    jw_kstr(w, "role", body_role(m->role));
    jw_kstr(w, "content", m->content);
    if (m->role == ROLE_ASSISTANT && m->reasoning && *m->reasoning)
        jw_kstr(w, "thinking", m->reasoning);
    if (m->n_images) {
        jw_key(w, "images");
        jw_arr(w);
        for (size_t k = 0; k < m->n_images; k++) jw_str(w, m->images[k].data);
        jw_arr_end(w);
    }
    enum err e = write_calls(w, req, i, error);
    if (e) return e;
    if (m->role == ROLE_TOOL) write_answered(w, req, i);
    jw_obj_end(w);
    return OK;
}

static enum err write_messages(struct jw *w, const struct gen_request *req, struct error *error)
{
    enum err e = OK;
    jw_key(w, "messages");
    jw_arr(w);
    for (size_t i = 0; i < req->n_messages && !e; i++) e = write_message(w, req, i, error);
    if (e) return e;
    jw_arr_end(w);
    return OK;
}

static void write_tools(struct jw *w, const struct gen_request *req)
{
    if (!body_has_tools(req)) return;
    jw_key(w, "tools");
    jw_arr(w);
    for (size_t i = 0; i < req->n_tools; i++) {
        jw_obj(w);
        jw_kstr(w, "type", "function");
        jw_key(w, "function");
        jw_obj(w);
        jw_kstr(w, "name", req->tools[i].name);
        jw_kstr(w, "description", req->tools[i].description);
        jw_key(w, "parameters");
        body_schema(w, req->tools[i].parameters);
        jw_obj_end(w);
        jw_obj_end(w);
    }
    jw_arr_end(w);
}

static enum err generate(const struct remote_env *env, const struct gen_request *req,
                         const char *model, struct remote_http *out, struct error *error)
{
    struct jw w;
    (void)env;
    enum err e =
        body_check(req, BODY_RAW | BODY_LOGPROBS | BODY_TOOLS_AND_FORMAT, "Ollama's API", error);
    if (e) return e;
    bool raw = req->kind == GEN_RAW, shift = req->overflow == OVERFLOW_SHIFT;
    str_copy(out->path, sizeof out->path, raw ? "/api/generate" : "/api/chat");
    remote_body(out, &w);
    jw_kstr(&w, "model", model);
    jw_kbool(&w, "stream", true);
    jw_kbool(&w, "truncate", shift);
    jw_kbool(&w, "shift", shift);
    write_keep_alive(&w, req->keep_alive_ms);
    write_format(&w, req);
    write_logprobs(&w, &req->sampling);
    write_options(&w, req);
    if (raw) {
        jw_kstr(&w, "prompt", req->prompt);
        jw_kbool(&w, "raw", true);
    } else {
        write_think(&w, req, model);
        write_tools(&w, req);
        e = write_messages(&w, req, error);
    }
    return e ? e : remote_body_end(out, &w, error);
}

/* ---- answer -------------------------------------------------------------------------------- */

static enum err call(struct decode *d, const json_t *item, struct error *error)
{
    struct state *s = d->state;
    const json_t *function = json_object_get(item, "function");
    const json_t *arguments = json_object_get(function, "arguments");
    int64_t index = s->tools++;
    enum err e =
        decode_tool(d, 0, index, member_word(item, "id"), member_word(function, "name"), error);
    if (e || !json_is_object(arguments)) return e;
    return decode_arguments_object(d, 0, index, arguments, error);
}

static enum err texts(struct decode *d, const json_t *line, const json_t *message,
                      const char *content_name, struct error *error)
{
    const json_t *logprobs = json_object_get(line, "logprobs");
    const char *text;
    size_t len;
    enum err e = OK;
    if (member_text(message, "thinking", &text, &len)) e = decode_reasoning(d, 0, text, len, error);
    if (e || !member_text(message, content_name, &text, &len)) return e;
    if (json_array_size(logprobs)) return decode_logprobs(d, 0, text, len, logprobs, error);
    return decode_text(d, 0, text, len, NULL, 0, error);
}

static enum err last_line(struct decode *d, const json_t *line, struct error *error)
{
    bool full = str_eq(member_word(line, "done_reason"), "length");
    struct usage usage = {.prompt_tokens = member_count(line, "prompt_eval_count"),
                          .completion_tokens = member_count(line, "eval_count")};
    decode_usage(d, &usage);
    enum err e = decode_finish(d, 0, full ? FINISH_LENGTH : FINISH_STOP, error);
    return e ? e : decode_done(d, error);
}

static enum err piece(struct decode *d, const json_t *line, bool whole, struct error *error)
{
    const json_t *message = json_object_get(line, "message");
    const json_t *calls = json_object_get(message, "tool_calls");
    (void)whole;
    if (json_object_get(line, "error")) return decode_failure(d, line, error);
    decode_model(d, member_word(line, "model"));
    enum err e = json_is_object(message) ? texts(d, line, message, "content", error)
                                         : texts(d, line, line, "response", error);
    for (size_t i = 0; i < json_array_size(calls) && !e; i++)
        e = call(d, json_array_get(calls, i), error);
    if (e || !json_is_true(json_object_get(line, "done"))) return e;
    return last_line(d, line, error);
}

/* ---- embeddings ---------------------------------------------------------------------------- */

static enum err embed(const struct remote_env *env, const struct embed_request *req, size_t from,
                      size_t n, const char *model, struct remote_http *out, struct error *error)
{
    struct jw w;
    (void)env;
    str_copy(out->path, sizeof out->path, "/api/embed");
    remote_body(out, &w);
    jw_kstr(&w, "model", model);
    jw_kbool(&w, "truncate", false);
    write_keep_alive(&w, req->keep_alive_ms);
    body_texts(&w, "input", req, from, n);
    return remote_body_end(out, &w, error);
}

static enum err embedded(const json_t *body, struct embed_rows *rows, struct error *error)
{
    const json_t *list = json_object_get(body, "embeddings");
    enum err e = OK;
    if (!json_is_array(list))
        return err_set(error, ERR_UPSTREAM, "the answer has no \"embeddings\"");
    for (size_t i = 0; i < json_array_size(list) && !e; i++)
        e = rows_vector(rows, (int64_t)i, json_array_get(list, i), error);
    rows_usage(rows, member_word(body, "model"), member_count(body, "prompt_eval_count"));
    return e;
}

/* ---- models -------------------------------------------------------------------------------- */

/* By what the server says (newer ones), by the architecture, by the name. */
static bool is_embedding(const json_t *item, const char *name, const char *family)
{
    if (json_array_size(json_object_get(item, "capabilities")))
        return member_listed(item, "capabilities", "embedding");
    return strstr(family, "bert") || strstr(name, "embed");
}

static void add_model(struct model_list *list, const json_t *item)
{
    const json_t *details = json_object_get(item, "details");
    const char *id = member_word(item, "model"), *name = member_word(item, "name");
    struct remote_model m = {.id = *id ? id : name,
                             .name = name,
                             .family = member_word(details, "family"),
                             .quant = member_word(details, "quantization_level"),
                             .parameters = member_word(details, "parameter_size"),
                             .size_bytes = json_integer_value(json_object_get(item, "size")),
                             .tools = member_listed(item, "capabilities", "tools"),
                             .images = member_listed(item, "capabilities", "vision"),
                             .reasoning = member_listed(item, "capabilities", "thinking")};
    m.kind = is_embedding(item, m.id, m.family) ? "embedding" : "chat";
    list_add(list, &m);
}

static enum err models(const json_t *body, struct model_list *list, struct error *error)
{
    const json_t *all = json_object_get(body, "models");
    if (!json_is_array(all))
        return err_set(error, ERR_UPSTREAM, "the answer has no list of models");
    for (size_t i = 0; i < json_array_size(all); i++) add_model(list, json_array_get(all, i));
    return OK;
}

static enum err show(const struct remote_env *env, const char *model, struct remote_http *out,
                     struct error *error)
{
    struct jw w;
    (void)env;
    str_copy(out->path, sizeof out->path, "/api/show");
    remote_body(out, &w);
    jw_kstr(&w, "model", model);
    return remote_body_end(out, &w, error);
}

/* model_info is the header of its GGUF: "<architecture>.context_length". */
static enum err shown(const json_t *body, const char *model, struct model_list *list,
                      struct error *error)
{
    const json_t *info = json_object_get(body, "model_info");
    const json_t *details = json_object_get(body, "details");
    char key[128];
    if (!json_is_object(info) && !json_is_object(details))
        return err_set(error, ERR_UPSTREAM, "the answer has no details of the model");
    str_printf(key, sizeof key, "%s.context_length", member_word(info, "general.architecture"));
    struct remote_model m = {.id = model,
                             .family = member_word(details, "family"),
                             .quant = member_word(details, "quantization_level"),
                             .parameters = member_word(details, "parameter_size"),
                             .context = member_count(info, key),
                             .tools = member_listed(body, "capabilities", "tools"),
                             .images = member_listed(body, "capabilities", "vision"),
                             .reasoning = member_listed(body, "capabilities", "thinking")};
    m.kind = is_embedding(body, model, m.family) ? "embedding" : "chat";
    list_add(list, &m);
    return OK;
}

static const struct remote_hint hints[] = {
    {"think", "thinking"}, {"think", "think value"}, {NULL, NULL}};

const struct protocol remote_ollama = {
    .name = "ollama",
    .caps = PROVIDER_GENERATE | PROVIDER_EMBED | PROVIDER_TOOLS | PROVIDER_IMAGES,
    .base_url = "http://localhost:11434",
    .drop_path = "/api",
    .lines = true,
    .state_size = sizeof(struct state),
    .embed_max = EMBED_MAX,
    .headers = headers,
    .generate = generate,
    .hints = hints,
    .piece = piece,
    .embed = embed,
    .embedded = embedded,
    .models_path = "/api/tags",
    .models = models,
    .show = show,
    .shown = shown,
};
