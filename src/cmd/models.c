/* `hearth models`: what is on disk. */
#include "models/models.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "cmd/cmd_int.h"
#include "cmd/term.h"
#include "hub/hub.h"
#include "models/catalog.h"
#include "models/create.h"
#include "models/gguf.h"

enum { TEXT_MAX = 64 << 20 };

static const struct cmd_option options[] = {
    {"json", 0, NULL, CMD_NO_KEY, NULL, "Print JSON.", COMPLETE_NONE},
    {"names", 0, NULL, CMD_NO_KEY, NULL, "list, catalog: names only, one a line.", COMPLETE_NONE},
    {"yes", 'y', NULL, CMD_NO_KEY, NULL, "rm: do not ask.", COMPLETE_NONE},
};

/* 1235814400 -> "1.2B" */
static void format_params(char *dst, size_t size, int64_t n)
{
    if (n >= 1000000000)
        str_printf(dst, size, "%.1fB", (double)n / 1e9);
    else if (n >= 1000000)
        str_printf(dst, size, "%.0fM", (double)n / 1e6);
    else
        str_printf(dst, size, "%lld", (long long)n);
}

static void put_info_json(struct jw *w, const struct model_info *m)
{
    jw_kstr(w, "id", m->id);
    jw_kstr(w, "name", m->name);
    jw_kstr(w, "kind", model_kind_name(m->kind));
    jw_kbool(w, "builtin", m->builtin);
    jw_kstr(w, "from", *m->from ? m->from : NULL);
    jw_kstr(w, "architecture", m->arch);
    jw_kstr(w, "quantization", m->quant);
    jw_kint(w, "parameters", m->n_params);
    jw_kint(w, "context", m->n_ctx_train);
    jw_kint(w, "embedding", m->n_embd);
    jw_kint(w, "layers", m->n_layer);
    jw_kint(w, "vocabulary", m->n_vocab);
    jw_kbool(w, "chat_template", m->has_chat_template);
    jw_kbool(w, "tools", m->has_tools);
    jw_kint(w, "bytes", m->file_bytes);
    jw_kint(w, "modified", m->modified_s);
    jw_kstr(w, "path", m->path);
}

/* ---- list ----------------------------------------------------------------------------------- */

static void put_table(const struct model_info *models, size_t n, struct buf *out)
{
    int width = 4;
    for (size_t i = 0; i < n; i++)
        if ((int)strlen(models[i].id) > width) width = (int)strlen(models[i].id);
    buf_printf(out, "%-*s  %10s  %7s  %-8s  %8s  %s\n", width, "NAME", "SIZE", "PARAMS", "QUANT",
               "CONTEXT", "KIND");
    for (size_t i = 0; i < n; i++) {
        const struct model_info *m = &models[i];
        char size[32], params[32];
        format_params(params, sizeof(params), m->n_params);
        buf_printf(out, "%-*s  %10s  %7s  %-8s  %8d  %s%s\n", width, m->id,
                   str_from_bytes(size, sizeof(size), (uint64_t)m->file_bytes), params, m->quant,
                   (int)m->n_ctx_train, model_kind_name(m->kind), m->builtin ? " (built-in)" : "");
    }
}

static enum err list(const struct cmd_args *args, struct hub *hub, struct buf *out,
                     struct error *error)
{
    struct model_info *found;
    size_t n;
    enum err err = models_list(hub->models, &found, &n, error);
    if (err) return err;
    if (cmd_flag(args, "json")) {
        struct jw w;
        jw_init(&w, out);
        jw_obj(&w);
        jw_kstr(&w, "folder", models_dir(hub->models));
        jw_key(&w, "models");
        jw_arr(&w);
        for (size_t i = 0; i < n; i++) {
            jw_obj(&w);
            put_info_json(&w, &found[i]);
            jw_obj_end(&w);
        }
        jw_arr_end(&w);
        jw_obj_end(&w);
        buf_putc(out, '\n');
    } else if (cmd_flag(args, "names")) {
        for (size_t i = 0; i < n; i++) buf_printf(out, "%s\n", found[i].id);
    } else {
        put_table(found, n, out);
        buf_printf(out, "\nin %s; `hearth pull` adds one\n", models_dir(hub->models));
    }
    free(found);
    return OK;
}

