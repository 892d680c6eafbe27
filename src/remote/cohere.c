/* Protocol "cohere": Cohere's API, version 2: POST /v2/chat, /v2/embed, /v2/rerank, as described at
 * https://docs.cohere.com/v2/reference. A stream is
 *
 *   message-start (content-start content-delta* content-end | tool-plan-delta | tool-call-start
 *   tool-call-delta* tool-call-end | citation-start citation-end)* message-end
 *
 * The plan that a model writes before it calls tools is told as its reasoning, and goes back as its
 * plan. Citations belong to documents, which are not sent, and are skipped. */
#include <math.h>
#include <string.h>

#include "base/str.h"
#include "remote/body.h"
#include "remote/member.h"
#include "remote/remote_int.h"

#define RELEVANCE_MIN 1e-7

enum {
    EMBED_MAX = 96, /* texts in one request */
    STOPS_MAX = 5,
    TOP_K_MAX = 500,
    BUDGET_LOW = 1024, /* of thoughts, for a reasoning_effort */
    BUDGET_MEDIUM = 4096,
};

struct state {
    int64_t tools; /* that were called */
};

static enum err headers(const struct remote_env *env, struct headers *out, struct error *error)
{
    enum err e = headers_add(out, "Authorization", "Bearer ", env->key, error);
    return e ? e : headers_add(out, "X-Client-Name", "", "hearth", error);
}

/* ---- request: messages --------------------------------------------------------------------- */

static void write_calls(struct jw *w, const struct gen_request *req, size_t i)
{
    const struct message *m = &req->messages[i];
    if (m->reasoning && *m->reasoning) jw_kstr(w, "tool_plan", m->reasoning);
    jw_key(w, "tool_calls");
    jw_arr(w);
    for (size_t k = 0; k < m->n_tool_calls; k++) {
        char id[BODY_ID_MAX];
        body_call_id(req, i, k, id);
        body_call(w, id, &m->tool_calls[k]);
    }
    jw_arr_end(w);
}

static void write_message(struct jw *w, const struct gen_request *req, size_t i)
{
    const struct message *m = &req->messages[i];
    jw_obj(w);
    jw_kstr(w, "role", body_role(m->role));
    if (m->role == ROLE_TOOL) {
        char id[BODY_ID_MAX];
        body_answered_id(req, i, id, NULL);
        jw_kstr(w, "tool_call_id", id);
    }
    if (m->n_images)
        body_parts(w, m);
    else if (!m->n_tool_calls || *m->content)
        jw_kstr(w, "content", m->content);
    if (m->n_tool_calls) write_calls(w, req, i);
    jw_obj_end(w);
}

static void write_messages(struct jw *w, const struct gen_request *req)
{
    jw_key(w, "messages");
    jw_arr(w);
    for (size_t i = 0; i < req->n_messages; i++) write_message(w, req, i);
    jw_arr_end(w);
}

/* ---- request: the rest --------------------------------------------------------------------- */

/* A tool that is chosen by name is the only one that is told, and one must be called. */
static void write_tools(struct jw *w, const struct gen_request *req)
{
    bool strict = false, named = req->tool_choice == TOOL_NAMED;
    if (!body_has_tools(req)) return;
    jw_key(w, "tools");
    jw_arr(w);
    for (size_t i = 0; i < req->n_tools; i++) {
        const struct tool *tool = &req->tools[i];
        if (named && !str_eq(tool->name, req->tool_choice_name)) continue;
        strict = strict || tool->strict;
        jw_obj(w);
        jw_kstr(w, "type", "function");
        jw_key(w, "function");
        jw_obj(w);
        jw_kstr(w, "name", tool->name);
        jw_kstr(w, "description", tool->description);
        jw_key(w, "parameters");
        body_schema(w, tool->parameters);
        jw_obj_end(w);
        jw_obj_end(w);
    }
    jw_arr_end(w);
    if (strict) jw_kbool(w, "strict_tools", true);
    if (named || req->tool_choice == TOOL_REQUIRED) jw_kstr(w, "tool_choice", "REQUIRED");
}

static void write_format(struct jw *w, const struct gen_request *req)
{
    if (req->format == FORMAT_TEXT) return;
    jw_key(w, "response_format");
    jw_obj(w);
    jw_kstr(w, "type", "json_object");
    if (req->format == FORMAT_JSON_SCHEMA) jw_kraw(w, "json_schema", req->schema);
    jw_obj_end(w);
}

