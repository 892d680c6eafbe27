/* `hearth top`: what the hub does right now, drawn anew every second: models, requests, memory. On
 * a terminal it takes the whole screen and gives it back; elsewhere, and with --once, it prints one
 * picture.
 *
 * Everything that clients and files say goes through term_clean before it reaches the terminal. */
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "base/str.h"
#include "cmd/ask.h"
#include "cmd/interrupt.h"
#include "cmd/term.h"

enum { TEXT_MAX = 1 << 20, LINES_DEFAULT = 24, MEMORY_BAR = 30, NAME_MAX_HERE = 28 };

static const struct cmd_option options[] = {
    ASK_URL_OPTION,
    {"once", '1', NULL, CMD_NO_KEY, NULL, "Print one picture and end.", COMPLETE_NONE},
    {"interval", 'i', "SECONDS", CMD_NO_KEY, NULL, "Time between two pictures (1).", COMPLETE_NONE},
};

/* ---- one picture --------------------------------------------------------------------------- */

struct picture {
    json_t *health, *queue, *models, *requests;
};

static void picture_free(struct picture *p)
{
    json_decref(p->health);
    json_decref(p->queue);
    json_decref(p->models);
    json_decref(p->requests);
    *p = (struct picture){0};
}

static enum err picture_take(struct link *link, struct picture *p, struct error *error)
{
    *p = (struct picture){0};
    enum err err = ask(link, "/health", NULL, &p->health, error);
    if (!err) err = ask(link, "/v1/queue", NULL, &p->queue, error);
    if (!err) err = ask(link, "/v1/models", NULL, &p->models, error);
    if (!err) err = ask(link, "/v1/requests?limit=100", NULL, &p->requests, error);
    if (err) picture_free(p);
    return err;
}

/* A word that someone else chose, cut to `width` columns. */
static void put_word(struct buf *out, const char *s, int width)
{
    struct buf clean;
    char mem[512];
    size_t len = strlen(s), used = 0;
    int columns = 0;
    buf_init_fixed(&clean, mem, sizeof mem);
    term_clean(&clean, s, utf8_cut(s, len, 120));
    while (used < clean.len) {
        uint32_t cp;
        size_t n = term_decode(mem + used, clean.len - used, &cp);
        int w = cp == '\n' || cp == '\t' ? width + 1 : term_char_width(cp);
        if (columns + w > width) break;
        columns += w;
        used += n;
    }
    buf_append(out, mem, used);
    for (; columns < width; columns++) buf_putc(out, ' ');
}

static double tokens_per_second(const struct picture *p)
{
    double sum = 0;
    const json_t *models = ask_at(p->queue, "models");
    for (size_t i = 0; i < json_array_size(models); i++)
        sum += ask_num(json_array_get(models, i), "tokens_per_second");
    return sum;
}

static void put_memory(const struct picture *p, struct buf *out)
{
    double used = ask_num(p->models, "memory/used"), budget = ask_num(p->models, "memory/budget");
    char a[32], b[32];
    if (budget <= 0) return;
    int width = (int)(MEMORY_BAR * used / budget + 0.5);
    buf_puts(out, "memory [");
    for (int i = 0; i < MEMORY_BAR; i++) buf_putc(out, i < width ? '#' : '.');
    buf_printf(out, "] %s of %s\n", ask_bytes(a, sizeof a, used), ask_bytes(b, sizeof b, budget));
}

static void put_summary(const struct link *link, const struct picture *p, struct buf *out)
{
    char up[32] = "just now", oldest[32];
    double uptime = ask_num(p->health, "uptime_s");
    if (uptime > 0) ask_duration(up, sizeof up, 1000 * uptime);
    buf_printf(out, "hearth %s at %s, up %s\n", ask_str(p->health, "version"), link->where, up);
    buf_printf(out, "%.0f running, %.0f waiting", ask_num(p->health, "running"),
               ask_num(p->health, "waiting"));
    if (ask_num(p->queue, "waiting") > 0)
        buf_printf(out, " (the first for %s)",
                   ask_duration(oldest, sizeof oldest, ask_num(p->queue, "oldest_wait_ms")));
    buf_printf(out, ", %.1f tokens/s", tokens_per_second(p));
    if (ask_num(p->queue, "rejected") > 0)
        buf_printf(out, ", %.0f refused", ask_num(p->queue, "rejected"));
    buf_putc(out, '\n');
    put_memory(p, out);
}

