/* `hearth help`: the overview, one verb's help, and the generated texts. */
#include "cmd/cmd.h"
#include "cmd/cmd_int.h"

static const struct cmd_option options[] = {
    {"markdown", 0, NULL, CMD_NO_KEY, NULL, "Print docs/cli.md.", COMPLETE_NONE},
    {"man", 0, NULL, CMD_NO_KEY, NULL, "Print the man page (troff).", COMPLETE_NONE},
};

static int run_help(const struct cmd_call *call)
{
    struct buf text;
    struct error error;
    buf_init(&text, 1 << 20);
    const struct cmd_args *args = call->args;
    int status = CMD_OK;
    if (cmd_flag(args, "markdown")) {
        cmd_render_markdown(&text);
    } else if (cmd_flag(args, "man")) {
        cmd_render_man(&text);
    } else if (args->n_rest == 0) {
        cmd_render_overview(&text);
    } else {
        const struct cmd_verb *verb = cmd_verb_find(args->rest[0]);
        if (verb) {
            cmd_render_help(verb, &text);
        } else {
            err_set(&error, ERR_INVALID, "there is no verb '%s'; `hearth help` lists them",
                    args->rest[0]);
            status = cmd_usage_error(call->verb, &error);
        }
    }
    if (status == CMD_OK) status = cmd_print(&text);
    buf_free(&text);
    return status;
}

const struct cmd_verb verb_help = {
    .name = "help",
    .args = "[VERB]",
    .summary = "Show help, or print it as Markdown or man page",
    .details = "",
    .words = "",
    .complete = COMPLETE_VERB,
    .max_args = 1,
    .options = options,
    .n_options = sizeof(options) / sizeof(*options),
    .run = run_help,
};
