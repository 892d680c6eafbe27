/* Chat completions, as chunks or whole. See writer.h; the shapes are OpenAI's:
 *   - the first chunk of a choice carries the role and an empty content;
 *   - a tool call's first chunk has index, id, type and name, the later ones only index and a
 *     fragment of the arguments' text;
 *   - the last chunk of a choice has an empty delta and the finish_reason. */
#include <stdlib.h>
#include <string.h>

#include "api/openai/openai_int.h"
#include "api/openai/writer.h"
#include "base/id.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/str.h"

enum { CALL_ID_MAX = 40 };

struct call_state {
    char id[CALL_ID_MAX]; /* one made here, if the model gave none */
    struct buf name, arguments;
};

struct choice_state {
    bool begun; /* stream: the role is out */
    /* whole: */
    struct buf text, reasoning;
    struct buf logprobs; /* JSON objects, comma-separated */
    struct call_state *calls;
    size_t n_calls;
    enum finish_reason finish;
};

struct chat_writer {
    struct openai_writer base;
    int32_t n;
    struct choice_state choices[];
};

static struct choice_state *choice_of(struct chat_writer *w, const struct gen_event *ev)
{
    ht_assert(ev->choice >= 0 && ev->choice < w->n);
    return &w->choices[ev->choice];
}

/* ---- stream -------------------------------------------------------------------------------- */

static void close_delta(struct chat_writer *w, struct buf *out)
{
    buf_puts(out, ",\"logprobs\":null");
    writer_close_chunk(&w->base, out, NULL);
}

static void begin_choice(struct chat_writer *w, int32_t choice, struct buf *out)
{
    if (w->choices[choice].begun) return;
    w->choices[choice].begun = true;
    writer_open_chunk(&w->base, out, (size_t)choice);
    buf_puts(out, ",\"delta\":{\"role\":\"assistant\",\"content\":\"\"}");
    close_delta(w, out);
}

static void stream_text(struct chat_writer *w, const struct gen_event *ev, struct buf *out)
{
    bool reasoning = ev->type == GEN_EV_REASONING;
    writer_open_chunk(&w->base, out, (size_t)ev->choice);
    buf_puts(out, reasoning ? ",\"delta\":{\"reasoning_content\":" : ",\"delta\":{\"content\":");
    write_json_string(out, ev->text, ev->text_len);
    buf_putc(out, '}');
    if (!w->base.logprobs || ev->n_logprobs == 0) {
        close_delta(w, out);
        return;
    }
    buf_puts(out, ",\"logprobs\":{\"content\":[");
    write_logprobs(out, ev->logprobs, ev->n_logprobs);
    buf_puts(out, "],\"refusal\":null}");
    writer_close_chunk(&w->base, out, NULL);
}

/* A model's own id is kept: its template may want it back. */
static void make_call_id(char id[CALL_ID_MAX], const char *given)
{
    if (!given || !given[0] || !str_copy(id, CALL_ID_MAX, given)) id_make(id, CALL_ID_MAX, "call_");
}

static void stream_call(struct chat_writer *w, const struct gen_event *ev, struct buf *out)
{
    writer_open_chunk(&w->base, out, (size_t)ev->choice);
    buf_printf(out, ",\"delta\":{\"tool_calls\":[{\"index\":%d", ev->tool.index);
    if (ev->tool.name) {
        char id[CALL_ID_MAX];
        make_call_id(id, ev->tool.id);
        buf_puts(out, ",\"id\":");
        write_json_string(out, id, strlen(id));
        buf_puts(out, ",\"type\":\"function\",\"function\":{\"name\":");
        write_json_string(out, ev->tool.name, strlen(ev->tool.name));
        buf_puts(out, ",\"arguments\":");
    } else {
        buf_puts(out, ",\"function\":{\"arguments\":");
    }
    write_json_string(out, ev->tool.arguments, ev->tool.arguments_len);
    buf_puts(out, "}}]}");
    close_delta(w, out);
}

static enum err stream_event(struct chat_writer *w, const struct gen_event *ev, struct buf *out)
{
    if (ev->type == GEN_EV_STARTED) {
        for (int32_t i = 0; i < w->n; i++) begin_choice(w, i, out);
        return out->err;
    }
    begin_choice(w, ev->choice, out);
    if (ev->type == GEN_EV_TOOL_CALL) {
        stream_call(w, ev, out);
    } else if (ev->type == GEN_EV_CHOICE_END) {
        writer_open_chunk(&w->base, out, (size_t)ev->choice);
        buf_puts(out, ",\"delta\":{},\"logprobs\":null");
        writer_close_chunk(&w->base, out, finish_word(ev->finish));
    } else if (ev->text_len || ev->n_logprobs) {
        stream_text(w, ev, out);
    }
    return out->err;
}

/* ---- whole --------------------------------------------------------------------------------- */

static enum err add_call(struct choice_state *c, const struct gen_event *ev)
{
    struct call_state *calls = try_realloc(c->calls, c->n_calls + 1, sizeof *calls);
    if (!calls) return ERR_NOMEM;
    c->calls = calls;
    struct call_state *call = &calls[c->n_calls++];
    make_call_id(call->id, ev->tool.id);
    buf_init(&call->name, ANSWER_BYTES_MAX);
    buf_init(&call->arguments, ANSWER_BYTES_MAX);
    return buf_puts(&call->name, ev->tool.name);
}

/* Calls come one after the other: a fragment belongs to the newest one. */
static enum err whole_call(struct choice_state *c, const struct gen_event *ev)
{
    enum err err = ev->tool.name ? add_call(c, ev) : OK;
    if (err) return err;
    ht_assert(c->n_calls > 0);
    return buf_append(&c->calls[c->n_calls - 1].arguments, ev->tool.arguments,
                      ev->tool.arguments_len);
}

