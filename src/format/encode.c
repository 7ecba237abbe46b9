#include "format/encode.h"

#include "base/bytes.h"
#include "format/encode_tables.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>

static bool runs(const struct encode_table *table)
{
#ifdef __x86_64__
    if (table == &encode_table_avx2) return __builtin_cpu_supports("avx2");
    if (table == &encode_table_avx512)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#endif
    return table == &encode_table_base;
}

const struct encode_table *encode_table_at(int i)
{
    static const struct encode_table *const tables[] = {
#ifdef __x86_64__
        &encode_table_avx512,
        &encode_table_avx2,
#endif
        &encode_table_base,
    };
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++)
        if (runs(tables[t]) && i-- == 0) return tables[t];
    return NULL;
}

/* Formats without blocks: each number alone. */
static void encode_numbers(enum format format, const float *x, size_t n, uint8_t *out)
{
    for (size_t i = 0; i < n; i++) {
        float half = x[i] > 65504 ? 65504 : x[i] < -65504 ? -65504 : x[i];
        uint16_t bits = format == FORMAT_BF16 ? bf16_from_f32(x[i]) : f16_from_f32(half);
        memcpy(out + 2 * i, &bits, 2);
    }
}

void format_encode(enum format format, const float *x, size_t n, const float *importance, void *out)
{
    const struct format_info *info = format_info(format);
    assert(info && info->decode && n % info->block_elements == 0);
    if (format == FORMAT_F32) memcpy(out, x, n * sizeof *x);
    if (format == FORMAT_F16 || format == FORMAT_BF16) encode_numbers(format, x, n, out);
    if (info->block_elements > 1) encode_table_at(0)->encode(format, x, n, importance, out);
}

float format_nvfp4_tensor_scale(const float *x, size_t n)
{
    float amax = 0;
    for (size_t i = 0; i < n; i++)
        amax = fabsf(x[i]) > amax ? fabsf(x[i]) : amax;
    float scale = amax / (6 * 256);
    return scale > 0 ? scale : 1;
}
