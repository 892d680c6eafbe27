/* hub.json: see hubfile.h. */
#include "cmd/hubfile.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"

enum { HUBFILE_MAX = 4096 };

static const char file_name[] = "hub.json";

bool hubfile_url(const char *host, int port, char *dst, size_t size)
{
    if (!*host || str_eq(host, "0.0.0.0") || str_eq(host, "*")) host = "127.0.0.1";
    if (str_eq(host, "::")) host = "::1";
    bool v6 = strchr(host, ':') != NULL;
    return str_printf(dst, size, "http://%s%s%s:%d", v6 ? "[" : "", host, v6 ? "]" : "", port);
}

enum err hubfile_write(const char *data_dir, const char *url, struct error *error)
{
    char path[FS_PATH_MAX];
    enum err err = fs_mkdirs(data_dir, 0700, error);
    if (err == OK) err = fs_join(path, sizeof(path), data_dir, file_name, error);
    if (err) return err;
    struct buf text;
    buf_init(&text, HUBFILE_MAX);
    struct jw w;
    jw_init(&w, &text);
    jw_obj(&w);
    jw_kint(&w, "pid", getpid());
    jw_kstr(&w, "url", url);
    jw_kstr(&w, "version", HEARTH_VERSION);
    jw_obj_end(&w);
    buf_putc(&text, '\n');
    ht_assert(text.err == OK);
    err = fs_write_atomic(path, text.data, text.len, 0600, error);
    buf_free(&text);
    return err;
}

/* Reads pid and URL; false when there is no file that makes sense. */
static bool read_file(const char *data_dir, int64_t *pid, char *url, size_t size)
{
    char path[FS_PATH_MAX];
    struct error ignored;
    struct buf text;
    json_t *root = NULL;
    const char *found = NULL;
    buf_init(&text, HUBFILE_MAX);
    if (fs_join(path, sizeof(path), data_dir, file_name, &ignored) == OK && fs_exists(path) &&
        fs_read_file(path, HUBFILE_MAX, &text, &ignored) == OK &&
        json_parse(buf_str(&text), text.len, &root, &ignored) == OK) {
        *pid = json_integer_value(json_object_get(root, "pid"));
        found = json_string_value(json_object_get(root, "url"));
    }
    bool ok = found && *pid > 0 && *pid <= INT32_MAX && str_copy(url, size, found);
    json_decref(root);
    buf_free(&text);
    return ok;
}

void hubfile_remove(const char *data_dir)
{
    char path[FS_PATH_MAX], url[HUBFILE_MAX];
    int64_t pid;
    struct error ignored;
    if (read_file(data_dir, &pid, url, sizeof(url)) && pid == getpid() &&
        fs_join(path, sizeof(path), data_dir, file_name, &ignored) == OK)
        unlink(path);
}

bool hubfile_read(const char *data_dir, char *url, size_t size)
{
    int64_t pid;
    if (!read_file(data_dir, &pid, url, size)) return false;
    return kill((pid_t)pid, 0) == 0 || errno == EPERM;
}
