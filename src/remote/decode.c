/* Reading an answer: bytes in any pieces -> events of a stream, lines, or a document -> the
 * protocol -> events for the listener, with the promises of remote_int.h. On the net thread. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/id.h"
#include "base/mem.h"
#include "base/str.h"
#include "httpc/sse.h"
#include "remote/core_int.h"

enum framing { FRAMING_SSE, FRAMING_LINES, FRAMING_WHOLE };

enum {
    BYTES_PER_TOKEN = 4, /* of English; for servers that don't count */
    TOOL_ID_MAX = 32,
};

struct decode_choice {
    bool ended, arguments; /* the newest call has some */
    int32_t n_tools;
};

struct decode_int {
    const struct protocol *protocol;
    decode_emit_fn emit;
    void *ctx;
    enum framing framing;
    struct sse_reader *sse;
    struct buf text; /* a line, or the whole body */
    size_t bytes;    /* of the body so far */
    bool started, done, usage_known;
    struct usage usage;
    size_t text_bytes, reasoning_bytes;
    char model[MODEL_ID_MAX];
    struct error failed; /* OK = it did not */
    struct decode_choice choices[GEN_N_MAX];
};

/* ---- what protocols say -------------------------------------------------------------------- */

static enum err bad(const struct decode *d, struct error *error, const char *what)
{
    return err_set(error, ERR_UPSTREAM, "%s sent %s", d->name, what);
}

static enum err choice_of(struct decode *d, int64_t choice, struct decode_choice **out,
                          struct error *error)
{
    if (choice < 0 || choice >= d->n) return bad(d, error, "a choice that nobody asked for");
    *out = &d->in->choices[choice];
    return OK;
}

static void emit(struct decode *d, struct gen_event *ev)
{
    struct decode_int *in = d->in;
    if (!in->started) {
        in->started = true;
        struct gen_event started = {.type = GEN_EV_STARTED, .model = in->model, .usage = in->usage};
        in->emit(in->ctx, &started);
    }
    in->emit(in->ctx, ev);
}

void decode_model(struct decode *d, const char *model)
{
    if (model && *model && !d->in->started) str_copy(d->in->model, sizeof d->in->model, model);
}

static void keep_more(int32_t *kept, int32_t said)
{
    if (said > 0) *kept = said;
}

void decode_usage(struct decode *d, const struct usage *usage)
{
    struct usage *u = &d->in->usage;
    keep_more(&u->prompt_tokens, usage->prompt_tokens);
    keep_more(&u->cached_tokens, usage->cached_tokens);
    keep_more(&u->completion_tokens, usage->completion_tokens);
    keep_more(&u->reasoning_tokens, usage->reasoning_tokens);
    d->in->usage_known = u->prompt_tokens > 0 || u->completion_tokens > 0;
}

enum err decode_text(struct decode *d, int64_t choice, const char *text, size_t len,
                     const struct token_logprob *logprobs, size_t n_logprobs, struct error *error)
{
    struct decode_choice *c = NULL;
    enum err e = choice_of(d, choice, &c, error);
    if (e || c->ended || (len == 0 && n_logprobs == 0)) return e;
    d->in->text_bytes += len;
    struct gen_event ev = {.type = GEN_EV_TEXT,
                           .choice = (int32_t)choice,
                           .text = text,
                           .text_len = len,
                           .logprobs = logprobs,
                           .n_logprobs = n_logprobs};
    emit(d, &ev);
    return OK;
}

enum err decode_reasoning(struct decode *d, int64_t choice, const char *text, size_t len,
                          struct error *error)
{
    struct decode_choice *c = NULL;
    enum err e = choice_of(d, choice, &c, error);
    if (e || c->ended || len == 0) return e;
    d->in->reasoning_bytes += len;
    struct gen_event ev = {
        .type = GEN_EV_REASONING, .choice = (int32_t)choice, .text = text, .text_len = len};
    emit(d, &ev);
    return OK;
}

enum err decode_signature(struct decode *d, int64_t choice, const char *signature,
                          struct error *error)
{
    struct decode_choice *c = NULL;
    enum err e = choice_of(d, choice, &c, error);
    if (e || c->ended || !*signature) return e;
    struct gen_event ev = {
        .type = GEN_EV_REASONING, .choice = (int32_t)choice, .text = "", .signature = signature};
    emit(d, &ev);
    return OK;
}

