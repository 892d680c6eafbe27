/* Answers in Anthropic's shape, as events or whole. The order of the events is the API's:
 *
 *   message_start
 *   for each block: content_block_start, content_block_delta ..., content_block_stop
 *   message_delta (why it ended, and the usage), message_stop
 *
 * with a ping behind the first block's start. Blocks come one after the other: a piece of another
 * kind, or another tool call, ends the one before. Thoughts that nobody asked for are left out. */
#include <stdlib.h>
#include <string.h>

#include "api/anthropic/anthropic_int.h"
#include "base/id.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/str.h"

enum block_kind { BLOCK_NONE, BLOCK_TEXT, BLOCK_THINKING, BLOCK_TOOL };

enum { BLOCK_ID_MAX = 64, SIGNATURE_MAX = 1 << 20 };

/* Of a stream only the last one is kept, without its text. */
struct block {
    enum block_kind kind;
    struct buf text; /* TOOL: the input */
    struct buf name, signature;
    char id[BLOCK_ID_MAX];
};

struct messages_writer {
    struct writer base;
    struct messages_wish wish;
    char id[40];
    int32_t max_tokens;
    struct block *blocks; /* whole: all; stream: the open one */
    size_t n_blocks;
    size_t index; /* of the block that is open, or comes next */
    bool begun, pinged;
    struct usage prompt; /* of STARTED */
    enum finish_reason finish;
    bool estimated;  /* the usage */
    struct buf stop; /* the stop sequence that ended it, if `stopped` */
    bool stopped;
};

static struct block *open_block(struct messages_writer *w)
{
    return w->n_blocks ? &w->blocks[w->n_blocks - 1] : NULL;
}

static void block_free(struct block *b)
{
    buf_free(&b->text);
    buf_free(&b->name);
    buf_free(&b->signature);
}

/* ---- pieces -------------------------------------------------------------------------------- */

/* "event: <type>\ndata: {"type":"<type>" ; end_event closes the object. */
static void begin_event(struct jw *jw, struct buf *out, const char *type)
{
    buf_printf(out, "event: %s\ndata: ", type);
    jw_init(jw, out);
    jw_obj(jw);
    jw_kstr(jw, "type", type);
}

static void end_event(struct jw *jw)
{
    jw_obj_end(jw);
    buf_puts(jw->out, "\n\n");
}

/* What the API has and a hub has not (tools that run at the server, regions) is null. */
static void write_usage(struct jw *jw, const struct usage *u, bool whole)
{
    jw_key(jw, "usage");
    jw_obj(jw);
    jw_kint(jw, "input_tokens", u->prompt_tokens - u->cached_tokens);
    jw_kint(jw, "cache_creation_input_tokens", 0);
    jw_kint(jw, "cache_read_input_tokens", u->cached_tokens);
    jw_kint(jw, "output_tokens", u->completion_tokens);
    jw_key(jw, "output_tokens_details");
    jw_obj(jw);
    jw_kint(jw, "thinking_tokens", u->reasoning_tokens);
    jw_obj_end(jw);
    jw_knull(jw, "server_tool_use");
    if (whole) {
        jw_kstr(jw, "service_tier", "standard");
        jw_knull(jw, "cache_creation");
        jw_knull(jw, "inference_geo");
        jw_knull(jw, "speed");
    }
    jw_obj_end(jw);
}

static void write_head(const struct messages_writer *w, struct jw *jw)
{
    jw_kstr(jw, "id", w->id);
    jw_kstr(jw, "type", "message");
    jw_kstr(jw, "role", "assistant");
    jw_kstr(jw, "model", w->base.model);
}

static const char *stop_reason(const struct messages_writer *w)
{
    switch (w->finish) {
    case FINISH_STOP: return w->stopped ? "stop_sequence" : "end_turn";
    case FINISH_TOOL_CALLS: return "tool_use";
    case FINISH_LENGTH:
        /* It ended before the limit: the context did it. */
        if (!w->estimated && w->base.usage.completion_tokens < w->max_tokens)
            return "model_context_window_exceeded";
        break;
    case FINISH_CANCELLED: break; /* the answer was cut, as by its length */
    }
    return "max_tokens";
}

