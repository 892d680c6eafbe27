/* Allocation: the dying and the reporting form. */
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/fault.h"

/* Not a bug, so no backtrace; but nothing small can be had any more and no caller can go on. */
static HT_NORETURN void die(size_t size)
{
    fprintf(stderr, "hearth: out of memory (%zu bytes)\n", size);
    abort();
}

void *xmalloc(size_t size)
{
    void *p = malloc(size ? size : 1);
    if (!p) die(size);
    return p;
}

void *xcalloc(size_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size ? size : 1);
    if (!p) die(n * size);
    return p;
}

char *xstrndup(const char *s, size_t n)
{
    size_t len = strnlen(s, n);
    char *p = xmalloc(len + 1);
    memcpy(p, s, len);
    p[len] = '\0';
    return p;
}

char *xstrdup(const char *s)
{
    return xstrndup(s, strlen(s));
}

void *try_malloc(size_t size)
{
    if (fault_hit(FAULT_alloc)) return NULL;
    return malloc(size ? size : 1);
}

void *try_calloc(size_t n, size_t size)
{
    size_t bytes;
    if (fault_hit(FAULT_alloc) || __builtin_mul_overflow(n, size, &bytes)) return NULL;
    return calloc(n ? n : 1, size ? size : 1);
}

void *try_realloc(void *p, size_t n, size_t size)
{
    if (fault_hit(FAULT_alloc)) return NULL;
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes)) return NULL;
    return realloc(p, bytes ? bytes : 1);
}
