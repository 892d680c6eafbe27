/* Fuzz target: the header of a prefix cache file. The fuzzer would never find a hash, so the one
 * that is in the input is put right first (but for one input in four, which must be refused then).
 * Holds: what is accepted is written again as the same bytes. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "sched/cache_file.h"

enum { HASH_AT = 72 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_accepted(const struct disk_meta *m, const unsigned char *header, size_t size)
{
    const struct prefix *p = &m->prefix;
    ht_assert(p->n_tokens > 0 && p->n_declared >= 0 && p->n_declared <= p->n_tokens);
    struct blob *state = blob_new(0);
    struct buf again;
    buf_init(&again, CACHE_FILE_HEADER_MAX);
    ht_assert(state && cache_file_header(m, state, &again) == OK);
    ht_assert(again.len == size && m->file_size == size + m->state_size);
    ht_assert(memcmp(again.data + CACHE_FILE_FIXED, header + CACHE_FILE_FIXED,
                     (size_t)p->n_tokens * sizeof *p->tokens) == 0);
    buf_free(&again);
    blob_unref(state);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < CACHE_FILE_FIXED) return 0;
    size_t header = cache_file_header_size(data);
    if (!header || header > size) {
        ht_assert(!cache_file_parse(data, size, NULL));
        return 0;
    }
    unsigned char *copy = malloc(header);
    ht_assert(copy);
    memcpy(copy, data, header);
    memset(copy + HASH_AT, 0, sizeof(uint64_t));
    uint64_t hash = hash64(copy, header, 0), state_hash;
    if (header % 256 == 0) hash ^= 1;
    memcpy(copy + HASH_AT, &hash, sizeof hash);
    struct disk_meta *m = cache_file_parse(copy, header, &state_hash);
    if (header % 256 == 0) ht_assert(!m);
    if (m) check_accepted(m, copy, header);
    free(m);
    free(copy);
    return 0;
}