/* reason NULL: it has not ended. */
static void write_stop(const struct messages_writer *w, const char *reason, struct jw *jw)
{
    jw_kstr(jw, "stop_reason", reason);
    jw_kstr(jw, "stop_sequence", reason && w->stopped ? buf_str(&w->stop) : NULL);
    jw_knull(jw, "stop_details");
    jw_knull(jw, "container");
}

/* Behind the content: why it ended, and the usage. */
static void write_tail(const struct messages_writer *w, const char *reason, const struct usage *u,
                       struct jw *jw)
{
    write_stop(w, reason, jw);
    jw_knull(jw, "diagnostics");
    write_usage(jw, u, true);
}

/* A tool_use block without its input. The model calls its tools itself: no program does for it. */
static void write_call(const struct block *b, struct jw *jw)
{
    jw_kstr(jw, "type", "tool_use");
    jw_kstr(jw, "id", b->id);
    jw_key(jw, "caller");
    jw_raw(jw, "{\"type\":\"direct\"}", 17);
    jw_kstr(jw, "name", buf_str(&b->name));
}

/* ---- stream -------------------------------------------------------------------------------- */

static void begin_message(struct messages_writer *w, struct buf *out)
{
    struct jw jw;
    if (w->begun) return;
    w->begun = true;
    begin_event(&jw, out, "message_start");
    jw_key(&jw, "message");
    jw_obj(&jw);
    write_head(w, &jw);
    jw_key(&jw, "content");
    jw_arr(&jw);
    jw_arr_end(&jw);
    write_tail(w, NULL, &w->prompt, &jw);
    jw_obj_end(&jw);
    end_event(&jw);
}

static void begin_block_event(struct messages_writer *w, const struct block *b, struct buf *out)
{
    struct jw jw;
    begin_message(w, out);
    begin_event(&jw, out, "content_block_start");
    jw_kint(&jw, "index", (int64_t)w->index);
    jw_key(&jw, "content_block");
    jw_obj(&jw);
    if (b->kind == BLOCK_TEXT) {
        jw_kstr(&jw, "type", "text");
        jw_kstr(&jw, "text", "");
    } else if (b->kind == BLOCK_THINKING) {
        jw_kstr(&jw, "type", "thinking");
        jw_kstr(&jw, "thinking", "");
        jw_kstr(&jw, "signature", "");
    } else {
        write_call(b, &jw);
        jw_key(&jw, "input");
        jw_obj(&jw);
        jw_obj_end(&jw);
    }
    jw_obj_end(&jw);
    end_event(&jw);
    if (!w->pinged) buf_puts(out, "event: ping\ndata: {\"type\":\"ping\"}\n\n");
    w->pinged = true;
}

/* {"type":"<type>","<member>":"<text>"} as a delta of the open block. */
static void write_delta(const struct messages_writer *w, const char *type, const char *member,
                        const char *text, size_t len, struct buf *out)
{
    struct jw jw;
    begin_event(&jw, out, "content_block_delta");
    jw_kint(&jw, "index", (int64_t)w->index);
    jw_key(&jw, "delta");
    jw_obj(&jw);
    jw_kstr(&jw, "type", type);
    jw_key(&jw, member);
    jw_strn(&jw, text, len);
    jw_obj_end(&jw);
    end_event(&jw);
}

static const char *signature_of(const struct block *b)
{
    return b->signature.len ? b->signature.data : LOCAL_SIGNATURE;
}

static void end_block_event(struct messages_writer *w, struct buf *out)
{
    struct block *b = open_block(w);
    struct jw jw;
    if (b->kind == BLOCK_THINKING)
        write_delta(w, "signature_delta", "signature", signature_of(b), strlen(signature_of(b)),
                    out);
    begin_event(&jw, out, "content_block_stop");
    jw_kint(&jw, "index", (int64_t)w->index++);
    end_event(&jw);
    block_free(b);
    w->n_blocks = 0;
}

