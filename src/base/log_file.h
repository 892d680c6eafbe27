/* The log's file: opened, turned over when it has become large or old, opened anew when somebody
 * else moved it, and a pipe through which a child process writes into it. Used by log.c and, for
 * settings, by who starts the program; everything else logs through log.h.
 *
 * The descriptor keeps its number for good: a new file is put under it (dup3), so a line that is
 * written meanwhile goes wholly into the old file or the new one. A child has a descriptor of its
 * own, under which nobody could put another file; it gets a pipe instead, which a thread (`log`)
 * empties into the file line by line. */
#ifndef HEARTH_BASE_LOG_FILE_H
#define HEARTH_BASE_LOG_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct log_limits {
    int64_t max_bytes;  /* of a file; 0 = any */
    int64_t max_age_ms; /* from its making; 0 = any */
    int keep;           /* how many older ones stay: <file>.1 (the newest) to <file>.<keep> */
};

/* Opens path for appending. */
HT_MUST_CHECK enum err log_file_open(const char *path, int *fd, struct error *error);
/* Until the next log_file_open nothing is turned over. Before threads. */
void log_file_limit(const struct log_limits *limits);
/* Before `len` bytes go into the file. Any thread; two or three atomic reads when nothing is due.
 */
void log_file_about_to_write(size_t len);
/* A descriptor for a child process; the file's own when a pipe can't be had. Any thread. */
int log_file_child_fd(void);
/* Opens the path again: somebody (logrotate) has moved the file. OK when there is no file. */
HT_MUST_CHECK enum err log_file_reopen(struct error *error);
/* What is in the pipe is written, the thread ends. The children have ended. */
void log_file_drain(void);

#endif
