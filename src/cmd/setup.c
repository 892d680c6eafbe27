/* What verbs need before their work: configuration, folders, a hub without a server, the prompt. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "cmd/cmd_int.h"
#include "hub/hub.h"
#include "models/adapters.h"
#include "provider/shared.h"

enum { MORE_MAX = 8 };

enum err cmd_load_config(const struct cmd_args *args, const struct config_override *more, size_t n,
                         struct config **out, struct error *error)
{
    struct config_override all[CMD_VALUES_MAX + MORE_MAX];
    size_t count = args->n_overrides;
    ht_assert(n <= MORE_MAX);
    memcpy(all, args->overrides, count * sizeof(*all));
    for (size_t i = 0; i < n; i++) all[count++] = more[i];
    return config_load(all, count, out, error);
}

enum err cmd_data_dir(const struct config *config, char *dst, size_t size, struct error *error)
{
    const char *dir = config_str(config, CONFIG_DATA_DIR);
    if (!*dir) return fs_user_data_dir(dst, size, error);
    if (str_copy(dst, size, dir)) return OK;
    return err_set(error, ERR_INVALID, "HEARTH_DATA is longer than %zu bytes", size - 1);
}

enum err cmd_open_idle_hub(const struct cmd_args *args, struct config **config, struct hub **hub,
                           struct error *error)
{
    static const struct config_override no_preload = {CONFIG_PRELOAD, "false"};
    enum err err = cmd_load_config(args, &no_preload, 1, config, error);
    if (err) return err;
    err = hub_open(*config, hub, error);
    if (err) config_free(*config);
    return err;
}

void cmd_close_idle_hub(struct config *config, struct hub *hub)
{
    hub_close(hub, 0);
    config_free(config);
}

enum err cmd_default_model(const struct hub *hub, struct model_info *out, struct error *error)
{
    const char *name = config_str(hub->config, CONFIG_DEFAULT_MODEL);
    enum err err = hub_default_model(hub, out, error);
    if (err == OK) return OK;
    if (!*name && err == ERR_NO_MODEL)
        return err_set(error, err,
                       "no model is pulled, and the built-in ones are not in '%s': set "
                       "HEARTH_BUILTIN to their folder, or `hearth pull llama3.2:1b`",
                       config_str(hub->config, CONFIG_BUILTIN_DIR));
    /* The hub's words are for clients, which must not learn folders; the person who set it may. */
    struct error whole;
    if (*name && models_resolve(hub->models, name, true, out, &whole)) *error = whole;
    return error->code;
}

/* ---- settings that name files ---------------------------------------------------------------- */

static enum err find_adapter(const struct config *config, const char *name, struct error *error)
{
    struct adapters *adapters;
    struct adapter_info info;
    char builtin[MODEL_PATH_MAX];
    adapters_builtin_dir(config_str(config, CONFIG_BUILTIN_DIR), builtin);
    enum err err =
        adapters_open(config_str(config, CONFIG_ADAPTERS_DIR), builtin, &adapters, error);
    if (err) return err;
    err = adapters_resolve(adapters, name, &info, error);
    adapters_free(adapters);
    return err;
}

static enum err check_adapter(const struct config *config, struct error *error)
{
    const char *name = config_str(config, CONFIG_DEFAULT_ADAPTER);
    struct error why;
    if (!*name || adapter_is_none(name) || find_adapter(config, name, &why) == OK) return OK;
    return err_set_param(error, ERR_CONFIG, "HEARTH_ADAPTER",
                         "HEARTH_ADAPTER is '%.100s' (%.250s); allowed: an adapter of %.100s or a "
                         "built-in one, default, or base for none",
                         name, why.msg, config_str(config, CONFIG_ADAPTERS_DIR));
}

enum err cmd_check_settings(const struct config *config, struct error *error)
{
    struct shared_texts shared = {0};
    enum err err = shared_read(config_str(config, CONFIG_SHARED_PREFIXES), &shared, error);
    shared_free(&shared);
    return err ? err : check_adapter(config, error);
}

/* ---- the prompt ----------------------------------------------------------------------------- */

/* All of standard input, up to max bytes. */
static enum err read_stdin(struct buf *out, size_t max, struct error *error)
{
    char piece[16 << 10];
    for (;;) {
        ssize_t n = read(STDIN_FILENO, piece, sizeof(piece));
        if (n == 0) break;
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EBADF) break; /* closed: nothing was given */
        if (n < 0) return err_set_errno(error, errno, "reading standard input");
        if (buf_append(out, piece, (size_t)n))
            return err_set(error, ERR_TOO_LARGE, "standard input is larger than %zu MiB",
                           max >> 20);
    }
    if (out->len && (!utf8_valid(out->data, out->len) || memchr(out->data, '\0', out->len)))
        return err_set(error, ERR_INVALID, "standard input is not UTF-8 text");
    return OK;
}

static enum err join_prompt(const char *asked, struct buf *out, size_t max, struct error *error)
{
    if (asked && !utf8_valid(asked, strlen(asked)))
        return err_set(error, ERR_INVALID, "the argument is not UTF-8 text");
    if (asked) buf_puts(out, asked);
    if (isatty(STDIN_FILENO)) return OK;
    struct buf given;
    buf_init(&given, max);
    enum err err = read_stdin(&given, max, error);
    while (given.len && (given.data[given.len - 1] == '\n' || given.data[given.len - 1] == '\r'))
        given.data[--given.len] = '\0';
    if (asked && given.len) buf_puts(out, "\n\n");
    buf_append(out, buf_str(&given), given.len);
    buf_free(&given);
    return err;
}

enum err cmd_read_prompt(const struct cmd_args *args, struct buf *out, size_t max,
                         struct error *error)
{
    char *asked = cmd_rest_joined(args);
    enum err err = join_prompt(asked, out, max, error);
    free(asked);
    if (err == OK && out->err) err = err_set(error, out->err, "the text is too long");
    if (err == OK && buf_str(out)[strspn(buf_str(out), " \t\r\n")] == '\0')
        err = err_set(error, ERR_INVALID,
                      "nothing was given: put a text on the command line or standard input");
    return err;
}
