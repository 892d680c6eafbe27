/* Spool: bytes on their way to becoming a file's, in a temporary file of the files' folder, with
 * their SHA-256. One owner; writes may wait for the disk. What is not taken is removed by
 * spool_free; of a process that was killed by the next sweep (files.h), which knows such leftovers
 * by their lock. */
#ifndef HEARTH_FILES_SPOOL_H
#define HEARTH_FILES_SPOOL_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct spool;

/* dir: made if it is not there. max: more is ERR_TOO_LARGE. ERR_DISK_FULL. */
HT_MUST_CHECK enum err spool_new(const char *dir, int64_t max, struct spool **out,
                                 struct error *error);
/* A failure stays: further writes fail with it. */
HT_MUST_CHECK enum err spool_write(struct spool *s, const void *data, size_t len,
                                   struct error *error);
/* No more bytes come: they are on the disk, and what they are is known. Again is fine. */
HT_MUST_CHECK enum err spool_finish(struct spool *s, struct error *error);
/* A whole file. ERR_CONFLICT: it changed while it was read; ERR_INVALID: not a regular file. */
HT_MUST_CHECK enum err spool_copy(struct spool *s, const char *path, int64_t *changed_ms,
                                  struct error *error);
const char *spool_path(const struct spool *s);
int64_t spool_bytes(const struct spool *s);
const char *spool_sha256(const struct spool *s); /* hexadecimal, after spool_finish */
/* Moves the file to `path`; what is there is replaced. */
HT_MUST_CHECK enum err spool_take(struct spool *s, const char *path, struct error *error);
/* Removes the file now: before somebody is told that it is refused. It can't be taken after that.
 */
void spool_drop(struct spool *s);
void spool_free(struct spool *s); /* NULL is fine */

/* Removes what killed processes left in the folder; returns how many. */
size_t spool_sweep(const char *dir);

#endif
