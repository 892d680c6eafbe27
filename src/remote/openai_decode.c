/* OpenAI's answers: chunks of a stream (choices[].delta), or a whole completion (choices[].message,
 * choices[].text) from servers that don't stream. */
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "remote/openai_int.h"

static const char *text_of(const json_t *obj, const char *name)
{
    return json_string_value(json_object_get(obj, name));
}

static int32_t count_of(const json_t *obj, const char *name)
{
    const json_t *v = json_object_get(obj, name);
    json_int_t n = json_integer_value(v);
    return n > 0 && n <= INT32_MAX ? (int32_t)n : 0;
}

static void read_usage(struct decode *d, const json_t *usage)
{
    struct usage u = {
        .prompt_tokens = count_of(usage, "prompt_tokens"),
        .completion_tokens = count_of(usage, "completion_tokens"),
        .cached_tokens = count_of(json_object_get(usage, "prompt_tokens_details"), "cached_tokens"),
        .reasoning_tokens =
            count_of(json_object_get(usage, "completion_tokens_details"), "reasoning_tokens"),
    };
    decode_usage(d, &u);
}

/* ---- a choice ------------------------------------------------------------------------------ */

static enum err read_tool(struct decode *d, int64_t choice, const json_t *call, size_t nth,
                          struct error *error)
{
    const json_t *function = json_object_get(call, "function");
    const json_t *at = json_object_get(call, "index"), *v = json_object_get(function, "arguments");
    int64_t index = json_is_integer(at) ? json_integer_value(at) : (int64_t)nth;
    enum err e = OK;
    if (!decode_has_tool(d, choice, index))
        e = decode_tool(d, choice, index, text_of(call, "id"), text_of(function, "name"), error);
    if (e || !v) return e;
    if (json_is_string(v))
        return decode_arguments(d, choice, index, json_string_value(v), json_string_length(v),
                                error);
    if (!json_is_object(v)) return OK;
    struct buf text; /* some servers send the object itself */
    buf_init(&text, REMOTE_PIECE_MAX);
    e = json_dump(v, &text);
    if (e)
        err_set(error, e, "%s sent arguments that are too long", d->name);
    else
        e = decode_arguments(d, choice, index, buf_str(&text), text.len, error);
    buf_free(&text);
    return e;
}

static enum err read_delta(struct decode *d, int64_t choice, const json_t *delta,
                           const json_t *logprobs, struct error *error)
{
    /* DeepSeek, llama-server, vLLM; OpenRouter and newer vLLMs */
    const json_t *thought = json_object_get(delta, "reasoning_content"), *call;
    const json_t *content = json_object_get(delta, "content");
    const json_t *list = json_object_get(logprobs, "content");
    enum err e = OK;
    size_t i;
    if (!json_is_string(thought)) thought = json_object_get(delta, "reasoning");
    if (!json_is_string(content)) content = json_object_get(delta, "refusal");
    if (json_is_string(thought))
        e = decode_reasoning(d, choice, json_string_value(thought), json_string_length(thought),
                             error);
    if (!e && json_array_size(list))
        e = decode_logprobs(d, choice, json_is_string(content) ? json_string_value(content) : "",
                            json_string_length(content), list, error);
    else if (!e && json_is_string(content))
        e = decode_text(d, choice, json_string_value(content), json_string_length(content), NULL, 0,
                        error);
    json_array_foreach (json_object_get(delta, "tool_calls"), i, call) {
        if (!e) e = read_tool(d, choice, call, i, error);
    }
    return e;
}

static enum finish_reason finish_of(const char *word)
{
    if (str_eq(word, "length")) return FINISH_LENGTH;
    if (str_eq(word, "tool_calls") || str_eq(word, "function_call")) return FINISH_TOOL_CALLS;
    return FINISH_STOP;
}

static enum err read_choice(struct decode *d, const json_t *obj, size_t nth, struct error *error)
{
    const json_t *at = json_object_get(obj, "index"), *delta = json_object_get(obj, "delta");
    const json_t *text = json_object_get(obj, "text");
    const char *finish = text_of(obj, "finish_reason");
    int64_t choice = json_is_integer(at) ? json_integer_value(at) : (int64_t)nth;
    enum err e = OK;
    if (!delta) delta = json_object_get(obj, "message");
    if (json_is_object(delta))
        e = read_delta(d, choice, delta, json_object_get(obj, "logprobs"), error);
    else if (json_is_string(text))
        e = decode_text(d, choice, json_string_value(text), json_string_length(text), NULL, 0,
                        error);
    if (e || !finish) return e;
    return decode_finish(d, choice, finish_of(finish), error);
}

static enum err read_chunk(struct decode *d, const json_t *obj, struct error *error)
{
    const json_t *failure = json_object_get(obj, "error"), *choice;
    size_t i;
    if (failure && !json_is_null(failure)) {
        struct remote_failure f = {0};
        failure_read(obj, &f);
        return remote_fail(d->name, &f, error);
    }
    decode_model(d, text_of(obj, "model"));
    if (json_is_object(json_object_get(obj, "usage"))) read_usage(d, json_object_get(obj, "usage"));
    json_array_foreach (json_object_get(obj, "choices"), i, choice) {
        enum err e = read_choice(d, choice, i, error);
        if (e) return e;
    }
    return OK;
}

enum err openai_piece(struct decode *d, const struct piece *piece, struct error *error)
{
    json_t *obj;
    if (str_eq(piece->data, "[DONE]")) return decode_done(d, error);
    enum err e = decode_object(d, piece->data, piece->len, &obj, error);
    if (e) return e;
    e = read_chunk(d, obj, error);
    if (!e && piece->whole && !json_array_size(json_object_get(obj, "choices")))
        e = err_set(error, ERR_UPSTREAM, "%s sent an answer without choices", d->name);
    json_decref(obj);
    return e;
}
