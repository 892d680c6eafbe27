/* Asking the running hub: see ask.h. */
#include "cmd/ask.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "cmd/term.h"

enum { ANSWER_MAX = 16 << 20, TEXT_MAX = 32 << 20 };

enum err ask_open(const struct cmd_call *call, struct link **out, struct error *error)
{
    const char *url = cmd_opt(call->args, "url");
    char found[LINK_URL_MAX];
    if (!url) {
        struct httpc *http;
        enum err err = httpc_new(&http, error);
        if (err) return err;
        bool runs = link_find_hub(call->config, http, found);
        httpc_free(http);
        if (!runs)
            return err_set(
                error, ERR_NOT_FOUND,
                "no hub is running here; `hearth serve` starts one, --url names another");
        url = found;
    }
    return link_open_remote(call->config, url, out, error);
}

enum err ask(struct link *link, const char *path, const char *body, json_t **out,
             struct error *error)
{
    struct buf answer;
    buf_init(&answer, ANSWER_MAX);
    enum err err =
        body ? link_post(link, path, body, &answer, error) : link_get(link, path, &answer, error);
    if (!err) err = json_parse(buf_str(&answer), answer.len, out, error);
    buf_free(&answer);
    if (!err && !json_is_object(*out)) {
        json_decref(*out);
        err =
            err_set(error, ERR_UPSTREAM, "%s is no hub: %s gave no JSON object", link->where, path);
    }
    return err;
}

static enum err print_piece(const char *text, size_t len, bool tty)
{
    struct buf clean;
    buf_init(&clean, 2 * (size_t)TEXT_MAX);
    if (tty)
        term_clean(&clean, text, len);
    else
        buf_append(&clean, text, len);
    fwrite(buf_str(&clean), 1, clean.len, stdout);
    buf_free(&clean);
    return fflush(stdout) || ferror(stdout) ? ERR_CLOSED : OK;
}

enum err ask_stream(struct link *link, const char *path, const struct buf *body,
                    struct reply *reply, struct reply_end *end, struct error *error)
{
    bool tty = isatty(STDOUT_FILENO), closed = false;
    const char *text;
    size_t len;
    enum reply_wake wake;
    enum err err = link_start(link, path, body->data, body->len, reply, error);
    if (err) return err;
    while ((wake = reply_next(reply, -1, &text, &len, end)) != REPLY_END) {
        if (wake == REPLY_INTERRUPT) link_cancel(link);
        if (wake != REPLY_TEXT || closed) continue;
        closed = print_piece(text, len, tty) != OK;
        if (closed) link_cancel(link);
    }
    if (!closed && (tty || end->error.code == OK)) (void)print_piece("\n", 1, tty);
    if (end->error.code) *error = end->error;
    return closed ? ERR_CLOSED : end->error.code;
}

bool ask_path(char *dst, size_t size, const char *before, const char *name, const char *behind)
{
    struct buf b;
    buf_init_fixed(&b, dst, size);
    buf_puts(&b, before);
    for (const unsigned char *c = (const unsigned char *)name; *c; c++) {
        bool plain = (*c >= '0' && *c <= '9') || (*c >= 'a' && *c <= 'z') ||
                     (*c >= 'A' && *c <= 'Z') || strchr("._-~/:", *c);
        if (plain)
            buf_putc(&b, (char)*c);
        else
            buf_printf(&b, "%%%02X", *c);
    }
    buf_puts(&b, behind);
    return b.err == OK;
}

const json_t *ask_at(const json_t *obj, const char *path)
{
    char part[64];
    while (obj && *path) {
        size_t len = strcspn(path, "/");
        ht_assert(len < sizeof part);
        memcpy(part, path, len);
        part[len] = '\0';
        obj = json_object_get(obj, part);
        path += len + (path[len] == '/');
    }
    return obj;
}

const char *ask_str(const json_t *obj, const char *path)
{
    const char *s = json_string_value(ask_at(obj, path));
    return s ? s : "";
}

double ask_num(const json_t *obj, const char *path)
{
    return json_number_value(ask_at(obj, path));
}

const char *ask_duration(char *dst, size_t size, double ms)
{
    long long s = (long long)(ms / 1000);
    if (ms < 0) ms = 0;
    if (ms < 999.95)
        str_printf(dst, size, "%.1f ms", ms);
    else if (ms < 99950)
        str_printf(dst, size, "%.1f s", ms / 1000);
    else if (s < 3600)
        str_printf(dst, size, "%lld min %lld s", s / 60, s % 60);
    else if (s < 48LL * 3600)
        str_printf(dst, size, "%lld h %lld min", s / 3600, s / 60 % 60);
    else
        str_printf(dst, size, "%lld days", s / 86400);
    return dst;
}

const char *ask_bytes(char *dst, size_t size, double bytes)
{
    return str_from_bytes(dst, size, bytes > 0 ? (uint64_t)bytes : 0);
}

const char *ask_model_state(char *dst, size_t size, const json_t *model)
{
    const char *state = ask_str(model, "meta/state");
    if (json_is_true(ask_at(model, "meta/leaving")))
        str_copy(dst, size, "leaving");
    else if (*ask_str(model, "meta/waits_for"))
        str_copy(dst, size, "waiting");
    else if (str_eq(state, "loading"))
        str_printf(dst, size, "loading %.0f %%", 100 * ask_num(model, "meta/progress"));
    else
        str_copy(dst, size, state);
    return dst;
}

int ask_print(struct buf *text)
{
    struct buf clean;
    int status;
    buf_init(&clean, 2 * (size_t)TEXT_MAX);
    if (isatty(STDOUT_FILENO)) {
        term_clean(&clean, buf_str(text), text->len);
        status = cmd_print(&clean);
    } else {
        status = cmd_print(text);
    }
    buf_free(&clean);
    buf_free(text);
    return status;
}
