/* The disk tier's thread. Everything in struct disk below "disk thread" is touched by it only. */
#include "sched/cache_disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/fs.h"
#include "base/hash.h"
#include "base/id.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/thread.h"
#include "sched/cache_file.h"

enum {
    NAME_LEN = 16,         /* hex digits, then ".kv" */
    RETRY_MS = 60000,      /* after a failed write */
    STALE_S = 600,         /* age at which somebody's temporary file is taken for left over */
    FILES_MAX = 100000,    /* more are not looked at */
    KEEP_FREE = 256 << 20, /* bytes of the disk that are left for others */
};

enum job_type { JOB_SCAN, JOB_WRITE, JOB_READ, JOB_REMOVE, JOB_TOUCH, JOB_QUIT };

struct job {
    struct mail mail;
    struct list_node node;
    enum job_type type;
    uint64_t file;
    struct disk_meta *meta;
    struct blob *state;
};

struct disk {
    pthread_t thread;
    struct mailbox *jobs, *notes;
    void (*wake)(void *ctx);
    void *ctx;
    atomic_size_t queued;
    atomic_llong quit_at_ns; /* 0: not closing */
    char dir[FS_PATH_MAX];
    /* disk thread */
    struct list_node reads, others;
    bool quit, warned;
    int64_t broken_until_ms; /* writes are not tried before */
};

/* ---- blobs -------------------------------------------------------------------------------- */

struct blob *blob_new(size_t size)
{
    struct blob *b = size < SIZE_MAX / 2 ? try_malloc(sizeof *b + size) : NULL;
    if (!b) return NULL;
    atomic_init(&b->refs, 1);
    b->size = size;
    return b;
}

struct blob *blob_ref(struct blob *b)
{
    atomic_fetch_add(&b->refs, 1);
    return b;
}

void blob_unref(struct blob *b)
{
    if (b && atomic_fetch_sub(&b->refs, 1) == 1) free(b);
}

/* ---- notes -------------------------------------------------------------------------------- */

void disk_note_free(struct disk_note *n)
{
    free(n->meta);
    blob_unref(n->state);
    free(n);
}

static void tell(struct disk *d, const struct disk_note *note)
{
    struct disk_note *n = xmalloc(sizeof *n);
    *n = *note;
    mailbox_send(d->notes, &n->mail);
    d->wake(d->ctx);
}

/* The cache goes on without the disk; once is enough to be told. */
static void complain(struct disk *d, const struct error *error)
{
    d->broken_until_ms = clock_mono_ms() + RETRY_MS;
    if (!d->warned) log_warn(sched, "the prefix cache's folder can't be used: %s", error->msg);
    d->warned = true;
}

/* ---- paths -------------------------------------------------------------------------------- */

static bool path_of(const struct disk *d, char path[FS_PATH_MAX], const char *prefix, uint64_t file)
{
    return str_printf(path, FS_PATH_MAX, "%s/%s%016" PRIx64 ".kv", d->dir, prefix, file);
}

static bool parse_name(const char *name, uint64_t *file)
{
    if (strlen(name) != NAME_LEN + 3 || strcmp(name + NAME_LEN, ".kv") != 0) return false;
    if (strspn(name, "0123456789abcdef") != NAME_LEN) return false;
    *file = strtoull(name, NULL, 16);
    return *file != 0;
}

static void remove_file(struct disk *d, uint64_t file)
{
    char path[FS_PATH_MAX];
    if (path_of(d, path, "", file)) unlink(path);
}

/* ---- reading ------------------------------------------------------------------------------ */

static bool read_bytes(int fd, void *out, size_t n)
{
    for (unsigned char *p = out; n;) {
        ssize_t got = read(fd, p, n);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false;
        p += got;
        n -= (size_t)got;
    }
    return true;
}

/* NULL: damaged (or without memory: then it looks the same, and costs a file). */
static struct disk_meta *read_header(int fd, uint64_t file, const struct stat *st, uint64_t *hash)
{
    unsigned char fixed[CACHE_FILE_FIXED];
    if (!read_bytes(fd, fixed, sizeof fixed)) return NULL;
    size_t size = cache_file_header_size(fixed);
    unsigned char *header = size ? try_malloc(size) : NULL;
    struct disk_meta *m = NULL;
    if (header) {
        memcpy(header, fixed, sizeof fixed);
        if (read_bytes(fd, header + sizeof fixed, size - sizeof fixed))
            m = cache_file_parse(header, size, hash);
    }
    free(header);
    if (!m) return NULL;
    m->file = file;
    m->used_ns = st->st_mtim.tv_sec * INT64_C(1000000000) + st->st_mtim.tv_nsec;
    if (m->file_size == (uint64_t)st->st_size && m->state_size < SIZE_MAX / 2) return m;
    free(m);
    return NULL;
}

