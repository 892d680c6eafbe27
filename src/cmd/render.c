/* Help, docs/cli.md and the man page out of the tables of verbs and options. */
#include <ctype.h>
#include <string.h>

#include "base/str.h"
#include "cmd/cmd.h"
#include "cmd/cmd_int.h"

enum { HELP_WIDTH = 80, HELP_COLUMN = 26, LEFT_MAX = 96 };

/* What config_keys.h says about each setting. */
static const struct {
    const char *name, *def, *help;
} settings[CONFIG_KEY_COUNT] = {
#define X(id, name, type, def, min, max, unit, section, help) {name, def, help},
    CONFIG_KEYS(X)
#undef X
};

void cmd_option_help(const struct cmd_option *option, struct buf *out)
{
    if (option->help) buf_puts(out, option->help);
    if (option->key == CMD_NO_KEY) return;
    const char *name = settings[option->key].name;
    if (!option->help) buf_puts(out, settings[option->key].help);
    if (!option->arg)
        buf_printf(out, " (%s=%s)", name, option->flag_value);
    else if (*settings[option->key].def)
        buf_printf(out, " (setting %s, default %s)", name, settings[option->key].def);
    else
        buf_printf(out, " (setting %s)", name);
}

/* "-m, --model NAME" */
static void option_left(const struct cmd_option *o, bool align, char dst[LEFT_MAX])
{
    char letter[8] = "";
    if (o->letter)
        str_printf(letter, sizeof(letter), "-%c, ", o->letter);
    else if (align)
        str_copy(letter, sizeof(letter), "    ");
    str_printf(dst, LEFT_MAX, "%s--%s%s%s", letter, o->name, o->arg ? " " : "",
               o->arg ? o->arg : "");
}

/* Words of text[0..len) from column `column` on, further lines indented by `indent`. */
static void put_wrapped(struct buf *out, const char *text, size_t len, size_t column, size_t indent)
{
    size_t i = 0;
    bool first = true;
    while (i < len) {
        while (i < len && isspace((unsigned char)text[i])) i++;
        size_t start = i;
        while (i < len && !isspace((unsigned char)text[i])) i++;
        if (i == start) break;
        if (!first && column + 1 + (i - start) > HELP_WIDTH) {
            buf_printf(out, "\n%*s", (int)indent, "");
            column = indent;
        } else if (!first) {
            buf_putc(out, ' ');
            column++;
        }
        buf_append(out, text + start, i - start);
        column += i - start;
        first = false;
    }
    buf_putc(out, '\n');
}

static void put_row(struct buf *out, const char *left, const char *right)
{
    size_t width = strlen(left) + 2;
    buf_printf(out, "  %s", left);
    if (width + 2 > HELP_COLUMN) {
        buf_putc(out, '\n');
        width = 0;
    }
    buf_printf(out, "%*s", (int)(HELP_COLUMN - width), "");
    put_wrapped(out, right, strlen(right), HELP_COLUMN, HELP_COLUMN);
}

/* One paragraph of `details`; returns what follows it, NULL after the last. */
static const char *next_paragraph(const char *p, const char **start, size_t *len)
{
    while (*p == '\n') p++;
    if (!*p) return NULL;
    *start = p;
    const char *end = strstr(p, "\n\n");
    *len = end ? (size_t)(end - p) : strlen(p);
    return p + *len;
}

enum err cmd_render_overview(struct buf *out)
{
    buf_puts(out, "Hearth keeps language models warm on your own machine and lets every app use "
                  "them.\n\nUsage: hearth VERB [options] [arguments]\n\n");
    for (size_t i = 0; cmd_verbs[i]; i++) put_row(out, cmd_verbs[i]->name, cmd_verbs[i]->summary);
    buf_puts(out, "\nTwo to begin with:\n"
                  "  hearth chat            talk to a model, nothing else needed\n"
                  "  hearth serve           the hub for all your apps, on port 8000\n\n"
                  "`hearth VERB --help` says more about each.\n");
    return out->err;
}

enum err cmd_render_help(const struct cmd_verb *verb, struct buf *out)
{
    buf_printf(out, "Usage: hearth %s [options]%s%s\n\n%s.\n", verb->name, *verb->args ? " " : "",
               verb->args, verb->summary);
    const char *p = verb->details, *start;
    size_t len;
    while ((p = next_paragraph(p, &start, &len))) {
        buf_putc(out, '\n');
        if (start[0] == ' ')
            buf_printf(out, "%.*s\n", (int)len, start);
        else
            put_wrapped(out, start, len, 0, 0);
    }
    buf_puts(out, "\nOptions:\n");
    const struct cmd_option *table;
    size_t n;
    for (size_t t = 0; cmd_option_table(verb, t, &table, &n); t++) {
        for (size_t i = 0; i < n; i++) {
            char left[LEFT_MAX];
            struct buf help;
            buf_init(&help, 4096);
            option_left(&table[i], true, left);
            cmd_option_help(&table[i], &help);
            put_row(out, left, buf_str(&help));
            buf_free(&help);
        }
    }
    return out->err;
}

/* ---- docs/cli.md ---------------------------------------------------------------------------- */

/* In a table cell a pipe would end the cell. */
static void put_cell(struct buf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '|') buf_putc(out, '\\');
        buf_putc(out, *text);
    }
}

