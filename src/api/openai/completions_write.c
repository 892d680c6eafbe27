/* Raw completions (OpenAI's older API), as chunks or whole: see writer.h. Choices are numbered
 * prompt by prompt, n of each. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api/openai/openai_int.h"
#include "api/openai/writer.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/str.h"

/* The four lists of a "logprobs" object, comma-separated and without their brackets. */
struct logprob_lists {
    struct buf tokens, logprobs, top, offsets;
};

struct choice_state {
    int64_t n_chars;            /* of the text so far: the next token's text_offset */
    struct logprob_lists lists; /* whole */
    struct buf text;            /* whole; of a stream what is echoed, until it is written */
    enum finish_reason finish;  /* whole */
};

struct completion_writer {
    struct openai_writer base;
    size_t n; /* choices of each prompt */
    struct choice_state choices[];
};

/* ---- log probabilities --------------------------------------------------------------------- */

static void lists_init(struct logprob_lists *l)
{
    struct buf *all[] = {&l->tokens, &l->logprobs, &l->top, &l->offsets};
    for (size_t i = 0; i < 4; i++) buf_init(all[i], ANSWER_BYTES_MAX);
}

static void lists_free(struct logprob_lists *l)
{
    struct buf *all[] = {&l->tokens, &l->logprobs, &l->top, &l->offsets};
    for (size_t i = 0; i < 4; i++) buf_free(all[i]);
}

/* A token that is a part of a character is written as OpenAI does, "bytes:\xe2\x82", so that the
 * members of top_logprobs stay distinct. */
static void write_token(struct buf *out, const struct logprob_alt *alt)
{
    if (utf8_valid(alt->text, alt->len)) {
        write_json_string(out, alt->text, alt->len);
        return;
    }
    buf_puts(out, "\"bytes:");
    for (size_t i = 0; i < alt->len; i++)
        buf_printf(out, "\\\\x%02x", (unsigned)(unsigned char)alt->text[i]);
    buf_putc(out, '"');
}

static int64_t count_chars(const char *s, size_t len)
{
    int64_t n = 0;
    for (size_t i = 0; i < len; i++) n += ((unsigned char)s[i] & 0xC0) != 0x80;
    return n;
}

static void add_token(struct logprob_lists *l, const struct token_logprob *t, int64_t offset)
{
    const char *comma = l->tokens.len ? "," : "";
    buf_puts(&l->tokens, comma);
    write_token(&l->tokens, &t->chosen);
    buf_puts(&l->logprobs, comma);
    write_logprob(&l->logprobs, t->chosen.logprob);
    buf_printf(&l->offsets, "%s%lld", comma, (long long)offset);
    buf_printf(&l->top, "%s{", comma);
    for (size_t i = 0; i < t->n_top; i++) {
        if (i) buf_putc(&l->top, ',');
        write_token(&l->top, &t->top[i]);
        buf_putc(&l->top, ':');
        write_logprob(&l->top, t->top[i].logprob);
    }
    buf_putc(&l->top, '}');
}

static enum err add_tokens(struct logprob_lists *l, const struct gen_event *ev, int64_t offset)
{
    for (size_t i = 0; i < ev->n_logprobs; i++) {
        const struct token_logprob *t = &ev->logprobs[i];
        add_token(l, t, offset);
        offset += count_chars(t->chosen.text, t->chosen.len);
    }
    const struct buf *all[] = {&l->tokens, &l->logprobs, &l->top, &l->offsets};
    for (size_t i = 0; i < 4; i++)
        if (all[i]->err) return all[i]->err;
    return OK;
}

static void write_lists(struct buf *out, const struct logprob_lists *l)
{
    buf_puts(out, "{\"tokens\":[");
    buf_append(out, buf_str(&l->tokens), l->tokens.len);
    buf_puts(out, "],\"token_logprobs\":[");
    buf_append(out, buf_str(&l->logprobs), l->logprobs.len);
    buf_puts(out, "],\"top_logprobs\":[");
    buf_append(out, buf_str(&l->top), l->top.len);
    buf_puts(out, "],\"text_offset\":[");
    buf_append(out, buf_str(&l->offsets), l->offsets.len);
    buf_puts(out, "]}");
}

/* ---- prompts of gaps ----------------------------------------------------------------------- */

/* The engine sees such a prompt as tokens among marks, and could not give it back as it came: it is
 * the first piece of the text here. */
static void echo_gap(struct choice_state *c, const char *prompt)
{
    buf_puts(&c->text, prompt);
    c->n_chars = count_chars(prompt, strlen(prompt));
}

static void stream_echo(struct completion_writer *w, size_t choice, struct buf *out)
{
    struct choice_state *c = &w->choices[choice];
    if (!c->text.len) return;
    writer_open_chunk(&w->base, out, choice);
    buf_puts(out, ",\"text\":");
    write_json_string(out, c->text.data, c->text.len);
    buf_puts(out, ",\"logprobs\":null");
    writer_close_chunk(&w->base, out, NULL);
    buf_clear(&c->text);
}

