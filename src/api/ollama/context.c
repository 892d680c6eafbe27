/* The "context" of /api/generate: see ollama_int.h. Three bytes of the text to a number, the last
 * one filled up with blanks: [["user","..."],["assistant","..."]] and so on. */
#include <string.h>

#include "api/ollama/ollama_int.h"
#include "base/mem.h"
#include "base/str.h"

enum { CONTEXT_MAX = 16 << 20, MESSAGES_MAX = 10000 };

static const char *role_word(enum role role)
{
    return role == ROLE_SYSTEM ? "system" : role == ROLE_ASSISTANT ? "assistant" : "user";
}

/* ---- reading -------------------------------------------------------------------------------- */

static enum err foreign(struct error *error)
{
    return field_error(error, "", "context",
                       "is none that this hub gave; leave it out, or send messages to /api/chat");
}

static enum err unpack(const json_t *array, struct buf *text, struct error *error)
{
    for (size_t i = 0; i < json_array_size(array); i++) {
        const json_t *v = json_array_get(array, i);
        json_int_t n = json_integer_value(v);
        if (!json_is_integer(v) || n < 0 || n > 0xFFFFFF) return foreign(error);
        char bytes[3] = {(char)(n >> 16), (char)(n >> 8), (char)n};
        if (buf_append(text, bytes, sizeof bytes)) return request_too_large(error);
    }
    return OK;
}

static enum err read_message(const json_t *pair, struct arena *arena, struct message *m,
                             struct error *error)
{
    const char *role = json_string_value(json_array_get(pair, 0));
    const char *text = json_string_value(json_array_get(pair, 1));
    if (!role || !text || json_array_size(pair) != 2) return foreign(error);
    m->role = str_eq(role, "system")      ? ROLE_SYSTEM
              : str_eq(role, "assistant") ? ROLE_ASSISTANT
                                          : ROLE_USER;
    return copy_text(arena, text, &m->content, error);
}

static enum err read_all(const json_t *list, struct arena *arena, struct message **out, size_t *n,
                         size_t more, struct error *error)
{
    size_t count = json_array_size(list);
    if (!json_is_array(list) || count > MESSAGES_MAX) return foreign(error);
    struct message *messages = arena_calloc(arena, count + more, sizeof *messages);
    if (!messages) return request_too_large(error);
    for (size_t i = 0; i < count; i++) {
        enum err err = read_message(json_array_get(list, i), arena, &messages[i], error);
        if (err) return err;
    }
    *out = messages;
    *n = count;
    return OK;
}

enum err ollama_context_read(const json_t *array, struct arena *arena, struct message **messages,
                             size_t *n, size_t more, struct error *error)
{
    struct buf text;
    json_t *list = NULL;
    if (!json_array_size(array)) {
        *n = 0;
        *messages = arena_calloc(arena, more + 1, sizeof **messages);
        return *messages ? OK : request_too_large(error);
    }
    buf_init(&text, CONTEXT_MAX);
    enum err err = unpack(array, &text, error);
    if (!err && json_parse(buf_str(&text), text.len, &list, NULL)) err = foreign(error);
    if (!err) err = read_all(list, arena, messages, n, more, error);
    json_decref(list);
    buf_free(&text);
    return err;
}

/* ---- writing -------------------------------------------------------------------------------- */

static void put(struct buf *out, enum role role, const char *text, size_t len)
{
    buf_printf(out, "%s[\"%s\",", out->len ? "," : "[", role_word(role));
    write_json_string(out, text, len);
    buf_putc(out, ']');
}

void ollama_context_keep(struct buf *out, const struct gen_request *req)
{
    for (size_t i = 0; i < req->n_messages; i++) {
        const char *text = req->messages[i].content;
        put(out, req->messages[i].role, text, strlen(text));
    }
}

void ollama_context_write(struct buf *out, const struct buf *messages, const char *answer,
                          size_t len)
{
    struct buf text;
    buf_init(&text, CONTEXT_MAX);
    buf_append(&text, messages->data, messages->len);
    put(&text, ROLE_ASSISTANT, answer, len);
    buf_putc(&text, ']');
    while (!text.err && text.len % 3) buf_putc(&text, ' ');
    buf_putc(out, '[');
    for (size_t i = 0; !text.err && i < text.len; i += 3) {
        const unsigned char *b = (const unsigned char *)text.data + i;
        buf_printf(out, i ? ",%d" : "%d", b[0] << 16 | b[1] << 8 | b[2]);
    }
    buf_putc(out, ']'); /* empty when the conversation is too long to be handed around */
    buf_free(&text);
}
