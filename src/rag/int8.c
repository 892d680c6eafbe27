/* Vectors of bytes; see int8.h. */
#include "rag/int8.h"

#include <math.h>
#include <string.h>

void int8_of(const float *v, size_t dims, struct int8_vector *out)
{
    float most = 0;
    for (size_t i = 0; i < dims; i++) most = fmaxf(most, fabsf(v[i]));
    float scale = most > 0 ? most / 127 : 1;
    memset(out->bytes, 0, int8_padded(dims));
    out->scale = scale;
    out->sum = 0;
    for (size_t i = 0; i < dims; i++) {
        out->bytes[i] = (int8_t)lrintf(v[i] / scale);
        out->sum += out->bytes[i];
    }
}

static int32_t dot_plain(const int8_t *a, const int8_t *b, size_t n, int32_t sum)
{
    int32_t total = 0;
    (void)sum;
    for (size_t i = 0; i < n; i++) total += a[i] * b[i];
    return total;
}

#if defined(__x86_64__)
#include <immintrin.h>

/* maddubs multiplies unsigned by signed, so the sign of a goes over to b; two products of 127 * 127
 * fit its 16 bits. */
__attribute__((target("avx2"))) static int32_t dot_avx2(const int8_t *a, const int8_t *b, size_t n,
                                                        int32_t sum)
{
    (void)sum;
    __m256i total = _mm256_setzero_si256(), ones = _mm256_set1_epi16(1);
    for (size_t i = 0; i < n; i += 32) {
        __m256i x = _mm256_loadu_si256((const __m256i *)(a + i));
        __m256i y = _mm256_loadu_si256((const __m256i *)(b + i));
        __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(x), _mm256_sign_epi8(y, x));
        total = _mm256_add_epi32(total, _mm256_madd_epi16(pairs, ones));
    }
    int32_t lanes[8], all = 0;
    _mm256_storeu_si256((__m256i *)lanes, total);
    for (int i = 0; i < 8; i++) all += lanes[i];
    return all;
}

/* dpbusd multiplies unsigned by signed and adds: a + 128 is unsigned, and 128 * sum(b) too much. */
__attribute__((target("avx512f,avx512bw,avx512vnni"))) static int32_t
dot_vnni(const int8_t *a, const int8_t *b, size_t n, int32_t sum)
{
    __m512i total = _mm512_setzero_si512(), flip = _mm512_set1_epi8((char)0x80);
    for (size_t i = 0; i < n; i += 64) {
        __m512i x = _mm512_xor_si512(_mm512_loadu_si512(a + i), flip);
        total = _mm512_dpbusd_epi32(total, x, _mm512_loadu_si512(b + i));
    }
    return _mm512_reduce_add_epi32(total) - 128 * sum;
}
#endif

int8_dot_fn int8_dot_nth(int i)
{
    int8_dot_fn found[4] = {dot_plain};
#if defined(__x86_64__)
    int n = 1;
    if (__builtin_cpu_supports("avx2")) found[n++] = dot_avx2;
    if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vnni"))
        found[n++] = dot_vnni;
#endif
    return i >= 0 && i < 4 ? found[i] : NULL;
}

int8_dot_fn int8_dot(void)
{
    int last = 0;
    while (int8_dot_nth(last + 1)) last++;
    return int8_dot_nth(last);
}