/* ---- events -------------------------------------------------------------------------------- */

static enum err stream_event(struct completion_writer *w, size_t choice, const struct gen_event *ev,
                             struct buf *out)
{
    bool end = ev->type == GEN_EV_CHOICE_END;
    if (!end && ev->text_len == 0 && ev->n_logprobs == 0) return OK;
    stream_echo(w, choice, out);
    writer_open_chunk(&w->base, out, choice);
    buf_puts(out, ",\"text\":");
    write_json_string(out, end ? "" : ev->text, end ? 0 : ev->text_len);
    buf_puts(out, ",\"logprobs\":");
    enum err err = OK;
    if (!end && w->base.logprobs && ev->n_logprobs) {
        struct logprob_lists lists;
        lists_init(&lists);
        err = add_tokens(&lists, ev, w->choices[choice].n_chars);
        write_lists(out, &lists);
        lists_free(&lists);
    } else {
        buf_puts(out, "null");
    }
    writer_close_chunk(&w->base, out, end ? finish_word(ev->finish) : NULL);
    return err ? err : out->err;
}

static enum err whole_event(struct choice_state *c, const struct gen_event *ev)
{
    if (ev->type == GEN_EV_CHOICE_END) {
        c->finish = ev->finish;
        return OK;
    }
    enum err err = add_tokens(&c->lists, ev, c->n_chars);
    return err ? err : buf_append(&c->text, ev->text, ev->text_len);
}

/* A raw prompt is not parsed for reasoning or tool calls: whatever comes is text. */
static enum err completion_event(struct writer *base, size_t part, const struct gen_event *ev,
                                 struct buf *out)
{
    struct completion_writer *w = container_of(base, struct completion_writer, base.base);
    if (ev->type == GEN_EV_STARTED || ev->type == GEN_EV_TOOL_CALL || ev->type == GEN_EV_DONE)
        return OK;
    ht_assert(ev->choice >= 0 && (size_t)ev->choice < w->n);
    size_t choice = part * w->n + (size_t)ev->choice;
    struct choice_state *c = &w->choices[choice];
    enum err err = base->stream ? stream_event(w, choice, ev, out) : whole_event(c, ev);
    if (ev->type != GEN_EV_CHOICE_END) c->n_chars += count_chars(ev->text, ev->text_len);
    return err;
}

static enum err completion_finish(struct writer *base, struct buf *out)
{
    struct completion_writer *w = container_of(base, struct completion_writer, base.base);
    if (base->stream) {
        writer_last_chunks(&w->base, out);
        return out->err;
    }
    struct jw jw;
    jw_init(&jw, out);
    writer_whole_begin(&w->base, &jw);
    for (size_t i = 0; i < w->base.n_choices; i++) {
        const struct choice_state *c = &w->choices[i];
        jw_obj(&jw);
        jw_kint(&jw, "index", (int64_t)i);
        jw_key(&jw, "text");
        jw_strn(&jw, buf_str(&c->text), c->text.len);
        jw_key(&jw, "logprobs");
        if (w->base.logprobs) {
            jw_raw(&jw, "", 0);
            write_lists(out, &c->lists);
        } else {
            jw_null(&jw);
        }
        jw_kstr(&jw, "finish_reason", finish_word(c->finish));
        jw_obj_end(&jw);
    }
    writer_whole_end(&w->base, &jw);
    return out->err;
}

static void completion_free(struct writer *base)
{
    struct completion_writer *w = container_of(base, struct completion_writer, base.base);
    for (size_t i = 0; i < w->base.n_choices; i++) {
        buf_free(&w->choices[i].text);
        lists_free(&w->choices[i].lists);
    }
    openai_writer_deinit(&w->base);
    free(w);
}

static const struct writer_ops completion_ops = {
    .name = "completion",
    .stream_type = "text/event-stream",
    .errors = &error_openai,
    .event = completion_event,
    .finish = completion_finish,
    .fail = openai_write_failure,
    .note = write_sse_note,
    .free = completion_free,
};

struct writer *completion_writer_new(const struct call *call)
{
    size_t n = (size_t)call->requests[0]->n, total = n * call->n_requests;
    struct completion_writer *w = xcalloc(1, sizeof *w + total * sizeof w->choices[0]);
    openai_writer_init(&w->base, &completion_ops, "text_completion", "cmpl-", call);
    w->n = n;
    for (size_t i = 0; i < total; i++) {
        buf_init(&w->choices[i].text, ANSWER_BYTES_MAX);
        lists_init(&w->choices[i].lists);
        const struct gen_request *req = call->requests[i / n];
        if (call->questions && req->echo) echo_gap(&w->choices[i], req->prompt);
    }
    return &w->base.base;
}
