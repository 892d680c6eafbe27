/* `hearth pull`: downloads a model, with a progress bar on a terminal and plain lines in a pipe. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "cmd/cmd_int.h"
#include "cmd/interrupt.h"
#include "cmd/term.h"
#include "hub/hub.h"
#include "models/pull.h"

enum { BAR_MIN = 10, BAR_MAX = 40, LINE_EVERY_MS = 5000 };

static const struct cmd_option options[] = {
    {"force", 'f', NULL, CMD_NO_KEY, NULL, "Download it again even if it is there.", COMPLETE_NONE},
    {"endpoint", 0, "URL", CONFIG_HF_ENDPOINT, NULL, NULL, COMPLETE_NONE},
};

struct screen {
    bool bar;   /* a terminal that understands escape sequences */
    bool drawn; /* the bar is on the line where the cursor is */
    int phase;
    int named; /* part whose name was said */
    int64_t last_line_ms;
};

/* "3:07" or "1:02:45" */
static void format_eta(char *dst, size_t size, int64_t s)
{
    if (s < 0)
        str_copy(dst, size, "-:--");
    else if (s < 3600)
        str_printf(dst, size, "%lld:%02lld", (long long)(s / 60), (long long)(s % 60));
    else
        str_printf(dst, size, "%lld:%02lld:%02lld", (long long)(s / 3600), (long long)(s / 60 % 60),
                   (long long)(s % 60));
}

/* "45%  350.0 MiB of 770.2 MiB  12.3 MiB/s  0:34" */
static void format_numbers(char *dst, size_t size, const struct pull_progress *p)
{
    char done[32], total[32], rate[32], eta[32];
    str_from_bytes(done, sizeof(done), (uint64_t)p->done);
    str_from_bytes(rate, sizeof(rate), (uint64_t)(p->bytes_per_s > 0 ? p->bytes_per_s : 0));
    format_eta(eta, sizeof(eta), p->eta_s);
    if (p->total > 0) {
        str_from_bytes(total, sizeof(total), (uint64_t)p->total);
        str_printf(dst, size, "%3d%%  %s of %s  %s/s  %s left",
                   (int)(100.0 * (double)p->done / (double)p->total), done, total, rate, eta);
    } else {
        str_printf(dst, size, "%s  %s/s", done, rate);
    }
}

static void draw_bar(const struct pull_progress *p)
{
    static const char *const eighths[] = {"",       "\u258F", "\u258E", "\u258D",
                                          "\u258C", "\u258B", "\u258A", "\u2589"};
    char numbers[160];
    struct buf line;
    buf_init(&line, 4096);
    format_numbers(numbers, sizeof(numbers), p);
    int room = term_width(STDERR_FILENO) - (int)strlen(numbers) - 4;
    buf_puts(&line, "\r\033[K");
    if (p->total > 0 && room >= BAR_MIN) {
        int width = room < BAR_MAX ? room : BAR_MAX;
        int units = (int)(8.0 * width * (double)p->done / (double)p->total), columns = units / 8;
        buf_puts(&line, "\u2595");
        for (int i = 0; i < columns; i++) buf_puts(&line, "\u2588");
        buf_puts(&line, eighths[units % 8]);
        if (units % 8) columns++;
        buf_printf(&line, "%*s\u258F ", width - columns, "");
    }
    buf_puts(&line, numbers);
    fputs(buf_str(&line), stderr);
    buf_free(&line);
}

static void erase_bar(struct screen *s)
{
    if (s->drawn) fputs("\r\033[K", stderr);
    s->drawn = false;
}

static void say_line(struct screen *s, const char *text)
{
    struct buf clean;
    buf_init(&clean, 8192);
    term_clean(&clean, text, strlen(text));
    erase_bar(s);
    fprintf(stderr, "%s\n", buf_str(&clean));
    buf_free(&clean);
}

