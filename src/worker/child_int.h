/* Inside the worker's process: what its files share. */
#ifndef HEARTH_WORKER_CHILD_INT_H
#define HEARTH_WORKER_CHILD_INT_H

#include <stddef.h>
#include <stdint.h>

#include "base/config.h"

enum { RIGHTS_MAX = 256 };

/* ---- child_rights.c */
/* On the only thread, when the libraries are loaded. */
void child_drop_rights(const struct config *config, char *report, size_t size);
/* The fault break_out: tries what bytes that have taken over this process would try; the log has
 * the errno of each, 0 for what worked. */
void child_break_out(void);

/* For the hub: what the folders that people put things into are, and where the links in them lead.
 * While it is the same, a new worker has the rights of an old one. Reads folders. Never 0. */
uint64_t child_rights_signature(const struct config *config);

/* ---- child_crash.c */
/* From here on a crash puts the model of its thread into the shared memory. */
void child_watch_crashes(void);

#endif
