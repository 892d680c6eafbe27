/* What writing and restoring share: hashes, the folder for work in progress, going through files.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backup/backup_int.h"
#include "base/str.h"

enum { DEPTH_MAX = 8 };

/* ---- SHA-256 ------------------------------------------------------------------------------- */

void sha_start(struct sha *s)
{
    crypto_hash_sha256_init(&s->state);
}

void sha_add(struct sha *s, const void *data, size_t len)
{
    crypto_hash_sha256_update(&s->state, data, len);
}

void sha_end(struct sha *s, char hex[SHA256_HEX])
{
    unsigned char hash[crypto_hash_sha256_BYTES];
    crypto_hash_sha256_final(&s->state, hash);
    for (size_t i = 0; i < sizeof hash; i++) str_printf(hex + 2 * i, 3, "%02x", hash[i]);
}

/* ---- files --------------------------------------------------------------------------------- */

static enum err io_error(const char *what, const char *path, struct error *error)
{
    int errnum = errno;
    char words[ERROR_MSG_MAX];
    str_printf(words, sizeof words, "%s %.300s", what, path);
    return err_set_errno(error, errnum, words);
}

static enum err visit_below(const char *root, const char *relative, int depth, visit_fn visit,
                            void *ctx, struct error *error)
{
    char dir[FS_PATH_MAX];
    enum err e = *relative ? fs_join(dir, sizeof dir, root, relative, error) : OK;
    if (!e && !*relative && !str_copy(dir, sizeof dir, root))
        e = err_set(error, ERR_INVALID, "the folder's path is too long");
    DIR *d = e ? NULL : opendir(dir);
    if (!e && !d) e = errno == ENOENT ? OK : io_error("can't read the folder", dir, error);
    for (struct dirent *entry; !e && d && (entry = readdir(d));) {
        char name[FS_PATH_MAX];
        struct stat st;
        if (entry->d_name[0] == '.') continue;
        if (!*relative)
            str_copy(name, sizeof name, entry->d_name);
        else if ((e = fs_join(name, sizeof name, relative, entry->d_name, error)))
            break;
        if (fstatat(dirfd(d), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0) continue; /* gone */
        if (S_ISREG(st.st_mode))
            e = visit(ctx, name, error);
        else if (S_ISDIR(st.st_mode) && depth < DEPTH_MAX)
            e = visit_below(root, name, depth + 1, visit, ctx, error);
    }
    if (d) closedir(d);
    return e;
}

enum err visit_files(const char *dir, visit_fn visit, void *ctx, struct error *error)
{
    return visit_below(dir, "", 0, visit, ctx, error);
}

enum err make_parents(const char *path, struct error *error)
{
    char dir[FS_PATH_MAX];
    if (!str_copy(dir, sizeof dir, path))
        return err_set(error, ERR_INVALID, "the path %.200s is too long", path);
    char *slash = strrchr(dir, '/');
    if (!slash || slash == dir) return OK;
    *slash = '\0';
    return fs_mkdirs(dir, 0700, error);
}

/* ---- work in progress ----------------------------------------------------------------------- */

static void remove_below(int at, const char *name, int depth)
{
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d) {
        if (fd >= 0) close(fd);
        return;
    }
    for (struct dirent *entry; (entry = readdir(d));) {
        if (str_eq(entry->d_name, ".") || str_eq(entry->d_name, "..")) continue;
        if (unlinkat(fd, entry->d_name, 0) != 0 && depth < DEPTH_MAX + 2)
            remove_below(fd, entry->d_name, depth + 1);
    }
    closedir(d);
    unlinkat(at, name, AT_REMOVEDIR);
}

/* The lock outlives a process that is killed only as long as its folder is not asked for again. */
enum err workplace_open(const char *inside, struct workplace *out, struct error *error)
{
    char lock[FS_PATH_MAX];
    out->lock_fd = -1;
    enum err e = fs_mkdirs(inside, 0700, error);
    if (!e) e = fs_join(lock, sizeof lock, inside, ".backup.lock", error);
    if (!e) e = fs_join(out->dir, sizeof out->dir, inside, ".backup", error);
    if (e) return e;
    out->lock_fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (out->lock_fd < 0) return io_error("can't create", lock, error);
    if (flock(out->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        close(out->lock_fd);
        return err_set(error, ERR_CONFLICT, "another backup or restore is under way in %.300s",
                       inside);
    }
    remove_below(AT_FDCWD, out->dir, 0); /* of one that was killed */
    e = fs_mkdirs(out->dir, 0700, error);
    if (e) close(out->lock_fd);
    return e;
}

void workplace_close(struct workplace *w)
{
    remove_below(AT_FDCWD, w->dir, 0);
    close(w->lock_fd);
}

enum err workplaces_open(const struct backup_params *params, struct workplaces *out,
                         struct error *error)
{
    enum err e = workplace_open(params->data_dir, &out->data, error);
    if (e) return e;
    e = workplace_open(params->files_dir, &out->files, error);
    if (e) workplace_close(&out->data);
    return e;
}

void workplaces_close(struct workplaces *w)
{
    workplace_close(&w->files);
    workplace_close(&w->data);
}
