/* Files from adding to deleting; see files.h. */
#include "files/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "extract/extract.h"
#include "files/files_int.h"

/* What must stay free on the disk, for the database and everybody else. */
static const uint64_t ROOM_LEFT = 32 << 20;

struct files *files_new(const struct files_params *params)
{
    struct files *f = xcalloc(1, sizeof *f);
    f->params = *params;
    f->dir = xstrdup(params->dir);
    f->collection = xstrdup(params->collection);
    return f;
}

void files_free(struct files *f)
{
    if (!f) return;
    free(f->dir);
    free(f->collection);
    free(f);
}

void files_set_jobs(struct files *f, struct jobs *jobs)
{
    f->jobs = jobs;
}

void files_before_delete(struct files *f, files_delete_fn fn, void *ctx)
{
    f->before_delete = fn;
    f->before_ctx = ctx;
}

int64_t files_max_bytes(const struct files *f)
{
    return f->params.max_bytes;
}

const char *files_dir(const struct files *f)
{
    return f->dir;
}

const char *files_collection(const struct files *f)
{
    return f->collection;
}

enum err files_dir_of(const struct config *config, char *dst, size_t size, struct error *error)
{
    char data[FS_PATH_MAX];
    const char *set = config_str(config, CONFIG_FILES_DIR);
    const char *in = config_str(config, CONFIG_DATA_DIR);
    if (*set && str_copy(dst, size, set)) return OK;
    if (*set) return err_set(error, ERR_CONFIG, "HEARTH_FILES is longer than %zu bytes", size - 1);
    if (*in) return fs_join(dst, size, in, "files", error);
    enum err e = fs_user_data_dir(data, sizeof data, error);
    return e ? e : fs_join(dst, size, data, "files", error);
}

/* Told to this process's jobs, or to the hub that watches the file. */
void files_wake(struct files *f, bool cancelled)
{
    char path[FS_PATH_MAX];
    if (f->jobs) {
        jobs_wake(f->jobs);
        if (cancelled) jobs_recheck(f->jobs);
        return;
    }
    if (!str_printf(path, sizeof path, "%s/wake", f->dir)) return;
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return; /* no folder: no hub has used it */
    if (write(fd, cancelled ? "c" : "a", 1) < 0) log_debug(files, "%s can't be written", path);
    close(fd);
}

/* ---- bytes ----------------------------------------------------------------------------------- */

int files_lock(struct files *f, int how, struct error *error)
{
    char path[FS_PATH_MAX];
    struct error ignored;
    int rc = -1, fd = -1;
    if (fs_mkdirs(f->dir, 0700, error ? error : &ignored)) return -1;
    if (str_printf(path, sizeof path, "%s/lock", f->dir))
        fd = open(path, O_RDONLY | O_CREAT | O_CLOEXEC, 0600); /* written: the watcher would wake */
    while (fd >= 0 && (rc = flock(fd, how)) != 0 && errno == EINTR) continue;
    if (rc == 0) return fd;
    err_set_errno(error, errno, "the files' folder can't be locked");
    if (fd >= 0) close(fd);
    return -1;
}

enum err files_blob(const struct files *f, const char *sha256, char *dst, size_t size,
                    struct error *error)
{
    if (str_printf(dst, size, "%s/blobs/%.2s/%s", f->dir, sha256, sha256)) return OK;
    return err_set(error, ERR_CONFIG, "the path of the files' folder is too long");
}

enum err files_open(const struct files *f, const char *sha256, int *fd, int64_t *size,
                    struct error *error)
{
    char path[FS_PATH_MAX];
    struct stat st;
    *fd = -1;
    *size = 0;
    enum err e = files_blob(f, sha256, path, sizeof path, error);
    if (e) return e;
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (*fd < 0 && errno == ENOENT)
        return err_set(error, ERR_NOT_FOUND, "the file's bytes are gone from the hub");
    if (*fd >= 0 && fstat(*fd, &st) == 0) {
        *size = st.st_size;
        /* So that the front thread, which sends it, need not wait for the disk. */
        (void)!readahead(*fd, 0, (size_t)*size);
        return OK;
    }
    if (*fd >= 0) close(*fd);
    *fd = -1;
    return err_set(error, ERR_IO, "the file can't be read at the hub");
}

static enum err spool_of(struct files *f, int64_t expected, int64_t most, struct spool **out,
                         struct error *error)
{
    char dir[FS_PATH_MAX];
    uint64_t free_bytes;
    enum err e = fs_join(dir, sizeof dir, f->dir, "tmp", error);
    if (!e) e = fs_free_bytes(dir, &free_bytes, error);
    if (!e && free_bytes < ROOM_LEFT + (uint64_t)expected)
        e = err_set(error, ERR_DISK_FULL,
                    "the disk of the hub is full; the file was not stored. Ask who runs the hub to "
                    "make room, then try again");
    return e ? e : spool_new(dir, most, out, error);
}

