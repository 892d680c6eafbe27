/* What request bodies have in common: see body.h. */
#include "remote/body.h"

#include <ctype.h>
#include <string.h>

#include "base/str.h"
#include "remote/remote_int.h"

bool body_has_tools(const struct gen_request *req)
{
    return req->n_tools > 0 && req->tool_choice != TOOL_NONE;
}

/* ---- what can't be said -------------------------------------------------------------------- */

static bool has_image_url(const struct gen_request *req)
{
    for (size_t i = 0; i < req->n_messages; i++)
        for (size_t k = 0; k < req->messages[i].n_images; k++)
            if (!req->messages[i].images[k].data) return true;
    return false;
}

/* What of the request the protocol can't say, for people; NULL when it can say all. */
static const char *missing(const struct gen_request *req, unsigned can)
{
    bool format = req->format != FORMAT_TEXT, tools = body_has_tools(req);
    if (req->kind == GEN_RAW && !(can & BODY_RAW)) return "text completions";
    if (req->kind == GEN_RAW && !req->prompt) return "prompts of token ids";
    if (req->echo) return "prompts that come back (echo)";
    if (req->n > 1 && !(can & BODY_CHOICES)) return "several choices (n)";
    if (req->sampling.logprobs && !(can & BODY_LOGPROBS)) return "log probabilities";
    if (req->sampling.n_logit_bias && !(can & BODY_BIAS)) return "logit_bias";
    if (req->format == FORMAT_GRAMMAR) return "grammars";
    if (req->adapter && *req->adapter && !str_eq(req->adapter, "base")) return "LoRA adapters";
    if (!(can & BODY_IMAGE_URLS) && has_image_url(req)) return "images by address";
    if (tools && req->tool_choice == TOOL_REQUIRED && !(can & BODY_FORCED_TOOL))
        return "tool_choice \"required\"";
    if (tools && req->tool_choice == TOOL_NAMED && !(can & BODY_NAMED_TOOL))
        return "a tool_choice by name";
    if (tools && format && !(can & BODY_TOOLS_AND_FORMAT))
        return "tools together with a response format";
    return NULL;
}

enum err body_check(const struct gen_request *req, unsigned can, const char *api,
                    struct error *error)
{
    const char *what = missing(req, can);
    return what ? err_set(error, ERR_UNSUPPORTED, "%s has no %s", api, what) : OK;
}

/* ---- calls of tools ------------------------------------------------------------------------ */

/* Anthropic takes no other characters, and nobody minds. */
static void clean_id(char dst[BODY_ID_MAX], const char *id)
{
    str_copy(dst, BODY_ID_MAX, id);
    for (char *p = dst; *p; p++)
        if (!isalnum((unsigned char)*p) && *p != '_' && *p != '-') *p = '_';
}

void body_call_id(const struct gen_request *req, size_t m, size_t call, char dst[BODY_ID_MAX])
{
    const char *id = req->messages[m].tool_calls[call].id;
    if (id && *id)
        clean_id(dst, id);
    else
        str_printf(dst, BODY_ID_MAX, "call_%zu_%zu", m, call);
}

/* The assistant's message whose calls message m answers; SIZE_MAX if there is none. */
static size_t caller_of(const struct gen_request *req, size_t m)
{
    while (m-- > 0) {
        if (req->messages[m].role == ROLE_ASSISTANT && req->messages[m].n_tool_calls) return m;
        if (req->messages[m].role == ROLE_USER) break;
    }
    return SIZE_MAX;
}

/* Which of the calls: by its id, by the tool's name, by its place. */
static size_t answered(const struct gen_request *req, size_t m, size_t caller)
{
    const struct message *asked = &req->messages[caller], *told = &req->messages[m];
    const char *id = told->tool_call_id;
    size_t place = 0;
    for (size_t i = 0; id && *id && i < asked->n_tool_calls; i++)
        if (str_eq(asked->tool_calls[i].id, id)) return i;
    for (size_t i = caller + 1; i < m; i++) place += req->messages[i].role == ROLE_TOOL;
    if (place < asked->n_tool_calls &&
        (!told->name || str_eq(told->name, asked->tool_calls[place].name)))
        return place;
    for (size_t i = 0; told->name && i < asked->n_tool_calls; i++)
        if (str_eq(asked->tool_calls[i].name, told->name)) return i;
    return place < asked->n_tool_calls ? place : SIZE_MAX;
}

