/* From a gen_request to the body of POST /v1/messages (anthropic-version 2023-06-01).
 *
 * What differs from everybody else's chat: system messages stand outside the list; results of tools
 * are blocks of the user's next message, before its text; empty texts are refused; an answer can
 * only be held to a JSON schema by a tool that must be called (its arguments are then the answer),
 * or by output_config where there are other tools or thoughts. Pure functions; any thread. */
#include <ctype.h>
#include <string.h>

#include "base/str.h"
#include "remote/anthropic.h"
#include "remote/body.h"

enum {
    MAX_TOKENS = 8192, /* where the client leaves it open; the API wants a number */
    OLD_MAX_TOKENS = 4096,
    BUDGET_MIN = 1024, /* thinking.budget_tokens */
    UNKNOWN = -1,
};

/* ---- models -------------------------------------------------------------------------------- */

/* claude-3-5-haiku-20241022 -> 305, claude-opus-4-1 -> 401, us.anthropic.claude-sonnet-4-20250514
 * -> 400; UNKNOWN for other names. A version has two digits at most, a date eight. */
static int model_version(const char *model)
{
    const char *p = strstr(model, "claude-");
    int part[2] = {0, 0}, n = 0;
    if (!p) return UNKNOWN;
    for (p += 7; *p && n < 2;) {
        size_t digits = strspn(p, "0123456789");
        if (digits == 1 || digits == 2) {
            part[n++] = digits == 1 ? *p - '0' : (p[0] - '0') * 10 + (p[1] - '0');
        } else if (digits || n) {
            break; /* a date, or a name behind the version */
        }
        p += digits ? digits : strcspn(p, "-.");
        if (*p) p++;
    }
    return n ? part[0] * 100 + part[1] : UNKNOWN;
}

struct abilities {
    bool sampling; /* takes temperature (and not together with top_p) */
    bool adaptive; /* thinks as much as it likes; else it is told a budget */
    bool format;   /* output_config.format */
    int32_t max_tokens;
};

static struct abilities abilities_of(const char *model)
{
    int version = model_version(model);
    bool known = version != UNKNOWN;
    return (struct abilities){
        .sampling = !known || version < 407,
        .adaptive = known && version >= 406,
        .format = !known || version >= 405 || version == 401,
        .max_tokens = known && version < 305 ? OLD_MAX_TOKENS : MAX_TOKENS,
    };
}

/* ---- what the whole request wants ---------------------------------------------------------- */

struct plan {
    const struct gen_request *req;
    const char *model;
    struct abilities can;
    bool tools;
    bool answer_tool;   /* the answer is the arguments of a tool */
    bool native_format; /* output_config.format */
    bool think;
    int32_t budget;     /* of thoughts; 0 = adaptive */
    int32_t max_tokens; /* thoughts included */
};

static bool is_object_schema(const char *schema)
{
    struct error ignored;
    json_t *value;
    if (!schema || json_parse(schema, strlen(schema), &value, &ignored) != OK) return false;
    bool object = str_eq(json_string_value(json_object_get(value, "type")), "object");
    json_decref(value);
    return object;
}

static bool is_word(const char *s, const char *word)
{
    return s && strcmp(s, word) == 0;
}

/* Tokens of thoughts that a client's words mean: a share of the answer, as others do it. */
static int32_t budget_of(const struct gen_request *req, int32_t max_tokens)
{
    const char *effort = req->reasoning_effort;
    int32_t share = is_word(effort, "minimal")  ? 10
                    : is_word(effort, "low")    ? 20
                    : is_word(effort, "medium") ? 50
                                                : 80;
    int32_t budget = req->reasoning_budget > 0 ? req->reasoning_budget
                                               : (int32_t)((int64_t)max_tokens * share / 100);
    return budget < BUDGET_MIN ? BUDGET_MIN : budget;
}

/* A turn that called tools and has not gone on since: with thinking on, the API wants its thoughts
 * back, which only its signature makes valid. */
static bool thoughts_are_lost(const struct gen_request *req)
{
    for (size_t i = req->n_messages; i-- > 0 && req->messages[i].role != ROLE_USER;) {
        const struct message *m = &req->messages[i];
        if (m->role == ROLE_ASSISTANT && !(m->reasoning_signature && *m->reasoning_signature))
            return true;
    }
    return false;
}

