/* Arena: many allocations, one free. Holds the parsed form of one request. One owner at a time, no
 * locks. Born with a maximum; an allocation beyond it returns NULL (never dies), so a hostile body
 * costs a bounded amount of memory. All memory is zeroed and aligned for any type. */
#ifndef HEARTH_BASE_ARENA_H
#define HEARTH_BASE_ARENA_H

#include <stddef.h>

struct arena;

struct arena *arena_new(size_t max_bytes); /* never NULL */
/* One whose allocations may point into `parent`: the parent's memory goes when it and all its
 * children were freed, in any order, by any threads. Only the owner of each allocates in it. */
struct arena *arena_child(struct arena *parent, size_t max_bytes); /* never NULL */
void arena_free(struct arena *a);                                  /* NULL is fine */

void *arena_alloc(struct arena *a, size_t size);            /* NULL when over the maximum */
void *arena_calloc(struct arena *a, size_t n, size_t size); /* NULL also on overflow */
char *arena_strdup(struct arena *a, const char *s);
char *arena_strndup(struct arena *a, const char *s, size_t n); /* copies n bytes, adds '\0' */
size_t arena_used(const struct arena *a);
/* Raises the maximum, for what does not come from outside. */
void arena_allow(struct arena *a, size_t more_bytes);

#endif
