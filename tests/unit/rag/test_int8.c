/* Vectors of bytes: every way of multiplying them gives the same, and it is near the truth. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>

#include "base/vec.h"
#include "rag/int8.h"

enum { MOST = 1100 };

static unsigned seed = 7;

static float number(void)
{
    seed = seed * 1664525u + 1013904223u;
    return (float)(seed >> 8) / (float)(1 << 23) - 1;
}

static struct int8_vector *make(const float *v, size_t dims)
{
    struct int8_vector *out = malloc(int8_size(dims));
    assert_non_null(out);
    int8_of(v, dims, out);
    return out;
}

static void every_kernel_gives_the_same(void **state)
{
    (void)state;
    float a[MOST], b[MOST];
    int n_kernels = 0;
    for (size_t dims = 1; dims <= MOST; dims += 37) {
        for (size_t i = 0; i < dims; i++) {
            a[i] = number();
            b[i] = number();
        }
        a[0] = -1; /* the ends of the range, both signs */
        b[0] = -1;
        struct int8_vector *x = make(a, dims), *y = make(b, dims);
        int32_t right = 0;
        for (size_t i = 0; i < int8_padded(dims); i++) right += x->bytes[i] * y->bytes[i];
        n_kernels = 0;
        for (int i = 0; int8_dot_nth(i); i++, n_kernels++)
            assert_int_equal(int8_dot_nth(i)(x->bytes, y->bytes, int8_padded(dims), y->sum), right);
        double real = vec_dot(a, b, dims);
        double near = (double)right * (double)x->scale * (double)y->scale;
        assert_true(fabs(real - near) < 0.01 * sqrt((double)dims) + 0.01);
        free(x);
        free(y);
    }
    assert_true(n_kernels >= 1);
    assert_non_null(int8_dot());
}

static void extremes(void **state)
{
    (void)state;
    float zero[64] = {0}, ones[128];
    struct int8_vector *z = make(zero, 64);
    for (int i = 0; i < 64; i++) assert_int_equal(z->bytes[i], 0);
    free(z);
    for (int i = 0; i < 128; i++) ones[i] = i % 2 ? -5 : 5;
    struct int8_vector *o = make(ones, 128); /* 127 everywhere: the largest sum there is */
    for (int i = 0; int8_dot_nth(i); i++)
        assert_int_equal(int8_dot_nth(i)(o->bytes, o->bytes, 128, o->sum), 127 * 127 * 128);
    free(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kernel_gives_the_same),
        cmocka_unit_test(extremes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
