/* The interactive session: prompt, answer, and the /commands out of a table. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/chat_int.h"
#include "cmd/interrupt.h"

enum { LIST_MAX = 4 << 20 };

struct repl {
    struct chat *chat;
    struct chat_input *input;
    char *failed;   /* the question whose answer failed, for /retry */
    char *saved_as; /* the file of the last /save or /load: saving there again needs no "!" */
    bool done;
};

static void say(const char *fmt, ...) HT_PRINTF(1, 2);

/* A line to the person, cleaned: models and servers have a say in some of them. */
static void say(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    char *text = NULL;
    int n = vasprintf(&text, fmt, args);
    va_end(args);
    if (n < 0) return;
    struct buf clean;
    buf_init(&clean, LIST_MAX);
    term_clean(&clean, text, (size_t)n);
    printf("%s\n", buf_str(&clean));
    fflush(stdout);
    buf_free(&clean);
    free(text);
}

/* ---- asking --------------------------------------------------------------------------------- */

static void ask(struct repl *r, const char *question)
{
    struct error error;
    bool stopped;
    interrupt_clear();
    enum err err = chat_ask(r->chat, question, &stopped, &error);
    if (err == OK) {
        free(r->failed);
        r->failed = NULL;
        if (stopped) say("[stopped]");
        return;
    }
    if (r->failed != question) {
        free(r->failed);
        r->failed = xstrdup(question);
    }
    if (err == ERR_CANCELLED) {
        say("[stopped; /retry asks again]");
    } else if (err == ERR_CONTEXT) {
        say("%s", error.msg);
        say("The conversation is as it was before this question. /undo drops its last exchange, "
            "/new starts over (/save FILE keeps it first), /retry asks again.");
    } else if (err == ERR_CLOSED) {
        r->done = true;
    } else {
        say("%s", error.msg);
        say("[nothing is lost; /retry asks again]");
    }
}

/* ---- commands ------------------------------------------------------------------------------- */

static void do_new(struct repl *r, const char *arg)
{
    (void)arg;
    json_array_clear(r->chat->messages);
    free(r->failed);
    r->failed = NULL;
    say("[new conversation%s]", r->chat->system ? "; the system prompt stays" : "");
}

static void do_system(struct repl *r, const char *arg)
{
    struct chat *c = r->chat;
    if (!*arg) {
        say("%s", c->system ? c->system : "[no system prompt; /system TEXT sets one]");
        return;
    }
    free(c->system);
    c->system = str_eq(arg, "-") ? NULL : xstrdup(arg);
    say(c->system ? "[system prompt set]" : "[system prompt removed]");
}

/* Path of one model in the API, the name percent-encoded. */
static void model_path(const char *name, struct buf *out)
{
    buf_puts(out, "/v1/models/");
    for (; *name; name++) {
        unsigned char ch = (unsigned char)*name;
        bool plain = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') ||
                     (ch >= '0' && ch <= '9') || strchr("-._~", ch);
        if (plain)
            buf_putc(out, (char)ch);
        else
            buf_printf(out, "%%%02X", ch);
    }
}

static void do_model(struct repl *r, const char *arg)
{
    struct chat *c = r->chat;
    if (!*arg) {
        const char *name = c->model         ? c->model
                           : c->link->local ? c->link->model.id
                                            : c->stats.model;
        say("%s", *name ? name : "[the hub's default model; /models lists all]");
        return;
    }
    struct buf path, body;
    struct error error;
    buf_init(&path, 1024);
    buf_init(&body, LIST_MAX);
    model_path(arg, &path);
    if (path.err)
        say("that is no model's name");
    else if (link_get(c->link, buf_str(&path), &body, &error))
        say("%s", error.msg);
    else {
        free(c->model);
        c->model = xstrdup(arg);
        say("[%s answers from now on]", arg);
    }
    buf_free(&path);
    buf_free(&body);
}

static void do_models(struct repl *r, const char *arg)
{
    (void)arg;
    struct buf body;
    struct error error;
    json_t *root = NULL;
    buf_init(&body, LIST_MAX);
    if (link_get(r->chat->link, "/v1/models", &body, &error) ||
        json_parse(buf_str(&body), body.len, &root, &error)) {
        say("%s", error.msg);
    } else {
        size_t i;
        const json_t *m;
        json_array_foreach (json_object_get(root, "data"), i, m) {
            const char *id = json_string_value(json_object_get(m, "id"));
            if (id) say("  %s", id);
        }
    }
    json_decref(root);
    buf_free(&body);
}

