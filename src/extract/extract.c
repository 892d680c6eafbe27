/* The hub's side: starts a process for a document, watches it, believes nothing it says. */
#include "extract/extract.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "extract/extract_int.h"
#include "extract/frame.h"
#include "extract/types.h"

extern char **environ;

enum {
    ASK_MS = 100,    /* between two questions whether it is cancelled */
    GRACE_MS = 2000, /* beyond the child's own limit of time, for its words about it */
    OUTPUT_MIN = 1 << 10,
    SECONDS_MAX = 7 * 86400,
    ABOVE = 16, /* numbers that the child's descriptors don't have */
};

struct child {
    const struct extract_params *params;
    struct extract_order order;
    pid_t pid; /* and process group */
    int fd;
    int64_t deadline_ms;
    struct frame_in in;
};

/* ---- the order ----------------------------------------------------------------------------- */

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static int32_t seconds_or(int32_t given, int32_t otherwise)
{
    if (given <= 0) return otherwise;
    return given < SECONDS_MAX ? given : SECONDS_MAX;
}

static enum err write_order(const struct extract_params *p, int fd, struct extract_order *o,
                            struct error *error)
{
    order_init(o);
    o->seconds = seconds_or(p->seconds, EXTRACT_SECONDS);
    o->ocr_seconds = seconds_or(p->ocr_seconds, EXTRACT_OCR_SECONDS);
    o->ocr = p->ocr;
    o->memory = p->memory ? p->memory : EXTRACT_MEMORY;
    o->output = p->output ? p->output : EXTRACT_OUTPUT;
    if (o->output < OUTPUT_MIN) o->output = OUTPUT_MIN;
    if (o->output > SIZE_MAX / 4) o->output = SIZE_MAX / 4;
    const char *name = p->name ? p->name : last_part(p->path);
    str_copy(o->name, sizeof o->name, name);
    str_copy(o->ocr_languages, sizeof o->ocr_languages,
             p->ocr_languages && *p->ocr_languages ? p->ocr_languages : "eng");
    if (!p->type) return extract_detect_fd(fd, name, o->type, error);
    str_copy(o->type, sizeof o->type, p->type);
    return OK;
}

/* ---- starting ------------------------------------------------------------------------------ */

/* What the child and its programs need, and nothing that could be secret. */
static char **child_environment(void)
{
    static const char *const kept[] = {
        "PATH=",         "LD_LIBRARY_PATH=", "TESSDATA_PREFIX=", "ASAN_OPTIONS=",
        "LSAN_OPTIONS=", "UBSAN_OPTIONS=",   "TSAN_OPTIONS="};
    enum { KEPT = sizeof kept / sizeof *kept };
    static char child[] = "HEARTH_EXTRACT=1", locale[] = "LC_ALL=C.UTF-8",
                threads[] = "OMP_THREAD_LIMIT=1";
    char **env = xcalloc(KEPT + 4, sizeof *env);
    size_t n = 0;
    for (size_t k = 0; k < KEPT; k++)
        for (size_t i = 0; environ[i]; i++)
            if (str_starts(environ[i], kept[k])) {
                env[n++] = environ[i];
                break;
            }
    env[n++] = child;
    env[n++] = locale;
    env[n++] = threads;
    return env;
}

static int prepare(posix_spawn_file_actions_t *actions, posix_spawnattr_t *attr, int sock, int file)
{
    sigset_t none, ours;
    sigemptyset(&none);
    sigemptyset(&ours);
    sigaddset(&ours, SIGPIPE);
    int rc = posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (!rc)
        rc = posix_spawn_file_actions_addopen(actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    if (!rc) rc = posix_spawn_file_actions_adddup2(actions, sock, EXTRACT_FD);
    if (!rc) rc = posix_spawn_file_actions_adddup2(actions, file, EXTRACT_FILE_FD);
    if (!rc) rc = posix_spawn_file_actions_addclosefrom_np(actions, EXTRACT_FILE_FD + 1);
    if (!rc) rc = posix_spawnattr_setsigmask(attr, &none);
    if (!rc) rc = posix_spawnattr_setsigdefault(attr, &ours);
    if (!rc) rc = posix_spawnattr_setpgroup(attr, 0); /* so that all of it can be ended at once */
    short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP;
    if (!rc) rc = posix_spawnattr_setflags(attr, flags);
    return rc;
}

static int spawn(const char *program, int sock, int file, pid_t *pid)
{
    char *argv[] = {"hearth", "extract", NULL};
    char **env = child_environment();
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attr);
    int rc = prepare(&actions, &attr, sock, file);
    if (!rc) rc = posix_spawn(pid, program, &actions, &attr, argv, env);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&actions);
    free(env);
    return rc;
}

/* With copies of the descriptors above the numbers that the child gets them as, so that no dup2
 * closes what another one needs. */
static enum err start(struct child *c, int file, struct error *error)
{
    int pair[2];
    const char *program = c->params->program ? c->params->program : "/proc/self/exe";
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return err_set_errno(error, errno, "no socket for reading the document");
    int sock = fcntl(pair[1], F_DUPFD_CLOEXEC, ABOVE), doc = fcntl(file, F_DUPFD_CLOEXEC, ABOVE);
    int rc = sock < 0 || doc < 0 ? errno : spawn(program, sock, doc, &c->pid);
    close(pair[1]);
    if (sock >= 0) close(sock);
    if (doc >= 0) close(doc);
    if (rc) {
        close(pair[0]);
        return err_set_errno(error, rc, "no process for reading the document");
    }
    c->fd = pair[0];
    c->deadline_ms = clock_mono_ms() + c->order.seconds * 1000LL + GRACE_MS;
    /* Fits into the socket, so this does not wait; a child that has died is seen when reading. */
    (void)!send(c->fd, &c->order, sizeof c->order, MSG_NOSIGNAL);
    return OK;
}