/* The queue's entry of a model. */
static const json_t *queue_of(const struct picture *p, const char *id)
{
    const json_t *models = ask_at(p->queue, "models");
    for (size_t i = 0; i < json_array_size(models); i++)
        if (str_eq(ask_str(json_array_get(models, i), "id"), id)) return json_array_get(models, i);
    return NULL;
}

static void put_models(const struct picture *p, struct buf *out)
{
    const json_t *models = json_object_get(p->models, "data");
    buf_printf(out, "\n%-*s  %-11s  %10s  %7s  %7s  %8s  %10s\n", NAME_MAX_HERE, "MODEL", "STATE",
               "MEMORY", "RUNNING", "WAITING", "TOKENS/S", "WAIT");
    for (size_t i = 0; i < json_array_size(models); i++) {
        const json_t *m = json_array_get(models, i);
        const char *state = ask_str(m, "meta/state");
        if (str_eq(state, "on_disk") || str_eq(ask_str(m, "meta/kind"), "adapter")) continue;
        const json_t *q = queue_of(p, ask_str(m, "id"));
        char memory[32], words[32], wait[32] = "-";
        if (json_is_number(ask_at(q, "wait_estimate_ms")))
            ask_duration(wait, sizeof wait, ask_num(q, "wait_estimate_ms"));
        put_word(out, ask_str(m, "id"), NAME_MAX_HERE);
        buf_printf(out, "  %-11s  %10s  %7.0f  %7.0f  %8.1f  %10s\n",
                   ask_model_state(words, sizeof words, m),
                   ask_bytes(memory, sizeof memory, ask_num(m, "meta/memory/total")),
                   ask_num(m, "meta/running"), ask_num(m, "meta/waiting"),
                   ask_num(q, "tokens_per_second"), wait);
    }
}

static void put_request(const json_t *r, struct buf *out)
{
    char age[32];
    const char *model = ask_str(r, "model"), *asked = ask_str(r, "requested_model");
    put_word(out, ask_str(r, "id"), NAME_MAX_HERE);
    buf_printf(out, "  %-10s  ", ask_str(r, "state"));
    put_word(out, *model ? model : *asked ? asked : "(default)", 18);
    buf_printf(out, "  %4.0f  %6.0f  %6.0f  %6.0f  %7.1f  %11s\n", ask_num(r, "priority"),
               ask_num(r, "usage/prompt_tokens"), ask_num(r, "usage/cached_tokens"),
               ask_num(r, "usage/completion_tokens"), ask_num(r, "timings/decode_per_second"),
               ask_duration(age, sizeof age, ask_num(r, "timings/total_ms")));
}

static void put_requests(const struct picture *p, struct buf *out)
{
    const json_t *list = json_object_get(p->requests, "data");
    buf_printf(out, "\n%-*s  %-10s  %-18s  %4s  %6s  %6s  %6s  %7s  %11s\n", NAME_MAX_HERE,
               "REQUEST", "STATE", "MODEL", "PRIO", "PROMPT", "CACHED", "TOKENS", "TOK/S", "TIME");
    for (size_t i = 0; i < json_array_size(list); i++) put_request(json_array_get(list, i), out);
}

static void put_picture(const struct link *link, const struct picture *p, struct buf *out)
{
    put_summary(link, p, out);
    put_models(p, out);
    put_requests(p, out);
}

/* ---- the screen ---------------------------------------------------------------------------- */

#define SCREEN_TAKE  "\x1b[?1049h\x1b[?25l"
#define SCREEN_GIVE  "\x1b[?25h\x1b[?1049l"
#define HOME         "\x1b[H"
#define CLEAR_LINE   "\x1b[K"
#define CLEAR_BEHIND "\x1b[J"
#define INVERSE      "\x1b[7m"
#define PLAIN        "\x1b[0m"

