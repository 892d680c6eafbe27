/* Arena: a list of zeroed blocks, each filled from its beginning.
 *
 * Guarantees: the sum of what was asked for (rounded up for alignment) never exceeds the maximum;
 * memory taken from the system exceeds it by at most one block's slack (BLOCK_MAX). */
#include "base/arena.h"

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

enum { BLOCK_MIN = 4096 - 64, BLOCK_MAX = 64 * 1024 };

struct block {
    struct block *next;
    size_t size, used;
    alignas(max_align_t) char data[];
};

struct arena {
    struct block *blocks; /* the one being filled comes first */
    size_t max, used;
    size_t next_size;
    struct arena *parent;
    atomic_int refs; /* its owner's, and one of each child */
};

struct arena *arena_new(size_t max_bytes)
{
    struct arena *a = xcalloc(1, sizeof *a);
    a->max = max_bytes;
    a->next_size = BLOCK_MIN;
    atomic_init(&a->refs, 1);
    return a;
}

struct arena *arena_child(struct arena *parent, size_t max_bytes)
{
    struct arena *a = arena_new(max_bytes);
    atomic_fetch_add(&parent->refs, 1);
    a->parent = parent;
    return a;
}

void arena_free(struct arena *a)
{
    if (!a || atomic_fetch_sub(&a->refs, 1) != 1) return;
    arena_free(a->parent);
    for (struct block *b = a->blocks, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    free(a);
}

/* A big allocation gets a block of its own behind the current one, whose rest stays usable. */
static struct block *add_block(struct arena *a, size_t size)
{
    bool own = size > a->next_size / 4;
    size_t block_size = own ? size : a->next_size;
    struct block *b = try_calloc(1, sizeof *b + block_size);
    if (!b) return NULL;
    b->size = block_size;
    if (own && a->blocks) {
        b->next = a->blocks->next;
        a->blocks->next = b;
        return b;
    }
    b->next = a->blocks;
    a->blocks = b;
    if (!own && a->next_size < BLOCK_MAX) a->next_size *= 2;
    return b;
}

void *arena_alloc(struct arena *a, size_t size)
{
    const size_t align = alignof(max_align_t);
    if (size == 0) size = 1;
    if (size > SIZE_MAX / 2) return NULL;
    size = (size + align - 1) & ~(align - 1);
    if (size > a->max - a->used) return NULL;
    struct block *b = a->blocks;
    if (!b || b->size - b->used < size) b = add_block(a, size);
    if (!b) return NULL;
    void *p = b->data + b->used;
    b->used += size;
    a->used += size;
    ht_assert(b->used <= b->size && a->used <= a->max);
    return p;
}

void *arena_calloc(struct arena *a, size_t n, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes)) return NULL;
    return arena_alloc(a, bytes);
}

char *arena_strndup(struct arena *a, const char *s, size_t n)
{
    if (n == SIZE_MAX) return NULL;
    char *p = arena_alloc(a, n + 1);
    if (!p) return NULL;
    memcpy(p, s, n);
    return p;
}

char *arena_strdup(struct arena *a, const char *s)
{
    return arena_strndup(a, s, strlen(s));
}

size_t arena_used(const struct arena *a)
{
    return a->used;
}

void arena_allow(struct arena *a, size_t more_bytes)
{
    a->max += more_bytes < SIZE_MAX - a->max ? more_bytes : SIZE_MAX - a->max;
}
