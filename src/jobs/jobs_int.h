/* Inside of the runner: the name under which a process takes jobs. */
#ifndef HEARTH_JOBS_JOBS_INT_H
#define HEARTH_JOBS_JOBS_INT_H

#include <stdbool.h>

enum { WORKER_MAX = 128 };

/* Says which process this is, so that its successor on this machine can tell that it is gone: boot,
 * name space of processes, pid, when it began, and a number of its own for each runner. */
void worker_name(char dst[WORKER_MAX]);
/* True only when it is sure: a process of this boot and name space that is no more. */
bool worker_is_dead(const char *name);

#endif
