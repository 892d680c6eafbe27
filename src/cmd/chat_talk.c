/* One question to the link, its answer onto the screen while it comes. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/chat_int.h"
#include "cmd/flow.h"
#include "cmd/markdown.h"

enum { BODY_MAX = 64 << 20, SCREEN_MAX = 64 << 20, WAIT_SIGN_MS = 500 };

/* What shows one answer. */
struct view {
    const struct chat *chat;
    struct markdown *markdown; /* terminal only */
    struct flow thoughts;      /* terminal only */
    struct buf screen;         /* what goes out next */
    struct buf answer;         /* the text as the model said it */
    bool thinking;             /* reasoning was shown last */
    bool waiting;              /* the sign that nothing came yet is on the screen */
    bool closed;               /* standard output takes no more */
    int64_t asked_ms, first_ms;
};

static void put_out(struct view *v)
{
    if (v->closed || v->screen.len == 0) return;
    fwrite(v->screen.data, 1, v->screen.len, stdout);
    if (fflush(stdout) || ferror(stdout)) v->closed = true;
    buf_clear(&v->screen);
}

static void show_waiting(struct view *v, bool on)
{
    if (v->waiting == on || !v->chat->tty || v->chat->style == TERM_RAW) return;
    buf_puts(&v->screen, on ? "\033[2m\u2026\033[0m" : "\r\033[K");
    v->waiting = on;
}

/* The thoughts are over, or the answer is. */
static void end_thoughts(struct view *v, bool answer_follows)
{
    if (!v->thinking) return;
    v->thoughts.out = &v->screen;
    flow_newline(&v->thoughts);
    if (answer_follows) buf_putc(&v->screen, '\n');
    v->thinking = false;
}

static void show_text(struct view *v, const char *text, size_t len)
{
    if (v->first_ms < 0) v->first_ms = clock_mono_ms() - v->asked_ms;
    buf_append(&v->answer, text, len);
    if (!v->chat->tty) {
        buf_append(&v->screen, text, len);
        return;
    }
    end_thoughts(v, true);
    markdown_feed(v->markdown, text, len, &v->screen);
}

/* Thoughts are dim on a terminal and left out of what a pipe gets. */
static void show_reasoning(struct view *v, const char *text, size_t len)
{
    if (!v->chat->tty) return;
    struct buf clean;
    buf_init(&clean, SCREEN_MAX);
    term_clean(&clean, text, len);
    v->thinking = true;
    v->thoughts.out = &v->screen;
    for (const char *p = buf_str(&clean); *p;) {
        size_t line = strcspn(p, "\n");
        flow_text(&v->thoughts, LOOK_DIM, p, line);
        p += line;
        if (*p == '\n') {
            flow_newline(&v->thoughts);
            p++;
        }
    }
    buf_free(&clean);
}

static void show_end(struct view *v)
{
    show_waiting(v, false);
    end_thoughts(v, false);
    if (v->markdown)
        markdown_end(v->markdown, &v->screen);
    else if (v->answer.len && v->answer.data[v->answer.len - 1] != '\n')
        buf_putc(&v->screen, '\n');
    put_out(v);
}

/* ---- the request ---------------------------------------------------------------------------- */

static void put_message(struct jw *w, const char *role, const char *content)
{
    jw_obj(w);
    jw_kstr(w, "role", role);
    jw_kstr(w, "content", content);
    jw_obj_end(w);
}

static void put_sampling(const struct chat *c, struct jw *w)
{
    if (c->has_temperature) jw_kdouble(w, "temperature", c->temperature);
    if (c->has_top_p) jw_kdouble(w, "top_p", c->top_p);
    if (c->has_max_tokens) jw_kint(w, "max_tokens", c->max_tokens);
    if (c->has_seed) jw_kint(w, "seed", c->seed);
    if (!c->schema) return;
    jw_key(w, "response_format");
    jw_obj(w);
    jw_kstr(w, "type", "json_schema");
    jw_key(w, "json_schema");
    jw_obj(w);
    jw_kstr(w, "name", "answer");
    jw_key(w, "schema");
    jw_raw(w, c->schema, strlen(c->schema));
    jw_obj_end(w);
    jw_obj_end(w);
}

static void build_body(const struct chat *c, const char *question, struct buf *out)
{
    struct jw w;
    jw_init(&w, out);
    jw_obj(&w);
    if (c->model) jw_kstr(&w, "model", c->model);
    if (c->adapter) jw_kstr(&w, "adapter", c->adapter);
    if (c->provider) jw_kstr(&w, "source", c->provider);
    if (c->local_only) jw_kbool(&w, "local_only", true);
    jw_key(&w, "messages");
    jw_arr(&w);
    if (c->system) put_message(&w, "system", c->system);
    size_t i;
    const json_t *m;
    json_array_foreach (c->messages, i, m)
        put_message(&w, json_string_value(json_object_get(m, "role")),
                    json_string_value(json_object_get(m, "content")));
    put_message(&w, "user", question);
    jw_arr_end(&w);
    jw_kbool(&w, "stream", true);
    jw_key(&w, "stream_options");
    jw_obj(&w);
    jw_kbool(&w, "include_usage", true);
    jw_obj_end(&w);
    put_sampling(c, &w);
    jw_obj_end(&w);
}

