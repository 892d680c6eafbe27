/* The stream of a response that is over, made anew from what is kept: each text comes in one
 * piece. */
#include <string.h>

#include "api/responses/writer.h"
#include "base/str.h"

/* The response as it was when it was created. */
static json_t *as_begun(const json_t *body, const char *status)
{
    json_t *begun = json_copy((json_t *)body);
    int failed = !begun;
    failed |= json_object_set_new(begun, "status", json_string(status));
    failed |= json_object_set_new(begun, "output", json_array());
    failed |= json_object_set_new(begun, "usage", json_null());
    failed |= json_object_set_new(begun, "error", json_null());
    failed |= json_object_set_new(begun, "completed_at", json_null());
    failed |= json_object_set_new(begun, "incomplete_details", json_null());
    if (!failed) return begun;
    json_decref(begun);
    return NULL;
}

static void write_state(const char *type, const json_t *body, int64_t *sequence, struct buf *out)
{
    struct jw w;
    event_open(&w, out, type, sequence);
    jw_kjson(&w, "response", body);
    event_close(&w);
}

static enum item_kind kind_of(const char *type)
{
    if (str_eq(type, "reasoning")) return ITEM_THOUGHTS;
    if (str_eq(type, "function_call")) return ITEM_CALL;
    return str_eq(type, "custom_tool_call") ? ITEM_CUSTOM_CALL : ITEM_MESSAGE;
}

static const char *text_of(const json_t *object, const char *name)
{
    const char *s = json_string_value(json_object_get(object, name));
    return s ? s : "";
}

/* The first text of a list of parts, and its log probabilities. */
static void read_part(const json_t *parts, struct item *item)
{
    const json_t *part = json_array_get(parts, 0);
    const json_t *logprobs = json_object_get(part, "logprobs");
    buf_puts(&item->text, text_of(part, "text"));
    for (size_t i = 0; i < json_array_size(logprobs); i++) {
        if (i) buf_putc(&item->logprobs, ',');
        json_dump(json_array_get(logprobs, i), &item->logprobs);
    }
}

static void read_item(const json_t *object, struct item *item, struct response_info *info)
{
    *item = (struct item){.kind = kind_of(text_of(object, "type"))};
    buf_init(&item->name, ANSWER_BYTES_MAX);
    buf_init(&item->text, ANSWER_BYTES_MAX);
    buf_init(&item->logprobs, ANSWER_BYTES_MAX);
    buf_init(&item->sealed, ANSWER_BYTES_MAX);
    str_copy(item->id, sizeof item->id, text_of(object, "id"));
    str_copy(item->call_id, sizeof item->call_id, text_of(object, "call_id"));
    buf_puts(&item->name, text_of(object, "name"));
    item->space = json_string_value(json_object_get(object, "namespace"));
    bool cut = str_eq(text_of(object, "status"), "incomplete");
    item->status = cut ? "incomplete" : "completed";
    const json_t *summary = json_object_get(object, "summary");
    info->thoughts = json_array_size(summary) ? THOUGHTS_SUMMARY : THOUGHTS_CONTENT;
    if (item->kind == ITEM_THOUGHTS && info->thoughts == THOUGHTS_SUMMARY)
        read_part(summary, item);
    else if (item->kind == ITEM_THOUGHTS || item->kind == ITEM_MESSAGE)
        read_part(json_object_get(object, "content"), item);
    else if (item->kind == ITEM_CALL)
        buf_puts(&item->text, text_of(object, "arguments"));
    else
        item_wrap_input(text_of(object, "input"), &item->text);
    buf_puts(&item->sealed, text_of(object, "encrypted_content"));
}

static void write_item(const json_t *object, size_t index, int64_t *sequence, struct buf *out)
{
    struct item item;
    struct response_info info = {0};
    read_item(object, &item, &info);
    const char *status = item.status;
    item.status = "in_progress";
    events_item_begin(&item, &info, index, sequence, out);
    events_item_delta(&item, &info, index, buf_str(&item.text), item.text.len, NULL, sequence, out);
    item.status = status;
    events_item_end(&item, &info, index, sequence, out);
    buf_free(&item.name);
    buf_free(&item.text);
    buf_free(&item.logprobs);
    buf_free(&item.sealed);
}

enum err response_replay(const char *text, int64_t *skip, struct buf *out, struct error *error)
{
    json_t *body;
    int64_t sequence = 0;
    char type[40];
    enum err e = json_parse(text, strlen(text), &body, error);
    if (e) return e;
    bool background = json_is_true(json_object_get(body, "background"));
    const char *status = text_of(body, "status");
    json_t *queued = as_begun(body, "queued"), *begun = as_begun(body, "in_progress");
    const json_t *output = json_object_get(body, "output");
    if (queued && begun) {
        write_state("response.created", background ? queued : begun, &sequence, out);
        if (background) write_state("response.queued", queued, &sequence, out);
        write_state("response.in_progress", begun, &sequence, out);
        for (size_t i = 0; i < json_array_size(output); i++)
            write_item(json_array_get(output, i), i, &sequence, out);
        str_printf(type, sizeof type, "response.%s", status);
        if (sequence < *skip) {
            buf_clear(out);
            sequence = *skip;
            *skip = 0;
        }
        write_state(type, body, &sequence, out);
    }
    e = queued && begun ? out->err : ERR_NOMEM;
    if (e) err_set(error, e, "the response is too large to be told again");
    json_decref(queued);
    json_decref(begun);
    json_decref(body);
    return e;
}