static void plan_thinking(struct plan *p)
{
    const struct gen_request *req = p->req;
    bool wanted = req->reasoning_budget > 0 || (req->reasoning_effort && *req->reasoning_effort &&
                                                !is_word(req->reasoning_effort, "none"));
    bool forced = p->tools && req->tool_choice != TOOL_AUTO;
    int version = model_version(p->model);
    bool able = version == UNKNOWN || version >= 307;
    p->think = wanted && !forced && able && (p->can.adaptive || !thoughts_are_lost(req));
    if (!p->think || p->can.adaptive) return;
    p->budget = budget_of(req, p->max_tokens);
    if (p->max_tokens <= p->budget)
        p->max_tokens =
            p->budget > INT32_MAX - p->max_tokens ? INT32_MAX : p->max_tokens + p->budget;
}

static enum err plan_format(struct plan *p, struct error *error)
{
    const struct gen_request *req = p->req;
    if (req->format == FORMAT_TEXT) return OK;
    bool schema = req->format == FORMAT_JSON_SCHEMA;
    bool as_tool = !p->tools && !p->think && (!schema || is_object_schema(req->schema));
    if (as_tool)
        p->answer_tool = true;
    else if (schema && p->can.format)
        p->native_format = true;
    else if (schema)
        return err_set(error, ERR_UNSUPPORTED,
                       "%.64s has no response format together with tools or thinking", p->model);
    return OK; /* a JSON object without a schema is asked for in words */
}

static enum err check_stops(const struct gen_request *req, struct error *error)
{
    for (size_t i = 0; i < req->n_stop; i++)
        if (req->stop[i][strspn(req->stop[i], " \t\r\n")] == '\0')
            return err_set(error, ERR_UNSUPPORTED,
                           "Anthropic's API has no stop sequences of blanks only");
    return OK;
}

static enum err make_plan(const struct gen_request *req, const char *model, struct plan *p,
                          struct error *error)
{
    enum err e = body_check(
        req, BODY_IMAGE_URLS | BODY_FORCED_TOOL | BODY_NAMED_TOOL | BODY_TOOLS_AND_FORMAT,
        "Anthropic's API", error);
    if (!e) e = check_stops(req, error);
    if (e) return e;
    *p = (struct plan){
        .req = req, .model = model, .can = abilities_of(model), .tools = body_has_tools(req)};
    p->max_tokens = req->max_tokens > 0 ? req->max_tokens : p->can.max_tokens;
    plan_thinking(p);
    return plan_format(p, error);
}

/* ---- messages ------------------------------------------------------------------------------ */

/* Neighbours of one role become one message; the API would do so itself, but not with results of
 * tools, which must all be in the message behind their calls. */
struct turns {
    struct jw *w;
    const char *role; /* of the message that is open, or NULL */
};

static void turn(struct turns *t, const char *role)
{
    if (t->role && strcmp(t->role, role) == 0) return;
    if (t->role) {
        jw_arr_end(t->w);
        jw_obj_end(t->w);
    }
    t->role = role;
    jw_obj(t->w);
    jw_kstr(t->w, "role", role);
    jw_key(t->w, "content");
    jw_arr(t->w);
}

static void turns_end(struct turns *t)
{
    if (!t->role) return;
    jw_arr_end(t->w);
    jw_obj_end(t->w);
}

static void write_text(struct jw *w, const char *text, size_t len)
{
    if (!len) return;
    jw_obj(w);
    jw_kstr(w, "type", "text");
    jw_key(w, "text");
    jw_strn(w, text, len);
    jw_obj_end(w);
}

static void write_image(struct jw *w, const struct image *image)
{
    jw_obj(w);
    jw_kstr(w, "type", "image");
    jw_key(w, "source");
    jw_obj(w);
    jw_kstr(w, "type", image->data ? "base64" : "url");
    if (image->data) {
        jw_kstr(w, "media_type", image->media_type);
        jw_kstr(w, "data", image->data);
    } else {
        jw_kstr(w, "url", image->url);
    }
    jw_obj_end(w);
    jw_obj_end(w);
}

static void write_thoughts(struct jw *w, const struct message *m)
{
    const char *signature = m->reasoning_signature;
    size_t prefix = strlen(ANTHROPIC_REDACTED);
    if (!signature || !*signature) return; /* unsigned ones are refused */
    jw_obj(w);
    if (strncmp(signature, ANTHROPIC_REDACTED, prefix) == 0) {
        jw_kstr(w, "type", "redacted_thinking");
        jw_kstr(w, "data", signature + prefix);
    } else {
        jw_kstr(w, "type", "thinking");
        jw_kstr(w, "thinking", m->reasoning ? m->reasoning : "");
        jw_kstr(w, "signature", signature);
    }
    jw_obj_end(w);
}

