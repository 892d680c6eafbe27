/* The worker's process: starting it, and how it ended. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "worker/client_int.h"

extern char **environ;

enum { BURY_MS = 200 /* it may take to end by itself */, ABOVE = 16 /* what the child gets */ };

/* ---- starting ------------------------------------------------------------------------------ */

/* The environment without the hub's settings, among which there are secrets: the worker gets what
 * it needs of them in the greeting. */
static char **child_environment(void)
{
    size_t n = 0, k = 0;
    while (environ[n]) n++;
    char **env = xcalloc(n + 2, sizeof *env);
    for (size_t i = 0; i < n; i++) {
        char name[128];
        size_t len = strcspn(environ[i], "=");
        enum config_key key;
        if (len >= sizeof name) continue;
        memcpy(name, environ[i], len);
        name[len] = '\0';
        if (!config_find(name, &key)) env[k++] = environ[i];
    }
    env[k] = "HEARTH_WORKER=1";
    return env;
}

static int prepare(posix_spawn_file_actions_t *actions, posix_spawnattr_t *attr, int fd, int log)
{
    sigset_t none, ours;
    sigemptyset(&none);
    sigemptyset(&ours);
    sigaddset(&ours, SIGPIPE);
    int rc = posix_spawn_file_actions_adddup2(actions, fd, WORKER_FD);
    if (!rc) rc = posix_spawn_file_actions_adddup2(actions, log, WORKER_LOG_FD);
    if (!rc) rc = posix_spawn_file_actions_addclosefrom_np(actions, WORKER_LOG_FD + 1);
    if (!rc) rc = posix_spawnattr_setsigmask(attr, &none);
    if (!rc) rc = posix_spawnattr_setsigdefault(attr, &ours);
    if (!rc) rc = posix_spawnattr_setpgroup(attr, 0); /* Ctrl-C is meant for the hub */
    short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP;
    if (!rc) rc = posix_spawnattr_setflags(attr, flags);
    return rc;
}

static int spawn(const char *program, int fd, int log, pid_t *pid)
{
    char *argv[] = {"hearth", "worker", NULL};
    char **env = child_environment();
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attr);
    int rc = prepare(&actions, &attr, fd, log);
    if (!rc) rc = posix_spawn(pid, program, &actions, &attr, argv, env);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&actions);
    free(env);
    return rc;
}

enum err child_start(struct client *c, int *fd, struct error *error)
{
    int pair[2];
    pid_t pid;
    if (getenv("HEARTH_WORKER"))
        return err_set(error, ERR_CONFLICT, "a model worker starts no model worker");
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
        return err_set_errno(error, errno, "no socket for the model worker");
    /* Above what the child gets, so that no dup2 closes what another needs. */
    int theirs = fcntl(pair[1], F_DUPFD_CLOEXEC, ABOVE);
    int log = fcntl(log_fd(), F_DUPFD_CLOEXEC, ABOVE);
    const char *program = c->params.program ? c->params.program : "/proc/self/exe";
    int rc = theirs < 0 || log < 0 ? EMFILE : spawn(program, theirs, log, &pid);
    close(pair[1]);
    if (theirs >= 0) close(theirs);
    if (log >= 0) close(log);
    if (rc) {
        close(pair[0]);
        return err_set_errno(error, rc, "the model worker can't be started");
    }
    atomic_store(&c->pid, pid);
    *fd = pair[0];
    return OK;
}

/* ---- its end ------------------------------------------------------------------------------- */

static int wait_for(pid_t pid)
{
    int status = 0;
    for (int64_t until = clock_mono_ms() + BURY_MS; clock_mono_ms() < until;) {
        if (waitpid(pid, &status, WNOHANG) == pid) return status;
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
    return status;
}

/* Signals that a program brings upon itself. */
static bool is_crash(int sig)
{
    return sig == SIGSEGV || sig == SIGABRT || sig == SIGBUS || sig == SIGFPE || sig == SIGILL ||
           sig == SIGSYS || sig == SIGTRAP;
}

void child_bury(struct client *c, bool *own_fault, char *how, size_t size)
{
    pid_t pid = atomic_load(&c->pid);
    if (!pid) {
        str_copy(how, size, "it never ran");
        return;
    }
    int status = wait_for(pid);
    atomic_store(&c->pid, 0);
    if (WIFSIGNALED(status)) {
        str_printf(how, size, "signal %d, %s", WTERMSIG(status), strsignal(WTERMSIG(status)));
        if (is_crash(WTERMSIG(status))) *own_fault = true;
    } else {
        str_printf(how, size, "exit status %d", WEXITSTATUS(status));
        *own_fault = true;
    }
}

/* ---- quarantine ---------------------------------------------------------------------------- */

void quarantine_lift(struct client *c, const char *id)
{
    for (size_t i = 0; i < c->n_suspects; i++) {
        if (id && !str_eq(id, c->suspects[i].id)) continue;
        c->suspects[i] = c->suspects[--c->n_suspects];
        i--;
    }
}

size_t quarantine_list(const struct client *c, const char **out, size_t max)
{
    size_t n = 0;
    for (size_t i = 0; i < c->n_suspects; i++) {
        if (!c->suspects[i].quarantined) continue;
        if (n < max) out[n] = c->suspects[i].id;
        n++;
    }
    return n < max ? n : max;
}
