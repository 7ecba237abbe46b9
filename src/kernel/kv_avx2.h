/* kv_avx2.h - what attention asks of an instruction set beside f32v. The words: kv_avx512.h. */
#ifndef STILE_KERNEL_KV_AVX2_H
#define STILE_KERNEL_KV_AVX2_H

#include "kernel/f32x8_avx2.h"

#include "kernel/f32v_f32x8.inc.h"
#include "kernel/inline.h"

#define KV_QUERIES   4
#define KV_GROUPS(n) ((n) == 1 ? 4 : (n) == 4 ? 1 : 2)

typedef struct {
    __m256i codes, sizes;
} kv_codes;
typedef __m256i kv_sums;

I8_INLINE f32v kv_load_i8(const int8_t *p)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const void *)p)));
}

I8_INLINE kv_codes kv_codes_load(const int8_t *p)
{
    __m256i codes = _mm256_loadu_si256((const void *)p);
    return (kv_codes){codes, _mm256_abs_epi8(codes)};
}

I8_INLINE kv_sums kv_sums_start(int32_t total)
{
    (void)total;
    return _mm256_setzero_si256();
}

/* |code| times the activation with the code's sign: 127 * 127 * 2 fits in 16 bits. */
I8_INLINE kv_sums kv_sums_add(kv_sums sums, kv_codes codes, uint32_t acts)
{
    __m256i pairs = _mm256_maddubs_epi16(codes.sizes, _mm256_sign_epi8(_mm256_set1_epi32((int)acts), codes.codes));
    return _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

I8_INLINE f32v kv_sums_float(kv_sums sums)
{
    return _mm256_cvtepi32_ps(sums);
}

#endif