enum err files_spool(struct files *f, int64_t expected, struct spool **out, struct error *error)
{
    return spool_of(f, expected, f->params.max_bytes, out, error);
}

enum err files_spool_own(struct files *f, struct spool **out, struct error *error)
{
    return spool_of(f, 0, INT64_MAX, out, error);
}

/* The caller holds the lock. The same content may be there already. */
static enum err place(struct files *f, struct spool *spool, struct error *error)
{
    char path[FS_PATH_MAX];
    struct stat st;
    enum err e = files_blob(f, spool_sha256(spool), path, sizeof path, error);
    if (e) return e;
    if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == spool_bytes(spool)) return OK;
    char *slash = strrchr(path, '/');
    *slash = '\0';
    e = fs_mkdirs(path, 0700, error);
    *slash = '/';
    return e ? e : spool_take(spool, path, error);
}

/* Bytes whose last record has gone, or never came. A database that is away now: the next sweep. */
void files_let_go(struct files *f, struct store *s, const char *sha256)
{
    struct error error;
    char path[FS_PATH_MAX];
    int64_t n = 1;
    int lock = files_lock(f, LOCK_EX, &error);
    if (lock < 0) return;
    enum err e = store_file_references(s, sha256, &n, &error);
    if (!e && n == 0 && files_blob(f, sha256, path, sizeof path, &error) == OK) unlink(path);
    close(lock);
}

/* ---- adding ---------------------------------------------------------------------------------- */

enum err files_may_store(struct files *f, struct store *s, const char *user_id, int64_t more,
                         struct error *error)
{
    if (!f->params.may_store) return OK;
    return f->params.may_store(f->params.ctx, s, user_id, more, error);
}

static enum err collection_of(struct files *f, struct store *s, const struct files_new *new,
                              struct arena *a, struct store_collection *out, struct error *error)
{
    if (!new->collection || !*new->collection)
        return store_collection_default(s, new->who.user_id, f->collection, a, out, error);
    enum err e = store_collection_find(s, new->who.user_id, new->collection, a, out, error);
    if (e == ERR_NOT_FOUND)
        e = err_set_param(error, e, "collection", "there is no collection '%.100s'",
                          new->collection);
    return e;
}

static struct store_job index_job(const char *user_id)
{
    return (struct store_job){.kind = FILES_INDEX_KIND,
                              .user_id = user_id,
                              .priority = FILES_INDEX_PRIORITY,
                              .max_attempts = FILES_INDEX_ATTEMPTS};
}

/* Bytes and record, as one for whoever removes bytes. */
static enum err add_locked(struct files *f, struct store *s, const struct files_new *new,
                           const struct store_file *record, struct spool *spool,
                           char id[STORE_ID_MAX], bool *added, struct error *error)
{
    struct store_job job = index_job(new->who.user_id);
    int lock = files_lock(f, LOCK_SH, error);
    if (lock < 0) return error->code;
    enum err e = place(f, spool, error);
    if (!e) e = store_file_add(s, &new->who, record, &job, id, added, error);
    close(lock);
    if (e) files_let_go(f, s, spool_sha256(spool));
    return e;
}

enum err files_add(struct files *f, struct store *s, const struct files_new *new,
                   struct spool *spool, struct arena *a, struct store_file *out, bool *added,
                   struct error *error)
{
    struct store_collection c;
    char name[STORE_FILE_NAME_MAX], type[EXTRACT_TYPE_MAX], id[STORE_ID_MAX];
    files_clean_name(new->name, name);
    enum err e = spool_finish(spool, error);
    if (!e) e = extract_detect(spool_path(spool), name, type, error);
    if (!e) e = collection_of(f, s, new, a, &c, error);
    if (!e && c.user_id) e = files_may_store(f, s, c.user_id, spool_bytes(spool), error);
    if (e) return e;
    struct store_file record = {.collection_id = c.id,
                                .name = name,
                                .sha256 = spool_sha256(spool),
                                .bytes = spool_bytes(spool),
                                .type = type,
                                .source = new->source,
                                .source_ms = new->source_ms,
                                .local_only = new->local_only};
    e = add_locked(f, s, new, &record, spool, id, added, error);
    if (!e) e = store_file_get(s, new->who.user_id, id, a, out, error);
    if (!e && !*added && out->status == STORE_FILE_FAILED) {
        struct store_job job = index_job(new->who.user_id);
        e = store_file_requeue(s, id, NULL, &job, error);
        if (!e) e = store_file_get(s, new->who.user_id, id, a, out, error);
    }
    if (!e) files_wake(f, false);
    return e;
}