static void write_thinking(struct jw *w, const struct gen_request *req)
{
    const char *effort = req->reasoning_effort ? req->reasoning_effort : "";
    int64_t budget = req->reasoning_budget;
    if (!*effort && budget <= 0) return;
    if (budget <= 0 && (str_eq(effort, "minimal") || str_eq(effort, "low"))) budget = BUDGET_LOW;
    if (budget <= 0 && str_eq(effort, "medium")) budget = BUDGET_MEDIUM;
    bool off = str_eq(effort, "none");
    jw_key(w, "thinking");
    jw_obj(w);
    jw_kstr(w, "type", off ? "disabled" : "enabled");
    if (!off && budget > 0) jw_kint(w, "token_budget", budget);
    jw_obj_end(w);
}

static float within(float v, float min, float max)
{
    return v < min ? min : v > max ? max : v;
}

static void write_sampling(struct jw *w, const struct gen_request *req)
{
    const struct sampling *s = &req->sampling;
    jw_kfloat(w, "temperature", s->temperature);
    jw_kfloat(w, "p", within(s->top_p, 0.01f, 0.99f));
    jw_kint(w, "k", s->top_k > TOP_K_MAX ? TOP_K_MAX : s->top_k < 0 ? 0 : s->top_k);
    if (s->frequency_penalty > 0)
        jw_kfloat(w, "frequency_penalty", within(s->frequency_penalty, 0, 1));
    if (s->presence_penalty > 0)
        jw_kfloat(w, "presence_penalty", within(s->presence_penalty, 0, 1));
    if (s->seed != SEED_RANDOM) jw_kint(w, "seed", (int64_t)s->seed);
    if (req->max_tokens > 0) jw_kint(w, "max_tokens", req->max_tokens);
    body_stops(w, "stop_sequences", req);
}

static enum err generate(const struct remote_env *env, const struct gen_request *req,
                         const char *model, struct remote_http *out, struct error *error)
{
    struct jw w;
    (void)env;
    enum err e = body_check(req, BODY_IMAGE_URLS | BODY_FORCED_TOOL | BODY_NAMED_TOOL,
                            "Cohere's API", error);
    if (e) return e;
    if (req->n_stop > STOPS_MAX)
        return err_set(error, ERR_UNSUPPORTED, "Cohere's API has at most %d stop sequences",
                       STOPS_MAX);
    str_copy(out->path, sizeof out->path, "/v2/chat");
    remote_body(out, &w);
    jw_kstr(&w, "model", model);
    jw_kbool(&w, "stream", true);
    write_sampling(&w, req);
    write_thinking(&w, req);
    write_format(&w, req);
    write_tools(&w, req);
    write_messages(&w, req);
    return remote_body_end(out, &w, error);
}

/* ---- answer -------------------------------------------------------------------------------- */

static void read_usage(struct decode *d, const json_t *usage)
{
    const json_t *tokens = json_object_get(usage, "tokens");
    if (!tokens) tokens = json_object_get(usage, "billed_units");
    struct usage told = {.prompt_tokens = member_count(tokens, "input_tokens"),
                         .completion_tokens = member_count(tokens, "output_tokens"),
                         .cached_tokens = member_count(usage, "cached_tokens")};
    decode_usage(d, &told);
}

static enum err failed(struct decode *d, const char *reason, const json_t *says,
                       struct error *error)
{
    struct remote_failure f = {0};
    const char *text = json_string_value(says);
    str_printf(f.message, sizeof f.message, "%s", text ? text : "the answer ended with an error");
    str_copy(f.type, sizeof f.type, reason);
    return remote_fail(d->name, &f, error);
}

static enum err finish(struct decode *d, const json_t *from, struct error *error)
{
    const char *reason = member_word(from, "finish_reason");
    if (str_eq(reason, "ERROR") || str_eq(reason, "TIMEOUT") || str_eq(reason, "ERROR_TOXIC"))
        return failed(d, reason, json_object_get(from, "error"), error);
    bool full = str_eq(reason, "MAX_TOKENS") || str_eq(reason, "ERROR_LIMIT");
    read_usage(d, json_object_get(from, "usage"));
    enum err e = decode_finish(d, 0, full ? FINISH_LENGTH : FINISH_STOP, error);
    return e ? e : decode_done(d, error);
}