/* All of its processes. Returns how it ended. */
static int bury(struct child *c)
{
    int status = 0;
    kill(-c->pid, SIGKILL);
    while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR) continue;
    close(c->fd);
    return status;
}

/* ---- following ----------------------------------------------------------------------------- */

static enum err too_slow(const struct child *c, struct error *error)
{
    if (c->in.ocr)
        return err_set(error, ERR_TIMEOUT,
                       "reading its scanned pages took longer than %d s (HEARTH_OCR_TIME)",
                       c->order.ocr_seconds);
    return err_set(error, ERR_TIMEOUT, "reading it took longer than %d s (HEARTH_EXTRACT_TIME)",
                   c->order.seconds);
}

static enum err read_some(struct child *c, bool *end, struct error *error)
{
    char piece[64 << 10];
    bool ocr = c->in.ocr;
    ssize_t n = recv(c->fd, piece, sizeof piece, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return OK;
    if (n <= 0) {
        *end = true;
        return OK;
    }
    enum err e = frame_feed(&c->in, piece, (size_t)n);
    if (e == ERR_NOMEM) return err_set(error, e, "not enough memory for its text");
    if (e)
        return err_set(error, ERR_INVALID,
                       "the process that read it gave nonsense for an answer: the file is damaged "
                       "or made to do harm");
    if (c->in.ocr && !ocr) c->deadline_ms += c->order.ocr_seconds * 1000LL;
    return OK;
}

/* Until there is an answer, or the child's end. */
static enum err follow(struct child *c, bool (*cancelled)(void *ctx), void *ctx,
                       struct error *error)
{
    enum err e = OK;
    for (bool end = false; !end && !e && !c->in.done;) {
        int64_t left = c->deadline_ms - clock_mono_ms();
        if (left <= 0) return too_slow(c, error);
        if (cancelled && cancelled(ctx)) return err_set(error, ERR_CANCELLED, "cancelled");
        struct pollfd fd = {.fd = c->fd, .events = POLLIN};
        int rc = poll(&fd, 1, left < ASK_MS ? (int)left : ASK_MS);
        if (rc > 0) e = read_some(c, &end, error);
    }
    return e;
}

/* It ended without an answer. */
static enum err judge_end(const struct child *c, int status, struct error *error)
{
    char text[64];
    int sig = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    if (sig == SIGXCPU) return too_slow(c, error);
    if (sig == SIGABRT || sig == SIGSEGV || sig == SIGBUS || sig == SIGILL || sig == SIGFPE)
        return err_set(error, ERR_INVALID,
                       "the process that read it crashed (%s): the file is damaged or made to do "
                       "harm, or it needs more than %s of memory",
                       strsignal(sig), str_from_bytes(text, sizeof text, c->order.memory));
    if (sig)
        return err_set(error, ERR_INTERNAL, "the process that read it was ended (%s)",
                       strsignal(sig));
    return err_set(error, ERR_INTERNAL, "the process that was to read it ended with status %d",
                   WEXITSTATUS(status));
}

static const char *static_type(const char *type)
{
    enum type_id id = type_of_media(type);
    if (id < TYPE_SOURCE) return type_media(id);
    return id == TYPE_SOURCE ? type_language(type) - strlen(TYPE_SOURCE_PREFIX) : TYPE_OCTETS;
}

enum err extract_run(const struct extract_params *params, bool (*cancelled)(void *ctx), void *ctx,
                     struct extract_doc *out, struct error *error)
{
    struct child c = {.params = params};
    int file;
    *out = (struct extract_doc){0};
    if (extract_is_child())
        return err_set(error, ERR_CONFLICT, "who reads a document starts nobody to read one");
    enum err e = extract_open(params->path, &file, error);
    if (e) return e;
    e = write_order(params, file, &c.order, error);
    if (!e) e = start(&c, file, error);
    close(file);
    if (e) return e;
    frame_in_init(&c.in, c.order.output);
    e = follow(&c, cancelled, ctx, error);
    int status = bury(&c);
    if (!e) e = c.in.done ? frame_take(&c.in, out, error) : judge_end(&c, status, error);
    if (e == ERR_WORKER)
        e = err_set(error, ERR_INVALID, "the process that read it gave nonsense for an answer");
    if (!e) out->type = static_type(c.order.type);
    frame_in_free(&c.in);
    return e;
}

/* ---- documents ----------------------------------------------------------------------------- */

void extract_doc_free(struct extract_doc *doc)
{
    free(doc->text);
    free(doc->title);
    free(doc->pages);
    *doc = (struct extract_doc){0};
}

int32_t extract_page_at(const struct extract_doc *doc, size_t offset)
{
    size_t from = 0, to = doc->n_pages;
    while (from < to) {
        size_t mid = from + (to - from) / 2;
        if (doc->pages[mid].start <= offset)
            from = mid + 1;
        else
            to = mid;
    }
    if (from) return doc->pages[from - 1].number;
    return doc->n_pages ? doc->pages[0].number : 0;
}

void extract_params_from(const struct config *config, struct extract_params *params)
{
    *params = (struct extract_params){
        .seconds = (int32_t)((config_int(config, CONFIG_EXTRACT_TIME) + 999) / 1000),
        .ocr_seconds = (int32_t)((config_int(config, CONFIG_OCR_TIME) + 999) / 1000),
        .memory = (uint64_t)config_int(config, CONFIG_EXTRACT_MEMORY),
        .output = (uint64_t)config_int(config, CONFIG_EXTRACT_TEXT),
        .ocr = config_bool(config, CONFIG_OCR),
        .ocr_languages = config_str(config, CONFIG_OCR_LANGUAGES),
    };
}
