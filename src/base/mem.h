/* Allocation. Small fixed sizes die on failure (x...); anything sized by a client or a file uses
 * the try form and reports ERR_NOMEM. try_... is a fault-injection point ("alloc", fault.h). */
#ifndef HEARTH_BASE_MEM_H
#define HEARTH_BASE_MEM_H

#include <stddef.h>

void *xmalloc(size_t size) __attribute__((malloc, returns_nonnull));
void *xcalloc(size_t n, size_t size) __attribute__((malloc, returns_nonnull)); /* zeroed */
char *xstrdup(const char *s) __attribute__((malloc, returns_nonnull, nonnull));
char *xstrndup(const char *s, size_t n) __attribute__((malloc, returns_nonnull, nonnull));

void *try_malloc(size_t size);                     /* NULL on failure */
void *try_calloc(size_t n, size_t size);           /* NULL on failure or overflow */
void *try_realloc(void *p, size_t n, size_t size); /* NULL on failure: p stays valid */

#endif
