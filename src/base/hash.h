/* XXH64, a fast hash for data that is not hostile: checksums of caches, fingerprints, block hashes.
 * (Yann Collet's algorithm, github.com/Cyan4973/xxHash, doc/xxhash_spec.md.) Finds every flipped
 * bit and torn file, but is no protection against somebody who forges one. */
#ifndef HEARTH_BASE_HASH_H
#define HEARTH_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

uint64_t hash64(const void *data, size_t len, uint64_t seed);

/* What a file is, without reading all of it: its size, its time of change and samples over its
 * whole length. A copy or a touch may give another fingerprint, another content does. */
HT_MUST_CHECK enum err hash_file(const char *path, uint64_t *out, struct error *error);

#endif
