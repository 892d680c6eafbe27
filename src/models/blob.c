/* Blobs: files by their SHA-256, as `blobs/sha256-<digits>` in the models folder. */
#include <errno.h>
#include <fcntl.h>
#include <sodium/crypto_hash_sha256.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "models/create.h"
#include "models/derived.h"

enum { DIGITS = 64, PIECE = 1 << 20 };

enum err blob_path(const struct models *m, const char *digest, char path[4096], struct error *error)
{
    const char *hex = digest + strlen("sha256:");
    bool good = str_starts(digest, "sha256:") || str_starts(digest, "sha256-");
    if (!good || strlen(hex) != DIGITS || hex[strspn(hex, "0123456789abcdef")])
        return err_set_param(error, ERR_INVALID, "/digest",
                             "\"%.80s\" is no digest: it is sha256: and 64 hexadecimal digits",
                             digest);
    if (str_printf(path, FS_PATH_MAX, "%s/" BLOBS_DIR "/sha256-%s", models_dir(m), hex)) return OK;
    return err_set(error, ERR_INVALID, "the models folder's path is too long");
}

static enum err write_whole(int fd, const char *data, size_t len)
{
    while (len) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return ERR_IO;
        data += n;
        len -= (size_t)n;
    }
    return OK;
}

static enum err copy(int from, int to, const char *file, char digest[72], struct error *error)
{
    crypto_hash_sha256_state hash;
    unsigned char sum[crypto_hash_sha256_BYTES];
    char *piece = xmalloc(PIECE);
    enum err e = OK;
    ssize_t n;
    crypto_hash_sha256_init(&hash);
    while (!e && (n = read(from, piece, PIECE)) != 0) {
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 || write_whole(to, piece, (size_t)n)) e = err_set_errno(error, errno, file);
        if (!e) crypto_hash_sha256_update(&hash, (unsigned char *)piece, (unsigned long long)n);
    }
    free(piece);
    if (!e && fsync(to) != 0) e = err_set_errno(error, errno, file);
    crypto_hash_sha256_final(&hash, sum);
    str_copy(digest, 72, "sha256:");
    for (size_t i = 0; i < sizeof sum; i++) str_printf(digest + 7 + 2 * i, 3, "%02x", sum[i]);
    return e;
}

/* In the folder of the blobs, whose name is known when it has been read. */
static enum err copy_in(const struct models *m, int from, const char *file, char digest[72],
                        struct error *error)
{
    char dir[FS_PATH_MAX], temporary[FS_PATH_MAX], path[FS_PATH_MAX];
    enum err e = fs_join(dir, sizeof dir, models_dir(m), BLOBS_DIR, error);
    if (!e) e = fs_mkdirs(dir, 0755, error);
    if (!e) e = fs_join(temporary, sizeof temporary, dir, ".new-XXXXXX", error);
    if (e) return e;
    int to = mkostemp(temporary, O_CLOEXEC);
    if (to < 0) return err_set_errno(error, errno, temporary);
    e = copy(from, to, file, digest, error);
    if (!e) e = blob_path(m, digest, path, error);
    if (!e && rename(temporary, path) != 0) e = err_set_errno(error, errno, path);
    if (e) unlink(temporary);
    close(to);
    return e;
}

enum err blob_add(const struct models *m, const char *file, char digest[72], struct error *error)
{
    int from = open(file, O_RDONLY | O_CLOEXEC);
    if (from < 0) return err_set_errno(error, errno, file);
    enum err e = copy_in(m, from, file, digest, error);
    close(from);
    return e;
}
