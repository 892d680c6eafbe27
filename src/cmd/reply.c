/* An answer of the API taken apart: event stream, JSON document, or error. */
#include "cmd/reply.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/interrupt.h"
#include "httpc/sse.h"

enum {
    EVENT_MAX = 4 << 20,    /* one event of the stream */
    PENDING_MAX = 64 << 20, /* pieces that the owner has not taken yet */
    BODY_MAX = 16 << 20,
};

/* Before each piece in `pending`. */
struct piece {
    enum reply_wake type;
    size_t len;
};

struct reply {
    /* Transport's thread. */
    struct sse_reader *sse;
    int status;
    bool stream;         /* the body is an event stream: known from its first bytes */
    bool stream_done;    /* [DONE] came */
    struct error broken; /* why no more data is taken */
    struct buf body, meta, sources;

    int wake; /* eventfd */
    pthread_mutex_t lock;
    /* Under the lock. */
    struct buf pending;
    bool ended;
    struct reply_end end;

    /* Owner. */
    struct buf taken;
    size_t taken_pos;
};

static bool on_event(void *ctx, const struct sse_event *ev);

struct reply *reply_new(void)
{
    struct reply *r = xcalloc(1, sizeof(*r));
    r->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ht_assert(r->wake >= 0);
    pthread_mutex_init(&r->lock, NULL);
    buf_init(&r->pending, PENDING_MAX);
    buf_init(&r->taken, PENDING_MAX);
    buf_init(&r->body, BODY_MAX);
    buf_init(&r->meta, EVENT_MAX);
    buf_init(&r->sources, EVENT_MAX);
    return r;
}

void reply_free(struct reply *r)
{
    if (!r) return;
    sse_reader_free(r->sse);
    buf_free(&r->pending);
    buf_free(&r->taken);
    buf_free(&r->body);
    buf_free(&r->meta);
    buf_free(&r->sources);
    pthread_mutex_destroy(&r->lock);
    close(r->wake);
    free(r);
}

/* ---- transport's side ----------------------------------------------------------------------- */

static void wake_owner(struct reply *r)
{
    uint64_t one = 1;
    if (write(r->wake, &one, sizeof(one)) < 0) return; /* full: the owner is awake already */
}

static bool push_piece(struct reply *r, enum reply_wake type, const char *text)
{
    struct piece piece = {type, strlen(text)};
    if (piece.len == 0) return true;
    pthread_mutex_lock(&r->lock);
    buf_append(&r->pending, &piece, sizeof(piece));
    enum err err = buf_append(&r->pending, text, piece.len);
    pthread_mutex_unlock(&r->lock);
    if (err) {
        err_set(&r->broken, err, "the answer is larger than %d MiB", PENDING_MAX >> 20);
        return false;
    }
    wake_owner(r);
    return true;
}

/* The code of the table with that name in the API. */
static enum err code_of(const char *api_code)
{
    for (int i = 1; i < ERR_COUNT; i++)
        if (str_eq(err_api_code((enum err)i), api_code)) return (enum err)i;
    return ERR_UPSTREAM;
}

/* {"message", "code", ...} or "..." */
static void take_error(const json_t *e, struct error *out)
{
    const char *message = json_string_value(json_is_string(e) ? e : json_object_get(e, "message"));
    const char *code = json_string_value(json_object_get(e, "code"));
    err_set(out, code_of(code ? code : ""), "%s", message ? message : "the server gave no reason");
}

/* As the member "error". */
static bool read_error(const json_t *root, struct error *out)
{
    const json_t *e = json_object_get(root, "error");
    if (!e || json_is_null(e)) return false;
    take_error(e, out);
    return true;
}

static void read_usage(struct reply *r, const json_t *root)
{
    const json_t *u = json_object_get(root, "usage");
    if (!json_is_object(u)) return;
    const json_t *details = json_object_get(u, "prompt_tokens_details");
    pthread_mutex_lock(&r->lock);
    struct usage *to = &r->end.usage;
    to->prompt_tokens = (int32_t)json_integer_value(json_object_get(u, "prompt_tokens"));
    to->completion_tokens = (int32_t)json_integer_value(json_object_get(u, "completion_tokens"));
    to->cached_tokens = (int32_t)json_integer_value(json_object_get(details, "cached_tokens"));
    pthread_mutex_unlock(&r->lock);
}

static void read_finish(struct reply *r, const char *reason)
{
    if (!reason) return;
    enum finish_reason finish = FINISH_STOP;
    if (str_eq(reason, "length")) finish = FINISH_LENGTH;
    if (str_eq(reason, "tool_calls")) finish = FINISH_TOOL_CALLS;
    pthread_mutex_lock(&r->lock);
    r->end.finish = finish;
    pthread_mutex_unlock(&r->lock);
}

static bool read_chunk(struct reply *r, const json_t *root)
{
    read_usage(r, root);
    const char *model = json_string_value(json_object_get(root, "model"));
    if (model) {
        pthread_mutex_lock(&r->lock);
        str_copy(r->end.model, sizeof(r->end.model), model);
        pthread_mutex_unlock(&r->lock);
    }
    const json_t *choice = json_array_get(json_object_get(root, "choices"), 0);
    if (!choice) return true;
    read_finish(r, json_string_value(json_object_get(choice, "finish_reason")));
    const json_t *delta = json_object_get(choice, "delta");
    const char *thought = json_string_value(json_object_get(delta, "reasoning_content"));
    const char *text = json_string_value(json_object_get(delta, "content"));
    if (!text) text = json_string_value(json_object_get(choice, "text")); /* /v1/completions */
    return (!thought || push_piece(r, REPLY_REASONING, thought)) &&
           (!text || push_piece(r, REPLY_TEXT, text));
}