/* ---- catalog -------------------------------------------------------------------------------- */

static void put_known_json(struct jw *w, const struct catalog_model *m)
{
    jw_obj(w);
    jw_kstr(w, "name", m->name);
    jw_kstr(w, "kind", model_kind_name(m->kind));
    jw_kstr(w, "parameters", m->params);
    jw_kint(w, "context", m->context);
    jw_kstr(w, "license", m->license);
    jw_kstr(w, "repository", m->repo);
    jw_key(w, "files");
    jw_arr(w);
    for (size_t i = 0; i < m->n_files; i++) {
        jw_obj(w);
        jw_kstr(w, "quantization", m->files[i].quant);
        jw_kstr(w, "file", m->files[i].file);
        jw_kint(w, "bytes", m->files[i].bytes);
        jw_obj_end(w);
    }
    jw_arr_end(w);
    jw_obj_end(w);
}

static void put_known(const struct catalog_model *models, size_t n, struct buf *out)
{
    buf_printf(out, "%-24s  %7s  %10s  %8s  %-10s  %s\n", "NAME", "PARAMS", "SIZE", "CONTEXT",
               "KIND", "LICENSE");
    for (size_t i = 0; i < n; i++) {
        const struct catalog_model *m = &models[i];
        char size[32] = "";
        if (m->n_files && m->files[0].bytes)
            str_from_bytes(size, sizeof(size), (uint64_t)m->files[0].bytes);
        buf_printf(out, "%-24s  %7s  %10s  %8d  %-10s  %s\n", m->name, m->params, size,
                   (int)m->context, model_kind_name(m->kind), m->license);
    }
    buf_puts(out, "\n`hearth pull NAME` downloads one; NAME:QUANT another size of it\n");
}

static enum err catalog(const struct cmd_args *args, struct hub *hub, struct buf *out,
                        struct error *error)
{
    char path[FS_PATH_MAX];
    struct catalog *known;
    enum err err = fs_join(path, sizeof(path), config_str(hub->config, CONFIG_BUILTIN_DIR),
                           "catalog.json", error);
    if (err == OK) err = catalog_load(path, &known, error);
    if (err) return err;
    size_t n;
    const struct catalog_model *models = catalog_models(known, &n);
    if (cmd_flag(args, "json")) {
        struct jw w;
        jw_init(&w, out);
        jw_arr(&w);
        for (size_t i = 0; i < n; i++) put_known_json(&w, &models[i]);
        jw_arr_end(&w);
        buf_putc(out, '\n');
    } else if (cmd_flag(args, "names")) {
        for (size_t i = 0; i < n; i++) buf_printf(out, "%s\n", models[i].name);
    } else {
        put_known(models, n, out);
    }
    catalog_free(known);
    return OK;
}

/* ---- show ----------------------------------------------------------------------------------- */

static void put_value(const json_t *value, struct buf *out)
{
    if (json_is_string(value)) {
        const char *s = json_string_value(value);
        size_t len = strcspn(s, "\n"), cut = utf8_cut(s, len, 100);
        buf_append(out, s, cut);
        if (s[cut]) buf_puts(out, " ...");
    } else {
        json_dump(value, out);
    }
    buf_putc(out, '\n');
}

