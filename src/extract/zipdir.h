/* What a ZIP archive holds, by its central directory alone: for telling documents apart without
 * unpacking anything. Reads at most ZIPDIR_READ_MAX bytes of the end of the file and of the
 * directory (APPNOTE.TXT 4.3.12, 4.3.16). No allocation, no state. */
#ifndef HEARTH_EXTRACT_ZIPDIR_H
#define HEARTH_EXTRACT_ZIPDIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ZIPDIR_READ_MAX = 256 << 10 };

/* Calls `each` with the names in order until it returns false. False when the bytes are no
 * directory, or end within it. */
typedef bool (*zipdir_name_fn)(void *ctx, const char *name, size_t len);
bool zipdir_walk(const uint8_t *dir, size_t len, uint64_t n_entries, zipdir_name_fn each,
                 void *ctx);
/* Finds the directory by the last bytes of a file of `size` bytes. */
bool zipdir_find(const uint8_t *tail, size_t len, uint64_t size, uint64_t *offset,
                 uint64_t *dir_len, uint64_t *n_entries);

#endif
