/* Files and folders. Paths are plain '\0'-terminated bytes, at most FS_PATH_MAX. */
#ifndef HEARTH_BASE_FS_H
#define HEARTH_BASE_FS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum { FS_PATH_MAX = 4096 };

/* dir + "/" + name into dst[size]; ERR_INVALID when it does not fit. */
HT_MUST_CHECK enum err fs_join(char *dst, size_t size, const char *dir, const char *name,
                               struct error *error);
HT_MUST_CHECK enum err fs_mkdirs(const char *path, unsigned mode, struct error *error);
HT_MUST_CHECK enum err fs_read_file(const char *path, size_t max, struct buf *out,
                                    struct error *error);
/* Temporary file in the same folder, fsync, rename: readers see the old or the new, never half. */
HT_MUST_CHECK enum err fs_write_atomic(const char *path, const void *data, size_t len,
                                       unsigned mode, struct error *error);
bool fs_exists(const char *path);
HT_MUST_CHECK enum err fs_free_bytes(const char *path, uint64_t *out, struct error *error);

/* Per-user folders, by the XDG rules (XDG_DATA_HOME, ..., HOME): ".../hearth". */
HT_MUST_CHECK enum err fs_user_data_dir(char *dst, size_t size, struct error *error);
HT_MUST_CHECK enum err fs_user_config_dir(char *dst, size_t size, struct error *error);
HT_MUST_CHECK enum err fs_user_cache_dir(char *dst, size_t size, struct error *error);
/* Folder of the running binary. */
HT_MUST_CHECK enum err fs_exe_dir(char *dst, size_t size, struct error *error);

#endif
