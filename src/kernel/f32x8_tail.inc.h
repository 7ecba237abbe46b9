/* f32x8_tail.inc.h - loads and stores of fewer than eight lanes, for any instruction set.
 *
 * Included at the end of each f32x8_*.h. Missing lanes load as zero; memory past n is neither read nor written.
 * They go through a buffer: tails are rare (sizes of real models are multiples of 8), so plain beats fast.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline f32x8 f32x8_load_n(const float *p, size_t n)
{
    float lane[8] = {0};
    memcpy(lane, p, n * sizeof *p);
    return f32x8_load(lane);
}

static inline void f32x8_store_n(float *p, f32x8 a, size_t n)
{
    float lane[8];
    f32x8_store(lane, a);
    memcpy(p, lane, n * sizeof *p);
}

static inline f32x8 f32x8_load_f16_n(const uint16_t *p, size_t n)
{
    uint16_t lane[8] = {0};
    memcpy(lane, p, n * sizeof *p);
    return f32x8_load_f16(lane);
}

static inline f32x8 f32x8_load_bf16_n(const uint16_t *p, size_t n)
{
    uint16_t lane[8] = {0};
    memcpy(lane, p, n * sizeof *p);
    return f32x8_load_bf16(lane);
}

static inline void f32x8_store_f16_n(uint16_t *p, f32x8 a, size_t n)
{
    uint16_t lane[8];
    f32x8_store_f16(lane, a);
    memcpy(p, lane, n * sizeof *p);
}
