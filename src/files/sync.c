/* What a change in a watched folder means; see sync.h. */
#include "files/sync.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "extract/extract.h"

enum { MEMORY = 8 << 20, PAGE = 200, TARGETS_MEMORY = 4 << 20 };

void sync_target_clear(struct sync_target *t)
{
    free(t->path);
    free(t->user_id);
    free(t->collection_id);
    *t = (struct sync_target){0};
}

/* Whoever watches a folder was let to, by `hearth add --watch` or the settings. */
static struct store_asker asker_of(const struct sync_target *t)
{
    return (struct store_asker){.user_id = t->user_id, .admin = true};
}

/* ---- one file -------------------------------------------------------------------------------- */

static bool worth_taking(struct files *f, const char *path, const struct stat *st)
{
    char type[EXTRACT_TYPE_MAX];
    if (st->st_size == 0) return false;
    if (st->st_size > files_max_bytes(f)) {
        log_warn(files, "%s is larger than %lld MiB (MAX_FILESIZE_MB) and left out", path,
                 (long long)(files_max_bytes(f) >> 20));
        return false;
    }
    const char *name = strrchr(path, '/');
    return extract_detect(path, name ? name + 1 : path, type, NULL) == OK && extract_can_read(type);
}

static enum err add_file(const struct sync_target *t, struct files *f, struct store *s,
                         const char *path, struct arena *a, struct error *error)
{
    struct spool *spool;
    struct store_file out;
    struct files_new new = {.who = asker_of(t), .collection = t->collection_id, .source = path};
    const char *name = strrchr(path, '/');
    bool added;
    new.name = name ? name + 1 : path;
    enum err e = files_spool(f, 0, &spool, error);
    if (e) return e;
    e = spool_copy(spool, path, &new.source_ms, error);
    if (!e) e = files_add(f, s, &new, spool, a, &out, &added, error);
    spool_free(spool);
    return e;
}

static enum err update_file(const struct sync_target *t, struct files *f, struct store *s,
                            const char *path, const struct store_file *old, struct error *error)
{
    struct spool *spool;
    int64_t source_ms = 0;
    enum err e = files_spool(f, 0, &spool, error);
    if (e) return e;
    e = spool_copy(spool, path, &source_ms, error);
    if (!e && str_eq(spool_sha256(spool), old->sha256))
        e = store_watch_touch(s, old->id, source_ms, error);
    else if (!e)
        e = files_replace(f, s, old, t->user_id, source_ms, spool, error);
    spool_free(spool);
    return e;
}

enum err sync_file(const struct sync_target *t, struct files *f, struct store *s, const char *path,
                   struct error *error)
{
    struct stat st;
    struct store_file old;
    if (lstat(path, &st) != 0 || !S_ISREG(st.st_mode)) return OK; /* its going will be told */
    int64_t changed_ms = st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
    struct arena *a = arena_new(MEMORY);
    enum err e = store_watch_file(s, t->collection_id, path, a, &old, error);
    if (e == ERR_NOT_FOUND)
        e = worth_taking(f, path, &st) ? add_file(t, f, s, path, a, error) : OK;
    else if (!e && (old.bytes != st.st_size || old.source_ms != changed_ms))
        e = worth_taking(f, path, &st) ? update_file(t, f, s, path, &old, error)
                                       : sync_removed(t, f, s, path, error);
    arena_free(a);
    return e;
}

/* ---- what has gone --------------------------------------------------------------------------- */

/* A file that another one deletes at the same time is gone as well. */
static enum err delete_file(const struct sync_target *t, struct files *f, struct store *s,
                            const struct store_file *file, struct error *error)
{
    struct store_asker who = asker_of(t);
    enum err e = files_delete(f, s, &who, file->id, error);
    return e == ERR_NOT_FOUND ? OK : e;
}

/* Records under `folder`: all of them, or those whose file has gone. */
static enum err delete_under(const struct sync_target *t, struct files *f, struct store *s,
                             const char *folder, bool all, struct error *error)
{
    char after[STORE_ID_MAX] = "";
    size_t n = PAGE;
    struct stat st;
    enum err e = OK;
    while (!e && n == PAGE) {
        struct arena *a = arena_new(MEMORY);
        struct store_file *list;
        e = store_watch_files(s, t->collection_id, folder, after, PAGE, a, &list, &n, error);
        if (!e && n) str_copy(after, sizeof after, list[n - 1].id);
        for (size_t i = 0; !e && i < n; i++)
            if (all || (lstat(list[i].source, &st) != 0 && errno == ENOENT))
                e = delete_file(t, f, s, &list[i], error);
        arena_free(a);
    }
    return e;
}

