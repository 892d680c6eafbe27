/* `hearth restore`; see backup.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backup/backup_int.h"
#include "backup/tar.h"
#include "base/json.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"
#include "store/store.h"

enum { PIECE = 1 << 18 };
#define BLOBS BACKUP_FILES "/" BACKUP_BLOBS "/"

struct unpacked {
    int64_t bytes;
    char sha256[SHA256_HEX];
    bool listed; /* in the manifest */
};

struct reading {
    const struct backup_params *params;
    const struct workplaces *places;
    int fd;
    struct map *files; /* name -> struct unpacked */
    struct buf manifest;
    struct backup_counts counts;
    char *piece;
};

static enum err damaged(struct error *error, const char *why, const char *name)
{
    return err_set(error, ERR_CHECKSUM, "the backup is damaged: %s %.120s", why, name);
}

/* ---- unpacking into the workplace ------------------------------------------------------------ */

static bool is_expected(const char *name)
{
    return str_eq(name, BACKUP_DATABASE) || str_eq(name, BACKUP_KEY) ||
           str_eq(name, BACKUP_SETTINGS) || str_starts(name, BLOBS);
}

static enum err copy_piece(struct reading *r, int to, size_t len, struct sha *sha,
                           struct error *error)
{
    enum err e = tar_get(r->fd, r->piece, len, error);
    if (e) return e;
    sha_add(sha, r->piece, len);
    e = tar_put(to, r->piece, len, error);
    if (e) return err_prefix(error, "restoring");
    return OK;
}

static enum err unpack_to(struct reading *r, const struct tar_entry *entry, const char *path,
                          struct unpacked *out, struct error *error)
{
    struct sha sha;
    enum err e = make_parents(path, error);
    if (e) return e;
    int to = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (to < 0) return err_set_errno(error, errno, path);
    sha_start(&sha);
    for (int64_t left = entry->bytes; left > 0 && !e;) {
        size_t len = left < PIECE ? (size_t)left : PIECE;
        e = copy_piece(r, to, len, &sha, error);
        left -= (int64_t)len;
    }
    if (!e && fsync(to) != 0) e = err_set_errno(error, errno, path);
    if (close(to) != 0 && !e) e = err_set_errno(error, errno, path);
    sha_end(&sha, out->sha256);
    out->bytes = entry->bytes;
    return e;
}

static enum err unpack(struct reading *r, const struct tar_entry *entry, struct error *error)
{
    char path[FS_PATH_MAX];
    if (!is_expected(entry->name)) return damaged(error, "it has no business with", entry->name);
    if (map_get(r->files, entry->name)) return damaged(error, "it has two of", entry->name);
    bool blob = str_starts(entry->name, BLOBS);
    enum err e = fs_join(path, sizeof path, blob ? r->places->files.dir : r->places->data.dir,
                         entry->name + (blob ? strlen(BACKUP_FILES "/") : 0), error);
    if (e) return e;
    struct unpacked *u = xcalloc(1, sizeof *u);
    map_put(r->files, entry->name, u);
    r->counts.files++;
    r->counts.bytes += entry->bytes;
    e = unpack_to(r, entry, path, u, error);
    return e ? e : tar_skip_padding(r->fd, entry->bytes, error);
}

static enum err read_manifest(struct reading *r, const struct tar_entry *entry, struct error *error)
{
    enum err e = OK;
    if (entry->bytes > MANIFEST_MAX) return damaged(error, "too large is its", entry->name);
    for (int64_t left = entry->bytes; left > 0 && !e;) {
        size_t len = left < PIECE ? (size_t)left : PIECE;
        e = tar_get(r->fd, r->piece, len, error);
        if (!e && buf_append(&r->manifest, r->piece, len) != OK)
            e = err_set(error, ERR_NOMEM, "no memory for the backup's manifest");
        left -= (int64_t)len;
    }
    return e ? e : tar_skip_padding(r->fd, entry->bytes, error);
}

