/* tar, as much of it as a backup needs (POSIX.1-1988 ustar, "pax interchange format", ustar part):
 * plain files one after the other, each with a name of at most 99 bytes. `tar tf` shows them. The
 * reader takes what the writer writes and refuses everything else: links, folders, absolute names,
 * "..", wrong checksums, a file that ends too early. Sizes above 8 GiB are written as GNU tar does
 * it. One owner, no locks. */
#ifndef HEARTH_BACKUP_TAR_H
#define HEARTH_BACKUP_TAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { TAR_NAME_MAX = 100 };

struct tar_entry {
    char name[TAR_NAME_MAX];
    int64_t bytes;
};

/* Appends to a descriptor. ERR_DISK_FULL, ERR_IO. */
HT_MUST_CHECK enum err tar_put_head(int fd, const char *name, int64_t bytes, int64_t mtime_s,
                                    struct error *error);
HT_MUST_CHECK enum err tar_put(int fd, const void *data, size_t len, struct error *error);
HT_MUST_CHECK enum err tar_put_padding(int fd, int64_t bytes, struct error *error);
HT_MUST_CHECK enum err tar_put_end(int fd, struct error *error);

/* The next file's head; false at the archive's proper end. ERR_CHECKSUM: it is damaged or none. */
HT_MUST_CHECK enum err tar_next(int fd, struct tar_entry *out, bool *has, struct error *error);
/* Exactly `len` bytes. ERR_CHECKSUM: it ends too early. */
HT_MUST_CHECK enum err tar_get(int fd, void *data, size_t len, struct error *error);
HT_MUST_CHECK enum err tar_skip_padding(int fd, int64_t bytes, struct error *error);

#endif