static enum err write_calls(struct jw *w, const struct gen_request *req, size_t i,
                            struct error *error)
{
    const struct message *m = &req->messages[i];
    enum err e = OK;
    for (size_t k = 0; k < m->n_tool_calls && !e; k++) {
        char id[BODY_ID_MAX];
        body_call_id(req, i, k, id);
        jw_obj(w);
        jw_kstr(w, "type", "tool_use");
        jw_kstr(w, "id", id);
        jw_kstr(w, "name", m->tool_calls[k].name);
        jw_key(w, "input");
        e = body_arguments(w, &m->tool_calls[k], error);
        if (!e) jw_obj_end(w);
    }
    return e;
}

static void write_result(struct jw *w, const struct gen_request *req, size_t i)
{
    const struct message *m = &req->messages[i];
    char id[BODY_ID_MAX];
    body_answered_id(req, i, id, NULL);
    jw_obj(w);
    jw_kstr(w, "type", "tool_result");
    jw_kstr(w, "tool_use_id", id);
    jw_key(w, "content");
    jw_arr(w);
    write_text(w, m->content, strlen(m->content));
    for (size_t k = 0; k < m->n_images; k++) write_image(w, &m->images[k]);
    jw_arr_end(w);
    jw_obj_end(w);
}

static enum err write_assistant(struct turns *t, const struct plan *p, size_t i,
                                struct error *error)
{
    const struct message *m = &p->req->messages[i];
    size_t len = strlen(m->content);
    bool last = i + 1 == p->req->n_messages;
    while (last && len && isspace((unsigned char)m->content[len - 1])) len--; /* else refused */
    bool thoughts = m->reasoning_signature && *m->reasoning_signature;
    if (!len && !m->n_tool_calls && !thoughts) return OK;
    turn(t, "assistant");
    write_thoughts(t->w, m);
    write_text(t->w, m->content, len);
    return write_calls(t->w, p->req, i, error);
}

/* `as_user`: there is nobody else who could say it. */
static enum err write_message(struct turns *t, const struct plan *p, size_t i, bool as_user,
                              struct error *error)
{
    const struct message *m = &p->req->messages[i];
    switch (m->role) {
    case ROLE_ASSISTANT: return write_assistant(t, p, i, error);
    case ROLE_TOOL:
        turn(t, "user");
        write_result(t->w, p->req, i);
        return OK;
    case ROLE_SYSTEM:
        if (!as_user) return OK;
        break;
    case ROLE_USER: break;
    }
    if (!*m->content && !m->n_images) return OK;
    turn(t, "user");
    for (size_t k = 0; k < m->n_images; k++) write_image(t->w, &m->images[k]);
    write_text(t->w, m->content, strlen(m->content));
    return OK;
}

static bool all_are_system(const struct gen_request *req)
{
    for (size_t i = 0; i < req->n_messages; i++)
        if (req->messages[i].role != ROLE_SYSTEM) return false;
    return true;
}

static void write_system(struct jw *w, const struct plan *p)
{
    static const char json[] = "Answer with one JSON object and nothing else.";
    bool in_words = p->req->format == FORMAT_JSON_OBJECT && !p->answer_tool && !p->native_format;
    bool any = in_words;
    for (size_t i = 0; i < p->req->n_messages; i++)
        any = any || (p->req->messages[i].role == ROLE_SYSTEM && *p->req->messages[i].content);
    if (!any) return;
    jw_key(w, "system");
    jw_arr(w);
    for (size_t i = 0; i < p->req->n_messages; i++) {
        const struct message *m = &p->req->messages[i];
        if (m->role == ROLE_SYSTEM) write_text(w, m->content, strlen(m->content));
    }
    if (in_words) write_text(w, json, sizeof json - 1);
    jw_arr_end(w);
}

static enum err write_messages(struct jw *w, const struct plan *p, struct error *error)
{
    struct turns t = {.w = w};
    bool as_user = all_are_system(p->req);
    enum err e = OK;
    if (!as_user) write_system(w, p);
    jw_key(w, "messages");
    jw_arr(w);
    for (size_t i = 0; i < p->req->n_messages && !e; i++)
        e = write_message(&t, p, i, as_user, error);
    if (e) return e;
    turns_end(&t);
    jw_arr_end(w);
    return OK;
}

/* ---- tools and format ---------------------------------------------------------------------- */

static void write_tools(struct jw *w, const struct plan *p)
{
    jw_key(w, "tools");
    jw_arr(w);
    for (size_t i = 0; i < p->req->n_tools; i++) {
        const struct tool *tool = &p->req->tools[i];
        jw_obj(w);
        jw_kstr(w, "name", tool->name);
        if (*tool->description) jw_kstr(w, "description", tool->description);
        jw_key(w, "input_schema");
        body_schema(w, tool->parameters);
        if (tool->strict && p->can.format) jw_kbool(w, "strict", true);
        jw_obj_end(w);
    }
    jw_arr_end(w);
}