/* ---- the conversation ----------------------------------------------------------------------- */

static void add_message(struct chat *c, const char *role, const char *text, size_t len)
{
    json_t *content = json_stringn(text, len);
    if (!content) content = json_string(""); /* not UTF-8: the API never sends that */
    json_array_append_new(c->messages, json_pack("{s:s, s:o}", "role", role, "content", content));
}

char *chat_undo(struct chat *c)
{
    char *question = NULL;
    while (!question && json_array_size(c->messages) > 0) {
        size_t last = json_array_size(c->messages) - 1;
        const json_t *m = json_array_get(c->messages, last);
        if (str_eq(json_string_value(json_object_get(m, "role")), "user"))
            question = xstrdup(json_string_value(json_object_get(m, "content")));
        json_array_remove(c->messages, last);
    }
    return question;
}

/* ---- asking --------------------------------------------------------------------------------- */

/* Takes pieces until the end; *stopped when Ctrl-C ended it. */
static void receive(struct chat *c, struct view *v, struct reply *reply, bool *stopped,
                    struct reply_end *end)
{
    const char *text = NULL;
    size_t len = 0;
    for (;;) {
        switch (reply_next(reply,
                           v->first_ms < 0 && !v->waiting && !v->thinking ? WAIT_SIGN_MS : -1,
                           &text, &len, end)) {
        case REPLY_TEXT:
            show_waiting(v, false);
            show_text(v, text, len);
            break;
        case REPLY_REASONING:
            show_waiting(v, false);
            show_reasoning(v, text, len);
            break;
        case REPLY_TIMEOUT:
            if (v->first_ms < 0 && !v->thinking) show_waiting(v, true);
            break;
        case REPLY_INTERRUPT:
            *stopped = true;
            link_cancel(c->link);
            break;
        case REPLY_END: return;
        }
        put_out(v);
        if (v->closed && !*stopped) {
            *stopped = true;
            link_cancel(c->link);
        }
    }
}

static enum err finish(struct chat *c, struct view *v, const char *question, bool *stopped,
                       const struct reply_end *end, struct error *error)
{
    bool begun = v->answer.len > 0;
    if (v->closed) return err_set(error, ERR_CLOSED, "nobody reads the answer any more");
    if (end->error.code && !(*stopped && begun)) {
        *error = end->error;
        if (*stopped) err_set(error, ERR_CANCELLED, "stopped before the answer began");
        return error->code;
    }
    c->stats.usage = end->usage;
    c->stats.first_ms = v->first_ms;
    c->stats.total_ms = clock_mono_ms() - v->asked_ms;
    str_copy(c->stats.model, sizeof(c->stats.model), end->model);
    add_message(c, "user", question, strlen(question));
    add_message(c, "assistant", buf_str(&v->answer), v->answer.len);
    if (!*stopped && end->finish == FINISH_LENGTH && isatty(STDERR_FILENO))
        fprintf(stderr, "[the answer was cut: it reached its limit or the end of the context]\n");
    return OK;
}

enum err chat_ask(struct chat *c, const char *question, bool *stopped, struct error *error)
{
    struct buf body;
    buf_init(&body, BODY_MAX);
    build_body(c, question, &body);
    if (body.err) {
        buf_free(&body);
        return err_set(error, ERR_TOO_LARGE,
                       "the conversation is larger than %d MiB; /new starts "
                       "over",
                       BODY_MAX >> 20);
    }
    struct view v = {.chat = c, .asked_ms = clock_mono_ms(), .first_ms = -1};
    buf_init(&v.screen, SCREEN_MAX);
    buf_init(&v.answer, SCREEN_MAX);
    if (c->tty) v.markdown = markdown_new(term_width(STDOUT_FILENO), c->style);
    flow_init(&v.thoughts, term_width(STDOUT_FILENO), c->style);
    struct reply *reply = reply_new();
    *stopped = false;
    enum err err = link_start(c->link, "/v1/chat/completions", body.data, body.len, reply, error);
    if (err == OK) {
        struct reply_end end;
        receive(c, &v, reply, stopped, &end);
        show_end(&v);
        err = finish(c, &v, question, stopped, &end, error);
    }
    reply_free(reply);
    markdown_free(v.markdown);
    flow_free(&v.thoughts);
    buf_free(&v.screen);
    buf_free(&v.answer);
    buf_free(&body);
    return err;
}