enum err files_keep(struct files *f, struct store *s, struct spool *const *spools, size_t n,
                    files_record_fn add, void *ctx, struct error *error)
{
    enum err e = OK;
    for (size_t i = 0; !e && i < n; i++)
        if (spools[i]) e = spool_finish(spools[i], error);
    int lock = e ? -1 : files_lock(f, LOCK_SH, error);
    if (!e && lock < 0) e = error->code;
    if (e) return e;
    for (size_t i = 0; !e && i < n; i++)
        if (spools[i]) e = place(f, spools[i], error);
    if (!e) e = add(ctx, s, error);
    close(lock);
    for (size_t i = 0; e && i < n; i++)
        if (spools[i]) files_let_go(f, s, spool_sha256(spools[i]));
    return e;
}

enum err files_replace(struct files *f, struct store *s, const struct store_file *old,
                       const char *user_id, int64_t source_ms, struct spool *spool,
                       struct error *error)
{
    char type[EXTRACT_TYPE_MAX];
    enum err e = spool_finish(spool, error);
    if (!e) e = extract_detect(spool_path(spool), old->name, type, error);
    if (!e && old->user_id)
        e = files_may_store(f, s, old->user_id, spool_bytes(spool) - old->bytes, error);
    int lock = e ? -1 : files_lock(f, LOCK_SH, error);
    if (!e && lock < 0) e = error->code;
    if (e) return e;
    struct store_file changed = {.sha256 = spool_sha256(spool),
                                 .bytes = spool_bytes(spool),
                                 .type = type,
                                 .source_ms = source_ms};
    struct store_job job = index_job(user_id);
    e = place(f, spool, error);
    if (!e) e = store_file_requeue(s, old->id, &changed, &job, error);
    close(lock);
    files_let_go(f, s, e ? spool_sha256(spool) : old->sha256);
    if (!e) files_wake(f, true);
    return e;
}

enum err files_reindex(struct files *f, struct store *s, const struct store_asker *who,
                       const char *id, struct error *error)
{
    struct arena *a = arena_new(1 << 20);
    struct store_file file;
    struct store_job job = index_job(who->user_id);
    enum err e = store_file_get(s, who->user_id, id, a, &file, error);
    if (!e && !file.user_id && !who->admin)
        e = err_set(error, ERR_FORBIDDEN, "a shared file is an admin's business");
    if (!e) e = store_file_requeue(s, id, NULL, &job, error);
    if (!e) files_wake(f, true);
    arena_free(a);
    return e;
}

/* ---- deleting -------------------------------------------------------------------------------- */

enum err files_delete(struct files *f, struct store *s, const struct store_asker *who,
                      const char *id, struct error *error)
{
    struct arena *a = arena_new(1 << 20);
    struct store_file file;
    enum err e = store_file_get(s, who->user_id, id, a, &file, error);
    if (!e && !file.user_id && !who->admin)
        e = err_set(error, ERR_FORBIDDEN, "only an admin deletes files of a shared collection");
    if (!e && f->before_delete) e = f->before_delete(f->before_ctx, s, &file, error);
    if (!e) e = store_file_delete(s, who, id, error);
    if (!e) {
        files_let_go(f, s, file.sha256);
        if (f->jobs) jobs_recheck(f->jobs);
    }
    arena_free(a);
    return e;
}

/* The next files of a collection; OK and none left ends it. */
static enum err delete_some(struct files *f, struct store *s, const struct store_asker *who,
                            const char *collection_id, size_t *n, struct error *error)
{
    struct arena *a = arena_new(16 << 20);
    struct store_file *list;
    struct store_file_page page = {.collection_id = collection_id, .status = -1, .limit = 100};
    enum err e = store_file_list(s, who->user_id, &page, a, &list, n, error);
    for (size_t i = 0; !e && i < *n; i++) {
        e = files_delete(f, s, who, list[i].id, error);
        if (e == ERR_NOT_FOUND) e = OK; /* another request did */
    }
    arena_free(a);
    return e;
}

enum err files_delete_collection(struct files *f, struct store *s, const struct store_asker *who,
                                 const char *id, struct error *error)
{
    struct arena *a = arena_new(1 << 20);
    struct store_collection c;
    size_t n = 1;
    enum err e = store_collection_find(s, who->user_id, id, a, &c, error);
    if (!e && !str_eq(c.id, id)) e = err_set(error, ERR_NOT_FOUND, "there is no such collection");
    if (!e && !c.user_id && !who->admin)
        e = err_set(error, ERR_FORBIDDEN, "a shared collection is an admin's business");
    while (!e && n > 0) e = delete_some(f, s, who, id, &n, error);
    if (!e) e = store_collection_delete(s, who, id, error);
    arena_free(a);
    return e;
}
