/* Makes folder and database agree again: after kill -9, after accounts that went with their files,
 * after somebody's rm in the folder. See files.h. */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "files/files_int.h"

enum { WALK = 500, WALK_MEMORY = 8 << 20 };

static bool is_hash(const char *name)
{
    return strlen(name) == STORE_SHA256_MAX - 1 &&
           strspn(name, "0123456789abcdef") == STORE_SHA256_MAX - 1;
}

/* One folder of blobs/, whose lock is held. */
static enum err sweep_folder(struct store *s, DIR *d, size_t *removed, struct error *error)
{
    enum err e = OK;
    for (struct dirent *entry; !e && (entry = readdir(d));) {
        int64_t n = 1;
        if (!is_hash(entry->d_name)) continue;
        e = store_file_references(s, entry->d_name, &n, error);
        if (!e && n == 0 && unlinkat(dirfd(d), entry->d_name, 0) == 0) ++*removed;
    }
    return e;
}

static enum err sweep_blobs(struct files *f, struct store *s, size_t *removed, bool *any,
                            struct error *error)
{
    char path[FS_PATH_MAX];
    enum err e = fs_join(path, sizeof path, f->dir, "blobs", error);
    DIR *d = e ? NULL : opendir(path);
    for (struct dirent *entry; d && !e && (entry = readdir(d));) {
        if (strlen(entry->d_name) != 2 || entry->d_name[0] == '.') continue;
        int fd = openat(dirfd(d), entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        DIR *sub = fd < 0 ? NULL : fdopendir(fd);
        if (!sub) continue;
        *any = true;
        /* For each folder anew: uploads wait for it. */
        int lock = files_lock(f, LOCK_EX, error);
        e = lock < 0 ? error->code : sweep_folder(s, sub, removed, error);
        if (lock >= 0) close(lock);
        closedir(sub);
    }
    if (d) closedir(d);
    return e;
}

static enum err mark_lost(struct store *s, const struct store_file *file, struct error *error)
{
    struct store_file_progress p = {STORE_FILE_FAILED,
                                    -1,
                                    -1,
                                    -1,
                                    -1,
                                    "its bytes are gone from the hub's folder; upload it again",
                                    NULL};
    enum err e = store_file_progress(s, file->id, file->sha256, &p, error);
    return e == ERR_NOT_FOUND || e == ERR_CONFLICT ? OK : e; /* it goes or changes just now */
}

static enum err check_records(struct files *f, struct store *s, const struct store_file *list,
                              size_t n, size_t *lost, struct error *error)
{
    char path[FS_PATH_MAX];
    enum err e = OK;
    for (size_t i = 0; !e && i < n; i++) {
        e = files_blob(f, list[i].sha256, path, sizeof path, error);
        if (e || list[i].status == STORE_FILE_FAILED || access(path, F_OK) == 0) continue;
        e = mark_lost(s, &list[i], error);
        ++*lost;
    }
    return e;
}

static enum err sweep_records(struct files *f, struct store *s, size_t *lost, struct error *error)
{
    char after[STORE_ID_MAX] = "";
    size_t n = WALK;
    enum err e = OK;
    while (!e && n == WALK) {
        struct arena *a = arena_new(WALK_MEMORY);
        struct store_file *list;
        e = store_file_walk(s, after, WALK, a, &list, &n, error);
        if (!e) e = check_records(f, s, list, n, lost, error);
        if (!e && n) str_copy(after, sizeof after, list[n - 1].id);
        arena_free(a);
    }
    return e;
}

enum err files_sweep(struct files *f, struct store *s, struct files_swept *out, struct error *error)
{
    char tmp[FS_PATH_MAX];
    bool any = false;
    *out = (struct files_swept){0};
    enum err e = fs_join(tmp, sizeof tmp, f->dir, "tmp", error);
    if (e) return e;
    out->spools = spool_sweep(tmp);
    e = sweep_blobs(f, s, &out->blobs, &any, error);
    /* Without any the folder is another one, or its disk is away: not a thing to judge files by. */
    if (!e && any) e = sweep_records(f, s, &out->lost, error);
    if (out->spools || out->blobs || out->lost)
        log_info(files,
                 "swept: %zu unfinished uploads and %zu files without a record are removed, %zu "
                 "records have lost their bytes",
                 out->spools, out->blobs, out->lost);
    return e;
}