static void remember_file(struct repl *r, const char *path)
{
    if (r->saved_as == path) return;
    free(r->saved_as);
    r->saved_as = xstrdup(path);
}

static void save(struct repl *r, const char *path, bool overwrite)
{
    struct error error;
    if (!*path) path = r->saved_as ? r->saved_as : "";
    if (!*path)
        say("/save FILE");
    else if (chat_save(r->chat, path, overwrite || str_eq(path, r->saved_as), &error))
        say("%s", error.msg);
    else {
        say("[saved to %s]", path);
        remember_file(r, path);
    }
}

static void do_save(struct repl *r, const char *arg)
{
    save(r, arg, false);
}

static void do_save_over(struct repl *r, const char *arg)
{
    save(r, arg, true);
}

static void do_load(struct repl *r, const char *arg)
{
    struct error error;
    if (!*arg)
        say("/load FILE");
    else if (chat_load(r->chat, arg, &error))
        say("%s", error.msg);
    else {
        remember_file(r, arg);
        say("[loaded %s: %zu messages]", arg, json_array_size(r->chat->messages));
    }
}

static void do_retry(struct repl *r, const char *arg)
{
    (void)arg;
    char *question = r->failed ? xstrdup(r->failed) : chat_undo(r->chat);
    if (!question) {
        say("[nothing was asked yet]");
        return;
    }
    ask(r, question);
    free(question);
}

static void do_undo(struct repl *r, const char *arg)
{
    (void)arg;
    char *question = chat_undo(r->chat);
    if (question)
        say("[removed: %.60s%s]", question, strlen(question) > 60 ? "..." : "");
    else
        say("[the conversation is empty]");
    free(question);
}

static void show_settings(const struct chat *c)
{
    char text[3][32] = {"default", "default", "default"};
    if (c->has_temperature) str_printf(text[0], sizeof(text[0]), "%g", c->temperature);
    if (c->has_top_p) str_printf(text[1], sizeof(text[1]), "%g", c->top_p);
    if (c->has_max_tokens) str_printf(text[2], sizeof(text[2]), "%lld", (long long)c->max_tokens);
    say("  temperature  %s\n  top_p        %s\n  max_tokens   %s", text[0], text[1], text[2]);
    if (c->has_seed)
        say("  seed         %lld", (long long)c->seed);
    else
        say("  seed         random");
}

static void do_set(struct repl *r, const char *arg)
{
    struct chat *c = r->chat;
    char name[32], value[64];
    size_t len = strcspn(arg, " ");
    if (!*arg) {
        show_settings(c);
        return;
    }
    const char *rest = arg + len + strspn(arg + len, " ");
    bool fits = len < sizeof(name) && str_copy(value, sizeof(value), rest);
    str_printf(name, sizeof(name), "%.*s", (int)len, arg);
    bool reset = str_eq(rest, "default"), ok = fits && *rest;
    if (str_eq(name, "temperature")) {
        ok = ok && (reset || str_to_double(value, 0, 100, &c->temperature));
        if (ok) c->has_temperature = !reset;
    } else if (str_eq(name, "top_p")) {
        ok = ok && (reset || str_to_double(value, 0, 1, &c->top_p));
        if (ok) c->has_top_p = !reset;
    } else if (str_eq(name, "max_tokens")) {
        ok = ok && (reset || str_to_i64(value, 1, INT32_MAX, &c->max_tokens));
        if (ok) c->has_max_tokens = !reset;
    } else if (str_eq(name, "seed")) {
        ok = ok && (reset || str_to_i64(value, 0, UINT32_MAX - 1, &c->seed));
        if (ok) c->has_seed = !reset;
    } else {
        say("/set temperature 0..100, top_p 0..1, max_tokens N, seed N; \"default\" resets");
        return;
    }
    if (ok)
        show_settings(c);
    else
        say("'%s' is no value for %s; \"default\" resets it", rest, name);
}

