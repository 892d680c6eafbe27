/* What expires next; see expiry.h. */
#include "base/expiry.h"

#include <stddef.h>

#include "base/err.h"

/* Both are roots without siblings; either may be NULL. */
static struct expiry_node *meld(struct expiry_node *a, struct expiry_node *b)
{
    if (!a) return b;
    if (!b) return a;
    if (b->at_ms < a->at_ms) {
        struct expiry_node *t = a;
        a = b;
        b = t;
    }
    b->next = a->child;
    if (b->next) b->next->prev = b;
    b->prev = a;
    a->child = b;
    return a;
}

/* The siblings from `first` on as one tree: in pairs from the left, then those from the right. */
static struct expiry_node *meld_all(struct expiry_node *first)
{
    struct expiry_node *pairs = NULL, *root = NULL;
    while (first) {
        struct expiry_node *a = first, *b = a->next;
        first = b ? b->next : NULL;
        a->next = a->prev = NULL;
        if (b) b->next = b->prev = NULL;
        a = meld(a, b);
        a->next = pairs;
        pairs = a;
    }
    while (pairs) {
        struct expiry_node *next = pairs->next;
        pairs->next = NULL;
        root = meld(root, pairs);
        pairs = next;
    }
    return root;
}

void expiry_add(struct expiry *x, struct expiry_node *n, int64_t at_ms)
{
    ht_assert(!n->in);
    *n = (struct expiry_node){.at_ms = at_ms, .in = true};
    x->root = meld(x->root, n);
}

void expiry_remove(struct expiry *x, struct expiry_node *n)
{
    if (!n->in) return;
    struct expiry_node *below = meld_all(n->child);
    if (n == x->root) {
        x->root = below;
    } else {
        if (n->prev->child == n)
            n->prev->child = n->next;
        else
            n->prev->next = n->next;
        if (n->next) n->next->prev = n->prev;
        x->root = meld(x->root, below);
    }
    *n = (struct expiry_node){.at_ms = n->at_ms};
}

struct expiry_node *expiry_first(const struct expiry *x)
{
    return x->root;
}
