/* The body of POST /v1/messages and of count_tokens, but for its turns and tools. Pure functions;
 * any thread. */
#include <math.h>
#include <string.h>

#include "api/anthropic/anthropic_int.h"
#include "base/str.h"

static enum err read_stops(const json_t *array, struct gen_request *req, struct error *error)
{
    size_t n = json_array_size(array);
    if (n > GEN_STOP_MAX)
        return field_error(error, "", "stop_sequences", "at most %d stop sequences, got %zu",
                           GEN_STOP_MAX, n);
    const char **copies = arena_calloc(req->arena, n, sizeof *copies);
    if (!copies) return request_too_large(error);
    for (size_t i = 0; i < n; i++) {
        const json_t *s = json_array_get(array, i);
        char name[32];
        str_printf(name, sizeof name, "stop_sequences/%zu", i);
        if (!json_is_string(s))
            return field_error(error, "", name, "must be a string, got %s", json_kind(s));
        if (strspn(json_string_value(s), " \t\r\n") == json_string_length(s))
            return field_error(error, "", name, "must hold something else than whitespace");
        enum err e = copy_text(req->arena, json_string_value(s), &copies[i], error);
        if (e) return e;
    }
    req->stop = copies;
    req->n_stop = n;
    req->said |= SAID_STOP;
    return OK;
}

static enum err read_format(const json_t *obj, const char *ptr, struct gen_request *req,
                            struct error *error)
{
    struct output_format_fields f = {0};
    enum err e = fields_read(output_format_fields, obj, ptr, &f, error);
    if (e) return e;
    if (!str_eq(f.type, "json_schema"))
        return field_error(error, ptr, "type", "must be \"json_schema\", got \"%.40s\"", f.type);
    req->format = FORMAT_JSON_SCHEMA;
    return copy_json(req->arena, f.schema, &req->schema, error);
}