/* "name", with what is to be said about it. */
static void list_adapter(const json_t *a, const char *current)
{
    const char *name = json_string_value(json_object_get(a, "name"));
    const char *why = json_string_value(json_object_get(a, "error"));
    if (!name) return;
    if (why)
        say("  %s (can't be used: %s)", name, why);
    else
        say("  %s%s", name, str_eq(name, current) ? " (the hub's default)" : "");
}

static void list_adapters(struct chat *c)
{
    struct buf body;
    struct error error;
    json_t *root = NULL, *a;
    size_t i;
    buf_init(&body, LIST_MAX);
    if (link_get(c->link, "/adapters", &body, &error) ||
        json_parse(buf_str(&body), body.len, &root, &error)) {
        say("%s", error.msg);
    } else {
        const char *current = json_string_value(json_object_get(root, "current"));
        const json_t *list = json_object_get(root, "adapters");
        const char *lost = json_string_value(json_object_get(root, "current_error"));
        if (lost) say("[%s]", lost);
        if (json_array_size(list) == 0) say("[no adapters; see docs/adapters.md]");
        json_array_foreach (list, i, a) list_adapter(a, current ? current : "base");
    }
    json_decref(root);
    buf_free(&body);
}

/* A wrong name is told by the next answer, which alone knows the model. */
static void do_adapter(struct repl *r, const char *arg)
{
    struct chat *c = r->chat;
    if (!*arg) {
        say("%s", c->adapter ? c->adapter : "[the hub's default]");
        list_adapters(c);
        return;
    }
    free(c->adapter);
    c->adapter = xstrdup(arg);
    say("[adapter %s from now on]", arg);
}

static void do_stats(struct repl *r, const char *arg)
{
    (void)arg;
    const struct chat_stats *s = &r->chat->stats;
    if (s->total_ms == 0 && s->usage.completion_tokens == 0) {
        say("[no answer yet]");
        return;
    }
    int64_t decode_ms = s->total_ms - (s->first_ms > 0 ? s->first_ms : 0);
    double rate = decode_ms > 0 ? 1000.0 * s->usage.completion_tokens / (double)decode_ms : 0;
    say("  model          %s\n  prompt         %d tokens (%d from the cache)\n"
        "  answer         %d tokens, %.1f a second\n  first text     after %.2f s\n"
        "  whole answer   %.2f s",
        s->model, s->usage.prompt_tokens, s->usage.cached_tokens, s->usage.completion_tokens, rate,
        (double)s->first_ms / 1000, (double)s->total_ms / 1000);
}

static void do_exit(struct repl *r, const char *arg)
{
    (void)arg;
    r->done = true;
}

static void do_help(struct repl *r, const char *arg);

static const struct command {
    const char *name, *args, *help; /* help NULL: an alias, not listed */
    void (*run)(struct repl *r, const char *arg);
} commands[] = {
    {"help", "", "this list", do_help},
    {"new", "", "start a new conversation", do_new},
    {"system", "[TEXT]", "show or set the system prompt (- removes it)", do_system},
    {"model", "[NAME]", "show or change the model", do_model},
    {"models", "", "list the models there are", do_models},
    {"adapter", "[NAME]", "show or change the LoRA adapter (base is none)", do_adapter},
    {"save", "FILE", "write the conversation to a file", do_save},
    {"save!", "FILE", "the same, over a file that exists", do_save_over},
    {"load", "FILE", "go on with a saved conversation", do_load},
    {"retry", "", "ask the last question again", do_retry},
    {"undo", "", "drop the last question and its answer", do_undo},
    {"set", "[NAME VALUE]", "show or set temperature, top_p, max_tokens, seed", do_set},
    {"stats", "", "tokens and times of the last answer", do_stats},
    {"exit", "", "end (Ctrl-D does too)", do_exit},
    {"quit", "", NULL, do_exit},
    {"bye", "", NULL, do_exit},
};
enum { N_COMMANDS = sizeof(commands) / sizeof(*commands) };

static void do_help(struct repl *r, const char *arg)
{
    (void)r, (void)arg;
    for (size_t i = 0; i < N_COMMANDS; i++) {
        char left[64];
        if (!commands[i].help) continue;
        str_printf(left, sizeof(left), "/%s %s", commands[i].name, commands[i].args);
        say("  %-20s %s", left, commands[i].help);
    }
    say("\nA backslash at the end of a line goes on in the next; \"\"\" begins and ends a text of "
        "many lines.\nCtrl-C stops an answer. A text that starts with a slash: put a blank before "
        "it.");
}

