/* A response and its items as JSON. */
#include <string.h>

#include "api/responses/writer.h"
#include "base/str.h"

/* ---- items --------------------------------------------------------------------------------- */

void item_custom_input(const struct item *item, struct buf *out)
{
    json_t *arguments;
    struct error why;
    const char *input = NULL;
    if (json_parse(buf_str(&item->text), item->text.len, &arguments, &why)) {
        buf_append(out, item->text.data, item->text.len);
        return;
    }
    input = json_string_value(json_object_get(arguments, "input"));
    if (input)
        buf_puts(out, input);
    else
        buf_append(out, item->text.data, item->text.len);
    json_decref(arguments);
}

void item_wrap_input(const char *input, struct buf *out)
{
    struct jw w;
    jw_init(&w, out);
    jw_obj(&w);
    jw_kstr(&w, "input", input);
    jw_obj_end(&w);
}

void item_write_part(const struct item *item, bool empty, struct jw *w)
{
    bool thoughts = item->kind == ITEM_THOUGHTS;
    jw_obj(w);
    jw_kstr(w, "type", thoughts ? "reasoning_text" : "output_text");
    if (!thoughts) {
        jw_key(w, "annotations");
        jw_arr(w);
        jw_arr_end(w);
        jw_key(w, "logprobs");
        jw_arr(w);
        if (!empty && item->logprobs.len) jw_raw(w, item->logprobs.data, item->logprobs.len);
        jw_arr_end(w);
    }
    jw_key(w, "text");
    jw_strn(w, empty ? "" : buf_str(&item->text), empty ? 0 : item->text.len);
    jw_obj_end(w);
}

static void write_summary(const struct item *item, bool empty, struct jw *w)
{
    jw_key(w, "summary");
    jw_arr(w);
    if (!empty) {
        jw_obj(w);
        jw_kstr(w, "type", "summary_text");
        jw_key(w, "text");
        jw_strn(w, buf_str(&item->text), item->text.len);
        jw_obj_end(w);
    }
    jw_arr_end(w);
}

/* What the client is to send back with the thoughts: the provider's seal, or the thoughts. */
static void write_sealed(const struct item *item, struct jw *w)
{
    jw_key(w, "encrypted_content");
    if (item->sealed.len) {
        jw_strn(w, item->sealed.data, item->sealed.len);
        return;
    }
    struct buf plain;
    buf_init(&plain, ANSWER_BYTES_MAX);
    buf_puts(&plain, RESPONSE_PLAIN);
    buf_append(&plain, item->text.data, item->text.len);
    if (plain.err)
        jw_null(w);
    else
        jw_strn(w, plain.data, plain.len);
    buf_free(&plain);
}

static void write_thoughts(const struct item *item, const struct response_info *info, bool empty,
                           struct jw *w)
{
    bool summary = info->thoughts == THOUGHTS_SUMMARY;
    write_summary(item, empty || !summary, w);
    if (!summary) {
        jw_key(w, "content");
        jw_arr(w);
        if (!empty) item_write_part(item, false, w);
        jw_arr_end(w);
    }
    if (!empty && (info->encrypted || item->sealed.len)) write_sealed(item, w);
}

static void write_call(const struct item *item, bool empty, struct jw *w)
{
    jw_kstr(w, "call_id", item->call_id);
    jw_kstr(w, "name", buf_str(&item->name));
    if (item->space) jw_kstr(w, "namespace", item->space);
    if (item->kind == ITEM_CALL) {
        jw_key(w, "arguments");
        jw_strn(w, empty ? "" : buf_str(&item->text), empty ? 0 : item->text.len);
        return;
    }
    struct buf input;
    buf_init(&input, ANSWER_BYTES_MAX);
    if (!empty) item_custom_input(item, &input);
    jw_key(w, "input");
    jw_strn(w, buf_str(&input), input.len);
    buf_free(&input);
}

void item_write(const struct item *item, const struct response_info *info, bool empty, struct jw *w)
{
    static const char *const types[] = {[ITEM_THOUGHTS] = "reasoning",
                                        [ITEM_MESSAGE] = "message",
                                        [ITEM_CALL] = "function_call",
                                        [ITEM_CUSTOM_CALL] = "custom_tool_call"};
    jw_obj(w);
    jw_kstr(w, "id", item->id);
    jw_kstr(w, "type", types[item->kind]);
    jw_kstr(w, "status", item->status);
    if (item->kind == ITEM_THOUGHTS) {
        write_thoughts(item, info, empty, w);
    } else if (item->kind == ITEM_MESSAGE) {
        jw_kstr(w, "role", "assistant");
        jw_key(w, "content");
        jw_arr(w);
        if (!empty) item_write_part(item, false, w);
        jw_arr_end(w);
    } else {
        write_call(item, empty, w);
    }
    jw_obj_end(w);
}

/* ---- the response --------------------------------------------------------------------------- */

static void write_usage(const struct usage *u, struct jw *w)
{
    jw_key(w, "usage");
    if (u)
        write_response_usage(w, u->prompt_tokens, u->cached_tokens, u->completion_tokens,
                             u->reasoning_tokens);
    else
        jw_null(w);
}

const char *response_error_word(enum err code)
{
    switch (code) {
    case ERR_BUSY:
    case ERR_QUOTA: return "rate_limit_exceeded";
    case ERR_CONTEXT:
    case ERR_INVALID:
    case ERR_SCHEMA: return "invalid_prompt";
    default: return "server_error";
    }
}

static void write_error(const struct error *error, struct jw *w)
{
    jw_key(w, "error");
    if (!error) {
        jw_null(w);
        return;
    }
    jw_obj(w);
    jw_kstr(w, "code", response_error_word(error->code));
    jw_kstr(w, "message", error->msg);
    jw_obj_end(w);
}

void response_write(const struct response_info *info, const struct response_state *s, struct jw *w)
{
    jw_obj(w);
    jw_kstr(w, "id", info->id);
    jw_kstr(w, "object", "response");
    jw_kint(w, "created_at", info->created_s);
    jw_kstr(w, "status", s->status);
    jw_kbool(w, "background", info->background);
    jw_key(w, "completed_at");
    if (s->completed_s)
        jw_int(w, s->completed_s);
    else
        jw_null(w);
    write_error(s->error, w);
    jw_key(w, "incomplete_details");
    if (s->incomplete) {
        jw_obj(w);
        jw_kstr(w, "reason", s->incomplete);
        jw_obj_end(w);
    } else {
        jw_null(w);
    }
    jw_kstr(w, "model", s->model);
    jw_key(w, "output");
    jw_arr(w);
    for (size_t i = 0; i < s->n_items; i++) item_write(&s->items[i], info, false, w);
    jw_arr_end(w);
    jw_kbool(w, "store", info->store);
    write_usage(s->usage, w);
    buf_putc(w->out, ',');
    buf_puts(w->out, info->echo);
    jw_obj_end(w);
}

void response_write_empty(const struct response_info *info, const char *model, const char *status,
                          const struct error *error, struct buf *out)
{
    struct jw w;
    struct response_state state = {.status = status, .model = model, .error = error};
    jw_init(&w, out);
    response_write(info, &state, &w);
}
