/* Hash map from byte strings (copied) to pointers (borrowed). Grows; one owner, no locks.
 * The hash is keyed per process, so that clients can't choose colliding keys. */
#ifndef HEARTH_BASE_MAP_H
#define HEARTH_BASE_MAP_H

#include <stddef.h>

struct map;

struct map *map_new(void);
void map_free(struct map *m); /* not the values */
size_t map_count(const struct map *m);
void *map_get(const struct map *m, const char *key);        /* NULL if absent */
void *map_put(struct map *m, const char *key, void *value); /* returns the old value or NULL */
void *map_del(struct map *m, const char *key);              /* returns the value or NULL */
/* Calls fn for each entry, in no order; fn may not change the map; a false return stops. */
void map_each(const struct map *m, int (*fn)(const char *key, void *value, void *ctx), void *ctx);

#endif
