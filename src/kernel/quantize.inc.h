/* quantize.inc.h - one activation row, written over two words of an integer vocabulary (i8_<isa>.h):
 *
 *   i8_amax_bits(x, n)          the largest bit pattern of |x[i]|: as an integer, so that NaN > infinity > numbers
 *   i8_codes(x, factor, q)      16 codes, the nearest integers (ties to even) of x * factor; returns their sum
 *
 * Defines quantize.
 */
#include "base/bytes.h"
#include "kernel/act.h"

#include <math.h>

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

/* The blocks with the largest steps d, in order of index; n_blocks where there are no more. NaN is never among them. */
static void largest_blocks(const float *d, size_t n_blocks, size_t blocks[ACT_RESIDUALS])
{
    for (size_t i = 0; i < ACT_RESIDUALS; i++)
        blocks[i] = n_blocks;
    size_t n = 0, smallest = 0; /* of those in `blocks` */
    for (size_t b = 0; b < n_blocks; b++) {
        if (!(d[b] > 0.0f) || (n == ACT_RESIDUALS && !(d[b] > d[blocks[smallest]]))) continue;
        size_t i = n == ACT_RESIDUALS ? smallest : n++;
        for (; i + 1 < n; i++)
            blocks[i] = blocks[i + 1];
        blocks[n - 1] = b;
        smallest = n - 1;
        for (i = n - 1; i-- > 0;)
            if (d[blocks[i]] < d[blocks[smallest]]) smallest = i;
    }
}

/* They lose most: what rounding left of them is rounded once more. */
static void quantize_residuals(const float *x, const int8_t *q, const float *d, size_t n_blocks,
                               struct act_residual residuals[ACT_RESIDUALS])
{
    size_t blocks[ACT_RESIDUALS];
    largest_blocks(d, n_blocks, blocks);
    for (size_t i = 0; i < ACT_RESIDUALS; i++) {
        struct act_residual *r = &residuals[i];
        float left[32];
        size_t b = blocks[i];
        *r = (struct act_residual){.block = UINT32_MAX};
        if (b == n_blocks) continue;
        for (size_t j = 0; j < 32; j++)
            left[j] = fmaf(-d[b], (float)q[32 * b + j], x[32 * b + j]);
        r->d = quantize_block(left, 32, r->q, r->sums);
        r->s = r->d * (float)(r->sums[0] + r->sums[1]);
        r->block = (uint32_t)b;
    }
}

static void quantize(enum kernel_act act, const float *x, size_t k, void *row)
{
    uint8_t *p = row;
    if (act == ACT_F32) {
        memcpy(p, x, k * sizeof *x);
        memset(p + k * sizeof *x, 0, (KERNEL_FLOAT_LANES - k % KERNEL_FLOAT_LANES) % KERNEL_FLOAT_LANES * sizeof *x);
        return;
    }
    size_t n = act == ACT_Q8_32 ? 32 : 256;
    float *d = (float *)(void *)(p + act_offset_d(k)), *s = (float *)(void *)(p + act_offset_s(k));
    int16_t *sums = (int16_t *)(void *)(p + act_offset_sums(act, k));
    for (size_t b = 0; b < k / n; b++) {
        d[b] = quantize_block(x + b * n, n, (int8_t *)p + b * n, sums + b * n / 16);
        if (act == ACT_Q8_32) s[b] = d[b] * (float)(sums[2 * b] + sums[2 * b + 1]);
    }
    if (act == ACT_Q8_32)
        quantize_residuals(x, (int8_t *)p, d, k / 32, (struct act_residual *)(void *)(p + act_offset_residuals(k)));
}
