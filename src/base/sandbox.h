/* Rights dropped: what bytes of somebody else's that take over this process can still do. For the
 * process that runs the models (src/worker) and those that read documents (src/extract).
 *
 *  - No new privileges, no core files (they would hold prompts and documents).
 *  - seccomp: no sockets, no processes but those named, no looking into others, nothing of what
 *    administers the machine. A list of what is refused, not of what is allowed: GPU drivers use
 *    more of the kernel than could be listed, and a refusal is EPERM, so that they can go on.
 *  - Landlock, where the kernel has it: files are read below the folders named and where libraries
 *    keep theirs, written below the folders named, programs started only if they are named. No TCP
 *    and no signals to others, where its version knows these.
 *
 * Call it on the only thread, after libraries have been loaded (threads that drivers have started
 * by then are bound by seccomp alone). What it refuses is refused to children, too. */
#ifndef HEARTH_BASE_SANDBOX_H
#define HEARTH_BASE_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>

struct sandbox_params {
    const char *const *read; /* folders or files; those that don't exist are left out */
    size_t n_read;
    const char *const *write; /* folders */
    size_t n_write;
    /* Programs that may be started, as absolute paths. With none, no processes either. */
    const char *const *run;
    size_t n_run;
    bool devices; /* GPUs: their devices, and what drivers ask /proc and /sys */
};

/* Does what the kernel allows; `report` says in words what that was, for the log. */
void sandbox_apply(const struct sandbox_params *params, char *report, size_t size);

#endif
