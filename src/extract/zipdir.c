/* A ZIP's central directory; see zipdir.h. */
#include "extract/zipdir.h"

#include <string.h>

enum {
    END_LEN = 22,
    ENTRY_LEN = 46,
    COMMENT_MAX = 65535,
};

static uint32_t u16(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static uint32_t u32(const uint8_t *p)
{
    return u16(p) | u16(p + 2) << 16;
}

bool zipdir_find(const uint8_t *tail, size_t len, uint64_t size, uint64_t *offset,
                 uint64_t *dir_len, uint64_t *n_entries)
{
    if (len < END_LEN) return false;
    for (size_t i = len - END_LEN + 1; i-- > 0;) {
        if (len - i > END_LEN + COMMENT_MAX) return false;
        if (memcmp(tail + i, "PK\5\6", 4) != 0) continue;
        if (u16(tail + i + 20) != len - i - END_LEN) continue; /* the comment ends the file */
        *n_entries = u16(tail + i + 10);
        *dir_len = u32(tail + i + 12);
        *offset = u32(tail + i + 16);
        return *offset <= size && *dir_len <= size - *offset;
    }
    return false;
}

bool zipdir_walk(const uint8_t *dir, size_t len, uint64_t n_entries, zipdir_name_fn each, void *ctx)
{
    size_t at = 0;
    for (uint64_t i = 0; i < n_entries; i++) {
        if (len - at < ENTRY_LEN || memcmp(dir + at, "PK\1\2", 4) != 0) return false;
        size_t name = u16(dir + at + 28);
        size_t rest = name + u16(dir + at + 30) + u16(dir + at + 32);
        if (len - at - ENTRY_LEN < rest) return false;
        if (!each(ctx, (const char *)dir + at + ENTRY_LEN, name)) return true;
        at += ENTRY_LEN + rest;
    }
    return true;
}
