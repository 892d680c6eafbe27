/* `hearth create`: a model from a Modelfile. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "cmd/cmd_int.h"
#include "hub/hub.h"
#include "models/adapters.h"
#include "models/create.h"

static const struct cmd_option options[] = {
    {"file", 'f', "FILE", CMD_NO_KEY, NULL,
     "The Modelfile; absent: Modelfile, \"-\": standard input.", COMPLETE_FILE},
};

static enum err read_input(struct buf *out, struct error *error)
{
    char piece[4096];
    size_t n;
    while ((n = fread(piece, 1, sizeof(piece), stdin)) > 0)
        if (buf_append(out, piece, n)) return err_set(error, out->err, "the input is too long");
    return ferror(stdin) ? err_set(error, ERR_IO, "reading standard input failed") : OK;
}

static enum err read_modelfile(const char *file, json_t **spec, struct error *error)
{
    struct buf text;
    buf_init(&text, MODELFILE_MAX);
    enum err e = str_eq(file, "-") ? read_input(&text, error)
                                   : fs_read_file(file, MODELFILE_MAX, &text, error);
    if (!e) e = modelfile_parse(buf_str(&text), text.len, spec, error);
    buf_free(&text);
    return e;
}

static void on_status(void *ctx, const char *status)
{
    (void)ctx;
    if (!str_eq(status, "success")) fprintf(stderr, "%s\n", status);
}

/* Paths in a Modelfile are relative to it. */
static void folder_of(const char *file, char folder[FS_PATH_MAX])
{
    str_copy(folder, FS_PATH_MAX, file);
    char *slash = strrchr(folder, '/');
    if (slash)
        *slash = '\0';
    else
        str_copy(folder, FS_PATH_MAX, ".");
}

static enum err create(const struct cmd_call *call, const char *file, const json_t *spec,
                       struct error *error)
{
    struct config *config;
    struct hub *hub;
    char folder[FS_PATH_MAX], builtin[MODEL_PATH_MAX];
    enum err e = cmd_open_idle_hub(call->args, &config, &hub, error);
    if (e) return e;
    folder_of(file, folder);
    adapters_builtin_dir(config_str(config, CONFIG_BUILTIN_DIR), builtin);
    struct create_params params = {.name = call->args->rest[0],
                                   .spec = spec,
                                   .allow_paths = true,
                                   .folder = folder,
                                   .adapters_dir = config_str(config, CONFIG_ADAPTERS_DIR),
                                   .builtin_adapters_dir = builtin,
                                   .on_status = on_status};
    e = models_create(hub->models, &params, error);
    cmd_close_idle_hub(config, hub);
    return e;
}

static int run_create(const struct cmd_call *call)
{
    const char *file = cmd_opt(call->args, "file");
    json_t *spec;
    struct error error;
    if (!file) file = "Modelfile";
    enum err e = read_modelfile(file, &spec, &error);
    if (!e) {
        e = create(call, file, spec, &error);
        json_decref(spec);
    }
    if (e) return cmd_fail(&error);
    struct buf text;
    buf_init(&text, 4096);
    buf_printf(&text, "%s is ready. Try it: hearth chat --model %s\n", call->args->rest[0],
               call->args->rest[0]);
    int status = cmd_print(&text);
    buf_free(&text);
    return status;
}

const struct cmd_verb verb_create = {
    .name = "create",
    .args = "NAME",
    .summary = "Make a model from a Modelfile",
    .details =
        "A Modelfile gives a model another system prompt, parameters, chat template or LoRA "
        "adapter: FROM (a model's name or a GGUF file), SYSTEM, PARAMETER, TEMPLATE, ADAPTER, "
        "MESSAGE and LICENSE, as in Ollama's. The weights are shared. All of the hub's APIs know "
        "the model by its name; `hearth models rm` removes it.\n\n"
        "  hearth create mario -f Modelfile\n"
        "  printf 'FROM hearth-tiny\\nSYSTEM You are Mario.\\n' | hearth create mario -f -",
    .words = "",
    .min_args = 1,
    .max_args = 1,
    .flags = CMD_CONFIG,
    .options = options,
    .n_options = sizeof(options) / sizeof(*options),
    .run = run_create,
};
