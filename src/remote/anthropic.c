/* Protocol "anthropic": the Messages API (anthropic-version 2023-06-01), api.anthropic.com and
 * what speaks like it. The request is anthropic_body.c's; here is the answer:
 *
 *   message_start (content_block_start content_block_delta* content_block_stop)* message_delta
 *   message_stop, with pings anywhere and an error instead of the rest
 *
 * Blocks come one after the other. Those of kinds that are not known are skipped: the API adds
 * kinds, and tools that run at the provider were not asked for. */
#include "remote/anthropic.h"

#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "remote/member.h"

enum block { BLOCK_OTHER, BLOCK_TEXT, BLOCK_THINKING, BLOCK_TOOL, BLOCK_ANSWER };

struct state {
    enum block block;                      /* that is open */
    int64_t index;                         /* of the block */
    int64_t tools;                         /* that were called */
    bool fragments;                        /* of the block's arguments have come */
    bool answered;                         /* by the answer tool: its call is no call */
    int64_t input, cache_read, cache_made; /* tokens, as told so far */
};

/* ---- headers ------------------------------------------------------------------------------- */

static enum err headers(const struct remote_env *env, struct headers *out, struct error *error)
{
    enum err e = headers_add(out, "x-api-key", "", env->key, error);
    return e ? e : headers_add(out, "anthropic-version", "", "2023-06-01", error);
}

/* ---- usage --------------------------------------------------------------------------------- */

static void keep_count(const json_t *usage, const char *name, int64_t *to)
{
    int32_t n = member_count(usage, name);
    if (n) *to = n;
}

/* The prompt counts as three: what was read from the cache, what was put there, and the rest. */
static void read_usage(struct decode *d, const json_t *usage)
{
    struct state *s = d->state;
    int64_t output = 0, thoughts = 0;
    keep_count(usage, "input_tokens", &s->input);
    keep_count(usage, "cache_read_input_tokens", &s->cache_read);
    keep_count(usage, "cache_creation_input_tokens", &s->cache_made);
    keep_count(usage, "output_tokens", &output);
    keep_count(json_object_get(usage, "output_tokens_details"), "thinking_tokens", &thoughts);
    struct usage told = {.prompt_tokens = (int32_t)(s->input + s->cache_read + s->cache_made),
                         .cached_tokens = (int32_t)s->cache_read,
                         .completion_tokens = (int32_t)output,
                         .reasoning_tokens = (int32_t)thoughts};
    decode_usage(d, &told);
}

/* ---- blocks -------------------------------------------------------------------------------- */

static enum err arguments(struct decode *d, const char *text, size_t len, struct error *error)
{
    struct state *s = d->state;
    if (!len) return OK;
    s->fragments = true;
    if (s->block == BLOCK_ANSWER) return decode_text(d, 0, text, len, NULL, 0, error);
    return decode_arguments(d, 0, s->tools - 1, text, len, error);
}

/* Arguments that came with the block's start and not in fragments: what a body that does not
 * stream, and some servers that speak this protocol, do. */
static enum err whole_arguments(struct decode *d, const json_t *input, struct error *error)
{
    struct buf text;
    if (!json_is_object(input) || !json_object_size(input)) return OK;
    buf_init(&text, REMOTE_PIECE_MAX);
    enum err e = json_dump(input, &text);
    e = e ? err_set(error, e, "%s: arguments of a call are too long", d->name)
          : arguments(d, buf_str(&text), text.len, error);
    buf_free(&text);
    return e;
}

static enum err tool_start(struct decode *d, const json_t *block, struct error *error)
{
    struct state *s = d->state;
    const char *name = member_word(block, "name");
    if (str_eq(name, ANTHROPIC_ANSWER_TOOL)) {
        s->block = s->answered ? BLOCK_OTHER : BLOCK_ANSWER; /* one answer is enough */
        s->answered = true;
        return OK;
    }
    s->block = BLOCK_TOOL;
    return decode_tool(d, 0, s->tools++, member_word(block, "id"), name, error);
}

static enum err redacted(struct decode *d, const json_t *block, struct error *error)
{
    struct buf text;
    buf_init(&text, REMOTE_PIECE_MAX);
    buf_puts(&text, ANTHROPIC_REDACTED);
    buf_puts(&text, member_word(block, "data"));
    enum err e = text.err;
    e = e ? err_set(error, e, "%s: a block is too long", d->name)
          : decode_signature(d, 0, buf_str(&text), error);
    buf_free(&text);
    return e;
}

static enum err block_start(struct decode *d, const json_t *event, struct error *error)
{
    struct state *s = d->state;
    const json_t *block = json_object_get(event, "content_block");
    const char *type = member_word(block, "type"), *text;
    size_t len;
    s->block = BLOCK_OTHER;
    s->index = json_integer_value(json_object_get(event, "index"));
    s->fragments = false;
    if (str_eq(type, "text")) {
        s->block = BLOCK_TEXT;
        (void)member_text(block, "text", &text, &len);
        return decode_text(d, 0, text, len, NULL, 0, error);
    }
    if (str_eq(type, "thinking")) {
        s->block = BLOCK_THINKING;
        (void)member_text(block, "thinking", &text, &len);
        return decode_reasoning(d, 0, text, len, error);
    }
    if (str_eq(type, "redacted_thinking")) return redacted(d, block, error);
    return str_eq(type, "tool_use") ? tool_start(d, block, error) : OK;
}