static void run_command(struct repl *r, const char *line)
{
    char name[32];
    size_t len = strcspn(line + 1, " ");
    str_printf(name, sizeof(name), "%.*s", (int)(len < sizeof(name) ? len : sizeof(name) - 1),
               line + 1);
    const char *arg = line + 1 + len + strspn(line + 1 + len, " ");
    const char *names[N_COMMANDS];
    for (size_t i = 0; i < N_COMMANDS; i++) {
        names[i] = commands[i].name;
        if (str_eq(commands[i].name, name)) {
            commands[i].run(r, arg);
            return;
        }
    }
    const char *near = cmd_nearest(name, names, N_COMMANDS);
    if (near)
        say("there is no /%s; did you mean /%s?", name, near);
    else
        say("there is no /%s; /help lists the commands", name);
}

/* ---- the session ---------------------------------------------------------------------------- */

static const char fence[] = "\"\"\"";

/* Reads one entry, of several lines if they say so, into *out. */
static enum chat_read read_entry(struct repl *r, struct buf *out)
{
    const char *line;
    buf_clear(out);
    enum chat_read got = chat_input_read(r->input, "> ", &line);
    if (got != CHAT_LINE) {
        buf_puts(out, line);
        return got;
    }
    bool fenced = str_starts(line, fence);
    if (fenced) line += sizeof(fence) - 1;
    for (;;) {
        size_t len = strlen(line);
        bool closed = fenced && str_ends(line, fence);
        bool more = fenced ? !closed : len > 0 && line[len - 1] == '\\';
        buf_append(out, line, closed ? len - (sizeof(fence) - 1) : more && !fenced ? len - 1 : len);
        if (!more) return CHAT_LINE;
        if (out->len) buf_putc(out, '\n');
        got = chat_input_read(r->input, fenced ? "\" " : ". ", &line);
        if (got != CHAT_LINE) return got;
    }
}

static void remember(struct repl *r, const char *entry)
{
    if (entry[strspn(entry, " \t\n")]) chat_input_remember(r->input, entry);
}

/* The history's file; "" when none is wanted or the data folder can't be used. */
static void history_path(const struct chat *c, char dst[FS_PATH_MAX])
{
    char dir[FS_PATH_MAX];
    struct error error;
    const char *off = getenv("HEARTH_NO_HISTORY");
    dst[0] = '\0';
    if (off && *off) return;
    if (cmd_data_dir(c->config, dir, sizeof(dir), &error) || fs_mkdirs(dir, 0700, &error) ||
        fs_join(dst, FS_PATH_MAX, dir, "chat_history", &error)) {
        dst[0] = '\0';
        fprintf(stderr, "hearth: no history is kept: %s\n", error.msg);
    }
}

static void interrupted(const char *typed)
{
    if (!*typed) say("[/exit or Ctrl-D ends]");
}

int chat_repl(struct chat *c)
{
    char path[FS_PATH_MAX];
    struct repl r = {.chat = c};
    struct buf entry;
    history_path(c, path);
    buf_init(&entry, CHAT_TEXT_MAX);
    r.input = chat_input_open(path);
    if (c->link->local)
        say("%s, in this process. /help lists the commands, Ctrl-D ends.", c->link->model.id);
    else
        say("The hub at %s. /help lists the commands, Ctrl-D ends.", c->link->where);
    while (!r.done) {
        enum chat_read got = read_entry(&r, &entry);
        if (got == CHAT_EOF) {
            putchar('\n');
            break;
        }
        if (got == CHAT_INTERRUPT) {
            interrupted(buf_str(&entry));
            continue;
        }
        const char *text = buf_str(&entry);
        if (entry.err) say("the text is longer than %d MiB", CHAT_TEXT_MAX >> 20);
        if (entry.err || !text[strspn(text, " \t\n")]) continue;
        remember(&r, text);
        if (text[0] == '/')
            run_command(&r, text);
        else
            ask(&r, text);
    }
    chat_input_close(r.input);
    buf_free(&entry);
    free(r.failed);
    free(r.saved_as);
    return CMD_OK;
}