static void say_name(struct screen *s, const struct pull_progress *p)
{
    char text[512], size[32], part[48] = "";
    if (p->n_parts > 1) str_printf(part, sizeof(part), " (%d of %d)", p->part, p->n_parts);
    str_printf(text, sizeof(text), "%s%s%s%s%s", p->file, part, p->total > 0 ? ", " : "",
               p->total > 0 ? str_from_bytes(size, sizeof(size), (uint64_t)p->total) : "",
               p->resumed_from > 0 ? ", going on where it was" : "");
    say_line(s, text);
    s->named = p->part;
}

static bool on_progress(void *ctx, const struct pull_progress *p)
{
    struct screen *s = ctx;
    bool moving = p->phase == PULL_DOWNLOADING || p->phase == PULL_VERIFYING;
    if (moving && s->named != p->part) say_name(s, p);
    if ((int)p->phase != s->phase) {
        if (p->phase == PULL_VERIFYING) say_line(s, "checking what was downloaded");
        s->phase = (int)p->phase;
        s->last_line_ms = clock_mono_ms();
    }
    if (p->note) say_line(s, p->note);
    if (moving && s->bar) {
        draw_bar(p);
        s->drawn = true;
    } else if (moving && clock_mono_ms() - s->last_line_ms >= LINE_EVERY_MS) {
        char numbers[160];
        format_numbers(numbers, sizeof(numbers), p);
        fprintf(stderr, "%s\n", numbers);
        s->last_line_ms = clock_mono_ms();
    }
    return !interrupt_seen();
}

static enum err pull(const struct cmd_call *call, struct screen *screen, struct model_info *out,
                     struct error *error)
{
    struct config *config;
    struct hub *hub;
    struct httpc *http;
    enum err err = cmd_open_idle_hub(call->args, &config, &hub, error);
    if (err) return err;
    err = httpc_new(&http, error);
    if (err == OK) {
        struct pull_params params = {
            .spec = call->args->rest[0],
            .hf_endpoint = config_str(config, CONFIG_HF_ENDPOINT),
            .hf_token = config_str(config, CONFIG_HF_TOKEN),
            .force = cmd_flag(call->args, "force"),
            .on_progress = on_progress,
            .ctx = screen,
        };
        err = models_pull(hub->models, http, &params, out, error);
        httpc_free(http);
    }
    cmd_close_idle_hub(config, hub);
    return err;
}

static int run_pull(const struct cmd_call *call)
{
    struct screen screen = {.phase = -1, .bar = term_style_of(STDERR_FILENO) != TERM_RAW};
    struct model_info model;
    struct error error;
    interrupt_install_flag();
    enum err err = pull(call, &screen, &model, &error);
    erase_bar(&screen);
    if (err == ERR_CANCELLED) {
        fprintf(stderr, "hearth: stopped; what was downloaded is kept, and the same command goes "
                        "on from there\n");
        return CMD_INTERRUPTED;
    }
    if (err) return cmd_fail(&error);
    char size[32];
    struct buf text;
    buf_init(&text, 8192);
    buf_printf(&text, "%s is ready (%s). Try it: hearth chat --model %s\n", model.id,
               str_from_bytes(size, sizeof(size), (uint64_t)model.file_bytes), model.id);
    int status = cmd_print(&text);
    buf_free(&text);
    return status;
}

const struct cmd_verb verb_pull = {
    .name = "pull",
    .args = "MODEL",
    .summary = "Download a model",
    .details =
        "MODEL is a known name (`hearth models catalog` lists them; llama3.2:1b, qwen2.5:3b:q8_0), "
        "a repository at Hugging Face with "
        "or without a file (org/repo, org/repo:file.gguf), or an https URL. A download that was "
        "cut goes on where it was; what came is checked before it is used. Gated repositories "
        "need HF_TOKEN.\n\n"
        "  hearth pull llama3.2:1b\n"
        "  hearth pull bartowski/Qwen2.5-7B-Instruct-GGUF:Qwen2.5-7B-Instruct-Q4_K_M.gguf",
    .words = "",
    .complete = COMPLETE_KNOWN,
    .min_args = 1,
    .max_args = 1,
    .flags = CMD_CONFIG,
    .options = options,
    .n_options = sizeof(options) / sizeof(*options),
    .run = run_pull,
};