/* A block {"type": "text", "text"} or {"type": "thinking", "thinking"}, or a piece of one, which
 * has no type. */
static enum err content(struct decode *d, const json_t *block, struct error *error)
{
    const char *text;
    size_t len;
    enum err e = OK;
    if (member_text(block, "thinking", &text, &len)) e = decode_reasoning(d, 0, text, len, error);
    if (!e && member_text(block, "text", &text, &len))
        e = decode_text(d, 0, text, len, NULL, 0, error);
    return e;
}

static enum err plan(struct decode *d, const json_t *message, struct error *error)
{
    const char *text;
    size_t len;
    if (!member_text(message, "tool_plan", &text, &len)) return OK;
    return decode_reasoning(d, 0, text, len, error);
}

static enum err arguments(struct decode *d, const json_t *call, struct error *error)
{
    const struct state *s = d->state;
    const char *text;
    size_t len;
    if (!member_text(json_object_get(call, "function"), "arguments", &text, &len)) return OK;
    return decode_arguments(d, 0, s->tools - 1, text, len, error);
}

static enum err call_start(struct decode *d, const json_t *call, struct error *error)
{
    struct state *s = d->state;
    const json_t *function = json_object_get(call, "function");
    enum err e = decode_tool(d, 0, s->tools++, member_word(call, "id"),
                             member_word(function, "name"), error);
    return e ? e : arguments(d, call, error);
}

/* Without streaming: the message as the stream's events would build it. */
static enum err whole_message(struct decode *d, const json_t *body, struct error *error)
{
    const json_t *message = json_object_get(body, "message");
    const json_t *blocks = json_object_get(message, "content");
    const json_t *calls = json_object_get(message, "tool_calls");
    if (!json_is_object(message))
        return err_set(error, ERR_UPSTREAM, "%s answered with no message", d->name);
    enum err e = plan(d, message, error);
    for (size_t i = 0; i < json_array_size(blocks) && !e; i++)
        e = content(d, json_array_get(blocks, i), error);
    for (size_t i = 0; i < json_array_size(calls) && !e; i++)
        e = call_start(d, json_array_get(calls, i), error);
    return e ? e : finish(d, body, error);
}

static enum err one_event(struct decode *d, const json_t *event, struct error *error)
{
    const char *type = member_word(event, "type");
    const json_t *delta = json_object_get(event, "delta");
    const json_t *message = json_object_get(delta, "message");
    if (str_eq(type, "content-start") || str_eq(type, "content-delta"))
        return content(d, json_object_get(message, "content"), error);
    if (str_eq(type, "tool-plan-delta")) return plan(d, message, error);
    if (str_eq(type, "tool-call-start"))
        return call_start(d, json_object_get(message, "tool_calls"), error);
    if (str_eq(type, "tool-call-delta"))
        return arguments(d, json_object_get(message, "tool_calls"), error);
    if (str_eq(type, "message-end")) return finish(d, delta, error);
    if (!*type && json_object_get(event, "message") && !json_object_get(event, "delta"))
        return failed(d, "", json_object_get(event, "message"), error); /* an error's body */
    return OK; /* message-start, content-end, tool-call-end, citations, debug */
}

static enum err piece(struct decode *d, const json_t *piece, bool whole, struct error *error)
{
    return whole ? whole_message(d, piece, error) : one_event(d, piece, error);
}

/* ---- embeddings and reranks ---------------------------------------------------------------- */

/* Whether a text is a question or what is searched isn't known here: models of version 3 and 4
 * give both the same space, and documents are the larger part. */
static enum err embed(const struct remote_env *env, const struct embed_request *req, size_t from,
                      size_t n, const char *model, struct remote_http *out, struct error *error)
{
    struct jw w;
    (void)env;
    str_copy(out->path, sizeof out->path, "/v2/embed");
    remote_body(out, &w);
    jw_kstr(&w, "model", model);
    jw_kstr(&w, "input_type", "search_document");
    jw_kraw(&w, "embedding_types", "[\"float\"]");
    jw_kstr(&w, "truncate", "NONE");
    body_texts(&w, "texts", req, from, n);
    return remote_body_end(out, &w, error);
}

