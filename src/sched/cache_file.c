#include "sched/cache_file.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"

static const char magic[8] = {'H', 'E', 'A', 'R', 'T', 'H', 'K', 'V'};
enum { VERSION = 1, TENANT_BYTES_MAX = 1024, ALIGN = 64 };

/* As it lies in the file. */
struct fixed {
    char magic[8];
    uint32_t version, header_size;
    uint64_t model, adapter;
    int32_t n_tokens, n_declared;
    uint32_t tenant_len, zero;
    uint64_t weight, state_size, state_hash, header_hash;
};
_Static_assert(sizeof(struct fixed) == CACHE_FILE_FIXED, "the layout has no gaps");

static size_t header_size(int32_t n_tokens, size_t tenant_len)
{
    size_t n = sizeof(struct fixed) + (size_t)n_tokens * sizeof(int32_t) + tenant_len;
    return (n + ALIGN - 1) / ALIGN * ALIGN;
}

struct disk_meta *disk_meta_new(const struct prefix *p, uint64_t weight, uint64_t state_size)
{
    size_t tokens = (size_t)p->n_tokens * sizeof *p->tokens, tenant = strlen(p->tenant) + 1;
    struct disk_meta *m = try_malloc(sizeof *m + tokens + tenant);
    if (!m) return NULL;
    char *behind = (char *)(m + 1);
    *m = (struct disk_meta){.prefix = *p, .weight = weight, .state_size = state_size};
    m->file_size = header_size(p->n_tokens, tenant - 1) + state_size;
    m->prefix.tokens = memcpy(behind, p->tokens, tokens);
    m->prefix.tenant = memcpy(behind + tokens, p->tenant, tenant);
    return m;
}

enum err cache_file_header(const struct disk_meta *m, const struct blob *state, struct buf *out)
{
    const struct prefix *p = &m->prefix;
    size_t tenant_len = strlen(p->tenant), size = header_size(p->n_tokens, tenant_len);
    struct fixed f = {.version = VERSION,
                      .header_size = (uint32_t)size,
                      .model = p->model,
                      .adapter = p->adapter,
                      .n_tokens = p->n_tokens,
                      .n_declared = p->n_declared,
                      .tenant_len = (uint32_t)tenant_len,
                      .weight = m->weight,
                      .state_size = state->size,
                      .state_hash = hash64(state->bytes, state->size, 0)};
    memcpy(f.magic, magic, sizeof magic);
    static const char zeros[ALIGN];
    size_t start = out->len;
    buf_append(out, &f, sizeof f);
    buf_append(out, p->tokens, (size_t)p->n_tokens * sizeof *p->tokens);
    buf_append(out, p->tenant, tenant_len);
    if (out->err) return out->err;
    buf_append(out, zeros, start + size - out->len);
    if (out->err) return out->err;
    f.header_hash = hash64(out->data + start, size, 0);
    memcpy(out->data + start, &f, sizeof f);
    return OK;
}

size_t cache_file_header_size(const unsigned char *bytes)
{
    struct fixed f;
    memcpy(&f, bytes, sizeof f);
    if (memcmp(f.magic, magic, sizeof magic) != 0 || f.version != VERSION) return 0;
    if (f.n_tokens < 1 || f.n_tokens > CACHE_FILE_TOKENS_MAX) return 0;
    if (f.n_declared < 0 || f.n_declared > f.n_tokens || f.tenant_len > TENANT_BYTES_MAX) return 0;
    return f.header_size == header_size(f.n_tokens, f.tenant_len) ? f.header_size : 0;
}

struct disk_meta *cache_file_parse(const unsigned char *header, size_t size, uint64_t *state_hash)
{
    struct fixed f;
    if (size < sizeof f || cache_file_header_size(header) != size) return NULL;
    memcpy(&f, header, sizeof f);
    uint64_t hash = f.header_hash;
    f.header_hash = 0;
    unsigned char *copy = try_malloc(size + 1);
    if (!copy) return NULL;
    memcpy(copy, header, size);
    memcpy(copy, &f, sizeof f);
    struct disk_meta *m = NULL;
    if (hash64(copy, size, 0) == hash) {
        size_t tokens = (size_t)f.n_tokens * sizeof(int32_t);
        char *tenant = (char *)copy + sizeof f + tokens;
        tenant[f.tenant_len] = '\0'; /* padding, or the byte behind the header */
        struct prefix p = {.model = f.model,
                           .adapter = f.adapter,
                           .n_declared = f.n_declared,
                           .tenant = tenant,
                           .tokens = (const int32_t *)(const void *)(copy + sizeof f),
                           .n_tokens = f.n_tokens};
        if (strlen(tenant) == f.tenant_len) m = disk_meta_new(&p, f.weight, f.state_size);
    }
    if (state_hash) *state_hash = f.state_hash;
    free(copy);
    return m;
}