static enum err whole_event(struct chat_writer *w, const struct gen_event *ev)
{
    if (ev->type == GEN_EV_STARTED) return OK;
    struct choice_state *c = choice_of(w, ev);
    switch (ev->type) {
    case GEN_EV_TOOL_CALL: return whole_call(c, ev);
    case GEN_EV_CHOICE_END: c->finish = ev->finish; return OK;
    case GEN_EV_REASONING: return buf_append(&c->reasoning, ev->text, ev->text_len);
    default: break;
    }
    if (w->base.logprobs) write_logprobs(&c->logprobs, ev->logprobs, ev->n_logprobs);
    enum err err = buf_append(&c->text, ev->text, ev->text_len);
    return err ? err : c->logprobs.err;
}

static void write_calls(const struct choice_state *c, struct jw *jw)
{
    jw_key(jw, "tool_calls");
    jw_arr(jw);
    for (size_t i = 0; i < c->n_calls; i++) {
        const struct call_state *call = &c->calls[i];
        jw_obj(jw);
        jw_kstr(jw, "id", call->id);
        jw_kstr(jw, "type", "function");
        jw_key(jw, "function");
        jw_obj(jw);
        jw_kstr(jw, "name", buf_str(&call->name));
        jw_kstr(jw, "arguments", buf_str(&call->arguments));
        jw_obj_end(jw);
        jw_obj_end(jw);
    }
    jw_arr_end(jw);
}

static void write_choice(const struct chat_writer *w, int32_t index, struct jw *jw)
{
    const struct choice_state *c = &w->choices[index];
    jw_obj(jw);
    jw_kint(jw, "index", index);
    jw_key(jw, "message");
    jw_obj(jw);
    jw_kstr(jw, "role", "assistant");
    jw_key(jw, "content");
    if (c->text.len == 0 && c->n_calls > 0)
        jw_null(jw);
    else
        jw_strn(jw, buf_str(&c->text), c->text.len);
    jw_knull(jw, "refusal");
    if (c->reasoning.len) {
        jw_key(jw, "reasoning_content");
        jw_strn(jw, c->reasoning.data, c->reasoning.len);
    }
    if (c->n_calls) write_calls(c, jw);
    jw_obj_end(jw);
    jw_key(jw, "logprobs");
    if (w->base.logprobs) {
        jw_obj(jw);
        jw_key(jw, "content");
        jw_arr(jw);
        if (c->logprobs.len) jw_raw(jw, c->logprobs.data, c->logprobs.len);
        jw_arr_end(jw);
        jw_knull(jw, "refusal");
        jw_obj_end(jw);
    } else {
        jw_null(jw);
    }
    jw_kstr(jw, "finish_reason", finish_word(c->finish));
    jw_obj_end(jw);
}

/* ---- ops ----------------------------------------------------------------------------------- */

static enum err chat_event(struct writer *base, size_t part, const struct gen_event *ev,
                           struct buf *out)
{
    struct chat_writer *w = container_of(base, struct chat_writer, base.base);
    ht_assert(part == 0);
    if (ev->type == GEN_EV_DONE) return OK;
    if (ev->type != GEN_EV_STARTED) (void)choice_of(w, ev);
    return base->stream ? stream_event(w, ev, out) : whole_event(w, ev);
}

static enum err chat_finish(struct writer *base, struct buf *out)
{
    struct chat_writer *w = container_of(base, struct chat_writer, base.base);
    if (base->stream) {
        writer_last_chunks(&w->base, out);
        return out->err;
    }
    struct jw jw;
    jw_init(&jw, out);
    writer_whole_begin(&w->base, &jw);
    for (int32_t i = 0; i < w->n; i++) write_choice(w, i, &jw);
    writer_whole_end(&w->base, &jw);
    return out->err;
}

static void chat_free(struct writer *base)
{
    struct chat_writer *w = container_of(base, struct chat_writer, base.base);
    for (int32_t i = 0; i < w->n; i++) {
        struct choice_state *c = &w->choices[i];
        for (size_t k = 0; k < c->n_calls; k++) {
            buf_free(&c->calls[k].name);
            buf_free(&c->calls[k].arguments);
        }
        free(c->calls);
        buf_free(&c->text);
        buf_free(&c->reasoning);
        buf_free(&c->logprobs);
    }
    openai_writer_deinit(&w->base);
    free(w);
}

static const struct writer_ops chat_ops = {
    .name = "chat",
    .stream_type = "text/event-stream",
    .errors = &error_openai,
    .event = chat_event,
    .finish = chat_finish,
    .fail = openai_write_failure,
    .note = write_sse_note,
    .free = chat_free,
};

struct writer *chat_writer_new(const struct call *call)
{
    ht_assert(call->n_requests == 1);
    size_t n = (size_t)call->requests[0]->n;
    struct chat_writer *w = xcalloc(1, sizeof *w + n * sizeof w->choices[0]);
    openai_writer_init(&w->base, &chat_ops,
                       call->stream ? "chat.completion.chunk" : "chat.completion", "chatcmpl-",
                       call);
    w->n = (int32_t)n;
    for (size_t i = 0; i < n; i++) {
        buf_init(&w->choices[i].text, ANSWER_BYTES_MAX);
        buf_init(&w->choices[i].reasoning, ANSWER_BYTES_MAX);
        buf_init(&w->choices[i].logprobs, ANSWER_BYTES_MAX);
    }
    return &w->base.base;
}