bool decode_has_tool(const struct decode *d, int64_t choice, int64_t index)
{
    return choice >= 0 && choice < d->n && index >= 0 && index < d->in->choices[choice].n_tools;
}

static void emit_arguments(struct decode *d, int64_t choice, const char *text, size_t len)
{
    struct decode_choice *c = &d->in->choices[choice];
    struct gen_event ev = {.type = GEN_EV_TOOL_CALL, .choice = (int32_t)choice};
    ev.tool.index = c->n_tools - 1;
    ev.tool.arguments = text;
    ev.tool.arguments_len = len;
    c->arguments = true;
    emit(d, &ev);
}

/* A call without arguments has an empty object of them: clients parse the text. */
static void end_tool(struct decode *d, int64_t choice)
{
    const struct decode_choice *c = &d->in->choices[choice];
    if (c->n_tools && !c->arguments) emit_arguments(d, choice, "{}", 2);
}

enum err decode_tool(struct decode *d, int64_t choice, int64_t index, const char *id,
                     const char *name, struct error *error)
{
    struct decode_choice *c = NULL;
    enum err e = choice_of(d, choice, &c, error);
    if (e || c->ended) return e;
    if (index != c->n_tools) return bad(d, error, "its tool calls in a wrong order");
    if (index >= REMOTE_CALLS_MAX) return bad(d, error, "too many tool calls");
    if (!name || !*name) return bad(d, error, "a tool call without a name");
    end_tool(d, choice);
    c->n_tools++;
    c->arguments = false;
    char made[TOOL_ID_MAX]; /* clients tell calls apart by their ids */
    if (!id || !*id) id_make(made, sizeof made, "call_");
    struct gen_event ev = {.type = GEN_EV_TOOL_CALL, .choice = (int32_t)choice};
    ev.tool.index = (int32_t)index;
    ev.tool.id = id && *id ? id : made;
    ev.tool.name = name;
    ev.tool.arguments = "";
    emit(d, &ev);
    return OK;
}

enum err decode_arguments(struct decode *d, int64_t choice, int64_t index, const char *text,
                          size_t len, struct error *error)
{
    struct decode_choice *c = NULL;
    enum err e = choice_of(d, choice, &c, error);
    if (e || c->ended || len == 0) return e;
    if (c->n_tools == 0 || index != c->n_tools - 1)
        return bad(d, error, "arguments of a tool call that is not the newest one");
    d->in->text_bytes += len;
    emit_arguments(d, choice, text, len);
    return OK;
}

enum err decode_arguments_object(struct decode *d, int64_t choice, int64_t index,
                                 const json_t *object, struct error *error)
{
    struct buf text;
    buf_init(&text, REMOTE_PIECE_MAX);
    enum err e = json_dump(object, &text);
    e = e ? err_set(error, e, "%s sent arguments that are too long", d->name)
          : decode_arguments(d, choice, index, buf_str(&text), text.len, error);
    buf_free(&text);
    return e;
}

enum err decode_finish(struct decode *d, int64_t choice, enum finish_reason reason,
                       struct error *error)
{
    return decode_finish_at(d, choice, reason, NULL, error);
}

enum err decode_finish_at(struct decode *d, int64_t choice, enum finish_reason reason,
                          const char *stop, struct error *error)
{
    struct decode_choice *c = NULL;
    enum err e = choice_of(d, choice, &c, error);
    if (e || c->ended) return e;
    end_tool(d, choice);
    if (reason == FINISH_STOP && c->n_tools) reason = FINISH_TOOL_CALLS;
    struct gen_event ev = {.type = GEN_EV_CHOICE_END,
                           .choice = (int32_t)choice,
                           .finish = reason,
                           .stop = stop && *stop ? stop : NULL};
    emit(d, &ev);
    c->ended = true;
    return OK;
}

enum err decode_done(struct decode *d, struct error *error)
{
    for (int32_t i = 0; i < d->n; i++) {
        enum err e = decode_finish(d, i, FINISH_STOP, error);
        if (e) return e;
    }
    d->in->done = true;
    return OK;
}