static enum err embedded(const json_t *body, struct embed_rows *rows, struct error *error)
{
    const json_t *list = json_object_get(json_object_get(body, "embeddings"), "float");
    const json_t *units = json_object_get(json_object_get(body, "meta"), "billed_units");
    enum err e = OK;
    if (!json_is_array(list))
        return err_set(error, ERR_UPSTREAM, "the answer has no \"embeddings.float\"");
    for (size_t i = 0; i < json_array_size(list) && !e; i++)
        e = rows_vector(rows, (int64_t)i, json_array_get(list, i), error);
    rows_usage(rows, "", member_count(units, "input_tokens"));
    return e;
}

static enum err rerank(const struct remote_env *env, const struct embed_request *req, size_t from,
                       size_t n, const char *model, struct remote_http *out, struct error *error)
{
    struct jw w;
    (void)env;
    str_copy(out->path, sizeof out->path, "/v2/rerank");
    remote_body(out, &w);
    jw_kstr(&w, "model", model);
    jw_kstr(&w, "query", req->query);
    jw_kint(&w, "top_n", (int64_t)n);
    body_texts(&w, "documents", req, from, n);
    return remote_body_end(out, &w, error);
}

/* A score is the logit of its model everywhere here (the API makes 0 to 1 of it); this API's is
 * that already. */
static double logit(double relevance)
{
    double p = relevance < RELEVANCE_MIN       ? RELEVANCE_MIN
               : relevance > 1 - RELEVANCE_MIN ? 1 - RELEVANCE_MIN
                                               : relevance;
    return log(p / (1 - p));
}

static enum err reranked(const json_t *body, struct embed_rows *rows, struct error *error)
{
    const json_t *list = json_object_get(body, "results");
    enum err e = OK;
    if (!json_is_array(list)) return err_set(error, ERR_UPSTREAM, "the answer has no \"results\"");
    for (size_t i = 0; i < json_array_size(list) && !e; i++) {
        const json_t *item = json_array_get(list, i), *index = json_object_get(item, "index");
        const json_t *score = json_object_get(item, "relevance_score");
        if (!json_is_integer(index) || !json_is_number(score))
            return err_set(error, ERR_UPSTREAM, "a result has no index or no relevance_score");
        e = rows_score(rows, json_integer_value(index), logit(json_number_value(score)), error);
    }
    rows_usage(rows, "", 0);
    return e;
}

/* ---- models -------------------------------------------------------------------------------- */

static enum err models(const json_t *body, struct model_list *list, struct error *error)
{
    const json_t *all = json_object_get(body, "models");
    if (!json_is_array(all))
        return err_set(error, ERR_UPSTREAM, "the answer has no list of models");
    for (size_t i = 0; i < json_array_size(all); i++) {
        const json_t *item = json_array_get(all, i);
        struct remote_model m = {.id = member_word(item, "name"),
                                 .owner = "cohere",
                                 .context = member_count(item, "context_length"),
                                 .tools = member_listed(item, "features", "tools"),
                                 .images = member_listed(item, "features", "vision"),
                                 .reasoning = member_listed(item, "features", "reasoning")};
        m.kind = member_listed(item, "endpoints", "chat")     ? "chat"
                 : member_listed(item, "endpoints", "embed")  ? "embedding"
                 : member_listed(item, "endpoints", "rerank") ? "rerank"
                                                              : "completion";
        list_add(list, &m);
    }
    return OK;
}

static const struct remote_hint hints[] = {{"thinking", "thinking"}, {NULL, NULL}};

const struct protocol remote_cohere = {
    .name = "cohere",
    .caps = PROVIDER_GENERATE | PROVIDER_EMBED | PROVIDER_TOOLS | PROVIDER_IMAGES | PROVIDER_RERANK,
    .base_url = "https://api.cohere.com",
    .drop_path = "/v2",
    .state_size = sizeof(struct state),
    .embed_max = EMBED_MAX,
    .headers = headers,
    .generate = generate,
    .hints = hints,
    .piece = piece,
    .embed = embed,
    .embedded = embedded,
    .rerank = rerank,
    .reranked = reranked,
    .models_path = "/v1/models?page_size=1000",
    .models = models,
};
