/* From a request's id to the request: an intrusive hash map whose nodes are embedded in the values.
 * Grows by doubling; when there is no memory for that, chains get longer instead, so putting never
 * fails. One owner, no locks. (map.h is for names that clients choose; ids are the hub's own,
 * so no keyed hash is needed here and no copy of the key.) */
#ifndef HEARTH_BASE_IDMAP_H
#define HEARTH_BASE_IDMAP_H

#include <stddef.h>
#include <stdint.h>

struct idnode {
    uint64_t id;
    struct idnode *next;
};

struct idmap {
    struct idnode **buckets;
    size_t n_buckets; /* a power of two */
    size_t count;
};

void idmap_init(struct idmap *m);
void idmap_free(struct idmap *m);                               /* not the nodes */
void idmap_put(struct idmap *m, struct idnode *n, uint64_t id); /* id is not in the map yet */
struct idnode *idmap_get(const struct idmap *m, uint64_t id);   /* NULL if absent */
struct idnode *idmap_del(struct idmap *m, uint64_t id);         /* the node, or NULL if absent */
/* Any node, for emptying the map; NULL when it is empty. */
struct idnode *idmap_any(const struct idmap *m);

#endif