enum err decode_failure(struct decode *d, const json_t *body, struct error *error)
{
    struct remote_failure f = {0};
    failure_read(body, &f);
    return remote_fail(d->name, &f, error);
}

/* ---- pieces -------------------------------------------------------------------------------- */

static enum err parse(const struct decode *d, const char *data, size_t len, json_t **out,
                      struct error *error)
{
    struct error why;
    json_t *v;
    enum err e = json_parse(data, len, &v, &why);
    if (e == ERR_NOMEM) return err_set(error, e, "no memory for an answer of %s", d->name);
    if (e) return err_set(error, ERR_UPSTREAM, "%s sent bad JSON: %s", d->name, why.msg);
    if (!json_is_object(v)) {
        json_decref(v);
        return bad(d, error, "JSON that is no object");
    }
    *out = v;
    return OK;
}

static enum err give(struct decode *d, const char *data, size_t len)
{
    struct decode_int *in = d->in;
    const struct protocol *p = in->protocol;
    json_t *piece;
    if (in->done) return OK;
    if (p->last_word && str_eq(data, p->last_word)) return decode_done(d, &in->failed);
    enum err e = parse(d, data, len, &piece, &in->failed);
    if (e) return e;
    e = p->piece(d, piece, in->framing == FRAMING_WHOLE, &in->failed);
    json_decref(piece);
    return e;
}

static bool on_event(void *ctx, const struct sse_event *ev)
{
    return give(ctx, ev->data, ev->data_len) == OK;
}

static enum err give_line(struct decode *d)
{
    struct buf *b = &d->in->text;
    size_t len = b->len;
    while (len && (b->data[len - 1] == '\r' || b->data[len - 1] == ' ')) b->data[--len] = '\0';
    enum err e = len ? give(d, buf_str(b), len) : OK;
    buf_clear(b);
    return e;
}

static enum err too_long(struct decode *d, enum err e, size_t max)
{
    if (e == ERR_NOMEM) return err_set(&d->in->failed, e, "no memory for an answer of %s", d->name);
    return err_set(&d->in->failed, ERR_UPSTREAM, "%s sent more than %zu MiB at a time", d->name,
                   max >> 20);
}

static enum err feed_lines(struct decode *d, const char *data, size_t len)
{
    struct decode_int *in = d->in;
    const char *end = data + len;
    while (data < end) {
        const char *stop = memchr(data, '\n', (size_t)(end - data));
        enum err e = buf_append(&in->text, data, (size_t)((stop ? stop : end) - data));
        if (e) return too_long(d, e, REMOTE_PIECE_MAX);
        if (!stop) return OK;
        e = give_line(d);
        if (e) return e;
        data = stop + 1;
    }
    return OK;
}

static enum err feed(struct decode *d, const char *data, size_t len)
{
    struct decode_int *in = d->in;
    struct error why;
    enum err e;
    in->bytes += len;
    if (in->bytes > REMOTE_STREAM_MAX) return too_long(d, ERR_TOO_LARGE, REMOTE_STREAM_MAX);
    switch (in->framing) {
    case FRAMING_SSE:
        e = sse_feed(in->sse, data, len, &why);
        return e && !in->failed.code ? too_long(d, e, REMOTE_PIECE_MAX) : in->failed.code;
    case FRAMING_LINES: return feed_lines(d, data, len);
    case FRAMING_WHOLE:
        e = buf_append(&in->text, data, len);
        return e ? too_long(d, e, REMOTE_PIECE_MAX) : OK;
    }
    return OK;
}

enum err decode_feed(struct decode *d, const char *data, size_t len, struct error *error)
{
    struct decode_int *in = d->in;
    if (!in->failed.code && !in->done) (void)feed(d, data, len);
    if (in->failed.code && error) *error = in->failed;
    return in->failed.code;
}