enum err sync_removed(const struct sync_target *t, struct files *f, struct store *s,
                      const char *path, struct error *error)
{
    struct store_file file;
    struct arena *a = arena_new(MEMORY);
    enum err e = store_watch_file(s, t->collection_id, path, a, &file, error);
    if (!e)
        e = delete_file(t, f, s, &file, error);
    else if (e == ERR_NOT_FOUND)
        e = delete_under(t, f, s, path, true, error); /* it was a folder, or nothing */
    arena_free(a);
    return e;
}

enum err sync_gone(const struct sync_target *t, struct files *f, struct store *s,
                   struct error *error)
{
    return delete_under(t, f, s, t->path, false, error);
}

/* ---- which folders --------------------------------------------------------------------------- */

static enum err stored_targets(struct store *s, struct arena *a,
                               void (*fn)(void *ctx, struct sync_target *target), void *ctx,
                               struct error *error)
{
    struct store_watch *list;
    size_t n;
    enum err e = store_watch_list(s, NULL, a, &list, &n, error);
    for (size_t i = 0; !e && i < n; i++) {
        struct sync_target t = {.path = xstrdup(list[i].path),
                                .user_id = xstrdup(list[i].user_id),
                                .collection_id = xstrdup(list[i].collection_id)};
        fn(ctx, &t);
    }
    return e;
}

/* The oldest admin; *id stays NULL when there is none. */
static enum err first_admin(struct store *s, struct arena *a, const char **id, struct error *error)
{
    struct store_user *users;
    size_t n;
    int64_t since = INT64_MAX;
    enum err e = store_user_list(s, a, &users, &n, error);
    for (size_t i = 0; !e && i < n; i++) {
        if (!users[i].admin || users[i].disabled || users[i].created_ms >= since) continue;
        since = users[i].created_ms;
        *id = users[i].id;
    }
    return e;
}

/* One of the list, "~" and all; false when it is none. */
static bool real_folder(const char *word, size_t len, char dst[FS_PATH_MAX])
{
    char path[FS_PATH_MAX];
    const char *home = getenv("HOME");
    bool from_home = len > 0 && word[0] == '~' && (len == 1 || word[1] == '/') && home;
    if (!str_printf(path, sizeof path, "%s%.*s", from_home ? home : "",
                    (int)(from_home ? len - 1 : len), from_home ? word + 1 : word))
        return false;
    if (realpath(path, dst)) return true;
    size_t end = strlen(path); /* it may be there later */
    while (end > 1 && path[end - 1] == '/') path[--end] = '\0';
    return path[0] == '/' && str_copy(dst, FS_PATH_MAX, path);
}

enum err sync_targets(struct files *f, struct store *s, const char *folders,
                      void (*fn)(void *ctx, struct sync_target *target), void *ctx,
                      struct error *error)
{
    struct arena *a = arena_new(TARGETS_MEMORY);
    struct store_collection c;
    const char *admin = NULL;
    enum err e = stored_targets(s, a, fn, ctx, error);
    if (!e && *folders) e = first_admin(s, a, &admin, error);
    if (!e && admin) e = store_collection_default(s, admin, files_collection(f), a, &c, error);
    while (!e && admin && *folders) {
        char path[FS_PATH_MAX];
        folders += strspn(folders, " \t,");
        size_t len = strcspn(folders, ","), end = len;
        while (end > 0 && (folders[end - 1] == ' ' || folders[end - 1] == '\t')) end--;
        if (end > 0 && real_folder(folders, end, path)) {
            struct sync_target t = {xstrdup(path), xstrdup(admin), xstrdup(c.id)};
            fn(ctx, &t);
        } else if (end > 0) {
            log_warn(files, "HEARTH_WATCH: %.*s is not an absolute path", (int)end, folders);
        }
        folders += len;
    }
    arena_free(a);
    return e;
}