static enum err block_delta(struct decode *d, const json_t *event, struct error *error)
{
    struct state *s = d->state;
    const json_t *delta = json_object_get(event, "delta");
    const char *type = member_word(delta, "type"), *text;
    size_t len;
    if (json_integer_value(json_object_get(event, "index")) != s->index) return OK;
    if (s->block == BLOCK_TEXT && str_eq(type, "text_delta")) {
        (void)member_text(delta, "text", &text, &len);
        return decode_text(d, 0, text, len, NULL, 0, error);
    }
    if (s->block == BLOCK_THINKING && str_eq(type, "thinking_delta")) {
        (void)member_text(delta, "thinking", &text, &len);
        return decode_reasoning(d, 0, text, len, error);
    }
    if (s->block == BLOCK_THINKING && str_eq(type, "signature_delta"))
        return decode_signature(d, 0, member_word(delta, "signature"), error);
    if ((s->block == BLOCK_TOOL || s->block == BLOCK_ANSWER) && str_eq(type, "input_json_delta")) {
        (void)member_text(delta, "partial_json", &text, &len);
        return arguments(d, text, len, error);
    }
    return OK;
}

static enum err block_stop(struct decode *d, struct error *error)
{
    struct state *s = d->state;
    enum err e = OK;
    if (s->block == BLOCK_ANSWER && !s->fragments) e = arguments(d, "{}", 2, error);
    s->block = BLOCK_OTHER;
    return e;
}

/* ---- the answer ---------------------------------------------------------------------------- */

/* https://docs.anthropic.com, "Handling stop reasons". */
static enum err stop_reason(struct decode *d, const json_t *from, struct error *error)
{
    const char *word = member_word(from, "stop_reason");
    if (!*word) return OK;
    if (str_eq(word, "max_tokens") || str_eq(word, "model_context_window_exceeded"))
        return decode_finish(d, 0, FINISH_LENGTH, error);
    return decode_finish_at(d, 0, FINISH_STOP, /* end_turn, stop_sequence, tool_use, ... */
                            member_word(from, "stop_sequence"), error);
}

static enum err message_start(struct decode *d, const json_t *event)
{
    const json_t *message = json_object_get(event, "message");
    decode_model(d, member_word(message, "model"));
    read_usage(d, json_object_get(message, "usage"));
    return OK;
}

/* Some servers that speak this protocol send an object of this type without streaming. */
static enum err whole_message(struct decode *d, const json_t *message, struct error *error)
{
    const json_t *content = json_object_get(message, "content");
    enum err e = OK;
    if (!json_is_array(content))
        return err_set(error, ERR_UPSTREAM, "%s answered with no message", d->name);
    decode_model(d, member_word(message, "model"));
    read_usage(d, json_object_get(message, "usage"));
    for (size_t i = 0; i < json_array_size(content) && !e; i++) {
        json_t *block = json_array_get(content, i);
        json_t *event = json_pack("{s:I,s:O}", "index", (json_int_t)i, "content_block", block);
        const char *signature = member_word(block, "signature");
        e = block_start(d, event, error);
        if (!e && *signature && str_eq(member_word(block, "type"), "thinking"))
            e = decode_signature(d, 0, signature, error);
        json_decref(event);
        if (!e && ((struct state *)d->state)->block >= BLOCK_TOOL)
            e = whole_arguments(d, json_object_get(block, "input"), error);
        if (!e) e = block_stop(d, error);
    }
    if (!e) e = stop_reason(d, message, error);
    return e ? e : decode_done(d, error);
}

static enum err one_event(struct decode *d, const json_t *event, struct error *error)
{
    const char *type = member_word(event, "type");
    if (str_eq(type, "message_start")) return message_start(d, event);
    if (str_eq(type, "content_block_start")) return block_start(d, event, error);
    if (str_eq(type, "content_block_delta")) return block_delta(d, event, error);
    if (str_eq(type, "content_block_stop")) return block_stop(d, error);
    if (str_eq(type, "message_delta")) {
        read_usage(d, json_object_get(event, "usage"));
        return stop_reason(d, json_object_get(event, "delta"), error);
    }
    if (str_eq(type, "message_stop")) return decode_done(d, error);
    if (str_eq(type, "error")) return decode_failure(d, event, error);
    return OK; /* ping, and what is invented later */
}

static enum err piece(struct decode *d, const json_t *piece, bool whole, struct error *error)
{
    if (whole && !str_eq(member_word(piece, "type"), "error"))
        return whole_message(d, piece, error);
    return one_event(d, piece, error);
}

/* ---- models -------------------------------------------------------------------------------- */

static enum err models(const json_t *body, struct model_list *list, struct error *error)
{
    const json_t *data = json_object_get(body, "data");
    if (!json_is_array(data))
        return err_set(error, ERR_UPSTREAM, "the answer has no list of models");
    for (size_t i = 0; i < json_array_size(data); i++) {
        const json_t *item = json_array_get(data, i);
        int64_t created_ms = 0;
        struct remote_model m = {.id = member_word(item, "id"),
                                 .name = member_word(item, "display_name"),
                                 .kind = "chat",
                                 .owner = "anthropic",
                                 .context = member_count(item, "max_input_tokens"),
                                 .tools = true,
                                 .images = true};
        if (clock_parse_utc(member_word(item, "created_at"), &created_ms))
            m.created_s = created_ms / 1000;
        list_add(list, &m);
    }
    return OK;
}

static const struct remote_hint hints[] = {
    {"temperature", "temperature"}, {"thinking", "thinking"}, {NULL, NULL}};

const struct protocol remote_anthropic = {
    .name = "anthropic",
    .caps = PROVIDER_GENERATE | PROVIDER_TOOLS | PROVIDER_IMAGES,
    .base_url = "https://api.anthropic.com",
    .drop_path = "/v1",
    .state_size = sizeof(struct state),
    .headers = headers,
    .generate = anthropic_generate,
    .hints = hints,
    .piece = piece,
    .models_path = "/v1/models?limit=1000",
    .models = models,
};