static enum err end_of_body(struct decode *d)
{
    struct decode_int *in = d->in;
    enum err e = OK;
    if (in->framing != FRAMING_SSE && in->text.len) e = give_line(d);
    if (e || in->done) return e;
    if (in->protocol->end && !in->done) e = in->protocol->end(d, &in->failed);
    if (e || in->done) return e;
    for (int32_t i = 0; i < d->n; i++)
        if (!in->choices[i].ended)
            return err_set(&in->failed, ERR_NETWORK, "%s ended its answer too early", d->name);
    return decode_done(d, &in->failed);
}

enum err decode_end(struct decode *d, struct error *error)
{
    struct decode_int *in = d->in;
    if (!in->failed.code && !in->done) (void)end_of_body(d);
    if (in->failed.code && error) *error = in->failed;
    return in->failed.code;
}

/* ---- life ---------------------------------------------------------------------------------- */

void decode_init(struct decode *d, const struct protocol *protocol, const char *name,
                 enum gen_kind kind, int32_t n, const char *model, decode_emit_fn emit_fn,
                 void *ctx)
{
    ht_assert(n >= 1 && n <= GEN_N_MAX);
    struct decode_int *in = xcalloc(1, sizeof *in);
    *d = (struct decode){.name = name, .n = n, .kind = kind, .in = in};
    d->state = protocol->state_size ? xcalloc(1, protocol->state_size) : NULL;
    in->protocol = protocol;
    in->emit = emit_fn;
    in->ctx = ctx;
    in->framing = protocol->lines ? FRAMING_LINES : FRAMING_SSE;
    str_copy(in->model, sizeof in->model, model);
    buf_init(&in->text, REMOTE_PIECE_MAX);
}

void decode_free(struct decode *d)
{
    if (!d->in) return;
    if (d->in->protocol->state_free) d->in->protocol->state_free(d->state);
    sse_reader_free(d->in->sse);
    buf_free(&d->in->text);
    free(d->in);
    free(d->state);
    *d = (struct decode){0};
}

static bool is_type(const char *type, const char *word)
{
    size_t len = strlen(word);
    return strncasecmp(type, word, len) == 0 && (!type[len] || strchr("; \t", type[len]));
}

/* A server that says nothing of its type is taken to speak as its protocol does. */
enum err decode_type(struct decode *d, const char *type, struct error *error)
{
    static const char *const lines[] = {"application/x-ndjson", "application/ndjson",
                                        "application/jsonl", "application/stream+json"};
    struct decode_int *in = d->in;
    if (type && is_type(type, "text/event-stream")) {
        in->framing = FRAMING_SSE;
    } else if (type && is_type(type, "application/json")) {
        in->framing = in->protocol->lines ? FRAMING_LINES : FRAMING_WHOLE;
    } else if (type && *type) {
        bool known = false;
        for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) known |= is_type(type, lines[i]);
        in->framing = FRAMING_LINES;
        if (!known)
            return err_set(error, ERR_UPSTREAM,
                           "%s answers with \"%.60s\", which is no stream; is its base URL right?",
                           d->name, type);
    }
    if (in->framing == FRAMING_SSE && !in->sse)
        in->sse = sse_reader_new(REMOTE_PIECE_MAX, on_event, d);
    return OK;
}

bool decode_is_done(const struct decode *d)
{
    return d->in && d->in->done;
}

bool decode_has_started(const struct decode *d)
{
    return d->in && d->in->started;
}

const char *decode_model_name(const struct decode *d)
{
    return d->in->model;
}

bool decode_usage_told(const struct decode *d)
{
    return d->in->usage_known && d->in->done;
}

void decode_usage_sum(const struct decode *d, size_t text_bytes, struct usage *out)
{
    const struct decode_int *in = d->in;
    *out = in->usage;
    if (decode_usage_told(d)) return;
    /* What was told at the start of an answer that did not come to its end is no count of it. */
    int32_t thought = (int32_t)((in->reasoning_bytes + 3) / BYTES_PER_TOKEN);
    int32_t said = (int32_t)((in->text_bytes + 3) / BYTES_PER_TOKEN) + thought;
    if (!in->usage_known) out->prompt_tokens = (int32_t)(text_bytes / BYTES_PER_TOKEN + 1);
    if (out->reasoning_tokens < thought) out->reasoning_tokens = thought;
    if (out->completion_tokens < said) out->completion_tokens = said;
}
