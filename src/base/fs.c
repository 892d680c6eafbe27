/* Files and folders. Descriptors are opened close-on-exec. */
#include "base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/id.h"
#include "base/str.h"

static enum err too_long(const char *path, struct error *error)
{
    return err_set(error, ERR_INVALID, "the path is longer than %d bytes: %.120s...",
                   FS_PATH_MAX - 1, path);
}

static enum err fail(const char *doing, const char *path, struct error *error)
{
    int errnum = errno;
    char what[ERROR_MSG_MAX];
    str_printf(what, sizeof what, "%s %.300s", doing, path);
    return err_set_errno(error, errnum, what);
}

enum err fs_join(char *dst, size_t size, const char *dir, const char *name, struct error *error)
{
    const char *slash = *dir && !str_ends(dir, "/") ? "/" : "";
    if (str_printf(dst, size, "%s%s%s", dir, slash, name)) return OK;
    return err_set(error, ERR_INVALID, "the path is longer than %zu bytes: %.120s...", size - 1,
                   dir);
}

static bool is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static enum err make_one(const char *path, unsigned mode, struct error *error)
{
    if (mkdir(path, mode) == 0) return OK;
    if (errno == EEXIST) {
        if (is_dir(path)) return OK;
        return err_set(error, ERR_CONFLICT, "%.300s exists and is not a folder", path);
    }
    return fail("can't create the folder", path, error);
}

enum err fs_mkdirs(const char *path, unsigned mode, struct error *error)
{
    char part[FS_PATH_MAX];
    if (!str_copy(part, sizeof part, path)) return too_long(path, error);
    if (!*path) return err_set(error, ERR_INVALID, "the folder's path is empty");
    for (char *p = part + 1; *p; p++) {
        if (*p != '/') continue;
        *p = '\0';
        /* Only what is missing is made: the parents may be unwritable or unreadable. */
        enum err err = is_dir(part) ? OK : make_one(part, mode, error);
        if (err) return err;
        *p = '/';
    }
    return make_one(part, mode, error);
}

static enum err read_all(int fd, const char *path, size_t max, struct buf *out, struct error *error)
{
    char chunk[16384];
    size_t total = 0;
    for (;;) {
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail("can't read", path, error);
        if (n == 0) return OK;
        total += (size_t)n;
        if (total > max)
            return err_set(error, ERR_TOO_LARGE, "%.300s is larger than %zu bytes", path, max);
        enum err err = buf_append(out, chunk, (size_t)n);
        if (err) return err_set(error, err, "%.300s does not fit in memory", path);
    }
}

enum err fs_read_file(const char *path, size_t max, struct buf *out, struct error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return fail("can't open", path, error);
    enum err err = read_all(fd, path, max, out, error);
    close(fd);
    return err;
}

static int write_all(int fd, const void *data, size_t len)
{
    const char *p = data;
    while (len > 0) {
        if (fault_hit(FAULT_write)) {
            errno = ENOSPC;
            return -1;
        }
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -1;
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

/* A rename is on disk only when its folder is; file systems that can't sync a folder say EINVAL. */
static void sync_folder_of(const char *path)
{
    char dir[FS_PATH_MAX];
    str_copy(dir, sizeof dir, path);
    char *slash = strrchr(dir, '/');
    if (slash) slash[slash == dir] = '\0';
    int fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return;
    fsync(fd);
    close(fd);
}

enum err fs_write_atomic(const char *path, const void *data, size_t len, unsigned mode,
                         struct error *error)
{
    char tmp[FS_PATH_MAX];
    if (!str_printf(tmp, sizeof tmp, "%s.%016llx.tmp", path, (unsigned long long)id_random_u64()))
        return too_long(path, error);
    int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) return fail("can't create", tmp, error);
    enum err err = OK;
    if (write_all(fd, data, len) != 0 || fchmod(fd, mode) != 0 || fsync(fd) != 0)
        err = fail("can't write", path, error);
    if (close(fd) != 0 && !err) err = fail("can't write", path, error);
    if (!err && rename(tmp, path) != 0) err = fail("can't replace", path, error);
    if (err)
        unlink(tmp);
    else
        sync_folder_of(path);
    return err;
}

bool fs_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

enum err fs_free_bytes(const char *path, uint64_t *out, struct error *error)
{
    char part[FS_PATH_MAX];
    if (!str_copy(part, sizeof part, path)) return too_long(path, error);
    struct statvfs vfs;
    while (statvfs(*part ? part : ".", &vfs) != 0) {
        char *slash = strrchr(part, '/');
        if (errno != ENOENT || str_eq(part, "/") || !*part)
            return fail("can't tell the free space of", path, error);
        if (slash)
            slash[slash == part] = '\0';
        else
            part[0] = '\0';
    }
    *out = (uint64_t)vfs.f_bavail * vfs.f_frsize;
    return OK;
}

/* ---- the user's folders -------------------------------------------------------------------- */

static const char *home(char *scratch, size_t size)
{
    const char *dir = getenv("HOME");
    if (dir && dir[0] == '/') return dir;
    struct passwd pw, *found = NULL;
    if (getpwuid_r(getuid(), &pw, scratch, size, &found) == 0 && found && found->pw_dir[0] == '/')
        return found->pw_dir;
    return NULL;
}

static enum err user_dir(char *dst, size_t size, const char *xdg, const char *under_home,
                         struct error *error)
{
    const char *base = getenv(xdg);
    if (base && base[0] == '/') /* relative ones must be ignored, says the specification */
        return fs_join(dst, size, base, "hearth", error);
    char scratch[4096];
    base = home(scratch, sizeof scratch);
    if (!base)
        return err_set(error, ERR_CONFIG,
                       "no home folder is known: set HOME or %s to an absolute "
                       "path",
                       xdg);
    char dir[FS_PATH_MAX];
    enum err err = fs_join(dir, sizeof dir, base, under_home, error);
    return err ? err : fs_join(dst, size, dir, "hearth", error);
}

enum err fs_user_data_dir(char *dst, size_t size, struct error *error)
{
    return user_dir(dst, size, "XDG_DATA_HOME", ".local/share", error);
}

enum err fs_user_config_dir(char *dst, size_t size, struct error *error)
{
    return user_dir(dst, size, "XDG_CONFIG_HOME", ".config", error);
}

enum err fs_user_cache_dir(char *dst, size_t size, struct error *error)
{
    return user_dir(dst, size, "XDG_CACHE_HOME", ".cache", error);
}

enum err fs_exe_dir(char *dst, size_t size, struct error *error)
{
    char path[FS_PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    if (n < 0) return fail("can't read", "/proc/self/exe", error);
    path[n] = '\0';
    char *slash = strrchr(path, '/');
    if (!slash) return err_set(error, ERR_IO, "/proc/self/exe is not a path: %.200s", path);
    slash[slash == path] = '\0';
    return str_copy(dst, size, path) ? OK : too_long(path, error);
}