static void stream_end(struct messages_writer *w, struct buf *out)
{
    struct jw jw;
    begin_message(w, out);
    if (w->n_blocks) end_block_event(w, out);
    begin_event(&jw, out, "message_delta");
    jw_key(&jw, "delta");
    jw_obj(&jw);
    write_stop(w, stop_reason(w), &jw);
    jw_obj_end(&jw);
    write_usage(&jw, &w->base.usage, false);
    end_event(&jw);
    begin_event(&jw, out, "message_stop");
    end_event(&jw);
}

/* ---- blocks -------------------------------------------------------------------------------- */

static enum err begin_block(struct messages_writer *w, enum block_kind kind,
                            const struct gen_event *ev, struct buf *out)
{
    if (w->base.stream && w->n_blocks) end_block_event(w, out);
    struct block *blocks = try_realloc(w->blocks, w->n_blocks + 1, sizeof *blocks);
    if (!blocks) return ERR_NOMEM;
    w->blocks = blocks;
    struct block *b = &blocks[w->n_blocks++];
    *b = (struct block){.kind = kind};
    buf_init(&b->text, ANSWER_BYTES_MAX);
    buf_init(&b->name, ANSWER_BYTES_MAX);
    buf_init(&b->signature, SIGNATURE_MAX);
    if (kind == BLOCK_TOOL) {
        const char *id = ev->tool.id;
        if (!id || !*id || !str_copy(b->id, sizeof b->id, id))
            id_make(b->id, sizeof b->id, "toolu_");
        buf_puts(&b->name, ev->tool.name);
    }
    if (w->base.stream) begin_block_event(w, b, out);
    return b->name.err;
}

/* Text of the open block. */
static enum err add(struct messages_writer *w, const char *text, size_t len, struct buf *out)
{
    static const char *const types[][2] = {[BLOCK_NONE] = {"", ""},
                                           [BLOCK_TEXT] = {"text_delta", "text"},
                                           [BLOCK_THINKING] = {"thinking_delta", "thinking"},
                                           [BLOCK_TOOL] = {"input_json_delta", "partial_json"}};
    struct block *b = open_block(w);
    if (!len || (b->kind == BLOCK_THINKING && w->wish.omitted)) return OK;
    if (!w->base.stream) return buf_append(&b->text, text, len);
    write_delta(w, types[b->kind][0], types[b->kind][1], text, len, out);
    return out->err;
}

static enum err on_text(struct messages_writer *w, const struct gen_event *ev, struct buf *out)
{
    struct block *b = open_block(w);
    enum err e = OK;
    if (!ev->text_len) return OK;
    if (!b || b->kind != BLOCK_TEXT) e = begin_block(w, BLOCK_TEXT, ev, out);
    return e ? e : add(w, ev->text, ev->text_len, out);
}

static enum err on_thought(struct messages_writer *w, const struct gen_event *ev, struct buf *out)
{
    struct block *b = open_block(w);
    enum err e = OK;
    if (!w->wish.thinking || (!ev->text_len && !ev->signature)) return OK;
    if (!b || b->kind != BLOCK_THINKING) e = begin_block(w, BLOCK_THINKING, ev, out);
    if (!e && ev->signature) e = buf_puts(&open_block(w)->signature, ev->signature);
    return e ? e : add(w, ev->text, ev->text_len, out);
}

/* Calls come one after the other: a fragment belongs to the newest one. */
static enum err on_call(struct messages_writer *w, const struct gen_event *ev, struct buf *out)
{
    enum err e = ev->tool.name ? begin_block(w, BLOCK_TOOL, ev, out) : OK;
    if (e) return e;
    /* The rest of a call behind which text has come already: its block is closed. */
    const struct block *b = open_block(w);
    if (!b || b->kind != BLOCK_TOOL) return OK;
    return add(w, ev->tool.arguments, ev->tool.arguments_len, out);
}

static enum err on_end(struct messages_writer *w, const struct gen_event *ev)
{
    w->finish = ev->finish;
    w->stopped = ev->finish == FINISH_STOP && ev->stop;
    return w->stopped ? buf_puts(&w->stop, ev->stop) : OK;
}

/* ---- whole --------------------------------------------------------------------------------- */