static void markdown_options(const struct cmd_verb *verb, struct buf *out)
{
    buf_puts(out, "\n| option | what it does |\n| --- | --- |\n");
    const struct cmd_option *table;
    size_t n;
    for (size_t t = 0; cmd_option_table(verb, t, &table, &n); t++) {
        for (size_t i = 0; i < n; i++) {
            char left[LEFT_MAX];
            struct buf help;
            buf_init(&help, 4096);
            option_left(&table[i], false, left);
            cmd_option_help(&table[i], &help);
            buf_puts(out, "| `");
            put_cell(out, left);
            buf_puts(out, "` | ");
            put_cell(out, buf_str(&help));
            buf_puts(out, " |\n");
            buf_free(&help);
        }
    }
}

enum err cmd_render_markdown(struct buf *out)
{
    buf_puts(out, "# The command line\n\n"
                  "<!-- Generated by `hearth help --markdown`; do not edit. -->\n\n"
                  "`hearth VERB [options] [arguments]`. Options may stand anywhere after the verb, "
                  "as `--option value` or `--option=value`; `--` ends them.\n\n"
                  "Exit status: 0 it worked, 1 it failed, 2 it was called wrongly, 130 it was "
                  "interrupted.\n\n| verb | |\n| --- | --- |\n");
    for (size_t i = 0; cmd_verbs[i]; i++)
        buf_printf(out, "| [`%s`](#hearth-%s) | %s |\n", cmd_verbs[i]->name, cmd_verbs[i]->name,
                   cmd_verbs[i]->summary);
    for (size_t i = 0; cmd_verbs[i]; i++) {
        const struct cmd_verb *verb = cmd_verbs[i];
        buf_printf(out, "\n## hearth %s\n\n`hearth %s [options]%s%s`\n\n%s.\n", verb->name,
                   verb->name, *verb->args ? " " : "", verb->args, verb->summary);
        const char *p = verb->details, *start;
        size_t len;
        while ((p = next_paragraph(p, &start, &len))) {
            bool example = start[0] == ' ';
            buf_printf(out, "\n%s%.*s\n%s", example ? "```\n" : "", (int)len, start,
                       example ? "```\n" : "");
        }
        markdown_options(verb, out);
    }
    return out->err;
}

/* ---- man page ------------------------------------------------------------------------------- */

/* Text in troff: backslashes and leading dots mean something, a dash must stay a dash. */
static void put_troff(struct buf *out, const char *text, size_t len)
{
    bool line_start = true;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (line_start && (c == '.' || c == '\'')) buf_puts(out, "\\&");
        line_start = c == '\n';
        if (c == '\\')
            buf_puts(out, "\\e");
        else if (c == '-')
            buf_puts(out, "\\-");
        else
            buf_putc(out, c);
    }
}

static void man_options(const struct cmd_option *table, size_t n, struct buf *out)
{
    for (size_t i = 0; i < n; i++) {
        char left[LEFT_MAX];
        struct buf help;
        buf_init(&help, 4096);
        option_left(&table[i], false, left);
        cmd_option_help(&table[i], &help);
        buf_puts(out, ".TP\n.B ");
        put_troff(out, left, strlen(left));
        buf_putc(out, '\n');
        put_troff(out, buf_str(&help), help.len);
        buf_putc(out, '\n');
        buf_free(&help);
    }
}

static void man_verb(const struct cmd_verb *verb, struct buf *out)
{
    buf_printf(out, ".SS hearth %s [options] ", verb->name);
    put_troff(out, verb->args, strlen(verb->args));
    buf_putc(out, '\n');
    put_troff(out, verb->summary, strlen(verb->summary));
    buf_puts(out, ".\n");
    const char *p = verb->details, *start;
    size_t len;
    while ((p = next_paragraph(p, &start, &len))) {
        bool example = start[0] == ' ';
        buf_puts(out, example ? ".PP\n.nf\n" : ".PP\n");
        put_troff(out, start, len);
        buf_puts(out, example ? "\n.fi\n" : "\n");
    }
    man_options(verb->options, verb->n_options, out);
}

enum err cmd_render_man(struct buf *out)
{
    buf_puts(out, ".\\\" Generated by `hearth help --man`; do not edit.\n"
                  ".TH HEARTH 1 \"\" \"hearth " HEARTH_VERSION "\" \"User commands\"\n"
                  ".SH NAME\nhearth \\- a private hub for language models\n"
                  ".SH SYNOPSIS\n.B hearth\n.I verb\n[options] [arguments]\n"
                  ".SH DESCRIPTION\n"
                  "Hearth keeps language models warm on a machine you own and lets every app use "
                  "them: web chat, terminal, scripts, agents.\n"
                  ".SH VERBS\n");
    for (size_t i = 0; cmd_verbs[i]; i++) man_verb(cmd_verbs[i], out);
    buf_puts(out, ".SH OPTIONS OF ALL VERBS THAT USE SETTINGS\n");
    man_options(cmd_config_options, cmd_n_config_options, out);
    man_options(cmd_common_options, cmd_n_common_options, out);
    buf_puts(out,
             ".SH ENVIRONMENT\n"
             "Every setting is a variable of the same name; `hearth config` shows what is in "
             "effect and where it came from.\n"
             ".TP\n.B NO_COLOR\nNo colours on the terminal.\n"
             ".TP\n.B HEARTH_NO_HISTORY\n`hearth chat` keeps no history of what was typed.\n"
             ".SH FILES\n.TP\n.I ~/.config/hearth/hearth.env\nSettings, one KEY=value a line.\n"
             ".TP\n.I ~/.local/share/hearth\nThe data folder, with the models folder in it.\n"
             ".SH EXIT STATUS\n0 it worked, 1 it failed, 2 it was called wrongly, 130 it was "
             "interrupted.\n");
    return out->err;
}
