/* The events of a response's stream. Each is one block of text, whose sequence number is its place
 * in the stream. */
#include <string.h>

#include "api/responses/writer.h"
#include "base/str.h"

void event_open(struct jw *w, struct buf *out, const char *type, int64_t *sequence)
{
    buf_printf(out, "event: %s\ndata: ", type);
    jw_init(w, out);
    jw_obj(w);
    jw_kstr(w, "type", type);
    jw_kint(w, "sequence_number", (*sequence)++);
}

void event_close(struct jw *w)
{
    jw_obj_end(w);
    buf_puts(w->out, "\n\n");
}

/* What an item's own events have in common. */
static void open_of(struct jw *w, struct buf *out, const char *type, const struct item *item,
                    size_t index, int64_t *sequence)
{
    event_open(w, out, type, sequence);
    jw_kstr(w, "item_id", item->id);
    jw_kint(w, "output_index", (int64_t)index);
}

static void write_item_event(const char *type, const struct item *item,
                             const struct response_info *info, size_t index, bool empty,
                             int64_t *sequence, struct buf *out)
{
    struct jw w;
    event_open(&w, out, type, sequence);
    jw_kint(&w, "output_index", (int64_t)index);
    jw_key(&w, "item");
    item_write(item, info, empty, &w);
    event_close(&w);
}

static bool is_summary(const struct item *item, const struct response_info *info)
{
    return item->kind == ITEM_THOUGHTS && info->thoughts == THOUGHTS_SUMMARY;
}

/* content_part.added, .done, and the same of summaries. */
static void write_part_event(const struct item *item, const struct response_info *info,
                             size_t index, bool done, int64_t *sequence, struct buf *out)
{
    struct jw w;
    if (is_summary(item, info)) {
        open_of(&w, out,
                done ? "response.reasoning_summary_part.done"
                     : "response.reasoning_summary_part.added",
                item, index, sequence);
        jw_kint(&w, "summary_index", 0);
        jw_key(&w, "part");
        jw_obj(&w);
        jw_kstr(&w, "type", "summary_text");
        jw_key(&w, "text");
        jw_strn(&w, done ? buf_str(&item->text) : "", done ? item->text.len : 0);
        jw_obj_end(&w);
    } else {
        open_of(&w, out, done ? "response.content_part.done" : "response.content_part.added", item,
                index, sequence);
        jw_kint(&w, "content_index", 0);
        jw_key(&w, "part");
        item_write_part(item, !done, &w);
    }
    event_close(&w);
}

static bool has_parts(const struct item *item)
{
    return item->kind == ITEM_THOUGHTS || item->kind == ITEM_MESSAGE;
}

void events_item_begin(const struct item *item, const struct response_info *info, size_t index,
                       int64_t *sequence, struct buf *out)
{
    write_item_event("response.output_item.added", item, info, index, true, sequence, out);
    if (has_parts(item)) write_part_event(item, info, index, false, sequence, out);
}

/* The event's name, and where in the item its text belongs. */
static void open_text(struct jw *w, struct buf *out, const struct item *item,
                      const struct response_info *info, size_t index, bool done, int64_t *sequence)
{
    bool summary = is_summary(item, info);
    const char *type;
    if (item->kind == ITEM_MESSAGE)
        type = done ? "response.output_text.done" : "response.output_text.delta";
    else if (summary)
        type =
            done ? "response.reasoning_summary_text.done" : "response.reasoning_summary_text.delta";
    else
        type = done ? "response.reasoning_text.done" : "response.reasoning_text.delta";
    open_of(w, out, type, item, index, sequence);
    jw_kint(w, summary ? "summary_index" : "content_index", 0);
}

void events_item_delta(const struct item *item, const struct response_info *info, size_t index,
                       const char *text, size_t len, const struct gen_event *ev, int64_t *sequence,
                       struct buf *out)
{
    struct jw w;
    /* What a tool that takes plain text is given is known when its arguments are whole. */
    if (item->kind == ITEM_CUSTOM_CALL || (len == 0 && !(ev && ev->n_logprobs))) return;
    if (item->kind == ITEM_CALL)
        open_of(&w, out, "response.function_call_arguments.delta", item, index, sequence);
    else
        open_text(&w, out, item, info, index, false, sequence);
    jw_key(&w, "delta");
    jw_strn(&w, text, len);
    if (item->kind == ITEM_MESSAGE) {
        jw_key(&w, "logprobs");
        jw_arr(&w);
        if (info->logprobs && ev) write_logprobs(out, ev->logprobs, ev->n_logprobs);
        jw_arr_end(&w);
    }
    event_close(&w);
}

static void write_custom_end(const struct item *item, size_t index, int64_t *sequence,
                             struct buf *out)
{
    struct jw w;
    struct buf input;
    buf_init(&input, ANSWER_BYTES_MAX);
    item_custom_input(item, &input);
    if (input.err) out->err = input.err;
    open_of(&w, out, "response.custom_tool_call_input.delta", item, index, sequence);
    jw_kstr(&w, "delta", buf_str(&input));
    event_close(&w);
    open_of(&w, out, "response.custom_tool_call_input.done", item, index, sequence);
    jw_kstr(&w, "input", buf_str(&input));
    event_close(&w);
    buf_free(&input);
}

static void write_text_end(const struct item *item, const struct response_info *info, size_t index,
                           int64_t *sequence, struct buf *out)
{
    struct jw w;
    if (item->kind == ITEM_CALL) {
        open_of(&w, out, "response.function_call_arguments.done", item, index, sequence);
        jw_kstr(&w, "name", buf_str(&item->name));
        jw_key(&w, "arguments");
    } else {
        open_text(&w, out, item, info, index, true, sequence);
        jw_key(&w, "text");
    }
    jw_strn(&w, buf_str(&item->text), item->text.len);
    if (item->kind == ITEM_MESSAGE) {
        jw_key(&w, "logprobs");
        jw_arr(&w);
        if (item->logprobs.len) jw_raw(&w, item->logprobs.data, item->logprobs.len);
        jw_arr_end(&w);
    }
    event_close(&w);
}

void events_item_end(const struct item *item, const struct response_info *info, size_t index,
                     int64_t *sequence, struct buf *out)
{
    if (item->kind == ITEM_CUSTOM_CALL)
        write_custom_end(item, index, sequence, out);
    else
        write_text_end(item, info, index, sequence, out);
    if (has_parts(item)) write_part_event(item, info, index, true, sequence, out);
    write_item_event("response.output_item.done", item, info, index, false, sequence, out);
}
