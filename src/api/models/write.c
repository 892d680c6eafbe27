/* A chat's answer in the model server's shape, whole or as events: see models_int.h. */
#include <stdlib.h>

#include "api/models/models_int.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/json.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/str.h"

enum { CALL_ID_MAX = 64 };

struct tool_made {
    char id[CALL_ID_MAX];
    struct buf name, arguments;
};

/* The whole message is kept in a stream as well: its last event has it. */
struct models_writer {
    struct writer base;
    enum models_form form;
    char *request_id; /* of a WebSocket, whose messages have no header to tell it */
    char id[40];
    int64_t created_s;
    struct buf text, reasoning;
    struct tool_made *tools;
    size_t n_tools;
    enum finish_reason finish;
};

static struct models_writer *of(struct writer *base)
{
    return container_of(base, struct models_writer, base);
}

static const char *finish_word(enum finish_reason reason)
{
    switch (reason) {
    case FINISH_TOOL_CALLS: return "tool_calls";
    case FINISH_LENGTH: return "length";
    case FINISH_CANCELLED: return "cancelled";
    case FINISH_STOP: break;
    }
    return "stop";
}

/* ---- what comes ---------------------------------------------------------------------------- */

static enum err take_tool(struct models_writer *w, const struct gen_event *ev)
{
    size_t i = (size_t)ev->tool.index;
    if (i >= w->n_tools) {
        struct tool_made *more = try_realloc(w->tools, i + 1, sizeof *more);
        if (!more) return ERR_NOMEM;
        w->tools = more;
        for (; w->n_tools <= i; w->n_tools++) {
            struct tool_made *t = &w->tools[w->n_tools];
            id_make(t->id, sizeof t->id, "call_");
            buf_init(&t->name, 4096);
            buf_init(&t->arguments, ANSWER_BYTES_MAX);
        }
    }
    struct tool_made *t = &w->tools[i];
    if (ev->tool.id && *ev->tool.id) str_copy(t->id, sizeof t->id, ev->tool.id);
    if (ev->tool.name) buf_puts(&t->name, ev->tool.name);
    buf_append(&t->arguments, ev->tool.arguments, ev->tool.arguments_len);
    return t->arguments.err ? t->arguments.err : t->name.err;
}

static bool is_socket(const struct models_writer *w)
{
    return w->form == MODELS_SOCKET;
}

/* data: {"content": "...", "done": false}; of thoughts "reasoning" instead. */
static void put_piece(const struct models_writer *w, const char *member, const struct gen_event *ev,
                      struct buf *out)
{
    buf_printf(out, is_socket(w) ? "{\"type\":\"token\",\"%s\":" : "data: {\"%s\":", member);
    write_json_string(out, ev->text, ev->text_len);
    buf_puts(out, is_socket(w) ? ",\"done\":false}\n" : ",\"done\":false}\n\n");
}

static enum err on_event(struct writer *base, size_t part, const struct gen_event *ev,
                         struct buf *out)
{
    struct models_writer *w = of(base);
    (void)part;
    switch (ev->type) {
    case GEN_EV_TEXT:
        buf_append(&w->text, ev->text, ev->text_len);
        if (base->stream && ev->text_len) put_piece(w, "content", ev, out);
        break;
    case GEN_EV_REASONING:
        buf_append(&w->reasoning, ev->text, ev->text_len);
        if (base->stream && ev->text_len) put_piece(w, "reasoning", ev, out);
        break;
    case GEN_EV_TOOL_CALL: return take_tool(w, ev);
    case GEN_EV_CHOICE_END: w->finish = ev->finish; break;
    default: break;
    }
    if (w->text.err) return w->text.err;
    return w->reasoning.err ? w->reasoning.err : out->err;
}

/* ---- the message --------------------------------------------------------------------------- */

static void put_tools(struct jw *j, const struct models_writer *w)
{
    jw_key(j, "tool_calls");
    jw_arr(j);
    for (size_t i = 0; i < w->n_tools; i++) {
        const struct tool_made *t = &w->tools[i];
        jw_obj(j);
        jw_kstr(j, "id", t->id);
        jw_kstr(j, "type", "function");
        jw_key(j, "function");
        jw_obj(j);
        jw_kstr(j, "name", buf_str(&t->name));
        jw_kstr(j, "arguments", buf_str(&t->arguments));
        jw_obj_end(j);
        jw_obj_end(j);
    }
    jw_arr_end(j);
}

