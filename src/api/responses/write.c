/* The writer of a response: see api/writer.h.
 *
 *   STARTED: response.created, (in the background: .queued,) .in_progress
 *   TEXT, REASONING, TOOL_CALL: an item begins when the one before was of another kind, or another
 *     call; that one ends
 *   CHOICE_END: the last item ends
 *   keep: the response is put together and kept
 *   finish: response.completed or .incomplete; fail: response.failed */
#include <stdlib.h>
#include <string.h>

#include "api/responses/writer.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "hub/hub.h"

struct response_writer {
    struct writer base;
    struct response_info info;
    struct hub *hub;
    struct response_end *end; /* of whoever waits; NULL = nobody does */
    struct item *items;
    size_t n_items;
    bool item_open, begun;
    int64_t sequence;
    enum finish_reason finish;
    const char *status; /* at the end; a constant */
    struct buf body;    /* the whole response, once it is over */
};

static struct response_writer *self(struct writer *base)
{
    return container_of(base, struct response_writer, base);
}

/* ---- the beginning --------------------------------------------------------------------------- */

static void write_state(struct response_writer *w, const char *type, const char *status,
                        struct buf *out)
{
    struct jw jw;
    struct response_state state = {.status = status, .model = w->base.model};
    event_open(&jw, out, type, &w->sequence);
    jw_key(&jw, "response");
    response_write(&w->info, &state, &jw);
    event_close(&jw);
}

static void begin(struct response_writer *w, struct buf *out)
{
    if (w->begun || !w->base.stream) return;
    w->begun = true;
    write_state(w, "response.created", w->info.background ? "queued" : "in_progress", out);
    if (w->info.background) write_state(w, "response.queued", "queued", out);
    write_state(w, "response.in_progress", "in_progress", out);
}

/* ---- items ----------------------------------------------------------------------------------- */

static struct item *last_item(struct response_writer *w)
{
    return &w->items[w->n_items - 1];
}

static void end_item(struct response_writer *w, bool cut, struct buf *out)
{
    if (!w->item_open) return;
    w->item_open = false;
    last_item(w)->status = cut ? "incomplete" : "completed";
    if (w->base.stream) events_item_end(last_item(w), &w->info, w->n_items - 1, &w->sequence, out);
}

/* NULL: the client knows it as the model does. */
static const struct response_tool *tool_of(const struct response_writer *w, const char *name)
{
    for (const struct response_tool *tool = w->info.tools; tool && tool->name; tool++)
        if (str_eq(tool->name, name)) return tool;
    return NULL;
}

static enum err add_item(struct response_writer *w, enum item_kind kind, struct buf *out)
{
    static const char *const words[] = {[ITEM_THOUGHTS] = "rs",
                                        [ITEM_MESSAGE] = "msg",
                                        [ITEM_CALL] = "fc",
                                        [ITEM_CUSTOM_CALL] = "ctc"};
    end_item(w, false, out);
    struct item *items = try_realloc(w->items, w->n_items + 1, sizeof *items);
    if (!items) return ERR_NOMEM;
    w->items = items;
    struct item *item = &items[w->n_items];
    *item = (struct item){.kind = kind, .status = "in_progress"};
    response_item_id(item->id, words[kind], w->info.id, w->n_items, false);
    buf_init(&item->name, ANSWER_BYTES_MAX);
    buf_init(&item->text, ANSWER_BYTES_MAX);
    buf_init(&item->logprobs, ANSWER_BYTES_MAX);
    buf_init(&item->sealed, ANSWER_BYTES_MAX);
    w->n_items++;
    w->item_open = true;
    return OK;
}

static enum err begin_call(struct response_writer *w, const struct gen_event *ev, struct buf *out)
{
    const struct response_tool *tool = tool_of(w, ev->tool.name);
    enum err err = add_item(w, tool && tool->custom ? ITEM_CUSTOM_CALL : ITEM_CALL, out);
    if (err) return err;
    struct item *item = last_item(w);
    const char *id = ev->tool.id;
    if (!id || !*id || !str_copy(item->call_id, sizeof item->call_id, id))
        id_make(item->call_id, sizeof item->call_id, "call_");
    item->space = tool ? tool->space : NULL;
    return buf_puts(&item->name, tool ? tool->own : ev->tool.name);
}

