/* The worker's process: starting it, and how it ended. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/doing.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/shared.h"
#include "base/str.h"
#include "worker/client_int.h"

extern char **environ;

enum {
    BURY_MS = 200, /* it may take to end by itself */
    N_FDS = 3,     /* socket, log, shared memory */
    ABOVE = 16,
};

/* How often the kernel has killed for want of memory; -1 = not known. */
static int64_t count_oom_kills(void)
{
    char line[128];
    long long n = -1;
    FILE *f = fopen("/proc/vmstat", "re");
    while (f && n < 0 && fgets(line, sizeof line, f))
        if (sscanf(line, "oom_kill %lld", &n) != 1) n = -1;
    if (f) fclose(f);
    return n;
}

/* ---- starting ------------------------------------------------------------------------------ */

/* Weights and KV cells lie in malloc's memory. In large pages (transparent_hugepage: madvise or
 * always; nothing happens without) a token takes 3 to 6 % less time: docs/benchmarks.md. What the
 * person has set goes on to hold. */
static void set_tunables(char *out, size_t size)
{
    const char *own = getenv("GLIBC_TUNABLES");
    if (!own || !*own)
        str_copy(out, size, "GLIBC_TUNABLES=glibc.malloc.hugetlb=1");
    else if (strstr(own, "glibc.malloc.hugetlb=") ||
             !str_printf(out, size, "GLIBC_TUNABLES=glibc.malloc.hugetlb=1:%s", own))
        out[0] = '\0';
}

/* The environment without the hub's settings, among which there are secrets: the worker gets what
 * it needs of them in the greeting. */
static char **child_environment(char *tunables)
{
    size_t n = 0, k = 0;
    while (environ[n]) n++;
    char **env = xcalloc(n + 3, sizeof *env);
    for (size_t i = 0; i < n; i++) {
        char name[128];
        size_t len = strcspn(environ[i], "=");
        enum config_key key;
        if (len >= sizeof name) continue;
        memcpy(name, environ[i], len);
        name[len] = '\0';
        if (*tunables && str_eq(name, "GLIBC_TUNABLES")) continue;
        if (!config_find(name, &key)) env[k++] = environ[i];
    }
    if (*tunables) env[k++] = tunables;
    env[k] = "HEARTH_WORKER=1";
    return env;
}

static int prepare(posix_spawn_file_actions_t *actions, posix_spawnattr_t *attr, const int *fds)
{
    sigset_t none, ours;
    sigemptyset(&none);
    sigemptyset(&ours);
    sigaddset(&ours, SIGPIPE);
    /* Nothing that a library prints gets between what a verb prints, or reads its input. */
    int rc = posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (!rc) rc = posix_spawn_file_actions_adddup2(actions, STDERR_FILENO, STDOUT_FILENO);
    for (int i = 0; i < N_FDS && !rc; i++)
        rc = posix_spawn_file_actions_adddup2(actions, fds[i], WORKER_FD + i);
    if (!rc) rc = posix_spawn_file_actions_addclosefrom_np(actions, WORKER_FD + N_FDS);
    if (!rc) rc = posix_spawnattr_setsigmask(attr, &none);
    if (!rc) rc = posix_spawnattr_setsigdefault(attr, &ours);
    if (!rc) rc = posix_spawnattr_setpgroup(attr, 0); /* Ctrl-C is meant for the hub */
    short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP;
    if (!rc) rc = posix_spawnattr_setflags(attr, flags);
    return rc;
}

static int spawn(const char *program, const int *fds, pid_t *pid)
{
    char *argv[] = {"hearth", "worker", NULL};
    char tunables[1024];
    set_tunables(tunables, sizeof tunables);
    char **env = child_environment(tunables);
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attr);
    int rc = prepare(&actions, &attr, fds);
    if (!rc) rc = posix_spawn(pid, program, &actions, &attr, argv, env);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&actions);
    free(env);
    return rc;
}

/* Copies of what the child gets, above the numbers that it gets them as, so that no dup2 closes
 * what another one needs. */
static int copy_fds(const int *from, int *to)
{
    int rc = 0;
    for (int i = 0; i < N_FDS; i++) {
        to[i] = fcntl(from[i], F_DUPFD_CLOEXEC, ABOVE);
        if (to[i] < 0) rc = errno;
    }
    return rc;
}

static void close_fds(const int *fds)
{
    for (int i = 0; i < N_FDS; i++)
        if (fds[i] >= 0) close(fds[i]);
}

enum err child_start(struct client *c, int *fd, struct error *error)
{
    int pair[2], shared, fds[N_FDS];
    pid_t pid;
    if (getenv("HEARTH_WORKER"))
        return err_set(error, ERR_CONFLICT, "a model worker starts no model worker");
    enum err e = shared_open(&shared, error);
    if (e) return e;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
        return err_set_errno(error, errno, "no socket for the model worker");
    const char *program = c->params.program ? c->params.program : "/proc/self/exe";
    shared_child_starts();
    c->oom_kills = count_oom_kills();
    int rc = copy_fds((int[N_FDS]){pair[1], log_fd(), shared}, fds);
    if (!rc) rc = spawn(program, fds, &pid);
    close(pair[1]);
    close_fds(fds);
    if (rc) {
        close(pair[0]);
        return err_set_errno(error, rc, "the model worker can't be started");
    }
    c->pid = pid;
    c->spawned_ms = clock_mono_ms();
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

/* The page is the worker's to write: it can't have loaded for longer than it has lived. */
static int64_t loaded_ms(const struct client *c)
{
    int64_t loaded = shared_child_loaded_ms(), lived = clock_mono_ms() - c->spawned_ms;
    return loaded < lived ? loaded : lived;
}

static void blame(struct client *c, const char *model)
{
    pthread_mutex_lock(&c->lock);
    bool quarantined = suspects_blame(&c->suspects, model, clock_mono_ms(), c->loaded_ms);
    pthread_mutex_unlock(&c->lock);
    if (quarantined)
        log_error(worker,
                  "%s has ended the model worker twice within a minute (the time in which models "
                  "were loaded does not count) and is in quarantine now",
                  model);
}

/* How it ended, in words; sets *own_fault if it brought it upon itself. */
static void describe(const struct client *c, int status, bool *own_fault, char *how, size_t size)
{
    if (*c->why) return; /* it was sent away, and that is said already */
    if (!WIFSIGNALED(status)) {
        str_printf(how, size, "exit status %d", WEXITSTATUS(status));
        if (WEXITSTATUS(status)) *own_fault = true;
        return;
    }
    int sig = WTERMSIG(status);
    bool oom = sig == SIGKILL && c->oom_kills >= 0 && count_oom_kills() > c->oom_kills;
    str_printf(how, size, "signal %d, %s", sig,
               oom ? "the machine ran out of memory" : strsignal(sig));
    if (oom || is_crash(sig)) *own_fault = true;
}

void child_bury(struct client *c, bool *own_fault, char *how, size_t size)
{
    char model[DOING_MODEL_MAX];
    const char *what;
    pid_t pid = c->pid;
    str_copy(how, size, *c->why ? c->why : "it never ran");
    if (!pid) return;
    describe(c, wait_for(pid), own_fault, how, size);
    c->pid = 0;
    c->loaded_ms += loaded_ms(c);
    shared_child_doing(c->hung, model, sizeof model, &what);
    shared_child_ended();
    if (!*own_fault || !*model) return;
    size_t len = strlen(how);
    str_printf(how + len, size - len, ", %s %s", what, model);
    blame(c, model);
}
