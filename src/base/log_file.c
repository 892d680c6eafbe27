/* The log's file; see log_file.h. */
#include "base/log_file.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/str.h"
#include "base/thread.h"

enum {
    RETRY_MS = 60000, /* after a turn that failed */
    PIPE_LINE_MAX = 4096,
    DRAIN_MS = 500, /* a grandchild may still hold the pipe: nobody waits for that one for long */
};

static struct {
    char path[FS_PATH_MAX];
    int fd; /* -1 = no file */
    struct log_limits limits;
    pthread_mutex_t lock; /* of turning over; a leaf */
    _Atomic int64_t bytes, born_ms, not_before_ms;

    int pipe_in, pipe_out; /* -1 = none */
    pthread_t thread;
    atomic_bool draining;
} file = {.fd = -1, .lock = PTHREAD_MUTEX_INITIALIZER, .pipe_in = -1, .pipe_out = -1};

/* ---- opening ------------------------------------------------------------------------------- */

static int open_path(void)
{
    return open(file.path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

/* What is there already counts: a hub that is restarted often turns its file over all the same. */
static void look_at(int fd)
{
    struct statx st = {0};
    int64_t born = clock_wall_ms();
    if (statx(fd, "", AT_EMPTY_PATH, STATX_SIZE | STATX_BTIME, &st) != 0) st.stx_size = 0;
    if ((st.stx_mask & STATX_BTIME) && st.stx_size > 0)
        born = (int64_t)st.stx_btime.tv_sec * 1000 + st.stx_btime.tv_nsec / 1000000;
    atomic_store(&file.bytes, (int64_t)st.stx_size);
    atomic_store(&file.born_ms, born);
}

static enum err refused(struct error *error)
{
    int errnum = errno;
    char what[ERROR_MSG_MAX];
    str_printf(what, sizeof what, "can't open the log file %.300s", file.path);
    return err_set_errno(error, errnum, what);
}

enum err log_file_open(const char *path, int *fd, struct error *error)
{
    file.fd = -1;
    file.limits = (struct log_limits){0};
    atomic_store(&file.not_before_ms, 0);
    if (!str_copy(file.path, sizeof file.path, path))
        return err_set(error, ERR_CONFIG, "the path of the log file is too long");
    int opened = open_path();
    if (opened < 0) return refused(error);
    look_at(opened);
    *fd = file.fd = opened;
    return OK;
}

void log_file_limit(const struct log_limits *limits)
{
    file.limits = *limits;
    if (file.limits.keep < 1) file.limits.keep = 1;
}

/* ---- turning over ---------------------------------------------------------------------------- */

static enum err put_under(int fd, struct error *error)
{
    int rc = dup3(fd, file.fd, O_CLOEXEC);
    int errnum = errno;
    if (rc >= 0) look_at(file.fd);
    close(fd);
    return rc < 0 ? err_set_errno(error, errnum, "the log file can't be replaced") : OK;
}

enum err log_file_reopen(struct error *error)
{
    if (file.fd < 0) return OK;
    pthread_mutex_lock(&file.lock);
    int fd = open_path();
    enum err e = fd < 0 ? refused(error) : put_under(fd, error);
    pthread_mutex_unlock(&file.lock);
    return e;
}

/* Another process that logs here may have turned it over already. */
static bool is_still_there(void)
{
    struct stat ours, named;
    return fstat(file.fd, &ours) == 0 && stat(file.path, &named) == 0 &&
           ours.st_dev == named.st_dev && ours.st_ino == named.st_ino;
}

static void name_of(char *dst, size_t size, int n)
{
    if (n)
        str_printf(dst, size, "%s.%d", file.path, n);
    else
        str_copy(dst, size, file.path);
}

static bool move_along(void)
{
    char from[FS_PATH_MAX + 16], to[FS_PATH_MAX + 16];
    for (int n = file.limits.keep - 1; n >= 0; n--) {
        name_of(from, sizeof from, n);
        name_of(to, sizeof to, n + 1);
        if (rename(from, to) != 0 && (n == 0 || errno != ENOENT)) return false;
    }
    return true;
}

static bool is_due(size_t len)
{
    const struct log_limits *l = &file.limits;
    int64_t bytes = atomic_load_explicit(&file.bytes, memory_order_relaxed);
    if (bytes == 0) return false;
    if (l->max_bytes > 0 && bytes + (int64_t)len > l->max_bytes) return true;
    return l->max_age_ms > 0 && clock_wall_ms() - atomic_load(&file.born_ms) > l->max_age_ms;
}

/* A file that can't be turned over is written on: lines are worth more than its size. */
static void turn_over(size_t len)
{
    pthread_mutex_lock(&file.lock);
    if (is_due(len) && clock_wall_ms() >= atomic_load(&file.not_before_ms)) {
        bool ok = !is_still_there() || move_along();
        int fd = ok ? open_path() : -1;
        if (fd < 0 || put_under(fd, NULL) != OK)
            atomic_store(&file.not_before_ms, clock_wall_ms() + RETRY_MS);
    }
    pthread_mutex_unlock(&file.lock);
}

void log_file_about_to_write(size_t len)
{
    if (file.fd < 0) return;
    if (is_due(len)) turn_over(len);
    atomic_fetch_add_explicit(&file.bytes, (int64_t)len, memory_order_relaxed);
}

/* ---- a child's lines ------------------------------------------------------------------------ */

static void write_all(const char *data, size_t len)
{
    log_file_about_to_write(len);
    while (len > 0) {
        ssize_t n = write(file.fd, data, len);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return; /* nowhere to complain */
        data += n;
        len -= (size_t)n;
    }
}

/* Whole lines go on; the beginning of one waits for its rest, or for the buffer to be full. */
static size_t pass_lines(char *data, size_t len)
{
    char *last = memrchr(data, '\n', len);
    size_t whole = last ? (size_t)(last - data) + 1 : len == PIPE_LINE_MAX ? len : 0;
    if (whole) write_all(data, whole);
    memmove(data, data + whole, len - whole);
    return len - whole;
}

static void *pass_on(void *arg)
{
    char data[PIPE_LINE_MAX];
    size_t len = 0;
    (void)arg;
    for (;;) {
        struct pollfd p = {.fd = file.pipe_out, .events = POLLIN};
        int rc = poll(&p, 1, atomic_load(&file.draining) ? 0 : DRAIN_MS);
        if (rc == 0 && atomic_load(&file.draining)) break;
        if (rc <= 0) continue;
        ssize_t n = read(file.pipe_out, data + len, sizeof data - len);
        if (n == 0) break;
        if (n < 0) continue;
        len = pass_lines(data, len + (size_t)n);
    }
    if (len) write_all(data, len);
    return NULL;
}

static int open_pipe(void)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return file.fd;
    file.pipe_out = ends[0];
    if (thread_start(&file.thread, "log", pass_on, NULL, NULL) != OK) {
        close(ends[0]);
        close(ends[1]);
        file.pipe_out = -1;
        return file.fd;
    }
    file.pipe_in = ends[1];
    return file.pipe_in;
}

int log_file_child_fd(void)
{
    pthread_mutex_lock(&file.lock);
    int fd = file.fd < 0 || file.pipe_in >= 0 ? file.pipe_in : open_pipe();
    pthread_mutex_unlock(&file.lock);
    return fd;
}

void log_file_drain(void)
{
    if (file.pipe_in < 0) return;
    close(file.pipe_in);
    atomic_store(&file.draining, true);
    thread_join(file.thread);
    close(file.pipe_out);
    file.pipe_in = file.pipe_out = -1;
    atomic_store(&file.draining, false);
}
