#include "provider/shared.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"

void shared_free(struct shared_texts *s)
{
    for (size_t i = 0; i < s->n; i++) free(s->texts[i]);
}

/* Without the blank end that editors leave. */
static enum err read_text(const char *path, struct shared_texts *s, struct error *error)
{
    struct buf text;
    buf_init(&text, SHARED_BYTES_MAX + 1);
    enum err e = fs_read_file(path, SHARED_BYTES_MAX, &text, error);
    while (!e && text.len && strchr(" \t\r\n", text.data[text.len - 1])) text.len--;
    if (!e && !utf8_valid(buf_str(&text), text.len))
        e = err_set(error, ERR_INVALID, "%.300s is no UTF-8 text", path);
    if (!e && text.len) {
        text.data[text.len] = '\0';
        s->texts[s->n++] = xstrdup(text.data);
    }
    buf_free(&text);
    return e;
}

static enum err read_folder(DIR *dir, const char *path, struct shared_texts *s, struct error *error)
{
    char file[FS_PATH_MAX];
    for (struct dirent *d; (d = readdir(dir));) {
        if (*d->d_name == '.') continue;
        if (s->n == SHARED_MAX)
            return err_set(error, ERR_CONFIG, "there are more than %d files", SHARED_MAX);
        enum err e = fs_join(file, sizeof file, path, d->d_name, error);
        if (!e) e = read_text(file, s, error);
        if (e) return e;
    }
    return OK;
}

enum err shared_read(const char *path, struct shared_texts *s, struct error *error)
{
    if (!*path) return OK;
    DIR *dir = opendir(path);
    enum err e = dir ? read_folder(dir, path, s, error) : read_text(path, s, error);
    if (dir) closedir(dir);
    if (!e) return OK;
    struct error why = *error;
    return err_set_param(error, ERR_CONFIG, "HEARTH_SHARED_PREFIXES",
                         "HEARTH_SHARED_PREFIXES is '%.100s' (%.200s); allowed: a file of UTF-8 "
                         "text, or a folder of at most %d of them",
                         path, why.msg, SHARED_MAX);
}