/* The item that an event belongs to; one begins where it must. */
static enum err item_of(struct response_writer *w, const struct gen_event *ev, struct buf *out)
{
    enum item_kind kind = ev->type == GEN_EV_REASONING ? ITEM_THOUGHTS : ITEM_MESSAGE;
    enum err err;
    if (ev->type == GEN_EV_TOOL_CALL) {
        if (!ev->tool.name) return OK; /* a fragment, of the newest call */
        err = begin_call(w, ev, out);
    } else {
        if (w->item_open && last_item(w)->kind == kind) return OK;
        err = add_item(w, kind, out);
    }
    if (!err && w->base.stream)
        events_item_begin(last_item(w), &w->info, w->n_items - 1, &w->sequence, out);
    return err;
}

static enum err add_piece(struct response_writer *w, const struct gen_event *ev, struct buf *out)
{
    bool call = ev->type == GEN_EV_TOOL_CALL;
    const char *text = call ? ev->tool.arguments : ev->text;
    size_t len = call ? ev->tool.arguments_len : ev->text_len;
    if (!call && !len && !ev->n_logprobs && !ev->signature) return OK;
    enum err err = item_of(w, ev, out);
    if (err) return err;
    ht_assert(w->n_items > 0 && w->item_open);
    struct item *item = last_item(w);
    if (ev->type == GEN_EV_REASONING && ev->signature) buf_puts(&item->sealed, ev->signature);
    if (w->info.logprobs && ev->type == GEN_EV_TEXT)
        write_logprobs(&item->logprobs, ev->logprobs, ev->n_logprobs);
    buf_append(&item->text, text, len);
    if (w->base.stream)
        events_item_delta(item, &w->info, w->n_items - 1, text, len, ev, &w->sequence, out);
    enum err failed = item->text.err ? item->text.err : item->logprobs.err;
    return failed ? failed : item->sealed.err;
}

/* ---- the end --------------------------------------------------------------------------------- */

static void put_together(struct response_writer *w, const struct error *error)
{
    struct jw jw;
    bool cut = w->finish == FINISH_LENGTH || w->finish == FINISH_CANCELLED;
    w->status = error ? "failed" : cut ? "incomplete" : "completed";
    struct response_state state = {.status = w->status,
                                   .model = w->base.model,
                                   .incomplete = !error && cut ? "max_output_tokens" : NULL,
                                   .error = error,
                                   .usage = error ? NULL : &w->base.usage,
                                   .items = w->items,
                                   .n_items = w->n_items,
                                   .completed_s = error || cut ? 0 : clock_wall_s()};
    buf_clear(&w->body);
    jw_init(&jw, &w->body);
    response_write(&w->info, &state, &jw);
}

static enum store_answer_state state_of(const char *status)
{
    if (str_eq(status, "completed")) return STORE_ANSWER_COMPLETED;
    return str_eq(status, "failed") ? STORE_ANSWER_FAILED : STORE_ANSWER_INCOMPLETE;
}

static enum err store_it(struct response_writer *w, struct error *error)
{
    struct store *s;
    struct store_answer x = {.id = w->info.id,
                             .user_id = w->info.user_id,
                             .kind = STORE_RESPONSE,
                             .state = state_of(w->status),
                             .previous_id = w->info.previous_id,
                             .model = w->base.model,
                             .metadata = w->info.metadata,
                             .input = w->info.input,
                             .body = buf_str(&w->body),
                             .local_only = w->info.local_only,
                             .created_ms = w->info.created_s * 1000};
    if (w->body.err) return err_set(error, w->body.err, "it is too large");
    enum err err = response_store(w->hub, &s, error);
    return err ? err : store_answer_add(s, &x, NULL, error);
}

