/* Rights dropped: what a model file that takes over this process can still do.
 *
 *  - No new privileges, no core files (they would hold prompts).
 *  - seccomp: no sockets, no programs, no processes, no looking into others, nothing of what
 *    administers the machine. A list of what is refused, not of what is allowed: GPU drivers use
 *    more of the kernel than could be listed, and a refusal is EPERM, so that they can go on.
 *  - Landlock, where the kernel has it: files are read below the folders named and where libraries
 *    and device drivers keep theirs, written below the folders named and on the devices of GPUs.
 *    No TCP and no signals to others, where its version knows these.
 *
 * Call it on the only thread, after libraries have been loaded (threads that drivers have started
 * by then are bound by seccomp alone). */
#ifndef HEARTH_WORKER_SANDBOX_H
#define HEARTH_WORKER_SANDBOX_H

#include <stddef.h>

struct sandbox_params {
    const char *const *read; /* folders or files; those that don't exist are left out */
    size_t n_read;
    const char *const *write; /* folders */
    size_t n_write;
};

/* Does what the kernel allows; `report` says in words what that was, for the log. */
void sandbox_apply(const struct sandbox_params *params, char *report, size_t size);

#endif
