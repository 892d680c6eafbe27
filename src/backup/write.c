/* `hearth backup`; see backup.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backup/backup_int.h"
#include "backup/tar.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "store/store.h"

enum { PIECE = 1 << 18 };

struct writing {
    const struct backup_params *params;
    const struct workplaces *places;
    int fd;
    struct buf manifest;
    struct jw w;
    struct backup_counts counts;
    char *piece;
};

/* ---- the archive ---------------------------------------------------------------------------- */

static enum err put_bytes(struct writing *b, int from, const char *path, int64_t bytes,
                          struct sha *sha, struct error *error)
{
    enum err e = OK;
    for (int64_t left = bytes; left > 0 && !e;) {
        ssize_t n = read(from, b->piece, left < PIECE ? (size_t)left : PIECE);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return err_set_errno(error, errno, "reading what is to be backed up");
        if (n == 0) return err_set(error, ERR_IO, "%.300s became shorter while it was read", path);
        sha_add(sha, b->piece, (size_t)n);
        e = tar_put(b->fd, b->piece, (size_t)n, error);
        left -= n;
    }
    return e;
}

static enum err put_file(struct writing *b, const char *name, const char *path, struct error *error)
{
    struct stat st;
    struct sha sha;
    char hex[SHA256_HEX];
    int from = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (from < 0 || fstat(from, &st) != 0) {
        enum err e = err_set_errno(error, errno, path);
        if (from >= 0) close(from);
        return e;
    }
    sha_start(&sha);
    enum err e = tar_put_head(b->fd, name, st.st_size, st.st_mtime, error);
    if (!e) e = put_bytes(b, from, path, st.st_size, &sha, error);
    if (!e) e = tar_put_padding(b->fd, st.st_size, error);
    close(from);
    if (e) return e;
    sha_end(&sha, hex);
    jw_obj(&b->w);
    jw_kstr(&b->w, "name", name);
    jw_kint(&b->w, "bytes", st.st_size);
    jw_kstr(&b->w, "sha256", hex);
    jw_obj_end(&b->w);
    b->counts.files++;
    b->counts.bytes += st.st_size;
    return OK;
}

static enum err put_if_there(struct writing *b, const char *name, const char *path,
                             struct error *error)
{
    return fs_exists(path) ? put_file(b, name, path, error) : OK;
}

/* ---- holding on to what there is ------------------------------------------------------------- */

static enum err link_one(void *ctx, const char *relative, struct error *error)
{
    struct writing *b = ctx;
    char dir[FS_PATH_MAX], from[FS_PATH_MAX] = "", to[FS_PATH_MAX] = "";
    enum err e = fs_join(dir, sizeof dir, b->params->files_dir, BACKUP_BLOBS, error);
    if (!e) e = fs_join(from, sizeof from, dir, relative, error);
    if (!e) e = fs_join(to, sizeof to, b->places->files.dir, relative, error);
    if (!e) e = make_parents(to, error);
    if (e || link(from, to) == 0 || errno == EEXIST || errno == ENOENT) return e;
    return err_set_errno(error, errno, "holding on to an uploaded file");
}

static enum err link_files(struct writing *b, struct error *error)
{
    char dir[FS_PATH_MAX];
    enum err e = fs_join(dir, sizeof dir, b->params->files_dir, BACKUP_BLOBS, error);
    return e ? e : visit_files(dir, link_one, b, error);
}

static enum err read_database(struct writing *b, char path[FS_PATH_MAX], struct error *error)
{
    struct store *store;
    struct store_params params = {.url = b->params->database_url, .migrate = false};
    enum err e = fs_join(path, FS_PATH_MAX, b->places->data.dir, BACKUP_DATABASE, error);
    if (e) return e;
    if (url_is_file(params.url) && !fs_exists(params.url)) {
        *path = '\0'; /* nobody has logged in yet */
        return OK;
    }
    e = store_open(&params, &store, error);
    if (e) return e;
    e = store_backup(store, path, error);
    store_close(store);
    return e;
}

/* ---- all of it ------------------------------------------------------------------------------- */