static void put_info(const struct model_info *m, struct buf *out)
{
    char size[32], params[32], when[32] = "";
    time_t modified = (time_t)m->modified_s;
    struct tm tm;
    if (localtime_r(&modified, &tm)) strftime(when, sizeof(when), "%Y-%m-%d %H:%M", &tm);
    format_params(params, sizeof(params), m->n_params);
    buf_printf(out,
               "%s%s\n  name          %s\n  kind          %s%s%s\n  architecture  %s\n"
               "  quantization  %s\n  parameters    %s\n  context       %d tokens\n"
               "  size          %s\n  modified      %s\n  file          %s\n",
               m->id, m->builtin ? " (built-in)" : "", m->name, model_kind_name(m->kind),
               m->has_tools ? ", tools" : "",
               m->kind == MODEL_CHAT && !m->has_chat_template ? ", no chat template" : "", m->arch,
               m->quant, params, (int)m->n_ctx_train,
               str_from_bytes(size, sizeof(size), (uint64_t)m->file_bytes), when, m->path);
}

static enum err show(const struct cmd_args *args, struct hub *hub, struct buf *out,
                     struct error *error)
{
    struct model_info *m = calloc(1, sizeof(*m));
    struct buf metadata;
    json_t *root = NULL;
    ht_assert(m);
    buf_init(&metadata, TEXT_MAX);
    enum err err = models_resolve(hub->models, args->rest[1], true, m, error);
    if (err == OK) err = gguf_metadata_json(m->path, &metadata, error);
    if (err == OK && cmd_flag(args, "json")) {
        struct jw w;
        jw_init(&w, out);
        jw_obj(&w);
        put_info_json(&w, m);
        jw_key(&w, "metadata");
        jw_raw(&w, buf_str(&metadata), metadata.len);
        jw_obj_end(&w);
        buf_putc(out, '\n');
    } else if (err == OK) {
        err = json_parse(buf_str(&metadata), metadata.len, &root, error);
        const char *key;
        json_t *value;
        put_info(m, out);
        if (err == OK) buf_puts(out, "\n");
        json_object_foreach (root, key, value) {
            buf_printf(out, "  %-40s ", key);
            put_value(value, out);
        }
    }
    json_decref(root);
    buf_free(&metadata);
    free(m);
    return err;
}

/* ---- import ---------------------------------------------------------------------------------- */

static void on_model(void *ctx, const char *name, bool known, const struct error *error)
{
    if (error)
        buf_printf(ctx, "left out %s: %s\n", name, error->msg);
    else
        buf_printf(ctx, "%s %s\n", known ? "known   " : "imported", name);
}

/* Each of the folders that exists; how many models are new, in *n. */
static enum err import_folders(struct hub *hub, const char *folders, struct buf *out, size_t *n,
                               struct error *error)
{
    bool any = false;
    struct import_report report = {on_model, out};
    for (const char *dir = folders; *dir; dir += strlen(dir) + 1) {
        size_t more;
        enum err err = models_import_ollama(hub->models, dir, &report, &more, error);
        if (err == ERR_NOT_FOUND) continue;
        if (err) return err;
        any = true;
        *n += more;
    }
    if (any) return OK;
    return err_set(error, ERR_NOT_FOUND,
                   "no Ollama keeps models here (looked at %s and the usual places); name its "
                   "folder with OLLAMA_MODELS",
                   folders);
}

static enum err import(const struct cmd_args *args, struct hub *hub, struct buf *out,
                       struct error *error)
{
    char folders[4 * FS_PATH_MAX];
    size_t n = 0;
    if (!str_eq(args->rest[1], "ollama"))
        return err_set(error, ERR_INVALID, "it is `hearth models import ollama`, got \"%.40s\"",
                       args->rest[1]);
    ollama_folders(config_str(hub->config, CONFIG_OLLAMA_MODELS), folders, sizeof(folders));
    enum err err = import_folders(hub, folders, out, &n, error);
    if (!err) buf_printf(out, "\n%zu new; the files are used where they lie\n", n);
    return err;
}

/* ---- rm ------------------------------------------------------------------------------------- */