void body_answered_id(const struct gen_request *req, size_t m, char dst[BODY_ID_MAX],
                      const struct tool_call **call)
{
    const char *id = req->messages[m].tool_call_id;
    size_t caller = caller_of(req, m);
    size_t at = caller == SIZE_MAX ? SIZE_MAX : answered(req, m, caller);
    if (call) *call = at == SIZE_MAX ? NULL : &req->messages[caller].tool_calls[at];
    if (id && *id)
        clean_id(dst, id);
    else if (at != SIZE_MAX)
        body_call_id(req, caller, at, dst);
    else
        str_printf(dst, BODY_ID_MAX, "call_%zu", m);
}

/* ---- values -------------------------------------------------------------------------------- */

static const char *arguments_of(const struct tool_call *call)
{
    return call->arguments && *call->arguments ? call->arguments : "{}";
}

enum err body_arguments(struct jw *w, const struct tool_call *call, struct error *error)
{
    const char *text = arguments_of(call);
    struct error why;
    json_t *value;
    enum err e = json_parse(text, strlen(text), &value, &why);
    if (e) return err_set(error, ERR_INVALID, "arguments of %.64s: %.200s", call->name, why.msg);
    bool object = json_is_object(value);
    json_decref(value);
    if (!object) return err_set(error, ERR_INVALID, "arguments of %.64s: no object", call->name);
    jw_raw(w, text, strlen(text));
    return OK;
}

void body_schema(struct jw *w, const char *schema)
{
    if (!schema || !*schema || str_eq(schema, "{}"))
        schema = "{\"type\":\"object\",\"properties\":{}}";
    jw_raw(w, schema, strlen(schema));
}

const char *body_role(enum role role)
{
    static const char *const words[] = {
#define X(id, word) [ROLE_##id] = word,
        MESSAGE_ROLES(X)
#undef X
    };
    return words[role];
}

/* ---- members ------------------------------------------------------------------------------- */

void body_parts(struct jw *w, const struct message *m)
{
    jw_key(w, "content");
    jw_arr(w);
    if (*m->content) {
        jw_obj(w);
        jw_kstr(w, "type", "text");
        jw_kstr(w, "text", m->content);
        jw_obj_end(w);
    }
    for (size_t i = 0; i < m->n_images; i++) {
        jw_obj(w);
        jw_kstr(w, "type", "image_url");
        jw_key(w, "image_url");
        jw_obj(w);
        jw_key(w, "url");
        jw_image_url(w, &m->images[i]);
        jw_obj_end(w);
        jw_obj_end(w);
    }
    jw_arr_end(w);
}

void body_stops(struct jw *w, const char *name, const struct gen_request *req)
{
    if (!req->n_stop) return;
    jw_key(w, name);
    jw_arr(w);
    for (size_t i = 0; i < req->n_stop; i++) jw_str(w, req->stop[i]);
    jw_arr_end(w);
}

void body_texts(struct jw *w, const char *name, const struct embed_request *req, size_t from,
                size_t n)
{
    jw_key(w, name);
    jw_arr(w);
    for (size_t i = from; i < from + n; i++)
        jw_strn(w, req->inputs[i].text, req->inputs[i].text_len);
    jw_arr_end(w);
}

void body_call(struct jw *w, const char *id, const struct tool_call *call)
{
    jw_obj(w);
    jw_kstr(w, "id", id);
    jw_kstr(w, "type", "function");
    jw_key(w, "function");
    jw_obj(w);
    jw_kstr(w, "name", call->name);
    jw_kstr(w, "arguments", arguments_of(call));
    jw_obj_end(w);
    jw_obj_end(w);
}
