/* What expires next: an intrusive pairing heap over points in time. The next one is known at once,
 * adding is O(1), removing (also from the middle) O(log n) amortised, and nothing is allocated. One
 * owner, no locks. (Two-pass merging: Fredman, Sedgewick, Sleator, Tarjan: The pairing heap,
 * Algorithmica 1, 1986.) */
#ifndef HEARTH_BASE_EXPIRY_H
#define HEARTH_BASE_EXPIRY_H

#include <stdbool.h>
#include <stdint.h>

struct expiry_node {
    int64_t at_ms;
    struct expiry_node *child, *next;
    struct expiry_node *prev; /* left sibling, or the parent of a first child */
    bool in;
};

struct expiry {
    struct expiry_node *root;
};

void expiry_add(struct expiry *x, struct expiry_node *n, int64_t at_ms);
void expiry_remove(struct expiry *x, struct expiry_node *n); /* not in: nothing */
struct expiry_node *expiry_first(const struct expiry *x);    /* NULL when empty */

#endif
