/* Programs for PDF and OCR; see program.h. */
#include "extract/program.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "extract/extract.h"

enum { ARGS_MAX = 24, PIECE = 64 << 10 };

extern char **environ;

static const char *const names[] = {
#define X(name) #name,
    PROGRAMS(X)
#undef X
};

static bool find(const char *name, char *dst, size_t size)
{
    const char *path = getenv("PATH");
    if (!path || !*path) path = "/usr/local/bin:/usr/bin:/bin";
    for (const char *at = path; at && *at;) {
        size_t len = strcspn(at, ":");
        if (at[0] == '/' && str_printf(dst, size, "%.*s/%s", (int)len, at, name) &&
            access(dst, X_OK) == 0)
            return true;
        at += len + (at[len] == ':');
    }
    dst[0] = '\0';
    return false;
}

void programs_find(struct programs *p, uint64_t memory)
{
    *p = (struct programs){.memory = memory};
    for (int i = 0; i < PROGRAM_COUNT; i++) (void)find(names[i], p->paths[i], sizeof p->paths[i]);
}

void extract_installed(bool *pdf, bool *ocr)
{
    struct programs *p = xcalloc(1, sizeof *p);
    programs_find(p, 0);
    *pdf = *p->paths[PROGRAM_pdfinfo] && *p->paths[PROGRAM_pdftotext];
    *ocr = *pdf && *p->paths[PROGRAM_pdfimages] && *p->paths[PROGRAM_pdftoppm] &&
           *p->paths[PROGRAM_tesseract];
    free(p);
}

/* ---- starting ------------------------------------------------------------------------------ */

/* In the new process, between fork and exec. */
static HT_NORETURN void become(const struct programs *p, enum program which, char *const *argv,
                               int in, int out, int messages)
{
    int null = open("/dev/null", O_RDWR);
    struct rlimit memory = {.rlim_cur = p->memory, .rlim_max = p->memory}, cpu;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (null < 0 || dup2(in < 0 ? null : in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 ||
        dup2(messages < 0 ? null : messages, STDERR_FILENO) < 0)
        _exit(126);
    if (setrlimit(RLIMIT_AS, &memory) != 0) _exit(126);
    if (p->long_cpu && getrlimit(RLIMIT_CPU, &cpu) == 0) {
        cpu.rlim_cur = cpu.rlim_max;
        if (setrlimit(RLIMIT_CPU, &cpu) != 0) _exit(126);
    }
    signal(SIGPIPE, SIG_DFL);
    execve(p->paths[which], argv, environ);
    _exit(127);
}

static enum err start(const struct programs *p, enum program which, const char *const *args, int in,
                      int out, int messages, pid_t *pid, struct error *error)
{
    char *argv[ARGS_MAX + 2] = {(char *)names[which]};
    for (size_t i = 0; args[i]; i++) {
        ht_assert(i < ARGS_MAX);
        argv[i + 1] = (char *)args[i];
    }
    *pid = fork();
    if (*pid < 0) return err_set_errno(error, errno, "no process for reading the document");
    if (*pid == 0) become(p, which, argv, in, out, messages);
    return OK;
}

enum err program_start(const struct programs *p, enum program which, const char *const *argv,
                       int in, int *out, pid_t *pid, struct error *error)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0) return err_set_errno(error, errno, "no pipe");
    enum err e = start(p, which, argv, in, fds[1], -1, pid, error);
    close(fds[1]);
    if (e)
        close(fds[0]);
    else
        *out = fds[0];
    return e;
}

int program_wait(pid_t pid)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
    return status;
}

/* ---- running ------------------------------------------------------------------------------- */

/* Takes what there is. False: its end, or the caller has enough. */
static bool drain(int fd, const struct program_run *run, bool output, bool *stopped)
{
    char piece[PIECE];
    ssize_t n = read(fd, piece, sizeof piece);
    if (n < 0 && errno == EINTR) return true;
    if (n <= 0) return false;
    if (output) {
        if (run->on_output(run->ctx, piece, (size_t)n)) return true;
        *stopped = true;
        return false;
    }
    struct buf *m = run->messages;
    size_t room = m->max - m->len;
    buf_append(m, piece, (size_t)n < room ? (size_t)n : room);
    return true;
}

static void follow(const struct program_run *run, int out, int messages, bool *stopped)
{
    struct pollfd fds[2] = {{.fd = out, .events = POLLIN}, {.fd = messages, .events = POLLIN}};
    while ((fds[0].fd >= 0 || fds[1].fd >= 0) && !*stopped) {
        if (poll(fds, 2, -1) < 0 && errno != EINTR) break;
        for (int i = 0; i < 2; i++)
            if (fds[i].fd >= 0 && fds[i].revents && !drain(fds[i].fd, run, i == 0, stopped))
                fds[i].fd = -1;
    }
}

enum err program_run(const struct programs *p, enum program which, const struct program_run *run,
                     struct program_end *end, struct error *error)
{
    int out[2], messages[2];
    pid_t pid;
    *end = (struct program_end){0};
    if (pipe2(out, O_CLOEXEC) != 0) return err_set_errno(error, errno, "no pipe");
    if (pipe2(messages, O_CLOEXEC) != 0) {
        close(out[0]);
        close(out[1]);
        return err_set_errno(error, errno, "no pipe");
    }
    enum err e = start(p, which, run->argv, run->in, out[1], messages[1], &pid, error);
    close(out[1]);
    close(messages[1]);
    if (!e) follow(run, out[0], messages[0], &end->stopped);
    close(out[0]); /* a program that is told to stop gets SIGPIPE */
    close(messages[0]);
    if (!e) end->status = program_wait(pid);
    return e;
}