static void tell_end(struct response_writer *w, const struct error *error)
{
    struct response_end *end = w->end;
    end->error = error ? *error : (struct error){.code = OK};
    end->state = state_of(w->status);
    str_copy(end->model, sizeof end->model, w->base.model);
    end->body = w->body.err ? NULL : xstrdup(buf_str(&w->body));
    if (w->body.err) err_set(&end->error, w->body.err, "the response is too large to be kept");
}

/* What is answered in the background is kept by its job, which may also try again. */
static void response_keep(struct writer *base, const struct error *error)
{
    struct response_writer *w = self(base);
    struct error why;
    if (error && w->item_open) last_item(w)->status = "incomplete";
    put_together(w, error);
    if (w->end) tell_end(w, error);
    if (!w->info.store || w->info.background) return;
    if (error && !w->begun) return; /* its client has not heard of an id */
    if (error && error->code == ERR_CANCELLED) return;
    if (store_it(w, &why) == OK) return;
    log_warn(api, "the response %s is not kept: %s", w->info.id, why.msg);
    w->info.store = false;
    put_together(w, error);
}

static void write_end(struct response_writer *w, struct buf *out)
{
    struct jw jw;
    char type[40];
    str_printf(type, sizeof type, "response.%s", w->status);
    event_open(&jw, out, type, &w->sequence);
    jw_key(&jw, "response");
    jw_raw(&jw, buf_str(&w->body), w->body.len);
    event_close(&jw);
}

static enum err response_event(struct writer *base, size_t part, const struct gen_event *ev,
                               struct buf *out)
{
    struct response_writer *w = self(base);
    enum err err = OK;
    ht_assert(part == 0);
    if (ev->type == GEN_EV_DONE) return OK;
    begin(w, out);
    switch (ev->type) {
    case GEN_EV_TEXT:
    case GEN_EV_REASONING:
    case GEN_EV_TOOL_CALL: err = add_piece(w, ev, out); break;
    case GEN_EV_CHOICE_END:
        w->finish = ev->finish;
        end_item(w, ev->finish == FINISH_LENGTH || ev->finish == FINISH_CANCELLED, out);
        break;
    default: break;
    }
    return err ? err : out->err;
}

static enum err response_finish(struct writer *base, struct buf *out)
{
    struct response_writer *w = self(base);
    if (!w->body.len) { /* nobody could be asked to keep it */
        w->info.store = w->info.background;
        put_together(w, NULL);
    }
    if (w->body.err) return w->body.err;
    if (base->stream) {
        begin(w, out);
        write_end(w, out);
    } else {
        buf_append(out, w->body.data, w->body.len);
    }
    return out->err;
}

static void response_fail(struct writer *base, const struct error *error, const char *request_id,
                          struct buf *out)
{
    struct response_writer *w = self(base);
    (void)request_id;
    begin(w, out);
    end_item(w, true, out);
    put_together(w, error); /* anew: an item may have been cut just now */
    write_end(w, out);
}

static void response_free(struct writer *base)
{
    struct response_writer *w = self(base);
    for (size_t i = 0; i < w->n_items; i++) {
        buf_free(&w->items[i].name);
        buf_free(&w->items[i].text);
        buf_free(&w->items[i].logprobs);
        buf_free(&w->items[i].sealed);
    }
    free(w->items);
    buf_free(&w->body);
    response_info_free(&w->info);
    free(w);
}

static const struct writer_ops ops = {
    .name = "response",
    .stream_type = "text/event-stream",
    .errors = &error_openai,
    .event = response_event,
    .finish = response_finish,
    .fail = response_fail,
    .keep = response_keep,
    .note = write_sse_note,
    .free = response_free,
};

struct writer *response_writer_new(struct hub *hub, struct response_call *c,
                                   struct response_end *end)
{
    struct response_writer *w = xcalloc(1, sizeof *w);
    writer_init(&w->base, &ops, &c->call);
    w->info = c->info;
    c->info = (struct response_info){0};
    w->hub = hub;
    w->end = end;
    buf_init(&w->body, ANSWER_BYTES_MAX);
    return &w->base;
}
