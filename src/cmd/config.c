/* `hearth config`: the settings in effect and where they came from. */
#include "base/config.h"

#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "cmd/cmd_int.h"

static const struct cmd_option options[] = {
    {"json", 0, NULL, CMD_NO_KEY, NULL, "Print JSON.", COMPLETE_NONE},
    {"markdown", 0, NULL, CMD_NO_KEY, NULL, "Print docs/configuration.md: every setting.",
     COMPLETE_NONE},
    {"dotenv", 0, NULL, CMD_NO_KEY, NULL, "Print .env.example: every setting with its default.",
     COMPLETE_NONE},
};

/* The rendered list's member of that name: secrets are hidden there already. */
static enum err value_of(const struct config *config, const char *name, struct buf *out,
                         struct error *error)
{
    enum config_key key;
    if (!config_find(name, &key)) {
        const char *names[CONFIG_KEY_COUNT];
        for (size_t i = 0; i < CONFIG_KEY_COUNT; i++) names[i] = config_name((enum config_key)i);
        const char *near = cmd_nearest(name, names, CONFIG_KEY_COUNT);
        return err_set(error, ERR_INVALID, "there is no setting '%s'%s%s%s", name,
                       near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
    }
    switch (key) {
#define STRING(id) buf_printf(out, "%s\n", config_str(config, CONFIG_##id))
#define PATH(id)   STRING(id)
#define SECRET(id) buf_printf(out, "%s\n", *config_str(config, CONFIG_##id) ? "(set)" : "")
#define INT(id)    buf_printf(out, "%lld\n", (long long)config_int(config, CONFIG_##id))
#define BYTES(id)  INT(id)
#define MS(id)     INT(id)
#define REAL(id)   buf_printf(out, "%g\n", config_double(config, CONFIG_##id))
#define BOOL(id)   buf_printf(out, "%s\n", config_bool(config, CONFIG_##id) ? "true" : "false")
#define X(id, name, type, def, min, max, unit, section, help)                                      \
    case CONFIG_##id: type(id); break;
        CONFIG_KEYS(X)
#undef X
    case CONFIG_KEY_COUNT: break;
    }
    return OK;
}

static int run_config(const struct cmd_call *call)
{
    const struct cmd_args *args = call->args;
    struct error error;
    struct buf text;
    buf_init(&text, 1 << 20);
    enum err err = OK;
    if (cmd_flag(args, "markdown"))
        config_render_markdown(&text);
    else if (cmd_flag(args, "dotenv"))
        config_render_dotenv(&text);
    else if (args->n_rest == 0)
        config_render_effective(call->config, cmd_flag(args, "json"), &text);
    else if (!str_eq(args->rest[0], "get") || args->n_rest != 2)
        err = err_set(&error, ERR_INVALID, "it is `hearth config` or `hearth config get KEY`");
    else
        err = value_of(call->config, args->rest[1], &text, &error);
    int status = err ? cmd_usage_error(call->verb, &error) : cmd_print(&text);
    buf_free(&text);
    return status;
}

const struct cmd_verb verb_config = {
    .name = "config",
    .args = "[get KEY]",
    .summary = "Show the settings in effect and where each came from",
    .details =
        "Settings are KEY=value, from (later wins): built-in defaults, hearth.env in the config "
        "folder, .env in the working folder, the environment, options of the command line.\n\n"
        "  hearth config\n"
        "  hearth config get PORT\n"
        "  PORT=9000 hearth config --json",
    .words = "get",
    .max_args = 2,
    .flags = CMD_CONFIG,
    .options = options,
    .n_options = sizeof(options) / sizeof(*options),
    .run = run_config,
};
