/* `hearth version`: what this binary is made of. Loads nothing, needs no settings. */
#include "base/json.h"
#include "cmd/cmd_int.h"
#include "engine/engine.h"

static const struct cmd_option options[] = {
    {"json", 0, NULL, CMD_NO_KEY, NULL, "Print JSON.", COMPLETE_NONE},
};

static int run_version(const struct cmd_call *call)
{
    struct engine *engine;
    struct error error;
    if (engine_open_llama(NULL, &engine, &error)) return cmd_fail(&error);
    struct buf text;
    buf_init(&text, 4096);
    if (cmd_flag(call->args, "json")) {
        struct jw w;
        jw_init(&w, &text);
        jw_obj(&w);
        jw_kstr(&w, "version", HEARTH_VERSION);
        jw_kstr(&w, "engine", engine_library_version(engine));
        jw_obj_end(&w);
        buf_putc(&text, '\n');
    } else {
        buf_printf(&text, "hearth %s (%s)\n", HEARTH_VERSION, engine_library_version(engine));
    }
    engine_close(engine);
    int status = cmd_print(&text);
    buf_free(&text);
    return status;
}

const struct cmd_verb verb_version = {
    .name = "version",
    .args = "",
    .summary = "Show the version, and that of the inference library",
    .details = "",
    .words = "",
    .options = options,
    .n_options = sizeof(options) / sizeof(*options),
    .run = run_version,
};
