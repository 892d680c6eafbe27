/* Temporary files; see spool.h. The lock (flock) says that somebody lives who writes it. */
#include "files/spool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/mem.h"
#include "base/str.h"
#include "store/store_file.h"

enum { COPY_PIECE = 128 << 10 };

struct spool {
    char path[FS_PATH_MAX];
    int fd;
    int64_t bytes, max;
    crypto_hash_sha256_state hash;
    char sha256[STORE_SHA256_MAX];
    bool finished, taken; /* taken: there is no file to remove (any more) */
    struct error failure; /* of the first write that failed */
};

static enum err fail_with(struct spool *s, enum err e, const char *what, struct error *error)
{
    err_set(&s->failure, e, "%s", what);
    *error = s->failure;
    return e;
}

static enum err fail_disk(struct spool *s, int errnum, struct error *error)
{
    if (errnum == ENOSPC || errnum == EDQUOT || errnum == EFBIG)
        return fail_with(s, ERR_DISK_FULL,
                         "the disk of the hub is full; the file was not stored. Ask who runs the "
                         "hub to make room, then try again",
                         error);
    enum err e = err_set_errno(error, errnum, "the file could not be stored");
    s->failure = *error;
    return e;
}

/* A file that is locked and still has its name: between its making and its locking another process
 * may have swept it away. */
static enum err make(struct spool *s, const char *dir, struct error *error)
{
    struct stat st;
    for (;;) {
        if (!str_printf(s->path, sizeof s->path, "%s/%016llx", dir,
                        (unsigned long long)id_random_u64()))
            return err_set(error, ERR_INVALID, "the files' folder has too long a path");
        s->fd = open(s->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (s->fd < 0) return fail_disk(s, errno, error);
        while (flock(s->fd, LOCK_EX) != 0 && errno == EINTR) continue;
        if (fstat(s->fd, &st) != 0 || st.st_nlink > 0) return OK;
        close(s->fd);
    }
}

enum err spool_new(const char *dir, int64_t max, struct spool **out, struct error *error)
{
    struct spool *s = xcalloc(1, sizeof *s);
    s->max = max;
    enum err e = fs_mkdirs(dir, 0700, error);
    if (!e) e = make(s, dir, error);
    if (e) {
        free(s);
        return e;
    }
    crypto_hash_sha256_init(&s->hash);
    *out = s;
    return OK;
}

enum err spool_write(struct spool *s, const void *data, size_t len, struct error *error)
{
    const unsigned char *at = data;
    ht_assert(!s->finished);
    if (s->failure.code) {
        *error = s->failure;
        return s->failure.code;
    }
    if ((int64_t)len > s->max - s->bytes) {
        char what[128];
        str_printf(what, sizeof what,
                   "the file is larger than %lld MiB, which is the limit (MAX_FILESIZE_MB)",
                   (long long)(s->max >> 20));
        return fail_with(s, ERR_TOO_LARGE, what, error);
    }
    crypto_hash_sha256_update(&s->hash, at, len);
    s->bytes += (int64_t)len;
    while (len > 0) {
        if (fault_hit(FAULT_write)) return fail_disk(s, ENOSPC, error);
        ssize_t n = write(s->fd, at, len);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail_disk(s, errno, error);
        at += n;
        len -= (size_t)n;
    }
    return OK;
}

enum err spool_finish(struct spool *s, struct error *error)
{
    unsigned char sum[crypto_hash_sha256_BYTES];
    if (s->failure.code) {
        *error = s->failure;
        return s->failure.code;
    }
    if (s->finished) return OK;
    if (fault_hit(FAULT_write)) return fail_disk(s, ENOSPC, error);
    if (fdatasync(s->fd) != 0) return fail_disk(s, errno, error);
    crypto_hash_sha256_final(&s->hash, sum);
    sodium_bin2hex(s->sha256, sizeof s->sha256, sum, sizeof sum);
    s->finished = true;
    return OK;
}

/* ---- a file of this machine ------------------------------------------------------------------ */

static bool same(const struct stat *a, const struct stat *b)
{
    return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static enum err copy_from(struct spool *s, int fd, const char *path, struct error *error)
{
    enum err e = OK;
    char *piece = xmalloc(COPY_PIECE);
    while (!e) {
        ssize_t n = read(fd, piece, COPY_PIECE);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) e = err_set_errno(error, errno, path);
        if (n <= 0) break;
        e = spool_write(s, piece, (size_t)n, error);
    }
    free(piece);
    return e;
}

enum err spool_copy(struct spool *s, const char *path, int64_t *changed_ms, struct error *error)
{
    struct stat before, after;
    /* A pipe or device that is opened for reading might wait for ever. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    if (fd < 0) return err_set_errno(error, errno, path);
    enum err e = OK;
    if (fstat(fd, &before) != 0) e = err_set_errno(error, errno, path);
    if (!e && !S_ISREG(before.st_mode))
        e = err_set(error, ERR_INVALID, "%.300s is not a regular file", path);
    if (!e) e = copy_from(s, fd, path, error);
    if (!e && fstat(fd, &after) != 0) e = err_set_errno(error, errno, path);
    if (!e && !same(&before, &after))
        e = err_set(error, ERR_CONFLICT, "%.300s changed while it was read", path);
    if (!e) *changed_ms = before.st_mtim.tv_sec * 1000 + before.st_mtim.tv_nsec / 1000000;
    close(fd);
    return e ? e : spool_finish(s, error);
}

/* ---- what becomes of it ---------------------------------------------------------------------- */

const char *spool_path(const struct spool *s)
{
    return s->path;
}

int64_t spool_bytes(const struct spool *s)
{
    return s->bytes;
}

const char *spool_sha256(const struct spool *s)
{
    ht_assert(s->finished);
    return s->sha256;
}

enum err spool_take(struct spool *s, const char *path, struct error *error)
{
    ht_assert(s->finished && !s->taken);
    if (rename(s->path, path) != 0)
        return err_set_errno(error, errno, "the file could not be moved to its place");
    s->taken = true;
    return OK;
}

void spool_drop(struct spool *s)
{
    if (!s->taken) unlink(s->path);
    s->taken = true;
}

void spool_free(struct spool *s)
{
    if (!s) return;
    spool_drop(s);
    close(s->fd);
    free(s);
}

size_t spool_sweep(const char *dir)
{
    size_t n = 0;
    DIR *d = opendir(dir);
    for (struct dirent *entry; d && (entry = readdir(d));) {
        int fd = openat(dirfd(d), entry->d_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        struct stat st;
        if (fd < 0) continue;
        if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && flock(fd, LOCK_EX | LOCK_NB) == 0 &&
            unlinkat(dirfd(d), entry->d_name, 0) == 0)
            n++;
        close(fd);
    }
    if (d) closedir(d);
    return n;
}
