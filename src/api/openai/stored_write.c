/* The writer of a completion that is to be kept: what the client reads comes of the usual writer;
 * beside a stream a second one puts the whole answer together. */
#include <stdlib.h>
#include <string.h>

#include "api/openai/openai_int.h"
#include "api/openai/writer.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "hub/accounts.h"
#include "hub/hub.h"
#include "store/store_answer.h"

struct stored_writer {
    struct writer base;
    struct hub *hub;
    struct stored_info info;
    struct writer *shown, *whole; /* the same one when it is no stream */
    bool made;
    struct buf body; /* the whole answer */
    struct buf none; /* what a whole answer's writer says before its end: nothing */
};

static struct stored_writer *self(struct writer *base)
{
    return container_of(base, struct stored_writer, base);
}

void stored_info_free(struct stored_info *info)
{
    free(info->user_id);
    free(info->input);
    free(info->metadata);
    free(info->more);
    *info = (struct stored_info){0};
}

static enum err stored_event(struct writer *base, size_t part, const struct gen_event *ev,
                             struct buf *out)
{
    struct stored_writer *w = self(base);
    enum err err = writer_event(w->shown, part, ev, out);
    if (!err && w->whole != w->shown) err = writer_event(w->whole, part, ev, &w->none);
    return err;
}

static void make_body(struct stored_writer *w)
{
    if (w->made) return;
    w->made = true;
    if (writer_finish(w->whole, &w->body)) w->body.err = ERR_TOO_LARGE;
}

/* The answer, and behind it what was asked. */
static enum err store_it(struct stored_writer *w, struct error *error)
{
    struct store *s;
    struct auth *auth;
    struct buf text;
    buf_init(&text, 2 * (size_t)ANSWER_BYTES_MAX);
    buf_append(&text, w->body.data, w->body.len ? w->body.len - 1 : 0); /* without its brace */
    buf_puts(&text, w->info.more);
    buf_putc(&text, '}');
    struct store_answer x = {.id = openai_writer_id(w->whole),
                             .user_id = w->info.user_id,
                             .kind = STORE_COMPLETION,
                             .state = STORE_ANSWER_COMPLETED,
                             .model = w->base.model,
                             .metadata = w->info.metadata,
                             .input = w->info.input,
                             .body = buf_str(&text),
                             .local_only = w->info.local_only};
    enum err err = text.err || w->body.err ? err_set(error, ERR_TOO_LARGE, "it is too large")
                                           : accounts_open(w->hub->accounts, &s, &auth, error);
    if (!err) err = store_answer_add(s, &x, NULL, error);
    buf_free(&text);
    return err;
}

static void stored_keep(struct writer *base, const struct error *error)
{
    struct stored_writer *w = self(base);
    struct error why;
    if (error) return; /* half an answer is none */
    make_body(w);
    if (store_it(w, &why))
        log_warn(api, "the completion %s is not kept: %s", openai_writer_id(w->whole), why.msg);
}

static enum err stored_finish(struct writer *base, struct buf *out)
{
    struct stored_writer *w = self(base);
    if (w->shown != w->whole) return writer_finish(w->shown, out);
    make_body(w);
    return w->body.err ? w->body.err : buf_append(out, w->body.data, w->body.len);
}

static void stored_fail(struct writer *base, const struct error *error, const char *request_id,
                        struct buf *out)
{
    struct stored_writer *w = self(base);
    w->shown->ops->fail(w->shown, error, request_id, out);
}

static void stored_free(struct writer *base)
{
    struct stored_writer *w = self(base);
    if (w->whole != w->shown) writer_free(w->whole);
    writer_free(w->shown);
    stored_info_free(&w->info);
    buf_free(&w->body);
    buf_free(&w->none);
    free(w);
}

static const struct writer_ops ops = {
    .name = "stored chat",
    .stream_type = "text/event-stream",
    .errors = &error_openai,
    .event = stored_event,
    .finish = stored_finish,
    .fail = stored_fail,
    .keep = stored_keep,
    .note = write_sse_note,
    .free = stored_free,
};

struct writer *stored_writer_new(struct hub *hub, const struct call *call, struct stored_info *info)
{
    struct stored_writer *w = xcalloc(1, sizeof *w);
    struct call whole = *call;
    writer_init(&w->base, &ops, call);
    w->hub = hub;
    w->info = *info;
    *info = (struct stored_info){0};
    buf_init(&w->body, ANSWER_BYTES_MAX);
    buf_init(&w->none, 1);
    w->shown = w->whole = chat_writer_new(call);
    if (!call->stream) return &w->base;
    whole.stream = false;
    w->whole = chat_writer_new(&whole);
    openai_writer_twin(w->whole, w->shown);
    return &w->base;
}
