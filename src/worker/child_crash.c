/* A crash: whose model it was is written down before the process goes. */
#include <signal.h>
#include <stddef.h>

#include "base/doing.h"
#include "worker/child_int.h"

/* Signals of a crash, and who handled them before (a sanitizer, or nobody). */
static const int crashes[] = {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSYS, SIGTRAP};
enum { N_CRASHES = sizeof crashes / sizeof *crashes };
static struct sigaction before[N_CRASHES];

/* The thread that it came to, and so the model, goes into the shared memory. A fault comes again
 * when this returns; what was sent has to be sent again. */
static void on_crash(int sig, siginfo_t *info, void *ctx)
{
    (void)ctx;
    doing_crashed();
    for (int i = 0; i < N_CRASHES; i++)
        if (crashes[i] == sig) sigaction(sig, &before[i], NULL);
    if (info->si_code <= 0) raise(sig);
}

void child_watch_crashes(void)
{
    struct sigaction action = {.sa_sigaction = on_crash, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigemptyset(&action.sa_mask);
    for (int i = 0; i < N_CRASHES; i++) sigaction(crashes[i], &action, &before[i]);
}