/* Opens a file that must be an ordinary one; -1 when it is not there or can't be read. */
static int open_file(struct disk *d, uint64_t file, struct stat *st)
{
    char path[FS_PATH_MAX];
    if (!path_of(d, path, "", file)) return -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd >= 0 && (fstat(fd, st) || !S_ISREG(st->st_mode))) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static void do_read(struct disk *d, uint64_t file)
{
    struct disk_note note = {.type = DISK_READ, .file = file};
    struct stat st;
    uint64_t hash;
    int fd = open_file(d, file, &st);
    if (fd >= 0) {
        note.meta = read_header(fd, file, &st, &hash);
        note.corrupt = !note.meta;
        if (note.meta) note.state = blob_new((size_t)note.meta->state_size);
        if (note.state)
            note.corrupt = !read_bytes(fd, note.state->bytes, note.state->size) ||
                           hash64(note.state->bytes, note.state->size, 0) != hash;
        close(fd);
    }
    note.ok = note.state && !note.corrupt;
    if (note.corrupt) {
        log_warn(sched, "a file of the prefix cache is damaged and was removed");
        remove_file(d, file);
    }
    tell(d, &note);
}

/* ---- the start ---------------------------------------------------------------------------- */

static void look_at(struct disk *d, int dir, const char *name)
{
    struct stat st;
    uint64_t file, hash;
    if (str_starts(name, "tmp-")) { /* of a hub that was killed, unless one is just writing it */
        if (!fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) &&
            clock_wall_s() - st.st_mtim.tv_sec > STALE_S)
            unlinkat(dir, name, 0);
        return;
    }
    if (!parse_name(name, &file)) return;
    int fd = open_file(d, file, &st);
    if (fd < 0) return;
    struct disk_note note = {.type = DISK_FOUND, .file = file};
    note.meta = read_header(fd, file, &st, &hash);
    close(fd);
    note.ok = note.meta;
    note.corrupt = !note.meta;
    if (note.corrupt) remove_file(d, file);
    tell(d, &note);
}

static void scan(struct disk *d)
{
    struct error error;
    DIR *dir = NULL;
    if (fs_mkdirs(d->dir, 0700, &error)) {
        complain(d, &error);
    } else if (!(dir = opendir(d->dir))) {
        err_set_errno(&error, errno, d->dir);
        complain(d, &error);
    }
    struct dirent *entry;
    for (int n = 0; dir && n < FILES_MAX && (entry = readdir(dir)); n++)
        look_at(d, dirfd(dir), entry->d_name);
    if (dir) closedir(dir);
    tell(d, &(struct disk_note){.type = DISK_SCANNED, .ok = dir});
}

/* ---- writing ------------------------------------------------------------------------------ */

static enum err write_bytes(int fd, const void *data, size_t n, struct error *error)
{
    for (const unsigned char *p = data; n;) {
        ssize_t put = fault_hit(FAULT_write) ? (errno = ENOSPC, -1) : write(fd, p, n);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return err_set_errno(error, errno, "writing a state");
        p += put;
        n -= (size_t)put;
    }
    return OK;
}

static enum err write_file(struct disk *d, const char *path, const struct job *job,
                           struct error *error)
{
    char temp[FS_PATH_MAX];
    struct buf header;
    uint64_t free_bytes;
    enum err e = fs_free_bytes(d->dir, &free_bytes, error);
    if (e) return e;
    if (free_bytes < job->state->size + KEEP_FREE)
        return err_set(error, ERR_DISK_FULL, "the disk is nearly full");
    if (!path_of(d, temp, "tmp-", job->file))
        return err_set(error, ERR_INVALID, "the folder's path is too long");
    int fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return err_set_errno(error, errno, "making a file");
    buf_init(&header, CACHE_FILE_HEADER_MAX);
    e = cache_file_header(job->meta, job->state, &header);
    if (e) err_set(error, e, "no memory for a file's header");
    if (!e) e = write_bytes(fd, buf_str(&header), header.len, error);
    if (!e) e = write_bytes(fd, job->state->bytes, job->state->size, error);
    buf_free(&header);
    if (close(fd) && !e) e = err_set_errno(error, errno, "closing a file");
    if (!e && rename(temp, path)) e = err_set_errno(error, errno, "naming a file");
    if (e) unlink(temp);
    return e;
}

