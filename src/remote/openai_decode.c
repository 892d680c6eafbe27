/* OpenAI's answers: chunks of a stream (choices[].delta), or a whole completion (choices[].message,
 * choices[].text) from servers that don't stream. */
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "remote/member.h"
#include "remote/openai_int.h"

static void read_usage(struct decode *d, const json_t *usage)
{
    struct usage u = {
        .prompt_tokens = member_count(usage, "prompt_tokens"),
        .completion_tokens = member_count(usage, "completion_tokens"),
        .cached_tokens =
            member_count(json_object_get(usage, "prompt_tokens_details"), "cached_tokens"),
        .reasoning_tokens =
            member_count(json_object_get(usage, "completion_tokens_details"), "reasoning_tokens"),
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
        e = decode_tool(d, choice, index, member_word(call, "id"), member_word(function, "name"),
                        error);
    if (e || !v) return e;
    if (json_is_string(v))
        return decode_arguments(d, choice, index, json_string_value(v), json_string_length(v),
                                error);
    if (!json_is_object(v)) return OK;
    return decode_arguments_object(d, choice, index, v, error); /* what some servers send */
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

static enum err read_choice(struct decode *d, const json_t *obj, size_t nth, bool whole,
                            struct error *error)
{
    const json_t *at = json_object_get(obj, "index"), *delta = json_object_get(obj, "delta");
    const json_t *text = json_object_get(obj, "text");
    const char *finish = member_word(obj, "finish_reason");
    int64_t choice = json_is_integer(at) ? json_integer_value(at) : (int64_t)nth;
    enum err e = OK;
    if (!delta) delta = json_object_get(obj, "message");
    if (json_is_object(delta))
        e = read_delta(d, choice, delta, json_object_get(obj, "logprobs"), error);
    else if (json_is_string(text))
        e = decode_text(d, choice, json_string_value(text), json_string_length(text), NULL, 0,
                        error);
    if (e || (!*finish && !whole)) return e; /* some say "" until the end */
    return decode_finish(d, choice, finish_of(finish), error);
}

enum err openai_piece(struct decode *d, const json_t *piece, bool whole, struct error *error)
{
    const json_t *failure = json_object_get(piece, "error"), *choice;
    const json_t *choices = json_object_get(piece, "choices");
    size_t i;
    if (failure && !json_is_null(failure)) return decode_failure(d, piece, error);
    decode_model(d, member_word(piece, "model"));
    if (json_is_object(json_object_get(piece, "usage")))
        read_usage(d, json_object_get(piece, "usage"));
    json_array_foreach (choices, i, choice) {
        enum err e = read_choice(d, choice, i, whole, error);
        if (e) return e;
    }
    if (whole && !json_array_size(choices))
        return err_set(error, ERR_UPSTREAM, "%s sent an answer without choices", d->name);
    return OK;
}