static enum err unpack_all(struct reading *r, struct error *error)
{
    for (;;) {
        struct tar_entry entry;
        bool has;
        enum err e = tar_next(r->fd, &entry, &has, error);
        if (e) return e;
        if (!has) break;
        if (r->manifest.len) return damaged(error, "something follows the", BACKUP_MANIFEST);
        e = str_eq(entry.name, BACKUP_MANIFEST) ? read_manifest(r, &entry, error)
                                                : unpack(r, &entry, error);
        if (e) return e;
    }
    return r->manifest.len ? OK : damaged(error, "it has no", BACKUP_MANIFEST);
}

/* ---- against the manifest -------------------------------------------------------------------- */

static enum err check_listed(struct reading *r, const json_t *item, struct error *error)
{
    const char *name = NULL, *sha = NULL;
    int64_t bytes = -1;
    enum err e = json_get_string(item, "name", "", &name, error);
    if (!e) e = json_get_string(item, "sha256", "", &sha, error);
    if (!e) e = json_get_int(item, "bytes", "", 0, INT64_MAX, &bytes, error);
    if (e || !name || !sha) return damaged(error, "unreadable is its", BACKUP_MANIFEST);
    struct unpacked *u = map_get(r->files, name);
    if (!u) return damaged(error, "missing is", name);
    if (u->bytes != bytes || !str_eq(u->sha256, sha)) return damaged(error, "changed is", name);
    if (u->listed) return damaged(error, "listed twice is", name);
    u->listed = true;
    return OK;
}

static enum err check_list(struct reading *r, const json_t *doc, struct error *error)
{
    const char *format = NULL;
    const json_t *files = NULL;
    int64_t version = 0;
    enum err e = json_get_string(doc, "format", "", &format, error);
    if (!e) e = json_get_int(doc, "version", "", 0, INT32_MAX, &version, error);
    if (!e) e = json_get_array(doc, "files", "", &files, error);
    if (e || !format || !str_eq(format, BACKUP_FORMAT) || !files)
        return damaged(error, "unreadable is its", BACKUP_MANIFEST);
    if (version != 1)
        return err_set(error, ERR_UNSUPPORTED,
                       "the backup was made by a newer Hearth (format %lld)", (long long)version);
    for (size_t i = 0; !e && i < json_array_size(files); i++)
        e = check_listed(r, json_array_get(files, i), error);
    if (!e && json_array_size(files) != map_count(r->files))
        e = damaged(error, "it has files that are not in its", BACKUP_MANIFEST);
    return e;
}

static enum err check_manifest(struct reading *r, struct error *error)
{
    json_t *doc;
    if (json_parse(r->manifest.data, r->manifest.len, &doc, error))
        return damaged(error, "unreadable is its", BACKUP_MANIFEST);
    enum err e = check_list(r, doc, error);
    json_decref(doc);
    return e;
}

/* ---- putting it in its place
 * ---------------------------------------------------------------------- */

static enum err found_one(void *ctx, const char *relative, struct error *error)
{
    (void)relative;
    return err_set(error, ERR_CONFLICT, "there are files in %.300s already", (const char *)ctx);
}

/* Nothing is ever overwritten. */
static enum err check_free(const struct backup_params *p, struct error *error)
{
    char path[FS_PATH_MAX];
    enum err e = database_is_free(p->database_url, error);
    if (!e) e = fs_join(path, sizeof path, p->data_dir, BACKUP_KEY, error);
    if (!e && fs_exists(path)) e = err_set(error, ERR_CONFLICT, "%.300s is there already", path);
    if (!e) e = fs_join(path, sizeof path, p->files_dir, BACKUP_BLOBS, error);
    if (!e) e = visit_files(path, found_one, path, error);
    if (e == ERR_CONFLICT)
        err_prefix(error, "a restore overwrites nothing; it wants an empty data folder "
                          "(HEARTH_DATA) and database");
    return e;
}

static enum err move(const char *from, const char *to, struct error *error)
{
    enum err e = make_parents(to, error);
    if (!e && renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) != 0 && errno != ENOENT)
        e = err_set_errno(error, errno, to);
    return e;
}