static enum err put_linked(void *ctx, const char *relative, struct error *error)
{
    struct writing *b = ctx;
    char path[FS_PATH_MAX], name[FS_PATH_MAX];
    enum err e = fs_join(path, sizeof path, b->places->files.dir, relative, error);
    if (!e) e = fs_join(name, sizeof name, BACKUP_FILES "/" BACKUP_BLOBS, relative, error);
    return e ? e : put_file(b, name, path, error);
}

static enum err put_everything(struct writing *b, const char *database, struct error *error)
{
    char key[FS_PATH_MAX];
    enum err e = *database ? put_file(b, BACKUP_DATABASE, database, error) : OK;
    if (!e) e = visit_files(b->places->files.dir, put_linked, b, error);
    if (!e) e = fs_join(key, sizeof key, b->params->data_dir, BACKUP_KEY, error);
    if (!e) e = put_if_there(b, BACKUP_KEY, key, error);
    if (!e) e = put_if_there(b, BACKUP_SETTINGS, b->params->settings_file, error);
    return e;
}

static void begin_manifest(struct writing *b)
{
    char now[32];
    clock_format_utc(now, sizeof now, clock_wall_ms());
    buf_init(&b->manifest, MANIFEST_MAX);
    jw_init(&b->w, &b->manifest);
    jw_obj(&b->w);
    jw_kstr(&b->w, "format", BACKUP_FORMAT);
    jw_kint(&b->w, "version", 1);
    jw_kstr(&b->w, "hearth", HEARTH_VERSION);
    jw_kstr(&b->w, "created", now);
    jw_key(&b->w, "files");
    jw_arr(&b->w);
}

static enum err put_manifest(struct writing *b, struct error *error)
{
    jw_arr_end(&b->w);
    jw_obj_end(&b->w);
    if (b->manifest.err) return err_set(error, b->manifest.err, "too many files for one backup");
    int64_t bytes = (int64_t)b->manifest.len;
    enum err e = tar_put_head(b->fd, BACKUP_MANIFEST, bytes, clock_wall_s(), error);
    if (!e) e = tar_put(b->fd, b->manifest.data, b->manifest.len, error);
    if (!e) e = tar_put_padding(b->fd, bytes, error);
    if (!e) e = tar_put_end(b->fd, error);
    return e;
}

static enum err collect(struct writing *b, struct error *error)
{
    char database[FS_PATH_MAX];
    enum err e = link_files(b, error);
    if (!e) e = read_database(b, database, error);
    if (!e) e = link_files(b, error);
    if (!e) e = put_everything(b, database, error);
    if (!e) e = put_manifest(b, error);
    return e;
}

/* The archive appears under its name when it is whole. */
static enum err make_archive(struct writing *b, struct error *error)
{
    char part[FS_PATH_MAX];
    if (!str_printf(part, sizeof part, "%s.part", b->params->archive))
        return err_set(error, ERR_INVALID, "the path of the backup is too long");
    b->fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (b->fd < 0) return err_set_errno(error, errno, part);
    begin_manifest(b);
    enum err e = collect(b, error);
    if (!e && fsync(b->fd) != 0) e = err_set_errno(error, errno, "writing the backup");
    if (close(b->fd) != 0 && !e) e = err_set_errno(error, errno, "writing the backup");
    if (!e && renameat2(AT_FDCWD, part, AT_FDCWD, b->params->archive, RENAME_NOREPLACE) != 0)
        e = err_set_errno(error, errno, b->params->archive);
    if (e) unlink(part);
    buf_free(&b->manifest);
    return e;
}

enum err backup_write(const struct backup_params *params, struct backup_counts *out,
                      struct error *error)
{
    struct workplaces places;
    if (fs_exists(params->archive))
        return err_set(error, ERR_CONFLICT, "%.300s exists already", params->archive);
    enum err e = workplaces_open(params, &places, error);
    if (e) return e;
    struct writing b = {.params = params, .places = &places};
    b.piece = xmalloc(PIECE);
    e = make_archive(&b, error);
    free(b.piece);
    workplaces_close(&places);
    *out = b.counts;
    return e;
}
