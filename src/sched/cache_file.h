/* The format of a cache file: encoding and checking its header. Little-endian, as the machine is.
 *
 *   0  magic "HEARTHKV"       8  version          12  bytes of the whole header (a multiple of 64)
 *  16  model   24  adapter   32  n_tokens         36  n_declared 40  tenant's bytes   44  0
 *  48  weight  56  bytes of the state   64  hash of the state    72  hash of the header, with 0
 * here 80  tokens, then the tenant, then zeros */
#ifndef HEARTH_SCHED_CACHE_FILE_H
#define HEARTH_SCHED_CACHE_FILE_H

#include "base/buf.h"
#include "base/err.h"
#include "sched/cache_disk.h"

enum {
    CACHE_FILE_FIXED = 80,
    CACHE_FILE_TOKENS_MAX = 1 << 24,
    CACHE_FILE_HEADER_MAX = 4 * CACHE_FILE_TOKENS_MAX + 4096,
};

/* Appends the header of a file that holds m and its state. */
HT_MUST_CHECK enum err cache_file_header(const struct disk_meta *m, const struct blob *state,
                                         struct buf *out);
/* Bytes of the header that begins with these CACHE_FILE_FIXED bytes; 0 = no cache file. */
size_t cache_file_header_size(const unsigned char *fixed);
/* Checks a whole header. *state_hash may be NULL. NULL: it is damaged, or there is no memory. */
struct disk_meta *cache_file_parse(const unsigned char *header, size_t size, uint64_t *state_hash);

#endif