static void keep_event(struct buf *b, const struct sse_event *ev)
{
    buf_clear(b);
    buf_append(b, ev->data, ev->data_len);
}

/* An event of /api/v1/chat/stream (chat.h); those that are not known here are let pass. */
static bool read_turn(struct reply *r, const struct sse_event *ev, const json_t *root)
{
    const char *name = ev->event, *text = json_string_value(json_object_get(root, "text"));
    if (str_eq(name, "delta")) return !text || push_piece(r, REPLY_TEXT, text);
    if (str_eq(name, "reasoning")) return !text || push_piece(r, REPLY_REASONING, text);
    if (str_eq(name, "meta")) keep_event(&r->meta, ev);
    if (str_eq(name, "sources")) keep_event(&r->sources, ev);
    if (str_eq(name, "done")) {
        read_finish(r, json_string_value(json_object_get(root, "finish_reason")));
        r->stream_done = true;
    }
    if (!str_eq(name, "error")) return true;
    take_error(root, &r->broken);
    return false;
}

static bool on_event(void *ctx, const struct sse_event *ev)
{
    struct reply *r = ctx;
    if (str_eq(ev->data, "[DONE]")) {
        r->stream_done = true;
        return true;
    }
    json_t *root;
    if (json_parse(ev->data, ev->data_len, &root, &r->broken)) {
        err_prefix(&r->broken, "the server sent an event that is not JSON");
        return false;
    }
    bool ok = str_eq(ev->event, "message") ? !read_error(root, &r->broken) && read_chunk(r, root)
                                           : read_turn(r, ev, root);
    json_decref(root);
    return ok;
}

void reply_push_status(struct reply *r, int status)
{
    r->status = status;
}

bool reply_push_data(struct reply *r, const void *data, size_t len)
{
    if (r->broken.code) return false;
    if (len == 0) return true;
    if (!r->sse && r->body.len == 0 && r->status == 200) {
        /* An event stream never begins with a brace, a JSON document never without (the API sends
         * objects only). */
        r->stream = *(const char *)data != '{';
        if (r->stream) r->sse = sse_reader_new(EVENT_MAX, on_event, r);
    }
    if (!r->stream) {
        if (buf_append(&r->body, data, len) == OK) return true;
        err_set(&r->broken, ERR_TOO_LARGE, "the answer is larger than %d MiB", BODY_MAX >> 20);
        return false;
    }
    struct error error;
    if (sse_feed(r->sse, data, len, &error) == OK) return true;
    if (!r->broken.code) r->broken = error;
    return false;
}

static void finish_error(struct reply *r, const struct error *error, struct error *out)
{
    if (r->broken.code) {
        *out = r->broken;
    } else if (error) {
        *out = *error;
    } else if (r->status >= 400) {
        json_t *root = NULL;
        struct error ignored;
        if (json_parse(buf_str(&r->body), r->body.len, &root, &ignored) || !read_error(root, out))
            err_set(out, ERR_UPSTREAM, "the server answered with status %d", r->status);
        json_decref(root);
    } else if (r->stream && !r->stream_done) {
        err_set(out, ERR_NETWORK, "the answer broke off: the hub has ended or was restarted");
    }
}

void reply_push_end(struct reply *r, const struct error *error)
{
    pthread_mutex_lock(&r->lock);
    ht_assert(!r->ended);
    finish_error(r, error, &r->end.error);
    r->end.status = r->status;
    r->end.body = buf_str(&r->body);
    r->end.body_len = r->body.len;
    r->end.meta = buf_str(&r->meta);
    r->end.sources = buf_str(&r->sources);
    r->ended = true;
    wake_owner(r); /* under the lock: the owner may free the reply once it sees `ended` */
    pthread_mutex_unlock(&r->lock);
}

/* ---- owner's side --------------------------------------------------------------------------- */

/* Takes the next piece; REPLY_TIMEOUT when there is none yet. */
static enum reply_wake take(struct reply *r, const char **text, size_t *len, struct reply_end *end)
{
    if (r->taken_pos == r->taken.len) {
        buf_clear(&r->taken);
        r->taken_pos = 0;
        pthread_mutex_lock(&r->lock);
        struct buf swap = r->taken;
        r->taken = r->pending;
        r->pending = swap;
        bool ended = r->ended && r->taken.len == 0;
        if (ended) *end = r->end;
        pthread_mutex_unlock(&r->lock);
        if (ended) return REPLY_END;
        if (r->taken.len == 0) return REPLY_TIMEOUT;
    }
    struct piece piece;
    memcpy(&piece, r->taken.data + r->taken_pos, sizeof(piece));
    r->taken_pos += sizeof(piece);
    ht_assert(piece.len <= r->taken.len - r->taken_pos);
    *text = r->taken.data + r->taken_pos;
    *len = piece.len;
    r->taken_pos += piece.len;
    return piece.type;
}

enum reply_wake reply_next(struct reply *r, int64_t timeout_ms, const char **text, size_t *len,
                           struct reply_end *end)
{
    for (;;) {
        enum reply_wake got = take(r, text, len, end);
        if (got != REPLY_TIMEOUT) return got;
        switch (interrupt_wait(r->wake, timeout_ms)) {
        case WAKE_INTERRUPT: interrupt_clear(); return REPLY_INTERRUPT;
        case WAKE_TIMEOUT: return REPLY_TIMEOUT;
        case WAKE_READY: break;
        }
        uint64_t count;
        if (read(r->wake, &count, sizeof(count)) < 0) continue;
    }
}
