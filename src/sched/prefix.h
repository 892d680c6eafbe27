/* Prefixes: token sequences whose state is kept, and an index that finds the one with the longest
 * common beginning.
 *
 * The tokens are cut into blocks of PREFIX_BLOCK, and each block gets a hash of its tokens and of
 * all before it. The first hash covers what the state was computed with (model, adapter) and
 * whose it is (tenant), so sequences that may not be used for each other have no hash in common. A
 * lookup asks for the deepest block first; its cost grows with the length of the prompt and not
 * with the number of sequences. A hash only says where to look: prefix_common compares the fields
 * and every token.
 *
 * Tenants: the first n_declared tokens are a prefix that the configuration declares as shared; only
 * they are common to sequences of different tenants.
 *
 * Pure data structure; one owner, no locks. */
#ifndef HEARTH_SCHED_PREFIX_H
#define HEARTH_SCHED_PREFIX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PREFIX_BLOCK = 32 };

struct prefix {
    uint64_t model, adapter; /* fingerprints; adapter: with its scale, 0 = none */
    int32_t n_declared;
    const char *tenant;
    const int32_t *tokens;
    int32_t n_tokens;
};

/* How many tokens at the start of `want` a state of `have` is good for. */
int32_t prefix_common(const struct prefix *want, const struct prefix *have);

struct prefix_node {
    struct prefix_node *next;
    struct prefix_item *item;
    uint64_t hash;
};

/* Embedded in what is indexed. */
struct prefix_item {
    struct prefix prefix;      /* its pointers are the owner's */
    struct prefix_node *nodes; /* one for each whole block */
    int32_t n_nodes;
};

struct prefix_index {
    struct prefix_node **buckets;
    size_t n_buckets, n_nodes; /* n_buckets: a power of two */
    uint64_t *hashes;          /* scratch */
    int32_t cap_hashes;
};

void prefix_index_init(struct prefix_index *x);
void prefix_index_free(struct prefix_index *x); /* not the items */
/* item->prefix is set and stays as it is. False without memory. */
bool prefix_index_add(struct prefix_index *x, struct prefix_item *item);
void prefix_index_remove(struct prefix_index *x, struct prefix_item *item); /* not in it: nothing */

/* The item with the most tokens in common, *n of them (at least one whole block); NULL if none.
 * whole: only items whose tokens are all in common (a state that can't be cut). */
struct prefix_item *prefix_index_find(struct prefix_index *x, const struct prefix *want, bool whole,
                                      int32_t *n);

/* Hashes of the whole blocks of p, in memory that is valid until the next call with x; returns how
 * many there are (0 also without memory). */
int32_t prefix_hashes(struct prefix_index *x, const struct prefix *p, const uint64_t **out);

#endif
