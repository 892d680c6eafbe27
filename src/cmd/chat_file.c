/* /save and /load: {"hearth_chat": 1, "model", "system", "messages": [{"role", "content"}]}. */
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "cmd/chat_int.h"

enum { FORMAT_VERSION = 1 };

/* "~/x" as the shell would expand it. */
static enum err expand(const char *path, char dst[FS_PATH_MAX], struct error *error)
{
    const char *home = getenv("HOME");
    if (str_starts(path, "~/") && home && *home)
        return fs_join(dst, FS_PATH_MAX, home, path + 2, error);
    if (str_copy(dst, FS_PATH_MAX, path)) return OK;
    return err_set(error, ERR_INVALID, "the path is longer than %d bytes", FS_PATH_MAX - 1);
}

enum err chat_save(const struct chat *c, const char *path, bool overwrite, struct error *error)
{
    char full[FS_PATH_MAX];
    enum err err = expand(path, full, error);
    if (err) return err;
    if (!overwrite && fs_exists(full))
        return err_set(error, ERR_CONFLICT, "%s exists already; /save! %s overwrites it", full,
                       path);
    struct buf text;
    struct jw w;
    buf_init(&text, CHAT_FILE_MAX);
    jw_init(&w, &text);
    jw_obj(&w);
    jw_kint(&w, "hearth_chat", FORMAT_VERSION);
    jw_kstr(&w, "model", c->model ? c->model : c->stats.model);
    jw_kstr(&w, "system", c->system);
    jw_key(&w, "messages");
    struct buf messages;
    buf_init(&messages, CHAT_FILE_MAX);
    json_dump(c->messages, &messages);
    jw_raw(&w, buf_str(&messages), messages.len);
    jw_obj_end(&w);
    buf_putc(&text, '\n');
    if (text.err || messages.err)
        err = err_set(error, ERR_TOO_LARGE, "the conversation is larger than %d MiB",
                      CHAT_FILE_MAX >> 20);
    else
        err = fs_write_atomic(full, text.data, text.len, 0600, error);
    buf_free(&messages);
    buf_free(&text);
    return err;
}

/* Whether the array holds messages as /save writes them. */
static bool are_messages(const json_t *messages)
{
    if (!json_is_array(messages)) return false;
    size_t i;
    const json_t *m;
    json_array_foreach (messages, i, m) {
        const char *role = json_string_value(json_object_get(m, "role"));
        if (!role || !json_is_string(json_object_get(m, "content"))) return false;
        if (!str_eq(role, "user") && !str_eq(role, "assistant") && !str_eq(role, "system"))
            return false;
    }
    return true;
}

enum err chat_load(struct chat *c, const char *path, struct error *error)
{
    char full[FS_PATH_MAX];
    struct buf text;
    json_t *root = NULL;
    buf_init(&text, CHAT_FILE_MAX);
    enum err err = expand(path, full, error);
    if (err == OK) err = fs_read_file(full, CHAT_FILE_MAX, &text, error);
    if (err == OK) {
        err = json_parse(buf_str(&text), text.len, &root, error);
        if (err) err_prefix(error, "%s", full);
    }
    json_t *messages = json_object_get(root, "messages");
    if (err == OK && !are_messages(messages))
        err = err_set(error, ERR_INVALID, "%s is no conversation that /save wrote", full);
    if (err == OK) {
        json_decref(c->messages);
        c->messages = json_incref(messages);
        const char *system = json_string_value(json_object_get(root, "system"));
        free(c->system);
        c->system = system ? xstrdup(system) : NULL;
    }
    json_decref(root);
    buf_free(&text);
    return err;
}
