/* Which link to take, and what both kinds have in common. */
#include "cmd/link.h"

#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "cmd/cmd_int.h"
#include "cmd/hubfile.h"

enum {
    PROBE_CONNECT_MS = 300,
    PROBE_IDLE_MS = 1000,
    PROBE_BODY_MAX = 64 << 10,
    DELETED_MAX = 64 << 10
};

enum err link_start(struct link *link, const char *path, const char *body, size_t len,
                    struct reply *reply, struct error *error)
{
    return link->ops->start(link, body ? "POST" : "GET", path, body, len, reply, error);
}

void link_cancel(struct link *link)
{
    link->ops->cancel(link);
}

void link_close(struct link *link)
{
    if (link) link->ops->close(link);
}

static enum err whole(struct link *link, const char *method, const char *path, const char *body,
                      struct buf *out, struct error *error)
{
    struct reply *reply = reply_new();
    enum err err =
        link->ops->start(link, method, path, body, body ? strlen(body) : 0, reply, error);
    if (err == OK) {
        struct reply_end end;
        const char *text;
        size_t len;
        enum reply_wake wake;
        while ((wake = reply_next(reply, -1, &text, &len, &end)) != REPLY_END)
            if (wake == REPLY_INTERRUPT) link_cancel(link);
        if (end.error.code) {
            *error = end.error;
            err = end.error.code;
        } else if (buf_append(out, end.body, end.body_len)) {
            err = err_set(error, ERR_TOO_LARGE, "the answer is too large");
        }
    }
    reply_free(reply);
    return err;
}

enum err link_get(struct link *link, const char *path, struct buf *out, struct error *error)
{
    return whole(link, "GET", path, NULL, out, error);
}

enum err link_post(struct link *link, const char *path, const char *body, struct buf *out,
                   struct error *error)
{
    return whole(link, "POST", path, body, out, error);
}

enum err link_delete(struct link *link, const char *path, struct error *error)
{
    struct buf nothing;
    buf_init(&nothing, DELETED_MAX);
    enum err err = whole(link, "DELETE", path, NULL, &nothing, error);
    buf_free(&nothing);
    return err;
}

/* ---- which hub ------------------------------------------------------------------------------ */

static bool collect(void *ctx, const void *data, size_t len)
{
    return buf_append(ctx, data, len) == OK;
}

/* Whether a hub of ours answers there: something else may have taken the port. */
static bool answers(struct httpc *http, const char *url)
{
    char health[LINK_URL_MAX + 16];
    if (!str_printf(health, sizeof(health), "%s/health", url)) return false;
    struct buf body;
    struct error ignored;
    int status = 0;
    buf_init(&body, PROBE_BODY_MAX);
    struct httpc_request req = {
        .method = "GET",
        .url = health,
        .connect_timeout_ms = PROBE_CONNECT_MS,
        .idle_timeout_ms = PROBE_IDLE_MS,
        .on_data = collect,
        .ctx = &body,
    };
    bool ours = false;
    json_t *root = NULL;
    if (httpc_do(http, &req, &status, &ignored) == OK && status == 200 &&
        json_parse(buf_str(&body), body.len, &root, &ignored) == OK)
        ours = json_is_string(json_object_get(root, "status")) &&
               json_is_string(json_object_get(root, "version"));
    json_decref(root);
    buf_free(&body);
    return ours;
}

bool link_find_hub(const struct config *config, struct httpc *http, char url[LINK_URL_MAX])
{
    char dir[FS_PATH_MAX];
    struct error ignored;
    if (cmd_data_dir(config, dir, sizeof(dir), &ignored) == OK &&
        hubfile_read(dir, url, LINK_URL_MAX) && answers(http, url))
        return true;
    int64_t port = config_int(config, CONFIG_PORT);
    if (port == 0) return false;
    return hubfile_url(config_str(config, CONFIG_HOST), (int)port, url, LINK_URL_MAX) &&
           answers(http, url);
}

/* A path and not a name: it leads somewhere, or says so. */
static bool is_path(const char *model)
{
    return model && (model[0] == '/' || model[0] == '~' || str_starts(model, "./") ||
                     str_starts(model, "../") || fs_exists(model));
}

static enum err open_with(const struct cmd_args *args, const struct config_override *overrides,
                          size_t n, struct link **out, struct config **config_here,
                          struct error *error)
{
    enum err err = cmd_load_config(args, overrides, n, config_here, error);
    if (err) return err;
    err = link_open_local(*config_here, out, error);
    if (err) {
        config_free(*config_here);
        *config_here = NULL;
    }
    return err;
}

/* What is no model may be "<model>:<adapter>", as it may be at a hub. */
static enum err open_here(const struct cmd_args *args, const char *model, struct link **out,
                          struct config **config_here, struct error *error)
{
    char base[MODEL_ID_MAX];
    struct config_override overrides[] = {{CONFIG_DEFAULT_MODEL, model},
                                          {CONFIG_DEFAULT_ADAPTER, NULL}};
    enum err err = open_with(args, overrides, model ? 1 : 0, out, config_here, error);
    const char *colon = model ? strrchr(model, ':') : NULL;
    if (err != ERR_NO_MODEL || !colon || !colon[1]) return err;
    if (!str_printf(base, sizeof(base), "%.*s", (int)(colon - model), model)) return err;
    struct error ignored;
    overrides[0].value = base;
    overrides[1].value = colon + 1;
    return open_with(args, overrides, 2, out, config_here, &ignored) ? err : OK;
}

/* A model that is not here may be somewhere else; `why` says that it is not here. */
static enum err open_for_others(const struct cmd_args *args, bool named, struct link **out,
                                struct config **config_here, const struct error *why,
                                struct error *error)
{
    enum err err = open_with(args, NULL, 0, out, config_here, error);
    if (err) return err;
    if (named || (*out)->others) {
        (*out)->by_name = true;
        return OK;
    }
    link_close(*out);
    *out = NULL;
    config_free(*config_here);
    *config_here = NULL;
    *error = *why;
    return why->code;
}

enum err link_choose(const struct cmd_args *args, const struct config *config, struct link **out,
                     struct config **config_here, struct error *error)
{
    const char *url = cmd_opt(args, "url"), *model = cmd_opt(args, "model");
    *config_here = NULL;
    if (url) return link_open_remote(config, url, out, error);
    if (!cmd_flag(args, "no-hub") && !is_path(model)) {
        char found[LINK_URL_MAX];
        struct httpc *http;
        enum err err = httpc_new(&http, error);
        if (err) return err;
        bool runs = link_find_hub(config, http, found);
        httpc_free(http);
        if (runs) return link_open_remote(config, found, out, error);
    }
    const char *provider = cmd_opt(args, "provider");
    struct error why = {.code = ERR_NO_MODEL};
    if (provider && !str_ieq(provider, "local"))
        return open_for_others(args, true, out, config_here, &why, error);
    enum err err = open_here(args, model, out, config_here, error);
    if (err != ERR_NO_MODEL || provider || is_path(model)) return err;
    why = *error;
    return open_for_others(args, false, out, config_here, &why, error);
}
