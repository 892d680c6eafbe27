/* Ids to requests; see idmap.h. */
#include "base/idmap.h"

#include <stdlib.h>

#include "base/mem.h"

enum { FIRST_BUCKETS = 64 };

void idmap_init(struct idmap *m)
{
    *m = (struct idmap){.buckets = xcalloc(FIRST_BUCKETS, sizeof(struct idnode *)),
                        .n_buckets = FIRST_BUCKETS};
}

void idmap_free(struct idmap *m)
{
    free(m->buckets);
    *m = (struct idmap){0};
}

static struct idnode **bucket(const struct idmap *m, uint64_t id)
{
    uint64_t h = id * UINT64_C(0x9E3779B97F4A7C15); /* Fibonacci hashing, Knuth vol. 3, 6.4 */
    return &m->buckets[(h >> 32) & (m->n_buckets - 1)];
}

static void grow(struct idmap *m)
{
    struct idmap bigger = {.n_buckets = m->n_buckets * 2};
    bigger.buckets = try_calloc(bigger.n_buckets, sizeof *bigger.buckets);
    if (!bigger.buckets) return;
    for (size_t i = 0; i < m->n_buckets; i++)
        for (struct idnode *n = m->buckets[i], *next; n; n = next) {
            next = n->next;
            struct idnode **b = bucket(&bigger, n->id);
            n->next = *b;
            *b = n;
        }
    bigger.count = m->count;
    free(m->buckets);
    *m = bigger;
}

void idmap_put(struct idmap *m, struct idnode *n, uint64_t id)
{
    if (m->count >= m->n_buckets) grow(m);
    struct idnode **b = bucket(m, id);
    n->id = id;
    n->next = *b;
    *b = n;
    m->count++;
}

struct idnode *idmap_get(const struct idmap *m, uint64_t id)
{
    struct idnode *n = *bucket(m, id);
    while (n && n->id != id) n = n->next;
    return n;
}

struct idnode *idmap_del(struct idmap *m, uint64_t id)
{
    struct idnode **link = bucket(m, id);
    while (*link && (*link)->id != id) link = &(*link)->next;
    struct idnode *n = *link;
    if (!n) return NULL;
    *link = n->next;
    m->count--;
    return n;
}

struct idnode *idmap_any(const struct idmap *m)
{
    for (size_t i = 0; m->count && i < m->n_buckets; i++)
        if (m->buckets[i]) return m->buckets[i];
    return NULL;
}
