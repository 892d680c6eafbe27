/* Arithmetic on vectors of floats. */
#ifndef HEARTH_BASE_VEC_H
#define HEARTH_BASE_VEC_H

#include <stdbool.h>
#include <stddef.h>

/* The sum of products, in several partial sums (so it may differ from a plain loop in the last
 * bits). Neither needs to be aligned. */
float vec_dot(const float *a, const float *b, size_t n);
/* Writes v, scaled to length 1, to `out` (may be v). False, and zeros, when v has no direction:
 * all zeros, or a number in it is infinite or none. */
bool vec_normalise(const float *v, size_t n, float *out);

#endif
