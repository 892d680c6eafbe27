/* Arithmetic on vectors; see vec.h. */
#include "base/vec.h"

#include <math.h>
#include <string.h>

/* GCC's and clang's vector type: a register on every machine that matters. */
typedef float lanes __attribute__((vector_size(16)));
enum { LANES = 4, SUMS = 4 };

static lanes load(const float *p)
{
    lanes v;
    memcpy(&v, p, sizeof v);
    return v;
}

float vec_dot(const float *a, const float *b, size_t n)
{
    lanes sum[SUMS] = {{0}};
    size_t i = 0;
    for (; i + SUMS * LANES <= n; i += SUMS * LANES)
        for (size_t k = 0; k < SUMS; k++)
            sum[k] += load(a + i + k * LANES) * load(b + i + k * LANES);
    for (size_t k = 1; k < SUMS; k++) sum[0] += sum[k];
    float total = 0;
    for (size_t k = 0; k < LANES; k++) total += sum[0][k];
    for (; i < n; i++) total += a[i] * b[i];
    return total;
}

bool vec_normalise(const float *v, size_t n, float *out)
{
    double length = 0;
    for (size_t i = 0; i < n; i++) length += (double)v[i] * (double)v[i];
    length = sqrt(length);
    bool fine = length > 0 && isfinite(length);
    for (size_t i = 0; i < n; i++) out[i] = fine ? (float)((double)v[i] / length) : 0;
    return fine;
}