static void put_message(struct jw *j, const struct models_writer *w)
{
    jw_key(j, "message");
    jw_obj(j);
    jw_kstr(j, "role", "assistant");
    jw_kstr(j, "content", buf_str(&w->text));
    if (w->reasoning.len) jw_kstr(j, "reasoning", buf_str(&w->reasoning));
    if (w->n_tools) put_tools(j, w);
    jw_obj_end(j);
}

static void put_usage(struct jw *j, const struct usage *u)
{
    jw_key(j, "usage");
    jw_obj(j);
    jw_kint(j, "prompt_tokens", u->prompt_tokens);
    jw_kint(j, "completion_tokens", u->completion_tokens);
    jw_kint(j, "total_tokens", (int64_t)u->prompt_tokens + u->completion_tokens);
    jw_kint(j, "cached_tokens", u->cached_tokens);
    jw_obj_end(j);
}

static void put_members(struct jw *j, const struct models_writer *w)
{
    jw_kstr(j, "id", w->id);
    jw_kint(j, "created", w->created_s);
    jw_kstr(j, "model", w->base.model);
    put_message(j, w);
    jw_kstr(j, "finish_reason", finish_word(w->finish));
    put_usage(j, &w->base.usage);
}

static void put_type(struct jw *j, const struct models_writer *w, const char *type)
{
    jw_kstr(j, "type", type);
    jw_kstr(j, "request_id", w->request_id);
}

static enum err finish(struct writer *base, struct buf *out)
{
    struct models_writer *w = of(base);
    struct jw j;
    bool events = base->stream && !is_socket(w);
    if (events) buf_puts(out, "data: ");
    jw_init(&j, out);
    jw_obj(&j);
    if (is_socket(w)) put_type(&j, w, "done");
    if (base->stream) {
        jw_kstr(&j, "content", "");
        jw_kbool(&j, "done", true);
    }
    put_members(&j, w);
    jw_obj_end(&j);
    if (events) buf_puts(out, "\n\ndata: [DONE]\n\n");
    return out->err;
}

static void fail(struct writer *base, const struct error *error, const char *request_id,
                 struct buf *out)
{
    bool events = !is_socket(of(base));
    if (events) buf_puts(out, "data: ");
    base->ops->errors->write(out, error, request_id);
    if (events) buf_puts(out, "\n\ndata: [DONE]\n\n");
}

/* {"type": "queued", "position": 3, "wait_ms": 120}, {"type": "loading", "fraction": 0.5} */
static void write_note(struct writer *base, const struct wait_note *note, struct buf *out)
{
    struct jw j;
    bool loading = note->what == WAIT_LOADING;
    jw_init(&j, out);
    jw_obj(&j);
    put_type(&j, of(base), loading ? "loading" : "queued");
    if (loading)
        jw_kdouble(&j, "fraction", (double)note->fraction);
    else
        jw_kint(&j, "position", note->position);
    if (!loading && note->wait_ms >= 0) jw_kint(&j, "wait_ms", note->wait_ms);
    jw_obj_end(&j);
    buf_putc(out, '\n');
}

static void free_it(struct writer *base)
{
    struct models_writer *w = of(base);
    for (size_t i = 0; i < w->n_tools; i++) {
        buf_free(&w->tools[i].name);
        buf_free(&w->tools[i].arguments);
    }
    free(w->tools);
    free(w->request_id);
    buf_free(&w->text);
    buf_free(&w->reasoning);
    free(w);
}

static const struct writer_ops ops = {.name = "models",
                                      .stream_type = "text/event-stream",
                                      .errors = &error_models,
                                      .event = on_event,
                                      .finish = finish,
                                      .fail = fail,
                                      .note = write_sse_note,
                                      .free = free_it};

/* Lines, one a message. */
static const struct writer_ops socket_ops = {.name = "models-socket",
                                             .stream_type = "application/x-ndjson",
                                             .errors = &error_models_socket,
                                             .event = on_event,
                                             .finish = finish,
                                             .fail = fail,
                                             .note = write_note,
                                             .free = free_it};

struct writer *models_writer_new(const struct call *call, enum models_form form)
{
    struct models_writer *w = xcalloc(1, sizeof *w);
    writer_init(&w->base, form == MODELS_SOCKET ? &socket_ops : &ops, call);
    w->form = form;
    if (form == MODELS_SOCKET) w->request_id = xstrdup(call->requests[0]->request_id);
    id_make(w->id, sizeof w->id, "chat-");
    w->created_s = clock_wall_s();
    buf_init(&w->text, ANSWER_BYTES_MAX);
    buf_init(&w->reasoning, ANSWER_BYTES_MAX);
    return &w->base;
}
