/* SIGINT's handler sets a flag; ppoll lets the signal in and waits in one step. */
#include "cmd/interrupt.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <time.h>
#include <unistd.h>

#include "cmd/cmd_int.h"

static volatile sig_atomic_t seen;
static volatile sig_atomic_t second_ends;

static void on_interrupt(int sig)
{
    (void)sig;
    if (seen && second_ends) _exit(CMD_INTERRUPTED);
    seen = 1;
}

static void handle(void)
{
    struct sigaction action = {.sa_handler = on_interrupt};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
}

void interrupt_install(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    handle();
}

static void on_interrupt_end(int sig)
{
    (void)sig;
    _exit(CMD_INTERRUPTED);
}

void interrupt_release(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    signal(SIGINT, on_interrupt_end);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

void interrupt_install_flag(void)
{
    second_ends = 1;
    handle();
}

bool interrupt_seen(void)
{
    return seen;
}

void interrupt_clear(void)
{
    seen = 0;
}

enum interrupt_wake interrupt_wait(int fd, int64_t timeout_ms)
{
    if (seen) return WAKE_INTERRUPT;
    sigset_t open;
    pthread_sigmask(SIG_BLOCK, NULL, &open);
    sigdelset(&open, SIGINT);
    struct timespec timeout = {timeout_ms / 1000, (timeout_ms % 1000) * 1000000};
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int n = ppoll(&p, 1, timeout_ms < 0 ? NULL : &timeout, &open);
    if (seen) return WAKE_INTERRUPT;
    return n > 0 ? WAKE_READY : WAKE_TIMEOUT;
}
