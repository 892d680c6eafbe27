/* Vectors with one byte for each number, for comparing many of them quickly: a quarter of the
 * memory, and of the time, of floats. Each has its own scale, so a number is off by 1/254 of the
 * largest at most. */
#ifndef HEARTH_RAG_INT8_H
#define HEARTH_RAG_INT8_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { INT8_ALIGN = 64 /* numbers are filled up with zeros to a multiple of it */ };

struct int8_vector {
    float scale; /* number = byte * scale */
    int32_t sum; /* of the bytes */
    int8_t bytes[];
};

static inline size_t int8_padded(size_t dims)
{
    return (dims + INT8_ALIGN - 1) / INT8_ALIGN * INT8_ALIGN;
}

static inline size_t int8_size(size_t dims)
{
    return sizeof(struct int8_vector) + int8_padded(dims);
}

/* Writes int8_size(dims) bytes. */
void int8_of(const float *v, size_t dims, struct int8_vector *out);

/* The sum of products of n bytes, a multiple of INT8_ALIGN. `sum` is that of b. */
typedef int32_t (*int8_dot_fn)(const int8_t *a, const int8_t *b, size_t n, int32_t sum);
/* The fastest on this machine. */
int8_dot_fn int8_dot(void);
/* All that this machine can do, for tests: NULL after the last. */
int8_dot_fn int8_dot_nth(int i);

#ifdef __cplusplus
}
#endif

#endif