static void write_choice(struct jw *w, const struct gen_request *req)
{
    static const char *const words[] = {
        [TOOL_AUTO] = "auto", [TOOL_REQUIRED] = "any", [TOOL_NAMED] = "tool", [TOOL_NONE] = "none"};
    if (req->tool_choice == TOOL_AUTO && req->parallel_tool_calls) return;
    jw_key(w, "tool_choice");
    jw_obj(w);
    jw_kstr(w, "type", words[req->tool_choice]);
    if (req->tool_choice == TOOL_NAMED) jw_kstr(w, "name", req->tool_choice_name);
    if (!req->parallel_tool_calls) jw_kbool(w, "disable_parallel_tool_use", true);
    jw_obj_end(w);
}

/* History with calls is refused without tools, also where none is to be called now. */
static bool tools_are_told(const struct plan *p)
{
    if (p->tools) return true;
    for (size_t i = 0; p->req->n_tools && i < p->req->n_messages; i++)
        if (p->req->messages[i].n_tool_calls) return true;
    return false;
}

static void write_answer_tool(struct jw *w, const struct plan *p)
{
    jw_key(w, "tools");
    jw_arr(w);
    jw_obj(w);
    jw_kstr(w, "name", ANTHROPIC_ANSWER_TOOL);
    jw_kstr(w, "description", "Gives the answer to the user, as the members of this object.");
    jw_key(w, "input_schema");
    if (p->req->format == FORMAT_JSON_SCHEMA)
        jw_raw(w, p->req->schema, strlen(p->req->schema));
    else
        jw_raw(w, "{\"type\":\"object\"}", 17);
    jw_obj_end(w);
    jw_arr_end(w);
    jw_key(w, "tool_choice");
    jw_obj(w);
    jw_kstr(w, "type", "tool");
    jw_kstr(w, "name", ANTHROPIC_ANSWER_TOOL);
    jw_obj_end(w);
}

static const char *effort_word(const struct gen_request *req)
{
    const char *word = req->reasoning_effort;
    if (!word || !*word || is_word(word, "none")) return NULL;
    return is_word(word, "minimal") ? "low" : word;
}

static void write_output_config(struct jw *w, const struct plan *p)
{
    const char *effort = p->think && p->can.adaptive ? effort_word(p->req) : NULL;
    if (!effort && !p->native_format) return;
    jw_key(w, "output_config");
    jw_obj(w);
    if (effort) jw_kstr(w, "effort", effort);
    if (p->native_format) {
        jw_key(w, "format");
        jw_obj(w);
        jw_kstr(w, "type", "json_schema");
        jw_key(w, "schema");
        jw_raw(w, p->req->schema, strlen(p->req->schema));
        jw_obj_end(w);
    }
    jw_obj_end(w);
}

static void write_thinking(struct jw *w, const struct plan *p)
{
    if (!p->think) return;
    jw_key(w, "thinking");
    jw_obj(w);
    jw_kstr(w, "type", p->can.adaptive ? "adaptive" : "enabled");
    if (!p->can.adaptive) jw_kint(w, "budget_tokens", p->budget);
    jw_obj_end(w);
}

/* ---- all of it ----------------------------------------------------------------------------- */

static void write_settings(struct jw *w, const struct plan *p)
{
    const struct gen_request *req = p->req;
    float temperature = req->sampling.temperature > 1 ? 1 : req->sampling.temperature;
    jw_kstr(w, "model", p->model);
    jw_kint(w, "max_tokens", p->max_tokens);
    jw_kbool(w, "stream", true);
    if (p->can.sampling && !p->think) jw_kfloat(w, "temperature", temperature);
    body_stops(w, "stop_sequences", req);
    write_thinking(w, p);
    write_output_config(w, p);
    if (p->answer_tool) {
        write_answer_tool(w, p);
    } else if (tools_are_told(p)) {
        write_tools(w, p);
        write_choice(w, req);
    }
}

enum err anthropic_generate(const struct remote_env *env, const struct gen_request *req,
                            const char *model, struct remote_http *out, struct error *error)
{
    struct plan plan;
    struct jw w;
    (void)env;
    enum err e = make_plan(req, model, &plan, error);
    if (e) return e;
    str_copy(out->path, sizeof out->path, "/v1/messages");
    remote_body(out, &w);
    write_settings(&w, &plan);
    e = write_messages(&w, &plan, error);
    return e ? e : remote_body_end(out, &w, error);
}