/* A call that was cut off has no whole input. */
static void write_input(const struct block *b, struct jw *jw)
{
    json_t *v = NULL;
    bool object =
        b->text.len && json_parse(b->text.data, b->text.len, &v, NULL) == OK && json_is_object(v);
    json_decref(v);
    jw_key(jw, "input");
    if (object)
        jw_raw(jw, b->text.data, b->text.len);
    else
        jw_raw(jw, "{}", 2);
}

static void write_block(const struct block *b, struct jw *jw)
{
    jw_obj(jw);
    switch (b->kind) {
    case BLOCK_NONE: ht_bug("a block of no kind");
    case BLOCK_TEXT:
        jw_kstr(jw, "type", "text");
        jw_key(jw, "text");
        jw_strn(jw, buf_str(&b->text), b->text.len);
        break;
    case BLOCK_THINKING:
        jw_kstr(jw, "type", "thinking");
        jw_key(jw, "thinking");
        jw_strn(jw, buf_str(&b->text), b->text.len);
        jw_kstr(jw, "signature", signature_of(b));
        break;
    case BLOCK_TOOL:
        write_call(b, jw);
        write_input(b, jw);
        break;
    }
    jw_obj_end(jw);
}

static void write_whole(struct messages_writer *w, struct buf *out)
{
    struct jw jw;
    jw_init(&jw, out);
    jw_obj(&jw);
    write_head(w, &jw);
    jw_key(&jw, "content");
    jw_arr(&jw);
    for (size_t i = 0; i < w->n_blocks; i++) write_block(&w->blocks[i], &jw);
    jw_arr_end(&jw);
    write_tail(w, stop_reason(w), &w->base.usage, &jw);
    jw_obj_end(&jw);
}

/* ---- ops ----------------------------------------------------------------------------------- */

static enum err messages_event(struct writer *base, size_t part, const struct gen_event *ev,
                               struct buf *out)
{
    struct messages_writer *w = container_of(base, struct messages_writer, base);
    ht_assert(part == 0);
    switch (ev->type) {
    case GEN_EV_STARTED:
        w->prompt = ev->usage;
        w->prompt.completion_tokens = 0;
        if (base->stream) begin_message(w, out);
        return out->err;
    case GEN_EV_TEXT: return on_text(w, ev, out);
    case GEN_EV_REASONING: return on_thought(w, ev, out);
    case GEN_EV_TOOL_CALL: return on_call(w, ev, out);
    case GEN_EV_CHOICE_END: return on_end(w, ev);
    case GEN_EV_DONE: w->estimated = ev->estimated; return OK;
    default: return OK;
    }
}

static enum err messages_finish(struct writer *base, struct buf *out)
{
    struct messages_writer *w = container_of(base, struct messages_writer, base);
    if (base->stream)
        stream_end(w, out);
    else
        write_whole(w, out);
    return out->err;
}

static void messages_fail(struct writer *base, const struct error *error, const char *request_id,
                          struct buf *out)
{
    (void)base;
    buf_puts(out, "event: error\ndata: ");
    error_anthropic.write(out, error, request_id);
    buf_puts(out, "\n\n");
}

static void messages_free(struct writer *base)
{
    struct messages_writer *w = container_of(base, struct messages_writer, base);
    for (size_t i = 0; i < w->n_blocks; i++) block_free(&w->blocks[i]);
    free(w->blocks);
    buf_free(&w->stop);
    free(w);
}

static const struct writer_ops messages_ops = {
    .name = "messages",
    .stream_type = "text/event-stream",
    .errors = &error_anthropic,
    .event = messages_event,
    .finish = messages_finish,
    .fail = messages_fail,
    .note = write_sse_note,
    .free = messages_free,
};

struct writer *messages_writer_new(const struct call *call, const struct messages_wish *wish)
{
    struct messages_writer *w = xcalloc(1, sizeof *w);
    ht_assert(call->n_requests == 1 && call->requests[0]->n == 1);
    writer_init(&w->base, &messages_ops, call);
    w->wish = *wish;
    w->max_tokens = call->requests[0]->max_tokens;
    id_make(w->id, sizeof w->id, "msg_");
    buf_init(&w->stop, ANSWER_BYTES_MAX);
    return &w->base;
}