/* Anthropic's five steps in the three that others have. */
static const char *effort_word(const char *effort)
{
    static const char *const words[][2] = {
        {"low", "low"}, {"medium", "medium"}, {"high", "high"}, {"xhigh", "high"}, {"max", "high"}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (str_eq(words[i][0], effort)) return words[i][1];
    return NULL;
}

static enum err read_output(const struct messages_fields *f, struct gen_request *req,
                            struct error *error)
{
    struct output_config_fields c = {0};
    enum err e = OK;
    if (f->output_config)
        e = fields_read(output_config_fields, f->output_config, "/output_config", &c, error);
    if (!e && c.effort && !(req->reasoning_effort = effort_word(c.effort)))
        e = field_error(error, "/output_config", "effort",
                        "must be low, medium, high, xhigh or max, got \"%.40s\"", c.effort);
    if (!e && c.format)
        e = read_format(c.format, "/output_config/format", req, error);
    else if (!e && f->output_format)
        e = read_format(f->output_format, "/output_format", req, error);
    return e;
}

/* ---- thinking ------------------------------------------------------------------------------ */

static enum err check_budget(const struct thinking_fields *t, const struct messages_fields *f,
                             struct error *error)
{
    if (t->budget_tokens == FIELD_ABSENT)
        return field_error(error, "/thinking", "budget_tokens",
                           "is required with type \"enabled\" (an integer from %d)",
                           THINKING_BUDGET_MIN);
    if (f->max_tokens == FIELD_ABSENT || f->max_tokens > t->budget_tokens) return OK;
    return field_error(error, "/thinking", "budget_tokens",
                       "must be less than max_tokens (%lld), got %lld", (long long)f->max_tokens,
                       (long long)t->budget_tokens);
}

static enum err read_thinking(const struct messages_fields *f, struct gen_request *req,
                              struct messages_wish *wish, struct error *error)
{
    struct thinking_fields t = {.budget_tokens = FIELD_ABSENT};
    *wish = (struct messages_wish){0};
    if (!f->thinking) return OK;
    enum err e = fields_read(thinking_fields, f->thinking, "/thinking", &t, error);
    if (e) return e;
    if (str_eq(t.type, "enabled")) {
        e = check_budget(&t, f, error);
        req->reasoning_budget = e ? 0 : (int32_t)t.budget_tokens;
    } else if (str_eq(t.type, "disabled") || str_eq(t.type, "between_tools")) {
        req->reasoning_effort = "none";
        return OK;
    } else if (!str_eq(t.type, "adaptive")) {
        return field_error(error, "/thinking", "type",
                           "must be \"enabled\", \"adaptive\", \"between_tools\" or \"disabled\", "
                           "got \"%.40s\"",
                           t.type);
    }
    if (!req->reasoning_effort && !req->reasoning_budget) req->reasoning_effort = "medium";
    *wish = (struct messages_wish){.thinking = true, .omitted = str_eq(t.display, "omitted")};
    return e;
}

/* As the chat templates of local models know it. */
static enum err make_template_kwargs(struct gen_request *req, bool thinking, struct error *error)
{
    char kwargs[96];
    const char *effort = req->reasoning_effort;
    bool ok = effort && !str_eq(effort, "none")
                  ? str_printf(kwargs, sizeof kwargs,
                               "{\"enable_thinking\":%s,\"reasoning_effort\":\"%s\"}",
                               thinking ? "true" : "false", effort)
                  : str_printf(kwargs, sizeof kwargs, "{\"enable_thinking\":%s}",
                               thinking ? "true" : "false");
    ht_assert(ok);
    return copy_text(req->arena, kwargs, &req->template_kwargs, error);
}

/* ---- all of it ----------------------------------------------------------------------------- */

static enum err fill(const struct messages_fields *f, struct gen_request *req,
                     struct messages_wish *wish, struct error *error)
{
    req->kind = GEN_CHAT;
    call_say_real(&req->said, SAID_TEMPERATURE, f->temperature, &req->sampling.temperature);
    call_say_real(&req->said, SAID_TOP_P, f->top_p, &req->sampling.top_p);
    call_say_int(&req->said, SAID_TOP_K, f->top_k, &req->sampling.top_k);
    call_say_int(&req->said, SAID_MAX_TOKENS, f->max_tokens, &req->max_tokens);
    enum err e = copy_text(req->arena, f->model, &req->model, error);
    if (!e && f->stop_sequences) e = read_stops(f->stop_sequences, req, error);
    if (!e) e = turns_parse(f, req, error);
    if (!e) e = anthropic_tools_parse(f, req, error);
    if (!e) e = read_output(f, req, error);
    if (!e) e = read_thinking(f, req, wish, error);
    if (!e) e = make_template_kwargs(req, wish->thinking, error);
    return e;
}

enum err messages_parse(const json_t *body, size_t text_len, bool count, const struct call_env *env,
                        struct call *out, struct messages_wish *wish, struct error *error)
{
    struct messages_fields f = {.terms = CALL_TERMS_ABSENT,
                                .max_tokens = FIELD_ABSENT,
                                .top_k = FIELD_ABSENT,
                                .temperature = NAN,
                                .top_p = NAN};
    struct gen_request *req;
    *out = (struct call){0};
    enum err e = fields_read(count ? count_fields : messages_fields, body, "", &f, error);
    if (!e && json_array_size(f.mcp_servers))
        e = err_set_param(error, ERR_UNSUPPORTED, "/mcp_servers",
                          "/mcp_servers: MCP servers can't be called from here; let the client "
                          "call them and offer their tools as `tools`");
    if (!e) e = call_request_new(env, arena_limit(text_len), &req, error);
    if (e) return e;
    e = call_terms_set(&f.terms, env, req, error);
    if (!e) e = fill(&f, req, wish, error);
    if (e) {
        arena_free(req->arena);
        return e;
    }
    call_of(out, req);
    out->stream = f.stream;
    return OK;
}