/* The picture's first lines, as many as there are rows, each cut to the width. */
static void draw(const struct buf *picture, struct buf *out)
{
    struct winsize size = {0};
    int rows = LINES_DEFAULT, columns = term_width(STDOUT_FILENO);
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 2) rows = size.ws_row;
    const char *at = buf_str(picture);
    buf_puts(out, HOME);
    for (int row = 0; *at && row < rows - 1; row++) {
        size_t len = strcspn(at, "\n");
        bool head = strncmp(at, "MODEL ", 6) == 0 || strncmp(at, "REQUEST ", 8) == 0;
        if (head) buf_puts(out, INVERSE);
        buf_append(out, at, utf8_cut(at, len, (size_t)columns));
        if (head) buf_puts(out, PLAIN);
        buf_puts(out, CLEAR_LINE "\r\n");
        at += len + (at[len] == '\n');
    }
    buf_puts(out, CLEAR_BEHIND "q ends");
}

static bool keys_raw(struct termios *before)
{
    if (tcgetattr(STDIN_FILENO, before)) return false;
    struct termios raw = *before;
    raw.c_lflag &= (tcflag_t) ~(ICANON | ECHO);
    raw.c_cc[VMIN] = 0;
    raw.c_cc[VTIME] = 0;
    return tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
}

/* Until the next picture is due; false: the person wants to end. */
static bool wait_for_key(int64_t interval_ms)
{
    char key;
    switch (interrupt_wait(STDIN_FILENO, interval_ms)) {
    case WAKE_INTERRUPT: return false;
    case WAKE_TIMEOUT: return true;
    case WAKE_READY: break;
    }
    ssize_t n = read(STDIN_FILENO, &key, 1);
    return n == 1 && key != 'q' && key != 'Q' && key != 27;
}

static enum err watch(struct link *link, int64_t interval_ms, struct error *error)
{
    struct picture p;
    struct buf text, clean, screen;
    enum err err;
    buf_init(&text, TEXT_MAX);
    buf_init(&clean, 2 * (size_t)TEXT_MAX);
    buf_init(&screen, 4 * (size_t)TEXT_MAX);
    do {
        err = picture_take(link, &p, error);
        if (err) break;
        buf_clear(&text);
        buf_clear(&screen);
        buf_clear(&clean);
        put_picture(link, &p, &text);
        term_clean(&clean, buf_str(&text), text.len);
        draw(&clean, &screen);
        picture_free(&p);
        fwrite(buf_str(&screen), 1, screen.len, stdout);
        fflush(stdout);
    } while (wait_for_key(interval_ms));
    buf_free(&text);
    buf_free(&clean);
    buf_free(&screen);
    return err;
}

static int show_screen(struct link *link, int64_t interval_ms)
{
    struct termios before;
    struct error error;
    bool raw = keys_raw(&before);
    fputs(SCREEN_TAKE, stdout);
    enum err err = watch(link, interval_ms, &error);
    fputs(SCREEN_GIVE, stdout);
    fflush(stdout);
    if (raw) tcsetattr(STDIN_FILENO, TCSANOW, &before);
    return err ? cmd_fail(&error) : CMD_OK;
}

static int show_once(struct link *link)
{
    struct picture p;
    struct error error;
    struct buf text;
    if (picture_take(link, &p, &error)) return cmd_fail(&error);
    buf_init(&text, TEXT_MAX);
    put_picture(link, &p, &text);
    picture_free(&p);
    return ask_print(&text);
}

static int run_top(const struct cmd_call *call)
{
    struct link *link;
    struct error error;
    double seconds = 1;
    if (cmd_opt_double(call->args, "interval", 0.1, 3600, &seconds, &error))
        return cmd_usage_error(call->verb, &error);
    bool screen = !cmd_flag(call->args, "once") && isatty(STDIN_FILENO) &&
                  term_style_of(STDOUT_FILENO) != TERM_RAW;
    if (screen) interrupt_install();
    if (ask_open(call, &link, &error)) return cmd_fail(&error);
    int status = screen ? show_screen(link, (int64_t)(seconds * 1000)) : show_once(link);
    link_close(link);
    return status;
}

const struct cmd_verb verb_top = {
    .name = "top",
    .args = "",
    .summary = "Watch what the hub does: running, waiting, tokens a second, memory",
    .details = "Draws the models in memory and the newest requests anew every second; q or Ctrl-C\n"
               "ends it. Where there is no terminal, and with --once, it prints one picture.\n\n"
               "  hearth top\n"
               "  hearth top --interval 5\n"
               "  hearth top --once | grep waiting",
    .words = "",
    .flags = CMD_CONFIG,
    .options = options,
    .n_options = sizeof(options) / sizeof(*options),
    .run = run_top,
};
