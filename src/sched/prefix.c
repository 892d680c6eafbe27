#include "sched/prefix.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"

enum { BUCKETS_MIN = 256 };

static int32_t least(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

int32_t prefix_common(const struct prefix *want, const struct prefix *have)
{
    if (want->model != have->model || want->adapter != have->adapter) return 0;
    int32_t most = least(want->n_tokens, have->n_tokens), n = 0;
    if (strcmp(want->tenant, have->tenant) != 0)
        most = least(most, least(want->n_declared, have->n_declared));
    while (n < most && want->tokens[n] == have->tokens[n]) n++;
    return n;
}

/* ---- hashes ------------------------------------------------------------------------------- */

int32_t prefix_hashes(struct prefix_index *x, const struct prefix *p, const uint64_t **out)
{
    int32_t n = p->n_tokens / PREFIX_BLOCK;
    if (n > x->cap_hashes) {
        uint64_t *more = try_realloc(x->hashes, (size_t)n, sizeof *more);
        if (!more) return 0;
        x->hashes = more;
        x->cap_hashes = n;
    }
    uint64_t key[] = {p->model, p->adapter};
    uint64_t h = hash64(key, sizeof key, 0);
    bool shared = true;
    for (int32_t i = 0; i < n; i++) {
        if (shared && (i + 1) * PREFIX_BLOCK > p->n_declared) {
            shared = false;
            h = hash64(p->tenant, strlen(p->tenant), h);
        }
        h = hash64(p->tokens + (size_t)i * PREFIX_BLOCK, PREFIX_BLOCK * sizeof *p->tokens, h);
        x->hashes[i] = h;
    }
    *out = x->hashes;
    return n;
}

/* ---- the index ---------------------------------------------------------------------------- */

void prefix_index_init(struct prefix_index *x)
{
    *x = (struct prefix_index){.n_buckets = BUCKETS_MIN};
    x->buckets = xcalloc(BUCKETS_MIN, sizeof(struct prefix_node *));
}

void prefix_index_free(struct prefix_index *x)
{
    free(x->buckets);
    free(x->hashes);
}

static struct prefix_node **bucket(const struct prefix_index *x, uint64_t hash)
{
    return &x->buckets[hash & (x->n_buckets - 1)];
}

static void grow(struct prefix_index *x)
{
    struct prefix_node **old = x->buckets;
    size_t n = x->n_buckets;
    struct prefix_node **more = try_calloc(2 * n, sizeof(struct prefix_node *));
    if (!more) return; /* longer chains do as well */
    x->buckets = more;
    x->n_buckets = 2 * n;
    for (size_t i = 0; i < n; i++)
        for (struct prefix_node *node = old[i], *next; node; node = next) {
            next = node->next;
            struct prefix_node **b = bucket(x, node->hash);
            node->next = *b;
            *b = node;
        }
    free(old);
}

bool prefix_index_add(struct prefix_index *x, struct prefix_item *item)
{
    const uint64_t *hashes;
    int32_t n = prefix_hashes(x, &item->prefix, &hashes);
    item->n_nodes = 0;
    item->nodes = try_calloc((size_t)n + 1, sizeof *item->nodes);
    if (!item->nodes || n < item->prefix.n_tokens / PREFIX_BLOCK) return false;
    if (x->n_nodes + (size_t)n > x->n_buckets) grow(x);
    for (int32_t i = 0; i < n; i++) {
        struct prefix_node **b = bucket(x, hashes[i]);
        item->nodes[i] = (struct prefix_node){.next = *b, .item = item, .hash = hashes[i]};
        *b = &item->nodes[i];
    }
    item->n_nodes = n;
    x->n_nodes += (size_t)n;
    return true;
}

void prefix_index_remove(struct prefix_index *x, struct prefix_item *item)
{
    for (int32_t i = 0; i < item->n_nodes; i++) {
        struct prefix_node **at = bucket(x, item->nodes[i].hash);
        while (*at != &item->nodes[i]) at = &(*at)->next;
        *at = item->nodes[i].next;
    }
    x->n_nodes -= (size_t)item->n_nodes;
    free(item->nodes);
    item->nodes = NULL;
    item->n_nodes = 0;
}

/* Items with the same hash have this block and all before it in common, so the deepest hash that is
 * there has the best of them. */
struct prefix_item *prefix_index_find(struct prefix_index *x, const struct prefix *want, bool whole,
                                      int32_t *n)
{
    const uint64_t *hashes;
    struct prefix_item *best = NULL;
    *n = 0;
    for (int32_t i = prefix_hashes(x, want, &hashes) - 1; i >= 0 && !best; i--)
        for (struct prefix_node *node = *bucket(x, hashes[i]); node; node = node->next) {
            if (node->hash != hashes[i]) continue;
            int32_t common = prefix_common(want, &node->item->prefix);
            if (common < PREFIX_BLOCK || common <= *n) continue;
            if (whole && common < node->item->prefix.n_tokens) continue;
            best = node->item;
            *n = common;
        }
    return best;
}
