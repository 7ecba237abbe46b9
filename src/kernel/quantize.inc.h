/* quantize.inc.h - one activation row, written over two words of an integer vocabulary (i8_<isa>.h):
 *
 *   i8_amax_bits(x, n)          the largest bit pattern of |x[i]|: as an integer, so that NaN > infinity > numbers
 *   i8_codes(x, factor, q)      16 codes, the nearest integers (ties to even) of x * factor; returns their sum
 *
 * Defines quantize.
 */
#include "base/bytes.h"
#include "kernel/act.h"

static float quantize_block(const float *x, size_t n, int8_t *q, int16_t *sums)
{
    uint32_t amax_bits = i8_amax_bits(x, n);
    float amax = f32_from_bits(amax_bits);
    if (amax_bits >= 0x7f800000u || amax < 0x1p-120f) {
        memset(q, 0, n);
        memset(sums, 0, n / 16 * sizeof *sums);
        return amax_bits >= 0x7f800000u ? f32_from_bits(0x7fc00000u) : 0.0f;
    }
    float factor = 127.0f / amax;
    for (size_t i = 0; i < n; i += 16)
        sums[i / 16] = (int16_t)i8_codes(x + i, factor, q + i);
    return amax / 127.0f;
}

static void quantize(enum kernel_act act, const float *x, size_t k, void *row)
{
    uint8_t *p = row;
    if (act == ACT_F32) {
        memcpy(p, x, k * sizeof *x);
        memset(p + k * sizeof *x, 0, (8 - k % 8) % 8 * sizeof *x);
        return;
    }
    size_t n = act == ACT_Q8_32 ? 32 : 256;
    float *d = (float *)(void *)(p + act_offset_d(k)), *s = (float *)(void *)(p + act_offset_s(k));
    int16_t *sums = (int16_t *)(void *)(p + act_offset_sums(act, k));
    for (size_t b = 0; b < k / n; b++) {
        d[b] = quantize_block(x + b * n, n, (int8_t *)p + b * n, sums + b * n / 16);
        if (act == ACT_Q8_32) s[b] = d[b] * (float)(sums[2 * b] + sums[2 * b + 1]);
    }
}