static enum err confirm(const struct model_info *m, struct error *error)
{
    char answer[16], size[32];
    if (!isatty(STDIN_FILENO))
        return err_set(error, ERR_INVALID, "say --yes to remove %s without being asked", m->id);
    fprintf(stderr, "Remove %s (%s)? [y/N] ", m->id,
            str_from_bytes(size, sizeof(size), (uint64_t)m->file_bytes));
    if (fgets(answer, sizeof(answer), stdin) && (answer[0] == 'y' || answer[0] == 'Y')) return OK;
    return err_set(error, ERR_CANCELLED, "nothing was removed");
}

static enum err rm(const struct cmd_args *args, struct hub *hub, struct buf *out,
                   struct error *error)
{
    struct model_info *m = calloc(1, sizeof(*m));
    ht_assert(m);
    enum err err = models_resolve(hub->models, args->rest[1], false, m, error);
    if (err == OK && !m->builtin && !cmd_flag(args, "yes")) err = confirm(m, error);
    if (err == OK)
        err =
            models_remove(hub->models, m->id, config_str(hub->config, CONFIG_ADAPTERS_DIR), error);
    if (err == OK) buf_printf(out, "removed %s\n", m->id);
    free(m);
    return err;
}

/* ---- the verb ------------------------------------------------------------------------------- */

static int run_models(const struct cmd_call *call)
{
    static const struct {
        const char *name;
        size_t n_args;
        enum err (*run)(const struct cmd_args *args, struct hub *hub, struct buf *out,
                        struct error *error);
    } actions[] = {{"list", 1, list}, {"ls", 1, list},       {"show", 2, show},
                   {"rm", 2, rm},     {"import", 2, import}, {"catalog", 1, catalog}};
    const struct cmd_args *args = call->args;
    const char *name = args->n_rest ? args->rest[0] : "list";
    size_t a = 0, n = sizeof(actions) / sizeof(*actions);
    struct error error;
    while (a < n && !str_eq(actions[a].name, name)) a++;
    if (a == n || (args->n_rest && args->n_rest != actions[a].n_args)) {
        err_set(&error, ERR_INVALID,
                "it is `hearth models` with list, show NAME, rm NAME, import ollama or "
                "catalog");
        return cmd_usage_error(call->verb, &error);
    }
    struct config *config;
    struct hub *hub;
    if (cmd_open_idle_hub(args, &config, &hub, &error)) return cmd_fail(&error);
    struct buf text, clean;
    buf_init(&text, TEXT_MAX);
    buf_init(&clean, 2 * (size_t)TEXT_MAX);
    enum err err = actions[a].run(args, hub, &text, &error);
    cmd_close_idle_hub(config, hub);
    int status;
    if (err) {
        status = cmd_fail(&error);
    } else if (isatty(STDOUT_FILENO)) { /* names and metadata are whatever a file says */
        term_clean(&clean, buf_str(&text), text.len);
        status = cmd_print(&clean);
    } else {
        status = cmd_print(&text);
    }
    buf_free(&text);
    buf_free(&clean);
    return status;
}

const struct cmd_verb verb_models = {
    .name = "models",
    .args = "[list | show NAME | rm NAME | import | catalog]",
    .summary = "List, describe or remove the models on disk, or list those to pull",
    .details =
        "`list` shows what is on disk, `catalog` the names that `hearth pull` knows. `import "
        "ollama` takes the models over that an Ollama on this machine has pulled, without "
        "copying them (OLLAMA_MODELS names its folder).\n\n"
        "  hearth models\n"
        "  hearth models show llama3.2:1b\n"
        "  hearth models rm llama3.2:1b --yes\n"
        "  hearth models list --json | jq -r '.models[].id'",
    .words = "list show rm import catalog",
    .complete = COMPLETE_MODEL,
    .max_args = 2,
    .flags = CMD_CONFIG,
    .options = options,
    .n_options = sizeof(options) / sizeof(*options),
    .run = run_models,
};