static enum err place_one(const char *workplace, const char *name, const char *dir,
                          struct error *error)
{
    char from[FS_PATH_MAX], to[FS_PATH_MAX];
    enum err e = fs_join(from, sizeof from, workplace, name, error);
    if (!e) e = fs_join(to, sizeof to, dir, name, error);
    return e ? e : move(from, to, error);
}

static enum err place_settings(struct reading *r, struct error *error)
{
    char from[FS_PATH_MAX], to[FS_PATH_MAX];
    const char *file = r->params->settings_file;
    r->counts.settings_kept = fs_exists(file);
    enum err e = fs_join(from, sizeof from, r->places->data.dir, BACKUP_SETTINGS, error);
    if (!e && !r->counts.settings_kept) return move(from, file, error);
    if (!e && !str_printf(to, sizeof to, "%s.restored", file))
        e = err_set(error, ERR_INVALID, "the path of the settings is too long");
    if (!e && rename(from, to) != 0 && errno != ENOENT) e = err_set_errno(error, errno, to);
    return e;
}

/* Empty folders of files may be there, and make way. */
static void remove_empty(const char *dir)
{
    char path[FS_PATH_MAX];
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));)
        if (e->d_name[0] != '.' && fs_join(path, sizeof path, dir, e->d_name, NULL) == OK)
            (void)!rmdir(path);
    if (d) closedir(d);
    (void)!rmdir(dir);
}

static enum err place_files(struct reading *r, struct error *error)
{
    char path[FS_PATH_MAX];
    const char *files = r->params->files_dir;
    enum err e = fs_join(path, sizeof path, files, BACKUP_BLOBS, error);
    if (!e) remove_empty(path);
    if (!e) e = place_one(r->places->files.dir, BACKUP_BLOBS, files, error);
    if (!e) e = place_one(r->places->data.dir, BACKUP_KEY, r->params->data_dir, error);
    if (!e && map_get(r->files, BACKUP_SETTINGS)) e = place_settings(r, error);
    return e;
}

/* What may fail comes first; an SQLite file last: with it the data folder counts as in use. */
static enum err place_everything(struct reading *r, struct error *error)
{
    char path[FS_PATH_MAX];
    const char *url = r->params->database_url;
    bool has = map_get(r->files, BACKUP_DATABASE) != NULL;
    enum err e = fs_join(path, sizeof path, r->places->data.dir, BACKUP_DATABASE, error);
    if (!e && has) e = prepare_database(path, url, error);
    if (!e) e = place_files(r, error);
    return e || !has ? e : place_database(path, url, error);
}

static int free_unpacked(const char *name, void *unpacked, void *ctx)
{
    (void)name;
    (void)ctx;
    free(unpacked);
    return 1;
}

static enum err restore_into(struct reading *r, struct error *error)
{
    enum err e = check_free(r->params, error);
    r->fd = e ? -1 : open(r->params->archive, O_RDONLY | O_CLOEXEC);
    if (!e && r->fd < 0) e = err_set_errno(error, errno, r->params->archive);
    if (!e) e = unpack_all(r, error);
    if (!e) e = check_manifest(r, error);
    if (!e) e = place_everything(r, error);
    if (r->fd >= 0) close(r->fd);
    return e;
}

enum err backup_restore(const struct backup_params *params, struct backup_counts *out,
                        struct error *error)
{
    struct workplaces places;
    enum err e = workplaces_open(params, &places, error);
    if (e) return e;
    struct reading r = {.params = params, .places = &places};
    r.files = map_new();
    buf_init(&r.manifest, MANIFEST_MAX);
    r.piece = xmalloc(PIECE);
    e = restore_into(&r, error);
    free(r.piece);
    buf_free(&r.manifest);
    map_each(r.files, free_unpacked, NULL);
    map_free(r.files);
    workplaces_close(&places);
    *out = r.counts;
    return e;
}