static void do_write(struct disk *d, const struct job *job)
{
    struct error error;
    char path[FS_PATH_MAX];
    struct disk_note note = {.type = DISK_WRITTEN, .file = job->file};
    int64_t quit_at = atomic_load(&d->quit_at_ns);
    bool late = quit_at && clock_mono_ns() > quit_at;
    if (!late && clock_mono_ms() >= d->broken_until_ms && path_of(d, path, "", job->file)) {
        note.ok = write_file(d, path, job, &error) == OK;
        if (!note.ok) complain(d, &error);
        if (note.ok) d->warned = false;
    }
    tell(d, &note);
}

static void do_touch(struct disk *d, uint64_t file)
{
    char path[FS_PATH_MAX];
    if (path_of(d, path, "", file)) utimensat(AT_FDCWD, path, NULL, AT_SYMLINK_NOFOLLOW);
}

/* ---- the thread --------------------------------------------------------------------------- */

static void job_free(struct disk *d, struct job *job)
{
    if (job->state) atomic_fetch_sub(&d->queued, job->state->size);
    blob_unref(job->state);
    free(job->meta);
    free(job);
}

static void hear(struct disk *d, int64_t timeout_ms)
{
    for (struct mail *m = mailbox_receive(d->jobs, timeout_ms), *next; m; m = next) {
        next = m->next;
        struct job *job = container_of(m, struct job, mail);
        list_push_back(job->type == JOB_READ ? &d->reads : &d->others, &job->node);
    }
}

static void *disk_main(void *arg)
{
    struct disk *d = arg;
    while (!d->quit) {
        hear(d, list_empty(&d->reads) && list_empty(&d->others) ? -1 : 0);
        struct list_node *n = list_pop_front(&d->reads);
        if (!n) n = list_pop_front(&d->others);
        if (!n) continue;
        struct job *job = container_of(n, struct job, node);
        switch (job->type) {
        case JOB_SCAN: scan(d); break;
        case JOB_WRITE: do_write(d, job); break;
        case JOB_READ: do_read(d, job->file); break;
        case JOB_REMOVE: remove_file(d, job->file); break;
        case JOB_TOUCH: do_touch(d, job->file); break;
        case JOB_QUIT: d->quit = true; break;
        }
        job_free(d, job);
    }
    return NULL;
}

/* ---- the owner's side ---------------------------------------------------------------------- */

static void send(struct disk *d, enum job_type type, uint64_t file, struct disk_meta *meta,
                 struct blob *state)
{
    struct job *job = xcalloc(1, sizeof *job);
    *job = (struct job){.type = type, .file = file, .meta = meta, .state = state};
    mailbox_send(d->jobs, &job->mail);
}

struct disk *disk_open(const char *dir, struct mailbox *notes, void (*wake)(void *ctx), void *ctx)
{
    struct disk *d = xcalloc(1, sizeof *d);
    struct error error;
    d->notes = notes;
    d->wake = wake;
    d->ctx = ctx;
    d->jobs = mailbox_new();
    list_init(&d->reads);
    list_init(&d->others);
    enum err e = str_copy(d->dir, sizeof d->dir, dir)
                     ? thread_start(&d->thread, "cache", disk_main, d, &error)
                     : err_set(&error, ERR_INVALID, "the folder's path is too long");
    if (e) {
        log_warn(sched, "no prefix cache on disk: %s", error.msg);
        mailbox_free(d->jobs);
        free(d);
        return NULL;
    }
    send(d, JOB_SCAN, 0, NULL, NULL);
    return d;
}

void disk_close(struct disk *d, int64_t grace_ms)
{
    if (!d) return;
    atomic_store(&d->quit_at_ns, clock_mono_ns() + grace_ms * 1000000);
    send(d, JOB_QUIT, 0, NULL, NULL);
    thread_join(d->thread);
    mailbox_free(d->jobs);
    free(d);
}

void disk_write(struct disk *d, struct disk_meta *meta, struct blob *state)
{
    atomic_fetch_add(&d->queued, state->size);
    send(d, JOB_WRITE, meta->file, meta, blob_ref(state));
}

void disk_read(struct disk *d, uint64_t file)
{
    send(d, JOB_READ, file, NULL, NULL);
}

void disk_remove(struct disk *d, uint64_t file)
{
    send(d, JOB_REMOVE, file, NULL, NULL);
}

void disk_touch(struct disk *d, uint64_t file)
{
    send(d, JOB_TOUCH, file, NULL, NULL);
}

size_t disk_queued(const struct disk *d)
{
    return atomic_load(&d->queued);
}
